//! SSE2 and AVX2.

use core::arch::asm;
use core::hint::assert_unchecked;

use super::{Job, LANES, Simd};
use crate::sad::table::{Bucket, SLOTS};

cpufeatures::new!(processor, "avx2", "bmi1", "bmi2", "popcnt");

/// The way that suits this processor.
#[derive(Clone, Copy, Default)]
pub(crate) struct Backend {
    /// The processor has AVX2, BMI1, BMI2 and POPCNT.
    wide: bool,
}

impl Backend {
    pub(crate) const BASE: Self = Self { wide: false };

    /// Asks the processor, the first time.
    pub(crate) fn detect() -> Self {
        Self { wide: processor::get() }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    pub(crate) fn run<J: Job>(self, job: J) -> J::Answer {
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

#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
#[inline(never)]
fn run_wide<J: Job>(job: J) -> J::Answer {
    let answer = job.run::<Avx2>();
    Avx2::leave();
    answer
}

/// SSE2, which is part of x86-64.
#[derive(Clone, Copy)]
pub(crate) struct Base;

impl Simd for Base {
    #[inline(always)]
    #[allow(unsafe_code)]
    fn slots(bucket: &Bucket, high: u32) -> u32 {
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
    #[allow(unsafe_code)]
    fn hold_u32(lo: &[u32; LANES], hi: &[u32; LANES], value: u32) -> u32 {
        // SAFETY: every x86-64 has SSE2.
        unsafe { sse2::hold_u32(lo, hi, value) }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn hold_u16(lo: &[u16; LANES], hi: &[u16; LANES], value: u16) -> u32 {
        // SAFETY: every x86-64 has SSE2.
        unsafe { sse2::hold_u16(lo, hi, value) }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn hold_u8(lo: &[u8; LANES], hi: &[u8; LANES], value: u8) -> u32 {
        // SAFETY: every x86-64 has SSE2.
        unsafe { sse2::hold_u8(lo, hi, value) }
    }
}

/// Ranges in vectors of 16 octets.
mod sse2 {
    use core::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_cmpeq_epi8, _mm_cmpeq_epi16, _mm_cmpgt_epi32, _mm_loadu_si128,
        _mm_max_epu8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_packs_epi16,
        _mm_packs_epi32, _mm_set1_epi8, _mm_set1_epi16, _mm_set1_epi32, _mm_setzero_si128,
        _mm_subs_epu16, _mm_xor_si128,
    };

    /// The nth 16 octets of an array.
    #[target_feature(enable = "sse2")]
    #[inline]
    #[allow(unsafe_code)]
    fn load<T, const NTH: usize>(from: &[T; 16]) -> __m128i {
        const { assert!((NTH + 1) * 16 <= size_of::<[T; 16]>()) };
        // SAFETY: these 16 octets lie in the array; any alignment will do.
        unsafe { _mm_loadu_si128(from.as_ptr().cast::<__m128i>().wrapping_add(NTH)) }
    }

    /// All ones in the lanes of the nth four ranges that do not hold a value; all numbers with the sign
    /// changed, since these compares are signed.
    #[target_feature(enable = "sse2")]
    #[inline]
    fn outside<const NTH: usize>(lo: &[u32; 16], hi: &[u32; 16], value: __m128i) -> __m128i {
        let sign = _mm_set1_epi32(i32::MIN);
        let lo = _mm_xor_si128(load::<_, NTH>(lo), sign);
        let hi = _mm_xor_si128(load::<_, NTH>(hi), sign);
        _mm_or_si128(_mm_cmpgt_epi32(lo, value), _mm_cmpgt_epi32(value, hi))
    }

    #[target_feature(enable = "sse2")]
    #[inline]
    pub(super) fn hold_u32(lo: &[u32; 16], hi: &[u32; 16], value: u32) -> u32 {
        let value = _mm_xor_si128(_mm_set1_epi32(value as i32), _mm_set1_epi32(i32::MIN));
        let low = _mm_packs_epi32(outside::<0>(lo, hi, value), outside::<1>(lo, hi, value));
        let high = _mm_packs_epi32(outside::<2>(lo, hi, value), outside::<3>(lo, hi, value));
        !(_mm_movemask_epi8(_mm_packs_epi16(low, high)) as u32) & 0xffff
    }

    #[target_feature(enable = "sse2")]
    #[inline]
    pub(super) fn hold_u16(lo: &[u16; 16], hi: &[u16; 16], value: u16) -> u32 {
        let value = _mm_set1_epi16(value as i16);
        // By how much the lower end lies above the value, and the value above the upper end: nothing.
        let inside = |lo, hi| {
            let off = _mm_or_si128(_mm_subs_epu16(lo, value), _mm_subs_epu16(value, hi));
            _mm_cmpeq_epi16(off, _mm_setzero_si128())
        };
        let low = inside(load::<_, 0>(lo), load::<_, 0>(hi));
        let high = inside(load::<_, 1>(lo), load::<_, 1>(hi));
        _mm_movemask_epi8(_mm_packs_epi16(low, high)) as u32
    }

    #[target_feature(enable = "sse2")]
    #[inline]
    pub(super) fn hold_u8(lo: &[u8; 16], hi: &[u8; 16], value: u8) -> u32 {
        let (lo, hi) = (load::<_, 0>(lo), load::<_, 0>(hi));
        let value = _mm_set1_epi8(value as i8);
        let from = _mm_cmpeq_epi8(_mm_max_epu8(lo, value), value);
        let to = _mm_cmpeq_epi8(_mm_min_epu8(hi, value), value);
        _mm_movemask_epi8(_mm_and_si128(from, to)) as u32
    }
}

/// AVX2: only in what [`run_wide`] inlines.
#[derive(Clone, Copy)]
struct Avx2;

/// `vshufps` works within halves of a register: the order in which it leaves the slots.
static ORDER: [u8; SLOTS] = [0, 1, 4, 5, 2, 3, 6, 7];

impl Simd for Avx2 {
    #[inline(always)]
    #[allow(unsafe_code)]
    fn slots(bucket: &Bucket, high: u32) -> u32 {
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
    fn first(slots: u32) -> Option<usize> {
        if slots == 0 {
            return None;
        }
        let slot = usize::from(*ORDER.get(slots.trailing_zeros() as usize)?);
        // SAFETY: so are those in `ORDER`.
        unsafe { assert_unchecked(slot < SLOTS) };
        Some(slot)
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn hold_u32(lo: &[u32; LANES], hi: &[u32; LANES], value: u32) -> u32 {
        // SAFETY: the processor has AVX2 wherever this type is used.
        unsafe { hold_u32_wide(lo, hi, value) }
    }

    #[inline(always)]
    fn hold_u16(lo: &[u16; LANES], hi: &[u16; LANES], value: u16) -> u32 {
        Base::hold_u16(lo, hi, value)
    }

    #[inline(always)]
    fn hold_u8(lo: &[u8; LANES], hi: &[u8; LANES], value: u8) -> u32 {
        Base::hold_u8(lo, hi, value)
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn rank_u32(numbers: &[u32], value: u32) -> usize {
        // SAFETY: the processor has AVX2 wherever this type is used.
        unsafe { rank_u32_wide(numbers, value) }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn rank_u16(numbers: &[u16], value: u16) -> usize {
        // SAFETY: the processor has AVX2 wherever this type is used.
        unsafe { rank_u16_wide(numbers, value) }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn rank_u8(numbers: &[u8], value: u8) -> usize {
        // SAFETY: the processor has AVX2 wherever this type is used.
        unsafe { rank_u8_wide(numbers, value) }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn leave() {
        // SAFETY: clears the upper halves of registers, in which nothing is kept from one `slots` to the
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

/// As [`sse2::hold_u32`], in vectors of 32 octets.
#[target_feature(enable = "avx2")]
#[inline]
fn hold_u32_wide(lo: &[u32; LANES], hi: &[u32; LANES], value: u32) -> u32 {
    use core::arch::x86_64::{
        __m256i, _mm256_and_si256, _mm256_castsi256_ps, _mm256_cmpeq_epi32, _mm256_loadu_si256,
        _mm256_max_epu32, _mm256_min_epu32, _mm256_movemask_ps, _mm256_set1_epi32,
    };
    let value = _mm256_set1_epi32(value as i32);
    #[allow(unsafe_code)]
    let eight = |nth: usize| {
        // SAFETY: half an array of 64 octets.
        let load = |from: &[u32; LANES]| unsafe {
            _mm256_loadu_si256(from.as_ptr().cast::<__m256i>().wrapping_add(nth))
        };
        let (lo, hi) = (load(lo), load(hi));
        let from = _mm256_cmpeq_epi32(_mm256_max_epu32(lo, value), value);
        let to = _mm256_cmpeq_epi32(_mm256_min_epu32(hi, value), value);
        _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_and_si256(from, to))) as u32
    };
    eight(0) | eight(1) << 8
}

/// Counts, all of a vector at once: no step waits for the one before it, as halving does.
macro_rules! rank_wide {
    ($name:ident, $number:ty, $signed:ty, $set:ident, $max:ident, $same:ident) => {
        #[target_feature(enable = "avx2,popcnt")]
        #[inline]
        #[allow(unsafe_code)]
        fn $name(numbers: &[$number], value: $number) -> usize {
            use core::arch::x86_64::{
                __m256i, _mm256_loadu_si256, _mm256_movemask_epi8, $max, $same, $set,
            };
            const LANES: usize = 32 / size_of::<$number>();
            let (strides, rest) = numbers.as_chunks::<LANES>();
            let wanted = $set(value as $signed);
            let not_less = strides.iter().fold(0, |not_less, stride| {
                // SAFETY: 32 octets of the list; any alignment will do.
                let stride = unsafe { _mm256_loadu_si256(stride.as_ptr().cast::<__m256i>()) };
                let same = $same($max(stride, wanted), stride);
                not_less + _mm256_movemask_epi8(same).count_ones() as usize
            });
            let less = strides.len() * LANES - not_less / size_of::<$number>();
            if rest.is_empty() { less } else { less + super::rank(rest, value) }
        }
    };
}
rank_wide!(rank_u32_wide, u32, i32, _mm256_set1_epi32, _mm256_max_epu32, _mm256_cmpeq_epi32);
rank_wide!(rank_u16_wide, u16, i16, _mm256_set1_epi16, _mm256_max_epu16, _mm256_cmpeq_epi16);
rank_wide!(rank_u8_wide, u8, i8, _mm256_set1_epi8, _mm256_max_epu8, _mm256_cmpeq_epi8);
