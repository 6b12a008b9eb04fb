//! SAs with keys of all three types, in espial and its peers (RFC 4301 section 4.1).

use std::cell::RefCell;
use std::collections::HashSet;
use std::hint::black_box;
use std::ops::Range;

use espial::headers::{Encap, Endpoints, OuterHeaders};
use espial::inbound::{Arrival, Ingress};
use espial::sad::SaKey;
use espial::selector::{AddrRange, TrafficSelector};
use espial::{Capacity, Gateway, Ipsec, Mode, Modes, SaId, SaParams, Spi, Worker};

use crate::Rng;
#[cfg(feature = "dpdk")]
use crate::peers::dpdk::SadMixed;
use crate::peers::{Handle, HashbrownMixed, Keys, Kind, MixedTable};

const BURST: usize = 32;

/// Who is asked. All in bursts of 32.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MixedContender {
    /// `Worker::find_sas`: the table, as its peers.
    Espial,
    /// `Worker::lookup_burst`: encapsulation and the SA's limits are looked at as well, and headers and
    /// events come out.
    EspialArrivals,
    /// Three maps of hashbrown.
    Hashbrown,
    /// `rte_ipsec_sad`; feature `dpdk`.
    Sad,
}

impl MixedContender {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Espial, Self::EspialArrivals, Self::Hashbrown, Self::Sad];
}

/// Keys, a third of each type, in tables; and traces of them.
pub struct Mixed {
    gateway: RefCell<Gateway<'static>>,
    hashbrown: HashbrownMixed,
    #[cfg(feature = "dpdk")]
    sad: SadMixed,
    hits: Columns,
    misses: Columns,
    /// Of espial, hashbrown, rte_ipsec_sad.
    octets: [usize; 3],
}

/// SPIs with addresses.
#[derive(Default)]
struct Columns {
    spis: Vec<u32>,
    dsts: Vec<u32>,
    srcs: Vec<u32>,
}

impl Columns {
    fn keys(&self) -> Keys<'_> {
        Keys::new(&self.spis, &self.dsts, &self.srcs)
    }
}

fn kind(place: usize) -> Kind {
    [Kind::Spi, Kind::SpiDst, Kind::SpiDstSrc][place % 3]
}

impl Mixed {
    /// So many SAs, at the gateway's stated capacity; traces are `least` long or more.
    ///
    /// # Panics
    /// If the gateway refuses them or answers otherwise than hashbrown.
    pub fn new(sas: usize, least: usize, seed: u64) -> Self {
        let mut rng = Rng::new(seed, 41);
        let mut taken = HashSet::new();
        let mut draw = |rng: &mut Rng, n: usize| -> Vec<u32> {
            std::iter::repeat_with(|| 256 + rng.below(u32::MAX as usize - 256) as u32)
                .filter(|spi| taken.insert(*spi))
                .take(n)
                .collect()
        };
        let address = |rng: &mut Rng, n: usize| (0..n).map(|_| rng.next() as u32).collect();
        let rows = Columns {
            spis: draw(&mut rng, sas),
            dsts: address(&mut rng, sas),
            srcs: address(&mut rng, sas),
        };
        let mut hits = Columns::default();
        let mut order: Vec<usize> = (0..sas).collect();
        while hits.spis.len() < least.max(sas) {
            rng.shuffle(&mut order);
            hits.spis.extend(order.iter().map(|at| rows.spis[*at]));
            hits.dsts.extend(order.iter().map(|at| rows.dsts[*at]));
            hits.srcs.extend(order.iter().map(|at| rows.srcs[*at]));
        }
        let items = hits.spis.len();
        let misses = Columns {
            spis: draw(&mut rng, items),
            dsts: hits.dsts.clone(),
            srcs: hits.srcs.clone(),
        };
        let kinds: Vec<Kind> = (0..sas).map(kind).collect();
        let hashbrown = HashbrownMixed::new(&kinds, rows.keys());
        #[cfg(feature = "dpdk")]
        let sad = SadMixed::new(&kinds, rows.keys());
        let third = |kind| kinds.iter().filter(|one| **one == kind).count();
        let counts = [third(Kind::Spi), third(Kind::SpiDst), third(Kind::SpiDstSrc)];
        let octets = [
            // 12 a word in buckets; a longer key has two words, and each SA a cache line for its key.
            (12 + 64) * counts[0] + (24 + 64) * (counts[1] + counts[2]),
            hashbrown.octets(),
            #[cfg(feature = "dpdk")]
            sad.octets(),
            #[cfg(not(feature = "dpdk"))]
            0,
        ];
        let made = Self {
            gateway: RefCell::new(install(&rows, counts, &mut rng)),
            hashbrown,
            #[cfg(feature = "dpdk")]
            sad,
            hits,
            misses,
            octets,
        };
        for contender in MixedContender::ALL {
            if made.has(contender) {
                assert_eq!(made.pass(contender, true, 0..items), items, "{contender:?}");
                assert_eq!(made.pass(contender, false, 0..items), 0, "{contender:?}");
            }
        }
        made
    }

    /// Keys of a trace.
    pub fn items(&self) -> usize {
        self.hits.spis.len()
    }

    /// Whether it is built in.
    pub fn has(&self, contender: MixedContender) -> bool {
        contender != MixedContender::Sad || cfg!(feature = "dpdk")
    }

    /// Octets that a contender's tables take; of espial's gateway what a lookup reads.
    pub fn octets(&self, contender: MixedContender) -> usize {
        self.octets[match contender {
            MixedContender::Espial | MixedContender::EspialArrivals => 0,
            MixedContender::Hashbrown => 1,
            MixedContender::Sad => 2,
        }]
    }

    /// Asks for a part of the trace of hits or of misses; how many were found.
    ///
    /// # Panics
    /// If there is no such contender ([`Mixed::has`]).
    pub fn pass(&self, contender: MixedContender, hit: bool, part: Range<usize>) -> usize {
        let keys = if hit { &self.hits } else { &self.misses }.keys().part(part);
        match contender {
            MixedContender::Espial | MixedContender::EspialArrivals => {
                let mut gateway = self.gateway.borrow_mut();
                let mut worker = gateway.split().1.take().expect("room for one worker");
                match contender {
                    MixedContender::Espial => espial_pass(&mut worker, keys),
                    _ => espial_arrivals_pass(&mut worker, keys),
                }
            }
            MixedContender::Hashbrown => peer_pass(&self.hashbrown, keys),
            #[cfg(feature = "dpdk")]
            MixedContender::Sad => peer_pass(&self.sad, keys),
            #[cfg(not(feature = "dpdk"))]
            MixedContender::Sad => panic!("built without feature dpdk"),
        }
    }
}

fn install(rows: &Columns, counts: [usize; 3], rng: &mut Rng) -> Gateway<'static> {
    let capacity = Capacity {
        tunnels: 1,
        children: 1,
        selectors: 1,
        sas: counts[0] as u32,
        sas_dst: counts[1] as u32,
        sas_dst_src: counts[2] as u32,
        sas_allocated: 0,
        replay_window: 0,
        workers: 1,
    };
    let mut gateway = Gateway::new(&capacity, [rng.next(), rng.next()]).expect("fits memory");
    let (control, _) = gateway.split();
    let tunnel = control.add_tunnel(Mode::StrictSa, Modes::NONE).expect("has room");
    let all = [TrafficSelector::any(AddrRange::V4 { lo: 0, hi: u32::MAX })];
    let child = control.add_child(tunnel, &all, &all).expect("has room");
    control.publish().expect("nobody reads yet");
    for (place, spi) in rows.spis.iter().enumerate() {
        let dst = Some(std::net::Ipv4Addr::from_bits(rows.dsts[place]).into());
        let src = Some(std::net::Ipv4Addr::from_bits(rows.srcs[place]).into());
        let (dst, src) = match kind(place) {
            Kind::Spi => (None, None),
            Kind::SpiDst => (dst, None),
            Kind::SpiDstSrc => (dst, src),
        };
        let key = SaKey::new(Ipsec::Esp, Spi(*spi), dst, src).expect("SPI is not 0");
        control.add_sa(child, &SaParams::new(key)).expect("has room");
    }
    gateway
}

fn outer(spi: u32, dst: u32, src: u32) -> OuterHeaders {
    OuterHeaders {
        endpoints: Endpoints::V4 { src, dst },
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

/// Lays headers out as a parser would, and gives them to `take` in bursts. As with the peers, that is
/// timed.
#[inline(always)]
fn bursts(keys: Keys<'_>, mut take: impl FnMut(&[OuterHeaders]) -> usize) -> usize {
    let mut outers = [outer(0, 0, 0); BURST];
    let mut found = 0;
    for from in (0..keys.spis.len()).step_by(BURST) {
        let keys = keys.part(from..keys.spis.len().min(from + BURST));
        let outers = &mut outers[..keys.spis.len()];
        let addresses = keys.dsts.iter().zip(keys.srcs);
        for ((spi, (dst, src)), outer) in keys.spis.iter().zip(addresses).zip(&mut *outers) {
            outer.spi = Spi(*spi);
            outer.endpoints = Endpoints::V4 { src: *src, dst: *dst };
        }
        found += take(outers);
    }
    found
}

#[inline(never)]
fn espial_pass(worker: &mut Worker<'_>, keys: Keys<'_>) -> usize {
    let mut sas = [SaId::NONE; BURST];
    bursts(keys, |outers| {
        let found = worker.find_sas(outers, &mut sas[..outers.len()]);
        black_box(&mut sas);
        found
    })
}

#[inline(never)]
fn espial_arrivals_pass(worker: &mut Worker<'_>, keys: Keys<'_>) -> usize {
    let mut arrivals = [Arrival::Sa(SaId::NONE, outer(0, 0, 0)); BURST];
    let ingress = Ingress { now_ms: 1_000, interface: 1 };
    bursts(keys, |outers| {
        let count = worker.lookup_burst(outers, ingress, &mut arrivals);
        let arrivals = &arrivals[..count];
        black_box(arrivals);
        arrivals.iter().filter(|arrival| matches!(arrival, Arrival::Sa(..))).count()
    })
}

#[inline(never)]
fn peer_pass<T: MixedTable>(table: &T, keys: Keys<'_>) -> usize {
    let mut out = [Handle::NONE; BURST];
    let mut found = 0;
    for from in (0..keys.spis.len()).step_by(BURST) {
        found += table.burst(keys.part(from..keys.spis.len().min(from + BURST)), &mut out);
        black_box(&mut out);
    }
    found
}
