//! The way that a packet took, table by table, in the manner of a debug flow trace.
//!
//! Lines that the documents show have their words and function names (seeds 001 and 002); the rest is said
//! in our own. Owns words only: every fact is a [`Step`] or a field of the row.

use std::io::{self, Write};

use espial::gate::local_in::By as Decider;
use espial::gate::reply_path::{Answer, Chosen};
use espial::headers::{InnerHeaders, NextLayer};
use espial::spd::Direction;

use super::reason::DropReason;
use super::report::write_trace;
use super::row::{Row, Word, seconds};
use super::through::Ended;
use super::way::Step;
use crate::config::GatewayConfig;

/// Writes the way of a row, which must have one.
///
/// # Errors
/// Those of `out`.
pub(super) fn write(row: &Row<'_>, config: &GatewayConfig, out: &mut dyn Write) -> io::Result<()> {
    let Some(way) = &row.way else { return Ok(()) };
    let frame = row.frame.map(|frame| format!(" frame={}", frame.number)).unwrap_or_default();
    let prefix = format!("packet={}{frame} time={}", row.packet, seconds(row.time));
    let mut line = |func: &str, text: &str| writeln!(out, "{prefix} func={func} msg=\"{text}\"");
    let from = row.interface.map(|name| format!(" from {name}")).unwrap_or_default();
    let packet = row.headers.as_ref().map_or_else(|| "(unreadable)".to_owned(), tuple);
    let verb = if way.contains(&Step::Sent) { "sent" } else { "received" };
    for Ended(one) in &row.ended {
        let (src, dst, port) = (one.endpoints.src(), one.endpoints.dst(), one.src_port);
        let age = one.age_ms / 1000;
        line("teardown", &format!("{} {src}:{port} -> {dst}, after {age} s", one.kind))?;
    }
    line("print_pkt_detail", &format!("{verb} a packet{packet}{from}."))?;
    for step in way {
        if let Some((func, text)) = words(step, row, config) {
            line(func, &text)?;
        }
    }
    ipsec(row, &mut line)?;
    let is_told = row.arrived.is_some() || row.outer.is_some();
    if let (Word::Drop, Some(DropReason::Ipsec(_)), true) = (row.word, row.reason, is_told) {
        write_trace(row, out)?;
    }
    let reason = row.reason.map(|reason| format!(", {}", reason.name())).unwrap_or_default();
    let by = row.by.map(|by| format!(", by {}", by.name())).unwrap_or_default();
    writeln!(out, "{prefix} func=verdict msg=\"{}{reason}{by}\"", row.word.name())
}

/// `(proto=17, 10.10.10.13:500->10.10.10.1:500)`.
fn tuple(headers: &InnerHeaders) -> String {
    let (src, dst) = (headers.endpoints.src(), headers.endpoints.dst());
    let protocol = headers.protocol;
    match headers.next_layer {
        NextLayer::Ports { src: sport, dst: dport } => {
            format!("(proto={protocol}, {src}:{sport}->{dst}:{dport})")
        }
        _ => format!("(proto={protocol}, {src}->{dst})"),
    }
}

/// The function and the words of a step; none for what other lines say.
fn words(step: &Step, row: &Row<'_>, config: &GatewayConfig) -> Option<(&'static str, String)> {
    Some(match step {
        Step::Sent => return None,
        Step::Here => {
            let here = row.headers.map(|headers| headers.endpoints.dst().to_string());
            let here = here.unwrap_or_default();
            let text = format!("find a route: flag=84000000 gw-{here} via root");
            ("vf_ip_route_input_common", text)
        }
        Step::Through => ("forward", "addressed to somebody else".to_owned()),
        Step::Session { serial, reply } => {
            let way = if *reply { "reply" } else { "original" };
            let text = format!("Find an existing session, id-{serial:08x}, {way} direction");
            ("resolve_ip_tuple_fast", text)
        }
        Step::NewSession { serial } => {
            let number = serial.map(|serial| format!("-{serial:08x}")).unwrap_or_default();
            ("init_ip_session_common", format!("allocate a new session{number}"))
        }
        Step::SessionsFull => {
            ("init_ip_session_common", "no room for its session: nothing else changes".to_owned())
        }
        Step::LocalIn(answer) => {
            let text = match (answer.message(), answer.by) {
                (Some(message), _) => message.to_string(),
                (None, Decider::Policy(id)) => format!("{id} accepts it"),
                (None, Decider::Default) => "no policy covers it, accepted".to_owned(),
            };
            ("fw_local_in_handler", text)
        }
        Step::Spd { direction, answer } => {
            let list = match direction {
                Direction::Inbound => "spd_inbound",
                Direction::Outbound => "spd_outbound",
            };
            let text = match answer.entry() {
                Some(entry) => format!("{} says {}", entry.id, entry.action),
                None => "no policy covers it: discard".to_owned(),
            };
            (list, text)
        }
        Step::Reply(answer) => ("reply_path", reply(answer, config)),
        Step::Pass(answer) => {
            let flow = match (answer.key, answer.is_new) {
                (Some(key), true) => format!(", a new flow: {key}"),
                _ => String::new(),
            };
            let context = answer.context.map(|context| format!(" in {context}"));
            let rule = row.rule.map(|rule| format!(" {rule}")).unwrap_or_default();
            let (verdict, context) = (answer.verdict.name(), context.unwrap_or_default());
            ("passthrough", format!("{verdict}{rule}{context}{flow}"))
        }
    })
}

fn reply(answer: &Answer, config: &GatewayConfig) -> String {
    let name = |number| {
        config.gate.interface_at(number).map_or("no known interface", |one| one.name.as_str())
    };
    match answer {
        Answer::Leave(leave) => {
            let who = match leave.chosen {
                Chosen::Pin => "its SYN came in there".to_owned(),
                Chosen::PolicyRoute { index } => format!("policy route {}", index + 1),
                _ => "the routing table".to_owned(),
            };
            let other = match leave.completes_handshake() {
                true => String::new(),
                false => format!(", but its SYN came in on {}", name(leave.came_in)),
            };
            let kept = if leave.recorded { "" } else { ", not recorded: no room" };
            format!("answers leave by {}: {who}{other}{kept}", name(leave.interface))
        }
        Answer::NoSession => "no connection, and no SYN: drop".to_owned(),
        Answer::Reset => "a reset: the connection is gone".to_owned(),
        Answer::NoRoute => "there is no route for its answers".to_owned(),
        _ => "not IKE over TCP of this gateway".to_owned(),
    }
}

/// What the SPI table and the check say of ESP and AH.
fn ipsec(row: &Row<'_>, line: &mut dyn FnMut(&str, &str) -> io::Result<()>) -> io::Result<()> {
    let Some(outer) = row.outer else { return Ok(()) };
    if let Some((tunnel, child)) = row.arrived {
        let text = format!("SPI {} is an SA of {child} of {tunnel}", outer.spi);
        line("ipsec_local_in_handler", &text)?;
    } else if let Some(class) = row.spi_class {
        let text = format!("no SA for SPI {}: {}", outer.spi, class.name());
        line("ipsec_local_in_handler", &text)?;
    }
    if let Some(inner) = &row.inner {
        line("ipsec_input", &format!("opened: a packet{}", tuple(inner)))?;
    }
    if let Some(child) = row.belongs_to {
        line("ipsec_input", &format!("it belongs to {child}"))?;
    }
    Ok(())
}
