//! What is wrong with a configuration before the first packet comes: selectors that overlap, that can never be
//! the first to match, and what fewer of them would let in. Configuration flow; needs an allocator.
#![allow(unsafe_code, reason = "exported names")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract is ABI.md's; the comments here are C's"
)]

extern crate alloc;

use alloc::vec::Vec;

use espial::analysis::{
    Analysis, ChildSelectors, Hidden, Limits, Located, Overlap, Supernet, Why, hidden, supernets,
};
use espial::selector::TrafficSelector;

use crate::convert;
use crate::handle::Caller;
use crate::policies::part;
use crate::status::Status;
use crate::types::*;

/// The boxes of child_count Child SAs: every local selector of one with every remote one of it, local by local
/// (RFC 7296 section 3.13), without the pairs that no packet can match. Each Child SA takes its selectors from
/// the ts_count at ts. The first room of the boxes go into the caller's array; *count is how many there are,
/// room for them or not. A Child SA without a box covers nothing. Shared library only.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN; ESPIAL_EVALUE: no such family, or reserved is not 0; ESPIAL_ESELECTOR:
/// a selector is wrong in itself; ESPIAL_ERANGE: a Child SA has selectors beyond ts_count.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_analysis_boxes_alloc(
    children: *const espial_child_ts,
    child_count: usize,
    ts: *const espial_ts,
    ts_count: usize,
    boxes: *mut espial_box,
    room: usize,
    count: *mut usize,
) -> i32 {
    call!(|c| {
        let mut boxes = c.outs(boxes, room)?;
        let count = c.out(count)?;
        let analysis = analysis(&c, children, child_count, ts, ts_count)?;
        boxes.fill(analysis.boxes().iter().map(box_codes));
        count.set(analysis.boxes().len());
        Ok(())
    })
}

/// The packets that two Child SAs cover, given as to espial_analysis_boxes_alloc(): either may carry them, and
/// a peer that picks the other one than this gateway expects is dropped (RFC 7296 section 2.9.1). Child SAs of
/// one tunnel with the same selectors are as one (RFC 9611). The first room of the overlaps, by the later box,
/// then by the earlier one, go into the caller's array; *count is how many there are, room for them or not.
/// *complete is 1, or 0 if steps comparisons (0 = 1 000 000 000, some 20 s) were not enough for all pairs: then
/// there may be more. Shared library only.
///
/// Thread: any.
/// Errors: as espial_analysis_boxes_alloc().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_analysis_overlaps_alloc(
    children: *const espial_child_ts,
    child_count: usize,
    ts: *const espial_ts,
    ts_count: usize,
    steps: u64,
    overlaps: *mut espial_overlap,
    room: usize,
    count: *mut usize,
    complete: *mut u8,
) -> i32 {
    call!(|c| {
        let mut overlaps = c.outs(overlaps, room)?;
        let (count, complete) = (c.out(count)?, c.out(complete)?);
        let analysis = analysis(&c, children, child_count, ts, ts_count)?;
        let found = analysis.overlaps(&Limits { overlaps: room, ..limits(steps, 0) });
        overlaps.fill(found.pairs.iter().map(|overlap| overlap_codes(&analysis, overlap)));
        count.set(usize::try_from(found.total).unwrap_or(usize::MAX));
        complete.set(found.complete.into());
        Ok(())
    })
}

/// The boxes of Child SAs, given as to espial_analysis_boxes_alloc(), that are never the first of their tunnel to
/// cover a packet: espial_hidden.index and what hides it count boxes. In ordered-spd mode no packet falls to such
/// a box; in the other modes it adds nothing to what the tunnel covers. Child SAs with the selectors of an earlier
/// one of their tunnel are left out (RFC 9611).
///
/// The first room of them go into the caller's array hidden; *count is how many there are, room for them or not.
/// The first by_room of what hides them go into the array by, to which espial_hidden.by_first and by_count point;
/// *by_count is how many these are. Comparisons are at most steps in all (0 = 1 000 000 000, some 20 s) and
/// steps_each for a box (0 = 100 000); what is not known then is ESPIAL_HIDDEN_UNDECIDED. Shared library only.
///
/// Thread: any.
/// Errors: as espial_analysis_boxes_alloc().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_analysis_hidden_alloc(
    children: *const espial_child_ts,
    child_count: usize,
    ts: *const espial_ts,
    ts_count: usize,
    steps: u64,
    steps_each: u64,
    hidden: *mut espial_hidden,
    room: usize,
    by: *mut u32,
    by_room: usize,
    count: *mut usize,
    by_count: *mut usize,
) -> i32 {
    call!(|c| {
        let report = Report { hidden, room, by, by_room, count, by_count };
        report.write(&c, || {
            let analysis = analysis(&c, children, child_count, ts, ts_count)?;
            Ok(analysis.hidden(&limits(steps, steps_each)))
        })
    })
}

/// The selectors of an ordered list that are never the first to cover a packet of a direction
/// (ESPIAL_DIRECTION_*): of policies, those that are never hit; of a matcher's list, those that it never answers.
/// espial_hidden.index and what hides it count selectors; all else is as in espial_analysis_hidden_alloc().
/// Shared library only.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_ERANGE; ESPIAL_EVALUE: no such direction, or as
/// espial_selector_check(); ESPIAL_ESELECTOR: as that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_selectors_hidden_alloc(
    direction: u32,
    selectors: *const espial_selector,
    selector_count: usize,
    steps: u64,
    steps_each: u64,
    hidden: *mut espial_hidden,
    room: usize,
    by: *mut u32,
    by_room: usize,
    count: *mut usize,
    by_count: *mut usize,
) -> i32 {
    call!(|c| {
        let report = Report { hidden, room, by, by_room, count, by_count };
        report.write(&c, || {
            let direction = convert::direction(direction)?;
            let list = c.slice(selectors, selector_count)?.iter();
            let list: Vec<_> =
                list.map(|one| convert::compared(direction, one)).collect::<Result<_, _>>()?;
            Ok(self::hidden(&list, &limits(steps, steps_each)))
        })
    })
}

/// The smallest prefix over the addresses of selectors of one side, of a Child SA or of a tunnel: one for IPv4
/// and one for IPv6, where there are any, so that 2 elements are room enough. Protocols and ports are not looked
/// at: where selectors have some, one without them admits more. *count is how many there are, room for them or
/// not. Shared library only.
///
/// Thread: any. Takes time of O(n log n).
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_ERANGE; ESPIAL_EVALUE, ESPIAL_ESELECTOR: as espial_ts_check().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_supernets_alloc(
    ts: *const espial_ts,
    ts_count: usize,
    supernets: *mut espial_supernet,
    room: usize,
    count: *mut usize,
) -> i32 {
    call!(|c| {
        let mut nets = c.outs(supernets, room)?;
        let count = c.out(count)?;
        let found = self::supernets(&sides(&c, ts, ts_count)?);
        nets.fill(found.iter().map(supernet_codes));
        count.set(found.len());
        Ok(())
    })
}

/// 0 is the usual limit.
fn limits(steps: u64, each: u64) -> Limits {
    let or = |given, usual| if given == 0 { usual } else { given };
    let Limits { steps: all, steps_a_selector: one, overlaps } = Limits::USUAL;
    Limits { steps: or(steps, all), steps_a_selector: or(each, one), overlaps }
}

/// The caller's selectors of one side.
fn sides(
    caller: &Caller<'_>,
    at: *const espial_ts,
    count: usize,
) -> Result<Vec<TrafficSelector>, Status> {
    caller.slice(at, count)?.iter().map(convert::traffic_selector).collect()
}

/// The caller's Child SAs.
fn analysis(
    caller: &Caller<'_>,
    children: *const espial_child_ts,
    child_count: usize,
    ts: *const espial_ts,
    ts_count: usize,
) -> Result<Analysis, Status> {
    let children = caller.slice(children, child_count)?;
    let all = sides(caller, ts, ts_count)?;
    let child = |child: &espial_child_ts| {
        Ok(ChildSelectors {
            tunnel: child.tunnel as usize,
            local: part(&all, child.local_first, child.local_count)?,
            remote: part(&all, child.remote_first, child.remote_count)?,
        })
    };
    let children: Vec<_> = children.iter().map(child).collect::<Result<_, Status>>()?;
    Analysis::new(&children).map_err(|_| Status(ESPIAL_ESELECTOR))
}

/// Where hidden selectors and what hides them are to be written.
struct Report {
    hidden: *mut espial_hidden,
    room: usize,
    by: *mut u32,
    by_room: usize,
    count: *mut usize,
    by_count: *mut usize,
}

impl Report {
    fn write(
        self,
        caller: &Caller<'_>,
        find: impl FnOnce() -> Result<Vec<Hidden>, Status>,
    ) -> Result<(), Status> {
        let mut hidden = caller.outs(self.hidden, self.room)?;
        let mut by = caller.outs(self.by, self.by_room)?;
        let (count, by_count) = (caller.out(self.count)?, caller.out(self.by_count)?);
        let found = find()?;
        let mut all = 0;
        for one in &found {
            let (why, them): (_, &[usize]) = match &one.why {
                Why::NoPacket => (ESPIAL_HIDDEN_NO_PACKET, &[]),
                Why::Shadowed { by } => (ESPIAL_HIDDEN_SHADOWED, core::slice::from_ref(by)),
                Why::Unreachable { by } => (ESPIAL_HIDDEN_UNREACHABLE, by),
                // Undecided, and what the core may yet add.
                _ => (ESPIAL_HIDDEN_UNDECIDED, &[]),
            };
            them.iter().for_each(|&one| by.push(&number(one)));
            let (by_first, by_count) = (number(all), number(them.len()));
            hidden.push(&espial_hidden { index: number(one.index), why, by_first, by_count });
            all += them.len();
        }
        count.set(found.len());
        by_count.set(all);
        Ok(())
    }
}

/// An index of what is in memory.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn box_codes(located: &Located) -> espial_box {
    let selector = convert::selector_codes(&located.selector);
    espial_box { child: number(located.child), selector }
}

fn overlap_codes(analysis: &Analysis, overlap: &Overlap) -> espial_overlap {
    let child = |at: usize| analysis.boxes().get(at).map_or(0, |located| number(located.child));
    espial_overlap {
        first: number(overlap.first),
        second: number(overlap.second),
        first_child: child(overlap.first),
        second_child: child(overlap.second),
        both: convert::selector_codes(&overlap.both),
    }
}

fn supernet_codes(net: &Supernet) -> espial_supernet {
    let Supernet { covering, ranges } = net;
    let (family, addr, _) = convert::range_codes(&covering.prefix.range());
    espial_supernet {
        extra_high: (covering.extra >> 64) as u64,
        extra_low: covering.extra as u64,
        ranges: number(*ranges),
        family,
        prefix_len: covering.prefix.len(),
        reserved: 0,
        addr,
    }
}
