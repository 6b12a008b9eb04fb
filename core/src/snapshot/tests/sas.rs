//! SAs.

use std::collections::BTreeMap;

use super::*;
use crate::event::{Cause, Event, EventBudget};
use crate::headers::{Encap, Fragment, InnerHeaders, Ipsec, NextLayer, OuterHeaders, Spi};
use crate::inbound::{Arrival, Ingress, Worker};
use crate::sad::{Lifetime, Limit, LimitKind, Replay, ReplayStart, SaId, SaKey, SaMode};
use crate::selector::{AddrRange, TrafficSelector};
use crate::verdict::{Decision, Mode, Modes, Reason};
use crate::{Capacity, Gateway, SaParams};

const CAPACITY: Capacity = Capacity {
    tunnels: 2,
    children: 4,
    selectors: 4,
    sas: 20,
    sas_dst: 20,
    sas_dst_src: 20,
    sas_allocated: 4,
    replay_window: 64,
    workers: 1,
};

/// What both nodes are configured with: Child SAs by the names 100 and 200, in this order.
fn configure(control: &mut Control<'_>, names: [u64; 2], spare: bool) -> BTreeMap<u64, ChildId> {
    if spare {
        control.add_tunnel(Mode::AnySelector, Modes::NONE).unwrap();
    }
    let tunnel = control.add_tunnel(Mode::StrictSa, Modes::NONE).unwrap();
    let children = names.map(|name| {
        let remote = (name / 100) as u32;
        let side = |addr| [TrafficSelector::any(AddrRange::V4 { lo: addr, hi: addr })];
        (name, control.add_child(tunnel, &side(9), &side(remote)).unwrap())
    });
    control.publish().unwrap();
    children.into()
}

fn name_of(children: &BTreeMap<u64, ChildId>) -> impl Fn(ChildId) -> u64 {
    let children = children.clone();
    move |child| children.iter().find(|(_, known)| **known == child).map_or(0, |(name, _)| *name)
}

#[derive(Clone, Debug)]
enum Op {
    Add(SaParams, u64),
    Delete(SaKey),
    Packet(Packet),
    Tick(u64),
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    outer: OuterHeaders,
    remote: u32,
    octets: usize,
}

fn endpoints() -> impl Strategy<Value = Endpoints> {
    (any::<bool>(), 1..3_u32).prop_map(|(six, src)| match six {
        true => Endpoints::V6 { src: src.into(), dst: 7 },
        false => Endpoints::V4 { src, dst: 7 },
    })
}

fn key() -> impl Strategy<Value = SaKey> {
    (any::<bool>(), 1..4_u32, endpoints(), 0..3).prop_map(|(ah, spi, endpoints, scope)| {
        let ipsec = if ah { Ipsec::Ah } else { Ipsec::Esp };
        let (dst, src) = (endpoints.dst(), endpoints.src());
        let dst = (scope > 0).then_some(dst);
        SaKey::new(ipsec, Spi(spi), dst, dst.filter(|_| scope > 1).map(|_| src)).unwrap()
    })
}

fn limit() -> impl Strategy<Value = Limit> {
    let some = |max: u64| proptest::option::weighted(0.3, 1..max);
    (some(12), some(1200), some(40_000)).prop_map(|(packets, octets, left_ms)| Limit {
        packets,
        octets,
        at_ms: left_ms.map(|left_ms| 1_000_000 + left_ms),
    })
}

fn encap() -> impl Strategy<Value = Encap> {
    select(&[Encap::None, Encap::None, Encap::None, Encap::Udp, Encap::Tcp])
}

fn params() -> impl Strategy<Value = SaParams> {
    let replay = (select(&[0_u32, 1, 32, 64]), any::<bool>(), select(&[0_u32, 5, u32::MAX]));
    (key(), any::<bool>(), encap(), replay, limit(), limit()).prop_map(
        |(key, transport, encap, (window, esn, high), soft, hard)| SaParams {
            key,
            mode: if transport { SaMode::Transport } else { SaMode::Tunnel },
            encap,
            replay: Replay { window, esn, start: ReplayStart::High(high) },
            lifetime: Lifetime { soft, hard },
        },
    )
}

fn packet() -> impl Strategy<Value = Packet> {
    let sequence = prop_oneof![1..90_u32, select(&[u32::MAX - 2, u32::MAX - 1, u32::MAX])];
    (any::<bool>(), 1..5_u32, endpoints(), encap(), sequence, 1..4_u32, 20..200_usize).prop_map(
        |(ah, spi, endpoints, encap, sequence, remote, octets)| {
            let outer = OuterHeaders {
                endpoints,
                flow_label: 0,
                ipsec: if ah { Ipsec::Ah } else { Ipsec::Esp },
                encap,
                spi: Spi(spi),
                sequence,
                sequence_high: 0,
                sport: 0,
                dport: 0,
                offset: 20,
                octets: 100,
            };
            Packet { outer, remote, octets }
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (params(), select(&[100, 200])).prop_map(|(params, child)| Op::Add(params, child)),
        1 => key().prop_map(Op::Delete),
        8 => packet().prop_map(Op::Packet),
        2 => (0..9_000_u64).prop_map(Op::Tick),
    ]
}

/// The Child SA that accepts, or why none does and which would.
type Judged = Result<ChildId, (Reason, Option<ChildId>)>;

/// A packet all the way: the SA that it came on, what was guessed of its number, and the verdict.
fn judge(
    worker: &mut Worker<'_>,
    packet: &Packet,
    now_ms: u64,
) -> Result<(SaId, OuterHeaders, Judged), Reason> {
    let ingress = Ingress { now_ms, interface: 0 };
    let (sa, outer) = match worker.lookup(&packet.outer, ingress) {
        Arrival::Sa(sa, outer) => (sa, outer),
        Arrival::Drop(refusal) => return Err(refusal.reason),
        Arrival::Pass(_) => unreachable!("IPsec"),
    };
    let inner = InnerHeaders {
        endpoints: Endpoints::V4 { src: packet.remote, dst: 9 },
        protocol: 17,
        next_layer: NextLayer::Ports { src: 1, dst: 2 },
        fragment: Fragment::None,
    };
    let verdict = worker.check_headers(sa, &outer, &inner, packet.octets, ingress);
    let decision = match verdict.decision {
        Decision::Accept(child) => Ok(child),
        Decision::Drop(refusal) => Err((refusal.reason, refusal.belongs_to)),
    };
    Ok((sa, outer, decision))
}

/// The soft limits that were told. Drops are verdicts already, and what is told of them depends on budgets.
fn soft_limits(worker: &mut Worker<'_>) -> Vec<LimitKind> {
    let events = std::iter::from_fn(|| worker.next_event());
    let soft = |event: Event| match event.cause {
        Cause::SoftLifetime(kind) => Some(kind),
        _ => None,
    };
    events.filter_map(soft).collect()
}

const UNLIMITED: EventBudget = EventBudget { per_second: 1 << 20, burst: 1 << 20 };

proptest! {
    #[test]
    fn restored_sas_judge_packets_alike_and_replays_above_the_top_too(
        before in proptest::collection::vec(op(), 0..60),
        after in proptest::collection::vec((packet(), 0..3_000_u64), 0..60),
        clock in select(&[0_u64, 5_000, 1 << 60]),
        elapsed_ms in select(&[0_u64, 700, 20_000]),
        slots in 1..30_u32,
        reserve in any::<bool>(),
    ) {
        let mut here = Gateway::new(&CAPACITY, [1, 2]).unwrap();
        let (control, mut workers) = here.split();
        let children = configure(control, [100, 200], false);
        let mut worker = workers.take().unwrap();
        worker.set_event_budget(UNLIMITED);
        let mut now_ms = 1_000_000;
        if reserve {
            // An SPI of a direct slot, which on the standby is as any other.
            let spi = control.reserve_spi(Ipsec::Esp, now_ms).unwrap();
            let key = SaKey::new(Ipsec::Esp, spi, None, None).unwrap();
            control.add_sa(children[&100], &SaParams::new(key)).unwrap();
            control.reserve_spi(Ipsec::Esp, now_ms).unwrap();
        }
        for op in &before {
            match op {
                Op::Add(params, child) => {
                    let _ = control.add_sa(children[child], params);
                }
                Op::Delete(key) => {
                    if let Some(sa) = control.find_sa(key) {
                        control.delete_sa(sa, now_ms).unwrap();
                    }
                }
                Op::Packet(packet) => {
                    let _ = judge(&mut worker, packet, now_ms);
                    worker.quiescent();
                }
                Op::Tick(ms) => now_ms += ms,
            }
        }
        let mut pass = Pass::default();
        let octets = written(|writer, piece| {
            let count = writer.sas(control, &mut pass, slots, now_ms, name_of(&children), piece);
            (count, pass.is_done())
        });
        now_ms += elapsed_ms;

        let capacity = Capacity { sas: 90, sas_allocated: 0, replay_window: 2048, ..CAPACITY };
        let mut there = Gateway::new(&capacity, [3, 4]).unwrap();
        let (standby, mut workers) = there.split();
        let their_children = configure(standby, [200, 100], true);
        let mut their_worker = workers.take().unwrap();
        their_worker.set_event_budget(UNLIMITED);
        let taken_ms = now_ms;
        let shift = |ms: u64| clock + (ms - taken_ms);
        let mut pairs = Vec::new();
        for record in read(&octets, elapsed_ms) {
            let Record::Sa(record) = record else { continue };
            let child = their_children[&record.child];
            let theirs = standby.restore_sa(child, &record, 0, shift(now_ms)).unwrap();
            let ours = control.find_sa(&record.key).unwrap();
            let again = standby.sa_record(theirs, shift(now_ms), name_of(&their_children)).unwrap();
            prop_assert_eq!(again, record);
            pairs.push((ours, theirs, record));
        }
        let live = children.values().map(|child| control.established(child.index())).sum::<u32>();
        prop_assert_eq!(live as usize, pairs.len());
        let _ = (soft_limits(&mut worker), soft_limits(&mut their_worker));

        for (packet, ms) in &after {
            now_ms += ms;
            // The number of the packet goes on where the SA's snapshot was.
            let mut packet = *packet;
            let mut sas = [SaId::NONE];
            worker.find_sas(&[packet.outer], &mut sas);
            if let Some((.., record)) = pairs.iter().find(|(ours, ..)| *ours == sas[0])
                && let ReplayStart::Top(top) = record.replay.start
            {
                packet.outer.sequence = packet.outer.sequence.max(1) % 90;
                packet.outer.sequence = (top as u32).saturating_add(packet.outer.sequence + 1);
                if (top as u32) == u32::MAX {
                    continue;
                }
            }
            let ours = judge(&mut worker, &packet, now_ms);
            let theirs = judge(&mut their_worker, &packet, shift(now_ms));
            match (ours, theirs) {
                (Ok((sa, outer, decision)), Ok((their_sa, their_outer, their_decision))) => {
                    prop_assert!(pairs.iter().any(|(a, b, _)| (*a, *b) == (sa, their_sa)));
                    prop_assert_eq!(outer, their_outer);
                    let named = |child, children: &BTreeMap<_, _>| name_of(children)(child);
                    let name = |decision: Judged, children| {
                        let owner = |child| named(child, children);
                        decision.map(owner).map_err(|(why, child)| (why, child.map(owner)))
                    };
                    prop_assert_eq!(
                        name(decision, &children),
                        name(their_decision, &their_children)
                    );
                }
                (ours, theirs) => {
                    prop_assert_eq!(ours.err(), theirs.err(), "{:?}", packet);
                }
            }
            prop_assert_eq!(soft_limits(&mut worker), soft_limits(&mut their_worker));
        }
        for (ours, theirs, _) in pairs {
            let (a, b) = (control.sa_record(ours, now_ms, |_| 0), standby.sa_record(theirs, shift(now_ms), |_| 0));
            let (a, b) = (a.unwrap(), b.unwrap());
            prop_assert_eq!((a.used, a.told, a.accepted, a.lifetime),
                (b.used, b.told, b.accepted, b.lifetime));
        }
    }
}

/// A gateway with its Child SA 100, for one SA.
fn with_gateway(test: impl FnOnce(&mut Control<'_>, &mut Worker<'_>, ChildId)) {
    let mut gateway = Gateway::new(&CAPACITY, [8, 9]).unwrap();
    let (control, mut workers) = gateway.split();
    let children = configure(control, [100, 200], false);
    test(control, &mut workers.take().unwrap(), children[&100]);
}

fn record(replay: Replay) -> SaRecord {
    SaRecord {
        key: SaKey::new(Ipsec::Esp, Spi(0x100), None, None).unwrap(),
        child: 100,
        mode: SaMode::Tunnel,
        encap: Encap::None,
        replay,
        lifetime: Lifetime::default(),
        used: [0; 2],
        told: false,
        accepted: [0; 2],
    }
}

/// RFC 4303 section 3.4.3: what came after the snapshot is a replay if the margin is right.
#[test]
fn rfc4303_3_4_3_a_margin_refuses_what_came_since_and_costs_as_much() {
    let replay = |start| Replay { window: 64, esn: false, start };
    let first_accepted = |replay, margin| {
        let mut first = None;
        with_gateway(|control, worker, child| {
            control.restore_sa(child, &record(replay), margin, 0).unwrap();
            let fits = |low: &u32| {
                let outer = OuterHeaders {
                    endpoints: Endpoints::V4 { src: 1, dst: 7 },
                    flow_label: 0,
                    ipsec: Ipsec::Esp,
                    encap: Encap::None,
                    spi: Spi(0x100),
                    sequence: *low,
                    sequence_high: 0,
                    sport: 0,
                    dport: 0,
                    offset: 20,
                    octets: 100,
                };
                judge(worker, &Packet { outer, remote: 1, octets: 20 }, 0).is_ok()
            };
            first = (0..4000).chain(u32::MAX - 9..=u32::MAX).find(fits);
        });
        first
    };
    assert_eq!(first_accepted(replay(ReplayStart::Top(1000)), 0), Some(1001));
    assert_eq!(first_accepted(replay(ReplayStart::Top(1000)), 2000), Some(3001));
    assert_eq!(first_accepted(replay(ReplayStart::High(0)), 0), Some(1));
    assert_eq!(first_accepted(replay(ReplayStart::High(0)), 2000), Some(2001));
    // It ends at the last number and does not come round to the first.
    let near = replay(ReplayStart::Top(u64::from(u32::MAX) - 5));
    assert_eq!(first_accepted(near, 0), Some(u32::MAX - 4));
    assert_eq!(first_accepted(near, 6), None);
    assert_eq!(first_accepted(near, u64::MAX), None);
    let esn = Replay { esn: true, ..replay(ReplayStart::Top(u64::MAX - 5)) };
    assert_eq!(first_accepted(esn, u64::MAX), None);
    let esn = Replay { esn: true, ..replay(ReplayStart::High(3)) };
    assert_eq!(first_accepted(esn, 10), Some(11));
    // Without a window nothing counts as seen.
    let none = Replay { window: 0, ..replay(ReplayStart::Top(1000)) };
    assert_eq!(first_accepted(none, 2000), Some(0));
}

#[test]
fn an_sa_is_restored_only_where_it_could_be_added() {
    with_gateway(|control, _, child| {
        let plain = record(Replay::default());
        let wide = record(Replay { window: 65, ..Replay::default() });
        let refused = control.restore_sa(child, &wide, 0, 0);
        assert_eq!(refused, Err(SaError::Window { limit: 64 }));
        let stale = ChildId::from_raw(child.index(), child.generation() + 2);
        assert_eq!(control.restore_sa(stale, &plain, 0, 0), Err(SaError::StaleChild));
        let sa = control.restore_sa(child, &plain, 0, 0).unwrap();
        assert_eq!(control.restore_sa(child, &plain, 0, 0), Err(SaError::Duplicate));
        assert_eq!(control.remove_child(child), Err(crate::error::ConfigError::InUse));
        control.delete_sa(sa, 0).unwrap();
        control.remove_child(child).unwrap();
    });
}

/// The count of an SA that is gone stays with its tunnel, and with nobody else.
#[test]
fn what_was_accepted_before_goes_on_in_the_counts() {
    with_gateway(|control, worker, child| {
        let sa = record(Replay::default());
        let counted = SaRecord { accepted: [7, 700], ..sa };
        let before = control.restore_sa(child, &counted, 0, 0).unwrap();
        let counts = control.sa_counts(before).unwrap();
        assert_eq!((counts.packets, counts.octets), (7, 700));
        control.delete_sa(before, 0).unwrap();
        for _ in 0..100 {
            worker.quiescent();
            let sa = control.restore_sa(child, &sa, 0, 0).unwrap();
            assert_eq!(control.sa_counts(sa).unwrap().packets, 0);
            control.delete_sa(sa, 0).unwrap();
        }
        assert_eq!(control.total_counts().packets, 7);
    });
}

pub(super) fn restore_hostile(record: &SaRecord, margin: u64, now_ms: u64) {
    with_gateway(|control, worker, child| {
        let restored = control.restore_sa(child, record, margin, now_ms);
        assert_eq!(restored.ok(), control.find_sa(&record.key));
        let outer = OuterHeaders {
            endpoints: Endpoints::V4 { src: 1, dst: 7 },
            flow_label: 0,
            ipsec: record.key.ipsec,
            encap: record.encap,
            spi: record.key.spi,
            sequence: 9,
            sequence_high: 0,
            sport: 0,
            dport: 0,
            offset: 20,
            octets: 100,
        };
        for outer in [outer, OuterHeaders { sequence: u32::MAX, ..outer }] {
            let _ = judge(worker, &Packet { outer, remote: 1, octets: 20 }, now_ms);
        }
    });
}
