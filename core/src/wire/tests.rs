//! What holds for the module as a whole; the rules of one header are tested in its file.

use crate::headers::{Encap, Endpoints, Ipsec, Outer, OuterHeaders, Spi, protocol as p};
use crate::simd::COMPACT;
use crate::verdict::{Malformed, Reason};
use crate::wire::samples::{
    ICV, SEQUENCE, SPI, ah, all, ends4, ends6, esp, fragment, join, malformed, nat_t, options,
    outer, routing, set_length, udp, v4, v4_full, v6,
};
use crate::wire::{
    IkeHeader, classify, classify_tcp_frame, classify_udp, esp_in_ipv4, icmp_enclosed, inner,
    inner_expecting, tcp_encap, transport, transport_icmp_enclosed,
};
use proptest::prelude::*;
use std::vec::Vec;

#[test]
fn esp_is_found_behind_all_extension_headers() {
    let samples = all();
    let (_, packet) = samples.iter().find(|(name, _)| *name == "v6 every extension esp").unwrap();
    // 40 + 8 + 16 + 24 + 8 + 24
    assert_eq!(classify(packet), Ok(Outer::Ipsec(outer(ends6(), 112 + 8, 32))));
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
        (Fragment, v4_full(p::TCP, 0x1fff, &[], &[0; 8])),
        (Fragment, v6(p::FRAGMENT, &join(&[&fragment(p::TCP, 0xfff8), &[0; 8]]))),
        (Udp, v4(p::UDP, &udp(4500, 4500, &[])[..7])),
        (Udp, v6(p::FRAGMENT, &fragment(p::UDP, 1))),
        (Esp, v4(p::ESP, &esp_packet[..7])),
        (Esp, v6(p::ESP, &[])),
        (Ah, v4(p::AH, &ah(4, SPI, 1, &ICV, &[])[..23])),
        (Ah, v6(p::AH, &[0; 11])),
        (NatT, v4(p::UDP, &udp(4500, 4500, &[1, 2]))),
        (RoutingHeader, v6(p::ROUTING, &join(&[&routing(p::ESP, 0, 1), &esp_packet]))),
    ];
    for (kind, packet) in &outer_cases {
        assert_eq!(classify(packet), malformed(*kind), "{packet:02x?}");
    }
    // The same IP rules hold inside.
    for (kind, packet) in &outer_cases {
        if !matches!(kind, Udp | Esp | Ah | NatT) {
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

/// The short way says what [`classify`] says, of all packets that it is for and of no other.
fn short_way(octets: &[u8]) {
    let is_for_it = |outer: &OuterHeaders| {
        let is_v4 = matches!(outer.endpoints, Endpoints::V4 { .. });
        is_v4 && outer.is_esp() && outer.encap == Encap::None && !COMPACT
    };
    let expected = match classify(octets) {
        Ok(Outer::Ipsec(outer)) if is_for_it(&outer) => Some(outer),
        _ => None,
    };
    assert_eq!(esp_in_ipv4(octets), expected, "{octets:02x?}");
}

/// All entry points, on octets that may be anything: what comes back lies within them.
fn run_all(octets: &[u8]) {
    short_way(octets);
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
        let _ = crate::wire::esp(ends, octets, 0);
        let _ = crate::wire::ah(ends, octets, u32::MAX);
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
                short_way(&changed);
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
