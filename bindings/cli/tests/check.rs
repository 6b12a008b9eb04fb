//! Every row of every `*.expect.jsonl` agrees with what `espial check --json` says: the verdict
//! under each mode, the reason, the Child SA it belongs to. Packets without a row pass, or are
//! dropped; none is accepted by accident. Over `samples/`, and over the directory in
//! `ESPIAL_CAPTURES` too, if that is set.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use espial_cli::check::{Form, judge_all};
use espial_cli::config::GatewayConfig;
use serde_json::Value;

/// AH packets whose ICV field is all zero: they are not authentic, whatever their rows say of the
/// selectors. No packet that fails authentication may be accepted.
const FORGED: [(&str, u64); 2] = [("kernel-matrix-strict", 468), ("kernel-matrix-strict", 994)];

fn rows(config: &GatewayConfig, capture: &[u8]) -> BTreeMap<(u64, u64), Value> {
    let mut out = Vec::new();
    let outcome = judge_all(config, capture, Form::Json, &mut out, &mut |_| {}).unwrap();
    assert!(outcome.unread.is_none());
    let text = String::from_utf8(out).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.map(|row| ((row["packet"].as_u64().unwrap(), row["frame"].as_u64().unwrap_or(0)), row))
        .collect()
}

fn key(expect: &Value, is_stream: bool, rows: &BTreeMap<(u64, u64), Value>) -> Option<(u64, u64)> {
    if !is_stream {
        return Some((expect["packet"].as_u64()?, 0));
    }
    let frame = expect["frame"].as_u64()?;
    rows.keys().copied().find(|(_, number)| *number == frame)
}

fn agree(stem: &Path, mode: &str) -> (usize, usize) {
    let name = stem.file_name().unwrap().to_str().unwrap();
    let text = fs::read_to_string(stem.with_extension("gateway.toml")).unwrap();
    let text = text.replace("mode = \"strict-sa\"", &format!("mode = \"{mode}\""));
    let config = GatewayConfig::parse(name, &text).unwrap();
    let rows = rows(&config, &fs::read(stem.with_extension("pcap")).unwrap());
    let expects = fs::read_to_string(stem.with_extension("expect.jsonl")).unwrap();
    let is_stream = expects.contains("\"frame\"");
    let mut seen = Vec::new();
    for line in expects.lines() {
        let expect: Value = serde_json::from_str(line).unwrap();
        let key =
            key(&expect, is_stream, &rows).unwrap_or_else(|| panic!("{name}: no row: {line}"));
        let row = &rows[&key];
        seen.push(key);
        if FORGED.contains(&(name, key.0)) {
            assert_eq!((&row["verdict"], &row["reason"]), (&"drop".into(), &"auth_failed".into()));
            continue;
        }
        let at = || format!("{name} {mode}:\n expected {line}\n got      {row}");
        let Some(verdict) = expect.get(mode) else {
            assert_eq!(expect["class"], row["class"], "{}", at());
            assert_eq!(row["verdict"], "pass", "{}", at());
            continue;
        };
        assert_eq!(*verdict, row["verdict"], "{}", at());
        for same in ["spi", "length", "stream_offset", "tunnel", "child"] {
            if let Some(value) = expect.get(same) {
                assert_eq!(*value, row[same], "{same}: {}", at());
            }
        }
        if let Some(inner) = expect["inner"].as_object() {
            for (field, value) in inner {
                let got = &row["inner"][field];
                let parse = |v: &Value| v.as_str().and_then(|s| s.parse::<std::net::IpAddr>().ok());
                assert!(
                    got == value || parse(got).is_some() && parse(got) == parse(value),
                    "{}",
                    at()
                );
            }
        }
        if let Some(shadow) = row["shadow"].as_object() {
            for (other, would) in shadow {
                assert_eq!(expect[other], *would, "shadow {other}: {}", at());
            }
        }
        if mode == "strict-sa" && row["verdict"] == "drop" {
            let reasons = expect["reason"].as_array().unwrap();
            assert!(reasons.contains(&row["reason"]), "{}", at());
            if let Some(owners) = expect["belongs_to"].as_array() {
                assert!(owners.contains(&row["belongs_to"]), "{}", at());
                assert!(row["field"].is_string(), "{}", at());
            }
        }
    }
    for (key, row) in &rows {
        assert!(seen.contains(key) || row["verdict"] != "accept", "{name}: {row}");
    }
    (expects.lines().count(), rows.len())
}

fn stems(directory: &Path) -> Vec<PathBuf> {
    let mut stems: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix(".expect.jsonl")?.to_owned();
            Some(directory.join(name))
        })
        .collect();
    stems.sort();
    stems
}

#[test]
fn every_row_agrees_under_every_mode() {
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("samples")];
    directories.extend(std::env::var_os("ESPIAL_CAPTURES").map(PathBuf::from));
    let mut total = 0;
    for stem in directories.iter().flat_map(|directory| stems(directory)) {
        for mode in ["strict-sa", "any-selector", "any-source"] {
            let (expected, rows) = agree(&stem, mode);
            println!("{}: {mode}: {expected} rows agree, of {rows}", stem.display());
            total += expected;
        }
    }
    assert!(total > 600);
}

/// The packets of a capture in little endian, each three times: with its last octet changed, as it
/// is, and again.
fn thrice(capture: &[u8]) -> Vec<u8> {
    let (head, mut rest) = capture.split_at(24);
    assert_eq!(head[0], 0xd4);
    let mut out = head.to_vec();
    while !rest.is_empty() {
        let octets = u32::from_le_bytes(*rest[8..].first_chunk().unwrap()) as usize;
        let (record, behind) = rest.split_at(16 + octets);
        let (last, before) = record.split_last().unwrap();
        out.extend([before, &[*last ^ 1], record, record].concat());
        rest = behind;
    }
    out
}

/// RFC 4303 section 3.4.3: the window moves with authentic packets, and only with them.
#[test]
fn a_copy_is_a_replay_and_a_forgery_moves_no_window() {
    let (mut forged, mut replays) = (0, 0);
    for stem in stems(&Path::new(env!("CARGO_MANIFEST_DIR")).join("samples")) {
        let text = fs::read_to_string(stem.with_extension("gateway.toml")).unwrap();
        let text = text.replace("replay-window = 0", "replay-window = 64");
        let config = GatewayConfig::parse("", &text).unwrap();
        let capture = fs::read(stem.with_extension("pcap")).unwrap();
        let (once, thrice) = (rows(&config, &capture), rows(&config, &thrice(&capture)));
        for ((number, _), row) in &once {
            let at = |nth| &thrice[&(number * 3 - nth, 0)];
            let (changed, same, again) = (at(2), at(1), at(0));
            let mut expected = row.clone();
            expected["packet"] = (number * 3 - 1).into();
            expected["time"] = same["time"].clone();
            assert_eq!(*same, expected);
            forged += usize::from(changed["reason"] == "auth_failed");
            if row["inner"].is_object() {
                assert_ne!(changed["verdict"], "accept", "{changed}");
                assert_eq!(again["reason"], "replay", "{again}");
                assert_eq!(again["child"], row["child"], "{again}");
                replays += 1;
            } else {
                assert_eq!(again["reason"], row["reason"], "{again}");
            }
        }
    }
    assert!(forged > 200 && replays > 200, "{forged} {replays}");
}
