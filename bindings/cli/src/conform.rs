//! `espial conform`: the cases of a conformance file, run through the core.
//!
//! ```text
//! FILE.jsonl ─ lines ─▶ Object ─ by kind ─▶ the core's own API ─▶ answers ─┐
//!                          └──────────────── expect ──────────▶ Findings ◀─┘ ─▶ passed, failed
//! ```
//!
//! Owns how a case is read and how an answer is compared with it; decides nothing that the core
//! decides. Configuration flow: may be slow, may fail, never panics.
//!
//! Invariants:
//! - I1: nothing is skipped. A line that is not JSON, an unknown kind, field or operation, an
//!   expectation that is not compared and a case that expects nothing are failures.
//! - I2: a line is counted once: passed, failed, or recorded because it only tells a fact.

mod case;
mod classify;
mod events;
mod lists;
mod local_in;
mod packet;
mod passthrough;
mod preset;
mod replay;
mod sa_check;
mod sad;
mod spd;
mod tcp_pin;
#[cfg(test)]
mod tests;
mod ts;

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use case::{Findings, Mismatch, Object, Problem};

/// How the results are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Failures for people, then the counts.
    Text,
    /// JSON Lines: one object a case, then a summary.
    Json,
}

/// A file that could not be read.
#[derive(Debug)]
pub struct Unusable {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Why.
    pub error: io::Error,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.error)
    }
}

impl std::error::Error for Unusable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// What a run came to.
#[derive(Default, Debug)]
pub struct Outcome {
    /// Cases whose every expectation was met.
    pub passed: u64,
    /// Cases that were not.
    pub failed: u64,
    /// Lines that only record a fact.
    pub recorded: u64,
    /// Files that could not be read; for the caller to name.
    pub unusable: Vec<Unusable>,
}

impl Outcome {
    /// The exit status: 2 if a file could not be read, else 1 if a case failed, else 0.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self { unusable, .. } if !unusable.is_empty() => 2,
            Self { failed: 1.., .. } => 1,
            Self { .. } => 0,
        }
    }
}

/// What a kind is to this runner.
#[derive(Clone, Copy)]
enum Kind {
    /// Run through the core.
    Runs(fn(&mut Object<'_>, &mut Findings) -> Result<(), Problem>),
    /// Tells a fact about another system.
    Records,
}

/// Every kind of the contract.
const KINDS: [(&str, Kind); 23] = [
    ("ts_relation", Kind::Runs(ts::relation)),
    ("ts_includes", Kind::Runs(ts::includes)),
    ("ts_to_prefix", Kind::Runs(lists::to_prefix)),
    ("ts_parse", Kind::Runs(ts::text)),
    ("ts_wire", Kind::Runs(ts::wire)),
    ("icmp_ports", Kind::Runs(ts::icmp_ports)),
    ("ts_list_select", Kind::Runs(lists::select)),
    ("ts_list_dedupe", Kind::Runs(lists::without_duplicates)),
    ("consolidate", Kind::Runs(lists::consolidate)),
    ("sad_ops", Kind::Runs(sad::ops)),
    ("sad_create", Kind::Runs(sad::create)),
    ("sa_check", Kind::Runs(sa_check::one_tunnel)),
    ("sa_check_multi", Kind::Runs(sa_check::several_tunnels)),
    ("classify", Kind::Runs(classify::run)),
    ("replay_ops", Kind::Runs(replay::ops)),
    ("spd_ops", Kind::Runs(spd::ops)),
    ("event_rate", Kind::Runs(events::rate)),
    ("event_fields", Kind::Records),
    ("passthrough_fact", Kind::Records),
    ("local_in", Kind::Runs(local_in::run)),
    ("passthrough", Kind::Runs(passthrough::run)),
    ("tcp_pin", Kind::Runs(tcp_pin::run)),
    ("version_preset", Kind::Runs(preset::run)),
];

/// What became of one line.
enum Line {
    Passed,
    Recorded,
    Missed(Vec<Mismatch>),
    NotRun(Problem),
}

/// One line's result, ready to be written.
struct Report<'a> {
    file: &'a Path,
    number: usize,
    id: Option<String>,
    kind: Option<String>,
    line: Line,
}

/// Runs every case of the files and writes the results: each failure with the case's id, what was
/// expected and what was got, and at the end how many were recorded, passed and failed.
///
/// A file that cannot be read is left out of the counts and told in [`Outcome::unusable`]; the
/// others are still run.
///
/// # Errors
/// Those of `out`.
///
/// # Examples
/// ```
/// use espial_cli::conform::{Format, run};
///
/// let mut out = Vec::new();
/// let outcome = run(&["no-such-file.jsonl".into()], Format::Text, &mut out).unwrap();
/// assert_eq!(outcome.exit_status(), 2);
/// assert!(String::from_utf8(out).unwrap().ends_with("0 recorded\n0 passed, 0 failed\n"));
/// ```
pub fn run(files: &[PathBuf], format: Format, out: &mut dyn Write) -> io::Result<Outcome> {
    let mut outcome = Outcome::default();
    for file in files {
        match fs::read(file) {
            Ok(octets) => run_file(file, &octets, format, &mut outcome, out)?,
            Err(error) => outcome.unusable.push(Unusable { file: file.clone(), error }),
        }
    }
    let Outcome { passed, failed, recorded, .. } = outcome;
    match format {
        Format::Text => {
            writeln!(out, "{recorded} recorded")?;
            writeln!(out, "{passed} passed, {failed} failed")?;
        }
        Format::Json => {
            let summary = json!({ "passed": passed, "failed": failed, "recorded": recorded });
            writeln!(out, "{}", json!({ "summary": summary }))?;
        }
    }
    Ok(outcome)
}

fn run_file(
    file: &Path,
    octets: &[u8],
    format: Format,
    outcome: &mut Outcome,
    out: &mut dyn Write,
) -> io::Result<()> {
    for (index, line) in octets.split(|octet| *octet == b'\n').enumerate() {
        // An empty line holds no case.
        if line.trim_ascii().is_empty() {
            continue;
        }
        let report = run_line(file, index + 1, line);
        match report.line {
            Line::Passed => outcome.passed += 1,
            Line::Recorded => outcome.recorded += 1,
            Line::Missed(_) | Line::NotRun(_) => outcome.failed += 1,
        }
        match format {
            Format::Text => report.write_text(out)?,
            Format::Json => writeln!(out, "{}", report.to_json())?,
        }
    }
    Ok(())
}

fn run_line<'a>(file: &'a Path, number: usize, line: &[u8]) -> Report<'a> {
    let mut report = Report { file, number, id: None, kind: None, line: Line::Passed };
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    match serde_json::from_slice::<Value>(line) {
        Ok(value) => {
            report.id = text(value.get("id"));
            report.kind = text(value.get("kind"));
            report.line = run_case(&value).unwrap_or_else(Line::NotRun);
        }
        Err(error) => report.line = Line::NotRun(Problem(format!("not JSON: {error}"))),
    }
    report
}

fn run_case(value: &Value) -> Result<Line, Problem> {
    let mut case = Object::new("", value)?;
    case.text("id")?;
    let name = case.text("kind")?;
    let kind = KINDS.iter().find(|(known, _)| *known == name);
    let Some((_, kind)) = kind else {
        return Err(Problem(format!("unknown kind `{name}`")));
    };
    // For people.
    let _ = case.get("source");
    let quirk = case.flag("upstream_quirk")?;
    let run = match kind {
        Kind::Records => return Ok(Line::Recorded),
        _ if quirk => return Ok(Line::Recorded),
        Kind::Runs(run) => run,
    };
    let mut findings = Findings::default();
    run(&mut case, &mut findings)?;
    case.close()?;
    let mismatches = findings.outcome()?;
    Ok(if mismatches.is_empty() { Line::Passed } else { Line::Missed(mismatches) })
}

impl Report<'_> {
    /// One line for a failure; a pass is a number at the end.
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let what = match &self.line {
            Line::Passed | Line::Recorded => return Ok(()),
            Line::NotRun(Problem(problem)) => problem.clone(),
            Line::Missed(mismatches) => {
                let each = |Mismatch { what, expected, got }: &Mismatch| {
                    format!("{what}: expected {expected}, got {got}")
                };
                mismatches.iter().map(each).collect::<Vec<_>>().join("; ")
            }
        };
        let id = self.id.as_deref().unwrap_or("(no id)");
        let kind = self.kind.as_deref().unwrap_or("no kind");
        writeln!(out, "failed {id} ({kind}, {}:{}): {what}", self.file.display(), self.number)
    }

    fn to_json(&self) -> Value {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        if let Some(id) = &self.id {
            put("id", json!(id));
        }
        if let Some(kind) = &self.kind {
            put("kind", json!(kind));
        }
        put("file", json!(self.file.display().to_string()));
        put("line", json!(self.number));
        let result = match &self.line {
            Line::Passed => "passed",
            Line::Recorded => "recorded",
            Line::Missed(_) | Line::NotRun(_) => "failed",
        };
        put("result", json!(result));
        match &self.line {
            Line::Passed | Line::Recorded => {}
            Line::NotRun(Problem(problem)) => drop(put("problem", json!(problem))),
            Line::Missed(mismatches) => {
                let list = mismatches.iter().map(|Mismatch { what, expected, got }| {
                    json!({ "what": what, "expected": expected, "got": got })
                });
                put("mismatches", list.collect());
            }
        }
        Value::Object(object)
    }
}
