//! What vectors do: eight words of a bucket, or sixteen boxes of a leaf, compared at once where the
//! target can.
//!
//! What [`Simd::slots`] says of a bucket is a hint. Whoever finds a slot in it loads that word again,
//! atomically, and compares all of it; whoever finds none reads the filter bit afterwards. So nothing
//! rests on how wide loads behave beside a writer but this: each word of eight octets is read whole, and
//! before what the program reads later. Every x86-64 does so.
//!
//! [`Base`] is chosen when compiled: SSE2 is part of x86-64, NEON of AArch64, and one number after the other
//! is what all targets can. AVX2 and AVX-512 are used if the processor has them: [`Backend::detect`] asks the
//! first time. Buckets gain nothing from AVX-512 (DESIGN.md).

#[cfg(all(target_arch = "aarch64", target_feature = "neon", not(any(miri, loom, espial_scalar))))]
#[path = "aarch64.rs"]
mod base;
#[cfg(not(any(
    all(target_arch = "x86_64", target_feature = "sse2", not(any(miri, loom, espial_scalar))),
    all(target_arch = "aarch64", target_feature = "neon", not(any(miri, loom, espial_scalar))),
)))]
#[path = "portable.rs"]
mod base;
#[cfg(not(all(
    target_arch = "x86_64",
    target_feature = "sse2",
    not(any(miri, loom, espial_scalar))
)))]
mod single;
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(any(miri, loom, espial_scalar))))]
mod x86_64;

#[cfg(not(all(
    target_arch = "x86_64",
    target_feature = "sse2",
    not(any(miri, loom, espial_scalar))
)))]
pub(crate) use base::Base;
#[cfg(not(all(
    target_arch = "x86_64",
    target_feature = "sse2",
    not(any(miri, loom, espial_scalar))
)))]
use single as target;
#[cfg(all(
    target_arch = "x86_64",
    target_feature = "sse2",
    not(any(miri, loom, espial_scalar))
))]
use x86_64 as target;
#[cfg(all(
    target_arch = "x86_64",
    target_feature = "sse2",
    not(any(miri, loom, espial_scalar))
))]
pub(crate) use x86_64::Base;

use crate::sad::table::Bucket;

/// Small code counts more than speed: microcontrollers, whose flash is what there is least of.
/// `--cfg espial_compact` asks for it elsewhere.
pub(crate) const COMPACT: bool =
    cfg!(any(all(target_os = "none", target_pointer_width = "32"), espial_compact));

/// Boxes of a leaf.
#[cfg(not(loom))]
pub(crate) const LANES: usize = 16;

/// Sixteen ranges of remote and local addresses and ports: the lower ends of each, and the upper ones.
#[cfg(not(loom))]
#[derive(Clone, Copy)]
pub(crate) struct Ends<'g> {
    pub(crate) remote: [&'g [u32; LANES]; 2],
    pub(crate) local: [&'g [u32; LANES]; 2],
    pub(crate) ports: [&'g [[u16; 2]; LANES]; 2],
}

/// A way to compare.
pub(crate) trait Simd: Copy {
    /// Sixteen boxes take long: to look whether any is left pays.
    const ONE_BY_ONE: bool = true;

    /// One bit for each slot whose word has this high half, in an order of its own.
    fn slots(bucket: &Bucket, high: u32) -> u32;

    /// The slot of the lowest bit of what `slots` gave, if there is one.
    #[inline(always)]
    fn first(slots: u32) -> Option<usize> {
        if slots == 0 { None } else { Some(slots.trailing_zeros() as usize) }
    }

    /// One bit for each range that holds the value.
    #[cfg(not(loom))]
    #[inline(always)]
    fn hold_u32(lo: &[u32; LANES], hi: &[u32; LANES], value: u32) -> u32 {
        hold(lo, hi, value)
    }

    /// One bit for each pair of ranges that hold a value each.
    #[cfg(not(loom))]
    #[inline(always)]
    fn hold_pairs(lo: &[[u16; 2]; LANES], hi: &[[u16; 2]; LANES], values: [u16; 2]) -> u32 {
        hold_pairs(lo, hi, values)
    }

    /// One bit for each place where all four ranges hold their values; where the mask, all ones or 0, is 0, both
    /// of the addresses.
    #[cfg(not(loom))]
    #[inline(always)]
    fn hold_all(ends: Ends<'_>, addresses: [u32; 2], (ports, mask): ([u16; 2], u16)) -> u32 {
        let Ends { remote, local, ports: [lo, hi] } = ends;
        Self::hold_u32(remote[0], remote[1], addresses[0])
            & Self::hold_u32(local[0], local[1], addresses[1])
            & (Self::hold_pairs(lo, hi, ports) | u32::from(!mask))
    }

    /// As [`Simd::hold_u32`].
    #[cfg(not(loom))]
    #[inline(always)]
    fn hold_u8(lo: &[u8; LANES], hi: &[u8; LANES], value: u8) -> u32 {
        hold(lo, hi, value)
    }

    /// 0 if two ranges, a lower and an upper end each, hold a value each, which is given for both ends; else below 16.
    #[cfg(not(loom))]
    #[inline(always)]
    fn outside(ends: [u32; 4], values: [u32; 4]) -> u32 {
        outside(ends, values)
    }

    /// [`Simd::outside`] of four boxes: four bits each, the first one's lowest.
    #[cfg(not(loom))]
    #[inline(always)]
    fn outside_four(boxes: [[u32; 4]; 4], values: [u32; 4]) -> u32 {
        boxes.iter().rev().fold(0, |all, ends| all << 4 | Self::outside(*ends, values))
    }

    /// 0 if a box of IPv4 holds the addresses, the protocol and, if it has them, the ports of a packet. Of the box:
    /// the ends of both addresses, then as [`Simd::outside_rest`] takes it; of the packet both addresses, then the
    /// same.
    #[cfg(not(loom))]
    #[inline(always)]
    fn outside_box(one: &[u32; 8], [remote, local, ports, last]: [u32; 4]) -> u32 {
        let [a, b, c, d, rest @ ..] = one;
        outside([*a, *b, *c, *d], [remote, remote, local, local])
            | outside_rest(bytemuck::cast_ref(rest), bytemuck::cast([ports, last]))
    }

    /// 0 if what a box says beside addresses holds a packet's protocol and, if it has them, its ports. Of the box:
    /// both ends of both ports, and of the protocol in the octets of one number. Of the packet: both ports, the
    /// protocol in both octets of a number, and all ones if it has ports, else 0.
    #[cfg(not(loom))]
    #[inline(always)]
    fn outside_rest(rest: &[u16; 8], values: [u16; 4]) -> u32 {
        outside_rest(rest, values)
    }

    /// The place of a value in a search tree of [`CUTS`] - 1 numbers: how many of them are less than the
    /// value.
    #[cfg(not(loom))]
    #[inline(always)]
    fn rank(cuts: &[u32; CUTS], value: u32) -> u32 {
        rank(cuts, value)
    }

    /// [`Simd::rank`] of sixteen values in each of some trees.
    #[cfg(not(loom))]
    #[inline(always)]
    fn ranks<const N: usize>(
        trees: [&[u32; CUTS]; N],
        values: &[[u32; LANES]; N],
        ranks: &mut [[u32; LANES]; N],
    ) {
        for ((cuts, values), ranks) in trees.iter().zip(values).zip(ranks) {
            ranks.iter_mut().zip(values).for_each(|(slot, value)| *slot = rank(cuts, *value));
        }
    }

    /// [`Simd::rank`] of sixteen values of 128 bits in each of some trees of such numbers: high halves, then low ones.
    #[cfg(not(loom))]
    #[inline(always)]
    fn wide_ranks<const N: usize>(
        trees: [[&[u64; CUTS]; 2]; N],
        values: &[[[u64; LANES]; 2]; N],
        ranks: &mut [[u32; LANES]; N],
    ) {
        for ((cuts, values), ranks) in trees.into_iter().zip(values).zip(ranks) {
            wide_ranks(cuts, values, ranks);
        }
    }

    /// One step more: `row` has a number for each rank, and twice as many ranks follow from it.
    #[cfg(not(loom))]
    #[inline(always)]
    fn deepen(row: &[u32], values: &[u32; LANES], ranks: &mut [u32; LANES]) {
        deepen(row, values, ranks);
    }

    /// The same of numbers of 128 bits: high halves, then low ones.
    #[cfg(not(loom))]
    #[inline(always)]
    fn wide_deepen(rows: [&[u64]; 2], values: &[[u64; LANES]; 2], ranks: &mut [u32; LANES]) {
        wide_deepen(rows, values, ranks);
    }

    /// The lesser one, without a branch.
    #[cfg(not(loom))]
    #[inline(always)]
    fn lesser(one: u32, other: u32) -> u32 {
        one.min(other)
    }

    /// Sixteen times four numbers as four times sixteen: the first of each, the second of each, ...
    #[cfg(not(loom))]
    #[inline(always)]
    fn turn(rows: &[[u32; 4]; LANES], columns: &mut [[u32; LANES]; 4]) {
        turn(rows, columns);
    }

    /// What five masks have in common, and a bit for each word of that which is not 0.
    #[cfg(not(loom))]
    #[inline(always)]
    fn meet<const W: usize>(masks: [&[u64; W]; 5], common: &mut [u64; W]) -> u32 {
        meet(masks, common)
    }

    /// The nth word of a mask that has just been made; places behind its end count from its start.
    #[cfg(not(loom))]
    #[inline(always)]
    fn word<const W: usize>(mask: &[u64; W], nth: usize) -> u64 {
        mask.get(nth % W).copied().unwrap_or(0)
    }

    /// To be called before code that knows nothing of this way.
    #[inline(always)]
    fn leave() {}
}

/// Numbers of a search tree: at 1 the middle of all, at 2 and 3 the middles of the halves below and above
/// it, and so on, each twice as far as the one above it (Eytzinger's order). Nothing is at 0.
#[cfg(not(loom))]
pub(crate) const CUTS: usize = 64;

/// Words of a mask, at most.
#[cfg(not(loom))]
pub(crate) const WORDS: usize = 16;

/// The twin: one word after the other.
#[cfg(not(loom))]
#[inline(always)]
fn meet<const W: usize>([a, b, c, d, e]: [&[u64; W]; 5], common: &mut [u64; W]) -> u32 {
    let mut some = 0;
    let words = a.iter().zip(b).zip(c).zip(d).zip(e).zip(common).enumerate();
    for (nth, (((((a, b), c), d), e), slot)) in words {
        *slot = a & b & c & d & e;
        some |= u32::from(*slot != 0) << nth;
    }
    some
}

/// The twin: one end after the other.
#[cfg(not(loom))]
#[inline(always)]
fn outside_rest(rest: &[u16; 8], [remote, local, protocol, mask]: [u16; 4]) -> u32 {
    let [remote_lo, remote_hi, local_lo, local_hi, protocols, ..] = *rest;
    let octets = |pair: u16| bytemuck::cast::<u16, [u8; 2]>(pair);
    let ([lo, hi], [protocol, _]) = (octets(protocols), octets(protocol));
    let ports =
        (remote_lo <= remote) & (remote <= remote_hi) & (local_lo <= local) & (local <= local_hi);
    u32::from(!((lo <= protocol) & (protocol <= hi) & (ports | (mask == 0))))
}

/// The twin of ranks: as many steps as 64 numbers take, without a branch.
#[cfg(not(loom))]
#[inline(always)]
fn rank(cuts: &[u32; CUTS], value: u32) -> u32 {
    let mut at = 1_usize;
    for _ in 0..CUTS.ilog2() {
        at = 2 * at + usize::from(cuts.get(at % CUTS).is_some_and(|cut| *cut < value));
    }
    (at % CUTS) as u32
}

/// A number of 128 bits.
#[cfg(not(loom))]
#[inline(always)]
fn whole(high: u64, low: u64) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

/// The twin: four searches side by side, each of which would wait for itself.
#[cfg(not(loom))]
#[inline(always)]
fn wide_ranks(
    [highs, lows]: [&[u64; CUTS]; 2],
    values: &[[u64; LANES]; 2],
    ranks: &mut [u32; LANES],
) {
    let fours = values.each_ref().map(|half| half.as_chunks::<4>().0);
    let each = ranks.as_chunks_mut::<4>().0.iter_mut().zip(fours[0].iter().zip(fours[1]));
    for (ranks, (high, low)) in each {
        let mut at = [1_usize; 4];
        for _ in 0..CUTS.ilog2() {
            for (at, (high, low)) in at.iter_mut().zip(high.iter().zip(low)) {
                let cut = highs.get(*at % CUTS).zip(lows.get(*at % CUTS));
                let is_above = cut.is_some_and(|cut| whole(*cut.0, *cut.1) < whole(*high, *low));
                *at = 2 * *at + usize::from(is_above);
            }
        }
        *ranks = at.map(|at| (at % CUTS) as u32);
    }
}

/// The twin: one search after the other.
#[cfg(not(loom))]
#[inline(always)]
fn deepen(row: &[u32], values: &[u32; LANES], ranks: &mut [u32; LANES]) {
    for (rank, value) in ranks.iter_mut().zip(values) {
        *rank = 2 * *rank + u32::from(row.get(*rank as usize).is_some_and(|cut| cut < value));
    }
}

/// The twin: one search after the other.
#[cfg(not(loom))]
#[inline(always)]
fn wide_deepen([highs, lows]: [&[u64]; 2], values: &[[u64; LANES]; 2], ranks: &mut [u32; LANES]) {
    for ((rank, high), low) in ranks.iter_mut().zip(&values[0]).zip(&values[1]) {
        let at = *rank as usize;
        let cut = highs.get(at).zip(lows.get(at));
        let is_above = cut.is_some_and(|cut| whole(*cut.0, *cut.1) < whole(*high, *low));
        *rank = 2 * *rank + u32::from(is_above);
    }
}

/// The twin: one number after the other.
#[cfg(not(loom))]
#[inline(always)]
fn turn(rows: &[[u32; 4]; LANES], columns: &mut [[u32; LANES]; 4]) {
    for (place, column) in columns.iter_mut().enumerate() {
        for (slot, row) in column.iter_mut().zip(rows) {
            *slot = row.get(place).copied().unwrap_or(0);
        }
    }
}

/// Instructions that packets are compared with.
///
/// [`Backend::detect`] takes the best that the processor has; others are for measuring and for tests.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Backend(target::Level);

impl Backend {
    /// What every processor of the target can.
    pub(crate) const BASE: Self = Self(target::Level::BASE);

    /// The best one. Asks the processor the first time.
    pub fn detect() -> Self {
        Self(target::Level::detect())
    }

    /// All that this processor has, the best one last.
    pub fn all() -> impl Iterator<Item = Self> {
        let best = Self::detect();
        target::Level::ALL.iter().map(|level| Self(*level)).filter(move |one| *one <= best)
    }

    /// `portable`, `sse2`, `avx2`, `avx512` or `neon`.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    #[inline(always)]
    pub(crate) fn run<J: Job>(self, job: J) -> J::Answer {
        target::run(self.0, job)
    }
}

impl Default for Backend {
    fn default() -> Self {
        Self::BASE
    }
}

/// Work to be done in the way that suits the processor: [`Backend::run`].
pub(crate) trait Job {
    type Answer;

    /// Sixteen numbers at once pay.
    #[allow(dead_code, reason = "some targets have one way only")]
    const SIXTEEN: bool = false;

    /// To be inlined into the function that is compiled for `S`.
    fn run<S: Simd>(self) -> Self::Answer;
}

/// The twin: one range after the other, on every target.
#[cfg(not(loom))]
#[inline(always)]
fn hold<T: Copy + Ord>(lo: &[T; LANES], hi: &[T; LANES], value: T) -> u32 {
    let pairs = lo.iter().zip(hi).enumerate();
    pairs.fold(0, |mask, (i, (lo, hi))| mask | u32::from((*lo <= value) & (value <= *hi)) << i)
}

/// The twin: one pair after the other, on every target.
#[cfg(not(loom))]
#[inline(always)]
fn hold_pairs(lo: &[[u16; 2]; LANES], hi: &[[u16; 2]; LANES], values: [u16; 2]) -> u32 {
    let holds = |([a, b], [c, d]): (&[u16; 2], &[u16; 2])| {
        (*a <= values[0]) & (values[0] <= *c) & (*b <= values[1]) & (values[1] <= *d)
    };
    let pairs = lo.iter().zip(hi).map(holds).enumerate();
    pairs.fold(0, |mask, (nth, holds)| mask | u32::from(holds) << nth)
}

/// The twin: one end after the other, on every target.
#[cfg(not(loom))]
#[inline(always)]
fn outside(ends: [u32; 4], values: [u32; 4]) -> u32 {
    let (lower, upper) = (0, 1);
    let ranges = ends.as_chunks::<2>().0.iter().zip(values.as_chunks::<2>().0);
    u32::from(ranges.fold(false, |is_outside, (ends, values)| {
        is_outside | (ends[lower] > values[lower]) | (ends[upper] < values[upper])
    }))
}

/// The twin: one word after the other, on every target.
#[inline(always)]
#[cfg_attr(
    all(target_arch = "x86_64", not(any(test, miri, loom, espial_scalar))),
    allow(dead_code, reason = "eight at once")
)]
fn scalar(bucket: &Bucket, high: u32) -> u32 {
    // Spelled out: compilers that save space would make a loop of twice the instructions.
    let [a, b, c, d, e, f, g, h] = &bucket.0;
    let bit = |word: &crate::sad::word::Word, bit: u32| if word.high() == high { bit } else { 0 };
    let slots = bit(a, 1)
        | bit(b, 2)
        | bit(c, 4)
        | bit(d, 8)
        | bit(e, 16)
        | bit(f, 32)
        | bit(g, 64)
        | bit(h, 128);
    // Halves of words are loaded without one.
    #[cfg(all(not(target_has_atomic = "64"), not(loom)))]
    core::sync::atomic::fence(core::sync::atomic::Ordering::Acquire);
    slots
}

#[cfg(test)]
mod tests;
