//! One word after the other.

use super::{Job, Simd, scalar};
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
}
