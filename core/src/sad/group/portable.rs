//! One word after the other.

use super::{Group, Job, scalar};
use crate::sad::table::Bucket;

/// The only way there is.
#[derive(Clone, Copy)]
pub(in crate::sad) struct Backend;

impl Backend {
    pub(in crate::sad) const BASE: Self = Self;

    pub(in crate::sad) fn detect() -> Self {
        Self
    }

    #[inline(always)]
    pub(in crate::sad) fn run<J: Job>(self, job: J) -> J::Answer {
        job.run::<Base>()
    }
}

/// What the target can in any case.
#[derive(Clone, Copy)]
pub(in crate::sad) struct Base;

impl Group for Base {
    #[inline(always)]
    fn matches(bucket: &Bucket, high: u32) -> u32 {
        scalar(bucket, high)
    }

    #[inline(always)]
    fn first(matches: u32) -> Option<usize> {
        if matches == 0 { None } else { Some(matches.trailing_zeros() as usize) }
    }
}
