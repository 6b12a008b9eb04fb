//! The tree searched in the least code: one packet, one slot after the other, compiled once. What differs by family,
//! boxes and addresses, is behind [`Asked`].
//!
//! ```text
//! delta, then of the fan's children that may hold the packet, in order:
//!     leaf     slot by slot, up to the first box that covers it
//!     group    which slots hold it; the first of them, and so on down; then the next
//! ```
//! The same groups in the same order as [`tree`](super::tree), so the same answer within the same bound. Where
//! flash is scarce ([`COMPACT`](crate::simd::COMPACT)) it is the only search; tests hold one against the
//! other everywhere.

use super::block::Boxed;
use super::fan::Fan;
use super::group::{Address, Ask, DIMENSIONS, Group, NONE};
use super::linear::Key;
use super::tree::{Arrays, LEVELS, Tree, Visits, some};
use crate::simd::Base;

/// A box that is asked for: in what, and whether any that covers the packet will do.
type Wanted = (Ask, bool);

/// [`Tree::find`] among the boxes of one Child SA, or of those that `accept` takes.
#[inline(always)]
pub(super) fn find<A: Address>(
    tree: &Tree<'_, A>,
    key: &Key<A>,
    wanted: Wanted,
    child: Option<u32>,
    accept: &dyn Fn(u32) -> bool,
    visits: &mut impl Visits,
) -> Option<u32> {
    let Tree { boxes, arrays: Arrays { groups, rows, .. }, levels, .. } = *tree;
    let asked = Packet { boxes, key, ask: wanted.0, child, accept };
    let has_value = key.values.has_value();
    let mut walk = Walk {
        groups,
        rows,
        firsts: &[],
        levels,
        asked: &asked,
        has_value,
        wanted,
        best: NONE,
        limit: NONE,
    };
    walk.run(tree.fan, tree.delta, visits);
    some(walk.best)
}

/// A packet, asked of one tree.
trait Asked {
    /// In which intervals of a fan it lies.
    fn ranks(&self, fan: &Fan, rows: &[u64]) -> Option<[u32; DIMENSIONS]>;
    /// The children of a group that hold it.
    fn children(&self, group: &Group) -> u32;
    /// The box covers it, and counts.
    fn covered_by(&self, index: u32) -> bool;
}

struct Packet<'w, 'b, A: Address> {
    boxes: &'b [Boxed<A>],
    key: &'w Key<A>,
    ask: Ask,
    child: Option<u32>,
    accept: &'w dyn Fn(u32) -> bool,
}

impl<A: Address> Asked for Packet<'_, '_, A> {
    // What it needs of the stack is free again when groups are searched.
    #[inline(never)]
    fn ranks(&self, fan: &Fan, rows: &[u64]) -> Option<[u32; DIMENSIONS]> {
        fan.open::<A>(rows)?.ranks::<Base>(self.key)
    }

    fn children(&self, group: &Group) -> u32 {
        group.holding(self.key, self.ask)
    }

    // The boxes themselves are asked: their windows would be more code.
    fn covered_by(&self, index: u32) -> bool {
        let Some(one) = self.boxes.get(index as usize) else { return false };
        let child = one.child();
        one.covers_in(self.key, self.ask)
            && self.child.is_none_or(|own| own == child)
            && (self.accept)(child)
    }
}

struct Walk<'w, 'b> {
    groups: &'b [Group],
    rows: &'b [u64],
    /// The first boxes below the fan's children.
    firsts: &'b [u32],
    levels: usize,
    asked: &'w dyn Asked,
    has_value: bool,
    wanted: Wanted,
    /// The first box so far.
    best: u32,
    /// Boxes from here on are of no interest.
    limit: u32,
}

impl<'b> Walk<'_, 'b> {
    fn run(&mut self, fan: &Fan, delta: Option<&Group>, visits: &mut impl Visits) {
        if let Some(delta) = delta {
            visits.leaf();
            self.leaf(delta);
        }
        let Some(ranks) = self.asked.ranks(fan, self.rows) else { return };
        let mut nth = 0;
        while let Some(mut left) = self.meeting(fan, &ranks, nth) {
            while left != 0 {
                let child = nth as u32 * u64::BITS + left.trailing_zeros();
                left &= left - 1;
                let first = self.firsts.get(child as usize).copied().unwrap_or(NONE);
                if first >= self.limit {
                    return;
                }
                if fan.is_of_boxes() {
                    visits.one();
                    if self.is_it(first) {
                        return;
                    }
                } else {
                    self.below(fan.children.wrapping_add(child), visits);
                }
            }
            nth += 1;
        }
    }

    /// One word of the children that may hold the packet, if the fan has so many. A call of its own: what it needs of the
    /// stack is free again when groups are searched.
    #[inline(never)]
    fn meeting(&mut self, fan: &Fan, ranks: &[u32; DIMENSIONS], nth: usize) -> Option<u64> {
        // But for the cuts, rows are the same for both families.
        let fan = fan.open::<u32>(self.rows)?;
        self.firsts = fan.firsts;
        let (ask, has_value) = (self.wanted.0, self.has_value);
        (nth < fan.words()).then(|| fan.word(ranks, ask, has_value, nth))
    }

    /// Searches a group below the fan and all that is below it.
    fn below(&mut self, mut at: u32, visits: &mut impl Visits) {
        // Of each level, the lowest first: the group above, and its children that are left.
        let mut left = [(0, 0_u32); LEVELS];
        let mut level = self.levels;
        loop {
            let Some(group) = self.group(at) else { return };
            match level.checked_sub(1) {
                None => {
                    visits.leaf();
                    self.leaf(group);
                }
                Some(below) => {
                    visits.node();
                    level = below;
                    let Some(slot) = left.get_mut(level) else { return };
                    *slot = (at, self.asked.children(group));
                }
            }
            // Up to the nearest level that has a child left, and down into that.
            at = loop {
                if level == self.levels {
                    return;
                }
                let Some((above, children)) = left.get_mut(level) else { return };
                let slot = children.trailing_zeros();
                *children &= children.wrapping_sub(1);
                if let Some(group) = self.group(*above)
                    && let Some(first) = group.index.get(slot as usize)
                    && *first < self.limit
                {
                    break group.children().wrapping_add(slot);
                }
                level += 1;
            };
        }
    }

    fn group(&self, at: u32) -> Option<&'b Group> {
        self.groups.get(at as usize)
    }

    /// The first box of a leaf that covers the packet, if it is before the best so far.
    fn leaf(&mut self, leaf: &Group) {
        for index in leaf.indexes() {
            if index >= self.limit {
                return;
            }
            if self.is_it(index) {
                return;
            }
        }
    }

    /// True if the box covers the packet: then it is the best so far.
    fn is_it(&mut self, index: u32) -> bool {
        let is_it = self.asked.covered_by(index);
        if is_it {
            self.best = index;
            self.limit = if self.wanted.1 { 0 } else { index };
        }
        is_it
    }
}
