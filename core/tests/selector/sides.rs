//! One side: a traffic selector.

use super::*;

#[test]
fn intersection_and_containment_are_those_of_the_sets() {
    let (selectors, points) = (small_selectors(), points());
    let sets: Vec<Vec<bool>> = selectors
        .iter()
        .map(|selector| points.iter().map(|point| admits(selector, point)).collect())
        .collect();
    for (a, in_a) in selectors.iter().zip(&sets) {
        assert!(a.is_contained_in(a));
        for (b, in_b) in selectors.iter().zip(&sets) {
            let meet = a.intersection(b);
            assert_eq!(meet, b.intersection(a), "commutes: {a} {b}");
            let both: Vec<bool> = in_a.iter().zip(in_b).map(|(a, b)| *a && *b).collect();
            match meet {
                None => assert!(!both.contains(&true), "{a} {b}"),
                Some(meet) => {
                    let in_meet: Vec<_> = points.iter().map(|point| admits(&meet, point)).collect();
                    assert_eq!(in_meet, both, "{a} {b}");
                    assert!(meet.is_contained_in(a) && meet.is_contained_in(b));
                    assert_eq!(meet.validate(), Ok(()));
                }
            }
            let subset = in_a.iter().zip(in_b).all(|(a, b)| !a || *b);
            if a.is_contained_in(b) {
                assert!(subset, "{a} {b}");
                assert!(a == b || !b.is_contained_in(a), "antisymmetric: {a} {b}");
            }
        }
    }
}

#[test]
fn rfc7296_3_13_1_any_includes_opaque_and_not_the_reverse() {
    let side = |ports| TrafficSelector { addrs: range("10.0.0.0/8"), protocol: 6, ports };
    let (any, opaque) = (side(PortRange::ANY), side(PortRange::OPAQUE));
    assert_eq!(any.intersection(&opaque), Some(opaque));
    assert_eq!(opaque.intersection(&any), Some(opaque));
    assert!(opaque.is_contained_in(&any) && !any.is_contained_in(&opaque));
    for real in ["0", "65535", "80", "0-65534", "1-65535"].map(|text| side(ports(text))) {
        assert_eq!(opaque.intersection(&real), None, "{real}");
        assert_eq!(real.intersection(&opaque), None, "{real}");
        assert!(!opaque.is_contained_in(&real), "{real}");
        assert!(real.is_contained_in(&any), "{real}");
    }
    assert!(PortRange::ANY.admits_opaque() && PortRange::OPAQUE.admits_opaque());
    assert!(!PortRange::OPAQUE.contains(0) && !PortRange::OPAQUE.contains(65535));
}

#[test]
fn rfc7296_3_13_1_protocol_any_must_have_ports_any() {
    for wrong in ["opaque", "0", "443", "0-65534", "1-65535"].map(ports) {
        let selector = TrafficSelector { protocol: 0, ports: wrong, addrs: range("::/0") };
        let cause = SelectorError::PortsWithoutProtocol { ports: wrong };
        assert_eq!(TrafficSelector::new(selector.addrs, 0, wrong), Err(cause));
        let any = TrafficSelector::any(selector.addrs);
        let error = PairError { side: Side::Remote, index: 0, cause };
        assert_eq!(Selector::pair(&any, &selector), Err(error));
        let error = PairError { side: Side::Local, index: 1, cause };
        assert_eq!(cross(&[any, selector], &[any]).unwrap_err(), error);
        let error = payload::WriteError::Selector { index: 0, cause };
        assert_eq!(payload::write_to_vec(&[selector]), Err(error));
    }
}

#[test]
fn rfc7296_3_13_1_one_port_and_all_ports_have_their_forms() {
    assert_eq!(PortRange::new(0, 65535), Some(PortRange::ANY));
    assert_eq!(PortRange::new(65535, 0), Some(PortRange::OPAQUE));
    for (lo, hi) in [(1, 0), (65535, 1), (65534, 0), (443, 442)] {
        assert_eq!(PortRange::new(lo, hi), None, "{lo}-{hi}");
    }
}

/// T18: type and code are one number.
#[test]
fn rfc4301_4_4_1_1_icmp_values_are_one_number() {
    let span = parse_icmp("3/1-4/15").unwrap();
    assert_eq!(span, ports("769-1039"));
    for (icmp_type, code, inside) in
        [(3, 0, false), (3, 1, true), (3, 200, true), (3, 255, true), (4, 0, true), (4, 15, true)]
            .into_iter()
            .chain([(4, 16, false), (5, 2, false), (0, 3, false), (1, 3, false)])
    {
        assert_eq!(span.contains(icmp_value(icmp_type, code)), inside, "{icmp_type}/{code}");
    }
    assert_eq!(icmp_parts(775), (3, 7));
    assert_eq!(icmp_parts(3), (0, 3), "the type is the high octet even where the value is small");
    for value in 0..=u16::MAX {
        let (icmp_type, code) = icmp_parts(value);
        assert_eq!(icmp_value(icmp_type, code), value);
        assert_eq!(u16::from(icmp_type) * 256 + u16::from(code), value);
    }
}

#[test]
fn hosts_of_a_selector() {
    for (text, host, includes, exactly, single) in [
        ("0.0.0.0/0", "192.0.2.7", true, false, false),
        ("192.0.2.7", "192.0.2.7", true, true, true),
        ("192.0.2.7", "192.0.2.8", false, false, true),
        ("192.0.2.7[udp/53]", "192.0.2.7", true, true, true),
        ("192.0.2.0/24", "192.0.2.0", true, false, false),
        ("192.0.2.7", "2001:db8::7", false, false, true),
        ("2001:db8::7", "2001:db8::7", true, true, true),
        ("::", "0.0.0.0", false, false, true),
        ("::/0", "192.0.2.7", false, false, false),
    ] {
        let (selector, host) = (ts(text), addr(host));
        assert_eq!(
            (selector.includes(host), selector.is_host(host), selector.is_single_host()),
            (includes, exactly, single),
            "{text} {host}"
        );
    }
}

/// The order of the conformance cases, each line before the next.
#[test]
fn order_of_selectors() {
    let ascending = [
        "1.0.0.0/8",
        "1.0.0.0/16",
        "1.0.0.0/16[icmp]",
        "1.0.0.0/16[tcp/55-65535]",
        "1.0.0.0/16[tcp/55-666]",
        "1.0.0.0/16[tcp/56-65535]",
        "1.0.0.0/16[tcp/opaque]",
        "1.0.0.0/16[udp]",
        "2.0.0.0/8",
        "255.255.255.255",
        "::/0",
        "::/1",
        "fec1::/48",
        "fec1::/64",
        "fec2::/64",
    ]
    .map(ts);
    for (i, a) in ascending.iter().enumerate() {
        for (j, b) in ascending.iter().enumerate() {
            assert_eq!(a.cmp(b), i.cmp(&j), "{a} {b}");
            assert_eq!(a.partial_cmp(b), Some(i.cmp(&j)));
        }
    }
}

#[test]
fn order_is_total_and_agrees_with_equality() {
    let selectors = small_selectors();
    for a in &selectors {
        for b in &selectors {
            assert_eq!(a.cmp(b).is_eq(), a == b);
            assert_eq!(a.cmp(b), b.cmp(a).reverse());
            for c in selectors.iter().step_by(7) {
                assert!(!(a <= b && b <= c) || a <= c, "{a} {b} {c}");
            }
        }
    }
}
