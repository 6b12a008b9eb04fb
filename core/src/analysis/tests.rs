//! Against naive twins: every packet of a small universe is asked of every selector.

use std::collections::BTreeSet;
use std::vec::Vec;

use proptest::prelude::*;

use super::cells::Cell;
use super::index::Hull;
use super::*;
use crate::headers::{Endpoints, Fragment, InnerHeaders, NextLayer, protocol};
use crate::selector::PortRange;

fn ts(text: &str) -> TrafficSelector {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn list(text: &[&str]) -> Vec<TrafficSelector> {
    text.iter().map(|text| ts(text)).collect()
}

/// A selector from `remote` to `local`.
fn sel(remote: &str, local: &str) -> Selector {
    Selector::pair(&ts(local), &ts(remote)).unwrap().unwrap()
}

fn why(list: &[Selector]) -> Vec<(usize, Why)> {
    hidden(list, &Limits::USUAL).into_iter().map(|one| (one.index, one.why)).collect()
}

// --- The small universe: its ends, and all that can be told apart by the selectors made of them. ---

const ADDRS: u32 = 3;
const ENDS: [u16; 6] = [0, 1, 2, 3, 65534, 65535];
const VALUES: [u16; 7] = [0, 1, 2, 3, 4, 65534, 65535];
const SELECTOR_PROTOCOLS: [u8; 4] = [0, protocol::ICMP, protocol::TCP, protocol::ICMPV6];
const PACKET_PROTOCOLS: [u8; 6] =
    [0, protocol::ICMP, protocol::TCP, protocol::ICMPV6, protocol::MOBILITY, 200];

fn universe() -> Vec<InnerHeaders> {
    let mut packets = Vec::new();
    for (src, dst) in (0..ADDRS).flat_map(|src| (0..ADDRS).map(move |dst| (src, dst))) {
        for protocol in PACKET_PROTOCOLS {
            let mut push = |next_layer| {
                let endpoints = Endpoints::V4 { src, dst };
                let fragment = Fragment::None;
                packets.push(InnerHeaders { endpoints, protocol, next_layer, fragment });
            };
            push(NextLayer::Opaque);
            for value in VALUES {
                match protocol {
                    protocol::MOBILITY => push(NextLayer::Mobility(value)),
                    protocol::ICMP | protocol::ICMPV6 => push(NextLayer::Icmp(value)),
                    _ => VALUES.iter().for_each(|&dst| push(NextLayer::Ports { src: value, dst })),
                }
            }
        }
    }
    packets
}

type Packets = BTreeSet<usize>;

fn packets_of(selector: &Selector, universe: &[InnerHeaders]) -> Packets {
    let covered = universe.iter().enumerate().filter(|(_, packet)| selector.covers(packet));
    covered.map(|(at, _)| at).collect()
}

fn addrs() -> impl Strategy<Value = AddrRange> {
    (0..ADDRS, 0..ADDRS).prop_map(|(a, b)| AddrRange::V4 { lo: a.min(b), hi: a.max(b) })
}

fn ports() -> impl Strategy<Value = PortRange> {
    let some = (0..ENDS.len(), 0..ENDS.len())
        .prop_map(|(a, b)| PortRange::new(ENDS[a.min(b)], ENDS[a.max(b)]).unwrap());
    prop_oneof![4 => Just(PortRange::ANY), 1 => Just(PortRange::OPAQUE), 3 => some]
}

fn one_of(protocols: &'static [u8]) -> impl Strategy<Value = u8> {
    proptest::sample::select(protocols)
}

/// Also what no constructor makes: ports under protocol ANY, local values of ICMP.
fn selectors() -> impl Strategy<Value = Selector> {
    (addrs(), addrs(), one_of(&SELECTOR_PROTOCOLS), ports(), ports()).prop_map(
        |(remote, local, protocol, remote_ports, local_ports)| Selector {
            remote,
            local,
            protocol,
            remote_ports,
            local_ports,
        },
    )
}

fn one_side() -> impl Strategy<Value = TrafficSelector> {
    (addrs(), one_of(&SELECTOR_PROTOCOLS), ports()).prop_map(|(addrs, protocol, ports)| {
        let ports = if protocol == 0 { PortRange::ANY } else { ports };
        TrafficSelector::new(addrs, protocol, ports).unwrap()
    })
}

fn one_child() -> impl Strategy<Value = (usize, Vec<TrafficSelector>, Vec<TrafficSelector>)> {
    let lists = || proptest::collection::vec(one_side(), 1..3);
    (0..2_usize, lists(), lists())
}

/// What [`hidden`] should say of selectors that stand for these packets.
fn naive_hidden(sets: &[Packets]) -> Vec<(usize, Why)> {
    let mut found = Vec::new();
    for (index, own) in sets.iter().enumerate() {
        let earlier = &sets[..index];
        let union: Packets = earlier.iter().flatten().copied().collect();
        if own.is_empty() {
            found.push((index, Why::NoPacket));
        } else if let Some(by) = earlier.iter().position(|one| own.is_subset(one)) {
            found.push((index, Why::Shadowed { by }));
        } else if own.is_subset(&union) {
            found.push((index, Why::Unreachable { by: Vec::new() }));
        }
    }
    found
}

fn assert_hidden(said: &[Hidden], sets: &[Packets], universe_of: impl Fn(usize) -> usize) {
    let naive = naive_hidden(sets);
    assert_eq!(said.len(), naive.len(), "{said:?} {naive:?}");
    for (said, (index, naive)) in said.iter().zip(naive) {
        assert_eq!(said.index, universe_of(index));
        match (&said.why, naive) {
            (Why::Unreachable { by }, Why::Unreachable { .. }) => {
                assert!(by.is_sorted() && by.len() > 1, "{by:?}");
                let place = |name| (0..index).find(|&place| universe_of(place) == name).unwrap();
                let union: Packets = by.iter().flat_map(|&by| sets[place(by)].clone()).collect();
                assert!(sets[index].is_subset(&union));
            }
            (Why::Shadowed { by }, Why::Shadowed { by: naive }) => {
                assert_eq!(*by, universe_of(naive));
            }
            (said, naive) => assert_eq!(*said, naive),
        }
    }
}

proptest! {
    #[test]
    fn hidden_selectors_are_those_without_a_packet_of_their_own(
        selectors in proptest::collection::vec(selectors(), 0..14),
    ) {
        let universe = universe();
        let sets: Vec<_> = selectors.iter().map(|one| packets_of(one, &universe)).collect();
        assert_hidden(&hidden(&selectors, &Limits::USUAL), &sets, |index| index);
    }

    #[test]
    fn with_less_work_less_is_known_and_nothing_else_is_said(
        selectors in proptest::collection::vec(selectors(), 0..14),
        steps in 0..200_u64,
        steps_a_selector in 0..60_u64,
    ) {
        let all = why(&selectors);
        let limits = Limits { steps, steps_a_selector, ..Limits::USUAL };
        let some = hidden(&selectors, &limits);
        for one in &some {
            let known = all.contains(&(one.index, one.why.clone()));
            prop_assert!(known || one.why == Why::Undecided, "{:?} {:?}", one, all);
        }
        for (index, _) in &all {
            prop_assert!(some.iter().any(|one| one.index == *index), "{} is not told", index);
        }
    }

    #[test]
    fn children_overlap_and_hide_each_other_as_their_packets_do(
        children in proptest::collection::vec(one_child(), 0..7),
    ) {
        let universe = universe();
        let views: Vec<_> = children
            .iter()
            .map(|(tunnel, local, remote)| ChildSelectors { tunnel: *tunnel, local, remote })
            .collect();
        let analysis = Analysis::new(&views).unwrap();
        let boxes = analysis.boxes();
        let own = |child: usize| -> Vec<Selector> {
            boxes.iter().filter(|one| one.child == child).map(|one| one.selector).collect()
        };
        let alike = |a: usize, b: usize| {
            views[a].tunnel == views[b].tunnel
                && crate::selector::same_selectors(&own(a), &own(b))
        };
        let sets: Vec<_> = boxes.iter().map(|one| packets_of(&one.selector, &universe)).collect();

        let overlaps = analysis.overlaps(&Limits::USUAL);
        prop_assert!(overlaps.complete);
        let mut expected = Vec::new();
        for second in 0..boxes.len() {
            for first in 0..second {
                let both: Packets = sets[first].intersection(&sets[second]).copied().collect();
                if !both.is_empty() && !alike(boxes[first].child, boxes[second].child) {
                    expected.push((first, second, both));
                }
            }
        }
        prop_assert_eq!(overlaps.total, expected.len() as u64);
        let said: Vec<_> = overlaps
            .pairs
            .iter()
            .map(|pair| (pair.first, pair.second, packets_of(&pair.both, &universe)))
            .collect();
        prop_assert_eq!(said, expected);

        let hidden = analysis.hidden(&Limits::USUAL);
        for tunnel in 0..2 {
            let places: Vec<usize> = (0..boxes.len())
                .filter(|&at| views[boxes[at].child].tunnel == tunnel)
                .filter(|&at| !(0..boxes[at].child).any(|first| alike(first, boxes[at].child)))
                .collect();
            let sets: Vec<_> = places.iter().map(|&at| sets[at].clone()).collect();
            let said: Vec<_> =
                hidden.iter().filter(|one| places.contains(&one.index)).cloned().collect();
            assert_hidden(&said, &sets, |place| places[place]);
        }
        let none: Vec<_> = (0..views.len()).filter(|&child| own(child).is_empty()).collect();
        prop_assert_eq!(analysis.without_boxes().collect::<Vec<_>>(), none);
    }

    /// Spec 4.6: packet by packet, what the first pairs of a tunnel's Child SAs do not cover.
    #[test]
    fn pairs_are_lost_whose_packets_no_first_pair_covers(
        children in proptest::collection::vec(one_child(), 0..7),
        steps in prop_oneof![Just(u64::MAX), 0..300_u64],
        steps_a_selector in prop_oneof![Just(u64::MAX), 0..60_u64],
    ) {
        let universe = universe();
        let views: Vec<_> = children
            .iter()
            .map(|(tunnel, local, remote)| ChildSelectors { tunnel: *tunnel, local, remote })
            .collect();
        let analysis = Analysis::new(&views).unwrap();
        let boxes = analysis.boxes();
        let sets: Vec<_> = boxes.iter().map(|one| packets_of(&one.selector, &universe)).collect();
        let first = |child: usize| boxes.iter().position(|one| one.child == child);
        let mut expected = Vec::new();
        for (index, one) in boxes.iter().enumerate() {
            let is_told = first(one.child) != Some(index) && analysis.same_as(one.child).is_none();
            let kept: Vec<usize> = (0..views.len())
                .filter(|&child| views[child].tunnel == views[one.child].tunnel)
                .filter_map(first)
                .collect();
            let union: Packets = kept.iter().flat_map(|&at| sets[at].clone()).collect();
            if !is_told || sets[index].is_subset(&union) {
                continue;
            }
            let kept_by: Vec<_> =
                kept.into_iter().filter(|&at| !sets[at].is_disjoint(&sets[index])).collect();
            let loss = if kept_by.is_empty() { Loss::Whole } else { Loss::Part { kept_by } };
            expected.push(LostPair { index, loss });
        }
        let limits = Limits { steps, steps_a_selector, ..Limits::USUAL };
        let said = analysis.lost_pairs(&limits);
        prop_assert!(said.is_sorted_by_key(|lost| lost.index));
        if steps == u64::MAX && steps_a_selector == u64::MAX {
            prop_assert_eq!(&said, &expected);
        }
        // With less work less is known, and nothing else is said.
        for lost in &said {
            prop_assert!(lost.loss == Loss::Undecided || expected.contains(lost), "{:?}", lost);
        }
        for lost in &expected {
            prop_assert!(said.iter().any(|one| one.index == lost.index), "{:?}", lost);
        }
    }

    /// Large ranges, many boxes: the index against a scan.
    #[test]
    fn the_index_finds_what_a_scan_finds(
        cells in proptest::collection::vec([0..40_u128, 0..9, 0..40, 0..9], 0..120),
        question in [0..40_u128, 0..9, 0..40, 0..9],
        below in 0..130_usize,
    ) {
        let hull = |at, [a, b, c, d]: [u128; 4]| {
            Hull { cell: Cell([(a, a + b), (c, c + d), (6, 6), (0, 9), (0, 9)]), at }
        };
        let hulls: Vec<_> = cells.iter().enumerate().map(|(at, one)| hull(at, *one)).collect();
        let asked = hull(0, question).cell;
        let scan = |matches: fn(&Cell, &Cell) -> bool| -> Vec<usize> {
            let found = hulls.iter().filter(|one| one.at < below && matches(&asked, &one.cell));
            found.map(|one| one.at).collect()
        };
        let (meeting, around) = (scan(Cell::meets), scan(Cell::is_inside));
        let (index, mut steps) = (Index::new(hulls.clone()), Steps(u64::MAX));
        let mut found = index.meeting(&asked, below, &mut steps).unwrap();
        found.sort_unstable();
        prop_assert_eq!(&found, &meeting);
        let met = index.met(&asked, below, &mut steps).unwrap().map(|one| one.at);
        prop_assert!(met.map_or(meeting.is_empty(), |met| meeting.contains(&met)));
        for step in 1..3 {
            let even = |at: usize| at.is_multiple_of(step);
            let first = index.first_around(&asked, below, &mut steps, even).unwrap();
            prop_assert_eq!(first, around.iter().copied().find(|&at| even(at)));
        }
    }

    #[test]
    fn a_supernet_is_the_smallest_prefix_and_its_extra_is_counted(
        ranges in proptest::collection::vec((0..64_u32, 0..9_u32), 1..5),
    ) {
        let base = 0x0a00_0000;
        let side: Vec<_> = ranges
            .iter()
            .map(|(lo, more)| AddrRange::V4 { lo: base + lo, hi: base + lo + more })
            .map(TrafficSelector::any)
            .collect();
        let inside: BTreeSet<u32> = ranges.iter().flat_map(|(lo, more)| *lo..=lo + more).collect();
        let (first, last) = (*inside.first().unwrap(), *inside.last().unwrap());
        let bits = (0..8).find(|bits| first >> bits == last >> bits).unwrap();
        let found = supernets(&side)[0];
        prop_assert_eq!(found.covering.prefix.len(), 32 - bits);
        prop_assert!(found.covering.prefix.range().contains((base + first).to_be_bytes().into()));
        prop_assert_eq!(found.covering.extra, (1 << bits) - inside.len() as u128);
        let different: BTreeSet<_> = ranges.iter().collect();
        prop_assert_eq!(found.ranges, different.len());
    }
}

// --- Cases by name. ---

#[test]
fn t19_any_hides_opaque_and_opaque_hides_nothing() {
    let any = sel("10.0.0.0/8[tcp]", "10.1.0.0/16");
    let opaque = sel("10.0.0.0/8[tcp/opaque]", "10.1.0.0/16");
    let web = sel("10.0.0.0/8[tcp/443]", "10.1.0.0/16");
    assert_eq!(why(&[any, opaque, web]).len(), 2);
    assert_eq!(why(&[opaque, web, any]), []);
    // Every value, but not the packets without one.
    let (low, high) = (
        sel("10.0.0.0/8[tcp/0-99]", "10.1.0.0/16"),
        sel("10.0.0.0/8[tcp/100-65535]", "10.1.0.0/16"),
    );
    assert_eq!(why(&[low, high, any]), []);
    let by = vec![0, 1, 2];
    assert_eq!(why(&[low, high, opaque, any]), [(3, Why::Unreachable { by })]);
    // One side wants a value, the other none.
    assert_eq!(why(&[sel("10.0.0.0/8[tcp/443]", "10.1.0.0/16[tcp/opaque]")]), [(0, Why::NoPacket)]);
}

#[test]
fn t18_icmp_is_hidden_by_one_range_of_numbers() {
    let icmp = |values: &str| sel(&format!("10.0.0.0/8[icmp/{values}]"), "10.1.0.0/16");
    assert_eq!(why(&[icmp("3/1-4/15"), icmp("3/200")]), [(1, Why::Shadowed { by: 0 })]);
    assert_eq!(why(&[icmp("3/1-4/15"), icmp("4/16")]), []);
}

#[test]
fn protocols_together_are_never_any() {
    let mut every: Vec<_> =
        (1..=255).map(|number| sel(&format!("10.0.0.0/8[{number}]"), "10.1.0.0/16")).collect();
    every.push(sel("10.0.0.0/8", "10.1.0.0/16"));
    assert_eq!(why(&every), [], "protocol 0 is left");
}

#[test]
fn t7_parallel_child_sas_neither_overlap_nor_hide() {
    let (local, remote) = (list(&["10.1.0.0/16"]), list(&["10.2.0.0/16", "10.3.0.0/16"]));
    let other_way: Vec<_> = remote.iter().rev().copied().collect();
    let child = |tunnel, remote| ChildSelectors { tunnel, local: &local, remote };
    let one = Analysis::new(&[child(0, &remote), child(0, &other_way)]).unwrap();
    assert_eq!((one.same_as(0), one.same_as(1)), (None, Some(0)));
    assert_eq!(one.overlaps(&Limits::USUAL).total, 0);
    assert_eq!(one.hidden(&Limits::USUAL), []);
    // Of two tunnels the same is an overlap, and still hides nothing (A1).
    let two = Analysis::new(&[child(0, &remote), child(1, &other_way)]).unwrap();
    assert_eq!(two.overlaps(&Limits::USUAL).total, 2);
    assert_eq!(two.hidden(&Limits::USUAL), []);
}

/// The cloud gateway of section 3: one pair an SA, "more than one will cause unexpected results".
#[test]
fn a8_a_peer_with_one_pair_an_sa_loses_all_pairs_but_the_first() {
    let (local, remote) = (list(&["10.1.0.0/24", "10.1.1.0/24"]), list(&["10.2.0.0/24", "::/0"]));
    let of = |local, remote| ChildSelectors { tunnel: 0, local, remote };
    let lost = |children: &[ChildSelectors<'_>]| -> Vec<(String, Loss)> {
        let analysis = Analysis::new(children).unwrap();
        let lost = analysis.lost_pairs(&Limits::USUAL).into_iter();
        lost.map(|one| (analysis.boxes()[one.index].selector.local.to_string(), one.loss)).collect()
    };
    assert_eq!(lost(&[of(&local, &remote)]), [("10.1.1.0/24".into(), Loss::Whole)]);
    // Two with the same selectors lose the same, which is said once (T7).
    assert_eq!(lost(&[of(&local, &remote), of(&local, &remote)]).len(), 1);
    // Another Child SA has half of it, by its first pair; by its second it has nothing.
    let half = list(&["10.1.1.0/25", "10.1.1.128/25"]);
    assert_eq!(
        lost(&[of(&local, &remote), of(&half, &remote)]),
        [
            ("10.1.1.0/24".into(), Loss::Part { kept_by: vec![2] }),
            ("10.1.1.128/25".into(), Loss::Whole),
        ]
    );
    // Every value, but not the packets without one (T19).
    let tcp = |remote: &str| list(&[remote]);
    let (low, high) = (tcp("10.3.0.0/24[tcp/0-99]"), tcp("10.3.0.0/24[tcp/100-65535]"));
    let all = list(&["10.2.0.0/24", "10.3.0.0/24[tcp]"]);
    assert_eq!(
        lost(&[of(&half, &low), of(&half, &high), of(&half[..1], &all)]).last(),
        Some(&("10.1.1.0/25".into(), Loss::Part { kept_by: vec![0, 2] }))
    );
    // In another tunnel it is of no use.
    let other = ChildSelectors { tunnel: 1, ..of(&local[1..], &remote) };
    assert_eq!(lost(&[of(&local, &remote), other]).len(), 1);
    // The supernet of both, or a Child SA each, and nothing is lost.
    let supernet = list(&["10.1.0.0/23"]);
    assert_eq!(lost(&[of(&supernet, &remote)]), []);
    assert_eq!(lost(&[of(&local, &remote), of(&local[1..], &remote)]), []);
}

#[test]
fn families_have_nothing_in_common() {
    assert_eq!(
        why(&[sel("0.0.0.0/0", "0.0.0.0/0"), sel("::/0", "::/0"), sel("::1", "::")]),
        [(2, Why::Shadowed { by: 1 })]
    );
}

#[test]
fn seed_000_a8_three_networks_are_a_19_and_two_more_a_16() {
    let text = ["192.168.10.0/24", "192.168.20.0/24", "192.168.30.0/24", "192.168.40.0/24"];
    let found = supernets(&list(&text[..3]))[0];
    assert_eq!(found.covering.prefix.to_string(), "192.168.0.0/19");
    assert_eq!(found.covering.prefix.hosts().to_string(), "192.168.0.1-192.168.31.254");
    assert_eq!(found.covering.extra, 8192 - 768);
    assert_eq!(supernets(&list(&text))[0].covering.prefix.to_string(), "192.168.0.0/18");
    assert_eq!(supernets(&list(&["10.10.0.0/24"]))[0].covering.extra, 0);
    assert_eq!(supernets(&list(&["::", "ffff::", "10.0.0.1"])).len(), 2);
    assert_eq!(supernets(&list(&["::", "ffff::"]))[0].covering.extra, u128::MAX - 1);
}

#[test]
fn an_invalid_selector_is_named() {
    let right = list(&["10.0.0.0/8"]);
    let wrong = [TrafficSelector { ports: PortRange::OPAQUE, ..right[0] }];
    let child = |remote| ChildSelectors { tunnel: 0, local: &right, remote };
    let error = Analysis::new(&[child(&right), child(&wrong)]).unwrap_err();
    assert!(error.to_string().starts_with("Child SA 1: remote selector 0: "), "{error}");
}

#[test]
fn overlaps_beyond_the_limit_are_counted() {
    let (local, remote) = (list(&["10.1.0.0/16"]), list(&["10.2.0.0/16"]));
    let child = |tunnel| ChildSelectors { tunnel, local: &local, remote: &remote };
    let analysis = Analysis::new(&(0..50).map(child).collect::<Vec<_>>()).unwrap();
    let found = analysis.overlaps(&Limits { overlaps: 3, ..Limits::USUAL });
    assert_eq!((found.pairs.len(), found.total, found.complete), (3, 50 * 49 / 2, true));
    let found = analysis.overlaps(&Limits { steps: 300, ..Limits::USUAL });
    assert!(!found.complete && found.total < 50 * 49 / 2);
}

/// The bound in the documentation, where one side is disjoint and the other always the same.
#[test]
fn disjoint_ranges_are_not_compared_in_pairs() {
    for swapped in [false, true] {
        let boxes = 20_000_u32;
        let selectors: Vec<_> = (0..boxes)
            .map(|n| {
                let n = n.wrapping_mul(7919) % boxes;
                let (one, all) =
                    (AddrRange::V4 { lo: 16 * n, hi: 16 * n + 15 }, sel("0.0.0.0/0", "0.0.0.0/0"));
                if swapped {
                    Selector { local: one, ..all }
                } else {
                    Selector { remote: one, ..all }
                }
            })
            .collect();
        let levels = 5;
        let limits = Limits { steps: u64::from(8 * levels * boxes), ..Limits::USUAL };
        assert_eq!(hidden(&selectors, &limits), [], "and none is undecided");
    }
}
