//! What is known of a tunnel, and what is said of it.

use espial::gate::health::{Health, IkePort, IkeWay, Thresholds, TunnelFacts, TunnelHealth};

use super::{VALUE, addr};
use crate::status::Status;
use crate::types::*;

pub fn tunnel_facts(f: &espial_tunnel_facts) -> Result<(TunnelFacts, Thresholds), Status> {
    const ALL: u8 = ESPIAL_IKE_500 | ESPIAL_IKE_4500 | ESPIAL_IKE_TCP;
    if f.reserved != [0; 5] || f.admitted & !ALL != 0 {
        return Err(VALUE);
    }
    let some = |ms: u64| (ms != ESPIAL_NEVER).then_some(ms);
    let way =
        |left_ms, port| IkeWay { session_left_ms: some(left_ms), admitted: f.admitted & port != 0 };
    let in_use = match f.in_use {
        0 => None,
        ESPIAL_IKE_500 => Some(IkePort::Udp500),
        ESPIAL_IKE_4500 => Some(IkePort::Udp4500),
        ESPIAL_IKE_TCP => Some(IkePort::Tcp),
        _ => return Err(VALUE),
    };
    let facts = TunnelFacts {
        peer: addr(f.family, &f.peer)?,
        live_sas: f.live_sas,
        esp_idle_ms: some(f.esp_idle_ms),
        udp_500: way(f.left_500_ms, ESPIAL_IKE_500),
        udp_4500: way(f.left_4500_ms, ESPIAL_IKE_4500),
        tcp: way(f.left_tcp_ms, ESPIAL_IKE_TCP),
        in_use,
    };
    let (esp_live_ms, session_ends_ms) = (f.esp_live_ms, f.session_ends_ms);
    Ok((facts, Thresholds { esp_live_ms, session_ends_ms }))
}

pub fn health_codes(of: &TunnelHealth) -> espial_health {
    let (state, left_ms, esp_is_live) = match of.health {
        Health::Down => (ESPIAL_HEALTH_DOWN, None, false),
        Health::Admitted => (ESPIAL_HEALTH_ADMITTED, None, false),
        Health::Held { left_ms } => (ESPIAL_HEALTH_HELD, Some(left_ms), false),
        Health::Starved { left_ms, esp_is_live } => (ESPIAL_HEALTH_STARVED, left_ms, esp_is_live),
        // What the core may yet add.
        _ => (u8::MAX, None, false),
    };
    espial_health {
        left_ms: left_ms.unwrap_or(ESPIAL_NEVER),
        state,
        alarm: of.is_alarm().into(),
        esp_is_live: esp_is_live.into(),
        reserved: [0; 5],
    }
}
