//! SSE2, AVX2 and AVX-512.

mod avx512;

use core::arch::asm;
use core::arch::x86_64::{
    __m256, __m256i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_shuffle_epi32, _mm256_add_epi32,
    _mm256_and_si256, _mm256_blendv_ps, _mm256_castps_si256, _mm256_castsi256_ps,
    _mm256_castsi256_si128, _mm256_cmpgt_epi32, _mm256_extracti128_si256, _mm256_loadu_si256,
    _mm256_permutevar8x32_epi32, _mm256_set1_epi32, _mm256_slli_epi32, _mm256_storeu_si256,
    _mm256_sub_epi32, _mm256_xor_si256,
};
use core::hint::assert_unchecked;

use super::{CUTS, Ends, Job, LANES, Simd};
use crate::sad::table::{Bucket, SLOTS};

cpufeatures::new!(has_avx2, "avx2", "bmi1", "bmi2", "popcnt");
cpufeatures::new!(has_avx512, "avx512f", "avx512bw", "avx512vl");

/// What a processor can, each all of the ones before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Level {
    Base,
    /// AVX2, BMI1, BMI2 and POPCNT.
    Avx2,
    /// AVX-512 F, BW and VL.
    Avx512,
}

impl Level {
    pub(super) const BASE: Self = Self::Base;
    pub(super) const ALL: &'static [Self] = &[Self::Base, Self::Avx2, Self::Avx512];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Base => "sse2",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Asks the processor, the first time.
    pub(super) fn detect() -> Self {
        match (has_avx2::get(), has_avx512::get()) {
            (false, _) => Self::Base,
            (true, false) => Self::Avx2,
            (true, true) => Self::Avx512,
        }
    }
}

/// Does a job; `level` is one that [`Level::detect`] reaches.
#[inline(always)]
#[allow(unsafe_code)]
pub(super) fn run<J: Job>(level: Level, job: J) -> J::Answer {
    match level {
        Level::Base => run_base(job),
        // SAFETY: the processor has what the functions were compiled for.
        Level::Avx512 if J::SIXTEEN => unsafe { run_avx512(job) },
        // SAFETY: as above; AVX-512 is counted only where there is AVX2.
        _ => unsafe { run_avx2(job) },
    }
}

#[inline(never)]
fn run_base<J: Job>(job: J) -> J::Answer {
    job.run::<Base>()
}

#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
#[inline(never)]
fn run_avx2<J: Job>(job: J) -> J::Answer {
    let answer = job.run::<Avx2>();
    Avx2::leave();
    answer
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,popcnt")]
#[inline(never)]
fn run_avx512<J: Job>(job: J) -> J::Answer {
    job.run::<Avx512>()
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
    fn hold_pairs(lo: &[[u16; 2]; LANES], hi: &[[u16; 2]; LANES], values: [u16; 2]) -> u32 {
        // SAFETY: every x86-64 has SSE2.
        unsafe { sse2::hold_pairs(lo, hi, values) }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn hold_u8(lo: &[u8; LANES], hi: &[u8; LANES], value: u8) -> u32 {
        // SAFETY: every x86-64 has SSE2.
        unsafe { sse2::hold_u8(lo, hi, value) }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn outside(ends: [u32; 4], values: [u32; 4]) -> u32 {
        // SAFETY: every x86-64 has SSE2.
        unsafe { sse2::outside_any(ends, values) }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn outside_four(boxes: [[u32; 4]; 4], values: [u32; 4]) -> u32 {
        // SAFETY: every x86-64 has SSE2.
        unsafe { sse2::outside_four(boxes, values) }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn outside_rest(rest: &[u16; 8], values: [u16; 4]) -> u32 {
        // SAFETY: every x86-64 has SSE2.
        unsafe { sse2::outside_rest(rest, values) }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn outside_box(one: &[u32; 8], key: [u32; 4]) -> u32 {
        // SAFETY: every x86-64 has SSE2.
        unsafe { sse2::outside_box(one, key) }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn lesser(one: u32, mut other: u32) -> u32 {
        // SAFETY: two registers are read and one of them written. The compiler would take a branch where `one`
        // comes late.
        unsafe {
            asm!(
                "cmp {one:e}, {other:e}",
                "cmovb {other:e}, {one:e}",
                one = in(reg) one,
                other = inout(reg) other,
                options(pure, nomem, nostack),
            );
        }
        other
    }
}

/// Ranges in vectors of 16 octets.
mod sse2 {
    use core::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_castsi128_ps, _mm_cmpeq_epi8, _mm_cmpeq_epi32, _mm_cmpgt_epi32,
        _mm_cvtsi64_si128, _mm_loadu_si128, _mm_max_epu8, _mm_min_epu8, _mm_move_epi64,
        _mm_movemask_epi8, _mm_movemask_ps, _mm_or_si128, _mm_packs_epi16, _mm_packs_epi32,
        _mm_set_epi32, _mm_set1_epi8, _mm_set1_epi32, _mm_setr_epi16, _mm_setzero_si128,
        _mm_shuffle_epi32, _mm_subs_epu8, _mm_subs_epu16, _mm_unpackhi_epi64, _mm_unpacklo_epi16,
        _mm_xor_si128,
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
    pub(super) fn hold_pairs(lo: &[[u16; 2]; 16], hi: &[[u16; 2]; 16], values: [u16; 2]) -> u32 {
        let values = _mm_set1_epi32(bytemuck::cast(values));
        // By how much the lower end lies above the value, and the value above the upper end: nothing.
        let inside = |lo, hi| {
            let off = _mm_or_si128(_mm_subs_epu16(lo, values), _mm_subs_epu16(values, hi));
            _mm_cmpeq_epi32(off, _mm_setzero_si128())
        };
        let low = _mm_packs_epi32(
            inside(load::<_, 0>(lo), load::<_, 0>(hi)),
            inside(load::<_, 1>(lo), load::<_, 1>(hi)),
        );
        let high = _mm_packs_epi32(
            inside(load::<_, 2>(lo), load::<_, 2>(hi)),
            inside(load::<_, 3>(lo), load::<_, 3>(hi)),
        );
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

    /// What differs from 0 where a lower end is above its value or an upper end below it: both turned so that one
    /// subtraction of each size serves all.
    #[target_feature(enable = "sse2")]
    #[inline]
    fn beyond_rest(rest: __m128i, values: __m128i) -> __m128i {
        let turn = _mm_setr_epi16(0, -1, 0, -1, -0x100, 0, 0, 0);
        // Each value twice, for the lower end and the upper one; behind them the protocol, then the mask.
        let twice = _mm_unpacklo_epi16(values, values);
        let mask = _mm_move_epi64(_mm_shuffle_epi32::<0b11_11_11_11>(twice));
        let (ends, values) = (_mm_xor_si128(rest, turn), _mm_xor_si128(twice, turn));
        let fifth = _mm_setr_epi16(0, 0, 0, 0, -1, 0, 0, 0);
        _mm_or_si128(
            _mm_and_si128(_mm_subs_epu16(ends, values), mask),
            _mm_and_si128(_mm_subs_epu8(ends, values), fifth),
        )
    }

    /// 0 if all of it is 0.
    #[target_feature(enable = "sse2")]
    #[inline]
    fn differs(beyond: __m128i) -> u32 {
        let same = _mm_cmpeq_epi8(beyond, _mm_setzero_si128());
        _mm_movemask_epi8(same) as u32 ^ 0xffff
    }

    #[target_feature(enable = "sse2")]
    #[inline]
    pub(super) fn outside_rest(rest: &[u16; 8], values: [u16; 4]) -> u32 {
        let values = _mm_cvtsi64_si128(bytemuck::cast(values));
        differs(beyond_rest(bytemuck::cast(*rest), values))
    }

    #[target_feature(enable = "sse2")]
    #[inline]
    pub(super) fn outside_box(one: &[u32; 8], key: [u32; 4]) -> u32 {
        let [ends, rest]: [__m128i; 2] = bytemuck::cast(*one);
        let key: __m128i = bytemuck::cast(key);
        let turn = _mm_set_epi32(i32::MAX, i32::MIN, i32::MAX, i32::MIN);
        let values = _mm_xor_si128(_mm_shuffle_epi32::<0b01_01_00_00>(key), turn);
        let addresses = _mm_cmpgt_epi32(_mm_xor_si128(ends, turn), values);
        let rest = beyond_rest(rest, _mm_unpackhi_epi64(key, key));
        differs(_mm_or_si128(addresses, rest))
    }

    /// All ones for each end that its value is beyond.
    #[target_feature(enable = "sse2")]
    #[inline]
    fn beyond(ends: [u32; 4], values: [u32; 4]) -> __m128i {
        // Upper ends and their values upside down, so that one compare serves all; and the sign changed.
        let turned = |four: [u32; 4]| {
            let turn = _mm_set_epi32(i32::MAX, i32::MIN, i32::MAX, i32::MIN);
            _mm_xor_si128(bytemuck::cast(four), turn)
        };
        _mm_cmpgt_epi32(turned(ends), turned(values))
    }

    /// A bit for each end that its value is beyond.
    #[target_feature(enable = "sse2")]
    #[inline]
    pub(super) fn outside_any(ends: [u32; 4], values: [u32; 4]) -> u32 {
        _mm_movemask_ps(_mm_castsi128_ps(beyond(ends, values))) as u32
    }

    #[target_feature(enable = "sse2")]
    #[inline]
    pub(super) fn outside_four([a, b, c, d]: [[u32; 4]; 4], values: [u32; 4]) -> u32 {
        let low = _mm_packs_epi32(beyond(a, values), beyond(b, values));
        let high = _mm_packs_epi32(beyond(c, values), beyond(d, values));
        _mm_movemask_epi8(_mm_packs_epi16(low, high)) as u32
    }
}

/// AVX2: only in what [`run_wide`] inlines.
#[derive(Clone, Copy)]
struct Avx2;

/// `vshufps` works within halves of a register: the order in which it leaves the slots.
static ORDER: [u8; SLOTS] = [0, 1, 4, 5, 2, 3, 6, 7];

impl Simd for Avx2 {
    const ONE_BY_ONE: bool = false;

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
    fn lesser(one: u32, other: u32) -> u32 {
        Base::lesser(one, other)
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
    fn hold_pairs(lo: &[[u16; 2]; LANES], hi: &[[u16; 2]; LANES], values: [u16; 2]) -> u32 {
        Base::hold_pairs(lo, hi, values)
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn hold_all(ends: Ends<'_>, addresses: [u32; 2], (ports, mask): ([u16; 2], u16)) -> u32 {
        // SAFETY: the processor has AVX2 wherever this type is used.
        unsafe { hold_all_wide(ends, addresses, (ports, mask)) }
    }

    #[inline(always)]
    fn hold_u8(lo: &[u8; LANES], hi: &[u8; LANES], value: u8) -> u32 {
        Base::hold_u8(lo, hi, value)
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn rank(cuts: &[u32; CUTS], value: u32) -> u32 {
        // SAFETY: the processor has AVX2 wherever this type is used.
        unsafe { rank_wide(cuts, value) }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn ranks<const N: usize>(
        trees: [&[u32; CUTS]; N],
        values: &[[u32; LANES]; N],
        ranks: &mut [[u32; LANES]; N],
    ) {
        for ((cuts, values), ranks) in trees.iter().zip(values).zip(ranks) {
            // SAFETY: the processor has AVX2 wherever this type is used.
            unsafe { ranks_wide(cuts, values, ranks) };
        }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn meet<const W: usize>(masks: [&[u64; W]; 5], common: &mut [u64; W]) -> u32 {
        if W < 4 {
            return super::meet(masks, common);
        }
        let mut some = 0;
        for (nth, slot) in common.as_chunks_mut().0.iter_mut().enumerate() {
            let four = masks.map(|mask| mask.as_chunks().0.get(nth));
            let [Some(a), Some(b), Some(c), Some(d), Some(e)] = four else { break };
            // SAFETY: the processor has AVX2 wherever this type is used.
            some |= unsafe { meet_four([a, b, c, d, e], slot) } << (4 * nth);
        }
        some
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
        _mm256_cmpeq_epi32, _mm256_max_epu32, _mm256_min_epu32, _mm256_movemask_ps,
    };
    let value = _mm256_set1_epi32(value as i32);
    let eight = |nth: usize| {
        let (lo, hi) = (half(lo, nth), half(hi, nth));
        let from = _mm256_cmpeq_epi32(_mm256_max_epu32(lo, value), value);
        let to = _mm256_cmpeq_epi32(_mm256_min_epu32(hi, value), value);
        _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_and_si256(from, to))) as u32
    };
    eight(0) | eight(1) << 8
}

/// What is outside anywhere differs from nothing in one of its lanes, which is looked for once, in eight boxes.
#[target_feature(enable = "avx2")]
#[inline]
fn hold_all_wide(ends: Ends<'_>, addresses: [u32; 2], (ports, mask): ([u16; 2], u16)) -> u32 {
    use core::arch::x86_64::{
        _mm256_cmpeq_epi32, _mm256_max_epu32, _mm256_min_epu32, _mm256_movemask_ps,
        _mm256_or_si256, _mm256_set1_epi16, _mm256_setzero_si256, _mm256_subs_epu16,
    };
    let [remote, local] = addresses.map(|addr| _mm256_set1_epi32(addr as i32));
    let (ports, mask) = (_mm256_set1_epi32(bytemuck::cast(ports)), _mm256_set1_epi16(mask as i16));
    let eight = |nth: usize| {
        // The value itself from both if the range holds it; one of the ends from one if not.
        let beyond = |[lo, hi]: [&[u32; LANES]; 2], value| {
            let (lo, hi) = (half(lo, nth), half(hi, nth));
            _mm256_xor_si256(_mm256_max_epu32(lo, value), _mm256_min_epu32(hi, value))
        };
        let [lo, hi] = ends.ports;
        let below = _mm256_subs_epu16(half(lo, nth), ports);
        let above = _mm256_subs_epu16(ports, half(hi, nth));
        let addresses = _mm256_or_si256(beyond(ends.remote, remote), beyond(ends.local, local));
        let ports = _mm256_and_si256(_mm256_or_si256(below, above), mask);
        let outside = _mm256_or_si256(addresses, ports);
        let inside = _mm256_cmpeq_epi32(outside, _mm256_setzero_si256());
        _mm256_movemask_ps(_mm256_castsi256_ps(inside)) as u32
    };
    eight(0) | eight(1) << 8
}

/// Four words at once.
#[target_feature(enable = "avx2")]
#[inline]
#[allow(unsafe_code)]
fn meet_four([a, b, c, d, e]: [&[u64; 4]; 5], common: &mut [u64; 4]) -> u32 {
    use core::arch::x86_64::{
        _mm256_castsi256_pd, _mm256_cmpeq_epi64, _mm256_movemask_pd, _mm256_setzero_si256,
    };
    // SAFETY: 32 octets of an array; any alignment will do.
    let load = |from: &[u64; 4]| unsafe { _mm256_loadu_si256(from.as_ptr().cast::<__m256i>()) };
    let four = _mm256_and_si256(_mm256_and_si256(load(a), load(b)), load(c));
    let four = _mm256_and_si256(_mm256_and_si256(four, load(d)), load(e));
    // SAFETY: as above.
    unsafe { _mm256_storeu_si256(common.as_mut_ptr().cast::<__m256i>(), four) };
    let zeros = _mm256_cmpeq_epi64(four, _mm256_setzero_si256());
    _mm256_movemask_pd(_mm256_castsi256_pd(zeros)) as u32 ^ 0b1111
}

/// Half of an array of 64 octets.
#[target_feature(enable = "avx2")]
#[inline]
#[allow(unsafe_code)]
fn half<T>(from: &[T; LANES], nth: usize) -> __m256i {
    const { assert!(size_of::<[T; LANES]>() == 64) };
    // SAFETY: 32 octets of the array, the first or the last; any alignment will do.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast::<__m256i>().wrapping_add(nth & 1)) }
}

/// Eight numbers of 32 bits, the sign changed: these compares are signed.
#[target_feature(enable = "avx2")]
#[inline]
#[allow(unsafe_code)]
fn load_signed<const EIGHT: usize>(from: &[u32; CUTS]) -> __m256i {
    const { assert!((EIGHT + 1) * 8 <= CUTS) };
    // SAFETY: these 32 octets lie in the array; any alignment will do.
    let loaded = unsafe { _mm256_loadu_si256(from.as_ptr().cast::<__m256i>().wrapping_add(EIGHT)) };
    _mm256_xor_si256(loaded, _mm256_set1_epi32(i32::MIN))
}

/// All numbers compared, no step waits for the one before it.
#[target_feature(enable = "avx2")]
#[inline]
fn rank_wide(cuts: &[u32; CUTS], value: u32) -> u32 {
    let value = _mm256_set1_epi32((value ^ 1 << 31) as i32);
    let pair = |one: __m256i, other: __m256i| {
        _mm256_add_epi32(_mm256_cmpgt_epi32(value, one), _mm256_cmpgt_epi32(value, other))
    };
    let less = _mm256_add_epi32(
        _mm256_add_epi32(
            pair(load_signed::<0>(cuts), load_signed::<1>(cuts)),
            pair(load_signed::<2>(cuts), load_signed::<3>(cuts)),
        ),
        _mm256_add_epi32(
            pair(load_signed::<4>(cuts), load_signed::<5>(cuts)),
            pair(load_signed::<6>(cuts), load_signed::<7>(cuts)),
        ),
    );
    let four = _mm_add_epi32(_mm256_castsi256_si128(less), _mm256_extracti128_si256::<1>(less));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
    let one = _mm_add_epi32(two, _mm_shuffle_epi32::<0b00_00_00_01>(two));
    // Each compare that holds is -1.
    (_mm_cvtsi128_si32(one) as u32).wrapping_neg()
}

/// Eight searches of six steps at once, twice; the tree in registers.
#[target_feature(enable = "avx2")]
#[inline]
#[allow(unsafe_code)]
fn ranks_wide(cuts: &[u32; CUTS], values: &[u32; LANES], ranks: &mut [u32; LANES]) {
    let pick =
        |from: __m256i, at: __m256i| _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(from, at));
    let (values, _) = values.as_chunks::<8>();
    let (ranks, _) = ranks.as_chunks_mut::<8>();
    for (values, ranks) in values.iter().zip(ranks) {
        // SAFETY: 32 octets of an array; any alignment will do.
        let values = unsafe { _mm256_loadu_si256(values.as_ptr().cast::<__m256i>()) };
        let values = _mm256_xor_si256(values, _mm256_set1_epi32(i32::MIN));
        let step = |at: __m256i, cut: __m256| {
            let less = _mm256_cmpgt_epi32(values, _mm256_castps_si256(cut));
            _mm256_sub_epi32(_mm256_add_epi32(at, at), less)
        };
        let mut at = _mm256_set1_epi32(1);
        for _ in 0..3 {
            at = step(at, pick(load_signed::<0>(cuts), at));
        }
        at = step(at, pick(load_signed::<1>(cuts), at));
        // Bit 3 of the place, where a blend looks for it; then bit 4.
        let second = |at: __m256i| _mm256_castsi256_ps(_mm256_slli_epi32::<28>(at));
        let third = |at: __m256i| _mm256_castsi256_ps(_mm256_slli_epi32::<27>(at));
        let (low, high) = (pick(load_signed::<2>(cuts), at), pick(load_signed::<3>(cuts), at));
        at = step(at, _mm256_blendv_ps(low, high, second(at)));
        let (a, b) = (pick(load_signed::<4>(cuts), at), pick(load_signed::<5>(cuts), at));
        let (c, d) = (pick(load_signed::<6>(cuts), at), pick(load_signed::<7>(cuts), at));
        let low = _mm256_blendv_ps(a, b, second(at));
        let high = _mm256_blendv_ps(c, d, second(at));
        at = step(at, _mm256_blendv_ps(low, high, third(at)));
        at = _mm256_and_si256(at, _mm256_set1_epi32(CUTS as i32 - 1));
        // SAFETY: as above.
        unsafe { _mm256_storeu_si256(ranks.as_mut_ptr().cast::<__m256i>(), at) };
    }
}

/// AVX-512: only in what [`run_avx512`] inlines.
#[derive(Clone, Copy)]
struct Avx512;

#[allow(unsafe_code)]
impl Simd for Avx512 {
    const ONE_BY_ONE: bool = false;

    /// Wider registers gain nothing with eight words.
    #[inline(always)]
    fn slots(bucket: &Bucket, high: u32) -> u32 {
        Avx2::slots(bucket, high)
    }

    #[inline(always)]
    fn lesser(one: u32, other: u32) -> u32 {
        Base::lesser(one, other)
    }

    #[inline(always)]
    fn first(slots: u32) -> Option<usize> {
        Avx2::first(slots)
    }

    #[inline(always)]
    fn hold_u32(lo: &[u32; LANES], hi: &[u32; LANES], value: u32) -> u32 {
        // SAFETY: the processor has AVX-512 wherever this type is used.
        unsafe { avx512::hold_u32(lo, hi, value) }
    }

    #[inline(always)]
    fn hold_pairs(lo: &[[u16; 2]; LANES], hi: &[[u16; 2]; LANES], values: [u16; 2]) -> u32 {
        Base::hold_pairs(lo, hi, values)
    }

    #[inline(always)]
    fn hold_all(ends: Ends<'_>, addresses: [u32; 2], (ports, mask): ([u16; 2], u16)) -> u32 {
        // SAFETY: as above.
        unsafe { avx512::hold_all(ends, addresses, (ports, mask)) }
    }

    #[inline(always)]
    fn hold_u8(lo: &[u8; LANES], hi: &[u8; LANES], value: u8) -> u32 {
        // SAFETY: as above.
        unsafe { avx512::hold_u8(lo, hi, value) }
    }

    #[inline(always)]
    fn rank(cuts: &[u32; CUTS], value: u32) -> u32 {
        // SAFETY: as above.
        unsafe { avx512::rank(cuts, value) }
    }

    #[inline(always)]
    fn ranks<const N: usize>(
        trees: [&[u32; CUTS]; N],
        values: &[[u32; LANES]; N],
        ranks: &mut [[u32; LANES]; N],
    ) {
        // SAFETY: as above.
        unsafe { avx512::ranks(trees, values, ranks) }
    }

    #[inline(always)]
    fn wide_ranks<const N: usize>(
        trees: [[&[u64; CUTS]; 2]; N],
        values: &[[[u64; LANES]; 2]; N],
        ranks: &mut [[u32; LANES]; N],
    ) {
        // SAFETY: as above.
        unsafe { avx512::wide_ranks(trees, values, ranks) }
    }

    #[inline(always)]
    fn deepen(row: &[u32], values: &[u32; LANES], ranks: &mut [u32; LANES]) {
        // SAFETY: as above.
        unsafe { avx512::deepen(row, values, ranks) }
    }

    #[inline(always)]
    fn wide_deepen(
        [highs, lows]: [&[u64]; 2],
        values: &[[u64; LANES]; 2],
        ranks: &mut [u32; LANES],
    ) {
        match (highs.try_into(), lows.try_into()) {
            // SAFETY: as above.
            (Ok(highs), Ok(lows)) => unsafe {
                avx512::wide_deepen([highs, lows], values, ranks);
            },
            _ => super::wide_deepen([highs, lows], values, ranks),
        }
    }

    #[inline(always)]
    fn turn(rows: &[[u32; 4]; LANES], columns: &mut [[u32; LANES]; 4]) {
        // SAFETY: as above.
        unsafe { avx512::turn(rows, columns) }
    }

    /// What has been written with a wide register cannot be read as a word for a while.
    #[inline(always)]
    fn word<const W: usize>(mask: &[u64; W], nth: usize) -> u64 {
        match mask.as_chunks().0 {
            // SAFETY: as above.
            [one] => unsafe { avx512::word([one, one], nth) },
            // SAFETY: as above.
            [low, high] => unsafe { avx512::word([low, high], nth) },
            _ => mask.get(nth % W).copied().unwrap_or(0),
        }
    }

    #[inline(always)]
    fn meet<const W: usize>(masks: [&[u64; W]; 5], common: &mut [u64; W]) -> u32 {
        macro_rules! in_one {
            ($meet:ident) => {
                if let ([Some(a), Some(b), Some(c), Some(d), Some(e)], Some(common)) =
                    (masks.map(|mask| mask.first_chunk()), common.first_chunk_mut())
                {
                    // SAFETY: as above.
                    return unsafe { avx512::$meet([a, b, c, d, e], common) };
                }
            };
        }
        match W {
            2 => in_one!(meet_two),
            4 => in_one!(meet_four),
            8 => in_one!(meet_eight),
            _ => {}
        }
        match (masks.map(|mask| mask.as_chunks().0), common.as_chunks_mut().0) {
            ([[a, p], [b, q], [c, r], [d, s], [e, t]], [low, high]) => {
                // SAFETY: as above.
                let some = unsafe { avx512::meet_eight([a, b, c, d, e], low) };
                // SAFETY: as above.
                some | unsafe { avx512::meet_eight([p, q, r, s, t], high) } << 8
            }
            _ => super::meet(masks, common),
        }
    }
}
