//! Eight words at once: SSE2 and AVX2.

use core::arch::asm;
use core::hint::assert_unchecked;

use super::{Group, Job};
use crate::sad::table::{Bucket, SLOTS};

cpufeatures::new!(processor, "avx2", "bmi1", "bmi2");

/// The way that suits this processor.
#[derive(Clone, Copy)]
pub(in crate::sad) struct Backend {
    /// The processor has AVX2, BMI1 and BMI2.
    wide: bool,
}

impl Backend {
    pub(in crate::sad) const BASE: Self = Self { wide: false };

    /// Asks the processor, the first time.
    pub(in crate::sad) fn detect() -> Self {
        Self { wide: processor::get() }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    pub(in crate::sad) fn run<J: Job>(self, job: J) -> J::Answer {
        if self.wide {
            // SAFETY: the processor has what the function was compiled for.
            unsafe { run_wide(job) }
        } else {
            run_base(job)
        }
    }
}

#[inline(never)]
fn run_base<J: Job>(job: J) -> J::Answer {
    job.run::<Base>()
}

#[target_feature(enable = "avx2,bmi1,bmi2")]
#[inline(never)]
fn run_wide<J: Job>(job: J) -> J::Answer {
    let answer = job.run::<Avx2>();
    Avx2::leave();
    answer
}

/// SSE2, which is part of x86-64.
#[derive(Clone, Copy)]
pub(in crate::sad) struct Base;

impl Group for Base {
    #[inline(always)]
    #[allow(unsafe_code)]
    fn matches(bucket: &Bucket, high: u32) -> u32 {
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

    #[inline(always)]
    fn first(matches: u32) -> Option<usize> {
        if matches == 0 { None } else { Some(matches.trailing_zeros() as usize) }
    }
}

/// AVX2: only in what [`run_wide`] inlines.
#[derive(Clone, Copy)]
struct Avx2;

/// `vshufps` works within halves of a register: the order in which it leaves the slots.
static ORDER: [u8; SLOTS] = [0, 1, 4, 5, 2, 3, 6, 7];

impl Group for Avx2 {
    #[inline(always)]
    #[allow(unsafe_code)]
    fn matches(bucket: &Bucket, high: u32) -> u32 {
        let mask: u32;
        // SAFETY: reads the 64 octets of `bucket`, which is aligned to 64; writes registers only. Not
        // `pure`: it stays in front of the atomic loads that follow it. The processor has AVX2 wherever
        // this type is used.
        unsafe {
            asm!(
                "vmovd {wanted:x}, {high:e}",
                "vpbroadcastd {wanted:y}, {wanted:x}",
                "vmovaps {found:y}, [{bucket}]",
                // The high halves of eight words.
                "vshufps {found:y}, {found:y}, [{bucket} + 32], 0xdd",
                "vpcmpeqd {found:y}, {found:y}, {wanted:y}",
                "vmovmskps {mask:e}, {found:y}",
                bucket = in(reg) core::ptr::from_ref(bucket),
                high = in(reg) high,
                wanted = out(xmm_reg) _,
                found = out(xmm_reg) _,
                mask = lateout(reg) mask,
                options(nostack, preserves_flags, readonly),
            );
        }
        // SAFETY: `vmovmskps` gives eight bits.
        unsafe { assert_unchecked(mask < 1 << SLOTS) };
        mask
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn first(matches: u32) -> Option<usize> {
        if matches == 0 {
            return None;
        }
        let slot = usize::from(*ORDER.get(matches.trailing_zeros() as usize)?);
        // SAFETY: so are those in `ORDER`.
        unsafe { assert_unchecked(slot < SLOTS) };
        Some(slot)
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn leave() {
        // SAFETY: clears the upper halves of registers, in which nothing is kept from one `matches` to the
        // next; the compiler is told that all are overwritten.
        unsafe {
            asm!(
                "vzeroupper",
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                options(nostack, nomem, preserves_flags),
            );
        }
    }
}
