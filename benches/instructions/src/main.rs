//! Lookups to be counted under valgrind: `instructions SAS CASE PASSES`; see `instructions.sh`.
//!
//! CASE is `allocated-hit`, `random-hit` or `random-miss`. Prints how many lookups there were. All that
//! happens before the passes is the same for every number of passes, so that the difference of two
//! runs is what the lookups between take.

#![allow(dead_code, reason = "what only `espial lookup` asks of its modules")]

use std::hint::black_box;

#[path = "../../../bindings/cli/src/lookup/measure.rs"]
mod measure;
#[path = "../../../bindings/cli/src/lookup/rng.rs"]
mod rng;
#[path = "../../../bindings/cli/src/lookup/scene.rs"]
mod scene;

use measure::burst_pass;
use rng::Rng;
use scene::{Scene, Shape, SpiKind};

/// As of the benchmarks.
const SEED: u64 = 0x0e59_1a1d_0000_0001;

/// Lookups of a pass.
const LOOKUPS: usize = 1 << 14;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [sas, case, passes] = &arguments[..] else {
        eprintln!("instructions SAS CASE PASSES");
        std::process::exit(2);
    };
    let sas = sas.parse().expect("SAS is a number");
    let passes: usize = passes.parse().expect("PASSES is a number");
    let (kind, hit) = match case.as_str() {
        "allocated-hit" => (SpiKind::Allocated, true),
        "random-hit" => (SpiKind::Random, true),
        "random-miss" => (SpiKind::Random, false),
        other => panic!("{other}: no such case"),
    };
    let shape = Shape::full(sas, kind, SEED);
    let mut scene = Scene::new(&shape, &mut |_| {}).expect("a gateway of this size");
    let mut spis = if hit { scene.hits(LOOKUPS) } else { scene.misses(LOOKUPS) };
    spis.truncate(LOOKUPS);
    let mut worker = scene.worker();
    for _ in 0..passes {
        // A length that the compiler does not know, as in the command line: one it knows takes 1 fewer.
        let found = burst_pass(&mut worker, &spis, black_box(32));
        assert_eq!(found, if hit { spis.len() } else { 0 });
    }
    println!("{}", passes * spis.len());
}
