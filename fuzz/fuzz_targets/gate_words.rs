//! Compiled policies that lie: refused, or answered.
#![no_main]

#[path = "../../core/tests/bodies/mod.rs"]
mod bodies;
#[path = "../bodies/gate_words.rs"]
mod gate_words;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| gate_words::check(octets));
