//! SAs on their way to another node, and from it.

use super::{ChildId, Control, SaParams};
use crate::counters;
use crate::error::SaError;
use crate::sad::{Lifetime, ReplayStart, SaId, SaStart, Used};
use crate::snapshot::{Pass, SaRecord};

impl Control<'_> {
    /// All that another node needs to know of a live SA, whose Child SA it knows by the name that `name`
    /// gives it.
    ///
    /// Workers may be at work: each of its numbers is that of a moment during the call.
    ///
    /// # Errors
    /// [`SaError::NotFound`].
    pub fn sa_record(
        &self,
        sa: SaId,
        now_ms: u64,
        name: impl FnOnce(ChildId) -> u64,
    ) -> Result<SaRecord, SaError> {
        let found = self.live(sa)?;
        let fields = found.hot.get(sa).ok_or(SaError::NotFound)?;
        let SaStart { replay, lifetime, used, .. } = found.as_start();
        let counts = counters::of_sa(&self.sad.sad().segments, sa.index());
        let Used { packets, octets, told } = used;
        Ok(SaRecord {
            key: self.sad.sad().key_of(sa).ok_or(SaError::NotFound)?,
            child: name(ChildId::from_raw(fields.child, fields.child_generation)),
            mode: fields.mode,
            encap: fields.encap,
            replay,
            lifetime: with_times(lifetime, |at_ms| at_ms.saturating_sub(now_ms)),
            used: [packets, octets],
            told,
            accepted: [counts.packets, counts.octets],
        })
    }

    /// Adds the SA of a record to a published Child SA: that of [`SaRecord::child`] in this node's
    /// configuration. It goes on where it was: what was used of its lifetime is used, and its time goes on
    /// as it was left.
    ///
    /// `margin` is added to its highest sequence number: all up to that counts as seen. It is the price of no
    /// replays ([`snapshot`](crate::snapshot#what-replay-protection-is-left)): up to as many of the sender's next
    /// packets. Where no packet was seen it counts from the first number. It stops at the last number there is,
    /// and does nothing to an SA without a replay window.
    ///
    /// # Errors
    /// As [`Control::add_sa`], which this is: [`SaError::Duplicate`], [`SaError::Full`], [`SaError::Window`]...
    pub fn restore_sa(
        &mut self,
        child: ChildId,
        record: &SaRecord,
        margin: u64,
        now_ms: u64,
    ) -> Result<SaId, SaError> {
        let mut replay = record.replay;
        if margin > 0 && replay.window > 0 {
            let top = match replay.start {
                ReplayStart::High(high) if replay.esn => u64::from(high) << 32,
                ReplayStart::High(_) => 0,
                ReplayStart::Top(top) => top,
            };
            // Without ESN it must not come round: the numbers from 0 on would be new again.
            let last = if replay.esn { u64::MAX } else { u64::from(u32::MAX) };
            replay.start = ReplayStart::Top(top.saturating_add(margin).min(last));
        }
        let SaRecord { key, mode, encap, lifetime, used, told, accepted, .. } = *record;
        let [packets, octets] = used;
        let lifetime = with_times(lifetime, |left_ms| now_ms.saturating_add(left_ms));
        let params = SaParams { key, mode, encap, replay, lifetime };
        let used = Used { packets, octets, told };
        self.add_started(child, &params, &SaStart { replay, lifetime, used, accepted })
    }

    /// The record of the first SA at or behind `pass`, which is moved on behind it, or by `slots`.
    pub(crate) fn next_record(
        &self,
        pass: &mut Pass,
        slots: u32,
        now_ms: u64,
        name: impl FnOnce(ChildId) -> u64,
    ) -> Option<SaRecord> {
        let sad = self.sad.sad();
        let all = sad.slots();
        for _ in 0..slots {
            let index = pass.step(all, 0)?;
            if let Some(sa) = sad.live_at(index as u32) {
                return self.sa_record(sa, now_ms, name).ok();
            }
        }
        None
    }
}

/// A lifetime with its times, or what is left until them, turned into the other.
fn with_times(mut lifetime: Lifetime, time: impl Fn(u64) -> u64) -> Lifetime {
    for limit in [&mut lifetime.soft, &mut lifetime.hard] {
        limit.at_ms = limit.at_ms.map(&time);
    }
    lifetime
}
