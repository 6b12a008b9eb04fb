//! What an SA is found by, and how keys are hashed.

use core::hash::Hasher;
use core::net::IpAddr;

use siphasher::sip::SipHasher24;

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
/// An SPI alone is mixed in two rounds: a multiplication by a secret number of its protocol whose
/// high half is folded into the low one, then another. The halves of the result choose the two
/// buckets. All is one 32 x 64 and one 64 x 64 bit product: cheap on a microcontroller too.
///
/// Addresses of longer keys are summed with random multipliers first (multilinear hashing, strongly
/// universal: Dietzfelbinger 1996, Thorup 2009).
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
    tag: Multilinear,
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
    pub(super) fn second(self) -> u32 {
        self.0 as u32
    }
}

impl HashKeys {
    /// Stands in while sizes are measured.
    pub(super) const ZERO: Self =
        Self { root: [0; 2], mix: 0, long: Multilinear::ZERO, tag: Multilinear::ZERO };

    /// Keys from 128 bits that peers do not know.
    pub(super) fn new(seed: [u64; 2]) -> Self {
        let mut random = Random::new(seed, Purpose::Hash);
        let mut odd = || random.next().unwrap_or(1) | 1;
        let (root, mix) = ([odd(), odd()], odd());
        Self { root, mix, long: Multilinear::new(&mut random), tag: Multilinear::new(&mut random) }
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
            _ => self.mix(self.long.sum(parts)),
        }
    }

    /// 32 bits that tell keys of one bucket apart.
    pub(super) fn tag(&self, parts: &Parts) -> u32 {
        (self.tag.sum(parts) >> 32) as u32
    }

    #[inline(always)]
    fn mix(&self, sum: u64) -> Hash {
        Hash((sum ^ sum >> 32).wrapping_mul(self.mix))
    }
}

impl Multilinear {
    const ZERO: Self = Self { spi: 0, add: [0; 16], words: [0; 8] };

    fn new(random: &mut Random) -> Self {
        let mut next = || random.next().unwrap_or(1);
        Self {
            spi: next() | 1,
            add: core::array::from_fn(|_| next()),
            words: core::array::from_fn(|_| next() | 1),
        }
    }

    fn sum(&self, parts: &Parts) -> u64 {
        let class = parts.kind as usize
            | if parts.ipsec == Ipsec::Ah { 4 } else { 0 }
            | if parts.addresses.family == Family::V6 { 8 } else { 0 };
        let sum = self.add[class & 15].wrapping_add(self.spi.wrapping_mul(u64::from(parts.spi)));
        if parts.kind == Kind::Root {
            return sum;
        }
        let add = |sum: u64, (key, word): (&u64, &u32)| {
            sum.wrapping_add(key.wrapping_mul(u64::from(*word)))
        };
        let (keys, words) = (&self.words, &parts.addresses.words);
        // Of IPv4 addresses all words but the last of each are zero.
        match parts.addresses.family {
            Family::V4 => [(&keys[3], &words[3]), (&keys[7], &words[7])].into_iter().fold(sum, add),
            Family::V6 => keys.iter().zip(words).fold(sum, add),
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
