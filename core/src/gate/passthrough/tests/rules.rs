//! Rules: contexts, what is refused, and words that are damaged.

use super::*;

#[test]
fn accept_lets_the_next_context_decide_and_accept_decisively_does_not() {
    // A number for each context.
    let id = |context| RuleId(20 + context as u32);
    let rule = |context, action| PassRule { id: id(context), context, action, ..seed_rule(OUT500) };
    let by = |context| by(id(context));
    let verdict = |rules: &[PassRule], default| {
        let mut case = Case::of(rules, default, PassConfig::default(), 10);
        let answer = case.answer(ike(OUT));
        (answer.verdict, answer.context)
    };
    use Context::*;
    use RuleAction::*;
    let server = Some(VirtualServer);
    let rules = [rule(Global, Accept)];
    assert_eq!(verdict(&rules, Reject), (DEFAULT_REJECT, server));
    assert_eq!(verdict(&rules, Accept), (PassVerdict::Accept(DecidedBy::Default), server));
    let dropped = PassVerdict::Drop(PassDrop::Decided(DecidedBy::Default));
    assert_eq!(verdict(&rules, Drop), (dropped, server));
    let rules = [rule(Global, Accept), rule(VirtualServer, Accept)];
    assert_eq!(verdict(&rules, Reject), (by(VirtualServer), server));
    let rules = [rule(VirtualServer, Drop), rule(Global, AcceptDecisively)];
    assert_eq!(verdict(&rules, Reject), (by(Global), Some(Global)));
    let rules = [rule(Global, Accept), rule(RouteDomain, Reject), rule(VirtualServer, Accept)];
    let rejected = PassVerdict::Reject(DecidedBy::Rule(id(RouteDomain)));
    assert_eq!(verdict(&rules, Accept), (rejected, Some(RouteDomain)));
    // Within a context the first that covers the packet decides.
    let other = PassRule { id: IN500, ..rule(Global, Drop) };
    let rules = [other, rule(Global, AcceptDecisively)];
    let dropped = PassVerdict::Drop(PassDrop::Decided(DecidedBy::Rule(IN500)));
    assert_eq!(verdict(&rules, Accept), (dropped, Some(Global)));
}

#[test]
fn a_rule_that_is_wrong_in_itself_is_refused_and_named() {
    let good = seed_rule(OUT500);
    let fault = |rule| match compile_rules(&[good, rule], RuleAction::Reject) {
        Err(RulesError::Rule { place: 1, fault }) => Some(fault),
        _ => None,
    };
    assert_eq!(fault(PassRule { protocol: protocol::AH, ..good }), Some(RuleFault::PortsOfIpsec));
    let six = AddrRange::V6 { lo: 0, hi: 9 };
    assert_eq!(fault(PassRule { dst: six, ..good }), Some(RuleFault::Families));
    let reversed = PassRule { src: AddrRange::V4 { lo: 2, hi: 1 }, ..good };
    assert!(matches!(fault(reversed), Some(RuleFault::Selector(_))));
    let no_protocol = PassRule { protocol: 0, ..good };
    assert!(matches!(fault(no_protocol), Some(RuleFault::Selector(_))));
    assert_eq!(fault(PassRule { action: RuleAction::Drop, ..good }), Some(RuleFault::Mixed));
    assert_eq!(compile_rules(&[], RuleAction::AcceptDecisively), Err(RulesError::Default));
    let words = words_to_compile_rules(&[good]).unwrap();
    let mut memory = vec![0; words - 1];
    let small = compile_rules_into(&[good], RuleAction::Drop, &mut memory);
    assert_eq!(small, Err(RulesError::Setup(SetupError::MemoryTooSmall)));
}

#[test]
fn damaged_words_are_refused_or_still_rules() {
    let rules = [OUT500, OUT_ESP, IN_ESP].map(seed_rule);
    let words = compile_rules(&rules, RuleAction::Reject).unwrap();
    assert_eq!(PassRules::open(&words).unwrap().len(), 3);
    for count in 0..words.len() {
        assert!(PassRules::open(&words[..count]).is_err(), "{count} words");
    }
    let swapped: Vec<_> = words.iter().map(|word| word.swap_bytes()).collect();
    assert_eq!(PassRules::open(&swapped).unwrap_err(), OpenError::Magic);
    for place in 0..words.len() {
        for bit in 0..64 {
            let mut damaged = words.clone();
            damaged[place] ^= 1 << bit;
            if let Ok(rules) = PassRules::open(&damaged) {
                for packet in [ike(OUT), esp(OUT, 300), esp(BACK, 300), ah(OUT, 1)] {
                    let _ = rules.decide(&packet.headers());
                }
            }
        }
    }
    let open = |place: usize, word: u64| {
        let mut damaged = words.clone();
        damaged[place] = word;
        PassRules::open(&damaged).unwrap_err()
    };
    assert_eq!(open(0, words[0] ^ 3 << 32), OpenError::Format { found: 2 });
    assert_eq!(open(1, RuleAction::AcceptDecisively as u64), OpenError::Default);
    assert_eq!(open(8, 4), OpenError::Rule { context: Context::Global, place: 0 });
}

#[test]
fn no_rules_are_rules_too() {
    let mut case = Case::of(&[], RuleAction::Drop, PassConfig::default(), 10);
    let dropped = PassVerdict::Drop(PassDrop::Decided(DecidedBy::Default));
    assert_eq!(case.check(ike(OUT)), dropped);
    assert!(PassRules::open(&case.words).unwrap().is_empty());
}

/// The first rule of each context in the order written, as [`PassRules::decide`] says.
fn decide(rules: &[PassRule], default: RuleAction, packet: &PassPacket) -> Decision {
    for context in Context::ALL {
        let is_first = |rule: &&PassRule| rule.context == context && rule.covers(&packet.headers());
        let Some(rule) = rules.iter().find(is_first) else { continue };
        if rule.action != RuleAction::Accept || context == Context::VirtualServer {
            return Decision { action: rule.action, by: DecidedBy::Rule(rule.id), context };
        }
    }
    Decision { action: default, by: DecidedBy::Default, context: Context::VirtualServer }
}

#[test]
fn thousands_of_rules_decide_as_a_list_does() {
    let mut random = 7;
    let mut rule = |id| {
        let src = next(&mut random) % 64;
        let dst = next(&mut random) % 64;
        let (wide, action) = (next(&mut random) % 4, next(&mut random) as usize);
        let protocol = [0, 17, 50, 51][next(&mut random) as usize % 4];
        PassRule {
            id: RuleId(id),
            context: Context::ALL[id as usize % 3],
            action: RuleAction::ALL[action % 4],
            src: AddrRange::V4 { lo: src, hi: src + wide },
            dst: AddrRange::V4 { lo: dst, hi: dst + wide },
            protocol,
            src_ports: PortRange::ANY,
            dst_ports: if protocol == 17 { ports(500 * (id % 2) as u16) } else { PortRange::ANY },
        }
    };
    let rules: Vec<_> = (0..3000).map(&mut rule).collect();
    let words = compile_rules(&rules, RuleAction::Drop).unwrap();
    let opened = PassRules::open(&words).unwrap();
    assert_eq!((opened.len(), opened.default_action()), (3000, RuleAction::Drop));
    let mut contexts = BTreeSet::new();
    for n in 0..2000 {
        let endpoints = Endpoints::V4 { src: next(&mut random) % 70, dst: next(&mut random) % 70 };
        let packet = [ike(endpoints), udp(endpoints, 9, 0), esp(endpoints, n), ah(endpoints, n)];
        for packet in packet {
            let decision = opened.decide(&packet.headers());
            assert_eq!(decision, decide(&rules, RuleAction::Drop, &packet));
            contexts.insert((decision.context, decision.action));
        }
    }
    assert!(contexts.len() > 8, "{contexts:?}");
}
