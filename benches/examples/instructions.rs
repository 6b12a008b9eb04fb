//! Lookups to be counted under valgrind: `instructions ENTRIES CASE PASSES`; see `instructions.sh`.
//!
//! CASE is `allocated-hit`, `random-hit` or `random-miss` of the SPI table; or a table of the gate, what is
//! asked, the family and how: `session-hit-v4-burst`, `passthrough-flood-v6-single`. Prints how many
//! lookups there were. All that happens before the passes is the same for every number of passes, so that
//! the difference of two runs is what the lookups between take.

use espial::headers::Family;
use espial_benches::gate::{Case, Contender, Field, Sessions, Tunnels};
use espial_cli::lookup::measure::burst_pass;
use espial_cli::lookup::scene::{Scene, Shape, SpiKind};

/// Lookups of a pass.
const LOOKUPS: usize = 1 << 14;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [entries, case, passes] = &arguments[..] else {
        eprintln!("instructions ENTRIES CASE PASSES");
        std::process::exit(2);
    };
    let entries = entries.parse().expect("ENTRIES is a number");
    let passes: usize = passes.parse().expect("PASSES is a number");
    match case.split('-').collect::<Vec<_>>()[..] {
        [table, asked, family, how] => of_gate(entries, [table, asked, family, how], passes),
        _ => of_sad(entries, case, passes),
    }
}

fn of_gate(entries: usize, [table, asked, family, how]: [&str; 4], passes: usize) {
    let family = match family {
        "v4" => Family::V4,
        "v6" => Family::V6,
        other => panic!("{other}: no such family"),
    };
    let mut field: Box<dyn Field> = match table {
        "session" => Box::new(Sessions::new(entries, LOOKUPS, family, espial_benches::SEED)),
        "passthrough" => Box::new(Tunnels::new(entries, LOOKUPS, family, espial_benches::SEED)),
        other => panic!("{other}: no such table"),
    };
    let case = Case::ALL.into_iter().find(|case| case.name() == asked).expect("hit, miss or flood");
    let contender = Contender::Espial(match how {
        "single" => 1,
        "burst" => 32,
        other => panic!("{other}: single or burst"),
    });
    let mut answers = vec![0; LOOKUPS];
    for _ in 0..passes {
        field.pass(contender, case, 0..LOOKUPS, &mut answers);
    }
    println!("{}", passes * LOOKUPS);
}

fn of_sad(sas: usize, case: &str, passes: usize) {
    let (kind, hit) = match case {
        "allocated-hit" => (SpiKind::Allocated, true),
        "random-hit" => (SpiKind::Random, true),
        "random-miss" => (SpiKind::Random, false),
        other => panic!("{other}: no such case"),
    };
    let shape = Shape::full(sas, kind, espial_benches::SEED);
    let mut scene = Scene::new(&shape, &mut |_| {}).expect("a gateway of this size");
    let mut spis = if hit { scene.hits(LOOKUPS) } else { scene.misses(LOOKUPS) };
    spis.truncate(LOOKUPS);
    let mut worker = scene.worker();
    for _ in 0..passes {
        let found = burst_pass(&mut worker, &spis, 32);
        assert_eq!(found, if hit { spis.len() } else { 0 });
    }
    println!("{}", passes * spis.len());
}
