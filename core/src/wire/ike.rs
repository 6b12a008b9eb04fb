//! The fixed header of an IKE message (RFC 7296 section 3.1).

/// The fixed header of an IKE message. What it says is not authenticated, and not checked here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IkeHeader {
    /// The initiator's SPI of the IKE SA.
    pub initiator_spi: u64,
    /// The responder's SPI; 0 in the first message.
    pub responder_spi: u64,
    /// Type of the first payload.
    pub next_payload: u8,
    /// Major version * 16 + minor version: 0x20 for IKEv2.
    pub version: u8,
    /// Exchange type: 34 to 37 for IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA and INFORMATIONAL.
    pub exchange_type: u8,
    /// Flags: 0x08 initiator, 0x10 version, 0x20 response.
    pub flags: u8,
    /// Message ID.
    pub message_id: u32,
    /// Octets of the whole message as the sender says.
    pub length: u32,
}

impl IkeHeader {
    /// Octets of the header.
    pub const OCTETS: usize = 28;

    /// The header at the start of `message`, which begins behind the non-ESP marker where there is one;
    /// `None` for fewer than 28 octets.
    pub fn parse(message: &[u8]) -> Option<Self> {
        let (&initiator_spi, rest) = message.split_first_chunk::<8>()?;
        let (&responder_spi, rest) = rest.split_first_chunk::<8>()?;
        let (&[next_payload, version, exchange_type, flags], rest) =
            rest.split_first_chunk::<4>()?;
        let (&message_id, rest) = rest.split_first_chunk::<4>()?;
        let length = rest.first_chunk::<4>()?;
        Some(Self {
            initiator_spi: u64::from_be_bytes(initiator_spi),
            responder_spi: u64::from_be_bytes(responder_spi),
            next_payload,
            version,
            exchange_type,
            flags,
            message_id: u32::from_be_bytes(message_id),
            length: u32::from_be_bytes(*length),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::wire::IkeHeader;
    use std::vec::Vec;

    #[test]
    fn rfc7296_3_1_header() {
        let octets: Vec<u8> = (1..=28).collect();
        let expected = IkeHeader {
            initiator_spi: 0x0102_0304_0506_0708,
            responder_spi: 0x090a_0b0c_0d0e_0f10,
            next_payload: 0x11,
            version: 0x12,
            exchange_type: 0x13,
            flags: 0x14,
            message_id: 0x1516_1718,
            length: 0x191a_1b1c,
        };
        assert_eq!(IkeHeader::parse(&octets), Some(expected));
        assert_eq!(IkeHeader::parse(&[&octets[..], &[0]].concat()), Some(expected));
        for end in 0..IkeHeader::OCTETS {
            assert_eq!(IkeHeader::parse(&octets[..end]), None);
        }
    }
}
