//! Sessions that end on this gateway: what belongs to one is accepted before any policy is asked.
//!
//! Each thread has a table of its own; both directions of a connection go to one of them. Everything here is
//! bounded, allocates nothing and takes no lock.
#![allow(unsafe_code, reason = "exported names")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract is ABI.md's; the comments here are C's"
)]

use core::ffi::c_void;

use espial::gate::session::{Opened, Session, SessionPacket};

use crate::convert;
use crate::handle::{ALIGNMENT, Caller, espial_sessions, sessions_octets};
use crate::local_in::local_packets;
use crate::status::Status;
use crate::types::*;

/// Packets that are handed to the core at once.
const PIECE: usize = 32;

/// Octets of memory that sessions of these limits need.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_ESIZE; ESPIAL_ERANGE: no capacity, more than 117 million, or it does
/// not fit this machine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_sessions_size(
    limits: *const espial_session_limits,
    size: *mut usize,
) -> i32 {
    call!(|c| {
        let limits = convert::session_limits(&c.read_versioned(limits)?);
        let size = c.out(size)?;
        size.set(sessions_octets(&limits)?);
        Ok(())
    })
}

/// Alignment in octets of the memory of sessions.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_sessions_align() -> usize {
    ALIGNMENT
}

/// Makes an empty table of sessions in the caller's memory, of len octets at mem. The seed is 128 bits that peers
/// do not know.
///
/// The memory is the library's until espial_sessions_release(), must not move, and is used by one thread, the
/// owner.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_ESIZE, ESPIAL_ERANGE as espial_sessions_size(); ESPIAL_EROOM: len
/// is smaller than that says. The content of mem is then unspecified.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_sessions_init(
    mem: *mut c_void,
    len: usize,
    limits: *const espial_session_limits,
    seed0: u64,
    seed1: u64,
    sessions: *mut *mut espial_sessions,
) -> i32 {
    call!(|c| {
        let limits = convert::session_limits(&c.read_versioned(limits)?);
        let sessions = c.out(sessions)?;
        sessions.set(c.init_sessions(mem, len, &limits, [seed0, seed1], 0)?);
        Ok(())
    })
}

/// Takes sessions out of use: their memory is the caller's again, and the handle is refused from now on while
/// that memory is not used for something else.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_EHANDLE: none that live, or those of espial_sessions_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_sessions_release(sessions: *mut espial_sessions) -> i32 {
    call!(|c| { c.release(sessions) })
}

/// Makes an empty table of sessions in memory of its own. Nothing is allocated after this. Shared library only.
///
/// Thread: any. Give it back with espial_sessions_free().
/// Errors: those of espial_sessions_init(); ESPIAL_ENOMEM.
#[cfg(feature = "alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_sessions_new(
    limits: *const espial_session_limits,
    seed0: u64,
    seed1: u64,
    sessions: *mut *mut espial_sessions,
) -> i32 {
    call!(|c| {
        let limits = convert::session_limits(&c.read_versioned(limits)?);
        let sessions = c.out(sessions)?;
        sessions.set(c.new_sessions(&limits, [seed0, seed1])?);
        Ok(())
    })
}

/// Releases and frees sessions of espial_sessions_new(). NULL is fine. Shared library only.
///
/// Thread: owner only.
/// Errors: those of espial_sessions_release(); nothing is freed then.
#[cfg(feature = "alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_sessions_free(sessions: *mut espial_sessions) -> i32 {
    if sessions.is_null() {
        return ESPIAL_OK;
    }
    call!(|c| { c.free(sessions) })
}

/// The session of a packet that this gateway sends (from = ESPIAL_SIDE_LOCAL), or sends because of one that it
/// received (ESPIAL_SIDE_ANSWER), or that came to it and that a policy accepted (ESPIAL_SIDE_REMOTE): matched now, or
/// new. *outcome is ESPIAL_SESSION_*.
///
/// A new session of an answer is the remote host's, and has no room that is reserved for this gateway: who answers
/// strangers with ESPIAL_SIDE_LOCAL lets a flood that a policy accepts take that. The other calls take an answer as
/// ESPIAL_SIDE_LOCAL.
///
/// ESPIAL_SESSION_FULL: there is no room, for what remote hosts start or at all; the packet goes on nevertheless,
/// and those that follow are judged by the policies. No session that lives makes room for another.
/// ESPIAL_SESSION_NONE: IPsec, or a malformed packet. session->serial is 0 for both. ended is a session that had
/// ended and whose place the new one took: nobody else tells of it; serial 0 = none.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_sessions_open(
    sessions: *mut espial_sessions,
    packet: *const espial_local_packet,
    from: u32,
    now_ms: u64,
    outcome: *mut u32,
    session: *mut espial_session,
    ended: *mut espial_session_end,
) -> i32 {
    call!(|c| {
        let sessions = c.sessions(sessions)?;
        let packet = convert::opening_packet(&c.read(packet)?, from)?;
        let (outcome, session, ended) = (c.out(outcome)?, c.out(session)?, c.out(ended)?);
        let opened = packet.map(|packet| sessions.open(&packet, now_ms));
        let (what, which, end) = match &opened {
            None => (ESPIAL_SESSION_NONE, None, None),
            Some(Err(_)) => (ESPIAL_SESSION_FULL, None, None),
            Some(Ok(Opened::Existing(session))) => (ESPIAL_SESSION_EXISTING, Some(session), None),
            Some(Ok(Opened::New { session, ended })) => {
                (ESPIAL_SESSION_NEW, Some(session), ended.as_ref())
            }
        };
        outcome.set(what);
        session.set(which.map_or(convert::NO_SESSION, convert::session_codes));
        ended.set(end.map_or(convert::NO_END, convert::ended_codes));
        Ok(())
    })
}

/// The session that a packet belongs to, in either direction; it is matched now. If session->serial is 0 there is
/// none: a packet that came from outside is put to espial_local_in_first(), and if that accepts it, to
/// espial_sessions_open(). ESP and AH have no session and keep none alive.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_sessions_find(
    sessions: *mut espial_sessions,
    packet: *const espial_local_packet,
    from: u32,
    now_ms: u64,
    session: *mut espial_session,
) -> i32 {
    call!(|c| {
        let sessions = c.sessions(sessions)?;
        ask(&c, packet, from, session, |packet| sessions.find(packet, now_ms))
    })
}

/// espial_sessions_find() for count packets of one side, at most ESPIAL_BURST_MAX, into as many found. Memory is
/// fetched ahead.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE, ESPIAL_ERANGE. Nothing is matched then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_sessions_find_burst(
    sessions: *mut espial_sessions,
    packets: *const espial_local_packet,
    count: usize,
    from: u32,
    now_ms: u64,
    found: *mut espial_session,
) -> i32 {
    call!(|c| {
        let sessions = c.sessions(sessions)?;
        let from = convert::side(from)?;
        let packets = local_packets(&c, packets, count)?;
        let mut room = c.outs(found, count)?;
        packets.iter().try_for_each(convert::test_local)?;
        let nobody = convert::no_session_packet()?;
        for piece in packets.chunks(PIECE) {
            // Those that may have a session, close together, and which they are.
            let (mut asked, mut places) = ([nobody; PIECE], [0; PIECE]);
            let mut slots = asked.iter_mut().zip(&mut places);
            for (place, packet) in piece.iter().enumerate() {
                let Some(packet) = convert::session_packet(packet, from)? else { continue };
                if let Some((slot, at)) = slots.next() {
                    (*slot, *at) = (packet, place);
                }
            }
            let number = PIECE.saturating_sub(slots.len());
            let mut codes = [convert::NO_SESSION; PIECE];
            let asked = asked.get(..number).unwrap_or_default();
            sessions.find_burst(asked, now_ms, |nth, session| {
                let slot = places.get(nth).and_then(|place| codes.get_mut(*place));
                if let (Some(slot), Some(session)) = (slot, session) {
                    *slot = convert::session_codes(&session);
                }
            });
            codes.iter().take(piece.len()).for_each(|code| room.push(code));
        }
        Ok(())
    })
}

/// The session that a packet would belong to; this is no match, and the session lives on as long as it would have.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_sessions_peek(
    sessions: *mut espial_sessions,
    packet: *const espial_local_packet,
    from: u32,
    now_ms: u64,
    session: *mut espial_session,
) -> i32 {
    call!(|c| {
        let sessions = c.sessions(sessions)?;
        ask(&c, packet, from, session, |packet| sessions.peek(packet, now_ms))
    })
}

/// Ends the session of a packet: a connection that was closed. *closed is 1 if there was one, else 0.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_sessions_close(
    sessions: *mut espial_sessions,
    packet: *const espial_local_packet,
    from: u32,
    now_ms: u64,
    closed: *mut u8,
) -> i32 {
    call!(|c| {
        let sessions = c.sessions(sessions)?;
        let packet = convert::session_packet(&c.read(packet)?, convert::side(from)?)?;
        let closed = c.out(closed)?;
        closed.set(packet.is_some_and(|packet| sessions.close(&packet, now_ms)).into());
        Ok(())
    })
}

/// Looks at the next slots of the table, rounded up to a multiple of 8, takes out the sessions that have ended and
/// tells of them: the first room of them into the caller's array; *count is how many there are, room for them or
/// not, and the others are told to nobody. Room for slots rounded up always is enough. To be called again and again:
/// all of the table was looked at after calls for espial_sessions_slots() slots together.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE. Nothing is taken out then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_sessions_expire(
    sessions: *mut espial_sessions,
    now_ms: u64,
    slots: u32,
    ended: *mut espial_session_end,
    room: usize,
    count: *mut usize,
) -> i32 {
    call!(|c| {
        let sessions = c.sessions(sessions)?;
        let count = c.out(count)?;
        let mut ended = c.outs(ended, room)?;
        let number = sessions.expire(now_ms, slots, |end| ended.push(&convert::ended_codes(end)));
        count.set(number as usize);
        Ok(())
    })
}

/// All sessions that live: the first room of them into the caller's array; *count is how many there are, room for
/// them or not. Reads the whole table: for an operator's command, not for the packet path.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_sessions_list(
    sessions: *mut espial_sessions,
    now_ms: u64,
    list: *mut espial_session,
    room: usize,
    count: *mut usize,
) -> i32 {
    call!(|c| {
        let sessions = c.sessions(sessions)?;
        let count = c.out(count)?;
        let mut list = c.outs(list, room)?;
        let mut number = 0_usize;
        for session in sessions.iter(now_ms) {
            number = number.saturating_add(1);
            list.push(&convert::session_codes(&session));
        }
        count.set(number);
        Ok(())
    })
}

/// How many sessions there are, those included that have ended and not been told of yet, and how many slots the
/// table has for espial_sessions_expire() to look at.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_sessions_slots(
    sessions: *mut espial_sessions,
    used: *mut u32,
    slots: *mut u32,
) -> i32 {
    call!(|c| {
        let sessions = c.sessions(sessions)?;
        let (used, slots) = (c.out(used)?, c.out(slots)?);
        used.set(sessions.len());
        slots.set(sessions.slots());
        Ok(())
    })
}

/// Asks for the session of one packet.
fn ask(
    caller: &Caller<'_>,
    packet: *const espial_local_packet,
    from: u32,
    session: *mut espial_session,
    question: impl FnOnce(&SessionPacket) -> Option<Session>,
) -> Result<(), Status> {
    let packet = convert::session_packet(&caller.read(packet)?, convert::side(from)?)?;
    let session = caller.out(session)?;
    let found = packet.as_ref().and_then(question);
    session.set(found.as_ref().map_or(convert::NO_SESSION, convert::session_codes));
    Ok(())
}
