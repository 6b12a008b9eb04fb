//! IKE sessions that peers began.

use std::ops::Range;

use espial::gate::flow::FlowKey;
use espial::gate::session::{self, Limits, SessionPacket};
use espial::headers::{Family, Outer, protocol};

use super::{
    Case, Contender, Fast, Field, Map, NOW_MS, SEED, Sip, distinct, hosts, in_bursts, shuffled,
    traces,
};
use crate::Rng;

/// A table of sessions at its limit, beside maps of the same.
pub struct Sessions {
    table: session::Sessions<'static>,
    limits: Limits,
    fast: Fast,
    sip: Sip,
    packets: [Vec<SessionPacket>; 3],
    /// Of the same packets, with the gateway as the source.
    keys: [Vec<FlowKey>; 3],
}

fn received(key: &FlowKey) -> SessionPacket {
    SessionPacket::received(&key.reversed(), &Outer::Ike).expect("IKE has sessions")
}

impl Sessions {
    /// `n` sessions, and traces of `items` packets.
    ///
    /// # Panics
    /// If the table does not hold what it says.
    pub fn new(n: usize, items: usize, family: Family, seed: u64) -> Self {
        let mut rng = Rng::new(seed, 61);
        let mut draw = || {
            let port = *rng.pick(&[500, 4500]);
            let endpoints = hosts(&mut rng, family).reversed();
            FlowKey { endpoints, protocol: protocol::UDP, src_port: port, dst_port: port }
        };
        // The second half has no session, the third asks for some.
        let mut all = distinct(2 * n + items, &mut draw);
        let strange = all.split_off(2 * n);
        let absent = all.split_off(n);
        let limits = Limits { reserved: 0, ..Limits::of(u32::try_from(n).expect("32 bits")) };
        let mut table = session::Sessions::new(&limits, SEED).expect("a table of this size");
        let held: Vec<_> = all
            .iter()
            .map(|key| {
                let opened = table.open(&received(key), NOW_MS).expect("room up to the capacity");
                (*key, u64::from(opened.session().serial))
            })
            .collect();
        let mut rng = Rng::new(seed, 62);
        let hit = shuffled(&all, items, &mut rng);
        let miss = shuffled(&absent, items, &mut rng);
        let mut strange = strange.into_iter().cycle();
        let keys = traces(hit, miss, || strange.next().expect("it starts again"));
        let packets = keys.each_ref().map(|keys| keys.iter().map(received).collect());
        let (fast, sip) = (Map::full(&held, limits.ttl_ms), Map::full(&held, limits.ttl_ms));
        Self { table, limits, fast, sip, packets, keys }
    }
}

/// The session of a packet that a policy accepts: its number, or 0 if there is no room.
fn open(table: &mut session::Sessions<'_>, packet: &SessionPacket) -> u64 {
    table.open(packet, NOW_MS).map_or(0, |opened| u64::from(opened.session().serial))
}

fn ask<S: std::hash::BuildHasher + Default>(
    map: &mut Map<S>,
    case: Case,
    keys: &[FlowKey],
    answers: &mut [u64],
) {
    for (key, answer) in keys.iter().zip(answers) {
        *answer = match map.find(key, NOW_MS) {
            Some(serial) => serial,
            None if case == Case::Flood => u64::from(map.insert(key, u64::MAX, NOW_MS)),
            None => 0,
        };
    }
}

impl Field for Sessions {
    fn has(&self, contender: Contender) -> bool {
        contender != Contender::Plain
    }

    fn items(&self) -> usize {
        self.keys[0].len()
    }

    fn pass(&mut self, contender: Contender, case: Case, part: Range<usize>, answers: &mut [u64]) {
        let Self { table, fast, sip, .. } = self;
        let packets = &self.packets[case as usize][part.clone()];
        let keys = &self.keys[case as usize][part];
        assert_eq!(packets.len(), answers.len());
        match contender {
            Contender::Espial(1) => {
                for (packet, answer) in packets.iter().zip(answers) {
                    *answer = match table.find(packet, NOW_MS) {
                        Some(session) => session.serial.into(),
                        None if case == Case::Flood => open(table, packet),
                        None => 0,
                    };
                }
            }
            Contender::Espial(burst) => in_bursts(packets, answers, burst, |packets, answers| {
                table.find_burst(packets, NOW_MS, |at, session| {
                    answers[at] = session.map_or(0, |session| session.serial.into());
                });
                if case == Case::Flood {
                    for (packet, answer) in packets.iter().zip(answers) {
                        if *answer == 0 {
                            *answer = open(table, packet);
                        }
                    }
                }
            }),
            Contender::Hashbrown => ask(fast, case, keys, answers),
            Contender::HashbrownSip => ask(sip, case, keys, answers),
            Contender::Plain => panic!("no plain loop over sessions"),
        }
    }

    fn octets(&self, contender: Contender) -> usize {
        match contender {
            Contender::Hashbrown => self.fast.held.allocation_size(),
            Contender::HashbrownSip => self.sip.held.allocation_size(),
            _ => session::Sessions::octets(&self.limits).expect("it was made"),
        }
    }
}
