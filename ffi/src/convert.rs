//! Numbers of the border to types of the core, checked, and back.
//!
//! Every code that the core gives out and every number of the header are held together here, at
//! compile time where the core is `const`, else by the tests at the foot.

use core::net::IpAddr;

use espial::control::{Due, SaState};
use espial::counters::Counts;
use espial::event::{Cause, Event};
use espial::headers::{
    Encap, Endpoints, Fragment, InnerHeaders, Ipsec, NextLayer, Outer, OuterHeaders, Spi,
};
use espial::inbound::Arrival;
use espial::sad::replay::MAX_WINDOW;
use espial::sad::{Lifetime, Limit, LimitKind, Replay, ReplayStart, SaId, SaKey, SaMode, Scope};
use espial::selector::{AddrRange, PortRange, Selector, TrafficSelector};
use espial::spd::{Action, Answer, Direction, Entry};
use espial::verdict::{Decision, Field, Mode, Modes, Reason, SpiClass, Verdict};
use espial::{Capacity, ChildId, SaParams, TunnelId};

use crate::status::Status;
use crate::types::*;

const VALUE: Status = Status(ESPIAL_EVALUE);

/// What a scratch slot holds before it is used.
pub const ANY_V4: TrafficSelector = TrafficSelector {
    addrs: AddrRange::V4 { lo: 0, hi: u32::MAX },
    protocol: 0,
    ports: PortRange::ANY,
};

// The version macros are the package's version.
const _: () = {
    const fn is(text: &str, number: u32) -> bool {
        let mut value = 0;
        let mut rest = text.as_bytes();
        while let [digit, after @ ..] = rest {
            value = value * 10 + (*digit - b'0') as u32;
            rest = after;
        }
        value == number
    }
    assert!(is(env!("CARGO_PKG_VERSION_MAJOR"), ESPIAL_VERSION_MAJOR));
    assert!(is(env!("CARGO_PKG_VERSION_MINOR"), ESPIAL_VERSION_MINOR));
    assert!(is(env!("CARGO_PKG_VERSION_PATCH"), ESPIAL_VERSION_PATCH));
    assert!(ESPIAL_MODES == Mode::ALL.len());
    assert!(ESPIAL_WINDOW_MAX == MAX_WINDOW);
    assert!(ESPIAL_ACTION_DISCARD == Action::Discard as u8);
    assert!(ESPIAL_ACTION_BYPASS == Action::Bypass as u8);
    assert!(ESPIAL_ACTION_PROTECT == Action::Protect as u8);
    assert!(ESPIAL_DIRECTION_INBOUND == Direction::Inbound as u32);
    assert!(ESPIAL_DIRECTION_OUTBOUND == Direction::Outbound as u32);
};

pub fn capacity(c: &espial_capacity) -> Capacity {
    Capacity {
        tunnels: c.tunnels,
        children: c.children,
        selectors: c.selectors,
        sas: c.sas,
        sas_dst: c.sas_dst,
        sas_dst_src: c.sas_dst_src,
        sas_allocated: c.sas_allocated,
        replay_window: c.replay_window,
        workers: c.workers,
    }
}

impl From<espial_tunnel> for TunnelId {
    fn from(handle: espial_tunnel) -> Self {
        Self::from_raw(handle.index, handle.generation)
    }
}
impl From<TunnelId> for espial_tunnel {
    fn from(id: TunnelId) -> Self {
        Self { index: id.index(), generation: id.generation() }
    }
}
impl From<espial_child> for ChildId {
    fn from(handle: espial_child) -> Self {
        Self::from_raw(handle.index, handle.generation)
    }
}
impl From<ChildId> for espial_child {
    fn from(id: ChildId) -> Self {
        Self { index: id.index(), generation: id.generation() }
    }
}
impl From<espial_sa> for SaId {
    fn from(handle: espial_sa) -> Self {
        Self::from_raw(u64::from(handle.spi) << 32 | u64::from(handle.slot))
    }
}
impl From<SaId> for espial_sa {
    fn from(id: SaId) -> Self {
        Self { slot: id.to_raw() as u32, spi: id.spi().0 }
    }
}

const NO_TUNNEL: espial_tunnel = espial_tunnel { index: 0, generation: 0 };
const NO_CHILD: espial_child = espial_child { index: 0, generation: 0 };
const NO_SA: espial_sa = espial_sa { slot: 0, spi: 0 };

pub fn mode(code: u32) -> Result<Mode, Status> {
    match code {
        ESPIAL_MODE_STRICT_SA => Ok(Mode::StrictSa),
        ESPIAL_MODE_ANY_SELECTOR => Ok(Mode::AnySelector),
        ESPIAL_MODE_ANY_SOURCE => Ok(Mode::AnySource),
        ESPIAL_MODE_ORDERED_SPD => Ok(Mode::OrderedSpd),
        _ => Err(VALUE),
    }
}

pub fn modes(bits: u32) -> Result<Modes, Status> {
    u8::try_from(bits).ok().and_then(Modes::from_bits).ok_or(VALUE)
}

fn ipsec(code: u8) -> Result<Ipsec, Status> {
    match code {
        ESPIAL_IPSEC_ESP => Ok(Ipsec::Esp),
        ESPIAL_IPSEC_AH => Ok(Ipsec::Ah),
        _ => Err(VALUE),
    }
}

/// ESPIAL_IPSEC_* as an argument of a call.
pub fn protocol(code: u32) -> Result<Ipsec, Status> {
    ipsec(u8::try_from(code).map_err(|_| VALUE)?)
}

fn ipsec_code(ipsec: Ipsec) -> u8 {
    match ipsec {
        Ipsec::Esp => ESPIAL_IPSEC_ESP,
        Ipsec::Ah => ESPIAL_IPSEC_AH,
    }
}

fn encap(code: u8) -> Result<Encap, Status> {
    match code {
        ESPIAL_ENCAP_NONE => Ok(Encap::None),
        ESPIAL_ENCAP_UDP => Ok(Encap::Udp),
        ESPIAL_ENCAP_TCP => Ok(Encap::Tcp),
        _ => Err(VALUE),
    }
}

fn encap_code(encap: Encap) -> u8 {
    match encap {
        Encap::None => ESPIAL_ENCAP_NONE,
        Encap::Udp => ESPIAL_ENCAP_UDP,
        Encap::Tcp => ESPIAL_ENCAP_TCP,
    }
}

fn v4(octets: &[u8; 16]) -> u32 {
    let [a, b, c, d, ..] = *octets;
    u32::from_be_bytes([a, b, c, d])
}

fn v4_octets(addr: u32) -> [u8; 16] {
    let [a, b, c, d] = addr.to_be_bytes();
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

fn v6(octets: &[u8; 16]) -> u128 {
    u128::from_be_bytes(*octets)
}

fn addr(family: u8, octets: &[u8; 16]) -> Result<IpAddr, Status> {
    match family {
        ESPIAL_FAMILY_V4 => Ok(IpAddr::V4(v4(octets).into())),
        ESPIAL_FAMILY_V6 => Ok(IpAddr::V6((*octets).into())),
        _ => Err(VALUE),
    }
}

fn endpoints_of(family: u8, src: &[u8; 16], dst: &[u8; 16]) -> Result<Endpoints, Status> {
    match family {
        ESPIAL_FAMILY_V4 => Ok(Endpoints::V4 { src: v4(src), dst: v4(dst) }),
        ESPIAL_FAMILY_V6 => Ok(Endpoints::V6 { src: v6(src), dst: v6(dst) }),
        _ => Err(VALUE),
    }
}

pub fn endpoints(both: &espial_endpoints) -> Result<Endpoints, Status> {
    endpoints_of(both.family, &both.src, &both.dst)
}

/// Family, source and destination.
fn endpoints_codes(endpoints: &Endpoints) -> (u8, [u8; 16], [u8; 16]) {
    match *endpoints {
        Endpoints::V4 { src, dst } => (ESPIAL_FAMILY_V4, v4_octets(src), v4_octets(dst)),
        Endpoints::V6 { src, dst } => (ESPIAL_FAMILY_V6, src.to_be_bytes(), dst.to_be_bytes()),
    }
}

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

pub fn sa_key(key: &espial_sa_key) -> Result<SaKey, Status> {
    if key.reserved != 0 {
        return Err(VALUE);
    }
    let (dst, src) = match (key.scope, key.family) {
        (ESPIAL_SCOPE_SPI, 0) => (None, None),
        (ESPIAL_SCOPE_DST, family) => (Some(addr(family, &key.dst)?), None),
        (ESPIAL_SCOPE_DST_SRC, family) => {
            (Some(addr(family, &key.dst)?), Some(addr(family, &key.src)?))
        }
        _ => return Err(VALUE),
    };
    Ok(SaKey::new(ipsec(key.ipsec)?, Spi(key.spi), dst, src)?)
}

pub fn sa_key_codes(key: &SaKey) -> espial_sa_key {
    let any = |dst| match dst {
        IpAddr::V4(dst) => Endpoints::V4 { src: 0, dst: dst.to_bits() },
        IpAddr::V6(dst) => Endpoints::V6 { src: 0, dst: dst.to_bits() },
    };
    let (scope, (family, src, dst)) = match key.scope {
        Scope::Spi => (ESPIAL_SCOPE_SPI, (0, [0; 16], [0; 16])),
        Scope::Destination(dst) => (ESPIAL_SCOPE_DST, endpoints_codes(&any(dst))),
        Scope::DestinationSource(both) => (ESPIAL_SCOPE_DST_SRC, endpoints_codes(&both)),
    };
    let ipsec = ipsec_code(key.ipsec);
    espial_sa_key { spi: key.spi.0, ipsec, scope, family, reserved: 0, dst, src }
}

pub fn sa_params(params: &espial_sa_params) -> Result<SaParams, Status> {
    let mode = match (params.mode, params.reserved) {
        (ESPIAL_SA_TUNNEL, 0) => SaMode::Tunnel,
        (ESPIAL_SA_TRANSPORT, 0) => SaMode::Transport,
        _ => return Err(VALUE),
    };
    let limit = |packets, octets, at_ms| {
        let some = |limit: u64| (limit != 0).then_some(limit);
        Limit { packets: some(packets), octets: some(octets), at_ms: some(at_ms) }
    };
    Ok(SaParams {
        key: sa_key(&params.key)?,
        mode,
        encap: encap(params.encap)?,
        replay: replay(params)?,
        lifetime: Lifetime {
            soft: limit(params.soft_packets, params.soft_octets, params.soft_ms),
            hard: limit(params.hard_packets, params.hard_octets, params.hard_ms),
        },
    })
}

fn replay(params: &espial_sa_params) -> Result<Replay, Status> {
    let esn = match (params.esn, params.replay_reserved) {
        (0, 0) => false,
        (1, 0) => true,
        _ => return Err(VALUE),
    };
    let start = match params.replay_start {
        ESPIAL_REPLAY_START_HIGH => {
            let high = u32::try_from(params.replay_value).map_err(|_| Status(ESPIAL_ERANGE))?;
            ReplayStart::High(high)
        }
        ESPIAL_REPLAY_START_TOP => ReplayStart::Top(params.replay_value),
        _ => return Err(VALUE),
    };
    Ok(Replay { window: params.replay_window, esn, start })
}

pub fn sa_state_codes(state: &SaState, size: usize) -> espial_sa_state {
    let SaState { top, packets, octets } = *state;
    espial_sa_state { size: size as u32, reserved: 0, top, packets, octets }
}

/// The SA that is due, and how.
pub fn due_codes(due: Option<(SaId, Due)>) -> (espial_sa, u32) {
    match due {
        None => (NO_SA, ESPIAL_DUE_NONE),
        Some((sa, Due::Soft)) => (sa.into(), ESPIAL_DUE_SOFT),
        Some((sa, Due::Hard)) => (sa.into(), ESPIAL_DUE_HARD),
    }
}

#[inline]
pub fn outer(o: &espial_outer) -> Result<OuterHeaders, Status> {
    Ok(OuterHeaders {
        endpoints: endpoints_of(o.family, &o.src, &o.dst)?,
        ipsec: ipsec(o.ipsec)?,
        encap: encap(o.encap)?,
        spi: Spi(o.spi),
        sequence: o.sequence,
        sequence_high: o.sequence_high,
        sport: o.sport,
        dport: o.dport,
        offset: o.offset,
        octets: o.octets,
        flow_label: o.flow_label,
    })
}

/// The headers of a packet that is not looked up yet: nobody has guessed a high half.
#[inline]
pub fn arriving(o: &espial_outer) -> Result<OuterHeaders, Status> {
    Ok(OuterHeaders { sequence_high: 0, ..outer(o)? })
}

#[inline]
pub fn outer_codes(outer: &OuterHeaders) -> espial_outer {
    let (family, src, dst) = endpoints_codes(&outer.endpoints);
    espial_outer {
        family,
        ipsec: ipsec_code(outer.ipsec),
        encap: encap_code(outer.encap),
        reserved: 0,
        spi: outer.spi.0,
        sequence: outer.sequence,
        sequence_high: outer.sequence_high,
        sport: outer.sport,
        dport: outer.dport,
        offset: outer.offset,
        octets: outer.octets,
        flow_label: outer.flow_label,
        src,
        dst,
    }
}

const NO_OUTER: espial_outer = espial_outer {
    family: 0,
    ipsec: 0,
    encap: 0,
    reserved: 0,
    spi: 0,
    sequence: 0,
    sequence_high: 0,
    sport: 0,
    dport: 0,
    offset: 0,
    octets: 0,
    flow_label: 0,
    src: [0; 16],
    dst: [0; 16],
};

/// What an opened packet's next layer holds, and what fragment it is.
fn layers(i: &espial_inner) -> Result<(NextLayer, Fragment), Status> {
    let next_layer = match i.next_layer {
        ESPIAL_NEXT_LAYER_OPAQUE => NextLayer::Opaque,
        ESPIAL_NEXT_LAYER_PORTS => NextLayer::Ports { src: i.sport, dst: i.dport },
        ESPIAL_NEXT_LAYER_ICMP => NextLayer::Icmp(i.sport),
        ESPIAL_NEXT_LAYER_MOBILITY => NextLayer::Mobility(i.sport),
        _ => return Err(VALUE),
    };
    let fragment = match i.fragment {
        ESPIAL_FRAGMENT_NONE => Fragment::None,
        ESPIAL_FRAGMENT_FIRST => Fragment::First,
        ESPIAL_FRAGMENT_NON_INITIAL => Fragment::NonInitial,
        _ => return Err(VALUE),
    };
    Ok((next_layer, fragment))
}

pub fn inner(i: &espial_inner) -> Result<InnerHeaders, Status> {
    let (next_layer, fragment) = layers(i)?;
    let endpoints = endpoints_of(i.family, &i.src, &i.dst)?;
    Ok(InnerHeaders { endpoints, protocol: i.protocol, next_layer, fragment })
}

/// Whether [`inner`] takes these headers, from their three codes alone: nothing is read of the addresses.
#[inline]
pub fn test_inner(i: &espial_inner) -> Result<(), Status> {
    layers(i)?;
    endpoints_of(i.family, &[0; 16], &[0; 16])?;
    Ok(())
}

fn inner_codes(inner: &InnerHeaders) -> espial_inner {
    let (family, src, dst) = endpoints_codes(&inner.endpoints);
    let (next_layer, sport, dport) = match inner.next_layer {
        NextLayer::Opaque => (ESPIAL_NEXT_LAYER_OPAQUE, 0, 0),
        NextLayer::Ports { src, dst } => (ESPIAL_NEXT_LAYER_PORTS, src, dst),
        NextLayer::Icmp(value) => (ESPIAL_NEXT_LAYER_ICMP, value, 0),
        NextLayer::Mobility(value) => (ESPIAL_NEXT_LAYER_MOBILITY, value, 0),
    };
    let fragment = match inner.fragment {
        Fragment::None => ESPIAL_FRAGMENT_NONE,
        Fragment::First => ESPIAL_FRAGMENT_FIRST,
        Fragment::NonInitial => ESPIAL_FRAGMENT_NON_INITIAL,
    };
    espial_inner { family, protocol: inner.protocol, next_layer, fragment, sport, dport, src, dst }
}

const NO_INNER: espial_inner = espial_inner {
    family: 0,
    protocol: 0,
    next_layer: 0,
    fragment: 0,
    sport: 0,
    dport: 0,
    src: [0; 16],
    dst: [0; 16],
};

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
pub fn order(code: u32) -> Result<espial::spd::Order, Status> {
    use espial::spd::Order;
    match code {
        ESPIAL_ORDER_PLACED => Ok(Order::Placed),
        ESPIAL_ORDER_HIGHEST_FIRST => Ok(Order::HighestFirst),
        ESPIAL_ORDER_LOWEST_FIRST => Ok(Order::LowestFirst),
        ESPIAL_ORDER_PROTECT_FIRST => Ok(Order::ProtectFirst),
        _ => Err(VALUE),
    }
}

#[cfg(any(feature = "alloc", test))]
pub fn disjoint_codes(entry: &espial::spd::DisjointEntry) -> espial_disjoint {
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

const NO_SELECTOR: espial_selector = espial_selector {
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

pub fn field_code(field: Option<Field>) -> u8 {
    match field {
        None => ESPIAL_FIELD_NONE,
        Some(Field::Src) => ESPIAL_FIELD_SRC,
        Some(Field::Dst) => ESPIAL_FIELD_DST,
        Some(Field::Protocol) => ESPIAL_FIELD_PROTO,
        Some(Field::SourcePort) => ESPIAL_FIELD_SPORT,
        Some(Field::DestinationPort) => ESPIAL_FIELD_DPORT,
        Some(Field::Icmp) => ESPIAL_FIELD_ICMP,
        Some(Field::Mobility) => ESPIAL_FIELD_MH,
    }
}

/// The class and, for a deleted SA, how long ago.
fn spi_class_codes(class: Option<SpiClass>) -> (u8, u32) {
    match class {
        None => (ESPIAL_SPI_CLASS_NONE, 0),
        Some(SpiClass::NeverSeen) => (ESPIAL_SPI_CLASS_NEVER_SEEN, 0),
        Some(SpiClass::RecentlyDeleted { ago_ms }) => (ESPIAL_SPI_CLASS_RECENTLY_DELETED, ago_ms),
        Some(SpiClass::OtherDestination) => (ESPIAL_SPI_CLASS_OTHER_DESTINATION, 0),
        Some(SpiClass::Larval) => (ESPIAL_SPI_CLASS_LARVAL, 0),
    }
}

pub fn notice_code(kind: LimitKind) -> u8 {
    match kind {
        LimitKind::Packets => ESPIAL_NOTICE_SOFT_PACKETS,
        LimitKind::Octets => ESPIAL_NOTICE_SOFT_OCTETS,
        LimitKind::Time => ESPIAL_NOTICE_SOFT_TIME,
    }
}

fn traffic_code(outer: &Outer) -> u8 {
    match outer {
        Outer::Ipsec(_) => ESPIAL_TRAFFIC_IPSEC,
        Outer::Ike => ESPIAL_TRAFFIC_IKE,
        Outer::NatKeepalive => ESPIAL_TRAFFIC_NAT_KEEPALIVE,
        Outer::Other => ESPIAL_TRAFFIC_OTHER,
    }
}

pub fn class_codes(classified: Result<Outer, Reason>) -> espial_class {
    match classified {
        Ok(found) => espial_class {
            traffic: traffic_code(&found),
            reason: ESPIAL_DROP_NONE,
            reserved: 0,
            outer: if let Outer::Ipsec(outer) = &found { outer_codes(outer) } else { NO_OUTER },
        },
        Err(reason) => espial_class {
            traffic: ESPIAL_TRAFFIC_NONE,
            reason: reason.code(),
            reserved: 0,
            outer: NO_OUTER,
        },
    }
}

#[inline]
pub fn arrival_codes(arrival: &Arrival) -> espial_arrival {
    let plain = espial_arrival {
        verdict: ESPIAL_VERDICT_DROP,
        reason: ESPIAL_DROP_NONE,
        traffic: ESPIAL_TRAFFIC_NONE,
        spi_class: ESPIAL_SPI_CLASS_NONE,
        deleted_ago_ms: 0,
        sa: NO_SA,
        outer: NO_OUTER,
    };
    match arrival {
        Arrival::Drop(refusal) => {
            let (spi_class, deleted_ago_ms) = spi_class_codes(refusal.spi_class);
            espial_arrival { reason: refusal.reason.code(), spi_class, deleted_ago_ms, ..plain }
        }
        Arrival::Sa(sa, outer) => espial_arrival {
            verdict: ESPIAL_VERDICT_OPEN,
            traffic: ESPIAL_TRAFFIC_IPSEC,
            sa: (*sa).into(),
            outer: outer_codes(outer),
            ..plain
        },
        Arrival::Pass(other) => {
            espial_arrival { verdict: ESPIAL_VERDICT_PASS, traffic: traffic_code(other), ..plain }
        }
    }
}

#[inline]
pub fn verdict_codes(verdict: &Verdict) -> espial_verdict {
    let (tunnel, child) = match verdict.arrived {
        Some((tunnel, child)) => (tunnel.into(), child.into()),
        None => (NO_TUNNEL, NO_CHILD),
    };
    let plain = espial_verdict {
        verdict: ESPIAL_VERDICT_DROP,
        reason: ESPIAL_DROP_NONE,
        field: ESPIAL_FIELD_NONE,
        spi_class: ESPIAL_SPI_CLASS_NONE,
        shadow_asked: verdict.shadow_asked.bits(),
        shadow_accepts: verdict.shadow_accepts.bits(),
        reserved: 0,
        deleted_ago_ms: 0,
        nearest_index: 0,
        tunnel,
        child,
        belongs_to: NO_CHILD,
    };
    match &verdict.decision {
        Decision::Accept(by) => {
            espial_verdict { verdict: ESPIAL_VERDICT_ACCEPT, belongs_to: (*by).into(), ..plain }
        }
        Decision::Drop(refusal) => {
            let (spi_class, deleted_ago_ms) = spi_class_codes(refusal.spi_class);
            espial_verdict {
                reason: refusal.reason.code(),
                field: field_code(refusal.field),
                spi_class,
                deleted_ago_ms,
                nearest_index: refusal.nearest_index,
                belongs_to: refusal.belongs_to.map_or(NO_CHILD, Into::into),
                ..plain
            }
        }
    }
}

pub fn event_codes(event: &Event, size: u32) -> espial_event {
    let refusal = event.refusal();
    let (spi_class, deleted_ago_ms) =
        spi_class_codes(refusal.and_then(|refusal| refusal.spi_class));
    let notice = match event.cause {
        Cause::Drop(_) => ESPIAL_NOTICE_NONE,
        Cause::SoftLifetime(kind) => notice_code(kind),
    };
    let (tunnel, child) = match event.arrived {
        Some((tunnel, child)) => (tunnel.into(), child.into()),
        None => (NO_TUNNEL, NO_CHILD),
    };
    espial_event {
        size,
        interface: event.interface,
        time_ms: event.time_ms,
        reason: refusal.map_or(ESPIAL_DROP_NONE, |refusal| refusal.reason.code()),
        field: field_code(refusal.and_then(|refusal| refusal.field)),
        spi_class,
        notice,
        suppressed: event.suppressed,
        deleted_ago_ms,
        nearest_index: refusal.map_or(0, |refusal| refusal.nearest_index),
        sa: event.sa.map_or(NO_SA, Into::into),
        tunnel,
        child,
        belongs_to: refusal.and_then(|refusal| refusal.belongs_to).map_or(NO_CHILD, Into::into),
        outer: event.outer.as_ref().map_or(NO_OUTER, outer_codes),
        inner: event.inner.as_ref().map_or(NO_INNER, inner_codes),
        nearest: event.nearest.as_ref().map_or(NO_SELECTOR, selector_codes),
        reserved: 0,
    }
}

pub fn counts_codes(counts: &Counts, size: usize) -> espial_counts {
    let mut drops = [0; ESPIAL_REASONS];
    for reason in Reason::all() {
        if let Some(sum) = drops.get_mut(usize::from(reason.code())) {
            *sum = counts.drops_of(reason);
        }
    }
    espial_counts {
        size: size as u32,
        reserved: 0,
        packets: counts.packets,
        octets: counts.octets,
        dropped: counts.all_drops(),
        passed: 0,
        events_suppressed: 0,
        drops,
        shadow_accepts: counts.shadow_accepts,
        shadow_drops: counts.shadow_drops,
    }
}

/// The reason with this code.
pub fn reason(code: u32) -> Result<Reason, Status> {
    u8::try_from(code).ok().and_then(Reason::from_code).ok_or(VALUE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_fits_the_array_of_counts() {
        for reason in Reason::all() {
            assert!(usize::from(reason.code()) < ESPIAL_REASONS, "{reason:?}");
            assert_eq!(super::reason(reason.code().into()), Ok(reason));
        }
        for code in [0, 13, 31, 47, 255, 256, 257, u32::MAX] {
            assert_eq!(super::reason(code), Err(VALUE), "{code}");
        }
    }

    #[test]
    fn modes_are_the_cores() {
        for code in 0..ESPIAL_MODES as u32 {
            assert_eq!(mode(code).unwrap() as u32, code);
        }
        for code in [4, 256, u32::MAX] {
            assert_eq!(mode(code), Err(VALUE));
        }
        for bits in [16, 0x100, 0x101, u32::MAX] {
            assert_eq!(modes(bits), Err(VALUE));
        }
        assert_eq!(modes(15).unwrap().bits(), 15);
    }

    #[test]
    fn zeroed_inputs_are_refused() {
        let zero = espial_sa_key {
            spi: 0,
            ipsec: 0,
            scope: 0,
            family: 0,
            reserved: 0,
            dst: [0; 16],
            src: [0; 16],
        };
        assert_eq!(sa_key(&zero), Err(VALUE));
        assert_eq!(outer(&NO_OUTER), Err(VALUE));
        assert_eq!(inner(&NO_INNER), Err(VALUE));
    }

    /// A burst is counted once all codes stand, and must not fail after that.
    #[test]
    fn headers_are_taken_if_their_codes_stand() {
        let mut taken = 0;
        for code in 0..=255 {
            for other in 0..5 {
                for headers in [
                    espial_inner { family: code, next_layer: other, fragment: other, ..NO_INNER },
                    espial_inner { family: 4, next_layer: code, fragment: other, ..NO_INNER },
                    espial_inner { family: 6, next_layer: other, fragment: code, ..NO_INNER },
                ] {
                    assert_eq!(inner(&headers).map(|_| ()), test_inner(&headers));
                    taken += usize::from(inner(&headers).is_ok());
                }
            }
        }
        assert_eq!(taken, 2 * 3 + 4 * 3 + 4 * 3);
    }

    #[test]
    fn keys_go_there_and_back() {
        let plain = espial_sa_key {
            spi: 7,
            ipsec: ESPIAL_IPSEC_AH,
            scope: ESPIAL_SCOPE_DST_SRC,
            family: ESPIAL_FAMILY_V6,
            reserved: 0,
            dst: core::array::from_fn(|i| i as u8),
            src: core::array::from_fn(|i| 0x80 | i as u8),
        };
        let v4 = espial_sa_key {
            scope: ESPIAL_SCOPE_DST,
            family: ESPIAL_FAMILY_V4,
            dst: v4_octets(0xcb00_7102),
            src: [0; 16],
            ..plain
        };
        let spi = espial_sa_key { scope: ESPIAL_SCOPE_SPI, family: 0, dst: [0; 16], ..v4 };
        for key in [plain, v4, spi] {
            let back = sa_key_codes(&sa_key(&key).unwrap());
            assert_eq!(
                (back.spi, back.ipsec, back.scope, back.family),
                (7, 51, key.scope, key.family)
            );
            assert_eq!((back.dst, back.src), (key.dst, key.src));
        }
    }
}
