//! Gateways: one piece of memory for the handle and every table, and what it grew into.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::mem::{MaybeUninit, align_of, size_of};
use core::slice::{from_raw_parts, from_raw_parts_mut};
use core::sync::atomic::{AtomicU32, Ordering};

use espial::error::SetupError;
use espial::gateway::{Tables, carve, carve_over, octets, octets_over_image};
use espial::image::Image;
use espial::selector::TrafficSelector;
use espial::{Capacity, Control};

use super::{ALIGNMENT, Caller, Head, Memory, Slot, lay, split};
use crate::status::Status;
use crate::types::*;

/// The configuration side.
pub struct Writer {
    /// The core's writer.
    pub control: Control<'static>,
    /// Room for the selectors of one Child SA: local ones in the first half, remote in the second.
    pub scratch: &'static mut [TrafficSelector],
    /// Memory that `espial_gateway_grow_alloc` added.
    #[cfg(feature = "alloc")]
    pub(super) grown: super::owned::Grown,
}

/// A gateway: every table, in one piece of memory. Opaque.
#[repr(C, align(64))]
pub struct espial_gateway {
    pub(super) head: Head,
    pub(super) tables: Tables<'static>,
    /// A cell for each worker: 1 = taken.
    pub(super) attached: &'static [AtomicU32],
    writer: UnsafeCell<Writer>,
}

handle!(espial_gateway = 0x6573_7047 {
    fn has_workers(&self) -> bool {
        self.attached.iter().any(|cell| cell.load(Ordering::Acquire) != 0)
    }

    #[cfg(feature = "alloc")]
    unsafe fn end(&self) {
        // SAFETY: the caller is the one writer (contract of `end`), so nobody else borrows it (H3).
        let writer = unsafe { &mut *self.writer.get() };
        // SAFETY: the gateway is released, and its workers were before it (H4).
        unsafe { writer.grown.free() };
    }
});

const _: () = {
    const fn shared<T: Sync>() {}
    const fn moved<T: Send>() {}
    shared::<Tables<'static>>();
    moved::<Writer>();
};

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
        let side = usize::try_from(capacity.selectors).unwrap_or(ESPIAL_TS_MAX).min(ESPIAL_TS_MAX);
        Self::new(capacity, octets(capacity)?, 2 * side)
    }

    /// The plan for a gateway over an image, which is given no selectors.
    pub fn over_image(capacity: &Capacity) -> Result<Self, Status> {
        Self::new(capacity, octets_over_image(capacity)?, 0)
    }

    fn new(capacity: &Capacity, region_len: usize, scratch_len: usize) -> Result<Self, Status> {
        let too_large = || Status(ESPIAL_ERANGE);
        let after = |start: usize, count: usize, each: usize| {
            let end = count.checked_mul(each).and_then(|octets| start.checked_add(octets));
            end.and_then(|end| end.checked_next_multiple_of(ALIGNMENT)).ok_or_else(too_large)
        };
        let workers = usize::try_from(capacity.workers).map_err(|_| too_large())?;
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

/// The handle of what was carved. A call of its own, so that carving needs no stack for it.
#[inline(never)]
fn finish(
    slot: Slot<espial_gateway>,
    owned: usize,
    carved: Result<(Tables<'static>, Control<'static>), SetupError>,
    attached: &'static [AtomicU32],
    scratch: &'static mut [TrafficSelector],
) -> Result<*mut espial_gateway, Status> {
    let (tables, control) = carved?;
    let writer = UnsafeCell::new(Writer {
        control,
        scratch,
        #[cfg(feature = "alloc")]
        grown: super::owned::Grown::default(),
    });
    Ok(slot.fill(espial_gateway { head: Head::new(owned), tables, attached, writer }))
}

impl<'c> Caller<'c> {
    /// The gateway behind a handle.
    pub fn gateway(
        &self,
        handle: *const espial_gateway,
    ) -> Result<&'static espial_gateway, Status> {
        self.live(handle)
    }

    /// The configuration side of the gateway behind a handle.
    pub fn writer(&self, handle: *mut espial_gateway) -> Result<&'c mut Writer, Status> {
        let gateway = self.gateway(handle)?;
        // SAFETY: the call is of the class "one writer", so nobody else borrows it (H3).
        Ok(unsafe { &mut *gateway.writer.get() })
    }

    /// Makes a gateway in `len` octets at `at`. `owned` is how many octets the library allocated for it,
    /// or 0.
    pub fn init_gateway(
        &self,
        at: *mut c_void,
        len: usize,
        capacity: &Capacity,
        seed: [u64; 2],
        owned: usize,
    ) -> Result<*mut espial_gateway, Status> {
        let carve = |region| carve(region, capacity, seed);
        self.fill_gateway(at, len, Plan::of(capacity)?, carve, owned)
    }

    /// Makes a gateway over an image of `image_len` octets, in `len` octets at `at`.
    pub fn init_over_image(
        &self,
        (at, len): (*mut c_void, usize),
        capacity: &Capacity,
        seed: [u64; 2],
        (image, image_len): (*const c_void, usize),
    ) -> Result<*mut espial_gateway, Status> {
        let plan = Plan::over_image(capacity)?;
        let image = self.image(image, image_len)?;
        self.fill_gateway(at, len, plan, |region| carve_over(region, capacity, seed, &image), 0)
    }

    /// Makes a gateway of what `carve` makes.
    fn fill_gateway(
        &self,
        at: *mut c_void,
        len: usize,
        plan: Plan,
        carve: impl FnOnce(Memory) -> Result<(Tables<'static>, Control<'static>), SetupError>,
        owned: usize,
    ) -> Result<*mut espial_gateway, Status> {
        let (slot, rest) = self.room(at, len, plan.total)?;
        let (attached, rest) = split(rest, plan.scratch - plan.attached)?;
        let (scratch, region) = split(rest, plan.region - plan.scratch)?;
        let attached = lay(attached, plan.workers, || AtomicU32::new(0))?;
        let scratch = lay(scratch, plan.scratch_len, || crate::convert::ANY_V4)?;
        finish(slot, owned, carve(region), attached, scratch)
    }

    /// A valid image of at most `len` octets at `at`.
    pub fn image(&self, at: *const c_void, len: usize) -> Result<Image<'static>, Status> {
        let words = self.slice(at.cast::<u64>(), len / size_of::<u64>())?;
        // SAFETY: a live slice, and nobody writes it until the gateway over it is released, or another image
        // took its place and no worker reads it any more (H8).
        let words: &'static [u64] = unsafe { from_raw_parts(words.as_ptr(), words.len()) };
        Ok(Image::open(words)?)
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
}
