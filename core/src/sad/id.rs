//! The handle to an SA, and the word that leads to one: the same 64 bits, but for what only the
//! table needs.
//!
//! ```text
//!          63            32   31   30 28   27   26      24   23     0
//! word     | SPI or tag  |  AH  | flags |filter| generation | index |
//! handle   |     SPI     |  AH  | 1 0 0 |  0   |   1 to 7   | index |
//! ```
//!
//! So a lookup needs nothing but the table, and its answer still says which SA was meant: a handle
//! whose SA was deleted is stale until the same SPI and protocol got the same index seven times
//! again, and each time takes a quiescent state of every worker.

use core::fmt;

use crate::headers::{Ipsec, Spi};

/// The largest number of SAs that an index can tell apart.
pub(crate) const MAX_SAS: u32 = INDEX as u32;

pub(super) const INDEX: u64 = (1 << SaId::INDEX_BITS) - 1;
pub(super) const GENERATION: u64 = 7 << SaId::INDEX_BITS;
pub(super) const AH: u64 = 1 << 31;
/// In a handle always; in the first half of an entry while its SA lives.
pub(super) const LIVE: u64 = 1 << 30;

/// A handle to an SA: its SPI and protocol, a dense index, and a small generation, so that a stale
/// handle is found out.
///
/// The index is below [`Capacity::sa_slots`](crate::Capacity::sa_slots); callers may use it for
/// arrays of their own. A handle outlives its SA: [`Worker::check`](crate::Worker::check) and all
/// other methods refuse it then, also when the index belongs to another SA. They take it for that of
/// a younger SA only once that one is the seventh (or fourteenth, ...) since that has the index, and
/// has the same SPI and protocol as the old one; each of these takes a quiescent state of every
/// worker, so a handle to a packet being decrypted is never that old.
// One number, so that a handle stays in one register and is stored at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SaId(u64);

impl fmt::Debug for SaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE {
            return f.write_str("SaId::NONE");
        }
        f.debug_struct("SaId")
            .field("ipsec", &self.ipsec())
            .field("spi", &self.spi())
            .field("index", &self.index())
            .field("generation", &self.generation())
            .finish()
    }
}

impl SaId {
    /// No SA.
    pub const NONE: Self = Self(0);

    /// The index is in so many low bits of [`SaId::to_raw`].
    pub const INDEX_BITS: u32 = 24;

    /// Index below the slots of the capacity. Given to another SA some time after a deletion.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        (self.0 & INDEX) as u32
    }

    /// The index of a handle that an SA may have; of any other number one that is beyond all slots.
    #[inline(always)]
    pub(crate) const fn live_index(self) -> usize {
        ((self.0 ^ LIVE) & (INDEX | LIVE)) as usize
    }

    /// The SPI of the SA; 0 of [`SaId::NONE`].
    #[inline(always)]
    pub const fn spi(self) -> Spi {
        Spi((self.0 >> 32) as u32)
    }

    /// The protocol of the SA.
    #[inline(always)]
    pub const fn ipsec(self) -> Ipsec {
        if self.0 & AH == 0 { Ipsec::Esp } else { Ipsec::Ah }
    }

    /// The handle as one number, for bindings: 0 for [`SaId::NONE`], the SPI in its high half.
    #[inline(always)]
    pub const fn to_raw(self) -> u64 {
        self.0
    }

    /// The handle that [`SaId::to_raw`] made a number of. A wrong one is only ever stale.
    #[inline(always)]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    pub(super) fn new(ipsec: Ipsec, spi: u32, generation: u32, index: u32) -> Self {
        let ah = if ipsec == Ipsec::Ah { AH } else { 0 };
        let generation = u64::from(generation) << Self::INDEX_BITS & GENERATION;
        Self(u64::from(spi) << 32 | ah | LIVE | generation | u64::from(index) & INDEX)
    }

    pub(super) fn generation(self) -> u32 {
        ((self.0 & GENERATION) >> Self::INDEX_BITS) as u32
    }

    /// The same but for the generation, whose next one is this one's.
    pub(super) fn of_generation_before(self) -> Self {
        let before = u64::from((self.generation() + 5) % 7 + 1);
        Self(self.0 & !GENERATION | before << Self::INDEX_BITS)
    }

    /// The half without the SPI.
    #[inline(always)]
    pub(super) fn low(self) -> u32 {
        self.0 as u32
    }
}

/// The generation of the next SA with an index: 1 to 7, so that memory never used names none.
pub(super) fn next_generation(generation: u32) -> u32 {
    generation % 7 + 1
}
