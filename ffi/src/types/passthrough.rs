//! IPsec of others, that passes through.

use super::sessions::espial_flow;

/// One rule for packets that have no flow yet, or one box of a rule that has lists of addresses or ports.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_passthrough_rule {
    /// The caller's number for it, which answers repeat. Boxes of one rule have the same and stand together.
    pub id: u32,
    /// ESPIAL_CONTEXT_*: where it stands.
    pub context: u8,
    /// ESPIAL_RULE_*: what becomes of packets that it covers.
    pub action: u8,
    /// ESPIAL_FAMILY_*.
    pub family: u8,
    /// Protocol; 0 = any.
    pub protocol: u8,
    /// First source port. 0 to 65535 is any, which is all that ESP and AH have.
    pub src_port_lo: u16,
    /// Last source port.
    pub src_port_hi: u16,
    /// First destination port.
    pub dst_port_lo: u16,
    /// Last destination port.
    pub dst_port_hi: u16,
    /// First source address.
    pub src_lo: [u8; 16],
    /// Last source address.
    pub src_hi: [u8; 16],
    /// First destination address.
    pub dst_lo: [u8; 16],
    /// Last destination address.
    pub dst_hi: [u8; 16],
}

/// How a firewall treats IPsec of others. Times are milliseconds that a flow lives without a packet; 0 =
/// ESPIAL_PASSTHROUGH_IDLE_MS.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_passthrough_config {
    /// sizeof(espial_passthrough_config).
    pub size: u32,
    /// Flows, at least 1.
    pub flows: u32,
    /// 1 = flows of ESP and AH are told apart by SPI, each direction for itself (lookupspi); 0 = they are host
    /// pairs, both directions.
    pub lookupspi: u8,
    /// ESPIAL_SERVER_*.
    pub server: u8,
    /// 0.
    pub reserved: u16,
    /// Flows of IKE on UDP 500.
    pub ike_ms: u32,
    /// Flows of UDP 4500.
    pub nat_t_ms: u32,
    /// Flows of ESP.
    pub esp_ms: u32,
    /// Flows of AH.
    pub ah_ms: u32,
    /// Flows of other UDP.
    pub other_ms: u32,
}

/// A packet that a firewall is to forward.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_passthrough_packet {
    /// ESPIAL_FAMILY_*.
    pub family: u8,
    /// ESPIAL_PASSTHROUGH_*: what it is.
    pub kind: u8,
    /// For ESPIAL_PASSTHROUGH_FRAGMENT the protocol; else 0.
    pub protocol: u8,
    /// 0.
    pub reserved: u8,
    /// The SPI, host byte order, for ESPIAL_PASSTHROUGH_ESP and ESPIAL_PASSTHROUGH_AH.
    pub spi: u32,
    /// Source port, for ESPIAL_PASSTHROUGH_UDP.
    pub sport: u16,
    /// Destination port, for ESPIAL_PASSTHROUGH_UDP.
    pub dport: u16,
    /// Source address, octets as on the wire; IPv4 in the first 4.
    pub src: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
}

/// What a firewall says of a packet. All-zero memory is a drop.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_passthrough_answer {
    /// ESPIAL_PASS_*.
    pub verdict: u8,
    /// ESPIAL_PASS_DROP_*, for ESPIAL_PASS_DROP.
    pub reason: u8,
    /// ESPIAL_PASS_BY_*: who decided, where rules or the default did.
    pub by: u8,
    /// ESPIAL_CONTEXT_*, where rules were asked.
    pub context: u8,
    /// The rule, for ESPIAL_PASS_BY_RULE; else 0.
    pub rule: u32,
    /// 1 = it made a flow, 0 = it did not.
    pub is_new: u8,
    /// 0.
    pub reserved: [u8; 3],
    /// What a log says of it: of ESP and AH the ports are the halves of the SPI with lookupspi, else 0, which
    /// tables show as any. Family 0: no flow can be made of it.
    pub flow: espial_flow,
}

/// A flow in the table of a firewall.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_passthrough_flow {
    /// When it was made, on the caller's clock.
    pub made_ms: u64,
    /// Milliseconds since its last packet.
    pub idle_ms: u64,
    /// The rule that admitted it, for ESPIAL_PASS_BY_RULE; else 0.
    pub rule: u32,
    /// ESPIAL_PASS_BY_*.
    pub by: u8,
    /// 0.
    pub reserved: [u8; 3],
    /// As the packet that made it says; ports of ESP and AH as in espial_passthrough_answer.
    pub flow: espial_flow,
}

/// A flow that the ALG had a part in has ended.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_teardown {
    /// When it was found to have ended, on the caller's clock.
    pub time_ms: u64,
    /// Milliseconds since it was made.
    pub age_ms: u64,
    /// ESPIAL_TEARDOWN_*.
    pub kind: u8,
    /// ESPIAL_FAMILY_*.
    pub family: u8,
    /// Source port of the flow; 0 for AH and ESP.
    pub sport: u16,
    /// Events that found no room since the last one that did.
    pub suppressed: u32,
    /// The host whose packet made the flow, octets as on the wire; IPv4 in the first 4.
    pub src: [u8; 16],
    /// The other one.
    pub dst: [u8; 16],
}

/// What a firewall has counted since it was made.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_passthrough_counts {
    /// sizeof(espial_passthrough_counts).
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// Packets that a rule or the default admitted.
    pub accepted: u64,
    /// Packets of flows that rules or the default admitted.
    pub accepted_flow: u64,
    /// Packets that the ALG admitted.
    pub accepted_alg: u64,
    /// Packets rejected.
    pub rejected: u64,
    /// Times that the ALG had no room for a flow of its own.
    pub alg_full: u64,
    /// Packets dropped by ESPIAL_PASS_DROP_*.
    pub drops: [u64; 16],
    /// Flows that ended under the ALG by ESPIAL_TEARDOWN_*, told as events or not.
    pub teardowns: [u64; 8],
}

/// A configuration of which is asked what rules it needs.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_needed_config {
    /// sizeof(espial_needed_config).
    pub size: u32,
    /// As in espial_passthrough_config.
    pub lookupspi: u8,
    /// ESPIAL_SERVER_*.
    pub server: u8,
    /// 1 = the virtual server translates addresses, so that it leads to one peer only; 0 = it does not.
    pub translate_address: u8,
    /// ESPIAL_INITIATOR_*.
    pub initiator: u8,
    /// ESPIAL_IPSEC_*.
    pub ipsec: u8,
    /// ESPIAL_NAT_T_*.
    pub nat_t: u8,
    /// ESPIAL_FAMILY_* of the peers.
    pub family: u8,
    /// 0.
    pub reserved: u8,
    /// First address of the inside peers, octets as on the wire; IPv4 in the first 4.
    pub inside_lo: [u8; 16],
    /// Last one.
    pub inside_hi: [u8; 16],
    /// First address of the outside peers.
    pub outside_lo: [u8; 16],
    /// Last one.
    pub outside_hi: [u8; 16],
}

/// A rule that a configuration needs. Its name is espial_way_name() and espial_needed_service_name(): OUT500, IN_ESP.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_needed_rule {
    /// ESPIAL_WAY_*.
    pub way: u8,
    /// ESPIAL_NEEDED_*: what it admits.
    pub service: u8,
    /// 0.
    pub reserved: u16,
    /// The rule, for espial_passthrough_rules_new(): its id is its place here, its action
    /// ESPIAL_RULE_ACCEPT_DECISIVELY, and source ports are any.
    pub rule: espial_passthrough_rule,
}

/// What comes of a configuration that has the rules it needs.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_needed {
    /// ESPIAL_OUTCOME_*.
    pub outcome: u8,
    /// Virtual servers needed: with the ALG one for each peer that starts, unless addresses are not translated, and
    /// one more for UDP 4500, which the ALG does not handle.
    pub virtual_servers: u8,
    /// 0.
    pub reserved: u16,
}
