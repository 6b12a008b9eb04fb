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

/// Why a table around the selector check drops a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum GateReason {
    /// A local-in policy denies it.
    LocalInPolicy,
    /// No local-in policy covers it, and `local-in-default` is deny.
    LocalInDefault,
}

impl GateReason {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::LocalInPolicy, Self::LocalInDefault];

    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LocalInPolicy => "local_in_policy",
            Self::LocalInDefault => "local_in_default",
        }
    }
}

/// Who decided about a packet, where tables around the selector check are configured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum By {
    /// A session of the gateway.
    Session,
    /// A local-in policy.
    Policy,
    /// The default of a list that covers it nowhere.
    Default,
    /// The SPI table: ESP and AH, which no local-in policy judges.
    IpsecLocalIn,
}

impl By {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Policy => "policy",
            Self::Default => "default",
            Self::IpsecLocalIn => "ipsec_local_in",
        }
    }
}
