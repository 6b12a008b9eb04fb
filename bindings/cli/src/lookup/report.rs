//! Results as tables and as JSON Lines.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::measure::CHAIN;
use super::scene::SpiKind;
use super::threads::Pace;
use super::{Ask, Call, Format, Options, Row};
use crate::table::{figure, table};

impl Ask {
    fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
        }
    }
}

/// Writes the results for one kind of SPI.
pub(super) fn write(
    options: &Options,
    kind: SpiKind,
    rows: &[Row],
    format: Format,
    out: &mut dyn Write,
) -> io::Result<()> {
    match format {
        Format::Text => write_text(options, kind, rows, out),
        Format::Json => {
            rows.iter().try_for_each(|row| writeln!(out, "{}", to_json(options, kind, row)))
        }
    }
}

fn write_text(
    options: &Options,
    kind: SpiKind,
    rows: &[Row],
    out: &mut dyn Write,
) -> io::Result<()> {
    let whose = match kind {
        SpiKind::Allocated => "SPIs allocated by the gateway",
        SpiKind::Random => "SPIs chosen at random by others",
        SpiKind::Both => "half of the SPIs allocated by the gateway, half chosen at random",
        SpiKind::Pattern | SpiKind::BothPattern => "SPIs in a pattern",
    };
    let (sas, burst) = (options.sas.get(), options.burst);
    write!(out, "{sas} SAs, as many as the gateway has room for; {whose}.")?;
    if let Some(Row::Memory { octets }) = rows.first() {
        let each = *octets as f64 / sas as f64;
        writeln!(out, " Gateway: {} KiB, {} octets an SA.", octets.div_ceil(1024), figure(each))?;
    }
    let (mut speed, mut latency, mut threads) = (Vec::new(), Vec::new(), Vec::new());
    let mut timer = 0.0;
    for row in rows {
        match row {
            Row::Memory { .. } => {}
            Row::Throughput { ask, call, times, .. } => {
                let how = match call {
                    Call::Burst => format!("{}, bursts of {burst}", ask.name()),
                    Call::Single => format!("{}, one at a time", ask.name()),
                };
                let rate = figure(1e3 / times.min);
                speed.push(vec![how, figure(times.min), figure(times.median), rate]);
            }
            Row::Latency { ask, latency: found } => {
                timer = found.timer_ns;
                let ns = [found.p50, found.p99, found.max].map(figure);
                latency.push([vec![ask.name().to_owned()], ns.to_vec()].concat());
            }
            Row::Threads { threads: count, reading } => {
                let (rate, missed) = (figure(reading.per_second / 1e6), reading.missed.to_string());
                let none = || String::from("-");
                threads.push(vec![format!("{count}"), none(), rate, none(), none(), missed]);
            }
            Row::Churn { threads: count, pace, churned } => {
                let pace = match pace {
                    Pace::PerSecond(rate) => format!("{count}, and a writer at {rate}/s"),
                    Pace::Unpaced => format!("{count}, and a writer as fast as it can"),
                };
                threads.push(vec![
                    pace,
                    figure(churned.updates_per_second),
                    figure(churned.beside.per_second / 1e6),
                    figure(churned.alone.per_second / 1e6),
                    figure(churned.beside.per_second / churned.alone.per_second),
                    (churned.beside.missed + churned.alone.missed).to_string(),
                ]);
            }
        }
    }
    let header = ["lookup", "ns, least", "ns, median", "million/s"];
    writeln!(out, "{}\n", table(&header, speed))?;
    writeln!(
        out,
        "ns from question to answer: chains of {CHAIN} lookups that wait for each other; {timer} ns for \
         the clock\nare subtracted from each chain."
    )?;
    writeln!(out, "{}\n", table(&["lookup", "p50", "p99", "max"], latency))?;
    if !threads.is_empty() {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        writeln!(
            out,
            "Threads that look up live SAs, on {cores} cores. An update adds an SA with a new SPI, then \
             deletes the\nold one; a quarter of the SAs is replaced, the others are looked up."
        )?;
        let header =
            ["readers", "updates/s", "lookups, million/s", "without writer", "ratio", "missed"];
        writeln!(out, "{}\n", table(&header, threads))?;
    }
    Ok(())
}

/// Three digits after the point: less is noise.
fn rounded(n: f64) -> Value {
    json!((n * 1e3).round() / 1e3)
}

fn whole(n: f64) -> Value {
    json!(n.round() as u64)
}

fn to_json(options: &Options, kind: SpiKind, row: &Row) -> Value {
    let (sas, burst) = (options.sas.get(), options.burst.get());
    let mut object = json!({ "spi": kind.name(), "sas": sas });
    let rest = match row {
        Row::Memory { octets } => json!({
            "measure": "memory",
            "octets": octets,
            "octets_per_sa": rounded(*octets as f64 / sas as f64),
        }),
        Row::Throughput { ask, call, times, missed } => {
            let (call, burst) = match call {
                Call::Burst => ("burst", burst),
                Call::Single => ("single", 1),
            };
            json!({
                "measure": "throughput",
                "lookup": ask.name(),
                "call": call,
                "burst": burst,
                "ns_min": rounded(times.min),
                "ns_median": rounded(times.median),
                "lookups_per_second": whole(1e9 / times.min),
                "missed": missed,
            })
        }
        Row::Latency { ask, latency } => json!({
            "measure": "latency",
            "lookup": ask.name(),
            "chain": CHAIN,
            "ns_p50": rounded(latency.p50),
            "ns_p99": rounded(latency.p99),
            "ns_max": rounded(latency.max),
            "timer_ns": rounded(latency.timer_ns),
        }),
        Row::Threads { threads, reading } => json!({
            "measure": "threads",
            "threads": threads,
            "burst": burst,
            "lookups_per_second": whole(reading.per_second),
            "missed": reading.missed,
        }),
        Row::Churn { threads, pace, churned } => json!({
            "measure": "churn",
            "threads": threads,
            "burst": burst,
            "updates_asked": match pace {
                Pace::PerSecond(rate) => json!(rate),
                Pace::Unpaced => Value::Null,
            },
            "updates_per_second": whole(churned.updates_per_second),
            "lookups_per_second": whole(churned.beside.per_second),
            "lookups_per_second_alone": whole(churned.alone.per_second),
            "ratio": rounded(churned.beside.per_second / churned.alone.per_second),
            "missed": churned.beside.missed + churned.alone.missed,
        }),
    };
    if let (Value::Object(object), Value::Object(rest)) = (&mut object, rest) {
        object.extend(rest);
    }
    object
}
