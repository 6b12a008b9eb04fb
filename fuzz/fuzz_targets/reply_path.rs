//! Where answers of TCP leave, beside a plain list of connections, over segments and time.
#![no_main]

#[path = "../../core/tests/bodies/mod.rs"]
mod bodies;
#[path = "../bodies/clock.rs"]
mod clock;
#[path = "../bodies/reply_path.rs"]
mod reply_path;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| reply_path::check(octets));
