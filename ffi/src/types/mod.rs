//! What crosses the border: numbers and structs of fixed-width integers.
//!
//! Owns the layout; knows nothing of the core, so that the layout test can include it. Comments
//! here are the header's, in C terms.
//!
//! Invariants:
//! - I1: every struct is `repr(C)` of integers and raw pointers without hidden padding, so any
//!   content is a valid value.
//! - I2: a struct that may grow starts with `size`; the others, which stand in arrays, never grow.
//! - I3: no number here is ever given another meaning.
#![allow(non_camel_case_types, reason = "they are the names in C")]

mod gateway;
mod health;
mod local_in;
mod numbers;
mod packet;
mod passthrough;
mod policy;
mod reply_path;
mod sessions;
mod snapshot;

pub use gateway::*;
pub use health::*;
pub use local_in::*;
pub use numbers::*;
pub use packet::*;
pub use passthrough::*;
pub use policy::*;
pub use reply_path::*;
pub use sessions::*;
pub use snapshot::*;
