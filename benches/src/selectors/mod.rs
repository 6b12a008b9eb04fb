//! Selector sets and packets for them, made from a seed.
//!
//! Owns what is asked for and what is asked about; nothing of who answers. Equal arguments give equal
//! sets on every machine. Selectors are valid as an administrator's are: ports only under a protocol,
//! none OPAQUE, no selector that covers everything.
//!
//! ```text
//! Shape, n, family, seed ─▶ selectors ─┬─▶ compiled by espial, rte_acl, ...
//!                                      └─▶ packets: hits, near misses, misses
//! ```
//!
//! # Shapes
//! Lists as filters hold them; what a profile fixes is in [`lists`]:
//!
//! | | addresses | protocol and ports |
//! |---|---|---|
//! | [`Shape::Acl`] | specific, hosts on the local side; 1 of 10 remote ones is ANY | TCP to one port |
//! | [`Shape::Fw`] | one side is ANY in 3 of 5 | ports on both sides, high ports and ranges |
//! | [`Shape::Ipc`] | between the two, both sides alike | a third has no protocol |
//!
//! Tunnels of a hub, in [`sites`]: [`Shape::Sites`] with so many selectors each. What hurts trees, in
//! [`hostile`]: [`Shape::Wide`], [`Shape::Nested`], [`Shape::Identical`], [`Shape::Crossing`],
//! [`Shape::Staircase`].

pub mod hostile;
pub mod lists;
pub mod sites;
#[cfg(test)]
mod tests;
mod traffic;

use espial::headers::Family;
use espial::selector::{AddrRange, PortRange, Selector};

use crate::Rng;

pub use traffic::{Traffic, packets};

/// What a set looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// An access list.
    Acl,
    /// A firewall's list: many fields ANY, many ranges of ports.
    Fw,
    /// A list of both kinds, as Linux's chains are.
    Ipc,
    /// A hub's tunnels, each of so many selectors: a square up to 256.
    Sites(usize),
    /// Boxes whose ends are random in each dimension.
    Wide,
    /// Each box lies in the next one.
    Nested,
    /// All boxes are the same.
    Identical,
    /// Slabs across each other: half limit the source, half the destination.
    Crossing,
    /// Boxes along the diagonal, each half over the last.
    Staircase,
}

impl Shape {
    /// All of them; tunnels of 1, 4, 16, 64 and 256 selectors.
    pub const ALL: [Self; 13] = [
        Self::Acl,
        Self::Fw,
        Self::Ipc,
        Self::Sites(1),
        Self::Sites(4),
        Self::Sites(16),
        Self::Sites(64),
        Self::Sites(256),
        Self::Wide,
        Self::Nested,
        Self::Identical,
        Self::Crossing,
        Self::Staircase,
    ];

    /// Its name in tables and arguments.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acl => "acl",
            Self::Fw => "fw",
            Self::Ipc => "ipc",
            Self::Sites(1) => "sites1",
            Self::Sites(4) => "sites4",
            Self::Sites(16) => "sites16",
            Self::Sites(64) => "sites64",
            Self::Sites(256) => "sites256",
            Self::Sites(_) => "sites",
            Self::Wide => "wide",
            Self::Nested => "nested",
            Self::Identical => "identical",
            Self::Crossing => "crossing",
            Self::Staircase => "staircase",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|shape| shape.name() == name)
    }
}

/// So many selectors, or of [`Shape::Sites`] as many as whole tunnels have, at most; the first one
/// counts first.
///
/// # Panics
/// If there are not so many of this shape: more than 16 million.
pub fn selectors(shape: Shape, n: usize, family: Family, seed: u64) -> Vec<Selector> {
    assert!(n < 1 << 24, "sets of up to 16 million selectors");
    let rng = &mut Rng::new(seed, 41);
    match shape {
        Shape::Acl => lists::list(&lists::ACL, n, family, rng),
        Shape::Fw => lists::list(&lists::FW, n, family, rng),
        Shape::Ipc => lists::list(&lists::IPC, n, family, rng),
        Shape::Sites(each) => sites::tunnels(n / each, each, family, rng),
        Shape::Wide => hostile::wide(n, family, rng),
        Shape::Nested => hostile::nested(n, family),
        Shape::Identical => hostile::identical(n, family, rng),
        Shape::Crossing => hostile::crossing(n, family),
        Shape::Staircase => hostile::staircase(n, family),
    }
}

/// The last address of a family.
fn last(family: Family) -> u128 {
    match family {
        Family::V4 => u128::from(u32::MAX),
        Family::V6 => u128::MAX,
    }
}

/// The addresses from `lo` to `hi`, numbers of the family.
fn addrs(family: Family, lo: u128, hi: u128) -> AddrRange {
    match family {
        Family::V4 => AddrRange::V4 { lo: lo as u32, hi: hi as u32 },
        Family::V6 => AddrRange::V6 { lo, hi },
    }
}

/// The prefix of `length` bits that holds an address.
fn prefix(family: Family, addr: u128, length: u32) -> AddrRange {
    let bits = if family == Family::V4 { 32 } else { 128 };
    let host = last(family) & 1_u128.checked_shl(bits - length).map_or(u128::MAX, |end| end - 1);
    addrs(family, addr & !host, addr & !host | host)
}

fn ports(lo: u16, hi: u16) -> PortRange {
    PortRange::new(lo, hi).expect("lo <= hi")
}
