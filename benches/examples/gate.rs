//! The tables around the selector check beside hashbrown and a plain loop, in one run:
//! `gate [--table T]... [--family v4|v6] [--rounds N] [--json FILE] [SIZE...]`.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use espial::headers::Family;
use espial_benches::contest::{Parts, Sheet, compete, figure};
use espial_benches::gate::{Case, Contender, Field, Policies, Sessions, Tunnels, agree};

const HELP: &str = "\
The tables around the selector check beside hashbrown and a plain loop, in one run.

gate [--table T]... [--family v4|v6] [--rounds N] [--json FILE] [SIZE...]

  --table T     local_in, session or passthrough; without one, the three
  --family F    addresses of sessions and flows: v4 (the default) or v6
  --rounds N    rounds of each column; without it 300, or 60 above 256k entries
  --json FILE   writes one JSON object for each figure
  SIZE          1k, 1M or a number of entries, or of policies; without one 1k and 1M entries, and 16,
                1k and 10k policies. k and M are 1024 and 1024 k; of policies k is 1000.

Prints Markdown. Contenders take turns in rounds and the least time counts. Every answer is compared
before the first pass is timed.
";

/// Packets of a trace in small tables.
const PACKETS: usize = 1 << 16;
/// Packets of a timed pass: short, so that some pass is not interrupted where other programs run.
const PART: usize = 1 << 12;
/// Packets of the pass before it in small tables, and in large ones.
const WARM: [usize; 2] = [1 << 13, 1 << 17];
/// Tables of more entries are large.
const LARGE: usize = 1 << 18;
/// Policies that the plain loop is asked for in a pass.
const ASKED: usize = 1 << 21;
/// Policies that the plain loop is asked for when answers are compared.
const COMPARED: usize = 1 << 27;
/// Who takes longer than this for a packet takes part in one round of eight.
const SLOW_NS: f64 = 1000.0;

/// Rows below those of the contenders: one over another.
const RATIOS: [(&str, &str, &str); 6] = [
    ("hashbrown / espial, bursts of 32", "hashbrown", "espial, bursts of 32"),
    ("hashbrown / espial, one at a time", "hashbrown", "espial, one at a time"),
    ("SipHash 1-3 / espial, bursts of 32", "hashbrown, SipHash 1-3", "espial, bursts of 32"),
    ("SipHash 1-3 / espial, one at a time", "hashbrown, SipHash 1-3", "espial, one at a time"),
    ("plain loop / espial, bursts of 32", "plain loop", "espial, bursts of 32"),
    ("plain loop / espial, one at a time", "plain loop", "espial, one at a time"),
];

const TABLES: [&str; 3] = ["local_in", "session", "passthrough"];

struct Options {
    tables: Vec<String>,
    family: Family,
    rounds: Option<usize>,
    json: Option<BufWriter<File>>,
    sizes: Vec<String>,
}

/// `None`: help was asked for.
fn options() -> Option<Options> {
    let mut options = Options {
        tables: Vec::new(),
        family: Family::V4,
        rounds: None,
        json: None,
        sizes: Vec::new(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().expect("a value behind the option");
        match argument.as_str() {
            "--help" | "-h" => return None,
            "--table" => {
                let name = value();
                let names = TABLES.join(", ");
                assert!(TABLES.contains(&name.as_str()), "--table {name}: one of {names}");
                options.tables.push(name);
            }
            "--family" => match value().as_str() {
                "v4" => options.family = Family::V4,
                "v6" => options.family = Family::V6,
                other => panic!("--family {other}: v4 or v6"),
            },
            "--rounds" => options.rounds = Some(value().parse().expect("a number of rounds")),
            "--json" => {
                let file = File::create(value()).expect("a file that can be written");
                options.json = Some(BufWriter::new(file));
            }
            size => options.sizes.push(size.to_owned()),
        }
    }
    if options.tables.is_empty() {
        options.tables = TABLES.map(str::to_owned).to_vec();
    }
    Some(options)
}

fn count(size: &str, thousand: usize) -> usize {
    let (digits, unit) = match size.split_at(size.len().saturating_sub(1)) {
        (digits, "k") => (digits, thousand),
        (digits, "M") => (digits, thousand * thousand),
        _ => (size, 1),
    };
    unit * digits.parse::<usize>().expect("1k, 1M or a number")
}

/// What a table is for: sizes, and how it is made.
fn sizes(table: &str, asked: &[String]) -> Vec<(String, usize)> {
    let (default, thousand): (&[&str], _) = match table {
        "local_in" => (&["16", "1k", "10k"], 1000),
        _ => (&["1k", "1M"], 1024),
    };
    let named = |size: &str| (size.to_owned(), count(size, thousand));
    match asked {
        [] => default.iter().map(|size| named(size)).collect(),
        asked => asked.iter().map(|size| named(size)).collect(),
    }
}

fn field(table: &str, n: usize, items: usize, family: Family, seed: u64) -> Box<dyn Field> {
    match table {
        "local_in" => Box::new(Policies::new(n, items, seed)),
        "session" => Box::new(Sessions::new(n, items, family, seed)),
        _ => Box::new(Tunnels::new(n, items, family, seed)),
    }
}

/// Least ns a packet of each contender that is there.
fn times(
    field: &mut dyn Field,
    case: Case,
    n: usize,
    rounds: usize,
) -> Vec<(&'static str, Contender, f64)> {
    let there = Contender::ALL.into_iter().filter(|(_, one)| field.has(*one));
    let contenders: Vec<_> = there.collect();
    let items = field.items();
    let before = WARM[usize::from(n > LARGE)].min(items);
    let parts: Vec<_> = contenders
        .iter()
        .map(|(_, contender)| match contender {
            Contender::Plain => {
                let timed = (ASKED / n).clamp(1, PART);
                Parts { items, timed, before: timed.div_ceil(8) }
            }
            _ => Parts { items, timed: PART.min(items), before },
        })
        .collect();
    let mut answers = vec![0; before.max(PART)];
    let least = compete(&parts, rounds, SLOW_NS, |at, part| {
        let (_, contender) = contenders[at];
        let answers = &mut answers[..part.len()];
        field.pass(contender, case, part, answers);
    });
    contenders.into_iter().zip(least).map(|((name, one), ns)| (name, one, ns)).collect()
}

/// The row of that name of one column.
fn cell(row: &str, times: &[(&str, Contender, f64)]) -> Option<String> {
    let of = |name: &str| times.iter().find(|(listed, ..)| *listed == name).map(|(.., ns)| *ns);
    match RATIOS.iter().find(|(name, ..)| *name == row) {
        None => of(row).map(figure),
        Some((_, over, under)) => Some(format!("{:.2}", of(over)? / of(under)?)),
    }
}

fn main() -> io::Result<()> {
    let Some(mut options) = options() else {
        return io::stdout().write_all(HELP.as_bytes());
    };
    let seed = espial_benches::seed();
    let mut json = options.json.take();
    let rows = || Contender::ALL.into_iter().map(|(name, _)| name);
    let family = match options.family {
        Family::V4 => "v4",
        Family::V6 => "v6",
    };
    let mut out = io::stdout().lock();
    for table in &options.tables {
        let family = if table == "local_in" { "v4" } else { family };
        let titles =
            Case::ALL.map(|case| format!("{table}, {family}, {}: ns a packet", case.name()));
        let mut sheets = titles
            .map(|title| Sheet::new(title, rows().chain(RATIOS.iter().map(|(name, ..)| *name))));
        let mut octets = Sheet::new(format!("{table}: octets an entry"), rows());
        for (size, n) in sizes(table, &options.sizes) {
            let items = PACKETS.max(n);
            let mut field = field(table, n, items, options.family, seed);
            agree(&mut *field, (COMPARED / n).max(1000));
            let of = |contender| field.octets(contender) as f64 / n as f64;
            octets.column(size.clone(), |row| {
                let (_, contender) = Contender::ALL.into_iter().find(|(name, _)| *name == row)?;
                field.has(contender).then(|| figure(of(contender)))
            });
            let rounds = options.rounds.unwrap_or(if n > LARGE { 60 } else { 300 });
            for (case, sheet) in Case::ALL.into_iter().zip(&mut sheets) {
                eprintln!("{table} {size} {}", case.name());
                let times = times(&mut *field, case, n, rounds);
                sheet.column(size.clone(), |row| cell(row, &times));
                for (name, contender, ns) in times {
                    let Some(json) = &mut json else { continue };
                    writeln!(
                        json,
                        "{{\"table\":\"{table}\",\"entries\":{n},\"family\":\"{family}\",\
                         \"case\":\"{}\",\"contender\":\"{name}\",\"ns_min\":{ns:.3},\
                         \"rounds\":{rounds},\"octets_per_entry\":{:.2}}}",
                        case.name(),
                        field.octets(contender) as f64 / n as f64,
                    )?;
                }
            }
        }
        for sheet in sheets.iter().chain([&octets]) {
            sheet.print(&mut out)?;
        }
    }
    json.as_mut().map_or(Ok(()), Write::flush)
}
