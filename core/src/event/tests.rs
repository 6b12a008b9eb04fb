use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::vec::Vec;

use proptest::prelude::*;

use super::sealed::Audit as _;
use super::*;
use crate::headers::{Encap, Endpoints, Ipsec, Spi};

fn outer(src: Endpoints) -> OuterHeaders {
    OuterHeaders {
        endpoints: src,
        flow_label: 0,
        ipsec: Ipsec::Esp,
        encap: Encap::Udp,
        spi: Spi(0xf6c9_e2a1),
        sequence: 0x0200_0400,
        sequence_high: 0,
        sport: 40601,
        dport: 500,
        offset: 28,
        octets: 100,
    }
}

fn from(src: u32) -> OuterHeaders {
    outer(Endpoints::V4 { src, dst: 0xc09d_7458 })
}

fn drop_of(reason: Reason, spi_class: Option<SpiClass>) -> Cause {
    Cause::Drop(Refusal { spi_class, ..Refusal::new(reason) })
}

const STRANGE: fn() -> Cause = || drop_of(Reason::UnknownSpi, Some(SpiClass::NeverSeen));
const DELETED: fn() -> Cause =
    || drop_of(Reason::UnknownSpi, Some(SpiClass::RecentlyDeleted { ago_ms: 9 }));

/// A keyed hash will do: SplitMix64.
fn hash(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// Events, and what they told.
struct Scene {
    events: Events,
    drain: bool,
    told: Vec<Event>,
}

impl Scene {
    fn new(budget: EventBudget) -> Self {
        let mut events = Events::default();
        events.set_budget(budget);
        Self { events, drain: true, told: Vec::new() }
    }

    /// True if the packet makes an event.
    fn packet(&mut self, cause: Cause, outer: Option<OuterHeaders>, now_ms: u64) -> bool {
        let leave = self.events.admit(&cause, outer.as_ref(), now_ms, &hash);
        let admitted = leave.is_some();
        if let Some(leave) = leave {
            let event = Event {
                time_ms: now_ms,
                cause,
                outer,
                inner: None,
                nearest: None,
                sa: None,
                arrived: None,
                interface: 0,
                suppressed: 0,
                suppressed_of_source: 0,
            };
            self.events.push(leave, event);
        }
        if self.drain {
            while let Some(event) = self.events.pop() {
                self.told.push(event);
            }
        }
        admitted
    }

    fn told_of(&self, src: u32) -> usize {
        let of = |event: &&Event| {
            event.outer.map(|o| o.endpoints.src()) == Some(from(src).endpoints.src())
        };
        self.told.iter().filter(of).count()
    }
}

const FLOODER: u32 = 0x0a00_0001;
const PEER: u32 = 0xc000_0201;

#[test]
fn b3_a_flood_of_one_source_leaves_others_their_events() {
    let mut scene = Scene::new(EventBudget::default());
    for n in 0..100_000_u32 {
        // All over one /24, and a peer that is seen once a second.
        scene.packet(STRANGE(), Some(from(FLOODER | n & 0xff)), u64::from(n / 10));
        if n % 10_000 == 5000 {
            let at = u64::from(n / 10);
            assert!(scene.packet(STRANGE(), Some(from(PEER + (n << 8))), at), "at {at} ms");
        }
    }
    let flood = scene.told.len() - 10;
    // A quarter of ten a second for ten seconds, and a quarter of ten at once.
    assert!((25..=27).contains(&flood), "{flood} events");
}

#[test]
fn b3_three_sources_that_flood_leave_a_fourth_its_event_at_once() {
    let mut scene = Scene::new(EventBudget::default());
    for n in 0..30_000_u32 {
        scene.packet(STRANGE(), Some(from(FLOODER + ((n % 3) << 8))), u64::from(n / 10));
    }
    assert!(scene.packet(STRANGE(), Some(from(PEER)), 3000));
}

#[test]
fn b3_one_reason_of_a_source_does_not_hide_another() {
    let mut scene = Scene::new(EventBudget::default());
    for n in 0..10_000 {
        scene.packet(drop_of(Reason::AuthFailed, None), Some(from(PEER)), n / 10);
    }
    assert!(scene.packet(drop_of(Reason::Replay, None), Some(from(PEER)), 1000));
}

/// 100 000 packets a second, each from a /24 of its own.
fn random_flood(scene: &mut Scene, n: u32) {
    scene.packet(STRANGE(), Some(from(hash(u64::from(n)) as u32)), u64::from(n / 100));
}

#[test]
fn b4_random_sources_do_not_hide_a_peer_on_a_deleted_spi() {
    for drain in [true, false] {
        let mut scene = Scene::new(EventBudget::default());
        scene.drain = drain;
        for n in 0..100_000 {
            random_flood(&mut scene, n);
            if n == 77_777 {
                assert!(scene.packet(DELETED(), Some(from(PEER)), 777));
            }
        }
    }
}

#[test]
fn b4_random_sources_do_not_hide_a_source_that_comes_back() {
    let mut scene = Scene::new(EventBudget::default());
    // The flood is on and its budget gone before the peer sends one packet in thirty.
    for n in 0..100_000 {
        random_flood(&mut scene, n);
        if n > 50_000 && n % 30 == 0 {
            scene.packet(STRANGE(), Some(from(PEER)), u64::from(n / 100));
        }
    }
    assert!(scene.told_of(PEER) > 0);
    // Those that come once are not shut out by it.
    assert!(scene.told.iter().any(|event| event.time_ms > 600 && event.outer != Some(from(PEER))));
}

#[test]
fn t31_an_undrained_queue_keeps_room_for_a_second_source() {
    for (cause, most) in [(STRANGE(), 1), (drop_of(Reason::Replay, None), 2)] {
        let mut scene = Scene::new(EventBudget { per_second: 1000, burst: 1000 });
        scene.drain = false;
        let flood = (0..1000).filter(|n| scene.packet(cause, Some(from(FLOODER)), *n)).count();
        assert_eq!(flood, most);
        assert!(scene.packet(cause, Some(from(PEER)), 1000));
        assert!(!scene.packet(cause, Some(from(FLOODER)), 1001));
        // Drained, there is room again.
        while scene.events.pop().is_some() {}
        assert!(scene.packet(cause, Some(from(FLOODER)), 1002));
    }
}

#[test]
fn t31_what_was_suppressed_is_told_by_kind_and_by_source() {
    let mut scene = Scene::new(EventBudget { per_second: 4, burst: 4 });
    let told = |scene: &Scene| scene.told.last().map(|e| (e.suppressed, e.suppressed_of_source));
    assert!(scene.packet(STRANGE(), Some(from(FLOODER)), 0));
    assert_eq!(told(&scene), Some((0, 0)));
    for _ in 0..7 {
        assert!(!scene.packet(STRANGE(), Some(from(FLOODER)), 1));
    }
    assert!(scene.packet(STRANGE(), Some(from(PEER)), 2));
    assert_eq!(told(&scene), Some((7, 0)));
    assert!(!scene.packet(STRANGE(), Some(from(PEER)), 3));
    assert!(scene.packet(STRANGE(), Some(from(FLOODER)), 1000));
    assert_eq!(told(&scene), Some((1, 7)));
}

#[test]
fn t31_a_soft_limit_asks_no_source() {
    let mut scene = Scene::new(EventBudget::default());
    let soft = Cause::SoftLifetime(LimitKind::Time);
    // All of the budget may be of one peer with many SAs.
    assert_eq!((0..20).filter(|_| scene.packet(soft, Some(from(PEER)), 0)).count(), 10);
}

#[test]
fn a_clock_that_jumps_back_silences_nobody() {
    let mut scene = Scene::new(EventBudget::default());
    assert!(scene.packet(STRANGE(), Some(from(PEER)), u64::MAX / 2000));
    for _ in 0..100 {
        scene.packet(STRANGE(), Some(from(FLOODER)), u64::MAX / 2000);
    }
    assert!(scene.packet(STRANGE(), Some(from(FLOODER)), 5));
    assert!(scene.packet(STRANGE(), Some(from(PEER)), 5));
}

#[test]
fn prefixes_are_24_bits_of_ipv4_and_48_of_ipv6() {
    let number = |endpoints| {
        let Cause::Drop(refusal) = STRANGE() else { unreachable!() };
        sources::number(&refusal, Some(&outer(endpoints)))
    };
    let v4 = |src| number(Endpoints::V4 { src, dst: 0 });
    let v6 = |src| number(Endpoints::V6 { src, dst: 0 });
    assert_eq!(v4(0xc000_0200), v4(0xc000_02ff));
    assert_ne!(v4(0xc000_0200), v4(0xc000_0300));
    assert_eq!(v6(0x2001_0db8_0001 << 80), v6((0x2001_0db8_0001 << 80) + ((1 << 80) - 1)));
    assert_ne!(v6(0x2001_0db8_0001 << 80), v6(0x2001_0db8_0002 << 80));
    assert_ne!(v4(0x0000_0100), v6(1 << 80));
}

/// The twin: a list of all packets there were, from which every answer is worked out anew.
struct Twin {
    budget: EventBudget,
    packets: Vec<Packet>,
}

#[derive(Clone, Copy)]
struct Packet {
    cause: u8,
    kind: u8,
    source: u32,
    now_ms: u64,
    event: bool,
    drained: bool,
}

impl Twin {
    /// Whether the packet makes an event, and what it tells.
    fn packet(&mut self, cause: u8, kind: u8, source: u32, now_ms: u64) -> Option<(u64, u64)> {
        let of_source = |p: &&Packet| p.cause == cause && p.source == source;
        let of_kind = |p: &&Packet| p.kind == kind;
        let interval = 1_000_000 / u64::from(self.budget.per_second);
        let burst = u64::from(self.budget.burst);
        // Tokens: when the events there were would have been on schedule.
        let due = |events: &mut dyn Iterator<Item = &Packet>, interval: u64| {
            events.filter(|p| p.event).fold(0, |due: u64, p| due.max(p.now_ms * 1000) + interval)
        };
        let debt = |due: u64| due.saturating_sub(now_ms * 1000);
        let of_all = debt(due(&mut self.packets.iter().filter(of_kind), interval));
        let own = debt(due(&mut self.packets.iter().filter(of_source), 4 * interval));
        let seen = self.packets.iter().any(|p| of_source(&p));
        let kept = if seen { 0 } else { burst / 4 };
        let has_tokens = of_all <= interval * (burst - 1).saturating_sub(kept)
            && own <= 4 * interval * ((burst / 4).max(1) - 1);

        let waiting = |p: &&Packet| p.event && !p.drained;
        let queued = self.packets.iter().filter(of_kind).filter(waiting).count();
        let waits = self.packets.iter().filter(of_source).any(|p| waiting(&p));
        let share = if kind < 2 { 2 } else { 4 };
        let has_room = queued < if waits { share / 2 } else { share };

        let event = has_tokens && has_room;
        let untold = |of: &dyn Fn(&&Packet) -> bool| {
            self.packets.iter().rev().filter(|p| of(p)).take_while(|p| !p.event).count() as u64
        };
        let told = (untold(&of_kind), untold(&of_source));
        self.packets.push(Packet { cause, kind, source, now_ms, event, drained: false });
        event.then_some(told)
    }
}

/// Sources of each cause for which every table has room: that of a small target has four sets of four.
const SOURCES: u32 = if cfg!(target_pointer_width = "64") { 4 } else { 1 };

proptest! {
    /// Who gets an event, and what it tells, while the table has room for all sources.
    #[test]
    fn t31_events_are_those_of_a_list(
        per_second in 1_u32..50,
        burst in 1_u32..20,
        packets in proptest::collection::vec((0_u8..4, 0..SOURCES, 0_u64..200), 1..400),
        drain_each in 1_usize..10,
    ) {
        let budget = EventBudget { per_second, burst };
        let mut scene = Scene::new(budget);
        scene.drain = false;
        let mut twin = Twin { budget, packets: Vec::new() };
        let mut now = 0;
        for (i, (cause, source, wait)) in packets.iter().enumerate() {
            now += wait / 8;
            let value = match cause {
                0 => STRANGE(),
                1 => DELETED(),
                2 => drop_of(Reason::WrongSa, None),
                _ => drop_of(Reason::NoSelector, None),
            };
            // Two reasons of one kind.
            let expected = twin.packet(*cause, (*cause).min(2), *source, now);
            let made = scene.packet(value, Some(from(source << 8 | i as u32 & 0xff)), now);
            let told = scene.events.queue.back().filter(|_| made).map(|event| {
                (u64::from(event.suppressed), u64::from(event.suppressed_of_source))
            });
            prop_assert_eq!(told, expected, "packet {}", i);
            if i % drain_each == 0 {
                while scene.events.pop().is_some() {}
                twin.packets.iter_mut().for_each(|p| p.drained = true);
            }
        }
    }

    /// The same where sources outnumber the table by far: only whose they were may be lost.
    #[test]
    fn t31_nothing_suppressed_is_lost_in_a_full_table(
        seed in any::<u64>(),
        packets in 1_u64..3000,
        sources in 1_u64..5000,
    ) {
        let mut scene = Scene::new(EventBudget { per_second: 7, burst: 5 });
        let mut suppressed_by = BTreeMap::<u32, u64>::new();
        let mut untold = 0;
        for n in 0..packets {
            let src = (hash(seed ^ n) % sources) as u32;
            let before = scene.told.len();
            if scene.packet(STRANGE(), Some(from(src << 8)), n / 3) {
                let event = scene.told[before];
                prop_assert_eq!(u64::from(event.suppressed), untold);
                let own = suppressed_by.remove(&src).unwrap_or(0);
                prop_assert!(u64::from(event.suppressed_of_source) <= own);
                untold = 0;
            } else {
                untold += 1;
                *suppressed_by.entry(src).or_default() += 1;
            }
        }
        let told: u64 = scene.told.iter().map(|event| u64::from(event.suppressed)).sum();
        prop_assert_eq!(scene.told.len() as u64 + told + untold, packets);
    }
}

/// Seed 001's sample, its SPI spelt in hexadecimal digits.
#[test]
fn b2_an_event_has_every_field_of_the_documents_line() {
    let mut scene = Scene::new(EventBudget::default());
    assert!(scene.packet(STRANGE(), Some(from(0x833e_1966)), 0));
    let line = FortiLine {
        clock: Some(Clock { unix_ns: 1_597_163_320_747_963_100, offset_minutes: -420 }),
        device_name: Some("toSite1"),
        device_id: Some("FGT60Fxxxxxxxxxx"),
        domain: Some("root"),
        interface: Some("wan1"),
        ..FortiLine::of_event(&scene.told[0]).unwrap()
    };
    let sample = r#"date=2020-08-11 time=09:28:40 devname=toSite1 devid=FGT60Fxxxxxxxxxx logid="0101037131" type="event" subtype="vpn" level="error" vd="root" eventtime=1597163320747963100 tz="-0700" logdesc="IPsec ESP" msg="IPsec ESP" action="error" remip=131.62.25.102 locip=192.157.116.88 remport=40601 locport=500 outintf="wan1" cookies="N/A" user="N/A" group="N/A" xauthuser="N/A" xauthgroup="N/A" assignip=N/A vpntunnel="N/A" status="esp_error" error_num="Received ESP packet with unknown SPI." spi="f6c9e2a1" seq="02000400""#;
    assert_eq!(line.to_string(), sample);
}

#[test]
fn b2_other_events_have_no_such_line_and_names_cannot_forge_one() {
    let mut scene = Scene::new(EventBudget::default());
    scene.packet(drop_of(Reason::WrongSa, None), Some(from(PEER)), 0);
    scene.packet(drop_of(Reason::UnknownSpi, None), None, 0);
    assert!(scene.told.iter().all(|event| FortiLine::of_event(event).is_none()));
    assert_eq!(scene.told.len(), 2);
    let line = FortiLine::of(&from(PEER)).unwrap();
    let forged = FortiLine { interface: Some("a\" \n\\b"), ..line }.to_string();
    assert!(forged.contains("outintf=\"a_ __b\"") && !forged.contains('\n'));
}

#[test]
fn dates_are_those_of_the_calendar() {
    let date = |unix_seconds: u64, offset_minutes: i16| -> String {
        let clock = Clock { unix_ns: unix_seconds * 1_000_000_000, offset_minutes };
        let line = FortiLine { clock: Some(clock), ..FortiLine::of(&from(1)).unwrap() }.to_string();
        line.split(" logid").next().unwrap().to_owned()
    };
    assert_eq!(date(0, 0), "date=1970-01-01 time=00:00:00");
    assert_eq!(date(0, -1), "date=1969-12-31 time=23:59:00");
    assert_eq!(date(951_782_400, 0), "date=2000-02-29 time=00:00:00");
    assert_eq!(date(951_782_400 + 86_399, 1), "date=2000-03-01 time=00:00:59");
    assert_eq!(date(4_107_542_400, 0), "date=2100-03-01 time=00:00:00");
    assert_eq!(date(1_735_689_599, 0), "date=2024-12-31 time=23:59:59");
}
