//! What is configured and not yet published: slots of tunnels and Child SAs, and their selectors.

use bytemuck::Zeroable;

use crate::matcher::block::ChildRecord;
use crate::matcher::compile::{Source, Staged, same_selector};

/// Where a slot of a tunnel or Child SA is in its life.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Life {
    /// Never used: what zeroed memory says.
    Free = 0,
    /// Configured.
    Live = 1,
    /// Removed, but still in the published block.
    Removed = 2,
    /// Gone from the block; free when its epoch has passed.
    Retired = 3,
}

/// A tunnel in the staging area.
#[derive(Clone, Copy)]
pub(crate) struct TunnelStage {
    pub(super) life: Life,
    pub(super) generation: u32,
    pub(super) retired: u32,
    pub(super) children: u32,
    /// First and last Child SA, plus 1.
    pub(super) first: u32,
    pub(super) last: u32,
}

/// A Child SA in the staging area.
#[derive(Clone, Copy)]
pub(crate) struct ChildStage {
    pub(super) life: Life,
    pub(super) generation: u32,
    pub(super) retired: u32,
    pub(super) tunnel: u32,
    pub(super) published: u32,
    /// The next Child SA of the tunnel, plus 1.
    pub(super) next: u32,
    pub(super) class: u32,
    /// Its staged selectors.
    pub(super) first: u32,
    pub(super) count: u32,
    /// The largest hash of a selector: equal for equal sets.
    pub(super) digest: u64,
}

// SAFETY: integers and a `repr(u32)` enum whose 0 is `Free`; all zero is an unused slot.
#[allow(unsafe_code)]
unsafe impl Zeroable for TunnelStage {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Zeroable for ChildStage {}

/// What [`compile`](crate::matcher::compile) reads.
pub(super) struct Staging<'a> {
    pub(super) tunnels: &'a [TunnelStage],
    pub(super) children: &'a [ChildStage],
    pub(super) staged: &'a [Staged],
}

impl Source for Staging<'_> {
    fn tunnels(&self) -> u32 {
        self.tunnels.len() as u32
    }

    fn children(&self) -> u32 {
        self.children.len() as u32
    }

    fn of_tunnel(&self, tunnel: u32) -> impl Iterator<Item = (u32, ChildRecord, &[Staged])> {
        children_of(self.tunnels, self.children, tunnel).map(move |(index, child)| {
            let record = ChildRecord::new(child.generation, tunnel, child.class);
            (index, record, staged_of(self.staged, child.first, child.count))
        })
    }
}

/// The live Child SAs of a tunnel, in order.
pub(super) fn children_of<'a>(
    tunnels: &'a [TunnelStage],
    children: &'a [ChildStage],
    tunnel: u32,
) -> impl Iterator<Item = (u32, &'a ChildStage)> {
    let live = tunnels.get(tunnel as usize).filter(|stage| stage.life == Life::Live);
    let mut next = live.map_or(0, |stage| stage.first);
    core::iter::from_fn(move || {
        let index = next.checked_sub(1)?;
        let child = children.get(index as usize)?;
        next = child.next;
        Some((index, child))
    })
}

pub(super) fn staged_of(staged: &[Staged], first: u32, count: u32) -> &[Staged] {
    let first = first as usize;
    staged.get(first..first.saturating_add(count as usize)).unwrap_or(&[])
}

/// A hash of a staged selector, whatever Child SA it belongs to. It only saves comparisons.
pub(super) fn digest(one: &Staged) -> u64 {
    let mut own = *one;
    own.set_child(0);
    let words: &[u64] = bytemuck::cast_slice(core::slice::from_ref(&own));
    let mixed = words.iter().fold(0x9e37_79b9_7f4a_7c15_u64, |hash, word| {
        (hash ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29)
    });
    mixed ^ mixed >> 32
}

/// True if both lists hold the same selectors, however often, in any order.
///
/// # Bound
/// Quadratic in one Child SA's selectors, linear if they are in the same order.
pub(super) fn same_set(a: &[Staged], b: &[Staged]) -> bool {
    if a.len() == b.len() && a.iter().zip(b).all(|(one, other)| same_selector(one, other)) {
        return true;
    }
    let within = |these: &[Staged], those: &[Staged]| {
        these.iter().all(|one| those.iter().any(|other| same_selector(one, other)))
    };
    within(a, b) && within(b, a)
}
