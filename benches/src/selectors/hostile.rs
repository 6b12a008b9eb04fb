//! What hurts trees: boxes that no cut separates, or that all of them meet.

use espial::headers::{Family, protocol};
use espial::selector::{AddrRange, PortRange, Selector};

use super::{addrs, last, ports};
use crate::Rng;

/// The range that lies `n` of `of` steps inside all of it on either end.
fn inside(family: Family, n: usize, of: usize) -> AddrRange {
    let step = last(family) / (2 * of as u128);
    addrs(family, step * n as u128, last(family) - step * n as u128)
}

/// The nth of `of` equal slices, `slices` long.
fn slice(family: Family, n: usize, of: usize, slices: u128) -> AddrRange {
    let step = last(family) / (of as u128 + slices);
    addrs(family, step * n as u128, step * (n as u128 + slices) - 1)
}

fn two<T: Ord>(a: T, b: T) -> (T, T) {
    if a <= b { (a, b) } else { (b, a) }
}

/// Boxes whose ends are random in each dimension; half of them any protocol and port, half TCP.
/// A box covers a third of each axis on average. The smallest comes first: in another order the first
/// few boxes cover nearly every packet.
pub fn wide(n: usize, family: Family, rng: &mut Rng) -> Vec<Selector> {
    let range = |rng: &mut Rng| {
        let (lo, hi) = two(rng.between(0, last(family)), rng.between(0, last(family)));
        addrs(family, lo, hi)
    };
    let some_ports = |rng: &mut Rng| {
        let (lo, hi) = two(rng.next() as u16, rng.next() as u16);
        ports(lo, hi)
    };
    let one = |rng: &mut Rng| {
        let (remote, local) = (range(rng), range(rng));
        match rng.chance(1, 2) {
            true => any_ports(remote, local),
            false => Selector {
                remote,
                local,
                protocol: protocol::TCP,
                remote_ports: some_ports(rng),
                local_ports: some_ports(rng),
            },
        }
    };
    let mut boxes: Vec<_> = (0..n).map(|_| one(rng)).collect();
    let addresses = |range: &AddrRange| range.following() as f64 + 1.0;
    let ports = |range: PortRange| f64::from(range.hi() - range.lo()) + 1.0;
    let packets = |one: &Selector| {
        let ports = ports(one.remote_ports) * ports(one.local_ports);
        let protocols = if one.protocol == 0 { 256.0 } else { 1.0 };
        addresses(&one.remote) * addresses(&one.local) * ports * protocols
    };
    boxes.sort_by(|a, b| packets(a).total_cmp(&packets(b)));
    boxes
}

fn any_ports(remote: AddrRange, local: AddrRange) -> Selector {
    Selector {
        remote,
        local,
        protocol: 0,
        remote_ports: PortRange::ANY,
        local_ports: PortRange::ANY,
    }
}

/// Each box lies in the next one, on all sides of both addresses; the smallest comes first. The largest
/// leaves an eighth of each axis on either end.
pub fn nested(n: usize, family: Family) -> Vec<Selector> {
    let one = |at| {
        // From 3 n to n of 8 n steps inside.
        let range = inside(family, 3 * n - 2 * at, 4 * n);
        any_ports(range, range)
    };
    (0..n).map(one).collect()
}

/// One box, so many times.
pub fn identical(n: usize, family: Family, rng: &mut Rng) -> Vec<Selector> {
    let one = wide(1, family, rng)[0];
    vec![any_ports(one.remote, one.local); n]
}

/// Slabs across each other: one limits the source, the next the destination, and neither the other.
/// Every second slice of either axis is free.
pub fn crossing(n: usize, family: Family) -> Vec<Selector> {
    let all = addrs(family, 0, last(family));
    let one = |at| {
        let slice = slice(family, at / 2 * 2, n.next_multiple_of(2), 1);
        if at % 2 == 0 { any_ports(slice, all) } else { any_ports(all, slice) }
    };
    (0..n).map(one).collect()
}

/// Boxes along the diagonal of both addresses, each half over the last.
pub fn staircase(n: usize, family: Family) -> Vec<Selector> {
    (0..n).map(|at| any_ports(slice(family, at, n, 2), slice(family, at, n, 2))).collect()
}
