//! Local-in policy: who may start to speak to the gateway itself.

use super::packet::espial_inner;

/// A range of addresses of one family, in a list of them.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_range {
    /// ESPIAL_FAMILY_*.
    pub family: u8,
    /// 1 = these addresses are not in the list, whatever else of it holds them; 0 = they are.
    pub exclude: u8,
    /// 0.
    pub reserved: u16,
    /// First address, octets as on the wire; IPv4 in the first 4.
    pub lo: [u8; 16],
    /// Last address.
    pub hi: [u8; 16],
}

/// What packets a local-in policy is for, beside their addresses.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_service {
    /// Next layer protocol; 0 = every packet.
    pub protocol: u8,
    /// 0.
    pub reserved: u8,
    /// First source port, or ICMP type * 256 + code. 0 to 65535 is any.
    pub src_port_lo: u16,
    /// Last source port.
    pub src_port_hi: u16,
    /// First destination port, of the gateway; of ICMP the destination ports are not looked at.
    pub dst_port_lo: u16,
    /// Last destination port.
    pub dst_port_hi: u16,
}

/// A policy for what is addressed to the gateway itself. Its interfaces, ranges and services are parts of
/// arrays, and two policies may share some.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_local_in_policy {
    /// The caller's number for it: any value, once in a list.
    pub id: u32,
    /// Index of its first interface, in the caller's numbers.
    pub interface_first: u32,
    /// Its interfaces: at least 1, or 0 with any_interface.
    pub interface_count: u32,
    /// Index of its first range of source addresses.
    pub source_first: u32,
    /// Its ranges of source addresses.
    pub source_count: u32,
    /// Index of its first range of destination addresses.
    pub destination_first: u32,
    /// Its ranges of destination addresses.
    pub destination_count: u32,
    /// Index of its first service.
    pub service_first: u32,
    /// Its services: any of these.
    pub service_count: u32,
    /// ESPIAL_LOCAL_IN_DENY, as where no action is written, or ESPIAL_LOCAL_IN_ACCEPT.
    pub action: u8,
    /// When it counts: 0 = always, else 1 + the number of its bit in the schedules of a call, up to
    /// ESPIAL_SCHEDULES.
    pub schedule: u8,
    /// 1 = packets from every interface, and interface_count is 0; 0 = from those named.
    pub any_interface: u8,
    /// 0.
    pub reserved: u8,
}

/// A packet that is addressed to the gateway itself, or sent by it. espial_local_packet_read() makes one.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_local_packet {
    /// Its headers; not looked at with ESPIAL_TRAFFIC_NONE and ESPIAL_TRAFFIC_IPSEC.
    pub headers: espial_inner,
    /// The caller's number of the interface that it came in on.
    pub interface: u32,
    /// ESPIAL_TRAFFIC_* as espial_classify() says: ESP behind UDP 4500 looks like IKE in its headers.
    /// ESPIAL_TRAFFIC_NONE and ESPIAL_TRAFFIC_IPSEC are no session's, and no policy admits them.
    pub traffic: u8,
    /// 0.
    pub reserved: [u8; 3],
}

/// What local-in policy says of a packet. All-zero memory denies.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_local_in_answer {
    /// The policy, for ESPIAL_LOCAL_IN_BY_POLICY; else 0.
    pub policy: u32,
    /// ESPIAL_LOCAL_IN_DENY or ESPIAL_LOCAL_IN_ACCEPT.
    pub action: u8,
    /// ESPIAL_LOCAL_IN_BY_*.
    pub by: u8,
    /// 0.
    pub reserved: u16,
}
