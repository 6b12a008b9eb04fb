//! Ranges as prefixes: exactly, by one that is too large, or by several.
//!
//! What an operator needs who wants fewer selectors (seed 000, A8): the smallest single prefix
//! over some ranges, and how many addresses it lets in that were not asked for.
//!
//! The minimal exact cover is the greedy one: from the first address on, take the largest block
//! that starts there (as many bits as the address has zeros at its end) and does not reach past the
//! last. No deviation from the textbook, but that numbers of addresses are kept less one: 2^128 of
//! them does not fit.

use core::fmt;
use core::iter::FusedIterator;
use core::net::IpAddr;

use super::{AddrRange, addr_bits, addr_from_bits};
use crate::headers::Family;

/// Number of bits of an address.
pub(super) const fn width(family: Family) -> u8 {
    match family {
        Family::V4 => 32,
        Family::V6 => 128,
    }
}

/// The lowest `bits` bits, 0 to 128 of them.
const fn low_bits(bits: u32) -> u128 {
    match 1u128.checked_shl(bits) {
        Some(block) => block - 1,
        None => u128::MAX,
    }
}

/// A network: an address whose host bits are zero, and how many leading bits of it count.
///
/// The order is that of the ranges: IPv4 first, lower start first, larger network first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Prefix {
    family: Family,
    /// The address as a number, host bits zero.
    bits: u128,
    /// At most [`width`] of the family.
    len: u8,
}

impl Prefix {
    /// The network `addr/len`.
    ///
    /// # Errors
    /// - [`PrefixError::Length`]: more bits than the address has.
    /// - [`PrefixError::HostBits`]: `addr` is not the first address of the network. Seed 003 writes
    ///   203.0.113.2 under a mask of 30 bits (D4): [`Prefix::masked`] takes such.
    pub fn new(addr: IpAddr, len: u8) -> Result<Self, PrefixError> {
        let prefix = Self::masked(addr, len)?;
        if prefix.addr() == addr {
            Ok(prefix)
        } else {
            Err(PrefixError::HostBits { addr, len, network: prefix.addr() })
        }
    }

    /// The network of `len` bits that `addr` lies in, host bits ignored.
    ///
    /// # Errors
    /// [`PrefixError::Length`]: more bits than the address has.
    pub fn masked(addr: IpAddr, len: u8) -> Result<Self, PrefixError> {
        let (family, bits) = addr_bits(addr);
        match width(family).checked_sub(len) {
            Some(host_bits) => Ok(Self::at(family, bits, host_bits.into())),
            None => Err(PrefixError::Length { len, max: width(family) }),
        }
    }

    /// The network of `host_bits` host bits around a number; no more than the family has.
    fn at(family: Family, bits: u128, host_bits: u32) -> Self {
        let len = u32::from(width(family)).saturating_sub(host_bits) as u8;
        Self { family, bits: bits & !low_bits(host_bits), len }
    }

    /// The smallest network that holds both numbers: the bits that they share in front.
    fn around(family: Family, lo: u128, hi: u128) -> Self {
        Self::at(family, lo, u128::BITS - (lo ^ hi).leading_zeros())
    }

    /// The first address, which names the network.
    pub fn addr(&self) -> IpAddr {
        addr_from_bits(self.family, self.bits)
    }

    /// The number of bits that count, 0 to 32 or 128.
    #[allow(clippy::len_without_is_empty)] // a length in bits; no network is empty
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// The family of the addresses.
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Every address of the network.
    pub fn range(&self) -> AddrRange {
        AddrRange::from_bounds(self.family, self.bits, self.bits | self.host_mask())
    }

    fn host_mask(&self) -> u128 {
        low_bits(u32::from(width(self.family)).saturating_sub(self.len.into()))
    }

    /// The mask as an address: 255.255.224.0 for 19 bits of IPv4.
    pub fn mask(&self) -> IpAddr {
        let all = low_bits(width(self.family).into());
        addr_from_bits(self.family, all & !self.host_mask())
    }

    /// The first and the last address that a host may have.
    ///
    /// Of IPv4 the network's and the broadcast address are left out, as seed 000 counts
    /// (192.168.0.0/19 is 192.168.0.1 to 192.168.31.254); of IPv6 the first, which is the routers'
    /// anycast address (RFC 4291 section 2.6.1). Networks of one or two addresses are hosts
    /// throughout (RFC 3021, RFC 6164).
    pub fn hosts(&self) -> AddrRange {
        let (lo, hi) = self.range().bounds();
        if hi - lo < 2 {
            return self.range();
        }
        let last = match self.family {
            Family::V4 => hi - 1,
            Family::V6 => hi,
        };
        AddrRange::from_bounds(self.family, lo + 1, last)
    }

    /// The number of leading one bits of a mask, or `None` if ones follow zeros.
    pub fn len_of_mask(mask: IpAddr) -> Option<u8> {
        let (family, bits) = addr_bits(mask);
        let host = low_bits(width(family).into()) & !bits;
        let host_bits = u128::BITS - host.leading_zeros();
        (host == low_bits(host_bits)).then(|| width(family) - host_bits as u8)
    }
}

impl From<Prefix> for AddrRange {
    fn from(prefix: Prefix) -> Self {
        prefix.range()
    }
}

impl From<Prefix> for (IpAddr, u8) {
    fn from(prefix: Prefix) -> Self {
        (prefix.addr(), prefix.len)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr(), self.len)
    }
}

/// Why an address and a length are no network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PrefixError {
    /// More bits than the address has.
    Length {
        /// Bits asked for.
        len: u8,
        /// Bits of the address, 32 or 128.
        max: u8,
    },
    /// Bits are set that do not count.
    HostBits {
        /// The address as given.
        addr: IpAddr,
        /// The bits that count.
        len: u8,
        /// The first address of the network that was probably meant.
        network: IpAddr,
    },
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { len, max } => {
                write!(f, "prefix length {len} is more than the {max} bits of the address")
            }
            Self::HostBits { addr, len, network } => write!(
                f,
                "{addr}/{len} has bits set behind its first {len}: the network is {network}/{len}"
            ),
        }
    }
}

impl core::error::Error for PrefixError {}

/// One prefix that holds all of some ranges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Covering {
    /// The smallest such prefix.
    pub prefix: Prefix,
    /// How many addresses it admits that are in none of the ranges; 0 if it is exact.
    pub extra: u128,
}

impl AddrRange {
    /// The network `addr/len` as a range.
    ///
    /// # Errors
    /// As [`Prefix::new`]; set host bits are an error.
    pub fn from_prefix(addr: IpAddr, len: u8) -> Result<Self, PrefixError> {
        Prefix::new(addr, len).map(Self::from)
    }

    /// The network of `len` bits that `addr` lies in, as a range.
    ///
    /// # Errors
    /// As [`Prefix::masked`]; host bits are ignored.
    pub fn from_prefix_masked(addr: IpAddr, len: u8) -> Result<Self, PrefixError> {
        Prefix::masked(addr, len).map(Self::from)
    }

    /// The prefix that is this very range, or `None` if there is none.
    pub fn to_prefix(&self) -> Option<Prefix> {
        let prefix = self.covering_prefix().prefix;
        (prefix.range() == *self).then_some(prefix)
    }

    /// The smallest single prefix that holds this range, and what it admits beyond it.
    pub fn covering_prefix(&self) -> Covering {
        let (lo, hi) = self.bounds();
        let prefix = Prefix::around(self.family(), lo, hi);
        Covering { prefix, extra: prefix.range().following() - self.following() }
    }

    /// The fewest prefixes that together are exactly this range, lowest first.
    ///
    /// # Bound
    /// At most 62 prefixes for IPv4 and 254 for IPv6.
    pub fn prefixes(&self) -> Prefixes {
        let (lo, hi) = self.bounds();
        Prefixes { family: self.family(), left: (lo <= hi).then_some((lo, hi)) }
    }
}

/// The iterator that [`AddrRange::prefixes`] returns.
#[derive(Clone, Debug)]
pub struct Prefixes {
    family: Family,
    /// First and last number not yet covered.
    left: Option<(u128, u128)>,
}

impl Iterator for Prefixes {
    type Item = Prefix;

    fn next(&mut self) -> Option<Prefix> {
        let (lo, hi) = self.left?;
        // Zeros at the end of `lo` say how large a block may start there; for 0 it is all of them.
        let aligned = if lo == 0 { width(self.family).into() } else { lo.trailing_zeros() };
        let fitting = match (hi - lo).checked_add(1) {
            Some(addresses) => addresses.ilog2(),
            None => u128::BITS,
        };
        let prefix = Prefix::at(self.family, lo, aligned.min(fitting));
        let (_, end) = prefix.range().bounds();
        self.left = (end < hi).then(|| (end + 1, hi));
        Some(prefix)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self.left {
            None => (0, Some(0)),
            Some(_) => (1, Some(2 * usize::from(width(self.family)) - 2)),
        }
    }
}

impl FusedIterator for Prefixes {}

/// The smallest single prefix over several ranges of one family, and how many addresses it admits
/// that are in none of them; where ranges overlap, addresses count once. Sorts the ranges.
///
/// # Errors
/// - [`CoverError::Empty`]: no range, or none that holds an address.
/// - [`CoverError::MixedFamilies`]: nothing was sorted.
///
/// # Examples
/// ```
/// use espial::selector::covering_prefix_of;
///
/// let mut ranges =
///     ["192.168.10.0/24", "192.168.20.0/24", "192.168.30.0/24"].map(|text| text.parse().unwrap());
/// let covering = covering_prefix_of(&mut ranges).unwrap();
/// assert_eq!(covering.prefix.to_string(), "192.168.0.0/19");
/// assert_eq!(covering.prefix.mask().to_string(), "255.255.224.0");
/// assert_eq!(covering.extra, 8192 - 3 * 256);
/// assert!(!covering.prefix.range().contains([192, 168, 40, 1].into()));
/// ```
pub fn covering_prefix_of(ranges: &mut [AddrRange]) -> Result<Covering, CoverError> {
    let family = ranges.first().ok_or(CoverError::Empty)?.family();
    if let Some(index) = ranges.iter().position(|range| range.family() != family) {
        return Err(CoverError::MixedFamilies { index });
    }
    ranges.sort_unstable();

    // One sweep over the starts: `following` counts the addresses of the union less one.
    let mut union: Option<(u128, u128, u128)> = None;
    for (lo, hi) in ranges.iter().map(AddrRange::bounds).filter(|(lo, hi)| lo <= hi) {
        union = Some(match union {
            None => (lo, hi, hi - lo),
            Some((start, end, following)) if hi > end => {
                let fresh = if lo > end { hi - lo + 1 } else { hi - end };
                (start, hi, following + fresh)
            }
            Some(same) => same,
        });
    }
    let (lo, hi, following) = union.ok_or(CoverError::Empty)?;
    let prefix = Prefix::around(family, lo, hi);
    Ok(Covering { prefix, extra: prefix.range().following() - following })
}

/// [`covering_prefix_of`] over copies: the caller's ranges stay as they are.
///
/// # Errors
/// As [`covering_prefix_of`].
#[cfg(feature = "alloc")]
pub fn covering_prefix_of_copies(ranges: &[AddrRange]) -> Result<Covering, CoverError> {
    covering_prefix_of(&mut ranges.to_vec())
}

/// Sorts ranges and joins those that overlap or touch; returns how many are left, at the front.
///
/// They hold the same addresses as before; both families may be present.
pub fn coalesce(ranges: &mut [AddrRange]) -> usize {
    ranges.sort_unstable();
    let mut kept = 0usize;
    for next in 0..ranges.len() {
        let range = ranges[next];
        let (lo, hi) = range.bounds();
        if lo > hi {
            continue;
        }
        let last = kept.checked_sub(1).map(|last| &mut ranges[last]);
        match last {
            Some(last) if last.family() == range.family() && touches(last, lo) => {
                let (start, end) = last.bounds();
                *last = AddrRange::from_bounds(range.family(), start, end.max(hi));
            }
            _ => {
                ranges[kept] = range;
                kept += 1;
            }
        }
    }
    kept
}

/// True if a range that starts at `lo`, not before `range`, overlaps it or follows without a gap.
fn touches(range: &AddrRange, lo: u128) -> bool {
    let (_, end) = range.bounds();
    lo.saturating_sub(1) <= end
}

/// Why no prefix covers the ranges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CoverError {
    /// There is no address to cover.
    Empty,
    /// IPv4 and IPv6 have no prefix in common.
    MixedFamilies {
        /// The first range whose family is not that of range 0.
        index: usize,
    },
}

impl fmt::Display for CoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no range to cover"),
            Self::MixedFamilies { index } => {
                write!(f, "range {index} is of another IP version than range 0")
            }
        }
    }
}

impl core::error::Error for CoverError {}

#[cfg(feature = "alloc")]
mod net {
    //! Conversions from and to `ipnet`. From is exact or fails: an `IpNet` may have host bits set.

    use core::fmt;

    use ipnet::{IpNet, Ipv4Net, Ipv6Net};

    use super::{AddrRange, Prefix, PrefixError};

    /// The range is no prefix, or one of the other IP version.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct NotAPrefix(
        /// The range as given.
        pub AddrRange,
    );

    impl fmt::Display for NotAPrefix {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "the range {:#} is not a prefix of the IP version asked for", self.0)
        }
    }

    impl core::error::Error for NotAPrefix {}

    impl From<Prefix> for IpNet {
        fn from(prefix: Prefix) -> Self {
            // The length is within the family's width, so the second branch is never taken.
            IpNet::new(prefix.addr(), prefix.len()).unwrap_or_else(|_| prefix.addr().into())
        }
    }

    impl TryFrom<AddrRange> for IpNet {
        type Error = NotAPrefix;

        fn try_from(range: AddrRange) -> Result<Self, NotAPrefix> {
            range.to_prefix().map(Self::from).ok_or(NotAPrefix(range))
        }
    }

    macro_rules! net {
        ($net:ident, $variant:path) => {
            impl TryFrom<$net> for Prefix {
                type Error = PrefixError;

                /// Set host bits are an error; `trunc` the net first to ignore them.
                fn try_from(net: $net) -> Result<Self, PrefixError> {
                    Self::new(net.addr().into(), net.prefix_len())
                }
            }

            impl TryFrom<$net> for AddrRange {
                type Error = PrefixError;

                /// Set host bits are an error; `trunc` the net first to ignore them.
                fn try_from(net: $net) -> Result<Self, PrefixError> {
                    Prefix::try_from(net).map(Self::from)
                }
            }

            impl TryFrom<AddrRange> for $net {
                type Error = NotAPrefix;

                fn try_from(range: AddrRange) -> Result<Self, NotAPrefix> {
                    match IpNet::try_from(range)? {
                        $variant(net) => Ok(net),
                        _ => Err(NotAPrefix(range)),
                    }
                }
            }
        };
    }

    net!(Ipv4Net, IpNet::V4);
    net!(Ipv6Net, IpNet::V6);

    impl TryFrom<IpNet> for Prefix {
        type Error = PrefixError;

        /// Set host bits are an error; `trunc` the net first to ignore them.
        fn try_from(net: IpNet) -> Result<Self, PrefixError> {
            Self::new(net.addr(), net.prefix_len())
        }
    }

    impl TryFrom<IpNet> for AddrRange {
        type Error = PrefixError;

        /// Set host bits are an error; `trunc` the net first to ignore them.
        fn try_from(net: IpNet) -> Result<Self, PrefixError> {
            Prefix::try_from(net).map(Self::from)
        }
    }
}

#[cfg(feature = "alloc")]
pub use net::NotAPrefix;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_bits_at_the_edges() {
        assert_eq!((low_bits(0), low_bits(1), low_bits(32)), (0, 1, 0xffff_ffff));
        assert_eq!((low_bits(127), low_bits(128)), (u128::MAX >> 1, u128::MAX));
    }

    #[test]
    fn ranges_that_touch_are_joined_across_no_gap_and_no_family() {
        let v4 = |lo, hi| AddrRange::V4 { lo, hi };
        let v6 = |lo, hi| AddrRange::V6 { lo, hi };
        let mut ranges = [v6(0, 1), v4(4, 5), v4(0, 1), v6(2, 2), v4(2, 2), v4(u32::MAX, u32::MAX)];
        let count = coalesce(&mut ranges);
        assert_eq!(ranges[..count], [v4(0, 2), v4(4, 5), v4(u32::MAX, u32::MAX), v6(0, 2)]);
        assert_eq!(coalesce(&mut [v6(0, u128::MAX), v6(u128::MAX, u128::MAX)]), 1);
    }
}
