//! `local_in`: what a gateway does with packets to itself, over time (seeds 001 and 002).
//!
//! ```text
//! rx ─ octets ─▶ Worker::arrive ──Sa, Drop──▶ ipsec_local_in     (B1)
//!                      │ Pass
//!                      ▼
//!              Sessions::find ──a session──▶ session             (C2)
//!                      │ none
//!                      ▼
//!              LocalIn::first ─▶ policy, default ──accept──▶ Sessions::open
//! tx ──────────────────────────────────────────────────────▶ Sessions::open
//! ```
//! Every answer is a table's; this module says which table is asked next. Policies are asked in three
//! ways, which must agree: compiled, in a burst, and one after the other as they are written.
//!
//! A `state` is this gateway's: its tunnel is up as long as it has an SA. What the other end shows is
//! known only by what it sends: it is down once three packets of IKE in a row got no answer, as C5's
//! timeline has it.

mod config;
mod state;

use std::collections::HashMap;

use espial::event::{EventBudget, FortiLine};
use espial::gate::flow::FlowKey;
use espial::gate::local_in::{self, Action, By, LocalIn, LocalInList, LocalPacket, Schedules};
use espial::gate::session::{Limits, SessionPacket, Sessions, TTL_MS};
use espial::headers::{Encap, Family, InnerHeaders, Ipsec, NextLayer, Outer, Spi, protocol};
use espial::sad::Scope;
use espial::selector::{AddrRange, TrafficSelector};
use espial::{
    Arrival, Capacity, ChildId, Control, Gateway, Ingress, Mode, Modes, SaKey, SaParams, Worker,
    wire,
};
use serde_json::{Map, Value, json};

use super::case::{self, Findings, Object, Problem};
use super::packet::{self, Spied};

/// The hashes of the tables are keyed; no expectation depends on the key.
const SEED: [u64; 2] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344];

/// The numbers that stand for interfaces.
#[derive(Default)]
struct Interfaces<'a>(HashMap<&'a str, u32>);

impl<'a> Interfaces<'a> {
    fn number(&mut self, name: &'a str) -> u32 {
        // A case has fewer than 2^32 names.
        let next = self.0.len() as u32;
        *self.0.entry(name).or_insert(next)
    }
}

/// A packet of a case.
struct Packet<'a> {
    octets: Vec<u8>,
    headers: InnerHeaders,
    interface: (&'a str, u32),
}

impl Packet<'_> {
    fn key(&self) -> Result<FlowKey, Problem> {
        FlowKey::of(&self.headers).ok_or_else(|| Problem("a packet of no session".to_owned()))
    }
}

/// What became of a packet, in the words of a case.
#[derive(Default)]
struct Got {
    verdict: &'static str,
    by: Option<&'static str>,
    policy: Option<u32>,
    message: Option<String>,
    reason: Option<&'static str>,
    event: Option<Map<String, Value>>,
}

/// The tables of the gateway.
struct Run<'r, 'g> {
    control: &'r Control<'static>,
    worker: Worker<'g>,
    spis: &'r [u32],
    sessions: Sessions<'static>,
    local_in: LocalIn<'r>,
    list: &'r LocalInList,
    schedules: Schedules,
    /// Packets of IKE that came in a row and were dropped.
    unanswered: u32,
    now_ms: u64,
}

/// Runs a case.
pub(super) fn run(case: &mut Object<'_>, findings: &mut Findings) -> Result<(), Problem> {
    let mut interfaces = Interfaces::default();
    let list = config::policies(case, &mut interfaces)?;
    let words = list.compile().map_err(|error| Problem::step("the policies", error))?;
    let local_in = LocalIn::open(&words).map_err(|error| Problem::step("the policies", error))?;
    let spis = match case.present("known_spis") {
        Some(list) => state::spis("known_spis", list)?,
        None => Vec::new(),
    };
    let ttl_ms = match case.present("session_ttl") {
        Some(ttl) => {
            let ms = config::milliseconds("session_ttl", ttl)?;
            u32::try_from(ms).map_err(|_| Problem("field `session_ttl`: too long".to_owned()))?
        }
        None => TTL_MS,
    };
    let steps = case.objects("steps")?;
    let room = u32::try_from(steps.len()).unwrap_or(u32::MAX).max(8);
    let limits = Limits { capacity: room.saturating_mul(2), reserved: room, ttl_ms };
    let sessions = Sessions::new(&limits, SEED).map_err(|e| Problem::step("the sessions", e))?;

    let mut gateway = Gateway::new(&capacity(spis.len())?, SEED)
        .map_err(|error| Problem::step("the gateway", error))?;
    let (control, mut workers) = gateway.split();
    add_sas(control, &spis, &in_udp(case)?)?;
    let mut worker = workers.take().ok_or_else(|| Problem("there is no worker".to_owned()))?;
    // No case of this kind expects an event to be suppressed.
    worker.set_event_budget(EventBudget { per_second: 1_000_000, burst: 1_000_000 });
    let mut run = Run {
        control,
        worker,
        spis: &spis,
        sessions,
        local_in,
        list: &list,
        schedules: Schedules::NONE,
        unanswered: 0,
        now_ms: 0,
    };
    for mut step in steps {
        run.step(&mut step, &mut interfaces, findings)?;
        step.close()?;
    }
    Ok(())
}

fn capacity(spis: usize) -> Result<Capacity, Problem> {
    let sas = u32::try_from(spis).ok().and_then(|count| count.checked_mul(2));
    let sas = sas.ok_or_else(|| Problem("field `known_spis`: too many".to_owned()))?.max(1);
    Ok(Capacity {
        tunnels: 1,
        children: 1,
        selectors: 1,
        sas,
        sas_dst: 0,
        sas_dst_src: 0,
        sas_allocated: 0,
        replay_window: 0,
        workers: 1,
    })
}

/// The SPIs that come in UDP: an SA is of one encapsulation, and a case does not name it.
fn in_udp(case: &mut Object<'_>) -> Result<Vec<u32>, Problem> {
    let mut found = Vec::new();
    for mut step in case.objects("steps")? {
        let protocol = step.present("proto").and_then(Value::as_u64);
        if protocol == Some(protocol::UDP.into())
            && let Some(spi) = step.present("spi")
        {
            found.push(case::number(&step.at("spi"), spi)?);
        }
    }
    Ok(found)
}

/// An SA of ESP and one of AH for each SPI, in one tunnel: a case does not say which it is.
fn add_sas(control: &mut Control<'static>, spis: &[u32], in_udp: &[u32]) -> Result<(), Problem> {
    let setup = |error| Problem::step("setting the SAD up", error);
    let tunnel = control.add_tunnel(Mode::StrictSa, Modes::NONE).map_err(setup)?;
    let all = [TrafficSelector::any(AddrRange::all(Family::V4))];
    let child: ChildId = control.add_child(tunnel, &all, &all).map_err(setup)?;
    control.publish().map_err(|error| Problem::step("setting the SAD up", error))?;
    for &spi in spis {
        for ipsec in [Ipsec::Esp, Ipsec::Ah] {
            let udp = ipsec == Ipsec::Esp && in_udp.contains(&spi);
            let mut params = SaParams::new(SaKey { ipsec, spi: Spi(spi), scope: Scope::Spi });
            params.encap = if udp { Encap::Udp } else { Encap::None };
            let added = control.add_sa(child, &params);
            added.map_err(|error| Problem::step(format!("SPI {spi:#010x}"), error))?;
        }
    }
    Ok(())
}

/// The headers of the packet that answers this one.
fn turned(headers: &InnerHeaders) -> InnerHeaders {
    let next_layer = match headers.next_layer {
        NextLayer::Ports { src, dst } => NextLayer::Ports { src: dst, dst: src },
        other => other,
    };
    InnerHeaders { endpoints: headers.endpoints.reversed(), next_layer, ..*headers }
}

impl<'r, 'g> Run<'r, 'g> {
    fn step<'a>(
        &mut self,
        step: &mut Object<'a>,
        interfaces: &mut Interfaces<'a>,
        findings: &mut Findings,
    ) -> Result<(), Problem> {
        match step.text("op")? {
            "rx" => {
                self.clock(step)?;
                let packet = read(step, interfaces, false)?;
                let got = self.receive(&packet, &step.at("expect"), findings)?;
                compare(step, &got, findings)
            }
            "tx" => {
                self.clock(step)?;
                let packet = read(step, interfaces, true)?;
                let got = self.send(&packet)?;
                compare(step, &got, findings)
            }
            "state" => {
                self.clock(step)?;
                state::compare(self, step, findings)
            }
            // For people, at a time or at none.
            "note" => {
                let _ = step.get("t");
                let path = step.at("text");
                step.present("text").map_or(Ok(()), |text| case::text(&path, text).map(drop))
            }
            other => Err(Problem(format!("unknown operation `{other}` in `{}`", step.at("op")))),
        }
    }

    /// Sets the clock to the step's time.
    fn clock(&mut self, step: &mut Object<'_>) -> Result<(), Problem> {
        let now_ms = config::milliseconds(&step.at("t"), step.value("t")?)?;
        if now_ms < self.now_ms {
            return Err(Problem(format!("field `{}`: earlier than the step before", step.at("t"))));
        }
        self.now_ms = now_ms;
        Ok(())
    }

    fn receive(
        &mut self,
        packet: &Packet<'_>,
        at: &str,
        findings: &mut Findings,
    ) -> Result<Got, Problem> {
        let (interface, number) = packet.interface;
        let ingress = Ingress { now_ms: self.now_ms, interface: number };
        let by = Some("ipsec_local_in");
        match self.worker.arrive(&packet.octets, ingress) {
            Arrival::Sa(..) => Ok(Got { verdict: "accept", by, ..Got::default() }),
            Arrival::Drop(refusal) => {
                let event = self.worker.next_event();
                let line = event.as_ref().and_then(FortiLine::of_event);
                let line = line.map(|line| FortiLine { interface: Some(interface), ..line });
                let event = line.map(|line| fields(&line.to_string()));
                let reason = Some(refusal.reason.name());
                Ok(Got { verdict: "drop", by, reason, event, ..Got::default() })
            }
            Arrival::Pass(outer) => {
                let got = self.judge(packet, &outer, at, findings)?;
                if matches!(outer, Outer::Ike) {
                    self.unanswered =
                        if got.verdict == "drop" { self.unanswered.saturating_add(1) } else { 0 };
                }
                Ok(got)
            }
        }
    }

    /// A packet that is neither ESP nor AH.
    fn judge(
        &mut self,
        packet: &Packet<'_>,
        outer: &Outer,
        at: &str,
        findings: &mut Findings,
    ) -> Result<Got, Problem> {
        let accept = |by| Got { verdict: "accept", by: Some(by), ..Got::default() };
        let known = SessionPacket::received(&packet.key()?, outer)
            .ok_or_else(|| Problem(format!("`{at}`: IPsec that passed the SPI table")))?;
        if self.sessions.find(&known, self.now_ms).is_some() {
            return Ok(accept("session"));
        }
        let local = LocalPacket::new(outer, packet.headers, packet.interface.1)
            .map_err(|error| Problem::step(format!("`{at}`"), error))?;
        let answer = self.local_in.first(&local, self.schedules);
        let mut burst = [local_in::Answer::default()];
        self.local_in.first_burst(&[local], self.schedules, &mut burst);
        let [burst] = burst;
        let alone = self.list.first(&local, self.schedules);
        for (way, other) in [("in a burst", burst), ("as written", alone)] {
            let (answer, other) = (format!("{answer:?}"), format!("{other:?}"));
            findings.require(format!("{at}, {way}"), answer == other, answer, other);
        }
        let (by, policy) = match answer.by {
            By::Policy(id) => ("policy", Some(id.0)),
            By::Default => ("default", None),
        };
        let message = answer.message().map(|message| message.to_string());
        let verdict = match answer.action {
            Action::Accept => {
                // Accepted, whether there is room for its session or not.
                let _ = self.sessions.open(&known, self.now_ms);
                "accept"
            }
            Action::Deny => "drop",
        };
        Ok(Got { verdict, policy, message, ..accept(by) })
    }

    /// A packet of this gateway: its own, so no policy is asked, and it has a session from now on.
    fn send(&mut self, packet: &Packet<'_>) -> Result<Got, Problem> {
        let class = wire::classify(&packet.octets)
            .map_err(|reason| Problem(format!("a packet to send reads as {}", reason.name())))?;
        let Some(own) = SessionPacket::sent(&packet.key()?, &class) else {
            // ESP and AH have none (T28).
            return Ok(Got { verdict: "accept", ..Got::default() });
        };
        let opened = self.sessions.open(&own, self.now_ms);
        opened.map_err(|_| Problem("no room for a session".to_owned()))?;
        Ok(Got { verdict: "accept", by: Some("session"), ..Got::default() })
    }
}

/// The packet of a step, whose octets are those that the gateway is to look at: where it sends a packet,
/// those of the answer, whose ports tell what it is by the gateway's own port.
fn read<'a>(
    step: &mut Object<'a>,
    interfaces: &mut Interfaces<'a>,
    is_sent: bool,
) -> Result<Packet<'a>, Problem> {
    let name = step.text("intf")?;
    let headers = packet::inner(step)?;
    let path = step.at("spi");
    let spi = step.present("spi").map(|spi| case::number(&path, spi)).transpose()?;
    let path = step.at("seq");
    let sequence = step.present("seq").map(|seq| case::number(&path, seq)).transpose()?;
    let ipsec = match (spi, sequence) {
        (Some(spi), sequence) => Some(Spied { spi, sequence: sequence.unwrap_or(1) }),
        (None, None) => None,
        (None, Some(_)) => return Err(Problem(format!("`{path}` without `spi`"))),
    };
    let seen = if is_sent { turned(&headers) } else { headers };
    let octets = packet::whole(&seen, ipsec)
        .ok_or_else(|| Problem(format!("`{}`: no such packet", step.at("proto"))))?;
    Ok(Packet { octets, headers, interface: (name, interfaces.number(name)) })
}

/// The fields of a log line: `name=value`, values with spaces in quotes.
fn fields(line: &str) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut rest = line;
    while let Some((name, value)) = rest.split_once('=') {
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => value.split_once(' ').unwrap_or((value, "")),
        };
        fields.insert(name.trim().to_owned(), json!(value));
        rest = after;
    }
    fields
}

/// Compares what became of a packet with the step's `expect`, if it has one.
fn compare(step: &mut Object<'_>, got: &Got, findings: &mut Findings) -> Result<(), Problem> {
    let path = step.at("expect");
    let Some(expect) = step.get("expect") else { return Ok(()) };
    let mut expect = Object::new(path, expect)?;
    let plain = [
        ("verdict", json!(got.verdict)),
        ("by", json!(got.by)),
        ("policy", json!(got.policy)),
        ("message", json!(got.message)),
        ("reason", json!(got.reason)),
    ];
    for (name, value) in plain {
        if let Some(expected) = expect.get(name) {
            findings.compare(expect.at(name), expected, value);
        }
    }
    match (expect.get("event"), &got.event) {
        (None, _) => {}
        (Some(expected @ Value::Object(_)), Some(event)) => {
            let fields = Object::new(expect.at("event"), expected)?;
            for name in fields.names() {
                let Some(expected) = expected.get(name) else { continue };
                let got = event.get(name).ok_or_else(|| {
                    Problem(format!("unknown field `{}` of an event", fields.at(name)))
                })?;
                // Ports are numbers, SPIs and sequence numbers too, though the log writes them in
                // hexadecimal digits; what the log calls N/A is `null`.
                let same = match expected {
                    Value::Number(number) if ["spi", "seq"].contains(&name) => {
                        let digits = got.as_str().unwrap_or_default();
                        number.as_u64() == u64::from_str_radix(digits, 16).ok()
                    }
                    Value::Number(number) => *got == number.to_string(),
                    Value::Null => *got == "N/A",
                    other => got == other,
                };
                findings.check(fields.at(name), same, expected, got.clone());
            }
        }
        (Some(expected), event) => {
            let got = event.clone().map_or(Value::Null, Value::Object);
            findings.compare(expect.at("event"), expected, got);
        }
    }
    expect.close()
}
