//! IPv6 extension headers (RFC 8200 section 4), walked to the next layer protocol.
//!
//! Hop-by-hop options 0, Routing 43, Fragment 44 and Destination options 60 are walked (RFC 4301 section
//! 4.4.1.1). AH, ESP and the Mobility Header are next layer protocols and end the walk, and so does
//! every number that is not known: a header that cannot be skipped safely is not skipped.

use crate::headers::{Fragment, protocol};
use crate::verdict::Malformed;

use super::ip::{Extent, Piece};

/// The most extension headers that are walked.
///
/// RFC 8200 section 4.1 recommends an order in which at most six occur before ESP.
pub const MAX_EXTENSIONS: usize = 8;

/// The most octets of extension headers that are walked: the longest that one such header can be.
pub const MAX_EXTENSION_OCTETS: usize = 2048;

/// What a chain of extension headers follows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// The IPv6 header: hop-by-hop options may come first.
    IpHeader,
    /// An ESP or AH header in transport mode: hop-by-hop options came before it or not at all.
    Ipsec,
}

/// Where a walk ended.
#[derive(Clone, Copy)]
pub(super) struct Chain<'a> {
    /// The protocol of `body`.
    pub protocol: u8,
    /// What the Fragment headers say together: a later fragment if one of them says so, else a first
    /// one if one of them says so.
    pub fragment: Fragment,
    /// What follows the last header walked.
    pub body: &'a [u8],
    /// Octets walked.
    pub octets: usize,
}

/// The first header that is not an extension header.
///
/// A later fragment ends the walk: what it holds are not headers.
///
/// # Bound
/// At most [`MAX_EXTENSIONS`] headers, 8 octets of each read.
///
/// # Errors
/// - [`Malformed::Extension`]: a header runs past the end of `body`; so does a first fragment that does
///   not hold all headers (RFC 7112 section 5).
/// - [`Malformed::ExtensionOrder`]: hop-by-hop options that do not follow the IPv6 header (RFC 8200
///   section 4.1).
/// - [`Malformed::ExtensionLimit`]: more than [`MAX_EXTENSIONS`] or [`MAX_EXTENSION_OCTETS`].
/// - [`Malformed::RoutingHeader`]: type 0 with segments left (RFC 5095 section 3). With none left it is
///   walked, as the RFC asks.
/// - [`Malformed::Fragment`]: see [`Piece::check`].
#[inline]
pub(super) fn walk(
    first: u8,
    body: &[u8],
    start: Start,
    extent: Extent,
) -> Result<Chain<'_>, Malformed> {
    let mut chain = Chain { protocol: first, fragment: Fragment::None, body, octets: 0 };
    for index in 0..=MAX_EXTENSIONS {
        let kind = chain.protocol;
        if !is_extension(kind) {
            return Ok(chain);
        }
        if kind == protocol::HOP_BY_HOP && (index != 0 || start != Start::IpHeader) {
            return Err(Malformed::ExtensionOrder);
        }
        if index == MAX_EXTENSIONS {
            break;
        }
        // Octets 2 and 3 are the Routing header's type and segments left, or the Fragment header's
        // offset and flag.
        let Some(&[next, units, b2, b3, ..]) = chain.body.first_chunk::<8>() else {
            return Err(Malformed::Extension);
        };
        // The second octet of a Fragment header is reserved: its length is fixed.
        let units = if kind == protocol::FRAGMENT { 0 } else { units };
        let octets = usize::from(units).saturating_add(1) << 3;
        let Some((_, rest)) = chain.body.split_at_checked(octets) else {
            return Err(Malformed::Extension);
        };
        let before = chain.octets;
        chain = Chain {
            protocol: next,
            fragment: chain.fragment,
            body: rest,
            octets: before.saturating_add(octets),
        };
        if chain.octets > MAX_EXTENSION_OCTETS {
            break;
        }
        match kind {
            protocol::ROUTING if b2 == 0 && b3 != 0 => return Err(Malformed::RoutingHeader),
            protocol::FRAGMENT => {
                let place = u16::from_be_bytes([b2, b3]);
                let piece = Piece { offset: place & 0xfff8, more: place & 1 != 0 };
                match piece.check(rest.len(), before, extent)? {
                    Fragment::None => {}
                    Fragment::First => chain.fragment = Fragment::First,
                    Fragment::NonInitial => {
                        return Ok(Chain { fragment: Fragment::NonInitial, ..chain });
                    }
                }
            }
            _ => {}
        }
    }
    Err(Malformed::ExtensionLimit)
}

/// Whether the walk goes through this protocol number.
#[inline]
fn is_extension(number: u8) -> bool {
    matches!(
        number,
        protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::FRAGMENT
            | protocol::DESTINATION_OPTIONS
    )
}

#[cfg(test)]
mod tests {
    use crate::headers::{Fragment, NextLayer, Outer, protocol as p};
    use crate::verdict::Malformed;
    use crate::wire::samples::{
        SEQUENCE, SPI, ends6, esp, fragment, join, malformed, options, outer, routing, tcp, v6,
    };
    use crate::wire::{MAX_EXTENSIONS, classify, inner};
    use std::vec::Vec;

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
    fn rfc7112_5_first_fragment_holds_all_headers() {
        let cut = v6(p::FRAGMENT, &join(&[&fragment(60, 1), &options(p::TCP, 1)[..8]]));
        assert_eq!(inner(&cut), Err(Malformed::Extension));
        let cut = v6(p::FRAGMENT, &fragment(p::TCP, 1));
        assert_eq!(inner(&cut), Err(Malformed::NextLayer));
    }

    /// RFC 8200 section 4.5: the reserved octet and the two reserved bits are ignored on reception.
    #[test]
    fn rfc8200_4_5_reserved_bits_are_ignored() {
        for reserved in [2, 4, 6] {
            for (place, expected) in
                [(0, Fragment::None), (1, Fragment::First), (8, Fragment::NonInitial)]
            {
                let body = join(&[&fragment(p::TCP, place | reserved), &tcp(), &[0; 4]]);
                assert_eq!(inner(&v6(p::FRAGMENT, &body)).unwrap().fragment, expected);
            }
        }
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

    #[test]
    fn rfc6946_atomic_fragment_is_a_whole_packet() {
        let packet = esp(SPI, SEQUENCE, &[9; 20]);
        let atomic = v6(p::FRAGMENT, &join(&[&fragment(p::ESP, 0), &packet]));
        assert_eq!(classify(&atomic), Ok(Outer::Ipsec(outer(ends6(), 48, 28))));
        let atomic = v6(p::FRAGMENT, &join(&[&fragment(p::TCP, 0), &tcp()]));
        assert_eq!(inner(&atomic).unwrap().fragment, Fragment::None);
        assert_eq!(inner(&atomic).unwrap().next_layer, NextLayer::Ports { src: 0xc001, dst: 80 });
    }
}
