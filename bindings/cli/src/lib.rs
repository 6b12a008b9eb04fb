//! The command line of espial, as a library so that its tests and fuzz targets can call it.

pub mod analyze;
pub mod capture;
pub mod check;
pub mod classify;
pub mod compile;
pub mod config;
pub mod conform;
pub mod demo;
pub mod lint;
pub mod lookup;
pub mod open;
pub mod preset;
mod table;
