//! Named addresses, groups of them with exclusions, and what they come to: disjoint ranges.
//!
//! ```text
//! ranges of a group = ranges of its members - ranges of what it excludes     (B5, T27)
//! ```
//! Sets of addresses of both families at once: a group that excludes an IPv4 address excludes nothing of IPv6.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use hashbrown::HashMap;

use super::LocalInError;
use crate::headers::Family;
use crate::selector::{AddrRange, coalesce};

/// Groups within groups, at most.
pub const NESTING_MAX: usize = 32;

/// What an address name stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AddressObject {
    /// These addresses, of either family.
    Ranges(Vec<AddrRange>),
    /// A group: addresses of its members that are not excluded.
    Group {
        /// Names of what is in it.
        member: Vec<String>,
        /// Names of what is not, though it may be in a member.
        exclude: Vec<String>,
    },
}

/// Every name, and what it stands for.
#[derive(Clone, Default, Debug)]
pub(super) struct Addresses(pub(super) HashMap<String, AddressObject>);

impl Addresses {
    /// True if the address is one of the named object's, by definition: the naive twin of [`Resolved`].
    /// Names that stand for nothing, and groups in themselves, hold none.
    ///
    /// # Bound
    /// Linear in the objects below the name.
    pub(super) fn hold<'a>(
        &'a self,
        name: &'a str,
        addr: IpAddr,
        known: &mut HashMap<&'a str, bool>,
        depth: usize,
    ) -> bool {
        if let Some(&known) = known.get(name) {
            return known;
        }
        known.insert(name, false);
        let mut any = |names: &'a [String]| {
            depth < NESTING_MAX
                && names.iter().any(|name| self.hold(name, addr, known, depth.saturating_add(1)))
        };
        let held = match self.0.get(name) {
            None => false,
            Some(AddressObject::Ranges(ranges)) => ranges.iter().any(|one| one.contains(addr)),
            Some(AddressObject::Group { member, exclude }) => any(member) && !any(exclude),
        };
        known.insert(name, held);
        held
    }
}

/// What is known of a name.
enum State {
    /// A group whose names are being looked up.
    Open,
    /// Disjoint ranges in order, and how many groups stand above each other in it.
    Done(Vec<AddrRange>, usize),
}

/// Names that are looked up once.
pub(super) struct Resolved<'a> {
    addresses: &'a Addresses,
    known: HashMap<&'a str, State>,
}

impl<'a> Resolved<'a> {
    pub(super) fn new(addresses: &'a Addresses) -> Self {
        Self { addresses, known: HashMap::new() }
    }

    /// The addresses of any of these names: disjoint ranges that do not touch, in order.
    ///
    /// # Errors
    /// `unknown` of a name that stands for nothing; [`LocalInError::Cycle`], [`LocalInError::Nesting`],
    /// [`LocalInError::Range`].
    pub(super) fn union(
        &mut self,
        names: &'a [String],
        unknown: &dyn Fn(&str) -> LocalInError,
    ) -> Result<Vec<AddrRange>, LocalInError> {
        Ok(self.of_names(names, 0, unknown)?.0)
    }

    fn of_names(
        &mut self,
        names: &'a [String],
        depth: usize,
        unknown: &dyn Fn(&str) -> LocalInError,
    ) -> Result<(Vec<AddrRange>, usize), LocalInError> {
        let (mut all, mut height) = (Vec::new(), 0);
        for name in names {
            self.resolve(name, depth, unknown)?;
            if let Some(State::Done(ranges, own)) = self.known.get(name.as_str()) {
                all.extend_from_slice(ranges);
                height = height.max(*own);
            }
        }
        let count = coalesce(&mut all);
        all.truncate(count);
        Ok((all, height))
    }

    /// Makes a name known.
    fn resolve(
        &mut self,
        name: &'a str,
        depth: usize,
        unknown: &dyn Fn(&str) -> LocalInError,
    ) -> Result<(), LocalInError> {
        match self.known.get(name) {
            Some(State::Done(..)) => return Ok(()),
            Some(State::Open) => return Err(LocalInError::Cycle { name: name.into() }),
            None => {}
        }
        let object = self.addresses.0.get(name).ok_or_else(|| unknown(name))?;
        let (ranges, height) = match object {
            AddressObject::Ranges(ranges) => {
                if let Some(&addrs) = ranges.iter().find(|one| one.lo() > one.hi()) {
                    return Err(LocalInError::Range { name: name.into(), addrs });
                }
                let mut ranges = ranges.clone();
                let count = coalesce(&mut ranges);
                ranges.truncate(count);
                (ranges, 0)
            }
            AddressObject::Group { member, exclude } => {
                let nesting = || LocalInError::Nesting { name: name.into() };
                if depth >= NESTING_MAX {
                    return Err(nesting());
                }
                self.known.insert(name, State::Open);
                let missing =
                    |of: &str| LocalInError::UnknownMember { group: name.into(), name: of.into() };
                let depth = depth.saturating_add(1);
                let (members, high) = self.of_names(member, depth, &missing)?;
                let (excluded, higher) = self.of_names(exclude, depth, &missing)?;
                let height = high.max(higher).saturating_add(1);
                // A name may be known from a place where less stood above it.
                if height > NESTING_MAX {
                    return Err(nesting());
                }
                (without(&members, &excluded), height)
            }
        };
        self.known.insert(name, State::Done(ranges, height));
        Ok(())
    }
}

/// The addresses of some ranges that are not in others; both lists disjoint and in order.
fn without(ranges: &[AddrRange], others: &[AddrRange]) -> Vec<AddrRange> {
    let mut left = Vec::new();
    for family in [Family::V4, Family::V6] {
        let of = |list: &[AddrRange]| -> Vec<(u128, u128)> {
            let own = list.iter().filter(|one| one.family() == family);
            own.map(AddrRange::bounds).collect()
        };
        let (ranges, others) = (of(ranges), of(others));
        let mut others = others.as_slice();
        for (lo, hi) in ranges {
            let mut from = Some(lo);
            while let (Some(start), Some(&(out, end))) = (from, others.first()) {
                if out > hi {
                    break;
                }
                if start < out {
                    left.push(AddrRange::from_bounds(family, start, out.saturating_sub(1)));
                }
                if end >= hi {
                    // It may reach into the next range.
                    from = None;
                    break;
                }
                from = Some(start.max(end.saturating_add(1)));
                others = others.get(1..).unwrap_or(&[]);
            }
            if let Some(start) = from {
                left.push(AddrRange::from_bounds(family, start, hi));
            }
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(six: bool, at: (u8, u8)) -> AddrRange {
        let (lo, hi) = (at.0.min(at.1), at.0.max(at.1));
        // The ends of the number line, where one more or one less would wrap.
        match six {
            false => AddrRange::V4 {
                lo: u32::from(lo).wrapping_sub(16),
                hi: u32::from(hi).wrapping_sub(16),
            },
            true => AddrRange::V6 { lo: lo.into(), hi: hi.into() },
        }
    }

    proptest! {
        /// Address by address, at both ends of the number line.
        #[test]
        fn t27_what_is_left_are_members_that_are_not_excluded(
            ranges in prop::collection::vec((any::<bool>(), (0..16_u8, 0..16_u8)), 0..8),
            others in prop::collection::vec((any::<bool>(), (0..16_u8, 0..16_u8)), 0..8),
        ) {
            let disjoint = |list: Vec<(bool, (u8, u8))>| {
                let mut all: Vec<_> = list.into_iter().map(|(six, at)| range(six, at)).collect();
                let count = coalesce(&mut all);
                all.truncate(count);
                all
            };
            let (ranges, others) = (disjoint(ranges), disjoint(others));
            let left = without(&ranges, &others);
            for (six, at) in [false, true].into_iter().flat_map(|six| (0..16).map(move |at| (six, at))) {
                let addr = range(six, (at, at)).lo();
                let is_in = |list: &[AddrRange]| list.iter().filter(|one| one.contains(addr)).count();
                prop_assert_eq!(is_in(&left), usize::from(is_in(&ranges) == 1 && is_in(&others) == 0));
            }
        }
    }
}
