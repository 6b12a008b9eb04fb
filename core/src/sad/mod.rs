//! The Security Association Database: SPI (and addresses) to SA (RFC 4301 sections 4.1, 4.4.2).
//!
//! Owns the SPI table, the SA entries and the memory of SAs deleted a while ago. Knows nothing of
//! selectors or modes: an entry only says which tunnel and Child SA it belongs to.
//!
//! ```text
//! SPI ─hash─▶ root word ─┬─ has SA ───────────────────────▶ entry        SPI
//!                        ├─ has destination ─hash(dst)────▶ word ▶ entry  SPI + destination
//!                        └─ has destination+source ─hash──▶ word ▶ entry  SPI + destination + source
//! ```
//!
//! SPIs that this gateway chose lie in direct slots: one load, one compare. Others have one
//! root word for each SPI in use, so that one look says which longer keys to try and whether an SPI
//! is known at another destination. Longest match wins.
//!
//! # Bound
//! Cache lines of the table read by a lookup, hit or miss, at any load, for any keys: 1 for a direct
//! slot; 2 for SPIs that others chose; 3 where the gateway has direct slots too (the slot, then the
//! buckets). 2 more where there are longer keys of one type with the SPI, 4 more where there are both.
//! Beside them, for a longer key, the key of the SA of each word in its two buckets whose 32-bit tag
//! is equal (16 at most; more than one by chance of 2^-28).
//!
//! The answer is that of one moment during the call: of the load of the word. An SA that is deleted
//! after it is found out when its handle is used. Growing does not add to this: the writer fills a
//! larger table and publishes it with one store.
//!
//! Invariants:
//! - I1: each SPI and protocol in use has one direct slot, or one root word, or both if longer keys
//!   share the SPI of a direct slot: then the slot says so. The root's flags say which keys exist.
//! - I2: the entries of a root are chained; the root's index is the chain's head, and the SA found
//!   by SPI alone, if there is one, is the head.
//! - I3: an entry whose SA was deleted is filled again only after its epoch has passed.

mod direct;
mod entry;
mod group;
mod id;
mod key;
pub mod lifetime;
mod recent;
pub mod replay;
mod segment;
mod table;
#[cfg(test)]
mod tests;
mod writer;

pub use entry::{Replay, ReplayStart, SaMode};
pub use id::SaId;
pub use key::{SaKey, Scope};
pub use lifetime::{Lifetime, Limit, LimitKind};
pub use table::Probe;

pub(crate) use entry::{SaFields, SaRef, SaStart};
pub(crate) use lifetime::Outcome;
pub(crate) use segment::Segments;
pub(crate) use writer::SadWriter;

use core::marker::PhantomData;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

use crate::headers::{Ipsec, OuterHeaders, Spi};
use crate::verdict::SpiClass;
use direct::Direct;
use key::{Hash, HashKeys, Kind, Parts};
use recent::{Mark, Recent};
use table::{First, Place, Record, Table};

/// The readers' view of the SAD. Made anew when it grows; then both lead to the same SAs.
// What a lookup by SPI needs comes first, in two cache lines.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Sad<'m> {
    direct: Direct<'m>,
    table: Table<'m>,
    keys: HashKeys,
    pub(crate) segments: Segments<'m>,
    recent: Recent<'m>,
    /// The table hardly stays in the second-level cache: fetch lines ahead.
    large: bool,
    many: bool,
}

/// Kinds of longer keys, the longest first, and what a root says of them.
const LONG_KINDS: [(Kind, u64); 2] = [
    (Kind::DestinationSource, Record::HAS_DESTINATION_SOURCE),
    (Kind::Destination, Record::HAS_DESTINATION),
];

/// Octets of tables above which lines are fetched ahead.
const LARGE: usize = 1 << 20;

/// Packets whose lines are fetched at once.
const AHEAD: usize = 32;

/// Places in a burst of up to 32: the first `count`, or of those the ones whose bit is set.
#[derive(Clone, Copy)]
struct Places<const SOME: bool> {
    bits: u32,
    next: usize,
    count: usize,
}

impl<const SOME: bool> Places<SOME> {
    fn new(bits: u32, count: usize) -> Self {
        Self { bits, next: 0, count }
    }
}

impl<const SOME: bool> Iterator for Places<SOME> {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let next = if SOME { self.bits.trailing_zeros() as usize } else { self.next };
        self.bits &= self.bits.wrapping_sub(1);
        self.next += 1;
        (next < self.count).then_some(next)
    }
}

/// What one look at the table found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    /// An SA; its entry stays as it is until the caller's next quiescent state.
    Sa(SaId),
    /// No key fits; `spi_in_use` if others have the SPI.
    Nothing { spi_in_use: bool },
    /// The SPI is reserved.
    Larval,
}

impl<'m> Sad<'m> {
    /// Stands in while sizes are measured.
    const MEASURING: Self = Self {
        direct: Direct::EMPTY,
        table: Table::EMPTY,
        segments: Segments::NONE,
        recent: Recent::EMPTY,
        keys: HashKeys::ZERO,
        large: false,
        many: false,
    };

    fn new(
        direct: Direct<'m>,
        table: Table<'m>,
        segments: Segments<'m>,
        recent: Recent<'m>,
        keys: HashKeys,
    ) -> Self {
        let octets =
            table.len() * size_of::<table::Bucket>() + direct.len() * size_of::<table::Word>();
        let many = segments.slots() as usize * size_of::<entry::Entry>() > LARGE;
        Self { direct, table, segments, recent, keys, large: octets > LARGE, many }
    }

    /// The SA that a packet's SPI and addresses name, or what is known of its SPI.
    #[inline]
    pub(crate) fn lookup(&self, outer: &OuterHeaders, now_ms: u64) -> Result<SaId, SpiClass> {
        match self.find_plain::<true>(outer.ipsec, outer.spi.0, &mut ()) {
            Some(sa) => Ok(sa),
            None => self.lookup_rest(outer, now_ms),
        }
    }

    /// [`Sad::lookup`] once it is known that no SA is found by the SPI alone, without more ado.
    #[cold]
    pub(crate) fn lookup_rest(&self, outer: &OuterHeaders, now_ms: u64) -> Result<SaId, SpiClass> {
        match self.find(outer, &mut ()) {
            Found::Sa(sa) => Ok(sa),
            Found::Larval => Err(SpiClass::Larval),
            Found::Nothing { spi_in_use } => Err(self.miss(outer, spi_in_use, now_ms)),
        }
    }

    /// The SA found by an SPI alone that no longer key shares. `None`: ask [`Sad::lookup`].
    #[inline(always)]
    fn find_plain<const DIRECT: bool>(
        &self,
        ipsec: Ipsec,
        spi: u32,
        probe: &mut impl Probe,
    ) -> Option<SaId> {
        if DIRECT && let Some(sa) = self.find_direct(ipsec, spi, probe) {
            return Some(sa);
        }
        let hash = self.keys.root(ipsec, spi);
        match self.table.find_first(&hash, Record::plain(ipsec, spi), probe) {
            First::Sa(sa) => self.confirmed(sa),
            First::Nothing => None,
            First::Elsewhere => self.find_second(&hash, ipsec, spi, probe),
        }
    }

    /// [`Sad::find_plain`] where the first look at the first bucket did not tell.
    #[cold]
    #[inline(never)]
    fn find_second(
        &self,
        hash: &Hash,
        ipsec: Ipsec,
        spi: u32,
        probe: &mut impl Probe,
    ) -> Option<SaId> {
        let found = self.table.find_second(hash, Record::plain(ipsec, spi), probe);
        let found = found.and_then(|sa| self.confirmed(sa));
        found.or_else(|| {
            // Words that share the SPI's bits, of the other protocol or of longer keys, hide it.
            let (_, root) = self.find_root(ipsec, spi, &mut ())?;
            (root.flags() == Record::HAS_SA).then_some(root.sa(spi))
        })
    }

    #[inline(always)]
    fn find_direct(&self, ipsec: Ipsec, spi: u32, probe: &mut impl Probe) -> Option<SaId> {
        self.direct.find_plain(ipsec, spi, probe).and_then(|sa| self.confirmed(sa))
    }

    /// The root word of an SPI.
    fn find_root(&self, ipsec: Ipsec, spi: u32, probe: &mut impl Probe) -> Option<(Place, Record)> {
        let accept = |record: Record| self.confirmed(record.sa(spi)).is_some();
        let root = Record::root(ipsec, spi);
        self.table.find::<false>(&self.keys.root(ipsec, spi), root, accept, probe)
    }

    /// Without 64-bit atomics a word may pair an SPI with another's SA: ask the SA.
    #[inline(always)]
    fn confirmed(&self, sa: SaId) -> Option<SaId> {
        let certain = cfg!(target_has_atomic = "64")
            || self.entry(sa).is_some_and(|entry| entry.spi() == sa.spi().0);
        certain.then_some(sa)
    }

    /// The handle of the SA at an index, if one lives there.
    pub(crate) fn live_at(&self, index: u32) -> Option<SaId> {
        self.segments.entry(index)?.alive()
    }

    /// The SA found by an SPI alone that no longer key shares.
    #[inline(always)]
    pub(crate) fn find_spi(&self, ipsec: Ipsec, spi: u32) -> Option<SaId> {
        self.find_plain::<true>(ipsec, spi, &mut ())
    }

    /// True if the entries of all SAs hardly stay in the second-level cache.
    #[inline]
    pub(crate) fn has_many(&self) -> bool {
        self.many
    }

    /// The SAs of up to 64 SPIs alone; [`SaId::NONE`] and a bit in the result for those that have to
    /// be asked for with [`Sad::lookup`]: misses, and SPIs with longer keys.
    ///
    /// # Bound
    /// As for one packet, for each. Lines of large tables are fetched ahead, 32 packets at once.
    // Calls, not inlined: their borrow of `self` lets the compiler keep in registers where the tables
    // lie.
    #[inline]
    pub(crate) fn find_burst(&self, ipsec: Ipsec, spis: &[Spi], sas: &mut [SaId]) -> u64 {
        let mut missing = 0;
        for (nth, (spis, sas)) in spis.chunks(AHEAD).zip(sas.chunks_mut(AHEAD)).enumerate() {
            let not_found = match (self.direct.len() == 0, self.large) {
                (true, false) => self.find_near::<false>(ipsec, spis, sas),
                (false, false) => self.find_near::<true>(ipsec, spis, sas),
                (true, true) => self.find_ahead::<false>(ipsec, spis, sas),
                (false, true) => self.find_ahead::<true>(ipsec, spis, sas),
            };
            missing |= u64::from(not_found) << (nth * AHEAD % 64);
        }
        missing
    }

    /// [`Sad::find_burst`] of up to 32 packets in tables that the cache holds.
    #[inline(never)]
    fn find_near<const DIRECT: bool>(&self, ipsec: Ipsec, spis: &[Spi], sas: &mut [SaId]) -> u32 {
        let mut missing = 0;
        let mut find = |i: usize, spi: &Spi, sa: &mut SaId| match self.find_plain::<false>(
            ipsec,
            spi.0,
            &mut (),
        ) {
            Some(found) => *sa = found,
            None => {
                missing |= 1 << (i % AHEAD);
                *sa = SaId::NONE;
            }
        };
        if DIRECT {
            let waiting = self.find_all_direct(ipsec, spis, sas);
            for i in Places::<true>::new(waiting, spis.len().min(sas.len())) {
                let (Some(spi), Some(sa)) = (spis.get(i), sas.get_mut(i)) else { break };
                find(i, spi, sa);
            }
        } else {
            spis.iter().zip(sas).enumerate().for_each(|(i, (spi, sa))| find(i, spi, sa));
        }
        missing
    }

    /// Looks up to 32 SPIs up in the direct slots; a bit for each that is not there.
    #[inline(always)]
    fn find_all_direct(&self, ipsec: Ipsec, spis: &[Spi], sas: &mut [SaId]) -> u32 {
        let mut waiting = 0;
        if self.table.is_empty() || !cfg!(target_has_atomic = "64") {
            // Nearly all are found: branches that are foreseen.
            for (i, (spi, sa)) in spis.iter().zip(&mut *sas).enumerate() {
                match self.find_direct(ipsec, spi.0, &mut ()) {
                    Some(found) => *sa = found,
                    None => waiting |= 1 << (i % AHEAD),
                }
            }
        } else {
            for (i, (spi, sa)) in spis.iter().zip(&mut *sas).enumerate() {
                *sa = self.direct.find_plain_or_none(ipsec, spi.0);
                waiting |= u32::from(*sa == SaId::NONE) << (i % AHEAD);
            }
        }
        waiting
    }

    /// [`Sad::find_burst`] of up to 32 packets in large tables: passes that each fetch what the next one
    /// reads.
    #[inline(never)]
    fn find_ahead<const DIRECT: bool>(&self, ipsec: Ipsec, spis: &[Spi], sas: &mut [SaId]) -> u32 {
        let mut waiting = u32::MAX;
        if DIRECT {
            for spi in spis {
                self.direct.prefetch(spi.0);
            }
            waiting = self.find_all_direct(ipsec, spis, sas);
        }
        let places = Places::<DIRECT>::new(waiting, spis.len().min(sas.len()));
        let mut hashes = [Hash::default(); AHEAD];
        for i in places {
            let (Some(spi), Some(hash)) = (spis.get(i), hashes.get_mut(i)) else { break };
            *hash = self.keys.root(ipsec, spi.0);
            self.table.prefetch(hash);
        }
        // Bits of those that the second bucket may have, and of those that nobody has.
        let (mut elsewhere, mut missing) = (0_u32, 0_u32);
        for i in places {
            let (Some(spi), Some(hash)) = (spis.get(i), hashes.get(i)) else { break };
            let Some(sa) = sas.get_mut(i) else { break };
            let found = match self.table.find_first(hash, Record::plain(ipsec, spi.0), &mut ()) {
                First::Sa(sa) => self.confirmed(sa),
                First::Nothing => None,
                First::Elsewhere => {
                    elsewhere |= 1 << (i % AHEAD);
                    self.table.prefetch_second(hash);
                    continue;
                }
            };
            *sa = found.unwrap_or(SaId::NONE);
            missing |= u32::from(found.is_none()) << (i % AHEAD);
        }
        for i in Places::<true>::new(elsewhere, AHEAD) {
            let (Some(spi), Some(hash)) = (spis.get(i), hashes.get(i)) else { break };
            let Some(sa) = sas.get_mut(i) else { break };
            let found = self.find_second(hash, ipsec, spi.0, &mut ());
            *sa = found.unwrap_or(SaId::NONE);
            missing |= u32::from(found.is_none()) << (i % AHEAD);
        }
        missing
    }

    /// Brings closer what [`Sad::lookup_rest`] will read for a packet whose SPI has longer keys: in
    /// stage 0 their buckets, in stage 1 the SAs of the words that fit.
    pub(crate) fn warm<const STAGE: u8>(&self, outer: &OuterHeaders) {
        let Some((_, root)) = self.find_root(outer.ipsec, outer.spi.0, &mut ()) else { return };
        for (kind, flag) in LONG_KINDS {
            if !root.has(flag) {
                continue;
            }
            let parts = Parts::long(kind, outer);
            let hash = self.keys.hash(&parts);
            if STAGE == 0 {
                self.table.prefetch(&hash);
            } else if let Some((_, found)) =
                self.table.find::<true>(&hash, long_record(&self.keys, &parts), |_| true, &mut ())
                && let Some(sa) = self.segments.sa(found.index())
            {
                sa.prefetch();
                break;
            }
        }
    }

    /// All that the table says of a packet.
    fn find(&self, outer: &OuterHeaders, probe: &mut impl Probe) -> Found {
        let (ipsec, spi) = (outer.ipsec, outer.spi.0);
        let direct = self.direct.find(ipsec, spi, probe);
        let direct = direct.filter(|slot| !slot.is_live() || self.confirmed(slot.sa()).is_some());
        if let Some(slot) = direct.filter(|slot| !slot.has_longer()) {
            if !slot.is_live() {
                return Found::Larval;
            }
            return Found::Sa(slot.sa());
        }
        let root = self.find_root(ipsec, spi, probe).map_or(Record::EMPTY, |(_, root)| root);
        for (kind, flag) in LONG_KINDS {
            if !root.has(flag) {
                continue;
            }
            if let Some((_, found)) = self.find_long(&Parts::long(kind, outer), probe) {
                return Found::Sa(found.sa(spi));
            }
        }
        if let Some(slot) = direct {
            return if slot.is_live() { Found::Sa(slot.sa()) } else { Found::Larval };
        }
        if root.has(Record::HAS_SA) {
            return Found::Sa(root.sa(spi));
        }
        Found::Nothing { spi_in_use: !root.is_empty() }
    }

    fn find_long(&self, parts: &Parts, probe: &mut impl Probe) -> Option<(Place, Record)> {
        let pattern = long_record(&self.keys, parts);
        let accept = |record: Record| {
            self.segments.sa(record.index()).is_some_and(|sa| sa.parts() == *parts)
        };
        self.table.find::<true>(&self.keys.hash(parts), pattern, accept, probe)
    }

    /// What is known of an SPI that no SA answers to. Reads at most three cache lines.
    fn miss(&self, outer: &OuterHeaders, spi_in_use: bool, now_ms: u64) -> SpiClass {
        let keys = [
            Parts::root(outer.ipsec, outer.spi),
            Parts::long(Kind::Destination, outer),
            Parts::long(Kind::DestinationSource, outer),
        ];
        let ago =
            keys.iter().filter_map(|parts| self.recent.ago_ms(Mark::of(&self.keys, parts), now_ms));
        match (ago.min(), spi_in_use) {
            (Some(ago_ms), _) => SpiClass::RecentlyDeleted { ago_ms },
            (None, true) => SpiClass::OtherDestination,
            (None, false) => SpiClass::NeverSeen,
        }
    }

    /// What is known of the SPI of a packet whose SA was deleted while it was decrypted.
    #[cold]
    pub(crate) fn class_of(&self, outer: &OuterHeaders, now_ms: u64) -> SpiClass {
        match self.find(outer, &mut ()) {
            // The key answers again, to a younger SA.
            Found::Sa(_) => SpiClass::RecentlyDeleted { ago_ms: 0 },
            Found::Larval => SpiClass::Larval,
            Found::Nothing { spi_in_use } => self.miss(outer, spi_in_use, now_ms),
        }
    }

    /// The entry at a handle's index, whatever its generation.
    #[inline(always)]
    pub(crate) fn entry(&self, id: SaId) -> Option<&'m entry::Entry> {
        self.segments.entry(id.index())
    }

    /// The SPI, protocol and outer addresses of a live SA's key.
    pub(crate) fn key_of(&self, id: SaId) -> Option<SaKey> {
        self.entry(id)?.get(id)?;
        let parts = self.segments.sa(id.index())?.parts();
        let endpoints = parts.addresses.endpoints();
        let scope = match parts.kind {
            Kind::Root => Scope::Spi,
            Kind::Destination => Scope::Destination(endpoints.dst()),
            Kind::DestinationSource => Scope::DestinationSource(endpoints),
        };
        Some(SaKey { ipsec: parts.ipsec, spi: Spi(parts.spi), scope })
    }

    /// The hash of a word in the table.
    fn hash_of(&self, record: Record) -> Hash {
        if record.is_long() {
            let parts = self.segments.sa(record.index()).map(|sa| sa.parts());
            return parts.map_or_else(Hash::default, |parts| self.keys.hash(&parts));
        }
        self.keys.root(record.ipsec(), record.high())
    }
}

/// The view that is in force. Views are never taken back: all of them live as long as the gateway.
#[repr(transparent)]
pub(crate) struct Newest<'m> {
    at: AtomicPtr<()>,
    view: PhantomData<&'m Sad<'m>>,
}

// SAFETY: a pointer in an atomic cell; null is no view yet.
#[allow(unsafe_code)]
unsafe impl bytemuck::Zeroable for Newest<'_> {}

impl<'m> Newest<'m> {
    pub(crate) const fn none() -> Self {
        Self { at: AtomicPtr::new(null_mut()), view: PhantomData }
    }

    /// The view in force. One load (acquire).
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(crate) fn get(&self) -> &'m Sad<'m> {
        let at = self.at.load(Ordering::Acquire).cast::<Sad<'m>>();
        // SAFETY: null, or a view that `set` was given: it lives as long as 'm.
        unsafe { at.as_ref() }.unwrap_or(&MEASURING)
    }

    /// Writer: readers see `view` from now on.
    ///
    /// # Safety
    /// `view` and what it points to live as long as the memory of this cell.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn set(&self, view: &Sad<'_>) {
        self.at.store(core::ptr::from_ref(view).cast_mut().cast(), Ordering::Release);
    }
}

/// Stands in while sizes are measured; nothing reads what is measured.
static MEASURING: Sad<'static> = Sad::MEASURING;

/// The word that a longer key fits.
fn long_record(keys: &HashKeys, parts: &Parts) -> Record {
    Record::long(parts.ipsec, keys.tag(parts))
}

/// The root flag that says that a key of this kind exists.
fn flag(kind: Kind) -> u64 {
    match kind {
        Kind::Root => Record::HAS_SA,
        Kind::Destination => Record::HAS_DESTINATION,
        Kind::DestinationSource => Record::HAS_DESTINATION_SOURCE,
    }
}
