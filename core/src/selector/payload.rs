//! Traffic selectors on the wire: the body of an IKEv2 TS payload (RFC 7296 section 3.13), from
//! "Number of TSs" on.
//!
//! ```text
//! +----------+----------+----------+----------+
//! | count    |            reserved            |  4 octets, reserved ignored
//! +----------+----------+----------+----------+  then count times:
//! | TS type  | protocol |   selector length   |  7 = IPv4, 16 octets; 8 = IPv6, 40 octets
//! | start port          |      end port       |
//! | start address, then end address           |  4 + 4 or 16 + 16 octets
//! +-------------------------------------------+
//! ```
//!
//! Liberal and strict as the clauses are: a type that is not known is skipped by its length and
//! counted; a length that does not fit its type, a range that runs backwards, too few and too many
//! octets are errors, each with its own variant. Ports under protocol ANY are read as they stand,
//! since section 3.13.1 binds the sender: [`Selector::pair`](super::Selector::pair) refuses them.
//! This module never writes them.

use core::fmt;
use core::iter::FusedIterator;

use super::{AddrRange, PortRange, SelectorError, TrafficSelector};
use crate::headers::Family;

/// TS type of a range of IPv4 addresses.
pub const TS_IPV4_ADDR_RANGE: u8 = 7;
/// TS type of a range of IPv6 addresses.
pub const TS_IPV6_ADDR_RANGE: u8 = 8;
/// Most selectors in one payload: the count is one octet.
pub const MAX_SELECTORS: usize = 255;

/// Octets before the first selector.
const HEADER: usize = 4;
/// Octets of a selector that every type has: type, protocol, length.
const COMMON: usize = 4;
/// Octets of a selector before its addresses, for types 7 and 8.
const BEFORE_ADDRS: usize = 8;

const fn selector_octets(family: Family) -> usize {
    match family {
        Family::V4 => 16,
        Family::V6 => 40,
    }
}

/// A TS payload body whose every octet has been checked.
#[derive(Clone, Copy, Debug)]
pub struct TsPayload<'a> {
    /// The selectors, without the header.
    octets: &'a [u8],
    count: u8,
    ignored: u8,
}

impl<'a> TsPayload<'a> {
    /// Checks a body, and so makes what follows infallible.
    ///
    /// # Errors
    /// A [`PayloadError`] for the first malformation from the front.
    ///
    /// # Examples
    /// ```
    /// use espial::selector::payload::{PayloadError, TsPayload};
    ///
    /// let body = [1, 0, 0, 0, 7, 0, 0, 16, 0, 0, 255, 255, 198, 51, 100, 0, 198, 51, 100, 255];
    /// let payload = TsPayload::parse(&body).unwrap();
    /// assert_eq!(payload.iter().next().unwrap().addrs.to_string(), "198.51.100.0/24");
    /// assert_eq!(payload.ignored(), 0);
    ///
    /// let cut = TsPayload::parse(&body[..19]);
    /// assert_eq!(
    ///     cut.unwrap_err(),
    ///     PayloadError::Truncated { index: 0, offset: 4, needed: 16, left: 15 }
    /// );
    /// ```
    pub fn parse(body: &'a [u8]) -> Result<Self, PayloadError> {
        let Some((&[count, _, _, _], octets)) = body.split_first_chunk::<HEADER>() else {
            return Err(PayloadError::Header { octets: body.len() });
        };
        if count == 0 {
            return Err(PayloadError::NoSelectors);
        }
        let mut ignored = 0;
        let mut rest = octets;
        for index in 0..count {
            let offset = body.len() - rest.len();
            if rest.is_empty() {
                return Err(PayloadError::Missing { index, offset, count });
            }
            let (selector, behind) = read(rest).map_err(|wrong| wrong.at(index, offset))?;
            ignored += u8::from(selector.is_none());
            rest = behind;
        }
        if !rest.is_empty() {
            let offset = body.len() - rest.len();
            return Err(PayloadError::Trailing { count, offset, octets: rest.len() });
        }
        Ok(Self { octets, count, ignored })
    }

    /// The selectors of known type, in order.
    pub fn iter(&self) -> TsIter<'a> {
        TsIter { octets: self.octets, left: self.count - self.ignored }
    }

    /// Number of selectors of known type. If it is 0, nothing was proposed that this
    /// implementation understands, and the answer is TS_UNACCEPTABLE (RFC 7296 section 2.9).
    pub fn count(&self) -> usize {
        usize::from(self.count - self.ignored)
    }

    /// Number of selectors that were skipped because their TS type is not known.
    pub fn ignored(&self) -> usize {
        self.ignored.into()
    }
}

impl<'a> IntoIterator for &TsPayload<'a> {
    type Item = TrafficSelector;
    type IntoIter = TsIter<'a>;

    fn into_iter(self) -> TsIter<'a> {
        self.iter()
    }
}

/// The iterator over a [`TsPayload`].
#[derive(Clone, Debug)]
pub struct TsIter<'a> {
    octets: &'a [u8],
    /// Selectors of known type still to come.
    left: u8,
}

impl Iterator for TsIter<'_> {
    type Item = TrafficSelector;

    fn next(&mut self) -> Option<TrafficSelector> {
        while self.left > 0 {
            // Cannot fail: `TsPayload::parse` has read the same octets.
            let (selector, behind) = read(self.octets).ok()?;
            self.octets = behind;
            if selector.is_some() {
                self.left -= 1;
                return selector;
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.into(), Some(self.left.into()))
    }
}

impl ExactSizeIterator for TsIter<'_> {}
impl FusedIterator for TsIter<'_> {}

/// What is wrong with one selector, before it is known which one it is.
enum Wrong {
    Truncated { needed: usize, left: usize },
    Length { ts_type: u8, length: u16, expected: u16 },
    Addresses(AddrRange),
    Ports { lo: u16, hi: u16 },
}

impl Wrong {
    fn at(self, index: u8, offset: usize) -> PayloadError {
        match self {
            Self::Truncated { needed, left } => {
                PayloadError::Truncated { index, offset, needed, left }
            }
            Self::Length { ts_type, length, expected } => {
                PayloadError::Length { index, offset, ts_type, length, expected }
            }
            Self::Addresses(addrs) => PayloadError::ReversedAddresses { index, offset, addrs },
            Self::Ports { lo, hi } => PayloadError::ReversedPorts { index, offset, lo, hi },
        }
    }
}

/// Reads one selector; returns it, or `None` for an unknown type, and the octets behind it.
fn read(octets: &[u8]) -> Result<(Option<TrafficSelector>, &[u8]), Wrong> {
    let truncated = |needed| Wrong::Truncated { needed, left: octets.len() };
    let &[ts_type, protocol, high, low] =
        octets.first_chunk::<COMMON>().ok_or(truncated(COMMON))?;
    let length = u16::from_be_bytes([high, low]);
    let family = match ts_type {
        TS_IPV4_ADDR_RANGE => Some(Family::V4),
        TS_IPV6_ADDR_RANGE => Some(Family::V6),
        _ => None,
    };
    let expected = family.map_or(COMMON, selector_octets) as u16;
    let fits = if family.is_some() { length == expected } else { length >= expected };
    if !fits {
        return Err(Wrong::Length { ts_type, length, expected });
    }
    let length = usize::from(length);
    let (selector, behind) = octets.split_at_checked(length).ok_or(truncated(length))?;
    let Some(family) = family else {
        return Ok((None, behind));
    };

    let port = |at: usize| number(selector, at, 2) as u16;
    let (lo, hi) = (port(4), port(6));
    let ports = PortRange::new(lo, hi).ok_or(Wrong::Ports { lo, hi })?;
    let addr_octets = (length - BEFORE_ADDRS) / 2;
    let start = number(selector, BEFORE_ADDRS, addr_octets);
    let end = number(selector, BEFORE_ADDRS + addr_octets, addr_octets);
    let addrs = AddrRange::from_bounds(family, start, end);
    if start > end {
        return Err(Wrong::Addresses(addrs));
    }
    Ok((Some(TrafficSelector { addrs, protocol, ports }), behind))
}

/// A number in network byte order.
fn number(octets: &[u8], at: usize, len: usize) -> u128 {
    octets.iter().skip(at).take(len).fold(0, |number, &octet| number << 8 | u128::from(octet))
}

/// How many selectors [`parse`] wrote, and how many it skipped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parsed {
    /// Selectors written, at the front.
    pub count: usize,
    /// Selectors skipped because their TS type is not known.
    pub ignored: usize,
}

/// Reads a body into the caller's slice.
///
/// # Errors
/// As [`TsPayload::parse`], or [`PayloadError::OutTooShort`]; `out` is unchanged.
pub fn parse(body: &[u8], out: &mut [TrafficSelector]) -> Result<Parsed, PayloadError> {
    let payload = TsPayload::parse(body)?;
    let count = payload.count();
    let given = out.len();
    let out = out.get_mut(..count).ok_or(PayloadError::OutTooShort { needed: count, given })?;
    for (slot, selector) in out.iter_mut().zip(&payload) {
        *slot = selector;
    }
    Ok(Parsed { count, ignored: payload.ignored() })
}

/// Reads a body into a list of its own; returns it and the number of selectors skipped.
///
/// # Errors
/// As [`TsPayload::parse`].
#[cfg(feature = "alloc")]
pub fn parse_to_vec(
    body: &[u8],
) -> Result<(alloc::vec::Vec<TrafficSelector>, usize), PayloadError> {
    let payload = TsPayload::parse(body)?;
    Ok((payload.iter().collect(), payload.ignored()))
}

/// Octets that [`write()`] needs for these selectors.
pub fn written_octets(selectors: &[TrafficSelector]) -> usize {
    selectors.iter().map(|selector| selector_octets(selector.addrs.family())).sum::<usize>()
        + HEADER
}

/// Writes the body of a TS payload; returns its length in octets.
///
/// # Errors
/// A [`WriteError`]; `out` is unchanged.
pub fn write(selectors: &[TrafficSelector], out: &mut [u8]) -> Result<usize, WriteError> {
    let count = match u8::try_from(selectors.len()) {
        Ok(0) => return Err(WriteError::NoSelectors),
        Ok(count) => count,
        Err(_) => return Err(WriteError::TooMany { count: selectors.len() }),
    };
    for (index, selector) in selectors.iter().enumerate() {
        selector.validate().map_err(|cause| WriteError::Selector { index, cause })?;
    }
    let needed = written_octets(selectors);
    let given = out.len();
    let out = out.get_mut(..needed).ok_or(WriteError::OutTooShort { needed, given })?;

    let mut octets = out.iter_mut();
    let mut put = |number: u128, len: usize| {
        for (octet, slot) in number.to_be_bytes().iter().skip(16 - len).zip(octets.by_ref()) {
            *slot = *octet;
        }
    };
    put(count.into(), 1);
    put(0, 3);
    for TrafficSelector { addrs, protocol, ports } in selectors {
        let (ts_type, addr_octets) = match addrs.family() {
            Family::V4 => (TS_IPV4_ADDR_RANGE, 4),
            Family::V6 => (TS_IPV6_ADDR_RANGE, 16),
        };
        let (lo, hi) = addrs.bounds();
        put(ts_type.into(), 1);
        put((*protocol).into(), 1);
        put(selector_octets(addrs.family()) as u128, 2);
        put(ports.lo().into(), 2);
        put(ports.hi().into(), 2);
        put(lo, addr_octets);
        put(hi, addr_octets);
    }
    Ok(needed)
}

/// [`write()`] into a list of its own.
///
/// # Errors
/// As [`write()`].
#[cfg(feature = "alloc")]
pub fn write_to_vec(selectors: &[TrafficSelector]) -> Result<alloc::vec::Vec<u8>, WriteError> {
    let mut body = alloc::vec![0; written_octets(selectors)];
    write(selectors, &mut body)?;
    Ok(body)
}

/// What is wrong with the body of a TS payload. Indexes count selectors from 0, offsets octets
/// from "Number of TSs", where the selector in question starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PayloadError {
    /// Fewer octets than the count and the reserved ones.
    Header {
        /// Octets present.
        octets: usize,
    },
    /// The count is 0.
    NoSelectors,
    /// The body ends where another selector should start: the count is too high.
    Missing {
        /// The first selector that is not there.
        index: u8,
        /// Octets of the body.
        offset: usize,
        /// The count.
        count: u8,
    },
    /// The body ends inside a selector.
    Truncated {
        /// The selector.
        index: u8,
        /// Where it starts.
        offset: usize,
        /// Octets that it has, as far as can be told.
        needed: usize,
        /// Octets that are left for it.
        left: usize,
    },
    /// Octets follow the last selector: the count is too low.
    Trailing {
        /// The count.
        count: u8,
        /// Where the surplus starts.
        offset: usize,
        /// Octets of surplus.
        octets: usize,
    },
    /// The selector length is not that of its type, or, for an unknown type, shorter than the
    /// fields that every type has.
    Length {
        /// The selector.
        index: u8,
        /// Where it starts.
        offset: usize,
        /// Its type.
        ts_type: u8,
        /// Its length as written.
        length: u16,
        /// The length of its type; the least length of an unknown one.
        expected: u16,
    },
    /// The starting address lies behind the ending address.
    ReversedAddresses {
        /// The selector.
        index: u8,
        /// Where it starts.
        offset: usize,
        /// The addresses as written: a range that breaks `lo <= hi`.
        addrs: AddrRange,
    },
    /// The start port lies behind the end port, and they are not 65535 and 0, which is OPAQUE.
    ReversedPorts {
        /// The selector.
        index: u8,
        /// Where it starts.
        offset: usize,
        /// Start port.
        lo: u16,
        /// End port.
        hi: u16,
    },
    /// The caller's slice is too short.
    OutTooShort {
        /// Selectors in the payload.
        needed: usize,
        /// Selectors that the slice holds.
        given: usize,
    },
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Header { octets } => {
                write!(f, "a TS payload starts with 4 octets, and there are {octets}")
            }
            Self::NoSelectors => f.write_str("the TS payload holds no traffic selector"),
            Self::Missing { index, offset, count } => write!(
                f,
                "the TS payload announces {count} traffic selectors and ends at octet {offset}, \
                 after {index}"
            ),
            Self::Truncated { index, offset, needed, left } => write!(
                f,
                "traffic selector {index} at octet {offset} is cut off: {left} of {needed} octets"
            ),
            Self::Trailing { count, offset, octets } => write!(
                f,
                "{octets} octets at octet {offset} follow the {count} traffic selectors announced"
            ),
            Self::Length { index, offset, ts_type, length, expected } => write!(
                f,
                "traffic selector {index} at octet {offset}: length {length} for type {ts_type}, \
                 which takes {}{expected}",
                if matches!(ts_type, TS_IPV4_ADDR_RANGE | TS_IPV6_ADDR_RANGE) {
                    ""
                } else {
                    "at least "
                }
            ),
            Self::ReversedAddresses { index, offset, addrs } => write!(
                f,
                "traffic selector {index} at octet {offset}: addresses {addrs:#} run backwards"
            ),
            Self::ReversedPorts { index, offset, lo, hi } => write!(
                f,
                "traffic selector {index} at octet {offset}: ports {lo}-{hi} run backwards, and \
                 are not OPAQUE (65535-0)"
            ),
            Self::OutTooShort { needed, given } => {
                write!(f, "{needed} traffic selectors do not fit a list of {given}")
            }
        }
    }
}

impl core::error::Error for PayloadError {}

/// Why no TS payload was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WriteError {
    /// There is no selector to write.
    NoSelectors,
    /// More selectors than the count can say.
    TooMany {
        /// Selectors given; [`MAX_SELECTORS`] can be written.
        count: usize,
    },
    /// One selector must not be sent.
    Selector {
        /// The selector.
        index: usize,
        /// What is wrong with it.
        cause: SelectorError,
    },
    /// The caller's buffer is too short.
    OutTooShort {
        /// Octets of the body.
        needed: usize,
        /// Octets of the buffer.
        given: usize,
    },
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSelectors => f.write_str("there is no traffic selector to write"),
            Self::TooMany { count } => {
                write!(f, "{count} traffic selectors do not fit a payload, {MAX_SELECTORS} do")
            }
            Self::Selector { index, cause } => write!(f, "traffic selector {index}: {cause}"),
            Self::OutTooShort { needed, given } => {
                write!(f, "the TS payload has {needed} octets, the buffer {given}")
            }
        }
    }
}

impl core::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Selector { cause, .. } => Some(cause),
            _ => None,
        }
    }
}
