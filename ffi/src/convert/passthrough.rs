//! Rules, packets and flows of a firewall in the middle.

use espial::gate::passthrough::{
    Context, DecidedBy, Initiator, LookupSpi, NEEDED_MAX, NatTraversal, Needed, NeededConfig,
    NeededRule, Origin, Outcome, PassAnswer, PassConfig, PassCounts, PassDrop, PassFlow,
    PassPacket, PassRule, PassTimeouts, PassVerdict, RuleAction, RuleId, Service, Teardown,
    TeardownKind, Traffic, VirtualServer, Way,
};
use espial::headers::Spi;
#[cfg(any(feature = "alloc", test))]
use espial::selector::PortRange;
use espial::selector::TrafficSelector;

use super::sessions::NO_FLOW;
use super::{VALUE, endpoints_codes, endpoints_of, flow_codes, ipsec, range, range_codes};
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
    assert!(ESPIAL_NEEDED_RULES == NEEDED_MAX);
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

/// A context that rules stand in.
pub fn context(code: u32) -> Result<Context, Status> {
    let nth = code.checked_sub(1).ok_or(VALUE)?;
    Context::ALL.into_iter().nth(nth as usize).ok_or(VALUE)
}

#[cfg(any(feature = "alloc", test))]
pub fn rule_action(code: u32) -> Result<RuleAction, Status> {
    u8::try_from(code).ok().and_then(RuleAction::from_code).ok_or(VALUE)
}

#[cfg(any(feature = "alloc", test))]
pub fn rule(r: &espial_passthrough_rule) -> Result<PassRule, Status> {
    let context = context(r.context.into())?;
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

fn lookupspi(code: u8) -> Result<LookupSpi, Status> {
    match code {
        0 => Ok(LookupSpi::Off),
        1 => Ok(LookupSpi::On),
        _ => Err(VALUE),
    }
}

fn server(code: u8) -> Result<VirtualServer, Status> {
    match code {
        ESPIAL_SERVER_FASTL4 => Ok(VirtualServer::FastL4),
        ESPIAL_SERVER_STANDARD => Ok(VirtualServer::Standard),
        ESPIAL_SERVER_STANDARD_ALG => Ok(VirtualServer::StandardWithAlg),
        _ => Err(VALUE),
    }
}

pub fn needed_config(c: &espial_needed_config) -> Result<NeededConfig, Status> {
    let addrs = |lo, hi| {
        let (family, exclude, reserved) = (c.family, 0, 0);
        let (addrs, _) = range(&espial_range { family, exclude, reserved, lo, hi })?;
        let sound = TrafficSelector::any(addrs).validate();
        sound.map(|()| addrs).map_err(|_| Status(ESPIAL_ESELECTOR))
    };
    Ok(NeededConfig {
        lookupspi: lookupspi(c.lookupspi)?,
        server: server(c.server)?,
        translate_address: match (c.translate_address, c.reserved) {
            (0, 0) => false,
            (1, 0) => true,
            _ => return Err(VALUE),
        },
        initiator: match c.initiator {
            ESPIAL_INITIATOR_INSIDE => Initiator::Inside,
            ESPIAL_INITIATOR_OUTSIDE => Initiator::Outside,
            ESPIAL_INITIATOR_EITHER => Initiator::Either,
            _ => return Err(VALUE),
        },
        inside: addrs(c.inside_lo, c.inside_hi)?,
        outside: addrs(c.outside_lo, c.outside_hi)?,
        ipsec: ipsec(c.ipsec)?,
        nat_t: match c.nat_t {
            ESPIAL_NAT_T_NEVER => NatTraversal::Never,
            ESPIAL_NAT_T_ALWAYS => NatTraversal::Always,
            ESPIAL_NAT_T_POSSIBLE => NatTraversal::Possible,
            _ => return Err(VALUE),
        },
    })
}

fn rule_codes(rule: &PassRule) -> espial_passthrough_rule {
    let (family, src_lo, src_hi) = range_codes(&rule.src);
    let (_, dst_lo, dst_hi) = range_codes(&rule.dst);
    espial_passthrough_rule {
        id: rule.id.0,
        context: context_code(Some(rule.context)),
        action: rule.action as u8,
        family,
        protocol: rule.protocol,
        src_port_lo: rule.src_ports.lo(),
        src_port_hi: rule.src_ports.hi(),
        dst_port_lo: rule.dst_ports.lo(),
        dst_port_hi: rule.dst_ports.hi(),
        src_lo,
        src_hi,
        dst_lo,
        dst_hi,
    }
}

pub fn needed_rule_codes(rule: &NeededRule, place: u32, context: Context) -> espial_needed_rule {
    espial_needed_rule {
        way: match rule.way {
            Way::Out => ESPIAL_WAY_OUT,
            Way::In => ESPIAL_WAY_IN,
        },
        service: match rule.service {
            Service::Ike => ESPIAL_NEEDED_IKE,
            Service::NatT => ESPIAL_NEEDED_NAT_T,
            Service::Esp => ESPIAL_NEEDED_ESP,
            Service::Ah => ESPIAL_NEEDED_AH,
        },
        reserved: 0,
        rule: rule_codes(&rule.rule(RuleId(place), context)),
    }
}

pub fn needed_codes(needed: &Needed) -> espial_needed {
    let outcome = match needed.outcome {
        Outcome::Works => ESPIAL_OUTCOME_WORKS,
        Outcome::ReturnDropped => ESPIAL_OUTCOME_RETURN_DROPPED,
    };
    espial_needed { outcome, virtual_servers: needed.virtual_servers, reserved: 0 }
}

pub fn passthrough_config(c: &espial_passthrough_config) -> Result<PassConfig, Status> {
    let (lookupspi, server) = (lookupspi(c.lookupspi)?, server(c.server)?);
    if c.reserved != 0 {
        return Err(VALUE);
    }
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
