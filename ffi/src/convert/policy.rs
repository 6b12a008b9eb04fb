//! Selectors and policies, and what an SPD answers.

use espial::selector::{AddrRange, PortRange, Selector, TrafficSelector};
#[cfg(any(feature = "alloc", test))]
use espial::spd::{Action, Direction, DisjointEntry, Order};
use espial::spd::{Answer, Entry};

use super::{VALUE, v4, v4_octets, v6};
use crate::status::Status;
use crate::types::*;

/// What a scratch slot holds before it is used.
pub const ANY_V4: TrafficSelector = TrafficSelector {
    addrs: AddrRange::V4 { lo: 0, hi: u32::MAX },
    protocol: 0,
    ports: PortRange::ANY,
};

/// Family, first and last address.
pub fn range_codes(range: &AddrRange) -> (u8, [u8; 16], [u8; 16]) {
    match *range {
        AddrRange::V4 { lo, hi } => (ESPIAL_FAMILY_V4, v4_octets(lo), v4_octets(hi)),
        AddrRange::V6 { lo, hi } => (ESPIAL_FAMILY_V6, lo.to_be_bytes(), hi.to_be_bytes()),
    }
}

pub fn traffic_selector(ts: &espial_ts) -> Result<TrafficSelector, Status> {
    if ts.reserved != 0 {
        return Err(VALUE);
    }
    let addrs = match ts.family {
        ESPIAL_FAMILY_V4 => AddrRange::V4 { lo: v4(&ts.addr_lo), hi: v4(&ts.addr_hi) },
        ESPIAL_FAMILY_V6 => AddrRange::V6 { lo: v6(&ts.addr_lo), hi: v6(&ts.addr_hi) },
        _ => return Err(VALUE),
    };
    let ports = PortRange::new(ts.port_lo, ts.port_hi).ok_or(Status(ESPIAL_ESELECTOR))?;
    TrafficSelector::new(addrs, ts.protocol, ports).map_err(|_| Status(ESPIAL_ESELECTOR))
}

/// The local and the remote side of a selector.
fn sides(s: &espial_selector) -> Result<(TrafficSelector, TrafficSelector), Status> {
    let side = |port_lo, port_hi, addr_lo, addr_hi| {
        let (family, protocol, reserved) = (s.family, s.protocol, s.reserved);
        let ts = espial_ts { family, protocol, port_lo, port_hi, reserved, addr_lo, addr_hi };
        traffic_selector(&ts)
    };
    let remote = side(s.remote_port_lo, s.remote_port_hi, s.remote_lo, s.remote_hi)?;
    let local = side(s.local_port_lo, s.local_port_hi, s.local_lo, s.local_hi)?;
    Ok((local, remote))
}

/// Both sides of a selector. The one value of ICMP and Mobility Header is the remote side's: then the
/// local ports are ANY, whatever they were (`Selector::pair`).
pub fn selector(s: &espial_selector) -> Result<Selector, Status> {
    paired(sides(s)?)
}

/// A local and a remote side.
fn paired((local, remote): (TrafficSelector, TrafficSelector)) -> Result<Selector, Status> {
    // Never `None`: there is one family and one protocol.
    Selector::pair(&local, &remote).ok().flatten().ok_or(Status(ESPIAL_ESELECTOR))
}

/// Both sides of a policy's selector; the one value of ICMP and Mobility Header is the side's that packets
/// of this direction come from (`Direction::selector`).
#[cfg(any(feature = "alloc", test))]
pub fn policy_selector(direction: Direction, s: &espial_selector) -> Result<Selector, Status> {
    let (local, remote) = sides(s)?;
    direction.selector(&local, &remote).ok().flatten().ok_or(Status(ESPIAL_ESELECTOR))
}

/// A selector as inbound packets are compared with it; of an outbound one both sides are exchanged, so that a
/// packet's source meets the local range.
#[cfg(any(feature = "alloc", test))]
pub fn compared(direction: Direction, s: &espial_selector) -> Result<Selector, Status> {
    let (local, remote) = sides(s)?;
    paired(match direction {
        Direction::Inbound => (local, remote),
        Direction::Outbound => (remote, local),
    })
}

#[cfg(any(feature = "alloc", test))]
pub fn action(code: u8) -> Result<Action, Status> {
    Action::from_code(code).ok_or(VALUE)
}

#[cfg(any(feature = "alloc", test))]
pub fn order(code: u32) -> Result<Order, Status> {
    match code {
        ESPIAL_ORDER_PLACED => Ok(Order::Placed),
        ESPIAL_ORDER_HIGHEST_FIRST => Ok(Order::HighestFirst),
        ESPIAL_ORDER_LOWEST_FIRST => Ok(Order::LowestFirst),
        ESPIAL_ORDER_PROTECT_FIRST => Ok(Order::ProtectFirst),
        _ => Err(VALUE),
    }
}

#[cfg(any(feature = "alloc", test))]
pub fn disjoint_codes(entry: &DisjointEntry) -> espial_disjoint {
    let (family, remote_lo, remote_hi) = range_codes(&entry.remote);
    let (_, local_lo, local_hi) = range_codes(&entry.local);
    espial_disjoint {
        id: entry.id.0,
        action: entry.action as u8,
        family,
        protocol_lo: entry.protocol_lo,
        protocol_hi: entry.protocol_hi,
        remote_port_lo: entry.remote_ports.lo(),
        remote_port_hi: entry.remote_ports.hi(),
        local_port_lo: entry.local_ports.lo(),
        local_port_hi: entry.local_ports.hi(),
        remote_lo,
        remote_hi,
        local_lo,
        local_hi,
    }
}

#[cfg(any(feature = "alloc", test))]
pub fn direction(code: u32) -> Result<Direction, Status> {
    match code {
        ESPIAL_DIRECTION_INBOUND => Ok(Direction::Inbound),
        ESPIAL_DIRECTION_OUTBOUND => Ok(Direction::Outbound),
        _ => Err(VALUE),
    }
}

pub fn answer_codes(answer: Answer) -> espial_spd_answer {
    match answer.entry() {
        Some(entry) => entry_codes(entry),
        None => espial_spd_answer {
            id: 0,
            place: ESPIAL_SPD_NONE,
            action: answer.action() as u8,
            reserved: [0; 3],
        },
    }
}

pub fn entry_codes(entry: Entry) -> espial_spd_answer {
    let Entry { id, place, action } = entry;
    espial_spd_answer { id: id.0, place, action: action as u8, reserved: [0; 3] }
}

pub fn selector_codes(selector: &Selector) -> espial_selector {
    let (family, remote_lo, remote_hi) = range_codes(&selector.remote);
    let (_, local_lo, local_hi) = range_codes(&selector.local);
    espial_selector {
        family,
        protocol: selector.protocol,
        remote_port_lo: selector.remote_ports.lo(),
        remote_port_hi: selector.remote_ports.hi(),
        local_port_lo: selector.local_ports.lo(),
        local_port_hi: selector.local_ports.hi(),
        reserved: 0,
        remote_lo,
        remote_hi,
        local_lo,
        local_hi,
    }
}

pub(super) const NO_SELECTOR: espial_selector = espial_selector {
    family: 0,
    protocol: 0,
    remote_port_lo: 0,
    remote_port_hi: 0,
    local_port_lo: 0,
    local_port_hi: 0,
    reserved: 0,
    remote_lo: [0; 16],
    remote_hi: [0; 16],
    local_lo: [0; 16],
    local_hi: [0; 16],
};
