//! One word after the other.

use super::{Job, Simd, scalar};
use crate::sad::table::Bucket;

/// The only way there is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Level;

impl Level {
    pub(super) const BASE: Self = Self;
    pub(super) const ALL: &'static [Self] = &[Self];

    pub(super) fn name(self) -> &'static str {
        "portable"
    }

    pub(super) fn detect() -> Self {
        Self
    }
}

#[inline(always)]
pub(super) fn run<J: Job>(_level: Level, job: J) -> J::Answer {
    job.run::<Base>()
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
