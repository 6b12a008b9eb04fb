//! Orders small lists and halves large ones, without a panic: the standard library's sorts keep one for
//! orders that contradict themselves, and a library for bare metal must not.

use core::cell::Cell;
use core::cmp::Ordering;
use core::hint::select_unpredictable;

/// `Cell::swap` panics where cells overlap.
fn swap<T: Copy>(one: &Cell<T>, other: &Cell<T>) {
    let kept = one.get();
    one.set(other.get());
    other.set(kept);
}

/// What entries are compared with, in each pass one that is closer (Ciura 2001).
const GAPS: [usize; 8] = [701, 301, 132, 57, 23, 10, 4, 1];

/// Brings a list of up to a few thousand entries into the order of their keys (Shell 1959). Equal keys end
/// in any order, the same for the same list.
///
/// # Bound
/// Quadratic.
pub(super) fn sort<T: Copy, K: Ord>(list: &mut [T], key: impl Fn(&T) -> K) {
    let cells = Cell::from_mut(list).as_slice_of_cells();
    for gap in GAPS {
        for end in gap..cells.len() {
            let mut at = end;
            while let Some(before) = at.checked_sub(gap) {
                let (Some(front), Some(own)) = (cells.get(before), cells.get(at)) else { break };
                if key(&front.get()) <= key(&own.get()) {
                    break;
                }
                swap(front, own);
                at = before;
            }
        }
    }
}

/// Brings each column of 32 rows into order, all of them at once and without a branch: with Batcher's merge exchange
/// (1968), which compares the same places whatever is there.
pub(super) fn sort_columns(rows: &mut [[[i32; 4]; 3]; 32]) {
    let rows = Cell::from_mut(&mut rows[..]).as_slice_of_cells();
    let mut part = rows.len() / 2;
    while part > 0 {
        let (mut wide, mut remainder, mut gap) = (rows.len() / 2, 0, part);
        loop {
            for (at, (one, other)) in rows.iter().zip(rows.iter().skip(gap)).enumerate() {
                if at & part == remainder {
                    let (mut less, mut more) = (one.get(), other.get());
                    for (less, more) in less.iter_mut().zip(&mut more) {
                        let ([a, b, c, d], [e, f, g, h]) = (*less, *more);
                        *less = [a.min(e), b.min(f), c.min(g), d.min(h)];
                        *more = [a.max(e), b.max(f), c.max(g), d.max(h)];
                    }
                    one.set(less);
                    other.set(more);
                }
            }
            if wide <= part {
                break;
            }
            (gap, remainder, wide) = (wide - part, part, wide / 2);
        }
        part /= 2;
    }
}

/// Lists of fewer entries are left to [`sort`].
const SHORT: usize = 24;

/// [`sort`] for lists of any length (Hoare 1962).
///
/// # Bound
/// O(n log n) on average, whatever the order before: places to divide at are drawn as [`halve`] draws them. The
/// longer of two parts waits, so that few do.
pub(super) fn sort_long<T: Copy, K: Ord>(list: &mut [T], key: impl Fn(&T) -> K) {
    let mut waiting: [&mut [T]; usize::BITS as usize] =
        core::array::from_fn(|_| Default::default());
    let (mut part, mut depth, mut random) = (list, 0_usize, SEED);
    loop {
        let cells = Cell::from_mut(&mut *part).as_slice_of_cells();
        let pivot = if cells.len() < SHORT { None } else { draw(cells, &mut random) };
        let Some(pivot) = pivot else {
            sort(part, &key);
            let Some(next) = depth.checked_sub(1) else { return };
            depth = next;
            part = waiting.get_mut(next).map(core::mem::take).unwrap_or_default();
            continue;
        };
        let at = divide(cells, pivot, &key);
        let Some((front, [_, behind @ ..])) = part.split_at_mut_checked(at) else { return };
        let (long, short) =
            if front.len() < behind.len() { (behind, front) } else { (front, behind) };
        if let Some(slot) = waiting.get_mut(depth) {
            *slot = long;
            depth += 1;
        }
        part = short;
    }
}

/// Brings what is below `pivot` in front of it and what is above it behind, what is equal to either side; returns
/// its place.
fn divide<T: Copy, K: Ord>(cells: &[Cell<T>], pivot: &Cell<T>, key: impl Fn(&T) -> K) -> usize {
    let Some((first, rest)) = cells.split_first() else { return 0 };
    swap(first, pivot);
    let pivot = key(&first.get());
    let of_pivot = |at: usize| rest.get(at).map(|cell| key(&cell.get()).cmp(&pivot));
    let (mut front, mut end) = (0, rest.len());
    loop {
        while front < end && of_pivot(front) == Some(Ordering::Less) {
            front += 1;
        }
        while front < end && of_pivot(end - 1) == Some(Ordering::Greater) {
            end -= 1;
        }
        if front + 1 >= end {
            break;
        }
        if let (Some(one), Some(other)) = (rest.get(front), rest.get(end - 1)) {
            swap(one, other);
        }
        front += 1;
        end -= 1;
    }
    // All in front of `front` may stand before the pivot.
    if let Some(last) = cells.get(front) {
        swap(first, last);
    }
    front
}

/// Where the draws of a list begin.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Some entry, the next of a row of draws.
fn draw<'c, T>(cells: &'c [Cell<T>], random: &mut u64) -> Option<&'c Cell<T>> {
    *random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
    cells.get(((u128::from(*random) * cells.len() as u128) >> 64) as usize)
}

/// A name and what it is ordered by.
pub(super) type Pair = [u32; 2];

/// Both at once: what is ordered by is higher.
#[inline(always)]
fn whole([name, key]: Pair) -> u64 {
    u64::from(key) << 32 | u64::from(name)
}

/// Brings the `count` pairs with the lowest keys, of equal ones those with the lowest names, to the front, in any order.
/// No two pairs are equal. Always `Some`.
///
/// # Bound
/// Linear on average, whatever the order before: places to divide at are drawn at random, from a fixed
/// seed, so that the same list gives the same result.
pub(super) fn halve(list: &mut [Pair], count: usize) -> Option<()> {
    let mut cells = Cell::from_mut(list).as_slice_of_cells();
    let (mut count, mut random) = (count, SEED);
    while 0 < count && count < cells.len() {
        let pivot = whole(draw(cells, &mut random)?.get());
        // In front of `less`: what is below the pivot. Which that is cannot be foreseen: no branch, and what stands at
        // `less` is kept, as to read what was just written takes long.
        let (mut less, mut other) = (0, cells.first()?.get());
        for cell in cells {
            let (front, next) = (cells.get(less)?, cells.get(less + 1));
            let own = cell.get();
            let is_less = whole(own) < pivot;
            cell.set(select_unpredictable(is_less, other, own));
            front.set(select_unpredictable(is_less, own, other));
            other = select_unpredictable(is_less, next.map_or(own, Cell::get), other);
            less += usize::from(is_less);
        }
        let (front, behind) = cells.split_at_checked(less)?;
        if count <= less {
            cells = front;
            continue;
        }
        // The pivot comes next.
        let (first, rest) = behind.split_first()?;
        if let Some(own) = behind.iter().find(|cell| whole(cell.get()) == pivot) {
            swap(own, first);
        }
        cells = rest;
        count -= less + 1;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::{Pair, halve, sort, sort_columns, sort_long};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn columns_are_ordered_each_by_itself(
            mut rows in proptest::array::uniform32(any::<[[i32; 4]; 3]>()), few in any::<bool>(),
        ) {
            if few {
                rows.as_flattened_mut().as_flattened_mut().iter_mut().for_each(|n| *n %= 3);
            }
            let column = |rows: &[[[i32; 4]; 3]], nth| -> Vec<i32> {
                rows.iter().map(|row| row.as_flattened()[nth]).collect()
            };
            let before = rows;
            sort_columns(&mut rows);
            for nth in 0..12 {
                let mut twin = column(&before, nth);
                twin.sort_unstable();
                prop_assert_eq!(column(&rows, nth), twin);
            }
        }

        #[test]
        fn as_the_standard_library(
            mut list in proptest::collection::vec(0_u32..300, 0..200), at in any::<proptest::sample::Index>(),
        ) {
            let mut sorted = list.clone();
            sort(&mut sorted, |n| *n);
            let mut twin = list.clone();
            twin.sort_unstable();
            prop_assert_eq!(&sorted, &twin);
            let mut sorted = list.clone();
            sort_long(&mut sorted, |n| *n);
            prop_assert_eq!(&sorted, &twin);
            let mut pairs: Vec<Pair> = (0..).zip(list.drain(..)).map(|(name, key)| [name, key]).collect();
            let count = at.index(pairs.len() + 1);
            prop_assert!(halve(&mut pairs, count).is_some());
            pairs.iter_mut().for_each(|pair| pair.reverse());
            let (front, behind) = pairs.split_at(count);
            prop_assert!(front.iter().all(|one| behind.iter().all(|other| one < other)));
            let mut all: Vec<u32> = pairs.iter().map(|[key, _]| *key).collect();
            all.sort_unstable();
            prop_assert_eq!(all, twin);
        }
    }
}
