//! DPDK's `rte_ipsec_sad` and `rte_hash`, through the shim `dpdk.c`. Feature `dpdk`.
//!
//! The timed calls include what DPDK's API makes a caller do: arrays of pointers to keys, key
//! unions filled from plain integers, handles made of the pointers that come back. They run in
//! bursts of 64 at most, which is where DPDK cuts them itself. No huge pages: its heap is 4 GiB
//! of address space in pages of the common size, taken when touched.
//!
//! Invariants of a table here:
//! - I1: the pointer came from `espial_peer_*_new` of its type and goes to `espial_peer_*_free`
//!   once, on drop.
//! - I2: after `new` nothing changes it, so lookups share it as DPDK allows.
//! - I3: only [`SadMixed`] holds longer keys, and so reads more of a key than the SPI.

#![allow(unsafe_code, reason = "calls C")]

use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::Mutex;

use super::{Handle, Keys, Kind, MixedTable, Table};

unsafe extern "C" {
    fn espial_peer_eal() -> c_int;
    fn espial_peer_heap() -> usize;
    fn espial_peer_sad_new(
        n: u32,
        kinds: *const Kind,
        spis: *const u32,
        dsts: *const u32,
        srcs: *const u32,
        octets: *mut usize,
        error: *mut c_int,
    ) -> *mut c_void;
    fn espial_peer_sad_free(sad: *mut c_void);
    fn espial_peer_sad_burst(sad: *const c_void, n: u32, spis: *const u32, out: *mut Handle)
    -> u32;
    fn espial_peer_sad_burst_mixed(
        sad: *const c_void,
        n: u32,
        spis: *const u32,
        dsts: *const u32,
        srcs: *const u32,
        out: *mut Handle,
    ) -> u32;
    fn espial_peer_hash_new(
        n: u32,
        spis: *const u32,
        octets: *mut usize,
        error: *mut c_int,
    ) -> *mut c_void;
    fn espial_peer_hash_free(hash: *mut c_void);
    fn espial_peer_hash_burst(
        hash: *const c_void,
        n: u32,
        spis: *const u32,
        out: *mut Handle,
    ) -> u32;
    fn espial_peer_hash_one(hash: *const c_void, spi: u32) -> Handle;
}

/// A table of DPDK's.
pub(super) struct Owned {
    pub(super) table: NonNull<c_void>,
    pub(super) octets: usize,
    free: unsafe extern "C" fn(*mut c_void),
}

impl Owned {
    /// Starts DPDK if it does not run yet, and makes a table. One at a time: its octets are the
    /// difference that it makes to DPDK's heap.
    pub(super) fn new(
        free: unsafe extern "C" fn(*mut c_void),
        make: impl FnOnce(&mut usize, &mut c_int) -> *mut c_void,
    ) -> Self {
        Self::try_new(free, make).unwrap_or_else(|error| panic!("no table: errno {error}"))
    }

    /// As [`Owned::new`], or the errno.
    pub(super) fn try_new(
        free: unsafe extern "C" fn(*mut c_void),
        make: impl FnOnce(&mut usize, &mut c_int) -> *mut c_void,
    ) -> Result<Self, c_int> {
        static STARTED: Mutex<Option<c_int>> = Mutex::new(None);
        let mut started = STARTED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // SAFETY: under the lock and not called before, as `rte_eal_init` asks.
        let error = *started.get_or_insert_with(|| unsafe { espial_peer_eal() });
        assert_eq!(error, 0, "rte_eal_init: errno {error}");
        let (mut octets, mut error) = (0, 0);
        let table = NonNull::new(make(&mut octets, &mut error)).ok_or(error)?;
        Ok(Self { table, octets, free })
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: I1: made for this function, and not used after.
        unsafe { (self.free)(self.table.as_ptr()) }
    }
}

/// What is allocated of DPDK's heap, in octets. A walk over all of it; only while DPDK runs.
pub(super) fn heap_octets() -> usize {
    // SAFETY: DPDK runs, for who has an [`Owned`].
    unsafe { espial_peer_heap() }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).expect("a number of SAs in 32 bits")
}

fn found(handle: Handle) -> Option<Handle> {
    (handle != Handle::NONE).then_some(handle)
}

/// `rte_ipsec_sad` whose keys are SPIs.
pub struct Sad(Owned);

impl Sad {
    /// A table of these SPIs, with an eighth of room to spare.
    ///
    /// # Panics
    /// If DPDK does not start or has no room, with its errno.
    pub fn new(spis: &[u32]) -> Self {
        let none = ptr::null::<u32>();
        Self(Owned::new(espial_peer_sad_free, |octets, error| {
            let (n, kinds) = (count(spis.len()), ptr::null());
            // SAFETY: `spis` holds n; without kinds nothing else is read; DPDK runs.
            unsafe { espial_peer_sad_new(n, kinds, spis.as_ptr(), none, none, octets, error) }
        }))
    }
}

impl Table for Sad {
    fn one(&self, spi: u32) -> Option<Handle> {
        let mut out = [Handle::NONE];
        self.burst(&[spi], &mut out);
        found(out[0])
    }

    fn burst(&self, spis: &[u32], out: &mut [Handle]) -> usize {
        let (table, n, out) = (self.0.table.as_ptr(), count(spis.len()), &mut out[..spis.len()]);
        // SAFETY: I1, I2, I3; both slices hold n.
        unsafe { espial_peer_sad_burst(table, n, spis.as_ptr(), out.as_mut_ptr()) as usize }
    }

    /// Of DPDK's heap, without the SAs.
    fn octets(&self) -> usize {
        self.0.octets
    }
}

/// `rte_ipsec_sad` with keys of all three kinds, IPv4.
pub struct SadMixed(Owned);

impl SadMixed {
    /// A table of these keys, each of its kind, with an eighth of room to spare.
    ///
    /// # Panics
    /// If there are not as many kinds as keys, or as [`Sad::new`].
    pub fn new(kinds: &[Kind], keys: Keys<'_>) -> Self {
        let Keys { spis, dsts, srcs } = keys;
        assert!([spis.len(), dsts.len(), srcs.len()] == [kinds.len(); 3], "arrays of one length");
        Self(Owned::new(espial_peer_sad_free, |octets, error| {
            let (n, kinds, spis) = (count(kinds.len()), kinds.as_ptr(), spis.as_ptr());
            let (dsts, srcs) = (dsts.as_ptr(), srcs.as_ptr());
            // SAFETY: all four hold n; DPDK runs.
            unsafe { espial_peer_sad_new(n, kinds, spis, dsts, srcs, octets, error) }
        }))
    }
}

impl MixedTable for SadMixed {
    fn one(&self, spi: u32, dst: u32, src: u32) -> Option<Handle> {
        let mut out = [Handle::NONE];
        self.burst(Keys::new(&[spi], &[dst], &[src]), &mut out);
        found(out[0])
    }

    fn burst(&self, keys: Keys<'_>, out: &mut [Handle]) -> usize {
        let Keys { spis, dsts, srcs } = keys;
        let (table, n, out) = (self.0.table.as_ptr(), spis.len(), &mut out[..spis.len()]);
        assert!(dsts.len() == n && srcs.len() == n, "arrays of one length");
        let (n, spis, dsts, srcs) = (count(n), spis.as_ptr(), dsts.as_ptr(), srcs.as_ptr());
        // SAFETY: I1, I2; all four slices hold n.
        unsafe {
            espial_peer_sad_burst_mixed(table, n, spis, dsts, srcs, out.as_mut_ptr()) as usize
        }
    }

    /// Of DPDK's heap, without the SAs.
    fn octets(&self) -> usize {
        self.0.octets
    }
}

/// `rte_hash` with SPIs as keys, `rte_hash_crc` over them, and the handle as data.
pub struct Hash(Owned);

impl Hash {
    /// A table of these SPIs, with an eighth of room to spare.
    ///
    /// # Panics
    /// As [`Sad::new`].
    pub fn new(spis: &[u32]) -> Self {
        Self(Owned::new(espial_peer_hash_free, |octets, error| {
            // SAFETY: `spis` holds as many; DPDK runs.
            unsafe { espial_peer_hash_new(count(spis.len()), spis.as_ptr(), octets, error) }
        }))
    }
}

impl Table for Hash {
    fn one(&self, spi: u32) -> Option<Handle> {
        // SAFETY: I1, I2.
        found(unsafe { espial_peer_hash_one(self.0.table.as_ptr(), spi) })
    }

    fn burst(&self, spis: &[u32], out: &mut [Handle]) -> usize {
        let (table, n, out) = (self.0.table.as_ptr(), count(spis.len()), &mut out[..spis.len()]);
        // SAFETY: I1, I2; both slices hold n.
        unsafe { espial_peer_hash_burst(table, n, spis.as_ptr(), out.as_mut_ptr()) as usize }
    }

    /// Of DPDK's heap.
    fn octets(&self) -> usize {
        self.0.octets
    }
}
