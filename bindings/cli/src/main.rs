//! The `espial` binary: reads its arguments and calls the library.

use std::io::{self, BufWriter, Write};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use espial::image::{Names, Order};
use espial::matcher::Backend;
use espial::preset::FortiOs;
use espial_cli::check::{self, CheckError, Form};
use espial_cli::config::GatewayConfig;
use espial_cli::lint::Code;
use espial_cli::lookup::measure::{BURST_MAX, Effort};
use espial_cli::lookup::scene::SpiKind;
use espial_cli::{analyze, classify, compile, conform, demo, lint, lookup, preset};

/// Judges IPsec traffic: which SA is each packet on, and is it allowed to be on it?
#[derive(Parser)]
#[command(
    version,
    about,
    after_help = "\
Without a command it judges a capture that it carries with it.

Examples:
  espial
  espial check --config gateway.toml capture.pcap
  espial check --config gateway.toml capture.pcapng --json | jq 'select(.verdict == \"drop\")'
  espial analyze --config gateway.toml
  espial lint gateway.toml
  espial compile gateway.toml -o table.img
  espial preset 7.4.2
  espial conform cases/*.jsonl
  espial lookup --sas 65536
  espial classify --rules acl1_1k.rules --trace acl1_1k.trace

Exit status: 0 nothing was dropped or found, or all passed, 1 something was dropped, found or
failed, 2 the input is unusable."
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Judge every packet of a capture, decrypted with the keys of the configuration
    #[command(after_help = "\
Examples:
  espial check --config gateway.toml capture.pcap
  espial check --config gateway.toml capture.pcap --trace | grep anti-spoof
  espial check --config gateway.toml capture.pcap --json > verdicts.jsonl
  espial check --config gateway.toml capture.pcap --interface wan1 --explain --packet 7")]
    Check {
        /// The inbound side of the gateway: tunnels, Child SAs, SAs and their keys
        #[arg(long, value_name = "GATEWAY.toml")]
        config: PathBuf,
        /// pcap or pcapng
        capture: PathBuf,
        /// One JSON object a packet instead of the summary
        #[arg(long, conflicts_with = "trace")]
        json: bool,
        /// Before the summary, each drop in the words of a FortiOS debug flow
        #[arg(long)]
        trace: bool,
        /// The way that each packet took, table by table, in the manner of a debug flow trace
        #[arg(long, conflicts_with_all = ["json", "trace"])]
        explain: bool,
        /// With --explain: of this packet alone, from 1, and without the summary
        #[arg(long, value_name = "N", requires = "explain")]
        packet: Option<u64>,
        /// The interface, by its name in the configuration, of packets of which the capture says none
        #[arg(long, value_name = "NAME")]
        interface: Option<String>,
    },
    /// Find overlapping and hidden selectors of a configuration, and what supernets would admit
    #[command(after_help = "\
Child SAs are taken in the order of the file, and as if all existed at once; those of one tunnel
with the same selectors are as one. Supernets are no findings.

Examples:
  espial analyze --config gateway.toml
  espial analyze --config gateway.toml --json | jq 'select(.kind == \"overlap\") | .both'
  espial analyze --config gateway.toml --json | jq 'select(.kind == \"supernet\" and .extra == 0)'

Exit status: 0 nothing was found, 1 something was, or the work ended before all was known,
2 the configuration is unusable.")]
    Analyze {
        /// The inbound side of the gateway: tunnels, Child SAs and their selectors
        #[arg(long, value_name = "GATEWAY.toml")]
        config: PathBuf,
        /// One JSON object a finding and a supernet, then a summary
        #[arg(long)]
        json: bool,
    },
    /// Check a configuration: what cannot work, what is weak, what is needless
    #[command(after_help = "\
Errors cannot work, warnings may drop or accept what they should not, notes are worth knowing. Child
SAs are taken to exist all at once, SAs as long as the file says.

Examples:
  espial lint gateway.toml
  espial lint gateway.toml --allow any_source --allow supernet
  espial lint gateway.toml --json | jq 'select(.severity == \"error\")'

Exit status: 0 no errors and no warnings, 1 some, 2 the configuration is unusable.")]
    Lint {
        /// The inbound side of the gateway
        #[arg(value_name = "GATEWAY.toml")]
        config: PathBuf,
        /// Findings that are meant to be so, by code
        #[arg(long, value_name = "CODE")]
        allow: Vec<Code>,
        /// One JSON object a finding, then a summary
        #[arg(long)]
        json: bool,
    },
    /// Compile tunnels, Child SAs and selectors into an image for firmware, or say what is in one
    #[command(after_help = "\
An image is used where it lies: in flash, in shared memory, in a mapped file. It holds no SA and no key. The
same file gives the same octets on every host. Child SAs are numbered from 0 in the order of the file; SAs are added
to them at run time. Without -o only sizes are printed. Policies and the gateway's other tables are not in it.

Examples:
  espial compile gateway.toml -o table.img
  espial compile gateway.toml -o table.c --c-array=branch_table
  espial compile gateway.toml -o table.img --c-header table.h    # table_child_hub_office: Child SA \"office\" of tunnel \"hub\"
  espial compile gateway.toml -o table.img --order big --no-names
  espial compile --check table.img
  espial compile --check table.img --json | jq 'select(.kind == \"child\") | [.number, .child]'

Exit status: 0 the image is made or valid, 2 the configuration or the image is unusable.")]
    Compile {
        /// The inbound side of the gateway: tunnels, Child SAs and their selectors
        #[arg(value_name = "GATEWAY.toml", required_unless_present = "check")]
        config: Option<PathBuf>,
        /// Where to write the image, or with --c-array the C source
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// C source with a constant array of this name, aligned to 64, and its length in NAME_octets
        #[arg(
            long, value_name = "NAME", num_args = 0..=1, require_equals = true,
            default_missing_value = "espial_image", requires = "output", value_parser = identifier
        )]
        c_array: Option<String>,
        /// Where to write a C header with the numbers of tunnels and Child SAs, by their names
        #[arg(long, value_name = "FILE")]
        c_header: Option<PathBuf>,
        /// The byte order of the target
        #[arg(long, value_name = "ORDER", default_value = "little")]
        order: Orders,
        /// Leave the names of tunnels and Child SAs out
        #[arg(long)]
        no_names: bool,
        /// Validate this image of either byte order, and print what is in it
        #[arg(
            long, value_name = "FILE",
            conflicts_with_all = ["config", "output", "c_array", "c_header", "order", "no_names"]
        )]
        check: Option<PathBuf>,
        /// One JSON object with the sizes; with --check one a Child SA before it
        #[arg(long)]
        json: bool,
    },
    /// Say what the documents say that a FortiOS version does
    #[command(after_help = "\
What they do not say is not guessed: then each tunnel needs a mode of its own. GATEWAY.toml takes the
version as fortios = \"7.4.2\" under [gateway], for tunnels that have no mode.

Examples:
  espial preset 7.4.2
  espial preset 7.6.7 --json | jq -r .mode

Exit status: 0 the mode is known, 1 it is not, 2 no version.")]
    Preset {
        /// Three numbers, such as 7.4.2
        version: FortiOs,
        /// One JSON object; what is not known is left out
        #[arg(long)]
        json: bool,
    },
    /// Run conformance cases
    #[command(after_help = "\
Example:
  espial conform sa_check.jsonl sad_ops.jsonl")]
    Conform {
        /// Files of cases, JSON Lines
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// One JSON object a case
        #[arg(long)]
        json: bool,
    },
    /// Measure how long it takes to find the SA of an SPI
    #[command(after_help = "\
Nothing else should run beside it: compare figures of one run only. Rows with more threads, the
writer included, than the machine has cores say how they share them.

Examples:
  espial lookup --sas 65536
  espial lookup --sas 1000000 --spi allocated --burst 64
  espial lookup --sas 65536 --spi random --threads 2 --churn 10000
  espial lookup --sas 4096 --json | jq 'select(.measure == \"throughput\")'

Exit status: 0 every SA was found, 1 a live SA was missed, 2 the arguments are unusable.")]
    Lookup {
        /// SAs; the gateway is made for exactly as many
        #[arg(long, value_name = "N")]
        sas: NonZeroUsize,
        /// Who chose the SPIs: the gateway, or others at random, or half and half. Without it,
        /// allocated and then random ones
        #[arg(long)]
        spi: Option<Spis>,
        /// SPIs looked up with one call, 1 to 64
        #[arg(long, value_name = "N", default_value = "32", value_parser = burst)]
        burst: NonZeroUsize,
        /// Also measure so many threads at once
        #[arg(long, value_name = "N", value_parser = threads)]
        threads: Option<NonZeroU32>,
        /// Also replace SAs beside the threads, so many a second, then as many as it can
        #[arg(long, value_name = "RATE")]
        churn: Option<NonZeroU32>,
        /// One JSON object a row
        #[arg(long)]
        json: bool,
    },
    /// Measure how long it takes to find the selectors that cover a packet
    #[command(after_help = "\
Rules and traces are those of ClassBench: @SOURCE DESTINATION LO : HI LO : HI PROTOCOL/MASK, and
SOURCE DESTINATION PORT PORT PROTOCOL FIRST-MATCH in decimal, -1 for none. Nothing else should run
beside it: compare figures of one run only.

Examples:
  espial classify --rules acl1_1k.rules --trace acl1_1k.trace
  espial classify --rules fw1_10k.rules.xz --trace fw1_10k.trace.xz --any --json
  espial classify --rules ipc1_10k.rules --trace ipc1_10k.trace --any --merge
  espial classify --rules acl1_1k.rules --trace acl1_1k.trace --backend sse2

Exit status: 0 all answers are those of the trace, 1 some are not, 2 a file is unusable.")]
    Classify {
        /// Rules, first one first; source is the remote side. .xz is read too
        #[arg(long, value_name = "FILE")]
        rules: PathBuf,
        /// Packets with the expected first match in the last column. .xz is read too
        #[arg(long, value_name = "FILE")]
        trace: PathBuf,
        /// Ask whether a rule covers the packet, not which one first
        #[arg(long)]
        any: bool,
        /// Merge the rules first: fewer cover the same packets, which is enough to know with --any
        #[arg(long, requires = "any")]
        merge: bool,
        /// Packets asked about with one call, 1 to 1024; then one at a time
        #[arg(long, value_name = "N", default_value = "32", value_parser = packets)]
        burst: NonZeroUsize,
        /// Instructions to compare with: portable, sse2, avx2, avx512 or neon as far as the processor has
        /// them; the best if not given
        #[arg(long, value_name = "B", value_parser = backend)]
        backend: Option<Backend>,
        /// One JSON object a row
        #[arg(long)]
        json: bool,
    },
}

/// What `--order` may be.
#[derive(Clone, Copy, ValueEnum)]
enum Orders {
    Little,
    Big,
}

fn identifier(name: &str) -> Result<String, String> {
    let is_letter = |octet: u8| octet.is_ascii_alphabetic() || octet == b'_';
    let is_one = name.bytes().next().is_some_and(is_letter)
        && name.bytes().all(|octet| is_letter(octet) || octet.is_ascii_digit());
    if is_one { Ok(name.to_owned()) } else { Err("not an identifier of C".to_owned()) }
}

/// What `--spi` may be.
#[derive(Clone, Copy, ValueEnum)]
enum Spis {
    Allocated,
    Random,
    Both,
}

impl From<Spis> for SpiKind {
    fn from(spis: Spis) -> Self {
        match spis {
            Spis::Allocated => Self::Allocated,
            Spis::Random => Self::Random,
            Spis::Both => Self::Both,
        }
    }
}

fn burst(text: &str) -> Result<NonZeroUsize, String> {
    let burst: NonZeroUsize = text.parse().map_err(|error| format!("{error}"))?;
    if burst.get() > BURST_MAX { Err(format!("at most {BURST_MAX}")) } else { Ok(burst) }
}

fn packets(text: &str) -> Result<NonZeroUsize, String> {
    let packets: NonZeroUsize = text.parse().map_err(|error| format!("{error}"))?;
    let most = classify::BURST_MAX;
    if packets.get() > most { Err(format!("at most {most}")) } else { Ok(packets) }
}

fn backend(name: &str) -> Result<Backend, String> {
    Backend::all().find(|backend| backend.name() == name).ok_or_else(|| {
        let names: Vec<&str> = Backend::all().map(Backend::name).collect();
        format!("this processor has {}", names.join(", "))
    })
}

/// Threads of a measurement, at most: each has counters for every SA.
const THREADS_MAX: u32 = 256;

fn threads(text: &str) -> Result<NonZeroU32, String> {
    let threads: NonZeroU32 = text.parse().map_err(|error| format!("{error}"))?;
    if threads.get() > THREADS_MAX { Err(format!("at most {THREADS_MAX}")) } else { Ok(threads) }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = BufWriter::new(io::stdout().lock());
    let status = match arguments.command {
        None => demo::run(&mut out).map(|()| 0).map_err(CheckError::Output),
        Some(Command::Check { config, capture, json, trace, explain, packet, interface }) => {
            let form = match (json, trace, explain) {
                (true, _, _) => Form::Json,
                (_, true, _) => Form::Trace,
                (_, _, true) => Form::Explain(packet),
                (false, false, false) => Form::Text,
            };
            let options = check::Options { interface, explain: false };
            check(&config, &capture, form, options, &mut out)
        }
        Some(Command::Analyze { config, json }) => {
            let format = if json { lookup::Format::Json } else { lookup::Format::Text };
            match read(&config) {
                Some(gateway) => analyze::run(&gateway, format, &mut out),
                None => Ok(2),
            }
        }
        Some(Command::Lint { config, allow, json }) => {
            let format = if json { lookup::Format::Json } else { lookup::Format::Text };
            let file = config.display().to_string();
            match read(&config) {
                Some(gateway) => lint::run(&gateway, &file, &allow, format, &mut out),
                None => Ok(2),
            }
        }
        Some(Command::Compile { check: Some(image), json, .. }) => {
            let format = if json { lookup::Format::Json } else { lookup::Format::Text };
            compile::check(&image, format, &mut out)
        }
        Some(Command::Compile {
            config, output, c_array, c_header, order, no_names, json, ..
        }) => {
            let order = match order {
                Orders::Little => Order::Little,
                Orders::Big => Order::Big,
            };
            let names = if no_names { Names::LeftOut } else { Names::Kept };
            let options = compile::Options { output, c_array, c_header, order, names };
            let format = if json { lookup::Format::Json } else { lookup::Format::Text };
            match config.as_deref().and_then(read) {
                Some(gateway) => compile::run(&gateway, &options, format, &mut out),
                None => Ok(2),
            }
        }
        Some(Command::Preset { version, json }) => {
            let format = if json { lookup::Format::Json } else { lookup::Format::Text };
            preset::run(version, format, &mut out).map_err(CheckError::Output)
        }
        Some(Command::Conform { files, json }) => {
            let format = if json { conform::Format::Json } else { conform::Format::Text };
            conform(&files, format, &mut out)
        }
        Some(Command::Lookup { sas, spi, burst, threads, churn, json }) => {
            let spis = spi.map(SpiKind::from);
            let effort = Effort::USUAL;
            let options = lookup::Options { sas, spis, burst, threads, churn, effort };
            let format = if json { lookup::Format::Json } else { lookup::Format::Text };
            lookup::run(&options, format, &mut out)
        }
        Some(Command::Classify { rules, trace, any, merge, burst, backend, json }) => {
            let (effort, backend) = (Effort::USUAL, backend.unwrap_or_else(Backend::detect));
            let options = classify::Options { rules, trace, any, merge, burst, backend, effort };
            let format = if json { lookup::Format::Json } else { lookup::Format::Text };
            classify::run(&options, format, &mut out)
        }
    };
    let status = status.and_then(|status| out.flush().map(|()| status).map_err(CheckError::Output));
    match status {
        Ok(status) => ExitCode::from(status),
        // Whoever reads us has gone, as `head` does: nothing to say, nobody to say it to.
        Err(CheckError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("espial: {error}");
            ExitCode::from(2)
        }
    }
}

/// The configuration; if there is none, says why.
fn read(config: &std::path::Path) -> Option<GatewayConfig> {
    GatewayConfig::read(config).map_err(|error| eprintln!("{error}")).ok()
}

fn conform(
    files: &[PathBuf],
    format: conform::Format,
    out: &mut dyn Write,
) -> Result<u8, CheckError> {
    let outcome = conform::run(files, format, out)?;
    out.flush()?;
    for unusable in &outcome.unusable {
        eprintln!("{unusable}");
    }
    Ok(outcome.exit_status())
}

fn check(
    config: &std::path::Path,
    capture: &std::path::Path,
    form: Form,
    options: check::Options,
    out: &mut dyn Write,
) -> Result<u8, CheckError> {
    let Some(gateway) = read(config) else { return Ok(2) };
    let outcome = check::run(&gateway, capture, form, options, out).map_err(|error| match error {
        CheckError::Gateway(text) => CheckError::Gateway(format!("{}: {text}", config.display())),
        other => other,
    });
    match outcome {
        Ok(outcome) => {
            if let Some(unread) = &outcome.unread {
                out.flush()?;
                eprintln!("{}: {unread}", capture.display());
            }
            Ok(outcome.status())
        }
        Err(CheckError::Capture(error)) => {
            eprintln!("{}: {error}", capture.display());
            Ok(2)
        }
        Err(error) => Err(error),
    }
}
