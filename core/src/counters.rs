//! Counts of every packet and every drop: exact, while events are limited.
//!
//! What is hot (accepted packets) has a cell for each worker and SA, written with a plain load and
//! store by its owner. What is rare (drops, shadow results) has one cell an SA for all workers,
//! added to atomically where the target can, so that a million SAs do not cost a gigabyte a core.
//! On targets without read-modify-write atomics there is one worker, which owns all cells.
//!
//! A cell has 64 bits where the target has 64-bit atomics, else 32 bits: exact modulo 2^32.

use core::sync::atomic::Ordering;

use bytemuck::Zeroable;

use crate::sad::Segments;
use crate::verdict::{Mode, Reason};

#[cfg(target_has_atomic = "64")]
type Cell = core::sync::atomic::AtomicU64;
#[cfg(target_has_atomic = "64")]
type Raw = u64;
#[cfg(not(target_has_atomic = "64"))]
type Cell = core::sync::atomic::AtomicU32;
#[cfg(not(target_has_atomic = "64"))]
type Raw = u32;

/// True if several workers may add to one cell.
pub(crate) const SHARED_CELLS: bool = cfg!(target_has_atomic = "32");

/// One count.
#[repr(transparent)]
#[derive(Default)]
pub(crate) struct Counter(Cell);

impl Counter {
    /// Adds, as the only worker that writes this cell.
    #[inline]
    pub(crate) fn add_owned(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n as Raw), Ordering::Relaxed);
    }

    /// Adds, as one of many.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        #[cfg(target_has_atomic = "32")]
        self.0.fetch_add(n as Raw, Ordering::Relaxed);
        #[cfg(not(target_has_atomic = "32"))]
        self.add_owned(n);
    }

    pub(crate) fn get(&self) -> u64 {
        #[allow(clippy::useless_conversion, reason = "a u32 where there are no 64-bit atomics")]
        u64::from(self.0.load(Ordering::Relaxed))
    }

    /// Starts at a number, when nobody adds.
    fn set(&self, n: u64) {
        self.0.store(n as Raw, Ordering::Relaxed);
    }

    /// Reads and zeroes, when nobody adds.
    fn take(&self) -> u64 {
        let count = self.get();
        self.0.store(0, Ordering::Relaxed);
        count
    }
}

/// What one worker accepted on one SA; four to a cache line.
#[repr(C)]
pub(crate) struct Accepted {
    pub(crate) packets: Counter,
    pub(crate) octets: Counter,
}

// SAFETY: integers in atomic cells; all zero is zero counts.
#[allow(unsafe_code)]
unsafe impl Zeroable for Accepted {}

impl Accepted {
    /// Counts a packet.
    #[inline(always)]
    pub(crate) fn add(&self, octets: usize) {
        self.packets.add_owned(1);
        self.octets.add_owned(octets as u64);
    }
}

/// Drops and shadow results of one SA, of all workers.
#[repr(C)]
pub(crate) struct SaCells {
    drops: [Counter; Reason::COUNT],
    shadow_accepts: [Counter; Mode::ALL.len()],
    shadow_drops: [Counter; Mode::ALL.len()],
}

// SAFETY: integers in atomic cells; all zero is zero counts.
#[allow(unsafe_code)]
unsafe impl Zeroable for SaCells {}

impl SaCells {
    #[inline]
    pub(crate) fn drop(&self, reason: Reason) {
        if let Some(cell) = self.drops.get(reason.index()) {
            cell.add(1);
        }
    }

    #[inline]
    pub(crate) fn shadow(&self, mode: Mode, accepts: bool) {
        let cells = if accepts { &self.shadow_accepts } else { &self.shadow_drops };
        if let Some(cell) = cells.get(mode as usize) {
            cell.add(1);
        }
    }
}

/// Packets that one worker could not put to an SA, and those not for this check.
#[repr(C, align(64))]
pub(crate) struct WorkerCells {
    pub(crate) drops: [Counter; Reason::COUNT],
    pub(crate) passed: Counter,
    pub(crate) events_suppressed: Counter,
}

// SAFETY: integers in atomic cells; all zero is zero counts.
#[allow(unsafe_code)]
unsafe impl Zeroable for WorkerCells {}

/// The counts of an SA, of a tunnel or of everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Counts {
    /// Accepted packets.
    pub packets: u64,
    /// Octets of the accepted packets, as the inner IP headers (transport mode: the payloads)
    /// were handed in.
    pub octets: u64,
    /// Dropped packets by [`Reason::index`].
    pub drops: [u64; Reason::COUNT],
    /// Packets that each mode, asked as a shadow, would have accepted; by mode code.
    pub shadow_accepts: [u64; Mode::ALL.len()],
    /// Packets that each mode, asked as a shadow, would have dropped; by mode code.
    pub shadow_drops: [u64; Mode::ALL.len()],
}

// SAFETY: integers without padding (`repr(C)`, all u64); all zero is zero counts.
#[allow(unsafe_code)]
unsafe impl Zeroable for Counts {}

impl Default for Counts {
    fn default() -> Self {
        Self::zeroed()
    }
}

impl Counts {
    /// Dropped packets of one reason.
    pub fn drops_of(&self, reason: Reason) -> u64 {
        self.drops.get(reason.index()).copied().unwrap_or(0)
    }

    /// Dropped packets of all reasons.
    pub fn all_drops(&self) -> u64 {
        self.drops.iter().fold(0, |sum, n| sum.wrapping_add(*n))
    }

    /// Adds other counts to these.
    pub fn add(&mut self, other: &Self) {
        let sum = |into: &mut u64, n: u64| *into = into.wrapping_add(n);
        sum(&mut self.packets, other.packets);
        sum(&mut self.octets, other.octets);
        let each = |into: &mut [u64], from: &[u64]| {
            into.iter_mut().zip(from).for_each(|(into, n)| sum(into, *n));
        };
        each(&mut self.drops, &other.drops);
        each(&mut self.shadow_accepts, &other.shadow_accepts);
        each(&mut self.shadow_drops, &other.shadow_drops);
    }

    pub(crate) fn add_drop(&mut self, reason: usize, count: u64) {
        if let Some(sum) = self.drops.get_mut(reason) {
            *sum = sum.wrapping_add(count);
        }
    }
}

/// The counts of the SA at an index.
pub(crate) fn of_sa(segments: &Segments<'_>, index: u32) -> Counts {
    read(segments, index, Counter::get)
}

/// The counts of the SA at an index, which start anew at zero. Nobody may be counting.
pub(crate) fn take_sa(segments: &Segments<'_>, index: u32) -> Counts {
    read(segments, index, Counter::take)
}

/// What was accepted on the SA at an index before it came here, as if the first worker had counted it.
/// Nobody may be counting; the counts were zero.
pub(crate) fn set_accepted(segments: &Segments<'_>, index: u32, [packets, octets]: [u64; 2]) {
    if let Some(accepted) = segments.accepted(0, index) {
        accepted.packets.set(packets);
        accepted.octets.set(octets);
    }
}

fn read(segments: &Segments<'_>, index: u32, read: impl Fn(&Counter) -> u64) -> Counts {
    let mut counts = Counts::default();
    for accepted in segments.all_accepted(index) {
        counts.packets = counts.packets.wrapping_add(read(&accepted.packets));
        counts.octets = counts.octets.wrapping_add(read(&accepted.octets));
    }
    if let Some(cells) = segments.cells(index) {
        let each = |into: &mut [u64], from: &[Counter]| {
            into.iter_mut().zip(from).for_each(|(into, cell)| *into = read(cell));
        };
        each(&mut counts.drops, &cells.drops);
        each(&mut counts.shadow_accepts, &cells.shadow_accepts);
        each(&mut counts.shadow_drops, &cells.shadow_drops);
    }
    counts
}
