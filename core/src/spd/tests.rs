//! The SPD beside its naive twin, and each clause that it claims.

use core::iter;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::few::few;
use crate::headers::{Endpoints, Family, Fragment, InnerHeaders, NextLayer, protocol};
use crate::selector::{AddrRange, PortRange, Side};

/// Addresses at which a number of the small universe lies; neighbours stay neighbours.
const V6: u128 = (0x2001_0db8 << 96) | (u64::MAX as u128 - 7);
const V4: u32 = 0x0aff_fff8;

pub(super) fn range(six: bool, a: u8, b: u8) -> AddrRange {
    let (lo, hi) = (a.min(b), a.max(b));
    match six {
        false => AddrRange::V4 { lo: V4 + u32::from(lo), hi: V4 + u32::from(hi) },
        true => AddrRange::V6 { lo: V6 + u128::from(lo), hi: V6 + u128::from(hi) },
    }
}

/// All of the family now and then: corners of ranges at the ends of the number line.
fn ranges(six: bool) -> impl Strategy<Value = AddrRange> {
    let all = AddrRange::all(if six { Family::V6 } else { Family::V4 });
    prop_oneof![6 => (0..16_u8, 0..16_u8).prop_map(move |(a, b)| range(six, a, b)), 1 => Just(all)]
}

const PORTS: [u16; 8] = [0, 1, 79, 80, 81, 443, 65534, 65535];

fn port_ranges() -> impl Strategy<Value = PortRange> {
    let some = (select(&PORTS), select(&PORTS));
    prop_oneof![
        3 => Just(PortRange::ANY),
        1 => Just(PortRange::OPAQUE),
        4 => some.prop_map(|(a, b)| PortRange::new(a.min(b), a.max(b)).unwrap()),
    ]
}

const PROTOCOLS: [u8; 6] =
    [protocol::ICMP, protocol::TCP, protocol::UDP, 47, protocol::MOBILITY, 255];

/// Selectors as a caller may write them: one-value protocols with ports on both sides too.
fn selectors() -> impl Strategy<Value = Selector> {
    let protocols = prop_oneof![2 => Just(0), 5 => select(&PROTOCOLS)];
    any::<bool>().prop_flat_map(move |six| {
        (ranges(six), ranges(six), protocols.clone(), port_ranges(), port_ranges()).prop_map(
            |(remote, local, protocol, remote_ports, local_ports)| {
                let ports = |ports| if protocol == 0 { PortRange::ANY } else { ports };
                let (remote_ports, local_ports) = (ports(remote_ports), ports(local_ports));
                Selector { remote, local, protocol, remote_ports, local_ports }
            },
        )
    })
}

pub(super) fn policies(count: usize) -> impl Strategy<Value = Vec<Policy>> {
    let one = (select(&Action::ALL), -2..3_i64, prop::collection::vec(selectors(), 1..4));
    prop::collection::vec(one, 0..=count).prop_map(|list| {
        let policy = |(id, (action, priority, selectors)): (u32, _)| {
            let id = PolicyId(id * 3 + 1);
            Policy { id, action, priority, selectors }
        };
        (0..).zip(list).map(policy).collect()
    })
}

/// Packets at the corners of the ranges above and one off, with and without values.
pub(super) fn packets() -> impl Strategy<Value = InnerHeaders> {
    let at = || prop_oneof![8 => 0..17_u8, 1 => Just(200_u8)];
    let protocols = prop_oneof![8 => select(&PROTOCOLS), 1 => any::<u8>()];
    let port = || {
        let near =
            (select(&PORTS), 0..3_u16).prop_map(|(port, n)| port.wrapping_add(n).wrapping_sub(1));
        prop_oneof![4 => near, 1 => any::<u16>()]
    };
    let fragments =
        select(&[Fragment::None, Fragment::None, Fragment::First, Fragment::NonInitial]);
    let how = (any::<bool>(), prop::bool::weighted(0.8), fragments);
    (at(), at(), protocols, port(), port(), how).prop_map(
        |(src, dst, protocol, sport, dport, (six, has_value, fragment))| {
            let endpoints = match six {
                false => Endpoints::V4 { src: V4 + u32::from(src), dst: V4 + u32::from(dst) },
                true => Endpoints::V6 { src: V6 + u128::from(src), dst: V6 + u128::from(dst) },
            };
            let next_layer = match protocol {
                _ if !has_value => NextLayer::Opaque,
                protocol::ICMP | protocol::ICMPV6 => NextLayer::Icmp(sport),
                protocol::MOBILITY => NextLayer::Mobility(sport),
                _ => NextLayer::Ports { src: sport, dst: dport },
            };
            InnerHeaders { endpoints, protocol, next_layer, fragment }
        },
    )
}

pub(super) fn directions() -> impl Strategy<Value = Direction> {
    select(&[Direction::Inbound, Direction::Outbound])
}

/// The twin: policies in the order in which they were added, each lookup a search for the best.
struct Twin {
    direction: Direction,
    order: Order,
    /// Oldest first.
    added: Vec<Policy>,
    counted: BTreeMap<Option<PolicyId>, u64>,
}

impl Twin {
    fn covers(&self, selector: &Selector, packet: &InnerHeaders) -> bool {
        let (src, dst) = (packet.endpoints.src(), packet.endpoints.dst());
        let (remote, local) = match self.direction {
            Direction::Inbound => (src, dst),
            Direction::Outbound => (dst, src),
        };
        let protocol = selector.protocol == 0 || selector.protocol == packet.protocol;
        let from = match self.direction {
            Direction::Inbound => (selector.remote_ports, selector.local_ports),
            Direction::Outbound => (selector.local_ports, selector.remote_ports),
        };
        let one_value = has_one_value(packet.protocol);
        let ports = match packet.next_layer {
            NextLayer::Ports { src, dst } if packet.fragment != Fragment::NonInitial => {
                from.0.contains(src) && from.1.contains(dst)
            }
            NextLayer::Icmp(value) | NextLayer::Mobility(value)
                if packet.fragment != Fragment::NonInitial =>
            {
                from.0.contains(value)
            }
            _ => from.0.admits_opaque() && (one_value || from.1.admits_opaque()),
        };
        selector.remote.contains(remote) && selector.local.contains(local) && protocol && ports
    }

    fn first(&self, packet: &InnerHeaders) -> Option<&Policy> {
        let covering = self
            .added
            .iter()
            .enumerate()
            .filter(|(_, one)| one.selectors.iter().any(|one| self.covers(one, packet)));
        let class = |policy: &Policy| match (self.order, policy.action) {
            (Order::ProtectFirst, action) => u8::MAX - action as u8,
            _ => 0,
        };
        let best = covering.min_by_key(|(age, policy)| {
            let (age, priority) = (*age as i64, policy.priority);
            match self.order {
                Order::Placed => (0, 0, age),
                Order::LowestFirst => (0, priority, age),
                Order::HighestFirst | Order::ProtectFirst => (class(policy), -priority, -age),
            }
        });
        best.map(|(_, policy)| policy)
    }
}

const ORDERS: [Order; 4] =
    [Order::Placed, Order::HighestFirst, Order::LowestFirst, Order::ProtectFirst];

proptest! {
    #![proptest_config(few())]
    /// Additions, deletions and replacements, each compiled anew: answers and counts.
    #[test]
    fn the_spd_says_what_a_linear_search_says(
        direction in directions(),
        order in select(&ORDERS),
        policies in policies(48),
        changes in prop::collection::vec((0..100_usize, 0..3_u8), 0..4),
        packets in prop::collection::vec(packets(), 1..80),
    ) {
        let mut twin = Twin { direction, order, added: Vec::new(), counted: BTreeMap::new() };
        let mut list = PolicyList::from_policies(direction, order, policies.clone()).unwrap();
        let mut by_hand = PolicyList::new(direction, order);
        for policy in policies {
            by_hand.add(policy.clone()).unwrap();
            twin.added.push(policy);
        }
        prop_assert_eq!(list.policies(), by_hand.policies());
        let mut counted = BTreeMap::new();
        for (nth, what) in iter::once((0, 9)).chain(changes) {
            if !twin.added.is_empty() {
                let at = nth % twin.added.len();
                match what {
                    0 => {
                        let gone = twin.added.remove(at);
                        prop_assert_eq!(list.delete(gone.id), Ok(gone));
                    }
                    1 => {
                        // Other selectors: it keeps its place.
                        let mut new = twin.added[at].clone();
                        new.selectors.rotate_left(1);
                        prop_assert_eq!(list.replace(new.clone()).unwrap().id, new.id);
                        twin.added[at] = new;
                    }
                    2 => {
                        // Another rank: as if it were new.
                        let mut new = twin.added.remove(at);
                        new.priority += 17;
                        let old = list.replace(new.clone()).unwrap();
                        prop_assert_eq!(old.priority + 17, new.priority);
                        let at = if order == Order::Placed { at } else { twin.added.len() };
                        twin.added.insert(at, new);
                    }
                    _ => {}
                }
            }
            let words = list.compile().unwrap();
            let spd = Spd::open(&words).unwrap();
            prop_assert_eq!((spd.direction(), spd.len() as usize), (direction, twin.added.len()));
            let mut row: Vec<Count> = iter::repeat_with(Count::new).take(spd.cells()).collect();
            let (mut worker, counts) = spd.with_counts(&mut row).unwrap();
            let mut answers = vec![Answer::default(); packets.len()];
            let half = packets.len() / 2;
            prop_assert_eq!(worker.check_burst(&packets, &mut answers[..half]), half);
            for (answer, packet) in answers[half..].iter_mut().zip(&packets[half..]) {
                *answer = worker.check(packet);
            }
            let mut again = vec![Answer::default(); packets.len() + 1];
            prop_assert_eq!(spd.first_burst(&packets, &mut again), packets.len());
            prop_assert_eq!(&again[..packets.len()], &answers[..]);
            for (answer, packet) in answers.iter().zip(&packets) {
                let first = twin.first(packet).map(|policy| (policy.id, policy.action));
                prop_assert_eq!(answer.entry().map(|entry| (entry.id, entry.action)), first);
                prop_assert_eq!(list.first(packet).map(|policy| (policy.id, policy.action)), first);
                prop_assert_eq!(answer.action(), first.map_or(Action::Discard, |(_, action)| action));
                *twin.counted.entry(first.map(|(id, _)| id)).or_default() += 1;
            }
            for (entry, packets) in counts.policies() {
                prop_assert_eq!(counts.of(entry.place), packets);
                if packets > 0 {
                    *counted.entry(Some(entry.id)).or_default() += packets;
                }
            }
            if counts.unmatched() > 0 {
                *counted.entry(None).or_default() += counts.unmatched();
            }
        }
        prop_assert_eq!(counted, twin.counted);
    }

}

proptest! {
    /// Words from elsewhere: opened or refused, never a panic, and an answer names a policy.
    #[test]
    fn hostile_words_do_no_harm(
        policies in policies(40),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..64_u32), 0..4),
        packet in packets(),
        cut in 0..20_usize,
    ) {
        let list = PolicyList::from_policies(Direction::Inbound, Order::Placed, policies).unwrap();
        let mut words = list.compile().unwrap();
        for (at, bit) in flips {
            *at.get_mut(&mut words) ^= 1 << bit;
        }
        let words = &words[..words.len() - cut.saturating_sub(16)];
        if let Ok(spd) = Spd::open(words)
            && let Some(entry) = spd.first(&packet).entry()
        {
            prop_assert!(spd.policies().any(|one| one == entry));
        }
    }
}

fn policy(id: u32, action: Action, priority: i64, selectors: &[Selector]) -> Policy {
    Policy { id: PolicyId(id), action, priority, selectors: selectors.to_vec() }
}

fn any_v4() -> Selector {
    let all = AddrRange::all(Family::V4);
    let (remote_ports, local_ports) = (PortRange::ANY, PortRange::ANY);
    Selector { remote: all, local: all, protocol: 0, remote_ports, local_ports }
}

fn v4(protocol: u8, next_layer: NextLayer) -> InnerHeaders {
    let endpoints = Endpoints::V4 { src: 1, dst: 2 };
    InnerHeaders { endpoints, protocol, next_layer, fragment: Fragment::None }
}

fn answer(list: &PolicyList, packet: &InnerHeaders) -> Answer {
    Spd::open(&list.compile().unwrap()).unwrap().first(packet)
}

/// T9: no match is DISCARD, whatever else there is.
#[test]
fn rfc4301_4_4_1_no_match_is_discard() {
    let mut list = PolicyList::new(Direction::Inbound, Order::Placed);
    let packet = v4(6, NextLayer::Ports { src: 1, dst: 2 });
    for _ in 0..2 {
        let answer = answer(&list, &packet);
        assert_eq!((answer.action(), answer.entry()), (Action::Discard, None));
        assert!(!answer.admits_clear() && !answer.admits_from(PolicyId(1)));
        let udp = Selector { protocol: 17, ..any_v4() };
        let _ = list.add(policy(1, Action::Bypass, 0, &[udp]));
    }
}

/// RFC 4301 section 5.2 steps 3 and 4: what came in the clear needs BYPASS, what came on an SA needs
/// the PROTECT policy of that SA (T6).
#[test]
fn rfc4301_5_2_clear_and_protected_packets() {
    let packet = v4(6, NextLayer::Ports { src: 1, dst: 2 });
    for action in Action::ALL {
        let mut list = PolicyList::new(Direction::Inbound, Order::Placed);
        list.add(policy(5, action, 0, &[any_v4()])).unwrap();
        let answer = answer(&list, &packet);
        assert_eq!(answer.action(), action);
        assert_eq!(answer.admits_clear(), action == Action::Bypass);
        assert_eq!(answer.admits_from(PolicyId(5)), action == Action::Protect);
        assert!(!answer.admits_from(PolicyId(4)));
    }
}

/// T24: zero and negative priorities are priorities like others.
#[test]
fn any_priority_matches() {
    for priority in [0, -1, i64::MIN, i64::MAX] {
        for order in ORDERS {
            let mut list = PolicyList::new(Direction::Outbound, order);
            list.add(policy(1, Action::Bypass, priority, &[any_v4()])).unwrap();
            assert_eq!(answer(&list, &v4(6, NextLayer::Opaque)).action(), Action::Bypass);
        }
    }
    let mut list = PolicyList::new(Direction::Outbound, Order::LowestFirst);
    for (id, priority) in [(1, 0), (2, i64::MAX), (3, i64::MIN), (4, -1), (5, 0)] {
        list.add(policy(id, Action::Discard, priority, &[any_v4()])).unwrap();
    }
    let ids: Vec<u32> = list.policies().iter().map(|one| one.id.0).collect();
    assert_eq!(ids, [3, 4, 1, 5, 2]);
}

/// RFC 4301 section 4.4.1.3: inbound the remote side's value counts, outbound the local side's (T18).
#[test]
fn rfc4301_4_4_1_3_one_value_is_the_senders() {
    let (echo, reply) = (8 << 8, 0);
    let only = |value| PortRange::new(value, value).unwrap();
    // Echo requests may be sent, replies received.
    let selector =
        Selector { protocol: 1, local_ports: only(echo), remote_ports: only(reply), ..any_v4() };
    for (direction, passes) in [(Direction::Outbound, echo), (Direction::Inbound, reply)] {
        let mut list = PolicyList::new(direction, Order::Placed);
        list.add(policy(1, Action::Bypass, 0, &[selector])).unwrap();
        for value in [echo, reply] {
            let found = answer(&list, &v4(1, NextLayer::Icmp(value)));
            assert_eq!(found.admits_clear(), value == passes, "{direction:?} {value}");
        }
        assert!(!answer(&list, &v4(1, NextLayer::Opaque)).admits_clear());
    }
}

#[test]
fn errors_say_what_is_wrong_and_change_nothing() {
    let mut list = PolicyList::new(Direction::Inbound, Order::HighestFirst);
    for (id, priority) in [(1, 5), (2, 5), (3, 1)] {
        list.add(policy(id, Action::Bypass, priority, &[any_v4()])).unwrap();
    }
    let before = list.policies().to_vec();
    let id = PolicyId(9);
    let v6 = AddrRange::all(Family::V6);
    let closed = AddrRange::V4 { lo: 2, hi: 1 };
    let web = PortRange::new(80, 80).unwrap();
    let wrong = |selector| list.clone().add(policy(9, Action::Bypass, 0, &[any_v4(), selector]));
    assert_eq!(
        wrong(Selector { local: v6, ..any_v4() }),
        Err(PolicyError::Families { id, index: 1 })
    );
    for (selector, at) in [
        (Selector { local: closed, ..any_v4() }, Side::Local),
        (Selector { remote_ports: web, ..any_v4() }, Side::Remote),
    ] {
        let Err(PolicyError::Selector { id: named, error }) = wrong(selector) else {
            panic!("a wrong selector was taken")
        };
        assert_eq!(named, id);
        assert_eq!((error.side, error.index), (at, 1));
    }
    assert_eq!(list.add(policy(9, Action::Bypass, 0, &[])), Err(PolicyError::NoSelectors { id }));
    let twice = policy(2, Action::Bypass, 0, &[any_v4()]);
    let duplicate = PolicyError::DuplicateId { id: PolicyId(2) };
    assert_eq!(list.add(twice.clone()), Err(duplicate));
    let pair = vec![twice.clone(), twice];
    assert_eq!(
        PolicyList::from_policies(Direction::Inbound, Order::Placed, pair).err(),
        Some(duplicate)
    );
    assert_eq!(list.delete(id), Err(PolicyError::UnknownId { id }));
    assert_eq!(
        list.replace(policy(9, Action::Bypass, 0, &[any_v4()])),
        Err(PolicyError::UnknownId { id })
    );
    let five = policy(9, Action::Bypass, 5, &[any_v4()]);
    assert_eq!(
        list.add_at(3, five.clone()),
        Err(PolicyError::Misplaced { id, place: 3, first: 0, last: 2 })
    );
    assert_eq!(list.policies(), before);
    list.add_at(1, five).unwrap();
    let ids: Vec<u32> = list.policies().iter().map(|one| one.id.0).collect();
    assert_eq!(ids, [2, 9, 1, 3]);
}

#[test]
fn words_that_are_no_spd_are_refused() {
    let mut list = PolicyList::new(Direction::Inbound, Order::Placed);
    list.add(policy(u32::MAX, Action::Protect, 0, &[any_v4(), any_v4()])).unwrap();
    let words = list.compile().unwrap();
    let spd = Spd::open(&words).unwrap();
    assert_eq!(spd.octets(), 8 * words.len());
    let refused = |at: usize, change: fn(u64) -> u64| {
        let mut words = words.clone();
        words[at] = change(words[at]);
        Spd::open(&words).err()
    };
    for length in 0..words.len() {
        assert!(Spd::open(&words[..length]).is_err(), "{length} words");
    }
    assert_eq!(refused(0, u64::swap_bytes), Some(OpenError::Magic));
    assert_eq!(refused(0, |word| word + (1 << 32)), Some(OpenError::Format { found: 2 }));
    assert_eq!(refused(1, |word| word | 0xff << 56), Some(OpenError::Short));
    assert_eq!(refused(2, |_| 2), Some(OpenError::Direction));
    assert_eq!(refused(4, |word| word ^ 1), Some(OpenError::Selector { index: 1 }));
    assert_eq!(refused(5, |word| word | 3 << 30), Some(OpenError::Policy { place: 0 }));
    assert!(matches!(refused(6, |_| 0), Some(OpenError::Matcher(_))));
    let mut row = [const { Count::new() }; 3];
    let error = spd.with_counts(&mut row).err().unwrap();
    assert_eq!(error, CellsError { given: 3, needed: 2 });
}

/// A row is read while its worker goes on, and starts at zero when it is used again.
#[test]
fn rows_are_read_from_other_threads() {
    let mut list = PolicyList::new(Direction::Inbound, Order::Placed);
    list.add(policy(1, Action::Bypass, 0, &[Selector { protocol: 6, ..any_v4() }])).unwrap();
    let words = list.compile().unwrap();
    let spd = Spd::open(&words).unwrap();
    let packets = [v4(6, NextLayer::Opaque), v4(17, NextLayer::Opaque)];
    let mut rows: [[Count; 2]; 2] = Default::default();
    for _ in 0..2 {
        std::thread::scope(|scope| {
            for row in &mut rows {
                let (mut worker, counts) = spd.with_counts(row).unwrap();
                scope.spawn(move || {
                    for _ in 0..5000 {
                        let mut answers = [Answer::default(); 2];
                        assert_eq!(worker.check_burst(&packets, &mut answers), 2);
                    }
                });
                scope.spawn(move || {
                    let mut last = 0;
                    while last < 5000 {
                        assert!(counts.of(0) >= last && counts.of(1) == 0);
                        last = counts.of(0).min(counts.unmatched());
                    }
                });
            }
        });
        for row in &rows {
            assert_eq!((row[0].get(), row[1].get()), (5000, 5000));
        }
    }
}
