//! Tunnels, Child SAs, SAs and packets in all modes, beside the naive twin of the gateway.
#![no_main]

#[path = "../../core/tests/bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| bodies::model::check(octets));
