//! Other people's tables from SPI to SA, behind one shape: what the SAD is measured against.
//!
//! Owns the contenders and nothing of the measurement. Each is built once from a slice of SPIs
//! and not changed; the value of an SPI is a [`Handle`], so that each answers with 8 octets and
//! not with a mere yes. Who asks for a burst gets whatever the contender does best with one:
//! the maps of Rust know none, they take the keys in turn and leave the overlap to the processor.
//!
//! | | bound on probes | at most |
//! |---|---|---|
//! | [`Hashbrown`], [`Std`] | none | memory |
//! | [`Heapless`] | none | 65 536 SAs |
//! | `dpdk::Sad`, `dpdk::Hash` (feature `dpdk`) | two buckets of 8 | as created |
//! | [`Roofline`] | no table: what the memory under one costs | |
//!
//! And `acl::Acl` (feature `dpdk`), which is asked about selectors and not about SPIs, and
//! `gateway::Gateway`, which puts it and `rte_ipsec_sad` together.
//!
//! Pages: no contender asks for huge ones. With transparent huge pages on `always`, or glibc's
//! tunable `glibc.malloc.hugetlb=1`, those on malloc's heap get them and DPDK's do not: compare
//! with neither.

#[cfg(feature = "dpdk")]
pub mod acl;
#[cfg(feature = "dpdk")]
pub mod dpdk;
#[cfg(feature = "dpdk")]
pub mod gateway;
mod roofline;
#[cfg(test)]
mod tests;

use std::mem::size_of;

use heapless::index_map::FnvIndexMap;

pub use roofline::Roofline;

/// What an SPI stands for: number and generation of an SA. Of a table made here, the place of
/// the SPI in the slice, and 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Handle {
    /// The place.
    pub index: u32,
    /// Never 0, but in [`Handle::NONE`].
    pub generation: u32,
}

impl Handle {
    /// The answer to an unknown SPI, as a burst writes it.
    pub const NONE: Self = Self { index: 0, generation: 0 };

    /// The handle of the SPI at `place` of the slice.
    ///
    /// # Panics
    /// If `place` takes more than 32 bits.
    pub fn of(place: usize) -> Self {
        Self { index: u32::try_from(place).expect("a place in 32 bits"), generation: 1 }
    }
}

/// A table whose key is the SPI alone.
pub trait Table {
    /// The SA of one SPI.
    fn one(&self, spi: u32) -> Option<Handle>;

    /// The SAs of many, each asked with [`Table::one`]; as [`Table::burst`] otherwise.
    fn ones(&self, spis: &[u32], out: &mut [Handle]) -> usize {
        tell(spis.iter().map(|spi| self.one(*spi)), spis.len(), out)
    }

    /// The SAs of many: how many were found. [`Handle::NONE`] stands for one that was not.
    ///
    /// # Panics
    /// If `out` is shorter than `spis`.
    fn burst(&self, spis: &[u32], out: &mut [Handle]) -> usize {
        self.ones(spis, out)
    }

    /// Octets of memory that the table takes beside its own value.
    fn octets(&self) -> usize;
}

/// Writes answers down and counts the found ones.
#[inline]
fn tell(answers: impl Iterator<Item = Option<Handle>>, n: usize, out: &mut [Handle]) -> usize {
    let mut hits = 0;
    for (out, answer) in out[..n].iter_mut().zip(answers) {
        hits += usize::from(answer.is_some());
        *out = answer.unwrap_or(Handle::NONE);
    }
    hits
}

fn handles(spis: &[u32]) -> impl Iterator<Item = (u32, Handle)> {
    spis.iter().enumerate().map(|(place, spi)| (*spi, Handle::of(place)))
}

/// `hashbrown::HashMap` with its default hasher.
pub struct Hashbrown(hashbrown::HashMap<u32, Handle>);

impl Hashbrown {
    /// A table of these SPIs.
    pub fn new(spis: &[u32]) -> Self {
        Self(handles(spis).collect())
    }
}

impl Table for Hashbrown {
    #[inline]
    fn one(&self, spi: u32) -> Option<Handle> {
        self.0.get(&spi).copied()
    }

    fn octets(&self) -> usize {
        self.0.allocation_size()
    }
}

/// `std::collections::HashMap`: the same table with SipHash.
pub struct Std(std::collections::HashMap<u32, Handle>);

impl Std {
    /// A table of these SPIs.
    pub fn new(spis: &[u32]) -> Self {
        Self(handles(spis).collect())
    }
}

impl Table for Std {
    #[inline]
    fn one(&self, spi: u32) -> Option<Handle> {
        self.0.get(&spi).copied()
    }

    /// Estimated as hashbrown's layout: a power of two of buckets, 7/8 of them in use at most,
    /// each with one control octet, and one group of 16 more.
    fn octets(&self) -> usize {
        let buckets = (self.0.capacity() * 8 / 7).next_power_of_two();
        buckets * (size_of::<(u32, Handle)>() + 1) + 16
    }
}

/// `heapless::index_map::FnvIndexMap` with N slots, on the heap.
pub struct Heapless<const N: usize>(Box<FnvIndexMap<u32, Handle, N>>);

impl<const N: usize> Heapless<N> {
    /// A table of these SPIs; `None` if they are more than N.
    ///
    /// # Panics
    /// If the system has no thread to give.
    pub fn new(spis: &[u32]) -> Option<Self> {
        if spis.len() > N {
            return None;
        }
        // The crate makes no map in place, and one of 65 536 slots is 1.25 MiB: made on a stack
        // that has room for the copies of an unoptimised build.
        let made = std::thread::Builder::new()
            .stack_size((8 * size_of::<FnvIndexMap<u32, Handle, N>>()).max(1 << 20))
            .spawn(|| Box::new(FnvIndexMap::new()))
            .expect("a thread");
        let mut map: Box<FnvIndexMap<u32, Handle, N>> = made.join().expect("an empty map");
        for (spi, handle) in handles(spis) {
            map.insert(spi, handle).ok()?;
        }
        Some(Self(map))
    }
}

impl<const N: usize> Table for Heapless<N> {
    #[inline]
    fn one(&self, spi: u32) -> Option<Handle> {
        self.0.get(&spi).copied()
    }

    fn octets(&self) -> usize {
        size_of::<FnvIndexMap<u32, Handle, N>>()
    }
}

/// A [`Heapless`] of the least N that leaves half of the slots free, or of 65 536 where none
/// does; `None` for more than 65 536 SPIs. Mind the full table: it is 30 times slower.
pub fn heapless(spis: &[u32]) -> Option<Box<dyn Table>> {
    fn made<const N: usize>(spis: &[u32]) -> Option<Box<dyn Table>> {
        Some(Box::new(Heapless::<N>::new(spis)?))
    }
    match (2 * spis.len()).next_power_of_two() {
        0..=1024 => made::<1024>(spis),
        2048 => made::<2048>(spis),
        4096 => made::<4096>(spis),
        8192 => made::<8192>(spis),
        16384 => made::<16384>(spis),
        32768 => made::<32768>(spis),
        _ => made::<65536>(spis),
    }
}

/// What of an SA's address pair is part of its key (RFC 4301 section 4.1); the numbers are DPDK's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The SPI alone.
    Spi = 0,
    /// SPI and destination.
    SpiDst = 1,
    /// SPI, destination and source.
    SpiDstSrc = 2,
}

/// SPIs with IPv4 addresses, in arrays of one length.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    /// SPIs.
    pub spis: &'a [u32],
    /// Destinations.
    pub dsts: &'a [u32],
    /// Sources.
    pub srcs: &'a [u32],
}

impl<'a> Keys<'a> {
    /// Those of three arrays.
    ///
    /// # Panics
    /// If they differ in length.
    pub fn new(spis: &'a [u32], dsts: &'a [u32], srcs: &'a [u32]) -> Self {
        assert!(spis.len() == dsts.len() && spis.len() == srcs.len(), "arrays of one length");
        Self { spis, dsts, srcs }
    }

    /// Some of them.
    ///
    /// # Panics
    /// If the range is not in the arrays.
    pub fn part(&self, range: std::ops::Range<usize>) -> Self {
        Self::new(&self.spis[range.clone()], &self.dsts[range.clone()], &self.srcs[range])
    }

    fn each(self) -> impl Iterator<Item = (u32, u32, u32)> + use<'a> {
        let addresses = self.dsts.iter().zip(self.srcs);
        self.spis.iter().zip(addresses).map(|(spi, (dst, src))| (*spi, *dst, *src))
    }
}

/// A table of SAs whose keys are of all three kinds: the longest one that fits counts.
pub trait MixedTable {
    /// The SA of one packet.
    fn one(&self, spi: u32, dst: u32, src: u32) -> Option<Handle>;

    /// The SAs of many, each asked with [`MixedTable::one`]; as [`MixedTable::burst`] otherwise.
    fn ones(&self, keys: Keys<'_>, out: &mut [Handle]) -> usize {
        tell(keys.each().map(|(spi, dst, src)| self.one(spi, dst, src)), keys.spis.len(), out)
    }

    /// The SAs of many: how many were found. [`Handle::NONE`] stands for one that was not.
    ///
    /// # Panics
    /// If `out` is shorter than the keys are many.
    fn burst(&self, keys: Keys<'_>, out: &mut [Handle]) -> usize {
        self.ones(keys, out)
    }

    /// Octets of memory that the table takes beside its own value.
    fn octets(&self) -> usize;
}

/// Three of hashbrown's maps, all three asked, the longest key first.
#[derive(Default)]
pub struct HashbrownMixed {
    spi: hashbrown::HashMap<u32, Handle>,
    dst: hashbrown::HashMap<(u32, u32), Handle>,
    src: hashbrown::HashMap<(u32, u32, u32), Handle>,
}

impl HashbrownMixed {
    /// A table of these keys, each of its kind.
    ///
    /// # Panics
    /// If there are not as many kinds as keys.
    pub fn new(kinds: &[Kind], keys: Keys<'_>) -> Self {
        assert_eq!(kinds.len(), keys.spis.len());
        let mut made = Self::default();
        for (place, (kind, (spi, dst, src))) in kinds.iter().zip(keys.each()).enumerate() {
            let handle = Handle::of(place);
            match kind {
                Kind::Spi => made.spi.insert(spi, handle),
                Kind::SpiDst => made.dst.insert((spi, dst), handle),
                Kind::SpiDstSrc => made.src.insert((spi, dst, src), handle),
            };
        }
        made
    }
}

impl MixedTable for HashbrownMixed {
    #[inline]
    fn one(&self, spi: u32, dst: u32, src: u32) -> Option<Handle> {
        let longest = self.src.get(&(spi, dst, src));
        longest.or_else(|| self.dst.get(&(spi, dst))).or_else(|| self.spi.get(&spi)).copied()
    }

    fn octets(&self) -> usize {
        self.spi.allocation_size() + self.dst.allocation_size() + self.src.allocation_size()
    }
}

/// How `rte_acl` classifies packets: DPDK's numbers. Each falls back to narrower vectors for the packets
/// of a burst that are fewer than it takes at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Algorithm {
    /// One packet after the other, two at once.
    Scalar = 1,
    /// 8 at once, SSE4.1.
    Sse = 2,
    /// 16 at once.
    Avx2 = 3,
    /// 16 at once, in vectors of 256 bits.
    Avx512x16 = 6,
    /// 32 at once, in vectors of 512 bits.
    Avx512x32 = 7,
}

impl Algorithm {
    /// The widest first.
    pub const ALL: [Self; 5] =
        [Self::Avx512x32, Self::Avx512x16, Self::Avx2, Self::Sse, Self::Scalar];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Sse => "sse",
            Self::Avx2 => "avx2",
            Self::Avx512x16 => "avx512x16",
            Self::Avx512x32 => "avx512x32",
        }
    }
}

/// What a matcher is asked about a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// Which selector comes first of those that cover it. `rte_acl` gives each a priority of its own.
    First,
    /// Whether one covers it. `rte_acl` gives all one priority and one answer: smaller tables.
    Any,
}

impl Question {
    /// Both.
    pub const ALL: [Self; 2] = [Self::First, Self::Any];

    /// Its name in tables and arguments.
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Any => "any",
        }
    }
}

/// How `rte_acl` is asked about the selectors of one SA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Way {
    /// A context for each Child SA, and a call for the packets of each: those that follow each other in a
    /// burst. The question that strict-sa asks.
    Own = 0,
    /// One context with the selectors of all, and a call for the burst: the first one that covers a packet
    /// must be of its SA. Stricter: where selectors of two Child SAs overlap, those of the later one do not
    /// count.
    All = 1,
}

/// What `rte_acl` made of a plan.
#[derive(Clone, Copy, Debug)]
pub struct Built {
    /// Seconds it took.
    pub seconds: f64,
    /// Of DPDK's heap, with the rules that rte_acl keeps.
    pub octets: usize,
}
