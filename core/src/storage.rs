//! Memory: every table of a gateway lies in one region, the caller's or the heap's.
//!
//! The region is carved once, when the gateway is made. Sizes are lengths from a
//! [`Capacity`], never features or const parameters, so one library serves a 16 KiB
//! microcontroller and a server. Owns the only place where octets become tables.
//!
//! Invariants:
//! - I1: a carved slice lies wholly in the region and overlaps no other.
//! - I2: it is aligned for its type and at least to a cache line.
//! - I3: it is all zero when handed out, and its type allows that ([`Zeroable`]).

use core::mem::{MaybeUninit, align_of, size_of};

use bytemuck::Zeroable;

use crate::error::SetupError;

/// Alignment of the region and of every table in it: one cache line of the common CPUs.
pub const CACHE_LINE_OCTETS: usize = 64;

/// How much a gateway can hold. Fixed when it is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// Tunnels (IKE SAs).
    pub tunnels: u32,
    /// Child SAs over all tunnels.
    pub children: u32,
    /// Selectors over all Child SAs: the pairs of their cross products.
    pub selectors: u32,
    /// SAs that are found by SPI alone.
    pub sas: u32,
    /// SAs that are found by SPI and destination address.
    pub sas_dst: u32,
    /// SAs that are found by SPI, destination and source address.
    pub sas_dst_src: u32,
    /// SAs whose SPIs this gateway chooses ([`Control::reserve_spi`](crate::Control::reserve_spi)):
    /// those that live, are larval, or were deleted so short a time ago that their SPIs are not
    /// used again yet. To replace one under its own key takes room in `sas`.
    pub sas_allocated: u32,
    /// The largest replay window of an SA, in packets, up to
    /// [`MAX_WINDOW`](crate::sad::replay::MAX_WINDOW): each SA has room for one. 0 = none.
    pub replay_window: u32,
    /// Threads that judge packets at the same time.
    pub workers: u32,
}

impl Capacity {
    /// Nothing.
    #[cfg(feature = "alloc")]
    pub(crate) const NONE: Self = Self {
        tunnels: 0,
        children: 0,
        selectors: 0,
        sas: 0,
        sas_dst: 0,
        sas_dst_src: 0,
        sas_allocated: 0,
        replay_window: 0,
        workers: 0,
    };

    /// SAs of all key types together.
    pub const fn all_sas(&self) -> u64 {
        self.sas_chosen_by_others() + self.sas_allocated as u64
    }

    const fn sas_chosen_by_others(&self) -> u64 {
        self.sas as u64 + self.sas_dst as u64 + self.sas_dst_src as u64
    }

    /// Slots for SAs: a few more than there may be SAs, so that a full table can still replace
    /// some of them before every worker was quiescent. [`SaId::index`](crate::SaId::index) is
    /// below this.
    pub const fn sa_slots(&self) -> u64 {
        self.other_slots() + self.sas_allocated as u64
    }

    /// Slots for SAs whose SPIs others chose.
    pub(crate) const fn other_slots(&self) -> u64 {
        let all = self.sas_chosen_by_others();
        let spare = match all {
            0 => 0,
            1..8 => 1,
            8..=512 => all / 8,
            _ => 64,
        };
        all + spare
    }
}

/// Hands out slices of one region, or only measures when it has none.
///
/// Both passes run the same code, so a region of the measured size always suffices.
pub(crate) struct Carver<'m> {
    region: Option<&'m mut [MaybeUninit<u8>]>,
    used: usize,
}

impl<'m> Carver<'m> {
    /// A carver that counts octets and hands out empty slices.
    pub(crate) fn measuring() -> Self {
        Self { region: None, used: 0 }
    }

    /// A carver of `region`; skips its first octets up to a cache line.
    pub(crate) fn new(region: &'m mut [MaybeUninit<u8>]) -> Self {
        let skip = region.as_ptr().align_offset(CACHE_LINE_OCTETS).min(region.len());
        Self { region: Some(region.split_at_mut(skip).1), used: 0 }
    }

    /// Octets taken so far.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// `count` zeroed elements, or an empty slice when measuring.
    ///
    /// # Errors
    /// [`SetupError::TooLarge`]: the size overflows; [`SetupError::MemoryTooSmall`]: the region ends.
    #[allow(unsafe_code)]
    pub(crate) fn take<T: Zeroable>(&mut self, count: usize) -> Result<&'m mut [T], SetupError> {
        const { assert!(align_of::<T>() <= CACHE_LINE_OCTETS) };
        let octets = count
            .checked_mul(size_of::<T>())
            .and_then(|octets| octets.checked_next_multiple_of(CACHE_LINE_OCTETS))
            .ok_or(SetupError::TooLarge)?;
        self.used = self
            .used
            .checked_add(octets)
            .filter(|&used| used <= isize::MAX as usize)
            .ok_or(SetupError::TooLarge)?;
        let Some(region) = self.region.take() else { return Ok(&mut []) };
        let (head, rest) = region.split_at_mut_checked(octets).ok_or(SetupError::MemoryTooSmall)?;
        self.region = Some(rest);
        head.fill(MaybeUninit::zeroed());
        // SAFETY: `head` holds `octets >= count * size_of::<T>()` octets that nobody else has
        // (I1, split_at_mut). It starts at a cache line, since the region does and every earlier
        // piece was a multiple of one, so it is aligned for T (I2, const assertion above). All
        // octets are zero, which `T: Zeroable` says is a valid T (I3). The lifetime is the region's.
        Ok(unsafe { core::slice::from_raw_parts_mut(head.as_mut_ptr().cast::<T>(), count) })
    }
}

impl<'m> Carver<'m> {
    /// `value` at a place of its own, or `None` when measuring.
    ///
    /// # Errors
    /// As [`Carver::take`].
    pub(crate) fn place<T: Copy + Sync>(&mut self, value: T) -> Result<Option<&'m T>, SetupError> {
        Ok(self.place_mut(value)?.map(|placed| &*placed))
    }

    /// [`Carver::place`] for a value that changes and needs no drop.
    ///
    /// # Errors
    /// As [`Carver::take`].
    #[allow(unsafe_code)]
    #[inline(always)]
    pub(crate) fn place_mut<T>(&mut self, value: T) -> Result<Option<&'m mut T>, SetupError> {
        const { assert!(align_of::<T>() <= CACHE_LINE_OCTETS && !core::mem::needs_drop::<T>()) };
        let octets = self.take::<u8>(size_of::<T>())?;
        if octets.len() < size_of::<T>() {
            return Ok(None);
        }
        let at = octets.as_mut_ptr().cast::<T>();
        // SAFETY: `take` gave `size_of::<T>()` octets that nobody else has, at a cache line (I1, I2).
        unsafe { at.write(value) };
        // SAFETY: just written; it needs no drop (assertion above); the lifetime is the region's.
        Ok(Some(unsafe { &mut *at }))
    }
}

#[cfg(feature = "alloc")]
pub(crate) use owned::{OwnedRegion, SharedRegion};

#[cfg(feature = "alloc")]
mod owned {
    //! A region on the heap that lives as long as the gateway carved from it.
    use core::cell::Cell;
    use core::mem::MaybeUninit;

    use alloc::boxed::Box;
    use alloc::vec::Vec;

    use crate::error::SetupError;

    /// A region that both sides of a gateway keep alive.
    #[cfg(target_has_atomic = "ptr")]
    pub(crate) type SharedRegion = alloc::sync::Arc<OwnedRegion>;
    /// A region that both sides of a gateway keep alive, where there is no compare-and-swap.
    #[cfg(not(target_has_atomic = "ptr"))]
    pub(crate) type SharedRegion = alloc::rc::Rc<OwnedRegion>;

    /// Heap memory, freed on drop, and what was added to it. Whoever holds slices of it must be
    /// dropped before.
    pub(crate) struct OwnedRegion {
        region: *mut [MaybeUninit<u8>],
        /// Memory added behind it, kept as long.
        more: Cell<Option<Box<OwnedRegion>>>,
    }

    // SAFETY: the region is plain memory of the global allocator; any thread may free it.
    #[allow(unsafe_code)]
    unsafe impl Send for OwnedRegion {}
    // SAFETY: a shared `OwnedRegion` gives no access to the memory at all, and `more` is touched only
    // by the one writer (`add`) and on drop.
    #[allow(unsafe_code)]
    unsafe impl Sync for OwnedRegion {}

    impl OwnedRegion {
        /// Allocates `octets` and lends them for the owner's lifetime.
        ///
        /// # Safety
        /// The slice must not be used after the returned owner is dropped.
        #[allow(unsafe_code)]
        pub(crate) unsafe fn new(
            octets: usize,
        ) -> Result<(Self, &'static mut [MaybeUninit<u8>]), SetupError> {
            let mut memory: Vec<MaybeUninit<u8>> = Vec::new();
            memory.try_reserve_exact(octets).map_err(|_| SetupError::OutOfMemory)?;
            memory.resize(octets, MaybeUninit::uninit());
            let region = Box::into_raw(memory.into_boxed_slice());
            // SAFETY: just allocated and unique; the caller keeps it within the owner's life.
            let lent = unsafe { &mut *region };
            Ok((Self { region, more: Cell::new(None) }, lent))
        }

        /// Keeps another region as long as this one.
        ///
        /// # Safety
        /// One thread at a time.
        #[allow(unsafe_code)]
        pub(crate) unsafe fn add(&self, mut region: Self) {
            *region.more.get_mut() = self.more.take();
            self.more.set(Some(Box::new(region)));
        }
    }

    impl Drop for OwnedRegion {
        #[allow(unsafe_code)]
        fn drop(&mut self) {
            // SAFETY: came from `Box::into_raw` in `new`, and by its contract no slice is used any more.
            drop(unsafe { Box::from_raw(self.region) });
        }
    }
}
