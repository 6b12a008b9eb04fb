//! The rows of a fan: where its cuts and masks are, and how they are made.

use core::mem::size_of;
use core::ops::Range;

use super::block::Wide;
use super::fan::{Fan, WIDE, WORD};
use super::group::{Address, Bounds, DIMENSIONS, Frame, WIDTH};
use super::order;
use super::tree::NO_GROUP;
use crate::simd::{CUTS, WORDS};

/// Children of a fan, at most.
pub(super) const CHILDREN: usize = WORDS * WORD;
/// Intervals of a dimension, at most.
pub(super) const INTERVALS: usize = 16 * CUTS;
/// Intervals of addresses of a fan over boxes, at most.
const FLAT: usize = 2 * CUTS;
/// Intervals of protocols: few are configured.
pub(super) const PROTOCOLS: usize = 16;
/// Boxes that a fan over leaves may have.
pub(super) const FULL: usize = CHILDREN * (WIDTH - 1);
/// The dimension of the protocol, the last one.
const PROTOCOL: usize = DIMENSIONS - 1;
/// Words of an address that is kept whole.
const WHOLE: usize = size_of::<Wide>() / size_of::<u64>();

/// How large the rows of a fan are, and where their parts are, in words: cuts, masks, `opaque`, `firsts`, `wide`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    /// Words of a mask: a power of two up to 16.
    pub(super) words: usize,
    /// Intervals of addresses: a power of two from 64 to 1024.
    pub(super) addresses: usize,
    /// Cuts of addresses are whole addresses of IPv6.
    pub(super) is_wide: bool,
}

impl Layout {
    /// For a fan over so many groups, of so many boxes.
    pub(super) fn of_groups(children: usize, boxes: usize) -> Self {
        let words = words_for(children);
        let addresses = match words {
            0..4 => CUTS,
            4..8 => 2 * CUTS,
            // Groups that need not have been looked at are far away.
            16 if boxes > 2 * FULL => INTERVALS,
            _ => 4 * CUTS,
        };
        Self { words, addresses, is_wide: false }
    }

    /// For a fan over boxes.
    pub(super) fn of_boxes<A: Address>(boxes: usize) -> Self {
        let words = words_for(boxes);
        let addresses = if words < 16 { CUTS } else { FLAT };
        Self { words, addresses, is_wide: !A::WHOLE }
    }

    /// Words of all rows: whole cache lines.
    pub(super) const fn size(self) -> usize {
        self.wide().end
    }

    /// Intervals of ports.
    #[inline(always)]
    const fn ports(self) -> usize {
        if self.addresses < 4 * CUTS { CUTS } else { 4 * CUTS }
    }

    /// Intervals of a dimension.
    #[inline(always)]
    pub(super) const fn intervals(self, dimension: usize) -> usize {
        match dimension {
            0 | 1 => self.addresses,
            2 | 3 => self.ports(),
            _ => PROTOCOLS,
        }
    }

    /// Intervals of the dimensions before.
    #[inline(always)]
    pub(super) const fn before(self, dimension: usize) -> usize {
        match dimension {
            0 | 1 => dimension * self.addresses,
            _ => 2 * self.addresses + (dimension - 2) * self.ports(),
        }
    }

    /// Masks of intervals.
    #[inline(always)]
    pub(super) const fn all(self) -> usize {
        self.before(PROTOCOL) + PROTOCOLS
    }

    /// The upper ends of all intervals but the last, as [`Simd::ranks`](crate::simd::Simd::ranks) takes them: of
    /// each dimension for a search of six steps at least.
    #[inline(always)]
    const fn cuts(self, dimension: usize) -> Range<usize> {
        let start = self.before(dimension) / 2;
        let intervals = self.intervals(dimension);
        start..start + if intervals < CUTS { CUTS } else { intervals } / 2
    }

    /// For each interval the children whose bounds meet it.
    #[inline(always)]
    pub(super) const fn masks(self, dimension: usize) -> Range<usize> {
        let start = self.cuts(PROTOCOL).end + self.before(dimension) * self.words;
        start..start + self.intervals(dimension) * self.words
    }

    /// Children in which packets without a value may be.
    #[inline(always)]
    const fn opaque(self) -> Range<usize> {
        let start = self.masks(PROTOCOL).end;
        start..start + self.words
    }

    /// The first box below each child, ascending.
    #[inline(always)]
    pub(super) const fn firsts(self) -> Range<usize> {
        let start = self.opaque().end.next_multiple_of(8);
        start..start + self.words * WORD / 2
    }

    /// Instead of those of [`Layout::cuts`]: the cuts of both addresses, in the same order, if they are wide. Of each the
    /// high halves, then the low ones.
    #[inline(always)]
    pub(super) const fn wide(self) -> Range<usize> {
        let start = self.firsts().end;
        start..start + if self.is_wide { 2 * self.addresses * WHOLE } else { 0 }
    }
}

const fn words_for(children: usize) -> usize {
    children.div_ceil(WORD).next_power_of_two()
}

#[cfg(feature = "alloc")]
impl Layout {
    /// Where there are numbers of so many octets.
    pub(super) fn numbers(self) -> [(Range<usize>, usize); 4] {
        let (cuts, masks, firsts) = (self.masks(0).start, self.firsts(), self.wide());
        [(0..cuts, 4), (cuts..masks.start, 8), (masks, 4), (firsts, 8)]
    }
}

/// What fans are built in.
pub(super) struct Desk<'b> {
    /// Two numbers for each child.
    pub(super) ends: &'b mut [u32],
    /// Those of the fan.
    pub(super) rows: &'b mut [u64],
}

/// The ranges of both addresses of a child.
type Ranges = [(Wide, Wide); 2];

impl Fan {
    /// A fan over groups: `count` of them, in the order of their first boxes; `bounds` of each, and the ranges of its
    /// boxes in a dimension, seen through the window.
    pub(super) fn of_groups<A: Address, I: Iterator<Item = (u32, u32)>>(
        window: &A::Window,
        (rows, children): (u32, u32),
        (layout, count): (Layout, usize),
        (bounds, boxes): (impl Fn(usize) -> Bounds, impl Fn(usize, usize) -> I),
        mut room: Desk<'_>,
    ) -> Option<Self> {
        room.fill(layout, count, &bounds)?;
        for dimension in 0..DIMENSIONS {
            room.narrow(layout, dimension, count, (&bounds, &boxes))?;
        }
        Some(layout.fan((rows, children), A::frame(window)))
    }

    /// A fan over the boxes of a set, whose rows start there: their addresses as IPv6 has them if its layout says
    /// so.
    pub(super) fn of_boxes(
        rows: u32,
        (layout, count): (Layout, usize),
        bounds: impl Fn(usize) -> Bounds,
        ranges: impl Fn(usize) -> Ranges,
        mut room: Desk<'_>,
    ) -> Option<Self> {
        room.fill(layout, count, &bounds)?;
        for dimension in 0..DIMENSIONS {
            match dimension < 2 && layout.is_wide {
                true => room.wide(layout, dimension, count, &ranges)?,
                false => {
                    let ranges = |child, dimension| bounds(child).range(dimension).into_iter();
                    room.narrow(layout, dimension, count, (&bounds, &ranges))?;
                }
            }
        }
        let beside = if layout.is_wide { WIDE } else { 0 };
        Some(layout.fan((rows, NO_GROUP), Frame { beside, ..Frame::default() }))
    }
}

impl Layout {
    fn fan(self, (rows, children): (u32, u32), frame: Frame) -> Fan {
        let Self { words, addresses, .. } = self;
        Fan { rows, children, words: words as u16, addresses: addresses as u16, frame }
    }
}

impl Desk<'_> {
    /// Writes what is the same for all dimensions.
    fn fill(
        &mut self,
        layout: Layout,
        count: usize,
        bounds: &impl Fn(usize) -> Bounds,
    ) -> Option<()> {
        self.rows.fill(0);
        let opaque = self.rows.get_mut(layout.opaque())?;
        for child in 0..count {
            *opaque.get_mut(child / WORD)? |= u64::from(bounds(child).opaque) << (child % WORD);
        }
        let firsts = self.rows.get_mut(layout.firsts())?;
        let firsts: &mut [u32] = bytemuck::try_cast_slice_mut(firsts).ok()?;
        firsts.fill(u32::MAX);
        for (child, slot) in firsts.iter_mut().enumerate().take(count) {
            *slot = bounds(child).first;
        }
        Some(())
    }

    /// Writes cuts and masks of a dimension that has numbers of 32 bits.
    fn narrow<I: Iterator<Item = (u32, u32)>>(
        &mut self,
        layout: Layout,
        dimension: usize,
        count: usize,
        (bounds, boxes): (&impl Fn(usize) -> Bounds, &impl Fn(usize, usize) -> I),
    ) -> Option<()> {
        let range = |child: usize| bounds(child).range(dimension).filter(|(lo, hi)| lo <= hi);
        let mut ends = 0;
        for (lo, hi) in (0..count).filter_map(range) {
            // An interval ends with a range, and in front of one; nothing ends behind the last number.
            for end in [Some(hi), lo.checked_sub(1)].into_iter().flatten() {
                if end < u32::MAX {
                    *self.ends.get_mut(ends)? = end;
                    ends += 1;
                }
            }
        }
        let ends = self.ends.get_mut(..ends)?;
        let most = layout.intervals(dimension);
        let intervals: heapless::Vec<u32, INTERVALS> = intervals(ends, |end| end, most);
        let cuts = self.rows.get_mut(layout.cuts(dimension))?;
        let cuts: &mut [u32] = bytemuck::try_cast_slice_mut(cuts).ok()?;
        in_steps(cuts, u32::MAX, |nth| intervals.get(nth).copied());
        let masks = self.rows.get_mut(layout.masks(dimension))?;
        for child in 0..count {
            let ranges = boxes(child, dimension);
            let ranges = ranges.filter(|(lo, hi)| lo <= hi);
            mark(&intervals, ranges, child, (masks, layout.words))?;
        }
        Some(())
    }

    /// The same of addresses that are compared whole.
    fn wide(
        &mut self,
        layout: Layout,
        dimension: usize,
        count: usize,
        ranges: &impl Fn(usize) -> Ranges,
    ) -> Option<()> {
        let range = |child: usize| ranges(child).get(dimension).copied().unwrap_or_default();
        // An end is named by its child, twice, and one more if the interval ends in front of the range.
        let end = |name: u32| {
            let (lo, hi) = range(name as usize / 2);
            if name % 2 == 1 { u128::from(lo).wrapping_sub(1).into() } else { hi }
        };
        let mut ends = 0;
        for name in 0..2 * count as u32 {
            if end(name) < Wide::MAX {
                *self.ends.get_mut(ends)? = name;
                ends += 1;
            }
        }
        let ends = self.ends.get_mut(..ends)?;
        let intervals: heapless::Vec<Wide, FLAT> = intervals(ends, end, layout.addresses);
        let cuts = self.rows.get_mut(layout.wide())?;
        let cuts = cuts.chunks_mut(WHOLE * layout.addresses).nth(dimension)?;
        let (high, low) = cuts.split_at_mut_checked(layout.addresses)?;
        in_steps(high, u64::MAX, |nth| Some(intervals.get(nth)?.high));
        in_steps(low, u64::MAX, |nth| Some(intervals.get(nth)?.low));
        let masks = self.rows.get_mut(layout.masks(dimension))?;
        for child in 0..count {
            let range = core::iter::once(range(child));
            mark(&intervals, range, child, (masks, layout.words))?;
        }
        Some(())
    }
}

/// Puts cuts into the order of a binary search, step by step: the middle, the middles of both halves, ...
fn in_steps<T: Copy>(cuts: &mut [T], last: T, of: impl Fn(usize) -> Option<T>) {
    let steps = cuts.len().trailing_zeros();
    for (at, cut) in cuts.iter_mut().enumerate() {
        let Some(level) = (usize::BITS - 1).checked_sub(at.leading_zeros()) else {
            *cut = last;
            continue;
        };
        let nth = ((2 * (at - (1 << level)) + 1) << (steps - 1 - level)) - 1;
        *cut = of(nth).unwrap_or(last);
    }
}

/// True if so many cuts, a power of two, are in the order that [`in_steps`] leaves.
pub(super) fn is_in_steps<T: PartialOrd>(cuts: usize, at: impl Fn(usize) -> T) -> bool {
    let place = |nth: usize| {
        let below = nth.trailing_zeros();
        (cuts >> (below + 1)) + (nth >> (below + 1))
    };
    (1..cuts.saturating_sub(1)).all(|nth| at(place(nth)) <= at(place(nth + 1)))
}

/// Adds a child to the masks of the intervals that its boxes' ranges meet.
fn mark<T: Copy + Ord>(
    intervals: &[T],
    ranges: impl Iterator<Item = (T, T)>,
    child: usize,
    (masks, words): (&mut [u64], usize),
) -> Option<()> {
    let interval = |at: T| intervals.partition_point(|end| *end < at);
    let mut met = [0_u64; INTERVALS / WORD];
    let mut end = 0;
    for (lo, hi) in ranges {
        let (first, last) = (interval(lo), interval(hi));
        end = end.max(last / WORD + 1);
        for (nth, word) in met.iter_mut().enumerate().take(last / WORD + 1).skip(first / WORD) {
            let start = nth * WORD;
            let behind = WORD - 1 - last.saturating_sub(start).min(WORD - 1);
            *word |= u64::MAX << first.saturating_sub(start) & u64::MAX >> behind;
        }
    }
    for (nth, word) in met.iter().enumerate().take(end) {
        let mut left = *word;
        while left != 0 {
            let at = nth * WORD + left.trailing_zeros() as usize;
            left &= left - 1;
            *masks.get_mut(at * words + child / WORD)? |= 1 << (child % WORD);
        }
    }
    Some(())
}

/// The last numbers of at most so many intervals, which fill a dimension, but for that of the last one; of the
/// ends of ranges, with the name of each.
///
/// Where more ranges end than there may be intervals, some of those places are left out, so that about as
/// many ranges start or end within any interval: packets in it visit children of all of them.
fn intervals<T: Copy + Ord, const N: usize>(
    ends: &mut [u32],
    end: impl Fn(u32) -> T,
    most: usize,
) -> heapless::Vec<T, N> {
    order::sort(ends, |name| end(*name));
    let count = ends.len();
    let is_last = |nth: usize, last: T| ends.get(nth + 1).is_none_or(|next| end(*next) != last);
    let last = || {
        let ends = ends.iter().map(|name| end(*name)).enumerate();
        ends.filter(|(nth, end)| is_last(*nth, *end))
    };
    let (all, cuts) = (last().count(), most.saturating_sub(1));
    let mut intervals = heapless::Vec::new();
    let mut before = 0;
    for (nth, end) in last() {
        let behind = nth + 1;
        let part = |ends: usize| (ends * cuts).checked_div(count).unwrap_or(0);
        if all <= cuts || part(before) < part(behind) {
            // There is room for as many as there may be.
            let _ = intervals.push(end);
        }
        before = behind;
    }
    intervals
}
