//! The Security Policy Database: ordered policies of one direction, compiled (RFC 4301 section 4.4.1).
//!
//! Compiling and decorrelation are of the configuration flow and need an allocator. An SPD is only read, so
//! any number of threads may ask it; each counts in a row of its own through an SPD worker. Questions are
//! bounded, allocate nothing and take no lock.
#![allow(unsafe_code, reason = "exported names")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract is ABI.md's; the comments here are C's"
)]

use core::ffi::c_void;

use espial::spd::Answer;

use crate::convert;
use crate::handle::{ALIGNMENT, Caller, SPD_OCTETS, espial_spd, espial_spd_worker};
use crate::matcher::{burst, packets_of};
#[cfg(any(feature = "alloc", test))]
use crate::policies::Policies;
use crate::status::Status;
use crate::types::*;

/// Octets of memory that an SPD needs beside its words.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_spd_size() -> usize {
    SPD_OCTETS
}

/// Alignment in octets of the memory of an SPD and of its workers; that of its words is 8.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_spd_align() -> usize {
    ALIGNMENT
}

/// Makes an SPD in the caller's memory, of len octets at mem, of count words that espial_spd_new() made
/// before: in this process or another one, from a file, in flash, in shared memory. All of them are tested;
/// those that follow behind their end are not looked at. Needs no allocator.
///
/// Words and memory must not move or change until espial_spd_release(). The words are not copied.
///
/// Thread: any. Takes time linear in policies and selectors.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EROOM, ESPIAL_ERANGE; ESPIAL_EWORDS: not the words of an SPD.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_spd_init(
    mem: *mut c_void,
    len: usize,
    words: *const u64,
    count: usize,
    spd: *mut *mut espial_spd,
) -> i32 {
    call!(|c| {
        let spd = c.out(spd)?;
        spd.set(c.init_spd(mem, len, words, count, 0)?);
        Ok(())
    })
}

/// Takes an SPD out of use: its memory and its words are the caller's again, and the handle is refused from
/// now on while that memory is not used for something else.
///
/// Thread: any, after the last call of every other thread.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_EHANDLE: no live SPD, or one of espial_spd_new();
/// ESPIAL_EATTACHED: it has workers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_spd_release(spd: *mut espial_spd) -> i32 {
    call!(|c| { c.release(spd) })
}

/// Compiles policy_count policies of one direction (ESPIAL_DIRECTION_*), put in order as ESPIAL_ORDER_* says,
/// into an SPD in memory of its own: espial_spd_words() gives what espial_spd_init() opens elsewhere. Each
/// policy takes its selectors from the selector_count at selectors; two may share some. None is a list too:
/// everything is discarded. The same list gives the same words. Neither array is kept. Shared library only.
///
/// In an espial_selector remote is the peer's side and local this one, for both directions: outbound, a
/// packet's source meets the local range. ICMP, ICMPv6 and Mobility Header have one value, the remote side's
/// inbound and the local side's outbound; the other side's ports are any, whatever they say (RFC 4301 section
/// 4.4.1.3).
///
/// Thread: any. Takes time of O(n log n) on average. Give it back with espial_spd_free().
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_EVALUE: no such direction, order or action, reserved is not 0,
/// or as espial_selector_check(); ESPIAL_ESELECTOR: as that; ESPIAL_EDUPLICATE: two policies have one id;
/// ESPIAL_EEMPTY: a policy has no selectors; ESPIAL_ERANGE: a policy has selectors beyond selector_count, or
/// more of them than offsets of 32 bits reach; ESPIAL_ENOMEM.
#[cfg(feature = "alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_spd_new(
    direction: u32,
    order: u32,
    policies: *const espial_policy,
    policy_count: usize,
    selectors: *const espial_selector,
    selector_count: usize,
    spd: *mut *mut espial_spd,
) -> i32 {
    call!(|c| {
        let spd = c.out(spd)?;
        let given =
            Policies::of(&c, direction, order, policies, policy_count, selectors, selector_count)?;
        spd.set(c.new_spd(&given.list()?.compile()?)?);
        Ok(())
    })
}

/// Releases and frees an SPD of espial_spd_new(). NULL is fine. Shared library only.
///
/// Thread: any, after the last call of every other thread.
/// Errors: those of espial_spd_release(); nothing is freed then.
#[cfg(feature = "alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_spd_free(spd: *mut espial_spd) -> i32 {
    if spd.is_null() {
        return ESPIAL_OK;
    }
    call!(|c| { c.free(spd) })
}

/// The words of an SPD: *count of 8 octets each at *words, for a file, for flash, for another process. They
/// hold offsets and no pointers. Numbers in them are in this machine's byte order.
///
/// Thread: any. They live as long as the SPD does.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_spd_words(
    spd: *const espial_spd,
    words: *mut *const u64,
    count: *mut usize,
) -> i32 {
    call!(|c| {
        let spd = c.spd(spd)?;
        let (words, count) = (c.out(words)?, c.out(count)?);
        words.set(spd.words.as_ptr());
        count.set(spd.words.len());
        Ok(())
    })
}

/// The direction of an SPD's packets, ESPIAL_DIRECTION_*.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_spd_direction(spd: *const espial_spd, direction: *mut u32) -> i32 {
    call!(|c| {
        let spd = c.spd(spd)?;
        c.out(direction)?.set(spd.spd.direction() as u32);
        Ok(())
    })
}

/// The policies in the order in which they are asked: the first room of them into the caller's array; *count
/// is how many there are, room for them or not.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_spd_policies(
    spd: *const espial_spd,
    policies: *mut espial_spd_answer,
    room: usize,
    count: *mut usize,
) -> i32 {
    call!(|c| {
        let spd = c.spd(spd)?;
        let count = c.out(count)?;
        let mut policies = c.outs(policies, room)?;
        policies.fill(spd.spd.policies().map(convert::entry_codes));
        count.set(spd.spd.len() as usize);
        Ok(())
    })
}

/// The first policy in order that covers a packet of the SPD's direction, and what becomes of the packet; if
/// none does, place is ESPIAL_SPD_NONE and the action DISCARD (RFC 4301 section 4.4.1). Nothing is counted.
///
/// Inbound, a packet in the clear may pass if the action is BYPASS (RFC 4301 section 5.2 step 3); one that was
/// decrypted, if the action is PROTECT and id the policy that its SA was made for (step 4).
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE. Treat them as DISCARD.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_spd_first(
    spd: *const espial_spd,
    packet: *const espial_inner,
    answer: *mut espial_spd_answer,
) -> i32 {
    call!(|c| {
        let spd = c.spd(spd)?;
        let packet = convert::inner(&c.read(packet)?)?;
        let answer = c.out(answer)?;
        answer.set(convert::answer_codes(spd.spd.first(&packet)));
        Ok(())
    })
}

/// espial_spd_first() for count packets, at most ESPIAL_BURST_MAX, into as many answers. Memory is fetched
/// ahead.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE, ESPIAL_ERANGE. Nothing is written then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_spd_first_burst(
    spd: *const espial_spd,
    packets: *const espial_inner,
    count: usize,
    answers: *mut espial_spd_answer,
) -> i32 {
    call!(|c| {
        let spd = c.spd(spd)?;
        let packets = packets_of(&c, packets, count)?;
        let mut answers = c.outs(answers, count)?;
        let mut found = [Answer::default(); ESPIAL_BURST_MAX];
        burst(packets, &mut found, |packets, found| spd.spd.first_burst(packets, found))?;
        answers.fill(found.into_iter().map(convert::answer_codes));
        Ok(())
    })
}

/// Octets of memory that a worker of this SPD needs: a handle, and a count of 8 octets (12 where the machine
/// has no 64-bit atomics) for each policy and one for packets that no policy covers.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ERANGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_spd_worker_size(spd: *const espial_spd, size: *mut usize) -> i32 {
    call!(|c| {
        let octets = c.counting_octets::<espial_spd_worker>(spd)?;
        c.out(size)?.set(octets);
        Ok(())
    })
}

/// Makes one thread's way to ask an SPD and to count, in the caller's memory, of len octets at mem. The counts
/// start at 0.
///
/// The memory must not move until espial_spd_worker_release(), which comes before that of the SPD.
///
/// Thread: any. Takes time linear in the policies.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ERANGE; ESPIAL_EROOM: len is smaller than
/// espial_spd_worker_size() says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_spd_worker_init(
    mem: *mut c_void,
    len: usize,
    spd: *mut espial_spd,
    worker: *mut *mut espial_spd_worker,
) -> i32 {
    call!(|c| {
        let worker = c.out(worker)?;
        worker.set(c.init_counting(mem, len, spd, 0)?);
        Ok(())
    })
}

/// Takes a worker of an SPD out of use: its memory is the caller's again. Read its counts before: they are
/// added up by policy id when another SPD takes the place of this one.
///
/// Thread: owner only, after the last espial_spd_worker_counts() of every other thread.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_EHANDLE: no live one, or one of espial_spd_worker_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_spd_worker_release(worker: *mut espial_spd_worker) -> i32 {
    call!(|c| { c.release(worker) })
}

/// espial_spd_worker_init() in memory of its own. Shared library only.
///
/// Thread: any. Takes time linear in the policies. Give it back with espial_spd_worker_free().
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ERANGE, ESPIAL_ENOMEM.
#[cfg(feature = "alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_spd_worker_new(
    spd: *mut espial_spd,
    worker: *mut *mut espial_spd_worker,
) -> i32 {
    call!(|c| {
        let worker = c.out(worker)?;
        worker.set(c.new_counting(spd)?);
        Ok(())
    })
}

/// Releases and frees a worker of espial_spd_worker_new(). NULL is fine. Shared library only.
///
/// Thread: owner only, after the last espial_spd_worker_counts() of every other thread.
/// Errors: those of espial_spd_worker_release(); nothing is freed then.
#[cfg(feature = "alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_spd_worker_free(worker: *mut espial_spd_worker) -> i32 {
    if worker.is_null() {
        return ESPIAL_OK;
    }
    call!(|c| { c.free(worker) })
}

/// espial_spd_first(), counted for the policy or as unmatched: a load and a store, no lock.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE. Treat them as DISCARD; nothing is
/// counted then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_spd_worker_check(
    worker: *mut espial_spd_worker,
    packet: *const espial_inner,
    answer: *mut espial_spd_answer,
) -> i32 {
    call!(|c| {
        let worker = c.counting(worker)?;
        let packet = convert::inner(&c.read(packet)?)?;
        let answer = c.out(answer)?;
        answer.set(convert::answer_codes(worker.check(&packet)));
        Ok(())
    })
}

/// espial_spd_worker_check() for count packets, at most ESPIAL_BURST_MAX, into as many answers. Memory is
/// fetched ahead.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE, ESPIAL_ERANGE. Nothing is written and
/// counted then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_spd_worker_check_burst(
    worker: *mut espial_spd_worker,
    packets: *const espial_inner,
    count: usize,
    answers: *mut espial_spd_answer,
) -> i32 {
    call!(|c| {
        let worker = c.counting(worker)?;
        let packets = packets_of(&c, packets, count)?;
        let mut answers = c.outs(answers, count)?;
        // All of them before the first is counted. A second pass, since room for all of them as the core has
        // them would be 2 kB more of stack.
        packets.iter().try_for_each(convert::test_inner)?;
        let mut found = [Answer::default(); ESPIAL_BURST_MAX];
        burst(packets, &mut found, |packets, found| worker.check_burst(packets, found))?;
        answers.fill(found.into_iter().map(convert::answer_codes));
        Ok(())
    })
}

/// Packets that a worker has counted, by the policy's place in the order (espial_spd_policies() says which
/// that is): the first room of them into the caller's array; *count is how many policies there are, and
/// *unmatched the packets that none covered. Each number is exact; two of them are not of the same moment.
///
/// Thread: any, beside the owner.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_spd_worker_counts(
    worker: *const espial_spd_worker,
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

/// Decorrelates policies, given as to espial_spd_new(), into disjoint entries that say of each packet what the
/// ordered list says (RFC 4301 appendix B): at most one of them covers a packet, and their order means
/// nothing. The first room of them go into the caller's array; *count is how many there are, room for them or
/// not, and *selectors_in how many selectors the policies had, so that *count by *selectors_in is the growth.
/// A policy without an entry is one that no packet meets. Shared library only.
///
/// Thread: any. n selectors and m entries take n * (n + m) comparisons and memory for limit entries; m can grow
/// as the fifth power of n, hence the limit.
/// Errors: as espial_spd_new(); ESPIAL_ELIMIT: more than limit entries, pieces on the way included.
#[cfg(any(feature = "alloc", test))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_spd_decorrelate_alloc(
    direction: u32,
    order: u32,
    policies: *const espial_policy,
    policy_count: usize,
    selectors: *const espial_selector,
    selector_count: usize,
    limit: usize,
    entries: *mut espial_disjoint,
    room: usize,
    count: *mut usize,
    selectors_in: *mut usize,
) -> i32 {
    call!(|c| {
        let given =
            Policies::of(&c, direction, order, policies, policy_count, selectors, selector_count)?;
        let mut entries = c.outs(entries, room)?;
        let (count, selectors_in) = (c.out(count)?, c.out(selectors_in)?);
        let disjoint = given.list()?.decorrelate(limit)?;
        entries.fill(disjoint.entries().iter().map(convert::disjoint_codes));
        count.set(disjoint.entries().len());
        selectors_in.set(disjoint.selectors_in());
        Ok(())
    })
}

/// Packets of each policy in order, and those that none covered, into the caller's room.
pub(crate) fn write_counts(
    caller: &Caller<'_>,
    (policies, none): (impl Iterator<Item = u64>, u64),
    packets: *mut u64,
    room: usize,
    count: *mut usize,
    unmatched: *mut u64,
) -> Result<(), Status> {
    let (count, unmatched) = (caller.out(count)?, caller.out(unmatched)?);
    let mut row = caller.outs(packets, room)?;
    let mut number = 0_usize;
    for packets in policies {
        number = number.saturating_add(1);
        row.push(&packets);
    }
    count.set(number);
    unmatched.set(none);
    Ok(())
}
