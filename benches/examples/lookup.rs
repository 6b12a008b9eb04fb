//! SPI to SA beside known peers, in one run: `lookup [--rounds N] [--json FILE] [--keys K]... [SIZE...]`.
//!
//! K is `allocated`, `random`, `both` or `mixed` (keys of all three types); without one, the four. SIZE is `1k`, `64k`, `1M`, `4M` or a number of SAs; without one, the four. Prints Markdown, and
//! writes one JSON object for each figure to FILE.
//!
//! Contenders take turns (`espial_benches::contest`). Up to 512k SAs a pass takes the whole trace, 128k
//! lookups or more, and so does the one before it. Above, they take different parts of it, 128k and 512k
//! lookups: what the first leaves in the cache is what any traffic would.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use espial_benches::arena::{Arena, Ask, Contender, Load, Way};
use espial_benches::contest::{Parts, Sheet, compete, figure};
use espial_benches::mixed::{Mixed, MixedContender};
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

struct Options {
    sizes: Vec<(String, usize)>,
    rounds: Option<usize>,
    json: Option<BufWriter<File>>,
    keys: Wanted,
}

/// Which keys to ask for: all, if there are none.
#[derive(Default)]
struct Wanted(Vec<String>);

impl Wanted {
    fn has(&self, keys: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|wanted| wanted == keys)
    }
}

const KEYS: [&str; 4] = ["allocated", "random", "both", "mixed"];

fn options() -> Options {
    let mut options =
        Options { sizes: Vec::new(), rounds: None, json: None, keys: Wanted::default() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().expect("a value behind the option");
        match argument.as_str() {
            "--rounds" => options.rounds = Some(value().parse().expect("a number of rounds")),
            "--json" => {
                let file = File::create(value()).expect("a file that can be written");
                options.json = Some(BufWriter::new(file));
            }
            "--keys" => {
                let keys = value();
                assert!(KEYS.contains(&keys.as_str()), "--keys {keys}: one of {}", KEYS.join(", "));
                options.keys.0.push(keys);
            }
            size => options.sizes.push((size.to_owned(), sas(size))),
        }
    }
    if options.sizes.is_empty() {
        options.sizes = ["1k", "64k", "1M", "4M"].map(|size| (size.to_owned(), sas(size))).to_vec();
    }
    options
}

fn sas(size: &str) -> usize {
    let (digits, unit) = match size.split_at(size.len() - 1) {
        (digits, "k") => (digits, 1 << 10),
        (digits, "M") => (digits, 1 << 20),
        _ => (size, 1),
    };
    unit * digits.parse::<usize>().expect("1k, 64k, 1M, 4M or a number")
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
    let seed = espial_benches::seed();
    let mut options = options();
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

    let keys = std::mem::take(&mut options.keys);
    for (size, sas) in &options.sizes {
        let rounds = options.rounds.unwrap_or(if *sas <= LARGE { 120 } else { 16 });
        let mut tell = |object: String| match &mut options.json {
            Some(json) => writeln!(json, "{object}"),
            None => Ok(()),
        };
        for (kind, octets) in octets.iter_mut().filter(|(kind, _)| keys.has(kind.name())) {
            let arena = Arena::new(*sas, *kind, Load::Full, LEAST, seed);
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
        if !keys.has("mixed") {
            continue;
        }
        let arena = Mixed::new(*sas, LEAST, seed);
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
                    arena.octets(*contender) as f64 / *sas as f64,
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
    match &mut options.json {
        Some(json) => json.flush(),
        None => Ok(()),
    }
}
