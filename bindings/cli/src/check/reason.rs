//! Every reason that `check` has for a drop: the core's for IPsec, and those of the tables around it.

use espial::verdict::Reason;

/// Why a packet is dropped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DropReason {
    /// What the inbound check says.
    Ipsec(Reason),
    /// What a table around it says.
    Gate(GateReason),
}

impl DropReason {
    /// The stable name. Names of both kinds are append-only and do not meet.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipsec(reason) => reason.name(),
            Self::Gate(reason) => reason.name(),
        }
    }
}

impl From<Reason> for DropReason {
    fn from(reason: Reason) -> Self {
        Self::Ipsec(reason)
    }
}

impl From<GateReason> for DropReason {
    fn from(reason: GateReason) -> Self {
        Self::Gate(reason)
    }
}

macro_rules! named {
    ($(#[doc = $about:literal])* $kind:ident { $($(#[doc = $doc:literal])* $variant:ident = $name:literal,)* }) => {
        $(#[doc = $about])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $kind {
            $($(#[doc = $doc])* $variant,)*
        }

        impl $kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The stable name. Names are append-only.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

named! {
    /// Why a table around the selector check drops a packet.
    GateReason {
        /// A local-in policy denies it.
        LocalInPolicy = "local_in_policy",
        /// No local-in policy covers it, and `local-in-default` is deny.
        LocalInDefault = "local_in_default",
        /// A segment to the IKE TCP port that starts no connection and belongs to none.
        TcpNoSession = "tcp_no_session",
        /// A passthrough rule drops it.
        PassthroughRule = "passthrough_rule",
        /// No passthrough rule covers it, and the default is drop.
        PassthroughDefault = "passthrough_default",
        /// A passthrough rule or the default drops it and tells its sender.
        Rejected = "rejected",
        /// It answers a flow of the ALG, which relies on lookupspi.
        AlgNeedsLookupSpi = "alg_needs_lookupspi",
        /// It is admitted, but there is no room for its flow.
        TableFull = "table_full",
        /// SPI 0, which is never on the wire.
        SpiZero = "spi_zero",
        /// A later fragment, which has nothing to find its flow by.
        LaterFragment = "later_fragment",
        /// A security policy says DISCARD, or none covers it.
        SpdDiscard = "spd_discard",
        /// In the clear, but its security policy says PROTECT.
        SpdProtect = "spd_protect",
        /// On an SA of another security policy than the first that covers it.
        SpdOtherPolicy = "spd_other_policy",
    }
}

named! {
    /// Who decided about a packet, where tables around the selector check are configured.
    By {
        /// A session of the gateway.
        Session = "session",
        /// A local-in or security policy.
        Policy = "policy",
        /// The default: no policy or rule covers it.
        Default = "default",
        /// The SPI table: ESP and AH, which no local-in policy judges.
        IpsecLocalIn = "ipsec_local_in",
        /// A passthrough rule.
        Rule = "rule",
        /// A passthrough flow that is there.
        Flow = "flow",
        /// The IPsec ALG.
        Alg = "alg",
    }
}
