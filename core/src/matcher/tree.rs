//! The interval tree: which boxes of a large set cover a packet, without asking all of them.
//!
//! ```text
//! up to 32 boxes    no tree: a list (`linear`)
//! up to 1024        a fan over the boxes themselves (`flat`)
//! up to 15 360      a fan over up to 1024 leaves ───────┐
//! more              a fan, and groups between, as many  │ 16 boxes compared at once (`group`)
//!                   levels as needed                    │
//!                   leaves:  groups of up to 16 boxes  ─┘
//! ```
//!
//! Children stand in the order of their first boxes, so the search for the first box stops as soon as no
//! child can have an earlier one. A box is in one leaf only, whatever it overlaps: memory is linear. How
//! sets are divided: [`divide`](super::divide).
//!
//! A published tree is changed by taking boxes out of it and by putting new ones into leaves that have room:
//! [`patch`](super::patch).
//!
//! IPv6 addresses are compared whole in a fan over boxes. Elsewhere it is through windows of 32 bits, one for each
//! group; a box that its window does not show exactly is looked at again in the list.
//!
//! # Bound
//! One fan, which costs about as much as two leaves; then up to 1024 boxes those that [`flat`] says; of more leaves:
//! those that there are, n/11, and groups between: half of that; of a tree from which boxes went n/10. A packet visits more than a few only in
//! sets whose boxes nearly all meet at one point.

use core::hint::select_unpredictable;
use core::mem::size_of_val;

use super::block::Boxed;
use super::fan::{BURST, Children, Fan, Open, ROOM, Room};
use super::flat;
use super::group::{Address, Ask, Group, NONE, WIDTH};
use super::grow::FILL;
use super::linear::Key;
use super::rows::{CHILDREN, FULL, Layout, room_for};
use crate::prefetch;
use crate::simd::{Backend, COMPACT, Job, Simd, WORDS};

/// Sets up to this many boxes have no tree, and are asked one by one.
pub(crate) const LIST: usize = 32;
/// Levels of groups between, which 2^32 boxes take.
pub(super) const LEVELS: usize = 5;

/// Groups above this are fetched ahead in bursts: what the level 2 cache of most servers does not hold. Below, processors look far
/// enough ahead themselves.
const LARGE_OCTETS: usize = 1 << 20;

/// Counts what a search visits; `()` counts nothing and costs nothing.
pub(super) trait Visits {
    fn node(&mut self) {}
    fn leaf(&mut self) {}
    /// A box asked without a leaf.
    fn one(&mut self) {}
}

impl Visits for () {}

/// Which boxes count.
pub(super) trait Filter {
    /// All of them.
    const NONE: bool = false;

    fn takes(&self, index: u32) -> bool;
}

/// All boxes count.
pub(super) struct Every;

impl Filter for Every {
    const NONE: bool = true;

    fn takes(&self, _index: u32) -> bool {
        true
    }
}

impl<F: Fn(u32) -> bool> Filter for F {
    #[inline(always)]
    fn takes(&self, index: u32) -> bool {
        self(index)
    }
}

/// How a tree of so many boxes is built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    pub(super) leaves: usize,
    /// Levels of groups above the leaves, the fan not counted.
    pub(super) levels: usize,
    /// Children of the fan, at most.
    pub(super) children: usize,
    pub(super) layout: Layout,
}

impl Shape {
    #[inline]
    pub(super) fn of<A: Address>(boxes: usize) -> Self {
        let leaves = boxes.div_ceil(FILL);
        if boxes <= CHILDREN {
            let layout = Layout::of_boxes::<A>(boxes);
            return Self { leaves: 0, levels: 0, children: boxes, layout };
        }
        // Leaves stand below the fan even if they have to be fuller.
        if boxes <= FULL {
            let leaves = leaves.min(CHILDREN);
            return Self::with_fan(leaves, 0, leaves);
        }
        let mut levels = 1;
        while FULL << (4 * levels) < boxes {
            levels += 1;
        }
        // So few that the groups below are nearly full, which are fewer to visit and fewer octets, and then as many as masks
        // have room for. Windows of IPv6 show less of more boxes.
        let share = if A::WHOLE { 4 } else { 2 };
        let children = boxes.div_ceil((share * (WIDTH << (4 * levels)) / 5).max(1));
        Self::with_fan(leaves, levels, room_for(children).min(CHILDREN))
    }

    fn with_fan(leaves: usize, levels: usize, children: usize) -> Self {
        Self { leaves, levels, children, layout: Layout::of_groups(children, levels) }
    }

    /// The children of the fan are boxes.
    pub(super) fn is_of_boxes(&self) -> bool {
        self.leaves == 0
    }
}

/// Groups of a tree that has them, at most: leaves, and half as many for what is above them and does not come
/// out even.
pub(super) fn most_groups(boxes: usize) -> usize {
    let leaves = boxes.div_ceil(FILL);
    leaves + 1 + leaves / 2
}

/// Boxes that may come and go before the tree of so many is built anew. Leaves that take what they were not made for are
/// visited more often, by an eighth in the mean; masks over boxes hardly suffer.
pub(super) fn most_changes(boxes: usize) -> usize {
    let share = if boxes <= CHILDREN {
        4
    } else if boxes <= FULL {
        16
    } else {
        32
    };
    boxes / share
}

/// No group.
pub(super) const NO_GROUP: u32 = u32::MAX;
/// No fan.
pub(super) const NO_FAN: u32 = u32::MAX;

/// Where a tree is, in the arrays of all trees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(super) struct Grown {
    /// Its first group.
    pub(super) first: u32,
    /// Its groups, which are neighbours.
    pub(super) groups: u32,
    /// Its fan; [`NO_FAN`]: there is no tree.
    pub(super) fan: u32,
    /// Boxes that came or went since it was built.
    pub(super) changes: u32,
    /// Levels of groups above the leaves.
    pub(super) levels: u32,
    pub(super) reserved: u32,
}

impl Grown {
    pub(super) const NONE: Self =
        Self { first: 0, groups: 0, fan: NO_FAN, changes: 0, levels: 0, reserved: 0 };

    /// There is a tree.
    #[inline]
    pub(super) fn is_some(&self) -> bool {
        self.fan != NO_FAN
    }
}

/// The groups, fans and rows of all trees.
#[derive(Clone, Copy, Default)]
pub(super) struct Arrays<'b> {
    pub(super) groups: &'b [Group],
    pub(super) fans: &'b [Fan],
    pub(super) rows: &'b [u64],
}

/// The tree of one set of boxes.
#[derive(Clone, Copy)]
pub(crate) struct Tree<'b, A: Address> {
    pub(super) boxes: &'b [Boxed<A>],
    pub(super) arrays: Arrays<'b>,
    pub(super) fan: &'b Fan,
    pub(super) levels: usize,
    pub(super) backend: Backend,
}

impl<'b, A: Address> Tree<'b, A> {
    /// `None` if there is no tree, or it is not where it should be.
    #[inline]
    pub(super) fn new(
        boxes: &'b [Boxed<A>],
        arrays: Arrays<'b>,
        grown: &Grown,
        backend: Backend,
    ) -> Option<Self> {
        let fan = arrays.fans.get(grown.fan as usize)?;
        let levels = grown.levels as usize;
        (levels <= LEVELS).then_some(Self { boxes, arrays, fan, levels, backend })
    }
}

impl<'b, A: Address> Tree<'b, A> {
    /// The first box that covers the packet in what is asked, and that `filter` takes; any such box if
    /// `ANY`.
    #[inline]
    pub(super) fn find<const ANY: bool>(
        &self,
        key: &Key<A>,
        ask: Ask,
        filter: impl Filter,
        visits: &mut impl Visits,
    ) -> Option<u32> {
        self.find_opened::<ANY>(None, key, ask, filter, visits)
    }

    /// The same, of a tree whose fan has been opened before.
    #[inline]
    pub(super) fn find_opened<const ANY: bool>(
        &self,
        fan: Option<&Open<'b, A>>,
        key: &Key<A>,
        ask: Ask,
        filter: impl Filter,
        visits: &mut impl Visits,
    ) -> Option<u32> {
        self.backend.run(One::<'_, '_, A, _, _, ANY> { tree: self, fan, key, ask, filter, visits })
    }

    /// The fan with its rows.
    #[inline(always)]
    pub(super) fn open(&self) -> Option<Open<'b, A>> {
        self.fan.open(self.arrays.rows)
    }

    /// The same, if its children are boxes. For bursts: one that groups are searched below of too is not kept in
    /// registers, and a packet of a fan over boxes took 2 ns more.
    #[inline(always)]
    fn flat(&self) -> Option<Open<'b, A>> {
        if self.fan.is_of_boxes() { self.open() } else { None }
    }

    /// [`Tree::find`] for up to 32 packets, all that covers them asked; [`NONE`] for those that no box covers.
    #[inline]
    pub(super) fn find_burst<const ANY: bool>(&self, keys: &[Key<A>]) -> [u32; BURST] {
        self.backend.run(Many::<'_, '_, A, ANY> { tree: self, keys })
    }

    #[inline(always)]
    pub(super) fn group(&self, at: u32) -> Option<&'b Group> {
        self.arrays.groups.get(at as usize)
    }

    #[inline(always)]
    fn prefetch(&self, at: u32) {
        if let Some(group) = self.group(at) {
            group.prefetch();
        }
    }

    /// The second look at a box that masks leave, or that a window does not show whole. Whether it admits packets
    /// without a value has been looked at.
    #[inline(always)]
    pub(super) fn covers(&self, index: u32, key: &Key<A>, ask: Ask) -> bool {
        let Some(one) = self.boxes.get(index as usize) else { return false };
        // Nearly every hit comes here.
        if ask == Ask::All && !COMPACT {
            A::covers_value(one, key)
        } else {
            one.covers_in(key, ask)
        }
    }

    /// The first box of a leaf that covers the packet, before `limit`; or [`NONE`].
    #[inline(always)]
    fn first_in_leaf<S: Simd, F: Filter>(
        &self,
        leaf: &Group,
        key: &Key<A>,
        ask: Ask,
        filter: &F,
        limit: u32,
    ) -> u32 {
        let (matches, exact) = leaf.matches::<S, A>(key, ask);
        if A::WHOLE && F::NONE {
            // No branch: which packets a leaf holds cannot be foreseen. Behind the last position is `NONE`.
            let first = leaf.index.get((matches | 1 << WIDTH).trailing_zeros() as usize);
            return first.copied().unwrap_or(NONE);
        }
        self.first_of_matches(leaf, (matches, exact), key, ask, filter, limit)
    }

    /// The same of the boxes that the leaf's window leaves.
    #[inline(always)]
    fn first_of_matches<F: Filter>(
        &self,
        leaf: &Group,
        (mut matches, exact): (u32, u32),
        key: &Key<A>,
        ask: Ask,
        filter: &F,
        limit: u32,
    ) -> u32 {
        while matches != 0 {
            let slot = matches.trailing_zeros();
            matches &= matches - 1;
            let index = leaf.index.get(slot as usize).copied().unwrap_or(NONE);
            if index >= limit {
                break;
            }
            let is_exact = exact >> slot & 1 == 1;
            if (is_exact || self.covers(index, key, ask)) && filter.takes(index) {
                return index;
            }
        }
        NONE
    }
}

/// All ones if so, else 0.
#[inline(always)]
pub(super) fn ones(so: bool) -> u32 {
    0_u32.wrapping_sub(so.into())
}

/// Boxes from here on are of no interest.
#[inline(always)]
pub(super) fn limit<const ANY: bool>(best: u32) -> u32 {
    if ANY { ones(best == NONE) } else { best }
}

/// One bit for each packet of a burst.
type Bits = u32;

/// Each packet. An iterator, not a closure that is called: closures are not always inlined, and what is not
/// does not use the processor's instructions.
pub(crate) struct Each(pub(crate) Bits);

impl Iterator for Each {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let nth = self.0.trailing_zeros() as usize;
        let is_one = self.0 != 0;
        self.0 &= self.0.wrapping_sub(1);
        is_one.then_some(nth)
    }
}

/// [`Each`] of up to `N` packets, which is what tells the compiler that their numbers are below it: an index that has to
/// be tested is a branch, and with a packet alone everything but 0 falls away.
#[inline(always)]
fn each<const N: usize>(bits: Bits) -> impl Iterator<Item = usize> {
    Each(bits).map(|nth| nth % N)
}

/// The first child of what is at the top, and the first box below each child.
type Top<'b> = (u32, &'b [u32]);

/// Of each level of groups, the lowest first, and each packet: the group above, and its children that are
/// left.
type Levels<const N: usize> = heapless::Vec<[(u32, u32); N], LEVELS>;

/// The search for up to `N` packets: one step of all of them, then the next, so that what a step reads is
/// on its way while the other packets take theirs.
struct Search<'t, 'b, A: Address, const N: usize, const ROOM: usize> {
    tree: &'t Tree<'b, A>,
    keys: &'t [Key<A>; N],
    /// The first box of each packet so far, or [`NONE`].
    best: [u32; N],
    /// Children of the top that are left.
    top: Children<'t, N, ROOM>,
    /// The group that is compared next.
    next: [u32; N],
    left: &'t mut Levels<N>,
    /// Groups are far away.
    prefetches: bool,
}

impl<A: Address, const N: usize, const ROOM: usize> Search<'_, '_, A, N, ROOM> {
    /// Where a packet goes on at the top, if it does.
    #[inline(always)]
    fn choose_top<const ANY: bool>(&mut self, (children, firsts): Top<'_>, nth: usize) -> bool {
        let (child, is_one) = self.top.take(nth);
        let first = firsts.get(child as usize).copied().unwrap_or(NONE);
        self.go::<ANY>(nth, children.wrapping_add(child), first, is_one)
    }

    /// Where a packet goes on below a group, if it does.
    #[inline(always)]
    fn choose_below<const ANY: bool>(&mut self, level: usize, nth: usize) -> bool {
        let left = self.left.get(level).map(|row| row[nth]);
        left.is_some_and(|(above, left)| self.go_below::<ANY>(level, nth, above, left))
    }

    /// The same of these children of a group, the first of which it takes.
    #[inline(always)]
    fn go_below<const ANY: bool>(
        &mut self,
        level: usize,
        nth: usize,
        above: u32,
        left: u32,
    ) -> bool {
        let (Some(row), Some(group)) = (self.left.get_mut(level), self.tree.group(above)) else {
            return false;
        };
        row[nth] = (above, left & left.wrapping_sub(1));
        let child = left.trailing_zeros();
        let first = group.index[child as usize % WIDTH];
        self.go::<ANY>(nth, group.children().wrapping_add(child), first, left != 0)
    }

    /// The group that a packet comes to next, if there is one and the first box below it is of interest.
    #[inline(always)]
    fn go<const ANY: bool>(&mut self, nth: usize, group: u32, first: u32, is_one: bool) -> bool {
        let goes = (first < limit::<ANY>(self.best[nth])) & is_one;
        self.next[nth] = group;
        if self.prefetches {
            // What is not gone to takes no line: the first group is near.
            self.tree.prefetch(select_unpredictable(goes, group, 0));
        }
        goes
    }

    /// [`Search::choose_top`] at the top, [`Search::choose_below`] elsewhere.
    #[inline(always)]
    fn choose<const ANY: bool>(&mut self, top: Top<'_>, level: usize, nth: usize) -> bool {
        match level == self.tree.levels {
            true => self.choose_top::<ANY>(top, nth),
            false => self.choose_below::<ANY>(level, nth),
        }
    }

    /// Searches below all that is at the top; `matches` says of a fan in which children the packets lie.
    #[inline(always)]
    fn run<S: Simd, F: Filter, const ANY: bool>(
        &mut self,
        (ask, filter): (Ask, &F),
        visits: &mut impl Visits,
        fan: &Open<'_, A>,
        matches: impl Fn(&Open<'_, A>, &mut Self) -> Bits,
    ) {
        let tree = self.tree;
        for _ in 0..tree.levels {
            // There are no more levels than that.
            let _ = self.left.push([(0, 0); N]);
        }
        let active = matches(fan, self);
        if self.prefetches {
            each::<N>(active).for_each(|nth| tree.prefetch(self.next[nth]));
        }
        let top = (fan.children, fan.firsts);
        self.run_below::<S, F, ANY>(top, active, (ask, filter), visits);
    }

    /// Asks the leaf that each packet came to: first all windows, which say who has boxes to be looked at again, then
    /// those boxes, which are on their way by then.
    #[inline(always)]
    fn ask_leaves<S: Simd, F: Filter>(
        &mut self,
        active: Bits,
        (ask, filter): (Ask, &F),
        visits: &mut impl Visits,
    ) {
        let tree = self.tree;
        let (mut found, mut some) = ([(0, 0); N], 0);
        for nth in each::<N>(active) {
            let Some(leaf) = tree.group(self.next[nth]) else { continue };
            visits.leaf();
            found[nth] = leaf.matches::<S, A>(&self.keys[nth], ask);
            let (matches, _) = found[nth];
            let first = leaf.index[matches.trailing_zeros() as usize % WIDTH];
            tree.boxes.get(first as usize).into_iter().for_each(prefetch::read);
            some |= Bits::from(matches != 0) << nth;
        }
        for nth in each::<N>(some) {
            let Some(leaf) = tree.group(self.next[nth]) else { continue };
            let (key, best) = (&self.keys[nth], &mut self.best[nth]);
            let first = tree.first_of_matches(leaf, found[nth], key, ask, filter, *best);
            *best = S::lesser(first, *best);
        }
    }

    /// Asks the leaf that each packet came to, and chooses the next one: of what is at the top if `TOP`, else of what is
    /// below a group. Returns who goes on.
    #[inline(always)]
    fn ask_next<S: Simd, F: Filter, const ANY: bool, const TOP: bool>(
        &mut self,
        top: Top<'_>,
        active: Bits,
        (ask, filter): (Ask, &F),
        visits: &mut impl Visits,
    ) -> Bits {
        let mut more = 0;
        let choose = |own: &mut Self, nth| match TOP {
            true => own.choose_top::<ANY>(top, nth),
            false => own.choose_below::<ANY>(0, nth),
        };
        if !A::WHOLE && N > 1 {
            self.ask_leaves::<S, F>(active, (ask, filter), visits);
            for nth in each::<N>(active) {
                more |= Bits::from(choose(self, nth)) << nth;
            }
            return more;
        }
        let tree = self.tree;
        // Where a leaf says all itself the child after it is chosen with it: no packet is gone to
        // twice in a round.
        for nth in each::<N>(active) {
            let Some(leaf) = tree.group(self.next[nth]) else { continue };
            visits.leaf();
            let (key, best) = (&self.keys[nth], &mut self.best[nth]);
            let first = tree.first_in_leaf::<S, F>(leaf, key, ask, filter, *best);
            *best = S::lesser(first, *best);
            more |= Bits::from(choose(self, nth)) << nth;
        }
        more
    }

    /// Searches what each packet came to at the top, and then what is left there.
    #[inline(always)]
    fn run_below<S: Simd, F: Filter, const ANY: bool>(
        &mut self,
        top: Top<'_>,
        mut active: Bits,
        (ask, filter): (Ask, &F),
        visits: &mut impl Visits,
    ) {
        let tree = self.tree;
        // Of each level: the packets that may have children left there.
        let mut packets = [active; LEVELS + 1];
        let mut level = tree.levels;
        loop {
            while level == 0 && active != 0 {
                active = match level == tree.levels {
                    true => self.ask_next::<S, F, ANY, true>(top, active, (ask, filter), visits),
                    false => self.ask_next::<S, F, ANY, false>(top, active, (ask, filter), visits),
                };
            }
            let Some(row) = packets.get_mut(level) else { return };
            *row = active;
            let mut more = 0;
            if active == 0 {
                if level == tree.levels {
                    return;
                }
                level += 1;
                let Some(row) = packets.get(level) else { return };
                for nth in each::<N>(*row) {
                    more |= Bits::from(self.choose::<ANY>(top, level, nth)) << nth;
                }
            } else {
                level -= 1;
                for nth in each::<N>(active) {
                    visits.node();
                    let next = self.next[nth];
                    let Some(group) = tree.group(next) else { continue };
                    let (matches, _) = group.matches::<S, A>(&self.keys[nth], ask);
                    more |= Bits::from(self.go_below::<ANY>(level, nth, next, matches)) << nth;
                }
            }
            active = more;
        }
    }
}

impl<'t, 'b, A: Address, const N: usize, const ROOM: usize> Search<'t, 'b, A, N, ROOM> {
    #[inline(always)]
    fn new(
        tree: &'t Tree<'b, A>,
        keys: &'t [Key<A>; N],
        masks: &'t mut Room<ROOM>,
        left: &'t mut Levels<N>,
    ) -> Self {
        let prefetches = N > 1 && size_of_val(tree.arrays.groups) > LARGE_OCTETS;
        let top = Children::new(masks);
        Self { tree, keys, best: [NONE; N], top, next: [0; N], left, prefetches }
    }
}

#[inline(always)]
pub(super) fn some(best: u32) -> Option<u32> {
    if best == NONE { None } else { Some(best) }
}

/// [`Tree::find`], to be done in the way that suits the processor.
struct One<'t, 'b, A: Address, F, V, const ANY: bool> {
    tree: &'t Tree<'b, A>,
    fan: Option<&'t Open<'b, A>>,
    key: &'t Key<A>,
    ask: Ask,
    filter: F,
    visits: &'t mut V,
}

impl<A: Address, F: Filter, V: Visits, const ANY: bool> Job for One<'_, '_, A, F, V, ANY> {
    type Answer = Option<u32>;
    const SIXTEEN: bool = true;

    #[inline(always)]
    fn run<S: Simd>(self) -> Option<u32> {
        let Self { tree, fan, key, ask, filter, visits } = self;
        let opened;
        let fan = match fan {
            Some(fan) => fan,
            None => {
                opened = tree.open()?;
                &opened
            }
        };
        if fan.is_of_boxes() {
            return some(flat::first::<S, A, F>((tree, fan), (key, ask, &filter), visits));
        }
        let (mut masks, mut left) = (Room::new(), Levels::new());
        let keys = core::array::from_ref(key);
        let mut search: Search<'_, '_, A, 1, WORDS> =
            Search::new(tree, keys, &mut masks, &mut left);
        search.run::<S, F, ANY>((ask, &filter), visits, fan, |fan, search| {
            let child = fan.matches::<S>(key, ask, &mut search.top);
            search.next = [fan.children.wrapping_add(child.unwrap_or(0))];
            child.is_some().into()
        });
        some(search.best[0])
    }
}

/// As many keys as a whole burst has; those behind the last one are never asked for.
fn padded_to_burst<A: Address>(keys: &[Key<A>]) -> [Key<A>; BURST] {
    let mut padded = [Key::default(); BURST];
    padded.iter_mut().zip(keys).for_each(|(slot, key)| *slot = *key);
    padded
}

/// [`Tree::find_burst`], to be done in the way that suits the processor.
struct Many<'t, 'b, A: Address, const ANY: bool> {
    tree: &'t Tree<'b, A>,
    keys: &'t [Key<A>],
}

impl<A: Address, const ANY: bool> Job for Many<'_, '_, A, ANY> {
    type Answer = [u32; BURST];
    const SIXTEEN: bool = true;

    #[inline(always)]
    fn run<S: Simd>(self) -> [u32; BURST] {
        let Self { tree, keys } = self;
        if let Some(fan) = tree.flat() {
            return flat::first_of_burst::<S, A>((tree, &fan), keys);
        }
        let (mut masks, mut left) = (Room::new(), Levels::new());
        let padded;
        let all = match keys.first_chunk() {
            Some(all) => all,
            None => {
                padded = padded_to_burst(keys);
                &padded
            }
        };
        let mut search: Search<'_, '_, A, BURST, ROOM> =
            Search::new(tree, all, &mut masks, &mut left);
        if let Some(fan) = tree.open() {
            search.run::<S, Every, ANY>((Ask::All, &Every), &mut (), &fan, |fan, search| {
                let Search { top, next, .. } = search;
                fan.matches_burst::<S>(keys, top, next)
            });
        }
        search.best
    }
}

/// What validation may still meet: each group and each word of rows is part of one tree, so that it takes time
/// linear in the block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Left {
    pub(super) groups: usize,
    /// Words.
    pub(super) rows: usize,
}

impl Left {
    fn take_group(&mut self) -> bool {
        let left = self.groups.checked_sub(1);
        self.groups = left.unwrap_or(0);
        left.is_some()
    }
}

impl<A: Address> Tree<'_, A> {
    /// True if a search visits no more than the bound says, whatever it asks for, and names boxes of the
    /// set only.
    ///
    /// # Bound
    /// The groups of a tree of so many boxes, the rows of one fan, and no more than is `left` of either.
    pub(super) fn is_valid(&self, left: &mut Left) -> bool {
        // Of a patched tree boxes that went are still counted.
        let boxes = self.boxes.len();
        let most = most_groups(boxes.saturating_add(most_changes(boxes)));
        let mut own = Left { groups: most.min(left.groups), rows: left.rows };
        let given = own.groups;
        let is_valid = self.is_top_valid(&mut own);
        *left = Left { groups: left.groups - (given - own.groups), rows: own.rows };
        is_valid
    }

    fn is_top_valid(&self, left: &mut Left) -> bool {
        let fan = self.fan;
        let rows = fan.layout().and_then(|layout| left.rows.checked_sub(layout.size()));
        let Some(rows) = rows else { return false };
        left.rows = rows;
        fan.open::<A>(self.arrays.rows).is_some_and(|fan| {
            // `is_sorted` can panic.
            fan.is_ordered()
                && fan.firsts.iter().zip(fan.firsts.iter().skip(1)).all(|(one, next)| one <= next)
                && (0..fan.groups() as u32).all(|child| {
                    self.is_group_valid(fan.children.wrapping_add(child), self.levels, left)
                })
        })
    }

    /// Calls itself as often as there are levels, at most [`LEVELS`].
    fn is_group_valid(&self, at: u32, level: usize, left: &mut Left) -> bool {
        let Some(group) = self.group(at) else { return false };
        let used = group.firsts().get(..group.count()).unwrap_or(&[]);
        left.take_group()
            && group.firsts().is_sorted()
            && (level > 0 || group.ends_leaf::<A>())
            && match level.checked_sub(1) {
                None => used.iter().all(|index| (*index as usize) < self.boxes.len()),
                Some(below) => (0..used.len() as u32).all(|child| {
                    self.is_group_valid(group.children().wrapping_add(child), below, left)
                }),
            }
    }
}
