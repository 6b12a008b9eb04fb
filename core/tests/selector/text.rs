//! Selectors as text.

use super::*;

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
