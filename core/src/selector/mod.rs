//! Traffic selectors as RFC 4301 section 4.4.1.1 and RFC 7296 section 3.13 define them.
//!
//! Owns what a selector *is*; the packet path asks compiled ones ([`matcher`](crate::matcher)).
//! Configuration flow: may be slow, may fail, never panics. Knows nothing of SAs and tunnels.
//!
//! ```text
//! text ---> AddrRange, PortRange --+                       narrow (RFC 7296 2.9)
//!                                  +--> TrafficSelector --> list --+
//! TS payload (RFC 7296 3.13) ------+     one side                  |
//!                                                    pair, cross --+--> Selector, one box
//!                                                                         |
//!                                                     covers: the oracle -+-> matcher: the same, fast
//! ```
//!
//! Invariants, which every constructor here upholds and [`TrafficSelector::validate`] tests in
//! values that were written field by field:
//! - I1: `lo <= hi` in every [`AddrRange`]. A range that breaks it contains nothing.
//! - I2: protocol ANY stands with ports ANY (RFC 7296 section 3.13.1).
//! - I3: both ranges of a [`Selector`] are of one family.
//! - I4: `local_ports` of an ICMP, ICMPv6 or Mobility Header [`Selector`] is ANY.

mod algebra;
mod narrow;
pub mod payload;
mod prefix;
mod text;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use algebra::{Cross, PairError, Side, cross, same_selectors};
pub use narrow::{Configured, HostRule, NarrowError, Narrowing, dedupe, narrow};
#[cfg(feature = "alloc")]
pub use narrow::{dedupe_to_vec, narrow_to_vec};
pub use prefix::{
    CoverError, Covering, Prefix, PrefixError, Prefixes, coalesce, covering_prefix_of,
};
#[cfg(feature = "alloc")]
pub use prefix::{NotAPrefix, covering_prefix_of_copies};
pub use text::{
    IcmpValues, PortTextError, ProtocolName, ProtocolTextError, RangeTextError, SelectorTextError,
    parse_icmp, parse_protocol, protocol_name,
};

use crate::headers::{Family, protocol};

/// An inclusive range of addresses of one family, `lo <= hi`, host byte order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AddrRange {
    /// IPv4.
    V4 {
        /// First address.
        lo: u32,
        /// Last address.
        hi: u32,
    },
    /// IPv6.
    V6 {
        /// First address.
        lo: u128,
        /// Last address.
        hi: u128,
    },
}

impl AddrRange {
    /// The range from `lo` to `hi`, or `None` if the families differ or `lo > hi`.
    pub fn new(lo: IpAddr, hi: IpAddr) -> Option<Self> {
        match (lo, hi) {
            (IpAddr::V4(lo), IpAddr::V4(hi)) if lo <= hi => {
                Some(Self::V4 { lo: lo.to_bits(), hi: hi.to_bits() })
            }
            (IpAddr::V6(lo), IpAddr::V6(hi)) if lo <= hi => {
                Some(Self::V6 { lo: lo.to_bits(), hi: hi.to_bits() })
            }
            _ => None,
        }
    }

    /// The family of both ends.
    pub fn family(&self) -> Family {
        match self {
            Self::V4 { .. } => Family::V4,
            Self::V6 { .. } => Family::V6,
        }
    }

    /// Every address of one family.
    pub const fn all(family: Family) -> Self {
        match family {
            Family::V4 => Self::V4 { lo: 0, hi: u32::MAX },
            Family::V6 => Self::V6 { lo: 0, hi: u128::MAX },
        }
    }

    /// The first address.
    pub fn lo(&self) -> IpAddr {
        addr_from_bits(self.family(), self.bounds().0)
    }

    /// The last address.
    pub fn hi(&self) -> IpAddr {
        addr_from_bits(self.family(), self.bounds().1)
    }

    /// Both ends as numbers: one body serves both families.
    pub(crate) fn bounds(&self) -> (u128, u128) {
        match *self {
            Self::V4 { lo, hi } => (lo.into(), hi.into()),
            Self::V6 { lo, hi } => (lo, hi),
        }
    }

    /// The inverse of [`AddrRange::bounds`]; IPv4 numbers are below 2^32.
    pub(crate) fn from_bounds(family: Family, lo: u128, hi: u128) -> Self {
        match family {
            Family::V4 => Self::V4 { lo: lo as u32, hi: hi as u32 },
            Family::V6 => Self::V6 { lo, hi },
        }
    }
}

impl From<IpAddr> for AddrRange {
    /// The range that holds this one address.
    fn from(addr: IpAddr) -> Self {
        let (family, bits) = addr_bits(addr);
        Self::from_bounds(family, bits, bits)
    }
}

/// An address as a family and a number, host byte order (T15: never compared as octets).
pub(crate) fn addr_bits(addr: IpAddr) -> (Family, u128) {
    match addr {
        IpAddr::V4(addr) => (Family::V4, addr.to_bits().into()),
        IpAddr::V6(addr) => (Family::V6, addr.to_bits()),
    }
}

/// The inverse of [`addr_bits`].
pub(crate) fn addr_from_bits(family: Family, bits: u128) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from_bits(bits as u32).into(),
        Family::V6 => Ipv6Addr::from_bits(bits).into(),
    }
}

/// A range of ports, of ICMP values (type * 256 + code) or of Mobility Header values (type * 256),
/// in the form of RFC 7296 section 3.13.1: 0 to 65535 is ANY and includes OPAQUE; 65535 to 0 is
/// OPAQUE, a value that the packet does not hold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PortRange {
    lo: u16,
    hi: u16,
}

impl PortRange {
    /// Any value, and none.
    pub const ANY: Self = Self { lo: 0, hi: u16::MAX };
    /// Only packets whose value is not available.
    pub const OPAQUE: Self = Self { lo: u16::MAX, hi: 0 };

    /// The range from `lo` to `hi`, or `None` if `lo > hi` and it is not [`PortRange::OPAQUE`].
    pub const fn new(lo: u16, hi: u16) -> Option<Self> {
        if lo <= hi || (lo == u16::MAX && hi == 0) { Some(Self { lo, hi }) } else { None }
    }

    /// First value (65535 for OPAQUE).
    pub const fn lo(self) -> u16 {
        self.lo
    }

    /// Last value (0 for OPAQUE).
    pub const fn hi(self) -> u16 {
        self.hi
    }

    /// True for 0 to 65535.
    pub const fn is_any(self) -> bool {
        self.lo == 0 && self.hi == u16::MAX
    }

    /// True for 65535 to 0.
    pub const fn is_opaque(self) -> bool {
        self.lo > self.hi
    }

    /// True if a packet with this value matches; OPAQUE contains no value.
    pub const fn contains(self, value: u16) -> bool {
        self.lo <= value && value <= self.hi
    }

    /// True for ANY and for OPAQUE: a packet without a value matches.
    pub const fn admits_opaque(self) -> bool {
        (self.lo == 0 && self.hi == u16::MAX) || self.lo > self.hi
    }
}

/// One traffic selector of one side, as in a TS payload (RFC 7296 section 3.13.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TrafficSelector {
    /// Address range.
    pub addrs: AddrRange,
    /// Next layer protocol; 0 is ANY.
    pub protocol: u8,
    /// Ports, ICMP values or Mobility Header values.
    pub ports: PortRange,
}

/// Protocol 0 in a selector: ANY next layer protocol.
pub const ANY_PROTOCOL: u8 = 0;

/// True for ICMP, ICMPv6 and Mobility Header, whose packets hold one value instead of two ports
/// (RFC 4301 section 4.4.1.1).
pub const fn has_one_value(protocol: u8) -> bool {
    matches!(protocol, protocol::ICMP | protocol::ICMPV6 | protocol::MOBILITY)
}

/// An ICMP type and code as the one number that selectors compare: type * 256 + code.
///
/// RFC 4301 section 4.4.1.1; a range of these is a range of numbers, so 3/1 to 4/15 includes 3/200
/// and excludes 4/16 (T18).
pub const fn icmp_value(icmp_type: u8, code: u8) -> u16 {
    u16::from_be_bytes([icmp_type, code])
}

/// The (type, code) of an ICMP value; the inverse of [`icmp_value`].
///
/// The type is always the high octet: 3 is type 0 code 3, never type 3.
pub const fn icmp_parts(value: u16) -> (u8, u8) {
    let [icmp_type, code] = value.to_be_bytes();
    (icmp_type, code)
}

impl TrafficSelector {
    /// A selector of one side, if its parts go together.
    ///
    /// # Errors
    /// As [`TrafficSelector::validate`].
    ///
    /// # Examples
    /// ```
    /// use espial::selector::{PortRange, SelectorError, TrafficSelector};
    ///
    /// let addrs = "10.1.0.0/16".parse().unwrap();
    /// let https = PortRange::new(443, 443).unwrap();
    /// assert!(TrafficSelector::new(addrs, 6, https).is_ok());
    /// assert_eq!(
    ///     TrafficSelector::new(addrs, 0, https),
    ///     Err(SelectorError::PortsWithoutProtocol { ports: https })
    /// );
    /// ```
    pub fn new(addrs: AddrRange, protocol: u8, ports: PortRange) -> Result<Self, SelectorError> {
        let selector = Self { addrs, protocol, ports };
        selector.validate()?;
        Ok(selector)
    }

    /// A selector for every packet of these addresses: protocol ANY, ports ANY.
    pub const fn any(addrs: AddrRange) -> Self {
        Self { addrs, protocol: ANY_PROTOCOL, ports: PortRange::ANY }
    }

    /// Tests what the public fields cannot promise: I1 and I2.
    ///
    /// # Errors
    /// - [`SelectorError::ReversedAddresses`]: the first address lies behind the last.
    /// - [`SelectorError::PortsWithoutProtocol`]: ports other than ANY, OPAQUE included, under
    ///   protocol ANY, where RFC 7296 section 3.13.1 demands 0 to 65535 (T19).
    pub fn validate(&self) -> Result<(), SelectorError> {
        let (lo, hi) = self.addrs.bounds();
        if lo > hi {
            return Err(SelectorError::ReversedAddresses { addrs: self.addrs });
        }
        if self.protocol == ANY_PROTOCOL && !self.ports.is_any() {
            return Err(SelectorError::PortsWithoutProtocol { ports: self.ports });
        }
        Ok(())
    }
}

/// Why the parts of a traffic selector do not go together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SelectorError {
    /// The first address lies behind the last.
    ReversedAddresses {
        /// The range as written.
        addrs: AddrRange,
    },
    /// Ports other than ANY under protocol ANY.
    PortsWithoutProtocol {
        /// The ports as written.
        ports: PortRange,
    },
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReversedAddresses { addrs } => {
                write!(f, "the range {addrs:#} ends before it starts")
            }
            Self::PortsWithoutProtocol { ports } => {
                write!(f, "ports {ports} need a protocol: with protocol any, ports are any")
            }
        }
    }
}

impl core::error::Error for SelectorError {}

/// One box of an SA: a local and a remote selector taken together, as inbound packets are
/// compared with it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Selector {
    /// Range of the packet's source address.
    pub remote: AddrRange,
    /// Range of the packet's destination address; same family as `remote`.
    pub local: AddrRange,
    /// Next layer protocol; 0 is ANY.
    pub protocol: u8,
    /// Source ports; for ICMP and Mobility Header the packet's one value (RFC 4301 section
    /// 4.4.1.3 compares it with the remote side).
    pub remote_ports: PortRange,
    /// Destination ports; ANY for ICMP and Mobility Header.
    pub local_ports: PortRange,
}
