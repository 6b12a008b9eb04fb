//! What the peers take for a lookup: ns, the least of 15 passes, in random order.
//!
//! A sanity check of [`espial_benches::peers`], not a record: hits and misses in bursts of 32 and
//! one at a time, at 1k, 64k and 1M SAs. `--features dpdk` adds DPDK's rows. Pin it:
//! `taskset -c 1 target/release/examples/peers`; without `chrt -f` around it, under which DPDK
//! spent minutes in the kernel.

use std::collections::HashSet;
use std::hint::black_box;
use std::time::Instant;

use espial_benches::Rng;
use espial_benches::peers::{
    Handle, Hashbrown, HashbrownMixed, Keys, Kind, MixedTable, Roofline, Std, Table, heapless,
};

const PASSES: usize = 15;
const BURST: usize = 32;

/// Least ns an item of a pass over `items`.
fn least(items: usize, mut pass: impl FnMut()) -> f64 {
    let passes = (0..PASSES).map(|_| {
        let start = Instant::now();
        pass();
        start.elapsed().as_nanos() as f64
    });
    passes.fold(f64::INFINITY, f64::min) / items as f64
}

/// `n` different SPIs that `taken` does not hold yet, and then does.
fn draw(rng: &mut Rng, n: usize, taken: &mut HashSet<u32>) -> Vec<u32> {
    std::iter::repeat_with(|| 256 + rng.below(u32::MAX as usize - 256) as u32)
        .filter(|spi| taken.insert(*spi))
        .take(n)
        .collect()
}

/// One row; `ask` gets a range of the trace, whether hits are asked for, and whether in a burst.
fn row(
    name: &str,
    octets: usize,
    items: usize,
    mut ask: impl FnMut(std::ops::Range<usize>, bool, bool) -> usize,
) {
    print!("| {name} |");
    for (hit, burst) in [(true, true), (false, true), (true, false), (false, false)] {
        let ns = least(items, || {
            let mut hits = 0;
            for from in (0..items).step_by(BURST) {
                hits += ask(from..from + BURST, hit, burst);
            }
            assert_eq!(hits, if hit { items } else { 0 }, "{name}");
        });
        print!(" {ns:.1} |");
    }
    println!(" {} KiB |", octets.div_ceil(1024));
}

fn tables(n: usize, rng: &mut Rng) {
    let mut taken = HashSet::new();
    let spis = draw(rng, n, &mut taken);
    // Each pass asks for each key as often as for any other, in an order without a period.
    let places: Vec<usize> = (0..n.max(65_536) / n)
        .flat_map(|_| {
            let mut round: Vec<usize> = (0..n).collect();
            rng.shuffle(&mut round);
            round
        })
        .collect();
    let items = places.len();
    let hits: Vec<u32> = places.iter().map(|place| spis[*place]).collect();
    let misses = draw(rng, items, &mut taken);
    drop(taken);
    println!("\n| {n} SAs | burst hit | burst miss | single hit | single miss | memory |");
    println!("|---|---|---|---|---|---|");

    let mut out = [Handle::NONE; BURST];
    let mut table = |name: &str, table: &dyn Table| {
        for (from, place) in places.chunks(BURST).enumerate() {
            table.burst(&hits[from * BURST..][..BURST], &mut out);
            assert!(
                place.iter().zip(&out).all(|(place, got)| *got == Handle::of(*place)),
                "{name}"
            );
        }
        row(name, table.octets(), items, |part, hit, burst| {
            let spis = &(if hit { &hits } else { &misses })[part];
            let got = if burst { table.burst(spis, &mut out) } else { table.ones(spis, &mut out) };
            black_box(&out);
            got
        });
    };
    table("hashbrown", &Hashbrown::new(&spis));
    table("std", &Std::new(&spis));
    if let Some(map) = heapless(&spis) {
        table("heapless", &*map);
    }
    #[cfg(feature = "dpdk")]
    {
        use espial_benches::peers::dpdk::{Hash, Sad};
        table("rte_ipsec_sad", &Sad::new(&spis));
        table("rte_hash", &Hash::new(&spis));
    }

    // A line for four SAs, as a table of 16 octets an entry would need if it were full.
    let lines = Roofline::new(n * 16);
    let wanted: Vec<u32> = (0..items).map(|_| rng.below(lines.len()) as u32).collect();
    row("roofline, 16 octets an SA", n * 16, items, |part, hit, burst| {
        let wanted = &wanted[part];
        black_box(if burst { lines.burst(wanted) } else { lines.ones(wanted) });
        if hit { BURST } else { 0 }
    });

    let kinds: Vec<Kind> =
        [Kind::Spi, Kind::SpiDst, Kind::SpiDstSrc].into_iter().cycle().take(n).collect();
    let addresses = |rng: &mut Rng, n| (0..n).map(|_| rng.next() as u32).collect::<Vec<_>>();
    let (dsts, srcs) = (addresses(rng, n), addresses(rng, n));
    let at = |of: &[u32]| places.iter().map(|place| of[*place]).collect::<Vec<_>>();
    let (hit_dsts, hit_srcs) = (at(&dsts), at(&srcs));
    let keys = Keys::new(&spis, &dsts, &srcs);
    let mixed = |name: &str, table: &dyn MixedTable| {
        let mut out = [Handle::NONE; BURST];
        row(name, table.octets(), items, |part, hit, burst| {
            let spis = if hit { &hits } else { &misses };
            let keys = Keys::new(spis, &hit_dsts, &hit_srcs).part(part);
            let got = if burst { table.burst(keys, &mut out) } else { table.ones(keys, &mut out) };
            black_box(&out);
            got
        });
    };
    mixed("hashbrown, mixed keys", &HashbrownMixed::new(&kinds, keys));
    #[cfg(feature = "dpdk")]
    mixed("rte_ipsec_sad, mixed keys", &espial_benches::peers::dpdk::SadMixed::new(&kinds, keys));
}

fn main() {
    let mut rng = Rng::new(espial_benches::seed(), 11);
    for n in [1 << 10, 1 << 16, 1 << 20] {
        tables(n, &mut rng);
    }
}
