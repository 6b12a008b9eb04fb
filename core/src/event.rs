//! Auditable events (RFC 4301 section 5.2): few, and never instead of counting.
//!
//! ```text
//! drop ─▶ bucket of reason and source prefix ─▶ bucket of the kind ─▶ queue, a share a kind ─▶ host
//!           a quarter of the kind's budget        the budget
//! ```
//! What does not fit a budget or the queue is suppressed and counted, and the next event of its kind
//! says how many were (seed 001; T31). All of it is on the caller's clock and in fixed memory, in
//! each worker.
//!
//! What a flood can hide:
//! - of one reason from one prefix: nothing of another reason or prefix, up to three such at once.
//! - of SPIs never seen, from any number of sources: no drop on an SPI that is known, as after a rekey
//!   (B4), and nothing of another kind. Whoever floods has to guess 32 bits to be of a known one.
//!   Of SPIs never seen themselves, a source that comes back while the table remembers it goes
//!   before those that come once. One that sends less than one packet in 60 of the flood can be
//!   hidden by it; no table of this size can tell it from the flood (Misra and Gries 1982).

mod forti_line;
mod sources;

use heapless::Deque;

use crate::control::{ChildId, TunnelId};
use crate::headers::{InnerHeaders, OuterHeaders};
use crate::sad::{LimitKind, SaId};
use crate::selector::Selector;
use crate::verdict::{Reason, Refusal, SpiClass};
use sources::{Source, Sources};

pub use forti_line::{Clock, FortiLine};

/// Events that a worker keeps until they are drained: 4 of each kind, for unknown SPIs 2 of those never
/// seen and 2 of the others. One source has half of a share.
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
    /// Events of the same kind that were suppressed since the last one that was not, of whatever
    /// source. These numbers add up: with the events, they are all there would have been.
    pub suppressed: u32,
    /// Those of the same reason and source prefix (/24 of IPv4, /48 of IPv6) that were suppressed since
    /// its last event, as far as the worker remembers the source. They are in the numbers of the kind,
    /// of this event or an earlier one: not to be added to those.
    pub suppressed_of_source: u32,
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
/// unknown SPIs does not hide a wrong SA; a reason and a source prefix have a quarter of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventBudget {
    /// Events a second of each kind; 0 = none.
    pub per_second: u32,
    /// How many of them may come at once, at least 1. With 4 or more, a quarter is kept for sources that
    /// were seen before.
    pub burst: u32,
}

impl Default for EventBudget {
    /// Ten a second, ten at once.
    fn default() -> Self {
        Self { per_second: 10, burst: 10 }
    }
}

/// The part of a budget that one source has, and that those seen before have for themselves.
const SOURCE_PART: u32 = 4;

/// The kinds of events that have a budget of their own.
#[derive(Clone, Copy)]
enum Kind {
    /// An SPI that nothing is known of: anybody can send it.
    NeverSeen = 0,
    /// An SPI that is larval, was deleted, or is known elsewhere.
    KnownSpi = 1,
    Selectors = 2,
    Malformed = 3,
    Opening = 4,
    Lifetime = 5,
}

impl Kind {
    const COUNT: usize = 6;

    /// Events in the queue.
    const fn share(self) -> u32 {
        match self {
            Self::NeverSeen | Self::KnownSpi => 2,
            Self::Selectors | Self::Malformed | Self::Opening | Self::Lifetime => 4,
        }
    }
}

const _: () = {
    use Kind::{KnownSpi, Lifetime, Malformed, NeverSeen, Opening, Selectors};
    let all = [NeverSeen, KnownSpi, Selectors, Malformed, Opening, Lifetime];
    let [a, b, c, d, e, f] = all;
    let sum = a.share() + b.share() + c.share() + d.share() + e.share() + f.share();
    assert!(sum as usize == QUEUE_EVENTS && all.len() == Kind::COUNT, "shares are the queue");
};

fn kind_of(cause: &Cause) -> Kind {
    let refusal = match cause {
        Cause::SoftLifetime(_) => return Kind::Lifetime,
        Cause::Drop(refusal) => refusal,
    };
    match refusal.reason {
        Reason::UnknownSpi => match refusal.spi_class {
            None | Some(SpiClass::NeverSeen) => Kind::NeverSeen,
            Some(_) => Kind::KnownSpi,
        },
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

/// What a bucket gives: one event each interval, and some at once.
#[derive(Clone, Copy)]
struct Pace {
    interval_us: u64,
    /// Time for which events may come at once, beyond the first one.
    ahead_us: u64,
}

impl Pace {
    /// One part of a budget; `None` if it allows no event.
    fn of(budget: &EventBudget, part: u32) -> Option<Self> {
        let interval_us = 1_000_000_u64.checked_div(u64::from(budget.per_second))?.max(1);
        let interval_us = interval_us.saturating_mul(u64::from(part));
        let burst = budget.burst.checked_div(part)?.max(1);
        Some(Self { interval_us, ahead_us: interval_us.saturating_mul(u64::from(burst) - 1) })
    }

    /// How much of the bucket is kept for sources seen before.
    fn reserve_us(&self, budget: &EventBudget) -> u64 {
        let kept = budget.burst.checked_div(SOURCE_PART).unwrap_or(0);
        self.interval_us.saturating_mul(u64::from(kept))
    }
}

/// A token bucket in the form of a virtual clock (GCRA): the time at which the next event would
/// be on schedule, in microseconds. No state but that, so it cannot drift.
#[derive(Clone, Copy, Default)]
struct Due(u64);

impl Due {
    /// True if an event may be made now, and another `reserve_us` would not be in the way of it.
    fn is_now(self, pace: &Pace, reserve_us: u64, now_us: u64) -> bool {
        let until = now_us.saturating_add(pace.ahead_us.saturating_sub(reserve_us));
        // A clock that jumped back far must not silence the events for as long.
        self.0 <= until || self.debt_us(pace, now_us) == 0
    }

    fn take(&mut self, pace: &Pace, now_us: u64) {
        let debt = self.debt_us(pace, now_us);
        self.0 = now_us.saturating_add(debt).saturating_add(pace.interval_us);
    }

    /// How far the bucket is ahead of the clock; 0 if so far that the clock must have jumped back.
    fn debt_us(self, pace: &Pace, now_us: u64) -> u64 {
        let most = pace.ahead_us.saturating_add(pace.interval_us);
        Some(self.0.saturating_sub(now_us)).filter(|debt| *debt <= most).unwrap_or(0)
    }
}

/// What one kind of events has.
#[derive(Clone, Copy, Default)]
struct Bucket {
    due: Due,
    suppressed: u32,
    /// Events of this kind that were queued and that were taken out, modulo 2^32: those in the queue
    /// are the difference, and come out in this order.
    queued: u32,
    drained: u32,
}

impl Bucket {
    fn waiting(&self) -> u32 {
        self.queued.wrapping_sub(self.drained)
    }

    /// Room in the queue for an event of a source whose last event was the `told`th of the kind.
    fn has_room(&self, share: u32, told: Option<u32>) -> bool {
        let waiting = self.waiting();
        let waits = told.is_some_and(|told| told.wrapping_sub(self.drained) < waiting);
        waiting < if waits { share / 2 } else { share }
    }
}

/// Leave to queue one event, and what it has to tell.
pub struct Leave {
    kind: Kind,
    suppressed: u32,
    suppressed_of_source: u32,
}

/// What becomes of a worker's auditable events. There are two: [`Events`] and [`NoEvents`].
pub trait Audit: sealed::Audit {}

impl<Q: sealed::Audit + ?Sized> Audit for Q {}

pub(crate) mod sealed {
    use super::{Cause, Event, EventBudget, Leave, OuterHeaders};

    pub trait Audit {
        /// Sets how many events may be made.
        fn set_budget(&mut self, budget: EventBudget);

        /// Asks for leave to make an event; `None`: it is suppressed. `hash` is keyed with what peers do
        /// not know.
        fn admit(
            &mut self,
            cause: &Cause,
            outer: Option<&OuterHeaders>,
            now_ms: u64,
            hash: &dyn Fn(u64) -> u64,
        ) -> Option<Leave>;

        /// Queues an event that was admitted, and nothing was since.
        fn push(&mut self, leave: Leave, event: Event);

        /// The oldest event.
        fn pop(&mut self) -> Option<Event>;
    }
}

/// No events: all of them are suppressed, and counted as that. Takes no memory, and a program whose workers
/// all do so links none of the code.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoEvents;

impl sealed::Audit for NoEvents {
    fn set_budget(&mut self, _budget: EventBudget) {}

    fn admit(
        &mut self,
        _cause: &Cause,
        _outer: Option<&OuterHeaders>,
        _now_ms: u64,
        _hash: &dyn Fn(u64) -> u64,
    ) -> Option<Leave> {
        None
    }

    fn push(&mut self, _leave: Leave, _event: Event) {}

    fn pop(&mut self) -> Option<Event> {
        None
    }
}

/// One worker's events, as many as [`QUEUE_EVENTS`], and what decides which are made.
pub struct Events {
    queue: Deque<Event, QUEUE_EVENTS>,
    budget: EventBudget,
    buckets: [Bucket; Kind::COUNT],
    sources: Sources,
}

impl Default for Events {
    #[inline]
    fn default() -> Self {
        Self {
            queue: Deque::new(),
            budget: EventBudget::default(),
            buckets: [Bucket::default(); Kind::COUNT],
            sources: Sources::new(),
        }
    }
}

impl sealed::Audit for Events {
    fn set_budget(&mut self, budget: EventBudget) {
        self.budget = budget;
    }

    /// # Bound
    /// One hash, and the buckets of one set of [`sources`].
    fn admit(
        &mut self,
        cause: &Cause,
        outer: Option<&OuterHeaders>,
        now_ms: u64,
        hash: &dyn Fn(u64) -> u64,
    ) -> Option<Leave> {
        let kind = kind_of(cause);
        let bucket = self.buckets.get_mut(kind as usize)?;
        let now_us = now_ms.saturating_mul(1000);
        let paces = Pace::of(&self.budget, 1).zip(Pace::of(&self.budget, SOURCE_PART));
        // Soft limits come from SAs, not from packets that anybody can send.
        let mut source = match (cause, &paces) {
            (Cause::Drop(refusal), Some((_, pace))) => {
                let hash = hash(sources::number(refusal, outer));
                self.sources.find(hash, pace, now_us)
            }
            _ => None,
        };
        let leave = paces.is_some_and(|(pace, source_pace)| match &source {
            None => bucket.has_room(kind.share(), None) && bucket.due.is_now(&pace, 0, now_us),
            Some(Source { bucket: own, seen }) => {
                let reserve = if *seen { 0 } else { pace.reserve_us(&self.budget) };
                bucket.has_room(kind.share(), own.told())
                    && own.due.is_now(&source_pace, 0, now_us)
                    && bucket.due.is_now(&pace, reserve, now_us)
            }
        });
        match (paces, leave) {
            (Some((pace, source_pace)), true) => {
                bucket.due.take(&pace, now_us);
                let own = source.as_mut().map(|source| {
                    source.bucket.due.take(&source_pace, now_us);
                    source.bucket.tell(bucket.queued)
                });
                let suppressed = core::mem::take(&mut bucket.suppressed);
                Some(Leave { kind, suppressed, suppressed_of_source: own.unwrap_or(0) })
            }
            _ => {
                bucket.suppressed = bucket.suppressed.saturating_add(1);
                if let Some(source) = source {
                    source.bucket.suppress();
                }
                None
            }
        }
    }

    fn push(&mut self, leave: Leave, event: Event) {
        let Leave { kind, suppressed, suppressed_of_source } = leave;
        if let Some(bucket) = self.buckets.get_mut(kind as usize) {
            bucket.queued = bucket.queued.wrapping_add(1);
        }
        let _ = self.queue.push_back(Event { suppressed, suppressed_of_source, ..event });
    }

    fn pop(&mut self) -> Option<Event> {
        let event = self.queue.pop_front()?;
        if let Some(bucket) = self.buckets.get_mut(kind_of(&event.cause) as usize) {
            bucket.drained = bucket.drained.wrapping_add(1);
        }
        Some(event)
    }
}

#[cfg(test)]
mod tests;
