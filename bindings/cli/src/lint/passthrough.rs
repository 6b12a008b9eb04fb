//! Rules about IPsec of others that passes through: rules that are missing, and such as never match.

use std::collections::BTreeSet;

use espial::analysis::{Limits, Why, hidden};
use espial::gate::passthrough::{
    Context, DecidedBy, NeededRule, Outcome, PassPacket, PassRules, Service, Traffic, rules_needed,
};
use espial::headers::{Endpoints, Spi};
use espial::wire::{IKE_PORT, NAT_T_PORT};

use super::gate::ends;
use super::{Code, Finding, Place, Scene, Severity};
use crate::config::passthrough::{PassthroughConfig, RuleConfig};

fn at_rule(rule: &RuleConfig) -> Place<'_> {
    Place { rule: Some(&rule.name), ..Place::section("passthrough", rule.line) }
}

/// Tunnels that are to pass and cannot: a rule is missing, or none would help (E1, E2).
///
/// Rules are asked about the first and the last addresses of the peers: what is found is so, between them
/// more may be wrong.
pub(super) fn missing<'c>(scene: &Scene<'c>, found: &mut Vec<Finding<'c>>) {
    let Some(config) = &scene.config.gate.passthrough else { return };
    let Ok(rules) = PassRules::open(&config.words) else { return };
    for tunnel in &config.tunnels {
        let at = Place { name: Some(&tunnel.name), ..Place::section("passthrough", tunnel.line) };
        for needed in tunnel.needed.iter().map(rules_needed) {
            for rule in &needed.rules {
                if let Some(denied) = denied(&rules, rule) {
                    let message = format!("{}: {}", rule, why(config, &rules, rule, &denied));
                    found.push(Finding::new(Code::RuleMissing, Severity::Warning, at, message));
                }
            }
            if needed.outcome == Outcome::ReturnDropped {
                let message = "its tunnel comes up, but ESP and AH of the peer that did not start are dropped, \
                               whatever the rules are: the ALG relies on lookupspi";
                let code = Code::AlgWithoutLookupSpi;
                found.push(Finding::new(code, Severity::Error, at, message));
            }
        }
    }
}

/// A packet of a needed rule that the rules do not admit.
fn denied(rules: &PassRules<'_>, rule: &NeededRule) -> Option<PassPacket> {
    let pairs = ends(rule.src).into_iter().flat_map(|src| ends(rule.dst).map(|dst| (src, dst)));
    let packets = pairs.filter_map(|(src, dst)| {
        let port = |port| Traffic::Udp { src: port, dst: port };
        let traffic = match rule.service {
            Service::Ike => port(IKE_PORT),
            Service::NatT => port(NAT_T_PORT),
            // Rules do not look at SPIs.
            Service::Esp => Traffic::Esp(Spi(u32::MAX)),
            Service::Ah => Traffic::Ah(Spi(u32::MAX)),
        };
        Some(PassPacket { endpoints: Endpoints::new(src, dst)?, traffic })
    });
    let mut packets = packets;
    packets.find(|packet| !is_admitted(rules, packet))
}

fn is_admitted(rules: &PassRules<'_>, packet: &PassPacket) -> bool {
    use espial::gate::passthrough::RuleAction::{Accept, AcceptDecisively};
    matches!(rules.decide(&packet.headers()).action, Accept | AcceptDecisively)
}

fn why(
    config: &PassthroughConfig,
    rules: &PassRules<'_>,
    rule: &NeededRule,
    denied: &PassPacket,
) -> String {
    let decision = rules.decide(&denied.headers());
    let (src, dst) = (denied.endpoints.src(), denied.endpoints.dst());
    let what = match rule.service {
        Service::Ike => "IKE",
        Service::NatT => "UDP 4500",
        Service::Esp => "ESP",
        Service::Ah => "AH",
    };
    let action = decision.action.name();
    match decision.by {
        DecidedBy::Rule(id) => {
            let name = config.rule(id).unwrap_or("?");
            format!("rule {name} says {action} of {what} from {src} to {dst}")
        }
        DecidedBy::Default => {
            format!("no rule admits {what} from {src} to {dst}: the default says {action}")
        }
    }
}

/// Rules that no packet meets first in their context.
pub(super) fn hidden_rules<'c>(scene: &Scene<'c>, found: &mut Vec<Finding<'c>>) {
    let Some(config) = &scene.config.gate.passthrough else { return };
    for context in Context::ALL {
        let (mut boxes, mut owners) = (Vec::new(), Vec::new());
        for (place, rule) in config.rules.iter().enumerate() {
            for one in rule.boxes.iter().filter(|one| one.context == context) {
                boxes.push(one.selector());
                owners.push(place);
            }
        }
        let owner = |at: usize| owners.get(at).copied();
        let all = hidden(&boxes, &Limits::USUAL);
        let is_sure =
            |at: usize| all.iter().any(|one| one.index == at && one.why != Why::Undecided);
        let places: BTreeSet<usize> = owners.iter().copied().collect();
        for place in places {
            let own = owners.iter().enumerate().filter(|(_, of)| **of == place);
            if !own.clone().all(|(at, _)| is_sure(at)) {
                continue;
            }
            let mut by: BTreeSet<usize> = BTreeSet::new();
            for one in all.iter().filter(|one| owner(one.index) == Some(place)) {
                match &one.why {
                    Why::Shadowed { by: one } => by.extend(owner(*one)),
                    Why::Unreachable { by: some } => {
                        by.extend(some.iter().filter_map(|at| owner(*at)))
                    }
                    _ => {}
                }
            }
            by.remove(&place);
            let rules: Vec<_> = by.iter().filter_map(|place| config.rules.get(*place)).collect();
            let names: Vec<_> = rules.iter().map(|rule| rule.name.as_str()).collect();
            let message = match names.is_empty() {
                true => "no packet can match it".to_owned(),
                false => {
                    format!("{} before it cover all of it: it never matches", names.join(", "))
                }
            };
            let Some(rule) = config.rules.get(place) else { continue };
            let related = rules.iter().map(|rule| at_rule(rule));
            let finding = Finding::new(Code::RuleHidden, Severity::Warning, at_rule(rule), message);
            found.push(finding.with(related));
        }
    }
}
