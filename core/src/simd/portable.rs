//! One word after the other.

use super::{Simd, scalar};
use crate::sad::table::Bucket;

pub(super) const NAME: &str = "portable";

/// What the target can in any case.
#[derive(Clone, Copy)]
pub(crate) struct Base;

impl Simd for Base {
    #[inline(always)]
    fn slots(bucket: &Bucket, high: u32) -> u32 {
        scalar(bucket, high)
    }
}
