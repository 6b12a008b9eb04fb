//! SPI to SA, beside known peers.
//!
//! Groups are `sad/lookup/SIZE/CASE`, rows `KEYS/CONTENDER`; and `sad/keys/SIZE`. The README says how
//! to read them. What each contender finds is compared before its row is timed.

mod start;

use std::cell::LazyCell;

use criterion::{Criterion, Throughput};
use espial_benches::arena::{Arena, Ask, Contender, Load, Way};
use espial_benches::mixed::{Mixed, MixedContender};
use espial_cli::lookup::scene::SpiKind;
use start::start;

const SIZES: [(&str, usize); 2] = [("1k", 1 << 10), ("64k", 1 << 16)];
const LARGE: [(&str, usize); 2] = [("1M", 1 << 20), ("4M", 1 << 22)];

/// SPIs that are looked up in a pass, at least.
const LEAST: usize = 1 << 16;

/// A case: how full espial's table is, what is asked for, and of which SPIs.
struct Case {
    name: &'static str,
    load: Load,
    /// Direct slots, buckets, half and half.
    keys: [(&'static str, SpiKind, Ask); 3],
}

const fn keys(ask: Ask) -> [(&'static str, SpiKind, Ask); 3] {
    [
        ("direct", SpiKind::Allocated, ask),
        ("bucket", SpiKind::Random, ask),
        ("mixed", SpiKind::Both, ask),
    ]
}

const CASES: [Case; 4] = [
    Case { name: "hit", load: Load::Half, keys: keys(Ask::Hit) },
    Case { name: "miss", load: Load::Full, keys: keys(Ask::Miss) },
    Case { name: "full", load: Load::Full, keys: keys(Ask::Hit) },
    Case {
        name: "hostile",
        load: Load::Full,
        keys: [
            // Nobody but the gateway chooses these: what others can do is ask for their slots.
            ("direct", SpiKind::Allocated, Ask::NearMiss),
            ("bucket", SpiKind::Pattern, Ask::Hit),
            ("mixed", SpiKind::BothPattern, Ask::Hit),
        ],
    },
];

fn contenders(load: Load) -> Vec<(&'static str, Contender)> {
    vec![
        ("single", Contender::Espial(load, Way::Single)),
        ("burst8", Contender::Espial(load, Way::Burst(8))),
        ("burst32", Contender::Espial(load, Way::Burst(32))),
        ("burst64", Contender::Espial(load, Way::Burst(64))),
        ("hashbrown", Contender::Hashbrown),
        ("std", Contender::Std),
        ("heapless", Contender::Heapless),
        ("roofline", Contender::Roofline(Way::Burst(32))),
        ("rte_ipsec_sad/single", Contender::Sad(Way::Single)),
        ("rte_ipsec_sad/burst32", Contender::Sad(Way::Burst(32))),
        ("rte_hash/single", Contender::Hash(Way::Single)),
        ("rte_hash/burst32", Contender::Hash(Way::Burst(32))),
    ]
}

fn lookup(criterion: &mut Criterion, size: &str, sas: usize, seed: u64) {
    for Case { name, load, keys } in CASES {
        let mut group = criterion.benchmark_group(format!("sad/lookup/{size}/{name}"));
        group.throughput(Throughput::Elements(LEAST.max(sas) as u64));
        for (keys, spis, ask) in keys {
            let arena = LazyCell::new(move || Arena::new(sas, spis, load, LEAST, seed));
            for (id, contender) in contenders(load) {
                if !Arena::new(sas, spis, load, LEAST, seed).has(contender) {
                    continue;
                }
                group.bench_function(format!("{keys}/{id}"), |bencher| {
                    arena.prepare(contender, ask);
                    bencher.iter(|| arena.pass(contender, ask, 0..arena.items()));
                });
            }
        }
        group.finish();
    }
}

fn keys_of_three_types(criterion: &mut Criterion, size: &str, sas: usize, seed: u64) {
    let mut group = criterion.benchmark_group(format!("sad/keys/{size}"));
    group.throughput(Throughput::Elements(LEAST.max(sas) as u64));
    let mixed = LazyCell::new(|| Mixed::new(sas, LEAST, seed));
    for (ask, hit) in [("hit", true), ("miss", false)] {
        for (id, contender) in [
            ("burst32", MixedContender::Espial),
            ("hashbrown", MixedContender::Hashbrown),
            ("rte_ipsec_sad/burst32", MixedContender::Sad),
        ] {
            if contender == MixedContender::Sad && !cfg!(feature = "dpdk") {
                continue;
            }
            group.bench_function(format!("{ask}/{id}"), |bencher| {
                bencher.iter(|| mixed.pass(contender, hit, 0..mixed.items()));
            });
        }
    }
    group.finish();
}

fn main() {
    let seed = espial_benches::seed();
    let (mut criterion, test) = start(0.3);
    let sizes = match std::env::var_os("ESPIAL_BENCH_LARGE") {
        _ if test => SIZES[..1].to_vec(),
        Some(_) => [SIZES, LARGE].concat(),
        None => SIZES.to_vec(),
    };
    for (size, sas) in sizes {
        lookup(&mut criterion, size, sas, seed);
        keys_of_three_types(&mut criterion, size, sas, seed);
    }
    criterion.final_summary();
}
