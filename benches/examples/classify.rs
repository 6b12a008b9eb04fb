//! The selector matcher beside `rte_acl` and a plain list, in one run:
//! `classify [--shape S]... [--family v4|v6] [--traffic T]... [--rules FILE --trace FILE]...
//! [--question any|first|both] [--max-size MIB] [--rounds N] [--json FILE] [SIZE...]`.
//!
//! S is a shape of `espial_benches::selectors`; without one `acl`, `fw` and `ipc`, unless there are
//! files. T is `hit`, `near` or `miss`; without one the first two. SIZE is `1k`, `10k`, `100k` or a
//! number of selectors; without one, the three. FILE is in ClassBench's form: rules, and a trace with
//! the expected first match; `.xz` is unpacked. Prints Markdown, and writes one JSON object for each
//! figure to the file after `--json`.
//!
//! Contenders take turns (`espial_benches::contest`), and every answer is compared before the first
//! is timed. `fewer tries` is rte_acl with its option `max_size`, where that makes another table:
//! 256 MiB for sets up to 1k, since building takes many times as long; as given for sets of any size;
//! `--max-size 0` leaves it out.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use espial::headers::Family;
use espial::selector::AddrRange;
use espial_benches::contest::{Parts, Sheet, compete, figure};
use espial_benches::matching::{Contender, List, Trace, Tries};
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

const CONTENDERS: [(&str, Contender); 9] = [
    (BURSTS, Contender::Espial(32)),
    ("rte_acl avx512, bursts of 32", acl(Algorithm::Avx512x32, Tries::Default, 32)),
    ("rte_acl avx512, fewer tries, bursts of 32", acl(Algorithm::Avx512x32, Tries::Fewer, 32)),
    ("rte_acl avx2, bursts of 32", acl(Algorithm::Avx2, Tries::Default, 32)),
    (SINGLE, Contender::Espial(1)),
    ("rte_acl avx512, one at a time", acl(Algorithm::Avx512x32, Tries::Default, 1)),
    ("rte_acl avx512, fewer tries, one at a time", acl(Algorithm::Avx512x32, Tries::Fewer, 1)),
    ("rte_acl avx2, one at a time", acl(Algorithm::Avx2, Tries::Default, 1)),
    ("plain list", Contender::Linear),
];

const fn acl(algorithm: Algorithm, tries: Tries, burst: usize) -> Contender {
    Contender::Acl(algorithm, tries, burst)
}

/// Rows below those of the contenders: the least of some over the least of others.
const RATIOS: [(&str, &str, bool); 3] = [
    ("best rte_acl / espial, bursts of 32", BURSTS, true),
    ("best rte_acl / espial, one at a time", SINGLE, false),
    ("plain list / espial, one at a time", SINGLE, false),
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

struct Options {
    sources: Vec<Source>,
    family: Family,
    traffic: Vec<Traffic>,
    questions: Vec<Question>,
    /// `None`: as many octets as are usual, up to [`FEWER`].
    max_size: Option<usize>,
    rounds: Option<usize>,
    json: Option<BufWriter<File>>,
}

fn options() -> Options {
    let mut options = Options {
        sources: Vec::new(),
        family: Family::V4,
        traffic: Vec::new(),
        questions: Question::ALL.to_vec(),
        max_size: None,
        rounds: None,
        json: None,
    };
    let (mut shapes, mut sizes, mut rules) = (Vec::new(), Vec::new(), None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().expect("a value behind the option");
        match argument.as_str() {
            "--shape" => {
                let names = Shape::ALL.map(Shape::name).join(", ");
                shapes.push(Shape::named(&value()).unwrap_or_else(|| panic!("one of {names}")));
            }
            "--family" => match value().as_str() {
                "v4" => options.family = Family::V4,
                "v6" => options.family = Family::V6,
                other => panic!("--family {other}: v4 or v6"),
            },
            "--traffic" => {
                let name = value();
                let traffic = Traffic::ALL.into_iter().find(|traffic| traffic.name() == name);
                options.traffic.push(traffic.expect("hit, near or miss"));
            }
            "--rules" => rules = Some(PathBuf::from(value())),
            "--trace" => {
                let rules = rules.clone().expect("--rules before --trace");
                options.sources.push(Source::Files(rules, value().into()));
            }
            "--question" => match value().as_str() {
                "both" => {}
                "any" => options.questions = vec![Question::Any],
                "first" => options.questions = vec![Question::First],
                other => panic!("--question {other}: any, first or both"),
            },
            "--max-size" => {
                options.max_size = Some(value().parse::<usize>().expect("a number of MiB") << 20);
            }
            "--rounds" => options.rounds = Some(value().parse().expect("a number of rounds")),
            "--json" => {
                let file = File::create(value()).expect("a file that can be written");
                options.json = Some(BufWriter::new(file));
            }
            size => sizes.push((size.to_owned(), count(size))),
        }
    }
    if shapes.is_empty() && options.sources.is_empty() {
        shapes = vec![Shape::Acl, Shape::Fw, Shape::Ipc];
    }
    if sizes.is_empty() {
        sizes = ["1k", "10k", "100k"].map(|size| (size.to_owned(), count(size))).to_vec();
    }
    for shape in shapes {
        let made = sizes.iter().map(|(size, n)| Source::Made(shape, size.clone(), *n));
        options.sources.extend(made);
    }
    if options.traffic.is_empty() {
        options.traffic = vec![Traffic::Hit, Traffic::Near];
    }
    options
}

fn count(size: &str) -> usize {
    let (digits, unit) = size.strip_suffix('k').map_or((size, 1), |digits| (digits, 1000));
    unit * digits.parse::<usize>().expect("1k, 10k, 100k or a number")
}

/// The compiled set, and its traces by name.
fn list(source: &Source, options: &Options, seed: u64) -> (List, Vec<(String, Trace)>) {
    let usable = |path: &Path, error: &dyn std::fmt::Display| -> String {
        format!("{}: {error}", path.display())
    };
    let max_size = |n: usize| match options.max_size {
        Some(0) => None,
        None => (n <= FEWER).then_some(256 << 20),
        octets => octets,
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
fn times(
    list: &List,
    question: Question,
    trace: &Trace,
    rounds: usize,
) -> Vec<(&'static str, Contender, f64)> {
    let n = list.selectors().len();
    let there = |contender: &Contender| {
        list.has(*contender, question) && (*contender != Contender::Linear || n <= LINEAR)
    };
    let contenders: Vec<_> = CONTENDERS.into_iter().filter(|(_, one)| there(one)).collect();
    let parts: Vec<_> = contenders
        .iter()
        .map(|(_, contender)| {
            list.prepare(*contender, question, trace);
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
        list.pass(contenders[at].1, question, trace, part);
    });
    contenders.into_iter().zip(least).map(|((name, one), ns)| (name, one, ns)).collect()
}

/// The row of that name of one column.
fn cell(row: &str, times: &[(&str, Contender, f64)]) -> Option<String> {
    let of = |name: &str| times.iter().find(|(listed, ..)| *listed == name).map(|(_, _, ns)| *ns);
    let Some((_, of_espial, bursts)) = RATIOS.iter().find(|(name, ..)| *name == row) else {
        return of(row).map(figure);
    };
    let wanted = |contender: Contender| match contender {
        Contender::Linear => row.starts_with("plain"),
        Contender::Acl(_, _, burst) => !row.starts_with("plain") && (burst > 1) == *bursts,
        Contender::Espial(_) => false,
    };
    let others = times.iter().filter(|(_, one, _)| wanted(*one)).map(|(_, _, ns)| *ns);
    let least = others.reduce(f64::min)?;
    Some(format!("{:.2}", least / of(of_espial)?))
}

/// What was built: one row for each table.
const BUILT: [(&str, Contender); 4] = [
    ("espial", CONTENDERS[0].1),
    ("rte_acl", CONTENDERS[1].1),
    ("rte_acl, fewer tries", CONTENDERS[2].1),
    ("plain list", Contender::Linear),
];

fn main() -> io::Result<()> {
    let seed = espial_benches::seed();
    let mut options = options();
    let mut json = options.json.take();
    let mut sheets: Vec<(String, Sheet)> = Vec::new();
    for source in &options.sources {
        let (set, column) = source.names();
        let (list, traces) = list(source, &options, seed);
        let n = list.selectors().len();
        let family = match list.selectors()[0].remote {
            AddrRange::V4 { .. } => "v4",
            AddrRange::V6 { .. } => "v6",
        };
        let rounds = options.rounds.unwrap_or(if n > LARGE { 40 } else { 200 });
        for question in &options.questions {
            let built = |row: &str| {
                let (_, contender) = BUILT.iter().find(|(name, _)| *name == row)?;
                list.has(*contender, *question).then(|| list.built(*contender, *question)).flatten()
            };
            for (traffic, trace) in &traces {
                eprintln!("{column}: {n} selectors, {}, {traffic}", question.name());
                let times = times(&list, *question, trace, rounds);
                let title = format!("{family}, {}, {traffic}: ns a packet", question.name());
                let rows = CONTENDERS.iter().map(|(name, _)| *name);
                let rows = rows.chain(RATIOS.iter().map(|(name, ..)| *name));
                let column = format!("{column} ({:.0} % hit)", 100.0 * trace.covered());
                sheet(&mut sheets, title, rows).column(column, |row| cell(row, &times));
                for (name, contender, ns) in times {
                    let (build_ms, octets) =
                        list.built(contender, *question).unwrap_or((f64::NAN, 0));
                    let Some(json) = &mut json else { continue };
                    writeln!(
                        json,
                        "{{\"selectors\":{n},\"list\":\"{set}\",\"family\":\"{family}\",\
                         \"question\":\"{}\",\"traffic\":\"{traffic}\",\"contender\":\"{name}\",\
                         \"ns_min\":{ns:.3},\"rounds\":{rounds},\"build_ms\":{build_ms:.3},\
                         \"octets_per_selector\":{:.2}}}",
                        question.name(),
                        octets as f64 / n as f64,
                    )?;
                }
            }
            let rows = BUILT.map(|(name, _)| name);
            let title = format!("{family}, {}: ms to build", question.name());
            sheet(&mut sheets, title, rows).column(column.clone(), |row| {
                let ms = built(row).map(|(ms, _)| ms);
                ms.filter(|ms| *ms > 0.0).map(figure)
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
