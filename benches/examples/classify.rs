//! The selector matcher beside `rte_acl` and a plain list, in one run: `classify --help`.
//!
//! Contenders take turns (`espial_benches::contest`), and every answer is compared before the first
//! is timed. `fewer tries` is rte_acl with its option `max_size`, where that makes another table:
//! 256 MiB for sets up to 1k, since building takes many times as long; as given for sets of any size;
//! `--max-size 0` leaves it out.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use espial::headers::Family;
use espial::selector::AddrRange;
use espial_benches::contest::{Parts, Sheet, compete, figure};
use espial_benches::matching::{Contender, List, Trace, Tries};
use espial_benches::options::{self, Size};
use espial_benches::peers::{Algorithm, Question};
use espial_benches::selectors::{self, Shape, Traffic};
use espial_cli::classify::{read_rules, read_trace};

/// Packets of a trace that is made here.
const PACKETS: usize = 1 << 16;
/// Packets of a timed pass: short, so that some pass is not interrupted where other programs run.
const PART: usize = 1 << 12;
/// Packets of the pass before it; in large sets it is the whole trace.
const WARM: usize = 1 << 14;
/// Sets of more selectors are large.
const LARGE: usize = 20_000;
/// Boxes that the plain list is asked for in a pass.
const ASKED: usize = 1 << 22;
/// The plain list takes part up to so many selectors.
const LINEAR: usize = 10_000;
/// Fewer tries are built up to so many selectors, unless they are asked for.
const FEWER: usize = 1000;
/// Who takes longer than this for a packet takes part in one round of eight.
const SLOW_NS: f64 = 2000.0;

const BURSTS: &str = "espial, bursts of 32";
const SINGLE: &str = "espial, one at a time";

const MERGED_BURSTS: &str = "espial, merged, bursts of 32";
const MERGED_SINGLE: &str = "espial, merged, one at a time";

/// Which list a contender is given: the one that was read or made, or that one merged, which leaves one question.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Whole,
    Merged,
}

impl Form {
    fn of(self, list: &List, question: Question) -> Option<&List> {
        match self {
            Self::Whole => Some(list),
            Self::Merged => (question == Question::Any).then(|| list.merged()),
        }
    }
}

type Row = (&'static str, Contender, Form);

const CONTENDERS: [Row; 16] = {
    use Form::{Merged, Whole};
    const fn acl(algorithm: Algorithm, tries: Tries, burst: usize) -> Contender {
        Contender::Acl(algorithm, tries, burst)
    }
    const BEST: Algorithm = Algorithm::Avx512x32;
    const AVX2: Algorithm = Algorithm::Avx2;
    [
        (BURSTS, Contender::Espial(32), Whole),
        ("rte_acl avx512, bursts of 32", acl(BEST, Tries::Default, 32), Whole),
        ("rte_acl avx512, fewer tries, bursts of 32", acl(BEST, Tries::Fewer, 32), Whole),
        ("espial avx2, bursts of 32", Contender::Avx2(32), Whole),
        ("rte_acl avx2, bursts of 32", acl(AVX2, Tries::Default, 32), Whole),
        (SINGLE, Contender::Espial(1), Whole),
        ("rte_acl avx512, one at a time", acl(BEST, Tries::Default, 1), Whole),
        ("rte_acl avx512, fewer tries, one at a time", acl(BEST, Tries::Fewer, 1), Whole),
        ("rte_acl avx2, one at a time", acl(AVX2, Tries::Default, 1), Whole),
        ("plain list", Contender::Linear, Whole),
        (MERGED_BURSTS, Contender::Espial(32), Merged),
        ("rte_acl avx512, merged, bursts of 32", acl(BEST, Tries::Default, 32), Merged),
        ("rte_acl avx512, merged, fewer tries, bursts of 32", acl(BEST, Tries::Fewer, 32), Merged),
        (MERGED_SINGLE, Contender::Espial(1), Merged),
        ("rte_acl avx512, merged, one at a time", acl(BEST, Tries::Default, 1), Merged),
        ("rte_acl avx512, merged, fewer tries, one at a time", acl(BEST, Tries::Fewer, 1), Merged),
    ]
};

/// Rows below those of the contenders: the least of some over the least of others, both of one form.
const RATIOS: [(&str, &str, bool, Form); 5] = [
    ("best rte_acl / espial, bursts of 32", BURSTS, true, Form::Whole),
    ("best rte_acl / espial, one at a time", SINGLE, false, Form::Whole),
    ("plain list / espial, one at a time", SINGLE, false, Form::Whole),
    ("best rte_acl / espial, merged, bursts of 32", MERGED_BURSTS, true, Form::Merged),
    ("best rte_acl / espial, merged, one at a time", MERGED_SINGLE, false, Form::Merged),
];

/// Where a set comes from.
enum Source {
    Made(Shape, String, usize),
    Files(PathBuf, PathBuf),
}

impl Source {
    /// The set, and its column.
    fn names(&self) -> (String, String) {
        match self {
            Self::Made(shape, size, _) => {
                (shape.name().to_owned(), format!("{} {size}", shape.name()))
            }
            Self::Files(rules, trace) => (stem(rules), stem(trace)),
        }
    }
}

/// A file's name without what follows the last words.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.trim_end_matches(".xz").trim_end_matches(".trace").trim_end_matches(".rules");
    name.to_owned()
}

/// The selector matcher beside rte_acl and a plain list, in one run
///
/// Prints Markdown. Contenders take turns in rounds and the least time counts. Without feature dpdk of the package,
/// espial and the list compete alone.
#[derive(Parser)]
#[command(
    name = "classify",
    after_help = "\
Examples:
  classify                                            access control, firewall and ip-chains lists
  classify --shape acl --question any --traffic miss 10k
  classify --rules acl1_1k.rules --trace acl1_1k.trace --json acl1.jsonl"
)]
struct Options {
    /// Only selectors of this shape, as often as wanted; without one acl, fw and ipc, unless there are files
    #[arg(long = "shape", value_name = "SHAPE", value_parser = shape)]
    shapes: Vec<Shape>,
    /// Addresses of selectors that are made: v4 or v6
    #[arg(long, default_value = "v4", value_parser = options::family)]
    family: Family,
    /// Only this traffic, as often as wanted: hit, near or miss; without one the first two
    #[arg(long, value_name = "TRAFFIC", value_parser = traffic)]
    traffic: Vec<Traffic>,
    /// Rules in ClassBench's form, as often as wanted; .xz is unpacked
    #[arg(long, value_name = "FILE")]
    rules: Vec<PathBuf>,
    /// A trace with the expected first match, for each file of rules
    #[arg(long, value_name = "FILE")]
    trace: Vec<PathBuf>,
    /// any, first or both
    #[arg(long, default_value = "both", value_parser = ["any", "first", "both"])]
    question: String,
    /// What rte_acl may take, in MiB; without it 256, up to 1k selectors; 0: only as it is by default
    #[arg(long, value_name = "MIB")]
    max_size: Option<usize>,
    /// Rounds of each column; without it 200, or 40 above 20 000 selectors
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// One JSON object for each figure
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Selectors: 1k, 10k or a number; without one 1k, 10k and 100k
    #[arg(value_name = "SIZE", value_parser = options::size)]
    sizes: Vec<Size>,
}

impl Options {
    /// What is asked.
    fn questions(&self) -> impl Iterator<Item = Question> {
        let wanted = |one: &Question| self.question == "both" || self.question == one.name();
        Question::ALL.into_iter().filter(wanted)
    }

    /// The sets.
    fn sources(&self) -> Vec<Source> {
        let files = self.rules.iter().zip(&self.trace);
        let files = files.map(|(rules, trace)| Source::Files(rules.clone(), trace.clone()));
        let sizes = options::sizes(self.sizes.clone(), ["1k", "10k", "100k"]);
        let made = self.shapes.iter().flat_map(|shape| {
            sizes.iter().map(|size| Source::Made(*shape, size.text.clone(), size.decimal()))
        });
        files.chain(made).collect()
    }
}

fn shape(name: &str) -> Result<Shape, String> {
    options::named(Shape::ALL.map(|shape| (shape.name(), shape)), name)
}

fn traffic(name: &str) -> Result<Traffic, String> {
    options::named(Traffic::ALL.map(|traffic| (traffic.name(), traffic)), name)
}

fn options() -> Options {
    let mut options = Options::parse();
    if options.rules.len() != options.trace.len() {
        let what = "--rules and --trace: as many files of one as of the other";
        Options::command().error(ErrorKind::WrongNumberOfValues, what).exit();
    }
    if options.shapes.is_empty() && options.rules.is_empty() {
        options.shapes = vec![Shape::Acl, Shape::Fw, Shape::Ipc];
    }
    if options.traffic.is_empty() {
        options.traffic = vec![Traffic::Hit, Traffic::Near];
    }
    options
}

/// The compiled set, and its traces by name.
fn list(source: &Source, options: &Options, seed: u64) -> (List, Vec<(String, Trace)>) {
    let usable = |path: &Path, error: &dyn std::fmt::Display| -> String {
        format!("{}: {error}", path.display())
    };
    let max_size = |n: usize| match options.max_size {
        Some(0) => None,
        None => (n <= FEWER).then_some(256 << 20),
        Some(mib) => Some(mib << 20),
    };
    match source {
        Source::Made(shape, _, n) => {
            let selectors = selectors::selectors(*shape, *n, options.family, seed);
            let list = List::new(selectors).max_size(max_size(*n));
            let traces = options.traffic.iter().filter_map(|traffic| {
                let n = PACKETS.max(*n);
                let packets = selectors::packets(list.selectors(), *traffic, n, seed);
                let trace = packets.map(|packets| Trace::new(packets, None, &list));
                trace.map(|trace| (traffic.name().to_owned(), trace))
            });
            let traces = traces.collect();
            (list, traces)
        }
        Source::Files(rules, trace) => {
            let selectors =
                read_rules(rules).unwrap_or_else(|error| panic!("{}", usable(rules, &error)));
            let expected =
                read_trace(trace).unwrap_or_else(|error| panic!("{}", usable(trace, &error)));
            let n = selectors.len();
            let list = List::new(selectors).max_size(max_size(n));
            let (packets, firsts) =
                expected.iter().map(|expected| (expected.packet, expected.first)).unzip();
            let trace = Trace::new(packets, Some(firsts), &list);
            (list, vec![("trace".to_owned(), trace)])
        }
    }
}

/// Least ns a packet of each contender that is there.
fn times(list: &List, question: Question, trace: &Trace, rounds: usize) -> Vec<(Row, f64)> {
    let n = list.selectors().len();
    let contenders: Vec<_> = CONTENDERS
        .into_iter()
        .filter_map(|row| Some((row, row.2.of(list, question)?)))
        .filter(|((_, one, _), list)| {
            list.has(*one, question) && (*one != Contender::Linear || n <= LINEAR)
        })
        .collect();
    let ready: Vec<_> = contenders
        .iter()
        .map(|((_, contender, _), list)| list.ready(*contender, question, trace))
        .collect();
    let parts: Vec<_> = contenders
        .iter()
        .map(|((_, contender, _), _)| {
            let items = trace.len();
            let before = if n > LARGE { items } else { WARM.min(items) };
            match contender {
                Contender::Linear => {
                    let timed = (ASKED / n.max(1)).min(items);
                    Parts { items, timed, before: timed / 8 }
                }
                _ => Parts { items, timed: PART.min(items), before },
            }
        })
        .collect();
    let least = compete(&parts, rounds, SLOW_NS, |at, part| {
        ready[at].pass(part);
    });
    contenders.into_iter().map(|(row, _)| row).zip(least).collect()
}

/// The row of that name of one column.
fn cell(row: &str, times: &[(Row, f64)]) -> Option<String> {
    let of = |name: &str| times.iter().find(|((listed, ..), _)| *listed == name).map(|(_, ns)| *ns);
    let Some((_, of_espial, bursts, form)) = RATIOS.iter().find(|(name, ..)| *name == row) else {
        return of(row).map(figure);
    };
    let wanted = |contender: Contender| match contender {
        Contender::Linear => row.starts_with("plain"),
        Contender::Acl(_, _, burst) => !row.starts_with("plain") && (burst > 1) == *bursts,
        Contender::Espial(_) | Contender::Avx2(_) => false,
    };
    let others = times.iter().filter(|((_, one, given), _)| given == form && wanted(*one));
    let least = others.map(|(_, ns)| *ns).reduce(f64::min)?;
    Some(format!("{:.2}", least / of(of_espial)?))
}

/// What was built: one row for each table.
const BUILT: [Row; 7] = [
    ("espial", CONTENDERS[0].1, Form::Whole),
    ("rte_acl", CONTENDERS[1].1, Form::Whole),
    ("rte_acl, fewer tries", CONTENDERS[2].1, Form::Whole),
    ("plain list", Contender::Linear, Form::Whole),
    ("espial, merged", CONTENDERS[0].1, Form::Merged),
    ("rte_acl, merged", CONTENDERS[1].1, Form::Merged),
    ("rte_acl, merged, fewer tries", CONTENDERS[2].1, Form::Merged),
];

fn main() -> io::Result<()> {
    let options = options();
    let mut json = options::json(options.json.as_deref());
    let seed = espial_benches::seed();
    let mut sheets: Vec<(String, Sheet)> = Vec::new();
    for source in &options.sources() {
        let (set, column) = source.names();
        let (list, traces) = list(source, &options, seed);
        let n = list.selectors().len();
        let family = match list.selectors()[0].remote {
            AddrRange::V4 { .. } => "v4",
            AddrRange::V6 { .. } => "v6",
        };
        let rounds = options.rounds.unwrap_or(if n > LARGE { 40 } else { 200 });
        for question in options.questions() {
            let built = |row: &str| {
                let (_, contender, form) = BUILT.iter().find(|(name, ..)| *name == row)?;
                let list = form.of(&list, question)?;
                list.has(*contender, question).then(|| list.built(*contender, question)).flatten()
            };
            for (traffic, trace) in &traces {
                eprintln!("{column}: {n} selectors, {}, {traffic}", question.name());
                let times = times(&list, question, trace, rounds);
                let title = format!("{family}, {}, {traffic}: ns a packet", question.name());
                let rows = CONTENDERS.iter().map(|(name, ..)| *name);
                let rows = rows.chain(RATIOS.iter().map(|(name, ..)| *name));
                let column = format!("{column} ({:.0} % hit)", 100.0 * trace.covered());
                sheet(&mut sheets, title, rows).column(column, |row| cell(row, &times));
                for ((name, contender, form), ns) in times {
                    let asked = form.of(&list, question).unwrap_or(&list);
                    let (build_ms, octets) =
                        asked.built(contender, question).unwrap_or((f64::NAN, 0));
                    let left = asked.selectors().len();
                    let Some(json) = &mut json else { continue };
                    writeln!(
                        json,
                        "{{\"selectors\":{n},\"list\":\"{set}\",\"family\":\"{family}\",\
                         \"question\":\"{}\",\"traffic\":\"{traffic}\",\"contender\":\"{name}\",\
                         \"ns_min\":{ns:.3},\"rounds\":{rounds},\"build_ms\":{build_ms:.3},\
                         \"octets_per_selector\":{:.2},\"asked\":{left}}}",
                        question.name(),
                        octets as f64 / n as f64,
                    )?;
                }
            }
            let rows = BUILT.map(|(name, ..)| name);
            let title = format!("{family}, {}: ms to build", question.name());
            sheet(&mut sheets, title, rows).column(column.clone(), |row| {
                let ms = built(row).map(|(ms, _)| ms);
                ms.filter(|ms| *ms > 0.0).map(figure)
            });
            let title = format!("{family}, {}: selectors asked", question.name());
            let forms = [("as given", Form::Whole), ("merged", Form::Merged)];
            sheet(&mut sheets, title, forms.map(|(name, _)| name)).column(column.clone(), |row| {
                let (_, form) = forms.iter().find(|(name, _)| *name == row)?;
                form.of(&list, question).map(|list| list.selectors().len().to_string())
            });
            let title = format!("{family}, {}: octets a selector", question.name());
            sheet(&mut sheets, title, rows).column(column.clone(), |row| {
                built(row).map(|(_, octets)| figure(octets as f64 / n as f64))
            });
        }
    }
    let mut out = io::stdout().lock();
    for (_, sheet) in &sheets {
        sheet.print(&mut out)?;
    }
    match &mut json {
        Some(json) => json.flush(),
        None => Ok(()),
    }
}

/// The table of this title, a new one if there is none yet.
fn sheet<'s, 'a>(
    sheets: &'s mut Vec<(String, Sheet)>,
    title: String,
    rows: impl IntoIterator<Item = &'a str>,
) -> &'s mut Sheet {
    let at = sheets.iter().position(|(listed, _)| *listed == title).unwrap_or_else(|| {
        sheets.push((title.clone(), Sheet::new(title, rows)));
        sheets.len() - 1
    });
    &mut sheets[at].1
}
