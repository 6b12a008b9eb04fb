//! The packet path: bounded, allocates nothing, takes no lock.
//!
//! Bursts are handed on in pieces of [`PIECE`], so that what the core returns fits a small stack.
#![allow(unsafe_code, reason = "exported names")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract is ABI.md's; the comments here are C's"
)]

use espial::Worker;
use espial::event::{Audit, EventBudget};
use espial::headers::{Encap, Endpoints, Ipsec, OuterHeaders, Spi};
use espial::inbound::{Arrival, Ingress, Opened};
use espial::sad::SaId;
use espial::verdict::{Decision, Modes, Reason, Refusal, Verdict};

use crate::convert;
use crate::handle::{Out, espial_worker};
use crate::status::Status;
use crate::types::*;

/// Packets that are handed to the core at once: half its own stride, for the sake of the stack.
const PIECE: usize = 16;

const DROP: Refusal = Refusal::new(Reason::UnknownSpi);
const DROPPED: Verdict = Verdict {
    decision: Decision::Drop(DROP),
    arrived: None,
    shadow_asked: Modes::NONE,
    shadow_accepts: Modes::NONE,
};
const NO_HEADERS: OuterHeaders = OuterHeaders {
    endpoints: Endpoints::V4 { src: 0, dst: 0 },
    ipsec: Ipsec::Esp,
    encap: Encap::None,
    spi: Spi(0),
    sequence: 0,
    sequence_high: 0,
    sport: 0,
    dport: 0,
    offset: 0,
    octets: 0,
    flow_label: 0,
};

/// Judges a packet that starts at its IP header: which SA is it on? With anti-replay its sequence number
/// is tested here, and seen when it is checked; with extended sequence numbers
/// espial_arrival.outer.sequence_high is set.
///
/// now_ms is the caller's monotonic clock, interface the caller's number that events repeat. The octets
/// are not kept.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ERANGE. Treat them as a drop.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_worker_arrive(
    worker: *mut espial_worker,
    octets: *const u8,
    len: usize,
    now_ms: u64,
    interface: u32,
    arrival: *mut espial_arrival,
) -> i32 {
    call!(|c| {
        let worker = c.worker(worker)?;
        let octets = c.slice(octets, len)?;
        let arrival = c.out(arrival)?;
        let found = worker.arrive(octets, Ingress { now_ms, interface });
        arrival.set(convert::arrival_codes(&found));
        Ok(())
    })
}

/// espial_worker_arrive() for count packets, at most ESPIAL_BURST_MAX, into as many arrivals.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ERANGE. No packet is judged then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_worker_arrive_burst(
    worker: *mut espial_worker,
    packets: *const espial_packet,
    count: usize,
    now_ms: u64,
    interface: u32,
    arrivals: *mut espial_arrival,
) -> i32 {
    call!(|c| {
        let worker = c.worker(worker)?;
        let packets = c.slice(packets, burst(count)?)?;
        let mut room = c.outs(arrivals, count)?;
        for packet in packets {
            c.slice(packet.octets, packet.len)?;
        }
        let ingress = Ingress { now_ms, interface };
        let mut found = [Arrival::Drop(DROP); PIECE];
        for piece in packets.chunks(PIECE) {
            let mut octets: [&[u8]; PIECE] = [&[]; PIECE];
            for (octets, packet) in octets.iter_mut().zip(piece) {
                *octets = c.slice(packet.octets, packet.len)?;
            }
            let octets = octets.get(..piece.len()).unwrap_or_default();
            let judged = worker.arrive_burst(octets, ingress, &mut found);
            for arrival in found.iter().take(judged) {
                room.push(&convert::arrival_codes(arrival));
            }
        }
        Ok(())
    })
}

/// Looks the SA up for headers that the host has read itself, or that came in a TCP stream
/// (espial_class.outer). Its sequence_high is not read.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE; ESPIAL_EVALUE: a family, protocol or encapsulation
/// that is none. Treat them as a drop.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_worker_lookup(
    worker: *mut espial_worker,
    outer: *const espial_outer,
    now_ms: u64,
    interface: u32,
    arrival: *mut espial_arrival,
) -> i32 {
    call!(|c| {
        let worker = c.worker(worker)?;
        let outer = convert::arriving(&c.read(outer)?)?;
        let arrival = c.out(arrival)?;
        let found = worker.lookup(&outer, Ingress { now_ms, interface });
        arrival.set(convert::arrival_codes(&found));
        Ok(())
    })
}

/// espial_worker_lookup() for count headers, at most ESPIAL_BURST_MAX, into as many arrivals.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE, ESPIAL_ERANGE. No packet is judged
/// then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_worker_lookup_burst(
    worker: *mut espial_worker,
    outers: *const espial_outer,
    count: usize,
    now_ms: u64,
    interface: u32,
    arrivals: *mut espial_arrival,
) -> i32 {
    call!(|c| {
        let worker = c.worker(worker)?;
        let outers = c.slice(outers, burst(count)?)?;
        let mut room = c.outs(arrivals, count)?;
        outers.iter().try_for_each(convert::test_outer)?;
        let ingress = Ingress { now_ms, interface };
        let mut found = [Arrival::Drop(DROP); PIECE];
        let mut headers = [NO_HEADERS; PIECE];
        for piece in outers.chunks(PIECE) {
            for (headers, outer) in headers.iter_mut().zip(piece) {
                *headers = convert::arriving(outer)?;
            }
            let headers = headers.get(..piece.len()).unwrap_or_default();
            let judged = worker.lookup_burst(headers, ingress, &mut found);
            for arrival in found.iter().take(judged) {
                room.push(&convert::arrival_codes(arrival));
            }
        }
        Ok(())
    })
}

/// The SAs of count SPIs alone, at most ESPIAL_BURST_MAX, into as many sas; *found says how many there
/// are. For hosts that only want the table: nothing is judged, counted or told. An SA that is none stands
/// where no SA has the SPI, where keys with addresses share it, or where it is larval;
/// espial_worker_lookup() tells these apart. ipsec is ESPIAL_IPSEC_*, for all of them.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE, ESPIAL_ERANGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_worker_find_spis(
    worker: *mut espial_worker,
    ipsec: u32,
    spis: *const u32,
    count: usize,
    sas: *mut espial_sa,
    found: *mut usize,
) -> i32 {
    call!(|c| {
        let worker = c.worker(worker)?;
        let ipsec = convert::protocol(ipsec)?;
        let spis = c.slice(spis, burst(count)?)?;
        let mut room = c.outs(sas, count)?;
        let found = c.out(found)?;
        let mut asked = [Spi(0); ESPIAL_BURST_MAX];
        let mut answers = [SaId::NONE; ESPIAL_BURST_MAX];
        for (asked, spi) in asked.iter_mut().zip(spis) {
            *asked = Spi(*spi);
        }
        let asked = asked.get(..spis.len()).unwrap_or_default();
        let number = worker.find_spis(ipsec, asked, &mut answers);
        for sa in answers.iter().take(spis.len()) {
            room.push(&(*sa).into());
        }
        found.set(number);
        Ok(())
    })
}

/// The SAs of count packets, at most ESPIAL_BURST_MAX, into as many sas; *found says how many there are.
/// The longest key that fits a packet counts. For hosts that only want the table: nothing is judged, counted
/// or told. An SA that is none stands where there is none; espial_worker_lookup() says why.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE, ESPIAL_ERANGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_worker_find_sas(
    worker: *mut espial_worker,
    outers: *const espial_outer,
    count: usize,
    sas: *mut espial_sa,
    found: *mut usize,
) -> i32 {
    call!(|c| {
        let worker = c.worker(worker)?;
        let outers = c.slice(outers, burst(count)?)?;
        let mut room = c.outs(sas, count)?;
        let found = c.out(found)?;
        outers.iter().try_for_each(convert::test_outer)?;
        let mut headers = [NO_HEADERS; PIECE];
        let mut answers = [SaId::NONE; PIECE];
        let mut number = 0;
        for piece in outers.chunks(PIECE) {
            for (headers, outer) in headers.iter_mut().zip(piece) {
                *headers = convert::arriving(outer)?;
            }
            let headers = headers.get(..piece.len()).unwrap_or_default();
            number += worker.find_sas(headers, &mut answers);
            for sa in answers.iter().take(piece.len()) {
                room.push(&(*sa).into());
            }
        }
        found.set(number);
        Ok(())
    })
}

/// The SA of one SPI alone, or none, as espial_worker_find_spis().
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_worker_find_spi(
    worker: *mut espial_worker,
    ipsec: u32,
    spi: u32,
    sa: *mut espial_sa,
) -> i32 {
    look!(
        |c| {
            let worker = c.worker(worker).ok()?;
            let sa = c.out(sa).ok()?;
            if ipsec != u32::from(ESPIAL_IPSEC_ESP) {
                return None;
            }
            sa.set(worker.look_esp(Spi(spi))?.into());
            Some(ESPIAL_OK)
        },
        else find_spi(worker, ipsec, spi, sa)
    )
}

/// espial_worker_find_spi() of ESP, in the fewest instructions: returns espial_sa.slot of the SA, which with this SPI is its handle, or 0
/// where there is none, and where worker is NULL or no worker: then drop.
///
/// Thread: owner only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_worker_find_esp(worker: *mut espial_worker, spi: u32) -> u32 {
    look!(
        |c| Some(c.worker(worker).ok()?.look_esp(Spi(spi))?.to_raw() as u32),
        else find_esp(worker, spi)
    )
}

/// Judges an opened packet: may it be on this SA? Whatever the answer, its sequence number is seen and it
/// counts against the SA's limits from now on: call it once, for a packet that is authentic.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE, ESPIAL_ERANGE. Treat them as a drop.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_worker_check(
    worker: *mut espial_worker,
    opened: *const espial_opened,
    now_ms: u64,
    interface: u32,
    verdict: *mut espial_verdict,
) -> i32 {
    call!(|c| {
        let worker = c.worker(worker)?;
        let opened = c.borrow(opened)?;
        let outer = c.borrow(opened.outer)?;
        convert::test_outer(outer)?;
        let payload = c.slice(opened.payload, opened.len)?;
        let verdict = c.out(verdict)?;
        let (sa, next_header) = (opened.sa.into(), opened.next_header);
        if let Some(own) = worker.own_selectors(sa)
            && own.cover_packet(next_header, payload)
        {
            verdict.set(convert::accepted_codes(&own.accept(payload.len())));
            return Ok(());
        }
        check(worker, outer, (sa, next_header, payload), Ingress { now_ms, interface }, verdict)
    })
}

/// espial_worker_check() without what explains it, for firmware that links nothing more: for tunnel-mode SAs without replay
/// window and limits, in tunnels of ESPIAL_MODE_STRICT_SA or ESPIAL_MODE_ANY_SELECTOR. What it accepts espial_worker_check() accepts,
/// and drops are counted alike; but shadow modes are not asked, ICMP errors are judged by their own headers only, a later fragment
/// without ports is ESPIAL_DROP_NO_SELECTOR, no event is made, and verdict says no more of a drop than its reason. Of
/// opened outer is not read and may be NULL.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ERANGE; ESPIAL_EVALUE: this SA or the mode of its tunnel needs
/// espial_worker_check(), nothing was counted. Treat them as a drop.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_worker_check_plain(
    worker: *mut espial_worker,
    opened: *const espial_opened,
    verdict: *mut espial_verdict,
) -> i32 {
    call!(|c| {
        let worker = c.worker(worker)?;
        let opened = c.borrow(opened)?;
        let payload = c.slice(opened.payload, opened.len)?;
        let verdict = c.out(verdict)?;
        let judged = worker.check_plain(opened.sa.into(), opened.next_header, payload);
        verdict.set(match &judged.ok_or(Status(ESPIAL_EVALUE))? {
            Ok(accepted) => convert::accepted_codes(accepted),
            Err(reason) => convert::refused_code(*reason),
        });
        Ok(())
    })
}

/// espial_worker_check() for count packets, at most ESPIAL_BURST_MAX, into as many verdicts.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE, ESPIAL_ERANGE. No packet is judged
/// then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_worker_check_burst(
    worker: *mut espial_worker,
    opened: *const espial_opened,
    count: usize,
    now_ms: u64,
    interface: u32,
    verdicts: *mut espial_verdict,
) -> i32 {
    call!(|c| {
        let worker = c.worker(worker)?;
        let opened = c.slice(opened, burst(count)?)?;
        let mut room = c.outs(verdicts, count)?;
        for one in opened {
            convert::test_outer(&c.read(one.outer)?)?;
            c.slice(one.payload, one.len)?;
        }
        let ingress = Ingress { now_ms, interface };
        let mut judged = [DROPPED; PIECE];
        let mut outers = [NO_HEADERS; PIECE];
        for piece in opened.chunks(PIECE) {
            for (outer, one) in outers.iter_mut().zip(piece) {
                *outer = convert::outer(&c.read(one.outer)?)?;
            }
            let mut ready =
                [Opened { sa: SaId::NONE, outer: &NO_HEADERS, next_header: 0, payload: &[] };
                    PIECE];
            for ((ready, one), outer) in ready.iter_mut().zip(piece).zip(&outers) {
                let payload = c.slice(one.payload, one.len)?;
                *ready = Opened { sa: one.sa.into(), outer, next_header: one.next_header, payload };
            }
            let ready = ready.get(..piece.len()).unwrap_or_default();
            let count = worker.check_burst(ready, ingress, &mut judged);
            for verdict in judged.iter().take(count) {
                room.push(&convert::verdict_codes(verdict));
            }
        }
        Ok(())
    })
}

/// espial_worker_check() for headers that the host has read out of the opened packet itself. octets is
/// what the counts add up. ICMP errors are judged by their own headers only.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE. Treat them as a drop.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_worker_check_headers(
    worker: *mut espial_worker,
    sa: espial_sa,
    outer: *const espial_outer,
    inner: *const espial_inner,
    octets: usize,
    now_ms: u64,
    interface: u32,
    verdict: *mut espial_verdict,
) -> i32 {
    call!(|c| {
        let worker = c.worker(worker)?;
        let outer = c.borrow(outer)?;
        convert::test_outer(outer)?;
        let inner = c.borrow(inner)?;
        convert::test_inner(inner)?;
        let verdict = c.out(verdict)?;
        let sa = sa.into();
        if let Some(own) = worker.own_selectors(sa) {
            // By themselves: headers of any kind would be put together in memory first.
            let covered = convert::is_whole_v4(inner) && own.cover_ports(inner)
                || own.cover(&convert::inner(inner)?);
            if covered {
                verdict.set(convert::accepted_codes(&own.accept(octets)));
                return Ok(());
            }
        }
        let ingress = Ingress { now_ms, interface };
        check_headers(worker, outer, (sa, inner, octets), ingress, verdict)
    })
}

/// espial_worker_check_plain() for headers that the host has read out of the opened packet itself, in the fewest instructions: may
/// a packet with these headers be on this SA, which the host has from espial_worker_find_spi() or another call? octets is what the
/// counts add up. An SA in transport mode is judged as one in tunnel mode; a stale one is a drop, ESPIAL_DROP_UNKNOWN_SPI.
///
/// Thread: owner only. In strict-sa mode each selector of the SA is asked once, and those of its tunnel if none of them
/// covers the packet; see espial_worker_check().
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE; ESPIAL_EVALUE: headers that are none, or this SA or the mode of its tunnel
/// needs espial_worker_check_headers(), nothing was counted. Treat them as a drop.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_worker_check_plain_headers(
    worker: *mut espial_worker,
    sa: espial_sa,
    inner: *const espial_inner,
    octets: usize,
    verdict: *mut espial_plain_verdict,
) -> i32 {
    look!(
        |c| {
            let worker = c.worker(worker).ok()?;
            let inner = c.borrow(inner).ok()?;
            let verdict = c.out(verdict).ok()?;
            let own = worker.own_selectors(sa.into())?;
            if !convert::is_whole_v4(inner) || !own.cover_ports(inner) {
                return None;
            }
            own.count(octets);
            verdict.set(convert::ACCEPTED);
            Some(ESPIAL_OK)
        },
        else check_plain_headers(worker, sa, inner, octets, verdict)
    )
}

/// Counts a packet that the host dropped between arrival and check, and makes its event. reason is
/// ESPIAL_DROP_AUTH_FAILED, _BAD_PADDING, _REPLAY, _NOT_OPENED, _SA_EXPIRED or another ESPIAL_DROP_*.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_EVALUE. Nothing is counted then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_worker_report(
    worker: *mut espial_worker,
    sa: espial_sa,
    outer: *const espial_outer,
    reason: u32,
    now_ms: u64,
    interface: u32,
    verdict: *mut espial_verdict,
) -> i32 {
    call!(|c| {
        let worker = c.worker(worker)?;
        let outer = convert::outer(&c.read(outer)?)?;
        let reason = convert::reason(reason)?;
        let verdict = c.out(verdict)?;
        let counted = worker.report(sa.into(), &outer, reason, Ingress { now_ms, interface });
        verdict.set(convert::verdict_codes(&counted));
        Ok(())
    })
}

/// Says that this thread holds nothing that it learned before; SA handles may be kept. Once each turn of
/// the poll loop: until then the writer gets no memory back. One load and one store.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_worker_quiescent(worker: *mut espial_worker) -> i32 {
    call!(|c| {
        c.worker(worker)?.quiescent();
        Ok(())
    })
}

/// Says that this thread holds nothing and may sleep. The next call for a packet takes part again.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_worker_idle(worker: *mut espial_worker) -> i32 {
    call!(|c| {
        c.worker(worker)?.idle();
        Ok(())
    })
}

/// Sets how many events a second this worker may make of each kind, 0 = none, and how many of them at
/// once. Ten and ten at first. Counts do not depend on it.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_worker_set_event_budget(
    worker: *mut espial_worker,
    per_second: u32,
    burst: u32,
) -> i32 {
    call!(|c| {
        c.worker(worker)?.set_event_budget(EventBudget { per_second, burst });
        Ok(())
    })
}

/// Takes the oldest events, at most room of them, into the caller's array; *count says how many.
/// events[0].size is set by the caller and is the size of every element. A worker keeps 20 events: 2 of SPIs never
/// seen, 2 of other unknown SPIs, and 4 each of selectors that do not cover the packet, of malformed packets, of all
/// other drops, and of soft lifetimes.
///
/// Thread: owner only.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_EHANDLE, ESPIAL_ESIZE. No event is taken then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_worker_events(
    worker: *mut espial_worker,
    events: *mut espial_event,
    room: usize,
    count: *mut usize,
) -> i32 {
    call!(|c| {
        let worker = c.worker(worker)?;
        let count = c.out(count)?;
        let mut events = c.outs_versioned(events, room)?;
        let size = events.stride() as u32;
        while events.left() > 0 {
            let Some(event) = worker.next_event() else { break };
            events.push(&convert::event_codes(&event, size));
        }
        count.set(room.saturating_sub(events.left()));
        Ok(())
    })
}

/// The check of a packet that is not accepted at once. A call of its own, so that the others need no stack for it.
#[inline(never)]
fn check(
    worker: &mut Worker<'_, dyn Audit>,
    outer: &espial_outer,
    (sa, next_header, payload): (SaId, u8, &[u8]),
    ingress: Ingress,
    verdict: Out<'_, espial_verdict>,
) -> Result<(), Status> {
    let outer = convert::outer(outer)?;
    let judged = worker.check(&Opened { sa, outer: &outer, next_header, payload }, ingress);
    verdict.set(convert::verdict_codes(&judged));
    Ok(())
}

/// [`check`] for headers.
#[inline(never)]
fn check_headers(
    worker: &mut Worker<'_, dyn Audit>,
    outer: &espial_outer,
    (sa, inner, octets): (SaId, &espial_inner, usize),
    ingress: Ingress,
    verdict: Out<'_, espial_verdict>,
) -> Result<(), Status> {
    let (outer, inner) = (convert::outer(outer)?, convert::inner(inner)?);
    let judged = worker.check_headers(sa, &outer, &inner, octets, ingress);
    verdict.set(convert::verdict_codes(&judged));
    Ok(())
}

/// What [`espial_worker_find_spi`] does not find at once.
#[inline(never)]
unsafe fn find_spi(worker: *mut espial_worker, ipsec: u32, spi: u32, sa: *mut espial_sa) -> i32 {
    call!(|c| {
        let worker = c.worker(worker)?;
        let ipsec = convert::protocol(ipsec)?;
        let sa = c.out(sa)?;
        sa.set(worker.spi_table().find(ipsec, Spi(spi)).into());
        Ok(())
    })
}

/// What [`espial_worker_find_esp`] does not find at once.
#[inline(never)]
unsafe fn find_esp(worker: *mut espial_worker, spi: u32) -> u32 {
    let mut sa = espial_sa { slot: 0, spi: 0 };
    // SAFETY: the caller has the same contract; what is found is put into a variable.
    unsafe { find_spi(worker, u32::from(ESPIAL_IPSEC_ESP), spi, &raw mut sa) };
    sa.slot
}

/// What [`espial_worker_check_plain_headers`] does not accept at once.
#[inline(never)]
unsafe fn check_plain_headers(
    worker: *mut espial_worker,
    sa: espial_sa,
    inner: *const espial_inner,
    octets: usize,
    verdict: *mut espial_plain_verdict,
) -> i32 {
    call!(|c| {
        let worker = c.worker(worker)?;
        let inner = c.borrow(inner)?;
        let verdict = c.out(verdict)?;
        let judged = worker.check_plain_headers(sa.into(), &convert::inner(inner)?, octets);
        verdict.set(match judged.ok_or(Status(ESPIAL_EVALUE))? {
            Ok(_) => convert::ACCEPTED,
            Err(reason) => convert::refused_plain(reason),
        });
        Ok(())
    })
}

fn burst(count: usize) -> Result<usize, Status> {
    if count <= ESPIAL_BURST_MAX { Ok(count) } else { Err(Status(ESPIAL_ERANGE)) }
}
