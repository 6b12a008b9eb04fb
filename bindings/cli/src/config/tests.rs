use std::fmt::Write;

use espial::selector::PortRange;

use super::*;

const HEAD: &str = "[[tunnel]]\nname = \"t\"\n[[tunnel.child]]\nname = \"c\"\n";
const SELECTORS: &str = "local = [\"10.0.0.0/8\"]\nremote = [\"192.168.0.0/16\"]\n";

fn parse(text: &str) -> Result<GatewayConfig, String> {
    GatewayConfig::parse("g.toml", text).map_err(|error| error.to_string())
}

/// A file with one SA: its header is line 7, its SPI line 8, `lines` start at line 9.
fn with_sa(lines: &str) -> Result<SaConfig, String> {
    let text = format!("{HEAD}{SELECTORS}[[tunnel.child.sa]]\nspi = \"0x100\"\n{lines}\n");
    parse(&text).map(|config| config.sas().next().unwrap().2.clone())
}

/// The only fault of an SA.
fn sa_fault(lines: &str) -> String {
    with_sa(lines).unwrap_err()
}

/// A file with these local selectors, which are line 5.
fn with_local(local: &str) -> Result<Vec<TrafficSelector>, String> {
    let remote = "[\"0.0.0.0/0\", \"::/0\"]";
    parse(&format!("{HEAD}local = {local}\nremote = {remote}\n"))
        .map(|config| config.tunnels[0].children[0].local.clone())
}

fn hex(octets: usize) -> String {
    "a7".repeat(octets)
}

#[test]
fn defaults() {
    let config = parse(&format!("{HEAD}{SELECTORS}")).unwrap();
    assert!(config.addresses.is_empty());
    assert_eq!(config.tunnels[0].mode, Mode::StrictSa);
    assert!(config.tunnels[0].shadow.is_empty());
    assert_eq!((config.tunnels[0].line, config.tunnels[0].children[0].line), (1, 3));
    let sa = with_sa("").unwrap();
    assert_eq!((sa.spi, sa.ipsec, sa.mode), (Spi(0x100), Ipsec::Esp, SaMode::Tunnel));
    assert_eq!((sa.encap, sa.dst, sa.src), (Encap::None, None, None));
    assert_eq!((sa.replay_window, sa.esn, sa.sequence_high), (64, false, 0));
    assert_eq!((sa.installed, sa.deleted), (None, None));
    assert!(sa.encryption.is_none() && sa.encryption_key.is_none());
    assert!(sa.integrity == Integrity::None && sa.integrity_key.is_none());
    assert_eq!(sa.line, 7);
    assert!(parse("").unwrap().tunnels.is_empty());
}

#[test]
fn every_key() {
    let config = parse(&format!(
        "[gateway]\naddresses = [\"203.0.113.2\", \"2001:db8::2\"]\n{HEAD}{SELECTORS}\
         [[tunnel.child.sa]]\nspi = \"0xC47154a0\"\nprotocol = \"esp\"\nmode = \"transport\"\n\
         encap = \"tcp\"\ndst = \"203.0.113.2\"\nsrc = \"198.51.100.1\"\nreplay-window = 0\n\
         esn = true\nsequence-high = 3\ninstalled = 1795231123.669687\ndeleted = 1795231522\n\
         encryption = \"aes-cbc\"\nencryption-key = \"{}\"\n\
         integrity = \"hmac-sha2-256-128\"\nintegrity-key = \"0Aff\"\n",
        hex(24)
    ));
    let config = config.unwrap();
    assert_eq!(config.addresses.len(), 2);
    let (tunnel, child, sa) = config.sas().next().unwrap();
    assert_eq!((tunnel.name.as_str(), child.name.as_str()), ("t", "c"));
    assert_eq!((sa.spi.0, sa.mode, sa.encap), (0xc47154a0, SaMode::Transport, Encap::Tcp));
    assert_eq!(sa.dst, Some("203.0.113.2".parse().unwrap()));
    assert_eq!(sa.src, Some("198.51.100.1".parse().unwrap()));
    assert_eq!((sa.replay_window, sa.esn, sa.sequence_high), (0, true, 3));
    assert_eq!(
        (sa.installed, sa.deleted),
        (Some(1_795_231_123_669_687), Some(1_795_231_522_000_000))
    );
    assert_eq!(sa.encryption, Some(Encryption::AesCbc));
    assert_eq!(sa.encryption_key.as_ref().unwrap().octets(), [0xa7; 24]);
    assert_eq!(sa.integrity, Integrity::HmacSha2_256_128);
    assert_eq!(sa.integrity_key.as_ref().unwrap().octets(), [10, 255]);
}

#[test]
fn a2_a_fortios_version_gives_the_mode_of_tunnels_that_have_none() {
    let with = |version: &str, mode: &str| {
        parse(&format!("[gateway]\nfortios = {version}\n[[tunnel]]\nname = \"t\"\n{mode}\n"))
    };
    for (version, mode) in
        [("7.4.1", Mode::AnySelector), ("7.4.2", Mode::StrictSa), ("v7.6.7", Mode::AnySource)]
    {
        let config = with(&format!("'{version}'"), "").unwrap();
        assert_eq!((config.tunnels[0].mode, config.tunnels[0].mode_line), (mode, None));
    }
    // Its own mode wins, and then nothing has to be known of the version.
    for version in ["'7.4.1'", "'8.0.0'"] {
        let config = with(version, "mode = \"ordered-spd\"").unwrap();
        assert_eq!(config.tunnels[0].mode, Mode::OrderedSpd);
        assert_eq!(config.tunnels[0].mode_line, Some(5));
    }
    assert_eq!(
        with("'8.0.0'", "").unwrap_err(),
        "g.toml:3: mode: is missing, and what FortiOS 8.0.0 does is not documented: write mode = one \
         of \"strict-sa\", \"any-selector\", \"any-source\", \"ordered-spd\""
    );
    for version in ["7.4", "'7.4'", "'seven'"] {
        let fault = "g.toml:2: fortios: must be three numbers in quotes, such as \"7.4.2\"";
        assert_eq!(with(version, "").unwrap_err(), fault);
    }
}

#[test]
fn unknown_and_missing_keys_name_their_line() {
    for (text, fault) in [
        ("[gatway]\n", "g.toml:1: gatway: unknown key: here stand gateway, tunnel"),
        ("[gateway]\n\naddress = []\n", "g.toml:3: address: unknown key: here stand addresses"),
        ("[[tunnel]]\nname = \"t\"\nmodes = 1\n", "g.toml:3: modes: unknown key"),
        ("[[tunnel]]\nmode = \"strict-sa\"\n", "g.toml:1: name: is missing"),
        (&format!("{HEAD}local = [\"::/0\"]\n"), "g.toml:3: remote: is missing"),
        (&format!("{HEAD}{SELECTORS}[[tunnel.child.sa]]\n"), "g.toml:7: spi: is missing"),
        (
            &format!("{HEAD}{SELECTORS}[[tunnel.child.sa]]\nspi=\"0x1\"\nkey=\"aa\""),
            "g.toml:9: key: unknown key: here stand spi, protocol",
        ),
        (
            &format!("{HEAD}remote = [\"::/0\"]\nlocal = [{{ adr = \"::/0\" }}]\n"),
            "g.toml:6: adr: unknown key: here stand addr, protocol",
        ),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(fault), "{text}: {error}");
    }
}

#[test]
fn all_faults_are_reported_in_order() {
    let error = parse("[[tunnel]]\nname = 1\nmode = \"strict\"\n[gateway]\naddresses = [\"x\"]\n");
    assert_eq!(
        error.unwrap_err(),
        "g.toml:2: name: must be a string in quotes\n\
         g.toml:3: mode: must be one of \"strict-sa\", \"any-selector\", \"any-source\", \
         \"ordered-spd\"\n\
         g.toml:5: addresses: must be one IPv4 or IPv6 address in quotes"
    );
}

#[test]
fn wrong_types() {
    for (text, fault) in [
        ("gateway = 1\n", "g.toml:1: gateway: must be a table: [gateway]"),
        ("tunnel = 1\n", "g.toml:1: tunnel: must be an array of tables"),
        ("[tunnel]\nname = \"t\"\n", "g.toml:1: tunnel: must be an array of tables"),
        ("tunnel = [1]\n", "g.toml:1: tunnel: must be an array of tables"),
        ("[gateway]\naddresses = \"::1\"\n", "g.toml:2: addresses: must be an array: [...]"),
        ("[[tunnel]]\nname = \"\"\n", "g.toml:2: name: must not be empty"),
        ("[[tunnel]\n", "g.toml:1: "),
        ("a = 1\na = 2\n", "g.toml:2: duplicate key"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.starts_with(fault), "{text}: {error}");
    }
}

#[test]
fn names_are_unique_tunnels_in_the_file_and_children_in_their_tunnel() {
    let tunnel = format!("{HEAD}{SELECTORS}");
    let error = parse(&format!("{tunnel}{tunnel}")).unwrap_err();
    assert_eq!(error, "g.toml:8: name: \"t\" is the name of the tunnel at line 1");
    let error = parse(&format!("{tunnel}[[tunnel.child]]\n{SELECTORS}name = \"c\"\n"));
    assert_eq!(
        error.unwrap_err(),
        "g.toml:10: name: \"c\" is the name of this tunnel's Child SA at line 3"
    );
    // The same child name in another tunnel is fine.
    assert!(parse(&format!("{tunnel}{}", tunnel.replace("\"t\"", "\"u\""))).is_ok());
}

#[test]
fn shadow_modes() {
    let tunnel = |shadow: &str| parse(&format!("[[tunnel]]\nname = \"t\"\nshadow = {shadow}\n"));
    let config = tunnel("[\"any-selector\", \"ordered-spd\"]").unwrap();
    assert_eq!(config.tunnels[0].shadow, [Mode::AnySelector, Mode::OrderedSpd]);
    let error = tunnel("[\n\"any-source\",\n\"any-source\"]").unwrap_err();
    assert_eq!(error, "g.toml:5: shadow: any-source is there twice");
}

#[test]
fn spis() {
    for (spi, good) in [
        ("\"0x00000001\"", true),
        ("\"0xFFFFffff\"", true),
        ("\"0x0\"", false),
        ("\"0x\"", false),
        ("\"0x+1\"", false),
        ("\"0x100000000\"", false),
        ("\"c47154a0\"", false),
        ("0xc47154a0", false),
    ] {
        let text = format!("{HEAD}{SELECTORS}[[tunnel.child.sa]]\nspi = {spi}\n");
        assert_eq!(parse(&text).is_ok(), good, "{spi}");
    }
}

#[test]
fn key_lengths_fit_the_algorithm() {
    let names = Encryption::NAMES.map(|(name, _)| name);
    let lengths: [&[usize]; 5] = [&[], &[16, 24, 32], &[20, 28, 36], &[36], &[24]];
    for (name, lengths) in names.into_iter().zip(lengths) {
        for octets in 1..=40 {
            let lines = format!("encryption = \"{name}\"\nencryption-key = \"{}\"", hex(octets));
            let result = with_sa(&lines);
            assert_eq!(result.is_ok(), lengths.contains(&octets), "{name} {octets}");
        }
        assert!(with_sa(&format!("encryption = \"{name}\"")).is_ok(), "a key may be unknown");
    }
    let lines = format!("encryption = \"aes-cbc\"\nencryption-key = \"{}\"", hex(20));
    assert_eq!(
        sa_fault(&lines),
        "g.toml:10: encryption-key: 20 octets, but aes-cbc takes 16, 24 or 32"
    );
    let lines = format!("encryption = \"chacha20-poly1305\"\nencryption-key = \"{}\"", hex(32));
    assert_eq!(
        sa_fault(&lines),
        "g.toml:10: encryption-key: 32 octets, but chacha20-poly1305 takes 36, \
         the last 4 of them the salt"
    );
    for octets in [1, 20, 200] {
        let lines = format!("integrity = \"hmac-sha1-96\"\nintegrity-key = \"{}\"", hex(octets));
        assert!(with_sa(&lines).is_ok());
    }
}

#[test]
fn keys_of_an_sa_that_do_not_go_together() {
    let key = hex(20);
    for (lines, fault) in [
        ("src = \"::1\"", "9: src: needs dst"),
        ("dst = \"10.0.0.1\"\nsrc = \"::1\"", "10: src: of another address family than dst"),
        ("protocol = \"ah\"\nencap = \"udp\"", "10: encap: AH cannot be encapsulated"),
        ("protocol = \"ah\"\nencryption = \"null\"", "10: encryption: AH does not encrypt"),
        (&format!("protocol = \"ah\"\nencryption-key = \"{key}\""), "10: encryption-key: AH"),
        ("sequence-high = 1", "9: sequence-high: only with esn = true"),
        ("installed = 2.5\ndeleted = 2.5", "10: deleted: must be later than installed"),
        (&format!("encryption-key = \"{key}\""), "9: encryption-key: needs encryption"),
        (&format!("encryption = \"null\"\nencryption-key = \"{key}\""), "10: encryption-key: null"),
        ("encryption = \"aes-gcm-16\"\nintegrity = \"hmac-sha1-96\"", "10: integrity: the cipher"),
        (&format!("integrity-key = \"{key}\""), "9: integrity-key: needs integrity"),
        ("replay-window = -1", "9: replay-window: must be an integer from 0 to 4096"),
        ("replay-window = 4097", "9: replay-window: must be an integer from 0 to 4096"),
        ("esn = 1", "9: esn: must be true or false"),
        ("integrity-key = \"\"", "9: integrity-key: 0 octets"),
        ("integrity-key = \"abc\"", "9: integrity-key: 3 hex digits, an odd number"),
        ("integrity-key = \"+1\"", "9: integrity-key: must be hex digits only"),
    ] {
        let error = sa_fault(lines);
        assert!(error.starts_with(&format!("g.toml:{fault}")), "{lines}: {error}");
        assert!(!error.contains('\n'), "{lines}: {error}");
    }
}

#[test]
fn times_are_exact() {
    for (text, micros) in [
        ("0", Some(0)),
        ("1795231123.669687", Some(1_795_231_123_669_687)),
        ("1_795_231_123.669_687", Some(1_795_231_123_669_687)),
        ("1795231123.67", Some(1_795_231_123_670_000)),
        ("9007199254.740993", Some(9_007_199_254_740_993)),
        ("1.0000009", Some(1_000_000)),
        ("9223372036854.775807", Some(i64::MAX)),
        ("9223372036854.775808", None),
        ("-1.0", None),
        ("1.8e9", None),
        ("inf", None),
        ("nan", None),
        ("0x10", None),
        ("\"1.0\"", None),
        ("2026-01-01T00:00:00Z", None),
    ] {
        let sa = with_sa(&format!("installed = {text}"));
        assert_eq!(sa.ok().and_then(|sa| sa.installed), micros, "{text}");
    }
}

/// The nearest float gives the same microseconds, so other readers of these files may use one.
#[test]
fn floats_would_do() {
    for text in ["1795231123.669687", "1700000000.299500", "4294967295.999999"] {
        let float: f64 = text.parse().unwrap();
        assert_eq!(
            (float * 1e6).round() as i64,
            with_sa(&format!("installed = {text}")).unwrap().installed.unwrap()
        );
    }
}

#[test]
fn existence_is_half_open() {
    let sa = with_sa("installed = 1.0\ndeleted = 2.0").unwrap();
    for (time, exists) in
        [(0, false), (999_999, false), (1_000_000, true), (1_999_999, true), (2_000_000, false)]
    {
        assert_eq!(sa.exists_at(time), exists, "{time}");
    }
}

#[test]
fn equal_keys_repeat_only_at_other_times() {
    let two = |first: &str, second: &str| {
        let sa = |lines: &str| format!("[[tunnel.child.sa]]\nspi = \"0x100\"\n{lines}\n");
        parse(&format!("{HEAD}{SELECTORS}{}{}", sa(first), sa(second)))
    };
    for (first, second, good) in [
        ("", "", false),
        ("deleted = 5.0", "installed = 5.0", true),
        ("deleted = 5.000001", "installed = 5.0", false),
        ("installed = 5.0", "deleted = 5.0", true),
        ("installed = 1\ndeleted = 9", "installed = 3\ndeleted = 4", false),
        ("installed = 1\ndeleted = 2", "installed = 2\ndeleted = 3", true),
        ("installed = 1", "installed = 2", false),
        ("dst = \"10.0.0.1\"", "dst = \"10.0.0.2\"", true),
        ("dst = \"10.0.0.1\"", "dst = \"10.0.0.1\"", false),
        ("dst = \"10.0.0.1\"", "dst = \"10.0.0.1\"\nsrc = \"10.0.0.9\"", true),
        ("", "dst = \"10.0.0.1\"", true),
        ("protocol = \"esp\"", "protocol = \"ah\"", true),
        ("encap = \"udp\"", "encap = \"tcp\"", false),
    ] {
        assert_eq!(two(first, second).is_ok(), good, "{first} / {second}");
    }
    let error = two("", "").unwrap_err();
    let expected = "g.toml:10: spi: 0x00000100 has the same key as the SA at line 7";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn selectors() {
    let one = |addr: &str, protocol, lo, hi| TrafficSelector {
        addrs: addr.parse().unwrap(),
        protocol,
        ports: PortRange::new(lo, hi).unwrap(),
    };
    for (text, expected) in [
        ("\"10.0.0.0/8\"", one("10.0.0.0/8", 0, 0, 65535)),
        ("\"10.0.0.1\"", one("10.0.0.1", 0, 0, 65535)),
        ("\"10.0.0.1-10.0.0.9\"", one("10.0.0.1-10.0.0.9", 0, 0, 65535)),
        ("{ addr = \"2001:db8::/32\" }", one("2001:db8::/32", 0, 0, 65535)),
        ("{ addr = \"::1\", protocol = \"tcp\", ports = \"443\" }", one("::1", 6, 443, 443)),
        ("{ addr = \"::1\", protocol = 17, ports = \"7-9\" }", one("::1", 17, 7, 9)),
        ("{ addr = \"::1\", protocol = \"17\", ports = 7 }", one("::1", 17, 7, 7)),
        ("{ addr = \"::1\", protocol = 6, ports = \"opaque\" }", one("::1", 6, 65535, 0)),
        ("{ addr = \"::1\", protocol = 6, ports = \"any\" }", one("::1", 6, 0, 65535)),
        ("{ addr = \"::1\", ports = \"any\" }", one("::1", 0, 0, 65535)),
        ("{ addr = \"::1\", protocol = 47, ports = \"opaque\" }", one("::1", 47, 65535, 0)),
        ("{ addr = \"::1\", protocol = \"icmp\", icmp = \"769-1039\" }", one("::1", 1, 769, 1039)),
        ("{ addr = \"::1\", protocol = 58, icmp = \"32768\" }", one("::1", 58, 32768, 32768)),
        ("{ addr = \"::1\", protocol = \"icmpv6\" }", one("::1", 58, 0, 65535)),
        ("{ addr = \"::1\", protocol = \"mh\", mh = \"5\" }", one("::1", 135, 1280, 1280)),
        ("{ addr = \"::1\", protocol = 135, mh = 255 }", one("::1", 135, 65280, 65280)),
    ] {
        assert_eq!(with_local(&format!("[{text}]")), Ok(vec![expected]), "{text}");
    }
}

#[test]
fn wrong_selectors() {
    for (text, fault) in [
        ("[]", "local: must hold at least one selector"),
        ("\"10.0.0.0/8\"", "local: must be an array"),
        ("[1]", "local: must be \"prefix"),
        ("[\"10.0.0.1/8\"]", "local: \"10.0.0.1/8\": "),
        ("[\"10.0.0.0/33\"]", "local: \"10.0.0.0/33\": "),
        ("[\"10.0.0.9-10.0.0.1\"]", "local: \"10.0.0.9-10.0.0.1\": "),
        ("[\"10.0.0.0-::1\"]", "local: \"10.0.0.0-::1\": "),
        ("[{ protocol = 6 }]", "addr: is missing"),
        ("[{ addr = 1 }]", "addr: must be a string"),
        ("[{ addr = \"x\" }]", "addr: the 1 octets at octet 0"),
        ("[{ addr = \"::1\", ports = \"443\" }]", "ports: must be \"any\" while protocol is any"),
        ("[{ addr = \"::1\", ports = \"opaque\" }]", "ports: must be \"any\""),
        ("[{ addr = \"::1\", protocol = 256 }]", "protocol: "),
        ("[{ addr = \"::1\", protocol = \"tpc\" }]", "protocol: a protocol is"),
        ("[{ addr = \"::1\", protocol = 6, ports = \"9-7\" }]", "ports: the range 9-7 ends"),
        (
            "[{ addr = \"::1\", protocol = 6, ports = \"65536\" }]",
            "ports: 65536 at octet 0 is more",
        ),
        (
            "[{ addr = \"::1\", protocol = 1, ports = \"8\" }]",
            "ports: of protocol 1 is called icmp",
        ),
        ("[{ addr = \"::1\", protocol = 47, ports = \"8\" }]", "ports: protocol 47 has none"),
        ("[{ addr = \"::1\", protocol = 6, icmp = \"8\" }]", "icmp: needs protocol = \"icmp\""),
        ("[{ addr = \"::1\", protocol = 6, mh = \"8\" }]", "mh: needs protocol = \"mh\""),
        ("[{ addr = \"::1\", protocol = 135, mh = \"256\" }]", "mh: must be a type from 0 to 255"),
    ] {
        let error = with_local(text).unwrap_err();
        assert!(error.starts_with(&format!("g.toml:5: {fault}")), "{text}: {error}");
        assert!(!error.contains('\n'), "{text}: {error}");
    }
    let error = parse(&format!("{HEAD}local = [\"10.0.0.1\"]\nremote = [\"::1\"]\n")).unwrap_err();
    assert_eq!(error, "g.toml:6: remote: no address family in common with local");
}

/// I1: wherever a key stands, and whatever else is wrong, its digits are in no message.
#[test]
fn keys_are_never_printed() {
    let key = "5eC0de5ec0de5ec0de5ec0de5ec0de5ec0de5eC0";
    let mut printed = String::new();
    for lines in [
        format!("encryption = \"aes-cbc\"\nencryption-key = \"{key}\""),
        format!("encryption = \"aes-gcm-16\"\nencryption-key = \"{key}\""),
        format!("encryption = \"{key}\""),
        format!("integrity = \"{key}\"\nintegrity-key = \"{key}x\""),
        format!("integrity-key = \"{key}5\""),
        format!("encryption-key = [\"{key}\"]"),
        format!("encryption-key = {key}"),
        format!("encryption-key = \"{key}"),
        format!("encryption-key = \"\"\"{key}"),
        format!("encryption-key = \"{key}\" \"{key}\""),
        format!("encryption-key = \"{key}\\q\""),
        format!("encryption-key = \"{key}\"\nencryption-key = \"{key}\""),
        format!("spi = \"0x{key}\""),
        format!("dst = \"{key}\""),
        format!("installed = \"{key}\""),
    ] {
        match with_sa(&lines) {
            Ok(sa) => write!(printed, "{sa:?}").unwrap(),
            Err(error) => printed += &error,
        }
        let text = format!("{HEAD}{SELECTORS}[[tunnel.child.sa]]\nspi = \"0x100\"\n{lines}\n");
        match GatewayConfig::parse("g.toml", &text) {
            Ok(config) => write!(printed, "{config:?}").unwrap(),
            Err(error) => write!(printed, "{error:?}").unwrap(),
        }
    }
    printed += &with_local(&format!("[\"{key}\"]")).unwrap_err();
    assert!(printed.contains("[20 octets]"));
    assert!(!printed.to_lowercase().contains("5ec0"), "{printed}");
}

#[test]
fn a_file_that_is_not_there() {
    let error = GatewayConfig::read(Path::new("/nowhere/g.toml")).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/g.toml: "), "{error}");
    assert_eq!(error.faults[0].line, 0);
}
