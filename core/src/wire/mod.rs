//! Octets to fields: the packet path's first step before decryption and its first step after it.
//!
//! ```text
//! classify ─┐                                  ┌─ inner, inner_expecting   (tunnel mode)
//!           ├─ ip ── ipv6_ext ─────────────────┤
//! esp, ah ──┤                                  └─ transport                (transport mode)
//!           └─ udp_encap, tcp_encap                   └─ icmp_enclosed     (RFC 4301 section 6.2)
//! ```
//!
//! Owns: where each field of RFC 791, 8200, 768, 3948, 4302, 4303, 9329 and 7296 section 3.1 lies, and
//! when octets are not such a header. The way from the IP header to the next layer protocol is written
//! once and serves outer, inner and enclosed packets of both versions.
//!
//! Must not know: SAs, selectors, policy, configuration, keys, time, counters.
//!
//! Invariants:
//! - I1. No function keeps anything between two calls, except [`tcp_encap::Stream`], whose purpose it is.
//!   What one packet of a burst was says nothing about the next.
//! - I2. A length, and each range derived from it, is tested before an octet of it is read. Nothing
//!   behind the length that the IP header gives is read: it is link padding or TFC padding.
//! - I3. A value is host byte order once it has left this module. `src` and `dst` are the packet's own.
//! - I4. No loop but the walk of IPv6 extension headers, which takes at most [`MAX_EXTENSIONS`] steps
//!   over at most [`MAX_EXTENSION_OCTETS`] octets, and the copy of a split TCP frame.
//! - I5. No panic, no allocation, no unsafe code. Checksums are not looked at.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

mod icmp;
mod ike;
mod ip;
mod ipsec;
mod ipv6_ext;
mod next_layer;
pub mod tcp_encap;
mod udp_encap;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

pub use icmp::{icmp_enclosed, transport_icmp_enclosed};
pub use ike::IkeHeader;
pub use ipsec::{AhHeader, ah, esp};
pub use ipv6_ext::{MAX_EXTENSION_OCTETS, MAX_EXTENSIONS};
pub(crate) use next_layer::{Ask, with_inner};
pub use next_layer::{inner, inner_expecting, transport};
pub use tcp_encap::classify_tcp_frame;
pub use udp_encap::{IKE_PORT, NAT_T_PORT, classify_udp};

use crate::headers::{Endpoints, Fragment, Outer, OuterHeaders, protocol};
use crate::simd::COMPACT;
use crate::verdict::Reason;

/// What an arriving packet is, from its IP header on: ESP or AH with its SPI, IKE, a NAT keepalive, or
/// nothing for this check.
///
/// The version nibble chooses IPv4 or IPv6. ESP is found directly in IP and behind UDP *destination*
/// port 4500 (RFC 3948); a packet *from* 4500 to another port is [`Outer::Other`]. UDP from or to port
/// 500 is IKE whatever it holds. The UDP checksum decides nothing: RFC 3948 section 2.1 lets it be zero
/// and lets a NAT leave it wrong. Octets behind the IP length are link padding and are left out.
///
/// # Bound
/// One header of IPv4; one of IPv6 and at most [`MAX_EXTENSIONS`] extension headers. No octet behind
/// the first 12 of the ESP or AH header is read.
///
/// # Errors
/// - [`Reason::OuterFragment`]: any fragment, first or later, of protocol 50 or 51, and a first fragment
///   to UDP 4500 that does not begin with the non-ESP marker. Such packets are reassembled before
///   IPsec (RFC 4303 section 3.4.1, RFC 4302 section 3.4.1). Later UDP fragments hold no ports and are
///   [`Outer::Other`]; so are later fragments of an IPv6 packet whose fragmented part begins with
///   another extension header, as the protocol is not in them.
/// - [`Reason::Malformed`]: see [`Malformed`](crate::verdict::Malformed). Protocols other than ESP, AH
///   and UDP are only held to the rules of IP; UDP to other ports need not even have a true length.
///
/// # Examples
/// ```
/// use espial::headers::{Encap, Outer, Spi};
/// use espial::verdict::{Malformed, Reason};
/// use espial::wire;
///
/// let packet = [
///     0x45, 0, 0, 28, 0, 0, 0, 0, 64, 50, 0, 0, 192, 0, 2, 1, 203, 0, 113, 2, // IPv4, protocol 50
///     0xc4, 0x71, 0x54, 0xa0, 0, 0, 0, 7, // SPI and sequence number
/// ];
/// let Ok(Outer::Ipsec(outer)) = wire::classify(&packet) else { panic!() };
/// assert_eq!((outer.spi, outer.sequence, outer.encap), (Spi(0xc471_54a0), 7, Encap::None));
///
/// // Cut short, it is a drop with a reason.
/// assert_eq!(wire::classify(&packet[..27]), Err(Reason::Malformed(Malformed::IpLength)));
/// ```
#[inline]
pub fn classify(packet: &[u8]) -> Result<Outer, Reason> {
    let ip = ip::read(packet, ip::Extent::Whole)?;
    let mut outer = match (ip.protocol, ip.fragment) {
        (protocol::ESP, Fragment::None) => {
            Outer::Ipsec(ipsec::esp(ip.endpoints, ip.body, octets(ip.offset))?)
        }
        (protocol::AH, Fragment::None) => {
            Outer::Ipsec(ipsec::ah(ip.endpoints, ip.body, octets(ip.offset))?)
        }
        (protocol::ESP | protocol::AH, Fragment::First | Fragment::NonInitial) => {
            return Err(Reason::OuterFragment);
        }
        (protocol::UDP, Fragment::None | Fragment::First) => udp_encap::classify_datagram(&ip)?,
        _ => Outer::Other,
    };
    if let (Outer::Ipsec(headers), Endpoints::V6 { .. }) = (&mut outer, ip.endpoints) {
        headers.flow_label = flow_label(packet);
    }
    Ok(outer)
}

/// [`classify`] for what nearly all packets are, a whole ESP packet directly in IPv4, and `None` for all others:
/// in line, so that headers are put together where they stay. Nothing where code is to be small.
#[inline(always)]
pub(crate) fn esp_in_ipv4(packet: &[u8]) -> Option<OuterHeaders> {
    let head = packet.first_chunk::<10>()?;
    if COMPACT || ip::version(head) != Some(4) || head[9] != protocol::ESP {
        return None;
    }
    let ip = ip::ipv4(packet, ip::Extent::Whole).ok()?;
    match ip.fragment {
        Fragment::None => ipsec::esp(ip.endpoints, ip.body, octets(ip.offset)).ok(),
        _ => None,
    }
}

/// The last 20 bits of the first word of an IPv6 header (RFC 8200 section 3).
#[inline]
fn flow_label(packet: &[u8]) -> u32 {
    packet.first_chunk::<4>().map_or(0, |word| u32::from_be_bytes(*word) & 0x000f_ffff)
}

/// A number of octets as the headers give it; more than 4 GiB reads as the largest number.
#[inline]
fn octets(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
