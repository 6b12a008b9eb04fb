//! Both sides: pairs, and which packets they cover.

use super::*;

#[test]
fn rfc7296_3_13_lists_are_a_cross_product() {
    let locals = ["10.1.0.0/16[tcp/80]", "2001:db8::/32", "10.2.0.0/16"].map(ts);
    let remotes = ["10.8.0.0/16[udp]", "10.9.0.0/16", "2001:db9::/32[icmpv6/128/0]"].map(ts);
    let boxes: Vec<_> = cross(&locals, &remotes).unwrap().map(|one| one.to_string()).collect();
    assert_eq!(
        boxes,
        [
            "10.9.0.0/16[tcp] -> 10.1.0.0/16[tcp/80]",
            "2001:db9::/32[icmpv6/128/0] -> 2001:db8::/32",
            "10.8.0.0/16[udp] -> 10.2.0.0/16[udp]",
            "10.9.0.0/16 -> 10.2.0.0/16",
        ]
    );
    assert_eq!(cross(&[], &remotes).unwrap().next(), None);
    assert_eq!(cross(&locals, &[]).unwrap().next(), None);
}

/// T5: two Child SAs are two products, not the product of two unions.
#[test]
fn t5_pairs_of_two_child_sas_do_not_mix() {
    let (a, b) = (pair("10.1.0.0/16", "10.8.0.0/16"), pair("10.2.0.0/16", "10.9.0.0/16"));
    let mixed = packet("10.9.0.1", "10.1.0.1", protocol::TCP, NextLayer::Ports { src: 1, dst: 2 });
    assert!(!a.covers(&mixed) && !b.covers(&mixed));
    let locals = [ts("10.1.0.0/16"), ts("10.2.0.0/16")];
    let remotes = [ts("10.8.0.0/16"), ts("10.9.0.0/16")];
    assert!(cross(&locals, &remotes).unwrap().any(|one| one.covers(&mixed)));
}

#[test]
fn pairs_that_no_packet_matches_are_none() {
    for (local, remote) in [
        ("10.0.0.0/8", "::/0"),
        ("::/0[tcp]", "10.0.0.0/8[tcp]"),
        ("10.0.0.0/8[tcp]", "10.0.0.0/8[udp]"),
        ("10.0.0.0/8[icmp]", "10.0.0.0/8[icmpv6]"),
    ] {
        assert_eq!(Selector::pair(&ts(local), &ts(remote)), Ok(None), "{local} {remote}");
    }
}

/// T1: an inbound packet's source is compared with the remote side.
#[test]
fn rfc4301_5_2_source_is_compared_with_remote() {
    let selector = pair("10.1.0.0/16[tcp/443]", "10.9.0.0/16[tcp/1024-65535]");
    let forth = NextLayer::Ports { src: 2000, dst: 443 };
    assert!(selector.covers(&packet("10.9.0.1", "10.1.0.1", protocol::TCP, forth)));
    let swapped = packet("10.1.0.1", "10.9.0.1", protocol::TCP, forth);
    assert_eq!(selector.first_mismatch(&swapped), Some(Field::Src));
    let back = NextLayer::Ports { src: 443, dst: 2000 };
    let ports_swapped = packet("10.9.0.1", "10.1.0.1", protocol::TCP, back);
    assert_eq!(selector.first_mismatch(&ports_swapped), Some(Field::SourcePort));
}

/// T18: one value, which says on the remote side what may be received.
#[test]
fn rfc4301_4_4_1_3_one_value_is_the_remote_sides() {
    for (number, name, wrap) in [
        (protocol::ICMP, "icmp", NextLayer::Icmp as fn(u16) -> NextLayer),
        (protocol::ICMPV6, "icmpv6", NextLayer::Icmp),
        (protocol::MOBILITY, "mh", NextLayer::Mobility),
    ] {
        let field = if number == protocol::MOBILITY { Field::Mobility } else { Field::Icmp };
        let receives = |value| packet("::9", "::1", number, wrap(value));
        let value = |text: &str| format!("::/0[{name}/{text}]");

        let both = pair(&value("2048"), &value("1280"));
        assert_eq!(both.local_ports, PortRange::ANY);
        assert!(both.covers(&receives(1280)));
        assert_eq!(both.first_mismatch(&receives(2048)), Some(field));

        // Sent but not received: the remote side is OPAQUE.
        let send_only = pair(&value("2048"), &value("opaque"));
        assert_eq!(send_only.first_mismatch(&receives(2048)), Some(field));
        // Received but not sent: the local side is.
        let receive_only = pair(&value("opaque"), &value("1280"));
        assert!(receive_only.covers(&receives(1280)));
        // The local side may leave the protocol open.
        assert_eq!(pair("::/0", &value("1280")), both);
    }
}

/// T20: a missing port is no port 0, and only ANY and OPAQUE take it.
#[test]
fn rfc4301_7_non_initial_fragments_match_any_and_opaque_only() {
    let mut fragment = packet("10.9.0.1", "10.1.0.1", protocol::UDP, NextLayer::Opaque);
    for stale in [NextLayer::Opaque, NextLayer::Ports { src: 0, dst: 0 }] {
        fragment.fragment = Fragment::NonInitial;
        fragment.next_layer = stale;
        for (local, remote, field) in [
            ("any", "any", None),
            ("opaque", "any", None),
            ("any", "opaque", None),
            ("opaque", "opaque", None),
            ("0", "any", Some(Field::DestinationPort)),
            ("any", "0", Some(Field::SourcePort)),
            ("0-65534", "opaque", Some(Field::DestinationPort)),
            ("1-65535", "1-65535", Some(Field::SourcePort)),
        ] {
            let local = format!("10.1.0.0/16[udp/{local}]");
            let remote = format!("10.9.0.0/16[udp/{remote}]");
            assert_eq!(pair(&local, &remote).first_mismatch(&fragment), field, "{local} {remote}");
        }
    }
    let whole = packet("10.9.0.1", "10.1.0.1", protocol::UDP, NextLayer::Ports { src: 0, dst: 0 });
    let opaque = pair("10.1.0.0/16[udp]", "10.9.0.0/16[udp/opaque]");
    assert_eq!(opaque.first_mismatch(&whole), Some(Field::SourcePort), "OPAQUE has no values");
    for (text, field) in [("icmp/8/0", Field::Icmp), ("mh/256", Field::Mobility)] {
        let number = if field == Field::Icmp { protocol::ICMP } else { protocol::MOBILITY };
        let one = pair("10.1.0.0/16", &format!("10.9.0.0/16[{text}]"));
        let later = InnerHeaders { protocol: number, ..fragment };
        assert_eq!(one.first_mismatch(&later), Some(field));
    }
}

#[test]
fn the_first_mismatch_is_in_the_order_of_the_fields() {
    let selector = pair("10.1.0.0/16[tcp/443]", "10.9.0.0/16[tcp/1024-65535]");
    let wrong = NextLayer::Ports { src: 1, dst: 1 };
    let cases = [
        (packet("10.8.0.1", "10.2.0.1", 17, wrong), Field::Src),
        (packet("10.9.0.1", "10.2.0.1", 17, wrong), Field::Dst),
        (packet("10.9.0.1", "10.1.0.1", 17, wrong), Field::Protocol),
        (packet("10.9.0.1", "10.1.0.1", 6, wrong), Field::SourcePort),
        (
            packet("10.9.0.1", "10.1.0.1", 6, NextLayer::Ports { src: 1024, dst: 1 }),
            Field::DestinationPort,
        ),
    ];
    for (packet, field) in cases {
        assert_eq!(selector.first_mismatch(&packet), Some(field));
        assert!(!selector.covers(&packet));
    }
    // An address of the other family is outside too.
    assert_eq!(selector.first_mismatch(&packet("::1", "::2", 6, wrong)), Some(Field::Src));
}

/// A packet is covered by the cross product exactly if one selector of each side admits it.
#[test]
fn covers_is_membership_in_the_cross_product() {
    let sides = [
        "10.0.0.0/31",
        "10.0.0.1-10.0.0.2[tcp/80-85]",
        "10.0.0.2[tcp/opaque]",
        "10.0.0.0/30[udp]",
        "10.0.0.3[udp/0]",
    ]
    .map(ts);
    let ends: Vec<Point> = points()
        .into_iter()
        .filter(|(addr, protocol, _)| addr.is_ipv4() && matches!(*protocol, 6 | 17))
        .collect();
    for local in sides.chunks(2) {
        for remote in sides.chunks(3) {
            let boxes: Vec<_> = cross(local, remote).unwrap().collect();
            for src in &ends {
                for dst in ends.iter().step_by(3) {
                    if src.1 != dst.1 || src.2.is_some() != dst.2.is_some() {
                        continue;
                    }
                    let next_layer = match (src.2, dst.2) {
                        (Some(src), Some(dst)) => NextLayer::Ports { src, dst },
                        _ => NextLayer::Opaque,
                    };
                    let endpoints = Endpoints::new(src.0, dst.0).unwrap();
                    let packet = InnerHeaders {
                        endpoints,
                        protocol: src.1,
                        next_layer,
                        fragment: Fragment::None,
                    };
                    let expected = remote.iter().any(|one| admits(one, src))
                        && local.iter().any(|one| admits(one, dst));
                    let got = boxes.iter().any(|one| one.covers(&packet));
                    assert_eq!(got, expected, "{src:?} {dst:?}");
                }
            }
        }
    }
}

#[test]
fn sets_of_boxes_are_equal_in_any_order() {
    let (a, b) = (pair("10.1.0.0/16", "10.8.0.0/16"), pair("10.2.0.0/16", "10.9.0.0/16"));
    assert!(same_selectors(&[a, b], &[b, a]));
    assert!(same_selectors(&[a, a, b], &[b, a]));
    assert!(!same_selectors(&[a], &[a, b]) && !same_selectors(&[a, b], &[b]));
    assert!(same_selectors(&[], &[]) && !same_selectors(&[], &[a]));
    // The large form, which sorts, agrees with the small one.
    let many: Vec<_> =
        (0..80u32).map(|n| Selector { local: AddrRange::V4 { lo: n, hi: n + 3 }, ..a }).collect();
    let mut turned: Vec<_> = many.iter().rev().copied().chain([many[7]]).collect();
    assert!(same_selectors(&many, &turned));
    turned[3].protocol = 6;
    assert!(!same_selectors(&many, &turned));
}

#[test]
fn boxes_intersect_as_their_sides_do() {
    let a = pair("10.1.0.0/16", "10.8.0.0/15[tcp/80-90]");
    let b = pair("10.1.2.0/24[tcp/443]", "10.9.0.0/16");
    let meet = a.intersection(&b).unwrap();
    assert_eq!(meet.to_string(), "10.9.0.0/16[tcp/80-90] -> 10.1.2.0/24[tcp/443]");
    assert!(meet.is_contained_in(&a) && meet.is_contained_in(&b) && !a.is_contained_in(&b));
    assert_eq!(a.intersection(&pair("10.3.0.0/16", "10.9.0.0/16")), None);
}
