//! Ready bodies of the notifications that an IKE daemon may send about a dropped packet.
//!
//! Hints, to be rate limited by whoever sends them: one for each [`Event`](crate::event::Event).

use crate::headers::{Ipsec, Spi};

/// Octets of the fixed part of a Notify payload body with a 4-octet SPI.
const HEAD: usize = 8;

/// Notify message type INVALID_SPI (RFC 7296 section 3.10.1).
const INVALID_SPI: u16 = 11;
/// Notify message type INVALID_SELECTORS (RFC 7296 section 3.10.1).
const INVALID_SELECTORS: u16 = 39;

/// Body of an INVALID_SPI notification, from "Protocol ID" on: the SPI of the packet is its data;
/// the SPI field is empty and the Protocol ID therefore 0 (RFC 7296 sections 3.10 and 3.10.1).
/// Octets in network order.
pub const fn invalid_spi(spi: Spi) -> [u8; HEAD] {
    let [t0, t1] = INVALID_SPI.to_be_bytes();
    let [s0, s1, s2, s3] = spi.0.to_be_bytes();
    [0, 0, t0, t1, s0, s1, s2, s3]
}

/// Body of an INVALID_SELECTORS notification, from "Protocol ID" on: the SPI of the SA the packet
/// came on, then the start of the offending packet, as in ICMP messages (RFC 7296 section 3.10.1,
/// RFC 4301 section 5.2). As much of the packet goes in as `out` has room for.
///
/// Returns the octets written, or `None` if `out` has fewer than 8.
pub fn invalid_selectors(
    ipsec: Ipsec,
    spi: Spi,
    offending: &[u8],
    out: &mut [u8],
) -> Option<usize> {
    let (head, data) = out.split_first_chunk_mut::<HEAD>()?;
    // Security Protocol Identifiers of RFC 7296 section 3.3.1.
    let protocol = match ipsec {
        Ipsec::Ah => 2,
        Ipsec::Esp => 3,
    };
    let [t0, t1] = INVALID_SELECTORS.to_be_bytes();
    let [s0, s1, s2, s3] = spi.0.to_be_bytes();
    *head = [protocol, 4, t0, t1, s0, s1, s2, s3];
    let octets = data.iter_mut().zip(offending).map(|(to, from)| *to = *from).count();
    HEAD.checked_add(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7296_3_10_1_invalid_spi_holds_the_spi_as_data() {
        assert_eq!(invalid_spi(Spi(0x36123e0e)), [0, 0, 0, 11, 0x36, 0x12, 0x3e, 0x0e]);
    }

    #[test]
    fn rfc7296_3_10_1_invalid_selectors_holds_spi_and_start_of_packet() {
        let mut out = [0; 12];
        let packet = [0x45, 1, 2, 3, 4, 5];
        assert_eq!(invalid_selectors(Ipsec::Esp, Spi(0x100), &packet, &mut out), Some(12));
        assert_eq!(out, [3, 4, 0, 39, 0, 0, 1, 0, 0x45, 1, 2, 3]);
        assert_eq!(invalid_selectors(Ipsec::Ah, Spi(0x100), &packet[..2], &mut out), Some(10));
        assert_eq!(out[..2], [2, 4]);
        assert_eq!(invalid_selectors(Ipsec::Ah, Spi(1), &packet, &mut out[..7]), None);
    }
}
