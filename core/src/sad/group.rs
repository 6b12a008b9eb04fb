//! Which of a bucket's eight words have a given high half: eight compares at once where the target
//! can.
//!
//! The answer is a hint. Whoever finds a slot in it loads that word again, atomically, and compares
//! all of it; whoever finds none reads the filter bit afterwards. So nothing rests on how wide loads
//! behave beside a writer but this: each word of eight octets is read whole, and before what the
//! program reads later. Every x86-64 does so.
//!
//! Chosen when compiled: SSE2 is part of x86-64. AVX-512 was tried and dropped: it saves ten
//! instructions and a twentieth of the time (DESIGN.md).

#[cfg(not(all(
    target_arch = "x86_64",
    target_feature = "sse2",
    not(any(miri, loom, espial_scalar))
)))]
pub(super) use scalar::matches;
#[cfg(all(
    target_arch = "x86_64",
    target_feature = "sse2",
    not(any(miri, loom, espial_scalar))
))]
pub(super) use sse2::matches;

#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(any(miri, loom, espial_scalar))))]
mod sse2 {
    use core::arch::asm;

    use crate::sad::table::{Bucket, SLOTS};

    /// One bit for each slot whose word has this high half.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(crate) fn matches(bucket: &Bucket, high: u32) -> u32 {
        let mask: u32;
        // SAFETY: reads the 64 octets of `bucket`, which is aligned to 64; writes registers only. Not
        // `pure`: it stays in front of the atomic loads that follow it.
        unsafe {
            asm!(
                "movd {wanted}, {high:e}",
                "pshufd {wanted}, {wanted}, 0",
                "movaps {a}, [{bucket}]",
                "movaps {b}, [{bucket} + 32]",
                // The high halves of four words in each register.
                "shufps {a}, [{bucket} + 16], 0xdd",
                "shufps {b}, [{bucket} + 48], 0xdd",
                "pcmpeqd {a}, {wanted}",
                "pcmpeqd {b}, {wanted}",
                "packssdw {a}, {b}",
                "packsswb {a}, {a}",
                "pmovmskb {mask:e}, {a}",
                bucket = in(reg) core::ptr::from_ref(bucket),
                high = in(reg) high,
                wanted = out(xmm_reg) _,
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                mask = lateout(reg) mask,
                options(nostack, preserves_flags, readonly),
            );
        }
        // The pack left the same eight twice.
        mask & ((1 << SLOTS) - 1)
    }
}

#[cfg(any(
    test,
    not(all(
        target_arch = "x86_64",
        target_feature = "sse2",
        not(any(miri, loom, espial_scalar))
    ))
))]
mod scalar {
    use crate::sad::table::Bucket;

    /// One bit for each slot whose word has this high half: the twin, one word after the other, on
    /// every target.
    #[inline(always)]
    pub(crate) fn matches(bucket: &Bucket, high: u32) -> u32 {
        bucket
            .0
            .iter()
            .enumerate()
            .fold(0, |mask, (slot, word)| mask | u32::from(word.high() == high) << slot)
    }
}

#[cfg(test)]
mod tests {
    use super::{matches, scalar};
    use crate::sad::table::{Bucket, SLOTS};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn backends_agree(words in any::<[(u8, u32); SLOTS]>(), high in 0u32..4) {
            let bucket: Bucket = bytemuck::Zeroable::zeroed();
            for (cell, (high, low)) in bucket.0.iter().zip(words) {
                cell.store(u64::from(high % 4) << 32 | u64::from(low), 0);
            }
            prop_assert_eq!(matches(&bucket, high), scalar::matches(&bucket, high));
        }
    }
}
