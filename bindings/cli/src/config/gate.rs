//! What GATEWAY.toml says of the box itself: its interfaces, and the names that policies are written in.

use std::net::IpAddr;

use espial::gate::local_in::{AddressObject, IKE, LocalInList, Service};
use espial::headers::{Family, protocol};
use espial::selector::AddrRange;

use super::local_in::LocalInConfig;
use super::passthrough::PassthroughConfig;
use super::policy::SpdConfig;
use super::reader::{Item, Reader, Section};
use super::reply_path::ReplyPathConfig;
use super::selector;

/// The tables around the selector check. All of it may be missing: then `check` asks SAs alone.
#[derive(Clone, Debug, Default)]
pub struct GateConfig {
    /// Interfaces in file order. Their numbers, which the core's tables know, are their positions.
    pub interfaces: Vec<InterfaceConfig>,
    /// TCP port of IKE and ESP (RFC 9329).
    pub ike_tcp_port: Option<u16>,
    /// Sessions and policies for what is addressed to the gateway.
    pub local_in: Option<LocalInConfig>,
    /// Where answers of IKE over TCP leave.
    pub reply_path: Option<ReplyPathConfig>,
    /// IPsec of others.
    pub passthrough: Option<PassthroughConfig>,
    /// Security policies.
    pub spd: Option<SpdConfig>,
}

/// One interface.
#[derive(Clone, Debug)]
pub struct InterfaceConfig {
    /// Name, unique in the file; that of pcapng files.
    pub name: String,
    /// The gateway's addresses there.
    pub addresses: Vec<IpAddr>,
    /// The next hop of its default route.
    pub gateway: Option<IpAddr>,
    /// On the protected side of the IPsec boundary (RFC 4301 section 3.1).
    pub protected: bool,
    /// Line of `[[interface]]`.
    pub line: usize,
}

impl GateConfig {
    /// The number of the interface with this name.
    pub fn interface(&self, name: &str) -> Option<u32> {
        let place = self.interfaces.iter().position(|interface| interface.name == name)?;
        u32::try_from(place).ok()
    }

    /// The interface with this number.
    pub fn interface_at(&self, number: u32) -> Option<&InterfaceConfig> {
        self.interfaces.get(number as usize)
    }
}

/// Every `[[interface]]`.
pub(super) fn interfaces(reader: &mut Reader, root: &Section<'_>) -> GateConfig {
    let mut gate = GateConfig::default();
    for section in reader.tables(root, "interface") {
        let Some(interface) = interface(reader, &section) else { continue };
        if let Some(first) = gate.interfaces.iter().find(|first| first.name == interface.name) {
            let text = format!("is the name of the interface at line {}", first.line);
            reader.fault(section.line_of("name"), "name", text);
        }
        gate.interfaces.push(interface);
    }
    gate
}

fn interface(reader: &mut Reader, section: &Section<'_>) -> Option<InterfaceConfig> {
    reader.only(section, &["name", "address", "gateway", "protected"]);
    let name = reader.name(section);
    let mut addresses = Vec::new();
    for item in reader.one_or_more(section, "address") {
        addresses.extend(address_of_interface(reader, item));
    }
    let gateway = section.get("gateway").and_then(|item| reader.address(item));
    let protected = section.get("protected").and_then(|item| reader.boolean(item));
    let protected = protected.unwrap_or(false);
    Some(InterfaceConfig { name: name?, addresses, gateway, protected, line: section.line })
}

/// An address with the prefix of its link, as interfaces have it.
fn address_of_interface(reader: &mut Reader, item: Item<'_>) -> Option<IpAddr> {
    let address = item.text().and_then(|text| {
        AddrRange::parse_masked(text).ok()?;
        text.split('/').next()?.parse().ok()
    });
    if address.is_none() {
        let text = "must be an address and its prefix in quotes, such as \"203.0.113.2/30\"";
        reader.fault(item.line, item.key, text);
    }
    address
}

/// Sections that ask whom a packet is for, but for keys of `[gateway]`.
const NEED_ADDRESSES: [&str; 4] = ["local-in", "reply-path", "passthrough", "policy"];

/// Notes a fault where a section cannot tell which packets are for the gateway.
pub(super) fn check_addresses(reader: &mut Reader, root: &Section<'_>, addresses: &[IpAddr]) {
    let first = NEED_ADDRESSES.into_iter().find_map(|key| root.get(key));
    if let Some(item) = first.filter(|_| addresses.is_empty()) {
        let text = "needs addresses under [gateway] or the address of an [[interface]]: which packets are \
                    for the gateway?";
        reader.fault(item.line, item.key, text);
    }
}

/// The number of the interface that `item` names.
pub(super) fn interface_named(
    reader: &mut Reader,
    gate: &GateConfig,
    item: Item<'_>,
) -> Option<u32> {
    let name = reader.string(item)?;
    let number = gate.interface(name);
    if number.is_none() {
        reader.fault(item.line, item.key, "no [[interface]] has this name");
    }
    number
}

/// Names that have a meaning of their own unless the file gives them another.
const ALL_ADDRESSES: &str = "all";
const ALL_SERVICES: &str = "ALL";
const IKE_SERVICE: &str = "IKE";

/// The names of `[[address]]` and `[[service]]`, which [`LocalInList`] takes.
pub(super) struct Names {
    addresses: Vec<(String, usize)>,
    services: Vec<(String, usize)>,
}

impl Names {
    /// Reads both kinds into `list`.
    pub(super) fn read(reader: &mut Reader, root: &Section<'_>, list: &mut LocalInList) -> Self {
        let everything = ["0.0.0.0/0", "::/0"].iter().filter_map(|text| text.parse().ok());
        list.set_address(ALL_ADDRESSES, AddressObject::Ranges(everything.collect()));
        list.set_service(ALL_SERVICES, vec![Service::All]);
        list.set_service(IKE_SERVICE, IKE.to_vec());
        let mut names = Self { addresses: Vec::new(), services: Vec::new() };
        for section in reader.tables(root, "address") {
            let object = address_object(reader, &section);
            if let Some(name) = own_name(reader, &section, &mut names.addresses)
                && let Some(object) = object
            {
                list.set_address(&name, object);
            }
        }
        for section in reader.tables(root, "service") {
            let services = services(reader, &section);
            if let Some(name) = own_name(reader, &section, &mut names.services)
                && let Some(services) = services
            {
                list.set_service(&name, services);
            }
        }
        names.members(reader, root);
        names
    }

    /// The addresses that `key` names.
    pub(super) fn addresses(
        &self,
        reader: &mut Reader,
        section: &Section<'_>,
        key: &'static str,
    ) -> Vec<String> {
        known(reader, section, key, "address", &self.addresses, &[ALL_ADDRESSES])
    }

    /// The services that `key` names.
    pub(super) fn services(
        &self,
        reader: &mut Reader,
        section: &Section<'_>,
        key: &'static str,
    ) -> Vec<String> {
        known(reader, section, key, "service", &self.services, &[ALL_SERVICES, IKE_SERVICE])
    }

    /// The line of an address name.
    pub(super) fn line_of_address(&self, name: &str) -> Option<usize> {
        self.addresses.iter().find(|(own, _)| own == name).map(|(_, line)| *line)
    }

    /// Names in groups are looked up once all are known.
    fn members(&self, reader: &mut Reader, root: &Section<'_>) {
        let before = reader.faults.len();
        let sections = reader.tables(root, "address");
        // What is wrong with the array itself was said before.
        reader.faults.truncate(before);
        for section in sections {
            for key in ["member", "exclude"] {
                self.addresses(reader, &section, key);
            }
        }
    }
}

/// A name that is not yet in `names`, where it is put with its line.
fn own_name(
    reader: &mut Reader,
    section: &Section<'_>,
    names: &mut Vec<(String, usize)>,
) -> Option<String> {
    let name = reader.name(section)?;
    if let Some((_, line)) = names.iter().find(|(first, _)| *first == name) {
        let text = format!("has this name at line {line} already");
        reader.fault(section.line_of("name"), "name", text);
    }
    names.push((name.clone(), section.line));
    Some(name)
}

fn known(
    reader: &mut Reader,
    section: &Section<'_>,
    key: &'static str,
    kind: &str,
    names: &[(String, usize)],
    built_in: &[&str],
) -> Vec<String> {
    let mut found = Vec::new();
    for item in reader.one_or_more(section, key) {
        let Some(name) = reader.string(item) else { continue };
        if !built_in.contains(&name) && !names.iter().any(|(own, _)| own == name) {
            reader.fault(item.line, key, format!("no [[{kind}]] has this name"));
        }
        found.push(name.to_owned());
    }
    found
}

fn address_object(reader: &mut Reader, section: &Section<'_>) -> Option<AddressObject> {
    reader.only(section, &["name", "ranges", "member", "exclude"]);
    let is_group = section.get("member").is_some();
    if section.get("ranges").is_some() {
        if is_group || section.get("exclude").is_some() {
            let text = "either ranges, or member and exclude";
            reader.fault(section.line_of("ranges"), "ranges", text);
            return None;
        }
        return ranges(reader, section, "ranges").map(AddressObject::Ranges);
    }
    if !is_group {
        reader.fault(section.line, "ranges", "is missing: ranges, or member and exclude");
        return None;
    }
    let mut names = |key| -> Vec<String> {
        let items = reader.one_or_more(section, key);
        items.into_iter().filter_map(|item| item.text().map(str::to_owned)).collect()
    };
    Some(AddressObject::Group { member: names("member"), exclude: names("exclude") })
}

/// The required list of address ranges at `key`, at least one.
pub(super) fn ranges(
    reader: &mut Reader,
    section: &Section<'_>,
    key: &'static str,
) -> Option<Vec<AddrRange>> {
    let before = reader.faults.len();
    let mut ranges = Vec::new();
    for item in reader.some(section, key)? {
        if let Some(text) = reader.string(item) {
            ranges.extend(selector::addrs(reader, item, text));
        }
    }
    (reader.faults.len() == before).then_some(ranges)
}

fn services(reader: &mut Reader, section: &Section<'_>) -> Option<Vec<Service>> {
    reader.only(section, &["name", "entries"]);
    let before = reader.faults.len();
    let mut services = Vec::new();
    for item in reader.some(section, "entries")? {
        match item.section() {
            Some(section) => services.extend(service(reader, &section)),
            None => {
                let text = "must be { protocol = ..., ports = ... }";
                reader.fault(item.line, item.key, text);
            }
        }
    }
    (reader.faults.len() == before).then_some(services)
}

fn service(reader: &mut Reader, section: &Section<'_>) -> Option<Service> {
    reader.only(section, &["protocol", "ports", "source-ports", "icmp"]);
    let number = match section.get("protocol") {
        Some(item) => selector::protocol_number(reader, item)?,
        None => 0,
    };
    let source = selector::ports(reader, section, "source-ports", number)?;
    let values = selector::values(reader, section, number)?;
    Some(match number {
        0 => Service::All,
        protocol::ICMP => Service::Icmp { family: Family::V4, values },
        protocol::ICMPV6 => Service::Icmp { family: Family::V6, values },
        _ if source.is_any() && values.is_any() => Service::Protocol(number),
        _ => Service::Ports { protocol: number, source, destination: values },
    })
}
