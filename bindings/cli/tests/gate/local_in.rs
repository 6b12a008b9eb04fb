//! Seeds 001 and 002: B1, B5, C1 to C6.

use espial_cli::check::{Form, Options};

use crate::packets::{at, esp, fields, ip, output, pcap, pcapng, rows, sample, tcp, udp};

const SITE1: &str = "10.56.240.208";
const SITE2: &str = "10.56.240.221";
const DECIDED: [&str; 5] = ["class", "verdict", "reason", "by", "policy"];

fn decided(config: &str, file: &[u8]) -> Vec<String> {
    rows(config, file).iter().map(|row| fields(row, &DECIDED)).collect()
}

/// ESP from site 1 to site 2.
fn data(sequence: u32) -> Vec<u8> {
    esp((SITE1, SITE2), 0xc736_a9de, sequence, ("10.1.0.1:1000", "10.2.0.1:2000"))
}

#[test]
fn b5_ike_of_all_but_the_peer_is_denied_on_wan1() {
    let from = |src: &str| at(1.0, udp(&format!("{src}:500"), "10.10.10.1:500"));
    let file = pcapng(
        &["wan1", "wan2"],
        &[
            from("10.10.10.13"),
            from("203.0.113.10"),
            from("10.10.10.13").on(1),
            at(1.0, udp("10.10.10.13:4500", "10.10.10.1:4500")),
            at(1.0, tcp("10.10.10.13:50000", "10.10.10.1:443", 2, 1, 0, &[])),
        ],
    );
    let rows = rows(&sample("seed-001-local-in"), &file);
    let said: Vec<_> = rows.iter().map(|row| fields(row, &DECIDED)).collect();
    assert_eq!(
        said,
        [
            "ike|drop|local_in_policy|policy|1",
            "ike|accept|-|default|-",
            "ike|accept|-|default|-",
            "ike|drop|local_in_policy|policy|1",
            "other|accept|-|default|-",
        ]
    );
    assert_eq!(rows[0]["message"], "iprope_in_check() check failed on policy 1, drop");
    assert_eq!((&rows[0]["interface"], &rows[2]["interface"]), (&"wan1".into(), &"wan2".into()));
}

/// Both directions of the rule: a known SPI passes a policy that denies all, and an unknown one is dropped
/// where everything is accepted.
#[test]
fn b1_the_spi_decides_about_esp_whatever_policies_say() {
    let sample = sample("seed-001-local-in");
    let peer = ("203.0.113.10", "192.157.116.88");
    let inner = ("10.2.0.1:1", "10.1.0.1:2");
    let known = at(1.0, esp(peer, 0xc0ff_ee01, 1, inner));
    let unknown =
        at(1.0, esp(("131.62.25.102", "192.157.116.88"), 0xf6c9_e201, 0x0200_0400, inner));
    let file = pcapng(&["wan1"], &[known, unknown]);
    let deny_all = sample
        .replace("source = \"All_exceptions\"", "source = \"all\"")
        .replace("service = \"IKE\"", "service = \"ALL\"");
    let accept_all =
        deny_all.replace("destination = \"all\"", "destination = \"all\"\naction = \"accept\"");
    assert_ne!(accept_all, deny_all);
    for config in [sample, deny_all, accept_all] {
        let expected = ["esp|accept|-|ipsec_local_in|-", "esp|drop|unknown_spi|ipsec_local_in|-"];
        assert_eq!(decided(&config, &file), expected);
    }
}

/// The timeline of seed 002, seen at site 2.
fn c5() -> Vec<crate::packets::Packet> {
    let ike = |from: &str, to: &str| udp(&format!("{from}:500"), &format!("{to}:500"));
    let mut packets = vec![at(0.0, ike(SITE2, SITE1)), at(0.1, ike(SITE1, SITE2))];
    packets.extend((1..=20).map(|n| at(f64::from(n) * 10.0, data(n as u32))));
    // R-U-THERE three times, the delete, a new negotiation.
    packets.extend([201.9, 222.4, 242.9, 263.3, 270.0].map(|time| at(time, ike(SITE1, SITE2))));
    packets.extend([at(275.0, data(21))]);
    packets
}

#[test]
fn c5_esp_goes_on_while_the_peers_ike_is_denied() {
    let said = decided(&sample("seed-002-local-in"), &pcapng(&["port1"], &c5()));
    let esp = "esp|accept|-|ipsec_local_in|-";
    let denied = "ike|drop|local_in_policy|policy|2";
    let mut expected = vec!["ike|pass|-|-|-", "ike|accept|-|session|-"];
    expected.extend([esp; 20]);
    expected.extend([denied; 5]);
    expected.push(esp);
    assert_eq!(said, expected);
}

#[test]
fn c5_it_heals_when_site_2_sends_ike_itself() {
    let mut packets = c5();
    packets.push(at(280.0, udp(&format!("{SITE2}:500"), &format!("{SITE1}:500"))));
    packets.push(at(280.1, udp(&format!("{SITE1}:500"), &format!("{SITE2}:500"))));
    let said = decided(&sample("seed-002-local-in"), &pcapng(&["port1"], &packets));
    assert_eq!(said[said.len() - 2..], ["ike|pass|-|-|-", "ike|accept|-|session|-"]);
}

#[test]
fn c3_a_session_ends_when_it_was_idle_for_longer_than_its_time() {
    let ike = |from: &str, to: &str| udp(&format!("{from}:500"), &format!("{to}:500"));
    let said = |second: f64, config: &str| {
        let packets = [at(0.0, ike(SITE2, SITE1)), at(second, ike(SITE1, SITE2))];
        decided(config, &pcapng(&["port1"], &packets)).pop().unwrap()
    };
    let config = sample("seed-002-local-in");
    assert_eq!(said(180.0, &config), "ike|accept|-|session|-");
    assert_eq!(said(180.001, &config), "ike|drop|local_in_policy|policy|2");
    let short = format!("[gateway]\nsession-ttl = 30\n{config}");
    assert_eq!(said(30.0, &short), "ike|accept|-|session|-");
    assert_eq!(said(31.0, &short), "ike|drop|local_in_policy|policy|2");
}

#[test]
fn c3_a_500_session_does_not_cover_4500() {
    let packets = [
        at(0.0, udp(&format!("{SITE2}:500"), &format!("{SITE1}:500"))),
        at(1.0, udp(&format!("{SITE1}:4500"), &format!("{SITE2}:4500"))),
    ];
    let said = decided(&sample("seed-002-local-in"), &pcapng(&["port1"], &packets));
    assert_eq!(said[1], "ike|drop|local_in_policy|policy|2");
}

#[test]
fn c6_is_said_in_the_summary() {
    let sample = sample("seed-002-local-in");
    let text = |config: &str, packets: &[_]| {
        output(config, &pcapng(&["port1"], packets), Form::Text, Options::default())
    };
    let alarm = "alarm: tunnel site2: peer 10.56.240.208 has live SAs and live ESP, its IKE session is gone, \
                 and no policy admits IKE from 10.56.240.208";
    let whole = text(&sample, &c5());
    assert!(whole.contains(alarm), "{whole}");
    assert!(whole.contains("local-in policy 2 denies it"), "{whole}");
    let early = text(&sample, &c5()[..6]);
    assert!(
        early.contains(
            "health: tunnel site2: peer 10.56.240.208 has live SAs, its IKE session lasts"
        ),
        "{early}"
    );
    let fixed = sample.replace(
        "[[local-in]]\nid = 1\n",
        "[[address]]\nname = 'site1'\nranges = '10.56.240.208'\n[[local-in]]\nid = 3\ninterface = 'any'\n\
         source = 'site1'\ndestination = 'all'\nservice = 'IKE'\naction = 'accept'\n[[local-in]]\nid = 1\n",
    );
    let whole = text(&fixed, &c5());
    assert!(
        whole
            .contains("health: tunnel site2: peer 10.56.240.208 has live SAs, and a policy admits"),
        "{whole}"
    );
    assert!(!whole.contains("alarm"));
}

/// The ESP of C5 meets no policy (B1), nor does what a session lets in (C2).
#[test]
fn c2_the_summary_counts_packets_a_policy() {
    let mut packets = c5();
    packets.push(at(2_000.0, udp("192.0.2.1:500", "10.56.240.221:500")));
    let file = pcapng(&["port1"], &packets);
    let sample = sample("seed-002-local-in");
    let denied = decided(&sample, &file).iter().filter(|row| row.ends_with("policy|2")).count();
    assert!(denied > 1);
    let text = output(&sample, &file, Form::Text, Options::default());
    let row = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let rows: Vec<String> =
        text.lines().map(row).filter(|row| row.starts_with("| local-in")).collect();
    assert_eq!(
        rows,
        [
            "| local-in | 1 | accept | 0 |".to_owned(),
            format!("| local-in | 2 | deny | {denied} |"),
            "| local-in | none | accept | 0 |".to_owned(),
        ]
    );
}

/// The first fragment of IKE has a session; of the later ones that is not known without reassembly, so that no
/// policy is blamed (T20).
#[test]
fn t20_a_later_fragment_is_dropped_for_what_it_is() {
    let (local, peer) = ("10.56.240.221:500", "10.56.240.208:500");
    let mut later = udp(peer, local);
    later[6..8].copy_from_slice(&[0, 4]);
    let file = pcapng(&["port1"], &[at(0.0, udp(local, peer)), at(0.1, later)]);
    let said = decided(&sample("seed-002-local-in"), &file);
    assert_eq!(said[1], "other|drop|later_fragment|policy|2");
}

#[test]
fn a_pcap_file_needs_the_name_of_its_interface() {
    let sample = sample("seed-002-local-in");
    let file = pcap(&[at(0.0, udp(&format!("{SITE1}:500"), &format!("{SITE2}:500")))]);
    // No policy is for a packet from nowhere, and that is said.
    assert_eq!(decided(&sample, &file), ["ike|accept|-|default|-"]);
    let text = output(&sample, &file, Form::Text, Options::default());
    assert!(text.contains("1 packets came in on no [[interface]]"), "{text}");
    let on = Options { interface: Some("port1".into()), explain: false };
    let text = output(&sample, &file, Form::Json, on.clone());
    assert!(text.contains("\"policy\":2") && text.contains("\"interface\":\"port1\""), "{text}");
    assert!(!output(&sample, &file, Form::Text, on).contains("came in on no"));
}

#[test]
fn policies_that_are_not_there_leave_what_is_not_ipsec_alone() {
    let config = "[gateway]\naddresses = ['10.56.240.221']\n[[interface]]\nname = 'port1'\n";
    let file =
        pcapng(&["port1"], &[at(0.0, udp(&format!("{SITE1}:500"), &format!("{SITE2}:500")))]);
    assert_eq!(decided(config, &file), ["ike|pass|-|-|-"]);
    let deny = format!("{config}[[address]]\nname = 'x'\nranges = '::1'\n");
    assert_eq!(decided(&deny, &file), ["ike|pass|-|-|-"]);
    let deny = config.replace("[[int", "local-in-default = 'deny'\n[[int");
    assert_eq!(decided(&deny, &file), ["ike|drop|local_in_default|default|-"]);
}

#[test]
fn a_schedule_counts_when_the_gateway_says_that_it_is_on() {
    let config = sample("seed-001-local-in").replace("\"always\"", "\"nights\"");
    let file = pcapng(&["wan1"], &[at(0.0, udp("10.10.10.13:500", "10.10.10.1:500"))]);
    assert_eq!(decided(&config, &file), ["ike|accept|-|default|-"]);
    let on = config.replace("[gateway]\n", "[gateway]\nschedules-on = ['nights']\n");
    assert_eq!(decided(&on, &file), ["ike|drop|local_in_policy|policy|1"]);
}

/// What is too short to be judged is dropped by nobody's policy.
#[test]
fn what_cannot_be_read_is_dropped_before_policies_are_asked() {
    let whole = udp("203.0.113.10:500", "10.10.10.1:500");
    let mut short = whole[..22].to_vec();
    short[3] = 22;
    let mut tcp = tcp("203.0.113.10:500", "10.10.10.1:443", 2, 1, 0, &[])[..22].to_vec();
    tcp[3] = 22;
    let file = pcapng(&["wan1"], &[at(0.0, whole[..30].to_vec()), at(0.0, short), at(0.0, tcp)]);
    let expected = [
        "other|drop|malformed_ip_length|-|-",
        "other|drop|malformed_udp|-|-",
        "other|drop|malformed_next_layer|-|-",
    ];
    assert_eq!(decided(&sample("seed-001-local-in"), &file), expected);
}

#[test]
fn c2_an_echo_opens_a_session_and_an_icmp_error_does_not() {
    let icmp = |from: &str, to: &str, kind: u8| {
        ip(1, from.parse().unwrap(), to.parse().unwrap(), &[kind, 0, 0, 0, 0, 0, 0, 0])
    };
    let answer_to = |kind: u8, answer: u8| {
        let packets = [at(0.0, icmp(SITE2, SITE1, kind)), at(1.0, icmp(SITE1, SITE2, answer))];
        decided(&sample("seed-002-local-in"), &pcapng(&["port1"], &packets)).remove(1)
    };
    assert_eq!(answer_to(8, 0), "other|accept|-|session|-");
    for error in [3, 4, 5, 11, 12] {
        assert_eq!(answer_to(error, 0), "other|drop|local_in_policy|policy|2");
        assert_eq!(answer_to(8, error), "other|drop|local_in_policy|policy|2");
    }
}
