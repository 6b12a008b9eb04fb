//! Rules, packets and flows of a firewall in the middle.

use espial::gate::passthrough::{
    Context, DecidedBy, LookupSpi, Origin, PassAnswer, PassConfig, PassCounts, PassDrop, PassFlow,
    PassPacket, PassTimeouts, PassVerdict, RuleAction, Teardown, TeardownKind, Traffic,
    VirtualServer,
};
#[cfg(any(feature = "alloc", test))]
use espial::gate::passthrough::{PassRule, RuleId};
use espial::headers::Spi;
#[cfg(any(feature = "alloc", test))]
use espial::selector::PortRange;

#[cfg(any(feature = "alloc", test))]
use super::range;
use super::sessions::NO_FLOW;
use super::{VALUE, endpoints_codes, endpoints_of, flow_codes};
use crate::status::Status;
use crate::types::*;

const _: () = {
    assert!(ESPIAL_RULE_DROP == RuleAction::Drop as u8);
    assert!(ESPIAL_RULE_REJECT == RuleAction::Reject as u8);
    assert!(ESPIAL_RULE_ACCEPT == RuleAction::Accept as u8);
    assert!(ESPIAL_RULE_ACCEPT_DECISIVELY == RuleAction::AcceptDecisively as u8);
    assert!(ESPIAL_CONTEXT_GLOBAL == context_code(Some(Context::Global)));
    assert!(ESPIAL_CONTEXT_ROUTE_DOMAIN == context_code(Some(Context::RouteDomain)));
    assert!(ESPIAL_CONTEXT_VIRTUAL_SERVER == context_code(Some(Context::VirtualServer)));
    assert!(ESPIAL_TEARDOWN_AH == teardown_code(TeardownKind::Ah));
    assert!(ESPIAL_TEARDOWN_IKE == teardown_code(TeardownKind::Ike));
    assert!(ESPIAL_TEARDOWN_ESP == teardown_code(TeardownKind::Esp));
    assert!(ESPIAL_PASS_DROP_DECIDED == drop_code(PassDrop::Decided(DecidedBy::Default)));
    assert!(ESPIAL_PASS_DROP_ALG_NEEDS_LOOKUPSPI == drop_code(PassDrop::AlgNeedsLookupSpi));
    assert!(ESPIAL_PASS_DROP_TABLE_FULL == drop_code(PassDrop::TableFull));
    assert!(ESPIAL_PASS_DROP_SPI_ZERO == drop_code(PassDrop::SpiZero));
    assert!(ESPIAL_PASS_DROP_FRAGMENT == drop_code(PassDrop::Fragment));
    assert!(PassDrop::COUNT < 16 && TeardownKind::ALL.len() < 8, "room in the counts");
};

/// Codes start at 1: 0 is none.
const fn context_code(context: Option<Context>) -> u8 {
    match context {
        None => ESPIAL_CONTEXT_NONE,
        Some(context) => context as u8 + 1,
    }
}

const fn teardown_code(kind: TeardownKind) -> u8 {
    kind as u8 + 1
}

const fn drop_code(why: PassDrop) -> u8 {
    why.index() as u8 + 1
}

#[cfg(any(feature = "alloc", test))]
pub fn rule_action(code: u32) -> Result<RuleAction, Status> {
    u8::try_from(code).ok().and_then(RuleAction::from_code).ok_or(VALUE)
}

#[cfg(any(feature = "alloc", test))]
pub fn rule(r: &espial_passthrough_rule) -> Result<PassRule, Status> {
    let context = r.context.checked_sub(1);
    let context = context.and_then(|nth| Context::ALL.into_iter().nth(nth.into())).ok_or(VALUE)?;
    let addrs = |lo, hi| {
        let (family, exclude, reserved) = (r.family, 0, 0);
        range(&espial_range { family, exclude, reserved, lo, hi }).map(|(addrs, _)| addrs)
    };
    let ports = |lo, hi| PortRange::new(lo, hi).ok_or(Status(ESPIAL_ESELECTOR));
    Ok(PassRule {
        id: RuleId(r.id),
        context,
        action: rule_action(r.action.into())?,
        src: addrs(r.src_lo, r.src_hi)?,
        dst: addrs(r.dst_lo, r.dst_hi)?,
        protocol: r.protocol,
        src_ports: ports(r.src_port_lo, r.src_port_hi)?,
        dst_ports: ports(r.dst_port_lo, r.dst_port_hi)?,
    })
}

pub fn passthrough_config(c: &espial_passthrough_config) -> Result<PassConfig, Status> {
    let lookupspi = match c.lookupspi {
        0 => LookupSpi::Off,
        1 => LookupSpi::On,
        _ => return Err(VALUE),
    };
    let server = match (c.server, c.reserved) {
        (ESPIAL_SERVER_FASTL4, 0) => VirtualServer::FastL4,
        (ESPIAL_SERVER_STANDARD, 0) => VirtualServer::Standard,
        (ESPIAL_SERVER_STANDARD_ALG, 0) => VirtualServer::StandardWithAlg,
        _ => return Err(VALUE),
    };
    let idle = |ms: u32| if ms == 0 { ESPIAL_PASSTHROUGH_IDLE_MS } else { ms };
    let timeouts = PassTimeouts {
        ike_ms: idle(c.ike_ms),
        nat_t_ms: idle(c.nat_t_ms),
        esp_ms: idle(c.esp_ms),
        ah_ms: idle(c.ah_ms),
        other_ms: idle(c.other_ms),
    };
    Ok(PassConfig { lookupspi, server, timeouts })
}

fn traffic(p: &espial_passthrough_packet) -> Result<Traffic, Status> {
    match (p.kind, p.protocol, p.reserved) {
        (ESPIAL_PASSTHROUGH_ESP, 0, 0) => Ok(Traffic::Esp(Spi(p.spi))),
        (ESPIAL_PASSTHROUGH_AH, 0, 0) => Ok(Traffic::Ah(Spi(p.spi))),
        (ESPIAL_PASSTHROUGH_UDP, 0, 0) => Ok(Traffic::Udp { src: p.sport, dst: p.dport }),
        (ESPIAL_PASSTHROUGH_FRAGMENT, protocol, 0) => Ok(Traffic::Fragment(protocol)),
        _ => Err(VALUE),
    }
}

#[inline]
pub fn passthrough_packet(p: &espial_passthrough_packet) -> Result<PassPacket, Status> {
    let traffic = traffic(p)?;
    Ok(PassPacket { endpoints: endpoints_of(p.family, &p.src, &p.dst)?, traffic })
}

/// Whether [`passthrough_packet`] takes it, from its codes alone.
#[inline]
pub fn test_passthrough(p: &espial_passthrough_packet) -> Result<(), Status> {
    traffic(p)?;
    endpoints_of(p.family, &[0; 16], &[0; 16])?;
    Ok(())
}

/// Who decided, and the rule.
pub(super) fn by_codes(by: DecidedBy) -> (u8, u32) {
    match by {
        DecidedBy::Rule(id) => (ESPIAL_PASS_BY_RULE, id.0),
        DecidedBy::Default => (ESPIAL_PASS_BY_DEFAULT, 0),
    }
}

#[inline]
pub fn passthrough_codes(answer: &PassAnswer) -> espial_passthrough_answer {
    let none = (ESPIAL_PASS_BY_NONE, 0);
    let (verdict, reason, (by, rule)) = match answer.verdict {
        PassVerdict::Drop(why) => {
            let by = if let PassDrop::Decided(by) = why { by_codes(by) } else { none };
            (ESPIAL_PASS_DROP, drop_code(why), by)
        }
        PassVerdict::Reject(by) => (ESPIAL_PASS_REJECT, ESPIAL_PASS_DROP_NONE, by_codes(by)),
        PassVerdict::Accept(by) => (ESPIAL_PASS_ACCEPT, ESPIAL_PASS_DROP_NONE, by_codes(by)),
        PassVerdict::AcceptFlow => (ESPIAL_PASS_ACCEPT_FLOW, ESPIAL_PASS_DROP_NONE, none),
        PassVerdict::AcceptAlg => (ESPIAL_PASS_ACCEPT_ALG, ESPIAL_PASS_DROP_NONE, none),
    };
    espial_passthrough_answer {
        verdict,
        reason,
        by,
        context: context_code(answer.context),
        rule,
        is_new: answer.is_new.into(),
        reserved: [0; 3],
        flow: answer.key.as_ref().map_or(NO_FLOW, flow_codes),
    }
}

pub fn passthrough_flow_codes(flow: &PassFlow) -> espial_passthrough_flow {
    let (by, rule) = match flow.origin {
        Origin::Decided(by) => by_codes(by),
        Origin::Alg => (ESPIAL_PASS_BY_ALG, 0),
    };
    espial_passthrough_flow {
        made_ms: flow.made_ms,
        idle_ms: flow.idle_ms,
        rule,
        by,
        reserved: [0; 3],
        flow: flow_codes(&flow.key),
    }
}

pub fn teardown_codes(event: &Teardown) -> espial_teardown {
    let (family, src, dst) = endpoints_codes(&event.endpoints);
    espial_teardown {
        time_ms: event.time_ms,
        age_ms: event.age_ms,
        kind: teardown_code(event.kind),
        family,
        sport: event.src_port,
        suppressed: event.suppressed,
        src,
        dst,
    }
}

pub fn passthrough_counts_codes(counts: &PassCounts, size: usize) -> espial_passthrough_counts {
    let (mut drops, mut teardowns) = ([0; 16], [0; 8]);
    // By codes, which start at 1.
    drops.iter_mut().skip(1).zip(counts.drops).for_each(|(cell, count)| *cell = count);
    teardowns.iter_mut().skip(1).zip(counts.teardowns).for_each(|(cell, count)| *cell = count);
    espial_passthrough_counts {
        size: size as u32,
        reserved: 0,
        accepted: counts.accepted,
        accepted_flow: counts.accepted_flow,
        accepted_alg: counts.accepted_alg,
        rejected: counts.rejected,
        alg_full: counts.alg_full,
        drops,
        teardowns,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_times_and_actions_are_the_cores() {
        assert_eq!(PassTimeouts::default().esp_ms, ESPIAL_PASSTHROUGH_IDLE_MS);
        for code in [4, 256, u32::MAX] {
            assert_eq!(rule_action(code), Err(VALUE));
        }
    }
}
