//! Direct slots: the SPIs that this gateway chose itself.
//!
//! ```text
//! SPI   31              bits            0       word  63      32  31    30    29   28           0
//!       | unpredictable | number of slot |            |   SPI   | AH |longer|live| generation/2 |
//! ```
//!
//! The receiver chooses its SPIs (RFC 4303 section 2.1), so it can choose them such that the table
//! is perfect: the low bits are the number of a free slot, and looking one up is one load and one
//! compare. The word holds all of the handle, since the slot's number says which SA it is.
//!
//! A word that is neither empty nor live is a reserved SPI whose SA is still being negotiated: larval.
//! The generation of a live SA is odd, so its last bit need not be kept.

use core::hint::select_unpredictable;

use super::SaId;
use super::key::{Purpose, Random};
use super::table::{Probe, Word};
use crate::headers::Ipsec;

/// Bits of a generation: what one word has room for beside the SPI.
pub(super) const GENERATION: u32 = (1 << 30) - 1;

/// Low bits of an SPI that name a slot, at most, unless more slots than that were asked for when
/// the gateway was made.
const SLOT_BITS: u32 = 22;

/// SPIs up to here are reserved (RFC 4303 section 2.1).
const RESERVED: u32 = 255;

/// A word taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot(u64);

impl Slot {
    const AH: u64 = 1 << 31;
    const LONGER: u64 = 1 << 30;
    const LIVE: u64 = 1 << 29;

    #[inline(always)]
    fn pattern(ipsec: Ipsec, spi: u32) -> u64 {
        u64::from(spi) << 32 | if ipsec == Ipsec::Ah { Self::AH } else { 0 }
    }

    /// The slot of an SA, or with an even generation that of a larval one.
    fn new(ipsec: Ipsec, spi: u32, generation: u32, longer: bool) -> Self {
        let longer = if longer { Self::LONGER } else { 0 };
        let live = if generation & 1 == 1 { Self::LIVE } else { 0 };
        Self(Self::pattern(ipsec, spi) | longer | live | u64::from((generation & GENERATION) >> 1))
    }

    pub(super) fn is_live(self) -> bool {
        self.0 & Self::LIVE != 0
    }

    pub(super) fn has_longer(self) -> bool {
        self.0 & Self::LONGER != 0
    }
}

/// The slots, as readers see them.
#[derive(Clone, Copy)]
pub(super) struct Direct<'m> {
    words: &'m [Word],
    /// Slots whose number is the index of their SA: those of the first segment.
    near: &'m [Word],
    /// Low bits of an SPI that name a slot; the same for the gateway's life.
    mask: u32,
}

impl<'m> Direct<'m> {
    pub(super) const EMPTY: Self = Self { words: &[], near: &[], mask: 0 };

    pub(super) fn new(words: &'m [Word], bits: u32, near: u32) -> Self {
        let near = words.get(..near as usize).unwrap_or(words);
        Self { words, near, mask: (1 << bits) - 1 }
    }

    /// Low bits that name a slot where there are to be so many of them. Three bits are left to grow
    /// into, up to 2^22 slots.
    pub(super) fn bits_for(slots: u64) -> u32 {
        let needed = slots.max(1).next_power_of_two().trailing_zeros();
        (needed + 3).min(SLOT_BITS).max(needed)
    }

    pub(super) fn bits(&self) -> u32 {
        self.mask.trailing_ones()
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    /// True if the gateway grew and has slots in later segments.
    #[inline(always)]
    pub(super) fn has_far(&self) -> bool {
        self.near.len() != self.words.len()
    }

    /// True if an SPI's slot, if it has one, is not in the first segment.
    pub(super) fn is_far(&self, spi: u32) -> bool {
        self.number(spi) as usize >= self.near.len()
    }

    #[inline(always)]
    pub(super) fn number(&self, spi: u32) -> u32 {
        spi & self.mask
    }

    #[inline(always)]
    pub(super) fn prefetch(&self, spi: u32) {
        if let Some(word) = self.words.get(self.number(spi) as usize) {
            crate::prefetch::read(word);
        }
    }

    /// The SA of an SPI that no longer key shares, if it lies in the first segment. One load, one
    /// compare.
    #[inline(always)]
    pub(super) fn find_near(&self, ipsec: Ipsec, spi: u32, probe: &mut impl Probe) -> Option<SaId> {
        let number = self.number(spi);
        let word = self.near.get(number as usize)?.load();
        probe.line();
        // What is left if all else is as it must be: half the generation.
        let half = word ^ (Slot::pattern(ipsec, spi) | Slot::LIVE);
        let generation = (half as u32) << 1 | 1;
        (half >> 29 == 0).then_some(SaId::from_raw(number, generation))
    }

    /// [`Direct::find_near`] without a branch, for SPIs of which some are here and some are not;
    /// [`SaId::NONE`] for those.
    #[inline(always)]
    pub(super) fn find_near_or_none(&self, ipsec: Ipsec, spi: u32) -> SaId {
        let number = self.number(spi);
        // SPIs beyond are compared with slot 0, which holds none of them.
        let inside = (number as usize) < self.near.len();
        let at = select_unpredictable(inside, number, 0);
        let Some(word) = self.near.get(at as usize) else { return SaId::NONE };
        let half = word.load() ^ (Slot::pattern(ipsec, spi) | Slot::LIVE);
        let generation = (half as u32) << 1 | 1;
        select_unpredictable(half >> 29 == 0, SaId::from_raw(number, generation), SaId::NONE)
    }

    /// The slot of an SPI, if that is in use or reserved.
    #[inline(always)]
    pub(super) fn find(&self, ipsec: Ipsec, spi: u32, probe: &mut impl Probe) -> Option<Slot> {
        let word = self.words.get(self.number(spi) as usize)?.load();
        probe.line();
        // An empty word is SPI 0, which nobody has.
        let fits = (word ^ Slot::pattern(ipsec, spi)) >> 31 == 0 && word != 0;
        fits.then_some(Slot(word))
    }

    /// Writer: the slot holds this SPI: reserved if the generation is even, else an SA's.
    pub(super) fn set(&self, ipsec: Ipsec, spi: u32, generation: u32, longer: bool) {
        self.store(self.number(spi), Slot::new(ipsec, spi, generation, longer));
    }

    /// Writer: whether longer keys share the SPI of a slot in use.
    pub(super) fn set_longer(&self, ipsec: Ipsec, spi: u32, longer: bool) {
        if let Some(slot) = self.find(ipsec, spi, &mut ()) {
            let longer = if longer { Slot::LONGER } else { 0 };
            self.store(self.number(spi), Slot(slot.0 & !Slot::LONGER | longer));
        }
    }

    /// Writer: empties a slot.
    pub(super) fn clear(&self, number: u32) {
        self.store(number, Slot(0));
    }

    /// Writer: the same words in a larger table.
    pub(super) fn copy_from(&self, other: &Direct<'_>) {
        for (to, from) in self.words.iter().zip(other.words) {
            to.store(from.load(), 0);
        }
    }

    fn store(&self, number: u32, slot: Slot) {
        if let Some(word) = self.words.get(number as usize) {
            word.store(slot.0, 0);
        }
    }
}

/// Chooses the high bits of SPIs.
pub(super) struct Allocator {
    random: Random,
}

/// SPIs tried for one slot before another one has to be taken: so many can be in use by longer keys
/// or by SAs whose SPIs others chose.
const TRIES: u32 = 64;

impl Allocator {
    /// The SPIs follow from 128 bits that peers do not know; no SPI says anything of the next.
    pub(super) fn new(seed: [u64; 2]) -> Self {
        Self { random: Random::new(seed, Purpose::Spi) }
    }

    /// An SPI for a slot: not reserved, and not one that `taken` says others have.
    pub(super) fn choose(
        &mut self,
        direct: &Direct<'_>,
        number: u32,
        taken: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        (0..TRIES).find_map(|_| {
            let high = self.random.next()? as u32;
            let spi = high & !direct.mask | number & direct.mask;
            (spi > RESERVED && !taken(spi)).then_some(spi)
        })
    }
}

/// Slots that threads share, for models: SPIs of ESP.
#[cfg(loom)]
pub struct Shared {
    words: alloc::boxed::Box<[Word]>,
    bits: u32,
}

#[cfg(loom)]
impl Shared {
    /// So many empty slots, to a power of two.
    pub fn new(bits: u32) -> Self {
        Self { words: (0..1 << bits).map(|_| Word::empty()).collect(), bits }
    }

    fn direct(&self) -> Direct<'_> {
        Direct::new(&self.words, self.bits, 1 << self.bits)
    }

    /// Reader: the SA of an SPI.
    pub fn find(&self, spi: u32) -> Option<SaId> {
        self.direct().find_near(Ipsec::Esp, spi, &mut ())
    }

    /// Reader: true if an SPI is reserved, false if an SA lives under it.
    pub fn is_larval(&self, spi: u32) -> Option<bool> {
        self.direct().find(Ipsec::Esp, spi, &mut ()).map(|slot| !slot.is_live())
    }

    /// Writer: the slot of an SPI has this SPI and generation.
    pub fn set(&self, spi: u32, generation: u32) {
        self.direct().set(Ipsec::Esp, spi, generation, false);
    }

    /// Writer: the slot of an SPI is empty.
    pub fn clear(&self, spi: u32) {
        self.direct().clear(self.direct().number(spi));
    }
}
