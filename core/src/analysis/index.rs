//! Which cells of a list meet a cell: sorted under hulls.
//!
//! ```text
//! sort by the axis on which the fewest pairs meet
//! each 8 neighbours get a hull (smallest cell over all of them, smallest place in the list)
//! ask: go down where the hull meets the question and holds a place that is early enough
//! ```
//!
//! # Bound
//! Of the hulls of one level, those that meet a question on the sorted axis and hold no cell that
//! does lie across its end: one at most. So a question takes 8 steps, on each of log8(n) levels,
//! for every cell that meets it on the sorted axis and for one more. Memory: 8/7 hulls a cell.

use alloc::vec::Vec;
use core::ops::ControlFlow;

use super::cells::{AXES, Cell, Span, Steps};

const FAN: usize = 8;

/// One cell, or the smallest that holds some.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hull {
    pub(super) cell: Cell,
    /// Place in the list; of several the first.
    pub(super) at: usize,
}

impl Hull {
    fn join(mut self, other: &Self) -> Self {
        for (own, other) in self.cell.0.iter_mut().zip(&other.cell.0) {
            *own = (own.0.min(other.0), own.1.max(other.1));
        }
        self.at = self.at.min(other.at);
        self
    }

    fn span(&self, axis: usize) -> Span {
        self.cell.0.get(axis).copied().unwrap_or_default()
    }
}

/// Cells of one family.
#[derive(Clone, Default, Debug)]
pub(super) struct Index {
    /// The cells, then hulls of 8 each, up to at most 8.
    levels: Vec<Vec<Hull>>,
}

/// How many pairs of ranges meet.
fn pairs_meeting(ranges: impl Iterator<Item = Span>) -> u64 {
    let (mut starts, mut ends): (Vec<_>, Vec<_>) = ranges.unzip();
    starts.sort_unstable();
    ends.sort_unstable();
    let mut over = 0;
    let mut pairs = 0u64;
    for (nth, start) in (0u64..).zip(&starts) {
        while ends.get(over).is_some_and(|end| end < start) {
            over += 1;
        }
        // Of the `nth` that start before, those that have not ended.
        pairs = pairs.saturating_add(nth.saturating_sub(over as u64));
    }
    pairs
}

impl Index {
    pub(super) fn new(mut cells: Vec<Hull>) -> Self {
        let pairs = |&axis: &usize| pairs_meeting(cells.iter().map(|one| one.span(axis)));
        let axis = (0..AXES).min_by_key(pairs).unwrap_or(0);
        cells.sort_unstable_by_key(|one| (one.span(axis), one.cell, one.at));
        let mut index = Self { levels: Vec::new() };
        while cells.len() > FAN {
            let hull = |some: &[Hull]| some.iter().copied().reduce(|a, b| a.join(&b));
            let hulls = cells.chunks(FAN).filter_map(hull).collect();
            index.levels.push(core::mem::replace(&mut cells, hulls));
        }
        index.levels.push(cells);
        index
    }

    /// Shows `found` the cells before place `below` for which, as for all hulls above them, `enter`
    /// is true, until it breaks; it returns up to which place to go on. `None` if that takes more
    /// steps than there are.
    fn walk(
        &self,
        mut below: usize,
        steps: &mut Steps,
        enter: impl Fn(&Cell) -> bool,
        mut found: impl FnMut(&Hull) -> ControlFlow<(), usize>,
    ) -> Option<()> {
        let mut open = alloc::vec![(self.levels.len().saturating_sub(1), 0)];
        while let Some((level, group)) = open.pop() {
            let hulls = self.levels.get(level)?.iter().enumerate();
            for (nth, hull) in hulls.skip(group * FAN).take(FAN) {
                if !steps.take() {
                    return None;
                }
                if hull.at >= below || !enter(&hull.cell) {
                    continue;
                }
                match level.checked_sub(1) {
                    Some(down) => open.push((down, nth)),
                    None => match found(hull) {
                        ControlFlow::Continue(place) => below = place,
                        ControlFlow::Break(()) => return Some(()),
                    },
                }
            }
        }
        Some(())
    }

    /// The places before `below` of the cells that meet this one.
    pub(super) fn meeting(
        &self,
        cell: &Cell,
        below: usize,
        steps: &mut Steps,
    ) -> Option<Vec<usize>> {
        let mut found = Vec::new();
        self.walk(
            below,
            steps,
            |hull| hull.meets(cell),
            |one| {
                found.push(one.at);
                ControlFlow::Continue(below)
            },
        )?;
        Some(found)
    }

    /// One of the cells before `below` that meet this one.
    pub(super) fn met(&self, cell: &Cell, below: usize, steps: &mut Steps) -> Option<Option<Hull>> {
        let mut found = None;
        self.walk(
            below,
            steps,
            |hull| hull.meets(cell),
            |one| {
                found = Some(*one);
                ControlFlow::Break(())
            },
        )?;
        Some(found)
    }

    /// The first place before `below` whose cell holds this one and that `accept` takes.
    pub(super) fn first_around(
        &self,
        cell: &Cell,
        below: usize,
        steps: &mut Steps,
        accept: impl Fn(usize) -> bool,
    ) -> Option<Option<usize>> {
        let (mut found, mut first) = (None, below);
        self.walk(
            below,
            steps,
            |hull| cell.is_inside(hull),
            |one| {
                if accept(one.at) {
                    found = Some(one.at);
                    first = one.at;
                }
                ControlFlow::Continue(first)
            },
        )?;
        Some(found)
    }
}
