//! Flows on their way to another node, and from it.

use super::{
    Decision, FlowKind, LookupSpi, Origin, PassConfig, PassPacket, PassRules, Passthrough,
    RuleAction, Traffic, origin, state,
};
use crate::gate::flow::since_ms;
use crate::headers::Endpoints;
use crate::snapshot::{FlowRecord, Pass, RestoreError};
use crate::wire::IKE_PORT;

impl Passthrough<'_> {
    /// The flow of a record, with its age, if the rules of this node admit its first packet now: they are asked
    /// again, and the flow is theirs. A flow of the ALG needs the ALG, and rules that admit IKE (UDP 500 to 500)
    /// between its hosts, one way or the other. One that is there stays, and the later of the two packets counts.
    ///
    /// What is refused is judged anew when its next packet comes.
    ///
    /// # Errors
    /// [`RestoreError::Foreign`]: with this `lookupspi` and this virtual server there is no such flow, or the table
    /// has the one of the opposite direction; [`RestoreError::NotAdmitted`]; [`RestoreError::Ended`];
    /// [`RestoreError::Full`].
    pub fn restore(
        &mut self,
        rules: &PassRules<'_>,
        record: &FlowRecord,
        now_ms: u64,
    ) -> Result<(), RestoreError> {
        let FlowRecord { key, age_ms, idle_ms, .. } = *record;
        let PassConfig { lookupspi, server, timeouts } = self.config;
        let kind = FlowKind::of(&key);
        let packet = record.packet();
        let is_pair = kind.is_ipsec() && (key.src_port, key.dst_port) == (0, 0);
        let (is_possible, origin) = match record.origin {
            // With `lookupspi` ESP and AH have SPIs, without it none.
            Origin::Decided(_) => (packet.key(lookupspi) == Ok(key), admitted(rules, &packet)),
            Origin::Alg => {
                let has_spi = kind.is_ipsec() && lookupspi == LookupSpi::On;
                let by = admits_ike(rules, key.endpoints).then_some(Origin::Alg);
                (server.has_alg() && (is_pair || has_spi), by)
            }
        };
        // One flow of both directions, but for SPIs.
        let back = key.reversed();
        let is_one_way = kind.is_ipsec() && lookupspi == LookupSpi::On && !is_pair;
        let has_back = !is_one_way && back != key && self.peek(&back, now_ms).is_some();
        if !is_possible || has_back {
            return Err(RestoreError::Foreign);
        }
        let origin = origin.ok_or(RestoreError::NotAdmitted)?;
        if idle_ms > u64::from(timeouts.of(kind)) {
            return Err(RestoreError::Ended);
        }
        let made_ms = now_ms.wrapping_sub(age_ms.max(idle_ms));
        Ok(self.make_idle(&key, state(made_ms, origin), idle_ms, now_ms)?)
    }

    pub(crate) fn next_record(
        &self,
        pass: &mut Pass,
        slots: u32,
        now_ms: u64,
    ) -> Option<FlowRecord> {
        let (key, state, idle_ms) = self.flows.next_of(pass, slots, now_ms)?;
        let &[made_ms, _] = state;
        let age_ms = since_ms(now_ms, made_ms).max(idle_ms);
        Some(FlowRecord { key, origin: origin(state), age_ms, idle_ms })
    }
}

/// Who admits a packet that has no flow, if any does.
fn admitted(rules: &PassRules<'_>, packet: &PassPacket) -> Option<Origin> {
    let Decision { action, by, .. } = rules.decide(&packet.headers());
    let admits = matches!(action, RuleAction::Accept | RuleAction::AcceptDecisively);
    admits.then_some(Origin::Decided(by))
}

/// True if either of two hosts may start IKE with the other.
fn admits_ike(rules: &PassRules<'_>, endpoints: Endpoints) -> bool {
    let traffic = Traffic::Udp { src: IKE_PORT, dst: IKE_PORT };
    [endpoints, endpoints.reversed()]
        .into_iter()
        .any(|endpoints| admitted(rules, &PassPacket { endpoints, traffic }).is_some())
}
