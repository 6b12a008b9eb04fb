//! One word after the other.

use super::{Job, Simd, scalar};
#[cfg(not(loom))]
use super::{LANES, hold};
use crate::sad::table::Bucket;

/// The only way there is.
#[derive(Clone, Copy, Default)]
pub(crate) struct Backend;

impl Backend {
    pub(crate) const BASE: Self = Self;

    pub(crate) fn detect() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn run<J: Job>(self, job: J) -> J::Answer {
        job.run::<Base>()
    }
}

/// What the target can in any case.
#[derive(Clone, Copy)]
pub(crate) struct Base;

impl Simd for Base {
    #[inline(always)]
    fn slots(bucket: &Bucket, high: u32) -> u32 {
        scalar(bucket, high)
    }

    #[inline(always)]
    fn first(slots: u32) -> Option<usize> {
        if slots == 0 { None } else { Some(slots.trailing_zeros() as usize) }
    }
    #[cfg(not(loom))]
    #[inline(always)]
    fn hold_u32(lo: &[u32; LANES], hi: &[u32; LANES], value: u32) -> u32 {
        hold(lo, hi, value)
    }

    #[cfg(not(loom))]
    #[inline(always)]
    fn hold_u16(lo: &[u16; LANES], hi: &[u16; LANES], value: u16) -> u32 {
        hold(lo, hi, value)
    }

    #[cfg(not(loom))]
    #[inline(always)]
    fn hold_u8(lo: &[u8; LANES], hi: &[u8; LANES], value: u8) -> u32 {
        hold(lo, hi, value)
    }
}
