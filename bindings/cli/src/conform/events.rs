//! `event_rate`: every packet is counted, few events are made (seed 001; T31).

use espial::event::EventBudget;
use espial::headers::Endpoints;
use espial::verdict::Reason;
use espial::{Arrival, Capacity, Gateway, Ingress};
use serde_json::{Value, json};

use super::case::{self, Findings, Object, Problem};
use super::packet;

/// Packets that a case may send.
const MAX_PACKETS: u64 = 1 << 24;

/// Source prefixes that the flood comes from: each has a quarter of the budget, so five use all of it.
const SOURCES: u64 = 5;

/// What a flood of unknown SPIs came to.
#[derive(Default)]
struct Flood {
    dropped: u64,
    counter: u64,
    events: u64,
    suppressed: u64,
    /// What the events said, one event after the flood included.
    told: u64,
}

/// When the packets of the flood come: all at once, or evenly.
#[derive(Clone, Copy)]
enum Pace {
    Burst,
    Even,
}

/// Sends packets with unknown SPIs within `within_ms`, to a gateway without SAs.
fn flood(packets: u64, within_ms: u64, per_second: u32, pace: Pace) -> Result<Flood, Problem> {
    let capacity = Capacity {
        tunnels: 1,
        children: 1,
        selectors: 1,
        sas: 1,
        sas_dst: 0,
        sas_dst_src: 0,
        sas_allocated: 0,
        replay_window: 0,
        workers: 1,
    };
    let mut gateway =
        Gateway::new(&capacity, [1, 2]).map_err(|error| Problem::step("a gateway", error))?;
    let (control, mut workers) = gateway.split();
    let mut worker = workers.take().ok_or_else(|| Problem("there is no worker".to_owned()))?;
    // Within any second no more than the budget: so the burst is what one interval brings, unless
    // all packets come at once.
    let burst = match pace {
        Pace::Burst => per_second,
        Pace::Even => 1,
    };
    worker.set_event_budget(EventBudget { per_second, burst });
    let mut flood = Flood::default();
    let Endpoints::V4 { src, dst } = packet::OUTER else { return Ok(flood) };
    for number in 0..packets {
        let now_ms = match pace {
            Pace::Burst => 0,
            Pace::Even => (u128::from(number) * u128::from(within_ms) / u128::from(packets)) as u64,
        };
        let low = number as u32;
        let spi = low.wrapping_mul(0x9e37_79b1) | 0x100;
        let source = src ^ ((number % SOURCES) as u32) << 8;
        let octets = packet::esp_in_ip(Endpoints::V4 { src: source, dst }, spi, low);
        let arrival = worker.arrive(&octets, Ingress { now_ms, interface: 0 });
        if matches!(arrival, Arrival::Drop(refusal) if refusal.reason == Reason::UnknownSpi) {
            flood.dropped += 1;
        }
        while let Some(event) = worker.next_event() {
            flood.events += 1;
            flood.told += u64::from(event.suppressed);
        }
    }
    flood.counter = control.total_counts().drops_of(Reason::UnknownSpi);
    flood.suppressed = control.events_suppressed();
    // A quiet while later the next event tells what has not been told yet.
    let now_ms = within_ms.saturating_add(3_600_000);
    let last = packet::esp_in_ip(packet::OUTER, 0x1000, 1);
    let _ = worker.arrive(&last, Ingress { now_ms, interface: 0 });
    while let Some(event) = worker.next_event() {
        flood.told += u64::from(event.suppressed);
    }
    Ok(flood)
}

/// `event_rate`: both paces must meet the expectation.
pub(super) fn rate(case: &mut Object<'_>, findings: &mut Findings) -> Result<(), Problem> {
    let packets = case.number::<u64>("packets")?;
    if packets > MAX_PACKETS {
        return Err(Problem(format!("field `packets`: {packets} is more than {MAX_PACKETS}")));
    }
    let within = case.value("within_seconds")?;
    let within = within.as_f64().filter(|seconds| (0.0..=1e6).contains(seconds));
    let within_ms =
        within.ok_or_else(|| Problem("field `within_seconds`: not a time".to_owned()))?;
    let within_ms = (within_ms * 1000.0) as u64;
    let budget = case.number("budget_per_second")?;
    let mut expect = case.object("expect")?;
    let exact = [("dropped", expect.get("dropped")), ("counter", expect.get("counter"))];
    let most = expect.get("events_max");
    let least = expect.get("suppressed_min");
    expect.close()?;
    let limit = |name: &str, value: Option<&Value>| {
        value.map(|value| case::number::<u64>(&format!("expect.{name}"), value)).transpose()
    };
    let (events_max, suppressed_min) =
        (limit("events_max", most)?, limit("suppressed_min", least)?);

    for (pace, name) in [(Pace::Burst, "at once"), (Pace::Even, "evenly")] {
        let flood = flood(packets, within_ms, budget, pace)?;
        for (field, expected) in exact {
            if let Some(expected) = expected {
                let got = if field == "dropped" { flood.dropped } else { flood.counter };
                findings.compare(format!("{field}, {name}"), expected, got);
            }
        }
        if let (Some(expected), Some(limit)) = (most, events_max) {
            findings.check(
                format!("events_max, {name}"),
                flood.events <= limit,
                expected,
                flood.events,
            );
        }
        if let (Some(expected), Some(limit)) = (least, suppressed_min) {
            let met = flood.suppressed >= limit;
            findings.check(format!("suppressed_min, {name}"), met, expected, flood.suppressed);
        }
        let sum = flood.events + flood.suppressed;
        findings.require(format!("events and suppressed, {name}"), sum == packets, packets, sum);
        // Without a budget there is no event to tell anything.
        let told = budget == 0 || flood.told == flood.suppressed;
        findings.require(
            format!("suppressed as events tell it, {name}"),
            told,
            json!(flood.suppressed),
            flood.told,
        );
    }
    Ok(())
}
