//! Workers of a gateway: a handle and one thread's packet path.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::mem::{align_of, size_of};
use core::sync::atomic::{AtomicU32, Ordering};

use espial::Worker;

use super::{Caller, Head, espial_gateway};
use crate::status::Status;
use crate::types::*;

/// One thread's packet path. Opaque.
#[repr(C, align(64))]
pub struct espial_worker {
    head: Head,
    /// Its cell among the gateway's.
    attached: &'static AtomicU32,
    worker: UnsafeCell<Worker<'static>>,
}

handle!(espial_worker = 0x6573_7057 {
    unsafe fn end(&self) {
        // SAFETY: the caller is its owner (contract of `end`), so nobody else borrows it (H3).
        let worker = unsafe { &mut *self.worker.get() };
        worker.idle();
        self.attached.store(0, Ordering::Release);
    }
});

const _: () = {
    const fn moved<T: Send>() {}
    moved::<Worker<'static>>();
};

/// Octets of a worker.
pub const WORKER_OCTETS: usize = size_of::<espial_worker>();

impl<'c> Caller<'c> {
    /// The worker behind a handle.
    pub fn worker(&self, handle: *mut espial_worker) -> Result<&'c mut Worker<'static>, Status> {
        let whole = self.live(handle)?;
        // SAFETY: the caller is its owner, so nobody else borrows what is in the cell (H3).
        Ok(unsafe { &mut *whole.worker.get() })
    }

    /// Makes worker `index` of a gateway in `len` octets at `at`. `owned` is how many octets the library
    /// allocated for it, or 0.
    pub fn init_worker(
        &self,
        at: *mut c_void,
        len: usize,
        gateway: *mut espial_gateway,
        index: u32,
        owned: usize,
    ) -> Result<*mut espial_worker, Status> {
        let gateway = self.gateway(gateway)?;
        let (slot, _) = self.room(at, len, WORKER_OCTETS)?;
        let attached = gateway.attached.get(index as usize).ok_or(Status(ESPIAL_ERANGE))?;
        if !take(attached) {
            return Err(Status(ESPIAL_EATTACHED));
        }
        // SAFETY: the index was free and is now taken, until the release.
        let worker = unsafe { Worker::attach(&gateway.tables, index) };
        let Some(worker) = worker else {
            attached.store(0, Ordering::Release);
            return Err(Status(ESPIAL_ERANGE));
        };
        let worker = UnsafeCell::new(worker);
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
