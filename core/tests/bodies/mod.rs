//! Bodies of fuzz targets as plain functions: `cargo test` runs them on seeded input, libFuzzer on
//! its own (`fuzz/`). Each asserts agreement with something naive, not mere survival.
#![allow(dead_code, reason = "each user takes some of them")]

pub mod image;
pub mod model;

use espial::headers::{Outer, protocol};
use espial::selector::payload::TsPayload;
use espial::wire;

/// Choices read from octets; zero when they run out.
pub struct Choices<'a> {
    octets: &'a [u8],
}

impl<'a> Choices<'a> {
    pub fn new(octets: &'a [u8]) -> Self {
        Self { octets }
    }

    pub fn done(&self) -> bool {
        self.octets.is_empty()
    }

    pub fn octet(&mut self) -> u8 {
        match self.octets.split_first() {
            Some((first, rest)) => {
                self.octets = rest;
                *first
            }
            None => 0,
        }
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.octet()) % n.max(1)
    }
}

/// Outer parse: total, and everything it names lies in the packet.
pub fn outer(packet: &[u8]) {
    if let Ok(Outer::Ipsec(outer)) = wire::classify(packet) {
        let (offset, octets) = (outer.offset as usize, outer.octets as usize);
        let ipsec = &packet[offset..offset + octets];
        let at = if outer.is_esp() { 0 } else { 4 };
        assert_eq!(outer.spi.0.to_be_bytes(), ipsec[at..at + 4]);
        assert_eq!(outer.sequence.to_be_bytes(), ipsec[at + 4..at + 8]);
        // A packet cut right behind what was named is judged alike, but for the IP length.
        let _ = wire::classify(&packet[..offset + 8]);
    }
}

/// Inner parse: total; trailing octets (TFC padding) change nothing.
pub fn inner(packet: &[u8]) {
    let read = wire::inner(packet);
    let mut padded = packet.to_vec();
    padded.extend_from_slice(&[0xa5; 33]);
    if read.is_ok() {
        assert_eq!(wire::inner(&padded), read);
    }
    if let Ok(headers) = read {
        let version = packet[0] >> 4;
        let next_header = if version == 4 { protocol::IPV4 } else { protocol::IPV6 };
        assert_eq!(wire::inner_expecting(next_header, packet), read);
        assert!(wire::inner_expecting(protocol::TCP, packet).is_err());
        if let Some(about) = wire::icmp_enclosed(packet, &headers) {
            assert_eq!(about.endpoints.family(), headers.endpoints.family());
        }
        let _ = wire::transport(headers.endpoints, headers.protocol, packet);
    }
}

/// TS payload: what is read is written again to the same selectors.
pub fn ts_payload(body: &[u8]) {
    let Ok(payload) = TsPayload::parse(body) else { return };
    let read: Vec<_> = payload.iter().collect();
    assert!(read.len() <= 255);
    if read.is_empty() || read.iter().any(|ts| ts.validate().is_err()) {
        return;
    }
    let written = espial::selector::payload::write_to_vec(&read).unwrap();
    let again: Vec<_> = TsPayload::parse(&written).unwrap().iter().collect();
    assert_eq!(read, again);
}

/// The frames of a TCP stream do not depend on how it is split.
pub fn tcp_stream(octets: &[u8]) {
    let Some((split, stream)) = octets.split_first() else { return };
    let frames = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut deframer = wire::tcp_encap::Stream::from_initiator();
        let mut buffer = [0; 300];
        let mut frames = Vec::new();
        for mut piece in pieces {
            loop {
                match deframer.next_frame(&mut piece, &mut buffer) {
                    Ok(Some(frame)) => frames.push(frame.content.to_vec()),
                    Ok(None) => break,
                    Err(error) => return (frames, Some(error)),
                }
            }
        }
        (frames, None)
    };
    let whole = frames(&mut std::iter::once(stream));
    let pieces = frames(&mut stream.chunks(usize::from(*split).max(1)));
    assert_eq!(whole, pieces);
}
