//! The answer, and every reason there is for a drop.
//!
//! One enum feeds the verdict, the event, the counter and the constant in C. Codes and names are
//! append-only: they are never renumbered and never reused.


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
    /// A fragment that reaches past the largest IP packet, or one whose length is not a multiple
    /// of 8 though more fragments follow.
    Fragment = 6,
    /// A UDP length below 8 or past the end of the IP payload.
    Udp = 7,
    /// Fewer octets than an SPI and a sequence number.
    Esp = 8,
    /// An AH whose length field is too small, runs past the end, or does not fit its IP version.
    Ah = 9,
    /// SPI 0, which is never on the wire (RFC 4303 section 2.1).
    SpiZero = 10,
    /// A payload on UDP 4500 that is neither keepalive, marker nor ESP.
    NatT = 11,
    /// A length of 0 or 1 in a TCP stream, or a stream without its prefix (RFC 9329).
    TcpFrame = 12,
    /// The next header of the decrypted packet is not what the SA's mode or the inner version
    /// field demands.
    NextHeader = 13,
    /// Too short for the ports, type or code of its next layer protocol.
    NextLayer = 14,
    /// A Routing Header of type 0 with segments left (RFC 5095).
    RoutingHeader = 15,
}

impl Malformed {
    /// All malformations, in the order of their codes.
    pub const ALL: [Self; 16] = [
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
        Self::SpiZero,
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
    /// Number of codes below which all codes lie: the length of an array of counters.
    pub const CODES: usize = 48;

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

    /// The stable code of this reason, 1 to 47; 0 is no reason. Malformations start at 32.
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
            Self::Malformed(Malformed::SpiZero) => "malformed_spi_zero",
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
