//! `espial analyze` as a user runs it.

use std::fmt::Write;
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

/// Name, local list and remote list, as TOML.
type Child<'a> = (&'a str, &'a str, &'a str);

fn gateway(tunnels: &[(&str, &[Child<'_>])]) -> String {
    let mut text = String::new();
    for (tunnel, children) in tunnels {
        writeln!(text, "[[tunnel]]\nname = '{tunnel}'").unwrap();
        for (child, local, remote) in *children {
            writeln!(text, "[[tunnel.child]]\nname = '{child}'").unwrap();
            writeln!(text, "local = [{local}]\nremote = [{remote}]").unwrap();
        }
    }
    text
}

fn texts(output: &Output) -> (String, String) {
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// Exit status and rows.
fn rows(config: &str) -> (Option<i32>, Vec<Value>) {
    let output = espial(&["analyze", "--config", config, "--json"]);
    let (out, err) = texts(&output);
    assert_eq!(err, "");
    (output.status.code(), out.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn of<'a>(rows: &'a [Value], kind: &str) -> Vec<&'a Value> {
    rows.iter().filter(|row| row["kind"] == kind).collect()
}

const LOCAL: &str = "'10.10.0.0/24'";

fn faulty() -> String {
    gateway(&[
        (
            "one",
            &[
                ("low", LOCAL, "'192.0.2.0/25'"),
                ("high", LOCAL, "'192.0.2.128/25'"),
                ("whole", LOCAL, "'192.0.2.0/24'"),
                ("web", "{ addr = '10.10.0.0/24', protocol = 'tcp', ports = 443 }", "'192.0.2.1'"),
                ("twin", LOCAL, "'192.0.2.0/25'"),
                (
                    "never",
                    "{ addr = '10.11.0.0/24', protocol = 'tcp' }",
                    "{ addr = '10.12.0.0/24', protocol = 'udp' }",
                ),
            ],
        ),
        ("two", &[("other", "'0.0.0.0/0'", "'192.0.2.7'")]),
    ])
}

#[test]
fn seed_000_a8_three_selectors_are_one_supernet_and_no_finding() {
    let text = gateway(&[(
        "branch",
        &[
            ("ten", LOCAL, "'192.168.10.0/24'"),
            ("twenty", LOCAL, "'192.168.20.0/24'"),
            ("thirty", LOCAL, "'192.168.30.0/24'"),
        ],
    )]);
    let config = scratch("a8.toml", &text);
    let (status, rows) = rows(&config);
    assert_eq!(status, Some(0));
    let supernet = json!({
        "kind": "supernet", "tunnel": "branch", "side": "remote", "ranges": 3,
        "prefix": "192.168.0.0/19", "extra": 8192 - 3 * 256,
    });
    assert_eq!(of(&rows, "supernet"), [&supernet]);
    let summary = json!({
        "kind": "summary", "tunnels": 1, "children": 3, "selectors": 3, "overlaps": 0,
        "overlaps_complete": true, "shadowed": 0, "unreachable": 0, "no_packet": 0, "undecided": 0,
    });
    assert_eq!(rows.last(), Some(&summary));

    let output = espial(&["analyze", "--config", &config]);
    assert_eq!(output.status.code(), Some(0));
    let (out, err) = texts(&output);
    for part in [
        "1 tunnels, 3 Child SAs, 3 pairs",
        "No selectors overlap and none is hidden.",
        "| branch | all   | remote |      3 | 192.168.0.0/19 |  7424 |",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert_eq!(err, "");
}

#[test]
fn findings_are_rows_of_their_kind() {
    let (status, rows) = rows(&scratch("faulty.toml", &faulty()));
    assert_eq!(status, Some(1));
    let name = |row: &Value| row["child"].as_str().unwrap().to_owned();
    let pairs: Vec<_> = of(&rows, "overlap")
        .iter()
        .map(|row| (name(row), name(&row["with"]), row["both"]["remote"].clone()))
        .collect();
    let pair = |a: &str, b: &str, both: &str| (a.to_owned(), b.to_owned(), Value::from(both));
    for expected in [
        pair("low", "whole", "192.0.2.0/25"),
        pair("high", "whole", "192.0.2.128/25"),
        pair("whole", "web", "192.0.2.1"),
        pair("web", "twin", "192.0.2.1"),
        pair("twin", "other", "192.0.2.7"),
    ] {
        assert!(pairs.contains(&expected), "{expected:?}: {pairs:?}");
    }
    assert!(!pairs.iter().any(|(a, b, _)| (a.as_str(), b.as_str()) == ("low", "twin")), "T7");
    assert_eq!(of(&rows, "parallel")[0]["same_as"], "low");

    let unreachable = of(&rows, "unreachable");
    assert_eq!(unreachable.len(), 1);
    assert_eq!(name(unreachable[0]), "whole");
    let by: Vec<_> = unreachable[0]["by"].as_array().unwrap().iter().map(name).collect();
    assert_eq!(by, ["low", "high"]);
    let shadowed = of(&rows, "shadowed");
    assert_eq!(shadowed.len(), 1);
    assert_eq!((name(shadowed[0]), name(&shadowed[0]["by"][0])), ("web".into(), "low".into()));
    let selector = json!({
        "remote": "192.0.2.1", "local": "10.10.0.0/24", "local_ports": "443", "proto": 6,
    });
    assert_eq!(shadowed[0]["selector"], selector);
    let never = of(&rows, "no_packet")[0];
    assert_eq!(name(never), "never");
    let line = faulty().lines().position(|line| line.contains("never")).unwrap();
    assert_eq!(never["line"], line, "where its table starts");
    let summary = rows.last().unwrap();
    assert_eq!(summary["overlaps"], pairs.len());
    assert_eq!([&summary["shadowed"], &summary["unreachable"], &summary["no_packet"]], [1, 1, 1]);
}

#[test]
fn findings_are_tables_for_people() {
    let output = espial(&["analyze", "--config", &scratch("people.toml", &faulty())]);
    assert_eq!(output.status.code(), Some(1));
    let (out, err) = texts(&output);
    for part in [
        "| low of one   | whole of one | 192.0.2.0/25 -> 10.10.0.0/24",
        "shadowed by low (192.0.2.0/25 -> 10.10.0.0/24)",
        "unreachable behind low (192.0.2.0/25 -> 10.10.0.0/24), high (192.0.2.128/25 -> 10.10.0.0/24)",
        "as parallel SAs have (RFC 9611): 1.",
        "never of one accepts nothing",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert_eq!(err, "");
}

#[test]
fn extra_addresses_of_ipv6_are_exact() {
    let text = gateway(&[("six", &[("ends", "'2001:db8::1'", "'::', 'ffff::'")])]);
    let output = espial(&["analyze", "--config", &scratch("six.toml", &text), "--json"]);
    let (out, _) = texts(&output);
    let part = format!(r#""prefix":"::/0","extra":{}}}"#, u128::MAX - 1);
    assert!(out.contains(&part), "{out}");
}

#[test]
fn more_overlaps_than_are_told_are_counted() {
    let children: Vec<_> = (0..60).map(|n| format!("c{n}")).collect();
    let remotes: Vec<_> = (0..60).map(|n| format!("'10.0.0.0-10.0.0.{n}'")).collect();
    let one: Vec<_> =
        children.iter().zip(&remotes).map(|(c, r)| (c.as_str(), LOCAL, r.as_str())).collect();
    let config = scratch("many.toml", &gateway(&[("many", &one)]));
    let (status, rows) = rows(&config);
    assert_eq!(status, Some(1));
    assert_eq!(of(&rows, "overlap").len(), 1000);
    assert_eq!(rows.last().unwrap()["overlaps"], 60 * 59 / 2);
    let (out, _) = texts(&espial(&["analyze", "--config", &config]));
    assert!(out.contains("and 1670 more: see --json."), "{out}");
}

#[test]
fn no_key_is_printed_and_unusable_files_are_said_to_be() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let sample = samples.join("kernel-03-wrong-sa-native.gateway.toml");
    let text = fs::read_to_string(&sample).unwrap();
    let keys: Vec<_> =
        text.lines().filter_map(|line| line.split_once("-key = \"")?.1.strip_suffix('"')).collect();
    assert!(!keys.is_empty());
    for json in [&[][..], &["--json"]] {
        let output = espial(&[&["analyze", "--config", sample.to_str().unwrap()], json].concat());
        assert_eq!(output.status.code(), Some(1), "net-a lies in wide");
        let (out, err) = texts(&output);
        assert!(out.contains("net-a") && err.is_empty());
        assert!(keys.iter().all(|key| !out.contains(key)));
    }
    let bad = scratch("bad-analysis.toml", &text.replacen("remote", "remot", 1));
    for (arguments, part) in [
        (&["--config", "no-such.toml"][..], "no-such.toml"),
        (&["--config", &bad], "remot: unknown key"),
        (&[], "--config"),
        (&["--config", &bad, "--nonsense"], "--nonsense"),
    ] {
        let output = espial(&[&["analyze"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let (out, err) = texts(&output);
        assert_eq!(out, "");
        assert!(err.contains(part), "{part}: {err}");
    }
}
