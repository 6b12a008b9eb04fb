//! Inner headers: total, and TFC padding changes nothing.
#![no_main]

#[path = "../../core/tests/bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| bodies::inner(octets));
