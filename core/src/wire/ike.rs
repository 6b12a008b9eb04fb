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
