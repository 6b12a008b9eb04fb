//! Records of a snapshot.

use espial::gate::passthrough::{Origin, PassPacket, Traffic};
use espial::headers::Spi;
use espial::snapshot::{Pass, RECORD_OCTETS, Record};

use super::passthrough::by_codes;
use super::sessions::{NO_FLOW, side_code};
use super::{VALUE, endpoints_codes, flow_codes, sa_key_codes};
use crate::status::Status;
use crate::types::*;

const _: () = {
    assert!(ESPIAL_RECORD_OCTETS == RECORD_OCTETS);
    let begun = Pass::from_raw([1, 2, ESPIAL_SNAPSHOT_BEGUN]);
    assert!(begun.is_exact() && !begun.is_done());
    assert!(Pass::from_raw([1, 2, ESPIAL_SNAPSHOT_DONE]).is_done());
    assert!(!Pass::from_raw([1, 2, ESPIAL_SNAPSHOT_MISSED]).is_exact());
};

pub fn pass(p: &espial_snapshot_pass) -> Result<Pass, Status> {
    const ALL: u32 = ESPIAL_SNAPSHOT_DONE | ESPIAL_SNAPSHOT_MISSED | ESPIAL_SNAPSHOT_BEGUN;
    if p.flags & !ALL != 0 {
        return Err(VALUE);
    }
    Ok(Pass::from_raw([p.next, p.moved, p.flags]))
}

pub fn pass_codes(pass: &Pass) -> espial_snapshot_pass {
    let [next, moved, flags] = pass.to_raw();
    espial_snapshot_pass { next, moved, flags }
}

const NO_KEY: espial_sa_key = espial_sa_key {
    spi: 0,
    ipsec: 0,
    scope: 0,
    family: 0,
    reserved: 0,
    dst: [0; 16],
    src: [0; 16],
};

const NO_PACKET: espial_passthrough_packet = espial_passthrough_packet {
    family: 0,
    kind: 0,
    protocol: 0,
    reserved: 0,
    spi: 0,
    sport: 0,
    dport: 0,
    src: [0; 16],
    dst: [0; 16],
};

fn packet_codes(packet: &PassPacket) -> espial_passthrough_packet {
    let (family, src, dst) = endpoints_codes(&packet.endpoints);
    let of = espial_passthrough_packet { family, src, dst, ..NO_PACKET };
    match packet.traffic {
        Traffic::Esp(Spi(spi)) => {
            espial_passthrough_packet { kind: ESPIAL_PASSTHROUGH_ESP, spi, ..of }
        }
        Traffic::Ah(Spi(spi)) => {
            espial_passthrough_packet { kind: ESPIAL_PASSTHROUGH_AH, spi, ..of }
        }
        Traffic::Udp { src: sport, dst: dport } => {
            espial_passthrough_packet { kind: ESPIAL_PASSTHROUGH_UDP, sport, dport, ..of }
        }
        Traffic::Fragment(protocol) => {
            espial_passthrough_packet { kind: ESPIAL_PASSTHROUGH_FRAGMENT, protocol, ..of }
        }
    }
}

/// What C is told of a record.
pub fn record_codes(record: &Record, size: usize) -> espial_record {
    let none = espial_record {
        size: size as u32,
        kind: 0,
        origin: 0,
        by: ESPIAL_PASS_BY_NONE,
        reserved: 0,
        interface: 0,
        rule: 0,
        child: 0,
        age_ms: 0,
        idle_ms: 0,
        key: NO_KEY,
        flow: NO_FLOW,
        packet: NO_PACKET,
        reserved_more: 0,
    };
    match record {
        Record::Sa(sa) => espial_record {
            kind: ESPIAL_RECORD_SA,
            child: sa.child,
            key: sa_key_codes(&sa.key),
            ..none
        },
        Record::Session(session) => espial_record {
            kind: ESPIAL_RECORD_SESSION,
            origin: side_code(session.origin),
            age_ms: session.age_ms,
            idle_ms: session.idle_ms,
            flow: flow_codes(&session.key),
            ..none
        },
        Record::Pin(pin) => espial_record {
            kind: ESPIAL_RECORD_PIN,
            interface: pin.interface,
            idle_ms: pin.idle_ms,
            flow: flow_codes(&pin.key),
            ..none
        },
        Record::Flow(flow) => {
            let (by, rule) = match flow.origin {
                Origin::Decided(by) => by_codes(by),
                Origin::Alg => (ESPIAL_PASS_BY_ALG, 0),
            };
            espial_record {
                kind: ESPIAL_RECORD_FLOW,
                by,
                rule,
                age_ms: flow.age_ms,
                idle_ms: flow.idle_ms,
                packet: packet_codes(&flow.packet()),
                ..none
            }
        }
        Record::End => espial_record { kind: ESPIAL_RECORD_END, ..none },
        // What the core may yet add: no kind that a call here restores.
        _ => none,
    }
}
