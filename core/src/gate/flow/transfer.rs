//! Connections on their way to another table: read piece by piece, and put in with the age they have.

use bytemuck::Zeroable;

use super::{FlowKey, FlowTable, Full, Inserted};
use crate::snapshot::Pass;

impl<T: Copy + Zeroable> FlowTable<'_, T> {
    /// [`insert`](Self::insert) of a connection whose last match was `idle_ms` ago, on another node: as if it
    /// had been here since. An idle time above the time to live counts as that. If the connection is there,
    /// the later of the two matches counts.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn insert_idle(
        &mut self,
        key: &FlowKey,
        value: T,
        ttl_ms: u32,
        idle_ms: u64,
        now_ms: u64,
    ) -> Result<Inserted<'_, T>, Full> {
        self.insert_counted(key, value, ttl_ms, idle_ms, now_ms, &mut ())
    }

    /// The first connection at or behind `pass` that lives, which is moved on behind it, or by `slots`.
    ///
    /// # Bound
    /// `slots` words.
    pub(crate) fn next_of(
        &self,
        pass: &mut Pass,
        slots: u32,
        now_ms: u64,
    ) -> Option<(FlowKey, &T, u64)> {
        let at = self.clock.read(now_ms);
        for _ in 0..slots {
            let place = pass.step(self.slots(), self.moved)?;
            if let (Some(entry), Some((value, idle_ms))) =
                (self.entries.get(place), self.live(place, at))
            {
                return Some((entry.key.key(), value, idle_ms));
            }
        }
        None
    }

    /// The value at a place that lives, matched `idle_ms` before now unless it was matched since.
    pub(super) fn matched_before(&mut self, place: usize, at: u64, idle_ms: u64) -> Option<&mut T> {
        let (_, known_ms) = self.live(place, at)?;
        let idle_ms = idle_ms.min(known_ms);
        self.matched(place, at.wrapping_sub(idle_ms))
    }
}
