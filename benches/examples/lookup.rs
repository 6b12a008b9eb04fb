//! SPI to SA beside known peers, in one run: `lookup --help`.
//!
//! Contenders take turns (`espial_benches::contest`). Up to 512k SAs a pass takes the whole trace, 128k
//! lookups or more, and so does the one before it. Above, they take different parts of it, 128k and 512k
//! lookups: what the first leaves in the cache is what any traffic would.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Parser;
use espial_benches::arena::{Arena, Ask, Contender, Load, Way};
use espial_benches::contest::{Parts, Sheet, compete, figure};
use espial_benches::mixed::{Mixed, MixedContender};
use espial_benches::options::{self, Size};
use espial_cli::lookup::scene::SpiKind;

/// Lookups of a trace, at least, and of a pass in small tables.
const LEAST: usize = 1 << 17;
/// Lookups of a timed pass in large tables.
const PART: usize = 1 << 17;
/// Lookups of the pass before it.
const WARM: usize = 1 << 19;
/// Tables of more SAs are large.
const LARGE: usize = WARM;

/// Who takes longer than this for a lookup in small tables, in large ones, takes part in one round of
/// eight.
const SLOW_NS: [f64; 2] = [40.0, 150.0];

const CONTENDERS: [(&str, Contender); 15] = [
    ("espial, bursts of 32", Contender::Espial(Load::Full, Way::Burst(32))),
    ("espial, one at a time", Contender::Espial(Load::Full, Way::Single)),
    ("hashbrown", Contender::Hashbrown),
    ("espial half full, bursts of 32", Contender::Espial(Load::Half, Way::Burst(32))),
    ("espial half full, one at a time", Contender::Espial(Load::Half, Way::Single)),
    ("std", Contender::Std),
    ("heapless", Contender::Heapless),
    ("rte_ipsec_sad, bursts of 32", Contender::Sad(Way::Burst(32))),
    ("rte_ipsec_sad, one at a time", Contender::Sad(Way::Single)),
    ("rte_hash, bursts of 32", Contender::Hash(Way::Burst(32))),
    ("rte_hash, one at a time", Contender::Hash(Way::Single)),
    ("roofline, bursts of 32", Contender::Roofline(Way::Burst(32))),
    ("roofline, one at a time", Contender::Roofline(Way::Single)),
    ("espial, each waits for the last", Contender::Espial(Load::Full, Way::Chain)),
    ("hashbrown, each waits for the last", Contender::HashbrownChain),
];

const MIXED: [(&str, MixedContender); 4] = [
    ("espial, bursts of 32", MixedContender::Espial),
    ("espial, bursts of 32, whole arrivals", MixedContender::EspialArrivals),
    ("hashbrown", MixedContender::Hashbrown),
    ("rte_ipsec_sad, bursts of 32", MixedContender::Sad),
];

/// SPI to SA beside known peers, in one run
///
/// Prints Markdown. Contenders take turns in rounds and the least time counts.
#[derive(Parser)]
#[command(
    name = "lookup",
    after_help = "\
Examples:
  lookup                                all kinds of keys, 1k to 4M SAs
  lookup --keys random --keys both 64k
  lookup --json lookup.jsonl 1k 1M"
)]
struct Options {
    /// Only these keys, as often as wanted; mixed: of all three types
    #[arg(long, value_name = "KEYS", value_parser = ["allocated", "random", "both", "mixed"])]
    keys: Vec<String>,
    /// Rounds of each column; without it 120, or 16 above 512k SAs
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// One JSON object for each figure
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// SAs: 1k, 1M or a number, where k is 1024; without one 1k, 64k, 1M and 4M
    #[arg(value_name = "SIZE", value_parser = options::size)]
    sizes: Vec<Size>,
}

impl Options {
    /// True if the keys are asked for: all are, if none are named.
    fn wants(&self, keys: &str) -> bool {
        self.keys.is_empty() || self.keys.iter().any(|wanted| wanted == keys)
    }
}

/// Parts of a trace of so many lookups, and what is slow then.
fn parts(items: usize) -> (Parts, f64) {
    match items > WARM {
        true => (Parts { items, timed: PART, before: WARM }, SLOW_NS[1]),
        false => (Parts::whole(items), SLOW_NS[0]),
    }
}

/// One kind of SPI, one question, all sizes.
struct Question {
    kind: SpiKind,
    ask: Ask,
    sheet: Sheet,
}

fn main() -> io::Result<()> {
    let mut options = Options::parse();
    let mut json = options::json(options.json.as_deref());
    let seed = espial_benches::seed();
    let sizes = options::sizes(std::mem::take(&mut options.sizes), ["1k", "64k", "1M", "4M"]);
    let mut questions: Vec<Question> = [SpiKind::Allocated, SpiKind::Random, SpiKind::Both]
        .into_iter()
        .flat_map(|kind| [Ask::Hit, Ask::Miss, Ask::NearMiss].map(|ask| (kind, ask)))
        .filter(|(kind, ask)| *ask != Ask::NearMiss || *kind == SpiKind::Allocated)
        .map(|(kind, ask)| {
            let title = format!("SPIs {}, {}: ns a lookup", kind.name(), ask.name());
            let mut names: Vec<_> = CONTENDERS.iter().map(|(name, _)| *name).collect();
            names.extend(["hashbrown / espial bursts", "hashbrown / espial one at a time"]);
            Question { kind, ask, sheet: Sheet::new(title, names) }
        })
        .collect();
    let mut octets: Vec<(SpiKind, Sheet)> = [SpiKind::Allocated, SpiKind::Random, SpiKind::Both]
        .map(|kind| {
            let title = format!("SPIs {}: octets of table an SA", kind.name());
            let names: Vec<_> = CONTENDERS.iter().map(|(name, _)| *name).collect();
            (kind, Sheet::new(title, names))
        })
        .into();
    let mut mixed: Vec<(bool, Sheet)> = [true, false]
        .map(|hit| {
            let title = format!(
                "Keys of three types (SPI, SPI and destination, both addresses), {}: ns a lookup",
                if hit { "hit" } else { "miss" }
            );
            (hit, Sheet::new(title, MIXED.map(|(name, _)| name)))
        })
        .into();

    for (size, sas) in sizes.iter().map(|size| (&size.text, size.binary())) {
        let rounds = options.rounds.unwrap_or(if sas <= LARGE { 120 } else { 16 });
        let mut tell = |object: String| match &mut json {
            Some(json) => writeln!(json, "{object}"),
            None => Ok(()),
        };
        for (kind, octets) in octets.iter_mut().filter(|(kind, _)| options.wants(kind.name())) {
            let arena = Arena::new(sas, *kind, Load::Full, LEAST, seed);
            for question in questions.iter_mut().filter(|question| question.kind == *kind) {
                let (ask, spi) = (question.ask, kind.name());
                eprintln!("{size}: {spi}, {}", ask.name());
                let list: Vec<_> =
                    CONTENDERS.iter().filter(|(_, contender)| arena.has(*contender)).collect();
                list.iter().for_each(|(_, contender)| arena.prepare(*contender, ask));
                let (parts, slow_ns) = parts(arena.items());
                let least = compete(&vec![parts; list.len()], rounds, slow_ns, |at, part| {
                    std::hint::black_box(arena.pass(list[at].1, ask, part));
                });
                let of = |name: &str| {
                    let at = list.iter().position(|(listed, _)| *listed == name)?;
                    Some(least[at])
                };
                let ratio =
                    |name| Some(format!("{:.2}", of("hashbrown")? / of(name).unwrap_or(0.0)));
                question.sheet.column(size.clone(), |name| match name {
                    "hashbrown / espial bursts" => ratio("espial, bursts of 32"),
                    "hashbrown / espial one at a time" => ratio("espial, one at a time"),
                    name => of(name).map(figure),
                });
                for (at, (name, contender)) in list.iter().enumerate() {
                    let each = arena.octets_per_sa(*contender);
                    let each = each.map_or("null".to_owned(), |octets| format!("{octets:.2}"));
                    tell(format!(
                        "{{\"sas\":{sas},\"spi\":\"{spi}\",\"lookup\":\"{}\",\"contender\":\"{name}\",\
                         \"ns_min\":{:.3},\"rounds\":{rounds},\"octets_per_sa\":{each}}}",
                        ask.name(),
                        least[at],
                    ))?;
                }
            }
            octets.column(size.clone(), |name| {
                // One row for each table.
                let shown = !name.contains("one at a time") && !name.contains("waits");
                let (_, contender) = CONTENDERS.iter().find(|(listed, _)| *listed == name)?;
                let has = shown && arena.has(*contender);
                let each = has.then(|| arena.octets_per_sa(*contender)).flatten();
                each.map(|octets| format!("{octets:.1}"))
            });
        }
        if !options.wants("mixed") {
            continue;
        }
        let arena = Mixed::new(sas, LEAST, seed);
        let list: Vec<_> = MIXED.iter().filter(|(_, contender)| arena.has(*contender)).collect();
        for (hit, sheet) in &mut mixed {
            let lookup = if *hit { "hit" } else { "miss" };
            eprintln!("{size}: keys of three types, {lookup}");
            let (parts, slow_ns) = parts(arena.items());
            let least = compete(&vec![parts; list.len()], rounds, slow_ns, |at, part| {
                std::hint::black_box(arena.pass(list[at].1, *hit, part));
            });
            sheet.column(size.clone(), |name| {
                let at = list.iter().position(|(listed, _)| *listed == name)?;
                Some(figure(least[at]))
            });
            for (at, (name, contender)) in list.iter().enumerate() {
                tell(format!(
                    "{{\"sas\":{sas},\"spi\":\"three key types\",\"lookup\":\"{lookup}\",\
                     \"contender\":\"{name}\",\"ns_min\":{:.3},\"rounds\":{rounds},\
                     \"octets_per_sa\":{:.2}}}",
                    least[at],
                    arena.octets(*contender) as f64 / sas as f64,
                ))?;
            }
        }
    }
    let mut out = io::stdout().lock();
    for question in &questions {
        question.sheet.print(&mut out)?;
    }
    for (_, sheet) in &mixed {
        sheet.print(&mut out)?;
    }
    for (_, sheet) in &octets {
        sheet.print(&mut out)?;
    }
    match &mut json {
        Some(json) => json.flush(),
        None => Ok(()),
    }
}
