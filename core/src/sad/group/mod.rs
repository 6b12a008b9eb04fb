//! Which of a bucket's eight words have a given high half: eight compares at once where the target
//! can.
//!
//! The answer is a hint. Whoever finds a slot in it loads that word again, atomically, and compares
//! all of it; whoever finds none reads the filter bit afterwards. So nothing rests on how wide loads
//! behave beside a writer but this: each word of eight octets is read whole, and before what the
//! program reads later. Every x86-64 does so.
//!
//! [`Base`] is chosen when compiled: SSE2 is part of x86-64, and one word after the other is what all
//! targets can. AVX2 is for bursts, if the processor has it: [`Backend::detect`] asks once, when a
//! gateway is made. AVX-512 was tried and dropped: it saves few instructions more (DESIGN.md).

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
pub(super) use portable::{Backend, Base};
#[cfg(all(
    target_arch = "x86_64",
    target_feature = "sse2",
    not(any(miri, loom, espial_scalar))
))]
pub(super) use x86_64::{Backend, Base};

use super::table::Bucket;

/// A way to compare.
pub(super) trait Group: Copy {
    /// One bit for each slot whose word has this high half, in an order of its own.
    fn matches(bucket: &Bucket, high: u32) -> u32;

    /// The slot of the lowest bit of what `matches` gave, if there is one.
    fn first(matches: u32) -> Option<usize>;

    /// To be called before code that knows nothing of this way.
    #[inline(always)]
    fn leave() {}
}

/// Work on a burst, in the way that suits the processor: [`Backend::run`].
pub(super) trait Job {
    type Answer;

    /// To be inlined into the function that is compiled for `G`.
    fn run<G: Group>(self) -> Self::Answer;
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
    use super::{Backend, Base, Group, Job, scalar};
    use crate::sad::table::{Bucket, SLOTS};
    use proptest::prelude::*;

    struct Slots<'b>(&'b Bucket, u32);

    impl Job for Slots<'_> {
        type Answer = u32;

        #[inline(always)]
        fn run<G: Group>(self) -> u32 {
            let mut matches = G::matches(self.0, self.1);
            let mut slots = 0;
            while let Some(slot) = G::first(matches) {
                slots |= 1 << slot;
                matches &= matches - 1;
            }
            slots
        }
    }

    proptest! {
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
