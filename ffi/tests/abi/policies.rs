//! The SPD and the analysis through the C ABI of the shared library say what the core says: seeded lists.
#![allow(unsafe_code, reason = "calls the library as C does")]
#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "every pointer is to a local, with its length"
)]
#![allow(clippy::multiple_unsafe_ops_per_block, reason = "one call a block, and its arguments")]

use std::ffi::{CString, c_char, c_int, c_void};
use std::mem::{transmute_copy, zeroed};
use std::ptr::null_mut;

use espial::analysis::{Analysis, ChildSelectors, Hidden, Limits, Why, hidden, supernets};
use espial::headers::{Endpoints, Fragment, InnerHeaders, NextLayer};
use espial::selector::{AddrRange, PortRange, Selector, TrafficSelector};
use espial::spd::{
    Action, Answer, Count, DecorrelateError, Direction, Order, Policy, PolicyId, PolicyList, Spd,
};

use crate::layout::types::*;
use crate::prefix;

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// The installed shared library; never closed.
struct Library(*mut c_void);

impl Library {
    fn open() -> Self {
        let path = prefix().join("lib/libespial.so");
        let path = CString::new(path.to_str().expect("UTF-8")).expect("no NUL");
        const NOW: c_int = 2;
        let library = unsafe { dlopen(path.as_ptr(), NOW) };
        assert!(!library.is_null(), "{path:?}");
        Self(library)
    }

    /// A function of the type that the header gives it.
    fn get<F: Copy>(&self, name: &str) -> F {
        let symbol = CString::new(name).expect("no NUL");
        let at = unsafe { dlsym(self.0, symbol.as_ptr()) };
        assert!(!at.is_null() && size_of::<F>() == size_of_val(&at), "{name}");
        unsafe { transmute_copy(&at) }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as u32 % limit
    }

    /// Few values in each field, so that selectors overlap.
    fn ts(&mut self, family: u8, protocol: u8) -> espial_ts {
        let mut ts: espial_ts = unsafe { zeroed() };
        (ts.family, ts.protocol, ts.port_hi) = (family, protocol, u16::MAX);
        ts.addr_lo[3] = self.below(12) as u8;
        ts.addr_hi[3] = ts.addr_lo[3] + self.below(6) as u8;
        match self.below(6) {
            _ if protocol == 0 => {}
            0 => (ts.port_lo, ts.port_hi) = (u16::MAX, 0),
            1 | 2 => {
                ts.port_lo = self.below(6) as u16;
                ts.port_hi = ts.port_lo + self.below(4) as u16;
            }
            _ => {}
        }
        ts
    }

    fn kind(&mut self) -> (u8, u8) {
        let family = if self.below(4) == 0 { ESPIAL_FAMILY_V6 } else { ESPIAL_FAMILY_V4 };
        (family, [0, 6, 17, 1][self.below(4) as usize])
    }

    fn selector(&mut self) -> espial_selector {
        let (family, protocol) = self.kind();
        let (remote, local) = (self.ts(family, protocol), self.ts(family, protocol));
        espial_selector {
            family,
            protocol,
            remote_port_lo: remote.port_lo,
            remote_port_hi: remote.port_hi,
            local_port_lo: local.port_lo,
            local_port_hi: local.port_hi,
            reserved: 0,
            remote_lo: remote.addr_lo,
            remote_hi: remote.addr_hi,
            local_lo: local.addr_lo,
            local_hi: local.addr_hi,
        }
    }

    fn packet(&mut self) -> espial_inner {
        let mut packet: espial_inner = unsafe { zeroed() };
        (packet.family, _) = self.kind();
        packet.protocol = [6, 17, 1, 47][self.below(4) as usize];
        packet.next_layer = [1, 1, 2, 0][self.below(4) as usize];
        packet.fragment = [0, 0, 1, 2][self.below(4) as usize];
        (packet.sport, packet.dport) = (self.below(9) as u16, self.below(9) as u16);
        (packet.src[3], packet.dst[3]) = (self.below(18) as u8, self.below(18) as u8);
        packet
    }
}

fn v4(octets: [u8; 16]) -> u32 {
    u32::from_be_bytes([octets[0], octets[1], octets[2], octets[3]])
}

fn range(family: u8, lo: [u8; 16], hi: [u8; 16]) -> AddrRange {
    match family {
        ESPIAL_FAMILY_V4 => AddrRange::V4 { lo: v4(lo), hi: v4(hi) },
        _ => AddrRange::V6 { lo: u128::from_be_bytes(lo), hi: u128::from_be_bytes(hi) },
    }
}

fn core_ts(ts: &espial_ts) -> TrafficSelector {
    let ports = PortRange::new(ts.port_lo, ts.port_hi).expect("ports");
    let addrs = range(ts.family, ts.addr_lo, ts.addr_hi);
    TrafficSelector::new(addrs, ts.protocol, ports).expect("a selector")
}

/// The local and the remote side.
fn core_sides(s: &espial_selector) -> (TrafficSelector, TrafficSelector) {
    let side = |port_lo, port_hi, addr_lo, addr_hi| {
        let (family, protocol, reserved) = (s.family, s.protocol, 0);
        core_ts(&espial_ts { family, protocol, port_lo, port_hi, reserved, addr_lo, addr_hi })
    };
    (
        side(s.local_port_lo, s.local_port_hi, s.local_lo, s.local_hi),
        side(s.remote_port_lo, s.remote_port_hi, s.remote_lo, s.remote_hi),
    )
}

fn core_packet(p: &espial_inner) -> InnerHeaders {
    let endpoints = match p.family {
        ESPIAL_FAMILY_V4 => Endpoints::V4 { src: v4(p.src), dst: v4(p.dst) },
        _ => Endpoints::V6 { src: u128::from_be_bytes(p.src), dst: u128::from_be_bytes(p.dst) },
    };
    let next_layer = match p.next_layer {
        ESPIAL_NEXT_LAYER_PORTS => NextLayer::Ports { src: p.sport, dst: p.dport },
        ESPIAL_NEXT_LAYER_ICMP => NextLayer::Icmp(p.sport),
        _ => NextLayer::Opaque,
    };
    let fragment = [Fragment::None, Fragment::First, Fragment::NonInitial][p.fragment as usize];
    InnerHeaders { endpoints, protocol: p.protocol, next_layer, fragment }
}

fn said(answer: &espial_spd_answer) -> (u32, u32, u8) {
    assert_eq!(answer.reserved, [0; 3]);
    (answer.id, answer.place, answer.action)
}

fn meant(answer: Answer) -> (u32, u32, u8) {
    match answer.entry() {
        Some(entry) => (entry.id.0, entry.place, entry.action as u8),
        None => (0, ESPIAL_SPD_NONE, ESPIAL_ACTION_DISCARD),
    }
}

fn same_selector(c: &espial_selector, core: &Selector) -> bool {
    range(c.family, c.remote_lo, c.remote_hi) == core.remote
        && range(c.family, c.local_lo, c.local_hi) == core.local
        && c.protocol == core.protocol
        && (c.remote_port_lo, c.remote_port_hi) == (core.remote_ports.lo(), core.remote_ports.hi())
        && (c.local_port_lo, c.local_port_hi) == (core.local_ports.lo(), core.local_ports.hi())
}

const NO_ANSWER: espial_spd_answer =
    espial_spd_answer { id: 9, place: 9, action: 9, reserved: [0; 3] };

/// Words, places, answers one by one and in bursts, counts and disjoint entries of 400 lists.
#[test]
fn policies_answer_as_the_cores_do() {
    type Made = *mut c_void;
    type List = (*const espial_policy, usize, *const espial_selector, usize);
    let library = Library::open();
    let new: unsafe extern "C" fn(
        u32,
        u32,
        *const espial_policy,
        usize,
        *const espial_selector,
        usize,
        *mut Made,
    ) -> i32 = library.get("espial_spd_new");
    let decorrelate: unsafe extern "C" fn(
        u32,
        u32,
        *const espial_policy,
        usize,
        *const espial_selector,
        usize,
        usize,
        *mut espial_disjoint,
        usize,
        *mut usize,
        *mut usize,
    ) -> i32 = library.get("espial_spd_decorrelate_alloc");
    type Words = unsafe extern "C" fn(Made, *mut *const u64, *mut usize) -> i32;
    type Entries = unsafe extern "C" fn(Made, *mut espial_spd_answer, usize, *mut usize) -> i32;
    type One = unsafe extern "C" fn(Made, *const espial_inner, *mut espial_spd_answer) -> i32;
    type Burst =
        unsafe extern "C" fn(Made, *const espial_inner, usize, *mut espial_spd_answer) -> i32;
    type Counts = unsafe extern "C" fn(Made, *mut u64, usize, *mut usize, *mut u64) -> i32;
    let words_of: Words = library.get("espial_spd_words");
    let policies_of: Entries = library.get("espial_spd_policies");
    let [first, check]: [One; 2] =
        ["espial_spd_first", "espial_spd_worker_check"].map(|name| library.get(name));
    let [first_burst, check_burst]: [Burst; 2] =
        ["espial_spd_first_burst", "espial_spd_worker_check_burst"].map(|name| library.get(name));
    let worker_new: unsafe extern "C" fn(Made, *mut Made) -> i32 =
        library.get("espial_spd_worker_new");
    let counts_of: Counts = library.get("espial_spd_worker_counts");
    let [free, worker_free]: [unsafe extern "C" fn(Made) -> i32; 2] =
        ["espial_spd_free", "espial_spd_worker_free"].map(|name| library.get(name));

    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let (mut covered, mut disjoint_lists) = (0, 0);
    for round in 0..400_u32 {
        let (direction, order) = (round % 2, round / 2 % 4);
        let selectors: Vec<_> = (0..1 + random.below(40)).map(|_| random.selector()).collect();
        let policies: Vec<_> = (0..random.below(20))
            .map(|nth| {
                let first = random.below(selectors.len() as u32);
                espial_policy {
                    priority: i64::from(random.below(4)) - 2,
                    id: nth * 7 + round,
                    first,
                    count: 1 + random.below((selectors.len() as u32 - first).min(5)),
                    action: random.below(3) as u8,
                    reserved: [0; 3],
                }
            })
            .collect();
        let way = [Direction::Inbound, Direction::Outbound][direction as usize];
        let by = [Order::Placed, Order::HighestFirst, Order::LowestFirst, Order::ProtectFirst];
        let core = policies.iter().map(|policy| Policy {
            id: PolicyId(policy.id),
            action: Action::from_code(policy.action).expect("an action"),
            priority: policy.priority,
            selectors: selectors[policy.first as usize..][..policy.count as usize]
                .iter()
                .map(core_sides)
                .map(|(local, remote)| way.selector(&local, &remote).unwrap().unwrap())
                .collect(),
        });
        let core = PolicyList::from_policies(way, by[order as usize], core.collect()).unwrap();
        let list: List = (policies.as_ptr(), policies.len(), selectors.as_ptr(), selectors.len());

        let (mut spd, mut worker) = (null_mut(), null_mut());
        assert_eq!(unsafe { new(direction, order, list.0, list.1, list.2, list.3, &mut spd) }, 0);
        assert_eq!(unsafe { worker_new(spd, &mut worker) }, 0);
        let (mut words, mut count) = (std::ptr::null(), 0);
        assert_eq!(unsafe { words_of(spd, &mut words, &mut count) }, 0);
        let compiled = core.compile().unwrap();
        assert_eq!(unsafe { std::slice::from_raw_parts(words, count) }, compiled, "{round}");

        let mut entries = [NO_ANSWER; 20];
        assert_eq!(unsafe { policies_of(spd, entries.as_mut_ptr(), 20, &mut count) }, 0);
        let entries: Vec<_> = entries[..count].iter().map(said).collect();
        let opened = Spd::open(&compiled).unwrap();
        let places = opened.policies().map(|one| (one.id.0, one.place, one.action as u8));
        assert_eq!(entries, places.collect::<Vec<_>>());

        let mut row: Vec<Count> = std::iter::repeat_with(Count::new).take(opened.cells()).collect();
        let (mut counting, counts) = opened.with_counts(&mut row).unwrap();
        let packets: Vec<_> = (0..64).map(|_| random.packet()).collect();
        let mut answers = [[NO_ANSWER; 64]; 2];
        let size = random.below(65) as usize;
        let [plain, counted] = &mut answers;
        assert_eq!(unsafe { first_burst(spd, packets.as_ptr(), size, plain.as_mut_ptr()) }, 0);
        assert_eq!(unsafe { check_burst(worker, packets.as_ptr(), size, counted.as_mut_ptr()) }, 0);
        for (nth, packet) in packets.iter().enumerate() {
            let expected = counting.check(&core_packet(packet));
            covered += u32::from(expected.entry().is_some());
            let (mut one, mut two) = (NO_ANSWER, NO_ANSWER);
            assert_eq!(unsafe { first(spd, packet, &mut one) }, 0);
            if nth < size {
                (two, one) = (plain[nth], if round % 3 == 0 { one } else { counted[nth] });
            } else {
                assert_eq!(unsafe { check(worker, packet, &mut two) }, 0);
            }
            assert_eq!((said(&one), said(&two)), (meant(expected), meant(expected)));
        }
        let (mut counted, mut unmatched) = ([0; 20], 0);
        let status =
            unsafe { counts_of(worker, counted.as_mut_ptr(), 20, &mut count, &mut unmatched) };
        assert_eq!((status, unmatched), (0, counts.unmatched()));
        let expected: Vec<_> = counts.policies().map(|(_, packets)| packets).collect();
        assert_eq!(counted[..count], expected);

        let (limit, room) = (random.below(3000) as usize, 2000);
        let mut found: Vec<espial_disjoint> = vec![unsafe { zeroed() }; room];
        let mut selectors_in = 0;
        let status = unsafe {
            let (found, from, into) = (found.as_mut_ptr(), &mut selectors_in, &mut count);
            decorrelate(
                direction, order, list.0, list.1, list.2, list.3, limit, found, room, into, from,
            )
        };
        match core.decorrelate(limit) {
            Err(DecorrelateError::Limit { .. }) => assert_eq!(status, ESPIAL_ELIMIT),
            Err(error) => panic!("{error}"),
            Ok(expected) => {
                disjoint_lists += 1;
                assert_eq!(status, ESPIAL_OK);
                assert_eq!(
                    (count, selectors_in),
                    (expected.entries().len(), expected.selectors_in())
                );
                for (c, core) in found.iter().zip(expected.entries()) {
                    assert_eq!((c.id, c.action), (core.id.0, core.action as u8));
                    assert_eq!(
                        (c.protocol_lo, c.protocol_hi),
                        (core.protocol_lo, core.protocol_hi)
                    );
                    let selector = espial_selector {
                        family: c.family,
                        protocol: 0,
                        remote_port_lo: c.remote_port_lo,
                        remote_port_hi: c.remote_port_hi,
                        local_port_lo: c.local_port_lo,
                        local_port_hi: c.local_port_hi,
                        reserved: 0,
                        remote_lo: c.remote_lo,
                        remote_hi: c.remote_hi,
                        local_lo: c.local_lo,
                        local_hi: c.local_hi,
                    };
                    let core = Selector {
                        remote: core.remote,
                        local: core.local,
                        protocol: 0,
                        remote_ports: core.remote_ports,
                        local_ports: core.local_ports,
                    };
                    assert!(same_selector(&selector, &core), "{round}: {core:?}");
                }
            }
        }
        assert_eq!(unsafe { worker_free(worker) }, 0);
        assert_eq!(unsafe { free(spd) }, 0);
    }
    assert!((2000..24_000).contains(&covered), "{covered} packets met a policy");
    assert!(disjoint_lists > 100, "{disjoint_lists} lists were decorrelated");
}

fn why_code(why: &Why) -> (u32, Vec<u32>) {
    match why {
        Why::NoPacket => (ESPIAL_HIDDEN_NO_PACKET, vec![]),
        Why::Shadowed { by } => (ESPIAL_HIDDEN_SHADOWED, vec![*by as u32]),
        Why::Unreachable { by } => {
            (ESPIAL_HIDDEN_UNREACHABLE, by.iter().map(|at| *at as u32).collect())
        }
        _ => (ESPIAL_HIDDEN_UNDECIDED, vec![]),
    }
}

/// What C was told of hidden selectors is what the core found.
fn same_hidden(told: &[espial_hidden], by: &[u32], core: &[Hidden]) {
    assert_eq!(told.len(), core.len());
    for (c, core) in told.iter().zip(core) {
        let named = by[c.by_first as usize..][..c.by_count as usize].to_vec();
        assert_eq!((c.index as usize, (c.why, named)), (core.index, why_code(&core.why)));
    }
}

/// Boxes, overlaps, hidden selectors and supernets of 300 configurations.
#[test]
fn configurations_are_analysed_as_the_core_does() {
    let library = Library::open();
    let boxes_of: unsafe extern "C" fn(
        *const espial_child_ts,
        usize,
        *const espial_ts,
        usize,
        *mut espial_box,
        usize,
        *mut usize,
    ) -> i32 = library.get("espial_analysis_boxes_alloc");
    let overlaps_of: unsafe extern "C" fn(
        *const espial_child_ts,
        usize,
        *const espial_ts,
        usize,
        u64,
        *mut espial_overlap,
        usize,
        *mut usize,
        *mut u8,
    ) -> i32 = library.get("espial_analysis_overlaps_alloc");
    let hidden_of: unsafe extern "C" fn(
        *const espial_child_ts,
        usize,
        *const espial_ts,
        usize,
        u64,
        u64,
        *mut espial_hidden,
        usize,
        *mut u32,
        usize,
        *mut usize,
        *mut usize,
    ) -> i32 = library.get("espial_analysis_hidden_alloc");
    let list_hidden: unsafe extern "C" fn(
        u32,
        *const espial_selector,
        usize,
        u64,
        u64,
        *mut espial_hidden,
        usize,
        *mut u32,
        usize,
        *mut usize,
        *mut usize,
    ) -> i32 = library.get("espial_selectors_hidden_alloc");
    let supernets_of: unsafe extern "C" fn(
        *const espial_ts,
        usize,
        *mut espial_supernet,
        usize,
        *mut usize,
    ) -> i32 = library.get("espial_supernets_alloc");

    const ROOM: usize = 2000;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut seen = [0; 5];
    for round in 0..300_u32 {
        let ts: Vec<_> = (0..1 + random.below(30))
            .map(|_| {
                let (family, protocol) = random.kind();
                random.ts(family, protocol)
            })
            .collect();
        let mut part = |at_least| {
            let first = random.below(ts.len() as u32);
            (first, at_least + random.below((ts.len() as u32 - first).min(3)))
        };
        let children: Vec<_> = (0..round % 12)
            .map(|nth| {
                let ((local_first, local_count), (remote_first, remote_count)) = (part(0), part(1));
                let tunnel = nth % 3;
                espial_child_ts { tunnel, local_first, local_count, remote_first, remote_count }
            })
            .collect();
        let core: Vec<_> = ts.iter().map(core_ts).collect();
        let side = |first: u32, count: u32| &core[first as usize..][..count as usize];
        let given: Vec<_> = children
            .iter()
            .map(|child| ChildSelectors {
                tunnel: child.tunnel as usize,
                local: side(child.local_first, child.local_count),
                remote: side(child.remote_first, child.remote_count),
            })
            .collect();
        let analysis = Analysis::new(&given).expect("valid selectors");
        let (at, len, from, of) = (children.as_ptr(), children.len(), ts.as_ptr(), ts.len());

        let (mut boxes, mut count): (Vec<espial_box>, _) = (vec![unsafe { zeroed() }; ROOM], 0);
        let status = unsafe { boxes_of(at, len, from, of, boxes.as_mut_ptr(), ROOM, &mut count) };
        assert_eq!((status, count), (0, analysis.boxes().len()));
        for (c, core) in boxes.iter().zip(analysis.boxes()) {
            assert!(c.child as usize == core.child && same_selector(&c.selector, &core.selector));
        }

        // Little room, or little work, on some rounds: the number is told all the same.
        let room = if round % 5 == 0 { 2 } else { ROOM };
        let steps = if round % 7 == 0 { 1 + u64::from(round) } else { 0 };
        let usual = Limits::USUAL;
        let limits = Limits { steps: if steps == 0 { usual.steps } else { steps }, ..usual };
        let (mut pairs, mut complete) = (vec![unsafe { zeroed::<espial_overlap>() }; ROOM], 9);
        let status = unsafe {
            let pairs = pairs.as_mut_ptr();
            overlaps_of(at, len, from, of, steps, pairs, room, &mut count, &mut complete)
        };
        let expected = analysis.overlaps(&Limits { overlaps: room, ..limits });
        assert_eq!((status, count as u64), (0, expected.total));
        assert_eq!(complete, u8::from(expected.complete));
        for (c, core) in pairs.iter().zip(&expected.pairs) {
            assert_eq!((c.first as usize, c.second as usize), (core.first, core.second));
            let child = |at: usize| analysis.boxes()[at].child as u32;
            assert_eq!((c.first_child, c.second_child), (child(core.first), child(core.second)));
            assert!(same_selector(&c.both, &core.both));
        }
        let both = pairs.iter().filter(|pair| pair.both.family != 0).count();
        assert_eq!(both, expected.pairs.len(), "more was written than there was room for");

        let (mut told, mut by) = (vec![unsafe { zeroed::<espial_hidden>() }; ROOM], vec![0; ROOM]);
        let mut named = 0;
        let status = unsafe {
            let (told, by, into, names) =
                (told.as_mut_ptr(), by.as_mut_ptr(), &mut count, &mut named);
            hidden_of(at, len, from, of, steps, 0, told, ROOM, by, ROOM, into, names)
        };
        assert!(status == 0 && named <= ROOM);
        same_hidden(&told[..count], &by[..named], &analysis.hidden(&limits));

        let selectors: Vec<_> = (0..random.below(40)).map(|_| random.selector()).collect();
        let way = [Direction::Inbound, Direction::Outbound][round as usize % 2];
        let status = unsafe {
            let (told, by, into, names) =
                (told.as_mut_ptr(), by.as_mut_ptr(), &mut count, &mut named);
            let (at, len) = (selectors.as_ptr(), selectors.len());
            list_hidden(round % 2, at, len, steps, 0, told, ROOM, by, ROOM, into, names)
        };
        assert!(status == 0 && named <= ROOM);
        let list = selectors.iter().map(core_sides).map(|(local, remote)| match way {
            Direction::Inbound => Selector::pair(&local, &remote).unwrap().unwrap(),
            Direction::Outbound => Selector::pair(&remote, &local).unwrap().unwrap(),
        });
        same_hidden(&told[..count], &by[..named], &hidden(&list.collect::<Vec<_>>(), &limits));
        told[..count].iter().for_each(|one| seen[one.why as usize] += 1);

        let mut nets: [espial_supernet; 2] = unsafe { zeroed() };
        let status = unsafe { supernets_of(from, of, nets.as_mut_ptr(), 2, &mut count) };
        let expected = supernets(&core);
        assert_eq!((status, count), (0, expected.len()));
        for (c, core) in nets.iter().zip(&expected) {
            let extra = u128::from(c.extra_high) << 64 | u128::from(c.extra_low);
            assert_eq!((extra, c.ranges as usize), (core.covering.extra, core.ranges));
            assert_eq!(c.prefix_len, core.covering.prefix.len());
            let first = range(c.family, c.addr, c.addr);
            assert_eq!(first.lo(), core.covering.prefix.range().lo());
        }
    }
    assert!(seen[2] > 100 && seen[3] > 5 && seen[4] > 0, "{seen:?} were hidden");
}
