//! Local-in policy beside its naive twin, and each rule that it claims.

mod seeds;
mod twin;

use super::*;
use crate::headers::Outer;

/// The interfaces of the documents.
const WAN1: u32 = 1;
const WAN2: u32 = 2;
const PORT1: u32 = 3;

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).into()).collect()
}

fn ranges(list: &[&str]) -> AddressObject {
    AddressObject::Ranges(list.iter().map(|text| text.parse().unwrap()).collect())
}

/// The names that the conformance cases of seeds 001 and 002 give.
fn documented(default: Action) -> LocalInList {
    let mut list = LocalInList::new(default);
    list.set_address("all", ranges(&["0.0.0.0/0"]));
    list.set_address("remote-vpn", ranges(&["203.0.113.10/32"]));
    let group = AddressObject::Group { member: names(&["all"]), exclude: names(&["remote-vpn"]) };
    list.set_address("All_exceptions", group);
    list.set_address("office1", ranges(&["192.0.2.0/28"]));
    list.set_address("office2", ranges(&["192.0.2.32/28"]));
    list.set_address("peer", ranges(&["10.56.240.208/32"]));
    list.set_service("IKE", IKE.to_vec());
    list.set_service("HTTPS", vec![Service::tcp(443)]);
    list.set_service("ALL", vec![Service::All]);
    list
}

/// A policy for destination `all`, always.
fn policy(
    id: u32,
    interfaces: Interfaces,
    source: &[&str],
    service: &str,
    action: Option<Action>,
) -> LocalInPolicy {
    LocalInPolicy {
        id: PolicyId(id),
        interfaces,
        source: names(source),
        destination: names(&["all"]),
        service: names(&[service]),
        schedule: None,
        action,
    }
}

fn on(interface: u32) -> Interfaces {
    Interfaces::These(vec![interface])
}

fn packet(interface: u32, proto: u8, src: (&str, u16), dst: (&str, u16)) -> LocalPacket {
    let headers = InnerHeaders {
        endpoints: Endpoints::new(src.0.parse().unwrap(), dst.0.parse().unwrap()).unwrap(),
        protocol: proto,
        next_layer: NextLayer::Ports { src: src.1, dst: dst.1 },
        fragment: Fragment::None,
    };
    LocalPacket::new(&Outer::Other, headers, interface).unwrap()
}

/// What the compiled list says, alone and in a burst, which is what the list says by definition.
fn ask(list: &LocalInList, packet: &LocalPacket, schedules: Schedules) -> Answer {
    let words = list.compile().unwrap();
    let local_in = LocalIn::open(&words).unwrap();
    let answer = local_in.first(packet, schedules);
    assert_eq!(answer, list.first(packet, schedules));
    let mut answers = [Answer::default(); 2];
    assert_eq!(local_in.first_burst(&[*packet; 3], schedules, &mut answers), 2);
    assert_eq!(answers, [answer; 2]);
    answer
}

const fn answer(action: Action, by: By) -> Answer {
    Answer { action, by }
}

fn denied_by(id: u32) -> Answer {
    answer(Action::Deny, By::Policy(PolicyId(id)))
}

fn accepted_by(id: u32) -> Answer {
    answer(Action::Accept, By::Policy(PolicyId(id)))
}

const BY_DEFAULT: Answer = answer(Action::Accept, By::Default);
