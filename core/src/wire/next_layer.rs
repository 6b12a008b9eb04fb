//! The headers of a decrypted packet that selectors are compared with (RFC 4301 section 4.4.1.1).

use crate::headers::{Endpoints, Fragment, InnerHeaders, NextLayer, protocol};
use crate::verdict::Malformed;

use super::ip::{self, Extent, Ip};
use super::ipv6_ext::{self, Start};

/// The headers of a decrypted tunnel-mode packet, which starts at its IP header.
///
/// The next layer protocol is what follows the IPv6 extension headers 0, 43, 44 and 60; AH, ESP and the
/// Mobility Header are next layer protocols. Octets behind the IP length are TFC padding (RFC 4303
/// section 2.7). Ports are those of TCP, UDP, DCCP, SCTP and UDP-Lite; ICMP is type * 256 + code, the
/// Mobility Header type * 256. Every other protocol, and every later fragment, is
/// [`NextLayer::Opaque`]: a value that is absent is never 0.
///
/// In a later fragment of IPv6 `protocol` is the header with which the fragmented part begins; where
/// that is an extension header the next layer protocol is not in the fragment, and the number of the
/// extension header stands for it: it equals no protocol that a selector names.
///
/// # Bound
/// As [`classify`](super::classify()); four octets behind the last header.
///
/// # Errors
/// [`Malformed::NextLayer`] for a whole packet or a first fragment too short for its ports, type or
/// code; the kinds of the IP header, as in [`classify`](super::classify()).
///
/// # Examples
/// ```
/// use espial::headers::NextLayer;
/// use espial::verdict::Malformed;
/// use espial::wire;
///
/// let packet = [
///     0x45, 0, 0, 24, 0, 0, 0, 0, 64, 17, 0, 0, 10, 190, 9, 27, 10, 180, 244, 217, // IPv4, UDP
///     0, 53, 0x13, 0x88, // ports 53 and 5000
///     0, 0, 0, // TFC padding
/// ];
/// assert_eq!(wire::inner(&packet)?.next_layer, NextLayer::Ports { src: 53, dst: 5000 });
///
/// let mut short = packet;
/// short[3] = 23; // the IP length ends within the ports
/// assert_eq!(wire::inner(&short), Err(Malformed::NextLayer));
/// # Ok::<(), Malformed>(())
/// ```
#[inline]
pub fn inner(packet: &[u8]) -> Result<InnerHeaders, Malformed> {
    // Twice, and not of what `ip::read` gives: addresses of either family would be put together on the
    // stack and copied from there before they have arrived.
    match ip::version(packet) {
        Some(4) => headers(ip::ipv4(packet, Extent::Whole)?),
        Some(6) => headers(ip::ipv6(packet, Extent::Whole)?),
        Some(_) => Err(Malformed::IpVersion),
        None => Err(Malformed::IpHeader),
    }
}

/// [`inner`], where the ESP trailer's or AH's next header says which version to expect: 4 for IPv4, 41
/// for IPv6 (RFC 4303 section 2.6, RFC 4301 section 5.2).
///
/// Next header 59 is a dummy packet, to be discarded before this is asked.
///
/// # Errors
/// [`Malformed::NextHeader`] if `next_header` is neither 4 nor 41, or the version field is the other
/// one's; those of [`inner`].
#[inline]
pub fn inner_expecting(next_header: u8, packet: &[u8]) -> Result<InnerHeaders, Malformed> {
    with_inner(next_header, packet, Headers)
}

/// What is asked of the headers of one packet.
pub(crate) trait Ask {
    type Answer;

    fn ask(self, inner: InnerHeaders) -> Self::Answer;
}

/// Asks for the headers themselves.
struct Headers;

impl Ask for Headers {
    type Answer = InnerHeaders;

    #[inline(always)]
    fn ask(self, inner: InnerHeaders) -> InnerHeaders {
        inner
    }
}

/// What `question` answers of the headers that [`inner_expecting`] gives. Compiled once for each family, so
/// that headers which are asked something are never put together in memory. Not a closure: those
/// are not always inlined.
///
/// # Errors
/// As [`inner_expecting`].
#[inline(always)]
pub(crate) fn with_inner<Q: Ask>(
    next_header: u8,
    packet: &[u8],
    question: Q,
) -> Result<Q::Answer, Malformed> {
    match (next_header, ip::version(packet)) {
        (protocol::IPV4, Some(4)) => asked(ip::ipv4(packet, Extent::Whole)?, question),
        (protocol::IPV6, Some(6)) => asked(ip::ipv6(packet, Extent::Whole)?, question),
        (protocol::IPV4 | protocol::IPV6, None) => Err(Malformed::IpHeader),
        (protocol::IPV4, Some(6)) | (protocol::IPV6, Some(4)) => Err(Malformed::NextHeader),
        (protocol::IPV4 | protocol::IPV6, Some(_)) => Err(Malformed::IpVersion),
        _ => Err(Malformed::NextHeader),
    }
}

#[inline(always)]
fn asked<Q: Ask>(ip: Ip<'_>, question: Q) -> Result<Q::Answer, Malformed> {
    match fields(ip) {
        Some(inner) => Ok(question.ask(inner)),
        None => Err(Malformed::NextLayer),
    }
}

/// The headers of a decrypted transport-mode packet: `endpoints` of its only IP header, and what
/// followed ESP or AH.
///
/// Under IPv6 `payload` may begin with Destination options and other extension headers that came behind
/// ESP (RFC 4303 section 3.1.1); they are walked. Hop-by-hop options cannot be there. Under IPv4 the next
/// header is the next layer protocol.
///
/// # Errors
/// As [`inner`], without the kinds of the IP header itself.
#[inline]
pub fn transport(
    endpoints: Endpoints,
    next_header: u8,
    payload: &[u8],
) -> Result<InnerHeaders, Malformed> {
    headers(transport_ip(endpoints, next_header, payload)?)
}

/// What [`ip::read`] gives, for a packet whose IP header was taken off.
#[inline]
pub(super) fn transport_ip(
    endpoints: Endpoints,
    next_header: u8,
    payload: &[u8],
) -> Result<Ip<'_>, Malformed> {
    match endpoints {
        Endpoints::V4 { .. } => Ok(Ip {
            endpoints,
            protocol: next_header,
            fragment: Fragment::None,
            body: payload,
            offset: 0,
        }),
        Endpoints::V6 { .. } => {
            let chain = ipv6_ext::walk(next_header, payload, Start::Ipsec, Extent::Whole)?;
            Ok(Ip {
                endpoints,
                protocol: chain.protocol,
                fragment: chain.fragment,
                body: chain.body,
                offset: chain.octets,
            })
        }
    }
}

/// The fields that selectors are compared with, of a packet whose IP header has been read.
#[inline(always)]
pub(super) fn headers(ip: Ip<'_>) -> Result<InnerHeaders, Malformed> {
    fields(ip).ok_or(Malformed::NextLayer)
}

/// [`headers`]; `None` if the next layer's header is too short.
///
/// Not a `Result`: an error code in the same octets as the ports made the compiler take them apart and put them together
/// again, 20 instructions a packet.
#[inline(always)]
fn fields(ip: Ip<'_>) -> Option<InnerHeaders> {
    let next_layer = match ip.fragment {
        Fragment::None | Fragment::First => value(ip.protocol, ip.body)?,
        Fragment::NonInitial => NextLayer::Opaque,
    };
    Some(InnerHeaders {
        endpoints: ip.endpoints,
        protocol: ip.protocol,
        next_layer,
        fragment: ip.fragment,
    })
}

/// The value of the next layer protocol at the start of its header; `None` if the header is too short.
///
/// Not a `Result`: an error code in the same octets as the ports made the compiler take them apart and
/// put them together on the stack, and [`inner`] took 1.6 times as long (rustc 1.95, x86-64).
#[inline(always)]
fn value(number: u8, header: &[u8]) -> Option<NextLayer> {
    // Asked by a bit, not in the match: all protocols in one table of jumps took 10 instructions more.
    if PORTS.get(usize::from(number / 32)).is_some_and(|row| row >> (number % 32) & 1 == 1) {
        let [s0, s1, d0, d1] = *header.first_chunk()?;
        let (src, dst) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
        return Some(NextLayer::Ports { src, dst });
    }
    match number {
        protocol::ICMP | protocol::ICMPV6 => match *header {
            [kind, code, ..] => Some(NextLayer::Icmp(u16::from_be_bytes([kind, code]))),
            _ => None,
        },
        protocol::MOBILITY => match *header {
            // RFC 6275 section 6.1.1: payload protocol, header length, type.
            [_, _, kind, ..] => Some(NextLayer::Mobility(u16::from_be_bytes([kind, 0]))),
            _ => None,
        },
        _ => Some(NextLayer::Opaque),
    }
}

/// A bit for each protocol that has ports.
const PORTS: [u32; 8] = {
    let mut rows = [0; 8];
    rows[0] = 1 << protocol::TCP | 1 << protocol::UDP;
    rows[1] = 1 << (protocol::DCCP - 32);
    rows[4] = 1 << (protocol::SCTP - 128) | 1 << (protocol::UDP_LITE - 128);
    rows
};

#[cfg(test)]
mod tests {
    use crate::headers::{Fragment, InnerHeaders, NextLayer, protocol as p};
    use crate::verdict::Malformed;
    use crate::wire::samples::{ends4, ends6, fragment, join, options, tcp, udp, v4, v4_full, v6};
    use crate::wire::{inner, inner_expecting, transport};

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
}
