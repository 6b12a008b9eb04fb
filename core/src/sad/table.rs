//! Two-choice buckets of eight words: one cache line a bucket.
//!
//! ```text
//! lookup(key):  first, second = two hashes of the key
//!               any word of bucket[first] that fits, else any word of bucket[second], else none
//! insert(key):  a free slot in bucket[first]; else in bucket[second]; else move a word of either
//!               that sits in its own first bucket to a free slot of its second, and take its place
//!
//! word   63            32 31  30 29 28  26 25         0
//!        | SPI or tag    | kind |AH| flags | SA index  |     0 = empty
//! ```
//!
//! Source: two-choice bucketized hashing (Azar, Broder, Karlin, Upfal 1999), with at most one
//! displacement instead of a cuckoo walk. Departures: words move only from their first to their
//! second bucket, are copied before they are cleared, and are looked for in that order. So a
//! reader beside the writer finds every key that was there throughout, without a retry.
//!
//! Invariants:
//! - I1: a word sits in its first or its second bucket.
//! - I2: one word is written with one atomic store (see [`Word`]).

use core::sync::atomic::Ordering;

use bytemuck::Zeroable;

use super::key::{Hash, Kind};

/// Slots of a bucket.
pub(super) const SLOTS: usize = 8;

/// A 64-bit cell that the one writer stores and readers load.
#[cfg(target_has_atomic = "64")]
#[repr(transparent)]
pub(super) struct Word(core::sync::atomic::AtomicU64);

#[cfg(target_has_atomic = "64")]
impl Word {
    #[inline]
    pub(super) fn load(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn store(&self, word: u64) {
        self.0.store(word, Ordering::Release);
    }
}

/// A 64-bit cell of two halves, for targets without 64-bit atomics.
///
/// The low half (kind and index) is written last and read first, and cleared before the high half
/// changes, so a reader sees an empty word, or a low half with the high half written with it or after it. The
/// second case pairs an SA with another SPI: `Sad` therefore compares the SPI in the SA entry.
#[cfg(not(target_has_atomic = "64"))]
#[repr(C)]
pub(super) struct Word {
    high: core::sync::atomic::AtomicU32,
    low: core::sync::atomic::AtomicU32,
}

#[cfg(not(target_has_atomic = "64"))]
impl Word {
    #[inline]
    pub(super) fn load(&self) -> u64 {
        let low = self.low.load(Ordering::Acquire);
        u64::from(self.high.load(Ordering::Acquire)) << 32 | u64::from(low)
    }

    pub(super) fn store(&self, word: u64) {
        let high = (word >> 32) as u32;
        if self.high.load(Ordering::Relaxed) != high {
            self.low.store(0, Ordering::Release);
            self.high.store(high, Ordering::Release);
        }
        self.low.store(word as u32, Ordering::Release);
    }
}

/// A word taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Record(pub(super) u64);

const INDEX: u64 = (1 << 26) - 1;
const MATCH_SHIFT: u32 = 29;

/// The largest number of SAs that a word's index can tell apart.
pub(crate) const MAX_SAS: u32 = INDEX as u32;

impl Record {
    /// Root: an SA is found by this SPI alone; without it the index is any SA with the SPI.
    pub(super) const HAS_SA: u64 = 1 << 28;
    /// Root: an SA with this SPI and a destination exists.
    pub(super) const HAS_DESTINATION: u64 = 1 << 27;
    /// Root: an SA with this SPI, a destination and a source exists.
    pub(super) const HAS_DESTINATION_SOURCE: u64 = 1 << 26;
    /// All three.
    pub(super) const FLAGS: u64 =
        Self::HAS_SA | Self::HAS_DESTINATION | Self::HAS_DESTINATION_SOURCE;

    #[inline]
    pub(super) fn new(high: u32, kind: Kind, ah: bool, flags: u64, index: u32) -> Self {
        Self(
            u64::from(high) << 32
                | (kind as u64) << 30
                | u64::from(ah) << 29
                | (flags & Self::FLAGS)
                | (u64::from(index) & INDEX),
        )
    }

    #[inline]
    pub(super) fn index(self) -> u32 {
        (self.0 & INDEX) as u32
    }

    #[inline]
    pub(super) fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    /// True if SPI or tag, kind and protocol are equal.
    #[inline]
    fn fits(self, pattern: Self) -> bool {
        (self.0 ^ pattern.0) >> MATCH_SHIFT == 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn is_root(self) -> bool {
        (self.0 >> 30) & 3 == Kind::Root as u64
    }

    /// The same word pointing to another SA.
    pub(super) fn with_index(self, index: u32) -> Self {
        Self((self.0 & !INDEX) | (u64::from(index) & INDEX))
    }

    /// The same word with other flags.
    pub(super) fn with_flags(self, flags: u64) -> Self {
        Self((self.0 & !Self::FLAGS) | (flags & Self::FLAGS))
    }

    pub(super) fn flags(self) -> u64 {
        self.0 & Self::FLAGS
    }
}

/// Eight words in one cache line.
#[repr(C, align(64))]
pub(crate) struct Bucket(pub(super) [Word; SLOTS]);

// SAFETY: integers in atomic cells; all zero is an empty bucket.
#[allow(unsafe_code)]
unsafe impl Zeroable for Bucket {}

/// Counts the buckets a lookup reads; `()` counts nothing and costs nothing.
pub trait Probe {
    /// One more bucket was read.
    fn bucket(&mut self);
}

impl Probe for () {
    #[inline]
    fn bucket(&mut self) {}
}

impl Probe for u32 {
    fn bucket(&mut self) {
        *self = self.wrapping_add(1);
    }
}

/// Where a word sits.
#[derive(Clone, Copy)]
pub(super) struct Place {
    bucket: usize,
    slot: usize,
}

/// The two buckets that a key may be in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pair {
    first: usize,
    second: usize,
}

/// The buckets.
#[derive(Clone, Copy)]
pub(super) struct Table<'m> {
    buckets: &'m [Bucket],
}

impl<'m> Table<'m> {
    pub(super) fn new(buckets: &'m [Bucket]) -> Self {
        Self { buckets }
    }

    /// Buckets for `words` words: half of the slots stay free. At that load the chance that an
    /// insertion finds no place was below what a test of 2^24 insertions could see.
    pub(super) fn buckets_for(words: u64) -> u64 {
        (words * 2).div_ceil(SLOTS as u64).max(2)
    }

    /// The first and the second bucket of a hash; different ones.
    #[inline]
    pub(super) fn pair(&self, hash: &Hash) -> Pair {
        let count = self.buckets.len() as u64;
        let reduce = |part: u32| ((u64::from(part) * count) >> 32) as usize;
        let (first, second) = (reduce(hash.first), reduce(hash.second));
        if first != second {
            return Pair { first, second };
        }
        Pair { first, second: if second + 1 == self.buckets.len() { 0 } else { second + 1 } }
    }

    /// Brings the first bucket of a pair closer.
    #[inline]
    pub(super) fn prefetch(&self, pair: &Pair) {
        if let Some(bucket) = self.buckets.get(pair.first) {
            crate::prefetch::read(bucket);
        }
    }

    /// The first word that fits `pattern` and that `accept` takes.
    ///
    /// All eight words of a bucket are compared before any is looked at: one branch for what is
    /// there, none for where.
    ///
    /// # Bound
    /// Two buckets, 16 words.
    #[inline]
    pub(super) fn find(
        &self,
        pair: &Pair,
        pattern: Record,
        accept: impl Fn(Record) -> bool,
        probe: &mut impl Probe,
    ) -> Option<(Place, Record)> {
        self.find_in(pair.first, pattern, &accept, probe)
            .or_else(|| self.find_in(pair.second, pattern, &accept, probe))
    }

    #[inline]
    fn find_in(
        &self,
        bucket: usize,
        pattern: Record,
        accept: impl Fn(Record) -> bool,
        probe: &mut impl Probe,
    ) -> Option<(Place, Record)> {
        probe.bucket();
        let words = &self.buckets.get(bucket)?.0;
        let records: [Record; SLOTS] = core::array::from_fn(|slot| Record(words[slot].load()));
        let mut fits = records
            .iter()
            .enumerate()
            .fold(0_u32, |fits, (slot, record)| fits | u32::from(record.fits(pattern)) << slot);
        while fits != 0 {
            let slot = fits.trailing_zeros() as usize;
            fits &= fits - 1;
            let record = *records.get(slot)?;
            if accept(record) {
                return Some((Place { bucket, slot }, record));
            }
        }
        None
    }

    fn free_slot(&self, bucket: usize) -> Option<Place> {
        let words = &self.buckets.get(bucket)?.0;
        let slot = words.iter().position(|word| Record(word.load()).is_empty())?;
        Some(Place { bucket, slot })
    }

    /// Writer: puts a word where `hash` leads. `hash_of` gives the hash of a resident word.
    /// False if there is no place; then nothing has changed that a reader could tell.
    #[must_use]
    pub(super) fn insert(
        &self,
        hash: &Hash,
        record: Record,
        hash_of: impl Fn(Record) -> Hash,
    ) -> bool {
        let Pair { first, second } = self.pair(hash);
        let free = self.free_slot(first).or_else(|| self.free_slot(second));
        let place = free
            .or_else(|| self.displace(first, &hash_of))
            .or_else(|| self.displace(second, &hash_of));
        match place {
            Some(place) => {
                self.replace(place, record);
                true
            }
            None => false,
        }
    }

    /// Copies one word of `bucket` to its second bucket and returns its old place, still filled.
    fn displace(&self, bucket: usize, hash_of: &impl Fn(Record) -> Hash) -> Option<Place> {
        let words = &self.buckets.get(bucket)?.0;
        words.iter().enumerate().find_map(|(slot, word)| {
            let resident = Record(word.load());
            let Pair { first, second } = self.pair(&hash_of(resident));
            if first != bucket {
                return None;
            }
            let to = self.free_slot(second)?;
            self.replace(to, resident);
            Some(Place { bucket, slot })
        })
    }

    /// Writer: overwrites one word with one store.
    pub(super) fn replace(&self, place: Place, record: Record) {
        if let Some(word) = self.buckets.get(place.bucket).and_then(|b| b.0.get(place.slot)) {
            word.store(record.0);
        }
    }

    /// Writer: empties one slot.
    pub(super) fn clear(&self, place: Place) {
        self.replace(place, Record(0));
    }
}
