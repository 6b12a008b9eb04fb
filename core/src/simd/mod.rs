//! What vectors do: eight words of a bucket, or sixteen boxes of a leaf, compared at once where the
//! target can.
//!
//! What [`Simd::slots`] says of a bucket is a hint. Whoever finds a slot in it loads that word again,
//! atomically, and compares all of it; whoever finds none reads the filter bit afterwards. So nothing
//! rests on how wide loads behave beside a writer but this: each word of eight octets is read whole, and
//! before what the program reads later. Every x86-64 does so.
//!
//! [`Base`] is chosen when compiled: SSE2 is part of x86-64, and one number after the other is what all
//! targets can. AVX2 is used if the processor has it: [`Backend::detect`] asks the first time. AVX-512 was tried for buckets and dropped (DESIGN.md).

#[cfg(not(all(
    target_arch = "x86_64",
    target_feature = "sse2",
    not(any(miri, loom, espial_scalar))
)))]
mod portable;
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(any(miri, loom, espial_scalar))))]
mod x86_64;

#[cfg(not(all(
    target_arch = "x86_64",
    target_feature = "sse2",
    not(any(miri, loom, espial_scalar))
)))]
#[cfg_attr(loom, allow(unused_imports, reason = "models have no bursts"))]
pub(crate) use portable::{Backend, Base};
#[cfg(all(
    target_arch = "x86_64",
    target_feature = "sse2",
    not(any(miri, loom, espial_scalar))
))]
pub(crate) use x86_64::{Backend, Base};

#[cfg(not(loom))]
use crate::matcher::block::Wide;
use crate::sad::table::Bucket;

/// Boxes of a leaf.
#[cfg(not(loom))]
pub(crate) const LANES: usize = 16;

/// A way to compare.
pub(crate) trait Simd: Copy {
    /// One bit for each slot whose word has this high half, in an order of its own.
    fn slots(bucket: &Bucket, high: u32) -> u32;

    /// The slot of the lowest bit of what `slots` gave, if there is one.
    #[inline(always)]
    fn first(slots: u32) -> Option<usize> {
        if slots == 0 { None } else { Some(slots.trailing_zeros() as usize) }
    }

    /// One bit for each range that holds the value.
    #[cfg(not(loom))]
    #[inline(always)]
    fn hold_u32(lo: &[u32; LANES], hi: &[u32; LANES], value: u32) -> u32 {
        hold(lo, hi, value)
    }

    /// As [`Simd::hold_u32`].
    #[cfg(not(loom))]
    #[inline(always)]
    fn hold_u16(lo: &[u16; LANES], hi: &[u16; LANES], value: u16) -> u32 {
        hold(lo, hi, value)
    }

    /// As [`Simd::hold_u32`].
    #[cfg(not(loom))]
    #[inline(always)]
    fn hold_u8(lo: &[u8; LANES], hi: &[u8; LANES], value: u8) -> u32 {
        hold(lo, hi, value)
    }

    /// As [`Simd::hold_u32`].
    #[cfg(not(loom))]
    #[inline(always)]
    fn hold_wide(lo: &[Wide; LANES], hi: &[Wide; LANES], value: Wide) -> u32 {
        hold(lo, hi, value)
    }

    /// How many of the ascending numbers are less than the value. Lists that fill [`STRIDE`] octets are
    /// fastest: the largest number may stand behind the others any number of times.
    #[cfg(not(loom))]
    #[inline(always)]
    fn rank_u32(numbers: &[u32], value: u32) -> usize {
        rank(numbers, value)
    }

    /// As [`Simd::rank_u32`].
    #[cfg(not(loom))]
    #[inline(always)]
    fn rank_u16(numbers: &[u16], value: u16) -> usize {
        rank(numbers, value)
    }

    /// As [`Simd::rank_u32`].
    #[cfg(not(loom))]
    #[inline(always)]
    fn rank_u8(numbers: &[u8], value: u8) -> usize {
        rank(numbers, value)
    }

    /// To be called before code that knows nothing of this way.
    #[inline(always)]
    fn leave() {}
}

/// Octets of which lists of numbers to be ranked have a multiple.
#[cfg(not(loom))]
pub(crate) const STRIDE: usize = 32;

/// The twin of ranks: halves the list until one place is left.
#[cfg(not(loom))]
#[inline(always)]
fn rank<T: Copy + Ord>(numbers: &[T], value: T) -> usize {
    numbers.partition_point(|number| *number < value)
}

/// Work to be done in the way that suits the processor: [`Backend::run`].
pub(crate) trait Job {
    type Answer;

    /// To be inlined into the function that is compiled for `S`.
    fn run<S: Simd>(self) -> Self::Answer;
}

/// The twin: one range after the other, on every target.
#[cfg(not(loom))]
#[inline(always)]
fn hold<T: Copy + Ord>(lo: &[T; LANES], hi: &[T; LANES], value: T) -> u32 {
    let pairs = lo.iter().zip(hi).enumerate();
    pairs.fold(0, |mask, (i, (lo, hi))| mask | u32::from((*lo <= value) & (value <= *hi)) << i)
}

/// The twin: one word after the other, on every target.
#[inline(always)]
#[cfg_attr(
    all(target_arch = "x86_64", not(any(test, miri, loom, espial_scalar))),
    allow(dead_code, reason = "eight at once")
)]
fn scalar(bucket: &Bucket, high: u32) -> u32 {
    bucket
        .0
        .iter()
        .enumerate()
        .fold(0, |mask, (slot, word)| mask | u32::from(word.high() == high) << slot)
}

#[cfg(test)]
mod tests {
    use super::{Backend, Base, Job, LANES, Simd, hold, scalar};
    use crate::matcher::block::Wide;
    use crate::sad::table::{Bucket, SLOTS};
    use proptest::prelude::*;

    struct Slots<'b>(&'b Bucket, u32);

    impl Job for Slots<'_> {
        type Answer = u32;

        #[inline(always)]
        fn run<S: Simd>(self) -> u32 {
            let mut matches = S::slots(self.0, self.1);
            let mut slots = 0;
            while let Some(slot) = S::first(matches) {
                slots |= 1 << slot;
                matches &= matches - 1;
            }
            slots
        }
    }

    /// Ranks of a value, of its high half among high halves, of its high octet among high octets.
    struct Ranks<'a>(&'a [u32], u32);

    impl Job for Ranks<'_> {
        type Answer = [usize; 3];

        #[inline(always)]
        fn run<S: Simd>(self) -> [usize; 3] {
            let narrow: Vec<u16> = self.0.iter().map(|number| (number >> 16) as u16).collect();
            let octets: Vec<u8> = self.0.iter().map(|number| (number >> 24) as u8).collect();
            [
                S::rank_u32(self.0, self.1),
                S::rank_u16(&narrow, (self.1 >> 16) as u16),
                S::rank_u8(&octets, (self.1 >> 24) as u8),
            ]
        }
    }

    /// Four kinds of ranges against four values.
    #[derive(Clone, Copy)]
    struct Ranges<'a> {
        ranges: &'a [(u32, u32); LANES],
        value: u32,
    }

    impl Job for Ranges<'_> {
        type Answer = [u32; 4];

        #[inline(always)]
        fn run<S: Simd>(self) -> [u32; 4] {
            let (lo, hi) = (self.ranges.map(|range| range.0), self.ranges.map(|range| range.1));
            let (narrow, octet) = (|n: u32| (n >> 16) as u16, |n: u32| (n >> 24) as u8);
            let wide = |n: u32| Wide::from(u128::from(n) << 90 | u128::from(n));
            [
                S::hold_u32(&lo, &hi, self.value),
                S::hold_u16(&lo.map(narrow), &hi.map(narrow), narrow(self.value)),
                S::hold_u8(&lo.map(octet), &hi.map(octet), octet(self.value)),
                S::hold_wide(&lo.map(wide), &hi.map(wide), wide(self.value)),
            ]
        }
    }

    proptest! {
        #[test]
        fn backends_agree_on_ranges(
            ranges in any::<[(u32, u32); LANES]>(), at in 0..LANES, which in 0_usize..4, off in -1i32..2,
        ) {
            let near = ranges[at];
            let value: u32 = [near.0, near.1, near.0 / 2 + near.1 / 2, at as u32 ^ near.0][which];
            let job = Ranges { ranges: &ranges, value: value.wrapping_add_signed(off) };
            let twin = ranges.iter().enumerate().fold(0, |mask, (i, (lo, hi))| {
                mask | u32::from((*lo..=*hi).contains(&job.value)) << i
            });
            let base = job.run::<Base>();
            prop_assert_eq!(base[0], twin);
            let (lo, hi) = (ranges.map(|range| range.0), ranges.map(|range| range.1));
            prop_assert_eq!(base[0], hold(&lo, &hi, job.value));
            let narrow = |n: u32| (n >> 16) as u16;
            prop_assert_eq!(base[1], hold(&lo.map(narrow), &hi.map(narrow), narrow(job.value)));
            let octet = |n: u32| (n >> 24) as u8;
            prop_assert_eq!(base[2], hold(&lo.map(octet), &hi.map(octet), octet(job.value)));
            prop_assert_eq!(Backend::BASE.run(job), base);
            prop_assert_eq!(Backend::detect().run(job), base);
        }

        #[test]
        fn backends_agree_on_ranks(
            mut numbers in proptest::collection::vec(any::<u32>(), 0..130), value in any::<u32>(),
            near in any::<proptest::sample::Index>(), fill in 0_usize..40,
        ) {
            numbers.sort_unstable();
            numbers.dedup();
            let value = if numbers.is_empty() { value } else { *near.get(&numbers) };
            for value in [value.wrapping_sub(1), value, value.wrapping_add(1), 0, u32::MAX] {
                let filled = [&numbers[..], &vec![u32::MAX; fill]].concat();
                let twin = [0, 16, 24].map(|shift| {
                    numbers.iter().filter(|number| **number >> shift < value >> shift).count()
                });
                for backend in [Backend::BASE, Backend::detect()] {
                    prop_assert_eq!(backend.run(Ranks(&filled, value)), twin);
                }
            }
        }

        #[test]
        fn backends_agree(words in any::<[(u8, u32); SLOTS]>(), high in 0u32..4) {
            let bucket: Bucket = bytemuck::Zeroable::zeroed();
            for (cell, (high, low)) in bucket.0.iter().zip(words) {
                cell.store(u64::from(high % 4) << 32 | u64::from(low), 0);
            }
            let twin = scalar(&bucket, high);
            prop_assert_eq!(Slots(&bucket, high).run::<Base>(), twin);
            prop_assert_eq!(Backend::BASE.run(Slots(&bucket, high)), twin);
            prop_assert_eq!(Backend::detect().run(Slots(&bucket, high)), twin);
        }
    }
}
