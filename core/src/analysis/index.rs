//! Which boxes meet a box on both sides: sorted ranges under hulls.
//!
//! ```text
//! sort by the first value of the axis that fewer pairs share
//! each 8 neighbours get a hull (smallest range over both axes, smallest place in the list)
//! ask: go down where the hull meets the question and holds a place that is early enough
//! ```
//!
//! # Bound
//! Of the hulls of one level, those that meet a question on the sorted axis and hold no box that
//! does lie across its end: one at most. So a question takes 8 steps, on each of log8(n) levels,
//! for every box that meets it on the sorted axis and for one more. Memory: 8/7 hulls a box.

use alloc::vec::Vec;

use super::cells::{Span, Steps};

const FAN: usize = 8;

/// One box, or the smallest that holds some.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hull {
    /// Remote and local addresses.
    pub(super) sides: [Span; 2],
    /// Place in the list; of several boxes the first.
    pub(super) at: usize,
}

impl Hull {
    fn meets(&self, other: &Self) -> bool {
        self.sides.iter().zip(&other.sides).all(|(a, b)| a.0 <= b.1 && b.0 <= a.1)
    }

    fn join(self, other: &Self) -> Self {
        let [[a, b], [c, d]] = [self.sides, other.sides];
        let hull = |a: Span, b: Span| (a.0.min(b.0), a.1.max(b.1));
        Self { sides: [hull(a, c), hull(b, d)], at: self.at.min(other.at) }
    }
}

/// Boxes of one family.
#[derive(Clone, Default, Debug)]
pub(super) struct Index {
    /// The boxes, then hulls of 8 each, up to at most 8.
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
    pub(super) fn new(mut boxes: Vec<Hull>) -> Self {
        let side = |one: &Hull, local: bool| {
            let [remote, own] = one.sides;
            if local { own } else { remote }
        };
        let pairs = |local| pairs_meeting(boxes.iter().map(|one| side(one, local)));
        let local = pairs(true) < pairs(false);
        boxes.sort_unstable_by_key(|one| (side(one, local), side(one, !local), one.at));
        let mut index = Self { levels: Vec::new() };
        while boxes.len() > FAN {
            let hull = |some: &[Hull]| some.iter().copied().reduce(|a, b| a.join(&b));
            let hulls = boxes.chunks(FAN).filter_map(hull).collect();
            index.levels.push(core::mem::replace(&mut boxes, hulls));
        }
        index.levels.push(boxes);
        index
    }

    /// The places, in order, of the boxes before place `below` that meet `question` on both sides;
    /// `None` if that takes more steps than there are.
    pub(super) fn meeting(
        &self,
        question: &Hull,
        below: usize,
        steps: &mut Steps,
    ) -> Option<Vec<usize>> {
        let mut found = Vec::new();
        let mut open = alloc::vec![(self.levels.len().saturating_sub(1), 0)];
        while let Some((level, group)) = open.pop() {
            let hulls = self.levels.get(level)?.iter().enumerate();
            for (nth, hull) in hulls.skip(group * FAN).take(FAN) {
                if !steps.take() {
                    return None;
                }
                if hull.at < below && hull.meets(question) {
                    match level.checked_sub(1) {
                        Some(down) => open.push((down, nth)),
                        None => found.push(hull.at),
                    }
                }
            }
        }
        found.sort_unstable();
        Some(found)
    }
}
