//! Seed 004: the truth table E2, and E3.

use espial_cli::check::{Form, Options};
use serde_json::json;

use crate::packets::{Packet, at, esp, fields, output, pcap, rows, sample, udp};

const IN: &str = "1.1.1.1";
const OUT: &str = "2.2.2.2";

/// IKE both ways, started inside, then ESP both ways, twice.
fn said(config: &str) -> Vec<String> {
    let ike = |from: &str, to: &str| udp(&format!("{from}:500"), &format!("{to}:500"));
    let inner = ("10.0.0.1:1", "10.0.0.2:2");
    let out = || esp((IN, OUT), 0x0aca_846d, 1, inner);
    let back = || esp((OUT, IN), 0x002c_ba09, 1, inner);
    let packets = [ike(IN, OUT), ike(OUT, IN), out(), back(), out(), back()];
    let packets = packets.map(|octets| at(1.0, octets));
    let rows = rows(config, &pcap(&packets));
    let names = ["class", "verdict", "reason", "by", "rule"];
    rows.iter().map(|row| fields(row, &names)).collect()
}

/// The sample without the rule of this name.
fn without(config: &str, rule: &str) -> String {
    let rules = config.split("[[passthrough.rule]]");
    rules.filter(|text| !text.contains(rule)).collect::<Vec<_>>().join("[[passthrough.rule]]")
}

#[test]
fn e2_with_lookupspi_esp_needs_a_rule_each_way() {
    let config = sample("seed-004-passthrough");
    let flow = "esp|accept|-|flow|-";
    assert_eq!(
        said(&config),
        [
            "ike|accept|-|rule|velascoOUT500",
            "ike|accept|-|flow|-",
            "esp|accept|-|rule|velascoOUT_ESP",
            "esp|accept|-|rule|velascoIN_ESP",
            flow,
            flow,
        ]
    );
    let said = said(&without(&config, "velascoIN_ESP"));
    assert_eq!(
        (said[3].as_str(), said[5].as_str()),
        ("esp|drop|rejected|default|-", "esp|drop|rejected|default|-")
    );
    assert_eq!(said[4], flow);
}

#[test]
fn e2_without_lookupspi_one_flow_serves_both_ways() {
    let config = without(&sample("seed-004-passthrough"), "velascoIN_ESP");
    let said = said(&config.replace("lookupspi = true", "lookupspi = false"));
    assert_eq!(said[2], "esp|accept|-|rule|velascoOUT_ESP");
    assert_eq!(said[3..], ["esp|accept|-|flow|-"; 3]);
}

#[test]
fn e2_the_alg_needs_one_rule_and_lookupspi() {
    let config = without(&sample("seed-004-passthrough"), "_ESP")
        .replace("fastl4\"", "standard\"\nalg = true");
    assert_eq!(said(&config)[2..], ["esp|accept|-|alg|-"; 4]);
    // An extra rule does not help.
    let off = sample("seed-004-passthrough").replace("fastl4\"", "standard\"\nalg = true");
    let said = said(&off.replace("lookupspi = true", "lookupspi = false"));
    assert_eq!(
        (said[2].as_str(), said[3].as_str()),
        ("esp|accept|-|alg|-", "esp|drop|alg_needs_lookupspi|-|-")
    );
}

#[test]
fn e3_only_the_peer_whose_isakmp_is_admitted_can_start() {
    let packets =
        [at(1.0, udp("2.2.2.2:500", "1.1.1.1:500")), at(1.0, udp("1.1.1.1:500", "3.3.3.3:500"))];
    let rows = rows(&sample("seed-004-passthrough"), &pcap(&packets));
    let said: Vec<_> = rows.iter().map(|row| fields(row, &["verdict", "reason", "by"])).collect();
    // What is for the firewall itself is not forwarded.
    assert_eq!(said, ["drop|rejected|default", "pass|-|-"]);
}

#[test]
fn a_rule_that_drops_says_so() {
    let config = sample("seed-004-passthrough").replacen("accept-decisively", "drop", 1);
    assert_eq!(said(&config)[2], "esp|drop|passthrough_rule|rule|velascoOUT_ESP");
}

/// IKE and ESP at 1 s, IKE again at 100 s, and a packet of another pair 300 s later and more.
fn idle_alg() -> (String, [Packet; 5]) {
    let config = sample("seed-004-passthrough").replace("fastl4\"", "standard\"\nalg = true");
    let ike = || udp("1.1.1.1:500", "2.2.2.2:500");
    let packets = [
        at(1.0, ike()),
        at(1.5, esp((IN, OUT), 0x0aca_846d, 1, ("10.0.0.1:1", "10.0.0.2:2"))),
        at(100.0, ike()),
        at(400.0, udp("4.4.4.4:500", "5.5.5.5:500")),
        at(401.5, udp("4.4.4.4:500", "5.5.5.5:500")),
    ];
    (config, packets)
}

#[test]
fn e4_flows_of_the_alg_that_ended_are_told_with_the_next_packet() {
    let (config, packets) = idle_alg();
    let rows = rows(&config, &pcap(&packets));
    // Idle for 300 s they live.
    assert!(rows[..4].iter().all(|row| row["teardowns"].is_null()));
    let mut told = rows[4]["teardowns"].as_array().unwrap().clone();
    told.sort_by_key(|one| one["event"].to_string());
    let event = |event: &str, sport: u16| json!({ "event": event, "src": IN, "sport": sport, "dst": OUT, "age": 400.5 });
    assert_eq!(
        told,
        [event("IKE_TEARDOWN", 500), event("IPSEC_TEARDOWN AH", 0), event("IPSEC_TEARDOWN ESP", 0)]
    );
    let way = output(&config, &pcap(&packets), Form::Explain(Some(5)), Options::default());
    assert!(
        way.contains("func=teardown msg=\"IKE_TEARDOWN 1.1.1.1:500 -> 2.2.2.2, after 400 s\""),
        "{way}"
    );
}

#[test]
fn e4_the_summary_lists_flows_of_the_alg_that_ended() {
    let (config, packets) = idle_alg();
    let text = output(&config, &pcap(&packets), Form::Text, Options::default());
    let row = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let rows: Vec<String> = text.lines().map(row).collect();
    for (event, port) in
        [("IPSEC_TEARDOWN AH", 0), ("IKE_TEARDOWN", 500), ("IPSEC_TEARDOWN ESP", 0)]
    {
        let wanted = format!("| {event} | 1.1.1.1:{port} | 2.2.2.2 | 5 | 400 |");
        assert!(rows.contains(&wanted), "{wanted} in {text}");
    }
    // Without the ALG nothing is torn down.
    let without = sample("seed-004-passthrough");
    let text = output(&without, &pcap(&packets), Form::Text, Options::default());
    assert!(!text.contains("TEARDOWN"), "{text}");
}
