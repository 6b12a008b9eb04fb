//! What is asked and what is answered.

use core::fmt;

use super::rule::Context;
use super::rules::DecidedBy;
use crate::gate::flow::FlowKey;
use crate::headers::{Endpoints, Fragment, InnerHeaders, NextLayer, Spi, protocol};
use crate::wire::{IKE_PORT, NAT_T_PORT};

/// Whether flows of ESP and AH are told apart by SPI.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum LookupSpi {
    /// A flow is one direction of one SPI. A rekey makes new flows, so rules must admit them at any
    /// time (T30).
    #[default]
    On,
    /// A flow is a pair of hosts, both directions and every SPI: two tunnels between the same hosts
    /// share it (T30).
    Off,
}

/// The virtual server that forwards packets. Only a standard one can have the IPsec ALG (E4); without it
/// both do the same here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum VirtualServer {
    /// FastL4: flows may be forwarded by hardware.
    #[default]
    FastL4,
    /// Standard, without an IPsec ALG profile.
    Standard,
    /// Standard, with one.
    StandardWithAlg,
}

impl VirtualServer {
    /// True if it has an IPsec ALG profile.
    pub const fn has_alg(self) -> bool {
        matches!(self, Self::StandardWithAlg)
    }
}

/// What a packet is to a firewall that forwards it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Traffic {
    /// ESP in IP.
    Esp(Spi),
    /// AH in IP.
    Ah(Spi),
    /// UDP: IKE to port 500, IKE and ESP to port 4500, and any other.
    Udp {
        /// Source port.
        src: u16,
        /// Destination port.
        dst: u16,
    },
    /// A later fragment of this protocol. It holds neither SPI nor ports: reassemble first, unless
    /// flows are host pairs.
    Fragment(u8),
}

/// A packet that a firewall is to forward.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PassPacket {
    /// Source and destination address.
    pub endpoints: Endpoints,
    /// What it is.
    pub traffic: Traffic,
}

impl PassPacket {
    /// The packet as rules are compared with it. ESP and AH have no ports.
    pub fn headers(&self) -> InnerHeaders {
        let (protocol, next_layer, fragment) = match self.traffic {
            Traffic::Esp(_) => (protocol::ESP, NextLayer::Opaque, Fragment::None),
            Traffic::Ah(_) => (protocol::AH, NextLayer::Opaque, Fragment::None),
            Traffic::Udp { src, dst } => {
                (protocol::UDP, NextLayer::Ports { src, dst }, Fragment::None)
            }
            Traffic::Fragment(protocol) => (protocol, NextLayer::Opaque, Fragment::NonInitial),
        };
        InnerHeaders { endpoints: self.endpoints, protocol, next_layer, fragment }
    }

    /// The flow that the packet would make. With `lookupspi` on, the ports of ESP and AH are the
    /// SPI's high and low 16 bits (E5, inferred from the values in seed 004: 2762 and 33901 are
    /// 0x0aca846d); off, they are 0, which tables show as `any`.
    ///
    /// # Errors
    /// [`PassDrop::SpiZero`], which would read as `any`, and [`PassDrop::Fragment`].
    #[inline]
    pub fn key(&self, lookupspi: LookupSpi) -> Result<FlowKey, PassDrop> {
        let (protocol, src_port, dst_port) = match (self.traffic, lookupspi) {
            (Traffic::Udp { src, dst }, _) => (protocol::UDP, src, dst),
            (Traffic::Esp(Spi(0)) | Traffic::Ah(Spi(0)), LookupSpi::On) => {
                return Err(PassDrop::SpiZero);
            }
            (Traffic::Esp(spi), LookupSpi::On) => halves(protocol::ESP, spi),
            (Traffic::Ah(spi), LookupSpi::On) => halves(protocol::AH, spi),
            (Traffic::Esp(_) | Traffic::Fragment(protocol::ESP), LookupSpi::Off) => {
                (protocol::ESP, 0, 0)
            }
            (Traffic::Ah(_) | Traffic::Fragment(protocol::AH), LookupSpi::Off) => {
                (protocol::AH, 0, 0)
            }
            (Traffic::Fragment(_), _) => return Err(PassDrop::Fragment),
        };
        Ok(FlowKey { endpoints: self.endpoints, protocol, src_port, dst_port })
    }
}

fn halves(protocol: u8, Spi(spi): Spi) -> (u8, u16, u16) {
    (protocol, (spi >> 16) as u16, spi as u16)
}

/// What kind of flow a key is of: each has an idle timeout of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FlowKind {
    /// IKE: UDP to port 500.
    Ike,
    /// IKE and ESP behind a NAT: UDP with a port 4500.
    NatT,
    /// ESP.
    Esp,
    /// AH.
    Ah,
    /// Any other UDP.
    Other,
}

impl FlowKind {
    /// The kind of a flow's key, as the packet that made it has it.
    pub fn of(key: &FlowKey) -> Self {
        match key.protocol {
            protocol::ESP => Self::Esp,
            protocol::AH => Self::Ah,
            // First: the ALG must never see 4500 (E4).
            _ if key.src_port == NAT_T_PORT || key.dst_port == NAT_T_PORT => Self::NatT,
            _ if key.dst_port == IKE_PORT => Self::Ike,
            _ => Self::Other,
        }
    }

    /// True for ESP and AH.
    pub fn is_ipsec(self) -> bool {
        matches!(self, Self::Esp | Self::Ah)
    }
}

/// Who admitted a flow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Origin {
    /// A rule, or the default.
    Decided(DecidedBy),
    /// The IPsec ALG.
    Alg,
}

/// Why a packet was dropped and its sender not told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum PassDrop {
    /// A rule or the default says so.
    Decided(DecidedBy),
    /// It answers the ALG's flow of a host pair, and the ALG relies on `lookupspi`, which is off: no
    /// rule helps (E2).
    AlgNeedsLookupSpi,
    /// It is admitted, but there is no room for its flow. Live flows go on.
    TableFull,
    /// SPI 0 is never on the wire (RFC 4303 section 2.1).
    SpiZero,
    /// A later fragment has nothing to find its flow by: reassemble first.
    Fragment,
}

impl PassDrop {
    /// How many reasons there are.
    pub const COUNT: usize = 5;

    /// A number below [`PassDrop::COUNT`], never reused.
    pub const fn index(self) -> usize {
        match self {
            Self::Decided(_) => 0,
            Self::AlgNeedsLookupSpi => 1,
            Self::TableFull => 2,
            Self::SpiZero => 3,
            Self::Fragment => 4,
        }
    }
}

impl fmt::Display for PassDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decided(by) => by.fmt(f),
            Self::AlgNeedsLookupSpi => f.write_str("the ALG relies on lookupspi"),
            Self::TableFull => f.write_str("no room for one more flow"),
            Self::SpiZero => f.write_str("SPI 0"),
            Self::Fragment => f.write_str("a later fragment: reassemble first"),
        }
    }
}

/// What becomes of a packet.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PassVerdict {
    /// It is dropped and its sender not told.
    Drop(PassDrop),
    /// It is dropped and its sender told, because a rule or the default says so.
    Reject(DecidedBy),
    /// A rule or the default admitted it and its flow was made.
    Accept(DecidedBy),
    /// It belongs to a flow that a rule or the default admitted.
    AcceptFlow,
    /// The ALG admitted its flow, before or now.
    AcceptAlg,
}

impl Default for PassVerdict {
    /// Nothing was asked yet: dropped.
    fn default() -> Self {
        Self::Drop(PassDrop::Decided(DecidedBy::Default))
    }
}

impl PassVerdict {
    /// True if the packet is forwarded.
    pub const fn is_accept(self) -> bool {
        matches!(self, Self::Accept(_) | Self::AcceptFlow | Self::AcceptAlg)
    }

    /// `drop`, `reject`, `accept`, `accept_flow` or `accept_alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop(_) => "drop",
            Self::Reject(_) => "reject",
            Self::Accept(_) => "accept",
            Self::AcceptFlow => "accept_flow",
            Self::AcceptAlg => "accept_alg",
        }
    }
}

impl fmt::Display for PassVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Drop(why) => write!(f, ": {why}"),
            Self::Reject(by) | Self::Accept(by) => write!(f, ": {by}"),
            Self::AcceptFlow | Self::AcceptAlg => Ok(()),
        }
    }
}

/// What a firewall says of a packet.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct PassAnswer {
    /// What becomes of it.
    pub verdict: PassVerdict,
    /// Where rules decided; `None` if they were not asked.
    pub context: Option<Context>,
    /// True if it made a flow.
    pub is_new: bool,
    /// What a log says of it: addresses, protocol, and ports as the flow table shows them (E5).
    /// `None` for a packet that no flow can be made of.
    pub key: Option<FlowKey>,
}
