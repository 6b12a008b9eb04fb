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
//! Every SPI in use has one root word, so that one look says which longer keys to try and whether
//! an SPI is known at another destination. Longest match wins.
//!
//! # Bound
//! Buckets (cache lines of the table) read by a lookup, hit or miss, at any load, for any keys: 2
//! where all SAs of the SPI are found by SPI alone, 4 where there are keys of one longer type, 6
//! where there are both. Beside them one entry, and for a longer key one entry for each word of
//! its two buckets whose 32-bit tag is equal (16 at most; more than one by chance of 2^-28). A
//! lookup that the writer overtakes between table and entry looks once more: twice the buckets.
//! One that is overtaken twice by replacements of its own key calls the SA deleted.
//!
//! Invariants:
//! - I1: each SPI and protocol in use has exactly one root word; its flags say which keys exist.
//! - I2: the entries of one SPI and protocol are chained; the root's index is the chain's head,
//!   and the SA found by SPI alone, if there is one, is the head.
//! - I3: an entry whose SA was deleted is filled again only after its epoch has passed.

mod entry;
mod key;
mod recent;
pub mod replay;
mod table;
#[cfg(test)]
mod tests;
mod writer;

pub use entry::SaMode;
pub use key::{SaKey, Scope};
pub use table::Probe;

pub(crate) use entry::{Entry, SaFields};
pub(crate) use writer::SadWriter;

use crate::headers::{Ipsec, OuterHeaders, Spi};
use crate::verdict::SpiClass;
use key::{Hash, HashKeys, Kind, Parts};
use recent::Recent;
use table::{Pair, Place, Record, Table};

/// A handle to an SA: a dense index and a generation, so that a stale handle is found out.
///
/// The index is below [`Capacity::sa_slots`](crate::Capacity::sa_slots); callers may use it for
/// arrays of their own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SaId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl SaId {
    /// Index below the slots of the capacity. Given to another SA some time after a deletion.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// Generation; odd for every SA that ever lived.
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// A handle from its two numbers, for bindings. A wrong one is only ever stale.
    pub const fn from_raw(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }
}

/// The readers' view of the SAD.
#[derive(Clone, Copy)]
pub(crate) struct Sad<'m> {
    table: Table<'m>,
    entries: &'m [Entry],
    recent: Recent<'m>,
    keys: HashKeys,
}

/// What one look at the table found.
enum Found<'m> {
    /// A live SA; its entry stays as it is until the caller's next quiescent state.
    Sa(SaId, &'m Entry),
    /// No key fits; `spi_in_use` if others have the SPI.
    Nothing { spi_in_use: bool },
    /// The SA died after its word was read.
    Gone,
}

/// Where a packet's root word may be, computed once and used for prefetch and lookup.
#[derive(Clone, Copy, Default)]
pub(crate) struct Prepared(Pair);

impl<'m> Sad<'m> {
    /// Hashes the SPI and brings its first bucket closer.
    #[inline]
    pub(crate) fn prepare(&self, outer: &OuterHeaders) -> Prepared {
        let pair = self.table.pair(&self.keys.hash(&Parts::root(outer.ipsec, outer.spi)));
        self.table.prefetch(&pair);
        Prepared(pair)
    }

    /// The SA that a packet's SPI and addresses name, or what is known of its SPI.
    #[inline]
    pub(crate) fn lookup(
        &self,
        outer: &OuterHeaders,
        prepared: Prepared,
        now_ms: u64,
        probe: &mut impl Probe,
    ) -> Result<(SaId, &'m Entry), SpiClass> {
        let found = match self.find_sa(outer, &prepared.0, probe) {
            // The writer deleted or replaced the SA between our look at the table and the one at
            // its entry. What took its place was in the table before the old entry died, so
            // looking once more finds it.
            Found::Gone => self.find_sa(outer, &prepared.0, probe),
            found => found,
        };
        match found {
            Found::Sa(id, entry) => Ok((id, entry)),
            Found::Nothing { spi_in_use } => Err(self.miss(outer, spi_in_use, now_ms)),
            Found::Gone => Err(SpiClass::RecentlyDeleted { ago_ms: 0 }),
        }
    }

    #[inline]
    fn find_sa(&self, outer: &OuterHeaders, pair: &Pair, probe: &mut impl Probe) -> Found<'m> {
        let Some((_, root)) = self.find_root(outer.ipsec, outer.spi, pair, probe) else {
            return Found::Nothing { spi_in_use: false };
        };
        if root.has(Record::HAS_DESTINATION | Record::HAS_DESTINATION_SOURCE) {
            for (kind, flag) in [
                (Kind::DestinationSource, Record::HAS_DESTINATION_SOURCE),
                (Kind::Destination, Record::HAS_DESTINATION),
            ] {
                if !root.has(flag) {
                    continue;
                }
                if let Some((_, found)) = self.find_long(&Parts::long(kind, outer), probe) {
                    return self.found(found.index());
                }
            }
        }
        if root.has(Record::HAS_SA) {
            return self.found(root.index());
        }
        Found::Nothing { spi_in_use: true }
    }

    #[inline]
    fn found(&self, index: u32) -> Found<'m> {
        self.named(index).map_or(Found::Gone, |(id, entry)| Found::Sa(id, entry))
    }

    /// The SA at an index that a table word holds, if it still lives.
    #[inline]
    fn named(&self, index: u32) -> Option<(SaId, &'m Entry)> {
        let entry = self.entries.get(index as usize)?;
        Some((SaId { index, generation: entry.alive()? }, entry))
    }

    #[inline]
    fn find_root(
        &self,
        ipsec: Ipsec,
        spi: Spi,
        pair: &Pair,
        probe: &mut impl Probe,
    ) -> Option<(Place, Record)> {
        let pattern = Record::new(spi.0, Kind::Root, ipsec == Ipsec::Ah, 0, 0);
        let accept = |record: Record| {
            // Without 64-bit atomics a word may pair an SPI with another's index: ask the entry.
            cfg!(target_has_atomic = "64")
                || self
                    .entries
                    .get(record.index() as usize)
                    .is_some_and(|entry| entry.parts().spi == spi.0)
        };
        self.table.find(pair, pattern, accept, probe)
    }

    #[cold]
    fn find_long(&self, parts: &Parts, probe: &mut impl Probe) -> Option<(Place, Record)> {
        let hash = self.keys.hash(parts);
        let pattern = Record::new(hash.tag, parts.kind, parts.ipsec == Ipsec::Ah, 0, 0);
        let accept = |record: Record| {
            self.entries.get(record.index() as usize).is_some_and(|entry| entry.parts() == *parts)
        };
        self.table.find(&self.table.pair(&hash), pattern, accept, probe)
    }

    /// What is known of an SPI that no SA answers to. Reads at most three cache lines.
    #[cold]
    fn miss(&self, outer: &OuterHeaders, spi_in_use: bool, now_ms: u64) -> SpiClass {
        let keys = [
            Parts::root(outer.ipsec, outer.spi),
            Parts::long(Kind::Destination, outer),
            Parts::long(Kind::DestinationSource, outer),
        ];
        let ago =
            keys.iter().filter_map(|parts| self.recent.ago_ms(&self.keys.hash(parts), now_ms));
        match (ago.min(), spi_in_use) {
            (Some(ago_ms), _) => SpiClass::RecentlyDeleted { ago_ms },
            (None, true) => SpiClass::OtherDestination,
            (None, false) => SpiClass::NeverSeen,
        }
    }

    /// What is known of the SPI of a packet whose SA was deleted while it was decrypted.
    #[cold]
    pub(crate) fn class_of(&self, outer: &OuterHeaders, now_ms: u64) -> SpiClass {
        match self.lookup(outer, self.prepare(outer), now_ms, &mut ()) {
            // The key answers again, to a younger SA.
            Ok(_) => SpiClass::RecentlyDeleted { ago_ms: 0 },
            Err(class) => class,
        }
    }

    /// The entry at a handle's index, whatever its generation.
    #[inline]
    pub(crate) fn entry(&self, id: SaId) -> Option<&'m Entry> {
        self.entries.get(id.index as usize)
    }

    /// The SPI, protocol and outer addresses of a live SA's key.
    pub(crate) fn key_of(&self, id: SaId) -> Option<SaKey> {
        let entry = self.entry(id)?;
        entry.get(id)?;
        let parts = entry.parts();
        let endpoints = parts.addresses.endpoints();
        let scope = match parts.kind {
            Kind::Root => Scope::Spi,
            Kind::Destination => Scope::Destination(endpoints.dst()),
            Kind::DestinationSource => Scope::DestinationSource(endpoints),
        };
        Some(SaKey { ipsec: parts.ipsec, spi: Spi(parts.spi), scope })
    }

    fn hash_of(&self, record: Record) -> Hash {
        // A word's hash is its entry's, except that a root's addresses do not count.
        let mut parts = match self.entries.get(record.index() as usize) {
            Some(entry) => entry.parts(),
            None => Parts::root(Ipsec::Esp, Spi(0)),
        };
        if record.is_root() {
            parts = Parts::root(parts.ipsec, Spi(parts.spi));
        }
        self.keys.hash(&parts)
    }
}
