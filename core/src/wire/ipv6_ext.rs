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
