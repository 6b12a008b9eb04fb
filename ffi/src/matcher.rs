//! The matcher alone: a list of selectors, compiled, for hosts that have SAs and policies of their own.
//!
//! Compiling is of the configuration flow. A matcher is only read, so every question may be asked by any
//! number of threads; it is bounded, allocates nothing and takes no lock.
#![allow(unsafe_code, reason = "exported names")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract is ABI.md's; the comments here are C's"
)]

use core::ffi::c_void;

use espial::headers::{Endpoints, Fragment, InnerHeaders, NextLayer};
use espial::matcher::{Matcher, compile_into, merge_as, words_to_compile};
use espial::selector::{AddrRange, PortRange, Selector};

use crate::convert;
use crate::handle::{ALIGNMENT, Caller, MATCHER_OCTETS, espial_matcher};
use crate::status::Status;
use crate::types::*;

/// Packets that are handed to the core at once: those that it looks at together.
const PIECE: usize = 32;

const NO_HEADERS: InnerHeaders = InnerHeaders {
    endpoints: Endpoints::V4 { src: 0, dst: 0 },
    protocol: 0,
    next_layer: NextLayer::Opaque,
    fragment: Fragment::None,
};

/// Tests a selector by itself: to find the one that espial_matcher_compile() refused.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_EVALUE: no such family, or reserved is not 0;
/// ESPIAL_ESELECTOR: a reversed range that is not OPAQUE, or ports other than any under protocol 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_selector_check(selector: *const espial_selector) -> i32 {
    call!(|c| {
        convert::selector(&c.read(selector)?)?;
        Ok(())
    })
}

/// Brings selectors to the front that cover together the packets that all count of them cover, no more and no
/// less: the first *left. What lies behind them is of no use any more. For espial_matcher_any(), _any_burst() and
/// to know whether espial_matcher_first_source() finds one; the order and the places of the list are lost, so do
/// not merge what is asked for the first selector, counted by selector, or named to an administrator. The same list
/// in another order leaves the same selectors.
///
/// Thread: any; nobody else uses the array meanwhile. Takes time of O(n log n) on average, no memory.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_EVALUE, ESPIAL_ESELECTOR: as espial_selector_check(), of one of
/// them; ESPIAL_ERANGE: more than a matcher takes. Nothing is written then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_selectors_merge(
    selectors: *mut espial_selector,
    count: usize,
    left: *mut usize,
) -> i32 {
    /// Nothing: not met, as all are read before.
    const NONE: Selector = Selector {
        remote: AddrRange::V4 { lo: 1, hi: 0 },
        local: AddrRange::V4 { lo: 1, hi: 0 },
        protocol: 0,
        remote_ports: PortRange::ANY,
        local_ports: PortRange::ANY,
    };
    call!(|c| {
        let left = c.out(left)?;
        words_to_compile(count)?;
        let list = c.slice_mut(selectors, count)?;
        list.iter().try_for_each(|one| convert::selector(one).map(drop))?;
        let read = |one: &espial_selector| convert::selector(one).unwrap_or(NONE);
        left.set(merge_as(list, read, |slot, grown| *slot = convert::selector_codes(&grown)));
        Ok(())
    })
}

/// Octets of memory that a matcher needs beside its words.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_matcher_size() -> usize {
    MATCHER_OCTETS
}

/// Alignment in octets of the memory of a matcher; that of its words is 8.
///
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn espial_matcher_align() -> usize {
    ALIGNMENT
}

/// Words of 8 octets that espial_matcher_compile() needs for count selectors.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_ERANGE: more than offsets of 32 bits reach.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_matcher_compile_size(count: usize, room: *mut usize) -> i32 {
    call!(|c| {
        let room = c.out(room)?;
        room.set(words_to_compile(count)?);
        Ok(())
    })
}

/// Compiles count selectors, in the order in which they are to be found, into the caller's memory, of room
/// words at words. The first *used of them are what espial_matcher_init() opens, here or elsewhere; the others
/// are the caller's again. None is a list too: it covers nothing. For ICMP, ICMPv6 and Mobility Header the
/// local ports are any, whatever they say. The same list gives the same words. The array is not kept.
///
/// Thread: any. Takes time of O(n log n) on average.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_EVALUE, ESPIAL_ESELECTOR: as espial_selector_check(), of one of
/// them; ESPIAL_ERANGE: more than offsets of 32 bits reach; ESPIAL_EROOM: room is smaller than
/// espial_matcher_compile_size() says. The content of words is then unspecified.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_matcher_compile(
    selectors: *const espial_selector,
    count: usize,
    words: *mut u64,
    room: usize,
    used: *mut usize,
) -> i32 {
    call!(|c| {
        let used = c.out(used)?;
        // Before the array is looked at: a count that cannot be is no array.
        words_to_compile(count)?;
        let list = self::selectors(&c, selectors, count)?;
        used.set(compile_into(list, c.slice_mut(words, room)?)?);
        Ok(())
    })
}

/// Makes a matcher in the caller's memory, of len octets at mem, of count words that were compiled before: by
/// espial_matcher_compile() in this process or another one, from a file, in flash, in shared memory. All of
/// them are tested; those that follow behind their end are not looked at.
///
/// Words and memory must not move or change until espial_matcher_release(). The words are not copied.
///
/// Thread: any. Takes time linear in the selectors.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EROOM, ESPIAL_ERANGE; ESPIAL_EWORDS: not the words of a matcher.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_matcher_init(
    mem: *mut c_void,
    len: usize,
    words: *const u64,
    count: usize,
    matcher: *mut *mut espial_matcher,
) -> i32 {
    call!(|c| {
        let matcher = c.out(matcher)?;
        matcher.set(c.init_matcher(mem, len, words, count, 0)?);
        Ok(())
    })
}

/// Takes a matcher out of use: its memory and its words are the caller's again, and the handle is refused
/// from now on while that memory is not used for something else.
///
/// Thread: any, after the last call of every other thread.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_EHANDLE: no live matcher, or one of espial_matcher_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_matcher_release(matcher: *mut espial_matcher) -> i32 {
    call!(|c| { c.release(matcher) })
}

/// espial_matcher_compile() and espial_matcher_init() in one, in memory of its own. Shared library only.
///
/// Thread: any. Takes time of O(n log n) on average. Give it back with espial_matcher_free().
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_EVALUE, ESPIAL_ESELECTOR: as espial_selector_check(), of one of
/// them; ESPIAL_ERANGE: more than offsets of 32 bits reach; ESPIAL_ENOMEM.
#[cfg(feature = "alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_matcher_new(
    selectors: *const espial_selector,
    count: usize,
    matcher: *mut *mut espial_matcher,
) -> i32 {
    call!(|c| {
        let matcher = c.out(matcher)?;
        matcher.set(c.new_matcher(&compiled(&c, selectors, count)?)?);
        Ok(())
    })
}

/// Releases and frees a matcher of espial_matcher_new(). NULL is fine. Shared library only.
///
/// Thread: any, after the last call of every other thread.
/// Errors: those of espial_matcher_release(); nothing is freed then.
#[cfg(feature = "alloc")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_matcher_free(matcher: *mut espial_matcher) -> i32 {
    if matcher.is_null() {
        return ESPIAL_OK;
    }
    call!(|c| { c.free(matcher) })
}

/// The words of a matcher: *count of 8 octets each at *words, for a file, for flash, for another process.
/// They hold offsets and no pointers. Numbers in them are in this machine's byte order.
///
/// Thread: any. They live as long as the matcher does.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_matcher_words(
    matcher: *const espial_matcher,
    words: *mut *const u64,
    count: *mut usize,
) -> i32 {
    call!(|c| {
        let matcher = c.matcher(matcher)?;
        let (words, count) = (c.out(words)?, c.out(count)?);
        words.set(matcher.words.as_ptr());
        count.set(matcher.words.len());
        Ok(())
    })
}

/// The first selector of the list that covers an inbound packet, its source on the remote side and its
/// destination on the local one: *index counts from 0; ESPIAL_MATCHER_NONE = none covers it.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE. Treat them as none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_matcher_first(
    matcher: *const espial_matcher,
    packet: *const espial_inner,
    index: *mut u32,
) -> i32 {
    call!(|c| { find(&c, matcher, packet, index, |one, packet| one.first(packet)) })
}

/// Whether a selector covers an inbound packet: *covered is 1 or 0. Not dearer than
/// espial_matcher_first(), and cheaper where several selectors cover it.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE. Treat them as not covered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_matcher_any(
    matcher: *const espial_matcher,
    packet: *const espial_inner,
    covered: *mut u8,
) -> i32 {
    call!(|c| {
        let matcher = c.matcher(matcher)?;
        let packet = convert::inner(&c.read(packet)?)?;
        let covered = c.out(covered)?;
        covered.set(matcher.matcher.any(&packet).into());
        Ok(())
    })
}

/// The first selector whose remote range holds the packet's source: nothing else of the packet is compared.
/// *index as in espial_matcher_first().
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE. Treat them as none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_matcher_first_source(
    matcher: *const espial_matcher,
    packet: *const espial_inner,
    index: *mut u32,
) -> i32 {
    call!(|c| { find(&c, matcher, packet, index, |one, packet| one.first_source(packet)) })
}

/// espial_matcher_first() for count packets, at most ESPIAL_BURST_MAX, into as many indexes. Memory is
/// fetched ahead.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE, ESPIAL_ERANGE. Nothing is written then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_matcher_first_burst(
    matcher: *const espial_matcher,
    packets: *const espial_inner,
    count: usize,
    indexes: *mut u32,
) -> i32 {
    call!(|c| {
        let matcher = c.matcher(matcher)?;
        let packets = packets_of(&c, packets, count)?;
        let mut indexes = c.outs(indexes, count)?;
        let mut found = [None; ESPIAL_BURST_MAX];
        burst(packets, &mut found, |packets, found| matcher.matcher.first_burst(packets, found))?;
        indexes.fill(found.into_iter().map(number));
        Ok(())
    })
}

/// espial_matcher_any() for count packets, at most ESPIAL_BURST_MAX: bit n of *covered, 1 << n, is set if
/// packet n is covered. Memory is fetched ahead.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE, ESPIAL_ERANGE. Nothing is written then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_matcher_any_burst(
    matcher: *const espial_matcher,
    packets: *const espial_inner,
    count: usize,
    covered: *mut u64,
) -> i32 {
    call!(|c| {
        let matcher = c.matcher(matcher)?;
        let packets = packets_of(&c, packets, count)?;
        let covered = c.out(covered)?;
        let mut found = [false; ESPIAL_BURST_MAX];
        burst(packets, &mut found, |packets, found| matcher.matcher.any_burst(packets, found))?;
        covered.set(found.iter().rev().fold(0, |bits, one| bits << 1 | u64::from(*one)));
        Ok(())
    })
}

/// Asks about one packet.
#[inline]
fn find(
    caller: &Caller<'_>,
    matcher: *const espial_matcher,
    packet: *const espial_inner,
    index: *mut u32,
    question: impl Fn(&Matcher<'_>, &InnerHeaders) -> Option<u32>,
) -> Result<(), Status> {
    let matcher = caller.matcher(matcher)?;
    let packet = convert::inner(&caller.read(packet)?)?;
    let index = caller.out(index)?;
    index.set(number(question(&matcher.matcher, &packet)));
    Ok(())
}

/// The packets of a burst.
pub(crate) fn packets_of<'c>(
    caller: &Caller<'c>,
    at: *const espial_inner,
    count: usize,
) -> Result<&'c [espial_inner], Status> {
    const { assert!(ESPIAL_BURST_MAX == u64::BITS as usize) };
    if count > ESPIAL_BURST_MAX {
        return Err(Status(ESPIAL_ERANGE));
    }
    caller.slice(at, count)
}

/// Puts packets to `ask`, piece by piece, and its answers into `found`.
#[inline]
pub(crate) fn burst<A>(
    packets: &[espial_inner],
    found: &mut [A; ESPIAL_BURST_MAX],
    mut ask: impl FnMut(&[InnerHeaders], &mut [A]) -> usize,
) -> Result<(), Status> {
    let mut room = [NO_HEADERS; PIECE];
    for (piece, found) in packets.chunks(PIECE).zip(found.chunks_mut(PIECE)) {
        for (slot, packet) in room.iter_mut().zip(piece) {
            *slot = convert::inner(packet)?;
        }
        ask(room.get(..piece.len()).unwrap_or_default(), found);
    }
    Ok(())
}

fn number(index: Option<u32>) -> u32 {
    index.unwrap_or(ESPIAL_MATCHER_NONE)
}

/// The caller's selectors, to be compiled.
fn selectors<'c>(
    caller: &Caller<'c>,
    at: *const espial_selector,
    count: usize,
) -> Result<impl ExactSizeIterator<Item = Result<Selector, Status>> + use<'c>, Status> {
    Ok(caller.slice(at, count)?.iter().map(convert::selector))
}

/// The caller's selectors, compiled.
#[cfg(feature = "alloc")]
fn compiled(
    caller: &Caller<'_>,
    at: *const espial_selector,
    count: usize,
) -> Result<espial::matcher::Words, Status> {
    espial::matcher::Words::compile(selectors(caller, at, count)?)
}
