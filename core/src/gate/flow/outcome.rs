//! What the table's calls answer.

use core::fmt;

use super::FlowKey;

/// An entry that ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gone<T> {
    /// The connection.
    pub key: FlowKey,
    /// What was known of it.
    pub value: T,
    /// Milliseconds since its last match.
    pub idle_ms: u64,
}

/// What became of an [`insert`](super::FlowTable::insert).
#[derive(PartialEq, Eq, Debug)]
pub enum Inserted<'t, T> {
    /// The connection is in the table now.
    New {
        /// Its value.
        value: &'t mut T,
        /// An entry that was past its time, whose slot was used; nobody else tells of it.
        gone: Option<Gone<T>>,
    },
    /// It was there, and counts as matched now; the value is as it was.
    Existing(&'t mut T),
}

/// There is no room for one more connection; nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full {
    /// The capacity.
    pub capacity: u32,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no room for one more connection: the table holds {}", self.capacity)
    }
}

impl core::error::Error for Full {}
