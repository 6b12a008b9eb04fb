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

mod burst;
mod direct;
mod entry;
mod id;
mod key;
pub mod lifetime;
mod recent;
pub mod replay;
mod segment;
pub(crate) mod table;
#[cfg(test)]
mod tests;
pub(crate) mod word;
mod writer;

pub use entry::{Replay, ReplayStart, SaMode};
pub use id::SaId;
pub use key::{SaKey, Scope};
pub use lifetime::{Lifetime, Limit, LimitKind};
pub use table::Probe;

pub(crate) use burst::AHEAD;
pub(crate) use entry::{Entry, SaFields, SaRef, SaStart};
pub(crate) use lifetime::{Outcome, Used};
pub(crate) use segment::{First, Segments};
pub(crate) use writer::SadWriter;

use core::marker::PhantomData;
use core::sync::atomic::{AtomicPtr, Ordering};

use crate::headers::{Ipsec, OuterHeaders, Spi};
use crate::simd::{Backend, Base, COMPACT, Simd};
use crate::verdict::SpiClass;
use direct::Direct;
use key::{Hash, HashKeys, Kind, Parts};
use recent::{Mark, Recent};
use table::{First as InFirst, Place, Table};
use word::{Record, WHOLE_WORDS};

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
    backend: Backend,
}

/// Kinds of longer keys, the longest first, and what a root says of them.
const LONG_KINDS: [(Kind, u64); 2] = [
    (Kind::DestinationSource, Record::HAS_DESTINATION_SOURCE),
    (Kind::Destination, Record::HAS_DESTINATION),
];

/// Octets of tables above which lines are fetched ahead.
const LARGE: usize = 1 << 20;

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
    /// Finds nothing: where there is no table, or while sizes are measured.
    pub(crate) const NONE: &'static Sad<'static> = &Sad {
        direct: Direct::EMPTY,
        table: Table::EMPTY,
        segments: Segments::NONE,
        recent: Recent::EMPTY,
        keys: HashKeys::ZERO,
        large: false,
        many: false,
        longer: false,
        backend: Backend::BASE,
    };

    /// Another view than before: of these, under the same keys.
    fn lead_to(
        &mut self,
        direct: Direct<'m>,
        table: Table<'m>,
        segments: Segments<'m>,
        recent: Recent<'m>,
    ) {
        let octets =
            table.len() * size_of::<table::Bucket>() + direct.len() * size_of::<word::Word>();
        let many = segments.slots() as usize * size_of::<entry::Entry>() > LARGE;
        let (large, longer) = (octets > LARGE, segments.has_longer_keys());
        // Field by field: what is put together first takes stack.
        (self.direct, self.table, self.segments, self.recent) = (direct, table, segments, recent);
        (self.large, self.many, self.longer) = (large, many, longer);
        self.backend = Backend::detect();
    }

    /// The SA that a packet's SPI and addresses name, or what is known of its SPI.
    #[inline]
    pub(crate) fn lookup(&self, outer: &OuterHeaders, now_ms: u64) -> Result<SaId, SpiClass> {
        match self.find_plain::<Base, true>(outer.ipsec, outer.spi.0, &mut ()) {
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
    fn find_plain<G: Simd, const DIRECT: bool>(
        &self,
        ipsec: Ipsec,
        spi: u32,
        probe: &mut impl Probe,
    ) -> Option<SaId> {
        if DIRECT && let Some(sa) = self.look_direct(ipsec, spi, probe) {
            return Some(sa);
        }
        let hash = self.keys.root(ipsec, spi);
        match self.look_first::<G>(hash, ipsec, spi, probe) {
            InFirst::Sa(sa) => Some(sa),
            InFirst::Nothing => None,
            InFirst::Elsewhere => {
                G::leave();
                Some(self.find_second(hash, ipsec, spi, probe)).filter(|sa| *sa != SaId::NONE)
            }
        }
    }

    /// [`Sad::find_spi`], if the first look tells; [`SaId::NONE`] if there is none.
    #[inline(always)]
    pub(crate) fn look_spi(&self, ipsec: Ipsec, spi: u32) -> Option<SaId> {
        if let Some(sa) = self.look_direct(ipsec, spi, &mut ()) {
            return Some(sa);
        }
        match self.look_first::<Base>(self.keys.root(ipsec, spi), ipsec, spi, &mut ()) {
            InFirst::Sa(sa) => Some(sa),
            InFirst::Nothing => Some(SaId::NONE),
            InFirst::Elsewhere => None,
        }
    }

    /// The SA of a direct slot; of words of two halves one that the gateway was made with.
    #[inline(always)]
    fn look_direct(&self, ipsec: Ipsec, spi: u32, probe: &mut impl Probe) -> Option<SaId> {
        self.direct.find_plain(ipsec, spi, |index| self.segments.first(index), probe)
    }

    /// What the first bucket says, and the direct slot did not.
    #[inline(always)]
    fn look_first<G: Simd>(
        &self,
        hash: Hash,
        ipsec: Ipsec,
        spi: u32,
        probe: &mut impl Probe,
    ) -> InFirst {
        match self.table.find_first::<G>(hash, Record::plain(ipsec, spi), &self.segments, probe) {
            // The direct slot may lead to an SA that the gateway has grown since.
            InFirst::Nothing if !WHOLE_WORDS && self.segments.have_grown() => InFirst::Elsewhere,
            found => found,
        }
    }

    /// [`Sad::find_plain`] where the first look at the first bucket did not tell; [`SaId::NONE`] if there is
    /// none, which takes no place in memory.
    #[cold]
    #[inline(never)]
    fn find_second(&self, hash: Hash, ipsec: Ipsec, spi: u32, probe: &mut impl Probe) -> SaId {
        if COMPACT {
            // One line more; the first one is looked at again.
            probe.line();
            return self.find_alone(ipsec, spi);
        }
        let found = self.table.find_second(hash, Record::plain(ipsec, spi), probe);
        found.and_then(|sa| self.confirmed(sa)).unwrap_or_else(|| {
            // Words that share the SPI's bits, of the other protocol or of longer keys, hide it.
            self.find_alone(ipsec, spi)
        })
    }

    /// The SA found by an SPI alone that no longer key shares, of all words, or [`SaId::NONE`].
    fn find_alone(&self, ipsec: Ipsec, spi: u32) -> SaId {
        if (COMPACT || !WHOLE_WORDS)
            && let Some(sa) = self.find_direct(ipsec, spi, &mut ())
        {
            return sa;
        }
        match self.find_root(ipsec, spi, &mut ()) {
            Some((_, root)) if root.flags() == Record::HAS_SA => root.sa(spi),
            _ => SaId::NONE,
        }
    }

    /// The SA of a direct slot, of all SAs.
    #[inline(always)]
    fn find_direct(&self, ipsec: Ipsec, spi: u32, probe: &mut impl Probe) -> Option<SaId> {
        self.direct.find_plain(ipsec, spi, |index| self.segments.entry(index), probe)
    }

    /// The root word of an SPI.
    fn find_root(&self, ipsec: Ipsec, spi: u32, probe: &mut impl Probe) -> Option<(Place, Record)> {
        let accept = |record: Record| self.confirmed(record.sa(spi)).is_some();
        let root = Record::root(ipsec, spi);
        self.table.find::<false>(self.keys.root(ipsec, spi), root, accept, probe)
    }

    /// Without 64-bit atomics a word may pair an SPI with another's SA: ask the SA.
    #[inline(always)]
    fn confirmed(&self, sa: SaId) -> Option<SaId> {
        let certain = WHOLE_WORDS || self.entry(sa).is_some_and(|entry| entry.spi() == sa.spi().0);
        certain.then_some(sa)
    }

    /// The handle of the SA at an index, if one lives there.
    pub(crate) fn live_at(&self, index: u32) -> Option<SaId> {
        self.segments.entry(index)?.alive()
    }

    /// The SA found by an SPI alone that no longer key shares, or [`SaId::NONE`].
    #[inline(always)]
    pub(crate) fn find_spi(&self, ipsec: Ipsec, spi: u32) -> SaId {
        if COMPACT {
            return self.find_alone(ipsec, spi);
        }
        self.find_plain::<Base, true>(ipsec, spi, &mut ()).unwrap_or(SaId::NONE)
    }

    /// True if the entries of all SAs hardly stay in the second-level cache.
    #[inline]
    pub(crate) fn has_many(&self) -> bool {
        self.many
    }

    /// The root of an SPI where the first look at its first bucket did not tell.
    #[cold]
    fn find_hidden_root(&self, ipsec: Ipsec, spi: u32) -> Record {
        self.find_root(ipsec, spi, &mut ()).map_or(Record::EMPTY, |(_, root)| root.without_filter())
    }

    /// True if the SA whose index a root has is the one with the longest key that fits a packet: nearly
    /// always, where few SAs share an SPI.
    #[inline(always)]
    fn leads_to(&self, root: Record, outer: &OuterHeaders) -> bool {
        let longest = longest(root);
        self.segments.key(root.index()).is_some_and(|key| key.is_longer_of(outer, longest))
    }

    /// The SA of one packet; [`SaId::NONE`] if there is none.
    pub(crate) fn find_packet(&self, outer: &OuterHeaders) -> SaId {
        let plain = self.find_plain::<Base, true>(outer.ipsec, outer.spi.0, &mut ());
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
        self.table.find::<true>(hash, Record::long(parts.ipsec, tag), accept, probe)
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

    /// A number hashed with what peers do not know.
    pub(crate) fn hash_number(&self, number: u64) -> u64 {
        self.keys.number(number)
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

    /// Slots for SAs.
    pub(crate) fn slots(&self) -> u32 {
        self.segments.slots()
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
    /// The view in force, once there is one. One load (acquire).
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(crate) fn get(&self) -> Option<&'m Sad<'m>> {
        let at = self.at.load(Ordering::Acquire).cast::<Sad<'m>>();
        // SAFETY: null, or a view that `set` was given: it lives as long as 'm.
        unsafe { at.as_ref() }
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
