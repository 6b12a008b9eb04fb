use std::vec::Vec;

use proptest::prelude::*;

use crate::headers::{
    Encap, Endpoints, Family, Fragment, InnerHeaders, Ipsec, NextLayer, Outer, OuterHeaders, Spi,
    protocol as p,
};
use crate::verdict::{Malformed, Reason};

use super::samples::{ah, esp, *};
use super::*;

fn malformed(what: Malformed) -> Result<Outer, Reason> {
    Err(Reason::Malformed(what))
}

/// What an ESP packet of [`SPI`] and [`SEQUENCE`] reads as.
fn outer(endpoints: Endpoints, offset: u32, octets: usize) -> OuterHeaders {
    OuterHeaders {
        endpoints,
        ipsec: Ipsec::Esp,
        encap: Encap::None,
        spi: Spi(SPI),
        sequence: SEQUENCE,
        sport: 0,
        dport: 0,
        offset,
        octets: octets as u32,
    }
}

fn nat_t(endpoints: Endpoints, sport: u16, offset: u32, octets: usize) -> OuterHeaders {
    let plain = outer(endpoints, offset, octets);
    OuterHeaders { encap: Encap::Udp, sport, dport: 4500, ..plain }
}

/// Puts an IP length that ends the packet after `octets` octets, if the field can say it.
fn set_length(packet: &mut [u8], octets: usize) -> bool {
    let (at, value) =
        if packet[0] >> 4 == 4 { (2, Some(octets)) } else { (4, octets.checked_sub(40)) };
    let Some(value) = value else { return false };
    packet[at..at + 2].copy_from_slice(&(value as u16).to_be_bytes());
    true
}

// ---- outer: what is found -------------------------------------------------------------------------

#[test]
fn esp_is_found_in_both_versions() {
    let packet = esp(SPI, SEQUENCE, &[9; 20]);
    let expected = |ends, offset| Ok(Outer::Ipsec(outer(ends, offset, 28)));
    assert_eq!(classify(&v4(p::ESP, &packet)), expected(ends4(), 20));
    assert_eq!(classify(&v4_full(p::ESP, 0, &[1; 40], &packet)), expected(ends4(), 60));
    assert_eq!(classify(&v6(p::ESP, &packet)), expected(ends6(), 40));
}

#[test]
fn ah_is_found_in_both_versions() {
    let packet = ah(p::IPV4, SPI, SEQUENCE, &ICV, &[3; 40]);
    for (packet, ends, offset) in
        [(v4(p::AH, &packet), ends4(), 20), (v6(p::AH, &packet), ends6(), 40)]
    {
        let expected = OuterHeaders { ipsec: Ipsec::Ah, ..outer(ends, offset, 64) };
        assert_eq!(classify(&packet), Ok(Outer::Ipsec(expected)));
    }
}

#[test]
fn esp_is_found_behind_all_extension_headers() {
    let samples = all();
    let (_, packet) = samples.iter().find(|(name, _)| *name == "v6 every extension esp").unwrap();
    // 40 + 8 + 16 + 24 + 8 + 24
    assert_eq!(classify(packet), Ok(Outer::Ipsec(outer(ends6(), 112 + 8, 32))));
}

#[test]
fn host_entry_points_agree_with_classify() {
    let packet = esp(SPI, SEQUENCE, &[9; 20]);
    assert_eq!(super::esp(ends4(), &packet, 20), Ok(outer(ends4(), 20, 28)));
    let packet = ah(p::IPV6, SPI, SEQUENCE, &ICV, &[3; 40]);
    let Ok(Outer::Ipsec(found)) = classify(&v6(p::AH, &packet)) else { panic!() };
    assert_eq!(super::ah(ends6(), &packet, 40), Ok(found));
    let header = AhHeader::parse(Family::V6, &packet).unwrap();
    let expected = AhHeader { next_header: p::IPV6, octets: 24, spi: Spi(SPI), sequence: SEQUENCE };
    assert_eq!(header, expected);
}

#[test]
fn other_protocols_are_other() {
    for protocol in (0..=255).filter(|protocol| ![p::ESP, p::AH, p::UDP].contains(protocol)) {
        assert_eq!(classify(&v4(protocol, &[1, 2, 3])), Ok(Outer::Other), "{protocol}");
    }
    assert_eq!(classify(&v6(p::TCP, &[])), Ok(Outer::Other));
    assert_eq!(classify(&v6(p::NO_NEXT_HEADER, &[])), Ok(Outer::Other));
}

/// DPDK's header of one packet leaked into the next of a burst (T13); here nothing is kept (I1).
#[test]
fn t13_no_state_between_packets() {
    let samples = all();
    let alone: Vec<_> =
        samples.iter().map(|(_, packet)| (classify(packet), inner(packet))).collect();
    for (first, _) in samples.iter().zip(&alone) {
        for (second, expected) in samples.iter().zip(&alone) {
            let _ = classify(&first.1);
            let _ = inner(&first.1);
            assert_eq!(&(classify(&second.1), inner(&second.1)), expected, "{}", second.0);
        }
    }
    let after_nat_t = [
        classify(&v4(p::UDP, &udp(4500, 4500, &esp(SPI, SEQUENCE, &[9; 20])))),
        classify(&v4(p::ESP, &esp(SPI, SEQUENCE, &[9; 20]))),
    ];
    assert_eq!(after_nat_t[0], Ok(Outer::Ipsec(nat_t(ends4(), 4500, 28, 28))));
    assert_eq!(after_nat_t[1], Ok(Outer::Ipsec(outer(ends4(), 20, 28))));
}

// ---- UDP ------------------------------------------------------------------------------------------

#[test]
fn rfc3948_2_1_esp_by_destination_port() {
    let packet = esp(SPI, SEQUENCE, &[9; 20]);
    for sport in [4500, 1, 500, 40_001, 65_535] {
        let found = classify(&v4(p::UDP, &udp(sport, 4500, &packet)));
        assert_eq!(found, Ok(Outer::Ipsec(nat_t(ends4(), sport, 28, 28))));
        let found = classify(&v6(p::UDP, &udp(sport, 4500, &packet)));
        assert_eq!(found, Ok(Outer::Ipsec(nat_t(ends6(), sport, 48, 28))));
    }
    assert_eq!(classify(&v4(p::UDP, &udp(4500, 40_001, &packet))), Ok(Outer::Other));
    assert_eq!(classify(&v4(p::UDP, &udp(4501, 4499, &packet))), Ok(Outer::Other));
}

#[test]
fn rfc3948_2_1_checksum_decides_nothing() {
    let packet = v4(p::UDP, &udp(4500, 4500, &esp(SPI, SEQUENCE, &[9; 20])));
    for checksum in [[0, 0], [0xff, 0xff], [0x12, 0x34]] {
        let mut packet = packet.clone();
        packet[26..28].copy_from_slice(&checksum);
        assert_eq!(classify(&packet), Ok(Outer::Ipsec(nat_t(ends4(), 4500, 28, 28))));
    }
}

#[test]
fn rfc3948_2_2_four_zero_octets_are_the_marker() {
    for rest in [0, 1, 3, 4, 28] {
        let payload = [&[0; 4][..], &vec![7; rest]].concat();
        assert_eq!(classify_udp(ends4(), 4500, 4500, &payload, 28), Ok(Outer::Ike), "{rest}");
    }
    // Each octet of the marker counts.
    for at in 0..4 {
        let mut payload = [0; 8];
        payload[at] = 1;
        let Ok(Outer::Ipsec(found)) = classify_udp(ends4(), 4500, 4500, &payload, 28) else {
            panic!()
        };
        assert_eq!(found.spi, Spi(1 << (24 - 8 * at)));
    }
}

#[test]
fn rfc3948_2_3_one_octet_ff_is_keepalive() {
    for octet in 0..=255 {
        let expected =
            if octet == 0xff { Ok(Outer::NatKeepalive) } else { malformed(Malformed::NatT) };
        assert_eq!(classify(&v4(p::UDP, &udp(4500, 4500, &[octet]))), expected);
        assert_eq!(classify(&v6(p::UDP, &udp(4500, 4500, &[octet]))), expected);
    }
    assert_eq!(classify_udp(ends4(), 4500, 4500, &[0xff; 2], 28), malformed(Malformed::NatT));
}

#[test]
fn nat_t_payload_lengths() {
    for length in 0..12 {
        let payload = vec![0xc4; length];
        let found = classify_udp(ends4(), 4500, 4500, &payload, 28);
        if length < 8 {
            assert_eq!(found, malformed(Malformed::NatT), "{length}");
        } else {
            assert!(matches!(found, Ok(Outer::Ipsec(_))), "{length}");
        }
        // Fewer than four zero octets are not the marker.
        let found = classify_udp(ends4(), 4500, 4500, &vec![0; length], 28);
        let expected = if length < 4 { malformed(Malformed::NatT) } else { Ok(Outer::Ike) };
        assert_eq!(found, expected, "{length}");
    }
}

#[test]
fn t10_esp_is_never_on_port_500() {
    let packet = esp(SPI, SEQUENCE, &[9; 20]);
    for (sport, dport) in [(500, 500), (40_000, 500), (500, 40_000), (4500, 500)] {
        for payload in [&packet[..], &[0; 28], &[0xff], &[]] {
            assert_eq!(classify(&v4(p::UDP, &udp(sport, dport, payload))), Ok(Outer::Ike));
            assert_eq!(classify_udp(ends6(), sport, dport, payload, 48), Ok(Outer::Ike));
        }
    }
}

#[test]
fn rfc4303_2_1_reserved_spis_are_read() {
    for spi in [1, 255, 256, u32::MAX] {
        let packet = esp(spi, 1, &[]);
        for packet in [v4(p::ESP, &packet), v4(p::UDP, &udp(4500, 4500, &packet))] {
            let Ok(Outer::Ipsec(found)) = classify(&packet) else { panic!("{spi}") };
            assert_eq!(found.spi, Spi(spi));
            assert_eq!(found.spi.is_reserved(), spi < 256);
        }
    }
}

#[test]
fn udp_length_edges() {
    let payload = esp(SPI, SEQUENCE, &[9; 20]);
    for (length, good) in
        [(0, false), (7, false), (8, true), (36, true), (37, false), (65_535, false)]
    {
        let mut packet = v4(p::UDP, &udp(4500, 4500, &payload));
        packet[24..26].copy_from_slice(&u16::to_be_bytes(length));
        match classify(&packet) {
            Err(reason) if length == 8 => {
                assert_eq!(reason, Reason::Malformed(Malformed::NatT), "the payload is empty");
            }
            Err(reason) => {
                assert!(!good);
                assert_eq!(reason, Reason::Malformed(Malformed::Udp), "{length}");
            }
            Ok(_) => assert!(good, "{length}"),
        }
        // To other ports it is nobody's business here.
        packet[20..24].copy_from_slice(&[0x80, 0, 0x80, 0]);
        assert_eq!(classify(&packet), Ok(Outer::Other));
        // IKE must be a datagram.
        packet[20..24].copy_from_slice(&[0x80, 0, 1, 0xf4]);
        let expected =
            if (8..=36).contains(&length) { Ok(Outer::Ike) } else { malformed(Malformed::Udp) };
        assert_eq!(classify(&packet), expected, "{length}");
    }
}

/// What the UDP length leaves over is not part of the ESP packet.
#[test]
fn udp_length_ends_the_esp_packet() {
    let mut packet = v4(p::UDP, &udp(4500, 4500, &esp(SPI, SEQUENCE, &[9; 20])));
    packet[24..26].copy_from_slice(&u16::to_be_bytes(30));
    assert_eq!(classify(&packet), Ok(Outer::Ipsec(nat_t(ends4(), 4500, 28, 22))));
}

// ---- outer fragments ------------------------------------------------------------------------------

#[test]
fn rfc4303_3_4_1_fragments_of_ipsec_are_refused() {
    let body = [0; 32];
    for protocol in [p::ESP, p::AH] {
        for place in [0x2000, 0x2001, 0x0001, 0x1f00] {
            let packet = v4_full(protocol, place, &[], &body);
            assert_eq!(classify(&packet), Err(Reason::OuterFragment), "{place:#x}");
        }
        for place in [1, 8, 9, 0xf000] {
            let packet = v6(p::FRAGMENT, &join(&[&fragment(protocol, place), &body]));
            assert_eq!(classify(&packet), Err(Reason::OuterFragment), "{place:#x}");
        }
    }
}

#[test]
fn udp_fragments() {
    let esp_packet = udp(4500, 4500, &esp(SPI, SEQUENCE, &[9; 24]));
    let ike = udp(4500, 4500, &[&[0; 4][..], &[7; 28]].concat());
    let ike_500 = udp(500, 500, &[7; 32]);
    let other = udp(53, 53, &[7; 32]);
    let too_short_to_tell = udp(4500, 4500, &[]);
    for (datagram, expected) in [
        (&esp_packet, Err(Reason::OuterFragment)),
        (&ike, Ok(Outer::Ike)),
        (&ike_500, Ok(Outer::Ike)),
        (&other, Ok(Outer::Other)),
        (&too_short_to_tell, Err(Reason::OuterFragment)),
    ] {
        // The UDP length is that of the whole datagram.
        let mut datagram = datagram.clone();
        datagram[4..6].copy_from_slice(&u16::to_be_bytes(4000));
        assert_eq!(classify(&v4_full(p::UDP, 0x2000, &[], &datagram)), expected);
        let first = v6(p::FRAGMENT, &join(&[&fragment(p::UDP, 1), &datagram]));
        assert_eq!(classify(&first), expected);
        // Later ones hold no ports.
        assert_eq!(classify(&v4_full(p::UDP, 0x2001, &[], &datagram)), Ok(Outer::Other));
        assert_eq!(classify(&v4_full(p::UDP, 0x0001, &[], &datagram)), Ok(Outer::Other));
        let later = v6(p::FRAGMENT, &join(&[&fragment(p::UDP, 8), &datagram]));
        assert_eq!(classify(&later), Ok(Outer::Other));
    }
}

#[test]
fn rfc6946_atomic_fragment_is_a_whole_packet() {
    let packet = esp(SPI, SEQUENCE, &[9; 20]);
    let atomic = v6(p::FRAGMENT, &join(&[&fragment(p::ESP, 0), &packet]));
    assert_eq!(classify(&atomic), Ok(Outer::Ipsec(outer(ends6(), 48, 28))));
    let atomic = v6(p::FRAGMENT, &join(&[&fragment(p::TCP, 0), &tcp()]));
    assert_eq!(inner(&atomic).unwrap().fragment, Fragment::None);
    assert_eq!(inner(&atomic).unwrap().next_layer, NextLayer::Ports { src: 0xc001, dst: 80 });
}

// ---- each malformation ----------------------------------------------------------------------------

/// For every kind at least one packet that has nothing else wrong with it.
#[test]
fn each_malformation_has_its_own_reason() {
    use Malformed::*;
    let esp_packet = esp(SPI, SEQUENCE, &[9; 20]);
    let whole = v4(p::ESP, &esp_packet);
    let with = |at: usize, value: u8| {
        let mut packet = whole.clone();
        packet[at] = value;
        packet
    };
    let ext = |parts: &[&[u8]]| v6(p::DESTINATION_OPTIONS, &join(parts));
    let outer_cases: Vec<(Malformed, Vec<u8>)> = vec![
        (IpVersion, with(0, 0x55)),
        (IpVersion, with(0, 0x05)),
        (IpHeader, vec![]),
        (IpHeader, whole[..19].to_vec()),
        (IpHeader, with(0, 0x44)),
        (IpHeader, whole[..20].iter().map(|&o| if o == 0x45 { 0x46 } else { o }).collect()),
        (IpHeader, v6(p::ESP, &esp_packet)[..39].to_vec()),
        (IpLength, with(3, 19)),
        (IpLength, with(3, 49)),
        (IpLength, v6(p::ESP, &esp_packet)[..67].to_vec()),
        (Extension, ext(&[&options(p::ESP, 9)[..40]])),
        (Extension, ext(&[&[p::ESP, 0, 1, 4, 0, 0, 0]])),
        (Extension, v6(p::FRAGMENT, &fragment(p::ESP, 0)[..7])),
        (ExtensionOrder, ext(&[&options(p::HOP_BY_HOP, 0), &options(p::ESP, 0), &esp_packet])),
        (ExtensionLimit, {
            let chain = options(p::DESTINATION_OPTIONS, 0).repeat(9);
            v6(p::DESTINATION_OPTIONS, &chain)
        }),
        (
            ExtensionLimit,
            ext(&[&options(p::DESTINATION_OPTIONS, 254), &options(p::ESP, 1), &esp_packet]),
        ),
        (Fragment, v4_full(p::TCP, 0x2000, &[], &[0; 9])),
        (Fragment, v4_full(p::TCP, 0x1fff, &[], &[0; 8])),
        (Fragment, v6(p::FRAGMENT, &join(&[&fragment(p::TCP, 1), &[0; 9]]))),
        (Fragment, v6(p::FRAGMENT, &join(&[&fragment(p::TCP, 0xfff8), &[0; 8]]))),
        (Udp, v4(p::UDP, &udp(4500, 4500, &[])[..7])),
        (Udp, v6(p::FRAGMENT, &fragment(p::UDP, 1))),
        (Esp, v4(p::ESP, &esp_packet[..7])),
        (Esp, v6(p::ESP, &[])),
        (Ah, v4(p::AH, &ah(4, SPI, 1, &ICV, &[])[..23])),
        (Ah, v6(p::AH, &[0; 11])),
        (SpiZero, v4(p::ESP, &esp(0, 1, &[9; 20]))),
        (SpiZero, v6(p::AH, &ah(4, 0, 1, &ICV, &[]))),
        (NatT, v4(p::UDP, &udp(4500, 4500, &[1, 2]))),
        (RoutingHeader, v6(p::ROUTING, &join(&[&routing(p::ESP, 0, 1), &esp_packet]))),
    ];
    for (kind, packet) in &outer_cases {
        assert_eq!(classify(packet), malformed(*kind), "{packet:02x?}");
    }
    // The same IP rules hold inside.
    for (kind, packet) in &outer_cases {
        if !matches!(kind, Udp | Esp | Ah | SpiZero | NatT) {
            assert_eq!(inner(packet), Err(*kind), "{packet:02x?}");
        }
    }
    assert_eq!(inner_expecting(p::IPV6, &whole), Err(NextHeader));
    assert_eq!(inner(&v4(p::TCP, &[0; 3])), Err(NextLayer));
    let mut stream = tcp_encap::Stream::from_responder();
    let error = stream.next_frame(&mut [0, 1].as_slice(), &mut []).unwrap_err();
    assert_eq!(error.malformed(), Some(TcpFrame));

    let mut seen: Vec<_> = outer_cases.iter().map(|(kind, _)| *kind).collect();
    seen.extend([NextHeader, NextLayer, TcpFrame]);
    for kind in Malformed::ALL {
        assert!(seen.contains(&kind), "{kind:?} has no packet");
    }
}

// ---- IPv4 and IPv6 edges --------------------------------------------------------------------------

#[test]
fn rfc791_3_1_lengths() {
    for header in 0..16_u8 {
        let mut packet = v4_full(p::ESP, 0, &[1; 40], &esp(SPI, SEQUENCE, &[9; 20]));
        packet[0] = 0x40 | header;
        match classify(&packet) {
            Err(reason) => {
                assert!(header < 5);
                assert_eq!(reason, Reason::Malformed(Malformed::IpHeader));
            }
            Ok(Outer::Ipsec(found)) => {
                assert_eq!(found.offset, u32::from(header) * 4);
                assert_eq!(found.offset + found.octets, 88);
            }
            Ok(_) => panic!(),
        }
    }
}

/// A header of 12 octets once made a parser of AH compute an end before its start.
#[test]
fn rfc4302_2_2_lengths() {
    for words in 0..=255_u8 {
        let mut packet = ah(p::IPV4, SPI, SEQUENCE, &ICV, &[0; 80]);
        packet[1] = words;
        let octets = (usize::from(words) + 2) * 4;
        let fits = octets >= 12 && octets <= packet.len();
        let found = AhHeader::parse(Family::V4, &packet);
        assert_eq!(found.map(|header| usize::from(header.octets)).ok(), fits.then_some(octets));
        let found = AhHeader::parse(Family::V6, &packet);
        let fits = fits && octets.is_multiple_of(8);
        assert_eq!(found.map(|header| usize::from(header.octets)).ok(), fits.then_some(octets));
        if !fits {
            assert_eq!(found, Err(Malformed::Ah));
        }
    }
    let shortest = &ah(p::IPV4, SPI, SEQUENCE, &[], &[])[..];
    assert_eq!(shortest.len(), 12);
    assert!(AhHeader::parse(Family::V4, shortest).is_ok());
    assert_eq!(AhHeader::parse(Family::V6, shortest), Err(Malformed::Ah));
}

#[test]
fn link_padding_is_not_counted() {
    for (name, packet) in all() {
        let expected = (classify(&packet), inner(&packet));
        for padding in [1, 6, 46, 1000] {
            for octet in [0x00, 0xff] {
                let mut padded = packet.clone();
                padded.resize(packet.len() + padding, octet);
                assert_eq!((classify(&padded), inner(&padded)), expected, "{name}");
            }
        }
    }
}

#[test]
fn rfc8200_3_payload_length_zero() {
    // Nothing follows but link padding: a legal packet that holds nothing.
    let mut packet = v6(p::NO_NEXT_HEADER, &[]);
    packet.resize(60, 0);
    assert_eq!(classify(&packet), Ok(Outer::Other));
    assert_eq!(inner(&packet).map(|found| found.next_layer), Ok(NextLayer::Opaque));
    // RFC 2675: a jumbogram.
    let mut packet = v6(p::HOP_BY_HOP, &[&options(p::ESP, 0)[..], &[9; 40]].concat());
    packet[4..6].fill(0);
    assert_eq!(classify(&packet), malformed(Malformed::IpLength));
    assert_eq!(inner(&packet), Err(Malformed::IpLength));
    // ESP in nothing.
    let mut packet = v6(p::ESP, &esp(SPI, SEQUENCE, &[9; 40]));
    packet[4..6].fill(0);
    assert_eq!(classify(&packet), malformed(Malformed::Esp));
}

#[test]
fn rfc8200_4_1_extension_limits() {
    let esp_packet = esp(SPI, SEQUENCE, &[9; 20]);
    let chain = |count: usize| {
        let mut parts = Vec::new();
        for index in 0..count {
            let next = if index + 1 == count { p::ESP } else { p::DESTINATION_OPTIONS };
            parts.extend(options(next, 0));
        }
        parts.extend(&esp_packet);
        v6(if count == 0 { p::ESP } else { p::DESTINATION_OPTIONS }, &parts)
    };
    for count in 0..12 {
        let expected = if count <= MAX_EXTENSIONS {
            Ok(Outer::Ipsec(outer(ends6(), 40 + 8 * count as u32, 28)))
        } else {
            malformed(Malformed::ExtensionLimit)
        };
        assert_eq!(classify(&chain(count)), expected, "{count}");
    }
    // 2040 + 8 = 2048 octets are within the limit, 2040 + 16 are not, one of 2048 is.
    for (units, good) in [((254, 0), true), ((254, 1), false)] {
        let parts = join(&[
            &options(p::DESTINATION_OPTIONS, units.0),
            &options(p::ESP, units.1),
            &esp_packet,
        ]);
        assert_eq!(classify(&v6(p::DESTINATION_OPTIONS, &parts)).is_ok(), good);
    }
    let one = join(&[&options(p::ESP, 255), &esp_packet]);
    let expected = Ok(Outer::Ipsec(outer(ends6(), 40 + 2048, 28)));
    assert_eq!(classify(&v6(p::DESTINATION_OPTIONS, &one)), expected);
}

#[test]
fn rfc8200_4_1_hop_by_hop_comes_first() {
    let rest = [&options(p::TCP, 0)[..], &tcp()].concat();
    assert!(inner(&v6(p::HOP_BY_HOP, &rest)).is_ok());
    for kind in [p::HOP_BY_HOP, p::DESTINATION_OPTIONS, p::ROUTING, p::FRAGMENT] {
        let first = match kind {
            p::FRAGMENT => fragment(p::HOP_BY_HOP, 0),
            p::ROUTING => routing(p::HOP_BY_HOP, 2, 0),
            _ => options(p::HOP_BY_HOP, 0),
        };
        assert_eq!(inner(&v6(kind, &join(&[&first, &rest]))), Err(Malformed::ExtensionOrder));
    }
    // Not even behind the most headers that are walked.
    let chain = [&options(60, 0).repeat(7)[..], &options(p::HOP_BY_HOP, 0), &rest].concat();
    assert_eq!(inner(&v6(60, &chain)), Err(Malformed::ExtensionOrder));
}

#[test]
fn rfc5095_3_routing_type_0() {
    for (kind, left, expected) in [
        (0, 0, Ok(80)),
        (0, 1, Err(Malformed::RoutingHeader)),
        (0, 255, Err(Malformed::RoutingHeader)),
        (2, 1, Ok(80)),
        (4, 9, Ok(80)),
    ] {
        let packet = v6(p::ROUTING, &join(&[&routing(p::TCP, kind, left), &tcp()]));
        let found = inner(&packet).map(|found| match found.next_layer {
            NextLayer::Ports { dst, .. } => dst,
            _ => 0,
        });
        assert_eq!(found, expected, "type {kind} left {left}");
    }
}

#[test]
fn rfc8200_4_5_fragment_edges() {
    let later = |place: u16, octets: usize, before: usize| {
        let mut body = Vec::new();
        if before > 0 {
            body.extend(options(p::FRAGMENT, (before / 8 - 1) as u8));
        }
        body.extend(fragment(p::TCP, place));
        body.resize(body.len() + octets, 0);
        inner(&v6(if before > 0 { 60 } else { p::FRAGMENT }, &body)).map(|found| found.fragment)
    };
    // The end may be 65 535 and no more; headers in front of the fragment count (payload length).
    assert_eq!(later(0xfff8, 7, 0), Ok(Fragment::NonInitial));
    assert_eq!(later(0xfff8, 8, 0), Err(Malformed::Fragment));
    assert_eq!(later(0xfff0, 7, 8), Ok(Fragment::NonInitial));
    assert_eq!(later(0xfff0, 8, 8), Err(Malformed::Fragment));
    // All but the last are a multiple of 8.
    for octets in 8..24 {
        let expected = octets % 8 == 0;
        assert_eq!(later(9, octets, 0).is_ok(), expected, "{octets}");
        assert!(later(8, octets, 0).is_ok());
    }
    // IPv4 counts its own header, RFC 791 section 3.1.
    let later = |place, octets| inner(&v4_full(p::TCP, place, &[], &vec![0; octets]));
    assert!(later(0x1ffc, 11).is_ok()); // 65 504 + 11 + 20
    assert!(later(0x1ffc, 12).is_err());
    assert!(later(0x1ffd, 3).is_ok());
    assert_eq!(later(0x1fff, 1), Err(Malformed::Fragment));
}

#[test]
fn rfc7112_5_first_fragment_holds_all_headers() {
    let cut = v6(p::FRAGMENT, &join(&[&fragment(60, 1), &options(p::TCP, 1)[..8]]));
    assert_eq!(inner(&cut), Err(Malformed::Extension));
    let cut = v6(p::FRAGMENT, &fragment(p::TCP, 1));
    assert_eq!(inner(&cut), Err(Malformed::NextLayer));
}

/// A second Fragment header cannot make a fragment look whole, nor a later one look like a first.
#[test]
fn nested_fragment_headers_add_up() {
    let nested = |a, b| {
        let body = join(&[&fragment(p::FRAGMENT, a), &fragment(p::TCP, b), &tcp(), &[0; 4]]);
        inner(&v6(p::FRAGMENT, &body)).unwrap()
    };
    assert_eq!(nested(0, 0).fragment, Fragment::None);
    assert_eq!(nested(1, 0).fragment, Fragment::First);
    assert_eq!(nested(0, 1).fragment, Fragment::First);
    assert_eq!(nested(0, 8).fragment, Fragment::NonInitial);
    assert_eq!(nested(1, 8).next_layer, NextLayer::Opaque);
    // The outer one ends the walk: its body is data.
    let found = nested(8, 0);
    assert_eq!((found.fragment, found.protocol), (Fragment::NonInitial, p::FRAGMENT));
}

// ---- inner ----------------------------------------------------------------------------------------

#[test]
fn rfc4301_4_4_1_1_values_of_each_next_layer() {
    let header = [0x12, 0x34, 0x56, 0x78, 9, 9, 9, 9];
    for number in 0..=255_u8 {
        let expected = match number {
            6 | 17 | 33 | 132 | 136 => NextLayer::Ports { src: 0x1234, dst: 0x5678 },
            1 | 58 => NextLayer::Icmp(0x1234),
            135 => NextLayer::Mobility(0x5600),
            _ => NextLayer::Opaque,
        };
        let found = inner(&v4(number, &header)).unwrap();
        let headers = InnerHeaders {
            endpoints: ends4(),
            protocol: number,
            next_layer: expected,
            fragment: Fragment::None,
        };
        assert_eq!(found, headers);
        if ![0, 43, 44, 60].contains(&number) {
            let headers = InnerHeaders { endpoints: ends6(), ..headers };
            assert_eq!(inner(&v6(number, &header)), Ok(headers));
            // T14: behind an extension header too.
            let behind = join(&[&options(number, 1), &header]);
            assert_eq!(inner(&v6(p::DESTINATION_OPTIONS, &behind)), Ok(headers));
            assert_eq!(transport(ends6(), number, &header), Ok(headers));
            assert_eq!(transport(ends6(), p::DESTINATION_OPTIONS, &behind), Ok(headers));
        }
        let headers = InnerHeaders { endpoints: ends4(), ..headers };
        assert_eq!(transport(ends4(), number, &header), Ok(headers));
        // As long as the value needs, and no shorter.
        let needs = match expected {
            NextLayer::Ports { .. } => 4,
            NextLayer::Icmp(_) => 2,
            NextLayer::Mobility(_) => 3,
            NextLayer::Opaque => 0,
        };
        for length in 0..needs {
            let short = &header[..length];
            assert_eq!(inner(&v4(number, short)), Err(Malformed::NextLayer));
            assert_eq!(transport(ends4(), number, short), Err(Malformed::NextLayer));
            assert_eq!(transport(ends6(), number, short), Err(Malformed::NextLayer));
        }
        assert!(inner(&v4(number, &header[..needs])).is_ok());
    }
}

/// RFC 4301 section 7, T20: a later fragment has no ports, and a missing port is not port 0.
#[test]
fn rfc4301_7_later_fragments_are_opaque() {
    for protocol in [6, 17, 1, 58, 135, 47] {
        for length in [0, 1, 8, 24] {
            let body = vec![0; length];
            for found in [
                inner(&v4_full(protocol, 0x0001, &[], &body)).unwrap(),
                inner(&v4_full(protocol, 0x2001, &[], &body[..length / 8 * 8])).unwrap(),
                inner(&v6(p::FRAGMENT, &join(&[&fragment(protocol, 8), &body]))).unwrap(),
            ] {
                assert_eq!(found.fragment, Fragment::NonInitial);
                assert_eq!(found.next_layer, NextLayer::Opaque);
                assert_eq!(found.protocol, protocol);
            }
        }
    }
    let first = inner(&v4_full(6, 0x2000, &[], &[0, 1, 0, 2, 0, 0, 0, 0])).unwrap();
    assert_eq!(first.fragment, Fragment::First);
    assert_eq!(first.next_layer, NextLayer::Ports { src: 1, dst: 2 });
}

/// The flags that are not fragmentation: DF and the reserved bit.
#[test]
fn dont_fragment_is_not_a_fragment() {
    for place in [0x0000, 0x4000, 0x8000, 0xc000] {
        let found = inner(&v4_full(p::TCP, place, &[], &tcp())).unwrap();
        assert_eq!(found.fragment, Fragment::None);
    }
}

#[test]
fn rfc4303_2_6_next_header_and_version_agree() {
    let (four, six) = (v4(p::TCP, &tcp()), v6(p::TCP, &tcp()));
    assert_eq!(inner_expecting(4, &four), inner(&four));
    assert_eq!(inner_expecting(41, &six), inner(&six));
    for next_header in 0..=255 {
        let found = inner_expecting(next_header, &four);
        assert_eq!(found.is_ok(), next_header == 4);
        let found = inner_expecting(next_header, &six);
        assert_eq!(found.is_ok(), next_header == 41);
        if next_header != 41 {
            assert_eq!(found, Err(Malformed::NextHeader));
        }
    }
    assert_eq!(inner_expecting(4, &[]), Err(Malformed::IpHeader));
    assert_eq!(inner_expecting(41, &[0x50; 60]), Err(Malformed::IpVersion));
}

#[test]
fn transport_walks_only_ipv6() {
    let behind = join(&[&options(p::UDP, 0), &udp(7, 9, &[])]);
    let found = transport(ends6(), p::DESTINATION_OPTIONS, &behind).unwrap();
    let ports = NextLayer::Ports { src: 7, dst: 9 };
    assert_eq!((found.protocol, found.next_layer), (p::UDP, ports));
    let found = transport(ends4(), p::DESTINATION_OPTIONS, &behind).unwrap();
    assert_eq!((found.protocol, found.next_layer), (60, NextLayer::Opaque));
    let found = transport(ends6(), p::HOP_BY_HOP, &behind);
    assert_eq!(found, Err(Malformed::ExtensionOrder));
    assert_eq!(transport(ends6(), 60, &behind[..4]), Err(Malformed::Extension));
}

// ---- ICMP errors ----------------------------------------------------------------------------------

fn turned(endpoints: Endpoints, protocol: u8, next_layer: NextLayer) -> Option<InnerHeaders> {
    let endpoints = endpoints.reversed();
    Some(InnerHeaders { endpoints, protocol, next_layer, fragment: Fragment::None })
}

fn enclosed(packet: &[u8]) -> Option<InnerHeaders> {
    icmp_enclosed(packet, &inner(packet).unwrap())
}

#[test]
fn rfc4301_6_2_enclosed_packet_is_turned_round() {
    let ports = NextLayer::Ports { src: 80, dst: 0xc001 };
    for kind in 0..=255_u8 {
        let four = icmp(kind, 1, &v4(p::TCP, &tcp()));
        let expected = [3, 4, 5, 11, 12].contains(&kind);
        let expected = if expected { turned(ends4(), 6, ports) } else { None };
        assert_eq!(enclosed(&v4(p::ICMP, &four)), expected, "{kind}");
        let headers = transport(ends4(), p::ICMP, &four).unwrap();
        assert_eq!(transport_icmp_enclosed(p::ICMP, &four, &headers), expected);

        let six = icmp(kind, 1, &v6(p::TCP, &tcp()));
        let expected = (1..=4).contains(&kind);
        let expected = if expected { turned(ends6(), 6, ports) } else { None };
        assert_eq!(enclosed(&v6(p::ICMPV6, &six)), expected, "{kind}");
        let behind = [&options(p::ICMPV6, 0)[..], &six].concat();
        assert_eq!(enclosed(&v6(60, &behind)), expected, "{kind}");
        let headers = transport(ends6(), 60, &behind).unwrap();
        assert_eq!(transport_icmp_enclosed(60, &behind, &headers), expected);
    }
}

#[test]
fn enclosed_packet_may_be_cut_off() {
    let whole = v4(p::ICMP, &icmp(3, 3, &v4_full(p::UDP, 0, &[1; 8], &udp(53, 999, &[7; 40]))));
    let ports = NextLayer::Ports { src: 999, dst: 53 };
    for end in 28..=whole.len() {
        let mut cut = whole[..end].to_vec();
        set_length(&mut cut, end);
        let expected = if end >= 28 + 28 + 4 { turned(ends4(), 17, ports) } else { None };
        assert_eq!(enclosed(&cut), expected, "{end}");
    }
    // Its length may be nonsense; a later fragment, another version or another error is no answer.
    let change = |at: usize, octets: &[u8]| {
        let mut packet = whole.clone();
        packet[28 + at..28 + at + octets.len()].copy_from_slice(octets);
        enclosed(&packet)
    };
    for length in [0, 19, 27, 60, 61, 0xffff_u16] {
        assert!(change(2, &length.to_be_bytes()).is_some(), "{length}");
    }
    // But where it fits it is believed: behind it is padding (RFC 4884 section 5.1).
    assert_eq!(change(2, &31_u16.to_be_bytes()), None);
    assert!(change(2, &32_u16.to_be_bytes()).is_some());
    assert_eq!(change(6, &[0, 1]), None);
    assert_eq!(change(6, &[0x20, 0]).unwrap().fragment, Fragment::First);
    assert_eq!(change(0, &[0x67]), None);
    assert_eq!(change(0, &[0x44]), None);
    assert_eq!(change(9, &[p::ESP]).unwrap().next_layer, NextLayer::Opaque);
}

#[test]
fn rfc1122_3_2_2_no_error_about_an_error() {
    for kind in 0..=255_u8 {
        let body = icmp(kind, 9, &[]);
        let error = [3, 4, 5, 11, 12].contains(&kind);
        let value = NextLayer::Icmp(u16::from(kind) << 8 | 9);
        let expected = if error { None } else { turned(ends4(), p::ICMP, value) };
        assert_eq!(enclosed(&v4(p::ICMP, &icmp(11, 0, &v4(p::ICMP, &body)))), expected);
        let expected = if kind < 128 { None } else { turned(ends6(), p::ICMPV6, value) };
        assert_eq!(enclosed(&v6(p::ICMPV6, &icmp(3, 0, &v6(p::ICMPV6, &body)))), expected);
    }
}

#[test]
fn enclosed_of_another_packet_is_refused() {
    let error = v4(p::ICMP, &icmp(3, 1, &v4(p::TCP, &tcp())));
    let echo = v4(p::ICMP, &icmp(8, 0, &v4(p::TCP, &tcp())));
    assert_eq!(icmp_enclosed(&error, &inner(&echo).unwrap()), None);
    assert_eq!(icmp_enclosed(&v4(p::TCP, &tcp()), &inner(&error).unwrap()), None);
    assert_eq!(icmp_enclosed(&[], &inner(&error).unwrap()), None);
    assert_eq!(icmp_enclosed(&error[..24], &inner(&error).unwrap()), None);
}

// ---- IKE and TCP ----------------------------------------------------------------------------------

#[test]
fn rfc7296_3_1_header() {
    let octets: Vec<u8> = (1..=28).collect();
    let expected = IkeHeader {
        initiator_spi: 0x0102_0304_0506_0708,
        responder_spi: 0x090a_0b0c_0d0e_0f10,
        next_payload: 0x11,
        version: 0x12,
        exchange_type: 0x13,
        flags: 0x14,
        message_id: 0x1516_1718,
        length: 0x191a_1b1c,
    };
    assert_eq!(IkeHeader::parse(&octets), Some(expected));
    assert_eq!(IkeHeader::parse(&[&octets[..], &[0]].concat()), Some(expected));
    for end in 0..IkeHeader::OCTETS {
        assert_eq!(IkeHeader::parse(&octets[..end]), None);
    }
}

#[test]
fn rfc9329_3_frame_contents() {
    let found = |frame: &[u8]| classify_tcp_frame(ends4(), 51_717, 443, frame);
    let expected =
        OuterHeaders { encap: Encap::Tcp, sport: 51_717, dport: 443, ..outer(ends4(), 0, 28) };
    assert_eq!(found(&esp(SPI, SEQUENCE, &[9; 20])), Ok(Outer::Ipsec(expected)));
    for length in 0..8 {
        assert_eq!(found(&vec![9; length]), malformed(Malformed::Esp));
        let expected = if length < 4 { malformed(Malformed::Esp) } else { Ok(Outer::Ike) };
        assert_eq!(found(&vec![0; length]), expected);
    }
    // The ports say nothing: the connection was known to carry frames.
    assert_eq!(classify_tcp_frame(ends4(), 500, 500, &[0, 0, 0, 0, 1]), Ok(Outer::Ike));
}

#[test]
fn rfc9329_6_6_keepalive_is_no_error() {
    assert_eq!(classify_tcp_frame(ends6(), 1, 443, &[0xff]), Ok(Outer::NatKeepalive));
    assert_eq!(classify_tcp_frame(ends6(), 1, 443, &[0xfe]), malformed(Malformed::Esp));
}

// ---- every position -------------------------------------------------------------------------------

/// All entry points, on octets that may be anything: what comes back lies within them.
fn run_all(octets: &[u8]) {
    if let Ok(Outer::Ipsec(found)) = classify(octets) {
        assert!((found.offset + found.octets) as usize <= octets.len());
        assert!(found.octets >= 8 && found.spi != Spi(0));
        let at = &octets[found.offset as usize..];
        let spi_at = if found.ipsec == Ipsec::Ah { 4 } else { 0 };
        assert_eq!(at[spi_at..spi_at + 4], found.spi.0.to_be_bytes());
        assert_eq!(at[spi_at + 4..spi_at + 8], found.sequence.to_be_bytes());
    }
    if let Ok(found) = inner(octets) {
        let _ = icmp_enclosed(octets, &found);
        assert_eq!(inner_expecting(4, octets).is_ok(), octets[0] >> 4 == 4);
        assert_eq!(inner_expecting(41, octets).is_ok(), octets[0] >> 4 == 6);
    }
    for ends in [ends4(), ends6()] {
        for next_header in [0, 1, 6, 17, 43, 44, 58, 60, 135] {
            if let Ok(found) = transport(ends, next_header, octets) {
                let _ = transport_icmp_enclosed(next_header, octets, &found);
            }
        }
        let _ = super::esp(ends, octets, 0);
        let _ = super::ah(ends, octets, u32::MAX);
        let _ = classify_udp(ends, 4500, 4500, octets, 0);
        let _ = classify_tcp_frame(ends, 4500, 4500, octets);
    }
    let _ = IkeHeader::parse(octets);
}

#[test]
fn every_truncation_of_every_sample() {
    for (name, packet) in all() {
        for end in 0..packet.len() {
            run_all(&packet[..end]);
            // The IP length is past the end, so nothing is believed.
            assert!(classify(&packet[..end]).is_err(), "{name} {end}");
            assert!(inner(&packet[..end]).is_err(), "{name} {end}");
        }
        run_all(&packet);
    }
}

/// With the IP length at each position, octets behind it change nothing: none is read (I2).
#[test]
fn nothing_behind_the_ip_length_is_read() {
    for (name, packet) in all() {
        for end in 0..=packet.len() {
            let mut zero = packet.clone();
            if !set_length(&mut zero, end) {
                continue;
            }
            let from = end.max(if zero[0] >> 4 == 4 { 20 } else { 40 });
            let mut ones = zero.clone();
            zero[from..].fill(0);
            ones[from..].fill(0xff);
            run_all(&zero);
            run_all(&ones);
            assert_eq!(classify(&zero), classify(&ones), "{name} {end}");
            assert_eq!(inner(&zero), inner(&ones), "{name} {end}");
            if let Ok(found) = inner(&zero) {
                assert_eq!(icmp_enclosed(&zero, &found), icmp_enclosed(&ones, &found), "{name}");
            }
        }
    }
}

/// Every octet of every sample takes every value.
#[test]
fn every_octet_takes_every_value() {
    for (_, packet) in all() {
        let mut changed = packet.clone();
        for at in 0..packet.len().min(128) {
            for value in 0..=255 {
                changed[at] = value;
                if let Ok(Outer::Ipsec(found)) = classify(&changed) {
                    assert!((found.offset + found.octets) as usize <= changed.len());
                }
                if let Ok(found) = inner(&changed) {
                    let _ = icmp_enclosed(&changed, &found);
                }
            }
            changed[at] = packet[at];
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        run_all(&octets);
    }

    /// Octets that pass the first tests more often than chance would have it.
    #[test]
    fn likely_octets_never_panic(
        mut octets in proptest::collection::vec(
            prop_oneof![3 => any::<u8>(), 2 => 0..9_u8,
                4 => prop::sample::select(vec![0, 43, 44, 60, 50, 51, 17, 1, 58, 135])],
            8..200,
        ),
        six in any::<bool>(),
    ) {
        octets[0] = if six { 0x60 } else { 0x45 | octets[0] & 2 };
        let length = octets.len();
        set_length(&mut octets, length);
        run_all(&octets);
    }
}
