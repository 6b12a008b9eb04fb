//! Auditable events (RFC 4301 section 5.2): few, and never instead of counting.
//!
//! Each worker has a bounded queue and a token bucket for each kind of event, on the caller's
//! clock. What does not fit the budget or the queue is suppressed and counted, and the next event
//! of its kind says how many were (seed 001; T31).

use heapless::Deque;

use crate::control::{ChildId, TunnelId};
use crate::headers::{InnerHeaders, OuterHeaders};
use crate::sad::{LimitKind, SaId};
use crate::selector::Selector;
use crate::verdict::{Reason, Refusal};

/// Kinds of events that have a budget and a share of the queue of their own.
const KINDS: usize = 5;

/// Events that a worker keeps until they are drained, a fifth of each kind.
pub const QUEUE_EVENTS: usize = 20;

/// What an event tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// A packet was dropped: the reason, and what explains it.
    Drop(Refusal),
    /// The SA has reached its soft limit of this kind (RFC 4301 section 4.4.2.1): negotiate a new one.
    /// The packet was not dropped for it. A hard limit is told by the drops that follow.
    SoftLifetime(LimitKind),
}

/// An auditable event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// When, on the caller's clock, in milliseconds.
    pub time_ms: u64,
    /// What happened.
    pub cause: Cause,
    /// SPI, sequence number, addresses, protocol and encapsulation of the packet that arrived.
    /// `None` if it was too malformed to have them.
    pub outer: Option<OuterHeaders>,
    /// The selector values of the decrypted packet, if it could be read.
    pub inner: Option<InnerHeaders>,
    /// For drops by selectors: the one that came nearest to covering the packet, "the selector
    /// values from the relevant SAD entry".
    pub nearest: Option<Selector>,
    /// The SA it came on.
    pub sa: Option<SaId>,
    /// Tunnel and Child SA of that SA.
    pub arrived: Option<(TunnelId, ChildId)>,
    /// The caller's number for the interface it came in on.
    pub interface: u32,
    /// Events of the same kind that were suppressed since the last one that was not.
    pub suppressed: u32,
}

impl Event {
    /// Why a packet was dropped, if one was.
    pub const fn refusal(&self) -> Option<&Refusal> {
        match &self.cause {
            Cause::Drop(refusal) => Some(refusal),
            Cause::SoftLifetime(_) => None,
        }
    }
}

/// How many events may be made. Each kind of drop has a budget of its own, so that a flood of
/// unknown SPIs does not hide a wrong SA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventBudget {
    /// Events a second of each kind; 0 = none.
    pub per_second: u32,
    /// How many of them may come at once, at least 1.
    pub burst: u32,
}

impl Default for EventBudget {
    /// Ten a second, ten at once.
    fn default() -> Self {
        Self { per_second: 10, burst: 10 }
    }
}

/// The kinds of events that have a budget of their own.
#[derive(Clone, Copy)]
enum Kind {
    UnknownSpi = 0,
    Selectors = 1,
    Malformed = 2,
    Opening = 3,
    Lifetime = 4,
}

fn kind_of(cause: &Cause) -> Kind {
    let reason = match cause {
        Cause::SoftLifetime(_) => return Kind::Lifetime,
        Cause::Drop(refusal) => refusal.reason,
    };
    match reason {
        Reason::UnknownSpi => Kind::UnknownSpi,
        Reason::WrongSa | Reason::NoSelector | Reason::FragmentNoPorts => Kind::Selectors,
        Reason::Malformed(_) | Reason::OuterFragment | Reason::WrongEncap => Kind::Malformed,
        Reason::AuthFailed
        | Reason::BadPadding
        | Reason::Replay
        | Reason::NotOpened
        | Reason::SaExpired
        | Reason::Dummy => Kind::Opening,
    }
}

/// A token bucket in the form of a virtual clock (GCRA): the time at which the next event would
/// be on schedule, in microseconds. No state but that, so it cannot drift.
#[derive(Clone, Copy, Default)]
struct Bucket {
    due_us: u64,
    suppressed: u32,
    /// Events of this kind in the queue: each kind has its share of it.
    queued: usize,
}

impl Bucket {
    fn take(&mut self, budget: &EventBudget, now_ms: u64) -> bool {
        let Some(interval_us) = 1_000_000_u64.checked_div(u64::from(budget.per_second)) else {
            return false;
        };
        let interval_us = interval_us.max(1);
        let now_us = now_ms.saturating_mul(1000);
        let ahead = interval_us.saturating_mul(u64::from(budget.burst.max(1)).saturating_sub(1));
        // A clock that jumped back far must not silence the events for as long.
        let latest = now_us.saturating_add(ahead).saturating_add(interval_us);
        self.due_us = self.due_us.min(latest);
        if self.due_us > now_us.saturating_add(ahead) {
            return false;
        }
        self.due_us = self.due_us.max(now_us).saturating_add(interval_us);
        true
    }
}

/// One worker's events.
pub(crate) struct Events {
    queue: Deque<Event, QUEUE_EVENTS>,
    budget: EventBudget,
    buckets: [Bucket; KINDS],
}

impl Events {
    pub(crate) fn new() -> Self {
        Self {
            queue: Deque::new(),
            budget: EventBudget::default(),
            buckets: [Bucket::default(); KINDS],
        }
    }

    pub(crate) fn set_budget(&mut self, budget: EventBudget) {
        self.budget = budget;
    }

    /// Asks for leave to make an event; false: it is suppressed.
    pub(crate) fn admit(&mut self, cause: &Cause, now_ms: u64) -> bool {
        let Some(bucket) = self.buckets.get_mut(kind_of(cause) as usize) else { return false };
        if bucket.queued >= QUEUE_EVENTS / KINDS || !bucket.take(&self.budget, now_ms) {
            bucket.suppressed = bucket.suppressed.saturating_add(1);
            return false;
        }
        true
    }

    /// Queues an event that was admitted.
    pub(crate) fn push(&mut self, mut event: Event) {
        if let Some(bucket) = self.buckets.get_mut(kind_of(&event.cause) as usize) {
            event.suppressed = core::mem::take(&mut bucket.suppressed);
            bucket.queued += 1;
        }
        // `admit` saw room, and nothing was queued since.
        let _ = self.queue.push_back(event);
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        let event = self.queue.pop_front()?;
        if let Some(bucket) = self.buckets.get_mut(kind_of(&event.cause) as usize) {
            bucket.queued = bucket.queued.saturating_sub(1);
        }
        Some(event)
    }
}
