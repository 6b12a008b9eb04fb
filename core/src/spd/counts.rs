//! Packets a policy, one row of cells a thread.
//!
//! The owner of a row adds with a plain load and store; any thread reads. A cell never wraps: it
//! has 64 bits, on targets without 64-bit atomics too, where it is made of three words.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

#[cfg(any(test, not(target_has_atomic = "64")))]
use core::sync::atomic::AtomicU32;
#[cfg(target_has_atomic = "64")]
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering;

use super::Entry;
use super::compiled::Spd;

/// The count of one policy in one thread's row.
#[derive(Default, Debug)]
pub struct Count(
    #[cfg(target_has_atomic = "64")] AtomicU64,
    #[cfg(not(target_has_atomic = "64"))] Halves,
);

impl Count {
    /// Zero.
    pub const fn new() -> Self {
        #[cfg(target_has_atomic = "64")]
        return Self(AtomicU64::new(0));
        #[cfg(not(target_has_atomic = "64"))]
        return Self(Halves::new(0));
    }

    /// Adds, as the only thread that writes this cell.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        #[cfg(target_has_atomic = "64")]
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
        #[cfg(not(target_has_atomic = "64"))]
        self.0.add(n);
    }

    /// Packets counted so far.
    pub fn get(&self) -> u64 {
        #[cfg(target_has_atomic = "64")]
        return self.0.load(Ordering::Relaxed);
        #[cfg(not(target_has_atomic = "64"))]
        return self.0.get();
    }
}

/// 64 bits for one writer and any readers, of 32-bit loads and stores alone.
///
/// The writer stores the high half, the low half, and the high half again; a reader loads them the
/// other way round. A reader that loads the same high half twice has seen no carry between, so the
/// low half belongs to it (Lamport, "Concurrent reading and writing", 1977).
#[cfg(any(test, not(target_has_atomic = "64")))]
#[derive(Default, Debug)]
struct Halves {
    /// Stored first, loaded last.
    high: AtomicU32,
    low: AtomicU32,
    high_again: AtomicU32,
}

#[cfg(any(test, not(target_has_atomic = "64")))]
impl Halves {
    const fn new(count: u64) -> Self {
        let high = (count >> 32) as u32;
        Self {
            high: AtomicU32::new(high),
            low: AtomicU32::new(count as u32),
            high_again: AtomicU32::new(high),
        }
    }

    #[inline]
    fn add(&self, n: u64) {
        let (high, low) = (self.high.load(Ordering::Relaxed), self.low.load(Ordering::Relaxed));
        let sum = (u64::from(high) << 32 | u64::from(low)).wrapping_add(n);
        self.high.store((sum >> 32) as u32, Ordering::Relaxed);
        // Each store makes those before it visible to who sees it.
        self.low.store(sum as u32, Ordering::Release);
        self.high_again.store((sum >> 32) as u32, Ordering::Release);
    }

    /// # Bound
    /// Two turns, unless the writer adds 2^32 between two loads.
    fn get(&self) -> u64 {
        loop {
            let before = self.high_again.load(Ordering::Acquire);
            let low = self.low.load(Ordering::Acquire);
            let high = self.high.load(Ordering::Relaxed);
            if before == high {
                return u64::from(high) << 32 | u64::from(low);
            }
        }
    }
}

/// One thread's counts, to be read while it goes on.
///
/// # Concurrency
/// Any thread. Each count is exact; two of them are not of the same moment.
#[derive(Clone, Copy, Debug)]
pub struct Counts<'s, 'c> {
    pub(super) spd: Spd<'s>,
    pub(super) cells: &'c [Count],
}

impl<'s, 'c> Counts<'s, 'c> {
    /// Packets that met the policy at this place in the order; 0 if there is no such place.
    pub fn of(&self, place: u32) -> u64 {
        if place < self.spd.len() { self.cell(place as usize) } else { 0 }
    }

    /// Every policy in order, with its packets.
    pub fn policies(&self) -> impl Iterator<Item = (Entry, u64)> + use<'s, 'c> {
        self.spd.policies().zip(self.cells).map(|(entry, cell)| (entry, cell.get()))
    }

    /// Packets that met none: discarded by default.
    pub fn unmatched(&self) -> u64 {
        self.cell(self.spd.len() as usize)
    }

    fn cell(&self, index: usize) -> u64 {
        self.cells.get(index).map_or(0, Count::get)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader beside a writer never sees a carry half done.
    #[test]
    fn halves_are_read_whole_while_they_carry() {
        const TIMES: u64 = 200_000;
        let start = (7_u64 << 32) - 1000;
        let step = u64::from(u32::MAX) / 3;
        let count = Halves::new(start);
        std::thread::scope(|scope| {
            scope.spawn(|| (0..TIMES).for_each(|_| count.add(step)));
            let mut last = start;
            while last < start + TIMES * step {
                let now = count.get();
                assert!(now >= last && (now - start).is_multiple_of(step), "{last:x}, {now:x}");
                last = now;
            }
        });
        assert_eq!(count.get(), start + TIMES * step);
    }

    #[test]
    fn a_count_has_sixty_four_bits() {
        for n in [0, 1, u64::from(u32::MAX)] {
            let (count, halves) = (Count::new(), Halves::new(0));
            for _ in 0..3 {
                count.add(n);
                halves.add(n);
            }
            assert_eq!((count.get(), halves.get()), (3 * n, 3 * n));
        }
    }
}
