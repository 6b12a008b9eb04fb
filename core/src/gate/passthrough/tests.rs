//! Each row and sentence of seed 004, and the whole beside its naive twin.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::headers::Spi;
use crate::selector::{AddrRange, PortRange};

mod needed;
mod rules;
mod twin;

const INSIDE: u32 = 0x0101_0101;
const OUTSIDE: u32 = 0x0202_0202;
const OUT: Endpoints = Endpoints::V4 { src: INSIDE, dst: OUTSIDE };
const BACK: Endpoints = Endpoints::V4 { src: OUTSIDE, dst: INSIDE };

const OUT_ESP: RuleId = RuleId(9);
const IN_ESP: RuleId = RuleId(10);
const OUT500: RuleId = RuleId(11);
const IN500: RuleId = RuleId(12);

fn host(addr: u32) -> AddrRange {
    AddrRange::V4 { lo: addr, hi: addr }
}

fn ports(port: u16) -> PortRange {
    PortRange::new(port, port).unwrap()
}

/// The rules of seed 004, by their numbers there.
fn seed_rule(id: RuleId) -> PassRule {
    let (protocol, dst_ports) = match id {
        OUT_ESP | IN_ESP => (protocol::ESP, PortRange::ANY),
        _ => (protocol::UDP, ports(500)),
    };
    let (src, dst) =
        if matches!(id, OUT_ESP | OUT500) { (INSIDE, OUTSIDE) } else { (OUTSIDE, INSIDE) };
    PassRule {
        id,
        context: Context::Global,
        action: RuleAction::AcceptDecisively,
        src: host(src),
        dst: host(dst),
        protocol,
        src_ports: PortRange::ANY,
        dst_ports,
    }
}

fn udp(endpoints: Endpoints, src: u16, dst: u16) -> PassPacket {
    PassPacket { endpoints, traffic: Traffic::Udp { src, dst } }
}

fn ike(endpoints: Endpoints) -> PassPacket {
    udp(endpoints, 500, 500)
}

fn esp(endpoints: Endpoints, spi: u32) -> PassPacket {
    PassPacket { endpoints, traffic: Traffic::Esp(Spi(spi)) }
}

fn ah(endpoints: Endpoints, spi: u32) -> PassPacket {
    PassPacket { endpoints, traffic: Traffic::Ah(Spi(spi)) }
}

/// A firewall with its rules, which is told the time.
struct Case {
    words: Vec<u64>,
    firewall: Passthrough<'static>,
    now_ms: u64,
}

impl Case {
    fn of(rules: &[PassRule], default: RuleAction, config: PassConfig, flows: u32) -> Self {
        let words = compile_rules(rules, default).unwrap();
        Self { words, firewall: Passthrough::new(flows, [17, 4], config).unwrap(), now_ms: 1000 }
    }

    fn seed(lookupspi: LookupSpi, server: VirtualServer, rules: &[RuleId]) -> Self {
        let rules: Vec<_> = rules.iter().map(|&id| seed_rule(id)).collect();
        let config = PassConfig { lookupspi, server, ..PassConfig::default() };
        Self::of(&rules, RuleAction::Reject, config, 1000)
    }

    fn answer(&mut self, packet: PassPacket) -> PassAnswer {
        let rules = PassRules::open(&self.words).unwrap();
        self.firewall.check(&rules, &packet, self.now_ms)
    }

    fn check(&mut self, packet: PassPacket) -> PassVerdict {
        self.answer(packet).verdict
    }

    /// Protocol, source, its port, destination port of each flow.
    fn flows(&self) -> BTreeSet<(u8, u32, u16, u16)> {
        let flows = self.firewall.flows(self.now_ms).map(|PassFlow { key, .. }| {
            let Endpoints::V4 { src, .. } = key.endpoints else { panic!("IPv6") };
            (key.protocol, src, key.src_port, key.dst_port)
        });
        flows.collect()
    }

    fn teardowns(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(event) = self.firewall.next_teardown() {
            all.push(event.kind.to_string());
        }
        all
    }
}

fn by(id: RuleId) -> PassVerdict {
    PassVerdict::Accept(DecidedBy::Rule(id))
}

const FLOW: PassVerdict = PassVerdict::AcceptFlow;
const ALG: PassVerdict = PassVerdict::AcceptAlg;
const DEFAULT_REJECT: PassVerdict = PassVerdict::Reject(DecidedBy::Default);
const NEEDS_LOOKUPSPI: PassVerdict = PassVerdict::Drop(PassDrop::AlgNeedsLookupSpi);

#[test]
fn e2_lookupspi_on_without_alg_needs_three_rules_for_three_flows() {
    let rules = [OUT_ESP, OUT500, IN_ESP];
    let mut case = Case::seed(LookupSpi::On, VirtualServer::FastL4, &rules);
    assert_eq!(case.check(ike(OUT)), by(OUT500));
    assert_eq!(case.check(ike(BACK)), FLOW);
    assert_eq!(case.check(esp(OUT, 181_044_333)), by(OUT_ESP));
    assert_eq!(case.check(esp(BACK, 2_931_209)), by(IN_ESP));
    assert_eq!(case.check(esp(OUT, 181_044_333)), FLOW);
    assert_eq!(case.check(esp(BACK, 2_931_209)), FLOW);
    let flows = [(17, INSIDE, 500, 500), (50, INSIDE, 2762, 33901), (50, OUTSIDE, 44, 47625)];
    assert_eq!(case.flows(), flows.into());
}

#[test]
fn e2_lookupspi_on_with_two_rules_rejects_what_comes_back() {
    let mut case = Case::seed(LookupSpi::On, VirtualServer::FastL4, &[OUT_ESP, OUT500]);
    assert_eq!(case.check(ike(OUT)), by(OUT500));
    assert_eq!(case.check(ike(BACK)), FLOW);
    let out = case.answer(esp(OUT, 209_467_797));
    assert_eq!((out.verdict, out.context), (by(OUT_ESP), Some(Context::Global)));
    let back = case.answer(esp(BACK, 200_347_550));
    assert_eq!(back.verdict, DEFAULT_REJECT);
    assert_eq!(back.context.unwrap().to_string(), "Virtual Server");
    assert_eq!(DecidedBy::Default.to_string(), "(Default)");
    let logged = |answer: PassAnswer| answer.key.map(|key| (key.src_port, key.dst_port));
    assert_eq!((logged(out), logged(back)), (Some((3196, 14741)), Some((3057, 3998))));
    assert_eq!(case.flows(), [(17, INSIDE, 500, 500), (50, INSIDE, 3196, 14741)].into());
}

#[test]
fn e2_lookupspi_off_without_alg_needs_two_rules_for_two_flows() {
    let mut case = Case::seed(LookupSpi::Off, VirtualServer::FastL4, &[OUT_ESP, OUT500]);
    assert_eq!(case.check(ike(OUT)), by(OUT500));
    assert_eq!(case.check(ike(BACK)), FLOW);
    let out = case.answer(esp(OUT, 209_467_797));
    assert_eq!(out.verdict, by(OUT_ESP));
    assert_eq!(out.key.map(|key| (key.src_port, key.dst_port)), Some((0, 0)));
    assert_eq!(case.check(esp(BACK, 200_347_550)), FLOW);
    assert_eq!(case.flows(), [(17, INSIDE, 500, 500), (50, INSIDE, 0, 0)].into());
}

#[test]
fn e2_alg_with_lookupspi_needs_one_rule_for_five_flows() {
    let mut case = Case::seed(LookupSpi::On, VirtualServer::StandardWithAlg, &[OUT500]);
    assert_eq!(case.check(ike(OUT)), by(OUT500));
    assert_eq!(case.check(ike(BACK)), FLOW);
    let mut flows =
        BTreeSet::from([(51, INSIDE, 0, 0), (50, INSIDE, 0, 0), (17, INSIDE, 500, 500)]);
    assert_eq!(case.flows(), flows);
    let (out, back) = (190 << 16 | 49286, 2371 << 16 | 8606);
    for is_new in [true, false] {
        for packet in [esp(OUT, out), esp(BACK, back)] {
            let answer = case.answer(packet);
            assert_eq!((answer.verdict, answer.is_new), (ALG, is_new));
        }
    }
    flows.extend([(50, OUTSIDE, 2371, 8606), (50, INSIDE, 190, 49286)]);
    assert_eq!(case.flows(), flows);
}

#[test]
fn e2_alg_without_lookupspi_drops_return_esp_and_an_extra_rule_does_not_help() {
    for rules in [&[OUT500][..], &[OUT500, IN_ESP], &[IN_ESP, OUT_ESP, OUT500, IN500]] {
        let mut case = Case::seed(LookupSpi::Off, VirtualServer::StandardWithAlg, rules);
        assert_eq!(case.check(ike(OUT)), by(OUT500));
        assert_eq!(case.check(ike(BACK)), FLOW);
        assert_eq!(case.check(esp(OUT, 12_501_126)), ALG);
        assert_eq!(case.check(esp(BACK, 155_394_462)), NEEDS_LOOKUPSPI);
        assert_eq!(case.check(ah(BACK, 300)), NEEDS_LOOKUPSPI);
        let flows = [(51, INSIDE, 0, 0), (50, INSIDE, 0, 0), (17, INSIDE, 500, 500)];
        assert_eq!(case.flows(), flows.into());
    }
}

#[test]
fn e2_alg_without_lookupspi_takes_over_a_flow_that_a_rule_made_before_ike() {
    for (first, rule) in [(OUT, OUT_ESP), (BACK, IN_ESP)] {
        let rules = [OUT500, OUT_ESP, IN_ESP];
        let mut case = Case::seed(LookupSpi::Off, VirtualServer::StandardWithAlg, &rules);
        assert_eq!(case.check(esp(first, 300)), by(rule));
        assert_eq!(case.check(ike(OUT)), by(OUT500));
        assert_eq!(case.check(esp(OUT, 301)), ALG);
        assert_eq!(case.check(esp(BACK, 302)), NEEDS_LOOKUPSPI);
        let flows = [(51, INSIDE, 0, 0), (50, INSIDE, 0, 0), (17, INSIDE, 500, 500)];
        assert_eq!(case.flows(), flows.into());
    }
}

#[test]
fn e1_dropped_and_rejected_packets_make_no_flow_and_keep_none_alive() {
    let mut case = Case::seed(LookupSpi::Off, VirtualServer::StandardWithAlg, &[OUT500]);
    assert_eq!(case.check(ike(OUT)), by(OUT500));
    case.now_ms += 300_000;
    assert_eq!(case.check(esp(BACK, 300)), NEEDS_LOOKUPSPI);
    case.now_ms += 1;
    assert!(case.flows().is_empty());
    assert_eq!(case.check(esp(BACK, 300)), DEFAULT_REJECT);
    assert_eq!(case.check(ike(BACK)), DEFAULT_REJECT);
    assert!(case.flows().is_empty());
}

#[test]
fn e1_a_flow_ends_when_idle_for_longer_than_its_kind_may_be() {
    let timeouts = PassTimeouts { ike_ms: 10, nat_t_ms: 20, esp_ms: 30, ah_ms: 40, other_ms: 50 };
    let config = PassConfig { timeouts, ..PassConfig::default() };
    let all = PassRule { protocol: 0, dst_ports: PortRange::ANY, ..seed_rule(OUT500) };
    let packets = [ike(OUT), udp(OUT, 1, 4500), esp(OUT, 300), ah(OUT, 300), udp(OUT, 500, 53)];
    for (packet, idle_ms) in packets.into_iter().zip([10, 20, 30, 40, 50]) {
        let mut case = Case::of(&[all], RuleAction::Reject, config, 10);
        assert_eq!(case.check(packet), by(OUT500));
        for _ in 0..3 {
            case.now_ms += idle_ms;
            assert_eq!(case.check(packet), FLOW, "refreshed by each match");
        }
        case.now_ms += idle_ms + 1;
        assert_eq!(case.firewall.expire(case.now_ms, case.firewall.slots()), 1);
        assert_eq!(case.check(packet), by(OUT500));
    }
}

#[test]
fn e3_the_peer_whose_isakmp_direction_is_not_admitted_cannot_start() {
    for (lookupspi, server) in SETTINGS {
        let rules = [OUT_ESP, OUT500, IN_ESP];
        let mut case = Case::seed(lookupspi, server, &rules);
        let answer = case.answer(ike(BACK));
        assert_eq!(answer.verdict, DEFAULT_REJECT);
        assert_eq!(answer.context, Some(Context::VirtualServer));
        assert!(case.flows().is_empty());
        // What the inside peer starts, both may use.
        assert_eq!(case.check(ike(OUT)), by(OUT500));
        assert_eq!(case.check(ike(BACK)), FLOW);
    }
}

const SETTINGS: [(LookupSpi, VirtualServer); 4] = [
    (LookupSpi::On, VirtualServer::FastL4),
    (LookupSpi::Off, VirtualServer::Standard),
    (LookupSpi::On, VirtualServer::StandardWithAlg),
    (LookupSpi::Off, VirtualServer::StandardWithAlg),
];

#[test]
fn e4_the_alg_does_not_handle_udp_4500() {
    let nat_t = PassRule { dst_ports: PortRange::ANY, ..seed_rule(OUT500) };
    for (src, dst) in [(4500, 4500), (40_000, 4500), (4500, 500), (500, 4500)] {
        let config = PassConfig { server: VirtualServer::StandardWithAlg, ..PassConfig::default() };
        let mut case = Case::of(&[nat_t], RuleAction::Reject, config, 100);
        assert_eq!(case.check(udp(OUT, src, dst)), by(OUT500));
        assert_eq!(case.check(udp(BACK, dst, src)), FLOW);
        assert_eq!(case.flows(), [(17, INSIDE, src, dst)].into());
        assert_eq!(case.check(esp(OUT, 300)), DEFAULT_REJECT);
        assert_eq!(case.firewall.delete_between(OUT, case.now_ms), 1);
        assert!(case.teardowns().is_empty());
    }
}

#[test]
fn e4_an_inbound_flow_is_made_only_for_the_protocol_that_is_answered() {
    let mut case = Case::seed(LookupSpi::On, VirtualServer::StandardWithAlg, &[OUT500]);
    let _ = case.check(ike(OUT));
    assert_eq!(case.check(ah(OUT, 400)), ALG);
    assert_eq!(case.check(ah(BACK, 500)), ALG);
    let inbound: Vec<_> = case.flows().into_iter().filter(|flow| flow.1 == OUTSIDE).collect();
    assert_eq!(inbound, [(51, OUTSIDE, 0, 500)]);
}

#[test]
fn e4_deleting_a_tunnels_flows_tells_ah_ike_and_esp() {
    for lookupspi in [LookupSpi::On, LookupSpi::Off] {
        let mut case = Case::seed(lookupspi, VirtualServer::StandardWithAlg, &[OUT500]);
        let _ = case.check(ike(OUT));
        let flows = if lookupspi == LookupSpi::On { 203 } else { 3 };
        for spi in 300..500 {
            assert_eq!(case.check(esp(OUT, spi)), ALG);
        }
        case.now_ms += 1234;
        assert_eq!(case.firewall.delete_between(BACK, case.now_ms), flows);
        assert!(case.flows().is_empty());
        let first = case.firewall.next_teardown().unwrap();
        assert_eq!(first.kind.to_string(), "IPSEC_TEARDOWN AH");
        assert_eq!((first.endpoints, first.src_port), (OUT, 0));
        assert_eq!((first.time_ms, first.age_ms), (2234, 1234));
        assert_eq!(case.teardowns(), ["IKE_TEARDOWN", "IPSEC_TEARDOWN ESP"]);
        assert_eq!(case.firewall.counts().teardowns, [1; 3]);
        assert_eq!(case.firewall.delete_between(OUT, case.now_ms), 0);
    }
}

#[test]
fn e4_flows_that_idle_out_are_told_and_without_an_alg_nothing_is() {
    for (lookupspi, server) in SETTINGS {
        let mut case = Case::seed(lookupspi, server, &[OUT500, OUT_ESP]);
        let _ = case.check(ike(OUT));
        let _ = case.check(esp(OUT, 300));
        case.now_ms += 300_001;
        let _ = case.firewall.expire(case.now_ms, case.firewall.slots());
        let told: BTreeSet<_> = case.teardowns().into_iter().collect();
        let all = ["IPSEC_TEARDOWN AH", "IKE_TEARDOWN", "IPSEC_TEARDOWN ESP"].map(String::from);
        assert_eq!(told, if server.has_alg() { all.into() } else { BTreeSet::new() });
    }
}

#[test]
fn e4_the_alg_makes_its_flows_anew_while_ike_goes_on() {
    let timeouts = PassTimeouts { esp_ms: 100, ah_ms: 100, ..PassTimeouts::default() };
    let server = VirtualServer::StandardWithAlg;
    let config = PassConfig { server, timeouts, ..PassConfig::default() };
    let mut case = Case::of(&[seed_rule(OUT500)], RuleAction::Reject, config, 100);
    let _ = case.check(ike(OUT));
    case.now_ms += 101;
    assert_eq!(case.check(esp(BACK, 300)), DEFAULT_REJECT);
    // An answer of the other peer will do, and the flows are still those of the one who began.
    assert_eq!(case.check(ike(BACK)), FLOW);
    assert_eq!(case.check(esp(BACK, 300)), ALG);
    let own: Vec<_> = case.flows().into_iter().filter(|flow| flow.2 == 0 && flow.3 == 0).collect();
    assert_eq!(own, [(50, INSIDE, 0, 0), (51, INSIDE, 0, 0)]);
    // Each packet of IKE keeps them.
    for _ in 0..3 {
        case.now_ms += 100;
        assert_eq!(case.check(ike(OUT)), FLOW);
    }
    assert_eq!(case.check(esp(OUT, 301)), ALG);
}

#[test]
fn t31_teardowns_are_all_counted_and_few_told() {
    let rule = PassRule { src: AddrRange::V4 { lo: 0, hi: u32::MAX }, ..seed_rule(OUT500) };
    let config = PassConfig { server: VirtualServer::StandardWithAlg, ..PassConfig::default() };
    let mut case = Case::of(&[rule], RuleAction::Reject, config, 400);
    for src in 0..100 {
        assert_eq!(case.check(ike(Endpoints::V4 { src, dst: OUTSIDE })), by(OUT500));
    }
    case.now_ms += 300_001;
    assert_eq!(case.firewall.expire(case.now_ms, case.firewall.slots()), 300);
    assert_eq!(case.firewall.counts().teardowns, [100; 3]);
    assert_eq!(case.teardowns().len(), QUEUE_TEARDOWNS);
    assert_eq!(case.check(ike(OUT)), by(OUT500));
    assert_eq!(case.firewall.delete_between(OUT, case.now_ms), 3);
    let next = case.firewall.next_teardown().unwrap();
    assert_eq!(next.suppressed as usize, 300 - QUEUE_TEARDOWNS);
    assert_eq!(case.firewall.next_teardown().unwrap().suppressed, 0);
}

#[test]
fn e5_the_ports_of_a_flow_are_the_halves_of_the_spi_and_one_way_only() {
    let rules = [OUT_ESP, OUT500];
    let mut case = Case::seed(LookupSpi::On, VirtualServer::FastL4, &rules);
    assert_eq!(case.check(esp(OUT, 0x0aca_846d)), by(OUT_ESP));
    assert_eq!(case.flows(), [(50, INSIDE, 2762, 33901)].into());
    // Neither the same SPI nor the one with its halves exchanged is the answer.
    for spi in [0x0aca_846d, 0x846d_0aca] {
        assert_eq!(case.check(esp(BACK, spi)), DEFAULT_REJECT);
    }
    assert_eq!(case.check(ah(OUT, 0x0aca_846d)), DEFAULT_REJECT, "AH has SPIs of its own");
}

#[test]
fn e5_spi_0_would_read_as_any_and_is_dropped() {
    let mut case = Case::seed(LookupSpi::On, VirtualServer::StandardWithAlg, &[OUT500, OUT_ESP]);
    let _ = case.check(ike(OUT));
    for packet in [esp(OUT, 0), esp(BACK, 0), ah(OUT, 0)] {
        assert_eq!(case.check(packet), PassVerdict::Drop(PassDrop::SpiZero));
    }
    assert_eq!(case.firewall.counts().drops[PassDrop::SpiZero.index()], 3);
    assert_eq!(case.check(esp(OUT, 1)), ALG);
}

#[test]
fn a_later_fragment_passes_only_where_flows_are_host_pairs() {
    let fragment = |protocol| PassPacket { endpoints: OUT, traffic: Traffic::Fragment(protocol) };
    let dropped = PassVerdict::Drop(PassDrop::Fragment);
    let mut on = Case::seed(LookupSpi::On, VirtualServer::FastL4, &[OUT_ESP]);
    let _ = on.check(esp(OUT, 300));
    assert_eq!(on.check(fragment(50)), dropped);
    let mut off = Case::seed(LookupSpi::Off, VirtualServer::FastL4, &[OUT_ESP, OUT500]);
    let _ = off.check(ike(OUT));
    assert_eq!(off.check(fragment(17)), dropped);
    assert_eq!(off.check(fragment(51)), DEFAULT_REJECT);
    assert_eq!(off.check(esp(OUT, 300)), by(OUT_ESP));
    assert_eq!(off.check(fragment(50)), FLOW);
}

#[test]
fn t30_two_tunnels_of_one_pair_share_a_flow_without_lookupspi() {
    let mut case = Case::seed(LookupSpi::Off, VirtualServer::FastL4, &[OUT500, OUT_ESP]);
    assert_eq!(case.check(ike(OUT)), by(OUT500));
    assert_eq!(case.check(esp(OUT, 1000)), by(OUT_ESP));
    // The other tunnel's packets are the first one's to this firewall, both ways.
    for spi in [2000, 1000] {
        assert_eq!(case.check(esp(OUT, spi)), FLOW);
        assert_eq!(case.check(esp(BACK, spi + 1)), FLOW);
    }
    assert_eq!(case.flows().len(), 2);
    // One that is busy keeps the flow of the other alive.
    case.now_ms += 300_000;
    assert_eq!(case.check(esp(OUT, 1000)), FLOW);
    case.now_ms += 300_000;
    assert_eq!(case.check(esp(BACK, 2001)), FLOW);
    // With lookupspi they are apart: a flow for each SPI, each idle on its own.
    let rules = [OUT500, OUT_ESP, IN_ESP];
    let mut case = Case::seed(LookupSpi::On, VirtualServer::FastL4, &rules);
    for spi in [1000, 2000] {
        assert_eq!(case.check(esp(OUT, spi)), by(OUT_ESP));
        assert_eq!(case.check(esp(BACK, spi + 1)), by(IN_ESP));
    }
    assert_eq!(case.flows().len(), 4);
    case.now_ms += 300_000;
    assert_eq!(case.check(esp(OUT, 1000)), FLOW);
    case.now_ms += 1;
    assert_eq!(case.flows(), [(50, INSIDE, 0, 1000)].into());
}

#[test]
fn t30_a_rekey_makes_new_flows_with_lookupspi_and_rules_must_admit_them() {
    let rules = [OUT500, OUT_ESP, IN_ESP];
    let mut case = Case::seed(LookupSpi::On, VirtualServer::FastL4, &rules);
    let _ = case.check(ike(OUT));
    for spi in [1000, 1100, 1200] {
        assert_eq!(case.check(esp(OUT, spi)), by(OUT_ESP));
        assert_eq!(case.check(esp(BACK, spi + 1)), by(IN_ESP));
    }
    assert_eq!(case.flows().len(), 7);
    // A rule that was taken away after the tunnel came up: the old SPIs go on, the new one does not.
    case.words =
        compile_rules(&[seed_rule(OUT500), seed_rule(OUT_ESP)], RuleAction::Reject).unwrap();
    assert_eq!(case.check(esp(BACK, 1201)), FLOW);
    assert_eq!(case.check(esp(BACK, 1301)), DEFAULT_REJECT);
    // The ALG admits a rekey as long as it has seen IKE.
    let mut case = Case::seed(LookupSpi::On, VirtualServer::StandardWithAlg, &[OUT500]);
    let _ = case.check(ike(OUT));
    for spi in [1000, 1100] {
        assert_eq!((case.check(esp(OUT, spi)), case.check(esp(BACK, spi + 1))), (ALG, ALG));
    }
    case.now_ms += 300_001;
    assert_eq!(case.check(esp(OUT, 1200)), DEFAULT_REJECT);
    // Without lookupspi it makes no difference.
    let mut case = Case::seed(LookupSpi::Off, VirtualServer::FastL4, &[OUT_ESP]);
    assert_eq!(case.check(esp(OUT, 1000)), by(OUT_ESP));
    assert_eq!((case.check(esp(OUT, 1100)), case.check(esp(BACK, 1101))), (FLOW, FLOW));
}

/// A cheap generator: the figures need not be good, only many.
fn next(random: &mut u64) -> u32 {
    *random =
        random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*random >> 32) as u32
}

#[test]
fn t31_a_million_packets_of_random_spis_and_sources_leave_live_flows_alone() {
    let everyone = PassRule {
        id: RuleId(1),
        src: AddrRange::V4 { lo: 0, hi: u32::MAX },
        dst: AddrRange::V4 { lo: 0, hi: u32::MAX },
        ..seed_rule(OUT_ESP)
    };
    let rules = [seed_rule(OUT500), everyone];
    let mut case = Case::of(&rules, RuleAction::Reject, PassConfig::default(), 1000);
    let _ = case.check(ike(OUT));
    for spi in 1000..1010 {
        assert!(case.check(esp(OUT, spi)).is_accept());
    }
    let words = case.words.clone();
    let rules = PassRules::open(&words).unwrap();
    let mut random = 1;
    for n in 0..1_000_000_u64 {
        let endpoints = Endpoints::V4 { src: next(&mut random), dst: OUTSIDE };
        let spi = next(&mut random);
        let packet = if n % 4 == 0 { ike(endpoints) } else { esp(endpoints, spi) };
        let _ = case.firewall.check(&rules, &packet, case.now_ms);
        if n % 100_000 == 0 {
            case.now_ms += 10_000;
            case.firewall.expire(case.now_ms, 64);
            assert_eq!(case.check(ike(BACK)), FLOW);
            for spi in 1000..1010 {
                assert_eq!(case.check(esp(OUT, spi)), FLOW);
            }
        }
    }
    // Every admitted packet past the room there is was dropped, and says why.
    let PassCounts { accepted, rejected, drops, .. } = *case.firewall.counts();
    assert_eq!((accepted, rejected), (1000, 250_000));
    assert_eq!(drops[PassDrop::TableFull.index()], 750_000 - (1000 - 11));
    assert_eq!(case.flows().len(), 1000);
    // A newcomer finds room again when the flood has idled out.
    case.now_ms += 300_001;
    let _ = case.firewall.expire(case.now_ms, case.firewall.slots());
    assert_eq!(case.check(ike(OUT)), by(OUT500));
}

#[test]
fn the_alg_that_found_no_room_tries_again() {
    let config = PassConfig { server: VirtualServer::StandardWithAlg, ..PassConfig::default() };
    let rules = [OUT500, IN500]
        .map(|id| PassRule { src: AddrRange::all(crate::headers::Family::V4), ..seed_rule(id) });
    let mut case = Case::of(&rules, RuleAction::Reject, config, 4);
    let other = Endpoints::V4 { src: 7, dst: OUTSIDE };
    assert!(case.check(ike(other)).is_accept());
    assert_eq!(case.check(ike(OUT)), by(OUT500));
    assert_eq!(case.firewall.counts().alg_full, 2);
    let full = PassVerdict::Drop(PassDrop::TableFull);
    assert_eq!(case.check(ike(Endpoints::V4 { src: 8, dst: OUTSIDE })), full);
    assert_eq!(case.firewall.delete_between(other, case.now_ms), 3);
    assert_eq!(case.check(ike(BACK)), FLOW);
    assert_eq!(case.check(esp(OUT, 300)), ALG);
    // The table is full: one more SPI finds no room, those that live go on.
    assert_eq!(case.check(esp(BACK, 301)), full);
    assert_eq!(case.check(esp(OUT, 300)), ALG);
}
