//! Workers of a gateway: a handle and one thread's packet path.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::mem::{align_of, size_of};
use core::sync::atomic::{AtomicU32, Ordering};

use espial::Worker;
use espial::event::{Audit, Events, NoEvents};

use super::{ALIGNMENT, Caller, Head, espial_gateway, place};
use crate::status::Status;
use crate::types::*;

/// One thread's packet path. Opaque.
#[repr(C, align(64))]
pub struct espial_worker {
    head: Head,
    /// Its cell among the gateway's.
    attached: &'static AtomicU32,
    /// It lies behind the handle.
    worker: UnsafeCell<&'static mut Worker<'static, dyn Audit>>,
}

// A number that one instruction of Thumb-2 compares with.
handle!(espial_worker = 0xe500_e500 {
    unsafe fn end(&self) {
        // SAFETY: the caller is its owner (contract of `end`), so nobody else borrows it (H3).
        let worker = unsafe { &mut *self.worker.get() };
        worker.idle();
        self.attached.store(0, Ordering::Release);
    }
});

const _: () = {
    const fn moved<T: Send>() {}
    moved::<Worker<'static, Events>>();
    moved::<Worker<'static, NoEvents>>();
};

/// Octets of a worker with events.
pub const WORKER_OCTETS: usize = octets::<Events>();

/// Octets of a worker without.
pub const QUIET_WORKER_OCTETS: usize = octets::<NoEvents>();

const fn octets<Q: Audit>() -> usize {
    let all = size_of::<espial_worker>() + size_of::<Worker<'static, Q>>();
    all.next_multiple_of(ALIGNMENT)
}

impl<'c> Caller<'c> {
    /// The worker behind a handle.
    #[inline(always)]
    pub fn worker(
        &self,
        handle: *mut espial_worker,
    ) -> Result<&'c mut Worker<'static, dyn Audit>, Status> {
        let whole = self.found(handle)?;
        // SAFETY: the caller is its owner, so nobody else borrows what is in the cell (H3).
        let worker = unsafe { &mut *whole.worker.get() };
        Ok(&mut **worker)
    }

    /// Makes worker `index` of a gateway in `len` octets at `at`. `owned` is how many octets the library
    /// allocated for it, or 0.
    pub fn init_worker<Q: Audit + Default + 'static>(
        &self,
        at: *mut c_void,
        len: usize,
        gateway: *mut espial_gateway,
        index: u32,
        owned: usize,
    ) -> Result<*mut espial_worker, Status> {
        let gateway = self.gateway(gateway)?;
        let (slot, behind) = self.room(at, len, octets::<Q>())?;
        let place = place(behind)?;
        let attached = gateway.attached.get(index as usize).ok_or(Status(ESPIAL_ERANGE))?;
        if !take(attached) {
            return Err(Status(ESPIAL_EATTACHED));
        }
        // SAFETY: the index was free and is now taken, until the release.
        let worker = unsafe { Worker::<Q>::attach_in(place, &gateway.tables, index) };
        let Some(worker) = worker else {
            attached.store(0, Ordering::Release);
            return Err(Status(ESPIAL_ERANGE));
        };
        let worker = UnsafeCell::new(worker as &mut Worker<'static, dyn Audit>);
        Ok(slot.fill(espial_worker { head: Head::new(owned), attached, worker }))
    }
}

/// Takes an index; false if it is taken.
fn take(attached: &AtomicU32) -> bool {
    #[cfg(target_has_atomic = "32")]
    let before = attached.swap(1, Ordering::AcqRel);
    // Such a target has one worker (core), and one thread to attach it.
    #[cfg(not(target_has_atomic = "32"))]
    let before = attached.load(Ordering::Acquire);
    #[cfg(not(target_has_atomic = "32"))]
    attached.store(1, Ordering::Release);
    before == 0
}
