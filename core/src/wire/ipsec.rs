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
        flow_label: 0,
        ipsec: Ipsec::Esp,
        encap: carrier.encap,
        spi: Spi(u32::from_be_bytes([p0, p1, p2, p3])),
        sequence: u32::from_be_bytes([s0, s1, s2, s3]),
        sequence_high: 0,
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
        flow_label: 0,
        ipsec: Ipsec::Ah,
        encap: Encap::None,
        spi: header.spi,
        sequence: header.sequence,
        sequence_high: 0,
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
    /// The SPI.
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
            spi: Spi(u32::from_be_bytes([p0, p1, p2, p3])),
            sequence: u32::from_be_bytes([s0, s1, s2, s3]),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::headers::{Family, Ipsec, Outer, OuterHeaders, Spi, protocol as p};
    use crate::verdict::Malformed;
    use crate::wire::samples::{
        ICV, SEQUENCE, SPI, ah, ends4, ends6, esp, outer, udp, v4, v4_full, v6,
    };
    use crate::wire::{AhHeader, classify};

    #[test]
    fn esp_is_found_in_both_versions() {
        let packet = esp(SPI, SEQUENCE, &[9; 20]);
        let expected = |ends, offset| Ok(Outer::Ipsec(outer(ends, offset, 28)));
        assert_eq!(classify(&v4(p::ESP, &packet)), expected(ends4(), 20));
        assert_eq!(classify(&v4_full(p::ESP, 0, &[1; 40], &packet)), expected(ends4(), 60));
        assert_eq!(classify(&v6(p::ESP, &packet)), expected(ends6(), 40));
    }

    #[test]
    fn ah_is_found_in_both_versions() {
        let packet = ah(p::IPV4, SPI, SEQUENCE, &ICV, &[3; 40]);
        for (packet, ends, offset) in
            [(v4(p::AH, &packet), ends4(), 20), (v6(p::AH, &packet), ends6(), 40)]
        {
            let expected = OuterHeaders { ipsec: Ipsec::Ah, ..outer(ends, offset, 64) };
            assert_eq!(classify(&packet), Ok(Outer::Ipsec(expected)));
        }
    }

    #[test]
    fn host_entry_points_agree_with_classify() {
        let packet = esp(SPI, SEQUENCE, &[9; 20]);
        assert_eq!(crate::wire::esp(ends4(), &packet, 20), Ok(outer(ends4(), 20, 28)));
        let packet = ah(p::IPV6, SPI, SEQUENCE, &ICV, &[3; 40]);
        let Ok(Outer::Ipsec(found)) = classify(&v6(p::AH, &packet)) else { panic!() };
        assert_eq!(crate::wire::ah(ends6(), &packet, 40), Ok(found));
        let header = AhHeader::parse(Family::V6, &packet).unwrap();
        let expected =
            AhHeader { next_header: p::IPV6, octets: 24, spi: Spi(SPI), sequence: SEQUENCE };
        assert_eq!(header, expected);
    }

    /// A header of 12 octets once made a parser of AH compute an end before its start.
    #[test]
    fn rfc4302_2_2_lengths() {
        for words in 0..=255_u8 {
            let mut packet = ah(p::IPV4, SPI, SEQUENCE, &ICV, &[0; 80]);
            packet[1] = words;
            let octets = (usize::from(words) + 2) * 4;
            let fits = octets >= 12 && octets <= packet.len();
            let found = AhHeader::parse(Family::V4, &packet);
            assert_eq!(found.map(|header| usize::from(header.octets)).ok(), fits.then_some(octets));
            let found = AhHeader::parse(Family::V6, &packet);
            let fits = fits && octets.is_multiple_of(8);
            assert_eq!(found.map(|header| usize::from(header.octets)).ok(), fits.then_some(octets));
            if !fits {
                assert_eq!(found, Err(Malformed::Ah));
            }
        }
        let shortest = &ah(p::IPV4, SPI, SEQUENCE, &[], &[])[..];
        assert_eq!(shortest.len(), 12);
        assert!(AhHeader::parse(Family::V4, shortest).is_ok());
        assert_eq!(AhHeader::parse(Family::V6, shortest), Err(Malformed::Ah));
    }

    #[test]
    fn rfc4303_2_1_reserved_spis_are_read() {
        for spi in [1, 255, 256, u32::MAX] {
            let packet = esp(spi, 1, &[]);
            for packet in [v4(p::ESP, &packet), v4(p::UDP, &udp(4500, 4500, &packet))] {
                let Ok(Outer::Ipsec(found)) = classify(&packet) else { panic!("{spi}") };
                assert_eq!(found.spi, Spi(spi));
                assert_eq!(found.spi.is_reserved(), spi < 256);
            }
        }
    }
}
