//! Packets for cases that give only a part of one, as octets or as headers.

use espial::headers::{Endpoints, OuterHeaders, protocol};
use espial::verdict::Reason;
use espial::wire;

use super::case::Problem;

/// Outer addresses of cases that name none.
pub(super) const OUTER: Endpoints = Endpoints::V4 { src: 0xc633_6401, dst: 0xcb00_7101 };
/// The same in IPv6.
pub(super) const OUTER_V6: Endpoints = Endpoints::V6 {
    src: 0x2001_0db8_0000_0000_0000_0000_0000_0001,
    dst: 0x2001_0db8_0000_0000_0000_0000_0000_0002,
};

/// The headers of an ESP packet directly in IP that arrived with this SPI.
pub(super) fn esp_headers(endpoints: Endpoints, spi: u32) -> Result<OuterHeaders, Problem> {
    let headers = wire::esp(endpoints, &esp(spi, 1), 20);
    headers.map_err(|what| Problem(format!("an ESP header reads as {}", Reason::from(what).name())))
}

/// The SPI and the sequence number of an ESP packet, and nothing behind them.
pub(super) fn esp(spi: u32, sequence: u32) -> Vec<u8> {
    [spi.to_be_bytes(), sequence.to_be_bytes()].concat()
}

/// A UDP datagram without a checksum, or `None` if the payload is too long for one.
pub(super) fn udp(sport: u16, dport: u16, payload: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(payload.len().checked_add(8)?).ok()?;
    let header = [sport, dport, length, 0].map(u16::to_be_bytes);
    Some([header.as_flattened(), payload].concat())
}

/// An IP packet without options or checksum, or `None` if the body is too long for one.
pub(super) fn ip(endpoints: Endpoints, next: u8, body: &[u8]) -> Option<Vec<u8>> {
    let mut packet = Vec::with_capacity(40 + body.len());
    match endpoints {
        Endpoints::V4 { src, dst } => {
            let length = u16::try_from(body.len().checked_add(20)?).ok()?.to_be_bytes();
            packet.extend([0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, next, 0, 0]);
            packet.extend([src.to_be_bytes(), dst.to_be_bytes()].as_flattened());
        }
        Endpoints::V6 { src, dst } => {
            let length = u16::try_from(body.len()).ok()?.to_be_bytes();
            packet.extend([0x60, 0, 0, 0, length[0], length[1], next, 64]);
            packet.extend([src.to_be_bytes(), dst.to_be_bytes()].as_flattened());
        }
    }
    packet.extend(body);
    Some(packet)
}

/// An IP packet that holds an ESP packet without content.
pub(super) fn esp_in_ip(endpoints: Endpoints, spi: u32, sequence: u32) -> Vec<u8> {
    ip(endpoints, protocol::ESP, &esp(spi, sequence)).unwrap_or_default()
}
