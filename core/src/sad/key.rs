//! What an SA is found by, and how keys are hashed.

use core::net::IpAddr;

use crate::error::SaError;
use crate::headers::{Endpoints, Family, Ipsec, OuterHeaders, Spi};

/// The part of the outer addresses that belongs to an SA's key (RFC 4301 section 4.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// The SPI alone: unicast, the receiver chose the SPI.
    Spi,
    /// SPI and destination address.
    Destination(IpAddr),
    /// SPI, destination and source address: needed for source-specific multicast.
    DestinationSource(Endpoints),
}

/// The key of an SA. Of several that fit a packet the longest wins.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SaKey {
    /// ESP or AH; their SPIs are apart.
    pub ipsec: Ipsec,
    /// The SPI, host byte order.
    pub spi: Spi,
    /// The outer addresses that must be equal.
    pub scope: Scope,
}

impl SaKey {
    /// A key from optional addresses.
    ///
    /// # Errors
    /// [`SaError::SpiZero`]; [`SaError::Key`]: a source without a destination, or two families.
    pub fn new(
        ipsec: Ipsec,
        spi: Spi,
        dst: Option<IpAddr>,
        src: Option<IpAddr>,
    ) -> Result<Self, SaError> {
        if spi.0 == 0 {
            return Err(SaError::SpiZero);
        }
        let scope = match (dst, src) {
            (None, None) => Scope::Spi,
            (Some(dst), None) => Scope::Destination(dst),
            (Some(dst), Some(src)) => {
                Scope::DestinationSource(Endpoints::new(src, dst).ok_or(SaError::Key)?)
            }
            (None, Some(_)) => return Err(SaError::Key),
        };
        Ok(Self { ipsec, spi, scope })
    }
}

/// Kind of a table word, in two bits; 0 is an empty slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    /// One for each SPI in use: the SA found by SPI alone, or a signpost to longer keys.
    Root = 1,
    /// SPI and destination.
    Destination = 2,
    /// SPI, destination and source.
    DestinationSource = 3,
}

/// Addresses of a key or a packet in the form that entries hold: destination, then source, most
/// significant word first; IPv4 in the last word of each, zero elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Addresses {
    pub(super) family: Family,
    pub(super) words: [u32; 8],
}

fn wide(addr: u128) -> [u32; 4] {
    [(addr >> 96) as u32, (addr >> 64) as u32, (addr >> 32) as u32, addr as u32]
}

fn joined(dst: [u32; 4], src: [u32; 4]) -> [u32; 8] {
    [dst[0], dst[1], dst[2], dst[3], src[0], src[1], src[2], src[3]]
}

impl Addresses {
    pub(super) fn of(endpoints: &Endpoints) -> Self {
        match *endpoints {
            Endpoints::V4 { src, dst } => {
                Self { family: Family::V4, words: joined([0, 0, 0, dst], [0, 0, 0, src]) }
            }
            Endpoints::V6 { src, dst } => {
                Self { family: Family::V6, words: joined(wide(dst), wide(src)) }
            }
        }
    }

    /// The addresses with the source cleared: the form of a destination key.
    pub(super) fn destination_only(mut self) -> Self {
        let [.., a, b, c, d] = &mut self.words;
        (*a, *b, *c, *d) = (0, 0, 0, 0);
        self
    }

    pub(super) fn endpoints(&self) -> Endpoints {
        let [d0, d1, d2, d3, s0, s1, s2, s3] = self.words.map(u128::from);
        match self.family {
            Family::V4 => Endpoints::V4 { src: s3 as u32, dst: d3 as u32 },
            Family::V6 => Endpoints::V6 {
                src: s0 << 96 | s1 << 64 | s2 << 32 | s3,
                dst: d0 << 96 | d1 << 64 | d2 << 32 | d3,
            },
        }
    }
}

/// A key taken apart: what the table compares and hashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Parts {
    pub(super) kind: Kind,
    pub(super) ipsec: Ipsec,
    pub(super) spi: u32,
    pub(super) addresses: Addresses,
}

const NO_ADDRESSES: Addresses = Addresses { family: Family::V4, words: [0; 8] };

impl Parts {
    pub(super) fn of(key: &SaKey) -> Self {
        let (kind, addresses) = match key.scope {
            Scope::Spi => (Kind::Root, NO_ADDRESSES),
            Scope::Destination(dst) => {
                let any = match dst {
                    IpAddr::V4(dst) => Endpoints::V4 { src: 0, dst: dst.to_bits() },
                    IpAddr::V6(dst) => Endpoints::V6 { src: 0, dst: dst.to_bits() },
                };
                (Kind::Destination, Addresses::of(&any))
            }
            Scope::DestinationSource(both) => (Kind::DestinationSource, Addresses::of(&both)),
        };
        Self { kind, ipsec: key.ipsec, spi: key.spi.0, addresses }
    }

    /// The root key of a packet.
    #[inline]
    pub(super) fn root(ipsec: Ipsec, spi: Spi) -> Self {
        Self { kind: Kind::Root, ipsec, spi: spi.0, addresses: NO_ADDRESSES }
    }

    /// The longer key of `kind` that would fit a packet.
    pub(super) fn long(kind: Kind, outer: &OuterHeaders) -> Self {
        let all = Addresses::of(&outer.endpoints);
        let addresses = match kind {
            Kind::Root => NO_ADDRESSES,
            Kind::Destination => all.destination_only(),
            Kind::DestinationSource => all,
        };
        Self { kind, ipsec: outer.ipsec, spi: outer.spi.0, addresses }
    }
}

/// Secret numbers for hashing, derived from the caller's seed.
///
/// Multiply-shift: the high half of `a * x + b` modulo 2^64 is strongly universal for 32-bit `x`
/// and random 64-bit `a`, `b` (Dietzfelbinger 1996), and the sum over several words likewise
/// (multilinear hashing). So for keys chosen without knowledge of the seed two of them meet in a
/// bucket as rarely as random ones, whatever their pattern. Two independent functions choose the
/// two buckets.
#[derive(Clone, Copy)]
pub(super) struct HashKeys {
    first: Multilinear,
    second: Multilinear,
}

#[derive(Clone, Copy)]
struct Multilinear {
    spi: u64,
    /// Added: by kind (1 to 3), protocol and family.
    add: [u64; 16],
    words: [u64; 8],
}

/// The two places and the tag that a key's hash gives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hash {
    pub(super) first: u32,
    pub(super) second: u32,
    /// 32 bits for tags of long keys and of the memory of deleted SAs.
    pub(super) tag: u32,
}

impl HashKeys {
    /// Keys from 128 bits that peers do not know.
    pub(super) fn new(seed: [u64; 2]) -> Self {
        let mut state = seed;
        Self { first: Multilinear::new(&mut state), second: Multilinear::new(&mut state) }
    }

    #[inline]
    pub(super) fn hash(&self, parts: &Parts) -> Hash {
        let (first, second) = (self.first.sum(parts), self.second.sum(parts));
        Hash {
            first: (first >> 32) as u32,
            second: (second >> 32) as u32,
            // Middle bits of both sums: hardly tied to the high bits that choose the buckets.
            tag: ((first >> 8) as u32) ^ ((second >> 14) as u32).rotate_left(16),
        }
    }
}

impl Multilinear {
    fn new(state: &mut [u64; 2]) -> Self {
        Self {
            spi: next(state) | 1,
            add: core::array::from_fn(|_| next(state)),
            words: core::array::from_fn(|_| next(state) | 1),
        }
    }

    #[inline]
    fn sum(&self, parts: &Parts) -> u64 {
        let class = parts.kind as usize
            | if parts.ipsec == Ipsec::Ah { 4 } else { 0 }
            | if parts.addresses.family == Family::V6 { 8 } else { 0 };
        let sum = self.add[class & 15].wrapping_add(self.spi.wrapping_mul(u64::from(parts.spi)));
        if parts.kind == Kind::Root {
            return sum;
        }
        self.words
            .iter()
            .zip(parts.addresses.words)
            .fold(sum, |sum, (key, word)| sum.wrapping_add(key.wrapping_mul(u64::from(word))))
    }
}

/// The next pseudo-random number: an xorshift of 128 bits whose output is scrambled by a
/// multiplication. It spreads the caller's seed over the keys; it adds no secrecy of its own.
fn next(state: &mut [u64; 2]) -> u64 {
    if *state == [0, 0] {
        *state = [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03];
    }
    let [mut x, y] = *state;
    x ^= x << 23;
    x ^= x >> 17;
    x ^= y ^ (y >> 26);
    *state = [y, x];
    x.wrapping_add(y).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(31)
}
