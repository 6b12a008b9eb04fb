//! The caller's memory: every pointer that comes over the border is tested and used here, and
//! nowhere else.
//!
//! An exported function makes one [`Caller`] with [`call!`] and puts its pointers to that. Single
//! inputs are copied out, arrays and packet octets are borrowed for the call; outputs are written
//! through raw pointers, so that what lay there before need not be valid.
//!
//! Invariants:
//! - H1: what a [`Caller`] borrows does not outlive the call.
//! - H2: a gateway or worker is used only if its magic number stands; `init` writes that last and
//!   `release` takes it away first.
//! - H3: a [`Writer`] is borrowed only for calls of the class "one writer", a worker only for calls
//!   of its owner: the contract says that there is one of each at a time.
//! - H4: what lies in a gateway's memory, that which it grew into included, is used only until that
//!   gateway is released, and it is not released before its workers. So the lifetime written there
//!   may be `'static`.
//! - H5: a matcher is written by `init` only, but for its magic number, which is atomic; its words are
//!   the caller's to keep unchanged until its release. So any number of threads may borrow both, and the
//!   lifetime of the words may be `'static`.
//! - H6: an SPD is as a matcher is (H5), but that it also counts its workers, in an atomic; it is not
//!   released before them, so a worker's reference to it may be `'static`. An SPD worker is asked and
//!   released by its owner only (H3); what is read of its counts by others is atomic, and they are done
//!   before it is released.
#![allow(unsafe_code, reason = "this is the place for it")]
#![allow(non_camel_case_types, reason = "they are the names in C")]

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::marker::PhantomData;
use core::mem::{MaybeUninit, align_of, offset_of, size_of};
use core::ptr::{NonNull, copy_nonoverlapping};
use core::slice::{from_raw_parts, from_raw_parts_mut};
use core::sync::atomic::{AtomicU32, Ordering};

use espial::gateway::{Tables, carve, octets};
use espial::matcher::Matcher;
use espial::selector::TrafficSelector;
use espial::spd::{Count, Counts, Spd, SpdWorker};
use espial::{Capacity, Control, Worker};

use crate::status::Status;
use crate::types::*;

/// Runs the body of an exported function with a [`Caller`] and returns the status as a number.
macro_rules! call {
    (|$caller:ident| $body:block) => {{
        // SAFETY: the exported function is unsafe; its caller upholds ABI.md for every pointer.
        let $caller = unsafe { $crate::handle::Caller::new() };
        #[allow(clippy::redundant_closure_call, reason = "so that the body may use `?`")]
        let result = (|| -> Result<(), $crate::status::Status> { $body })();
        $crate::status::number(result)
    }};
}

/// Where a handle or a table must start: a cache line, so that threads do not disturb each other.
pub(crate) const ALIGNMENT: usize = 64;

/// Values that C may hand over.
///
/// # Safety
/// Any octets are a valid value.
pub unsafe trait Plain: Copy {}

/// A struct that starts with its own size.
///
/// # Safety
/// `repr(C)` with a first field `size: u32`.
pub unsafe trait Versioned: Plain {
    /// Octets of each of its published forms; the last is this library's.
    const SIZES: &[usize];
}

macro_rules! plain {
    ($($name:ty),* $(,)?) => {$(
        // SAFETY: integers, or `repr(C)` structs of integers and raw pointers (types.rs, I1).
        unsafe impl Plain for $name {}
    )*};
}
plain!(u8, u32, u64, usize, *const u8);
plain!(espial_tunnel, espial_child, espial_sa, espial_ts, espial_sa_key, espial_endpoints);
plain!(espial_outer, espial_inner, espial_packet, espial_class, espial_arrival, espial_opened);
plain!(espial_verdict, espial_ike, espial_frame, espial_selector);
plain!(espial_policy, espial_spd_answer, espial_disjoint);
plain!(espial_child_ts, espial_box, espial_overlap, espial_hidden, espial_supernet);

macro_rules! versioned {
    ($($name:ty: [$($size:literal),*]),* $(,)?) => {$(
        plain!($name);
        // SAFETY: the first field is `size: u32` (types.rs, I2).
        unsafe impl Versioned for $name {
            const SIZES: &[usize] = &[$($size),*];
        }
        const _: () = {
            let [.., newest] = *<$name as Versioned>::SIZES else { panic!() };
            assert!(offset_of!($name, size) == 0 && newest == size_of::<$name>());
            $(assert!(size_of::<u32>() <= $size && $size <= newest);)*
        };
    )*};
}
versioned! {
    espial_capacity: [32, 40],
    espial_sa_params: [48, 112],
    espial_sa_state: [32],
    espial_event: [248],
    espial_counts: [624],
}

/// The memory of the one who called, for the time of the call.
pub struct Caller<'c> {
    call: PhantomData<&'c ()>,
}

impl<'c> Caller<'c> {
    /// A view for the call at hand.
    ///
    /// # Safety
    /// Every pointer that is put to the result is NULL, or misaligned, or points to live memory of
    /// the size that goes with it, which nobody else writes during the call; a handle pointer
    /// points to memory that was zero or given to its `_init` or `_new` before; what a matcher or an SPD was
    /// made of stays as it is until that is released; and the thread class of the exported function is kept.
    pub unsafe fn new() -> Self {
        Self { call: PhantomData }
    }

    fn tested<T>(&self, at: *const T) -> Result<NonNull<T>, Status> {
        let at = NonNull::new(at.cast_mut()).ok_or(Status(ESPIAL_ENULL))?;
        if at.is_aligned() { Ok(at) } else { Err(Status(ESPIAL_EALIGN)) }
    }

    /// A copy of an input.
    pub fn read<T: Plain>(&self, at: *const T) -> Result<T, Status> {
        let at = self.tested(at)?;
        // SAFETY: not NULL, aligned, and live by the contract of `new`; any octets are a T.
        Ok(unsafe { at.read() })
    }

    /// A copy of an input that says how long it is; fields that it does not have are zero. It need
    /// only be aligned for its size: an older form may have had no larger field.
    pub fn read_versioned<T: Versioned>(&self, at: *const T) -> Result<T, Status> {
        let at = self.tested(at.cast::<u32>())?.cast::<T>();
        let size = self.size_field(at)?;
        let mut value = MaybeUninit::<T>::zeroed();
        // SAFETY: `size` octets are live by the contract of `new`, and at most those of a T.
        unsafe { copy_nonoverlapping(at.as_ptr().cast::<u8>(), value.as_mut_ptr().cast(), size) };
        // SAFETY: zeroed, then partly overwritten: any octets are a T.
        Ok(unsafe { value.assume_init() })
    }

    /// The size that a struct states, if this library knows it.
    fn size_field<T: Versioned>(&self, at: NonNull<T>) -> Result<usize, Status> {
        // SAFETY: a T starts with a u32, and at least that is live by the contract of `new`.
        let size = unsafe { at.cast::<u32>().read() } as usize;
        if T::SIZES.contains(&size) { Ok(size) } else { Err(Status(ESPIAL_ESIZE)) }
    }

    /// An array of inputs, in the caller's memory. (NULL, 0) is an empty one.
    pub fn slice<T: Plain>(&self, at: *const T, count: usize) -> Result<&'c [T], Status> {
        if count == 0 {
            return Ok(&[]);
        }
        let at = self.tested(at)?;
        if count > isize::MAX as usize / size_of::<T>() {
            return Err(Status(ESPIAL_ERANGE));
        }
        // SAFETY: not NULL, aligned, `count` live values by the contract of `new`; H1.
        Ok(unsafe { from_raw_parts(at.as_ptr(), count) })
    }

    /// Octets or words to be written. (NULL, 0) are none.
    pub fn slice_mut<T: Plain>(&self, at: *mut T, count: usize) -> Result<&'c mut [T], Status> {
        if count == 0 {
            return Ok(&mut []);
        }
        let at = self.tested(at)?;
        if count > isize::MAX as usize / size_of::<T>() {
            return Err(Status(ESPIAL_ERANGE));
        }
        // SAFETY: not NULL, aligned, `count` live values that nobody else uses by the contract of
        // `new`; H1.
        Ok(unsafe { from_raw_parts_mut(at.as_ptr(), count) })
    }

    /// Room for one output.
    pub fn out<T>(&self, at: *mut T) -> Result<Out<'c, T>, Status> {
        Ok(Out { at: self.tested(at)?, call: PhantomData })
    }

    /// Room for an array of outputs.
    pub fn outs<T: Plain>(&self, at: *mut T, count: usize) -> Result<Outs<'c, T>, Status> {
        if count == 0 {
            return Ok(Outs { next: NonNull::dangling(), stride: 0, left: 0, call: PhantomData });
        }
        let next = self.tested(at)?;
        Ok(Outs { next, stride: size_of::<T>(), left: count, call: PhantomData })
    }

    /// Room for an array of outputs whose first element says how long each is.
    pub fn outs_versioned<T: Versioned>(
        &self,
        at: *mut T,
        count: usize,
    ) -> Result<Outs<'c, T>, Status> {
        let mut outs = self.outs(at, count)?;
        if outs.left > 0 {
            outs.stride = self.size_field(outs.next)?;
        }
        Ok(outs)
    }

    /// The gateway behind a handle.
    pub fn gateway(
        &self,
        handle: *const espial_gateway,
    ) -> Result<&'static espial_gateway, Status> {
        let handle = self.tested(handle)?;
        if self.magic(handle, offset_of!(espial_gateway, magic)) != GATEWAY {
            return Err(Status(ESPIAL_EHANDLE));
        }
        // SAFETY: the magic number stands, so it was initialised and is not released (H2, H4).
        Ok(unsafe { handle.as_ref() })
    }

    /// The configuration side of the gateway behind a handle.
    pub fn writer(&self, handle: *mut espial_gateway) -> Result<&'c mut Writer, Status> {
        let gateway = self.gateway(handle)?;
        // SAFETY: the call is of the class "one writer", so nobody else borrows it (H3).
        Ok(unsafe { &mut *gateway.writer.get() })
    }

    /// The worker behind a handle.
    pub fn worker(&self, handle: *mut espial_worker) -> Result<&'c mut Worker<'static>, Status> {
        let mut handle = self.live_worker(handle)?;
        // SAFETY: the magic number stands (H2), and the caller is its owner (H3).
        let whole = unsafe { handle.as_mut() };
        Ok(&mut whole.worker)
    }

    fn live_worker(&self, handle: *const espial_worker) -> Result<NonNull<espial_worker>, Status> {
        let handle = self.tested(handle)?;
        match self.magic(handle, offset_of!(espial_worker, magic)) {
            WORKER => Ok(handle),
            _ => Err(Status(ESPIAL_EHANDLE)),
        }
    }

    /// The magic number in a handle's memory, whatever else that holds.
    fn magic<T>(&self, handle: NonNull<T>, offset: usize) -> u32 {
        // SAFETY: the offset of a field of T, which is live by the contract of `new`.
        let magic = unsafe { handle.byte_add(offset) }.cast::<AtomicU32>();
        // SAFETY: an integer in an atomic cell, which any octets are; aligned as T is.
        unsafe { magic.as_ref() }.load(Ordering::Acquire)
    }

    /// The caller's memory for a handle, if it is large enough.
    fn memory(&self, at: *mut c_void, len: usize, needed: usize) -> Result<NonNull<u8>, Status> {
        let at = self.tested(at.cast::<CacheLine>())?;
        if len < needed { Err(Status(ESPIAL_EROOM)) } else { Ok(at.cast()) }
    }

    /// Makes a gateway in `len` octets at `at`.
    pub fn init_gateway(
        &self,
        at: *mut c_void,
        len: usize,
        capacity: &Capacity,
        seed: [u64; 2],
        owned: bool,
    ) -> Result<*mut espial_gateway, Status> {
        let plan = Plan::of(capacity)?;
        let at = self.memory(at, len, plan.total)?;
        // SAFETY: the caller's `len >= total` octets, and `attached` is below `total`.
        let rest = unsafe { at.add(plan.attached) }.cast::<MaybeUninit<u8>>();
        // SAFETY: the octets up to `total`, which nobody else has; the library's until the release (H4).
        let rest = unsafe { from_raw_parts_mut(rest.as_ptr(), plan.total - plan.attached) };
        let (attached, rest) = split(rest, plan.scratch - plan.attached)?;
        let (scratch, region) = split(rest, plan.region - plan.scratch)?;
        let attached = lay(attached, plan.workers, || AtomicU32::new(0))?;
        let scratch = lay(scratch, plan.scratch_len, || crate::convert::ANY_V4)?;
        let (tables, control) = carve(region, capacity, seed)?;
        let handle = at.cast::<espial_gateway>();
        let whole = espial_gateway {
            magic: AtomicU32::new(0),
            owned: if owned { plan.total } else { 0 },
            tables,
            attached,
            writer: UnsafeCell::new(Writer {
                control,
                scratch,
                #[cfg(feature = "alloc")]
                grown: owned::Grown::default(),
            }),
        };
        // SAFETY: the plan starts with room for the handle, aligned.
        unsafe { handle.write(whole) };
        // SAFETY: just written.
        unsafe { handle.as_ref() }.magic.store(GATEWAY, Ordering::Release);
        Ok(handle.as_ptr())
    }

    /// Grows a gateway into `len` octets at `at`.
    pub fn grow_gateway(
        &self,
        handle: *mut espial_gateway,
        at: *mut c_void,
        len: usize,
        capacity: &Capacity,
    ) -> Result<(), Status> {
        let writer = self.writer(handle)?;
        let octets = writer.control.octets_to_grow(capacity)?;
        let at = self.memory(at, len, octets)?.cast::<MaybeUninit<u8>>();
        // SAFETY: the caller's `len >= octets` octets, which nobody else has; the library's until the
        // release (H4), or, if the call fails, no longer than that.
        let memory = unsafe { from_raw_parts_mut(at.as_ptr(), octets) };
        Ok(writer.control.grow_in(memory, capacity)?)
    }

    /// Takes a gateway out of use; `owned` must say where its memory came from. Returns the octets
    /// of memory that the library owns.
    pub fn release_gateway(
        &self,
        handle: *mut espial_gateway,
        owned: bool,
    ) -> Result<usize, Status> {
        let gateway = self.gateway(handle)?;
        if (gateway.owned != 0) != owned {
            return Err(Status(ESPIAL_EHANDLE));
        }
        if gateway.attached.iter().any(|cell| cell.load(Ordering::Acquire) != 0) {
            return Err(Status(ESPIAL_EATTACHED));
        }
        let octets = gateway.owned;
        gateway.magic.store(0, Ordering::Release);
        Ok(octets)
    }

    /// Makes worker `index` of a gateway in `len` octets at `at`.
    pub fn init_worker(
        &self,
        at: *mut c_void,
        len: usize,
        gateway: *mut espial_gateway,
        index: u32,
        owned: bool,
    ) -> Result<*mut espial_worker, Status> {
        let gateway = self.gateway(gateway)?;
        let at = self.memory(at, len, size_of::<espial_worker>())?;
        let attached = gateway.attached.get(index as usize).ok_or(Status(ESPIAL_ERANGE))?;
        if !take(attached) {
            return Err(Status(ESPIAL_EATTACHED));
        }
        // SAFETY: the index was free and is now taken, until `release_worker`.
        let worker = unsafe { Worker::attach(&gateway.tables, index) };
        let Some(worker) = worker else {
            attached.store(0, Ordering::Release);
            return Err(Status(ESPIAL_ERANGE));
        };
        let handle = at.cast::<espial_worker>();
        let whole = espial_worker { magic: AtomicU32::new(0), owned, attached, worker };
        // SAFETY: `len` octets, aligned, tested above.
        unsafe { handle.write(whole) };
        // SAFETY: just written.
        unsafe { handle.as_ref() }.magic.store(WORKER, Ordering::Release);
        Ok(handle.as_ptr())
    }

    /// Takes a worker out of use and frees its index; `owned` must say where its memory came from.
    pub fn release_worker(&self, handle: *mut espial_worker, owned: bool) -> Result<(), Status> {
        let handle = self.live_worker(handle)?;
        // SAFETY: the magic number stands (H2), and the caller is its owner (H3).
        let whole = unsafe { &mut *handle.as_ptr() };
        if whole.owned != owned {
            return Err(Status(ESPIAL_EHANDLE));
        }
        let attached = whole.attached;
        whole.worker.idle();
        whole.magic.store(0, Ordering::Release);
        attached.store(0, Ordering::Release);
        Ok(())
    }

    /// The matcher behind a handle.
    pub fn matcher(&self, handle: *const espial_matcher) -> Result<&'c espial_matcher, Status> {
        let handle = self.tested(handle)?;
        if self.magic(handle, offset_of!(espial_matcher, magic)) != MATCHER {
            return Err(Status(ESPIAL_EHANDLE));
        }
        // SAFETY: the magic number stands, so it was initialised and is not released (H2); nobody
        // writes it (H5).
        Ok(unsafe { handle.as_ref() })
    }

    /// Makes a matcher of `count` words in `len` octets at `at`. `owned` is how many octets the library
    /// allocated for it, or 0.
    pub fn init_matcher(
        &self,
        at: *mut c_void,
        len: usize,
        words: *const u64,
        count: usize,
        owned: usize,
    ) -> Result<*mut espial_matcher, Status> {
        let at = self.memory(at, len, MATCHER_OCTETS)?;
        let words = self.slice(words, count)?;
        // SAFETY: a live slice, and nobody writes it until the matcher is released (H5).
        let words: &'static [u64] = unsafe { from_raw_parts(words.as_ptr(), words.len()) };
        let matcher = Matcher::open(words).map_err(|_| Status(ESPIAL_EWORDS))?;
        // Those behind its end are not its own.
        let words = words.get(..matcher.octets().div_ceil(8)).unwrap_or(words);
        let handle = at.cast::<espial_matcher>();
        let whole = espial_matcher { magic: AtomicU32::new(0), owned, words, matcher };
        // SAFETY: `len` octets, aligned, tested above.
        unsafe { handle.write(whole) };
        // SAFETY: just written.
        unsafe { handle.as_ref() }.magic.store(MATCHER, Ordering::Release);
        Ok(handle.as_ptr())
    }

    /// Takes a matcher out of use; `owned` must say where its memory came from. Returns the octets of
    /// memory that the library owns.
    pub fn release_matcher(
        &self,
        handle: *const espial_matcher,
        owned: bool,
    ) -> Result<usize, Status> {
        let whole = self.matcher(handle)?;
        if (whole.owned != 0) != owned {
            return Err(Status(ESPIAL_EHANDLE));
        }
        whole.magic.store(0, Ordering::Release);
        Ok(whole.owned)
    }

    /// The SPD behind a handle.
    pub fn spd(&self, handle: *const espial_spd) -> Result<&'static espial_spd, Status> {
        let handle = self.tested(handle)?;
        if self.magic(handle, offset_of!(espial_spd, magic)) != SPD {
            return Err(Status(ESPIAL_EHANDLE));
        }
        // SAFETY: the magic number stands, so it was initialised and is not released (H2); nobody
        // writes it but for its atomics, and its workers are gone before it is (H6).
        Ok(unsafe { handle.as_ref() })
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
        let at = self.memory(at, len, SPD_OCTETS)?;
        let words = self.slice(words, count)?;
        // SAFETY: a live slice, and nobody writes it until the SPD is released (H6).
        let words: &'static [u64] = unsafe { from_raw_parts(words.as_ptr(), words.len()) };
        let spd = Spd::open(words).map_err(|_| Status(ESPIAL_EWORDS))?;
        // Those behind its end are not its own.
        let words = words.get(..spd.octets().div_ceil(8)).unwrap_or(words);
        let handle = at.cast::<espial_spd>();
        let (magic, attached) = (AtomicU32::new(0), AtomicU32::new(0));
        let whole = espial_spd { magic, attached, owned, words, spd };
        // SAFETY: `len` octets, aligned, tested above.
        unsafe { handle.write(whole) };
        // SAFETY: just written.
        unsafe { handle.as_ref() }.magic.store(SPD, Ordering::Release);
        Ok(handle.as_ptr())
    }

    /// Takes an SPD out of use; `owned` must say where its memory came from. Returns the octets of
    /// memory that the library owns.
    pub fn release_spd(&self, handle: *const espial_spd, owned: bool) -> Result<usize, Status> {
        let whole = self.spd(handle)?;
        if (whole.owned != 0) != owned {
            return Err(Status(ESPIAL_EHANDLE));
        }
        if whole.attached.load(Ordering::Acquire) != 0 {
            return Err(Status(ESPIAL_EATTACHED));
        }
        let octets = whole.owned;
        whole.magic.store(0, Ordering::Release);
        Ok(octets)
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
        let spd = self.spd(spd)?;
        let octets = spd.worker_octets()?;
        let at = self.memory(at, len, octets)?;
        // SAFETY: the caller's `len >= octets` octets start with room for the handle.
        let row = unsafe { at.add(SPD_WORKER_OCTETS) }.cast::<MaybeUninit<u8>>();
        let left = octets.saturating_sub(SPD_WORKER_OCTETS);
        // SAFETY: the octets behind the handle, which nobody else has; the library's until the release
        // (H6).
        let row = unsafe { from_raw_parts_mut(row.as_ptr(), left) };
        let cells = lay(row, spd.spd.cells(), Count::new)?;
        let made = spd.spd.with_counts(cells);
        let (worker, counts) = made.map_err(|_| Status(ESPIAL_ERANGE))?;
        let handle = at.cast::<espial_spd_worker>();
        let (magic, worker) = (AtomicU32::new(0), UnsafeCell::new(worker));
        let whole = espial_spd_worker { magic, owned, from: spd, worker, counts };
        // SAFETY: `len` octets, aligned, tested above.
        unsafe { handle.write(whole) };
        count(&spd.attached, 1);
        // SAFETY: just written.
        unsafe { handle.as_ref() }.magic.store(SPD_WORKER, Ordering::Release);
        Ok(handle.as_ptr())
    }

    fn live_spd_worker(
        &self,
        handle: *const espial_spd_worker,
    ) -> Result<&'c espial_spd_worker, Status> {
        let handle = self.tested(handle)?;
        if self.magic(handle, offset_of!(espial_spd_worker, magic)) != SPD_WORKER {
            return Err(Status(ESPIAL_EHANDLE));
        }
        // SAFETY: the magic number stands, so it was initialised and is not released (H2); what changes
        // in it lies in atomics and in a cell (H6).
        Ok(unsafe { handle.as_ref() })
    }

    /// The SPD worker behind a handle.
    pub fn spd_worker(
        &self,
        handle: *mut espial_spd_worker,
    ) -> Result<&'c mut SpdWorker<'static, 'static>, Status> {
        let whole = self.live_spd_worker(handle)?;
        // SAFETY: the caller is its owner, so nobody else borrows what is in the cell (H3, H6).
        Ok(unsafe { &mut *whole.worker.get() })
    }

    /// The counts of the SPD worker behind a handle.
    pub fn spd_counts(
        &self,
        handle: *const espial_spd_worker,
    ) -> Result<Counts<'static, 'static>, Status> {
        Ok(self.live_spd_worker(handle)?.counts)
    }

    /// Takes an SPD worker out of use; `owned` must say where its memory came from. Returns the octets of
    /// memory that the library owns.
    pub fn release_spd_worker(
        &self,
        handle: *const espial_spd_worker,
        owned: bool,
    ) -> Result<usize, Status> {
        let whole = self.live_spd_worker(handle)?;
        if (whole.owned != 0) != owned {
            return Err(Status(ESPIAL_EHANDLE));
        }
        let (octets, from) = (whole.owned, whole.from);
        whole.magic.store(0, Ordering::Release);
        count(&from.attached, u32::MAX);
        Ok(octets)
    }

    /// A stream's state in the caller's memory, whatever it holds.
    pub fn stream_slot<T: StreamState>(
        &self,
        at: *mut espial_stream,
    ) -> Result<NonNull<T>, Status> {
        const {
            assert!(size_of::<T>() <= size_of::<espial_stream>());
            assert!(align_of::<T>() <= align_of::<espial_stream>());
        };
        Ok(self.tested(at)?.cast())
    }

    /// Writes a stream's state.
    pub fn stream_init<T: StreamState>(
        &self,
        at: *mut espial_stream,
        state: T,
    ) -> Result<(), Status> {
        let slot = self.stream_slot::<T>(at)?;
        // SAFETY: not NULL, aligned, room for a T (assertions above), live by the contract of `new`.
        unsafe { slot.write(state) };
        Ok(())
    }

    /// A stream's state, if there is one.
    pub fn stream<T: StreamState>(&self, at: *mut espial_stream) -> Result<&'c mut T, Status> {
        let mut slot = self.stream_slot::<T>(at)?;
        // SAFETY: every T starts with a u64 (contract of `StreamState`).
        if unsafe { slot.cast::<u64>().read() } != T::MAGIC {
            return Err(Status(ESPIAL_EHANDLE));
        }
        // SAFETY: the magic number stands, so `stream_init` wrote it; the caller is its owner (H3).
        Ok(unsafe { slot.as_mut() })
    }
}

/// State that lives in an `espial_stream`.
///
/// # Safety
/// `repr(C)`, the first field is a `u64` that always is `MAGIC`, and it needs no drop.
pub unsafe trait StreamState {
    /// What tells it from other memory.
    const MAGIC: u64;
}

/// The first `octets` of a piece of memory, and the others.
fn split(memory: Memory, octets: usize) -> Result<(Memory, Memory), Status> {
    memory.split_at_mut_checked(octets).ok_or(Status(ESPIAL_EROOM))
}

/// `count` values at the first aligned place of a piece of memory.
fn lay<T>(memory: Memory, count: usize, value: impl Fn() -> T) -> Result<&'static mut [T], Status> {
    // SAFETY: any octets are a `MaybeUninit`.
    let (_, slots, _) = unsafe { memory.align_to_mut::<MaybeUninit<T>>() };
    let slots = slots.get_mut(..count).ok_or(Status(ESPIAL_EROOM))?;
    for slot in slots.iter_mut() {
        slot.write(value());
    }
    // SAFETY: all just written, and a `MaybeUninit<T>` has the layout of a T.
    Ok(unsafe { &mut *(core::ptr::from_mut(slots) as *mut [T]) })
}

/// Memory of a gateway (H4).
type Memory = &'static mut [MaybeUninit<u8>];

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

/// Room for one output, written at the end of a call that succeeds.
pub struct Out<'c, T> {
    at: NonNull<T>,
    call: PhantomData<&'c mut T>,
}

impl<T> Out<'_, T> {
    /// Writes it.
    pub fn set(self, value: T) {
        // SAFETY: not NULL and aligned (`Caller::out`), live by the contract of `Caller::new`.
        unsafe { self.at.write(value) };
    }
}

impl<T: Versioned> Out<'_, T> {
    /// The size that the caller's struct states, if this library knows it.
    pub fn size(&self, caller: &Caller<'_>) -> Result<usize, Status> {
        caller.size_field(self.at)
    }

    /// Writes its first `size` octets, where `size` came from [`Out::size`].
    pub fn set_versioned(self, size: usize, value: &T) {
        let from = core::ptr::from_ref(value).cast::<u8>();
        let size = size.min(size_of::<T>());
        // SAFETY: `size` octets are the caller's by its own word (`size_field`), and in a T.
        unsafe { copy_nonoverlapping(from, self.at.as_ptr().cast(), size) };
    }
}

/// Room for an array of outputs, written front to back.
pub struct Outs<'c, T> {
    next: NonNull<T>,
    stride: usize,
    left: usize,
    call: PhantomData<&'c mut T>,
}

impl<T: Plain> Outs<'_, T> {
    /// Octets of an element as the caller knows it.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Elements that there is room for.
    pub fn left(&self) -> usize {
        self.left
    }

    /// Writes the next element, if there is room.
    pub fn push(&mut self, value: &T) {
        let Some(left) = self.left.checked_sub(1) else { return };
        let from = core::ptr::from_ref(value).cast::<u8>();
        let to = self.next.cast::<u8>();
        let octets = self.stride.min(size_of::<T>());
        // SAFETY: `left` elements of `stride` octets are the caller's (`Caller::outs`, contract of
        // `Caller::new`), and `octets` are in a T.
        unsafe { copy_nonoverlapping(from, to.as_ptr(), octets) };
        self.left = left;
        if left > 0 {
            // SAFETY: another element follows in the caller's array.
            self.next = unsafe { to.add(self.stride) }.cast();
        }
    }
}

#[repr(align(64))]
struct CacheLine;
const _: () = assert!(align_of::<CacheLine>() == ALIGNMENT);

const GATEWAY: u32 = 0x6573_7047;
const WORKER: u32 = 0x6573_7057;
const MATCHER: u32 = 0x6573_704d;
const SPD: u32 = 0x6573_7053;
const SPD_WORKER: u32 = 0x6573_7043;

/// The configuration side.
pub struct Writer {
    /// The core's writer.
    pub control: Control<'static>,
    /// Room for the selectors of one Child SA: local ones in the first half, remote in the second.
    pub scratch: &'static mut [TrafficSelector],
    /// Memory that `espial_gateway_grow_alloc` added.
    #[cfg(feature = "alloc")]
    grown: owned::Grown,
}

/// A gateway: every table, in one piece of memory. Opaque.
#[repr(align(64))]
pub struct espial_gateway {
    magic: AtomicU32,
    /// Octets that `_new` allocated, or 0.
    owned: usize,
    tables: Tables<'static>,
    attached: &'static [AtomicU32],
    writer: UnsafeCell<Writer>,
}

/// One thread's packet path. Opaque.
#[repr(align(64))]
pub struct espial_worker {
    magic: AtomicU32,
    owned: bool,
    attached: &'static AtomicU32,
    worker: Worker<'static>,
}

/// A list of selectors, compiled. Opaque.
#[repr(align(64))]
pub struct espial_matcher {
    magic: AtomicU32,
    /// Octets that `_new` allocated, or 0.
    owned: usize,
    /// What it was made of.
    pub(crate) words: &'static [u64],
    /// The core's matcher.
    pub(crate) matcher: Matcher<'static>,
}

/// A list of policies of one direction, compiled. Opaque.
#[repr(align(64))]
pub struct espial_spd {
    magic: AtomicU32,
    /// Its workers.
    attached: AtomicU32,
    /// Octets that `_new` allocated, or 0.
    owned: usize,
    /// What it was made of.
    pub(crate) words: &'static [u64],
    /// The core's SPD.
    pub(crate) spd: Spd<'static>,
}

impl espial_spd {
    /// Octets of a worker of it with its row of counts, so that the next one starts on a cache line.
    pub fn worker_octets(&self) -> Result<usize, Status> {
        let row = self.spd.cells().checked_mul(size_of::<Count>());
        let all = row.and_then(|row| row.checked_add(SPD_WORKER_OCTETS));
        let all = all.and_then(|all| all.checked_next_multiple_of(ALIGNMENT));
        all.filter(|all| *all <= isize::MAX as usize).ok_or(Status(ESPIAL_ERANGE))
    }
}

/// One thread's way to ask an SPD and to count, its row of counts behind it. Opaque.
#[repr(align(64))]
pub struct espial_spd_worker {
    magic: AtomicU32,
    /// Octets that `_new` allocated, or 0.
    owned: usize,
    from: &'static espial_spd,
    worker: UnsafeCell<SpdWorker<'static, 'static>>,
    counts: Counts<'static, 'static>,
}

const _: () = {
    const fn shared<T: Sync>() {}
    const fn moved<T: Send>() {}
    shared::<espial_spd>();
    shared::<Counts<'static, 'static>>();
    moved::<SpdWorker<'static, 'static>>();
    shared::<Tables<'static>>();
    shared::<espial_matcher>();
    moved::<Writer>();
    moved::<Worker<'static>>();
};

/// Octets of a worker.
pub const WORKER_OCTETS: usize = size_of::<espial_worker>();

/// Octets of a matcher's handle.
pub const MATCHER_OCTETS: usize = size_of::<espial_matcher>();

/// Octets of an SPD's handle.
pub const SPD_OCTETS: usize = size_of::<espial_spd>();

/// Octets of an SPD worker's handle, without its row.
const SPD_WORKER_OCTETS: usize = size_of::<espial_spd_worker>();

/// Where what lies in a gateway's memory.
pub struct Plan {
    attached: usize,
    workers: usize,
    scratch: usize,
    scratch_len: usize,
    region: usize,
    /// Octets of all.
    pub total: usize,
}

impl Plan {
    /// The plan for a capacity.
    pub fn of(capacity: &Capacity) -> Result<Self, Status> {
        let too_large = || Status(ESPIAL_ERANGE);
        let after = |start: usize, count: usize, each: usize| {
            let end = count.checked_mul(each).and_then(|octets| start.checked_add(octets));
            end.and_then(|end| end.checked_next_multiple_of(ALIGNMENT)).ok_or_else(too_large)
        };
        let region_len = octets(capacity)?;
        let workers = usize::try_from(capacity.workers).map_err(|_| too_large())?;
        let side = usize::try_from(capacity.selectors).unwrap_or(ESPIAL_TS_MAX).min(ESPIAL_TS_MAX);
        let scratch_len = side * 2;
        let attached = after(0, 1, size_of::<espial_gateway>())?;
        let scratch = after(attached, workers, size_of::<AtomicU32>())?;
        let region = after(scratch, scratch_len, size_of::<TrafficSelector>())?;
        let total = after(region, 1, region_len)?;
        if total > isize::MAX as usize {
            return Err(too_large());
        }
        Ok(Self { attached, workers, scratch, scratch_len, region, total })
    }
}

#[cfg(feature = "alloc")]
mod owned {
    //! Memory of the library's own.
    use core::alloc::Layout;
    use core::mem::size_of;
    use core::ptr::{NonNull, null_mut};
    use core::sync::atomic::{AtomicPtr, Ordering};

    use super::{ALIGNMENT, Status};
    use crate::types::{ESPIAL_ENOMEM, ESPIAL_ERANGE};

    fn layout(octets: usize) -> Result<Layout, Status> {
        Layout::from_size_align(octets.max(1), ALIGNMENT).map_err(|_| Status(ESPIAL_ERANGE))
    }

    /// Memory for a handle.
    pub fn allocate(octets: usize) -> Result<*mut u8, Status> {
        let layout = layout(octets)?;
        // SAFETY: not of size 0.
        let memory = unsafe { std::alloc::alloc(layout) };
        if memory.is_null() { Err(Status(ESPIAL_ENOMEM)) } else { Ok(memory) }
    }

    /// Gives it back.
    ///
    /// # Safety
    /// It came from [`allocate`] with the same number and is used no more.
    pub unsafe fn free(memory: *mut u8, octets: usize) {
        if let Ok(layout) = layout(octets) {
            // SAFETY: the caller's contract.
            unsafe { std::alloc::dealloc(memory, layout) };
        }
    }

    /// Pieces of memory that a gateway grew into, newest first. Touched by the one writer only.
    #[derive(Default)]
    pub struct Grown(AtomicPtr<Piece>);

    /// What stands at the start of a piece.
    struct Piece {
        next: *mut Piece,
        /// Octets of all of it.
        octets: usize,
    }

    const _: () = assert!(size_of::<Piece>() <= ALIGNMENT);

    /// A piece that no gateway keeps yet.
    pub struct NewPiece {
        at: NonNull<u8>,
        octets: usize,
    }

    impl NewPiece {
        /// Allocates a piece with room for `len` octets.
        pub fn new(len: usize) -> Result<Self, Status> {
            let octets = len.checked_add(ALIGNMENT).ok_or(Status(ESPIAL_ERANGE))?;
            let at = NonNull::new(allocate(octets)?).ok_or(Status(ESPIAL_ENOMEM))?;
            Ok(Self { at, octets })
        }

        /// Its `len` octets, aligned.
        pub fn room(&self) -> *mut u8 {
            // SAFETY: `ALIGNMENT` octets stand in front of the room.
            unsafe { self.at.add(ALIGNMENT) }.as_ptr()
        }

        /// Gives it back.
        pub fn free(self) {
            // SAFETY: came from `allocate` with so many octets, and nobody keeps it.
            unsafe { free(self.at.as_ptr(), self.octets) };
        }
    }

    impl Grown {
        /// Keeps a piece.
        pub fn keep(&mut self, piece: NewPiece) {
            let at = piece.at.cast::<Piece>();
            let next = *self.0.get_mut();
            // SAFETY: a piece starts with room for this, aligned.
            unsafe { at.write(Piece { next, octets: piece.octets }) };
            self.0.store(at.as_ptr(), Ordering::Relaxed);
        }

        /// The pieces, to be freed.
        pub fn take(&mut self) -> impl Iterator<Item = NewPiece> + use<> {
            let mut next = core::mem::replace(self.0.get_mut(), null_mut());
            core::iter::from_fn(move || {
                let at = NonNull::new(next)?;
                // SAFETY: `keep` wrote it, and it is freed after this.
                let piece = unsafe { at.read() };
                next = piece.next;
                Some(NewPiece { at: at.cast(), octets: piece.octets })
            })
        }
    }
}

#[cfg(feature = "alloc")]
impl Caller<'_> {
    /// A gateway in memory of its own.
    pub fn new_gateway(
        &self,
        capacity: &Capacity,
        seed: [u64; 2],
    ) -> Result<*mut espial_gateway, Status> {
        let octets = Plan::of(capacity)?.total;
        let memory = owned::allocate(octets)?;
        self.init_gateway(memory.cast(), octets, capacity, seed, true).inspect_err(|_| {
            // SAFETY: just allocated; `init_gateway` failed and keeps nothing.
            unsafe { owned::free(memory, octets) };
        })
    }

    /// Grows a gateway of [`Caller::new_gateway`] into memory of its own.
    pub fn grow_gateway_alloc(
        &self,
        handle: *mut espial_gateway,
        capacity: &Capacity,
    ) -> Result<(), Status> {
        if self.gateway(handle)?.owned == 0 {
            return Err(Status(ESPIAL_EHANDLE));
        }
        let octets = self.writer(handle)?.control.octets_to_grow(capacity)?;
        let piece = owned::NewPiece::new(octets)?;
        match self.grow_gateway(handle, piece.room().cast(), octets, capacity) {
            Ok(()) => self.writer(handle)?.grown.keep(piece),
            Err(status) => {
                piece.free();
                return Err(status);
            }
        }
        Ok(())
    }

    /// Releases a gateway of [`Caller::new_gateway`] and its memory.
    pub fn free_gateway(&self, handle: *mut espial_gateway) -> Result<(), Status> {
        let writer = self.writer(handle)?;
        let octets = self.release_gateway(handle, true)?;
        writer.grown.take().for_each(owned::NewPiece::free);
        // SAFETY: the gateway says that it was allocated with so many octets, and is released.
        unsafe { owned::free(handle.cast(), octets) };
        Ok(())
    }

    /// A worker in memory of its own.
    pub fn new_worker(
        &self,
        gateway: *mut espial_gateway,
        index: u32,
    ) -> Result<*mut espial_worker, Status> {
        self.gateway(gateway)?;
        let memory = owned::allocate(WORKER_OCTETS)?;
        self.init_worker(memory.cast(), WORKER_OCTETS, gateway, index, true).inspect_err(|_| {
            // SAFETY: just allocated; `init_worker` failed and keeps nothing.
            unsafe { owned::free(memory, WORKER_OCTETS) };
        })
    }

    /// Releases a worker of [`Caller::new_worker`] and its memory.
    pub fn free_worker(&self, handle: *mut espial_worker) -> Result<(), Status> {
        self.release_worker(handle, true)?;
        // SAFETY: the worker says that it was allocated, and is released.
        unsafe { owned::free(handle.cast(), WORKER_OCTETS) };
        Ok(())
    }

    /// A handle of `octets` in memory of its own, with a copy of its words behind it. `init` makes it of
    /// the memory, the copy and the octets of both.
    fn with_words<T>(
        octets: usize,
        words: &[u64],
        init: impl FnOnce(*mut c_void, *const u64, usize) -> Result<*mut T, Status>,
    ) -> Result<*mut T, Status> {
        let all = size_of_val(words).checked_add(octets).ok_or(Status(ESPIAL_ERANGE))?;
        let memory = owned::allocate(all)?;
        // SAFETY: the handle stands in front of the words, and its size is a multiple of theirs.
        let copy = unsafe { memory.add(octets) }.cast::<u64>();
        // SAFETY: room for so many words was just allocated.
        unsafe { copy_nonoverlapping(words.as_ptr(), copy, words.len()) };
        init(memory.cast(), copy, all).inspect_err(|_| {
            // SAFETY: just allocated; `init` failed and keeps nothing.
            unsafe { owned::free(memory, all) };
        })
    }

    /// A matcher in memory of its own, with a copy of its words behind it.
    pub fn new_matcher(&self, words: &[u64]) -> Result<*mut espial_matcher, Status> {
        Self::with_words(MATCHER_OCTETS, words, |memory, copy, all| {
            self.init_matcher(memory, MATCHER_OCTETS, copy, words.len(), all)
        })
    }

    /// Releases a matcher of [`Caller::new_matcher`] and its memory.
    pub fn free_matcher(&self, handle: *mut espial_matcher) -> Result<(), Status> {
        let octets = self.release_matcher(handle, true)?;
        // SAFETY: the matcher says that it was allocated with so many octets, and is released.
        unsafe { owned::free(handle.cast(), octets) };
        Ok(())
    }

    /// An SPD in memory of its own, with a copy of its words behind it.
    pub fn new_spd(&self, words: &[u64]) -> Result<*mut espial_spd, Status> {
        Self::with_words(SPD_OCTETS, words, |memory, copy, all| {
            self.init_spd(memory, SPD_OCTETS, copy, words.len(), all)
        })
    }

    /// Releases an SPD of [`Caller::new_spd`] and its memory.
    pub fn free_spd(&self, handle: *mut espial_spd) -> Result<(), Status> {
        let octets = self.release_spd(handle, true)?;
        // SAFETY: the SPD says that it was allocated with so many octets, and is released.
        unsafe { owned::free(handle.cast(), octets) };
        Ok(())
    }

    /// An SPD worker in memory of its own.
    pub fn new_spd_worker(&self, spd: *const espial_spd) -> Result<*mut espial_spd_worker, Status> {
        let octets = self.spd(spd)?.worker_octets()?;
        let memory = owned::allocate(octets)?;
        self.init_spd_worker(memory.cast(), octets, spd, octets).inspect_err(|_| {
            // SAFETY: just allocated; `init_spd_worker` failed and keeps nothing.
            unsafe { owned::free(memory, octets) };
        })
    }

    /// Releases an SPD worker of [`Caller::new_spd_worker`] and its memory.
    pub fn free_spd_worker(&self, handle: *mut espial_spd_worker) -> Result<(), Status> {
        let octets = self.release_spd_worker(handle, true)?;
        // SAFETY: the worker says that it was allocated with so many octets, and is released.
        unsafe { owned::free(handle.cast(), octets) };
        Ok(())
    }
}
