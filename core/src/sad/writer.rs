//! The SAD's one writer: reserve, add, delete, replace, grow. Configuration flow.

use bytemuck::Zeroable;

use super::direct::{Allocator, Direct};
use super::entry::{SaFields, SaRef, SaStart};
use super::id::MAX_SAS;
use super::key::{Kind, Parts, SaKey};
use super::recent::{Mark, Recent};
use super::segment::{Extent, Segment, Segments, Shape};
use super::table::{Place, Spills, Table, TableWriter};
use super::word::{Record, Word};
use super::{SaId, Sad, flag, replay};
use crate::counters;
use crate::error::{SaError, SetupError};
use crate::headers::{Ipsec, Spi};
use crate::publish::Epochs;
use crate::storage::{Capacity, Carver};

/// A deleted SA's slot, the epoch after which it may be used again, and when it was deleted on the
/// caller's clock.
#[derive(Clone, Copy)]
struct Retired {
    index: u32,
    epoch: u32,
    at_ms: u64,
}

// SAFETY: integers; all zero is valid.
#[allow(unsafe_code)]
unsafe impl Zeroable for Retired {}

/// Deleted slots, oldest first: `settled` ones may be used again, the `waiting` ones behind them
/// not before their epoch has passed. As long as there are slots, so it is never full.
struct Graveyard<'m> {
    ring: &'m mut [Retired],
    oldest: usize,
    settled: usize,
    waiting: usize,
}

impl<'m> Graveyard<'m> {
    fn new(ring: &'m mut [Retired]) -> Self {
        Self { ring, oldest: 0, settled: 0, waiting: 0 }
    }

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

    fn first_settled(&self) -> Option<Retired> {
        if self.settled == 0 { None } else { self.ring.get(self.oldest).copied() }
    }

    fn pop(&mut self) {
        self.oldest = self.at(1);
        self.settled -= 1;
    }

    /// The same graves in a longer ring.
    fn moved(&self, ring: &'m mut [Retired]) -> Self {
        for (nth, slot) in ring.iter_mut().enumerate().take(self.settled + self.waiting) {
            if let Some(retired) = self.ring.get(self.at(nth)) {
                *slot = *retired;
            }
        }
        Self { ring, oldest: 0, settled: self.settled, waiting: self.waiting }
    }
}

/// Slots of one kind that can be given out.
struct Pool<'m> {
    /// Slots from this number on were never used.
    fresh: u32,
    count: u32,
    graveyard: Graveyard<'m>,
}

/// How long an SPI that this gateway chose is not used again, in milliseconds, unless
/// [`SadWriter::set_quarantine`] says otherwise: longer than packets are on their way.
const QUARANTINE_MS: u64 = 10_000;

/// The one writer's view of the SAD.
pub(crate) struct SadWriter<'m> {
    sad: &'m Sad<'m>,
    table: TableWriter<'m>,
    limits: [u32; 3],
    counts: [u32; 3],
    shape: Shape,
    others: Pool<'m>,
    direct: Pool<'m>,
    allocator: Allocator,
    quarantine_ms: u64,
}

/// Tables carved for a number of SAs.
struct Carved<'m> {
    table: Table<'m>,
    spills: Spills<'m>,
    direct: &'m [Word],
    others: &'m mut [Retired],
    direct_graves: &'m mut [Retired],
}

impl<'m> Carved<'m> {
    fn carve(carver: &mut Carver<'m>, capacity: &Capacity) -> Result<Self, SetupError> {
        // Each longer key may need a root word of its own.
        let long = u64::from(capacity.sas_dst) + u64::from(capacity.sas_dst_src);
        let words = u64::from(capacity.sas) + 2 * long;
        let size = |n: u64| usize::try_from(n).map_err(|_| SetupError::TooLarge);
        let buckets = size(Table::buckets_for(words))?;
        let others = size(capacity.other_slots())?;
        let direct = size(u64::from(capacity.sas_allocated))?;
        Ok(Self {
            table: Table::new(carver.take(buckets)?),
            spills: Spills::new(carver.take(buckets)?),
            direct: carver.take(direct)?,
            others: carver.take(others)?,
            direct_graves: carver.take(direct)?,
        })
    }
}

impl<'m> SadWriter<'m> {
    /// Carves the tables. `seed` is 128 bits that peers do not know.
    pub(crate) fn carve(
        carver: &mut Carver<'m>,
        capacity: &Capacity,
        seed: [u64; 2],
    ) -> Result<Self, SetupError> {
        Self::valid_capacity(capacity)?;
        let shape = Shape {
            window: capacity.replay_window,
            workers: capacity.workers,
            long_keys: capacity.sas_dst > 0 || capacity.sas_dst_src > 0,
        };
        let carved = Carved::carve(carver, capacity)?;
        let bits = Direct::bits_for(u64::from(capacity.sas_allocated));
        let direct = Direct::new(carved.direct, bits);
        let extent = |count: u64| Extent { first: 0, count: count as u32 };
        let segment = Segment::carve(
            carver,
            &shape,
            0,
            extent(u64::from(capacity.sas_allocated)),
            extent(capacity.other_slots()),
        )?;
        let segments = Segments::new(segment);
        let slots = usize::try_from(capacity.sa_slots()).map_err(|_| SetupError::TooLarge)?;
        let recent = Recent::new(carver.take(Recent::sets_for(slots))?);
        let sad = match carver.place_mut(*Sad::NONE)? {
            Some(sad) => {
                sad.keys.set(seed);
                sad.lead_to(direct, carved.table, segments, recent);
                &*sad
            }
            None => Sad::NONE,
        };
        let pool = |ring, count| Pool { fresh: 0, count, graveyard: Graveyard::new(ring) };
        Ok(Self {
            sad,
            table: TableWriter::new(carved.table, carved.spills),
            limits: [capacity.sas, capacity.sas_dst, capacity.sas_dst_src],
            counts: [0; 3],
            shape,
            others: pool(carved.others, capacity.other_slots() as u32),
            direct: pool(carved.direct_graves, capacity.sas_allocated),
            allocator: Allocator::new(seed),
            quarantine_ms: QUARANTINE_MS,
        })
    }

    /// [`SadWriter::carve`] in memory of the carver's, nowhere when measuring; and the readers' view.
    #[inline(never)]
    pub(crate) fn carve_in(
        carver: &mut Carver<'m>,
        capacity: &Capacity,
        seed: [u64; 2],
    ) -> Result<(Option<&'m mut Self>, &'m Sad<'m>), SetupError> {
        let writer = Self::carve(carver, capacity, seed)?;
        let view = writer.sad;
        Ok((carver.place_mut(writer)?, view))
    }

    fn valid_capacity(capacity: &Capacity) -> Result<(), SetupError> {
        if capacity.all_sas() == 0 {
            return Err(SetupError::ZeroCapacity { field: "sas" });
        }
        if capacity.sa_slots() > u64::from(MAX_SAS) {
            return Err(SetupError::CapacityLimit { field: "sas", limit: MAX_SAS - 64 });
        }
        if capacity.replay_window > replay::MAX_WINDOW {
            let limit = replay::MAX_WINDOW;
            return Err(SetupError::CapacityLimit { field: "replay_window", limit });
        }
        Ok(())
    }

    /// Makes room for as many SAs as `capacity` says: new tables and one more segment from
    /// `carver`, which must give no fewer than now. Readers see the old tables or the new ones. With a
    /// measuring carver nothing changes.
    ///
    /// # Bound
    /// Linear in the SAs.
    pub(crate) fn grow(
        &mut self,
        carver: &mut Carver<'m>,
        capacity: &Capacity,
    ) -> Result<(), SetupError> {
        Self::valid_capacity(capacity)?;
        let refused = |field| Err(SetupError::CannotGrow { field });
        let limits = [capacity.sas, capacity.sas_dst, capacity.sas_dst_src];
        let names = ["sas", "sas_dst", "sas_dst_src"];
        for ((new, old), field) in limits.iter().zip(self.limits).zip(names) {
            if *new < old {
                return refused(field);
            }
        }
        let (direct_now, others_now) = self.sad.segments.kinds();
        let slots = 1_u64 << self.sad.direct.bits();
        if capacity.sas_allocated < direct_now || u64::from(capacity.sas_allocated) > slots {
            return refused("sas_allocated");
        }
        if capacity.replay_window != self.shape.window {
            return refused("replay_window");
        }
        if !self.shape.long_keys && (capacity.sas_dst > 0 || capacity.sas_dst_src > 0) {
            return refused("sas_dst");
        }
        let others = (capacity.other_slots() as u32).max(others_now);
        let carved = Carved::carve(carver, capacity)?;
        let direct = Direct::new(carved.direct, self.sad.direct.bits());
        let segment = Segment::carve(
            carver,
            &self.shape,
            self.sad.segments.slots(),
            Extent { first: direct_now, count: capacity.sas_allocated - direct_now },
            Extent { first: others_now, count: others - others_now },
        )?;
        let Some(segments) = self.sad.segments.with(segment, carver)? else {
            // Measured: what follows takes the view.
            carver.place(*self.sad)?;
            return Ok(());
        };
        let mut table = TableWriter::new(carved.table, carved.spills);
        let Some(view) = carver.place_mut(*self.sad)? else { return Ok(()) };
        view.lead_to(direct, carved.table, segments, self.sad.recent);
        // Nobody reads the new tables yet. At their load an insertion that fails was never seen; if
        // one does, nothing has happened.
        for record in self.table.records() {
            let hash = self.sad.hash_of(record);
            if !table.insert(hash, record, |record| self.sad.hash_of(record)) {
                return refused("seed");
            }
        }
        direct.copy_from(&self.sad.direct);
        self.table = table;
        self.others.graveyard = self.others.graveyard.moved(carved.others);
        self.others.count = others;
        self.direct.graveyard = self.direct.graveyard.moved(carved.direct_graves);
        self.direct.count = capacity.sas_allocated;
        self.limits = limits;
        self.sad = view;
        Ok(())
    }

    /// The readers' view.
    pub(crate) fn sad(&self) -> &'m Sad<'m> {
        self.sad
    }

    /// The capacities in SAs as they are now.
    pub(crate) fn limits(&self) -> ([u32; 3], u32) {
        (self.limits, self.direct.count)
    }

    /// How long an SPI that this gateway chose is not used again after its SA was deleted.
    pub(crate) fn set_quarantine(&mut self, ms: u64) {
        self.quarantine_ms = ms;
    }

    /// Frees the slots whose epoch has passed; `fold` sees the index of each of them once, before its
    /// reuse.
    pub(crate) fn settle(&mut self, epochs: &Epochs<'_>, mut fold: impl FnMut(u32)) {
        while let Some(index) = self.others.graveyard.settle(epochs) {
            fold(index);
        }
        while let Some(index) = self.direct.graveyard.settle(epochs) {
            fold(index);
        }
    }

    /// Chooses an SPI and reserves it. Until an SA is added under it, packets find it larval.
    pub(crate) fn reserve(&mut self, ipsec: Ipsec, now_ms: u64) -> Result<Spi, SaError> {
        let pool = &mut self.direct;
        // Fresh ones first, then those longest out of use.
        let (number, used_before) = if pool.fresh < pool.count {
            (pool.fresh, false)
        } else {
            let Some(retired) = pool.graveyard.first_settled() else {
                let all_in_use = pool.graveyard.waiting == 0;
                return Err(if all_in_use {
                    SaError::Full { limit: pool.count }
                } else {
                    SaError::Busy
                });
            };
            let since = now_ms.saturating_sub(retired.at_ms);
            if since < self.quarantine_ms {
                return Err(SaError::Quarantine { left_ms: self.quarantine_ms - since });
            }
            let number = self.sad.segments.direct_number(retired.index);
            (number.ok_or(SaError::NotFound)?, true)
        };
        let sad = self.sad;
        let taken = |spi| sad.find_root(ipsec, spi, &mut ()).is_some();
        let spi = self.allocator.choose(&sad.direct, number, taken);
        let spi = spi.ok_or(SaError::Full { limit: self.direct.count })?;
        if used_before {
            self.direct.graveyard.pop();
        } else {
            self.direct.fresh += 1;
        }
        sad.direct.reserve(ipsec, spi);
        sad.recent.forget(Mark::of(&sad.keys, &Parts::root(ipsec, Spi(spi))));
        Ok(Spi(spi))
    }

    /// Gives a reserved SPI back.
    pub(crate) fn release(
        &mut self,
        ipsec: Ipsec,
        spi: Spi,
        now_ms: u64,
        epochs: &Epochs<'_>,
    ) -> Result<(), SaError> {
        let slot = self.sad.direct.find(ipsec, spi.0, &mut ());
        if slot.is_none_or(|slot| slot.is_live()) {
            return Err(SaError::NotFound);
        }
        self.bury_direct(self.sad.direct.number(spi.0), now_ms, epochs);
        Ok(())
    }

    fn bury_direct(&mut self, number: u32, now_ms: u64, epochs: &Epochs<'_>) {
        self.sad.direct.clear(number);
        let index = self.sad.segments.of_direct(number);
        let retired = Retired { index, epoch: epochs.advance(), at_ms: now_ms };
        self.direct.graveyard.push(retired);
    }

    /// Whether an SA may be added under a key, but for a place in its buckets.
    pub(crate) fn may_add(&self, key: &SaKey, start: &SaStart) -> Result<(), SaError> {
        let parts = self.valid(key, start)?;
        if parts.kind == Kind::Root {
            match self.sad.direct.find(parts.ipsec, parts.spi, &mut ()) {
                Some(slot) if slot.is_live() => return Err(SaError::Duplicate),
                Some(_) => return Ok(()),
                None => {}
            }
        }
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
    pub(crate) fn may_replace(&self, old: SaId, start: &SaStart) -> Result<(), SaError> {
        self.live(old)?;
        self.valid_start(start)?;
        if self.sad.segments.direct_number(old.index()).is_some()
            && self.counts[0] >= self.limits[0]
        {
            return Err(SaError::Full { limit: self.limits[0] });
        }
        self.free_slot().map(|_| ()).ok_or(SaError::Busy)
    }

    /// Adds an SA. After an error the table is as before (T22).
    pub(crate) fn add(
        &mut self,
        key: &SaKey,
        fields: &SaFields,
        start: &SaStart,
    ) -> Result<SaId, SaError> {
        self.may_add(key, start)?;
        let parts = self.valid(key, start)?;
        if parts.kind == Kind::Root
            && self.sad.direct.find(parts.ipsec, parts.spi, &mut ()).is_some()
        {
            return self.activate(&parts, fields, start);
        }
        let (index, sa) = self.free_slot().ok_or(SaError::Busy)?;
        let id = sa.birth(index, &parts, fields, start);
        // Nobody counts on it until it is linked.
        counters::set_accepted(&self.sad.segments, index, start.accepted);
        if !self.link(&parts, id, &sa) {
            sa.stillbirth();
            counters::set_accepted(&self.sad.segments, index, [0; 2]);
            return Err(SaError::Bucket);
        }
        self.use_slot(index);
        if let Some(count) = self.counts.get_mut(slot_of(parts.kind)) {
            *count += 1;
        }
        self.sad.recent.forget(self.mark(&parts));
        Ok(id)
    }

    /// Brings the SA of a reserved SPI to life.
    fn activate(
        &mut self,
        parts: &Parts,
        fields: &SaFields,
        start: &SaStart,
    ) -> Result<SaId, SaError> {
        let direct = &self.sad.direct;
        let index = self.sad.segments.of_direct(direct.number(parts.spi));
        let sa = self.sad.segments.sa(index).ok_or(SaError::NotFound)?;
        let longer =
            direct.find(parts.ipsec, parts.spi, &mut ()).is_some_and(|slot| slot.has_longer());
        let id = sa.birth(index, parts, fields, start);
        counters::set_accepted(&self.sad.segments, index, start.accepted);
        direct.activate(id, longer);
        Ok(id)
    }

    /// Deletes an SA: packets that arrive from now on find its SPI unknown, recently deleted.
    pub(crate) fn delete(
        &mut self,
        id: SaId,
        now_ms: u64,
        epochs: &Epochs<'_>,
    ) -> Result<SaFields, SaError> {
        let (sa, fields) = self.live(id)?;
        let parts = sa.parts();
        // First: a packet that finds the SPI no more finds that it was deleted.
        self.sad.recent.remember(self.mark(&parts), now_ms);
        if let Some(number) = self.sad.segments.direct_number(id.index()) {
            self.bury_direct(number, now_ms, epochs);
            sa.death();
            return Ok(fields);
        }
        self.unlink(&parts, id.index(), &sa);
        sa.death();
        self.bury(id.index(), now_ms, epochs);
        if let Some(count) = self.counts.get_mut(slot_of(parts.kind)) {
            *count -= 1;
        }
        Ok(fields)
    }

    fn bury(&mut self, index: u32, now_ms: u64, epochs: &Epochs<'_>) {
        self.others.graveyard.push(Retired { index, epoch: epochs.advance(), at_ms: now_ms });
    }

    /// Puts a new SA under the key of an old one, with one store to the table: there is no moment
    /// in which neither answers. Returns the new handle and the old SA's fields.
    ///
    /// An SA in a direct slot cannot be followed by another there while readers look at it: the new
    /// one goes to the buckets first, and then the slot is emptied.
    pub(crate) fn replace(
        &mut self,
        old: SaId,
        fields: &SaFields,
        start: &SaStart,
        now_ms: u64,
        epochs: &Epochs<'_>,
    ) -> Result<(SaId, SaFields), SaError> {
        self.may_replace(old, start)?;
        let (old_sa, old_fields) = self.live(old)?;
        let parts = old_sa.parts();
        let (index, sa) = self.free_slot().ok_or(SaError::Busy)?;
        if let Some(number) = self.sad.segments.direct_number(old.index()) {
            let id = sa.birth(index, &parts, fields, start);
            if !self.link(&parts, id, &sa) {
                sa.stillbirth();
                return Err(SaError::Bucket);
            }
            self.use_slot(index);
            self.counts[0] += 1;
            self.bury_direct(number, now_ms, epochs);
            old_sa.death();
            return Ok((id, old_fields));
        }
        let (root_place, root) = self.root(&parts).ok_or(SaError::NotFound)?;
        let long = match parts.kind {
            Kind::Root => None,
            _ => Some(self.find(&parts).ok_or(SaError::NotFound)?),
        };
        let id = sa.birth(index, &parts, fields, start);
        sa.set_next(old_sa.next());
        match self.previous(root, old.index()) {
            Some(previous) => previous.set_next(Some(index)),
            None => self.table.table.replace(root_place, root.with_sa(id)),
        }
        if let Some((place, record)) = long {
            self.table.table.replace(place, record.with_sa(id));
        }
        self.use_slot(index);
        old_sa.death();
        self.bury(old.index(), now_ms, epochs);
        Ok((id, old_fields))
    }

    /// The SA with exactly this key.
    pub(crate) fn by_key(&self, key: &SaKey) -> Option<SaId> {
        let parts = Parts::of(key);
        if parts.kind == Kind::Root
            && let Some(slot) = self.sad.direct.find(parts.ipsec, parts.spi, &mut ())
        {
            return slot.is_live().then(|| slot.sa());
        }
        let (_, record) = self.find(&parts)?;
        Some(record.sa(parts.spi))
    }

    /// Indexes of SAs that may hold counts: all that were ever used.
    pub(crate) fn used(&self) -> impl Iterator<Item = u32> + use<'m> {
        let segments = &self.sad.segments;
        let (direct, others) = (self.direct.fresh, self.others.fresh);
        (0..direct)
            .map(move |number| segments.of_direct(number))
            .chain((0..others).filter_map(move |number| segments.of_other(number)))
    }

    #[cfg(test)]
    pub(super) fn direct_number(&self, id: SaId) -> Option<u32> {
        self.sad.segments.direct_number(id.index())
    }

    fn mark(&self, parts: &Parts) -> Mark {
        Mark::of(&self.sad.keys, parts)
    }

    fn valid(&self, key: &SaKey, start: &SaStart) -> Result<Parts, SaError> {
        if key.spi.0 == 0 {
            return Err(SaError::SpiZero);
        }
        self.valid_start(start)?;
        Ok(Parts::of(key))
    }

    fn valid_start(&self, start: &SaStart) -> Result<(), SaError> {
        if start.replay.window > self.shape.window {
            return Err(SaError::Window { limit: self.shape.window });
        }
        Ok(())
    }

    fn live(&self, id: SaId) -> Result<(SaRef<'m>, SaFields), SaError> {
        let sa = self.sad.segments.sa(id.index()).ok_or(SaError::NotFound)?;
        Ok((sa, sa.hot.get(id).ok_or(SaError::NotFound)?))
    }

    fn free_slot(&self) -> Option<(u32, SaRef<'m>)> {
        let index = match self.others.graveyard.first_settled() {
            Some(retired) => retired.index,
            None => self.sad.segments.of_other(self.others.fresh)?,
        };
        Some((index, self.sad.segments.sa(index)?))
    }

    fn use_slot(&mut self, index: u32) {
        if self.others.graveyard.first_settled().is_some_and(|retired| retired.index == index) {
            self.others.graveyard.pop();
        } else {
            self.others.fresh += 1;
        }
    }

    fn root(&self, parts: &Parts) -> Option<(Place, Record)> {
        self.sad.find_root(parts.ipsec, parts.spi, &mut ())
    }

    /// The word of exactly this key; of a root only if an SA is found by SPI alone.
    fn find(&self, parts: &Parts) -> Option<(Place, Record)> {
        match parts.kind {
            Kind::Root => self.root(parts).filter(|(_, root)| root.has(Record::HAS_SA)),
            _ => self.sad.find_long(parts, &mut ()),
        }
    }

    /// Makes a newborn SA reachable; false if there is no place, and then nothing has changed.
    fn link(&mut self, parts: &Parts, id: SaId, sa: &SaRef<'m>) -> bool {
        let sad = self.sad;
        let hash_of = |record| sad.hash_of(record);
        let is_long = parts.kind != Kind::Root;
        // The longer key first: readers look for it only once the root says so.
        if is_long {
            let (hash, tag) = sad.keys.long(parts);
            let record = Record::long(parts.ipsec, tag).with_sa(id);
            if !self.table.insert(hash, record, hash_of) {
                return false;
            }
        }
        // Found again after the insertion: that may have moved it.
        match self.root(parts) {
            Some((place, root)) if !is_long => {
                sa.set_next(Some(root.index()));
                let flags = root.flags() | flag(parts.kind);
                self.table.table.replace(place, root.with_sa(id).with_flags(flags));
            }
            Some((place, root)) => {
                if let Some(head) = sad.segments.sa(root.index()) {
                    sa.set_next(head.next());
                    head.set_next(Some(id.index()));
                }
                let flags = root.flags() | flag(parts.kind);
                self.table.table.replace(place, root.with_flags(flags));
            }
            None => {
                sa.set_next(None);
                let hash = sad.keys.root(parts.ipsec, parts.spi);
                let root =
                    Record::root(parts.ipsec, parts.spi).with_sa(id).with_flags(flag(parts.kind));
                if !self.table.insert(hash, root, hash_of) {
                    // Found anew: the insertion may have moved it. Only a longer key has a word yet.
                    if is_long && let Some((place, _)) = self.find(parts) {
                        self.table.clear(place, sad.keys.hash(parts));
                    }
                    return false;
                }
            }
        }
        if is_long {
            sad.direct.set_longer(parts.ipsec, parts.spi, true);
        }
        true
    }

    /// Makes an SA unreachable.
    fn unlink(&mut self, parts: &Parts, index: u32, sa: &SaRef<'m>) {
        let sad = self.sad;
        // The word of a longer key, by its SA: readers must not find it dead before the root says so.
        let long = if parts.kind == Kind::Root { None } else { self.find(parts) };
        if let Some((place, root)) = self.root(parts) {
            let mut flags = 0;
            let mut head = None;
            let mut next = Some(root.index());
            while let Some(at) = next {
                let Some(member) = sad.segments.sa(at) else { break };
                next = member.next();
                if at != index {
                    head = head.or_else(|| member.hot.alive());
                    flags |= flag(member.parts().kind);
                }
            }
            if let Some(previous) = self.previous(root, index) {
                previous.set_next(sa.next());
            }
            match head {
                Some(head) => {
                    self.table.table.replace(place, root.with_sa(head).with_flags(flags));
                }
                None => {
                    self.table.clear(place, sad.keys.root(parts.ipsec, parts.spi));
                    sad.direct.set_longer(parts.ipsec, parts.spi, false);
                }
            }
        }
        if let Some((place, _)) = long {
            self.table.clear(place, sad.keys.hash(parts));
        }
    }

    /// The chain member before `index`, or `None` if it is the head.
    fn previous(&self, root: Record, index: u32) -> Option<SaRef<'m>> {
        let mut at = root.index();
        while at != index {
            let member = self.sad.segments.sa(at)?;
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
