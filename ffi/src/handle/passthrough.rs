//! A firewall's rules, a handle over words; and its flows, a handle with the table behind it.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::mem::{align_of, size_of};

use espial::gate::passthrough::{PassConfig, PassRules, Passthrough};

use super::{Caller, Head, with_table};
use crate::status::Status;

/// Rules for what has no flow, compiled. Opaque.
#[repr(C, align(64))]
pub struct espial_passthrough_rules {
    head: Head,
    /// What they were made of.
    pub(crate) words: &'static [u64],
    /// The core's view of them.
    pub(crate) rules: PassRules<'static>,
}

handle!(espial_passthrough_rules = 0x6573_7052 {});

/// The flows of one thread of a firewall. Opaque.
#[repr(C, align(64))]
pub struct espial_passthrough {
    head: Head,
    flows: UnsafeCell<Passthrough<'static>>,
}

handle!(espial_passthrough = 0x6573_7054 {});

const _: () = {
    const fn shared<T: Sync>() {}
    const fn moved<T: Send>() {}
    shared::<espial_passthrough_rules>();
    moved::<Passthrough<'static>>();
};

/// Octets of the handle of rules.
pub const RULES_OCTETS: usize = size_of::<espial_passthrough_rules>();

/// Octets of a firewall with its table.
pub fn passthrough_octets(flows: u32) -> Result<usize, Status> {
    with_table::<espial_passthrough>(Passthrough::octets(flows)?)
}

impl<'c> Caller<'c> {
    /// The rules behind a handle.
    pub fn rules(
        &self,
        handle: *const espial_passthrough_rules,
    ) -> Result<&'c espial_passthrough_rules, Status> {
        self.live(handle)
    }

    /// Makes rules of `count` words in `len` octets at `at`. `owned` is how many octets the library allocated
    /// for them, or 0.
    pub fn init_rules(
        &self,
        at: *mut c_void,
        len: usize,
        words: *const u64,
        count: usize,
        owned: usize,
    ) -> Result<*mut espial_passthrough_rules, Status> {
        let (slot, _) = self.room(at, len, RULES_OCTETS)?;
        let (words, rules) = self.opened(words, count, PassRules::open, PassRules::octets)?;
        Ok(slot.fill(espial_passthrough_rules { head: Head::new(owned), words, rules }))
    }

    /// The firewall behind a handle.
    pub fn passthrough(
        &self,
        handle: *mut espial_passthrough,
    ) -> Result<&'c mut Passthrough<'static>, Status> {
        let whole = self.live(handle)?;
        // SAFETY: the caller is its owner, so nobody else borrows what is in the cell (H3, H7).
        Ok(unsafe { &mut *whole.flows.get() })
    }

    /// Makes a firewall in `len` octets at `at`. `owned` is how many octets the library allocated for it, or 0.
    pub fn init_passthrough(
        &self,
        at: *mut c_void,
        len: usize,
        flows: u32,
        seed: [u64; 2],
        config: PassConfig,
        owned: usize,
    ) -> Result<*mut espial_passthrough, Status> {
        let (slot, table) = self.room(at, len, passthrough_octets(flows)?)?;
        let flows = UnsafeCell::new(Passthrough::new_in(table, flows, seed, config)?);
        Ok(slot.fill(espial_passthrough { head: Head::new(owned), flows }))
    }
}
