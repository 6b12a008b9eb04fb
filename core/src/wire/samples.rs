//! Packets for the tests of this module, built octet by octet from the RFCs' pictures: no parser and
//! no builder of anyone else's is between the figure and the test.

use std::net::Ipv6Addr;
use std::vec::Vec;

use crate::headers::{Encap, Endpoints, Ipsec, Outer, OuterHeaders, Spi, protocol as p};
use crate::verdict::{Malformed, Reason};

pub(super) const SPI: u32 = 0xc471_54a0;
pub(super) const SEQUENCE: u32 = 0x0102_0304;
pub(super) const ICV: [u8; 12] = [0xaa; 12];

/// 198.51.100.20 to 203.0.113.2.
pub(super) fn ends4() -> Endpoints {
    Endpoints::V4 { src: 0xc633_6414, dst: 0xcb00_7102 }
}

/// 2001:db8:a::10 to 2001:db8:b::20.
pub(super) fn ends6() -> Endpoints {
    Endpoints::V6 {
        src: Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x10).to_bits(),
        dst: Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, 0x20).to_bits(),
    }
}

/// Joins octets.
pub(super) fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// IPv4 with a flags-and-offset field and options (a multiple of 4 octets).
pub(super) fn v4_full(protocol: u8, place: u16, options: &[u8], body: &[u8]) -> Vec<u8> {
    assert!(options.len().is_multiple_of(4));
    let Endpoints::V4 { src, dst } = ends4() else { unreachable!() };
    let header = 20 + options.len();
    let mut packet = vec![0x40 | (header / 4) as u8, 0];
    packet.extend(((header + body.len()) as u16).to_be_bytes());
    packet.extend([0x12, 0x34]);
    packet.extend(place.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(src.to_be_bytes());
    packet.extend(dst.to_be_bytes());
    packet.extend(options);
    packet.extend(body);
    packet
}

pub(super) fn v4(protocol: u8, body: &[u8]) -> Vec<u8> {
    v4_full(protocol, 0x4000, &[], body)
}

pub(super) fn v6(next: u8, body: &[u8]) -> Vec<u8> {
    let Endpoints::V6 { src, dst } = ends6() else { unreachable!() };
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((body.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(src.to_be_bytes());
    packet.extend(dst.to_be_bytes());
    packet.extend(body);
    packet
}

/// Hop-by-hop or destination options of 8 + 8 * `units` octets, filled by a PadN option.
pub(super) fn options(next: u8, units: u8) -> Vec<u8> {
    let mut header = vec![next, units, 1, 4, 0, 0, 0, 0];
    header.resize(8 + 8 * usize::from(units), 0);
    header
}

/// A Routing header of 24 octets.
pub(super) fn routing(next: u8, kind: u8, segments_left: u8) -> Vec<u8> {
    let mut header = vec![next, 2, kind, segments_left, 0, 0, 0, 0];
    header.resize(24, 0x11);
    header
}

/// A Fragment header; `place` is the offset (a multiple of 8) plus 1 if more follow.
pub(super) fn fragment(next: u8, place: u16) -> Vec<u8> {
    let [a, b] = place.to_be_bytes();
    vec![next, 0xee, a, b, 0xde, 0xad, 0xbe, 0xef]
}

pub(super) fn udp(sport: u16, dport: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(sport.to_be_bytes());
    datagram.extend(dport.to_be_bytes());
    datagram.extend(((8 + payload.len()) as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

pub(super) fn esp(spi: u32, sequence: u32, rest: &[u8]) -> Vec<u8> {
    join(&[&spi.to_be_bytes(), &sequence.to_be_bytes(), rest])
}

/// AH with an ICV, then what it protects.
pub(super) fn ah(next: u8, spi: u32, sequence: u32, icv: &[u8], rest: &[u8]) -> Vec<u8> {
    let words = ((12 + icv.len()) / 4 - 2) as u8;
    join(&[&[next, words, 0, 0], &spi.to_be_bytes(), &sequence.to_be_bytes(), icv, rest])
}

/// The first octets of each next layer header.
pub(super) fn tcp() -> Vec<u8> {
    let mut header = vec![0xc0, 0x01, 0x00, 0x50];
    header.resize(20, 0);
    header
}

/// An ICMP or ICMPv6 message with a body behind its 8 octets.
pub(super) fn icmp(kind: u8, code: u8, body: &[u8]) -> Vec<u8> {
    join(&[&[kind, code, 0, 0, 0, 0, 0, 0], body])
}

/// One of each shape, by name. Every test that walks positions walks them in all of these.
pub(super) fn all() -> Vec<(&'static str, Vec<u8>)> {
    let esp_packet = esp(SPI, SEQUENCE, &[0x5a; 24]);
    let nat_t = udp(4500, 4500, &esp_packet);
    let every_extension = join(&[
        &options(p::DESTINATION_OPTIONS, 0),
        &options(p::ROUTING, 1),
        &routing(p::FRAGMENT, 2, 1),
        &fragment(p::DESTINATION_OPTIONS, 0),
        &options(p::ESP, 2),
        &esp_packet,
    ]);
    let mut samples = vec![
        ("v4 esp", v4(p::ESP, &esp_packet)),
        ("v4 options esp", v4_full(p::ESP, 0, &[1; 40], &esp_packet)),
        ("v4 ah", v4(p::AH, &ah(p::IPV4, SPI, SEQUENCE, &ICV, &v4(p::TCP, &tcp())))),
        ("v4 nat-t", v4(p::UDP, &nat_t)),
        ("v4 options nat-t", v4_full(p::UDP, 0, &[1; 4], &nat_t)),
        ("v4 keepalive", v4(p::UDP, &udp(4500, 4500, &[0xff]))),
        ("v4 ike 4500", v4(p::UDP, &udp(4500, 4500, &[&[0; 4][..], &[7; 28]].concat()))),
        ("v4 ike 500", v4(p::UDP, &udp(500, 500, &[7; 28]))),
        ("v4 esp first fragment", v4_full(p::ESP, 0x2000, &[], &esp_packet)),
        ("v4 esp later fragment", v4_full(p::ESP, 0x0004, &[], &esp_packet)),
        ("v4 nat-t first fragment", v4_full(p::UDP, 0x2000, &[], &nat_t)),
        ("v4 udp later fragment", v4_full(p::UDP, 0x0010, &[], &[0; 24])),
        ("v6 esp", v6(p::ESP, &esp_packet)),
        ("v6 ah", v6(p::AH, &ah(p::IPV6, SPI, SEQUENCE, &ICV, &v6(p::TCP, &tcp())))),
        ("v6 nat-t", v6(p::UDP, &nat_t)),
        ("v6 every extension esp", v6(p::HOP_BY_HOP, &every_extension)),
        ("v6 esp first fragment", v6(p::FRAGMENT, &join(&[&fragment(p::ESP, 1), &esp_packet]))),
        ("v6 esp later fragment", v6(p::FRAGMENT, &join(&[&fragment(p::ESP, 64), &esp_packet]))),
        (
            "v6 tcp first fragment",
            v6(
                p::HOP_BY_HOP,
                &join(&[&options(p::FRAGMENT, 0), &fragment(p::TCP, 1), &tcp(), &[0; 4]]),
            ),
        ),
        ("v6 dstopts mh", {
            let mobility = [p::NO_NEXT_HEADER, 1, 5, 0, 0, 0, 0, 0];
            v6(p::DESTINATION_OPTIONS, &join(&[&options(p::MOBILITY, 0), &mobility]))
        }),
        ("v4 icmp error", v4(p::ICMP, &icmp(3, 1, &v4(p::UDP, &udp(53, 999, &[1; 8]))))),
        ("v6 icmp error", v6(p::ICMPV6, &icmp(1, 4, &v6(p::TCP, &tcp())))),
        ("v6 nothing", v6(p::NO_NEXT_HEADER, &[])),
    ];
    for protocol in [p::TCP, p::UDP, p::DCCP, p::SCTP, p::UDP_LITE, p::ICMP, p::MOBILITY, 47] {
        samples.push(("v4 next layer", v4(protocol, &tcp())));
    }
    for protocol in [p::TCP, p::UDP, p::DCCP, p::SCTP, p::UDP_LITE, p::ICMPV6, p::MOBILITY, 47] {
        samples.push(("v6 next layer", v6(protocol, &tcp())));
    }
    samples
}

/// What `classify` gives for a malformed packet.
pub(super) fn malformed(what: Malformed) -> Result<Outer, Reason> {
    Err(Reason::Malformed(what))
}

/// What an ESP packet of [`SPI`] and [`SEQUENCE`] reads as.
pub(super) fn outer(endpoints: Endpoints, offset: u32, octets: usize) -> OuterHeaders {
    OuterHeaders {
        endpoints,
        flow_label: 0,
        ipsec: Ipsec::Esp,
        encap: Encap::None,
        spi: Spi(SPI),
        sequence: SEQUENCE,
        sequence_high: 0,
        sport: 0,
        dport: 0,
        offset,
        octets: octets as u32,
    }
}

pub(super) fn nat_t(endpoints: Endpoints, sport: u16, offset: u32, octets: usize) -> OuterHeaders {
    let plain = outer(endpoints, offset, octets);
    OuterHeaders { encap: Encap::Udp, sport, dport: 4500, ..plain }
}

/// Puts an IP length that ends the packet after `octets` octets, if the field can say it.
pub(super) fn set_length(packet: &mut [u8], octets: usize) -> bool {
    let (at, value) =
        if packet[0] >> 4 == 4 { (2, Some(octets)) } else { (4, octets.checked_sub(40)) };
    let Some(value) = value else { return false };
    packet[at..at + 2].copy_from_slice(&(value as u16).to_be_bytes());
    true
}
