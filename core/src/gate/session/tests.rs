//! The timelines of seed 002 and its rules, and the sessions against a plain list.

use proptest::prelude::*;

use super::*;
use crate::gate::health::{Health, IkeWay, Thresholds, TunnelFacts, tunnel_health};
use crate::headers::{Encap, Endpoints, Ipsec, OuterHeaders, Spi};
use crate::snapshot::SessionRecord;

const SEED: [u64; 2] = [0x5e55, 0x1075];
const UDP: u8 = 17;
const TCP: u8 = 6;
const SITE_1: u32 = 0x0a38_f0d0; // 10.56.240.208
const SITE_2: u32 = 0x0a38_f0dd; // 10.56.240.221, this box

fn sessions(capacity: u32) -> Sessions<'static> {
    Sessions::new(&Limits::of(capacity), SEED).unwrap()
}

/// A packet with the same port on both sides.
fn key(src: u32, dst: u32, port: u16) -> FlowKey {
    let endpoints = Endpoints::V4 { src, dst };
    FlowKey { endpoints, protocol: UDP, src_port: port, dst_port: port }
}

fn sent(port: u16) -> SessionPacket {
    SessionPacket::sent(&key(SITE_2, SITE_1, port), &Outer::Ike).unwrap()
}

fn received(port: u16) -> SessionPacket {
    SessionPacket::received(&key(SITE_1, SITE_2, port), &Outer::Ike).unwrap()
}

/// ESP from site 1, bare or in UDP.
fn esp(encap: Encap) -> (FlowKey, Outer) {
    let (protocol, port) = match encap {
        Encap::None => (protocol::ESP, 0),
        _ => (UDP, 4500),
    };
    let packet = FlowKey { protocol, ..key(SITE_1, SITE_2, port) };
    let outer = OuterHeaders {
        endpoints: packet.endpoints,
        flow_label: 0,
        ipsec: Ipsec::Esp,
        encap,
        spi: Spi(0x6c94_7eb2),
        sequence: 1,
        sequence_high: 0,
        sport: port,
        dport: port,
        offset: 20,
        octets: 100,
    };
    (packet, Outer::Ipsec(outer))
}

/// What a site does with what it receives: by session, else by the policy.
struct Site {
    sessions: Sessions<'static>,
    policy_accepts: bool,
}

#[derive(PartialEq, Eq, Debug)]
enum By {
    Session,
    PolicyAccept,
    PolicyDrop,
}

impl Site {
    fn receives(&mut self, packet: &SessionPacket, now_ms: u64) -> By {
        if self.sessions.find(packet, now_ms).is_some() {
            return By::Session;
        }
        if !self.policy_accepts {
            return By::PolicyDrop;
        }
        assert!(matches!(self.sessions.open(packet, now_ms), Ok(Opened::New { .. })));
        By::PolicyAccept
    }
}

/// "proto_state=01 duration=5 expire=177 timeout=0": matched last 3 s ago, begun 5 s ago.
#[test]
fn c3_the_trace_of_a_session() {
    let mut sessions = sessions(10);
    sessions.open(&sent(500), 1_000).unwrap();
    sessions.find(&received(500), 3_000).unwrap();
    let session = sessions.peek(&sent(500), 6_000).unwrap();
    assert_eq!((session.duration_ms / 1000, session.left_ms / 1000), (5, 177));
    assert_eq!(
        session.to_string(),
        "session 1, protocol 17 10.56.240.221#500 -> 10.56.240.208#500, started by local, 5 s old, ends in 177 s"
    );
}

#[test]
fn c2_a_session_passes_both_directions_without_policy() {
    let mut site = Site { sessions: sessions(10), policy_accepts: false };
    site.sessions.open(&sent(500), 0).unwrap();
    assert_eq!(site.receives(&received(500), 1_000), By::Session);
    assert_eq!(site.receives(&received(500), 2_000), By::Session);
    let reply = site.sessions.find(&received(500), 2_000).unwrap();
    assert_eq!(reply.origin, Side::Local);
    assert_eq!(received(500).from(), Side::Remote);
    assert_eq!(site.sessions.open(&sent(500), 3_000), Ok(Opened::Existing(reply_at(reply, 3_000))));
}

fn reply_at(session: Session, duration_ms: u64) -> Session {
    Session { duration_ms, ..session }
}

/// A policy is asked for the first packet only; then the session passes.
#[test]
fn c2_what_a_policy_accepted_is_a_session() {
    let mut site = Site { sessions: sessions(10), policy_accepts: true };
    assert_eq!(site.receives(&received(500), 0), By::PolicyAccept);
    assert_eq!(site.receives(&received(500), 180_000), By::Session);
    assert_eq!(site.receives(&received(500), 360_001), By::PolicyAccept);
    site.policy_accepts = false;
    assert_eq!(site.receives(&received(500), 360_002), By::Session);
    assert_eq!(site.receives(&received(500), 600_000), By::PolicyDrop);
}

#[test]
fn c3_a_500_session_does_not_cover_4500() {
    let mut sessions = sessions(10);
    sessions.open(&sent(500), 0).unwrap();
    assert_eq!(sessions.find(&received(4500), 0), None);
    sessions.open(&sent(4500), 0).unwrap();
    for at in [100_000, 200_000, 300_000] {
        assert!(sessions.find(&received(500), at).is_some());
    }
    assert_eq!(sessions.find(&received(4500), 300_000), None);
}

/// Another peer, protocol, or port of the peer is another session.
#[test]
fn c3_a_session_is_all_five() {
    let mut sessions = sessions(10);
    let mine = FlowKey { protocol: TCP, src_port: 50_000, ..key(SITE_1, SITE_2, 443) };
    let open = SessionPacket::received(&mine, &Outer::Other).unwrap();
    sessions.open(&open, 0).unwrap();
    assert!(sessions.find(&open, 0).is_some());
    for other in [
        FlowKey { protocol: UDP, ..mine },
        FlowKey { src_port: 50_001, ..mine },
        FlowKey { dst_port: 444, ..mine },
        FlowKey { endpoints: Endpoints::V4 { src: SITE_1 + 1, dst: SITE_2 }, ..mine },
        mine.reversed(),
    ] {
        let packet = SessionPacket::received(&other, &Outer::Other).unwrap();
        assert_eq!(sessions.find(&packet, 0), None, "{other}");
    }
}

#[test]
fn c3_idle_for_180_s_it_lives_and_a_millisecond_later_it_is_gone() {
    let mut sessions = sessions(10);
    sessions.open(&sent(500), 0).unwrap();
    assert_eq!(sessions.peek(&sent(500), 180_000).unwrap().left_ms, 0);
    assert_eq!(sessions.peek(&sent(500), 180_001), None);
    let mut told = Vec::new();
    assert_eq!(sessions.expire(180_001, 1_000, |ended| told.push(*ended)), 1);
    let key = key(SITE_2, SITE_1, 500);
    assert_eq!(told, [Ended { key, origin: Side::Local, serial: 1, idle_ms: 180_001 }]);
}

/// ESP, bare or in UDP 4500, is no packet of a session: it can neither find, refresh nor open one.
#[test]
fn t28_esp_does_not_refresh_a_session() {
    for encap in [Encap::None, Encap::Udp, Encap::Tcp] {
        let (packet, class) = esp(encap);
        assert_eq!(SessionPacket::received(&packet, &class), None);
        assert_eq!(SessionPacket::sent(&packet.reversed(), &class), None);
    }
    for ipsec in [protocol::ESP, protocol::AH] {
        let packet = FlowKey { protocol: ipsec, ..key(SITE_1, SITE_2, 0) };
        assert_eq!(SessionPacket::received(&packet, &Outer::Other), None);
    }
    // A keepalive is a packet like others.
    assert!(SessionPacket::received(&key(SITE_1, SITE_2, 4500), &Outer::NatKeepalive).is_some());
}

const fn time(hours: u64, minutes: u64, seconds: u64, ms: u64) -> u64 {
    ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms
}

/// Seed 002 from end to end, seen by site 2, whose policy 2 denies IKE.
#[test]
fn c5_the_tunnel_that_looks_up_on_one_side() {
    let mut site = Site { sessions: sessions(10), policy_accepts: false };
    // Site 1 starts: dropped. Site 2 starts: a session, the tunnel comes up.
    assert_eq!(site.receives(&received(500), time(16, 9, 0, 0)), By::PolicyDrop);
    let begun = time(16, 10, 0, 0);
    assert!(matches!(site.sessions.open(&sent(500), begun), Ok(Opened::New { .. })));
    assert_eq!(site.receives(&received(500), begun + 20), By::Session);
    let (mut live_sas, mut last_esp) = (1, begun + 100);
    let health = |sessions: &Sessions<'_>, live_sas, last_esp: u64, now: u64| {
        let session_left_ms = sessions.peek(&sent(500), now).map(|session| session.left_ms);
        let facts = TunnelFacts {
            peer: "10.56.240.208".parse().unwrap(),
            live_sas,
            esp_idle_ms: Some(now - last_esp),
            udp_500: IkeWay { session_left_ms, admitted: false },
            udp_4500: IkeWay::default(),
            tcp: IkeWay::default(),
            in_use: None,
        };
        tunnel_health(&facts, &Thresholds { esp_live_ms: 10_000, session_ends_ms: 60_000 })
    };

    // ESP flows once a second, so DPD on demand has no reason to fire at site 2; the session idles out.
    let mut seen = Vec::new();
    let last_ike = begun + 20;
    while last_esp < time(16, 17, 1, 0) {
        last_esp += 1_000;
        let (packet, class) = esp(Encap::None);
        assert_eq!(
            SessionPacket::received(&packet, &class),
            None,
            "the SPI table's, not the policy's"
        );
        let said = health(&site.sessions, live_sas, last_esp, last_esp);
        let idle_ms = last_esp - last_ike;
        assert_eq!(site.sessions.peek(&sent(500), last_esp).is_some(), idle_ms <= 180_000);
        assert_eq!(said.is_alarm(), idle_ms >= 120_000);
        if seen.last() != Some(&said.is_alarm()) {
            seen.push(said.is_alarm());
        }
    }
    assert_eq!(seen, [false, true], "the alarm came a minute before the session ended, and stayed");

    // R-U-THERE, seqno 12, three times; then site 1 deletes the SA c736a9de and says so.
    for probe in [time(16, 17, 1, 904), time(16, 17, 22, 384), time(16, 17, 42, 864)] {
        assert_eq!(site.receives(&received(500), probe), By::PolicyDrop);
    }
    let link_fail = time(16, 18, 3, 344);
    let delete_of_6c947eb2 = link_fail + 9;
    assert_eq!(site.receives(&received(500), delete_of_6c947eb2), By::PolicyDrop);
    // Site 1 is down; here the SA still lives, and the last ESP came a second before.
    last_esp = link_fail - 1_000;
    assert_eq!(
        health(&site.sessions, live_sas, last_esp, delete_of_6c947eb2).to_string(),
        "peer 10.56.240.208 has live SAs and live ESP, its IKE session is gone, and no policy admits IKE \
         from 10.56.240.208"
    );
    // Site 1 negotiates anew, again and again: dropped, whatever the time.
    for minute in 19..59 {
        assert_eq!(site.receives(&received(500), time(16, minute, 0, 0)), By::PolicyDrop);
    }
    // Site 2 sends IKE, by a flush or because its own traffic goes unanswered: that heals it.
    let healed = time(17, 0, 0, 0);
    site.sessions.open(&sent(500), healed).unwrap();
    assert_eq!(site.receives(&received(500), healed + 20), By::Session);
    live_sas = 1;
    let said = health(&site.sessions, live_sas, healed, healed + 1_000);
    assert_eq!(said.health, Health::Held { left_ms: 180_000 - 980 });
}

/// With a policy that accepts IKE from the peer, idle time does no harm.
#[test]
fn c5_the_fix() {
    let mut site = Site { sessions: sessions(10), policy_accepts: true };
    assert_eq!(site.receives(&received(500), 0), By::PolicyAccept);
    assert_eq!(site.receives(&received(500), 900_000), By::PolicyAccept);
}

/// A flood that a policy accepts fills what remote hosts may fill; this box still starts its own, and no
/// session that lives is lost.
#[test]
fn a_flood_leaves_room_for_what_this_box_starts() {
    let flood = |number: u32| {
        let packet = FlowKey { src_port: number as u16, ..key(number, SITE_2, 500) };
        SessionPacket::received(&packet, &Outer::Ike).unwrap()
    };
    let local = |number: u32| SessionPacket::sent(&key(SITE_2, number, 4500), &Outer::Ike).unwrap();
    let mut sessions = sessions(1_000);
    sessions.open(&received(500), 0).unwrap();
    for number in 0..50_000 {
        let opened = sessions.open(&flood(number), 1_000);
        assert_eq!(opened.is_ok(), number < 749, "{number}");
    }
    // Those that are there are found by `open`, full or not.
    assert!(matches!(sessions.open(&flood(5), 1_000), Ok(Opened::Existing(_))));
    // What this box answers to those that are not, it did not start.
    for number in 0..50_000 {
        let packet = FlowKey { src_port: number as u16, ..key(number, SITE_2, 500) };
        let answer = SessionPacket::answer(&packet.reversed(), &Outer::Ike).unwrap();
        assert_eq!(sessions.open(&answer, 1_000).is_ok(), number < 749, "{number}");
    }
    for number in 0..250 {
        sessions.open(&local(number), 1_000).unwrap();
    }
    assert_eq!(sessions.open(&local(250), 1_000), Err(Full { capacity: 1_000 }));
    assert!(sessions.find(&received(500), 2_000).is_some());
    // Idle, the flood's places come back, in bounded pieces.
    for _ in 0..40 {
        sessions.expire(181_500, 32, |ended| assert_ne!(ended.key, key(SITE_2, SITE_1, 500)));
    }
    assert_eq!(sessions.len(), 1);
    assert!((0..749).all(|number| sessions.open(&flood(number), 181_500).is_ok()));
    assert!(sessions.open(&flood(749), 181_500).is_err());
}

/// What `restore` says of a session that is there is what `peek` says: the later of the two matches counts.
#[test]
fn c3_a_restored_session_that_is_there_is_told_as_it_is() {
    for (known_ms, record_ms) in [(1_000, 9_000), (9_000, 1_000)] {
        let mut sessions = sessions(10);
        sessions.open(&sent(500), 100_000 - known_ms).unwrap();
        let record = SessionRecord {
            key: key(SITE_2, SITE_1, 500),
            origin: Side::Local,
            age_ms: 50_000,
            idle_ms: record_ms,
        };
        let restored = sessions.restore(&record, 100_000).unwrap();
        assert_eq!(restored.session().left_ms, 179_000);
        assert_eq!(sessions.peek(&sent(500), 100_000).as_ref(), Some(restored.session()));
    }
}

#[test]
fn a_cleared_session_is_gone_and_its_room_is_free() {
    let mut sessions = sessions(4);
    for port in [500, 4500, 443] {
        sessions.open(&received(port), 0).unwrap();
    }
    assert!(sessions.open(&received(444), 0).is_err());
    assert_eq!(sessions.clear(0, |key| key.dst_port == 443), 1);
    assert_eq!(sessions.find(&received(443), 0), None);
    assert!(sessions.open(&received(444), 0).is_ok());
    assert!(sessions.close(&received(500), 0));
    assert!(!sessions.close(&received(500), 0));
    assert!(sessions.open(&received(445), 0).is_ok());
    assert!(sessions.open(&received(446), 0).is_err());
}

#[derive(Clone, Debug)]
enum Op {
    Find(u8, bool),
    Burst(Vec<(u8, bool)>),
    Open(u8, bool),
    Close(u8),
    Clear(u8),
    Expire(u32),
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0..40_u8, any::<bool>()).prop_map(|(number, local)| Op::Find(number, local)),
        1 => prop::collection::vec((0..40_u8, any::<bool>()), 0..40).prop_map(Op::Burst),
        6 => (0..40_u8, any::<bool>()).prop_map(|(number, local)| Op::Open(number, local)),
        1 => (0..40_u8).prop_map(Op::Close),
        1 => (0..40_u8).prop_map(Op::Clear),
        1 => (0..200_u32).prop_map(Op::Expire),
        2 => prop_oneof![0..3_u64, 30..120_u64].prop_map(Op::Wait),
    ]
}

fn packet(number: u8, local: bool) -> SessionPacket {
    let packet = key(SITE_2, u32::from(number), 500);
    if local {
        SessionPacket::sent(&packet, &Outer::Ike).unwrap()
    } else {
        SessionPacket::received(&packet.reversed(), &Outer::Ike).unwrap()
    }
}

#[derive(Clone, Copy)]
struct Listed {
    number: u8,
    local: bool,
    serial: u32,
    started_ms: u64,
    last_ms: u64,
}

proptest! {
    #[test]
    fn sessions_agree_with_a_list(
        ops in prop::collection::vec(op(), 0..300),
        capacity in 1..30_u32,
        reserved in 0..35_u32,
        ttl_ms in 0..200_u32,
    ) {
        let limits = Limits { capacity, reserved, ttl_ms };
        let mut sessions = Sessions::new(&limits, SEED).unwrap();
        let mut list: Vec<Listed> = Vec::new();
        let (mut now_ms, mut serial) = (0_u64, 0);
        let told = |list: &mut Vec<Listed>, ended: &Ended, now_ms: u64| {
            let at = list.iter().position(|listed| listed.serial == ended.serial).unwrap();
            let listed = list.remove(at);
            assert_eq!(ended.key, packet(listed.number, true).key);
            assert_eq!(ended.origin == Side::Local, listed.local);
            assert_eq!(ended.idle_ms, now_ms - listed.last_ms);
            assert!(ended.idle_ms > u64::from(ttl_ms));
        };
        for op in ops {
            let live = |listed: &Listed| now_ms - listed.last_ms <= u64::from(ttl_ms);
            let at = |list: &[Listed], number| {
                list.iter().position(|listed| listed.number == number && live(listed))
            };
            let find = |list: &mut Vec<Listed>, number: u8| {
                let at = at(list, number)?;
                let listed = &mut list[at];
                listed.last_ms = now_ms;
                Some((listed.serial, now_ms - listed.started_ms))
            };
            let said = |session: Session| (session.serial, session.duration_ms);
            match op {
                Op::Wait(ms) => now_ms += ms,
                Op::Find(number, local) => {
                    let found = sessions.find(&packet(number, local), now_ms).map(said);
                    prop_assert_eq!(found, find(&mut list, number));
                }
                Op::Burst(numbers) => {
                    let packets: Vec<_> =
                        numbers.iter().map(|(number, local)| packet(*number, *local)).collect();
                    let mut found = Vec::new();
                    sessions.find_burst(&packets, now_ms, |_, session| found.push(session.map(said)));
                    let expected: Vec<_> =
                        numbers.iter().map(|(number, _)| find(&mut list, *number)).collect();
                    prop_assert_eq!(found, expected);
                }
                Op::Open(number, local) => {
                    let from_remote = list.iter().filter(|listed| !listed.local).count() as u32;
                    let barred = !local && from_remote >= capacity.saturating_sub(reserved);
                    let held = list.len();
                    match (sessions.open(&packet(number, local), now_ms), find(&mut list, number)) {
                        (Ok(Opened::Existing(session)), expected) => {
                            prop_assert_eq!(Some(said(session)), expected);
                        }
                        (Ok(Opened::New { session, ended }), None) => {
                            serial += 1;
                            prop_assert_eq!((session.serial, session.duration_ms), (serial, 0));
                            prop_assert_eq!(session.left_ms, u64::from(ttl_ms));
                            prop_assert!(!barred && (held < capacity as usize || ended.is_some()));
                            ended.iter().for_each(|ended| told(&mut list, ended, now_ms));
                            let (started_ms, last_ms) = (now_ms, now_ms);
                            list.push(Listed { number, local, serial, started_ms, last_ms });
                        }
                        (Err(_), None) => prop_assert!(barred || held == capacity as usize),
                        (outcome, expected) => panic!("{outcome:?}, not {expected:?}"),
                    }
                }
                Op::Close(number) => {
                    let at = at(&list, number);
                    let closed = at.map(|at| list.remove(at));
                    prop_assert_eq!(sessions.close(&packet(number, true), now_ms), closed.is_some());
                }
                Op::Clear(below) => {
                    let before = list.len();
                    list.retain(|listed| !live(listed) || listed.number >= below);
                    let cleared = sessions.clear(now_ms, |key| {
                        matches!(key.endpoints, Endpoints::V4 { dst, .. } if dst < u32::from(below))
                    });
                    prop_assert_eq!(cleared as usize, before - list.len());
                }
                Op::Expire(budget) => {
                    sessions.expire(now_ms, budget, |ended| told(&mut list, ended, now_ms));
                }
            }
            prop_assert_eq!(sessions.len() as usize, list.len());
            prop_assert_eq!(sessions.is_empty(), list.is_empty());
        }
        let mut live: Vec<_> = sessions.iter(now_ms).map(|session| (session.serial, session.left_ms)).collect();
        let left = |listed: &Listed| u64::from(ttl_ms).checked_sub(now_ms - listed.last_ms);
        let mut expected: Vec<_> =
            list.iter().filter_map(|listed| Some((listed.serial, left(listed)?))).collect();
        live.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(live, expected);
    }
}
