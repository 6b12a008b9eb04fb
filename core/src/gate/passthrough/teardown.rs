//! Flows of the ALG that ended (E4): few events, every one counted (T31).

use core::fmt;

use heapless::Deque;

use super::packet::{FlowKind, Origin};
use crate::gate::flow::FlowKey;
use crate::headers::Endpoints;

/// Events kept until they are drained; more are counted only.
pub const QUEUE_TEARDOWNS: usize = 32;

/// What ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum TeardownKind {
    /// The ALG's flow for AH.
    Ah = 0,
    /// A flow of IKE that the ALG looked at.
    Ike = 1,
    /// The ALG's flow for ESP.
    Esp = 2,
}

impl TeardownKind {
    /// All kinds, in the order in which one tunnel's are told when it is deleted.
    pub const ALL: [Self; 3] = [Self::Ah, Self::Ike, Self::Esp];

    /// What a flow is called when it ends under the ALG, or `None` if it is not told: a flow of one SPI,
    /// or one that the ALG has no part in.
    pub(super) fn of(key: &FlowKey, origin: Origin) -> Option<Self> {
        let is_any = key.src_port == 0 && key.dst_port == 0;
        match FlowKind::of(key) {
            FlowKind::Ah if origin == Origin::Alg && is_any => Some(Self::Ah),
            FlowKind::Esp if origin == Origin::Alg && is_any => Some(Self::Esp),
            FlowKind::Ike => Some(Self::Ike),
            _ => None,
        }
    }
}

impl fmt::Display for TeardownKind {
    /// As logs write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ah => "IPSEC_TEARDOWN AH",
            Self::Ike => "IKE_TEARDOWN",
            Self::Esp => "IPSEC_TEARDOWN ESP",
        })
    }
}

/// A flow of the ALG ended: it was deleted, or idle for too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Teardown {
    /// What ended.
    pub kind: TeardownKind,
    /// The hosts; the source is the one whose packet made the flow.
    pub endpoints: Endpoints,
    /// Source port of the flow; 0 for AH and ESP.
    pub src_port: u16,
    /// When it was found to have ended, on the caller's clock, in milliseconds.
    pub time_ms: u64,
    /// Milliseconds since it was made.
    pub age_ms: u64,
    /// Events that found no room since the last one that did.
    pub suppressed: u32,
}

/// The queue of one owner.
#[derive(Debug)]
pub(super) struct Teardowns {
    queue: Deque<Teardown, QUEUE_TEARDOWNS>,
    suppressed: u32,
}

impl Teardowns {
    pub(super) const fn new() -> Self {
        Self { queue: Deque::new(), suppressed: 0 }
    }

    pub(super) fn tell(&mut self, event: Teardown) {
        match self.queue.push_back(Teardown { suppressed: self.suppressed, ..event }) {
            Ok(()) => self.suppressed = 0,
            Err(_) => self.suppressed = self.suppressed.saturating_add(1),
        }
    }

    pub(super) fn next(&mut self) -> Option<Teardown> {
        self.queue.pop_front()
    }
}
