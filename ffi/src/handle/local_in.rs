//! Local-in policy: a handle over words, as a matcher is.

use core::ffi::c_void;
use core::mem::{align_of, size_of};

use espial::gate::local_in::LocalIn;

use super::{Caller, Head};
use crate::status::Status;

/// Ordered policies for what is addressed to the gateway itself, compiled. Opaque.
#[repr(C, align(64))]
pub struct espial_local_in {
    head: Head,
    /// What it was made of.
    pub(crate) words: &'static [u64],
    /// The core's view of them.
    pub(crate) local_in: LocalIn<'static>,
}

handle!(espial_local_in = 0x6573_7041 {});

const _: () = {
    const fn shared<T: Sync>() {}
    shared::<espial_local_in>();
};

/// Octets of the handle of local-in policy.
pub const LOCAL_IN_OCTETS: usize = size_of::<espial_local_in>();

impl<'c> Caller<'c> {
    /// The local-in policy behind a handle.
    pub fn local_in(&self, handle: *const espial_local_in) -> Result<&'c espial_local_in, Status> {
        self.live(handle)
    }

    /// Makes local-in policy of `count` words in `len` octets at `at`. `owned` is how many octets the library
    /// allocated for it, or 0.
    pub fn init_local_in(
        &self,
        at: *mut c_void,
        len: usize,
        words: *const u64,
        count: usize,
        owned: usize,
    ) -> Result<*mut espial_local_in, Status> {
        let (slot, _) = self.room(at, len, LOCAL_IN_OCTETS)?;
        let (words, local_in) = self.opened(words, count, LocalIn::open, LocalIn::octets)?;
        Ok(slot.fill(espial_local_in { head: Head::new(owned), words, local_in }))
    }
}
