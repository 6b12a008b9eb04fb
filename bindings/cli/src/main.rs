//! The `espial` binary: reads its arguments and calls the library.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use espial_cli::check::{self, CheckError, Form};
use espial_cli::config::GatewayConfig;
use espial_cli::{conform, demo};

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
  espial conform cases/*.jsonl

Exit status: 0 nothing was dropped or all passed, 1 something was dropped or failed,
2 the input is unusable."
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
  espial check --config gateway.toml capture.pcap --json > verdicts.jsonl")]
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
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = BufWriter::new(io::stdout().lock());
    let status = match arguments.command {
        None => demo::run(&mut out).map(|()| 0).map_err(CheckError::Output),
        Some(Command::Check { config, capture, json, trace }) => {
            let form = match (json, trace) {
                (true, _) => Form::Json,
                (false, true) => Form::Trace,
                (false, false) => Form::Text,
            };
            check(&config, &capture, form, &mut out)
        }
        Some(Command::Conform { files, json }) => {
            let format = if json { conform::Format::Json } else { conform::Format::Text };
            conform(&files, format, &mut out)
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
    out: &mut dyn Write,
) -> Result<u8, CheckError> {
    let gateway = match GatewayConfig::read(config) {
        Ok(gateway) => gateway,
        Err(error) => {
            eprintln!("{error}");
            return Ok(2);
        }
    };
    let outcome = check::run(&gateway, capture, form, out).map_err(|error| match error {
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
