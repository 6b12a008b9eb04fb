//! SA lifetimes (RFC 4301 section 4.4.2.1): soft and hard limits in packets, octets and time.
//!
//! ```text
//! soft reached   one event: negotiate a new SA         the packet is judged as ever
//! hard reached   packets are dropped as sa_expired     the host deletes the SA
//! ```
//!
//! What limits in packets and octets count is shared by all workers and added up atomically, for SAs
//! that have such limits only. Time needs one compare a packet, with the nearest limit.
//!
//! Invariants:
//! - I1: `next_ms` is the soft limit until that was told, then the hard one.
//! - I2: a hard limit once reached stays reached: counts never fall, and the caller's clock is
//!   monotonic.

use super::replay::Cell64;

/// One set of limits; whichever is reached first counts. `None` = no limit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Limit {
    /// Authentic packets.
    pub packets: Option<u64>,
    /// Octets of authentic packets, as [`Worker::check`](crate::Worker::check) is given them.
    pub octets: Option<u64>,
    /// A time on the caller's clock, in milliseconds.
    pub at_ms: Option<u64>,
}

/// How long an SA may be used.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Lifetime {
    /// Reached: one event, so that a new SA is negotiated in time.
    pub soft: Limit,
    /// Reached: packets are dropped. A packet that reaches it exactly is the last one accepted.
    pub hard: Limit,
}

/// Which limit was reached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum LimitKind {
    /// Packets.
    Packets = 1,
    /// Octets.
    Octets = 2,
    /// Time.
    Time = 3,
}

impl LimitKind {
    /// The stable name of this kind.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::Octets => "octets",
            Self::Time => "time",
        }
    }
}

impl Lifetime {
    /// True if packets must be counted.
    pub(super) fn counts(&self) -> bool {
        [self.soft, self.hard].iter().any(|limit| limit.packets.is_some() || limit.octets.is_some())
    }
}

/// What limits say about a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Within,
    /// Reached and not told yet.
    Soft(LimitKind),
    Expired,
}

const NONE: u64 = u64::MAX;

/// The limits of one SA, fixed from its birth.
#[repr(C)]
pub(super) struct Limits {
    soft: [Cell64; 3],
    hard: [Cell64; 3],
}

impl Limits {
    /// Writer: before the SA is visible.
    pub(super) fn set(&self, lifetime: &Lifetime) {
        for (cells, limit) in [(&self.soft, lifetime.soft), (&self.hard, lifetime.hard)] {
            for (cell, limit) in cells.iter().zip([limit.packets, limit.octets, limit.at_ms]) {
                cell.store(limit.unwrap_or(NONE));
            }
        }
    }

    /// What was set.
    pub(super) fn get(&self) -> Lifetime {
        let limit = |cells: &[Cell64; 3]| {
            let [packets, octets, at_ms] =
                cells.each_ref().map(|cell| Some(cell.load()).filter(|&limit| limit != NONE));
            Limit { packets, octets, at_ms }
        };
        Lifetime { soft: limit(&self.soft), hard: limit(&self.hard) }
    }
}

/// What was used of an SA before it came here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Used {
    pub(crate) packets: u64,
    pub(crate) octets: u64,
    /// The soft limit was told.
    pub(crate) told: bool,
}

/// What was used up.
#[repr(C)]
pub(super) struct Usage {
    packets: Cell64,
    octets: Cell64,
    /// The nearest time at which something is due; 0 once a hard limit is reached (I1).
    next_ms: Cell64,
}

impl Usage {
    /// Writer: before the SA is visible.
    pub(super) fn start(&self, lifetime: &Lifetime, used: &Used) {
        self.packets.store(used.packets);
        self.octets.store(used.octets);
        let Lifetime { soft, hard } = lifetime;
        let soft_ms = soft.at_ms.filter(|_| !used.told);
        let next = [soft_ms, hard.at_ms].into_iter().flatten().min();
        let reached = |limit: Option<u64>, used| limit.is_some_and(|limit| used >= limit);
        let is_over = reached(hard.packets, used.packets) || reached(hard.octets, used.octets);
        self.next_ms.store(if is_over { 0 } else { next.unwrap_or(NONE) });
    }

    #[inline]
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        let next = self.next_ms.load();
        now_ms >= next && next != NONE
    }

    pub(super) fn used(&self) -> (u64, u64) {
        (self.packets.load(), self.octets.load())
    }

    /// Counts one authentic packet. `told`: the soft limit was.
    pub(super) fn count(&self, limits: &Limits, octets: u64, shared: bool, told: bool) -> Outcome {
        let packets = self.packets.add(1, shared);
        let octets = self.octets.add(octets, shared);
        let [hard_packets, hard_octets, _] = limits.hard.each_ref().map(Cell64::load);
        if packets >= hard_packets || octets >= hard_octets {
            // Packets that arrive from now on need not be opened.
            self.next_ms.store(0);
        }
        if packets > hard_packets || octets > hard_octets {
            return Outcome::Expired;
        }
        let [soft_packets, soft_octets, _] = limits.soft.each_ref().map(Cell64::load);
        if told {
            return Outcome::Within;
        }
        if packets >= soft_packets {
            Outcome::Soft(LimitKind::Packets)
        } else if octets >= soft_octets {
            Outcome::Soft(LimitKind::Octets)
        } else {
            Outcome::Within
        }
    }

    /// What is due at a time that [`Usage::is_due`] said yes to.
    pub(super) fn due(&self, limits: &Limits, now_ms: u64, told: bool) -> Outcome {
        let [packets, octets, at_ms] = limits.hard.each_ref().map(Cell64::load);
        let (used_packets, used_octets) = self.used();
        if at_ms <= now_ms || used_packets >= packets || used_octets >= octets {
            return Outcome::Expired;
        }
        let [.., soft_ms] = limits.soft.each_ref().map(Cell64::load);
        if soft_ms <= now_ms && !told { Outcome::Soft(LimitKind::Time) } else { Outcome::Within }
    }

    /// The soft limit was told: only the hard one is left. Two workers may both tell.
    pub(super) fn told(&self, limits: &Limits) {
        let [.., hard_ms] = limits.hard.each_ref().map(Cell64::load);
        if self.next_ms.load() != 0 {
            self.next_ms.store(hard_ms);
        }
    }
}

impl Cell64 {
    /// Adds and returns the sum.
    fn add(&self, n: u64, shared: bool) -> u64 {
        let mut old = self.load();
        loop {
            let sum = old.saturating_add(n);
            match self.update(shared, old, sum) {
                Ok(()) => return sum,
                Err(now) => old = now,
            }
        }
    }
}
