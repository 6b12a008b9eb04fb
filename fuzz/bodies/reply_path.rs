//! Where answers leave, beside a plain list of connections that tells RFC 9293 and rules D1 to D5 anew: any
//! segments from both sides, right numbers and guessed ones, and any time.

use std::net::{IpAddr, Ipv4Addr};

use espial::gate::flow::FlowKey;
use espial::gate::reply_path::{
    Answer, Chosen, Leave, Limits, PolicyRoute, ReplyConfig, ReplyMode, ReplyPath, Segment, SynAck,
    TcpFlags, Timers,
};
use espial::headers::{Endpoints, protocol};
use espial::selector::AddrRange;

use crate::bodies::Choices;
use crate::clock::Clock;

const LOCAL: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::from_bits(0xcb00_7102)), IpAddr::V4(Ipv4Addr::from_bits(0xc633_6402))];
const TIMERS: Timers = Timers { half_open_ms: 2000, established_ms: 9000, closed_ms: 700 };
const ROUTES: [PolicyRoute; 2] = [
    PolicyRoute { src: AddrRange::V4 { lo: 0xc633_6400, hi: 0xc633_64ff }, output: 7 },
    PolicyRoute { src: AddrRange::V4 { lo: 0xc633_6402, hi: 0xc633_6402 }, output: 8 },
];

struct Connection {
    key: FlowKey,
    came_in: u32,
    established: bool,
    /// What this box acknowledged last.
    next: Option<u32>,
    /// The number that the peer has to repeat.
    wanted: Option<u32>,
    /// Behind the peer's FIN, and whether that is acknowledged.
    fin: Option<u32>,
    fin_in: bool,
    fin_out: bool,
    closed_ms: Option<u64>,
    last_ms: u64,
}

struct Twin<'c> {
    connections: Vec<Connection>,
    config: ReplyConfig<'c>,
    limits: Limits,
    clock: Clock,
}

impl Twin<'_> {
    fn expire(&mut self) {
        let at = self.clock.tick();
        self.connections.retain(|one| {
            let ttl_ms = match one {
                Connection { closed_ms: Some(_), .. } => TIMERS.closed_ms,
                Connection { established: true, .. } => TIMERS.established_ms,
                _ => TIMERS.half_open_ms,
            };
            at - one.last_ms <= u64::from(ttl_ms)
        });
    }

    fn at(&self, key: &FlowKey) -> Option<usize> {
        self.connections.iter().position(|one| one.key == *key)
    }

    fn known(&mut self, key: &FlowKey) -> Option<usize> {
        let at = self.at(key)?;
        self.connections[at].last_ms = self.clock.read();
        let closed_ms = self.connections[at].closed_ms;
        let is_over = closed_ms.is_some_and(|closed_ms| {
            self.clock.now_ms.saturating_sub(closed_ms) > u64::from(TIMERS.closed_ms)
        });
        if is_over {
            self.connections.remove(at);
            return None;
        }
        Some(at)
    }

    fn has_room(&self) -> bool {
        self.connections.len() < self.limits.capacity as usize
    }

    fn push(&mut self, key: FlowKey, came_in: u32, next: Option<u32>, established: bool) {
        self.connections.push(Connection {
            key,
            came_in,
            established,
            next,
            wanted: None,
            fin: None,
            fin_in: false,
            fin_out: false,
            closed_ms: None,
            last_ms: self.clock.read(),
        });
    }

    fn stranger(&self, key: &FlowKey) -> Answer {
        let ours = key.protocol == protocol::TCP
            && key.src_port == self.config.port
            && LOCAL.contains(&key.endpoints.src());
        if ours { Answer::NoSession } else { Answer::NotOurs }
    }

    fn leave(
        &self,
        key: &FlowKey,
        came_in: u32,
        syn: Option<u32>,
        route: Option<u32>,
        recorded: bool,
    ) -> Answer {
        let routed = route.map(|route| (route, Chosen::Route));
        let src = key.endpoints.src();
        let chosen = match self.config.mode {
            ReplyMode::Pinned => Some((came_in, Chosen::Pin)),
            ReplyMode::PolicyRoute { ike_policy_route: true, .. } => (0..ROUTES.len())
                .find(|index| ROUTES[*index].src.contains(src))
                .map(|index| (ROUTES[index].output, Chosen::PolicyRoute { index }))
                .or(routed),
            _ => routed,
        };
        let Some((interface, chosen)) = chosen else { return Answer::NoRoute };
        let syn_ack = |seq: u32| SynAck { flags: TcpFlags::SYN_ACK, ack: seq.wrapping_add(1) };
        Answer::Leave(Leave { interface, chosen, came_in, syn_ack: syn.map(syn_ack), recorded })
    }

    fn start(&mut self, key: &FlowKey, seq: u32, interface: u32, route: Option<u32>) -> Answer {
        let half_open = self.connections.iter().filter(|one| !one.established).count();
        let recorded = half_open < self.limits.half_open as usize && self.has_room();
        if recorded {
            self.push(*key, interface, Some(seq.wrapping_add(1)), false);
        }
        self.leave(key, interface, Some(seq), route, recorded)
    }

    fn received(&mut self, segment: &Segment, interface: u32, route: Option<u32>) -> Answer {
        let Segment { flags, seq, ack, payload_octets, .. } = *segment;
        let key = segment.key.reversed();
        let is_syn = flags.is_syn();
        let Some(at) = self.known(&key) else {
            return match self.stranger(&key) {
                Answer::NoSession if is_syn => self.start(&key, seq, interface, route),
                other => other,
            };
        };
        let one = &mut self.connections[at];
        let was_established = one.established;
        let is_another =
            one.closed_ms.is_some() || !was_established && one.next != Some(seq.wrapping_add(1));
        if is_syn && is_another {
            self.connections.remove(at);
            return self.start(&key, seq, interface, route);
        }
        if flags.has(TcpFlags::RST) && one.next == Some(seq) {
            self.connections.remove(at);
            return Answer::Reset;
        }
        if !was_established && flags.has(TcpFlags::ACK) && !flags.has(TcpFlags::SYN) {
            one.established = one.wanted == Some(ack);
        }
        if one.established && flags.has(TcpFlags::FIN) && !one.fin_in {
            one.fin = Some(seq.wrapping_add(payload_octets).wrapping_add(1));
        }
        let came_in = one.came_in;
        let syn = (is_syn && !was_established).then_some(seq);
        self.leave(&key, came_in, syn, route, true)
    }

    fn sent(&mut self, segment: &Segment, route: Option<u32>) -> Answer {
        let Segment { key, flags, seq, ack, .. } = *segment;
        let Some(at) = self.known(&key) else { return self.stranger(&key) };
        let one = &mut self.connections[at];
        let came_in = one.came_in;
        if flags.has(TcpFlags::RST) {
            self.connections.remove(at);
            return self.leave(&key, came_in, None, route, true);
        }
        if flags.has(TcpFlags::ACK) {
            one.next = Some(ack);
        }
        if !one.established {
            if flags.has(TcpFlags::SYN_ACK) {
                one.wanted = Some(seq.wrapping_add(1));
            }
        } else {
            one.fin_in |= flags.has(TcpFlags::ACK) && one.fin == Some(ack);
            one.fin_out |= flags.has(TcpFlags::FIN);
            if one.fin_in && one.fin_out && one.closed_ms.is_none() {
                one.closed_ms = Some(self.clock.now_ms);
            }
        }
        self.leave(&key, came_in, None, route, true)
    }
}

/// With this box as the source, as a rule on its port.
fn key(choices: &mut Choices<'_>) -> FlowKey {
    let nth = choices.below(32) as u32;
    let src = match nth {
        31 => 9,
        _ => [0xcb00_7102, 0xc633_6402][nth as usize & 1],
    };
    FlowKey {
        endpoints: Endpoints::V4 { src, dst: 0x0a00_0000 + (nth >> 1 & 1) },
        protocol: if nth == 30 { protocol::UDP } else { protocol::TCP },
        src_port: if nth == 29 { 500 } else { 4500 },
        dst_port: 40_000 + (nth >> 2 & 1) as u16,
    }
}

/// The number that fits, more often than not.
fn number(choices: &mut Choices<'_>, fitting: Option<u32>) -> u32 {
    match choices.below(32) {
        31 => u32::MAX,
        n @ 20.. => n as u32 % 6,
        _ => fitting.unwrap_or(7),
    }
}

const FLAGS: [u8; 12] = [0x02, 0x12, 0x10, 0x10, 0x18, 0x11, 0x01, 0x04, 0x14, 0x02, 0x06, 0x13];

pub fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let capacity = [1, 3, 14][choices.below(3)];
    let limits = Limits { capacity, half_open: choices.below(8) as u32, timers: TIMERS };
    let policy_route =
        |ike_policy_route| ReplyMode::PolicyRoute { routes: &ROUTES, ike_policy_route };
    let modes = [ReplyMode::Pinned, ReplyMode::Unpinned, policy_route(true), policy_route(false)];
    let config = ReplyConfig { port: 4500, local: &LOCAL, mode: modes[choices.below(4)] };
    let seed = [u64::from(choices.octet()), 2];
    let mut path = ReplyPath::new(config, &limits, seed).expect("a small table");
    let mut twin = Twin { connections: Vec::new(), config, limits, clock: Clock::new() };
    while !choices.done() {
        twin.clock.step(&mut choices);
        let now_ms = twin.clock.now_ms;
        path.expire(now_ms, 64, |_| {});
        twin.expire();
        let own = key(&mut choices);
        let interface = choices.below(3) as u32;
        let route = [None, Some(5), Some(6)][choices.below(3)];
        let mut segment = |key, seq, ack| Segment {
            key,
            flags: TcpFlags(match choices.below(32) {
                31 => choices.octet(),
                n => FLAGS[n % FLAGS.len()],
            }),
            seq: number(&mut choices, seq),
            ack: number(&mut choices, ack),
            payload_octets: choices.below(2) as u32,
        };
        if interface < 2 {
            let held = twin.at(&own).map(|at| &twin.connections[at]);
            let (next, wanted) = held.map_or((None, None), |one| (one.next, one.wanted));
            let one = segment(own.reversed(), next, wanted);
            assert_eq!(
                path.received(&one, interface, route, now_ms),
                twin.received(&one, interface, route),
                "{one:?}"
            );
            let held = twin.at(&own).map(|at| &twin.connections[at]);
            let one = segment(own, Some(3), held.and_then(|one| one.fin.or(one.next)));
            assert_eq!(path.sent(&one, route, now_ms), twin.sent(&one, route), "{one:?}");
        } else if own.dst_port.is_multiple_of(2) {
            let was = twin.at(&own).map(|at| twin.connections.remove(at)).is_some();
            if route.is_none() {
                assert_eq!(path.close(&own, now_ms), was);
            } else {
                let has_room = twin.has_room();
                assert_eq!(path.connected(&own, interface, now_ms).is_ok(), has_room);
                if has_room {
                    twin.push(own, interface, None, true);
                }
            }
        } else {
            let mode = modes[choices.below(4)];
            twin.config = ReplyConfig { mode, ..config };
            path.configure(twin.config);
            let before = twin.connections.len();
            let which = |key: &FlowKey| route.is_some() && key.dst_port == own.dst_port;
            twin.connections.retain(|one| !which(&one.key));
            let cleared = path.clear(now_ms, which);
            assert_eq!(cleared as usize, before - twin.connections.len());
        }
        let at = twin.clock.read();
        let mut pins: Vec<_> = path.iter(now_ms).collect();
        assert_eq!((pins.len(), path.len() as usize), (twin.connections.len(), pins.len()));
        for one in &twin.connections {
            let nth = pins.iter().position(|pin| pin.key == one.key).expect("a pin");
            let pin = pins.swap_remove(nth);
            assert_eq!((pin.interface, pin.established), (one.came_in, one.established));
            assert_eq!(pin.idle_ms, at - one.last_ms);
        }
        let half_open = twin.connections.iter().filter(|one| !one.established).count();
        assert!(half_open <= limits.half_open as usize);
    }
}
