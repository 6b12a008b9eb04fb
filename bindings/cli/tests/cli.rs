//! The binary as a user runs it: exit statuses, messages, and that no key is ever printed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn espial(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_espial")).args(arguments).output().unwrap()
}

fn sample(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name);
    path.to_str().unwrap().to_owned()
}

/// A file of this test process's own.
fn scratch(name: &str, content: impl AsRef<[u8]>) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

fn texts(output: &Output) -> (String, String) {
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

const STEM: &str = "kernel-03-wrong-sa-native";

fn check(config: &str, capture: &str, more: &[&str]) -> Output {
    espial(&[&["check", "--config", config, capture], more].concat())
}

fn toml() -> String {
    sample(&format!("{STEM}.gateway.toml"))
}

fn pcap() -> String {
    sample(&format!("{STEM}.pcap"))
}

#[test]
fn without_arguments_it_judges_its_own_capture() {
    let output = espial(&[]);
    assert_eq!(output.status.code(), Some(0));
    let (out, _) = texts(&output);
    for part in ["wrong_sa 8", "the peer used the wrong SA", "level to `unique`", "checks a second"]
    {
        assert!(out.contains(part), "{part}: {out}");
    }
}

#[test]
fn the_summary_names_sas_reasons_tunnels_and_causes() {
    let output = check(&toml(), &pcap(), &[]);
    assert_eq!(output.status.code(), Some(1), "something was dropped");
    let (out, err) = texts(&output);
    for part in [
        "| plain4 | net-b | esp 0xcb3ed5c1 |        2 |       8 | wrong_sa 8       |",
        "10 accepted, 22 dropped, 13 not for this check (esp 8, nat-keepalive 5)",
        "tunnel plain4: strict-sa, rx(pkt,err): 24/14  selectors(total,up): 16/16",
        "remote 10.155.0.0/16",
        "In any-selector mode 24 of these packets would have been accepted",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert_eq!(err, "");
}

#[test]
fn the_trace_speaks_as_the_documents_do() {
    let (out, _) = texts(&check(&toml(), &pcap(), &["--trace"]));
    let mismatch = "func=ipsec_spoofed4 msg=\"src ip 10.180.244.5 mismatch selector 0 range 10.155.0.0-10.155.255.255\"";
    let lines: Vec<_> = out.lines().collect();
    let at = lines.iter().position(|line| line.contains(mismatch)).unwrap();
    assert!(lines[at + 1].ends_with("func=ipsec_input4 msg=\"anti-spoof check failed, drop\""));
}

#[test]
fn b2_the_trace_logs_an_unknown_spi_as_the_document_does() {
    let text = fs::read_to_string(toml()).unwrap();
    let spi = "cb3ed5c1";
    let stranger = scratch("stranger.toml", text.replacen(spi, "00bad123", 1));
    let (out, _) = texts(&check(&stranger, &pcap(), &["--trace"]));
    let unknown = out.lines().find(|line| line.contains("unknown SPI")).unwrap();
    for part in [
        " logid=\"0101037131\" type=\"event\" subtype=\"vpn\" level=\"error\" eventtime=",
        " status=\"esp_error\" error_num=\"Received ESP packet with unknown SPI.\" ",
        &format!(" spi=\"{spi}\" seq=\"0000"),
    ] {
        assert!(unknown.starts_with("packet=") && unknown.contains(part), "{part}: {unknown}");
    }
}

#[test]
fn a2_a_preset_is_told_or_refused() {
    let output = espial(&["preset", "7.4.2", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let line = "{\"fortios\":\"7.4.2\",\"mode\":\"strict-sa\",\"mode_basis\":\"stated\",\
                \"tcp_reply\":\"unpinned\",\"tcp_reply_basis\":\"inferred\"}\n";
    assert_eq!(texts(&output).0, line);
    let output = espial(&["preset", "8.0.0", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let line = "{\"fortios\":\"8.0.0\",\"tcp_reply\":\"pinned\",\"tcp_reply_basis\":\"stated\"}\n";
    assert_eq!(texts(&output).0, line);
    for (version, status, part) in [
        ("7.6.7", 0, "any-source is weaker than any-selector"),
        ("7.6.3", 0, "mode = \"strict-sa\"    inferred"),
        ("8.0.0", 1, "mode is not documented: give each tunnel mode = one of \"strict-sa\""),
        ("7.2.1", 0, "answers to IKE over TCP: not documented"),
    ] {
        let output = espial(&["preset", version]);
        assert_eq!(output.status.code(), Some(status), "{version}");
        assert!(texts(&output).0.contains(part), "{version}: {}", texts(&output).0);
    }
    let output = espial(&["preset", "7.4"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(texts(&output).1.contains("three numbers, such as 7.4.2"));
}

#[test]
fn a_truncated_capture_is_judged_as_far_as_it_goes() {
    let octets = fs::read(pcap()).unwrap();
    let cut = scratch("cut.pcap", &octets[..5000]);
    let output = check(&toml(), &cut, &["--json"]);
    assert_eq!(output.status.code(), Some(2), "2 wins over 1");
    let (out, err) = texts(&output);
    assert_eq!(out.lines().count(), 12);
    assert!(err.contains("packet 13"), "{err}");
}

#[test]
fn a_foreign_file_and_missing_files_are_unusable() {
    let foreign = scratch("foreign.pcap", "this is no capture at all");
    for (config, capture) in [
        (toml(), foreign),
        (toml(), String::from("no-such.pcap")),
        (String::from("no.toml"), pcap()),
    ] {
        let output = check(&config, &capture, &[]);
        assert_eq!(output.status.code(), Some(2));
        assert!(!texts(&output).1.is_empty());
    }
    assert_eq!(espial(&["check", "--nonsense"]).status.code(), Some(2));
}

#[test]
fn a_configuration_error_names_file_line_key_and_what_would_be_right() {
    let text = fs::read_to_string(toml()).unwrap();
    let line = 1 + text.lines().position(|line| line.starts_with("replay-window")).unwrap();
    let bad = scratch("bad.toml", text.replacen("replay-window", "replay-windo", 1));
    let output = check(&bad, &pcap(), &[]);
    assert_eq!(output.status.code(), Some(2));
    let (out, err) = texts(&output);
    assert_eq!(out, "");
    assert!(err.contains(&format!("bad.toml:{line}: replay-windo: unknown key")), "{err}");
    assert!(err.contains("replay-window"), "{err}");
}

#[test]
fn wrong_keys_are_reported_by_sa_and_accept_nothing() {
    let text = fs::read_to_string(toml()).unwrap();
    let wrong: Vec<_> = text
        .lines()
        .map(|line| match line.split_once("-key = \"") {
            Some((key, hex)) => format!("{key}-key = \"{:0<1$}\"", "", hex.len() - 1),
            None => line.to_owned(),
        })
        .collect();
    let wrong = scratch("wrong-keys.toml", wrong.join("\n"));
    let (out, _) = texts(&check(&wrong, &pcap(), &[]));
    assert!(out.contains("0 accepted, 32 dropped"), "{out}");
    assert!(out.contains("auth_failed") && out.contains("net-b"), "{out}");
}

#[test]
fn no_form_of_output_holds_a_key() {
    let text = fs::read_to_string(toml()).unwrap();
    let keys: Vec<_> =
        text.lines().filter_map(|line| line.split_once("-key = \"")?.1.strip_suffix('"')).collect();
    assert!(keys.len() > 20);
    // A key where a name of an algorithm belongs, and one too short for its cipher.
    let misplaced = scratch(
        "misplaced.toml",
        text.replacen("encryption = \"aes-gcm-16\"", &format!("encryption = \"{}\"", keys[0]), 1),
    );
    let short = scratch("short.toml", text.replacen(keys[1], &keys[1][2..], 1));
    for config in [toml(), misplaced, short] {
        for form in [&[][..], &["--json"], &["--trace"]] {
            let (out, err) = texts(&check(&config, &pcap(), form));
            for key in &keys {
                let part = &key[2..key.len().min(18)];
                assert!(!out.contains(part) && !err.contains(part), "a key is printed");
            }
        }
    }
}

#[test]
fn the_command_line_says_what_the_c_data_plane_says() {
    // `ffi/tests` holds the C example to the same file.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ffi/examples");
    let file = |name: &str| root.join(name).to_str().unwrap().to_owned();
    let output = check(&file("null-esp.gateway.toml"), &file("null-esp.pcap"), &["--json"]);
    let (out, err) = texts(&output);
    assert_eq!(err, "");
    let expected = fs::read_to_string(file("null-esp.expect.jsonl")).unwrap();
    assert!(expected.lines().count() >= 40);
    assert_eq!(out.lines().count(), expected.lines().count());
    for (got, expected) in out.lines().zip(expected.lines()) {
        let parse = |line| serde_json::from_str::<Value>(line).unwrap();
        let (got, expected) = (parse(got), parse(expected));
        for key in ["packet", "verdict", "reason", "spi", "belongs_to", "field"] {
            assert_eq!(got[key], expected[key], "{key}: {got} and {expected}");
        }
    }
}

/// The rows of `espial lookup --json` with these arguments.
fn lookup(arguments: &[&str]) -> Vec<Value> {
    let output = espial(&[&["lookup", "--json"], arguments].concat());
    let (out, err) = texts(&output);
    assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "no live SA is missed");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn lookups_are_measured_a_row_for_each_way_of_asking() {
    let rows = lookup(&["--sas", "1000", "--spi", "random"]);
    let measures: Vec<_> = rows.iter().map(|row| row["measure"].as_str().unwrap()).collect();
    let (four, two) = (["throughput"; 4], ["latency"; 2]);
    assert_eq!(measures, [&["memory"][..], &four, &two].concat());
    for row in &rows {
        assert_eq!((&row["spi"], &row["sas"]), (&Value::from("random"), &Value::from(1000)));
    }
    for row in &rows[1..5] {
        assert_eq!(row["missed"], 0);
        assert!(row["ns_min"].as_f64().unwrap() > 0.0);
        assert!(row["ns_median"].as_f64() >= row["ns_min"].as_f64());
    }
    for row in &rows[5..] {
        let ns = ["ns_p50", "ns_p99", "ns_max"].map(|key| row[key].as_f64().unwrap());
        assert!(ns.is_sorted(), "{row}");
    }
}

#[test]
fn readers_beside_a_writer_miss_no_live_sa() {
    let arguments = ["--sas", "500", "--spi", "both", "--threads", "2", "--churn", "2000"];
    let rows = lookup(&arguments);
    let of = |measure| rows.iter().filter(|row| row["measure"] == measure).collect::<Vec<_>>();
    let threads: Vec<_> = of("threads").iter().map(|row| &row["threads"]).collect();
    assert_eq!(threads, [1, 2]);
    let churn = of("churn");
    let asked: Vec<_> = churn.iter().map(|row| &row["updates_asked"]).collect();
    assert_eq!(asked, [&Value::from(2000), &Value::Null], "paced, then as many as it can");
    for row in churn {
        assert_eq!(row["missed"], 0);
        assert!(row["updates_per_second"].as_u64().unwrap() > 0, "{row}");
    }
}

#[test]
fn lookups_are_told_in_tables_of_both_kinds_of_spi() {
    let (out, err) = texts(&espial(&["lookup", "--sas", "300", "--burst", "8"]));
    assert_eq!(err, "");
    for part in
        ["SPIs allocated by the gateway", "SPIs chosen at random", "hit, bursts of 8", "p99"]
    {
        assert!(out.contains(part), "{part}: {out}");
    }
}

#[test]
fn arguments_of_lookup_that_cannot_be_are_unusable() {
    for (arguments, why) in [
        (&[][..], "--sas"),
        (&["--sas", "0"], "--sas"),
        (&["--sas", "many"], "--sas"),
        (&["--sas", "4000000000"], "--sas 4000000000: capacity `sas"),
        (&["--sas", "9", "--spi", "lucky"], "allocated, random, both"),
        (&["--sas", "9", "--burst", "65"], "at most 64"),
        (&["--sas", "9", "--threads", "0"], "--threads"),
        (&["--sas", "9", "--threads", "257"], "at most 256"),
        (&["--sas", "9", "--churn", "0"], "--churn"),
        (&["--sas", "1", "--churn", "5"], "2 SAs at least"),
    ] {
        let output = espial(&[&["lookup"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let (out, err) = texts(&output);
        assert_eq!(out, "");
        assert!(err.contains(why), "{arguments:?}: {err}");
    }
}

/// A pcap file with IKE from a stranger to the gateway of seed 001, as seed 001 traces it.
fn stranger() -> Vec<u8> {
    let ip = [0x45, 0, 0, 36, 0, 0, 0, 0, 64, 17, 0, 0, 10, 10, 10, 13, 10, 10, 10, 1];
    let udp = [1, 0xf4, 1, 0xf4, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let words = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 101, 7, 0, 36, 36];
    let head: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    [&head[..], &ip, &udp].concat()
}

#[test]
fn explain_prints_the_way_of_one_packet() {
    let (config, capture) =
        (sample("seed-001-local-in.gateway.toml"), scratch("stranger.pcap", stranger()));
    let on_wan1 = ["--interface", "wan1", "--explain"];
    let output = check(&config, &capture, &[&on_wan1[..], &["--packet", "1"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let (out, err) = texts(&output);
    assert_eq!(err, "");
    assert_eq!(
        out.lines().nth(3),
        Some(
            "packet=1 time=7.000000 func=fw_local_in_handler msg=\"iprope_in_check() check failed on policy 1, drop\""
        )
    );
    assert_eq!(out.lines().count(), 5, "{out}");
    // Another packet than there is: nothing to explain, and the same status.
    let output = check(&config, &capture, &[&on_wan1[..], &["--packet", "2"]].concat());
    assert_eq!((output.status.code(), texts(&output).0.as_str()), (Some(1), ""));
    // All of them, and the summary.
    let (out, _) = texts(&check(&config, &capture, &on_wan1));
    assert!(out.contains("0 accepted, 1 dropped"), "{out}");
    // Nobody denies it on an interface that is not named.
    assert_eq!(check(&config, &capture, &[]).status.code(), Some(0));
}

#[test]
fn interfaces_that_are_not_there_and_options_that_do_not_go_together() {
    let (config, capture) =
        (sample("seed-001-local-in.gateway.toml"), scratch("stranger-2.pcap", stranger()));
    let output = check(&config, &capture, &["--interface", "wan9"]);
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(2));
    assert!(err.contains("no [[interface]] is called `wan9`"), "{err}");
    for options in [&["--packet", "1"][..], &["--explain", "--json"], &["--explain", "--trace"]] {
        assert_eq!(check(&config, &capture, options).status.code(), Some(2), "{options:?}");
    }
}

#[test]
fn merged_rules_are_counted_and_asked_for_yes_or_no_only() {
    let rule = |net: &str| format!("@{net}\t0.0.0.0/0\t0 : 65535\t0 : 65535\t0x00/0x00\n");
    let rules =
        scratch("merge.rules", ["10.0.0.0/9", "10.128.0.0/9", "10.9.0.0/16"].map(rule).concat());
    let trace = scratch("merge.trace", "167772161 7 1 2 6 0\n176160769 7 1 2 6 1\n7 7 1 2 6 -1\n");
    let classify = |more: &[&str]| {
        espial(&[&["classify", "--rules", &rules, "--trace", &trace], more].concat())
    };
    let output = classify(&["--any", "--merge"]);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(out.starts_with("3 rules merged to 1, built in "), "{out}");
    let (out, _) = texts(&classify(&["--any", "--merge", "--json"]));
    let row: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&row["rules"], &row["asked"], &row["mismatches"]),
        (&3.into(), &1.into(), &0.into())
    );
    let (out, _) = texts(&classify(&["--any"]));
    assert!(out.starts_with("3 rules, built in "), "{out}");
    let output = classify(&["--merge"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(texts(&output).1.contains("--any"));
}
