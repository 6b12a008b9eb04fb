//! The tables around the selector check beside hashbrown and a plain loop, in one run: `gate --help`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Parser;
use espial::headers::Family;
use espial_benches::contest::{Parts, Sheet, compete, figure};
use espial_benches::gate::{Case, Contender, Field, Policies, Sessions, Tunnels, agree};
use espial_benches::options::{self, Size};

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

/// The tables around the selector check beside hashbrown and a plain loop, in one run
///
/// Prints Markdown. Contenders take turns in rounds and the least time counts. Every answer is compared before the first
/// pass is timed.
#[derive(Parser)]
#[command(
    name = "gate",
    after_help = "\
Examples:
  gate                                     the three tables, 1k and 1M entries
  gate --table session --family v6 64k 1M
  gate --table local_in --json gate.jsonl 1k"
)]
struct Options {
    /// Only this table, as often as wanted
    #[arg(long = "table", value_name = "TABLE", value_parser = TABLES)]
    tables: Vec<String>,
    /// Addresses of sessions and flows: v4 or v6
    #[arg(long, default_value = "v4", value_parser = options::family)]
    family: Family,
    /// Rounds of each column; without it 300, or 60 above 256k entries
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// One JSON object for each figure
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Entries, or policies: 1k, 1M or a number; without one 1k and 1M entries, and 16, 1k and 10k policies. k is 1024; of
    /// policies 1000
    #[arg(value_name = "SIZE", value_parser = options::size)]
    sizes: Vec<Size>,
}

/// What a table is for: sizes, and how it is made.
fn sizes(table: &str, asked: &[Size]) -> Vec<(String, usize)> {
    let (sizes, count): (_, fn(&Size) -> usize) = match table {
        "local_in" => (options::sizes(asked.to_vec(), ["16", "1k", "10k"]), Size::decimal),
        _ => (options::sizes(asked.to_vec(), ["1k", "1M"]), Size::binary),
    };
    sizes.into_iter().map(|size| (size.text.clone(), count(&size))).collect()
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
    let mut options = Options::parse();
    if options.tables.is_empty() {
        options.tables = TABLES.map(str::to_owned).to_vec();
    }
    let mut json = options::json(options.json.as_deref());
    let seed = espial_benches::seed();
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
