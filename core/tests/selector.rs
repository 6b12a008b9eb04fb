//! Traffic selectors against naive models: small universes are counted out, large ones sampled;
//! each MUST has a test with the name of its clause.
#![cfg(feature = "alloc")]

use core::net::IpAddr;
use std::collections::BTreeSet;

use espial::headers::{Endpoints, Family, Fragment, InnerHeaders, NextLayer, protocol};
use espial::selector::payload::{self, PayloadError, TsPayload};
use espial::selector::*;
use espial::verdict::Field;
use proptest::prelude::*;

fn range(text: &str) -> AddrRange {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn ts(text: &str) -> TrafficSelector {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn ports(text: &str) -> PortRange {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn packet(src: &str, dst: &str, protocol: u8, next_layer: NextLayer) -> InnerHeaders {
    let endpoints = Endpoints::new(addr(src), addr(dst)).unwrap();
    InnerHeaders { endpoints, protocol, next_layer, fragment: Fragment::None }
}

fn pair(local: &str, remote: &str) -> Selector {
    Selector::pair(&ts(local), &ts(remote)).unwrap().unwrap()
}

// --- The small universe: every range over 8 addresses at the edges of both families. ---

/// Eight neighbours at the start, in the middle and at the end of each family.
fn neighbourhoods() -> Vec<(Family, u128)> {
    vec![
        (Family::V4, 0),
        (Family::V4, 0x0a00_00fc),
        (Family::V4, u128::from(u32::MAX) - 7),
        (Family::V6, 0),
        (Family::V6, u128::from(u32::MAX) - 3),
        (Family::V6, u128::MAX - 7),
    ]
}

fn at(family: Family, bits: u128) -> IpAddr {
    match family {
        Family::V4 => core::net::Ipv4Addr::from_bits(bits.try_into().unwrap()).into(),
        Family::V6 => core::net::Ipv6Addr::from_bits(bits).into(),
    }
}

fn ranges_of(family: Family, base: u128) -> Vec<AddrRange> {
    let mut ranges = Vec::new();
    for lo in 0..8 {
        for hi in lo..8 {
            ranges.push(AddrRange::new(at(family, base + lo), at(family, base + hi)).unwrap());
        }
    }
    ranges
}

/// The addresses of a range, by asking for each of the neighbourhood.
fn members(range: &AddrRange, family: Family, base: u128) -> BTreeSet<u128> {
    (0..8).filter(|&step| range.contains(at(family, base + step))).collect()
}

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

// --- Prefixes ---

#[test]
fn counts_that_do_not_fit_are_none() {
    assert_eq!(AddrRange::all(Family::V6).addresses(), None);
    assert_eq!(AddrRange::all(Family::V6).following(), u128::MAX);
    assert_eq!(AddrRange::all(Family::V4).addresses(), Some(1 << 32));
    let all_but_one = range("::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    assert_eq!(all_but_one.addresses(), Some(u128::MAX));
    assert_eq!(all_but_one.covering_prefix().extra, 1);
    assert_eq!(all_but_one.prefixes().count(), 128);
}

#[test]
fn prefix_covers_are_exact_ordered_and_minimal() {
    for (family, base) in neighbourhoods() {
        for range in ranges_of(family, base) {
            let cover: Vec<_> = range.prefixes().collect();
            // Exact and in order: each starts where the one before ended.
            let mut next = Some(range.lo());
            for prefix in &cover {
                assert_eq!(Some(prefix.range().lo()), next, "{range}");
                assert_eq!(prefix.range().to_prefix(), Some(*prefix));
                let (_, bits) = bits(prefix.range().hi());
                next = (prefix.range().hi() != range.hi()).then(|| at(family, bits + 1));
            }
            assert_eq!(next, None, "{range}");
            assert_eq!(cover.len(), fewest_prefixes(&range), "{range}");
            let (low, high) = range.prefixes().size_hint();
            assert!(low <= cover.len() && cover.len() <= high.unwrap());
        }
    }
}

fn bits(addr: IpAddr) -> (Family, u128) {
    match addr {
        IpAddr::V4(addr) => (Family::V4, addr.to_bits().into()),
        IpAddr::V6(addr) => (Family::V6, addr.to_bits()),
    }
}

/// Fewest prefixes by dynamic programming over every prefix inside the range.
fn fewest_prefixes(range: &AddrRange) -> usize {
    let (family, lo) = bits(range.lo());
    let (_, hi) = bits(range.hi());
    let width = if family == Family::V4 { 32 } else { 128 };
    let span = (hi - lo + 1) as usize;
    let mut fewest = vec![usize::MAX; span + 1];
    fewest[0] = 0;
    for done in 0..span {
        if fewest[done] == usize::MAX {
            continue;
        }
        for host_bits in 0..=3u32 {
            let start = lo + done as u128;
            let size = 1usize << host_bits;
            if start.is_multiple_of(size as u128) && done + size <= span {
                let prefix = Prefix::new(at(family, start), (width - host_bits) as u8).unwrap();
                assert!(range.includes(&prefix.range()));
                fewest[done + size] = fewest[done + size].min(fewest[done] + 1);
            }
        }
    }
    fewest[span]
}

/// The longest covers there are: the range from 1 to the last address but one.
#[test]
fn the_stated_bound_of_prefixes_is_reached() {
    assert_eq!(range("0.0.0.1-255.255.255.254").prefixes().count(), 62);
    let v6 = range("::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe");
    assert_eq!(v6.prefixes().count(), 254);
}

#[test]
fn covering_prefixes_of_single_ranges() {
    let cases = [
        ("10.0.0.1", "10.0.0.1/32", 0),
        ("10.0.0.0-10.255.255.255", "10.0.0.0/8", 0),
        ("10.0.0.1-10.0.0.16", "10.0.0.0/27", 16),
        ("10.0.0.1-10.0.0.14", "10.0.0.0/28", 2),
        ("127.255.255.255-128.0.0.0", "0.0.0.0/0", (1 << 32) - 2),
        ("0.0.0.0/0", "0.0.0.0/0", 0),
        ("255.255.255.255", "255.255.255.255/32", 0),
        ("fec1::1-fec1::ffff:ffff:ffff:ffff", "fec1::/64", 1),
        ("fec1::1-fec1::efff", "fec1::/112", 0x1_0000 - 0xefff),
        ("::/0", "::/0", 0),
        ("::-::", "::/128", 0),
    ];
    for (text, prefix, extra) in cases {
        let covering = range(text).covering_prefix();
        assert_eq!((covering.prefix.to_string().as_str(), covering.extra), (prefix, extra));
        assert_eq!(range(text).to_prefix().is_some(), extra == 0, "{text}");
    }
    let cover: Vec<_> =
        range("2001:db8::5-2001:db8::a").prefixes().map(|p| p.to_string()).collect();
    assert_eq!(cover, ["2001:db8::5/128", "2001:db8::6/127", "2001:db8::8/127", "2001:db8::a/128"]);
}

/// Seed 000, remedies (ii) and (iii): A8.
#[test]
fn a8_three_networks_become_one_supernet() {
    let remotes = ["192.168.10.0/24", "192.168.20.0/24", "192.168.30.0/24"].map(range);
    let covering = covering_prefix_of_copies(&remotes).unwrap();
    assert_eq!(covering.prefix.to_string(), "192.168.0.0/19");
    assert_eq!(covering.prefix.mask(), addr("255.255.224.0"));
    assert_eq!(covering.prefix.hosts(), range("192.168.0.1-192.168.31.254"));
    assert_eq!(covering.extra, 32 * 256 - 3 * 256);
    for remote in remotes {
        assert!(covering.prefix.range().includes(&remote));
    }
    for beyond in ["192.168.40.0/24", "192.168.50.0/24"].map(range) {
        assert_eq!(covering.prefix.range().intersection(&beyond), None);
        let wide = Prefix::new(addr("192.168.0.0"), 16).unwrap();
        assert!(wide.range().includes(&beyond));
        assert_eq!(wide.mask(), addr("255.255.0.0"));
    }
}

#[test]
fn hosts_and_masks_of_every_length() {
    for (text, hosts, mask) in [
        ("10.0.0.0/30", "10.0.0.1-10.0.0.2", "255.255.255.252"),
        ("10.0.0.0/31", "10.0.0.0-10.0.0.1", "255.255.255.254"),
        ("10.0.0.7/32", "10.0.0.7", "255.255.255.255"),
        ("0.0.0.0/0", "0.0.0.1-255.255.255.254", "0.0.0.0"),
        ("2001:db8::/126", "2001:db8::1-2001:db8::3", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc"),
        ("2001:db8::/127", "2001:db8::-2001:db8::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"),
        ("::/0", "::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::"),
    ] {
        let prefix = range(text).to_prefix().unwrap();
        assert_eq!(prefix.hosts(), range(hosts), "{text}");
        assert_eq!(prefix.mask(), addr(mask), "{text}");
    }
    for (zero, width) in [("0.0.0.0", 32), ("::", 128)] {
        for len in 0..=width {
            let prefix = Prefix::new(addr(zero), len).unwrap();
            assert_eq!(Prefix::len_of_mask(prefix.mask()), Some(len));
            assert_eq!(prefix.to_string().parse(), Ok(prefix.range()));
        }
        let error = Prefix::new(addr(zero), width + 1).unwrap_err();
        assert_eq!(error, PrefixError::Length { len: width + 1, max: width });
    }
    assert_eq!(Prefix::len_of_mask(addr("255.0.255.0")), None);
    assert_eq!(Prefix::len_of_mask(addr("0.0.0.1")), None);
    assert_eq!(Prefix::len_of_mask(addr("::1")), None);
}

/// Seed 003 writes a source with host bits under its mask (D4): strict says so, masked takes it.
#[test]
fn d4_host_bits_are_an_error_or_masked_but_never_kept() {
    for (given, network) in [("203.0.113.2", "203.0.113.0/30"), ("198.51.100.2", "198.51.100.0/30")]
    {
        let expected = range(network);
        let error = AddrRange::from_prefix(addr(given), 30).unwrap_err();
        let network = expected.lo();
        assert_eq!(error, PrefixError::HostBits { addr: addr(given), len: 30, network });
        assert_eq!(AddrRange::from_prefix_masked(addr(given), 30), Ok(expected));
        let text = format!("{given}/255.255.255.252");
        assert_eq!(text.parse::<AddrRange>(), Err(RangeTextError::Prefix(error)));
        assert_eq!(AddrRange::parse_masked(&text), Ok(expected));
    }
}

#[test]
fn covering_several_ranges_refuses_what_has_no_prefix() {
    assert_eq!(covering_prefix_of(&mut []), Err(CoverError::Empty));
    let mut mixed = ["10.0.0.9", "10.0.0.1", "::1"].map(range);
    let error = covering_prefix_of(&mut mixed).unwrap_err();
    assert_eq!(error, CoverError::MixedFamilies { index: 2 });
    assert_eq!(mixed, ["10.0.0.9", "10.0.0.1", "::1"].map(range), "unchanged after a failure");
    let whole = ["::/1", "8000::/1", "::/0"].map(range);
    assert_eq!(covering_prefix_of_copies(&whole).unwrap().extra, 0);
}

/// Every choice of up to three ranges of a neighbourhood, against counting.
#[test]
fn covering_prefix_of_several_is_smallest_and_counts_each_extra_once() {
    for (family, base) in neighbourhoods() {
        let ranges = ranges_of(family, base);
        for a in &ranges {
            for b in &ranges {
                for c in ranges.iter().step_by(5) {
                    let chosen = [*a, *b, *c];
                    let covering = covering_prefix_of_copies(&chosen).unwrap();
                    let prefix = covering.prefix.range();
                    assert!(chosen.iter().all(|one| prefix.includes(one)));
                    let union: BTreeSet<_> =
                        chosen.iter().flat_map(|one| members(one, family, base)).collect();
                    assert_eq!(covering.extra + union.len() as u128, prefix.addresses().unwrap());
                    if covering.prefix.len() < if family == Family::V4 { 32 } else { 128 } {
                        for half in [prefix.lo(), prefix.hi()] {
                            let half = Prefix::masked(half, covering.prefix.len() + 1).unwrap();
                            assert!(!chosen.iter().all(|one| half.range().includes(one)));
                        }
                    }
                    let mut joined = chosen;
                    let count = coalesce(&mut joined);
                    let again: BTreeSet<_> =
                        joined[..count].iter().flat_map(|one| members(one, family, base)).collect();
                    assert_eq!(again, union);
                    let gaps = union.iter().filter(|&&step| !union.contains(&(step + 1))).count();
                    assert_eq!(count, gaps, "fewest ranges: {chosen:?}");
                }
            }
        }
    }
}

// --- One side ---

/// A few values of each axis, chosen so that all kinds of overlap occur.
fn small_selectors() -> Vec<TrafficSelector> {
    let addrs = ["10.0.0.0/30", "10.0.0.1-10.0.0.2", "10.0.0.2-10.0.0.5", "10.0.0.2", "::/126"];
    let values = ["any", "opaque", "0", "65535", "80-90", "85-65535", "0-85"];
    let mut selectors = Vec::new();
    for addrs in addrs.map(range) {
        selectors.push(TrafficSelector::any(addrs));
        for protocol in [protocol::TCP, protocol::UDP, protocol::ICMP] {
            for ports in values.map(ports) {
                selectors.push(TrafficSelector::new(addrs, protocol, ports).unwrap());
            }
        }
    }
    selectors
}

/// One side of a packet: address, protocol, value or none.
const GRE: u8 = 47;

type Point = (IpAddr, u8, Option<u16>);

fn points() -> Vec<Point> {
    let mut points = Vec::new();
    for last in 0..7u8 {
        for protocol in [protocol::TCP, protocol::UDP, protocol::ICMP, GRE] {
            for value in [0, 79, 80, 84, 85, 86, 90, 91, 65534, 65535].map(Some) {
                points.push((IpAddr::from([10, 0, 0, last]), protocol, value));
            }
            points.push((IpAddr::from([10, 0, 0, last]), protocol, None));
        }
    }
    points.push((addr("::2"), protocol::TCP, Some(80)));
    points.push((addr("::2"), protocol::TCP, None));
    points
}

/// RFC 7296 section 3.13.1, word by word.
fn admits(selector: &TrafficSelector, (addr, protocol, value): &Point) -> bool {
    let protocol_fits = selector.protocol == 0 || selector.protocol == *protocol;
    let (lo, hi) = (selector.ports.lo(), selector.ports.hi());
    let value_fits = match value {
        _ if (lo, hi) == (0, 65535) => true,
        None => (lo, hi) == (65535, 0),
        Some(_) if (lo, hi) == (65535, 0) => false,
        Some(value) => lo <= *value && *value <= hi,
    };
    selector.addrs.contains(*addr) && protocol_fits && value_fits
}

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

// --- Boxes ---

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

// --- Narrowing ---

fn list(text: &str) -> Vec<Configured> {
    text.split_whitespace().map(|one| one.parse().unwrap()).collect()
}

fn shown(list: &[Configured]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Configured | hosts | supplied, `-` for nothing proposed | selected | the same with every entry
/// cut to the hosts, `=` if equal | whether narrowed.
const NARROWING: &str = "
    dynamic                 |                    | -                         | dynamic                   | =                   | no
    dynamic dynamic         |                    | -                         | dynamic dynamic           | =                   | no
    dynamic 10.7.0.0/16     | 10.7.0.1           | -                         | 10.7.0.0/16               | 10.7.0.1            | no
    10.7.0.1 10.7.0.0/16    |                    | -                         | 10.7.0.0/16               | =                   | no
    # A placeholder without a host matches nothing.
    dynamic                 |                    | 10.7.0.0/16               |                           | =                   | yes
    dynamic                 | 10.7.0.1           | 0.0.0.0/0                 | 10.7.0.1                  | =                   | no
    dynamic                 | 10.7.0.1           | 10.7.0.1                  | 10.7.0.1                  | =                   | no
    dynamic                 | 10.7.0.1 192.0.2.1 | 10.7.0.0/16               | 10.7.0.1                  | =                   | yes
    dynamic                 | 10.7.0.1 192.0.2.1 | 192.0.2.0/24 10.7.0.0/16  | 10.7.0.1 192.0.2.1        | =                   | no
    dynamic[tcp/80]         | 10.7.0.1           | 0.0.0.0/0                 | 10.7.0.1[tcp/80]          | =                   | no
    # The unspecified address is any host of its family.
    dynamic                 | 0.0.0.0            | 10.7.0.0/16               | 10.7.0.0/16               | =                   | yes
    dynamic                 | ::                 | 10.7.0.0/16 ::/0          | ::/0                      | =                   | no
    10.7.0.0/16             | 0.0.0.0            | 0.0.0.0/0                 | 10.7.0.0/16               | =                   | no
    # Forced, fixed entries are cut to the hosts that they include.
    0.0.0.0/0               | 10.7.0.1           | 0.0.0.0/0                 | 0.0.0.0/0                 | 10.7.0.1            | no
    0.0.0.0/0               | 10.7.0.1 192.0.2.1 | -                         | 0.0.0.0/0                 | 10.7.0.1 192.0.2.1  | no
    10.7.0.0/16 10.8.0.0/16 | 10.7.0.1           | 0.0.0.0/0                 | 10.7.0.0/16 10.8.0.0/16   | 10.7.0.1            | no
    10.7.0.0/16             | 192.0.2.1          | 0.0.0.0/0                 | 10.7.0.0/16               |                     | no
    # The order is the configured one, and inside it the proposed one.
    0.0.0.0/0               |                    | 10.8.0.0/16 10.7.0.0/16   | 10.8.0.0/16 10.7.0.0/16   | =                   | yes
    10.8.0.0/16 10.7.0.0/16 |                    | 10.7.0.0/16 10.8.0.0/16   | 10.8.0.0/16 10.7.0.0/16   | =                   | no
    # What lies inside another is left out, wherever it stands.
    10.7.0.0/16 10.8.0.0/16 |                    | 10.7.0.1 10.7.0.0/16      | 10.7.0.0/16               | =                   | yes
    10.7.0.0/16 10.8.0.0/16 |                    | 10.8.0.1 10.7.0.0/16      | 10.7.0.0/16 10.8.0.1      | =                   | yes
    # Two halves are not joined.
    10.7.0.0/16             |                    | 10.7.0.0/17 10.7.128.0/17 | 10.7.0.0/17 10.7.128.0/17 | =                   | yes
    # Protocol and ports narrow as addresses do.
    0.0.0.0/0               |                    | 10.7.0.0/16[tcp]          | 10.7.0.0/16[tcp]          | =                   | yes
    10.7.0.0/16[udp/53]     |                    | 0.0.0.0/0[udp/opaque] 10.0.0.0/8[udp/50-60] | 10.7.0.0/16[udp/53] | =       | no
    10.7.0.0/16[tcp]        |                    | ::/0 10.0.0.0/8[udp]      |                           | =                   | yes
";

/// RFC 7296 section 2.9, and what its words leave open: order and duplicates.
#[test]
fn rfc7296_2_9_narrowing() {
    let cases = NARROWING.lines().filter(|line| line.contains('|'));
    for line in cases {
        let fields: Vec<_> = line.split('|').map(str::trim).collect();
        let &[config, hosts, supplied, selected, forced, narrowed] = &fields[..] else {
            panic!("{line}")
        };
        let config = list(config);
        let hosts: Vec<IpAddr> = hosts.split_whitespace().map(addr).collect();
        let supplied: Option<Vec<_>> =
            (supplied != "-").then(|| supplied.split_whitespace().map(ts).collect());
        let forced = if forced == "=" { selected } else { forced };
        for (rule, expected) in [(HostRule::DynamicOnly, selected), (HostRule::EveryEntry, forced)]
        {
            let (got, flag) = narrow_to_vec(&config, supplied.as_deref(), &hosts, rule);
            assert_eq!(shown(&got), expected, "{line}");
            assert_eq!(flag, narrowed == "yes", "{line} {rule:?}");
            narrow_into_every_room(&config, supplied.as_deref(), &hosts, rule, &got, flag);
        }
    }
}

/// The caller's slice holds the same, or the error names a length that is enough.
fn narrow_into_every_room(
    config: &[Configured],
    supplied: Option<&[TrafficSelector]>,
    hosts: &[IpAddr],
    rule: HostRule,
    expected: &[Configured],
    flag: bool,
) {
    let filler = Configured::Dynamic { protocol: 0, ports: PortRange::ANY };
    for room in 0.. {
        let mut out = vec![filler; room];
        match narrow(config, supplied, hosts, rule, &mut out) {
            Ok(narrowing) => {
                assert_eq!(&out[..narrowing.count], expected);
                assert_eq!(narrowing.narrowed, flag);
                break;
            }
            Err(error) => {
                assert_eq!(error.given, room);
                assert!(room < error.needed);
                let mut enough = vec![filler; error.needed];
                assert!(narrow(config, supplied, hosts, rule, &mut enough).is_ok());
            }
        }
    }
}

#[test]
fn dedupe_keeps_the_widest_in_order() {
    for (text, expected) in [
        ("10.7.0.0/16 10.7.0.0/16", "10.7.0.0/16"),
        ("10.7.0.1 10.7.0.0/16", "10.7.0.0/16"),
        ("10.7.0.0/16 10.7.0.1", "10.7.0.0/16"),
        ("10.8.0.0/16 10.7.0.1 10.7.0.0/16", "10.8.0.0/16 10.7.0.0/16"),
        ("10.7.0.1 10.8.0.0/16 10.7.0.2 0.0.0.0/0 10.7.0.3", "0.0.0.0/0"),
        (
            "10.7.0.0/16[tcp/80] 10.7.0.0/16[tcp] 10.7.0.0/16[udp]",
            "10.7.0.0/16[tcp] 10.7.0.0/16[udp]",
        ),
        ("dynamic dynamic", "dynamic dynamic"),
        ("dynamic 0.0.0.0/0 dynamic[tcp]", "dynamic 0.0.0.0/0 dynamic[tcp]"),
        ("", ""),
    ] {
        assert_eq!(shown(&dedupe_to_vec(&list(text))), expected, "{text}");
    }
}

proptest! {
    /// Duplicates fall out the same whether they are looked for one by one or all with all.
    #[test]
    fn dedupe_agrees_with_the_definition(picks in prop::collection::vec(0usize..110, 0..12)) {
        let pool = small_selectors();
        let entries: Vec<_> = picks.iter().map(|&at| Configured::from(pool[at])).collect();
        let expected: Vec<_> = entries
            .iter()
            .enumerate()
            .filter(|(at, one)| {
                !entries.iter().enumerate().any(|(other_at, other)| {
                    one.is_contained_in(other) && (*one != other || other_at < *at)
                })
            })
            .map(|(_, one)| *one)
            .collect();
        prop_assert_eq!(dedupe_to_vec(&entries), expected);
    }

    /// A point is selected exactly if it is configured and supplied.
    #[test]
    fn narrowing_is_the_intersection_of_the_sets(
        config in prop::collection::vec(0usize..110, 0..6),
        supplied in prop::collection::vec(0usize..110, 0..6),
    ) {
        let pool = small_selectors();
        let config: Vec<_> = config.iter().map(|&at| pool[at]).collect();
        let supplied: Vec<_> = supplied.iter().map(|&at| pool[at]).collect();
        let entries: Vec<_> = config.iter().copied().map(Configured::Fixed).collect();
        let (selected, narrowed) =
            narrow_to_vec(&entries, Some(&supplied), &[], HostRule::DynamicOnly);
        let mut lost = false;
        for point in points() {
            let in_config = config.iter().any(|one| admits(one, &point));
            let in_both = in_config && supplied.iter().any(|one| admits(one, &point));
            let in_selected =
                selected.iter().filter_map(Configured::fixed).any(|one| admits(one, &point));
            prop_assert_eq!(in_selected, in_both);
            lost |= in_config && !in_selected;
        }
        prop_assert!(narrowed || !lost, "what is lost is reported");
    }
}

// --- Text ---

#[test]
fn ranges_are_printed_shortest_and_read_back() {
    for (text, canonical) in [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("10.0.0.0-10.255.255.255", "10.0.0.0/8"),
        ("10.0.0.1/32", "10.0.0.1"),
        ("10.0.0.1-10.0.0.1", "10.0.0.1"),
        ("10.0.0.1-10.0.0.2", "10.0.0.1-10.0.0.2"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("2001:db8:0:0::1", "2001:db8::1"),
        ("::-::ff", "::/120"),
        ("::ffff:10.0.0.0/104", "::ffff:10.0.0.0/104"),
    ] {
        assert_eq!(range(text).to_string(), canonical);
        assert_eq!(range(canonical), range(text));
    }
    assert_eq!(format!("{:#}", range("10.155.0.0/16")), "10.155.0.0-10.155.255.255");
}

#[test]
fn ranges_that_make_no_sense_say_why() {
    for (text, says) in [
        ("::/129", "prefix length 129 at octet 3 is more than 128"),
        ("10.0.0.0/33", "prefix length 33 at octet 9 is more than 32"),
        ("10.0.0.0/4294967296", "prefix length 4294967295 at octet 9 is more than 32"),
        ("10.0.0.9-10.0.0.1", "the range 10.0.0.9-10.0.0.1 ends before it starts"),
        ("10.0.0.1-::1", "the range 10.0.0.1-::1 starts in one IP version and ends in the other"),
        ("10.1.2.3/16", "10.1.2.3/16 has bits set behind its first 16: the network is 10.1.0.0/16"),
        ("::1/0", "::1/0 has bits set behind its first 0: the network is ::/0"),
        ("10.0.0.0/255.0.255.0", "255.0.255.0 at octet 9 is no mask: ones follow zeros"),
        ("", "an IP address is missing at octet 0"),
        ("10.0.0.1-", "an IP address is missing at octet 9"),
        ("a.b.c.d/16", "the 7 octets at octet 0 are no IP address"),
        ("10.0.0.1-10.0.0.x", "the 8 octets at octet 9 are no IP address"),
    ] {
        assert_eq!(text.parse::<AddrRange>().unwrap_err().to_string(), says, "{text}");
    }
    const WRONG: &str = "10.0.0.0/|10.0.0.0/+8|10.0.0.0/08|10.0.0.0/-8|10.0.0.0/8/8|10.0.0.0/ 8|\
        /8|-|/| 10.0.0.0/8|10.0.0.0/8 |10.0.0.1 - 10.0.0.2|10.0.0.1-10.0.0.2-10.0.0.3|10.0.0|any|\
        010.0.0.1|10.0.0.256|fe80::1%eth0|::/ffff::|10.0.0.0-10.0.0.7/29|10.0.0.0/0x8|10.0.0.0/8[";
    for text in WRONG.split('|') {
        assert!(text.parse::<AddrRange>().is_err(), "{text}");
        assert!(AddrRange::parse_masked(text).is_err(), "{text}");
    }
}

#[test]
fn ports_protocols_and_icmp_values_have_text_forms() {
    for (text, expected) in [
        ("any", PortRange::ANY),
        ("ANY", PortRange::ANY),
        ("0-65535", PortRange::ANY),
        ("Opaque", PortRange::OPAQUE),
        ("0", PortRange::new(0, 0).unwrap()),
        ("65535", PortRange::new(65535, 65535).unwrap()),
        ("80-80", PortRange::new(80, 80).unwrap()),
        ("1-65535", PortRange::new(1, 65535).unwrap()),
    ] {
        assert_eq!(text.parse(), Ok(expected), "{text}");
        assert_eq!(expected.to_string().parse(), Ok(expected));
        assert_eq!(parse_icmp(&IcmpValues(expected).to_string()), Ok(expected));
    }
    for (text, error) in [
        ("", PortTextError::Number { at: 0 }),
        ("80-", PortTextError::Number { at: 3 }),
        ("+80", PortTextError::Number { at: 0 }),
        ("080", PortTextError::Number { at: 0 }),
        ("65536", PortTextError::TooLarge { at: 0, value: 65536, max: 65535 }),
        ("1-99999999999", PortTextError::TooLarge { at: 2, value: u32::MAX, max: 65535 }),
        ("90-80", PortTextError::Reversed { lo: 90, hi: 80 }),
        ("65535-0", PortTextError::Reversed { lo: 65535, hi: 0 }),
        ("any-80", PortTextError::Number { at: 0 }),
    ] {
        assert_eq!(text.parse::<PortRange>(), Err(error), "{text}");
        assert_eq!(parse_icmp(text), Err(error), "{text}");
    }
    assert_eq!(parse_icmp("3/256"), Err(PortTextError::TooLarge { at: 2, value: 256, max: 255 }));
    assert_eq!(parse_icmp("8/0-3/x"), Err(PortTextError::Number { at: 6 }));
    assert_eq!(parse_icmp("8/0").map(|one| IcmpValues(one).to_string()).as_deref(), Ok("8/0"));

    for number in 0..=u8::MAX {
        assert_eq!(parse_protocol(&ProtocolName(number).to_string()), Ok(number));
        assert_eq!(parse_protocol(&number.to_string()), Ok(number));
    }
    let names = "any 0 icmp 1 tcp 6 TCP 6 udp 17 dccp 33 gre 47 esp 50 ah 51 icmpv6 58 \
        ipv6-icmp 58 sctp 132 mh 135 mobility-header 135 udp-lite 136 udplite 136 255 255";
    let mut words = names.split_whitespace();
    while let (Some(name), Some(number)) = (words.next(), words.next()) {
        assert_eq!(parse_protocol(name), Ok(number.parse().unwrap()), "{name}");
    }
    assert_eq!(parse_protocol("256"), Err(ProtocolTextError::TooLarge { number: 256 }));
    for text in ["", "-1", "006", "tcp ", "ip"] {
        assert_eq!(parse_protocol(text), Err(ProtocolTextError::Unknown), "{text}");
    }
}

#[test]
fn selectors_are_printed_and_read_back() {
    for selector in small_selectors() {
        assert_eq!(selector.to_string().parse(), Ok(selector), "{selector}");
    }
    assert_eq!(ts("10.0.0.0/8[any]"), ts("10.0.0.0/8"));
    assert_eq!(ts("10.0.0.0/8[1/3/1-4/15]").to_string(), "10.0.0.0/8[icmp/3/1-4/15]");
    for text in ["10.0.0.0/8[tcp", "10.0.0.0/8[]", "10.0.0.0/8[tcp/80]x", "[tcp]", "dynamic"] {
        assert!(text.parse::<TrafficSelector>().is_err(), "{text}");
    }
    assert!("dynamic[any/80]".parse::<Configured>().is_err(), "ports under protocol any");
}

#[test]
fn ipnet_conversions_are_exact_or_fail() {
    use ipnet::{IpNet, Ipv4Net, Ipv6Net};

    let net: IpNet = "10.0.0.0/8".parse().unwrap();
    assert_eq!(AddrRange::try_from(net), Ok(range("10.0.0.0/8")));
    assert_eq!(IpNet::try_from(range("10.0.0.0/8")), Ok(net));
    let host_bits: Ipv4Net = "10.0.0.1/8".parse().unwrap();
    assert!(matches!(AddrRange::try_from(host_bits), Err(PrefixError::HostBits { len: 8, .. })));
    assert_eq!(AddrRange::try_from(host_bits.trunc()), Ok(range("10.0.0.0/8")));
    let crooked = range("10.0.0.1-10.0.0.2");
    assert_eq!(IpNet::try_from(crooked), Err(NotAPrefix(crooked)));
    assert_eq!(Ipv6Net::try_from(range("10.0.0.0/8")), Err(NotAPrefix(range("10.0.0.0/8"))));
    let all: Ipv6Net = "::/0".parse().unwrap();
    assert_eq!(Ipv6Net::try_from(range("::/0")), Ok(all));
    assert_eq!(Prefix::try_from(all).map(IpNet::from), Ok(IpNet::V6(all)));
}

// --- TS payloads ---

const ONE_V4: [u8; 20] =
    [1, 0, 0, 0, 7, 0, 0, 16, 0, 0, 255, 255, 198, 51, 100, 0, 198, 51, 100, 255];

fn changed(changes: &[(usize, u8)]) -> Vec<u8> {
    let mut body = ONE_V4.to_vec();
    for &(at, octet) in changes {
        body[at] = octet;
    }
    body
}

#[test]
fn rfc7296_3_13_payload_of_each_type() {
    let selectors =
        ["198.51.100.0/24[tcp/443]", "2001:db8::1-2001:db8::9[icmpv6/128/0-129/255]", "::/0"]
            .map(ts);
    let body = payload::write_to_vec(&selectors).unwrap();
    assert_eq!(body.len(), 4 + 16 + 40 + 40);
    assert_eq!(
        body[..20],
        [3, 0, 0, 0, 7, 6, 0, 16, 1, 187, 1, 187, 198, 51, 100, 0, 198, 51, 100, 255]
    );
    assert_eq!(body[20..28], [8, 58, 0, 40, 128, 0, 129, 255]);
    let parsed = TsPayload::parse(&body).unwrap();
    assert_eq!((parsed.count(), parsed.ignored(), parsed.iter().len()), (3, 0, 3));
    assert!(parsed.iter().eq(selectors));
    let opaque = [ts("10.0.0.0/8[udp/opaque]")];
    assert_eq!(payload::write_to_vec(&opaque).unwrap()[8..12], [255, 255, 0, 0]);
}

#[test]
fn rfc7296_3_13_reserved_octets_are_ignored_on_receipt() {
    let body = changed(&[(1, 0xff), (2, 0x80), (3, 1)]);
    assert!(TsPayload::parse(&body).unwrap().iter().eq([ts("198.51.100.0/24")]));
}

#[test]
fn rfc7296_2_9_unknown_types_are_ignored_and_counted() {
    let known = &ONE_V4[4..];
    let unknown = [0x63, 0, 0, 8, 1, 2, 3, 4];
    for order in 0..3 {
        let mut body = vec![2, 0, 0, 0];
        match order {
            0 => body.extend(unknown.iter().chain(known)),
            1 => body.extend(known.iter().chain(&unknown)),
            _ => body.extend(unknown.iter().chain(&unknown)),
        }
        let (selectors, ignored) = payload::parse_to_vec(&body).unwrap();
        let expected = if order == 2 { vec![] } else { vec![ts("198.51.100.0/24")] };
        assert_eq!((selectors, ignored), (expected, if order == 2 { 2 } else { 1 }));
    }
    // The least an unknown type has is its type, protocol and length; below that it has no end.
    assert_eq!(payload::parse_to_vec(&[1, 0, 0, 0, 9, 0, 0, 4]), Ok((vec![], 1)));
    let short = PayloadError::Length { index: 0, offset: 4, ts_type: 9, length: 3, expected: 4 };
    assert_eq!(payload::parse_to_vec(&[1, 0, 0, 0, 9, 0, 0, 3]), Err(short));
}

#[test]
fn every_malformation_has_its_error() {
    let length = |ts_type, length, expected| PayloadError::Length {
        index: 0,
        offset: 4,
        ts_type,
        length,
        expected,
    };
    let addrs = AddrRange::V4 { lo: 0xc633_6401, hi: 0xc633_6400 };
    let mut trailing = ONE_V4.to_vec();
    trailing.push(0);
    let mut second = ONE_V4.to_vec();
    second[0] = 2;
    second.extend([7, 0, 0, 16, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut v4_as_v6 = changed(&[(7, 40)]);
    v4_as_v6.resize(44, 0);
    let cases = [
        (vec![], PayloadError::Header { octets: 0 }),
        (vec![1, 0, 0], PayloadError::Header { octets: 3 }),
        (vec![0, 0, 0, 0], PayloadError::NoSelectors),
        (changed(&[(0, 0)]), PayloadError::NoSelectors),
        (changed(&[(0, 2)]), PayloadError::Missing { index: 1, offset: 20, count: 2 }),
        (vec![1, 0, 0, 0], PayloadError::Missing { index: 0, offset: 4, count: 1 }),
        (trailing, PayloadError::Trailing { count: 1, offset: 20, octets: 1 }),
        (changed(&[(7, 15)]), length(7, 15, 16)),
        (changed(&[(7, 17)]), length(7, 17, 16)),
        (changed(&[(6, 1)]), length(7, 272, 16)),
        (changed(&[(4, 8)]), length(8, 16, 40)),
        (v4_as_v6, length(7, 40, 16)),
        (
            changed(&[(15, 1), (19, 0)]),
            PayloadError::ReversedAddresses { index: 0, offset: 4, addrs },
        ),
        (
            changed(&[(8, 1), (10, 0)]),
            PayloadError::ReversedPorts { index: 0, offset: 4, lo: 256, hi: 255 },
        ),
        (second, PayloadError::ReversedPorts { index: 1, offset: 20, lo: 2, hi: 1 }),
    ];
    for (body, error) in cases {
        assert_eq!(TsPayload::parse(&body).unwrap_err(), error, "{body:?}");
        assert!(!error.to_string().is_empty());
    }
    // OPAQUE runs backwards and is no error.
    let opaque = changed(&[(5, 6), (8, 255), (9, 255), (10, 0), (11, 0)]);
    assert!(TsPayload::parse(&opaque).unwrap().iter().eq([ts("198.51.100.0/24[tcp/opaque]")]));
}

/// Every octet of a payload of both types and an unknown one, changed to every value.
#[test]
fn every_single_octet_corruption_is_read_or_refused() {
    let mut body =
        payload::write_to_vec(&["10.0.0.0/8[tcp/80-90]", "2001:db8::/32"].map(ts)).unwrap();
    body[0] += 1;
    body.extend([0x63, 0, 0, 8, 1, 2, 3, 4]);
    for place in 0..body.len() {
        for octet in 0..=u8::MAX {
            let mut other = body.clone();
            other[place] = octet;
            match TsPayload::parse(&other) {
                Ok(parsed) => {
                    assert_eq!(parsed.count() + parsed.ignored(), usize::from(other[0]));
                    assert_eq!(parsed.iter().count(), parsed.count());
                }
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
}

#[test]
fn the_callers_slices_are_filled_or_unchanged() {
    let selectors = ["10.0.0.0/8", "::/0", "10.1.0.0/16[tcp]"].map(ts);
    let body = payload::write_to_vec(&selectors).unwrap();
    let filler = ts("255.255.255.255");
    for room in 0..5 {
        let mut out = vec![filler; room];
        match payload::parse(&body, &mut out) {
            Ok(parsed) => {
                assert_eq!(parsed, payload::Parsed { count: 3, ignored: 0 });
                assert_eq!(out[..3], selectors);
                assert!(out[3..].iter().all(|one| *one == filler));
            }
            Err(error) => {
                assert_eq!(error, PayloadError::OutTooShort { needed: 3, given: room });
                assert!(room < 3 && out.iter().all(|one| *one == filler));
            }
        }
    }
    for room in 0..body.len() + 2 {
        let mut out = vec![0xaa; room];
        match payload::write(&selectors, &mut out) {
            Ok(octets) => assert_eq!((octets, &out[..octets]), (body.len(), &body[..])),
            Err(error) => {
                let needed = body.len();
                assert_eq!(error, payload::WriteError::OutTooShort { needed, given: room });
                assert!(room < needed && out.iter().all(|octet| *octet == 0xaa));
            }
        }
    }
    assert_eq!(payload::write_to_vec(&[]), Err(payload::WriteError::NoSelectors));
    let many = [filler; 256];
    assert_eq!(payload::write_to_vec(&many), Err(payload::WriteError::TooMany { count: 256 }));
    assert_eq!(
        payload::parse_to_vec(&payload::write_to_vec(&many[1..]).unwrap()).unwrap().0,
        many[1..]
    );
}

fn any_addrs() -> impl Strategy<Value = AddrRange> {
    prop_oneof![
        any::<(u32, u32)>().prop_map(|(a, b)| AddrRange::V4 { lo: a.min(b), hi: a.max(b) }),
        any::<(u128, u128)>().prop_map(|(a, b)| AddrRange::V6 { lo: a.min(b), hi: a.max(b) }),
        any::<(u32, u8)>().prop_map(|(a, len)| AddrRange::from_prefix_masked(
            at(Family::V4, a.into()),
            len % 33
        )
        .unwrap()),
    ]
}

fn any_selector() -> impl Strategy<Value = TrafficSelector> {
    let ports = prop_oneof![
        Just(PortRange::ANY),
        Just(PortRange::OPAQUE),
        any::<(u16, u16)>().prop_map(|(a, b)| PortRange::new(a.min(b), a.max(b)).unwrap()),
    ];
    (any_addrs(), any::<u8>(), ports).prop_map(|(addrs, protocol, ports)| {
        TrafficSelector::new(addrs, protocol, ports).unwrap_or(TrafficSelector::any(addrs))
    })
}

proptest! {
    #[test]
    fn text_round_trip(selector in any_selector()) {
        prop_assert_eq!(selector.to_string().parse(), Ok(selector));
    }

    #[test]
    fn payload_round_trip(selectors in prop::collection::vec(any_selector(), 1..6)) {
        let body = payload::write_to_vec(&selectors).unwrap();
        prop_assert_eq!(body.len(), payload::written_octets(&selectors));
        prop_assert_eq!(payload::parse_to_vec(&body), Ok((selectors, 0)));
    }

    /// A shorter body is an error always; another octet is an error or another reading of it,
    /// which writes back to the same octets but for the reserved ones and what was ignored.
    #[test]
    fn truncated_and_changed_payloads(selectors in prop::collection::vec(any_selector(), 1..4)) {
        let body = payload::write_to_vec(&selectors).unwrap();
        for len in 0..body.len() {
            prop_assert!(TsPayload::parse(&body[..len]).is_err());
        }
        for place in 0..body.len() {
            for octet in [0, 1, 7, 8, 16, 40, 127, 128, 254, 255, body[place] ^ 1, body[place] ^ 0x80] {
                let mut other = body.clone();
                other[place] = octet;
                let Ok(parsed) = TsPayload::parse(&other) else { continue };
                let read: Vec<_> = parsed.iter().collect();
                prop_assert_eq!(read.len() + parsed.ignored(), selectors.len());
                let backwards = |one: &TrafficSelector| one.addrs.lo() > one.addrs.hi();
                prop_assert!(!read.iter().any(backwards));
                if parsed.ignored() == 0
                    && let Ok(again) = payload::write_to_vec(&read)
                {
                    prop_assert_eq!(&again[4..], &other[4..]);
                }
            }
        }
    }

    #[test]
    fn any_octets_never_panic(body in prop::collection::vec(any::<u8>(), 0..120), count in 0u8..6) {
        let _ = TsPayload::parse(&body).map(|parsed| parsed.iter().count());
        // Random lengths rarely fit: with a plausible frame more of the parser is reached.
        let mut framed = body;
        let length = if count & 1 == 0 { 16 } else { 40 };
        for (place, octet) in [(0, count), (4, 7 + (count & 1)), (6, 0), (7, length)] {
            if let Some(slot) = framed.get_mut(place) {
                *slot = octet;
            }
        }
        if let Ok(parsed) = TsPayload::parse(&framed) {
            prop_assert_eq!(parsed.iter().count(), parsed.count());
        }
    }

    #[test]
    fn any_text_never_panics(text in "[0-9a-f.:/\\-\\[\\] tcpanyd]{0,24}") {
        let _ = text.parse::<AddrRange>().map(reads_back);
        let _ = AddrRange::parse_masked(&text);
        let _ = text.parse::<PortRange>();
        let _ = text.parse::<Configured>().map(|one| one.to_string());
        let _ = (parse_icmp(&text), parse_protocol(&text));
    }

    #[test]
    fn prefixes_of_any_range(range in any_addrs()) {
        let cover: Vec<_> = range.prefixes().collect();
        let mut ranges: Vec<_> = cover.iter().map(Prefix::range).collect();
        prop_assert!(ranges.is_sorted());
        prop_assert_eq!(coalesce(&mut ranges), 1);
        prop_assert_eq!(ranges[0], range);
        // Minimal: no two neighbours are the halves of one prefix.
        for two in cover.windows(2) {
            let joined = two[0].range().hull(&two[1].range()).unwrap();
            prop_assert!(joined.to_prefix().is_none(), "{} {}", two[0], two[1]);
        }
        let covering = range.covering_prefix();
        prop_assert!(covering.prefix.range().includes(&range));
        prop_assert_eq!(covering_prefix_of(&mut [range, range]), Ok(covering));
        prop_assert_eq!(range.to_prefix().is_some(), cover.len() == 1);
    }

    /// Values written field by field may break every invariant: nothing panics, nothing matches.
    #[test]
    fn reversed_ranges_match_nothing(a in any::<u128>(), b in any::<u128>(), other in any_addrs()) {
        prop_assume!(a != b);
        let broken = AddrRange::V6 { lo: a.max(b), hi: a.min(b) };
        prop_assert!(!broken.contains(at(Family::V6, a)) && !broken.contains(at(Family::V6, b)));
        prop_assert_eq!(broken.intersection(&other), None);
        prop_assert!(!other.includes(&broken) && !broken.includes(&broken));
        prop_assert_eq!(broken.to_prefix(), None);
        prop_assert_eq!(broken.prefixes().count(), 0);
        prop_assert_eq!(covering_prefix_of(&mut [broken]), Err(CoverError::Empty));
        let _ = (broken.covering_prefix(), broken.addresses(), broken.to_string(), broken.hull(&other));
        prop_assert_eq!(coalesce(&mut [broken, other, broken]), 1);
        prop_assert!(TrafficSelector::any(broken).validate().is_err());
    }
}

fn reads_back(range: AddrRange) {
    assert_eq!(range.to_string().parse(), Ok(range));
}
