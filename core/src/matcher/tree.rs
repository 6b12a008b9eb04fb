//! The interval tree: which boxes of a large set cover a packet, without asking all of them.
//!
//! ```text
//! up to 176 boxes   a group: bounds of up to 16 leaves ─┐
//! more              a fan:   up to 64 children          │ 16 boxes compared at once (`group`);
//!                   961 to 1408 boxes: two of them      │
//!                   groups between, as many as needed   │
//!                   leaves:  groups of up to 16 boxes  ─┘
//! ```
//!
//! Children stand in the order of their first boxes, so the search for the first box stops as soon as no
//! child can have an earlier one. A box is in one leaf only, whatever it overlaps: memory is linear. How
//! sets are divided: [`grow`](super::grow).
//!
//! A published tree is changed by taking boxes out of leaves and by putting new ones into one leaf beside
//! it, the delta: [`patch`](super::patch).
//!
//! IPv6 addresses are compared through windows of 32 bits, one for each group; a box that its window does
//! not show exactly is looked at again in the list.
//!
//! # Bound
//! Leaves visited: those that there are, n/11 (most sets have fewer) and one; groups above them: half of that; two
//! fans. A packet visits that many only in sets whose boxes nearly all meet at one point.

use core::mem::size_of_val;

use super::block::Boxed;
use super::fan::{CHILDREN, Fan};
use super::group::{Address, Ask, Group, WIDTH};
use super::grow::FILL;
use super::linear::Key;
use crate::simd::{Backend, Job, Simd};

/// Fans of a tree, at most.
pub(super) const FANS: usize = 2;
/// Sets up to this many boxes have no tree.
pub(super) const SMALL: usize = 32;
/// Levels of groups above leaves that 2^32 boxes take.
pub(super) const LEVELS: usize = 6;

/// Groups above this are fetched ahead in bursts: what is larger than the level 1 cache of most servers.
const LARGE_OCTETS: usize = 48 << 10;

/// Counts what a search visits; `()` counts nothing and costs nothing.
pub(super) trait Visits {
    fn node(&mut self) {}
    fn leaf(&mut self) {}
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
    /// Levels of groups above the leaves, fans not counted.
    pub(super) levels: usize,
    /// Fans at the top, one after the other.
    pub(super) fans: usize,
}

impl Shape {
    #[inline]
    pub(super) fn of(boxes: usize) -> Self {
        let leaves = boxes.div_ceil(FILL);
        if leaves <= WIDTH {
            return Self { leaves, levels: usize::from(leaves > 1), fans: 0 };
        }
        // Leaves stand below fans even if they have to be fuller, or two fans be asked.
        let full = CHILDREN * (WIDTH - 1);
        if boxes <= full {
            return Self { leaves: leaves.min(CHILDREN), levels: 0, fans: 1 };
        }
        if leaves <= FANS * CHILDREN {
            return Self { leaves, levels: 0, fans: FANS };
        }
        let mut levels = 1;
        while full << (4 * levels) < boxes {
            levels += 1;
        }
        Self { leaves, levels, fans: 1 }
    }

    /// Groups of the tree, at most: leaves, and half as many for what is above them and does not come out
    /// even.
    #[cfg(test)]
    pub(super) fn groups(&self) -> usize {
        self.leaves + 1 + if self.fans > 0 { self.leaves / 2 } else { 0 }
    }
}

/// No group.
pub(super) const NO_GROUP: u32 = u32::MAX;

/// Where a tree is, in the arrays of all trees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(super) struct Grown {
    /// Its first group, which is the top if there is no fan.
    pub(super) first: u32,
    /// Its groups, which are neighbours; 0: there is no tree.
    pub(super) groups: u32,
    /// Its first fan.
    pub(super) fan: u32,
    /// A leaf of boxes that came later, or [`NO_GROUP`].
    pub(super) delta: u32,
    /// Boxes that came or went since it was built.
    pub(super) changes: u32,
    /// Those of its [`Shape`].
    pub(super) levels: u16,
    pub(super) fans: u16,
}

impl Grown {
    pub(super) const NONE: Self =
        Self { first: 0, groups: 0, fan: 0, delta: NO_GROUP, changes: 0, levels: 0, fans: 0 };

    /// Its fans, of those of all trees.
    #[inline]
    pub(super) fn fans_of<'b, A: Address>(&self, fans: &'b [Fan<A>]) -> Option<&'b [Fan<A>]> {
        fans.get(self.fan as usize..)?.get(..self.fans.into())
    }
}

/// The tree of one set of boxes.
#[derive(Clone, Copy)]
pub(crate) struct Tree<'b, A: Address> {
    pub(super) boxes: &'b [Boxed<A>],
    pub(super) groups: &'b [Group<A>],
    /// At most [`FANS`]; the second has later boxes than the first.
    pub(super) fans: &'b [Fan<A>],
    /// The group at the top, if there is no fan.
    pub(super) root: u32,
    /// A leaf beside the tree.
    pub(super) delta: Option<&'b Group<A>>,
    pub(super) levels: usize,
    pub(super) backend: Backend,
}

impl<'b, A: Address> Tree<'b, A> {
    /// `None` if there is no tree, or it is not where it should be.
    #[inline]
    pub(super) fn new(
        boxes: &'b [Boxed<A>],
        groups: &'b [Group<A>],
        fans: &'b [Fan<A>],
        grown: &Grown,
        backend: Backend,
    ) -> Option<Self> {
        let fans = grown.fans_of(fans)?;
        let delta = match grown.delta {
            NO_GROUP => None,
            at => Some(groups.get(at as usize)?),
        };
        let (root, levels) = (grown.first, usize::from(grown.levels));
        let is_one = grown.groups > 0 && levels <= LEVELS && fans.len() <= FANS;
        is_one.then_some(Self { boxes, groups, fans, root, delta, levels, backend })
    }
}

/// No box.
const NONE: u32 = u32::MAX;

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
        self.backend.run(One::<'_, '_, A, _, _, ANY> { tree: self, key, ask, filter, visits })
    }

    /// [`Tree::find`] for up to 32 packets, all that covers them asked.
    #[inline]
    pub(super) fn find_burst<const ANY: bool>(
        &self,
        keys: &[Key<A>],
        tell: impl FnMut(usize, Option<u32>),
    ) {
        self.backend.run(Many::<'_, '_, A, _, ANY> { tree: self, keys, tell });
    }

    #[inline(always)]
    fn group(&self, at: u32) -> Option<&'b Group<A>> {
        self.groups.get(at as usize)
    }

    #[inline(always)]
    fn prefetch(&self, at: u32) {
        if let Some(group) = self.group(at) {
            group.prefetch();
        }
    }

    /// The second look at a box that a window does not show whole.
    fn covers(&self, index: u32, key: &Key<A>, ask: Ask) -> bool {
        self.boxes.get(index as usize).is_some_and(|one| match ask {
            Ask::All => one.covers(key),
            Ask::Portless => one.covers_portless(key),
            Ask::Source => one.remote_covers(key),
        })
    }

    /// The first box of a leaf that covers the packet, before `limit`; or [`NONE`].
    #[inline(always)]
    fn first_in_leaf<S: Simd, F: Filter>(
        &self,
        leaf: &Group<A>,
        key: &Key<A>,
        ask: Ask,
        filter: &F,
        limit: u32,
    ) -> u32 {
        let (mut matches, exact) = leaf.matches::<S>(key, ask);
        if A::WHOLE && F::NONE {
            let first = leaf.index.get(matches.trailing_zeros() as usize % WIDTH);
            // No branch: which packets a leaf holds cannot be foreseen.
            return first.copied().unwrap_or(NONE) | ones(matches == 0);
        }
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
fn ones(so: bool) -> u32 {
    0_u32.wrapping_sub(so.into())
}

/// Boxes from here on are of no interest.
#[inline(always)]
fn limit<const ANY: bool>(best: u32) -> u32 {
    if ANY { ones(best == NONE) } else { best }
}

/// Takes the next child out of those that are left: where it is, and if it may hold a box that is of
/// interest. Without a branch: which children are left cannot be foreseen.
#[inline(always)]
fn take<const ANY: bool, const CHILDREN: usize>(
    left: &mut u64,
    (children, firsts): (u32, &[u32; CHILDREN]),
    best: u32,
) -> (u32, bool) {
    let (child, is_one) = (left.trailing_zeros(), *left != 0);
    *left &= left.wrapping_sub(1);
    let first = firsts.get(child as usize % CHILDREN).copied().unwrap_or(NONE);
    (children.wrapping_add(child), is_one & (first < limit::<ANY>(best)))
}

/// One bit for each packet of a burst.
type Bits = u32;

/// Visits each packet.
#[inline(always)]
fn each(bits: Bits, mut visit: impl FnMut(usize)) {
    let mut left = bits;
    while left != 0 {
        visit(left.trailing_zeros() as usize);
        left &= left - 1;
    }
}

/// The first child of what is at the top, and the first box below each child.
type Top<'t> = (u32, &'t [u32; CHILDREN]);

/// The search for up to `N` packets: one step of all of them, then the next, so that what a step reads is
/// on its way while the other packets take theirs.
struct Search<'t, 'b, A: Address, const N: usize> {
    tree: &'t Tree<'b, A>,
    /// The first box of each packet so far, or [`NONE`].
    best: [u32; N],
    /// Children of the top that are left.
    top: [u64; N],
    /// The group that is compared next.
    next: [u32; N],
    /// Of each level below the top: the group above, and its children that are left.
    left: [[(u32, u32); N]; LEVELS],
    /// Groups are far away.
    prefetches: bool,
}

impl<A: Address, const N: usize> Search<'_, '_, A, N> {
    /// Which packets go on at the top, and where.
    #[inline(always)]
    fn choose_top<const ANY: bool>(&mut self, top: Top<'_>, packets: Bits) -> Bits {
        let mut active = 0;
        each(packets, |nth| {
            let (Some(left), Some(next), Some(best)) =
                (self.top.get_mut(nth), self.next.get_mut(nth), self.best.get(nth))
            else {
                return;
            };
            let (child, goes_on) = take::<ANY, _>(left, top, *best);
            *next = child;
            active |= Bits::from(goes_on) << nth;
            if self.prefetches {
                self.tree.prefetch(*next);
            }
        });
        active
    }

    /// Which packets go on below a group, and where.
    #[inline(always)]
    fn choose<const ANY: bool>(&mut self, level: usize, packets: Bits) -> Bits {
        let Some(row) = self.left.get_mut(level) else { return 0 };
        let mut active = 0;
        each(packets, |nth| {
            let (Some((above, left)), Some(next), Some(best)) =
                (row.get_mut(nth), self.next.get_mut(nth), self.best.get(nth))
            else {
                return;
            };
            let Some(group) = self.tree.group(*above) else { return };
            let mut children = u64::from(*left);
            let (child, goes_on) =
                take::<ANY, _>(&mut children, (group.children, &group.index), *best);
            (*left, *next) = (children as u32, child);
            active |= Bits::from(goes_on) << nth;
            if self.prefetches {
                self.tree.prefetch(*next);
            }
        });
        active
    }

    /// Searches below all that is at the top; `matches` says of a fan in which children the packets lie.
    #[inline(always)]
    fn run<S: Simd, F: Filter, const ANY: bool>(
        &mut self,
        keys: &[Key<A>],
        (ask, filter): (Ask, &F),
        visits: &mut impl Visits,
        matches: impl Fn(&Fan<A>, &mut [u64; N]),
    ) {
        let tree = self.tree;
        if let Some(delta) = tree.delta {
            for (best, key) in self.best.iter_mut().zip(keys) {
                visits.leaf();
                *best = tree.first_in_leaf::<S, F>(delta, key, ask, filter, NONE);
            }
        }
        for nth in 0..tree.fans.len().max(1) {
            let top: Top<'_> = match tree.fans.get(nth) {
                Some(fan) => {
                    matches(fan, &mut self.top);
                    (fan.children, &fan.firsts)
                }
                None => (tree.root, &[0; CHILDREN]),
            };
            self.run_below::<S, F, ANY>(top, keys, (ask, filter), visits);
        }
    }

    #[inline(always)]
    fn run_below<S: Simd, F: Filter, const ANY: bool>(
        &mut self,
        top: Top<'_>,
        keys: &[Key<A>],
        (ask, filter): (Ask, &F),
        visits: &mut impl Visits,
    ) {
        let tree = self.tree;
        let all = if keys.len() < N { (1 << keys.len()) - 1 } else { Bits::MAX >> (32 - N) };
        // Of each level: the packets that may have children left there.
        let mut packets = [all; LEVELS + 1];
        let mut level = tree.levels;
        loop {
            let Some(row) = packets.get_mut(level) else { return };
            let is_top = level == tree.levels;
            *row = match is_top {
                true => self.choose_top::<ANY>(top, *row),
                false => self.choose::<ANY>(level, *row),
            };
            let active = *row;
            if active == 0 {
                if is_top {
                    return;
                }
                level += 1;
                continue;
            }
            if level == 0 {
                each(active, |nth| {
                    let (Some(key), Some(next)) = (keys.get(nth), self.next.get(nth)) else {
                        return;
                    };
                    let (Some(leaf), Some(best)) = (tree.group(*next), self.best.get_mut(nth))
                    else {
                        return;
                    };
                    visits.leaf();
                    let first = tree.first_in_leaf::<S, F>(leaf, key, ask, filter, *best);
                    *best = first.min(*best);
                });
                continue;
            }
            level -= 1;
            let (Some(row), Some(below)) = (self.left.get_mut(level), packets.get_mut(level))
            else {
                return;
            };
            *below = active;
            each(active, |nth| {
                let (Some(key), Some(next)) = (keys.get(nth), self.next.get(nth)) else { return };
                let (Some(group), Some(left)) = (tree.group(*next), row.get_mut(nth)) else {
                    return;
                };
                visits.node();
                *left = (*next, group.matches::<S>(key, ask).0);
            });
        }
    }
}

impl<'t, 'b, A: Address, const N: usize> Search<'t, 'b, A, N> {
    #[inline(always)]
    fn new(tree: &'t Tree<'b, A>) -> Self {
        let left = [[(0, 0); N]; LEVELS];
        let prefetches = N > 1 && size_of_val(tree.groups) > LARGE_OCTETS;
        Self { tree, best: [NONE; N], top: [1; N], next: [0; N], left, prefetches }
    }
}

#[inline(always)]
fn some(best: u32) -> Option<u32> {
    if best == NONE { None } else { Some(best) }
}

/// [`Tree::find`], to be done in the way that suits the processor.
struct One<'t, 'b, A: Address, F, V, const ANY: bool> {
    tree: &'t Tree<'b, A>,
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
        let Self { tree, key, ask, filter, visits } = self;
        let mut search = Search::new(tree);
        let keys = core::slice::from_ref(key);
        search.run::<S, F, ANY>(keys, (ask, &filter), visits, |fan, top: &mut [u64; 1]| {
            *top = [fan.matches::<S>(key, ask)];
        });
        some(search.best[0])
    }
}

/// [`Tree::find_burst`], to be done in the way that suits the processor.
struct Many<'t, 'b, A: Address, T, const ANY: bool> {
    tree: &'t Tree<'b, A>,
    keys: &'t [Key<A>],
    tell: T,
}

impl<A: Address, T: FnMut(usize, Option<u32>), const ANY: bool> Job for Many<'_, '_, A, T, ANY> {
    type Answer = ();
    const SIXTEEN: bool = true;

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { tree, keys, mut tell } = self;
        let mut search = Search::new(tree);
        search.run::<S, Every, ANY>(keys, (Ask::All, &Every), &mut (), |fan, top| {
            fan.matches_burst::<S>(keys, top);
        });
        for (nth, best) in search.best.iter().enumerate().take(keys.len()) {
            tell(nth, some(*best));
        }
    }
}

impl<A: Address> Tree<'_, A> {
    /// True if a search visits no more than the bound says, whatever it asks for, and names boxes of the
    /// set only. `left`: groups that may still be met.
    ///
    /// # Bound
    /// `left` groups.
    pub(super) fn is_valid(&self, left: &mut usize) -> bool {
        let is_delta_valid = self.delta.is_none_or(|delta| {
            *left = left.saturating_sub(1);
            delta.indexes().all(|index| (index as usize) < self.boxes.len())
        });
        is_delta_valid && self.is_top_valid(left)
    }

    fn is_top_valid(&self, left: &mut usize) -> bool {
        if self.fans.is_empty() {
            return self.is_group_valid(self.root, self.levels, left);
        }
        self.fans.iter().all(|fan| {
            fan.firsts.is_sorted()
                && (0..fan.count() as u32).all(|child| {
                    self.is_group_valid(fan.children.wrapping_add(child), self.levels, left)
                })
        })
    }

    fn is_group_valid(&self, at: u32, level: usize, left: &mut usize) -> bool {
        let Some(group) = self.group(at) else { return false };
        *left = left.saturating_sub(1);
        let (used, _) = group.index.split_at(group.count().min(WIDTH));
        *left > 0
            && group.index.is_sorted()
            && match level.checked_sub(1) {
                None => used.iter().all(|index| (*index as usize) < self.boxes.len()),
                Some(below) => (0..used.len() as u32).all(|child| {
                    self.is_group_valid(group.children.wrapping_add(child), below, left)
                }),
            }
    }
}
