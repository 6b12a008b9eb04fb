//! RFC 9329 streams: the frames do not depend on how the stream is split.
#![no_main]

#[path = "../../core/tests/bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| bodies::tcp_stream(octets));
