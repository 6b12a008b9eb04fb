//! The naive twin: a list of flows and a list of rules, in the words of seed 004.

use super::*;

struct TwinFlow {
    key: FlowKey,
    origin: Origin,
    last_ms: u64,
}

struct Twin {
    config: PassConfig,
    rules: Vec<PassRule>,
    default: RuleAction,
    flows: Vec<TwinFlow>,
    capacity: usize,
    teardowns: [u64; 3],
}

impl Twin {
    fn expire(&mut self, now_ms: u64) {
        let timeouts = self.config.timeouts;
        let over = |flow: &TwinFlow| {
            now_ms - flow.last_ms > u64::from(timeouts.of(FlowKind::of(&flow.key)))
        };
        let (gone, live): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.flows).into_iter().partition(over);
        self.flows = live;
        gone.iter().for_each(|flow| self.tear_down(flow));
    }

    fn tear_down(&mut self, flow: &TwinFlow) {
        let is_any = (flow.key.src_port, flow.key.dst_port) == (0, 0);
        let of_alg = flow.origin == Origin::Alg && is_any;
        if !self.config.server.has_alg() {
            return;
        }
        match FlowKind::of(&flow.key) {
            FlowKind::Ah if of_alg => self.teardowns[0] += 1,
            FlowKind::Ike => self.teardowns[1] += 1,
            FlowKind::Esp if of_alg => self.teardowns[2] += 1,
            _ => {}
        }
    }

    fn at(&self, key: &FlowKey) -> Option<usize> {
        self.flows.iter().position(|flow| flow.key == *key)
    }

    fn make(&mut self, key: FlowKey, origin: Origin, now_ms: u64) -> bool {
        let has_room = self.flows.len() < self.capacity;
        if has_room {
            self.flows.push(TwinFlow { key, origin, last_ms: now_ms });
        }
        has_room
    }

    /// E2: when IKE on 500 is seen, the ALG makes a flow for AH and one for ESP.
    fn alg(&mut self, ike: FlowKey, now_ms: u64) {
        if !self.config.server.has_alg()
            || ike.dst_port != 500
            || ike.src_port == 4500
            || ike.protocol != 17
        {
            return;
        }
        for protocol in [51, 50] {
            let any = FlowKey { protocol, src_port: 0, dst_port: 0, ..ike };
            let of_hosts = |flow: &&mut TwinFlow| flow.key == any || flow.key == any.reversed();
            let mut of_hosts: Vec<_> = self.flows.iter_mut().filter(of_hosts).collect();
            if let Some(own) = of_hosts.iter_mut().find(|flow| flow.origin == Origin::Alg) {
                own.last_ms = now_ms;
                continue;
            }
            self.flows.retain(|flow| flow.key != any && flow.key != any.reversed());
            self.make(any, Origin::Alg, now_ms);
        }
    }

    fn rule(&self, packet: &PassPacket) -> (RuleAction, DecidedBy) {
        for context in Context::ALL {
            let mut of_context = self.rules.iter().filter(|rule| rule.context == context);
            let first = of_context.find(|rule| rule.covers(&packet.headers()));
            match first.map(|rule| (rule.action, rule.id)) {
                Some((RuleAction::Accept, _)) if context != Context::VirtualServer => {}
                Some((action, id)) => return (action, DecidedBy::Rule(id)),
                None => {}
            }
        }
        (self.default, DecidedBy::Default)
    }

    fn check(&mut self, packet: &PassPacket, now_ms: u64) -> PassVerdict {
        self.expire(now_ms);
        let by_spi = self.config.lookupspi == LookupSpi::On;
        let (protocol, src_port, dst_port) = match packet.traffic {
            Traffic::Udp { src, dst } => (17, src, dst),
            Traffic::Fragment(protocol @ (50 | 51)) if !by_spi => (protocol, 0, 0),
            Traffic::Fragment(_) => return PassVerdict::Drop(PassDrop::Fragment),
            Traffic::Esp(Spi(0)) | Traffic::Ah(Spi(0)) if by_spi => {
                return PassVerdict::Drop(PassDrop::SpiZero);
            }
            Traffic::Esp(Spi(spi)) if by_spi => (50, (spi / 65536) as u16, (spi % 65536) as u16),
            Traffic::Ah(Spi(spi)) if by_spi => (51, (spi / 65536) as u16, (spi % 65536) as u16),
            Traffic::Esp(_) => (50, 0, 0),
            Traffic::Ah(_) => (51, 0, 0),
        };
        let key = FlowKey { endpoints: packet.endpoints, protocol, src_port, dst_port };
        let is_ipsec = protocol != 17;
        let has_alg = self.config.server.has_alg();

        let mut flow = self.at(&key);
        if flow.is_none() && !(is_ipsec && by_spi) {
            flow = self.at(&key.reversed());
            let of_alg = flow.is_some_and(|at| self.flows[at].origin == Origin::Alg);
            if is_ipsec && of_alg {
                return PassVerdict::Drop(PassDrop::AlgNeedsLookupSpi);
            }
        }
        if let Some(at) = flow {
            self.flows[at].last_ms = now_ms;
            let TwinFlow { key, origin, .. } = self.flows[at];
            self.alg(key, now_ms);
            return if origin == Origin::Alg { ALG } else { FLOW };
        }
        if has_alg && is_ipsec && by_spi {
            let any = FlowKey { src_port: 0, dst_port: 0, ..key };
            if let Some(parent) = self.at(&any).or_else(|| self.at(&any.reversed())) {
                if !self.make(key, Origin::Alg, now_ms) {
                    return PassVerdict::Drop(PassDrop::TableFull);
                }
                self.flows[parent].last_ms = now_ms;
                return ALG;
            }
        }
        match self.rule(packet) {
            (RuleAction::Drop, by) => PassVerdict::Drop(PassDrop::Decided(by)),
            (RuleAction::Reject, by) => PassVerdict::Reject(by),
            (_, by) if self.make(key, Origin::Decided(by), now_ms) => {
                self.alg(key, now_ms);
                PassVerdict::Accept(by)
            }
            _ => PassVerdict::Drop(PassDrop::TableFull),
        }
    }
}

/// A small universe, so that packets meet.
fn hosts(six: bool) -> impl Strategy<Value = Endpoints> {
    (0..4_u8, 0..4_u8).prop_map(move |(src, dst)| {
        if six {
            Endpoints::V6 { src: (1 << 127) + u128::from(src), dst: (1 << 127) + u128::from(dst) }
        } else {
            Endpoints::V4 { src: src.into(), dst: dst.into() }
        }
    })
}

fn packets() -> impl Strategy<Value = PassPacket> {
    let spi = || select(&[0, 300, 300 << 16, 1 << 16 | 2, 2 << 16 | 1]).prop_map(Spi);
    let port = || select(&[500_u16, 500, 500, 4500, 53]);
    let traffic = prop_oneof![
        4 => spi().prop_map(Traffic::Esp),
        2 => spi().prop_map(Traffic::Ah),
        4 => (port(), port()).prop_map(|(src, dst)| Traffic::Udp { src, dst }),
        1 => select(&[17, 50, 51]).prop_map(Traffic::Fragment),
    ];
    let endpoints = prop_oneof![4 => hosts(false), 1 => hosts(true)];
    (endpoints, traffic).prop_map(|(endpoints, traffic)| PassPacket { endpoints, traffic })
}

fn rules() -> impl Strategy<Value = Vec<PassRule>> {
    let addrs = |six: bool| {
        (0..4_u8, 0..4_u8).prop_map(move |(a, b)| {
            let (lo, hi) = (a.min(b), a.max(b));
            if six {
                let at = |n| (1 << 127) + u128::from(n);
                AddrRange::V6 { lo: at(lo), hi: at(hi) }
            } else {
                AddrRange::V4 { lo: lo.into(), hi: hi.into() }
            }
        })
    };
    let one = prop_oneof![4 => Just(false), 1 => Just(true)].prop_flat_map(move |six| {
        let protocols = select(&[0_u8, 17, 17, 50, 50, 51]);
        let some_ports = prop_oneof![3 => Just(500_u16), 1 => Just(4500), 1 => Just(0)];
        let context = select(&[
            Context::Global,
            Context::Global,
            Context::RouteDomain,
            Context::VirtualServer,
        ]);
        let action =
            prop_oneof![2 => select(&RuleAction::ALL), 3 => Just(RuleAction::AcceptDecisively)];
        (addrs(six), addrs(six), protocols, some_ports, context, action)
    });
    prop::collection::vec(one, 0..8).prop_map(|all| {
        let rule = |(id, (src, dst, protocol, port, context, action)): (u32, _)| PassRule {
            id: RuleId(id),
            context,
            action,
            src,
            dst,
            protocol,
            src_ports: PortRange::ANY,
            dst_ports: if protocol == 17 && port != 0 { ports(port) } else { PortRange::ANY },
        };
        (0..).zip(all).map(rule).collect()
    })
}

/// Operations that one packet may take, by [`Passthrough::check`].
const OPERATIONS: u32 = 11;
const OPERATIONS_IPSEC: u32 = 5;

proptest! {
    #[test]
    fn e1_to_e5_any_packets_and_times_meet_the_same_as_on_plain_lists(
        setting in select(&SETTINGS),
        rules in rules(),
        default in select(&[RuleAction::Accept, RuleAction::Drop, RuleAction::Reject]),
        small in select(&[0_u32, 3, 8, 14]),
        steps in prop::collection::vec(
            (select(&[0_u64, 0, 0, 1, 39, 40, 41, 59, 60, 61, 100, 500]), packets(), 0..40_u32),
            1..120,
        ),
    ) {
        let (lookupspi, server) = setting;
        let timeouts =
            PassTimeouts { ike_ms: 100, nat_t_ms: 60, esp_ms: 40, ah_ms: 60, other_ms: 40 };
        let config = PassConfig { lookupspi, server, timeouts };
        let capacity = if small == 0 { 1000 } else { small };
        let mut case = Case::of(&rules, default, config, capacity);
        let mut twin = Twin {
            config, rules, default, flows: Vec::new(), capacity: capacity as usize, teardowns: [0; 3],
        };
        for (step_ms, packet, budget) in steps {
            case.now_ms += step_ms;
            // A full table may not see what has ended elsewhere; then the twin would.
            let budget = if small == 0 { budget } else { case.firewall.slots() };
            let _ = case.firewall.expire(case.now_ms, budget);
            case.firewall.asked = 0;
            let answer = case.answer(packet);
            prop_assert_eq!(answer.verdict, twin.check(&packet, case.now_ms));
            let is_ipsec = answer.key.is_some_and(|key| FlowKind::of(&key).is_ipsec());
            let bound = if is_ipsec { OPERATIONS_IPSEC } else { OPERATIONS };
            prop_assert!(case.firewall.asked <= bound, "{} operations", case.firewall.asked);

            let mut flows: Vec<_> = case.firewall.flows(case.now_ms).collect();
            prop_assert_eq!(flows.len(), twin.flows.len());
            for own in &twin.flows {
                let at = flows.iter().position(|flow| flow.key == own.key);
                let flow = flows.swap_remove(at.expect("a flow of the twin"));
                prop_assert_eq!(flow.origin, own.origin);
                prop_assert_eq!(flow.idle_ms, case.now_ms - own.last_ms);
            }
        }
        case.now_ms += 1000;
        let _ = case.firewall.expire(case.now_ms, case.firewall.slots());
        twin.expire(case.now_ms);
        prop_assert_eq!(case.firewall.counts().teardowns, twin.teardowns);
    }
    #[test]
    fn bursts_and_workers_answer_as_one_packet_after_the_other_on_one_table(
        setting in select(&SETTINGS),
        rules in rules(),
        steps in prop::collection::vec(
            (select(&[0_u64, 1, 39, 41, 61, 500]), prop::collection::vec(packets(), 0..50)),
            1..8,
        ),
    ) {
        let (lookupspi, server) = setting;
        let timeouts =
            PassTimeouts { ike_ms: 100, nat_t_ms: 60, esp_ms: 40, ah_ms: 60, other_ms: 40 };
        let config = PassConfig { lookupspi, server, timeouts };
        let case = || Case::of(&rules, RuleAction::Reject, config, 1000);
        let (mut one, mut burst) = (case(), case());
        let mut workers = [case(), case(), case()];
        let words = one.words.clone();
        let rules = PassRules::open(&words).unwrap();
        let spread = Spread::new([1, 2]);
        let nothing = PassAnswer::default();
        for (step_ms, packets) in steps {
            one.now_ms += step_ms;
            let mut answers = vec![nothing; packets.len() + 1];
            let count = burst.firewall.check_burst(&rules, &packets, one.now_ms, &mut answers);
            prop_assert_eq!((count, answers.pop()), (packets.len(), Some(nothing)));
            for (packet, in_burst) in packets.iter().zip(answers) {
                let alone = one.answer(*packet);
                prop_assert_eq!(in_burst, alone);
                let worker = spread.worker(packet, &config, 3.try_into().unwrap());
                let worker = &mut workers[worker as usize].firewall;
                prop_assert_eq!(worker.check(&rules, packet, one.now_ms), alone);
            }
            prop_assert_eq!(burst.firewall.counts(), one.firewall.counts());
        }
    }
}
