//! Tunnels of others: flows of ESP by SPI, and of IKE.

use std::hash::BuildHasher;
use std::ops::Range;

use espial::gate::flow::FlowKey;
use espial::gate::passthrough::{
    Context, DecidedBy, LookupSpi, PassAnswer, PassConfig, PassDrop, PassPacket, PassRule,
    PassRules, PassTimeouts, PassVerdict, Passthrough, RuleAction, RuleId, Traffic, compile_rules,
};
use espial::headers::{Family, Spi, protocol};
use espial::selector::{AddrRange, PortRange};

use super::{
    Case, Contender, Fast, Field, Map, NOW_MS, SEED, Sip, distinct, hosts, in_bursts, shuffled,
    traces,
};
use crate::Rng;

/// A firewall with `lookupspi`, without the ALG, full of flows, beside maps of the same.
pub struct Tunnels {
    firewall: Passthrough<'static>,
    flows: u32,
    compiled: PassRules<'static>,
    rules: Vec<PassRule>,
    fast: Fast,
    sip: Sip,
    packets: [Vec<PassPacket>; 3],
}

/// IKE and ESP, out and in; and others before, which cover nothing of this.
fn rules(family: Family) -> Vec<PassRule> {
    let [inside, outside, other] = match family {
        Family::V4 => ["10.0.0.0/8", "172.16.0.0/28", "192.168.0.0/16"],
        Family::V6 => ["2001:db8::/32", "2001:db9::/64", "fd00::/8"],
    }
    .map(|text| text.parse::<AddrRange>().expect("a prefix"));
    let ike = PortRange::new(500, 500).expect("a port");
    let rule = |id, protocol, src, dst, dst_ports| PassRule {
        id: RuleId(id),
        context: Context::Global,
        action: RuleAction::AcceptDecisively,
        src,
        dst,
        protocol,
        src_ports: PortRange::ANY,
        dst_ports,
    };
    vec![
        rule(1, protocol::TCP, other, outside, PortRange::ANY),
        rule(2, protocol::TCP, inside, other, PortRange::ANY),
        rule(3, protocol::UDP, other, other, PortRange::ANY),
        rule(4, protocol::ESP, other, outside, PortRange::ANY),
        rule(11, protocol::UDP, inside, outside, ike),
        rule(12, protocol::UDP, outside, inside, ike),
        rule(13, protocol::ESP, inside, outside, PortRange::ANY),
        rule(14, protocol::ESP, outside, inside, PortRange::ANY),
    ]
}

fn number(verdict: PassVerdict) -> u64 {
    let by = |by| match by {
        DecidedBy::Rule(RuleId(id)) => u64::from(id) + 1,
        DecidedBy::Default => 0,
    };
    match verdict {
        PassVerdict::Drop(why) => 1 << 32 | why.index() as u64,
        PassVerdict::Reject(who) => 2 << 32 | by(who),
        PassVerdict::Accept(who) => 3 << 32 | by(who),
        PassVerdict::AcceptFlow => 4 << 32,
        PassVerdict::AcceptAlg => 5 << 32,
    }
}

/// What a firewall does that is a map and a list of rules.
fn plain<S: BuildHasher + Default>(
    map: &mut Map<S>,
    rules: &[PassRule],
    packet: &PassPacket,
) -> PassVerdict {
    let key = match packet.key(LookupSpi::On) {
        Ok(key) => key,
        Err(why) => return PassVerdict::Drop(why),
    };
    let mut found = map.find(&key, NOW_MS);
    if found.is_none() && key.protocol == protocol::UDP {
        found = map.find(&key.reversed(), NOW_MS);
    }
    if found.is_some() {
        return PassVerdict::AcceptFlow;
    }
    let headers = packet.headers();
    match rules.iter().find(|rule| rule.covers(&headers)) {
        None => PassVerdict::Reject(DecidedBy::Default),
        Some(rule) if map.insert(&key, 1, NOW_MS) => PassVerdict::Accept(DecidedBy::Rule(rule.id)),
        Some(_) => PassVerdict::Drop(PassDrop::TableFull),
    }
}

fn packet_of(key: &FlowKey) -> PassPacket {
    let traffic = match key.protocol {
        protocol::ESP => Traffic::Esp(Spi(u32::from(key.src_port) << 16 | u32::from(key.dst_port))),
        _ => Traffic::Udp { src: key.src_port, dst: key.dst_port },
    };
    PassPacket { endpoints: key.endpoints, traffic }
}

impl Tunnels {
    /// `n` flows, and traces of `items` packets.
    ///
    /// # Panics
    /// If the table does not hold what it says.
    pub fn new(n: usize, items: usize, family: Family, seed: u64) -> Self {
        let mut rng = Rng::new(seed, 71);
        // 3 of 4 are ESP, in either direction, by an SPI above those that are reserved.
        let mut draw = || {
            let (what, spi) = (rng.next(), (rng.next() as u32).max(256));
            let out = hosts(&mut rng, family);
            match what & 3 {
                0 => FlowKey {
                    endpoints: out,
                    protocol: protocol::UDP,
                    src_port: 500,
                    dst_port: 500,
                },
                _ => FlowKey {
                    endpoints: if what & 4 == 0 { out } else { out.reversed() },
                    protocol: protocol::ESP,
                    src_port: (spi >> 16) as u16,
                    dst_port: spi as u16,
                },
            }
        };
        let mut all = distinct(2 * n + items, &mut draw);
        let strange = all.split_off(2 * n);
        let absent = all.split_off(n);
        let (rules, flows) = (rules(family), u32::try_from(n).expect("32 bits"));
        let words = compile_rules(&rules, RuleAction::Reject).expect("rules that are right");
        // Few words, for as long as the program runs.
        let compiled = PassRules::open(words.leak()).expect("words as compiled");
        let mut firewall =
            Passthrough::new(flows, SEED, PassConfig::default()).expect("a table of this size");
        for key in &all {
            let answer = firewall.check(&compiled, &packet_of(key), NOW_MS);
            assert!(answer.is_new, "{key}: {:?}", answer.verdict);
        }
        let mut rng = Rng::new(seed, 72);
        let mut hit: Vec<_> = shuffled(&all, items, &mut rng).iter().map(packet_of).collect();
        for packet in hit.iter_mut().step_by(2) {
            if matches!(packet.traffic, Traffic::Udp { .. }) {
                packet.endpoints = packet.endpoints.reversed();
            }
        }
        // Port 501, or AH: nothing admits them.
        let other_port = |packet: PassPacket| match packet.traffic {
            Traffic::Udp { src, .. } => {
                PassPacket { traffic: Traffic::Udp { src, dst: 501 }, ..packet }
            }
            Traffic::Esp(spi) => PassPacket { traffic: Traffic::Ah(spi), ..packet },
            _ => packet,
        };
        let miss = shuffled(&absent, items, &mut rng);
        let miss = miss.iter().map(packet_of).map(other_port).collect();
        let mut strange = strange.into_iter().cycle();
        let packets = traces(hit, miss, || packet_of(&strange.next().expect("it starts again")));
        let held: Vec<_> = all.into_iter().map(|key| (key, 1)).collect();
        let ttl_ms = PassTimeouts::default().esp_ms;
        let (fast, sip) = (Map::full(&held, ttl_ms), Map::full(&held, ttl_ms));
        Self { firewall, flows, compiled, rules, fast, sip, packets }
    }
}

fn ask<S: BuildHasher + Default>(
    map: &mut Map<S>,
    rules: &[PassRule],
    packets: &[PassPacket],
    answers: &mut [u64],
) {
    let each = packets.iter().zip(answers);
    each.for_each(|(packet, answer)| *answer = number(plain(map, rules, packet)));
}

impl Field for Tunnels {
    fn has(&self, contender: Contender) -> bool {
        contender != Contender::Plain
    }

    fn items(&self) -> usize {
        self.packets[0].len()
    }

    fn pass(&mut self, contender: Contender, case: Case, part: Range<usize>, answers: &mut [u64]) {
        let Self { firewall, compiled, fast, sip, rules, .. } = self;
        let packets = &self.packets[case as usize][part];
        assert_eq!(packets.len(), answers.len());
        match contender {
            Contender::Espial(1) => {
                for (packet, answer) in packets.iter().zip(answers) {
                    *answer = number(firewall.check(compiled, packet, NOW_MS).verdict);
                }
            }
            Contender::Espial(burst) => {
                let mut own = vec![PassAnswer::default(); burst];
                in_bursts(packets, answers, burst, |packets, answers| {
                    firewall.check_burst(compiled, packets, NOW_MS, &mut own);
                    for (answer, own) in answers.iter_mut().zip(&own) {
                        *answer = number(own.verdict);
                    }
                });
            }
            Contender::Hashbrown => ask(fast, rules, packets, answers),
            Contender::HashbrownSip => ask(sip, rules, packets, answers),
            Contender::Plain => panic!("no plain loop over flows"),
        }
    }

    fn octets(&self, contender: Contender) -> usize {
        match contender {
            Contender::Hashbrown => self.fast.held.allocation_size(),
            Contender::HashbrownSip => self.sip.held.allocation_size(),
            _ => Passthrough::octets(self.flows).expect("it was made"),
        }
    }
}
