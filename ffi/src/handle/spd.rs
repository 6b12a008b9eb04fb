//! SPDs and their workers: a handle with a row of counts behind it.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::mem::{align_of, size_of};
use core::sync::atomic::{AtomicU32, Ordering};

use espial::spd::{Count, Counts, Spd, SpdWorker};

use super::{ALIGNMENT, Caller, Head, lay};
use crate::status::Status;
use crate::types::*;

/// A list of policies of one direction, compiled. Opaque.
#[repr(C, align(64))]
pub struct espial_spd {
    head: Head,
    /// Its workers.
    attached: AtomicU32,
    /// What it was made of.
    pub(crate) words: &'static [u64],
    /// The core's SPD.
    pub(crate) spd: Spd<'static>,
}

handle!(espial_spd = 0x6573_7053 {
    fn has_workers(&self) -> bool {
        self.attached.load(Ordering::Acquire) != 0
    }
});

impl espial_spd {
    /// Octets of a worker of it with its row of counts, so that the next one starts on a cache line.
    pub fn worker_octets(&self) -> Result<usize, Status> {
        let row = self.spd.cells().checked_mul(size_of::<Count>());
        let all = row.and_then(|row| row.checked_add(size_of::<espial_spd_worker>()));
        let all = all.and_then(|all| all.checked_next_multiple_of(ALIGNMENT));
        all.filter(|all| *all <= isize::MAX as usize).ok_or(Status(ESPIAL_ERANGE))
    }
}

/// One thread's way to ask an SPD and to count, its row of counts behind it. Opaque.
#[repr(C, align(64))]
pub struct espial_spd_worker {
    head: Head,
    from: &'static espial_spd,
    worker: UnsafeCell<SpdWorker<'static, 'static>>,
    counts: Counts<'static, 'static>,
}

handle!(espial_spd_worker = 0x6573_7043 {
    unsafe fn end(&self) {
        count(&self.from.attached, u32::MAX);
    }
});

const _: () = {
    const fn shared<T: Sync>() {}
    const fn moved<T: Send>() {}
    shared::<espial_spd>();
    shared::<Counts<'static, 'static>>();
    moved::<SpdWorker<'static, 'static>>();
};

/// Octets of an SPD's handle.
pub const SPD_OCTETS: usize = size_of::<espial_spd>();

impl<'c> Caller<'c> {
    /// The SPD behind a handle.
    pub fn spd(&self, handle: *const espial_spd) -> Result<&'static espial_spd, Status> {
        self.live(handle)
    }

    /// Makes an SPD of `count` words in `len` octets at `at`. `owned` is how many octets the library
    /// allocated for it, or 0.
    pub fn init_spd(
        &self,
        at: *mut c_void,
        len: usize,
        words: *const u64,
        count: usize,
        owned: usize,
    ) -> Result<*mut espial_spd, Status> {
        let (slot, _) = self.room(at, len, SPD_OCTETS)?;
        let (words, spd) = self.opened(words, count, Spd::open, Spd::octets)?;
        let (head, attached) = (Head::new(owned), AtomicU32::new(0));
        Ok(slot.fill(espial_spd { head, attached, words, spd }))
    }

    /// Makes a worker of an SPD in `len` octets at `at`, its row of counts behind it. `owned` is how many
    /// octets the library allocated for it, or 0.
    pub fn init_spd_worker(
        &self,
        at: *mut c_void,
        len: usize,
        spd: *const espial_spd,
        owned: usize,
    ) -> Result<*mut espial_spd_worker, Status> {
        let from = self.spd(spd)?;
        let (slot, row) = self.room(at, len, from.worker_octets()?)?;
        let cells = lay(row, from.spd.cells(), Count::new)?;
        let made = from.spd.with_counts(cells);
        let (worker, counts) = made.map_err(|_| Status(ESPIAL_ERANGE))?;
        count(&from.attached, 1);
        let (head, worker) = (Head::new(owned), UnsafeCell::new(worker));
        Ok(slot.fill(espial_spd_worker { head, from, worker, counts }))
    }

    /// The SPD worker behind a handle.
    pub fn spd_worker(
        &self,
        handle: *mut espial_spd_worker,
    ) -> Result<&'c mut SpdWorker<'static, 'static>, Status> {
        let whole = self.live(handle)?;
        // SAFETY: the caller is its owner, so nobody else borrows what is in the cell (H3, H6).
        Ok(unsafe { &mut *whole.worker.get() })
    }

    /// The counts of the SPD worker behind a handle.
    pub fn spd_counts(
        &self,
        handle: *const espial_spd_worker,
    ) -> Result<Counts<'static, 'static>, Status> {
        Ok(self.live(handle)?.counts)
    }
}

/// Adds to a number of workers; `u32::MAX` takes one away.
fn count(attached: &AtomicU32, change: u32) {
    #[cfg(target_has_atomic = "32")]
    attached.fetch_add(change, Ordering::AcqRel);
    // Such a target has one thread to make workers (`take`).
    #[cfg(not(target_has_atomic = "32"))]
    let sum = attached.load(Ordering::Acquire).wrapping_add(change);
    #[cfg(not(target_has_atomic = "32"))]
    attached.store(sum, Ordering::Release);
}
