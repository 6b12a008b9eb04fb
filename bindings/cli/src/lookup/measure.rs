//! Lookups of one thread, timed.
//!
//! The loops that are timed are functions of their own, so that nothing around them changes what the
//! compiler makes of them, and so that benchmarks and instruction counts call the same ones.

use std::hint::black_box;
use std::time::{Duration, Instant};

use espial::{Ipsec, SaId, Spi, Worker};

/// The longest burst.
pub const BURST_MAX: usize = 64;

/// Lookups of a chain.
pub const CHAIN: usize = 16;

/// Lookups of single SPIs between two looks at which table is in force.
const TURN: usize = 32;

/// Looks all SPIs up, `burst` at a time; returns how many were found.
///
/// # Panics
/// If `burst` is 0 or above [`BURST_MAX`].
#[inline(never)]
pub fn burst_pass(worker: &mut Worker<'_>, spis: &[Spi], burst: usize) -> usize {
    let mut room = [SaId::NONE; BURST_MAX];
    let out = &mut room[..burst];
    let mut found = 0;
    for spis in spis.chunks(burst) {
        found += worker.find_spis(Ipsec::Esp, spis, out);
        black_box(&mut *out);
    }
    found
}

/// Looks all SPIs up, each by itself, in a loop as a host writes it; returns how many were found.
#[inline(never)]
pub fn single_pass(worker: &mut Worker<'_>, spis: &[Spi]) -> usize {
    let mut out = [SaId::NONE; TURN];
    let mut found = 0;
    for spis in spis.chunks(TURN) {
        let table = worker.spi_table();
        for (spi, sa) in spis.iter().zip(&mut out) {
            *sa = table.find(Ipsec::Esp, *spi);
            found += usize::from(*sa != SaId::NONE);
        }
        black_box(&mut out);
    }
    found
}

/// Looks SPIs up, each only when the one before has been answered: the processor cannot overlap them.
#[inline(never)]
pub fn chain(worker: &mut Worker<'_>, spis: &[Spi], nothing: u32) -> u32 {
    let table = worker.spi_table();
    spis.iter().fold(0, |last, spi| {
        // `nothing` is 0, which the compiler does not know. All of a handle comes out of memory.
        let sa = table.find(Ipsec::Esp, Spi(spi.0 ^ (last & nothing)));
        let raw = sa.to_raw();
        (raw ^ raw >> 32) as u32
    })
}

/// How long a measurement takes.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// A row of throughput.
    pub row: Duration,
    /// Passes of it, at least.
    pub passes: usize,
    /// Chains that are timed.
    pub chains: usize,
    /// One measurement with threads.
    pub round: Duration,
    /// Measurements with threads, each beside one without a writer.
    pub rounds: usize,
}

impl Effort {
    /// What the command line does: a few seconds in all.
    pub const USUAL: Self = Self {
        row: Duration::from_millis(200),
        passes: 7,
        chains: 1 << 15,
        round: Duration::from_millis(120),
        rounds: 5,
    };

    /// As little as shows that it works.
    pub const LEAST: Self = Self {
        row: Duration::ZERO,
        passes: 1,
        chains: 64,
        round: Duration::from_millis(5),
        rounds: 1,
    };
}

/// Times of passes, in ns an item.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Times {
    /// The least.
    pub min: f64,
    /// The one in the middle.
    pub median: f64,
}

/// Times passes over `items` items.
pub fn times(effort: &Effort, items: usize, mut pass: impl FnMut()) -> Times {
    let begun = Instant::now();
    let mut took = Vec::new();
    while took.len() < effort.passes.max(1) || begun.elapsed() < effort.row {
        let start = Instant::now();
        pass();
        took.push(start.elapsed().as_nanos() as f64 / items as f64);
    }
    took.sort_by(f64::total_cmp);
    Times { min: took[0], median: took[took.len() / 2] }
}

/// How long one lookup takes from question to answer, in ns: a chain's time divided by its lookups.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Latency {
    /// Half of the chains are faster.
    pub p50: f64,
    /// 99 of 100 are.
    pub p99: f64,
    /// The slowest; interrupts and other programs are in it.
    pub max: f64,
    /// What reading the clock took, which is subtracted from each chain.
    pub timer_ns: f64,
}

/// Times chains of [`CHAIN`] lookups, one at a time.
pub fn latency(effort: &Effort, worker: &mut Worker<'_>, spis: &[Spi]) -> Latency {
    let timer_ns = timer_ns();
    let nothing = black_box(0);
    let mut took = Vec::with_capacity(effort.chains);
    let mut sum = 0;
    for spis in spis.chunks_exact(CHAIN.min(spis.len()).max(1)).cycle().take(effort.chains) {
        let start = Instant::now();
        sum ^= chain(worker, spis, nothing);
        let ns = start.elapsed().as_nanos() as f64 - timer_ns;
        took.push(ns.max(0.0) / spis.len() as f64);
    }
    black_box(sum);
    took.sort_by(f64::total_cmp);
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    Latency { p50: at(0.5), p99: at(0.99), max: at(1.0), timer_ns }
}

/// What two readings of the clock with nothing in between show: the median.
fn timer_ns() -> f64 {
    let mut took: Vec<_> = (0..4096).map(|_| Instant::now().elapsed().as_nanos()).collect();
    took.sort_unstable();
    took[took.len() / 2] as f64
}
