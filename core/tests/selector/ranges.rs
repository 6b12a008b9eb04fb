//! Address ranges as the sets of their addresses.

use super::*;

#[test]
fn ranges_are_the_sets_of_their_addresses() {
    for (family, base) in neighbourhoods() {
        let ranges = ranges_of(family, base);
        for a in &ranges {
            let in_a = members(a, family, base);
            assert_eq!(a.addresses(), Some(in_a.len() as u128), "{a}");
            assert_eq!(a.is_host(), in_a.len() == 1);
            assert_eq!(a.to_string().parse::<AddrRange>().as_ref(), Ok(a));
            assert_eq!(format!("{a:#}").parse::<AddrRange>().as_ref(), Ok(a));
            for b in &ranges {
                let in_b = members(b, family, base);
                let both: BTreeSet<_> = in_a.intersection(&in_b).copied().collect();
                let meet = a.intersection(b);
                assert_eq!(meet, b.intersection(a), "{a} {b}");
                assert_eq!(meet.is_none(), both.is_empty(), "{a} {b}");
                if let Some(meet) = meet {
                    assert_eq!(members(&meet, family, base), both, "{a} {b}");
                }
                assert_eq!(a.includes(b), in_b.is_subset(&in_a), "{a} {b}");
                let hull = a.hull(b).unwrap();
                assert!(hull.includes(a) && hull.includes(b));
                assert_eq!(hull.lo(), a.lo().min(b.lo()));
                assert_eq!(hull.hi(), a.hi().max(b.hi()));
            }
        }
    }
}

#[test]
fn families_never_meet() {
    let (v4, v6) = (AddrRange::all(Family::V4), AddrRange::all(Family::V6));
    assert_eq!(v4.intersection(&v6), None);
    assert_eq!(v4.hull(&v6), None);
    assert!(!v6.includes(&v4) && !v6.contains(addr("1.2.3.4")) && !v4.contains(addr("::1")));
    assert!(!v6.contains(addr("0.0.0.0")) && !v4.contains(addr("::")));
    assert!(v6.contains(addr("::ffff:1.2.3.4")), "a mapped address is an IPv6 address");
}

/// T15: both halves of an IPv6 address count, and so does every octet, most significant first.
#[test]
fn all_128_bits_are_compared() {
    for bit in 0..128 {
        let one = 1u128 << bit;
        let range = AddrRange::new(at(Family::V6, one), at(Family::V6, one)).unwrap();
        assert!(range.contains(at(Family::V6, one)));
        for other in (0..128).filter(|&other| other != bit) {
            assert!(!range.contains(at(Family::V6, 1 << other)), "{bit} {other}");
        }
    }
    assert!(range("1.0.0.0-1.255.255.255").contains(addr("1.2.3.4")));
    assert!(!range("1.0.0.0-1.255.255.255").contains(addr("4.3.2.1")));
}

#[test]
fn range_edges() {
    let cases = [
        ("10.0.0.10-10.0.0.20", &["10.0.0.10", "10.0.0.20"][..], &["10.0.0.9", "10.0.0.21"][..]),
        ("192.168.10.0-192.168.10.3", &["192.168.10.0", "192.168.10.3"], &["192.168.10.4"]),
        ("0.0.0.0/0", &["0.0.0.0", "0.0.0.1", "255.255.255.254", "255.255.255.255"], &[]),
        ("0.0.0.0", &["0.0.0.0"], &["0.0.0.1", "255.255.255.255", "::"]),
        ("255.255.255.255", &["255.255.255.255"], &["255.255.255.254", "0.0.0.0"]),
        ("::", &["::"], &["::1", "0.0.0.0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]),
        ("::/0", &["::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], &["0.0.0.0"]),
        (
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            &["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
            &["ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", "::"],
        ),
        (
            "2001:db8::ffff:ffff:ffff:ffff-2001:db8:0:1::",
            &["2001:db8::ffff:ffff:ffff:ffff", "2001:db8:0:1::"],
            &["2001:db8::ffff:ffff:ffff:fffe", "2001:db8:0:1::1"],
        ),
    ];
    for (text, inside, outside) in cases {
        for one in inside {
            assert!(range(text).contains(addr(one)), "{one} in {text}");
        }
        for one in outside {
            assert!(!range(text).contains(addr(one)), "{one} not in {text}");
        }
    }
}
