//! NEON, which is part of every AArch64 that has vectors at all.

use core::arch::aarch64::{
    uint8x16_t, uint32x4_t, vaddv_u8, vaddvq_u32, vandq_u8, vandq_u16, vandq_u32, vceqq_u32,
    vcgeq_u8, vcgeq_u16, vcgeq_u32, vcleq_u8, vcleq_u16, vcleq_u32, vcltq_u32, vcombine_u8,
    vcombine_u16, vdupq_n_u8, vdupq_n_u32, vget_high_u8, vget_low_u8, vld1q_u8, vld1q_u16,
    vld1q_u32, vmovn_u16, vmovn_u32, vreinterpretq_u16_u32, vreinterpretq_u32_u16, vsubq_u32,
};

use super::{CUTS, LANES, Simd, scalar};
use crate::sad::table::Bucket;

pub(super) const NAME: &str = "neon";

/// NEON for boxes; buckets word by word, whose loads have to be atomic.
#[derive(Clone, Copy)]
pub(crate) struct Base;

impl Simd for Base {
    #[inline(always)]
    fn slots(bucket: &Bucket, high: u32) -> u32 {
        scalar(bucket, high)
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn hold_u32(lo: &[u32; LANES], hi: &[u32; LANES], value: u32) -> u32 {
        // SAFETY: the target has NEON.
        unsafe { hold_u32(lo, hi, value) }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn hold_pairs(lo: &[[u16; 2]; LANES], hi: &[[u16; 2]; LANES], values: [u16; 2]) -> u32 {
        // SAFETY: as above.
        unsafe { hold_pairs(lo, hi, values) }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn hold_u8(lo: &[u8; LANES], hi: &[u8; LANES], value: u8) -> u32 {
        // SAFETY: as above.
        unsafe { hold_u8(lo, hi, value) }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn rank(cuts: &[u32; CUTS], value: u32) -> u32 {
        // SAFETY: as above.
        unsafe { rank(cuts, value) }
    }
}

/// One bit for each lane that is all ones.
#[target_feature(enable = "neon")]
#[inline]
#[allow(unsafe_code)]
fn bits(lanes: uint8x16_t) -> u32 {
    static WEIGHTS: [u8; LANES] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
    // SAFETY: 16 octets of an array.
    let weighed = vandq_u8(lanes, unsafe { vld1q_u8(WEIGHTS.as_ptr()) });
    let (low, high) = (vaddv_u8(vget_low_u8(weighed)), vaddv_u8(vget_high_u8(weighed)));
    u32::from(low) | u32::from(high) << 8
}

#[target_feature(enable = "neon")]
#[inline]
#[allow(unsafe_code)]
fn hold_u32(lo: &[u32; LANES], hi: &[u32; LANES], value: u32) -> u32 {
    let value = vdupq_n_u32(value);
    let four = |nth: usize| -> uint32x4_t {
        // SAFETY: a quarter of an array of 64 octets; any alignment will do.
        let load = |from: &[u32; LANES]| unsafe { vld1q_u32(from.as_ptr().wrapping_add(4 * nth)) };
        vandq_u32(vcleq_u32(load(lo), value), vcgeq_u32(load(hi), value))
    };
    let eight = |nth: usize| vcombine_u16(vmovn_u32(four(nth)), vmovn_u32(four(nth + 1)));
    bits(vcombine_u8(vmovn_u16(eight(0)), vmovn_u16(eight(2))))
}

#[target_feature(enable = "neon")]
#[inline]
#[allow(unsafe_code)]
fn hold_pairs(lo: &[[u16; 2]; LANES], hi: &[[u16; 2]; LANES], values: [u16; 2]) -> u32 {
    let values = vreinterpretq_u16_u32(vdupq_n_u32(bytemuck::cast(values)));
    let four = |nth: usize| -> uint32x4_t {
        let load = |from: &[[u16; 2]; LANES]| {
            // SAFETY: a quarter of an array of 64 octets; any alignment will do.
            unsafe { vld1q_u16(from.as_ptr().cast::<u16>().wrapping_add(8 * nth)) }
        };
        let inside = vandq_u16(vcleq_u16(load(lo), values), vcgeq_u16(load(hi), values));
        // Both of a pair.
        vceqq_u32(vreinterpretq_u32_u16(inside), vdupq_n_u32(u32::MAX))
    };
    let eight = |nth: usize| vcombine_u16(vmovn_u32(four(nth)), vmovn_u32(four(nth + 1)));
    bits(vcombine_u8(vmovn_u16(eight(0)), vmovn_u16(eight(2))))
}

#[target_feature(enable = "neon")]
#[inline]
#[allow(unsafe_code)]
fn hold_u8(lo: &[u8; LANES], hi: &[u8; LANES], value: u8) -> u32 {
    let value = vdupq_n_u8(value);
    // SAFETY: an array of 16 octets; any alignment will do.
    let load = |from: &[u8; LANES]| unsafe { vld1q_u8(from.as_ptr()) };
    bits(vandq_u8(vcleq_u8(load(lo), value), vcgeq_u8(load(hi), value)))
}

/// All numbers compared: none waits for the one before it.
#[target_feature(enable = "neon")]
#[inline]
#[allow(unsafe_code)]
fn rank(cuts: &[u32; CUTS], value: u32) -> u32 {
    let value = vdupq_n_u32(value);
    let (fours, _) = cuts.as_chunks::<4>();
    let less = fours.iter().fold(vdupq_n_u32(0), |less, four| {
        // SAFETY: 16 octets of an array; any alignment will do.
        let four = unsafe { vld1q_u32(four.as_ptr()) };
        // Each compare that holds is -1.
        vsubq_u32(less, vcltq_u32(four, value))
    });
    vaddvq_u32(less)
}
