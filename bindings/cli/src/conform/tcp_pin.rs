//! `tcp_pin`: where the answers of IKE over TCP leave (seed 003).
//!
//! A packet of a known connection is preceded by that connection's handshake, and a retransmission by the
//! same segment and its answer, all on the same interface. Where the answer to a SYN leaves by the
//! interface that it came in on, the peer completes the handshake, and answers must leave there after it
//! too.

use std::net::IpAddr;

use espial::gate::flow::FlowKey;
use espial::gate::reply_path::{
    Answer, Leave, Limits, PolicyRoute, ReplyConfig, ReplyMode, ReplyPath, Segment, TcpFlags,
};
use espial::headers::{Endpoints, protocol};
use espial::selector::AddrRange;
use serde_json::json;

use super::case::{self, Findings, Object, Problem};

/// The hash of the table is keyed; no expectation depends on the key.
const SEED: [u64; 2] = [0x4528_21e6_38d0_1377, 0xbe54_66cf_34e9_0c6c];
/// The number that this box begins a connection with: the seed's.
const OWN_SEQ: u32 = 3_416_450_666;
/// What `action` says of a segment that is not IKE over TCP of this box; the contract names it in words
/// only.
const NOT_OURS: [&str; 5] = ["not_ours", "not_ike", "not_ike_tcp", "not_ike_port", "ignore"];

/// A way out of the box.
struct Interface<'a> {
    name: &'a str,
    addr: IpAddr,
}

/// The segment of a case.
struct Rx {
    segment: Segment,
    interface: u32,
    retransmit: bool,
    established: bool,
}

/// What a case may ask about.
struct Got {
    answer: Answer,
    /// Control bits and acknowledgement number of the answer.
    reply: Option<(TcpFlags, u32)>,
}

/// Runs a case.
pub(super) fn run(case: &mut Object<'_>, findings: &mut Findings) -> Result<(), Problem> {
    let interfaces = interfaces(case)?;
    let number = |path: &str, name: &str| {
        let place = interfaces.iter().position(|one| one.name == name);
        let place = place.and_then(|place| u32::try_from(place).ok());
        place.ok_or_else(|| Problem(format!("`{path}`: there is no interface `{name}`")))
    };
    let route = match case.present("route_choice") {
        Some(name) => Some(number("route_choice", case::text("route_choice", name)?)?),
        None => None,
    };
    let mut routes = Vec::new();
    if case.get("policy_routes").is_some() {
        for mut one in case.objects("policy_routes")? {
            let src = AddrRange::parse_masked(one.text("src")?)
                .map_err(|error| Problem::step(format!("field `{}`", one.at("src")), error))?;
            routes.push(PolicyRoute { src, output: number(&one.at("out"), one.text("out")?)? });
            one.close()?;
        }
    }
    let ike_policy_route = case.flag("ike_policy_route")?;
    let mode = match case.text("mode")? {
        "unpinned" => ReplyMode::Unpinned,
        "pinned" => ReplyMode::Pinned,
        "policy_route" => ReplyMode::PolicyRoute { routes: &routes, ike_policy_route },
        other => return Err(Problem(format!("unknown `mode`: `{other}`"))),
    };
    let local: Vec<IpAddr> = interfaces.iter().map(|one| one.addr).collect();
    let config = ReplyConfig { port: case.number("ike_tcp_port")?, local: &local, mode };
    let mut object = case.object("rx")?;
    let intf = number("rx.intf", object.text("intf")?)?;
    let rx = read(&mut object, intf)?;
    object.close()?;

    let path = ReplyPath::new(config, &Limits::of(8), SEED);
    let mut path = path.map_err(|error| Problem::step("the connections", error))?;
    let got = receive(&mut path, &rx, route)?;
    let name = |number: u32| interfaces.get(number as usize).map(|one| one.name);
    compare(case.object("expect")?, &got, name, findings)?;
    if let Answer::Leave(leave) = got.answer
        && leave.syn_ack.is_some()
    {
        finish(&mut path, &rx.segment, leave, route, findings);
    }
    Ok(())
}

fn interfaces<'a>(case: &mut Object<'a>) -> Result<Vec<Interface<'a>>, Problem> {
    let mut object = case.object("interfaces")?;
    let mut interfaces = Vec::new();
    for name in object.names().collect::<Vec<_>>() {
        let mut one = object.object(name)?;
        let addr = one.address("addr")?;
        // Neither has a say: answers are pinned to an interface, never to a gateway (T29).
        one.number_or::<u8>("prefix", 0)?;
        one.address_if("gateway")?;
        one.close()?;
        interfaces.push(Interface { name, addr });
    }
    Ok(interfaces)
}

/// Control bits by their letters.
fn flags(path: &str, text: &str) -> Result<TcpFlags, Problem> {
    let mut bits = 0;
    for letter in text.chars() {
        bits |= match letter {
            'F' => TcpFlags::FIN.0,
            'S' => TcpFlags::SYN.0,
            'R' => TcpFlags::RST.0,
            'P' => 0x08,
            'A' => TcpFlags::ACK.0,
            'U' => 0x20,
            other => return Err(Problem(format!("`{path}`: unknown flag `{other}`"))),
        };
    }
    Ok(TcpFlags(bits))
}

fn read(rx: &mut Object<'_>, interface: u32) -> Result<Rx, Problem> {
    let (src, dst) = (rx.address("src")?, rx.address("dst")?);
    let endpoints = Endpoints::new(src, dst)
        .ok_or_else(|| Problem(format!("{src} and {dst} are of two families")))?;
    let (src_port, dst_port) = (rx.number("sport")?, rx.number("dport")?);
    let flags = flags(&rx.at("flags"), rx.text("flags")?)?;
    let established = rx.flag("established")?;
    // Of a known connection: it acknowledges what this box began with.
    let ack = rx.number_or("ack", if established { OWN_SEQ.wrapping_add(1) } else { 0 })?;
    let key = FlowKey { endpoints, protocol: protocol::TCP, src_port, dst_port };
    let payload_octets = rx.number_or("len", 0)?;
    Ok(Rx {
        segment: Segment { key, flags, seq: rx.number("seq")?, ack, payload_octets },
        interface,
        retransmit: rx.flag("retransmit")?,
        established,
    })
}

/// The answer to a segment that this box sends.
fn answer_to(segment: &Segment, flags: TcpFlags, ack: u32) -> Segment {
    let seq = if flags == TcpFlags::SYN_ACK { OWN_SEQ } else { OWN_SEQ.wrapping_add(1) };
    Segment { key: segment.key.reversed(), flags, seq, ack, payload_octets: 0 }
}

/// What the box says of the segment, after what came before it.
fn receive(path: &mut ReplyPath<'_, '_>, rx: &Rx, route: Option<u32>) -> Result<Got, Problem> {
    let Rx { segment, interface, retransmit, established } = *rx;
    if established {
        let syn = Segment {
            flags: TcpFlags::SYN,
            seq: segment.seq.wrapping_sub(1),
            ack: 0,
            payload_octets: 0,
            ..segment
        };
        let acked = Segment {
            flags: TcpFlags::ACK,
            seq: segment.seq,
            ack: OWN_SEQ.wrapping_add(1),
            payload_octets: 0,
            ..segment
        };
        let _ = path.received(&syn, interface, route, 0);
        let _ = path.sent(&answer_to(&syn, TcpFlags::SYN_ACK, segment.seq), route, 0);
        let _ = path.received(&acked, interface, route, 0);
        let known = path.iter(0).any(|pin| pin.established);
        if !known {
            return Err(Problem("`rx.established`: no such connection can be".to_owned()));
        }
    }
    if retransmit {
        let first = path.received(&segment, interface, route, 0);
        if let Some((flags, ack)) = reply(&first, &segment) {
            let _ = path.sent(&answer_to(&segment, flags, ack), route, 0);
        }
    }
    let answer = path.received(&segment, interface, route, 0);
    Ok(Got { answer, reply: reply(&answer, &segment) })
}

/// Control bits and number of the answer: a SYN ACK, or an acknowledgement of what came (RFC 9293 section
/// 3.10.7).
fn reply(answer: &Answer, segment: &Segment) -> Option<(TcpFlags, u32)> {
    let Answer::Leave(leave) = answer else { return None };
    Some(match leave.syn_ack {
        Some(syn_ack) => (syn_ack.flags, syn_ack.ack),
        None => {
            let fin = u32::from(segment.flags.has(TcpFlags::FIN));
            let end = segment.seq.wrapping_add(segment.payload_octets).wrapping_add(fin);
            (TcpFlags::ACK, end)
        }
    })
}

/// The rest of the handshake that an answered SYN begins.
fn finish(
    path: &mut ReplyPath<'_, '_>,
    syn: &Segment,
    leave: Leave,
    route: Option<u32>,
    findings: &mut Findings,
) {
    let next = syn.seq.wrapping_add(1);
    let way = |answer: Answer| match answer {
        Answer::Leave(leave) => json!(leave.interface),
        other => json!(format!("{other:?}")),
    };
    let sent = path.sent(&answer_to(syn, TcpFlags::SYN_ACK, next), route, 0);
    let wanted = json!(leave.interface);
    findings.require("the SYN ACK leaves there", way(sent) == wanted, wanted.clone(), way(sent));
    if !leave.completes_handshake() {
        return;
    }
    let ack = Segment { flags: TcpFlags::ACK, seq: next, ack: OWN_SEQ.wrapping_add(1), ..*syn };
    let answered = path.received(&ack, leave.came_in, route, 0);
    let is_known = path.iter(0).any(|pin| pin.established && pin.interface == leave.came_in);
    findings.require("the ACK completes the handshake", is_known, true, is_known);
    let later = path.sent(&answer_to(syn, TcpFlags::ACK, next), route, 0);
    for answer in [answered, later] {
        let got = way(answer);
        findings.require("answers after the handshake", got == wanted, wanted.clone(), got);
    }
}

fn compare<'a>(
    mut expect: Object<'_>,
    got: &Got,
    name: impl Fn(u32) -> Option<&'a str>,
    findings: &mut Findings,
) -> Result<(), Problem> {
    let leave = match got.answer {
        Answer::Leave(leave) => Some(leave),
        _ => None,
    };
    let plain = [
        ("reply_intf", json!(leave.and_then(|leave| name(leave.interface)))),
        ("flags", json!(got.reply.map(|(flags, _)| flags.to_string()))),
        ("ack", json!(got.reply.map(|(_, ack)| ack))),
    ];
    for (field, value) in plain {
        if let Some(expected) = expect.get(field) {
            findings.compare(field, expected, value);
        }
    }
    if let Some(expected) = expect.get("handshake_completes") {
        // Without a connection there is no handshake.
        let got = leave.is_some_and(|leave| leave.completes_handshake());
        let same = *expected == json!(got) || leave.is_none() && expected.is_null();
        findings.check("handshake_completes", same, expected, got);
    }
    if let Some(expected) = expect.get("action") {
        let words: &[&str] = match got.answer {
            Answer::NotOurs => &NOT_OURS,
            Answer::NoSession => &["no_session"],
            Answer::Reset => &["reset"],
            Answer::NoRoute => &["no_route"],
            Answer::Leave(_) => &["reply"],
            _ => &[],
        };
        let same = words.iter().any(|word| expected.as_str() == Some(*word));
        findings.check("action", same, expected, words.first().copied());
    }
    expect.close()
}
