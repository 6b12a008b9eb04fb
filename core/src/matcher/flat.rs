//! The search of a fan over boxes: sets of up to 1024 have no groups. The first box that masks leave is nearly always
//! the one that covers the packet; it is asked, and if it does not, the next.
//!
//! # Bound
//! A box whose ranges hold all of a packet's intervals covers the packet. So boxes that are asked in vain start or end
//! within one of them: of n boxes at most 2n/63 in each dimension, of addresses 2n/127 where there are more than
//! 512, of protocols 2n/15, together about a quarter of n, and of a fan that was patched as many more as came; in ClassBench lists of 1k 0.06 to 0.10 a packet. Each is
//! asked once, and beside them those that the filter does not take; up to five of them twice in a burst, in which a packet
//! that has none left asks one more.

use core::hint::select_unpredictable;

use super::fan::{BURST, Children, NO_CHILD, NO_ROWS, Open, Room};
use super::group::{Address, Ask, NONE};
use super::linear::Key;
use super::tree::{Each, Every, Filter, Tree, Visits, ones};
use crate::simd::{Simd, WORDS};

/// Boxes that the packets of a burst are asked for together, one of each packet in a round; who is left then is asked
/// alone.
const ROUNDS: usize = 4;

/// The first box that covers the packet in what is asked, and that `filter` takes; or [`NONE`].
#[inline(always)]
pub(super) fn first<S: Simd, A: Address, F: Filter>(
    (tree, fan): (&Tree<'_, A>, &Open<'_, A>),
    (key, ask, filter): (&Key<A>, Ask, &F),
    visits: &mut impl Visits,
) -> u32 {
    let Some(rows) = fan.rows_of::<S>(key, ask) else { return NONE };
    let Some(child) = fan.first_of::<S>(rows) else { return NONE };
    let mut asks = |child: u32| {
        visits.one();
        (tree.covers(child, key, ask) && filter.takes(child)).then_some(child)
    };
    if let Some(found) = asks(child) {
        return found;
    }
    // What is kept of the others is written down only now.
    let mut masks = Room::<WORDS>::new();
    let mut children: Children<'_, 1, WORDS> = Children::new(&mut masks);
    let _ = fan.children_of::<S>(rows, &mut children);
    while let (child, true) = children.take(0) {
        if let Some(found) = asks(child) {
            return found;
        }
    }
    NONE
}

/// [`first`] of up to 32 packets, all that covers them asked; or [`NONE`].
#[inline(always)]
pub(super) fn first_of_burst<S: Simd, A: Address>(
    (tree, fan): (&Tree<'_, A>, &Open<'_, A>),
    keys: &[Key<A>],
) -> [u32; BURST] {
    let (mut best, mut next, mut rows) = ([NONE; BURST], [NO_CHILD; BURST], NO_ROWS);
    if fan.rows_of_burst::<S>(keys, &mut rows).is_none() {
        return best;
    }
    fan.first_of_burst::<S>(&rows, keys.len(), &mut next);
    let mut missed = 0;
    // No branch: which of them have a box, and whether it is theirs, cannot be foreseen.
    for (nth, ((key, next), best)) in keys.iter().zip(&next).zip(&mut best).enumerate() {
        let (index, is_it) = ask(tree, fan, *next, key);
        *best = select_unpredictable(is_it, index, NONE);
        missed |= u32::from(!is_it) << nth;
    }
    let mut without = 0;
    for (nth, (next, best)) in next.iter().zip(&mut best).enumerate() {
        let is_none = *next == NO_CHILD;
        *best |= ones(is_none);
        without |= u32::from(is_none) << nth;
    }
    missed &= !without;
    for _ in 0..ROUNDS {
        if missed == 0 {
            return best;
        }
        fan.behind_of_burst::<S>(Each(missed), &rows, &mut next);
        for nth in Each(missed) {
            let (Some(key), Some(next), Some(best)) =
                (keys.get(nth), next.get(nth), best.get_mut(nth))
            else {
                break;
            };
            let (index, is_it) = ask(tree, fan, *next, key);
            let is_none = *next == NO_CHILD;
            *best = select_unpredictable(is_it & !is_none, index, NONE);
            missed ^= u32::from(is_it | is_none) << nth;
        }
    }
    for nth in Each(missed) {
        let (Some(key), Some(best)) = (keys.get(nth), best.get_mut(nth)) else { break };
        *best = first::<S, A, Every>((tree, fan), (key, Ask::All, &Every), &mut ());
    }
    best
}

/// The box that is a child, and whether it covers the packet. For [`NO_CHILD`] another one is asked, in the same steps.
#[inline(always)]
fn ask<A: Address>(tree: &Tree<'_, A>, fan: &Open<'_, A>, child: u32, key: &Key<A>) -> (u32, bool) {
    let child = child & fan.room().wrapping_sub(1);
    (child, tree.covers(child, key, Ask::All))
}
