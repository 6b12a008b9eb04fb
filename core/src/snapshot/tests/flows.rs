//! Sessions, pins and flows.

use core::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::gate::passthrough::{
    Context, LookupSpi, PassConfig, PassPacket, PassRule, PassRules, PassTimeouts, RuleAction,
    RuleId, Traffic, VirtualServer, compile_rules,
};
use crate::gate::reply_path::{
    self, Answer, Leave, ReplyConfig, ReplyMode, Segment, TcpFlags, Timers,
};
use crate::gate::session::{self, SessionPacket, Side};
use crate::headers::{Outer, Spi};
use crate::selector::{AddrRange, PortRange};

/// A clock that is older, or younger than what is restored.
fn clocks() -> impl Strategy<Value = u64> {
    select(&[0_u64, 9_000, 1 << 41, u64::MAX - (1 << 30)])
}

fn endpoints(six: bool, src: u8, dst: u8) -> Endpoints {
    if six {
        let base = 0x2001_0db8 << 96;
        Endpoints::V6 { src: base + u128::from(src), dst: base + u128::from(dst) }
    } else {
        Endpoints::V4 { src: src.into(), dst: dst.into() }
    }
}

// --- Sessions ---

fn session_packet() -> impl Strategy<Value = SessionPacket> {
    (any::<bool>(), 1..4_u8, select(&[500_u16, 4500]), any::<bool>()).prop_map(
        |(six, peer, port, sent)| {
            let key = FlowKey {
                endpoints: endpoints(six, 99, peer),
                protocol: protocol::UDP,
                src_port: port,
                dst_port: port,
            };
            match sent {
                true => SessionPacket::sent(&key, &Outer::Ike).unwrap(),
                false => SessionPacket::received(&key.reversed(), &Outer::Ike).unwrap(),
            }
        },
    )
}

fn all_sessions(sessions: &Sessions<'_>, now_ms: u64) -> Vec<(FlowKey, Side, u64, u64)> {
    let mut all: Vec<_> = sessions
        .iter(now_ms)
        .map(|one| (one.key, one.origin, one.duration_ms, one.left_ms))
        .collect();
    all.sort_by_key(|one| format!("{one:?}"));
    all
}

proptest! {
    #[test]
    fn c3_restored_sessions_live_on_as_long_as_they_would_have(
        before in proptest::collection::vec((session_packet(), 0..60_000_u64), 0..40),
        after in proptest::collection::vec((session_packet(), 0..60_000_u64), 0..40),
        clock in clocks(),
        elapsed_ms in 0..100_000_u64,
        slots in 1..20_u32,
    ) {
        let limits = |capacity| session::Limits { reserved: 4, ..session::Limits::of(capacity) };
        let mut here = Sessions::new(&limits(60), [1, 2]).unwrap();
        let mut now_ms = 1_000_000;
        for (packet, ms) in &before {
            now_ms += ms;
            if here.find(packet, now_ms).is_none() {
                here.open(packet, now_ms).unwrap();
            }
        }
        let mut pass = Pass::default();
        let octets = written(|writer, piece| {
            let count = writer.sessions(&here, &mut pass, slots, now_ms, piece);
            (count, pass.is_done())
        });
        prop_assert!(pass.is_exact());
        now_ms += elapsed_ms;

        let mut there = Sessions::new(&limits(200), [3, 4]).unwrap();
        let taken_ms = now_ms;
        let shift = |ms: u64| clock.wrapping_add(ms - taken_ms);
        for record in read(&octets, elapsed_ms) {
            let Record::Session(record) = record else { continue };
            let restored = there.restore(&record, shift(now_ms));
            prop_assert_eq!(restored.is_err(), record.idle_ms > 180_000);
        }
        prop_assert_eq!(all_sessions(&here, now_ms), all_sessions(&there, shift(now_ms)));
        for (packet, ms) in &after {
            now_ms += ms;
            let facts = |found: Option<session::Session>| {
                found.map(|one| (one.key, one.origin, one.duration_ms, one.left_ms))
            };
            prop_assert_eq!(
                facts(here.find(packet, now_ms)),
                facts(there.find(packet, shift(now_ms)))
            );
        }
    }
}

fn session(peer: u32, origin: Side) -> SessionRecord {
    let endpoints = Endpoints::V4 { src: 99, dst: peer };
    let key = FlowKey { endpoints, protocol: protocol::UDP, src_port: 500, dst_port: 500 };
    SessionRecord { key, origin, age_ms: 5_000, idle_ms: 3_000 }
}

#[test]
fn restoring_sessions_of_remote_hosts_leaves_what_is_reserved_to_this_box() {
    let limits = session::Limits { capacity: 4, reserved: 3, ttl_ms: 10_000 };
    let mut sessions = Sessions::new(&limits, [1, 2]).unwrap();
    assert!(sessions.restore(&session(1, Side::Remote), 0).is_ok());
    let refused = sessions.restore(&session(2, Side::Remote), 0);
    assert_eq!(refused, Err(RestoreError::Full(Full { capacity: 4 })));
    // One that is there is no newcomer, and its later match counts.
    let later = SessionRecord { idle_ms: 1_000, ..session(1, Side::Remote) };
    let earlier = SessionRecord { idle_ms: 9_000, ..later };
    for record in [later, earlier] {
        assert!(matches!(sessions.restore(&record, 0), Ok(session::Opened::Existing(_))));
    }
    assert_eq!(sessions.iter(0).map(|one| one.left_ms).collect::<Vec<_>>(), [9_000]);
    assert!((2..5).all(|peer| sessions.restore(&session(peer, Side::Local), 0).is_ok()));
    assert!(sessions.restore(&session(9, Side::Local), 0).is_err());
}

#[test]
fn t28_no_session_of_esp_or_ah_and_none_that_has_ended_is_restored() {
    let limits = session::Limits { capacity: 4, reserved: 3, ttl_ms: 10_000 };
    let mut sessions = Sessions::new(&limits, [1, 2]).unwrap();
    for protocol in [protocol::ESP, protocol::AH] {
        let mut record = session(1, Side::Local);
        record.key.protocol = protocol;
        assert_eq!(sessions.restore(&record, 0), Err(RestoreError::Foreign));
    }
    let record = SessionRecord { idle_ms: 10_001, ..session(1, Side::Local) };
    assert_eq!(sessions.restore(&record, 0), Err(RestoreError::Ended));
    let record = SessionRecord { idle_ms: 10_000, ..record };
    assert!(sessions.restore(&record, 0).is_ok());
    assert_eq!((sessions.iter(0).count(), sessions.iter(1).count()), (1, 0));
}

// --- Pins ---

const BOX: IpAddr = IpAddr::V4(Ipv4Addr::from_bits(99));
const PORT: u16 = 443;

fn segment() -> impl Strategy<Value = (Segment, bool)> {
    let flags = select(&[
        TcpFlags::SYN,
        TcpFlags::SYN_ACK,
        TcpFlags::ACK,
        TcpFlags::RST,
        TcpFlags(TcpFlags::FIN.0 | TcpFlags::ACK.0),
    ]);
    let numbers = || select(&[10_u32, 11, 12]);
    (1..4_u32, flags, numbers(), numbers(), any::<bool>()).prop_map(
        |(peer, flags, seq, ack, out)| {
            let endpoints = Endpoints::V4 { src: 99, dst: peer };
            let key =
                FlowKey { endpoints, protocol: protocol::TCP, src_port: PORT, dst_port: 5000 };
            let key = if out { key } else { key.reversed() };
            (Segment { key, flags, seq, ack, payload_octets: 0 }, out)
        },
    )
}

fn pins(seed: [u64; 2], capacity: u32) -> ReplyPath<'static, 'static> {
    let timers = Timers { half_open_ms: 20_000, established_ms: 90_000, closed_ms: 10_000 };
    let limits = reply_path::Limits { half_open: 3, timers, ..reply_path::Limits::of(capacity) };
    let config = ReplyConfig { port: PORT, local: &[BOX], mode: ReplyMode::Pinned };
    ReplyPath::new(config, &limits, seed).unwrap()
}

fn answer(pins: &mut ReplyPath<'_, '_>, (segment, out): &(Segment, bool), now_ms: u64) -> Answer {
    match out {
        true => pins.sent(segment, None, now_ms),
        false => pins.received(segment, segment.seq, None, now_ms),
    }
}

/// A connection from its SYN to the last ACK of its end, whose numbers random segments meet.
fn life() -> [(Segment, bool); 5] {
    let fin_ack = TcpFlags(TcpFlags::FIN.0 | TcpFlags::ACK.0);
    [
        (TcpFlags::SYN, 10, 0, false),
        (TcpFlags::SYN_ACK, 10, 11, true),
        (TcpFlags::ACK, 11, 11, false),
        (fin_ack, 11, 11, false),
        (fin_ack, 11, 12, true),
    ]
    .map(|(flags, seq, ack, out)| {
        let endpoints = Endpoints::V4 { src: 99, dst: 1 };
        let key = FlowKey { endpoints, protocol: protocol::TCP, src_port: PORT, dst_port: 5000 };
        let key = if out { key } else { key.reversed() };
        (Segment { key, flags, seq, ack, payload_octets: 0 }, out)
    })
}

proptest! {
    #[test]
    fn d1_restored_pins_answer_every_segment_alike(
        before in proptest::collection::vec((segment(), 0..4_000_u64), 0..80),
        lived in 0..6_usize,
        after in proptest::collection::vec((segment(), 0..4_000_u64), 0..40),
        clock in clocks(),
        elapsed_ms in select(&[0_u64, 1_000, 9_000, 30_000]),
    ) {
        let mut here = pins([1, 2], 20);
        let mut now_ms = 1_000_000;
        for (segment, ms) in &before {
            now_ms += ms;
            let _ = answer(&mut here, segment, now_ms);
        }
        for segment in life().iter().take(lived) {
            now_ms += 700;
            let _ = answer(&mut here, segment, now_ms);
        }
        let mut pass = Pass::default();
        let octets = written(|writer, piece| {
            let count = writer.pins(&here, &mut pass, 3, now_ms, piece);
            (count, pass.is_done())
        });
        now_ms += elapsed_ms;
        let mut there = pins([3, 4], 50);
        let taken_ms = now_ms;
        let shift = |ms: u64| clock.wrapping_add(ms - taken_ms);
        for record in read(&octets, elapsed_ms) {
            let Record::Pin(record) = record else { continue };
            match there.restore(&record, shift(now_ms)) {
                Ok(()) | Err(RestoreError::Ended) => {}
                other => prop_assert!(false, "{:?}", other),
            }
        }
        // Room that ended half open connections of the old table still hold.
        here.expire(now_ms, 1000, |_| ());
        for (segment, ms) in &after {
            now_ms += ms;
            here.expire(now_ms, 1000, |_| ());
            there.expire(shift(now_ms), 1000, |_| ());
            prop_assert_eq!(
                answer(&mut here, segment, now_ms),
                answer(&mut there, segment, shift(now_ms)),
                "{:?}", segment
            );
        }
    }
}

/// The record of a connection after so many segments of its life, one after the other at 0 ms, 7 s later.
fn pin_after(segments: usize) -> PinRecord {
    let mut path = pins([1, 2], 20);
    for segment in life().iter().take(segments) {
        let answer = answer(&mut path, segment, 0);
        assert!(matches!(answer, Answer::Leave(Leave { recorded: true, .. })), "{answer:?}");
    }
    path.next_record(&mut Pass::default(), 1000, 7_000).unwrap()
}

/// 10 s after the FINs, on whichever node.
#[test]
fn d5_a_restored_connection_that_was_closed_is_kept_for_what_is_left_of_its_time() {
    let closed = pin_after(5);
    assert_eq!((closed.closed_for_ms, closed.idle_ms), (7_000, 7_000));
    for (later_ms, is_known) in [(3_000, true), (3_001, false)] {
        let mut path = pins([5, 6], 9);
        path.restore(&closed, 50).unwrap();
        let last_ack = life()[3];
        let answer = answer(&mut path, &last_ack, 50 + later_ms);
        assert_eq!(matches!(answer, Answer::Leave(_)), is_known, "{answer:?}");
    }
}

#[test]
fn a_pin_that_no_segments_lead_to_is_not_restored() {
    let syn = pin_after(1);
    assert_eq!(pins([5, 6], 9).restore(&syn, 0), Ok(()));
    let mut foreign = [syn; 3];
    foreign[0].key.src_port = 80;
    foreign[1].key.protocol = protocol::UDP;
    foreign[2].key.endpoints = Endpoints::V4 { src: 98, dst: 1 };
    for record in foreign {
        assert_eq!(pins([5, 6], 9).restore(&record, 0), Err(RestoreError::Foreign), "{record:?}");
    }
    let possible = |stage| pins([5, 6], 9).restore(&PinRecord { stage, ..syn }, 0).is_ok();
    let stages: Vec<u32> = (0..200).filter(|&stage| possible(stage)).collect();
    // Half open (32) and marked (2); established (1), its FINs (4 and 8), closed (16).
    assert_eq!(stages, [1, 3, 7, 9, 11, 31, 32, 33, 34, 35, 39, 41, 43, 63]);
    let idle = PinRecord { idle_ms: 20_001, ..syn };
    assert_eq!(pins([5, 6], 9).restore(&idle, 0), Err(RestoreError::Ended));
    let closed = PinRecord { stage: 63, closed_for_ms: 10_001, ..syn };
    assert_eq!(pins([5, 6], 9).restore(&closed, 0), Err(RestoreError::Ended));
}

#[test]
fn restored_handshakes_fill_no_more_than_the_half_open_limit() {
    let mut path = pins([5, 6], 9);
    let of = |peer| {
        let mut record = pin_after(1);
        record.key.endpoints = Endpoints::V4 { src: 99, dst: peer };
        record
    };
    assert!((1..4).all(|peer| path.restore(&of(peer), 0).is_ok()));
    assert_eq!(path.restore(&of(4), 0), Err(RestoreError::Full(Full { capacity: 3 })));
    // One of the three again, later: no newcomer.
    let later = PinRecord { idle_ms: 0, interface: 5, ..of(2) };
    assert_eq!(path.restore(&later, 0), Ok(()));
    assert_eq!(path.restore(&of(2), 0), Ok(()));
    let pin = path.iter(0).find(|pin| pin.key == later.key).unwrap();
    assert_eq!((pin.interface, pin.idle_ms), (5, 0));
    let done = PinRecord { stage: 33, ..of(9) };
    assert_eq!(path.restore(&done, 0), Ok(()));
}

// --- Flows of others ---

fn pass_packet() -> impl Strategy<Value = PassPacket> {
    let spi = || select(&[0, 300, 300 << 16, 1 << 16 | 2]).prop_map(Spi);
    let port = || select(&[500_u16, 4500, 53]);
    let traffic = prop_oneof![
        spi().prop_map(Traffic::Esp),
        spi().prop_map(Traffic::Ah),
        (port(), port()).prop_map(|(src, dst)| Traffic::Udp { src, dst }),
    ];
    (any::<bool>(), 0..3_u8, 0..3_u8, traffic).prop_map(|(six, src, dst, traffic)| PassPacket {
        endpoints: endpoints(six, src, dst),
        traffic,
    })
}

fn rule(id: u32, src: u32, protocol: u8) -> PassRule {
    PassRule {
        id: RuleId(id),
        context: Context::Global,
        action: RuleAction::AcceptDecisively,
        src: AddrRange::V4 { lo: src, hi: src },
        dst: AddrRange::V4 { lo: 0, hi: 1 },
        protocol,
        src_ports: PortRange::ANY,
        dst_ports: PortRange::ANY,
    }
}

fn rules() -> impl Strategy<Value = Vec<PassRule>> {
    proptest::collection::vec((0..3_u32, select(&[0, 17, 50, 51])), 0..4).prop_map(|some| {
        let rule = |(id, (src, protocol)): (usize, _)| rule(id as u32, src, protocol);
        some.into_iter().enumerate().map(rule).collect()
    })
}

fn config(by_spi: bool, alg: bool) -> PassConfig {
    PassConfig {
        lookupspi: if by_spi { LookupSpi::On } else { LookupSpi::Off },
        server: if alg { VirtualServer::StandardWithAlg } else { VirtualServer::FastL4 },
        timeouts: PassTimeouts { ike_ms: 60_000, esp_ms: 40_000, ..PassTimeouts::default() },
    }
}

/// What a fault would change: all but the age of a flow that the ALG made anew.
fn all_flows(flows: &Passthrough<'_>, now_ms: u64) -> Vec<String> {
    let mut all: Vec<_> = flows
        .flows(now_ms)
        .map(|one| {
            let age_ms = now_ms.wrapping_sub(one.made_ms);
            format!("{} {:?} {age_ms} {}", one.key, one.origin, one.idle_ms)
        })
        .collect();
    all.sort();
    all
}

proptest! {
    #[test]
    fn e2_restored_flows_get_the_same_verdicts(
        before in proptest::collection::vec((pass_packet(), 0..4_000_u64), 0..60),
        after in proptest::collection::vec((pass_packet(), 0..4_000_u64), 0..40),
        rules in rules(),
        (by_spi, alg) in any::<(bool, bool)>(),
        accept in any::<bool>(),
        clock in clocks(),
        elapsed_ms in select(&[0_u64, 1_000, 30_000]),
        slots in 1..20_u32,
    ) {
        let default = if accept { RuleAction::Accept } else { RuleAction::Reject };
        let words = compile_rules(&rules, default).unwrap();
        let rules = PassRules::open(&words).unwrap();
        let mut here = Passthrough::new(300, [1, 2], config(by_spi, alg)).unwrap();
        let mut now_ms = 1_000_000;
        for (packet, ms) in &before {
            now_ms += ms;
            let _ = here.check(&rules, packet, now_ms);
        }
        let mut pass = Pass::default();
        let octets = written(|writer, piece| {
            let count = writer.flows(&here, &mut pass, slots, now_ms, piece);
            (count, pass.is_done())
        });
        now_ms += elapsed_ms;
        let mut there = Passthrough::new(900, [3, 4], config(by_spi, alg)).unwrap();
        let taken_ms = now_ms;
        let shift = |ms: u64| clock.wrapping_add(ms - taken_ms);
        for record in read(&octets, elapsed_ms) {
            let Record::Flow(record) = record else { continue };
            match there.restore(&rules, &record, shift(now_ms)) {
                Ok(()) => prop_assert!(record.packet().key(config(by_spi, alg).lookupspi).is_ok()
                    || record.origin == crate::gate::passthrough::Origin::Alg),
                Err(error) => prop_assert_eq!(error, RestoreError::Ended),
            }
        }
        prop_assert_eq!(all_flows(&here, now_ms), all_flows(&there, shift(now_ms)));
        for (packet, ms) in &after {
            now_ms += ms;
            let verdicts = (
                here.check(&rules, packet, now_ms),
                there.check(&rules, packet, shift(now_ms)),
            );
            prop_assert_eq!(verdicts.0, verdicts.1, "{:?}", packet);
        }
        prop_assert_eq!(all_flows(&here, now_ms), all_flows(&there, shift(now_ms)));
    }

    /// Whatever a record says: with rules that admit nothing there is no flow; and a flow that is restored
    /// is one that packets could have made.
    #[test]
    fn a_flow_is_restored_only_where_rules_admit_it(
        (src, dst) in (0..3_u8, 0..3_u8),
        protocol in select(&[6, 17, 50, 51]),
        (src_port, dst_port) in (select(&[0_u16, 4, 500]), select(&[0_u16, 9, 500])),
        of_alg in any::<bool>(),
        rules in rules(),
        (by_spi, alg) in any::<(bool, bool)>(),
    ) {
        use crate::gate::passthrough::{DecidedBy, Origin};
        let words = compile_rules(&rules, RuleAction::Drop).unwrap();
        let rules = PassRules::open(&words).unwrap();
        let config = config(by_spi, alg);
        let origin = if of_alg { Origin::Alg } else { Origin::Decided(DecidedBy::Default) };
        let key = FlowKey { endpoints: endpoints(false, src, dst), protocol, src_port, dst_port };
        let record = FlowRecord { key, origin, age_ms: 5, idle_ms: 2 };
        let mut there = Passthrough::new(9, [3, 4], config).unwrap();
        let restored = there.restore(&rules, &record, 100);

        let mut packets = vec![record.packet()];
        if of_alg {
            // IKE one way or the other, then the packet; of an any:any flow IKE alone.
            let ike = |endpoints| PassPacket { endpoints, traffic: Traffic::Udp { src: 500, dst: 500 } };
            packets.splice(0..0, [ike(key.endpoints), ike(key.endpoints.reversed())]);
        }
        let mut twin = Passthrough::new(9, [3, 4], config).unwrap();
        for packet in &packets {
            let _ = twin.check(&rules, packet, 98);
        }
        // The ALG's two flows lie in the direction of IKE.
        let is_made = twin.flows(98).any(|flow| {
            (flow.key == key || of_alg && (src_port, dst_port) == (0, 0) && flow.key == key.reversed())
                && (flow.origin == Origin::Alg) == of_alg
        });
        prop_assert_eq!(restored.is_ok(), is_made, "{:?} {:?}", restored, key);
        prop_assert_eq!(there.flows(100).count(), usize::from(is_made));
    }
}

#[test]
fn a_flow_of_the_opposite_direction_is_not_restored_beside_the_one_that_is() {
    let words = compile_rules(&[], RuleAction::Accept).unwrap();
    let rules = PassRules::open(&words).unwrap();
    let mut flows = Passthrough::new(9, [3, 4], config(false, false)).unwrap();
    let packet = PassPacket { endpoints: endpoints(false, 1, 2), traffic: Traffic::Esp(Spi(7)) };
    let _ = flows.check(&rules, &packet, 0);
    let record = flows.next_record(&mut Pass::default(), 100, 0).unwrap();
    let back = FlowRecord { key: record.key.reversed(), ..record };
    assert_eq!(flows.restore(&rules, &back, 0), Err(RestoreError::Foreign));
    assert_eq!(flows.restore(&rules, &record, 0), Ok(()));
    assert_eq!(flows.flows(0).count(), 1);
}

/// Entries move in a nearly full table: that is told.
#[test]
fn a_pass_over_a_table_whose_entries_move_says_so() {
    let limits = session::Limits { reserved: 0, ..session::Limits::of(2000) };
    let mut sessions = Sessions::new(&limits, [1, 2]).unwrap();
    let mut pass = Pass::default();
    assert!(sessions.next_record(&mut pass, 1, 0).is_none());
    for peer in 0..2000 {
        sessions.restore(&session(peer, Side::Local), 0).unwrap();
    }
    while sessions.next_record(&mut pass, 100, 0).is_some() {}
    assert!(pass.is_done() && !pass.is_exact());
    let (mut pass, mut count) = (Pass::default(), 0);
    while !pass.is_done() {
        count += usize::from(sessions.next_record(&mut pass, 1, 0).is_some());
    }
    assert_eq!((count, pass.is_exact()), (2000, true));
}

pub(super) fn restore_hostile_pin(record: &PinRecord, now_ms: u64) {
    let mut path = pins([5, 6], 9);
    let restored = path.restore(record, now_ms);
    assert_eq!(path.iter(now_ms).count(), usize::from(restored.is_ok()));
}

pub(super) fn restore_hostile_flow(record: &FlowRecord, now_ms: u64) {
    let words = compile_rules(&[], RuleAction::Drop).unwrap();
    let rules = PassRules::open(&words).unwrap();
    let mut flows = Passthrough::new(9, [1, 2], config(true, true)).unwrap();
    assert!(flows.restore(&rules, record, now_ms).is_err());
    assert_eq!(flows.flows(now_ms).count(), 0);
}
