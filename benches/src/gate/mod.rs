//! The tables of `espial::gate` and their peers over the same traffic: passes that are timed, and what
//! each must answer.
//!
//! Owns which programs compete, what they are asked, and the traffic. Knows nothing of clocks. Each
//! contender writes one number a packet, and those are compared before anything is timed.
//!
//! | | entries | `hit` | `miss` | `flood` |
//! |---|---|---|---|---|
//! | [`Sessions`] | IKE sessions that peers began, as many as there may be | a packet of one | of none: nothing is opened | 15 of 16 packets from random sources: a policy accepts them, and there is no room |
//! | [`Tunnels`] | flows of ESP and IKE of others, the table full | a packet of one; of IKE half are answers | no flow, no rule: rejected | 15 of 16 with random SPIs, that a rule admits, and there is no room |
//! | [`Policies`] | local-in policies | a random policy, a random packet of it | no policy covers it | 15 of 16 IKE from random sources: denied by the last policy |
//!
//! hashbrown is what one writes without a table made for this: a map from the same key to the same state
//! and the time of its last match, which each match brings up to date and each lookup compares. It knows no
//! bursts and needs a sweep of the whole map to forget. Its own hasher is fast and made to resist
//! mistakes, not somebody who searches for collisions; with SipHash 1-3 it has the strength that a
//! table needs whose keys strangers choose. Capacity is a number that it compares.

mod local_in;
mod passthrough;
mod session;

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::ops::Range;

use espial::gate::flow::FlowKey;
use espial::headers::{Endpoints, Family};
use hashbrown::{DefaultHashBuilder, HashMap};

pub use local_in::Policies;
pub use passthrough::Tunnels;
pub use session::Sessions;

use crate::Rng;

/// When all of it happens, in milliseconds: nothing ends.
const NOW_MS: u64 = 1_000_000;
/// One packet of so many in a flood is of somebody who is known.
const KNOWN: usize = 16;
/// Who hashes is seeded with this.
const SEED: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    /// What is known.
    Hit,
    /// What is not.
    Miss,
    /// Little of what is known among much that asks for room.
    Flood,
}

impl Case {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hit, Self::Miss, Self::Flood];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Flood => "flood",
        }
    }
}

/// A program and how it is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contender {
    /// So many packets with a call; 1 is the call for one.
    Espial(usize),
    /// A map with its default hasher.
    Hashbrown,
    /// A map with SipHash 1-3.
    HashbrownSip,
    /// One policy after the other.
    Plain,
}

impl Contender {
    /// Each, and its name in tables.
    pub const ALL: [(&'static str, Self); 5] = [
        ("espial, bursts of 32", Self::Espial(32)),
        ("espial, one at a time", Self::Espial(1)),
        ("hashbrown", Self::Hashbrown),
        ("hashbrown, SipHash 1-3", Self::HashbrownSip),
        ("plain loop", Self::Plain),
    ];
}

/// Tables of one size and traffic for them.
pub trait Field {
    /// True if there is such a contender.
    fn has(&self, contender: Contender) -> bool;

    /// Packets of a trace.
    fn items(&self) -> usize;

    /// Puts a part of a trace to a contender. `answers` gets a number a packet, the same from each.
    ///
    /// # Panics
    /// If there is no such contender, or `answers` is not as long as the part.
    fn pass(&mut self, contender: Contender, case: Case, part: Range<usize>, answers: &mut [u64]);

    /// Octets that a contender takes.
    fn octets(&self, contender: Contender) -> usize;
}

/// Compares the answers of each contender with those of the others, whatever the case.
///
/// # Panics
/// If two differ.
pub fn agree(field: &mut dyn Field, sample: usize) {
    let part = 0..field.items().min(sample);
    for case in Case::ALL {
        let mut first: Option<(&str, Vec<u64>)> = None;
        for (name, contender) in Contender::ALL {
            if !field.has(contender) {
                continue;
            }
            let mut answers = vec![u64::MAX; part.len()];
            field.pass(contender, case, part.clone(), &mut answers);
            match &first {
                None => first = Some((name, answers)),
                Some((other, expected)) => {
                    let differs = answers.iter().zip(expected).position(|(one, two)| one != two);
                    assert_eq!(differs, None, "{}: {name} and {other}", case.name());
                }
            }
        }
    }
}

/// Calls for parts of both slices, so many packets each.
fn in_bursts<P>(
    packets: &[P],
    answers: &mut [u64],
    burst: usize,
    mut ask: impl FnMut(&[P], &mut [u64]),
) {
    packets.chunks(burst).zip(answers.chunks_mut(burst)).for_each(|(p, a)| ask(p, a));
}

/// The traces of the cases. A flood is of the packets of `hit` and those that `ask_for_room`.
fn traces<P: Copy>(hit: Vec<P>, miss: Vec<P>, mut ask_for_room: impl FnMut() -> P) -> [Vec<P>; 3] {
    let flood = hit.iter().enumerate();
    let flood = flood.map(|(at, &known)| if at % KNOWN == 0 { known } else { ask_for_room() });
    let flood = flood.collect();
    [hit, miss, flood]
}

/// `items` of all, each as often as any other, in random order.
fn shuffled<P: Copy>(all: &[P], items: usize, rng: &mut Rng) -> Vec<P> {
    let mut trace: Vec<P> = all.iter().copied().cycle().take(items).collect();
    rng.shuffle(&mut trace);
    trace
}

/// So many different keys.
fn distinct(n: usize, draw: impl FnMut() -> FlowKey) -> Vec<FlowKey> {
    let mut seen = HashSet::with_capacity(n);
    std::iter::repeat_with(draw).filter(|key| seen.insert(*key)).take(n).collect()
}

/// Two hosts: the source is one of 2^24 or many more, the destination one of 16.
fn hosts(rng: &mut Rng, family: Family) -> Endpoints {
    let number = rng.next();
    match family {
        Family::V4 => Endpoints::V4 {
            src: 0x0a00_0000 | (number >> 40) as u32,
            dst: 0xac10_0000 | number as u32 & 15,
        },
        Family::V6 => Endpoints::V6 {
            src: 0x2001_0db8 << 96 | u128::from(rng.next()),
            dst: 0x2001_0db9 << 96 | u128::from(number & 15),
        },
    }
}

/// What the map keeps of a connection.
#[derive(Clone, Copy)]
struct Held {
    last_ms: u64,
    answer: u64,
}

/// A map and how many it may hold.
struct Map<S> {
    held: HashMap<FlowKey, Held, S>,
    capacity: usize,
    ttl_ms: u64,
}

type Fast = Map<DefaultHashBuilder>;
type Sip = Map<BuildHasherDefault<DefaultHasher>>;

impl<S: BuildHasher + Default> Map<S> {
    /// Full of these: made for them at once, so that nothing is left of growth.
    fn full(all: &[(FlowKey, u64)], ttl_ms: u32) -> Self {
        let mut held = HashMap::with_capacity_and_hasher(all.len(), S::default());
        held.extend(all.iter().map(|&(key, answer)| (key, Held { last_ms: NOW_MS, answer })));
        Self { held, capacity: all.len(), ttl_ms: ttl_ms.into() }
    }

    /// The answer of a connection, which counts as matched now.
    #[inline]
    fn find(&mut self, key: &FlowKey, now_ms: u64) -> Option<u64> {
        let held = self.held.get_mut(key)?;
        if now_ms - held.last_ms > self.ttl_ms {
            return None;
        }
        held.last_ms = now_ms;
        Some(held.answer)
    }

    /// True if a connection had room.
    #[inline]
    fn insert(&mut self, key: &FlowKey, answer: u64, now_ms: u64) -> bool {
        let has_room = self.held.len() < self.capacity;
        if has_room {
            self.held.insert(*key, Held { last_ms: now_ms, answer });
        }
        has_room
    }
}
