//! Every way to compare beside its plain twin.

use super::{
    Backend, Base, CUTS, Ends, Job, LANES, Simd, WORDS, hold, hold_pairs, meet, outside,
    outside_rest, scalar,
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
        let ends =
            Ends { remote: remote.each_ref(), local: local.each_ref(), ports: ports.each_ref() };
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

/// A word of a mask.
struct Word<'t, const W: usize>(&'t [u64; W], usize);

impl<const W: usize> Job for Word<'_, W> {
    type Answer = u64;
    const SIXTEEN: bool = true;

    fn run<S: Simd>(self) -> u64 {
        S::word(self.0, self.1)
    }
}

/// Ranks among numbers of 128 bits.
struct WideRanks<'t>(&'t [[u64; CUTS]; 2], &'t [[u64; LANES]; 2]);

impl Job for WideRanks<'_> {
    type Answer = [u32; LANES];
    const SIXTEEN: bool = true;

    fn run<S: Simd>(self) -> [u32; LANES] {
        // In two trees at once; the second has all halves exchanged, so that its numbers are in no order.
        let [high, low] = self.0;
        let (trees, values) = ([[high, low], [low, high]], [*self.1, [self.1[1], self.1[0]]]);
        let mut both = [[u32::MAX; LANES]; 2];
        S::wide_ranks(trees, &values, &mut both);
        let mut ranks = [[u32::MAX; LANES]];
        S::wide_ranks([[high, low]], &[*self.1], &mut ranks);
        assert_eq!(both[0], ranks[0]);
        ranks[0]
    }
}

/// One step more among numbers of 128 bits.
struct WideDeepen<'t>([&'t [u64]; 2], &'t [[u64; LANES]; 2], [u32; LANES]);

impl Job for WideDeepen<'_> {
    type Answer = [u32; LANES];
    const SIXTEEN: bool = true;

    fn run<S: Simd>(self) -> [u32; LANES] {
        let mut ranks = self.2;
        S::wide_deepen(self.0, self.1, &mut ranks);
        ranks
    }
}

/// Puts the middle of ascending numbers at a place, and both halves below it.
fn eytzinger<T: Copy>(numbers: &[T], cuts: &mut [T; CUTS], at: usize) {
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
        others in any::<[[u32; 4]; 4]>(),
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
        // Four boxes, of which one is this.
        for nth in 0..4 {
            let mut boxes = others;
            boxes[nth] = ends;
            let four = Base::outside_four(boxes, values);
            let each = boxes.map(|ends| Base::outside(ends, values));
            prop_assert_eq!([0, 4, 8, 12].map(|at| four >> at & 15), each);
            prop_assert_eq!(four >> 16, 0);
        }
    }

    #[test]
    fn a_box_at_once_says_what_its_ends_say(
        ends in any::<[u32; 4]>(), ports in any::<[u16; 4]>(), protocols in any::<[u8; 2]>(),
        at in any::<[u8; 5]>(), off in any::<[i8; 5]>(), has_ports in any::<bool>(),
        others in any::<[u16; 3]>(),
    ) {
        let wide = |nth: usize, lo: u32, hi: u32, max: u32| {
            let end = if at[nth].is_multiple_of(2) { lo } else { hi };
            end.wrapping_add_signed(i32::from(off[nth] % 2)) & max
        };
        let [remote, local] = [wide(0, ends[0], ends[1], u32::MAX), wide(1, ends[2], ends[3], u32::MAX)];
        let port = |nth: usize| {
            wide(2 + nth, ports[2 * nth].into(), ports[2 * nth + 1].into(), 0xffff) as u16
        };
        let protocol = wide(4, protocols[0].into(), protocols[1].into(), 0xff) as u8;
        let in_ports = (ports[0]..=ports[1]).contains(&port(0)) && (ports[2]..=ports[3]).contains(&port(1));
        let twin = (protocols[0]..=protocols[1]).contains(&protocol) && (in_ports || !has_ports);
        let rest = [
            ports[0], ports[1], ports[2], ports[3], bytemuck::cast(protocols),
            others[0], others[1], others[2],
        ];
        let mask = if has_ports { u16::MAX } else { 0 };
        let values = [port(0), port(1), bytemuck::cast([protocol; 2]), mask];
        prop_assert_eq!(Base::outside_rest(&rest, values) == 0, twin);
        prop_assert_eq!(outside_rest(&rest, values) == 0, twin);
        let twin = twin && (ends[0]..=ends[1]).contains(&remote) && (ends[2]..=ends[3]).contains(&local);
        let mut one = [0; 8];
        one[..4].copy_from_slice(&ends);
        one[4..].copy_from_slice(&bytemuck::cast::<_, [u32; 4]>(rest));
        let [ports, last]: [u32; 2] = bytemuck::cast(values);
        prop_assert_eq!(Base::outside_box(&one, [remote, local, ports, last]) == 0, twin);
    }

    #[test]
    fn backends_agree_on_words(mask in any::<[u64; WORDS]>(), nth in 0..WORDS) {
        let [a, b, c, ..] = mask;
        for backend in Backend::all() {
            prop_assert_eq!(backend.run(Word(&mask, nth)), mask[nth]);
            prop_assert_eq!(backend.run(Word(&[a, b], nth)), mask[nth % 2]);
            prop_assert_eq!(backend.run(Word(&[a, b, c, a], nth)), [a, b, c, a][nth % 4]);
            let eight = mask.first_chunk::<8>().unwrap();
            prop_assert_eq!(backend.run(Word(eight, nth)), eight[nth % 8]);
        }
    }

    #[test]
    fn backends_agree_on_wide_ranks(
        mut numbers in proptest::collection::vec(any::<(u8, u64)>(), 0..CUTS),
        near in any::<[(proptest::sample::Index, u8, u64); LANES]>(),
    ) {
        let whole = |high: u8, low: u64| u128::from(high / 8) << 64 | u128::from(low);
        numbers.sort_unstable_by_key(|(high, low)| whole(*high, *low));
        let mut numbers: Vec<u128> = numbers.iter().map(|(high, low)| whole(*high, *low)).collect();
        let values = near.map(|(near, off, any)| {
            let value = if numbers.is_empty() { any.into() } else { *near.get(&numbers) };
            let far = value ^ u128::from(any);
            [value.wrapping_sub(1), value, value.wrapping_add(1), 0, u128::MAX, far][off as usize % 6]
        });
        let twin = values.map(|value| numbers.iter().filter(|number| **number < value).count() as u32);
        numbers.resize(CUTS - 1, u128::MAX);
        let mut cuts = [u128::MAX; CUTS];
        eytzinger(&numbers, &mut cuts, 1);
        let cuts = [cuts.map(|cut| (cut >> 64) as u64), cuts.map(|cut| cut as u64)];
        let values = [values.map(|value| (value >> 64) as u64), values.map(|value| value as u64)];
        for backend in Backend::all() {
            prop_assert_eq!(backend.run(WideRanks(&cuts, &values)), twin);
        }
    }

    #[test]
    fn backends_agree_on_wide_deepening(
        mut halves in proptest::collection::vec(any::<[u64; 2]>(), 2 * CUTS), steps in 0..2_usize,
        values in any::<[(u8, [u64; 2]); LANES]>(), ranks in any::<[u8; LANES]>(),
    ) {
        let len = CUTS << steps;
        halves.truncate(len);
        let ranks = ranks.map(|rank| u32::from(rank) % len as u32);
        let whole = |[high, low]: [u64; 2]| u128::from(high) << 64 | u128::from(low);
        // Near what each is compared with, where the halves meet.
        let values: [u128; LANES] = core::array::from_fn(|nth| {
            let (off, other) = values[nth];
            let cut = halves[ranks[nth] as usize];
            [
                whole(cut), whole(cut).wrapping_sub(1), whole(cut).wrapping_add(1),
                whole([cut[0], other[1]]), whole([other[0], cut[1]]), whole(other), 0, u128::MAX,
            ][usize::from(off) % 8]
        });
        let twin: [u32; LANES] = core::array::from_fn(|nth| {
            2 * ranks[nth] + u32::from(whole(halves[ranks[nth] as usize]) < values[nth])
        });
        let rows = [0, 1].map(|half| halves.iter().map(|cut| cut[half]).collect::<Vec<_>>());
        let values = [values.map(|value| (value >> 64) as u64), values.map(|value| value as u64)];
        for backend in Backend::all() {
            prop_assert_eq!(backend.run(WideDeepen([&rows[0], &rows[1]], &values, ranks)), twin);
        }
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
        masks_meet::<4>(&words);
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
