//! What a firewall is told, and what it counts.

use super::packet::{FlowKind, LookupSpi, PassDrop, PassVerdict, VirtualServer};
use super::teardown::TeardownKind;

/// How long a flow may be without a packet, in milliseconds: it ends when that is exceeded.
///
/// The documents name no figures; five minutes is this crate's choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PassTimeouts {
    /// IKE: UDP to port 500.
    pub ike_ms: u32,
    /// UDP 4500.
    pub nat_t_ms: u32,
    /// ESP, the ALG's flow among them.
    pub esp_ms: u32,
    /// AH, the ALG's flow among them.
    pub ah_ms: u32,
    /// Any other UDP.
    pub other_ms: u32,
}

impl Default for PassTimeouts {
    fn default() -> Self {
        let all = 300_000;
        Self { ike_ms: all, nat_t_ms: all, esp_ms: all, ah_ms: all, other_ms: all }
    }
}

impl PassTimeouts {
    /// That of one kind of flow.
    pub const fn of(&self, kind: FlowKind) -> u32 {
        match kind {
            FlowKind::Ike => self.ike_ms,
            FlowKind::NatT => self.nat_t_ms,
            FlowKind::Esp => self.esp_ms,
            FlowKind::Ah => self.ah_ms,
            FlowKind::Other => self.other_ms,
        }
    }
}

/// How a firewall treats IPsec of others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PassConfig {
    /// Are flows of ESP and AH keyed by their SPIs?
    pub lookupspi: LookupSpi,
    /// The virtual server that forwards.
    pub server: VirtualServer,
    /// When flows end.
    pub timeouts: PassTimeouts,
}

/// Counts of one owner since the start: exact, while events are few (T31). They wrap.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PassCounts {
    /// Packets that a rule or the default admitted.
    pub accepted: u64,
    /// Packets of flows that rules admitted.
    pub accepted_flow: u64,
    /// Packets that the ALG admitted.
    pub accepted_alg: u64,
    /// Packets rejected.
    pub rejected: u64,
    /// Packets dropped, by [`PassDrop::index`].
    pub drops: [u64; PassDrop::COUNT],
    /// Times that the ALG had no room for a flow of its own. It tries again with each packet of IKE.
    pub alg_full: u64,
    /// Flows that ended under the ALG, by [`TeardownKind`] as a number, told as events or not.
    pub teardowns: [u64; TeardownKind::ALL.len()],
}

impl PassCounts {
    pub(super) fn count(&mut self, verdict: PassVerdict) {
        let cell = match verdict {
            PassVerdict::Drop(why) => self.drops.get_mut(why.index()),
            PassVerdict::Reject(_) => Some(&mut self.rejected),
            PassVerdict::Accept(_) => Some(&mut self.accepted),
            PassVerdict::AcceptFlow => Some(&mut self.accepted_flow),
            PassVerdict::AcceptAlg => Some(&mut self.accepted_alg),
        };
        if let Some(cell) = cell {
            *cell = cell.wrapping_add(1);
        }
    }
}
