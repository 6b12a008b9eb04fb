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
    espial_local_in, espial_passthrough, espial_passthrough_rules, espial_sessions,
};
use crate::hostile::{Choices, Line, call, chosen_packet};
use crate::local_in::*;
use crate::passthrough::*;
use crate::policies::{LocalPolicies, rules_of};
use crate::sessions::*;
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
    for (packet, found) in packets.iter().zip(&found) {
        let mut one: espial_local_in_answer = unsafe { zeroed() };
        let alone = call(&mut one, |out| unsafe {
            espial_local_in_first(local_in, packet, schedules, out)
        });
        assert!(alone || !done);
        assert!(
            !done || (one.policy, one.action, one.by) == (found.policy, found.action, found.by)
        );
    }
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
        let (packet, from) = (chosen_local(choices), u32::from(choices.octet() % 3));
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
            espial_sessions_find_burst(sessions, both.as_ptr(), 2, from, now_ms, burst.as_mut_ptr())
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
    let mut memory = [Line([0; 64]); 16];
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

/// Calls of one table, made of `octets`; true if a compiled list was asked.
pub(crate) fn calls(octets: &[u8]) -> bool {
    let mut choices = Choices(octets);
    match choices.octet() % 3 {
        0 => return ask_local_in(&mut choices),
        1 => ask_sessions(&mut choices),
        _ => ask_passthrough(&mut choices),
    }
    false
}

#[cfg(test)]
#[test]
fn hostile_calls_of_the_gate_keep_their_word() {
    let mut asked = 0;
    for seed in 0..3000 {
        asked += u32::from(calls(&crate::hostile::tests::seeded(seed, 700)));
    }
    assert!(asked > 20, "{asked} lists were asked");
}
