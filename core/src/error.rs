//! What can go wrong in the configuration flow: a small enum for each kind of operation.
//!
//! After an error the state is as it was before the call. The packet path has no errors, only
//! verdicts.

use core::fmt;

use crate::selector::PairError;

/// Making a gateway failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetupError {
    /// A capacity is zero where at least one is needed.
    ZeroCapacity {
        /// Name of the field of [`Capacity`](crate::Capacity).
        field: &'static str,
    },
    /// A capacity is above its limit.
    CapacityLimit {
        /// Name of the field of [`Capacity`](crate::Capacity).
        field: &'static str,
        /// The largest value allowed.
        limit: u32,
    },
    /// The tables would not fit into this machine's address space.
    TooLarge,
    /// The caller's memory is smaller than `Gateway::octets` says.
    MemoryTooSmall,
    /// The allocator refused.
    OutOfMemory,
    /// The image has more than the capacity says.
    Image {
        /// Name of the field of [`Capacity`](crate::Capacity).
        field: &'static str,
        /// The capacity.
        limit: u32,
    },
    /// A gateway cannot grow like that: less of this field than there is, more than its first
    /// capacity left room for, another value of what cannot grow, or memory that is not the heap's
    /// (`memory`).
    CannotGrow {
        /// Name of the field of [`Capacity`](crate::Capacity).
        field: &'static str,
    },
}

/// A change of tunnels or Child SAs failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// The handle names a tunnel or Child SA that is gone.
    Stale,
    /// No room for one more tunnel.
    TunnelsFull {
        /// The capacity.
        limit: u32,
    },
    /// No room for one more Child SA.
    ChildrenFull {
        /// The capacity.
        limit: u32,
    },
    /// No room for the selectors of the Child SA.
    SelectorsFull {
        /// Selectors that the Child SA has.
        needed: u32,
        /// The capacity.
        limit: u32,
    },
    /// The cross product of local and remote selectors is empty: no packet could ever match.
    NoSelectors,
    /// A selector is wrong in itself: which, and how.
    Selector(PairError),
    /// The tunnel still has Child SAs, or the Child SA still has SAs.
    InUse,
    /// Room will come when every worker has reported a quiescent state.
    Busy,
}

/// A change of the SAD failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SaError {
    /// SPI 0 is never on the wire (RFC 4303 section 2.1).
    SpiZero,
    /// The key has a source without a destination, or addresses of two families.
    Key,
    /// An SA with this key exists.
    Duplicate,
    /// No room for one more SA of this key type, or for one more SPI chosen here.
    Full {
        /// The capacity for the key type.
        limit: u32,
    },
    /// Both buckets of this key are full though the capacity is not reached: make the gateway
    /// anew with another seed. At the load factor in use this is not expected to happen.
    Bucket,
    /// The handle names an SA that is gone.
    NotFound,
    /// The handle names a Child SA that is gone.
    StaleChild,
    /// The Child SA was added but not yet published.
    Unpublished,
    /// Room will come when every worker has reported a quiescent state.
    Busy,
    /// All SPIs that could be given out were in use a short time ago.
    Quarantine {
        /// Milliseconds until the first of them can be used again.
        left_ms: u64,
    },
    /// The replay window is larger than the gateway has room for.
    Window {
        /// The capacity.
        limit: u32,
    },
}

/// The next snapshot cannot be written yet: a worker may still read the one before the current.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Busy;

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroCapacity { field } => write!(f, "capacity `{field}` must be at least 1"),
            Self::CapacityLimit { field, limit } => {
                write!(f, "capacity `{field}` must be at most {limit}")
            }
            Self::TooLarge => f.write_str("the tables do not fit into the address space"),
            Self::MemoryTooSmall => {
                f.write_str("the memory is smaller than the size that was asked for")
            }
            Self::OutOfMemory => f.write_str("out of memory"),
            Self::Image { field, limit } => {
                write!(f, "the image has more `{field}` than the {limit} of the capacity")
            }
            Self::CannotGrow { field } => write!(f, "the gateway cannot grow to this `{field}`"),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale => f.write_str("the tunnel or Child SA is gone"),
            Self::TunnelsFull { limit } => write!(f, "all {limit} tunnels are in use"),
            Self::ChildrenFull { limit } => write!(f, "all {limit} Child SAs are in use"),
            Self::SelectorsFull { needed, limit } => {
                write!(f, "{needed} more selectors do not fit into the {limit} there is room for")
            }
            Self::NoSelectors => f.write_str(
                "no local selector goes with any remote one: families or protocols exclude each other",
            ),
            Self::Selector(error) => error.fmt(f),
            Self::InUse => f.write_str("still in use: remove its Child SAs or SAs first"),
            Self::Busy => f.write_str("a worker has not reported a quiescent state yet"),
        }
    }
}

impl fmt::Display for SaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SpiZero => f.write_str("SPI 0 is never on the wire"),
            Self::Key => f.write_str("a source needs a destination of the same family"),
            Self::Duplicate => f.write_str("an SA with this key exists"),
            Self::Full { limit } => write!(f, "all {limit} SAs of this key type are in use"),
            Self::Bucket => f.write_str("both buckets of this key are full: choose another seed"),
            Self::NotFound => f.write_str("no such SA"),
            Self::StaleChild => f.write_str("the Child SA is gone"),
            Self::Unpublished => f.write_str("publish the Child SA before its SAs"),
            Self::Busy => f.write_str("a worker has not reported a quiescent state yet"),
            Self::Quarantine { left_ms } => {
                write!(f, "all free SPIs were in use a short time ago: wait {left_ms} ms")
            }
            Self::Window { limit } => write!(f, "the replay window is above the capacity, {limit}"),
        }
    }
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a worker has not reported a quiescent state yet")
    }
}

impl core::error::Error for SetupError {}
impl core::error::Error for ConfigError {}
impl core::error::Error for SaError {}
impl core::error::Error for Busy {}
