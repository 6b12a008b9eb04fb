//! Sessions beside a plain list, over packets and time.
#![no_main]

#[path = "../../core/tests/bodies/mod.rs"]
mod bodies;
#[path = "../bodies/clock.rs"]
mod clock;
#[path = "../bodies/sessions.rs"]
mod sessions;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| sessions::check(octets));
