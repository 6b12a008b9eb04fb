//! What [`wire`](crate::wire) reads out of a packet: plain fields in host byte order.
//!
//! Owns the vocabulary that both flows share: addresses, SPIs, encapsulation, next layer values.
//! Knows nothing of policy. In these types `src` and `dst` are the packet's own; the rest of the
//! crate says `remote` and `local` (inbound: remote is the packet's source).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Internet Protocol version 4 or 6.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The source and destination address of one packet; both always of one family.
///
/// Host byte order: the first octet on the wire is the most significant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Endpoints {
    /// IPv4 addresses.
    V4 {
        /// Source address.
        src: u32,
        /// Destination address.
        dst: u32,
    },
    /// IPv6 addresses.
    V6 {
        /// Source address.
        src: u128,
        /// Destination address.
        dst: u128,
    },
}

impl Endpoints {
    /// Two addresses of one family, or `None` if the families differ.
    pub fn new(src: IpAddr, dst: IpAddr) -> Option<Self> {
        match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                Some(Self::V4 { src: src.to_bits(), dst: dst.to_bits() })
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                Some(Self::V6 { src: src.to_bits(), dst: dst.to_bits() })
            }
            _ => None,
        }
    }

    /// The family of both addresses.
    pub fn family(&self) -> Family {
        match self {
            Self::V4 { .. } => Family::V4,
            Self::V6 { .. } => Family::V6,
        }
    }

    /// The source address.
    pub fn src(&self) -> IpAddr {
        match *self {
            Self::V4 { src, .. } => IpAddr::V4(Ipv4Addr::from_bits(src)),
            Self::V6 { src, .. } => IpAddr::V6(Ipv6Addr::from_bits(src)),
        }
    }

    /// The destination address.
    pub fn dst(&self) -> IpAddr {
        match *self {
            Self::V4 { dst, .. } => IpAddr::V4(Ipv4Addr::from_bits(dst)),
            Self::V6 { dst, .. } => IpAddr::V6(Ipv6Addr::from_bits(dst)),
        }
    }

    /// The same two addresses with source and destination exchanged.
    pub fn reversed(self) -> Self {
        match self {
            Self::V4 { src, dst } => Self::V4 { src: dst, dst: src },
            Self::V6 { src, dst } => Self::V6 { src: dst, dst: src },
        }
    }
}

/// A Security Parameters Index in host byte order: the first octet on the wire is the high byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Spi(pub u32);

impl Spi {
    /// True for 1 to 255, which IANA reserves (RFC 4303 section 2.1). Such an SPI may be
    /// looked up; it is reported so that an operator sees it.
    pub fn is_reserved(self) -> bool {
        matches!(self.0, 1..=255)
    }
}

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

/// Which IPsec protocol an SA speaks. ESP and AH SPIs are apart (RFC 4301 section 4.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Ipsec {
    /// Encapsulating Security Payload, protocol 50 (RFC 4303).
    Esp,
    /// Authentication Header, protocol 51 (RFC 4302).
    Ah,
}

/// How the IPsec header was carried.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Encap {
    /// Directly in IP, protocol 50 or 51.
    None,
    /// In UDP port 4500 (RFC 3948).
    Udp,
    /// In a TCP stream (RFC 9329).
    Tcp,
}

/// An ESP or AH packet before decryption.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OuterHeaders {
    /// Outer addresses.
    pub endpoints: Endpoints,
    /// The cleartext Flow ID of IPv6, which auditable events repeat (RFC 4301 section 5.2); 0 for
    /// IPv4.
    pub flow_label: u32,
    /// ESP or AH.
    pub ipsec: Ipsec,
    /// Directly in IP, in UDP or in TCP.
    pub encap: Encap,
    /// The SPI. 0 is never sent (RFC 4303 section 2.1) and no SA answers to it.
    pub spi: Spi,
    /// The 32 bits of the sequence number that are on the wire.
    pub sequence: u32,
    /// Its high half where the SA has extended sequence numbers, which goes into the integrity check:
    /// guessed by [`Worker::arrive`](crate::Worker::arrive) before the packet is opened; else 0.
    pub sequence_high: u32,
    /// Source port of the encapsulation; 0 without one.
    pub sport: u16,
    /// Destination port of the encapsulation; 0 without one.
    pub dport: u16,
    /// Octets from the start of the packet to the ESP or AH header.
    pub offset: u32,
    /// Octets of the ESP packet, or of the AH header and all that follows it, as the IP and UDP
    /// lengths say; link padding behind them is not counted.
    pub octets: u32,
}

impl OuterHeaders {
    /// The sequence number with its high half.
    pub const fn full_sequence(&self) -> u64 {
        (self.sequence_high as u64) << 32 | self.sequence as u64
    }

    /// True for ESP.
    pub fn is_esp(&self) -> bool {
        self.ipsec == Ipsec::Esp
    }
}

/// What a packet is before any table is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outer {
    /// ESP or AH: look the SPI up.
    Ipsec(OuterHeaders),
    /// IKE (UDP 500, UDP 4500 or TCP behind the non-ESP marker): for the key manager.
    Ike,
    /// One octet 0xFF on UDP 4500 (RFC 3948 section 2.3): to be ignored.
    NatKeepalive,
    /// Anything else: not for this check.
    Other,
}

/// The value that a selector compares beside addresses and protocol (RFC 4301 section 4.4.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NextLayer {
    /// TCP, UDP, SCTP, UDP-Lite, DCCP.
    Ports {
        /// Source port.
        src: u16,
        /// Destination port.
        dst: u16,
    },
    /// ICMP or ICMPv6: type * 256 + code, one number.
    Icmp(u16),
    /// Mobility Header: type * 256, one number.
    Mobility(u16),
    /// Not available: another protocol, or a fragment that does not hold it. Matches only
    /// selectors whose ports are ANY or OPAQUE.
    Opaque,
}

/// Whether an inner packet is a fragment (RFC 4301 section 7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fragment {
    /// A whole packet.
    None,
    /// The first fragment; it holds the ports.
    First,
    /// A later fragment; it holds no ports.
    NonInitial,
}

/// The headers of a decrypted packet that selectors are compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InnerHeaders {
    /// Inner addresses (transport mode: the addresses of the only IP header).
    pub endpoints: Endpoints,
    /// Next layer protocol, after IPv6 extension headers 0, 43, 44 and 60.
    pub protocol: u8,
    /// Ports, ICMP value or Mobility Header type.
    pub next_layer: NextLayer,
    /// Whether it is a fragment.
    pub fragment: Fragment,
}

impl InnerHeaders {
    /// True for ICMP 3, 4, 5, 11 and 12 (RFC 792) and every ICMPv6 type below 128 (RFC 4443 section 2.1):
    /// messages about another packet, to whose flow they belong.
    pub fn is_icmp_error(&self) -> bool {
        match (self.protocol, self.next_layer) {
            (protocol::ICMP, NextLayer::Icmp(value)) => matches!(value >> 8, 3..=5 | 11 | 12),
            (protocol::ICMPV6, NextLayer::Icmp(value)) => value >> 8 < 128,
            _ => false,
        }
    }
}

/// IANA protocol numbers that this crate tells apart.
pub mod protocol {
    #![allow(missing_docs)]
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const IPV4: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const DCCP: u8 = 33;
    pub const IPV6: u8 = 41;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const ESP: u8 = 50;
    pub const AH: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const NO_NEXT_HEADER: u8 = 59;
    pub const DESTINATION_OPTIONS: u8 = 60;
    pub const SCTP: u8 = 132;
    pub const MOBILITY: u8 = 135;
    pub const UDP_LITE: u8 = 136;
}
