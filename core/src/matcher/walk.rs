//! The tree searched in the least code: one packet, one slot after the other, compiled once. What differs by family,
//! boxes and addresses, is behind [`Asked`].
//!
//! ```text
//! of the fan's children that may hold the packet, in order:
//!     leaf     slot by slot, up to the first box that covers it
//!     group    which slots hold it; the first of them, and so on down; then the next
//! ```
//! The same groups in the same order as [`tree`](super::tree), so the same answer within the same bound. Where
//! flash is scarce ([`COMPACT`](crate::simd::COMPACT)) it is the only search; tests hold one against the
//! other everywhere.

use super::block::Boxed;
use super::fan::Fan;
use super::group::{Address, Ask, DIMENSIONS, Frame, Group, NONE};
use super::linear::{Key, Values};
use super::rows::{Layout, numbers};
use super::tree::{Arrays, LEVELS, Tree, Visits, some};

/// A box that is asked for.
pub(super) struct Wanted<'w> {
    /// What of it must cover the packet.
    pub(super) ask: Ask,
    /// Any such box will do.
    pub(super) any: bool,
    /// Which Child SAs count.
    pub(super) accept: &'w dyn Fn(u32) -> bool,
}

/// [`Tree::find`] among the boxes of one Child SA, or of those that `accept` takes; `arrays` are the tree's.
#[inline(always)]
pub(super) fn find<'b, A: Address>(
    tree: &Tree<'b, A>,
    arrays: &Arrays<'b>,
    key: &Key<A>,
    wanted: &Wanted<'_>,
    child: &Option<u32>,
    visits: &mut impl Visits,
) -> Option<u32> {
    let asked = Packet { boxes: tree.boxes, key, child, wanted };
    let mut walk = Walk {
        arrays,
        levels: tree.levels as u32,
        asked: &asked,
        values: &key.values,
        wanted,
        best: NONE,
        limit: NONE,
    };
    walk.run(tree.fan, visits);
    some(walk.best)
}

/// A packet, asked of one tree. Of its addresses the remote one is number 0, the local one number 1.
trait Asked {
    /// What a window shows of an address.
    fn seen(&self, frame: &Frame, which: usize) -> u32;
    /// In which interval of whole addresses one lies; `None` for IPv4, for which there are none.
    fn wide_rank(&self, fan: &Fan, rows: &[u64], which: usize) -> Option<usize>;
    /// The box covers it, and counts.
    fn covered_by(&self, index: u32) -> bool;
}

struct Packet<'w, 'b, A: Address> {
    boxes: &'b [Boxed<A>],
    key: &'w Key<A>,
    child: &'w Option<u32>,
    wanted: &'w Wanted<'w>,
}

impl<A: Address> Packet<'_, '_, A> {
    fn address(&self, which: usize) -> A {
        if which == 0 { self.key.remote } else { self.key.local }
    }
}

impl<A: Address> Asked for Packet<'_, '_, A> {
    fn seen(&self, frame: &Frame, which: usize) -> u32 {
        A::seen(frame, which, self.address(which))
    }

    fn wide_rank(&self, fan: &Fan, rows: &[u64], which: usize) -> Option<usize> {
        if A::WHOLE {
            return None;
        }
        let layout = fan.layout().filter(|layout| layout.is_wide)?;
        layout.wide_rank(rows, which, self.address(which).wide())
    }

    // The boxes themselves are asked: their windows would be more code.
    fn covered_by(&self, index: u32) -> bool {
        let Some(one) = self.boxes.get(index as usize) else { return false };
        let child = one.child();
        one.covers_in(self.key, self.wanted.ask)
            && self.child.is_none_or(|own| own == child)
            && (self.wanted.accept)(child)
    }
}

/// Where a packet is in the rows of a fan.
struct Place<'b> {
    rows: &'b [u64],
    /// The first words of the masks that it is found by; for what is not asked the first mask again.
    masks: [u32; DIMENSIONS],
    /// Words of a mask.
    words: u32,
    /// Where the first boxes below children start, in numbers of 32 bits.
    firsts: u32,
}

impl Place<'_> {
    /// One word of the children that may hold the packet.
    fn word(&self, nth: usize) -> u64 {
        let word = |start: &u32| self.rows.get(*start as usize + nth).copied().unwrap_or(0);
        self.masks.iter().map(word).fold(u64::MAX, |common, word| common & word)
    }

    /// The first box below a child that is a group.
    fn first(&self, child: u32) -> u32 {
        let first = numbers(self.rows).get(self.firsts as usize + child as usize);
        first.copied().unwrap_or(NONE)
    }
}

struct Walk<'w, 'b> {
    arrays: &'w Arrays<'b>,
    levels: u32,
    asked: &'w dyn Asked,
    values: &'w Values,
    wanted: &'w Wanted<'w>,
    /// The first box so far.
    best: u32,
    /// Boxes from here on are of no interest.
    limit: u32,
}

impl<'b> Walk<'_, 'b> {
    fn run(&mut self, fan: &Fan, visits: &mut impl Visits) {
        let mut place = Place { rows: &[], masks: [0; DIMENSIONS], words: 0, firsts: 0 };
        if self.find(fan, &mut place).is_some() {
            self.visit(fan, &place, visits);
        }
    }

    /// Searches the children of a fan that may hold the packet. A call of its own: before, nothing of it is on the
    /// stack.
    #[inline(never)]
    fn visit(&mut self, fan: &Fan, place: &Place<'_>, visits: &mut impl Visits) {
        for nth in 0..place.words as usize {
            let mut left = place.word(nth);
            while left != 0 {
                let child = nth as u32 * u64::BITS + left.trailing_zeros();
                left &= left - 1;
                if fan.is_of_boxes() {
                    visits.one();
                    if self.is_it(child) {
                        return;
                    }
                    continue;
                }
                if place.first(child) >= self.limit {
                    return;
                }
                self.below(fan.children.wrapping_add(child), visits);
            }
        }
    }

    /// Finds the packet in the rows of a fan. A call of its own: what it needs of the stack is free again when groups
    /// are searched.
    #[inline(never)]
    fn find(&self, fan: &Fan, place: &mut Place<'b>) -> Option<()> {
        let layout = fan.layout()?;
        place.words = layout.words as u32;
        place.firsts = 2 * layout.firsts().start as u32;
        place.rows = self.arrays.rows.get(fan.rows as usize..)?;
        for dimension in 0..DIMENSIONS {
            let is_port = dimension == 2 || dimension == 3;
            let is_asked = match self.wanted.ask {
                Ask::Source => dimension == 0,
                Ask::Portless => !is_port,
                Ask::All => true,
            };
            let mask = match is_asked {
                false => *place.masks.first()?,
                true => {
                    let row = match is_port && !self.values.has_value() {
                        true => layout.all(),
                        false => {
                            layout.before(dimension)
                                + self.rank(fan, layout, place.rows, dimension)?
                        }
                    };
                    (layout.masks(0).start + row * layout.words) as u32
                }
            };
            *place.masks.get_mut(dimension)? = mask;
        }
        Some(())
    }

    /// In which interval of a dimension it lies.
    fn rank(&self, fan: &Fan, layout: Layout, rows: &[u64], dimension: usize) -> Option<usize> {
        let value = match dimension {
            0 | 1 => {
                if let Some(rank) = self.asked.wide_rank(fan, rows, dimension) {
                    return Some(rank);
                }
                self.asked.seen(&fan.frame, dimension)
            }
            2 => self.values.remote.into(),
            3 => self.values.local.into(),
            _ => self.values.protocol.into(),
        };
        Some(layout.rank(rows, dimension, value))
    }

    /// Searches a group below the fan and all that is below it.
    fn below(&mut self, mut at: u32, visits: &mut impl Visits) {
        // Of each level, the lowest first: the group above, and its children that are left.
        let mut left = [(0, 0_u32); LEVELS];
        let mut level = self.levels as usize;
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
                    *slot = (at, self.holding(group));
                }
            }
            // Up to the nearest level that has a child left, and down into that.
            at = loop {
                if level == self.levels as usize {
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

    /// The children of a group that hold the packet. A call of its own for the same reason.
    #[inline(never)]
    fn holding(&self, group: &Group) -> u32 {
        let (remote, local) = (self.asked.seen(&group.frame, 0), self.asked.seen(&group.frame, 1));
        group.holding([remote, local], self.values, self.wanted.ask)
    }

    fn group(&self, at: u32) -> Option<&'b Group> {
        self.arrays.groups.get(at as usize)
    }

    /// The first box of a leaf that covers the packet, if it is before the best so far. A call of its own, as that.
    #[inline(never)]
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
            self.limit = if self.wanted.any { 0 } else { index };
        }
        is_it
    }
}
