//! The top of a tree: which of up to 1024 children can a packet lie in, answered for many packets at
//! once. Children are boxes ([`flat`](super::flat)), or groups of a large tree.
//!
//! ```text
//! for each dimension   cuts  c0 <  c1 <  c2 ...       63 to 1023 of them, in the order of a search
//!                   masks  m0 | m1 | m2 | ...         bit i: child i's bounds meet the interval
//!
//! children to visit = remote & local & protocol & both port masks, each of the packet's interval
//! ```
//!
//! One mask says for all children what an R-tree asks of one after the other (Guttman 1984); over boxes it is a bit
//! vector (Lakshman and Stiliadis 1998) of fewer intervals than ranges have ends. It is as wide as the children need,
//! 1 to 16 words; a search in five sorted lists takes six to ten steps each, without
//! a branch, 16 packets at a time. Cuts and masks are in the rows of the block ([`rows`](super::rows)): 4 to 350 KB.

use core::hint::select_unpredictable;
use core::marker::PhantomData;
use core::mem::size_of;

use bytemuck::{Pod, Zeroable};

use super::block::Wide;
use super::group::{Address, Ask, DIMENSIONS, Frame, View};
use super::linear::Key;
use super::rows::{INTERVALS, Layout, is_in_steps};
use super::tree::{Each, NO_GROUP};
use crate::simd::{CUTS, LANES, Simd, WORDS};

/// Children of a word.
pub(super) const WORD: usize = u64::BITS as usize;

/// Beside the window of a fan: addresses are compared whole instead.
pub(super) const WIDE: u16 = 1;

/// A fan without its rows.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Fan {
    /// Where its rows start, in words.
    pub(super) rows: u32,
    /// The first child; the others are its neighbours. [`NO_GROUP`]: its children are the boxes themselves.
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
        let some = &mut self.some[nth % N];
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

/// A fan and its rows.
#[derive(Clone, Copy)]
pub(super) struct Open<'b, A: Address> {
    frame: &'b Frame,
    /// [`NO_GROUP`] if they are boxes.
    pub(super) children: u32,
    layout: Layout,
    /// Of all dimensions.
    cuts: &'b [u32],
    /// And `opaque` behind them.
    masks: &'b [u64],
    /// None if they are boxes.
    pub(super) firsts: &'b [u32],
    /// Of both addresses, if they are compared whole.
    wide: &'b [u64],
    family: PhantomData<A>,
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
        let (is_wide, is_of_boxes) = (self.frame.beside == WIDE, self.is_of_boxes());
        is_one.then_some(Layout { words, addresses, is_wide, is_of_boxes })
    }

    /// Its children are boxes, not groups.
    #[inline]
    pub(super) fn is_of_boxes(&self) -> bool {
        self.children == NO_GROUP
    }

    /// The fan with its rows, of those of all fans; `None` if they are not there.
    #[inline(always)]
    pub(super) fn open<'b, A: Address>(&'b self, rows: &'b [u64]) -> Option<Open<'b, A>> {
        let layout = self.layout()?;
        let rows = rows.get(self.rows as usize..)?.get(..layout.size())?;
        let (cuts, masks) = rows.split_at_checked(layout.masks(0).start)?;
        Some(Open {
            frame: &self.frame,
            family: PhantomData,
            children: self.children,
            layout,
            cuts: bytemuck::try_cast_slice(cuts).ok()?,
            masks,
            firsts: bytemuck::try_cast_slice(rows.get(layout.firsts())?).ok()?,
            wide: rows.get(layout.wide())?,
        })
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
    /// Groups that there are.
    pub(super) fn groups(&self) -> usize {
        self.firsts.iter().take_while(|first| **first != u32::MAX).count()
    }

    /// Its children are boxes, not groups.
    #[inline(always)]
    pub(super) fn is_of_boxes(&self) -> bool {
        self.layout.is_of_boxes
    }

    /// Children that masks have bits for: a power of two.
    #[inline(always)]
    pub(super) fn room(&self) -> u32 {
        (self.layout.words * WORD) as u32
    }

    /// True if cuts stand as a search expects them: then all ways to search them say the same.
    pub(super) fn is_ordered(&self) -> bool {
        let is_narrow = |dimension: usize| dimension > 1 || !self.is_wide();
        let are_narrow =
            (0..DIMENSIONS).filter(|dimension| is_narrow(*dimension)).all(|dimension| {
                let cuts = self.cuts_of(dimension);
                // Those who count all cuts count the one that no search comes to.
                cuts.first() == Some(&u32::MAX) && is_in_steps(cuts.len(), |at| cuts.get(at))
            });
        are_narrow
            && (!self.is_wide()
                || (0..2).all(|which| {
                    let WideCuts { high, low } = self.wide_cuts(which);
                    is_in_steps(high.len(), |at| high.get(at).zip(low.get(at)))
                }))
    }

    /// In which interval of each dimension a packet lies.
    #[inline(always)]
    pub(super) fn ranks<S: Simd>(&self, key: &Key<A>) -> Option<[u32; DIMENSIONS]> {
        let values = &self.point(key);
        let mut ranks = [0; DIMENSIONS];
        for (dimension, (value, rank)) in values.iter().zip(&mut ranks).enumerate() {
            if dimension < 2 && self.is_wide() {
                continue;
            }
            *rank = S::rank(self.cuts_of(dimension).first_chunk()?, *value);
        }
        let deepen = |dimension: usize, step: usize, rank: u32, value: u32| {
            let at = self.layout.before(dimension) + step + rank as usize;
            2 * rank + u32::from(self.cuts.get(at).is_some_and(|cut| *cut < value))
        };
        let ([remote, local, remote_port, local_port, _], mut step) = (values, CUTS);
        while step < self.layout.addresses {
            ranks[0] = deepen(0, step, ranks[0], *remote);
            ranks[1] = deepen(1, step, ranks[1], *local);
            if step < self.layout.intervals(2) {
                ranks[2] = deepen(2, step, ranks[2], *remote_port);
                ranks[3] = deepen(3, step, ranks[3], *local_port);
            }
            step *= 2;
        }
        if self.is_wide() {
            [ranks[0], ranks[1]] = self.wide_ranks(key);
        }
        Some(ranks)
    }

    /// Addresses are compared whole. Never those of IPv4, for which nothing of that is compiled.
    #[inline(always)]
    fn is_wide(&self) -> bool {
        !A::WHOLE && !self.wide.is_empty()
    }

    /// The packet's number in each dimension; 0 for addresses that are compared whole.
    #[inline(always)]
    fn point(&self, key: &Key<A>) -> [u32; DIMENSIONS] {
        let view = match self.is_wide() {
            true => View::default(),
            false => A::project(&A::framed(self.frame), key.remote, key.local),
        };
        point(view, key)
    }

    /// The ranks of both addresses among whole ones, one step of both after the other.
    #[inline(always)]
    fn wide_ranks(&self, key: &Key<A>) -> [u32; 2] {
        let (remotes, locals) = (self.wide_cuts(0), self.wide_cuts(1));
        let (remote, local) = (key.remote.wide(), key.local.wide());
        let mut ranks = [0, 0];
        let mut step = 1;
        while step < self.layout.addresses {
            ranks = [remotes.deepen(step, ranks[0], remote), locals.deepen(step, ranks[1], local)];
            step *= 2;
        }
        ranks
    }

    /// [`Open::wide_ranks`] of up to sixteen packets.
    #[inline(always)]
    fn wide_ranks_of<S: Simd>(&self, keys: &[Key<A>], ranks: &mut [[u32; LANES]; 2]) -> Option<()> {
        let mut values = [[[0; LANES]; 2]; 2];
        let [[remote_high, remote_low], [local_high, local_low]] = &mut values;
        let slots = remote_high.iter_mut().zip(remote_low).zip(local_high).zip(local_low);
        for ((((remote_high, remote_low), local_high), local_low), key) in slots.zip(keys) {
            let (remote, local) = (key.remote.wide(), key.local.wide());
            (*remote_high, *remote_low) = (remote.high, remote.low);
            (*local_high, *local_low) = (local.high, local.low);
        }
        let (remotes, locals) = (self.wide_cuts(0), self.wide_cuts(1));
        S::wide_ranks([remotes.near()?, locals.near()?], &values, ranks);
        let mut step = CUTS;
        while step < self.layout.addresses {
            for (cuts, (values, ranks)) in
                [remotes, locals].iter().zip(values.iter().zip(&mut *ranks))
            {
                S::wide_deepen(cuts.row(step), values, ranks);
            }
            step *= 2;
        }
        Some(())
    }

    /// Those of the remote address, or of the local one.
    #[inline(always)]
    fn wide_cuts(&self, which: usize) -> WideCuts<'_> {
        let half = 2 * self.layout.addresses;
        let cuts = self.wide.get(which * half..(which + 1) * half).unwrap_or(&[]);
        let (high, low) = cuts.split_at_checked(self.layout.addresses).unwrap_or_default();
        WideCuts { high, low }
    }

    /// Finds the children whose bounds hold the packet in what is asked; returns the first.
    #[inline(always)]
    pub(super) fn matches<S: Simd>(
        &self,
        key: &Key<A>,
        ask: Ask,
        found: &mut Children<'_, 1, WORDS>,
    ) -> Option<u32> {
        self.children_of::<S>(self.rows_of::<S>(key, ask)?, found)
    }

    /// The same by the numbers of its masks.
    #[inline(always)]
    pub(super) fn children_of<S: Simd>(
        &self,
        rows: [u32; DIMENSIONS],
        found: &mut Children<'_, 1, WORDS>,
    ) -> Option<u32> {
        found.shift = self.layout.words.trailing_zeros();
        let mut first = None;
        by_words!(self, |masks| {
            let (common, some) = masks.meet::<S>(rows);
            let (child, is_one) = found.push(0, &common, some);
            first = is_one.then_some(child);
        });
        first
    }

    /// The first of them alone.
    #[inline(always)]
    pub(super) fn first_of<S: Simd>(&self, rows: [u32; DIMENSIONS]) -> Option<u32> {
        let mut first = None;
        by_words!(self, |masks| {
            let child = masks.first::<S>(rows);
            first = (child != NO_CHILD).then_some(child);
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
        let mut rows = NO_ROWS;
        if self.rows_of_burst::<S>(keys, &mut rows).is_none() {
            return 0;
        }
        found.shift = self.layout.words.trailing_zeros();
        let mut active = 0;
        by_words!(self, |masks| {
            for (nth, ((_, next), rows)) in keys.iter().zip(next).zip(each(&rows)).enumerate() {
                let (common, some) = masks.meet::<S>(rows);
                let (child, is_one) = found.push(nth, &common, some);
                *next = self.children.wrapping_add(child);
                active |= u32::from(is_one) << nth;
            }
        });
        active
    }

    /// The first child of each of so many packets, or [`NO_CHILD`].
    #[inline(always)]
    pub(super) fn first_of_burst<S: Simd>(
        &self,
        rows: &Rows,
        count: usize,
        next: &mut [u32; BURST],
    ) {
        by_words!(self, |masks| {
            for (next, rows) in next.iter_mut().zip(each(rows)).take(count) {
                *next = masks.first::<S>(rows);
            }
        });
    }

    /// The same behind the child that each of these packets came to.
    #[inline(always)]
    pub(super) fn behind_of_burst<S: Simd>(
        &self,
        packets: Each,
        rows: &Rows,
        next: &mut [u32; BURST],
    ) {
        by_words!(self, |masks| {
            for nth in packets {
                let rows = rows.each_ref().map(|row| row.get(nth).copied().unwrap_or(0));
                let Some(next) = next.get_mut(nth) else { break };
                *next = masks.behind::<S>(rows, *next);
            }
        });
    }

    /// The numbers of the masks that a packet is found by.
    #[inline(always)]
    pub(super) fn rows_of<S: Simd>(&self, key: &Key<A>, ask: Ask) -> Option<[u32; DIMENSIONS]> {
        let mut rows = self.ranks::<S>(key)?;
        for (dimension, rank) in rows.iter_mut().enumerate() {
            *rank += self.layout.before(dimension) as u32;
        }
        let ([remote, local, remote_port, local_port, protocol], opaque) = (rows, self.opaque());
        Some(match ask {
            Ask::Source => [remote; DIMENSIONS],
            Ask::Portless => [remote, local, protocol, protocol, protocol],
            Ask::All if key.values.has_value() => {
                [remote, local, remote_port, local_port, protocol]
            }
            Ask::All => [remote, local, opaque, opaque, protocol],
        })
    }

    /// The number of the mask that says where packets without a value may be.
    #[inline(always)]
    fn opaque(&self) -> u32 {
        self.layout.all() as u32
    }

    /// [`Open::rows_of`] for up to 32 packets, all that covers them asked. Written where they stay: what is returned is
    /// copied.
    #[inline(always)]
    pub(super) fn rows_of_burst<S: Simd>(&self, keys: &[Key<A>], rows: &mut Rows) -> Option<()> {
        let near = |dimension: usize| self.cuts_of(dimension).first_chunk();
        let (t0, t1, t2, t3, t4) = (near(0)?, near(1)?, near(2)?, near(3)?, near(4)?);
        for (half, keys) in keys.chunks(LANES).enumerate() {
            let (values, masks) = self.columns::<S>(keys);
            let mut ranks = [[0; LANES]; DIMENSIONS];
            if self.is_wide() {
                let [_, _, values @ ..] = &values;
                let (addresses, others) = ranks.split_first_chunk_mut()?;
                S::ranks([t2, t3, t4], values, others.first_chunk_mut()?);
                self.wide_ranks_of::<S>(keys, addresses)?;
            } else {
                S::ranks([t0, t1, t2, t3, t4], &values, &mut ranks);
            }
            let mut step = CUTS;
            while step < self.layout.addresses {
                for (dimension, (values, ranks)) in values.iter().zip(&mut ranks).enumerate() {
                    if dimension < 2 && self.is_wide() {
                        continue;
                    }
                    if let Some(row) = self.cuts_of(dimension).get(step..2 * step) {
                        S::deepen(row, values, ranks);
                    }
                }
                step *= 2;
            }
            for (dimension, (row, ranks)) in rows.iter_mut().zip(&ranks).enumerate() {
                let (before, opaque) = (self.layout.before(dimension) as u32, self.opaque());
                let is_port = dimension == 2 || dimension == 3;
                let row = row.as_chunks_mut::<LANES>().0.get_mut(half)?;
                for ((slot, rank), mask) in row.iter_mut().zip(ranks).zip(&masks) {
                    *slot = if is_port && *mask == 0 { opaque } else { rank + before };
                }
            }
        }
        Some(())
    }

    /// What the fan's window shows of up to sixteen packets, one array for each dimension, zeros for addresses
    /// that are compared whole; and whether they have a value, if not 0.
    #[inline(always)]
    fn columns<S: Simd>(&self, keys: &[Key<A>]) -> ([[u32; LANES]; DIMENSIONS], [u32; LANES]) {
        let (mut room, mut columns) = ([[0; 4]; LANES], [[0; LANES]; 4]);
        let window = (!self.is_wide()).then(|| A::framed(self.frame));
        S::turn(A::rows(window.as_ref(), keys, &mut room), &mut columns);
        let [remote, local, ports, last] = columns;
        let halves = |pair: u32| bytemuck::cast::<u32, [u16; 2]>(pair);
        let remote_port = ports.map(|pair| {
            let [remote, _] = halves(pair);
            u32::from(remote)
        });
        let local_port = ports.map(|pair| {
            let [_, local] = halves(pair);
            u32::from(local)
        });
        let masks = last.map(|pair| {
            let [_, mask] = halves(pair);
            u32::from(mask)
        });
        let protocol = last.map(|last| {
            let [protocol, ..]: [u8; 4] = bytemuck::cast(last);
            u32::from(protocol)
        });
        ([remote, local, remote_port, local_port, protocol], masks)
    }

    /// The cuts of a dimension: from 64 on those of one step more, from 128 on of the next.
    #[inline(always)]
    fn cuts_of(&self, dimension: usize) -> &[u32] {
        let start = self.layout.before(dimension);
        let intervals = self.layout.intervals(dimension).max(CUTS);
        self.cuts.get(start..start + intervals).unwrap_or(&[])
    }

    /// The masks of all dimensions' intervals, one dimension after the other, and `opaque`; if they have so many
    /// words.
    #[inline(always)]
    fn masks<const W: usize>(&self) -> Option<Masks<'_, W>> {
        let (rows, _) = self.masks.as_chunks();
        Some(Masks(rows.get(..=self.layout.all())?))
    }
}

/// Cuts of whole addresses.
#[derive(Clone, Copy)]
struct WideCuts<'b> {
    high: &'b [u64],
    low: &'b [u64],
}

impl<'b> WideCuts<'b> {
    /// Those of the first six steps.
    #[inline(always)]
    fn near(&self) -> Option<[&'b [u64; CUTS]; 2]> {
        Some([self.high.first_chunk()?, self.low.first_chunk()?])
    }

    /// Those of one step more.
    #[inline(always)]
    fn row(&self, step: usize) -> [&'b [u64]; 2] {
        [self.high, self.low].map(|half| half.get(step..2 * step).unwrap_or(&[]))
    }

    /// One step of a search more, of so many places.
    #[inline(always)]
    fn deepen(&self, step: usize, rank: u32, value: Wide) -> u32 {
        let at = step + rank as usize;
        let cut = self.high.get(at).zip(self.low.get(at));
        let is_above = cut
            .is_some_and(|(high, low)| u128::from(Wide { high: *high, low: *low }) < value.into());
        2 * rank + u32::from(is_above)
    }
}

/// Numbers of masks: for each dimension that of each packet of a burst.
pub(super) type Rows = [[u32; BURST]; DIMENSIONS];
pub(super) const NO_ROWS: Rows = [[0; BURST]; DIMENSIONS];

/// Those of each packet.
#[inline(always)]
fn each(rows: &Rows) -> impl Iterator<Item = [u32; DIMENSIONS]> {
    let [r0, r1, r2, r3, r4] = rows;
    let rows = r0.iter().zip(r1).zip(r2.iter().zip(r3)).zip(r4);
    rows.map(|(((r0, r1), (r2, r3)), r4)| [*r0, *r1, *r2, *r3, *r4])
}

/// Masks of so many words.
struct Masks<'b, const W: usize>(&'b [[u64; W]]);

impl<const W: usize> Masks<'_, W> {
    /// The children that are in all of the masks with these numbers, and a bit for each word in which there are
    /// some.
    #[inline(always)]
    fn meet<S: Simd>(&self, rows: [u32; DIMENSIONS]) -> ([u64; W], u32) {
        let mut common = [0; W];
        let [Some(a), Some(b), Some(c), Some(d), Some(e)] =
            rows.map(|number| self.0.get(number as usize))
        else {
            return (common, 0);
        };
        let some = S::meet([a, b, c, d, e], &mut common);
        (common, some)
    }

    /// The first of those children, or [`NO_CHILD`].
    #[inline(always)]
    fn first<S: Simd>(&self, rows: [u32; DIMENSIONS]) -> u32 {
        let (common, some) = self.meet::<S>(rows);
        lowest::<S, W>(&common, some)
    }

    /// The same behind one of them.
    #[inline(always)]
    fn behind<S: Simd>(&self, rows: [u32; DIMENSIONS], child: u32) -> u32 {
        let (common, _) = self.meet::<S>(rows);
        let (word, bit) = (child as usize / WORD, child as usize % WORD);
        let (mut behind, mut left) = ([0; W], [0; W]);
        for (nth, slot) in behind.iter_mut().enumerate() {
            let from = if nth > word { u64::MAX } else { 0 };
            *slot = if nth == word { (u64::MAX << 1) << bit } else { from };
        }
        let some = S::meet([&common, &behind, &behind, &behind, &behind], &mut left);
        lowest::<S, W>(&left, some)
    }
}

/// Behind the children of every fan.
pub(super) const NO_CHILD: u32 = (u32::BITS + 1) * WORD as u32;

/// The first child of a mask, by the words in which there are some. Where there is none, each number of zeros in front
/// of a bit is that of all bits: [`NO_CHILD`], as the word that is read then is 0.
#[inline(always)]
fn lowest<S: Simd, const W: usize>(mask: &[u64; W], some: u32) -> u32 {
    let word = some.trailing_zeros();
    word * WORD as u32 + S::word(mask, word as usize).trailing_zeros()
}

/// A packet's number in each dimension.
#[inline(always)]
fn point<A>(view: View, key: &Key<A>) -> [u32; DIMENSIONS] {
    let values = &key.values;
    let ports = (values.remote.into(), values.local.into());
    [view.remote, view.local, ports.0, ports.1, values.protocol.into()]
}
