//! Tunnels with more selectors than a list is searched for, whose Child SAs come and go: after each
//! publication the check says what a scan of all selectors says.

use espial::headers::{
    Encap, Endpoints, Fragment, InnerHeaders, Ipsec, NextLayer, OuterHeaders, Spi,
};
use espial::inbound::{Arrival, Ingress};
use espial::sad::SaKey;
use espial::selector::{AddrRange, PortRange, Selector};
use espial::verdict::{Mode, Modes};
use espial::{Capacity, ChildId, Control, Gateway, SaId, SaParams};
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

proptest! {
    #![proptest_config(few())]
    #[test]
    fn answers_follow_every_publication(
        base in proptest::collection::vec(selector(), 400),
        edits in proptest::collection::vec(edit(), 30),
        near in proptest::collection::vec((any::<proptest::sample::Index>(), -2_i32..3, 79_u16..82), 12),
    ) {
        let capacity = Capacity {
            tunnels: 2, children: 40, selectors: 600, sas: 80, sas_dst: 0, sas_dst_src: 0,
            sas_allocated: 0, replay_window: 0, workers: 1,
        };
        let mut gateway = Gateway::new(&capacity, [1, 2]).unwrap();
        let (control, mut workers) = gateway.split();
        let mut worker = workers.take().unwrap();
        let tunnels = [(); 2].map(|()| control.add_tunnel(Mode::AnySelector, Modes::NONE).unwrap());
        // One Child SA of each tunnel stays, with an SA; one tunnel is large, the other less so.
        let mut lists = [base[..330].to_vec(), base[330..].to_vec()].map(|list| vec![list]);
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
