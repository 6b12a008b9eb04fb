//! A firewall in the middle beside a list of flows and rules, over packets and time.
#![no_main]

#[path = "../../core/tests/bodies/mod.rs"]
mod bodies;
#[path = "../bodies/clock.rs"]
mod clock;
#[path = "../bodies/passthrough.rs"]
mod passthrough;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| passthrough::check(octets));
