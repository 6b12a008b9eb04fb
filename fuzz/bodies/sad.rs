//! The SPI table beside a map: keys of all lengths, both families, ESP and AH, in a world so small
//! that SPIs and addresses meet. `bodies::model` judges selectors and finds its SAs by SPI alone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use espial::error::SaError;
use espial::headers::{Encap, Endpoints, Ipsec, OuterHeaders, Spi};
use espial::inbound::{Arrival, Ingress};
use espial::sad::{SaKey, SaMode, Scope};
use espial::selector::{AddrRange, TrafficSelector};
use espial::verdict::{Mode, Modes, Reason, SpiClass};
use espial::{Capacity, Control, Gateway, SaId, SaParams, Worker};

use crate::bodies::Choices;

/// Protocol (true: AH), SPI, destination, source.
type Key = (bool, u32, Option<IpAddr>, Option<IpAddr>);

const CAPACITY: Capacity = Capacity {
    tunnels: 1,
    children: 1,
    selectors: 2,
    sas: 4,
    sas_dst: 3,
    sas_dst_src: 3,
sas_allocated: 0,
replay_window: 0,
    workers: 1,
};

struct Twin {
    sas: BTreeMap<Key, SaId>,
    /// Every key that was deleted once.
    deleted: BTreeSet<Key>,
    /// Slots that no SA has and that may still be held by the worker.
    unsettled: usize,
}

impl Twin {
    /// The keys that would fit a packet, longest first.
    fn fitting(outer: &OuterHeaders) -> [Key; 3] {
        let (ah, spi) = (!outer.is_esp(), outer.spi.0);
        let (dst, src) = (outer.endpoints.dst(), outer.endpoints.src());
        [(ah, spi, Some(dst), Some(src)), (ah, spi, Some(dst), None), (ah, spi, None, None)]
    }

    fn in_use(&self, outer: &OuterHeaders) -> bool {
        self.sas.keys().any(|key| (key.0, key.1) == (!outer.is_esp(), outer.spi.0))
    }

    fn limit(key: &Key) -> usize {
        match (key.2, key.3) {
            (None, _) => CAPACITY.sas as usize,
            (Some(_), None) => CAPACITY.sas_dst as usize,
            (Some(_), Some(_)) => CAPACITY.sas_dst_src as usize,
        }
    }

    fn full(&self, key: &Key) -> bool {
        let shape = |key: &Key| (key.2.is_some(), key.3.is_some());
        self.sas.keys().filter(|other| shape(other) == shape(key)).count() == Self::limit(key)
    }
}

fn addr(choices: &mut Choices<'_>, v6: bool) -> IpAddr {
    let n = choices.below(3) as u8;
    // Addresses of both families whose last words are equal must not be mistaken for each other.
    if v6 { Ipv6Addr::from(u128::from(n)).into() } else { Ipv4Addr::from(u32::from(n)).into() }
}

fn key(choices: &mut Choices<'_>) -> Key {
    let (kind, spi) = (choices.below(12), 256 + choices.below(3) as u32);
    let v6 = kind & 1 == 1;
    let dst = (kind >= 4).then(|| addr(choices, v6));
    let src = (kind >= 8).then(|| addr(choices, v6));
    (kind & 2 == 2, spi, dst, src)
}

fn params(key: &Key) -> SaParams {
    let ipsec = if key.0 { Ipsec::Ah } else { Ipsec::Esp };
    let key = SaKey::new(ipsec, Spi(key.1), key.2, key.3).unwrap();
    SaParams::new(key)
}

fn add(control: &mut Control<'_>, twin: &mut Twin, child: espial::ChildId, key: Key) {
    match control.add_sa(child, &params(&key)) {
        Ok(id) => assert!(twin.sas.insert(key, id).is_none()),
        Err(SaError::Duplicate) => assert!(twin.sas.contains_key(&key)),
        Err(SaError::Full { limit }) => {
            assert_eq!(limit as usize, Twin::limit(&key));
            assert!(twin.full(&key));
        }
        Err(error) => {
            assert_eq!(error, SaError::Busy);
            assert!(twin.unsettled > 0);
        }
    }
}

fn delete(control: &mut Control<'_>, twin: &mut Twin, key: Key, now_ms: u64) {
    let Some(id) = twin.sas.remove(&key) else { return };
    control.delete_sa(id, now_ms).unwrap();
    twin.deleted.insert(key);
    twin.unsettled += 1;
    assert_eq!(control.delete_sa(id, now_ms), Err(SaError::NotFound));
    assert_eq!(control.sa_key(id), None);
}

fn replace(control: &mut Control<'_>, twin: &mut Twin, child: espial::ChildId, key: Key) {
    let Some(old) = twin.sas.get(&key).copied() else { return };
    match control.replace_sa(old, child, &params(&key), 0) {
        Ok(new) => {
            assert_ne!(new, old);
            twin.sas.insert(key, new);
            twin.unsettled += 1;
            assert_eq!(control.sa_key(old), None);
        }
        Err(error) => {
            assert_eq!(error, SaError::Busy);
            assert!(twin.unsettled > 0);
        }
    }
}

fn lookup(worker: &mut Worker<'_>, twin: &Twin, choices: &mut Choices<'_>, now_ms: u64) {
    let v6 = choices.below(2) == 1;
    let endpoints = Endpoints::new(addr(choices, v6), addr(choices, v6)).unwrap();
    let outer = OuterHeaders {
        endpoints,
        flow_label: 0,
        ipsec: [Ipsec::Esp, Ipsec::Ah][choices.below(2)],
        encap: Encap::None,
        spi: Spi(256 + choices.below(4) as u32),
        sequence: 1,
        sequence_high: 0,
        sport: 0,
        dport: 0,
        offset: 20,
        octets: 100,
    };
    let fitting = Twin::fitting(&outer);
    let expected = fitting.iter().find_map(|key| twin.sas.get(key));
    match worker.lookup(&outer, Ingress { now_ms, interface: 0 }) {
        Arrival::Sa(id, headers) => {
            assert_eq!((Some(&id), headers), (expected, outer));
        }
        Arrival::Drop(refusal) => {
            assert_eq!((expected, refusal.reason), (None, Reason::UnknownSpi));
            match refusal.spi_class {
                Some(SpiClass::RecentlyDeleted { ago_ms }) => {
                    assert!(u64::from(ago_ms) <= now_ms);
                    assert!(fitting.iter().any(|key| twin.deleted.contains(key)));
                }
                Some(SpiClass::OtherDestination) => assert!(twin.in_use(&outer)),
                class => {
                    assert_eq!(class, Some(SpiClass::NeverSeen));
                    assert!(!twin.in_use(&outer));
                }
            }
        }
        Arrival::Pass(other) => panic!("{other:?}"),
    }
}

/// Runs the table and its twin on choices.
pub fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let mut gateway = Gateway::new(&CAPACITY, [u64::from(choices.octet()), 11]).unwrap();
    let (control, mut workers) = gateway.split();
    let mut worker = workers.take().unwrap();
    let tunnel = control.add_tunnel(Mode::StrictSa, Modes::NONE).unwrap();
    let any = [TrafficSelector::any(AddrRange::V4 { lo: 0, hi: u32::MAX })];
    let child = control.add_child(tunnel, &any, &any).unwrap();
    control.publish().unwrap();
    let mut twin = Twin { sas: BTreeMap::new(), deleted: BTreeSet::new(), unsettled: 0 };
    let mut now_ms = 0;
    while !choices.done() {
        now_ms += 1;
        match choices.below(8) {
            0 | 1 => add(control, &mut twin, child, key(&mut choices)),
            2 => delete(control, &mut twin, key(&mut choices), now_ms),
            3 => replace(control, &mut twin, child, key(&mut choices)),
            4 => {
                worker.quiescent();
                twin.unsettled = 0;
            }
            _ => lookup(&mut worker, &twin, &mut choices, now_ms),
        }
        for key in twin.sas.keys() {
            assert_eq!(control.find_sa(&params(key).key), twin.sas.get(key).copied());
        }
        assert_eq!(control.child_counts(tunnel), Ok((1, u32::from(!twin.sas.is_empty()))));
    }
    for (key, id) in &twin.sas {
        let SaKey { spi, scope, .. } = control.sa_key(*id).unwrap();
        assert_eq!((spi.0, scope == Scope::Spi), (key.1, key.2.is_none()));
    }
}
