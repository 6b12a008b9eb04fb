//! Two-choice buckets of eight words: one cache line a bucket, one bucket in the common case.
//!
//! ```text
//! lookup(key):  a word of bucket[first] that fits; else, if filter bit number `filter(key)` of that
//!               bucket is set, a word of bucket[second]; else none
//! insert(key):  a free slot in bucket[first]; else in bucket[second]; else move a word of either
//!               that sits in its own first bucket to a free slot of its second, and take its place
//! ```
//!
//! Source: two-choice bucketized hashing (Azar, Broder, Karlin, Upfal 1999), with at most one
//! displacement instead of a cuckoo walk. Departures: the first bucket is preferred, not the emptier
//! one, and remembers in eight bits (one in each word, chosen by the key's hash) which keys had to go
//! on: so at the stated load 24 of 25 hits and 29 of 30 misses read one line. Words move only from
//! their first to their second bucket, are copied before they are overwritten, and the filter bit is
//! set in between; so a reader beside the writer finds every key that was there throughout,
//! without a retry.
//!
//! Invariants:
//! - I1: a word sits in its first or its second bucket; in the second only while the first has its
//!   filter bit set.
//! - I2: one word is written with one atomic store (see [`Word`]).
//! - I3: `Spills` counts for each filter bit the words that need it.

#[cfg(not(loom))]
use bytemuck::Zeroable;

use super::SaId;
use super::key::Hash;
#[cfg(loom)]
use super::key::HashKeys;
use super::segment::Segments;
use super::word::{Record, Said, Word};
#[cfg(loom)]
use crate::headers::Ipsec;
use crate::simd::{Base, COMPACT, Simd};

/// Slots of a bucket.
pub(crate) const SLOTS: usize = 8;

/// Eight words in one cache line.
#[repr(C, align(64))]
pub(crate) struct Bucket(pub(crate) [Word; SLOTS]);

#[cfg(not(loom))]
// SAFETY: integers in atomic cells; all zero is an empty bucket.
#[allow(unsafe_code)]
unsafe impl Zeroable for Bucket {}

#[cfg(not(loom))]
// SAFETY: integers in atomic cells; all zero is an empty word.
#[allow(unsafe_code)]
unsafe impl Zeroable for Word {}

/// Counts the cache lines of the table that a lookup reads; `()` counts nothing and costs nothing.
pub trait Probe {
    /// One more line was read.
    fn line(&mut self);
}

impl Probe for () {
    #[inline]
    fn line(&mut self) {}
}

impl Probe for u32 {
    fn line(&mut self) {
        *self = self.wrapping_add(1);
    }
}

/// Where a word sits.
#[derive(Clone, Copy)]
pub(super) struct Place {
    bucket: usize,
    slot: usize,
}

/// What the first bucket of a key says.
pub(super) enum First {
    /// The SA of a root word that leads to one only.
    Sa(SaId),
    /// The key is not in the table.
    Nothing,
    /// It may be in its second bucket; or there are longer keys.
    Elsewhere,
}

/// The buckets, as readers see them.
#[derive(Clone, Copy)]
pub(super) struct Table<'m> {
    buckets: &'m [Bucket],
}

/// Spares lookups a test.
#[cfg(not(loom))]
static NO_BUCKET: [Bucket; 1] = [Bucket([const { Word::empty() }; SLOTS])];

impl<'m> Table<'m> {
    /// A table that nothing can be put into. RAM is scarcer than time where code is to be small.
    #[cfg(not(loom))]
    pub(super) const EMPTY: Self = Self { buckets: if COMPACT { &[] } else { &NO_BUCKET } };

    /// A table of buckets; of none: [`Table::EMPTY`].
    #[cfg(not(loom))]
    pub(super) fn new(buckets: &'m [Bucket]) -> Self {
        if buckets.is_empty() { Self::EMPTY } else { Self { buckets } }
    }

    /// Buckets for `words` words at the stated load, 5.5 of 8 slots: 66 octets (64 and 2 of
    /// [`Spills`]) a bucket are 12 octets a word.
    pub(super) fn buckets_for(words: u64) -> u64 {
        if words == 0 { 0 } else { (words * 2).div_ceil(11).max(2) }
    }

    /// True if nothing can be put into it.
    #[cfg(not(loom))]
    pub(super) fn is_empty(&self) -> bool {
        if COMPACT {
            return self.buckets.is_empty();
        }
        core::ptr::eq(self.buckets, &raw const NO_BUCKET)
    }

    pub(super) fn len(&self) -> usize {
        self.buckets.len()
    }

    #[inline(always)]
    fn reduce(&self, part: u32) -> usize {
        ((u64::from(part) * self.buckets.len() as u64) >> 32) as usize
    }

    #[inline(always)]
    fn first(&self, hash: Hash) -> usize {
        if cfg!(target_pointer_width = "64") {
            // All of the hash, in one instruction; its low half hardly ever matters.
            return ((u128::from(hash.whole()) * self.buckets.len() as u128) >> 64) as usize;
        }
        self.reduce(hash.first())
    }

    /// Another bucket than the first.
    #[inline(always)]
    fn second(&self, hash: Hash) -> usize {
        let second = self.reduce(hash.second());
        if second != self.first(hash) {
            return second;
        }
        if second + 1 == self.buckets.len() { 0 } else { second + 1 }
    }

    /// Brings the first bucket of a hash closer.
    #[inline(always)]
    pub(super) fn prefetch(&self, hash: Hash) {
        if let Some(bucket) = self.buckets.get(self.first(hash)) {
            crate::prefetch::read(bucket);
        }
    }

    /// Brings the second bucket of a hash closer.
    #[inline(always)]
    pub(super) fn prefetch_second(&self, hash: Hash) {
        if let Some(bucket) = self.buckets.get(self.second(hash)) {
            crate::prefetch::read(bucket);
        }
    }

    /// What the first bucket says of an SPI that one SA only has, one of the first of `sas` where they tell whether a word is
    /// whole.
    ///
    /// # Bound
    /// One bucket.
    #[inline(always)]
    pub(super) fn find_first<G: Simd>(
        &self,
        hash: Hash,
        pattern: Record,
        sas: &Segments<'_>,
        probe: &mut impl Probe,
    ) -> First {
        let bucket = if COMPACT {
            let Some(bucket) = self.buckets.get(self.first(hash)) else { return First::Nothing };
            bucket
        } else {
            #[allow(unsafe_code)]
            // SAFETY: `first` is less than the number of buckets, as a product of less than 2^64 (2^32) and that
            // number is less than 2^64 (2^32) times it; and there is one at least (`Table::new`). The test would cost
            // a tenth of the lookup.
            unsafe {
                self.buckets.get_unchecked(self.first(hash))
            }
        };
        probe.line();
        if COMPACT {
            if let Some(said) = bucket.first_with(pattern.high()) {
                return said
                    .plain_sa(pattern, |index| sas.first(index))
                    .map_or(First::Elsewhere, First::Sa);
            }
        } else if let Some(slot) = G::first(G::slots(bucket, pattern.high())) {
            let word = bucket.0.get(slot);
            return word
                .and_then(|word| word.said().plain_sa(pattern, |index| sas.first(index)))
                .map_or(First::Elsewhere, First::Sa);
        }
        if bucket.spilled(hash) { First::Elsewhere } else { First::Nothing }
    }

    /// The root of an SPI if the first look at its first bucket finds it, empty if there is none. `None`
    /// leaves open what: [`Table::find`] knows.
    ///
    /// # Bound
    /// One bucket.
    #[inline(always)]
    pub(super) fn root_in_first<G: Simd>(&self, hash: Hash, pattern: Record) -> Option<Record> {
        let bucket = self.buckets.get(self.first(hash))?;
        let Some(slot) = G::first(G::slots(bucket, pattern.high())) else {
            return if bucket.spilled(hash) { None } else { Some(Record::EMPTY) };
        };
        let found = bucket.record(slot)?.without_filter();
        pattern.fits_root(found).then_some(found)
    }

    /// The first word of a longer key in its first bucket that fits the pattern; an empty one if there is
    /// none.
    ///
    /// # Bound
    /// One bucket.
    #[inline(always)]
    pub(super) fn long_in_first(&self, hash: Hash, pattern: Record) -> Record {
        let found = self
            .buckets
            .get(self.first(hash))
            .and_then(|bucket| bucket.record(Base::first(Base::slots(bucket, pattern.high()))?));
        found.filter(|found| pattern.fits_long(*found)).unwrap_or(Record::EMPTY)
    }

    /// What the second bucket says. `None` leaves open what: [`Table::find`] knows.
    ///
    /// # Bound
    /// One bucket.
    pub(super) fn find_second(
        &self,
        hash: Hash,
        pattern: Record,
        probe: &mut impl Probe,
    ) -> Option<SaId> {
        let bucket = self.buckets.get(self.second(hash))?;
        probe.line();
        let slot = Base::first(Base::slots(bucket, pattern.high()))?;
        bucket.record(slot)?.plain_sa(pattern)
    }

    /// The root that fits `pattern`, or with `LONG` the word of a longer key, that `accept` takes, and
    /// where it sits.
    ///
    /// # Bound
    /// Two buckets, 16 words.
    pub(super) fn find<const LONG: bool>(
        &self,
        hash: Hash,
        pattern: Record,
        accept: impl Fn(Record) -> bool,
        probe: &mut impl Probe,
    ) -> Option<(Place, Record)> {
        let mut look = |at: usize| {
            let bucket = self.buckets.get(at)?;
            probe.line();
            let (slot, record) = bucket.find::<LONG>(pattern, &accept)?;
            Some((Place { bucket: at, slot }, record))
        };
        let first = self.first(hash);
        look(first).or_else(|| {
            let spilled = self.buckets.get(first).is_some_and(|bucket| bucket.spilled(hash));
            if spilled { look(self.second(hash)) } else { None }
        })
    }

    fn free_slot(&self, bucket: usize) -> Option<Place> {
        let words = &self.buckets.get(bucket)?.0;
        let slot = words.iter().position(|word| Record(word.load()).is_empty())?;
        Some(Place { bucket, slot })
    }

    fn word(&self, place: Place) -> Option<&'m Word> {
        self.buckets.get(place.bucket)?.0.get(place.slot)
    }

    /// Writer: overwrites one word with one store; the bucket's filter bit in it stays.
    pub(super) fn replace(&self, place: Place, record: Record) {
        if let Some(word) = self.word(place) {
            let filter = word.load() & Record::FILTER;
            word.store(filter | record.0 & !Record::FILTER, Record::FILTER);
        }
    }
}

impl Bucket {
    #[inline(always)]
    fn record(&self, slot: usize) -> Option<Record> {
        Some(Record(self.0.get(slot)?.load()))
    }

    /// The word that fits a root pattern, or with `LONG` that of longer keys, and that `accept` takes.
    #[cfg_attr(target_os = "none", inline(never))]
    fn find<const LONG: bool>(
        &self,
        pattern: Record,
        accept: impl Fn(Record) -> bool,
    ) -> Option<(usize, Record)> {
        let mut matches = Base::slots(self, pattern.high());
        while let Some(slot) = Base::first(matches) {
            matches &= matches - 1;
            let record = self.record(slot)?;
            let fits = if LONG { pattern.fits_long(record) } else { pattern.fits_root(record) };
            if fits && accept(record) {
                return Some((slot, record));
            }
        }
        None
    }

    /// True if keys with this filter bit went on to their second bucket. Read after the words: the
    /// bit is set before a word that moves on is overwritten.
    #[inline(always)]
    fn spilled(&self, hash: Hash) -> bool {
        let word = self.0.get(filter_slot(hash));
        word.is_some_and(|word| u64::from(word.low()) & Record::FILTER != 0)
    }

    /// What the first word with this high half says, asked one after the other: the first ones are filled first.
    #[inline(always)]
    fn first_with(&self, high: u32) -> Option<Said> {
        // Spelled out: compilers that save space would make a loop of twice the instructions.
        let [a, b, c, d, e, f, g, h] = &self.0;
        macro_rules! ask {
            ($($word:ident)*) => {
                $(if $word.high() == high {
                    return Some($word.said());
                })*
            };
        }
        ask!(a b c d e f g h);
        // Before the filter bit is read: halves of words are loaded without one.
        #[cfg(all(not(target_has_atomic = "64"), not(loom)))]
        core::sync::atomic::fence(core::sync::atomic::Ordering::Acquire);
        None
    }
}

#[inline(always)]
fn filter_slot(hash: Hash) -> usize {
    hash.first() as usize % SLOTS
}

/// The writer's counts of words in their second bucket: two bits for each filter bit of a bucket. A
/// count that reached 3 stays there, and the bit stays set: some misses read a line in vain. At the
/// stated load that happens to one bit in a hundred thousand.
pub(super) struct Spills<'m>(&'m mut [u16]);

impl<'m> Spills<'m> {
    pub(super) fn new(counts: &'m mut [u16]) -> Self {
        Self(counts)
    }

    /// The count of a filter bit, changed.
    fn change(&mut self, bucket: usize, slot: usize, by: i16) -> u16 {
        const MOST: u16 = 3;
        let Some(counts) = self.0.get_mut(bucket) else { return 0 };
        let shift = 2 * (slot % SLOTS) as u32;
        let count = *counts >> shift & MOST;
        let changed = if count == MOST { MOST } else { count.saturating_add_signed(by) };
        *counts = *counts & !(MOST << shift) | changed << shift;
        changed
    }
}

/// The writer's view of the buckets.
pub(super) struct TableWriter<'m> {
    pub(super) table: Table<'m>,
    spills: Spills<'m>,
}

impl<'m> TableWriter<'m> {
    pub(super) fn new(table: Table<'m>, spills: Spills<'m>) -> Self {
        Self { table, spills }
    }

    /// Puts a word where `hash` leads. `hash_of` gives the hash of a resident word.
    /// False if there is no place; then nothing has changed that a reader could tell.
    #[must_use]
    pub(super) fn insert(
        &mut self,
        hash: Hash,
        record: Record,
        hash_of: impl Fn(Record) -> Hash,
    ) -> bool {
        // Without buckets `table` is one that all such gateways share.
        if self.spills.0.is_empty() {
            return false;
        }
        let (first, second) = (self.table.first(hash), self.table.second(hash));
        let free = self.table.free_slot(first).or_else(|| self.table.free_slot(second));
        let place = free
            .or_else(|| self.displace(first, &hash_of))
            .or_else(|| self.displace(second, &hash_of));
        let Some(place) = place else { return false };
        if place.bucket != first {
            self.spill(hash);
        }
        self.table.replace(place, record);
        true
    }

    /// Copies one word of `bucket` to its second bucket and returns its old place, still filled.
    fn displace(&mut self, bucket: usize, hash_of: &impl Fn(Record) -> Hash) -> Option<Place> {
        let words = &self.table.buckets.get(bucket)?.0;
        let (slot, resident, hash, to) = words.iter().enumerate().find_map(|(slot, word)| {
            let resident = Record(word.load());
            let hash = hash_of(resident);
            if self.table.first(hash) != bucket {
                return None;
            }
            let to = self.table.free_slot(self.table.second(hash))?;
            Some((slot, resident, hash, to))
        })?;
        self.table.replace(to, resident);
        self.spill(hash);
        Some(Place { bucket, slot })
    }

    /// Notes that a word with this hash sits in its second bucket.
    fn spill(&mut self, hash: Hash) {
        let (bucket, slot) = (self.table.first(hash), filter_slot(hash));
        self.spills.change(bucket, slot, 1);
        self.set_filter(Place { bucket, slot }, Record::FILTER);
    }

    fn set_filter(&self, place: Place, bit: u64) {
        if let Some(word) = self.table.word(place) {
            word.store(word.load() & !Record::FILTER | bit, 0);
        }
    }

    /// Empties the slot of a word with this hash.
    pub(super) fn clear(&mut self, place: Place, hash: Hash) {
        self.table.replace(place, Record::EMPTY);
        let (bucket, slot) = (self.table.first(hash), filter_slot(hash));
        if place.bucket != bucket && self.spills.change(bucket, slot, -1) == 0 {
            self.set_filter(Place { bucket, slot }, 0);
        }
    }

    /// Every word in use.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        let words = self.table.buckets.iter().flat_map(|bucket| &bucket.0);
        words.map(|word| Record(word.load())).filter(|record| !record.is_empty())
    }
}

/// Buckets that threads share, for models: SPIs of ESP alone.
#[cfg(loom)]
pub struct Shared {
    buckets: alloc::boxed::Box<[Bucket]>,
    keys: HashKeys,
}

/// Where an SPI may sit.
#[cfg(loom)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Places {
    /// Its first bucket.
    pub first: usize,
    /// Its second bucket.
    pub second: usize,
    /// The slot of the first bucket that has its filter bit.
    pub filter: usize,
}

#[cfg(loom)]
impl Shared {
    /// So many empty buckets.
    pub fn new(buckets: usize) -> Self {
        let bucket = || Bucket(core::array::from_fn(|_| Word::empty()));
        let mut keys = HashKeys::ZERO;
        keys.set([1, 2]);
        Self { buckets: (0..buckets).map(|_| bucket()).collect(), keys }
    }

    fn table(&self) -> Table<'_> {
        Table { buckets: &self.buckets }
    }

    fn hash(&self, spi: u32) -> Hash {
        self.keys.root(Ipsec::Esp, spi)
    }

    /// Where an SPI may sit.
    pub fn places(&self, spi: u32) -> Places {
        let (table, hash) = (self.table(), self.hash(spi));
        let (first, second) = (table.first(hash), table.second(hash));
        Places { first, second, filter: filter_slot(hash) }
    }

    /// Reader: the index under an SPI, as `Sad` looks in a burst.
    pub fn find_plain(&self, spi: u32, probe: &mut impl Probe) -> Option<u32> {
        let (table, hash, pattern) = (self.table(), self.hash(spi), Record::plain(Ipsec::Esp, spi));
        match table.find_first::<Base>(hash, pattern, &Segments::NONE, probe) {
            First::Sa(sa) => Some(sa.index()),
            First::Nothing => None,
            First::Elsewhere => table.find_second(hash, pattern, probe).map(SaId::index),
        }
    }

    /// Reader: the index under an SPI, as `Sad` looks when that found nothing.
    pub fn find(&self, spi: u32) -> Option<u32> {
        let root = Record::root(Ipsec::Esp, spi);
        let found = self.table().find::<false>(self.hash(spi), root, |_| true, &mut ());
        found.map(|(_, record)| record.index())
    }

    /// The one writer; a count for each bucket.
    pub fn writer<'s>(&'s self, counts: &'s mut [u16]) -> Writer<'s> {
        Writer { shared: self, table: TableWriter::new(self.table(), Spills::new(counts)) }
    }
}

/// The writer of a model's buckets.
#[cfg(loom)]
pub struct Writer<'s> {
    shared: &'s Shared,
    table: TableWriter<'s>,
}

#[cfg(loom)]
impl Writer<'_> {
    /// Puts an SPI in. False if there is no place.
    pub fn insert(&mut self, spi: u32, index: u32) -> bool {
        let record = Record(SaId::new(Ipsec::Esp, spi, 1, index).to_raw());
        let shared = self.shared;
        self.table.insert(shared.hash(spi), record, |record| shared.hash(record.high()))
    }

    /// Where an SPI sits: bucket and slot.
    pub fn place(&self, spi: u32) -> Option<(usize, usize)> {
        self.at(spi).map(|(Place { bucket, slot }, _)| (bucket, slot))
    }

    fn at(&self, spi: u32) -> Option<(Place, Record)> {
        let hash = self.shared.hash(spi);
        self.table.table.find::<false>(hash, Record::root(Ipsec::Esp, spi), |_| true, &mut ())
    }

    /// Gives an SPI another index.
    pub fn replace(&mut self, spi: u32, index: u32) {
        if let Some((place, record)) = self.at(spi) {
            let sa = SaId::new(Ipsec::Esp, spi, 1, index);
            self.table.table.replace(place, record.with_sa(sa));
        }
    }

    /// Takes an SPI out.
    pub fn remove(&mut self, spi: u32) {
        if let Some((place, _)) = self.at(spi) {
            self.table.clear(place, self.shared.hash(spi));
        }
    }
}
