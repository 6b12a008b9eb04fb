//! Seed 003: D1 to D5.

use espial_cli::check::{Form, Options};

use crate::packets::{Packet, at, fields, output, pcapng, rows, sample, tcp};

const PEER: &str = "192.0.2.10:51717";
const WAN1: &str = "203.0.113.2:443";
const SYN: u8 = 2;
const ACK: u8 = 16;
const FAULT: &str = "answered by another interface than they came in on";

fn syn() -> Vec<u8> {
    tcp(PEER, WAN1, SYN, 164_043_747, 0, &[])
}

/// The document's capture after the fix: SYN and ACK on wan1.
fn handshake() -> Vec<Packet> {
    vec![
        at(0.0, syn()),
        at(0.1, tcp(WAN1, PEER, SYN | ACK, 3_416_450_666, 164_043_748, &[])),
        at(0.2, tcp(PEER, WAN1, ACK, 164_043_748, 3_416_450_667, &[])),
    ]
}

fn said(config: &str, packets: &[Packet]) -> Vec<String> {
    let rows = rows(config, &pcapng(&["wan1", "wan2"], packets));
    rows.iter()
        .map(|row| fields(row, &["verdict", "reason", "interface", "reply_interface"]))
        .collect()
}

fn text(config: &str, packets: &[Packet]) -> String {
    output(config, &pcapng(&["wan1", "wan2"], packets), Form::Text, Options::default())
}

#[test]
fn d2_an_unpinned_gateway_answers_by_the_other_wan() {
    let config = sample("seed-003-reply-path");
    // The SYN again, since its answer did not arrive.
    let packets = [at(0.0, syn()), at(1.0, syn())];
    assert_eq!(said(&config, &packets), ["pass|-|wan1|wan2"; 2]);
    let text = text(&config, &packets);
    assert!(text.contains(&format!("2 SYNs of IKE over TCP are {FAULT}")), "{text}");
}

#[test]
fn d3_fixed_versions_answer_where_the_syn_came_in() {
    for version in ["7.4.9", "7.6.4"] {
        let config = sample("seed-003-reply-path").replace("7.4.8", version);
        assert_eq!(said(&config, &handshake()), ["pass|-|wan1|wan1"; 3]);
        assert!(!text(&config, &handshake()).contains(FAULT));
    }
}

#[test]
fn d4_policy_routes_need_their_switch() {
    let config = sample("seed-003-reply-path");
    let (head, workaround) = config.split_once("# mode").unwrap();
    let (workaround, tail) = workaround.split_once("\n\n").unwrap();
    let config = format!("{head}mode{}\n\n{tail}", workaround.replace("# ", ""));
    assert_eq!(said(&config, &handshake()), ["pass|-|wan1|wan1"; 3]);
    let off = config.replace("ike-policy-route = true", "ike-policy-route = false");
    assert_eq!(said(&off, &[at(0.0, syn())]), ["pass|-|wan1|wan2"]);
}

#[test]
fn d5_only_a_syn_makes_a_connection() {
    let config = sample("seed-003-reply-path").replace("7.4.8", "7.4.9");
    let late = handshake().split_off(2);
    assert_eq!(said(&config, &late), ["drop|tcp_no_session|wan1|-"]);
    // Another port is none of it.
    let https = [at(0.0, tcp(PEER, "203.0.113.2:8443", ACK, 1, 1, &[]))];
    assert_eq!(said(&config, &https), ["pass|-|wan1|-"]);
}

/// A connection that a policy denies is not answered, and so has no way back.
#[test]
fn a_denied_syn_makes_no_connection() {
    let config = sample("seed-003-reply-path")
        + "[[local-in]]\nid = 7\ninterface = 'wan1'\nsource = 'all'\ndestination = 'all'\nservice = 'ALL'\n";
    let packets = [at(0.0, syn()), at(0.0, syn()).on(1)];
    let expected = ["drop|local_in_policy|wan1|-", "accept|-|wan2|wan2"];
    assert_eq!(said(&config, &packets), expected);
}

/// Frames of a connection that is let in are judged as before.
#[test]
fn ike_in_tcp_is_let_in_by_its_connections_session() {
    let config = sample("seed-003-reply-path")
        .replace("ike-tcp-port", "local-in-default = 'accept'\nike-tcp-port");
    let mut packets = handshake();
    let frames =
        [&b"IKETCP"[..], &[0, 10, 0, 0, 0, 0, 1, 2, 3, 4], &[0, 14], &[0, 0, 0x10, 1], &[9; 8]]
            .concat();
    packets.push(at(0.3, tcp(PEER, WAN1, ACK, 164_043_748, 3_416_450_667, &frames)));
    let rows = rows(&config, &pcapng(&["wan1", "wan2"], &packets));
    let fields: Vec<_> = rows[3..]
        .iter()
        .map(|row| fields(row, &["frame", "class", "verdict", "reason", "by"]))
        .collect();
    assert_eq!(fields, ["1|ike|accept|-|session", "2|esp|drop|unknown_spi|ipsec_local_in"]);
}
