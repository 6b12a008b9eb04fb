//! The short check of headers beside the whole one: another gateway with the same SAs is asked the same of each packet.

use core::mem::zeroed;
use core::ptr::null_mut;
use std::vec::Vec;

use super::{Random, memory, room};
use crate::config::*;
use crate::handle::{espial_gateway, espial_worker};
use crate::hostile::Line;
use crate::packet::*;
use crate::setup::*;
use crate::types::*;

/// Selectors of one side of a Child SA, more than are asked one by one among them.
fn ranges(random: &mut Random, side: u8) -> Vec<espial_ts> {
    let count = random.of(&[1, 1, 2, 3, 5, 8, 40]);
    let range = |_| {
        let mut ts: espial_ts = unsafe { zeroed() };
        ts.family = random.of(&[ESPIAL_FAMILY_V4, ESPIAL_FAMILY_V4, ESPIAL_FAMILY_V6]);
        ts.protocol = random.of(&[0, 17]);
        ts.port_hi = u16::MAX;
        if ts.protocol == 17 {
            (ts.port_lo, ts.port_hi) = random.of(&[(0, u16::MAX), (u16::MAX, 0), (2, 3), (4, 4)]);
        }
        ts.addr_lo[..3].copy_from_slice(&[10, side, random.below(6) as u8]);
        ts.addr_hi = ts.addr_lo;
        ts.addr_hi[3] = random.of(&[0, 1, 255]);
        ts
    };
    (0..count).map(range).collect()
}

struct Side {
    gateway: *mut espial_gateway,
    worker: *mut espial_worker,
    sas: Vec<espial_sa>,
    tables: Vec<Line>,
    work: Vec<Line>,
}

const SAS: u32 = 6;

fn side(seed: u64) -> Side {
    let mut random = Random::new(seed);
    let capacity = espial_capacity {
        size: super::size_of_c::<espial_capacity>(),
        tunnels: 2,
        children: SAS,
        selectors: 12_000,
        sas: SAS,
        workers: 1,
        replay_window: 64,
        ..unsafe { zeroed() }
    };
    let mut octets = 0;
    assert_eq!(unsafe { espial_gateway_size(&capacity, &mut octets) }, ESPIAL_OK);
    let mut tables = memory(octets);
    let mut work = memory(espial_quiet_worker_size());
    let (mut gateway, mut worker) = (null_mut(), null_mut());
    let (at, len) = room(&mut tables);
    let made = unsafe { espial_gateway_init(at, len, &capacity, 1, seed, &mut gateway) };
    assert_eq!(made, ESPIAL_OK);
    let mode = random.of(&[
        ESPIAL_MODE_STRICT_SA,
        ESPIAL_MODE_STRICT_SA,
        ESPIAL_MODE_ANY_SELECTOR,
        ESPIAL_MODE_ANY_SOURCE,
    ]);
    let mut tunnel = unsafe { zeroed() };
    let added = unsafe { espial_tunnel_add(gateway, mode, 0, &mut tunnel) };
    assert_eq!(added, ESPIAL_OK);
    let mut children = Vec::new();
    for _ in 0..SAS {
        let (local, remote) = (ranges(&mut random, 1), ranges(&mut random, 2));
        let mut child: espial_child = unsafe { zeroed() };
        let status = unsafe {
            let (local, locals) = (local.as_ptr(), local.len());
            espial_child_add(
                gateway,
                tunnel,
                local,
                locals,
                remote.as_ptr(),
                remote.len(),
                &mut child,
            )
        };
        if status == ESPIAL_OK {
            children.push(child);
        }
    }
    assert_eq!(unsafe { espial_gateway_publish(gateway) }, ESPIAL_OK);
    let mut sas = Vec::new();
    for (number, child) in children.into_iter().enumerate() {
        let mut params: espial_sa_params = unsafe { zeroed() };
        params.size = super::size_of_c::<espial_sa_params>();
        params.key.spi = 1000 + number as u32;
        params.key.ipsec = ESPIAL_IPSEC_ESP;
        params.key.scope = ESPIAL_SCOPE_SPI;
        params.replay_window = random.of(&[0, 0, 0, 64]);
        params.mode = random.of(&[ESPIAL_SA_TUNNEL, ESPIAL_SA_TUNNEL, ESPIAL_SA_TRANSPORT]);
        let mut sa = unsafe { zeroed() };
        assert_eq!(unsafe { espial_sa_add(gateway, child, &params, &mut sa) }, ESPIAL_OK);
        sas.push(sa);
    }
    let (at, len) = room(&mut work);
    assert_eq!(unsafe { espial_quiet_worker_init(at, len, gateway, 0, &mut worker) }, ESPIAL_OK);
    Side { gateway, worker, sas, tables, work }
}

fn headers(random: &mut Random) -> espial_inner {
    let mut inner: espial_inner = unsafe { zeroed() };
    inner.family = random.of(&[4, 4, 4, 4, 4, 6, 0, 5]);
    inner.protocol = random.of(&[17, 17, 17, 6, 1]);
    inner.next_layer = random.of(&[1, 1, 1, 1, 0, 2, 3, 4]);
    inner.fragment = random.of(&[0, 0, 0, 0, 1, 2, 3]);
    (inner.sport, inner.dport) = (random.below(6) as u16, random.below(6) as u16);
    inner.src[..4].copy_from_slice(&[10, 2, random.below(6) as u8, random.below(3) as u8]);
    inner.dst[..4].copy_from_slice(&[10, 1, random.below(6) as u8, random.below(3) as u8]);
    inner
}

fn counts(side: &Side, sa: espial_sa) -> (u64, u64, Vec<u64>) {
    let mut counts: espial_counts = unsafe { zeroed() };
    counts.size = super::size_of_c::<espial_counts>();
    let status = unsafe { espial_sa_counts(side.gateway, sa, &mut counts) };
    (u64::from(status == ESPIAL_OK) * counts.packets, counts.octets, counts.drops.to_vec())
}

#[test]
fn headers_are_judged_and_counted_as_by_the_whole_check() {
    // Headers that are none, other modes; drops, accepted; stale SAs, other SAs' packets.
    let mut told = [0_u32; 6];
    for seed in 0..60 {
        let (short, whole) = (side(seed), side(seed));
        assert_eq!(short.sas.len(), whole.sas.len());
        let mut random = Random::new(seed ^ 0x77);
        let outer = espial_outer { family: 4, ipsec: ESPIAL_IPSEC_ESP, ..unsafe { zeroed() } };
        for turn in 0..400 {
            if turn == 300
                && let (Some(one), Some(other)) = (short.sas.first(), whole.sas.first())
            {
                let gone = [(short.gateway, *one), (whole.gateway, *other)];
                for (gateway, sa) in gone {
                    assert_eq!(unsafe { espial_sa_delete(gateway, sa, 0) }, ESPIAL_OK);
                }
            }
            if random.below(20) == 0 {
                unsafe { espial_worker_idle(short.worker) };
            }
            let nth = random.below(short.sas.len().max(1) as u32) as usize;
            let Some((sa, other)) = short.sas.get(nth).zip(whole.sas.get(nth)) else { break };
            let inner = headers(&mut random);
            let mut said = espial_plain_verdict { verdict: 9, reason: 9 };
            let status = unsafe {
                espial_worker_check_plain_headers(short.worker, *sa, &inner, 60, &mut said)
            };
            let mut meant: espial_verdict = unsafe { zeroed() };
            let wanted = unsafe {
                espial_worker_check_headers(
                    whole.worker,
                    *other,
                    &outer,
                    &inner,
                    60,
                    0,
                    0,
                    &mut meant,
                )
            };
            if status == ESPIAL_EVALUE {
                // Of headers that are none, or for an SA that has state or another mode, always.
                assert_eq!((said.verdict, said.reason), (9, 9));
                told[usize::from(wanted == ESPIAL_OK)] += 1;
                continue;
            }
            assert_eq!((status, wanted), (ESPIAL_OK, ESPIAL_OK));
            assert_eq!(said.verdict, meant.verdict, "{seed} {turn}");
            let portless = meant.reason == ESPIAL_DROP_FRAGMENT_NO_PORTS;
            let reason = if portless { ESPIAL_DROP_NO_SELECTOR } else { meant.reason };
            assert_eq!(said.reason, reason, "{seed} {turn}");
            told[2 + usize::from(said.verdict)] += 1;
            told[4] += u32::from(said.reason == ESPIAL_DROP_UNKNOWN_SPI);
            told[5] += u32::from(said.reason == ESPIAL_DROP_WRONG_SA);
            let (said, mut meant) = (counts(&short, *sa), counts(&whole, *other));
            // Its own reason is the whole check's alone.
            let at = usize::from;
            let moved = core::mem::take(&mut meant.2[at(ESPIAL_DROP_FRAGMENT_NO_PORTS)]);
            meant.2[at(ESPIAL_DROP_NO_SELECTOR)] += moved;
            assert_eq!(said, meant, "{seed} {turn}");
        }
        for side in [short, whole] {
            assert_eq!(unsafe { espial_worker_release(side.worker) }, ESPIAL_OK);
            assert_eq!(unsafe { espial_gateway_release(side.gateway) }, ESPIAL_OK);
            drop((side.tables, side.work));
        }
    }
    // All of it came up.
    assert!(told.iter().all(|count| *count > 10), "{told:?}");
}
