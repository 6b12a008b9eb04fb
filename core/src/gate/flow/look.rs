//! Where a key is: its hash, its two buckets, and what is kept in mind of it.

use bytemuck::Zeroable;

use super::key::Compact;
use super::word::{TAG_BITS, matching, slots, tag_of};
use super::{FlowKey, FlowTable, place};
use crate::prefetch;
use crate::sad::{AHEAD, Probe};

/// Where a key may be: the second bucket follows from these.
#[derive(Clone, Copy)]
pub(super) struct Home {
    bucket: usize,
    pub(super) tag: u64,
}

/// A key whose home is known: that which was looked for last and is not there, for what is not found is put in as
/// a rule; or one that a burst hashed before its turn.
#[derive(Clone, Copy)]
pub(crate) struct Hint {
    key: Compact,
    home: Home,
    /// The first place with its tag, which is its own but for one time in some millions.
    likely: Option<usize>,
    pub(super) is_absent: bool,
}

impl Hint {
    /// Of no key.
    pub(super) const NONE: Self = Self::of(Compact::NONE, Home { bucket: 0, tag: 0 }, false);

    const fn of(key: Compact, home: Home, is_absent: bool) -> Self {
        Self { key, home, likely: None, is_absent }
    }
}

/// Keys that are asked about together.
pub(crate) type Hints = heapless::Vec<Hint, AHEAD>;

impl<T: Copy + Zeroable> FlowTable<'_, T> {
    /// Finds many keys; `found` gets the number of each, itself and its value, which counts as matched now.
    ///
    /// What the keys need from memory is asked for ahead, so their waits overlap.
    pub fn find_burst(
        &mut self,
        keys: impl IntoIterator<Item = FlowKey>,
        now_ms: u64,
        mut found: impl FnMut(usize, &FlowKey, Option<&mut T>),
    ) {
        let at = self.clock.tick(now_ms);
        let mut keys = keys.into_iter();
        let mut number = 0_usize;
        loop {
            let hints = self.ahead(keys.by_ref().take(AHEAD));
            for Hint { key, home, likely, .. } in &hints {
                // Nothing moves between: a place without the tag then has not got it now.
                let place = likely.and_then(|likely| match self.entries.get(likely) {
                    Some(entry) if entry.key == *key => Some(likely),
                    _ => self.locate(key, *home, &mut ()),
                });
                found(number, &key.key(), place.and_then(|place| self.matched(place, at)));
                number = number.wrapping_add(1);
            }
            if hints.len() < AHEAD {
                return;
            }
        }
    }

    /// Hashes up to [`AHEAD`] keys and asks for the memory that their calls will need.
    pub(crate) fn ahead(&self, keys: impl Iterator<Item = FlowKey>) -> Hints {
        let mut hints = Hints::new();
        for key in keys {
            let key = Compact::of(&key);
            let home = self.home(&key);
            let words = self.buckets(home).into_iter().filter_map(|bucket| self.words.get(bucket));
            words.for_each(prefetch::read);
            // As many as there is room for.
            let _ = hints.push(Hint::of(key, home, false));
        }
        for Hint { home, likely, .. } in &mut hints {
            *likely = self.likely(*home);
            likely.and_then(|at| self.entries.get(at)).into_iter().for_each(prefetch::read);
        }
        hints
    }

    /// [`find`](Self::find) of a key that was hashed ahead, whatever happened since.
    #[inline]
    pub(crate) fn find_ahead(&mut self, hint: &Hint, now_ms: u64) -> Option<&mut T> {
        let at = self.clock.tick(now_ms);
        let Hint { key, home, likely, .. } = hint;
        // With the tag and the key it is there now (I2).
        let is_there = |place: &usize| {
            let word = self.words.as_flattened().get(*place);
            let entry = self.entries.get(*place);
            word.is_some_and(|word| tag_of(*word) == home.tag)
                && entry.is_some_and(|entry| entry.key == *key)
        };
        let Some(place) = likely.filter(is_there).or_else(|| self.locate(key, *home, &mut ()))
        else {
            self.hint = Hint { is_absent: true, ..*hint };
            return None;
        };
        self.matched(place, at)
    }

    /// Where a key may be.
    #[inline(always)]
    pub(super) fn home(&self, key: &Compact) -> Home {
        let hash = key.hash(self.seed);
        let count = self.words.len() as u64;
        let tag = (hash & ((1 << TAG_BITS) - 1)).max(1);
        Home { bucket: (((hash >> 32) * count) >> 32) as usize, tag }
    }

    pub(super) fn buckets(&self, home: Home) -> [usize; 2] {
        [home.bucket, self.other(home.bucket, home.tag)]
    }

    /// The other bucket of a word that is in `bucket`.
    #[inline]
    pub(super) fn other(&self, bucket: usize, tag: u64) -> usize {
        let count = self.words.len();
        // Odd, and below the number of buckets, which is even.
        let sum = ((tag.wrapping_mul(count as u64 / 2) >> TAG_BITS) * 2 + 1) as usize;
        if sum >= bucket {
            sum.wrapping_sub(bucket)
        } else {
            sum.wrapping_add(count).wrapping_sub(bucket)
        }
    }

    /// The first place with the key's tag.
    #[inline]
    fn likely(&self, home: Home) -> Option<usize> {
        self.buckets(home).into_iter().find_map(|bucket| {
            let slot = slots(matching(self.words.get(bucket)?, home.tag)).next()?;
            Some(place(bucket, slot))
        })
    }

    /// Where a key is, ended or not, and where it may be; kept in mind if it is not there.
    #[inline]
    pub(super) fn seek(&mut self, key: &Compact, probe: &mut impl Probe) -> (Home, Option<usize>) {
        let home = match self.hint.key == *key {
            true if self.hint.is_absent => return (self.hint.home, None),
            true => self.hint.home,
            false => self.home(key),
        };
        let place = self.locate(key, home, probe);
        if place.is_none() {
            self.hint = Hint::of(*key, home, true);
        }
        (home, place)
    }

    /// Where a key is, ended or not.
    #[inline]
    pub(super) fn locate(
        &self,
        key: &Compact,
        home: Home,
        probe: &mut impl Probe,
    ) -> Option<usize> {
        let first = self.locate_in(home.bucket, key, home.tag, probe);
        first.or_else(|| self.locate_in(self.other(home.bucket, home.tag), key, home.tag, probe))
    }

    #[inline(always)]
    fn locate_in(
        &self,
        bucket: usize,
        key: &Compact,
        tag: u64,
        probe: &mut impl Probe,
    ) -> Option<usize> {
        let words = self.words.get(bucket)?;
        probe.line();
        for slot in slots(matching(words, tag)) {
            probe.line();
            let place = place(bucket, slot);
            if self.entries.get(place).is_some_and(|entry| entry.key == *key) {
                return Some(place);
            }
        }
        None
    }
}
