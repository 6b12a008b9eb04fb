//! The rules that a configuration needs, against the firewall itself.

use super::*;
use crate::headers::Ipsec;

#[test]
fn e2_needed_rules_are_enough_and_none_can_be_left_out() {
    for (lookupspi, server) in SETTINGS {
        for initiator in [Initiator::Inside, Initiator::Outside, Initiator::Either] {
            for nat_t in [NatTraversal::Never, NatTraversal::Always, NatTraversal::Possible] {
                for ipsec in [Ipsec::Esp, Ipsec::Ah] {
                    if ipsec == Ipsec::Ah && nat_t == NatTraversal::Always {
                        continue;
                    }
                    let needed = rules_needed(&NeededConfig {
                        lookupspi,
                        server,
                        translate_address: true,
                        initiator,
                        inside: host(INSIDE),
                        outside: host(OUTSIDE),
                        ipsec,
                        nat_t,
                    });
                    let rules: Vec<_> = (0..)
                        .zip(&needed.rules)
                        .map(|(id, rule)| rule.rule(RuleId(id), Context::Global))
                        .collect();
                    let works = |rules: &[PassRule]| {
                        let config = PassConfig { lookupspi, server, ..PassConfig::default() };
                        scenarios(initiator, nat_t, ipsec).into_iter().all(|packets| {
                            let mut case = Case::of(rules, RuleAction::Reject, config, 100);
                            packets.into_iter().all(|packet| case.check(packet).is_accept())
                        })
                    };
                    let outcome =
                        if works(&rules) { Outcome::Works } else { Outcome::ReturnDropped };
                    assert_eq!(needed.outcome, outcome, "{lookupspi:?} {server:?} {nat_t:?}");
                    if outcome == Outcome::ReturnDropped {
                        // Every rule there is does not help either.
                        let all = |src, dst| PassRule {
                            src: host(src),
                            dst: host(dst),
                            protocol: 0,
                            dst_ports: PortRange::ANY,
                            ..seed_rule(OUT500)
                        };
                        assert!(!works(&[all(INSIDE, OUTSIDE), all(OUTSIDE, INSIDE)]));
                        continue;
                    }
                    for left_out in 0..rules.len() {
                        let mut fewer = rules.clone();
                        fewer.remove(left_out);
                        assert!(!works(&fewer), "{} is not needed", needed.rules[left_out]);
                    }
                }
            }
        }
    }
}

/// What passes when each peer that may start does so, and the network is as it may be.
fn scenarios(initiator: Initiator, nat_t: NatTraversal, ipsec: Ipsec) -> Vec<Vec<PassPacket>> {
    let starts: &[(Endpoints, Endpoints)] = match initiator {
        Initiator::Inside => &[(OUT, BACK)],
        Initiator::Outside => &[(BACK, OUT)],
        Initiator::Either => &[(OUT, BACK), (BACK, OUT)],
    };
    let mut all = Vec::new();
    for &(start, answer) in starts {
        let begin = vec![ike(start), ike(answer)];
        let traffic = |endpoints, spi| match ipsec {
            Ipsec::Esp => esp(endpoints, spi),
            Ipsec::Ah => ah(endpoints, spi),
        };
        if nat_t != NatTraversal::Always {
            let native = [traffic(start, 1000), traffic(answer, 2000)];
            all.push([begin.clone(), native.to_vec()].concat());
        }
        if nat_t != NatTraversal::Never {
            let moved = [udp(start, 4500, 4500), udp(answer, 4500, 4500)];
            all.push([begin, moved.to_vec()].concat());
        }
    }
    all
}

#[test]
fn e4_either_side_may_start_with_two_virtual_servers_and_udp_4500_takes_one_more() {
    let servers = |server, translate_address, initiator, nat_t| {
        rules_needed(&NeededConfig {
            lookupspi: LookupSpi::On,
            server,
            translate_address,
            initiator,
            inside: host(INSIDE),
            outside: host(OUTSIDE),
            ipsec: Ipsec::Esp,
            nat_t,
        })
        .virtual_servers
    };
    let alg = VirtualServer::StandardWithAlg;
    assert_eq!(servers(alg, true, Initiator::Either, NatTraversal::Never), 2);
    assert_eq!(servers(alg, false, Initiator::Either, NatTraversal::Never), 1);
    assert_eq!(servers(alg, true, Initiator::Inside, NatTraversal::Never), 1);
    assert_eq!(servers(alg, true, Initiator::Either, NatTraversal::Possible), 3);
    let fast = VirtualServer::FastL4;
    assert_eq!(servers(fast, true, Initiator::Either, NatTraversal::Possible), 1);
}
