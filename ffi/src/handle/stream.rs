//! What lies in an `espial_stream`, which is the caller's struct and no handle: it may be moved and is not
//! released.

use core::mem::{align_of, size_of};
use core::ptr::NonNull;

use super::Caller;
use crate::status::Status;
use crate::types::*;

/// State that lives in an `espial_stream`.
///
/// # Safety
/// `repr(C)`, the first field is a `u64` that always is `MAGIC`, and it needs no drop.
pub unsafe trait StreamState {
    /// What tells it from other memory.
    const MAGIC: u64;
}

impl<'c> Caller<'c> {
    /// A stream's state in the caller's memory, whatever it holds.
    fn stream_slot<T: StreamState>(&self, at: *mut espial_stream) -> Result<NonNull<T>, Status> {
        const {
            assert!(size_of::<T>() <= size_of::<espial_stream>());
            assert!(align_of::<T>() <= align_of::<espial_stream>());
        };
        Ok(self.tested(at)?.cast())
    }

    /// Writes a stream's state.
    pub fn stream_init<T: StreamState>(
        &self,
        at: *mut espial_stream,
        state: T,
    ) -> Result<(), Status> {
        let slot = self.stream_slot::<T>(at)?;
        // SAFETY: not NULL, aligned, room for a T (assertions above), live by the contract of `new`.
        unsafe { slot.write(state) };
        Ok(())
    }

    /// A stream's state, if there is one.
    pub fn stream<T: StreamState>(&self, at: *mut espial_stream) -> Result<&'c mut T, Status> {
        let mut slot = self.stream_slot::<T>(at)?;
        // SAFETY: every T starts with a u64 (contract of `StreamState`).
        if unsafe { slot.cast::<u64>().read() } != T::MAGIC {
            return Err(Status(ESPIAL_EHANDLE));
        }
        // SAFETY: the magic number stands, so `stream_init` wrote it; the caller is its owner (H3).
        Ok(unsafe { slot.as_mut() })
    }
}
