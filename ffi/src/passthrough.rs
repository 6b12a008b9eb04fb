//! A firewall in the middle: IPsec of others passes through it.
//!
//! Compiling rules is of the configuration flow and needs an allocator; compiled ones are only read, so any number
//! of threads may use them. Each thread has flows of its own, and espial_passthrough_worker_of() says whose a packet
//! is. What is asked about packets is bounded, allocates nothing and takes no lock.
#![allow(unsafe_code, reason = "exported names")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract is ABI.md's; the comments here are C's"
)]

use core::ffi::c_void;
use core::num::NonZeroU32;

use espial::gate::passthrough::{PassAnswer, PassPacket, Spread, Traffic, rules_needed};
use espial::headers::{Endpoints, Spi};

use crate::convert;
use crate::handle::{
    ALIGNMENT, RULES_OCTETS, espial_passthrough, espial_passthrough_rules, passthrough_octets,
};
#[cfg(feature = "alloc")]
use crate::policies::rules_of;
use crate::status::Status;
use crate::types::*;

/// Packets that are handed to the core at once: those that it looks at together.
const PIECE: usize = 32;

const NO_PACKET: PassPacket =
    PassPacket { endpoints: Endpoints::V4 { src: 0, dst: 0 }, traffic: Traffic::Fragment(0) };

/// Octets of memory that rules need beside their words.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_passthrough_rules_size() -> usize {
    RULES_OCTETS
}

/// Alignment in octets of the memory of rules; that of their words is 8, and 64 is fastest.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_passthrough_rules_align() -> usize {
    ALIGNMENT
}

/// Makes rules in the caller's memory, of len octets at mem, of count words that espial_passthrough_rules_new() made
/// before: in this process or another one, from a file, in flash, in shared memory. All of them are tested; those
/// that follow behind their end are not looked at. Needs no allocator.
///
/// Words and memory must not move or change until espial_passthrough_rules_release(). The words are not copied.
///
/// Thread: any. Takes time linear in the rules.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EROOM, ESPIAL_ERANGE; ESPIAL_EWORDS: not the words of rules.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_passthrough_rules_init(
    mem: *mut c_void,
    len: usize,
    words: *const u64,
    count: usize,
    rules: *mut *mut espial_passthrough_rules,
) -> i32 {
    call!(|c| {
        let rules = c.out(rules)?;
        rules.set(c.init_rules(mem, len, words, count, 0)?);
        Ok(())
    })
}

/// Takes rules out of use: their memory and words are the caller's again, and the handle is refused from now on
/// while that memory is not used for something else.
///
/// Thread: any, after the last call of every other thread.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_EHANDLE: none that live, or those of
/// espial_passthrough_rules_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_passthrough_rules_release(
    rules: *mut espial_passthrough_rules,
) -> i32 {
    call!(|c| { c.release(rules) })
}

/// Compiles count rules, in the order in which they are asked in each context, and what the virtual server does with
/// packets that none of its rules covers (default_action, ESPIAL_RULE_* but for ESPIAL_RULE_ACCEPT_DECISIVELY), into
/// memory of their own: espial_passthrough_rules_words() gives what espial_passthrough_rules_init() opens elsewhere.
/// None are a list too. The same list gives the same words. The array is not kept. Shared library only.
///
/// Thread: any. Takes time of O(n log n) on average. Give them back with espial_passthrough_rules_free().
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_EVALUE: no such context, action, default or family, or a box that
/// differs from the one before it, of the same rule, in context or action; ESPIAL_ESELECTOR: a reversed range,
/// ports without a protocol, or with ESP or AH; ESPIAL_ERANGE: more than offsets of 32 bits reach; ESPIAL_ENOMEM.
#[cfg(feature = "alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_passthrough_rules_new(
    default_action: u32,
    list: *const espial_passthrough_rule,
    count: usize,
    rules: *mut *mut espial_passthrough_rules,
) -> i32 {
    call!(|c| {
        let rules = c.out(rules)?;
        rules.set(c.new_rules(&rules_of(default_action, c.slice(list, count)?)?)?);
        Ok(())
    })
}

/// Releases and frees rules of espial_passthrough_rules_new(). NULL is fine. Shared library only.
///
/// Thread: any, after the last call of every other thread.
/// Errors: those of espial_passthrough_rules_release(); nothing is freed then.
#[cfg(feature = "alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_passthrough_rules_free(
    rules: *mut espial_passthrough_rules,
) -> i32 {
    if rules.is_null() {
        return ESPIAL_OK;
    }
    call!(|c| { c.free(rules) })
}

/// The words of rules: *count of 8 octets each at *words, for a file, for flash, for another process. They hold
/// offsets and no pointers. Numbers in them are in this machine's byte order.
///
/// Thread: any. They live as long as the rules do.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_passthrough_rules_words(
    rules: *const espial_passthrough_rules,
    words: *mut *const u64,
    count: *mut usize,
) -> i32 {
    call!(|c| {
        let rules = c.rules(rules)?;
        let (words, count) = (c.out(words)?, c.out(count)?);
        words.set(rules.words.as_ptr());
        count.set(rules.words.len());
        Ok(())
    })
}

/// The rules that a configuration needs, none of which can be left out, in a context (ESPIAL_CONTEXT_*): the first
/// room of them into the caller's array; *count is how many there are, room for them or not, at most
/// ESPIAL_NEEDED_RULES. *needed says what comes of them. Any order does.
///
/// The rules hold as long as the flow of ESP without lookupspi is made by the peer that started: when it was idle for
/// too long and the other peer sends first, that packet needs a rule of its own.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_ESIZE, ESPIAL_EVALUE; ESPIAL_ESELECTOR: a reversed range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_passthrough_rules_needed(
    config: *const espial_needed_config,
    context: u32,
    rules: *mut espial_needed_rule,
    room: usize,
    count: *mut usize,
    needed: *mut espial_needed,
) -> i32 {
    call!(|c| {
        let config = convert::needed_config(&c.read_versioned(config)?)?;
        let context = convert::context(context)?;
        let mut rules = c.outs(rules, room)?;
        let (count, out) = (c.out(count)?, c.out(needed)?);
        let answer = rules_needed(&config);
        let of = answer.rules.iter().zip(0..);
        rules.fill(of.map(|(rule, place)| convert::needed_rule_codes(rule, place, context)));
        count.set(answer.rules.len());
        out.set(convert::needed_codes(&answer));
        Ok(())
    })
}

/// Octets of memory that a firewall of this configuration needs.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_ESIZE, ESPIAL_EVALUE; ESPIAL_ERANGE: no flows, more than 117 million,
/// or it does not fit this machine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_passthrough_size(
    config: *const espial_passthrough_config,
    size: *mut usize,
) -> i32 {
    call!(|c| {
        let config = c.read_versioned(config)?;
        convert::passthrough_config(&config)?;
        let size = c.out(size)?;
        size.set(passthrough_octets(config.flows)?);
        Ok(())
    })
}

/// Alignment in octets of the memory of a firewall.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_passthrough_align() -> usize {
    ALIGNMENT
}

/// Makes a firewall without flows in the caller's memory, of len octets at mem. The seed is 128 bits that peers do
/// not know.
///
/// The memory is the library's until espial_passthrough_release(), must not move, and is used by one thread, the
/// owner.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_ESIZE, ESPIAL_EVALUE, ESPIAL_ERANGE as espial_passthrough_size();
/// ESPIAL_EROOM: len is smaller than that says. The content of mem is then unspecified.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_passthrough_init(
    mem: *mut c_void,
    len: usize,
    config: *const espial_passthrough_config,
    seed0: u64,
    seed1: u64,
    passthrough: *mut *mut espial_passthrough,
) -> i32 {
    call!(|c| {
        let config = c.read_versioned(config)?;
        let (flows, config) = (config.flows, convert::passthrough_config(&config)?);
        let passthrough = c.out(passthrough)?;
        passthrough.set(c.init_passthrough(mem, len, flows, [seed0, seed1], config, 0)?);
        Ok(())
    })
}

/// Takes a firewall out of use: its memory is the caller's again, and the handle is refused from now on while that
/// memory is not used for something else.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_EHANDLE: none that lives, or one of espial_passthrough_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_passthrough_release(passthrough: *mut espial_passthrough) -> i32 {
    call!(|c| { c.release(passthrough) })
}

/// Makes a firewall without flows in memory of its own. Nothing is allocated after this. Shared library only.
///
/// Thread: any. Give it back with espial_passthrough_free().
/// Errors: those of espial_passthrough_init(); ESPIAL_ENOMEM.
#[cfg(feature = "alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_passthrough_new(
    config: *const espial_passthrough_config,
    seed0: u64,
    seed1: u64,
    passthrough: *mut *mut espial_passthrough,
) -> i32 {
    call!(|c| {
        let config = c.read_versioned(config)?;
        let (flows, config) = (config.flows, convert::passthrough_config(&config)?);
        let passthrough = c.out(passthrough)?;
        passthrough.set(c.new_passthrough(flows, [seed0, seed1], config)?);
        Ok(())
    })
}

/// Releases and frees a firewall of espial_passthrough_new(). NULL is fine. Shared library only.
///
/// Thread: owner only.
/// Errors: those of espial_passthrough_release(); nothing is freed then.
#[cfg(feature = "alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_passthrough_free(passthrough: *mut espial_passthrough) -> i32 {
    if passthrough.is_null() {
        return ESPIAL_OK;
    }
    call!(|c| { c.free(passthrough) })
}

/// What becomes of a packet: its flow decides, else the IPsec ALG where there is one, else the rules; and what is
/// admitted makes a flow. Without room for one it is dropped (ESPIAL_PASS_DROP_TABLE_FULL), and flows that live go
/// on. Other rules may be given with each call.
///
/// Thread: owner only (of the firewall).
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE; ESPIAL_EVALUE: no such family or kind, a protocol beside
/// another kind than a fragment, or reserved is not 0. Treat them as a drop; nothing is counted then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_passthrough_check(
    passthrough: *mut espial_passthrough,
    rules: *const espial_passthrough_rules,
    packet: *const espial_passthrough_packet,
    now_ms: u64,
    answer: *mut espial_passthrough_answer,
) -> i32 {
    call!(|c| {
        let passthrough = c.passthrough(passthrough)?;
        let rules = c.rules(rules)?;
        let packet = convert::passthrough_packet(&c.read(packet)?)?;
        let answer = c.out(answer)?;
        let said = passthrough.check(&rules.rules, &packet, now_ms);
        answer.set(convert::passthrough_codes(&said));
        Ok(())
    })
}

/// espial_passthrough_check() for count packets, at most ESPIAL_BURST_MAX, one after the other, into as many answers.
/// Memory is fetched ahead.
///
/// Thread: owner only (of the firewall).
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE, ESPIAL_ERANGE. No packet is judged then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_passthrough_check_burst(
    passthrough: *mut espial_passthrough,
    rules: *const espial_passthrough_rules,
    packets: *const espial_passthrough_packet,
    count: usize,
    now_ms: u64,
    answers: *mut espial_passthrough_answer,
) -> i32 {
    call!(|c| {
        let passthrough = c.passthrough(passthrough)?;
        let rules = c.rules(rules)?;
        if count > ESPIAL_BURST_MAX {
            return Err(Status(ESPIAL_ERANGE));
        }
        let packets = c.slice(packets, count)?;
        let mut room = c.outs(answers, count)?;
        packets.iter().try_for_each(convert::test_passthrough)?;
        for piece in packets.chunks(PIECE) {
            let mut asked = [NO_PACKET; PIECE];
            for (slot, packet) in asked.iter_mut().zip(piece) {
                *slot = convert::passthrough_packet(packet)?;
            }
            let asked = asked.get(..piece.len()).unwrap_or_default();
            let mut said = [PassAnswer::default(); PIECE];
            let count = passthrough.check_burst(&rules.rules, asked, now_ms, &mut said);
            said.iter().take(count).for_each(|one| room.push(&convert::passthrough_codes(one)));
        }
        Ok(())
    })
}

/// Looks at the next slots of the table, rounded up to a multiple of 8, and takes out the flows that were idle for too
/// long: *ended says how many. To be called again and again, else the table fills with what has ended: all of it was
/// looked at after calls for espial_passthrough_slots() slots together.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_passthrough_expire(
    passthrough: *mut espial_passthrough,
    now_ms: u64,
    slots: u32,
    ended: *mut u32,
) -> i32 {
    call!(|c| {
        let passthrough = c.passthrough(passthrough)?;
        let ended = c.out(ended)?;
        ended.set(passthrough.expire(now_ms, slots));
        Ok(())
    })
}

/// How many slots the table has for espial_passthrough_expire() to look at.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_passthrough_slots(
    passthrough: *mut espial_passthrough,
    slots: *mut u32,
) -> i32 {
    call!(|c| {
        let passthrough = c.passthrough(passthrough)?;
        c.out(slots)?.set(passthrough.slots());
        Ok(())
    })
}

/// Takes the oldest events of flows that ended under the ALG, at most room of them, into the caller's array; *count
/// says how many. A firewall keeps 32 events; what finds no room is counted.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE. No event is taken then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_passthrough_teardowns(
    passthrough: *mut espial_passthrough,
    events: *mut espial_teardown,
    room: usize,
    count: *mut usize,
) -> i32 {
    call!(|c| {
        let passthrough = c.passthrough(passthrough)?;
        let count = c.out(count)?;
        let mut events = c.outs(events, room)?;
        while events.left() > 0 {
            let Some(event) = passthrough.next_teardown() else { break };
            events.push(&convert::teardown_codes(&event));
        }
        count.set(room.saturating_sub(events.left()));
        Ok(())
    })
}

/// Deletes every flow between two hosts, whoever began it; *deleted says how many. Those of the ALG make events, in
/// the order AH, IKE, ESP. Reads the whole table four times: for an operator's command, not for the packet path.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_passthrough_delete_between(
    passthrough: *mut espial_passthrough,
    endpoints: *const espial_endpoints,
    now_ms: u64,
    deleted: *mut u32,
) -> i32 {
    call!(|c| {
        let passthrough = c.passthrough(passthrough)?;
        let endpoints = convert::endpoints(&c.read(endpoints)?)?;
        let deleted = c.out(deleted)?;
        deleted.set(passthrough.delete_between(endpoints, now_ms));
        Ok(())
    })
}

/// All flows that live: the first room of them into the caller's array; *count is how many there are, room for them
/// or not. Reads the whole table: for an operator's command, not for the packet path.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_passthrough_flows(
    passthrough: *mut espial_passthrough,
    now_ms: u64,
    flows: *mut espial_passthrough_flow,
    room: usize,
    count: *mut usize,
) -> i32 {
    call!(|c| {
        let passthrough = c.passthrough(passthrough)?;
        let count = c.out(count)?;
        let mut flows = c.outs(flows, room)?;
        let mut number = 0_usize;
        for flow in passthrough.flows(now_ms) {
            number = number.saturating_add(1);
            flows.push(&convert::passthrough_flow_codes(&flow));
        }
        count.set(number);
        Ok(())
    })
}

/// What a firewall has counted since it was made. counts->size is set by the caller.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ESIZE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_passthrough_counts_of(
    passthrough: *mut espial_passthrough,
    counts: *mut espial_passthrough_counts,
) -> i32 {
    call!(|c| {
        let passthrough = c.passthrough(passthrough)?;
        let counts = c.out(counts)?;
        let size = counts.size(&c)?;
        let codes = convert::passthrough_counts_codes(passthrough.counts(), size);
        counts.set_versioned(size, &codes);
        Ok(())
    })
}

/// The worker of an SPI, below workers: the same for the same seed on every machine, and even for any pattern of
/// SPIs. For tunnels that are spread over threads. Reads no memory.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_ERANGE: workers is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_passthrough_worker_of_spi(
    seed0: u64,
    seed1: u64,
    spi: u32,
    workers: u32,
    worker: *mut u32,
) -> i32 {
    call!(|c| {
        let workers = NonZeroU32::new(workers).ok_or(Status(ESPIAL_ERANGE))?;
        let worker = c.out(worker)?;
        worker.set(Spread::new([seed0, seed1]).worker_of(Spi(spi), workers));
        Ok(())
    })
}

/// The worker that knows all that decides about a packet, below workers: that of its SPI for ESP and AH with lookupspi
/// and without the ALG, else that of its two hosts, whichever of them sends. Threads that have a firewall each, of
/// this configuration, and look at what this says answer as one alone would.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_ESIZE, ESPIAL_EVALUE; ESPIAL_ERANGE: workers is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_passthrough_worker_of(
    config: *const espial_passthrough_config,
    seed0: u64,
    seed1: u64,
    packet: *const espial_passthrough_packet,
    workers: u32,
    worker: *mut u32,
) -> i32 {
    call!(|c| {
        let config = convert::passthrough_config(&c.read_versioned(config)?)?;
        let packet = convert::passthrough_packet(&c.read(packet)?)?;
        let workers = NonZeroU32::new(workers).ok_or(Status(ESPIAL_ERANGE))?;
        let worker = c.out(worker)?;
        worker.set(Spread::new([seed0, seed1]).worker(&packet, &config, workers));
        Ok(())
    })
}
