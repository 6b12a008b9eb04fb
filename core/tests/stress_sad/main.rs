//! The SAD beside a writer that churns at full load: SAs come and go, are replaced and rekeyed, words
//! move, slots go from one SPI to another, and the gateway grows. What lives throughout is always
//! found, and nothing is found under another's key. The thread sanitizer runs this too (`.ci/full`).

mod windows;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use espial::error::SaError;
use espial::headers::{
    Encap, Endpoints, Fragment, InnerHeaders, Ipsec, NextLayer, OuterHeaders, Spi,
};
use espial::inbound::{Arrival, Ingress};
use espial::sad::{Replay, ReplayStart, SaKey, Scope};
use espial::selector::{AddrRange, TrafficSelector};
use espial::verdict::{Mode, Modes, Reason, SpiClass};
use espial::{Capacity, ChildId, Control, Gateway, Opened, SaId, SaParams, Worker};

const READERS: usize = 2;
/// Turns of the writer; `ESPIAL_STRESS_TURNS` asks for more.
const TURNS: u32 = 1500;
/// Packets of a burst.
const BURST: usize = 32;

fn turns() -> u32 {
    let turns = std::env::var("ESPIAL_STRESS_TURNS").ok().and_then(|turns| turns.parse().ok());
    turns.unwrap_or(TURNS)
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// Each Child SA takes packets from one host only: an SA found under another's key is on the wrong one.
const CHILDREN: u32 = 61;

fn host(address: u32) -> TrafficSelector {
    TrafficSelector::any(AddrRange::V4 { lo: address, hi: address })
}

/// Addresses of packets that no longer key fits.
const PLAIN: Endpoints = Endpoints::V4 { src: 1, dst: 2 };

/// The addresses of the nth longer key.
fn long(nth: u32) -> Endpoints {
    Endpoints::V4 { src: 0x0a00_0000 + nth, dst: 0x0b00_0000 + nth }
}

/// Keys of each type, by SPI and the number of their addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Key {
    Spi(u32),
    Destination(u32, u32),
    Source(u32, u32),
}

impl Key {
    fn spi(self) -> u32 {
        match self {
            Self::Spi(spi) | Self::Destination(spi, _) | Self::Source(spi, _) => spi,
        }
    }

    fn endpoints(self) -> Endpoints {
        match self {
            Self::Spi(_) => PLAIN,
            // Not the source that the key with a source has.
            Self::Destination(_, nth) => {
                let Endpoints::V4 { dst, .. } = long(nth) else { unreachable!() };
                Endpoints::V4 { src: 3, dst }
            }
            Self::Source(_, nth) => long(nth),
        }
    }

    fn params(self) -> SaParams {
        let scope = match self {
            Self::Spi(_) => Scope::Spi,
            Self::Destination(..) => Scope::Destination(self.endpoints().dst()),
            Self::Source(..) => Scope::DestinationSource(self.endpoints()),
        };
        SaParams::new(SaKey { ipsec: Ipsec::Esp, spi: Spi(self.spi()), scope })
    }

    /// The number of the Child SA that every SA with this key belongs to.
    fn child(self) -> u32 {
        let (kind, nth) = match self {
            Self::Spi(_) => (0, 0),
            Self::Destination(_, nth) => (1, nth),
            Self::Source(_, nth) => (2, nth),
        };
        let mixed = (self.spi() ^ nth << 20).wrapping_mul(0x9e37_79b1) >> 8;
        (mixed + kind) % CHILDREN
    }

    fn outer(self) -> OuterHeaders {
        OuterHeaders {
            endpoints: self.endpoints(),
            flow_label: 0,
            ipsec: Ipsec::Esp,
            encap: Encap::None,
            spi: Spi(self.spi()),
            sequence: 1,
            sequence_high: 0,
            sport: 0,
            dport: 0,
            offset: 20,
            octets: 64,
        }
    }

    fn packet(self) -> Vec<u8> {
        let Endpoints::V4 { src, dst } = self.endpoints() else { unreachable!() };
        esp(src, dst, self.spi(), 1)
    }
}

fn esp(src: u32, dst: u32, spi: u32, sequence: u32) -> Vec<u8> {
    let head = [0x45, 0, 0, 52, 0, 0, 0, 0, 64, 50, 0, 0];
    let words = [src, dst, spi, sequence];
    head.into_iter().chain(words.into_iter().flat_map(u32::to_be_bytes)).chain([0; 24]).collect()
}

fn inner(child: u32) -> InnerHeaders {
    InnerHeaders {
        endpoints: Endpoints::V4 { src: child, dst: 9 },
        protocol: 17,
        next_layer: NextLayer::Ports { src: 1, dst: 2 },
        fragment: Fragment::None,
    }
}

/// An SA that lives from when it is told of to the end.
#[derive(Clone, Copy)]
struct Steady {
    key: Key,
    sa: SaId,
    /// No longer key ever shares the SPI.
    alone: bool,
}

/// Most SAs that live to the end.
const STEADY: usize = 1024;
/// Keys whose SA is replaced by another one all the time, of each type.
const MOVING: u32 = 6;
/// SPIs that are chosen here and rekeyed all the time.
const REKEYED: usize = 12;
/// SPIs that are chosen here whose SAs are replaced and then follow another one.
const REPLACED: usize = 3;

/// What the writer tells the readers.
struct Told {
    children: Vec<ChildId>,
    steady: Vec<OnceLock<Steady>>,
    steadies: AtomicUsize,
    /// The SPI in use, which lives before it is here and until another one is.
    rekeyed: [AtomicU32; REKEYED],
    /// The same of SPIs whose SAs are also replaced.
    replaced: [AtomicU32; REPLACED],
    /// An SPI that is reserved as long as it is here.
    larval: AtomicU32,
    /// Keys of each type come and go below this number.
    churn: AtomicU32,
    /// Bursts of each reader.
    rounds: [AtomicU64; READERS],
    stop: AtomicBool,
    failed: AtomicBool,
}

const MOVING_SPI: u32 = 0x0002_0000;
const STEADY_SPI: u32 = 0x0003_0000;
const CHURN_SPI: u32 = 0x4000_0000;
const ABSENT_SPI: u32 = 0x0005_0000;

fn moving(nth: u32) -> Key {
    let spi = MOVING_SPI + nth;
    match nth / MOVING {
        0 => Key::Spi(spi),
        1 => Key::Destination(spi, nth),
        _ => Key::Source(spi, nth),
    }
}

impl Told {
    fn new(children: Vec<ChildId>) -> Self {
        Self {
            children,
            steady: (0..STEADY).map(|_| OnceLock::new()).collect(),
            steadies: AtomicUsize::new(0),
            rekeyed: Default::default(),
            replaced: Default::default(),
            larval: AtomicU32::new(0),
            churn: AtomicU32::new(1),
            rounds: Default::default(),
            stop: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    fn steady(&self, random: &mut Random) -> Steady {
        let count = self.steadies.load(Ordering::Acquire);
        *self.steady[random.below(count)].get().unwrap()
    }

    fn tell(&self, steady: Steady) {
        let at = self.steadies.load(Ordering::Relaxed);
        assert!(self.steady[at].set(steady).is_ok());
        self.steadies.store(at + 1, Ordering::Release);
    }

    /// A key that may come and go. Some share the SPI of an SA that stays.
    fn churn(&self, random: &mut Random) -> Key {
        let nth = random.below(self.churn.load(Ordering::Relaxed) as usize) as u32;
        let spi = |nth: u32| match self.steady[nth as usize % 8].get() {
            Some(steady) if nth.is_multiple_of(4) => steady.key.spi(),
            _ => CHURN_SPI + nth / 2,
        };
        match random.below(3) {
            0 => Key::Spi(CHURN_SPI + nth),
            1 => Key::Destination(spi(nth), 100 + nth % 3),
            _ => Key::Source(spi(nth), 200 + nth % 5),
        }
    }
}

/// What a reader looks for, and what it must find.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// This very SA.
    Steady(Steady),
    /// Some SA of this key.
    Moving(Key),
    /// Some SA of this SPI, if the cell still says so afterwards.
    Cell(&'a AtomicU32, u32, bool),
    /// Nothing, and larval, if the cell still says so afterwards.
    Larval(&'a AtomicU32, u32),
    /// Some SA of this key, or none.
    Churn(Key),
    Absent(u32),
}

impl<'a> Wanted<'a> {
    fn any(told: &'a Told, random: &mut Random) -> Self {
        match random.below(16) {
            0..6 => Self::Steady(told.steady(random)),
            6..8 => Self::Moving(moving(random.below(3 * MOVING as usize) as u32)),
            8..10 => {
                let cell = random.of(&told.rekeyed);
                Self::Cell(cell, cell.load(Ordering::Acquire), true)
            }
            10 => {
                let cell = random.of(&told.replaced);
                Self::Cell(cell, cell.load(Ordering::Acquire), false)
            }
            11 => Self::Larval(&told.larval, told.larval.load(Ordering::Acquire)),
            12..15 => Self::Churn(told.churn(random)),
            _ => Self::Absent(ABSENT_SPI + random.below(100) as u32),
        }
    }

    fn key(self) -> Key {
        match self {
            Self::Steady(steady) => steady.key,
            Self::Moving(key) | Self::Churn(key) => key,
            Self::Cell(_, spi, _) | Self::Larval(_, spi) | Self::Absent(spi) => Key::Spi(spi),
        }
    }

    /// Judges what the table alone said of the SPI alone. True for a miss of what was replaced
    /// meanwhile, about which a lookup has to be asked.
    fn judge_plain(self, sa: SaId) -> bool {
        match self {
            Self::Steady(Steady { key: Key::Spi(spi), sa: own, alone: true }) => {
                assert_eq!(sa, own, "SPI {spi:#x} was lost");
            }
            Self::Steady(Steady { key: Key::Spi(spi), sa: own, .. }) => {
                assert!(sa == own || sa == SaId::NONE, "{spi:#x}: {sa:?}, not {own:?}");
            }
            Self::Cell(cell, spi, true) => {
                let lived = cell.load(Ordering::Acquire) == spi;
                assert!(sa != SaId::NONE || !lived, "SPI {spi:#x} was lost");
            }
            Self::Moving(Key::Spi(_)) | Self::Cell(_, _, false) => return sa == SaId::NONE,
            // SPIs with longer keys.
            Self::Steady(_) | Self::Moving(_) => assert_eq!(sa, SaId::NONE),
            Self::Larval(..) | Self::Churn(_) => {}
            Self::Absent(_) => assert_eq!(sa, SaId::NONE),
        }
        false
    }

    /// Judges what a lookup said; gives the SA.
    fn judge(self, arrival: Arrival) -> Option<SaId> {
        let found = match arrival {
            Arrival::Sa(sa, outer) => {
                assert_eq!(outer.spi.0, self.key().spi());
                Ok(sa)
            }
            Arrival::Drop(refusal) => {
                assert_eq!(refusal.reason, Reason::UnknownSpi);
                Err(refusal.spi_class)
            }
            Arrival::Pass(_) => unreachable!("ESP"),
        };
        match self {
            Self::Steady(steady) => assert_eq!(found, Ok(steady.sa), "{:?}", steady.key),
            Self::Moving(key) => assert!(found.is_ok(), "{key:?} was lost: {found:?}"),
            Self::Cell(cell, spi, _) => {
                let lived = cell.load(Ordering::Acquire) == spi;
                assert!(found.is_ok() || !lived, "SPI {spi:#x} was lost: {found:?}");
            }
            Self::Larval(cell, spi) => {
                let lived = cell.load(Ordering::Acquire) == spi;
                assert!(found == Err(Some(SpiClass::Larval)) || !lived || spi == 0, "{found:?}");
            }
            Self::Churn(_) => {}
            Self::Absent(_) => assert_eq!(found, Err(Some(SpiClass::NeverSeen))),
        }
        found.ok()
    }
}

#[derive(Default)]
struct Read {
    live: u64,
    stale: u64,
    asked_again: u64,
    kept_stale: u64,
}

struct Reader<'a, 'g> {
    worker: Worker<'g>,
    told: &'a Told,
    random: Random,
    read: Read,
    /// Handles of bursts before, with their keys.
    kept: Vec<(SaId, Key)>,
}

impl Reader<'_, '_> {
    /// A packet on an SA that was found under a key: it is that key's, or stale. True if it lives.
    fn check(&mut self, sa: SaId, key: Key) -> bool {
        let packet = (key.outer(), inner(key.child()));
        let verdict = self.worker.check_headers(sa, &packet.0, &packet.1, 60, Ingress::default());
        let Some((_, child)) = verdict.arrived else {
            assert_eq!(verdict.reason(), Some(Reason::UnknownSpi), "{key:?}");
            return false;
        };
        // Where a longer key has gone, an SA with the SPI alone answers.
        let shorter = Key::Spi(key.spi());
        let owner = [key, shorter]
            .into_iter()
            .find(|key| self.told.children[key.child() as usize] == child);
        assert!(owner.is_some(), "{key:?} was found on another's SA: {verdict:?}");
        assert_eq!(verdict.is_accept(), key.child() == owner.unwrap().child(), "{verdict:?}");
        true
    }

    fn use_sa(&mut self, sa: SaId, wanted: Wanted<'_>) {
        let key = wanted.key();
        let lives = self.check(sa, key);
        assert!(lives || !matches!(wanted, Wanted::Steady(_)), "{key:?} is stale");
        *(if lives { &mut self.read.live } else { &mut self.read.stale }) += 1;
        if self.kept.len() < 64 {
            self.kept.push((sa, key));
        } else {
            let at = self.random.below(64);
            self.kept[at] = (sa, key);
        }
    }

    fn wanted<'t>(&mut self, told: &'t Told) -> [Wanted<'t>; BURST] {
        std::array::from_fn(|_| Wanted::any(told, &mut self.random))
    }

    fn plain(&mut self, one_by_one: bool) {
        let told = self.told;
        let wanted = self.wanted(told);
        let mut sas = [SaId::NONE; BURST];
        if one_by_one {
            let table = self.worker.spi_table();
            for (sa, wanted) in sas.iter_mut().zip(wanted) {
                *sa = table.find(Ipsec::Esp, Spi(wanted.key().spi()));
            }
        } else {
            let spis = wanted.map(|wanted| Spi(wanted.key().spi()));
            let found = self.worker.find_spis(Ipsec::Esp, &spis, &mut sas);
            assert_eq!(found, sas.iter().filter(|sa| **sa != SaId::NONE).count());
        }
        // First: what lived throughout is known by what is told now.
        let again = std::array::from_fn::<_, BURST, _>(|i| wanted[i].judge_plain(sas[i]));
        for ((sa, wanted), again) in sas.into_iter().zip(wanted).zip(again) {
            // The SPI alone: for a longer key's SPI that is another's SA.
            if sa != SaId::NONE && matches!(wanted.key(), Key::Spi(_)) {
                self.use_sa(sa, wanted);
            } else if again {
                self.read.asked_again += 1;
                let outer = wanted.key().outer();
                let arrival = self.worker.lookup(&outer, Ingress::default());
                if let Some(sa) = wanted.judge(arrival) {
                    self.use_sa(sa, wanted);
                }
            }
        }
    }

    fn arrivals(&mut self, octets: bool) {
        let told = self.told;
        let wanted = self.wanted(told);
        let mut arrivals = [Arrival::Sa(SaId::NONE, Key::Spi(1).outer()); BURST];
        if octets {
            let packets = wanted.map(|wanted| wanted.key().packet());
            for (packet, arrival) in packets.iter().zip(&mut arrivals) {
                *arrival = self.worker.arrive(packet, Ingress::default());
            }
        } else {
            let outers = wanted.map(|wanted| wanted.key().outer());
            let count = self.worker.lookup_burst(&outers, Ingress::default(), &mut arrivals);
            assert_eq!(count, BURST);
        }
        let found = std::array::from_fn::<_, BURST, _>(|i| wanted[i].judge(arrivals[i]));
        for (sa, wanted) in found.into_iter().zip(wanted) {
            if let Some(sa) = sa {
                self.use_sa(sa, wanted);
            }
        }
    }

    fn run(&mut self, rounds: &AtomicU64) {
        while !self.told.stop.load(Ordering::Relaxed) {
            self.plain(false);
            self.plain(true);
            self.arrivals(false);
            self.arrivals(true);
            self.worker.quiescent();
            for _ in 0..self.kept.len().min(4) {
                let (sa, key) = *self.random.of(&self.kept);
                let lives = self.check(sa, key);
                self.read.kept_stale += u64::from(!lives);
            }
            rounds.fetch_add(1, Ordering::Release);
            // There may be more threads than cores.
            if self.random.below(8) == 0 {
                thread::yield_now();
            }
        }
    }
}

/// Tells the others when its thread panics, so that nobody waits for it.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

struct Writer<'a, 'm> {
    control: &'a mut Control<'m>,
    told: &'a Told,
    capacity: Capacity,
    random: Random,
    began: Instant,
    churn: Vec<(Key, SaId)>,
    moving: Vec<(SaId, [u64; READERS])>,
    rekeyed: Vec<SaId>,
    /// The SA, and whether it is a second one, whose SPI is in the buckets now.
    replaced: Vec<(SaId, bool)>,
}

impl Writer<'_, '_> {
    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// Tries again until every reader was quiescent, and SPIs are out of quarantine.
    fn until<T>(&mut self, mut step: impl FnMut(&mut Self) -> Result<T, SaError>) -> T {
        loop {
            match step(self) {
                Ok(done) => return done,
                Err(SaError::Busy | SaError::Quarantine { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
            assert!(!self.told.failed.load(Ordering::Relaxed), "a reader failed");
            thread::yield_now();
        }
    }

    fn add(&mut self, key: Key) -> SaId {
        let child = self.told.children[key.child() as usize];
        let sa = self.until(|writer| writer.control.add_sa(child, &key.params()));
        assert_eq!(self.control.sa_key(sa), Some(key.params().key));
        sa
    }

    fn delete(&mut self, key: Key, sa: SaId) {
        assert_eq!(self.control.sa_key(sa), Some(key.params().key));
        self.control.delete_sa(sa, self.now()).unwrap();
    }

    fn replace(&mut self, key: Key, sa: SaId) -> SaId {
        assert_eq!(self.control.sa_key(sa), Some(key.params().key));
        let child = self.told.children[key.child() as usize];
        self.until(|writer| {
            let now = writer.now();
            writer.control.replace_sa(sa, child, &key.params(), now)
        })
    }

    fn reserve(&mut self) -> u32 {
        self.until(|writer| writer.control.reserve_spi(Ipsec::Esp, writer.now())).0
    }

    fn rounds(&self) -> [u64; READERS] {
        self.told.rounds.each_ref().map(|rounds| rounds.load(Ordering::Acquire))
    }

    /// Adds keys of each type until no more of it fits.
    fn fill(&mut self) {
        while self.churn.len() < self.told.churn.load(Ordering::Relaxed) as usize {
            let key = self.told.churn(&mut self.random);
            if self.churn.iter().any(|(taken, _)| *taken == key) {
                continue;
            }
            let child = self.told.children[key.child() as usize];
            let added = self.until(|writer| match writer.control.add_sa(child, &key.params()) {
                Err(SaError::Full { .. }) => Ok(None),
                other => other.map(Some),
            });
            match added {
                Some(sa) => self.churn.push((key, sa)),
                // All three types are full, as likely as not.
                None if self.random.below(8) == 0 => break,
                None => {}
            }
        }
    }

    /// Frees the place of an SA found by SPI alone.
    fn make_room(&mut self) {
        let at = self.churn.iter().position(|(key, _)| matches!(key, Key::Spi(_)));
        let (key, sa) = self.churn.swap_remove(at.unwrap());
        self.delete(key, sa);
    }

    fn steady(&mut self, key: Key, alone: bool) {
        let sa = self.add(key);
        self.told.tell(Steady { key, sa, alone });
    }

    /// SAs that stay, of each type. The first ones share their SPIs with keys that come and go.
    fn begin(&mut self) {
        for nth in 0..4 {
            self.steady(Key::Spi(STEADY_SPI + nth), false);
            let spi = self.reserve();
            self.steady(Key::Spi(spi), false);
        }
        self.more_steady(1);
        for nth in 0..3 * MOVING {
            let sa = self.add(moving(nth));
            self.moving.push((sa, [0; READERS]));
        }
        for nth in 0..REKEYED + REPLACED {
            let spi = self.reserve();
            let sa = self.add(Key::Spi(spi));
            if let Some(cell) = self.told.rekeyed.get(nth) {
                cell.store(spi, Ordering::Release);
                self.rekeyed.push(sa);
            } else {
                self.told.replaced[nth - REKEYED].store(spi, Ordering::Release);
                self.replaced.push((sa, false));
            }
        }
        self.fill();
    }

    fn more_steady(&mut self, generation: u32) {
        for nth in 0..6 {
            let spi = STEADY_SPI + generation * 0x100 + nth * 4;
            self.steady(Key::Spi(spi), true);
            self.steady(Key::Destination(spi + 1, 300 + nth), true);
            self.steady(Key::Source(spi + 2, 400 + nth), true);
            let spi = self.reserve();
            self.steady(Key::Spi(spi), true);
        }
    }

    fn rekey(&mut self) {
        let nth = self.random.below(REKEYED);
        let cell = &self.told.rekeyed[nth];
        let spi = self.reserve();
        self.told.larval.store(spi, Ordering::Release);
        if self.random.below(2) == 0 {
            thread::yield_now();
        }
        self.told.larval.store(0, Ordering::Release);
        if self.random.below(8) == 0 {
            self.until(|writer| writer.control.release_spi(Ipsec::Esp, Spi(spi), writer.now()));
            return;
        }
        let new = self.add(Key::Spi(spi));
        let old_spi = cell.swap(spi, Ordering::AcqRel);
        let old = std::mem::replace(&mut self.rekeyed[nth], new);
        self.delete(Key::Spi(old_spi), old);
    }

    /// An SA in a direct slot is replaced by one in the buckets, that by another one there, and then
    /// there is a new SPI.
    fn replace_allocated(&mut self) {
        let nth = self.random.below(REPLACED);
        let cell = &self.told.replaced[nth];
        let (sa, second) = self.replaced[nth];
        let key = Key::Spi(cell.load(Ordering::Relaxed));
        if second {
            let spi = self.reserve();
            let new = self.add(Key::Spi(spi));
            cell.store(spi, Ordering::Release);
            self.delete(key, sa);
            self.replaced[nth] = (new, false);
        } else {
            self.make_room();
            let new = self.replace(key, sa);
            self.replaced[nth] = (new, true);
        }
    }

    /// A key that is replaced twice during one lookup reads as deleted: that is documented, so once
    /// for each round of the readers.
    fn replace_moving(&mut self) {
        let nth = self.random.below(self.moving.len());
        let (sa, before) = self.moving[nth];
        let rounds = self.rounds();
        if rounds.iter().zip(before).all(|(now, before)| *now > before + 1) {
            let new = self.replace(moving(nth as u32), sa);
            self.moving[nth] = (new, self.rounds());
        }
    }

    fn turn(&mut self) {
        assert!(!self.told.failed.load(Ordering::Relaxed), "a reader failed");
        for _ in 0..4 {
            if !self.churn.is_empty() {
                let at = self.random.below(self.churn.len());
                let (key, sa) = self.churn.swap_remove(at);
                self.delete(key, sa);
            }
        }
        match self.random.below(4) {
            0 => self.rekey(),
            1 => self.replace_allocated(),
            _ => self.replace_moving(),
        }
        self.fill();
        if self.random.below(64) == 0 {
            let quarantine = self.random.below(4) as u64;
            self.control.set_spi_quarantine(quarantine);
        }
    }

    fn grow(&mut self, generation: u32, by: u32) {
        let Capacity { sas, sas_dst, sas_dst_src, sas_allocated, .. } = self.capacity;
        self.capacity = Capacity {
            sas: sas + by,
            sas_dst: sas_dst + by,
            sas_dst_src: sas_dst_src + by,
            sas_allocated: sas_allocated + 16,
            ..self.capacity
        };
        self.control.grow(&self.capacity).unwrap();
        self.more_steady(generation);
        if by < 100 {
            // Twice what there is room for.
            self.told.churn.fetch_add(6 * by, Ordering::Relaxed);
        }
    }

    /// Each SA is there under its key, and only there.
    fn end(&mut self) {
        for (key, sa) in &self.churn {
            assert_eq!(self.control.find_sa(&key.params().key), Some(*sa));
            assert_eq!(self.control.sa_key(*sa), Some(key.params().key));
        }
        for steady in self.told.steady.iter().filter_map(OnceLock::get) {
            assert_eq!(self.control.find_sa(&steady.key.params().key), Some(steady.sa));
        }
    }
}

#[test]
fn what_lives_is_found_beside_a_writer_that_churns_and_grows() {
    let capacity = Capacity {
        tunnels: 1,
        children: CHILDREN,
        selectors: CHILDREN,
        sas: 66,
        sas_dst: 30,
        sas_dst_src: 30,
        sas_allocated: 40,
        replay_window: 0,
        workers: READERS as u32,
    };
    let mut gateway = Gateway::new(&capacity, [3, 4]).unwrap();
    let (control, mut workers) = gateway.split();
    let tunnel = control.add_tunnel(Mode::StrictSa, Modes::NONE).unwrap();
    let children: Vec<_> = (0..CHILDREN)
        .map(|child| control.add_child(tunnel, &[host(9)], &[host(child)]).unwrap())
        .collect();
    control.publish().unwrap();
    let told = Told::new(children);
    told.churn.store(2 * (66 + 30 + 30), Ordering::Relaxed);
    let mut writer = Writer {
        control,
        told: &told,
        capacity,
        random: Random(1),
        began: Instant::now(),
        churn: Vec::new(),
        moving: Vec::new(),
        rekeyed: Vec::new(),
        replaced: Vec::new(),
    };
    writer.control.set_spi_quarantine(0);
    writer.begin();
    let turns = turns();
    let reads: Vec<Read> = thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|nth| {
                let mut reader = Reader {
                    worker: workers.take().unwrap(),
                    told: &told,
                    random: Random(100 + nth as u64),
                    read: Read::default(),
                    kept: Vec::new(),
                };
                scope.spawn(move || {
                    let _alarm = Alarm(&reader.told.failed);
                    let rounds = &reader.told.rounds[nth];
                    reader.run(rounds);
                    reader.read
                })
            })
            .collect();
        {
            // Also when the writer panics.
            struct Stop<'a>(&'a AtomicBool);
            impl Drop for Stop<'_> {
                fn drop(&mut self) {
                    self.0.store(true, Ordering::Relaxed);
                }
            }
            let _stop = Stop(&told.stop);
            // It grows seven times, the last time into tables beyond the cache.
            let mut grown = 0;
            let begun = || told.rounds.iter().all(|rounds| rounds.load(Ordering::Relaxed) > 50);
            for turn in (0_u32..).take_while(|turn| *turn < turns || !begun()) {
                if turn >= turns / 8 * (grown + 1) && grown < 7 {
                    grown += 1;
                    writer.grow(grown + 1, if grown < 7 { 11 } else { 20_000 });
                }
                writer.turn();
            }
        }
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    writer.end();
    for Read { live, stale, asked_again, kept_stale } in reads {
        assert!(live > 0, "a reader never read");
        println!("live {live}, stale {stale}, asked again {asked_again}, kept {kept_stale}");
    }
}

/// IPv4 from 0.0.0.5 to 0.0.0.9, no payload.
const INNER: [u8; 20] = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 253, 0, 0, 0, 0, 0, 5, 0, 0, 0, 9];

const REPLAY_SPI: u32 = 0x0006_0000;
