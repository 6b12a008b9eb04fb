//! C calls with hostile arguments. The library's sources are modules here, as `ffi/src/lib.rs` has
//! them, so that libFuzzer sees their coverage.
#![no_main]
#![allow(dead_code, reason = "the calls that this target does not make")]

extern crate std;

#[macro_use]
#[path = "../../ffi/src/handle/mod.rs"]
mod handle;
#[path = "../../ffi/src/config.rs"]
mod config;
#[path = "../../ffi/src/convert/mod.rs"]
mod convert;
#[path = "../../ffi/src/hostile.rs"]
mod hostile;
#[path = "../../ffi/src/matcher.rs"]
mod matcher;
#[path = "../../ffi/src/packet.rs"]
mod packet;
#[path = "../../ffi/src/setup.rs"]
mod setup;
#[path = "../../ffi/src/spd.rs"]
mod spd;
#[path = "../../ffi/src/status.rs"]
mod status;
#[path = "../../ffi/src/types/mod.rs"]
mod types;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| hostile::calls(octets));
