//! Sessions on their way to another node, and from it.

use super::{Limits, Opened, Sessions, Side, State, ended, session};
use crate::gate::flow::{Full, Inserted, since_ms};
use crate::headers::protocol;
use crate::snapshot::{Pass, RestoreError, SessionRecord};

impl Sessions<'_> {
    /// The session of a record, with its age and its number from here. One that is there stays, and the later
    /// of the two matches counts.
    ///
    /// No policy is asked, as none is asked for a session that lives; who trusts the channel less asks for those
    /// of [`Side::Remote`] first.
    ///
    /// # Errors
    /// [`RestoreError::Foreign`]: ESP or AH (T28); [`RestoreError::Ended`]; [`RestoreError::Full`], for what remote
    /// hosts started or at all.
    pub fn restore(&mut self, record: &SessionRecord, now_ms: u64) -> Result<Opened, RestoreError> {
        let Limits { capacity, reserved, ttl_ms } = self.limits;
        let SessionRecord { key, origin, age_ms, idle_ms } = *record;
        if matches!(key.protocol, protocol::ESP | protocol::AH) {
            return Err(RestoreError::Foreign);
        }
        if idle_ms > u64::from(ttl_ms) {
            return Err(RestoreError::Ended);
        }
        let from_remote = u32::from(origin == Side::Remote);
        let known_ms = self.table.peek(&key, now_ms).map(|(_, idle_ms)| idle_ms);
        if known_ms.is_none()
            && from_remote == 1
            && self.from_remote >= capacity.saturating_sub(reserved)
        {
            return Err(Full { capacity }.into());
        }
        let serial = self.serial.checked_add(1).unwrap_or(1);
        let started_ms = now_ms.wrapping_sub(age_ms.max(idle_ms));
        let state = State { started_ms, serial, from_remote };
        match self.table.insert_idle(&key, state, ttl_ms, idle_ms, now_ms)? {
            Inserted::Existing(state) => {
                let idle_ms = known_ms.map_or(idle_ms, |known_ms| known_ms.min(idle_ms));
                Ok(Opened::Existing(session(key, state, ttl_ms, idle_ms, now_ms)))
            }
            Inserted::New { value, gone } => {
                let session = session(key, value, ttl_ms, idle_ms, now_ms);
                self.serial = serial;
                self.from_remote = self.from_remote.wrapping_add(from_remote);
                let ended = gone.map(|gone| ended(&mut self.from_remote, &gone));
                Ok(Opened::New { session, ended })
            }
        }
    }

    pub(crate) fn next_record(
        &self,
        pass: &mut Pass,
        slots: u32,
        now_ms: u64,
    ) -> Option<SessionRecord> {
        let (key, state, idle_ms) = self.table.next_of(pass, slots, now_ms)?;
        let age_ms = since_ms(now_ms, state.started_ms).max(idle_ms);
        Some(SessionRecord { key, origin: state.origin(), age_ms, idle_ms })
    }
}
