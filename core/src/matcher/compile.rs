//! Compiles the configured selectors into a block. Configuration flow.

use core::mem::size_of;

use bytemuck::{Pod, Zeroable};

use super::block::{
    Block, Box4, Box6, Boxed, ChildRecord, FORMAT, Header, IPV6, MAGIC, Section, Span,
    TunnelRecord, Wide,
};
use super::fan::Fan;
use super::group::Group;
use super::grow::{Builder, scratch_for};
use super::tree::{Grown, LIST, Shape};
use crate::error::SetupError;
use crate::selector::{AddrRange, Selector};
use crate::storage::Capacity;

/// A selector in the staging area: both families in the wide form, with a flag.
pub(crate) type Staged = Box6;

/// The staged form of a selector.
pub(crate) fn stage(selector: &Selector, child: u32) -> Staged {
    let wide = |range: &AddrRange| match *range {
        AddrRange::V4 { lo, hi } => (Wide::from(u128::from(lo)), Wide::from(u128::from(hi))),
        AddrRange::V6 { lo, hi } => (lo.into(), hi.into()),
    };
    let mut staged = Boxed::new(wide(&selector.remote), wide(&selector.local), selector, child);
    if matches!(selector.remote, AddrRange::V6 { .. }) {
        staged.rest.flags |= IPV6;
    }
    staged
}

/// What a staged selector says, beside the Child SA it belongs to, as octets that are the same on every host.
#[cfg(feature = "alloc")]
pub(crate) fn octets_of(one: &Staged, mut write: impl FnMut(&[u8])) {
    for addr in [one.remote_lo, one.remote_hi, one.local_lo, one.local_hi] {
        write(&u128::from(addr).to_le_bytes());
    }
    let rest = &one.rest;
    let ports = [rest.remote_port_lo, rest.remote_port_hi, rest.local_port_lo, rest.local_port_hi];
    for port in ports {
        write(&port.to_le_bytes());
    }
    write(&[rest.protocol_lo, rest.protocol_hi, rest.flags]);
}

/// True if two staged selectors are equal but for the Child SA they belong to.
pub(crate) fn same_selector(a: &Staged, b: &Staged) -> bool {
    let mut b = *b;
    b.rest.child = a.rest.child;
    *a == b
}

fn narrow(staged: &Staged) -> Box4 {
    let v4 = |addr: Wide| u128::from(addr) as u32;
    Boxed {
        remote_lo: v4(staged.remote_lo),
        remote_hi: v4(staged.remote_hi),
        local_lo: v4(staged.local_lo),
        local_hi: v4(staged.local_hi),
        rest: staged.rest,
    }
}

/// Words of a block for a capacity, at its largest: all selectors IPv6.
pub(crate) fn words_for(capacity: &Capacity) -> Result<usize, SetupError> {
    let Capacity { tunnels, children, selectors, .. } = *capacity;
    words(tunnels.into(), children.into(), selectors.into())
}

/// Words of a block for a list of selectors.
pub(crate) fn words_for_list(selectors: usize) -> Result<usize, SetupError> {
    words(1, 1, selectors as u64)
}

/// Words of a block of so many lists, each in place of a tunnel, with so many selectors together.
#[cfg(feature = "alloc")]
pub(crate) fn words_for_lists(lists: usize, selectors: usize) -> Result<usize, SetupError> {
    let short = |count| u32::try_from(count).map_err(|_| SetupError::TooLarge);
    let (lists, selectors) = (short(lists)?, short(selectors)?);
    words(lists.into(), lists.into(), selectors.into())
}

fn words(tunnels: u64, children: u64, selectors: u64) -> Result<usize, SetupError> {
    let octets = size_of::<Header>() as u64
        + tunnels * size_of::<TunnelRecord>() as u64
        + children * size_of::<ChildRecord>() as u64
        + selectors * size_of::<Box6>() as u64
        + tree_octets(tunnels, selectors);
    // Offsets in the block have 32 bits.
    if octets > u64::from(u32::MAX) {
        return Err(SetupError::TooLarge);
    }
    usize::try_from(octets / 8).map_err(|_| SetupError::TooLarge)
}

/// Octets that the trees of so many selectors take at most, and what building them takes beside.
fn tree_octets(tunnels: u64, selectors: u64) -> u64 {
    // A tunnel has one of each family, of more boxes than a list.
    let trees = (selectors / (LIST as u64 + 1)).min(2 * tunnels);
    if trees == 0 {
        return 0;
    }
    // And what does not end with a cache line.
    trees * TREE_OCTETS + selectors * (BOX_OCTETS + SCRATCH_OCTETS) + 3 * LINE as u64
}

/// What a tree takes at most, its groups, its fan and their rows, beside [`BOX_OCTETS`].
pub(super) const TREE_OCTETS: u64 = 2048;
/// For each box of a tree.
pub(super) const BOX_OCTETS: u64 = 108;
/// What a tree is built in, for each of its boxes: at most.
pub(super) const SCRATCH_OCTETS: u64 = 8;

const LINE: usize = 64;

/// What the compiler is given: tunnels in order, each with its Child SAs in order.
pub(crate) trait Source {
    /// Tunnel slots.
    fn tunnels(&self) -> u32;
    /// Child SA slots.
    fn children(&self) -> u32;
    /// What selectors may name as their Child SA: below this.
    fn owners(&self) -> u32 {
        self.children()
    }
    /// The record (without boxes) and the staged selectors of a tunnel's Child SAs, in order.
    fn of_tunnel(&self, tunnel: u32) -> impl Iterator<Item = (u32, ChildRecord, &[Staged])>;
}

/// Compiles `source` into `words`. The same source gives the same octets; how many. `None` if it does not
/// fit, which a capacity that the source respects excludes.
///
/// # Bound
/// Two passes over the selectors; O(n log n) on average for those of a tunnel with more than 32.
pub(crate) fn compile(source: &impl Source, version: u32, words: &mut [u64]) -> Option<usize> {
    fill(source, version, None, words).map(|octets| octets as usize)
}

/// [`compile`], with the trees of an older block where few of a tunnel's selectors changed. Answers are
/// the same, octets may differ.
///
/// # Bound
/// Linear in the selectors; for each that came, in the leaves of its tree; for tunnels of which more came or went than
/// [`most_changes`](super::tree::most_changes) since their tree was built, as [`compile`].
pub(crate) fn recompile(
    source: &impl Source,
    version: u32,
    old: &[u64],
    words: &mut [u64],
) -> Option<usize> {
    let old = Block::open(old).ok();
    // Patched trees may take more room than new ones.
    let filled = fill(source, version, old, words).or_else(|| fill(source, version, None, words));
    filled.map(|octets| octets as usize)
}

fn fill(
    source: &impl Source,
    version: u32,
    old: Option<Block<'_>>,
    words: &mut [u64],
) -> Option<u32> {
    let is_large = |boxes: &usize| *boxes > LIST;
    let mut counts = Counts::default();
    for tunnel in 0..source.tunnels() {
        let (mut count4, mut count6) = (0_u32, 0_u32);
        for (child, record, staged) in source.of_tunnel(tunnel) {
            let six = match kept(old.as_ref(), child, &record) {
                Some((_, six)) => six.len(),
                None => staged.iter().filter(|one| one.rest.flags & IPV6 != 0).count(),
            };
            count6 = count6.checked_add(six as u32)?;
            count4 = count4.checked_add(staged.len().checked_sub(six)? as u32)?;
        }
        counts.boxes4 = counts.boxes4.checked_add(count4)?;
        counts.boxes6 = counts.boxes6.checked_add(count6)?;
        let (count4, count6) = (count4 as usize, count6 as usize);
        let shapes = [(count4, Shape::of::<u32>(count4)), (count6, Shape::of::<Wide>(count6))];
        for (count, shape) in shapes.iter().filter(|(count, _)| is_large(count)) {
            counts.fans += 1;
            counts.rows = counts.rows.checked_add(shape.layout.size() as u32)?;
            counts.scratch = counts.scratch.max(scratch_for(*count, shape));
        }
    }
    let mut end = size_of::<Header>() as u32;
    let mut place = |count: u32, size: usize| {
        let section = Section { offset: end, count };
        end = count.checked_mul(size as u32).and_then(|octets| end.checked_add(octets))?;
        Some(section)
    };
    let mut header = Header {
        magic: MAGIC,
        format: FORMAT,
        octets: 0,
        version,
        tunnels: place(source.tunnels(), size_of::<TunnelRecord>())?,
        children: place(source.children(), size_of::<ChildRecord>())?,
        boxes4: place(counts.boxes4, size_of::<Box4>())?,
        boxes6: place(counts.boxes6, size_of::<Box6>())?,
        fans: place(counts.fans, size_of::<Fan>())?,
        rows: Section::default(),
        groups: Section::default(),
        owners: source.owners(),
        reserved: [0; 13],
    };
    let octets: &mut [u8] = bytemuck::cast_slice_mut(words);
    let (head, octets) = octets.split_at_mut_checked(size_of::<Header>())?;
    let (tunnels, octets) = take::<TunnelRecord>(octets, header.tunnels.count)?;
    let (children, octets) = take::<ChildRecord>(octets, header.children.count)?;
    let (all4, octets) = take::<Box4>(octets, counts.boxes4)?;
    let (all6, octets) = take::<Box6>(octets, counts.boxes6)?;
    let (fans, octets) = take::<Fan>(octets, counts.fans)?;
    // Whole cache lines from here on, if the block starts at one.
    let lines = if counts.fans == 0 && counts.scratch == 0 { 1 } else { LINE as u32 };
    let gap = end.next_multiple_of(lines) - end;
    end += gap;
    let (gap, octets) = octets.split_at_mut_checked(gap as usize)?;
    gap.fill(0);
    header.rows = Section { offset: end, count: counts.rows };
    end = end.checked_add(counts.rows.checked_mul(size_of::<u64>() as u32)?)?;
    let (rows, octets) = take::<u64>(octets, counts.rows)?;
    children.fill(ChildRecord::default());
    place_boxes(source, old.as_ref(), (tunnels, children), (all4, all6))?;

    // The end of the memory, which is not part of the block, is what trees are built in.
    let groups = octets.len().checked_sub((counts.scratch * 4).next_multiple_of(8))?;
    let (groups, scratch) = octets.split_at_mut_checked(groups)?;
    let room = u32::try_from(groups.len() / size_of::<Group>()).ok()?;
    let (groups, _) = take::<Group>(groups, room)?;
    let mut builder = Builder {
        groups,
        groups_end: 0,
        fans,
        fans_end: 0,
        rows,
        rows_end: 0,
        scratch: bytemuck::try_cast_slice_mut(scratch).ok()?,
    };
    for (nth, tunnel) in tunnels.iter_mut().enumerate() {
        let Span { first4, count4, first6, count6 } = tunnel.span;
        let (four, six) = (all4.get(first4 as usize..)?, all6.get(first6 as usize..)?);
        let (four, six) = (four.get(..count4 as usize)?, six.get(..count6 as usize)?);
        if is_large(&four.len()) {
            tunnel.trees[0] = builder.renew(old.and_then(|old| old.old(nth)), four)?;
        }
        if is_large(&six.len()) {
            tunnel.trees[1] = builder.renew(old.and_then(|old| old.old(nth)), six)?;
        }
    }
    // A patched tree may have come to a size at which a new one has a larger fan.
    builder.fans.get_mut(builder.fans_end..)?.fill(Zeroable::zeroed());
    builder.rows.get_mut(builder.rows_end..)?.fill(0);
    let count = u32::try_from(builder.groups_end).ok()?;
    header.groups = Section { offset: end, count };
    header.octets = end.checked_add(count.checked_mul(size_of::<Group>() as u32)?)?;
    head.copy_from_slice(bytemuck::bytes_of(&header));
    Some(header.octets)
}

/// Elements of the arrays of a block.
#[derive(Default)]
struct Counts {
    boxes4: u32,
    boxes6: u32,
    fans: u32,
    /// Words of all fans.
    rows: u32,
    /// Numbers that building the largest tree takes.
    scratch: usize,
}

/// The boxes of a Child SA that an older block holds: its selectors stay what they are as long as its generation does.
fn kept<'b>(
    old: Option<&Block<'b>>,
    child: u32,
    record: &ChildRecord,
) -> Option<(&'b [Box4], &'b [Box6])> {
    let is_it = |own: &&ChildRecord| own.generation == record.generation;
    old.filter(|old| old.child(child).filter(is_it).is_some()).map(|old| old.boxes_of(child))
}

/// Lays the boxes out, tunnel after tunnel, and says where they are.
fn place_boxes(
    source: &impl Source,
    old: Option<&Block<'_>>,
    (tunnels, children): (&mut [TunnelRecord], &mut [ChildRecord]),
    (all4, all6): (&mut [Box4], &mut [Box6]),
) -> Option<()> {
    let (mut next4, mut next6) = (0, 0);
    for (tunnel, record) in tunnels.iter_mut().enumerate() {
        let (first4, first6) = (next4, next6);
        for (child, mut known, staged) in source.of_tunnel(tunnel as u32) {
            let (from4, from6) = (next4, next6);
            if let Some((four, six)) = kept(old, child, &known) {
                (next4, next6) = (next4 + put(all4, next4, four)?, next6 + put(all6, next6, six)?);
            } else {
                for one in staged {
                    if one.rest.flags & IPV6 != 0 {
                        let slot = all6.get_mut(next6 as usize)?;
                        *slot = *one;
                        slot.rest.flags &= !IPV6;
                        next6 += 1;
                    } else {
                        *all4.get_mut(next4 as usize)? = narrow(one);
                        next4 += 1;
                    }
                }
            }
            known.span =
                Span { first4: from4, count4: next4 - from4, first6: from6, count6: next6 - from6 };
            *children.get_mut(child as usize)? = known;
        }
        let span = Span { first4, count4: next4 - first4, first6, count6: next6 - first6 };
        *record = TunnelRecord { span, trees: [Grown::NONE; 2] };
    }
    Some(())
}

/// Copies boxes to a place; how many.
fn put<T: Copy>(all: &mut [T], first: u32, boxes: &[T]) -> Option<u32> {
    let room = all.get_mut(first as usize..)?.get_mut(..boxes.len())?;
    // `copy_from_slice` can panic.
    room.iter_mut().zip(boxes).for_each(|(slot, one)| *slot = *one);
    Some(boxes.len() as u32)
}

fn take<T: Pod>(octets: &mut [u8], count: u32) -> Option<(&mut [T], &mut [u8])> {
    let length = (count as usize).checked_mul(size_of::<T>())?;
    let (head, rest) = octets.split_at_mut_checked(length)?;
    Some((bytemuck::try_cast_slice_mut(head).ok()?, rest))
}
