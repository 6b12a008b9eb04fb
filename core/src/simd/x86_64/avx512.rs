//! AVX-512 with BW and VL: sixteen numbers of any size in one register, answers in masks.

use core::arch::x86_64::{
    __m128i, __m256i, __m512i, _mm_cmple_epu8_mask, _mm_loadu_si128, _mm_mask_cmpge_epu8_mask,
    _mm_set1_epi8, _mm256_cmple_epu16_mask, _mm256_loadu_si256, _mm256_mask_cmpge_epu16_mask,
    _mm256_set1_epi16, _mm512_add_epi32, _mm512_and_si512, _mm512_cmple_epu32_mask,
    _mm512_cmplt_epu32_mask, _mm512_i32gather_epi32, _mm512_loadu_si512, _mm512_mask_add_epi32,
    _mm512_mask_blend_epi32, _mm512_mask_cmpge_epu32_mask, _mm512_permutex2var_epi32,
    _mm512_permutexvar_epi32, _mm512_set1_epi32, _mm512_storeu_si512, _mm512_ternarylogic_epi64,
    _mm512_test_epi32_mask, _mm512_test_epi64_mask,
};

use super::super::{CUTS, LANES};

/// Sixteen numbers of 32 bits.
#[target_feature(enable = "avx512f")]
#[inline]
#[allow(unsafe_code)]
fn load(from: &[u32; LANES]) -> __m512i {
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

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
#[allow(unsafe_code)]
pub(super) fn hold_u16(lo: &[u16; LANES], hi: &[u16; LANES], value: u16) -> u32 {
    // SAFETY: 32 octets of an array; any alignment will do.
    let load = |from: &[u16; LANES]| unsafe { _mm256_loadu_si256(from.as_ptr().cast::<__m256i>()) };
    let value = _mm256_set1_epi16(value as i16);
    let from = _mm256_cmple_epu16_mask(load(lo), value);
    _mm256_mask_cmpge_epu16_mask(from, load(hi), value).into()
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

/// Sixteen searches of six steps, the tree in registers.
#[target_feature(enable = "avx512f")]
#[inline]
#[allow(unsafe_code)]
pub(super) fn ranks(cuts: &[u32; CUTS], values: &[u32; LANES], ranks: &mut [u32; LANES]) {
    let [near, far, low, high] = tables(cuts);
    let (values, one) = (load(values), _mm512_set1_epi32(1));
    let step = |at: __m512i, cut: __m512i| {
        let less = _mm512_cmplt_epu32_mask(cut, values);
        let twice = _mm512_add_epi32(at, at);
        _mm512_mask_add_epi32(twice, less, twice, one)
    };
    let mut at = one;
    for _ in 0..4 {
        at = step(at, _mm512_permutexvar_epi32(at, near));
    }
    at = step(at, _mm512_permutexvar_epi32(at, far));
    at = step(at, _mm512_permutex2var_epi32(low, at, high));
    at = _mm512_and_si512(at, _mm512_set1_epi32(CUTS as i32 - 1));
    // SAFETY: 64 octets of an array; any alignment will do.
    unsafe { _mm512_storeu_si512(ranks.as_mut_ptr().cast::<__m512i>(), at) };
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
    let less = _mm512_cmplt_epu32_mask(cut, load(values));
    let twice = _mm512_add_epi32(at, at);
    let deeper = _mm512_mask_add_epi32(twice, less, twice, _mm512_set1_epi32(1));
    // SAFETY: 64 octets of an array; any alignment will do.
    unsafe { _mm512_storeu_si512(ranks.as_mut_ptr().cast::<__m512i>(), deeper) };
}

/// Eight words of each mask.
#[target_feature(enable = "avx512f")]
#[inline]
#[allow(unsafe_code)]
pub(super) fn meet([a, b, c, d, e]: [&[u64; 8]; 5], common: &mut [u64; 8]) -> u32 {
    // SAFETY: 64 octets of an array; any alignment will do.
    let load = |from: &[u64; 8]| unsafe { _mm512_loadu_si512(from.as_ptr().cast::<__m512i>()) };
    let three = _mm512_ternarylogic_epi64::<0x80>(load(a), load(b), load(c));
    let found = _mm512_ternarylogic_epi64::<0x80>(three, load(d), load(e));
    // SAFETY: as above.
    unsafe { _mm512_storeu_si512(common.as_mut_ptr().cast::<__m512i>(), found) };
    _mm512_test_epi64_mask(found, found).into()
}
