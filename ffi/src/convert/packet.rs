//! Headers of packets, and what is said of packets.

use espial::event::{Cause, Event};
use espial::headers::{Fragment, InnerHeaders, NextLayer, Outer, OuterHeaders, Spi};
use espial::inbound::{Accepted, Arrival, PortsV4};
use espial::sad::LimitKind;
use espial::verdict::{Decision, Field, Reason, SpiClass, Verdict};

use super::gateway::{NO_CHILD, NO_SA, NO_TUNNEL};
use super::policy::{NO_SELECTOR, selector_codes};
use super::{VALUE, encap, encap_code, endpoints_codes, endpoints_of, ipsec, ipsec_code, v4};
use crate::status::Status;
use crate::types::*;

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

/// Whether [`outer`] takes these headers, from their three codes alone: nothing is read of the addresses.
#[inline]
pub fn test_outer(o: &espial_outer) -> Result<(), Status> {
    endpoints_of(o.family, &[0; 16], &[0; 16])?;
    ipsec(o.ipsec)?;
    encap(o.encap)?;
    Ok(())
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

pub(super) const NO_OUTER: espial_outer = espial_outer {
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
#[inline(always)]
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

#[inline]
pub fn inner(i: &espial_inner) -> Result<InnerHeaders, Status> {
    let (next_layer, fragment) = layers(i)?;
    let endpoints = endpoints_of(i.family, &i.src, &i.dst)?;
    Ok(InnerHeaders { endpoints, protocol: i.protocol, next_layer, fragment })
}

/// Whether these are headers of what most packets are: a whole packet of IPv4 with ports.
#[inline(always)]
pub fn is_whole_v4(i: &espial_inner) -> bool {
    // Both codes at once.
    let layer = u16::from_ne_bytes([i.next_layer, i.fragment]);
    let ports = u16::from_ne_bytes([ESPIAL_NEXT_LAYER_PORTS, ESPIAL_FRAGMENT_NONE]);
    i.family == ESPIAL_FAMILY_V4 && layer == ports
}

impl PortsV4 for espial_inner {
    #[inline(always)]
    fn addresses(&self) -> (u32, u32) {
        (v4(&self.src), v4(&self.dst))
    }

    #[inline(always)]
    fn ports(&self) -> (u16, u16) {
        (self.sport, self.dport)
    }

    #[inline(always)]
    fn protocol(&self) -> u8 {
        self.protocol
    }
}

/// Whether [`inner`] takes these headers, from their three codes alone: nothing is read of the addresses.
#[inline]
pub fn test_inner(i: &espial_inner) -> Result<(), Status> {
    layers(i)?;
    endpoints_of(i.family, &[0; 16], &[0; 16])?;
    Ok(())
}

pub(super) fn inner_codes(inner: &InnerHeaders) -> espial_inner {
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

pub(super) const NO_INNER: espial_inner = espial_inner {
    family: 0,
    protocol: 0,
    next_layer: 0,
    fragment: 0,
    sport: 0,
    dport: 0,
    src: [0; 16],
    dst: [0; 16],
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

pub(super) fn traffic_code(outer: &Outer) -> u8 {
    match outer {
        Outer::Ipsec(_) => ESPIAL_TRAFFIC_IPSEC,
        Outer::Ike => ESPIAL_TRAFFIC_IKE,
        Outer::NatKeepalive => ESPIAL_TRAFFIC_NAT_KEEPALIVE,
        Outer::Other => ESPIAL_TRAFFIC_OTHER,
    }
}

pub fn class_codes(classified: Result<Outer, Reason>) -> espial_class {
    match classified {
        Ok(found) => {
            let (traffic, reason) = (traffic_code(&found), ESPIAL_DROP_NONE);
            let mut class = espial_class { traffic, reason, reserved: 0, outer: NO_OUTER };
            if let Outer::Ipsec(outer) = &found {
                class.outer = outer_codes(outer);
            }
            class
        }
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
        Arrival::Sa(sa, outer) => {
            let (verdict, traffic) = (ESPIAL_VERDICT_OPEN, ESPIAL_TRAFFIC_IPSEC);
            let mut open = espial_arrival { verdict, traffic, sa: (*sa).into(), ..plain };
            // By itself: in its place, not beside it first.
            open.outer = outer_codes(outer);
            open
        }
        Arrival::Pass(other) => {
            espial_arrival { verdict: ESPIAL_VERDICT_PASS, traffic: traffic_code(other), ..plain }
        }
    }
}

#[cfg_attr(not(target_os = "none"), inline)]
#[cfg_attr(target_os = "none", inline(never))]
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

/// The verdict on a packet that is accepted, and no shadow mode was asked.
#[inline]
pub fn accepted_codes(accepted: &Accepted) -> espial_verdict {
    espial_verdict {
        verdict: ESPIAL_VERDICT_ACCEPT,
        tunnel: accepted.tunnel.into(),
        child: accepted.child.into(),
        belongs_to: accepted.by.into(),
        ..refused_verdict(ESPIAL_DROP_NONE)
    }
}

/// The verdict on a packet that is dropped, of which no more is known.
#[inline]
pub fn refused_code(reason: Reason) -> espial_verdict {
    refused_verdict(reason.code())
}

#[inline]
const fn refused_verdict(reason: u8) -> espial_verdict {
    espial_verdict {
        verdict: ESPIAL_VERDICT_DROP,
        reason,
        field: ESPIAL_FIELD_NONE,
        spi_class: ESPIAL_SPI_CLASS_NONE,
        shadow_asked: 0,
        shadow_accepts: 0,
        reserved: 0,
        deleted_ago_ms: 0,
        nearest_index: 0,
        tunnel: NO_TUNNEL,
        child: NO_CHILD,
        belongs_to: NO_CHILD,
    }
}

/// The short verdict on a packet that is accepted.
pub const ACCEPTED: espial_plain_verdict =
    espial_plain_verdict { verdict: ESPIAL_VERDICT_ACCEPT, reason: ESPIAL_DROP_NONE };

/// The short verdict on a packet that is dropped.
pub fn refused_plain(reason: Reason) -> espial_plain_verdict {
    espial_plain_verdict { verdict: ESPIAL_VERDICT_DROP, reason: reason.code() }
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
        suppressed_of_source: event.suppressed_of_source,
        reserved_more: 0,
    }
}
