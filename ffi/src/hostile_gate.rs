//! As `hostile`, of the tables around the selector check: what the compilers make of spoilt lists, what is left of
//! spoilt words, and calls with spoilt packets.
#![allow(unsafe_code, reason = "calls the exported functions as C does")]
#![allow(clippy::undocumented_unsafe_blocks, reason = "every pointer is to a local, or NULL")]
#![allow(clippy::multiple_unsafe_ops_per_block, reason = "one call a block, and its arguments")]

use core::ffi::c_void;
use core::mem::{size_of_val, zeroed};
use core::ptr::null_mut;
use std::vec::Vec;

use crate::handle::{
    espial_local_in, espial_local_in_worker, espial_passthrough, espial_passthrough_rules,
    espial_reply_path, espial_sessions,
};
use crate::hostile::{Choices, Line, call, chosen_packet};
use crate::local_in::*;
use crate::passthrough::*;
use crate::policies::{LocalPolicies, rules_of};
use crate::reply_path::*;
use crate::sessions::*;
use crate::snapshot::*;
use crate::types::*;

/// One in eight is spoilt: of a list, most of the rest would never be looked at.
fn rarely<T: Copy>(choices: &mut Choices<'_>, plausible: T) -> T {
    if choices.octet().is_multiple_of(8) { choices.spoil(plausible) } else { plausible }
}

/// A range of few addresses.
fn chosen_range(choices: &mut Choices<'_>) -> espial_range {
    let mut range: espial_range = unsafe { zeroed() };
    let shape = choices.octet();
    let six = shape & 7 == 0;
    range.family = if six { ESPIAL_FAMILY_V6 } else { ESPIAL_FAMILY_V4 };
    range.exclude = u8::from(shape & 8 != 0 && shape & 16 != 0);
    let last = if six { 15 } else { 3 };
    range.lo[last] = choices.octet() & 15;
    range.hi[last] = range.lo[last] + (shape >> 4 & 7);
    rarely(choices, range)
}

fn chosen_service(choices: &mut Choices<'_>) -> espial_service {
    let mut service: espial_service = unsafe { zeroed() };
    service.protocol = [0, 6, 17, 1, 50][usize::from(choices.octet() % 5)];
    (service.src_port_hi, service.dst_port_hi) = (u16::MAX, u16::MAX);
    rarely(choices, service)
}

fn chosen_local(choices: &mut Choices<'_>) -> espial_local_packet {
    let headers = chosen_packet(choices);
    let (interface, traffic) = (u32::from(choices.octet() % 3), choices.octet() % 5);
    rarely(choices, espial_local_packet { headers, interface, traffic, reserved: [0; 3] })
}

/// Changes some words, and says whether none was.
fn spoil_words(choices: &mut Choices<'_>, words: &mut [u64]) -> bool {
    let before = words.to_vec();
    for _ in 0..choices.octet() % 3 {
        let at = choices.number() as usize % words.len();
        words[at] ^= choices.number() << (choices.octet() % 64);
    }
    before == words
}

fn known(status: i32) -> bool {
    assert!((0..=ESPIAL_EADMITTED).contains(&status), "status {status}");
    status == ESPIAL_OK
}

/// Compiles local-in policies; whatever opens after that answers bursts as it answers single packets.
fn ask_local_in(choices: &mut Choices<'_>) -> bool {
    let ranges: Vec<_> = (0..4).map(|_| chosen_range(choices)).collect();
    let services: Vec<_> = (0..3).map(|_| chosen_service(choices)).collect();
    let policies: Vec<_> = (0..u32::from(choices.octet() % 6))
        .map(|id| {
            let mut policy: espial_local_in_policy = unsafe { zeroed() };
            (policy.id, policy.action, policy.schedule) =
                (id, choices.octet() & 1, choices.octet() % 3);
            (policy.interface_count, policy.source_count) = (1, 1 + u32::from(choices.octet() % 2));
            (policy.destination_first, policy.destination_count) =
                (u32::from(choices.octet() % 3), 1);
            (policy.service_first, policy.service_count) = (u32::from(choices.octet() % 3), 1);
            rarely(choices, policy)
        })
        .collect();
    let (interfaces, ranges, services) = ([1, 2], &ranges, &services);
    let given = LocalPolicies {
        default: 1,
        policies: &policies,
        interfaces: &interfaces,
        ranges,
        services,
    };
    let Ok(compiled) = given.compile().map_err(|status| assert!(!known(status.0))) else {
        return false;
    };
    let mut words = compiled.to_vec();
    let whole = spoil_words(choices, &mut words);
    let mut memory = [Line([0; 64]); 8];
    let mut local_in: *mut espial_local_in = null_mut();
    let made = call(&mut local_in, |out| unsafe {
        let (mem, len) = (memory.as_mut_ptr().cast::<c_void>(), size_of_val(&memory));
        espial_local_in_init(mem, len, words.as_ptr(), words.len(), out)
    });
    assert!(made || !whole, "what was compiled is refused");
    if !made {
        return false;
    }
    let packets: Vec<_> = (0..choices.octet() % 70).map(|_| chosen_local(choices)).collect();
    let (count, schedules) = (packets.len(), choices.number());
    let mut found: [espial_local_in_answer; 80] = unsafe { zeroed() };
    let status = unsafe {
        espial_local_in_first_burst(
            local_in,
            packets.as_ptr(),
            count,
            schedules,
            found.as_mut_ptr(),
        )
    };
    let done = known(status);
    let mut row = [Line([0; 64]); 16];
    let mut worker: *mut espial_local_in_worker = null_mut();
    let attached = call(&mut worker, |out| unsafe {
        let (mem, len) = (row.as_mut_ptr().cast::<c_void>(), size_of_val(&row));
        espial_local_in_worker_init(mem, len, local_in, out)
    });
    assert!(attached, "room for 6 policies");
    let same = |a: &espial_local_in_answer, b: &espial_local_in_answer| {
        (a.policy, a.action, a.by) == (b.policy, b.action, b.by)
    };
    let mut counted: [espial_local_in_answer; 80] = unsafe { zeroed() };
    let both = known(unsafe {
        let (at, out) = (packets.as_ptr(), counted.as_mut_ptr());
        espial_local_in_worker_check_burst(worker, at, count, schedules, out)
    });
    assert!(both == done && counted.iter().zip(&found).all(|(a, b)| same(a, b)));
    // Those of the burst that somebody judges.
    let mut judged = found.iter().filter(|one| one.by != ESPIAL_LOCAL_IN_BY_NOBODY).count() as u64;
    for (packet, found) in packets.iter().zip(&found) {
        let mut one: espial_local_in_answer = unsafe { zeroed() };
        let mut check = one;
        let alone = call(&mut one, |out| unsafe {
            espial_local_in_first(local_in, packet, schedules, out)
        });
        let again = call(&mut check, |out| unsafe {
            espial_local_in_worker_check(worker, packet, schedules, out)
        });
        assert!(alone == again && same(&one, &check));
        judged += u64::from(one.by != ESPIAL_LOCAL_IN_BY_NOBODY);
        assert!(alone || !done);
        assert!(!done || same(&one, found));
    }
    let (mut counts, mut number, mut unmatched) = ([0; 8], 0, 0);
    assert!(known(unsafe {
        let (at, number, unmatched) = (counts.as_mut_ptr(), &mut number, &mut unmatched);
        espial_local_in_worker_counts(worker, at, 8, number, unmatched)
    }));
    assert_eq!(counts.iter().sum::<u64>() + unmatched, judged, "each packet is counted once");
    assert_eq!(unsafe { espial_local_in_release(local_in) }, ESPIAL_EATTACHED);
    assert_eq!(unsafe { espial_local_in_worker_release(worker) }, ESPIAL_OK);
    assert_eq!(unsafe { espial_local_in_release(local_in) }, ESPIAL_OK);
    done && !policies.is_empty()
}

/// A flood of spoilt packets at a small table, whose bursts find what single calls find.
fn ask_sessions(choices: &mut Choices<'_>) {
    let plausible = espial_session_limits { size: 16, capacity: 8, own: 2, ttl_ms: 50 };
    let limits = choices.spoil(plausible);
    let mut memory = std::vec![Line([0; 64]); 256];
    let mut sessions: *mut espial_sessions = null_mut();
    let len = memory.len() * 64;
    let made = call(&mut sessions, |out| unsafe {
        espial_sessions_init(memory.as_mut_ptr().cast::<c_void>(), len, &limits, 1, 2, out)
    });
    if !made {
        return;
    }
    let mut now_ms = 0;
    for _ in 0..choices.octet() % 40 {
        now_ms += choices.number() % 100;
        let (packet, from) = (chosen_local(choices), u32::from(choices.octet() % 4));
        // An answer is looked for as what this gateway sends.
        let side = if from == ESPIAL_SIDE_ANSWER.into() { 0 } else { from };
        let mut session: espial_session = unsafe { zeroed() };
        let (mut outcome, mut ended) = (0, unsafe { zeroed::<espial_session_end>() });
        let status = unsafe {
            espial_sessions_open(
                sessions,
                &packet,
                from,
                now_ms,
                &mut outcome,
                &mut session,
                &mut ended,
            )
        };
        let opened = known(status) && session.serial != 0;
        let mut burst: [espial_session; 2] = unsafe { zeroed() };
        let both = [packet, packet];
        let done = known(unsafe {
            espial_sessions_find_burst(sessions, both.as_ptr(), 2, side, now_ms, burst.as_mut_ptr())
        });
        assert!(done == (status == ESPIAL_OK) && burst[0].serial == burst[1].serial);
        assert!(!opened || burst[0].serial == session.serial, "opened, and not found");
        let (mut told, mut count): ([espial_session_end; 8], _) = (unsafe { zeroed() }, 0);
        let slots = choices.number() as u32;
        assert!(known(unsafe {
            espial_sessions_expire(sessions, now_ms, slots, told.as_mut_ptr(), 8, &mut count)
        }));
        assert!(told.iter().take(count).all(|end| end.serial != 0));
    }
    assert_eq!(unsafe { espial_sessions_release(sessions) }, ESPIAL_OK);
}

/// Rules of which some are spoilt, and packets in bursts; every one is counted once.
fn ask_passthrough(choices: &mut Choices<'_>) {
    let rules: Vec<_> = (0..u32::from(choices.octet() % 5))
        .map(|id| {
            let (src, dst) = (chosen_range(choices), chosen_range(choices));
            let mut rule: espial_passthrough_rule = unsafe { zeroed() };
            (rule.id, rule.context, rule.action) =
                (id, 1 + choices.octet() % 3, choices.octet() % 4);
            (rule.family, rule.src_lo, rule.src_hi) = (src.family, src.lo, src.hi);
            (rule.dst_lo, rule.dst_hi) = (dst.lo, dst.hi);
            (rule.src_port_hi, rule.dst_port_hi) = (u16::MAX, u16::MAX);
            rarely(choices, rule)
        })
        .collect();
    let compiled = rules_of(u32::from(choices.octet() % 4), &rules);
    let Ok(mut words) = compiled.map_err(|status| assert!(!known(status.0))) else { return };
    let whole = spoil_words(choices, &mut words);
    let mut memory = [Line([0; 64]); 32];
    let mut opened: *mut espial_passthrough_rules = null_mut();
    let made = call(&mut opened, |out| unsafe {
        let (mem, len) = (memory.as_mut_ptr().cast::<c_void>(), size_of_val(&memory));
        espial_passthrough_rules_init(mem, len, words.as_ptr(), words.len(), out)
    });
    assert!(made || !whole, "what was compiled is refused");
    if !made {
        return;
    }
    let mut config: espial_passthrough_config = unsafe { zeroed() };
    (config.size, config.flows, config.lookupspi) = (32, 8, choices.octet() & 1);
    config.server = choices.octet() % 3;
    let mut table = std::vec![Line([0; 64]); 256];
    let mut firewall: *mut espial_passthrough = null_mut();
    let made = call(&mut firewall, |out| unsafe {
        let len = table.len() * 64;
        espial_passthrough_init(table.as_mut_ptr().cast::<c_void>(), len, &config, 1, 2, out)
    });
    assert!(made);
    let packets: Vec<_> = (0..choices.octet() % 70)
        .map(|_| {
            let mut packet: espial_passthrough_packet = unsafe { zeroed() };
            (packet.family, packet.kind) = (ESPIAL_FAMILY_V4, 1 + choices.octet() % 4);
            (packet.spi, packet.dport) = (u32::from(choices.octet() % 8), 500);
            (packet.src[3], packet.dst[3]) = (choices.octet() & 3, choices.octet() & 3);
            rarely(choices, packet)
        })
        .collect();
    let mut answers: [espial_passthrough_answer; 80] = unsafe { zeroed() };
    let (at, count) = (packets.as_ptr(), packets.len());
    let done = known(unsafe {
        espial_passthrough_check_burst(firewall, opened, at, count, 7, answers.as_mut_ptr())
    });
    let mut counts: espial_passthrough_counts = unsafe { zeroed() };
    counts.size = 240;
    assert!(known(unsafe { espial_passthrough_counts_of(firewall, &mut counts) }));
    let espial_passthrough_counts { accepted, accepted_flow, accepted_alg, rejected, .. } = counts;
    let sum = counts.drops.iter().sum::<u64>() + accepted + accepted_flow + accepted_alg + rejected;
    assert_eq!(sum, if done { packets.len() as u64 } else { 0 });
    assert_eq!(unsafe { espial_passthrough_release(firewall) }, ESPIAL_OK);
    assert_eq!(unsafe { espial_passthrough_rules_release(opened) }, ESPIAL_OK);
}

/// What a reply path is configured with: spoilt, of which an array may be NULL or lie over another.
struct Replies {
    config: espial_reply_config,
    addresses: [espial_addr; 3],
    routes: [espial_policy_route; 3],
    counts: [usize; 2],
}

impl Replies {
    fn chosen(choices: &mut Choices<'_>) -> Self {
        let mode = choices.octet() % 6;
        let config = espial_reply_config { size: 8, port: 4500, mode, reserved: 0 };
        let addresses = [1, 2, 3].map(|last| {
            let mut one: espial_addr = unsafe { zeroed() };
            (one.family, one.addr[3]) = (ESPIAL_FAMILY_V4, last);
            rarely(choices, one)
        });
        let routes = [1, 2, 3].map(|last| {
            let mut one: espial_policy_route = unsafe { zeroed() };
            (one.family, one.prefix_len) = (ESPIAL_FAMILY_V4, choices.octet() % 34);
            (one.output, one.addr[3]) = (70, last);
            rarely(choices, one)
        });
        let counts = [0; 2].map(|_: usize| usize::from(choices.octet() % 4));
        Self { config: rarely(choices, config), addresses, routes, counts }
    }

    /// The arrays; inputs may overlap inputs, so that one of few is read as the other, too.
    fn arrays(
        &self,
        choices: &mut Choices<'_>,
    ) -> (*const espial_addr, *const espial_policy_route) {
        let (addresses, routes) = (self.addresses.as_ptr(), self.routes.as_ptr());
        match choices.octet() % 8 {
            0 => (core::ptr::null(), routes),
            1 => (addresses, core::ptr::null()),
            2 => (routes.cast(), routes),
            _ => (addresses, routes),
        }
    }
}

fn chosen_segment(choices: &mut Choices<'_>) -> espial_segment {
    let mut segment: espial_segment = unsafe { zeroed() };
    let shape = choices.octet();
    let (own, other) = (1 + (shape & 1), 9 + (shape >> 1 & 3));
    let (port, far) = (if shape & 64 == 0 { 4500 } else { 443 }, 40_000);
    segment.flow.family = ESPIAL_FAMILY_V4;
    segment.flow.protocol = 6;
    // From the peer to this gateway, or back.
    let is_in = shape & 128 == 0;
    (segment.flow.src[3], segment.flow.dst[3]) = if is_in { (other, own) } else { (own, other) };
    (segment.flow.sport, segment.flow.dport) = if is_in { (far, port) } else { (port, far) };
    segment.flags = [2, 2, 16, 18, 17, 4, 0, 255][usize::from(choices.octet() % 8)];
    (segment.seq, segment.ack) = (choices.number() as u32 % 3, choices.number() as u32 % 3);
    rarely(choices, segment)
}

/// Every connection that a reply path lists.
fn pins_of(path: *mut espial_reply_path, now_ms: u64) -> Vec<espial_pin> {
    let mut pins = std::vec![unsafe { zeroed::<espial_pin>() }; 16];
    let mut count = 0;
    let status = unsafe { espial_reply_path_list(path, now_ms, pins.as_mut_ptr(), 16, &mut count) };
    assert!(known(status) && count <= 16);
    pins.truncate(count);
    pins
}

/// Spoilt limits, configurations and segments: no more connections than there may be, and a configuration that is
/// refused leaves the one before.
fn ask_reply_path(choices: &mut Choices<'_>) {
    let mut limits: espial_reply_limits = unsafe { zeroed() };
    (limits.size, limits.capacity, limits.half_open) = (32, 8, 3);
    (limits.addresses, limits.routes, limits.established_ms) = (2, 2, 5000);
    let limits = rarely(choices, limits);
    let given = Replies::chosen(choices);
    let mut memory = std::vec![Line([0; 64]); 256];
    let len = memory.len() * 64;
    let mut path: *mut espial_reply_path = null_mut();
    let (addresses, routes) = given.arrays(choices);
    let [address_count, route_count] = given.counts;
    let made = call(&mut path, |out| unsafe {
        let (mem, config) = (memory.as_mut_ptr().cast::<c_void>(), &given.config);
        espial_reply_path_init(
            mem,
            len,
            &limits,
            config,
            addresses,
            address_count,
            routes,
            route_count,
            1,
            2,
            out,
        )
    });
    if !made {
        return;
    }
    let mut now_ms = 1 << 20;
    for _ in 0..choices.octet() % 60 {
        now_ms += choices.number() % 300;
        if choices.octet().is_multiple_of(16) {
            let other = Replies::chosen(choices);
            let (addresses, routes) = other.arrays(choices);
            let [address_count, route_count] = other.counts;
            let before = pins_of(path, now_ms).len();
            known(unsafe {
                let config = &other.config;
                espial_reply_path_configure(
                    path,
                    config,
                    addresses,
                    address_count,
                    routes,
                    route_count,
                )
            });
            assert_eq!(pins_of(path, now_ms).len(), before);
        }
        let segment = chosen_segment(choices);
        let (interface, route) = (u32::from(choices.octet() % 3), choices.number() as u32);
        let mut reply: espial_reply = unsafe { zeroed() };
        let is_in = choices.octet() & 1 == 0;
        call(&mut reply, |out| unsafe {
            if is_in {
                espial_reply_path_received(path, &segment, interface, route, now_ms, out)
            } else {
                espial_reply_path_sent(path, &segment, route, now_ms, out)
            }
        });
        assert!(reply.answer <= ESPIAL_SEGMENT_LEAVE && reply.chosen <= ESPIAL_CHOSEN_ROUTE);
        assert_eq!(reply.answer == ESPIAL_SEGMENT_LEAVE, reply.chosen != ESPIAL_CHOSEN_NONE);
        if choices.octet() & 7 == 0 {
            let (mut one, flow) = (0_u8, segment.flow);
            let done = call(&mut one, |out| unsafe {
                if is_in {
                    espial_reply_path_close(path, &flow, now_ms, out)
                } else {
                    espial_reply_path_connected(path, &flow, interface, now_ms, out)
                }
            });
            assert!(!done || one <= 1);
        }
        let (mut told, mut count) = ([unsafe { zeroed::<espial_pin>() }; 2], 0);
        let slots = choices.number() as u32 % 40;
        assert!(known(unsafe {
            espial_reply_path_expire(path, now_ms, slots, told.as_mut_ptr(), 2, &mut count)
        }));
        let (mut used, mut all) = (0, 0);
        assert!(known(unsafe { espial_reply_path_slots(path, &mut used, &mut all) }));
        let pins = pins_of(path, now_ms);
        assert!(pins.len() <= used as usize && used <= limits.capacity.max(1) && used <= all);
    }
    assert_eq!(unsafe { espial_reply_path_release(path) }, ESPIAL_OK);
}

/// A snapshot of sessions with spoilt passes, rooms and octets: what is read was written, or was made with the key.
fn ask_snapshot(choices: &mut Choices<'_>) {
    let limits = espial_session_limits { size: 16, capacity: 8, own: 2, ttl_ms: 5000 };
    let mut memory = [(); 2].map(|()| std::vec![Line([0; 64]); 256]);
    let [mut here, mut there]: [*mut espial_sessions; 2] = [null_mut(); 2];
    for (memory, sessions) in memory.iter_mut().zip([&mut here, &mut there]) {
        let len = memory.len() * 64;
        let made = call(sessions, |out| unsafe {
            espial_sessions_init(memory.as_mut_ptr().cast::<c_void>(), len, &limits, 1, 2, out)
        });
        assert!(made);
    }
    for _ in 0..choices.octet() % 20 {
        let (packet, from) = (chosen_local(choices), u32::from(choices.octet() % 3));
        let (mut outcome, mut session) = (0, unsafe { zeroed::<espial_session>() });
        let mut ended: espial_session_end = unsafe { zeroed() };
        known(unsafe {
            let (session, ended) = (&mut session, &mut ended);
            espial_sessions_open(here, &packet, from, 9, &mut outcome, session, ended)
        });
    }
    let mut writer: espial_snapshot_writer = unsafe { zeroed() };
    assert!(known(unsafe { espial_snapshot_writer_init(&mut writer, 1, 2, 3) }));
    let mut stream = Vec::new();
    let mut pass: espial_snapshot_pass = unsafe { zeroed() };
    for _ in 0..40 {
        pass = rarely(choices, pass);
        let mut piece = [0xa5; 700];
        let room = usize::from(choices.octet()) * 2;
        let slots = choices.number() as u32;
        let mut written = 0_usize;
        let done = call(&mut written, |out| unsafe {
            let at = piece.as_mut_ptr();
            espial_snapshot_write_sessions(&mut writer, here, &mut pass, slots, 9, at, room, out)
        });
        assert!(written <= room && written.is_multiple_of(ESPIAL_RECORD_OCTETS));
        assert!(piece[written..].iter().all(|octet| *octet == 0xa5), "behind what is written");
        stream.extend_from_slice(&piece[..written]);
        if done && pass.flags & ESPIAL_SNAPSHOT_DONE != 0 {
            break;
        }
    }
    let original = stream.clone();
    for _ in 0..choices.octet() % 3 {
        let at = choices.number() as usize % stream.len().max(1);
        stream.get_mut(at..).into_iter().flatten().take(1).for_each(|one| *one ^= choices.octet());
    }
    let mut reader: espial_snapshot_reader = unsafe { zeroed() };
    let elapsed_ms = choices.number();
    assert!(known(unsafe { espial_snapshot_reader_init(&mut reader, 1, 2, 3, elapsed_ms) }));
    let (mut at, mut len) = (stream.as_ptr(), stream.len());
    loop {
        let nth = (stream.len() - len) / ESPIAL_RECORD_OCTETS;
        let mut record: espial_record = unsafe { zeroed() };
        record.size = 168;
        let status = unsafe { espial_snapshot_read(&mut reader, &mut at, &mut len, &mut record) };
        if status == ESPIAL_MORE {
            break;
        }
        let octets = nth * ESPIAL_RECORD_OCTETS..(nth + 1) * ESPIAL_RECORD_OCTETS;
        assert!(!known(status) || stream[octets.clone()] == original[octets]);
        let (mut outcome, mut session) = (0, unsafe { zeroed::<espial_session>() });
        let mut ended: espial_session_end = unsafe { zeroed() };
        let restored = unsafe {
            let (session, ended) = (&mut session, &mut ended);
            espial_snapshot_restore_session(&mut reader, there, 7, &mut outcome, session, ended)
        };
        assert!(!known(restored) || status == ESPIAL_OK && session.serial != 0);
        assert_eq!(restored == ESPIAL_EORDER, status != ESPIAL_OK);
    }
    assert!(len < ESPIAL_RECORD_OCTETS);
    for sessions in [here, there] {
        assert_eq!(unsafe { espial_sessions_release(sessions) }, ESPIAL_OK);
    }
}

/// Calls of one table, made of `octets`; true if a compiled list was asked.
pub(crate) fn calls(octets: &[u8]) -> bool {
    let mut choices = Choices(octets);
    match choices.octet() % 5 {
        0 => return ask_local_in(&mut choices),
        1 => ask_sessions(&mut choices),
        2 => ask_passthrough(&mut choices),
        3 => ask_reply_path(&mut choices),
        _ => ask_snapshot(&mut choices),
    }
    false
}

#[cfg(test)]
#[test]
fn hostile_calls_of_the_gate_keep_their_word() {
    let mut asked = 0;
    for seed in 0..5000 {
        asked += u32::from(calls(&crate::hostile::tests::seeded(seed, 700)));
    }
    assert!(asked > 20, "{asked} lists were asked");
}
