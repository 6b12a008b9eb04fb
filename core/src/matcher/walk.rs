//! The tree searched in the least code: one packet, one slot after the other, compiled once a family.
//!
//! ```text
//! delta, then of the fan's children that may hold the packet, in order:
//!     leaf     slot by slot, up to the first box that covers it
//!     group    which slots hold it; the first of them, and so on down; then the next
//! ```
//! The same groups in the same order as [`tree`](super::tree), so the same answer within the same bound. Where
//! flash is scarce ([`COMPACT`](crate::simd::COMPACT)) it is the only search; tests hold one against the
//! other everywhere.

use super::fan::Open;
use super::group::{Address, Ask, DIMENSIONS, Group};
use super::linear::Key;
use super::tree::{LEVELS, NONE, Tree, Visits, some};
use crate::simd::Base;

/// A box that is asked for: in what, and whether any that covers the packet will do.
type Wanted = (Ask, bool);

/// [`Tree::find`].
pub(super) fn find<A: Address>(
    tree: &Tree<'_, A>,
    key: &Key<A>,
    wanted: Wanted,
    takes: &dyn Fn(u32) -> bool,
    visits: &mut impl Visits,
) -> Option<u32> {
    let mut walk = Walk { tree, key, wanted, takes, best: NONE };
    walk.run(visits);
    some(walk.best)
}

struct Walk<'w, 'b, A: Address> {
    tree: &'w Tree<'b, A>,
    key: &'w Key<A>,
    wanted: Wanted,
    takes: &'w dyn Fn(u32) -> bool,
    /// The first box so far.
    best: u32,
}

impl<A: Address> Walk<'_, '_, A> {
    fn run(&mut self, visits: &mut impl Visits) {
        let tree = self.tree;
        if let Some(delta) = tree.delta {
            visits.leaf();
            self.leaf(delta);
        }
        let Some(fan) = tree.fan else {
            // The first box may be in the delta.
            if self.limit() > 0 {
                self.below(tree.root, visits);
            }
            return;
        };
        let point = fan.point(self.key);
        // Rows are the same for both families.
        let Some(fan) = fan.open::<u32>(tree.arrays.rows) else { return };
        let Some(ranks) = ranks(&fan, &point) else { return };
        let (ask, has_value) = (self.wanted.0, self.key.values.has_value);
        for nth in 0..fan.words() {
            let mut left = fan.word(&ranks, ask, has_value, nth);
            while left != 0 {
                let child = nth as u32 * u64::BITS + left.trailing_zeros();
                left &= left - 1;
                let first = fan.firsts.get(child as usize).copied().unwrap_or(NONE);
                if first >= self.limit() {
                    return;
                }
                self.below(fan.children.wrapping_add(child), visits);
            }
        }
    }

    /// Boxes from here on are of no interest.
    fn limit(&self) -> u32 {
        if self.wanted.1 && self.best != NONE { 0 } else { self.best }
    }

    /// Searches a group below the fan and all that is below it.
    fn below(&mut self, mut at: u32, visits: &mut impl Visits) {
        let tree = self.tree;
        // Of each level, the lowest first: the group above, and its children that are left.
        let mut left = [(0, 0_u32); LEVELS];
        let mut level = tree.levels;
        loop {
            let Some(group) = tree.group(at) else { return };
            match level.checked_sub(1) {
                None => {
                    visits.leaf();
                    self.leaf(group);
                }
                Some(below) => {
                    visits.node();
                    level = below;
                    let Some(slot) = left.get_mut(level) else { return };
                    *slot = (at, group.holding(self.key, self.wanted.0));
                }
            }
            // Up to the nearest level that has a child left, and down into that.
            at = loop {
                if level == tree.levels {
                    return;
                }
                let limit = self.limit();
                let Some((above, children)) = left.get_mut(level) else { return };
                let slot = children.trailing_zeros();
                *children &= children.wrapping_sub(1);
                if let Some(group) = tree.group(*above)
                    && let Some(first) = group.index.get(slot as usize)
                    && *first < limit
                {
                    break group.children().wrapping_add(slot);
                }
                level += 1;
            };
        }
    }

    /// The first box of a leaf that covers the packet, if it is before the best so far. The boxes themselves
    /// are asked: their windows would be more code.
    fn leaf(&mut self, leaf: &Group) {
        let (tree, ask) = (self.tree, self.wanted.0);
        for index in leaf.indexes() {
            if index >= self.best {
                return;
            }
            if tree.covers(index, self.key, ask) && (self.takes)(index) {
                self.best = index;
                return;
            }
        }
    }
}

/// Of one place in the program.
#[inline(never)]
fn ranks(fan: &Open<'_, u32>, point: &[u32; DIMENSIONS]) -> Option<[u32; DIMENSIONS]> {
    fan.ranks::<Base>(point)
}
