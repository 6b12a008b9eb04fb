//! Images that lie do no harm, and those that do not say what their maker says.
#![no_main]

#[path = "../../core/tests/bodies/mod.rs"]
mod bodies;
#[path = "../bodies/image.rs"]
mod image;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| image::check(octets));
