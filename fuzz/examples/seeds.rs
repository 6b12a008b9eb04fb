//! Writes `seeds/`: one small file an idea, from the samples of the command line and by hand. The
//! same files each time.

use std::fs;
use std::io::Result;
use std::path::{Path, PathBuf};

use cli::capture::Capture;

#[path = "../../core/tests/bodies/mod.rs"]
mod bodies;
#[path = "../../bindings/cli/src"]
#[allow(dead_code, reason = "only its packets are taken")]
mod cli {
    pub mod capture;
}
#[path = "../bodies/snapshot.rs"]
#[allow(dead_code, reason = "only its streams are taken")]
mod snapshot;

const SAMPLES: [&str; 2] = ["kernel-03-wrong-sa-native", "scapy-esp-ah"];
/// Octets of a capture that stay in its seed: a few packets.
const CAPTURE_OCTETS: usize = 700;
/// Lines of a configuration that stay in its seed.
const CONFIG_LINES: usize = 60;

fn main() -> Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let samples = here.join("../bindings/cli/samples");
    let mut outer = Vec::new();
    for name in SAMPLES {
        let capture = fs::read(samples.join(name).with_extension("pcap"))?;
        // One packet of each length: of each cipher, address family and encapsulation.
        for packet in Capture::new(&capture[..]).flatten().filter_map(|packet| packet.ip) {
            if packet.len() < 260 && outer.iter().all(|other: &Vec<u8>| other.len() != packet.len())
            {
                outer.push(packet);
            }
        }
        write(here, "capture_octets", name, &capture[..capture.len().min(CAPTURE_OCTETS)])?;
        let text = fs::read_to_string(samples.join(name).with_extension("gateway.toml"))?;
        let lines: Vec<_> = text.lines().take(CONFIG_LINES).collect();
        write(here, "config_text", name, lines.join("\n").as_bytes())?;
    }
    outer.sort();
    for (number, packet) in outer.iter().take(24).enumerate() {
        write(here, "outer_parse", &format!("packet-{number:02}"), packet)?;
    }
    for (name, octets) in captures() {
        write(here, "capture_octets", name, &octets)?;
    }
    for (name, octets) in inner_packets() {
        write(here, "inner_parse", name, &octets)?;
    }
    write(here, "config_text", "every-key", EVERY_KEY.as_bytes())?;
    write(here, "ts_payload", "two-families", &ts_payload())?;
    write(here, "tcp_stream", "ike-esp-keepalive", &tcp_stream())?;
    for (name, octets) in snapshots() {
        write(here, "snapshot", name, &octets)?;
    }
    // An image as it is, so that what libFuzzer changes first is one.
    for name in ["first", "second"] {
        let text =
            fs::read_to_string(here.join("../ffi/tests/images").join(name).with_extension("c"))?;
        let octets =
            text.split("0x").skip(1).filter_map(|rest| u8::from_str_radix(rest.get(..2)?, 16).ok());
        let octets: Vec<u8> = std::iter::once(0).chain(octets).collect();
        write(here, "image", name, &octets)?;
    }
    for (kind, name) in [(1, "agree"), (2, "lie")] {
        write(here, "image", name, &[&[kind][..], &random(4, 1200)].concat())?;
    }
    let of_choices = [
        "whole_check",
        "sad_operations",
        "sessions",
        "passthrough",
        "reply_path",
        "gate_words",
        "snapshot",
    ];
    for target in of_choices {
        for (seed, octets) in [(1, 60), (2, 400), (3, 1500)] {
            write(here, target, &format!("random-{octets}"), &random(seed, octets))?;
        }
    }
    Ok(())
}

fn write(here: &Path, target: &str, name: &str, octets: &[u8]) -> Result<()> {
    let directory: PathBuf = here.join("seeds").join(target);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join(name), octets)
}

fn v4(protocol: u8, place: u16, payload: &[u8]) -> Vec<u8> {
    let [hi, lo] = (20 + payload.len() as u16).to_be_bytes();
    let [f0, f1] = place.to_be_bytes();
    let head =
        [0x45, 0, hi, lo, 0, 7, f0, f1, 64, protocol, 0, 0, 10, 190, 9, 27, 10, 180, 244, 217];
    [&head[..], payload].concat()
}

fn v6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let [hi, lo] = (payload.len() as u16).to_be_bytes();
    let addr = |last| [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    [&[0x60, 0, 0, 7, hi, lo, next_header, 64][..], &addr(1), &addr(2), payload].concat()
}

fn udp(payload: &[u8]) -> Vec<u8> {
    let [hi, lo] = (8 + payload.len() as u16).to_be_bytes();
    [&[0, 53, 0x13, 0x88, hi, lo, 0, 0][..], payload].concat()
}

/// Every way to a next layer value.
fn inner_packets() -> [(&'static str, Vec<u8>); 12] {
    let tcp = [0x01, 0xbb, 0xc0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 4, 0, 0, 0, 0, 0];
    let options = |next, rest: &[u8]| [&[next, 0, 1, 4, 0, 0, 0, 0][..], rest].concat();
    let fragment = |next, place: u16, rest: &[u8]| {
        [&[next, 0][..], &place.to_be_bytes(), &[0, 0, 0, 9], rest].concat()
    };
    let error = |kind: u8, about: &[u8]| [&[kind, 1, 0, 0, 0, 0, 0, 0][..], about].concat();
    [
        ("v4-tcp", v4(6, 0, &tcp)),
        ("v4-udp-tfc", [v4(17, 0, &udp(b"query")), vec![0; 40]].concat()),
        ("v4-echo", v4(1, 0, &[8, 0, 0, 0, 0, 1, 0, 1])),
        ("v4-icmp-error", v4(1, 0, &error(3, &v4(17, 0, &udp(&[]))))),
        ("v4-first-fragment", v4(17, 0x2000, &udp(&[0; 8]))),
        ("v4-later-fragment", v4(17, 0x0002, &[1, 2, 3])),
        ("v4-gre", v4(47, 0, &[0; 4])),
        ("v6-tcp-options", v6(0, &options(60, &options(6, &tcp)))),
        ("v6-routing", v6(43, &[&[17, 2, 4, 0, 0, 0, 0, 0][..], &[0; 16], &udp(&[])].concat())),
        ("v6-fragment", v6(44, &fragment(17, 1, &udp(&[])))),
        ("v6-mobility", v6(135, &[59, 0, 5, 0, 0, 0, 0, 0])),
        ("v6-icmp-error", v6(58, &error(1, &v6(17, &udp(&[]))))),
    ]
}

/// The formats that the samples do not have: pcapng with each kind of packet block, and pcap in big
/// endian with nanoseconds.
fn captures() -> [(&'static str, Vec<u8>); 2] {
    let packet = v4(17, 0, &udp(b"abc!"));
    let le = |n: usize| (n as u32).to_le_bytes();
    let block = |kind, body: &[u8]| {
        let octets = le(12 + body.len());
        [&le(kind)[..], &octets, body, &octets].concat()
    };
    let section = [&[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0][..], &[0xff; 8]].concat();
    // Link type 101, raw IP; times in nanoseconds.
    let interface = [101, 0, 0, 0, 0, 0, 4, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0];
    let octets = le(packet.len());
    let enhanced = [&[0; 12][..], &octets, &octets, &packet].concat();
    let simple = [&octets[..], &packet].concat();
    let pcapng = [
        block(0x0a0d_0d0a, &section),
        block(1, &interface),
        block(6, &enhanced),
        block(3, &simple),
        block(2, &enhanced),
        block(4, &[0; 4]),
    ];
    let be = |n: usize| (n as u32).to_be_bytes();
    let head = [&[0xa1, 0xb2, 0x3c, 0x4d, 0, 2, 0, 4][..], &[0; 8], &be(65_535), &be(228)].concat();
    let record = [&be(1)[..], &be(2), &be(packet.len()), &be(packet.len()), &packet].concat();
    [("pcapng", pcapng.concat()), ("pcap-big-endian", [head, record].concat())]
}

fn ts_payload() -> Vec<u8> {
    let v4 = [&[7, 6, 0, 16, 0, 80, 0, 90][..], &[10, 0, 0, 0, 10, 0, 0, 255]].concat();
    let opaque = [&[7, 17, 0, 16, 0xff, 0xff, 0, 0][..], &[1, 2, 3, 4, 1, 2, 3, 9]].concat();
    let v6 = [&[8, 0, 0, 40, 0, 0, 0xff, 0xff][..], &[0; 16], &[0xff; 16]].concat();
    [&[3, 0, 0, 0][..], &v4, &opaque, &v6].concat()
}

/// Records of every kind, as they are and to be signed again: three choices of the tables' shape, one of what is to
/// be done, 30 of times, then the stream of a node that lived at random.
fn snapshots() -> [(&'static str, Vec<u8>); 2] {
    let lived = random(9, 600);
    let mut choices = bodies::Choices::new(&lived);
    let shape = snapshot::Shape::LARGE;
    let stream = snapshot::stream(&mut choices, &shape);
    let with = |done| [&[2, 0, 2, done][..], &[0; 30], &stream].concat();
    [("records", with(0)), ("signed-records", with(1))]
}

/// Split in pieces of 5 octets: the prefix, an IKE message, ESP, a keepalive.
fn tcp_stream() -> Vec<u8> {
    let frame = |content: &[u8]| [&(2 + content.len() as u16).to_be_bytes()[..], content].concat();
    let ike = [&[0; 4][..], &[1; 16], &[46, 0x20, 37, 8, 0, 0, 0, 1, 0, 0, 0, 28]].concat();
    let esp = [0xc4, 0x71, 0x54, 0xa0, 0, 0, 0, 7, 1, 2, 3, 4];
    [&[5][..], b"IKETCP", &frame(&ike), &frame(&esp), &frame(&[0xff])].concat()
}

/// SplitMix64.
fn random(seed: u64, octets: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as u8
    };
    (0..octets).map(|_| next()).collect()
}

const EVERY_KEY: &str = r#"[gateway]
addresses = ["203.0.113.2", "2001:db8::2"]
[[tunnel]]
name = "t"
mode = "ordered-spd"
shadow = ["any-selector", "any-source"]
[[tunnel.child]]
name = "c"
local = ["10.0.0.0/8", { addr = "10.0.0.1-10.0.0.9", protocol = "tcp", ports = "443" }]
remote = ["192.168.0.1", { addr = "2001:db8::/32", protocol = 58, icmp = "768-769" }]
[[tunnel.child.sa]]
spi = "0xc47154a0"
protocol = "esp"
mode = "transport"
encap = "udp"
dst = "203.0.113.2"
src = "198.51.100.1"
replay-window = 64
esn = true
sequence-high = 1
installed = 1795231123.67
deleted = 1795231522.25
encryption = "aes-cbc"
encryption-key = "00112233445566778899aabbccddeeff"
integrity = "hmac-sha1-96"
integrity-key = "000102030405060708090a0b0c0d0e0f10111213"
[[tunnel.child]]
name = "d"
local = [{ addr = "0.0.0.0/0", protocol = 135, mh = "5" }]
remote = [{ addr = "::/0", protocol = "udp", ports = "opaque" }]
"#;
