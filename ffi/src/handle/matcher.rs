//! Matchers, and the words that a matcher or an SPD is made of.

use core::ffi::c_void;
use core::mem::{align_of, size_of};
use core::slice::from_raw_parts;

use espial::matcher::Matcher;

use super::{Caller, Head};
use crate::status::Status;
use crate::types::*;

/// A list of selectors, compiled. Opaque.
#[repr(C, align(64))]
pub struct espial_matcher {
    head: Head,
    /// What it was made of.
    pub(crate) words: &'static [u64],
    /// The core's matcher.
    pub(crate) matcher: Matcher<'static>,
}

handle!(espial_matcher = 0x6573_704d {});

const _: () = {
    const fn shared<T: Sync>() {}
    shared::<espial_matcher>();
};

/// Octets of a matcher's handle.
pub const MATCHER_OCTETS: usize = size_of::<espial_matcher>();

impl<'c> Caller<'c> {
    /// The matcher behind a handle.
    pub fn matcher(&self, handle: *const espial_matcher) -> Result<&'c espial_matcher, Status> {
        self.live(handle)
    }

    /// Makes a matcher of `count` words in `len` octets at `at`. `owned` is how many octets the library
    /// allocated for it, or 0.
    pub fn init_matcher(
        &self,
        at: *mut c_void,
        len: usize,
        words: *const u64,
        count: usize,
        owned: usize,
    ) -> Result<*mut espial_matcher, Status> {
        let (slot, _) = self.room(at, len, MATCHER_OCTETS)?;
        let (words, matcher) = self.opened(words, count, Matcher::open, Matcher::octets)?;
        Ok(slot.fill(espial_matcher { head: Head::new(owned), words, matcher }))
    }

    /// `count` words of the caller and what `open` makes of them. Words behind its end, which `octets` tells,
    /// are not its own.
    pub(super) fn opened<T, E>(
        &self,
        words: *const u64,
        count: usize,
        open: impl FnOnce(&'static [u64]) -> Result<T, E>,
        octets: impl FnOnce(&T) -> usize,
    ) -> Result<(&'static [u64], T), Status> {
        let words = self.slice(words, count)?;
        // SAFETY: a live slice, and nobody writes it until what is made of it is released (H5, H6).
        let words: &'static [u64] = unsafe { from_raw_parts(words.as_ptr(), words.len()) };
        let opened = open(words).map_err(|_| Status(ESPIAL_EWORDS))?;
        let own = words.get(..octets(&opened).div_ceil(size_of::<u64>())).unwrap_or(words);
        Ok((own, opened))
    }
}
