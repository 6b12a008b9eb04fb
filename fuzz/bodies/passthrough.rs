//! A firewall in the middle beside a list of flows and a list of rules, in the words of seed 004: any rules
//! and settings, packets alone and in bursts, time, and tunnels that are deleted.

use espial::gate::flow::FlowKey;
use espial::gate::passthrough::{
    Context, DecidedBy, FlowKind, LookupSpi, Origin, PassAnswer, PassConfig, PassDrop, PassPacket,
    PassRule, PassRules, PassTimeouts, PassVerdict, Passthrough, RuleAction, RuleId, TeardownKind,
    Traffic, VirtualServer, compile_rules,
};
use espial::headers::{Endpoints, Spi};
use espial::selector::{AddrRange, PortRange};

use crate::bodies::Choices;
use crate::clock::Clock;

const TIMEOUTS: PassTimeouts =
    PassTimeouts { ike_ms: 1000, nat_t_ms: 600, esp_ms: 400, ah_ms: 600, other_ms: 400 };

struct Flow {
    key: FlowKey,
    origin: Origin,
    last_ms: u64,
}

struct Twin {
    flows: Vec<Flow>,
    config: PassConfig,
    rules: Vec<PassRule>,
    default: RuleAction,
    capacity: usize,
    clock: Clock,
    /// By [`TeardownKind`].
    teardowns: [u64; 3],
}

impl Twin {
    fn expire(&mut self) {
        let at = self.clock.tick();
        let over =
            |flow: &Flow| at - flow.last_ms > u64::from(TIMEOUTS.of(FlowKind::of(&flow.key)));
        self.end(over);
    }

    /// Flows that end, and are told if the ALG had a part in them.
    fn end(&mut self, which: impl Fn(&Flow) -> bool) -> usize {
        let flows = std::mem::take(&mut self.flows);
        let (gone, left): (Vec<_>, Vec<_>) = flows.into_iter().partition(which);
        self.flows = left;
        let has_alg = self.config.server.has_alg();
        for flow in gone.iter().filter(|_| has_alg) {
            let of_alg =
                flow.origin == Origin::Alg && (flow.key.src_port, flow.key.dst_port) == (0, 0);
            let kind = match FlowKind::of(&flow.key) {
                FlowKind::Ike => Some(TeardownKind::Ike),
                FlowKind::Ah if of_alg => Some(TeardownKind::Ah),
                FlowKind::Esp if of_alg => Some(TeardownKind::Esp),
                _ => None,
            };
            kind.into_iter().for_each(|kind| self.teardowns[kind as usize] += 1);
        }
        gone.len()
    }

    fn at(&self, key: &FlowKey) -> Option<usize> {
        self.flows.iter().position(|flow| flow.key == *key)
    }

    fn make(&mut self, key: FlowKey, origin: Origin) -> bool {
        let has_room = self.flows.len() < self.capacity;
        if has_room {
            self.flows.push(Flow { key, origin, last_ms: self.clock.read() });
        }
        has_room
    }

    /// E2: as long as IKE on 500 goes on the hosts have a flow for AH and one for ESP.
    fn ike_was_seen(&mut self, ike: FlowKey) {
        if !self.config.server.has_alg() || FlowKind::of(&ike) != FlowKind::Ike {
            return;
        }
        let now = self.clock.read();
        for protocol in [51, 50] {
            let any = FlowKey { protocol, src_port: 0, dst_port: 0, ..ike };
            let of_hosts = |flow: &Flow| flow.key == any || flow.key == any.reversed();
            let mut of_hosts_now = self.flows.iter_mut().filter(|flow| of_hosts(flow));
            if let Some(own) = of_hosts_now.find(|flow| flow.origin == Origin::Alg) {
                own.last_ms = now;
                continue;
            }
            self.flows.retain(|flow| !of_hosts(flow));
            self.make(any, Origin::Alg);
        }
    }

    fn decide(&self, packet: &PassPacket) -> (RuleAction, DecidedBy) {
        for context in Context::ALL {
            let covers =
                |rule: &&PassRule| rule.context == context && rule.covers(&packet.headers());
            match self.rules.iter().find(covers) {
                Some(PassRule { action: RuleAction::Accept, .. })
                    if context != Context::VirtualServer => {}
                Some(rule) => return (rule.action, DecidedBy::Rule(rule.id)),
                None => {}
            }
        }
        (self.default, DecidedBy::Default)
    }

    fn check(&mut self, packet: &PassPacket) -> PassVerdict {
        let by_spi = self.config.lookupspi == LookupSpi::On;
        let has_alg = self.config.server.has_alg();
        let key = match packet.key(self.config.lookupspi) {
            Ok(key) => key,
            Err(why) => return PassVerdict::Drop(why),
        };
        let is_ipsec = FlowKind::of(&key).is_ipsec();
        let mut found = self.at(&key);
        if found.is_none() && !(is_ipsec && by_spi) {
            found = self.at(&key.reversed());
            let of_alg = found.is_some_and(|at| self.flows[at].origin == Origin::Alg);
            if is_ipsec && of_alg && has_alg {
                return PassVerdict::Drop(PassDrop::AlgNeedsLookupSpi);
            }
        }
        if let Some(at) = found {
            self.flows[at].last_ms = self.clock.read();
            let Flow { key, origin, .. } = self.flows[at];
            self.ike_was_seen(key);
            return match origin {
                Origin::Alg => PassVerdict::AcceptAlg,
                Origin::Decided(_) => PassVerdict::AcceptFlow,
            };
        }
        if has_alg && is_ipsec && by_spi {
            let any = FlowKey { src_port: 0, dst_port: 0, ..key };
            if let Some(parent) = self.at(&any).or_else(|| self.at(&any.reversed())) {
                if !self.make(key, Origin::Alg) {
                    return PassVerdict::Drop(PassDrop::TableFull);
                }
                self.flows[parent].last_ms = self.clock.read();
                return PassVerdict::AcceptAlg;
            }
        }
        match self.decide(packet) {
            (RuleAction::Drop, by) => PassVerdict::Drop(PassDrop::Decided(by)),
            (RuleAction::Reject, by) => PassVerdict::Reject(by),
            (_, by) if self.make(key, Origin::Decided(by)) => {
                self.ike_was_seen(key);
                PassVerdict::Accept(by)
            }
            _ => PassVerdict::Drop(PassDrop::TableFull),
        }
    }
}

fn endpoints(choices: &mut Choices<'_>) -> Endpoints {
    let (src, dst) = (choices.below(4) as u8, choices.below(4) as u8);
    match choices.below(4) {
        0 => Endpoints::V6 { src: src.into(), dst: dst.into() },
        _ => Endpoints::V4 { src: src.into(), dst: dst.into() },
    }
}

fn packet(choices: &mut Choices<'_>) -> PassPacket {
    let endpoints = endpoints(choices);
    let spi = |choices: &mut Choices<'_>| Spi([0, 300, 300 << 16, 1 << 16 | 2][choices.below(4)]);
    let port = |choices: &mut Choices<'_>| [500, 500, 4500, 53][choices.below(4)];
    let traffic = match choices.below(16) {
        0..6 => Traffic::Esp(spi(choices)),
        6..9 => Traffic::Ah(spi(choices)),
        9..15 => Traffic::Udp { src: port(choices), dst: port(choices) },
        _ => Traffic::Fragment([17, 50, 51][choices.below(3)]),
    };
    PassPacket { endpoints, traffic }
}

fn rule(choices: &mut Choices<'_>, id: u32) -> PassRule {
    let v6 = choices.below(4) == 0;
    let mut range = || {
        let (a, b) = (choices.below(4) as u8, choices.below(4) as u8);
        match v6 {
            true => AddrRange::V6 { lo: a.min(b).into(), hi: a.max(b).into() },
            false => AddrRange::V4 { lo: a.min(b).into(), hi: a.max(b).into() },
        }
    };
    let (src, dst) = (range(), range());
    let protocol = [0, 17, 17, 50, 50, 51][choices.below(6)];
    let port = [500, 4500][choices.below(2)];
    let has_ports = protocol == 17 && choices.below(2) == 0;
    PassRule {
        id: RuleId(id),
        context: Context::ALL[choices.below(3)],
        action: RuleAction::ALL[choices.below(RuleAction::ALL.len())],
        src,
        dst,
        protocol,
        src_ports: PortRange::ANY,
        dst_ports: match has_ports {
            true => PortRange::new(port, port).expect("a port"),
            false => PortRange::ANY,
        },
    }
}

pub fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let config = PassConfig {
        lookupspi: [LookupSpi::On, LookupSpi::Off][choices.below(2)],
        server: [VirtualServer::FastL4, VirtualServer::StandardWithAlg][choices.below(2)],
        timeouts: TIMEOUTS,
    };
    let default = [RuleAction::Accept, RuleAction::Drop, RuleAction::Reject][choices.below(3)];
    let rules: Vec<_> = (0..choices.below(7)).map(|id| rule(&mut choices, id as u32)).collect();
    let capacity = [3, 8, 14][choices.below(3)];
    let words = compile_rules(&rules, default).expect("rules that are right");
    let compiled = PassRules::open(&words).expect("words as compiled");
    let seed = [u64::from(choices.octet()), 3];
    let mut firewall = Passthrough::new(capacity, seed, config).expect("a small table");
    let mut twin = Twin {
        flows: Vec::new(),
        config,
        rules,
        default,
        capacity: capacity as usize,
        clock: Clock::new(),
        teardowns: [0; 3],
    };
    let mut told = [0; 3];
    while !choices.done() {
        twin.clock.step(&mut choices);
        let now_ms = twin.clock.now_ms;
        let slots = firewall.slots();
        firewall.expire(now_ms, slots);
        twin.expire();
        match choices.below(8) {
            0 => {
                let endpoints = endpoints(&mut choices);
                let deleted = firewall.delete_between(endpoints, now_ms);
                let of_hosts = |flow: &Flow| {
                    let of = flow.key.endpoints;
                    of == endpoints || of == endpoints.reversed()
                };
                assert_eq!(deleted as usize, twin.end(of_hosts));
            }
            1 => {
                let packets: Vec<_> =
                    (0..choices.below(40)).map(|_| packet(&mut choices)).collect();
                let mut answers = vec![PassAnswer::default(); packets.len()];
                firewall.check_burst(&compiled, &packets, now_ms, &mut answers);
                let verdicts: Vec<_> = answers.iter().map(|answer| answer.verdict).collect();
                let expected: Vec<_> = packets.iter().map(|packet| twin.check(packet)).collect();
                assert_eq!(verdicts, expected, "{packets:?}");
            }
            _ => {
                let packet = packet(&mut choices);
                let answer = firewall.check(&compiled, &packet, now_ms);
                assert_eq!(answer.verdict, twin.check(&packet), "{packet:?}");
            }
        }
        let at = twin.clock.read();
        let mut flows: Vec<_> = firewall.flows(now_ms).collect();
        assert_eq!(flows.len(), twin.flows.len());
        for own in &twin.flows {
            let nth = flows.iter().position(|flow| flow.key == own.key).expect("a flow");
            let flow = flows.swap_remove(nth);
            assert_eq!((flow.origin, flow.idle_ms), (own.origin, at - own.last_ms));
        }
        assert_eq!(firewall.counts().teardowns, twin.teardowns);
        while let Some(event) = firewall.next_teardown() {
            told[event.kind as usize] += 1 + u64::from(event.suppressed);
        }
        // Drained each time, and no time ends more than the queue holds: none is lost.
        assert_eq!(told, twin.teardowns);
    }
}
