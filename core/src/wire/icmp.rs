//! The packet inside an ICMP error (RFC 4301 section 6.2).

use crate::headers::{Fragment, InnerHeaders, NextLayer, protocol};

use super::ip::{self, Extent, Ip};
use super::next_layer::{headers, transport_ip};

/// Octets of an ICMP or ICMPv6 error in front of the packet that it encloses (RFC 792, RFC 4443).
const ERROR_HEADER: usize = 8;

/// The packet that triggered an ICMP error, turned round, so that it reads as an inbound packet of the
/// same flow.
///
/// An ICMP error comes from any router on the way, so its own addresses need not fit the SA. RFC 4301
/// section 6.2 lets it in if the enclosed packet, with source and destination of addresses and ports
/// exchanged, fits. `packet` is the decrypted tunnel-mode packet and `inner` what
/// [`inner`](super::inner()) gave for it. Whether the answer may be used is policy, and the caller's.
///
/// Errors are ICMP 3, 4, 5, 11 and 12, and ICMPv6 1 to 4: in all of them the packet starts at octet 8.
/// The enclosed packet is usually cut off, so its length fields are believed only where they fit; nothing
/// outside the ICMP payload is read. An enclosed value that has no direction (ICMP echo, Mobility Header)
/// is kept as it is.
///
/// `None` if `packet` is no such error or a later fragment; if the header of the enclosed packet or its
/// ports are not all there; if it is of the other IP version, a later fragment, or an ICMP error itself.
///
/// # Bound
/// As [`inner`](super::inner()), twice.
pub fn icmp_enclosed(packet: &[u8], inner: &InnerHeaders) -> Option<InnerHeaders> {
    is_error(inner).then_some(())?;
    enclosed(&ip::read(packet, Extent::Whole).ok()?, inner)
}

/// [`icmp_enclosed`] for transport mode: `next_header` and `payload` as given to
/// [`transport`](super::transport()), and what it gave.
pub fn transport_icmp_enclosed(
    next_header: u8,
    payload: &[u8],
    inner: &InnerHeaders,
) -> Option<InnerHeaders> {
    is_error(inner).then_some(())?;
    enclosed(&transport_ip(inner.endpoints, next_header, payload).ok()?, inner)
}

/// The packet in the payload of `error`, turned round.
fn enclosed(error: &Ip<'_>, inner: &InnerHeaders) -> Option<InnerHeaders> {
    // The caller's two arguments must be of one packet; if not there is no answer.
    if error.protocol != inner.protocol || error.fragment == Fragment::NonInitial {
        return None;
    }
    let ip = ip::read(error.body.get(ERROR_HEADER..)?, Extent::Enclosed).ok()?;
    if ip.endpoints.family() != inner.endpoints.family() || ip.fragment == Fragment::NonInitial {
        return None;
    }
    let found = headers(ip).ok()?;
    // No error answers an error (RFC 1122 section 3.2.2, RFC 4443 section 2.4).
    if found.is_icmp_error() {
        return None;
    }
    let next_layer = match found.next_layer {
        NextLayer::Ports { src, dst } => NextLayer::Ports { src: dst, dst: src },
        same => same,
    };
    Some(InnerHeaders { endpoints: found.endpoints.reversed(), next_layer, ..found })
}

/// Whether these are the headers of an error whose payload is known to hold a packet.
fn is_error(headers: &InnerHeaders) -> bool {
    match (headers.protocol, headers.next_layer) {
        (protocol::ICMPV6, NextLayer::Icmp(value)) => matches!(value >> 8, 1..=4),
        _ => headers.is_icmp_error(),
    }
}

#[cfg(test)]
mod tests {
    use crate::headers::{Endpoints, Fragment, InnerHeaders, NextLayer, protocol as p};
    use crate::wire::samples::{
        ends4, ends6, icmp, options, set_length, tcp, udp, v4, v4_full, v6,
    };
    use crate::wire::{icmp_enclosed, inner, transport, transport_icmp_enclosed};

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
        // A first fragment that was cut off.
        let mut cut = v4(p::ICMP, &icmp(11, 1, &v4_full(p::UDP, 0x2000, &[], &[7; 16])[..29]));
        assert_eq!(enclosed(&cut).unwrap().fragment, Fragment::First);
        cut[28 + 2..28 + 4].fill(0xff);
        assert_eq!(enclosed(&cut).unwrap().fragment, Fragment::First);
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
        let message = icmp(3, 1, &v4(p::TCP, &tcp()));
        let headers = inner(&error).unwrap();
        assert!(icmp_enclosed(&error, &headers).is_some());
        assert_eq!(icmp_enclosed(&v4(p::TCP, &message), &headers), None);
        assert_eq!(icmp_enclosed(&v4_full(p::ICMP, 0x0001, &[], &message), &headers), None);
        // Nor is a packet of the other version one that this error can be about.
        assert_eq!(enclosed(&v4(p::ICMP, &icmp(3, 1, &v6(p::TCP, &tcp())))), None);
        assert_eq!(enclosed(&v6(p::ICMPV6, &icmp(1, 0, &v4(p::TCP, &tcp())))), None);
        assert_eq!(icmp_enclosed(&[], &inner(&error).unwrap()), None);
        assert_eq!(icmp_enclosed(&error[..24], &inner(&error).unwrap()), None);
    }
}
