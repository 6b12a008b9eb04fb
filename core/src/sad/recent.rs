//! The memory of SAs deleted a while ago, so that a late packet is told from an unknown one.
//!
//! Diagnosis only: no verdict depends on it. A set-associative table of eight words a set; the
//! oldest word makes room. On targets without 64-bit atomics a reader beside the writer may pair
//! a tag with another time.

use bytemuck::Zeroable;

use super::key::{HashKeys, Parts};
use super::table::SLOTS;
use super::word::Word;

/// How long a deleted SA is remembered, in milliseconds: one day. Times are kept modulo 2^32
/// milliseconds, so one that was never displaced comes back for a while after 25 days and more.
const HORIZON_MS: u32 = 24 * 60 * 60 * 1000;

/// Eight words in one cache line: tag above, time of deletion in milliseconds below.
#[repr(C, align(64))]
pub(crate) struct RecentSet([Word; SLOTS]);

// SAFETY: integers in atomic cells; all zero is an empty set.
#[allow(unsafe_code)]
unsafe impl Zeroable for RecentSet {}

/// What a key is remembered by.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    set: u32,
    tag: u32,
}

impl Mark {
    pub(super) fn of(keys: &HashKeys, parts: &Parts) -> Self {
        Self { set: keys.hash(parts).first(), tag: keys.tag(parts) }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Recent<'m> {
    sets: &'m [RecentSet],
}

impl<'m> Recent<'m> {
    pub(super) const EMPTY: Self = Self { sets: &[] };

    pub(super) fn new(sets: &'m [RecentSet]) -> Self {
        Self { sets }
    }

    /// One set for eight SAs, up to 8192 deletions.
    pub(super) fn sets_for(sas: usize) -> usize {
        sas.div_ceil(SLOTS).clamp(1, 1024)
    }

    fn set(&self, mark: Mark) -> Option<&'m RecentSet> {
        let index = (u64::from(mark.set) * self.sets.len() as u64) >> 32;
        self.sets.get(index as usize)
    }

    /// Milliseconds since the deletion of the SA with this mark. Reads one cache line.
    pub(super) fn ago_ms(&self, mark: Mark, now_ms: u64) -> Option<u32> {
        let word = self.set(mark)?.0.iter().map(Word::load).find(|word| tag(*word) == mark.tag)?;
        // A clock that lies behind the deletion: the packet's time was taken before.
        let ago = age(word, now_ms);
        let ago = if ago >= 1 << 31 { 0 } else { ago };
        (word != 0 && ago <= HORIZON_MS).then_some(ago)
    }

    /// Writer: an SA with this mark was deleted now.
    pub(super) fn remember(&self, mark: Mark, now_ms: u64) {
        let Some(set) = self.set(mark) else { return };
        let same = set.0.iter().find(|word| tag(word.load()) == mark.tag);
        let free = || set.0.iter().find(|word| word.load() == 0);
        let oldest = || set.0.iter().max_by_key(|word| age(word.load(), now_ms));
        if let Some(word) = same.or_else(free).or_else(oldest) {
            word.store(u64::from(mark.tag) << 32 | u64::from(now_ms as u32), 0);
        }
    }

    /// Writer: an SA with this mark exists again.
    pub(super) fn forget(&self, mark: Mark) {
        let Some(set) = self.set(mark) else { return };
        for word in set.0.iter().filter(|word| tag(word.load()) == mark.tag) {
            word.store(0, 0);
        }
    }
}

fn tag(word: u64) -> u32 {
    (word >> 32) as u32
}

fn age(word: u64, now_ms: u64) -> u32 {
    (now_ms as u32).wrapping_sub(word as u32)
}
