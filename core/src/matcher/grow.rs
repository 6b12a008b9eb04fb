//! How a tree is built: a set is halved until its parts are leaves, always where packets would have to
//! search both halves least.
//!
//! Boxes are ordered by the middle or the extent of one dimension. Between any two of them the set can be
//! halved; what a packet costs then is estimated with a sample of packets that lie in the boxes: those
//! within the bounds of a half search it, unless all its boxes come later than theirs, and a search costs
//! about what is searched to the power of 5/8 (binned bounding volume hierarchies, Wald 2007, with packets
//! instead of surfaces). Ordering by extent sets wide boxes apart, which would make the bounds of all
//! others wide. Greedy choices like these depend on their samples: the first few are made six times, and those are kept
//! that cost a packet least.

use core::mem::size_of;

use bytemuck::{Pod, Zeroable};

use super::block::Boxed;
use super::fan::Fan;
use super::group::{Address, Bounds, DIMENSIONS, Frame, Group, WIDTH, window_of};
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
struct Part {
    /// Its first box.
    first: u32,
    start: u32,
    len: u32,
}

const PART: usize = size_of::<Part>() / size_of::<u32>();
const _: () = assert!(size_of::<Part>() == 12);

plain!(Part);

/// The parts of a set, in memory of any kind.
struct Parts<'p> {
    room: &'p mut [Part],
    count: usize,
}

impl<'p> Parts<'p> {
    fn new(room: &'p mut [Part]) -> Self {
        Self { room, count: 0 }
    }

    fn push(&mut self, first: u32, start: usize, len: usize) -> Option<()> {
        *self.room.get_mut(self.count)? = Part { first, start: start as u32, len: len as u32 };
        self.count += 1;
        Some(())
    }

    fn found(&mut self) -> &mut [Part] {
        self.room.get_mut(..self.count).unwrap_or(&mut [])
    }
}

impl Part {
    fn of<'s, T>(&self, set: &'s [T]) -> &'s [T] {
        set.get(self.start as usize..).and_then(|set| set.get(..self.len as usize)).unwrap_or(&[])
    }

    fn of_mut<'s>(&self, set: &'s mut [u32]) -> Option<&'s mut [u32]> {
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
        let (parts, ends) = room.split_at_mut_checked(PART * shape.children)?;
        let ends = ends.get_mut(..2 * shape.children)?;
        let mut parts = Parts::new(bytemuck::try_cast_slice_mut(parts).ok()?);
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
        let mut divide = Divide { boxes, window: window_of(boxes, set), room, seed: 0 };
        // The first of a tree, of all its boxes.
        if parts > WIDTH {
            divide.best(set, parts, found)?
        } else {
            divide.all(set, 0, parts, found)?
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
        let mut parts = [Part { first: 0, start: 0, len: 0 }; WIDTH];
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
    fn bounds<A: Address>(&self, boxes: &[Boxed<A>], set: &[u32], window: &A::Window) -> Bounds {
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

/// What boxes are ordered by: the middle of each dimension, the extent of all but the protocol, and the
/// place in the list.
const ORDERS: [Order; 2 * DIMENSIONS] = [
    Order::Middle(0),
    Order::Middle(1),
    Order::Middle(2),
    Order::Middle(3),
    Order::Middle(4),
    Order::Extent(0),
    Order::Extent(1),
    Order::Extent(2),
    Order::Extent(3),
    Order::Place,
];

#[derive(Clone, Copy)]
enum Order {
    Middle(usize),
    Extent(usize),
    Place,
}

impl Order {
    fn key(self, bounds: &Bounds) -> u32 {
        let at = |from: &[u32; DIMENSIONS], by: usize| from.get(by).copied().unwrap_or(0);
        match self {
            Self::Middle(by) => at(&bounds.lo, by) / 2 + at(&bounds.hi, by) / 2,
            Self::Extent(by) => at(&bounds.hi, by).saturating_sub(at(&bounds.lo, by)),
            Self::Place => bounds.first,
        }
    }
}

/// The nth of `count` places that are spread evenly over so many.
fn spread(nth: usize, over: usize, count: usize) -> usize {
    (nth * over).checked_div(count).unwrap_or(0)
}

/// What the search of so many leaves costs, by an estimate: their number to the power of 5/8, times 4096.
fn cost_of(leaves: usize) -> u64 {
    // Three roots each would be a fifth of what building a tree takes.
    let far = (usize::BITS - leaves.leading_zeros()).saturating_sub(COSTS_BITS);
    let cost = |at: usize| COSTS.get(at % COSTS.len()).copied().unwrap_or(0);
    // Eight doublings cost 2^5, the rest as the table says.
    let (eights, rest) = (far / 8, far % 8);
    ((cost(leaves >> far) * cost(1 << rest)) >> 12) << (5 * eights)
}

const COSTS_BITS: u32 = 8;

static COSTS: [u64; 1 << COSTS_BITS] = {
    let mut costs = [0; 1 << COSTS_BITS];
    let mut leaves = 0;
    while leaves < costs.len() {
        let fourth_root = ((leaves as u64) << 32).isqrt().isqrt();
        costs[leaves] = ((leaves as u64 * fourth_root) << 16).isqrt();
        leaves += 1;
    }
    costs
};

/// Where a set may be halved: between two of so many parts.
const BINS: usize = 32;
/// Boxes that are looked at to choose; of larger sets every nth.
const SAMPLE: usize = 512;
/// Packets that are looked at to choose.
const POINTS: usize = 64;
/// Divisions of all boxes that are compared.
const TRIES: u64 = 6;
/// About as many pieces they have.
const PIECES: usize = 32;
/// Packets that divisions are compared with.
const TRIAL: usize = 512;

/// A part that is to be divided further, and into how many.
struct Piece {
    part: Part,
    parts: u32,
}

/// A half has a 16th of its whole at least, so that there is room for all of them.
type Pieces = heapless::Vec<Piece, { 32 * PIECES }>;

/// How a set is halved.
#[derive(Clone, Copy)]
struct Halves {
    by: Order,
    /// Boxes of the left half.
    left: usize,
    /// Parts that it is divided into.
    left_parts: usize,
}

struct Divide<'b, A: Address> {
    boxes: &'b [Boxed<A>],
    window: A::Window,
    /// Boxes that a part may have.
    room: usize,
    /// Which packets are looked at.
    seed: u64,
}

impl<A: Address> Divide<'_, A> {
    fn bounds(&self, index: u32) -> Option<Bounds> {
        Some(Bounds::of(&self.window, index, self.boxes.get(index as usize)?))
    }

    /// Divides the set of all boxes into up to `parts`. Which packets are looked at decides much: it is divided into
    /// pieces a few times, and those that other packets visit least are divided further. A call of its own: what it needs
    /// of the stack is free again when groups are built, level below level.
    #[inline(never)]
    fn best(&mut self, set: &mut [u32], parts: usize, found: &mut Parts<'_>) -> Option<()> {
        let mut pieces = Pieces::new();
        let mut least: Option<(u64, u64)> = None;
        for seed in 0..TRIES {
            let cost = self.pieces(set, (parts, seed), &mut pieces)?;
            if least.is_none_or(|(least, _)| cost < least) {
                least = Some((cost, seed));
            }
        }
        let (_, seed) = least?;
        self.pieces(set, (parts, seed), &mut pieces)?;
        self.seed = 0;
        for Piece { part, parts } in &pieces {
            self.all(part.of_mut(set)?, part.start as usize, *parts as usize, found)?;
        }
        Some(())
    }

    /// Divides the set of all boxes into pieces of at most a 32nd of the parts; what packets in them cost.
    fn pieces(
        &mut self,
        set: &mut [u32],
        (parts, seed): (usize, u64),
        pieces: &mut Pieces,
    ) -> Option<u64> {
        self.seed = seed;
        set.iter_mut().zip(0..).for_each(|(slot, index)| *slot = index);
        pieces.clear();
        let limit = (parts / PIECES).max(1);
        self.divide(set, 0, (parts, limit), &mut |set, start, parts| {
            let part = Part { first: 0, start: start as u32, len: set.len() as u32 };
            pieces.push(Piece { part, parts: parts as u32 }).ok()
        })?;
        Some(self.cost(set, pieces))
    }

    /// What packets in these pieces cost.
    fn cost(&self, set: &[u32], pieces: &Pieces) -> u64 {
        let all = Self { seed: u64::MAX / 3, window: self.window, ..*self };
        let points: heapless::Vec<Point, TRIAL> = all.points(set, false);
        let cost = |Piece { part, .. }: &Piece| {
            let bounds = part.bounds(self.boxes, set, &self.window);
            let visits = points.iter().map(|point| u64::from(point.visits(&bounds))).sum::<u64>();
            visits * cost_of((part.len as usize).div_ceil(WIDTH))
        };
        pieces.iter().map(cost).sum()
    }

    /// Divides a set, which starts at `start` of the whole, into up to `parts`.
    fn all(
        &self,
        set: &mut [u32],
        start: usize,
        parts: usize,
        found: &mut Parts<'_>,
    ) -> Option<()> {
        self.divide(set, start, (parts, 1), &mut |set, start, _| {
            found.push(set.iter().copied().min()?, start, set.len())
        })
    }

    /// Divides a set, which starts at `start` of the whole, into pieces of up to `limit` parts of those that there
    /// are, and says of each where it starts and how many parts it has.
    ///
    /// # Bound
    /// Calls itself for the half with fewer parts only, so as many times at once as their number has bits.
    fn divide(
        &self,
        mut set: &mut [u32],
        mut start: usize,
        (mut parts, limit): (usize, usize),
        found: &mut impl FnMut(&mut [u32], usize, usize) -> Option<()>,
    ) -> Option<()> {
        while parts > limit && set.len() > WIDTH {
            let Halves { by, left, left_parts } = self.choose(set, parts)?;
            order::halve(set, left, |index| {
                (self.bounds(*index).map(|bounds| by.key(&bounds)), *index)
            });
            let (one, other) = set.split_at_mut_checked(left)?;
            let right_parts = parts - left_parts;
            if left_parts < right_parts {
                self.divide(one, start, (left_parts, limit), found)?;
                (set, start, parts) = (other, start + left, right_parts);
            } else {
                self.divide(other, start + left, (right_parts, limit), found)?;
                (set, parts) = (one, left_parts);
            }
        }
        found(set, start, parts)
    }

    /// How many parts the left half is divided into, if it has so many boxes of all; `None` if the
    /// parts would not hold them.
    fn left_parts(&self, left: usize, boxes: usize, parts: usize) -> Option<usize> {
        let right = boxes.checked_sub(left)?;
        let least = left.div_ceil(self.room.max(1)).max(1);
        let most = parts.checked_sub(right.div_ceil(self.room.max(1)).max(1))?;
        let even = (parts * left + boxes / 2).checked_div(boxes)?;
        (least <= most).then(|| even.clamp(least, most))
    }

    #[inline(never)]
    fn choose(&self, set: &[u32], parts: usize) -> Option<Halves> {
        // Neither half without a 16th of the set: or a division could take as many steps as it has parts.
        let ends = (set.len() / 16).max(1);
        let points: heapless::Vec<Point, POINTS> = self.points(set, true);
        let mut best: Option<(u64, Halves)> = None;
        for by in ORDERS {
            let bins = self.bins(set, by);
            let visits = bins.visits(&points);
            let (total, mut looked_at) = (bins.total(), 0);
            for (bin, visits) in bins.counts.iter().zip(visits) {
                looked_at += bin;
                let left = (looked_at * set.len()).checked_div(total).unwrap_or(0);
                let right = set.len() - left;
                if left < ends || right < ends {
                    continue;
                }
                let Some(left_parts) = self.left_parts(left, set.len(), parts) else { continue };
                let cost =
                    |visits: u32, boxes: usize| u64::from(visits) * cost_of(boxes.div_ceil(WIDTH));
                let cost = cost(visits.0, left) + cost(visits.1, right);
                if best.is_none_or(|(least, _)| cost < least) {
                    best = Some((cost, Halves { by, left, left_parts }));
                }
            }
        }
        best.map(|(_, halves)| halves).or_else(|| {
            let left_parts = parts / 2;
            let left = (set.len() * left_parts).checked_div(parts)?.max(1);
            Some(Halves { by: Order::Middle(0), left, left_parts })
        })
    }

    /// Packets in boxes of the set, some of them with one number of another box.
    fn points<const N: usize>(&self, set: &[u32], are_changed: bool) -> heapless::Vec<Point, N> {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(2 * self.seed + 1);
        let mut next = move || {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (random >> 32) as u32
        };
        let count = set.len().min(N);
        let mut points = heapless::Vec::new();
        for nth in 0..count {
            let other = (next() as usize).checked_rem(set.len()).unwrap_or(0);
            let bounds = |place: usize| self.bounds(*set.get(place)?);
            let (Some(own), Some(other)) = (bounds(spread(nth, set.len(), count)), bounds(other))
            else {
                continue;
            };
            let within = |bounds: &Bounds, dimension: usize, at: u32| {
                let at_end = |from: &[u32; DIMENSIONS]| from.get(dimension).copied().unwrap_or(0);
                let (lo, hi) = (at_end(&bounds.lo), at_end(&bounds.hi));
                let offset = (u64::from(hi.saturating_sub(lo)) * u64::from(at)) >> 32;
                lo.saturating_add(offset as u32)
            };
            let mut point = [0; DIMENSIONS];
            for (dimension, number) in point.iter_mut().enumerate() {
                *number = within(&own, dimension, next());
            }
            let changed =
                next() as usize % (2 * DIMENSIONS) + if are_changed { 0 } else { DIMENSIONS };
            let mut first = own.first;
            if let Some(number) = point.get_mut(changed) {
                *number = within(&other, changed, next());
                first = u32::MAX;
            }
            // There is room for so many.
            let _ = points.push(Point { at: point, first });
        }
        points
    }

    /// The set in the order of a key, in parts of about the same size.
    fn bins(&self, set: &[u32], by: Order) -> Bins {
        let count = set.len().min(BINS - 1);
        let mut ends: heapless::Vec<u32, BINS> = heapless::Vec::new();
        for nth in 0..count {
            let index = set.get(spread(nth, set.len(), count));
            if let Some(bounds) = index.and_then(|index| self.bounds(*index)) {
                // There is room for so many.
                let _ = ends.push(by.key(&bounds));
            }
        }
        order::sort(&mut ends, |end| *end);
        // Behind the last end is no bin.
        let mut all = [u32::MAX; BINS];
        all.iter_mut().zip(&ends).for_each(|(slot, end)| *slot = *end);
        let ends = all;
        let mut bins = Bins { counts: [0; BINS], bounds: [Bounds::NONE; BINS] };
        let stride = set.len().div_ceil(SAMPLE).max(1);
        let mut rest = set;
        while let Some(index) = rest.first() {
            rest = rest.get(stride..).unwrap_or(&[]);
            let Some(bounds) = self.bounds(*index) else { continue };
            let key = by.key(&bounds);
            // All of them, and in 32 bits: four are counted at once.
            let bin: u32 = ends.iter().map(|end| u32::from(*end < key)).sum();
            let bin = bin as usize;
            if let (Some(count), Some(joined)) =
                (bins.counts.get_mut(bin), bins.bounds.get_mut(bin))
            {
                *count += 1;
                joined.join(&bounds);
            }
        }
        bins
    }
}

/// A packet.
struct Point {
    at: [u32; DIMENSIONS],
    /// A box that covers it.
    first: u32,
}

impl Point {
    /// True if a search for the first box has to look below these bounds.
    fn visits(&self, bounds: &Bounds) -> bool {
        (bounds.first <= self.first) & bounds.holds(&self.at)
    }
}

struct Bins {
    counts: [usize; BINS],
    bounds: [Bounds; BINS],
}

impl Bins {
    fn total(&self) -> usize {
        self.counts.iter().sum()
    }

    /// For each place to halve the set at, behind a bin: how many of the points lie in the bounds of the
    /// left half, and of the right one.
    fn visits(&self, points: &[Point]) -> [(u32, u32); BINS] {
        let (mut up_to, mut behind) = (self.bounds, self.bounds);
        let mut all = Bounds::NONE;
        for bounds in &mut up_to {
            all.join(bounds);
            *bounds = all;
        }
        let mut all = Bounds::NONE;
        for bounds in behind.iter_mut().rev() {
            all.join(bounds);
            *bounds = all;
        }
        let mut visits = [(0_u32, 0_u32); BINS];
        for point in points {
            // Bounds grow: those behind the first that hold the point hold it too.
            let first = up_to.partition_point(|bounds| !point.visits(bounds));
            let last = behind.partition_point(|bounds| point.visits(bounds));
            if let Some((left, _)) = visits.get_mut(first) {
                *left += 1;
            }
            // The right half starts behind the bin.
            if let Some((_, right)) = last.checked_sub(2).and_then(|last| visits.get_mut(last)) {
                *right += 1;
            }
        }
        let mut sum = 0;
        for (left, _) in &mut visits {
            sum += *left;
            *left = sum;
        }
        let mut sum = 0;
        for (_, right) in visits.iter_mut().rev() {
            sum += *right;
            *right = sum;
        }
        visits
    }
}

#[cfg(test)]
mod tests {
    use super::cost_of;

    /// As far as a table of 256 says it; no more leaves cost less.
    #[test]
    fn costs_are_the_power_of_leaves_that_is_stated() {
        let near = |leaves: usize| {
            let cost = cost_of(leaves) as f64 / 4096.0;
            (cost / (leaves as f64).powf(0.625) - 1.0).abs()
        };
        assert!((1..200_000).all(|leaves| near(leaves) < 0.01));
        assert!((1..200_000).all(|leaves| cost_of(leaves) <= cost_of(leaves + 1)));
    }
}
