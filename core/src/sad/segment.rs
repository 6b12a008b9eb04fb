//! Where the state of SAs lies: in one segment, and in another for each time the gateway grew.
//!
//! SAs never move: readers write to them (replay windows, counts). So growing adds a segment behind
//! the others, and only the tables that lead to SAs are made anew.
//!
//! ```text
//! index  0 ......................... | ...............  of SAs
//!        | direct slots | all others | direct | others
//!          segment 0                   segment 1
//! ```

use super::entry::{Cold, Entry, KeyCells, SaRef};
use super::replay::{self, Cell64};
use crate::counters::{Accepted, SaCells};
use crate::error::SetupError;
use crate::storage::Carver;

/// Slots in one segment.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Extent {
    /// Number of the first slot among all of its kind.
    pub(super) first: u32,
    pub(super) count: u32,
}

/// What segments of one gateway have in common.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Largest replay window.
    pub(super) window: u32,
    pub(super) workers: u32,
    pub(super) long_keys: bool,
}

/// State of some SAs.
#[derive(Clone, Copy)]
pub(crate) struct Segment<'m> {
    /// Index of its first SA.
    start: u32,
    /// Slots whose number is the low bits of the SPI; they come first.
    pub(super) direct: Extent,
    /// Slots for SAs whose SPIs others chose.
    pub(super) others: Extent,
    entries: &'m [Entry],
    cold: &'m [Cold],
    keys: &'m [KeyCells],
    windows: &'m [Cell64],
    stride: usize,
    shared: bool,
    accepted: &'m [Accepted],
    cells: &'m [SaCells],
}

impl<'m> Segment<'m> {
    const EMPTY: Self = Self {
        start: 0,
        direct: Extent { first: 0, count: 0 },
        others: Extent { first: 0, count: 0 },
        entries: &[],
        cold: &[],
        keys: &[],
        windows: &[],
        stride: 0,
        shared: false,
        accepted: &[],
        cells: &[],
    };

    pub(super) fn carve(
        carver: &mut Carver<'m>,
        shape: &Shape,
        start: u32,
        direct: Extent,
        others: Extent,
    ) -> Result<Self, SetupError> {
        let size = |n: u64| usize::try_from(n).map_err(|_| SetupError::TooLarge);
        let slots = size(u64::from(direct.count) + u64::from(others.count))?;
        let stride = replay::words_for(shape.window);
        let times = |n: usize| slots.checked_mul(n).ok_or(SetupError::TooLarge);
        Ok(Self {
            start,
            direct,
            others,
            entries: carver.take(slots)?,
            cold: carver.take(slots)?,
            keys: carver.take(if shape.long_keys { slots } else { 0 })?,
            windows: carver.take(times(stride)?)?,
            stride,
            shared: shape.workers > 1,
            accepted: carver.take(times(size(u64::from(shape.workers))?)?)?,
            cells: carver.take(slots)?,
        })
    }

    fn sa(&self, offset: usize) -> Option<SaRef<'m>> {
        let window = offset * self.stride;
        Some(SaRef {
            hot: self.entries.get(offset)?,
            cold: self.cold.get(offset)?,
            key: self.keys.get(offset),
            window: self.windows.get(window..window + self.stride).unwrap_or(&[]),
            shared: self.shared,
        })
    }
}

/// What a worker looks at of the SAs that a gateway was made with.
#[derive(Clone, Copy)]
pub(crate) struct First<'m> {
    pub(crate) entries: &'m [Entry],
    /// What it accepted on each.
    pub(crate) counts: &'m [Accepted],
}

/// All segments of a gateway.
#[derive(Clone, Copy)]
pub(crate) struct Segments<'m> {
    first: Segment<'m>,
    /// Those that were added, the last one first.
    added: Option<&'m Added<'m>>,
}

/// A segment that was added, and those before it.
#[derive(Clone, Copy)]
pub(super) struct Added<'m> {
    segment: Segment<'m>,
    before: Option<&'m Added<'m>>,
}

impl<'m> Segments<'m> {
    pub(super) const NONE: Self = Self::new(Segment::EMPTY);

    pub(super) const fn new(first: Segment<'m>) -> Self {
        Self { first, added: None }
    }

    /// These segments and one more behind them, or `None` when measuring.
    pub(super) fn with(
        &self,
        segment: Segment<'m>,
        carver: &mut Carver<'m>,
    ) -> Result<Option<Self>, SetupError> {
        let added = carver.place(Added { segment, before: self.added })?;
        Ok(added.map(|added| Self { first: self.first, added: Some(added) }))
    }

    fn iter(&self) -> impl Iterator<Item = &Segment<'m>> {
        let mut next = self.added;
        let added = core::iter::from_fn(move || {
            let Added { segment, before } = next?;
            next = *before;
            Some(segment)
        });
        core::iter::once(&self.first).chain(added)
    }

    /// Slots in all: indexes of SAs are below this.
    pub(super) fn slots(&self) -> u32 {
        self.iter().map(|segment| segment.entries.len() as u32).sum()
    }

    /// Direct slots and other slots in all.
    pub(super) fn kinds(&self) -> (u32, u32) {
        self.iter().fold((0, 0), |(direct, others), segment| {
            (direct + segment.direct.count, others + segment.others.count)
        })
    }

    #[inline(always)]
    fn at(&self, index: u32) -> Option<(&Segment<'m>, usize)> {
        if (index as usize) < self.first.entries.len() {
            return Some((&self.first, index as usize));
        }
        self.behind(index)
    }

    /// # Bound
    /// As many steps as the gateway grew.
    #[cold]
    fn behind(&self, index: u32) -> Option<(&Segment<'m>, usize)> {
        self.iter().find_map(|segment| {
            let offset = index.checked_sub(segment.start)? as usize;
            (offset < segment.entries.len()).then_some((segment, offset))
        })
    }

    /// The index of the SA in a direct slot.
    ///
    /// # Bound
    /// As many steps as the gateway grew.
    pub(super) fn of_direct(&self, number: u32) -> u32 {
        let found = self.iter().find_map(|segment| {
            let offset = number.checked_sub(segment.direct.first)?;
            (offset < segment.direct.count).then_some(segment.start + offset)
        });
        found.unwrap_or(u32::MAX)
    }

    /// The index of the SA in one of the other slots.
    pub(super) fn of_other(&self, number: u32) -> Option<u32> {
        self.iter().find_map(|segment| {
            let offset = number.checked_sub(segment.others.first)?;
            let behind = segment.start + segment.direct.count;
            (offset < segment.others.count).then_some(behind + offset)
        })
    }

    /// The slot number of an SA that lies in a direct slot.
    pub(super) fn direct_number(&self, index: u32) -> Option<u32> {
        let (segment, offset) = self.at(index)?;
        let offset = offset as u32;
        (offset < segment.direct.count).then_some(segment.direct.first + offset)
    }

    #[inline(always)]
    pub(crate) fn entry(&self, index: u32) -> Option<&'m Entry> {
        match self.first.entries.get(index as usize) {
            Some(entry) => Some(entry),
            None => self.entry_behind(index),
        }
    }

    #[cold]
    fn entry_behind(&self, index: u32) -> Option<&'m Entry> {
        let (segment, offset) = self.behind(index)?;
        segment.entries.get(offset)
    }

    /// True if keys may be longer than an SPI.
    pub(super) fn has_longer_keys(&self) -> bool {
        !self.first.keys.is_empty()
    }

    /// The key of an SA, where keys may be longer than an SPI.
    #[inline(always)]
    pub(super) fn key(&self, index: u32) -> Option<&'m KeyCells> {
        match self.first.keys.get(index as usize) {
            Some(key) => Some(key),
            None => self.key_behind(index),
        }
    }

    #[cold]
    fn key_behind(&self, index: u32) -> Option<&'m KeyCells> {
        let (segment, offset) = self.behind(index)?;
        segment.keys.get(offset)
    }

    #[inline]
    pub(crate) fn sa(&self, index: u32) -> Option<SaRef<'m>> {
        let (segment, offset) = self.at(index)?;
        segment.sa(offset)
    }

    /// The first segment as a worker sees it: it stays the same when the gateway grows.
    pub(crate) fn of_worker(&self, worker: usize) -> First<'m> {
        let Segment { entries, accepted, .. } = self.first;
        let slots = entries.len();
        let row = accepted.get(worker.saturating_mul(slots)..).and_then(|row| row.get(..slots));
        First { entries, counts: row.unwrap_or(&[]) }
    }

    /// [`Segments::entry`] of an SA that the gateway was made with.
    #[inline(always)]
    pub(super) fn first(&self, index: u32) -> Option<&'m Entry> {
        self.first.entries.get(index as usize)
    }

    /// True if the gateway has grown since.
    #[inline(always)]
    pub(super) fn have_grown(&self) -> bool {
        self.added.is_some()
    }

    /// A worker's count of what it accepted on an SA.
    #[inline(always)]
    pub(crate) fn accepted(&self, worker: usize, index: u32) -> Option<&'m Accepted> {
        let slots = self.first.entries.len();
        if (index as usize) < slots {
            return self.first.accepted.get(worker * slots + index as usize);
        }
        self.accepted_behind(worker, index)
    }

    #[cold]
    #[inline(never)]
    fn accepted_behind(&self, worker: usize, index: u32) -> Option<&'m Accepted> {
        let (segment, offset) = self.behind(index)?;
        segment.accepted.get(worker * segment.entries.len() + offset)
    }

    /// Every worker's count of what it accepted on an SA.
    pub(crate) fn all_accepted(&self, index: u32) -> impl Iterator<Item = &'m Accepted> {
        let found = self
            .at(index)
            .map(|(segment, offset)| (segment.accepted, segment.entries.len(), offset));
        let (accepted, slots, offset) = found.unwrap_or((&[], 1, 0));
        accepted.iter().skip(offset).step_by(slots.max(1))
    }

    /// The other counts of an SA.
    pub(crate) fn cells(&self, index: u32) -> Option<&'m SaCells> {
        let (segment, offset) = self.at(index)?;
        segment.cells.get(offset)
    }
}
