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
    headers(ip::read(packet, Extent::Whole)?)
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
    match (next_header, ip::version(packet)) {
        (protocol::IPV4, Some(6)) | (protocol::IPV6, Some(4)) => Err(Malformed::NextHeader),
        (protocol::IPV4 | protocol::IPV6, _) => inner(packet),
        _ => Err(Malformed::NextHeader),
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
#[inline]
pub(super) fn headers(ip: Ip<'_>) -> Result<InnerHeaders, Malformed> {
    let next_layer = match ip.fragment {
        Fragment::None | Fragment::First => {
            value(ip.protocol, ip.body).ok_or(Malformed::NextLayer)?
        }
        Fragment::NonInitial => NextLayer::Opaque,
    };
    Ok(InnerHeaders {
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
#[inline]
fn value(number: u8, header: &[u8]) -> Option<NextLayer> {
    match number {
        protocol::TCP | protocol::UDP | protocol::DCCP | protocol::SCTP | protocol::UDP_LITE => {
            match *header {
                [s0, s1, d0, d1, ..] => Some(NextLayer::Ports {
                    src: u16::from_be_bytes([s0, s1]),
                    dst: u16::from_be_bytes([d0, d1]),
                }),
                _ => None,
            }
        }
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
