//! C calls with hostile arguments. The library's sources are modules here, as `ffi/src/lib.rs` has
//! them, so that libFuzzer sees their coverage.
#![no_main]
#![allow(dead_code, reason = "the calls that this target does not make")]

extern crate std;

#[macro_use]
#[path = "../../ffi/src/handle/mod.rs"]
mod handle;
#[path = "../../ffi/src/analysis.rs"]
mod analysis;
#[path = "../../ffi/src/config.rs"]
mod config;
#[path = "../../ffi/src/convert/mod.rs"]
mod convert;
#[path = "../../ffi/src/health.rs"]
mod health;
#[path = "../../ffi/src/hostile.rs"]
mod hostile;
#[path = "../../ffi/src/hostile_gate.rs"]
mod hostile_gate;
#[path = "../../ffi/src/hostile_image.rs"]
mod hostile_image;
#[path = "../../ffi/src/image.rs"]
mod image;
#[path = "../../ffi/src/local_in.rs"]
mod local_in;
#[path = "../../ffi/src/matcher.rs"]
mod matcher;
#[path = "../../ffi/src/packet.rs"]
mod packet;
#[path = "../../ffi/src/passthrough.rs"]
mod passthrough;
#[path = "../../ffi/src/policies.rs"]
mod policies;
#[path = "../../ffi/src/preset.rs"]
mod preset;
#[path = "../../ffi/src/reply_path.rs"]
mod reply_path;
#[path = "../../ffi/src/sessions.rs"]
mod sessions;
#[path = "../../ffi/src/setup.rs"]
mod setup;
#[path = "../../ffi/src/snapshot.rs"]
mod snapshot;
#[path = "../../ffi/src/spd.rs"]
mod spd;
#[path = "../../ffi/src/status.rs"]
mod status;
#[path = "../../ffi/src/types/mod.rs"]
mod types;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    match octets.split_last() {
        // Most inputs are older than this choice.
        Some((7 | 77 | 177, octets)) => {
            hostile_gate::calls(octets);
        }
        Some((8 | 88 | 188, octets)) => {
            hostile_image::calls(octets);
        }
        _ => hostile::calls(octets),
    }
});
