//! The `espial` binary.
fn main() {}
