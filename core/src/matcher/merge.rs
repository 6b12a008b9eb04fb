//! Fewer selectors for the same packets, for whoever asks only whether one covers.
//!
//! ```text
//! again and again, for each axis but the protocol:
//!     sort by the other axes, then by this one
//!     go through; of those that are kept, look at the one before and at the widest still within reach:
//!         drop what one of them contains
//!         put into the one before what is equal on the other axes and touches on this one
//! ```
//!
//! A selector is a product of one set an axis, so two that differ on one axis alone are together the product with
//! both sets, nothing more and nothing less. That is written down only if the two sets make one range: OPAQUE is a
//! value behind 65535, and a range that ends there must be ANY or OPAQUE alone, while 0 to 65535 without it has no
//! form.

use core::cmp::Ordering;

use super::order;
use crate::headers::Family;
use crate::selector::{AddrRange, PortRange, Selector};

/// Passes over each axis, at most.
const ROUNDS: usize = 8;
/// One more pass over each if they left out more than one of so many selectors.
const WORTH: usize = 256;
/// Selectors that a pass keeps in mind as those that may contain what follows.
const WIDE: usize = 64;

/// What a selector says of a packet.
#[derive(Clone, Copy)]
enum Axis {
    Remote,
    Local,
    Protocol,
    RemotePorts,
    LocalPorts,
}

/// The axes as passes sort by them; the last one is joined. The first one is an address, which says what is within
/// reach, and both sides take turns.
const PASSES: [[Axis; 5]; 4] = {
    use Axis::{Local, LocalPorts, Protocol, Remote, RemotePorts};
    [
        [Local, RemotePorts, LocalPorts, Protocol, Remote],
        [Remote, RemotePorts, LocalPorts, Protocol, Local],
        [Local, Remote, LocalPorts, Protocol, RemotePorts],
        [Remote, Local, RemotePorts, Protocol, LocalPorts],
    ]
};

/// Brings selectors to the front that cover together the packets that all of `selectors` cover, no more and no
/// less, and returns how many they are. What lies behind them is of no use any more. Of the same list in another order
/// the same ones are left.
///
/// For [`Matcher::any`](super::Matcher::any) and [`any_burst`](super::Matcher::any_burst), and to know whether
/// [`first_source`](super::Matcher::first_source) finds one. What is left has neither the order nor the places of
/// the list: do not merge what is asked for the first selector, what is counted by selector, or what must say
/// which configured selector let a packet in. A list with a selector that is not valid remains one.
///
/// # Bound
/// Rounds of four passes, each O(n log n) on average to sort the list and to look at 64 others for each.
/// The last round is the one that leaves out at most one of 256, or the eighth: up to 255 selectors
/// nothing is left to be found, unless there were eight.
///
/// # Examples
/// ```
/// # #[cfg(feature = "alloc")] {
/// use espial::headers::{Endpoints, Fragment, InnerHeaders, NextLayer};
/// use espial::matcher::{Matcher, compile, merge};
/// use espial::selector::{AddrRange, PortRange, Selector};
///
/// let selector = |lo, hi| Selector {
///     remote: AddrRange::V4 { lo, hi },
///     local: AddrRange::V4 { lo: 0xc000_0200, hi: 0xc000_02ff },
///     protocol: 0,
///     remote_ports: PortRange::ANY,
///     local_ports: PortRange::ANY,
/// };
/// let mut list = [selector(0, 9), selector(30, 39), selector(10, 19), selector(32, 33)];
/// let left = merge(&mut list);
/// let list = &list[..left];
/// assert_eq!(list.len(), 2);
///
/// let words = compile(list)?;
/// let matcher = Matcher::open(&words)?;
/// let packet = |src| InnerHeaders {
///     endpoints: Endpoints::V4 { src, dst: 0xc000_0201 },
///     protocol: 6,
///     next_layer: NextLayer::Ports { src: 50_000, dst: 443 },
///     fragment: Fragment::None,
/// };
/// assert!(matcher.any(&packet(15)) && matcher.any(&packet(33)));
/// assert!(!matcher.any(&packet(20)) && !matcher.any(&packet(29)));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn merge(selectors: &mut [Selector]) -> usize {
    merge_as(selectors, |one| *one, |slot, joined| *slot = joined)
}

/// [`merge`] of selectors in a form of the caller's, each read many times and written when it has grown.
///
/// # Bound
/// As [`merge`].
pub fn merge_as<T: Copy>(
    list: &mut [T],
    read: impl Fn(&T) -> Selector,
    write: impl Fn(&mut T, Selector),
) -> usize {
    let mut count = list.len();
    for _ in 0..ROUNDS {
        let before = count;
        for axes in &PASSES {
            let list = list.get_mut(..count).unwrap_or_default();
            order::sort_long(list, |one| Placed::new(read(one), axes));
            count = sweep(list, axes, &read, &write);
        }
        if before - count <= before / WORTH {
            break;
        }
    }
    count
}

/// One pass over a list in the order of `axes`: returns how many are left, at the front and in order.
fn sweep<T: Copy>(
    list: &mut [T],
    axes: &[Axis; 5],
    read: impl Fn(&T) -> Selector,
    write: impl Fn(&mut T, Selector),
) -> usize {
    let [reach, .., joined] = axes;
    let (mut kept, mut wide) = (0_usize, Widest::default());
    for at in 0..list.len() {
        let Some(one) = list.get(at).copied() else { break };
        let selector = read(&one);
        if let Some(before) = kept.checked_sub(1).and_then(|before| list.get_mut(before))
            && let Some(both) = join(&read(before), &selector, axes, *joined)
        {
            write(before, both);
            continue;
        }
        let shape = Outline::of(&selector, *reach, kept as u32);
        let contains = |place: u32| {
            list.get(place as usize).is_some_and(|known| selector.is_contained_in(&read(known)))
        };
        if wide.contain(&shape, contains) {
            continue;
        }
        if let Some(slot) = list.get_mut(kept) {
            *slot = one;
        }
        wide.add(shape);
        kept += 1;
    }
    kept
}

/// The widest selectors that are within reach.
#[derive(Default)]
struct Widest(heapless::Vec<Outline, WIDE>);

/// What a selector is known by in a pass.
#[derive(Clone, Copy)]
struct Outline {
    family: Family,
    /// Of the address that the pass goes along, and of the other one.
    along: (u32, u32),
    across: (u32, u32),
    /// Bits of what it leaves open.
    width: u32,
    /// Its place among those that are kept.
    place: u32,
}

impl Outline {
    fn of(selector: &Selector, reach: Axis, place: u32) -> Self {
        let (remote, local) = (outline(&selector.remote), outline(&selector.local));
        let is_remote = matches!(reach, Axis::Remote);
        let (along, across) = if is_remote { (remote, local) } else { (local, remote) };
        Self { family: selector.remote.family(), along, across, width: width(selector), place }
    }
}

impl Widest {
    /// True if `contains` says so of one of them. Gives up those that end before `one` starts: all that
    /// follow start behind.
    fn contain(&mut self, one: &Outline, contains: impl Fn(u32) -> bool) -> bool {
        let (start, mut at) = (one.along.0, 0);
        while let Some(known) = self.0.get(at) {
            if known.along.1 < start || known.family != one.family {
                self.0.swap_remove(at);
                continue;
            }
            let may = known.across.0 <= one.across.0 && one.across.1 <= known.across.1;
            if may && one.along.1 <= known.along.1 && contains(known.place) {
                return true;
            }
            at += 1;
        }
        false
    }

    /// One more, in place of the narrowest if there is no room.
    fn add(&mut self, one: Outline) {
        let Err(one) = self.0.push(one) else { return };
        if let Some(narrowest) = self.0.iter_mut().min_by_key(|known| known.width)
            && narrowest.width < one.width
        {
            *narrowest = one;
        }
    }
}

/// The ends of a range in the bits that come first: what lies in a range lies in its outline.
fn outline(range: &AddrRange) -> (u32, u32) {
    match *range {
        AddrRange::V4 { lo, hi } => (lo, hi),
        AddrRange::V6 { lo, hi } => ((lo >> 96) as u32, (hi >> 96) as u32),
    }
}

/// Bits of what a selector leaves open.
fn width(selector: &Selector) -> u32 {
    let bits = |(lo, hi): (u128, u128)| u128::BITS - hi.saturating_sub(lo).leading_zeros();
    use Axis::{Local, LocalPorts, Protocol, Remote, RemotePorts};
    [Remote, Local, Protocol, RemotePorts, LocalPorts]
        .iter()
        .map(|axis| bits(bounds(selector, *axis)))
        .sum()
}

/// A selector in the order of a pass. What contains another one never comes behind it.
#[derive(Clone, Copy)]
struct Placed<'a> {
    /// Family and start on the first axis, for a short look.
    start: (Family, u32),
    selector: Selector,
    axes: &'a [Axis; 5],
}

impl<'a> Placed<'a> {
    #[inline(always)]
    fn new(selector: Selector, axes: &'a [Axis; 5]) -> Self {
        let first =
            if matches!(axes, [Axis::Remote, ..]) { &selector.remote } else { &selector.local };
        Self { start: (first.family(), outline(first).0), selector, axes }
    }
}

impl Ord for Placed<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_start = self.start.cmp(&other.start);
        by_start.then_with(|| compare(&self.selector, &other.selector, self.axes))
    }
}

impl PartialOrd for Placed<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Placed<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Placed<'_> {}

/// By one axis after the other: IPv4 first, then the lower start, then the larger range.
fn compare(a: &Selector, b: &Selector, axes: &[Axis]) -> Ordering {
    let by = |axis: &Axis| match axis {
        Axis::Remote => a.remote.cmp(&b.remote),
        Axis::Local => a.local.cmp(&b.local),
        _ => {
            let (a, b) = (bounds(a, *axis), bounds(b, *axis));
            a.0.cmp(&b.0).then(b.1.cmp(&a.1))
        }
    };
    axes.iter().map(by).find(|order| *order != Ordering::Equal).unwrap_or(Ordering::Equal)
}

/// The selector that covers what both cover, if there is one and they differ on one axis at most.
fn join(a: &Selector, b: &Selector, axes: &[Axis; 5], axis: Axis) -> Option<Selector> {
    let [same @ .., _] = axes;
    if compare(a, b, same) != Ordering::Equal {
        return None;
    }
    let ((from, end), (lo, hi)) = (bounds(a, axis), bounds(b, axis));
    // A range that is turned round is not valid: the list must say so.
    let are_ranges = from <= end && lo <= hi;
    if !are_ranges || from.max(lo) > end.min(hi).saturating_add(1) {
        return None;
    }
    let (lo, hi) = (from.min(lo), end.max(hi));
    match axis {
        Axis::Remote => Some(Selector { remote: a.remote.hull(&b.remote)?, ..*a }),
        Axis::Local => Some(Selector { local: a.local.hull(&b.local)?, ..*a }),
        Axis::Protocol => None,
        Axis::RemotePorts => Some(Selector { remote_ports: ports(lo, hi)?, ..*a }),
        Axis::LocalPorts => Some(Selector { local_ports: ports(lo, hi)?, ..*a }),
    }
}

/// OPAQUE, as the value behind the last one.
const OPAQUE: u128 = 1 << 16;

/// The ports of these values, if they can be written down.
fn ports(lo: u128, hi: u128) -> Option<PortRange> {
    match (lo, hi) {
        (0, OPAQUE) => Some(PortRange::ANY),
        (OPAQUE, OPAQUE) => Some(PortRange::OPAQUE),
        // It would be read as ANY.
        (0, 0xffff) => None,
        (lo, hi) => PortRange::new(u16::try_from(lo).ok()?, u16::try_from(hi).ok()?),
    }
}

/// First and last value on an axis.
fn bounds(selector: &Selector, axis: Axis) -> (u128, u128) {
    let values = |ports: PortRange| match ports {
        PortRange::ANY => (0, OPAQUE),
        PortRange::OPAQUE => (OPAQUE, OPAQUE),
        _ => (ports.lo().into(), ports.hi().into()),
    };
    match axis {
        Axis::Remote => selector.remote.bounds(),
        Axis::Local => selector.local.bounds(),
        Axis::Protocol if selector.protocol == 0 => (0, u8::MAX.into()),
        Axis::Protocol => (selector.protocol.into(), selector.protocol.into()),
        Axis::RemotePorts => values(selector.remote_ports),
        Axis::LocalPorts => values(selector.local_ports),
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;
    use proptest::sample::select;

    use super::super::{Matcher, compile};
    use super::*;
    use crate::headers::{Endpoints, Fragment, InnerHeaders, NextLayer};

    const V4: Option<u32> = None;

    /// A range of small numbers, of IPv4 or that far up in IPv6.
    fn range(family: Option<u32>, lo: u8, hi: u8) -> AddrRange {
        match family {
            None => AddrRange::V4 { lo: lo.into(), hi: hi.into() },
            Some(up) => AddrRange::V6 {
                lo: u128::from(lo) << up,
                hi: (u128::from(hi) + 1).checked_shl(up).unwrap_or(0).wrapping_sub(1),
            },
        }
    }

    fn ports_of(lo: u16, hi: u16) -> PortRange {
        PortRange::new(lo, hi).unwrap()
    }

    /// Few values on each axis, so that many meet.
    fn some_selector() -> impl Strategy<Value = Selector> {
        let ends = || (0_u8..6, 0_u8..3).prop_map(|(lo, more)| (lo, lo + more));
        let values = || {
            let ranges = [(0, 9), (10, 19), (10, u16::MAX), (u16::MAX, u16::MAX), (5, 12), (1, 4)];
            let mut all: Vec<_> = ranges.map(|(lo, hi)| ports_of(lo, hi)).into();
            all.extend([PortRange::ANY, PortRange::ANY, PortRange::OPAQUE]);
            select(all)
        };
        let family = select([V4, V4, Some(0), Some(90)].to_vec());
        (family, ends(), ends(), select([0, 0, 1, 6].to_vec()), values(), values()).prop_map(
            |(family, remote, local, protocol, remote_ports, local_ports)| Selector {
                remote: range(family, remote.0, remote.1),
                local: range(family, local.0, local.1),
                protocol,
                remote_ports: if protocol == 0 { PortRange::ANY } else { remote_ports },
                local_ports: if protocol < 6 { PortRange::ANY } else { local_ports },
            },
        )
    }

    /// Packets at each corner of each selector and beside it, with and without values.
    fn for_each_corner(list: &[Selector], mut hear: impl FnMut(&InnerHeaders)) {
        let around = |(lo, hi): (u128, u128)| [lo, hi, lo.wrapping_sub(1), hi.wrapping_add(1)];
        for one in list {
            let (family, values) = (one.remote.family(), around(bounds(one, Axis::RemotePorts)));
            for (nth, src) in around(one.remote.bounds()).into_iter().enumerate() {
                for (far, dst) in around(one.local.bounds()).into_iter().enumerate() {
                    for value in values {
                        let dport = around(bounds(one, Axis::LocalPorts))[(nth + far) % 4] as u16;
                        let endpoints = match family {
                            Family::V4 => Endpoints::V4 { src: src as u32, dst: dst as u32 },
                            Family::V6 => Endpoints::V6 { src, dst },
                        };
                        for protocol in [1, 6, 50] {
                            let next_layer = match protocol {
                                _ if value >= OPAQUE => NextLayer::Opaque,
                                1 => NextLayer::Icmp(value as u16),
                                _ => NextLayer::Ports { src: value as u16, dst: dport },
                            };
                            let late = value == 9 && protocol == 6;
                            let fragment = if late { Fragment::NonInitial } else { Fragment::None };
                            hear(&InnerHeaders { endpoints, protocol, next_layer, fragment });
                        }
                    }
                }
            }
        }
    }

    fn merged(list: &[Selector]) -> Vec<Selector> {
        let mut list = list.to_vec();
        let left = merge(&mut list);
        list.truncate(left);
        list
    }

    /// Asks both lists, and the matcher of what is left.
    fn answers_are_the_same(list: &[Selector], left: &[Selector]) -> Result<(), TestCaseError> {
        let words = compile(left).unwrap();
        let matcher = Matcher::open(&words).unwrap();
        let (mut packets, mut expected, mut wrong) = (Vec::new(), Vec::new(), None);
        for_each_corner(list, |packet| {
            let any = list.iter().any(|one| one.covers(packet));
            let source = list.iter().any(|one| one.remote.contains(packet.endpoints.src()));
            let found = (matcher.any(packet), matcher.first_source(packet).is_some());
            if found != (any, source) {
                wrong = Some((*packet, any, source));
            }
            packets.push(*packet);
            expected.push(any);
        });
        prop_assert_eq!(wrong, None, "{:?}", left);
        let mut covered = alloc::vec![false; packets.len()];
        matcher.any_burst(&packets, &mut covered);
        prop_assert_eq!(covered, expected);
        Ok(())
    }

    /// Bounds of so many pieces of a line from 0 on, that touch.
    fn pieces(lengths: &[u8]) -> Vec<(u8, u8)> {
        let ends = lengths.iter().scan(0_u8, |at, length| {
            let lo = *at;
            *at += length;
            Some((lo, *at - 1))
        });
        ends.collect()
    }

    proptest! {
        #[test]
        fn what_is_left_covers_what_the_list_covered(
            list in proptest::collection::vec(some_selector(), 0..50),
        ) {
            let left = merged(&list);
            prop_assert!(left.len() <= list.len());
            answers_are_the_same(&list, &left)?;
            // Nothing that another one contains, and nothing more to be found.
            for (nth, one) in left.iter().enumerate() {
                let others = left.iter().enumerate().filter(|(other, _)| *other != nth);
                prop_assert!(others.into_iter().all(|(_, other)| !one.is_contained_in(other)));
            }
            prop_assert_eq!(&merged(&left), &left);
            let mut turned = list.clone();
            turned.reverse();
            prop_assert_eq!(merged(&turned), left);
        }

        /// A box cut into pieces along every axis: without a hole it is one again, a hole stays one.
        #[test]
        fn a_hole_in_a_grid_stays_a_hole(
            family in select([V4, Some(0), Some(90)].to_vec()),
            sizes in proptest::collection::vec(proptest::collection::vec(1_u8..9, 1..5), 4),
            hole in any::<proptest::sample::Index>(),
            order in any::<u64>(),
        ) {
            let [remote, local, sports, dports] = [0, 1, 2, 3].map(|axis| pieces(&sizes[axis]));
            let mut grid = Vec::new();
            for r in &remote {
                for l in &local {
                    for s in &sports {
                        for d in &dports {
                            grid.push(Selector {
                                remote: range(family, r.0, r.1),
                                local: range(family, l.0, l.1),
                                protocol: 6,
                                remote_ports: ports_of(s.0.into(), s.1.into()),
                                local_ports: ports_of(d.0.into(), d.1.into()),
                            });
                        }
                    }
                }
            }
            let turn = order as usize % grid.len();
            grid.rotate_left(turn);
            prop_assert_eq!(merged(&grid).len(), 1);
            let whole = grid.clone();
            let hole = grid.swap_remove(hole.index(whole.len()));
            let left = merged(&grid);
            prop_assert!(left.iter().all(|one| one.intersection(&hole).is_none()));
            answers_are_the_same(&whole, &[left, [hole].to_vec()].concat())?;
        }
    }

    /// 0 to 65535 without OPAQUE has no form: it would be read as ANY.
    #[test]
    fn all_values_are_not_any() {
        let selector = |local_ports| Selector {
            remote: range(V4, 1, 1),
            local: range(V4, 2, 2),
            protocol: 6,
            remote_ports: PortRange::ANY,
            local_ports,
        };
        let ends = [selector(ports_of(0, 100)), selector(ports_of(101, u16::MAX))];
        assert_eq!(merged(&ends), ends);
        // Nor is a range that ends with 65535 one with OPAQUE.
        let opaque = [ends[1], selector(PortRange::OPAQUE)];
        assert_eq!(merged(&opaque), opaque);
        let all = [ends[0], opaque[0], opaque[1], selector(PortRange::ANY)];
        assert_eq!(merged(&all), [selector(PortRange::ANY)]);
        let middle = [ends[0], selector(ports_of(101, 200)), selector(ports_of(150, 65534))];
        assert_eq!(merged(&middle), [selector(ports_of(0, 65534))]);
    }

    /// A list that is refused stays one: a range that is turned round is neither joined nor dropped.
    #[test]
    fn what_is_not_valid_stays() {
        let plain = Selector {
            remote: range(V4, 0, 9),
            local: range(V4, 0, 9),
            protocol: 0,
            remote_ports: PortRange::ANY,
            local_ports: PortRange::ANY,
        };
        let turned = Selector { remote: AddrRange::V4 { lo: 5, hi: 4 }, ..plain };
        let left = merged(&[plain, turned, plain]);
        assert_eq!(left, [plain, turned]);
        assert!(Matcher::open(&compile(&left).unwrap()).is_err());
    }

    /// More selectors than are kept in mind, each contained in one that is wide.
    #[test]
    fn the_widest_are_kept_in_mind() {
        let host = |n: u32| AddrRange::V4 { lo: n, hi: n };
        let selector = |remote, local| Selector {
            remote,
            local,
            protocol: 0,
            remote_ports: PortRange::ANY,
            local_ports: PortRange::ANY,
        };
        let all = AddrRange::all(Family::V4);
        // No two of them touch on one axis and agree on the other.
        let narrow = (0..500).map(|n| selector(AddrRange::V4 { lo: 0, hi: n }, host(7 * n)));
        let mut list: Vec<_> = narrow.collect();
        assert_eq!(merged(&list).len(), 500);
        list.extend((0..500).map(|n| selector(host(n * n), host(3 * n))));
        list.push(selector(all, AddrRange::V4 { lo: 0, hi: 3499 }));
        assert_eq!(merged(&list).len(), 1);
        // One that comes behind more than there is room for, all of them within reach to the end.
        let held = (0..500).map(|n| Selector {
            protocol: 6,
            remote_ports: ports_of(n, n),
            local_ports: ports_of(2 * n, 2 * n),
            ..selector(all, all)
        });
        let mut list: Vec<_> = held.collect();
        list.extend((0..500).map(|n| selector(host(n * n + 1), host(3 * n + 1))));
        let most = AddrRange::V4 { lo: 1, hi: u32::MAX };
        list.push(selector(most, most));
        assert_eq!(merged(&list).len(), 501);
    }
}
