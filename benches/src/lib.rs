//! Gateways and traffic that the benchmarks share, made from a seed, and a naive twin of the check.
//!
//! Owns what is measured, not how: [`Plan`] is a configuration, [`Trace`] the packets for it with
//! the verdict that each must get, [`naive`] the plain program to compare with, [`drive`] what a
//! caller does with a burst. Knows nothing of criterion, clocks or files.
//!
//! ```text
//! Shape + seed ─▶ Plan ─┬─ install ─▶ Gateway ─┐
//!                       ├─ Naive::new ─▶ Naive ├─▶ same verdicts, asserted before any timing
//!                       └─ Trace::new ─────────┘
//! ```
//!
//! # Shapes
//! Site-to-site tunnels, as an administrator writes them:
//!
//! | | |
//! |---|---|
//! | SAs | as asked; each Child SA has 1 (1/2), 2 (1/3) or 4 (1/6) of them: rekey overlap, RFC 9611 |
//! | Child SAs | so between N/4 and N for N SAs; 4 to 12 a tunnel |
//! | selectors of an SA | 1, 4 or 16: the cross product of 1, 2 or 4 prefixes on each side |
//! | prefixes | IPv4 /24 to /28; one Child SA of 8 has IPv6 /64. Remote ones of a tunnel are disjoint |
//! | protocol, ports | one Child SA of 4 admits only TCP or UDP, half of these one port or a range |
//! | SPIs | chosen at random from 256 up, as a peer of other make would: the hashed table |
//! | mode | strict-sa, no shadow modes |
//!
//! Packets: the outer one is IPv4 and ESP, 64 octets; the opened one IPv4 or IPv6 with TCP, UDP
//! or ICMP, 28 to 60 octets. Both lie in cache lines of their own, in the order of the trace.
//! Each packet's SA is drawn anew, so nothing is known of it from the packet before. A trace has
//! as many packets as there are SAs, 16 384 at least: the tables of all SAs are in use.

pub mod arena;
pub mod checks;
pub mod contest;
pub mod drive;
pub mod gate;
pub mod matching;
pub mod mixed;
pub mod naive;
pub mod options;
pub mod peers;
mod plan;
pub mod selectors;
mod trace;

pub use espial_cli::lookup::Rng;
pub use plan::{ChildPlan, Plan, SaPlan, Shape};
pub use trace::{Drops, Trace};

/// The seed of every generator, unless `ESPIAL_BENCH_SEED` names another.
pub const SEED: u64 = 0x0e59_1a1d_0000_0001;

/// [`SEED`], or the number in `ESPIAL_BENCH_SEED`; printed, so that a run can be repeated.
///
/// # Panics
/// If the variable holds something else than a number.
pub fn seed() -> u64 {
    let seed = match std::env::var("ESPIAL_BENCH_SEED") {
        Ok(text) => text.parse().expect("ESPIAL_BENCH_SEED is a decimal number below 2^64"),
        Err(_) => SEED,
    };
    eprintln!("ESPIAL_BENCH_SEED={seed}");
    seed
}
