//! `espial lint` as a user runs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn espial(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_espial")).args(arguments).output().unwrap()
}

/// A file of this test process's own.
fn scratch(name: &str, content: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

fn texts(output: &Output) -> (String, String) {
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// Exit status, findings and summary.
fn lint(name: &str, content: &str, more: &[&str]) -> (Option<i32>, Vec<Value>, Value) {
    let config = scratch(name, content);
    let output = espial(&[&["lint", &config, "--json"], more].concat());
    let (out, err) = texts(&output);
    assert_eq!(err, "");
    let mut rows: Vec<Value> =
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = rows.pop().unwrap();
    assert_eq!(summary["kind"], "summary");
    assert!(rows.iter().all(|row| row["kind"] == "finding" && row["advice"].is_string()));
    (output.status.code(), rows, summary)
}

fn codes(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["code"].as_str().unwrap()).collect()
}

/// A tunnel with Child SAs `c1`, `c2`, ... of these local and remote selectors and an SA each: the
/// header of Child SA n is line 4 + 6 * (n - 1), that of its SA 4 lines below.
fn tunnel(mode: &str, children: &[(&str, &str)]) -> String {
    let mut text = format!("[[tunnel]]\nname = 't'\nmode = '{mode}'\n");
    for (n, (local, remote)) in children.iter().enumerate() {
        let n = n + 1;
        text += &format!(
            "[[tunnel.child]]\nname = 'c{n}'\nlocal = [{local}]\nremote = [{remote}]\n\
             [[tunnel.child.sa]]\nspi = '0x{:x}'\n",
            0x1000 + n
        );
    }
    text
}

/// A tunnel with one Child SA, whose SAs have these keys beside their SPI.
fn with_sas(sas: &[&str]) -> String {
    let mut text = "[gateway]\naddresses = ['203.0.113.2', '203.0.113.3']\n[[tunnel]]\nname = 't'\n\
                    [[tunnel.child]]\nname = 'c'\nlocal = ['10.0.0.0/8']\nremote = ['192.168.0.0/16']\n"
        .to_owned();
    for sa in sas {
        text += &format!("[[tunnel.child.sa]]\n{sa}\n");
    }
    text
}

const HERE: &str = "'10.10.0.0/24'";

#[test]
fn a_sound_configuration_has_no_findings() {
    let text = tunnel("strict-sa", &[(HERE, "'10.1.0.0/16'")]);
    let (status, rows, summary) = lint("sound.toml", &text, &[]);
    assert_eq!((status, rows), (Some(0), vec![]));
    let nothing = json!({"kind": "summary", "errors": 0, "warnings": 0, "notes": 0, "allowed": 0});
    assert_eq!(summary, nothing);
    let output = espial(&["lint", &scratch("sound-text.toml", &text)]);
    assert_eq!(texts(&output), ("0 errors, 0 warnings, 0 notes.\n".to_owned(), String::new()));
}

#[test]
fn a8_three_selectors_would_be_one_supernet_and_that_is_a_note() {
    let remotes = ["'192.168.10.0/24'", "'192.168.20.0/24'", "'192.168.30.0/24'"];
    let text = tunnel("strict-sa", &remotes.map(|remote| (HERE, remote)));
    let (status, rows, _) = lint("a8-lint.toml", &text, &[]);
    assert_eq!(status, Some(0));
    let expected = json!({
        "kind": "finding", "code": "supernet", "severity": "note", "line": 1, "tunnel": "t",
        "side": "remote", "ranges": 3, "prefix": "192.168.0.0/19", "extra_addresses": 7424,
        "message": "192.168.0.0/19 (255.255.224.0) covers the 3 remote ranges and 7424 addresses more",
        "advice": rows[0]["advice"],
    });
    assert_eq!(rows, [expected]);
}

#[test]
fn pairs_beyond_the_first_of_a_child_sa_are_told_unless_another_one_carries_them() {
    let children = [(HERE, "'10.1.0.0/16', '10.2.0.0/16', '10.3.0.0/16'")];
    let allow = ["--allow", "supernet"];
    let (status, rows, _) = lint("pairs.toml", &tunnel("strict-sa", &children), &allow);
    assert_eq!((status, codes(&rows)), (Some(0), vec!["pair_lost"]));
    let row = &rows[0];
    assert_eq!(
        [&row["severity"], &row["child"], &row["line"]],
        [&json!("note"), &json!("c1"), &json!(4)]
    );
    assert_eq!(row["selector"], json!({"remote": "10.2.0.0/16", "local": "10.10.0.0/24"}));
    let message = row["message"].as_str().unwrap();
    assert!(message.contains("and 1 more would be lost"), "{message}");
    let children = [children[0], (HERE, "'10.2.0.0/15'")];
    let allow =
        [&allow[..], &["--allow", "selector_overlap", "--allow", "selector_unreachable"]].concat();
    let (_, rows, _) = lint("pairs-kept.toml", &tunnel("strict-sa", &children), &allow);
    assert_eq!(codes(&rows), Vec::<&str>::new());
}

#[test]
fn rfc7296_2_9_1_overlaps_of_a_tunnel_are_told_once_for_two_child_sas() {
    let children = [(HERE, "'10.1.0.0/16', '10.2.0.0/16'"), (HERE, "'10.0.0.0/8'")];
    for (mode, severity, effect, status) in [
        ("strict-sa", "warning", "accepted on either", 1),
        ("ordered-spd", "warning", "dropped on any but c1", 1),
        ("any-selector", "note", "the peer may use either", 0),
    ] {
        let (got, rows, _) =
            lint("overlap.toml", &tunnel(mode, &children), &["--allow", "supernet"]);
        assert_eq!((got, codes(&rows)), (Some(status), vec!["selector_overlap"]));
        let row = &rows[0];
        assert_eq!([&row["severity"], &row["child"]], [severity, "c2"]);
        assert_eq!([&row["line"], &row["related"][0]["line"]], [10, 4]);
        assert_eq!(row["related"][0]["child"], "c1");
        assert_eq!(row["selector"], json!({"remote": "10.1.0.0/16", "local": "10.10.0.0/24"}));
        let message = row["message"].as_str().unwrap();
        assert!(message.contains("and 1 more") && message.contains(effect), "{message}");
    }
    // T7: parallel SAs are no overlap.
    let twins = [(HERE, "'10.1.0.0/16'"), (HERE, "'10.1.0.0/16'")];
    assert_eq!(lint("twins.toml", &tunnel("strict-sa", &twins), &[]).1, Vec::<Value>::new());
}

#[test]
fn overlaps_of_tunnels_are_a_note() {
    let one = tunnel("strict-sa", &[(HERE, "'0.0.0.0/0'")]);
    let two = one.replace("'t'", "'u'").replace("0x1001", "0x1002");
    let (status, rows, _) = lint("tunnels.toml", &format!("{one}{two}"), &[]);
    assert_eq!((status, codes(&rows)), (Some(0), vec!["tunnel_overlap"]));
    assert_eq!([&rows[0]["tunnel"], &rows[0]["related"][0]["tunnel"]], ["u", "t"]);
}

#[test]
fn hidden_selectors_and_such_that_match_nothing_are_found() {
    let children = [
        (HERE, "'192.0.2.0/25'"),
        (HERE, "'192.0.2.128/25'"),
        (HERE, "'192.0.2.0/24'"),
        (HERE, "'192.0.2.7'"),
        (
            "{ addr = '10.11.0.0/24', protocol = 'tcp' }",
            "{ addr = '10.12.0.0/24', protocol = 'udp' }",
        ),
    ];
    let allow = ["--allow", "supernet", "--allow", "selector_overlap"];
    for (mode, severity) in [("ordered-spd", "warning"), ("any-selector", "note")] {
        let (status, rows, summary) = lint("hidden.toml", &tunnel(mode, &children), &allow);
        assert_eq!(status, Some(1));
        let expected = ["selector_unreachable", "selector_shadowed", "no_packet"];
        assert_eq!(codes(&rows), expected);
        let severities = [&rows[0], &rows[1], &rows[2]].map(|row| &row["severity"]);
        assert_eq!(severities, [severity, severity, "error"]);
        let by = |row: &Value| -> Vec<String> {
            let related = row["related"].as_array().unwrap();
            related.iter().map(|place| place["child"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(
            (by(&rows[0]), by(&rows[1])),
            (vec!["c1".into(), "c2".into()], vec!["c1".into()])
        );
        assert!(summary["allowed"].as_u64().unwrap() >= 3);
    }
}

#[test]
fn a2_any_source_is_said_to_be_weaker_at_the_line_of_its_mode() {
    let text = tunnel("any-source", &[(HERE, "'10.1.0.0/16'")]);
    let (status, rows, _) = lint("weak.toml", &text, &[]);
    assert_eq!((status, codes(&rows)), (Some(1), vec!["any_source"]));
    assert_eq!(rows[0]["line"], 3);
    assert!(rows[0]["message"].as_str().unwrap().contains("weaker than any-selector"));
    let (status, rows, summary) = lint("weak.toml", &text, &["--allow", "any_source"]);
    assert_eq!((status, rows.len(), &summary["allowed"]), (Some(0), 0, &json!(1)));
}

#[test]
fn a2_a_mode_that_comes_of_a_version_is_said_to() {
    let text = tunnel("strict-sa", &[(HERE, "'10.1.0.0/16'")]).replace("mode = 'strict-sa'\n", "");
    let of = |version: &str| format!("[gateway]\nfortios = '{version}'\n{text}");
    let (status, rows, _) = lint("inferred.toml", &of("7.6.3"), &[]);
    assert_eq!(
        (status, codes(&rows), &rows[0]["line"]),
        (Some(0), vec!["mode_inferred"], &json!(3))
    );
    let (status, rows, _) = lint("fixed.toml", &of("7.6.7"), &[]);
    assert_eq!((status, codes(&rows)), (Some(1), vec!["any_source"]));
    assert!(rows[0]["message"].as_str().unwrap().contains("the mode of FortiOS 7.6.7"));
    assert!(lint("stated.toml", &of("7.4.2"), &[]).1.is_empty());
}

#[test]
fn t22_a_longer_key_of_the_same_spi_shadows_a_shorter_one() {
    let text = with_sas(&[
        "spi = '0x1000'",
        "spi = '0x1000'\ndst = '203.0.113.2'",
        "spi = '0x1000'\ndst = '203.0.113.2'\nsrc = '198.51.100.1'",
        // Not in the way: another destination with a source, another protocol, another time.
        "spi = '0x1000'\ndst = '203.0.113.3'\nsrc = '198.51.100.1'\ninstalled = 5\ndeleted = 6",
        "spi = '0x2000'\ninstalled = 10\ndeleted = 20",
        "spi = '0x2000'\ndst = '203.0.113.2'\ninstalled = 20",
    ]);
    let (status, rows, _) = lint("keys.toml", &text, &[]);
    assert_eq!((status, codes(&rows)), (Some(1), vec!["key_shadowed", "key_shadowed"]));
    let related = |row: &Value| row["related"].as_array().unwrap().len();
    assert_eq!([&rows[0]["line"], &rows[1]["line"]], [9, 11]);
    assert_eq!([related(&rows[0]), related(&rows[1])], [3, 1]);
    assert_eq!(rows[0]["spi"], "0x00001000");
    let message = rows[1]["message"].as_str().unwrap();
    assert!(message.contains("packets to 203.0.113.2 from 198.51.100.1 are on the SA at line 14"));
}

#[test]
fn sas_that_are_weak_or_unreachable_are_found() {
    let key = "a7".repeat(16);
    for (sa, code, severity) in [
        ("spi = '0xff'".to_owned(), "reserved_spi", "warning"),
        ("spi = '0x1000'\ndst = '203.0.113.9'".to_owned(), "foreign_destination", "error"),
        ("spi = '0x1000'\nreplay-window = 0".to_owned(), "replay_off", "warning"),
        ("spi = '0x1000'\nreplay-window = 31".to_owned(), "replay_window_small", "warning"),
        (
            "spi = '0x1000'\nreplay-window = 0\nesn = true".to_owned(),
            "esn_without_replay",
            "warning",
        ),
        ("spi = '0x1000'\nencryption = 'null'".to_owned(), "no_integrity", "warning"),
        (
            format!("spi = '0x1000'\nencryption = 'aes-cbc'\nencryption-key = '{key}'"),
            "no_integrity",
            "warning",
        ),
    ] {
        let (status, rows, _) = lint("weak-sa.toml", &with_sas(&[&sa]), &[]);
        assert_eq!((status, codes(&rows)), (Some(1), vec![code]), "{sa}");
        assert_eq!(rows[0]["severity"], severity);
        assert_eq!((&rows[0]["line"], &rows[0]["child"]), (&json!(9), &json!("c")));
    }
    for sa in [
        "spi = '0x100'\nreplay-window = 32\ndst = '203.0.113.2'".to_owned(),
        format!("spi = '0x1000'\nencryption = 'aes-gcm-16'\nencryption-key = '{key}a7a7a7a7'"),
    ] {
        assert!(lint("good-sa.toml", &with_sas(&[&sa]), &[]).1.is_empty(), "{sa}");
    }
    let (status, rows, _) = lint("none.toml", &with_sas(&[]), &[]);
    assert_eq!((status, codes(&rows)), (Some(0), vec!["child_without_sa"]));
}

#[test]
fn findings_are_a_table_for_people_and_no_key_is_printed() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let sample = samples.join("kernel-03-wrong-sa-native.gateway.toml");
    let text = fs::read_to_string(&sample).unwrap();
    let keys: Vec<_> =
        text.lines().filter_map(|line| line.split_once("-key = \"")?.1.strip_suffix('"')).collect();
    assert!(!keys.is_empty());
    for json in [&[][..], &["--json"]] {
        let output = espial(&[&["lint", sample.to_str().unwrap()], json].concat());
        assert_eq!(output.status.code(), Some(1), "net-a lies in wide");
        let (out, err) = texts(&output);
        assert!(out.contains("selector_overlap") && err.is_empty(), "{out}");
        assert!(keys.iter().all(|key| !out.contains(key)));
        // The same of many SAs is one row for people, and one object each.
        let most = if json.is_empty() { 2 } else { usize::MAX };
        let told = out.matches("anti-replay is off").count();
        assert!((1..=most).contains(&told) && (json.is_empty() || told > 10), "{told}");
    }
    let weak = scratch("table.toml", &tunnel("any-source", &[(HERE, "'10.1.0.0/16'")]));
    let (out, _) = texts(&espial(&["lint", &weak]));
    for part in [
        "| line | severity | code       | where | what",
        "|    3 | warning  | any_source | t     | any-source is weaker than any-selector",
        "What to do:\nany_source: mode = \"any-selector\" looks at",
        "\n0 errors, 1 warnings, 0 notes.\n",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
}

#[test]
fn unusable_files_and_unknown_codes_are_said_to_be() {
    let bad = scratch("bad-lint.toml", "[[tunnel]]\nname = 't'\nmodes = 1\n");
    for (arguments, part) in [
        (&["no-such.toml"][..], "no-such.toml"),
        (&[&bad], "bad-lint.toml:3: modes: unknown key"),
        (&[], "GATEWAY.toml"),
        (&[&bad, "--allow", "nonsense"], "possible values: no_packet, selector_overlap"),
    ] {
        let output = espial(&[&["lint"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let (out, err) = texts(&output);
        assert_eq!(out, "");
        assert!(err.contains(part), "{part}: {err}");
    }
}
