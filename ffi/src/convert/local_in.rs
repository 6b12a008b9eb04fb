//! Packets of the gateway's own, and the policies that judge what starts outside.

use espial::gate::local_in::{Action, Answer, By, LocalPacket};
#[cfg(any(feature = "alloc", test))]
use espial::gate::local_in::{POLICY_SELECTORS_MAX, Schedule, Service};
#[cfg(any(feature = "alloc", test))]
use espial::headers::{Family, protocol};
use espial::headers::{Fragment, InnerHeaders, NextLayer, Outer};
use espial::selector::AddrRange;
#[cfg(any(feature = "alloc", test))]
use espial::selector::PortRange;
use espial::wire;

use super::packet::{NO_INNER, inner, inner_codes, test_inner, traffic_code};
use super::{VALUE, v4, v6};
use crate::status::Status;
use crate::types::*;

const _: () = {
    assert!(ESPIAL_LOCAL_IN_DENY == Action::Deny as u8);
    assert!(ESPIAL_LOCAL_IN_ACCEPT == Action::Accept as u8);
};
#[cfg(any(feature = "alloc", test))]
const _: () = {
    assert!(ESPIAL_SCHEDULES == Schedule::COUNT);
    assert!(ESPIAL_LOCAL_IN_SELECTORS_MAX == POLICY_SELECTORS_MAX);
};

/// What a packet is; `None`: IPsec, or malformed.
pub(super) fn class(traffic: u8) -> Result<Option<Outer>, Status> {
    match traffic {
        ESPIAL_TRAFFIC_NONE | ESPIAL_TRAFFIC_IPSEC => Ok(None),
        ESPIAL_TRAFFIC_IKE => Ok(Some(Outer::Ike)),
        ESPIAL_TRAFFIC_NAT_KEEPALIVE => Ok(Some(Outer::NatKeepalive)),
        ESPIAL_TRAFFIC_OTHER => Ok(Some(Outer::Other)),
        _ => Err(VALUE),
    }
}

/// The packet, if it is one that local-in policy judges.
#[inline]
pub fn local_packet(p: &espial_local_packet) -> Result<Option<LocalPacket>, Status> {
    let Some(outer) = class(p.traffic)? else { return Ok(None) };
    Ok(LocalPacket::new(&outer, inner(&p.headers)?, p.interface).ok())
}

/// Whether [`local_packet`] takes it, from its codes alone.
#[inline]
pub fn test_local(p: &espial_local_packet) -> Result<(), Status> {
    match class(p.traffic)? {
        None => Ok(()),
        Some(_) => test_inner(&p.headers),
    }
}

/// A place for a packet that is none.
pub const NO_PACKET: LocalPacket = {
    const HEADERS: InnerHeaders = InnerHeaders {
        endpoints: espial::headers::Endpoints::V4 { src: 0, dst: 0 },
        protocol: 0,
        next_layer: NextLayer::Opaque,
        fragment: Fragment::None,
    };
    match LocalPacket::new(&Outer::Other, HEADERS, 0) {
        Ok(packet) => packet,
        Err(_) => panic!(),
    }
};

/// What the octets of a packet hold, and why they were refused if they were.
pub fn local_codes(octets: &[u8], interface: u32) -> (espial_local_packet, u8) {
    let plain = espial_local_packet {
        headers: NO_INNER,
        interface,
        traffic: ESPIAL_TRAFFIC_NONE,
        reserved: [0; 3],
    };
    let class = match wire::classify(octets) {
        Ok(class) => class,
        Err(reason) => return (plain, reason.code()),
    };
    let traffic = traffic_code(&class);
    if matches!(class, Outer::Ipsec(_)) {
        return (espial_local_packet { traffic, ..plain }, ESPIAL_DROP_NONE);
    }
    match wire::inner(octets) {
        Ok(headers) => {
            let headers = inner_codes(&headers);
            (espial_local_packet { headers, traffic, ..plain }, ESPIAL_DROP_NONE)
        }
        Err(malformed) => (plain, espial::verdict::Reason::Malformed(malformed).code()),
    }
}

/// An answer that nobody gave.
pub const NOBODY: espial_local_in_answer = espial_local_in_answer {
    policy: 0,
    action: ESPIAL_LOCAL_IN_DENY,
    by: ESPIAL_LOCAL_IN_BY_NOBODY,
    reserved: 0,
};

#[inline]
pub fn local_in_codes(answer: Answer) -> espial_local_in_answer {
    let (policy, by) = match answer.by {
        By::Policy(id) => (id.0, ESPIAL_LOCAL_IN_BY_POLICY),
        By::Default => (0, ESPIAL_LOCAL_IN_BY_DEFAULT),
    };
    espial_local_in_answer { policy, action: answer.action as u8, by, reserved: 0 }
}

#[cfg(any(feature = "alloc", test))]
pub fn local_in_action(code: u32) -> Result<Action, Status> {
    u8::try_from(code).ok().and_then(Action::from_code).ok_or(VALUE)
}

#[cfg(any(feature = "alloc", test))]
pub fn schedule(code: u8) -> Result<Option<Schedule>, Status> {
    match code.checked_sub(1) {
        None => Ok(None),
        Some(number) => Schedule::new(number).map(Some).ok_or(VALUE),
    }
}

/// A range, and whether it is left out. It may be reversed.
pub fn range(r: &espial_range) -> Result<(AddrRange, bool), Status> {
    let addrs = match r.family {
        ESPIAL_FAMILY_V4 => AddrRange::V4 { lo: v4(&r.lo), hi: v4(&r.hi) },
        ESPIAL_FAMILY_V6 => AddrRange::V6 { lo: v6(&r.lo), hi: v6(&r.hi) },
        _ => return Err(VALUE),
    };
    match (r.exclude, r.reserved) {
        (0, 0) => Ok((addrs, false)),
        (1, 0) => Ok((addrs, true)),
        _ => Err(VALUE),
    }
}

#[cfg(any(feature = "alloc", test))]
pub fn service(s: &espial_service) -> Result<Service, Status> {
    if s.reserved != 0 {
        return Err(VALUE);
    }
    let ports = |lo, hi| PortRange::new(lo, hi).ok_or(Status(ESPIAL_ESELECTOR));
    let source = ports(s.src_port_lo, s.src_port_hi)?;
    let icmp = |family| Ok(Service::Icmp { family, values: source });
    match s.protocol {
        protocol::ICMP => icmp(Family::V4),
        protocol::ICMPV6 => icmp(Family::V6),
        protocol => {
            let destination = ports(s.dst_port_lo, s.dst_port_hi)?;
            let any = source == PortRange::ANY && destination == PortRange::ANY;
            Ok(if any {
                Service::Protocol(protocol)
            } else {
                Service::Ports { protocol, source, destination }
            })
        }
    }
}
