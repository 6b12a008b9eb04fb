//! Every packet of real captures whose SA has keys opens, and holds the inner packet that
//! `*.expect.jsonl` names. Runs over `samples/`, and over the directory in `ESPIAL_CAPTURES`
//! too, if that is set. Cuts packets by itself, so that it shares nothing with the pipeline.

use std::collections::HashMap;
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use espial::headers::Ipsec;
use espial::sad::SaMode;
use espial::verdict::Reason;
use espial_cli::capture::tcp::{Content, Reassembler, Side};
use espial_cli::capture::{Capture, CapturePacket};
use espial_cli::config::{GatewayConfig, SaConfig};
use espial_cli::open::{Opened, Opener};
use serde_json::Value;

/// Where ESP or AH starts in an IP packet that ends at `end`.
struct Found {
    src: IpAddr,
    dst: IpAddr,
    ipsec: Ipsec,
    offset: usize,
    end: usize,
}

fn addresses(ip: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let v4 = |at: usize| Some(Ipv4Addr::from(*ip.get(at..)?.first_chunk::<4>()?).into());
    let v6 = |at: usize| Some(Ipv6Addr::from(*ip.get(at..)?.first_chunk::<16>()?).into());
    match ip.first()? >> 4 {
        4 => Some((v4(12)?, v4(16)?)),
        6 => Some((v6(8)?, v6(24)?)),
        _ => None,
    }
}

fn u16_at(octets: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_be_bytes(*octets.get(at..)?.first_chunk()?).into())
}

fn find(ip: &[u8]) -> Option<Found> {
    let (src, dst) = addresses(ip)?;
    let (mut kind, mut offset, mut end) = if src.is_ipv4() {
        if u16_at(ip, 6)? & 0x3fff != 0 {
            return None;
        }
        (ip[9], usize::from(ip[0] & 15) * 4, u16_at(ip, 2)?)
    } else {
        (ip[6], 40, 40 + u16_at(ip, 4)?)
    };
    while src.is_ipv6() && matches!(kind, 0 | 43 | 60) {
        kind = *ip.get(offset)?;
        offset += (usize::from(*ip.get(offset + 1)?) + 1) * 8;
    }
    if kind == 17 && u16_at(ip, offset + 2)? == 4500 {
        end = offset + u16_at(ip, offset + 4)?;
        offset += 8;
        kind = 50;
        if end - offset < 8 || ip.get(offset..offset + 4)? == [0; 4] {
            return None;
        }
    }
    let ipsec = match kind {
        50 => Ipsec::Esp,
        51 => Ipsec::Ah,
        _ => return None,
    };
    (offset <= end && end <= ip.len()).then_some(Found { src, dst, ipsec, offset, end })
}

/// Packets of the kernel's matrix that the lab sent with an ICV of zeros, though their rows name
/// a reason of the selector check.
const ICV_OF_ZEROS: (&str, [u64; 2]) = ("kernel-matrix-strict", [468, 994]);

/// The addresses of the inner packet.
fn inner(sa: &SaConfig, opened: &Opened, outer: (IpAddr, IpAddr)) -> Option<(IpAddr, IpAddr)> {
    match (sa.mode, opened.next_header) {
        (SaMode::Tunnel, 4) => addresses(&opened.payload).filter(|(src, _)| src.is_ipv4()),
        (SaMode::Tunnel, 41) => addresses(&opened.payload).filter(|(src, _)| src.is_ipv6()),
        (SaMode::Tunnel, _) => None,
        (SaMode::Transport, _) => Some(outer),
    }
}

fn is_esp_frame(row: &Value) -> bool {
    row.get("frame").is_some() && row.get("class").is_some_and(|class| class == "esp")
}

fn expected(row: &Value) -> Option<(IpAddr, IpAddr)> {
    let inner = row.get("inner")?;
    let field = |name: &str| inner.get(name)?.as_str()?.parse().ok();
    Some((field("src")?, field("dst")?))
}

struct Tally {
    agree: usize,
    differ: Vec<String>,
    without_row: HashMap<&'static str, usize>,
}

fn run(config: &GatewayConfig, pcap: &Path, rows: &[Value]) -> Tally {
    let openers: Vec<_> = config.sas().map(|(_, _, sa)| (sa, Opener::new(sa))).collect();
    let sa_of = |ipsec, spi: u32, dst, time| {
        openers.iter().find(|(sa, _)| {
            let here = sa.dst.is_none_or(|own| own == dst);
            sa.ipsec == ipsec && sa.spi.0 == spi && here && sa.exists_at(time)
        })
    };
    let by_number = |key: &str| -> HashMap<u64, &Value> {
        rows.iter().filter_map(|row| Some((row.get(key)?.as_u64()?, row))).collect()
    };
    let (by_packet, by_frame) = (by_number("packet"), by_number("frame"));
    let mut tally = Tally { agree: 0, differ: Vec::new(), without_row: HashMap::new() };
    let mut note = |row: Option<&&Value>, got: Result<Option<(IpAddr, IpAddr)>, Reason>| {
        // The rows of frames do not name the inner packet.
        if row.is_some_and(|row| is_esp_frame(row)) && matches!(got, Ok(Some(_))) {
            tally.agree += 1;
            return;
        }
        match (row.and_then(|row| expected(row)), got) {
            (Some(expected), Ok(Some(got))) if expected == got => tally.agree += 1,
            (Some(_), got) => tally.differ.push(format!("{got:?} but {row:?}")),
            (None, Ok(_)) => *tally.without_row.entry("opened").or_default() += 1,
            (None, Err(reason)) => *tally.without_row.entry(reason.name()).or_default() += 1,
        }
    };
    let mut streams = Reassembler::new();
    let mut buffer = Vec::new();
    let mut frames = 0;
    for packet in Capture::new(File::open(pcap).unwrap()) {
        let CapturePacket { number, time, ip, truncated, .. } = packet.unwrap();
        let Some(ip) = ip.filter(|_| !truncated) else { continue };
        if let Some(delivery) = streams.push(number, &ip)
            && delivery.side == Side::Originator
        {
            let Content::Octets(octets) = delivery.content else { panic!("lost") };
            buffer.extend(octets);
            if frames == 0 && buffer.starts_with(b"IKETCP") {
                buffer.drain(..6);
            }
            while let Some(length) = u16_at(&buffer, 0).filter(|length| buffer.len() >= *length) {
                let frame: Vec<_> = buffer.drain(..length).skip(2).collect();
                frames += 1;
                if frame.starts_with(&[0; 4]) {
                    continue;
                }
                let spi = u32::from_be_bytes(*frame.first_chunk().unwrap());
                let outer = (delivery.flow.src.ip(), delivery.flow.dst.ip());
                let dst = outer.1;
                let Some((sa, Some(opener))) = sa_of(Ipsec::Esp, spi, dst, time) else { continue };
                let opened = opener.open_esp(&frame, sa.sequence_high);
                note(by_frame.get(&frames), opened.map(|opened| inner(sa, &opened, outer)));
            }
        }
        let Some(found) = find(&ip) else { continue };
        let Found { src, dst, ipsec, offset, end } = found;
        let spi_at = if ipsec == Ipsec::Esp { offset } else { offset + 4 };
        let Some(spi) = ip.get(spi_at..).and_then(|octets| octets.first_chunk()) else { continue };
        let sa = sa_of(ipsec, u32::from_be_bytes(*spi), dst, time);
        let Some((sa, Some(opener))) = sa else { continue };
        let opened = match ipsec {
            Ipsec::Esp => opener.open_esp(&ip[offset..end], sa.sequence_high),
            Ipsec::Ah => opener.open_ah(&ip, offset, sa.sequence_high),
        };
        note(by_packet.get(&number), opened.map(|opened| inner(sa, &opened, (src, dst))));
    }
    tally
}

fn directory(path: &Path) -> usize {
    let mut pcaps: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    pcaps.retain(|path| path.extension().is_some_and(|extension| extension == "pcap"));
    pcaps.sort();
    let mut differ = Vec::new();
    for pcap in &pcaps {
        let config = GatewayConfig::read(&pcap.with_extension("gateway.toml"));
        let config = config.unwrap_or_else(|error| panic!("{error}"));
        let rows = fs::read_to_string(pcap.with_extension("expect.jsonl")).unwrap();
        let mut rows: Vec<Value> =
            rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (name, without_icv) = ICV_OF_ZEROS;
        if pcap.file_stem().is_some_and(|stem| stem == name) {
            rows.retain(|row| without_icv.iter().all(|number| row["packet"] != *number));
        }
        let with_inner =
            rows.iter().filter(|row| expected(row).is_some() || is_esp_frame(row)).count();
        let tally = run(&config, pcap, &rows);
        println!(
            "{}: {} of {with_inner} agree; no row: {:?}",
            pcap.display(),
            tally.agree,
            tally.without_row
        );
        differ.extend(tally.differ.iter().map(|each| format!("{}: {each}", pcap.display())));
        if tally.agree + tally.differ.len() != with_inner {
            differ.push(format!("{}: not every row was met", pcap.display()));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    pcaps.len()
}

#[test]
fn samples_open() {
    assert!(directory(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/samples"))) > 0);
}

#[test]
fn further_captures_open() {
    if let Some(path) = std::env::var_os("ESPIAL_CAPTURES") {
        assert!(directory(Path::new(&path)) > 0);
    }
}
