//! A gateway beside its naive twin: every operation of the control side and every packet, in all
//! modes, with counters compared at the end.

use std::collections::BTreeMap;

use espial::counters::Counts;
use espial::error::{ConfigError, SaError};
use espial::headers::{
    Encap, Endpoints, Fragment, InnerHeaders, Ipsec, NextLayer, OuterHeaders, Spi,
};
use espial::inbound::{Arrival, Ingress};
use espial::sad::SaKey;
use espial::selector::{self, AddrRange, PortRange, Selector, TrafficSelector};
use espial::verdict::{Decision, Field, Mode, Modes, Reason, SpiClass, Verdict};
use espial::{Capacity, ChildId, Gateway, SaId, SaParams, TunnelId, Worker};

use super::Choices;

struct Child {
    id: ChildId,
    selectors: Vec<Selector>,
}

struct Tunnel {
    id: TunnelId,
    mode: Mode,
    shadow: Modes,
    children: Vec<Child>,
    /// What was last published of it.
    published: Vec<(ChildId, Vec<Selector>)>,
    counts: Counts,
}

struct Sa {
    id: SaId,
    tunnel: usize,
    child: ChildId,
    counts: Counts,
}

/// What the twin expects of one mode.
fn asks(
    tunnel: &Tunnel,
    sas: &BTreeMap<u32, Sa>,
    sa: &Sa,
    mode: Mode,
    packet: &InnerHeaders,
) -> bool {
    let own = own_of(tunnel, sa);
    match mode {
        Mode::StrictSa => own.iter().any(|one| one.covers(packet)),
        Mode::AnySelector => established(tunnel, sas)
            .any(|(_, selectors)| selectors.iter().any(|one| one.covers(packet))),
        Mode::AnySource => established(tunnel, sas).any(|(_, selectors)| {
            selectors.iter().any(|one| one.remote.contains(packet.endpoints.src()))
        }),
        Mode::OrderedSpd => {
            let first = first_in_order(tunnel, packet);
            let same = |id: ChildId| {
                let found = tunnel.published.iter().find(|(other, _)| *other == id);
                found.is_some_and(|(_, other)| equal_sets(other, own))
            };
            own.iter().any(|one| one.covers(packet)) && first.is_some_and(same)
        }
    }
}

fn own_of<'a>(tunnel: &'a Tunnel, sa: &Sa) -> &'a [Selector] {
    tunnel.published.iter().find(|(id, _)| *id == sa.child).map_or(&[], |(_, list)| list)
}

fn equal_sets(a: &[Selector], b: &[Selector]) -> bool {
    let (mut a, mut b) = (a.to_vec(), b.to_vec());
    a.sort();
    b.sort();
    // However often a selector stands there, the set is the same.
    a.dedup();
    b.dedup();
    a == b
}

fn established<'a>(
    tunnel: &'a Tunnel,
    sas: &'a BTreeMap<u32, Sa>,
) -> impl Iterator<Item = &'a (ChildId, Vec<Selector>)> {
    tunnel.published.iter().filter(|(id, _)| sas.values().any(|sa| sa.child == *id))
}

fn first_in_order(tunnel: &Tunnel, packet: &InnerHeaders) -> Option<ChildId> {
    let covers = |list: &[Selector]| list.iter().any(|one| one.covers(packet));
    tunnel.published.iter().find(|(_, list)| covers(list)).map(|(id, _)| *id)
}

/// The field that fails latest, over selectors in order.
fn nearest<'a>(
    selectors: impl Iterator<Item = &'a Selector>,
    packet: &InnerHeaders,
) -> Option<Field> {
    let mut best = None;
    for one in selectors {
        best = best.max(one.first_mismatch(packet));
    }
    best
}

fn expect(
    tunnel: &Tunnel,
    sas: &BTreeMap<u32, Sa>,
    sa: &Sa,
    packet: &InnerHeaders,
    verdict: &Verdict,
) {
    let accepts = asks(tunnel, sas, sa, tunnel.mode, packet);
    assert_eq!(verdict.is_accept(), accepts, "{:?} {packet:?}", tunnel.mode);
    assert_eq!(verdict.arrived, Some((tunnel.id, sa.child)));
    assert_eq!(verdict.shadow_asked, tunnel.shadow);
    for mode in tunnel.shadow.iter() {
        let shadow = asks(tunnel, sas, sa, mode, packet);
        assert_eq!(verdict.shadow_accepts.contains(mode), shadow, "shadow {mode:?}");
    }
    let Decision::Drop(refusal) = verdict.decision else { return };
    let all = || tunnel.published.iter().flat_map(|(_, list)| list);
    let is_asked = |id: &ChildId| {
        tunnel.mode == Mode::OrderedSpd || established(tunnel, sas).any(|(other, _)| other == id)
    };
    let asked = || {
        let lists = tunnel.published.iter().filter(|(id, _)| is_asked(id));
        lists.flat_map(|(_, list)| list)
    };
    let belongs = match tunnel.mode {
        Mode::StrictSa => established(tunnel, sas)
            .find(|(_, list)| list.iter().any(|one| one.covers(packet)))
            .map(|(id, _)| *id),
        Mode::OrderedSpd => first_in_order(tunnel, packet),
        Mode::AnySelector | Mode::AnySource => None,
    };
    assert_eq!(refusal.belongs_to, belongs);
    if belongs.is_some() {
        assert_eq!(refusal.reason, Reason::WrongSa);
        let own = own_of(tunnel, sa);
        let covered = own.iter().any(|one| one.covers(packet));
        let expected = if covered { None } else { nearest(own.iter(), packet) };
        assert_eq!(refusal.field, expected);
        return;
    }
    let portless = packet.fragment == Fragment::NonInitial
        && asked().any(|one| {
            let open =
                Selector { remote_ports: PortRange::ANY, local_ports: PortRange::ANY, ..*one };
            open.covers(packet)
        });
    let reason = if portless { Reason::FragmentNoPorts } else { Reason::NoSelector };
    assert_eq!(refusal.reason, reason);
    assert_eq!(refusal.field, nearest(all(), packet));
}

fn range(choices: &mut Choices<'_>, v6: bool) -> AddrRange {
    let (a, b) = (choices.below(8) as u32, choices.below(8) as u32);
    let (lo, hi) = (a.min(b), a.max(b));
    match (v6, choices.below(12)) {
        (false, 0) => AddrRange::V4 { lo: 0, hi: u32::MAX },
        (true, 0) => AddrRange::V6 { lo: 0, hi: u128::MAX },
        (false, _) => AddrRange::V4 { lo, hi },
        // Both halves of the address count (T15).
        (true, n) if n & 1 == 1 => {
            AddrRange::V6 { lo: u128::from(lo) << 64, hi: u128::from(hi) << 64 | 1 }
        }
        (true, _) => AddrRange::V6 { lo: lo.into(), hi: hi.into() },
    }
}

fn side(choices: &mut Choices<'_>) -> TrafficSelector {
    let v6 = choices.below(3) == 0;
    let protocol = [0, 6, 17, 1, 135, 47][choices.below(6)];
    let (a, b) = (choices.below(4) as u16, choices.below(4) as u16);
    let ports = match choices.below(4) {
        _ if protocol == 0 => PortRange::ANY,
        0 => PortRange::ANY,
        1 => PortRange::OPAQUE,
        _ => PortRange::new(a.min(b), a.max(b)).unwrap(),
    };
    TrafficSelector { addrs: range(choices, v6), protocol, ports }
}

fn packet(choices: &mut Choices<'_>) -> InnerHeaders {
    let (src, dst) = (choices.below(9) as u32, choices.below(9) as u32);
    let endpoints = match choices.below(3) {
        0 => Endpoints::V6 { src: src.into(), dst: dst.into() },
        1 => Endpoints::V6 { src: u128::from(src) << 64, dst: u128::from(dst) << 64 },
        _ => Endpoints::V4 { src, dst },
    };
    let protocol = [6, 17, 1, 135, 47][choices.below(5)];
    let fragment =
        [Fragment::None, Fragment::None, Fragment::First, Fragment::NonInitial][choices.below(4)];
    let (a, b) = (choices.below(5) as u16, choices.below(5) as u16);
    let next_layer = match protocol {
        // A host may hand in ports of a later fragment: they do not count.
        6 | 17 => NextLayer::Ports { src: a, dst: b },
        1 => NextLayer::Icmp(a),
        135 => NextLayer::Mobility(a),
        _ => NextLayer::Opaque,
    };
    InnerHeaders { endpoints, protocol, next_layer, fragment }
}

/// Runs the gateway and its twin on choices.
pub fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let workers = 2;
    let capacity = Capacity {
        tunnels: 2,
        children: 5,
        selectors: 24,
        sas: 6,
        sas_dst: 0,
        sas_dst_src: 0,
        sas_allocated: 0,
        replay_window: 0,
        workers,
    };
    let mut gateway = Gateway::new(&capacity, [7, u64::from(choices.octet())]).unwrap();
    let (control, mut dispenser) = gateway.split();
    let mut workers: Vec<Worker<'_>> = std::iter::from_fn(|| dispenser.take()).collect();
    assert_eq!(workers.len(), 2);
    let mut tunnels: Vec<Tunnel> = Vec::new();
    let mut sas: BTreeMap<u32, Sa> = BTreeMap::new();
    let mut total = Counts::default();
    let mut now_ms = 0;
    while !choices.done() {
        now_ms += 1;
        match choices.below(16) {
            0 => {
                let mode = Mode::ALL[choices.below(4)];
                let shadow = Modes::from_bits(choices.below(16) as u8).unwrap();
                match control.add_tunnel(mode, shadow) {
                    Ok(id) => tunnels.push(Tunnel {
                        id,
                        mode,
                        shadow,
                        children: Vec::new(),
                        published: Vec::new(),
                        counts: Counts::default(),
                    }),
                    Err(ConfigError::TunnelsFull { limit: 2 }) => {
                        assert_eq!(tunnels.iter().filter(|t| t.id.generation() != 0).count(), 2);
                    }
                    Err(error) => assert_eq!(error, ConfigError::Busy),
                }
            }
            1 | 2 if !tunnels.is_empty() => {
                let at = choices.below(tunnels.len());
                let tunnel = &mut tunnels[at];
                let local: Vec<_> = (0..=choices.below(3)).map(|_| side(&mut choices)).collect();
                let remote: Vec<_> = (0..=choices.below(3)).map(|_| side(&mut choices)).collect();
                let selectors: Vec<_> = selector::cross(&local, &remote).unwrap().collect();
                match control.add_child(tunnel.id, &local, &remote) {
                    Ok(id) => tunnel.children.push(Child { id, selectors }),
                    Err(ConfigError::NoSelectors) => assert!(selectors.is_empty()),
                    Err(ConfigError::SelectorsFull { .. } | ConfigError::ChildrenFull { .. }) => {}
                    Err(error) => assert_eq!(error, ConfigError::Busy),
                }
            }
            3 if !tunnels.is_empty() => {
                let at = choices.below(tunnels.len());
                let tunnel = &mut tunnels[at];
                if !tunnel.children.is_empty() {
                    let which = choices.below(tunnel.children.len());
                    let id = tunnel.children[which].id;
                    let in_use = sas.values().any(|sa| sa.child == id);
                    match control.remove_child(id) {
                        Ok(()) => {
                            assert!(!in_use);
                            tunnel.children.remove(which);
                            assert_eq!(control.remove_child(id), Err(ConfigError::Stale));
                        }
                        Err(error) => assert_eq!((error, in_use), (ConfigError::InUse, true)),
                    }
                }
            }
            4 | 5 => {
                if control.publish().is_ok() {
                    for tunnel in &mut tunnels {
                        tunnel.published =
                            tunnel.children.iter().map(|c| (c.id, c.selectors.clone())).collect();
                    }
                }
            }
            6..=8 if !tunnels.is_empty() => {
                let tunnel = choices.below(tunnels.len());
                let spi = 256 + choices.below(8) as u32;
                let children = &tunnels[tunnel].children;
                if let Some(child) = children.get(choices.below(children.len())).map(|c| c.id) {
                    let key = SaKey::new(Ipsec::Esp, Spi(spi), None, None).unwrap();
                    let params = SaParams::new(key);
                    let known = tunnels[tunnel].published.iter().any(|(id, _)| *id == child);
                    match control.add_sa(child, &params) {
                        Ok(id) => {
                            let counts = Counts::default();
                            assert!(sas.insert(spi, Sa { id, tunnel, child, counts }).is_none());
                            assert!(known);
                        }
                        Err(SaError::Duplicate) => assert!(sas.contains_key(&spi)),
                        Err(SaError::Unpublished) => assert!(!known),
                        Err(SaError::Full { limit }) => assert_eq!(sas.len(), limit as usize),
                        Err(error) => assert_eq!(error, SaError::Busy),
                    }
                }
            }
            9 => {
                let spi = 256 + choices.below(8) as u32;
                if let Some(sa) = sas.remove(&spi) {
                    control.delete_sa(sa.id, now_ms).unwrap();
                    assert_eq!(control.delete_sa(sa.id, now_ms), Err(SaError::NotFound));
                }
            }
            10 if !tunnels.is_empty() => {
                let at = choices.below(tunnels.len());
                let tunnel = &mut tunnels[at];
                tunnel.mode = Mode::ALL[choices.below(4)];
                tunnel.shadow = Modes::from_bits(choices.below(16) as u8).unwrap();
                control.set_mode(tunnel.id, tunnel.mode, tunnel.shadow).unwrap();
            }
            11 => workers.iter_mut().for_each(Worker::quiescent),
            _ => {
                let which = choices.below(2);
                let spi = 255 + choices.below(10) as u32;
                let inner = packet(&mut choices);
                let worker = &mut workers[which];
                let reason = one_packet(worker, &mut tunnels, &mut sas, spi, &inner, now_ms);
                count(&mut total, reason);
            }
        }
    }
    for sa in sas.values() {
        assert_eq!(control.sa_counts(sa.id), Ok(sa.counts));
    }
    for tunnel in &tunnels {
        assert_eq!(control.tunnel_counts(tunnel.id), Ok(tunnel.counts));
    }
    let counted = control.total_counts();
    assert_eq!((counted.packets, counted.drops), (total.packets, total.drops));
}

fn count(counts: &mut Counts, reason: Option<Reason>) {
    match reason {
        None => {
            counts.packets += 1;
            counts.octets += 60;
        }
        Some(reason) => counts.drops[reason.index()] += 1,
    }
}

fn one_packet(
    worker: &mut Worker<'_>,
    tunnels: &mut [Tunnel],
    sas: &mut BTreeMap<u32, Sa>,
    spi: u32,
    inner: &InnerHeaders,
    now_ms: u64,
) -> Option<Reason> {
    let outer = OuterHeaders {
        endpoints: Endpoints::V4 { src: 1, dst: 2 },
        flow_label: 0,
        ipsec: Ipsec::Esp,
        encap: Encap::None,
        spi: Spi(spi),
        sequence: 1,
        sequence_high: 0,
        sport: 0,
        dport: 0,
        offset: 20,
        octets: 100,
    };
    let ingress = Ingress { now_ms, interface: 3 };
    match (worker.lookup(&outer, ingress), sas.get(&spi)) {
        (Arrival::Sa(id, _), Some(sa)) => {
            assert_eq!(id, sa.id);
            // As bindings do.
            let own = worker.own_selectors(id).filter(|own| own.cover(inner));
            let verdict = match own.map(|own| own.accept(60)) {
                Some(accepted) => Verdict {
                    decision: Decision::Accept(accepted.by),
                    arrived: Some((accepted.tunnel, accepted.child)),
                    shadow_asked: Modes::NONE,
                    shadow_accepts: Modes::NONE,
                },
                None => worker.check_headers(id, &outer, inner, 60, ingress),
            };
            expect(&tunnels[sa.tunnel], sas, sa, inner, &verdict);
            let tunnel = sa.tunnel;
            let counts = [&mut tunnels[tunnel].counts, &mut sas.get_mut(&spi).unwrap().counts];
            for counts in counts {
                count(counts, verdict.reason());
                for mode in verdict.shadow_asked.iter() {
                    let accepts = verdict.shadow_accepts.contains(mode);
                    let cells =
                        if accepts { &mut counts.shadow_accepts } else { &mut counts.shadow_drops };
                    cells[mode as usize] += 1;
                }
            }
            if let Some(event) = worker.next_event() {
                assert!(event.time_ms <= now_ms);
                assert_eq!(
                    event.sa.is_none(),
                    event.refusal().unwrap().reason == Reason::UnknownSpi
                );
                assert_eq!(event.interface, 3);
            }
            verdict.reason()
        }
        (Arrival::Drop(refusal), None) => {
            assert_eq!(refusal.reason, Reason::UnknownSpi);
            assert_ne!(refusal.spi_class, Some(SpiClass::OtherDestination));
            Some(refusal.reason)
        }
        (arrival, sa) => panic!("{arrival:?}, but the twin has {}", sa.is_some()),
    }
}
