//! `espial conform` over the shared samples and the project's own cases, and how it reports.

use std::fs;
use std::path::PathBuf;

use espial_cli::conform::{Format, Outcome, run};
use serde_json::Value;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

fn conform(files: &[PathBuf], format: Format) -> (Outcome, String) {
    let mut out = Vec::new();
    let outcome = run(files, format, &mut out).unwrap();
    (outcome, String::from_utf8(out).unwrap())
}

fn file(name: &str) -> PathBuf {
    directory().join(name)
}

/// A file of these lines; each test has a name of its own.
fn lines(name: &str, content: &[u8]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn every_case_of_a_supported_kind_passes() {
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (outcome, text) = conform(&files, Format::Text);
    assert_eq!(outcome.failed, 0, "{text}");
    assert_eq!(outcome.exit_status(), 0);
    // One upstream quirk, the fields of an event and two facts about the ALG.
    assert_eq!(outcome.recorded, 4);
    assert_eq!(text, format!("4 recorded\n{} passed, 0 failed\n", outcome.passed));
}

#[test]
fn a_failure_names_id_place_expected_and_got() {
    let case = r#"{"id": "x-1", "kind": "ts_to_prefix", "source": "s", "from": "10.0.0.0", "to": "10.0.0.7", "expect": {"len": 28, "exact": true}}"#;
    let path = lines("conform-text.jsonl", format!("\n{case}\n").as_bytes());
    let (outcome, text) = conform(std::slice::from_ref(&path), Format::Text);
    assert_eq!((outcome.passed, outcome.failed, outcome.exit_status()), (0, 1, 1));
    let place = format!("{}:2", path.display());
    assert_eq!(
        text,
        format!(
            "failed x-1 (ts_to_prefix, {place}): len: expected 28, got 29\n0 recorded\n0 passed, 1 failed\n"
        )
    );
}

#[test]
fn a_line_that_is_no_case_is_a_failure() {
    let content =
        b"{\"id\": \"a\", \"kind\": \"ts_parse\"\n\xff\xfe\n[1]\n{\"kind\": \"ts_parse\"}\n\
        {\"id\": \"b\"}\n{\"id\": \"c\", \"kind\": \"nonsense\", \"upstream_quirk\": true}\n\
        {\"id\": \"d\", \"kind\": \"event_fields\"}\n";
    let path = lines("conform-broken.jsonl", content);
    let (outcome, text) = conform(&[path], Format::Text);
    assert_eq!((outcome.passed, outcome.failed, outcome.recorded), (0, 6, 1));
    for (line, said) in [
        (1, "not JSON"),
        (2, "not JSON"),
        (3, "expected an object"),
        (4, "field `id` is missing"),
        (5, "field `kind` is missing"),
        (6, "unknown kind `nonsense`"),
    ] {
        let found = text.lines().find(|one| one.contains(&format!("broken.jsonl:{line})")));
        assert!(found.is_some_and(|one| one.contains(said)), "{line}: {found:?}");
    }
}

#[test]
fn an_unreadable_file_is_unusable_and_the_others_run() {
    let files = [file("no-such-file.jsonl"), directory(), file("ts_parse.jsonl")];
    let (outcome, text) = conform(&files, Format::Text);
    assert_eq!(outcome.exit_status(), 2);
    assert_eq!(outcome.unusable.len(), 2);
    assert!(outcome.unusable[0].to_string().contains("no-such-file.jsonl: "));
    assert!(text.ends_with("0 recorded\n2 passed, 0 failed\n"));
}

#[test]
fn json_is_one_object_a_case_and_a_summary() {
    let (outcome, text) = conform(&[file("icmp_ports.jsonl"), file("tcp_pin.jsonl")], Format::Json);
    let objects: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (summary, cases) = objects.split_last().unwrap();
    assert_eq!(summary["summary"]["passed"], outcome.passed);
    assert_eq!(summary["summary"]["failed"], outcome.failed);
    assert_eq!(summary["summary"]["recorded"], outcome.recorded);
    let count = |result: &str| cases.iter().filter(|case| case["result"] == result).count() as u64;
    assert_eq!(count("passed"), outcome.passed);
    assert_eq!(count("failed"), outcome.failed);
    assert_eq!(count("recorded"), outcome.recorded);
    let quirk = cases.iter().find(|case| case["id"] == "ss-icmp-2").unwrap();
    assert_eq!(quirk["result"], "recorded");
    let fixed = cases.iter().find(|case| case["id"] == "seed3-fixed").unwrap();
    assert_eq!((&fixed["result"], &fixed["line"]), (&"passed".into(), &2.into()));

    let case = r#"{"id": "x-1", "kind": "icmp_ports", "proto": 1, "port_from": 769, "port_to": 769, "expect": {"from_type": 4}}"#;
    let path = lines("conform-json.jsonl", case.as_bytes());
    let (_, text) = conform(&[path], Format::Json);
    let case: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(case["mismatches"][0]["what"], "from_type");
    assert_eq!(case["mismatches"][0]["expected"], 4);
    assert_eq!(case["mismatches"][0]["got"], 3);
}
