//! A gateway with so many SAs, and SPIs to ask it for.

use std::fmt;

use espial::error::{ConfigError, SaError, SetupError};
use espial::selector::{AddrRange, TrafficSelector};
use espial::{
    Capacity, ChildId, Control, Gateway, Ipsec, Mode, Modes, SaId, SaKey, SaParams, Spi, Worker,
    Workers,
};

use super::Rng;

/// Whose SPIs the SAs have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpiKind {
    /// Chosen by the gateway ([`Control::reserve_spi`]): direct slots.
    Allocated,
    /// Chosen at random by others: the hashed table.
    Random,
    /// Chosen by others, to do harm to a table with a plain hash: a third each counts up from 256,
    /// counts up in the high 20 bits, and counts up with its bits reversed.
    Pattern,
    /// Allocated and random, in turn.
    Both,
    /// Allocated and pattern, in turn.
    BothPattern,
}

impl SpiKind {
    /// Its name in tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allocated => "allocated",
            Self::Random => "random",
            Self::Pattern => "pattern",
            Self::Both => "both",
            Self::BothPattern => "both, pattern",
        }
    }

    /// Whether the SA at this place of the order of creation has an allocated SPI.
    fn allocates(self, place: usize) -> bool {
        match self {
            Self::Allocated => true,
            Self::Random | Self::Pattern => false,
            Self::Both | Self::BothPattern => place.is_multiple_of(2),
        }
    }

    fn has_pattern(self) -> bool {
        matches!(self, Self::Pattern | Self::BothPattern)
    }
}

/// What a [`Scene`] is made of.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// SAs that are added.
    pub sas: usize,
    /// SAs that there is room for: at least as many. As many: the stated capacity is reached.
    pub room: usize,
    /// Their SPIs.
    pub spis: SpiKind,
    /// Threads that may look up.
    pub workers: u32,
    /// What everything at random follows from.
    pub seed: u64,
}

impl Shape {
    /// A gateway filled to its stated capacity, for one worker.
    pub fn full(sas: usize, spis: SpiKind, seed: u64) -> Self {
        Self { sas, room: sas, spis, workers: 1, seed }
    }

    /// The capacity of its gateway, as far as 32 bits go.
    pub fn capacity(&self) -> Capacity {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let allocated = match self.spis {
            SpiKind::Allocated => self.room,
            SpiKind::Random | SpiKind::Pattern => 0,
            SpiKind::Both | SpiKind::BothPattern => self.room.div_ceil(2),
        };
        Capacity {
            tunnels: 1,
            children: 1,
            selectors: 1,
            sas: number(self.room - allocated),
            sas_dst: 0,
            sas_dst_src: 0,
            sas_allocated: number(allocated),
            replay_window: 0,
            workers: self.workers,
        }
    }
}

/// Why there is no scene.
#[derive(Debug)]
pub enum SceneError {
    /// No gateway of this capacity.
    Setup(SetupError),
    /// No tunnel or Child SA in it.
    Config(ConfigError),
    /// No room for an SA.
    Sa(SaError),
}

impl fmt::Display for SceneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::Sa(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SceneError {}

/// An SA of a scene.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sa {
    /// Its SPI.
    pub spi: Spi,
    /// Its handle: what a lookup must answer.
    pub id: SaId,
    /// The gateway chose the SPI.
    pub allocated: bool,
}

/// SPIs of others, each once.
#[derive(Clone, Copy, Debug)]
struct Draw {
    next: u32,
    salt: u32,
    pattern: bool,
}

impl Draw {
    fn new(seed: u64, pattern: bool) -> Self {
        Self { next: 0, salt: Rng::new(seed, 21).next() as u32, pattern }
    }
}

impl Iterator for Draw {
    type Item = Spi;

    fn next(&mut self) -> Option<Spi> {
        loop {
            let n = self.next;
            self.next = n.checked_add(1)?;
            let spi = if self.pattern {
                let count = n / 3 + 256;
                match n % 3 {
                    0 => count,
                    1 => count.rotate_left(12),
                    _ => count.reverse_bits(),
                }
            } else {
                scatter(n.wrapping_add(self.salt))
            };
            // RFC 4303 section 2.1 reserves those below.
            if spi > 255 {
                return Some(Spi(spi));
            }
        }
    }
}

/// A number at random for each number, and another one for another: a bijection (Wellons 2018,
/// "lowbias32"), so that no set of all SPIs is needed to draw each once.
fn scatter(n: u32) -> u32 {
    let n = (n ^ n >> 16).wrapping_mul(0x7feb_352d);
    let n = (n ^ n >> 15).wrapping_mul(0x846c_a68b);
    n ^ n >> 16
}

/// A gateway with SAs. One tunnel, one Child SA whose selector covers all of IPv4.
pub struct Scene {
    /// The gateway.
    pub gateway: Gateway<'static>,
    /// Its SAs, in random order.
    pub sas: Vec<Sa>,
    capacity: Capacity,
    child: ChildId,
    draw: Draw,
    seed: u64,
}

impl Scene {
    /// Makes the gateway and adds the SAs; `progress` is told how many there are, now and then.
    ///
    /// # Errors
    /// [`SceneError`], if the shape is no capacity of a gateway.
    pub fn new(shape: &Shape, progress: &mut dyn FnMut(usize)) -> Result<Self, SceneError> {
        let mut rng = Rng::new(shape.seed, 22);
        let capacity = shape.capacity();
        let mut gateway =
            Gateway::new(&capacity, [rng.next(), rng.next()]).map_err(SceneError::Setup)?;
        let (control, _) = gateway.split();
        let tunnel = control.add_tunnel(Mode::StrictSa, Modes::NONE).map_err(SceneError::Config)?;
        let all = [TrafficSelector::any(AddrRange::V4 { lo: 0, hi: u32::MAX })];
        let child = control.add_child(tunnel, &all, &all).map_err(SceneError::Config)?;
        // Nobody reads yet, so nobody is waited for.
        control.publish().map_err(|_| SceneError::Config(ConfigError::Busy))?;
        // No peer sends on an SPI that was deleted, and so none need be kept from use.
        control.set_spi_quarantine(0);
        let mut draw = Draw::new(shape.seed, shape.spis.has_pattern());
        let mut sas = Vec::with_capacity(shape.sas);
        for place in 0..shape.sas {
            if place.is_multiple_of(1 << 16) {
                progress(place);
            }
            let allocated = shape.spis.allocates(place);
            sas.push(add(control, child, allocated, &mut draw).map_err(SceneError::Sa)?);
        }
        rng.shuffle(&mut sas);
        Ok(Self { gateway, sas, capacity, child, draw, seed: shape.seed })
    }

    /// Octets of memory that the whole gateway takes.
    pub fn octets(&self) -> usize {
        // Its capacity made a gateway, and so it has a size.
        espial::gateway::octets(&self.capacity).unwrap_or(0)
    }

    /// Octets of the tables that a lookup by SPI reads, as `core/src/sad` lays them out: 8 for a
    /// direct slot, 12 in buckets for others.
    pub fn table_octets(&self) -> usize {
        8 * self.capacity.sas_allocated as usize + 12 * self.capacity.sas as usize
    }

    /// SPIs of SAs to ask for: each as often as any other, `least` or more, in an order without a
    /// period.
    pub fn hits(&self, least: usize) -> Vec<Spi> {
        let mut rng = Rng::new(self.seed, 23);
        trace(&mut rng, &self.sas, least).iter().map(|sa| sa.spi).collect()
    }

    /// As many SPIs that no SA has, drawn as those of others are.
    pub fn misses(&mut self, count: usize) -> Vec<Spi> {
        let (control, _) = self.gateway.split();
        // From far behind, so that SAs which are added later do not have them.
        let draw = Draw { next: self.draw.next.max(1 << 30), ..self.draw };
        draw.filter(|spi| is_free(control, *spi)).take(count).collect()
    }

    /// As many SPIs that no SA has but whose low bits are those of SPIs in use: of allocated SAs, what
    /// it was or will be in the same slot.
    pub fn near_misses(&mut self, count: usize) -> Vec<Spi> {
        let mut rng = Rng::new(self.seed, 24);
        let (control, _) = self.gateway.split();
        let other = |sa: Sa| Spi(sa.spi.0 ^ ((rng.next() as u32 | 1) << 25));
        let trace = trace(&mut Rng::new(self.seed, 25), &self.sas, count);
        let near = trace.into_iter().cycle().map(other);
        near.filter(|spi| is_free(control, *spi)).take(count).collect()
    }

    /// The one worker of a gateway for one, or the first of several.
    ///
    /// # Panics
    /// Never: there is one at least.
    pub fn worker(&mut self) -> Worker<'_> {
        self.gateway.split().1.take().expect("a worker")
    }

    /// What changes SAs while workers read, and the workers.
    pub fn split(&mut self) -> (Writer<'_>, Workers<'_>) {
        let (control, workers) = self.gateway.split();
        (Writer { control, child: self.child, draw: &mut self.draw }, workers)
    }
}

fn is_free(control: &Control<'_>, spi: Spi) -> bool {
    SaKey::new(Ipsec::Esp, spi, None, None).is_ok_and(|key| control.find_sa(&key).is_none())
}

/// All of a list in random order, again and again until it is long enough.
pub(super) fn trace<T: Copy>(rng: &mut Rng, list: &[T], least: usize) -> Vec<T> {
    let mut trace = Vec::with_capacity(least.max(list.len()));
    while trace.len() < least.max(list.len()) && !list.is_empty() {
        let from = trace.len();
        trace.extend_from_slice(list);
        rng.shuffle(&mut trace[from..]);
    }
    trace
}

fn add(
    control: &mut Control<'_>,
    child: ChildId,
    allocated: bool,
    draw: &mut Draw,
) -> Result<Sa, SaError> {
    let add = |control: &mut Control<'_>, spi| {
        let key = SaKey::new(Ipsec::Esp, spi, None, None)?;
        Ok(Sa { spi, id: control.add_sa(child, &SaParams::new(key))?, allocated })
    };
    if allocated {
        let spi = control.reserve_spi(Ipsec::Esp, 0)?;
        return add(control, spi);
    }
    loop {
        let before = *draw;
        let spi = draw.next().ok_or(SaError::Full { limit: u32::MAX })?;
        match add(control, spi) {
            // The gateway, or another pattern, has it already.
            Err(SaError::Duplicate) => {}
            Err(error) => {
                *draw = before;
                return Err(error);
            }
            added => return added,
        }
    }
}

/// Adds and deletes SAs.
pub struct Writer<'g> {
    control: &'g mut Control<'static>,
    child: ChildId,
    draw: &'g mut Draw,
}

impl Writer<'_> {
    /// Puts a new SA with a new SPI in the place of an old one: adds, then deletes. `Ok(false)`: room
    /// will come when every worker was quiescent; nothing has changed.
    ///
    /// # Errors
    /// What the gateway says else.
    pub fn rekey(&mut self, sa: &mut Sa) -> Result<bool, SaError> {
        match add(self.control, self.child, sa.allocated, self.draw) {
            Ok(new) => {
                self.control.delete_sa(sa.id, 0)?;
                *sa = new;
                Ok(true)
            }
            Err(SaError::Busy) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
