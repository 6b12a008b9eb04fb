//! Which rules a configuration needs (E1, E2): as many as flows are expected that nothing else admits.

use core::fmt;

use super::{Context, LookupSpi, PassRule, RuleAction, RuleId, VirtualServer};
use crate::headers::{Ipsec, protocol};
use crate::selector::{AddrRange, PortRange};
use crate::wire::{IKE_PORT, NAT_T_PORT};

/// Which peer may start a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Initiator {
    /// The inside one.
    Inside,
    /// The outside one.
    Outside,
    /// Either.
    Either,
}

/// Whether a NAT device between the peers moves IKE and ESP to UDP 4500 (RFC 3947, RFC 3948).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NatTraversal {
    /// There is none: IKE stays on UDP 500, ESP or AH is in IP.
    Never,
    /// There always is: after the first exchange everything is on UDP 4500. AH does not pass it.
    Always,
    /// There may be one some day; rules for both are wanted.
    Possible,
}

/// A configuration to ask [`rules_needed`] about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeededConfig {
    /// Are flows of ESP and AH keyed by their SPIs?
    pub lookupspi: LookupSpi,
    /// The virtual server that forwards, and whether it has an IPsec ALG profile.
    pub server: VirtualServer,
    /// Does the virtual server translate addresses, so that it leads to one peer only?
    pub translate_address: bool,
    /// Who may start.
    pub initiator: Initiator,
    /// The inside peers.
    pub inside: AddrRange,
    /// The outside peers.
    pub outside: AddrRange,
    /// ESP or AH.
    pub ipsec: Ipsec,
    /// Do the peers move to UDP 4500?
    pub nat_t: NatTraversal,
}

/// Which way the packets of a rule go.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Way {
    /// From the inside peers to the outside ones.
    Out,
    /// From the outside peers to the inside ones.
    In,
}

/// What a rule admits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Service {
    /// IKE, UDP to port 500.
    Ike,
    /// IKE and ESP in UDP, to port 4500.
    NatT,
    /// ESP in IP.
    Esp,
    /// AH in IP.
    Ah,
}

/// A rule that a configuration needs. Displayed by the names of seed 004: `OUT500`, `IN_ESP`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NeededRule {
    /// Which way.
    pub way: Way,
    /// What it admits.
    pub service: Service,
    /// Source addresses.
    pub src: AddrRange,
    /// Destination addresses.
    pub dst: AddrRange,
}

impl NeededRule {
    /// The rule to be configured: source ports any, accepted decisively, as in seed 004.
    pub fn rule(&self, id: RuleId, context: Context) -> PassRule {
        let (protocol, dst_ports) = match self.service {
            Service::Ike => (protocol::UDP, PortRange::new(IKE_PORT, IKE_PORT)),
            Service::NatT => (protocol::UDP, PortRange::new(NAT_T_PORT, NAT_T_PORT)),
            Service::Esp => (protocol::ESP, None),
            Service::Ah => (protocol::AH, None),
        };
        PassRule {
            id,
            context,
            action: RuleAction::AcceptDecisively,
            src: self.src,
            dst: self.dst,
            protocol,
            src_ports: PortRange::ANY,
            dst_ports: dst_ports.unwrap_or(PortRange::ANY),
        }
    }
}

impl fmt::Display for NeededRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.way {
            Way::Out => "OUT",
            Way::In => "IN",
        })?;
        f.write_str(match self.service {
            Service::Ike => "500",
            Service::NatT => "4500",
            Service::Esp => "_ESP",
            Service::Ah => "_AH",
        })
    }
}

/// What comes of a configuration that has the rules it needs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// Tunnels come up and carry traffic both ways.
    Works,
    /// Tunnels come up; ESP and AH of the peer that did not start are dropped, and no rule helps:
    /// the ALG relies on `lookupspi`. Only UDP 4500, where peers use it, works.
    ReturnDropped,
}

/// Rules that an answer can have: three services, two ways.
pub const NEEDED_MAX: usize = 6;

/// What [`rules_needed`] answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Needed {
    /// The rules; any order does.
    pub rules: heapless::Vec<NeededRule, NEEDED_MAX>,
    /// What comes of them.
    pub outcome: Outcome,
    /// Virtual servers needed: with the ALG one for each peer that starts, unless addresses are not
    /// translated, and one more for UDP 4500, which the ALG does not handle (E4).
    pub virtual_servers: u8,
}

/// The rules that a configuration needs: none of them can be left out.
///
/// For one peer that starts they are E2: 3 with `lookupspi`, 2 without, 1 with the ALG and
/// `lookupspi`, and 1 with the ALG alone, which does not help. If either may start they are what both
/// need together. The rules hold as long as the flow of ESP without `lookupspi` is made by the peer
/// that started: when it was idle for too long and the other peer sends first, that packet
/// needs a rule of its own (E1).
///
/// # Examples
/// ```
/// use espial::gate::passthrough::{
///     Initiator, LookupSpi, NatTraversal, NeededConfig, Outcome, VirtualServer, rules_needed,
/// };
/// use espial::headers::Ipsec;
///
/// let config = NeededConfig {
///     lookupspi: LookupSpi::On,
///     server: VirtualServer::FastL4,
///     translate_address: true,
///     initiator: Initiator::Inside,
///     inside: "1.1.1.1/32".parse().unwrap(),
///     outside: "2.2.2.2/32".parse().unwrap(),
///     ipsec: Ipsec::Esp,
///     nat_t: NatTraversal::Never,
/// };
/// let names = |config| -> Vec<_> {
///     rules_needed(config).rules.iter().map(|rule| rule.to_string()).collect()
/// };
/// assert_eq!(names(&config), ["OUT500", "OUT_ESP", "IN_ESP"]);
/// let off = NeededConfig { lookupspi: LookupSpi::Off, ..config };
/// assert_eq!(names(&off), ["OUT500", "OUT_ESP"]);
/// let server = VirtualServer::StandardWithAlg;
/// assert_eq!(names(&NeededConfig { server, ..config }), ["OUT500"]);
/// assert_eq!(rules_needed(&NeededConfig { server, ..off }).outcome, Outcome::ReturnDropped);
/// ```
pub fn rules_needed(config: &NeededConfig) -> Needed {
    let starts: &[Way] = match config.initiator {
        Initiator::Inside => &[Way::Out],
        Initiator::Outside => &[Way::In],
        Initiator::Either => &[Way::Out, Way::In],
    };
    let alg = config.server.has_alg();
    let native = config.nat_t != NatTraversal::Always;
    let encapsulated = config.nat_t != NatTraversal::Never;
    let ipsec = match config.ipsec {
        Ipsec::Esp => Service::Esp,
        Ipsec::Ah => Service::Ah,
    };
    let each_way = match config.lookupspi {
        LookupSpi::On => &[Way::Out, Way::In][..],
        LookupSpi::Off => starts,
    };
    let mut rules = heapless::Vec::new();
    let mut need = |ways: &[Way], service, wanted| {
        for &way in ways.iter().filter(|_| wanted) {
            let (src, dst) = match way {
                Way::Out => (config.inside, config.outside),
                Way::In => (config.outside, config.inside),
            };
            // Each pair of service and way comes once: there is room.
            let _ = rules.push(NeededRule { way, service, src, dst });
        }
    };
    need(starts, Service::Ike, true);
    need(starts, Service::NatT, encapsulated);
    need(each_way, ipsec, native && !alg);
    let dropped = alg && config.lookupspi == LookupSpi::Off && native;
    let each_start = match config.initiator {
        Initiator::Either if alg && config.translate_address => 2_u8,
        _ => 1,
    };
    let for_4500 = u8::from(alg && encapsulated);
    Needed {
        rules,
        outcome: if dropped { Outcome::ReturnDropped } else { Outcome::Works },
        virtual_servers: each_start.saturating_add(for_4500),
    }
}
