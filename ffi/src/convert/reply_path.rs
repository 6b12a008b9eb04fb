//! TCP segments and where their answers leave.

use core::net::IpAddr;

use espial::gate::reply_path::{
    Answer, Chosen, Leave, Limits, Pin, PolicyRoute, ReplyConfig, ReplyMode, Segment, TcpFlags,
    Timers,
};
use espial::selector::Prefix;

use super::{VALUE, addr, flow, flow_codes};
use crate::status::Status;
use crate::types::*;

pub fn reply_limits(l: &espial_reply_limits) -> Limits {
    let usual = Limits::of(l.capacity);
    let or = |given, usual| if given == 0 { usual } else { given };
    Limits {
        capacity: l.capacity,
        half_open: or(l.half_open, usual.half_open),
        timers: Timers {
            half_open_ms: or(l.half_open_ms, usual.timers.half_open_ms),
            established_ms: or(l.established_ms, usual.timers.established_ms),
            closed_ms: or(l.closed_ms, usual.timers.closed_ms),
        },
    }
}

pub fn address(a: &espial_addr) -> Result<IpAddr, Status> {
    if a.reserved != [0; 3] {
        return Err(VALUE);
    }
    addr(a.family, &a.addr)
}

pub fn policy_route(r: &espial_policy_route) -> Result<PolicyRoute, Status> {
    if r.reserved != 0 {
        return Err(VALUE);
    }
    let src = Prefix::masked(addr(r.family, &r.addr)?, r.prefix_len);
    let src = src.map_err(|_| Status(ESPIAL_ERANGE))?.range();
    Ok(PolicyRoute { src, output: r.output })
}

pub fn reply_config<'c>(
    c: &espial_reply_config,
    local: &'c [IpAddr],
    routes: &'c [PolicyRoute],
) -> Result<ReplyConfig<'c>, Status> {
    let mode = match (c.mode, c.reserved) {
        (ESPIAL_TCP_REPLY_UNPINNED, 0) => ReplyMode::Unpinned,
        (ESPIAL_TCP_REPLY_PINNED, 0) => ReplyMode::Pinned,
        (ESPIAL_TCP_REPLY_POLICY_ROUTE, 0) => {
            ReplyMode::PolicyRoute { routes, ike_policy_route: false }
        }
        (ESPIAL_TCP_REPLY_IKE_POLICY_ROUTE, 0) => {
            ReplyMode::PolicyRoute { routes, ike_policy_route: true }
        }
        _ => return Err(VALUE),
    };
    Ok(ReplyConfig { port: c.port, local, mode })
}

pub fn segment(s: &espial_segment) -> Result<Segment, Status> {
    if s.reserved != [0; 3] {
        return Err(VALUE);
    }
    Ok(Segment {
        key: flow(&s.flow)?,
        flags: TcpFlags(s.flags),
        seq: s.seq,
        ack: s.ack,
        payload_octets: s.payload_octets,
    })
}

/// What the routing table would choose.
pub fn route(interface: u32) -> Option<u32> {
    (interface != ESPIAL_INTERFACE_NONE).then_some(interface)
}

const fn plain(answer: u8) -> espial_reply {
    espial_reply {
        answer,
        chosen: ESPIAL_CHOSEN_NONE,
        recorded: 0,
        flags: 0,
        interface: 0,
        came_in: 0,
        ack: 0,
        route: 0,
    }
}

fn leave_codes(leave: &Leave) -> espial_reply {
    let (chosen, route) = match leave.chosen {
        Chosen::Pin => (ESPIAL_CHOSEN_PIN, 0),
        Chosen::PolicyRoute { index } => (ESPIAL_CHOSEN_POLICY_ROUTE, index as u32),
        Chosen::Route => (ESPIAL_CHOSEN_ROUTE, 0),
        // What the core may yet add.
        _ => (u8::MAX, 0),
    };
    espial_reply {
        answer: ESPIAL_SEGMENT_LEAVE,
        chosen,
        recorded: leave.recorded.into(),
        flags: leave.syn_ack.map_or(0, |syn_ack| syn_ack.flags.0),
        interface: leave.interface,
        came_in: leave.came_in,
        ack: leave.syn_ack.map_or(0, |syn_ack| syn_ack.ack),
        route,
    }
}

pub fn reply_codes(answer: &Answer) -> espial_reply {
    match answer {
        Answer::NotOurs => plain(ESPIAL_SEGMENT_NOT_OURS),
        Answer::Reset => plain(ESPIAL_SEGMENT_RESET),
        Answer::NoRoute => plain(ESPIAL_SEGMENT_NO_ROUTE),
        Answer::Leave(leave) => leave_codes(leave),
        // And what the core may yet add: it is dropped.
        _ => plain(ESPIAL_SEGMENT_NO_SESSION),
    }
}

pub fn pin_codes(pin: &Pin) -> espial_pin {
    espial_pin {
        idle_ms: pin.idle_ms,
        interface: pin.interface,
        established: pin.established.into(),
        reserved: [0; 3],
        flow: flow_codes(&pin.key),
    }
}
