//! What sets and packets are promised to be.
