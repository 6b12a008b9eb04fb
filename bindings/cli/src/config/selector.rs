//! Traffic selectors in GATEWAY.toml: a string, or a table with protocol and ports.

use espial::headers::protocol;
use espial::selector::{AddrRange, PortRange, TrafficSelector, parse_icmp, parse_protocol};

use super::reader::{Item, Reader, Section};

/// The required list of selectors at `key`, at least one.
pub(super) fn list(
    reader: &mut Reader,
    section: &Section<'_>,
    key: &'static str,
) -> Option<Vec<TrafficSelector>> {
    reader.required(section, key)?;
    let before = reader.faults.len();
    let items = reader.array(section, key);
    let selectors: Vec<_> = items.into_iter().filter_map(|item| one(reader, item)).collect();
    if reader.faults.len() > before {
        return None;
    }
    if selectors.is_empty() {
        reader.fault(section.line_of(key), key, "must hold at least one selector");
        return None;
    }
    Some(selectors)
}

fn one(reader: &mut Reader, item: Item<'_>) -> Option<TrafficSelector> {
    if let Some(text) = item.text() {
        return addrs(reader, item, text).map(TrafficSelector::any);
    }
    let Some(section) = item.section() else {
        let text = "must be \"prefix, address or a-b\" or { addr = \"...\", protocol = ... }";
        reader.fault(item.line, item.key, text);
        return None;
    };
    reader.only(&section, &["addr", "protocol", "ports", "icmp", "mh"]);
    let addr = reader.required(&section, "addr");
    let text = addr.and_then(|item| Some((item, reader.string(item)?)));
    let addrs = text.and_then(|(item, text)| addrs(reader, item, text));
    let protocol = match section.get("protocol") {
        Some(item) => protocol_number(reader, item)?,
        None => 0,
    };
    let ports = values(reader, &section, protocol)?;
    Some(TrafficSelector { addrs: addrs?, protocol, ports })
}

/// A prefix, an address or a range.
pub(super) fn addrs(reader: &mut Reader, item: Item<'_>, text: &str) -> Option<AddrRange> {
    // A key pasted into the wrong line has neither dot nor colon, and must not be printed.
    let quoted = if text.contains(['.', ':']) { format!("\"{text}\": ") } else { String::new() };
    let range = text.parse();
    range.map_err(|error| reader.fault(item.line, item.key, format!("{quoted}{error}"))).ok()
}

pub(super) fn protocol_number(reader: &mut Reader, item: Item<'_>) -> Option<u8> {
    let text = number_or_text(reader, item)?;
    parse_protocol(&text).map_err(|error| reader.fault(item.line, item.key, error.to_string())).ok()
}

/// A string, or a whole number in its place.
fn number_or_text(reader: &mut Reader, item: Item<'_>) -> Option<String> {
    match item.integer(u16::MAX.into()) {
        Some(number) => Some(number.to_string()),
        None => reader.string(item).map(str::to_owned),
    }
}

/// The port range at `key`, ANY if it is not there, where it is known that `key` means ports.
pub(super) fn ports(
    reader: &mut Reader,
    section: &Section<'_>,
    key: &'static str,
    number: u8,
) -> Option<PortRange> {
    let Some(item) = section.get(key) else { return Some(PortRange::ANY) };
    let text = number_or_text(reader, item)?;
    let range = text.parse::<PortRange>().map_err(|error| error.to_string());
    let range = range.and_then(|range| suits("ports", number, range));
    range.map_err(|text| reader.fault(item.line, key, text)).ok()
}

/// The value range of a selector: `ports`, `icmp` or `mh`, whichever its protocol has (RFC 4301
/// section 4.4.1.1). ANY says nothing and is right for every protocol.
pub(super) fn values(reader: &mut Reader, section: &Section<'_>, number: u8) -> Option<PortRange> {
    let mut values = Some(PortRange::ANY);
    for key in ["ports", "icmp", "mh"] {
        let Some(item) = section.get(key) else { continue };
        let text = number_or_text(reader, item)?;
        let range = match key {
            "icmp" => parse_icmp(&text).map_err(|error| error.to_string()),
            "mh" => mobility(&text),
            _ => text.parse::<PortRange>().map_err(|error| error.to_string()),
        };
        match range.and_then(|range| suits(key, number, range)) {
            Ok(PortRange::ANY) => {}
            Ok(range) => values = values.map(|_| range),
            Err(text) => {
                reader.fault(item.line, key, text);
                values = None;
            }
        }
    }
    values
}

/// `range`, if `key` may give it to this protocol.
fn suits(key: &str, number: u8, range: PortRange) -> Result<PortRange, String> {
    use protocol::{DCCP, ICMP, ICMPV6, MOBILITY, SCTP, TCP, UDP, UDP_LITE};
    let own = match number {
        ICMP | ICMPV6 => "icmp",
        MOBILITY => "mh",
        _ => "ports",
    };
    let has_ports = matches!(number, TCP | UDP | DCCP | SCTP | UDP_LITE);
    match key {
        _ if range.is_any() => Ok(range),
        "ports" if own != key => Err(format!("of protocol {number} is called {own}")),
        "icmp" if own != key => Err("needs protocol = \"icmp\" or \"icmpv6\"".to_owned()),
        "mh" if own != key => Err("needs protocol = \"mh\"".to_owned()),
        _ if number == 0 => Err("must be \"any\" while protocol is any: name it".to_owned()),
        "ports" if !has_ports && !range.is_opaque() => {
            Err(format!("protocol {number} has none: write \"any\" or \"opaque\""))
        }
        _ => Ok(range),
    }
}

/// A Mobility Header type, or a range of them: the high octet of the value that selectors hold.
fn mobility(text: &str) -> Result<PortRange, String> {
    let range: PortRange =
        text.parse().map_err(|error: espial::selector::PortTextError| error.to_string())?;
    if range.admits_opaque() {
        return Ok(range);
    }
    let type_limit = u8::MAX.into();
    let in_limit = range.lo() <= type_limit && range.hi() <= type_limit;
    let values = PortRange::new(range.lo() << 8, range.hi() << 8);
    values.filter(|_| in_limit).ok_or_else(|| "must be a type from 0 to 255".to_owned())
}
