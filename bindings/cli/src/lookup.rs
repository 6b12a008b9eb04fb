//! `espial lookup`: how long it takes to find the SA of an SPI, here and now.
//!
//! ```text
//! Shape ─▶ Scene: a gateway and its SAs ─┬─▶ measure: one thread, bursts, singles, chains ─┐
//!                                        └─▶ threads: readers, and a writer beside them ───┴─▶ Row
//! ```
//!
//! Owns what is measured and how; the tables are the core's. Every answer is compared before anything
//! is timed. Benchmarks use the parts ([`scene`], [`measure`]) with other programs beside them.

pub mod measure;
mod report;
mod rng;
pub mod scene;
#[cfg(test)]
mod tests;
pub mod threads;

use std::io::{self, IsTerminal, Write};
use std::num::{NonZeroU32, NonZeroUsize};

use espial::{Ipsec, SaId, Spi, Worker};
use indicatif::{ProgressBar, ProgressStyle};

pub use rng::Rng;

use crate::check::CheckError;
use measure::{Effort, Latency, Times};
use scene::{Scene, Shape, SpiKind};
use threads::{Churned, Pace, Reading, Stage};

/// More SAs than this show on a terminal how far they are.
const PROGRESS_SAS: usize = 1 << 19;

/// What everything at random follows from: two runs ask for the same SPIs.
const SEED: u64 = 0x0e59_1a1d_0000_0003;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// SAs; the gateway has room for no more.
    pub sas: NonZeroUsize,
    /// Whose SPIs; `None` is allocated ones, then random ones.
    pub spis: Option<SpiKind>,
    /// SPIs asked for at once.
    pub burst: NonZeroUsize,
    /// Reader threads.
    pub threads: Option<NonZeroU32>,
    /// SAs replaced a second while readers read.
    pub churn: Option<NonZeroU32>,
    /// For how long.
    pub effort: Effort,
}

/// How results are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Tables.
    Text,
    /// One JSON object a row.
    Json,
}

/// What SPIs are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ask {
    /// Those of SAs.
    Hit,
    /// Others.
    Miss,
}

/// How they are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Call {
    /// [`Worker::find_spis`].
    Burst,
    /// [`espial::inbound::SpiTable::find`].
    Single,
}

/// One result.
#[derive(Clone, Copy, Debug)]
enum Row {
    Memory { octets: usize },
    Throughput { ask: Ask, call: Call, times: Times, missed: u64 },
    Latency { ask: Ask, latency: Latency },
    Threads { threads: u32, reading: Reading },
    Churn { threads: u32, pace: Pace, churned: Churned },
}

impl Row {
    /// Lookups of live SAs that did not find them.
    fn missed(&self) -> u64 {
        match self {
            Self::Memory { .. } | Self::Latency { .. } => 0,
            Self::Throughput { missed, .. } => *missed,
            Self::Threads { reading, .. } => reading.missed,
            Self::Churn { churned, .. } => churned.alone.missed + churned.beside.missed,
        }
    }
}

/// Measures and writes the results. Returns the exit status: 1 if the SA of an SPI was not found though
/// it lived, else 0.
///
/// # Errors
/// Those of `out`; [`CheckError::Gateway`] if no gateway holds so many SAs.
///
/// # Examples
/// ```
/// use espial_cli::lookup::{Format, Options, measure::Effort, run, scene::SpiKind};
///
/// let options = Options {
///     sas: 100.try_into().unwrap(),
///     spis: Some(SpiKind::Random),
///     burst: 32.try_into().unwrap(),
///     threads: None,
///     churn: None,
///     effort: Effort::LEAST,
/// };
/// let mut out = Vec::new();
/// assert_eq!(run(&options, Format::Json, &mut out).unwrap(), 0);
/// assert!(String::from_utf8(out).unwrap().contains("\"measure\":\"throughput\""));
/// ```
pub fn run(options: &Options, format: Format, out: &mut dyn Write) -> Result<u8, CheckError> {
    let kinds = match options.spis {
        Some(kind) => vec![kind],
        None => vec![SpiKind::Allocated, SpiKind::Random],
    };
    if options.churn.is_some() && options.sas.get() < 2 {
        let why = "--churn: takes 2 SAs at least, one that stays and one that is replaced";
        return Err(CheckError::Gateway(why.to_owned()));
    }
    let mut missed = 0;
    for kind in kinds {
        let rows = measure_all(options, kind)?;
        missed += rows.iter().map(Row::missed).sum::<u64>();
        report::write(options, kind, &rows, format, out)?;
        out.flush()?;
    }
    if missed > 0 && format == Format::Text {
        writeln!(out, "{missed} lookups did not find the SA, though it lived.")?;
    }
    Ok(u8::from(missed > 0))
}

fn measure_all(options: &Options, kind: SpiKind) -> Result<Vec<Row>, CheckError> {
    let unusable = |error: &dyn std::fmt::Display| {
        CheckError::Gateway(format!("--sas {}: {error}", options.sas))
    };
    let mut rows = one_thread(options, kind).map_err(|error| unusable(&error))?;
    if options.threads.is_none() && options.churn.is_none() {
        return Ok(rows);
    }
    let threads = options.threads.map_or(1, NonZeroU32::get);
    let shape = Shape { workers: threads, ..Shape::full(options.sas.get(), kind, SEED) };
    let bar = Bar::new(options.sas.get());
    let stage = Stage::new(&shape, options.burst.get(), &mut |sas| bar.set(sas));
    drop(bar);
    let mut stage = stage.map_err(|error| unusable(&error))?;
    let counts = if threads == 1 { vec![1] } else { vec![1, threads] };
    for threads in counts {
        let reading = stage.read(threads as usize, &options.effort);
        rows.push(Row::Threads { threads, reading });
    }
    if let Some(rate) = options.churn {
        for pace in [Pace::PerSecond(rate.get()), Pace::Unpaced] {
            let churned = stage.churn(pace, &options.effort).map_err(|error| unusable(&error))?;
            rows.push(Row::Churn { threads, pace, churned });
        }
    }
    Ok(rows)
}

fn one_thread(options: &Options, kind: SpiKind) -> Result<Vec<Row>, scene::SceneError> {
    let (shape, effort) = (Shape::full(options.sas.get(), kind, SEED), &options.effort);
    let bar = Bar::new(shape.sas);
    let mut scene = Scene::new(&shape, &mut |sas| bar.set(sas))?;
    drop(bar);
    let mut rows = vec![Row::Memory { octets: scene.octets() }];
    let wrong = wrong_answers(&mut scene, options.burst.get());
    let hits = scene.hits(1 << 16);
    let misses = scene.misses(hits.len());
    let mut worker = scene.worker();
    for (ask, spis) in [(Ask::Hit, &hits), (Ask::Miss, &misses)] {
        let live = if ask == Ask::Hit { spis.len() } else { 0 };
        for call in [Call::Burst, Call::Single] {
            let mut missed = if ask == Ask::Hit { wrong } else { 0 };
            let times = measure::times(effort, spis.len(), || {
                let found = pass(&mut worker, spis, call, options.burst.get());
                missed += live.abs_diff(found) as u64;
            });
            rows.push(Row::Throughput { ask, call, times, missed });
        }
    }
    for (ask, spis) in [(Ask::Hit, &hits), (Ask::Miss, &misses)] {
        rows.push(Row::Latency { ask, latency: measure::latency(effort, &mut worker, spis) });
    }
    Ok(rows)
}

fn pass(worker: &mut Worker<'_>, spis: &[Spi], call: Call, burst: usize) -> usize {
    match call {
        Call::Burst => measure::burst_pass(worker, spis, burst),
        Call::Single => measure::single_pass(worker, spis),
    }
}

/// Asks for every SA once in each way; how many answers were not the SA's handle.
pub fn wrong_answers(scene: &mut Scene, burst: usize) -> u64 {
    let sas = std::mem::take(&mut scene.sas);
    let mut worker = scene.worker();
    let mut out = vec![SaId::NONE; burst];
    let mut wrong = 0;
    for sas in sas.chunks(burst) {
        let spis: Vec<Spi> = sas.iter().map(|sa| sa.spi).collect();
        worker.find_spis(Ipsec::Esp, &spis, &mut out);
        wrong += sas.iter().zip(&out).filter(|(sa, got)| sa.id != **got).count();
        let table = worker.spi_table();
        wrong += sas.iter().filter(|sa| table.find(Ipsec::Esp, sa.spi) != sa.id).count();
    }
    drop(worker);
    scene.sas = sas;
    wrong as u64
}

/// Shows on a terminal how many SAs there are, if they are many.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new(sas: usize) -> Self {
        Self((sas > PROGRESS_SAS && io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} SAs");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(sas as u64).with_style(style)
        }))
    }

    fn set(&self, sas: usize) {
        if let Some(bar) = &self.0 {
            bar.set_position(sas as u64);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
