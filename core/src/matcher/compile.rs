//! Compiles the configured selectors into a block. Configuration flow.

use core::mem::size_of;

use bytemuck::Pod;

use super::block::{
    Box4, Box6, Boxed, ChildRecord, FORMAT, Header, IPV6, MAGIC, Section, Span, Wide,
};
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
    let octets = size_of::<Header>() as u64
        + u64::from(capacity.tunnels) * size_of::<Span>() as u64
        + u64::from(capacity.children) * size_of::<ChildRecord>() as u64
        + u64::from(capacity.selectors) * size_of::<Box6>() as u64;
    // Offsets in the block have 32 bits.
    if octets > u64::from(u32::MAX) {
        return Err(SetupError::TooLarge);
    }
    usize::try_from(octets / 8).map_err(|_| SetupError::TooLarge)
}

/// What the compiler is given: tunnels in order, each with its Child SAs in order.
pub(crate) trait Source {
    /// Tunnel slots.
    fn tunnels(&self) -> u32;
    /// Child SA slots.
    fn children(&self) -> u32;
    /// The record (without boxes) and the staged selectors of a tunnel's Child SAs, in order.
    fn of_tunnel(&self, tunnel: u32) -> impl Iterator<Item = (u32, ChildRecord, &[Staged])>;
}

/// Compiles `source` into `words`. The same source gives the same octets. False if it does not
/// fit, which a capacity that the source respects excludes.
///
/// # Bound
/// Two passes over the selectors.
pub(crate) fn compile(source: &impl Source, version: u32, words: &mut [u64]) -> bool {
    fill(source, version, words).is_some()
}

fn fill(source: &impl Source, version: u32, words: &mut [u64]) -> Option<()> {
    let (mut count4, mut count6) = (0_u32, 0_u32);
    for tunnel in 0..source.tunnels() {
        for (_, _, staged) in source.of_tunnel(tunnel) {
            let six = staged.iter().filter(|one| one.rest.flags & IPV6 != 0).count() as u32;
            count6 = count6.checked_add(six)?;
            count4 = count4.checked_add((staged.len() as u32).checked_sub(six)?)?;
        }
    }
    let mut end = size_of::<Header>() as u32;
    let mut place = |count: u32, size: usize| {
        let section = Section { offset: end, count };
        end = count.checked_mul(size as u32).and_then(|octets| end.checked_add(octets))?;
        Some(section)
    };
    let tunnels = place(source.tunnels(), size_of::<Span>())?;
    let children = place(source.children(), size_of::<ChildRecord>())?;
    let boxes4 = place(count4, size_of::<Box4>())?;
    let boxes6 = place(count6, size_of::<Box6>())?;
    let header = Header {
        magic: MAGIC,
        format: FORMAT,
        octets: end,
        version,
        tunnels,
        children,
        boxes4,
        boxes6,
        reserved: [0; 4],
    };
    let octets: &mut [u8] = bytemuck::cast_slice_mut(words);
    let (head, octets) =
        octets.get_mut(..end as usize)?.split_at_mut_checked(size_of::<Header>())?;
    head.copy_from_slice(bytemuck::bytes_of(&header));
    let (tunnel_records, octets) = take::<Span>(octets, tunnels.count)?;
    let (child_records, octets) = take::<ChildRecord>(octets, children.count)?;
    let (all4, octets) = take::<Box4>(octets, count4)?;
    let (all6, _) = take::<Box6>(octets, count6)?;
    child_records.fill(ChildRecord::default());

    let (mut next4, mut next6) = (0, 0);
    for (tunnel, record) in tunnel_records.iter_mut().enumerate() {
        let (first4, first6) = (next4, next6);
        for (child, mut known, staged) in source.of_tunnel(tunnel as u32) {
            let (from4, from6) = (next4, next6);
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
            known.span =
                Span { first4: from4, count4: next4 - from4, first6: from6, count6: next6 - from6 };
            *child_records.get_mut(child as usize)? = known;
        }
        *record = Span { first4, count4: next4 - first4, first6, count6: next6 - first6 };
    }
    Some(())
}

fn take<T: Pod>(octets: &mut [u8], count: u32) -> Option<(&mut [T], &mut [u8])> {
    let length = (count as usize).checked_mul(size_of::<T>())?;
    let (head, rest) = octets.split_at_mut_checked(length)?;
    Some((bytemuck::try_cast_slice_mut(head).ok()?, rest))
}
