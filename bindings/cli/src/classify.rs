//! `espial classify`: how long the selector matcher takes for a list of rules and a trace, and whether
//! it says what the trace says.

mod rules;

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use espial::headers::InnerHeaders;
use espial::matcher::{self, Backend, Matcher};
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
    /// The list is merged before it is compiled, which leaves no other question than [`Options::any`].
    pub merge: bool,
    /// Packets asked about with one call.
    pub burst: NonZeroUsize,
    /// Instructions to compare with.
    pub backend: Backend,
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
    let mut asked = rules.clone();
    let start = Instant::now();
    if options.merge {
        let left = matcher::merge(&mut asked);
        asked.truncate(left);
    }
    let words = matcher::compile(&asked).map_err(|error| unusable(&options.rules, &error))?;
    let build_ms = start.elapsed().as_secs_f64() * 1e3;
    let matcher = Matcher::open(&words).map_err(|error| unusable(&options.rules, &error))?;
    let matcher = matcher.with_backend(options.backend);
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
                    "question": question, "rules": rules.len(), "asked": asked.len(), "packets": packets.len(),
                    "burst": burst, "ns_min": times.min, "ns_median": times.median,
                    "packets_per_second": 1e9 / times.median, "build_ms": build_ms,
                    "octets": matcher.octets(), "mismatches": mismatches,
                    "backend": options.backend.name(),
                });
                writeln!(out, "{row}")?;
            }
        }
        Format::Text => {
            let merged = match options.merge {
                true => format!(" merged to {}", asked.len()),
                false => String::new(),
            };
            writeln!(
                out,
                "{} rules{merged}, built in {} ms: {} octets, {} a rule. {} packets, question: {question}, \
                 backend: {}.\n",
                rules.len(),
                figure(build_ms),
                matcher.octets(),
                figure(matcher.octets() as f64 / rules.len() as f64),
                packets.len(),
                options.backend.name(),
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

/// What one call said of the packets that it was asked about.
enum Told<'a> {
    First(&'a [Option<u32>]),
    Covered(&'a [bool]),
}

/// Asks about all packets, `burst` with one call; `hear` takes what each call said.
#[inline(always)]
fn ask(
    matcher: &Matcher<'_>,
    packets: &[InnerHeaders],
    any: bool,
    burst: usize,
    mut hear: impl FnMut(Told<'_>),
) {
    let (mut first, mut covered) = (vec![None; burst], vec![false; burst]);
    for packets in packets.chunks(burst) {
        match (any, burst, packets) {
            (false, 1, [one]) => hear(Told::First(&[matcher.first(one)])),
            (true, 1, [one]) => hear(Told::Covered(&[matcher.any(one)])),
            (false, ..) => {
                let told = matcher.first_burst(packets, &mut first);
                hear(Told::First(&first[..told]));
            }
            (true, ..) => {
                let told = matcher.any_burst(packets, &mut covered);
                hear(Told::Covered(&covered[..told]));
            }
        }
    }
}

/// What is compared with the trace.
fn answers(
    matcher: &Matcher<'_>,
    packets: &[InnerHeaders],
    any: bool,
    burst: usize,
) -> Vec<Option<u32>> {
    let mut answers = Vec::with_capacity(packets.len());
    ask(matcher, packets, any, burst, |told| match told {
        Told::First(first) => answers.extend_from_slice(first),
        Told::Covered(covered) => {
            answers.extend(covered.iter().map(|covered| covered.then_some(0)));
        }
    });
    answers
}

/// What is timed.
#[inline(never)]
fn pass(matcher: &Matcher<'_>, packets: &[InnerHeaders], any: bool, burst: usize) {
    ask(matcher, packets, any, burst, |told| {
        std::hint::black_box(told);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes rules and a trace whose expected answers a list gives.
    fn files(name: &str, rules: u32, wrong: bool) -> (PathBuf, PathBuf) {
        let directory =
            std::env::temp_dir().join(format!("espial-classify-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = |end: &str| directory.join(format!("{name}.{end}"));
        let text: String = (0..rules)
            .map(|n| {
                format!(
                    "@10.{}.{}.0/24\t0.0.0.0/0\t0 : 65535\t{n} : 65535\t0x06/0xFF\n",
                    n % 3,
                    n % 7
                )
            })
            .collect();
        std::fs::write(path("rules"), &text).unwrap();
        let read = read_rules(&path("rules")).unwrap();
        let packets = (0..400_u32).map(|n| {
            let (remote, port) = (0x0a00_0001 | (n % 4) << 16 | (n % 8) << 8, n % 90);
            let covers = |rule: &espial::Selector| {
                let espial::selector::AddrRange::V4 { lo, hi } = rule.remote else { return false };
                (lo..=hi).contains(&remote) && u32::from(rule.local_ports.lo()) <= port
            };
            let first = read.iter().position(covers).map_or(-1, |at| at as i64);
            format!("{remote} 7 1 {port} 6 {}\n", if wrong { first + 1 } else { first })
        });
        std::fs::write(path("trace"), packets.collect::<String>()).unwrap();
        (path("rules"), path("trace"))
    }

    #[test]
    fn answers_are_those_of_a_list_with_and_without_a_tree() {
        for rules in [1, 32, 33, 500] {
            let (rules, trace) = files(&format!("right{rules}"), rules, false);
            for (any, burst) in [(false, 32), (true, 32), (false, 1), (true, 7), (false, 1000)] {
                let burst = burst.try_into().unwrap();
                let (rules, trace, effort) = (rules.clone(), trace.clone(), Effort::LEAST);
                let merges = if any { &[false, true][..] } else { &[false] };
                let ways =
                    Backend::all().flat_map(|one| merges.iter().map(move |merge| (one, *merge)));
                for (backend, merge) in ways {
                    let (rules, trace) = (rules.clone(), trace.clone());
                    let options = Options { rules, trace, any, merge, burst, backend, effort };
                    let mut out = Vec::new();
                    assert_eq!(run(&options, Format::Json, &mut out).unwrap(), 0);
                    let said = String::from_utf8(out).unwrap();
                    assert!(said.contains("\"mismatches\":0"), "{said}");
                    assert!(said.contains(&format!("\"backend\":\"{}\"", backend.name())));
                }
            }
        }
    }

    #[test]
    fn a_wrong_answer_is_counted_and_a_wrong_line_named() {
        let (rules, trace) = files("wrong", 40, true);
        let options = |rules: &PathBuf, trace: &PathBuf| Options {
            rules: rules.clone(),
            trace: trace.clone(),
            any: false,
            merge: false,
            burst: 32.try_into().unwrap(),
            backend: Backend::detect(),
            effort: Effort::LEAST,
        };
        let mut out = Vec::new();
        assert_eq!(run(&options(&rules, &trace), Format::Text, &mut out).unwrap(), 1);
        assert!(String::from_utf8(out).unwrap().contains("mismatches"));
        let error = run(&options(&trace, &rules), Format::Text, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("wrong.trace: line 1: "), "{error}");
    }
}
