//! `--explain`: the way of a packet.

use espial_cli::check::{Form, Options};

use crate::packets::{Packet, at, esp, output, pcapng, sample, tcp, udp};

/// Functions and messages of one packet's way.
fn way(sample_name: &str, packets: &[Packet], number: u64) -> Vec<String> {
    let interface = if sample_name.contains("002") { "port1" } else { "wan1" };
    let file = pcapng(&[interface], packets);
    let text = output(&sample(sample_name), &file, Form::Explain(Some(number)), Options::default());
    let line = |line: &str| {
        assert!(line.starts_with(&format!("packet={number} time=")), "{line}");
        line.split_once(" func=").unwrap().1.to_owned()
    };
    text.lines().map(line).collect()
}

#[test]
fn b5_the_way_to_a_policy_reads_as_the_document_prints_it() {
    let packets = [at(1.0, udp("10.10.10.13:500", "10.10.10.1:500"))];
    assert_eq!(
        way("seed-001-local-in", &packets, 1),
        [
            "print_pkt_detail msg=\"received a packet(proto=17, 10.10.10.13:500->10.10.10.1:500) from wan1.\"",
            "init_ip_session_common msg=\"allocate a new session\"",
            "vf_ip_route_input_common msg=\"find a route: flag=84000000 gw-10.10.10.1 via root\"",
            "fw_local_in_handler msg=\"iprope_in_check() check failed on policy 1, drop\"",
            "verdict msg=\"drop, local_in_policy, by policy\"",
        ]
    );
}

#[test]
fn c2_the_way_of_an_answer_ends_at_its_session() {
    let packets = [
        at(0.0, udp("10.56.240.221:500", "10.56.240.208:500")),
        at(0.1, udp("10.56.240.208:500", "10.56.240.221:500")),
    ];
    let sent = way("seed-002-local-in", &packets, 1);
    assert_eq!(
        sent[..2],
        [
            "print_pkt_detail msg=\"sent a packet(proto=17, 10.56.240.221:500->10.56.240.208:500) from port1.\"",
            "init_ip_session_common msg=\"allocate a new session-00000001\"",
        ]
    );
    let answer = way("seed-002-local-in", &packets, 2);
    assert_eq!(
        answer[1..],
        [
            "resolve_ip_tuple_fast msg=\"Find an existing session, id-00000001, reply direction\"",
            "verdict msg=\"accept, by session\"",
        ]
    );
}

#[test]
fn the_way_of_esp_leads_past_the_policies() {
    let to = ("10.56.240.208", "10.56.240.221");
    let packets = [
        at(0.0, esp(to, 0xc736_a9de, 1, ("10.1.0.1:1", "10.2.0.1:2"))),
        at(0.0, esp(to, 0xc736_a9de, 2, ("10.9.0.1:1", "10.2.0.1:2"))),
        at(0.0, esp(to, 0xdead, 3, ("10.1.0.1:1", "10.2.0.1:2"))),
    ];
    let good = way("seed-002-local-in", &packets, 1);
    assert_eq!(
        good[2..],
        [
            "ipsec_local_in_handler msg=\"SPI 0xc736a9de is an SA of site2 of site2\"",
            "ipsec_input msg=\"opened: a packet(proto=17, 10.1.0.1:1->10.2.0.1:2)\"",
            "verdict msg=\"accept, by ipsec_local_in\"",
        ]
    );
    let spoofed = way("seed-002-local-in", &packets, 2).join("\n");
    assert!(
        spoofed.contains("ipsec_spoofed4 msg=\"src ip 10.9.0.1 mismatch selector 0"),
        "{spoofed}"
    );
    assert!(spoofed.contains("ipsec_input4 msg=\"anti-spoof check failed, drop\""), "{spoofed}");
    let file = pcapng(&["port1"], &packets);
    let all = output(&sample("seed-002-local-in"), &file, Form::Explain(None), Options::default());
    assert!(all.contains("no SA for SPI 0x0000dead: never_seen"), "{all}");
    assert!(all.contains("Received ESP packet with unknown SPI."), "{all}");
    assert!(all.contains("1 accepted, 2 dropped"), "{all}");
}

#[test]
fn d2_the_way_of_a_syn_says_where_its_answer_leaves() {
    let packets = [at(0.0, tcp("192.0.2.10:51717", "203.0.113.2:443", 2, 164_043_747, 0, &[]))];
    let way = way("seed-003-reply-path", &packets, 1);
    let said =
        "reply_path msg=\"answers leave by wan2: the routing table, but its SYN came in on wan1\"";
    assert_eq!(way[2], said);
}

#[test]
fn e2_the_way_through_names_rule_and_flow() {
    let packets =
        [at(1.0, udp("1.1.1.1:500", "2.2.2.2:500")), at(1.0, udp("2.2.2.2:500", "1.1.1.1:500"))];
    let first = way("seed-004-passthrough", &packets, 1);
    assert_eq!(
        first[1..3],
        [
            "forward msg=\"addressed to somebody else\"",
            "passthrough msg=\"accept velascoOUT500 in Global, a new flow: protocol 17 1.1.1.1#500 -> 2.2.2.2#500\"",
        ]
    );
    assert_eq!(way("seed-004-passthrough", &packets, 2)[2], "passthrough msg=\"accept_flow\"");
}
