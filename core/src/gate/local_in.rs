//! Local-in policy: who may start to speak to the gateway itself (seeds 001 and 002).
//!
//! Owns an ordered list of policies for what is addressed to the gateway (IKE, HTTPS, ...), the named
//! addresses and services that they are written in, and the compiled form that packets are put to.
//! Knows nothing of sessions and SAs: the caller asks those first.
//!
//! ```text
//! configuration  names, policies ─▶ LocalInList ─ compile ─▶ words   (a new value each time)
//!                                       └─ hidden, deciders: what is wrong with it
//! packet         ESP, AH ───────────▶ the SA table, never here (B1)
//!                of a known session ▶ accepted, never here (C2)
//!                anything else ─────▶ LocalPacket ─▶ LocalIn::first ─▶ Answer
//!                                     with_counts ─▶ LocalInWorker::check ─▶ Answer + counts
//! ```
//! The first policy that covers a packet says what becomes of it. One without a written action denies
//! (B5). What none covers is accepted, as the documents show, or denied if the list says so.
//!
//! # The caller's part
//! - Policies judge what starts outside (C2). A packet of a session that exists passes without them.
//! - ESP and AH are the SA table's (B1), NAT-T and TCP included: [`LocalPacket::new`] refuses them. So a
//!   known SPI passes a policy that denies all, and an unknown one is not saved by one that accepts all.
//! - Fragments are reassembled first. A later fragment holds no ports: it meets only policies that
//!   ask for none (RFC 4301 section 7, T20).
//! - Policies for IPv4 say nothing of IPv6, whose packets may claim IPv4-mapped addresses: no such packet is to
//!   come from a wire, and a host drops it before.
//! - A schedule is a bit that the caller sets ([`Schedules`]). Nothing is compiled anew when it changes.
//!
//! # Interfaces
//! The matcher has no axis for interfaces. So each set of policies that belongs to some interface is a
//! list of its own in one block, and a sorted table leads from an interface to its list. Policies for
//! any interface are in a list of their own, which is asked besides, and are copied into another list
//! only where there are no more of them than of its own, or a few: words stay linear in what was written,
//! whatever the number of interfaces, and a packet is put to two lists at most.
//!
//! # Concurrency
//! [`LocalIn`] is a copyable view of words that do not change; any number of threads may ask.
//!
//! # Examples
//! ```
//! # #[cfg(feature = "alloc")] {
//! use espial::gate::local_in::{
//!     Action, AddressObject, By, IKE, Interfaces, LocalIn, LocalInList, LocalPacket, LocalInPolicy, PolicyId, Schedules,
//! };
//! use espial::headers::{Endpoints, Fragment, InnerHeaders, NextLayer, Outer};
//!
//! const WAN1: u32 = 7;
//! let names = |list: &[&str]| list.iter().map(|name| (*name).into()).collect::<Vec<String>>();
//! let mut list = LocalInList::new(Action::Accept);
//! list.set_address("all", AddressObject::Ranges(vec!["0.0.0.0/0".parse()?]));
//! list.set_address("remote-vpn", AddressObject::Ranges(vec!["203.0.113.10".parse()?]));
//! list.set_address(
//!     "All_exceptions",
//!     AddressObject::Group { member: names(&["all"]), exclude: names(&["remote-vpn"]) },
//! );
//! list.set_service("IKE", IKE.to_vec());
//! list.add(LocalInPolicy {
//!     id: PolicyId(1),
//!     interfaces: Interfaces::These(vec![WAN1]),
//!     source: names(&["All_exceptions"]),
//!     destination: names(&["all"]),
//!     service: names(&["IKE"]),
//!     schedule: None,
//!     action: None,
//! })?;
//!
//! let words = list.compile()?;
//! let local_in = LocalIn::open(&words)?;
//! let ike = |src| {
//!     let headers = InnerHeaders {
//!         endpoints: Endpoints::V4 { src, dst: 0x0a0a_0a01 },
//!         protocol: 17,
//!         next_layer: NextLayer::Ports { src: 500, dst: 500 },
//!         fragment: Fragment::None,
//!     };
//!     LocalPacket::new(&Outer::Ike, headers, WAN1).unwrap()
//! };
//! let stranger = local_in.first(&ike(0x0a0a_0a0d), Schedules::NONE);
//! assert_eq!(stranger.message().unwrap().to_string(), "iprope_in_check() check failed on policy 1, drop");
//! let peer = local_in.first(&ike(0xcb00_710a), Schedules::NONE);
//! assert!(peer.is_accept() && peer.by == By::Default);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod compiled;
mod counts;
#[cfg(feature = "alloc")]
mod lint;
#[cfg(feature = "alloc")]
mod list;
#[cfg(feature = "alloc")]
mod objects;
#[cfg(all(test, feature = "alloc"))]
mod tests;

use core::fmt;

pub use compiled::{LocalIn, OpenError};
pub use counts::{LocalInCounts, LocalInWorker};
#[cfg(feature = "alloc")]
pub use lint::{Admits, Deciders, HiddenPolicy, HiddenWhy};
#[cfg(feature = "alloc")]
pub use list::{Interfaces, LocalInError, LocalInList, LocalInPolicy, POLICY_SELECTORS_MAX};
#[cfg(feature = "alloc")]
pub use objects::{AddressObject, NESTING_MAX};

pub use crate::spd::PolicyId;

use crate::headers::{Endpoints, Family, Fragment, InnerHeaders, NextLayer, Outer, protocol};
use crate::selector::{AddrRange, PortRange, Selector, has_one_value};
use crate::wire::{IKE_PORT, NAT_T_PORT};

/// What becomes of a packet to the gateway.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum Action {
    /// It is dropped: what a policy without a written action says (B5).
    #[default]
    Deny = 0,
    /// It may come in.
    Accept = 1,
}

impl Action {
    /// All actions, in the order of their codes.
    pub const ALL: [Self; 2] = [Self::Deny, Self::Accept];

    /// The action of a code, or `None` if there is none.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Deny),
            1 => Some(Self::Accept),
            _ => None,
        }
    }

    /// `deny` or `accept`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Accept => "accept",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The caller's number for a time at which policies count: 0 to 63.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Schedule(u8);

impl Schedule {
    /// How many there are.
    pub const COUNT: u8 = 64;

    /// The schedule of this number, or `None` above 63.
    pub const fn new(number: u8) -> Option<Self> {
        if number < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// Which schedules are on, as the caller's clock says: bit n is schedule n.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Schedules(pub u64);

impl Schedules {
    /// None is on: only policies without a schedule count.
    pub const NONE: Self = Self(0);
    /// All are on.
    pub const ALL: Self = Self(u64::MAX);

    /// These and one more.
    #[must_use]
    pub const fn with(self, schedule: Schedule) -> Self {
        Self(self.0 | 1_u64.wrapping_shl(schedule.0 as u32))
    }

    /// These but for one.
    #[must_use]
    pub const fn without(self, schedule: Schedule) -> Self {
        Self(self.0 & !1_u64.wrapping_shl(schedule.0 as u32))
    }

    /// True if a policy of this schedule counts; without one it always does.
    #[inline]
    pub const fn admit(self, schedule: Option<Schedule>) -> bool {
        match schedule {
            None => true,
            Some(schedule) => self.0.wrapping_shr(schedule.0 as u32) & 1 == 1,
        }
    }
}

/// What packets a policy is for, beside their addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Service {
    /// Every packet.
    All,
    /// Every packet of a next layer protocol; 0 is every packet.
    Protocol(u8),
    /// A protocol with ports.
    Ports {
        /// The protocol: TCP, UDP, ...
        protocol: u8,
        /// Source ports; ANY as a rule.
        source: PortRange,
        /// Destination ports, those of the gateway.
        destination: PortRange,
    },
    /// ICMP or ICMPv6.
    Icmp {
        /// IPv4: ICMP; IPv6: ICMPv6.
        family: Family,
        /// Type * 256 + code, as [`icmp_value`](crate::selector::icmp_value) makes it.
        values: PortRange,
    },
}

/// Service IKE: UDP 500 and UDP 4500 (C1). Over TCP: [`Service::tcp`] of the port that is configured.
pub const IKE: [Service; 2] = [Service::udp(IKE_PORT), Service::udp(NAT_T_PORT)];

impl Service {
    /// One UDP port of the gateway.
    pub const fn udp(port: u16) -> Self {
        Self::one_port(protocol::UDP, port)
    }

    /// One TCP port of the gateway.
    pub const fn tcp(port: u16) -> Self {
        Self::one_port(protocol::TCP, port)
    }

    const fn one_port(protocol: u8, port: u16) -> Self {
        // A range from a port to itself is one.
        let destination = match PortRange::new(port, port) {
            Some(one) => one,
            None => PortRange::OPAQUE,
        };
        Self::Ports { protocol, source: PortRange::ANY, destination }
    }

    /// The protocol, 0 for all.
    pub const fn protocol(&self) -> u8 {
        match *self {
            Self::All => 0,
            Self::Protocol(protocol) | Self::Ports { protocol, .. } => protocol,
            Self::Icmp { family: Family::V4, .. } => protocol::ICMP,
            Self::Icmp { family: Family::V6, .. } => protocol::ICMPV6,
        }
    }

    /// True if ports stand with a protocol that has some.
    pub const fn is_valid(&self) -> bool {
        match *self {
            Self::Ports { protocol, .. } => protocol != 0 && !has_one_value(protocol),
            _ => true,
        }
    }

    /// True for services that local-in policy never sees: ESP and AH (B1).
    pub const fn is_never_judged(&self) -> bool {
        is_ipsec(self.protocol())
    }

    /// The packets of this service between two ranges, as the [`matcher`](crate::matcher) and
    /// `analysis` take them; `None` if the families differ.
    pub fn selector(&self, source: AddrRange, destination: AddrRange) -> Option<Selector> {
        let (remote_ports, local_ports) = match *self {
            Self::All | Self::Protocol(_) => (PortRange::ANY, PortRange::ANY),
            Self::Ports { source, destination, .. } => (source, destination),
            // One value, which is compared with the remote side (RFC 4301 section 4.4.1.3).
            Self::Icmp { values, .. } => (values, PortRange::ANY),
        };
        (source.family() == destination.family()).then_some(Selector {
            remote: source,
            local: destination,
            protocol: self.protocol(),
            remote_ports,
            local_ports,
        })
    }

    /// True if a packet is of this service, addresses aside.
    pub fn covers(&self, packet: &InnerHeaders) -> bool {
        if self.protocol() != 0 && self.protocol() != packet.protocol {
            return false;
        }
        let value = match packet.fragment {
            Fragment::NonInitial => NextLayer::Opaque,
            Fragment::None | Fragment::First => packet.next_layer,
        };
        match (*self, value) {
            (Self::All | Self::Protocol(_), _) => true,
            (Self::Ports { source, destination, .. }, NextLayer::Ports { src, dst }) => {
                source.contains(src) && destination.contains(dst)
            }
            (Self::Ports { source, destination, .. }, _) => {
                source.admits_opaque() && destination.admits_opaque()
            }
            (Self::Icmp { values, .. }, NextLayer::Icmp(value)) => values.contains(value),
            (Self::Icmp { values, .. }, _) => values.admits_opaque(),
        }
    }
}

const fn is_ipsec(protocol: u8) -> bool {
    matches!(protocol, protocol::ESP | protocol::AH)
}

/// ESP or AH, which the SA table judges and no policy (B1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotForPolicy;

impl fmt::Display for NotForPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ESP and AH are judged by their SPI, never by local-in policy")
    }
}

impl core::error::Error for NotForPolicy {}

/// A packet to the gateway itself that local-in policy may judge: not ESP, not AH.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalPacket {
    headers: InnerHeaders,
    interface: u32,
}

impl LocalPacket {
    /// A packet that came in on `interface`, the caller's number.
    ///
    /// `outer` is what [`wire::classify`](crate::wire::classify) says of it: ESP behind UDP 4500 looks
    /// like IKE in `headers`, and is ESP. What is in a TCP stream is not asked about, the connection is.
    ///
    /// # Errors
    /// [`NotForPolicy`]: ESP or AH, in IP, UDP or TCP.
    #[inline]
    pub const fn new(
        outer: &Outer,
        headers: InnerHeaders,
        interface: u32,
    ) -> Result<Self, NotForPolicy> {
        if matches!(outer, Outer::Ipsec(_)) || is_ipsec(headers.protocol) {
            return Err(NotForPolicy);
        }
        Ok(Self { headers, interface })
    }

    /// IKE from a port to the same one.
    pub(crate) const fn ike(endpoints: Endpoints, port: u16, interface: u32) -> Self {
        let headers = InnerHeaders {
            endpoints,
            protocol: protocol::UDP,
            next_layer: NextLayer::Ports { src: port, dst: port },
            fragment: Fragment::None,
        };
        Self { headers, interface }
    }

    /// Its headers.
    pub const fn headers(&self) -> &InnerHeaders {
        &self.headers
    }

    /// The interface it came in on.
    pub const fn interface(&self) -> u32 {
        self.interface
    }
}

/// Who decided.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum By {
    /// The first policy that covers the packet.
    Policy(PolicyId),
    /// No policy covers it.
    #[default]
    Default,
}

/// What local-in policy says of a packet.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Answer {
    /// What becomes of it.
    pub action: Action,
    /// Who says so.
    pub by: By,
}

impl Answer {
    /// True if the packet may come in.
    #[inline]
    pub const fn is_accept(self) -> bool {
        matches!(self.action, Action::Accept)
    }

    /// What a debug flow trace says of a drop (seeds 001 and 002); `None` if the packet was accepted.
    pub const fn message(self) -> Option<Message> {
        match self.action {
            Action::Deny => Some(Message(self.by)),
            Action::Accept => None,
        }
    }
}

/// The line of a debug flow trace about a drop: `iprope_in_check() check failed on policy 1, drop`.
///
/// The documents show no drop without a policy; such a line says policy 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message(By);

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = match self.0 {
            By::Policy(id) => id,
            By::Default => PolicyId(0),
        };
        write!(f, "iprope_in_check() check failed on {id}, drop")
    }
}

/// What local-in policy says of IKE between two addresses, 500 and 4500 apart (C3).
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IkeAnswers {
    /// UDP from 500 to 500.
    pub port_500: Answer,
    /// UDP from 4500 to 4500.
    pub port_4500: Answer,
}

impl IkeAnswers {
    /// True if the peer can open a session on one of the two: the opposite is what C6 warns of.
    pub const fn admits(self) -> bool {
        self.port_500.is_accept() || self.port_4500.is_accept()
    }
}
