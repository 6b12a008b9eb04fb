//! Sessions beside a plain list: so few places and peers that all of them meet, and a clock that is set
//! back now and then. What ended stays in the list until the table has told of it.

use espial::gate::flow::FlowKey;
use espial::gate::session::{Ended, Limits, Opened, Session, SessionPacket, Sessions, Side};
use espial::headers::{Endpoints, Outer, protocol};

use crate::bodies::Choices;
use crate::clock::Clock;

struct Held {
    key: FlowKey,
    origin: Side,
    serial: u32,
    started_ms: u64,
    /// On the table's clock.
    last_ms: u64,
}

struct Twin {
    held: Vec<Held>,
    limits: Limits,
    clock: Clock,
    serial: u32,
}

impl Twin {
    fn ended(&self, held: &Held, at: u64) -> bool {
        at - held.last_ms > u64::from(self.limits.ttl_ms)
    }

    fn live(&self, key: &FlowKey, at: u64) -> Option<usize> {
        self.held.iter().position(|held| held.key == *key && !self.ended(held, at))
    }

    fn session(&self, nth: usize, at: u64) -> Session {
        let Held { key, origin, serial, started_ms, last_ms } = self.held[nth];
        Session {
            key,
            origin,
            serial,
            duration_ms: self.clock.now_ms.saturating_sub(started_ms),
            left_ms: u64::from(self.limits.ttl_ms) - (at - last_ms),
        }
    }

    fn find(&mut self, key: &FlowKey) -> Option<Session> {
        let at = self.clock.tick();
        let nth = self.live(key, at)?;
        self.held[nth].last_ms = at;
        Some(self.session(nth, at))
    }

    fn told(&mut self, ended: &Ended) {
        let at = self.clock.read();
        let of = |held: &Held| held.key == ended.key && held.serial == ended.serial;
        let nth = self.held.iter().position(of).expect("a session of the list");
        let held = self.held.swap_remove(nth);
        assert!(self.ended(&held, at), "{ended:?} lives");
        assert_eq!((held.origin, at - held.last_ms), (ended.origin, ended.idle_ms));
    }

    fn open(&mut self, sessions: &mut Sessions<'_>, packet: &SessionPacket, key: FlowKey) {
        let Limits { capacity, reserved, .. } = self.limits;
        let opened = sessions.open(packet, self.clock.now_ms);
        if let Some(session) = self.find(&key) {
            assert_eq!(opened, Ok(Opened::Existing(session)));
            return;
        }
        let at = self.clock.read();
        let from_remote = self.held.iter().filter(|held| held.origin == Side::Remote).count();
        let is_barred = packet.from() == Side::Remote
            && from_remote >= capacity.saturating_sub(reserved) as usize;
        let is_full = self.held.len() == capacity as usize
            && !self.held.iter().any(|held| self.ended(held, at));
        match opened {
            Err(full) => {
                assert_eq!(full.capacity, capacity);
                assert!(is_barred || is_full, "there is room for {key}");
            }
            Ok(Opened::New { session, ended }) => {
                assert!(!is_barred && !is_full, "there is no room for {key}");
                ended.iter().for_each(|ended| self.told(ended));
                assert!(self.held.iter().all(|held| held.key != key), "{key} is there twice");
                self.serial += 1;
                let (origin, serial, started_ms) = (packet.from(), self.serial, self.clock.now_ms);
                self.held.push(Held { key, origin, serial, started_ms, last_ms: at });
                assert!(self.held.len() <= capacity as usize);
                assert_eq!(session, self.session(self.held.len() - 1, at));
            }
            Ok(Opened::Existing(session)) => panic!("{session} has ended"),
        }
    }
}

/// With this box as the source, and a packet of it from either side.
fn packet(choices: &mut Choices<'_>) -> (FlowKey, SessionPacket) {
    let nth = choices.below(32) as u32;
    let endpoints = match nth & 3 {
        0 => Endpoints::V6 { src: 1, dst: u128::from(nth >> 3) },
        _ => Endpoints::V4 { src: 1, dst: nth >> 3 },
    };
    let port = if nth & 4 == 0 { 500 } else { 4500 };
    let key = FlowKey { endpoints, protocol: protocol::UDP, src_port: port, dst_port: port };
    let packet = match choices.below(2) {
        0 => SessionPacket::sent(&key, &Outer::Ike),
        _ => SessionPacket::received(&key.reversed(), &Outer::Ike),
    };
    (key, packet.expect("IKE has sessions"))
}

pub fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    // Up to 14 places a table that is not full has room for any key.
    let capacity = [1, 2, 5, 14][choices.below(4)];
    let limits = Limits { capacity, reserved: choices.below(8) as u32, ttl_ms: 1000 };
    let seed = [u64::from(choices.octet()), 1];
    let mut sessions = Sessions::new(&limits, seed).expect("a small table");
    let mut twin = Twin { held: Vec::new(), limits, clock: Clock::new(), serial: 0 };
    while !choices.done() {
        twin.clock.step(&mut choices);
        let now_ms = twin.clock.now_ms;
        let (key, one) = packet(&mut choices);
        match choices.below(8) {
            0..3 => twin.open(&mut sessions, &one, key),
            3 => assert_eq!(sessions.find(&one, now_ms), twin.find(&key)),
            4 => {
                let all: Vec<_> = (0..choices.below(40)).map(|_| packet(&mut choices)).collect();
                let packets: Vec<_> = all.iter().map(|(_, packet)| *packet).collect();
                let mut found = Vec::new();
                sessions.find_burst(&packets, now_ms, |nth, session| {
                    assert_eq!(nth, found.len());
                    found.push(session);
                });
                twin.clock.tick();
                let expected: Vec<_> = all.iter().map(|(key, _)| twin.find(key)).collect();
                assert_eq!(found, expected);
            }
            5 => {
                let at = twin.clock.tick();
                let live = twin.live(&key, at);
                assert_eq!(sessions.close(&one, now_ms), live.is_some());
                live.map(|nth| twin.held.swap_remove(nth));
            }
            6 => {
                let budget = choices.below(40) as u32;
                let at = twin.clock.tick();
                let mut told = Vec::new();
                let count = sessions.expire(now_ms, budget, |ended| told.push(*ended));
                assert_eq!(count as usize, told.len());
                told.iter().for_each(|ended| twin.told(ended));
                // 16 slots: all have been looked at.
                assert!(budget < 16 || !twin.held.iter().any(|held| twin.ended(held, at)));
            }
            _ => {
                let at = twin.clock.tick();
                let which = |key: &FlowKey| key.src_port == 500 && now_ms % 4 == 0;
                let before = twin.held.len();
                let held = std::mem::take(&mut twin.held);
                let stays = |held: &Held| !which(&held.key) || twin.ended(held, at);
                twin.held = held.into_iter().filter(stays).collect();
                let cleared = sessions.clear(now_ms, which);
                assert_eq!(cleared as usize, before - twin.held.len());
            }
        }
        let at = twin.clock.read();
        let expected = twin.live(&key, at).map(|nth| twin.session(nth, at));
        assert_eq!(sessions.peek(&one, now_ms), expected);
        assert_eq!(sessions.len() as usize, twin.held.len());
        let live = twin.held.iter().filter(|held| !twin.ended(held, at)).count();
        assert_eq!(sessions.iter(now_ms).count(), live);
    }
}
