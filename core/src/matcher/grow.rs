//! How a tree is built: a set is divided ([`divide`](super::divide)), and its parts are leaves, or divided again.

use core::mem::size_of;

use bytemuck::{Pod, Zeroable};

use super::block::Boxed;
use super::divide::{Divide, desk_for};
use super::fan::Fan;
use super::group::{Address, Bounds, Frame, Group, WIDTH, window_of};
use super::order;
use super::patch::Old;
use super::rows::Desk;
use super::tree::{Grown, Shape};

/// Where trees are built, of both families: the arrays, and how much of them is in use.
pub(super) struct Builder<'b> {
    pub(super) groups: &'b mut [Group],
    pub(super) groups_end: usize,
    pub(super) fans: &'b mut [Fan],
    pub(super) fans_end: usize,
    pub(super) rows: &'b mut [u64],
    pub(super) rows_end: usize,
    /// As many numbers as [`scratch_for`] says for the largest set.
    pub(super) scratch: &'b mut [u32],
}

/// Numbers that building the tree of so many boxes takes: one for each of them, and for each child of the
/// fan a [`Part`] and two ends; two ends of each box for a fan over boxes.
pub(super) fn scratch_for(boxes: usize, shape: &Shape) -> usize {
    if shape.is_of_boxes() { 2 * boxes } else { boxes + (PART + 2) * shape.children }
}

/// Part of a set: below one child.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Part {
    /// Its first box.
    pub(super) first: u32,
    pub(super) start: u32,
    pub(super) len: u32,
    /// Into how many it is to be divided.
    pub(super) parts: u32,
}

const PART: usize = size_of::<Part>() / size_of::<u32>();
const _: () = assert!(size_of::<Part>() == 16);

plain!(Part);

/// The parts of a set, in memory of any kind.
pub(super) struct Parts<'p> {
    room: &'p mut [Part],
    count: usize,
}

impl<'p> Parts<'p> {
    pub(super) fn new(room: &'p mut [Part]) -> Self {
        Self { room, count: 0 }
    }

    /// In so many numbers, at most so many; and what numbers are left.
    pub(super) fn within(room: &'p mut [u32], most: usize) -> Option<(Self, &'p mut [u32])> {
        let (room, rest) = room.split_at_mut_checked(PART.checked_mul(most)?)?;
        Some((Self::new(bytemuck::try_cast_slice_mut(room).ok()?), rest))
    }

    pub(super) fn clear(&mut self) {
        self.count = 0;
    }

    pub(super) fn push(&mut self, part: Part) -> Option<()> {
        *self.room.get_mut(self.count)? = part;
        self.count += 1;
        Some(())
    }

    pub(super) fn found(&mut self) -> &mut [Part] {
        self.room.get_mut(..self.count).unwrap_or(&mut [])
    }
}

impl Part {
    pub(super) fn of<'s, T>(&self, set: &'s [T]) -> &'s [T] {
        set.get(self.start as usize..).and_then(|set| set.get(..self.len as usize)).unwrap_or(&[])
    }

    pub(super) fn of_mut<'s>(&self, set: &'s mut [u32]) -> Option<&'s mut [u32]> {
        set.get_mut(self.start as usize..)?.get_mut(..self.len as usize)
    }
}

impl Builder<'_> {
    /// Builds the tree of a set. `None` if the arrays end. The same set gives the same tree.
    ///
    /// # Bound
    /// O(n log n) in time on average, 40 KiB of stack.
    pub(super) fn build<A: Address>(&mut self, boxes: &[Boxed<A>]) -> Option<Grown> {
        let scratch = core::mem::take(&mut self.scratch);
        let (first, first_fan) = (self.groups_end, self.fans_end);
        let shape = Shape::of::<A>(boxes.len());
        let built = if shape.is_of_boxes() {
            self.flat(boxes, &shape, scratch)
        } else {
            scratch.split_at_mut_checked(boxes.len()).and_then(|(set, room)| {
                set.iter_mut().zip(0..).for_each(|(slot, index)| *slot = index);
                self.top(boxes, set, &shape, room)
            })
        };
        self.scratch = scratch;
        built?;
        Some(Grown {
            first: u32::try_from(first).ok()?,
            groups: u32::try_from(self.groups_end - first).ok()?,
            fan: u32::try_from(first_fan).ok()?,
            levels: shape.levels as u32,
            ..Grown::NONE
        })
    }

    /// Makes the tree of a set out of that of an older one, if little changed; else builds it.
    pub(super) fn renew<A: Address>(
        &mut self,
        old: Option<Old<'_, A>>,
        boxes: &[Boxed<A>],
    ) -> Option<Grown> {
        match old.and_then(|old| old.patch(boxes, self)) {
            Some(grown) => Some(grown),
            None => self.build(boxes),
        }
    }

    /// Builds a fan over the boxes.
    fn flat<A: Address>(
        &mut self,
        boxes: &[Boxed<A>],
        shape: &Shape,
        ends: &mut [u32],
    ) -> Option<()> {
        let start = self.rows_end;
        let rows = self.rows.get_mut(start..)?.get_mut(..shape.layout.size())?;
        self.rows_end += rows.len();
        // Only IPv4 addresses are seen through it.
        let window = A::framed(&Frame::default());
        let bounds = |child: usize| {
            boxes.get(child).map_or(Bounds::NONE, |one| Bounds::of(&window, child as u32, one))
        };
        let ranges = |child: usize| {
            boxes.get(child).map_or_else(Default::default, |one| {
                let (remote, local) =
                    ((one.remote_lo, one.remote_hi), (one.local_lo, one.local_hi));
                [remote, local].map(|(lo, hi)| (lo.wide(), hi.wide()))
            })
        };
        let parts = (shape.layout, boxes.len());
        let fan =
            Fan::of_boxes(u32::try_from(start).ok()?, parts, bounds, ranges, Desk { ends, rows })?;
        *self.fans.get_mut(self.fans_end)? = fan;
        self.fans_end += 1;
        Some(())
    }

    /// Builds what is at the top, and all below it.
    fn top<A: Address>(
        &mut self,
        boxes: &[Boxed<A>],
        set: &mut [u32],
        shape: &Shape,
        room: &mut [u32],
    ) -> Option<()> {
        let (mut parts, ends) = Parts::within(room, shape.children)?;
        let ends = ends.get_mut(..2 * shape.children)?;
        let children = self.family(boxes, set, shape.children, shape.levels, &mut parts)?;
        let parts = parts.found();
        let window = window_of(boxes, set);
        let start = self.rows_end;
        let rows = self.rows.get_mut(start..)?.get_mut(..shape.layout.size())?;
        self.rows_end += rows.len();
        let bounds = |child: usize| {
            parts.get(child).map_or(Bounds::NONE, |part| part.bounds(boxes, set, &window))
        };
        let ranges = |child: usize, dimension: usize| {
            let part = parts.get(child).map_or(&[][..], |part| part.of(set));
            let bounds = part
                .iter()
                .filter_map(|index| Some(Bounds::of(&window, *index, boxes.get(*index as usize)?)));
            bounds.filter_map(move |bounds| bounds.range(dimension))
        };
        let places = (u32::try_from(start).ok()?, children);
        let fan = Fan::of_groups::<A, _>(
            &window,
            places,
            (shape.layout, parts.len()),
            (bounds, ranges),
            Desk { ends, rows },
        )?;
        *self.fans.get_mut(self.fans_end)? = fan;
        self.fans_end += 1;
        Some(())
    }

    /// Divides a set into at most so many parts and makes a group of each, neighbours in the order of
    /// their first boxes. The first of them, and the parts.
    fn family<A: Address>(
        &mut self,
        boxes: &[Boxed<A>],
        set: &mut [u32],
        parts: usize,
        level: usize,
        found: &mut Parts<'_>,
    ) -> Option<u32> {
        let room = WIDTH << (4 * level);
        // Leaves of the set are not there yet, 32 octets a box at least; what divides it takes less.
        let free = self.groups.get_mut(self.groups_end..)?;
        let desk = bytemuck::try_cast_slice_mut(free).ok()?;
        let desk = desk.get_mut(..desk_for(set.len(), parts))?;
        let divide = Divide::new(boxes, set, room);
        // The first of a tree, of all its boxes.
        if parts > WIDTH {
            divide.best(set, parts, desk, found)?
        } else {
            divide.all(set, 0, parts, desk, found)?
        }
        let found = found.found();
        order::sort(found, |part| (part.first, part.start));
        let children = self.groups_end;
        self.groups_end += found.len();
        for (nth, part) in found.iter().enumerate() {
            let set = part.of_mut(set)?;
            self.group(boxes, set, children + nth, level)?;
        }
        u32::try_from(children).ok()
    }

    /// Writes the group of a set, and all below it.
    fn group<A: Address>(
        &mut self,
        boxes: &[Boxed<A>],
        set: &mut [u32],
        at: usize,
        level: usize,
    ) -> Option<()> {
        let group = if level == 0 {
            order::sort(set, |index| *index);
            Group::leaf(boxes, set)?
        } else {
            self.inner(boxes, set, level)?
        };
        *self.groups.get_mut(at)? = group;
        Some(())
    }

    /// A group above leaves, and all below it.
    fn inner<A: Address>(
        &mut self,
        boxes: &[Boxed<A>],
        set: &mut [u32],
        level: usize,
    ) -> Option<Group> {
        let leaves = set.len().div_ceil(FILL);
        // As many as there must be, and more above groups: small ones have narrow bounds.
        let parts = match level {
            1 => leaves,
            2 => (leaves / 2).isqrt(),
            _ => WIDTH,
        };
        let most = parts.max(set.len().div_ceil((WIDTH << (4 * (level - 1))).max(1)));
        let mut parts = [Part::zeroed(); WIDTH];
        let mut parts = Parts::new(&mut parts);
        let children = self.family(boxes, set, most.clamp(1, WIDTH), level - 1, &mut parts)?;
        let window = window_of(boxes, set);
        let mut group = Group::new::<A>(&window);
        group.set_children(children);
        for (slot, part) in parts.found().iter().enumerate() {
            group.set(slot, &part.bounds(boxes, set, &window));
        }
        Some(group)
    }
}

impl Part {
    pub(super) fn bounds<A: Address>(
        &self,
        boxes: &[Boxed<A>],
        set: &[u32],
        window: &A::Window,
    ) -> Bounds {
        let mut bounds = Bounds::NONE;
        for index in self.of(set) {
            if let Some(one) = boxes.get(*index as usize) {
                bounds.join(&Bounds::of(window, *index, one));
            }
        }
        bounds
    }
}

/// Boxes of a leaf, at least on average: with full leaves only, boxes that lie far apart would have to
/// share one.
pub(super) const FILL: usize = 11;
