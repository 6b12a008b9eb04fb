//! The top of a large tree: which of up to 1024 children can a packet lie in, answered for many packets at
//! once.
//!
//! ```text
//! for each dimension   cuts  c0 <  c1 <  c2 ...       63 to 1023 of them, in the order of a search
//!                   masks  m0 | m1 | m2 | ...         bit i: child i's bounds meet the interval
//!
//! children to visit = remote & local & protocol & both port masks, each of the packet's interval
//! ```
//!
//! One mask says for all children what an R-tree asks of one after the other (Guttman 1984). It is as wide
//! as the children need, 1 to 16 words; a search in five sorted lists takes six to ten steps each, without
//! a branch, 16 packets at a time. Cuts and masks are in the rows of the block: 4 to 350 KB.

use core::hint::select_unpredictable;
use core::mem::size_of;
use core::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::group::{Address, Ask, Bounds, DIMENSIONS, Frame, View, WIDTH};
use super::linear::Key;
use super::order;
use crate::simd::{CUTS, LANES, Simd, WORDS};

/// Children of a fan, at most.
pub(super) const CHILDREN: usize = WORDS * WORD;
/// Children of a word.
pub(super) const WORD: usize = u64::BITS as usize;
/// Intervals of a dimension, at most.
const INTERVALS: usize = 16 * CUTS;
/// Boxes that a fan over leaves may have.
pub(super) const FULL: usize = CHILDREN * (WIDTH - 1);
/// The dimension of the protocol, the last one.
const PROTOCOL: usize = DIMENSIONS - 1;

/// A fan without its rows.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Fan {
    /// Where its rows start, in words.
    pub(super) rows: u32,
    /// The first child; the others are its neighbours.
    pub(super) children: u32,
    /// Those of its [`Layout`].
    pub(super) words: u16,
    pub(super) addresses: u16,
    pub(super) frame: Frame,
}

const _: () = assert!(size_of::<Fan>() == 40);

plain!(Fan);

/// Packets that are ranked in one go.
pub(super) const BURST: usize = 2 * LANES;
/// Words of the children of a burst.
pub(super) const ROOM: usize = BURST * WORDS;

/// Masks of children, those of one packet after those of the other. A variable of its own: as part of a
/// struct it would be cleared.
pub(super) type Room<const ROOM: usize> = heapless::Vec<u64, ROOM>;

/// Which children of a fan each of `N` packets may lie in; `ROOM` is [`WORDS`] for each of them.
pub(super) struct Children<'m, const N: usize, const ROOM: usize> {
    masks: &'m mut Room<ROOM>,
    /// A packet has two to the power of this words.
    shift: u32,
    /// A bit for each word in which there are children left.
    some: [u32; N],
}

impl<'m, const N: usize, const ROOM: usize> Children<'m, N, ROOM> {
    /// None, for as many packets as follow.
    #[inline(always)]
    pub(super) fn new(masks: &'m mut Room<ROOM>) -> Self {
        Self { masks, shift: 0, some: [0; N] }
    }

    /// Adds those of one packet more, and takes the first.
    #[inline(always)]
    fn push<const W: usize>(&mut self, nth: usize, masks: &[u64; W], some: u32) -> (u32, bool) {
        // There is room for the children of all packets.
        let _ = self.masks.extend_from_slice(masks);
        if let Some(slot) = self.some.get_mut(nth) {
            *slot = some;
        }
        self.take(nth)
    }

    /// Takes the next child of a packet; if there is one. Without a branch: which are left cannot be
    /// foreseen.
    #[inline(always)]
    pub(super) fn take(&mut self, nth: usize) -> (u32, bool) {
        let Some(some) = self.some.get_mut(nth) else { return (0, false) };
        let word = some.trailing_zeros() % WORDS as u32;
        let Some(mask) = self.masks.get_mut((nth << self.shift) + word as usize) else {
            return (0, false);
        };
        let is_one = *some != 0;
        let child = word * WORD as u32 + mask.trailing_zeros();
        *mask &= mask.wrapping_sub(1);
        let behind = *some & some.wrapping_sub(1);
        *some = select_unpredictable(*mask == 0, behind, *some);
        (child, is_one)
    }
}

/// How large the rows of a fan are, and where their parts are, in words: cuts, masks, `opaque`, `firsts`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    /// Words of a mask: a power of two up to 16; 0: there is no fan.
    words: usize,
    /// Intervals of addresses: a power of two from 64 to 1024.
    addresses: usize,
}

impl Layout {
    /// For a fan over so many children of so many boxes.
    pub(super) fn of(children: usize, boxes: usize) -> Self {
        let words = if children == 0 { 0 } else { children.div_ceil(WORD).next_power_of_two() };
        let addresses = match words {
            0..4 => CUTS,
            4..8 => 2 * CUTS,
            // Groups that need not have been looked at are far away.
            16 if boxes > 2 * FULL => INTERVALS,
            _ => 4 * CUTS,
        };
        Self { words, addresses }
    }

    /// There is a fan.
    pub(super) fn is_some(self) -> bool {
        self.words > 0
    }

    /// Words of all rows: whole cache lines.
    pub(super) const fn size(self) -> usize {
        if self.words == 0 { 0 } else { self.firsts().end }
    }

    /// Intervals of ports.
    #[inline(always)]
    const fn ports(self) -> usize {
        if self.addresses < 4 * CUTS { self.addresses } else { 4 * CUTS }
    }

    /// Intervals of a dimension. There are few protocols.
    #[inline(always)]
    const fn intervals(self, dimension: usize) -> usize {
        match dimension {
            0 | 1 => self.addresses,
            2 | 3 => self.ports(),
            _ => CUTS,
        }
    }

    /// Intervals of the dimensions before.
    #[inline(always)]
    const fn before(self, dimension: usize) -> usize {
        match dimension {
            0 | 1 => dimension * self.addresses,
            _ => 2 * self.addresses + (dimension - 2) * self.ports(),
        }
    }

    #[inline(always)]
    const fn all(self) -> usize {
        self.before(PROTOCOL) + CUTS
    }

    /// The upper ends of all intervals but the last, as [`Simd::ranks`] takes them.
    #[inline(always)]
    const fn cuts(self, dimension: usize) -> Range<usize> {
        let start = self.before(dimension) / 2;
        start..start + self.intervals(dimension) / 2
    }

    /// For each interval the children whose bounds meet it.
    #[inline(always)]
    const fn masks(self, dimension: usize) -> Range<usize> {
        let start = self.all() / 2 + self.before(dimension) * self.words;
        start..start + self.intervals(dimension) * self.words
    }

    /// Children in which packets without a value may be.
    #[inline(always)]
    const fn opaque(self) -> Range<usize> {
        let start = self.all() / 2 + self.all() * self.words;
        start..start + self.words
    }

    /// The first box below each child, ascending.
    #[inline(always)]
    const fn firsts(self) -> Range<usize> {
        let start = self.opaque().end.next_multiple_of(8);
        start..start + self.words * WORD / 2
    }
}

#[cfg(feature = "alloc")]
impl Layout {
    /// Where there are numbers of so many octets.
    pub(super) fn numbers(self) -> [(Range<usize>, usize); 3] {
        let (cuts, masks) = (self.masks(0).start, self.firsts().start);
        [(0..cuts, 4), (cuts..masks, 8), (masks..self.size(), 4)]
    }
}

/// A fan and its rows.
pub(super) struct Open<'b, A: Address> {
    window: A::Window,
    pub(super) children: u32,
    layout: Layout,
    /// Of all dimensions.
    cuts: &'b [u32],
    /// And `opaque` behind them.
    masks: &'b [u64],
    pub(super) firsts: &'b [u32],
}

impl Fan {
    /// How large its rows are; `None` for a fan that no builder made.
    #[inline]
    pub(super) fn layout(&self) -> Option<Layout> {
        let (words, addresses) = (usize::from(self.words), usize::from(self.addresses));
        let is_one = words.is_power_of_two()
            && words <= WORDS
            && addresses.is_power_of_two()
            && (CUTS..=INTERVALS).contains(&addresses);
        is_one.then_some(Layout { words, addresses })
    }

    /// The fan with its rows, of those of all fans; `None` if they are not there.
    #[inline(always)]
    pub(super) fn open<'b, A: Address>(&self, rows: &'b [u64]) -> Option<Open<'b, A>> {
        let layout = self.layout()?;
        let rows = rows.get(self.rows as usize..)?.get(..layout.size())?;
        let (cuts, masks) = rows.split_at_checked(layout.masks(0).start)?;
        Some(Open {
            window: A::framed(&self.frame),
            children: self.children,
            layout,
            cuts: bytemuck::try_cast_slice(cuts).ok()?,
            masks,
            firsts: bytemuck::try_cast_slice(rows.get(layout.firsts())?).ok()?,
        })
    }

    /// The packet's number in each dimension, as the fan's window shows it.
    pub(super) fn point<A: Address>(&self, key: &Key<A>) -> [u32; DIMENSIONS] {
        point(self.frame.view(key), key)
    }

    /// Gives the boxes that its rows name other numbers, in the same order.
    pub(super) fn renumber(&self, rows: &mut [u64], number: impl Fn(u32) -> u32) {
        let firsts = self.layout().and_then(|layout| rows.get_mut(layout.firsts()));
        let firsts: &mut [u32] =
            firsts.and_then(|row| bytemuck::try_cast_slice_mut(row).ok()).unwrap_or(&mut []);
        let used = firsts.iter_mut().filter(|first| **first != u32::MAX);
        used.for_each(|first| *first = number(*first));
    }
}

/// What is to be done with the masks of a fan, for each width that there is.
macro_rules! by_words {
    ($fan:expr, |$masks:ident| $body:expr) => {
        match $fan.layout.words {
            1 => by_words!($fan, 1, |$masks| $body),
            2 => by_words!($fan, 2, |$masks| $body),
            4 => by_words!($fan, 4, |$masks| $body),
            8 => by_words!($fan, 8, |$masks| $body),
            _ => by_words!($fan, WORDS, |$masks| $body),
        }
    };
    ($fan:expr, $words:expr, |$masks:ident| $body:expr) => {
        if let Some($masks) = $fan.masks::<{ $words }>() {
            $body
        }
    };
}

impl<A: Address> Open<'_, A> {
    /// Children that there are.
    pub(super) fn count(&self) -> usize {
        self.firsts.iter().take_while(|first| **first != u32::MAX).count()
    }

    /// In which interval of each dimension a point lies.
    #[inline(always)]
    pub(super) fn ranks<S: Simd>(&self, values: &[u32; DIMENSIONS]) -> Option<[u32; DIMENSIONS]> {
        let mut ranks = [0; DIMENSIONS];
        for (dimension, (value, rank)) in values.iter().zip(&mut ranks).enumerate() {
            *rank = S::rank(self.cuts_of(dimension).first_chunk()?, *value);
        }
        let mut step = CUTS;
        while step < self.layout.addresses {
            for (dimension, (value, rank)) in values.iter().zip(&mut ranks).enumerate() {
                if let Some(row) = self.cuts_of(dimension).get(step..2 * step) {
                    let is_above = row.get(*rank as usize).is_some_and(|cut| cut < value);
                    *rank = 2 * *rank + u32::from(is_above);
                }
            }
            step *= 2;
        }
        Some(ranks)
    }

    /// The numbers of the masks of these intervals.
    #[inline(always)]
    fn rows(&self, mut ranks: [u32; DIMENSIONS]) -> [u32; DIMENSIONS] {
        for (dimension, rank) in ranks.iter_mut().enumerate() {
            *rank += self.layout.before(dimension) as u32;
        }
        ranks
    }

    /// Words of a mask.
    pub(super) fn words(&self) -> usize {
        self.layout.words
    }

    /// The plain twin of [`Masks::meet`]: one word of the children that are in the masks of all intervals
    /// that a packet lies in.
    pub(super) fn word(
        &self,
        ranks: &[u32; DIMENSIONS],
        ask: Ask,
        has_value: bool,
        nth: usize,
    ) -> u64 {
        let mut common = u64::MAX;
        for (dimension, rank) in ranks.iter().enumerate() {
            let is_port = dimension == 2 || dimension == 3;
            let is_asked = match ask {
                Ask::Source => dimension == 0,
                Ask::Portless => !is_port,
                Ask::All => has_value || !is_port,
            };
            if is_asked {
                let row = self.layout.before(dimension) + *rank as usize;
                common &= self.masks.get(row * self.layout.words + nth).copied().unwrap_or(0);
            }
        }
        if ask == Ask::All && !has_value {
            let row = self.layout.all() * self.layout.words;
            common &= self.masks.get(row + nth).copied().unwrap_or(0);
        }
        common
    }

    /// Finds the children whose bounds hold the packet in what is asked; returns the first.
    #[inline(always)]
    pub(super) fn matches<S: Simd>(
        &self,
        key: &Key<A>,
        ask: Ask,
        found: &mut Children<'_, 1, WORDS>,
    ) -> Option<u32> {
        let values = point(A::project(&self.window, key.remote, key.local), key);
        let rows = self.rows(self.ranks::<S>(&values)?);
        found.shift = self.layout.words.trailing_zeros();
        let mut first = None;
        by_words!(self, |masks| {
            let (common, some) = masks.meet::<S>(rows, ask, key.values.has_value());
            let (child, is_one) = found.push(0, &common, some);
            first = is_one.then_some(child);
        });
        first
    }

    /// [`Open::matches`] for up to 32 packets, all that covers them asked: the number of the group of each
    /// packet's first child goes into `next`. Returns a bit for each packet that has one.
    #[inline(always)]
    pub(super) fn matches_burst<S: Simd>(
        &self,
        keys: &[Key<A>],
        found: &mut Children<'_, BURST, ROOM>,
        next: &mut [u32; BURST],
    ) -> u32 {
        let near = |dimension: usize| self.cuts_of(dimension).first_chunk();
        let (Some(t0), Some(t1), Some(t2), Some(t3), Some(t4)) =
            (near(0), near(1), near(2), near(3), near(4))
        else {
            return 0;
        };
        // First ranks, then the numbers of their masks.
        let mut rows = [[[0; LANES]; DIMENSIONS]; BURST / LANES];
        for (keys, ranks) in keys.chunks(LANES).zip(&mut rows) {
            let values = self.columns::<S>(keys);
            S::ranks([t0, t1, t2, t3, t4], &values, ranks);
            let mut step = CUTS;
            while step < self.layout.addresses {
                for (dimension, (values, ranks)) in values.iter().zip(&mut *ranks).enumerate() {
                    if let Some(row) = self.cuts_of(dimension).get(step..2 * step) {
                        S::deepen(row, values, ranks);
                    }
                }
                step *= 2;
            }
            for (dimension, ranks) in ranks.iter_mut().enumerate() {
                let before = self.layout.before(dimension) as u32;
                ranks.iter_mut().for_each(|rank| *rank += before);
            }
        }
        found.shift = self.layout.words.trailing_zeros();
        let mut active = 0;
        by_words!(self, |masks| {
            let (nexts, _) = next.as_chunks_mut::<LANES>();
            let halves = keys.chunks(LANES).zip(&rows).zip(nexts).enumerate();
            for (half, ((keys, [r0, r1, r2, r3, r4]), nexts)) in halves {
                let rows = r0.iter().zip(r1).zip(r2.iter().zip(r3)).zip(r4);
                for (lane, ((key, next), rows)) in keys.iter().zip(nexts).zip(rows).enumerate() {
                    let nth = half * LANES + lane;
                    let (((r0, r1), (r2, r3)), r4) = rows;
                    let rows = [*r0, *r1, *r2, *r3, *r4];
                    let (common, some) = masks.meet::<S>(rows, Ask::All, key.values.has_value());
                    let (child, is_one) = found.push(nth, &common, some);
                    *next = self.children.wrapping_add(child);
                    active |= u32::from(is_one) << nth;
                }
            }
        });
        active
    }

    /// What the fan's window shows of up to sixteen packets, one array for each dimension.
    #[inline(always)]
    fn columns<S: Simd>(&self, keys: &[Key<A>]) -> [[u32; LANES]; DIMENSIONS] {
        let (mut room, mut columns) = ([[0; 4]; LANES], [[0; LANES]; 4]);
        S::turn(A::rows(&self.window, keys, &mut room), &mut columns);
        let [remote, local, ports, protocol] = columns;
        let halves = |pair: u32| bytemuck::cast::<u32, [u16; 2]>(pair);
        let remote_port = ports.map(|pair| {
            let [remote, _] = halves(pair);
            u32::from(remote)
        });
        let local_port = ports.map(|pair| {
            let [_, local] = halves(pair);
            u32::from(local)
        });
        let protocol = protocol.map(|last| {
            let [protocol, ..]: [u8; 4] = bytemuck::cast(last);
            u32::from(protocol)
        });
        [remote, local, remote_port, local_port, protocol]
    }

    /// The cuts of a dimension: from 64 on those of one step more, from 128 on of the next.
    #[inline(always)]
    fn cuts_of(&self, dimension: usize) -> &[u32] {
        let start = self.layout.before(dimension);
        self.cuts.get(start..start + self.layout.intervals(dimension)).unwrap_or(&[])
    }

    /// The masks of all dimensions' intervals, one dimension after the other, and `opaque`; if they have so many
    /// words.
    #[inline(always)]
    fn masks<const W: usize>(&self) -> Option<Masks<'_, W>> {
        let (rows, _) = self.masks.as_chunks();
        Some(Masks { rows: rows.get(..=self.layout.all())?, opaque: self.layout.all() as u32 })
    }
}

/// Masks of so many words.
struct Masks<'b, const W: usize> {
    rows: &'b [[u64; W]],
    /// Which of them says where packets without a value may be.
    opaque: u32,
}

impl<const W: usize> Masks<'_, W> {
    /// The children that are in the masks of all intervals that a packet lies in, and a bit for each word in
    /// which there are some. `rows` are the numbers of its intervals' masks.
    #[inline(always)]
    fn meet<S: Simd>(
        &self,
        [remote, local, remote_port, local_port, protocol]: [u32; DIMENSIONS],
        ask: Ask,
        has_value: bool,
    ) -> ([u64; W], u32) {
        let mut common = [0; W];
        let [a, b, c, d, e] = match ask {
            Ask::Source => [remote; DIMENSIONS],
            Ask::Portless => [remote, local, protocol, protocol, protocol],
            Ask::All if has_value => [remote, local, protocol, remote_port, local_port],
            Ask::All => [remote, local, protocol, self.opaque, self.opaque],
        };
        let row = |number: u32| self.rows.get(number as usize);
        let (Some(a), Some(b), Some(c), Some(d), Some(e)) =
            (row(a), row(b), row(c), row(d), row(e))
        else {
            return (common, 0);
        };
        let some = S::meet([a, b, c, d, e], &mut common);
        (common, some)
    }
}

/// A packet's number in each dimension.
#[inline(always)]
fn point<A>(view: View, key: &Key<A>) -> [u32; DIMENSIONS] {
    let values = &key.values;
    let ports = (values.remote.into(), values.local.into());
    [view.remote, view.local, ports.0, ports.1, values.protocol.into()]
}

/// What fans are built in.
pub(super) struct Desk<'b> {
    /// Two numbers for each child.
    pub(super) ends: &'b mut [u32],
    /// Those of the fan.
    pub(super) rows: &'b mut [u64],
}

impl Fan {
    /// A fan over `count` children, which stand in the order of their first boxes; `bounds` of each, seen
    /// through the window.
    pub(super) fn new<A: Address>(
        window: &A::Window,
        (rows, children): (u32, u32),
        (layout, count): (Layout, usize),
        bounds: impl Fn(usize) -> Bounds,
        room: Desk<'_>,
    ) -> Option<Self> {
        let words = layout.words;
        room.rows.fill(0);
        let opaque = room.rows.get_mut(layout.opaque())?;
        for child in 0..count {
            *opaque.get_mut(child / WORD)? |= u64::from(bounds(child).opaque) << (child % WORD);
        }
        let firsts = room.rows.get_mut(layout.firsts())?;
        let firsts: &mut [u32] = bytemuck::try_cast_slice_mut(firsts).ok()?;
        firsts.fill(u32::MAX);
        for (child, slot) in firsts.iter_mut().enumerate().take(count) {
            *slot = bounds(child).first;
        }
        for dimension in 0..DIMENSIONS {
            let range = |child: usize| {
                let bounds = bounds(child);
                let (lo, hi) = (*bounds.lo.get(dimension)?, *bounds.hi.get(dimension)?);
                (lo <= hi).then_some((lo, hi))
            };
            let ranges = || (0..count).filter_map(|child| Some((child, range(child)?)));
            let intervals =
                intervals(ranges().map(|(_, range)| range), layout.intervals(dimension), room.ends);
            let cuts = room.rows.get_mut(layout.cuts(dimension))?;
            let cuts: &mut [u32] = bytemuck::try_cast_slice_mut(cuts).ok()?;
            let steps = cuts.len().trailing_zeros();
            // Step by step of a binary search: the middle, the middles of both halves, ...
            for (at, cut) in cuts.iter_mut().enumerate() {
                let Some(level) = (usize::BITS - 1).checked_sub(at.leading_zeros()) else {
                    *cut = u32::MAX;
                    continue;
                };
                let nth = ((2 * (at - (1 << level)) + 1) << (steps - 1 - level)) - 1;
                *cut = intervals.get(nth).copied().unwrap_or(u32::MAX);
            }
            let masks = room.rows.get_mut(layout.masks(dimension))?;
            for (child, (lo, hi)) in ranges() {
                let interval = |at: u32| intervals.partition_point(|end| *end < at);
                for interval in interval(lo)..=interval(hi) {
                    let word = masks.get_mut(interval * words + child / WORD)?;
                    *word |= 1 << (child % WORD);
                }
            }
        }
        let frame = A::frame(window);
        Some(Self {
            rows,
            children,
            words: words as u16,
            addresses: layout.addresses as u16,
            frame,
        })
    }
}

/// The last numbers of at most so many intervals, which fill a dimension, but for that of the last one.
///
/// Where more ranges end than there may be intervals, some of those places are left out, so that about as
/// many ranges start or end within any interval: packets in it visit children of all of them.
fn intervals(
    ranges: impl Iterator<Item = (u32, u32)>,
    most: usize,
    room: &mut [u32],
) -> heapless::Vec<u32, INTERVALS> {
    let mut count = 0;
    for (lo, hi) in ranges {
        // An interval ends with a range, and in front of one.
        for end in [Some(hi), lo.checked_sub(1)].into_iter().flatten() {
            // Nothing ends behind the last number.
            if let Some(slot) = room.get_mut(count).filter(|_| end < u32::MAX) {
                *slot = end;
                count += 1;
            }
        }
    }
    let ends = room.get_mut(..count).unwrap_or(&mut []);
    order::sort(ends, |end| *end);
    let is_last = |nth: usize, end: &u32| ends.get(nth + 1) != Some(end);
    let last = || ends.iter().enumerate().filter(|(nth, end)| is_last(*nth, end));
    let (all, cuts) = (last().count(), most.saturating_sub(1));
    let mut intervals = heapless::Vec::new();
    let mut before = 0;
    for (nth, end) in last() {
        let behind = nth + 1;
        let part = |ends: usize| (ends * cuts).checked_div(count).unwrap_or(0);
        if all <= cuts || part(before) < part(behind) {
            // There is room for as many as there may be.
            let _ = intervals.push(*end);
        }
        before = behind;
    }
    intervals
}
