//! TS payloads: what is read is written again to the same selectors.
#![no_main]

#[path = "../../core/tests/bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| bodies::ts_payload(octets));
