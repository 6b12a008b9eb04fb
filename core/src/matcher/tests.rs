//! Trees beside their twin, the list.

use proptest::prelude::*;

use super::block::{ADMITS_OPAQUE, Boxed, Rest, Wide};
use super::compile::{BOX_OCTETS, SCRATCH_OCTETS, TREE_OCTETS};
use super::divide::desk_for;
use super::fan::{BURST, Fan};
use super::group::{Address, Ask, Group, NONE, WIDTH};
use super::grow::{Builder, scratch_for};
use super::linear::{self, Key, Values};
use super::patch::Old;
use super::rows::CHILDREN;
use super::tree::{
    Arrays, Every, Grown, LIST, Left, Shape, Tree, Visits, most_changes, most_groups, some,
};
use super::walk::{self, Wanted};
use crate::few::few;
use crate::simd::Backend;

/// Numbers that follow from a seed.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 16) % n
    }
}

/// How the boxes of a set lie. What is harmless to a list may not be to a tree.
const SHAPES: usize = 8;

/// The nth box of a set, addresses in 32 bits.
fn one(shape: usize, n: u32, rng: &mut Rng) -> Boxed<u32> {
    let any = rng.next() as u32;
    let prefix = |addr: u32, len: u64| {
        let host = u32::MAX.checked_shr(len as u32).unwrap_or(0);
        (addr & !host, addr | host)
    };
    let ((remote_lo, remote_hi), (local_lo, local_hi)) = match shape {
        // Sites: prefixes of many lengths.
        0 | 6 => (prefix(any, rng.below(33)), prefix(rng.next() as u32, 8 + rng.below(25))),
        // All the same.
        1 => ((0x0a00_0000, 0x0aff_ffff), (0xc0a8_0000, 0xc0a8_ffff)),
        // Nested.
        2 => ((n, u32::MAX - n), (n, u32::MAX - n)),
        // Crossing: half of them wide in one dimension, half in the other.
        3 if n.is_multiple_of(2) => (prefix(any, 32), (0, u32::MAX)),
        3 => ((0, u32::MAX), prefix(any, 32)),
        // A staircase.
        4 => ((n * 7, n * 7 + 10), (n * 5, n * 5 + 9)),
        // Wide, anywhere.
        5 => {
            let two = |a: u32, b: u32| (a.min(b), a.max(b));
            (two(any, rng.next() as u32), two(rng.next() as u32, rng.next() as u32))
        }
        // Hosts in one network.
        _ => (prefix(0x0a00_0000 | any & 0x3ff, 32), prefix(0xc0a8_0000 | n & 0xff, 32)),
    };
    let port = rng.next() as u16;
    let mut ports = || match rng.below(6) {
        0..=2 => (0, u16::MAX),
        3 => (port, port),
        4 => (port & 0xff00, port | 0xff),
        // OPAQUE.
        _ => (u16::MAX, 0),
    };
    let (remote, local) =
        if shape == 6 || shape == 0 { (ports(), ports()) } else { ((0, u16::MAX), ports()) };
    let admits = |(lo, hi): (u16, u16)| (lo, hi) == (0, u16::MAX) || lo > hi;
    let (protocol_lo, protocol_hi) = [(0, 255), (6, 6), (17, 17), (1, 1)][rng.below(4) as usize];
    let rest = Rest {
        remote_port_lo: remote.0,
        remote_port_hi: remote.1,
        local_port_lo: local.0,
        local_port_hi: local.1,
        protocol_lo,
        protocol_hi,
        flags: if admits(remote) && admits(local) { ADMITS_OPAQUE } else { 0 },
        reserved: 0,
        child: n % 7,
    };
    Boxed { remote_lo, remote_hi, local_lo, local_hi, rest }
}

/// The same box in IPv6, its addresses' bits spread over all 128.
fn wide(one: &Boxed<u32>) -> Boxed<Wide> {
    let lo = |addr: u32| Wide::from(u128::from(addr) << 70);
    let hi = |addr: u32| Wide::from(((u128::from(addr) + 1) << 70) - 1);
    Boxed {
        remote_lo: lo(one.remote_lo),
        remote_hi: hi(one.remote_hi),
        local_lo: lo(one.local_lo),
        local_hi: hi(one.local_hi),
        rest: one.rest,
    }
}

/// A packet at a corner of a box, or just outside it, or anywhere.
fn packet(boxes: &[Boxed<u32>], rng: &mut Rng) -> Key<u32> {
    let near = boxes[rng.below(boxes.len() as u64) as usize];
    let mut at = |lo: u32, hi: u32, max: u32| match rng.below(12) {
        0..=2 => lo,
        3..=5 => hi,
        6 | 7 => lo / 2 + hi / 2,
        8 => lo.wrapping_sub(1) & max,
        9 => hi.wrapping_add(1) & max,
        _ => rng.next() as u32 & max,
    };
    let rest = near.rest;
    let (remote, local) =
        (at(near.remote_lo, near.remote_hi, u32::MAX), at(near.local_lo, near.local_hi, u32::MAX));
    let remote_port = at(rest.remote_port_lo.into(), rest.remote_port_hi.into(), 0xffff) as u16;
    let local_port = at(rest.local_port_lo.into(), rest.local_port_hi.into(), 0xffff) as u16;
    let protocol = at(rest.protocol_lo.into(), rest.protocol_hi.into(), 0xff) as u8;
    let has_value = rng.below(5) > 0;
    let values = Values::new(protocol, has_value.then_some([remote_port, local_port]));
    Key { remote, local, values }
}

#[derive(Default, Debug, Clone, Copy)]
struct Count {
    nodes: usize,
    leaves: usize,
    ones: usize,
}

impl Visits for Count {
    fn node(&mut self) {
        self.nodes += 1;
    }

    fn leaf(&mut self) {
        self.leaves += 1;
    }

    fn one(&mut self) {
        self.ones += 1;
    }
}

/// A tree with memory of its own.
struct Planted<A: Address> {
    boxes: Vec<Boxed<A>>,
    groups: Vec<Group>,
    fans: Vec<Fan>,
    rows: Vec<u64>,
    grown: Grown,
}

/// Makes something in memory for trees of so many groups, fans and words.
fn plant<A: Address>(
    boxes: &[Boxed<A>],
    (groups, fans, rows): (usize, usize, usize),
    make: impl FnOnce(&mut Builder<'_>) -> Option<Grown>,
) -> Option<Planted<A>> {
    let mut groups = vec![bytemuck::Zeroable::zeroed(); groups];
    let mut fans = vec![bytemuck::Zeroable::zeroed(); fans];
    let scratch = scratch_for(boxes.len(), &Shape::of::<A>(boxes.len()));
    let (mut rows, mut scratch) = (vec![7; rows], vec![7; scratch]);
    let mut builder = Builder {
        groups: &mut groups,
        groups_end: 0,
        fans: &mut fans,
        fans_end: 0,
        rows: &mut rows,
        rows_end: 0,
        scratch: &mut scratch,
    };
    let grown = make(&mut builder)?;
    let end = builder.groups_end;
    groups.truncate(end);
    Some(Planted { boxes: boxes.to_vec(), groups, fans, rows, grown })
}

impl<A: Address> Planted<A> {
    fn new(boxes: &[Boxed<A>]) -> Self {
        let shape = Shape::of::<A>(boxes.len());
        let room = (groups_of::<A>(boxes.len()), 1, shape.layout.size());
        plant(boxes, room, |builder| builder.build(boxes)).expect("the arrays are large enough")
    }

    fn arrays(&self) -> Arrays<'_> {
        let Self { groups, fans, rows, .. } = self;
        Arrays { groups, fans, rows }
    }

    fn tree(&self) -> Tree<'_, A> {
        let Self { boxes, grown, .. } = self;
        Tree::new(boxes, self.arrays(), grown, Backend::detect()).expect("a tree")
    }

    /// The tree of other boxes, made out of this one, behind so many groups, fans and words of others.
    fn patched(&self, boxes: &[Boxed<A>], ends: (usize, usize, usize)) -> Option<Self> {
        let old = Old { boxes: &self.boxes, arrays: self.arrays(), grown: self.grown };
        let words = self.fans[self.grown.fan as usize].layout().unwrap().size();
        let room = (ends.0 + self.grown.groups as usize, ends.1 + 1, ends.2 + words);
        plant(boxes, room, |builder| {
            (builder.groups_end, builder.fans_end, builder.rows_end) = ends;
            old.patch(boxes, builder)
        })
    }

    /// Valid, and no group or row is left that nothing leads to.
    fn is_valid(&self) -> bool {
        let groups = self.grown.groups as usize;
        let rows = self.fans[self.grown.fan as usize].layout().unwrap().size();
        let mut left = Left { groups, rows };
        self.tree().is_valid(&mut left) && left == Left { groups: 0, rows: 0 }
    }

    fn octets(&self) -> Vec<u8> {
        let Self { groups, fans, rows, .. } = self;
        [bytemuck::cast_slice(groups), bytemuck::cast_slice(fans), bytemuck::cast_slice(rows)]
            .concat()
    }
}

/// Every question, beside the list; what was visited for the first box.
fn agrees<A: Address>(planted: &Planted<A>, key: &Key<A>) -> Count {
    let (boxes, tree) = (&planted.boxes[..], &planted.tree());
    // Boxes that came start and end anywhere within intervals, which were made for those that there were.
    let changes = planted.grown.changes as usize;
    let most_in_vain = most_in_vain(boxes.len() + changes) + changes;
    let covering = |index: u32| boxes[index as usize].child();
    let mut count = Count::default();
    let from_first = |ask| linear::from_first(boxes, key, ask).map(|rest| boxes.len() - rest.len());
    assert_eq!(from_first(Ask::All).is_some(), linear::any_in_turn(boxes, key));
    assert_eq!(from_first(Ask::All), boxes.iter().position(|one| one.covers_in_turn(key)));
    assert_eq!(from_first(Ask::Portless), boxes.iter().position(|one| one.covers_portless(key)));
    assert_eq!(from_first(Ask::Source), boxes.iter().position(|one| one.remote_covers(key)));
    for accepted in [0b111_1111, 0b010_0010] {
        let accept = |child: u32| accepted >> child & 1 == 1;
        let by_index = |index: u32| accept(covering(index));
        let place = |found: Option<&Boxed<A>>| {
            found.map(|found| boxes.iter().position(|one| std::ptr::eq(one, found)).unwrap() as u32)
        };
        let before = count.ones;
        let first = tree.find::<false>(key, Ask::All, by_index, &mut count);
        assert_eq!(first, place(linear::first(boxes, key, accept)));
        if accepted == 0b111_1111 {
            let ones = count.ones - before;
            assert!(ones == 0 || ones <= 1 + most_in_vain, "{count:?}");
        }
        let source = tree.find::<false>(key, Ask::Source, by_index, &mut ());
        assert_eq!(source, place(linear::first_source(boxes, key, accept)));
        let portless = tree.find::<false>(key, Ask::Portless, by_index, &mut ());
        let twin = boxes.iter().position(|one| one.covers_portless(key) && accept(one.child()));
        assert_eq!(portless, twin.map(|index| index as u32));
        let any = tree.find::<true>(key, Ask::All, by_index, &mut ());
        assert_eq!(any.is_some(), first.is_some());
        let named =
            any.is_none_or(|index| boxes[index as usize].covers(key) && accept(covering(index)));
        assert!(named, "{any:?} does not cover the packet");
        let mut plain = Count::default();
        let walked = |ask, any, count: &mut Count| {
            let wanted = Wanted { ask, any, accept: &accept };
            walk::find(tree, &tree.arrays, key, &wanted, &None, count)
        };
        assert_eq!(walked(Ask::All, false, &mut plain), first);
        assert!((plain.nodes, plain.leaves) <= (count.nodes, count.leaves), "visits more");
        assert!(plain.ones <= count.ones, "asks more");
        assert_eq!(walked(Ask::Source, false, &mut plain), source);
        assert_eq!(walked(Ask::Portless, false, &mut plain), portless);
        let any = walked(Ask::All, true, &mut plain);
        assert_eq!(any.is_some(), first.is_some());
        assert!(any.is_none_or(|at| boxes[at as usize].covers(key) && by_index(at)));
    }
    count
}

/// Bursts of all lengths beside the list, whatever the processor has.
fn bursts_agree<A: Address>(boxes: &[Boxed<A>], tree: &Tree<'_, A>, keys: &[Key<A>]) {
    let first = |key| boxes.iter().position(|one| one.covers(key)).map(|at| at as u32);
    let twin: Vec<(Key<A>, Option<u32>)> = keys.iter().map(|key| (*key, first(key))).collect();
    for (backend, length) in Backend::all().flat_map(|one| [1, 5, 16, 17, BURST].map(|n| (one, n)))
    {
        let tree = Tree { backend, ..*tree };
        for twin in twin.chunks(length) {
            let keys: Vec<Key<A>> = twin.iter().map(|(key, _)| *key).collect();
            for ((key, first), found) in twin.iter().zip(tree.find_burst::<false>(&keys)) {
                assert_eq!(some(found), *first, "{} of {length}", backend.name());
                let found = some(tree.find_burst::<true>(&[*key])[0]);
                assert_eq!(found.is_some(), first.is_some());
                assert!(found.is_none_or(|index| boxes[index as usize].covers(key)));
            }
            for ((key, first), found) in twin.iter().zip(tree.find_burst::<true>(&keys)) {
                assert_eq!(some(found).is_some(), first.is_some());
                assert!(some(found).is_none_or(|index| boxes[index as usize].covers(key)));
            }
            for (key, first) in twin {
                assert_eq!(tree.find::<false>(key, Ask::All, Every, &mut ()), *first);
            }
        }
    }
}

/// Groups that so many boxes take at most.
fn groups_of<A: Address>(boxes: usize) -> usize {
    if Shape::of::<A>(boxes).is_of_boxes() { 0 } else { most_groups(boxes) }
}

/// Boxes that a fan over so many may ask in vain: those with an end within one of a packet's intervals.
fn most_in_vain(boxes: usize) -> usize {
    let layout = Shape::of::<u32>(boxes).layout;
    (0..5).map(|dimension| (2 * boxes).div_ceil(layout.intervals(dimension) - 1)).sum()
}

/// The bound that the module states, for two searches.
fn within_bound(count: Count, boxes: usize) {
    let shape = Shape::of::<u32>(boxes);
    assert!(count.leaves <= 2 * shape.leaves, "{count:?}");
    let nodes = groups_of::<u32>(boxes) - shape.leaves;
    assert!(count.nodes <= 2 * nodes, "{count:?}: {boxes} boxes");
    let ones = if shape.is_of_boxes() { 2 * boxes } else { 0 };
    assert!(count.ones <= ones, "{count:?}: {boxes} boxes");
}

fn both(shape: usize, count: u32, seed: u64, packets: usize) {
    let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let boxes: Vec<Boxed<u32>> = (0..count).map(|n| one(shape, n, &mut rng)).collect();
    let boxes6: Vec<Boxed<Wide>> = boxes.iter().map(wide).collect();
    let (four, six) = (Planted::new(&boxes), Planted::new(&boxes6));
    assert!(four.is_valid() && six.is_valid());
    if seed.is_multiple_of(4) {
        assert_eq!(Planted::new(&boxes).octets(), four.octets(), "the same set, the same tree");
    }
    let (mut keys4, mut keys6) = (Vec::new(), Vec::new());
    for _ in 0..packets {
        let key = packet(&boxes, &mut rng);
        within_bound(agrees(&four, &key), boxes.len());
        let below = rng.next();
        let spread = |addr: u32| Wide::from(u128::from(addr) << 70 | u128::from(below));
        let key6 = Key { remote: spread(key.remote), local: spread(key.local), values: key.values };
        within_bound(agrees(&six, &key6), boxes.len());
        keys4.push(key);
        keys6.push(key6);
    }
    bursts_agree(&boxes, &four.tree(), &keys4);
    bursts_agree(&boxes6, &six.tree(), &keys6);
}

proptest! {
    #![proptest_config(few())]
    #[test]
    fn trees_say_what_lists_say(
        shape in 0..SHAPES, count in LIST as u32 + 1..500, seed in any::<u64>(),
    ) {
        both(shape, count, seed, 20);
    }
}

/// Lists that change little, publication after publication; in how many of them a tree was kept.
fn edits<A: Address>(boxes: &[Boxed<A>], pool: &[Boxed<A>], keys: &[Key<A>], rng: &mut Rng) -> u32 {
    let mut tree = Planted::new(boxes);
    let (mut boxes, mut patched) = (boxes.to_vec(), 0);
    // Unoptimised, each publication of a large one takes a while.
    let turns = if boxes.len() > CHILDREN { 5 } else { 14 };
    for _ in 0..turns {
        let mut corners = Vec::new();
        for _ in 0..=rng.below(3) {
            let at = rng.below(boxes.len() as u64 + 1) as usize;
            let out = (rng.below(4) as usize).min(boxes.len() - at);
            let from = rng.below(pool.len() as u64) as usize;
            let some = pool.iter().skip(from).take(rng.below(4) as usize);
            corners.extend(some.clone().map(corner));
            boxes.splice(at..at + out, some.copied());
        }
        tree = match tree.patched(&boxes, (2, 1, 8)) {
            Some(tree) => {
                patched += 1;
                tree
            }
            None => Planted::new(&boxes),
        };
        assert!(tree.is_valid());
        for key in keys.iter().chain(&corners) {
            agrees(&tree, key);
        }
        bursts_agree(&boxes, &tree.tree(), keys);
    }
    patched
}

/// The packet at the lower corner of a box.
fn corner<A: Address>(one: &Boxed<A>) -> Key<A> {
    let rest = &one.rest;
    let has_value =
        rest.remote_port_lo <= rest.remote_port_hi && rest.local_port_lo <= rest.local_port_hi;
    let ports = has_value.then_some([rest.remote_port_lo, rest.local_port_lo]);
    let values = Values::new(rest.protocol_lo, ports);
    Key { remote: one.remote_lo, local: one.local_lo, values }
}

/// The same of a list of a shape and its twin of IPv6.
fn patched(shape: usize, count: u32, seed: u64) {
    let mut rng = Rng(seed | 1);
    let pool: Vec<Boxed<u32>> = (0..count + 40).map(|n| one(shape, n, &mut rng)).collect();
    let keys: Vec<Key<u32>> = (0..6).map(|_| packet(&pool, &mut rng)).collect();
    let pool6: Vec<Boxed<Wide>> = pool.iter().map(wide).collect();
    let spread = |addr: u32| Wide::from(u128::from(addr) << 70 | 77);
    let keys6: Vec<Key<Wide>> = keys
        .iter()
        .map(|key| Key { remote: spread(key.remote), local: spread(key.local), values: key.values })
        .collect();
    let (boxes, more) = pool.split_at(count as usize);
    assert!(edits(boxes, more, &keys, &mut rng) > 2);
    let (boxes, more) = pool6.split_at(count as usize);
    assert!(edits(boxes, more, &keys6, &mut rng) > 2);
}

/// Masks without a bit to spare: what comes at one place has the room of what goes at another.
#[test]
fn full_masks_are_patched() {
    let mut rng = Rng(31);
    for count in [64, 128, 512, 1024] {
        let boxes: Vec<Boxed<u32>> = (0..count).map(|n| one(7, n, &mut rng)).collect();
        let tree = Planted::new(&boxes);
        for (out, into) in [(0, 60), (60, 0), (count as usize - 2, 3), (0, count as usize - 1)] {
            let mut next = boxes.clone();
            next.remove(out);
            next.insert(into, one(7, count, &mut rng));
            let patched = tree.patched(&next, (2, 1, 8)).expect("two changes");
            assert!(patched.is_valid());
            for key in next.iter().map(corner) {
                agrees(&patched, &key);
            }
        }
    }
}

/// Each case is 28 publications, or ten of many boxes. `.ci/full` runs hundreds.
fn fewest(part: u32) -> ProptestConfig {
    ProptestConfig { cases: few().cases.div_ceil(part), ..few() }
}

/// Half of them lists whose masks are full, or nearly.
fn patched_counts() -> impl Strategy<Value = u32> {
    prop_oneof![60_u32..300, prop_oneof![61_u32..67, 125_u32..131, 253_u32..259]]
}

proptest! {
    #![proptest_config(fewest(4))]
    #[test]
    fn patched_trees_say_what_lists_say(
        shape in 0..SHAPES, count in patched_counts(), seed in any::<u64>(),
    ) {
        patched(shape, count, seed);
    }
}

proptest! {
    #![proptest_config(fewest(16))]
    #[test]
    fn patched_trees_of_leaves_say_what_lists_say(
        shape in 0..SHAPES, count in 1025_u32..1200, seed in any::<u64>(),
    ) {
        patched(shape, count, seed);
    }
}

/// Groups between are patched too. Unoptimised it would take a minute.
#[test]
fn patched_trees_with_groups_between() {
    if cfg!(debug_assertions) {
        return;
    }
    for shape in [0, 3, 5, 7] {
        assert_eq!(Shape::of::<u32>(15_500).levels, 1);
        patched(shape, 15_500, 9);
    }
}

/// Boxes that come find room as long as a leaf has any, and then a tree is built anew.
#[test]
fn leaves_take_boxes_until_they_are_full() {
    let mut rng = Rng(21);
    for shape in [0, 5] {
        let mut boxes: Vec<Boxed<u32>> = (0..1025).map(|n| one(shape, n, &mut rng)).collect();
        let mut tree = Planted::new(&boxes);
        let room = WIDTH * tree.groups.len();
        while boxes.len() < room {
            let at = rng.below(boxes.len() as u64 + 1) as usize;
            boxes.insert(at, one(shape, 7, &mut rng));
            // As if all of them had been there when it was built.
            tree.grown.changes = 0;
            tree = tree.patched(&boxes, (0, 0, 0)).expect("a leaf has room");
        }
        assert!(tree.is_valid());
        let keys: Vec<Key<u32>> = (0..40).map(|_| packet(&boxes, &mut rng)).collect();
        bursts_agree(&boxes, &tree.tree(), &keys);
        tree.grown.changes = 0;
        boxes.push(one(shape, 7, &mut rng));
        assert!(tree.patched(&boxes, (0, 0, 0)).is_none());
    }
}

/// Leaves that take what they were not made for are visited more often, but not much.
#[test]
fn patched_trees_visit_little_more() {
    let mut rng = Rng(29);
    let count = if cfg!(debug_assertions) { 1200 } else { 5000 };
    for shape in [0, 4, 7] {
        let mut boxes: Vec<Boxed<u32>> = (0..count).map(|n| one(shape, n, &mut rng)).collect();
        let mut patched = Planted::new(&boxes);
        for _ in 0..most_changes(boxes.len()) {
            let at = rng.below(boxes.len() as u64 + 1) as usize;
            let n = rng.below(count.into()) as u32;
            boxes.insert(at, one(shape, n, &mut rng));
            patched = patched.patched(&boxes, (0, 0, 0)).expect("few changes");
        }
        let keys: Vec<Key<u32>> = (0..2000).map(|_| packet(&boxes, &mut rng)).collect();
        let visited = |planted: &Planted<u32>| {
            let mut count = Count::default();
            for key in &keys {
                planted.tree().find::<false>(key, Ask::All, Every, &mut count);
            }
            count.leaves
        };
        let (anew, patched) = (visited(&Planted::new(&boxes)), visited(&patched));
        assert!(patched <= 2 * anew, "shape {shape}: {anew} leaves visited, patched {patched}");
    }
}

/// A tree that was patched often is built anew.
#[test]
fn trees_are_patched_so_often() {
    let mut rng = Rng(23);
    for count in [80, 400, 1500] {
        let boxes: Vec<Boxed<u32>> = (0..count).map(|n| one(0, n, &mut rng)).collect();
        let (mut tree, mut less) = (Planted::new(&boxes), boxes.clone());
        let most = most_changes(boxes.len());
        for nth in 0..most {
            let next = if nth % 2 == 0 { &less[1..] } else { &boxes };
            tree = tree.patched(next, (0, 0, 0)).expect("few changes");
        }
        less.pop();
        assert!(tree.patched(&less, (0, 0, 0)).is_none(), "{count} boxes, {most} changes");
    }
}

/// What masks leave out is not asked: the box that comes behind a whole word of them would cover the packet, but for
/// what only masks say of it.
#[test]
fn packets_without_a_box_ask_none() {
    let mut rng = Rng(17);
    for place in [63, 64, 65, 128] {
        let mut boxes: Vec<Boxed<u32>> = (0..140).map(|n| one(7, n, &mut rng)).collect();
        let all = Boxed {
            remote_lo: 0,
            remote_hi: u32::MAX,
            local_lo: 0,
            local_hi: u32::MAX,
            rest: Rest::default(),
        };
        let rest =
            Rest { remote_port_hi: u16::MAX, local_port_hi: 9, protocol_hi: u8::MAX, ..all.rest };
        boxes[place] = Boxed { rest, ..all };
        let tree = Planted::new(&boxes);
        let keys = [Key { remote: 1, local: 2, values: Values::new(6, None) }; BURST];
        bursts_agree(&boxes, &tree.tree(), &keys);
        assert_eq!(some(tree.tree().find_burst::<false>(&keys)[0]), None);
    }
}

/// A list that stays as it is keeps its tree, wherever that is.
#[test]
fn an_unchanged_tree_moves_whole() {
    let mut rng = Rng(3);
    for count in [40, 300, 1024, 3000] {
        let boxes: Vec<Boxed<u32>> = (0..count).map(|n| one(0, n, &mut rng)).collect();
        let tree = Planted::new(&boxes);
        let moved = tree.patched(&boxes, (2, 1, 8)).unwrap();
        assert_eq!((moved.grown.first, moved.grown.changes), (2, 0));
        let back = moved.patched(&boxes, (0, 0, 0)).unwrap();
        assert_eq!(back.octets(), tree.octets());
        assert_eq!(back.grown, tree.grown);
    }
}

/// The sizes at which a tree gets a fan, wider masks, and one level more. Unoptimised, the shapes take
/// turns and one of the largest is built: `.ci/full` tries each shape at all sizes, and all of these.
#[test]
fn trees_of_every_depth() {
    let sizes = [5, 16, 17, 33, 176, 177, 256, 257, 512, 513, 1024, 1025, 1408, 1409];
    for (turn, count) in (0..).zip(sizes) {
        for (at, shape) in (0..).zip([0, 5, 7]) {
            if cfg!(debug_assertions) && turn % 3 != at {
                continue;
            }
            both(shape, count, u64::from(count), 30);
        }
    }
    for (count, shape) in [(2817, 5), (5633, 7)] {
        both(shape, count, u64::from(count), 10);
    }
    let mut rng = Rng(5);
    // The last one has many leaves that are not full: each group below the fan may end with one.
    for (count, shape, levels) in [(11_265, 7, 0), (15_361, 7, 1), (22_559, 5, 1)] {
        assert_eq!(Shape::of::<u32>(count as usize).levels, levels);
        if cfg!(debug_assertions) && count < 22_559 {
            continue;
        }
        let boxes: Vec<Boxed<u32>> = (0..count).map(|n| one(shape, n, &mut rng)).collect();
        let grown = Planted::new(&boxes);
        for _ in 0..6 {
            let key = packet(&boxes, &mut rng);
            within_bound(agrees(&grown, &key), boxes.len());
        }
    }
}

/// Octets that no builder wrote: answers may be wrong, but nothing panics, and validation finds a tree
/// that would take too long.
#[test]
fn hostile_trees_end_the_search() {
    hostile(3000, 1000);
    // A fan over boxes.
    hostile(300, 300);
}

fn hostile(count: u32, turns: usize) {
    let mut rng = Rng(11);
    let boxes: Vec<Boxed<u32>> = (0..count).map(|n| one(0, n, &mut rng)).collect();
    let grown = Planted::new(&boxes);
    let mut searched = 0;
    for turn in 0..turns {
        let mut arrays = (grown.groups.clone(), grown.fans.clone(), grown.rows.clone());
        for _ in 0..=turn % 5 {
            let words: &mut [u32] = match rng.below(8) {
                0 => bytemuck::cast_slice_mut(&mut arrays.1),
                3.. if !arrays.0.is_empty() => bytemuck::cast_slice_mut(&mut arrays.0),
                _ => bytemuck::cast_slice_mut(&mut arrays.2),
            };
            let at = rng.below(words.len() as u64) as usize;
            words[at] = match rng.below(3) {
                0 => rng.next() as u32,
                1 => words[at] ^ 1 << rng.below(32),
                _ => words[rng.below(words.len() as u64) as usize],
            };
        }
        let (groups, fans, rows) = &arrays;
        let tree = Tree { arrays: Arrays { groups, fans, rows }, fan: &fans[0], ..grown.tree() };
        let bound = grown.groups.len();
        if !tree.is_valid(&mut Left { groups: bound, rows: rows.len() }) {
            continue;
        }
        searched += 1;
        let mut count = Count::default();
        let key = packet(&boxes, &mut rng);
        let found = tree.find::<false>(&key, Ask::All, Every, &mut count);
        assert!(found.is_none_or(|index| (index as usize) < boxes.len()));
        assert!(count.nodes + count.leaves <= bound && count.ones <= CHILDREN);
        let _ = tree.find_burst::<false>(&[key; BURST]);
    }
    assert!(searched > turns / 10);
}

/// A tree of more groups than its boxes can need would make a search take longer than the bound says.
#[test]
fn trees_too_large_for_their_boxes_are_refused() {
    let mut rng = Rng(13);
    let boxes: Vec<Boxed<u32>> = (0..1500).map(|n| one(0, n, &mut rng)).collect();
    let grown = Planted::new(&boxes);
    assert!(grown.is_valid());
    // The same tree, said to be of a few of the boxes that its leaves name.
    let mut rows = grown.rows.clone();
    let layout = grown.fans[0].layout().unwrap();
    layout
        .firsts_in(&mut rows)
        .unwrap()
        .iter_mut()
        .filter(|at| **at != NONE)
        .for_each(|at| *at = 0);
    let mut few = grown.groups.clone();
    few.iter_mut()
        .filter(|group| group.is_leaf())
        .for_each(|leaf| leaf.renumber(|index| index % 5));
    few.iter_mut().for_each(|group| group.index[..WIDTH].sort_unstable());
    let arrays = Arrays { groups: &few, rows: &rows, ..grown.arrays() };
    let tree = Tree { boxes: &boxes[..5], arrays, ..grown.tree() };
    let left = || Left { groups: few.len(), rows: rows.len() };
    assert!(!tree.is_valid(&mut left()));
    assert!(Tree { boxes: &boxes, ..tree }.is_valid(&mut left()));
    // And each group once only.
    assert!(!grown.tree().is_valid(&mut Left { groups: few.len() - 1, ..left() }));
}

/// A long list without a tree would be asked one by one.
#[cfg(feature = "alloc")]
#[test]
fn long_lists_without_a_tree_are_refused() {
    use super::block::BlockError;
    use super::{Matcher, compile};
    use crate::selector::{AddrRange, PortRange, Selector};

    let range = |lo| AddrRange::V4 { lo, hi: lo + 9 };
    let selectors: Vec<Selector> = (0..40)
        .map(|n| Selector {
            remote: range(n * 100),
            local: range(n * 7),
            protocol: 0,
            remote_ports: PortRange::ANY,
            local_ports: PortRange::ANY,
        })
        .collect();
    let words = compile(&selectors).unwrap();
    assert!(Matcher::open(&words).is_ok());
    let mut words = words.to_vec();
    // The tunnel's record is behind the header: its span, then the tree of IPv4: first group, groups, fan.
    let record: &mut [u32] = bytemuck::cast_slice_mut(&mut words[16..24]);
    assert_eq!((record[1], record[4]), (40, 0));
    assert_eq!(record[6], 0);
    record[6] = u32::MAX;
    assert_eq!(Matcher::open(&words).err(), Some(BlockError::Tree { tunnel: 0 }));
}

/// Rows never take more than memory is counted with.
#[test]
fn rows_fit_into_what_is_counted() {
    for boxes in LIST + 1..50_000 {
        for shape in [Shape::of::<u32>(boxes), Shape::of::<Wide>(boxes)] {
            let groups = if shape.is_of_boxes() { 0 } else { most_groups(boxes) };
            let octets = 8 * shape.layout.size() + size_of::<Fan>() + groups * size_of::<Group>();
            let scratch = 4 * scratch_for(boxes, &shape);
            let most = boxes * BOX_OCTETS as usize + TREE_OCTETS as usize;
            assert!(octets <= most, "{boxes} boxes: {octets}");
            assert!(scratch <= boxes * SCRATCH_OCTETS as usize, "{boxes} boxes: {scratch}");
            // What a set is divided in lies where full leaves will, if there are no others.
            let leaves = boxes.div_ceil(WIDTH) * size_of::<Group>();
            let desk = size_of::<[u32; 2]>() * desk_for(boxes, shape.children);
            assert!(shape.is_of_boxes() || desk <= leaves, "{boxes} boxes: {desk}");
        }
    }
}
