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

    #[inline]
    pub(super) fn tick(&mut self, now_ms: u64) -> u64 {
        if now_ms == self.heard_ms {
            return self.at;
        }
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
    target::matching(words, (word_of(tag, 0) >> 32) as u32)
}

/// One word after the other.
#[cfg(any(
    test,
    not(all(target_arch = "x86_64", target_feature = "sse2", not(any(miri, espial_scalar))))
))]
mod plain {
    use super::{SLOTS, TAG_IN_HALF};

    #[inline(always)]
    pub(super) fn matching(words: &[u64; SLOTS], wanted: u32) -> u32 {
        let half = |word: u64| (word >> 32) as u32 & TAG_IN_HALF;
        let bit = |(slot, word): (usize, &u64)| u32::from(half(*word) == wanted) << (slot % SLOTS);
        words.iter().enumerate().map(bit).fold(0, |bits, bit| bits | bit)
    }
}

/// SSE2, which is part of x86-64: the compiler does not find all of it in the loop.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(any(miri, espial_scalar))))]
mod sse2 {
    use core::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_castps_si128, _mm_castsi128_ps, _mm_cmpeq_epi32,
        _mm_movemask_epi8, _mm_packs_epi16, _mm_packs_epi32, _mm_set_epi64x, _mm_set1_epi32,
        _mm_shuffle_ps,
    };

    use super::{SLOTS, TAG_IN_HALF};

    #[inline(always)]
    pub(super) fn matching(words: &[u64; SLOTS], wanted: u32) -> u32 {
        #[allow(unsafe_code)]
        // SAFETY: this module is compiled only where SSE2 is enabled for the whole program.
        unsafe {
            compare(words, wanted)
        }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn compare(words: &[u64; SLOTS], wanted: u32) -> u32 {
        let [a, b, c, d, e, f, g, h] = words.map(u64::cast_signed);
        let mask = _mm_set1_epi32(TAG_IN_HALF.cast_signed());
        let wanted = _mm_set1_epi32(wanted.cast_signed());
        let equal = |four: [i64; 4]| -> __m128i {
            let [a, b, c, d] = four;
            let (low, high) = (_mm_set_epi64x(b, a), _mm_set_epi64x(d, c));
            let (low, high) = (_mm_castsi128_ps(low), _mm_castsi128_ps(high));
            // The upper half of each.
            let upper = _mm_castps_si128(_mm_shuffle_ps::<0b11_01_11_01>(low, high));
            _mm_cmpeq_epi32(_mm_and_si128(upper, mask), wanted)
        };
        let all = _mm_packs_epi32(equal([a, b, c, d]), equal([e, f, g, h]));
        (_mm_movemask_epi8(_mm_packs_epi16(all, all)) & 0xff).cast_unsigned()
    }
}

#[cfg(not(all(
    target_arch = "x86_64",
    target_feature = "sse2",
    not(any(miri, espial_scalar))
)))]
use plain as target;
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(any(miri, espial_scalar))))]
use sse2 as target;

/// Slots of the set bits.
pub(super) fn slots(mut bits: u32) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let slot = bits.trailing_zeros() as usize;
        bits &= bits.wrapping_sub(1);
        (slot < SLOTS).then_some(slot)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Words that differ in the tag, in the time, or not at all.
        #[test]
        fn tags_are_compared_as_one_by_one(
            words: [u64; SLOTS],
            copied: [bool; SLOTS],
            flipped in 0..64_u32,
            tag in 0..1_u64 << TAG_BITS,
        ) {
            let mut words = words;
            for (word, copied) in words.iter_mut().zip(copied) {
                if copied {
                    *word = word_of(tag, *word);
                }
            }
            words[7] = word_of(tag, words[7]) ^ 1 << flipped;
            let wanted = (word_of(tag, 0) >> 32) as u32;
            prop_assert_eq!(matching(&words, tag), plain::matching(&words, wanted));
            for (slot, word) in words.iter().enumerate() {
                prop_assert_eq!(matching(&words, tag) >> slot & 1 == 1, tag_of(*word) == tag);
            }
        }
    }
}
