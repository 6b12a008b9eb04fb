//! `classify`: what arriving octets are (RFC 3948, 4302, 4303, 9329).

use espial::headers::{Endpoints, Ipsec, Outer, OuterHeaders, protocol};
use espial::verdict::Reason;
use espial::wire::tcp_encap::{MAX_CONTENT_OCTETS, Prefix, Stream, StreamError};
use espial::wire::{self, classify_tcp_frame, classify_udp};
use serde_json::{Map, Value, json};

use super::case::{self, Findings, Object, Problem};
use super::packet;

type Classified = Result<Outer, Reason>;

/// What octets are, in the fields of a case.
fn describe(classified: &Classified) -> Map<String, Value> {
    let class = |name: &str| Map::from_iter([("class".to_owned(), json!(name))]);
    match classified {
        Ok(Outer::Ipsec(OuterHeaders { ipsec, spi, sequence, .. })) => {
            let mut fields = class(match ipsec {
                Ipsec::Esp => "esp",
                Ipsec::Ah => "ah",
            });
            fields.insert("spi".to_owned(), json!(spi.0));
            fields.insert("seq".to_owned(), json!(sequence));
            fields.insert("spi_reserved".to_owned(), json!(spi.is_reserved()));
            fields
        }
        Ok(Outer::Ike) => class("ike"),
        Ok(Outer::NatKeepalive) => class("nat_keepalive"),
        Ok(Outer::Other) => class("other"),
        Err(reason) => {
            let mut fields = class("malformed");
            fields.insert("reason".to_owned(), json!(reason.name()));
            fields
        }
    }
}

/// Compares the fields that [`describe`] gives. A reason may be written with the class that it
/// repeats or without: `malformed_esp`, `esp`.
fn compare(object: &mut Object<'_>, got: &Map<String, Value>, findings: &mut Findings) {
    for name in ["class", "spi", "seq", "spi_reserved", "reason"] {
        let Some(expected) = object.get(name) else { continue };
        let value = got.get(name).cloned().unwrap_or(match name {
            // No SPI is no reserved one.
            "spi_reserved" => json!(false),
            _ => Value::Null,
        });
        let short = value.as_str().and_then(|text| text.strip_prefix("malformed_"));
        let met =
            *expected == value || (name == "reason" && short.is_some_and(|text| *expected == text));
        findings.check(object.at(name), met, expected, value);
    }
}

/// Runs a case: a packet, or a stream.
pub(super) fn run(case: &mut Object<'_>, findings: &mut Findings) -> Result<(), Problem> {
    let mut input = case.object("input")?;
    let expect = case.object("expect")?;
    let protocol: u8 = input.number("proto")?;
    match input.get("stream") {
        Some(octets) => {
            if protocol != protocol::TCP {
                return Err(Problem(format!("a stream under protocol {protocol}")));
            }
            let octets = case::octets("input.stream", octets)?;
            // Which ports carry it is the host's configuration.
            let (sport, dport) = (port(&mut input, "sport")?, port(&mut input, "dport")?);
            input.close()?;
            stream(&octets, sport.unwrap_or(0), dport.unwrap_or(0), expect, findings)
        }
        None => {
            let payload = case::octets("input.payload", input.value("payload")?)?;
            let ports = (port(&mut input, "sport")?, port(&mut input, "dport")?);
            input.close()?;
            datagram(protocol, ports, &payload, expect, findings)
        }
    }
}

fn port(input: &mut Object<'_>, name: &str) -> Result<Option<u16>, Problem> {
    let path = input.at(name);
    input.present(name).map(|value| case::number(&path, value)).transpose()
}

fn datagram(
    protocol: u8,
    ports: (Option<u16>, Option<u16>),
    payload: &[u8],
    mut expect: Object<'_>,
    findings: &mut Findings,
) -> Result<(), Problem> {
    let too_long = || Problem("field `input.payload`: too long for an IP packet".to_owned());
    let mut udp = None;
    let body = match (protocol, ports) {
        (protocol::UDP, (Some(sport), Some(dport))) => {
            udp = Some((sport, dport));
            packet::udp(sport, dport, payload).ok_or_else(too_long)?
        }
        (protocol::UDP, _) => return Err(Problem("`input` lacks a port".to_owned())),
        _ => payload.to_vec(),
    };
    let in_ip = |endpoints| {
        let octets = packet::ip(endpoints, protocol, &body).ok_or_else(too_long)?;
        Ok(describe(&wire::classify(&octets)))
    };
    let got = in_ip(packet::OUTER)?;
    compare(&mut expect, &got, findings);
    // The other ways in say the same. AH has a rule of its own under IPv6 (RFC 4302 section 2.2).
    if protocol != protocol::AH {
        let v6 = in_ip(packet::OUTER_V6)?;
        findings.require("in IPv6", v6 == got, Value::Object(got.clone()), Value::Object(v6));
    }
    if let Some((sport, dport)) = udp {
        let host = describe(&classify_udp(packet::OUTER, sport, dport, payload, 28));
        findings.require("without IP", host == got, Value::Object(got), Value::Object(host));
    }
    expect.close()
}

/// What a stream came to.
#[derive(Clone, PartialEq)]
struct Read {
    prefix: Option<bool>,
    frames: Vec<Map<String, Value>>,
    fatal: Option<StreamError>,
    need_more: bool,
}

/// Reads the initiator's direction, in portions of so many octets.
fn read(octets: &[u8], portion: usize, (sport, dport): (u16, u16)) -> Read {
    const ENDS: Endpoints = packet::OUTER;
    let mut stream = Stream::from_initiator();
    let mut buffer = vec![0; MAX_CONTENT_OCTETS];
    let mut frames = Vec::new();
    'stream: for mut rest in octets.chunks(portion.max(1)) {
        loop {
            match stream.next_frame(&mut rest, &mut buffer) {
                Ok(Some(frame)) => {
                    let classified = classify_tcp_frame(ENDS, sport, dport, frame.content);
                    let mut fields = describe(&classified);
                    fields.insert("len".to_owned(), json!(frame.length));
                    frames.push(fields);
                }
                Ok(None) => break,
                Err(_) => break 'stream,
            }
        }
    }
    let prefix = match stream.prefix() {
        Prefix::Unknown => None,
        Prefix::Present => Some(true),
        Prefix::Absent => Some(false),
    };
    let need_more = stream.is_partial() || prefix.is_none();
    Read { prefix, frames, fatal: stream.error(), need_more }
}

fn stream(
    octets: &[u8],
    sport: u16,
    dport: u16,
    mut expect: Object<'_>,
    findings: &mut Findings,
) -> Result<(), Problem> {
    let got = read(octets, octets.len(), (sport, dport));
    for portion in [1, 2, 3, 7] {
        let same = read(octets, portion, (sport, dport)) == got;
        findings.require(format!("the same in portions of {portion}"), same, true, same);
    }
    if let Some(expected) = expect.get("prefix") {
        findings.compare("prefix", expected, json!(got.prefix));
    }
    if let Some(expected) = expect.get("frames") {
        let list = case::list("expect.frames", expected)?;
        let shown: Value = got.frames.iter().cloned().map(Value::Object).collect();
        findings.check("frames", list.len() == got.frames.len(), expected, shown);
        for (index, (value, frame)) in list.iter().zip(&got.frames).enumerate() {
            let mut object = Object::new(format!("expect.frames[{index}]"), value)?;
            compare(&mut object, frame, findings);
            if let Some(expected) = object.get("len") {
                let len = frame.get("len").cloned().unwrap_or_default();
                findings.compare(object.at("len"), expected, len);
            }
            object.close()?;
        }
    }
    // A stream that ends in an error is never expected by saying nothing, unless it has no prefix.
    let fatal = got.fatal.is_some();
    match expect.get("fatal") {
        Some(expected) => findings.compare("fatal", expected, fatal),
        None => findings.require("fatal", !fatal || got.prefix == Some(false), false, fatal),
    }
    if let Some(expected) = expect.get("need_more") {
        findings.compare("need_more", expected, got.need_more);
    }
    if let Some(expected) = expect.get("reason") {
        let reason =
            got.fatal.and_then(StreamError::malformed).map(|what| Reason::from(what).name());
        findings.compare("reason", expected, json!(reason));
    }
    expect.close()
}
