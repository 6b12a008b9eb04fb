//! The rows of a fan: where its cuts and masks are, and how they are made.

use core::array;
use core::mem::size_of;
use core::ops::Range;

use super::block::{ADMITS_OPAQUE, Boxed, Wide};
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

/// How large the rows of a fan are, and where their parts are, in words: cuts, masks, `opaque`, and `firsts` of one over
/// groups or `wide` of one over boxes of IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    /// Words of a mask: a power of two up to 16.
    pub(super) words: usize,
    /// Intervals of addresses: a power of two from 64 to 1024.
    pub(super) addresses: usize,
    /// Cuts of addresses are whole addresses of IPv6.
    pub(super) is_wide: bool,
    /// Children are boxes: the nth child is the nth box.
    pub(super) is_of_boxes: bool,
}

impl Layout {
    /// For a fan over so many groups, which have so many levels of groups above leaves.
    pub(super) fn of_groups(children: usize, levels: usize) -> Self {
        let words = words_for(children);
        let addresses = match (words, levels) {
            (0..4, 0) => CUTS,
            (4..8, 0) => 2 * CUTS,
            (8.., 0) | (0..4, _) => 4 * CUTS,
            // Groups that need not have been looked at are far away.
            (4..16, _) => 8 * CUTS,
            _ => INTERVALS,
        };
        Self { words, addresses, is_wide: false, is_of_boxes: false }
    }

    /// For a fan over boxes.
    pub(super) fn of_boxes<A: Address>(boxes: usize) -> Self {
        let words = words_for(boxes);
        let addresses = if words < 16 { CUTS } else { FLAT };
        Self { words, addresses, is_wide: !A::WHOLE, is_of_boxes: true }
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

    /// The first box below each child that is a group, ascending.
    #[inline(always)]
    pub(super) const fn firsts(self) -> Range<usize> {
        let start = self.opaque().end.next_multiple_of(8);
        start..start + if self.is_of_boxes { 0 } else { self.words * WORD / 2 }
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

/// Children that have room in masks for so many.
pub(super) const fn room_for(children: usize) -> usize {
    words_for(children) * WORD
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

/// Searches and changes of rows that have been written.
impl Layout {
    /// [`Layout::firsts`] of rows.
    pub(super) fn firsts_in(self, rows: &mut [u64]) -> Option<&mut [u32]> {
        bytemuck::try_cast_slice_mut(rows.get_mut(self.firsts())?).ok()
    }

    /// In which interval of a dimension a number lies.
    #[inline(always)]
    pub(super) fn rank(self, rows: &[u64], dimension: usize, value: u32) -> usize {
        let (cuts, start) = (numbers(rows), self.before(dimension));
        rank(self.intervals(dimension).max(CUTS), |at| {
            cuts.get(start + at).is_some_and(|cut| *cut < value)
        })
    }

    /// In which interval of whole addresses one lies, of the remote ones or of the local ones.
    #[inline(always)]
    pub(super) fn wide_rank(self, rows: &[u64], which: usize, value: Wide) -> Option<usize> {
        let half = 2 * self.addresses;
        let cuts = rows.get(self.wide())?.get(which * half..)?.get(..half)?;
        let (high, low) = cuts.split_at_checked(cuts.len() / 2)?;
        let value = u128::from(value);
        Some(rank(high.len(), |at| {
            let cut = high.get(at).zip(low.get(at));
            cut.is_some_and(|(high, low)| u128::from(Wide { high: *high, low: *low }) < value)
        }))
    }

    /// The masks of some intervals of a dimension.
    fn masks_of(self, dimension: usize, (first, last): (usize, usize)) -> Range<usize> {
        let start = self.masks(dimension).start;
        start + first * self.words..start + (last + 1) * self.words
    }

    /// The first and the last interval of a dimension that a box meets; `None`: no packet with a value is in it.
    fn met<A: Address>(
        self,
        fan: &Fan,
        rows: &[u64],
        dimension: usize,
        one: &Boxed<A>,
    ) -> Option<(usize, usize)> {
        if dimension < 2 && self.is_wide {
            let (lo, hi) = match dimension {
                0 => (one.remote_lo, one.remote_hi),
                _ => (one.local_lo, one.local_hi),
            };
            let rank = |addr: A| self.wide_rank(rows, dimension, addr.wide());
            return rank(lo).zip(rank(hi));
        }
        let bounds = Bounds::of(&A::framed(&fan.frame), 0, one);
        let (lo, hi) = bounds.range(dimension).filter(|(lo, hi)| lo <= hi)?;
        Some((self.rank(rows, dimension, lo), self.rank(rows, dimension, hi)))
    }
}

/// What becomes of the rows of a fan when boxes come and go.
impl Fan {
    /// Lets packets of a box be found below a child.
    pub(super) fn mark<A: Address>(
        &self,
        rows: &mut [u64],
        child: usize,
        one: &Boxed<A>,
    ) -> Option<()> {
        let layout = self.layout()?;
        let (word, bit) = (child / WORD, 1 << (child % WORD));
        for dimension in 0..DIMENSIONS {
            if let Some(met) = layout.met(self, rows, dimension, one) {
                let masks = rows.get_mut(layout.masks_of(dimension, met))?;
                masks
                    .iter_mut()
                    .skip(word)
                    .step_by(layout.words.max(1))
                    .for_each(|mask| *mask |= bit);
            }
        }
        if one.rest.flags & ADMITS_OPAQUE != 0 {
            *rows.get_mut(layout.opaque())?.get_mut(word)? |= bit;
        }
        Some(())
    }

    /// What it costs packets if a box is put below each child, in a unit of its own: the part of all there is in which
    /// they would look at that child in vain, about, by a few of the intervals of each dimension; and a sixteenth of the part
    /// in which they would look at it at all, so that children stay small.
    ///
    /// # Bound
    /// 95 masks.
    pub(super) fn costs<A: Address>(
        &self,
        rows: &[u64],
        one: &Boxed<A>,
        costs: &mut [u64; CHILDREN],
    ) -> Option<()> {
        let layout = self.layout()?;
        let met: [_; DIMENSIONS] = array::from_fn(|nth| layout.met(self, rows, nth, one));
        for (word, costs) in costs.chunks_exact_mut(WORD).enumerate().take(layout.words) {
            let (mut before, mut after) = ([1_u64; WORD], [1_u64; WORD]);
            for (dimension, met) in met.iter().enumerate() {
                let masks = rows.get(layout.masks(dimension))?;
                let mask = |nth: usize| masks.get(nth * layout.words + word).copied().unwrap_or(0);
                let step = layout.intervals(dimension) / SAMPLES;
                let had = tally::<SAMPLES>(array::from_fn(|nth| mask(nth * step + step / 2)));
                // What of the box is beside it.
                let (first, last) = met.unwrap_or((0, 0));
                let sides = [first, first.midpoint(last), last];
                let lacks = tally(sides.map(|nth| !mask(nth)));
                let third = met.map_or(0, |_| (last - first + 1) as u64);
                let each = before.iter_mut().zip(&mut after).zip(had.iter().zip(lacks));
                for ((before, after), (had, lacks)) in each {
                    // In thirds of an interval.
                    let width = 3 * (2 * u64::from(*had)).max(1) * step as u64 / 2;
                    *before *= width;
                    *after *= width + u64::from(lacks) * third;
                }
            }
            for (cost, (before, after)) in costs.iter_mut().zip(before.iter().zip(after)) {
                *cost = after - before + after / 16;
            }
        }
        Some(())
    }

    /// Takes children out of a fan over boxes, so many from one on, and lets so many new ones take their place, which no
    /// packet lies in yet. Those behind are moved.
    pub(super) fn splice(
        &self,
        rows: &mut [u64],
        (at, out, into): (usize, usize, usize),
    ) -> Option<()> {
        let layout = self.layout()?;
        let all = rows.get_mut(layout.masks(0).start..layout.opaque().end)?;
        for mask in all.chunks_exact_mut(layout.words.max(1)) {
            splice(mask, (at, out, into));
        }
        Some(())
    }
}

/// Intervals of each dimension that say how wide a child is.
const SAMPLES: usize = 16;

/// In how many of up to 31 masks each of 64 children is.
fn tally<const N: usize>(masks: [u64; N]) -> [u8; WORD] {
    // The nth bits of all counts.
    let mut bits = [0_u64; 5];
    for mut carry in masks {
        for bits in &mut bits {
            (*bits, carry) = (*bits ^ carry, *bits & carry);
        }
    }
    // Eight bits at a time, each into an octet of its own.
    let mut counts = [0; WORD];
    for (nth, counts) in counts.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let octets = |bits: u64| {
            let copies = (bits >> (8 * nth) & 0xff) * 0x0101_0101_0101_0101;
            let each = copies & 0x8040_2010_0804_0201;
            (each + 0x7f7f_7f7f_7f7f_7f7f) >> 7 & 0x0101_0101_0101_0101
        };
        let all = bits.iter().rev().fold(0, |all, bits| all << 1 | octets(*bits));
        *counts = all.to_le_bytes();
    }
    counts
}

/// Replaces `out` bits of a mask by `into` zeros; those behind are moved.
fn splice(mask: &mut [u64], (at, out, into): (usize, usize, usize)) {
    let below = |nth: usize, bits: usize| match bits.saturating_sub(nth * WORD) {
        bits @ 0..WORD => (1_u64 << bits) - 1,
        _ => u64::MAX,
    };
    let mut behind = [0; WORDS];
    for (nth, (word, behind)) in mask.iter_mut().zip(&mut behind).enumerate().skip(at / WORD) {
        *behind = *word & !below(nth, at + out);
        *word &= below(nth, at);
    }
    let up = into >= out;
    let (words, bits) = (into.abs_diff(out) / WORD, into.abs_diff(out) % WORD);
    let word = |nth: Option<usize>| nth.and_then(|nth| behind.get(nth)).copied().unwrap_or(0);
    for (nth, slot) in mask.iter_mut().enumerate().skip(at / WORD) {
        *slot |= match up {
            true => {
                let next = nth.checked_sub(words + 1);
                word(nth.checked_sub(words)) << bits | word(next) >> 1 >> (WORD - 1 - bits)
            }
            false => {
                let next = Some(nth + words + 1);
                word(Some(nth + words)) >> bits | word(next) << 1 << (WORD - 1 - bits)
            }
        };
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
        let firsts = layout.firsts_in(self.rows)?;
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
        let cuts = cuts.chunks_mut((WHOLE * layout.addresses).max(1)).nth(dimension)?;
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

/// Rows as numbers of 32 bits.
pub(super) fn numbers(rows: &[u64]) -> &[u32] {
    bytemuck::try_cast_slice(rows).unwrap_or(&[])
}

/// The plain twin of [`Simd::rank`](crate::simd::Simd::rank), of any number of cuts.
#[inline(always)]
fn rank(cuts: usize, is_above: impl Fn(usize) -> bool) -> usize {
    let (mut rank, mut step) = (0, 1);
    while step < cuts {
        rank = 2 * rank + usize::from(is_above(step + rank));
        step *= 2;
    }
    rank
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::few::few;

    proptest! {
        #![proptest_config(few())]
        #[test]
        fn bits_are_replaced_as_in_a_list(
            bits in proptest::collection::vec(any::<bool>(), 1..=1024),
            at in any::<proptest::sample::Index>(), out in 0_usize..300, into in 0_usize..300,
        ) {
            let words = bits.len().div_ceil(WORD);
            let of = |bits: &[bool]| {
                let mut mask = vec![0_u64; words];
                let ones = bits.iter().enumerate().filter(|(_, is_one)| **is_one);
                // What has no room is lost.
                ones.filter(|(nth, _)| *nth < words * WORD).for_each(|(nth, _)| mask[nth / WORD] |= 1 << (nth % WORD));
                mask
            };
            let at = at.index(bits.len());
            let out = out.min(bits.len() - at);
            let mut mask = of(&bits);
            splice(&mut mask, (at, out, into));
            let mut list = bits;
            list.splice(at..at + out, vec![false; into]);
            prop_assert_eq!(mask, of(&list));
        }

        #[test]
        fn masks_are_tallied(masks in any::<[u64; 16]>()) {
            let counts = tally(masks);
            for (bit, count) in counts.iter().enumerate() {
                let twin = masks.iter().filter(|mask| **mask >> bit & 1 == 1).count();
                prop_assert_eq!(usize::from(*count), twin);
            }
        }
    }
}
