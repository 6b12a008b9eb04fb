//! Rules about what is addressed to the gateway: local-in policy, the reply path, security policies.

use espial::analysis::Limits;
use espial::gate::local_in::{Action, Admits, Answer, By, HiddenWhy, IKE, PolicyId, Service};
use espial::headers::{Endpoints, Fragment, InnerHeaders, NextLayer, protocol};
use espial::preset::{FortiOs, TcpReply};
use espial::selector::AddrRange;
use espial::spd::{DecorrelateError, PolicyList, Spd};
use espial::wire::IKE_PORT;

use super::{Code, Finding, Place, Scene, Severity};
use crate::check::health;
use crate::config::TunnelConfig;
use crate::config::gate::InterfaceConfig;
use crate::config::local_in::LocalInConfig;
use crate::config::reply_path::ReplyKind;

/// Entries that policies are taken apart into to find those that are never met.
const ENTRIES_MAX: usize = 1 << 16;

/// A local-in policy.
fn at_local_in<'c>(config: &LocalInConfig, id: PolicyId) -> Place<'c> {
    let line = config.line_of(id).unwrap_or(0);
    Place { local_in: Some(id.0), ..Place::section("local-in", line) }
}

/// Tunnels whose peer cannot start IKE: they live as long as the gateway spoke last (C5, C6).
pub(super) fn ike_not_admitted<'c>(scene: &Scene<'c>, found: &mut Vec<Finding<'c>>) {
    let gate = &scene.config.gate;
    let Some(local_in) = &gate.local_in else { return };
    let tcp = gate.ike_tcp_port.map(Service::tcp);
    for tunnel in &scene.config.tunnels {
        let Some(endpoints) = health::endpoints(scene.config, tunnel, None) else { continue };
        let (peer, own) = (endpoints.src(), endpoints.dst());
        let outside = || (0..).zip(&gate.interfaces).filter(|(_, one)| !one.protected);
        let interfaces: Vec<u32> = match tunnel.interface {
            Some(interface) => vec![interface],
            None if gate.interfaces.is_empty() => vec![health::NOWHERE],
            None => outside().map(|(number, _)| number).collect(),
        };
        let mut deniers: Vec<Answer> = Vec::new();
        let mut admitted = false;
        for interface in interfaces {
            for service in IKE.into_iter().chain(tcp) {
                let Some(wanted) = service.selector(peer.into(), own.into()) else { continue };
                let schedules = local_in.schedules;
                let deciders =
                    local_in.list.deciders(&wanted, interface, schedules, &Limits::USUAL);
                // What is not known for certain is no finding.
                let Ok(deciders) = deciders else { return };
                admitted |= deciders.admits() != Admits::None || !deciders.complete;
                deniers.extend(deciders.answers);
            }
        }
        if admitted || deniers.is_empty() {
            continue;
        }
        let mut by: Vec<PolicyId> = deniers
            .iter()
            .filter_map(|answer| match answer.by {
                By::Policy(id) => Some(id),
                By::Default => None,
            })
            .collect();
        by.sort_unstable();
        by.dedup();
        let message = format!(
            "no local-in policy admits IKE from {peer} to {own}: when the session that the gateway itself \
             started has idled out, the peer's IKE is dropped, while ESP goes on"
        );
        let related = by.into_iter().map(|id| at_local_in(local_in, id));
        let at = Place::tunnel(tunnel);
        found
            .push(Finding::new(Code::IkeNotAdmitted, Severity::Warning, at, message).with(related));
    }
}

/// Local-in policies that no packet meets first.
pub(super) fn hidden_policies<'c>(scene: &Scene<'c>, found: &mut Vec<Finding<'c>>) {
    let Some(local_in) = &scene.config.gate.local_in else { return };
    let Ok(hidden) = local_in.list.hidden(&Limits::USUAL) else { return };
    let action = |id: PolicyId| {
        let policies = local_in.list.policies();
        let policy = policies.iter().find(|policy| policy.id == id);
        policy.map_or(Action::Deny, |policy| policy.action.unwrap_or_default())
    };
    for policy in hidden {
        let own = action(policy.id);
        // It would do what is done anyway.
        let severity = |by: &[PolicyId]| match by.iter().all(|id| action(*id) == own) {
            true => Severity::Note,
            false => Severity::Warning,
        };
        let at = at_local_in(local_in, policy.id);
        let places = |by: &[PolicyId]| -> Vec<_> {
            by.iter().map(|id| at_local_in(local_in, *id)).collect()
        };
        found.push(match policy.why {
            HiddenWhy::Shadowed { by } => {
                let message = format!("{by} covers all of it: it never decides");
                let by = [by];
                Finding::new(Code::LocalInShadowed, severity(&by), at, message).with(places(&by))
            }
            HiddenWhy::Unreachable { by } => {
                let ids: Vec<_> = by.iter().map(|id| id.0.to_string()).collect();
                let message = format!(
                    "policies {} together cover all of it: it never decides",
                    ids.join(", ")
                );
                Finding::new(Code::LocalInUnreachable, severity(&by), at, message).with(places(&by))
            }
            HiddenWhy::NeverJudged => {
                let message = "ESP and AH are judged by their SPI, never by local-in policy";
                Finding::new(Code::LocalInNeverJudged, Severity::Warning, at, message)
            }
            HiddenWhy::Undecided => {
                let message = "too many policies meet it: it may be hidden or not";
                Finding::new(Code::Undecided, Severity::Warning, at, message)
            }
            _ => {
                let message = "no packet has what its services ask for";
                Finding::new(Code::LocalInNeverJudged, Severity::Warning, at, message)
            }
        });
    }
}

/// Ways out: interfaces that a default route or a peer may be behind.
fn wans<'c>(scene: &Scene<'c>) -> Vec<(u32, &'c InterfaceConfig)> {
    let interfaces = (0..).zip(&scene.config.gate.interfaces);
    interfaces.filter(|(_, one)| !one.protected && one.gateway.is_some()).collect()
}

/// Several ways out, and answers of IKE over TCP that do not keep to the one of their SYN (D2, D3).
pub(super) fn reply_unpinned<'c>(scene: &Scene<'c>, found: &mut Vec<Finding<'c>>) {
    let (config, wans) = (scene.config, wans(scene));
    let Some(port) = config.gate.ike_tcp_port.filter(|_| wans.len() > 1) else { return };
    let names: Vec<_> = wans.iter().map(|(_, one)| one.name.as_str()).collect();
    let ways = names.join(" and ");
    let Some(path) = &config.gate.reply_path else {
        let reply = config.fortios.and_then(FortiOs::tcp_reply).map(|known| known.value);
        if let (Some(version), Some(TcpReply::Unpinned)) = (config.fortios, reply) {
            let message = format!(
                "FortiOS {version} answers TCP port {port} as the routing table says: with {ways} a handshake \
                 may never complete"
            );
            let line = wans.first().map_or(0, |(_, first)| first.line);
            let at = Place::section("interface", line);
            found.push(Finding::new(Code::ReplyUnpinned, Severity::Warning, at, message));
        }
        return;
    };
    let at = Place::section("reply-path", path.line);
    let mut warn = |message: String| {
        found.push(Finding::new(Code::ReplyUnpinned, Severity::Warning, at, message));
    };
    match path.kind {
        ReplyKind::Pinned => {}
        ReplyKind::Unpinned => warn(format!(
            "answers on TCP port {port} leave as the routing table says: with {ways} a handshake may never \
             complete"
        )),
        ReplyKind::PolicyRoute if !path.ike_policy_route => warn(
            "ike-policy-route is off, so what the gateway itself sends looks at no policy route"
                .into(),
        ),
        ReplyKind::PolicyRoute => {
            for (number, interface) in wans {
                for address in &interface.addresses {
                    let route = path.routes.iter().find(|route| route.src.contains(*address));
                    if route.is_none_or(|route| route.output != number) {
                        warn(format!(
                            "no policy route sends answers from {address} out on {}",
                            interface.name
                        ));
                    }
                }
            }
        }
    }
}

/// Security policies that no packet meets first.
pub(super) fn unreachable_policies<'c>(scene: &Scene<'c>, found: &mut Vec<Finding<'c>>) {
    let Some(spd) = &scene.config.gate.spd else { return };
    let at = |id: espial::spd::PolicyId| {
        let own = spd.policies.iter().find(|policy| policy.id == id);
        Place { policy: Some(id.0), ..Place::section("policy", own.map_or(0, |own| own.line)) }
    };
    let lists: [&PolicyList; 2] = [&spd.inbound.list, &spd.outbound.list];
    for list in lists {
        match list.decorrelate(ENTRIES_MAX) {
            Ok(disjoint) => {
                for id in disjoint.unreachable() {
                    let message = "earlier policies cover all of it: it never decides";
                    let (code, severity) = (Code::PolicyUnreachable, Severity::Warning);
                    found.push(Finding::new(code, severity, at(*id), message));
                }
            }
            Err(DecorrelateError::Limit { id, .. }) => {
                let message =
                    "too many policies meet it: it and those behind it may be hidden or not";
                found.push(Finding::new(Code::Undecided, Severity::Warning, at(id), message));
            }
            Err(_) => {}
        }
    }
}

/// Tunnels whose peer's IKE the security policies do not let in.
pub(super) fn ike_not_bypassed<'c>(scene: &Scene<'c>, found: &mut Vec<Finding<'c>>) {
    let Some(config) = &scene.config.gate.spd else { return };
    let Ok(spd) = Spd::open(&config.inbound.words) else { return };
    if spd.is_empty() {
        return;
    }
    for tunnel in &scene.config.tunnels {
        let Some(endpoints) = health::endpoints(scene.config, tunnel, None) else { continue };
        if !spd.first(&ike(endpoints)).admits_clear() {
            found.push(not_bypassed(tunnel, endpoints));
        }
    }
}

fn not_bypassed<'c>(tunnel: &'c TunnelConfig, endpoints: Endpoints) -> Finding<'c> {
    let (peer, own) = (endpoints.src(), endpoints.dst());
    let message = format!(
        "no security policy says BYPASS for IKE from {peer} to {own}, so no SA can be negotiated on UDP 500"
    );
    Finding::new(Code::IkeNotBypassed, Severity::Warning, Place::tunnel(tunnel), message)
}

fn ike(endpoints: Endpoints) -> InnerHeaders {
    InnerHeaders {
        endpoints,
        protocol: protocol::UDP,
        next_layer: NextLayer::Ports { src: IKE_PORT, dst: IKE_PORT },
        fragment: Fragment::None,
    }
}

/// The first and the last address of a range.
pub(super) fn ends(range: AddrRange) -> [std::net::IpAddr; 2] {
    [range.lo(), range.hi()]
}
