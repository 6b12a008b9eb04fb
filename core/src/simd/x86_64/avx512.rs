//! AVX-512 with BW and VL: sixteen numbers of any size in one register, answers in masks.

use core::arch::asm;
use core::arch::x86_64::{
    __m128i, __m512i, _mm_cmple_epu8_mask, _mm_cvtsi128_si64, _mm_loadu_si128,
    _mm_mask_cmpge_epu8_mask, _mm_set1_epi8, _mm_storeu_si128, _mm_ternarylogic_epi64,
    _mm_test_epi64_mask, _mm256_loadu_si256, _mm256_storeu_si256, _mm256_ternarylogic_epi64,
    _mm256_test_epi64_mask, _mm512_add_epi32, _mm512_add_epi64, _mm512_and_si512,
    _mm512_castsi512_si128, _mm512_cmpeq_epu64_mask, _mm512_cmple_epu32_mask,
    _mm512_cmplt_epu32_mask, _mm512_cmplt_epu64_mask, _mm512_cvtepi64_epi32, _mm512_cvtepu32_epi64,
    _mm512_i32gather_epi32, _mm512_loadu_si512, _mm512_mask_add_epi32, _mm512_mask_add_epi64,
    _mm512_mask_blend_epi32, _mm512_mask_blend_epi64, _mm512_mask_cmpge_epu32_mask,
    _mm512_mask_cmplt_epu64_mask, _mm512_max_epu32, _mm512_min_epu32, _mm512_or_si512,
    _mm512_permutex2var_epi32, _mm512_permutex2var_epi64, _mm512_permutexvar_epi32,
    _mm512_permutexvar_epi64, _mm512_set1_epi16, _mm512_set1_epi32, _mm512_set1_epi64,
    _mm512_setr_epi32, _mm512_shuffle_i64x2, _mm512_storeu_si512, _mm512_subs_epu16,
    _mm512_ternarylogic_epi32, _mm512_ternarylogic_epi64, _mm512_test_epi32_mask,
    _mm512_test_epi64_mask, _mm512_testn_epi32_mask, _mm512_xor_si512,
};

use super::super::{CUTS, Ends, LANES};

/// Sixteen numbers of 32 bits, or pairs of 16.
#[target_feature(enable = "avx512f")]
#[inline]
#[allow(unsafe_code)]
fn load<T>(from: &[T; LANES]) -> __m512i {
    const { assert!(size_of::<[T; LANES]>() == 64) };
    // SAFETY: 64 octets of an array; any alignment will do.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast::<__m512i>()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn hold_u32(lo: &[u32; LANES], hi: &[u32; LANES], value: u32) -> u32 {
    let value = _mm512_set1_epi32(value as i32);
    let from = _mm512_cmple_epu32_mask(load(lo), value);
    _mm512_mask_cmpge_epu32_mask(from, load(hi), value).into()
}

/// What is outside anywhere differs from nothing in one of its lanes, which is looked for once: compares that
/// answer in masks take longer.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
pub(super) fn hold_all(ends: Ends<'_>, addresses: [u32; 2], (ports, mask): ([u16; 2], u16)) -> u32 {
    let [remote, local] = addresses.map(|addr| _mm512_set1_epi32(addr as i32));
    let (ports, mask) = (_mm512_set1_epi32(bytemuck::cast(ports)), _mm512_set1_epi16(mask as i16));
    // The value itself twice if the range holds it; one of its ends if not.
    let nearest = |[lo, hi]: [&[u32; LANES]; 2], value| {
        (_mm512_max_epu32(load(lo), value), _mm512_min_epu32(load(hi), value))
    };
    let ((a, b), (c, d)) = (nearest(ends.remote, remote), nearest(ends.local, local));
    let [lo, hi] = ends.ports;
    let (below, above) = (_mm512_subs_epu16(load(lo), ports), _mm512_subs_epu16(ports, load(hi)));
    let outside = _mm512_xor_si512(a, b);
    // Or where the other two differ.
    let outside = _mm512_ternarylogic_epi32::<0b1111_0110>(outside, c, d);
    // Either, under the mask.
    let ports = _mm512_ternarylogic_epi32::<0b1010_1000>(below, above, mask);
    let outside = _mm512_or_si512(outside, ports);
    _mm512_testn_epi32_mask(outside, outside).into()
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
#[allow(unsafe_code)]
pub(super) fn hold_u8(lo: &[u8; LANES], hi: &[u8; LANES], value: u8) -> u32 {
    // SAFETY: 16 octets of an array; any alignment will do.
    let load = |from: &[u8; LANES]| unsafe { _mm_loadu_si128(from.as_ptr().cast::<__m128i>()) };
    let value = _mm_set1_epi8(value as i8);
    let from = _mm_cmple_epu8_mask(load(lo), value);
    _mm_mask_cmpge_epu8_mask(from, load(hi), value).into()
}

/// The four parts of a search tree.
#[target_feature(enable = "avx512f")]
#[inline]
fn tables(cuts: &[u32; CUTS]) -> [__m512i; 4] {
    let (tables, _) = cuts.as_chunks::<LANES>();
    match tables {
        [a, b, c, d] => [load(a), load(b), load(c), load(d)],
        // 64 numbers are four times sixteen.
        _ => [_mm512_set1_epi32(-1); 4],
    }
}

/// All numbers compared at once: none waits for the one before it.
#[target_feature(enable = "avx512f,popcnt")]
#[inline]
pub(super) fn rank(cuts: &[u32; CUTS], value: u32) -> u32 {
    let value = _mm512_set1_epi32(value as i32);
    let [a, b, c, d] = tables(cuts);
    let (a, b) = (_mm512_cmplt_epu32_mask(a, value), _mm512_cmplt_epu32_mask(b, value));
    let (c, d) = (_mm512_cmplt_epu32_mask(c, value), _mm512_cmplt_epu32_mask(d, value));
    let less = [a, b, c, d].map(u64::from);
    (less[0] | less[1] << 16 | less[2] << 32 | less[3] << 48).count_ones()
}

/// 1 in each lane, which the compiler does not know: it would make three instructions of an addition under
/// a mask.
#[target_feature(enable = "avx512f")]
#[inline]
#[allow(unsafe_code)]
fn one() -> __m512i {
    let mut one = _mm512_set1_epi32(1);
    // SAFETY: nothing is done.
    unsafe { asm!("/* {0} */", inout(zmm_reg) one, options(nomem, nostack, preserves_flags)) };
    one
}

/// Where a search goes on that compared its value with a cut: to the right of it if that is less.
#[target_feature(enable = "avx512f")]
#[inline]
fn step(at: __m512i, cut: __m512i, value: __m512i, one: __m512i) -> __m512i {
    let less = _mm512_cmplt_epu32_mask(cut, value);
    let twice = _mm512_add_epi32(at, at);
    _mm512_mask_add_epi32(twice, less, twice, one)
}

/// Sixteen searches of six steps in each tree, all trees' first steps before the second ones: no step waits
/// for the one before it.
#[target_feature(enable = "avx512f")]
#[inline]
#[allow(unsafe_code)]
pub(super) fn ranks<const N: usize>(
    trees: [&[u32; CUTS]; N],
    values: &[[u32; LANES]; N],
    ranks: &mut [[u32; LANES]; N],
) {
    let one = one();
    let mut places = [_mm512_set1_epi32(1); N];
    for nth in 0..6 {
        for ((at, tree), values) in places.iter_mut().zip(trees).zip(values) {
            let [near, far, low, high] = tables(tree);
            let cut = match nth {
                0..4 => _mm512_permutexvar_epi32(*at, near),
                4 => _mm512_permutexvar_epi32(*at, far),
                _ => _mm512_permutex2var_epi32(low, *at, high),
            };
            *at = step(*at, cut, load(values), one);
        }
    }
    for (ranks, at) in ranks.iter_mut().zip(places) {
        let at = _mm512_and_si512(at, _mm512_set1_epi32(CUTS as i32 - 1));
        // SAFETY: 64 octets of an array; any alignment will do.
        unsafe { _mm512_storeu_si512(ranks.as_mut_ptr().cast::<__m512i>(), at) };
    }
}

/// Those of sixteen numbers that eight searches come to.
#[target_feature(enable = "avx512f")]
#[inline]
fn pair(low: &[u64; 8], high: &[u64; 8], at: __m512i) -> __m512i {
    _mm512_permutex2var_epi64(load_eight(low), at, load_eight(high))
}

/// The numbers of a tree that searches come to in a step.
#[target_feature(enable = "avx512f")]
#[inline]
fn pick(tree: &[u64; CUTS], at: __m512i, nth: usize) -> __m512i {
    match (nth, tree.as_chunks().0) {
        (0..3, [near, ..]) => _mm512_permutexvar_epi64(at, load_eight(near)),
        (3, [_, far, ..]) => _mm512_permutexvar_epi64(at, load_eight(far)),
        (4, [_, _, low, high, ..]) => pair(low, high, at),
        (_, [_, _, _, _, a, b, c, d]) => {
            let second = _mm512_test_epi64_mask(at, _mm512_set1_epi64(16));
            _mm512_mask_blend_epi64(second, pair(a, b, at), pair(c, d, at))
        }
        // 64 numbers are eight times eight.
        _ => at,
    }
}

/// Where eight searches go on that compared their values, high and low halves, with cuts.
#[target_feature(enable = "avx512f")]
#[inline]
fn wide_step(at: __m512i, cuts: (__m512i, __m512i), values: (__m512i, __m512i)) -> __m512i {
    let is_same = _mm512_cmpeq_epu64_mask(cuts.0, values.0);
    let below = _mm512_mask_cmplt_epu64_mask(is_same, cuts.1, values.1);
    let less = _mm512_cmplt_epu64_mask(cuts.0, values.0) | below;
    let twice = _mm512_add_epi64(at, at);
    _mm512_mask_add_epi64(twice, less, twice, _mm512_set1_epi64(1))
}

/// One step of sixteen searches, a row of 64 numbers in registers.
#[target_feature(enable = "avx512f,avx512vl")]
#[inline]
pub(super) fn wide_deepen(
    [highs, lows]: [&[u64; CUTS]; 2],
    values: &[[u64; LANES]; 2],
    ranks: &mut [u32; LANES],
) {
    let pick = |row: &[u64; CUTS], at: __m512i| {
        // 64 numbers are eight times eight.
        let [a, b, c, d, e, f, g, h] = row.as_chunks().0 else { return at };
        // Bits 4 and 5 of the rank say which pair of registers it is in.
        let second = _mm512_test_epi64_mask(at, _mm512_set1_epi64(16));
        let third = _mm512_test_epi64_mask(at, _mm512_set1_epi64(32));
        let low = _mm512_mask_blend_epi64(second, pair(a, b, at), pair(c, d, at));
        let high = _mm512_mask_blend_epi64(second, pair(e, f, at), pair(g, h, at));
        _mm512_mask_blend_epi64(third, low, high)
    };
    let halves = values[0].as_chunks().0.iter().zip(values[1].as_chunks().0);
    for (ranks, (high, low)) in ranks.as_chunks_mut::<8>().0.iter_mut().zip(halves) {
        let at = _mm512_cvtepu32_epi64(bytemuck::cast(*ranks));
        let cuts = (pick(highs, at), pick(lows, at));
        let deeper = wide_step(at, cuts, (load_eight(high), load_eight(low)));
        *ranks = bytemuck::cast(_mm512_cvtepi64_epi32(deeper));
    }
}

/// Eight searches of six steps at once, twice in each tree, all their first steps before the second ones: no step waits for
/// the one before it.
#[target_feature(enable = "avx512f,avx512vl")]
#[inline]
#[allow(unsafe_code)]
pub(super) fn wide_ranks<const N: usize>(
    trees: [[&[u64; CUTS]; 2]; N],
    values: &[[[u64; LANES]; 2]; N],
    ranks: &mut [[u32; LANES]; N],
) {
    let mut places = [[_mm512_set1_epi64(1); 2]; N];
    for nth in 0..6 {
        for ((places, [highs, lows]), [high, low]) in places.iter_mut().zip(trees).zip(values) {
            let halves = high.as_chunks().0.iter().zip(low.as_chunks().0);
            for (at, (high, low)) in places.iter_mut().zip(halves) {
                let (high, low) = (load_eight(high), load_eight(low));
                let cuts = (pick(highs, *at, nth), pick(lows, *at, nth));
                *at = wide_step(*at, cuts, (high, low));
            }
        }
    }
    for (places, ranks) in places.iter().zip(ranks) {
        for (at, ranks) in places.iter().zip(ranks.as_chunks_mut::<8>().0) {
            let at = _mm512_and_si512(*at, _mm512_set1_epi64(CUTS as i64 - 1));
            *ranks = bytemuck::cast(_mm512_cvtepi64_epi32(at));
        }
    }
}

/// Eight numbers of 64 bits.
#[target_feature(enable = "avx512f")]
#[inline]
#[allow(unsafe_code)]
fn load_eight(from: &[u64; 8]) -> __m512i {
    // SAFETY: 64 octets of an array; any alignment will do.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

/// Sixteen numbers of a row, whose length is a power of two; places behind its end count from its start.
#[target_feature(enable = "avx512f")]
#[inline]
#[allow(unsafe_code)]
fn gather(row: &[u32], at: __m512i) -> __m512i {
    let Some(last) = row.len().checked_sub(1).filter(|_| row.len().is_power_of_two()) else {
        return at;
    };
    let at = _mm512_and_si512(at, _mm512_set1_epi32(last as i32));
    // SAFETY: no place is behind the last one.
    unsafe { _mm512_i32gather_epi32::<4>(at, row.as_ptr().cast::<i32>()) }
}

/// One step of sixteen searches, a row of 64 or 128 numbers in registers.
#[target_feature(enable = "avx512f")]
#[inline]
#[allow(unsafe_code)]
pub(super) fn deepen(row: &[u32], values: &[u32; LANES], ranks: &mut [u32; LANES]) {
    let (pairs, _) = row.as_chunks::<{ 2 * LANES }>();
    let at = load(ranks);
    // Bits 5 and 6 of the rank say which pair of registers it is in.
    let pick = |pair: &[u32; 2 * LANES]| {
        let (halves, _) = pair.as_chunks::<LANES>();
        match halves {
            [low, high] => _mm512_permutex2var_epi32(load(low), at, load(high)),
            _ => at,
        }
    };
    let second = _mm512_test_epi32_mask(at, _mm512_set1_epi32(32));
    let cut = match pairs {
        [a, b] => _mm512_mask_blend_epi32(second, pick(a), pick(b)),
        [a, b, c, d] => {
            let third = _mm512_test_epi32_mask(at, _mm512_set1_epi32(64));
            let low = _mm512_mask_blend_epi32(second, pick(a), pick(b));
            let high = _mm512_mask_blend_epi32(second, pick(c), pick(d));
            _mm512_mask_blend_epi32(third, low, high)
        }
        _ => gather(row, at),
    };
    let deeper = step(at, cut, load(values), one());
    // SAFETY: 64 octets of an array; any alignment will do.
    unsafe { _mm512_storeu_si512(ranks.as_mut_ptr().cast::<__m512i>(), deeper) };
}

/// Four rows in each register: pairs of registers give half a column each, pairs of halves a column.
#[target_feature(enable = "avx512f")]
#[inline]
#[allow(unsafe_code)]
pub(super) fn turn(rows: &[[u32; 4]; LANES], columns: &mut [[u32; LANES]; 4]) {
    let (fours, _) = rows.as_flattened().as_chunks::<LANES>();
    let [a, b, c, d] = fours else { return };
    let (a, b, c, d) = (load(a), load(b), load(c), load(d));
    // The first two columns of eight rows, and the last two.
    let first = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
    let last = _mm512_add_epi32(first, _mm512_set1_epi32(2));
    let halves =
        |which| (_mm512_permutex2var_epi32(a, which, b), _mm512_permutex2var_epi32(c, which, d));
    let [one, two, three, four] = columns;
    for ((low, high), (even, odd)) in [(halves(first), (one, two)), (halves(last), (three, four))] {
        let columns = [
            (even, _mm512_shuffle_i64x2::<0b01_00_01_00>(low, high)),
            (odd, _mm512_shuffle_i64x2::<0b11_10_11_10>(low, high)),
        ];
        for (slot, column) in columns {
            // SAFETY: 64 octets of an array; any alignment will do.
            unsafe { _mm512_storeu_si512(slot.as_mut_ptr().cast::<__m512i>(), column) };
        }
    }
}

/// The nth of sixteen words.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn word(masks: [&[u64; 8]; 2], nth: usize) -> u64 {
    let [low, high] = masks.map(|mask| load_eight(mask));
    let found = _mm512_permutex2var_epi64(low, _mm512_set1_epi64(nth as i64), high);
    _mm_cvtsi128_si64(_mm512_castsi512_si128(found)) as u64
}

/// What five masks of so many words have in common, a register each.
macro_rules! meet {
    ($name:ident, $words:literal, $load:ident, $and:ident, $store:ident, $test:ident) => {
        #[target_feature(enable = "avx512f,avx512vl")]
        #[inline]
        #[allow(unsafe_code)]
        pub(super) fn $name(
            [a, b, c, d, e]: [&[u64; $words]; 5],
            common: &mut [u64; $words],
        ) -> u32 {
            // SAFETY: the octets of an array, as many as a register has; any alignment will do.
            let load = |from: &[u64; $words]| unsafe { $load(from.as_ptr().cast()) };
            let three = $and::<0x80>(load(a), load(b), load(c));
            let found = $and::<0x80>(three, load(d), load(e));
            // SAFETY: as above.
            unsafe { $store(common.as_mut_ptr().cast(), found) };
            $test(found, found).into()
        }
    };
}

meet!(meet_two, 2, _mm_loadu_si128, _mm_ternarylogic_epi64, _mm_storeu_si128, _mm_test_epi64_mask);
meet!(
    meet_four,
    4,
    _mm256_loadu_si256,
    _mm256_ternarylogic_epi64,
    _mm256_storeu_si256,
    _mm256_test_epi64_mask
);
meet!(
    meet_eight,
    8,
    _mm512_loadu_si512,
    _mm512_ternarylogic_epi64,
    _mm512_storeu_si512,
    _mm512_test_epi64_mask
);
