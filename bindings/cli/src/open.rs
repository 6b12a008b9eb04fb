//! Opens ESP and AH packets: integrity check, decryption, padding.
//!
//! Owns the cryptography of the command line; the core has none. Knows keys and octets, nothing
//! of selectors or replay. Packet path of the command line: bounded, no panic, one allocation for
//! the plaintext.
//!
//! I1: nothing of a packet is returned before its ICV has been compared, in constant time. (An
//!     SA configured without integrity has none to compare.)
//! I2: key octets live in [`Key`](crate::config::Key) or in a cipher that overwrites them on drop.

mod ah;
mod cipher;
mod mac;

use espial::headers::Ipsec;
use espial::verdict::{Malformed, Reason};

use crate::config::{Encryption, Integrity, SaConfig};
use cipher::Cipher;
use mac::Mac;

/// SPI and sequence number.
const ESP_HEADER: usize = 8;
/// Pad length and next header.
const ESP_TRAILER: usize = 2;

/// What was inside an ESP or AH packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// Protocol of `payload`: 4 or 41 in tunnel mode, 59 for a dummy packet.
    pub next_header: u8,
    /// The octets inside. An inner packet may be followed by traffic flow confidentiality padding
    /// (RFC 4303 section 2.7): its own length field ends it.
    pub payload: Vec<u8>,
}

/// The keys of one SA, ready to open its packets.
pub struct Opener {
    /// `None`: this is an AH SA, which has a MAC.
    cipher: Option<Cipher>,
    mac: Option<Mac>,
    esn: bool,
}

impl Opener {
    /// The opener of an SA, or `None` if its cipher or one of its keys is not given: its packets
    /// are [`Reason::NotOpened`].
    ///
    /// ESP without encryption in the configuration is not opened either; ESP-NULL says `null`.
    pub fn new(sa: &SaConfig) -> Option<Self> {
        let mac = match (sa.integrity, &sa.integrity_key) {
            (Integrity::None, _) => None,
            (integrity, Some(key)) => Some(Mac::new(integrity, key.octets())?),
            (_, None) => return None,
        };
        let cipher = match (sa.ipsec, sa.encryption, &sa.encryption_key) {
            (Ipsec::Ah, _, _) if mac.is_some() => None,
            (Ipsec::Esp, Some(Encryption::Null), _) => Some(Cipher::Null),
            (Ipsec::Esp, Some(encryption), Some(key)) => {
                Some(Cipher::new(encryption, key.octets())?)
            }
            _ => return None,
        };
        Some(Self { cipher, mac, esn: sa.esn })
    }

    /// Opens an ESP packet, `esp` being everything from the SPI to the end of the IP payload, UDP
    /// datagram or TCP frame. `sequence_high` is the high half of the extended sequence number,
    /// ignored without ESN.
    ///
    /// # Errors
    /// - `Malformed(Esp)`: too short for IV, trailer and ICV, or not whole cipher blocks
    /// - `AuthFailed`: the ICV differs
    /// - `BadPadding`: the padding is longer than the packet or not 1, 2, 3... (RFC 4303
    ///   section 2.4)
    /// - `NotOpened`: this is an AH SA
    pub fn open_esp(&self, esp: &[u8], sequence_high: u32) -> Result<Opened, Reason> {
        let Some(cipher) = &self.cipher else { return Err(Reason::NotOpened) };
        let sequence_high = self.esn.then_some(sequence_high);
        let body = match &self.mac {
            Some(mac) => {
                let cut = esp.len().checked_sub(mac.icv_octets()).ok_or(Malformed::Esp)?;
                let (covered, icv) = esp.split_at(cut);
                if covered.len() < ESP_HEADER + cipher.least_octets() {
                    return Err(Malformed::Esp.into());
                }
                mac.verify(&[covered], sequence_high, icv)?;
                covered
            }
            None => esp,
        };
        let (header, body) = body.split_first_chunk::<ESP_HEADER>().ok_or(Malformed::Esp)?;
        let mut plain = cipher.decrypt(header, sequence_high, body)?;
        let next_header = strip_trailer(&mut plain)?;
        Ok(Opened { next_header, payload: plain })
    }

    /// Checks the ICV of the AH at `offset` in `packet`, a whole IP packet, and returns what
    /// follows the AH. Octets behind the end that the IP header states are not looked at.
    /// `sequence_high` as in [`Opener::open_esp`].
    ///
    /// # Errors
    /// - `Malformed(Ah)`: no IP packet, or an AH or ICV that does not fit into it
    /// - `AuthFailed`: the ICV differs
    /// - `NotOpened`: this is an ESP SA
    pub fn open_ah(
        &self,
        packet: &[u8],
        offset: usize,
        sequence_high: u32,
    ) -> Result<Opened, Reason> {
        let (None, Some(mac)) = (&self.cipher, &self.mac) else { return Err(Reason::NotOpened) };
        ah::open(mac, packet, offset, self.esn.then_some(sequence_high))
    }
}

/// Removes padding, pad length and next header, and returns the next header.
fn strip_trailer(plain: &mut Vec<u8>) -> Result<u8, Reason> {
    let [rest @ .., pad_octets, next_header] = plain.as_slice() else {
        return Err(Malformed::Esp.into());
    };
    let payload = rest.len().checked_sub(usize::from(*pad_octets)).ok_or(Reason::BadPadding)?;
    let (_, padding) = rest.split_at(payload);
    if !padding.iter().copied().eq(1..=*pad_octets) {
        return Err(Reason::BadPadding);
    }
    let next_header = *next_header;
    plain.truncate(payload);
    Ok(next_header)
}

#[cfg(test)]
mod tests;
