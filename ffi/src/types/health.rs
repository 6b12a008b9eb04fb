//! Tunnels that carry packets while their IKE is locked out.

/// What the tables say of one tunnel, and from when on that counts.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_tunnel_facts {
    /// sizeof(espial_tunnel_facts).
    pub size: u32,
    /// Inbound SAs of the tunnel.
    pub live_sas: u32,
    /// Milliseconds since the last packet that authenticated on one of them; ESPIAL_NEVER = there was none.
    pub esp_idle_ms: u64,
    /// Milliseconds that a session with the peer on UDP 500 lives on without a match (espial_session.left_ms);
    /// ESPIAL_NEVER = there is none.
    pub left_500_ms: u64,
    /// The same on UDP 4500.
    pub left_4500_ms: u64,
    /// The same on TCP.
    pub left_tcp_ms: u64,
    /// ESP is live if a packet authenticated within these milliseconds.
    pub esp_live_ms: u64,
    /// An IKE session is about to go if it has no more than these milliseconds left.
    pub session_ends_ms: u64,
    /// The peer's address, octets as on the wire; IPv4 in the first 4.
    pub peer: [u8; 16],
    /// ESPIAL_FAMILY_* of the peer.
    pub family: u8,
    /// ESPIAL_IKE_* of the ports on which a policy accepts IKE from the peer, added up.
    pub admitted: u8,
    /// ESPIAL_IKE_* of the port that the tunnel's IKE SA uses: then the others do not help it. 0 = not known.
    pub in_use: u8,
    /// 0.
    pub reserved: [u8; 5],
}

/// How it stands with the IKE of a tunnel.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct espial_health {
    /// Milliseconds that the session lives on without a match, for ESPIAL_HEALTH_HELD and ESPIAL_HEALTH_STARVED;
    /// ESPIAL_NEVER = there is none, or another state.
    pub left_ms: u64,
    /// ESPIAL_HEALTH_*.
    pub state: u8,
    /// 1 = an operator has to add a policy that admits IKE from the peer, 0 = not.
    pub alarm: u8,
    /// 1 for ESPIAL_HEALTH_STARVED with live ESP: this gateway sees no reason to send IKE and heal the tunnel.
    pub esp_is_live: u8,
    /// 0.
    pub reserved: [u8; 5],
}
