//! Sessions: a handle with the table behind it.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::mem::align_of;

use espial::gate::session::{Limits, Sessions};

use super::{Caller, Head, with_table};
use crate::status::Status;

/// The sessions of one thread that end on this gateway. Opaque.
#[repr(C, align(64))]
pub struct espial_sessions {
    head: Head,
    sessions: UnsafeCell<Sessions<'static>>,
}

handle!(espial_sessions = 0x6573_7049 {});

const _: () = {
    const fn moved<T: Send>() {}
    moved::<Sessions<'static>>();
};

/// Octets of sessions with their table.
pub fn sessions_octets(limits: &Limits) -> Result<usize, Status> {
    with_table::<espial_sessions>(Sessions::octets(limits)?)
}

impl<'c> Caller<'c> {
    /// The sessions behind a handle.
    pub fn sessions(
        &self,
        handle: *mut espial_sessions,
    ) -> Result<&'c mut Sessions<'static>, Status> {
        let whole = self.live(handle)?;
        // SAFETY: the caller is their owner, so nobody else borrows what is in the cell (H3, H7).
        Ok(unsafe { &mut *whole.sessions.get() })
    }

    /// Makes sessions in `len` octets at `at`. `owned` is how many octets the library allocated for them,
    /// or 0.
    pub fn init_sessions(
        &self,
        at: *mut c_void,
        len: usize,
        limits: &Limits,
        seed: [u64; 2],
        owned: usize,
    ) -> Result<*mut espial_sessions, Status> {
        let (slot, table) = self.room(at, len, sessions_octets(limits)?)?;
        let sessions = UnsafeCell::new(Sessions::new_in(table, limits, seed)?);
        Ok(slot.fill(espial_sessions { head: Head::new(owned), sessions }))
    }
}
