//! The way that a packet took: what each table said of it, in the order in which they were asked.
//!
//! Facts only, as the tables gave them; [`explain`](super::explain) has the words.

use espial::gate::local_in;

/// One table's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The packet is addressed to the gateway.
    Here,
    /// It belongs to a session.
    Session {
        /// The session's number.
        serial: u32,
        /// True if it goes against the session's first packet.
        reply: bool,
    },
    /// No session was known.
    NewSession {
        /// The number of the one that was made, if one was.
        serial: Option<u32>,
    },
    /// There is no room for its session.
    SessionsFull,
    /// What local-in policy says.
    LocalIn(local_in::Answer),
}
