//! examples/null-esp.*: a capture of ESP with NULL encryption, made here, with what must become of
//! each packet written beside it by hand. UPDATE_CAPTURE=1 rewrites the files.
//!
//! The configuration is there twice: for examples/dataplane.c and for `espial check`.

use std::fs;

use crate::ffi;

/// One packet and what must become of it, without its number.
pub struct Case {
    pub packet: Vec<u8>,
    expected: String,
}

/// The line that is printed for packet `number`.
pub fn line(number: usize, case: &Case) -> String {
    format!("{{\"packet\":{number},{}}}\n", case.expected)
}

const A: u32 = 0x1000_a001;
const B: u32 = 0x1000_b001;
const WEB: u32 = 0x1000_c001;
const NAT: u32 = 0x1000_d001;
const SIX: u32 = 0x1000_6001;

const TEXT: &str = "\
# For dataplane.c. null-esp.gateway.toml says the same to `espial check`.
tunnel office strict-sa
child lan-a 10.1.0.0/24 10.2.0.0/24
sa 0x1000a001
child lan-b 10.1.1.0/24 10.2.1.0/24
sa 0x1000b001
child web 10.1.2.0/24 10.2.2.0/24 6 443
sa 0x1000c001
child nat 10.1.3.0/24 10.2.3.0/24
sa 0x1000d001 udp
child lan-6 2001:db8:1::/64 2001:db8:2::/64
sa 0x10006001
";

const TOML: &str = r#"# For `espial check`. null-esp.txt says the same to dataplane.c.
[[tunnel]]
name = "office"
mode = "strict-sa"
[[tunnel.child]]
name = "lan-a"
local = ["10.1.0.0/24"]
remote = ["10.2.0.0/24"]
[[tunnel.child.sa]]
spi = "0x1000a001"
encryption = "null"
replay-window = 0
[[tunnel.child]]
name = "lan-b"
local = ["10.1.1.0/24"]
remote = ["10.2.1.0/24"]
[[tunnel.child.sa]]
spi = "0x1000b001"
encryption = "null"
replay-window = 0
[[tunnel.child]]
name = "web"
local = [{ addr = "10.1.2.0/24", protocol = "tcp", ports = "443" }]
remote = [{ addr = "10.2.2.0/24", protocol = "tcp" }]
[[tunnel.child.sa]]
spi = "0x1000c001"
encryption = "null"
replay-window = 0
[[tunnel.child]]
name = "nat"
local = ["10.1.3.0/24"]
remote = ["10.2.3.0/24"]
[[tunnel.child.sa]]
spi = "0x1000d001"
encap = "udp"
encryption = "null"
replay-window = 0
[[tunnel.child]]
name = "lan-6"
local = ["2001:db8:1::/64"]
remote = ["2001:db8:2::/64"]
[[tunnel.child.sa]]
spi = "0x10006001"
encryption = "null"
replay-window = 0
"#;

/// An IPv4 packet; `fragment` is the field with its flags.
fn v4(protocol: u8, src: [u8; 4], dst: [u8; 4], fragment: u16, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + body.len() as u16).to_be_bytes());
    packet.extend([0x12, 0x34]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(src);
    packet.extend(dst);
    let sum: u32 =
        packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(body);
    packet
}

fn v6(next: u8, src: [u16; 8], dst: [u16; 8], body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((body.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(src.iter().chain(&dst).flat_map(|word| word.to_be_bytes()));
    packet.extend(body);
    packet
}

fn udp(sport: u16, dport: u16, body: &[u8]) -> Vec<u8> {
    let mut datagram: Vec<u8> = [sport, dport, 8 + body.len() as u16, 0]
        .iter()
        .flat_map(|word| word.to_be_bytes())
        .collect();
    datagram.extend(body);
    datagram
}

fn tcp(sport: u16, dport: u16) -> Vec<u8> {
    let mut segment: Vec<u8> = [sport, dport].iter().flat_map(|port| port.to_be_bytes()).collect();
    segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    segment
}

/// ESP with NULL encryption: padded to four octets, trailer, no ICV.
fn esp(spi: u32, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = spi.to_be_bytes().to_vec();
    packet.extend([0, 0, 0, 1]);
    packet.extend(payload);
    let padding = (4 - (payload.len() + 2) % 4) % 4;
    packet.extend(1..=padding as u8);
    packet.extend([padding as u8, next]);
    packet
}

const PEER: [u8; 4] = [198, 51, 100, 7];
const HERE: [u8; 4] = [203, 0, 113, 2];

/// As it arrives, directly in IPv4.
fn plain(esp: Vec<u8>) -> Vec<u8> {
    v4(50, PEER, HERE, 0, &esp)
}

fn in_udp(esp: Vec<u8>) -> Vec<u8> {
    v4(17, PEER, HERE, 0, &udp(40_001, 4500, &esp))
}

/// Inner packets of the children: UDP to port 53, remote host 5 to local host 9.
fn dns(net: u8) -> Vec<u8> {
    v4(17, [10, 2, net, 5], [10, 1, net, 9], 0, &udp(5353, 53, b"question"))
}

fn six(local: u16) -> Vec<u8> {
    let (src, dst) = ([0x2001, 0xdb8, 2, 0, 0, 0, 0, 5], [0x2001, 0xdb8, local, 0, 0, 0, 0, 9]);
    v6(17, src, dst, &udp(5353, 53, b"question"))
}

/// Every packet, in order.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |packet: Vec<u8>, expected: String| cases.push(Case { packet, expected });
    let accept = |spi: u32| format!("\"verdict\":\"accept\",\"spi\":\"0x{spi:08x}\"");
    let drop = |reason: &str| format!("\"verdict\":\"drop\",\"reason\":\"{reason}\"");
    let on = |reason: &str, spi: u32| format!("{},\"spi\":\"0x{spi:08x}\"", drop(reason));
    let wrong = |spi: u32, child: &str, field: &str| {
        format!("{},\"belongs_to\":\"{child}\",\"field\":\"{field}\"", on("wrong_sa", spi))
    };
    let none = |spi: u32, field: &str| format!("{},\"field\":\"{field}\"", on("no_selector", spi));
    let pass = || "\"verdict\":\"pass\"".to_owned();

    // Traffic of two Child SAs, each on its own SA.
    for _ in 0..3 {
        add(plain(esp(A, 4, &dns(0))), accept(A));
        add(plain(esp(B, 4, &dns(1))), accept(B));
    }
    let ping = |net| v4(1, [10, 2, net, 5], [10, 1, net, 9], 0, &[8, 0, 0, 0, 0, 1, 0, 1]);
    add(plain(esp(A, 4, &ping(0))), accept(A));
    add(plain(esp(B, 4, &v4(47, [10, 2, 1, 5], [10, 1, 1, 9], 0, &[0; 8]))), accept(B));

    // The right tunnel, the wrong SA.
    add(plain(esp(A, 4, &dns(1))), wrong(A, "lan-b", "src"));
    add(plain(esp(B, 4, &dns(0))), wrong(B, "lan-a", "src"));
    add(
        plain(esp(A, 4, &v4(6, [10, 2, 2, 5], [10, 1, 2, 9], 0, &tcp(40_000, 443)))),
        wrong(A, "web", "src"),
    );
    add(plain(esp(WEB, 4, &ping(0))), wrong(WEB, "lan-a", "src"));
    add(plain(esp(A, 41, &six(1))), wrong(A, "lan-6", "src"));

    // Nobody's.
    let stray = v4(17, [192, 0, 2, 1], [10, 1, 0, 9], 0, &udp(1, 2, b""));
    add(plain(esp(A, 4, &stray)), none(A, "src"));
    let stray = v4(17, [10, 2, 0, 5], [10, 1, 7, 9], 0, &udp(1, 2, b""));
    add(plain(esp(A, 4, &stray)), none(A, "dst"));
    let web = |protocol, dport| v4(protocol, [10, 2, 2, 5], [10, 1, 2, 9], 0, &tcp(40_000, dport));
    add(plain(esp(WEB, 4, &web(6, 80))), none(WEB, "dport"));
    add(plain(esp(WEB, 4, &web(17, 443))), none(WEB, "proto"));
    add(plain(esp(WEB, 4, &web(6, 443))), accept(WEB));

    // SPIs that nobody gave out; 0 is one of them.
    for spi in [0xdead_beef, 0x1000_a002, 0] {
        add(plain(esp(spi, 4, &dns(0))), on("unknown_spi", spi));
    }

    // Fragments inside: ports are in the first only.
    let piece =
        |net, fragment, body: &[u8]| v4(6, [10, 2, net, 5], [10, 1, net, 9], fragment, body);
    add(
        plain(esp(WEB, 4, &piece(2, 0x2000, &[&tcp(40_000, 443)[..], &[0; 4]].concat()))),
        accept(WEB),
    );
    add(
        plain(esp(WEB, 4, &piece(2, 3, &[7; 16]))),
        on("fragment_no_ports", WEB) + ",\"field\":\"dport\"",
    );
    add(plain(esp(A, 4, &piece(0, 3, &[7; 16]))), accept(A));

    // Fragments outside come before reassembly.
    let whole = esp(A, 4, &dns(0));
    add(v4(50, PEER, HERE, 0x2000, &whole[..32]), drop("outer_fragment"));
    add(v4(50, PEER, HERE, 4, &whole[32..]), drop("outer_fragment"));

    // IPv6 inside, outside and both.
    add(plain(esp(SIX, 41, &six(1))), accept(SIX));
    add(plain(esp(SIX, 41, &six(7))), none(SIX, "dst"));
    let far = ([0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 7], [0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 2]);
    add(v6(50, far.0, far.1, &esp(A, 4, &dns(0))), accept(A));
    add(v6(50, far.0, far.1, &esp(SIX, 41, &six(1))), accept(SIX));
    add(v6(17, far.0, far.1, &udp(4500, 4500, &esp(NAT, 4, &dns(3)))), accept(NAT));

    // T13: one packet in UDP between plain ones changes nothing for its neighbours.
    add(plain(esp(A, 4, &dns(0))), accept(A));
    add(in_udp(esp(NAT, 4, &dns(3))), accept(NAT));
    add(plain(esp(B, 4, &dns(1))), accept(B));
    add(plain(esp(NAT, 4, &dns(3))), on("wrong_encap", NAT));
    add(in_udp(esp(A, 4, &dns(0))), on("wrong_encap", A));
    add(in_udp(esp(NAT, 4, &dns(0))), wrong(NAT, "lan-a", "src"));

    // Not for this check.
    add(v4(17, PEER, HERE, 0, &udp(40_001, 4500, &[0xff])), pass());
    add(v4(17, PEER, HERE, 0, &udp(500, 500, &[1; 28])), pass());
    add(v4(17, PEER, HERE, 0, &udp(4500, 4500, &[&[0; 4][..], &[1; 28]].concat())), pass());
    add(v4(6, PEER, HERE, 0, &tcp(40_000, 22)), pass());

    // Malformed, outside and inside.
    add(plain(whole.clone())[..30].to_vec(), drop("malformed_ip_length"));
    add([&[0x75][..], &plain(whole.clone())[1..]].concat(), drop("malformed_ip_version"));
    add(plain(whole[..7].to_vec()), drop("malformed_esp"));
    add(in_udp(vec![1, 2, 3]), drop("malformed_nat_t"));
    add(plain(esp(A, 4, &dns(0)[..19])), on("malformed_ip_header", A));
    add(plain(esp(A, 41, &dns(0))), on("malformed_next_header", A));
    add(plain(esp(A, 59, &[0; 40])), on("dummy", A));
    let mut broken = whole.clone();
    let pad_length = broken.len() - 2;
    broken[pad_length] = 200;
    add(plain(broken), on("bad_padding", A));

    // TFC padding behind the inner packet is not looked at (RFC 4303 section 2.7).
    add(plain(esp(A, 4, &[&dns(0)[..], &[0xee; 50]].concat())), accept(A));
    // Link padding behind the outer packet neither.
    add([&plain(esp(B, 4, &dns(1)))[..], &[0; 6]].concat(), accept(B));
    cases
}

/// A classic pcap file in host-independent octets; `link` 101 is raw IP, 1 Ethernet.
pub fn pcap(cases: &[Case], link: u32) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, link] {
        file.extend(u32::to_le_bytes(word));
    }
    for (index, case) in cases.iter().enumerate() {
        let ethertype: [u8; 2] = if case.packet[0] >> 4 == 6 { [0x86, 0xdd] } else { [0x08, 0x00] };
        let head = [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &ethertype].concat();
        let head = if link == 1 { &head[..] } else { &[] };
        let octets = (head.len() + case.packet.len()) as u32;
        for word in [1_795_231_000 + index as u32, 0, octets, octets] {
            file.extend(word.to_le_bytes());
        }
        file.extend(head);
        file.extend(&case.packet);
    }
    file
}

/// What must be printed for all.
pub fn expected(cases: &[Case]) -> String {
    cases.iter().enumerate().map(|(index, case)| line(index + 1, case)).collect()
}

#[test]
fn files_are_up_to_date() {
    let cases = cases();
    assert!(cases.len() >= 40);
    let files = [
        ("null-esp.pcap", pcap(&cases, 101)),
        ("null-esp.expect.jsonl", expected(&cases).into_bytes()),
        ("null-esp.txt", TEXT.into()),
        ("null-esp.gateway.toml", TOML.into()),
    ];
    for (name, content) in files {
        let path = ffi("examples").join(name);
        if std::env::var_os("UPDATE_CAPTURE").is_some() {
            fs::write(&path, &content).expect("write");
        }
        assert!(
            fs::read(&path).is_ok_and(|found| found == content),
            "examples/{name} is stale: UPDATE_CAPTURE=1"
        );
    }
}
