//! The SPI table of espial and its peers over the same SPIs: passes that are timed, and what each
//! must find.
//!
//! Owns which programs compete and how each is asked; the loops are functions of their own, made for
//! one table each. Knows nothing of clocks. A table is made when the first pass asks for it.

use std::cell::{OnceCell, RefCell};
use std::hint::black_box;
use std::ops::Range;

use espial::Spi;
use espial_cli::lookup::measure::{burst_pass, chain, single_pass};
use espial_cli::lookup::scene::{Scene, Shape, SpiKind};

use crate::Rng;
#[cfg(feature = "dpdk")]
use crate::peers::dpdk;
use crate::peers::{self, Handle, Hashbrown, Roofline, Std, Table};

/// How full espial's table is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Load {
    /// The gateway was made for twice as many SAs.
    Half,
    /// It was made for these and no more.
    Full,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// SPIs of SAs.
    Hit,
    /// Other SPIs, drawn in the same way.
    Miss,
    /// SPIs whose low bits are those of SPIs in use.
    NearMiss,
}

impl Ask {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::NearMiss => "near miss",
        }
    }
}

/// How it is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// So many SPIs with one call.
    Burst(usize),
    /// One SPI with each call, in a loop.
    Single,
    /// One SPI with each call, and each call waits for the answer to the last.
    Chain,
}

/// A program and how it is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contender {
    /// `Worker::find_spis`, or in the other ways `SpiTable::find`.
    Espial(Load, Way),
    /// hashbrown knows no bursts: one loop.
    Hashbrown,
    /// hashbrown, each lookup waiting for the last.
    HashbrownChain,
    /// The standard library's map.
    Std,
    /// heapless's map, up to 65 536 SAs.
    Heapless,
    /// One line of as much memory as espial's table takes; bursts are fetched ahead.
    Roofline(Way),
    /// `rte_ipsec_sad`.
    Sad(Way),
    /// `rte_hash`.
    Hash(Way),
}

/// What is competed for: SPIs, and traces of them.
pub struct Arena {
    sas: usize,
    spis: SpiKind,
    seed: u64,
    /// Of espial; the peers hold the SPIs of `load`.
    load: Load,
    half: OnceCell<Espial>,
    full: OnceCell<Espial>,
    least: usize,
    hashbrown: OnceCell<Hashbrown>,
    std: OnceCell<Std>,
    heapless: OnceCell<Option<Box<dyn Table>>>,
    roofline: OnceCell<(Roofline, Vec<u32>)>,
    #[cfg(feature = "dpdk")]
    sad: OnceCell<dpdk::Sad>,
    #[cfg(feature = "dpdk")]
    hash: OnceCell<dpdk::Hash>,
}

/// A gateway and its traces.
struct Espial {
    scene: RefCell<Scene>,
    traces: [Trace; 3],
    octets: usize,
}

/// The same SPIs for each side.
struct Trace {
    spis: Vec<Spi>,
    words: Vec<u32>,
}

impl Trace {
    fn new(spis: Vec<Spi>) -> Self {
        let words = spis.iter().map(|spi| spi.0).collect();
        Self { spis, words }
    }
}

impl Espial {
    fn new(shape: &Shape, least: usize) -> Self {
        let mut scene = Scene::new(shape, &mut |_| {}).expect("a gateway of this size");
        assert_eq!(espial_cli::lookup::wrong_answers(&mut scene, 32), 0, "espial errs");
        let hits = scene.hits(least);
        let (misses, near) = (scene.misses(hits.len()), scene.near_misses(hits.len()));
        let octets = scene.table_octets();
        Self { scene: RefCell::new(scene), traces: [hits, misses, near].map(Trace::new), octets }
    }

    fn trace(&self, ask: Ask) -> &Trace {
        &self.traces[ask as usize]
    }

    fn pass(&self, way: Way, ask: Ask, part: Range<usize>) -> Option<usize> {
        let mut scene = self.scene.borrow_mut();
        let mut worker = scene.worker();
        let spis = &self.trace(ask).spis[part];
        match way {
            Way::Burst(burst) => Some(burst_pass(&mut worker, spis, burst)),
            Way::Single => Some(single_pass(&mut worker, spis)),
            Way::Chain => {
                black_box(chain(&mut worker, spis, black_box(0)));
                None
            }
        }
    }
}

impl Arena {
    /// SPIs of `spis`'s kind. Peers hold those of espial's gateway of this `load`; traces are `least`
    /// SPIs long, or as many as there are SAs.
    pub fn new(sas: usize, spis: SpiKind, load: Load, least: usize, seed: u64) -> Self {
        Self {
            sas,
            spis,
            seed,
            load,
            half: OnceCell::new(),
            full: OnceCell::new(),
            least,
            hashbrown: OnceCell::new(),
            std: OnceCell::new(),
            heapless: OnceCell::new(),
            roofline: OnceCell::new(),
            #[cfg(feature = "dpdk")]
            sad: OnceCell::new(),
            #[cfg(feature = "dpdk")]
            hash: OnceCell::new(),
        }
    }

    fn espial(&self, load: Load) -> &Espial {
        let shape = Shape::full(self.sas, self.spis, self.seed);
        match load {
            Load::Half => self
                .half
                .get_or_init(|| Espial::new(&Shape { room: 2 * self.sas, ..shape }, self.least)),
            Load::Full => self.full.get_or_init(|| Espial::new(&shape, self.least)),
        }
    }

    /// SPIs of a trace.
    pub fn items(&self) -> usize {
        self.espial(self.load).trace(Ask::Hit).spis.len()
    }

    fn sa_spis(&self) -> Vec<u32> {
        self.espial(self.load).scene.borrow().sas.iter().map(|sa| sa.spi.0).collect()
    }

    fn heapless(&self) -> Option<&dyn Table> {
        self.heapless.get_or_init(|| peers::heapless(&self.sa_spis())).as_deref()
    }

    fn roofline(&self) -> &(Roofline, Vec<u32>) {
        self.roofline.get_or_init(|| {
            let lines = Roofline::new(self.espial(self.load).octets);
            let mut rng = Rng::new(self.seed, 31);
            let places = (0..self.items()).map(|_| rng.below(lines.len()) as u32).collect();
            (lines, places)
        })
    }

    /// Octets of table for each SA; `None` of what is no table.
    pub fn octets_per_sa(&self, contender: Contender) -> Option<f64> {
        let octets = match contender {
            Contender::Espial(load, _) => self.espial(load).octets,
            Contender::Hashbrown | Contender::HashbrownChain => self.hashbrown().octets(),
            Contender::Std => self.std().octets(),
            Contender::Heapless => self.heapless()?.octets(),
            Contender::Roofline(_) => return None,
            #[cfg(feature = "dpdk")]
            Contender::Sad(_) => self.sad().octets(),
            #[cfg(feature = "dpdk")]
            Contender::Hash(_) => self.hash().octets(),
            #[cfg(not(feature = "dpdk"))]
            Contender::Sad(_) | Contender::Hash(_) => return None,
        };
        Some(octets as f64 / self.sas as f64)
    }

    fn hashbrown(&self) -> &Hashbrown {
        self.hashbrown.get_or_init(|| Hashbrown::new(&self.sa_spis()))
    }

    fn std(&self) -> &Std {
        self.std.get_or_init(|| Std::new(&self.sa_spis()))
    }

    #[cfg(feature = "dpdk")]
    fn sad(&self) -> &dpdk::Sad {
        self.sad.get_or_init(|| dpdk::Sad::new(&self.sa_spis()))
    }

    #[cfg(feature = "dpdk")]
    fn hash(&self) -> &dpdk::Hash {
        self.hash.get_or_init(|| dpdk::Hash::new(&self.sa_spis()))
    }

    /// Whether it is built in and takes so many SAs.
    pub fn has(&self, contender: Contender) -> bool {
        match contender {
            Contender::Heapless => self.sas <= 1 << 16,
            Contender::Sad(_) | Contender::Hash(_) => cfg!(feature = "dpdk"),
            _ => true,
        }
    }

    /// Makes what a pass needs, and compares what it finds.
    ///
    /// # Panics
    /// If it finds too few or too many.
    pub fn prepare(&self, contender: Contender, ask: Ask) {
        let wanted = if ask == Ask::Hit { self.items() } else { 0 };
        if let Some(found) = self.pass(contender, ask, 0..self.items()) {
            assert_eq!(found, wanted, "{contender:?} {ask:?}");
        }
    }

    /// Asks for a part of the trace: how many were found, where that is counted.
    ///
    /// # Panics
    /// If there is no such contender ([`Arena::has`]).
    pub fn pass(&self, contender: Contender, ask: Ask, part: Range<usize>) -> Option<usize> {
        if let Contender::Espial(load, way) = contender {
            return self.espial(load).pass(way, ask, part);
        }
        let words = &self.espial(self.load).trace(ask).words[part.clone()];
        match contender {
            Contender::Espial(..) => None,
            Contender::Hashbrown => Some(peer_bursts(self.hashbrown(), words, 32)),
            Contender::HashbrownChain => {
                black_box(peer_chain(self.hashbrown(), words, black_box(0)));
                None
            }
            Contender::Std => Some(peer_bursts(self.std(), words, 32)),
            Contender::Heapless => Some(peer_bursts(self.heapless()?, words, 32)),
            Contender::Roofline(way) => {
                let (lines, places) = self.roofline();
                black_box(roofline_pass(lines, &places[part], way));
                None
            }
            #[cfg(feature = "dpdk")]
            Contender::Sad(way) => Some(peer_pass(self.sad(), words, way)),
            #[cfg(feature = "dpdk")]
            Contender::Hash(way) => Some(peer_pass(self.hash(), words, way)),
            #[cfg(not(feature = "dpdk"))]
            Contender::Sad(_) | Contender::Hash(_) => panic!("built without feature dpdk"),
        }
    }
}

#[cfg(feature = "dpdk")]
fn peer_pass(table: &impl Table, spis: &[u32], way: Way) -> usize {
    match way {
        Way::Burst(burst) => peer_bursts(table, spis, burst),
        Way::Single | Way::Chain => peer_singles(table, spis),
    }
}

/// As [`burst_pass`].
#[inline(never)]
fn peer_bursts<T: Table + ?Sized>(table: &T, spis: &[u32], burst: usize) -> usize {
    let mut room = [Handle::NONE; 64];
    let out = &mut room[..burst];
    let mut found = 0;
    for spis in spis.chunks(burst) {
        found += table.burst(spis, out);
        black_box(&mut *out);
    }
    found
}

/// As [`single_pass`].
#[cfg(feature = "dpdk")]
#[inline(never)]
fn peer_singles<T: Table>(table: &T, spis: &[u32]) -> usize {
    let mut out = [Handle::NONE; 32];
    let mut found = 0;
    for spis in spis.chunks(32) {
        found += table.ones(spis, &mut out);
        black_box(&mut out);
    }
    found
}

/// As [`chain`].
#[inline(never)]
fn peer_chain<T: Table>(table: &T, spis: &[u32], nothing: u32) -> u32 {
    spis.iter().fold(0, |last, spi| {
        let handle = table.one(spi ^ (last & nothing)).unwrap_or(Handle::NONE);
        handle.generation ^ handle.index
    })
}

#[inline(never)]
fn roofline_pass(lines: &Roofline, places: &[u32], way: Way) -> u64 {
    let burst = match way {
        Way::Burst(burst) => burst,
        Way::Single | Way::Chain => return lines.ones(places),
    };
    places.chunks(burst).fold(0, |sum, places| sum.wrapping_add(lines.burst(places)))
}
