//! The IP header, version 4 and 6, up to the next layer protocol.
//!
//! Both versions end in one [`Ip`]; they differ in where the fields are and in that only version 6 has
//! extension headers.

use crate::headers::{Endpoints, Fragment, protocol};
use crate::verdict::Malformed;

use super::ipv6_ext::{self, Start};

/// The octets of the fixed IPv4 header.
const IPV4_HEADER: usize = 20;
/// The octets of the fixed IPv6 header.
const IPV6_HEADER: usize = 40;
/// The largest IPv4 total length and the largest IPv6 payload length.
const LARGEST: usize = 65_535;

/// How far the packet in a slice goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// It arrived: all that its length field claims must be there.
    Whole,
    /// It lies in an ICMP error: usually cut off, and its length fields may have been altered. They
    /// are believed where they fit, and the fragment's arithmetic is not checked.
    Enclosed,
}

/// One packet up to the header of its next layer protocol.
#[derive(Clone, Copy)]
pub(super) struct Ip<'a> {
    /// The addresses of the IP header. A Routing header with segments left does not change them.
    pub endpoints: Endpoints,
    /// The next layer protocol. In a later IPv6 fragment the first header of the fragmented part, which
    /// may be an extension header.
    pub protocol: u8,
    /// Whether it is a fragment; an atomic one is not (RFC 6946).
    pub fragment: Fragment,
    /// What follows the IP header and the extension headers, up to the IP length.
    pub body: &'a [u8],
    /// Octets from the start of the packet to `body`.
    pub offset: usize,
}

/// The place of a fragment in its packet.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    /// Octets of the fragmented part that come before it.
    pub offset: u16,
    /// Whether more fragments follow.
    pub more: bool,
}

impl Piece {
    /// Which fragment this is, if its numbers can be true. `octets` is its own length, `around` what the
    /// packet's length counts beside the fragmented part.
    ///
    /// # Errors
    /// [`Malformed::Fragment`]: the reassembled packet would be longer than 65 535 (RFC 791 section 3.1
    /// total length, RFC 8200 section 4.5 payload length). A length that is not a multiple of 8 though
    /// more fragments follow is left to whoever reassembles: gateways deliver such fragments.
    #[inline]
    pub(super) fn check(
        self,
        octets: usize,
        around: usize,
        extent: Extent,
    ) -> Result<Fragment, Malformed> {
        if extent == Extent::Whole {
            let end = usize::from(self.offset).saturating_add(octets).saturating_add(around);
            if end > LARGEST {
                return Err(Malformed::Fragment);
            }
        }
        Ok(match (self.offset, self.more) {
            (0, false) => Fragment::None,
            (0, true) => Fragment::First,
            _ => Fragment::NonInitial,
        })
    }
}

/// The headers of a packet that starts at its IP header.
///
/// # Errors
/// [`Malformed::IpHeader`] for no octet at all, [`Malformed::IpVersion`], and those of [`ipv4`] and
/// [`ipv6`].
#[inline]
pub(super) fn read(packet: &[u8], extent: Extent) -> Result<Ip<'_>, Malformed> {
    match version(packet) {
        Some(4) => ipv4(packet, extent),
        Some(6) => ipv6(packet, extent),
        Some(_) => Err(Malformed::IpVersion),
        None => Err(Malformed::IpHeader),
    }
}

/// The version field, if there is an octet to hold it.
#[inline]
pub(super) fn version(packet: &[u8]) -> Option<u8> {
    packet.first().map(|first| first >> 4)
}

/// RFC 791 section 3.1. Options are skipped, the header checksum and the reserved flag are not looked at.
///
/// # Errors
/// - [`Malformed::IpHeader`]: fewer than 20 octets, header length below 5 words or past the end.
/// - [`Malformed::IpLength`]: total length below the header's or past the end.
/// - [`Malformed::Fragment`]: see [`Piece::check`].
#[inline(always)]
pub(super) fn ipv4(packet: &[u8], extent: Extent) -> Result<Ip<'_>, Malformed> {
    let Some(
        &[version_ihl, _, t0, t1, _, _, f0, f1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3],
    ) = packet.first_chunk::<IPV4_HEADER>()
    else {
        return Err(Malformed::IpHeader);
    };
    let header = usize::from(version_ihl & 0x0f) << 2;
    let Some(arrived) = packet.get(header..).filter(|_| header >= IPV4_HEADER) else {
        return Err(Malformed::IpHeader);
    };
    let total = usize::from(u16::from_be_bytes([t0, t1]));
    let body = match (packet.get(header..total), extent) {
        (Some(body), _) => body,
        (None, Extent::Whole) => return Err(Malformed::IpLength),
        (None, Extent::Enclosed) => arrived,
    };
    let place = u16::from_be_bytes([f0, f1]);
    let piece = Piece { offset: (place & 0x1fff) << 3, more: place & 0x2000 != 0 };
    let fragment = if place & 0x3fff == 0 {
        Fragment::None
    } else {
        piece.check(body.len(), header, extent)?
    };
    Ok(Ip {
        endpoints: Endpoints::V4 {
            src: u32::from_be_bytes([s0, s1, s2, s3]),
            dst: u32::from_be_bytes([d0, d1, d2, d3]),
        },
        protocol,
        fragment,
        body,
        offset: header,
    })
}

/// RFC 8200 sections 3 and 4.
///
/// A payload length of 0 is an empty payload: what follows in the slice is padding. With a hop-by-hop
/// header it announces a jumbogram (RFC 2675), which is refused.
///
/// # Errors
/// - [`Malformed::IpHeader`]: fewer than 40 octets.
/// - [`Malformed::IpLength`]: payload length past the end, or a jumbogram.
/// - those of [`ipv6_ext::walk`].
#[inline]
pub(super) fn ipv6(packet: &[u8], extent: Extent) -> Result<Ip<'_>, Malformed> {
    let Some((&[_, _, _, _, l0, l1, next, _], rest)) = packet.split_first_chunk::<8>() else {
        return Err(Malformed::IpHeader);
    };
    let Some((&src, rest)) = rest.split_first_chunk::<16>() else {
        return Err(Malformed::IpHeader);
    };
    let Some((&dst, arrived)) = rest.split_first_chunk::<16>() else {
        return Err(Malformed::IpHeader);
    };
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    if length == 0 && next == protocol::HOP_BY_HOP {
        return Err(Malformed::IpLength);
    }
    let body = match (arrived.get(..length), extent) {
        (Some(body), _) => body,
        (None, Extent::Whole) => return Err(Malformed::IpLength),
        (None, Extent::Enclosed) => arrived,
    };
    let chain = ipv6_ext::walk(next, body, Start::IpHeader, extent)?;
    Ok(Ip {
        endpoints: Endpoints::V6 { src: u128::from_be_bytes(src), dst: u128::from_be_bytes(dst) },
        protocol: chain.protocol,
        fragment: chain.fragment,
        body: chain.body,
        offset: IPV6_HEADER.saturating_add(chain.octets),
    })
}

#[cfg(test)]
mod tests {
    use crate::headers::{Fragment, NextLayer, Outer, protocol as p};
    use crate::verdict::{Malformed, Reason};
    use crate::wire::samples::{
        SEQUENCE, SPI, esp, fragment, malformed, options, tcp, v4_full, v6,
    };
    use crate::wire::{classify, inner};
    use std::vec::Vec;

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
        // A length that is no multiple of 8 is for whoever reassembles.
        for octets in 8..24 {
            assert!(later(9, octets, 0).is_ok(), "{octets}");
        }
        // IPv4 counts its own header, RFC 791 section 3.1.
        let later = |place, octets| inner(&v4_full(p::TCP, place, &[], &vec![0; octets]));
        assert!(later(0x1ffc, 11).is_ok()); // 65 504 + 11 + 20
        assert!(later(0x1ffc, 12).is_err());
        assert!(later(0x1ffd, 3).is_ok());
        assert_eq!(later(0x1fff, 1), Err(Malformed::Fragment));
    }

    /// The flags that are not fragmentation: DF and the reserved bit.
    #[test]
    fn dont_fragment_is_not_a_fragment() {
        for place in [0x0000, 0x4000, 0x8000, 0xc000] {
            let found = inner(&v4_full(p::TCP, place, &[], &tcp())).unwrap();
            assert_eq!(found.fragment, Fragment::None);
        }
    }
}
