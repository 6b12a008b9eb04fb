//! ClassBench files: rules (Taylor and Turner 2007), and traces with the expected first match.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use espial::headers::{Endpoints, Fragment, InnerHeaders, NextLayer};
use espial::selector::{AddrRange, PortRange, Selector};

/// Why a file cannot be used.
#[derive(Debug)]
pub enum RulesError {
    /// It cannot be read.
    Io(io::Error),
    /// A line is not what it should be.
    Line {
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        what: String,
    },
    /// There is nothing in it.
    Empty,
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Line { number, what } => write!(f, "line {number}: {what}"),
            Self::Empty => f.write_str("no line in it"),
        }
    }
}

impl std::error::Error for RulesError {}

impl From<io::Error> for RulesError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A packet of a trace, and the rule that comes first of those that cover it.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// What is asked about.
    pub packet: InnerHeaders,
    /// Counted from 0.
    pub first: Option<u32>,
}

/// The text of a file; `.xz` is unpacked.
fn text(path: &Path) -> Result<String, RulesError> {
    let mut text = String::new();
    let mut file = BufReader::new(File::open(path)?);
    if path.extension().is_some_and(|extension| extension == "xz") {
        let mut octets = Vec::new();
        lzma_rs::xz_decompress(&mut file, &mut octets).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("xz: {error:?}"))
        })?;
        return String::from_utf8(octets)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not text").into());
    }
    file.read_to_string(&mut text)?;
    Ok(text)
}

fn lines<T>(text: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, RulesError> {
    let used = (1..).zip(text.lines()).filter(|(_, line)| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#')
    });
    let read = |(number, line): (usize, &str)| {
        read(line).map_err(|what| RulesError::Line { number, what })
    };
    let all: Vec<T> = used.map(read).collect::<Result<_, _>>()?;
    if all.is_empty() { Err(RulesError::Empty) } else { Ok(all) }
}

/// The rules of a file, first one first: source is the remote side, destination the local one.
///
/// # Errors
/// [`RulesError`].
pub fn read_rules(path: &Path) -> Result<Vec<Selector>, RulesError> {
    lines(&text(path)?, rule)
}

/// The packets of a trace.
///
/// # Errors
/// [`RulesError`].
pub fn read_trace(path: &Path) -> Result<Vec<Expected>, RulesError> {
    lines(&text(path)?, expected)
}

fn number<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("{what} {:?} is not a number in range", text.trim()))
}

fn prefix(text: &str) -> Result<AddrRange, String> {
    let wrong = || format!("{text:?} is no prefix such as 192.0.2.0/24");
    let (addr, len) = text.split_once('/').ok_or_else(wrong)?;
    let len: u32 = len.parse().map_err(|_| wrong())?;
    match addr.parse().map_err(|_| wrong())? {
        std::net::IpAddr::V4(addr) if len <= 32 => {
            let host = u32::MAX.checked_shr(len).unwrap_or(0);
            Ok(AddrRange::V4 { lo: addr.to_bits() & !host, hi: addr.to_bits() | host })
        }
        std::net::IpAddr::V6(addr) if len <= 128 => {
            let host = u128::MAX.checked_shr(len).unwrap_or(0);
            Ok(AddrRange::V6 { lo: addr.to_bits() & !host, hi: addr.to_bits() | host })
        }
        _ => Err(wrong()),
    }
}

fn ports(lo: &str, hi: &str) -> Result<PortRange, String> {
    let (lo, hi) = (number(lo, "port")?, number(hi, "port")?);
    PortRange::new(lo, hi).ok_or_else(|| format!("ports {lo} : {hi} end before they start"))
}

/// `@192.0.2.0/24 198.51.100.1/32 0 : 65535 80 : 80 0x06/0xFF [flags]`
fn rule(line: &str) -> Result<Selector, String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [source, destination, a, ":", b, c, ":", d, protocol, ..] = fields[..] else {
        return Err("not @SOURCE DESTINATION LO : HI LO : HI PROTOCOL/MASK".to_owned());
    };
    let source = source.strip_prefix('@').ok_or("a rule starts with @")?;
    let wrong = || format!("{protocol:?} is no protocol such as 0x06/0xFF or 0x00/0x00");
    let hex = |text: &str| u8::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16);
    let (value, mask) = protocol.split_once('/').ok_or_else(wrong)?;
    let (value, mask) = (hex(value).map_err(|_| wrong())?, hex(mask).map_err(|_| wrong())?);
    let protocol = match mask {
        0 => 0,
        0xff if value != 0 => value,
        _ => return Err(wrong()),
    };
    let (remote, local) = (prefix(source)?, prefix(destination)?);
    if matches!(remote, AddrRange::V4 { .. }) != matches!(local, AddrRange::V4 { .. }) {
        return Err("source and destination are of two families".to_owned());
    }
    Ok(Selector { remote, local, protocol, remote_ports: ports(a, b)?, local_ports: ports(c, d)? })
}

/// `SOURCE DESTINATION SOURCE-PORT DESTINATION-PORT PROTOCOL FIRST`, all decimal; -1 is none.
fn expected(line: &str) -> Result<Expected, String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [src, dst, sport, dport, protocol, first, ..] = fields[..] else {
        return Err("not SOURCE DESTINATION PORT PORT PROTOCOL FIRST-MATCH".to_owned());
    };
    let endpoints = if src.contains(':') {
        let addr = |text: &str| {
            text.parse::<std::net::Ipv6Addr>().map_err(|_| format!("{text:?} is no IPv6 address"))
        };
        Endpoints::V6 { src: addr(src)?.to_bits(), dst: addr(dst)?.to_bits() }
    } else {
        Endpoints::V4 { src: number(src, "address")?, dst: number(dst, "address")? }
    };
    let first = match first {
        "-1" => None,
        first => Some(number(first, "first match")?),
    };
    let next_layer = NextLayer::Ports { src: number(sport, "port")?, dst: number(dport, "port")? };
    let protocol = number(protocol, "protocol")?;
    let packet = InnerHeaders { endpoints, protocol, next_layer, fragment: Fragment::None };
    Ok(Expected { packet, first })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_and_a_packet_of_a_trace() {
        let read =
            rule("@7.122.78.94/31\t0.0.0.0/0\t0 : 65535\t1433 : 1434\t0x06/0xFF\t0x1000/0x1000")
                .unwrap();
        assert_eq!(read.remote, AddrRange::V4 { lo: 0x077a_4e5e, hi: 0x077a_4e5f });
        assert_eq!(read.local, AddrRange::V4 { lo: 0, hi: u32::MAX });
        assert_eq!((read.protocol, read.local_ports.lo(), read.local_ports.hi()), (6, 1433, 1434));
        let packet = expected("3744117259 1088454031 59821 65500 6 378").unwrap();
        assert_eq!(packet.first, Some(378));
        assert_eq!(expected("1 2 3 4 5 -1").unwrap().first, None);
        let six = rule("@2001:db8::/32 ::/0 0 : 65535 0 : 65535 0x00/0x00").unwrap();
        assert_eq!(six.protocol, 0);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, what) in [
            ("1.2.3.4/32 5.6.7.8/32 0 : 1 0 : 1 0x06/0xFF", "starts with @"),
            ("@1.2.3.4 5.6.7.8/32 0 : 1 0 : 1 0x06/0xFF", "no prefix"),
            ("@1.2.3.4/33 5.6.7.8/32 0 : 1 0 : 1 0x06/0xFF", "no prefix"),
            ("@1.2.3.4/32 5.6.7.8/32 9 : 1 0 : 1 0x06/0xFF", "end before"),
            ("@1.2.3.4/32 5.6.7.8/32 0 : 65536 0 : 1 0x06/0xFF", "65536"),
            ("@1.2.3.4/32 5.6.7.8/32 0 : 1 0 : 1 0x06/0x0F", "no protocol"),
            ("@1.2.3.4/32 ::/0 0 : 1 0 : 1 0x06/0xFF", "two families"),
            ("@1.2.3.4/32", "SOURCE"),
        ] {
            let said = rule(line).unwrap_err();
            assert!(said.contains(what), "{line}: {said}");
        }
        assert!(expected("1 2 3 4 999 5").unwrap_err().contains("999"));
        assert!(expected("1 2 3").is_err());
    }
}
