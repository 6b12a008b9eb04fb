//! What sets and packets are promised to be.

use std::collections::HashSet;

use espial::headers::{Endpoints, InnerHeaders};

use super::lists::{ACL, FW, IPC};
use super::*;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

fn covered(selectors: &[Selector], packet: &InnerHeaders) -> bool {
    selectors.iter().any(|selector| selector.covers(packet))
}

fn valid(selector: &Selector) -> bool {
    let (ports, values) = (selector.local_ports, selector.remote_ports);
    let ends = |range: &AddrRange| match *range {
        AddrRange::V4 { lo, hi } => (u128::from(lo), u128::from(hi), Family::V4),
        AddrRange::V6 { lo, hi } => (lo, hi, Family::V6),
    };
    let (remote, local) = (ends(&selector.remote), ends(&selector.local));
    let one_value = [1, 58, 135].contains(&selector.protocol);
    remote.0 <= remote.1
        && local.0 <= local.1
        && remote.2 == local.2
        && !ports.is_opaque()
        && !values.is_opaque()
        && (selector.protocol != 0 || ports.is_any() && values.is_any())
        && (!one_value || ports.is_any())
}

#[test]
fn sets_are_valid_of_the_size_asked_for_and_the_same_again() {
    for shape in Shape::ALL {
        for family in FAMILIES {
            for n in [1, 2, 33, 256, 1000] {
                let set = selectors(shape, n, family, 7);
                let whole = match shape {
                    Shape::Sites(each) => n / each * each,
                    _ => n,
                };
                assert_eq!(set.len(), whole, "{shape:?}, {n}");
                assert!(set.iter().all(valid), "{shape:?}, {family:?}, {n}");
                assert_eq!(set, selectors(shape, n, family, 7), "{shape:?}, {n}");
            }
            let fixed = [Shape::Nested, Shape::Crossing, Shape::Staircase].contains(&shape);
            let others = selectors(shape, 256, family, 8);
            assert_eq!(selectors(shape, 256, family, 7) == others, fixed, "{shape:?}");
        }
        assert_eq!(Shape::named(shape.name()), Some(shape));
    }
}

/// So many of 1000, give or take a quarter and 8.
fn about(count: usize, of: usize, per_mille: usize, what: &str) {
    let got = count * 1000 / of;
    let room = per_mille / 4 + 8;
    assert!(got.abs_diff(per_mille) <= room, "{what}: {got} of 1000, not {per_mille}");
}

#[test]
fn lists_have_the_proportions_of_their_profiles() {
    for (shape, profile) in [(Shape::Acl, ACL), (Shape::Fw, FW), (Shape::Ipc, IPC)] {
        for family in FAMILIES {
            let (set, name) = (selectors(shape, 10_000, family, 7), shape.name());
            let count = |wanted: &dyn Fn(&Selector) -> bool| {
                set.iter().filter(|selector| wanted(selector)).count()
            };
            let any = prefix(family, 0, 0);
            // What one field is also follows from what the others are: none of two ANY addresses, and
            // nothing twice.
            about(count(&|one| one.remote == any), 10_000, profile.remote.any, name);
            about(count(&|one| one.local == any), 10_000, profile.local.any, name);
            about(count(&|one| one.local.is_host()), 10_000, profile.local.hosts, name);
            about(count(&|one| one.protocol == 0), 10_000, profile.protocols.any, name);
            about(count(&|one| one.protocol == 6), 10_000, profile.protocols.tcp, name);
            let ports = |one: &Selector| [6, 17].contains(&one.protocol);
            let with = count(&ports);
            let any_port = count(&|one| ports(one) && one.local_ports.is_any());
            about(any_port, with, profile.local_ports.any, name);
            let any_port = count(&|one| ports(one) && one.remote_ports.is_any());
            about(any_port, with, profile.remote_ports.any, name);
            let both = count(&|one| one.remote == any && one.local == any);
            assert!((1..=4 * 10 * profile.both_any).contains(&both), "{name}: {both} any to any");
            assert_eq!(set.iter().collect::<HashSet<_>>().len(), set.len(), "{name}");
            assert!(set.iter().all(|one| one.remote.to_prefix().is_some()));
        }
    }
}

#[test]
fn each_site_has_a_network_of_its_own() {
    for family in FAMILIES {
        for each in [1, 4, 16, 64, 256] {
            let (set, side) = (selectors(Shape::Sites(each), 64 * each, family, 7), each.isqrt());
            let mut networks = HashSet::new();
            for tunnel in set.chunks(each) {
                let remote: HashSet<_> = tunnel.iter().map(|one| one.remote).collect();
                let local: HashSet<_> = tunnel.iter().map(|one| one.local).collect();
                assert_eq!((remote.len(), local.len()), (side, side));
                assert!(tunnel.iter().all(|one| one.protocol == tunnel[0].protocol));
                let site = |range: &AddrRange| match *range {
                    AddrRange::V4 { lo, .. } => u128::from(lo >> 12),
                    AddrRange::V6 { lo, .. } => lo >> 68,
                };
                let sites: HashSet<_> = remote.iter().map(site).collect();
                assert_eq!(sites.len(), 1, "one network for a site");
                assert!(networks.insert(site(&tunnel[0].remote)), "a network of another site");
                assert!(local.iter().all(|range| !sites.contains(&site(range))));
            }
        }
    }
    // The hub with as many tunnels as are asked for most.
    assert_eq!(selectors(Shape::Sites(4), 40_000, Family::V4, 7).len(), 40_000);
}

#[test]
fn hits_hit_and_misses_miss() {
    for shape in Shape::ALL {
        for family in FAMILIES {
            let set = selectors(shape, 256, family, 7);
            let hits = packets(&set, Traffic::Hit, 500, 7).unwrap();
            assert!(hits.iter().all(|packet| covered(&set, packet)), "{shape:?}, {family:?}");
            assert_eq!(hits, packets(&set, Traffic::Hit, 500, 7).unwrap());
            assert_ne!(hits, packets(&set, Traffic::Hit, 500, 8).unwrap());
            // Random boxes of this number leave nothing uncovered that random packets find.
            match packets(&set, Traffic::Miss, 500, 7) {
                Some(misses) => {
                    assert_eq!(misses.len(), 500);
                    assert!(!misses.iter().any(|packet| covered(&set, packet)), "{shape:?}");
                }
                None => assert_eq!(shape, Shape::Wide),
            }
        }
    }
    // One selector that covers everything.
    let all = prefix(Family::V4, 0, 0);
    let any = PortRange::ANY;
    let catch_all =
        Selector { remote: all, local: all, protocol: 0, remote_ports: any, local_ports: any };
    assert_eq!(packets(&[catch_all], Traffic::Miss, 10, 7), None);
}

#[test]
fn near_misses_have_one_other_field() {
    for family in FAMILIES {
        // One packet is covered, and nothing else.
        let host = prefix(family, 77, if family == Family::V4 { 32 } else { 128 });
        let [remote_ports, local_ports] = [1000, 2000].map(|port| ports(port, port));
        let one = Selector { remote: host, local: host, protocol: 17, remote_ports, local_ports };
        let hit = packets(&[one], Traffic::Hit, 1, 7).unwrap()[0];
        let near = packets(&[one], Traffic::Near, 5000, 7).unwrap();
        let fields = |packet: &InnerHeaders| match packet.endpoints {
            Endpoints::V4 { src, dst } => (u128::from(src) != 77, u128::from(dst) != 77),
            Endpoints::V6 { src, dst } => (src != 77, dst != 77),
        };
        let mut counts = [0; 4];
        for packet in &near {
            let (src, dst) = fields(packet);
            let (protocol, ports) = (packet.protocol != 17, packet.next_layer != hit.next_layer);
            // Another protocol may have no ports: then these are other too.
            let ports = ports && !protocol;
            let changed = [src, dst, protocol, ports];
            assert!(changed.iter().filter(|changed| **changed).count() <= 1, "{packet:?}");
            for (count, changed) in counts.iter_mut().zip(changed) {
                *count += usize::from(changed);
            }
        }
        for (count, per_mille) in counts.into_iter().zip([200, 200, 200, 400]) {
            about(count, 5000, per_mille, "near misses");
        }
    }
}

#[test]
fn hostile_shapes_are_what_they_are_called() {
    for family in FAMILIES {
        let inside =
            |a: &Selector, b: &Selector| b.remote.includes(&a.remote) && b.local.includes(&a.local);
        let nested = selectors(Shape::Nested, 500, family, 7);
        assert!(nested.windows(2).all(|two| inside(&two[0], &two[1]) && two[0] != two[1]));
        let identical = selectors(Shape::Identical, 500, family, 7);
        assert!(identical.iter().all(|one| *one == identical[0]));
        let crossing = selectors(Shape::Crossing, 500, family, 7);
        for (at, a) in crossing.iter().enumerate() {
            for (beside, b) in crossing.iter().enumerate() {
                let meet = a.remote.intersection(&b.remote).is_some()
                    && a.local.intersection(&b.local).is_some();
                assert_eq!(meet, at == beside || at % 2 != beside % 2, "{at} and {beside}");
            }
        }
        let stairs = selectors(Shape::Staircase, 500, family, 7);
        for (at, a) in stairs.iter().enumerate() {
            for (beside, b) in stairs.iter().enumerate() {
                let meet = a.remote.intersection(&b.remote).is_some();
                assert_eq!(meet, at.abs_diff(beside) <= 1, "{at} and {beside}");
            }
        }
    }
}
