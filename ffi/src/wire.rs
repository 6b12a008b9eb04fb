//! What needs no gateway: what a packet is, IKE headers, bodies of notifications.
#![allow(unsafe_code, reason = "exported names")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract is ABI.md's; the comments here are C's"
)]

use espial::headers::{Outer, Spi};
use espial::verdict::Reason;
use espial::{notify, wire};

use crate::convert;
use crate::status::Status;
use crate::types::*;

/// What a packet that starts at its IP header is: ESP or AH and its headers, IKE, a NAT keepalive, other
/// traffic, or a drop with its reason.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_ERANGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_classify(
    octets: *const u8,
    len: usize,
    found: *mut espial_class,
) -> i32 {
    call!(|c| {
        let octets = c.slice(octets, len)?;
        let found = c.out(found)?;
        found.set(convert::class_codes(wire::classify(octets)));
        Ok(())
    })
}

/// What a UDP payload is, for a host that has taken IP and UDP apart. offset, the octets in front of the
/// payload, is handed through to espial_class.outer.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_ERANGE, ESPIAL_EVALUE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_classify_udp(
    endpoints: *const espial_endpoints,
    sport: u16,
    dport: u16,
    payload: *const u8,
    len: usize,
    offset: u32,
    found: *mut espial_class,
) -> i32 {
    call!(|c| {
        let endpoints = convert::endpoints(&c.read(endpoints)?)?;
        let payload = c.slice(payload, len)?;
        let found = c.out(found)?;
        let class = wire::classify_udp(endpoints, sport, dport, payload, offset);
        found.set(convert::class_codes(class));
        Ok(())
    })
}

/// What the content of one frame of a TCP stream is (espial_stream_next). The offset of the ESP packet
/// counts from the start of the content.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_ERANGE, ESPIAL_EVALUE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_classify_tcp_frame(
    endpoints: *const espial_endpoints,
    sport: u16,
    dport: u16,
    content: *const u8,
    len: usize,
    found: *mut espial_class,
) -> i32 {
    call!(|c| {
        let endpoints = convert::endpoints(&c.read(endpoints)?)?;
        let content = c.slice(content, len)?;
        let found = c.out(found)?;
        let class = wire::classify_tcp_frame(endpoints, sport, dport, content);
        found.set(convert::class_codes(class));
        Ok(())
    })
}

/// The headers of a packet that starts at its ESP or AH header, for a host that has taken IP apart. ipsec
/// is ESPIAL_IPSEC_*; offset, the octets in front of the header, is handed through.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_ERANGE, ESPIAL_EVALUE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_classify_ipsec(
    endpoints: *const espial_endpoints,
    ipsec: u32,
    octets: *const u8,
    len: usize,
    offset: u32,
    found: *mut espial_class,
) -> i32 {
    call!(|c| {
        let endpoints = convert::endpoints(&c.read(endpoints)?)?;
        let octets = c.slice(octets, len)?;
        let found = c.out(found)?;
        let headers = match convert::protocol(ipsec)? {
            espial::Ipsec::Esp => wire::esp(endpoints, octets, offset),
            espial::Ipsec::Ah => wire::ah(endpoints, octets, offset),
        };
        found.set(convert::class_codes(headers.map(Outer::Ipsec).map_err(Reason::from)));
        Ok(())
    })
}

/// The fixed header of an IKE message, which begins behind the non-ESP marker where there is one.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_ERANGE: fewer than 28 octets.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_ike_header(
    message: *const u8,
    len: usize,
    ike: *mut espial_ike,
) -> i32 {
    call!(|c| {
        let message = c.slice(message, len)?;
        let ike = c.out(ike)?;
        let header = wire::IkeHeader::parse(message).ok_or(Status(ESPIAL_ERANGE))?;
        ike.set(espial_ike {
            initiator_spi: header.initiator_spi,
            responder_spi: header.responder_spi,
            next_payload: header.next_payload,
            version: header.version,
            exchange_type: header.exchange_type,
            flags: header.flags,
            message_id: header.message_id,
            length: header.length,
            reserved: 0,
        });
        Ok(())
    })
}

/// The body of an INVALID_SPI notification from "Protocol ID" on (RFC 7296 section 3.10.1): 8 octets.
/// A hint for the key manager, which limits the rate.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_EROOM: room is below 8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_notify_invalid_spi(
    spi: u32,
    body: *mut u8,
    room: usize,
    written: *mut usize,
) -> i32 {
    call!(|c| {
        let body = c.slice_mut(body, room)?;
        let written = c.out(written)?;
        let octets = notify::invalid_spi(Spi(spi));
        let room = body.first_chunk_mut().ok_or(Status(ESPIAL_EROOM))?;
        *room = octets;
        written.set(octets.len());
        Ok(())
    })
}

/// The body of an INVALID_SELECTORS notification from "Protocol ID" on: the SPI of the SA that the packet
/// came on, then as much of the offending packet as there is room for. ipsec is ESPIAL_IPSEC_*.
///
/// Thread: any. body must not overlap the packet.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_ERANGE, ESPIAL_EVALUE; ESPIAL_EROOM: room is below 8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_notify_invalid_selectors(
    ipsec: u32,
    spi: u32,
    offending: *const u8,
    len: usize,
    body: *mut u8,
    room: usize,
    written: *mut usize,
) -> i32 {
    call!(|c| {
        let offending = c.slice(offending, len)?;
        let body = c.slice_mut(body, room)?;
        let written = c.out(written)?;
        let octets =
            notify::invalid_selectors(convert::protocol(ipsec)?, Spi(spi), offending, body);
        written.set(octets.ok_or(Status(ESPIAL_EROOM))?);
        Ok(())
    })
}
