//! The selector matcher, beside a plain list and `rte_acl`; and the whole gateway's selector check.
//!
//! Groups are `matcher/{any,first}/SIZE/SHAPE`, rows `TRAFFIC/CONTENDER`; `matcher/strict/1k/CASE`,
//! rows `selN/CONTENDER`; and `matcher/publish/SIZE`, rows `add` and `remove`. The README says how to read
//! them. What each contender answers is compared before its row is timed.

mod start;

use std::cell::{LazyCell, RefCell};
use std::ptr;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use espial::headers::{Endpoints, Family};
use espial::selector::AddrRange;
use espial::verdict::{Mode, Modes};
use espial::{Capacity, wire};
use espial_benches::drive::{self, Answers, Arrived, Bed, TURN};
use espial_benches::matching::{Contender, List, Trace, Tries};
use espial_benches::naive::Naive;
use espial_benches::peers::{Algorithm, Question};
use espial_benches::selectors::{self, Shape, Traffic};
use espial_benches::{self as benches, Drops, Plan};
use start::start;

/// Packets of a trace.
const PACKETS: usize = 1 << 14;
/// Boxes that the plain list is asked for in a pass.
const ASKED: usize = 1 << 21;
/// SAs of the strict check.
const SAS: usize = 1000;
/// Packets of its passes.
const DEALT: usize = 14_336;

const LISTS: [Shape; 3] = [Shape::Acl, Shape::Fw, Shape::Ipc];

const ROWS: [(&str, Contender); 7] = [
    ("burst32", Contender::Espial(32)),
    ("single", Contender::Espial(1)),
    ("rte_acl/avx512/burst32", acl(Algorithm::Avx512x32, 32)),
    ("rte_acl/avx512/single", acl(Algorithm::Avx512x32, 1)),
    ("rte_acl/avx2/burst32", acl(Algorithm::Avx2, 32)),
    ("rte_acl/avx2/single", acl(Algorithm::Avx2, 1)),
    ("linear", Contender::Linear),
];

const fn acl(algorithm: Algorithm, burst: usize) -> Contender {
    Contender::Acl(algorithm, Tries::Default, burst)
}

/// Whether there are such packets, and the peer takes such selectors: it knows no ranges of IPv6, and
/// no more than 8 tries.
fn takes(contender: Contender, shape: Shape, family: Family, traffic: Traffic) -> bool {
    let hostile = [Shape::Wide, Shape::Nested, Shape::Identical, Shape::Crossing, Shape::Staircase];
    if shape == Shape::Wide && traffic == Traffic::Miss {
        return false;
    }
    let Contender::Acl(algorithm, ..) = contender else { return true };
    let ranges = hostile.contains(&shape) && family == Family::V6;
    cfg!(feature = "dpdk") && !ranges && shape != Shape::Wide && machine_can(algorithm)
}

fn machine_can(algorithm: Algorithm) -> bool {
    #[cfg(target_arch = "x86_64")]
    return match algorithm {
        Algorithm::Avx512x32 | Algorithm::Avx512x16 => is_x86_feature_detected!("avx512bw"),
        Algorithm::Avx2 => is_x86_feature_detected!("avx2"),
        Algorithm::Sse | Algorithm::Scalar => true,
    };
    #[cfg(not(target_arch = "x86_64"))]
    return algorithm == Algorithm::Scalar;
}

/// A compiled set and its traces, made when the first row that runs asks for them.
struct Set {
    list: List,
    traces: [Option<Trace>; Traffic::ALL.len()],
}

impl Set {
    fn new(shape: Shape, n: usize, family: Family, seed: u64) -> Self {
        let list = List::new(selectors::selectors(shape, n, family, seed));
        let traces = Traffic::ALL.map(|traffic| {
            if !takes(Contender::Linear, shape, family, traffic) {
                return None;
            }
            let packets = selectors::packets(list.selectors(), traffic, PACKETS, seed)?;
            Some(Trace::new(packets, None, &list))
        });
        Self { list, traces }
    }
}

fn matcher(criterion: &mut Criterion, size: &str, n: usize, set: (Shape, Family), seed: u64) {
    let (shape, family) = set;
    let set = LazyCell::new(|| Set::new(shape, n, family, seed));
    let name = match family {
        Family::V4 => shape.name().to_owned(),
        Family::V6 => format!("{}-v6", shape.name()),
    };
    for question in Question::ALL {
        let group = format!("matcher/{}/{size}/{name}", question.name());
        let mut group = criterion.benchmark_group(group);
        for traffic in Traffic::ALL {
            for (row, contender) in ROWS {
                if !takes(contender, shape, family, traffic) {
                    continue;
                }
                let asked = match contender {
                    Contender::Linear => (ASKED / n).clamp(16, PACKETS),
                    _ => PACKETS,
                };
                group.throughput(Throughput::Elements(asked as u64));
                group.bench_function(format!("{}/{row}", traffic.name()), |bencher| {
                    let list = &set.list;
                    let trace = set.traces[traffic as usize].as_ref().expect("such packets");
                    let ready = list.ready(contender, question, trace);
                    bencher.iter(|| ready.pass(0..asked));
                });
            }
        }
        group.finish();
    }
}

/// A gateway with its traffic, whose answers have been compared.
struct Gateway {
    bed: RefCell<Bed>,
    naive: Naive,
    trace: benches::Trace,
    /// The IPv4 selectors of all SAs as one list.
    list: List,
}

impl Gateway {
    fn new(selectors: usize, drops: Drops, seed: u64) -> Self {
        let plan = Plan::new(benches::Shape { sas: SAS, selectors }, seed);
        let (mut bed, naive) = (Bed::new(&plan), Naive::new(&plan));
        let trace = benches::Trace::new(&plan, drops, seed);
        drive::assert_verdicts(&mut bed.worker(), &trace, TURN);
        drive::assert_verdicts(&mut bed.worker(), &trace, 1);
        drive::assert_naive(&naive, &trace);
        let all = plan.children.iter().flat_map(|child| &child.selectors);
        let v4 = all.filter(|one| matches!(one.remote, AddrRange::V4 { .. }));
        let list = List::new(v4.copied().collect());
        Self { bed: RefCell::new(bed), naive, trace, list }
    }

    /// The opened packets of IPv4, as many times as a pass needs, for one list of all selectors.
    fn of_list(&self) -> Trace {
        let opened = (0..self.trace.len()).map(|at| self.trace.opened(at));
        let inner = opened.filter_map(|(next, payload)| wire::inner_expecting(next, payload).ok());
        let v4: Vec<_> =
            inner.filter(|inner| matches!(inner.endpoints, Endpoints::V4 { .. })).collect();
        Trace::new(v4.iter().cycle().take(DEALT).copied().collect(), None, &self.list)
    }
}

/// Inner parse, selectors of the packet's SA, counters; every packet of a burst is of another SA.
fn strict(criterion: &mut Criterion, seed: u64) {
    for (case, drops) in [("accept", Drops::NONE), ("mixed", Drops::MIXED)] {
        let mut group = criterion.benchmark_group(format!("matcher/strict/1k/{case}"));
        group.throughput(Throughput::Elements(DEALT as u64));
        for selectors in [1, 4, 16] {
            let gateway = LazyCell::new(move || Gateway::new(selectors, drops, seed));
            for row in ["burst32", "single"] {
                group.bench_function(format!("sel{selectors}/{row}"), |bencher| {
                    let mut bed = gateway.bed.borrow_mut();
                    let mut worker = bed.worker();
                    let mut answers = Answers::new(&mut worker);
                    let arrived = Arrived::new(&mut worker, &gateway.trace);
                    let opened = drive::dealt(&arrived.opened(), DEALT, seed, |opened| opened.sa);
                    match row {
                        "single" => {
                            bencher.iter(|| drive::check_singles_pass(&mut worker, &opened));
                        }
                        _ => bencher
                            .iter(|| drive::check_pass(&mut worker, &opened, TURN, &mut answers)),
                    }
                });
            }
            group.bench_function(format!("sel{selectors}/naive"), |bencher| {
                let arrived = drive::naive_arrived(&gateway.naive, &gateway.trace);
                let arrived = drive::dealt(&arrived, DEALT, seed, |(sa, ..)| ptr::from_ref(*sa));
                bencher.iter(|| drive::naive_check_pass(&gateway.naive, &arrived));
            });
            for (row, contender) in ROWS {
                if !matches!(contender, Contender::Acl(..))
                    || !takes(contender, Shape::Sites(selectors), Family::V4, Traffic::Hit)
                {
                    continue;
                }
                group.bench_function(format!("sel{selectors}/{row}"), |bencher| {
                    let (list, trace) = (&gateway.list, gateway.of_list());
                    let ready = list.ready(contender, Question::First, &trace);
                    bencher.iter(|| ready.pass(0..DEALT));
                });
            }
        }
        group.finish();
    }
}

/// A Child SA of one selector comes to a tunnel that has so many, or goes, and that is published.
fn publish(criterion: &mut Criterion, size: &str, n: usize, seed: u64) {
    let set = LazyCell::new(move || {
        let mut all = selectors::selectors(Shape::Acl, n + 1, Family::V4, seed);
        let one = all.pop().expect("one more than are there");
        let capacity = Capacity {
            tunnels: 1,
            children: 2,
            selectors: n as u32 + 1,
            sas: 1,
            sas_dst: 0,
            sas_dst_src: 0,
            sas_allocated: 0,
            replay_window: 0,
            workers: 1,
        };
        let mut gateway = espial::Gateway::new(&capacity, [seed, seed]).expect("fits memory");
        let (control, _) = gateway.split();
        let tunnel = control.add_tunnel(Mode::StrictSa, Modes::NONE).expect("has room");
        control.add_child_selectors(tunnel, &all).expect("has room");
        control.publish().expect("nobody reads yet");
        (RefCell::new(gateway), tunnel, one)
    });
    let mut group = criterion.benchmark_group(format!("matcher/publish/{size}"));
    for row in ["add", "remove"] {
        group.bench_function(row, |bencher| {
            let (gateway, tunnel, one) = &*set;
            let mut gateway = gateway.borrow_mut();
            let (control, _) = gateway.split();
            bencher.iter_custom(|times| {
                let mut taken = Duration::ZERO;
                for _ in 0..times {
                    let start = Instant::now();
                    let child = control.add_child_selectors(*tunnel, &[*one]).expect("has room");
                    control.publish().expect("nobody reads");
                    let added = start.elapsed();
                    let start = Instant::now();
                    control.remove_child(child).expect("has no SA");
                    control.publish().expect("nobody reads");
                    taken += if row == "add" { added } else { start.elapsed() };
                }
                taken
            });
        });
    }
    group.finish();
}

fn main() {
    let seed = espial_benches::seed();
    let (mut criterion, test) = start(0.2);
    let large = std::env::var_os("ESPIAL_BENCH_LARGE").is_some() && !test;
    let lists = |family| LISTS.map(|shape| (shape, family));
    let mut run = |size, n, sets: &[(Shape, Family)]| {
        sets.iter().for_each(|set| matcher(&mut criterion, size, n, *set, seed));
    };
    run("1k", 1000, &lists(Family::V4));
    if !test {
        run("10k", 10_000, &lists(Family::V4));
    }
    if large {
        let others = Shape::ALL.into_iter().filter(|shape| !LISTS.contains(shape));
        run("1k", 1000, &others.map(|shape| (shape, Family::V4)).collect::<Vec<_>>());
        run("1k", 1000, &lists(Family::V6));
        run("10k", 10_000, &lists(Family::V6));
        run("100k", 100_000, &lists(Family::V4));
        // A hub of 10 000 tunnels.
        run("10k", 10_000, &[(Shape::Sites(1), Family::V4)]);
        run("40k", 40_000, &[(Shape::Sites(4), Family::V4), (Shape::Sites(4), Family::V6)]);
    }
    strict(&mut criterion, seed);
    publish(&mut criterion, "1k", 1000, seed);
    if !test {
        publish(&mut criterion, "10k", 10_000, seed);
    }
    if large {
        publish(&mut criterion, "100k", 100_000, seed);
    }
    criterion.final_summary();
}
