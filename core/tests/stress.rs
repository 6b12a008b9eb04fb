//! Readers beside a writer that rekeys, moves and removes: no false answer, and no SA of one
//! version judged by the selectors of another. The thread sanitizer runs this too (`.ci/full`).

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use espial::headers::{
    Encap, Endpoints, Fragment, InnerHeaders, Ipsec, NextLayer, OuterHeaders, Spi,
};
use espial::inbound::{Arrival, Ingress};
use espial::sad::SaKey;
use espial::selector::{AddrRange, TrafficSelector};
use espial::verdict::{Mode, Modes, Reason, SpiClass};
use espial::{Capacity, ChildId, Control, Gateway, SaId, SaParams, TunnelId, Worker};

const READERS: usize = 2;
/// Turns of the writer, each of which waits for every reader a few times; `ESPIAL_STRESS_TURNS`
/// asks for more.
const TURNS: u32 = 500;
/// An SA that stays throughout, and its only source address.
const STEADY: u32 = 0x5000;
/// An SPI that is always there, on one SA after the other.
const MOVING: u32 = 0x6000;
/// SPIs that come and go.
const CHURN: u32 = 0x7000;

fn host(address: u32) -> TrafficSelector {
    TrafficSelector::any(AddrRange::V4 { lo: address, hi: address })
}

fn params(spi: u32) -> SaParams {
    let key = SaKey::new(Ipsec::Esp, Spi(spi), None, None).unwrap();
    SaParams::new(key)
}

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
        octets: 64,
    }
}

fn inner(src: u32) -> InnerHeaders {
    InnerHeaders {
        endpoints: Endpoints::V4 { src, dst: 9 },
        protocol: 17,
        next_layer: NextLayer::Ports { src: 1, dst: 2 },
        fragment: Fragment::None,
    }
}

/// What a Child SA's only source address is. Written before its SA can be found.
type Sources = Mutex<HashMap<ChildId, u32>>;

struct Read {
    checked: u64,
    unknown: u64,
}

fn reader(
    mut worker: Worker<'_>,
    sources: &Sources,
    serial: &AtomicU32,
    rounds: &AtomicU32,
    stop: &AtomicBool,
) -> Read {
    let ingress = Ingress::default();
    let mut read = Read { checked: 0, unknown: 0 };
    while !stop.load(Ordering::Relaxed) {
        for turn in 0..64_u32 {
            let steady = outer(STEADY);
            let Arrival::Sa(sa, _) = worker.lookup(&steady, ingress) else {
                panic!("the steady SA was lost");
            };
            let verdict = worker.check_headers(sa, &steady, &inner(STEADY), 60, ingress);
            assert!(verdict.is_accept(), "{verdict:?}");

            let source = serial.load(Ordering::Relaxed).wrapping_sub(turn % 3);
            for spi in [MOVING, CHURN + turn % 8] {
                let packet = outer(spi);
                let sa = match worker.lookup(&packet, ingress) {
                    Arrival::Sa(sa, _) => sa,
                    Arrival::Drop(refusal) => {
                        assert_ne!(spi, MOVING, "the moving SPI was lost");
                        assert_eq!(refusal.reason, Reason::UnknownSpi);
                        read.unknown += 1;
                        continue;
                    }
                    Arrival::Pass(_) => unreachable!(),
                };
                let verdict = worker.check_headers(sa, &packet, &inner(source), 60, ingress);
                let Some((_, child)) = verdict.arrived else {
                    // Deleted between lookup and check.
                    let class = verdict.refusal().unwrap().spi_class;
                    assert_ne!(class, Some(SpiClass::OtherDestination));
                    read.unknown += 1;
                    continue;
                };
                let own = sources.lock().unwrap()[&child];
                assert_eq!(verdict.is_accept(), own == source, "{child:?} {own} {source}");
                read.checked += 1;
            }
        }
        worker.quiescent();
        rounds.fetch_add(1, Ordering::Relaxed);
    }
    read
}

struct Writer<'a, 'm> {
    control: &'a mut Control<'m>,
    tunnel: TunnelId,
    sources: &'a Sources,
    serial: &'a AtomicU32,
}

impl Writer<'_, '_> {
    /// Tries again until every reader was quiescent.
    fn until<T, E: PartialEq + std::fmt::Debug>(
        &mut self,
        busy: E,
        mut step: impl FnMut(&mut Control<'_>) -> Result<T, E>,
    ) -> T {
        loop {
            match step(self.control) {
                Ok(done) => return done,
                Err(error) => assert_eq!(error, busy),
            }
            thread::yield_now();
        }
    }

    fn child(&mut self) -> ChildId {
        let source = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
        let tunnel = self.tunnel;
        let child = self.until(espial::error::ConfigError::Busy, |control| {
            control.add_child(tunnel, &[host(9)], &[host(source)])
        });
        self.sources.lock().unwrap().insert(child, source);
        self.publish();
        child
    }

    fn publish(&mut self) {
        self.until(espial::error::Busy, |control| control.publish());
    }

    fn add(&mut self, child: ChildId, spi: u32) -> SaId {
        self.until(espial::error::SaError::Busy, |control| control.add_sa(child, &params(spi)))
    }
}

#[test]
fn no_false_answer_while_a_writer_rekeys() {
    let capacity = Capacity {
        tunnels: 1,
        children: 24,
        selectors: 24,
        sas: 24,
        sas_dst: 0,
        sas_dst_src: 0,
        sas_allocated: 0,
        replay_window: 0,
        workers: READERS as u32,
    };
    let mut gateway = Gateway::new(&capacity, [1, 2]).unwrap();
    let (control, mut workers) = gateway.split();
    let tunnel = control.add_tunnel(Mode::StrictSa, Modes::NONE).unwrap();
    let (sources, serial, stop) =
        (Sources::default(), AtomicU32::new(100_000), AtomicBool::new(false));
    let steady = control.add_child(tunnel, &[host(9)], &[host(STEADY)]).unwrap();
    control.publish().unwrap();
    control.add_sa(steady, &params(STEADY)).unwrap();
    let mut writer = Writer { control, tunnel, sources: &sources, serial: &serial };
    let first = writer.child();
    let mut moving = (first, writer.add(first, MOVING));

    let all_rounds: [AtomicU32; READERS] = Default::default();
    let reads: Vec<Read> = thread::scope(|scope| {
        let mut rounds = all_rounds.iter();
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                let worker = workers.take().unwrap();
                let (sources, serial, stop) = (&sources, &serial, &stop);
                let rounds = rounds.next().unwrap();
                scope.spawn(move || reader(worker, sources, serial, rounds, stop))
            })
            .collect();
        let mut churn: Vec<(ChildId, SaId)> = Vec::new();
        let turns = std::env::var("ESPIAL_STRESS_TURNS").ok().and_then(|n| n.parse().ok());
        let turns = turns.unwrap_or(TURNS);
        // On, until every reader has been round a few times beside the writer.
        let begun = || all_rounds.iter().all(|rounds| rounds.load(Ordering::Relaxed) > 20);
        for turn in (0..1_000_000).take_while(|turn| *turn < turns || !begun()) {
            // The moving SPI goes to a new Child SA with other selectors, without a gap.
            let child = writer.child();
            let (old_child, old) = moving;
            let sa = writer.until(espial::error::SaError::Busy, |control| {
                control.replace_sa(old, child, &params(MOVING), turn.into())
            });
            writer.control.remove_child(old_child).unwrap();
            moving = (child, sa);
            // Others come and go.
            if churn.len() == 8 {
                let (child, sa) = churn.remove((turn % 8) as usize);
                writer.control.delete_sa(sa, turn.into()).unwrap();
                writer.control.remove_child(child).unwrap();
            }
            let taken = |spi| writer.control.find_sa(&params(spi).key).is_some();
            let spi = (CHURN..CHURN + 8).find(|spi| !taken(*spi)).unwrap();
            let child = writer.child();
            churn.push((child, writer.add(child, spi)));
        }
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    assert!(reads.iter().all(|read| read.checked > 0), "a reader never read");
    println!("unknown meanwhile: {}", reads.iter().map(|read| read.unknown).sum::<u64>());
}
