//! The small universe: every range over 8 addresses at the edges of both families, and all that can be said of one side of a packet in it.

use super::*;

/// Eight neighbours at the start, in the middle and at the end of each family.
pub fn neighbourhoods() -> Vec<(Family, u128)> {
    vec![
        (Family::V4, 0),
        (Family::V4, 0x0a00_00fc),
        (Family::V4, u128::from(u32::MAX) - 7),
        (Family::V6, 0),
        (Family::V6, u128::from(u32::MAX) - 3),
        (Family::V6, u128::MAX - 7),
    ]
}

pub fn at(family: Family, bits: u128) -> IpAddr {
    match family {
        Family::V4 => core::net::Ipv4Addr::from_bits(bits.try_into().unwrap()).into(),
        Family::V6 => core::net::Ipv6Addr::from_bits(bits).into(),
    }
}

pub fn ranges_of(family: Family, base: u128) -> Vec<AddrRange> {
    let mut ranges = Vec::new();
    for lo in 0..8 {
        for hi in lo..8 {
            ranges.push(AddrRange::new(at(family, base + lo), at(family, base + hi)).unwrap());
        }
    }
    ranges
}

/// The addresses of a range, by asking for each of the neighbourhood.
pub fn members(range: &AddrRange, family: Family, base: u128) -> BTreeSet<u128> {
    (0..8).filter(|&step| range.contains(at(family, base + step))).collect()
}

/// A few values of each axis, chosen so that all kinds of overlap occur.
pub fn small_selectors() -> Vec<TrafficSelector> {
    let addrs = ["10.0.0.0/30", "10.0.0.1-10.0.0.2", "10.0.0.2-10.0.0.5", "10.0.0.2", "::/126"];
    let values = ["any", "opaque", "0", "65535", "80-90", "85-65535", "0-85"];
    let mut selectors = Vec::new();
    for addrs in addrs.map(range) {
        selectors.push(TrafficSelector::any(addrs));
        for protocol in [protocol::TCP, protocol::UDP, protocol::ICMP] {
            for ports in values.map(ports) {
                selectors.push(TrafficSelector::new(addrs, protocol, ports).unwrap());
            }
        }
    }
    selectors
}

/// One side of a packet: address, protocol, value or none.
pub const GRE: u8 = 47;

pub type Point = (IpAddr, u8, Option<u16>);

pub fn points() -> Vec<Point> {
    let mut points = Vec::new();
    for last in 0..7u8 {
        for protocol in [protocol::TCP, protocol::UDP, protocol::ICMP, GRE] {
            for value in [0, 79, 80, 84, 85, 86, 90, 91, 65534, 65535].map(Some) {
                points.push((IpAddr::from([10, 0, 0, last]), protocol, value));
            }
            points.push((IpAddr::from([10, 0, 0, last]), protocol, None));
        }
    }
    points.push((addr("::2"), protocol::TCP, Some(80)));
    points.push((addr("::2"), protocol::TCP, None));
    points
}

/// RFC 7296 section 3.13.1, word by word.
pub fn admits(selector: &TrafficSelector, (addr, protocol, value): &Point) -> bool {
    let protocol_fits = selector.protocol == 0 || selector.protocol == *protocol;
    let (lo, hi) = (selector.ports.lo(), selector.ports.hi());
    let value_fits = match value {
        _ if (lo, hi) == (0, 65535) => true,
        None => (lo, hi) == (65535, 0),
        Some(_) if (lo, hi) == (65535, 0) => false,
        Some(value) => lo <= *value && *value <= hi,
    };
    selector.addrs.contains(*addr) && protocol_fits && value_fits
}
