//! Connections and sessions.

use espial::gate::flow::FlowKey;
use espial::gate::session::{Ended, Limits, Session, SessionPacket, Side, TTL_MS};
use espial::headers::{Endpoints, InnerHeaders, NextLayer, Outer};

use super::local_in::class;
use super::{VALUE, endpoints_codes, endpoints_of, inner};
use crate::status::Status;
use crate::types::*;

const _: () = assert!(ESPIAL_SESSION_TTL_MS == TTL_MS);

pub fn flow(f: &espial_flow) -> Result<FlowKey, Status> {
    if f.reserved != 0 {
        return Err(VALUE);
    }
    Ok(FlowKey {
        endpoints: endpoints_of(f.family, &f.src, &f.dst)?,
        protocol: f.protocol,
        src_port: f.sport,
        dst_port: f.dport,
    })
}

#[inline]
pub fn flow_codes(key: &FlowKey) -> espial_flow {
    let (family, src, dst) = endpoints_codes(&key.endpoints);
    let FlowKey { protocol, src_port: sport, dst_port: dport, .. } = *key;
    espial_flow { family, protocol, sport, dport, reserved: 0, src, dst }
}

pub const NO_FLOW: espial_flow = espial_flow {
    family: 0,
    protocol: 0,
    sport: 0,
    dport: 0,
    reserved: 0,
    src: [0; 16],
    dst: [0; 16],
};

/// The connection of a packet.
fn key_of(headers: &InnerHeaders) -> FlowKey {
    let (src_port, dst_port) = match headers.next_layer {
        NextLayer::Ports { src, dst } => (src, dst),
        _ => (0, 0),
    };
    FlowKey { endpoints: headers.endpoints, protocol: headers.protocol, src_port, dst_port }
}

pub fn side(code: u32) -> Result<Side, Status> {
    match u8::try_from(code) {
        Ok(ESPIAL_SIDE_LOCAL) => Ok(Side::Local),
        Ok(ESPIAL_SIDE_REMOTE) => Ok(Side::Remote),
        _ => Err(VALUE),
    }
}

pub(super) fn side_code(side: Side) -> u8 {
    match side {
        Side::Local => ESPIAL_SIDE_LOCAL,
        Side::Remote => ESPIAL_SIDE_REMOTE,
    }
}

/// The packet that `from` sent, if it may belong to a session.
#[inline]
pub fn session_packet(
    p: &espial_local_packet,
    from: Side,
) -> Result<Option<SessionPacket>, Status> {
    read(p, |key, class| of_session(key, from, class))
}

/// The packet that may open a session, from its side: an answer, too.
pub fn opening_packet(p: &espial_local_packet, from: u32) -> Result<Option<SessionPacket>, Status> {
    if from == u32::from(ESPIAL_SIDE_ANSWER) {
        return read(p, SessionPacket::answer);
    }
    session_packet(p, side(from)?)
}

/// What `make` makes of a packet, if it may belong to a session.
#[inline]
fn read(
    p: &espial_local_packet,
    make: impl FnOnce(&FlowKey, &Outer) -> Option<SessionPacket>,
) -> Result<Option<SessionPacket>, Status> {
    let Some(class) = class(p.traffic)? else { return Ok(None) };
    Ok(make(&key_of(&inner(&p.headers)?), &class))
}

fn of_session(key: &FlowKey, from: Side, class: &Outer) -> Option<SessionPacket> {
    match from {
        Side::Local => SessionPacket::sent(key, class),
        Side::Remote => SessionPacket::received(key, class),
    }
}

/// A place for a packet that is none.
pub fn no_session_packet() -> Result<SessionPacket, Status> {
    let endpoints = Endpoints::V4 { src: 0, dst: 0 };
    let key = FlowKey { endpoints, protocol: 0, src_port: 0, dst_port: 0 };
    // Always `Some`: it is not IPsec.
    of_session(&key, Side::Local, &Outer::Other).ok_or(VALUE)
}

pub fn session_limits(limits: &espial_session_limits) -> Limits {
    let ttl_ms = if limits.ttl_ms == 0 { TTL_MS } else { limits.ttl_ms };
    Limits { capacity: limits.capacity, reserved: limits.own, ttl_ms }
}

#[inline]
pub fn session_codes(session: &Session) -> espial_session {
    espial_session {
        serial: session.serial,
        origin: side_code(session.origin),
        reserved: [0; 3],
        duration_ms: session.duration_ms,
        left_ms: session.left_ms,
        flow: flow_codes(&session.key),
    }
}

pub const NO_SESSION: espial_session = espial_session {
    serial: 0,
    origin: 0,
    reserved: [0; 3],
    duration_ms: 0,
    left_ms: 0,
    flow: NO_FLOW,
};

pub fn ended_codes(ended: &Ended) -> espial_session_end {
    espial_session_end {
        serial: ended.serial,
        origin: side_code(ended.origin),
        reserved: [0; 3],
        idle_ms: ended.idle_ms,
        flow: flow_codes(&ended.key),
    }
}

pub const NO_END: espial_session_end =
    espial_session_end { serial: 0, origin: 0, reserved: [0; 3], idle_ms: 0, flow: NO_FLOW };
