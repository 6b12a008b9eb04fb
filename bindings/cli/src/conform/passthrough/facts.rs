//! What a case says of the whole: flows, the tunnel, its traffic, its logs and its rules.

use std::collections::HashSet;

use espial::gate::flow::FlowKey;
use espial::gate::passthrough::{
    FlowKind, Initiator, NatTraversal, NeededConfig, PassAnswer, PassPacket, PassRules,
    PassVerdict, Passthrough, Service, Traffic, rules_needed,
};
use espial::headers::{Endpoints, Ipsec, Spi, protocol};
use espial::selector::AddrRange;
use espial::wire::{IKE_PORT, NAT_T_PORT};
use serde_json::{Value, json};

use super::super::case::{self, Findings, Object, Problem};
use super::{context_name, read, says};

/// An SPI that no case uses, to ask what a packet would meet.
const UNUSED_SPI: Spi = Spi(0xfeed_f00d);

/// What packets met, in their order.
type Met = [(PassPacket, PassAnswer)];

fn is_ike(packet: &PassPacket) -> bool {
    matches!(packet.traffic, Traffic::Udp { dst: IKE_PORT, .. })
}

fn is_nat_t(packet: &PassPacket) -> bool {
    matches!(packet.traffic, Traffic::Udp { src, dst } if src == NAT_T_PORT || dst == NAT_T_PORT)
}

/// What carries users' packets.
fn is_data(packet: &PassPacket) -> bool {
    matches!(packet.traffic, Traffic::Esp(_) | Traffic::Ah(_)) || is_nat_t(packet)
}

/// Compares the case's `expect`.
pub(super) fn compare(
    case: &mut Object<'_>,
    firewall: &mut Passthrough<'_>,
    rules: &PassRules<'_>,
    met: &Met,
    findings: &mut Findings,
) -> Result<(), Problem> {
    let mut expect = case.object("expect")?;
    if expect.names().next().is_none() {
        return Err(Problem("field `expect` says nothing".to_owned()));
    }
    let mut flows: Vec<FlowKey> = firewall.flows(0).map(|flow| flow.key).collect();
    flows.sort_by_key(order);
    if let Some(expected) = expect.get("flows") {
        let mut wanted = Vec::new();
        for mut flow in expect.objects("flows")? {
            wanted.push(read_flow(&mut flow)?);
            flow.close()?;
        }
        wanted.sort_by_key(order);
        let shown: Value = flows.iter().map(show).collect();
        findings.check("flows", wanted == flows, expected, shown);
    }
    if let Some(expected) = expect.get("flow_count") {
        findings.compare("flow_count", expected, flows.len());
    }
    let is_up =
        flows.iter().any(|flow| matches!(FlowKind::of(flow), FlowKind::Ike | FlowKind::NatT));
    if let Some(expected) = expect.get("tunnel") {
        findings.compare("tunnel", expected, if is_up { "up" } else { "down" });
    }
    let starts = starts(met);
    if let Some(expected) = expect.get("rules_needed") {
        findings.compare("rules_needed", expected, needed(firewall, &starts, met).len());
    }
    if let Some(expected) = expect.get("log_ports") {
        log_ports(expected, &starts, met, findings)?;
    }
    if let Some(expected) = expect.get("reject_context") {
        let rejected =
            |(_, answer): &&(_, PassAnswer)| matches!(answer.verdict, PassVerdict::Reject(_));
        let last = met.iter().rev().find(rejected).and_then(|(_, answer)| answer.context);
        let got = last.map(context_name);
        let same = match (last, &got) {
            (Some(context), Some(got)) => says(expected, got) || says(expected, context.name()),
            _ => expected.is_null(),
        };
        findings.check("reject_context", same, expected, got);
    }
    // Last: asking what a packet would meet may make a flow.
    if let Some(expected) = expect.get("return_traffic") {
        let got = return_traffic(firewall, rules, &starts, met);
        // Without a tunnel there is none.
        let same = says(expected, got) || expected.is_null() && !is_up;
        findings.check("return_traffic", same, expected, got);
    }
    expect.close()
}

fn order(key: &FlowKey) -> (u8, std::net::IpAddr, u16, std::net::IpAddr, u16) {
    let FlowKey { endpoints, protocol, src_port, dst_port } = *key;
    (protocol, endpoints.src(), src_port, endpoints.dst(), dst_port)
}

fn read_flow(flow: &mut Object<'_>) -> Result<FlowKey, Problem> {
    let (src, dst) = (flow.address("src")?, flow.address("dst")?);
    let endpoints = Endpoints::new(src, dst)
        .ok_or_else(|| Problem(format!("{src} and {dst} are of two families")))?;
    let mut port = |name| {
        let path = flow.at(name);
        match flow.value(name)? {
            Value::String(any) if any == "any" => Ok(0),
            number => case::number(&path, number),
        }
    };
    let (src_port, dst_port) = (port("sport")?, port("dport")?);
    let protocol = read::protocol(&flow.at("proto"), flow.value("proto")?)?;
    Ok(FlowKey { endpoints, protocol, src_port, dst_port })
}

fn show(key: &FlowKey) -> Value {
    let proto = match key.protocol {
        protocol::UDP => json!("udp"),
        protocol::ESP => json!("esp"),
        protocol::AH => json!("ah"),
        other => json!(other),
    };
    let (src, dst) = (key.endpoints.src().to_string(), key.endpoints.dst().to_string());
    json!({ "proto": proto, "src": src, "sport": key.src_port, "dst": dst, "dport": key.dst_port })
}

/// The peers whose IKE was admitted without a flow, each with its other end; without any, those of the first
/// packet.
fn starts(met: &Met) -> Vec<Endpoints> {
    let mut starts = Vec::new();
    for (packet, answer) in met {
        let is_start = is_ike(packet) && matches!(answer.verdict, PassVerdict::Accept(_));
        if is_start && !starts.contains(&packet.endpoints) {
            starts.push(packet.endpoints);
        }
    }
    if starts.is_empty() {
        starts.extend(met.first().map(|(packet, _)| packet.endpoints));
    }
    starts
}

/// The rules that the configuration needs for the peers that start: as many as E1 counts.
fn needed(
    firewall: &Passthrough<'_>,
    starts: &[Endpoints],
    met: &Met,
) -> HashSet<(Service, AddrRange, AddrRange)> {
    let any = |test: fn(&PassPacket) -> bool| met.iter().any(|(packet, _)| test(packet));
    let esp = any(|packet| matches!(packet.traffic, Traffic::Esp(_)));
    let ah = any(|packet| matches!(packet.traffic, Traffic::Ah(_)));
    let nat_t = match (any(is_nat_t), esp || ah) {
        (false, _) => NatTraversal::Never,
        (true, false) => NatTraversal::Always,
        (true, true) => NatTraversal::Possible,
    };
    let config = firewall.config();
    let mut rules = HashSet::new();
    for ends in starts {
        for ipsec in [Ipsec::Esp, Ipsec::Ah] {
            if ipsec == Ipsec::Ah && !ah || ipsec == Ipsec::Esp && ah && !esp {
                continue;
            }
            let needed = rules_needed(&NeededConfig {
                lookupspi: config.lookupspi,
                server: config.server,
                translate_address: true,
                // Inside is who starts.
                initiator: Initiator::Inside,
                inside: ends.src().into(),
                outside: ends.dst().into(),
                ipsec,
                nat_t,
            });
            // Where both start, a rule is in for one and out for the other.
            rules.extend(needed.rules.iter().map(|rule| (rule.service, rule.src, rule.dst)));
        }
    }
    rules
}

/// Ports as logs have them: those of the first packet that rules decided about, else of the first one.
fn log_ports(
    expected: &Value,
    starts: &[Endpoints],
    met: &Met,
    findings: &mut Findings,
) -> Result<(), Problem> {
    let mut object = Object::new("log_ports", expected)?;
    let kinds = [("esp", protocol::ESP), ("ah", protocol::AH), ("udp", protocol::UDP)];
    for (kind, number) in kinds {
        for (way, is_out) in [("out", true), ("in", false)] {
            let name = format!("{kind}_{way}");
            let Some(expected) = object.get(&name) else { continue };
            let of_kind = |logged: bool| {
                met.iter().find_map(|(packet, answer)| {
                    let key = answer.key.filter(|key| key.protocol == number)?;
                    let same = starts.contains(&packet.endpoints) == is_out
                        && answer.context.is_some() >= logged;
                    same.then_some([key.src_port, key.dst_port])
                })
            };
            let got = json!(of_kind(true).or_else(|| of_kind(false)));
            let is_unlogged = expected.is_null() && of_kind(true).is_none();
            findings.check(object.at(&name), is_unlogged || *expected == got, expected, got);
        }
    }
    object.close()
}

/// What the peers that did not start meet with their packets: the worst of all.
fn return_traffic(
    firewall: &mut Passthrough<'_>,
    rules: &PassRules<'_>,
    starts: &[Endpoints],
    met: &Met,
) -> &'static str {
    let mut worst = "works";
    for ends in starts {
        let back = ends.reversed();
        let came = |(packet, _): &&(PassPacket, _)| packet.endpoints == back && is_data(packet);
        let verdict = match met.iter().rev().find(came) {
            Some((_, answer)) => answer.verdict,
            None => {
                let went = met.iter().rev().find(|(packet, _)| is_data(packet));
                let traffic = match went.map(|(packet, _)| packet.traffic) {
                    Some(Traffic::Udp { src, dst }) => Traffic::Udp { src: dst, dst: src },
                    Some(Traffic::Ah(_)) => Traffic::Ah(UNUSED_SPI),
                    _ => Traffic::Esp(UNUSED_SPI),
                };
                firewall.check(rules, &PassPacket { endpoints: back, traffic }, 0).verdict
            }
        };
        worst = match verdict {
            PassVerdict::Drop(_) => "dropped",
            PassVerdict::Reject(_) => "rejected",
            _ => worst,
        };
    }
    worst
}
