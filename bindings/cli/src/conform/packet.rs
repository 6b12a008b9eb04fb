//! Packets for cases that give only a part of one, as octets or as headers.

use std::net::IpAddr;

use espial::headers::{Endpoints, Fragment, InnerHeaders, NextLayer, OuterHeaders, protocol};
use espial::selector::icmp_value;
use espial::verdict::Reason;
use espial::wire;

use super::case::{self, Object, Problem};

/// Outer addresses of cases that name none.
pub(super) const OUTER: Endpoints = Endpoints::V4 { src: 0xc633_6401, dst: 0xcb00_7101 };
/// The same in IPv6.
pub(super) const OUTER_V6: Endpoints = Endpoints::V6 {
    src: 0x2001_0db8_0000_0000_0000_0000_0000_0001,
    dst: 0x2001_0db8_0000_0000_0000_0000_0000_0002,
};

/// Octets of an IKE header (RFC 7296 section 3.1).
const IKE_HEADER_OCTETS: usize = 28;

/// The headers of an ESP packet directly in IP that arrived with this SPI.
pub(super) fn esp_headers(endpoints: Endpoints, spi: u32) -> Result<OuterHeaders, Problem> {
    let headers = wire::esp(endpoints, &esp(spi, 1), 20);
    headers.map_err(|what| Problem(format!("an ESP header reads as {}", Reason::from(what).name())))
}

/// The SPI and the sequence number of an ESP packet, and nothing behind them.
pub(super) fn esp(spi: u32, sequence: u32) -> Vec<u8> {
    [spi.to_be_bytes(), sequence.to_be_bytes()].concat()
}

/// A UDP datagram without a checksum, or `None` if the payload is too long for one.
pub(super) fn udp(sport: u16, dport: u16, payload: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(payload.len().checked_add(8)?).ok()?;
    let header = [sport, dport, length, 0].map(u16::to_be_bytes);
    Some([header.as_flattened(), payload].concat())
}

/// An IP packet without options or checksum, or `None` if the body is too long for one.
pub(super) fn ip(endpoints: Endpoints, next: u8, body: &[u8]) -> Option<Vec<u8>> {
    let mut packet = Vec::with_capacity(40 + body.len());
    match endpoints {
        Endpoints::V4 { src, dst } => {
            let length = u16::try_from(body.len().checked_add(20)?).ok()?.to_be_bytes();
            packet.extend([0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, next, 0, 0]);
            packet.extend([src.to_be_bytes(), dst.to_be_bytes()].as_flattened());
        }
        Endpoints::V6 { src, dst } => {
            let length = u16::try_from(body.len()).ok()?.to_be_bytes();
            packet.extend([0x60, 0, 0, 0, length[0], length[1], next, 64]);
            packet.extend([src.to_be_bytes(), dst.to_be_bytes()].as_flattened());
        }
    }
    packet.extend(body);
    Some(packet)
}

/// An IP packet that holds an ESP packet without content.
pub(super) fn esp_in_ip(endpoints: Endpoints, spi: u32, sequence: u32) -> Vec<u8> {
    ip(endpoints, protocol::ESP, &esp(spi, sequence)).unwrap_or_default()
}

/// ESP or AH of a case: its SPI and sequence number.
#[derive(Clone, Copy)]
pub(super) struct Spied {
    pub(super) spi: u32,
    pub(super) sequence: u32,
}

/// A packet with these headers from its IP header on, or `None` if it cannot be written. With an SPI, UDP
/// holds ESP (RFC 3948); without one UDP holds IKE, behind the non-ESP marker where port 4500 is.
pub(super) fn whole(headers: &InnerHeaders, ipsec: Option<Spied>) -> Option<Vec<u8>> {
    if headers.fragment != Fragment::None {
        return None;
    }
    let body = match (headers.protocol, headers.next_layer, ipsec) {
        (protocol::ESP, _, Some(Spied { spi, sequence })) => esp(spi, sequence),
        (protocol::AH, _, Some(Spied { spi, sequence })) => ah(spi, sequence),
        (protocol::UDP, NextLayer::Ports { src, dst }, Some(Spied { spi, sequence })) => {
            udp(src, dst, &esp(spi, sequence))?
        }
        (protocol::ESP | protocol::AH, ..) | (.., Some(_)) => return None,
        (protocol::UDP, NextLayer::Ports { src, dst }, None) => {
            let marker = if [src, dst].contains(&wire::NAT_T_PORT) { 4 } else { 0 };
            udp(src, dst, &vec![0; marker + IKE_HEADER_OCTETS])?
        }
        // What stands behind the ports of other protocols is not looked at.
        (_, NextLayer::Ports { src, dst }, None) => {
            [[src, dst].map(u16::to_be_bytes).as_flattened(), &[0; 16]].concat()
        }
        (_, NextLayer::Icmp(value), None) => [&value.to_be_bytes()[..], &[0; 6]].concat(),
        (_, NextLayer::Mobility(value), None) => {
            let [kind, _] = value.to_be_bytes();
            vec![59, 0, kind, 0, 0, 0, 0, 0]
        }
        (_, NextLayer::Opaque, None) => vec![0; 8],
    };
    ip(headers.endpoints, headers.protocol, &body)
}

/// An AH header with an ICV of 96 bits of zero.
fn ah(spi: u32, sequence: u32) -> Vec<u8> {
    [&[protocol::TCP, 4, 0, 0][..], &esp(spi, sequence), &[0; 12]].concat()
}

/// The headers of an inner packet, whose fields stand in `object` beside others.
pub(super) fn inner(object: &mut Object<'_>) -> Result<InnerHeaders, Problem> {
    let (src, dst): (IpAddr, IpAddr) = (object.address("src")?, object.address("dst")?);
    let endpoints = Endpoints::new(src, dst)
        .ok_or_else(|| Problem(format!("{src} and {dst} are of two families")))?;
    let protocol = object.number("proto")?;
    let mut values = Vec::new();
    match (object.present("sport"), object.present("dport")) {
        (Some(sport), Some(dport)) => values.push(NextLayer::Ports {
            src: case::number(&object.at("sport"), sport)?,
            dst: case::number(&object.at("dport"), dport)?,
        }),
        (None, None) => {}
        _ => {
            return Err(Problem(format!(
                "`{}` and `{}` go together",
                object.at("sport"),
                object.at("dport")
            )));
        }
    }
    if let Some(icmp) = object.present("icmp") {
        let path = object.at("icmp");
        let [icmp_type, code] = case::list(&path, icmp)? else {
            return Err(Problem::field(&path, "a type and a code", icmp));
        };
        let octet = |value| case::number::<u8>(&path, value);
        values.push(NextLayer::Icmp(icmp_value(octet(icmp_type)?, octet(code)?)));
    }
    if let Some(mh) = object.present("mh") {
        let mh = case::number(&object.at("mh"), mh)?;
        values.push(NextLayer::Mobility(icmp_value(mh, 0)));
    }
    let next_layer = match values.as_slice() {
        [] => NextLayer::Opaque,
        [one] => *one,
        _ => return Err(Problem("a packet has more than one of ports, icmp and mh".to_owned())),
    };
    let path = object.at("frag");
    let fragment = match object.present("frag").map(|frag| case::text(&path, frag)) {
        None => Fragment::None,
        Some(frag) => match frag? {
            "none" => Fragment::None,
            "first" => Fragment::First,
            "non_initial" => Fragment::NonInitial,
            other => return Err(Problem(format!("unknown `{path}`: `{other}`"))),
        },
    };
    Ok(InnerHeaders { endpoints, protocol, next_layer, fragment })
}
