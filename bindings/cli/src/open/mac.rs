//! The HMACs of ESP and AH (RFC 2404, RFC 4868).

use espial::verdict::Reason;
use hmac::{Hmac, KeyInit};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

use crate::config::Integrity;

/// A keyed integrity algorithm.
pub(super) enum Mac {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha384(Hmac<Sha384>),
    Sha512(Hmac<Sha512>),
}

impl Mac {
    /// `None` only for [`Integrity::None`]: HMAC takes a key of any length.
    pub(super) fn new(integrity: Integrity, key: &[u8]) -> Option<Self> {
        match integrity {
            Integrity::None => None,
            Integrity::HmacSha1_96 => Hmac::new_from_slice(key).ok().map(Self::Sha1),
            Integrity::HmacSha2_256_128 => Hmac::new_from_slice(key).ok().map(Self::Sha256),
            Integrity::HmacSha2_384_192 => Hmac::new_from_slice(key).ok().map(Self::Sha384),
            Integrity::HmacSha2_512_256 => Hmac::new_from_slice(key).ok().map(Self::Sha512),
        }
    }

    /// Octets of the truncated ICV.
    pub(super) fn icv_octets(&self) -> usize {
        match self {
            Self::Sha1(_) => 12,
            Self::Sha256(_) => 16,
            Self::Sha384(_) => 24,
            Self::Sha512(_) => 32,
        }
    }

    /// Compares `icv`, of [`Mac::icv_octets`], with that of `parts` in a row. With ESN the high
    /// half follows them, though it is not sent (RFC 4303 section 2.2.1, RFC 4302 section 2.5.1).
    pub(super) fn verify(
        &self,
        parts: &[&[u8]],
        sequence_high: Option<u32>,
        icv: &[u8],
    ) -> Result<(), Reason> {
        // An empty left part of the MAC would equal an empty ICV.
        if icv.len() != self.icv_octets() {
            return Err(Reason::AuthFailed);
        }
        match self {
            Self::Sha1(mac) => verify(mac.clone(), parts, sequence_high, icv),
            Self::Sha256(mac) => verify(mac.clone(), parts, sequence_high, icv),
            Self::Sha384(mac) => verify(mac.clone(), parts, sequence_high, icv),
            Self::Sha512(mac) => verify(mac.clone(), parts, sequence_high, icv),
        }
    }
}

fn verify<M: hmac::Mac>(
    mut mac: M,
    parts: &[&[u8]],
    sequence_high: Option<u32>,
    icv: &[u8],
) -> Result<(), Reason> {
    parts.iter().for_each(|part| mac.update(part));
    if let Some(high) = sequence_high {
        mac.update(&high.to_be_bytes());
    }
    mac.verify_truncated_left(icv).map_err(|_| Reason::AuthFailed)
}
