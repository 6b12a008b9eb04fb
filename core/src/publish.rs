//! Publication: many readers see the old snapshot or the new one, never a mix, and nothing that
//! a reader may still look at is written again.
//!
//! ```text
//! writer   unlink or write the spare buffer -> publish -> advance the epoch -> ... -> passed?  -> reuse
//! reader   read, read, read -> quiescent: "I hold nothing of any epoch before E" -> read ...
//! ```
//!
//! Quiescent-state based reclamation (McKenney and Slingwine 1998; DPDK's `rte_rcu_qsbr` and
//! VPP's barrier give the same moments): a reader pays one load and one store when it says that
//! it holds nothing, and nothing at all for a packet. Plain loads and stores only, no
//! compare-and-swap, so that it works on a Cortex-M0.
//!
//! Invariants:
//! - I1: one writer. Its methods take `&mut` or are documented so in the C ABI.
//! - I2: a worker's cell is 0 while it is offline, else an epoch it has seen.
//! - I3: what was unlinked before `advance` returned E is read by no worker once `passed(E)`.
//! - I4: buffer `version % BUFFERS` is not written while that version is current, nor before
//!   the epoch of its replacement has passed.

#[cfg(loom)]
use loom::cell::UnsafeCell;
#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, Ordering, fence};

#[cfg(not(loom))]
use core::sync::atomic::{AtomicU32, Ordering, fence};

/// Snapshots in memory: the current one and one that the writer fills.
pub const BUFFERS: u32 = 2;

/// What one worker has seen: a cache line of its own, so that reports do not disturb neighbours.
#[repr(C, align(64))]
pub struct Seen(AtomicU32);

#[cfg(not(loom))]
// SAFETY: an integer in an atomic cell; zero is an offline worker (I2).
#[allow(unsafe_code)]
unsafe impl bytemuck::Zeroable for Seen {}

impl Seen {
    /// A worker that is offline. Tables carved from zeroed memory need no call.
    #[cfg(loom)]
    pub fn offline() -> Self {
        Self(AtomicU32::new(0))
    }
}

/// The clock of retirements and what each worker has seen of it.
#[derive(Clone, Copy)]
pub struct Epochs<'m> {
    now: &'m AtomicU32,
    seen: &'m [Seen],
}

impl<'m> Epochs<'m> {
    /// Epochs over the caller's cells. `now` must be 0 or an epoch; 0 counts as 1.
    pub fn new(now: &'m AtomicU32, seen: &'m [Seen]) -> Self {
        if now.load(Ordering::Relaxed) == 0 {
            now.store(1, Ordering::Relaxed);
        }
        Self { now, seen }
    }

    /// Number of worker cells.
    pub fn workers(&self) -> usize {
        self.seen.len()
    }

    /// Worker: from now on I may hold references. Sees everything published before.
    ///
    /// # Concurrency
    /// The owner of cell `worker`. The fence orders the cell's store before the reads that
    /// follow, against the fence in [`Epochs::passed`].
    pub fn online(&self, worker: usize) {
        self.report(worker);
        fence(Ordering::SeqCst);
    }

    /// Worker: I hold no reference and take none until [`Epochs::online`].
    pub fn offline(&self, worker: usize) {
        if let Some(cell) = self.seen.get(worker) {
            cell.0.store(0, Ordering::Release);
        }
    }

    /// Worker: I hold nothing that I read before this call. One load, one store.
    #[inline]
    pub fn quiescent(&self, worker: usize) {
        self.report(worker);
    }

    #[inline]
    fn report(&self, worker: usize) {
        // Acquire: whoever sees epoch E sees what was unlinked before E began.
        let now = self.now.load(Ordering::Acquire);
        if let Some(cell) = self.seen.get(worker) {
            // Release: the reads before this report happen before a writer that acts on it.
            cell.0.store(now, Ordering::Release);
        }
    }

    /// Writer: the epoch of the last retirement.
    pub fn now(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }

    /// Writer: what was unlinked before this call is retired in the epoch returned.
    pub fn advance(&self) -> u32 {
        let mut next = self.now.load(Ordering::Relaxed).wrapping_add(1);
        if next == 0 {
            next = 1;
        }
        self.now.store(next, Ordering::Release);
        next
    }

    /// Writer: true when no worker can still hold what was retired in `epoch`.
    ///
    /// # Bound
    /// One load a worker. Epochs are compared modulo 2^32: a retirement must be asked about
    /// before 2^31 further ones.
    pub fn passed(&self, epoch: u32) -> bool {
        fence(Ordering::SeqCst);
        self.seen.iter().all(|cell| {
            let seen = cell.0.load(Ordering::Acquire);
            seen == 0 || seen.wrapping_sub(epoch) < 1 << 31
        })
    }
}

/// The version in use: which buffer readers read.
#[derive(Clone, Copy)]
pub struct Current<'m> {
    version: &'m AtomicU32,
}

impl<'m> Current<'m> {
    /// Over the caller's cell; version 0 is the empty snapshot.
    pub fn new(version: &'m AtomicU32) -> Self {
        Self { version }
    }

    /// The version that readers see now.
    #[inline]
    pub fn version(&self) -> u32 {
        self.version.load(Ordering::Acquire)
    }
}

/// The buffers, as readers and the one writer share them.
pub struct Buffers<'m, T: ?Sized> {
    current: Current<'m>,
    buffers: [&'m SharedCell<T>; BUFFERS as usize],
}

impl<T: ?Sized> Clone for Buffers<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: ?Sized> Copy for Buffers<'_, T> {}

/// A buffer that the writer writes while no reader can look (I4).
#[cfg(not(loom))]
#[repr(transparent)]
pub struct SharedCell<T: ?Sized>(core::cell::UnsafeCell<T>);

/// A buffer that loom watches.
#[cfg(loom)]
pub struct SharedCell<T: ?Sized>(UnsafeCell<T>);

// SAFETY: a `SharedCell` is reached only through `Buffers`, whose protocol (I4) keeps the writer's
// access apart from all reads in time.
#[allow(unsafe_code)]
unsafe impl<T: ?Sized + Send + Sync> Sync for SharedCell<T> {}

#[cfg(loom)]
impl<T> SharedCell<T> {
    /// A buffer for a model.
    pub fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }
}

#[cfg(not(loom))]
impl<T> SharedCell<T> {
    /// A buffer that is not shared yet.
    pub(crate) const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }
}

impl<'m, T: ?Sized> Buffers<'m, T> {
    /// Buffers of which `current` says which one is read.
    pub fn new(current: Current<'m>, buffers: [&'m SharedCell<T>; BUFFERS as usize]) -> Self {
        Self { current, buffers }
    }

    /// Where the version is read.
    pub fn current(&self) -> Current<'m> {
        self.current
    }

    /// The version that readers see now. One load (acquire).
    #[inline]
    pub fn version(&self) -> u32 {
        self.current.version()
    }

    /// Reader: runs `read` on the buffer of `version`.
    ///
    /// # Safety
    /// `version` was loaded by [`Buffers::version`] and the calling worker has been online since,
    /// without a quiescent state in between (I3, I4).
    #[cfg(loom)]
    #[allow(unsafe_code)]
    pub unsafe fn read<R>(&self, version: u32, read: impl FnOnce(&T) -> R) -> R {
        // SAFETY: the caller's contract.
        self.buffers[(version % BUFFERS) as usize].0.with(|cell| read(unsafe { &*cell }))
    }

    /// Reader: the buffer of `version`.
    ///
    /// # Safety
    /// `version` was loaded by [`Buffers::version`], the calling worker has been online since, and
    /// the reference is not used after its next quiescent state unless `version` is then still
    /// current (I3, I4).
    #[cfg(not(loom))]
    #[inline]
    #[allow(unsafe_code)]
    pub unsafe fn read(&self, version: u32) -> &'m T {
        let buffer = self.buffers[(version % BUFFERS) as usize];
        // SAFETY: the writer does not touch this buffer while the caller's contract holds (I4).
        unsafe { &*buffer.0.get() }
    }
}

/// The writer's side: fills the spare buffer and publishes it.
pub struct Publisher<'m, T: ?Sized> {
    buffers: Buffers<'m, T>,
    epochs: Epochs<'m>,
    /// Epoch in which the spare buffer was last replaced; 0 = never used.
    spare_retired: u32,
}

impl<'m, T: ?Sized> Publisher<'m, T> {
    /// The only publisher of these buffers (I1).
    pub fn new(buffers: Buffers<'m, T>, epochs: Epochs<'m>) -> Self {
        Self { buffers, epochs, spare_retired: 0 }
    }

    /// Notes that the spare buffer's epoch has passed, if it has: epochs come round after 2^31.
    pub fn settle(&mut self) {
        if self.ready() {
            self.spare_retired = 0;
        }
    }

    /// True when the spare buffer may be written.
    pub fn ready(&self) -> bool {
        self.spare_retired == 0 || self.epochs.passed(self.spare_retired)
    }

    /// Lets `fill` write the next version into the spare buffer, with the current one to look at, and
    /// publishes it with one store.
    /// Returns the version, or `None` if a worker may still read the spare buffer or `fill`
    /// declined: then readers go on with the current version.
    #[allow(unsafe_code)]
    pub fn publish(&mut self, fill: impl FnOnce(u32, &T, &mut T) -> bool) -> Option<u32> {
        if !self.ready() {
            return None;
        }
        let next = self.buffers.current.version.load(Ordering::Relaxed).wrapping_add(1);
        let spare = self.buffers.buffers[(next % BUFFERS) as usize];
        let current = self.buffers.buffers[(next.wrapping_sub(1) % BUFFERS) as usize];
        #[cfg(not(loom))]
        let filled = {
            // SAFETY: there is one writer (I1), which does not write the current buffer until it has
            // published another one.
            let current = unsafe { &*current.0.get() };
            // SAFETY: the spare buffer's last version was replaced in `spare_retired`, which every
            // worker has passed (`ready`), and there is one writer (I1): nobody else reads or writes it.
            fill(next, current, unsafe { &mut *spare.0.get() })
        };
        #[cfg(loom)]
        let filled = current.0.with(|current| {
            // SAFETY: as above; loom checks it.
            let current = unsafe { &*current };
            // SAFETY: as above.
            spare.0.with_mut(|spare| fill(next, current, unsafe { &mut *spare }))
        });
        if !filled {
            return None;
        }
        self.buffers.current.version.store(next, Ordering::Release);
        self.spare_retired = self.epochs.advance();
        Some(next)
    }
}
