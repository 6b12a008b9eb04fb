//! The top of a large tree: which of up to 64 children can a packet lie in, answered for many packets at
//! once.
//!
//! ```text
//! for each dimension   cuts  c0 <  c1 <  c2 ...       63 of them, in the order of a binary search
//!                   masks  m0 | m1 | m2 | ...         bit i: child i's bounds meet the interval
//!
//! children to visit = remote & local & protocol & both port masks, each of the packet's interval
//! ```
//!
//! One number says for all children what an R-tree asks of one after the other (Guttman 1984); a search in
//! five sorted lists of 63 takes six steps each, without a branch, 16 packets at a time.

use core::hint::black_box;
use core::mem::size_of;

use bytemuck::{Pod, Zeroable};

use super::group::{Address, Ask, Bounds, DIMENSIONS};
use super::linear::Key;
use super::order;
use crate::simd::{CUTS, LANES, Simd};

/// Children of a fan.
pub(super) const CHILDREN: usize = u64::BITS as usize;

/// Up to 64 children of a set, and where packets lie among them.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Fan<A: Address> {
    /// For each dimension the upper ends of all intervals but the last, as [`Simd::ranks`] takes them.
    cuts: [[u32; CUTS]; DIMENSIONS],
    /// For each interval the children whose bounds meet it.
    masks: [[u64; CUTS]; DIMENSIONS],
    /// Children in which packets without a value may be.
    opaque: u64,
    /// The first box below each child, ascending.
    pub(super) firsts: [u32; CHILDREN],
    /// The first child; the others are its neighbours.
    pub(super) children: u32,
    reserved: u32,
    window: A::Window,
}

/// 4112 octets.
pub(super) type Fan4 = Fan<u32>;
/// 4152 octets.
pub(super) type Fan6 = Fan<super::block::Wide>;

const _: () = assert!(size_of::<Fan4>() == 4112);
const _: () = assert!(size_of::<Fan6>() == 4152);

plain!(Fan<u32>, Fan<super::block::Wide>);

/// Packets that are ranked in one go.
pub(super) const BURST: usize = 2 * LANES;

impl<A: Address> Fan<A> {
    /// One bit for each child whose bounds hold the packet in what is asked.
    #[inline(always)]
    pub(super) fn matches<S: Simd>(&self, key: &Key<A>, ask: Ask) -> u64 {
        let view = A::project(&self.window, key.remote, key.local);
        let values = &key.values;
        let mask = |dimension: usize, value: u32| {
            let (Some(cuts), Some(masks)) = (self.cuts.get(dimension), self.masks.get(dimension))
            else {
                return 0;
            };
            pick(masks, S::rank(cuts, value))
        };
        let source = mask(0, view.remote);
        if ask == Ask::Source {
            return source;
        }
        let portless = source & mask(1, view.local) & mask(2, values.protocol.into());
        if ask == Ask::Portless {
            return portless;
        }
        let ports = match values.has_value {
            true => mask(3, values.remote.into()) & mask(4, values.local.into()),
            false => self.opaque,
        };
        portless & ports
    }

    /// [`Fan::matches`] for up to 32 packets, all that covers them asked.
    #[inline(always)]
    pub(super) fn matches_burst<S: Simd>(&self, keys: &[Key<A>], found: &mut [u64; BURST]) {
        // One array for each dimension.
        let mut lanes = [[0; BURST]; DIMENSIONS];
        let [remote, local, protocol, remote_port, local_port] = &mut lanes;
        for (nth, key) in keys.iter().enumerate().take(BURST) {
            let view = A::project(&self.window, key.remote, key.local);
            let values = &key.values;
            remote[nth] = view.remote;
            local[nth] = view.local;
            protocol[nth] = values.protocol.into();
            remote_port[nth] = values.remote.into();
            local_port[nth] = values.local.into();
        }
        let mut ranks = [[0; BURST]; DIMENSIONS];
        for ((cuts, lanes), ranks) in self.cuts.iter().zip(&lanes).zip(&mut ranks) {
            let (lanes, _) = lanes.as_chunks::<LANES>();
            let (ranks, _) = ranks.as_chunks_mut::<LANES>();
            for (lanes, ranks) in lanes.iter().zip(ranks).take(keys.len().div_ceil(LANES)) {
                S::ranks(cuts, lanes, ranks);
            }
        }
        let [m0, m1, m2, m3, m4] = &self.masks;
        for (nth, key) in keys.iter().enumerate().take(BURST) {
            let [r0, r1, r2, r3, r4] = &ranks;
            let portless = pick(m0, r0[nth]) & pick(m1, r1[nth]) & pick(m2, r2[nth]);
            let ports = pick(m3, r3[nth]) & pick(m4, r4[nth]);
            let has_value = key.values.has_value;
            let ports = only_if(has_value, ports) | only_if(!has_value, self.opaque);
            // A compiler that sees the loop makes gathers of its lookups, which are slower.
            found[nth] = black_box(portless & ports);
        }
    }

    /// Gives boxes other numbers, in the same order.
    pub(super) fn renumber(&mut self, number: impl Fn(u32) -> u32) {
        let used = self.firsts.iter_mut().filter(|first| **first != u32::MAX);
        used.for_each(|first| *first = number(*first));
    }

    /// Children that there are.
    pub(super) fn count(&self) -> usize {
        self.firsts.iter().take_while(|first| **first != u32::MAX).count()
    }

    /// A fan over children, which stand in the order of their first boxes.
    pub(super) fn new(window: A::Window, children: u32, bounds: &[Bounds]) -> Self {
        let mut fan = Self {
            cuts: [[u32::MAX; CUTS]; DIMENSIONS],
            masks: [[0; CUTS]; DIMENSIONS],
            opaque: 0,
            firsts: [u32::MAX; CHILDREN],
            children,
            reserved: 0,
            window,
        };
        for (nth, (bounds, slot)) in bounds.iter().zip(&mut fan.firsts).enumerate() {
            *slot = bounds.first;
            fan.opaque |= u64::from(bounds.opaque) << nth;
        }
        let rows = fan.cuts.iter_mut().zip(&mut fan.masks).enumerate();
        for (dimension, (cuts, masks)) in rows {
            let intervals = intervals(bounds, dimension);
            // Step by step of a binary search: the middle, the middles of both halves, ...
            for (at, cut) in cuts.iter_mut().enumerate().skip(1) {
                let level = usize::BITS - 1 - at.leading_zeros();
                let nth = ((2 * (at - (1 << level)) + 1) << (CUTS.ilog2() - 1 - level)) - 1;
                *cut = intervals.get(nth).map_or(u32::MAX, |interval| interval.end);
            }
            let last = intervals.last().map_or(0, |interval| interval.mask);
            for (nth, mask) in masks.iter_mut().enumerate() {
                *mask = intervals.get(nth).map_or(last, |interval| interval.mask);
            }
        }
        fan
    }
}

#[inline(always)]
fn pick(masks: &[u64; CUTS], rank: u32) -> u64 {
    masks.get(rank as usize % CUTS).copied().unwrap_or(0)
}

/// Nothing, unless so; without a branch.
#[inline(always)]
fn only_if(so: bool, mask: u64) -> u64 {
    mask & 0_u64.wrapping_sub(so.into())
}

/// Where packets meet the same children.
#[derive(Clone, Copy)]
struct Interval {
    /// Its last number.
    end: u32,
    mask: u64,
}

/// Intervals before neighbours are joined: bounds of each child start one and end one.
const INTERVALS: usize = 2 * CHILDREN + 1;

/// At most 64 intervals of a dimension, which fill it. Those that differ least are joined: a packet in
/// either then visits children of both.
fn intervals(children: &[Bounds], dimension: usize) -> heapless::Vec<Interval, INTERVALS> {
    let range = |bounds: &Bounds| {
        let (lo, hi) = (*bounds.lo.get(dimension)?, *bounds.hi.get(dimension)?);
        (lo <= hi).then_some((lo, hi))
    };
    let ranges = || children.iter().filter_map(range);
    let mut ends: heapless::Vec<u32, INTERVALS> = heapless::Vec::new();
    for (lo, hi) in ranges() {
        // There is room for two of each child.
        let _ = ends.push(hi);
        if let Some(end) = lo.checked_sub(1) {
            let _ = ends.push(end);
        }
    }
    let _ = ends.push(u32::MAX);
    order::sort(&mut ends, |end| *end);
    let mut intervals: heapless::Vec<Interval, INTERVALS> = heapless::Vec::new();
    for end in ends {
        if intervals.last().is_some_and(|last| last.end == end) {
            continue;
        }
        let mask = children.iter().enumerate().fold(0, |mask, (nth, bounds)| {
            let meets = range(bounds).is_some_and(|(lo, hi)| lo <= end && end <= hi);
            mask | u64::from(meets) << nth
        });
        let _ = intervals.push(Interval { end, mask });
    }
    while intervals.len() > CUTS {
        let joined = |pair: &[Interval]| match pair {
            [one, other] => {
                let both = (one.mask | other.mask).count_ones();
                2 * both - one.mask.count_ones() - other.mask.count_ones()
            }
            _ => u32::MAX,
        };
        let least = intervals.windows(2).enumerate().min_by_key(|(_, pair)| joined(pair));
        let Some(at) = least.map(|(at, _)| at) else { break };
        let gone = intervals.get(at).map_or(0, |interval| interval.mask);
        // `remove` can panic.
        for nth in at..intervals.len() {
            if let Some(next) = intervals.get(nth + 1).copied()
                && let Some(slot) = intervals.get_mut(nth)
            {
                *slot = next;
            }
        }
        intervals.pop();
        if let Some(kept) = intervals.get_mut(at) {
            kept.mask |= gone;
        }
    }
    intervals
}
