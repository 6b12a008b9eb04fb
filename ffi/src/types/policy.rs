//! Selectors and policies without a gateway: matchers, SPDs, and the analysis of a configuration.

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
