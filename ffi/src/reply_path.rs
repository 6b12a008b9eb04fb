//! Where the answers of IKE over TCP leave: by the interface that the SYN came in on, or as a configuration says.
//!
//! Each thread has a table of its own; both directions of a connection go to one of them. Everything here is
//! bounded, allocates nothing and takes no lock.
#![allow(unsafe_code, reason = "exported names")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract is ABI.md's; the comments here are C's"
)]

use core::ffi::c_void;

use crate::convert;
use crate::handle::{ALIGNMENT, Replies, espial_reply_path, reply_path_octets};
use crate::types::*;

/// Octets of memory that a reply path of these limits needs.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_ESIZE; ESPIAL_ERANGE: no capacity, more than 117 million, or it does
/// not fit this machine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_reply_path_size(
    limits: *const espial_reply_limits,
    size: *mut usize,
) -> i32 {
    call!(|c| {
        let limits = c.read_versioned(limits)?;
        let size = c.out(size)?;
        size.set(reply_path_octets(&limits)?);
        Ok(())
    })
}

/// Alignment in octets of the memory of a reply path.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_reply_path_align() -> usize {
    ALIGNMENT
}

/// Makes a reply path without connections in the caller's memory, of len octets at mem: for the config, the addresses
/// of this gateway, and policy routes in order, which only two of the modes look at. The arrays are not kept. The
/// seed is 128 bits that peers do not know.
///
/// The memory is the library's until espial_reply_path_release(), must not move, and is used by one thread, the
/// owner.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_ESIZE; ESPIAL_ERANGE as espial_reply_path_size(), or more addresses or
/// routes than the limits say, or a prefix_len above that of its family; ESPIAL_EVALUE: no such mode or family, or
/// reserved is not 0; ESPIAL_EROOM: len is smaller than espial_reply_path_size() says. The content of mem is then
/// unspecified.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_reply_path_init(
    mem: *mut c_void,
    len: usize,
    limits: *const espial_reply_limits,
    config: *const espial_reply_config,
    addresses: *const espial_addr,
    address_count: usize,
    routes: *const espial_policy_route,
    route_count: usize,
    seed0: u64,
    seed1: u64,
    reply_path: *mut *mut espial_reply_path,
) -> i32 {
    call!(|c| {
        let limits = c.read_versioned(limits)?;
        let given = Replies::of(&c, config, addresses, address_count, routes, route_count)?;
        let reply_path = c.out(reply_path)?;
        reply_path.set(c.init_reply_path(mem, len, &limits, &given, [seed0, seed1], 0)?);
        Ok(())
    })
}

/// Takes a reply path out of use: its memory is the caller's again, and the handle is refused from now on while that
/// memory is not used for something else.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_EHANDLE: none that lives, or one of espial_reply_path_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_reply_path_release(reply_path: *mut espial_reply_path) -> i32 {
    call!(|c| { c.release(reply_path) })
}

/// Makes a reply path in memory of its own. Nothing is allocated after this. Shared library only.
///
/// Thread: any. Give it back with espial_reply_path_free().
/// Errors: those of espial_reply_path_init(); ESPIAL_ENOMEM.
#[cfg(feature = "alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_reply_path_new(
    limits: *const espial_reply_limits,
    config: *const espial_reply_config,
    addresses: *const espial_addr,
    address_count: usize,
    routes: *const espial_policy_route,
    route_count: usize,
    seed0: u64,
    seed1: u64,
    reply_path: *mut *mut espial_reply_path,
) -> i32 {
    call!(|c| {
        let limits = c.read_versioned(limits)?;
        let given = Replies::of(&c, config, addresses, address_count, routes, route_count)?;
        let reply_path = c.out(reply_path)?;
        reply_path.set(c.new_reply_path(&limits, &given, [seed0, seed1])?);
        Ok(())
    })
}

/// Releases and frees a reply path of espial_reply_path_new(). NULL is fine. Shared library only.
///
/// Thread: owner only.
/// Errors: those of espial_reply_path_release(); nothing is freed then.
#[cfg(feature = "alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_reply_path_free(reply_path: *mut espial_reply_path) -> i32 {
    if reply_path.is_null() {
        return ESPIAL_OK;
    }
    call!(|c| { c.free(reply_path) })
}

/// Gives a reply path another configuration, as espial_reply_path_init() takes it, from the next segment on.
/// Connections stay.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ESIZE, ESPIAL_ERANGE, ESPIAL_EVALUE as
/// espial_reply_path_init().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_reply_path_configure(
    reply_path: *mut espial_reply_path,
    config: *const espial_reply_config,
    addresses: *const espial_addr,
    address_count: usize,
    routes: *const espial_policy_route,
    route_count: usize,
) -> i32 {
    call!(|c| {
        c.reply_path(reply_path)?;
        let given = Replies::of(&c, config, addresses, address_count, routes, route_count)?;
        c.configure_replies(reply_path, &given)
    })
}

/// A segment addressed to this gateway came in on an interface: where do answers to it leave? route is what the
/// routing table would choose for them, ESPIAL_INTERFACE_NONE if it has no route; it is not looked at where a pin or
/// a policy route decides.
///
/// A segment of no connection that is no SYN is ESPIAL_SEGMENT_NO_SESSION: drop it.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE. Treat them as a drop.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_reply_path_received(
    reply_path: *mut espial_reply_path,
    segment: *const espial_segment,
    interface: u32,
    route: u32,
    now_ms: u64,
    reply: *mut espial_reply,
) -> i32 {
    call!(|c| {
        let path = c.reply_path(reply_path)?;
        let segment = convert::segment(&c.read(segment)?)?;
        let reply = c.out(reply)?;
        let answer = path.received(&segment, interface, convert::route(route), now_ms);
        reply.set(convert::reply_codes(&answer));
        Ok(())
    })
}

/// A segment that this gateway is about to send: where does it leave? route as in espial_reply_path_received(). To be
/// asked for every one, for what is acknowledged tells forged segments of the peer from its own.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_reply_path_sent(
    reply_path: *mut espial_reply_path,
    segment: *const espial_segment,
    route: u32,
    now_ms: u64,
    reply: *mut espial_reply,
) -> i32 {
    call!(|c| {
        let path = c.reply_path(reply_path)?;
        let segment = convert::segment(&c.read(segment)?)?;
        let reply = c.out(reply)?;
        let answer = path.sent(&segment, convert::route(route), now_ms);
        reply.set(convert::reply_codes(&answer));
        Ok(())
    })
}

/// A connection whose handshake needs no watching, with this gateway as the source: one that it starts, by the
/// tunnel's interface; one that a SYN cookie vouches for; one of a table that is restored. One that is there gets
/// this interface. *recorded is 1, or 0 if there is no room.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_reply_path_connected(
    reply_path: *mut espial_reply_path,
    flow: *const espial_flow,
    interface: u32,
    now_ms: u64,
    recorded: *mut u8,
) -> i32 {
    call!(|c| {
        let path = c.reply_path(reply_path)?;
        let key = convert::flow(&c.read(flow)?)?;
        let recorded = c.out(recorded)?;
        recorded.set(path.connected(&key, interface, now_ms).is_ok().into());
        Ok(())
    })
}

/// Drops a connection, with this gateway as the source: from then on only a SYN starts it anew. *closed is 1 if there
/// was one, else 0.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_reply_path_close(
    reply_path: *mut espial_reply_path,
    flow: *const espial_flow,
    now_ms: u64,
    closed: *mut u8,
) -> i32 {
    call!(|c| {
        let path = c.reply_path(reply_path)?;
        let key = convert::flow(&c.read(flow)?)?;
        let closed = c.out(closed)?;
        closed.set(path.close(&key, now_ms).into());
        Ok(())
    })
}

/// Looks at the next slots of the table, rounded up to a multiple of 8, takes out the connections that were idle for
/// too long and tells of them: the first room of them into the caller's array; *count is how many there are, room for
/// them or not, and the others are told to nobody. To be called again and again: all of the table was looked at after
/// calls for espial_reply_path_slots() slots together.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE. Nothing is taken out then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_reply_path_expire(
    reply_path: *mut espial_reply_path,
    now_ms: u64,
    slots: u32,
    ended: *mut espial_pin,
    room: usize,
    count: *mut usize,
) -> i32 {
    call!(|c| {
        let path = c.reply_path(reply_path)?;
        let count = c.out(count)?;
        let mut ended = c.outs(ended, room)?;
        let number = path.expire(now_ms, slots, |pin| ended.push(&convert::pin_codes(pin)));
        count.set(number as usize);
        Ok(())
    })
}

/// All connections: the first room of them into the caller's array; *count is how many there are, room for them or
/// not. Reads the whole table: for an operator's command, not for the packet path.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_reply_path_list(
    reply_path: *mut espial_reply_path,
    now_ms: u64,
    list: *mut espial_pin,
    room: usize,
    count: *mut usize,
) -> i32 {
    call!(|c| {
        let path = c.reply_path(reply_path)?;
        let count = c.out(count)?;
        let mut list = c.outs(list, room)?;
        let mut number = 0_usize;
        for pin in path.iter(now_ms) {
            number = number.saturating_add(1);
            list.push(&convert::pin_codes(&pin));
        }
        count.set(number);
        Ok(())
    })
}

/// How many connections there are, those included that have ended and not been told of yet, and how many slots the
/// table has for espial_reply_path_expire() to look at.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_reply_path_slots(
    reply_path: *mut espial_reply_path,
    used: *mut u32,
    slots: *mut u32,
) -> i32 {
    call!(|c| {
        let path = c.reply_path(reply_path)?;
        let (used, slots) = (c.out(used)?, c.out(slots)?);
        used.set(path.len());
        slots.set(path.slots());
        Ok(())
    })
}
