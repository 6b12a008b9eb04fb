//! What the documents say that a version of a gateway does.
#![allow(unsafe_code, reason = "exported names")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract is ABI.md's; the comments here are C's"
)]

use core::ffi::c_char;

use espial::preset::{FortiOs, TcpReply};

use crate::status::Status;
use crate::types::*;

/// Octets of the longest version: a letter, three numbers, two dots.
const LONGEST: usize = 18;

/// How a FortiOS version, such as 7.4.2 or v7.4.2 in a text that ends with a NUL, judges decrypted packets, *mode as
/// ESPIAL_MODE_*; and where its answers on the IKE TCP port leave, *tcp_reply as ESPIAL_TCP_REPLY_*. Where the documents
/// are silent they are ESPIAL_MODE_UNKNOWN and ESPIAL_TCP_REPLY_UNKNOWN: nothing is guessed, and whoever asks has to
/// say what is wanted.
///
/// Thread: any. No more than 19 octets of the text are read.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_EVALUE: not a version.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_fortios_preset(
    version: *const c_char,
    mode: *mut u32,
    tcp_reply: *mut u8,
) -> i32 {
    call!(|c| {
        let version = c.text(version, LONGEST)?;
        let (mode, tcp_reply) = (c.out(mode)?, c.out(tcp_reply)?);
        let version: FortiOs = version.parse().map_err(|_| Status(ESPIAL_EVALUE))?;
        mode.set(version.mode().map_or(ESPIAL_MODE_UNKNOWN, |known| known.value as u32));
        tcp_reply.set(match version.tcp_reply().map(|known| known.value) {
            None => ESPIAL_TCP_REPLY_UNKNOWN,
            Some(TcpReply::Unpinned) => ESPIAL_TCP_REPLY_UNPINNED,
            Some(TcpReply::Pinned) => ESPIAL_TCP_REPLY_PINNED,
        });
        Ok(())
    })
}
