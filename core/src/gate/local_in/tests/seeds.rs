//! The documents' traces, and the rules one by one.

use super::*;
use crate::analysis::Limits;
use crate::headers::Family;
use crate::selector::{PortRange, icmp_value};
use crate::wire;

/// Seed 001: the policy as the document writes it, without an action.
fn seed_1() -> LocalInList {
    let mut list = documented(Action::Accept);
    list.add(policy(1, on(WAN1), &["All_exceptions"], "IKE", None)).unwrap();
    list
}

/// Seed 002: site 2 before the fix.
fn seed_2() -> LocalInList {
    let mut list = documented(Action::Accept);
    let offices = &["office1", "office2"];
    list.add(policy(1, on(PORT1), offices, "HTTPS", Some(Action::Accept))).unwrap();
    list.add(policy(2, on(PORT1), &["all"], "ALL", None)).unwrap();
    list
}

const SITE1: &str = "10.56.240.208";
const SITE2: &str = "10.56.240.221";

#[test]
fn b1_esp_and_ah_are_not_for_policy_whatever_carries_them() {
    let udp = [
        0x45, 0, 0, 36, 0, 0, 0, 0, 64, 17, 0, 0, 131, 62, 25, 102, 192, 157, 116, 88, // IPv4
        0x11, 0x94, 0x11, 0x94, 0, 16, 0, 0, // UDP 4500
        0xf6, 0xc9, 0xe2, 0x01, 2, 0, 4, 0, // ESP
    ];
    let mut ip = udp;
    ip[9] = protocol::ESP;
    ip[20..28].copy_from_slice(&udp[28..]);
    for octets in [udp, ip] {
        let outer = wire::classify(&octets).unwrap();
        let headers = wire::inner(&octets).unwrap();
        assert_eq!(LocalPacket::new(&outer, headers, WAN1), Err(NotForPolicy));
    }
    // The protocol alone is enough.
    let mut headers = *packet(WAN1, 17, ("131.62.25.102", 1), ("192.157.116.88", 1)).headers();
    for (protocol, is_judged) in [(50, false), (51, false), (17, true), (52, true), (0, true)] {
        headers.protocol = protocol;
        assert_eq!(LocalPacket::new(&Outer::Other, headers, WAN1).is_ok(), is_judged);
    }
    // Behind the non-ESP marker is IKE, and IKE is judged.
    let mut ike = udp;
    ike[28..32].fill(0);
    let Ok(outer) = wire::classify(&ike) else { panic!() };
    assert!(!matches!(outer, Outer::Ipsec(_)));
    let packet = LocalPacket::new(&outer, wire::inner(&ike).unwrap(), WAN1).unwrap();
    assert_eq!(ask(&seed_1(), &packet, Schedules::NONE), denied_by(1));
}

#[test]
fn b5_the_trace_fails_on_policy_1() {
    let ike = packet(WAN1, 17, ("10.10.10.13", 500), ("10.10.10.1", 500));
    let answer = ask(&seed_1(), &ike, Schedules::NONE);
    assert_eq!(answer, denied_by(1));
    let message = answer.message().unwrap().to_string();
    assert_eq!(message, "iprope_in_check() check failed on policy 1, drop");
    let nat_t = packet(WAN1, 17, ("10.10.10.13", 4500), ("10.10.10.1", 4500));
    assert_eq!(ask(&seed_1(), &nat_t, Schedules::NONE), denied_by(1));
}

#[test]
fn b5_the_excluded_peer_another_interface_and_another_service_are_not_matched() {
    let list = seed_1();
    let ike = |intf, src| packet(intf, 17, (src, 500), ("10.10.10.1", 500));
    assert_eq!(ask(&list, &ike(WAN1, "203.0.113.10"), Schedules::NONE), BY_DEFAULT);
    assert_eq!(ask(&list, &ike(WAN1, "203.0.113.9"), Schedules::NONE), denied_by(1));
    assert_eq!(ask(&list, &ike(WAN1, "203.0.113.11"), Schedules::NONE), denied_by(1));
    assert_eq!(ask(&list, &ike(WAN2, "10.10.10.13"), Schedules::NONE), BY_DEFAULT);
    let https = packet(WAN1, 6, ("10.10.10.13", 50000), ("10.10.10.1", 443));
    assert_eq!(ask(&list, &https, Schedules::NONE), BY_DEFAULT);
    assert_eq!(BY_DEFAULT.message(), None);
}

#[test]
fn b5_an_action_that_is_not_written_denies() {
    let mut list = documented(Action::Accept);
    let all = |id, action| policy(id, Interfaces::Any, &["all"], "ALL", action);
    list.add(all(9, None)).unwrap();
    let any = packet(WAN2, 6, ("192.0.2.3", 1), ("192.0.2.4", 2));
    assert_eq!(ask(&list, &any, Schedules::NONE), denied_by(9));
    list.add_before(PolicyId(9), all(8, Some(Action::Accept))).unwrap();
    assert_eq!(ask(&list, &any, Schedules::NONE), accepted_by(8));
    assert_eq!(Answer::default(), answer(Action::Deny, By::Default));
}

#[test]
fn nothing_matched_is_accepted_or_denied_as_configured() {
    let any = packet(WAN2, 6, ("192.0.2.3", 1), ("192.0.2.4", 2));
    for action in Action::ALL {
        let answer = ask(&documented(action), &any, Schedules::NONE);
        assert_eq!((answer.action, answer.by), (action, By::Default));
        assert_eq!(Action::from_code(action as u8), Some(action));
    }
    let denied = ask(&documented(Action::Deny), &any, Schedules::NONE).message().unwrap();
    assert_eq!(denied.to_string(), "iprope_in_check() check failed on policy 0, drop");
}

#[test]
fn c1_ike_is_udp_500_and_4500_and_the_tcp_port_that_is_configured() {
    let mut list = documented(Action::Accept);
    list.set_service("IKE", [&IKE[..], &[Service::tcp(4500)]].concat());
    list.add(policy(1, Interfaces::Any, &["all"], "IKE", None)).unwrap();
    let to = |proto, port| {
        ask(&list, &packet(WAN1, proto, ("192.0.2.9", 61000), (SITE2, port)), Schedules::NONE)
    };
    for (proto, port, is_ike) in [
        (17, 499, false),
        (17, 500, true),
        (17, 501, false),
        (17, 4499, false),
        (17, 4500, true),
        (17, 4501, false),
        (6, 500, false),
        (6, 4500, true),
        (6, 443, false),
    ] {
        assert_eq!(
            to(proto, port),
            if is_ike { denied_by(1) } else { BY_DEFAULT },
            "{proto} {port}"
        );
    }
}

#[test]
fn c2_the_first_match_wins_and_order_is_what_was_written() {
    let deny = || policy(1, on(PORT1), &["all"], "IKE", None);
    let accept = || policy(2, Interfaces::Any, &["peer"], "IKE", Some(Action::Accept));
    let ike = packet(PORT1, 17, (SITE1, 500), (SITE2, 500));
    for (policies, expected) in
        [([deny(), accept()], denied_by(1)), ([accept(), deny()], accepted_by(2))]
    {
        let mut list = documented(Action::Accept);
        policies.into_iter().for_each(|policy| list.add(policy).unwrap());
        assert_eq!(ask(&list, &ike, Schedules::NONE), expected);
        let gone = match expected.by {
            By::Policy(id) => list.delete(id).unwrap().id,
            By::Default => panic!(),
        };
        assert_ne!(ask(&list, &ike, Schedules::NONE).by, By::Policy(gone));
    }
}

#[test]
fn c4_https_from_the_offices_and_nothing_else() {
    let list = seed_2();
    let https = |src| ask(&list, &packet(PORT1, 6, (src, 40000), (SITE2, 443)), Schedules::NONE);
    for (src, expected) in [
        ("192.0.2.3", accepted_by(1)),
        ("192.0.2.15", accepted_by(1)),
        ("192.0.2.16", denied_by(2)),
        ("192.0.2.31", denied_by(2)),
        ("192.0.2.32", accepted_by(1)),
        ("192.0.2.47", accepted_by(1)),
        ("192.0.2.48", denied_by(2)),
        ("198.51.100.3", denied_by(2)),
    ] {
        assert_eq!(https(src), expected, "{src}");
    }
    let stranger = https("198.51.100.3").message().unwrap().to_string();
    assert_eq!(stranger, "iprope_in_check() check failed on policy 2, drop");
}

/// The part of the timeline that is policy's: once the session is gone, all that site 1 sends is IKE
/// from outside, and fails on policy 2: three R-U-THERE, the delete, the new negotiation.
#[test]
fn c5_without_a_session_all_of_site_1s_ike_fails_on_policy_2() {
    let list = seed_2();
    let ike = packet(PORT1, 17, (SITE1, 500), (SITE2, 500));
    for _ in ["16:17:01.904", "16:17:22.384", "16:17:42.864", "16:18:03.353", "negotiation"] {
        let answer = ask(&list, &ike, Schedules::NONE);
        let message = answer.message().unwrap().to_string();
        assert_eq!(message, "iprope_in_check() check failed on policy 2, drop");
    }
    let words = list.compile().unwrap();
    let site_2 = LocalIn::open(&words).unwrap();
    let both = site_2.ike(ike.headers().endpoints, PORT1, Schedules::NONE);
    assert_eq!((both.port_500, both.port_4500), (denied_by(2), denied_by(2)));
    assert!(!both.admits());
}

#[test]
fn c5_an_explicit_accept_for_the_peer_heals_it() {
    let mut list = seed_2();
    let accept = policy(3, on(PORT1), &["peer"], "IKE", Some(Action::Accept));
    list.add_before(PolicyId(1), accept).unwrap();
    let ike = |src| ask(&list, &packet(PORT1, 17, (src, 500), (SITE2, 500)), Schedules::NONE);
    assert_eq!(ike(SITE1), accepted_by(3));
    assert_eq!(ike("198.51.100.99"), denied_by(2));
    let words = list.compile().unwrap();
    let site_2 = LocalIn::open(&words).unwrap();
    let from = |src: &str| Endpoints::new(src.parse().unwrap(), SITE2.parse().unwrap()).unwrap();
    assert!(site_2.ike(from(SITE1), PORT1, Schedules::NONE).admits());
    assert!(!site_2.ike(from("198.51.100.99"), PORT1, Schedules::NONE).admits());
}

/// C6 for a list: who decides about IKE of the peer, whatever its source port is.
#[test]
fn c6_no_policy_admits_ike_until_one_does() {
    let mut list = seed_2();
    let ike = IKE[0].selector(SITE1.parse().unwrap(), SITE2.parse().unwrap()).unwrap();
    let ask = |list: &LocalInList, interface| {
        let found = list.deciders(&ike, interface, Schedules::NONE, &Limits::USUAL).unwrap();
        assert!(found.complete);
        (found.admits(), found.answers)
    };
    assert_eq!(ask(&list, PORT1), (Admits::None, vec![denied_by(2)]));
    assert_eq!(ask(&list, WAN1), (Admits::All, vec![BY_DEFAULT]));
    // From one source port only: some of it.
    let from_500 = PortRange::new(500, 500).unwrap();
    let source = Service::Ports { protocol: 17, source: from_500, destination: from_500 };
    list.set_service("IKE", vec![source]);
    let accept = policy(3, on(PORT1), &["peer"], "IKE", Some(Action::Accept));
    list.add_before(PolicyId(1), accept).unwrap();
    assert_eq!(ask(&list, PORT1), (Admits::Some, vec![accepted_by(3), denied_by(2)]));
    list.set_service("IKE", IKE.to_vec());
    assert_eq!(ask(&list, PORT1), (Admits::All, vec![accepted_by(3)]));
}

#[test]
fn t27_groups_are_members_minus_excluded_however_they_nest() {
    let mut list = documented(Action::Accept);
    let group = |member: &[&str], exclude: &[&str]| AddressObject::Group {
        member: names(member),
        exclude: names(exclude),
    };
    list.set_address("offices", group(&["office1", "office2"], &[]));
    list.set_address("guests", group(&["all"], &["offices", "remote-vpn"]));
    // Members win nothing back that the outer group excludes; what an inner one excludes is not lost to others.
    list.set_address("mixed", group(&["guests", "office2"], &["peer"]));
    list.add(policy(1, Interfaces::Any, &["mixed"], "ALL", None)).unwrap();
    let from = |src| ask(&list, &packet(WAN1, 17, (src, 9), (SITE2, 9)), Schedules::NONE);
    for (src, is_in) in [
        ("192.0.2.1", false),
        ("192.0.2.33", true),
        ("203.0.113.10", false),
        ("203.0.113.11", true),
        (SITE1, false),
        ("0.0.0.0", true),
        ("255.255.255.255", true),
    ] {
        assert_eq!(from(src), if is_in { denied_by(1) } else { BY_DEFAULT }, "{src}");
    }
}

/// A group of one family says nothing about the other.
#[test]
fn t27_all_of_ipv4_is_not_ipv6() {
    let mut list = documented(Action::Accept);
    list.set_address("all6", ranges(&["::/0"]));
    list.set_address("both", ranges(&["0.0.0.0/0", "::/0"]));
    list.add(policy(1, Interfaces::Any, &["all"], "ALL", None)).unwrap();
    let six = packet(WAN1, 17, ("2001:db8::1", 500), ("2001:db8::2", 500));
    assert_eq!(ask(&list, &six, Schedules::NONE), BY_DEFAULT);
    let mut both = policy(2, Interfaces::Any, &["All_exceptions", "all6"], "IKE", None);
    both.destination = names(&["both"]);
    list.add(both).unwrap();
    assert_eq!(ask(&list, &six, Schedules::NONE), denied_by(2));
}

#[test]
fn a_policy_whose_schedule_is_off_leaves_the_packet_to_the_next() {
    let mut list = documented(Action::Accept);
    let schedules = [0, 63].map(|number| Schedule::new(number).unwrap());
    let [night, holiday] = schedules;
    let timed = |id, schedule, action| LocalInPolicy {
        schedule: Some(schedule),
        ..policy(id, Interfaces::Any, &["all"], "IKE", Some(action))
    };
    list.add(timed(1, night, Action::Accept)).unwrap();
    list.add(timed(2, holiday, Action::Accept)).unwrap();
    list.add(policy(3, on(WAN1), &["all"], "IKE", None)).unwrap();
    let ike = packet(WAN1, 17, (SITE1, 500), (SITE2, 500));
    let none = Schedules::NONE;
    assert_eq!(ask(&list, &ike, none), denied_by(3));
    assert_eq!(ask(&list, &ike, none.with(night)), accepted_by(1));
    assert_eq!(ask(&list, &ike, none.with(holiday)), accepted_by(2));
    assert_eq!(ask(&list, &ike, Schedules::ALL), accepted_by(1));
    assert_eq!(ask(&list, &ike, Schedules::ALL.without(night)), accepted_by(2));
    assert_eq!(ask(&list, &ike, Schedules(u64::MAX >> 1 & !1)), denied_by(3));
    assert_eq!((Schedule::new(64), holiday.number()), (None, 63));
}

/// Both addresses, source ports, ICMP values, protocols without ports.
#[test]
fn services_and_destinations_restrict_what_they_say() {
    let mut list = documented(Action::Deny);
    let echo = PortRange::new(icmp_value(8, 0), icmp_value(8, 255)).unwrap();
    list.set_service("PING", vec![Service::Icmp { family: Family::V4, values: echo }]);
    list.set_service("GRE", vec![Service::Protocol(protocol::IPV6)]);
    let mut ping = policy(1, Interfaces::Any, &["all"], "PING", Some(Action::Accept));
    ping.destination = names(&["peer"]);
    list.add(ping).unwrap();
    list.add(policy(2, Interfaces::Any, &["all"], "GRE", Some(Action::Accept))).unwrap();
    let with = |protocol, next_layer, dst: &str| {
        let endpoints = Endpoints::new(SITE2.parse().unwrap(), dst.parse().unwrap()).unwrap();
        let headers = InnerHeaders { endpoints, protocol, next_layer, fragment: Fragment::None };
        let packet = LocalPacket::new(&Outer::Other, headers, WAN1).unwrap();
        ask(&list, &packet, Schedules::NONE).by
    };
    let icmp = |kind, code| NextLayer::Icmp(icmp_value(kind, code));
    assert_eq!(with(1, icmp(8, 0), SITE1), By::Policy(PolicyId(1)));
    assert_eq!(with(1, icmp(8, 255), SITE1), By::Policy(PolicyId(1)));
    assert_eq!(with(1, icmp(0, 0), SITE1), By::Default);
    assert_eq!(with(1, icmp(8, 0), SITE2), By::Default);
    assert_eq!(with(58, icmp(8, 0), SITE1), By::Default);
    assert_eq!(with(41, NextLayer::Opaque, SITE1), By::Policy(PolicyId(2)));
    assert_eq!(with(47, NextLayer::Opaque, SITE1), By::Default);
}

/// T20: what is not there is not 500.
#[test]
fn t20_a_later_fragment_meets_policies_without_ports_only() {
    let mut list = seed_1();
    let mut headers = *packet(WAN1, 17, ("10.10.10.13", 500), ("10.10.10.1", 500)).headers();
    headers.fragment = Fragment::NonInitial;
    let later = LocalPacket::new(&Outer::Other, headers, WAN1).unwrap();
    assert_eq!(ask(&list, &later, Schedules::NONE), BY_DEFAULT);
    list.add(policy(2, on(WAN1), &["all"], "ALL", None)).unwrap();
    assert_eq!(ask(&list, &later, Schedules::NONE), denied_by(2));
}

#[test]
fn what_cannot_be_compiled_says_why() {
    let error = |change: &dyn Fn(&mut LocalInList, &mut LocalInPolicy)| {
        let mut list = documented(Action::Accept);
        let mut one = policy(5, Interfaces::Any, &["all"], "IKE", None);
        change(&mut list, &mut one);
        list.add(one).unwrap();
        list.compile().unwrap_err()
    };
    let id = PolicyId(5);
    let name = String::from("x");
    let group = |member: &str, exclude: &[&str]| AddressObject::Group {
        member: names(&[member]),
        exclude: names(exclude),
    };
    assert_eq!(
        error(&|_, one| one.source = names(&["x"])),
        LocalInError::UnknownAddress { id, name: name.clone() }
    );
    assert_eq!(
        error(&|_, one| one.service = names(&["IKE", "x"])),
        LocalInError::UnknownService { id, name: name.clone() }
    );
    assert_eq!(
        error(&|list, _| _ = list.set_address("all", group("office1", &["x"]))),
        LocalInError::UnknownMember { group: "all".into(), name: name.clone() }
    );
    assert_eq!(
        error(&|_, one| one.interfaces = Interfaces::These(Vec::new())),
        LocalInError::NoInterfaces { id }
    );
    assert_eq!(
        error(&|list, _| {
            list.set_address("all", group("x", &[]));
            list.set_address("x", group("office1", &["all"]));
        }),
        LocalInError::Cycle { name: "all".into() }
    );
    let reversed = AddrRange::V4 { lo: 2, hi: 1 };
    assert_eq!(
        error(&|list, one| {
            list.set_address("x", AddressObject::Ranges(vec![reversed]));
            one.destination = names(&["x"]);
        }),
        LocalInError::Range { name: name.clone(), addrs: reversed }
    );
    let service = Service::Ports {
        protocol: 0,
        source: PortRange::ANY,
        destination: PortRange::new(1, 1).unwrap(),
    };
    assert_eq!(
        error(&|list, _| _ = list.set_service("IKE", vec![Service::All, service])),
        LocalInError::Service { name: "IKE".into(), service }
    );
    // Nothing is left, no service, families apart.
    let none = LocalInError::NoPackets { id };
    assert_eq!(error(&|list, _| _ = list.set_address("all", group("peer", &["peer"]))), none);
    assert_eq!(error(&|_, one| one.service.clear()), none);
    assert_eq!(
        error(&|list, one| {
            list.set_address("x", ranges(&["::/0"]));
            one.destination = names(&["x"]);
        }),
        none
    );
}

#[test]
fn limits_are_met_and_not_passed() {
    // A chain of groups as long as allowed, and one longer; asked from the top and from below.
    for (length, from_below) in
        [(NESTING_MAX, false), (NESTING_MAX + 1, false), (NESTING_MAX + 1, true)]
    {
        let mut list = documented(Action::Accept);
        let at = |nth: usize| format!("group {nth}");
        list.set_address(&at(0), ranges(&["192.0.2.1"]));
        for nth in 1..=length {
            let object = AddressObject::Group { member: vec![at(nth - 1)], exclude: Vec::new() };
            list.set_address(&at(nth), object);
        }
        if from_below {
            (1..length).for_each(|nth| {
                list.add(policy(nth as u32, Interfaces::Any, &[&at(nth)], "IKE", None)).unwrap();
            });
        }
        list.add(policy(100, Interfaces::Any, &[&at(length)], "IKE", None)).unwrap();
        let ike = packet(WAN1, 17, ("192.0.2.1", 500), (SITE2, 500));
        match list.compile() {
            Ok(_) => {
                assert_eq!(length, NESTING_MAX);
                assert_eq!(ask(&list, &ike, Schedules::NONE), denied_by(100));
            }
            Err(error) => {
                assert_eq!(length, NESTING_MAX + 1);
                assert!(matches!(error, LocalInError::Nesting { .. }), "{error}");
            }
        }
    }
    // 256 x 256 selectors, and one more range.
    let hosts = |count: u32| {
        AddressObject::Ranges((0..count).map(|n| AddrRange::V4 { lo: n * 2, hi: n * 2 }).collect())
    };
    let mut list = documented(Action::Accept);
    list.set_address("from", hosts(256));
    list.set_address("all", hosts(256));
    list.add(policy(1, Interfaces::Any, &["from"], "ALL", None)).unwrap();
    assert_eq!(256 * 256, POLICY_SELECTORS_MAX);
    // Not compiled: that takes its time, and no limit of policies is in its way.
    assert_eq!(list.selectors().unwrap()[0].len(), POLICY_SELECTORS_MAX);
    list.set_address("from", hosts(257));
    assert_eq!(list.compile().unwrap_err(), LocalInError::TooManySelectors { id: PolicyId(1) });
}

#[test]
fn ids_are_used_once() {
    let mut list = seed_1();
    let same = policy(1, Interfaces::Any, &["all"], "ALL", None);
    assert_eq!(list.add(same.clone()), Err(LocalInError::DuplicateId { id: PolicyId(1) }));
    let unknown = LocalInError::UnknownId { id: PolicyId(2) };
    let other = LocalInPolicy { id: PolicyId(3), ..same };
    assert_eq!(list.add_before(PolicyId(2), other.clone()), Err(unknown.clone()));
    assert_eq!(list.delete(PolicyId(2)), Err(unknown));
    assert_eq!(list.policies(), seed_1().policies());
    // An id that was refused with its place is free.
    list.add(other).unwrap();
    assert_eq!(list.delete(PolicyId(3)).unwrap().id, PolicyId(3));
}
