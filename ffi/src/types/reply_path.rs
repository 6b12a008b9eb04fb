//! Where the answers of IKE over TCP leave.

use super::sessions::espial_flow;

/// An address.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_addr {
    /// ESPIAL_FAMILY_*.
    pub family: u8,
    /// 0.
    pub reserved: [u8; 3],
    /// Octets as on the wire; IPv4 in the first 4.
    pub addr: [u8; 16],
}

/// A policy route: what is sent from these addresses leaves by this interface.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_policy_route {
    /// The caller's number of the interface.
    pub output: u32,
    /// ESPIAL_FAMILY_*.
    pub family: u8,
    /// Bits of addr that count: host bits behind them do not, so 203.0.113.2 with 30 is 203.0.113.0 to 203.0.113.3.
    pub prefix_len: u8,
    /// 0.
    pub reserved: u16,
    /// Source addresses of what is sent.
    pub addr: [u8; 16],
}

/// How many connections there may be, for how long, and how large a configuration.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_reply_limits {
    /// sizeof(espial_reply_limits).
    pub size: u32,
    /// Connections, at least 1.
    pub capacity: u32,
    /// How many of them may be without a complete handshake; 0 = half of the capacity.
    pub half_open: u32,
    /// Addresses of this gateway at most.
    pub addresses: u32,
    /// Policy routes at most.
    pub routes: u32,
    /// Milliseconds that a connection is kept without a segment during the handshake; 0 = 20 000.
    pub half_open_ms: u32,
    /// After it; 0 = 3 600 000.
    pub established_ms: u32,
    /// Milliseconds that it is kept after FINs both ways, whether there are segments or not; 0 = 10 000.
    pub closed_ms: u32,
}

/// Which connections are IKE over TCP, and how they are answered.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_reply_config {
    /// sizeof(espial_reply_config).
    pub size: u32,
    /// The TCP port that IKE listens on.
    pub port: u16,
    /// ESPIAL_TCP_REPLY_*, but for ESPIAL_TCP_REPLY_UNKNOWN.
    pub mode: u8,
    /// 0.
    pub reserved: u8,
}

/// What counts of a TCP segment.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_segment {
    /// Addresses, protocol and ports as the packet says them.
    pub flow: espial_flow,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number; read if the ACK bit is set.
    pub ack: u32,
    /// Octets of data.
    pub payload_octets: u32,
    /// Control bits, the 14th octet of the TCP header.
    pub flags: u8,
    /// 0.
    pub reserved: [u8; 3],
}

/// What becomes of a segment, and where answers to it leave. All-zero memory is a drop.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_reply {
    /// ESPIAL_SEGMENT_*; the rest is 0 but for ESPIAL_SEGMENT_LEAVE.
    pub answer: u8,
    /// ESPIAL_CHOSEN_*.
    pub chosen: u8,
    /// 1 = the connection is recorded; 0 = there was no room, and its next segment finds none.
    pub recorded: u8,
    /// Control bits of the answer to a SYN: SYN and ACK; else 0.
    pub flags: u8,
    /// Where answers leave, the caller's number.
    pub interface: u32,
    /// Where the SYN of the connection came in: if that is another one, the peer's path does not see both ways.
    pub came_in: u32,
    /// Acknowledgement number of the answer to a SYN; else 0.
    pub ack: u32,
    /// Which of the policy routes, from 0, for ESPIAL_CHOSEN_POLICY_ROUTE; else 0.
    pub route: u32,
}

/// A connection that is kept.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_pin {
    /// Milliseconds since its last segment.
    pub idle_ms: u64,
    /// Where its SYN came in.
    pub interface: u32,
    /// 1 = its handshake is complete, 0 = it is not.
    pub established: u8,
    /// 0.
    pub reserved: [u8; 3],
    /// Addresses, protocol and ports, with this gateway as the source.
    pub flow: espial_flow,
}
