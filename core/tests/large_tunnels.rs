//! Tunnels with more selectors than a list is searched for. Their Child SAs come and go: after each publication the check
//! says what a scan of all selectors says. Bursts of packets of such tunnels and others are judged as one packet is.

use espial::headers::{
    Encap, Endpoints, Fragment, InnerHeaders, Ipsec, NextLayer, OuterHeaders, Spi,
};
use espial::inbound::{Arrival, Ingress};
use espial::sad::{Lifetime, Limit, Replay, ReplayStart, SaKey};
use espial::selector::{AddrRange, PortRange, Selector};
use espial::verdict::{Mode, Modes};
use espial::{Capacity, ChildId, Control, Gateway, Opened, SaId, SaParams};
use proptest::prelude::*;

const INGRESS: Ingress = Ingress { now_ms: 0, interface: 0 };

fn outer(spi: u32) -> OuterHeaders {
    OuterHeaders {
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
    }
}

/// A selector in a small world, so that most meet others.
fn selector() -> impl Strategy<Value = Selector> {
    let range = |wide: bool| {
        (0_u32..4000, 0_u32..60).prop_map(move |(lo, len)| {
            if wide {
                let at = |n: u32| 0x2001_0db8_0000_0000_0000_0000_0000_0000 | u128::from(n) << 60;
                AddrRange::V6 { lo: at(lo), hi: at(lo + len) }
            } else {
                AddrRange::V4 { lo, hi: lo + len }
            }
        })
    };
    let ports = prop_oneof![Just(PortRange::ANY), Just(PortRange::new(80, 443).unwrap())];
    any::<bool>().prop_flat_map(move |wide| {
        let protocol = prop_oneof![Just(6_u8), Just(17)];
        (range(wide), range(wide), protocol, ports.clone()).prop_map(
            |(remote, local, protocol, local_ports)| Selector {
                remote,
                local,
                protocol,
                remote_ports: PortRange::ANY,
                local_ports,
            },
        )
    })
}

/// The packet at the lower corner of a selector, moved by a little.
fn packet(near: &Selector, off: i32, port: u16) -> InnerHeaders {
    let endpoints = match (near.remote, near.local) {
        (AddrRange::V4 { lo: src, .. }, AddrRange::V4 { hi: dst, .. }) => {
            Endpoints::V4 { src: src.wrapping_add_signed(off), dst: dst.wrapping_add_signed(off) }
        }
        (AddrRange::V6 { lo: src, .. }, AddrRange::V6 { hi: dst, .. }) => Endpoints::V6 {
            src: src.wrapping_add_signed(off.into()),
            dst: dst.wrapping_add_signed(off.into()),
        },
        _ => unreachable!("one family"),
    };
    let next_layer = NextLayer::Ports { src: 5, dst: port };
    InnerHeaders { endpoints, protocol: near.protocol, next_layer, fragment: Fragment::None }
}

#[derive(Clone, Debug)]
enum Edit {
    Add(usize, Vec<Selector>),
    Remove(usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        3 => (0_usize..2, proptest::collection::vec(selector(), 1..4))
            .prop_map(|(tunnel, selectors)| Edit::Add(tunnel, selectors)),
        2 => (0_usize..1000).prop_map(Edit::Remove),
    ]
}

/// Fewer cases than usual: each holds many.
fn few() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases.div_ceil(8), ..usual }
}

/// Selectors that are there from the start: a tree of boxes, now and then one of leaves.
fn bases() -> impl Strategy<Value = Vec<Selector>> {
    let of = |count: usize| proptest::collection::vec(selector(), count);
    prop_oneof![3 => of(400), 1 => of(2600)]
}

proptest! {
    #![proptest_config(few())]
    #[test]
    fn answers_follow_every_publication(
        base in bases(),
        edits in proptest::collection::vec(edit(), 30),
        near in proptest::collection::vec((any::<proptest::sample::Index>(), -2_i32..3, 79_u16..82), 12),
    ) {
        let capacity = Capacity {
            tunnels: 2, children: 40, selectors: 2800, sas: 80, sas_dst: 0, sas_dst_src: 0,
            sas_allocated: 0, replay_window: 0, workers: 1,
        };
        let mut gateway = Gateway::new(&capacity, [1, 2]).unwrap();
        let (control, mut workers) = gateway.split();
        let mut worker = workers.take().unwrap();
        let tunnels = [(); 2].map(|()| control.add_tunnel(Mode::AnySelector, Modes::NONE).unwrap());
        // One Child SA of each tunnel stays, with an SA; one tunnel is large, the other less so.
        let (large, less) = base.split_at(base.len() - 70);
        let mut lists = [large, less].map(|list| vec![list.to_vec()]);
        let mut spi = 0x1000;
        let mut sas: [Vec<(ChildId, SaId)>; 2] = [Vec::new(), Vec::new()];
        let mut establish = |control: &mut Control<'_>, child| {
            let key = SaKey::new(Ipsec::Esp, Spi(spi), None, None).unwrap();
            spi += 1;
            (child, control.add_sa(child, &SaParams::new(key)).unwrap())
        };
        for (at, sas) in sas.iter_mut().enumerate() {
            let child = control.add_child_selectors(tunnels[at], &lists[at][0]).unwrap();
            control.publish().unwrap();
            worker.quiescent();
            sas.push(establish(control, child));
        }
        for edit in edits {
            match edit {
                Edit::Add(at, selectors) if sas[at].len() < 15 => {
                    let child = control.add_child_selectors(tunnels[at], &selectors).unwrap();
                    control.publish().unwrap();
                    sas[at].push(establish(control, child));
                    lists[at].push(selectors);
                }
                Edit::Remove(pick) if sas[pick % 2].len() > 1 => {
                    let at = pick % 2;
                    let (child, sa) = sas[at].remove(1 + pick / 2 % (sas[at].len() - 1));
                    let gone = lists[at].remove(1 + pick / 2 % (lists[at].len() - 1));
                    prop_assert!(!gone.is_empty());
                    control.delete_sa(sa, 0).unwrap();
                    control.remove_child(child).unwrap();
                    control.publish().unwrap();
                }
                _ => continue,
            }
            worker.quiescent();
            for (at, lists) in lists.iter().enumerate() {
                let all: Vec<Selector> = lists.iter().flatten().copied().collect();
                for (near, off, port) in &near {
                    let inner = packet(near.get(&all), *off, *port);
                    let outer = outer(0x1000 + at as u32);
                    let Arrival::Sa(sa, _) = worker.lookup(&outer, INGRESS) else {
                        panic!("the SA is there")
                    };
                    let verdict = worker.check_headers(sa, &outer, &inner, 60, INGRESS);
                    let twin = all.iter().any(|one| one.covers(&inner));
                    prop_assert_eq!(verdict.reason().is_none(), twin, "{:?}: {:?}", inner, verdict);
                }
            }
        }
    }
}

/// The octets of an opened packet, and their protocol. TCP needs no more than its ports here.
fn octets(inner: &InnerHeaders, ports: bool) -> (u8, Vec<u8>) {
    let NextLayer::Ports { src, dst } = inner.next_layer else { unreachable!("ports") };
    let mut behind = [src, dst, 12, 0].map(u16::to_be_bytes).concat();
    behind.extend([0; 12]);
    match inner.endpoints {
        Endpoints::V4 { src, dst } => {
            let offset = if ports { 0 } else { 9 };
            let head = [0x45, 0, 0, 40, 0, 0, 0, offset, 64, inner.protocol, 0, 0];
            let ends = [src, dst].map(u32::to_be_bytes).concat();
            (4, [&head[..], &ends, &behind].concat())
        }
        Endpoints::V6 { src, dst } => {
            let head = [0x60, 0, 0, 0, 0, 20, inner.protocol, 64];
            let ends = [src, dst].map(u128::to_be_bytes).concat();
            (41, [&head[..], &ends, &behind].concat())
        }
    }
}

/// A packet of a burst.
#[derive(Clone, Debug)]
struct Sent {
    /// Most are of the tunnel that is chosen for the burst.
    stray: Option<usize>,
    sa: usize,
    near: proptest::sample::Index,
    off: i32,
    port: u16,
    sequence: u32,
    kind: u8,
}

fn sent() -> impl Strategy<Value = Sent> {
    let stray = prop_oneof![9 => Just(None), 1 => (0_usize..4).prop_map(Some)];
    // Most packets are of the SA's own selectors.
    let off = prop_oneof![6 => Just(0), 1 => -2_i32..3];
    let near = any::<proptest::sample::Index>();
    (stray, 0_usize..100, near, off, 79_u16..82, 1_u32..2000, any::<u8>()).prop_map(
        |(stray, sa, near, off, port, sequence, kind)| Sent {
            stray,
            sa,
            near,
            off,
            port,
            sequence,
            kind,
        },
    )
}

/// A tunnel: its mode, a shadow mode, and how many selectors each of its Child SAs has.
type Shape = (Mode, Modes, Vec<usize>);

fn shape() -> impl Strategy<Value = Shape> {
    let mode = prop_oneof![
        3 => Just(Mode::StrictSa),
        3 => Just(Mode::AnySelector),
        3 => Just(Mode::OrderedSpd),
        1 => Just(Mode::AnySource),
    ];
    let shadow = prop_oneof![
        9 => Just(Modes::NONE),
        1 => Just(Modes::NONE.with(Mode::AnySource)),
    ];
    let few = proptest::collection::vec(1_usize..8, 1..4);
    let many = proptest::collection::vec(prop_oneof![30_usize..120, 1_usize..8], 1..4);
    (mode, shadow, prop_oneof![1 => few, 3 => many])
}

/// The SAs of a tunnel, and the selectors of each.
type Sas = Vec<(SaId, Vec<Selector>)>;

/// A gateway with these tunnels. Every Child SA but one has two SAs, of which one has a window and limits.
fn gateway(
    shapes: &[Shape],
    mut selectors: impl Iterator<Item = Selector>,
) -> (Gateway<'static>, Vec<Sas>) {
    let capacity = Capacity {
        tunnels: 4,
        children: 16,
        selectors: 1500,
        sas: 40,
        sas_dst: 0,
        sas_dst_src: 0,
        sas_allocated: 0,
        replay_window: 64,
        workers: 1,
    };
    let mut gateway = Gateway::new(&capacity, [1, 2]).unwrap();
    let (control, _) = gateway.split();
    let mut all = Vec::new();
    for (mode, shadow, children) in shapes {
        let tunnel = control.add_tunnel(*mode, *shadow).unwrap();
        let children: Vec<_> = children
            .iter()
            .map(|count| {
                let own: Vec<_> = selectors.by_ref().take(*count).collect();
                (control.add_child_selectors(tunnel, &own).unwrap(), own)
            })
            .collect();
        all.push(children);
    }
    control.publish().unwrap();
    let mut spi = 0x1000;
    let mut params = |replay, lifetime| {
        spi += 1;
        let key = SaKey::new(Ipsec::Esp, Spi(spi), None, None).unwrap();
        SaParams { replay, lifetime, ..SaParams::new(key) }
    };
    let window = Replay { window: 64, esn: false, start: ReplayStart::High(0) };
    let limit = |packets| Limit { packets: Some(packets), ..Limit::default() };
    let lifetime = Lifetime { soft: limit(5), hard: limit(20) };
    let sas = all.into_iter().map(|children| {
        let mut sas = Vec::new();
        let unused = children.len() - usize::from(children.len() > 1);
        for (child, own) in children.into_iter().take(unused) {
            let plain = control.add_sa(child, &params(Replay::default(), Lifetime::default()));
            sas.push((plain.unwrap(), own.clone()));
            sas.push((control.add_sa(child, &params(window, lifetime)).unwrap(), own));
        }
        sas
    });
    let sas = sas.collect();
    (gateway, sas)
}

proptest! {
    #![proptest_config(few())]
    #[test]
    fn bursts_are_judged_as_one_packet_is(
        base in proptest::collection::vec(selector(), 250),
        shapes in proptest::collection::vec(shape(), 4),
        bursts in proptest::collection::vec(
            (0_usize..4, proptest::collection::vec(sent(), 1..65)), 12),
    ) {
        let (mut together, sas) = gateway(&shapes, base.iter().copied().cycle());
        let (mut alone, same) = gateway(&shapes, base.iter().copied().cycle());
        prop_assert_eq!(&sas, &same);
        let ((control, mut workers), (alone_control, mut alone_workers)) =
            (together.split(), alone.split());
        let (mut worker, mut one) = (workers.take().unwrap(), alone_workers.take().unwrap());
        for (now_ms, (tunnel, burst)) in bursts.iter().enumerate() {
            let ingress = Ingress { now_ms: now_ms as u64, interface: 0 };
            let packets: Vec<_> = burst
                .iter()
                .map(|sent| {
                    let sas = &sas[sent.stray.unwrap_or(*tunnel)];
                    let (sa, own) = &sas[sent.sa % sas.len()];
                    let near = if sent.kind < 200 { own } else { &base };
                    let inner = packet(sent.near.get(near), sent.off, sent.port);
                    let (protocol, mut octets) = octets(&inner, sent.kind != 0);
                    let outer = OuterHeaders { sequence: sent.sequence, ..outer(sa.spi().0) };
                    let (sa, protocol) = match sent.kind {
                        1 => (SaId::from_raw(77), protocol),
                        2 => (*sa, 59),
                        3 => {
                            octets.truncate(23);
                            (*sa, protocol)
                        }
                        _ => (*sa, protocol),
                    };
                    (sa, outer, protocol, octets)
                })
                .collect();
            let opened: Vec<_> = packets
                .iter()
                .map(|(sa, outer, next_header, payload)| Opened {
                    sa: *sa,
                    outer,
                    next_header: *next_header,
                    payload,
                })
                .collect();
            let singly: Vec<_> = opened.iter().map(|opened| one.check(opened, ingress)).collect();
            let mut verdicts = vec![singly[0]; opened.len()];
            prop_assert_eq!(worker.check_burst(&opened, ingress, &mut verdicts), opened.len());
            prop_assert_eq!(&verdicts, &singly);
            prop_assert_eq!(worker.nearest_selector(), one.nearest_selector());
            loop {
                let event = worker.next_event();
                prop_assert_eq!(event, one.next_event());
                if event.is_none() {
                    break;
                }
            }
        }
        for (sa, _) in sas.iter().flatten() {
            prop_assert_eq!(control.sa_counts(*sa), alone_control.sa_counts(*sa));
        }
        prop_assert_eq!(control.total_counts(), alone_control.total_counts());
    }
}
