//! Reply paths: a handle, and behind it the addresses, the policy routes and the table.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::mem::{align_of, size_of};
use core::net::IpAddr;
use core::ptr::NonNull;
use core::slice::from_raw_parts;

use espial::gate::reply_path::{Limits, PolicyRoute, ReplyConfig, ReplyMode, ReplyPath};

use super::{ALIGNMENT, Caller, Head, Memory, lay, split, with_table};
use crate::convert;
use crate::status::Status;
use crate::types::*;

/// The IKE over TCP connections of one thread. Opaque.
#[repr(C, align(64))]
pub struct espial_reply_path {
    head: Head,
    whole: UnsafeCell<Whole>,
}

handle!(espial_reply_path = 0x6573_7059 {});

const _: () = {
    const fn moved<T: Send>() {}
    moved::<ReplyPath<'static, 'static>>();
};

/// What lies behind the handle.
struct Whole {
    path: ReplyPath<'static, 'static>,
    addresses: Row<IpAddr>,
    routes: Row<PolicyRoute>,
}

/// A configuration without connections of its own.
const NOTHING: ReplyConfig<'static> = ReplyConfig { port: 0, local: &[], mode: ReplyMode::Pinned };

const NO_ADDRESS: IpAddr = IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED);
const NO_ROUTE: PolicyRoute =
    PolicyRoute { src: espial::selector::AddrRange::V4 { lo: 0, hi: 0 }, output: 0 };

/// Room for values that are written again and again.
struct Row<T> {
    at: NonNull<T>,
    room: usize,
}

impl<T: Copy> Row<T> {
    fn of(values: &'static mut [T]) -> Self {
        Self { room: values.len(), at: NonNull::from(values).cast() }
    }

    /// Writes values, as many as there is room for.
    ///
    /// # Safety
    /// Nothing that this gave before is used any more.
    unsafe fn fill(&mut self, values: impl Iterator<Item = T>) -> &'static [T] {
        let mut count = 0_usize;
        for value in values.take(self.room) {
            // SAFETY: `count` is below the room, which `lay` laid.
            let slot = unsafe { self.at.add(count) };
            // SAFETY: one of the room's values, which nobody borrows (contract).
            unsafe { slot.write(value) };
            count = count.saturating_add(1);
        }
        // SAFETY: so many were just written; they lie behind the handle until its release (H7).
        unsafe { from_raw_parts(self.at.as_ptr(), count) }
    }
}

/// Octets of a row, so that what follows starts on a cache line.
fn row<T>(count: u32) -> Result<usize, Status> {
    let octets = (count as usize).checked_mul(size_of::<T>());
    octets
        .and_then(|octets| octets.checked_next_multiple_of(ALIGNMENT))
        .ok_or(Status(ESPIAL_ERANGE))
}

/// Octets of a reply path: of its addresses, of its routes, and of all.
fn plan(limits: &espial_reply_limits) -> Result<(usize, usize, usize), Status> {
    let table = ReplyPath::octets(&convert::reply_limits(limits))?;
    let (addresses, routes) =
        (row::<IpAddr>(limits.addresses)?, row::<PolicyRoute>(limits.routes)?);
    let all = table.checked_add(addresses).and_then(|all| all.checked_add(routes));
    let all = with_table::<espial_reply_path>(all.ok_or(Status(ESPIAL_ERANGE))?)?;
    Ok((addresses, routes, all))
}

/// Octets of a reply path.
pub fn reply_path_octets(limits: &espial_reply_limits) -> Result<usize, Status> {
    plan(limits).map(|(_, _, all)| all)
}

/// How answers find their way out, in the caller's memory.
pub struct Replies<'c> {
    config: espial_reply_config,
    addresses: &'c [espial_addr],
    routes: &'c [espial_policy_route],
}

impl<'c> Replies<'c> {
    /// Reads it from where C says.
    pub fn of(
        caller: &Caller<'c>,
        config: *const espial_reply_config,
        addresses: *const espial_addr,
        address_count: usize,
        routes: *const espial_policy_route,
        route_count: usize,
    ) -> Result<Self, Status> {
        let given = Self {
            config: caller.read_versioned(config)?,
            addresses: caller.slice(addresses, address_count)?,
            routes: caller.slice(routes, route_count)?,
        };
        convert::reply_config(&given.config, &[], &[])?;
        given.addresses.iter().try_for_each(|one| convert::address(one).map(|_| ()))?;
        given.routes.iter().try_for_each(|one| convert::policy_route(one).map(|_| ()))?;
        Ok(given)
    }

    fn fits(&self, addresses: usize, routes: usize) -> Result<(), Status> {
        let fits = self.addresses.len() <= addresses && self.routes.len() <= routes;
        if fits { Ok(()) } else { Err(Status(ESPIAL_ERANGE)) }
    }
}

impl Whole {
    /// Takes another configuration; connections stay.
    fn configure(&mut self, given: &Replies<'_>) -> Result<(), Status> {
        given.fits(self.addresses.room, self.routes.room)?;
        self.path.configure(NOTHING);
        // `Replies::of` has tested all of them.
        let addresses = given.addresses.iter().filter_map(|one| convert::address(one).ok());
        let routes = given.routes.iter().filter_map(|one| convert::policy_route(one).ok());
        // SAFETY: only the configuration that was just taken away had them.
        let addresses = unsafe { self.addresses.fill(addresses) };
        // SAFETY: the same.
        let routes = unsafe { self.routes.fill(routes) };
        self.path.configure(convert::reply_config(&given.config, addresses, routes)?);
        Ok(())
    }
}

impl<'c> Caller<'c> {
    fn whole(&self, handle: *mut espial_reply_path) -> Result<&'c mut Whole, Status> {
        let handle = self.live(handle)?;
        // SAFETY: the caller is its owner, so nobody else borrows what is in the cell (H3, H7).
        Ok(unsafe { &mut *handle.whole.get() })
    }

    /// The reply path behind a handle.
    pub fn reply_path(
        &self,
        handle: *mut espial_reply_path,
    ) -> Result<&'c mut ReplyPath<'static, 'static>, Status> {
        Ok(&mut self.whole(handle)?.path)
    }

    /// Gives the reply path behind a handle another configuration.
    pub fn configure_replies(
        &self,
        handle: *mut espial_reply_path,
        given: &Replies<'_>,
    ) -> Result<(), Status> {
        self.whole(handle)?.configure(given)
    }

    /// Makes a reply path in `len` octets at `at`. `owned` is how many octets the library allocated for it, or 0.
    pub fn init_reply_path(
        &self,
        at: *mut c_void,
        len: usize,
        limits: &espial_reply_limits,
        given: &Replies<'_>,
        seed: [u64; 2],
        owned: usize,
    ) -> Result<*mut espial_reply_path, Status> {
        let (addresses, routes, all) = plan(limits)?;
        given.fits(limits.addresses as usize, limits.routes as usize)?;
        let (slot, rest) = self.room(at, len, all)?;
        let (addresses, rest): (Memory, Memory) = split(rest, addresses)?;
        let (routes, table) = split(rest, routes)?;
        let addresses = lay(addresses, limits.addresses as usize, || NO_ADDRESS)?;
        let routes = lay(routes, limits.routes as usize, || NO_ROUTE)?;
        let limits: Limits = convert::reply_limits(limits);
        let path = ReplyPath::new_in(table, NOTHING, &limits, seed)?;
        let (addresses, routes) = (Row::of(addresses), Row::of(routes));
        let mut whole = Whole { path, addresses, routes };
        whole.configure(given)?;
        Ok(slot.fill(espial_reply_path { head: Head::new(owned), whole: UnsafeCell::new(whole) }))
    }
}
