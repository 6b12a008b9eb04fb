//! Connections on their way to another node, and from it.

use super::{Connection, ReplyPath};
use crate::gate::flow::Full;
use crate::headers::protocol;
use crate::snapshot::{Pass, PinRecord, RestoreError};

impl ReplyPath<'_, '_> {
    /// The connection of a record, as far as it was. Of one that is there the later of the two stays.
    ///
    /// # Errors
    /// [`RestoreError::Foreign`]: no connection is like that, or a handshake is under way and not with the IKE port of
    /// this box; [`RestoreError::Ended`]; [`RestoreError::Full`], for what is half open or at all.
    pub fn restore(&mut self, record: &PinRecord, now_ms: u64) -> Result<(), RestoreError> {
        let PinRecord { key, interface, idle_ms, next, mark, stage, closed_for_ms } = *record;
        let closed_ms = (now_ms as u32).wrapping_sub(closed_for_ms);
        let connection = Connection { came_in: interface, next, mark, closed_ms, stage };
        let is_half_open = connection.half_open() == 1;
        if key.protocol != protocol::TCP
            || !connection.is_possible()
            || is_half_open && !self.is_ours(&key)
        {
            return Err(RestoreError::Foreign);
        }
        let timers = self.limits.timers;
        let is_closed = connection.is(Connection::CLOSED);
        let ttl_ms = match (is_half_open, is_closed) {
            (true, _) => timers.half_open_ms,
            (false, true) => timers.closed_ms,
            (false, false) => timers.established_ms,
        };
        if idle_ms > u64::from(ttl_ms) || is_closed && closed_for_ms > timers.closed_ms {
            return Err(RestoreError::Ended);
        }
        let known = self.table.peek(&key, now_ms).map(|(known, known_ms)| (*known, known_ms));
        if known.is_some_and(|(_, known_ms)| known_ms <= idle_ms) {
            return Ok(());
        }
        let was_half_open = known.map_or(0, |(known, _)| known.half_open());
        let others = self.half_open.saturating_sub(was_half_open);
        if is_half_open && others >= self.limits.half_open {
            return Err(Full { capacity: self.limits.half_open }.into());
        }
        self.close(&key, now_ms);
        Ok(self.insert(&key, connection, ttl_ms, idle_ms, now_ms)?)
    }

    pub(crate) fn next_record(
        &self,
        pass: &mut Pass,
        slots: u32,
        now_ms: u64,
    ) -> Option<PinRecord> {
        let (key, connection, idle_ms) = self.table.next_of(pass, slots, now_ms)?;
        let Connection { came_in: interface, next, mark, closed_ms, stage } = *connection;
        let is_closed = connection.is(Connection::CLOSED);
        let closed_for_ms = if is_closed { (now_ms as u32).wrapping_sub(closed_ms) } else { 0 };
        Some(PinRecord { key, interface, idle_ms, next, mark, stage, closed_for_ms })
    }
}
