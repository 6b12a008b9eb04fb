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
    /// Keys may be longer than an SPI.
    longer: bool,
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

/// Of a burst of SPIs: bits for those that have longer keys, and for those that nobody has.
#[derive(Clone, Copy)]
struct Roots {
    longer: u32,
    missing: u32,
}

/// A packet whose SPI has longer keys.
struct Longer<'o> {
    outer: &'o OuterHeaders,
    kind: Kind,
    nth: usize,
    hash: Hash,
    /// What its word has in common with others of its tag; then the word found, or an empty one.
    word: Record,
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
        longer: false,
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
        let (large, longer) = (octets > LARGE, segments.has_longer_keys());
        Self { direct, table, segments, recent, keys, large, many, longer }
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

    /// The SAs of up to 32 packets, ESP only: [`SaId::NONE`] and a bit in the result for those that have
    /// to be asked for with [`Sad::lookup`], such as AH. `outer` gives the headers of the nth packet.
    ///
    /// # Bound
    /// As for one packet, for each. Lines of large tables are fetched ahead.
    #[inline]
    pub(crate) fn find_packets<'o>(
        &self,
        count: usize,
        outer: impl Fn(usize) -> Option<&'o OuterHeaders>,
        sas: &mut [SaId],
    ) -> u32 {
        let mut spis = [Spi(0); AHEAD];
        for (i, spi) in spis.iter_mut().enumerate().take(count) {
            // Nobody has SPI 0.
            if let Some(outer) = outer(i).filter(|outer| outer.is_esp()) {
                *spi = outer.spi;
            }
        }
        let spis = spis.get(..count).unwrap_or(&[]);
        if !self.longer {
            return self.find_burst(Ipsec::Esp, spis, sas) as u32;
        }
        let roots = match self.direct.len() {
            0 => self.find_roots::<false>(Ipsec::Esp, spis, sas),
            _ => self.find_roots::<true>(Ipsec::Esp, spis, sas),
        };
        let rest = self.find_heads(roots.longer, &outer, sas);
        if rest == 0 { roots.missing } else { roots.missing | self.find_longer(rest, outer, sas) }
    }

    /// [`Sad::find_burst`] of up to 32 SPIs of which some may have longer keys: the answers for those
    /// are their roots.
    #[inline(never)]
    fn find_roots<const DIRECT: bool>(
        &self,
        ipsec: Ipsec,
        spis: &[Spi],
        sas: &mut [SaId],
    ) -> Roots {
        let mut waiting = u32::MAX;
        if DIRECT {
            for spi in spis.iter().filter(|_| self.large) {
                self.direct.prefetch(spi.0);
            }
            waiting = self.find_all_direct(ipsec, spis, sas);
        }
        let mut roots = Roots { longer: 0, missing: 0 };
        let mut look = |i: usize, spi: &Spi, hash: &Hash, sa: &mut SaId| {
            if waiting & 1 << (i % AHEAD) == 0 {
                return;
            }
            let root = match self.table.root_in_first(hash, Record::root(ipsec, spi.0)) {
                Some(root) if self.confirmed(root.sa(spi.0)).is_some() => root,
                _ => self.find_hidden_root(ipsec, spi.0),
            };
            *sa = SaId::from_raw(root.0);
            let flags = root.flags();
            // No branches: which kind of key a packet has is not to be foreseen.
            roots.longer |= u32::from(flags & !Record::HAS_SA != 0) << (i % AHEAD);
            roots.missing |= u32::from(flags == 0) << (i % AHEAD);
        };
        if !self.large {
            for (i, (spi, sa)) in spis.iter().zip(sas).enumerate() {
                look(i, spi, &self.keys.root(ipsec, spi.0), sa);
            }
            return roots;
        }
        let mut hashes = [Hash::default(); AHEAD];
        for (hash, spi) in hashes.iter_mut().zip(spis) {
            *hash = self.keys.root(ipsec, spi.0);
            self.table.prefetch(hash);
        }
        for (i, ((spi, hash), sa)) in spis.iter().zip(&hashes).zip(sas).enumerate() {
            look(i, spi, hash, sa);
        }
        roots
    }

    /// The SAs of packets whose SPI has longer keys, if the root leads to them: of those whose bit is set,
    /// and whose root stands in for the answer. Leaves the bits of the others.
    #[inline(always)]
    fn find_heads<'o>(
        &self,
        longer: u32,
        outer: impl Fn(usize) -> Option<&'o OuterHeaders>,
        sas: &mut [SaId],
    ) -> u32 {
        let places = Places::<true>::new(longer, AHEAD);
        if self.large {
            for root in places.filter_map(|nth| sas.get(nth)) {
                if let Some(key) = self.segments.key(root.index()) {
                    crate::prefetch::read(key);
                }
            }
        }
        let mut rest = longer;
        for nth in places {
            let (Some(outer), Some(sa)) = (outer(nth), sas.get_mut(nth)) else { break };
            let root = Record(sa.to_raw());
            if self.leads_to(root, outer) {
                *sa = root.sa(outer.spi.0);
                rest &= !(1 << (nth % AHEAD));
            }
        }
        rest
    }

    /// True if the SA whose index a root has is the one with the longest key that fits a packet: nearly
    /// always, where few SAs share an SPI.
    #[inline(always)]
    fn leads_to(&self, root: Record, outer: &OuterHeaders) -> bool {
        let longest = longest(root);
        self.segments.key(root.index()).is_some_and(|key| key.is_longer_of(outer, longest))
    }

    #[cold]
    fn find_hidden_root(&self, ipsec: Ipsec, spi: u32) -> Record {
        self.find_root(ipsec, spi, &mut ()).map_or(Record::EMPTY, |(_, root)| root.without_filter())
    }

    /// [`Sad::find_heads`] for the others, by their longest keys; a bit in the result for those that have
    /// no SA.
    #[cold]
    fn find_longer<'o>(
        &self,
        longer: u32,
        outer: impl Fn(usize) -> Option<&'o OuterHeaders>,
        sas: &mut [SaId],
    ) -> u32 {
        let mut all: heapless::Vec<Longer<'o>, AHEAD> = heapless::Vec::new();
        for nth in Places::<true>::new(longer, AHEAD) {
            let (Some(outer), Some(root)) = (outer(nth), sas.get(nth)) else { break };
            let kind = longest(Record(root.to_raw()));
            let (hash, tag) = self.keys.long(&Parts::long(kind, outer));
            if self.large {
                self.table.prefetch(&hash);
            }
            let word = Record::long(Ipsec::Esp, tag);
            if all.push(Longer { outer, kind, nth, hash, word }).is_err() {
                break;
            }
        }
        for one in &mut all {
            one.word = self.table.long_in_first(&one.hash, one.word);
            if self.large
                && let Some(key) = self.segments.key(one.word.index())
            {
                crate::prefetch::read(key);
            }
        }
        let mut missing = 0;
        for Longer { outer, kind, nth, word, .. } in &all {
            let Some(sa) = sas.get_mut(*nth) else { break };
            let key = self.segments.key(word.index());
            *sa = match key.filter(|key| key.is(&Parts::long(*kind, outer))) {
                Some(_) if !word.is_empty() => word.sa(outer.spi.0),
                // In its second bucket, or there is only a shorter key.
                _ => self.find_rest(outer),
            };
            missing |= u32::from(*sa == SaId::NONE) << (nth % AHEAD);
        }
        missing
    }

    /// The SA of one packet; [`SaId::NONE`] if there is none.
    pub(crate) fn find_packet(&self, outer: &OuterHeaders) -> SaId {
        let plain = self.find_plain::<true>(outer.ipsec, outer.spi.0, &mut ());
        plain.unwrap_or_else(|| self.find_rest(outer))
    }

    #[cold]
    fn find_rest(&self, outer: &OuterHeaders) -> SaId {
        match self.find(outer, &mut ()) {
            Found::Sa(sa) => sa,
            Found::Nothing { .. } | Found::Larval => SaId::NONE,
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
        if root.flags() & !Record::HAS_SA != 0 && self.leads_to(root, outer) {
            return Found::Sa(root.sa(spi));
        }
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
        let (hash, tag) = self.keys.long(parts);
        let accept =
            |record: Record| self.segments.key(record.index()).is_some_and(|key| key.is(parts));
        self.table.find::<true>(&hash, Record::long(parts.ipsec, tag), accept, probe)
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
        let scope = match parts.kind {
            Kind::Root => Scope::Spi,
            Kind::Destination => Scope::Destination(parts.endpoints.dst()),
            Kind::DestinationSource => Scope::DestinationSource(parts.endpoints),
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

/// The longest kind of key that a root speaks of.
#[inline(always)]
fn longest(root: Record) -> Kind {
    match root.has(Record::HAS_DESTINATION_SOURCE) {
        true => Kind::DestinationSource,
        false => Kind::Destination,
    }
}

/// The root flag that says that a key of this kind exists.
fn flag(kind: Kind) -> u64 {
    match kind {
        Kind::Root => Record::HAS_SA,
        Kind::Destination => Record::HAS_DESTINATION,
        Kind::DestinationSource => Record::HAS_DESTINATION_SOURCE,
    }
}
