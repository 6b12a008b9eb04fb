//! `espial classify`: how long the selector matcher takes for a list of rules and a trace, and whether
//! it says what the trace says.

mod rules;

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use espial::headers::InnerHeaders;
use espial::matcher::{self, Matcher};
use serde_json::json;

pub use rules::{Expected, RulesError, read_rules, read_trace};

use crate::check::CheckError;
use crate::lookup::Format;
use crate::lookup::measure::{self, Effort, Times};
use crate::table::{figure, table};

/// Packets that one call takes at most.
pub const BURST_MAX: usize = 1024;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// A file of rules.
    pub rules: PathBuf,
    /// A file of packets with the expected first match.
    pub trace: PathBuf,
    /// Covered or not is the question, not by which rule first.
    pub any: bool,
    /// Packets asked about with one call.
    pub burst: NonZeroUsize,
    /// For how long.
    pub effort: Effort,
}

/// One way to ask.
struct Row {
    burst: usize,
    times: Times,
    mismatches: usize,
}

/// Measures and writes the results. Returns the exit status: 1 if an answer is not that of the trace,
/// else 0.
///
/// # Errors
/// Those of `out`; [`CheckError::Gateway`] if a file cannot be used.
pub fn run(options: &Options, format: Format, out: &mut dyn Write) -> Result<u8, CheckError> {
    let unusable = |path: &Path, error: &dyn std::fmt::Display| {
        CheckError::Gateway(format!("{}: {error}", path.display()))
    };
    let rules = read_rules(&options.rules).map_err(|error| unusable(&options.rules, &error))?;
    let trace = read_trace(&options.trace).map_err(|error| unusable(&options.trace, &error))?;
    let start = Instant::now();
    let words = matcher::compile(&rules).map_err(|error| unusable(&options.rules, &error))?;
    let build_ms = start.elapsed().as_secs_f64() * 1e3;
    let matcher = Matcher::open(&words).map_err(|error| unusable(&options.rules, &error))?;
    let packets: Vec<InnerHeaders> = trace.iter().map(|one| one.packet).collect();
    let mut bursts = vec![options.burst.get()];
    if options.burst.get() != 1 {
        bursts.push(1);
    }
    let mut rows = Vec::new();
    for burst in bursts {
        let answers = answers(&matcher, &packets, options.any, burst);
        let mismatches = trace
            .iter()
            .zip(&answers)
            .filter(|(one, found)| match options.any {
                true => one.first.is_some() != found.is_some(),
                false => one.first != **found,
            })
            .count();
        let times = measure::times(&options.effort, packets.len(), || {
            pass(&matcher, &packets, options.any, burst);
        });
        rows.push(Row { burst, times, mismatches });
    }
    let question = if options.any { "any" } else { "first" };
    match format {
        Format::Json => {
            for Row { burst, times, mismatches } in &rows {
                let row = json!({
                    "question": question, "rules": rules.len(), "packets": packets.len(),
                    "burst": burst, "ns_min": times.min, "ns_median": times.median,
                    "packets_per_second": 1e9 / times.median, "build_ms": build_ms,
                    "octets": matcher.octets(), "mismatches": mismatches,
                });
                writeln!(out, "{row}")?;
            }
        }
        Format::Text => {
            writeln!(
                out,
                "{} rules, built in {} ms: {} octets, {} a rule. {} packets, question: {question}.\n",
                rules.len(),
                figure(build_ms),
                matcher.octets(),
                figure(matcher.octets() as f64 / rules.len() as f64),
                packets.len(),
            )?;
            let lines = rows.iter().map(|row| {
                let call = match row.burst {
                    1 => "one at a time".to_owned(),
                    burst => format!("bursts of {burst}"),
                };
                let million = 1e3 / row.times.median;
                let (min, median) = (figure(row.times.min), figure(row.times.median));
                vec![call, min, median, figure(million), row.mismatches.to_string()]
            });
            let header = ["call", "ns min", "ns median", "million/s", "mismatches"];
            writeln!(out, "{}", table(&header, lines.collect()))?;
        }
    }
    Ok(u8::from(rows.iter().any(|row| row.mismatches > 0)))
}

fn answers(
    matcher: &Matcher<'_>,
    packets: &[InnerHeaders],
    any: bool,
    burst: usize,
) -> Vec<Option<u32>> {
    let mut answers = Vec::with_capacity(packets.len());
    for packets in packets.chunks(burst) {
        let (mut first, mut covered) = (vec![None; packets.len()], vec![false; packets.len()]);
        match (any, burst) {
            (false, 1) => answers.extend(packets.iter().map(|packet| matcher.first(packet))),
            (true, 1) => {
                answers.extend(packets.iter().map(|packet| matcher.any(packet).then_some(0)));
            }
            (false, _) => {
                matcher.first_burst(packets, &mut first);
                answers.append(&mut first);
            }
            (true, _) => {
                matcher.any_burst(packets, &mut covered);
                answers.extend(covered.iter().map(|covered| covered.then_some(0)));
            }
        }
    }
    answers
}

/// What is timed.
#[inline(never)]
fn pass(matcher: &Matcher<'_>, packets: &[InnerHeaders], any: bool, burst: usize) {
    let (mut first, mut covered) = (vec![None; burst], vec![false; burst]);
    for packets in packets.chunks(burst) {
        match (any, burst) {
            (false, 1) => packets.iter().for_each(|one| {
                std::hint::black_box(matcher.first(one));
            }),
            (true, 1) => packets.iter().for_each(|one| {
                std::hint::black_box(matcher.any(one));
            }),
            (false, _) => {
                matcher.first_burst(packets, &mut first);
            }
            (true, _) => {
                matcher.any_burst(packets, &mut covered);
            }
        }
        std::hint::black_box((&mut first, &mut covered));
    }
}
