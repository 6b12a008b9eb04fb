//! The way that a packet took: what each table said of it, in the order in which they were asked.
//!
//! Facts only, as the tables gave them; `explain` has the words.

use espial::gate::passthrough::PassAnswer;
use espial::gate::{local_in, reply_path};
use espial::spd;

/// One table's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The gateway sends it.
    Sent,
    /// It is addressed to the gateway.
    Here,
    /// It is addressed to somebody else.
    Through,
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
    /// What the security policies say.
    Spd {
        /// Of which direction.
        direction: spd::Direction,
        /// Their answer.
        answer: spd::Answer,
    },
    /// Where answers to it leave.
    Reply(reply_path::Answer),
    /// What the firewall in the middle says.
    Pass(PassAnswer),
}
