//! How a set is divided: it is halved until its parts are small enough, always where packets would have to
//! search both halves least.
//!
//! Boxes are ordered by the middle or the extent of one dimension. Between any two of them the set can be
//! halved; what a packet costs then is estimated with a sample of packets that lie in the boxes: those
//! within the bounds of a half search it, unless all its boxes come later than theirs, and a search costs
//! about what is searched to the power of 5/8 (binned bounding volume hierarchies, Wald 2007, with packets
//! instead of surfaces). Ordering by extent sets wide boxes apart, which would make the bounds of all
//! others wide. Greedy choices like these depend on their samples: the first few are made six times, and those are kept
//! that cost a packet least.

use core::hint::select_unpredictable;
use core::iter;
use core::mem::{size_of, swap};

use super::block::Boxed;
use super::group::{Address, Bounds, DIMENSIONS, WIDTH, window_of};
use super::grow::{Part, Parts};
use super::order::{self, Pair};
use crate::simd::{Base, Simd};

/// Ways to order boxes: the middle of each dimension, the extent of all but the protocol, and the place in
/// the list.
const ORDERS: usize = 2 * DIMENSIONS;

/// Numbers that are compared four at once, as signed ones, which more processors can: the highest bit is turned.
type Row = [[i32; 4]; 3];

#[inline(always)]
fn signed(number: u32) -> i32 {
    (number ^ 1 << 31) as i32
}

fn middle(lo: u32, hi: u32) -> u32 {
    lo / 2 + hi / 2
}

fn extent(lo: u32, hi: u32) -> u32 {
    hi.saturating_sub(lo)
}

/// What a box is ordered by in one of them.
#[inline(always)]
fn key(bounds: &Bounds, by: usize) -> u32 {
    let is_extent = (DIMENSIONS..ORDERS - 1).contains(&by);
    match bounds.range(if is_extent { by - DIMENSIONS } else { by }) {
        Some((lo, hi)) if is_extent => extent(lo, hi),
        Some((lo, hi)) => middle(lo, hi),
        None => bounds.first,
    }
}

/// In all of them.
#[inline(always)]
fn keys(bounds: &Bounds) -> Row {
    let ([a, b, c, d, e], [f, g, h, i, j]) = (bounds.lo, bounds.hi);
    let middles = [middle(a, f), middle(b, g), middle(c, h), middle(d, i)].map(signed);
    let [middle, extent_a, extent_b, extent_c] =
        [middle(e, j), extent(a, f), extent(b, g), extent(c, h)].map(signed);
    let [extent_d, first] = [extent(d, i), bounds.first].map(signed);
    [middles, [middle, extent_a, extent_b, extent_c], [extent_d, first, 0, 0]]
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

/// Pairs of numbers that dividing so many boxes into so many parts takes: one and the place of the box in the best
/// division for each, and two lists of pieces.
pub(super) fn desk_for(boxes: usize, parts: usize) -> usize {
    2 * boxes + parts * size_of::<Part>() * 2 / size_of::<Pair>()
}

/// How a set is halved.
#[derive(Clone, Copy)]
struct Halves {
    /// In which order.
    by: usize,
    /// Boxes of the left half.
    left: usize,
    /// Parts that it is divided into.
    left_parts: usize,
}

pub(super) struct Divide<'b, A: Address> {
    boxes: &'b [Boxed<A>],
    window: A::Window,
    /// Boxes that a part may have.
    room: usize,
    /// Which packets are looked at.
    seed: u64,
}

impl<'b, A: Address> Divide<'b, A> {
    pub(super) fn new(boxes: &'b [Boxed<A>], set: &[u32], room: usize) -> Self {
        Self { boxes, window: window_of(boxes, set), room, seed: 0 }
    }

    fn bounds(&self, index: u32) -> Option<Bounds> {
        Some(Bounds::of(&self.window, index, self.boxes.get(index as usize)?))
    }

    /// Divides the set of all boxes into up to `parts`. Which packets are looked at decides much: it is divided into
    /// pieces a few times, and those that other packets visit least are divided further. The desk is as [`desk_for`] says.
    pub(super) fn best(
        &self,
        set: &mut [u32],
        parts: usize,
        desk: &mut [Pair],
        found: &mut Parts<'_>,
    ) -> Option<()> {
        let (desk, rest) = desk.split_at_mut_checked(set.len())?;
        let (least, rest) = rest.as_flattened_mut().split_at_mut_checked(set.len())?;
        let (one, rest) = Parts::within(rest, parts)?;
        let (other, _) = Parts::within(rest, parts)?;
        let (mut pieces, mut best) = (one, other);
        let mut least_cost = u64::MAX;
        for seed in 0..TRIES {
            set.iter_mut().zip(0..).for_each(|(slot, index)| *slot = index);
            pieces.clear();
            let divide = Self { seed, window: self.window, ..*self };
            divide.divide(set, 0, (parts, (parts / PIECES).max(1)), desk, &mut |_, part| {
                pieces.push(part)
            })?;
            let cost = self.cost(set, pieces.found());
            if cost < least_cost {
                least_cost = cost;
                least.iter_mut().zip(&*set).for_each(|(slot, index)| *slot = *index);
                swap(&mut pieces, &mut best);
            }
        }
        set.iter_mut().zip(&*least).for_each(|(slot, index)| *slot = *index);
        for piece in best.found() {
            let (start, parts) = (piece.start as usize, piece.parts as usize);
            self.all(piece.of_mut(set)?, start, parts, desk, found)?;
        }
        Some(())
    }

    /// What packets in these pieces cost. A call of its own, as what it needs of the stack is not needed elsewhere.
    #[inline(never)]
    fn cost(&self, set: &[u32], pieces: &[Part]) -> u64 {
        let other = Self { seed: u64::MAX / 3, window: self.window, ..*self };
        let mut points: heapless::Vec<Point, TRIAL> = heapless::Vec::new();
        for point in other.points(set, TRIAL, false) {
            // There is room for so many.
            let _ = points.push(point);
        }
        let cost = |part: &Part| {
            let mut reach = Reach::NONE;
            let bounds = part.of(set).iter().filter_map(|index| self.bounds(*index));
            bounds.for_each(|bounds| reach.join(&Reach::of(&bounds)));
            let ends = reach.ends();
            let visits = points.iter().map(|point| u64::from(!is_outside(&ends, &point.values())));
            visits.sum::<u64>() * cost_of((part.len as usize).div_ceil(WIDTH))
        };
        pieces.iter().map(cost).sum()
    }

    /// Divides a set, which starts at `start` of the whole, into up to `parts`.
    pub(super) fn all(
        &self,
        set: &mut [u32],
        start: usize,
        parts: usize,
        desk: &mut [Pair],
        found: &mut Parts<'_>,
    ) -> Option<()> {
        self.divide(set, start, (parts, 1), desk, &mut |set, part| {
            found.push(Part { first: set.iter().copied().min()?, ..part })
        })
    }

    /// Divides a set, which starts at `start` of the whole, into pieces of up to `limit` parts of those that there
    /// are, and says of each where it is and how many parts it has.
    ///
    /// # Bound
    /// Calls itself for the half with fewer parts only, so as many times at once as their number has bits.
    fn divide(
        &self,
        mut set: &mut [u32],
        mut start: usize,
        (mut parts, limit): (usize, usize),
        desk: &mut [Pair],
        found: &mut impl FnMut(&[u32], Part) -> Option<()>,
    ) -> Option<()> {
        while parts > limit && set.len() > WIDTH {
            let Halves { by, left, left_parts } = self.choose(set, parts)?;
            self.halve(set, (by, left), desk)?;
            let (one, other) = set.split_at_mut_checked(left)?;
            let right_parts = parts - left_parts;
            if left_parts < right_parts {
                self.divide(one, start, (left_parts, limit), desk, found)?;
                (set, start, parts) = (other, start + left, right_parts);
            } else {
                self.divide(other, start + left, (right_parts, limit), desk, found)?;
                (set, parts) = (one, left_parts);
            }
        }
        let (start, len, parts) = (start as u32, set.len() as u32, parts as u32);
        found(set, Part { first: 0, start, len, parts })
    }

    /// Brings so many boxes to the front that come first in an order.
    fn halve(&self, set: &mut [u32], (by, left): (usize, usize), desk: &mut [Pair]) -> Option<()> {
        let desk = desk.get_mut(..set.len())?;
        for (pair, index) in desk.iter_mut().zip(&*set) {
            *pair = [*index, key(&self.bounds(*index)?, by)];
        }
        order::halve(desk, left)?;
        set.iter_mut().zip(desk).for_each(|(slot, [index, _])| *slot = *index);
        Some(())
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
        let mut points: heapless::Vec<Fours, POINTS> = heapless::Vec::new();
        for point in self.points(set, POINTS, true) {
            // There is room for so many.
            let _ = points.push(point.values());
        }
        let mut best: Option<(u64, Halves)> = None;
        let mut bins = [Bins::NONE; ORDERS];
        for bins in self.bins(set, &mut bins) {
            let cuts = bins.cuts(set.len());
            // How many more packets search the left half, and how many fewer the right one.
            let mut visits = [(0_u32, 0_u32); BINS + 1];
            for point in &points {
                let (first, last) = cuts.around(point);
                if let Some((left, _)) = visits.get_mut(first) {
                    *left += 1;
                }
                if let Some((_, right)) = visits.get_mut(cuts.lefts.len() - last) {
                    *right += 1;
                }
            }
            let mut now = (0, points.len() as u32);
            for (left, visits) in cuts.lefts.iter().zip(&visits) {
                now = (now.0 + visits.0, now.1 - visits.1);
                let cost =
                    |visits: u32, boxes: usize| u64::from(visits) * cost_of(boxes.div_ceil(WIDTH));
                let left = *left as usize;
                let cost = cost(now.0, left) + cost(now.1, set.len() - left);
                if best.is_none_or(|(least, _)| cost < least)
                    && let Some(left_parts) = self.left_parts(left, set.len(), parts)
                {
                    best = Some((cost, Halves { by: bins.by, left, left_parts }));
                }
            }
        }
        best.map(|(_, halves)| halves).or_else(|| {
            let left_parts = parts / 2;
            let left = (set.len() * left_parts).checked_div(parts)?.max(1);
            Some(Halves { by: 0, left, left_parts })
        })
    }

    /// Packets in boxes of the set, some of them with one number of another box.
    fn points(&self, set: &[u32], most: usize, are_changed: bool) -> impl Iterator<Item = Point> {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(2 * self.seed + 1);
        let mut next = move || {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (random >> 32) as u32
        };
        let count = set.len().min(most);
        (0..count).filter_map(move |nth| {
            let other = (next() as usize).checked_rem(set.len()).unwrap_or(0);
            let bounds = |place: usize| self.bounds(*set.get(place)?);
            let (own, other) = (bounds(spread(nth, set.len(), count))?, bounds(other)?);
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
            Some(Point { at: point, first })
        })
    }

    /// Boxes of the set in each order that tells some of them apart, in bins of about the same size.
    fn bins<'a>(&self, set: &[u32], all: &'a mut [Bins; ORDERS]) -> &'a [Bins] {
        let stride = set.len().div_ceil(SAMPLE).max(1);
        let sample = || {
            let mut rest = set;
            iter::from_fn(move || {
                let (index, _) = rest.split_first()?;
                rest = rest.get(stride..).unwrap_or(&[]);
                self.bounds(*index)
            })
        };
        let first = sample().next().map(|bounds| keys(&bounds)).unwrap_or_default();
        let mut differ = Row::default();
        for bounds in sample() {
            for ((differ, keys), first) in differ.iter_mut().zip(&keys(&bounds)).zip(&first) {
                for ((differ, key), first) in differ.iter_mut().zip(keys).zip(first) {
                    *differ |= key ^ first;
                }
            }
        }
        let mut count = 0;
        for (by, _) in differ.as_flattened().iter().enumerate().filter(|(_, differ)| **differ != 0)
        {
            if let Some(bins) = all.get_mut(count) {
                bins.by = by;
                count += 1;
            }
        }
        let used = all.get_mut(..count).unwrap_or(&mut []);
        // Behind the last end is no bin.
        let mut ends = [[[i32::MAX; 4]; 3]; BINS];
        let count = set.len().min(BINS - 1);
        for (nth, ends) in ends.iter_mut().enumerate().take(count) {
            let index = set.get(spread(nth, set.len(), count));
            if let Some(bounds) = index.and_then(|index| self.bounds(*index)) {
                *ends = keys(&bounds);
            }
        }
        order::sort_columns(&mut ends);
        for bins in &mut *used {
            for (own, ends) in bins.ends.iter_mut().zip(&ends) {
                *own = ends.as_flattened().get(bins.by).copied().unwrap_or(i32::MAX);
            }
        }
        let mut sample = sample();
        // Some at once: what is written number by number is not read as rows right behind that.
        let mut some = [(Row::default(), Reach::NONE); BINS];
        loop {
            let mut count = 0;
            for (slot, bounds) in some.iter_mut().zip(&mut sample) {
                *slot = (keys(&bounds), Reach::of(&bounds));
                count += 1;
            }
            let Some(some) = some.get(..count).filter(|some| !some.is_empty()) else { break };
            used.iter_mut().for_each(|bins| bins.add(some));
        }
        used
    }
}

/// A packet.
struct Point {
    at: [u32; DIMENSIONS],
    /// A box that covers it.
    first: u32,
}

impl Point {
    /// The values of [`Reach::ends`].
    fn values(&self) -> Fours {
        let [a, b, c, d, e] = self.at;
        [[a, a, b, b], [c, c, d, d], [e, e, self.first, 0]]
    }
}

/// Both ends of two ranges each, or a value for both, as [`Simd::outside`] takes them.
type Fours = [[u32; 4]; 3];

/// True if a search for the first box need not look below these bounds.
#[inline(always)]
fn is_outside([a, b, c]: &Fours, [d, e, f]: &Fours) -> bool {
    Base::outside(*a, *d) | Base::outside(*b, *e) | Base::outside(*c, *f) != 0
}

/// Of bounds all that [`is_outside`] compares, such that the lesser of two numbers is always the one that reaches
/// further: upper ends are turned upside down.
#[derive(Clone, Copy)]
struct Reach(Row);

impl Reach {
    const NONE: Self = Self([[i32::MAX; 4]; 3]);

    #[inline(always)]
    fn of(bounds: &Bounds) -> Self {
        let (mut lo, mut hi) = (bounds.lo, bounds.hi);
        for (lo, hi) in lo.iter_mut().zip(&mut hi) {
            // OPAQUE ports hold no packet with a value.
            let some = lo <= hi;
            *lo = if some { *lo } else { u32::MAX };
            *hi = if some { *hi } else { 0 };
        }
        let ([l0, l1, l2, l3, l4], [h0, h1, h2, h3, h4]) = (lo, hi);
        let ends = [[l0, h0, l1, h1], [l2, h2, l3, h3], [l4, h4, bounds.first, u32::MAX]];
        Self(ends.map(|[a, b, c, d]| [signed(a), !signed(b), signed(c), !signed(d)]))
    }

    /// The ends, and of a range behind them the lower one: the first box.
    fn ends(&self) -> Fours {
        let signed = |number: i32| signed(number as u32) as u32;
        self.0.map(|[a, b, c, d]| [signed(a), signed(!b), signed(c), signed(!d)])
    }

    #[inline(always)]
    fn join(&mut self, other: &Self) {
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            let ([a, b, c, d], [e, f, g, h]) = (*own, *other);
            *own = [a.min(e), b.min(f), c.min(g), d.min(h)];
        }
    }
}

/// A sample of a set in one order.
#[derive(Clone, Copy)]
struct Bins {
    by: usize,
    /// The last key of each, and so many more that are never lower.
    ends: [i32; BINS],
    counts: [u32; BINS],
    reaches: [Reach; BINS],
}

/// Where a set may be halved.
#[derive(Default)]
struct Cuts {
    /// Boxes of the left half, ascending.
    lefts: heapless::Vec<u32, BINS>,
    /// What left halves reach: further and further.
    below: heapless::Vec<Fours, BINS>,
    /// What right halves reach, the last one first: further and further.
    behind: heapless::Vec<Fours, BINS>,
}

impl Bins {
    const NONE: Self =
        Self { by: 0, ends: [i32::MAX; BINS], counts: [0; BINS], reaches: [Reach::NONE; BINS] };

    /// Adds boxes of the sample, each with its keys.
    fn add(&mut self, some: &[(Row, Reach)]) {
        for (keys, reach) in some {
            let key = keys.as_flattened().get(self.by).copied().unwrap_or(0);
            // How many ends are less: in as many steps as 32 have, without a branch.
            let mut bin = 0;
            for bit in [4, 3, 2, 1, 0] {
                let end = self.ends.get((bin | ((1 << bit) - 1)) % BINS);
                bin |= usize::from(end.is_some_and(|end| *end < key)) << bit;
            }
            if let (Some(count), Some(joined)) =
                (self.counts.get_mut(bin), self.reaches.get_mut(bin))
            {
                *count += 1;
                joined.join(reach);
            }
        }
    }

    /// All cuts of a set of so many boxes.
    fn cuts(&self, boxes: usize) -> Cuts {
        // Neither half without a 16th of the set: or a division could take as many steps as it has parts.
        let least = (boxes / 16).max(1);
        let total: u32 = self.counts.iter().sum();
        let mut cuts = Cuts::default();
        let mut ends: heapless::Vec<usize, BINS> = heapless::Vec::new();
        let (mut looked_at, mut below) = (0, Reach::NONE);
        for (bin, (count, reach)) in self.counts.iter().zip(&self.reaches).enumerate() {
            if *count == 0 {
                continue;
            }
            looked_at += *count as usize;
            below.join(reach);
            let left = (looked_at * boxes).checked_div(total as usize).unwrap_or(0);
            if least <= left && least <= boxes - left {
                // There is room for one behind each bin.
                let _ = cuts.lefts.push(left as u32);
                let _ = cuts.below.push(below.ends());
                let _ = ends.push(bin + 1);
            }
        }
        let (mut behind, mut rest) = (Reach::NONE, &self.reaches[..]);
        for end in ends.iter().rev() {
            let (front, back) = rest.split_at_checked(*end).unwrap_or((rest, &[]));
            back.iter().for_each(|reach| behind.join(reach));
            rest = front;
            let _ = cuts.behind.push(behind.ends());
        }
        cuts
    }
}

impl Cuts {
    /// How many cuts there are in front of the first whose left half holds a packet, and behind the last whose right half
    /// does. Bounds grow: the halves beyond those hold it too. Without a branch: where it is cannot be foreseen.
    #[inline(always)]
    fn around(&self, point: &Fours) -> (usize, usize) {
        let (mut first, mut last, mut left) = (0, 0, self.lefts.len());
        while left > 0 {
            let half = left.div_ceil(2);
            let below = self.below.get(first + half - 1);
            let behind = self.behind.get(last + half - 1);
            let (Some(below), Some(behind)) = (below, behind) else { break };
            first = select_unpredictable(is_outside(below, point), first + half, first);
            last = select_unpredictable(is_outside(behind, point), last + half, last);
            left -= half;
        }
        (first, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bounds of small numbers, of which some hold nothing as OPAQUE ports do, and a packet.
    fn numbers() -> impl Strategy<Value = [u32; DIMENSIONS]> {
        proptest::array::uniform5(prop_oneof![Just(0), 0_u32..30, Just(u32::MAX)])
    }

    proptest! {
        #[test]
        fn halves_are_searched_by_packets_within_their_bounds(
            ranges in proptest::collection::vec((numbers(), numbers()), 1..100),
            (at, first) in (numbers(), prop_oneof![0_u32..100, Just(u32::MAX)]),
            by in 0..ORDERS,
        ) {
            let bounds = |(first, (lo, hi)): (u32, &([u32; DIMENSIONS], [u32; DIMENSIONS]))| {
                Bounds { lo: *lo, hi: *hi, opaque: false, first }
            };
            let mut all: Vec<Bounds> = (0..).zip(&ranges).map(bounds).collect();
            let mut bins = Bins { by, ..Bins::NONE };
            all.sort_by_key(|bounds| key(bounds, by));
            let ends = all.iter().step_by(all.len().div_ceil(BINS - 1));
            bins.ends.iter_mut().zip(ends).for_each(|(slot, end)| *slot = signed(key(end, by)));
            let some: Vec<_> = all.iter().map(|bounds| (keys(bounds), Reach::of(bounds))).collect();
            bins.add(&some);

            let point = Point { at, first };
            let searches = |half: &[Bounds]| {
                let mut joined = Bounds::NONE;
                half.iter().for_each(|bounds| joined.join(bounds));
                let is_within = |by: usize| joined.lo[by] <= at[by] && at[by] <= joined.hi[by];
                (0..DIMENSIONS).all(is_within) && joined.first <= first
            };
            let cuts = bins.cuts(all.len());
            let lefts = || cuts.lefts.iter().map(|left| all.split_at(*left as usize));
            let left = lefts().filter(|(left, _)| !searches(left)).count();
            let right = lefts().filter(|(_, right)| !searches(right)).count();
            prop_assert_eq!(cuts.around(&point.values()), (left, right));
            // No box on the right comes before one on the left.
            let key = |bounds: &Bounds| key(bounds, by);
            let is_apart = lefts().all(|(left, right)| left.last().map(key) < right.first().map(key));
            prop_assert!(is_apart);
        }
    }

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
