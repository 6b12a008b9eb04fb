//! IKE and ESP in a TCP stream: octets in any portions to frames.
#![allow(unsafe_code, reason = "exported names")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract is ABI.md's; the comments here are C's"
)]

use espial::wire::tcp_encap::{Stream, StreamError};

use crate::handle::State;
use crate::status::Status;
use crate::types::*;

/// What lies in an `espial_stream`.
#[repr(C)]
struct Slot {
    magic: u64,
    stream: Stream,
}

// SAFETY: `repr(C)`, starts with the u64, and a stream needs no drop.
unsafe impl State for Slot {
    const MAGIC: u64 = 0x6573_7069_616c_5443;
    type Room = espial_stream;
}
const _: () = assert!(!core::mem::needs_drop::<Slot>());

/// Makes a stream that has seen nothing. role is ESPIAL_STREAM_FROM_*. It needs no release.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EVALUE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_stream_init(stream: *mut espial_stream, role: u32) -> i32 {
    call!(|c| {
        let state = match role {
            ESPIAL_STREAM_FROM_INITIATOR => Stream::from_initiator(),
            ESPIAL_STREAM_FROM_RESPONDER => Stream::from_responder(),
            _ => return Err(Status(ESPIAL_EVALUE)),
        };
        c.state_init(stream, Slot { magic: Slot::MAGIC, stream: state })
    })
}

/// The next frame of a stream whose next octets are *octets, *len of them; those that it takes are taken
/// off their front, also when it answers ESPIAL_MORE. Call it until then: all are taken, and more are
/// needed.
///
/// buffer holds a split frame between calls and must not be changed; room is the largest content that is
/// let through, 65533 takes everything.
///
/// Thread: owner only (of the stream). The frame's content lies in octets or in buffer.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_ERANGE; ESPIAL_EHANDLE: not initialised; ESPIAL_ESTREAM: no
/// prefix, or a length below 2 (close the connection); ESPIAL_EROOM: a frame larger than room. The last
/// two stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_stream_next(
    stream: *mut espial_stream,
    octets: *mut *const u8,
    len: *mut usize,
    buffer: *mut u8,
    room: usize,
    frame: *mut espial_frame,
) -> i32 {
    call!(|c| {
        let slot = c.state::<Slot>(stream)?;
        let mut rest = c.slice(c.read(octets.cast_const())?, c.read(len.cast_const())?)?;
        let (octets, len) = (c.out(octets)?, c.out(len)?);
        let buffer = c.slice_mut(buffer, room)?;
        let frame = c.out(frame)?;
        let found = slot.stream.next_frame(&mut rest, buffer).map_err(|error| {
            Status(match error {
                StreamError::NoPrefix | StreamError::Length => ESPIAL_ESTREAM,
                StreamError::TooLarge { .. } => ESPIAL_EROOM,
            })
        })?;
        let found = found.map(|found| espial_frame {
            number: found.number,
            stream_offset: found.stream_offset,
            content: found.content.as_ptr(),
            len: found.content.len(),
        });
        octets.set(rest.as_ptr());
        len.set(rest.len());
        frame.set(found.ok_or(Status(ESPIAL_MORE))?);
        Ok(())
    })
}
