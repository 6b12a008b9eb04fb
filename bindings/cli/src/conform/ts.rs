//! Traffic selectors: reading them, and the kinds that ask one or two of them.

use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr};

use espial::headers::Family;
use espial::selector::{
    AddrRange, Configured, PortRange, TrafficSelector, has_one_value, icmp_parts, icmp_value,
    payload,
};
use serde_json::{Value, json};

use super::case::{self, Findings, Object, Problem};

/// A range as it stands, even one that ends before it starts: the core is to judge it.
fn literal_range(from: IpAddr, to: IpAddr) -> Option<AddrRange> {
    match (from, to) {
        (IpAddr::V4(lo), IpAddr::V4(hi)) => {
            Some(AddrRange::V4 { lo: lo.to_bits(), hi: hi.to_bits() })
        }
        (IpAddr::V6(lo), IpAddr::V6(hi)) => {
            Some(AddrRange::V6 { lo: lo.to_bits(), hi: hi.to_bits() })
        }
        _ => None,
    }
}

/// The range `from` to `to` of an object.
pub(super) fn range(object: &mut Object<'_>) -> Result<AddrRange, Problem> {
    let (from, to) = (object.address("from")?, object.address("to")?);
    literal_range(from, to).ok_or_else(|| Problem(format!("{from} and {to} are of two families")))
}

fn family_number(family: Family) -> u8 {
    match family {
        Family::V4 => 4,
        Family::V6 => 6,
    }
}

/// A TS object, or a text as [`Configured`] is written.
///
/// The fields go into the selector as they stand: what binds a sender (ports under protocol ANY,
/// T19) does not keep a case from being run.
pub(super) fn configured(path: &str, value: &Value) -> Result<Configured, Problem> {
    if let Value::String(text) = value {
        return text.parse().map_err(|error| Problem::step(format!("field `{path}`"), error));
    }
    let mut ts = Object::new(path, value)?;
    let protocol = ts.number_or("proto", 0)?;
    let (lo, hi) = (ts.number_or("port_from", 0)?, ts.number_or("port_to", u16::MAX)?);
    let ports = PortRange::new(lo, hi)
        .ok_or_else(|| Problem(format!("field `{path}`: {lo} to {hi} is no range of ports")))?;
    if ts.flag("dynamic")? {
        // A placeholder may show the addresses that it stands for; it has none.
        for name in ["af", "from", "to"] {
            let _ = ts.get(name);
        }
        ts.close()?;
        return Ok(Configured::Dynamic { protocol, ports });
    }
    let addrs = range(&mut ts)?;
    if let Some(af) = ts.get("af")
        && *af != json!(family_number(addrs.family()))
    {
        return Err(Problem::field(&ts.at("af"), "the family of the addresses", af));
    }
    ts.close()?;
    Ok(TrafficSelector { addrs, protocol, ports }.into())
}

/// A list of what [`configured`] reads.
pub(super) fn configured_list(path: &str, value: &Value) -> Result<Vec<Configured>, Problem> {
    let each = |(index, value)| configured(&format!("{path}[{index}]"), value);
    case::list(path, value)?.iter().enumerate().map(each).collect()
}

/// A TS that is no placeholder.
pub(super) fn selector(path: &str, value: &Value) -> Result<TrafficSelector, Problem> {
    match configured(path, value)? {
        Configured::Fixed(selector) => Ok(selector),
        Configured::Dynamic { .. } => {
            Err(Problem(format!("field `{path}`: a placeholder cannot stand here")))
        }
    }
}

/// A TS as the cases write it.
pub(super) fn to_json(selector: &TrafficSelector) -> Value {
    let TrafficSelector { addrs, protocol, ports } = selector;
    json!({
        "af": family_number(addrs.family()),
        "from": addrs.lo().to_string(),
        "to": addrs.hi().to_string(),
        "proto": protocol,
        "port_from": ports.lo(),
        "port_to": ports.hi(),
    })
}

fn intersection(a: &Configured, b: &Configured) -> Option<TrafficSelector> {
    // A placeholder matches nothing until it has an address.
    a.fixed()?.intersection(b.fixed()?)
}

/// `ts_relation`: what two selectors have in common, and their order.
pub(super) fn relation(case: &mut Object<'_>, findings: &mut Findings) -> Result<(), Problem> {
    let a = configured("a", case.value("a")?)?;
    let b = configured("b", case.value("b")?)?;
    let mut expect = case.object("expect")?;
    let common = intersection(&a, &b);
    if let Some(expected) = expect.get("intersection") {
        let wanted = match expected {
            Value::Null => None,
            ts => Some(selector("expect.intersection", ts)?),
        };
        let got = common.as_ref().map_or(Value::Null, to_json);
        findings.check("intersection", common == wanted, expected, got);
    }
    if let Some(expected) = expect.get("commutes") {
        findings.compare("commutes", expected, common == intersection(&b, &a));
    }
    if let Some(expected) = expect.get("a_contained_in_b") {
        findings.compare("a_contained_in_b", expected, a.is_contained_in(&b));
    }
    if let Some(expected) = expect.get("equal") {
        findings.compare("equal", expected, a == b);
    }
    if let Some(expected) = expect.get("order") {
        let (Some(a), Some(b)) = (a.fixed(), b.fixed()) else {
            return Err(Problem("field `expect.order`: a placeholder has no place".to_owned()));
        };
        let order = match a.cmp(b) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        };
        findings.compare("order", expected, order);
    }
    expect.close()
}

/// `ts_includes`: an address and a selector.
pub(super) fn includes(case: &mut Object<'_>, findings: &mut Findings) -> Result<(), Problem> {
    let ts = configured("ts", case.value("ts")?)?;
    let addr = case.address_if("addr")?;
    let mut expect = case.object("expect")?;
    let needed = || addr.ok_or_else(|| Problem("field `addr` is missing".to_owned()));
    if let Some(expected) = expect.get("includes") {
        let addr = needed()?;
        findings.compare("includes", expected, ts.fixed().is_some_and(|ts| ts.includes(addr)));
    }
    if let Some(expected) = expect.get("is_exactly_host") {
        let addr = needed()?;
        findings.compare(
            "is_exactly_host",
            expected,
            ts.fixed().is_some_and(|ts| ts.is_host(addr)),
        );
    }
    if let Some(expected) = expect.get("is_single_host") {
        // A placeholder is what it becomes with a host.
        let host = addr.unwrap_or(Ipv4Addr::LOCALHOST.into());
        let fixed = match ts {
            Configured::Fixed(_) => Some(ts),
            Configured::Dynamic { .. } => ts.at_host(host),
        };
        let single =
            fixed.is_some_and(|ts| ts.fixed().is_some_and(TrafficSelector::is_single_host));
        findings.compare("is_single_host", expected, single);
    }
    expect.close()
}

/// What `ts_parse` makes of its input.
fn parse(input: &mut Object<'_>) -> Result<Result<TrafficSelector, String>, Problem> {
    let text = match input.get("cidr") {
        Some(cidr) => case::text("input.cidr", cidr)?.to_owned(),
        None => format!("{}-{}", input.text("from")?, input.text("to")?),
    };
    let af = input.get("af").cloned();
    // Numbers that do not fit their field on the wire are input to be refused, as texts are.
    let mut field = |name: &str, absent: u64| match input.get(name) {
        None => Ok(absent),
        Some(value) => case::number::<u64>(&format!("input.{name}"), value),
    };
    let (proto, lo, hi) = (field("proto", 0)?, field("port_from", 0)?, field("port_to", 65535)?);
    let parsed = || -> Result<TrafficSelector, String> {
        let addrs: AddrRange = text.parse().map_err(|error| format!("{error}"))?;
        if af.is_some_and(|af| af != json!(family_number(addrs.family()))) {
            return Err("the addresses are of another family".to_owned());
        }
        let protocol = u8::try_from(proto).map_err(|error| error.to_string())?;
        let (lo, hi) = (u16::try_from(lo), u16::try_from(hi));
        let ports = lo.ok().zip(hi.ok()).and_then(|(lo, hi)| PortRange::new(lo, hi));
        let ports = ports.ok_or("no range of ports")?;
        Ok(TrafficSelector { addrs, protocol, ports })
    };
    Ok(parsed())
}

/// `ts_parse`: text to range. Ports under protocol ANY bind the sender of a TS payload (T19), not
/// who writes a range.
pub(super) fn text(case: &mut Object<'_>, findings: &mut Findings) -> Result<(), Problem> {
    let mut input = case.object("input")?;
    let parsed = parse(&mut input)?;
    input.close()?;
    let mut expect = case.object("expect")?;
    if let Some(expected) = expect.get("ok") {
        let got = match &parsed {
            Err(error) if *expected == json!(true) => json!(error),
            parsed => json!(parsed.is_ok()),
        };
        findings.compare("ok", expected, got);
    }
    let range = parsed.as_ref().ok().map(|ts| ts.addrs);
    if let Some(expected) = expect.get("is_prefix") {
        let prefix = range.and_then(|range| range.to_prefix());
        let got = prefix.map_or(Value::Null, |prefix| json!(prefix.to_string()));
        findings.compare("is_prefix", expected, got);
    }
    for (name, end) in
        [("from", range.map(|range| range.lo())), ("to", range.map(|range| range.hi()))]
    {
        if let Some(expected) = expect.get(name) {
            let wanted = case::address(&expect.at(name), expected)?;
            let got = end.map_or(Value::Null, |end| json!(end.to_string()));
            findings.check(name, end == Some(wanted), expected, got);
        }
    }
    expect.close()
}

/// `ts_wire`: the body of a TS payload.
pub(super) fn wire(case: &mut Object<'_>, findings: &mut Findings) -> Result<(), Problem> {
    let body = case::octets("hex", case.value("hex")?)?;
    let parsed = payload::parse_to_vec(&body);
    let mut expect = case.object("expect")?;
    if let Some(expected) = expect.get("ok") {
        let got = match &parsed {
            Err(error) if *expected == json!(true) => json!(error.to_string()),
            parsed => json!(parsed.is_ok()),
        };
        findings.compare("ok", expected, got);
    }
    let (selectors, ignored) = match &parsed {
        Ok((selectors, ignored)) => (Some(selectors), json!(ignored)),
        Err(_) => (None, Value::Null),
    };
    if let Some(expected) = expect.get("ts") {
        let mut wanted = Vec::new();
        for (index, value) in case::list("expect.ts", expected)?.iter().enumerate() {
            wanted.push(selector(&format!("expect.ts[{index}]"), value)?);
        }
        let got = selectors.map_or(Value::Null, |list| list.iter().map(to_json).collect());
        findings.check("ts", selectors == Some(&wanted), expected, got);
    }
    if let Some(expected) = expect.get("ignored") {
        findings.compare("ignored", expected, ignored);
    }
    // What a sender may send is written and read back as the same.
    if let Some(selectors) = selectors
        && let Ok(written) = payload::write_to_vec(selectors)
    {
        let again = payload::parse_to_vec(&written).ok();
        let same = again.as_ref().is_some_and(|(list, ignored)| list == selectors && *ignored == 0);
        let list = |list: &[TrafficSelector]| -> Value { list.iter().map(to_json).collect() };
        let got = again.map_or(Value::Null, |(again, _)| list(&again));
        findings.require("ts, written and read again", same, list(selectors), got);
    }
    expect.close()
}

/// `icmp_ports`: type and code of the values at the ends of a range.
pub(super) fn icmp_ports(case: &mut Object<'_>, findings: &mut Findings) -> Result<(), Problem> {
    let protocol = case.number("proto")?;
    if !has_one_value(protocol) {
        return Err(Problem(format!("field `proto`: {protocol} has ports, not one value")));
    }
    let ends: [(&str, u16); 2] =
        [("from", case.number("port_from")?), ("to", case.number("port_to")?)];
    let mut expect = case.object("expect")?;
    for (end, value) in ends {
        let (icmp_type, code) = icmp_parts(value);
        for (part, got) in [("type", icmp_type), ("code", code)] {
            let name = format!("{end}_{part}");
            if let Some(expected) = expect.get(&name) {
                findings.compare(name, expected, got);
            }
        }
        let joined = icmp_value(icmp_type, code);
        findings.require("value of type and code", joined == value, value, joined);
    }
    expect.close()
}
