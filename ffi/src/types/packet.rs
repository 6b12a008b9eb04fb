//! Packets, what is read of them and what is said of them.

use super::gateway::{espial_child, espial_sa, espial_tunnel};
use super::policy::espial_selector;

/// Two addresses of one family.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_endpoints {
    /// ESPIAL_FAMILY_*.
    pub family: u8,
    /// 0.
    pub reserved: [u8; 3],
    /// Source address, octets as on the wire; IPv4 in the first 4.
    pub src: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
}

/// The headers of a packet before it is opened. Numbers in host byte order.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_outer {
    /// ESPIAL_FAMILY_*, or 0 = no headers.
    pub family: u8,
    /// ESPIAL_IPSEC_*.
    pub ipsec: u8,
    /// ESPIAL_ENCAP_*.
    pub encap: u8,
    /// 0.
    pub reserved: u8,
    /// The SPI. 0 is never sent, and no SA answers to it.
    pub spi: u32,
    /// The 32 bits of the sequence number that are on the wire.
    pub sequence: u32,
    /// Its high half if the SA has extended sequence numbers, which goes into the integrity check:
    /// guessed when the packet arrives, before it is opened. Else 0.
    pub sequence_high: u32,
    /// Source port of the encapsulation; 0 without one.
    pub sport: u16,
    /// Destination port of the encapsulation; 0 without one.
    pub dport: u16,
    /// Octets from the start of the packet to the ESP or AH header.
    pub offset: u32,
    /// Octets of the ESP packet, or of the AH header and what follows it. Link padding is not in it.
    pub octets: u32,
    /// Flow label of the outer IPv6 header; 0 for IPv4.
    pub flow_label: u32,
    /// Source address, octets as on the wire; IPv4 in the first 4.
    pub src: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
}

/// The headers of an opened packet that selectors are compared with.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_inner {
    /// ESPIAL_FAMILY_*, or 0 = no headers.
    pub family: u8,
    /// Next layer protocol, behind IPv6 extension headers.
    pub protocol: u8,
    /// ESPIAL_NEXT_LAYER_*: what sport and dport hold.
    pub next_layer: u8,
    /// ESPIAL_FRAGMENT_*.
    pub fragment: u8,
    /// Source port, or the one value of ICMP and Mobility Header; host byte order.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Source address, octets as on the wire; IPv4 in the first 4.
    pub src: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
}

/// What espial_worker_check_plain_headers() says of a packet. All zero is a drop.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_plain_verdict {
    /// ESPIAL_VERDICT_ACCEPT or ESPIAL_VERDICT_DROP.
    pub verdict: u8,
    /// ESPIAL_DROP_*; ESPIAL_DROP_NONE of an accepted one.
    pub reason: u8,
}

/// A packet that starts at its IP header. Not kept after the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_packet {
    /// Its octets; NULL if there are none.
    pub octets: *const u8,
    /// How many there are; more than the IP length says is link padding.
    pub len: usize,
}

/// What a packet is before any table is asked.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_class {
    /// ESPIAL_TRAFFIC_*; 0 = discard it for the reason.
    pub traffic: u8,
    /// ESPIAL_DROP_*.
    pub reason: u8,
    /// 0.
    pub reserved: u16,
    /// The headers, for ESPIAL_TRAFFIC_IPSEC.
    pub outer: espial_outer,
}

/// What became of a packet before it is opened.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_arrival {
    /// ESPIAL_VERDICT_DROP, ESPIAL_VERDICT_PASS or ESPIAL_VERDICT_OPEN.
    pub verdict: u8,
    /// ESPIAL_DROP_*, for a drop.
    pub reason: u8,
    /// ESPIAL_TRAFFIC_*; 0 for a drop.
    pub traffic: u8,
    /// ESPIAL_SPI_CLASS_*, for ESPIAL_DROP_UNKNOWN_SPI.
    pub spi_class: u8,
    /// For ESPIAL_SPI_CLASS_RECENTLY_DELETED.
    pub deleted_ago_ms: u32,
    /// The SA to open it with, for ESPIAL_VERDICT_OPEN.
    pub sa: espial_sa,
    /// The headers, for ESPIAL_VERDICT_OPEN.
    pub outer: espial_outer,
}

/// A packet that the host has opened. Not kept after the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_opened {
    /// The outer headers: espial_arrival.outer of the same packet.
    pub outer: *const espial_outer,
    /// Tunnel mode: the inner packet, with TFC padding or without. Transport mode: what follows ESP
    /// or AH. NULL if there is nothing.
    pub payload: *const u8,
    /// Octets of the payload.
    pub len: usize,
    /// The SA: espial_arrival.sa of the same packet.
    pub sa: espial_sa,
    /// The last octet of the ESP trailer, or the AH's next header.
    pub next_header: u8,
    /// 0.
    pub reserved: [u8; 7],
}

/// The answer of the inbound check. All-zero memory is a drop.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_verdict {
    /// ESPIAL_VERDICT_DROP or ESPIAL_VERDICT_ACCEPT.
    pub verdict: u8,
    /// ESPIAL_DROP_*, for a drop.
    pub reason: u8,
    /// ESPIAL_FIELD_*: for ESPIAL_DROP_WRONG_SA the first failing field of the arriving SA's selector
    /// that fails latest, for ESPIAL_DROP_NO_SELECTOR the same over the tunnel's selectors.
    pub field: u8,
    /// ESPIAL_SPI_CLASS_*, for ESPIAL_DROP_UNKNOWN_SPI: the SA was deleted meanwhile.
    pub spi_class: u8,
    /// Shadow modes that were asked: bit 1 << ESPIAL_MODE_*.
    pub shadow_asked: u8,
    /// Those of them that would have accepted the packet.
    pub shadow_accepts: u8,
    /// 0.
    pub reserved: u16,
    /// For ESPIAL_SPI_CLASS_RECENTLY_DELETED.
    pub deleted_ago_ms: u32,
    /// Position of the selector that field speaks of, from 0.
    pub nearest_index: u32,
    /// The tunnel of the SA; none if the SA is gone.
    pub tunnel: espial_tunnel,
    /// The Child SA of the SA; none if the SA is gone.
    pub child: espial_child,
    /// For an accept the Child SA whose selectors cover the packet; for ESPIAL_DROP_WRONG_SA the one
    /// of the same tunnel that the packet belongs to; else none.
    pub belongs_to: espial_child,
}

/// An auditable event: a packet was dropped (RFC 4301 section 5.2), or an SA has reached a soft limit.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_event {
    /// sizeof(espial_event), in the first element of the array at least.
    pub size: u32,
    /// The caller's number of the interface.
    pub interface: u32,
    /// When, on the caller's clock.
    pub time_ms: u64,
    /// ESPIAL_DROP_*; 0 for a notice.
    pub reason: u8,
    /// ESPIAL_FIELD_*.
    pub field: u8,
    /// ESPIAL_SPI_CLASS_*.
    pub spi_class: u8,
    /// ESPIAL_NOTICE_*: what is told if no packet was dropped.
    pub notice: u8,
    /// Events of the same kind that were suppressed since the last one that was not.
    pub suppressed: u32,
    /// For ESPIAL_SPI_CLASS_RECENTLY_DELETED.
    pub deleted_ago_ms: u32,
    /// Position of nearest, from 0.
    pub nearest_index: u32,
    /// The SA it came on, or none.
    pub sa: espial_sa,
    /// Tunnel of that SA, or none.
    pub tunnel: espial_tunnel,
    /// Child SA of that SA, or none.
    pub child: espial_child,
    /// The Child SA that the packet belongs to, or none.
    pub belongs_to: espial_child,
    /// The packet's outer headers; family 0 if it had none.
    pub outer: espial_outer,
    /// The packet's inner headers; family 0 if they could not be read.
    pub inner: espial_inner,
    /// The selector that field speaks of; family 0 = none.
    pub nearest: espial_selector,
    /// 0.
    pub reserved: u32,
    /// Events of the same reason from the same part of the network (/24 of IPv4, /48 of IPv6) that were suppressed
    /// since the last one that was not, as far as it is remembered; a part of suppressed.
    pub suppressed_of_source: u32,
    /// 0.
    pub reserved_more: u32,
}

/// The fixed header of an IKE message (RFC 7296 section 3.1). Not authenticated, not checked.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_ike {
    /// The initiator's SPI of the IKE SA.
    pub initiator_spi: u64,
    /// The responder's SPI; 0 in the first message.
    pub responder_spi: u64,
    /// Type of the first payload.
    pub next_payload: u8,
    /// Major version * 16 + minor version.
    pub version: u8,
    /// Exchange type.
    pub exchange_type: u8,
    /// Flags.
    pub flags: u8,
    /// Message ID.
    pub message_id: u32,
    /// Octets of the whole message as the sender says.
    pub length: u32,
    /// 0.
    pub reserved: u32,
}

/// One direction of a TCP connection that carries IKE and ESP (RFC 9329). The library's, to be
/// looked at by nobody; lives where the caller puts it, and may be moved.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_stream {
    /// State.
    pub state: [u64; 8],
}

/// One frame of a TCP stream.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_frame {
    /// Which frame of the stream this is; the first is 1.
    pub number: u64,
    /// Octets of the stream in front of its length field.
    pub stream_offset: u64,
    /// What follows the length field, for espial_classify_tcp_frame(): in the octets that were
    /// pushed or in the buffer, and valid until either is changed.
    pub content: *const u8,
    /// Octets of the content.
    pub len: usize,
}
