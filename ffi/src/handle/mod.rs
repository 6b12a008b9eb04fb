//! The caller's memory: every pointer that comes over the border is tested and used here, and
//! nowhere else.
//!
//! An exported function makes one [`Caller`] with [`call!`] and puts its pointers to that. Single
//! inputs are copied out or, as arrays and packet octets, borrowed for the call; outputs are written
//! through raw pointers, so that what lay there before need not be valid (`values`). Handles are told
//! from each other here; each kind has a file of its own.
//!
//! Invariants:
//! - H1: what a [`Caller`] borrows does not outlive the call.
//! - H2: a handle is used only if its magic number stands, which is one of its kind and the first that
//!   lies in every kind of handle: of memory that is no such handle nothing else is read. `init` writes it
//!   last, and the release takes it away first.
//! - H3: a gateway's `Writer` is borrowed only for calls of the class "one writer", a worker only for calls
//!   of its owner: the contract says that there is one of each at a time.
//! - H4: what lies in a gateway's memory, that which it grew into included, is used only until that
//!   gateway is released, and it is not released before its workers. So the lifetime written there
//!   may be `'static`.
//! - H5: a matcher is written by `init` only, but for its magic number, which is atomic; its words are
//!   the caller's to keep unchanged until its release. So any number of threads may borrow both, and the
//!   lifetime of the words may be `'static`. A firewall's rules are the same.
//! - H6: an SPD and local-in policy are as a matcher is (H5), but that they also count their workers, in an
//!   atomic; they are not released before them, so a worker's reference to its list may be `'static`. Such a
//!   worker is asked and released by its owner only (H3); what is read of its counts by others is atomic, and
//!   they are done before it is released.
//! - H7: sessions and other tables of one thread are borrowed only for calls of their owner, of which there is one
//!   at a time (H3). What they use lies behind their handle until its release, so the lifetime written there may
//!   be `'static`.
//! - H8: an image is the caller's to keep unchanged for as long as a gateway uses it; so its lifetime may be
//!   `'static`. One that is only checked is used for the call.
#![allow(unsafe_code, reason = "this is the place for it")]
#![allow(non_camel_case_types, reason = "they are the names in C")]

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

/// [`call!`] of a first look that ends in `None` where anything is not as it is with nearly all packets: then another function
/// with the same arguments, which stay where they are, does it all anew and says what was wrong.
macro_rules! look {
    (|$caller:ident| $body:expr, else $further:ident($($argument:ident),*)) => {{
        // SAFETY: the exported function is unsafe; its caller upholds ABI.md for every pointer.
        let $caller = unsafe { $crate::handle::Caller::new() };
        #[allow(clippy::redundant_closure_call, reason = "so that the body may use `?`")]
        let done = (|| -> Option<_> { $body })();
        match done {
            Some(answer) => answer,
            // SAFETY: it has the same contract, and nothing was done yet.
            None => unsafe { $further($($argument),*) },
        }
    }};
}

/// States what a type is as a handle, and that it starts as one: `handle!(name = magic number { methods })`.
macro_rules! handle {
    ($name:ident = $magic:literal { $($methods:tt)* }) => {
        const _: () = {
            assert!(core::mem::offset_of!($name, head.magic) == 0);
            assert!(align_of::<$name>() == $crate::handle::ALIGNMENT);
        };
        // SAFETY: the layout is asserted, `repr` stands at the type, and so does what lies in atomics and
        // cells; that the number is its own is asserted below.
        unsafe impl $crate::handle::Handle for $name {
            const MAGIC: u32 = $magic;
            fn head(&self) -> &$crate::handle::Head {
                &self.head
            }
            $($methods)*
        }
    };
}

mod counted;
mod gateway;
mod local_in;
mod matcher;
#[cfg(feature = "alloc")]
mod owned;
mod passthrough;
mod reply_path;
mod sessions;
mod spd;
mod state;
mod values;
mod worker;

use core::ffi::c_void;
use core::marker::PhantomData;
use core::mem::{MaybeUninit, align_of, size_of};
use core::ptr::NonNull;
use core::slice::from_raw_parts_mut;
use core::sync::atomic::{AtomicU32, Ordering};

pub use gateway::{Plan, espial_gateway};
pub use local_in::{LOCAL_IN_OCTETS, espial_local_in, espial_local_in_worker};
pub use matcher::{MATCHER_OCTETS, espial_matcher};
pub use passthrough::{
    RULES_OCTETS, espial_passthrough, espial_passthrough_rules, passthrough_octets,
};
pub use reply_path::{Replies, espial_reply_path, reply_path_octets};
pub use sessions::{espial_sessions, sessions_octets};
pub use spd::{SPD_OCTETS, espial_spd, espial_spd_worker};
pub use state::State;
pub use values::Out;
pub use worker::{QUIET_WORKER_OCTETS, WORKER_OCTETS, espial_worker};

use crate::status::Status;
use crate::types::*;

/// Where a handle or a table must start: a cache line, so that threads do not disturb each other.
pub(crate) const ALIGNMENT: usize = 64;

#[repr(align(64))]
struct CacheLine;
const _: () = assert!(align_of::<CacheLine>() == ALIGNMENT);

/// What every kind of handle starts with.
#[repr(C)]
pub struct Head {
    /// Of the kind while the handle is in use, else another number: 0 where it was released (H2).
    magic: AtomicU32,
    /// Octets that `_new` allocated, or 0: the memory is the caller's.
    owned: usize,
}

impl Head {
    /// Of a handle that is not in use yet; `owned` octets are the library's.
    fn new(owned: usize) -> Self {
        Self { magic: AtomicU32::new(0), owned }
    }
}

/// What lies behind a handle.
///
/// # Safety
/// `repr(C, align(64))`, and the first field is a [`Head`]. No other kind has its magic number. What changes in
/// it lies in atomics and in cells.
pub unsafe trait Handle: Sized + 'static {
    /// The number by which this kind is known.
    const MAGIC: u32;

    /// Its first field.
    fn head(&self) -> &Head;

    /// Whether it may not be released yet.
    fn has_workers(&self) -> bool {
        false
    }

    /// What goes with its release.
    ///
    /// # Safety
    /// It is called once, by the writer or the owner, and the handle is not used again.
    unsafe fn end(&self) {}
}

/// One kind is not taken for another.
const _: () = {
    let mut rest: &[u32] = &[
        0,
        espial_gateway::MAGIC,
        espial_worker::MAGIC,
        espial_matcher::MAGIC,
        espial_spd::MAGIC,
        espial_spd_worker::MAGIC,
        espial_local_in::MAGIC,
        espial_local_in_worker::MAGIC,
        espial_sessions::MAGIC,
        espial_passthrough_rules::MAGIC,
        espial_passthrough::MAGIC,
        espial_reply_path::MAGIC,
    ];
    while let [one, others @ ..] = rest {
        rest = others;
        let mut others = others;
        while let [other, after @ ..] = others {
            assert!(*one != *other);
            others = after;
        }
    }
};

/// The memory of the one who called, for the time of the call.
pub struct Caller<'c> {
    call: PhantomData<&'c ()>,
}

impl Caller<'_> {
    /// A view for the call at hand.
    ///
    /// # Safety
    /// Every pointer that is put to the result is NULL, or misaligned, or points to live memory of
    /// the size that goes with it, which nobody else writes during the call; a handle pointer
    /// points to memory that was zero or given to an `_init` or `_new` before; what a matcher or an SPD was
    /// made of stays as it is until that is released; and the thread class of the exported function is kept.
    pub unsafe fn new() -> Self {
        Self { call: PhantomData }
    }

    // Two calls that say why: of numbers compilers would make one expression, which every call would pay for.
    #[inline(always)]
    fn tested<T>(&self, at: *const T) -> Result<NonNull<T>, Status> {
        let Some(at) = NonNull::new(at.cast_mut()) else { return Err(is_null()) };
        if at.is_aligned() { Ok(at) } else { Err(is_misaligned()) }
    }

    /// What is behind a handle, if that is one of this kind. It is there until its release (H4 to H7).
    fn live<T: Handle>(&self, handle: *const T) -> Result<&'static T, Status> {
        self.found(handle)
    }

    /// [`Caller::live`], for calls of the packet path.
    #[inline(always)]
    fn found<T: Handle>(&self, handle: *const T) -> Result<&'static T, Status> {
        let handle = self.tested(handle)?;
        if self.magic(handle.cast()) != T::MAGIC {
            return Err(Status(ESPIAL_EHANDLE));
        }
        // SAFETY: the magic number stands, so `Slot::fill` wrote it and it is not released (H2); what changes
        // in it lies in atomics and in cells (contract of `Handle`).
        Ok(unsafe { handle.as_ref() })
    }

    /// The magic number in a handle's memory, whatever kind of handle that is: the first 4 octets.
    #[inline(always)]
    fn magic(&self, handle: NonNull<AtomicU32>) -> u32 {
        // SAFETY: an integer in an atomic cell, which any octets are; live by the contract of `new`, and
        // aligned better than that.
        unsafe { handle.as_ref() }.load(Ordering::Acquire)
    }

    /// The caller's memory, if it is aligned for a handle and large enough.
    fn memory(&self, at: *mut c_void, len: usize, needed: usize) -> Result<NonNull<u8>, Status> {
        let at = self.tested(at.cast::<CacheLine>())?;
        if len < needed { Err(Status(ESPIAL_EROOM)) } else { Ok(at.cast()) }
    }

    /// The place of a handle in the caller's memory, and what follows behind it: of `needed` octets in all.
    fn room<T: Handle>(
        &self,
        at: *mut c_void,
        len: usize,
        needed: usize,
    ) -> Result<(Slot<T>, Memory), Status> {
        let at = self.memory(at, len, needed)?;
        let behind = needed.checked_sub(size_of::<T>()).ok_or(Status(ESPIAL_EROOM))?;
        // SAFETY: the caller's `len >= needed` octets start with room for the handle.
        let next = unsafe { at.add(size_of::<T>()) }.cast::<MaybeUninit<u8>>();
        // SAFETY: the octets up to `needed`, which nobody else has; the library's until the release (H4, H6, H7),
        // or, if the call fails, no longer than that.
        let behind = unsafe { from_raw_parts_mut(next.as_ptr(), behind) };
        Ok((Slot(at.cast()), behind))
    }

    /// Takes a handle that lies in the caller's memory out of use.
    pub fn release<T: Handle>(&self, handle: *const T) -> Result<(), Status> {
        let whole = self.live(handle)?;
        if whole.head().owned != 0 {
            return Err(Status(ESPIAL_EHANDLE));
        }
        self.retire(whole)
    }

    fn retire<T: Handle>(&self, whole: &T) -> Result<(), Status> {
        if whole.has_workers() {
            return Err(Status(ESPIAL_EATTACHED));
        }
        whole.head().magic.store(0, Ordering::Release);
        // SAFETY: the magic number stood until now, so this is the first time; every release is a call of the
        // writer or the owner, and nobody is let in any more (H2).
        unsafe { whole.end() };
        Ok(())
    }
}

#[cold]
#[inline(never)]
fn is_null() -> Status {
    Status(ESPIAL_ENULL)
}

#[cold]
#[inline(never)]
fn is_misaligned() -> Status {
    Status(ESPIAL_EALIGN)
}

/// Memory for a handle, aligned and large enough, and nobody else's.
struct Slot<T>(NonNull<T>);

impl<T: Handle> Slot<T> {
    /// Writes a handle, its magic number last (H2).
    fn fill(self, whole: T) -> *mut T {
        // SAFETY: `Caller::room` has tested it.
        unsafe { self.0.write(whole) };
        // SAFETY: just written.
        let whole = unsafe { self.0.as_ref() };
        whole.head().magic.store(T::MAGIC, Ordering::Release);
        self.0.as_ptr()
    }
}

/// Memory behind a handle (H4, H6, H7).
type Memory = &'static mut [MaybeUninit<u8>];

/// Octets of a handle with a table of `table` octets behind it, so that the next one starts on a cache line.
fn with_table<T: Handle>(table: usize) -> Result<usize, Status> {
    let all = table.checked_add(size_of::<T>());
    let all = all.and_then(|all| all.checked_next_multiple_of(ALIGNMENT));
    all.filter(|all| *all <= isize::MAX as usize).ok_or(Status(ESPIAL_ERANGE))
}

/// The first `octets` of a piece of memory, and the others.
fn split(memory: Memory, octets: usize) -> Result<(Memory, Memory), Status> {
    memory.split_at_mut_checked(octets).ok_or(Status(ESPIAL_EROOM))
}

/// Room for one value at the first aligned place of a piece of memory.
fn place<T>(memory: Memory) -> Result<&'static mut MaybeUninit<T>, Status> {
    // SAFETY: any octets are a `MaybeUninit`.
    let (_, places, _) = unsafe { memory.align_to_mut::<MaybeUninit<T>>() };
    places.first_mut().ok_or(Status(ESPIAL_EROOM))
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
