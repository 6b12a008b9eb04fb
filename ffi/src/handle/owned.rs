//! Memory of the library's own: the calls that end in `_new`, `_free` and `_alloc`.

use core::alloc::Layout;
use core::ffi::c_void;
use core::mem::size_of;
use core::ptr::{NonNull, copy_nonoverlapping, null_mut};
use core::sync::atomic::{AtomicPtr, Ordering};

use espial::Capacity;
use espial::event::Events;
use espial::gate::passthrough::PassConfig;
use espial::gate::session::Limits;

use super::*;

fn layout(octets: usize) -> Result<Layout, Status> {
    Layout::from_size_align(octets.max(1), ALIGNMENT).map_err(|_| Status(ESPIAL_ERANGE))
}

/// Memory for a handle.
fn allocate(octets: usize) -> Result<NonNull<u8>, Status> {
    let layout = layout(octets)?;
    // SAFETY: not of size 0.
    let memory = unsafe { std::alloc::alloc(layout) };
    NonNull::new(memory).ok_or(Status(ESPIAL_ENOMEM))
}

/// Gives it back.
///
/// # Safety
/// It came from [`allocate`] with the same number and is used no more.
unsafe fn free(memory: NonNull<u8>, octets: usize) {
    if let Ok(layout) = layout(octets) {
        // SAFETY: the caller's contract.
        unsafe { std::alloc::dealloc(memory.as_ptr(), layout) };
    }
}

/// What `make` makes in `octets` of new memory.
fn made<T>(
    octets: usize,
    make: impl FnOnce(NonNull<u8>) -> Result<T, Status>,
) -> Result<T, Status> {
    let memory = allocate(octets)?;
    make(memory).inspect_err(|_| {
        // SAFETY: just allocated; `make` failed and keeps nothing.
        unsafe { free(memory, octets) };
    })
}

/// A handle of `octets` in new memory, with a copy of its words behind it. `init` makes it of the memory, the
/// copy and the octets of both.
fn with_words<T>(
    octets: usize,
    words: &[u64],
    init: impl FnOnce(*mut c_void, *const u64, usize) -> Result<*mut T, Status>,
) -> Result<*mut T, Status> {
    let all = size_of_val(words).checked_add(octets).ok_or(Status(ESPIAL_ERANGE))?;
    made(all, |memory| {
        // SAFETY: the handle stands in front of the words, and its size is a multiple of theirs.
        let copy = unsafe { memory.add(octets) }.cast::<u64>();
        // SAFETY: room for so many words was just allocated.
        unsafe { copy_nonoverlapping(words.as_ptr(), copy.as_ptr(), words.len()) };
        init(memory.as_ptr().cast(), copy.as_ptr(), all)
    })
}

/// Pieces of memory that a gateway grew into, newest first. Touched by the one writer only.
#[derive(Default)]
pub struct Grown(AtomicPtr<Piece>);

/// What stands at the start of a piece; its room follows a cache line later.
struct Piece {
    next: *mut Piece,
    /// Octets of all of it.
    octets: usize,
}

const _: () = assert!(size_of::<Piece>() <= ALIGNMENT);

impl Grown {
    /// Keeps a piece.
    ///
    /// # Safety
    /// It came from [`allocate`] with so many octets, a cache line at least, and nobody uses the first one.
    unsafe fn keep(&mut self, piece: NonNull<u8>, octets: usize) {
        let (at, next) = (piece.cast::<Piece>(), *self.0.get_mut());
        // SAFETY: a piece starts with room for this, aligned.
        unsafe { at.write(Piece { next, octets }) };
        self.0.store(at.as_ptr(), Ordering::Relaxed);
    }

    /// Gives all of them back.
    ///
    /// # Safety
    /// Nothing in them is used any more.
    pub unsafe fn free(&mut self) {
        let mut next = core::mem::replace(self.0.get_mut(), null_mut());
        while let Some(at) = NonNull::new(next) {
            // SAFETY: `keep` wrote it, and it is freed after this.
            let piece = unsafe { at.read() };
            next = piece.next;
            // SAFETY: came from `allocate` with so many octets (contract of `keep`); the caller's contract.
            unsafe { free(at.cast(), piece.octets) };
        }
    }
}

impl Caller<'_> {
    /// Releases a handle that lies in memory of the library's own, and gives that back.
    pub fn free<T: Handle>(&self, handle: *mut T) -> Result<(), Status> {
        let whole = self.live(handle)?;
        let octets = whole.head().owned;
        if octets == 0 {
            return Err(Status(ESPIAL_EHANDLE));
        }
        self.retire(whole)?;
        let memory = self.tested(handle)?.cast();
        // SAFETY: the handle says that it was allocated with so many octets, and is released.
        unsafe { free(memory, octets) };
        Ok(())
    }

    /// A gateway in memory of its own.
    pub fn new_gateway(
        &self,
        capacity: &Capacity,
        seed: [u64; 2],
    ) -> Result<*mut espial_gateway, Status> {
        let octets = Plan::of(capacity)?.total;
        made(octets, |at| self.init_gateway(at.as_ptr().cast(), octets, capacity, seed, octets))
    }

    /// Grows a gateway of [`Caller::new_gateway`] into memory of its own.
    pub fn grow_gateway_alloc(
        &self,
        handle: *mut espial_gateway,
        capacity: &Capacity,
    ) -> Result<(), Status> {
        if self.gateway(handle)?.head.owned == 0 {
            return Err(Status(ESPIAL_EHANDLE));
        }
        let octets = self.writer(handle)?.control.octets_to_grow(capacity)?;
        let all = octets.checked_add(ALIGNMENT).ok_or(Status(ESPIAL_ERANGE))?;
        let piece = made(all, |at| {
            // SAFETY: `ALIGNMENT` octets stand in front of the room.
            let room = unsafe { at.add(ALIGNMENT) };
            self.grow_gateway(handle, room.as_ptr().cast(), octets, capacity)?;
            Ok(at)
        })?;
        let writer = self.writer(handle)?;
        // SAFETY: just allocated, and the gateway grew behind the first cache line.
        unsafe { writer.grown.keep(piece, all) };
        Ok(())
    }

    /// A worker in memory of its own.
    pub fn new_worker(
        &self,
        gateway: *mut espial_gateway,
        index: u32,
    ) -> Result<*mut espial_worker, Status> {
        self.gateway(gateway)?;
        let octets = WORKER_OCTETS;
        made(octets, |at| {
            self.init_worker::<Events>(at.as_ptr().cast(), octets, gateway, index, octets)
        })
    }

    /// A matcher in memory of its own, with a copy of its words behind it.
    pub fn new_matcher(&self, words: &[u64]) -> Result<*mut espial_matcher, Status> {
        with_words(MATCHER_OCTETS, words, |memory, copy, all| {
            self.init_matcher(memory, MATCHER_OCTETS, copy, words.len(), all)
        })
    }

    /// Local-in policy in memory of its own, with a copy of its words behind it.
    pub fn new_local_in(&self, words: &[u64]) -> Result<*mut espial_local_in, Status> {
        with_words(LOCAL_IN_OCTETS, words, |memory, copy, all| {
            self.init_local_in(memory, LOCAL_IN_OCTETS, copy, words.len(), all)
        })
    }

    /// Sessions in memory of their own.
    pub fn new_sessions(
        &self,
        limits: &Limits,
        seed: [u64; 2],
    ) -> Result<*mut espial_sessions, Status> {
        let octets = sessions_octets(limits)?;
        made(octets, |at| self.init_sessions(at.as_ptr().cast(), octets, limits, seed, octets))
    }

    /// A firewall's rules in memory of their own, with a copy of their words behind them.
    pub fn new_rules(&self, words: &[u64]) -> Result<*mut espial_passthrough_rules, Status> {
        with_words(RULES_OCTETS, words, |memory, copy, all| {
            self.init_rules(memory, RULES_OCTETS, copy, words.len(), all)
        })
    }

    /// A firewall in memory of its own.
    pub fn new_passthrough(
        &self,
        flows: u32,
        seed: [u64; 2],
        config: PassConfig,
    ) -> Result<*mut espial_passthrough, Status> {
        let octets = passthrough_octets(flows)?;
        made(octets, |at| {
            self.init_passthrough(at.as_ptr().cast(), octets, flows, seed, config, octets)
        })
    }

    /// A reply path in memory of its own.
    pub fn new_reply_path(
        &self,
        limits: &espial_reply_limits,
        given: &Replies<'_>,
        seed: [u64; 2],
    ) -> Result<*mut espial_reply_path, Status> {
        let octets = reply_path_octets(limits)?;
        made(octets, |at| {
            self.init_reply_path(at.as_ptr().cast(), octets, limits, given, seed, octets)
        })
    }

    /// An SPD in memory of its own, with a copy of its words behind it.
    pub fn new_spd(&self, words: &[u64]) -> Result<*mut espial_spd, Status> {
        with_words(SPD_OCTETS, words, |memory, copy, all| {
            self.init_spd(memory, SPD_OCTETS, copy, words.len(), all)
        })
    }

    /// A worker of a list in memory of its own.
    pub fn new_counting<W: counted::Counting>(
        &self,
        list: *const W::List,
    ) -> Result<*mut W, Status> {
        let octets = self.counting_octets::<W>(list)?;
        made(octets, |at| self.init_counting(at.as_ptr().cast(), octets, list, octets))
    }
}
