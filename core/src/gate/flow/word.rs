//! The words of a bucket: tags and deadlines, and the clock that deadlines are times of.

/// Slots of a bucket: its words fill one cache line.
pub(super) const SLOTS: usize = 8;
/// A step of the caller's clock back by no more than this many milliseconds is noise.
pub const BACK_MS: u64 = 10_000;

const TIME_BITS: u32 = 40;
pub(super) const TIME: u64 = (1 << TIME_BITS) - 1;
pub(super) const TAG_BITS: u32 = 64 - TIME_BITS;
/// The tag in the upper half of a word.
const TAG_IN_HALF: u32 = u32::MAX << (TIME_BITS - 32);
pub(super) const LONGEST_STEP: u64 = 1 << 38;

/// The table's own clock; see the module.
#[derive(Clone, Copy, Default)]
pub(super) struct Clock {
    /// The caller's time that `at` belongs to.
    pub(super) heard_ms: u64,
    pub(super) at: u64,
}

impl Clock {
    pub(super) fn read(&self, now_ms: u64) -> u64 {
        self.at.wrapping_add(now_ms.saturating_sub(self.heard_ms).min(LONGEST_STEP))
    }

    pub(super) fn tick(&mut self, now_ms: u64) -> u64 {
        self.at = self.read(now_ms);
        if now_ms > self.heard_ms || self.heard_ms.saturating_sub(now_ms) > BACK_MS {
            self.heard_ms = now_ms;
        }
        self.at
    }
}

/// Milliseconds since `then`, on the caller's clock: a time before its zero is one modulo 2^64, as that of
/// a connection which is older than this node. 0 if `then` is still to come.
pub(crate) fn since_ms(now_ms: u64, then_ms: u64) -> u64 {
    let since = now_ms.wrapping_sub(then_ms);
    if since >> 63 == 0 { since } else { 0 }
}

#[inline(always)]
pub(super) fn tag_of(word: u64) -> u64 {
    word >> TIME_BITS
}

#[inline(always)]
pub(super) fn word_of(tag: u64, deadline: u64) -> u64 {
    tag << TIME_BITS | deadline & TIME
}

/// Milliseconds that a word is past its deadline; 0 of one that is not.
#[inline(always)]
pub(super) fn overdue_ms(word: u64, at: u64) -> u64 {
    let past = at.wrapping_sub(word) & TIME;
    // More than half of all times: the deadline is still to come.
    if past >> (TIME_BITS - 1) == 0 { past } else { 0 }
}

#[inline(always)]
pub(super) fn is_live(word: u64, at: u64) -> bool {
    word != 0 && overdue_ms(word, at) == 0
}

/// One bit for each word with this tag; of tag 0, for each empty word.
#[inline(always)]
pub(super) fn matching(words: &[u64; SLOTS], tag: u64) -> u32 {
    // Halves of the words hold all of the tag, and twice as many of them fit a vector.
    let half = |word: u64| (word >> 32) as u32 & TAG_IN_HALF;
    let wanted = half(word_of(tag, 0));
    let bit = |(slot, word): (usize, &u64)| u32::from(half(*word) == wanted) << (slot % SLOTS);
    words.iter().enumerate().map(bit).fold(0, |bits, bit| bits | bit)
}

/// Slots of the set bits.
pub(super) fn slots(mut bits: u32) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let slot = bits.trailing_zeros() as usize;
        bits &= bits.wrapping_sub(1);
        (slot < SLOTS).then_some(slot)
    })
}
