//! Direct slots: the SPIs that this gateway chose itself.
//!
//! ```text
//! SPI   31              bits            0
//!       | unpredictable | number of slot |
//! ```
//!
//! The receiver chooses its SPIs (RFC 4303 section 2.1), so it can choose them such that the table
//! is perfect: the low bits are the number of a free slot, and looking one up is one load and one
//! compare. A slot holds the same word as a root in the buckets ([`id`](super::id)), one that is not live
//! is a reserved SPI whose SA is still being negotiated: larval.

use core::hint::select_unpredictable;

use super::SaId;
use super::entry::Entry;
use super::key::{Purpose, Random};
use super::table::Probe;
use super::word::{Record, Word};
use crate::headers::Ipsec;

/// Low bits of an SPI that name a slot, at most, unless more slots than that were asked for when
/// the gateway was made.
const SLOT_BITS: u32 = 22;

/// SPIs up to here are reserved (RFC 4303 section 2.1).
const RESERVED: u32 = 255;

/// Longer keys share the SPI of a slot.
const LONGER: u64 = Record::HAS_DESTINATION;

/// What a slot that is in use holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot(Record);

impl Slot {
    pub(super) fn is_live(self) -> bool {
        self.0.has(Record::HAS_SA)
    }

    pub(super) fn has_longer(self) -> bool {
        self.0.has(LONGER)
    }

    /// The SA of a live slot.
    pub(super) fn sa(self) -> SaId {
        self.0.sa(self.0.high())
    }
}

/// The slots, as readers see them.
#[derive(Clone, Copy)]
pub(super) struct Direct<'m> {
    words: &'m [Word],
    /// Low bits of an SPI that name a slot; the same for the gateway's life.
    mask: u32,
}

impl<'m> Direct<'m> {
    pub(super) const EMPTY: Self = Self { words: &[], mask: 0 };

    pub(super) fn new(words: &'m [Word], bits: u32) -> Self {
        Self { words, mask: (1 << bits) - 1 }
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

    /// The SA of an SPI that no longer key shares; where words are two halves `entry` has it. One load, one compare.
    #[inline(always)]
    pub(super) fn find_plain<'e>(
        &self,
        ipsec: Ipsec,
        spi: u32,
        entry: impl FnOnce(u32) -> Option<&'e Entry>,
        probe: &mut impl Probe,
    ) -> Option<SaId> {
        let word = self.words.get(self.number(spi) as usize)?;
        probe.line();
        word.said().plain_sa(Record::plain(ipsec, spi), entry)
    }

    /// [`Direct::find_plain`] without a branch, for SPIs of which some are here and some are not;
    /// [`SaId::NONE`] for those.
    #[inline(always)]
    pub(super) fn find_plain_or_none(&self, ipsec: Ipsec, spi: u32) -> SaId {
        let number = self.number(spi) as usize;
        // SPIs beyond are compared with slot 0, which holds none of them.
        let at = select_unpredictable(number < self.words.len(), number, 0);
        let Some(word) = self.words.get(at) else { return SaId::NONE };
        let word = word.load();
        let fits = (word ^ Record::plain(ipsec, spi).0) >> 28 == 0;
        // A slot has no filter bit.
        SaId::from_raw(select_unpredictable(fits, word, 0))
    }

    /// The slot of an SPI, if that is in use or reserved.
    #[inline(always)]
    pub(super) fn find(&self, ipsec: Ipsec, spi: u32, probe: &mut impl Probe) -> Option<Slot> {
        let word = self.words.get(self.number(spi) as usize)?.load();
        probe.line();
        // An empty word is SPI 0, which nobody has.
        let fits = (word ^ Record::root(ipsec, spi).0) >> 31 == 0 && word != 0;
        fits.then_some(Slot(Record(word)))
    }

    /// Writer: reserves the slot of an SPI.
    pub(super) fn reserve(&self, ipsec: Ipsec, spi: u32) {
        self.store(self.number(spi), Record::root(ipsec, spi));
    }

    /// Writer: the slot of an SPI leads to its SA.
    pub(super) fn activate(&self, sa: SaId, longer: bool) {
        let longer = if longer { LONGER } else { 0 };
        self.store(self.number(sa.spi().0), Record(sa.to_raw() | longer));
    }

    /// Writer: whether longer keys share the SPI of a slot in use.
    pub(super) fn set_longer(&self, ipsec: Ipsec, spi: u32, longer: bool) {
        if let Some(Slot(Record(word))) = self.find(ipsec, spi, &mut ()) {
            let longer = if longer { LONGER } else { 0 };
            self.store(self.number(spi), Record(word & !LONGER | longer));
        }
    }

    /// Writer: empties a slot.
    pub(super) fn clear(&self, number: u32) {
        self.store(number, Record::EMPTY);
    }

    /// Writer: the same words in a larger table.
    pub(super) fn copy_from(&self, other: &Direct<'_>) {
        for (to, from) in self.words.iter().zip(other.words) {
            to.store(from.load(), 0);
        }
    }

    fn store(&self, number: u32, record: Record) {
        if let Some(word) = self.words.get(number as usize) {
            word.store(record.0, 0);
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
        Direct::new(&self.words, self.bits)
    }

    /// Reader: the SA of an SPI.
    pub fn find(&self, spi: u32) -> Option<SaId> {
        self.direct().find_plain(Ipsec::Esp, spi, |_| None, &mut ())
    }

    /// Reader: true if an SPI is reserved, false if an SA lives under it.
    pub fn is_larval(&self, spi: u32) -> Option<bool> {
        self.direct().find(Ipsec::Esp, spi, &mut ()).map(|slot| !slot.is_live())
    }

    /// Writer: an SPI is reserved.
    pub fn reserve(&self, spi: u32) {
        self.direct().reserve(Ipsec::Esp, spi);
    }

    /// The handle of an SPI's SA with this generation.
    pub fn sa(&self, spi: u32, generation: u32) -> SaId {
        SaId::new(Ipsec::Esp, spi, generation, self.direct().number(spi))
    }

    /// Writer: an SPI's SA lives.
    pub fn activate(&self, sa: SaId) {
        self.direct().activate(sa, false);
    }

    /// Writer: the slot of an SPI is empty.
    pub fn clear(&self, spi: u32) {
        self.direct().clear(self.direct().number(spi));
    }
}
