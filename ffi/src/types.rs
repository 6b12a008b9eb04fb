//! What crosses the border: numbers and structs of fixed-width integers.
//!
//! Owns the layout; knows nothing of the core, so that the layout test can include it. Comments
//! here are the header's, in C terms.
//!
//! Invariants:
//! - I1: every struct is `repr(C)` of integers and raw pointers without hidden padding, so any
//!   content is a valid value.
//! - I2: a struct that may grow starts with `size`; the others, which stand in arrays, never grow.
//! - I3: no number here is ever given another meaning.
#![allow(non_camel_case_types, reason = "they are the names in C")]

/// Version of the header, major. Compare with espial_version() of the library at hand.
pub const ESPIAL_VERSION_MAJOR: u32 = 0;
/// Version of the header, minor.
pub const ESPIAL_VERSION_MINOR: u32 = 1;
/// Version of the header, patch.
pub const ESPIAL_VERSION_PATCH: u32 = 0;
/// Version of the binary interface, which is also the number in the SONAME. It changes only when
/// programs must be compiled again.
pub const ESPIAL_ABI_VERSION: u32 = 0;

/// Status: done.
pub const ESPIAL_OK: i32 = 0;
/// Status of espial_stream_next(): no whole frame yet, push more octets. Not an error.
pub const ESPIAL_MORE: i32 = 1;
/// Status: a pointer is NULL.
pub const ESPIAL_ENULL: i32 = 2;
/// Status: a pointer is not aligned for what it points to.
pub const ESPIAL_EALIGN: i32 = 3;
/// Status: the size field of a struct is not one that this library knows.
pub const ESPIAL_ESIZE: i32 = 4;
/// Status: a number names nothing: a family, mode, protocol, reason or reserved field.
pub const ESPIAL_EVALUE: i32 = 5;
/// Status: a count, length or capacity is above its limit, or zero where one is needed.
pub const ESPIAL_ERANGE: i32 = 6;
/// Status: the caller's memory or array is too small.
pub const ESPIAL_EROOM: i32 = 7;
/// Status: the allocator refused.
pub const ESPIAL_ENOMEM: i32 = 8;
/// Status: not a gateway, worker, matcher, SPD or SPD worker: never made, or released.
pub const ESPIAL_EHANDLE: i32 = 9;
/// Status: the worker index is taken, or the gateway or SPD still has workers.
pub const ESPIAL_EATTACHED: i32 = 10;
/// Status: the tunnel, Child SA or SA is gone.
pub const ESPIAL_ESTALE: i32 = 11;
/// Status: the capacity is reached.
pub const ESPIAL_EFULL: i32 = 12;
/// Status: room will come when every worker has been quiescent; try again.
pub const ESPIAL_EBUSY: i32 = 13;
/// Status: the tunnel still has Child SAs, or the Child SA still has SAs.
pub const ESPIAL_EINUSE: i32 = 14;
/// Status: a traffic selector is wrong in itself: reversed range, or ports without a protocol.
pub const ESPIAL_ESELECTOR: i32 = 15;
/// Status: no local selector goes with any remote one, or a policy has no selectors, so no packet could ever
/// match.
pub const ESPIAL_EEMPTY: i32 = 16;
/// Status: an SA key that cannot be: SPI 0, or a source without a destination.
pub const ESPIAL_EKEY: i32 = 17;
/// Status: an SA with this key exists, or a policy with this id.
pub const ESPIAL_EDUPLICATE: i32 = 18;
/// Status: both buckets of this key are full below the capacity: make the gateway anew with another
/// seed. Not expected at the load factor in use.
pub const ESPIAL_EBUCKET: i32 = 19;
/// Status: the Child SA was added but not published.
pub const ESPIAL_EUNPUBLISHED: i32 = 20;
/// Status: no SA has this key.
pub const ESPIAL_ENOTFOUND: i32 = 21;
/// Status: the TCP stream breaks RFC 9329; close the connection.
pub const ESPIAL_ESTREAM: i32 = 22;
/// Status: every SPI that could be given out was in use a short time ago; try again later.
pub const ESPIAL_EQUARANTINE: i32 = 23;
/// Status: the replay window is larger than espial_capacity.replay_window.
pub const ESPIAL_EWINDOW: i32 = 24;
/// Status: a gateway cannot grow like that.
pub const ESPIAL_EGROW: i32 = 25;
/// Status: not the words of a matcher or of an SPD: damaged, cut short, or compiled by a library of another format or on
/// a machine of the other byte order.
pub const ESPIAL_EWORDS: i32 = 26;
/// Status: the result would be larger than the limit given.
pub const ESPIAL_ELIMIT: i32 = 27;

/// Verdict: discard the packet. All-zero memory reads as this.
pub const ESPIAL_VERDICT_DROP: u8 = 0;
/// Verdict after opening: let the packet through.
pub const ESPIAL_VERDICT_ACCEPT: u8 = 1;
/// Verdict on arrival: not for this check; see espial_arrival.traffic.
pub const ESPIAL_VERDICT_PASS: u8 = 2;
/// Verdict on arrival: open it with the keys of espial_arrival.sa, then check what comes out.
pub const ESPIAL_VERDICT_OPEN: u8 = 3;

/// No reason: not a drop, or memory that nobody wrote.
pub const ESPIAL_DROP_NONE: u8 = 0;
/// No SA for this SPI (and destination and source); see espial_verdict.spi_class.
pub const ESPIAL_DROP_UNKNOWN_SPI: u8 = 1;
/// The SA's own selectors do not cover the packet, another Child SA's of the tunnel do.
pub const ESPIAL_DROP_WRONG_SA: u8 = 2;
/// No selector of the tunnel covers the packet.
pub const ESPIAL_DROP_NO_SELECTOR: u8 = 3;
/// A later fragment that only its missing ports keep from a selector (RFC 4301 section 7).
pub const ESPIAL_DROP_FRAGMENT_NO_PORTS: u8 = 4;
/// ESP or AH in a fragment: reassemble first.
pub const ESPIAL_DROP_OUTER_FRAGMENT: u8 = 5;
/// Known SA, but UDP or TCP encapsulation differs from the SA's.
pub const ESPIAL_DROP_WRONG_ENCAP: u8 = 6;
/// The integrity check failed (espial_worker_report).
pub const ESPIAL_DROP_AUTH_FAILED: u8 = 7;
/// The ESP padding is wrong (espial_worker_report).
pub const ESPIAL_DROP_BAD_PADDING: u8 = 8;
/// A replay, or left of the window: of the SA's own, or of the host's (espial_worker_report).
pub const ESPIAL_DROP_REPLAY: u8 = 9;
/// The host has no key or cipher for this SA (espial_worker_report).
pub const ESPIAL_DROP_NOT_OPENED: u8 = 10;
/// The SA's lifetime is over: its hard limit is reached, or the host says so (espial_worker_report).
pub const ESPIAL_DROP_SA_EXPIRED: u8 = 11;
/// A dummy packet, next header 59 (RFC 4303 section 2.6): counted, makes no event.
pub const ESPIAL_DROP_DUMMY: u8 = 12;
/// The IP version is neither 4 nor 6.
pub const ESPIAL_DROP_MALFORMED_IP_VERSION: u8 = 32;
/// The IP header is cut short or its length field is wrong.
pub const ESPIAL_DROP_MALFORMED_IP_HEADER: u8 = 33;
/// The IP length does not fit the octets that arrived.
pub const ESPIAL_DROP_MALFORMED_IP_LENGTH: u8 = 34;
/// An IPv6 extension header runs past the end.
pub const ESPIAL_DROP_MALFORMED_EXTENSION: u8 = 35;
/// Hop-by-hop options that do not come first.
pub const ESPIAL_DROP_MALFORMED_EXTENSION_ORDER: u8 = 36;
/// Too many extension headers, or too many octets of them.
pub const ESPIAL_DROP_MALFORMED_EXTENSION_LIMIT: u8 = 37;
/// A fragment that reaches past the largest IP packet.
pub const ESPIAL_DROP_MALFORMED_FRAGMENT: u8 = 38;
/// A UDP length that does not fit.
pub const ESPIAL_DROP_MALFORMED_UDP: u8 = 39;
/// Fewer octets than an SPI and a sequence number.
pub const ESPIAL_DROP_MALFORMED_ESP: u8 = 40;
/// An AH whose length field is wrong.
pub const ESPIAL_DROP_MALFORMED_AH: u8 = 41;
/// UDP 4500 that is neither keepalive, IKE nor ESP.
pub const ESPIAL_DROP_MALFORMED_NAT_T: u8 = 42;
/// A TCP stream that breaks RFC 9329.
pub const ESPIAL_DROP_MALFORMED_TCP_FRAME: u8 = 43;
/// The next header is not what the SA's mode or the inner IP version demands.
pub const ESPIAL_DROP_MALFORMED_NEXT_HEADER: u8 = 44;
/// Too short for ports, type or code.
pub const ESPIAL_DROP_MALFORMED_NEXT_LAYER: u8 = 45;
/// A Routing Header of type 0 with segments left (RFC 5095).
pub const ESPIAL_DROP_MALFORMED_ROUTING_HEADER: u8 = 46;
/// Length of espial_counts.drops; every reason is below it.
pub const ESPIAL_REASONS: usize = 64;

/// Traffic: nothing to say, or memory that nobody wrote.
pub const ESPIAL_TRAFFIC_NONE: u8 = 0;
/// Traffic: ESP or AH.
pub const ESPIAL_TRAFFIC_IPSEC: u8 = 1;
/// Traffic: IKE, for the key manager.
pub const ESPIAL_TRAFFIC_IKE: u8 = 2;
/// Traffic: a NAT keepalive, to be ignored.
pub const ESPIAL_TRAFFIC_NAT_KEEPALIVE: u8 = 3;
/// Traffic: anything else.
pub const ESPIAL_TRAFFIC_OTHER: u8 = 4;

/// SPI class: the reason is not ESPIAL_DROP_UNKNOWN_SPI.
pub const ESPIAL_SPI_CLASS_NONE: u8 = 0;
/// SPI class: nothing is known of it.
pub const ESPIAL_SPI_CLASS_NEVER_SEEN: u8 = 1;
/// SPI class: its SA was deleted deleted_ago_ms ago.
pub const ESPIAL_SPI_CLASS_RECENTLY_DELETED: u8 = 2;
/// SPI class: it has an SA at another destination or from another source.
pub const ESPIAL_SPI_CLASS_OTHER_DESTINATION: u8 = 3;
/// SPI class: reserved for an SA that is still being negotiated (espial_spi_reserve).
pub const ESPIAL_SPI_CLASS_LARVAL: u8 = 4;

/// Notice: the event is a drop, see espial_event.reason.
pub const ESPIAL_NOTICE_NONE: u8 = 0;
/// Notice: the SA has reached its soft limit in packets (RFC 4301 section 4.4.2.1): negotiate a new one.
/// No packet was dropped for it.
pub const ESPIAL_NOTICE_SOFT_PACKETS: u8 = 1;
/// Notice: its soft limit in octets.
pub const ESPIAL_NOTICE_SOFT_OCTETS: u8 = 2;
/// Notice: its soft limit in time.
pub const ESPIAL_NOTICE_SOFT_TIME: u8 = 3;

/// Due: no SA.
pub const ESPIAL_DUE_NONE: u32 = 0;
/// Due: the soft limit in time has passed: negotiate a new SA.
pub const ESPIAL_DUE_SOFT: u32 = 1;
/// Due: a hard limit, in time or another, is reached: delete the SA, its packets are dropped.
pub const ESPIAL_DUE_HARD: u32 = 2;

/// Field: none.
pub const ESPIAL_FIELD_NONE: u8 = 0;
/// Field: source address against the remote range.
pub const ESPIAL_FIELD_SRC: u8 = 1;
/// Field: destination address against the local range.
pub const ESPIAL_FIELD_DST: u8 = 2;
/// Field: next layer protocol.
pub const ESPIAL_FIELD_PROTO: u8 = 3;
/// Field: source port against the remote ports.
pub const ESPIAL_FIELD_SPORT: u8 = 4;
/// Field: destination port against the local ports.
pub const ESPIAL_FIELD_DPORT: u8 = 5;
/// Field: ICMP type and code.
pub const ESPIAL_FIELD_ICMP: u8 = 6;
/// Field: Mobility Header type.
pub const ESPIAL_FIELD_MH: u8 = 7;

/// Tunnel mode: the arriving SA's own selectors must cover the packet (RFC 4301 section 5.2).
pub const ESPIAL_MODE_STRICT_SA: u32 = 0;
/// Tunnel mode: any selector of the tunnel's Child SAs that have an SA. Gives up telling which SA
/// the peer should have used.
pub const ESPIAL_MODE_ANY_SELECTOR: u32 = 1;
/// Tunnel mode: the source address alone. Gives up destination, protocol and ports as well.
pub const ESPIAL_MODE_ANY_SOURCE: u32 = 2;
/// Tunnel mode: as strict-sa, and the first selector in configuration order that covers the packet
/// must belong to a Child SA with the same selectors.
pub const ESPIAL_MODE_ORDERED_SPD: u32 = 3;
/// Number of tunnel modes: the length of the shadow arrays of espial_counts.
pub const ESPIAL_MODES: usize = 4;

/// Address family: IPv4, in the first 4 octets of an address.
pub const ESPIAL_FAMILY_V4: u8 = 4;
/// Address family: IPv6.
pub const ESPIAL_FAMILY_V6: u8 = 6;
/// IPsec protocol: ESP.
pub const ESPIAL_IPSEC_ESP: u8 = 50;
/// IPsec protocol: AH.
pub const ESPIAL_IPSEC_AH: u8 = 51;
/// Encapsulation: directly in IP.
pub const ESPIAL_ENCAP_NONE: u8 = 0;
/// Encapsulation: UDP port 4500 (RFC 3948).
pub const ESPIAL_ENCAP_UDP: u8 = 1;
/// Encapsulation: a TCP stream (RFC 9329).
pub const ESPIAL_ENCAP_TCP: u8 = 2;
/// SA mode: the opened payload is an IP packet.
pub const ESPIAL_SA_TUNNEL: u8 = 1;
/// SA mode: the opened payload is the next layer of the packet that arrived.
pub const ESPIAL_SA_TRANSPORT: u8 = 2;
/// Scope of an SA key: the SPI alone.
pub const ESPIAL_SCOPE_SPI: u8 = 1;
/// Scope of an SA key: SPI and destination address.
pub const ESPIAL_SCOPE_DST: u8 = 2;
/// Scope of an SA key: SPI, destination and source address.
pub const ESPIAL_SCOPE_DST_SRC: u8 = 3;
/// Replay window: no packet was seen; with extended sequence numbers the first ones have the high half
/// replay_value.
pub const ESPIAL_REPLAY_START_HIGH: u8 = 0;
/// Replay window: replay_value was seen, and nothing of the window below it, so that such packets may
/// still come: state taken over from another node (espial_sa_state.top).
pub const ESPIAL_REPLAY_START_TOP: u8 = 1;
/// The largest replay window, in packets.
pub const ESPIAL_WINDOW_MAX: u32 = 4096;
/// Next layer of espial_inner: no value, because of the protocol or because it is a later fragment.
pub const ESPIAL_NEXT_LAYER_OPAQUE: u8 = 0;
/// Next layer: two ports.
pub const ESPIAL_NEXT_LAYER_PORTS: u8 = 1;
/// Next layer: sport holds ICMP type * 256 + code.
pub const ESPIAL_NEXT_LAYER_ICMP: u8 = 2;
/// Next layer: sport holds Mobility Header type * 256.
pub const ESPIAL_NEXT_LAYER_MOBILITY: u8 = 3;
/// Fragment of espial_inner: a whole packet.
pub const ESPIAL_FRAGMENT_NONE: u8 = 0;
/// Fragment: the first one.
pub const ESPIAL_FRAGMENT_FIRST: u8 = 1;
/// Fragment: a later one, without ports.
pub const ESPIAL_FRAGMENT_NON_INITIAL: u8 = 2;
/// Role of a TCP stream: from the side that opened the connection; it starts with "IKETCP".
pub const ESPIAL_STREAM_FROM_INITIATOR: u32 = 1;
/// Role of a TCP stream: towards the side that opened the connection.
pub const ESPIAL_STREAM_FROM_RESPONDER: u32 = 2;

/// Packets that a burst call takes at most.
pub const ESPIAL_BURST_MAX: usize = 64;
/// Traffic selectors that a Child SA has at most on one side (RFC 7296 section 3.13).
pub const ESPIAL_TS_MAX: usize = 255;
/// Answer of a matcher: no selector.
pub const ESPIAL_MATCHER_NONE: u32 = 0xffff_ffff;
/// Place in an SPD's answer: no policy covers the packet.
pub const ESPIAL_SPD_NONE: u32 = 0xffff_ffff;

/// Action: the packet may not cross the boundary (RFC 4301 section 4.4.1). All-zero memory reads as this.
pub const ESPIAL_ACTION_DISCARD: u8 = 0;
/// Action: it crosses without IPsec.
pub const ESPIAL_ACTION_BYPASS: u8 = 1;
/// Action: it crosses on an SA only.
pub const ESPIAL_ACTION_PROTECT: u8 = 2;
/// Direction of an SPD: towards the protected side; a packet's source is the remote side (SPD-I).
pub const ESPIAL_DIRECTION_INBOUND: u32 = 0;
/// Direction of an SPD: away from it; a packet's source is the local side (SPD-O, SPD-S).
pub const ESPIAL_DIRECTION_OUTBOUND: u32 = 1;
/// Order of policies: as in the array. Priorities are not looked at.
pub const ESPIAL_ORDER_PLACED: u32 = 0;
/// Order of policies: the highest priority first; of equal ones that which is later in the array.
pub const ESPIAL_ORDER_HIGHEST_FIRST: u32 = 1;
/// Order of policies: the lowest priority first; of equal ones that which is earlier in the array.
pub const ESPIAL_ORDER_LOWEST_FIRST: u32 = 2;
/// Order of policies: all PROTECT, then all BYPASS, then all DISCARD; in each as
/// ESPIAL_ORDER_HIGHEST_FIRST.
pub const ESPIAL_ORDER_PROTECT_FIRST: u32 = 3;

/// Hidden: no packet can match it: one side wants values that are not to be seen, the other some that are.
pub const ESPIAL_HIDDEN_NO_PACKET: u32 = 1;
/// Hidden: one earlier selector covers all of it; the first that does is named.
pub const ESPIAL_HIDDEN_SHADOWED: u32 = 2;
/// Hidden: no single one, but earlier selectors together cover all of it; some that do are named, not always the
/// fewest.
pub const ESPIAL_HIDDEN_UNREACHABLE: u32 = 3;
/// Hidden or not: the work ended before it was known.
pub const ESPIAL_HIDDEN_UNDECIDED: u32 = 4;

/// A handle to a tunnel (IKE SA). All zero is none; a stale one is found out.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_tunnel {
    /// Below espial_capacity.tunnels.
    pub index: u32,
    /// Odd for every handle that was ever given out.
    pub generation: u32,
}

/// A handle to a Child SA. All zero is none; a stale one is found out.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_child {
    /// Below espial_capacity.children.
    pub index: u32,
    /// Odd for every handle that was ever given out.
    pub generation: u32,
}

/// The bits of espial_sa.slot that are the index of the SA. It is good for an array of your own, such as
/// keys: sa.slot & ESPIAL_SA_INDEX.
pub const ESPIAL_SA_INDEX: u32 = 0x00ff_ffff;
const _: () = assert!(ESPIAL_SA_INDEX == (1 << espial::SaId::INDEX_BITS) - 1);

/// A handle to an SA. All zero is none; a stale one is found out.
///
/// A stale one is taken for another SA only if that one has the same index, SPI and protocol and is the
/// seventh (or fourteenth, ...) since that had the index; each of these takes a quiescent state of
/// every worker.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_sa {
    /// Index in the low 24 bits (ESPIAL_SA_INDEX); what the other bits are may change. The index is below S + A, where A is espial_capacity.sas_allocated
    /// and S the sum of the other SA capacities and an eighth of it, that eighth being at least 1 and at
    /// most 64 (if the sum is not 0). It stays the same when the gateway grows; new SAs may then have
    /// indexes up to the S + A of the new capacity.
    pub slot: u32,
    /// The SPI of the SA, host byte order; 0 is none.
    pub spi: u32,
}

/// How much a gateway can hold. Fixed when it is made, but for SAs: espial_gateway_grow().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_capacity {
    /// sizeof(espial_capacity).
    pub size: u32,
    /// Tunnels (IKE SAs), at least 1.
    pub tunnels: u32,
    /// Child SAs over all tunnels, at least 1.
    pub children: u32,
    /// Selectors over all Child SAs: pairs of a local and a remote one. At least 1.
    pub selectors: u32,
    /// SAs that are found by SPI alone.
    pub sas: u32,
    /// SAs that are found by SPI and destination.
    pub sas_dst: u32,
    /// SAs that are found by SPI, destination and source.
    pub sas_dst_src: u32,
    /// Threads that judge packets at the same time, at least 1.
    pub workers: u32,
    /// SAs whose SPIs this gateway chooses (espial_spi_reserve): those that live, are larval, or were
    /// deleted so short a time ago that their SPIs are not used again yet.
    pub sas_allocated: u32,
    /// The largest replay window of an SA, in packets, up to ESPIAL_WINDOW_MAX: each SA has room for one.
    /// 0 = none.
    pub replay_window: u32,
}

/// A traffic selector of one side, as in a TS payload (RFC 7296 section 3.13.1).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_ts {
    /// ESPIAL_FAMILY_*.
    pub family: u8,
    /// Next layer protocol; 0 = any.
    pub protocol: u8,
    /// First port, ICMP type * 256 + code, or Mobility Header type * 256; host byte order.
    pub port_lo: u16,
    /// Last one. 0 to 65535 is any, 65535 to 0 is OPAQUE.
    pub port_hi: u16,
    /// 0.
    pub reserved: u16,
    /// First address, octets as on the wire; IPv4 in the first 4.
    pub addr_lo: [u8; 16],
    /// Last address.
    pub addr_hi: [u8; 16],
}

/// One local and one remote selector taken together, as inbound packets are compared with it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_selector {
    /// ESPIAL_FAMILY_*, or 0 = no selector.
    pub family: u8,
    /// Next layer protocol; 0 = any.
    pub protocol: u8,
    /// First source port, or the one value of ICMP and Mobility Header.
    pub remote_port_lo: u16,
    /// Last source port.
    pub remote_port_hi: u16,
    /// First destination port.
    pub local_port_lo: u16,
    /// Last destination port.
    pub local_port_hi: u16,
    /// 0.
    pub reserved: u16,
    /// First source address.
    pub remote_lo: [u8; 16],
    /// Last source address.
    pub remote_hi: [u8; 16],
    /// First destination address.
    pub local_lo: [u8; 16],
    /// Last destination address.
    pub local_hi: [u8; 16],
}

/// A policy (RFC 4301 section 4.4.1): which packets, and what becomes of them.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_policy {
    /// Where it stands among others, as ESPIAL_ORDER_* says; any value.
    pub priority: i64,
    /// The caller's number for it: any value, once in a list.
    pub id: u32,
    /// Index of its first selector in the array of selectors.
    pub first: u32,
    /// Its selectors, at least 1: a packet is the policy's if any of them covers it.
    pub count: u32,
    /// ESPIAL_ACTION_*.
    pub action: u8,
    /// 0.
    pub reserved: [u8; 3],
}

/// What an SPD says of a packet, or a policy as packets know it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_spd_answer {
    /// The first policy that covers the packet; 0 if none does.
    pub id: u32,
    /// Its place in the order, from 0; ESPIAL_SPD_NONE = none covers it.
    pub place: u32,
    /// ESPIAL_ACTION_*; ESPIAL_ACTION_DISCARD if none covers it.
    pub action: u8,
    /// 0.
    pub reserved: [u8; 3],
}

/// A part of a policy's packets, disjoint from every other entry (RFC 4301 appendix B): an espial_selector
/// but for a range of protocols.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_disjoint {
    /// The policy that it is part of.
    pub id: u32,
    /// ESPIAL_ACTION_* of that policy.
    pub action: u8,
    /// ESPIAL_FAMILY_*.
    pub family: u8,
    /// First next layer protocol; here 0 is the protocol 0.
    pub protocol_lo: u8,
    /// Last one; 0 to 255 is any. With more than one, all ports are any.
    pub protocol_hi: u8,
    /// First remote port, or the one value of ICMP and Mobility Header inbound.
    pub remote_port_lo: u16,
    /// Last remote port. 0 to 65535 is any, 65535 to 0 is OPAQUE.
    pub remote_port_hi: u16,
    /// First local port, or the one value outbound.
    pub local_port_lo: u16,
    /// Last local port.
    pub local_port_hi: u16,
    /// First remote address.
    pub remote_lo: [u8; 16],
    /// Last remote address.
    pub remote_hi: [u8; 16],
    /// First local address.
    pub local_lo: [u8; 16],
    /// Last local address.
    pub local_hi: [u8; 16],
}

/// A Child SA to be analysed: its selectors are parts of an array of espial_ts.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_child_ts {
    /// Which tunnel it is of, in the caller's numbers.
    pub tunnel: u32,
    /// Index of its first local selector.
    pub local_first: u32,
    /// Its local selectors.
    pub local_count: u32,
    /// Index of its first remote selector.
    pub remote_first: u32,
    /// Its remote selectors.
    pub remote_count: u32,
}

/// A local and a remote selector of a Child SA, taken together.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_box {
    /// Index of the Child SA.
    pub child: u32,
    /// What it covers.
    pub selector: espial_selector,
}

/// Two Child SAs cover one packet (RFC 7296 section 2.9.1).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_overlap {
    /// Index of a box, as espial_analysis_boxes_alloc() counts them.
    pub first: u32,
    /// Index of a later box, of another Child SA.
    pub second: u32,
    /// Index of the Child SA of the first.
    pub first_child: u32,
    /// Index of the Child SA of the second.
    pub second_child: u32,
    /// The packets of both.
    pub both: espial_selector,
}

/// A selector that is never the first to cover a packet.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_hidden {
    /// Its place in the list, from 0.
    pub index: u32,
    /// ESPIAL_HIDDEN_*.
    pub why: u32,
    /// Where in the array by the places of those that hide it start.
    pub by_first: u32,
    /// How many of them are named.
    pub by_count: u32,
}

/// One prefix in place of several selectors of a side.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_supernet {
    /// How many addresses it admits that no selector did, bits 64 to 127.
    pub extra_high: u64,
    /// Bits 0 to 63 of that number.
    pub extra_low: u64,
    /// Different ranges that it takes the place of.
    pub ranges: u32,
    /// ESPIAL_FAMILY_*.
    pub family: u8,
    /// Its length in bits.
    pub prefix_len: u8,
    /// 0.
    pub reserved: u16,
    /// Its first address, octets as on the wire; IPv4 in the first 4.
    pub addr: [u8; 16],
}

/// What an SA is found by.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_sa_key {
    /// The SPI, host byte order.
    pub spi: u32,
    /// ESPIAL_IPSEC_*.
    pub ipsec: u8,
    /// ESPIAL_SCOPE_*. Of several keys that fit a packet the longest wins.
    pub scope: u8,
    /// ESPIAL_FAMILY_* of the addresses; 0 with ESPIAL_SCOPE_SPI.
    pub family: u8,
    /// 0.
    pub reserved: u8,
    /// Outer destination, if it is in the scope.
    pub dst: [u8; 16],
    /// Outer source, if it is in the scope.
    pub src: [u8; 16],
}

/// What an SA is, beside its selectors.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_sa_params {
    /// sizeof(espial_sa_params).
    pub size: u32,
    /// ESPIAL_SA_*.
    pub mode: u8,
    /// ESPIAL_ENCAP_*: what its packets must come in.
    pub encap: u8,
    /// 0.
    pub reserved: u16,
    /// What it is found by.
    pub key: espial_sa_key,
    /// Packets that its replay window holds (RFC 4303 section 3.4.3), at most
    /// espial_capacity.replay_window; 0 = the host looks for replays, or nobody.
    pub replay_window: u32,
    /// 1 = extended sequence numbers (RFC 4303 section 2.2.1), 0 = none.
    pub esn: u8,
    /// ESPIAL_REPLAY_START_*: where the window starts.
    pub replay_start: u8,
    /// 0.
    pub replay_reserved: u16,
    /// The high half (at most 2^32 - 1) or the number that replay_start speaks of.
    pub replay_value: u64,
    /// Soft limit, of which one event tells (ESPIAL_NOTICE_*): authentic packets. 0 = none; so in all
    /// limits.
    pub soft_packets: u64,
    /// Soft limit: octets of authentic packets, as they are handed in to be checked.
    pub soft_octets: u64,
    /// Soft limit: a time on the caller's clock, in milliseconds.
    pub soft_ms: u64,
    /// Hard limit, behind which packets are dropped as ESPIAL_DROP_SA_EXPIRED: authentic packets.
    pub hard_packets: u64,
    /// Hard limit: octets.
    pub hard_octets: u64,
    /// Hard limit: a time.
    pub hard_ms: u64,
}

/// What an SA has seen so far: what another node needs to take it over.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_sa_state {
    /// sizeof(espial_sa_state).
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// The highest sequence number seen in an authentic packet, for ESPIAL_REPLAY_START_TOP; 0 without
    /// a replay window, extended sequence numbers or limits.
    pub top: u64,
    /// Packets counted against the limits; 0 without limits in packets or octets.
    pub packets: u64,
    /// Octets counted against the limits.
    pub octets: u64,
}

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
}

/// Counts of an SA, of a tunnel or of the whole gateway.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_counts {
    /// sizeof(espial_counts).
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// Accepted packets.
    pub packets: u64,
    /// Octets of the accepted packets, as they were handed in to be checked.
    pub octets: u64,
    /// Dropped packets.
    pub dropped: u64,
    /// Packets not for this check: IKE, keepalives, other traffic. Whole gateway only.
    pub passed: u64,
    /// Events that the budget or a full queue suppressed. Whole gateway only.
    pub events_suppressed: u64,
    /// Dropped packets by ESPIAL_DROP_*.
    pub drops: [u64; ESPIAL_REASONS],
    /// Packets that a mode, asked as a shadow, would have accepted; by ESPIAL_MODE_*.
    pub shadow_accepts: [u64; ESPIAL_MODES],
    /// Packets that a mode, asked as a shadow, would have dropped; by ESPIAL_MODE_*.
    pub shadow_drops: [u64; ESPIAL_MODES],
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
