//! Compiled answers and the naive twin, over random lists; hostile words; what lint says.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::analysis::Limits;
use crate::few::few;
use crate::selector::{PortRange, icmp_value};
use crate::spd::Count;

/// Addresses of the small universe; neighbours stay neighbours.
const V4: u32 = 0x0aff_fff8;
const V6: u128 = (0x2001_0db8 << 96) | (u64::MAX as u128 - 7);

fn range(six: bool, (a, b): (u8, u8)) -> AddrRange {
    let (lo, hi) = (a.min(b), a.max(b));
    match six {
        false => AddrRange::V4 { lo: V4 + u32::from(lo), hi: V4 + u32::from(hi) },
        true => AddrRange::V6 { lo: V6 + u128::from(lo), hi: V6 + u128::from(hi) },
    }
}

/// Objects `0` to `9`: those above the first four may be groups of any below them.
const OBJECTS: u8 = 10;

fn objects(sixes: bool) -> impl Strategy<Value = Vec<AddressObject>> {
    let all = (prop::bool::weighted(if sixes { 0.5 } else { 0.0 }), Just((0, 255)));
    let some = (prop::bool::weighted(if sixes { 0.4 } else { 0.0 }), (0..16_u8, 0..16_u8));
    let ranges = prop::collection::vec(prop_oneof![5 => some, 1 => all], 1..4);
    let below = || prop::collection::vec(any::<Index>(), 0..4);
    let object = (ranges, below(), below(), any::<bool>());
    prop::collection::vec(object, usize::from(OBJECTS)).prop_map(|list| {
        let object = |(nth, (ranges, member, exclude, is_group)): (
            usize,
            (Vec<_>, Vec<Index>, Vec<Index>, _),
        )| {
            let names =
                |list: Vec<Index>| list.iter().map(|at| at.index(nth).to_string()).collect();
            match is_group && nth >= 4 {
                true => AddressObject::Group { member: names(member), exclude: names(exclude) },
                false => AddressObject::Ranges(
                    ranges.into_iter().map(|(six, at)| range(six, at)).collect(),
                ),
            }
        };
        list.into_iter().enumerate().map(object).collect()
    })
}

const PORTS: [u16; 6] = [0, 499, 500, 4500, 4501, 65535];

/// Services `0` to `7`.
fn services() -> [Vec<Service>; 8] {
    let ports = |lo, hi| PortRange::new(lo, hi).unwrap();
    let udp = |source, destination| Service::Ports { protocol: 17, source, destination };
    let echo = ports(icmp_value(8, 0), icmp_value(8, 255));
    [
        IKE.to_vec(),
        vec![Service::All],
        vec![Service::tcp(443), Service::tcp(4500)],
        vec![udp(ports(500, 4500), PortRange::ANY), Service::Protocol(47)],
        vec![udp(PortRange::ANY, ports(4500, 65535)), Service::udp(4501)],
        vec![
            Service::Icmp { family: Family::V4, values: echo },
            Service::Icmp { family: Family::V6, values: PortRange::ANY },
        ],
        vec![udp(PortRange::OPAQUE, PortRange::ANY), udp(PortRange::OPAQUE, ports(1, 2))],
        vec![Service::Protocol(50), Service::Protocol(51)],
    ]
}

const INTERFACES: [u32; 4] = [1, 2, u32::MAX, 9];
const SCHEDULES: [u8; 3] = [0, 31, 63];

fn policies(count: usize) -> impl Strategy<Value = Vec<LocalInPolicy>> {
    let interfaces = prop_oneof![
        2 => Just(Interfaces::Any),
        // 9 is nobody's.
        3 => prop::collection::vec(select(&INTERFACES[..3]), 1..4).prop_map(Interfaces::These),
    ];
    let names = |below: u8, count| {
        let one = (0..below).prop_map(|nth| nth.to_string());
        prop::collection::vec(one, 1..=count)
    };
    let schedule = prop_oneof![3 => Just(None), 1 => select(&SCHEDULES).prop_map(Schedule::new)];
    let action = select(&[None, Some(Action::Deny), Some(Action::Accept)]);
    let one = (interfaces, names(OBJECTS, 2), names(OBJECTS, 2), names(8, 2), schedule, action);
    prop::collection::vec(one, 0..=count).prop_map(|list| {
        let numbered = (0..).zip(list);
        let policy = |(nth, (interfaces, source, destination, service, schedule, action))| {
            let id = PolicyId(u32::MAX - nth);
            LocalInPolicy { id, interfaces, source, destination, service, schedule, action }
        };
        numbered.map(policy).collect()
    })
}

fn list_of(
    default: Action,
    objects: Vec<AddressObject>,
    policies: Vec<LocalInPolicy>,
) -> LocalInList {
    let mut list = LocalInList::new(default);
    for (name, object) in objects.into_iter().enumerate() {
        list.set_address(&name.to_string(), object);
    }
    for (name, services) in services().into_iter().enumerate() {
        list.set_service(&name.to_string(), services);
    }
    policies.into_iter().for_each(|policy| list.add(policy).unwrap());
    list
}

/// The list without policies that no packet can meet, which are refused.
fn possible(list: &LocalInList) -> LocalInList {
    let mut list = list.clone();
    while let Err(error) = list.compile() {
        let LocalInError::NoPackets { id } = error else { panic!("{error}") };
        list.delete(id).unwrap();
    }
    list
}

fn lists(count: usize) -> impl Strategy<Value = LocalInList> {
    (select(&Action::ALL), objects(true), policies(count))
        .prop_map(|(default, objects, policies)| list_of(default, objects, policies))
}

fn packets() -> impl Strategy<Value = LocalPacket> {
    let at = || prop_oneof![8 => 0..17_u8, 1 => Just(200_u8)];
    let protocols = select(&[1_u8, 6, 17, 17, 17, 47, 58, 255]);
    let port = || {
        let near =
            (select(&PORTS), 0..3_u16).prop_map(|(port, n)| port.wrapping_add(n).wrapping_sub(1));
        prop_oneof![6 => near, 1 => any::<u16>(), 1 => Just(icmp_value(8, 3))]
    };
    let fragments =
        select(&[Fragment::None, Fragment::None, Fragment::First, Fragment::NonInitial]);
    let how = (prop::bool::weighted(0.4), prop::bool::weighted(0.9), fragments);
    // Neighbours from one interface, as a burst has them.
    let interface = prop_oneof![5 => Just(1), 3 => select(&INTERFACES), 1 => any::<u32>()];
    (at(), at(), protocols, port(), port(), how, interface).prop_map(
        |(src, dst, protocol, sport, dport, (six, has_value, fragment), interface)| {
            let endpoints = match six {
                false => Endpoints::V4 { src: V4 + u32::from(src), dst: V4 + u32::from(dst) },
                true => Endpoints::V6 { src: V6 + u128::from(src), dst: V6 + u128::from(dst) },
            };
            let next_layer = match protocol {
                _ if !has_value => NextLayer::Opaque,
                protocol::ICMP | protocol::ICMPV6 => NextLayer::Icmp(sport),
                protocol::TCP | protocol::UDP => NextLayer::Ports { src: sport, dst: dport },
                _ => NextLayer::Opaque,
            };
            let headers = InnerHeaders { endpoints, protocol, next_layer, fragment };
            LocalPacket::new(&Outer::Other, headers, interface).unwrap()
        },
    )
}

fn schedules() -> impl Strategy<Value = Schedules> {
    let some = prop::collection::vec(select(&SCHEDULES), 0..3).prop_map(|on| {
        let on = on.into_iter().filter_map(Schedule::new);
        on.fold(Schedules::NONE, Schedules::with)
    });
    prop_oneof![4 => some, 1 => Just(Schedules::ALL), 1 => any::<u64>().prop_map(Schedules)]
}

/// The same answers alone and in bursts.
fn ask_all(words: &[u64], packets: &[LocalPacket], schedules: Schedules) -> Option<Vec<Answer>> {
    let local_in = LocalIn::open(words).ok()?;
    let alone: Vec<_> = packets.iter().map(|packet| local_in.first(packet, schedules)).collect();
    let mut burst = vec![Answer::default(); packets.len() + 1];
    assert_eq!(local_in.first_burst(packets, schedules, &mut burst), packets.len());
    assert_eq!(&burst[..packets.len()], &alone[..]);
    counted(&local_in, packets, schedules, &alone);
    Some(alone)
}

/// Counted alone and in bursts, too, each policy has as many packets as it decided about.
fn counted(
    local_in: &LocalIn<'_>,
    packets: &[LocalPacket],
    schedules: Schedules,
    alone: &[Answer],
) {
    let mut row: Vec<Count> = (0..local_in.cells()).map(|_| Count::new()).collect();
    let (mut worker, counts) = local_in.with_counts(&mut row).unwrap();
    let mut burst = vec![Answer::default(); packets.len() / 2];
    // What has no room for its answer is not counted.
    let asked = worker.check_burst(packets, schedules, &mut burst);
    assert_eq!((asked, &burst[..]), (burst.len(), &alone[..burst.len()]));
    let rest: Vec<_> =
        packets[asked..].iter().map(|packet| worker.check(packet, schedules)).collect();
    assert_eq!(&rest[..], &alone[asked..]);
    // Hostile words may give two policies one id: all of an id are taken together.
    let of = |by: By| alone.iter().filter(|answer| answer.by == by).count() as u64;
    let ids: BTreeSet<By> = counts.policies().map(|(answer, _)| answer.by).collect();
    for id in ids {
        let own = counts.policies().filter(|(answer, _)| answer.by == id);
        assert_eq!(own.map(|(_, packets)| packets).sum::<u64>(), of(id));
    }
    assert_eq!(counts.unmatched(), of(By::Default));
}

proptest! {
    #![proptest_config(few())]
    #[test]
    fn compiled_answers_are_those_of_a_plain_loop(
        list in lists(60),
        packets in prop::collection::vec(packets(), 1..80),
        schedules in prop::collection::vec(schedules(), 1..4),
    ) {
        let words = possible(&list).compile().unwrap();
        for schedules in schedules {
            let twin: Vec<_> = packets.iter().map(|packet| list.first(packet, schedules)).collect();
            prop_assert_eq!(ask_all(&words, &packets, schedules), Some(twin));
        }
        let again = possible(&list).compile().unwrap();
        prop_assert_eq!(&words[..], &again[..]);
        prop_assert_eq!(words.as_ptr() as usize % 64, 0);
    }

}

proptest! {
    /// Words that lie: refused, or answered without a panic and the same way twice.
    #[test]
    fn hostile_words_are_refused_or_answered(
        list in lists(24),
        packets in prop::collection::vec(packets(), 1..40),
        schedules in schedules(),
        changes in prop::collection::vec((any::<Index>(), any::<u64>(), 0..4_u8, any::<bool>()), 1..6),
        cut in prop::option::weighted(0.2, any::<Index>()),
    ) {
        let mut words = possible(&list).compile().unwrap().to_vec();
        for (at, value, how, in_front) in changes {
            let front = 8 + list.policies().len() + 32;
            let at = at.index(if in_front { front.min(words.len()) } else { words.len() });
            match how {
                0 => words[at] = value,
                1 => words[at] ^= 1 << (value % 64),
                2 => words[at] = words[at].wrapping_add(value % 5).wrapping_sub(2),
                _ => words[at] = words[value as usize % words.len()],
            }
        }
        if let Some(cut) = cut {
            words.truncate(cut.index(words.len()));
        }
        let _ = ask_all(&words, &packets, schedules);
    }
}

/// Every word of the two arrays and the header, changed in each bit: what would be another list is
/// refused, but for ids, actions, schedules and the numbers of interfaces. Which bits of a word are which field depends on
/// the order of its octets: this says it for one.
#[cfg(target_endian = "little")]
#[test]
fn each_bit_of_the_header_is_tested() {
    use crate::matcher::block::BlockError;

    let mut list = documented(Action::Accept);
    list.add(policy(1, on(WAN1), &["all"], "IKE", None)).unwrap();
    list.add(policy(2, on(WAN2), &["peer"], "IKE", None)).unwrap();
    let words = list.compile().unwrap();
    let refused = |at: usize, bit: u32| {
        let mut words = words.to_vec();
        words[at] ^= 1 << bit;
        LocalIn::open(&words).err()
    };
    for bit in 0..64 {
        assert!(matches!(
            (refused(0, bit), bit),
            (Some(OpenError::Magic), ..32) | (Some(OpenError::Format { .. }), 32..)
        ));
        assert!(refused(1, bit).is_some(), "sizes, bit {bit}");
        assert_eq!(refused(2, bit), (bit != 0).then_some(OpenError::Header));
        assert_eq!(refused(3 + bit as usize % 5, bit), Some(OpenError::Header));
        let policy = refused(9, bit);
        match bit {
            0 | 8..16 | 32.. => {
                assert!(policy.is_none_or(|error| error == OpenError::Policy { place: 1 }))
            }
            _ => assert_eq!(policy, Some(OpenError::Policy { place: 1 })),
        }
        // Lists 0, 1 and 2; interfaces 1 and 2.
        let interface = refused(10, bit);
        match bit {
            0 | 31 | 32 => assert_eq!(interface, None),
            1.. => assert_eq!(
                interface.map(|error| matches!(error, OpenError::Interface { .. })),
                Some(true),
                "{bit}"
            ),
        }
    }
    // One interface twice; more policies than selectors know of, and fewer.
    let with = |at: usize, word: u64| {
        let mut words = words.to_vec();
        words[at] = word;
        LocalIn::open(&words).err()
    };
    assert_eq!(with(10, words[11]), Some(OpenError::Interface { index: 1 }));
    let owners = 16 + 9;
    assert_eq!(words[owners], 2);
    assert_eq!(with(owners, 3), Some(OpenError::Owners));
    let no_owner = OpenError::Matcher(BlockError::Box { index: 2 });
    assert_eq!(with(owners, 1), Some(no_owner));
    for count in 0..words.len() {
        assert!(LocalIn::open(&words[..count]).is_err());
    }
    let longer = [&words[..], &[u64::MAX; 9]].concat();
    assert_eq!(LocalIn::open(&longer).unwrap().len(), 2);
    assert_eq!(LocalIn::open(&[]).unwrap_err(), OpenError::Short);
}

/// Many interfaces and many policies for any of them: words are linear in what was written, and
/// answers the same in lists that hold copies and in those that are asked in pairs.
#[test]
fn words_are_linear_in_what_was_written_whatever_the_interfaces() {
    const MANY: u32 = 300;
    let octets = |own: u32, any: u32| {
        let mut list = documented(Action::Accept);
        for nth in 0..own {
            let (host, name) = (AddrRange::V4 { lo: nth, hi: nth }, format!("own {nth}"));
            list.set_address(&name, AddressObject::Ranges(vec![host]));
            list.add(policy(nth, on(nth), &[&name], "ALL", Some(Action::Accept))).unwrap();
        }
        for nth in 0..any {
            let (host, name) = (AddrRange::V4 { lo: nth, hi: nth + 1 }, format!("any {nth}"));
            list.set_address(&name, AddressObject::Ranges(vec![host]));
            list.add_before_or_add(nth, policy(MANY + nth, Interfaces::Any, &[&name], "ALL", None));
        }
        let words = list.compile().unwrap();
        let local_in = LocalIn::open(&words).unwrap();
        for interface in [0, 1, 7, own.saturating_sub(1), own, MANY] {
            for src in (0..own.max(any) + 2).step_by(3).chain([interface]) {
                let endpoints = Endpoints::V4 { src, dst: 9 };
                let packet = LocalPacket::ike(endpoints, 500, interface);
                let twin = list.first(&packet, Schedules::NONE);
                assert_eq!(local_in.first(&packet, Schedules::NONE), twin);
            }
        }
        words.len() * 8
    };
    let (own, any, few) = (octets(MANY, 0), octets(0, MANY), octets(MANY, 8));
    let both = octets(MANY, MANY);
    // Apart from the header and one line, not a word more; 8 policies in 300 lists, each a leaf.
    assert!(both <= own + any + 64, "{both} {own} {any}");
    assert!(few <= own + MANY as usize * (9 * 32 + 512) + 4096, "{few} {own}");
}

impl LocalInList {
    /// Every other policy in front.
    fn add_before_or_add(&mut self, nth: u32, policy: LocalInPolicy) {
        match self.policies().first().map(|first| first.id) {
            Some(first) if nth.is_multiple_of(2) => self.add_before(first, policy).unwrap(),
            _ => self.add(policy).unwrap(),
        }
    }
}

/// Interfaces with the same policies share a list.
#[test]
fn interfaces_with_the_same_policies_cost_a_word_each() {
    let octets = |count: u32| {
        let mut list = documented(Action::Accept);
        let many = || Interfaces::These((0..count).chain(0..count).collect());
        list.add(policy(1, many(), &["peer"], "IKE", None)).unwrap();
        list.add(policy(2, many(), &["office1"], "ALL", None)).unwrap();
        let words = list.compile().unwrap();
        let local_in = LocalIn::open(&words).unwrap();
        let from_peer = Endpoints::V4 { src: 0x0a38_f0d0, dst: 1 };
        for (interface, expected) in
            [(0, denied_by(1)), (count - 1, denied_by(1)), (count, BY_DEFAULT)]
        {
            let ike = local_in.ike(from_peer, interface, Schedules::NONE);
            assert_eq!(ike.port_4500, expected);
        }
        words.len() * 8
    };
    assert_eq!(octets(1001), octets(1) + 8000);
}

/// A universe so small that all of it can be asked: sources, and one packet of each service.
fn small_packets() -> Vec<LocalPacket> {
    let values = [
        (17, NextLayer::Ports { src: 9, dst: 500 }),
        (17, NextLayer::Ports { src: 9, dst: 4500 }),
        (17, NextLayer::Ports { src: 9, dst: 4501 }),
        (17, NextLayer::Ports { src: 9, dst: 9 }),
        (17, NextLayer::Ports { src: 600, dst: 500 }),
        (17, NextLayer::Ports { src: 600, dst: 4500 }),
        (17, NextLayer::Ports { src: 600, dst: 4501 }),
        (17, NextLayer::Ports { src: 600, dst: 9 }),
        (17, NextLayer::Opaque),
        (6, NextLayer::Ports { src: 9, dst: 443 }),
        (6, NextLayer::Ports { src: 9, dst: 4500 }),
        (6, NextLayer::Ports { src: 9, dst: 9 }),
        (1, NextLayer::Icmp(icmp_value(8, 0))),
        (58, NextLayer::Icmp(icmp_value(8, 0))),
        (1, NextLayer::Icmp(0)),
        (47, NextLayer::Opaque),
        (99, NextLayer::Opaque),
    ];
    let mut all = Vec::new();
    for (src, (protocol, next_layer), interface) in (0..17_u32)
        .flat_map(|src| values.map(|value| (src, value)))
        .flat_map(|(src, value)| INTERFACES.map(|interface| (src, value, interface)))
    {
        let endpoints = Endpoints::V4 { src: V4 + src, dst: V4 };
        let headers = InnerHeaders { endpoints, protocol, next_layer, fragment: Fragment::None };
        all.push(LocalPacket::new(&Outer::Other, headers, interface).unwrap());
    }
    all
}

/// Lists whose policies are for one destination, in the universe above.
fn small_lists() -> impl Strategy<Value = LocalInList> {
    (select(&Action::ALL), objects(false), policies(10)).prop_map(|(default, objects, policies)| {
        let mut list = list_of(default, objects, Vec::new());
        list.set_address("here", AddressObject::Ranges(vec![range(false, (0, 0))]));
        for policy in policies {
            list.add(LocalInPolicy { destination: names(&["here"]), ..policy }).unwrap();
        }
        possible(&list)
    })
}

fn all_schedules() -> impl Iterator<Item = Schedules> {
    (0..8_u8).map(|set| {
        let on = (0..3).filter(|bit| set >> bit & 1 == 1);
        let on = on.filter_map(|bit: usize| Schedule::new(SCHEDULES[bit]));
        on.fold(Schedules::NONE, Schedules::with)
    })
}

proptest! {
    #![proptest_config(few())]
    /// Both ways: what is hidden is met by no packet, and what is not hidden is met by one.
    #[test]
    fn a_policy_is_hidden_if_no_packet_meets_it_first(list in small_lists()) {
        let mut met = BTreeSet::new();
        for schedules in all_schedules() {
            met.extend(small_packets().iter().map(|packet| list.first(packet, schedules).by));
        }
        let found = list.hidden(&Limits::USUAL).unwrap();
        let hidden: Vec<_> = found.iter().map(|one| one.id).collect();
        let never: Vec<_> = list.policies().iter().map(|policy| policy.id)
            .filter(|id| !met.contains(&By::Policy(*id))).collect();
        prop_assert_eq!(hidden, never);
        for HiddenPolicy { id, why } in found {
            let place = |id| list.policies().iter().position(|policy| policy.id == id).unwrap();
            let by = match why {
                HiddenWhy::Shadowed { by } => vec![by],
                HiddenWhy::Unreachable { by } => {
                    prop_assert!(by.len() > 1);
                    by
                }
                HiddenWhy::NeverJudged => {
                    let only_esp = list.policies()[place(id)].service.iter().all(|name| name == "7");
                    prop_assert!(only_esp);
                    continue;
                }
                _ => continue,
            };
            // Without those that hide it, and all that comes between, it is met.
            prop_assert!(by.iter().all(|by| place(*by) < place(id)));
            let mut without = list.clone();
            let earlier: Vec<_> = list.policies()[..place(id)].iter().map(|one| one.id).collect();
            earlier.into_iter().filter(|id| !by.contains(id)).for_each(|id| _ = without.delete(id).unwrap());
            let still: Vec<_> = without.hidden(&Limits::USUAL).unwrap().iter().map(|one| one.id).collect();
            prop_assert!(still.contains(&id), "{by:?} do not hide {id}");
        }
    }

}

proptest! {
    /// Those that decide about some packet of the question, and no others.
    #[test]
    fn deciders_are_those_that_decide_about_a_packet(
        list in small_lists(),
        from in (0..16_u8, 0..16_u8),
        service in select(&[Service::All, IKE[1], Service::Protocol(17), Service::Protocol(6)]),
        interface in select(&INTERFACES),
        schedules in schedules(),
    ) {
        let wanted = service.selector(range(false, from), range(false, (0, 0))).unwrap();
        let packets = small_packets();
        let asked = packets.iter().filter(|one| {
            one.interface() == interface && wanted.covers(one.headers())
        });
        let expected: BTreeSet<_> = asked.map(|packet| list.first(packet, schedules)).collect();
        let found = list.deciders(&wanted, interface, schedules, &Limits::USUAL).unwrap();
        prop_assert!(found.complete);
        let accepted = expected.iter().filter(|answer| answer.is_accept()).count();
        let admits = match accepted {
            0 => Admits::None,
            _ if accepted == expected.len() => Admits::All,
            _ => Admits::Some,
        };
        prop_assert_eq!(found.admits(), admits);
        let count = found.answers.len();
        prop_assert_eq!(found.answers.into_iter().collect::<BTreeSet<_>>(), expected.clone());
        prop_assert_eq!(count, expected.len());
    }
}

/// Where the work ends, that is said.
#[test]
fn lint_that_cannot_finish_says_so() {
    let mut list = documented(Action::Accept);
    for id in 1..5 {
        list.add(policy(id, Interfaces::Any, &["All_exceptions"], "ALL", None)).unwrap();
    }
    let none = Limits { steps: 0, steps_a_selector: 0, overlaps: 0 };
    let found = list.hidden(&none).unwrap();
    assert!(found.iter().any(|one| one.why == HiddenWhy::Undecided));
    let wanted = Service::All.selector("10.0.0.0/8".parse().unwrap(), "10.0.0.1".parse().unwrap());
    assert!(!list.deciders(&wanted.unwrap(), 0, Schedules::NONE, &none).unwrap().complete);
}
