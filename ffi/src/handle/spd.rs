//! SPDs and their workers.

use core::ffi::c_void;
use core::mem::{align_of, size_of};

use espial::spd::{CellsError, Count, Counts, Spd, SpdWorker};

use super::counted::{Counted, Counting, Row, Workers};
use super::{Caller, Head};
use crate::status::Status;

/// A list of policies of one direction, compiled. Opaque.
#[repr(C, align(64))]
pub struct espial_spd {
    head: Head,
    workers: Workers,
    /// What it was made of.
    pub(crate) words: &'static [u64],
    /// The core's SPD.
    pub(crate) spd: Spd<'static>,
}

handle!(espial_spd = 0x6573_7053 {
    fn has_workers(&self) -> bool {
        self.workers.any()
    }
});

impl Counted for espial_spd {
    type Worker = SpdWorker<'static, 'static>;
    type Counts = Counts<'static, 'static>;

    fn workers(&self) -> &Workers {
        &self.workers
    }

    fn cells(&self) -> usize {
        self.spd.cells()
    }

    fn with_counts(
        &self,
        cells: &'static mut [Count],
    ) -> Result<(Self::Worker, Self::Counts), CellsError> {
        self.spd.with_counts(cells)
    }
}

/// One thread's way to ask an SPD and to count, its row of counts behind it. Opaque.
#[repr(C, align(64))]
pub struct espial_spd_worker {
    head: Head,
    row: Row<espial_spd>,
}

handle!(espial_spd_worker = 0x6573_7043 {
    unsafe fn end(&self) {
        self.row.end();
    }
});

impl Counting for espial_spd_worker {
    type List = espial_spd;

    fn new(head: Head, row: Row<espial_spd>) -> Self {
        Self { head, row }
    }

    fn row(&self) -> &Row<espial_spd> {
        &self.row
    }
}

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
        let (head, workers) = (Head::new(owned), Workers::none());
        Ok(slot.fill(espial_spd { head, workers, words, spd }))
    }
}
