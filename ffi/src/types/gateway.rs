//! A gateway, its SAs and what they are made of.

use super::numbers::{ESPIAL_MODES, ESPIAL_REASONS};

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
