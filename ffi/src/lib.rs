//! The C ABI of espial.
