//! Buckets for sources: a small table that a flood may fill, and what it then forgets costs least.
//!
//! ```text
//! reason + prefix ─ keyed hash ─▶ one set ─▶ its bucket, or one that loses least by being reused
//! ```
//! Prefixes, not addresses: who can send from one address can often send from its neighbours, and who
//! has an IPv6 /48 has 2^80 of them.
//!
//! A bucket that is full again says nothing that a new one does not say, so those go first; then those
//! with the fewest packets suppressed. A prefix that came twice is therefore not driven out by
//! prefixes that come once. The kind counted all that a lost bucket did (`super`): only whose packets
//! they were is lost.

use super::{Due, Pace};
use crate::headers::{Endpoints, OuterHeaders};
use crate::verdict::{Refusal, SpiClass};

/// Buckets of a set.
const WAYS: usize = 4;

/// Sets. What is remembered is how many sources may flood at once and still be told apart: 64 on a
/// server, 1.5 KiB a worker; 16 on a microcontroller, whose events are 2 KiB already.
const SETS: usize = if cfg!(target_pointer_width = "64") { 16 } else { 4 };

/// A source that has sent nothing for so long is forgotten first, whatever it did.
const STALE_MS: u32 = 10_000;

/// The reason and the source prefix of a drop as one number. Packets whose source was not read are as
/// of one source.
pub(super) fn number(refusal: &Refusal, outer: Option<&OuterHeaders>) -> u64 {
    let (family, prefix) = match outer.map(|outer| outer.endpoints) {
        None => (0, 0),
        Some(Endpoints::V4 { src, .. }) => (1, u64::from(src >> 8)),
        Some(Endpoints::V6 { src, .. }) => (2, (src >> 80) as u64),
    };
    // An SPI that is known and one that is not have budgets of their own.
    let known = !matches!(refusal.spi_class, None | Some(SpiClass::NeverSeen));
    u64::from(refusal.reason.code()) << 56 | u64::from(known) << 55 | family << 48 | prefix
}

/// What is remembered of one source.
#[derive(Clone, Copy, Default)]
pub(super) struct SourceBucket {
    pub(super) due: Due,
    /// The low half of the hash; 0 = free.
    tag: u32,
    /// The last packet, milliseconds modulo 2^32.
    last_ms: u32,
    /// Packets without an event since the last one with.
    suppressed: u32,
    /// Number of the last event among those of its kind, plus 1; 0 = none.
    told: u32,
}

impl SourceBucket {
    /// Number of the last event of this source among those of its kind.
    pub(super) fn told(&self) -> Option<u32> {
        self.told.checked_sub(1)
    }

    /// The source has its event, which is the `nth` of its kind: returns what it tells.
    pub(super) fn tell(&mut self, nth: u32) -> u32 {
        self.told = nth.wrapping_add(1);
        core::mem::take(&mut self.suppressed)
    }

    pub(super) fn suppress(&mut self) {
        self.suppressed = self.suppressed.saturating_add(1);
    }

    /// What would be lost with it: the least goes first.
    fn worth(&self, pace: &Pace, now_us: u64) -> (bool, u64, u32) {
        let idle_ms = ms(now_us).wrapping_sub(self.last_ms);
        if self.tag == 0 || idle_ms > STALE_MS {
            return (self.tag != 0, 0, 0);
        }
        (true, self.due.debt_us(pace, now_us), self.suppressed.saturating_add(1))
    }
}

/// A source in the table.
pub(super) struct Source<'t> {
    pub(super) bucket: &'t mut SourceBucket,
    /// It was there before this packet.
    pub(super) seen: bool,
}

/// The table.
pub(super) struct Sources {
    sets: [[SourceBucket; WAYS]; SETS],
    /// Where among equals the next one to be reused is.
    turn: usize,
}

impl Sources {
    pub(super) fn new() -> Self {
        let set = [SourceBucket::default(); WAYS];
        Self { sets: [set; SETS], turn: 0 }
    }

    /// The bucket of the source with this hash. There always is one.
    ///
    /// # Bound
    /// The four buckets of one set, twice.
    pub(super) fn find(&mut self, hash: u64, pace: &Pace, now_us: u64) -> Option<Source<'_>> {
        let tag = (hash as u32).max(1);
        let Self { sets, turn } = self;
        let set = sets.get_mut((hash >> 32) as usize & (SETS - 1))?;
        let place = set.iter().position(|bucket| bucket.tag == tag);
        let seen = place.is_some();
        let place = place.unwrap_or_else(|| {
            *turn = turn.wrapping_add(1);
            let places = (0..WAYS).map(|way| way.wrapping_add(*turn) & (WAYS - 1));
            let worth = |place: &usize| set.get(*place).map(|bucket| bucket.worth(pace, now_us));
            places.min_by_key(worth).unwrap_or(0)
        });
        let bucket = set.get_mut(place)?;
        if !seen {
            *bucket = SourceBucket { tag, ..SourceBucket::default() };
        }
        bucket.last_ms = ms(now_us);
        Some(Source { bucket, seen })
    }
}

const _: () = assert!(SETS.is_power_of_two() && WAYS.is_power_of_two(), "masks");

/// Milliseconds modulo 2^32, of the microseconds that buckets count.
fn ms(now_us: u64) -> u32 {
    now_us.wrapping_div(1000) as u32
}
