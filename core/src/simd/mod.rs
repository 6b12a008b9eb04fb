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

    /// 0 if two ranges, a lower and an upper end each, hold a value each, which is given for both ends.
    #[cfg(not(loom))]
    #[inline(always)]
    fn outside(ends: [u32; 4], values: [u32; 4]) -> u32 {
        outside(ends, values)
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

    /// One step more: `row` has a number for each rank, and twice as many ranks follow from it.
    #[cfg(not(loom))]
    #[inline(always)]
    fn deepen(row: &[u32], values: &[u32; LANES], ranks: &mut [u32; LANES]) {
        deepen(row, values, ranks);
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

/// The twin: one search after the other.
#[cfg(not(loom))]
#[inline(always)]
fn deepen(row: &[u32], values: &[u32; LANES], ranks: &mut [u32; LANES]) {
    for (rank, value) in ranks.iter_mut().zip(values) {
        *rank = 2 * *rank + u32::from(row.get(*rank as usize).is_some_and(|cut| cut < value));
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
    let bit = |word: &crate::sad::table::Word, bit: u32| if word.high() == high { bit } else { 0 };
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
mod tests {
    use super::{
        Backend, Base, CUTS, Ends, Job, LANES, Simd, WORDS, hold, hold_pairs, meet, outside, scalar,
    };
    use crate::sad::table::{Bucket, SLOTS};
    use proptest::prelude::*;

    struct Slots<'b>(&'b Bucket, u32);

    impl Job for Slots<'_> {
        type Answer = u32;

        #[inline(always)]
        fn run<S: Simd>(self) -> u32 {
            let mut matches = S::slots(self.0, self.1);
            let mut slots = 0;
            while let Some(slot) = S::first(matches) {
                slots |= 1 << slot;
                matches &= matches - 1;
            }
            slots
        }
    }

    /// Ranks of values, all at once and one by one.
    struct Ranks<'a>(&'a [u32; CUTS], [u32; LANES]);

    impl Job for Ranks<'_> {
        type Answer = [[u32; LANES]; 2];

        #[inline(always)]
        fn run<S: Simd>(self) -> [[u32; LANES]; 2] {
            let mut ranks = [0; LANES];
            S::ranks([self.0], &[self.1], core::array::from_mut(&mut ranks));
            [ranks, self.1.map(|value| S::rank(self.0, value))]
        }
    }

    /// Ranges of all kinds against values.
    #[derive(Clone, Copy)]
    struct Ranges<'a> {
        ranges: &'a [(u32, u32); LANES],
        value: u32,
        /// A bit for each kind that is to hold everything where all are asked together.
        wide: u8,
    }

    fn pair(number: u32) -> [u16; 2] {
        [(number >> 16) as u16, number as u16]
    }

    fn octet(number: u32) -> u8 {
        (number >> 24) as u8
    }

    impl Ranges<'_> {
        fn ends(&self, kind: u8) -> [[u32; LANES]; 2] {
            match self.wide >> kind & 1 {
                0 => [self.ranges.map(|range| range.0), self.ranges.map(|range| range.1)],
                _ => [[0; LANES], [u32::MAX; LANES]],
            }
        }
    }

    impl Job for Ranges<'_> {
        type Answer = [u32; 5];
        const SIXTEEN: bool = true;

        #[inline(always)]
        fn run<S: Simd>(self) -> [u32; 5] {
            let addresses = [self.value, self.value.rotate_left(1)];
            let [lo, hi] = Self { wide: 0, ..self }.ends(0);
            let (remote, local) = (self.ends(0), self.ends(1));
            let ports = self.ends(2).map(|ends| ends.map(pair));
            let ends = Ends {
                remote: remote.each_ref(),
                local: local.each_ref(),
                ports: ports.each_ref(),
            };
            [
                S::hold_u32(&lo, &hi, self.value),
                S::hold_pairs(&lo.map(pair), &hi.map(pair), pair(self.value)),
                S::hold_u8(&lo.map(octet), &hi.map(octet), octet(self.value)),
                S::hold_all(ends, addresses, (pair(self.value), u16::MAX)),
                S::hold_all(ends, addresses, (pair(self.value), 0)),
            ]
        }
    }

    /// Rows of four numbers, turned.
    struct Turn<'a>(&'a [[u32; 4]; LANES]);

    impl Job for Turn<'_> {
        type Answer = [[u32; LANES]; 4];
        const SIXTEEN: bool = true;

        #[inline(always)]
        fn run<S: Simd>(self) -> [[u32; LANES]; 4] {
            let mut columns = [[0; LANES]; 4];
            S::turn(self.0, &mut columns);
            columns
        }
    }

    struct Meet<'a, const W: usize>(&'a [[u64; W]; 5]);

    impl<const W: usize> Job for Meet<'_, W> {
        type Answer = ([u64; W], u32);
        const SIXTEEN: bool = true;

        #[inline(always)]
        fn run<S: Simd>(self) -> Self::Answer {
            let mut common = [0; W];
            let some = S::meet(self.0.each_ref(), &mut common);
            (common, some)
        }
    }

    fn masks_meet<const W: usize>(words: &[[u64; 5]; WORDS]) {
        // Or nearly all words would have nothing in common.
        let masks: [[u64; W]; 5] = core::array::from_fn(|mask| {
            core::array::from_fn(|nth| words[nth][mask] | words[nth][0].rotate_left(1))
        });
        let mut common = [0; W];
        let some = meet(masks.each_ref(), &mut common);
        for backend in Backend::all() {
            assert_eq!(backend.run(Meet(&masks)), (common, some));
        }
    }

    struct Deepen<'a>(&'a [u32], [u32; LANES], [u32; LANES]);

    impl Job for Deepen<'_> {
        type Answer = [u32; LANES];
        const SIXTEEN: bool = true;

        #[inline(always)]
        fn run<S: Simd>(mut self) -> [u32; LANES] {
            S::deepen(self.0, &self.1, &mut self.2);
            self.2
        }
    }

    /// Puts the middle of ascending numbers at a place, and both halves below it.
    fn eytzinger(numbers: &[u32], cuts: &mut [u32; CUTS], at: usize) {
        let (low, rest) = numbers.split_at(numbers.len() / 2);
        let Some((middle, high)) = rest.split_first() else { return };
        cuts[at] = *middle;
        eytzinger(low, cuts, 2 * at);
        eytzinger(high, cuts, 2 * at + 1);
    }

    proptest! {
        #[test]
        fn backends_agree_on_ranges(
            ranges in any::<[(u32, u32); LANES]>(), at in 0..LANES, which in 0_usize..4, off in -1i32..2,
            wide in 0_u8..8,
        ) {
            let near = ranges[at];
            let value: u32 = [near.0, near.1, near.0 / 2 + near.1 / 2, at as u32 ^ near.0][which];
            let job = Ranges { ranges: &ranges, value: value.wrapping_add_signed(off), wide };
            let twin = ranges.iter().enumerate().fold(0, |mask, (i, (lo, hi))| {
                mask | u32::from((*lo..=*hi).contains(&job.value)) << i
            });
            let base = job.run::<Base>();
            prop_assert_eq!(base[0], twin);
            let (lo, hi) = (ranges.map(|range| range.0), ranges.map(|range| range.1));
            prop_assert_eq!(base[0], hold(&lo, &hi, job.value));
            prop_assert_eq!(base[1], hold_pairs(&lo.map(pair), &hi.map(pair), pair(job.value)));
            prop_assert_eq!(base[2], hold(&lo.map(octet), &hi.map(octet), octet(job.value)));
            let [remote, local] = [(0, job.value), (1, job.value.rotate_left(1))].map(|(kind, value)| {
                let [lo, hi] = job.ends(kind);
                hold(&lo, &hi, value)
            });
            let ports = if wide & 4 == 0 { base[1] } else { 0xffff };
            prop_assert_eq!(base[3], remote & local & ports);
            prop_assert_eq!(base[4], remote & local);
            for backend in Backend::all() {
                prop_assert_eq!(backend.run(job), base);
            }
        }

        #[test]
        fn two_ranges_at_once_say_what_their_ends_say(
            ends in any::<[u32; 4]>(), at in any::<[u8; 2]>(), off in any::<[i8; 2]>(),
        ) {
            let near = |range: usize| {
                let end = ends[2 * range + usize::from(at[range] % 2)];
                end.wrapping_add_signed(i32::from(off[range] % 2))
            };
            let (one, other) = (near(0), near(1));
            let twin = (ends[0]..=ends[1]).contains(&one) && (ends[2]..=ends[3]).contains(&other);
            let values = [one, one, other, other];
            prop_assert_eq!(Base::outside(ends, values) == 0, twin);
            prop_assert_eq!(outside(ends, values) == 0, twin);
        }

        #[test]
        fn backends_agree_on_columns(rows in any::<[[u32; 4]; LANES]>()) {
            let twin: [[u32; LANES]; 4] =
                core::array::from_fn(|place| core::array::from_fn(|nth| rows[nth][place]));
            for backend in Backend::all() {
                prop_assert_eq!(backend.run(Turn(&rows)), twin);
            }
        }

        #[test]
        fn backends_agree_on_ranks(
            mut numbers in proptest::collection::vec(any::<u32>(), 0..CUTS), fill in any::<u32>(),
            near in any::<[(proptest::sample::Index, u8); LANES]>(),
        ) {
            numbers.sort_unstable();
            let values = near.map(|(near, off)| {
                let value = if numbers.is_empty() { fill } else { *near.get(&numbers) };
                [value.wrapping_sub(1), value, value.wrapping_add(1), 0, u32::MAX][off as usize % 5]
            });
            let twin = values.map(|value| {
                numbers.iter().filter(|number| **number < value).count() as u32
            });
            numbers.resize(CUTS - 1, u32::MAX);
            let mut cuts = [u32::MAX; CUTS];
            eytzinger(&numbers, &mut cuts, 1);
            for backend in Backend::all() {
                prop_assert_eq!(backend.run(Ranks(&cuts, values)), [twin; 2]);
            }
        }

        #[test]
        fn backends_agree_on_what_masks_have_in_common(words in any::<[[u64; 5]; WORDS]>()) {
            masks_meet::<1>(&words);
            masks_meet::<2>(&words);
            masks_meet::<8>(&words);
            masks_meet::<WORDS>(&words);
        }

        #[test]
        fn backends_agree_on_deeper_steps(
            numbers in proptest::collection::vec(any::<u32>(), 512), step in 6_usize..10,
            near in any::<[(u32, i8); LANES]>(),
        ) {
            let row = &numbers[..1 << step];
            let ranks = near.map(|(near, _)| near % row.len() as u32);
            let mut values = [0; LANES];
            for ((value, rank), (_, off)) in values.iter_mut().zip(ranks).zip(near) {
                *value = row[rank as usize].wrapping_add_signed(i32::from(off % 2));
            }
            let mut twin = ranks;
            for (rank, value) in twin.iter_mut().zip(values) {
                *rank = 2 * *rank + u32::from(row[*rank as usize] < value);
            }
            for backend in Backend::all() {
                prop_assert_eq!(backend.run(Deepen(row, values, ranks)), twin);
            }
        }

        #[test]
        fn backends_agree(words in any::<[(u8, u32); SLOTS]>(), high in 0u32..4) {
            let bucket: Bucket = bytemuck::Zeroable::zeroed();
            for (cell, (high, low)) in bucket.0.iter().zip(words) {
                cell.store(u64::from(high % 4) << 32 | u64::from(low), 0);
            }
            let twin = scalar(&bucket, high);
            prop_assert_eq!(Slots(&bucket, high).run::<Base>(), twin);
            for backend in Backend::all() {
                prop_assert_eq!(backend.run(Slots(&bucket, high)), twin);
            }
        }
    }
}
