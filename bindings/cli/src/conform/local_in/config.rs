//! Addresses, services and policies as a case writes them.

use espial::gate::local_in::{
    Action, AddressObject, Interfaces as Where, LocalInList, LocalInPolicy, PolicyId, Schedule,
    Service,
};
use espial::headers::{Family, protocol};
use espial::selector::{AddrRange, PortRange};
use serde_json::Value;

use super::super::case::{self, Object, Problem};
use super::Interfaces;

/// A schedule that is never on: `none`.
const NEVER: Option<Schedule> = Schedule::new(0);

/// Seconds of a case, as milliseconds.
pub(super) fn milliseconds(path: &str, value: &Value) -> Result<u64, Problem> {
    let seconds = value.as_f64().filter(|seconds| (0.0..=1e9).contains(seconds));
    let seconds =
        seconds.ok_or_else(|| Problem::field(path, "a number of seconds from 0 on", value))?;
    Ok((seconds * 1000.0).round() as u64)
}

/// The list of policies and its names.
pub(super) fn policies<'a>(
    case: &mut Object<'a>,
    interfaces: &mut Interfaces<'a>,
) -> Result<LocalInList, Problem> {
    // What nothing matched is accepted, as the documents show.
    let mut list = LocalInList::new(Action::Accept);
    if let Some(value) = case.get("addr_objects") {
        let mut objects = Object::new("addr_objects", value)?;
        for name in objects.names().collect::<Vec<_>>() {
            let path = objects.at(name);
            list.set_address(name, address(&path, objects.value(name)?)?);
        }
    }
    if let Some(value) = case.get("services") {
        let mut services = Object::new("services", value)?;
        for name in services.names().collect::<Vec<_>>() {
            let mut parts = Vec::new();
            for mut part in services.objects(name)? {
                parts.push(service(&mut part)?);
                part.close()?;
            }
            list.set_service(name, parts);
        }
    }
    for mut policy in case.objects("policies")? {
        let entry = entry(&mut policy, interfaces)?;
        policy.close()?;
        list.add(entry).map_err(|error| Problem::step("the policies", error))?;
    }
    Ok(list)
}

fn address(path: &str, value: &Value) -> Result<AddressObject, Problem> {
    if value.is_object() {
        let mut group = Object::new(path, value)?;
        let mut names = |field| {
            let path = group.at(field);
            let names = group.present(field).map(|value| case::names(&path, value)).transpose()?;
            Ok(names.unwrap_or_default().into_iter().map(str::to_owned).collect())
        };
        let object = AddressObject::Group { member: names("member")?, exclude: names("exclude")? };
        group.close()?;
        return Ok(object);
    }
    let mut ranges = Vec::new();
    for text in case::list(path, value)? {
        // As on the described gateways, host bits under a mask do not count.
        let range = AddrRange::parse_masked(case::text(path, text)?);
        ranges.push(range.map_err(|error| Problem::step(format!("field `{path}`"), error))?);
    }
    Ok(AddressObject::Ranges(ranges))
}

fn service(part: &mut Object<'_>) -> Result<Service, Problem> {
    let number: u8 = part.number("proto")?;
    let mut range = |name| {
        let path = part.at(name);
        part.present(name).map(|value| case::ports(&path, value)).transpose()
    };
    let (source, destination, icmp) = (range("sport")?, range("dport")?, range("icmp")?);
    let family = if number == protocol::ICMPV6 { Family::V6 } else { Family::V4 };
    Ok(match (number, source, destination, icmp) {
        (0, None, None, None) => Service::All,
        (number, None, None, None) => Service::Protocol(number),
        (protocol::ICMP | protocol::ICMPV6, None, None, Some(values)) => {
            Service::Icmp { family, values }
        }
        (_, source, destination, None) => Service::Ports {
            protocol: number,
            source: source.unwrap_or(PortRange::ANY),
            destination: destination.unwrap_or(PortRange::ANY),
        },
        _ => return Err(Problem(format!("`{}` with ports or another protocol", part.at("icmp")))),
    })
}

fn entry<'a>(
    policy: &mut Object<'a>,
    interfaces: &mut Interfaces<'a>,
) -> Result<LocalInPolicy, Problem> {
    let mut names = |field| case::names(&policy.at(field), policy.value(field)?);
    let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let (intf, source, destination, service) =
        (names("intf")?, names("srcaddr")?, names("dstaddr")?, names("service")?);
    let path = policy.at("schedule");
    let schedule = match policy.present("schedule").map(|value| case::text(&path, value)) {
        None => None,
        Some(name) => match name? {
            "always" => None,
            "none" => NEVER,
            other => return Err(Problem(format!("unknown `{path}`: `{other}`"))),
        },
    };
    let path = policy.at("action");
    let action = match policy.present("action").map(|value| case::text(&path, value)) {
        None => None,
        Some(name) => match name? {
            "accept" => Some(Action::Accept),
            "deny" => Some(Action::Deny),
            other => return Err(Problem(format!("unknown `{path}`: `{other}`"))),
        },
    };
    Ok(LocalInPolicy {
        id: PolicyId(policy.number("id")?),
        interfaces: if intf.contains(&"any") {
            Where::Any
        } else {
            Where::These(intf.into_iter().map(|name| interfaces.number(name)).collect())
        },
        source: owned(source),
        destination: owned(destination),
        service: owned(service),
        schedule,
        action,
    })
}
