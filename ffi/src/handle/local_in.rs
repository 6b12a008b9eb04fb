//! Local-in policy: a handle over words, as a matcher is, and its workers.

use core::ffi::c_void;
use core::mem::{align_of, size_of};

use espial::gate::local_in::{LocalIn, LocalInCounts, LocalInWorker};
use espial::spd::{CellsError, Count};

use super::counted::{Counted, Counting, Row, Workers};
use super::{Caller, Head};
use crate::status::Status;

/// Ordered policies for what is addressed to the gateway itself, compiled. Opaque.
#[repr(C, align(64))]
pub struct espial_local_in {
    head: Head,
    workers: Workers,
    /// What it was made of.
    pub(crate) words: &'static [u64],
    /// The core's view of them.
    pub(crate) local_in: LocalIn<'static>,
}

handle!(espial_local_in = 0x6573_7041 {
    fn has_workers(&self) -> bool {
        self.workers.any()
    }
});

impl Counted for espial_local_in {
    type Worker = LocalInWorker<'static, 'static>;
    type Counts = LocalInCounts<'static, 'static>;

    fn workers(&self) -> &Workers {
        &self.workers
    }

    fn cells(&self) -> usize {
        self.local_in.cells()
    }

    fn with_counts(
        &self,
        cells: &'static mut [Count],
    ) -> Result<(Self::Worker, Self::Counts), CellsError> {
        self.local_in.with_counts(cells)
    }
}

/// One thread's way to ask local-in policy and to count, its row of counts behind it. Opaque.
#[repr(C, align(64))]
pub struct espial_local_in_worker {
    head: Head,
    row: Row<espial_local_in>,
}

handle!(espial_local_in_worker = 0x6573_704c {
    unsafe fn end(&self) {
        self.row.end();
    }
});

impl Counting for espial_local_in_worker {
    type List = espial_local_in;

    fn new(head: Head, row: Row<espial_local_in>) -> Self {
        Self { head, row }
    }

    fn row(&self) -> &Row<espial_local_in> {
        &self.row
    }
}

const _: () = {
    const fn shared<T: Sync>() {}
    const fn moved<T: Send>() {}
    shared::<espial_local_in>();
    shared::<LocalInCounts<'static, 'static>>();
    moved::<LocalInWorker<'static, 'static>>();
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
        let (head, workers) = (Head::new(owned), Workers::none());
        Ok(slot.fill(espial_local_in { head, workers, words, local_in }))
    }
}
