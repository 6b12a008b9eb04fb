//! espial: the inbound check of IPsec.
#![cfg_attr(not(test), no_std)]
#[cfg(any(test, feature = "alloc"))]
extern crate alloc;

pub mod headers;
pub mod sad;
pub mod selector;
pub mod verdict;
pub mod wire;
