//! The headers of ESP (RFC 4303 section 2) and AH (RFC 4302 section 2).

use crate::headers::{Encap, Endpoints, Family, Ipsec, OuterHeaders, Spi};
use crate::verdict::Malformed;

/// How an ESP packet was carried.
#[derive(Clone, Copy)]
pub(super) struct Carrier {
    pub encap: Encap,
    pub sport: u16,
    pub dport: u16,
}

impl Carrier {
    /// Directly in IP.
    const IP: Self = Self { encap: Encap::None, sport: 0, dport: 0 };
}

/// The headers of an ESP packet directly in IP, for a host that starts at the ESP header.
///
/// `packet` is the whole ESP packet, `offset` the number of octets in front of it, which is handed
/// through.
///
/// # Errors
/// - [`Malformed::Esp`]: fewer than the 8 octets of SPI and sequence number. What a cipher needs more
///   than that is known to the SA only.
/// - [`Malformed::SpiZero`]: SPI 0 is for local use and never sent (RFC 4303 section 2.1).
#[inline]
pub fn esp(endpoints: Endpoints, packet: &[u8], offset: u32) -> Result<OuterHeaders, Malformed> {
    esp_in(Carrier::IP, endpoints, packet, offset)
}

/// [`esp`] in any carrier.
#[inline]
pub(super) fn esp_in(
    carrier: Carrier,
    endpoints: Endpoints,
    packet: &[u8],
    offset: u32,
) -> Result<OuterHeaders, Malformed> {
    let Some(&[p0, p1, p2, p3, s0, s1, s2, s3]) = packet.first_chunk::<8>() else {
        return Err(Malformed::Esp);
    };
    Ok(OuterHeaders {
        endpoints,
        ipsec: Ipsec::Esp,
        encap: carrier.encap,
        spi: spi([p0, p1, p2, p3])?,
        sequence: u32::from_be_bytes([s0, s1, s2, s3]),
        sport: carrier.sport,
        dport: carrier.dport,
        offset,
        octets: super::octets(packet.len()),
    })
}

/// The headers of an AH packet, for a host that starts at the AH header.
///
/// `packet` is the AH header and all that follows it, `offset` the number of octets in front of it,
/// which is handed through.
///
/// # Errors
/// Those of [`AhHeader::parse`].
#[inline]
pub fn ah(endpoints: Endpoints, packet: &[u8], offset: u32) -> Result<OuterHeaders, Malformed> {
    let header = AhHeader::parse(endpoints.family(), packet)?;
    Ok(OuterHeaders {
        endpoints,
        ipsec: Ipsec::Ah,
        encap: Encap::None,
        spi: header.spi,
        sequence: header.sequence,
        sport: 0,
        dport: 0,
        offset,
        octets: super::octets(packet.len()),
    })
}

/// An AH header: what a host needs to find the octets that it protects (RFC 4302 section 2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AhHeader {
    /// Protocol of what follows the header: 4 or 41 in tunnel mode.
    pub next_header: u8,
    /// Octets of the header with its ICV, 12 to 1028: what it protects starts there.
    pub octets: u16,
    /// The SPI, never 0.
    pub spi: Spi,
    /// The 32 bits of the sequence number that are on the wire.
    pub sequence: u32,
}

impl AhHeader {
    /// The header at the start of `packet`, which was carried in `family`.
    ///
    /// # Errors
    /// - [`Malformed::Ah`]: fewer than 12 octets, a length field that gives fewer than 12 or more than
    ///   there are, or under IPv6 a length that is not a multiple of 8 (RFC 4302 section 2.2 and
    ///   3.3.3.2.1).
    /// - [`Malformed::SpiZero`]: SPI 0 is for local use and never sent (RFC 4302 section 2.4).
    #[inline]
    pub fn parse(family: Family, packet: &[u8]) -> Result<Self, Malformed> {
        let Some(&[next_header, words, _, _, p0, p1, p2, p3, s0, s1, s2, s3]) =
            packet.first_chunk::<12>()
        else {
            return Err(Malformed::Ah);
        };
        let octets = u16::from(words).saturating_add(2) << 2;
        let aligned = match family {
            Family::V4 => true,
            Family::V6 => octets & 7 == 0,
        };
        if octets < 12 || usize::from(octets) > packet.len() || !aligned {
            return Err(Malformed::Ah);
        }
        Ok(Self {
            next_header,
            octets,
            spi: spi([p0, p1, p2, p3])?,
            sequence: u32::from_be_bytes([s0, s1, s2, s3]),
        })
    }
}

/// An SPI that may be on the wire: any but 0.
#[inline]
fn spi(be: [u8; 4]) -> Result<Spi, Malformed> {
    match u32::from_be_bytes(be) {
        0 => Err(Malformed::SpiZero),
        number => Ok(Spi(number)),
    }
}
