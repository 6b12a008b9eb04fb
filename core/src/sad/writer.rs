//! The SAD's one writer: add, delete, replace. Configuration flow.

use bytemuck::Zeroable;

use super::entry::{Entry, SaFields};
use super::key::{HashKeys, Kind, Parts, SaKey};
use super::recent::Recent;
use super::table::{MAX_SAS, Place, Record, Table};
use super::{SaId, Sad};
use crate::error::{SaError, SetupError};
use crate::headers::{Ipsec, Spi};
use crate::publish::Epochs;
use crate::storage::{Capacity, Carver};

/// A deleted SA's slot, and the epoch after which it may be used again.
#[derive(Clone, Copy)]
struct Retired {
    index: u32,
    epoch: u32,
}

// SAFETY: two integers; all zero is valid.
#[allow(unsafe_code)]
unsafe impl Zeroable for Retired {}

/// Deleted slots, oldest first: `settled` ones may be used again, the `waiting` ones behind them
/// not before their epoch has passed. As long as the table, so it is never full.
struct Graveyard<'m> {
    ring: &'m mut [Retired],
    oldest: usize,
    settled: usize,
    waiting: usize,
}

impl Graveyard<'_> {
    fn at(&self, nth: usize) -> usize {
        let position = self.oldest + nth;
        if position >= self.ring.len() { position - self.ring.len() } else { position }
    }

    fn push(&mut self, retired: Retired) {
        let position = self.at(self.settled + self.waiting);
        if let Some(slot) = self.ring.get_mut(position) {
            *slot = retired;
            self.waiting += 1;
        }
    }

    /// The next waiting slot if its epoch has passed; it is settled from now on.
    fn settle(&mut self, epochs: &Epochs<'_>) -> Option<u32> {
        if self.waiting == 0 {
            return None;
        }
        let retired = *self.ring.get(self.at(self.settled))?;
        if !epochs.passed(retired.epoch) {
            return None;
        }
        self.settled += 1;
        self.waiting -= 1;
        Some(retired.index)
    }

    fn first_settled(&self) -> Option<u32> {
        if self.settled == 0 { None } else { self.ring.get(self.oldest).map(|slot| slot.index) }
    }

    fn pop(&mut self) {
        self.oldest = self.at(1);
        self.settled -= 1;
    }
}

/// The one writer's view of the SAD.
pub(crate) struct SadWriter<'m> {
    sad: Sad<'m>,
    limits: [u32; 3],
    counts: [u32; 3],
    /// Slots from here on were never used.
    fresh: u32,
    graveyard: Graveyard<'m>,
}

impl<'m> SadWriter<'m> {
    /// Carves the tables. `seed` is 128 bits that peers do not know.
    pub(crate) fn carve(
        carver: &mut Carver<'m>,
        capacity: &Capacity,
        seed: [u64; 2],
    ) -> Result<Self, SetupError> {
        let all = capacity.all_sas();
        if all == 0 {
            return Err(SetupError::ZeroCapacity { field: "sas" });
        }
        if capacity.sa_slots() > u64::from(MAX_SAS) {
            return Err(SetupError::CapacityLimit { field: "sas", limit: MAX_SAS - 64 });
        }
        // Each longer key may need a root word of its own.
        let words = all + u64::from(capacity.sas_dst) + u64::from(capacity.sas_dst_src);
        let buckets =
            usize::try_from(Table::buckets_for(words)).map_err(|_| SetupError::TooLarge)?;
        let slots = usize::try_from(capacity.sa_slots()).map_err(|_| SetupError::TooLarge)?;
        let sad = Sad {
            table: Table::new(carver.take(buckets)?),
            entries: carver.take(slots)?,
            recent: Recent::new(carver.take(Recent::sets_for(slots))?),
            keys: HashKeys::new(seed),
        };
        let graveyard = Graveyard { ring: carver.take(slots)?, oldest: 0, settled: 0, waiting: 0 };
        let limits = [capacity.sas, capacity.sas_dst, capacity.sas_dst_src];
        Ok(Self { sad, limits, counts: [0; 3], fresh: 0, graveyard })
    }

    /// The readers' view.
    pub(crate) fn sad(&self) -> &Sad<'m> {
        &self.sad
    }

    /// Frees the slots whose epoch has passed; `fold` sees each of them once, before its reuse.
    pub(crate) fn settle(&mut self, epochs: &Epochs<'_>, mut fold: impl FnMut(u32, &Entry)) {
        while let Some(index) = self.graveyard.settle(epochs) {
            if let Some(entry) = self.sad.entries.get(index as usize) {
                fold(index, entry);
            }
        }
    }

    /// Whether an SA may be added under a key, but for a place in its buckets.
    pub(crate) fn may_add(&self, key: &SaKey) -> Result<(), SaError> {
        let parts = Self::valid(key)?;
        if self.find(&parts).is_some() {
            return Err(SaError::Duplicate);
        }
        let limit = *self.limits.get(slot_of(parts.kind)).unwrap_or(&0);
        let count = *self.counts.get(slot_of(parts.kind)).unwrap_or(&0);
        if count >= limit {
            return Err(SaError::Full { limit });
        }
        self.free_slot().map(|_| ()).ok_or(SaError::Busy)
    }

    /// Whether an SA may be replaced under its key.
    pub(crate) fn may_replace(&self, old: SaId) -> Result<(), SaError> {
        self.live(old)?;
        self.free_slot().map(|_| ()).ok_or(SaError::Busy)
    }

    /// Adds an SA. After an error the table is as before (T22).
    pub(crate) fn add(&mut self, key: &SaKey, fields: &SaFields) -> Result<SaId, SaError> {
        self.may_add(key)?;
        let parts = Self::valid(key)?;
        let (index, entry) = self.free_slot().ok_or(SaError::Busy)?;
        let generation = entry.birth(&parts, fields);
        if !self.link(&parts, index, entry) {
            entry.death();
            return Err(SaError::Bucket);
        }
        self.use_slot(index);
        if let Some(count) = self.counts.get_mut(slot_of(parts.kind)) {
            *count += 1;
        }
        self.sad.recent.forget(&self.sad.keys.hash(&parts));
        Ok(SaId { index, generation })
    }

    /// Deletes an SA: packets that arrive from now on find its SPI unknown, recently deleted.
    pub(crate) fn delete(
        &mut self,
        id: SaId,
        now_ms: u64,
        epochs: &Epochs<'_>,
    ) -> Result<SaFields, SaError> {
        let (entry, fields) = self.live(id)?;
        let parts = entry.parts();
        self.unlink(&parts, id.index, entry);
        entry.death();
        self.sad.recent.remember(&self.sad.keys.hash(&parts), now_ms);
        self.graveyard.push(Retired { index: id.index, epoch: epochs.advance() });
        if let Some(count) = self.counts.get_mut(slot_of(parts.kind)) {
            *count -= 1;
        }
        Ok(fields)
    }

    /// Puts a new SA under the key of an old one, with one store to the table: there is no moment
    /// in which neither answers. Returns the new handle and the old SA's fields.
    pub(crate) fn replace(
        &mut self,
        old: SaId,
        fields: &SaFields,
        epochs: &Epochs<'_>,
    ) -> Result<(SaId, SaFields), SaError> {
        let (old_entry, old_fields) = self.live(old)?;
        let parts = old_entry.parts();
        let (index, entry) = self.free_slot().ok_or(SaError::Busy)?;
        let (root_place, root) = self.root(&parts).ok_or(SaError::NotFound)?;
        let long = match parts.kind {
            Kind::Root => None,
            _ => Some(self.find(&parts).ok_or(SaError::NotFound)?),
        };
        let generation = entry.birth(&parts, fields);
        entry.set_next(old_entry.next());
        match self.previous(root, old.index) {
            Some(previous) => previous.set_next(Some(index)),
            None => self.sad.table.replace(root_place, root.with_index(index)),
        }
        if let Some((place, record)) = long {
            self.sad.table.replace(place, record.with_index(index));
        }
        self.use_slot(index);
        old_entry.death();
        self.graveyard.push(Retired { index: old.index, epoch: epochs.advance() });
        Ok((SaId { index, generation }, old_fields))
    }

    /// The SA with exactly this key.
    pub(crate) fn by_key(&self, key: &SaKey) -> Option<SaId> {
        let (_, record) = self.find(&Self::valid(key).ok()?)?;
        self.sad.named(record.index()).map(|(id, _)| id)
    }

    /// Entries that may hold counts: all that were ever used.
    pub(crate) fn used_entries(&self) -> &'m [Entry] {
        self.sad.entries.get(..self.fresh as usize).unwrap_or(&[])
    }

    fn valid(key: &SaKey) -> Result<Parts, SaError> {
        if key.spi.0 == 0 { Err(SaError::SpiZero) } else { Ok(Parts::of(key)) }
    }

    fn live(&self, id: SaId) -> Result<(&'m Entry, SaFields), SaError> {
        let entry = self.sad.entry(id).ok_or(SaError::NotFound)?;
        Ok((entry, entry.get(id).ok_or(SaError::NotFound)?))
    }

    fn free_slot(&self) -> Option<(u32, &'m Entry)> {
        let index = self.graveyard.first_settled().unwrap_or(self.fresh);
        Some((index, self.sad.entries.get(index as usize)?))
    }

    fn use_slot(&mut self, index: u32) {
        if self.graveyard.first_settled() == Some(index) {
            self.graveyard.pop();
        } else {
            self.fresh += 1;
        }
    }

    fn root(&self, parts: &Parts) -> Option<(Place, Record)> {
        let hash = self.sad.keys.hash(&Parts::root(parts.ipsec, Spi(parts.spi)));
        self.sad.find_root(parts.ipsec, Spi(parts.spi), &self.sad.table.pair(&hash), &mut ())
    }

    /// The word of exactly this key; of a root only if an SA is found by SPI alone.
    fn find(&self, parts: &Parts) -> Option<(Place, Record)> {
        match parts.kind {
            Kind::Root => self.root(parts).filter(|(_, root)| root.has(Record::HAS_SA)),
            _ => self.sad.find_long(parts, &mut ()),
        }
    }

    /// Makes a newborn entry reachable; false if there is no place, and then nothing has changed.
    fn link(&self, parts: &Parts, index: u32, entry: &Entry) -> bool {
        let Sad { table, keys, .. } = &self.sad;
        let ah = parts.ipsec == Ipsec::Ah;
        let hash_of = |record| self.sad.hash_of(record);
        let long = (parts.kind != Kind::Root).then(|| {
            let hash = keys.hash(parts);
            (hash, Record::new(hash.tag, parts.kind, ah, 0, index))
        });
        // The longer key first: readers look for it only once the root says so.
        if let Some((hash, record)) = &long
            && !table.insert(hash, *record, hash_of)
        {
            return false;
        }
        // Found again after the insertion: that may have moved it.
        match self.root(parts) {
            Some((place, root)) if long.is_none() => {
                entry.set_next(Some(root.index()));
                table.replace(
                    place,
                    root.with_index(index).with_flags(root.flags() | flag(parts.kind)),
                );
            }
            Some((place, root)) => {
                if let Some(head) = self.sad.entries.get(root.index() as usize) {
                    entry.set_next(head.next());
                    head.set_next(Some(index));
                }
                table.replace(place, root.with_flags(root.flags() | flag(parts.kind)));
            }
            None => {
                entry.set_next(None);
                let hash = keys.hash(&Parts::root(parts.ipsec, Spi(parts.spi)));
                let root = Record::new(parts.spi, Kind::Root, ah, flag(parts.kind), index);
                if !table.insert(&hash, root, hash_of) {
                    if let Some((place, _)) = long.and(self.sad.find_long(parts, &mut ())) {
                        table.clear(place);
                    }
                    return false;
                }
            }
        }
        true
    }

    /// Makes an entry unreachable: the root first, so that no reader looks for the longer key.
    ///
    /// Walks the SAs that share the SPI and protocol.
    fn unlink(&self, parts: &Parts, index: u32, entry: &Entry) {
        let table = &self.sad.table;
        let long = match parts.kind {
            Kind::Root => None,
            _ => self.sad.find_long(parts, &mut ()),
        };
        if let Some((place, root)) = self.root(parts) {
            let mut flags = 0;
            let mut head = None;
            let mut next = Some(root.index());
            while let Some(at) = next {
                let Some(member) = self.sad.entries.get(at as usize) else { break };
                next = member.next();
                if at != index {
                    head = head.or(Some(at));
                    flags |= flag(member.parts().kind);
                }
            }
            if let Some(previous) = self.previous(root, index) {
                previous.set_next(entry.next());
            }
            match head {
                Some(head) => table.replace(place, root.with_index(head).with_flags(flags)),
                None => table.clear(place),
            }
        }
        if let Some((place, _)) = long {
            table.clear(place);
        }
    }

    /// The chain member before `index`, or `None` if it is the head.
    fn previous(&self, root: Record, index: u32) -> Option<&'m Entry> {
        let mut at = root.index();
        while at != index {
            let member = self.sad.entries.get(at as usize)?;
            match member.next() {
                Some(next) if next == index => return Some(member),
                Some(next) => at = next,
                None => return None,
            }
        }
        None
    }
}

fn slot_of(kind: Kind) -> usize {
    match kind {
        Kind::Root => 0,
        Kind::Destination => 1,
        Kind::DestinationSource => 2,
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
