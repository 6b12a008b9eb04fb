//! Outer headers: total, and everything they name lies in the packet.
#![no_main]

#[path = "../../core/tests/bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| bodies::outer(octets));
