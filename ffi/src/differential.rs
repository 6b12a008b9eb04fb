//! The C calls of the tables around the check beside the core's own: one generator drives both, and every result is
//! compared, over random steps with full tables and jumps of time. What C gets is told apart here by hand, not by
//! `convert`, which is what is tested.
#![allow(unsafe_code, reason = "calls the exported functions as C does")]
#![allow(clippy::undocumented_unsafe_blocks, reason = "every pointer is to a local")]
#![allow(clippy::multiple_unsafe_ops_per_block, reason = "one call a block, and its arguments")]

mod plain;
mod rules;

use core::ffi::c_void;
use core::mem::zeroed;
use core::net::IpAddr;
use core::ptr::null_mut;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use espial::gate::flow::FlowKey;
use espial::gate::health::{Health, IkePort, IkeWay, Thresholds, TunnelFacts, tunnel_health};
use espial::gate::reply_path::{
    self, Answer, Chosen, Pin, PolicyRoute, ReplyConfig, ReplyMode, ReplyPath, Segment, TcpFlags,
    Timers,
};
use espial::gate::session::{Ended, Limits, Opened, Session, SessionPacket, Sessions, Side};
use espial::headers::{Endpoints, Outer};
use espial::selector::Prefix;

use crate::handle::{espial_reply_path, espial_sessions};
use crate::health::espial_tunnel_health;
use crate::hostile::Line;
use crate::reply_path::*;
use crate::sessions::*;
use crate::types::*;

struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 20
    }

    fn below(&mut self, limit: u32) -> u32 {
        (self.next() % u64::from(limit)) as u32
    }

    fn of<T: Copy>(&mut self, some: &[T]) -> T {
        some[self.below(some.len() as u32) as usize]
    }

    /// The clock goes on, now and then far; and back.
    fn step(&mut self, now_ms: &mut u64) {
        let ms = u64::from(self.below(300));
        *now_ms = match self.below(100) {
            0 => now_ms.wrapping_add(ms * 1000),
            1 => now_ms.wrapping_sub(ms),
            2 => now_ms.wrapping_sub(ms * 1000),
            3 => self.of(&[0, u64::from(u32::MAX) - 5, 1 << 45, u64::MAX - 9]),
            _ => now_ms.wrapping_add(ms / 10),
        };
    }

    /// Two of few hosts: addresses as octets, and as the core has them.
    fn hosts(&mut self) -> (u8, [u8; 16], [u8; 16], Endpoints) {
        let (src, dst) = (1 + self.below(3) as u8, 1 + self.below(3) as u8);
        let (mut a, mut b) = ([0; 16], [0; 16]);
        if self.below(4) == 0 {
            (a[0], a[15], b[0], b[15]) = (0x20, src, 0x20, dst);
            let [src, dst] = [a, b].map(u128::from_be_bytes);
            return (ESPIAL_FAMILY_V6, a, b, Endpoints::V6 { src, dst });
        }
        (a[0], a[3], b[0], b[3]) = (10, src, 10, dst);
        let of = |host: u8| 10 << 24 | u32::from(host);
        (ESPIAL_FAMILY_V4, a, b, Endpoints::V4 { src: of(src), dst: of(dst) })
    }
}

fn size_of_c<T>() -> u32 {
    size_of::<T>() as u32
}

/// Memory for a handle.
fn memory(octets: usize) -> Vec<Line> {
    vec![Line([0; 64]); octets.div_ceil(64)]
}

fn room(memory: &mut [Line]) -> (*mut c_void, usize) {
    (memory.as_mut_ptr().cast(), memory.len() * 64)
}

/// Addresses as octets.
fn addrs(endpoints: &Endpoints) -> (u8, [u8; 16], [u8; 16]) {
    let wide = |addr: u32| {
        let mut octets = [0; 16];
        octets[..4].copy_from_slice(&addr.to_be_bytes());
        octets
    };
    match *endpoints {
        Endpoints::V4 { src, dst } => (4, wide(src), wide(dst)),
        Endpoints::V6 { src, dst } => (6, src.to_be_bytes(), dst.to_be_bytes()),
    }
}

type Flow = (u8, u8, u16, u16, [u8; 16], [u8; 16]);

fn said_flow(flow: &espial_flow) -> Flow {
    assert_eq!(flow.reserved, 0);
    (flow.family, flow.protocol, flow.sport, flow.dport, flow.src, flow.dst)
}

fn meant_flow(key: &FlowKey) -> Flow {
    let (family, src, dst) = addrs(&key.endpoints);
    (family, key.protocol, key.src_port, key.dst_port, src, dst)
}

const NO_FLOW: Flow = (0, 0, 0, 0, [0; 16], [0; 16]);

// --- Sessions ---

type SessionFacts = (u32, u8, u64, u64, Flow);

fn said_session(one: &espial_session) -> SessionFacts {
    assert_eq!(one.reserved, [0; 3]);
    (one.serial, one.origin, one.duration_ms, one.left_ms, said_flow(&one.flow))
}

fn side(side: Side) -> u8 {
    u8::from(side == Side::Remote)
}

fn meant_session(one: Option<&Session>) -> SessionFacts {
    one.map_or((0, 0, 0, 0, NO_FLOW), |one| {
        (one.serial, side(one.origin), one.duration_ms, one.left_ms, meant_flow(&one.key))
    })
}

fn said_end(one: &espial_session_end) -> (u32, u8, u64, Flow) {
    assert_eq!(one.reserved, [0; 3]);
    (one.serial, one.origin, one.idle_ms, said_flow(&one.flow))
}

fn meant_end(one: Option<&Ended>) -> (u32, u8, u64, Flow) {
    one.map_or((0, 0, 0, NO_FLOW), |one| {
        (one.serial, side(one.origin), one.idle_ms, meant_flow(&one.key))
    })
}

/// A packet of one side, or an answer; for the core only if it may have a session.
fn session_packet(random: &mut Random, from: u32) -> (espial_local_packet, Option<SessionPacket>) {
    let mut packet: espial_local_packet = unsafe { zeroed() };
    let (family, src, dst, endpoints) = random.hosts();
    let protocol = random.of(&[17, 17, 17, 17, 6, 50]);
    let port = random.of(&[500, 4500]);
    let has_ports = matches!(protocol, 6 | 17) && random.below(9) > 0;
    packet.traffic = random.of(&[0, 1, 2, 2, 2, 2, 3, 4]);
    let h = &mut packet.headers;
    (h.family, h.src, h.dst, h.protocol) = (family, src, dst, protocol);
    if has_ports {
        (h.next_layer, h.sport, h.dport) = (ESPIAL_NEXT_LAYER_PORTS, port, port);
    }
    let port = if has_ports { port } else { 0 };
    let key = FlowKey { endpoints, protocol, src_port: port, dst_port: port };
    let outer = match packet.traffic {
        2 => Some(Outer::Ike),
        3 => Some(Outer::NatKeepalive),
        4 => Some(Outer::Other),
        _ => None,
    };
    let of = |outer| match from {
        0 => SessionPacket::sent(&key, &outer),
        2 => SessionPacket::answer(&key, &outer),
        _ => SessionPacket::received(&key, &outer),
    };
    (packet, outer.and_then(of))
}

#[test]
fn sessions_answer_as_the_cores_do() {
    let (mut full, mut expired, mut known, mut kept) = (0, 0, 0, 0);
    for seed in 0..24 {
        let random = &mut Random::new(seed);
        let capacity = random.of(&[1, 5, 20, 40]);
        let (own, ttl_ms) = (random.below(6), random.of(&[0, 50, 5_000]));
        let c_limits = espial_session_limits { size: 16, capacity, own, ttl_ms };
        let ttl_ms = if ttl_ms == 0 { 180_000 } else { ttl_ms };
        let limits = Limits { capacity, reserved: own, ttl_ms };
        let mut memory = memory(1 << 14);
        let mut c: *mut espial_sessions = null_mut();
        let (at, len) = room(&mut memory);
        assert_eq!(unsafe { espial_sessions_init(at, len, &c_limits, seed, 9, &mut c) }, 0);
        let mut core = Sessions::new(&limits, [seed, 9]).unwrap();
        let mut now_ms = 1 << 20;
        for _ in 0..400 {
            random.step(&mut now_ms);
            let opens = random.below(3);
            let (packet, asked) = session_packet(random, opens);
            // An answer is one only where it is recorded, else a packet that this gateway sends.
            let from = opens % 2;
            let mut session: espial_session = unsafe { zeroed() };
            match random.below(8) {
                0..3 => {
                    let (mut outcome, mut ended) = (9, unsafe { zeroed::<espial_session_end>() });
                    let status = unsafe {
                        espial_sessions_open(
                            c,
                            &packet,
                            opens,
                            now_ms,
                            &mut outcome,
                            &mut session,
                            &mut ended,
                        )
                    };
                    assert_eq!(status, ESPIAL_OK);
                    let opened = asked.map(|packet| core.open(&packet, now_ms));
                    let (what, which, end) = match &opened {
                        None => (0, None, None),
                        Some(Ok(Opened::New { session, ended })) => {
                            (1, Some(session), ended.as_ref())
                        }
                        Some(Ok(Opened::Existing(session))) => (2, Some(session), None),
                        Some(Err(_)) => (3, None, None),
                    };
                    full += u32::from(what == 3);
                    kept += u32::from(what == 3 && opens == 2 && core.len() < capacity);
                    assert_eq!((outcome, said_session(&session)), (what, meant_session(which)));
                    assert_eq!(said_end(&ended), meant_end(end));
                }
                3 => {
                    let status =
                        unsafe { espial_sessions_find(c, &packet, from, now_ms, &mut session) };
                    assert_eq!(status, ESPIAL_OK);
                    let found = asked.and_then(|packet| core.find(&packet, now_ms));
                    known += u32::from(found.is_some());
                    assert_eq!(said_session(&session), meant_session(found.as_ref()));
                }
                4 => {
                    let count = random.below(65) as usize;
                    let all: Vec<_> = (0..count).map(|_| session_packet(random, from)).collect();
                    let packets: Vec<_> = all.iter().map(|(packet, _)| *packet).collect();
                    let mut said = vec![session; count];
                    let status = unsafe {
                        let (at, found) = (packets.as_ptr(), said.as_mut_ptr());
                        espial_sessions_find_burst(c, at, count, from, now_ms, found)
                    };
                    assert_eq!(status, ESPIAL_OK);
                    let mut found = Vec::new();
                    // The table hears of the time with each piece, also of one without packets for it.
                    for piece in all.chunks(32) {
                        let asked: Vec<_> = piece.iter().filter_map(|(_, asked)| *asked).collect();
                        core.find_burst(&asked, now_ms, |_, session| found.push(session));
                    }
                    let mut found = found.into_iter();
                    for ((_, packet), said) in all.iter().zip(&said) {
                        let meant = packet.and_then(|_| found.next().unwrap());
                        assert_eq!(said_session(said), meant_session(meant.as_ref()));
                    }
                }
                5 => {
                    let mut closed = 9;
                    let status =
                        unsafe { espial_sessions_close(c, &packet, from, now_ms, &mut closed) };
                    let was = asked.is_some_and(|packet| core.close(&packet, now_ms));
                    assert_eq!((status, closed), (ESPIAL_OK, u8::from(was)));
                }
                6 => {
                    let (slots, space) = (random.below(90), random.below(9) as usize);
                    let mut said = vec![unsafe { zeroed::<espial_session_end>() }; space];
                    let mut count = 99;
                    let status = unsafe {
                        let room = said.as_mut_ptr();
                        espial_sessions_expire(c, now_ms, slots, room, space, &mut count)
                    };
                    let mut meant = Vec::new();
                    core.expire(now_ms, slots, |end| meant.push(meant_end(Some(end))));
                    assert_eq!((status, count), (ESPIAL_OK, meant.len()));
                    expired += count;
                    let said: Vec<_> = said.iter().take(count).map(said_end).collect();
                    meant.truncate(space);
                    assert_eq!(said, meant);
                }
                _ => {
                    let mut said = vec![session; 64];
                    let (mut count, mut used, mut slots) = (99, 99, 99);
                    unsafe {
                        let list =
                            espial_sessions_list(c, now_ms, said.as_mut_ptr(), 64, &mut count);
                        assert_eq!(list, ESPIAL_OK);
                        assert_eq!(espial_sessions_slots(c, &mut used, &mut slots), ESPIAL_OK);
                    }
                    assert_eq!((used, slots), (core.len(), core.slots()));
                    let said: Vec<_> = said.iter().take(count).map(said_session).collect();
                    let meant: Vec<_> =
                        core.iter(now_ms).map(|one| meant_session(Some(&one))).collect();
                    assert_eq!(said, meant);
                }
            }
            let status = unsafe { espial_sessions_peek(c, &packet, from, now_ms, &mut session) };
            let peeked = asked.and_then(|packet| core.peek(&packet, now_ms));
            assert_eq!(
                (status, said_session(&session)),
                (ESPIAL_OK, meant_session(peeked.as_ref()))
            );
        }
        assert_eq!(unsafe { espial_sessions_release(c) }, ESPIAL_OK);
    }
    let counts = [full, expired as u32, known, kept];
    assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
}

// --- Reply path ---

fn said_pin(pin: &espial_pin) -> (u64, u32, u8, Flow) {
    assert_eq!(pin.reserved, [0; 3]);
    (pin.idle_ms, pin.interface, pin.established, said_flow(&pin.flow))
}

fn meant_pin(pin: &Pin) -> (u64, u32, u8, Flow) {
    (pin.idle_ms, pin.interface, pin.established.into(), meant_flow(&pin.key))
}

/// answer, chosen, recorded, flags, interface, came_in, ack, route.
type Reply = (u8, u8, u8, u8, u32, u32, u32, u32);

fn said_reply(r: &espial_reply) -> Reply {
    (r.answer, r.chosen, r.recorded, r.flags, r.interface, r.came_in, r.ack, r.route)
}

fn meant_reply(answer: &Answer) -> Reply {
    let none = |answer| (answer, 0, 0, 0, 0, 0, 0, 0);
    match answer {
        Answer::NoSession => none(0),
        Answer::NotOurs => none(1),
        Answer::Reset => none(2),
        Answer::NoRoute => none(3),
        Answer::Leave(leave) => {
            let (chosen, route) = match leave.chosen {
                Chosen::Pin => (1, 0),
                Chosen::PolicyRoute { index } => (2, index as u32),
                Chosen::Route => (3, 0),
                _ => panic!("a new one"),
            };
            let (flags, ack) = leave.syn_ack.map_or((0, 0), |one| (one.flags.0, one.ack));
            let recorded = u8::from(leave.recorded);
            (4, chosen, recorded, flags, leave.interface, leave.came_in, ack, route)
        }
        _ => panic!("a new one"),
    }
}

/// How answers leave, for both: mode 1 to 4.
fn reply_config(mode: u8) -> espial_reply_config {
    espial_reply_config { size: size_of_c::<espial_reply_config>(), port: 4500, mode, reserved: 0 }
}

#[test]
fn reply_paths_answer_as_the_cores_do() {
    let own = [[10, 0, 0, 1], [10, 0, 0, 2]];
    let local = own.map(IpAddr::from);
    let mut addresses = [unsafe { zeroed::<espial_addr>() }; 2];
    let mut routes = [unsafe { zeroed::<espial_policy_route>() }; 2];
    let mut meant_routes = Vec::new();
    for (nth, octets) in own.iter().enumerate() {
        addresses[nth].family = ESPIAL_FAMILY_V4;
        addresses[nth].addr[..4].copy_from_slice(octets);
        let route = &mut routes[nth];
        (route.output, route.family, route.prefix_len) = (70 + nth as u32, ESPIAL_FAMILY_V4, 31);
        route.addr[..4].copy_from_slice(octets);
        let src = Prefix::masked(local[nth], 31).unwrap().range();
        meant_routes.push(PolicyRoute { src, output: 70 + nth as u32 });
    }
    let config = |mode| ReplyConfig {
        port: 4500,
        local: &local,
        mode: match mode {
            1 => ReplyMode::Unpinned,
            2 => ReplyMode::Pinned,
            mode => ReplyMode::PolicyRoute { routes: &meant_routes, ike_policy_route: mode == 4 },
        },
    };
    let (mut refused, mut left, mut ended) = (0, 0, 0);
    for seed in 0..24 {
        let random = &mut Random::new(seed + 1000);
        let capacity = random.of(&[1, 3, 14]);
        let mut c_limits: espial_reply_limits = unsafe { zeroed() };
        (c_limits.size, c_limits.capacity) = (32, capacity);
        (c_limits.addresses, c_limits.routes) = (2, 2);
        let mut limits = reply_path::Limits::of(capacity);
        if seed % 2 == 0 {
            (c_limits.half_open, c_limits.half_open_ms) = (1, 300);
            (c_limits.established_ms, c_limits.closed_ms) = (900, 100);
            let timers = Timers { half_open_ms: 300, established_ms: 900, closed_ms: 100 };
            limits = reply_path::Limits { half_open: 1, timers, ..limits };
        }
        let mode = 1 + random.below(4) as u8;
        let mut memory = memory(1 << 14);
        let mut c: *mut espial_reply_path = null_mut();
        let (at, len) = room(&mut memory);
        let status = unsafe {
            let (given, of, by) = (reply_config(mode), addresses.as_ptr(), routes.as_ptr());
            espial_reply_path_init(at, len, &c_limits, &given, of, 2, by, 2, seed, 9, &mut c)
        };
        assert_eq!(status, ESPIAL_OK);
        let mut core = ReplyPath::new(config(mode), &limits, [seed, 9]).unwrap();
        let mut now_ms = 1 << 20;
        for _ in 0..400 {
            random.step(&mut now_ms);
            let (_, _, _, endpoints) = random.hosts();
            let (protocol, port) = (random.of(&[6, 6, 6, 6, 17]), random.of(&[4500, 4500, 443]));
            let key = FlowKey { endpoints, protocol, src_port: port, dst_port: 40_000 };
            let is_in = random.below(2) == 0;
            let key_of_packet = if is_in { key.reversed() } else { key };
            let to_c = |key: &FlowKey| {
                let (family, protocol, sport, dport, src, dst) = meant_flow(key);
                espial_flow { family, protocol, sport, dport, reserved: 0, src, dst }
            };
            let segment = Segment {
                key: key_of_packet,
                flags: TcpFlags(random.of(&[2, 2, 16, 16, 18, 17, 4, 0])),
                seq: random.below(3),
                ack: random.below(3),
                payload_octets: random.below(2),
            };
            let mut c_segment: espial_segment = unsafe { zeroed() };
            (c_segment.flow, c_segment.flags) = (to_c(&segment.key), segment.flags.0);
            (c_segment.seq, c_segment.ack) = (segment.seq, segment.ack);
            c_segment.payload_octets = segment.payload_octets;
            let (interface, route) = (random.below(4), random.of(&[None, Some(7), Some(8)]));
            let c_route = route.unwrap_or(u32::MAX);
            let mut reply: espial_reply = unsafe { zeroed() };
            match random.below(12) {
                0..8 => {
                    let status = unsafe {
                        let (of, out) = (&raw const c_segment, &raw mut reply);
                        if is_in {
                            espial_reply_path_received(c, of, interface, c_route, now_ms, out)
                        } else {
                            espial_reply_path_sent(c, of, c_route, now_ms, out)
                        }
                    };
                    let meant = if is_in {
                        core.received(&segment, interface, route, now_ms)
                    } else {
                        core.sent(&segment, route, now_ms)
                    };
                    assert_eq!((status, said_reply(&reply)), (ESPIAL_OK, meant_reply(&meant)));
                    left += u32::from(matches!(meant, Answer::Leave(leave) if leave.recorded));
                    refused += u32::from(matches!(meant, Answer::Leave(leave) if !leave.recorded));
                }
                8 => {
                    let (flow, mut recorded) = (to_c(&key), 9);
                    let status = unsafe {
                        espial_reply_path_connected(c, &flow, interface, now_ms, &mut recorded)
                    };
                    let meant = core.connected(&key, interface, now_ms).is_ok();
                    assert_eq!((status, recorded), (ESPIAL_OK, u8::from(meant)));
                }
                9 => {
                    let (flow, mut closed) = (to_c(&key), 9);
                    let status = unsafe { espial_reply_path_close(c, &flow, now_ms, &mut closed) };
                    let meant = core.close(&key, now_ms);
                    assert_eq!((status, closed), (ESPIAL_OK, u8::from(meant)));
                }
                10 => {
                    let mode = 1 + random.below(4) as u8;
                    let status = unsafe {
                        let (given, of, by) =
                            (reply_config(mode), addresses.as_ptr(), routes.as_ptr());
                        espial_reply_path_configure(c, &given, of, 2, by, 2)
                    };
                    core.configure(config(mode));
                    assert_eq!(status, ESPIAL_OK);
                }
                _ => {
                    let mut said = vec![unsafe { zeroed::<espial_pin>() }; 4];
                    let mut count = 99;
                    let slots = random.below(40);
                    let status = unsafe {
                        let room = said.as_mut_ptr();
                        espial_reply_path_expire(c, now_ms, slots, room, 4, &mut count)
                    };
                    let mut meant = Vec::new();
                    core.expire(now_ms, slots, |pin| meant.push(meant_pin(pin)));
                    assert_eq!((status, count), (ESPIAL_OK, meant.len()));
                    ended += count;
                    meant.truncate(4);
                    assert_eq!(said.iter().take(count).map(said_pin).collect::<Vec<_>>(), meant);
                }
            }
            let mut said = vec![unsafe { zeroed::<espial_pin>() }; 64];
            let (mut count, mut used, mut slots) = (99, 99, 99);
            unsafe {
                let list = espial_reply_path_list(c, now_ms, said.as_mut_ptr(), 64, &mut count);
                assert_eq!(list, ESPIAL_OK);
                assert_eq!(espial_reply_path_slots(c, &mut used, &mut slots), ESPIAL_OK);
            }
            assert_eq!((used, slots), (core.len(), core.slots()));
            let said: Vec<_> = said.iter().take(count).map(said_pin).collect();
            assert_eq!(said, core.iter(now_ms).map(|pin| meant_pin(&pin)).collect::<Vec<_>>());
        }
        assert_eq!(unsafe { espial_reply_path_release(c) }, ESPIAL_OK);
    }
    assert!(refused > 50 && left > 50 && ended > 20, "{refused} {left} {ended}");
}

// --- Health ---

#[test]
fn healths_are_the_cores() {
    let random = &mut Random::new(5);
    let mut states = [0; 4];
    for _ in 0..4000 {
        let times = [u64::MAX, 0, 5, 10, 11, 70_000];
        let mut c: espial_tunnel_facts = unsafe { zeroed() };
        (c.size, c.live_sas, c.admitted) = (80, random.below(3), random.of(&[0, 0, 0, 1, 2, 4, 7]));
        c.esp_idle_ms = random.of(&times);
        (c.left_500_ms, c.left_4500_ms) = (random.of(&times), random.of(&times));
        (c.left_tcp_ms, c.esp_live_ms) = (random.of(&times), random.of(&times));
        (c.session_ends_ms, c.in_use) = (random.of(&times), random.of(&[0, 1, 2, 4]));
        let (family, peer, _, endpoints) = random.hosts();
        (c.family, c.peer) = (family, peer);
        let some = |ms: u64| (ms != u64::MAX).then_some(ms);
        let way = |left: u64, bit: u8| IkeWay {
            session_left_ms: some(left),
            admitted: c.admitted & bit != 0,
        };
        let facts = TunnelFacts {
            peer: endpoints.src(),
            live_sas: c.live_sas,
            esp_idle_ms: some(c.esp_idle_ms),
            udp_500: way(c.left_500_ms, 1),
            udp_4500: way(c.left_4500_ms, 2),
            tcp: way(c.left_tcp_ms, 4),
            in_use: match c.in_use {
                1 => Some(IkePort::Udp500),
                2 => Some(IkePort::Udp4500),
                4 => Some(IkePort::Tcp),
                _ => None,
            },
        };
        let thresholds =
            Thresholds { esp_live_ms: c.esp_live_ms, session_ends_ms: c.session_ends_ms };
        let meant = tunnel_health(&facts, &thresholds);
        let (mut said, mut text, mut len) =
            (unsafe { zeroed::<espial_health>() }, [0_u8; 400], 0_usize);
        let status =
            unsafe { espial_tunnel_health(&c, &mut said, text.as_mut_ptr().cast(), 400, &mut len) };
        assert_eq!((status, said.reserved), (ESPIAL_OK, [0; 5]));
        let (state, left_ms, esp_is_live) = match meant.health {
            Health::Down => (0, None, false),
            Health::Admitted => (1, None, false),
            Health::Held { left_ms } => (2, Some(left_ms), false),
            Health::Starved { left_ms, esp_is_live } => (3, left_ms, esp_is_live),
            _ => panic!("a new one"),
        };
        states[usize::from(state)] += 1;
        assert_eq!((said.state, said.left_ms), (state, left_ms.unwrap_or(u64::MAX)));
        assert_eq!((said.alarm, said.esp_is_live), (u8::from(state == 3), u8::from(esp_is_live)));
        assert_eq!(String::from_utf8_lossy(&text[..len]), meant.to_string());
    }
    assert!(states.iter().all(|count| *count > 100), "{states:?}");
}
