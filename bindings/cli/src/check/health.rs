//! How it stands with the IKE of each tunnel at the end of a capture (C6).

use std::net::IpAddr;

use espial::analysis::Limits;
use espial::gate::health::{IkeWay, Thresholds, TunnelFacts, TunnelHealth, tunnel_health};
use espial::gate::local_in::{Admits, Schedules, Service};
use espial::headers::{Endpoints, OuterHeaders, protocol};
use espial::wire::{IKE_PORT, NAT_T_PORT};

use super::local::Local;
use super::tables::NO_INTERFACE;
use crate::config::{GatewayConfig, TunnelConfig};

/// The interface of a tunnel that names none.
pub(crate) const NOWHERE: u32 = NO_INTERFACE;

/// ESP is live if a packet authenticated in the last minute; a session is about to go in its last half
/// minute.
const THRESHOLDS: Thresholds = Thresholds { esp_live_ms: 60_000, session_ends_ms: 30_000 };

/// The last packet of a tunnel that authenticated.
#[derive(Clone, Copy)]
pub(crate) struct LastEsp {
    pub(crate) outer: OuterHeaders,
    pub(super) interface: Option<u32>,
    pub(super) now_ms: u64,
}

/// The health of a tunnel whose peer is known, by configuration or by its ESP.
pub(super) fn of_tunnel(
    config: &GatewayConfig,
    local: &Local<'_, '_>,
    tunnel: &TunnelConfig,
    live_sas: u32,
    last: Option<&LastEsp>,
    now_ms: u64,
) -> Option<TunnelHealth> {
    let endpoints = endpoints(config, tunnel, last)?;
    let interface = tunnel.interface.or_else(|| last?.interface).unwrap_or(NO_INTERFACE);
    let answers = local.ike(endpoints, interface);
    let (peer, own) = (endpoints.src(), endpoints.dst());
    let left = |number: u8, port: Option<u16>| {
        let of_peer = local.sessions(now_ms).filter(|session| {
            session.key.endpoints.dst() == peer
                && session.key.protocol == number
                && Some(session.key.src_port) == port
        });
        of_peer.map(|session| session.left_ms).max()
    };
    let tcp = config.gate.ike_tcp_port;
    let udp =
        |port, admitted| IkeWay { session_left_ms: left(protocol::UDP, Some(port)), admitted };
    let facts = TunnelFacts {
        peer,
        live_sas,
        esp_idle_ms: last.map(|last| now_ms.saturating_sub(last.now_ms)),
        udp_500: udp(IKE_PORT, answers.port_500.is_accept()),
        udp_4500: udp(NAT_T_PORT, answers.port_4500.is_accept()),
        tcp: IkeWay {
            session_left_ms: tcp.and_then(|_| left(protocol::TCP, tcp)),
            admitted: tcp.is_some_and(|port| admits_tcp(config, peer, own, interface, port)),
        },
        in_use: None,
    };
    Some(tunnel_health(&facts, &THRESHOLDS))
}

/// Whether some packets of a TCP connection from the peer are admitted: its port is not known.
fn admits_tcp(
    config: &GatewayConfig,
    peer: IpAddr,
    own: IpAddr,
    interface: u32,
    port: u16,
) -> bool {
    let Some(local_in) = &config.gate.local_in else { return false };
    let Some(wanted) = Service::tcp(port).selector(peer.into(), own.into()) else { return false };
    let schedules: Schedules = local_in.schedules;
    let deciders = local_in.list.deciders(&wanted, interface, schedules, &Limits::USUAL);
    deciders.is_ok_and(|deciders| deciders.admits() != Admits::None)
}

/// The peer and the gateway's own address for it.
pub(crate) fn endpoints(
    config: &GatewayConfig,
    tunnel: &TunnelConfig,
    last: Option<&LastEsp>,
) -> Option<Endpoints> {
    let seen = last.map(|last| last.outer.endpoints);
    let mut sas = tunnel.children.iter().flat_map(|child| &child.sas);
    let peer = tunnel.peer.or_else(|| seen.map(|seen| seen.src()));
    let peer = peer.or_else(|| sas.clone().find_map(|sa| sa.src))?;
    let same = |own: &IpAddr| own.is_ipv4() == peer.is_ipv4();
    let of_interface = || {
        let interface = config.gate.interface_at(tunnel.interface?)?;
        interface.addresses.iter().copied().find(same)
    };
    let own = seen.map(|seen| seen.dst()).filter(same);
    let own = own.or_else(|| sas.find_map(|sa| sa.dst).filter(same));
    let own = own.or_else(of_interface);
    let own = own.or_else(|| config.addresses.iter().copied().find(same))?;
    Endpoints::new(peer, own)
}
