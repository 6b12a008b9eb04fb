//! The tables around the selector check, beside hashbrown with the same key and a plain loop.
//!
//! Groups are `gate/TABLE/SIZE/CASE`, rows contenders. The README says how to read them; every answer is
//! compared before the first row of a size is timed.

mod start;

use std::cell::{LazyCell, RefCell};

use criterion::{Criterion, Throughput};
use espial::headers::Family;
use espial_benches::gate::{Case, Contender, Field, Policies, Sessions, Tunnels, agree};
use start::start;

/// Packets of a pass.
const ITEMS: usize = 1 << 14;

const ROWS: [(&str, Contender); 5] = [
    ("single", Contender::Espial(1)),
    ("burst32", Contender::Espial(32)),
    ("hashbrown", Contender::Hashbrown),
    ("hashbrown-sip13", Contender::HashbrownSip),
    ("plain", Contender::Plain),
];

type Make = fn(usize, u64) -> Box<dyn Field>;

const LOCAL_IN: (&str, Make) = ("local_in", |n, seed| Box::new(Policies::new(n, ITEMS, seed)));
const FLOWS: [(&str, Make); 2] = [
    ("session", |n, seed| Box::new(Sessions::new(n, ITEMS, Family::V4, seed))),
    ("passthrough", |n, seed| Box::new(Tunnels::new(n, ITEMS, Family::V4, seed))),
];

fn table(
    criterion: &mut Criterion,
    (name, make): (&str, Make),
    (size, n): (&str, usize),
    seed: u64,
) {
    // Made when the first row that is wanted runs.
    let field = LazyCell::new(move || {
        let mut field = make(n, seed);
        let sample = (1 << 24) / n;
        agree(&mut *field, sample.clamp(1000, ITEMS));
        RefCell::new(field)
    });
    let is_flows = name != LOCAL_IN.0;
    let there = |contender: Contender| match contender {
        Contender::Espial(_) => true,
        Contender::Hashbrown | Contender::HashbrownSip => is_flows,
        Contender::Plain => !is_flows,
    };
    for case in Case::ALL {
        let mut group = criterion.benchmark_group(format!("gate/{name}/{size}/{}", case.name()));
        for (row, contender) in ROWS.into_iter().filter(|(_, one)| there(*one)) {
            let items = match contender {
                Contender::Plain => ((1 << 22) / n).min(ITEMS),
                _ => ITEMS,
            };
            group.throughput(Throughput::Elements(items as u64));
            let mut answers = vec![0; items];
            group.bench_function(row, |bencher| {
                let mut field = field.borrow_mut();
                bencher.iter(|| field.pass(contender, case, 0..items, &mut answers));
            });
        }
        group.finish();
    }
}

fn main() {
    let seed = espial_benches::seed();
    let (mut criterion, test) = start(0.2);
    let of = |all: &'static [(&'static str, usize)], in_test: usize| {
        if test { &all[..in_test] } else { all }
    };
    for &size in of(&[("16", 16), ("1k", 1000), ("10k", 10_000)], 2) {
        table(&mut criterion, LOCAL_IN, size, seed);
    }
    for &size in of(&[("1k", 1 << 10), ("1M", 1 << 20)], 1) {
        FLOWS.into_iter().for_each(|flows| table(&mut criterion, flows, size, seed));
    }
    criterion.final_summary();
}
