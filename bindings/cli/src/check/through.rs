//! IPsec of others that passes through the gateway.

use espial::gate::passthrough::{
    DecidedBy, PassDrop, PassPacket, PassRules, PassVerdict, Passthrough, QUEUE_TEARDOWNS,
    Teardown, Traffic,
};
use espial::headers::{Fragment, InnerHeaders, Ipsec, NextLayer, Outer, protocol};
use espial::verdict::Reason;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::reason::{By, DropReason, GateReason};
use super::row::Row;
use super::tables::At;
use super::way::Step;
use crate::config::passthrough::PassthroughConfig;

/// Flows of the table.
const FLOWS: u32 = 1 << 16;
const SEED: [u64; 2] = [0x6573_7069_616c, 4];
/// Flows that have ended are looked for with the first packet after so many milliseconds.
const SWEEP_MS: u64 = 1000;
/// Slots that are looked at before events are taken out: fewer than the queue holds.
const PIECE: u32 = 16;
const _: () = assert!(PIECE as usize <= QUEUE_TEARDOWNS);

/// A flow that ended under the ALG (E4), as logs tell it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended(pub Teardown);

impl Serialize for Ended {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(Teardown { kind, endpoints, src_port, age_ms, .. }) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("event", &kind.to_string())?;
        map.serialize_entry("src", &endpoints.src())?;
        map.serialize_entry("sport", src_port)?;
        map.serialize_entry("dst", &endpoints.dst())?;
        map.serialize_entry("age", &(*age_ms as f64 / 1000.0))?;
        map.end()
    }
}

/// The flows of others, and the rules that admit them.
pub(super) struct Through<'c> {
    config: &'c PassthroughConfig,
    rules: PassRules<'c>,
    table: Passthrough<'static>,
    /// When ended flows were last looked for.
    swept_ms: u64,
}

impl<'c> Through<'c> {
    pub(super) fn new(config: &'c PassthroughConfig) -> Result<Self, String> {
        let rules = PassRules::open(&config.words).map_err(|error| error.to_string())?;
        let table = Passthrough::new(FLOWS, SEED, config.core);
        let table = table.map_err(|error| error.to_string())?;
        Ok(Self { config, rules, table, swept_ms: 0 })
    }

    /// A packet for somebody else. Neither ESP nor AH nor UDP: not for this table.
    pub(super) fn forwarded(
        &mut self,
        headers: &InnerHeaders,
        class: Result<Outer, Reason>,
        row: &mut Row<'c>,
        at: At,
    ) {
        let traffic = match traffic(headers, class) {
            None => return,
            Some(Ok(traffic)) => traffic,
            Some(Err(reason)) => return row.drop(reason.into()),
        };
        if at.now_ms.abs_diff(self.swept_ms) >= SWEEP_MS {
            row.ended = self.ended(at.now_ms);
        }
        let packet = PassPacket { endpoints: headers.endpoints, traffic };
        let answer = self.table.check(&self.rules, &packet, at.now_ms);
        self.drain(&mut row.ended);
        row.note(|| Step::Pass(answer));
        match answer.verdict {
            PassVerdict::AcceptFlow => row.accept(By::Flow),
            PassVerdict::AcceptAlg => row.accept(By::Alg),
            PassVerdict::Accept(by) => {
                let by = self.by(by, row);
                row.accept(by);
            }
            PassVerdict::Reject(by) => {
                row.by = Some(self.by(by, row));
                row.drop(GateReason::Rejected.into());
            }
            PassVerdict::Drop(why) => {
                if let PassDrop::Decided(by) = why {
                    row.by = Some(self.by(by, row));
                } else {
                    row.message = Some(why.to_string());
                }
                row.drop(reason(why));
            }
        }
    }

    /// Takes out all flows that have ended, and says which of them were the ALG's.
    pub(super) fn ended(&mut self, now_ms: u64) -> Vec<Ended> {
        self.swept_ms = now_ms;
        let mut ended = Vec::new();
        for _ in 0..self.table.slots().div_ceil(PIECE) {
            self.table.expire(now_ms, PIECE);
            self.drain(&mut ended);
        }
        ended
    }

    fn drain(&mut self, ended: &mut Vec<Ended>) {
        ended.extend(std::iter::from_fn(|| self.table.next_teardown()).map(Ended));
    }

    /// Who decided, and the rule's name.
    fn by(&self, by: DecidedBy, row: &mut Row<'c>) -> By {
        let DecidedBy::Rule(id) = by else { return By::Default };
        row.rule = self.config.rule(id);
        By::Rule
    }
}

fn reason(why: PassDrop) -> DropReason {
    let reason = match why {
        PassDrop::Decided(DecidedBy::Rule(_)) => GateReason::PassthroughRule,
        PassDrop::Decided(DecidedBy::Default) => GateReason::PassthroughDefault,
        PassDrop::AlgNeedsLookupSpi => GateReason::AlgNeedsLookupSpi,
        PassDrop::TableFull => GateReason::TableFull,
        PassDrop::SpiZero => GateReason::SpiZero,
        PassDrop::Fragment => GateReason::LaterFragment,
        // A reason that this version does not know is a drop all the same.
        _ => GateReason::PassthroughDefault,
    };
    reason.into()
}

/// What a packet is to a firewall in the middle.
fn traffic(
    headers: &InnerHeaders,
    class: Result<Outer, Reason>,
) -> Option<Result<Traffic, Reason>> {
    let InnerHeaders { protocol, next_layer, fragment, .. } = *headers;
    let is_ipsec = matches!(protocol, protocol::ESP | protocol::AH);
    if !is_ipsec && protocol != protocol::UDP {
        return None;
    }
    Some(match (fragment, next_layer, class) {
        (Fragment::NonInitial, ..) => Ok(Traffic::Fragment(protocol)),
        (Fragment::First, ..) if is_ipsec => Ok(Traffic::Fragment(protocol)),
        (_, NextLayer::Ports { src, dst }, _) => Ok(Traffic::Udp { src, dst }),
        (_, _, Ok(Outer::Ipsec(outer))) => Ok(match outer.ipsec {
            Ipsec::Esp => Traffic::Esp(outer.spi),
            Ipsec::Ah => Traffic::Ah(outer.spi),
        }),
        (_, _, Err(reason)) => Err(reason),
        (_, _, Ok(_)) => return None,
    })
}
