//! The whole inbound check, and the strict check alone, beside the same made of DPDK's parts, in one run:
//! `gateway --help`.
//!
//! Contenders take turns (`espial_benches::contest`), and every verdict and every counter is compared
//! before the first is timed.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Parser;
use espial_benches::checks::{self, Contender, Limits, PART, Peer, Vectors};
use espial_benches::contest::{Sheet, figure};
use espial_benches::drive::{self, TURN};
use espial_benches::options::{self, Size};
use espial_benches::peers::Way;
use espial_benches::{Drops, Plan, Rng, Shape, Trace};

/// SAs of the strict check.
const SAS: usize = 1000;
/// Packets of its trace.
const DEALT: usize = 28 * PART;

const BURSTS: &str = "espial, bursts of 32";
const SINGLE: &str = "espial, one at a time";
const OWN_BURSTS: &str = "DPDK, a context a Child SA, bursts of 32";
const OWN_SINGLE: &str = "DPDK, a context a Child SA, one at a time";
const ALL_BURSTS: &str = "DPDK, one context, bursts of 32";
const ALL_AVX2: &str = "DPDK, one context, AVX2, bursts of 32";
const ALL_SINGLE: &str = "DPDK, one context, one at a time";
const MATCHERS: &str = "espial, selectors alone";
const CONTEXTS: &str = "rte_acl, a context a Child SA, selectors alone";

const fn peer(way: Way, vectors: Vectors, burst: usize) -> Contender {
    Contender::Peer(way, vectors, burst)
}

const WHOLE: [(&str, Contender); 8] = [
    (BURSTS, Contender::Espial(TURN)),
    (OWN_BURSTS, peer(Way::Own, Vectors::Widest, TURN)),
    (ALL_BURSTS, peer(Way::All, Vectors::Widest, TURN)),
    (ALL_AVX2, peer(Way::All, Vectors::Avx2, TURN)),
    (SINGLE, Contender::Espial(1)),
    (OWN_SINGLE, peer(Way::Own, Vectors::Widest, 1)),
    (ALL_SINGLE, peer(Way::All, Vectors::Widest, 1)),
    ("naive twin", Contender::Naive),
];

const STRICT: [(&str, Contender); 9] = [
    (BURSTS, Contender::Espial(TURN)),
    (SINGLE, Contender::Espial(1)),
    ("espial, headers already read, one at a time", Contender::Headers),
    (OWN_BURSTS, peer(Way::Own, Vectors::Widest, TURN)),
    (ALL_BURSTS, peer(Way::All, Vectors::Widest, TURN)),
    (ALL_AVX2, peer(Way::All, Vectors::Avx2, TURN)),
    ("naive twin", Contender::Naive),
    (MATCHERS, Contender::Matchers),
    (CONTEXTS, Contender::Contexts),
];

/// Rows below those of the contenders: the first over the least of the others.
const RATIOS: [(&str, &str, &[&str]); 5] = [
    ("espial / DPDK with a context a Child SA, bursts of 32", BURSTS, &[OWN_BURSTS]),
    ("espial / DPDK with one context, bursts of 32", BURSTS, &[ALL_BURSTS, ALL_AVX2]),
    ("espial / DPDK with a context a Child SA, one at a time", SINGLE, &[OWN_SINGLE]),
    ("espial / DPDK with one context, one at a time", SINGLE, &[ALL_SINGLE]),
    ("espial / rte_acl, selectors alone", MATCHERS, &[CONTEXTS]),
];

/// The whole inbound check, and the strict check alone, beside the same made of DPDK's rte_ipsec_sad and rte_acl
///
/// Prints Markdown. Contenders take turns in rounds and the least time counts. Without feature dpdk of the package, espial
/// and its naive twin compete alone.
#[derive(Parser)]
#[command(
    name = "gateway",
    after_help = "\
Examples:
  gateway                                        all of it, up to 64k SAs
  gateway --row whole --selectors 16 64k         one column
  gateway --row strict --traffic accept --json strict.jsonl"
)]
struct Options {
    /// Only this part, as often as wanted
    #[arg(long = "row", value_name = "ROW", value_parser = ["whole", "strict"])]
    rows: Vec<String>,
    /// Selectors an SA, as often as wanted: 1, 4, 16; without one, the three
    #[arg(long, value_name = "N", value_parser = selectors)]
    selectors: Vec<usize>,
    /// Only this traffic: accept, or mixed (of 100 packets 4 on the wrong SA, 4 of no selector, 2 of an unknown SPI)
    #[arg(long, value_name = "TRAFFIC", value_parser = traffic)]
    traffic: Vec<(&'static str, Drops)>,
    /// DPDK's contexts of Child SAs only (own), or only its one context (all)
    #[arg(long, value_name = "WAY", value_parser = way)]
    way: Option<Way>,
    /// Turns of each contender, whose least counts
    #[arg(long, value_name = "N", default_value_t = 100)]
    rounds: usize,
    /// Memory that rte_acl may take to build, beside its tables
    #[arg(long, value_name = "MIB", default_value_t = 3072)]
    build_mib: usize,
    /// Seconds that it may take
    #[arg(long, value_name = "N", default_value_t = 120.0)]
    build_seconds: f64,
    /// One JSON object for each figure
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// SAs of the whole check: 1k, 64k or a number, where k is 1024; without one 1k, 4k, 16k and 64k
    #[arg(value_name = "SAS", value_parser = options::size)]
    sizes: Vec<Size>,
}

impl Options {
    fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|wanted| wanted == row)
    }

    fn has(&self, way: Way) -> bool {
        self.way.is_none_or(|wanted| wanted == way)
    }

    fn limits(&self) -> Limits {
        Limits { octets: self.build_mib << 20, seconds: self.build_seconds }
    }
}

const TRAFFIC: [(&str, Drops); 2] = [("accept", Drops::NONE), ("mixed", Drops::MIXED)];

fn traffic(name: &str) -> Result<(&'static str, Drops), String> {
    options::named(TRAFFIC.map(|traffic| (traffic.0, traffic)), name)
}

fn way(name: &str) -> Result<Way, String> {
    options::named([("own", Way::Own), ("all", Way::All)], name)
}

fn selectors(count: &str) -> Result<usize, String> {
    options::named([("1", 1), ("4", 4), ("16", 16)], count)
}

fn options() -> Options {
    let mut options = Options::parse();
    options.sizes = options::sizes(options.sizes, ["1k", "4k", "16k", "64k"]);
    if options.selectors.is_empty() {
        options.selectors = vec![1, 4, 16];
    }
    if options.traffic.is_empty() {
        options.traffic = TRAFFIC.to_vec();
    }
    options
}

/// What one column says in the row of that name.
fn cell(
    row: &str,
    names: &[(&'static str, Contender)],
    times: &[(Contender, f64)],
) -> Option<String> {
    let of = |name: &str| {
        let (_, contender) = names.iter().find(|(listed, _)| *listed == name)?;
        times.iter().find(|(one, _)| one == contender).map(|(_, ns)| *ns)
    };
    let Some((_, one, others)) = RATIOS.iter().find(|(name, ..)| *name == row) else {
        return of(row).map(figure);
    };
    let least = others.iter().filter_map(|name| of(name)).reduce(f64::min)?;
    Some(format!("{:.2}", of(one)? / least))
}

/// A table of these contenders and of the ratios between them.
fn times_sheet(title: String, names: &[(&'static str, Contender)]) -> Sheet {
    let ratios = RATIOS.iter().map(|(name, ..)| *name);
    Sheet::new(title, names.iter().map(|(name, _)| *name).chain(ratios))
}

/// Where figures go: tables, and the file of `--json`.
struct Record {
    json: Option<BufWriter<File>>,
    rounds: usize,
}

impl Record {
    fn column(
        &mut self,
        sheet: &mut Sheet,
        part: &str,
        (sas, selectors, traffic): (usize, usize, &str),
        names: &[(&'static str, Contender)],
        times: &[(Contender, f64)],
    ) -> io::Result<()> {
        sheet.column(format!("{selectors} selectors"), |row| cell(row, names, times));
        let Some(json) = &mut self.json else { return Ok(()) };
        for (contender, ns) in times {
            let (name, _) = names.iter().find(|(_, one)| one == contender).expect("its name");
            writeln!(
                json,
                "{{\"part\":\"{part}\",\"sas\":{sas},\"selectors\":{selectors},\
                 \"traffic\":\"{traffic}\",\"contender\":\"{name}\",\"ns_min\":{ns:.3},\
                 \"rounds\":{}}}",
                self.rounds,
            )?;
        }
        Ok(())
    }
}

/// Builds rte_acl's tables, and says what that took or why it could not be done.
fn build(
    peer: &mut Peer,
    plan: &Plan,
    way: Way,
    limits: Limits,
    before: Option<&(f64, usize)>,
) -> (String, Option<(f64, usize)>) {
    // The time of one context cannot be known before its end, but from a smaller one's.
    if let (Way::All, Some((seconds, selectors))) = (way, before) {
        let expected = seconds * plan.selectors() as f64 / *selectors as f64;
        if expected > limits.seconds {
            let why = format!(
                "not tried: {selectors} selectors took {seconds:.0} s, these would take {expected:.0} s"
            );
            return (why, Some((*seconds, *selectors)));
        }
    }
    match peer.build(plan, way, limits) {
        Ok(built) => (
            format!("{:.1} s, {} MiB", built.seconds, built.octets.div_ceil(1 << 20)),
            Some((built.seconds, plan.selectors())),
        ),
        Err(why) => (format!("does not build: {why}"), before.copied()),
    }
}

const WAYS: [(&str, Way); 2] =
    [("rte_acl, a context a Child SA", Way::Own), ("rte_acl, one context", Way::All)];

fn main() -> io::Result<()> {
    let options = options();
    let mut record =
        Record { json: options::json(options.json.as_deref()), rounds: options.rounds };
    let seed = espial_benches::seed();
    let mut sheets = Vec::new();
    if options.wants("strict") {
        let titles = ["of 32 different SAs", "of one SA"].map(|what| {
            options.traffic.iter().map(move |(traffic, _)| {
                let title =
                    format!("Strict check, {SAS} SAs, bursts {what}, {traffic}: ns a packet");
                times_sheet(title, &STRICT)
            })
        });
        let mut tables: Vec<Vec<Sheet>> = titles.map(Iterator::collect).into();
        for selectors in &options.selectors {
            let plan = Plan::disjoint(Shape { sas: SAS, selectors: *selectors }, seed);
            let mut peer = Peer::new(&plan);
            for (name, way) in WAYS.into_iter().filter(|(_, way)| options.has(*way)) {
                let (said, _) = build(&mut peer, &plan, way, options.limits(), None);
                eprintln!("strict, {selectors} selectors, {name}: {said}");
            }
            for (at, (traffic, drops)) in options.traffic.iter().enumerate() {
                let drops = Drops { unknown_spi: 0, ..*drops };
                let trace = Trace::sized(&plan, drops, 64 * SAS, seed);
                let places: Vec<usize> = (0..trace.len()).collect();
                let different = drive::dealt(&places, DEALT, seed, |at| trace.sa(*at));
                let mut same = places;
                same.sort_by_key(|at| trace.sa(*at));
                let same = of_one(&same, seed, |at| trace.sa(*at));
                for (tables, places) in tables.iter_mut().zip([&different, &same]) {
                    let trace = trace.reordered(places);
                    let times = checks::strict(
                        &STRICT.map(|(_, one)| one),
                        &plan,
                        &trace,
                        &peer,
                        options.rounds,
                    );
                    let part =
                        if std::ptr::eq(places, &different) { "strict" } else { "strict-same" };
                    let shape = (SAS, *selectors, *traffic);
                    record.column(&mut tables[at], part, shape, &STRICT, &times)?;
                }
            }
        }
        sheets.extend(tables.into_iter().flatten());
    }
    if options.wants("whole") {
        let mut built = Sheet::new("rte_acl's tables".to_owned(), WAYS.map(|(name, _)| name));
        // What one context of that many selectors an SA took last.
        let mut took = vec![None; options.selectors.len()];
        for (size, sas) in options.sizes.iter().map(|size| (&size.text, size.binary())) {
            let title = |traffic| format!("Whole check, {size} SAs, {traffic}: ns a packet");
            let mut tables: Vec<Sheet> = options
                .traffic
                .iter()
                .map(|(traffic, _)| times_sheet(title(*traffic), &WHOLE))
                .collect();
            for (took, selectors) in took.iter_mut().zip(&options.selectors) {
                let plan = Plan::disjoint(Shape { sas, selectors: *selectors }, seed);
                let mut peer = Peer::new(&plan);
                let ways = WAYS.into_iter().filter(|(_, way)| options.has(*way));
                let said = ways.map(|(name, way)| {
                    let before = if way == Way::All { took.as_ref() } else { None };
                    let (said, now) = build(&mut peer, &plan, way, options.limits(), before);
                    if way == Way::All {
                        *took = now;
                    }
                    eprintln!(
                        "{size} SAs, {} Child SAs, {} selectors, {name}: {said}",
                        plan.children.len(),
                        plan.selectors(),
                    );
                    (name, said)
                });
                let said: Vec<_> = said.collect();
                built.column(format!("{size}, {selectors} selectors"), |row| {
                    said.iter().find(|(name, _)| *name == row).map(|(_, said)| said.clone())
                });
                for (table, (traffic, drops)) in tables.iter_mut().zip(&options.traffic) {
                    let trace = Trace::sized(
                        &plan,
                        *drops,
                        Trace::packets(sas).next_multiple_of(PART),
                        seed,
                    );
                    let times = checks::whole(
                        &WHOLE.map(|(_, one)| one),
                        &plan,
                        &trace,
                        &peer,
                        options.rounds,
                    );
                    let shape = (sas, *selectors, *traffic);
                    record.column(table, "whole", shape, &WHOLE, &times)?;
                }
            }
            sheets.extend(tables);
        }
        if cfg!(feature = "dpdk") {
            sheets.push(built);
        }
    }
    let mut out = io::stdout().lock();
    for sheet in &sheets {
        sheet.print(&mut out)?;
    }
    record.json.as_mut().map_or(Ok(()), BufWriter::flush)
}

/// Of packets in the order of their SAs, 32 of each that has as many; SAs in random order.
fn of_one(places: &[usize], seed: u64, sa: impl Fn(&usize) -> Option<usize>) -> Vec<usize> {
    let hands = places.chunk_by(|one, next| sa(one) == sa(next));
    let mut bursts: Vec<&[usize]> = hands.filter_map(|hand| hand.get(..TURN)).collect();
    Rng::new(seed, 52).shuffle(&mut bursts);
    let dealt: Vec<usize> = bursts.concat().into_iter().take(DEALT).collect();
    assert_eq!(dealt.len(), DEALT, "bursts of one SA");
    dealt
}
