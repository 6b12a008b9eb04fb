//! Sessions that end on the gateway, and the policies for what has none.

use std::collections::HashSet;

use espial::gate::flow::FlowKey;
use espial::gate::local_in::{
    Answer, By as Decider, IkeAnswers, LocalIn, LocalInCounts, LocalInWorker, LocalPacket,
};
use espial::gate::session::{Limits, Opened, Session, SessionPacket, Sessions};
use espial::headers::{Endpoints, Fragment};
use espial::spd::Count;

use super::reason::{By, GateReason};
use super::row::Row;
use super::tables::{At, Clear, NO_INTERFACE, PolicyCount};
use super::way::Step;
use crate::config::local_in::LocalInConfig;

/// Sessions of the table. More than that within one session's life are not told apart from none.
const SESSIONS: u32 = 1 << 16;
/// A recorded capture chooses no flows that collide.
const SEED: [u64; 2] = [0x6573_7069_616c, 2];
/// Slots that are looked at for ended sessions with each packet.
const EXPIRED_A_PACKET: u32 = 8;

/// The tables of what is addressed to the gateway.
pub(super) struct Local<'g, 'c> {
    config: &'c LocalInConfig,
    policies: LocalInWorker<'c, 'g>,
    counts: LocalInCounts<'c, 'g>,
    sessions: Sessions<'static>,
    /// Received packets whose sessions found no room, as their answers have it: those are no sessions that
    /// the gateway starts. No more than there are sessions; then it begins anew.
    refused: HashSet<FlowKey>,
}

impl<'g, 'c> Local<'g, 'c> {
    /// Cells of the row that policies count in.
    pub(super) fn cells(config: &LocalInConfig) -> Result<usize, String> {
        let policies = LocalIn::open(&config.words).map_err(|error| error.to_string())?;
        Ok(policies.cells())
    }

    pub(super) fn new(config: &'c LocalInConfig, row: &'g mut [Count]) -> Result<Self, String> {
        let limits = Limits { ttl_ms: config.session_ttl_ms, ..Limits::of(SESSIONS) };
        let sessions = Sessions::new(&limits, SEED).map_err(|error| error.to_string())?;
        let policies = LocalIn::open(&config.words).map_err(|error| error.to_string())?;
        let counting = policies.with_counts(row).map_err(|error| error.to_string())?;
        let (policies, counts) = counting;
        Ok(Self { config, policies, counts, sessions, refused: HashSet::new() })
    }

    /// A packet to the gateway: a session's, or judged by the first policy that covers it (C2).
    pub(super) fn received(&mut self, clear: &Clear, row: &mut Row<'c>, at: At) {
        self.sessions.expire(at.now_ms, EXPIRED_A_PACKET, |_| ());
        let key = FlowKey::of(&clear.headers);
        let packet = key.and_then(|key| SessionPacket::received(&key, &clear.class));
        let known = packet.and_then(|packet| self.sessions.find(&packet, at.now_ms));
        if let (Some(packet), Some(session)) = (packet, known) {
            let reply = packet.from() != session.origin;
            row.note(|| Step::Session { serial: session.serial, reply });
            return row.accept(By::Session);
        }
        let interface = at.interface.unwrap_or(NO_INTERFACE);
        let Ok(asked) = LocalPacket::new(&clear.class, clear.headers, interface) else { return };
        let answer = self.policies.check(&asked, self.config.schedules);
        let opened = packet
            .filter(|_| answer.is_accept())
            .map(|packet| self.sessions.open(&packet, at.now_ms));
        let full = matches!(opened, Some(Err(_)));
        if let Some(key) = key.filter(|_| full) {
            if self.refused.len() >= SESSIONS as usize {
                self.refused.clear();
            }
            self.refused.insert(key.reversed());
        }
        let serial = opened.and_then(Result::ok).map(|opened| opened.session().serial);
        row.note(|| Step::NewSession { serial });
        row.note(|| Step::Here);
        row.note(|| Step::LocalIn(answer));
        if full {
            row.note(|| Step::SessionsFull);
        }
        decided(answer, row);
        if !answer.is_accept() && clear.headers.fragment == Fragment::NonInitial {
            // Whole, it may be a session's.
            row.drop(GateReason::LaterFragment.into());
        }
    }

    /// A packet of the gateway: opens a session, or refreshes one (C3).
    pub(super) fn sent(&mut self, clear: &Clear, row: &mut Row<'c>, at: At) {
        let key = FlowKey::of(&clear.headers);
        let is_answer = key.is_some_and(|key| self.refused.contains(&key));
        let of = if is_answer { SessionPacket::answer } else { SessionPacket::sent };
        let Some(packet) = key.and_then(|key| of(&key, &clear.class)) else {
            return;
        };
        self.sessions.expire(at.now_ms, EXPIRED_A_PACKET, |_| ());
        let step = match self.sessions.open(&packet, at.now_ms) {
            Ok(Opened::New { session, .. }) => Step::NewSession { serial: Some(session.serial) },
            Ok(Opened::Existing(session)) => {
                Step::Session { serial: session.serial, reply: packet.from() != session.origin }
            }
            Err(_) => Step::SessionsFull,
        };
        row.note(|| step);
    }

    /// What policies say of IKE from one address to another, without a session.
    pub(super) fn ike(&self, endpoints: Endpoints, interface: u32) -> IkeAnswers {
        self.policies.local_in().ike(endpoints, interface, self.config.schedules)
    }

    /// What the policies counted, and how many packets none covered.
    pub(super) fn counts(&self, counts: &mut Vec<PolicyCount>) {
        let default = self.policies.local_in().default_action();
        let default = (Answer { action: default, by: Decider::Default }, self.counts.unmatched());
        counts.extend(self.counts.policies().chain([default]).map(|(answer, packets)| {
            PolicyCount {
                list: "local-in",
                policy: match answer.by {
                    Decider::Policy(id) => Some(id.0),
                    Decider::Default => None,
                },
                action: answer.action.name(),
                packets,
            }
        }));
    }

    /// All sessions.
    pub(super) fn sessions(&self, now_ms: u64) -> impl Iterator<Item = Session> {
        self.sessions.iter(now_ms)
    }
}

fn decided(answer: Answer, row: &mut Row<'_>) {
    let (by, policy, reason) = match answer.by {
        Decider::Policy(id) => (By::Policy, Some(id.0), GateReason::LocalInPolicy),
        Decider::Default => (By::Default, None, GateReason::LocalInDefault),
    };
    match answer.message() {
        None => row.accept(by),
        Some(message) => {
            row.message = Some(message.to_string());
            row.drop(reason.into());
        }
    }
    (row.by, row.policy) = (Some(by), policy);
}
