//! libespial: the C ABI of espial.
//!
//! ```text
//! C program ─▶ setup, config, image, packet, matcher, spd, analysis, wire, stream, text, names, one function each, no policy
//!              local_in, sessions, passthrough, reply_path, health, preset, snapshot
//!                  │ Caller (handle): pointers tested and read, the only unsafe code
//!                  │ convert: checked numbers to core types and back
//!                  ▼
//!              espial (core)
//! ```
//! The contract is in ABI.md; include/espial.h is generated from these sources, comments included.
//!
//! Features: `alloc` adds the `_new`, `_free` and `_alloc` calls and then links std, whose allocator they
//! use. Without it the library needs nothing but `memcpy` and its like.
#![cfg_attr(not(test), no_std)]

// Unwinding is std's; a library that aborts needs it only for its allocator.
#[cfg(any(panic = "unwind", feature = "alloc"))]
extern crate std;

#[macro_use]
mod handle;

#[cfg(any(feature = "alloc", test))]
mod analysis;
mod config;
mod convert;
#[cfg(test)]
mod differential;
mod health;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod hostile_gate;
#[cfg(test)]
mod hostile_image;
mod image;
mod local_in;
mod matcher;
mod names;
mod packet;
mod passthrough;
#[cfg(any(feature = "alloc", test))]
mod policies;
mod preset;
mod reply_path;
mod sessions;
mod setup;
mod snapshot;
mod spd;
mod status;
mod stream;
mod text;
#[cfg_attr(
    not(any(feature = "alloc", test)),
    allow(dead_code, reason = "the header is the same for every build")
)]
mod types;
mod wire;

/// The language wants one. Nothing calls it: a test shows that the library holds no panic.
#[cfg(all(panic = "abort", not(feature = "alloc"), not(test)))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
