//! Passes of the check over one trace, for instruction counts: `passes PART SAS SELECTORS PASSES`.
//!
//! PART is `arrive`, `check`, `whole`, `naive-arrive`, `naive-check` or `naive-whole`; all packets are
//! accepted, in bursts of 32. The README says how to count under valgrind.

use espial_benches::drive::{self, Answers, Arrived, Bed, Input, TURN};
use espial_benches::naive::Naive;
use espial_benches::{Drops, Plan, Shape, Trace};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [part, sas, selectors, passes] = &arguments[..] else {
        eprintln!("passes PART SAS SELECTORS PASSES");
        std::process::exit(2);
    };
    let sas = sas.parse().expect("SAS is a number");
    let selectors = selectors.parse().expect("SELECTORS is 1, 4 or 16");
    let passes: usize = passes.parse().expect("PASSES is a number");
    let seed = espial_benches::seed();
    let plan = Plan::new(Shape { sas, selectors }, seed);
    let trace = Trace::new(&plan, Drops::NONE, seed);
    let (mut bed, naive) = (Bed::new(&plan), Naive::new(&plan));
    let mut worker = bed.worker();
    let mut answers = Answers::new(&mut worker);
    let input = Input::new(&trace);
    let arrived = Arrived::new(&mut worker, &trace);
    let opened = arrived.opened();
    let naive_arrived = drive::naive_arrived(&naive, &trace);
    for _ in 0..passes {
        let passed = match part.as_str() {
            "arrive" => drive::arrive_pass(&mut worker, &input, TURN, &mut answers),
            "check" => drive::check_pass(&mut worker, &opened, TURN, &mut answers),
            "whole" => drive::whole_pass(&mut worker, &input, TURN, &mut answers),
            "naive-arrive" => drive::naive_arrive_pass(&naive, &input),
            "naive-check" => drive::naive_check_pass(&naive, &naive_arrived),
            "naive-whole" => drive::naive_whole_pass(&naive, &input),
            other => panic!("{other}: no such part"),
        };
        assert_eq!(passed, trace.len());
    }
    println!("{} packets", passes * trace.len());
}
