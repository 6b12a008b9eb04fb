//! `wire` against `etherparse`: packets that it builds, and arbitrary octets where both accept.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use espial::headers::{
    Encap, Endpoints, Fragment, InnerHeaders, Ipsec, NextLayer, Outer, OuterHeaders, Spi, protocol,
};
use espial::verdict::{Malformed, Reason};
use espial::wire;
use etherparse::{
    IpFragOffset, IpHeaders, IpNumber, IpSlice, Ipv4Extensions, Ipv4Header, Ipv4Options,
    Ipv6Extensions, Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader, Ipv6RoutingExtensions,
    PacketBuilder, SlicedPacket, TransportSlice,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// What a built packet is made of, beside what it carries.
#[derive(Clone, Debug)]
struct Ip {
    headers: IpHeaders,
    endpoints: Endpoints,
    fragment: Fragment,
    octets: usize,
}

fn ipv4() -> impl Strategy<Value = Ip> {
    // Offset in units of 8 octets, small enough that no payload passes the end.
    let place = prop_oneof![
        3 => Just((0, false)), 1 => Just((0, true)), 1 => (1..7000_u16, any::<bool>())];
    (any::<[u8; 4]>(), any::<[u8; 4]>(), 0..=10_usize, place, any::<bool>()).prop_map(
        |(source, destination, words, (offset, more_fragments), dont_fragment)| {
            let options = Ipv4Options::try_from(&vec![1; words * 4][..]).unwrap();
            let header = Ipv4Header {
                source,
                destination,
                options,
                more_fragments,
                dont_fragment,
                time_to_live: 64,
                fragment_offset: IpFragOffset::try_new(offset).unwrap(),
                ..Ipv4Header::default()
            };
            Ip {
                octets: header.header_len(),
                headers: IpHeaders::Ipv4(header, Ipv4Extensions::default()),
                endpoints: Endpoints::new(
                    IpAddr::V4(Ipv4Addr::from(source)),
                    IpAddr::V4(Ipv4Addr::from(destination)),
                )
                .unwrap(),
                fragment: which(offset, more_fragments),
            }
        },
    )
}

fn ipv6() -> impl Strategy<Value = Ip> {
    let options = || option::of((0..4_usize).prop_map(|units| raw(vec![0; 6 + 8 * units])));
    let place = prop_oneof![
        3 => Just(None), 1 => Just(Some((0, false))), 1 => Just(Some((0, true))),
        1 => (1..7000_u16, any::<bool>()).prop_map(Some)];
    let routing = option::of((options(), 1..5_u8, any::<u8>(), 0..3_usize));
    (any::<[u8; 16]>(), any::<[u8; 16]>(), options(), options(), routing, place).prop_map(
        |(source, destination, hop_by_hop_options, destination_options, routing, place)| {
            let routing = routing.map(|(last, kind, left, units)| Ipv6RoutingExtensions {
                routing: raw([&[kind, left, 0, 0, 0, 0][..], &vec![3; 8 * units]].concat()),
                final_destination_options: last,
            });
            let extensions = Ipv6Extensions {
                hop_by_hop_options,
                destination_options,
                routing,
                fragment: place.map(|(offset, more)| {
                    let offset = IpFragOffset::try_new(offset).unwrap();
                    Ipv6FragmentHeader::new(IpNumber(0), offset, more, 0xdead_beef)
                }),
                auth: None,
            };
            let header = Ipv6Header { source, destination, hop_limit: 64, ..Ipv6Header::default() };
            Ip {
                octets: 40 + extensions.header_len(),
                endpoints: Endpoints::new(
                    IpAddr::V6(Ipv6Addr::from(source)),
                    IpAddr::V6(Ipv6Addr::from(destination)),
                )
                .unwrap(),
                fragment: place.map_or(Fragment::None, |(offset, more)| which(offset, more)),
                headers: IpHeaders::Ipv6(header, extensions),
            }
        },
    )
}

fn any_ip() -> impl Strategy<Value = Ip> {
    prop_oneof![ipv4(), ipv6()]
}

fn raw(payload: Vec<u8>) -> Ipv6RawExtHeader {
    Ipv6RawExtHeader::new_raw(IpNumber(0), &payload).unwrap()
}

fn which(offset: u16, more: bool) -> Fragment {
    match (offset, more) {
        (0, false) => Fragment::None,
        (0, true) => Fragment::First,
        _ => Fragment::NonInitial,
    }
}

/// A next layer header with its value, and octets behind it.
#[derive(Clone, Debug)]
enum Layer {
    Tcp(u16, u16),
    Udp(u16, u16),
    Icmp(u8, u8),
    Icmpv6(u8, u8),
    Other(u8),
}

fn layer() -> impl Strategy<Value = Layer> {
    prop_oneof![
        (any::<u16>(), any::<u16>()).prop_map(|(src, dst)| Layer::Tcp(src, dst)),
        (any::<u16>(), any::<u16>()).prop_map(|(src, dst)| Layer::Udp(src, dst)),
        (any::<u8>(), any::<u8>()).prop_map(|(kind, code)| Layer::Icmp(kind, code)),
        (any::<u8>(), any::<u8>()).prop_map(|(kind, code)| Layer::Icmpv6(kind, code)),
        prop::sample::select(vec![4, 41, 47, 50, 51, 59, 89, 253]).prop_map(Layer::Other),
    ]
}

/// The packet, its protocol and the value in it. The length behind the IP headers is a multiple of 8.
fn build(ip: &Ip, layer: &Layer, units: usize) -> (Vec<u8>, u8, NextLayer) {
    let builder = PacketBuilder::ip(ip.headers.clone());
    let mut packet = Vec::new();
    let payload = vec![0x5a; units * 8];
    let ports = |src, dst| NextLayer::Ports { src, dst };
    let icmp = |kind: u8, code: u8| NextLayer::Icmp(u16::from(kind) * 256 + u16::from(code));
    let (number, value) = match *layer {
        Layer::Tcp(src, dst) => {
            // 20 octets of header and 4 of payload.
            let payload = [&payload[..], &[0; 4]].concat();
            builder.tcp(src, dst, 1, 2).write_to_vec(&mut packet, &payload).unwrap();
            (protocol::TCP, ports(src, dst))
        }
        Layer::Udp(src, dst) => {
            builder.udp(src, dst).write_to_vec(&mut packet, &payload).unwrap();
            (protocol::UDP, ports(src, dst))
        }
        Layer::Icmp(kind, code) => {
            let step = builder.icmpv4_raw(kind, code, [0; 4]);
            step.write_to_vec(&mut packet, &payload).unwrap();
            (protocol::ICMP, icmp(kind, code))
        }
        Layer::Icmpv6(kind, code) if matches!(ip.headers, IpHeaders::Ipv6(..)) => {
            let step = builder.icmpv6_raw(kind, code, [0; 4]);
            step.write_to_vec(&mut packet, &payload).unwrap();
            (protocol::ICMPV6, icmp(kind, code))
        }
        Layer::Icmpv6(..) => {
            builder.write_to_vec(&mut packet, IpNumber(47), &payload).unwrap();
            (47, NextLayer::Opaque)
        }
        Layer::Other(number) => {
            builder.write_to_vec(&mut packet, IpNumber(number), &payload).unwrap();
            (number, NextLayer::Opaque)
        }
    };
    (packet, number, value)
}

/// Octets that pass the first tests of a parser more often than chance would have it: the version is
/// right, the length usually too, and small numbers and those of extension headers are frequent.
fn likely_packet() -> impl Strategy<Value = Vec<u8>> {
    let octet = prop_oneof![
        2 => any::<u8>(), 3 => Just(0), 2 => 0..4_u8,
        3 => prop::sample::select(vec![43, 44, 60, 0, 6, 17, 1, 58, 51, 50])];
    (vec(octet, 20..160), any::<bool>(), 0..3_u8, option::weighted(0.2, any::<u16>())).prop_map(
        |(mut octets, six, words, length)| {
            let octets_in_all = octets.len();
            if six {
                octets[0] = 0x60;
                let length = length.unwrap_or(octets_in_all.saturating_sub(40) as u16);
                octets[4..6].copy_from_slice(&length.to_be_bytes());
                octets[6] = [0, 43, 44, 60, 60, 44, 6, 17][usize::from(octets[6]) % 8];
            } else {
                octets[0] = 0x45 + words;
                let length = length.unwrap_or(octets_in_all as u16);
                octets[2..4].copy_from_slice(&length.to_be_bytes());
            }
            octets
        },
    )
}

/// Holds what [`wire::inner`] says of any octets against what etherparse says.
fn compare(octets: &[u8]) -> Result<(), TestCaseError> {
    let ours = wire::inner(octets);
    let theirs = IpSlice::from_slice(octets);
    // etherparse takes a payload length of 0 for "all that is there".
    if let Ok(IpSlice::Ipv6(slice)) = &theirs
        && slice.header().payload_length() == 0
    {
        return Ok(());
    }
    // It goes on through AH, and into what a later fragment of IPv6 holds; we end there.
    let goes_on = |found: &InnerHeaders| {
        found.protocol == protocol::AH
            || found.fragment == Fragment::NonInitial
                && matches!(found.endpoints, Endpoints::V6 { .. })
    };
    let Ok(slice) = theirs else {
        if let Ok(found) = ours {
            let empty = octets.len() > 40 && octets[0] >> 4 == 6 && octets[4..6] == [0, 0];
            prop_assert!(goes_on(&found) || empty, "only we accept: {:?}", found);
        }
        return Ok(());
    };
    let found = match ours {
        Ok(found) => found,
        Err(kind) => {
            // Rules that etherparse does not have.
            let ours_alone = matches!(
                kind,
                Malformed::Fragment
                    | Malformed::RoutingHeader
                    | Malformed::ExtensionLimit
                    | Malformed::NextLayer
            );
            prop_assert!(ours_alone, "only etherparse accepts: {:?}", kind);
            return Ok(());
        }
    };
    prop_assert_eq!(found.endpoints.src(), slice.source_addr());
    prop_assert_eq!(found.endpoints.dst(), slice.destination_addr());
    if goes_on(&found) {
        return Ok(());
    }
    prop_assert_eq!(found.protocol, slice.payload_ip_number().0);
    prop_assert_eq!(found.fragment != Fragment::None, slice.is_fragmenting_payload());
    let transport = SlicedPacket::from_ip(octets).ok().and_then(|packet| packet.transport);
    let expected = match transport {
        Some(TransportSlice::Udp(udp)) => {
            NextLayer::Ports { src: udp.source_port(), dst: udp.destination_port() }
        }
        Some(TransportSlice::Tcp(tcp)) => {
            NextLayer::Ports { src: tcp.source_port(), dst: tcp.destination_port() }
        }
        Some(TransportSlice::Icmpv4(icmp)) => {
            NextLayer::Icmp(u16::from_be_bytes([icmp.type_u8(), icmp.code_u8()]))
        }
        Some(TransportSlice::Icmpv6(icmp)) => {
            NextLayer::Icmp(u16::from_be_bytes([icmp.type_u8(), icmp.code_u8()]))
        }
        _ => return Ok(()),
    };
    prop_assert_eq!(found.next_layer, expected);
    Ok(())
}

/// Holds what [`wire::classify`] finds against the place where etherparse says the payload starts.
fn compare_outer(octets: &[u8]) -> Result<(), TestCaseError> {
    let Ok(Outer::Ipsec(found)) = wire::classify(octets) else { return Ok(()) };
    if found.ipsec == Ipsec::Ah {
        return Ok(()); // etherparse has walked through it
    }
    let Ok(packet) = SlicedPacket::from_ip(octets) else {
        prop_assert!(false, "only we accept: {:?}", found);
        return Ok(());
    };
    let payload = match (found.encap, &packet.transport) {
        (Encap::Udp, Some(TransportSlice::Udp(udp))) => {
            prop_assert_eq!((found.sport, found.dport), (udp.source_port(), 4500));
            udp.payload()
        }
        (Encap::None, None) => packet.ip_payload().unwrap().payload,
        other => {
            prop_assert!(false, "{:?}", other);
            return Ok(());
        }
    };
    let at = found.offset as usize;
    prop_assert_eq!(&octets[at..at + found.octets as usize], payload);
    prop_assert_eq!(&found.spi.0.to_be_bytes()[..], &payload[..4]);
    prop_assert_eq!(&found.sequence.to_be_bytes()[..], &payload[4..8]);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn inner_reads_what_etherparse_builds(
        ip in any_ip(), layer in layer(), units in 0..5_usize, padding in 0..40_usize,
    ) {
        let (mut packet, number, value) = build(&ip, &layer, units);
        packet.resize(packet.len() + padding, 0xff);
        let found = wire::inner(&packet);
        if ip.fragment == Fragment::NonInitial {
            let found = found.unwrap();
            prop_assert_eq!(found.endpoints, ip.endpoints);
            prop_assert_eq!(found.next_layer, NextLayer::Opaque);
            prop_assert_eq!(found.fragment, Fragment::NonInitial);
        } else {
            let expected = InnerHeaders {
                endpoints: ip.endpoints, protocol: number, next_layer: value, fragment: ip.fragment,
            };
            prop_assert_eq!(found, Ok(expected));
        }
        compare(&packet)?;
    }

    #[test]
    fn classify_finds_esp_where_etherparse_puts_it(
        ip in any_ip(), spi in 1_u32.., sequence in any::<u32>(), sport in any::<u16>(),
        units in 0..5_usize, udp in any::<bool>(),
    ) {
        let esp = [&spi.to_be_bytes()[..], &sequence.to_be_bytes(), &vec![7; units * 8]].concat();
        let mut packet = Vec::new();
        let builder = PacketBuilder::ip(ip.headers.clone());
        if udp {
            builder.udp(sport, 4500).write_to_vec(&mut packet, &esp).unwrap();
        } else {
            builder.write_to_vec(&mut packet, IpNumber(protocol::ESP), &esp).unwrap();
        }
        let found = wire::classify(&packet);
        let in_udp = if udp { 8 } else { 0 };
        let expected = OuterHeaders {
            endpoints: ip.endpoints,
            flow_label: match &ip.headers {
                IpHeaders::Ipv4(..) => 0,
                IpHeaders::Ipv6(header, _) => header.flow_label.value(),
            },
            ipsec: Ipsec::Esp,
            encap: if udp { Encap::Udp } else { Encap::None },
            spi: Spi(spi),
            sequence,
            sequence_high: 0,
            sport: if udp { sport } else { 0 },
            dport: if udp { 4500 } else { 0 },
            offset: (ip.octets + in_udp) as u32,
            octets: esp.len() as u32,
        };
        match ip.fragment {
            Fragment::None => prop_assert_eq!(found, Ok(Outer::Ipsec(expected))),
            Fragment::First => prop_assert_eq!(found, Err(Reason::OuterFragment)),
            Fragment::NonInitial => {
                // In a later fragment of IPv6 another extension header may come first.
                let refused = found == Err(Reason::OuterFragment);
                prop_assert!(refused || found == Ok(Outer::Other));
                prop_assert!(refused || udp || matches!(ip.headers, IpHeaders::Ipv6(..)));
            }
        }
        compare_outer(&packet)?;
    }

    #[test]
    fn every_truncation_agrees_with_etherparse(
        ip in any_ip(), layer in layer(), units in 0..3_usize,
    ) {
        let (packet, _, _) = build(&ip, &layer, units);
        for end in 0..packet.len() {
            compare(&packet[..end])?;
            compare_outer(&packet[..end])?;
        }
    }

    #[test]
    fn one_octet_changed_agrees_with_etherparse(
        ip in any_ip(), layer in layer(), at in any::<prop::sample::Index>(), octet in any::<u8>(),
    ) {
        let (mut packet, _, _) = build(&ip, &layer, 2);
        let at = at.index(packet.len());
        packet[at] = octet;
        compare(&packet)?;
        compare_outer(&packet)?;
    }

    /// An error about any packet that etherparse builds leads back to that packet's flow.
    #[test]
    fn icmp_error_about_a_built_packet(
        ip in any_ip(), layer in layer(), units in 0..4_usize, cut in any::<prop::sample::Index>(),
    ) {
        let (packet, number, value) = build(&ip, &layer, units);
        let cut = cut.index(packet.len() + 1);
        let mut error = Vec::new();
        match ip.endpoints {
            Endpoints::V4 { .. } => PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9)
                .icmpv4_raw(3, 1, [0; 4])
                .write_to_vec(&mut error, &packet[..cut])
                .unwrap(),
            Endpoints::V6 { .. } => PacketBuilder::ipv6([1; 16], [2; 16], 9)
                .icmpv6_raw(1, 0, [0; 4])
                .write_to_vec(&mut error, &packet[..cut])
                .unwrap(),
        }
        let outer = wire::inner(&error).unwrap();
        let found = wire::icmp_enclosed(&error, &outer);
        let (value, needs) = match value {
            NextLayer::Ports { src, dst } => (NextLayer::Ports { src: dst, dst: src }, 4),
            NextLayer::Icmp(_) => (value, 2),
            same => (same, 0),
        };
        let an_error = match (number, value) {
            (protocol::ICMP, NextLayer::Icmp(value)) => [3, 4, 5, 11, 12].contains(&(value >> 8)),
            (protocol::ICMPV6, NextLayer::Icmp(value)) => value >> 8 < 128,
            _ => false,
        };
        let there = cut >= ip.octets + needs && ip.fragment != Fragment::NonInitial && !an_error;
        let expected = there.then_some(InnerHeaders {
            endpoints: ip.endpoints.reversed(),
            protocol: number,
            next_layer: value,
            fragment: ip.fragment,
        });
        prop_assert_eq!(found, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn arbitrary_octets_agree_with_etherparse(octets in likely_packet()) {
        compare(&octets)?;
        compare_outer(&octets)?;
    }
}
