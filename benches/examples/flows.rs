//! Lookups in the gate's tables, to be counted under valgrind: `flows ENTRIES CASE PASSES`; see `instructions.sh`.
//!
//! CASE is a table, what is asked, the family and how: `session-hit-v4-burst`, `passthrough-flood-v6-single`. Prints
//! how many lookups there were. All that happens before the passes is the same for every number of passes, so that
//! the difference of two runs is what the lookups between take.

use espial::headers::Family;
use espial_benches::gate::{Case, Contender, Field, Sessions, Tunnels};

/// Lookups of a pass.
const LOOKUPS: usize = 1 << 14;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [entries, case, passes] = &arguments[..] else {
        eprintln!("flows ENTRIES CASE PASSES");
        std::process::exit(2);
    };
    let entries = entries.parse().expect("ENTRIES is a number");
    let passes: usize = passes.parse().expect("PASSES is a number");
    match case.split('-').collect::<Vec<_>>()[..] {
        [table, asked, family, how] => of_gate(entries, [table, asked, family, how], passes),
        _ => panic!("{case}: no such case"),
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
