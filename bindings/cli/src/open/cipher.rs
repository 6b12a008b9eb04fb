//! The ciphers of ESP.

use aes::{Aes128, Aes192, Aes256};
use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{AeadCore, AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm};
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt, InnerIvInit};
use chacha20poly1305::ChaCha20Poly1305;
use des::TdesEde3;
use espial::verdict::{Malformed, Reason};
use zeroize::Zeroizing;

use super::{ESP_HEADER, ESP_TRAILER};
use crate::config::Encryption;

/// Octets of the IV on the wire for both AEADs (RFC 4106 section 3.1, RFC 7634 section 2).
const AEAD_IV: usize = 8;
const AEAD_ICV: usize = 16;
const SALT: usize = 4;

/// A keyed cipher.
pub(super) enum Cipher {
    Null,
    Aes128Cbc(Aes128),
    Aes192Cbc(Aes192),
    Aes256Cbc(Aes256),
    TripleDesCbc(TdesEde3),
    Aes128Gcm(Aead<Aes128Gcm>),
    Aes192Gcm(Aead<AesGcm<Aes192, U12>>),
    Aes256Gcm(Aead<Aes256Gcm>),
    ChaCha20Poly1305(Aead<ChaCha20Poly1305>),
}

impl Cipher {
    /// `None` if the key's length is not one of the cipher's.
    pub(super) fn new(encryption: Encryption, key: &[u8]) -> Option<Self> {
        Some(match (encryption, key.len()) {
            (Encryption::Null, _) => Self::Null,
            (Encryption::AesCbc, 16) => Self::Aes128Cbc(Aes128::new_from_slice(key).ok()?),
            (Encryption::AesCbc, 24) => Self::Aes192Cbc(Aes192::new_from_slice(key).ok()?),
            (Encryption::AesCbc, _) => Self::Aes256Cbc(Aes256::new_from_slice(key).ok()?),
            (Encryption::TripleDesCbc, _) => {
                Self::TripleDesCbc(TdesEde3::new_from_slice(key).ok()?)
            }
            (Encryption::AesGcm16, 20) => Self::Aes128Gcm(Aead::new(key)?),
            (Encryption::AesGcm16, 28) => Self::Aes192Gcm(Aead::new(key)?),
            (Encryption::AesGcm16, _) => Self::Aes256Gcm(Aead::new(key)?),
            (Encryption::ChaCha20Poly1305, _) => Self::ChaCha20Poly1305(Aead::new(key)?),
        })
    }

    /// Octets of the shortest body: IV, a trailer in whole blocks, and the ICV of an AEAD.
    pub(super) fn least_octets(&self) -> usize {
        match self {
            Self::Null => ESP_TRAILER,
            Self::Aes128Cbc(_) | Self::Aes192Cbc(_) | Self::Aes256Cbc(_) => 32,
            Self::TripleDesCbc(_) => 16,
            _ => AEAD_IV + ESP_TRAILER + AEAD_ICV,
        }
    }

    /// Decrypts `body`, which is IV, ciphertext and an AEAD's ICV, into payload and ESP trailer.
    pub(super) fn decrypt(
        &self,
        header: &[u8; ESP_HEADER],
        sequence_high: Option<u32>,
        body: &[u8],
    ) -> Result<Vec<u8>, Reason> {
        if body.len() < self.least_octets() {
            return Err(Malformed::Esp.into());
        }
        match self {
            Self::Null => Ok(body.to_vec()),
            Self::Aes128Cbc(cipher) => decrypt_cbc(cipher, body),
            Self::Aes192Cbc(cipher) => decrypt_cbc(cipher, body),
            Self::Aes256Cbc(cipher) => decrypt_cbc(cipher, body),
            Self::TripleDesCbc(cipher) => decrypt_cbc(cipher, body),
            Self::Aes128Gcm(aead) => aead.decrypt(header, sequence_high, body),
            Self::Aes192Gcm(aead) => aead.decrypt(header, sequence_high, body),
            Self::Aes256Gcm(aead) => aead.decrypt(header, sequence_high, body),
            Self::ChaCha20Poly1305(aead) => aead.decrypt(header, sequence_high, body),
        }
    }
}

/// RFC 3602 and RFC 2451: the IV is one block.
fn decrypt_cbc<C: BlockCipherDecrypt + Clone>(cipher: &C, body: &[u8]) -> Result<Vec<u8>, Reason> {
    let (iv, text) = body.split_at_checked(C::block_size()).ok_or(Malformed::Esp)?;
    let mode = cbc::Decryptor::inner_iv_slice_init(cipher.clone(), iv);
    let mut mode = mode.map_err(|_| Malformed::Esp)?;
    let mut plain = text.to_vec();
    let (blocks, rest) = cbc::cipher::Block::<C>::slice_as_chunks_mut(&mut plain);
    if !rest.is_empty() {
        return Err(Malformed::Esp.into());
    }
    mode.decrypt_blocks(blocks);
    Ok(plain)
}

/// A cipher with associated data and the salt that opens each nonce.
pub(super) struct Aead<C> {
    cipher: C,
    salt: Zeroizing<[u8; SALT]>,
}

impl<C: KeyInit + AeadInOut + AeadCore<NonceSize = U12>> Aead<C> {
    fn new(key_and_salt: &[u8]) -> Option<Self> {
        let (key, salt) = key_and_salt.split_last_chunk::<SALT>()?;
        Some(Self { cipher: C::new_from_slice(key).ok()?, salt: Zeroizing::new(*salt) })
    }

    /// RFC 4106 section 5: the associated data is SPI and sequence number, with ESN all 64 bits
    /// of it. RFC 7634 section 2.1 is the same.
    fn decrypt(
        &self,
        header: &[u8; ESP_HEADER],
        sequence_high: Option<u32>,
        body: &[u8],
    ) -> Result<Vec<u8>, Reason> {
        let (iv, rest) = body.split_first_chunk::<AEAD_IV>().ok_or(Malformed::Esp)?;
        let (text, icv) = rest.split_last_chunk::<AEAD_ICV>().ok_or(Malformed::Esp)?;
        let mut nonce = [0; SALT + AEAD_IV];
        nonce[..SALT].copy_from_slice(&*self.salt);
        nonce[SALT..].copy_from_slice(iv);
        let (spi, sequence_low) = header.split_at(4);
        let mut data = spi.to_vec();
        data.extend(sequence_high.map(u32::to_be_bytes).iter().flatten());
        data.extend(sequence_low);
        let icv = icv.as_slice().try_into().map_err(|_| Malformed::Esp)?;
        let mut plain = text.to_vec();
        let result = self.cipher.decrypt_inout_detached(
            &nonce.into(),
            &data,
            plain.as_mut_slice().into(),
            icv,
        );
        result.map(|()| plain).map_err(|_| Reason::AuthFailed)
    }
}
