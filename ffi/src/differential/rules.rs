//! Local-in policy and a firewall: lists of random policies and rules, compiled from C's structs and from the core's
//! own types, and asked the same questions.

use core::num::NonZeroU32;

use espial::gate::local_in::{
    Action, AddressObject, By, IKE, Interfaces, LocalIn, LocalInList, LocalInPolicy, LocalPacket,
    PolicyId, Schedule, Schedules, Service,
};
use espial::gate::passthrough::{
    Context, DecidedBy, Initiator, LookupSpi, NatTraversal, NeededConfig, Origin, Outcome,
    PassAnswer, PassConfig, PassDrop, PassPacket, PassRule, PassRules, PassTimeouts, PassVerdict,
    Passthrough, RuleAction, RuleId, Spread, TeardownKind, Traffic, VirtualServer, compile_rules,
    rules_needed,
};
use espial::headers::{Fragment, InnerHeaders, Ipsec, NextLayer, Spi};
use espial::selector::{AddrRange, PortRange};
use espial::spd::Count;

use super::*;
use crate::handle::{
    espial_local_in, espial_local_in_worker, espial_passthrough, espial_passthrough_rules,
};
use crate::local_in::*;
use crate::passthrough::*;
use crate::policies::{LocalPolicies, rules_of};

/// A range of the hosts that packets have, as octets and as the core has it.
fn range(random: &mut Random) -> (u8, [u8; 16], [u8; 16], AddrRange) {
    let (lo, count) = (random.below(6) as u8, random.below(4) as u8);
    let (mut a, mut b) = ([0; 16], [0; 16]);
    if random.below(4) == 0 {
        (a[0], a[15], b[0], b[15]) = (0x20, lo, 0x20, lo + count);
        let [lo, hi] = [a, b].map(u128::from_be_bytes);
        return (ESPIAL_FAMILY_V6, a, b, AddrRange::V6 { lo, hi });
    }
    (a[0], a[3], b[0], b[3]) = (10, lo, 10, lo + count);
    let of = |host: u8| 10 << 24 | u32::from(host);
    (ESPIAL_FAMILY_V4, a, b, AddrRange::V4 { lo: of(lo), hi: of(lo + count) })
}

fn said_local(answer: &espial_local_in_answer) -> (u32, u8, u8) {
    assert_eq!(answer.reserved, 0);
    (answer.policy, answer.action, answer.by)
}

fn meant_local(answer: Option<espial::gate::local_in::Answer>) -> (u32, u8, u8) {
    answer.map_or((0, 0, 0), |answer| match answer.by {
        By::Policy(PolicyId(id)) => (id, u8::from(answer.is_accept()), 1),
        By::Default => (0, u8::from(answer.is_accept()), 2),
    })
}

fn said_counts(worker: *const espial_local_in_worker) -> (Vec<u64>, u64) {
    let (mut packets, mut count, mut unmatched) = (vec![99; 20], 99, 99);
    let status = unsafe {
        let at = packets.as_mut_ptr();
        espial_local_in_worker_counts(worker, at, 20, &mut count, &mut unmatched)
    };
    assert_eq!(status, ESPIAL_OK);
    packets.truncate(count);
    (packets, unmatched)
}

/// A packet to the gateway; for the core only if policy judges it.
fn local_packet(random: &mut Random) -> (espial_local_packet, Option<LocalPacket>) {
    let mut packet: espial_local_packet = unsafe { zeroed() };
    let (family, src, dst, endpoints) = random.hosts();
    let (protocol, port) = (random.of(&[17, 17, 17, 6, 47, 50]), random.of(&[500, 4500, 22]));
    (packet.interface, packet.traffic) = (random.below(4), random.of(&[0, 1, 2, 2, 3, 4, 4]));
    let h = &mut packet.headers;
    (h.family, h.src, h.dst, h.protocol) = (family, src, dst, protocol);
    let mut next_layer = NextLayer::Opaque;
    if protocol == 6 || protocol == 17 {
        (h.next_layer, h.sport, h.dport) = (ESPIAL_NEXT_LAYER_PORTS, 9, port);
        next_layer = NextLayer::Ports { src: 9, dst: port };
    }
    let headers = InnerHeaders { endpoints, protocol, next_layer, fragment: Fragment::None };
    let outer = match packet.traffic {
        2 => Some(Outer::Ike),
        3 => Some(Outer::NatKeepalive),
        4 => Some(Outer::Other),
        _ => None,
    };
    let of = |outer| LocalPacket::new(&outer, headers, packet.interface).ok();
    (packet, outer.and_then(of))
}

#[test]
fn local_in_policies_answer_as_the_cores_do() {
    let mut decided = [0; 3];
    for seed in 0..150 {
        let random = &mut Random::new(seed + 2000);
        let default = random.below(2) as u8;
        let mut list = LocalInList::new(Action::ALL[usize::from(default)]);
        list.set_service("IKE", IKE.to_vec());
        list.set_service("SSH", vec![Service::tcp(22)]);
        // IKE as C writes it, then SSH.
        let service = |protocol, port| {
            let mut one: espial_service = unsafe { zeroed() };
            (one.protocol, one.src_port_hi) = (protocol, u16::MAX);
            (one.dst_port_lo, one.dst_port_hi) = (port, port);
            one
        };
        let services = [service(17, 500), service(17, 4500), service(6, 22)];
        let interfaces = [0, 1, 2];
        let (mut policies, mut ranges) = (Vec::new(), Vec::new());
        for id in 0..random.below(20) {
            let mut one: espial_local_in_policy = unsafe { zeroed() };
            one.id = 1 + id * 3;
            let mut addresses = |random: &mut Random, name: &str| {
                let first = ranges.len() as u32;
                let (mut member, mut exclude) = (Vec::new(), Vec::new());
                for nth in 0..1 + random.below(3) {
                    let (family, lo, hi, addrs) = range(random);
                    let is_out = nth > 0 && random.below(3) == 0;
                    let (reserved, out) = (0, u8::from(is_out));
                    ranges.push(espial_range { family, exclude: out, reserved, lo, hi });
                    if is_out { &mut exclude } else { &mut member }.push(addrs);
                }
                let [inside, outside] = ["in", "out"].map(|side| std::format!("{name} {side}"));
                list.set_address(&inside, AddressObject::Ranges(member));
                let exclude = if exclude.is_empty() {
                    Vec::new()
                } else {
                    list.set_address(&outside, AddressObject::Ranges(exclude));
                    vec![outside]
                };
                list.set_address(name, AddressObject::Group { member: vec![inside], exclude });
                (first, ranges.len() as u32 - first)
            };
            let [source, destination] = ["from", "to"].map(|side| std::format!("{side} {id}"));
            (one.source_first, one.source_count) = addresses(random, &source);
            (one.destination_first, one.destination_count) = addresses(random, &destination);
            let is_ike = random.below(3) > 0;
            (one.service_first, one.service_count) = if is_ike { (0, 2) } else { (2, 1) };
            one.any_interface = u8::from(random.below(3) == 0);
            if one.any_interface == 0 {
                (one.interface_first, one.interface_count) = (random.below(2), 2);
            }
            (one.schedule, one.action) = (random.below(4) as u8, random.below(2) as u8);
            policies.push(one);
            let first = one.interface_first as usize;
            let added = list.add(LocalInPolicy {
                id: PolicyId(one.id),
                interfaces: match one.any_interface {
                    1 => Interfaces::Any,
                    _ => Interfaces::These(interfaces[first..first + 2].to_vec()),
                },
                source: vec![source],
                destination: vec![destination],
                service: vec![(if is_ike { "IKE" } else { "SSH" }).into()],
                schedule: one.schedule.checked_sub(1).and_then(Schedule::new),
                action: Some(Action::ALL[usize::from(one.action)]),
            });
            added.unwrap();
        }
        let given = LocalPolicies {
            default: default.into(),
            policies: &policies,
            interfaces: &interfaces,
            ranges: &ranges,
            services: &services,
        };
        // A policy that no packet can meet is refused by both.
        let (c_words, words) = match (given.compile(), list.compile()) {
            (Ok(c_words), Ok(words)) => (c_words, words),
            (Err(_), Err(_)) => continue,
            _ => panic!("one of two refuses, seed {seed}"),
        };
        let core = LocalIn::open(&words).unwrap();
        let mut memory = memory(512);
        let mut c: *mut espial_local_in = null_mut();
        let (at, len) = room(&mut memory);
        let status =
            unsafe { espial_local_in_init(at, len, c_words.as_ptr(), c_words.len(), &mut c) };
        assert_eq!(status, ESPIAL_OK);
        let (mut listed, mut number) = ([unsafe { zeroed::<espial_local_in_answer>() }; 20], 99);
        let status = unsafe { espial_local_in_policies(c, listed.as_mut_ptr(), 20, &mut number) };
        assert_eq!(status, ESPIAL_OK);
        let listed = listed.iter().take(number).map(said_local);
        assert!(listed.eq(core.policies().map(|one| meant_local(Some(one)))));
        let (mut row, mut worker) = (vec![Line([0; 64]); 32], null_mut());
        let (at, len) = room(&mut row);
        assert_eq!(unsafe { espial_local_in_worker_init(at, len, c, &mut worker) }, ESPIAL_OK);
        let mut cells: Vec<_> = std::iter::repeat_with(Count::new).take(core.cells()).collect();
        let (mut counting, counts) = core.with_counts(&mut cells).unwrap();
        for _ in 0..20 {
            let schedules = random.next() & 7;
            let count = random.below(65) as usize;
            let all: Vec<_> = (0..count).map(|_| local_packet(random)).collect();
            let packets: Vec<_> = all.iter().map(|(packet, _)| *packet).collect();
            let mut said = vec![unsafe { zeroed::<espial_local_in_answer>() }; count];
            let status = unsafe {
                let (at, out) = (packets.as_ptr(), said.as_mut_ptr());
                espial_local_in_first_burst(c, at, count, schedules, out)
            };
            assert_eq!(status, ESPIAL_OK);
            for ((packet, asked), said) in all.iter().zip(&said) {
                let meant = asked.map(|packet| core.first(&packet, Schedules(schedules)));
                assert_eq!(said_local(said), meant_local(meant), "{asked:?}");
                decided[usize::from(said.by)] += 1;
                let mut alone: espial_local_in_answer = unsafe { zeroed() };
                let status = unsafe { espial_local_in_first(c, packet, schedules, &mut alone) };
                assert_eq!((status, said_local(&alone)), (ESPIAL_OK, said_local(said)));
            }
            // Counted one by one or in a burst, and by the core always one by one.
            let mut again = vec![unsafe { zeroed::<espial_local_in_answer>() }; count];
            if random.below(2) == 0 {
                let status = unsafe {
                    let (at, out) = (packets.as_ptr(), again.as_mut_ptr());
                    espial_local_in_worker_check_burst(worker, at, count, schedules, out)
                };
                assert_eq!(status, ESPIAL_OK);
            } else {
                for (packet, again) in packets.iter().zip(&mut again) {
                    let status =
                        unsafe { espial_local_in_worker_check(worker, packet, schedules, again) };
                    assert_eq!(status, ESPIAL_OK);
                }
            }
            assert!(again.iter().map(said_local).eq(said.iter().map(said_local)));
            for asked in all.iter().filter_map(|(_, asked)| *asked) {
                let _ = counting.check(&asked, Schedules(schedules));
            }
            let meant = counts.policies().map(|(_, packets)| packets).collect();
            assert_eq!(said_counts(worker), (meant, counts.unmatched()));
            let (family, src, dst, endpoints) = random.hosts();
            let between = espial_endpoints { family, reserved: [0; 3], src, dst };
            let (interface, mut two) = (random.below(4), [unsafe { zeroed() }; 2]);
            let [first, second] = &mut two;
            let status =
                unsafe { espial_local_in_ike(c, &between, interface, schedules, first, second) };
            let meant = core.ike(endpoints, interface, Schedules(schedules));
            assert_eq!(status, ESPIAL_OK);
            assert_eq!(said_local(&two[0]), meant_local(Some(meant.port_500)));
            assert_eq!(said_local(&two[1]), meant_local(Some(meant.port_4500)));
        }
        unsafe {
            assert_eq!(espial_local_in_worker_release(worker), ESPIAL_OK);
            assert_eq!(espial_local_in_release(c), ESPIAL_OK);
        }
    }
    assert!(decided.iter().all(|count| *count > 300), "{decided:?}");
}

/// verdict, reason, by, context, rule, is_new, flow.
type Said = (u8, u8, u8, u8, u32, u8, Flow);

fn said_pass(a: &espial_passthrough_answer) -> Said {
    assert_eq!(a.reserved, [0; 3]);
    (a.verdict, a.reason, a.by, a.context, a.rule, a.is_new, said_flow(&a.flow))
}

fn by(by: DecidedBy) -> (u8, u32) {
    match by {
        DecidedBy::Rule(RuleId(id)) => (1, id),
        DecidedBy::Default => (2, 0),
    }
}

fn meant_pass(answer: &PassAnswer) -> Said {
    let (verdict, reason, (by, rule)) = match answer.verdict {
        PassVerdict::Drop(PassDrop::Decided(one)) => (0, 1, by(one)),
        PassVerdict::Drop(PassDrop::AlgNeedsLookupSpi) => (0, 2, (0, 0)),
        PassVerdict::Drop(PassDrop::TableFull) => (0, 3, (0, 0)),
        PassVerdict::Drop(PassDrop::SpiZero) => (0, 4, (0, 0)),
        PassVerdict::Drop(PassDrop::Fragment) => (0, 5, (0, 0)),
        PassVerdict::Drop(_) => panic!("a new one"),
        PassVerdict::Reject(one) => (1, 0, by(one)),
        PassVerdict::Accept(one) => (2, 0, by(one)),
        PassVerdict::AcceptFlow => (3, 0, (0, 0)),
        PassVerdict::AcceptAlg => (4, 0, (0, 0)),
    };
    let context = answer.context.map_or(0, |one| match one {
        Context::Global => 1,
        Context::RouteDomain => 2,
        Context::VirtualServer => 3,
    });
    let flow = answer.key.as_ref().map_or(NO_FLOW, meant_flow);
    (verdict, reason, by, context, rule, answer.is_new.into(), flow)
}

fn pass_packet(random: &mut Random) -> (espial_passthrough_packet, PassPacket) {
    let mut packet: espial_passthrough_packet = unsafe { zeroed() };
    let (family, src, dst, endpoints) = random.hosts();
    (packet.family, packet.src, packet.dst) = (family, src, dst);
    let (spi, port) = (random.of(&[0, 300, 301, 300 << 16]), random.of(&[500, 500, 4500, 53]));
    packet.kind = random.of(&[1, 1, 2, 3, 3, 3, 4]);
    let traffic = match packet.kind {
        1 | 2 => {
            packet.spi = spi;
            if packet.kind == 1 { Traffic::Esp(Spi(spi)) } else { Traffic::Ah(Spi(spi)) }
        }
        3 => {
            (packet.sport, packet.dport) = (port, port);
            Traffic::Udp { src: port, dst: port }
        }
        _ => {
            packet.protocol = 50;
            Traffic::Fragment(50)
        }
    };
    (packet, PassPacket { endpoints, traffic })
}

fn pass_rule(random: &mut Random, id: u32) -> (espial_passthrough_rule, PassRule) {
    let mut rule: espial_passthrough_rule = unsafe { zeroed() };
    let (family, src_lo, src_hi, src) = range(random);
    let (dst_lo, dst_hi, dst) = loop {
        let (other, lo, hi, dst) = range(random);
        if other == family {
            break (lo, hi, dst);
        }
    };
    let (context, action) = (random.below(3) as usize, random.below(4) as usize);
    let protocol = random.of(&[0, 17, 50, 51]);
    let port = random.of(&[None, Some(500)]).filter(|_| protocol == 17);
    (rule.id, rule.context, rule.action) = (id, context as u8 + 1, action as u8);
    (rule.family, rule.protocol) = (family, protocol);
    (rule.src_lo, rule.src_hi, rule.dst_lo, rule.dst_hi) = (src_lo, src_hi, dst_lo, dst_hi);
    (rule.src_port_hi, rule.dst_port_hi) = (u16::MAX, u16::MAX);
    if let Some(port) = port {
        (rule.dst_port_lo, rule.dst_port_hi) = (port, port);
    }
    let dst_ports = port.map_or(PortRange::ANY, |port| PortRange::new(port, port).unwrap());
    let (context, action) = (Context::ALL[context], RuleAction::ALL[action]);
    let (id, src_ports) = (RuleId(id), PortRange::ANY);
    (rule, PassRule { id, context, action, src, dst, protocol, src_ports, dst_ports })
}

#[test]
fn firewalls_answer_as_the_cores_do() {
    let mut verdicts = [0; 5];
    let (mut full, mut told, mut deleted, mut expired) = (0, 0, 0, 0);
    for seed in 0..80 {
        let random = &mut Random::new(seed + 3000);
        let (c_rules, rules): (Vec<_>, Vec<_>) =
            (0..random.below(12)).map(|id| pass_rule(random, id)).unzip();
        let default = random.below(3);
        let c_words = rules_of(default, &c_rules).unwrap();
        let words = compile_rules(&rules, RuleAction::ALL[default as usize]).unwrap();
        assert_eq!(c_words, words);
        let rules = PassRules::open(&words).unwrap();
        let mut c_config: espial_passthrough_config = unsafe { zeroed() };
        (c_config.size, c_config.flows) = (32, random.of(&[1, 5, 14, 60]));
        (c_config.lookupspi, c_config.server) = (random.below(2) as u8, random.below(3) as u8);
        (c_config.ike_ms, c_config.esp_ms) = (9000, 2000);
        let idle = 300_000;
        let config = PassConfig {
            lookupspi: [LookupSpi::Off, LookupSpi::On][usize::from(c_config.lookupspi)],
            server: [
                VirtualServer::FastL4,
                VirtualServer::Standard,
                VirtualServer::StandardWithAlg,
            ][usize::from(c_config.server)],
            timeouts: PassTimeouts {
                ike_ms: 9000,
                nat_t_ms: idle,
                esp_ms: 2000,
                ah_ms: idle,
                other_ms: idle,
            },
        };
        let (mut rules_memory, mut table) = (memory(2048), memory(1 << 14));
        let (mut c_rules, mut c): (*mut espial_passthrough_rules, *mut espial_passthrough) =
            (null_mut(), null_mut());
        unsafe {
            let ((at, len), count) = (room(&mut rules_memory), c_words.len());
            let made =
                espial_passthrough_rules_init(at, len, c_words.as_ptr(), count, &mut c_rules);
            assert_eq!(made, ESPIAL_OK);
            let (at, len) = room(&mut table);
            assert_eq!(espial_passthrough_init(at, len, &c_config, seed, 9, &mut c), ESPIAL_OK);
        }
        let mut core = Passthrough::new(c_config.flows, [seed, 9], config).unwrap();
        let mut now_ms = 1 << 20;
        for _ in 0..250 {
            random.step(&mut now_ms);
            let (packet, asked) = pass_packet(random);
            let mut answer: espial_passthrough_answer = unsafe { zeroed() };
            match random.below(8) {
                0..4 => {
                    let status = unsafe {
                        espial_passthrough_check(c, c_rules, &packet, now_ms, &mut answer)
                    };
                    let meant = core.check(&rules, &asked, now_ms);
                    assert_eq!((status, said_pass(&answer)), (ESPIAL_OK, meant_pass(&meant)));
                    verdicts[usize::from(answer.verdict)] += 1;
                    full += u32::from(answer.reason == ESPIAL_PASS_DROP_TABLE_FULL);
                }
                4 => {
                    let count = random.below(65) as usize;
                    let (packets, asked): (Vec<_>, Vec<_>) =
                        (0..count).map(|_| pass_packet(random)).unzip();
                    let mut said = vec![answer; count];
                    let status = unsafe {
                        let (at, out) = (packets.as_ptr(), said.as_mut_ptr());
                        espial_passthrough_check_burst(c, c_rules, at, count, now_ms, out)
                    };
                    assert_eq!(status, ESPIAL_OK);
                    for (said, asked) in said.chunks(32).zip(asked.chunks(32)) {
                        let mut meant = [PassAnswer::default(); 32];
                        core.check_burst(&rules, asked, now_ms, &mut meant);
                        for (said, meant) in said.iter().zip(&meant) {
                            assert_eq!(said_pass(said), meant_pass(meant));
                        }
                    }
                }
                5 => {
                    let (slots, mut ended) = (random.below(90), 99);
                    let status = unsafe { espial_passthrough_expire(c, now_ms, slots, &mut ended) };
                    assert_eq!((status, ended), (ESPIAL_OK, core.expire(now_ms, slots)));
                    expired += ended;
                }
                6 if random.below(4) == 0 => {
                    let (family, src, dst, endpoints) = random.hosts();
                    let between = espial_endpoints { family, reserved: [0; 3], src, dst };
                    let mut gone = 99;
                    let status = unsafe {
                        espial_passthrough_delete_between(c, &between, now_ms, &mut gone)
                    };
                    let meant = core.delete_between(endpoints, now_ms);
                    assert_eq!((status, gone), (ESPIAL_OK, meant));
                    deleted += gone;
                }
                _ => {
                    let mut events = [unsafe { zeroed::<espial_teardown>() }; 3];
                    let mut count = 99;
                    let status = unsafe {
                        espial_passthrough_teardowns(c, events.as_mut_ptr(), 3, &mut count)
                    };
                    assert_eq!(status, ESPIAL_OK);
                    for event in events.iter().take(count) {
                        let meant = core.next_teardown().expect("as many");
                        let kind = match meant.kind {
                            TeardownKind::Ah => 1,
                            TeardownKind::Ike => 2,
                            TeardownKind::Esp => 3,
                        };
                        let said = (event.kind, event.sport, event.suppressed);
                        assert_eq!(said, (kind, meant.src_port, meant.suppressed));
                        assert_eq!((event.time_ms, event.age_ms), (meant.time_ms, meant.age_ms));
                        let said = (event.family, event.src, event.dst);
                        assert_eq!(said, addrs(&meant.endpoints));
                        told += 1;
                    }
                    assert!(count == 3 || core.next_teardown().is_none());
                }
            }
            same_tables(c, &core, now_ms);
            let workers = 1 + random.below(9);
            let mut of_packet = 99;
            let status = unsafe {
                let (of, out) = (&raw const packet, &raw mut of_packet);
                espial_passthrough_worker_of(&c_config, seed, 3, of, workers, out)
            };
            let workers = NonZeroU32::new(workers).unwrap();
            let meant = Spread::new([seed, 3]).worker(&asked, &config, workers);
            assert_eq!((status, of_packet), (ESPIAL_OK, meant));
        }
        unsafe {
            assert_eq!(espial_passthrough_release(c), ESPIAL_OK);
            assert_eq!(espial_passthrough_rules_release(c_rules), ESPIAL_OK);
        }
    }
    assert!(verdicts.iter().all(|count| *count > 30), "{verdicts:?}");
    let counts = [full, told, deleted, expired];
    assert!(counts.iter().all(|count| *count > 10), "{counts:?}");
}

/// Flows, counts and slots.
fn same_tables(c: *mut espial_passthrough, core: &Passthrough<'_>, now_ms: u64) {
    let mut flows = vec![unsafe { zeroed::<espial_passthrough_flow>() }; 64];
    let mut counts: espial_passthrough_counts = unsafe { zeroed() };
    let (mut count, mut slots) = (99, 99);
    counts.size = size_of_c::<espial_passthrough_counts>();
    unsafe {
        assert_eq!(espial_passthrough_flows(c, now_ms, flows.as_mut_ptr(), 64, &mut count), 0);
        assert_eq!(espial_passthrough_counts_of(c, &mut counts), 0);
        assert_eq!(espial_passthrough_slots(c, &mut slots), 0);
    }
    assert_eq!(slots, core.slots());
    let said = flows.iter().take(count).map(|one| {
        assert_eq!(one.reserved, [0; 3]);
        (one.made_ms, one.idle_ms, one.by, one.rule, said_flow(&one.flow))
    });
    let meant = core.flows(now_ms).map(|one| {
        let (by, rule) = match one.origin {
            Origin::Decided(one) => by(one),
            Origin::Alg => (3, 0),
        };
        (one.made_ms, one.idle_ms, by, rule, meant_flow(&one.key))
    });
    assert_eq!(said.collect::<Vec<_>>(), meant.collect::<Vec<_>>());
    let of = core.counts();
    let said = [counts.accepted, counts.accepted_flow, counts.accepted_alg, counts.rejected];
    assert_eq!(said, [of.accepted, of.accepted_flow, of.accepted_alg, of.rejected]);
    assert_eq!(counts.alg_full, of.alg_full);
    assert_eq!((counts.drops[0], &counts.drops[1..6]), (0, &of.drops[..]));
    assert_eq!((counts.teardowns[0], &counts.teardowns[1..4]), (0, &of.teardowns[..]));
}

/// All of the 216 configurations.
#[test]
fn needed_rules_are_the_cores() {
    let random = &mut Random::new(4000);
    for case in 0..216_u32 {
        let pick = |place: u32, of: u32| (case / place % of) as u8;
        let (lookupspi, server, translate) = (pick(1, 2), pick(2, 3), pick(6, 2));
        let (initiator, nat_t, ah) = (pick(12, 3), pick(36, 3), pick(108, 2));
        let (family, inside_lo, inside_hi, inside) = range(random);
        let (outside_lo, outside_hi, outside) = loop {
            let (other, lo, hi, addrs) = range(random);
            if other == family {
                break (lo, hi, addrs);
            }
        };
        let c = espial_needed_config {
            size: size_of_c::<espial_needed_config>(),
            lookupspi,
            server,
            translate_address: translate,
            initiator,
            ipsec: 50 + ah,
            nat_t,
            family,
            reserved: 0,
            inside_lo,
            inside_hi,
            outside_lo,
            outside_hi,
        };
        let servers =
            [VirtualServer::FastL4, VirtualServer::Standard, VirtualServer::StandardWithAlg];
        let initiators = [Initiator::Inside, Initiator::Outside, Initiator::Either];
        let nat = [NatTraversal::Never, NatTraversal::Always, NatTraversal::Possible];
        let config = NeededConfig {
            lookupspi: [LookupSpi::Off, LookupSpi::On][usize::from(lookupspi)],
            server: servers[usize::from(server)],
            translate_address: translate == 1,
            initiator: initiators[usize::from(initiator)],
            inside,
            outside,
            ipsec: [Ipsec::Esp, Ipsec::Ah][usize::from(ah)],
            nat_t: nat[usize::from(nat_t)],
        };
        let mut rules = [unsafe { zeroed::<espial_needed_rule>() }; ESPIAL_NEEDED_RULES];
        let (mut count, mut needed) = (99, unsafe { zeroed::<espial_needed>() });
        let status = unsafe {
            let (at, room) = (rules.as_mut_ptr(), ESPIAL_NEEDED_RULES);
            espial_passthrough_rules_needed(&c, 2, at, room, &mut count, &mut needed)
        };
        let meant = rules_needed(&config);
        assert_eq!((status, count), (ESPIAL_OK, meant.rules.len()));
        let dropped = u8::from(meant.outcome == Outcome::ReturnDropped);
        assert_eq!((needed.outcome, needed.virtual_servers), (dropped, meant.virtual_servers));
        // The rules of C are compiled to the words that the core's come to.
        let c_rules: Vec<_> = rules.iter().take(count).map(|one| one.rule).collect();
        let own = meant.rules.iter().zip(0..);
        let own: Vec<_> = own.map(|(one, id)| one.rule(RuleId(id), Context::RouteDomain)).collect();
        let words = compile_rules(&own, RuleAction::Drop).unwrap();
        assert_eq!(rules_of(0, &c_rules).unwrap(), words);
        for (one, c) in meant.rules.iter().zip(&rules) {
            let name = |number: u32, service: u32| {
                let way = ["OUT", "IN"][number as usize];
                std::format!("{way}{}", ["500", "4500", "_ESP", "_AH"][service as usize])
            };
            assert_eq!(name(c.way.into(), c.service.into()), one.to_string());
        }
    }
}
