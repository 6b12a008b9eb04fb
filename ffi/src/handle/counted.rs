//! What threads count of a compiled list: a worker each, which is a handle with a row of counts behind it.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::mem::size_of;
use core::sync::atomic::{AtomicU32, Ordering};

use espial::spd::{CellsError, Count};

use super::{Caller, Handle, Head, lay, with_table};
use crate::status::Status;
use crate::types::*;

/// How many workers a list has: it is not released before them (H6).
pub struct Workers(AtomicU32);

impl Workers {
    pub fn none() -> Self {
        Self(AtomicU32::new(0))
    }

    pub fn any(&self) -> bool {
        self.0.load(Ordering::Acquire) != 0
    }

    /// Adds to their number; `u32::MAX` takes one away.
    fn add(&self, change: u32) {
        #[cfg(target_has_atomic = "32")]
        self.0.fetch_add(change, Ordering::AcqRel);
        // Such a target has one thread to make workers (`take`).
        #[cfg(not(target_has_atomic = "32"))]
        let sum = self.0.load(Ordering::Acquire).wrapping_add(change);
        #[cfg(not(target_has_atomic = "32"))]
        self.0.store(sum, Ordering::Release);
    }
}

/// A compiled list whose decisions are counted.
pub trait Counted: Handle {
    /// The core's way to ask it and to count.
    type Worker;
    /// What reads the counts.
    type Counts: Copy;

    /// Its workers.
    fn workers(&self) -> &Workers;

    /// Counts of a row.
    fn cells(&self) -> usize;

    /// A way to ask it that counts in `cells`.
    fn with_counts(
        &self,
        cells: &'static mut [Count],
    ) -> Result<(Self::Worker, Self::Counts), CellsError>;
}

/// What is in a worker of a list, beside its head.
pub struct Row<L: Counted> {
    list: &'static L,
    worker: UnsafeCell<L::Worker>,
    counts: L::Counts,
}

impl<L: Counted> Row<L> {
    /// The list has one worker less.
    pub fn end(&self) {
        self.list.workers().add(u32::MAX);
    }
}

/// A worker of a list.
pub trait Counting: Handle {
    /// The list.
    type List: Counted;

    fn new(head: Head, row: Row<Self::List>) -> Self;

    fn row(&self) -> &Row<Self::List>;
}

impl<'c> Caller<'c> {
    /// Octets of a worker of a list with its row of counts, so that the next one starts on a cache line.
    pub fn counting_octets<W: Counting>(&self, list: *const W::List) -> Result<usize, Status> {
        octets::<W>(self.live(list)?)
    }

    /// Makes a worker of a list in `len` octets at `at`, its row of counts behind it. `owned` is how many
    /// octets the library allocated for it, or 0.
    pub fn init_counting<W: Counting>(
        &self,
        at: *mut c_void,
        len: usize,
        list: *const W::List,
        owned: usize,
    ) -> Result<*mut W, Status> {
        let list = self.live(list)?;
        let (slot, row) = self.room(at, len, octets::<W>(list)?)?;
        let cells = lay(row, list.cells(), Count::new)?;
        let made = list.with_counts(cells);
        let (worker, counts) = made.map_err(|_| Status(ESPIAL_ERANGE))?;
        list.workers().add(1);
        let row = Row { list, worker: UnsafeCell::new(worker), counts };
        Ok(slot.fill(W::new(Head::new(owned), row)))
    }

    /// What asks and counts, of the worker behind a handle.
    pub fn counting<W: Counting>(
        &self,
        handle: *mut W,
    ) -> Result<&'c mut <W::List as Counted>::Worker, Status> {
        let whole = self.live(handle)?;
        // SAFETY: the caller is its owner, so nobody else borrows what is in the cell (H3, H6).
        Ok(unsafe { &mut *whole.row().worker.get() })
    }

    /// The counts of the worker behind a handle.
    pub fn counts<W: Counting>(
        &self,
        handle: *const W,
    ) -> Result<<W::List as Counted>::Counts, Status> {
        Ok(self.live(handle)?.row().counts)
    }
}

fn octets<W: Counting>(list: &W::List) -> Result<usize, Status> {
    let row = list.cells().checked_mul(size_of::<Count>());
    with_table::<W>(row.ok_or(Status(ESPIAL_ERANGE))?)
}
