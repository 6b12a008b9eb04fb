//! Security policies: what may cross in the clear, and what has to come on which SA (RFC 4301 section
//! 5.2, steps 3b and 4).

use espial::headers::InnerHeaders;
use espial::spd::{Action, Answer, Direction, PolicyId, Spd};

use super::reason::{By, GateReason};
use super::row::{Row, Word};
use super::way::Step;
use crate::config::policy::SpdConfig;

/// The policies of both directions.
pub(super) struct Policies<'c> {
    config: &'c SpdConfig,
    inbound: Spd<'c>,
    outbound: Spd<'c>,
}

impl<'c> Policies<'c> {
    pub(super) fn new(config: &'c SpdConfig) -> Result<Self, String> {
        let open = |words| Spd::open(words).map_err(|error| error.to_string());
        let (inbound, outbound) = (open(&config.inbound.words)?, open(&config.outbound.words)?);
        Ok(Self { config, inbound, outbound })
    }

    /// Step 3b: a packet in the clear passes if its policy says BYPASS. A direction without policies is
    /// not asked.
    pub(super) fn clear(&self, direction: Direction, headers: &InnerHeaders, row: &mut Row<'c>) {
        let spd = match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        };
        if spd.is_empty() {
            return;
        }
        let answer = spd.first(headers);
        row.note(|| Step::Spd { direction, answer });
        decided(answer, row);
        if !answer.admits_clear() {
            row.drop(match answer.action() {
                Action::Protect => GateReason::SpdProtect.into(),
                _ => GateReason::SpdDiscard.into(),
            });
        }
    }

    /// Step 4: where PROTECT policies name the Child SA that a packet came on, one of them has to be the
    /// first that covers it.
    pub(super) fn protected(&self, row: &mut Row<'c>) {
        let (Word::Accept, Some((tunnel, child)), Some(inner)) = (row.word, row.arrived, row.inner)
        else {
            return;
        };
        let named: Vec<PolicyId> = self.config.protecting(tunnel, child).collect();
        if named.is_empty() {
            return;
        }
        let answer = self.inbound.first(&inner);
        row.note(|| Step::Spd { direction: Direction::Inbound, answer });
        if !named.iter().any(|id| answer.admits_from(*id)) {
            decided(answer, row);
            row.drop(GateReason::SpdOtherPolicy.into());
        }
    }
}

fn decided(answer: Answer, row: &mut Row<'_>) {
    row.policy = answer.entry().map(|entry| entry.id.0);
    row.by = Some(if row.policy.is_some() { By::Policy } else { By::Default });
}
