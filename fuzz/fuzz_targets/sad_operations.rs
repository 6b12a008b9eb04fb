//! The SPI table beside a map: keys of all lengths, both families, ESP and AH, in a small world.
#![no_main]

#[path = "../../core/tests/bodies/mod.rs"]
mod bodies;
#[path = "../bodies/sad.rs"]
mod sad;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| sad::check(octets));
