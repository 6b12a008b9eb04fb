//! Packets and captures, octet by octet.

use std::net::Ipv4Addr;

use espial_cli::check::{Form, Options, judge_with};
use espial_cli::config::GatewayConfig;
use serde_json::Value;

/// One IPv4 packet, where and when it was captured.
#[derive(Clone)]
pub struct Packet {
    millis: u64,
    interface: u32,
    octets: Vec<u8>,
}

/// An end of a connection, as `a.b.c.d:port`.
fn end(text: &str) -> (Ipv4Addr, [u8; 2]) {
    let (addr, port) = text.split_once(':').unwrap();
    (addr.parse().unwrap(), port.parse::<u16>().unwrap().to_be_bytes())
}

pub fn ip(protocol: u8, src: Ipv4Addr, dst: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let length = (20 + payload.len() as u16).to_be_bytes();
    let head = [0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, protocol, 0, 0];
    [&head[..], &src.octets(), &dst.octets(), payload].concat()
}

/// A UDP packet; to port 4500 it is IKE, behind the non-ESP marker.
pub fn udp(src: &str, dst: &str) -> Vec<u8> {
    let ((src, sport), (dst, dport)) = (end(src), end(dst));
    let payload = [0; 32];
    let length = (8 + payload.len() as u16).to_be_bytes();
    ip(17, src, dst, &[&sport[..], &dport, &length, &[0, 0], &payload].concat())
}

/// A TCP segment with these control bits and data.
pub fn tcp(src: &str, dst: &str, flags: u8, seq: u32, ack: u32, data: &[u8]) -> Vec<u8> {
    let ((src, sport), (dst, dport)) = (end(src), end(dst));
    let rest = [0x50, flags, 0xff, 0xff, 0, 0, 0, 0];
    let head = [&sport[..], &dport, &seq.to_be_bytes(), &ack.to_be_bytes(), &rest].concat();
    ip(6, src, dst, &[&head[..], data].concat())
}

/// ESP with NULL encryption and no integrity, with a UDP packet inside.
pub fn esp(outer: (&str, &str), spi: u32, sequence: u32, inner: (&str, &str)) -> Vec<u8> {
    let mut inside = udp(inner.0, inner.1);
    let padding = (4 - (inside.len() + 2) % 4) % 4;
    inside.extend((1..=padding as u8).chain([padding as u8, 4]));
    let body = [&spi.to_be_bytes()[..], &sequence.to_be_bytes(), &inside].concat();
    ip(50, outer.0.parse().unwrap(), outer.1.parse().unwrap(), &body)
}

/// A packet on interface 0 of the capture.
pub fn at(seconds: f64, octets: Vec<u8>) -> Packet {
    Packet { millis: (seconds * 1000.0) as u64, interface: 0, octets }
}

impl Packet {
    /// The same on another interface.
    pub fn on(mut self, interface: u32) -> Self {
        self.interface = interface;
        self
    }
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
    let octets = (12 + body.len() + padding.len()) as u32;
    [&kind.to_le_bytes()[..], &octets.to_le_bytes(), body, &padding, &octets.to_le_bytes()].concat()
}

/// A pcapng file of raw IP packets on interfaces of these names.
pub fn pcapng(interfaces: &[&str], packets: &[Packet]) -> Vec<u8> {
    let version = [0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0];
    let mut file = block(0x0a0d_0d0a, &[&version[..], &[0xff; 8]].concat());
    for name in interfaces {
        let mut body = [&101_u16.to_le_bytes()[..], &[0; 6], &[2, 0]].concat();
        body.extend((name.len() as u16).to_le_bytes());
        body.extend(name.as_bytes());
        body.resize(body.len().next_multiple_of(4), 0);
        file.extend(block(1, &[body, vec![0; 4]].concat()));
    }
    for packet in packets {
        let micros = packet.millis * 1000;
        let octets = packet.octets.len() as u32;
        let words = [packet.interface, (micros >> 32) as u32, micros as u32, octets, octets];
        let head: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        file.extend(block(6, &[head, packet.octets.clone()].concat()));
    }
    file
}

/// A pcap file, which names no interfaces.
pub fn pcap(packets: &[Packet]) -> Vec<u8> {
    let words =
        |values: &[u32]| values.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut file = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65535, 101]);
    for packet in packets {
        let (seconds, micros) = (packet.millis / 1000, packet.millis % 1000 * 1000);
        let octets = packet.octets.len() as u32;
        file.extend(words(&[seconds as u32, micros as u32, octets, octets]));
        file.extend(&packet.octets);
    }
    file
}

/// The configuration of a document, from `samples/`.
pub fn sample(name: &str) -> String {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/samples");
    std::fs::read_to_string(format!("{directory}/{name}.gateway.toml")).unwrap()
}

pub fn output(config: &str, file: &[u8], form: Form, options: Options) -> String {
    let config = GatewayConfig::parse("g.toml", config).unwrap_or_else(|error| panic!("{error}"));
    let mut out = Vec::new();
    let outcome = judge_with(&config, file, form, options, &mut out, &mut |_| {}).unwrap();
    assert!(outcome.unread.is_none());
    String::from_utf8(out).unwrap()
}

/// A row for each packet.
pub fn rows(config: &str, file: &[u8]) -> Vec<Value> {
    let text = output(config, file, Form::Json, Options::default());
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// These fields of a row, with a line between; those that are not there as `-`.
pub fn fields(row: &Value, names: &[&str]) -> String {
    let text = |name: &&str| match &row[*name] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    names.iter().map(text).collect::<Vec<_>>().join("|")
}
