//! Trees of one publication made from those of the one before: as they are, where a tunnel's boxes are
//! the same; with a few boxes taken out of their leaves and a few new ones in a leaf of their own (the
//! delta), where little changed. A tree that changed more is built anew.

use super::block::Boxed;
use super::group::{Address, Group, WIDTH};
use super::grow::Builder;
use super::order;
use super::tree::{Arrays, Grown, NO_GROUP};

/// Boxes that may come and go before a tree is built anew: as many as the delta has room for.
const CHANGES: u32 = WIDTH as u32;

/// Boxes that are compared as words, which is faster.
const PIECE: usize = 64;

/// Not `==`, which calls `bcmp`: a library without libc has none.
pub(super) fn are_alike(old: &[u32], new: &[u32]) -> bool {
    let differing = old.iter().zip(new).fold(0, |differing, (old, new)| differing | (old ^ new));
    old.len() == new.len() && differing == 0
}

/// How a list of boxes became another one: boxes in the middle were replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Change {
    /// Boxes in front, which stayed.
    kept: u32,
    removed: u32,
    added: u32,
    /// Boxes of the new list.
    count: u32,
}

impl Change {
    /// # Bound
    /// Linear in the boxes.
    fn between<A: Address>(old: &[Boxed<A>], new: &[Boxed<A>]) -> Option<Self> {
        let alike =
            |(old, new): &(&[Boxed<A>], &[Boxed<A>])| are_alike(A::words(old), A::words(new));
        let (pieces, more) = (old.chunks(PIECE).zip(new.chunks(PIECE)), old.len().min(new.len()));
        let kept = (PIECE * pieces.take_while(alike).count()).min(more);
        let (one, other) = (old.get(kept..)?, new.get(kept..)?);
        let kept = kept + one.iter().zip(other).take_while(|(old, new)| old == new).count();
        let (old, new) = (old.get(kept..)?, new.get(kept..)?);
        let pieces = old.rchunks(PIECE).zip(new.rchunks(PIECE));
        let same = (PIECE * pieces.take_while(alike).count()).min(old.len()).min(new.len());
        let (one, other) = (old.get(..old.len() - same)?, new.get(..new.len() - same)?);
        let behind = one.iter().rev().zip(other.iter().rev());
        let same = same + behind.take_while(|(old, new)| old == new).count();
        Some(Self {
            kept: kept as u32,
            removed: (old.len() - same) as u32,
            added: (new.len() - same) as u32,
            count: (kept + new.len()) as u32,
        })
    }

    fn is_removed(&self, index: u32) -> bool {
        index.checked_sub(self.kept).is_some_and(|behind| behind < self.removed)
    }

    /// Where a box is now; of one that is removed, a place that is no later than those of all behind it.
    fn place(&self, index: u32) -> u32 {
        if index < self.kept {
            index
        } else if self.is_removed(index) {
            self.kept.min(self.count.saturating_sub(1))
        } else {
            (index - self.removed).saturating_add(self.added)
        }
    }
}

/// A tree and the boxes it is of.
pub(super) struct Old<'b, A: Address> {
    pub(super) boxes: &'b [Boxed<A>],
    pub(super) arrays: Arrays<'b>,
    pub(super) grown: Grown,
}

impl<A: Address> Old<'_, A> {
    /// Writes the tree of the new boxes behind those that were built. `None` if too much changed, or there
    /// is no room.
    ///
    /// # Bound
    /// Linear in the boxes: compares and copies.
    pub(super) fn patch(&self, boxes: &[Boxed<A>], to: &mut Builder<'_>) -> Option<Grown> {
        let change = Change::between(self.boxes, boxes)?;
        let grown = self.grown;
        let changes = grown.changes.checked_add(change.removed)?.checked_add(change.added)?;
        if changes > CHANGES {
            return None;
        }
        let from = grown.first as usize;
        let old = self.arrays.groups.get(from..from.checked_add(grown.groups as usize)?)?;
        let delta_at = grown.delta.checked_sub(grown.first).filter(|_| grown.delta != NO_GROUP);
        let mut new = grown;
        new.first = u32::try_from(to.groups_end).ok()?;
        new.changes = changes;
        let moved = |children: u32| children.wrapping_sub(grown.first).wrapping_add(new.first);
        // New boxes at the end move no others.
        let is_moved = (change.kept as usize) < self.boxes.len();
        let mut kept_in_delta: heapless::Vec<u32, WIDTH> = heapless::Vec::new();
        for (nth, group) in old.iter().enumerate() {
            let mut group = *group;
            if delta_at == Some(nth as u32) {
                // `extend` can panic.
                for index in group.indexes().filter(|index| !change.is_removed(*index)) {
                    kept_in_delta.push(change.place(index)).ok()?;
                }
            }
            if !group.is_leaf() {
                group.set_children(moved(group.children()));
            } else if change.removed > 0 {
                group.blank(|index| change.is_removed(index));
            }
            if is_moved {
                group.renumber(|index| change.place(index));
            }
            *to.groups.get_mut(to.groups_end + nth)? = group;
        }
        if change.added > 0 {
            for index in change.kept..change.kept + change.added {
                kept_in_delta.push(index).ok()?;
            }
            order::sort(&mut kept_in_delta, |index| *index);
            let at = delta_at.map_or(old.len(), |at| at as usize);
            *to.groups.get_mut(to.groups_end + at)? = Group::leaf(boxes, &kept_in_delta)?;
            new.groups = grown.groups.max(at as u32 + 1);
            new.delta = new.first + at as u32;
        } else if let Some(at) = delta_at {
            new.delta = new.first + at;
        }
        let mut fan = *self.arrays.fans.get(grown.fan as usize)?;
        let words = fan.layout()?.size();
        let old = self.arrays.rows.get(fan.rows as usize..)?.get(..words)?;
        let rows = to.rows.get_mut(to.rows_end..)?.get_mut(..words)?;
        // `copy_from_slice` can panic.
        rows.iter_mut().zip(old).for_each(|(slot, word)| *slot = *word);
        if change.removed > 0 {
            fan.blank(rows, |index| change.is_removed(index));
        }
        if is_moved {
            fan.renumber(rows, |index| change.place(index));
        }
        if !fan.is_of_boxes() {
            fan.children = moved(fan.children);
        }
        fan.rows = u32::try_from(to.rows_end).ok()?;
        new.fan = u32::try_from(to.fans_end).ok()?;
        *to.fans.get_mut(to.fans_end)? = fan;
        to.fans_end += 1;
        to.rows_end += words;
        to.groups_end += new.groups as usize;
        Some(new)
    }
}
