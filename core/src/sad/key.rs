//! What an SA is found by, and how keys are hashed.

use core::hash::Hasher;
use core::net::IpAddr;

use siphasher::sip::SipHasher24;

use crate::error::SaError;
use crate::headers::{Endpoints, Ipsec, OuterHeaders, Spi};

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

/// A key taken apart: what the table compares and hashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Parts {
    pub(super) kind: Kind,
    pub(super) ipsec: Ipsec,
    pub(super) spi: u32,
    /// Zero where the key says nothing of an address.
    pub(super) endpoints: Endpoints,
}

const NO_ENDPOINTS: Endpoints = Endpoints::V4 { src: 0, dst: 0 };

impl Parts {
    pub(super) fn of(key: &SaKey) -> Self {
        let (kind, endpoints) = match key.scope {
            Scope::Spi => (Kind::Root, NO_ENDPOINTS),
            Scope::Destination(IpAddr::V4(dst)) => {
                (Kind::Destination, Endpoints::V4 { src: 0, dst: dst.to_bits() })
            }
            Scope::Destination(IpAddr::V6(dst)) => {
                (Kind::Destination, Endpoints::V6 { src: 0, dst: dst.to_bits() })
            }
            Scope::DestinationSource(both) => (Kind::DestinationSource, both),
        };
        Self { kind, ipsec: key.ipsec, spi: key.spi.0, endpoints }
    }

    /// The root key of a packet.
    #[inline]
    pub(super) fn root(ipsec: Ipsec, spi: Spi) -> Self {
        Self { kind: Kind::Root, ipsec, spi: spi.0, endpoints: NO_ENDPOINTS }
    }

    /// The longer key of `kind` that would fit a packet. No branch for the kind: within a burst it is not
    /// to be foreseen.
    #[inline(always)]
    pub(super) fn long(kind: Kind, outer: &OuterHeaders) -> Self {
        let with_source = u32::from(kind == Kind::DestinationSource);
        let endpoints = match outer.endpoints {
            Endpoints::V4 { src, dst } => {
                Endpoints::V4 { src: src & 0_u32.wrapping_sub(with_source), dst }
            }
            Endpoints::V6 { src, dst } => {
                Endpoints::V6 { src: src & 0_u128.wrapping_sub(u128::from(with_source)), dst }
            }
        };
        Self { kind, ipsec: outer.ipsec, spi: outer.spi.0, endpoints }
    }

    /// Kind, protocol and family in four bits.
    #[inline(always)]
    pub(super) fn class(&self) -> u32 {
        self.kind as u32
            | if self.ipsec == Ipsec::Ah { 4 } else { 0 }
            | if matches!(self.endpoints, Endpoints::V6 { .. }) { 8 } else { 0 }
    }

    /// A key from its class and the rest.
    pub(super) fn from_class(class: u32, spi: u32, words: [u32; 8]) -> Self {
        let [d0, d1, d2, d3, s0, s1, s2, s3] = words.map(u128::from);
        Self {
            kind: match class & 3 {
                2 => Kind::Destination,
                3 => Kind::DestinationSource,
                _ => Kind::Root,
            },
            ipsec: if class & 4 == 0 { Ipsec::Esp } else { Ipsec::Ah },
            spi,
            endpoints: if class & 8 == 0 {
                Endpoints::V4 { src: s3 as u32, dst: d3 as u32 }
            } else {
                Endpoints::V6 {
                    src: s0 << 96 | s1 << 64 | s2 << 32 | s3,
                    dst: d0 << 96 | d1 << 64 | d2 << 32 | d3,
                }
            },
        }
    }
}

/// Addresses as words: destination, then source, most significant word first; IPv4 in the last word
/// of each, zero elsewhere.
#[inline(always)]
pub(super) fn words(endpoints: &Endpoints) -> [u32; 8] {
    let wide =
        |addr: u128| [(addr >> 96) as u32, (addr >> 64) as u32, (addr >> 32) as u32, addr as u32];
    match *endpoints {
        Endpoints::V4 { src, dst } => [0, 0, 0, dst, 0, 0, 0, src],
        Endpoints::V6 { src, dst } => {
            let ([d0, d1, d2, d3], [s0, s1, s2, s3]) = (wide(dst), wide(src));
            [d0, d1, d2, d3, s0, s1, s2, s3]
        }
    }
}

/// Secret numbers for hashing, derived from the caller's seed.
///
/// An SPI alone is mixed in two rounds: a multiplication by a secret number of its protocol whose
/// high half is folded into the low one, then another. The halves of the result choose the two
/// buckets. All is one 32 x 64 and one 64 x 64 bit product: cheap on a microcontroller too.
///
/// Addresses of longer keys are summed with random multipliers first (multilinear hashing, strongly
/// universal in the high half: Dietzfelbinger 1996, Thorup 2009). That half is the key's tag; mixed like
/// an SPI, the sum chooses the buckets.
///
/// So keys chosen without knowledge of the seed meet in a bucket as rarely as random ones, whatever
/// their pattern: `tests.rs` fills tables with hostile patterns under many seeds.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct HashKeys {
    /// By protocol.
    root: [u64; 2],
    mix: u64,
    long: Multilinear,
}

#[derive(Clone, Copy)]
struct Multilinear {
    spi: u64,
    /// Added: by kind (1 to 3), protocol and family.
    add: [u64; 16],
    words: [u64; 8],
}

/// A key's hash. The high half chooses the first bucket, by its high bits, and the filter bit, by its
/// low ones; the low half chooses the second bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hash(u64);

impl Hash {
    #[inline(always)]
    pub(super) fn first(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline(always)]
    pub(super) fn whole(self) -> u64 {
        self.0
    }

    #[inline(always)]
    pub(super) fn second(self) -> u32 {
        self.0 as u32
    }
}

impl HashKeys {
    /// Stands in while sizes are measured.
    pub(super) const ZERO: Self = Self { root: [0; 2], mix: 0, long: Multilinear::ZERO };

    /// Keys from 128 bits that peers do not know, where they stay: they are most of a view.
    pub(super) fn set(&mut self, seed: [u64; 2]) {
        let mut random = Random::new(seed, Purpose::Hash);
        let mut next = || random.next().unwrap_or(1);
        let Self { root, mix, long: Multilinear { spi, add, words } } = self;
        root.iter_mut().chain([mix, spi]).for_each(|key| *key = next() | 1);
        add.iter_mut().for_each(|key| *key = next());
        words.iter_mut().for_each(|key| *key = next() | 1);
    }

    /// The hash of a root key.
    #[inline(always)]
    pub(super) fn root(&self, ipsec: Ipsec, spi: u32) -> Hash {
        let [esp, ah] = self.root;
        self.mix(u64::from(spi).wrapping_mul(if ipsec == Ipsec::Ah { ah } else { esp }))
    }

    /// The hash of any key.
    pub(super) fn hash(&self, parts: &Parts) -> Hash {
        match parts.kind {
            Kind::Root => self.root(parts.ipsec, parts.spi),
            _ => self.long(parts).0,
        }
    }

    /// The hash of a longer key, and 32 bits that tell keys of one bucket apart.
    #[inline(always)]
    pub(super) fn long(&self, parts: &Parts) -> (Hash, u32) {
        let sum = self.long.sum(parts);
        (self.mix(sum), (sum >> 32) as u32)
    }

    /// 32 bits of any key.
    pub(super) fn tag(&self, parts: &Parts) -> u32 {
        self.long(parts).1
    }

    /// 64 bits of a number that is no key of the table.
    pub(super) fn number(&self, number: u64) -> u64 {
        self.mix(self.long.sum_of(number)).whole()
    }

    #[inline(always)]
    fn mix(&self, sum: u64) -> Hash {
        Hash((sum ^ sum >> 32).wrapping_mul(self.mix))
    }
}

impl Multilinear {
    const ZERO: Self = Self { spi: 0, add: [0; 16], words: [0; 8] };

    /// The sum for both halves of a number. No key of the table is of kind 0 and has one.
    fn sum_of(&self, number: u64) -> u64 {
        let ([add, ..], [high, low, ..]) = (self.add, self.words);
        let high = high.wrapping_mul(number >> 32);
        add.wrapping_add(high).wrapping_add(low.wrapping_mul(number & 0xffff_ffff))
    }

    #[inline(always)]
    fn sum(&self, parts: &Parts) -> u64 {
        let Self { spi, add, words: keys } = self;
        let add = add.get(parts.class() as usize).copied().unwrap_or(0);
        let sum = add.wrapping_add(spi.wrapping_mul(u64::from(parts.spi)));
        let add = |sum: u64, (key, word): (&u64, u32)| {
            sum.wrapping_add(key.wrapping_mul(u64::from(word)))
        };
        match parts.endpoints {
            // All other words are zero.
            Endpoints::V4 { src, dst } => {
                let [_, _, _, to, _, _, _, from] = keys;
                [(to, dst), (from, src)].into_iter().fold(sum, add)
            }
            Endpoints::V6 { .. } => keys.iter().zip(self::words(&parts.endpoints)).fold(sum, add),
        }
    }
}

/// What random numbers are for: those of one purpose say nothing about those of another.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Purpose {
    Hash = 1,
    Spi = 2,
}

/// Numbers that nobody can foresee who does not know the seed, however many he has seen: SipHash
/// 2-4 (Aumasson and Bernstein 2012) of a counter.
#[derive(Clone)]
pub(super) struct Random {
    seed: [u64; 2],
    counter: u64,
}

impl Random {
    pub(super) fn new(seed: [u64; 2], purpose: Purpose) -> Self {
        Self { seed, counter: (purpose as u64) << 56 }
    }
}

impl Iterator for Random {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.counter = self.counter.wrapping_add(1);
        let mut hasher = SipHasher24::new_with_keys(self.seed[0], self.seed[1]);
        hasher.write_u64(self.counter);
        Some(hasher.finish())
    }
}
