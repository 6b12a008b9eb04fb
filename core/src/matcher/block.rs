//! The compiled selectors: one flat block of `repr(C)` arrays with offsets and no pointers.
//!
//! What a server publishes, what a firmware keeps in flash and what processes share is the same
//! block. Numbers are in the host's byte order; `MAGIC` read in the wrong order does not match.
//!
//! ```text
//! Header | tunnels x n | children x n | boxes 4 | boxes 6 | fans | rows | groups
//!            │   │         │             ▲                   ▲ │    ▲      ▲
//!            ├───┼─────────┴─ ranges ────┘                   │ └────┴──────┤
//!            └───┴─ tops of trees ───────────────────────────┴─────────────┘
//! ```
//!
//! Rows and groups start at a cache line if the block does.
//!
//! Boxes of a tunnel are contiguous and in configuration order, boxes of a Child SA contiguous in
//! its tunnel's: the first that covers a packet in that order is the first in SPD order.
//!
//! Invariants, tested by [`Block::parse`] (`validate`) before any use:
//! - I1: magic, format and length are right; every array lies in the block and is aligned.
//! - I2: the boxes of a tunnel lie in the arrays of boxes; those of a Child SA in its tunnel's.
//! - I3: every box names a Child SA of the block (or a place in the list that was compiled), and `lo <= hi` in both address ranges.
//! - I4: more than 32 boxes of a tunnel and family have a tree; searching it ends within its bound, and names
//!   boxes of its tunnel only.

use core::mem::{size_of, size_of_val};

use bytemuck::{Pod, Zeroable};

use super::group::Address;
use super::linear::{self, Key};
use super::patch::{Old, are_alike};
use super::set::Set;
use super::tree::{Arrays, Grown, LIST, Tree};
use super::walk::{self, Wanted};
use crate::prefetch;
use crate::selector::{AddrRange, PortRange, Selector};
use crate::simd::{Backend, COMPACT};

/// "espB" in the writer's byte order.
pub const MAGIC: u32 = 0x6573_7042;
/// Format of the block. A reader refuses any other.
pub const FORMAT: u32 = 8;

/// An array in the block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub(super) struct Section {
    /// Octets from the start of the block; a multiple of 8, of rows and groups one of 64.
    pub(super) offset: u32,
    /// Elements.
    pub(super) count: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: u32,
    pub(super) format: u32,
    /// Octets of the whole block.
    pub(super) octets: u32,
    /// The publication this block was compiled for.
    pub(super) version: u32,
    pub(super) tunnels: Section,
    pub(super) children: Section,
    pub(super) boxes4: Section,
    pub(super) boxes6: Section,
    pub(super) fans: Section,
    /// Words.
    pub(super) rows: Section,
    pub(super) groups: Section,
    /// Boxes name Child SAs, or places in a list, below this.
    pub(super) owners: u32,
    pub(super) reserved: [u32; 13],
}

/// Consecutive boxes of both families.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Span {
    pub(super) first4: u32,
    pub(super) count4: u32,
    pub(super) first6: u32,
    pub(super) count6: u32,
}

/// What the block knows of a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(super) struct TunnelRecord {
    pub(super) span: Span,
    /// The tree of its IPv4 boxes, and that of its IPv6 boxes.
    pub(super) trees: [Grown; 2],
}

/// What the block knows of a Child SA.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct ChildRecord {
    /// Odd while the Child SA is configured; an SA remembers the one it belongs to.
    pub(crate) generation: u32,
    /// Index of its tunnel.
    pub(crate) tunnel: u32,
    /// Equal for Child SAs of a tunnel with equal sets of selectors (rekey, RFC 9611).
    pub(crate) class: u32,
    /// In an image what applies to the tunnel, [`gateway::policy_word`](crate::gateway); 0: what its cell says.
    pub(crate) policy: u32,
    pub(super) span: Span,
}

impl ChildRecord {
    /// A record without boxes.
    pub(crate) fn new(generation: u32, tunnel: u32, class: u32) -> Self {
        Self { generation, tunnel, class, ..Self::default() }
    }

    /// The same, with what applies to the tunnel.
    #[cfg(feature = "alloc")]
    pub(crate) fn with_policy(self, policy: u32) -> Self {
        Self { policy, ..self }
    }
}

/// A 128-bit address as two words, so that its alignment is 8 on every target.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[repr(C)]
pub struct Wide {
    pub(super) high: u64,
    pub(super) low: u64,
}

impl Wide {
    /// The last address.
    pub(super) const MAX: Self = Self { high: u64::MAX, low: u64::MAX };

    #[inline(always)]
    pub(super) fn high(self) -> u64 {
        self.high
    }
}

impl From<u128> for Wide {
    #[inline]
    fn from(addr: u128) -> Self {
        Self { high: (addr >> 64) as u64, low: addr as u64 }
    }
}

impl From<Wide> for u128 {
    fn from(addr: Wide) -> Self {
        Self::from(addr.high) << 64 | Self::from(addr.low)
    }
}

/// One selector as inbound packets are compared with it: a box in five dimensions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Boxed<A> {
    pub(crate) remote_lo: A,
    pub(crate) remote_hi: A,
    pub(crate) local_lo: A,
    pub(crate) local_hi: A,
    pub(crate) rest: Rest,
}

/// What a box of either family holds beside addresses; 16 octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Rest {
    pub(super) remote_port_lo: u16,
    pub(super) remote_port_hi: u16,
    pub(super) local_port_lo: u16,
    pub(super) local_port_hi: u16,
    pub(super) protocol_lo: u8,
    pub(super) protocol_hi: u8,
    /// [`ADMITS_OPAQUE`] if a packet without a value matches; [`IPV6`] in the staging area.
    pub(super) flags: u8,
    pub(super) reserved: u8,
    /// Index of the Child SA.
    pub(super) child: u32,
}

pub(super) const ADMITS_OPAQUE: u8 = 1;
pub(super) const IPV6: u8 = 2;

/// A box of IPv4: 32 octets, half a cache line.
pub type Box4 = Boxed<u32>;
/// A box of IPv6: 80 octets.
pub type Box6 = Boxed<Wide>;

const _: () = assert!(size_of::<Header>() == 128);
const _: () = assert!(size_of::<Grown>() == 24);
const _: () = assert!(size_of::<TunnelRecord>() == 64);
const _: () = assert!(size_of::<ChildRecord>() == 32);
const _: () = assert!(size_of::<Box4>() == 32);
const _: () = assert!(size_of::<Box6>() == 80);

plain!(
    Section,
    Header,
    Span,
    Grown,
    TunnelRecord,
    ChildRecord,
    Wide,
    Rest,
    Boxed<u32>,
    Boxed<Wide>
);

impl<A> Boxed<A> {
    /// The box of a selector whose addresses are already in the block's form.
    pub(super) fn new(remote: (A, A), local: (A, A), selector: &Selector, child: u32) -> Self {
        let (protocol_lo, protocol_hi) = match selector.protocol {
            0 => (0, u8::MAX),
            one => (one, one),
        };
        let (remote_ports, local_ports) = (selector.remote_ports, selector.local_ports);
        let opaque = remote_ports.admits_opaque() && local_ports.admits_opaque();
        Self {
            remote_lo: remote.0,
            remote_hi: remote.1,
            local_lo: local.0,
            local_hi: local.1,
            rest: Rest {
                remote_port_lo: remote_ports.lo(),
                remote_port_hi: remote_ports.hi(),
                local_port_lo: local_ports.lo(),
                local_port_hi: local_ports.hi(),
                protocol_lo,
                protocol_hi,
                flags: if opaque { ADMITS_OPAQUE } else { 0 },
                reserved: 0,
                child,
            },
        }
    }

    /// Index of the Child SA that the box belongs to.
    #[inline]
    pub(crate) fn child(&self) -> u32 {
        self.rest.child
    }

    /// Gives the box to another Child SA.
    pub(crate) fn set_child(&mut self, child: u32) {
        self.rest.child = child;
    }
}

impl Rest {
    fn selector(&self, remote: AddrRange, local: AddrRange) -> Selector {
        let ports = |lo, hi| PortRange::new(lo, hi).unwrap_or(PortRange::OPAQUE);
        Selector {
            remote,
            local,
            protocol: if self.protocol_lo == self.protocol_hi { self.protocol_lo } else { 0 },
            remote_ports: ports(self.remote_port_lo, self.remote_port_hi),
            local_ports: ports(self.local_port_lo, self.local_port_hi),
        }
    }
}

impl Box4 {
    /// The selector that this box was compiled from.
    pub fn selector(&self) -> Selector {
        self.rest.selector(
            AddrRange::V4 { lo: self.remote_lo, hi: self.remote_hi },
            AddrRange::V4 { lo: self.local_lo, hi: self.local_hi },
        )
    }
}

impl Box6 {
    /// The selector that this box was compiled from.
    pub fn selector(&self) -> Selector {
        let range = |lo: Wide, hi: Wide| AddrRange::V6 { lo: lo.into(), hi: hi.into() };
        self.rest
            .selector(range(self.remote_lo, self.remote_hi), range(self.local_lo, self.local_hi))
    }
}

/// Why a block is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockError {
    /// Shorter than its header.
    Short,
    /// Not a block, or written on a machine of the other byte order.
    Magic,
    /// A format that this version does not read.
    Format {
        /// The format found.
        found: u32,
    },
    /// An array reaches out of the block, is not aligned, or the length is wrong.
    Bounds,
    /// A tunnel or Child SA names boxes that are not its own.
    Range {
        /// Index of the Child SA, or of the tunnel behind all Child SAs.
        record: u32,
    },
    /// The tree of a tunnel's boxes leads nowhere.
    Tree {
        /// Index of the tunnel.
        tunnel: u32,
    },
    /// A box names no Child SA or has a range that ends before it starts.
    Box {
        /// Its index; IPv6 boxes count behind the IPv4 ones.
        index: u32,
    },
}

impl core::fmt::Display for BlockError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Short => f.write_str("shorter than its header"),
            Self::Magic => f.write_str("not a selector block of this machine's byte order"),
            Self::Format { found } => write!(f, "format {found}, but this version reads {FORMAT}"),
            Self::Bounds => f.write_str("an array reaches out of the block"),
            Self::Range { record } => write!(f, "record {record} names boxes that are not its own"),
            Self::Tree { tunnel } => write!(f, "the tree of tunnel {tunnel} is not valid"),
            Self::Box { index } => write!(f, "box {index} is not valid"),
        }
    }
}

impl core::error::Error for BlockError {}

/// A view of a valid block.
#[derive(Clone, Copy, Default)]
pub struct Block<'b> {
    version: u32,
    octets: u32,
    owners: u32,
    pub(super) tunnels: &'b [TunnelRecord],
    pub(super) children: &'b [ChildRecord],
    pub(super) boxes4: &'b [Box4],
    pub(super) boxes6: &'b [Box6],
    pub(super) arrays: Arrays<'b>,
    backend: Backend,
}

impl<'b> Block<'b> {
    /// The block at the start of `words`, whose arrays are tested to lie in it (I1), but not what
    /// they say: for blocks that this process compiled. A wrong index is then still only "none".
    pub(crate) fn open(words: &'b [u64]) -> Result<Self, BlockError> {
        let octets: &[u8] = bytemuck::cast_slice(words);
        let header = octets.get(..size_of::<Header>()).ok_or(BlockError::Short)?;
        let header: &Header = bytemuck::try_from_bytes(header).map_err(|_| BlockError::Short)?;
        if header.magic != MAGIC {
            return Err(BlockError::Magic);
        }
        if header.format != FORMAT {
            return Err(BlockError::Format { found: header.format });
        }
        let octets = octets.get(..header.octets as usize).ok_or(BlockError::Bounds)?;
        Ok(Self {
            version: header.version,
            octets: header.octets,
            owners: header.owners,
            tunnels: section(octets, header.tunnels)?,
            children: section(octets, header.children)?,
            boxes4: section(octets, header.boxes4)?,
            boxes6: section(octets, header.boxes6)?,
            arrays: Arrays {
                groups: section(octets, header.groups)?,
                fans: section(octets, header.fans)?,
                rows: section(octets, header.rows)?,
            },
            backend: Backend::detect(),
        })
    }

    /// The publication that this block was compiled for.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Octets of the block.
    pub(crate) fn octets(&self) -> usize {
        self.octets as usize
    }

    /// True if the arrays are larger than a core's own caches usually are.
    #[inline]
    pub(crate) fn is_large(&self) -> bool {
        size_of_val(self.boxes4) + size_of_val(self.boxes6) + size_of_val(self.children)
            > LARGE_OCTETS
    }

    /// The record of a Child SA.
    #[inline]
    pub(crate) fn child(&self, index: u32) -> Option<&'b ChildRecord> {
        self.children.get(index as usize)
    }

    /// The boxes of one family in a span.
    #[inline(always)]
    fn part<A: Address>(&self, span: &Span) -> &'b [Boxed<A>] {
        let (first, count) = A::part(span);
        slice(A::boxes(self), first, count)
    }

    /// A tunnel's tree of one family, and its boxes.
    pub(super) fn old<A: Address>(&self, tunnel: usize) -> Option<Old<'b, A>> {
        let TunnelRecord { span, trees } = self.tunnels.get(tunnel)?;
        let grown = *trees.get(A::TREE)?;
        grown.is_some().then_some(Old { boxes: self.part(span), arrays: self.arrays, grown })
    }

    /// How many tunnels there are.
    pub(crate) fn tunnels(&self) -> usize {
        self.tunnels.len()
    }

    /// How many Child SAs there are, unused slots included.
    pub(crate) fn children(&self) -> usize {
        self.children.len()
    }

    /// How many boxes there are.
    pub(crate) fn boxes(&self) -> usize {
        self.boxes4.len() + self.boxes6.len()
    }

    /// The Child SAs of a tunnel, by number.
    pub(crate) fn children_of(&self, tunnel: u32) -> impl Iterator<Item = (u32, &'b ChildRecord)> {
        let all = (0..).zip(self.children);
        all.filter(move |(_, child)| child.generation & 1 == 1 && child.tunnel == tunnel)
    }

    /// The boxes of a Child SA, of both families.
    pub(super) fn boxes_of(&self, child: u32) -> (&'b [Box4], &'b [Box6]) {
        let record = self.child(child).filter(|child| child.generation & 1 == 1);
        let span = record.map_or_else(Span::default, |child| child.span);
        (self.part(&span), self.part(&span))
    }

    /// The selectors of a Child SA, those of IPv4 first.
    pub(crate) fn selectors_of(&self, child: u32) -> impl Iterator<Item = Selector> + use<'b> {
        let (four, six) = self.boxes_of(child);
        four.iter().map(Box4::selector).chain(six.iter().map(Box6::selector))
    }

    /// True if a Child SA has the same tunnel and selectors in both blocks, or is in neither.
    ///
    /// # Bound
    /// Linear in its boxes.
    pub(crate) fn has_same_child(&self, other: &Block<'_>, child: u32) -> bool {
        let tunnel = |block: &Block<'_>| block.child(child).map(|child| child.tunnel);
        let (own, others) = (self.boxes_of(child), other.boxes_of(child));
        tunnel(self) == tunnel(other)
            && are_alike(Address::words(own.0), Address::words(others.0))
            && are_alike(Address::words(own.1), Address::words(others.1))
    }

    /// What boxes name lies below this.
    pub(crate) fn owners(&self) -> u32 {
        self.owners
    }

    /// The boxes of a tunnel.
    #[inline]
    pub(crate) fn tunnel_boxes(&self, tunnel: u32) -> Boxes<'_, 'b> {
        let span = self.tunnels.get(tunnel as usize).map_or_else(Span::default, |one| one.span);
        Boxes { block: self, span, tunnel, child: None }
    }

    /// The boxes of a Child SA with this index.
    #[inline]
    pub(crate) fn child_boxes(&self, index: u32, child: &ChildRecord) -> Boxes<'_, 'b> {
        Boxes { block: self, span: child.span, tunnel: child.tunnel, child: Some(index) }
    }
}

/// Blocks above this are fetched ahead in bursts: half of the level 2 cache of common servers.
const LARGE_OCTETS: usize = 512 << 10;

/// The boxes of a tunnel or a Child SA. Which family is asked decides what is put together.
#[derive(Clone, Copy)]
pub(crate) struct Boxes<'s, 'b> {
    block: &'s Block<'b>,
    span: Span,
    tunnel: u32,
    /// The Child SA; `None` for all of the tunnel.
    child: Option<u32>,
}

impl<'b> Boxes<'_, 'b> {
    /// Those of one family.
    #[inline(always)]
    pub(crate) fn of<A: Address>(&self) -> Set<'b, A> {
        let own = self.block.part(&self.span);
        if own.len() <= LIST { Set::list(own) } else { self.searched(own) }
    }

    /// [`Set::any`] of one family; where the boxes are few, nothing leaves the registers.
    #[inline(always)]
    pub(super) fn any<A: Address>(self, key: Key<A>) -> bool {
        let Self { block, span, tunnel, child } = self;
        match block.part(&span) {
            list if list.len() <= LIST => linear::any(list, key),
            // One by one: what is handed over whole is put together in memory, for few boxes as well.
            _ => {
                let (remote, local, packed) = key.parts();
                Self::any_searched(block, span, (tunnel, child), remote, local, packed)
            }
        }
    }

    #[inline(never)]
    fn any_searched<A: Address>(
        block: &Block<'b>,
        span: Span,
        (tunnel, child): (u32, Option<u32>),
        remote: A,
        local: A,
        packed: u64,
    ) -> bool {
        Boxes { block, span, tunnel, child }.of().any(&Key::of_parts((remote, local, packed)))
    }

    /// [`Set::first`] of one family, as that.
    #[inline(always)]
    pub(super) fn first<A: Address>(
        self,
        key: Key<A>,
        accept: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let Self { block, span, tunnel, child } = self;
        match block.part(&span) {
            list if list.len() <= LIST => linear::first(list, &key, accept).map(Boxed::child),
            _ => {
                let (remote, local, packed) = key.parts();
                let own = (tunnel, child);
                Self::first_searched(block, span, own, remote, local, packed, accept)
            }
        }
    }

    #[inline(never)]
    fn first_searched<A: Address>(
        block: &Block<'b>,
        span: Span,
        (tunnel, child): (u32, Option<u32>),
        remote: A,
        local: A,
        packed: u64,
        accept: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let key = Key::of_parts((remote, local, packed));
        Boxes { block, span, tunnel, child }.of().first(&key, accept)
    }

    /// Those of one family, one after the other.
    #[inline(always)]
    pub(super) fn list<A: Address>(&self) -> &'b [Boxed<A>] {
        self.block.part(&self.span)
    }

    /// The boxes where they are few; `None`: they are more.
    #[inline(always)]
    pub(super) fn few<A: Address>(&self) -> Option<&'b [Boxed<A>]> {
        // Not `part`: what is not there is left to who takes longer.
        let (first, count) = A::part(&self.span);
        if count as usize > LIST {
            return None;
        }
        A::boxes(self.block).get(first as usize..)?.get(..count as usize)
    }

    /// The Child SA of the first box that is wanted, or of any such box. Every question of where code is to be small,
    /// compiled once. Calls are the last thing that is done: so they need no stack beside the caller's.
    #[inline]
    pub(super) fn search<A: Address>(&self, key: &Key<A>, wanted: &Wanted<'_>) -> Option<u32> {
        match A::part(&self.span).1 as usize > LIST {
            true => self.search_tree(key, wanted),
            false => self.search_list(key, wanted),
        }
    }

    #[inline(never)]
    fn search_list<A: Address>(&self, key: &Key<A>, wanted: &Wanted<'_>) -> Option<u32> {
        let mut own = self.block.part(&self.span);
        loop {
            let (found, behind) = linear::from_first(own, key, wanted.ask)?.split_first()?;
            if (wanted.accept)(found.child()) {
                return Some(found.child());
            }
            own = behind;
        }
    }

    /// [`Boxes::search`] in a tree, if there is one.
    #[inline(never)]
    fn search_tree<A: Address>(&self, key: &Key<A>, wanted: &Wanted<'_>) -> Option<u32> {
        let Some(tree) = self.tree() else { return self.search_list(key, wanted) };
        let found = walk::find(&tree, &self.block.arrays, key, wanted, &self.child, &mut ());
        found.and_then(|found| tree.boxes.get(found as usize)).map(Boxed::child)
    }

    /// Brings a list closer, or the tunnel's record.
    #[inline]
    pub(crate) fn prefetch(&self) {
        let block = self.block;
        if self.span.count4.max(self.span.count6) as usize > LIST {
            if let Some(tunnel) = block.tunnels.get(self.tunnel as usize) {
                prefetch::read(tunnel);
            }
            return;
        }
        fetch(Address::words(block.part::<u32>(&self.span)));
        fetch(Address::words(block.part::<Wide>(&self.span)));
    }

    /// The tree of the tunnel.
    #[inline(always)]
    fn tree<A: Address>(&self) -> Option<Tree<'b, A>> {
        let Block { tunnels, arrays, backend, .. } = *self.block;
        let tunnel = tunnels.get(self.tunnel as usize)?;
        let (all, grown) = (self.block.part(&tunnel.span), tunnel.trees.get(A::TREE)?);
        Tree::new(all, arrays, grown, backend)
    }

    /// A set with the tree of its tunnel. Not inlined: the way of small sets is to stay short.
    #[inline(never)]
    fn searched<A: Address>(&self, own: &'b [Boxed<A>]) -> Set<'b, A> {
        let tree = self.tree();
        match tree {
            // Who has all boxes need not be asked for.
            Some(tree) => {
                Set::searched(own, tree, self.child.filter(|_| own.len() < tree.boxes.len()))
            }
            None => Set::list(own),
        }
    }
}

/// Brings boxes closer, up to eight cache lines.
#[inline]
fn fetch(boxes: &[u32]) {
    boxes.iter().step_by(64 / size_of::<u32>()).take(8).for_each(prefetch::read);
}

#[inline]
fn slice<T>(all: &[T], first: u32, count: u32) -> &[T] {
    if COMPACT {
        // Sums of two such numbers take 64 bits.
        let rest = all.get(first as usize..).unwrap_or(&[]);
        return rest.get(..count as usize).unwrap_or(&[]);
    }
    let end = (first as usize).checked_add(count as usize);
    end.and_then(|end| all.get(first as usize..end)).unwrap_or(&[])
}

fn section<T: Pod>(octets: &[u8], section: Section) -> Result<&[T], BlockError> {
    let octets = part_of(octets, section, size_of::<T>()).ok_or(BlockError::Bounds)?;
    bytemuck::try_cast_slice(octets).map_err(|_| BlockError::Bounds)
}

/// So many values of a size. One body for all kinds of values.
#[inline(never)]
fn part_of(octets: &[u8], section: Section, size: usize) -> Option<&[u8]> {
    let length = (section.count as usize).checked_mul(size)?;
    octets.get(section.offset as usize..)?.get(..length)
}
