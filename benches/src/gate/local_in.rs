//! Local-in policies of a gateway with many peers.

use std::ops::Range;

use espial::gate::local_in::{
    Action, AddressObject, Answer, By, IKE, Interfaces, LocalIn, LocalInList, LocalInPolicy,
    LocalPacket, PolicyId, Schedules, Service,
};
use espial::headers::{Endpoints, Fragment, InnerHeaders, NextLayer, Outer, protocol};
use espial::selector::{AddrRange, Selector};

use super::{Case, Contender, Field, in_bursts, shuffled, traces};
use crate::Rng;

/// Packets that are put to the list by definition.
const BY_DEFINITION: usize = 1000;
/// Interfaces that policies name, from 1 up.
const INTERFACES: u64 = 4;

/// Policies, compiled and as a list.
pub struct Policies {
    compiled: LocalIn<'static>,
    octets: usize,
    plain: Vec<Plain>,
    packets: [Vec<LocalPacket>; 3],
}

/// A policy without names.
struct Plain {
    id: PolicyId,
    /// `None`: any.
    interface: Option<u32>,
    selectors: Vec<Selector>,
    action: Action,
}

/// What the policies are made of: 7 of 8 admit the IKE of one peer, the others HTTPS from a network of
/// 256 addresses; 7 of 8 on one interface. The last one denies IKE to all, on any interface.
fn drawn(n: usize, rng: &mut Rng) -> Vec<(Option<u32>, AddrRange, bool)> {
    let mut all: Vec<_> = (1..n)
        .map(|_| {
            let (what, lo) = (rng.next(), 0x0a00_0000 | (rng.next() >> 40) as u32);
            let is_ike = what & 7 != 0;
            let range = match is_ike {
                true => AddrRange::V4 { lo, hi: lo },
                false => AddrRange::V4 { lo: lo & !255, hi: lo | 255 },
            };
            let interface = 1 + (what >> 8) % INTERFACES;
            ((what >> 4 & 7 != 0).then_some(interface as u32), range, is_ike)
        })
        .collect();
    all.push((None, AddrRange::V4 { lo: 0, hi: u32::MAX }, true));
    all
}

fn packet(src: u32, interface: u32, protocol: u8, port: u16) -> LocalPacket {
    let headers = InnerHeaders {
        endpoints: Endpoints::V4 { src, dst: 0xcb00_7101 },
        protocol,
        next_layer: NextLayer::Ports { src: port, dst: port },
        fragment: Fragment::None,
    };
    LocalPacket::new(&Outer::Ike, headers, interface).expect("neither ESP nor AH")
}

/// The same packets, 32 behind each other from one interface: a queue belongs to one.
fn in_runs(mut packets: Vec<LocalPacket>) -> Vec<LocalPacket> {
    // Stable: what follows on an interface still does.
    packets.sort_by_key(LocalPacket::interface);
    let mut queues: Vec<_> =
        packets.chunk_by(|a, b| a.interface() == b.interface()).map(|of| of.chunks(32)).collect();
    let mut dealt = Vec::with_capacity(packets.len());
    while dealt.len() < packets.len() {
        queues.iter_mut().filter_map(Iterator::next).for_each(|run| dealt.extend_from_slice(run));
    }
    dealt
}

fn number(answer: Answer) -> u64 {
    let by = match answer.by {
        By::Policy(PolicyId(id)) => u64::from(id) + 1,
        By::Default => 0,
    };
    by << 1 | u64::from(answer.is_accept())
}

fn ask(plain: &[Plain], packet: &LocalPacket) -> u64 {
    let first = plain.iter().find(|policy| {
        policy.interface.is_none_or(|own| own == packet.interface())
            && policy.selectors.iter().any(|selector| selector.covers(packet.headers()))
    });
    number(match first {
        Some(policy) => Answer { action: policy.action, by: By::Policy(policy.id) },
        None => Answer { action: Action::Accept, by: By::Default },
    })
}

impl Policies {
    /// `n` policies, and traces of `items` packets; IPv4.
    ///
    /// # Panics
    /// If compiled policies answer other than the list by definition.
    pub fn new(n: usize, items: usize, seed: u64) -> Self {
        let mut rng = Rng::new(seed, 81);
        let drawn = drawn(n, &mut rng);
        let mut list = LocalInList::new(Action::Accept);
        let https = Service::tcp(443);
        list.set_service("IKE", IKE.to_vec());
        list.set_service("HTTPS", vec![https]);
        let here: AddrRange = "0.0.0.0/0".parse().expect("a prefix");
        list.set_address("all", AddressObject::Ranges(vec![here]));
        let mut plain = Vec::new();
        for (id, &(interface, range, is_ike)) in (1..).zip(&drawn) {
            let name = format!("address {id}");
            list.set_address(&name, AddressObject::Ranges(vec![range]));
            let action = if id as usize == n { Action::Deny } else { Action::Accept };
            let policy = LocalInPolicy {
                id: PolicyId(id),
                interfaces: interface.map_or(Interfaces::Any, |one| Interfaces::These(vec![one])),
                source: vec![name],
                destination: vec!["all".into()],
                service: vec![if is_ike { "IKE" } else { "HTTPS" }.into()],
                schedule: None,
                action: Some(action),
            };
            list.add(policy).expect("a number of its own");
            let services: &[Service] = if is_ike { &IKE } else { &[https] };
            let selectors = services.iter().filter_map(|one| one.selector(range, here)).collect();
            plain.push(Plain { id: PolicyId(id), interface, selectors, action });
        }
        let words = list.compile().expect("policies that are right");
        let mut rng = Rng::new(seed, 82);
        let of_policy = |&(interface, range, is_ike): &_, rng: &mut Rng| {
            let AddrRange::V4 { lo, hi } = range else { unreachable!("IPv4") };
            let src = rng.between(lo.into(), hi.into()) as u32;
            let any = 1 + rng.next() % INTERFACES;
            let interface = Option::unwrap_or(interface, any as u32);
            match is_ike {
                true => packet(src, interface, protocol::UDP, *rng.pick(&[500, 4500])),
                false => packet(src, interface, protocol::TCP, 443),
            }
        };
        let hit = shuffled(&drawn, items, &mut rng);
        let hit: Vec<_> = hit.iter().map(|one| of_policy(one, &mut rng)).collect();
        let anywhere = |rng: &mut Rng| (rng.next() as u32, 1 + (rng.next() % INTERFACES) as u32);
        let miss = (0..items).map(|_| {
            let (src, interface) = anywhere(&mut rng);
            packet(src, interface, protocol::UDP, *rng.pick(&[53, 161, 1812]))
        });
        let miss = miss.collect();
        let packets = traces(hit, miss, || {
            let (src, interface) = anywhere(&mut rng);
            packet(src, interface, protocol::UDP, *rng.pick(&[500, 4500]))
        });
        let packets = packets.map(in_runs);
        for packet in packets.iter().flat_map(|trace| trace.iter().take(BY_DEFINITION)) {
            let expected = number(list.first(packet, Schedules::NONE));
            assert_eq!(ask(&plain, packet), expected, "{packet:?}");
        }
        let octets = words.len() * 8;
        // For as long as the program runs: one configuration, and tested once, as a gateway does.
        let compiled = LocalIn::open(Box::leak(Box::new(words))).expect("words as compiled");
        Self { compiled, octets, plain, packets }
    }
}

impl Field for Policies {
    fn has(&self, contender: Contender) -> bool {
        matches!(contender, Contender::Espial(_) | Contender::Plain)
    }

    fn items(&self) -> usize {
        self.packets[0].len()
    }

    fn pass(&mut self, contender: Contender, case: Case, part: Range<usize>, answers: &mut [u64]) {
        let packets = &self.packets[case as usize][part];
        assert_eq!(packets.len(), answers.len());
        let local_in = self.compiled;
        match contender {
            Contender::Plain => {
                let each = packets.iter().zip(answers);
                each.for_each(|(packet, answer)| *answer = ask(&self.plain, packet));
            }
            Contender::Espial(1) => {
                for (packet, answer) in packets.iter().zip(answers) {
                    *answer = number(local_in.first(packet, Schedules::NONE));
                }
            }
            Contender::Espial(burst) => {
                let mut own = vec![Answer::default(); burst];
                in_bursts(packets, answers, burst, |packets, answers| {
                    local_in.first_burst(packets, Schedules::NONE, &mut own);
                    answers.iter_mut().zip(&own).for_each(|(to, own)| *to = number(*own));
                });
            }
            _ => panic!("policies are no map"),
        }
    }

    fn octets(&self, contender: Contender) -> usize {
        match contender {
            Contender::Plain => self.plain.iter().fold(0, |sum, policy| {
                sum + size_of::<Plain>() + policy.selectors.len() * size_of::<Selector>()
            }),
            _ => self.octets,
        }
    }
}
