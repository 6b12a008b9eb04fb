//! What a call returns: errors of the core as fixed numbers.

use espial::error::{Busy, ConfigError, SaError, SetupError};
#[cfg(any(feature = "alloc", test))]
use espial::gate::local_in::LocalInError;
#[cfg(any(feature = "alloc", test))]
use espial::gate::passthrough::{RuleFault, RulesError};
use espial::image::{ImageError, SwapError};
use espial::snapshot::{RecordError, RestoreError};
#[cfg(any(feature = "alloc", test))]
use espial::spd::{DecorrelateError, PolicyError};

use crate::types::*;

/// A status other than `ESPIAL_OK`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status(pub i32);

/// The number that C gets.
pub fn number(result: Result<(), Status>) -> i32 {
    match result {
        Ok(()) => ESPIAL_OK,
        Err(Status(number)) => number,
    }
}

impl From<SetupError> for Status {
    fn from(error: SetupError) -> Self {
        Self(match error {
            SetupError::ZeroCapacity { .. }
            | SetupError::CapacityLimit { .. }
            | SetupError::TooLarge => ESPIAL_ERANGE,
            SetupError::MemoryTooSmall => ESPIAL_EROOM,
            SetupError::OutOfMemory => ESPIAL_ENOMEM,
            SetupError::CannotGrow { .. } => ESPIAL_EGROW,
            SetupError::Image { .. } => ESPIAL_ERANGE,
        })
    }
}

impl From<ImageError> for Status {
    fn from(error: ImageError) -> Self {
        Self(match error {
            ImageError::Alignment => ESPIAL_EALIGN,
            ImageError::Short
            | ImageError::Magic
            | ImageError::Order
            | ImageError::Format { .. }
            | ImageError::Bounds
            | ImageError::Checksum
            | ImageError::Block(_)
            | ImageError::Child { .. }
            | ImageError::Names => ESPIAL_EWORDS,
        })
    }
}

impl From<SwapError> for Status {
    fn from(error: SwapError) -> Self {
        Self(match error {
            SwapError::NoImage => ESPIAL_EHANDLE,
            SwapError::Busy => ESPIAL_EBUSY,
            SwapError::TooLarge { .. } => ESPIAL_ERANGE,
            SwapError::InUse { .. } => ESPIAL_EINUSE,
            SwapError::Alike { .. } => ESPIAL_EDUPLICATE,
        })
    }
}

impl From<ConfigError> for Status {
    fn from(error: ConfigError) -> Self {
        Self(match error {
            ConfigError::Stale => ESPIAL_ESTALE,
            ConfigError::TunnelsFull { .. }
            | ConfigError::ChildrenFull { .. }
            | ConfigError::SelectorsFull { .. } => ESPIAL_EFULL,
            ConfigError::NoSelectors => ESPIAL_EEMPTY,
            ConfigError::Selector(_) => ESPIAL_ESELECTOR,
            ConfigError::InUse => ESPIAL_EINUSE,
            ConfigError::Busy => ESPIAL_EBUSY,
        })
    }
}

impl From<SaError> for Status {
    fn from(error: SaError) -> Self {
        Self(match error {
            SaError::SpiZero | SaError::Key => ESPIAL_EKEY,
            SaError::Duplicate => ESPIAL_EDUPLICATE,
            SaError::Full { .. } => ESPIAL_EFULL,
            SaError::Bucket => ESPIAL_EBUCKET,
            SaError::NotFound | SaError::StaleChild => ESPIAL_ESTALE,
            SaError::Unpublished => ESPIAL_EUNPUBLISHED,
            SaError::Busy => ESPIAL_EBUSY,
            SaError::Quarantine { .. } => ESPIAL_EQUARANTINE,
            SaError::Window { .. } => ESPIAL_EWINDOW,
        })
    }
}

impl From<Busy> for Status {
    fn from(_: Busy) -> Self {
        Self(ESPIAL_EBUSY)
    }
}

impl From<RecordError> for Status {
    fn from(error: RecordError) -> Self {
        Self(match error {
            RecordError::Version { .. } => ESPIAL_EVERSION,
            RecordError::OtherSnapshot { .. } => ESPIAL_ESNAPSHOT,
            RecordError::Malformed => ESPIAL_EVALUE,
            RecordError::Order { .. } => ESPIAL_EORDER,
            // Damaged, and what the core may yet add.
            _ => ESPIAL_EDAMAGED,
        })
    }
}

impl From<RestoreError> for Status {
    fn from(error: RestoreError) -> Self {
        Self(match error {
            RestoreError::Sa(error) => return error.into(),
            RestoreError::Full(_) => ESPIAL_EFULL,
            RestoreError::Ended => ESPIAL_EENDED,
            RestoreError::NotAdmitted => ESPIAL_EADMITTED,
            // Foreign, and what the core may yet add.
            _ => ESPIAL_EFOREIGN,
        })
    }
}

#[cfg(any(feature = "alloc", test))]
impl From<PolicyError> for Status {
    fn from(error: PolicyError) -> Self {
        Self(match error {
            PolicyError::DuplicateId { .. } => ESPIAL_EDUPLICATE,
            PolicyError::NoSelectors { .. } => ESPIAL_EEMPTY,
            PolicyError::Selector { .. } | PolicyError::Families { .. } => ESPIAL_ESELECTOR,
            // Of changes to a list, which C does not make; and what the core may yet add.
            _ => ESPIAL_EVALUE,
        })
    }
}

#[cfg(any(feature = "alloc", test))]
impl From<DecorrelateError> for Status {
    fn from(error: DecorrelateError) -> Self {
        match error {
            DecorrelateError::Policy(error) => error.into(),
            // A limit, and what the core may yet add.
            _ => Self(ESPIAL_ELIMIT),
        }
    }
}

#[cfg(any(feature = "alloc", test))]
impl From<LocalInError> for Status {
    fn from(error: LocalInError) -> Self {
        Self(match error {
            LocalInError::DuplicateId { .. } => ESPIAL_EDUPLICATE,
            LocalInError::NoInterfaces { .. } | LocalInError::NoPackets { .. } => ESPIAL_EEMPTY,
            LocalInError::Range { .. } | LocalInError::Service { .. } => ESPIAL_ESELECTOR,
            LocalInError::TooManySelectors { .. } => ESPIAL_ELIMIT,
            LocalInError::Setup(error) => return error.into(),
            // Of names, which C does not have; and what the core may yet add.
            _ => ESPIAL_EVALUE,
        })
    }
}

#[cfg(any(feature = "alloc", test))]
impl From<RulesError> for Status {
    fn from(error: RulesError) -> Self {
        Self(match error {
            RulesError::Rule { fault: RuleFault::Mixed, .. } => ESPIAL_EVALUE,
            RulesError::Rule { .. } => ESPIAL_ESELECTOR,
            RulesError::Setup(error) => return error.into(),
            // A default that is none; and what the core may yet add.
            _ => ESPIAL_EVALUE,
        })
    }
}
