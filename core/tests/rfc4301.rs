//! One test for each MUST of RFC 4301 (and of the RFCs it leans on) that this crate answers for,
//! named by its clause, on octets through the public API.

use espial::error::SaError;
use espial::event::EventBudget;
use espial::headers::{Encap, Endpoints, Fragment, Ipsec, OuterHeaders, Spi};
use espial::inbound::{Accepted, Arrival, Ingress};
use espial::sad::{SaKey, SaMode};
use espial::selector::{AddrRange, PortRange, TrafficSelector};
use espial::verdict::{Decision, Field, Malformed, Mode, Modes, Reason, SpiClass, Verdict};
use espial::{Capacity, ChildId, Control, Gateway, Opened, SaId, SaParams, TunnelId, Worker};

const CAPACITY: Capacity = Capacity {
    tunnels: 4,
    children: 16,
    selectors: 64,
    sas: 16,
    sas_dst: 16,
    sas_dst_src: 16,
    sas_allocated: 0,
    replay_window: 0,
    workers: 1,
};
const HERE: Ingress = Ingress { now_ms: 5000, interface: 7 };

fn range(text: &str) -> AddrRange {
    text.parse().unwrap()
}

fn any(text: &str) -> TrafficSelector {
    TrafficSelector::any(range(text))
}

fn ports(text: &str, protocol: u8, lo: u16, hi: u16) -> TrafficSelector {
    TrafficSelector::new(range(text), protocol, PortRange::new(lo, hi).unwrap()).unwrap()
}

fn params(spi: u32, mode: SaMode) -> SaParams {
    let key = SaKey::new(Ipsec::Esp, Spi(spi), None, None).unwrap();
    SaParams { mode, ..SaParams::new(key) }
}

/// An IPv4 packet with `flags` in its flags and fragment offset field.
fn v4(src: [u8; 4], dst: [u8; 4], protocol: u8, flags: u16, payload: &[u8]) -> Vec<u8> {
    let [hi, lo] = ((20 + payload.len()) as u16).to_be_bytes();
    let [f0, f1] = flags.to_be_bytes();
    let mut packet = vec![0x45, 0, hi, lo, 0, 0, f0, f1, 64, protocol, 0, 0];
    packet.extend(src);
    packet.extend(dst);
    packet.extend(payload);
    packet
}

fn udp(sport: u16, dport: u16) -> Vec<u8> {
    [sport, dport, 8, 0].map(u16::to_be_bytes).concat()
}

fn esp(spi: u32) -> Vec<u8> {
    let payload = [&spi.to_be_bytes()[..], &[0, 0, 0, 1], &[0; 24]].concat();
    v4([198, 51, 100, 1], [203, 0, 113, 2], 50, 0, &payload)
}

struct Scene<'a> {
    control: &'a mut Control<'static>,
    worker: Worker<'a>,
    tunnel: TunnelId,
}

impl Scene<'_> {
    fn child(&mut self, local: &[TrafficSelector], remote: &[TrafficSelector]) -> ChildId {
        let child = self.control.add_child(self.tunnel, local, remote).unwrap();
        self.worker.quiescent();
        self.control.publish().unwrap();
        child
    }

    fn sa(&mut self, child: ChildId, spi: u32) -> SaId {
        self.control.add_sa(child, &params(spi, SaMode::Tunnel)).unwrap()
    }

    /// A decrypted packet on an SPI.
    fn check(&mut self, spi: u32, inner: &[u8]) -> Verdict {
        let Arrival::Sa(sa, outer) = self.worker.arrive(&esp(spi), HERE) else {
            panic!("unknown SPI")
        };
        let opened = Opened { sa, outer: &outer, next_header: 4, payload: inner };
        let own = self.worker.own_selectors(sa).filter(|own| own.cover_packet(4, inner));
        let at_once = own.map(|own| own.accept(inner.len()));
        let plain = self.worker.check_plain(sa, 4, inner);
        if let Ok(headers) = espial::wire::inner(inner) {
            let of_headers = self.worker.check_plain_headers(sa, &headers, inner.len());
            assert_eq!(of_headers, plain, "headers that the host has read");
        }
        let verdict = self.worker.check(&opened, HERE);
        says_the_same(&verdict, at_once, plain, inner);
        verdict
    }
}

/// The checks that explain nothing beside the one that does.
fn says_the_same(
    verdict: &Verdict,
    at_once: Option<Accepted>,
    plain: Option<Result<Accepted, Reason>>,
    inner: &[u8],
) {
    if let Some(Accepted { tunnel, child, by }) = at_once {
        assert_eq!(verdict.decision, Decision::Accept(by));
        assert_eq!(verdict.arrived, Some((tunnel, child)));
    }
    match plain {
        // Another mode.
        None => assert_eq!(at_once, None),
        Some(Ok(accepted)) => {
            assert_eq!(verdict.decision, Decision::Accept(accepted.by));
            assert_eq!(verdict.arrived, Some((accepted.tunnel, accepted.child)));
        }
        Some(Err(reason)) => match verdict.reason() {
            // By the packet that an ICMP error is about.
            None => assert_eq!(inner.get(9), Some(&1)),
            Some(Reason::FragmentNoPorts) => assert_eq!(reason, Reason::NoSelector),
            Some(other) => assert_eq!(reason, other),
        },
    }
}

fn with_gateway(mode: Mode, test: impl FnOnce(Scene<'_>)) {
    let mut gateway = Gateway::new(&CAPACITY, [3, 5]).unwrap();
    let (control, mut workers) = gateway.split();
    let tunnel = control.add_tunnel(mode, Modes::NONE).unwrap();
    test(Scene { control, worker: workers.take().unwrap(), tunnel })
}

const PEER: [u8; 4] = [10, 2, 0, 5];
const OURS: [u8; 4] = [10, 1, 0, 5];

fn reason(verdict: &Verdict) -> Option<Reason> {
    verdict.reason()
}

#[test]
fn s4_1_an_sa_is_found_by_spi_and_for_multicast_by_the_longest_of_spi_destination_source() {
    with_gateway(Mode::StrictSa, |mut scene| {
        let child = scene.child(&[any("0.0.0.0/0")], &[any("0.0.0.0/0")]);
        let (dst, src) = ("203.0.113.2".parse().unwrap(), "198.51.100.1".parse().unwrap());
        let mut add = |dst, src| {
            let key = SaKey::new(Ipsec::Esp, Spi(0x300), dst, src).unwrap();
            let params = SaParams::new(key);
            scene.control.add_sa(child, &params).unwrap()
        };
        let by_spi = add(None, None);
        let by_dst = add(Some(dst), None);
        let by_both = add(Some(dst), Some(src));
        for (best, gone) in [(by_both, by_both), (by_dst, by_dst), (by_spi, by_spi)] {
            assert!(
                matches!(scene.worker.arrive(&esp(0x300), HERE), Arrival::Sa(sa, _) if sa == best)
            );
            scene.control.delete_sa(gone, 0).unwrap();
        }
        assert!(matches!(scene.worker.arrive(&esp(0x300), HERE), Arrival::Drop(_)));
    });
}

#[test]
fn s4_1_esp_and_ah_spis_are_apart() {
    with_gateway(Mode::StrictSa, |mut scene| {
        let child = scene.child(&[any("0.0.0.0/0")], &[any("0.0.0.0/0")]);
        let esp_sa = scene.sa(child, 0x300);
        let key = SaKey::new(Ipsec::Ah, Spi(0x300), None, None).unwrap();
        let ah_params = SaParams::new(key);
        let ah_sa = scene.control.add_sa(child, &ah_params).unwrap();
        assert_ne!(esp_sa, ah_sa);
        let again = scene.control.add_sa(child, &params(0x300, SaMode::Tunnel));
        assert_eq!(again, Err(SaError::Duplicate));
    });
}

#[test]
fn s4_4_1_1_address_and_port_ranges_are_inclusive_at_both_ends() {
    with_gateway(Mode::StrictSa, |mut scene| {
        let child = scene.child(
            &[ports("10.1.0.5-10.1.0.7", 17, 53, 55)],
            &[ports("10.2.0.5-10.2.0.7", 17, 1000, 1002)],
        );
        scene.sa(child, 0x300);
        let mut ask = |src: u8, dst: u8, sport, dport| {
            let packet = v4([10, 2, 0, src], [10, 1, 0, dst], 17, 0, &udp(sport, dport));
            scene.check(0x300, &packet).refusal().map(|refusal| refusal.field.unwrap())
        };
        for edge in [5, 7] {
            assert_eq!(ask(edge, edge, 995 + u16::from(edge), 48 + u16::from(edge)), None);
        }
        for outside in [4, 8] {
            assert_eq!(ask(outside, 6, 1001, 54), Some(Field::Src));
            assert_eq!(ask(6, outside, 1001, 54), Some(Field::Dst));
            assert_eq!(ask(6, 6, 995 + u16::from(outside), 54), Some(Field::SourcePort));
            assert_eq!(ask(6, 6, 1001, 48 + u16::from(outside)), Some(Field::DestinationPort));
        }
    });
}

#[test]
fn s4_4_1_1_icmp_type_and_code_are_one_value_compared_with_the_remote_side() {
    with_gateway(Mode::StrictSa, |mut scene| {
        // 3/1 to 4/15 on the remote side; what the local side says is for sending (4.4.1.3, T18).
        let (lo, hi) = (3 * 256 + 1, 4 * 256 + 15);
        let child = scene.child(
            &[ports("10.1.0.0/24", 1, 8 * 256, 8 * 256)],
            &[ports("10.2.0.0/24", 1, lo, hi)],
        );
        scene.sa(child, 0x300);
        let mut ask = |kind, code| {
            let icmp = [kind, code, 0, 0, 0, 0, 0, 0];
            scene.check(0x300, &v4(PEER, OURS, 1, 0, &icmp)).is_accept()
        };
        assert!(ask(3, 1) && ask(3, 200) && ask(4, 15));
        assert!(!ask(3, 0) && !ask(4, 16) && !ask(8, 0));
    });
}

#[test]
fn s4_4_1_2_any_includes_opaque_and_not_the_reverse() {
    with_gateway(Mode::StrictSa, |mut scene| {
        let opaque = |text| TrafficSelector::new(range(text), 17, PortRange::OPAQUE).unwrap();
        let fragments = scene.child(&[opaque("10.1.0.0/24")], &[opaque("10.2.0.0/24")]);
        scene.sa(fragments, 0x300);
        let all = scene.child(&[any("10.1.0.0/24")], &[any("10.2.0.0/24")]);
        scene.sa(all, 0x301);
        let later = v4(PEER, OURS, 17, 100, &[0; 16]);
        let whole = v4(PEER, OURS, 17, 0, &udp(1, 2));
        assert!(scene.check(0x300, &later).is_accept());
        assert!(!scene.check(0x300, &whole).is_accept());
        assert!(scene.check(0x301, &later).is_accept());
        assert!(scene.check(0x301, &whole).is_accept());
    });
}

#[test]
fn s5_2_step_1_reassembly_comes_before_ipsec() {
    with_gateway(Mode::StrictSa, |mut scene| {
        let child = scene.child(&[any("0.0.0.0/0")], &[any("0.0.0.0/0")]);
        scene.sa(child, 0x300);
        let mut fragment = esp(0x300);
        fragment[6] = 0x20;
        let arrival = scene.worker.arrive(&fragment, HERE);
        assert!(
            matches!(arrival, Arrival::Drop(refusal) if refusal.reason == Reason::OuterFragment)
        );
    });
}

#[test]
fn s5_2_step_3a_an_unknown_spi_is_discarded_and_audited_with_the_fields_that_the_rfc_names() {
    with_gateway(Mode::StrictSa, |mut scene| {
        let arrival = scene.worker.arrive(&esp(0x300), HERE);
        let Arrival::Drop(refusal) = arrival else { panic!("{arrival:?}") };
        assert_eq!(refusal.reason, Reason::UnknownSpi);
        assert_eq!(refusal.spi_class, Some(SpiClass::NeverSeen));
        let event = scene.worker.next_event().unwrap();
        let outer = event.outer.unwrap();
        assert_eq!((event.time_ms, event.interface), (5000, 7));
        assert_eq!((outer.spi, outer.sequence, outer.ipsec), (Spi(0x300), 1, Ipsec::Esp));
        assert_eq!(outer.endpoints.src().to_string(), "198.51.100.1");
        assert_eq!(outer.endpoints.dst().to_string(), "203.0.113.2");
        assert_eq!(scene.control.total_counts().drops_of(Reason::UnknownSpi), 1);
    });
}

#[test]
fn s5_2_step_3b_failed_authentication_is_counted_on_its_sa_and_audited() {
    with_gateway(Mode::StrictSa, |mut scene| {
        let child = scene.child(&[any("0.0.0.0/0")], &[any("0.0.0.0/0")]);
        let sa = scene.sa(child, 0x300);
        let Arrival::Sa(found, outer) = scene.worker.arrive(&esp(0x300), HERE) else { panic!() };
        let verdict = scene.worker.report(found, &outer, Reason::AuthFailed, HERE);
        assert_eq!(reason(&verdict), Some(Reason::AuthFailed));
        assert_eq!(scene.control.sa_counts(sa).unwrap().drops_of(Reason::AuthFailed), 1);
        assert_eq!(scene.worker.next_event().unwrap().sa, Some(sa));
    });
}

#[test]
fn s5_2_step_4_a_packet_must_match_the_selectors_of_the_sa_it_came_on() {
    with_gateway(Mode::StrictSa, |mut scene| {
        let a = scene.child(&[any("10.1.0.0/24")], &[any("10.2.0.0/24")]);
        let b = scene.child(&[any("10.1.1.0/24")], &[any("10.2.1.0/24")]);
        scene.sa(a, 0x300);
        scene.sa(b, 0x301);
        let packet = v4(PEER, OURS, 17, 0, &udp(1, 2));
        assert_eq!(scene.check(0x300, &packet).decision, Decision::Accept(a));
        let verdict = scene.check(0x301, &packet);
        let refusal = verdict.refusal().unwrap();
        assert_eq!((refusal.reason, refusal.belongs_to), (Reason::WrongSa, Some(a)));
        assert_eq!(refusal.field, Some(Field::Src));
        // The audit record holds the packet's selector values and the SAD entry's.
        let event = scene.worker.next_event().unwrap();
        assert_eq!(event.inner.unwrap().endpoints.src().to_string(), "10.2.0.5");
        assert_eq!(event.nearest.unwrap().remote, range("10.2.1.0/24"));
        // No relaxation of one tunnel is another's.
        scene.control.set_mode(scene.tunnel, Mode::AnySelector, Modes::NONE).unwrap();
        assert!(scene.check(0x301, &packet).is_accept());
    });
}

#[test]
fn s5_2_step_4_holds_for_transport_mode_too_ports_and_protocol_included() {
    with_gateway(Mode::StrictSa, |mut scene| {
        let child = scene.child(
            &[ports("203.0.113.2", 17, 7001, 7001)],
            &[ports("198.51.100.1", 17, 7000, 7000)],
        );
        scene.control.add_sa(child, &params(0x300, SaMode::Transport)).unwrap();
        let mut ask = |next_header, payload: &[u8]| {
            let Arrival::Sa(sa, outer) = scene.worker.arrive(&esp(0x300), HERE) else { panic!() };
            let opened = Opened { sa, outer: &outer, next_header, payload };
            let verdict = scene.worker.check(&opened, HERE);
            verdict.refusal().map(|refusal| (refusal.reason, refusal.field))
        };
        assert_eq!(ask(17, &udp(7000, 7001)), None);
        let none = Reason::NoSelector;
        assert_eq!(ask(17, &udp(7000, 7002)), Some((none, Some(Field::DestinationPort))));
        assert_eq!(ask(17, &udp(7002, 7001)), Some((none, Some(Field::SourcePort))));
        assert_eq!(ask(6, &udp(7000, 7001)), Some((none, Some(Field::Protocol))));
        let short = Reason::Malformed(Malformed::NextLayer);
        assert_eq!(ask(17, &[0; 3]), Some((short, None)));
    });
}

#[test]
fn s6_2_an_icmp_error_outside_the_selectors_is_judged_by_the_packet_it_is_about() {
    with_gateway(Mode::StrictSa, |mut scene| {
        let child =
            scene.child(&[ports("10.1.0.0/24", 17, 0, 65535)], &[ports("10.2.0.0/24", 17, 53, 53)]);
        scene.sa(child, 0x300);
        // A router behind the peer answers a packet of ours: 10.1.0.5:999 to 10.2.0.5:`port`.
        let mut ask = |port, code| {
            let about = v4(OURS, PEER, 17, 0, &udp(999, port));
            let error = [&[3, code, 0, 0, 0, 0, 0, 0][..], &about].concat();
            scene.check(0x300, &v4([192, 0, 2, 9], OURS, 1, 0, &error)).is_accept()
        };
        assert!(ask(53, 1));
        assert!(!ask(54, 1));
        // The quotation does not open the way to another host.
        let about = v4(OURS, PEER, 17, 0, &udp(999, 53));
        let error = [&[5, 1, 0, 0, 9, 9, 9, 9][..], &about].concat();
        let elsewhere = v4([192, 0, 2, 9], [172, 16, 99, 1], 1, 0, &error);
        assert!(!scene.check(0x300, &elsewhere).is_accept());
        // Shadows see the same packet as the enforced mode does.
        let error = [&[3, 1, 0, 0, 0, 0, 0, 0][..], &about].concat();
        let shadow = Modes::NONE.with(Mode::StrictSa);
        scene.control.set_mode(scene.tunnel, Mode::AnySource, shadow).unwrap();
        let verdict = scene.check(0x300, &v4(PEER, OURS, 1, 0, &error));
        assert!(verdict.is_accept() && verdict.shadow_accepts.contains(Mode::StrictSa));
        scene.control.set_mode(scene.tunnel, Mode::StrictSa, Modes::NONE).unwrap();
        // Not an error: judged by its own headers alone.
        let echo = v4([192, 0, 2, 9], OURS, 1, 0, &[8, 0, 0, 0, 0, 0, 0, 0]);
        assert!(!scene.check(0x300, &echo).is_accept());
    });
}

#[test]
fn s7_a_later_fragment_never_matches_real_ports_and_the_missing_port_is_not_0() {
    with_gateway(Mode::StrictSa, |mut scene| {
        let child =
            scene.child(&[ports("10.1.0.0/24", 17, 0, 100)], &[ports("10.2.0.0/24", 17, 0, 100)]);
        scene.sa(child, 0x300);
        let later = v4(PEER, OURS, 17, 100, &[0; 16]);
        assert_eq!(reason(&scene.check(0x300, &later)), Some(Reason::FragmentNoPorts));
        let first = v4(PEER, OURS, 17, 0x2000, &[udp(5, 6), vec![0; 8]].concat());
        assert!(scene.check(0x300, &first).is_accept());
        // From elsewhere it is not the ports that fail.
        let later = v4([10, 3, 0, 1], OURS, 17, 100, &[0; 16]);
        assert_eq!(reason(&scene.check(0x300, &later)), Some(Reason::NoSelector));
    });
}

#[test]
fn rfc4303_2_6_a_dummy_packet_is_discarded_without_an_event() {
    with_gateway(Mode::StrictSa, |mut scene| {
        let child = scene.child(&[any("0.0.0.0/0")], &[any("0.0.0.0/0")]);
        let sa = scene.sa(child, 0x300);
        let Arrival::Sa(found, outer) = scene.worker.arrive(&esp(0x300), HERE) else { panic!() };
        let opened = Opened { sa: found, outer: &outer, next_header: 59, payload: &[1, 2, 3] };
        let verdict = scene.worker.check(&opened, HERE);
        assert_eq!(reason(&verdict), Some(Reason::Dummy));
        assert_eq!(scene.worker.next_event(), None);
        assert_eq!(scene.control.sa_counts(sa).unwrap().drops_of(Reason::Dummy), 1);
    });
}

#[test]
fn rfc4303_2_1_spi_0_is_never_an_sa() {
    assert_eq!(SaKey::new(Ipsec::Esp, Spi(0), None, None), Err(SaError::SpiZero));
    with_gateway(Mode::StrictSa, |mut scene| {
        let child = scene.child(&[any("0.0.0.0/0")], &[any("0.0.0.0/0")]);
        let zero = SaKey { spi: Spi(0), ..params(1, SaMode::Tunnel).key };
        let params = SaParams { key: zero, ..params(1, SaMode::Tunnel) };
        assert_eq!(scene.control.add_sa(child, &params), Err(SaError::SpiZero));
        assert!(matches!(scene.worker.arrive(&esp(0), HERE), Arrival::Drop(_)));
    });
}

#[test]
fn rfc7296_2_9_1_an_ordered_spd_asks_the_first_selector_as_well() {
    with_gateway(Mode::OrderedSpd, |mut scene| {
        let narrow = scene.child(&[any("10.1.0.0/24")], &[any("10.2.0.5")]);
        let wide = scene.child(&[any("10.1.0.0/24")], &[any("10.2.0.0/24")]);
        scene.sa(narrow, 0x300);
        scene.sa(wide, 0x301);
        let packet = v4(PEER, OURS, 17, 0, &udp(1, 2));
        assert!(scene.check(0x300, &packet).is_accept());
        let verdict = scene.check(0x301, &packet);
        let refusal = verdict.refusal().unwrap();
        assert_eq!((refusal.reason, refusal.belongs_to), (Reason::WrongSa, Some(narrow)));
        // Strict-sa asks only the SA's own selectors.
        scene.control.set_mode(scene.tunnel, Mode::StrictSa, Modes::NONE).unwrap();
        assert!(scene.check(0x301, &packet).is_accept());
        let other = v4([10, 2, 0, 6], OURS, 17, 0, &udp(1, 2));
        scene.control.set_mode(scene.tunnel, Mode::OrderedSpd, Modes::NONE).unwrap();
        assert!(scene.check(0x301, &other).is_accept());
    });
}

#[test]
fn rfc7296_2_9_1_equal_selectors_are_told_from_a_reused_slot() {
    with_gateway(Mode::OrderedSpd, |mut scene| {
        let first = scene.child(&[any("10.0.0.0/8")], &[any("10.0.0.0/8")]);
        let _equal = scene.child(&[any("10.0.0.0/8")], &[any("10.0.0.0/8")]);
        // The first goes, its slot comes to a narrower one behind: that is another class.
        scene.control.remove_child(first).unwrap();
        scene.worker.quiescent();
        scene.control.publish().unwrap();
        scene.worker.quiescent();
        let mut narrow = scene.child(&[any("10.1.0.0/16")], &[any("10.2.0.0/16")]);
        while narrow.index() != first.index() {
            narrow = scene.child(&[any("10.1.0.0/16")], &[any("10.2.0.0/16")]);
        }
        scene.sa(narrow, 0x300);
        let packet = v4(PEER, OURS, 17, 0, &udp(1, 2));
        assert_eq!(reason(&scene.check(0x300, &packet)), Some(Reason::WrongSa));
    });
}

#[test]
fn rfc9611_sas_with_equal_selectors_are_never_wrong_in_any_mode() {
    for mode in Mode::ALL {
        with_gateway(mode, |mut scene| {
            // Two Child SAs with the same two selectors in another order, and a rekeyed SA.
            let (x, y) = (any("10.2.0.0/24"), any("10.2.8.0/24"));
            let first = scene.child(&[any("10.1.0.0/24")], &[x, y]);
            let second = scene.child(&[any("10.1.0.0/24")], &[y, x]);
            for (child, spi) in [(first, 0x300), (second, 0x301), (first, 0x302)] {
                scene.sa(child, spi);
                let packet = v4(PEER, OURS, 17, 0, &udp(1, 2));
                assert!(scene.check(spi, &packet).is_accept(), "{mode:?}");
            }
        });
    }
}

#[test]
fn t4_identity_is_the_sa_and_not_its_spi_number() {
    with_gateway(Mode::StrictSa, |mut scene| {
        let a = scene.child(&[any("10.1.0.0/24")], &[any("10.2.0.0/24")]);
        let b = scene.child(&[any("10.1.1.0/24")], &[any("10.2.1.0/24")]);
        for (child, dst) in [(a, "203.0.113.2"), (b, "203.0.113.3")] {
            let key = SaKey::new(Ipsec::Esp, Spi(0x300), dst.parse().ok(), None).unwrap();
            let params = SaParams::new(key);
            scene.control.add_sa(child, &params).unwrap();
        }
        let packet = v4(PEER, OURS, 17, 0, &udp(1, 2));
        assert!(scene.check(0x300, &packet).is_accept());
        let outer = OuterHeaders {
            endpoints: Endpoints::V4 { src: 1, dst: 0xcb00_7104 },
            ..match scene.worker.arrive(&esp(0x300), HERE) {
                Arrival::Sa(_, outer) => outer,
                other => panic!("{other:?}"),
            }
        };
        let Arrival::Drop(refusal) = scene.worker.lookup(&outer, HERE) else { panic!() };
        assert_eq!(refusal.spi_class, Some(SpiClass::OtherDestination));
    });
}

#[test]
fn t13_plain_esp_after_a_nat_t_packet_in_one_burst_is_read_at_its_own_offset() {
    with_gateway(Mode::StrictSa, |mut scene| {
        let child = scene.child(&[any("0.0.0.0/0")], &[any("0.0.0.0/0")]);
        let plain = scene.sa(child, 0x300);
        let in_udp = SaParams { encap: Encap::Udp, ..params(0x301, SaMode::Tunnel) };
        let in_udp = scene.control.add_sa(child, &in_udp).unwrap();
        let body = [&0x301_u32.to_be_bytes()[..], &[0, 0, 0, 1], &[0; 24]].concat();
        let head = [4500, 4500, 8 + body.len() as u16, 0].map(u16::to_be_bytes).concat();
        let nat_t = v4([198, 51, 100, 1], [203, 0, 113, 2], 17, 0, &[head, body].concat());
        let plain_packet = esp(0x300);
        let packets: Vec<&[u8]> =
            (0..40).map(|i| if i % 2 == 0 { &nat_t[..] } else { &plain_packet }).collect();
        let empty = Arrival::Drop(espial::Refusal::new(Reason::UnknownSpi));
        let mut arrivals = [empty; 64];
        assert_eq!(scene.worker.arrive_burst(&packets, HERE, &mut arrivals), 40);
        for (i, arrival) in arrivals[..40].iter().enumerate() {
            let (sa, offset) = if i % 2 == 0 { (in_udp, 28) } else { (plain, 20) };
            assert!(
                matches!(arrival, Arrival::Sa(id, outer) if *id == sa && outer.offset == offset)
            );
        }
        // A burst leaves alone what lies behind its packets in the caller's array.
        let stale = arrivals;
        let before = scene.control.total_counts();
        scene.control.delete_sa(plain, 0).unwrap();
        assert_eq!(scene.worker.arrive_burst(&packets[..1], HERE, &mut arrivals), 1);
        assert_eq!(arrivals[1..], stale[1..]);
        assert_eq!(scene.control.total_counts(), before);
        // An encapsulation that is not the SA's is a drop.
        let wrong = v4([198, 51, 100, 1], [203, 0, 113, 2], 50, 0, &nat_t[28..]);
        let arrival = scene.worker.arrive(&wrong, HERE);
        assert!(matches!(arrival, Arrival::Drop(refusal) if refusal.reason == Reason::WrongEncap));
    });
}

#[test]
fn t31_events_are_limited_and_counting_is_exact() {
    with_gateway(Mode::StrictSa, |mut scene| {
        scene.worker.set_event_budget(EventBudget { per_second: 10, burst: 1 });
        let (mut events, mut suppressed) = (0, 0);
        for i in 0..10_000_u64 {
            let at = Ingress { now_ms: i / 10, interface: 0 };
            assert!(matches!(scene.worker.arrive(&esp(0x300), at), Arrival::Drop(_)));
            while let Some(event) = scene.worker.next_event() {
                events += 1;
                suppressed += u64::from(event.suppressed);
            }
        }
        assert_eq!(scene.control.total_counts().drops_of(Reason::UnknownSpi), 10_000);
        // One source has a quarter of the budget: at 0, 400 and 800 ms.
        assert_eq!(events, 3);
        assert_eq!(scene.control.events_suppressed(), 9997);
        assert!(suppressed > 7900, "the last stretch is reported by the next event");
        // A flood of unknown SPIs does not hide a wrong SA, even if nobody drains the queue.
        scene.worker.set_event_budget(EventBudget { per_second: 1000, burst: 1000 });
        for i in 0..1000 {
            let at = Ingress { now_ms: 2000 + i, interface: 0 };
            let _ = scene.worker.arrive(&esp(0x300), at);
        }
        let a = scene.child(&[any("10.1.0.0/24")], &[any("10.2.0.0/24")]);
        scene.sa(a, 0x301);
        let stranger = v4([10, 3, 0, 1], OURS, 17, 0, &udp(1, 2));
        assert_eq!(reason(&scene.check(0x301, &stranger)), Some(Reason::NoSelector));
        let last = std::iter::from_fn(|| scene.worker.next_event()).last().unwrap();
        assert_eq!(last.refusal().unwrap().reason, Reason::NoSelector);
    });
}

/// A packet of ESP from another source.
fn esp_from(src: u32, spi: u32) -> Vec<u8> {
    v4(
        src.to_be_bytes(),
        [203, 0, 113, 2],
        50,
        0,
        &[&spi.to_be_bytes()[..], &[0, 0, 0, 1]].concat(),
    )
}

#[test]
fn b4_a_flood_from_random_sources_leaves_a_rekeying_peer_its_event() {
    with_gateway(Mode::StrictSa, |mut scene| {
        let child = scene.child(&[any("0.0.0.0/0")], &[any("0.0.0.0/0")]);
        let sa = scene.sa(child, 0x400);
        scene.control.delete_sa(sa, 0).unwrap();
        // Nobody drains the queue until the flood is over.
        let mut random = 1_u32;
        for i in 0..100_000_u64 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = Ingress { now_ms: i / 100, interface: 0 };
            let _ = scene.worker.arrive(&esp_from(random, random | 0x8000_0000), at);
            if i == 90_000 {
                let _ = scene.worker.arrive(&esp_from(0xc633_6401, 0x400), at);
            }
        }
        assert_eq!(scene.control.total_counts().drops_of(Reason::UnknownSpi), 100_001);
        let events: Vec<_> = std::iter::from_fn(|| scene.worker.next_event()).collect();
        let peer = events.iter().find(|event| event.outer.unwrap().spi.0 == 0x400).unwrap();
        let class = peer.refusal().unwrap().spi_class;
        assert_eq!(class, Some(espial::verdict::SpiClass::RecentlyDeleted { ago_ms: 900 }));
        assert_eq!(scene.control.events_suppressed() + events.len() as u64, 100_001);
    });
}

#[test]
fn a_zeroed_or_unpublished_gateway_drops() {
    with_gateway(Mode::StrictSa, |mut scene| {
        let staged = scene
            .control
            .add_child(scene.tunnel, &[any("0.0.0.0/0")], &[any("0.0.0.0/0")])
            .unwrap();
        let added = scene.control.add_sa(staged, &params(0x300, SaMode::Tunnel));
        assert_eq!(added, Err(SaError::Unpublished));
        assert!(matches!(scene.worker.arrive(&esp(0x300), HERE), Arrival::Drop(_)));
    });
}

#[test]
fn a_handle_that_was_never_given_out_is_stale() {
    with_gateway(Mode::StrictSa, |mut scene| {
        let child = scene.child(&[any("0.0.0.0/0")], &[any("0.0.0.0/0")]);
        let sa = scene.sa(child, 0x300);
        let Arrival::Sa(_, outer) = scene.worker.arrive(&esp(0x300), HERE) else { panic!() };
        let own = sa.to_raw();
        assert_eq!((sa.spi().0, sa.ipsec(), own >> 32), (0x300, Ipsec::Esp, 0x300));
        // Any other number: one bit off in SPI, protocol, flags, generation or index, or nothing at all.
        let off = (0..64).map(|bit| own ^ 1 << bit);
        for raw in off.chain([0, 1, 1 << 30, u64::MAX]) {
            let wrong = SaId::from_raw(raw);
            assert_eq!(scene.control.delete_sa(wrong, 0), Err(SaError::NotFound), "{raw:x}");
            assert!(scene.control.sa_counts(wrong).is_err());
            let inner = v4(PEER, OURS, 17, 0, &udp(1, 2));
            let opened = Opened { sa: wrong, outer: &outer, next_header: 4, payload: &inner };
            let verdict = scene.worker.check(&opened, HERE);
            assert_eq!(reason(&verdict), Some(Reason::UnknownSpi));
        }
        // Deleted: what is left in the dead slot names nothing either.
        scene.control.delete_sa(sa, 0).unwrap();
        for dead in [sa, SaId::from_raw(own & !(1 << 30))] {
            assert_eq!(scene.control.delete_sa(dead, 0), Err(SaError::NotFound));
        }
    });
}

#[test]
fn s7_fragment_values_are_told_apart() {
    let whole = v4(PEER, OURS, 17, 0x4000, &udp(1, 2));
    assert_eq!(espial::wire::inner(&whole).unwrap().fragment, Fragment::None);
    let first = v4(PEER, OURS, 17, 0x2000, &udp(1, 2));
    assert_eq!(espial::wire::inner(&first).unwrap().fragment, Fragment::First);
}
