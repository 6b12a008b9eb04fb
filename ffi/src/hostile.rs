//! C calls with arguments that nobody sane would pass: the body of a fuzz target, which `cargo test`
//! runs on seeded input too.
//!
//! Each struct starts as a plausible one and has octets changed by the input, sizes, enums and
//! handles among them. Pointers are valid or NULL: anything else is the caller's breach, not ours.
#![allow(unsafe_code, reason = "calls the exported functions as C does")]
#![allow(clippy::undocumented_unsafe_blocks, reason = "every pointer is to a local, or NULL")]
#![allow(clippy::multiple_unsafe_ops_per_block, reason = "one call a block, and its arguments")]

use core::ffi::c_void;
use core::mem::{MaybeUninit, size_of, zeroed};
use core::ptr::null_mut;
use std::vec;
use std::vec::Vec;

use crate::config::*;
use crate::convert;
use crate::handle::{espial_gateway, espial_matcher, espial_spd, espial_spd_worker, espial_worker};
use crate::matcher::*;
use crate::packet::*;
use crate::setup::*;
use crate::spd::*;
use crate::types::*;

/// Choices read from octets; zero when they run out.
pub(crate) struct Choices<'a>(pub(crate) &'a [u8]);

impl<'a> Choices<'a> {
    pub(crate) fn octet(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    pub(crate) fn number(&mut self) -> u64 {
        // Small ones, edges and anything.
        match self.octet() {
            255 => u64::MAX,
            254 => u64::from(u32::MAX),
            253 => u64::from_le_bytes(core::array::from_fn(|_| self.octet())),
            small => u64::from(small % 80),
        }
    }

    fn octets(&mut self) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(usize::from(self.octet() % 64).min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// `plausible` with some octets changed. Only for structs of integers.
    pub(crate) fn spoil<T: Copy>(&mut self, plausible: T) -> T {
        let mut spoilt = plausible;
        let octets: &mut [MaybeUninit<u8>] = unsafe {
            core::slice::from_raw_parts_mut(
                (&raw mut spoilt).cast::<MaybeUninit<u8>>(),
                size_of::<T>(),
            )
        };
        for _ in 0..self.octet() % 3 {
            let at = usize::from(self.octet()) % octets.len();
            octets[at] = MaybeUninit::new(self.octet());
        }
        spoilt
    }
}

/// Calls and holds the call to its word: a known status, and outputs written on success only.
pub(crate) fn call<T: Copy>(out: &mut T, call: impl FnOnce(*mut T) -> i32) -> bool {
    let mut room = MaybeUninit::<T>::uninit();
    let octets = room.as_mut_ptr().cast::<u8>();
    unsafe { octets.write_bytes(0xa5, size_of::<T>()) };
    let status = call(room.as_mut_ptr());
    assert!((0..=ESPIAL_EADMITTED).contains(&status), "status {status}");
    if status == ESPIAL_OK {
        *out = unsafe { room.assume_init() };
    } else {
        let left = unsafe { core::slice::from_raw_parts(octets, size_of::<T>()) };
        assert!(left.iter().all(|octet| *octet == 0xa5), "an output was written though {status}");
    }
    status == ESPIAL_OK
}

const ANY: espial_ts = espial_ts {
    family: ESPIAL_FAMILY_V4,
    protocol: 0,
    port_lo: 0,
    port_hi: u16::MAX,
    reserved: 0,
    addr_lo: [0; 16],
    addr_hi: [255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// An SA for `spi`, to be spoilt.
pub(crate) fn plausible_sa(spi: u32) -> espial_sa_params {
    let mut params: espial_sa_params = unsafe { zeroed() };
    params.size = size_of::<espial_sa_params>() as u32;
    params.mode = ESPIAL_SA_TUNNEL;
    params.key.spi = spi;
    params.key.ipsec = ESPIAL_IPSEC_ESP;
    params.key.scope = ESPIAL_SCOPE_SPI;
    params
}

/// The SPI of a live SA.
fn key_of(gateway: *mut espial_gateway, sa: espial_sa) -> Option<u32> {
    let mut key: espial_sa_key = unsafe { zeroed() };
    call(&mut key, |out| unsafe { espial_sa_key_of(gateway, sa, out) }).then_some(key.spi)
}

#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(crate) struct Line(pub(crate) [u8; 64]);

/// A selector of few values, so that packets meet it; spoilt.
pub(crate) fn chosen_selector(choices: &mut Choices<'_>) -> espial_selector {
    let mut selector: espial_selector = unsafe { zeroed() };
    let shape = choices.octet();
    selector.family = if shape & 1 == 0 { ESPIAL_FAMILY_V4 } else { ESPIAL_FAMILY_V6 };
    selector.protocol = [0, 6, 17, 1][usize::from(shape >> 1 & 3)];
    (selector.remote_port_hi, selector.local_port_hi) = (u16::MAX, u16::MAX);
    let last = if shape & 8 == 0 { 0 } else { 3 };
    selector.remote_lo[last] = choices.octet() & 15;
    selector.remote_hi[last] = selector.remote_lo[last] + (shape >> 4 & 7);
    selector.local_lo[last] = choices.octet() & 15;
    selector.local_hi[last] = selector.local_lo[last] + (shape >> 5);
    choices.spoil(selector)
}

pub(crate) fn chosen_packet(choices: &mut Choices<'_>) -> espial_inner {
    let mut packet: espial_inner = unsafe { zeroed() };
    let shape = choices.octet();
    packet.family = if shape & 1 == 0 { ESPIAL_FAMILY_V4 } else { ESPIAL_FAMILY_V6 };
    packet.protocol = [6, 17, 1, 47][usize::from(shape >> 1 & 3)];
    packet.next_layer = [1, 1, 2, 0][usize::from(shape >> 1 & 3)];
    packet.fragment = [0, 0, 1, 2][usize::from(shape >> 4 & 3)];
    let last = if shape & 8 == 0 { 0 } else { 3 };
    packet.src[last] = choices.octet() & 15;
    packet.dst[last] = choices.octet() & 15;
    choices.spoil(packet)
}

/// Both checks of headers: what the short one says, the other one says too.
pub(crate) fn ask_headers(
    worker: *mut espial_worker,
    sa: espial_sa,
    inner: &espial_inner,
) -> Option<u8> {
    let mut short: espial_plain_verdict = unsafe { zeroed() };
    let said = call(&mut short, |out| unsafe {
        espial_worker_check_plain_headers(worker, sa, inner, 100, out)
    });
    let mut outer: espial_outer = unsafe { zeroed() };
    (outer.family, outer.ipsec, outer.spi) = (ESPIAL_FAMILY_V4, ESPIAL_IPSEC_ESP, sa.spi);
    let mut verdict: espial_verdict = unsafe { zeroed() };
    let done = call(&mut verdict, |out| unsafe {
        espial_worker_check_headers(worker, sa, &outer, inner, 100, 0, 0, out)
    });
    assert_eq!(done, convert::inner(inner).is_ok());
    assert!(!said || done && short.verdict == verdict.verdict);
    done.then_some(verdict.verdict)
}

/// Compiles a list that the input chooses, spoils its words, and asks what is left every question.
fn ask_matcher(choices: &mut Choices<'_>) {
    let count = choices.octet() % 80;
    let list: Vec<_> = (0..count)
        .map(|_| chosen_selector(choices))
        .filter(|one| call(&mut (), |_| unsafe { espial_selector_check(one) }))
        .collect();
    let (mut merged, mut left) = (list.clone(), 0);
    let (at, count) = (merged.as_mut_ptr(), merged.len());
    assert!(call(&mut left, |out| unsafe { espial_selectors_merge(at, count, out) }));
    merged.truncate(left);
    let known = |list: &[espial_selector]| -> Vec<_> {
        list.iter().map(|one| convert::selector(one).expect("tested")).collect()
    };
    let (list, merged) = (known(&list), known(&merged));
    let compiled = espial::matcher::compile(&list).expect("a short list");
    let mut words = compiled.to_vec();
    for _ in 0..choices.octet() % 4 {
        let at = choices.number() as usize % words.len();
        words[at] ^= choices.number() << (choices.octet() % 64);
    }
    words.truncate(words.len() - usize::from(choices.octet() % 8 == 7));
    let whole = words == *compiled;
    let mut memory = [Line([0; 64]); 8];
    let mut matcher: *mut espial_matcher = null_mut();
    let made = call(&mut matcher, |out| unsafe {
        let (mem, len) = (memory.as_mut_ptr().cast::<c_void>(), size_of_val(&memory));
        espial_matcher_init(mem, len, words.as_ptr(), words.len(), out)
    });
    assert!(made || !whole, "what was compiled is refused");
    if !made {
        return;
    }
    let packets: Vec<_> = (0..choices.octet() % 70).map(|_| chosen_packet(choices)).collect();
    let (at, count) = (packets.as_ptr(), packets.len());
    let mut found = [0; 80];
    let mut covered = 0;
    let known = packets.iter().all(|packet| convert::inner(packet).is_ok());
    let done = call(&mut found, |out| unsafe {
        espial_matcher_first_burst(matcher, at, count, out.cast::<u32>())
    });
    let both =
        call(&mut covered, |out| unsafe { espial_matcher_any_burst(matcher, at, count, out) });
    assert_eq!((done, both), (known && count <= ESPIAL_BURST_MAX, done));
    for (nth, packet) in packets.iter().enumerate() {
        let (mut first, mut source, mut any) = (0, 0, 0);
        let done = call(&mut first, |out| unsafe { espial_matcher_first(matcher, packet, out) });
        let known = convert::inner(packet);
        assert_eq!(done, known.is_ok());
        let Ok(known) = known else { continue };
        assert!(call(&mut source, |out| unsafe {
            espial_matcher_first_source(matcher, packet, out)
        }));
        assert!(call(&mut any, |out| unsafe { espial_matcher_any(matcher, packet, out) }));
        // Spoilt words that are a matcher all the same may answer anything.
        if whole && both {
            assert_eq!((found[nth], covered >> nth & 1), (first, any.into()), "one and a burst");
        }
        if whole {
            let naive = |place: Option<usize>| place.map_or(ESPIAL_MATCHER_NONE, |at| at as u32);
            let from = known.endpoints.src();
            assert_eq!(first, naive(list.iter().position(|one| one.covers(&known))));
            assert_eq!(source, naive(list.iter().position(|one| one.remote.contains(from))));
            assert_eq!(any, u8::from(first != ESPIAL_MATCHER_NONE));
            assert_eq!(any, u8::from(merged.iter().any(|one| one.covers(&known))));
        }
    }
    assert_eq!(unsafe { espial_matcher_release(matcher) }, ESPIAL_OK);
}

/// Compiles policies that the input chooses, spoils their words, and asks what is left every question.
fn ask_spd(choices: &mut Choices<'_>) {
    use espial::spd::{Action, Direction, Order, Policy, PolicyId, PolicyList, Spd};
    let direction = [Direction::Inbound, Direction::Outbound][usize::from(choices.octet() % 2)];
    let policies = (0..u32::from(choices.octet() % 20)).filter_map(|id| {
        let selector = convert::selector(&chosen_selector(choices)).ok()?;
        let action = Action::from_code(choices.octet() % 3)?;
        Some(Policy { id: PolicyId(id), action, priority: 0, selectors: vec![selector] })
    });
    let policies: Vec<_> = policies.collect();
    let list = PolicyList::from_policies(direction, Order::Placed, policies).expect("valid");
    let compiled = list.compile().expect("a short list");
    let core = Spd::open(&compiled).expect("just compiled");
    let mut words = compiled.clone();
    for _ in 0..choices.octet() % 4 {
        let at = choices.number() as usize % words.len();
        words[at] ^= choices.number() << (choices.octet() % 64);
    }
    words.truncate(words.len() - usize::from(choices.octet() % 8 == 7));
    let whole = words == compiled;
    let mut memory = [Line([0; 64]); 16];
    let mut spd: *mut espial_spd = null_mut();
    let made = call(&mut spd, |out| unsafe {
        let (mem, len) = (memory.as_mut_ptr().cast::<c_void>(), size_of_val(&memory));
        espial_spd_init(mem, len, words.as_ptr(), words.len(), out)
    });
    assert!(made || !whole, "what was compiled is refused");
    if !made {
        return;
    }
    let mut row = [Line([0; 64]); 32];
    let (mut size, mut worker): (usize, *mut espial_spd_worker) = (0, null_mut());
    assert!(call(&mut size, |out| unsafe { espial_spd_worker_size(spd, out) }));
    let most = size_of_val(&row);
    let len = usize::from(choices.spoil(size as u16)).min(most);
    let mut attach = |len| {
        let mem = row.as_mut_ptr().cast::<c_void>();
        call(&mut worker, |out| unsafe { espial_spd_worker_init(mem, len, spd, out) })
    };
    assert_eq!(attach(len), len >= size);
    if len < size {
        assert!(attach(most), "room for 20 policies");
    }
    assert_eq!(unsafe { espial_spd_release(spd) }, ESPIAL_EATTACHED);

    let packets: Vec<_> = (0..choices.octet() % 70).map(|_| chosen_packet(choices)).collect();
    let (at, count) = (packets.as_ptr(), packets.len());
    const NONE: espial_spd_answer =
        espial_spd_answer { id: 0, place: ESPIAL_SPD_NONE, action: 0, reserved: [0; 3] };
    let known = packets.iter().all(|packet| convert::inner(packet).is_ok());
    let (mut found, mut counted) = ([NONE; 80], [NONE; 80]);
    let done =
        call(&mut found, |out| unsafe { espial_spd_first_burst(spd, at, count, out.cast()) });
    let both = call(&mut counted, |out| unsafe {
        espial_spd_worker_check_burst(worker, at, count, out.cast())
    });
    assert_eq!((done, both), (known && count <= ESPIAL_BURST_MAX, done));
    let mut met = if both { count as u64 } else { 0 };
    for (nth, packet) in packets.iter().enumerate() {
        let (mut first, mut check) = (NONE, NONE);
        let done = call(&mut first, |out| unsafe { espial_spd_first(spd, packet, out) });
        let known = convert::inner(packet);
        assert_eq!(done, known.is_ok());
        assert_eq!(
            call(&mut check, |out| unsafe { espial_spd_worker_check(worker, packet, out) }),
            done
        );
        let Ok(known) = known else { continue };
        met += 1;
        let same = |a: &espial_spd_answer, b: &espial_spd_answer| {
            (a.id, a.place, a.action) == (b.id, b.place, b.action)
        };
        assert!(first.action <= ESPIAL_ACTION_PROTECT && same(&first, &check));
        if both && whole {
            assert!(same(&found[nth], &first) && same(&counted[nth], &first), "one and a burst");
        }
        if whole {
            assert!(same(&first, &convert::answer_codes(core.first(&known))));
            assert_eq!(first.place != ESPIAL_SPD_NONE, list.first(&known).is_some());
        }
    }
    let (mut counts, mut policies, mut unmatched) = ([0; 20], 0, 0);
    let room = usize::from(choices.octet() % 21);
    let status = unsafe {
        let (counts, policies, unmatched) = (counts.as_mut_ptr(), &mut policies, &mut unmatched);
        espial_spd_worker_counts(worker, counts, room, policies, unmatched)
    };
    assert_eq!(status, ESPIAL_OK);
    if room >= policies {
        assert_eq!(counts.iter().sum::<u64>() + unmatched, met, "each packet is counted once");
    }
    assert!(counts[room.min(policies)..].iter().all(|count| *count == 0));
    assert_eq!(unsafe { espial_spd_worker_release(worker) }, ESPIAL_OK);
    assert_eq!(unsafe { espial_spd_worker_check(worker, at, &mut found[0]) }, ESPIAL_EHANDLE);
    assert_eq!(unsafe { espial_spd_release(spd) }, ESPIAL_OK);
}

/// The calls that need an allocator, which only this crate's tests have without that feature.
#[cfg(not(any(feature = "alloc", test)))]
fn analyse(_: &mut Choices<'_>) {}

/// Puts lists that the input chooses to the calls that take a configuration apart: short arrays, and
/// ranges of them that may not be.
#[cfg(any(feature = "alloc", test))]
fn analyse(choices: &mut Choices<'_>) {
    use crate::analysis::*;
    const ROOM: usize = 16;
    let selectors: Vec<_> = (0..choices.octet() % 10).map(|_| chosen_selector(choices)).collect();
    let policies: Vec<_> = (0..choices.octet() % 8)
        .map(|id| {
            let first = u32::from(choices.octet()) % (selectors.len() as u32 + 1);
            let count = u32::from(choices.octet() % 3);
            let (priority, action) = (choices.number() as i64, choices.octet() % 3);
            let policy =
                espial_policy { priority, id: id.into(), first, count, action, reserved: [0; 3] };
            choices.spoil(policy)
        })
        .collect();
    let (direction, order) = (choices.spoil(0_u32), choices.spoil(2_u32));
    let limit = choices.number() as usize % 500;
    let room = usize::from(choices.octet()) % (ROOM + 1);
    let (mut count, mut other) = (0, 0);
    let mut disjoint: [espial_disjoint; ROOM] = unsafe { zeroed() };
    let status = unsafe {
        let (policies, n) = (policies.as_ptr(), policies.len());
        let (selectors, m) = (selectors.as_ptr(), selectors.len());
        let (out, count, other) = (disjoint.as_mut_ptr(), &mut count, &mut other);
        espial_spd_decorrelate_alloc(
            direction, order, policies, n, selectors, m, limit, out, room, count, other,
        )
    };
    assert!((0..=ESPIAL_EADMITTED).contains(&status) && count <= limit);
    let written = disjoint.iter().filter(|entry| entry.family != 0).count();
    assert_eq!(written, count.min(room));

    let ts: Vec<_> = (0..choices.octet() % 8).map(|_| choices.spoil(ANY)).collect();
    let children: Vec<_> = (0..choices.octet() % 6)
        .map(|tunnel| {
            let mut number = || u32::from(choices.octet() % 4);
            let child = espial_child_ts {
                tunnel: u32::from(tunnel % 2),
                local_first: number(),
                local_count: number(),
                remote_first: number(),
                remote_count: number(),
            };
            choices.spoil(child)
        })
        .collect();
    let (at, n, from, m) = (children.as_ptr(), children.len(), ts.as_ptr(), ts.len());
    let steps = choices.number() % 10_000;
    let mut boxes: [espial_box; ROOM] = unsafe { zeroed() };
    let mut all = 0;
    let out = boxes.as_mut_ptr();
    let status = unsafe { espial_analysis_boxes_alloc(at, n, from, m, out, room, &mut all) };
    let mut overlaps: [espial_overlap; ROOM] = unsafe { zeroed() };
    let mut complete = 9;
    let again = unsafe {
        let (out, count) = (overlaps.as_mut_ptr(), &mut count);
        espial_analysis_overlaps_alloc(at, n, from, m, steps, out, room, count, &mut complete)
    };
    assert_eq!((status, status == ESPIAL_OK), (again, complete <= 1));
    assert!(overlaps.iter().all(|pair| pair.first <= pair.second));
    let (mut hidden, mut by): ([espial_hidden; ROOM], [u32; ROOM]) = unsafe { zeroed() };
    let again = unsafe {
        let (out, by, count, named) =
            (hidden.as_mut_ptr(), by.as_mut_ptr(), &mut count, &mut other);
        espial_analysis_hidden_alloc(
            at, n, from, m, steps, steps, out, room, by, ROOM, count, named,
        )
    };
    assert_eq!(status, again);
    assert!(status != ESPIAL_OK || count <= all);
    let status = unsafe {
        let (list, n) = (selectors.as_ptr(), selectors.len());
        let (out, by, count, named) =
            (hidden.as_mut_ptr(), by.as_mut_ptr(), &mut count, &mut other);
        espial_selectors_hidden_alloc(
            direction, list, n, steps, steps, out, room, by, ROOM, count, named,
        )
    };
    assert!((0..=ESPIAL_EADMITTED).contains(&status));
    assert!(status != ESPIAL_OK || count <= selectors.len());
    let mut nets: [espial_supernet; 2] = unsafe { zeroed() };
    let status =
        unsafe { espial_supernets_alloc(from, m, nets.as_mut_ptr(), room.min(2), &mut count) };
    assert!((0..=ESPIAL_EADMITTED).contains(&status) && (status != ESPIAL_OK || count <= 2));
}

/// Runs calls that the input chooses.
pub(crate) fn calls(input: &[u8]) {
    let mut choices = Choices(input);
    let plausible = espial_capacity {
        size: size_of::<espial_capacity>() as u32,
        tunnels: 2,
        children: 4,
        selectors: 8,
        sas: 4,
        sas_dst: 2,
        sas_dst_src: 2,
        workers: 2,
        sas_allocated: 4,
        replay_window: 64,
    };
    // Small enough that an accepted size is really there.
    let mut memory = vec![Line([0; 64]); 4096];
    let mut worker_memory = vec![Line([0; 64]); 256];
    let mut gateway: *mut espial_gateway = null_mut();
    let mem = memory.as_mut_ptr().cast::<c_void>();
    let capacity = choices.spoil(plausible);
    let octets = memory.len() * size_of::<Line>();
    let made = |capacity: espial_capacity, gateway: &mut *mut espial_gateway| {
        call(gateway, |out| unsafe { espial_gateway_init(mem, octets, &capacity, 1, 2, out) })
    };
    if !made(capacity, &mut gateway) {
        assert!(made(plausible, &mut gateway), "the plausible capacity fits");
    }
    let mut worker: *mut espial_worker = null_mut();
    let worker_mem = worker_memory.as_mut_ptr().cast::<c_void>();
    let octets = worker_memory.len() * size_of::<Line>();
    let index = choices.number() as u32;
    let attach = |index, worker: &mut *mut espial_worker| {
        call(worker, |out| unsafe { espial_worker_init(worker_mem, octets, gateway, index, out) })
    };
    if !attach(index, &mut worker) && !attach(0, &mut worker) {
        assert_eq!(unsafe { espial_gateway_release(gateway) }, ESPIAL_OK);
        return;
    }

    let mut tunnel: espial_tunnel = unsafe { zeroed() };
    let mut child: espial_child = unsafe { zeroed() };
    let mut sa: espial_sa = unsafe { zeroed() };
    let mut outer: espial_outer = unsafe { zeroed() };
    let mut added = 0;
    // SPIs that the gateway chose, and memory that it may have grown into.
    let mut chosen = [0_u32; 4];
    let mut grown: Vec<Vec<Line>> = Vec::new();
    // Mostly from a gateway with an SA: few inputs would get as far by themselves.
    if choices.octet() % 8 != 0 {
        let done = call(&mut tunnel, |out| unsafe { espial_tunnel_add(gateway, 0, 0, out) })
            && call(&mut child, |out| unsafe {
                espial_child_add(gateway, tunnel, &ANY, 1, &ANY, 1, out)
            })
            && call(&mut (), |_| unsafe { espial_gateway_publish(gateway) });
        let spi = &mut chosen[0];
        let esp = u32::from(ESPIAL_IPSEC_ESP);
        let reserved = call(spi, |out| unsafe { espial_spi_reserve(gateway, esp, 0, out) });
        let mut params = plausible_sa(if reserved { *spi } else { 0x100 });
        params.replay_window = u32::from(choices.octet() % 2) * 64;
        params.soft_packets = u64::from(choices.octet() % 4);
        let add = |out| unsafe { espial_sa_add(gateway, child, &params, out) };
        added += u32::from(done && call(&mut sa, add));
    }
    while !choices.0.is_empty() {
        let now_ms = choices.number();
        match choices.octet() % 25 {
            22 => ask_matcher(&mut choices),
            23 => ask_spd(&mut choices),
            24 => analyse(&mut choices),
            0 => {
                let (mode, shadow) = (choices.number() as u32, choices.number() as u32);
                call(&mut tunnel, |out| unsafe { espial_tunnel_add(gateway, mode, shadow, out) });
            }
            1 => {
                let (mode, shadow) = (choices.number() as u32, choices.number() as u32);
                let tunnel = choices.spoil(tunnel);
                call(&mut (), |_| unsafe { espial_tunnel_set_mode(gateway, tunnel, mode, shadow) });
            }
            2 | 3 => {
                let local: Vec<_> = (0..choices.octet() % 4).map(|_| choices.spoil(ANY)).collect();
                let remote: Vec<_> = (0..choices.octet() % 4).map(|_| choices.spoil(ANY)).collect();
                let tunnel = choices.spoil(tunnel);
                call(&mut child, |out| unsafe {
                    let (l, r) = (local.as_ptr(), remote.as_ptr());
                    espial_child_add(gateway, tunnel, l, local.len(), r, remote.len(), out)
                });
            }
            4 => {
                call(&mut (), |_| unsafe { espial_gateway_publish(gateway) });
            }
            5 | 6 => {
                let which = choices.octet();
                let spi = match chosen.get(usize::from(which % 8)) {
                    Some(spi) => *spi,
                    None => 0x100 + u32::from(which % 4),
                };
                let mut params = plausible_sa(spi);
                if choices.octet() % 2 == 0 {
                    params.replay_window = choices.number() as u32;
                    params.esn = choices.octet() % 2;
                    params.replay_start = choices.octet() % 2;
                    params.replay_value = choices.number();
                    params.soft_packets = choices.number();
                    params.soft_octets = choices.number();
                    params.soft_ms = choices.number();
                    params.hard_packets = choices.number();
                    params.hard_octets = choices.number();
                    params.hard_ms = choices.number();
                }
                let (child, params) = (choices.spoil(child), choices.spoil(params));
                let old = sa;
                let done = call(&mut sa, |out| unsafe {
                    if choices.octet() % 4 == 0 {
                        espial_sa_replace(gateway, old, child, &params, now_ms, out)
                    } else {
                        espial_sa_add(gateway, child, &params, out)
                    }
                });
                added += u32::from(done);
            }
            7 => {
                let sa = choices.spoil(sa);
                call(&mut (), |_| unsafe { espial_sa_delete(gateway, sa, now_ms) });
            }
            8 => {
                let child = choices.spoil(child);
                call(&mut (), |_| unsafe { espial_child_remove(gateway, child) });
                let tunnel = choices.spoil(tunnel);
                call(&mut (), |_| unsafe { espial_tunnel_remove(gateway, tunnel) });
            }
            9 => {
                call(&mut (), |_| unsafe {
                    if choices.octet() % 2 == 0 {
                        espial_worker_quiescent(worker)
                    } else {
                        espial_worker_idle(worker)
                    }
                });
            }
            10 => {
                let mut packet =
                    vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 50, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2];
                let which = choices.octet();
                let spi = chosen.get(usize::from(which % 8)).copied();
                packet.extend(spi.unwrap_or(0x100 + u32::from(which % 4)).to_be_bytes());
                packet.extend((choices.number() as u32).to_be_bytes());
                packet.extend(choices.octets());
                let octets = packet.len() as u16;
                packet[2..4].copy_from_slice(&octets.to_be_bytes());
                let mut arrival: espial_arrival = unsafe { zeroed() };
                call(&mut arrival, |out| unsafe {
                    espial_worker_arrive(worker, packet.as_ptr(), packet.len(), now_ms, 0, out)
                });
                if arrival.verdict == ESPIAL_VERDICT_OPEN {
                    assert!(added > 0, "no SA was ever added");
                    (sa, outer) = (arrival.sa, arrival.outer);
                }
            }
            11 | 12 => {
                let payload = choices.octets();
                let outer = choices.spoil(outer);
                let opened = espial_opened {
                    outer: &outer,
                    payload: payload.as_ptr(),
                    len: payload.len(),
                    sa: choices.spoil(sa),
                    next_header: [4, 41, 59, 17][usize::from(choices.octet() % 4)],
                    reserved: [0; 7],
                };
                let mut verdict: espial_verdict = unsafe { zeroed() };
                call(&mut verdict, |out| unsafe {
                    espial_worker_check(worker, &opened, now_ms, 0, out)
                });
                assert!(verdict.verdict == ESPIAL_VERDICT_DROP || added > 0);
                let count = choices.number() as usize;
                let packets = [opened; 80];
                let mut verdicts = [verdict; 80];
                let status = unsafe {
                    espial_worker_check_burst(
                        worker,
                        packets.as_ptr(),
                        count,
                        now_ms,
                        0,
                        verdicts.as_mut_ptr(),
                    )
                };
                assert!(status != ESPIAL_OK || count <= ESPIAL_BURST_MAX);
                let inner = chosen_packet(&mut choices);
                let verdict = ask_headers(worker, choices.spoil(sa), &inner);
                assert!(verdict != Some(ESPIAL_VERDICT_ACCEPT) || added > 0);
            }
            13 => {
                let mut event: espial_event = unsafe { zeroed() };
                event.size = choices.spoil(size_of::<espial_event>() as u32);
                call(&mut 0, |count| unsafe { espial_worker_events(worker, &mut event, 1, count) });
            }
            14 | 15 => {
                let ipsec = choices.spoil(u32::from(ESPIAL_IPSEC_ESP));
                let place = &mut chosen[usize::from(choices.octet() % 4)];
                let reserve = |out| unsafe { espial_spi_reserve(gateway, ipsec, now_ms, out) };
                if call(place, reserve) {
                    assert!(*place > 255, "a reserved SPI was chosen");
                }
            }
            16 => {
                let ipsec = choices.spoil(u32::from(ESPIAL_IPSEC_ESP));
                let place = usize::from(choices.octet() % 4);
                let spi = choices.spoil(chosen[place]);
                call(&mut (), |_| unsafe { espial_spi_release(gateway, ipsec, spi, now_ms) });
                let quarantine = choices.number();
                call(&mut (), |_| unsafe { espial_spi_set_quarantine(gateway, quarantine) });
            }
            17 => {
                let mut state: espial_sa_state = unsafe { zeroed() };
                state.size = choices.spoil(size_of::<espial_sa_state>() as u32);
                let sa = choices.spoil(sa);
                let status = unsafe { espial_sa_state_of(gateway, sa, &mut state) };
                assert!((0..=ESPIAL_EADMITTED).contains(&status));
                let slots = choices.number() as u32;
                let mut from = choices.number() as u32;
                let (mut found, mut due) = (sa, 9);
                let status = unsafe {
                    espial_sa_next_due(gateway, slots, now_ms, &mut from, &mut found, &mut due)
                };
                assert_eq!(status, ESPIAL_OK);
                assert_eq!(due == ESPIAL_DUE_NONE, found.spi == 0);
            }
            18 => {
                let mut larger = plausible;
                larger.sas = (choices.number() as u32).wrapping_add(4);
                larger.sas_allocated = 4 + choices.number() as u32 % 40;
                let window = usize::from(choices.octet() % 2);
                larger.replay_window = [64, capacity.replay_window][window];
                let larger = choices.spoil(larger);
                let mut needed = 0;
                call(&mut needed, |out| unsafe {
                    espial_gateway_growth_size(gateway, &larger, out)
                });
                if grown.len() < 3 {
                    grown.push(vec![Line([0; 64]); 2048]);
                    let piece = grown.last_mut().unwrap();
                    let (mem, octets) = (piece.as_mut_ptr().cast(), size_of_val(&piece[..]));
                    let before = key_of(gateway, sa);
                    let status = unsafe { espial_gateway_grow(gateway, mem, octets, &larger) };
                    assert_eq!(status == ESPIAL_OK, needed != 0 && needed <= octets);
                    assert!(key_of(gateway, sa) == before, "growth changed an SA");
                }
                let mut limits = [0; 4];
                let [a, b, c, d] = &mut limits;
                let status = unsafe { espial_gateway_sa_limits(gateway, a, b, c, d) };
                assert_eq!(status, ESPIAL_OK);
            }
            19 | 20 => {
                let count = choices.number() as usize;
                let any = choices.number() as u32;
                let spis: [u32; 80] = core::array::from_fn(|i| match chosen.get(i % 6) {
                    Some(spi) => *spi,
                    None => any.wrapping_add(i as u32),
                });
                let ipsec = choices.spoil(u32::from(ESPIAL_IPSEC_ESP));
                let mut sas = [espial_sa { slot: 0, spi: 0 }; 80];
                let mut found = 0;
                let done = call(&mut found, |out| unsafe {
                    espial_worker_find_spis(
                        worker,
                        ipsec,
                        spis.as_ptr(),
                        count,
                        sas.as_mut_ptr(),
                        out,
                    )
                });
                assert!(!done || count <= ESPIAL_BURST_MAX);
                let count = if done { count } else { 0 };
                assert_eq!(sas.iter().filter(|sa| sa.spi != 0).count(), found);
                for (spi, answer) in spis.iter().zip(&sas).take(count) {
                    let mut one = *answer;
                    assert!(call(&mut one, |out| unsafe {
                        espial_worker_find_spi(worker, ipsec, *spi, out)
                    }));
                    assert!((one.slot, one.spi) == (answer.slot, answer.spi));
                    if ipsec == u32::from(ESPIAL_IPSEC_ESP) {
                        assert_eq!(unsafe { espial_worker_find_esp(worker, *spi) }, one.slot);
                    }
                }
            }
            _ => {
                let count = choices.number() as usize;
                let outers: [espial_outer; 80] = core::array::from_fn(|i| {
                    let spi = chosen.get(i % 6).copied().unwrap_or(outer.spi);
                    let headers = espial_outer { spi, sequence: i as u32, ..outer };
                    if i < 4 { choices.spoil(headers) } else { headers }
                });
                let mut arrivals: [espial_arrival; 80] = unsafe { zeroed() };
                let status = unsafe {
                    let (outers, arrivals) = (outers.as_ptr(), arrivals.as_mut_ptr());
                    espial_worker_lookup_burst(worker, outers, count, now_ms, 0, arrivals)
                };
                assert!(status != ESPIAL_OK || count <= ESPIAL_BURST_MAX);
                let count = if status == ESPIAL_OK { count } else { 0 };
                let (mut sas, mut found) = ([espial_sa { slot: 0, spi: 0 }; 80], 0);
                let done = call(&mut found, |out| unsafe {
                    espial_worker_find_sas(worker, outers.as_ptr(), count, sas.as_mut_ptr(), out)
                });
                assert!(done && found == sas.iter().filter(|sa| sa.spi != 0).count());
                // An SA that may not be used is found all the same.
                let opened = arrivals.iter().zip(&sas).take(count);
                assert!(
                    opened
                        .filter(|(one, _)| one.sa.spi != 0)
                        .all(|(one, sa)| one.sa.slot == sa.slot)
                );
                for (outer, arrival) in outers.iter().zip(&arrivals).take(count) {
                    let mut one: espial_arrival = unsafe { zeroed() };
                    assert!(call(&mut one, |out| unsafe {
                        espial_worker_lookup(worker, outer, now_ms, 0, out)
                    }));
                    assert_eq!((one.verdict, one.reason), (arrival.verdict, arrival.reason));
                    assert_eq!(one.sa.slot, arrival.sa.slot);
                    assert_eq!(one.outer.sequence_high, arrival.outer.sequence_high);
                }
            }
        }
    }
    let mut counts: espial_counts = unsafe { zeroed() };
    counts.size = size_of::<espial_counts>() as u32;
    assert_eq!(unsafe { espial_gateway_counts(gateway, &mut counts) }, ESPIAL_OK);
    assert_eq!(unsafe { espial_worker_release(worker) }, ESPIAL_OK);
    assert_eq!(unsafe { espial_gateway_release(gateway) }, ESPIAL_OK);
}

#[cfg(test)]
pub(crate) mod tests {
    /// A sequence of octets that is the same each time.
    pub fn seeded(seed: u64, octets: usize) -> std::vec::Vec<u8> {
        let mut state = seed.wrapping_mul(2) + 1;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        core::iter::repeat_with(next).take(octets).collect()
    }

    #[test]
    fn hostile_calls_keep_their_word() {
        for seed in 0..3000 {
            super::calls(&seeded(seed, 400));
        }
    }
}
