//! The words of the table: a key and the SA that it leads to.
//!
//! ```text
//! word   63            32   31   30 28   27   26      24   23     0
//!        | SPI or tag    | AH | flags |filter| generation | index |   0 but for the filter = empty
//! ```
//! A word whose flags are 0 is that of a longer key; all others are roots ([`id`]).

#[cfg(all(not(loom), target_has_atomic = "64"))]
use core::sync::atomic::AtomicU64;
#[cfg(not(loom))]
use core::sync::atomic::Ordering;
#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};

use super::entry::Entry;
use super::{SaId, id};
use crate::headers::Ipsec;

/// Words are read at once: what one says is of one moment.
pub(super) const WHOLE_WORDS: bool = cfg!(target_has_atomic = "64");

/// A 64-bit cell that the one writer stores and readers load.
#[cfg(target_has_atomic = "64")]
#[repr(transparent)]
pub(crate) struct Word(AtomicU64);

#[cfg(target_has_atomic = "64")]
impl Word {
    #[cfg(not(loom))]
    pub(super) const fn empty() -> Self {
        Self(AtomicU64::new(0))
    }

    #[cfg(loom)]
    pub(super) fn empty() -> Self {
        Self(AtomicU64::new(0))
    }

    #[inline(always)]
    pub(super) fn load(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    #[inline(always)]
    pub(crate) fn high(&self) -> u32 {
        (self.load() >> 32) as u32
    }

    #[inline(always)]
    pub(super) fn low(&self) -> u32 {
        self.load() as u32
    }

    /// What [`Said::plain_sa`] is asked.
    #[inline(always)]
    pub(super) fn said(&self) -> Said {
        Said(self.load())
    }

    /// `keep`: bits that stay throughout, where the store is not one.
    pub(crate) fn store(&self, word: u64, _keep: u64) {
        self.0.store(word, Ordering::Release);
    }
}

/// A 64-bit cell of two halves, for targets without 64-bit atomics.
///
/// The low half is written last and read first, and cleared before the high half changes, so a
/// reader sees an empty word, or a low half with the high half written with it or after it. The
/// second case pairs an SA with another SPI: `Sad` therefore compares the SPI of the SA.
#[cfg(not(target_has_atomic = "64"))]
#[repr(C)]
pub(crate) struct Word {
    high: core::sync::atomic::AtomicU32,
    low: core::sync::atomic::AtomicU32,
}

#[cfg(not(target_has_atomic = "64"))]
impl Word {
    pub(super) const fn empty() -> Self {
        Self {
            high: core::sync::atomic::AtomicU32::new(0),
            low: core::sync::atomic::AtomicU32::new(0),
        }
    }

    #[inline]
    pub(super) fn load(&self) -> u64 {
        let low = self.low.load(Ordering::Acquire);
        u64::from(self.high.load(Ordering::Acquire)) << 32 | u64::from(low)
    }

    #[inline(always)]
    pub(super) fn low(&self) -> u32 {
        self.low.load(Ordering::Acquire)
    }

    /// A hint: whoever finds something by it loads the word again, and has a fence before the next load.
    #[inline]
    pub(crate) fn high(&self) -> u32 {
        self.high.load(Ordering::Relaxed)
    }

    /// What [`Said::plain_sa`] is asked: whose word that is the SA says, not the other half, which may be of another moment.
    #[inline(always)]
    pub(super) fn said(&self) -> Said {
        Said(self.low())
    }

    pub(crate) fn store(&self, word: u64, keep: u64) {
        let high = (word >> 32) as u32;
        if self.high.load(Ordering::Relaxed) != high {
            self.low.store((word & keep) as u32, Ordering::Release);
            self.high.store(high, Ordering::Release);
        }
        self.low.store(word as u32, Ordering::Release);
    }
}

/// What a word said in one load: all of it, or where it is two halves the one without the SPI.
#[derive(Clone, Copy)]
pub(super) struct Said(
    #[cfg(target_has_atomic = "64")] u64,
    #[cfg(not(target_has_atomic = "64"))] u32,
);

impl Said {
    /// The SA, if it was a plain root of the pattern's SPI and protocol. Where the word is two halves `entry` has it, at its
    /// index.
    #[inline(always)]
    pub(super) fn plain_sa<'e>(
        self,
        pattern: Record,
        entry: impl FnOnce(u32) -> Option<&'e Entry>,
    ) -> Option<SaId> {
        #[cfg(target_has_atomic = "64")]
        {
            let _ = entry;
            Record(self.0).plain_sa(pattern)
        }
        #[cfg(not(target_has_atomic = "64"))]
        {
            let low = u64::from(self.0);
            // Nothing but the SA and the filter bit may differ: with any other bit it is an index beyond all SAs.
            let index = (low ^ pattern.0) as u32 & !(id::GENERATION | Record::FILTER) as u32;
            let has_spi = entry(index)?.spi() == pattern.high();
            let high = pattern.0 & !u64::from(u32::MAX);
            has_spi.then_some(SaId::from_raw(high | low & !Record::FILTER))
        }
    }
}

/// A word taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Record(pub(super) u64);

impl Record {
    /// Of the bucket, not of the word: keys with this filter bit went on to their second bucket.
    pub(super) const FILTER: u64 = 1 << 27;
    /// Root: an SA is found by this SPI alone; without it the index is any SA with the SPI.
    pub(super) const HAS_SA: u64 = id::LIVE;
    /// Root: an SA with this SPI and a destination exists.
    pub(super) const HAS_DESTINATION: u64 = 1 << 29;
    /// Root: an SA with this SPI, a destination and a source exists.
    pub(super) const HAS_DESTINATION_SOURCE: u64 = 1 << 28;
    /// All three; a root has one.
    pub(super) const FLAGS: u64 =
        Self::HAS_SA | Self::HAS_DESTINATION | Self::HAS_DESTINATION_SOURCE;
    /// Which SA a word leads to.
    const SA: u64 = id::GENERATION | id::INDEX;

    pub(super) const EMPTY: Self = Self(0);

    /// What all roots of an SPI have in common: one for each SPI in use.
    #[inline(always)]
    pub(super) fn root(ipsec: Ipsec, spi: u32) -> Self {
        Self(u64::from(spi) << 32 | if ipsec == Ipsec::Ah { id::AH } else { 0 })
    }

    /// The root, but for its SA, of an SPI that leads to one SA only.
    #[inline(always)]
    pub(super) fn plain(ipsec: Ipsec, spi: u32) -> Self {
        Self(Self::root(ipsec, spi).0 | Self::HAS_SA)
    }

    /// What words of longer keys with this tag have in common.
    #[inline(always)]
    pub(super) fn long(ipsec: Ipsec, tag: u32) -> Self {
        Self::root(ipsec, tag)
    }

    #[inline(always)]
    pub(super) fn index(self) -> u32 {
        (self.0 & id::INDEX) as u32
    }

    /// The handle of the SA with this SPI that the word leads to.
    #[inline(always)]
    pub(super) fn sa(self, spi: u32) -> SaId {
        let low = self.0 & (id::AH | Self::SA) | id::LIVE;
        SaId::from_raw(u64::from(spi) << 32 | low)
    }

    /// The handle that this plain root is, if it fits the pattern of one.
    #[inline(always)]
    pub(super) fn plain_sa(self, pattern: Self) -> Option<SaId> {
        // Nothing but the SA and the filter bit may differ.
        let fits = (self.0 ^ pattern.0) >> 28 == 0;
        fits.then_some(SaId::from_raw(self.0 & !Self::FILTER))
    }

    #[inline(always)]
    pub(super) fn without_filter(self) -> Self {
        Self(self.0 & !Self::FILTER)
    }

    #[inline(always)]
    pub(super) fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    /// True if `found` is a root with the SPI and protocol of this pattern.
    #[inline(always)]
    pub(super) fn fits_root(self, found: Self) -> bool {
        (self.0 ^ found.0) >> 31 == 0 && found.flags() != 0
    }

    /// True if `found` is the word of a longer key with the tag and protocol of this pattern.
    #[inline(always)]
    pub(super) fn fits_long(self, found: Self) -> bool {
        (self.0 ^ found.0) >> 28 == 0 && !found.is_empty()
    }

    #[inline(always)]
    pub(super) fn is_empty(self) -> bool {
        // The generation of an SA is not 0.
        self.0 & (Self::FLAGS | id::GENERATION) == 0
    }

    /// True of the word of a longer key.
    pub(super) fn is_long(self) -> bool {
        self.flags() == 0
    }

    pub(super) fn ipsec(self) -> Ipsec {
        if self.has(id::AH) { Ipsec::Ah } else { Ipsec::Esp }
    }

    /// SPI or tag.
    pub(super) fn high(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The same word leading to another SA.
    pub(super) fn with_sa(self, sa: SaId) -> Self {
        Self(self.0 & !Self::SA | sa.to_raw() & Self::SA)
    }

    /// The same word with other flags.
    #[inline(always)]
    pub(super) fn with_flags(self, flags: u64) -> Self {
        Self(self.0 & !Self::FLAGS | flags & Self::FLAGS)
    }

    #[inline(always)]
    pub(super) fn flags(self) -> u64 {
        self.0 & Self::FLAGS
    }
}
