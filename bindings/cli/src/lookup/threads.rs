//! Reader threads, and a writer that rekeys SAs beside them.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use espial::error::SaError;
use espial::{Ipsec, SaId, Spi, Worker};

use super::Rng;
use super::measure::{BURST_MAX, Effort};
use super::scene::{Sa, Scene, SceneError, Shape, Writer, trace};

/// Bursts of a reader between two looks at whether to stop: its turn of the poll loop.
const TURN: usize = 16;

/// Room for rekeys beside the SAs: until all readers were quiescent, deleted SAs take room too.
const SPARE: usize = 1024;

/// How often SAs are replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// So many a second.
    PerSecond(u32),
    /// As fast as it goes.
    Unpaced,
}

/// What came of reader threads.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Reading {
    /// Lookups a second, all threads together.
    pub per_second: f64,
    /// Lookups of live SAs that found none, or another.
    pub missed: u64,
}

/// What came of reader threads beside a writer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Churned {
    /// The readers beside the writer; misses of all rounds.
    pub beside: Reading,
    /// The same readers without it.
    pub alone: Reading,
    /// SAs that were replaced a second.
    pub updates_per_second: f64,
}

/// What readers ask for, in an order of its own.
struct Trace {
    spis: Vec<Spi>,
    ids: Vec<SaId>,
}

impl Trace {
    fn new(sas: &[Sa], seed: u64) -> Self {
        let sas = trace(&mut Rng::new(seed, 26), sas, 1 << 16);
        Self {
            spis: sas.iter().map(|sa| sa.spi).collect(),
            ids: sas.iter().map(|sa| sa.id).collect(),
        }
    }
}

/// SAs that stay, SAs that are replaced, and all that it takes to read and replace them.
pub struct Stage {
    scene: Scene,
    /// Those that are replaced; the scene's others stay.
    moving: Vec<Sa>,
    trace: Trace,
    threads: usize,
    burst: usize,
}

impl Stage {
    /// A gateway with a little more room than SAs, for so many threads. A quarter of the SAs, one at
    /// least, are for the writer; `shape.sas` is 2 or more.
    ///
    /// # Errors
    /// [`SceneError`].
    ///
    /// # Panics
    /// If `burst` is 0 or above [`BURST_MAX`].
    pub fn new(
        shape: &Shape,
        burst: usize,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self, SceneError> {
        assert!((1..=BURST_MAX).contains(&burst), "a burst of 1 to {BURST_MAX}");
        let shape = Shape { room: shape.sas + 2 * SPARE, ..*shape };
        let scene = Scene::new(&shape, progress)?;
        let (moving, staying) = scene.sas.split_at((shape.sas / 4).max(1));
        let (moving, trace) = (moving.to_vec(), Trace::new(staying, shape.seed));
        Ok(Self { scene, moving, trace, threads: shape.workers as usize, burst })
    }

    /// Readers alone: the median of several rounds, misses of all of them. `threads` is at most what
    /// the stage was made for.
    ///
    /// # Panics
    /// If a thread cannot be started.
    pub fn read(&mut self, threads: usize, effort: &Effort) -> Reading {
        let rounds = (0..effort.rounds).map(|_| self.round(threads, effort.round, None).0);
        middle(rounds.collect())
    }

    /// Readers beside a writer and without it, in turn. The medians.
    ///
    /// # Errors
    /// What the gateway says to the writer.
    ///
    /// # Panics
    /// If a thread cannot be started.
    pub fn churn(&mut self, pace: Pace, effort: &Effort) -> Result<Churned, SaError> {
        let (mut alone, mut beside, mut updates) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..effort.rounds {
            alone.push(self.round(self.threads, effort.round, None).0);
            let (reading, updated) = self.round(self.threads, effort.round, Some(pace));
            beside.push(reading);
            updates.push(updated?);
        }
        updates.sort_by(f64::total_cmp);
        let updates_per_second = updates[updates.len() / 2];
        Ok(Churned { beside: middle(beside), alone: middle(alone), updates_per_second })
    }

    /// Runs readers for a while, with a writer if there is a pace for one; and the updates a second.
    fn round(
        &mut self,
        threads: usize,
        time: Duration,
        pace: Option<Pace>,
    ) -> (Reading, Result<f64, SaError>) {
        let (mut writer, mut workers) = self.scene.split();
        let (trace, burst, moving) = (&self.trace, self.burst, &mut self.moving);
        let stop = &AtomicBool::new(false);
        let begin = &Barrier::new(threads + 1);
        let (readings, updates) = thread::scope(|scope| {
            let readers: Vec<_> = (0..threads)
                .filter_map(|nth| {
                    let mut worker = workers.take()?;
                    let from = trace.spis.len() / threads * nth;
                    Some(scope.spawn(move || {
                        begin.wait();
                        read(&mut worker, trace, from, burst, stop)
                    }))
                })
                .collect();
            begin.wait();
            let updates = match pace {
                Some(pace) => write(&mut writer, moving, pace, time),
                None => {
                    thread::sleep(time);
                    Ok(0.0)
                }
            };
            stop.store(true, Ordering::Relaxed);
            let join = |reader: thread::ScopedJoinHandle<'_, _>| reader.join();
            let readings: Vec<Reading> = readers.into_iter().filter_map(|r| join(r).ok()).collect();
            (readings, updates)
        });
        assert_eq!(readings.len(), threads, "every reader ends");
        let sum = |sum: Reading, one: &Reading| Reading {
            per_second: sum.per_second + one.per_second,
            missed: sum.missed + one.missed,
        };
        (readings.iter().fold(Reading::default(), sum), updates)
    }
}

/// The round in the middle, with the misses of all.
fn middle(mut rounds: Vec<Reading>) -> Reading {
    rounds.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    let per_second = rounds.get(rounds.len() / 2).map_or(0.0, |round| round.per_second);
    Reading { per_second, missed: rounds.iter().map(|round| round.missed).sum() }
}

/// One reader: bursts from `from` on, until it is told to stop. What it finds is counted always, and
/// compared once a turn.
fn read(
    worker: &mut Worker<'_>,
    trace: &Trace,
    from: usize,
    burst: usize,
    stop: &AtomicBool,
) -> Reading {
    let mut room = [SaId::NONE; BURST_MAX];
    let out = &mut room[..burst];
    let last = trace.spis.len().saturating_sub(burst);
    let (mut at, mut lookups, mut missed) = (from.min(last), 0_u64, 0_u64);
    let start = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        for turn in 0..TURN {
            let spis = &trace.spis[at..at + burst];
            missed += (burst - worker.find_spis(Ipsec::Esp, spis, out)) as u64;
            if turn == 0 {
                let wrong = |(got, wanted): &(&SaId, &SaId)| got != wanted && **got != SaId::NONE;
                missed += out.iter().zip(&trace.ids[at..]).filter(wrong).count() as u64;
            }
            at = if at + burst > last { 0 } else { at + burst };
        }
        lookups += (TURN * burst) as u64;
        worker.quiescent();
    }
    let per_second = lookups as f64 / start.elapsed().as_secs_f64();
    worker.idle();
    Reading { per_second, missed }
}

/// The writer: replaces one SA after the other. Returns how many a second it was.
fn write(
    writer: &mut Writer<'_>,
    moving: &mut [Sa],
    pace: Pace,
    time: Duration,
) -> Result<f64, SaError> {
    let (start, mut done) = (Instant::now(), 0_u64);
    while start.elapsed() < time {
        let due = match pace {
            Pace::PerSecond(rate) => 1 + (start.elapsed().as_secs_f64() * f64::from(rate)) as u64,
            // Looks at the clock now and then.
            Pace::Unpaced => done + 64,
        };
        while done < due {
            let at = (done % moving.len() as u64) as usize;
            if !writer.rekey(&mut moving[at])? {
                break;
            }
            done += 1;
        }
        match pace {
            // Updates come in bunches, a bunch a millisecond: a finer sleep is not to be had.
            Pace::PerSecond(_) => thread::sleep(Duration::from_millis(1)),
            Pace::Unpaced if done < due => thread::yield_now(),
            Pace::Unpaced => {}
        }
    }
    Ok(done as f64 / start.elapsed().as_secs_f64())
}
