//! Sessions that end on this gateway.

/// A connection by addresses, protocol and ports, as a packet of it says them.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_flow {
    /// ESPIAL_FAMILY_*, or 0 = no flow.
    pub family: u8,
    /// Next layer protocol.
    pub protocol: u8,
    /// Source port; 0 where the protocol has none.
    pub sport: u16,
    /// Destination port; 0 where the protocol has none.
    pub dport: u16,
    /// 0.
    pub reserved: u16,
    /// Source address, octets as on the wire; IPv4 in the first 4.
    pub src: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
}

/// How many sessions there may be, and for how long.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_session_limits {
    /// sizeof(espial_session_limits).
    pub size: u32,
    /// Sessions, at least 1.
    pub capacity: u32,
    /// How many of them only this gateway may start, so that a flood from outside leaves room for them, if what it
    /// answers is recorded as ESPIAL_SIDE_ANSWER; what is above the capacity counts as the capacity.
    pub own: u32,
    /// A session that was not matched for longer than these milliseconds is gone; 0 =
    /// ESPIAL_SESSION_TTL_MS.
    pub ttl_ms: u32,
}

/// A session as it is now.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_session {
    /// Its number: sessions are counted from 1, and from 1 again after 2^32. 0 = no session.
    pub serial: u32,
    /// ESPIAL_SIDE_LOCAL or ESPIAL_SIDE_REMOTE: who started it.
    pub origin: u8,
    /// 0.
    pub reserved: [u8; 3],
    /// Milliseconds since its first packet.
    pub duration_ms: u64,
    /// Milliseconds that it lives on without a match; at 0 the next one ends it.
    pub left_ms: u64,
    /// Addresses, protocol and ports, with this gateway as the source.
    pub flow: espial_flow,
}

/// A session that ended.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_session_end {
    /// Its number; 0 = none ended.
    pub serial: u32,
    /// ESPIAL_SIDE_LOCAL or ESPIAL_SIDE_REMOTE: who started it.
    pub origin: u8,
    /// 0.
    pub reserved: [u8; 3],
    /// Milliseconds since its last match.
    pub idle_ms: u64,
    /// Addresses, protocol and ports, with this gateway as the source.
    pub flow: espial_flow,
}
