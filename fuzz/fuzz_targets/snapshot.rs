//! Snapshots that are made up, damaged or signed by somebody hostile, offered to a standby.
#![no_main]

#[path = "../../core/tests/bodies/mod.rs"]
mod bodies;
#[path = "../bodies/snapshot.rs"]
mod snapshot;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| snapshot::check(octets));
