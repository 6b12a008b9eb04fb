//! Selectors as people write them: addresses, ports, protocols, ICMP values.
//!
//! What [`Display`](fmt::Display) prints, [`FromStr`] reads back as the same value; only a box,
//! [`Selector`], is printed and not read. Nothing is
//! guessed: host bits under a mask, a range that runs backwards or a length that the family does
//! not have are errors that say what was meant. No white space is skipped.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use super::{
    ANY_PROTOCOL, AddrRange, Configured, PortRange, Prefix, PrefixError, Selector, SelectorError,
    TrafficSelector, has_one_value, icmp_parts, icmp_value,
};
use crate::headers::{Family, protocol};

/// Internet protocol 47, which this crate names and does not look into.
const GRE: u8 = 47;

/// Name and number; the first name of a number is the one that is printed.
const PROTOCOLS: [(&str, u8); 17] = [
    ("any", ANY_PROTOCOL),
    ("icmp", protocol::ICMP),
    ("ipv4", protocol::IPV4),
    ("tcp", protocol::TCP),
    ("udp", protocol::UDP),
    ("dccp", protocol::DCCP),
    ("ipv6", protocol::IPV6),
    ("gre", GRE),
    ("esp", protocol::ESP),
    ("ah", protocol::AH),
    ("icmpv6", protocol::ICMPV6),
    ("ipv6-icmp", protocol::ICMPV6),
    ("sctp", protocol::SCTP),
    ("mh", protocol::MOBILITY),
    ("mobility-header", protocol::MOBILITY),
    ("udp-lite", protocol::UDP_LITE),
    ("udplite", protocol::UDP_LITE),
];

/// The name of a next layer protocol of a selector, or `None` if it has none here.
pub fn protocol_name(protocol: u8) -> Option<&'static str> {
    PROTOCOLS.iter().find(|(_, number)| *number == protocol).map(|(name, _)| *name)
}

/// Reads a next layer protocol: a name in any case, or a number from 0 to 255, where 0 is ANY.
///
/// # Errors
/// A [`ProtocolTextError`].
pub fn parse_protocol(text: &str) -> Result<u8, ProtocolTextError> {
    let named = PROTOCOLS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    if let Some((_, number)) = named {
        return Ok(*number);
    }
    let number = decimal(text).ok_or(ProtocolTextError::Unknown)?;
    number.try_into().map_err(|_| ProtocolTextError::TooLarge { number })
}

/// Prints a next layer protocol by its name, or its number if it has none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProtocolName(
    /// The protocol; 0 is ANY.
    pub u8,
);

impl fmt::Display for ProtocolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match protocol_name(self.0) {
            Some(name) => f.pad(name),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

/// Why a text is no protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ProtocolTextError {
    /// It is neither a known name nor a number.
    Unknown,
    /// The number does not fit the field.
    TooLarge {
        /// The number as written, at most 2^32 - 1.
        number: u32,
    },
}

impl fmt::Display for ProtocolTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { number } => write!(f, "protocol {number} is more than 255"),
            Self::Unknown => {
                f.write_str("a protocol is \"any\", a number from 0 to 255, or one of")?;
                PROTOCOLS.iter().skip(1).try_for_each(|(name, _)| write!(f, " {name}"))
            }
        }
    }
}

impl core::error::Error for ProtocolTextError {}

/// A number as people write it: digits without a sign and without leading zeros. Numbers that do
/// not fit are saturated, so that the caller's own limit refuses them.
fn decimal(text: &str) -> Option<u32> {
    let plain = !text.is_empty()
        && text.bytes().all(|octet| octet.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().unwrap_or(u32::MAX))
}

impl FromStr for AddrRange {
    type Err = RangeTextError;

    /// Reads `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `10.0.0.1` or `10.0.0.1-10.0.0.9`.
    ///
    /// # Errors
    /// A [`RangeTextError`]; set host bits are one.
    ///
    /// # Examples
    /// ```
    /// use espial::selector::AddrRange;
    ///
    /// let range: AddrRange = "10.0.0.0-10.0.0.255".parse().unwrap();
    /// assert_eq!(range.to_string(), "10.0.0.0/24");
    /// let error = "203.0.113.2/30".parse::<AddrRange>().unwrap_err();
    /// assert!(error.to_string().contains("the network is 203.0.113.0/30"));
    /// ```
    fn from_str(text: &str) -> Result<Self, RangeTextError> {
        parse_range(text, Prefix::new)
    }
}

impl AddrRange {
    /// Reads what [`FromStr`] reads, and ignores host bits under a mask, as gateways that print
    /// an interface's address with its mask do (D4: 203.0.113.2/255.255.255.252).
    ///
    /// # Errors
    /// As [`FromStr`], without [`PrefixError::HostBits`].
    pub fn parse_masked(text: &str) -> Result<Self, RangeTextError> {
        parse_range(text, Prefix::masked)
    }
}

fn parse_range(
    text: &str,
    network: fn(IpAddr, u8) -> Result<Prefix, PrefixError>,
) -> Result<AddrRange, RangeTextError> {
    if let Some((addr, len)) = text.split_once('/') {
        let at = addr.len() + 1;
        let addr = parse_addr(addr, 0)?;
        let len = parse_len(addr, len, at)?;
        return network(addr, len).map(AddrRange::from).map_err(RangeTextError::Prefix);
    }
    if let Some((lo, hi)) = text.split_once('-') {
        let at = lo.len() + 1;
        let (lo, hi) = (parse_addr(lo, 0)?, parse_addr(hi, at)?);
        if lo.is_ipv4() != hi.is_ipv4() {
            return Err(RangeTextError::MixedFamilies { lo, hi });
        }
        return AddrRange::new(lo, hi).ok_or(RangeTextError::Reversed { lo, hi });
    }
    parse_addr(text, 0).map(AddrRange::from)
}

fn parse_addr(text: &str, at: usize) -> Result<IpAddr, RangeTextError> {
    text.parse().map_err(|_| RangeTextError::Address { at, octets: text.len() })
}

/// A prefix length, or for IPv4 a dotted mask.
fn parse_len(addr: IpAddr, text: &str, at: usize) -> Result<u8, RangeTextError> {
    if let (IpAddr::V4(_), Ok(mask)) = (addr, text.parse::<Ipv4Addr>()) {
        return Prefix::len_of_mask(mask.into()).ok_or(RangeTextError::Mask { at, mask });
    }
    let len = decimal(text).ok_or(RangeTextError::Length { at })?;
    let max = if addr.is_ipv4() { Ipv4Addr::BITS } else { Ipv6Addr::BITS };
    u8::try_from(len)
        .ok()
        .filter(|&len| u32::from(len) <= max)
        .ok_or(RangeTextError::LengthTooLong { at, len, max: max as u8 })
}

/// Why a text is no range of addresses. `at` counts octets of the text from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RangeTextError {
    /// There is no IP address where one should be.
    Address {
        /// Where it should start.
        at: usize,
        /// Octets that are there in its place.
        octets: usize,
    },
    /// What follows the `/` is neither a length nor, for IPv4, a mask.
    Length {
        /// Where it starts.
        at: usize,
    },
    /// The prefix length is more than the address has bits.
    LengthTooLong {
        /// Where it starts.
        at: usize,
        /// The length as written, at most 2^32 - 1.
        len: u32,
        /// Bits of the address.
        max: u8,
    },
    /// In the mask ones follow zeros.
    Mask {
        /// Where it starts.
        at: usize,
        /// The mask.
        mask: Ipv4Addr,
    },
    /// The address and the length make no network.
    Prefix(
        /// Why.
        PrefixError,
    ),
    /// The range ends before it starts.
    Reversed {
        /// First address as written.
        lo: IpAddr,
        /// Last address as written.
        hi: IpAddr,
    },
    /// The range starts in one IP version and ends in the other.
    MixedFamilies {
        /// First address as written.
        lo: IpAddr,
        /// Last address as written.
        hi: IpAddr,
    },
}

impl fmt::Display for RangeTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { at, octets: 0 } => write!(f, "an IP address is missing at octet {at}"),
            Self::Address { at, octets } => {
                write!(f, "the {octets} octets at octet {at} are no IP address")
            }
            Self::Length { at } => {
                write!(f, "no prefix length at octet {at}: a number, or for IPv4 a dotted mask")
            }
            Self::LengthTooLong { at, len, max } => {
                write!(f, "prefix length {len} at octet {at} is more than {max}")
            }
            Self::Mask { at, mask } => {
                write!(f, "{mask} at octet {at} is no mask: ones follow zeros")
            }
            Self::Prefix(error) => error.fmt(f),
            Self::Reversed { lo, hi } => write!(f, "the range {lo}-{hi} ends before it starts"),
            Self::MixedFamilies { lo, hi } => {
                write!(f, "the range {lo}-{hi} starts in one IP version and ends in the other")
            }
        }
    }
}

impl core::error::Error for RangeTextError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Prefix(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for AddrRange {
    /// One address alone, else a prefix if the range is one, else `lo-hi`. The alternate form
    /// (`{:#}`) is `lo-hi` always, as FortiOS writes ranges in its traces (A5).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return write!(f, "{}-{}", self.lo(), self.hi());
        }
        if self.is_host() {
            return write!(f, "{}", self.lo());
        }
        match self.to_prefix() {
            Some(prefix) => write!(f, "{prefix}"),
            None => write!(f, "{}-{}", self.lo(), self.hi()),
        }
    }
}

impl FromStr for PortRange {
    type Err = PortTextError;

    /// Reads `any`, `opaque`, `n` or `a-b`; 0-65535 is ANY.
    ///
    /// # Errors
    /// A [`PortTextError`]. So is 65535-0: OPAQUE has to be called by its name.
    fn from_str(text: &str) -> Result<Self, PortTextError> {
        parse_values(text, parse_number)
    }
}

/// Reads ICMP values: what [`PortRange`] reads, and `type/code` in place of a number.
///
/// `3/1-4/15` is 769-1039: one range of numbers (T18). A number is type * 256 + code: 3 alone is
/// type 0 code 3.
///
/// # Errors
/// A [`PortTextError`].
pub fn parse_icmp(text: &str) -> Result<PortRange, PortTextError> {
    parse_values(text, |text, at| match text.split_once('/') {
        None => parse_number(text, at),
        Some((icmp_type, code)) => {
            let code_at = at + icmp_type.len() + 1;
            Ok(icmp_value(parse_octet(icmp_type, at)?, parse_octet(code, code_at)?))
        }
    })
}

fn parse_number(text: &str, at: usize) -> Result<u16, PortTextError> {
    let value = decimal(text).ok_or(PortTextError::Number { at })?;
    value.try_into().map_err(|_| PortTextError::TooLarge { at, value, max: u16::MAX })
}

fn parse_octet(text: &str, at: usize) -> Result<u8, PortTextError> {
    let value = decimal(text).ok_or(PortTextError::Number { at })?;
    let max = u8::MAX.into();
    value.try_into().map_err(|_| PortTextError::TooLarge { at, value, max })
}

fn parse_values(
    text: &str,
    value: fn(&str, usize) -> Result<u16, PortTextError>,
) -> Result<PortRange, PortTextError> {
    if text.eq_ignore_ascii_case("any") {
        return Ok(PortRange::ANY);
    }
    if text.eq_ignore_ascii_case("opaque") {
        return Ok(PortRange::OPAQUE);
    }
    let (lo, hi) = match text.split_once('-') {
        None => {
            let one = value(text, 0)?;
            (one, one)
        }
        Some((lo, hi)) => (value(lo, 0)?, value(hi, lo.len() + 1)?),
    };
    if lo > hi {
        return Err(PortTextError::Reversed { lo, hi });
    }
    PortRange::new(lo, hi).ok_or(PortTextError::Reversed { lo, hi })
}

/// Why a text is no range of ports or values. `at` counts octets of the text from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PortTextError {
    /// There is no number where one should be.
    Number {
        /// Where it should start.
        at: usize,
    },
    /// The number is too large.
    TooLarge {
        /// Where it starts.
        at: usize,
        /// The number as written, at most 2^32 - 1.
        value: u32,
        /// The largest that is allowed: 65535, or 255 for an ICMP type or code.
        max: u16,
    },
    /// The range ends before it starts.
    Reversed {
        /// First value as written.
        lo: u16,
        /// Last value as written.
        hi: u16,
    },
}

impl fmt::Display for PortTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { at } => {
                write!(f, "no number at octet {at}: write \"any\", \"opaque\", n or a-b")
            }
            Self::TooLarge { at, value, max } => {
                write!(f, "{value} at octet {at} is more than {max}")
            }
            Self::Reversed { lo: u16::MAX, hi: 0 } => {
                f.write_str("65535-0 ends before it starts: OPAQUE is written \"opaque\"")
            }
            Self::Reversed { lo, hi } => write!(f, "the range {lo}-{hi} ends before it starts"),
        }
    }
}

impl core::error::Error for PortTextError {}

impl fmt::Display for PortRange {
    /// `any`, `opaque`, `n` or `a-b`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_values(*self, f, |value, f| write!(f, "{value}"))
    }
}

/// Prints values as ICMP types and codes: `any`, `opaque`, `3/1` or `3/1-4/15`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpValues(
    /// The values, each type * 256 + code.
    pub PortRange,
);

impl fmt::Display for IcmpValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_values(self.0, f, |value, f| {
            let (icmp_type, code) = icmp_parts(value);
            write!(f, "{icmp_type}/{code}")
        })
    }
}

fn write_values(
    range: PortRange,
    f: &mut fmt::Formatter<'_>,
    value: fn(u16, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    if range.is_any() {
        f.write_str("any")
    } else if range.is_opaque() {
        f.write_str("opaque")
    } else if range.lo() == range.hi() {
        value(range.lo(), f)
    } else {
        value(range.lo(), f)?;
        f.write_str("-")?;
        value(range.hi(), f)
    }
}

/// Splits `addresses[protocol/ports]`; without brackets protocol and ports are ANY. The ports are
/// not yet compared with the protocol.
fn parse_parts(text: &str) -> Result<(&str, u8, PortRange), SelectorTextError> {
    let Some((addrs, rest)) = text.split_once('[') else {
        return Ok((text, ANY_PROTOCOL, PortRange::ANY));
    };
    let bracket = SelectorTextError::Bracket { at: text.len() };
    let inner = rest.strip_suffix(']').ok_or(bracket)?;
    let (name, ports) = inner.split_once('/').unwrap_or((inner, "any"));
    let protocol = parse_protocol(name).map_err(SelectorTextError::Protocol)?;
    let ports = match protocol {
        protocol::ICMP | protocol::ICMPV6 => parse_icmp(ports),
        _ => ports.parse(),
    };
    Ok((addrs, protocol, ports.map_err(SelectorTextError::Ports)?))
}

impl FromStr for TrafficSelector {
    type Err = SelectorTextError;

    /// Reads `10.0.0.0/8`, `10.0.0.0/8[tcp]` or `10.0.0.0/8[tcp/80-90]`; addresses, protocol and
    /// ports each in any form of their own, ICMP values as in [`parse_icmp`].
    ///
    /// # Errors
    /// A [`SelectorTextError`].
    fn from_str(text: &str) -> Result<Self, SelectorTextError> {
        let (addrs, protocol, ports) = parse_parts(text)?;
        let addrs = addrs.parse().map_err(SelectorTextError::Addresses)?;
        Self::new(addrs, protocol, ports).map_err(SelectorTextError::Selector)
    }
}

impl FromStr for Configured {
    type Err = SelectorTextError;

    /// Reads what [`TrafficSelector`] reads, and `dynamic` in place of the addresses.
    ///
    /// # Errors
    /// A [`SelectorTextError`].
    fn from_str(text: &str) -> Result<Self, SelectorTextError> {
        match parse_parts(text)? {
            ("dynamic", protocol, ports) => {
                TrafficSelector::new(AddrRange::all(Family::V4), protocol, ports)
                    .map_err(SelectorTextError::Selector)?;
                Ok(Self::Dynamic { protocol, ports })
            }
            _ => text.parse().map(Self::Fixed),
        }
    }
}

/// Why a text is no traffic selector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SelectorTextError {
    /// The addresses are wrong.
    Addresses(
        /// Why.
        RangeTextError,
    ),
    /// A `]` is missing at the end.
    Bracket {
        /// Octets of the text.
        at: usize,
    },
    /// The protocol behind the `[` is wrong.
    Protocol(
        /// Why.
        ProtocolTextError,
    ),
    /// The ports behind the protocol are wrong; `at` counts from their start.
    Ports(
        /// Why.
        PortTextError,
    ),
    /// The parts do not go together.
    Selector(
        /// Why.
        SelectorError,
    ),
}

impl fmt::Display for SelectorTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(error) => error.fmt(f),
            Self::Bracket { at } => write!(f, "a ] is missing at octet {at}"),
            Self::Protocol(error) => error.fmt(f),
            Self::Ports(error) => write!(f, "ports: {error}"),
            Self::Selector(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SelectorTextError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Addresses(error) => Some(error),
            Self::Bracket { .. } => None,
            Self::Protocol(error) => Some(error),
            Self::Ports(error) => Some(error),
            Self::Selector(error) => Some(error),
        }
    }
}

/// Writes `[protocol/ports]`, or nothing if both are ANY.
fn write_brackets(f: &mut fmt::Formatter<'_>, protocol: u8, ports: PortRange) -> fmt::Result {
    if protocol == ANY_PROTOCOL && ports.is_any() {
        return Ok(());
    }
    write!(f, "[{}", ProtocolName(protocol))?;
    match protocol {
        _ if ports.is_any() => {}
        protocol::ICMP | protocol::ICMPV6 => write!(f, "/{}", IcmpValues(ports))?,
        _ => write!(f, "/{ports}")?,
    }
    f.write_str("]")
}

impl fmt::Display for TrafficSelector {
    /// `10.0.0.0/8`, `10.0.0.0/8[tcp]`, `10.0.0.0/8[tcp/80-90]` or `10.0.0.0/8[icmp/3/1]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.addrs)?;
        write_brackets(f, self.protocol, self.ports)
    }
}

impl fmt::Display for Configured {
    /// As [`TrafficSelector`], with `dynamic` for the addresses of a placeholder.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Fixed(selector) => selector.fmt(f),
            Self::Dynamic { protocol, ports } => {
                f.write_str("dynamic")?;
                write_brackets(f, protocol, ports)
            }
        }
    }
}

impl fmt::Display for Selector {
    /// The remote side, `->`, the local side: the way inbound packets go.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { remote, local, protocol, remote_ports, local_ports } = *self;
        write!(f, "{} -> ", TrafficSelector { addrs: remote, protocol, ports: remote_ports })?;
        if has_one_value(protocol) {
            return write!(f, "{local}");
        }
        write!(f, "{}", TrafficSelector { addrs: local, protocol, ports: local_ports })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_and_unique() {
        for (at, (name, _)) in PROTOCOLS.iter().enumerate() {
            assert!(!name.bytes().any(|octet| octet.is_ascii_uppercase()));
            assert!(PROTOCOLS.iter().skip(at + 1).all(|(other, _)| other != name));
        }
    }

    #[test]
    fn numbers_have_one_spelling() {
        for (text, number) in
            [("0", Some(0)), ("10", Some(10)), ("4294967295", Some(u32::MAX)), ("9e9", None)]
        {
            assert_eq!(decimal(text), number, "{text}");
        }
        assert_eq!(decimal("99999999999999999999"), Some(u32::MAX), "saturated, to be refused");
        for text in ["", "00", "01", "+1", "-1", " 1", "1 ", "\u{661}"] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }
}
