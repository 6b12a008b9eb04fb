//! Prefixes: exact covers, supernets, hosts and masks.

use super::*;

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
