//! Security policies: what may cross in the clear, and what has to come on which SA (RFC 4301 section
//! 5.2, steps 3b and 4).

use espial::headers::InnerHeaders;
use espial::spd::{Action, Answer, Count, Counts, Direction, PolicyId, Spd, SpdWorker};

use super::reason::{By, GateReason};
use super::row::{Row, Word};
use super::tables::PolicyCount;
use super::way::Step;
use crate::config::policy::SpdConfig;

/// The policies of both directions.
pub(super) struct Policies<'g, 'c> {
    config: &'c SpdConfig,
    inbound: Counted<'g, 'c>,
    outbound: Counted<'g, 'c>,
}

/// The policies of one direction, and what reads their counts.
type Counted<'g, 'c> = (SpdWorker<'c, 'g>, Counts<'c, 'g>);

/// Both directions, inbound first.
fn open(config: &SpdConfig) -> Result<[Spd<'_>; 2], String> {
    let open = |words| Spd::open(words).map_err(|error| error.to_string());
    Ok([open(&config.inbound.words)?, open(&config.outbound.words)?])
}

impl<'g, 'c> Policies<'g, 'c> {
    /// Cells of the rows that policies count in.
    pub(super) fn cells(config: &SpdConfig) -> Result<[usize; 2], String> {
        Ok(open(config)?.map(|spd| spd.cells()))
    }

    pub(super) fn new(
        config: &'c SpdConfig,
        rows: &'g mut [Vec<Count>; 2],
    ) -> Result<Self, String> {
        let [inbound, outbound] = open(config)?;
        let [one, other] = rows;
        let counting = |spd: Spd<'c>, row| spd.with_counts(row).map_err(|error| error.to_string());
        Ok(Self { config, inbound: counting(inbound, one)?, outbound: counting(outbound, other)? })
    }

    /// What the policies of both directions counted, and how many packets none covered.
    pub(super) fn counts(&self, all: &mut Vec<PolicyCount>) {
        for (list, (_, counts)) in [("inbound", &self.inbound), ("outbound", &self.outbound)] {
            let known = counts
                .policies()
                .map(|(entry, packets)| (Some(entry.id.0), entry.action.name(), packets));
            let none = (None, Action::Discard.name(), counts.unmatched());
            all.extend(known.chain([none]).map(|(policy, action, packets)| PolicyCount {
                list,
                policy,
                action,
                packets,
            }));
        }
    }

    /// Step 3b: a packet in the clear passes if its policy says BYPASS. A direction without policies is
    /// not asked.
    pub(super) fn clear(
        &mut self,
        direction: Direction,
        headers: &InnerHeaders,
        row: &mut Row<'c>,
    ) {
        let (worker, _) = match direction {
            Direction::Inbound => &mut self.inbound,
            Direction::Outbound => &mut self.outbound,
        };
        if worker.spd().is_empty() {
            return;
        }
        let answer = worker.check(headers);
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
    pub(super) fn protected(&mut self, row: &mut Row<'c>) {
        let (Word::Accept, Some((tunnel, child)), Some(inner)) = (row.word, row.arrived, row.inner)
        else {
            return;
        };
        let named: Vec<PolicyId> = self.config.protecting(tunnel, child).collect();
        if named.is_empty() {
            return;
        }
        let answer = self.inbound.0.check(&inner);
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
