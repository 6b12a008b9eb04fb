//! Trees of one publication made from those of the one before: as they are, where a tunnel's boxes are the same; with
//! boxes taken out and others put in, where few changed. A tree that changed by more is built anew.
//!
//! ```text
//! fan over boxes   bits of masks are taken out or put in, and set where the new box's ranges lie
//! leaves           a box that goes leaves its slot empty; one that comes takes a slot of the leaf that masks say is
//!                  nearest: they and the bounds above it hold that box too from then on
//! ```
//! What was taken out or put in is found no later than what was there; but intervals and leaves were made for others, so
//! searches look at more than they would in a tree built anew, which is due after [`most_changes`].

use super::block::Boxed;
use super::fan::{Fan, WORD};
use super::group::{Address, Bounds, DIMENSIONS, Group, WIDTH};
use super::grow::Builder;
use super::order;
use super::rows::CHILDREN;
use super::tree::{Arrays, Grown, most_changes};

/// Boxes that are compared as words, which is faster.
const PIECE: usize = 64;

/// Places of a list that may have changed at once.
const EDITS: usize = 16;

/// Up to so many boxes of both lists together are looked for in all ways.
const NEAR: usize = 32;

/// Not `==`, which calls `bcmp`: a library without libc has none.
pub(super) fn are_alike(old: &[u32], new: &[u32]) -> bool {
    let differing = old.iter().zip(new).fold(0, |differing, (old, new)| differing | (old ^ new));
    old.len() == new.len() && differing == 0
}

/// Boxes that were replaced by others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Edit {
    /// The first of them in the old list, and in the new one.
    at: usize,
    place: usize,
    removed: usize,
    added: usize,
}

type Edits = heapless::Vec<Edit, EDITS>;

/// How a list of boxes became another one, front to back.
///
/// # Bound
/// Linear in the boxes, at each of up to 16 places that changed.
fn edits<A: Address>(old: &[Boxed<A>], new: &[Boxed<A>]) -> Option<Edits> {
    let mut edits = Edits::new();
    let (mut at, mut place) = (0, 0);
    loop {
        let same = same_in_front(old.get(at..)?, new.get(place..)?);
        (at, place) = (at + same, place + same);
        let (old, new) = (old.get(at..)?, new.get(place..)?);
        if old.is_empty() && new.is_empty() {
            return Some(edits);
        }
        let is_last = edits.len() + 1 == EDITS;
        let (removed, added) = until_same(old, new, is_last);
        edits.push(Edit { at, place, removed, added }).ok()?;
        (at, place) = (at + removed, place + added);
    }
}

/// So many boxes at the start of two lists are the same.
fn same_in_front<A: Address>(old: &[Boxed<A>], new: &[Boxed<A>]) -> usize {
    let alike = |(old, new): &(&[Boxed<A>], &[Boxed<A>])| are_alike(A::words(old), A::words(new));
    let pieces = old.chunks(PIECE).zip(new.chunks(PIECE)).take_while(alike).count();
    let same = (PIECE * pieces).min(old.len()).min(new.len());
    let (old, new) = (old.iter().skip(same), new.iter().skip(same));
    same + old.zip(new).take_while(|(old, new)| old == new).count()
}

/// The same of their ends.
fn same_behind<A: Address>(old: &[Boxed<A>], new: &[Boxed<A>]) -> usize {
    let alike = |(old, new): &(&[Boxed<A>], &[Boxed<A>])| are_alike(A::words(old), A::words(new));
    let pieces = old.rchunks(PIECE).zip(new.rchunks(PIECE)).take_while(alike).count();
    let same = (PIECE * pieces).min(old.len()).min(new.len());
    let (old, new) = (old.iter().rev().skip(same), new.iter().rev().skip(same));
    same + old.zip(new).take_while(|(old, new)| old == new).count()
}

/// How many boxes of either list are in front of one that both have, where the first ones differ; of the last edit all that
/// differ.
fn until_same<A: Address>(old: &[Boxed<A>], new: &[Boxed<A>], is_last: bool) -> (usize, usize) {
    let behind = same_behind(old, new);
    let (removed, added) = (old.len() - behind, new.len() - behind);
    if is_last || removed == 0 || added == 0 {
        return (removed, added);
    }
    let is_same = |(removed, added): &(usize, usize)| {
        old.get(*removed).is_some_and(|one| new.get(*added) == Some(one))
    };
    let some = (1..=most_changes(new.len())).find_map(|sum| {
        // Boxes of one list alone, or a few of each.
        let step = if sum > NEAR { sum } else { 1 }.max(1);
        (0..=sum).step_by(step).map(|removed| (removed, sum - removed)).find(is_same)
    });
    some.unwrap_or((removed, added))
}

impl Edit {
    fn is_removed(&self, index: u32) -> bool {
        (index as usize).checked_sub(self.at).is_some_and(|behind| behind < self.removed)
    }

    /// Where a box is after this edit; of one that is removed, the place of one in front.
    fn number(&self, index: u32) -> u32 {
        let before = self.at as u32;
        if index < before {
            index
        } else if self.is_removed(index) {
            before.saturating_sub(1)
        } else {
            index.wrapping_sub(self.removed as u32).wrapping_add(self.added as u32)
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
    /// Linear in the boxes, for each box that came, and for each of up to 16 places where boxes came or went: compares,
    /// copies, and looks for a leaf with room.
    pub(super) fn patch(&self, boxes: &[Boxed<A>], to: &mut Builder<'_>) -> Option<Grown> {
        let edits = edits(self.boxes, boxes)?;
        let changes = edits.iter().map(|edit| edit.removed + edit.added).sum::<usize>();
        let changes = changes.checked_add(self.grown.changes as usize)?;
        if changes > most_changes(boxes.len()) {
            return None;
        }
        let (mut grown, fan) = self.copy(to)?;
        grown.changes = changes as u32;
        let rows = to.rows.get_mut(to.rows_end..)?;
        let groups_end = to.groups_end + grown.groups as usize;
        if fan.is_of_boxes() {
            fan.replace(rows, (boxes, self.boxes.len()), &edits)?;
        } else {
            let groups = to.groups.get_mut(..groups_end)?;
            let count = self.boxes.len();
            Copied { boxes, grown, groups, fan: &fan, rows }.replace(count, &edits)?;
        }
        to.fans_end += 1;
        to.rows_end += fan.layout()?.size();
        to.groups_end = groups_end;
        Some(grown)
    }

    /// Writes the tree as it is, behind those that were built.
    fn copy(&self, to: &mut Builder<'_>) -> Option<(Grown, Fan)> {
        let Grown { first, groups, fan, .. } = self.grown;
        let old = self.arrays.groups.get(first as usize..)?.get(..groups as usize)?;
        let moved = u32::try_from(to.groups_end).ok()?.wrapping_sub(first);
        let new = to.groups.get_mut(to.groups_end..)?.get_mut(..old.len())?;
        for (slot, group) in new.iter_mut().zip(old) {
            *slot = *group;
            if !slot.is_leaf() {
                slot.set_children(group.children().wrapping_add(moved));
            }
        }
        let mut fan = *self.arrays.fans.get(fan as usize)?;
        let old = self.arrays.rows.get(fan.rows as usize..)?.get(..fan.layout()?.size())?;
        let new = to.rows.get_mut(to.rows_end..)?.get_mut(..old.len())?;
        // `copy_from_slice` can panic.
        new.iter_mut().zip(old).for_each(|(slot, word)| *slot = *word);
        if !fan.is_of_boxes() {
            fan.children = fan.children.wrapping_add(moved);
        }
        fan.rows = u32::try_from(to.rows_end).ok()?;
        *to.fans.get_mut(to.fans_end)? = fan;
        let (first, at) = (first.wrapping_add(moved), u32::try_from(to.fans_end).ok()?);
        Some((Grown { first, fan: at, ..self.grown }, fan))
    }
}

impl Fan {
    /// Changes a fan over boxes, of which so many there were.
    fn replace<A: Address>(
        &self,
        rows: &mut [u64],
        (boxes, count): (&[Boxed<A>], usize),
        edits: &[Edit],
    ) -> Option<()> {
        if boxes.len() > self.layout()?.words * WORD {
            return None;
        }
        // First what goes, back to front: what is in front is where it was in the old list. Masks that are full have no
        // room for what comes until then. Boxes that come behind all others move none.
        for Edit { at, removed, .. } in edits.iter().rev().filter(|edit| edit.removed > 0) {
            self.splice(rows, (*at, *removed, 0))?;
        }
        let comes = |edit: &&Edit| edit.added > 0 && edit.at < count;
        for Edit { place, added, .. } in edits.iter().filter(comes) {
            self.splice(rows, (*place, 0, *added))?;
        }
        for Edit { place, added, .. } in edits {
            for (child, one) in boxes.iter().enumerate().skip(*place).take(*added) {
                self.mark(rows, child, one)?;
            }
        }
        Some(())
    }
}

/// A tree of leaves that has been copied, and its boxes as they are now.
struct Copied<'t, A: Address> {
    boxes: &'t [Boxed<A>],
    grown: Grown,
    groups: &'t mut [Group],
    fan: &'t Fan,
    rows: &'t mut [u64],
}

/// What a child costs that has no room.
const FULL: u64 = u64::MAX;

impl<A: Address> Copied<'_, A> {
    /// So many boxes there were.
    fn replace(mut self, count: usize, edits: &[Edit]) -> Option<()> {
        let firsts = self.fan.layout()?.firsts_in(self.rows)?;
        let own = self.groups.get_mut(self.grown.first as usize..)?;
        // As above.
        for edit in edits.iter().rev().filter(|edit| edit.at < count) {
            for group in own.iter_mut().filter(|group| group.reaches(edit.at as u32)) {
                if group.is_leaf() {
                    group.blank(|index| edit.is_removed(index));
                }
                group.renumber(|index| edit.number(index));
            }
            let used = firsts.iter_mut().filter(|first| **first != u32::MAX);
            used.for_each(|first| *first = edit.number(*first));
        }
        for Edit { place, added, .. } in edits {
            for (index, one) in self.boxes.iter().enumerate().skip(*place).take(*added) {
                self.add(index as u32, one)?;
            }
        }
        Some(())
    }

    /// Puts a box into a leaf, if there is room in any: below the child of the fan that costs packets least.
    fn add(&mut self, index: u32, one: &Boxed<A>) -> Option<()> {
        let layout = self.fan.layout()?;
        let mut costs = [FULL; CHILDREN];
        self.fan.costs(self.rows, one, &mut costs)?;
        let firsts = layout.firsts_in(self.rows)?;
        let count = firsts.iter().take_while(|first| **first != u32::MAX).count();
        let costs = costs.get_mut(..count)?;
        // Below a child that starts behind the box it takes the order from those in front of that: fewer searches end
        // before they come there.
        let from = firsts.iter().filter(|first| **first <= index).count();
        for (nth, cost) in (1..).zip(costs.iter_mut().skip(from)) {
            *cost += *cost / 64 * (1024 * nth / count.max(1)) as u64;
        }
        for _ in 0..count {
            let (child, cost) = costs.iter_mut().enumerate().min_by_key(|(_, cost)| **cost)?;
            *cost = FULL;
            let at = self.fan.children.wrapping_add(child as u32);
            if self.put(at, self.grown.levels, index, one).is_some() {
                // Ascending, as searches expect.
                let firsts = layout.firsts_in(self.rows)?;
                firsts.iter_mut().take(child + 1).for_each(|first| *first = index.min(*first));
                return self.fan.mark(self.rows, child, one);
            }
        }
        None
    }

    /// Puts a box into a leaf below a group, if there is room in one. Calls itself as often as there are levels.
    fn put(&mut self, at: u32, level: u32, index: u32, one: &Boxed<A>) -> Option<()> {
        let group = self.groups.get_mut(at as usize)?;
        let Some(below) = level.checked_sub(1) else {
            let mut set: heapless::Vec<u32, WIDTH> = heapless::Vec::new();
            // `extend` can panic.
            for index in group.indexes().chain([index]) {
                set.push(index).ok()?;
            }
            order::sort(&mut set, |index| *index);
            *group = Group::leaf(self.boxes, &set)?;
            return Some(());
        };
        let (children, bounds) =
            (group.children(), Bounds::of(&A::framed(&group.frame), index, one));
        let mut all: heapless::Vec<Bounds, WIDTH> = heapless::Vec::new();
        for slot in 0..group.count() {
            all.push(group.bounds(slot)?).ok()?;
        }
        let mut costs = costs(&all, &bounds);
        for _ in 0..all.len() {
            let (slot, cost) = costs.iter_mut().enumerate().min_by_key(|(_, cost)| **cost)?;
            *cost = FULL;
            if self.put(children.wrapping_add(slot as u32), below, index, one).is_some() {
                let mut grown = *all.get(slot)?;
                grown.join(&bounds);
                let group = self.groups.get_mut(at as usize)?;
                group.set(slot, &grown);
                group.start_with(index, slot);
                return Some(());
            }
        }
        None
    }
}

/// What it costs packets if a box is put below each of these children of a group, as [`Fan::costs`] has it: how many of
/// them a child meets says how wide it is.
fn costs(all: &[Bounds], one: &Bounds) -> [u64; WIDTH] {
    let width = |own: &Bounds| {
        let meets = |nth: usize| {
            let range = own.range(nth);
            let meets = |other: &&Bounds| {
                let both = range.zip(other.range(nth));
                both.is_some_and(|((lo, hi), (other_lo, other_hi))| {
                    lo <= other_hi && other_lo <= hi
                })
            };
            all.iter().filter(meets).count() as u64 + 1
        };
        (0..DIMENSIONS).map(meets).product::<u64>()
    };
    let mut costs = [FULL; WIDTH];
    for (cost, own) in costs.iter_mut().zip(all) {
        let mut grown = *own;
        grown.join(one);
        let (before, after) = (width(own), width(&grown));
        *cost = after.saturating_sub(before) + after / 16;
    }
    costs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::block::Rest;
    use super::*;
    use crate::few::few;

    fn boxes(names: &[u32]) -> Vec<Boxed<u32>> {
        let of = |name: &u32| Boxed {
            rest: Rest { child: *name, ..Rest::default() },
            ..Boxed::default()
        };
        names.iter().map(of).collect()
    }

    /// Carries edits out, and says where each box of the old list is.
    fn carried_out(old: &[Boxed<u32>], new: &[Boxed<u32>], edits: &[Edit]) -> Vec<Boxed<u32>> {
        let mut list = old.to_vec();
        let mut numbers: Vec<u32> = (0..old.len() as u32).collect();
        for edit in edits.iter().rev() {
            let added = new[edit.place..edit.place + edit.added].to_vec();
            list.splice(edit.at..edit.at + edit.removed, added);
            numbers.iter_mut().for_each(|number| *number = edit.number(*number));
        }
        let stays = |at: &usize| !edits.iter().any(|edit| edit.is_removed(*at as u32));
        for at in (0..old.len()).filter(stays) {
            assert_eq!(new[numbers[at] as usize], old[at]);
        }
        assert!(numbers.is_sorted());
        list
    }

    proptest! {
        #![proptest_config(few())]
        /// Few names, so that the same boxes come again and again.
        #[test]
        fn edits_make_one_list_the_other(
            old in proptest::collection::vec(0_u32..6, 1..200),
            cuts in proptest::collection::vec((any::<proptest::sample::Index>(), 0_usize..9, proptest::collection::vec(0_u32..9, 0..9)), 0..30),
        ) {
            let old = boxes(&old);
            let mut new = old.clone();
            for (at, out, into) in cuts {
                let at = at.index(new.len() + 1);
                new.splice(at..(at + out).min(new.len()), boxes(&into));
            }
            let edits = edits(&old, &new).unwrap();
            prop_assert_eq!(carried_out(&old, &new, &edits), new);
        }

        /// Where no box comes twice, what goes in one place and what comes in another are two edits and no more.
        #[test]
        fn edits_are_as_small_as_what_changed(count in 300_u32..400, first in 0_usize..100, second in 150_usize..290, out in 0_usize..9, into in 0_u32..9) {
            let old = boxes(&(0..count).collect::<Vec<_>>());
            let mut new = old.clone();
            new.splice(second..second, boxes(&(1000..1000 + into).collect::<Vec<_>>()));
            new.drain(first..first + out);
            let edits = edits(&old, &new).unwrap();
            let changed = edits.iter().map(|edit| edit.removed + edit.added).sum::<usize>();
            prop_assert_eq!(changed, out + into as usize);
        }
    }
}
