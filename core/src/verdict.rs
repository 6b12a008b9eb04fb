//! The answer, and every reason there is for a drop.
//!
//! One enum feeds the verdict, the event, the counter and the constant in C. Codes and names are
//! append-only: they are never renumbered and never reused.

use crate::control::{ChildId, TunnelId};

/// What is wrong with the octets of a packet. Each malformation has its own reason.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Malformed {
    /// The version field is neither 4 nor 6.
    IpVersion = 0,
    /// Fewer octets than the fixed IP header, or an IPv4 header length below 20 or past the end.
    IpHeader = 1,
    /// IPv4 total length below the header's or IP length past the octets that arrived.
    IpLength = 2,
    /// An IPv6 extension header runs past the end of the packet.
    Extension = 3,
    /// Hop-by-hop options that do not come first (RFC 8200 section 4.1).
    ExtensionOrder = 4,
    /// More extension headers, or more octets of them, than the stated limit.
    ExtensionLimit = 5,
    /// A fragment that reaches past the largest IP packet.
    Fragment = 6,
    /// A UDP length below 8 or past the end of the IP payload.
    Udp = 7,
    /// Fewer octets than an SPI and a sequence number.
    Esp = 8,
    /// An AH whose length field is too small, runs past the end, or does not fit its IP version.
    Ah = 9,
    /// A payload on UDP 4500 that is neither keepalive, marker nor ESP.
    NatT = 10,
    /// A length of 0 or 1 in a TCP stream, or a stream without its prefix (RFC 9329).
    TcpFrame = 11,
    /// The next header of the decrypted packet is not what the SA's mode or the inner version
    /// field demands.
    NextHeader = 12,
    /// Too short for the ports, type or code of its next layer protocol.
    NextLayer = 13,
    /// A Routing Header of type 0 with segments left (RFC 5095).
    RoutingHeader = 14,
}

impl Malformed {
    /// All malformations, in the order of their codes.
    pub const ALL: [Self; 15] = [
        Self::IpVersion,
        Self::IpHeader,
        Self::IpLength,
        Self::Extension,
        Self::ExtensionOrder,
        Self::ExtensionLimit,
        Self::Fragment,
        Self::Udp,
        Self::Esp,
        Self::Ah,
        Self::NatT,
        Self::TcpFrame,
        Self::NextHeader,
        Self::NextLayer,
        Self::RoutingHeader,
    ];
}

/// Why a packet is dropped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reason {
    /// No SA for this SPI (and destination and source); see [`SpiClass`].
    UnknownSpi,
    /// The SA's own selectors do not cover the packet, another Child SA's of the tunnel do.
    WrongSa,
    /// No selector of the tunnel covers the packet.
    NoSelector,
    /// A non-initial fragment that only its missing ports keep from a selector (RFC 4301
    /// section 7).
    FragmentNoPorts,
    /// An ESP or AH packet in a fragment: reassemble first.
    OuterFragment,
    /// Known SA, but UDP or TCP encapsulation differs from the SA's.
    WrongEncap,
    /// The integrity check failed. Found by the caller, counted here.
    AuthFailed,
    /// The ESP padding is wrong. Found by the caller, counted here.
    BadPadding,
    /// The sequence number is a replay or left of the window.
    Replay,
    /// The caller has no key or cipher for this SA.
    NotOpened,
    /// The SA's lifetime is over.
    SaExpired,
    /// A dummy packet, next header 59: RFC 4303 section 2.6 says discard without an error, so it
    /// is counted and makes no event.
    Dummy,
    /// The octets make no sense.
    Malformed(Malformed),
}

impl Reason {
    /// Number of reasons: the length of an array that [`Reason::index`] indexes.
    pub const COUNT: usize = 27;

    /// Position of this reason in [`Reason::all`]. Dense, and not stable as [`Reason::code`] is.
    pub const fn index(self) -> usize {
        match self {
            Self::Malformed(what) => 12 + what as usize,
            plain => plain.code() as usize - 1,
        }
    }

    /// All reasons, in the order of their codes.
    pub fn all() -> impl Iterator<Item = Self> {
        const PLAIN: [Reason; 12] = [
            Reason::UnknownSpi,
            Reason::WrongSa,
            Reason::NoSelector,
            Reason::FragmentNoPorts,
            Reason::OuterFragment,
            Reason::WrongEncap,
            Reason::AuthFailed,
            Reason::BadPadding,
            Reason::Replay,
            Reason::NotOpened,
            Reason::SaExpired,
            Reason::Dummy,
        ];
        PLAIN.into_iter().chain(Malformed::ALL.into_iter().map(Self::Malformed))
    }

    /// The stable code of this reason, 1 to 255; 0 is no reason. Malformations start at 32.
    pub const fn code(self) -> u8 {
        match self {
            Self::UnknownSpi => 1,
            Self::WrongSa => 2,
            Self::NoSelector => 3,
            Self::FragmentNoPorts => 4,
            Self::OuterFragment => 5,
            Self::WrongEncap => 6,
            Self::AuthFailed => 7,
            Self::BadPadding => 8,
            Self::Replay => 9,
            Self::NotOpened => 10,
            Self::SaExpired => 11,
            Self::Dummy => 12,
            Self::Malformed(what) => 32 + what as u8,
        }
    }

    /// The reason with this code, or `None` for 0 and for codes not in use.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::all().find(|reason| reason.code() == code)
    }

    /// The stable name of this reason, as the command line and `ESPIAL_DROP_*` spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownSpi => "unknown_spi",
            Self::WrongSa => "wrong_sa",
            Self::NoSelector => "no_selector",
            Self::FragmentNoPorts => "fragment_no_ports",
            Self::OuterFragment => "outer_fragment",
            Self::WrongEncap => "wrong_encap",
            Self::AuthFailed => "auth_failed",
            Self::BadPadding => "bad_padding",
            Self::Replay => "replay",
            Self::NotOpened => "not_opened",
            Self::SaExpired => "sa_expired",
            Self::Dummy => "dummy",
            Self::Malformed(Malformed::IpVersion) => "malformed_ip_version",
            Self::Malformed(Malformed::IpHeader) => "malformed_ip_header",
            Self::Malformed(Malformed::IpLength) => "malformed_ip_length",
            Self::Malformed(Malformed::Extension) => "malformed_extension",
            Self::Malformed(Malformed::ExtensionOrder) => "malformed_extension_order",
            Self::Malformed(Malformed::ExtensionLimit) => "malformed_extension_limit",
            Self::Malformed(Malformed::Fragment) => "malformed_fragment",
            Self::Malformed(Malformed::Udp) => "malformed_udp",
            Self::Malformed(Malformed::Esp) => "malformed_esp",
            Self::Malformed(Malformed::Ah) => "malformed_ah",
            Self::Malformed(Malformed::NatT) => "malformed_nat_t",
            Self::Malformed(Malformed::TcpFrame) => "malformed_tcp_frame",
            Self::Malformed(Malformed::NextHeader) => "malformed_next_header",
            Self::Malformed(Malformed::NextLayer) => "malformed_next_layer",
            Self::Malformed(Malformed::RoutingHeader) => "malformed_routing_header",
        }
    }
}

impl From<Malformed> for Reason {
    fn from(what: Malformed) -> Self {
        Self::Malformed(what)
    }
}

/// What is known about an SPI that no SA answers to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SpiClass {
    /// Nothing is known of it.
    NeverSeen,
    /// An SA with this SPI was deleted and is still remembered.
    RecentlyDeleted {
        /// Milliseconds since the deletion, on the caller's clock.
        ago_ms: u32,
    },
    /// An SA with this SPI exists, at another destination or from another source.
    OtherDestination,
    /// The SPI is reserved for an SA that is still being negotiated.
    Larval,
}

impl SpiClass {
    /// The stable name of this class.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NeverSeen => "never_seen",
            Self::RecentlyDeleted { .. } => "recently_deleted",
            Self::OtherDestination => "other_destination",
            Self::Larval => "larval",
        }
    }
}

/// The field of a packet that a selector does not cover. The order is the order of comparison.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Field {
    /// Source address against the remote range.
    Src,
    /// Destination address against the local range.
    Dst,
    /// Next layer protocol.
    Protocol,
    /// Source port against the remote ports.
    SourcePort,
    /// Destination port against the local ports.
    DestinationPort,
    /// ICMP type and code.
    Icmp,
    /// Mobility Header type.
    Mobility,
}

impl Field {
    /// What the first value of a packet of this protocol is called.
    pub(crate) const fn of_value(protocol: u8) -> Self {
        match protocol {
            crate::headers::protocol::ICMP | crate::headers::protocol::ICMPV6 => Self::Icmp,
            crate::headers::protocol::MOBILITY => Self::Mobility,
            _ => Self::SourcePort,
        }
    }

    /// The stable name of this field.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Src => "src",
            Self::Dst => "dst",
            Self::Protocol => "proto",
            Self::SourcePort => "sport",
            Self::DestinationPort => "dport",
            Self::Icmp => "icmp",
            Self::Mobility => "mh",
        }
    }
}

/// How a decrypted packet is judged against the selectors of its tunnel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Mode {
    /// The arriving SA's own selectors must cover the packet: RFC 4301 section 5.2, steps 4 and 5.
    StrictSa = 0,
    /// Any one selector of the tunnel's established Child SAs must cover the packet. Gives up
    /// telling which SA the peer should have used.
    AnySelector = 1,
    /// The source address must be in the remote range of any selector of the tunnel's established
    /// Child SAs. Gives up destination, protocol and ports as well.
    AnySource = 2,
    /// As `StrictSa`, and the first selector of the tunnel in configuration order that covers the
    /// packet must belong to a Child SA with the same selectors as the arriving SA's: RFC 4301
    /// for an SPD that is ordered and not decorrelated (RFC 7296 section 2.9.1).
    OrderedSpd = 3,
}

impl Mode {
    /// All modes, in the order of their codes.
    pub const ALL: [Self; 4] =
        [Self::StrictSa, Self::AnySelector, Self::AnySource, Self::OrderedSpd];

    /// The stable name of this mode.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StrictSa => "strict-sa",
            Self::AnySelector => "any-selector",
            Self::AnySource => "any-source",
            Self::OrderedSpd => "ordered-spd",
        }
    }

    /// The mode with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// The mode with this code.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| *mode as u8 == code)
    }
}

/// A set of modes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Modes(u8);

impl Modes {
    /// No mode.
    pub const NONE: Self = Self(0);

    /// This set and `mode`.
    #[must_use]
    pub const fn with(self, mode: Mode) -> Self {
        Self(self.0 | 1 << mode as u8)
    }

    /// True if `mode` is in the set.
    pub const fn contains(self, mode: Mode) -> bool {
        self.0 & (1 << mode as u8) != 0
    }

    /// The modes in the set.
    pub fn iter(self) -> impl Iterator<Item = Mode> {
        Mode::ALL.into_iter().filter(move |mode| self.contains(*mode))
    }

    /// One bit a mode, by code.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set with these bits, or `None` if a bit names no mode.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits < 1 << Self::COUNT { Some(Self(bits)) } else { None }
    }

    const COUNT: usize = Mode::ALL.len();
}

impl FromIterator<Mode> for Modes {
    fn from_iter<I: IntoIterator<Item = Mode>>(modes: I) -> Self {
        modes.into_iter().fold(Self::NONE, Self::with)
    }
}

/// Why a packet is dropped, and what explains it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// For `UnknownSpi`: what is known of the SPI.
    pub spi_class: Option<SpiClass>,
    /// For `WrongSa`: the first Child SA of the tunnel, in configuration order, that covers the
    /// packet and has an SA; in ordered-spd whether it has one or not.
    pub belongs_to: Option<ChildId>,
    /// For `WrongSa` the first failing field of the arriving SA's selector that fails latest, `None`
    /// if they cover the packet (ordered-spd); for `NoSelector` and `FragmentNoPorts` the same over
    /// all selectors of the tunnel.
    pub field: Option<Field>,
    /// Position of the selector that `field` speaks of among its Child SA's, or for `NoSelector`
    /// and `FragmentNoPorts` its tunnel's, selectors of its family, from 0 in configuration order. The selector itself
    /// is in the event, and for the last drop in
    /// [`Worker::nearest_selector`](crate::Worker::nearest_selector): a verdict stays small.
    pub nearest_index: u32,
}

impl Refusal {
    /// A refusal with nothing but a reason.
    pub const fn new(reason: Reason) -> Self {
        Self { reason, spi_class: None, belongs_to: None, field: None, nearest_index: 0 }
    }
}

/// What to do with the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Discard it.
    Drop(Refusal),
    /// Let it through; this Child SA's selectors cover it (any-source: its source).
    Accept(ChildId),
}

/// The answer of the inbound check for one decrypted packet.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// What to do with the packet.
    pub decision: Decision,
    /// The tunnel and Child SA of the SA the packet came on; `None` if the handle was stale.
    pub arrived: Option<(TunnelId, ChildId)>,
    /// Modes that were asked beside the enforced one.
    pub shadow_asked: Modes,
    /// Those of them that would have accepted the packet.
    pub shadow_accepts: Modes,
}

impl Verdict {
    /// Before anything is known.
    pub(crate) const REFUSED: Self = Self {
        decision: Decision::Drop(Refusal::new(Reason::UnknownSpi)),
        arrived: None,
        shadow_asked: Modes::NONE,
        shadow_accepts: Modes::NONE,
    };

    /// True if the packet may pass.
    pub const fn is_accept(&self) -> bool {
        matches!(self.decision, Decision::Accept(_))
    }

    /// The refusal, if it may not.
    pub const fn refusal(&self) -> Option<&Refusal> {
        match &self.decision {
            Decision::Drop(refusal) => Some(refusal),
            Decision::Accept(_) => None,
        }
    }

    /// The reason of a drop.
    pub const fn reason(&self) -> Option<Reason> {
        match &self.decision {
            Decision::Drop(refusal) => Some(refusal.reason),
            Decision::Accept(_) => None,
        }
    }
}
