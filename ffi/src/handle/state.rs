//! What lies in structs of the caller's that are no handles: they may be moved and are not released.

use core::mem::{align_of, size_of};
use core::ptr::NonNull;

use super::Caller;
use crate::status::Status;
use crate::types::*;

/// State that lives in a struct of the caller's.
///
/// # Safety
/// `repr(C)`, the first field is a `u64` that always is `MAGIC`, and it needs no drop.
pub unsafe trait State {
    /// What tells it from other memory.
    const MAGIC: u64;
    /// The struct that C has for it, of integers.
    type Room;
}

impl<'c> Caller<'c> {
    /// A state's place in the caller's memory, whatever it holds.
    fn state_slot<T: State>(&self, at: *mut T::Room) -> Result<NonNull<T>, Status> {
        const {
            assert!(size_of::<T>() <= size_of::<T::Room>());
            assert!(align_of::<T>() <= align_of::<T::Room>());
        };
        Ok(self.tested(at)?.cast())
    }

    /// Writes a state.
    pub fn state_init<T: State>(&self, at: *mut T::Room, state: T) -> Result<(), Status> {
        let slot = self.state_slot::<T>(at)?;
        // SAFETY: not NULL, aligned, room for a T (assertions above), live by the contract of `new`.
        unsafe { slot.write(state) };
        Ok(())
    }

    /// A state, if there is one.
    pub fn state<T: State>(&self, at: *mut T::Room) -> Result<&'c mut T, Status> {
        let mut slot = self.state_slot::<T>(at)?;
        // SAFETY: every T starts with a u64 (contract of `State`).
        if unsafe { slot.cast::<u64>().read() } != T::MAGIC {
            return Err(Status(ESPIAL_EHANDLE));
        }
        // SAFETY: the magic number stands, so `state_init` wrote it; the caller is its owner (H3).
        Ok(unsafe { slot.as_mut() })
    }
}
