//! Sixteen boxes that a packet is compared with at once: leaves of a tree, and the nodes above them,
//! whose boxes are the bounds of what lies below.

use core::hint::select_unpredictable;
use core::mem::size_of;

use bytemuck::{Pod, Zeroable};

use super::block::{ADMITS_OPAQUE, Block, Boxed, Span, Wide};
use super::linear::{Key, Values};
use crate::headers::Endpoints;
use crate::prefetch;
use crate::simd::{Base, Ends, LANES, Simd};

/// No box.
pub(super) const NONE: u32 = u32::MAX;
/// Boxes of a group.
pub(super) const WIDTH: usize = LANES;
/// Remote and local address, remote and local port, protocol.
pub(super) const DIMENSIONS: usize = 5;

/// An address as trees compare it: 32 bits of it, through a [`Window`](Address::Window).
pub(crate) trait Address: Copy + Ord + Default + 'static {
    /// Which 32 bits.
    type Window: Copy;
    /// A window shows addresses whole: what it says needs no second look.
    const WHOLE: bool;
    /// Which of a tunnel's trees holds its boxes.
    const TREE: usize;

    /// Source and destination, if they are of this family.
    fn of(endpoints: Endpoints) -> Option<(Self, Self)>;
    /// Its boxes in a block.
    fn boxes<'b>(block: &Block<'b>) -> &'b [Boxed<Self>];
    /// The first of its boxes in a span, and how many.
    fn part(span: &Span) -> (u32, u32);

    /// A window in which all of the addresses lie.
    fn window(remote: (Self, Self), local: (Self, Self)) -> Self::Window;
    /// A window as blocks keep it.
    fn frame(window: &Self::Window) -> Frame;
    /// The window that was kept.
    fn framed(frame: &Frame) -> Self::Window;
    /// What a window shows of a remote and a local address: where each is, or the end of the window that
    /// is nearer to it. So what is in a range is shown in it; the reverse holds for [`View::is_exact`]
    /// and [`Address::is_exact`] only.
    fn project(window: &Self::Window, remote: Self, local: Self) -> View;
    /// The same of the remote address alone, which is number 0, or of the local one.
    fn seen(frame: &Frame, which: usize, addr: Self) -> u32;
    /// True if the window shows both ends of both ranges of a box.
    fn is_exact(window: &Self::Window, one: &Boxed<Self>) -> bool;
    /// Boxes as they are in memory.
    fn words(boxes: &[Boxed<Self>]) -> &[u32];
    /// A range so wide that it would keep a window from showing what others differ in.
    fn is_wide(lo: Self, hi: Self) -> bool;
    /// What a window shows of up to sixteen packets, as it lies in memory: both addresses, then [`Values`]; no addresses without a window. `room` is what it may be put in.
    #[inline(always)]
    fn rows<'k>(
        window: Option<&Self::Window>,
        keys: &'k [Key<Self>],
        room: &'k mut [[u32; 4]; LANES],
    ) -> &'k [[u32; 4]; LANES] {
        for (row, key) in room.iter_mut().zip(keys) {
            let view = match window {
                Some(window) => Self::project(window, key.remote, key.local),
                None => View::default(),
            };
            let [ports, last] = key.values.words();
            *row = [view.remote, view.local, ports, last];
        }
        room
    }
    /// The address as IPv6 has it.
    fn wide(self) -> Wide;
    /// A box covers a packet, or would if that had a value; without a branch.
    fn covers_value(one: &Boxed<Self>, key: &Key<Self>) -> bool;
    /// 0 if a box holds the addresses of a packet, as far as is compared at once; below 16.
    fn outside(one: &Boxed<Self>, key: &Key<Self>) -> u32;
    /// The same of four boxes: four bits each, the first one's lowest.
    #[inline(always)]
    fn outside_four(boxes: &[Boxed<Self>; 4], key: &Key<Self>) -> u32 {
        boxes.iter().rev().fold(0, |all, one| all << 4 | Self::outside(one, key))
    }
}

/// What a window shows of two addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct View {
    pub(super) remote: u32,
    pub(super) local: u32,
    /// Both addresses lie in the window.
    pub(super) is_exact: bool,
}

/// A window as blocks keep it: zeros for IPv4.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Frame {
    /// The upper 96 bits of the remote prefix, and of the local one.
    pub(super) prefixes: [[u32; 3]; 2],
    /// Bits that are cut off at the end, and [`LEAF`] beside the first of them.
    pub(super) shifts: [u8; 2],
    /// What is kept beside the window.
    pub(super) beside: u16,
}

impl Frame {
    /// The prefix of one side, and how many bits are cut off.
    #[inline(always)]
    fn side(&self, which: usize) -> (u128, u32) {
        let ([remote, local], [remote_shift, local_shift]) = (self.prefixes, self.shifts);
        let ([high, middle, low], shift) =
            if which == 0 { (remote, remote_shift) } else { (local, local_shift) };
        let below = u128::from(u64::from(middle) << 32 | u64::from(low)) << 32;
        (u128::from(high) << 96 | below, u32::from(shift & !LEAF))
    }
}

/// What one side of a window shows of an address, and whether that lies in it.
#[inline(always)]
fn show((base, shift): (u128, u32), addr: Wide) -> (u32, bool) {
    let addr = u128::from(addr);
    let seen = (addr ^ base) >> (shift & 127);
    let is_inside = seen >> 32 == 0;
    let end = if addr < base { 0 } else { u32::MAX };
    (if is_inside { seen as u32 } else { end }, is_inside)
}

/// A leaf's window.
pub(super) const LEAF: u8 = 0x80;

/// The bits below a common prefix, as many as have room.
#[derive(Clone, Copy, Default)]
pub(crate) struct Window {
    /// The common prefix of all remote addresses; zeros below.
    remote: u128,
    local: u128,
    /// Bits that are cut off at the end, up to 96.
    remote_shift: u32,
    local_shift: u32,
}

impl Address for u32 {
    /// An IPv4 address is shown whole.
    type Window = ();
    const WHOLE: bool = true;
    const TREE: usize = 0;

    #[inline(always)]
    fn of(endpoints: Endpoints) -> Option<(Self, Self)> {
        match endpoints {
            Endpoints::V4 { src, dst } => Some((src, dst)),
            Endpoints::V6 { .. } => None,
        }
    }

    #[inline(always)]
    fn boxes<'b>(block: &Block<'b>) -> &'b [Boxed<Self>] {
        block.boxes4
    }

    #[inline(always)]
    fn part(span: &Span) -> (u32, u32) {
        (span.first4, span.count4)
    }

    #[inline(always)]
    fn window(_remote: (Self, Self), _local: (Self, Self)) {}

    fn frame(_window: &()) -> Frame {
        Frame::default()
    }

    #[inline(always)]
    fn framed(_frame: &Frame) {}

    #[inline(always)]
    fn project(_window: &(), remote: Self, local: Self) -> View {
        View { remote, local, is_exact: true }
    }

    #[inline(always)]
    fn seen(_frame: &Frame, _which: usize, addr: Self) -> u32 {
        addr
    }

    /// As keys are.
    #[inline(always)]
    fn rows<'k>(
        _window: Option<&()>,
        keys: &'k [Key<Self>],
        room: &'k mut [[u32; 4]; LANES],
    ) -> &'k [[u32; 4]; LANES] {
        let rows: &[[u32; 4]] = bytemuck::cast_slice(keys);
        if let Some(rows) = rows.first_chunk() {
            return rows;
        }
        room.iter_mut().zip(rows).for_each(|(row, key)| *row = *key);
        room
    }

    fn is_exact(_window: &(), _one: &Boxed<Self>) -> bool {
        true
    }

    fn words(boxes: &[Boxed<Self>]) -> &[u32] {
        bytemuck::cast_slice(boxes)
    }

    fn is_wide(_lo: Self, _hi: Self) -> bool {
        false
    }

    #[inline(always)]
    fn wide(self) -> Wide {
        u128::from(self).into()
    }

    #[inline(always)]
    fn covers_value(one: &Boxed<Self>, key: &Key<Self>) -> bool {
        Base::outside_box(bytemuck::cast_ref(one), bytemuck::cast(*key)) == 0
    }

    #[inline(always)]
    fn outside(one: &Boxed<Self>, key: &Key<Self>) -> u32 {
        Base::outside(ends(one), [key.remote, key.remote, key.local, key.local])
    }

    #[inline(always)]
    fn outside_four([a, b, c, d]: &[Boxed<Self>; 4], key: &Key<Self>) -> u32 {
        let boxes = [ends(a), ends(b), ends(c), ends(d)];
        Base::outside_four(boxes, [key.remote, key.remote, key.local, key.local])
    }
}

/// Those of both addresses.
#[inline(always)]
fn ends(one: &Boxed<u32>) -> [u32; 4] {
    [one.remote_lo, one.remote_hi, one.local_lo, one.local_hi]
}

impl Address for Wide {
    type Window = Window;
    const WHOLE: bool = false;
    const TREE: usize = 1;

    #[inline(always)]
    fn of(endpoints: Endpoints) -> Option<(Self, Self)> {
        match endpoints {
            Endpoints::V4 { .. } => None,
            Endpoints::V6 { src, dst } => Some((src.into(), dst.into())),
        }
    }

    #[inline(always)]
    fn boxes<'b>(block: &Block<'b>) -> &'b [Boxed<Self>] {
        block.boxes6
    }

    #[inline(always)]
    fn part(span: &Span) -> (u32, u32) {
        (span.first6, span.count6)
    }

    fn window(remote: (Self, Self), local: (Self, Self)) -> Window {
        let prefix = |(lo, hi): (Self, Self)| {
            let (lo, hi) = (u128::from(lo), u128::from(hi));
            let bits = (u128::BITS - (lo ^ hi).leading_zeros()).max(u32::BITS);
            let below = u128::MAX.checked_shr(u128::BITS - bits).unwrap_or(0);
            (lo & !below, bits - u32::BITS)
        };
        let ((remote, remote_shift), (local, local_shift)) = (prefix(remote), prefix(local));
        Window { remote, local, remote_shift, local_shift }
    }

    fn frame(window: &Window) -> Frame {
        let upper =
            |prefix: u128| [(prefix >> 96) as u32, (prefix >> 64) as u32, (prefix >> 32) as u32];
        Frame {
            prefixes: [upper(window.remote), upper(window.local)],
            shifts: [window.remote_shift as u8, window.local_shift as u8],
            beside: 0,
        }
    }

    #[inline(always)]
    fn framed(frame: &Frame) -> Window {
        let ((remote, remote_shift), (local, local_shift)) = (frame.side(0), frame.side(1));
        Window { remote, local, remote_shift, local_shift }
    }

    #[inline(always)]
    fn project(window: &Window, remote: Self, local: Self) -> View {
        let (remote, remote_inside) = show((window.remote, window.remote_shift), remote);
        let (local, local_inside) = show((window.local, window.local_shift), local);
        View { remote, local, is_exact: remote_inside & local_inside }
    }

    #[inline(always)]
    fn seen(frame: &Frame, which: usize, addr: Self) -> u32 {
        let (seen, _) = show(frame.side(which), addr);
        seen
    }

    fn is_exact(window: &Window, one: &Boxed<Self>) -> bool {
        let cut = |shift: u32| (1_u128 << (shift & 127)) - 1;
        let exact = |lo: Self, hi: Self, cut: u128| {
            u128::from(lo) & cut == 0 && u128::from(hi) & cut == cut
        };
        Self::project(window, one.remote_lo, one.local_lo).is_exact
            && Self::project(window, one.remote_hi, one.local_hi).is_exact
            && exact(one.remote_lo, one.remote_hi, cut(window.remote_shift))
            && exact(one.local_lo, one.local_hi, cut(window.local_shift))
    }

    fn words(boxes: &[Boxed<Self>]) -> &[u32] {
        bytemuck::cast_slice(boxes)
    }

    /// Shorter than a /32, what a registry gives to a network.
    fn is_wide(lo: Self, hi: Self) -> bool {
        (u128::from(lo) ^ u128::from(hi)) >> 96 != 0
    }

    #[inline(always)]
    fn wide(self) -> Wide {
        self
    }

    #[inline(always)]
    fn covers_value(one: &Boxed<Self>, key: &Key<Self>) -> bool {
        let rest = Base::outside_rest(bytemuck::cast_ref(&one.rest), bytemuck::cast(key.values));
        let holds = |lo: Self, hi: Self, addr: Self| {
            let [lo, hi, addr] = [lo, hi, addr].map(u128::from);
            (lo <= addr) & (addr <= hi)
        };
        holds(one.remote_lo, one.remote_hi, key.remote)
            & holds(one.local_lo, one.local_hi, key.local)
            & (rest == 0)
    }

    #[inline(always)]
    fn outside(one: &Boxed<Self>, key: &Key<Self>) -> u32 {
        // Few prefixes are longer than 64 bits.
        let outside = |lo: Self, hi: Self, addr: Self| {
            let (lo, hi, addr) = (lo.high(), hi.high(), addr.high());
            (addr < lo) | (addr > hi)
        };
        let remote = outside(one.remote_lo, one.remote_hi, key.remote);
        u32::from(remote | outside(one.local_lo, one.local_hi, key.local))
    }
}

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

/// Up to 16 boxes, one array for each number of theirs; unused ones hold nothing. Eight cache lines, in
/// blocks that start at one.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Group {
    pub(super) remote_lo: [u32; WIDTH],
    pub(super) remote_hi: [u32; WIDTH],
    pub(super) local_lo: [u32; WIDTH],
    pub(super) local_hi: [u32; WIDTH],
    /// Remote and local.
    pub(super) ports_lo: [[u16; 2]; WIDTH],
    pub(super) ports_hi: [[u16; 2]; WIDTH],
    pub(super) protocol_lo: [u8; WIDTH],
    pub(super) protocol_hi: [u8; WIDTH],
    /// Of a leaf: positions among the boxes of the set; above: the first box below each child. Ascending.
    ///
    /// Behind them, above leaves: the first of the children, which are neighbours. Of a leaf of IPv4: what a
    /// search finds that no box holds, [`NONE`]; of IPv6: a bit for each box that the window shows exactly.
    pub(super) index: [u32; WIDTH + 1],
    /// Beside it a bit for each box that admits packets without a value.
    pub(super) frame: Frame,
}

const _: () = assert!(size_of::<Frame>() == 28);
const _: () = assert!(size_of::<Group>() == 512);

plain!(Frame, Group);

/// Bounds of boxes in every dimension, seen through a window; the lower one above the upper one for none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bounds {
    pub(super) lo: [u32; DIMENSIONS],
    pub(super) hi: [u32; DIMENSIONS],
    /// One of the boxes admits packets without a value.
    pub(super) opaque: bool,
    /// The first of the boxes.
    pub(super) first: u32,
}

impl Bounds {
    pub(super) const NONE: Self =
        Self { lo: [u32::MAX; DIMENSIONS], hi: [0; DIMENSIONS], opaque: false, first: u32::MAX };

    #[inline]
    pub(super) fn of<A: Address>(window: &A::Window, first: u32, one: &Boxed<A>) -> Self {
        let (lo, hi) = (
            A::project(window, one.remote_lo, one.local_lo),
            A::project(window, one.remote_hi, one.local_hi),
        );
        let rest = &one.rest;
        Self {
            lo: [
                lo.remote,
                lo.local,
                rest.remote_port_lo.into(),
                rest.local_port_lo.into(),
                rest.protocol_lo.into(),
            ],
            hi: [
                hi.remote,
                hi.local,
                rest.remote_port_hi.into(),
                rest.local_port_hi.into(),
                rest.protocol_hi.into(),
            ],
            opaque: rest.flags & ADMITS_OPAQUE != 0,
            first,
        }
    }

    /// Both ends in a dimension.
    #[inline]
    pub(super) fn range(&self, dimension: usize) -> Option<(u32, u32)> {
        self.lo.get(dimension).copied().zip(self.hi.get(dimension).copied())
    }

    #[inline]
    pub(super) fn join(&mut self, other: &Self) {
        let pairs = self.lo.iter_mut().zip(&mut self.hi).zip(other.lo.iter().zip(&other.hi));
        for ((lo, hi), (other_lo, other_hi)) in pairs {
            // OPAQUE ports hold no packet with a value.
            let some = other_lo <= other_hi;
            *lo = if some { (*lo).min(*other_lo) } else { *lo };
            *hi = if some { (*hi).max(*other_hi) } else { *hi };
        }
        self.opaque |= other.opaque;
        self.first = self.first.min(other.first);
    }
}

/// The window in which the boxes of a set lie, but for wide ranges if there are others.
pub(super) fn window_of<A: Address>(boxes: &[Boxed<A>], set: &[u32]) -> A::Window {
    let span = |range: fn(&Boxed<A>) -> (A, A)| {
        let (mut all, mut narrow) = (None, None);
        if !A::WHOLE {
            for one in set.iter().filter_map(|index| boxes.get(*index as usize)) {
                let (lo, hi) = range(one);
                let join = |span: Option<(A, A)>| match span {
                    Some((from, to)) => (from.min(lo), to.max(hi)),
                    None => (lo, hi),
                };
                all = Some(join(all));
                if !A::is_wide(lo, hi) {
                    narrow = Some(join(narrow));
                }
            }
        }
        narrow.or(all).unwrap_or_default()
    };
    let remote = span(|one| (one.remote_lo, one.remote_hi));
    A::window(remote, span(|one| (one.local_lo, one.local_hi)))
}

impl Group {
    /// A group without boxes that sees through a window.
    pub(super) fn new<A: Address>(window: &A::Window) -> Self {
        let none = [u32::MAX; WIDTH];
        Self {
            remote_lo: none,
            remote_hi: [0; WIDTH],
            local_lo: none,
            local_hi: [0; WIDTH],
            ports_lo: [[u16::MAX; 2]; WIDTH],
            ports_hi: [[0; 2]; WIDTH],
            protocol_lo: [u8::MAX; WIDTH],
            protocol_hi: [0; WIDTH],
            index: [NONE; WIDTH + 1],
            frame: A::frame(window),
        }
    }

    /// A leaf of the boxes with these numbers, ascending.
    pub(super) fn leaf<A: Address>(boxes: &[Boxed<A>], set: &[u32]) -> Option<Self> {
        let window = window_of(boxes, set);
        let mut leaf = Self::new::<A>(&window);
        leaf.frame.shifts[0] |= LEAF;
        let mut exact = 0;
        for (slot, index) in set.iter().enumerate() {
            let one = boxes.get(*index as usize)?;
            leaf.set(slot, &Bounds::of(&window, *index, one));
            exact |= u32::from(A::is_exact(&window, one)) << slot;
        }
        leaf.index[WIDTH] = if A::WHOLE { NONE } else { exact };
        Some(leaf)
    }

    /// Puts a box, or bounds of several, into a slot.
    pub(super) fn set(&mut self, slot: usize, bounds: &Bounds) {
        fn put<T>(array: &mut [T], slot: usize, value: T) {
            if let Some(cell) = array.get_mut(slot) {
                *cell = value;
            }
        }
        let (lo, hi) = (bounds.lo, bounds.hi);
        put(&mut self.remote_lo, slot, lo[0]);
        put(&mut self.remote_hi, slot, hi[0]);
        put(&mut self.local_lo, slot, lo[1]);
        put(&mut self.local_hi, slot, hi[1]);
        put(&mut self.ports_lo, slot, [lo[2] as u16, lo[3] as u16]);
        put(&mut self.ports_hi, slot, [hi[2] as u16, hi[3] as u16]);
        put(&mut self.protocol_lo, slot, lo[4] as u8);
        put(&mut self.protocol_hi, slot, hi[4] as u8);
        put(&mut self.index, slot, bounds.first);
        self.frame.beside |= u16::from(bounds.opaque) << slot;
    }

    /// Boxes themselves, not bounds of what is below.
    pub(super) fn is_leaf(&self) -> bool {
        self.frame.shifts[0] & LEAF != 0
    }

    /// Above leaves: the first of the children.
    #[inline(always)]
    pub(super) fn children(&self) -> u32 {
        self.index[WIDTH]
    }

    /// Says where the children are.
    pub(super) fn set_children(&mut self, first: u32) {
        self.index[WIDTH] = first;
    }

    /// A bit for each box that covers the packet in what is asked, as far as the window shows; and, in a
    /// leaf, a bit for each box of which that is all there is to say.
    #[inline(always)]
    pub(super) fn matches<S: Simd, A: Address>(&self, key: &Key<A>, ask: Ask) -> (u32, u32) {
        let view = A::project(&A::framed(&self.frame), key.remote, key.local);
        let exact = match A::WHOLE {
            true => u32::MAX,
            false => select_unpredictable(view.is_exact, self.index[WIDTH], 0),
        };
        (self.covering::<S>(view, &key.values, ask), exact)
    }

    #[inline(always)]
    fn covering<S: Simd>(&self, view: View, values: &Values, ask: Ask) -> u32 {
        let Values { protocol, remote, local, mask, .. } = *values;
        let (addresses, ports) = ([view.remote, view.local], [remote, local]);
        if !S::ONE_BY_ONE && ask == Ask::All {
            let ends = Ends {
                remote: [&self.remote_lo, &self.remote_hi],
                local: [&self.local_lo, &self.local_hi],
                ports: [&self.ports_lo, &self.ports_hi],
            };
            // No branch: whether packets have a value cannot be foreseen either.
            return S::hold_u8(&self.protocol_lo, &self.protocol_hi, protocol)
                & S::hold_all(ends, addresses, (ports, mask))
                & u32::from(self.frame.beside | mask);
        }
        let source = S::hold_u32(&self.remote_lo, &self.remote_hi, view.remote);
        if ask == Ask::Source || S::ONE_BY_ONE && source == 0 {
            return source;
        }
        let portless = source
            & S::hold_u32(&self.local_lo, &self.local_hi, view.local)
            & S::hold_u8(&self.protocol_lo, &self.protocol_hi, protocol);
        if ask == Ask::Portless || S::ONE_BY_ONE && portless == 0 {
            return portless;
        }
        portless
            & match values.has_value() {
                true => S::hold_pairs(&self.ports_lo, &self.ports_hi, ports),
                false => self.frame.beside.into(),
            }
    }

    /// The plain twin of [`Group::matches`] of a group above leaves: a bit for each child that holds what is seen
    /// of the remote and the local address.
    #[inline(never)]
    pub(super) fn holding(&self, seen: [u32; 2], values: &Values, ask: Ask) -> u32 {
        let covers = |slot: &usize| self.slot_covers(*slot, seen, values, ask);
        (0..WIDTH).filter(covers).fold(0, |mask, slot| mask | 1 << slot)
    }

    #[inline]
    fn slot_covers(
        &self,
        slot: usize,
        [remote, local]: [u32; 2],
        values: &Values,
        ask: Ask,
    ) -> bool {
        fn holds<T: Ord>(lo: &[T; WIDTH], hi: &[T; WIDTH], slot: usize, value: T) -> bool {
            let range = lo.get(slot).zip(hi.get(slot));
            range.is_some_and(|(lo, hi)| *lo <= value && value <= *hi)
        }
        let rest = || {
            holds(&self.local_lo, &self.local_hi, slot, local)
                && holds(&self.protocol_lo, &self.protocol_hi, slot, values.protocol)
        };
        let ports = || match values.has_value() {
            true => {
                let range = self.ports_lo.get(slot).zip(self.ports_hi.get(slot));
                range.is_some_and(|([remote_lo, local_lo], [remote_hi, local_hi])| {
                    *remote_lo <= values.remote
                        && values.remote <= *remote_hi
                        && *local_lo <= values.local
                        && values.local <= *local_hi
                })
            }
            false => self.frame.beside >> slot & 1 == 1,
        };
        holds(&self.remote_lo, &self.remote_hi, slot, remote)
            && (ask == Ask::Source || rest() && (ask == Ask::Portless || ports()))
    }

    /// Brings the group closer.
    #[inline(always)]
    pub(super) fn prefetch(&self) {
        let addresses = [&self.remote_lo, &self.remote_hi, &self.local_lo, &self.local_hi];
        addresses.into_iter().for_each(prefetch::read);
        // One of these in each cache line of the rest.
        [&self.ports_lo, &self.ports_hi].into_iter().for_each(prefetch::read);
        prefetch::read(&self.protocol_lo);
        prefetch::read(&self.frame);
    }

    /// The boxes of a leaf, but for those that were taken out.
    pub(super) fn indexes(&self) -> impl Iterator<Item = u32> {
        let ranges = self.remote_lo.iter().zip(&self.remote_hi).zip(&self.index);
        ranges.filter(|((lo, hi), _)| lo <= hi).map(|(_, index)| *index)
    }

    /// Takes boxes out: they hold nothing from now on.
    pub(super) fn blank(&mut self, is_out: impl Fn(u32) -> bool) {
        for ((lo, hi), index) in self.remote_lo.iter_mut().zip(&mut self.remote_hi).zip(&self.index)
        {
            if is_out(*index) {
                (*lo, *hi) = (u32::MAX, 0);
            }
        }
    }

    /// What a slot holds.
    pub(super) fn bounds(&self, slot: usize) -> Option<Bounds> {
        let pair = |pairs: &[[u16; 2]; WIDTH]| pairs.get(slot).map(|pair| pair.map(u32::from));
        let ([remote_lo, local_lo], [remote_hi, local_hi]) =
            (pair(&self.ports_lo)?, pair(&self.ports_hi)?);
        let (remote, local) = (self.remote_lo.get(slot)?, self.local_lo.get(slot)?);
        let protocol = u32::from(*self.protocol_lo.get(slot)?);
        let lo = [*remote, *local, remote_lo, local_lo, protocol];
        let (remote, local) = (self.remote_hi.get(slot)?, self.local_hi.get(slot)?);
        let protocol = u32::from(*self.protocol_hi.get(slot)?);
        let hi = [*remote, *local, remote_hi, local_hi, protocol];
        let opaque = self.frame.beside >> slot & 1 == 1;
        Some(Bounds { lo, hi, opaque, first: *self.index.get(slot)? })
    }

    /// Says of what lies below a slot and before it that it may start with this box.
    pub(super) fn start_with(&mut self, index: u32, slot: usize) {
        self.index.iter_mut().take(slot + 1).for_each(|first| *first = index.min(*first));
    }

    /// True if it names a box with this number or one behind.
    pub(super) fn reaches(&self, index: u32) -> bool {
        let reaches = |reaches, own: &u32| reaches | (*own >= index) & (*own != NONE);
        self.firsts().iter().fold(false, reaches)
    }

    /// Gives boxes other numbers, in the same order.
    pub(super) fn renumber(&mut self, number: impl Fn(u32) -> u32) {
        let used = self.index.iter_mut().take(WIDTH).filter(|index| **index != NONE);
        used.for_each(|index| *index = number(*index));
    }

    /// Positions of boxes, or the first one below each child.
    pub(super) fn firsts(&self) -> &[u32] {
        self.index.get(..WIDTH).unwrap_or(&[])
    }

    /// What stands behind the positions of a leaf can stand there.
    pub(super) fn ends_leaf<A: Address>(&self) -> bool {
        !A::WHOLE || self.index[WIDTH] == NONE
    }

    /// Boxes or children: those behind the last one name none.
    pub(super) fn count(&self) -> usize {
        self.firsts().iter().rposition(|index| *index != NONE).map_or(0, |last| last + 1)
    }
}
