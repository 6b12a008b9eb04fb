//! The timelines of seed 003 and its rules, and forged segments against connections that live.

use proptest::prelude::*;

use super::*;
use crate::gate::session::{SessionPacket, Sessions};
use crate::headers::{Endpoints, Outer};

const SEED: [u64; 2] = [0x9e91, 0x0a7a];
const WAN1: u32 = 1;
const WAN2: u32 = 2;
const PEER: u32 = 0xc000_020a; // 192.0.2.10
const LOCAL_1: u32 = 0xcb00_7102; // 203.0.113.2
const LOCAL_2: u32 = 0xc633_6402; // 198.51.100.2
const LOCAL: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::from_bits(LOCAL_1)),
    IpAddr::V4(std::net::Ipv4Addr::from_bits(LOCAL_2)),
];
const SYN: u32 = 164_043_747;
const SYN_ACK: u32 = 3_416_450_666;

fn key(local: u32) -> FlowKey {
    let endpoints = Endpoints::V4 { src: PEER, dst: local };
    FlowKey { endpoints, protocol: protocol::TCP, src_port: 51_717, dst_port: 443 }
}

fn from_peer(flags: TcpFlags, seq: u32, ack: u32) -> Segment {
    Segment { key: key(LOCAL_1), flags, seq, ack, payload_octets: 0 }
}

fn to_peer(flags: TcpFlags, seq: u32, ack: u32) -> Segment {
    Segment { key: key(LOCAL_1).reversed(), flags, seq, ack, payload_octets: 0 }
}

fn syn() -> Segment {
    from_peer(TcpFlags::SYN, SYN, 0)
}

fn reply_path(mode: ReplyMode<'_>) -> ReplyPath<'static, '_> {
    ReplyPath::new(ReplyConfig { port: 443, local: &LOCAL, mode }, &Limits::of(100), SEED).unwrap()
}

#[track_caller]
fn leave(answer: Answer) -> Leave {
    let Answer::Leave(leave) = answer else { panic!("{answer:?}") };
    leave
}

/// SYN, SYN ACK and ACK at one moment.
fn handshake(path: &mut ReplyPath<'_, '_>, interface: u32, now_ms: u64) {
    let came_in = leave(path.received(&syn(), interface, Some(WAN2), now_ms));
    assert!(came_in.recorded);
    leave(path.sent(&to_peer(TcpFlags::SYN_ACK, SYN_ACK, SYN + 1), Some(WAN2), now_ms));
    leave(path.received(
        &from_peer(TcpFlags::ACK, SYN + 1, SYN_ACK + 1),
        interface,
        Some(WAN2),
        now_ms,
    ));
    let pin = path.iter(now_ms).find(|pin| pin.key == key(LOCAL_1).reversed()).unwrap();
    assert!(pin.established);
}

/// 03:05:11.766062 wan1 in SYN 164043747; .766215 wan2 out, ack 164043748; a second later the same again.
#[test]
fn d2_unpinned_the_answer_leaves_by_the_other_wan() {
    let mut path = reply_path(ReplyMode::Unpinned);
    for now_ms in [11_766, 12_780] {
        let answer = leave(path.received(&syn(), WAN1, Some(WAN2), now_ms));
        let syn_ack = SynAck { flags: TcpFlags::SYN_ACK, ack: 164_043_748 };
        assert_eq!(answer.syn_ack, Some(syn_ack));
        assert_eq!((answer.interface, answer.chosen), (WAN2, Chosen::Route));
        assert!(!answer.completes_handshake());
        let sent = to_peer(TcpFlags::SYN_ACK, SYN_ACK, 164_043_748);
        assert_eq!(leave(path.sent(&sent, Some(WAN2), now_ms)).interface, WAN2);
    }
    assert_eq!(path.len(), 1);
    assert!(path.iter(12_780).all(|pin| !pin.established));
}

/// 03:08:40.120011 wan1 in SYN; .120083 wan1 out SYN ACK; .121004 wan1 in ACK 3416450667. And all after it.
#[test]
fn d1_d2_pinned_the_answers_leave_where_the_syn_came_in() {
    let mut path = reply_path(ReplyMode::Pinned);
    let answer = leave(path.received(&syn(), WAN1, Some(WAN2), 0));
    assert_eq!((answer.interface, answer.chosen), (WAN1, Chosen::Pin));
    assert_eq!(answer.syn_ack, Some(SynAck { flags: TcpFlags::SYN_ACK, ack: 164_043_748 }));
    assert_eq!(answer.syn_ack.unwrap().flags.to_string(), "SA");
    assert!(answer.completes_handshake());
    let sent = leave(path.sent(&to_peer(TcpFlags::SYN_ACK, SYN_ACK, SYN + 1), Some(WAN2), 0));
    assert_eq!(sent.interface, WAN1);
    let ack = from_peer(TcpFlags::ACK, SYN + 1, 3_416_450_667);
    assert_eq!(leave(path.received(&ack, WAN1, Some(WAN2), 1)).syn_ack, None);
    assert!(path.iter(1).all(|pin| pin.established && pin.interface == WAN1));
    // After the handshake, whatever the routing table says, and though segments now come in elsewhere.
    for minute in 1..600 {
        let data = from_peer(TcpFlags(0x18), SYN + minute, SYN_ACK + minute);
        let now_ms = u64::from(minute) * 60_000;
        assert_eq!(leave(path.received(&data, WAN2, Some(WAN2), now_ms)).interface, WAN1);
        let data = to_peer(TcpFlags(0x18), SYN_ACK + minute, SYN + minute);
        assert_eq!(leave(path.sent(&data, None, now_ms)).interface, WAN1);
    }
}

#[test]
fn d2_a_retransmitted_syn_keeps_its_pin() {
    let mut path = reply_path(ReplyMode::Pinned);
    for interface in [WAN1, WAN2, WAN1] {
        let answer = leave(path.received(&syn(), interface, Some(WAN2), 1_000));
        assert_eq!((answer.interface, answer.came_in), (WAN1, WAN1));
        assert_eq!(answer.syn_ack.unwrap().ack, SYN + 1);
    }
    assert_eq!(path.len(), 1);
}

/// The SYN of another attempt is no retransmission: the peer moved to the other way in.
#[test]
fn d2_another_attempt_gets_its_own_pin() {
    let mut path = reply_path(ReplyMode::Pinned);
    leave(path.received(&syn(), WAN1, None, 0));
    let another = from_peer(TcpFlags::SYN, SYN + 77, 0);
    let answer = leave(path.received(&another, WAN2, None, 0));
    assert_eq!((answer.interface, answer.syn_ack.unwrap().ack), (WAN2, SYN + 78));
    assert_eq!(path.len(), 1);
}

/// The number after the last one is 0.
#[test]
fn d2_the_ack_wraps() {
    let mut path = reply_path(ReplyMode::Pinned);
    let last = from_peer(TcpFlags::SYN, u32::MAX, 0);
    assert_eq!(leave(path.received(&last, WAN1, None, 0)).syn_ack.unwrap().ack, 0);
}

/// 203.0.113.2/255.255.255.252 out wan1, 198.51.100.2/255.255.255.252 out wan2, as they are written.
fn policy_routes() -> [PolicyRoute; 2] {
    [("203.0.113.2/255.255.255.252", WAN1), ("198.51.100.2/30", WAN2)]
        .map(|(src, output)| PolicyRoute { src: AddrRange::parse_masked(src).unwrap(), output })
}

#[test]
fn d4_policy_routes_lead_answers_back() {
    let routes = policy_routes();
    let mode = ReplyMode::PolicyRoute { routes: &routes, ike_policy_route: true };
    let mut path = reply_path(mode);
    let answer = leave(path.received(&syn(), WAN1, Some(WAN2), 0));
    assert_eq!((answer.interface, answer.chosen), (WAN1, Chosen::PolicyRoute { index: 0 }));
    assert!(answer.completes_handshake());
    let second = Segment { key: key(LOCAL_2), ..syn() };
    let answer = leave(path.received(&second, WAN2, Some(WAN1), 0));
    assert_eq!((answer.interface, answer.chosen), (WAN2, Chosen::PolicyRoute { index: 1 }));
}

/// Host bits under a mask do not count: the route is for the network.
#[test]
fn d4_host_bits_are_masked() {
    let [route, _] = policy_routes();
    for (last, inside) in [(255, false), (0, true), (1, true), (2, true), (3, true), (4, false)] {
        let network = if last == 255 { 112 } else { 113 };
        let addr = IpAddr::from([203, 0, network, last]);
        assert_eq!(route.src.contains(addr), inside, "{addr}");
    }
}

/// Without the second switch, what the box itself sends for IKE does not ask policy routes.
#[test]
fn d4_without_ike_policy_route_they_are_not_asked() {
    let routes = policy_routes();
    let mode = ReplyMode::PolicyRoute { routes: &routes, ike_policy_route: false };
    let answer = leave(reply_path(mode).received(&syn(), WAN1, Some(WAN2), 0));
    assert_eq!((answer.interface, answer.chosen), (WAN2, Chosen::Route));
    assert!(!answer.completes_handshake());
}

/// First match; no match: the routing table; no route there: no answer.
#[test]
fn d4_routes_are_asked_in_order() {
    let of = |src: &str, output| PolicyRoute { src: src.parse().unwrap(), output };
    let routes = [of("198.51.100.0/24", 7), of("203.0.113.0/24", 8), of("203.0.113.2", 9)];
    let mode = ReplyMode::PolicyRoute { routes: &routes, ike_policy_route: true };
    let answer = leave(reply_path(mode).received(&syn(), WAN1, None, 0));
    assert_eq!((answer.interface, answer.chosen), (8, Chosen::PolicyRoute { index: 1 }));
    let mode = ReplyMode::PolicyRoute { routes: &routes[..1], ike_policy_route: true };
    assert_eq!(leave(reply_path(mode).received(&syn(), WAN1, Some(3), 0)).interface, 3);
    assert_eq!(reply_path(mode).received(&syn(), WAN1, None, 0), Answer::NoRoute);
}

/// A segment in midstream makes no pin; after `clear` only a new SYN does, and where that came in counts.
#[test]
fn d5_after_a_clear_only_a_syn_makes_a_pin() {
    let mut path = reply_path(ReplyMode::Pinned);
    let midstream = from_peer(TcpFlags::ACK, 164_043_748, SYN_ACK + 1);
    assert_eq!(path.received(&midstream, WAN1, Some(WAN2), 0), Answer::NoSession);
    handshake(&mut path, WAN1, 0);
    // diagnose sys session filter src 203.0.113.2, dst 192.0.2.10, dport 443; session clear.
    let of = |port| {
        move |key: &FlowKey| *key == FlowKey { src_port: port, ..self::key(LOCAL_1).reversed() }
    };
    assert_eq!(path.clear(1, of(444)), 0);
    assert_eq!(path.clear(1, of(443)), 1);
    assert_eq!(path.received(&midstream, WAN1, Some(WAN2), 2), Answer::NoSession);
    assert_eq!(
        path.sent(&to_peer(TcpFlags::ACK, SYN_ACK + 1, SYN + 1), None, 2),
        Answer::NoSession
    );
    assert_eq!(leave(path.received(&syn(), WAN2, Some(WAN1), 3)).interface, WAN2);
}

/// Other protocols, ports and addresses are not IKE over TCP of this box; another port may be configured.
#[test]
fn d5_only_the_configured_port_of_this_box() {
    let mut path = reply_path(ReplyMode::Pinned);
    let at = |key| Segment { key, ..syn() };
    for other in [
        FlowKey { dst_port: 8443, ..key(LOCAL_1) },
        FlowKey { protocol: protocol::UDP, ..key(LOCAL_1) },
        key(LOCAL_1 + 1),
        key(LOCAL_1).reversed(),
    ] {
        assert_eq!(path.received(&at(other), WAN1, Some(WAN2), 0), Answer::NotOurs, "{other}");
        let sent = at(other.reversed());
        assert_eq!(path.sent(&sent, Some(WAN2), 0), Answer::NotOurs, "{other}");
    }
    assert!(path.is_empty());
    path.configure(ReplyConfig { port: 8443, local: &LOCAL, mode: ReplyMode::Pinned });
    let other = at(FlowKey { dst_port: 8443, ..key(LOCAL_1) });
    assert_eq!(leave(path.received(&other, WAN1, Some(WAN2), 0)).interface, WAN1);
    assert_eq!(path.received(&syn(), WAN1, Some(WAN2), 0), Answer::NotOurs);
}

/// `transport auto`: UDP was tried first and left by wan2; the TCP that follows has a pin of its own.
#[test]
fn d5_transport_auto_is_pinned_once_on_tcp() {
    let mut sessions = Sessions::new(&crate::gate::session::Limits::of(10), SEED).unwrap();
    let udp = FlowKey { protocol: protocol::UDP, src_port: 500, dst_port: 500, ..key(LOCAL_1) };
    let udp = SessionPacket::received(&udp, &Outer::Ike).unwrap();
    sessions.open(&udp, 0).unwrap();
    let mut path = reply_path(ReplyMode::Pinned);
    handshake(&mut path, WAN1, 30_000);
    // The peer falls back; or this box does, and connects by the tunnel's interface.
    let own = FlowKey { src_port: 40_000, dst_port: 443, ..key(LOCAL_1).reversed() };
    path.connected(&own, WAN1, 30_000).unwrap();
    let segment = |key, flags| Segment { key, flags, seq: 5, ack: 6, payload_octets: 0 };
    assert_eq!(leave(path.sent(&segment(own, TcpFlags::SYN), Some(WAN2), 30_000)).interface, WAN1);
    let answer = segment(own.reversed(), TcpFlags::SYN_ACK);
    assert_eq!(leave(path.received(&answer, WAN2, Some(WAN2), 30_100)).interface, WAN1);
    assert!(sessions.find(&udp, 30_100).is_some());
}

/// The answer names an interface and nothing else; for a peer on the link of either wan too.
#[test]
fn t29_the_pin_is_an_interface() {
    let mut path = reply_path(ReplyMode::Pinned);
    let on_link =
        FlowKey { endpoints: Endpoints::V4 { src: LOCAL_1 - 1, dst: LOCAL_1 }, ..key(LOCAL_1) };
    let answer = leave(path.received(&Segment { key: on_link, ..syn() }, WAN1, Some(WAN2), 0));
    assert_eq!(answer.interface, WAN1);
}

#[test]
fn t29_a_reset_drops_the_pin() {
    let mut path = reply_path(ReplyMode::Pinned);
    // Of the peer, during the handshake and after.
    leave(path.received(&syn(), WAN1, None, 0));
    assert_eq!(path.received(&from_peer(TcpFlags::RST, SYN + 1, 0), WAN1, None, 0), Answer::Reset);
    assert!(path.is_empty());
    handshake(&mut path, WAN1, 0);
    assert_eq!(path.received(&from_peer(TcpFlags::RST, SYN + 1, 0), WAN1, None, 0), Answer::Reset);
    assert!(path.is_empty());
    // Of this box; it leaves by the pin.
    handshake(&mut path, WAN1, 0);
    let reset = to_peer(TcpFlags::RST, SYN_ACK + 1, 0);
    assert_eq!(leave(path.sent(&reset, Some(WAN2), 0)).interface, WAN1);
    assert!(path.is_empty());
}

/// A step of the clock back by a millisecond is none of 49 days on: the last ACK is still to leave.
#[test]
fn t29_a_trembling_clock_does_not_drop_a_closed_connection_early() {
    const FIN_ACK: TcpFlags = TcpFlags(0x11);
    let mut path = reply_path(ReplyMode::Pinned);
    handshake(&mut path, WAN1, 0);
    leave(path.sent(&to_peer(FIN_ACK, SYN_ACK + 1, SYN + 1), None, 5_000));
    leave(path.received(&from_peer(FIN_ACK, SYN + 1, SYN_ACK + 2), WAN1, None, 5_000));
    let last = to_peer(TcpFlags::ACK, SYN_ACK + 2, SYN + 2);
    for now_ms in [5_000, 4_999, 15_000] {
        assert_eq!(leave(path.sent(&last, Some(WAN2), now_ms)).interface, WAN1, "at {now_ms}");
    }
    assert_eq!(path.sent(&last, Some(WAN2), 15_001), Answer::NoSession);
}

/// Whoever closes first, the last ACK still leaves by the pin; 10 s later it is gone. A SYN ends it at once.
#[test]
fn t29_fins_both_ways_drop_the_pin() {
    const FIN_ACK: TcpFlags = TcpFlags(0x11);
    let peer_first = |path: &mut ReplyPath<'_, '_>| {
        leave(path.received(&from_peer(FIN_ACK, SYN + 1, SYN_ACK + 1), WAN1, None, 0));
        leave(path.sent(&to_peer(TcpFlags::ACK, SYN_ACK + 1, SYN + 2), None, 0));
        leave(path.sent(&to_peer(FIN_ACK, SYN_ACK + 1, SYN + 2), None, 0));
        leave(path.received(&from_peer(TcpFlags::ACK, SYN + 2, SYN_ACK + 2), WAN1, None, 0));
    };
    let box_first = |path: &mut ReplyPath<'_, '_>| {
        leave(path.sent(&to_peer(FIN_ACK, SYN_ACK + 1, SYN + 1), None, 0));
        leave(path.received(&from_peer(TcpFlags::ACK, SYN + 1, SYN_ACK + 2), WAN1, None, 0));
        leave(path.received(&from_peer(FIN_ACK, SYN + 1, SYN_ACK + 2), WAN1, None, 0));
        leave(path.sent(&to_peer(TcpFlags::ACK, SYN_ACK + 2, SYN + 2), None, 0));
    };
    let again = to_peer(TcpFlags::ACK, SYN_ACK + 2, SYN + 2);
    for close in [peer_first, box_first] as [fn(&mut ReplyPath<'_, '_>); 2] {
        let mut path = reply_path(ReplyMode::Pinned);
        handshake(&mut path, WAN1, 0);
        close(&mut path);
        // Segments that come late do not keep it.
        for now_ms in [3_000, 6_000, 9_000, 10_000] {
            assert_eq!(leave(path.sent(&again, None, now_ms)).interface, WAN1);
        }
        assert_eq!(path.sent(&again, None, 10_001), Answer::NoSession);
        assert!(path.is_empty());

        // Its place is free then, though nobody asks for it: else whoever connects and closes again and
        // again would fill the table for an hour.
        let mut path = reply_path(ReplyMode::Pinned);
        handshake(&mut path, WAN1, 0);
        close(&mut path);
        assert_eq!((path.expire(10_000, path.slots(), |_| ()), path.len()), (0, 1));
        assert_eq!((path.expire(10_001, path.slots(), |_| ()), path.len()), (1, 0));

        let mut path = reply_path(ReplyMode::Pinned);
        handshake(&mut path, WAN1, 0);
        close(&mut path);
        assert_eq!(leave(path.received(&syn(), WAN2, None, 1_000)).interface, WAN2);
    }
}

/// One way closed is not closed: the other may go on for long.
#[test]
fn t29_a_half_closed_connection_keeps_its_pin() {
    let mut path = reply_path(ReplyMode::Pinned);
    handshake(&mut path, WAN1, 0);
    leave(path.received(&from_peer(TcpFlags(0x11), SYN + 1, SYN_ACK + 1), WAN1, None, 0));
    for minute in 1..30 {
        let data = to_peer(TcpFlags::ACK, SYN_ACK + minute, SYN + 2);
        assert_eq!(leave(path.sent(&data, Some(WAN2), u64::from(minute) * 60_000)).interface, WAN1);
    }
}

#[test]
fn a_connection_ends_when_idle() {
    let mut path = reply_path(ReplyMode::Pinned);
    handshake(&mut path, WAN1, 0);
    let half_open = Segment { key: key(LOCAL_2), ..syn() };
    leave(path.received(&half_open, WAN2, None, 0));
    let mut told = Vec::new();
    assert_eq!(path.expire(20_000, 10_000, |pin| told.push(*pin)), 0);
    assert_eq!(path.expire(20_001, 10_000, |pin| told.push(*pin)), 1);
    assert_eq!(path.expire(3_600_000, 10_000, |pin| told.push(*pin)), 0);
    assert_eq!(path.expire(3_600_001, 10_000, |pin| told.push(*pin)), 1);
    let pin = |local, interface, established, idle_ms| Pin {
        key: key(local).reversed(),
        interface,
        established,
        idle_ms,
    };
    assert_eq!(told, [pin(LOCAL_2, WAN2, false, 20_001), pin(LOCAL_1, WAN1, true, 3_600_001)]);
}

/// SYNs from everywhere, and blind ACKs behind them: they stay half open, and are few. Who was connected
/// stays so; whoever is vouched for gets in.
#[test]
fn a_flood_of_syns_leaves_connections_alone() {
    let mut path = reply_path(ReplyMode::Pinned);
    handshake(&mut path, WAN1, 0);
    let stranger = |number: u32| {
        let endpoints = Endpoints::V4 { src: number, dst: LOCAL_1 };
        FlowKey { endpoints, src_port: number as u16, ..key(LOCAL_1) }
    };
    let mut unrecorded = 0;
    for number in 0..100_000 {
        let key = stranger(number);
        let answer = leave(path.received(&Segment { key, ..syn() }, WAN2, None, 1_000));
        assert_eq!(answer.interface, WAN2, "answered where it came in, recorded or not");
        unrecorded += u32::from(!answer.recorded);
        let sent = Segment { key: key.reversed(), ..to_peer(TcpFlags::SYN_ACK, SYN_ACK, SYN + 1) };
        let _ = path.sent(&sent, None, 1_000);
        let blind = Segment { key, ..from_peer(TcpFlags::ACK, SYN + 1, number) };
        let _ = path.received(&blind, WAN2, None, 1_000);
    }
    assert_eq!((unrecorded, path.len()), (100_000 - 50, 51));
    assert!(path.iter(1_000).all(|pin| pin.established == (pin.interface == WAN1)));
    path.connected(&key(LOCAL_2).reversed(), WAN2, 1_000).unwrap();
    assert_eq!(
        leave(path.received(&from_peer(TcpFlags::ACK, SYN + 1, 1), WAN1, None, 1_000)).interface,
        WAN1
    );
    // Their time ends, and there is room again.
    path.expire(21_001, 10_000, |_| {});
    assert_eq!(path.len(), 2);
    let answer = leave(path.received(&Segment { key: stranger(7), ..syn() }, WAN2, None, 21_001));
    assert!(answer.recorded);
}

#[test]
fn a_full_table_answers_and_does_not_record() {
    let limits = Limits { capacity: 1, half_open: 9, timers: Timers::default() };
    let config = ReplyConfig { port: 443, local: &LOCAL, mode: ReplyMode::Pinned };
    let mut path = ReplyPath::new(config, &limits, SEED).unwrap();
    handshake(&mut path, WAN1, 0);
    let other = Segment { key: key(LOCAL_2), ..syn() };
    assert!(!leave(path.received(&other, WAN2, None, 0)).recorded);
    let full = Err(Full { capacity: 1 });
    assert_eq!(path.connected(&other.key.reversed(), WAN2, 0), full);
    assert!(path.close(&key(LOCAL_1).reversed(), 0));
    assert!(leave(path.received(&other, WAN2, None, 0)).recorded);
}

proptest! {
    /// Segments of one who knows addresses and ports but not the numbers, on any interface, neither move nor
    /// drop the pin of an established connection.
    #[test]
    fn forged_segments_do_not_move_a_pin(
        forged in prop::collection::vec((any::<u8>(), any::<u32>(), any::<u32>(), 0..1500_u32, 0..4_u32), 0..60),
        vouched: bool,
    ) {
        let mut path = reply_path(ReplyMode::Pinned);
        if vouched {
            path.connected(&key(LOCAL_1).reversed(), WAN1, 0).unwrap();
            leave(path.sent(&to_peer(TcpFlags::ACK, SYN_ACK + 1, SYN + 1), None, 0));
        } else {
            handshake(&mut path, WAN1, 0);
        }
        for (at, (flags, seq, ack, payload_octets, interface)) in forged.into_iter().enumerate() {
            // The right number is one of 2^32.
            prop_assume!(seq != SYN + 1 && seq.wrapping_add(payload_octets) != SYN);
            let segment = Segment { payload_octets, ..from_peer(TcpFlags(flags), seq, ack) };
            prop_assert_eq!(leave(path.received(&segment, interface, None, 0)).interface, WAN1);
            // This box answers and goes on; it has closed its side halfway through.
            let flags = if at >= 30 { TcpFlags(0x11) } else { TcpFlags::ACK };
            let sent = leave(path.sent(&to_peer(flags, SYN_ACK + 1, SYN + 1), None, 0));
            prop_assert_eq!(sent.interface, WAN1);
        }
        let late = from_peer(TcpFlags::ACK, SYN + 1, SYN_ACK + 1);
        prop_assert_eq!(leave(path.received(&late, WAN2, None, 3_600_000)).interface, WAN1);
    }

    /// Whatever comes, in any order: the count of half open connections is right, a connection that is not
    /// there is answered only to a SYN, and pinned answers leave where the last SYN that counted came in.
    #[test]
    fn counts_agree_with_a_list(
        steps in prop::collection::vec((0..6_u8, any::<bool>(), 0..0x20_u8, 0..4_u32, 0..4_u32, 0..3_000_u64), 0..300),
        capacity in 1..8_u32,
        half_open in 0..8_u32,
    ) {
        let timers = Timers { half_open_ms: 3_000, established_ms: 9_000, closed_ms: 1_000 };
        let config = ReplyConfig { port: 443, local: &LOCAL, mode: ReplyMode::Pinned };
        let mut path = ReplyPath::new(config, &Limits { capacity, half_open, timers }, SEED).unwrap();
        let mut now_ms = 0;
        for (number, inwards, flags, seq, ack, wait_ms) in steps {
            now_ms += wait_ms;
            let key = FlowKey { src_port: u16::from(number), ..key(LOCAL_1) };
            let mut segment = Segment { key, flags: TcpFlags(flags), seq, ack, payload_octets: 0 };
            let before = path.iter(now_ms).find(|pin| pin.key == key.reversed());
            let interface = seq + 10;
            let answer = if inwards {
                path.received(&segment, interface, None, now_ms)
            } else {
                segment.key = key.reversed();
                path.sent(&segment, None, now_ms)
            };
            match (answer, before) {
                (Answer::Leave(leave), Some(pin)) => {
                    let pinned_anew = leave.interface == interface && segment.flags.is_syn() && inwards;
                    prop_assert!(leave.interface == pin.interface || pinned_anew);
                }
                (Answer::Leave(leave), None) => {
                    prop_assert!(inwards && segment.flags.is_syn() && leave.interface == interface);
                }
                (Answer::Reset, Some(_)) => prop_assert!(segment.flags.has(TcpFlags::RST)),
                // A closed connection may be listed until someone asks for it.
                (Answer::NoSession, _) => prop_assert!(!inwards || !segment.flags.is_syn()),
                (answer, pin) => prop_assert!(false, "{:?} of {:?}", answer, pin),
            }
            path.expire(now_ms, if seq == 0 { 8 } else { 0 }, |_| {});
            let listed = path.table.iter(now_ms).filter(|(_, at, _)| at.half_open() == 1).count() as u32;
            // Those that ended and are not told of count until then.
            prop_assert!(listed <= path.half_open && path.half_open <= half_open.min(path.len()));
        }
        path.expire(now_ms, u32::MAX, |_| {});
        let listed = path.table.iter(now_ms).filter(|(_, at, _)| at.half_open() == 1).count() as u32;
        prop_assert_eq!(listed, path.half_open);
        now_ms += 10_000;
        path.expire(now_ms, u32::MAX, |_| {});
        prop_assert_eq!((path.len(), path.half_open), (0, 0));
    }
}
