//! What a rule is: which packets, in which context, and what becomes of them.

use core::fmt;

use crate::headers::{InnerHeaders, protocol};
use crate::selector::{
    AddrRange, PairError, PortRange, Selector, Side, TrafficSelector, has_one_value,
};

/// The caller's number for a rule. Several boxes of one rule (address lists, port lists) have the
/// same; nothing else tests it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RuleId(pub u32);

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}", self.0)
    }
}

/// What a rule does with a packet that it is the first to cover.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum RuleAction {
    /// The packet goes no further and nobody is told.
    #[default]
    Drop = 0,
    /// The packet goes no further and its sender is told.
    Reject = 1,
    /// It passes this context; the next one is asked.
    Accept = 2,
    /// It passes all contexts; no other is asked.
    AcceptDecisively = 3,
}

impl RuleAction {
    /// All actions, in the order of their codes.
    pub const ALL: [Self; 4] = [Self::Drop, Self::Reject, Self::Accept, Self::AcceptDecisively];

    /// The action of a code, or `None` if there is none.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Drop),
            1 => Some(Self::Reject),
            2 => Some(Self::Accept),
            3 => Some(Self::AcceptDecisively),
            _ => None,
        }
    }

    /// As configurations write it: `drop`, `reject`, `accept`, `accept-decisively`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Reject => "reject",
            Self::Accept => "accept",
            Self::AcceptDecisively => "accept-decisively",
        }
    }
}

impl fmt::Display for RuleAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a rule stands. A packet without a flow is put to one after the other.
///
/// The first two let it on when none of their rules covers it; the last one has a default.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Context {
    /// The whole firewall.
    Global = 0,
    /// One routing table.
    RouteDomain = 1,
    /// The virtual server that forwards the packet.
    VirtualServer = 2,
}

impl Context {
    /// All contexts, in the order in which they are asked.
    pub const ALL: [Self; 3] = [Self::Global, Self::RouteDomain, Self::VirtualServer];

    /// As logs write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Global => "Global",
            Self::RouteDomain => "Route Domain",
            Self::VirtualServer => "Virtual Server",
        }
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One rule, or one box of a rule that has lists of addresses or ports.
///
/// # Examples
/// ```
/// use espial::gate::passthrough::{Context, PassRule, RuleAction, RuleId};
/// use espial::selector::PortRange;
///
/// // velascoOUT500
/// let rule = PassRule {
///     id: RuleId(11),
///     context: Context::Global,
///     action: RuleAction::AcceptDecisively,
///     src: "1.1.1.1/32".parse().unwrap(),
///     dst: "2.2.2.2/32".parse().unwrap(),
///     protocol: 17,
///     src_ports: PortRange::ANY,
///     dst_ports: PortRange::new(500, 500).unwrap(),
/// };
/// assert!(rule.validate().is_ok());
/// // ESP has no ports: what a flow table shows in their place is the SPI.
/// assert!(PassRule { protocol: 50, ..rule }.validate().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PassRule {
    /// The caller's number for it, which answers repeat.
    pub id: RuleId,
    /// Where it stands.
    pub context: Context,
    /// What becomes of packets that it covers.
    pub action: RuleAction,
    /// Source addresses.
    pub src: AddrRange,
    /// Destination addresses, of the same family.
    pub dst: AddrRange,
    /// Protocol; 0 is any.
    pub protocol: u8,
    /// Source ports; ANY where the protocol has none.
    pub src_ports: PortRange,
    /// Destination ports; ANY where the protocol has none.
    pub dst_ports: PortRange,
}

impl PassRule {
    /// Tests what the public fields cannot promise.
    ///
    /// # Errors
    /// [`RuleFault`]: reversed addresses, ports without a protocol or with ESP or AH, two families.
    pub fn validate(&self) -> Result<(), RuleFault> {
        let Self { src, dst, protocol, src_ports, dst_ports, .. } = *self;
        for (side, addrs, ports) in [(Side::Remote, src, src_ports), (Side::Local, dst, dst_ports)]
        {
            TrafficSelector { addrs, protocol, ports }
                .validate()
                .map_err(|cause| RuleFault::Selector(PairError { side, index: 0, cause }))?;
            if matches!(protocol, protocol::ESP | protocol::AH) && !ports.is_any() {
                return Err(RuleFault::PortsOfIpsec);
            }
        }
        if src.family() != dst.family() {
            return Err(RuleFault::Families);
        }
        Ok(())
    }

    /// True if the rule covers a packet: the naive twin of the matcher.
    pub fn covers(&self, packet: &InnerHeaders) -> bool {
        self.selector().covers(packet)
    }

    /// The rule as the [`matcher`](crate::matcher) and `analysis` take it: the source is the remote side. ICMP and
    /// Mobility Header have one value, which is that side's.
    pub fn selector(&self) -> Selector {
        let one_value = has_one_value(self.protocol);
        Selector {
            remote: self.src,
            local: self.dst,
            protocol: self.protocol,
            remote_ports: self.src_ports,
            local_ports: if one_value { PortRange::ANY } else { self.dst_ports },
        }
    }

    /// The rule's number, and the action in the low bits.
    pub(super) fn word(&self) -> u64 {
        u64::from(self.id.0) << 32 | u64::from(self.action as u8)
    }
}

/// What is wrong with one rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RuleFault {
    /// Reversed addresses, or ports under protocol any. The remote side is the source.
    Selector(PairError),
    /// ESP and AH have no ports.
    PortsOfIpsec,
    /// Source and destination are of two families.
    Families,
    /// The box before it has the same number but another context or action.
    Mixed,
}

impl fmt::Display for RuleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Selector(error) => error.fmt(f),
            Self::PortsOfIpsec => f.write_str("ESP and AH have no ports"),
            Self::Families => f.write_str("source and destination are of two families"),
            Self::Mixed => f.write_str("two boxes of one rule differ in context or action"),
        }
    }
}

impl core::error::Error for RuleFault {}
