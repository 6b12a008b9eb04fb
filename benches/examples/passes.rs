//! Passes of the check over one trace, for instruction counts: `passes PART SAS SELECTORS PASSES [TUNNELS CHILDREN
//! MODE BURST]`.
//!
//! PART is `arrive`, `check`, `whole`, `naive-arrive`, `naive-check` or `naive-whole`; all packets are
//! accepted, in bursts of 32. With the last four all SAs stand in so many tunnels of so many Child SAs. The least time
//! of a pass is printed as well. The README says how to count under valgrind.

use std::time::Instant;

use espial::verdict::Mode;
use espial_benches::drive::{self, Answers, Arrived, Bed, Input, TURN};
use espial_benches::naive::Naive;
use espial_benches::{Drops, Plan, Shape, Trace};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some([part, sas, selectors, passes]), tunnels @ ([] | [_, _, _, _])) =
        (arguments.first_chunk(), arguments.get(4..).unwrap_or(&[]))
    else {
        eprintln!("passes PART SAS SELECTORS PASSES [TUNNELS CHILDREN MODE BURST]");
        std::process::exit(2);
    };
    let sas = sas.parse().expect("SAS is a number");
    let selectors = selectors.parse().expect("SELECTORS is 1, 4, 16 or 64");
    let passes: usize = passes.parse().expect("PASSES is a number");
    let seed = espial_benches::seed();
    let shape = Shape { sas, selectors };
    let plan = match tunnels {
        [tunnels, children, mode, _] => {
            let number = |text: &String| text.parse().expect("TUNNELS and CHILDREN are numbers");
            let mode = Mode::from_name(mode).expect("MODE is strict-sa, any-selector, ...");
            Plan::even(shape, [tunnels, children].map(number), seed).enforcing(mode)
        }
        _ => Plan::new(shape, seed),
    };
    let trace = Trace::new(&plan, Drops::NONE, seed);
    let (mut bed, naive) = (Bed::new(&plan), Naive::new(&plan));
    let mut worker = bed.worker();
    let mut answers = Answers::new(&mut worker);
    let input = Input::new(&trace);
    let arrived = Arrived::new(&mut worker, &trace);
    let opened = arrived.opened();
    let naive_arrived = drive::naive_arrived(&naive, &trace);
    let turn = tunnels.last().map_or(TURN, |burst| burst.parse().expect("BURST is 1 to 32"));
    let mut least = f64::INFINITY;
    for _ in 0..passes {
        let start = Instant::now();
        let passed = match part.as_str() {
            "arrive" => drive::arrive_pass(&mut worker, &input, turn, &mut answers),
            "check" => drive::check_pass(&mut worker, &opened, turn, &mut answers),
            "whole" => drive::whole_pass(&mut worker, &input, turn, &mut answers),
            "naive-arrive" => drive::naive_arrive_pass(&naive, &input),
            "naive-check" => drive::naive_check_pass(&naive, &naive_arrived),
            "naive-whole" => drive::naive_whole_pass(&naive, &input),
            other => panic!("{other}: no such part"),
        };
        least = least.min(start.elapsed().as_nanos() as f64);
        assert_eq!(passed, trace.len());
    }
    println!(
        "{} packets, at least {:.1} ns each",
        passes * trace.len(),
        least / trace.len() as f64
    );
}
