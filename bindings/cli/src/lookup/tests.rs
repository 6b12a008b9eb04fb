use std::collections::HashSet;

use espial::{Ipsec, SaId};
use serde_json::Value;

use super::measure::{BURST_MAX, Effort, burst_pass, chain, single_pass};
use super::scene::{Scene, Shape, SpiKind};
use super::threads::{Pace, Stage};
use super::{Format, Options, run, wrong_answers};

const KINDS: [SpiKind; 5] =
    [SpiKind::Allocated, SpiKind::Random, SpiKind::Pattern, SpiKind::Both, SpiKind::BothPattern];

fn scene(sas: usize, kind: SpiKind) -> Scene {
    Scene::new(&Shape::full(sas, kind, 7), &mut |_| {}).unwrap()
}

#[test]
fn all_sas_are_found_and_no_miss_is() {
    for kind in KINDS {
        for sas in [1, 2, 31, 1000] {
            let mut scene = scene(sas, kind);
            assert_eq!(scene.sas.len(), sas);
            for burst in [1, 32, BURST_MAX] {
                assert_eq!(wrong_answers(&mut scene, burst), 0, "{kind:?} {sas} {burst}");
            }
            let hits = scene.hits(100);
            assert_eq!(hits.len(), sas * 100_usize.div_ceil(sas));
            let misses = [scene.misses(300), scene.near_misses(300)].concat();
            assert_eq!(misses.len(), 600);
            let mut worker = scene.worker();
            assert_eq!(burst_pass(&mut worker, &hits, 32), hits.len());
            assert_eq!(single_pass(&mut worker, &hits), hits.len());
            assert_eq!(burst_pass(&mut worker, &misses, 8), 0);
            assert_eq!(single_pass(&mut worker, &misses), 0);
            let last = worker.spi_table().find(Ipsec::Esp, hits[3]);
            assert_ne!(last, SaId::NONE);
            assert_eq!(chain(&mut worker, &hits[..4], 0), last.to_raw() as u32 ^ last.spi().0);
        }
    }
}

#[test]
fn spis_of_others_are_drawn_once_and_never_reserved() {
    for kind in KINDS {
        let scene = scene(5000, kind);
        let spis: HashSet<_> = scene.sas.iter().map(|sa| sa.spi).collect();
        assert_eq!(spis.len(), 5000);
        assert!(spis.iter().all(|spi| spi.0 > 255));
    }
}

#[test]
fn no_live_sa_is_missed_beside_a_writer() {
    for kind in KINDS {
        let shape = Shape { workers: 2, ..Shape::full(200, kind, 7) };
        let mut stage = Stage::new(&shape, 32, &mut |_| {}).unwrap();
        assert_eq!(stage.read(2, &Effort::LEAST).missed, 0);
        for pace in [Pace::PerSecond(10_000), Pace::Unpaced] {
            let churned = stage.churn(pace, &Effort::LEAST).unwrap();
            assert_eq!(churned.beside.missed, 0, "{kind:?}");
            assert!(churned.updates_per_second > 0.0, "{kind:?} {pace:?}");
        }
    }
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let options = |sas: usize, churn: Option<u32>| Options {
        sas: sas.try_into().unwrap(),
        spis: None,
        burst: 32.try_into().unwrap(),
        threads: None,
        churn: churn.and_then(std::num::NonZeroU32::new),
        effort: Effort::LEAST,
    };
    for refused in [options(1, Some(1)), options(1 << 27, None)] {
        assert!(run(&refused, Format::Json, &mut Vec::new()).is_err());
    }
    let mut out = Vec::new();
    assert_eq!(run(&options(2, Some(1000)), Format::Json, &mut out).unwrap(), 0);
    let rows: Vec<Value> =
        out.split(|octet| *octet == b'\n').filter_map(|l| serde_json::from_slice(l).ok()).collect();
    let of = |measure| rows.iter().filter(move |row| row["measure"] == measure).count();
    let counts = ["memory", "throughput", "latency", "threads", "churn"].map(of);
    assert_eq!(counts, [2, 8, 4, 2, 4]);
}
