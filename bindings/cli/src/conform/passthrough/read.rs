//! Rules and packets as a case writes them.

use std::net::IpAddr;

use espial::gate::passthrough::{Context, PassPacket, PassRule, RuleAction, RuleId, Traffic};
use espial::headers::{Endpoints, Spi, protocol};
use espial::selector::{AddrRange, PortRange};
use serde_json::Value;

use super::super::case::{self, Object, Problem};
use super::text_if;

/// A packet of a case, and what the case expects of it.
pub(super) struct Sent<'a> {
    pub(super) packet: PassPacket,
    pub(super) expect: Option<&'a Value>,
    pub(super) rule: Option<&'a Value>,
}

/// A protocol by the name that flow tables print, or by its number.
pub(super) fn protocol(path: &str, value: &Value) -> Result<u8, Problem> {
    match value {
        Value::String(name) => match name.as_str() {
            "any" => Ok(0),
            "tcp" => Ok(protocol::TCP),
            "udp" => Ok(protocol::UDP),
            "esp" => Ok(protocol::ESP),
            "ah" => Ok(protocol::AH),
            other => Err(Problem(format!("unknown `{path}`: `{other}`"))),
        },
        number => case::number(path, number),
    }
}

/// Rules in the order written, and their names by number.
pub(super) fn rules<'a>(case: &mut Object<'a>) -> Result<(Vec<&'a str>, Vec<PassRule>), Problem> {
    let mut object = case.object("rules")?;
    let names: Vec<&str> = object.names().collect();
    let mut rules = Vec::new();
    for (id, name) in (0..).zip(&names) {
        let mut rule = object.object(name)?;
        rules.push(one_rule(&mut rule, RuleId(id))?);
        rule.close()?;
    }
    Ok((names, rules))
}

fn one_rule(rule: &mut Object<'_>, id: RuleId) -> Result<PassRule, Problem> {
    let mut addresses = |name| -> Result<AddrRange, Problem> {
        let path = rule.at(name);
        rule.text(name)?.parse().map_err(|error| Problem::step(format!("field `{path}`"), error))
    };
    let (src, dst) = (addresses("src")?, addresses("dst")?);
    let mut range = |name| {
        let path = rule.at(name);
        let range = rule.present(name).map(|value| case::ports(&path, value)).transpose()?;
        Ok(range.unwrap_or(PortRange::ANY))
    };
    let (src_ports, dst_ports) = (range("sport")?, range("dport")?);
    // The documents' rules all say accept-decisively, and those of cases need not say it.
    let action = match text_if(rule, "action")? {
        None => RuleAction::AcceptDecisively,
        Some(name) => action(&rule.at("action"), name)?,
    };
    Ok(PassRule {
        id,
        context: Context::Global,
        action,
        src,
        dst,
        protocol: protocol(&rule.at("proto"), rule.value("proto")?)?,
        src_ports,
        dst_ports,
    })
}

fn action(path: &str, name: &str) -> Result<RuleAction, Problem> {
    let known = RuleAction::ALL.into_iter().find(|action| action.name() == name);
    known.ok_or_else(|| Problem(format!("unknown `{path}`: `{name}`")))
}

/// What the virtual server does with what no rule covers.
pub(super) fn default(case: &mut Object<'_>) -> Result<RuleAction, Problem> {
    action("default", case.text("default")?)
}

/// A packet, in whichever protocol.
pub(super) fn packet<'a>(object: &mut Object<'a>) -> Result<Sent<'a>, Problem> {
    let (src, dst): (IpAddr, IpAddr) = (object.address("src")?, object.address("dst")?);
    let endpoints = Endpoints::new(src, dst)
        .ok_or_else(|| Problem(format!("{src} and {dst} are of two families")))?;
    let path = object.at("proto");
    let traffic = match protocol(&path, object.value("proto")?)? {
        protocol::ESP => Traffic::Esp(Spi(object.number("spi")?)),
        protocol::AH => Traffic::Ah(Spi(object.number("spi")?)),
        protocol::UDP => {
            Traffic::Udp { src: object.number("sport")?, dst: object.number("dport")? }
        }
        other => return Err(Problem(format!("`{path}`: not ESP, AH or UDP but {other}"))),
    };
    // Ports and SPIs that a protocol has not may be written as `null`.
    for name in ["spi", "sport", "dport"] {
        let path = object.at(name);
        let is_used = match traffic {
            Traffic::Udp { .. } => name != "spi",
            _ => name == "spi",
        };
        if !is_used && object.present(name).is_some() {
            return Err(Problem(format!("`{path}`: the protocol has none")));
        }
    }
    let (expect, rule) = (object.get("expect"), object.get("rule"));
    Ok(Sent { packet: PassPacket { endpoints, traffic }, expect, rule })
}
