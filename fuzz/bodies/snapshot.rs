//! Snapshots. Octets that nobody wrote are refused; those of somebody who has the key are refused or leave tables
//! that are in themselves right: what is in them can be found, and their own snapshot goes to a third node whole.

use std::collections::BTreeSet;
use std::hash::Hasher;
use std::sync::OnceLock;

use espial::gate::flow::FlowKey;
use espial::gate::passthrough::{
    Context, LookupSpi, PassConfig, PassPacket, PassRule, PassRules, PassTimeouts, Passthrough,
    RuleAction, RuleId, Traffic, VirtualServer, compile_rules,
};
use espial::gate::reply_path::{self, ReplyConfig, ReplyMode, ReplyPath, Segment, TcpFlags};
use espial::gate::session::{self, SessionPacket, Sessions};
use espial::headers::{Encap, Endpoints, Ipsec, Outer, Spi, protocol};
use espial::sad::{Lifetime, Limit, Replay, ReplayStart, SaKey, SaMode};
use espial::selector::{AddrRange, PortRange, TrafficSelector};
use espial::snapshot::{Pass, RECORD_OCTETS, Reader, Record, Writer};
use espial::verdict::{Mode, Modes};
use espial::{Capacity, ChildId, Gateway, SaParams};
use siphasher::sip::SipHasher24;

use crate::bodies::Choices;

pub const KEY: [u64; 2] = [0x5ec2e7, 0x6b6579];
pub const ID: u64 = 77;
/// The box itself.
const OWN: u32 = 0xcb00_7102;
static LOCAL: [std::net::IpAddr; 1] = [std::net::IpAddr::V4(std::net::Ipv4Addr::from_bits(OWN))];

/// Hosts 0 to 2 may send to hosts 0 and 1, but for AH.
fn rules() -> &'static PassRules<'static> {
    static WORDS: OnceLock<Vec<u64>> = OnceLock::new();
    static RULES: OnceLock<PassRules<'static>> = OnceLock::new();
    let rule = |id, protocol| PassRule {
        id: RuleId(id),
        context: Context::Global,
        action: RuleAction::AcceptDecisively,
        src: AddrRange::V4 { lo: 0, hi: 2 },
        dst: AddrRange::V4 { lo: 0, hi: 1 },
        protocol,
        src_ports: PortRange::ANY,
        dst_ports: PortRange::ANY,
    };
    RULES.get_or_init(|| {
        let words = WORDS.get_or_init(|| {
            let rules = [rule(1, protocol::UDP), rule(2, protocol::ESP)];
            compile_rules(&rules, RuleAction::Drop).expect("rules that are right")
        });
        PassRules::open(words).expect("words as compiled")
    })
}

/// How large the tables are and what the firewall is.
#[derive(Clone, Copy)]
pub struct Shape {
    entries: u32,
    lookupspi: LookupSpi,
    server: VirtualServer,
}

impl Shape {
    /// Room for all, keys by SPI, and flows of every kind.
    #[allow(dead_code, reason = "seeds are written with it")]
    pub const LARGE: Self =
        Self { entries: 14, lookupspi: LookupSpi::On, server: VirtualServer::StandardWithAlg };

    fn of(choices: &mut Choices<'_>) -> Self {
        let servers =
            [VirtualServer::FastL4, VirtualServer::Standard, VirtualServer::StandardWithAlg];
        Self {
            entries: [1, 4, 14][choices.below(3)],
            lookupspi: [LookupSpi::On, LookupSpi::Off][choices.below(2)],
            server: servers[choices.below(3)],
        }
    }
}

struct Node {
    gateway: Gateway<'static>,
    children: [ChildId; 2],
    sessions: Sessions<'static>,
    pins: ReplyPath<'static, 'static>,
    flows: Passthrough<'static>,
}

impl Node {
    fn new(shape: &Shape, seed: u64) -> Self {
        let Shape { entries, lookupspi, server } = *shape;
        let capacity = Capacity {
            tunnels: 1,
            children: 2,
            selectors: 2,
            sas: entries,
            sas_dst: entries,
            sas_dst_src: entries,
            sas_allocated: 0,
            replay_window: 64,
            workers: 1,
        };
        let mut gateway = Gateway::new(&capacity, [seed, 1]).expect("a small gateway");
        let (control, _) = gateway.split();
        let tunnel = control.add_tunnel(Mode::StrictSa, Modes::NONE).expect("room");
        let children = [1, 2].map(|remote| {
            let side = |addr| [TrafficSelector::any(AddrRange::V4 { lo: addr, hi: addr })];
            control.add_child(tunnel, &side(9), &side(remote)).expect("room")
        });
        control.publish().expect("no reader");
        let limits = session::Limits { reserved: entries / 4, ..session::Limits::of(entries) };
        let config = ReplyConfig { port: 4500, local: &LOCAL, mode: ReplyMode::Pinned };
        let replies = reply_path::Limits { half_open: entries, ..reply_path::Limits::of(entries) };
        let timeouts = PassTimeouts::default();
        let firewall = PassConfig { lookupspi, server, timeouts };
        Self {
            gateway,
            children,
            sessions: Sessions::new(&limits, [seed, 2]).expect("a small table"),
            pins: ReplyPath::new(config, &replies, [seed, 3]).expect("a small table"),
            flows: Passthrough::new(entries, [seed, 4], firewall).expect("a small table"),
        }
    }

    /// Something happens to one of the tables.
    fn step(&mut self, choices: &mut Choices<'_>, now_ms: u64) {
        let (src, dst) = (choices.below(3) as u32, choices.below(3) as u32);
        let port = [500, 4500][choices.below(2)];
        let key = |src, dst, protocol, src_port, dst_port| FlowKey {
            endpoints: Endpoints::V4 { src, dst },
            protocol,
            src_port,
            dst_port,
        };
        match choices.below(4) {
            0 => {
                let (control, _) = self.gateway.split();
                let _ = control.add_sa(self.children[src as usize & 1], &params(choices, now_ms));
            }
            1 => {
                let key = key(OWN, dst, protocol::UDP, port, port);
                let packet = match src {
                    0 => SessionPacket::sent(&key, &Outer::Ike),
                    _ => SessionPacket::received(&key.reversed(), &Outer::Ike),
                };
                let _ = self.sessions.open(&packet.expect("IKE has sessions"), now_ms);
            }
            2 => {
                let key = key(OWN, dst, protocol::TCP, 4500, 40_000 + src as u16);
                let flags = TcpFlags([2, 2, 16, 18, 17, 4][choices.below(6)]);
                let (seq, ack) = (choices.below(3) as u32, choices.below(3) as u32);
                let segment = Segment { key, flags, seq, ack, payload_octets: 0 };
                let _ = match choices.below(3) {
                    0 => self.pins.sent(&segment, Some(7), now_ms),
                    _ => {
                        let segment = Segment { key: key.reversed(), ..segment };
                        self.pins.received(&segment, 5, Some(7), now_ms)
                    }
                };
            }
            _ => {
                let spi = Spi([0, 300, 300 << 16, 65_538][choices.below(4)]);
                let traffic = match choices.below(3) {
                    0 => Traffic::Esp(spi),
                    1 => Traffic::Ah(spi),
                    _ => Traffic::Udp { src: port, dst: port },
                };
                let packet = PassPacket { endpoints: Endpoints::V4 { src, dst }, traffic };
                let _ = self.flows.check(rules(), &packet, now_ms);
            }
        }
    }

    /// All of its tables as octets.
    fn written(&mut self, slots: u32, now_ms: u64) -> Vec<u8> {
        let (mut writer, mut octets) = (Writer::new(KEY, ID), Vec::new());
        let mut piece = [0; 2 * RECORD_OCTETS + 7];
        let [first, second] = self.children;
        let name = |child| if child == first { 0 } else { u64::from(child == second) };
        for table in 0..4 {
            let (mut pass, mut calls) = (Pass::default(), 0);
            while !pass.is_done() {
                let count = match table {
                    0 => {
                        let (control, _) = self.gateway.split();
                        writer.sas(control, &mut pass, slots, now_ms, name, &mut piece)
                    }
                    1 => writer.sessions(&self.sessions, &mut pass, slots, now_ms, &mut piece),
                    2 => writer.pins(&self.pins, &mut pass, slots, now_ms, &mut piece),
                    _ => writer.flows(&self.flows, &mut pass, slots, now_ms, &mut piece),
                };
                octets.extend_from_slice(&piece[..count]);
                // As numbers, as C has it between calls.
                pass = Pass::from_raw(pass.to_raw());
                calls += 1;
                assert!(calls < 500, "it does not end");
            }
            assert!(pass.is_exact());
        }
        let count = writer.end(&mut piece);
        octets.extend_from_slice(&piece[..count]);
        octets
    }

    /// Whether a record is restored; and then it is what the table has.
    fn restored(&mut self, record: &Record, margin: u64, now_ms: u64) -> bool {
        match record {
            Record::Sa(sa) => {
                let Some(&child) = self.children.get(sa.child as usize) else { return false };
                let (control, _) = self.gateway.split();
                let before = control.find_sa(&sa.key);
                let found = control.restore_sa(child, sa, margin, now_ms);
                assert_eq!(control.find_sa(&sa.key), found.ok().or(before));
                found.is_ok()
            }
            Record::Session(one) => {
                let restored = self.sessions.restore(one, now_ms);
                let is_there = self.sessions.iter(now_ms).any(|found| found.key == one.key);
                assert!(is_there || restored.is_err(), "{one:?}");
                restored.is_ok()
            }
            Record::Pin(one) => {
                let restored = self.pins.restore(one, now_ms);
                let is_there = self.pins.iter(now_ms).any(|found| found.key == one.key);
                assert!(is_there || restored.is_err(), "{one:?}");
                restored.is_ok()
            }
            Record::Flow(one) => {
                let restored = self.flows.restore(rules(), one, now_ms);
                let is_there = self.flows.flows(now_ms).any(|found| found.key == one.key);
                assert!(is_there || restored.is_err(), "{one:?}");
                restored.is_ok()
            }
            _ => false,
        }
    }

    fn is_within(&self, shape: &Shape, now_ms: u64) {
        let most = shape.entries as usize;
        assert!(self.sessions.len() as usize <= most && self.pins.len() as usize <= most);
        assert!(self.sessions.iter(now_ms).count() <= self.sessions.len() as usize);
        assert!(self.pins.iter(now_ms).count() <= self.pins.len() as usize);
        assert!(self.flows.flows(now_ms).count() <= most);
    }
}

fn params(choices: &mut Choices<'_>, now_ms: u64) -> SaParams {
    let ipsec = [Ipsec::Esp, Ipsec::Ah][choices.below(2)];
    let endpoints = match choices.below(2) {
        0 => Endpoints::V4 { src: 1, dst: OWN },
        _ => Endpoints::V6 { src: 1, dst: 2 },
    };
    let scope = choices.below(3);
    let dst = (scope > 0).then(|| endpoints.dst());
    let src = (scope > 1).then(|| endpoints.src());
    let key = SaKey::new(ipsec, Spi(300 + choices.below(4) as u32), dst, src).expect("a key");
    let mut limit = || Limit {
        packets: (choices.below(3) == 0).then(|| 1 + choices.below(9) as u64),
        octets: None,
        at_ms: (choices.below(3) == 0).then(|| now_ms.saturating_add(choices.octet().into())),
    };
    let lifetime = Lifetime { soft: limit(), hard: limit() };
    let start = match choices.below(2) {
        0 => ReplayStart::High(choices.below(3) as u32),
        _ => ReplayStart::Top(u64::from(u32::MAX) - choices.below(3) as u64),
    };
    let window = [0, 1, 32, 64][choices.below(4)];
    let replay = Replay { window, esn: choices.below(2) == 0, start };
    let encap = [Encap::None, Encap::Udp, Encap::Tcp][choices.below(3)];
    let mode = [SaMode::Tunnel, SaMode::Transport][choices.below(2)];
    SaParams { key, mode, encap, replay, lifetime }
}

/// The right checksum.
fn sign(record: &mut [u8]) {
    let mut hasher = SipHasher24::new_with_keys(KEY[0], KEY[1]);
    hasher.write(&record[..RECORD_OCTETS - 8]);
    record[RECORD_OCTETS - 8..].copy_from_slice(&hasher.finish().to_le_bytes());
}

fn number(choices: &mut Choices<'_>) -> u64 {
    match choices.below(4) {
        0 => 0,
        1 => u64::MAX,
        2 => u64::from_le_bytes(core::array::from_fn(|_| choices.octet())),
        _ => u64::from(choices.octet()) * 1000,
    }
}

/// Octets in a stream that was right.
fn spoil(choices: &mut Choices<'_>, stream: &mut Vec<u8>, is_signed: bool) {
    for _ in 0..choices.below(8) {
        let records = stream.len() / RECORD_OCTETS;
        let (at, other) = (choices.below(records), choices.below(records));
        let [at, other] = [at, other].map(|nth| nth * RECORD_OCTETS);
        if records == 0 {
            return;
        }
        match choices.below(5) {
            0 => stream.copy_within(other..other + RECORD_OCTETS, at),
            1 => drop(stream.drain(at..at + RECORD_OCTETS)),
            2 => stream.truncate(at + choices.below(RECORD_OCTETS)),
            _ => {
                let record = &mut stream[at..at + RECORD_OCTETS];
                for _ in 0..=choices.below(4) {
                    record[choices.below(RECORD_OCTETS)] = choices.octet();
                }
                if is_signed {
                    sign(record);
                }
            }
        }
    }
}

/// What a stream of somebody with the key or without leaves at a standby.
fn offered(stream: &[u8], original: Option<&[u8]>, shape: &Shape, choices: &mut Choices<'_>) {
    let (elapsed_ms, now_ms, margin) = (number(choices), number(choices), number(choices));
    let (mut reader, mut rest) = (Reader::new(KEY, ID, elapsed_ms), stream);
    let mut standby = Node::new(shape, 5);
    let mut read = 0;
    for octets in stream.chunks_exact(RECORD_OCTETS) {
        let before = rest.len();
        let record = reader.read(&mut rest).expect("a whole record");
        assert_eq!(before - rest.len(), RECORD_OCTETS);
        let again = reader.again(octets.try_into().expect("a whole record"));
        assert!(record.is_err() || again == record);
        let Ok(record) = record else { continue };
        read += 1;
        let is_original =
            original.is_none_or(|all| all.chunks_exact(RECORD_OCTETS).any(|one| one == octets));
        assert!(is_original, "{record:?} was never written");
        standby.restored(&record, margin, now_ms);
        standby.is_within(shape, now_ms);
    }
    assert!(reader.read(&mut rest).is_none() && rest.len() < RECORD_OCTETS);
    assert!(!reader.is_complete() || read == stream.len() / RECORD_OCTETS || original.is_none());
    if original == Some(stream) {
        assert!(reader.is_complete() && reader.missed() == 0);
    }

    // Its own snapshot goes to a third node whole.
    let own = standby.written(1 + choices.below(40) as u32, now_ms);
    let (mut reader, mut rest) = (Reader::new(KEY, ID, 0), &own[..]);
    let mut third = Node::new(shape, 6);
    while let Some(record) = reader.read(&mut rest) {
        let record = record.expect("as it was written");
        let is_restored = third.restored(&record, 0, now_ms);
        assert!(is_restored || record == Record::End, "{record:?}");
    }
    assert!(reader.is_complete());
    let contents = |octets: &[u8]| -> BTreeSet<Vec<u8>> {
        // Without its number and checksum.
        let of = |record: &[u8]| [&record[3..4], &record[16..152]].concat();
        octets.chunks_exact(RECORD_OCTETS).map(of).collect()
    };
    assert_eq!(contents(&own), contents(&third.written(u32::MAX, now_ms)));
}

/// A stream of a node that lived as `choices` say.
pub fn stream(choices: &mut Choices<'_>, shape: &Shape) -> Vec<u8> {
    let mut node = Node::new(shape, 4);
    let mut now_ms = 1 << 20;
    for _ in 0..choices.below(60) {
        now_ms += u64::from(choices.octet()) * [0, 1, 100][choices.below(3)];
        node.step(choices, now_ms);
    }
    node.written(1 + choices.below(40) as u32, now_ms)
}

pub fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let shape = Shape::of(&mut choices);
    match choices.below(4) {
        // Octets as they come; and with all that makes them records.
        is_signed @ 0..2 => {
            let times = [0; 30].map(|_: u8| choices.octet());
            let mut given = Vec::new();
            while !choices.done() {
                given.push(choices.octet());
            }
            if is_signed == 1 {
                for (nth, record) in given.chunks_exact_mut(RECORD_OCTETS).enumerate() {
                    record[..3].copy_from_slice(&[0x45, 0x53, 1]);
                    record[4..8].copy_from_slice(&(nth as u32).to_le_bytes());
                    record[8..16].copy_from_slice(&ID.to_le_bytes());
                    sign(record);
                }
            }
            offered(&given, None, &shape, &mut Choices::new(&times));
        }
        is_signed => {
            let original = stream(&mut choices, &shape);
            let mut spoilt = original.clone();
            spoil(&mut choices, &mut spoilt, is_signed == 3);
            let written = (is_signed == 2).then_some(&original[..]);
            offered(&spoilt, written, &shape, &mut choices);
        }
    }
}
