//! What a gateway is made of: capacities, handles, modes, SAs and their counts.

use core::net::IpAddr;

use espial::control::{Due, SaState};
use espial::counters::Counts;
use espial::headers::{Endpoints, Spi};
use espial::sad::{Lifetime, Limit, Replay, ReplayStart, SaId, SaKey, SaMode, Scope};
use espial::verdict::{Mode, Modes, Reason};
use espial::{Capacity, ChildId, SaParams, TunnelId};

use super::{VALUE, addr, encap, endpoints_codes, ipsec, ipsec_code};
use crate::status::Status;
use crate::types::*;

pub fn capacity(c: &espial_capacity) -> Capacity {
    Capacity {
        tunnels: c.tunnels,
        children: c.children,
        selectors: c.selectors,
        sas: c.sas,
        sas_dst: c.sas_dst,
        sas_dst_src: c.sas_dst_src,
        sas_allocated: c.sas_allocated,
        replay_window: c.replay_window,
        workers: c.workers,
    }
}

impl From<espial_tunnel> for TunnelId {
    fn from(handle: espial_tunnel) -> Self {
        Self::from_raw(handle.index, handle.generation)
    }
}

impl From<TunnelId> for espial_tunnel {
    fn from(id: TunnelId) -> Self {
        Self { index: id.index(), generation: id.generation() }
    }
}

impl From<espial_child> for ChildId {
    fn from(handle: espial_child) -> Self {
        Self::from_raw(handle.index, handle.generation)
    }
}

impl From<ChildId> for espial_child {
    fn from(id: ChildId) -> Self {
        Self { index: id.index(), generation: id.generation() }
    }
}

impl From<espial_sa> for SaId {
    fn from(handle: espial_sa) -> Self {
        Self::from_raw(u64::from(handle.spi) << 32 | u64::from(handle.slot))
    }
}

impl From<SaId> for espial_sa {
    fn from(id: SaId) -> Self {
        Self { slot: id.to_raw() as u32, spi: id.spi().0 }
    }
}

pub(super) const NO_TUNNEL: espial_tunnel = espial_tunnel { index: 0, generation: 0 };
pub(super) const NO_CHILD: espial_child = espial_child { index: 0, generation: 0 };
pub(super) const NO_SA: espial_sa = espial_sa { slot: 0, spi: 0 };

pub fn mode(code: u32) -> Result<Mode, Status> {
    match code {
        ESPIAL_MODE_STRICT_SA => Ok(Mode::StrictSa),
        ESPIAL_MODE_ANY_SELECTOR => Ok(Mode::AnySelector),
        ESPIAL_MODE_ANY_SOURCE => Ok(Mode::AnySource),
        ESPIAL_MODE_ORDERED_SPD => Ok(Mode::OrderedSpd),
        _ => Err(VALUE),
    }
}

pub fn modes(bits: u32) -> Result<Modes, Status> {
    u8::try_from(bits).ok().and_then(Modes::from_bits).ok_or(VALUE)
}

pub fn sa_key(key: &espial_sa_key) -> Result<SaKey, Status> {
    if key.reserved != 0 {
        return Err(VALUE);
    }
    let (dst, src) = match (key.scope, key.family) {
        (ESPIAL_SCOPE_SPI, 0) => (None, None),
        (ESPIAL_SCOPE_DST, family) => (Some(addr(family, &key.dst)?), None),
        (ESPIAL_SCOPE_DST_SRC, family) => {
            (Some(addr(family, &key.dst)?), Some(addr(family, &key.src)?))
        }
        _ => return Err(VALUE),
    };
    Ok(SaKey::new(ipsec(key.ipsec)?, Spi(key.spi), dst, src)?)
}

pub fn sa_key_codes(key: &SaKey) -> espial_sa_key {
    let any = |dst| match dst {
        IpAddr::V4(dst) => Endpoints::V4 { src: 0, dst: dst.to_bits() },
        IpAddr::V6(dst) => Endpoints::V6 { src: 0, dst: dst.to_bits() },
    };
    let (scope, (family, src, dst)) = match key.scope {
        Scope::Spi => (ESPIAL_SCOPE_SPI, (0, [0; 16], [0; 16])),
        Scope::Destination(dst) => (ESPIAL_SCOPE_DST, endpoints_codes(&any(dst))),
        Scope::DestinationSource(both) => (ESPIAL_SCOPE_DST_SRC, endpoints_codes(&both)),
    };
    let ipsec = ipsec_code(key.ipsec);
    espial_sa_key { spi: key.spi.0, ipsec, scope, family, reserved: 0, dst, src }
}

pub fn sa_params(params: &espial_sa_params) -> Result<SaParams, Status> {
    let mode = match (params.mode, params.reserved) {
        (ESPIAL_SA_TUNNEL, 0) => SaMode::Tunnel,
        (ESPIAL_SA_TRANSPORT, 0) => SaMode::Transport,
        _ => return Err(VALUE),
    };
    let limit = |packets, octets, at_ms| {
        let some = |limit: u64| (limit != 0).then_some(limit);
        Limit { packets: some(packets), octets: some(octets), at_ms: some(at_ms) }
    };
    Ok(SaParams {
        key: sa_key(&params.key)?,
        mode,
        encap: encap(params.encap)?,
        replay: replay(params)?,
        lifetime: Lifetime {
            soft: limit(params.soft_packets, params.soft_octets, params.soft_ms),
            hard: limit(params.hard_packets, params.hard_octets, params.hard_ms),
        },
    })
}

fn replay(params: &espial_sa_params) -> Result<Replay, Status> {
    let esn = match (params.esn, params.replay_reserved) {
        (0, 0) => false,
        (1, 0) => true,
        _ => return Err(VALUE),
    };
    let start = match params.replay_start {
        ESPIAL_REPLAY_START_HIGH => {
            let high = u32::try_from(params.replay_value).map_err(|_| Status(ESPIAL_ERANGE))?;
            ReplayStart::High(high)
        }
        ESPIAL_REPLAY_START_TOP => ReplayStart::Top(params.replay_value),
        _ => return Err(VALUE),
    };
    Ok(Replay { window: params.replay_window, esn, start })
}

pub fn sa_state_codes(state: &SaState, size: usize) -> espial_sa_state {
    let SaState { top, packets, octets } = *state;
    espial_sa_state { size: size as u32, reserved: 0, top, packets, octets }
}

/// The SA that is due, and how.
pub fn due_codes(due: Option<(SaId, Due)>) -> (espial_sa, u32) {
    match due {
        None => (NO_SA, ESPIAL_DUE_NONE),
        Some((sa, Due::Soft)) => (sa.into(), ESPIAL_DUE_SOFT),
        Some((sa, Due::Hard)) => (sa.into(), ESPIAL_DUE_HARD),
    }
}

pub fn counts_codes(counts: &Counts, size: usize) -> espial_counts {
    let mut drops = [0; ESPIAL_REASONS];
    for reason in Reason::all() {
        if let Some(sum) = drops.get_mut(usize::from(reason.code())) {
            *sum = counts.drops_of(reason);
        }
    }
    espial_counts {
        size: size as u32,
        reserved: 0,
        packets: counts.packets,
        octets: counts.octets,
        dropped: counts.all_drops(),
        passed: 0,
        events_suppressed: 0,
        drops,
        shadow_accepts: counts.shadow_accepts,
        shadow_drops: counts.shadow_drops,
    }
}
