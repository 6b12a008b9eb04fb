//! The interval tree: which boxes of a large set cover a packet, without asking all of them.
//!
//! ```text
//! node    for each dimension: cuts c0 < c1 < ...   and a mask of children for each interval between
//!                             m0 | m1 | m2 ...     them: bit i = child i's bounds meet the interval
//!
//! search  children to visit = remote mask & local mask & protocol mask & both port masks,
//!                             each that of the packet's interval; then down to leaves of 16 boxes
//! ```
//!
//! A node has up to 64 children, so one word says which of them a packet can lie in, and ranks in five
//! short lists and four ANDs do for all of them what an R-tree does one by one (Guttman 1984). Children
//! stand in the order of their first boxes, so the search for the first box stops as soon as no
//! child can have an earlier one. Built top-down: halves by the dimension whose two bounding boxes
//! share the least (binned bounding volume hierarchies: Wald 2007), leaves full but for the last.
//!
//! A box is in one leaf only, whatever it overlaps: memory is linear.
//!
//! # Bound
//! Nodes visited: ceil(n/16)/64, and of each level above a 64th of that, and one; leaves: ceil(n/16);
//! boxes: n. A packet visits that many only in sets whose boxes nearly all meet at one point.

use core::marker::PhantomData;
use core::mem::size_of;

use bytemuck::{Pod, Zeroable};

use super::block::{ADMITS_OPAQUE, Boxed, Wide};
use super::linear::{Key, Values};
use super::order;
use crate::prefetch;
use crate::simd::{Backend, Job, LANES, STRIDE, Simd};

/// Boxes of a leaf.
pub(super) const LEAF: usize = LANES;
/// Children of a node.
pub(super) const CHILDREN: usize = 64;
/// Sets up to this many boxes have no tree.
pub(super) const SMALL: usize = 32;
/// Levels of nodes that 2^32 boxes take.
const LEVELS: usize = 5;
/// Words of nodes for each leaf of a tree, at most: a node takes 25 and 21 for each child, which is a
/// leaf but for one in 63, and the smallest tree has 3 leaves.
pub(super) const WORDS_PER_LEAF: usize = 31;
/// Packets that are searched for together.
pub(super) const BURST: usize = 32;
/// Remote and local address, protocol, remote and local port.
const DIMENSIONS: usize = 5;
/// Cuts of a dimension: where each child's bounds start and end.
const CUTS: usize = 2 * CHILDREN;

/// An address as the tree compares it.
pub(crate) trait Address: Copy + Ord + Default + Pod + Into<u128> {
    fn from_wide(value: u128) -> Self;
    /// One bit for each range that holds the address.
    fn hold<S: Simd>(lo: &[Self; LEAF], hi: &[Self; LEAF], value: Self) -> u32;
    /// How many of the ascending addresses are less than this one.
    fn rank<S: Simd>(addresses: &[Self], value: Self) -> usize;
}

impl Address for u32 {
    fn from_wide(value: u128) -> Self {
        value as u32
    }

    #[inline(always)]
    fn hold<S: Simd>(lo: &[Self; LEAF], hi: &[Self; LEAF], value: Self) -> u32 {
        S::hold_u32(lo, hi, value)
    }

    #[inline(always)]
    fn rank<S: Simd>(addresses: &[Self], value: Self) -> usize {
        S::rank_u32(addresses, value)
    }
}

impl Address for Wide {
    fn from_wide(value: u128) -> Self {
        value.into()
    }

    #[inline(always)]
    fn hold<S: Simd>(lo: &[Self; LEAF], hi: &[Self; LEAF], value: Self) -> u32 {
        S::hold_wide(lo, hi, value)
    }

    #[inline(always)]
    fn rank<S: Simd>(addresses: &[Self], value: Self) -> usize {
        addresses.partition_point(|address| *address < value)
    }
}

/// Up to 16 boxes, one array for each number of theirs, in configuration order.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Leaf<A> {
    remote_lo: [A; LEAF],
    remote_hi: [A; LEAF],
    local_lo: [A; LEAF],
    local_hi: [A; LEAF],
    remote_port_lo: [u16; LEAF],
    remote_port_hi: [u16; LEAF],
    local_port_lo: [u16; LEAF],
    local_port_hi: [u16; LEAF],
    protocol_lo: [u8; LEAF],
    protocol_hi: [u8; LEAF],
    /// Positions among the boxes of the set, ascending.
    index: [u32; LEAF],
    count: u32,
    /// A bit for each box that admits packets without a value.
    opaque: u32,
}

/// A leaf of IPv4 boxes: 488 octets.
pub(super) type Leaf4 = Leaf<u32>;
/// A leaf of IPv6 boxes: 1256 octets.
pub(super) type Leaf6 = Leaf<Wide>;

const _: () = assert!(size_of::<Leaf4>() == 488);
const _: () = assert!(size_of::<Leaf6>() == 1256);

plain!(Leaf<u32>, Leaf<Wide>, Spots);

/// What of a box must cover a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    /// All of it.
    All,
    /// All but its ports.
    Portless,
    /// The remote addresses.
    Source,
}

/// Counts what a search visits; `()` counts nothing and costs nothing.
pub(super) trait Visits {
    fn node(&mut self) {}
    fn leaf(&mut self) {}
}

impl Visits for () {}

impl<A: Address> Leaf<A> {
    fn empty() -> Self {
        let (none, ports) = ([A::default(); LEAF], [0; LEAF]);
        Self {
            remote_lo: none,
            remote_hi: none,
            local_lo: none,
            local_hi: none,
            remote_port_lo: ports,
            remote_port_hi: ports,
            local_port_lo: ports,
            local_port_hi: ports,
            protocol_lo: [0; LEAF],
            protocol_hi: [0; LEAF],
            index: [0; LEAF],
            count: 0,
            opaque: 0,
        }
    }

    /// A bit for each box that covers the packet in what is asked.
    #[inline(always)]
    fn matches<S: Simd>(&self, key: &Key<A>, ask: Ask) -> u32 {
        let Values { protocol, has_value, remote, local, .. } = key.values;
        let used = (1_u32 << (self.count as usize).min(LEAF)) - 1;
        let source = used & A::hold::<S>(&self.remote_lo, &self.remote_hi, key.remote);
        if source == 0 || ask == Ask::Source {
            return source;
        }
        let portless = source
            & A::hold::<S>(&self.local_lo, &self.local_hi, key.local)
            & S::hold_u8(&self.protocol_lo, &self.protocol_hi, protocol);
        if portless == 0 || ask == Ask::Portless {
            return portless;
        }
        if !has_value {
            return portless & self.opaque;
        }
        portless
            & S::hold_u16(&self.remote_port_lo, &self.remote_port_hi, remote)
            & S::hold_u16(&self.local_port_lo, &self.local_port_hi, local)
    }

    fn is_valid(&self, boxes: usize) -> bool {
        let used = self.index.get(..self.count as usize);
        used.is_some_and(|used| used.iter().all(|index| (*index as usize) < boxes))
    }

    fn set(&mut self, slot: usize, index: u32, one: &Boxed<A>) {
        fn put<T>(array: &mut [T; LEAF], slot: usize, value: T) {
            if let Some(cell) = array.get_mut(slot) {
                *cell = value;
            }
        }
        let rest = &one.rest;
        put(&mut self.remote_lo, slot, one.remote_lo);
        put(&mut self.remote_hi, slot, one.remote_hi);
        put(&mut self.local_lo, slot, one.local_lo);
        put(&mut self.local_hi, slot, one.local_hi);
        put(&mut self.remote_port_lo, slot, rest.remote_port_lo);
        put(&mut self.remote_port_hi, slot, rest.remote_port_hi);
        put(&mut self.local_port_lo, slot, rest.local_port_lo);
        put(&mut self.local_port_hi, slot, rest.local_port_hi);
        put(&mut self.protocol_lo, slot, rest.protocol_lo);
        put(&mut self.protocol_hi, slot, rest.protocol_hi);
        put(&mut self.index, slot, index);
        self.count = self.count.max(slot as u32 + 1);
        self.opaque |= u32::from(rest.flags & ADMITS_OPAQUE != 0) << slot;
    }
}

/// A node: its words and those behind it.
///
/// Words of a node: level and number of children; where the masks and the cuts of each dimension are, and
/// how many words the cuts take, in numbers of 16 bits; children and their first boxes; for each dimension
/// its masks; for each its cuts.
#[derive(Clone, Copy)]
struct Node<'b, A> {
    /// 0: the children are leaves.
    level: u32,
    /// Where each child is: number of a leaf, or first word of a node.
    children: &'b [u32],
    /// The first box of each child, ascending.
    firsts: &'b [u32],
    spots: &'b Spots,
    words: &'b [u64],
    family: PhantomData<A>,
}

/// Words in front of a node's arrays.
const HEAD: usize = 5;

/// Where the arrays of a node are, counted in words from its start.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Spots {
    masks: [u16; DIMENSIONS],
    cuts: [u16; DIMENSIONS],
    /// Words of cuts.
    len: [u16; DIMENSIONS],
    reserved: u16,
}

const _: () = assert!(size_of::<Spots>() == 8 * (HEAD - 1));

/// How large a node is.
#[derive(Clone, Copy)]
struct Shape {
    children: usize,
    cuts: [usize; DIMENSIONS],
}

impl Shape {
    /// Words that the cuts of a dimension take; the largest number fills the last ones.
    fn cut_words<A>(&self, dimension: usize) -> usize {
        let each = [size_of::<A>(), size_of::<A>(), 1, 2, 2];
        let (cuts, each) = (self.cuts.get(dimension), each.get(dimension));
        let octets = cuts.copied().unwrap_or(0) * each.copied().unwrap_or(0);
        octets.next_multiple_of(STRIDE) / 8
    }

    /// Where its arrays are, and its length.
    fn spots<A>(&self) -> (Spots, usize) {
        let mut spots = Spots::default();
        let mut end = HEAD + self.children;
        for (spot, cuts) in spots.masks.iter_mut().zip(self.cuts) {
            *spot = end as u16;
            end += cuts + 1;
        }
        for (dimension, (spot, len)) in spots.cuts.iter_mut().zip(&mut spots.len).enumerate() {
            *spot = end as u16;
            *len = self.cut_words::<A>(dimension) as u16;
            end += self.cut_words::<A>(dimension);
        }
        (spots, end)
    }
}

impl<'b, A: Address> Node<'b, A> {
    #[inline(always)]
    fn open(words: &'b [u64], at: u32) -> Option<Self> {
        let words = words.get(at as usize..)?;
        let (head, arrays) = words.split_first_chunk::<HEAD>()?;
        let [first, spots @ ..] = head;
        let children = (*first as u32 as usize).min(CHILDREN);
        let family: &[u32] = bytemuck::cast_slice(arrays.get(..children)?);
        let (children, firsts) = family.split_at_checked(children)?;
        let spots = bytemuck::cast_ref::<[u64; HEAD - 1], Spots>(spots);
        Some(Self {
            level: (first >> 32) as u32,
            children,
            firsts,
            spots,
            words,
            family: PhantomData,
        })
    }

    /// The mask of the interval of a dimension that `rank` finds among the cuts.
    #[inline(always)]
    fn mask<const DIMENSION: usize, T: Pod>(&self, rank: impl FnOnce(&[T]) -> usize) -> u64 {
        let Spots { masks, cuts, len, .. } = self.spots;
        let (masks, cuts) = (usize::from(masks[DIMENSION]), usize::from(cuts[DIMENSION]));
        let found = self
            .words
            .get(cuts..cuts + usize::from(len[DIMENSION]))
            .and_then(|cuts| self.words.get(masks + rank(bytemuck::try_cast_slice(cuts).ok()?)));
        found.copied().unwrap_or(0)
    }

    /// A bit for each child whose bounds hold the packet in what is asked.
    #[inline(always)]
    fn matches<S: Simd>(&self, key: &Key<A>, ask: Ask) -> u64 {
        let source = self.mask::<0, A>(|cuts| A::rank::<S>(cuts, key.remote));
        if ask == Ask::Source {
            return source;
        }
        let Values { protocol, remote, local, has_value, .. } = key.values;
        let portless = source
            & self.mask::<1, A>(|cuts| A::rank::<S>(cuts, key.local))
            & self.mask::<2, u8>(|cuts| S::rank_u8(cuts, protocol));
        // A packet without a value lies in no interval of ports.
        if ask == Ask::Portless || !has_value {
            return portless;
        }
        portless
            & self.mask::<3, u16>(|cuts| S::rank_u16(cuts, remote))
            & self.mask::<4, u16>(|cuts| S::rank_u16(cuts, local))
    }
}

/// The tree of one set of boxes, in the arrays of all sets.
#[derive(Clone, Copy)]
pub(crate) struct Tree<'b, A> {
    pub(super) nodes: &'b [u64],
    pub(super) leaves: &'b [Leaf<A>],
    /// First word of the top node.
    pub(super) root: u32,
    pub(super) backend: Backend,
}

impl<'b, A: Address> Tree<'b, A> {
    /// The first box that covers the packet in what is asked, and that `accept` takes; any such box if
    /// `ANY`.
    #[inline]
    pub(super) fn find<const ANY: bool>(
        &self,
        key: &Key<A>,
        ask: Ask,
        accept: impl Fn(u32) -> bool,
        visits: &mut impl Visits,
    ) -> Option<u32> {
        self.backend.run(One::<'_, '_, A, _, _, ANY> { tree: self, key, ask, accept, visits })
    }

    /// [`Tree::find`] for up to 32 packets, all that covers them asked.
    #[inline]
    pub(super) fn find_burst<'k, const ANY: bool>(
        &self,
        keys: impl Iterator<Item = (usize, &'k Key<A>)> + Clone,
        tell: impl FnMut(usize, Option<u32>),
    ) where
        A: 'k,
    {
        self.backend.run(Many::<'_, '_, A, _, _, ANY> { tree: self, keys, tell });
    }

    #[inline(always)]
    fn top(&self) -> Option<Node<'b, A>> {
        Node::open(self.nodes, self.root)
    }

    /// Brings the first child closer.
    #[inline(always)]
    fn prefetch(&self, node: &Node<'_, A>, mask: u64) {
        let Some(at) = node.children.get(mask.trailing_zeros() as usize) else { return };
        if node.level > 0 {
            if let Some(words) = self.nodes.get(*at as usize..) {
                prefetch::lines(words, 4);
            }
        } else if let Some(leaf) = self.leaves.get(*at as usize) {
            for addresses in [&leaf.remote_lo, &leaf.remote_hi, &leaf.local_lo, &leaf.local_hi] {
                prefetch::lines(addresses, 4);
            }
            for ports in [&leaf.remote_port_lo, &leaf.local_port_lo] {
                prefetch::lines(ports, 1);
            }
        }
    }

    /// The search among the children of a node that a mask leaves.
    #[inline(always)]
    fn find_below<S: Simd, const ANY: bool>(
        &self,
        top: Node<'b, A>,
        mask: u64,
        key: &Key<A>,
        ask: Ask,
        accept: impl Fn(u32) -> bool,
        visits: &mut impl Visits,
    ) -> Option<u32> {
        let mut best: Option<u32> = None;
        let (mut node, mut mask) = (top, mask);
        let mut above: heapless::Vec<(Node<'_, A>, u64), LEVELS> = heapless::Vec::new();
        loop {
            let child = mask.trailing_zeros() as usize;
            let first = node.firsts.get(child).copied();
            // None left, or none that could hold an earlier box.
            if first.is_none_or(|first| best.is_some_and(|best| first >= best)) {
                let Some(parent) = above.pop() else { return best };
                (node, mask) = parent;
                continue;
            }
            mask &= mask - 1;
            let Some(at) = node.children.get(child).copied() else { continue };
            if node.level > 0 {
                let Some(below) = Node::open(self.nodes, at) else { continue };
                // Levels go down, so that the search ends whatever the words are.
                if below.level >= node.level || above.push((node, mask)).is_err() {
                    continue;
                }
                visits.node();
                mask = below.matches::<S>(key, ask);
                node = below;
                continue;
            }
            let Some(leaf) = self.leaves.get(at as usize) else { continue };
            visits.leaf();
            let mut matches = leaf.matches::<S>(key, ask);
            while let Some(index) = leaf.index.get(matches.trailing_zeros() as usize) {
                matches &= matches - 1;
                if best.is_some_and(|best| *index >= best) {
                    break;
                }
                if accept(*index) {
                    best = Some(*index);
                    break;
                }
            }
            if ANY && best.is_some() {
                return best;
            }
        }
    }
}

/// [`Tree::find`], to be done in the way that suits the processor.
struct One<'t, 'b, A, F, V, const ANY: bool> {
    tree: &'t Tree<'b, A>,
    key: &'t Key<A>,
    ask: Ask,
    accept: F,
    visits: &'t mut V,
}

impl<A: Address, F: Fn(u32) -> bool, V: Visits, const ANY: bool> Job for One<'_, '_, A, F, V, ANY> {
    type Answer = Option<u32>;

    #[inline(always)]
    fn run<S: Simd>(self) -> Option<u32> {
        let Self { tree, key, ask, accept, visits } = self;
        let top = tree.top()?;
        visits.node();
        let mask = top.matches::<S>(key, ask);
        tree.find_below::<S, ANY>(top, mask, key, ask, accept, visits)
    }
}

/// [`Tree::find_burst`], to be done in the way that suits the processor.
struct Many<'t, 'b, A, K, T, const ANY: bool> {
    tree: &'t Tree<'b, A>,
    keys: K,
    tell: T,
}

impl<'k, A, K, T, const ANY: bool> Job for Many<'_, '_, A, K, T, ANY>
where
    A: Address + 'k,
    K: Iterator<Item = (usize, &'k Key<A>)> + Clone,
    T: FnMut(usize, Option<u32>),
{
    type Answer = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { tree, keys, mut tell } = self;
        let Some(top) = tree.top() else { return };
        let mut masks: heapless::Vec<u64, BURST> = heapless::Vec::new();
        for (_, key) in keys.clone() {
            let mask = top.matches::<S>(key, Ask::All);
            tree.prefetch(&top, mask);
            // As many as there is room for.
            let _ = masks.push(mask);
        }
        for ((nth, key), mask) in keys.zip(&masks) {
            let found = tree.find_below::<S, ANY>(top, *mask, key, Ask::All, |_| true, &mut ());
            tell(nth, found);
        }
    }
}

impl<A: Address> Tree<'_, A> {
    /// True if a search visits no more than the bound says, whatever it asks for, and names boxes of the
    /// set only. `left`: children that may still be met.
    ///
    /// # Bound
    /// `left` children.
    pub(super) fn is_valid(&self, boxes: usize, left: &mut usize) -> bool {
        self.is_node_valid(self.root, LEVELS as u32, boxes, left)
    }

    fn is_node_valid(&self, at: u32, above: u32, boxes: usize, left: &mut usize) -> bool {
        let Some(node) = Node::<A>::open(self.nodes, at) else { return false };
        node.level < above
            && node.firsts.is_sorted()
            && node.children.iter().all(|child| {
                *left = left.saturating_sub(1);
                *left > 0
                    && match node.level {
                        0 => self
                            .leaves
                            .get(*child as usize)
                            .is_some_and(|leaf| leaf.is_valid(boxes)),
                        level => self.is_node_valid(*child, level, boxes, left),
                    }
            })
    }
}

/// Where trees are built: what is left of the arrays.
pub(super) struct Builder<'b, A> {
    pub(super) nodes: &'b mut [u64],
    pub(super) nodes_end: usize,
    pub(super) leaves: &'b mut [Leaf<A>],
    pub(super) leaves_end: usize,
    /// One number for each box of the largest set.
    pub(super) scratch: &'b mut [u32],
}

/// Bounds of boxes in every dimension; the lower one above the upper one for none.
#[derive(Clone, Copy)]
struct Bounds {
    lo: [u128; DIMENSIONS],
    hi: [u128; DIMENSIONS],
}

impl Bounds {
    const NONE: Self = Self { lo: [u128::MAX; DIMENSIONS], hi: [0; DIMENSIONS] };

    fn of<A: Address>(one: &Boxed<A>) -> Self {
        let rest = &one.rest;
        let (ports, local_ports) =
            ((rest.remote_port_lo, rest.remote_port_hi), (rest.local_port_lo, rest.local_port_hi));
        let lo = [
            one.remote_lo.into(),
            one.local_lo.into(),
            rest.protocol_lo.into(),
            ports.0.into(),
            local_ports.0.into(),
        ];
        let hi = [
            one.remote_hi.into(),
            one.local_hi.into(),
            rest.protocol_hi.into(),
            ports.1.into(),
            local_ports.1.into(),
        ];
        Self { lo, hi }
    }

    fn join(&mut self, other: &Self) {
        let pairs = self.lo.iter_mut().zip(&mut self.hi).zip(other.lo.iter().zip(&other.hi));
        for ((lo, hi), (other_lo, other_hi)) in pairs {
            // OPAQUE ports hold no packet with a value.
            if other_lo <= other_hi {
                *lo = (*lo).min(*other_lo);
                *hi = (*hi).max(*other_hi);
            }
        }
    }

    fn holds(&self, point: &[u128; DIMENSIONS]) -> bool {
        let pairs = self.lo.iter().zip(&self.hi).zip(point);
        pairs.fold(true, |holds, ((lo, hi), at)| holds & (lo <= at) & (at <= hi))
    }
}

/// What boxes are ordered by to halve a set: the middle of each dimension, and how much of the remote
/// and the local addresses they cover, which keeps wide boxes together.
const KEYS: usize = DIMENSIONS + 2;

fn order_key<A: Address>(one: &Boxed<A>, by: usize) -> u128 {
    let Bounds { lo, hi } = Bounds::of(one);
    let at = |from: &[u128; DIMENSIONS], by: usize| from.get(by).copied().unwrap_or(0);
    match by.checked_sub(DIMENSIONS) {
        None => at(&lo, by) / 2 + at(&hi, by) / 2,
        Some(by) => at(&hi, by).saturating_sub(at(&lo, by)),
    }
}

/// Boxes of a set that are looked at to choose by what to halve it.
const SAMPLES: usize = 64;

/// The order whose halves share least: at how many sampled points would both have to be searched?
fn best_order<A: Address>(boxes: &[Boxed<A>], set: &[u32], left: usize) -> usize {
    let step = set.len().div_ceil(SAMPLES);
    let sample = || {
        let places = (0..SAMPLES).map(|nth| nth * step).take_while(|place| *place < set.len());
        places.filter_map(|place| {
            let index = *set.get(place)?;
            Some((index, boxes.get(index as usize)?))
        })
    };
    let size = sample().count();
    let left = (left * size / set.len().max(1)).min(size.saturating_sub(1)).max(1);
    // A search of one half costs about as the root of its size.
    let (left_cost, right_cost) = (left.isqrt() as u64 + 1, (size - left).isqrt() as u64 + 1);
    let mut sorted: heapless::Vec<(u128, u32), SAMPLES> = heapless::Vec::new();
    let cost = |by: &usize| {
        sorted.clear();
        // As many as the sample has room for.
        let _ = sample().try_for_each(|(index, one)| sorted.push((order_key(one, *by), index)));
        order::sort(&mut sorted, |pair| *pair);
        let mut halves = [Bounds::NONE; 2];
        for (nth, (_, index)) in sorted.iter().enumerate() {
            if let (Some(one), Some(half)) =
                (boxes.get(*index as usize), halves.get_mut(usize::from(nth >= left)))
            {
                half.join(&Bounds::of(one));
            }
        }
        let [left, right] = halves;
        sample().enumerate().fold(0_u64, |cost, (nth, (_, one))| {
            let Bounds { lo, hi } = Bounds::of(one);
            // A corner, the other one, or the middle.
            let point = core::array::from_fn(|dimension| {
                let at = |from: &[u128; DIMENSIONS]| from.get(dimension).copied().unwrap_or(0);
                match nth % 3 {
                    0 => at(&lo),
                    1 => at(&hi),
                    _ => at(&lo) / 2 + at(&hi) / 2,
                }
            });
            cost + left_cost * u64::from(left.holds(&point))
                + right_cost * u64::from(right.holds(&point))
        })
    };
    (0..KEYS).min_by_key(cost).unwrap_or(0)
}

/// Brings a set into the order of the leaves: halves it by the best order, at a power of two of leaves,
/// so that the children of a node are one part of it.
fn split<A: Address>(boxes: &[Boxed<A>], set: &mut [u32]) {
    if set.len() <= LEAF {
        return;
    }
    let leaves = set.len().div_ceil(LEAF);
    let left = LEAF * (leaves.next_power_of_two() / 2);
    let by = best_order(boxes, set, left);
    let key = |index: &u32| (boxes.get(*index as usize).map(|one| order_key(one, by)), *index);
    if left < set.len() {
        order::halve(set, left, key);
    }
    if let Some((left, right)) = set.split_at_mut_checked(left) {
        split(boxes, left);
        split(boxes, right);
    }
}

/// A child of a node that is built.
#[derive(Clone, Copy)]
struct Child {
    first: u32,
    at: u32,
    bounds: Bounds,
}

/// Where the bounds of children start and end: each interval between two of these, the upper one
/// included, lies in a child's bounds or outside.
fn cuts(children: &[Child], dimension: usize, most: u128) -> heapless::Vec<u128, CUTS> {
    let mut cuts: heapless::Vec<u128, CUTS> = heapless::Vec::new();
    for Child { bounds, .. } in children {
        let (Some(lo), Some(hi)) = (bounds.lo.get(dimension), bounds.hi.get(dimension)) else {
            continue;
        };
        if lo > hi {
            continue;
        }
        for cut in [lo.checked_sub(1), Some(*hi).filter(|hi| *hi < most)].into_iter().flatten() {
            if !cuts.contains(&cut) {
                // Two for each child are room enough.
                let _ = cuts.push(cut);
            }
        }
    }
    order::sort(&mut cuts, |cut| *cut);
    cuts
}

/// The next words of a node that is built.
struct Pen<'b>(&'b mut [u64]);

impl<'b> Pen<'b> {
    fn take<T: Pod>(&mut self, words: usize) -> Option<&'b mut [T]> {
        let (taken, rest) = core::mem::take(&mut self.0).split_at_mut_checked(words)?;
        self.0 = rest;
        bytemuck::try_cast_slice_mut(taken).ok()
    }
}

impl<A: Address> Builder<'_, A> {
    /// Builds the tree of a set; where its top node is. `None` if the arrays end. The same set gives the
    /// same words.
    ///
    /// # Bound
    /// O(n log n) in time on average, 24 KiB of stack.
    pub(super) fn build(&mut self, boxes: &[Boxed<A>]) -> Option<u32> {
        for (slot, index) in self.scratch.get_mut(..boxes.len())?.iter_mut().zip(0..) {
            *slot = index;
        }
        split(boxes, self.scratch.get_mut(..boxes.len())?);
        let first_leaf = self.leaves_end;
        self.fill_leaves(boxes)?;
        let leaves = self.leaves_end - first_leaf;
        let (mut level, mut below) = (0, leaves);
        loop {
            let nodes = below.div_ceil(CHILDREN);
            for node in 0..nodes {
                let from = node * CHILDREN;
                let mut children: heapless::Vec<Child, CHILDREN> = heapless::Vec::new();
                for nth in from..below.min(from + CHILDREN) {
                    let at = match level {
                        0 => (first_leaf + nth) as u32,
                        _ => *self.scratch.get(nth)?,
                    };
                    let each = CHILDREN.checked_pow(level)?;
                    let end = leaves.min((nth + 1) * each);
                    let leaves = self.leaves.get(first_leaf + nth * each..first_leaf + end)?;
                    children.push(child(at, leaves, boxes)).ok()?;
                }
                order::sort(&mut children, |child| (child.first, child.at));
                // Children of later nodes stand behind.
                *self.scratch.get_mut(node)? = self.node(level, &children)?;
            }
            if nodes <= 1 {
                return self.scratch.first().copied();
            }
            below = nodes;
            level += 1;
        }
    }

    /// Leaves of one node stand in the order of their first boxes.
    fn fill_leaves(&mut self, boxes: &[Boxed<A>]) -> Option<()> {
        let order = self.scratch.get_mut(..boxes.len())?;
        for group in order.chunks_mut(LEAF * CHILDREN) {
            let mut firsts: heapless::Vec<(u32, usize), CHILDREN> = heapless::Vec::new();
            for (nth, leaf) in group.chunks_mut(LEAF).enumerate() {
                order::sort(leaf, |index| *index);
                firsts.push((*leaf.first()?, nth)).ok()?;
            }
            order::sort(&mut firsts, |first| *first);
            for (_, nth) in &firsts {
                let leaf = self.leaves.get_mut(self.leaves_end)?;
                *leaf = Leaf::empty();
                for (slot, index) in group.get(nth * LEAF..)?.iter().take(LEAF).enumerate() {
                    leaf.set(slot, *index, boxes.get(*index as usize)?);
                }
                self.leaves_end += 1;
            }
        }
        Some(())
    }

    fn node(&mut self, level: u32, children: &[Child]) -> Option<u32> {
        let wide = u128::MAX >> (128 - 8 * size_of::<A>());
        let most = [wide, wide, 0xff, 0xffff, 0xffff];
        let count = |dimension: usize| {
            cuts(children, dimension, most.get(dimension).copied().unwrap_or(0)).len()
        };
        let shape = Shape { children: children.len(), cuts: core::array::from_fn(count) };
        let (spots, len) = shape.spots::<A>();
        let at = self.nodes_end;
        let end = at.checked_add(len)?;
        let mut pen = Pen(self.nodes.get_mut(at..end)?);
        let (first, head) = pen.take::<u64>(HEAD)?.split_first_mut()?;
        *first = u64::from(level) << 32 | children.len() as u64;
        let spots: [u64; HEAD - 1] = bytemuck::cast(spots);
        head.iter_mut().zip(spots).for_each(|(word, spot)| *word = spot);
        let family = pen.take::<u32>(children.len())?;
        for (nth, child) in children.iter().enumerate() {
            *family.get_mut(nth)? = child.at;
            *family.get_mut(children.len() + nth)? = child.first;
        }
        for (dimension, most) in most.into_iter().enumerate() {
            let cuts = cuts(children, dimension, most);
            let ends = cuts.iter().copied().chain([most]);
            for (mask, end) in pen.take::<u64>(cuts.len() + 1)?.iter_mut().zip(ends) {
                *mask = children.iter().enumerate().fold(0, |mask, (nth, child)| {
                    let (lo, hi) = (child.bounds.lo.get(dimension), child.bounds.hi.get(dimension));
                    mask | u64::from(lo <= Some(&end) && Some(&end) <= hi) << nth
                });
            }
        }
        for (dimension, most) in most.into_iter().enumerate() {
            let cuts = cuts(children, dimension, most);
            let words = shape.cut_words::<A>(dimension);
            match dimension {
                0 | 1 => write(pen.take(words)?, &cuts, most, A::from_wide),
                2 => write(pen.take(words)?, &cuts, most, |cut| cut as u8),
                _ => write(pen.take(words)?, &cuts, most, |cut| cut as u16),
            }
        }
        self.nodes_end = end;
        u32::try_from(at).ok()
    }
}

fn write<T>(cells: &mut [T], cuts: &[u128], most: u128, narrow: impl Fn(u128) -> T) {
    for (cell, cut) in cells.iter_mut().zip(cuts.iter().copied().chain(core::iter::repeat(most))) {
        *cell = narrow(cut);
    }
}

fn child<A: Address>(at: u32, leaves: &[Leaf<A>], boxes: &[Boxed<A>]) -> Child {
    let mut child = Child { first: u32::MAX, at, bounds: Bounds::NONE };
    for leaf in leaves {
        for index in leaf.index.iter().take(leaf.count as usize) {
            child.first = child.first.min(*index);
            if let Some(one) = boxes.get(*index as usize) {
                child.bounds.join(&Bounds::of(one));
            }
        }
    }
    child
}
