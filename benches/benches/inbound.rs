//! The whole inbound check, and its two calls apart, beside the naive twin.
//!
//! Groups are `inbound/PART/SIZE/CASE`, rows `selN/burstN` and `selN/naive`; the README says how to
//! read them. Every answer of a configuration is compared before its first row is timed.

mod start;

use std::cell::{LazyCell, RefCell};
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Throughput};
use espial_benches::drive::{self, Answers, Arrived, Bed, Input, TURN};
use espial_benches::naive::Naive;
use espial_benches::{Drops, Plan, Shape, Trace};
use start::start;

const SIZES: [(&str, usize); 2] = [("1k", 1 << 10), ("64k", 1 << 16)];
const CASES: [(&str, Drops); 2] = [("accept", Drops::NONE), ("mixed", Drops::MIXED)];
const SELECTORS: [usize; 3] = [1, 4, 16];
const BURSTS: [usize; 3] = [1, 8, TURN];

type Group<'c> = BenchmarkGroup<'c, WallTime>;

/// One configuration with its traffic, whose answers have been compared.
struct Scene {
    bed: RefCell<Bed>,
    naive: Naive,
    traces: [Trace; CASES.len()],
}

impl Scene {
    fn new(sas: usize, selectors: usize, seed: u64) -> Self {
        let plan = Plan::new(Shape { sas, selectors }, seed);
        let mut bed = Bed::new(&plan);
        let naive = Naive::new(&plan);
        let traces = CASES.map(|(_, drops)| Trace::new(&plan, drops, seed));
        for trace in &traces {
            for burst in BURSTS {
                drive::assert_verdicts(&mut bed.worker(), trace, burst);
            }
            drive::assert_naive(&naive, trace);
        }
        Self { bed: RefCell::new(bed), naive, traces }
    }
}

/// A configuration that is built when the first row that runs asks for it.
type Lazy = LazyCell<Scene, Box<dyn FnOnce() -> Scene>>;

/// Parse, lookup, parse, selectors, counters: all that a packet costs beside the crypto.
fn whole(group: &mut Group<'_>, case: usize, packets: usize, selectors: usize, scene: &Lazy) {
    group.throughput(Throughput::Elements(packets as u64));
    for burst in BURSTS {
        group.bench_function(format!("sel{selectors}/burst{burst}"), |bencher| {
            let mut bed = scene.bed.borrow_mut();
            let mut worker = bed.worker();
            let mut answers = Answers::new(&mut worker);
            let input = Input::new(&scene.traces[case]);
            bencher.iter(|| drive::whole_pass(&mut worker, &input, burst, &mut answers));
        });
    }
    group.bench_function(format!("sel{selectors}/naive"), |bencher| {
        let input = Input::new(&scene.traces[case]);
        bencher.iter(|| drive::naive_whole_pass(&scene.naive, &input));
    });
}

/// The first call: outer parse and lookup. Selectors do not come into it.
fn arrive(group: &mut Group<'_>, case: usize, packets: usize, selectors: usize, scene: &Lazy) {
    group.throughput(Throughput::Elements(packets as u64));
    group.bench_function(format!("sel{selectors}/burst{TURN}"), |bencher| {
        let mut bed = scene.bed.borrow_mut();
        let mut worker = bed.worker();
        let mut answers = Answers::new(&mut worker);
        let input = Input::new(&scene.traces[case]);
        bencher.iter(|| drive::arrive_pass(&mut worker, &input, TURN, &mut answers));
    });
    group.bench_function(format!("sel{selectors}/naive"), |bencher| {
        let input = Input::new(&scene.traces[case]);
        bencher.iter(|| drive::naive_arrive_pass(&scene.naive, &input));
    });
}

/// The second call: inner parse, selectors, counters, for packets that reached an SA.
fn check(group: &mut Group<'_>, case: usize, packets: usize, selectors: usize, scene: &Lazy) {
    // Packets on unknown SPIs do not come this far: a number that every trace has.
    let packets = packets / 16 * 15;
    group.throughput(Throughput::Elements(packets as u64));
    group.bench_function(format!("sel{selectors}/burst{TURN}"), |bencher| {
        let mut bed = scene.bed.borrow_mut();
        let mut worker = bed.worker();
        let mut answers = Answers::new(&mut worker);
        let arrived = Arrived::new(&mut worker, &scene.traces[case]);
        let opened = &arrived.opened()[..packets];
        bencher.iter(|| drive::check_pass(&mut worker, opened, TURN, &mut answers));
    });
    group.bench_function(format!("sel{selectors}/naive"), |bencher| {
        let arrived = drive::naive_arrived(&scene.naive, &scene.traces[case]);
        let arrived = &arrived[..packets];
        bencher.iter(|| drive::naive_check_pass(&scene.naive, arrived));
    });
}

fn main() {
    let seed = espial_benches::seed();
    let (criterion, test) = start(1.0);
    let mut criterion = criterion.sample_size(30).warm_up_time(Duration::from_millis(300));
    for (size, sas) in SIZES.into_iter().take(if test { 1 } else { SIZES.len() }) {
        let packets = Trace::packets(sas);
        let lazy = |n| -> Lazy { LazyCell::new(Box::new(move || Scene::new(sas, n, seed))) };
        let scenes = SELECTORS.map(|n| (n, lazy(n)));
        for (case, (name, _)) in CASES.iter().enumerate() {
            let mut group = criterion.benchmark_group(format!("inbound/whole/{size}/{name}"));
            scenes.iter().for_each(|(n, scene)| whole(&mut group, case, packets, *n, scene));
            group.finish();
            let mut group = criterion.benchmark_group(format!("inbound/arrive/{size}/{name}"));
            scenes
                .iter()
                .take(1)
                .for_each(|(n, scene)| arrive(&mut group, case, packets, *n, scene));
            group.finish();
            let mut group = criterion.benchmark_group(format!("inbound/check/{size}/{name}"));
            scenes.iter().for_each(|(n, scene)| check(&mut group, case, packets, *n, scene));
            group.finish();
        }
    }
    criterion.final_summary();
}
