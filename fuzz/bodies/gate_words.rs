//! Compiled policies that lie: words of local-in policy and of a firewall's rules, as compiled and then
//! changed, or made up. They are refused, or every packet has an answer, alone the same as in a burst.

use espial::gate::local_in::{
    Action, AddressObject, Answer, IKE, Interfaces, LocalIn, LocalInList, LocalInPolicy,
    LocalPacket, PolicyId, Schedule, Schedules, Service,
};
use espial::gate::passthrough::{Context, PassRule, PassRules, RuleAction, RuleId, compile_rules};
use espial::headers::{Endpoints, Fragment, InnerHeaders, NextLayer, Outer};
use espial::selector::{AddrRange, PortRange};

use crate::bodies::Choices;

fn range(choices: &mut Choices<'_>, v6: bool) -> AddrRange {
    let (a, b) = (choices.octet(), choices.octet());
    match v6 {
        true => AddrRange::V6 { lo: a.min(b).into(), hi: a.max(b).into() },
        false => AddrRange::V4 { lo: a.min(b).into(), hi: a.max(b).into() },
    }
}

fn number(choices: &mut Choices<'_>) -> u64 {
    u64::from_le_bytes(core::array::from_fn(|_| choices.octet()))
}

fn local_in(choices: &mut Choices<'_>) -> Vec<u64> {
    let mut list = LocalInList::new(Action::ALL[choices.below(2)]);
    list.set_service("IKE", IKE.to_vec());
    list.set_service("ALL", vec![Service::All]);
    for id in 0..choices.below(40) as u32 {
        let [source, destination] = [format!("from {id}"), format!("to {id}")];
        let v6 = choices.below(4) == 0;
        for name in [&source, &destination] {
            list.set_address(name, AddressObject::Ranges(vec![range(choices, v6)]));
        }
        let interfaces = match choices.below(4) {
            0 => Interfaces::Any,
            nth => Interfaces::These((0..nth as u32).collect()),
        };
        let policy = LocalInPolicy {
            id: PolicyId(id),
            interfaces,
            source: vec![source],
            destination: vec![destination],
            service: vec![["IKE", "ALL"][choices.below(2)].into()],
            schedule: Schedule::new(choices.octet()),
            action: Some(Action::ALL[choices.below(2)]),
        };
        list.add(policy).expect("a number of its own");
    }
    list.compile().expect("policies that are right").to_vec()
}

fn rules(choices: &mut Choices<'_>) -> Vec<u64> {
    let rules: Vec<_> = (0..choices.below(40) as u32)
        .map(|id| {
            let v6 = choices.below(4) == 0;
            PassRule {
                id: RuleId(id),
                context: Context::ALL[choices.below(3)],
                action: RuleAction::ALL[choices.below(RuleAction::ALL.len())],
                src: range(choices, v6),
                dst: range(choices, v6),
                protocol: [0, 17, 50][choices.below(3)],
                src_ports: PortRange::ANY,
                dst_ports: PortRange::ANY,
            }
        })
        .collect();
    compile_rules(&rules, RuleAction::Reject).expect("rules that are right")
}

/// Some words changed, or all of them from here on made up; then perhaps fewer.
fn spoil(choices: &mut Choices<'_>, words: &mut Vec<u64>) {
    for _ in 0..choices.below(6) {
        let near = choices.octet() < 128;
        let at = number(choices) as usize % if near { words.len().min(64) } else { words.len() };
        let value = number(choices);
        match choices.below(6) {
            0 => words[at] = value,
            1 => words[at] ^= 1 << (value % 64),
            2 => words[at] = words[at].wrapping_add(value % 5).wrapping_sub(2),
            3 => words[at] = words[value as usize % words.len()],
            4 => words[at] ^= value << 32,
            _ => words[at..].iter_mut().for_each(|word| *word = number(choices)),
        }
    }
    if choices.below(8) == 0 {
        words.truncate(number(choices) as usize % (words.len() + 1));
    }
}

fn headers(choices: &mut Choices<'_>) -> InnerHeaders {
    let (src, dst) = (choices.octet(), choices.octet());
    let protocol = [17, 6, 47][choices.below(3)];
    InnerHeaders {
        endpoints: match choices.below(4) {
            0 => Endpoints::V6 { src: src.into(), dst: dst.into() },
            _ => Endpoints::V4 { src: src.into(), dst: dst.into() },
        },
        protocol,
        next_layer: match protocol {
            47 => NextLayer::Opaque,
            _ => NextLayer::Ports { src: 500, dst: [500, 4500, 9][choices.below(3)] },
        },
        fragment: Fragment::None,
    }
}

pub fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    if choices.below(2) == 0 {
        let mut words = local_in(&mut choices);
        spoil(&mut choices, &mut words);
        let Ok(local_in) = LocalIn::open(&words) else { return };
        let schedules = Schedules(number(&mut choices));
        let packets: Vec<_> = (0..choices.below(70))
            .map(|_| {
                let interface = choices.below(5) as u32;
                let headers = headers(&mut choices);
                LocalPacket::new(&Outer::Other, headers, interface).expect("neither ESP nor AH")
            })
            .collect();
        let alone: Vec<_> =
            packets.iter().map(|packet| local_in.first(packet, schedules)).collect();
        let mut burst = vec![Answer::default(); packets.len()];
        assert_eq!(local_in.first_burst(&packets, schedules, &mut burst), packets.len());
        assert_eq!(alone, burst);
    } else {
        let mut words = rules(&mut choices);
        spoil(&mut choices, &mut words);
        let Ok(rules) = PassRules::open(&words) else { return };
        for _ in 0..choices.below(70) {
            let headers = headers(&mut choices);
            let decision = rules.decide(&headers);
            assert_eq!(rules.decide(&headers), decision);
            // Nothing to ask behind the last context.
            assert!(
                decision.action != RuleAction::Accept || decision.context == Context::VirtualServer
            );
        }
    }
}
