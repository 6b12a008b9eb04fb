//! The tables of a gateway around the selector check: what reaches the box itself, what it answers, and
//! what it lets through.
//!
//! ```text
//! packet ──▶ addressed to this box?
//!   yes ─┬─ ESP, AH ──▶ the SPI table alone decides ([`inbound`](crate::inbound))
//!        └─ the rest ─▶ a local session? ──no──▶ local-in policies ──accept──▶ a new session
//!                             │ yes: no policy is asked
//!                             ▼
//!                       accepted; an answer of IKE over TCP leaves by the interface that its SYN came in on
//!   no ──▶ a flow of someone else's tunnel? ──no──▶ rules ──accept──▶ a new flow
//! ```
//! All that lasts longer than a packet lies in [`flow`] tables, one for each purpose and worker.
//! Everything here is told the time and the packet's headers; it sends nothing and asks nobody.

pub mod flow;
pub mod health;
pub mod local_in;
pub mod passthrough;
pub mod reply_path;
pub mod session;
