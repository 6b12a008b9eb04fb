//! Floods: what anybody can send from random sources costs no memory, no live entry, and none of the
//! service that known peers have.
//!
//! Nothing here is timed: how many packets there are is the bound, and each is counted.
//! `ESPIAL_FLOOD_PACKETS` asks for more of them (`.ci/full`). Tables lie in memory of exactly the stated
//! size between guards, and nothing is allocated once a flood is on.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr};

use espial::event::Event;
use espial::gate::flow::FlowKey;
use espial::gate::local_in::{
    Action, AddressObject, IKE, Interfaces, LocalIn, LocalInList, LocalInPolicy, LocalPacket,
    PolicyId, Schedules,
};
use espial::gate::passthrough::{
    Context, PassConfig, PassDrop, PassPacket, PassRule, PassRules, PassVerdict, Passthrough,
    RuleAction, RuleId, Traffic, VirtualServer, compile_rules,
};
use espial::gate::reply_path::{
    self, Answer, Leave, ReplyConfig, ReplyMode, ReplyPath, Segment, TcpFlags,
};
use espial::gate::session::{self, Opened, SessionPacket, Sessions, Side, TTL_MS};
use espial::headers::{
    Encap, Endpoints, Fragment, InnerHeaders, Ipsec, NextLayer, Outer, OuterHeaders, Spi, protocol,
};
use espial::inbound::{Arrival, Ingress};
use espial::sad::SaKey;
use espial::selector::{AddrRange, PortRange, TrafficSelector};
use espial::verdict::{Mode, Modes, Reason, SpiClass};
use espial::{Capacity, Gateway, SaParams};

/// Packets of a flood.
const PACKETS: u64 = 1_000_000;

fn packets() -> u64 {
    let packets = std::env::var("ESPIAL_FLOOD_PACKETS").ok();
    packets.map_or(PACKETS, |text| text.parse().expect("ESPIAL_FLOOD_PACKETS is a number"))
}

const SEED: [u64; 2] = [0x6f0d, 0x5eed];
/// This box.
const BOX: u32 = 0xcb00_7102;
const WAN1: u32 = 1;
const WAN2: u32 = 2;

/// Counts what a thread allocates.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: all is the system's; the count is beside it.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATED.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller's.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Nothing is allocated while this runs.
#[track_caller]
fn without_allocation(flood: impl FnOnce()) {
    let before = ALLOCATED.get();
    flood();
    assert_eq!(ALLOCATED.get(), before, "allocations");
}

/// Memory of so many octets and not one more.
fn in_memory(octets: usize, test: impl FnOnce(&mut [MaybeUninit<u8>])) {
    const GUARD: usize = 256;
    let mut memory = vec![MaybeUninit::new(0xa5); octets + 2 * GUARD];
    test(&mut memory[GUARD..GUARD + octets]);
    let guards = memory[..GUARD].iter().chain(&memory[GUARD + octets..]);
    #[allow(unsafe_code)]
    // SAFETY: they were initialised above.
    let intact = guards.copied().all(|octet| unsafe { octet.assume_init() } == 0xa5);
    assert!(intact, "octets beside the table");
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Anybody, of IPv6 one time in four.
    fn anybody(&mut self) -> Endpoints {
        match self.next() & 3 {
            0 => Endpoints::V6 {
                src: 0x2001 << 112 | u128::from(self.next()),
                dst: 0x2001_0db8 << 96 | 1,
            },
            // Below 240.0.0.0: those above are the known peers here.
            _ => Endpoints::V4 { src: (self.next() as u32) % 0xf000_0000, dst: BOX },
        }
    }
}

/// A known peer's address: nobody else sends from there.
fn peer(number: u32) -> Endpoints {
    Endpoints::V4 { src: 0xf000_0000 + number, dst: BOX }
}

fn ike(endpoints: Endpoints, port: u16) -> FlowKey {
    FlowKey { endpoints, protocol: protocol::UDP, src_port: port, dst_port: port }
}

fn received(key: &FlowKey) -> SessionPacket {
    SessionPacket::received(key, &Outer::Ike).unwrap()
}

/// IKE is admitted from known peers, and from half of IPv4, as from a policy that was written too wide.
fn policies() -> LocalInList {
    let mut list = LocalInList::new(Action::Deny);
    let known: AddrRange = "240.0.0.0/4".parse().unwrap();
    let wide = "128.0.0.0/1".parse().unwrap();
    list.set_address("admitted", AddressObject::Ranges(vec![known, wide]));
    list.set_address("all", AddressObject::Ranges(vec!["0.0.0.0/0".parse().unwrap()]));
    list.set_service("IKE", IKE.to_vec());
    let policy = LocalInPolicy {
        id: PolicyId(1),
        interfaces: Interfaces::Any,
        source: vec!["admitted".into()],
        destination: vec!["all".into()],
        service: vec!["IKE".into()],
        schedule: None,
        action: Some(Action::Accept),
    };
    list.add(policy).unwrap();
    list
}

/// What a gateway does with IKE: its session, else a policy, and then a session if there is room.
struct Gate<'m, 'w> {
    sessions: Sessions<'m>,
    local_in: LocalIn<'w>,
    opened: u64,
    refused: u64,
    denied: u64,
}

impl Gate<'_, '_> {
    /// True if the packet comes in.
    fn ike(&mut self, key: &FlowKey, now_ms: u64) -> bool {
        let packet = received(key);
        if self.sessions.find(&packet, now_ms).is_some() {
            return true;
        }
        let headers = InnerHeaders {
            endpoints: key.endpoints,
            protocol: key.protocol,
            next_layer: NextLayer::Ports { src: key.src_port, dst: key.dst_port },
            fragment: Fragment::None,
        };
        let packet_of_policy = LocalPacket::new(&Outer::Ike, headers, WAN1).unwrap();
        if !self.local_in.first(&packet_of_policy, Schedules::NONE).is_accept() {
            self.denied += 1;
            return false;
        }
        match self.sessions.open(&packet, now_ms) {
            Ok(Opened::New { .. }) => self.opened += 1,
            Ok(Opened::Existing(_)) => panic!("it was not found"),
            Err(_) => self.refused += 1,
        }
        // It is answered, as IKE is with a cookie (RFC 7296 section 2.6).
        let answer = SessionPacket::answer(&key.reversed(), &Outer::Ike).unwrap();
        let _ = self.sessions.open(&answer, now_ms);
        true
    }
}

/// A packet a millisecond, half of them admitted: they fill what remote hosts may fill, again and again
/// as their sessions end, and take nothing of what others have.
#[test]
fn c2_c3_a_flood_of_ike_costs_no_session_and_no_room_of_this_box() {
    let packets = packets();
    let limits = session::Limits { capacity: 4096, reserved: 1024, ttl_ms: TTL_MS };
    let remote = u64::from(limits.capacity - limits.reserved);
    let words = policies().compile().unwrap();
    in_memory(Sessions::octets(&limits).unwrap(), |memory| {
        let mut gate = Gate {
            sessions: Sessions::new_in(memory, &limits, SEED).unwrap(),
            local_in: LocalIn::open(&words).unwrap(),
            opened: 0,
            refused: 0,
            denied: 0,
        };
        let known: Vec<_> = (0..64).map(|number| ike(peer(number), 4500)).collect();
        assert!(known.iter().all(|key| gate.ike(key, 0)));
        let serials: Vec<_> =
            known.iter().map(|key| gate.sessions.peek(&received(key), 0).unwrap().serial).collect();
        (gate.opened, gate.refused) = (0, 0);
        let mut random = Random(1);
        without_allocation(|| {
            for n in 0..packets {
                let port = if n & 1 == 0 { 500 } else { 4500 };
                let _ = gate.ike(&ike(random.anybody(), port), n);
                gate.sessions.expire(n, 8, |_| {});
                assert!(gate.sessions.len() <= limits.capacity);
                if n % 1000 == 0 {
                    // One of the known peers, each of which comes once in 64 s.
                    let turn = (n / 1000 % 64) as usize;
                    let session = gate.sessions.find(&received(&known[turn]), n);
                    assert_eq!(session.map(|session| session.serial), Some(serials[turn]));
                }
                if n % 10_000 == 5_000 {
                    let own = ike(peer(1 << 20 | n as u32).reversed(), 500);
                    let sent = SessionPacket::sent(&own, &Outer::Ike).unwrap();
                    let opened = gate.sessions.open(&sent, n);
                    assert!(matches!(opened, Ok(Opened::New { .. })), "{n}: {opened:?}");
                }
                if n % 100_000 == 50_000 {
                    let session = |side| gate.sessions.iter(n).filter(move |s| s.origin == side);
                    assert!(session(Side::Remote).count() as u64 <= remote);
                    // A peer without a session is served, whether there is room for one or not.
                    let (refused, opened) = (gate.refused, gate.opened);
                    assert!(gate.ike(&ike(peer(1 << 21 | n as u32), 500), n));
                    (gate.refused, gate.opened) = (refused, opened);
                }
            }
        });
        // Each place once, and once more whenever a time to live has passed.
        let rounds = packets / u64::from(TTL_MS) + 1;
        assert!(gate.opened <= remote * rounds, "{} opened", gate.opened);
        assert!(gate.refused > gate.opened && gate.denied > packets / 3);
    });
}

fn pass_rule(id: u32, protocol: u8, src: &str, dst: &str, dst_ports: PortRange) -> PassRule {
    PassRule {
        id: RuleId(id),
        context: Context::Global,
        action: RuleAction::AcceptDecisively,
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        protocol,
        src_ports: PortRange::ANY,
        dst_ports,
    }
}

fn esp(endpoints: Endpoints, spi: u32) -> PassPacket {
    PassPacket { endpoints, traffic: Traffic::Esp(Spi(spi)) }
}

/// IKE and ESP, out and in, between known peers and the box behind the firewall.
fn pass_rules(from: &str) -> Vec<u64> {
    let (behind, ike) = ("203.0.113.2/32", PortRange::new(500, 500).unwrap());
    let rules = [
        pass_rule(1, protocol::UDP, from, behind, ike),
        pass_rule(2, protocol::ESP, from, behind, PortRange::ANY),
        pass_rule(3, protocol::ESP, behind, from, PortRange::ANY),
    ];
    compile_rules(&rules, RuleAction::Reject).unwrap()
}

/// Nobody whom no rule admits makes a flow: all are there, and room for as many rekeys as ever.
#[test]
fn e1_a_flood_that_no_rule_admits_makes_no_flow() {
    let packets = packets();
    let words = pass_rules("240.0.0.0/4");
    let rules = PassRules::open(&words).unwrap();
    for server in [VirtualServer::FastL4, VirtualServer::StandardWithAlg] {
        in_memory(Passthrough::octets(1000).unwrap(), |memory| {
            let config = PassConfig { server, ..PassConfig::default() };
            let mut firewall = Passthrough::new_in(memory, 1000, SEED, config).unwrap();
            let mut random = Random(2);
            let mut rekeys = 0;
            without_allocation(|| {
                for n in 0..packets / 2 {
                    let (endpoints, number) = (random.anybody(), random.next());
                    let traffic = match number & 3 {
                        0 => Traffic::Udp { src: 500, dst: 500 },
                        1 => Traffic::Ah(Spi((number >> 32) as u32)),
                        _ => Traffic::Esp(Spi((number >> 32) as u32)),
                    };
                    let answer = firewall.check(&rules, &PassPacket { endpoints, traffic }, n);
                    assert!(!answer.verdict.is_accept(), "{:?}", answer.verdict);
                    firewall.expire(n, 8);
                    if n % 1000 == 0 {
                        // A new SPI each second, which lives for five minutes.
                        let tunnel = esp(peer(7), 256 + (n / 1000) as u32);
                        assert!(firewall.check(&rules, &tunnel, n).is_new);
                        rekeys += 1;
                    }
                }
            });
            let now_ms = packets / 2;
            assert!(firewall.flows(now_ms).all(|flow| flow.key.endpoints == peer(7)));
            let counts = firewall.counts();
            assert_eq!((counts.accepted, counts.drops[PassDrop::TableFull.index()]), (rekeys, 0));
            assert_eq!(counts.rejected + counts.drops[PassDrop::SpiZero.index()], packets / 2);
        });
    }
}

/// With random SPIs from addresses that a rule admits, the table fills, as its docs say. Flows that live go
/// on, none is lost, and what ended makes room.
#[test]
fn e2_a_flood_of_invented_spis_costs_no_flow_that_lives() {
    let packets = packets();
    const FLOWS: u32 = 4096;
    let words = pass_rules("0.0.0.0/0");
    let rules = PassRules::open(&words).unwrap();
    in_memory(Passthrough::octets(FLOWS).unwrap(), |memory| {
        let config = PassConfig::default();
        let mut firewall = Passthrough::new_in(memory, FLOWS, SEED, config).unwrap();
        let tunnels: Vec<_> = (0..64)
            .flat_map(|number| [esp(peer(number), 300), esp(peer(number).reversed(), 301)])
            .collect();
        assert!(tunnels.iter().all(|packet| firewall.check(&rules, packet, 0).is_new));
        let mut random = Random(3);
        let (mut made, mut full, mut rejected) = (0_u64, 0_u64, 0_u64);
        without_allocation(|| {
            for n in 0..packets {
                let packet = esp(random.anybody(), random.next() as u32 | 256);
                match firewall.check(&rules, &packet, n).verdict {
                    PassVerdict::Accept(_) => made += 1,
                    PassVerdict::Drop(PassDrop::TableFull) => full += 1,
                    PassVerdict::Reject(_) => rejected += 1,
                    other => panic!("{other:?}"),
                }
                firewall.expire(n, 8);
                if n % 1000 == 0 {
                    let turn = (n / 1000) as usize % tunnels.len();
                    let answer = firewall.check(&rules, &tunnels[turn], n);
                    assert_eq!(answer.verdict, PassVerdict::AcceptFlow, "{n}");
                }
            }
        });
        assert_eq!(made + full + rejected, packets);
        // IPv6 has no rule; of IPv4 each place once, and once more whenever five minutes have passed.
        let rounds = packets / u64::from(config.timeouts.esp_ms) + 1;
        assert!(full > made && made <= (u64::from(FLOWS) - 128) * rounds, "{made} {full}");
        assert!(rejected > packets / 5);
        assert!(firewall.flows(packets).count() <= FLOWS as usize);
        // Five minutes later what was invented has ended.
        let later = packets + 300_001;
        firewall.expire(later, firewall.slots());
        assert!(firewall.check(&rules, &esp(peer(1), 777), later).is_new);
    });
}

#[track_caller]
fn leave(answer: Answer) -> Leave {
    let Answer::Leave(leave) = answer else { panic!("{answer:?}") };
    leave
}

/// SYNs from everywhere, and segments forged as of connections that live: those leave as they did, and
/// who comes now is answered where he came in.
#[test]
fn d1_a_flood_of_syns_moves_no_pin_and_drops_no_connection() {
    let packets = packets();
    const LOCAL: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::from_bits(BOX))];
    let limits = reply_path::Limits { half_open: 256, ..reply_path::Limits::of(1024) };
    let config = ReplyConfig { port: 4500, local: &LOCAL, mode: ReplyMode::Pinned };
    let key = |endpoints, src_port| FlowKey {
        endpoints,
        protocol: protocol::TCP,
        src_port,
        dst_port: config.port,
    };
    let segment = |key, flags, seq, ack| Segment { key, flags, seq, ack, payload_octets: 0 };
    in_memory(ReplyPath::octets(&limits).unwrap(), |memory| {
        let mut path = ReplyPath::new_in(memory, config, &limits, SEED).unwrap();
        let live: Vec<_> = (0..64).map(|number| key(peer(number), 40_000)).collect();
        for &key in &live {
            let syn = segment(key, TcpFlags::SYN, 1_000, 0);
            assert!(leave(path.received(&syn, WAN1, Some(WAN2), 0)).recorded);
            let syn_ack = segment(key.reversed(), TcpFlags::SYN_ACK, 5_000, 1_001);
            let _ = path.sent(&syn_ack, Some(WAN2), 0);
            let ack = segment(key, TcpFlags::ACK, 1_001, 5_001);
            let _ = path.received(&ack, WAN1, Some(WAN2), 0);
        }
        let mut random = Random(4);
        let (mut recorded, mut not, mut known) = (0_u64, 0_u64, 64_usize);
        without_allocation(|| {
            for n in 0..packets {
                let number = random.next();
                if number & 7 == 0 {
                    // Blind: the numbers are guessed, and never those that are right.
                    let key = live[(number >> 8) as usize % live.len()];
                    let kinds = [TcpFlags::RST, TcpFlags::SYN, TcpFlags::FIN, TcpFlags(0x11)];
                    let flags = kinds[(number >> 16) as usize % kinds.len()];
                    let seq = (number >> 32) as u32;
                    let seq = if seq == 1_001 { 0 } else { seq };
                    let forged = segment(key, flags, seq, !seq);
                    assert_eq!(leave(path.received(&forged, WAN2, None, n)).interface, WAN1);
                } else {
                    // Of IPv6 nothing is an address of this box.
                    let endpoints = Endpoints::V4 { src: (number >> 32) as u32 >> 1, dst: BOX };
                    let from = key(endpoints, (number >> 16) as u16);
                    let syn = segment(from, TcpFlags::SYN, number as u32, 0);
                    let answer = leave(path.received(&syn, WAN2, Some(WAN1), n));
                    assert_eq!((answer.interface, answer.came_in), (WAN2, WAN2));
                    assert_eq!(answer.syn_ack.unwrap().ack, (number as u32).wrapping_add(1));
                    *if answer.recorded { &mut recorded } else { &mut not } += 1;
                }
                path.expire(n, 8, |_| {});
                assert!(path.len() as usize <= known + 256);
                if n % 1000 == 0 {
                    let key = live[(n / 1000) as usize % live.len()].reversed();
                    let data = segment(key, TcpFlags(0x18), 5_001, 1_001);
                    assert_eq!(leave(path.sent(&data, Some(WAN2), n)).interface, WAN1);
                }
                if n % 100_000 == 50_000 && known < 512 {
                    // Who comes now: answered, and vouched for by a SYN cookie.
                    let new = key(peer(1 << 20 | n as u32), 40_000);
                    let syn = segment(new, TcpFlags::SYN, 7, 0);
                    let answer = leave(path.received(&syn, WAN1, Some(WAN2), n));
                    assert_eq!(answer.interface, WAN1);
                    path.connected(&new.reversed(), WAN1, n).unwrap();
                    known += 1;
                    let data = segment(new, TcpFlags(0x18), 8, 9);
                    assert_eq!(leave(path.received(&data, WAN2, Some(WAN2), n)).interface, WAN1);
                }
            }
        });
        let pins = path.iter(packets).filter(|pin| pin.established).count();
        assert!(
            pins <= known
                && path.iter(packets).all(|pin| !pin.established || pin.interface == WAN1)
        );
        // 256 places, each for 20 s.
        assert!(recorded <= 256 * (packets / 20_000 + 1) && not > recorded, "{recorded} {not}");
    });
}

fn outer(endpoints: Endpoints, spi: u32) -> OuterHeaders {
    OuterHeaders {
        endpoints,
        flow_label: 0,
        ipsec: Ipsec::Esp,
        encap: Encap::None,
        spi: Spi(spi),
        sequence: 1,
        sequence_high: 0,
        sport: 0,
        dport: 0,
        offset: 20,
        octets: 64,
    }
}

/// 100 000 packets a second with SPIs that nobody has: events stay within their budget, not one packet
/// is uncounted, the peer's SA is found, and what is said of the peer's deleted SPI is said at once.
#[test]
fn b3_b4_a_flood_of_unknown_spis_leaves_the_peer_its_sa_and_its_event() {
    let packets = packets();
    const SPI: u32 = 0x3_0001;
    const DELETED: u32 = 0x3_0002;
    let capacity = Capacity {
        tunnels: 1,
        children: 1,
        selectors: 1,
        sas: 4,
        sas_dst: 0,
        sas_dst_src: 0,
        sas_allocated: 0,
        replay_window: 0,
        workers: 1,
    };
    let mut gateway = Gateway::new(&capacity, SEED).unwrap();
    let (control, mut workers) = gateway.split();
    let tunnel = control.add_tunnel(Mode::StrictSa, Modes::NONE).unwrap();
    let all = TrafficSelector::any(AddrRange::V4 { lo: 0, hi: u32::MAX });
    let child = control.add_child(tunnel, &[all], &[all]).unwrap();
    control.publish().unwrap();
    let params = |spi| SaParams::new(SaKey::new(Ipsec::Esp, Spi(spi), None, None).unwrap());
    let sa = control.add_sa(child, &params(SPI)).unwrap();
    let old = control.add_sa(child, &params(DELETED)).unwrap();
    control.delete_sa(old, 0).unwrap();
    let mut worker = workers.take().unwrap();
    let mut random = Random(5);
    let (mut events, mut strange, mut of_peer) = (0_u64, 0_u64, 0_u64);
    let is_of_peer = |event: &Event| {
        let class = event.refusal().and_then(|refusal| refusal.spi_class);
        matches!(class, Some(SpiClass::RecentlyDeleted { .. }))
    };
    let per_second = 100_000;
    without_allocation(|| {
        for n in 0..packets {
            let ingress = Ingress { now_ms: n * 1000 / per_second, interface: WAN2 };
            // The high bit: none of the two.
            let packet = outer(random.anybody(), random.next() as u32 | 1 << 31);
            let Arrival::Drop(refusal) = worker.lookup(&packet, ingress) else {
                panic!("{packet:?}")
            };
            assert_eq!(refusal.reason, Reason::UnknownSpi);
            if n % 1000 == 0 {
                let known = outer(peer(1), SPI);
                assert_eq!(worker.lookup(&known, ingress), Arrival::Sa(sa, known));
            }
            let asks = n % per_second == per_second / 2;
            if asks {
                assert!(matches!(
                    worker.lookup(&outer(peer(1), DELETED), ingress),
                    Arrival::Drop(_)
                ));
            }
            // The host drains seldom, and at once after the peer's packet, to see its event.
            let mut told = 0;
            let drains = asks || n % 256 == 0;
            let queue = std::iter::from_fn(|| worker.next_event());
            for event in queue.take(if drains { usize::MAX } else { 0 }) {
                if is_of_peer(&event) {
                    told += 1;
                } else {
                    strange += 1;
                    events += 1 + u64::from(event.suppressed);
                }
            }
            assert_eq!(told, u64::from(asks), "the peer's event");
            of_peer += told;
        }
    });
    let seconds = packets.div_ceil(per_second);
    assert_eq!(of_peer, seconds);
    // Ten a second, ten at once.
    assert!(strange <= 10 * seconds + 10, "{strange} events");
    // Long after, one more tells how many were suppressed.
    let ingress = Ingress { now_ms: seconds * 1000 + 60_000, interface: WAN2 };
    let _ = worker.lookup(&outer(peer(2), 1 << 31), ingress);
    while let Some(event) = worker.next_event() {
        events += 1 + u64::from(event.suppressed);
    }
    assert_eq!(events, packets + 1);
}
