//! A gateway: every table, in one region of memory, and the two sides that use it.
//!
//! ```text
//! Gateway ── split ──▶ Control      one: tunnels, Child SAs, SAs, publication     (configuration)
//!                 └──▶ Workers ──▶ Worker   one a thread: arrive, check, events    (packets)
//! ```

use core::mem::{MaybeUninit, size_of};
use core::sync::atomic::{AtomicU32, Ordering};

use bytemuck::Zeroable;

use crate::control::{Control, TunnelId};
use crate::counters::{SHARED_CELLS, WorkerCells};
use crate::error::SetupError;
use crate::event::{Audit, NoEvents};
use crate::image::Image;
use crate::inbound::Worker;
use crate::matcher::compile;
use crate::publish::{BUFFERS, Buffers, Current, Epochs, Publisher, Seen, SharedCell};
use crate::sad::{Newest, Sad, SadWriter};
use crate::storage::{CACHE_LINE_OCTETS, Capacity, Carver};
use crate::verdict::{Mode, Modes};

/// A number that the writer stores and readers load.
#[repr(transparent)]
pub(crate) struct Shared32(AtomicU32);

// SAFETY: an integer in an atomic cell; zero is valid.
#[allow(unsafe_code)]
unsafe impl Zeroable for Shared32 {}

impl Shared32 {
    #[inline]
    pub(crate) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, value: u32) {
        self.0.store(value, Ordering::Release);
    }
}

/// What the packet path must know of a tunnel; switched live with one store.
#[repr(C)]
pub(crate) struct TunnelCell {
    pub(crate) generation: Shared32,
    policy: Shared32,
}

// SAFETY: integers in atomic cells; all zero is valid.
#[allow(unsafe_code)]
unsafe impl Zeroable for TunnelCell {}

impl TunnelCell {
    pub(crate) fn set_policy(&self, mode: Mode, shadow: Modes) {
        self.policy.set(policy_word(mode, shadow));
    }

    #[inline]
    pub(crate) fn policy(&self) -> (Mode, Modes) {
        policy_of(self.policy.get())
    }
}

/// The enforced mode and the shadow modes of a tunnel as one number.
#[inline]
pub(crate) fn policy_word(mode: Mode, shadow: Modes) -> u32 {
    mode as u32 | u32::from(shadow.bits()) << 8
}

/// What [`policy_word`] was given; strict-sa for what no mode has.
#[inline]
pub(crate) fn policy_of(word: u32) -> (Mode, Modes) {
    let mode = match word as u8 {
        1 => Mode::AnySelector,
        2 => Mode::AnySource,
        3 => Mode::OrderedSpd,
        _ => Mode::StrictSa,
    };
    (mode, Modes::from_bits((word >> 8) as u8).unwrap_or(Modes::NONE))
}

/// Words of a block that is published: memory of the gateway's own, or an image.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Shown {
    start: *mut u64,
    words: usize,
}

// SAFETY: plain memory. Who reads it and who writes it, and when, is `publish`'s protocol (I4).
#[allow(unsafe_code)]
unsafe impl Send for Shown {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Shown {}

impl Shown {
    /// Memory that the writer fills.
    fn own(words: &mut [u64]) -> Self {
        Self { start: words.as_mut_ptr(), words: words.len() }
    }

    /// Memory that is only read.
    pub(crate) fn image(words: &[u64]) -> Self {
        Self { start: words.as_ptr().cast_mut(), words: words.len() }
    }

    /// # Safety
    /// What this was made of lives as long as 'm, and is not written meanwhile.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn words<'m>(&self) -> &'m [u64] {
        if self.start.is_null() {
            return &[];
        }
        // SAFETY: a slice was given; the rest is the caller's contract.
        unsafe { core::slice::from_raw_parts(self.start, self.words) }
    }

    /// # Safety
    /// This is [`Shown::own`], of memory that lives as long as 'm and that nobody else reads or writes meanwhile.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn words_mut<'m>(&mut self) -> &'m mut [u64] {
        if self.start.is_null() {
            return &mut [];
        }
        // SAFETY: a slice was given; the rest is the caller's contract.
        unsafe { core::slice::from_raw_parts_mut(self.start, self.words) }
    }
}

/// The tables as workers see them. Shared by all threads.
#[derive(Clone, Copy)]
pub struct Tables<'m> {
    pub(crate) newest_sad: &'m Newest<'m>,
    pub(crate) tunnels: &'m [TunnelCell],
    /// Installed SAs of each Child SA: the any-selector and any-source modes ask only Child SAs
    /// that have one.
    pub(crate) established: &'m [Shared32],
    pub(crate) buffers: Buffers<'m, Shown>,
    pub(crate) epochs: Epochs<'m>,
    pub(crate) cells: &'m [WorkerCells],
}

impl<'m> Tables<'m> {
    /// Number of workers that the capacity allows.
    pub fn workers(&self) -> u32 {
        self.epochs.workers() as u32
    }

    /// The SPI table in force: there is one from the start.
    #[inline(always)]
    pub(crate) fn sad(&self) -> Option<&'m Sad<'m>> {
        self.newest_sad.get()
    }

    /// Writer: workers use `sad` from now on.
    ///
    /// # Safety
    /// It and what it points to live as long as these tables.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn publish_sad(&self, sad: &Sad<'_>) {
        // SAFETY: the caller's contract.
        unsafe { self.newest_sad.set(sad) }
    }

    /// Reader: the words of the block of a version.
    ///
    /// # Safety
    /// As [`Buffers::read`].
    #[allow(unsafe_code)]
    pub(crate) unsafe fn block(&self, version: u32) -> &'m [u64] {
        // SAFETY: the caller's contract.
        let shown = unsafe { self.buffers.read(version) };
        // SAFETY: words of the tables' own memory, which `assemble` was lent for 'm, or an image, which was lent for
        // as long (`Control::swap_image`). The writer writes none that are shown (I4).
        unsafe { shown.words() }
    }

    /// What applies to a tunnel, for [`policy_of`]; 0 for one that is not there.
    #[inline(always)]
    pub(crate) fn policy_word(&self, tunnel: u32) -> u32 {
        match self.tunnels.get(tunnel as usize) {
            Some(cell) => cell.policy.get(),
            None => 0,
        }
    }

    #[inline]
    pub(crate) fn tunnel_id(&self, index: u32) -> TunnelId {
        let generation = self.tunnels.get(index as usize).map_or(0, |cell| cell.generation.get());
        TunnelId { index, generation }
    }
}

/// Carves all tables from `region` and returns both sides of the gateway.
///
/// `seed` is 128 bits that peers do not know: it keys the hash of the SPI table.
///
/// # Errors
/// [`SetupError`]; the region's content is then unspecified.
pub fn carve<'m>(
    region: &'m mut [MaybeUninit<u8>],
    capacity: &Capacity,
    seed: [u64; 2],
) -> Result<(Tables<'m>, Control<'m>), SetupError> {
    assemble(&mut Carver::new(region), capacity, seed, Blocks::Compiled)
}

/// [`carve`] of a gateway whose tunnels, Child SAs and selectors are those of an image.
///
/// # Errors
/// [`SetupError`]; [`SetupError::Image`]: it has more tunnels or Child SAs than the capacity says.
pub fn carve_over<'m>(
    region: &'m mut [MaybeUninit<u8>],
    capacity: &Capacity,
    seed: [u64; 2],
    image: &Image<'m>,
) -> Result<(Tables<'m>, Control<'m>), SetupError> {
    // Where it is: each copy takes stack.
    let mut whole = assemble(&mut Carver::new(region), capacity, seed, Blocks::Images);
    if let Ok((_, control)) = &mut whole {
        control.show(image)?;
    }
    whole
}

/// Octets that [`carve`] needs for a capacity, alignment included.
///
/// # Errors
/// [`SetupError::ZeroCapacity`], [`SetupError::CapacityLimit`], [`SetupError::TooLarge`].
pub fn octets(capacity: &Capacity) -> Result<usize, SetupError> {
    measure(capacity, Blocks::Compiled)
}

/// Octets that [`carve_over`] needs for a capacity, alignment included. Selectors take none.
///
/// # Errors
/// As [`octets`].
pub fn octets_over_image(capacity: &Capacity) -> Result<usize, SetupError> {
    measure(capacity, Blocks::Images)
}

fn measure(capacity: &Capacity, blocks: Blocks) -> Result<usize, SetupError> {
    let mut carver = Carver::measuring();
    match assemble(&mut carver, capacity, [0; 2], blocks) {
        Ok(_) | Err(SetupError::MemoryTooSmall) => {}
        Err(error) => return Err(error),
    }
    carver.used().checked_add(CACHE_LINE_OCTETS).ok_or(SetupError::TooLarge)
}

/// Where the blocks of a gateway come from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blocks {
    /// From what is staged, into memory of the gateway's own.
    Compiled,
    Images,
}

/// [`SetupError::MemoryTooSmall`] when measuring: nothing was carved.
fn assemble<'m>(
    carver: &mut Carver<'m>,
    capacity: &Capacity,
    seed: [u64; 2],
    blocks: Blocks,
) -> Result<(Tables<'m>, Control<'m>), SetupError> {
    let sizes = [
        ("tunnels", capacity.tunnels),
        ("children", capacity.children),
        ("selectors", if blocks == Blocks::Images { 1 } else { capacity.selectors }),
        ("workers", capacity.workers),
    ];
    if let Some((field, _)) = sizes.into_iter().find(|(_, size)| *size == 0) {
        return Err(SetupError::ZeroCapacity { field });
    }
    if capacity.workers > 1 && !SHARED_CELLS {
        return Err(SetupError::CapacityLimit { field: "workers", limit: 1 });
    }
    let size = |n: u32| usize::try_from(n).map_err(|_| SetupError::TooLarge);
    let (tunnels, children) = (size(capacity.tunnels)?, size(capacity.children)?);
    let (selectors, workers) = (size(capacity.selectors)?, size(capacity.workers)?);

    let (sad, view) = SadWriter::carve_in(carver, capacity, seed)?;
    let clocks: &'m mut [Clock<'m>] = carver.take(1)?;
    // What is staged, and what it is compiled into.
    let (mut staged_tunnels, mut staged_children, mut staged_selectors) = (0, 0, 0);
    if blocks == Blocks::Compiled {
        let words = compile::words_for(capacity)?;
        let own = [Shown::own(carver.take(words)?), Shown::own(carver.take(words)?)];
        if let Some(clock) = clocks.first_mut() {
            clock.shown = own.map(SharedCell::new);
        }
        (staged_tunnels, staged_children, staged_selectors) = (tunnels, children, selectors);
    }
    let seen = carver.take::<Seen>(workers)?;
    let (cells, established) = (carver.take(tunnels)?, carver.take(children)?);
    let counts = carver.take(workers)?;
    let (staged_tunnels, staged_children) =
        (carver.take(staged_tunnels)?, carver.take(staged_children)?);
    let staged_selectors = carver.take(staged_selectors)?;
    // One more: of tunnels that are gone.
    let totals = carver.take(tunnels.checked_add(1).ok_or(SetupError::TooLarge)?)?;
    let clocks: &'m [Clock<'m>] = clocks;
    let (Some(clock), Some(sad)) = (clocks.first(), sad) else {
        return Err(SetupError::MemoryTooSmall);
    };
    let epochs = Epochs::new(&clock.epoch, seen);
    let [even, odd] = &clock.shown;
    let buffers = Buffers::new(Current::new(&clock.version), [even, odd]);
    let tables = Tables {
        newest_sad: &clock.newest_sad,
        tunnels: cells,
        established,
        buffers,
        epochs,
        cells: counts,
    };
    #[allow(unsafe_code)]
    // SAFETY: carved from the same memory as the tables.
    unsafe {
        tables.publish_sad(view);
    }
    let publisher = Publisher::new(buffers, epochs);
    let control = Control::new(
        tables,
        sad,
        publisher,
        staged_tunnels,
        staged_children,
        staged_selectors,
        totals,
    );
    Ok((tables, control))
}

/// What all readers load: a cache line of its own.
#[repr(C, align(64))]
struct Clock<'m> {
    version: AtomicU32,
    epoch: AtomicU32,
    newest_sad: Newest<'m>,
    /// What readers see of even versions, and of odd ones.
    shown: [SharedCell<Shown>; BUFFERS as usize],
}

const _: () = assert!(size_of::<Clock<'_>>() == CACHE_LINE_OCTETS);

// SAFETY: atomic cells and null pointers; all zero is version 0 in epoch 0 without a table, and no words shown.
#[allow(unsafe_code)]
unsafe impl Zeroable for Clock<'_> {}

/// A gateway whose two sides are borrowed from it.
///
/// # Examples
/// ```
/// use espial::{Capacity, Gateway, Mode, Modes};
///
/// let capacity = Capacity {
///     tunnels: 1, children: 2, selectors: 4, sas: 4, sas_dst: 0, sas_dst_src: 0, sas_allocated: 0, replay_window: 0, workers: 1,
/// };
/// let mut gateway = Gateway::new(&capacity, [0x5eed, 0x0f_2a]).unwrap();
/// let (control, mut workers) = gateway.split();
/// let tunnel = control.add_tunnel(Mode::StrictSa, Modes::NONE).unwrap();
/// assert!(workers.take().is_some());
/// # let _ = tunnel;
/// ```
pub struct Gateway<'m> {
    tables: Tables<'m>,
    control: Control<'m>,
    /// The memory that `tables` lie in. `control` keeps it as well: safe code may swap the
    /// `Control`s of two gateways, and each then keeps what it points to.
    #[cfg(feature = "alloc")]
    _region: Option<crate::storage::SharedRegion>,
}

impl<'m> Gateway<'m> {
    /// A gateway in the caller's memory of at least [`octets`].
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new_in(
        region: &'m mut [MaybeUninit<u8>],
        capacity: &Capacity,
        seed: [u64; 2],
    ) -> Result<Self, SetupError> {
        let (tables, control) = carve(region, capacity, seed)?;
        Ok(Self {
            tables,
            control,
            #[cfg(feature = "alloc")]
            _region: None,
        })
    }

    /// A gateway whose tunnels, Child SAs and selectors are those of an image, in the caller's memory of at least
    /// [`octets_over_image`]: flash, shared memory, a file mapping. Nothing of it is copied. SAs come and go as in
    /// any other gateway ([`Image::child_id`]); another image takes its place with [`Control::swap_image`].
    ///
    /// Of `capacity`, `tunnels` and `children` are the most that any of the images has; `selectors` is not read.
    ///
    /// # Errors
    /// [`SetupError`]; [`SetupError::Image`].
    pub fn over_image_in(
        region: &'m mut [MaybeUninit<u8>],
        capacity: &Capacity,
        seed: [u64; 2],
        image: &Image<'m>,
    ) -> Result<Self, SetupError> {
        let (tables, control) = carve_over(region, capacity, seed, image)?;
        Ok(Self {
            tables,
            control,
            #[cfg(feature = "alloc")]
            _region: None,
        })
    }

    /// The writer's side, and workers for as many threads as the capacity allows.
    ///
    /// Borrowing makes sure that there is one writer and that no two threads share a worker.
    pub fn split(&mut self) -> (&mut Control<'m>, Workers<'_>) {
        (&mut self.control, Workers { tables: &self.tables, next: 0 })
    }
}

#[cfg(feature = "alloc")]
impl Gateway<'static> {
    /// A gateway in memory of its own. Nothing is allocated after this.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(capacity: &Capacity, seed: [u64; 2]) -> Result<Self, SetupError> {
        #[allow(unsafe_code)]
        // SAFETY: slices carved from the region are in `tables`, which is lent for the gateway's own
        // lifetime and never mutably, beside `_region`; and in `control`, which holds the region too.
        let (region, memory) = unsafe { crate::storage::OwnedRegion::new(octets(capacity)?)? };
        let region = crate::storage::SharedRegion::new(region);
        let (tables, mut control) = carve(memory, capacity, seed)?;
        control.keep(region.clone());
        Ok(Self { tables, control, _region: Some(region) })
    }
}

/// Hands out each worker once.
pub struct Workers<'g> {
    tables: &'g Tables<'g>,
    next: u32,
}

impl<'g> Workers<'g> {
    /// The next worker, for one thread; `None` when all are taken.
    pub fn take(&mut self) -> Option<Worker<'g>> {
        self.next()
    }

    /// The next worker, which keeps no events: where there is no memory for those, or nobody to read them.
    pub fn take_quiet(&mut self) -> Option<Worker<'g, NoEvents>> {
        self.next()
    }

    #[allow(unsafe_code)]
    fn next<Q: Audit + Default>(&mut self) -> Option<Worker<'g, Q>> {
        let index = self.next;
        self.next = index.checked_add(1)?;
        // SAFETY: each index is handed out once by this dispenser, and `Gateway::split` makes only
        // one at a time.
        unsafe { Worker::attach(self.tables, index) }
    }
}
