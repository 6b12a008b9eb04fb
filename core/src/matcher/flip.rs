//! A block in the other byte order, for images of targets that have it.

use core::mem::size_of;

use alloc::vec::Vec;

use super::block::{Box4, Box6, ChildRecord, Header, Section, TunnelRecord};
use super::fan::Fan;
use super::group::Group;

/// What an element of an array consists of: numbers of so many octets, and how many of them.
type Form = &'static [(usize, usize)];

const HEADER: Form = &[(4, 32)];
const TUNNEL: Form = &[(4, 16)];
const CHILD: Form = &[(4, 8)];
const BOX4: Form = &[(4, 4), (2, 4), (1, 4), (4, 1)];
const BOX6: Form = &[(8, 8), (2, 4), (1, 4), (4, 1)];
const FAN: Form = &[(4, 2), (2, 2), (4, 6), (1, 2), (2, 1)];
const GROUP: Form = &[(4, 64), (2, 64), (1, 32), (4, 16 + 1 + 6), (1, 2), (2, 1)];

const fn octets(form: Form) -> usize {
    let (mut rest, mut octets) = (form, 0);
    while let [(size, count), behind @ ..] = rest {
        octets += *size * *count;
        rest = behind;
    }
    octets
}

const _: () = assert!(octets(HEADER) == size_of::<Header>());
const _: () = assert!(octets(TUNNEL) == size_of::<TunnelRecord>());
const _: () = assert!(octets(CHILD) == size_of::<ChildRecord>());
const _: () = assert!(octets(BOX4) == size_of::<Box4>());
const _: () = assert!(octets(BOX6) == size_of::<Box6>());
const _: () = assert!(octets(FAN) == size_of::<Fan>());
const _: () = assert!(octets(GROUP) == size_of::<Group>());

/// Turns numbers of `size` octets round.
pub(crate) fn swap(octets: &mut [u8], size: usize) {
    octets.chunks_exact_mut(size.max(1)).for_each(<[u8]>::reverse);
}

/// Turns the numbers of elements round.
fn swap_all(octets: &mut [u8], form: Form) {
    let mut rest = octets;
    while !rest.is_empty() {
        for (size, count) in form {
            let Some((part, behind)) = rest.split_at_mut_checked(*size * *count) else { return };
            swap(part, *size);
            rest = behind;
        }
    }
}

/// Turns a block round, which is of the host's order (`is_host`) or becomes so. How many tunnels and Child SAs it
/// has; `None` if an array lies outside it.
pub(crate) fn flip_block(words: &mut [u64], is_host: bool) -> Option<usize> {
    let octets: &mut [u8] = bytemuck::cast_slice_mut(words);
    let head = octets.get_mut(..size_of::<Header>())?;
    // What says where things are is read in the host's order.
    if !is_host {
        swap_all(head, HEADER);
    }
    let header: Header = *bytemuck::try_from_bytes(head).ok()?;
    if is_host {
        swap_all(head, HEADER);
    }
    for (section, form) in [
        (header.tunnels, TUNNEL),
        (header.children, CHILD),
        (header.boxes4, BOX4),
        (header.boxes6, BOX6),
        (header.groups, GROUP),
    ] {
        swap_all(part(octets, section, self::octets(form))?, form);
    }
    let fans = part(octets, header.fans, size_of::<Fan>())?;
    if !is_host {
        swap_all(fans, FAN);
    }
    let read: Vec<Fan> = bytemuck::try_cast_slice(fans).ok()?.to_vec();
    if is_host {
        swap_all(fans, FAN);
    }
    let rows: &mut [u64] =
        bytemuck::try_cast_slice_mut(part(octets, header.rows, size_of::<u64>())?).ok()?;
    // Fans have no more rows than there are.
    let mut left = rows.len();
    for fan in &read {
        let layout = fan.layout()?;
        left = left.checked_sub(layout.size())?;
        let rows = rows.get_mut(fan.rows as usize..)?.get_mut(..layout.size())?;
        for (range, size) in layout.numbers() {
            swap(bytemuck::cast_slice_mut(rows.get_mut(range)?), size);
        }
    }
    (header.tunnels.count as usize).checked_add(header.children.count as usize)
}

fn part(octets: &mut [u8], section: Section, size: usize) -> Option<&mut [u8]> {
    let length = (section.count as usize).checked_mul(size)?;
    octets.get_mut(section.offset as usize..)?.get_mut(..length)
}
