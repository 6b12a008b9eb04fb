//! Local-in policy: who may start to speak to the gateway itself (IKE, management, ...).
//!
//! Compiling is of the configuration flow and needs an allocator. Compiled policy is only read, so any number of
//! threads may ask it; each counts in a row of its own through a worker. Every question is bounded, allocates
//! nothing and takes no lock.
#![allow(unsafe_code, reason = "exported names")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract is ABI.md's; the comments here are C's"
)]

use core::ffi::c_void;

use espial::gate::local_in::{Answer, LocalPacket, Schedules};

use crate::convert;
use crate::handle::{ALIGNMENT, Caller, LOCAL_IN_OCTETS, espial_local_in, espial_local_in_worker};
#[cfg(feature = "alloc")]
use crate::policies::LocalPolicies;
use crate::spd::write_counts;
use crate::status::Status;
use crate::types::*;

/// Packets that are handed to the core at once: those that it looks at together.
const PIECE: usize = 32;

/// What a packet is that the gateway sends or that is addressed to it, from its octets, which start at its IP
/// header: its headers, and what espial_classify() says. *reason is ESPIAL_DROP_NONE; or why the octets are
/// malformed, and then nothing admits the packet.
///
/// Fragments are reassembled first: a later one holds no ports.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_ERANGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_local_packet_read(
    octets: *const u8,
    len: usize,
    interface: u32,
    packet: *mut espial_local_packet,
    reason: *mut u8,
) -> i32 {
    call!(|c| {
        let octets = c.slice(octets, len)?;
        let (packet, reason) = (c.out(packet)?, c.out(reason)?);
        let (found, why) = convert::local_codes(octets, interface);
        packet.set(found);
        reason.set(why);
        Ok(())
    })
}

/// Octets of memory that local-in policy needs beside its words.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_local_in_size() -> usize {
    LOCAL_IN_OCTETS
}

/// Alignment in octets of the memory of local-in policy and of its workers; that of its words is 8, and 64 is
/// fastest.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_local_in_align() -> usize {
    ALIGNMENT
}

/// Makes local-in policy in the caller's memory, of len octets at mem, of count words that
/// espial_local_in_new() made before: in this process or another one, from a file, in flash, in shared memory.
/// All of them are tested; those that follow behind their end are not looked at. Needs no allocator.
///
/// Words and memory must not move or change until espial_local_in_release(). The words are not copied.
///
/// Thread: any. Takes time linear in policies, interfaces and selectors.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EROOM, ESPIAL_ERANGE; ESPIAL_EWORDS: not the words of local-in
/// policy.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_local_in_init(
    mem: *mut c_void,
    len: usize,
    words: *const u64,
    count: usize,
    local_in: *mut *mut espial_local_in,
) -> i32 {
    call!(|c| {
        let local_in = c.out(local_in)?;
        local_in.set(c.init_local_in(mem, len, words, count, 0)?);
        Ok(())
    })
}

/// Takes local-in policy out of use: its memory and its words are the caller's again, and the handle is
/// refused from now on while that memory is not used for something else.
///
/// Thread: any, after the last call of every other thread.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_EHANDLE: none that lives, or one of espial_local_in_new();
/// ESPIAL_EATTACHED: it has workers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_local_in_release(local_in: *mut espial_local_in) -> i32 {
    call!(|c| { c.release(local_in) })
}

/// Compiles policy_count policies, in the order in which they are asked, and what becomes of packets that none
/// of them covers (default_action, ESPIAL_LOCAL_IN_*; the documented gateways accept) into memory of its own:
/// espial_local_in_words() gives what espial_local_in_init() opens elsewhere. None is a list too. The same list
/// gives the same words. None of the arrays is kept. Shared library only.
///
/// Each policy takes its interfaces, source and destination ranges and services from the arrays; two may share
/// some. Of a list of ranges, those with exclude are taken away from the others, wherever they stand. A service
/// of ESP or AH meets no packet: the SPI table judges those.
///
/// Thread: any. Takes time of O(n log n) on average. Give it back with espial_local_in_free().
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_EVALUE: no such action, family or schedule, exclude or
/// any_interface neither 0 nor 1, any_interface beside interfaces, or reserved is not 0; ESPIAL_ESELECTOR: a
/// reversed range, or ports with a protocol that has none; ESPIAL_EDUPLICATE: two policies have one id;
/// ESPIAL_EEMPTY: a policy for no interface, or that no packet can meet; ESPIAL_ELIMIT: one of more than
/// ESPIAL_LOCAL_IN_SELECTORS_MAX selectors; ESPIAL_ERANGE: a policy has more of something than there is from its
/// first on, or all come to more selectors than offsets of 32 bits reach; ESPIAL_ENOMEM.
#[cfg(feature = "alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_local_in_new(
    default_action: u32,
    policies: *const espial_local_in_policy,
    policy_count: usize,
    interfaces: *const u32,
    interface_count: usize,
    ranges: *const espial_range,
    range_count: usize,
    services: *const espial_service,
    service_count: usize,
    local_in: *mut *mut espial_local_in,
) -> i32 {
    call!(|c| {
        let local_in = c.out(local_in)?;
        let given = LocalPolicies {
            default: default_action,
            policies: c.slice(policies, policy_count)?,
            interfaces: c.slice(interfaces, interface_count)?,
            ranges: c.slice(ranges, range_count)?,
            services: c.slice(services, service_count)?,
        };
        local_in.set(c.new_local_in(&given.compile()?)?);
        Ok(())
    })
}

/// Releases and frees local-in policy of espial_local_in_new(). NULL is fine. Shared library only.
///
/// Thread: any, after the last call of every other thread.
/// Errors: those of espial_local_in_release(); nothing is freed then.
#[cfg(feature = "alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_local_in_free(local_in: *mut espial_local_in) -> i32 {
    if local_in.is_null() {
        return ESPIAL_OK;
    }
    call!(|c| { c.free(local_in) })
}

/// The words of local-in policy: *count of 8 octets each at *words, for a file, for flash, for another process.
/// They hold offsets and no pointers. Numbers in them are in this machine's byte order.
///
/// Thread: any. They live as long as the policy does.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_local_in_words(
    local_in: *const espial_local_in,
    words: *mut *const u64,
    count: *mut usize,
) -> i32 {
    call!(|c| {
        let local_in = c.local_in(local_in)?;
        let (words, count) = (c.out(words)?, c.out(count)?);
        words.set(local_in.words.as_ptr());
        count.set(local_in.words.len());
        Ok(())
    })
}

/// The policies in the order in which they are asked, as they answer: the first room of them into the caller's
/// array; *count is how many there are, room for them or not.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_local_in_policies(
    local_in: *const espial_local_in,
    policies: *mut espial_local_in_answer,
    room: usize,
    count: *mut usize,
) -> i32 {
    call!(|c| {
        let local_in = c.local_in(local_in)?.local_in;
        let count = c.out(count)?;
        let mut policies = c.outs(policies, room)?;
        policies.fill(local_in.policies().map(convert::local_in_codes));
        count.set(local_in.len() as usize);
        Ok(())
    })
}

/// What local-in policy says of a packet to the gateway: the first policy that counts now and covers it. Bit n of
/// schedules is set while the policies of schedule n + 1 count.
///
/// Policies judge what starts outside: ask the sessions first (espial_sessions_find()), and policy only about
/// what is of none. ESP and AH are never admitted here: the SPI table judges them, whatever the policies say.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE. Treat them as ESPIAL_LOCAL_IN_DENY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_local_in_first(
    local_in: *const espial_local_in,
    packet: *const espial_local_packet,
    schedules: u64,
    answer: *mut espial_local_in_answer,
) -> i32 {
    call!(|c| {
        let local_in = c.local_in(local_in)?.local_in;
        one(&c, packet, answer, |packet| local_in.first(packet, Schedules(schedules)))
    })
}

/// espial_local_in_first() for count packets, at most ESPIAL_BURST_MAX, into as many answers. Memory is fetched
/// ahead for neighbours from one interface.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE, ESPIAL_ERANGE. Nothing is written then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_local_in_first_burst(
    local_in: *const espial_local_in,
    packets: *const espial_local_packet,
    count: usize,
    schedules: u64,
    answers: *mut espial_local_in_answer,
) -> i32 {
    call!(|c| {
        let local_in = c.local_in(local_in)?.local_in;
        burst(&c, packets, count, answers, |packets, found| {
            local_in.first_burst(packets, Schedules(schedules), found)
        })
    })
}

/// What local-in policy says of IKE that comes from endpoints.src to endpoints.dst on an interface: UDP from 500
/// to 500, and from 4500 to 4500. If neither is admitted, a tunnel with that peer loses its IKE when the session
/// ends, and keeps its ESP: see espial_tunnel_health().
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_local_in_ike(
    local_in: *const espial_local_in,
    endpoints: *const espial_endpoints,
    interface: u32,
    schedules: u64,
    port_500: *mut espial_local_in_answer,
    port_4500: *mut espial_local_in_answer,
) -> i32 {
    call!(|c| {
        let local_in = c.local_in(local_in)?;
        let endpoints = convert::endpoints(&c.read(endpoints)?)?;
        let (port_500, port_4500) = (c.out(port_500)?, c.out(port_4500)?);
        let answers = local_in.local_in.ike(endpoints, interface, Schedules(schedules));
        port_500.set(convert::local_in_codes(answers.port_500));
        port_4500.set(convert::local_in_codes(answers.port_4500));
        Ok(())
    })
}

/// Octets of memory that a worker of this policy needs: a handle, and a count of 8 octets (12 where the machine
/// has no 64-bit atomics) for each policy and one for packets that no policy covers.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ERANGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_local_in_worker_size(
    local_in: *const espial_local_in,
    size: *mut usize,
) -> i32 {
    call!(|c| {
        let octets = c.counting_octets::<espial_local_in_worker>(local_in)?;
        c.out(size)?.set(octets);
        Ok(())
    })
}

/// Makes one thread's way to ask local-in policy and to count, in the caller's memory, of len octets at mem. The
/// counts start at 0.
///
/// The memory must not move until espial_local_in_worker_release(), which comes before that of the policy.
///
/// Thread: any. Takes time linear in the policies.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ERANGE; ESPIAL_EROOM: len is smaller than
/// espial_local_in_worker_size() says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_local_in_worker_init(
    mem: *mut c_void,
    len: usize,
    local_in: *mut espial_local_in,
    worker: *mut *mut espial_local_in_worker,
) -> i32 {
    call!(|c| {
        let worker = c.out(worker)?;
        worker.set(c.init_counting(mem, len, local_in, 0)?);
        Ok(())
    })
}

/// Takes a worker of local-in policy out of use: its memory is the caller's again. Read its counts before: they
/// are added up by policy id when other policies take the place of these.
///
/// Thread: owner only, after the last espial_local_in_worker_counts() of every other thread.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_EHANDLE: none that lives, or one of
/// espial_local_in_worker_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_local_in_worker_release(
    worker: *mut espial_local_in_worker,
) -> i32 {
    call!(|c| { c.release(worker) })
}

/// espial_local_in_worker_init() in memory of its own. Shared library only.
///
/// Thread: any. Takes time linear in the policies. Give it back with espial_local_in_worker_free().
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ERANGE, ESPIAL_ENOMEM.
#[cfg(feature = "alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_local_in_worker_new(
    local_in: *mut espial_local_in,
    worker: *mut *mut espial_local_in_worker,
) -> i32 {
    call!(|c| {
        let worker = c.out(worker)?;
        worker.set(c.new_counting(local_in)?);
        Ok(())
    })
}

/// Releases and frees a worker of espial_local_in_worker_new(). NULL is fine. Shared library only.
///
/// Thread: owner only, after the last espial_local_in_worker_counts() of every other thread.
/// Errors: those of espial_local_in_worker_release(); nothing is freed then.
#[cfg(feature = "alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_local_in_worker_free(worker: *mut espial_local_in_worker) -> i32 {
    if worker.is_null() {
        return ESPIAL_OK;
    }
    call!(|c| { c.free(worker) })
}

/// espial_local_in_first(), counted for the policy or as unmatched: a load and a store, no lock. What is
/// ESPIAL_LOCAL_IN_BY_NOBODY's is not counted.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE. Treat them as ESPIAL_LOCAL_IN_DENY;
/// nothing is counted then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_local_in_worker_check(
    worker: *mut espial_local_in_worker,
    packet: *const espial_local_packet,
    schedules: u64,
    answer: *mut espial_local_in_answer,
) -> i32 {
    call!(|c| {
        let worker = c.counting(worker)?;
        one(&c, packet, answer, |packet| worker.check(packet, Schedules(schedules)))
    })
}

/// espial_local_in_worker_check() for count packets, at most ESPIAL_BURST_MAX, into as many answers. Memory is
/// fetched ahead for neighbours from one interface.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE, ESPIAL_ERANGE. Nothing is written and
/// counted then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_local_in_worker_check_burst(
    worker: *mut espial_local_in_worker,
    packets: *const espial_local_packet,
    count: usize,
    schedules: u64,
    answers: *mut espial_local_in_answer,
) -> i32 {
    call!(|c| {
        let worker = c.counting(worker)?;
        burst(&c, packets, count, answers, |packets, found| {
            worker.check_burst(packets, Schedules(schedules), found)
        })
    })
}

/// Packets that a worker has counted, by the policy's place in the order (espial_local_in_policies() says which
/// that is): the first room of them into the caller's array; *count is how many policies there are, and
/// *unmatched the packets that none covered. Each number is exact; two of them are not of the same moment.
///
/// Thread: any, beside the owner.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_local_in_worker_counts(
    worker: *const espial_local_in_worker,
    packets: *mut u64,
    room: usize,
    count: *mut usize,
    unmatched: *mut u64,
) -> i32 {
    call!(|c| {
        let counts = c.counts(worker)?;
        let policies = counts.policies().map(|(_, packets)| packets);
        write_counts(&c, (policies, counts.unmatched()), packets, room, count, unmatched)
    })
}

/// Puts one packet to `ask`, if it is one that policy judges.
#[inline]
fn one(
    caller: &Caller<'_>,
    packet: *const espial_local_packet,
    answer: *mut espial_local_in_answer,
    ask: impl FnOnce(&LocalPacket) -> Answer,
) -> Result<(), Status> {
    let packet = convert::local_packet(&caller.read(packet)?)?;
    let answer = caller.out(answer)?;
    let said = packet.as_ref().map(ask);
    answer.set(said.map_or(convert::NOBODY, convert::local_in_codes));
    Ok(())
}

/// Puts those of a burst that policy judges to `ask`, piece by piece. All are tested before the first is asked
/// about, since that may count it.
#[inline]
fn burst(
    caller: &Caller<'_>,
    packets: *const espial_local_packet,
    count: usize,
    answers: *mut espial_local_in_answer,
    mut ask: impl FnMut(&[LocalPacket], &mut [Answer]) -> usize,
) -> Result<(), Status> {
    let packets = local_packets(caller, packets, count)?;
    let mut answers = caller.outs(answers, count)?;
    packets.iter().try_for_each(convert::test_local)?;
    for piece in packets.chunks(PIECE) {
        // Those that policy judges, close together, and which they are.
        let (mut judged, mut places) = ([convert::NO_PACKET; PIECE], [0; PIECE]);
        let mut room = judged.iter_mut().zip(&mut places);
        for (place, packet) in piece.iter().enumerate() {
            let Some(packet) = convert::local_packet(packet)? else { continue };
            if let Some((slot, at)) = room.next() {
                (*slot, *at) = (packet, place);
            }
        }
        let number = PIECE.saturating_sub(room.len());
        let mut found = [Answer::default(); PIECE];
        ask(judged.get(..number).unwrap_or_default(), &mut found);
        let mut codes = [convert::NOBODY; PIECE];
        for (place, answer) in places.iter().zip(found).take(number) {
            if let Some(code) = codes.get_mut(*place) {
                *code = convert::local_in_codes(answer);
            }
        }
        codes.iter().take(piece.len()).for_each(|code| answers.push(code));
    }
    Ok(())
}

/// The packets of a burst.
pub(crate) fn local_packets<'c>(
    caller: &Caller<'c>,
    at: *const espial_local_packet,
    count: usize,
) -> Result<&'c [espial_local_packet], Status> {
    if count > ESPIAL_BURST_MAX {
        return Err(Status(ESPIAL_ERANGE));
    }
    caller.slice(at, count)
}
