//! TS payloads (RFC 7296 section 3.13), and what holds for any selector, text or octets.

use super::*;

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
