//! All that the tables know, as octets for another node.

use super::gateway::espial_sa_key;
use super::passthrough::espial_passthrough_packet;
use super::sessions::espial_flow;

/// A snapshot that is being written. The library's, to be looked at by nobody: it holds the key. Lives where the
/// caller puts it, and may be moved.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_snapshot_writer {
    /// State.
    pub state: [u64; 8],
}

/// A snapshot that is being read, and the record that was read last. As espial_snapshot_writer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_snapshot_reader {
    /// State.
    pub state: [u64; 32],
}

/// How far a table was gone through. All zero: not begun.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_snapshot_pass {
    /// The slot that is next.
    pub next: u32,
    /// Entries of the table that had moved when the pass began.
    pub moved: u32,
    /// ESPIAL_SNAPSHOT_*, added up.
    pub flags: u32,
}

/// What a record is about: enough to choose the table that it is restored to. What is not of its kind is 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_record {
    /// sizeof(espial_record).
    pub size: u32,
    /// ESPIAL_RECORD_*.
    pub kind: u8,
    /// Session: ESPIAL_SIDE_LOCAL or ESPIAL_SIDE_REMOTE, who started it.
    pub origin: u8,
    /// Flow: ESPIAL_PASS_BY_*, who admitted it on the node that wrote this.
    pub by: u8,
    /// 0.
    pub reserved: u8,
    /// Pin: where the SYN came in, in the numbers of the node that wrote this.
    pub interface: u32,
    /// Flow: the rule, for ESPIAL_PASS_BY_RULE.
    pub rule: u32,
    /// SA: the name of its Child SA.
    pub child: u64,
    /// Session, flow: milliseconds since it began.
    pub age_ms: u64,
    /// Session, pin, flow: milliseconds since its last packet.
    pub idle_ms: u64,
    /// SA: what it is found by.
    pub key: espial_sa_key,
    /// Session, pin: addresses, protocol and ports, with the gateway as the source.
    pub flow: espial_flow,
    /// Flow: a packet of it, for espial_passthrough_worker_of().
    pub packet: espial_passthrough_packet,
    /// 0.
    pub reserved_more: u32,
}
