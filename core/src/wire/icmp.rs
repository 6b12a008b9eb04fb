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
    if is_error_class(&found) {
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
        (protocol::ICMP, NextLayer::Icmp(value)) => matches!(value >> 8, 3 | 4 | 5 | 11 | 12),
        (protocol::ICMPV6, NextLayer::Icmp(value)) => matches!(value >> 8, 1..=4),
        _ => false,
    }
}

/// Whether these are the headers of any error: all ICMPv6 types below 128 are (RFC 4443 section 2.1),
/// and no error answers an error (RFC 1122 section 3.2.2, RFC 4443 section 2.4).
fn is_error_class(headers: &InnerHeaders) -> bool {
    match (headers.protocol, headers.next_layer) {
        (protocol::ICMPV6, NextLayer::Icmp(value)) => value >> 8 < 128,
        _ => is_error(headers),
    }
}
