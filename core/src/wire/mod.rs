//! Octets to fields.
