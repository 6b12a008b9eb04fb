//! What an SA knows beside its selectors, on octets through the public API: anti-replay, extended
//! sequence numbers, lifetimes, reserved SPIs, growth.

use espial::error::SaError;
use espial::event::Cause;
use espial::headers::{Ipsec, OuterHeaders, Spi};
use espial::inbound::{Arrival, Ingress};
use espial::sad::{Lifetime, Limit, LimitKind, Replay, ReplayStart, SaKey};
use espial::selector::{AddrRange, TrafficSelector};
use espial::verdict::{Mode, Modes, Reason, SpiClass};
use espial::{Capacity, ChildId, Control, Gateway, Opened, SaId, SaParams, Worker};

const CAPACITY: Capacity = Capacity {
    tunnels: 1,
    children: 1,
    selectors: 1,
    sas: 4,
    sas_dst: 0,
    sas_dst_src: 0,
    sas_allocated: 2,
    replay_window: 1024,
    workers: 1,
};

const SPI: u32 = 0x3_0001;

/// IPv4 from 10.2.0.5 to 10.1.0.5, no payload.
const INNER: [u8; 20] = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 253, 0, 0, 10, 2, 0, 5, 10, 1, 0, 5];

fn esp(spi: u32, sequence: u32) -> Vec<u8> {
    let head = [0x45, 0, 0, 52, 0, 0, 0, 0, 64, 50, 0, 0, 198, 51, 100, 1, 203, 0, 113, 2];
    [&head[..], &spi.to_be_bytes(), &sequence.to_be_bytes(), &[0; 24]].concat()
}

fn at(now_ms: u64) -> Ingress {
    Ingress { now_ms, interface: 0 }
}

fn params(spi: Spi) -> SaParams {
    SaParams::new(SaKey::new(Ipsec::Esp, spi, None, None).unwrap())
}

struct Scene<'g> {
    control: &'g mut Control<'static>,
    worker: Worker<'g>,
    child: ChildId,
}

fn with_gateway(test: impl FnOnce(Scene<'_>)) {
    let mut gateway = Gateway::new(&CAPACITY, [11, 12]).unwrap();
    let (control, mut workers) = gateway.split();
    let tunnel = control.add_tunnel(Mode::StrictSa, Modes::NONE).unwrap();
    let all = TrafficSelector::any(AddrRange::V4 { lo: 0, hi: u32::MAX });
    let child = control.add_child(tunnel, &[all], &[all]).unwrap();
    control.publish().unwrap();
    let worker = workers.take().unwrap();
    test(Scene { control, worker, child });
}

impl Scene<'_> {
    fn add(&mut self, replay: Replay, lifetime: Lifetime) -> SaId {
        let params = SaParams { replay, lifetime, ..params(Spi(SPI)) };
        self.control.add_sa(self.child, &params).unwrap()
    }

    fn arrive(&mut self, sequence: u32, now_ms: u64) -> Result<(SaId, OuterHeaders), Reason> {
        match self.worker.arrive(&esp(SPI, sequence), at(now_ms)) {
            Arrival::Sa(sa, outer) => Ok((sa, outer)),
            Arrival::Drop(refusal) => Err(refusal.reason),
            Arrival::Pass(_) => unreachable!("ESP"),
        }
    }

    fn check(&mut self, (sa, outer): &(SaId, OuterHeaders), now_ms: u64) -> Result<(), Reason> {
        let opened = Opened { sa: *sa, outer, next_header: 4, payload: &INNER };
        match self.worker.check(&opened, at(now_ms)).reason() {
            None => Ok(()),
            Some(reason) => Err(reason),
        }
    }

    /// A packet all the way.
    fn pass(&mut self, sequence: u32, now_ms: u64) -> Result<(), Reason> {
        let arrived = self.arrive(sequence, now_ms)?;
        self.check(&arrived, now_ms)
    }

    fn causes(&mut self) -> Vec<Cause> {
        std::iter::from_fn(|| self.worker.next_event()).map(|event| event.cause).collect()
    }
}

fn window(window: u32, esn: bool, start: ReplayStart) -> Replay {
    Replay { window, esn, start }
}

const FROM_0: ReplayStart = ReplayStart::High(0);

#[test]
fn rfc4303_3_4_3_a_replay_is_dropped_before_it_is_opened_and_told() {
    for size in [1, 32, 64, 1024] {
        with_gateway(|mut scene| {
            let sa = scene.add(window(size, false, FROM_0), Lifetime::default());
            assert_eq!(scene.pass(5000, 0), Ok(()));
            assert_eq!(scene.arrive(5000, 0), Err(Reason::Replay));
            assert_eq!(scene.arrive(5000 - size, 0), Err(Reason::Replay), "left of the window");
            if size > 1 {
                assert_eq!(scene.pass(5000 - size + 1, 0), Ok(()), "its left edge");
                assert_eq!(scene.arrive(5000 - size + 1, 0), Err(Reason::Replay));
            }
            assert_eq!(scene.arrive(0, 0), Err(Reason::Replay), "senders start at 1");
            assert_eq!(scene.pass(5001, 0), Ok(()));
            assert_eq!(scene.control.sa_state(sa).unwrap().top, 5001);
            let counts = scene.control.sa_counts(sa).unwrap();
            assert_eq!(counts.drops_of(Reason::Replay), if size > 1 { 4 } else { 3 });
            assert!(scene.causes().iter().all(|cause| matches!(cause, Cause::Drop(_))));
        });
    }
}

/// T16: pre-check before opening, commit after; of two copies in a burst the second is found then; a
/// packet that is not authentic never moves the window.
#[test]
fn t16_a_forged_packet_moves_nothing_and_the_second_copy_of_a_burst_is_refused() {
    with_gateway(|mut scene| {
        scene.add(window(64, false, FROM_0), Lifetime::default());
        scene.pass(100, 0).unwrap();
        let (sa, outer) = scene.arrive(u32::MAX, 0).unwrap();
        let _ = scene.worker.report(sa, &outer, Reason::AuthFailed, at(0));
        assert_eq!(scene.pass(101, 0), Ok(()));
        let copies = [scene.arrive(102, 0).unwrap(), scene.arrive(102, 0).unwrap()];
        assert_eq!(scene.check(&copies[0], 0), Ok(()));
        assert_eq!(scene.check(&copies[1], 0), Err(Reason::Replay));
    });
}

/// T17: the high half is handed out before decryption, and follows authentic packets.
#[test]
fn rfc4303_a2_the_high_half_is_guessed_before_the_packet_is_opened() {
    for size in [0, 64, 1024] {
        with_gateway(|mut scene| {
            let start = ReplayStart::High(3);
            let sa = scene.add(window(size, true, start), Lifetime::default());
            let first = scene.arrive(0xffff_fff0, 0).unwrap();
            assert_eq!(first.1.full_sequence(), 0x3_ffff_fff0);
            scene.check(&first, 0).unwrap();
            let next = scene.arrive(5, 0).unwrap();
            assert_eq!(next.1.sequence_high, 4);
            scene.check(&next, 0).unwrap();
            let late = scene.arrive(0xffff_fff1, 0).unwrap();
            assert_eq!(late.1.sequence_high, 3);
            assert_eq!(scene.check(&late, 0), Ok(()));
            assert_eq!(
                scene.control.sa_state(sa).unwrap().top >> 32,
                if size == 0 { 3 } else { 4 }
            );
        });
    }
}

#[test]
fn an_sa_without_esn_ignores_a_high_half_that_the_host_made_up() {
    with_gateway(|mut scene| {
        scene.add(window(64, false, FROM_0), Lifetime::default());
        let (sa, outer) = scene.arrive(7, 0).unwrap();
        let made_up = OuterHeaders { sequence_high: 9, ..outer };
        assert_eq!(scene.check(&(sa, made_up), 0), Ok(()));
        assert_eq!(scene.pass(8, 0), Ok(()));
        assert_eq!(scene.control.sa_state(sa).unwrap().top, 8);
    });
}

/// State taken over: nobody knows what of the window was seen, so all of it counts as seen.
#[test]
fn a_window_that_was_taken_over_accepts_nothing_below_its_top() {
    for esn in [false, true] {
        with_gateway(|mut scene| {
            scene.add(window(128, esn, ReplayStart::Top(1000)), Lifetime::default());
            for seen in [873, 960, 991, 999, 1000] {
                assert_eq!(scene.arrive(seen, 0), Err(Reason::Replay), "{seen}");
            }
            assert_eq!(scene.pass(1002, 0), Ok(()));
            assert_eq!(scene.pass(1001, 0), Ok(()));
        });
    }
}

#[test]
fn a_window_above_the_capacity_is_refused() {
    with_gateway(|scene| {
        let replay = window(1025, false, FROM_0);
        let refused = scene.control.add_sa(scene.child, &SaParams { replay, ..params(Spi(SPI)) });
        assert_eq!(refused, Err(SaError::Window { limit: 1024 }));
    });
}

fn limit(packets: Option<u64>, octets: Option<u64>, at_ms: Option<u64>) -> Limit {
    Limit { packets, octets, at_ms }
}

/// Soft: one event. Hard: packets are dropped, before they are opened from the next one on.
#[test]
fn rfc4301_4_4_2_1_lifetimes_in_packets_and_octets() {
    let octets = INNER.len() as u64;
    let cases = [
        (LimitKind::Packets, limit(Some(3), None, None), limit(Some(5), None, None)),
        (
            LimitKind::Octets,
            limit(None, Some(3 * octets), None),
            limit(None, Some(5 * octets), None),
        ),
        // Between two packets: the one that passes it is dropped after it was opened.
        (
            LimitKind::Octets,
            limit(None, Some(3 * octets), None),
            limit(None, Some(5 * octets + 1), None),
        ),
    ];
    for (kind, soft, hard) in cases {
        with_gateway(|mut scene| {
            let sa = scene.add(Replay::default(), Lifetime { soft, hard });
            for n in 1..=5 {
                assert_eq!(scene.pass(n, 0), Ok(()), "{n}");
                let expected = if n == 3 { vec![Cause::SoftLifetime(kind)] } else { vec![] };
                assert_eq!(scene.causes(), expected, "{n}");
            }
            for n in 6..=8 {
                assert_eq!(scene.pass(n, 0), Err(Reason::SaExpired));
            }
            let counts = scene.control.sa_counts(sa).unwrap();
            assert_eq!((counts.packets, counts.drops_of(Reason::SaExpired)), (5, 3));
            assert_eq!(scene.arrive(9, 0), Err(Reason::SaExpired), "not even opened");
            let state = scene.control.sa_state(sa).unwrap();
            assert!(state.packets >= 5 && state.octets == state.packets * octets);
        });
    }
}

#[test]
fn rfc4301_4_4_2_1_lifetimes_in_time() {
    with_gateway(|mut scene| {
        let lifetime =
            Lifetime { soft: limit(None, None, Some(1000)), hard: limit(None, None, Some(2000)) };
        let sa = scene.add(Replay::default(), lifetime);
        assert_eq!(scene.pass(1, 999), Ok(()));
        assert_eq!(scene.causes(), []);
        let due = |scene: &Scene<'_>, now| scene.control.next_due_sa(&mut 0, 100, now);
        assert_eq!(due(&scene, 999), None);
        assert_eq!(due(&scene, 1000), Some((sa, espial::control::Due::Soft)));
        assert_eq!(scene.pass(2, 1000), Ok(()));
        assert_eq!(scene.causes(), [Cause::SoftLifetime(LimitKind::Time)]);
        assert_eq!(scene.pass(3, 1999), Ok(()));
        assert_eq!(scene.causes(), []);
        assert_eq!(due(&scene, 2000), Some((sa, espial::control::Due::Hard)));
        assert_eq!(scene.arrive(4, 2000), Err(Reason::SaExpired));
    });
}

/// A soft limit is told though a flood of drops has used up its own budget.
#[test]
fn a_soft_limit_is_told_in_a_flood_and_tried_again_until_it_is() {
    with_gateway(|mut scene| {
        let soft = limit(Some(1), None, None);
        scene.add(window(64, false, FROM_0), Lifetime { soft, hard: Limit::default() });
        scene.pass(1, 0).unwrap();
        assert_eq!(scene.causes(), [Cause::SoftLifetime(LimitKind::Packets)]);
    });
    with_gateway(|mut scene| {
        let none = espial::event::EventBudget { per_second: 0, burst: 1 };
        scene.worker.set_event_budget(none);
        let soft = limit(Some(1), None, None);
        scene.add(window(64, false, FROM_0), Lifetime { soft, hard: Limit::default() });
        scene.pass(1, 0).unwrap();
        assert_eq!(scene.causes(), []);
        scene.worker.set_event_budget(espial::event::EventBudget::default());
        scene.pass(2, 0).unwrap();
        assert_eq!(scene.causes(), [Cause::SoftLifetime(LimitKind::Packets)]);
        scene.pass(3, 0).unwrap();
        assert_eq!(scene.causes(), []);
    });
}

/// RFC 4301 section 4.4.2.1 speaks of larval SAs by their SPI: reserved, not yet usable.
#[test]
fn a_reserved_spi_is_larval_then_an_sa_then_recently_deleted() {
    with_gateway(|mut scene| {
        let spi = scene.control.reserve_spi(Ipsec::Esp, 0).unwrap();
        let class = |scene: &mut Scene<'_>, now| match scene.worker.arrive(&esp(spi.0, 1), at(now))
        {
            Arrival::Drop(refusal) => refusal.spi_class,
            _ => None,
        };
        assert_eq!(class(&mut scene, 0), Some(SpiClass::Larval));
        let event = scene.worker.next_event().unwrap();
        assert_eq!(event.refusal().unwrap().spi_class, Some(SpiClass::Larval));
        let sa = scene.control.add_sa(scene.child, &params(spi)).unwrap();
        assert_eq!(scene.control.add_sa(scene.child, &params(spi)), Err(SaError::Duplicate));
        assert_eq!(class(&mut scene, 0), None);
        assert_eq!(scene.control.find_sa(&params(spi).key), Some(sa));
        assert_eq!(scene.control.release_spi(Ipsec::Esp, spi, 0), Err(SaError::NotFound));
        scene.control.delete_sa(sa, 100).unwrap();
        assert_eq!(class(&mut scene, 350), Some(SpiClass::RecentlyDeleted { ago_ms: 250 }));
    });
}

/// Old and new SPI are valid together, then the old one is retired (RFC 7296 section 2.8).
#[test]
fn a_rekey_with_reserved_spis_has_no_gap() {
    with_gateway(|mut scene| {
        scene.control.set_spi_quarantine(0);
        let mut old = None;
        for now in 0..50 {
            let spi = scene.control.reserve_spi(Ipsec::Esp, now).unwrap();
            let new = scene.control.add_sa(scene.child, &params(spi)).unwrap();
            let mut found = [SaId::NONE; 2];
            if let Some((old_spi, old_sa)) = old {
                let spis = [old_spi, spi];
                assert_eq!(scene.worker.find_spis(Ipsec::Esp, &spis, &mut found), 2);
                assert_eq!(found, [old_sa, new]);
                scene.control.delete_sa(old_sa, now).unwrap();
                assert_eq!(scene.worker.find_spis(Ipsec::Esp, &spis, &mut found), 1);
                assert_eq!(found, [SaId::NONE, new]);
            }
            assert_eq!(scene.worker.spi_table().find(Ipsec::Esp, spi), new);
            scene.worker.quiescent();
            old = Some((spi, new));
        }
    });
}

#[test]
fn bursts_of_every_length_find_what_single_lookups_find() {
    with_gateway(|mut scene| {
        let spi = scene.control.reserve_spi(Ipsec::Esp, 0).unwrap();
        scene.control.add_sa(scene.child, &params(spi)).unwrap();
        scene.add(window(64, true, FROM_0), Lifetime::default());
        let all: Vec<Spi> = (0..200).map(|i| [spi, Spi(SPI), Spi(i)][i as usize % 3]).collect();
        for count in [0, 1, 31, 32, 33, 63, 64, 65, 200] {
            let mut found = vec![SaId::from_raw(9); count + 1];
            let hits = scene.worker.find_spis(Ipsec::Esp, &all[..count], &mut found);
            assert_eq!(found[count], SaId::from_raw(9), "what lies behind is the caller's");
            let table = scene.worker.spi_table();
            let single: Vec<_> =
                all[..count].iter().map(|spi| table.find(Ipsec::Esp, *spi)).collect();
            assert_eq!(
                (hits, &found[..count]),
                (single.iter().filter(|sa| **sa != SaId::NONE).count(), &single[..])
            );
            let packets: Vec<_> = all[..count].iter().map(|spi| esp(spi.0, 1)).collect();
            let octets: Vec<&[u8]> = packets.iter().map(|packet| &packet[..]).collect();
            let refusal = espial::Refusal::new(Reason::Dummy);
            let mut arrivals = vec![Arrival::Drop(refusal); count + 1];
            assert_eq!(scene.worker.arrive_burst(&octets, at(0), &mut arrivals), count);
            assert_eq!(arrivals[count], Arrival::Drop(refusal));
            for (arrival, packet) in arrivals.iter().zip(&octets) {
                assert_eq!(*arrival, scene.worker.arrive(packet, at(0)));
            }
        }
    });
}

#[test]
fn a_gateway_grows_beside_a_reader_and_keeps_counts_and_windows() {
    with_gateway(|mut scene| {
        let sa = scene.add(window(64, false, FROM_0), Lifetime::default());
        scene.pass(10, 0).unwrap();
        assert_eq!(scene.control.sa_limits(), [4, 0, 0, 2]);
        for factor in 2..5 {
            let larger = Capacity { sas: 4 * factor, sas_allocated: 2 * factor, ..CAPACITY };
            scene.control.grow(&larger).unwrap();
            assert_eq!(scene.arrive(10, 0), Err(Reason::Replay));
            scene.pass(10 + factor, 0).unwrap();
        }
        for i in 1..16 {
            scene.control.add_sa(scene.child, &params(Spi(SPI + i))).unwrap();
        }
        let full = scene.control.add_sa(scene.child, &params(Spi(SPI + 99)));
        assert_eq!(full, Err(SaError::Full { limit: 16 }));
        for i in 0..16 {
            let Arrival::Sa(found, _) = scene.worker.arrive(&esp(SPI + i, 100), at(0)) else {
                panic!("{i} is not found");
            };
            assert!(found.index() < 32 && (i > 0 || found == sa));
        }
        assert_eq!(scene.control.sa_counts(sa).unwrap().packets, 4);
    });
}
