//! Traffic selectors as RFC 4301 section 4.4.1.1 and RFC 7296 section 3.13 define them.
//!
//! Owns what a selector *is*; the packet path asks compiled ones ([`matcher`](crate::matcher)).
//! Configuration flow: may be slow, may fail, never panics.

use core::net::IpAddr;

use crate::headers::Family;

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
