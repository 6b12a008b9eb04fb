//! Connections by addresses, protocol and ports: a table of fixed size that forgets what is idle.
//!
//! ```text
//! key ─hash─▶ first bucket, tag ─▶ second bucket = (odd number made of the tag) - first   (mod buckets)
//!
//! bucket   one cache line:   8 words    | tag, 24 bits | deadline, 40 bits of ms |     0 = empty
//! entries  beside it:        8 entries  | key, time to live, value               |     read if a tag is equal
//!
//! find     words of both buckets with the key's tag, then the keys of their entries
//! insert   a vacant slot (empty, or past its deadline) of the first bucket, else of the second; else
//!          breadth first over the buckets that residents could move to, until one has a vacant slot
//! ```
//! Source: bucketized cuckoo hashing (Dietzfelbinger and Weidling 2007) whose words say alone where
//! their other place is (Fan, Andersen, Kaminsky, Mitzenmacher 2014). Departures: that other place is
//! found by subtraction instead of exclusive or, so any even number of buckets will do, and, the sum being
//! odd, it is never the same bucket; the search is breadth first and ends after [`SEARCHED`] buckets.
//!
//! # Time
//! A word holds when its entry ends, in 40 bits of a clock of the table's own that never goes back:
//! - steps forward of the caller's clock are added to it, up to 2^38 ms (8 years) at once;
//! - a step back of up to [`BACK_MS`] is noise: the table's clock stands still until the caller's has
//!   caught up;
//! - a longer one is a clock that was set anew: the table's clock goes on from the new time at once.
//!
//! So no step back brings an entry to life or ends one. Forty bits are told apart over 2^39 ms: an entry
//! that neither a call for its key nor [`FlowTable::expire`] has seen for 17 years would count as live
//! again.
//!
//! Invariants:
//! - I1: a key has one entry at most; it is in the first or the second bucket of its hash.
//! - I2: a word is 0, or has a tag that is not 0 and belongs to the entry at the same place.
//! - I3: `len` words are not 0, and `len <= capacity`.

mod key;
mod look;
mod outcome;
mod room;
mod sip;
mod transfer;
mod word;

use core::mem::MaybeUninit;

use bytemuck::Zeroable;

pub use key::{FlowKey, shard};
pub use outcome::{Full, Gone, Inserted};
pub use word::BACK_MS;
pub(crate) use word::since_ms;

pub use room::SEARCHED;

use self::key::Compact;
use self::look::Hint;
use self::word::{Clock, SLOTS, TIME, is_live, overdue_ms, slots, tag_of, word_of};
use crate::error::SetupError;
use crate::sad::Probe;
use crate::storage::{CACHE_LINE_OCTETS, Carver};

/// Entries of a bucket at the stated capacity: 7 of 8 slots.
const LOAD: u64 = 7;
/// Buckets more than that, where there are more than two: few buckets are filled less evenly than many.
const SPARE: u64 = 2;
/// What 24 bits of tag can spread over.
const MOST_BUCKETS: u64 = 1 << 24;

/// One cache line for values of up to 20 octets.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Entry<T> {
    key: Compact,
    ttl_ms: u32,
    value: T,
}

// SAFETY: integers, and a value that may be all zero.
#[allow(unsafe_code)]
unsafe impl<T: Zeroable> Zeroable for Entry<T> {}

#[inline(always)]
fn place(bucket: usize, slot: usize) -> usize {
    bucket.wrapping_mul(SLOTS).wrapping_add(slot)
}

/// Connections and what is known of them; `T` is the state of the user of the table.
///
/// An entry ends when it was not matched for longer than its time to live: from then on no call finds it.
/// It is told of once, by the [`insert`](Self::insert) that takes its slot or by [`expire`](Self::expire),
/// which is to be called again and again.
///
/// # Capacity
/// `Full` is said if there are `capacity` entries, those included that have ended and not been told of yet. No
/// live entry ever makes room for a newcomer. Below the capacity, 7 of 8 slots, a newcomer finds a place
/// unless [`SEARCHED`] buckets around it are all full. Up to 14 entries that cannot be; above, in a simulation
/// that filled tables of 15 to 10 000 entries and replaced each entry ten times, it was so in 2 of 4 million
/// tables.
///
/// # Bound
/// Whatever the keys: two cache lines of words for a key, and the entries with its tag, one by rule and 16 at
/// most. Insert: [`SEARCHED`] lines of words, two entries moved. Expire: as many words as its budget, rounded
/// up to 8, and the entries that ended.
///
/// # Concurrency
/// One owner. Each worker has a table of its own, and both directions of a connection go to one worker: by
/// [`shard`], or by a network card that spreads them alike (symmetric RSS).
pub struct FlowTable<'m, T> {
    words: &'m mut [[u64; SLOTS]],
    entries: &'m mut [Entry<T>],
    seed: [u64; 2],
    capacity: u32,
    len: u32,
    clock: Clock,
    /// The bucket that `expire` goes on with.
    cursor: usize,
    /// Entries that made room for others, modulo 2^32.
    moved: u32,
    /// What is known of a key that is likely to be asked about next.
    hint: Hint,
    /// The memory of the slices, where it is the table's own.
    #[cfg(feature = "alloc")]
    _region: Option<crate::storage::OwnedRegion>,
}

impl<'m, T: Copy + Zeroable> FlowTable<'m, T> {
    /// Octets of memory that [`FlowTable::new_in`] needs, alignment included.
    ///
    /// # Errors
    /// [`SetupError::ZeroCapacity`], [`SetupError::CapacityLimit`], [`SetupError::TooLarge`].
    pub fn octets(capacity: u32) -> Result<usize, SetupError> {
        let mut carver = Carver::measuring();
        Self::carve(&mut carver, capacity, [0; 2])?;
        carver.used().checked_add(CACHE_LINE_OCTETS).ok_or(SetupError::TooLarge)
    }

    /// An empty table for `capacity` connections. `seed` is 128 bits that peers do not know.
    ///
    /// # Errors
    /// As [`FlowTable::octets`]; [`SetupError::MemoryTooSmall`].
    pub fn new_in(
        memory: &'m mut [MaybeUninit<u8>],
        capacity: u32,
        seed: [u64; 2],
    ) -> Result<Self, SetupError> {
        Self::carve(&mut Carver::new(memory), capacity, seed)
    }

    fn carve(carver: &mut Carver<'m>, capacity: u32, seed: [u64; 2]) -> Result<Self, SetupError> {
        if capacity == 0 {
            return Err(SetupError::ZeroCapacity { field: "flows" });
        }
        // Even, so that a key's two buckets are never one.
        let buckets = match u64::from(capacity).div_ceil(LOAD) {
            0..=2 => 2,
            needed => needed.next_multiple_of(2).saturating_add(SPARE),
        };
        if buckets > MOST_BUCKETS {
            let limit = ((MOST_BUCKETS - SPARE) * LOAD) as u32;
            return Err(SetupError::CapacityLimit { field: "flows", limit });
        }
        let buckets = usize::try_from(buckets).map_err(|_| SetupError::TooLarge)?;
        Ok(Self {
            words: carver.take(buckets)?,
            entries: carver.take(buckets.checked_mul(SLOTS).ok_or(SetupError::TooLarge)?)?,
            seed,
            capacity,
            len: 0,
            clock: Clock::default(),
            cursor: 0,
            moved: 0,
            hint: Hint::NONE,
            #[cfg(feature = "alloc")]
            _region: None,
        })
    }

    /// Entries, those included that have ended and not been told of yet.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// True if there are no entries at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The most entries there may be.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// The value of a connection, which counts as matched now.
    #[inline]
    #[must_use]
    pub fn find(&mut self, key: &FlowKey, now_ms: u64) -> Option<&mut T> {
        self.find_counted(key, now_ms, &mut ())
    }

    fn find_counted(
        &mut self,
        key: &FlowKey,
        now_ms: u64,
        probe: &mut impl Probe,
    ) -> Option<&mut T> {
        let at = self.clock.tick(now_ms);
        let (_, place) = self.seek(&Compact::of(key), probe);
        self.matched(place?, at)
    }

    /// The value of a connection, and milliseconds since its last match; this is none.
    #[must_use]
    pub fn peek(&self, key: &FlowKey, now_ms: u64) -> Option<(&T, u64)> {
        let key = Compact::of(key);
        let place = self.locate(&key, self.home(&key), &mut ())?;
        self.live(place, self.clock.read(now_ms))
    }

    /// Puts a connection in, or finds it there. It ends when not matched for longer than `ttl_ms`.
    ///
    /// # Errors
    /// [`Full`]: see [the type](Self#capacity).
    pub fn insert(
        &mut self,
        key: &FlowKey,
        value: T,
        ttl_ms: u32,
        now_ms: u64,
    ) -> Result<Inserted<'_, T>, Full> {
        self.insert_counted(key, value, ttl_ms, 0, now_ms, &mut ())
    }

    fn insert_counted(
        &mut self,
        key: &FlowKey,
        value: T,
        ttl_ms: u32,
        idle_ms: u64,
        now_ms: u64,
        probe: &mut impl Probe,
    ) -> Result<Inserted<'_, T>, Full> {
        let full = Full { capacity: self.capacity };
        let at = self.clock.tick(now_ms);
        let key = Compact::of(key);
        let (home, place) = self.seek(&key, probe);
        let (place, gone) = match place {
            Some(place) if self.live(place, at).is_some() => {
                return self.matched_before(place, at, idle_ms).map(Inserted::Existing).ok_or(full);
            }
            Some(place) => (place, self.clear(place, at)),
            None => self.make_room(home, at, probe).ok_or(full)?,
        };
        if let Some(word) = self.words.as_flattened_mut().get_mut(place) {
            let left = u64::from(ttl_ms).saturating_sub(idle_ms);
            *word = word_of(home.tag, at.wrapping_add(left));
            self.len = self.len.wrapping_add(1);
        }
        self.hint.is_absent = false;
        let entry = self.entries.get_mut(place).ok_or(full)?;
        *entry = Entry { key, ttl_ms, value };
        Ok(Inserted::New { value: &mut entry.value, gone })
    }

    /// Gives a connection another time to live, counted from its last match.
    ///
    /// True if there is such a connection.
    pub fn set_ttl(&mut self, key: &FlowKey, ttl_ms: u32, now_ms: u64) -> bool {
        let at = self.clock.tick(now_ms);
        let key = Compact::of(key);
        let (home, Some(place)) = self.seek(&key, &mut ()) else { return false };
        let Some((_, idle_ms)) = self.live(place, at) else { return false };
        let entry = self.entries.get_mut(place);
        let word = self.words.as_flattened_mut().get_mut(place);
        let (Some(entry), Some(word)) = (entry, word) else { return false };
        entry.ttl_ms = ttl_ms;
        let last = at.wrapping_sub(idle_ms);
        *word = word_of(home.tag, last.wrapping_add(u64::from(ttl_ms)));
        true
    }

    /// Takes a connection out and gives its value.
    pub fn remove(&mut self, key: &FlowKey, now_ms: u64) -> Option<T> {
        let at = self.clock.tick(now_ms);
        let (_, place) = self.seek(&Compact::of(key), &mut ());
        let place = place?;
        self.live(place, at)?;
        self.clear(place, at).map(|gone| gone.value)
    }

    /// Takes out the connections that `which` names; gives their number.
    ///
    /// # Bound
    /// Reads the whole table: for an operator's command, not for the packet path.
    pub fn remove_if(&mut self, now_ms: u64, mut which: impl FnMut(&FlowKey, &T) -> bool) -> u32 {
        let at = self.clock.tick(now_ms);
        let before = self.len;
        for place in 0..self.entries.len() {
            let key = self.entries.get(place).map(|entry| entry.key.key());
            if let (Some(key), Some((value, _))) = (key, self.live(place, at))
                && which(&key, value)
            {
                self.clear(place, at);
            }
        }
        before.wrapping_sub(self.len)
    }

    /// Looks at the next `budget` slots, in whole buckets, takes out what has ended and tells of it.
    /// Gives the number of entries taken out.
    ///
    /// All slots have been looked at after calls with a budget of [`slots`](Self::slots) together.
    pub fn expire(&mut self, now_ms: u64, budget: u32, mut tell: impl FnMut(&Gone<T>)) -> u32 {
        let at = self.clock.tick(now_ms);
        let before = self.len;
        let buckets = (budget as usize).div_ceil(SLOTS).min(self.words.len());
        for _ in 0..buckets {
            let bucket = self.cursor;
            let next = bucket.wrapping_add(1);
            self.cursor = if next < self.words.len() { next } else { 0 };
            let Some(words) = self.words.get(bucket) else { continue };
            let over = |(slot, word): (usize, &u64)| {
                u32::from(overdue_ms(*word, at) != 0 && *word != 0) << (slot % SLOTS)
            };
            let ended = words.iter().enumerate().map(over).fold(0, |bits, bit| bits | bit);
            for slot in slots(ended) {
                if let Some(gone) = self.clear(place(bucket, slot), at) {
                    tell(&gone);
                }
            }
        }
        before.wrapping_sub(self.len)
    }

    /// Slots of the table: 8 for 7 of the capacity, and a few more.
    pub fn slots(&self) -> u32 {
        self.entries.len() as u32
    }

    /// All connections, with their values and the milliseconds since their last match.
    pub fn iter(&self, now_ms: u64) -> impl Iterator<Item = (FlowKey, &T, u64)> {
        let at = self.clock.read(now_ms);
        self.entries.iter().enumerate().filter_map(move |(place, entry)| {
            let (value, idle_ms) = self.live(place, at)?;
            Some((entry.key.key(), value, idle_ms))
        })
    }

    /// The value at a place and its idle time, if it has not ended.
    fn live(&self, place: usize, at: u64) -> Option<(&T, u64)> {
        let word = self.words.as_flattened().get(place).copied()?;
        let entry = self.entries.get(place)?;
        is_live(word, at).then_some((&entry.value, entry.idle_ms(word, at)))
    }

    /// The value at a place, matched now, if it has not ended.
    #[inline]
    fn matched(&mut self, place: usize, at: u64) -> Option<&mut T> {
        let word = self.words.as_flattened_mut().get_mut(place)?;
        let entry = self.entries.get_mut(place)?;
        if !is_live(*word, at) {
            return None;
        }
        *word = word_of(tag_of(*word), at.wrapping_add(u64::from(entry.ttl_ms)));
        Some(&mut entry.value)
    }

    /// Empties a place; gives what was there.
    fn clear(&mut self, place: usize, at: u64) -> Option<Gone<T>> {
        let word = self.words.as_flattened_mut().get_mut(place)?;
        let entry = self.entries.get(place)?;
        let was = core::mem::take(word);
        if was == 0 {
            return None;
        }
        self.len = self.len.wrapping_sub(1);
        Some(Gone { key: entry.key.key(), value: entry.value, idle_ms: entry.idle_ms(was, at) })
    }
}

impl<T> Entry<T> {
    /// Milliseconds since the last match of the entry with this word.
    fn idle_ms(&self, word: u64, at: u64) -> u64 {
        at.wrapping_sub(word).wrapping_add(u64::from(self.ttl_ms)) & TIME
    }
}

#[cfg(feature = "alloc")]
impl<T: Copy + Zeroable + 'static> FlowTable<'static, T> {
    /// A table in memory of its own. Nothing is allocated after this.
    ///
    /// # Errors
    /// As [`FlowTable::octets`]; [`SetupError::OutOfMemory`].
    pub fn new(capacity: u32, seed: [u64; 2]) -> Result<Self, SetupError> {
        let octets = Self::octets(capacity)?;
        #[allow(unsafe_code)]
        // SAFETY: the slices carved from the region are private to the table, are not lent for longer than
        // it is borrowed, and are dropped with it.
        let (region, memory) = unsafe { crate::storage::OwnedRegion::new(octets)? };
        Ok(Self { _region: Some(region), ..Self::new_in(memory, capacity, seed)? })
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests;
