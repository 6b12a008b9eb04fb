//! Sessions that end on this box: IKE over UDP 500 and 4500, IKE over TCP, and whatever else it speaks.
//!
//! ```text
//! sent by this box ───────────────────────────▶ open ──▶ a session, new or matched
//! received ──▶ find ──┬─ a session: accepted, no policy is asked (C2)
//!                     └─ none ─▶ local-in policies ──accept──▶ open
//! ESP and AH ─────────▶ never here: SessionPacket has no such value (T28)
//! ```
//! Policies judge only what is started from outside, so a box that denies IKE still has a tunnel as long as
//! it spoke first and not too long ago. When the session is gone the peer's IKE meets the policy, while ESP
//! goes on: the two ends drift apart. [`health`](crate::gate::health) says so aloud.
//!
//! A flood does not cost sessions that live: they are never evicted. Nor does it cost those that this box
//! will start: remote hosts get no more than the capacity less [`Limits::reserved`]. A packet that a policy
//! accepts is accepted, whether there is room for its session or not. Its answer is none that this box
//! starts: where the session found no room, [`SessionPacket::answer`] keeps the answer from taking what is
//! reserved.

mod transfer;

use core::fmt;
use core::mem::MaybeUninit;

use bytemuck::Zeroable;

use crate::error::SetupError;
use crate::gate::flow::{FlowKey, FlowTable, Full, Gone, Inserted, since_ms};
use crate::headers::{Outer, protocol};

/// A session that was not matched for longer than this is gone: 180 s (C3).
pub const TTL_MS: u32 = 180_000;

/// One end of a session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Side {
    /// This box.
    Local,
    /// The other one.
    Remote,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Remote => "remote",
        })
    }
}

/// A packet that may belong to a session: sent by this box or addressed to it, and neither ESP nor AH.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionPacket {
    /// With this box as the source.
    key: FlowKey,
    from: Side,
    /// Who starts the session, if there is none.
    origin: Side,
}

impl SessionPacket {
    /// A packet that this box sends. `None`: IPsec, which has no session, in UDP or TCP neither.
    pub fn sent(packet: &FlowKey, class: &Outer) -> Option<Self> {
        Self::new(*packet, Side::Local, class)
    }

    /// A packet that this box sends because of one that it received: its session is the remote host's, and has no
    /// room that is reserved for this box. Who answers strangers with [`sent`](Self::sent) lets a flood take that.
    pub fn answer(packet: &FlowKey, class: &Outer) -> Option<Self> {
        Some(Self { origin: Side::Remote, ..Self::sent(packet, class)? })
    }

    /// A packet addressed to this box. `None`: IPsec, which the SPI table judges (B1).
    pub fn received(packet: &FlowKey, class: &Outer) -> Option<Self> {
        Self::new(packet.reversed(), Side::Remote, class)
    }

    fn new(key: FlowKey, from: Side, class: &Outer) -> Option<Self> {
        let ipsec = matches!(class, Outer::Ipsec(_))
            || matches!(key.protocol, protocol::ESP | protocol::AH);
        (!ipsec).then_some(Self { key, from, origin: from })
    }

    /// Who sent it.
    pub fn from(&self) -> Side {
        self.from
    }
}

/// A session as it is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Session {
    /// Addresses, protocol and ports, with this box as the source.
    pub key: FlowKey,
    /// Who sent its first packet.
    pub origin: Side,
    /// Its number: sessions are counted from 1, and from 1 again after 2^32.
    pub serial: u32,
    /// Milliseconds since its first packet.
    pub duration_ms: u64,
    /// Milliseconds that it lives on without a match; at 0 the next one ends it.
    pub left_ms: u64,
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, origin, serial, duration_ms, left_ms } = self;
        let (age_s, left_s) = (duration_ms / 1000, left_ms / 1000);
        write!(f, "session {serial}, {key}, started by {origin}, {age_s} s old, ends in {left_s} s")
    }
}

/// A session that ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// Addresses, protocol and ports, with this box as the source.
    pub key: FlowKey,
    /// Who sent its first packet.
    pub origin: Side,
    /// Its number.
    pub serial: u32,
    /// Milliseconds since its last match.
    pub idle_ms: u64,
}

/// What became of an [`open`](Sessions::open).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opened {
    /// The first packet of a session.
    New {
        /// The session.
        session: Session,
        /// One that had ended and whose place it took; nobody else tells of it.
        ended: Option<Ended>,
    },
    /// The session was there and is matched now.
    Existing(Session),
}

impl Opened {
    /// The session, new or not.
    pub fn session(&self) -> &Session {
        match self {
            Self::New { session, .. } | Self::Existing(session) => session,
        }
    }
}

/// How many sessions there may be, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Sessions of the table.
    pub capacity: u32,
    /// How many of them only this box may start; all that is above the capacity counts as the capacity.
    pub reserved: u32,
    /// A session that was not matched for longer than this is gone: [`TTL_MS`] by default.
    pub ttl_ms: u32,
}

impl Limits {
    /// A quarter reserved, 180 s.
    pub const fn of(capacity: u32) -> Self {
        Self { capacity, reserved: capacity.div_ceil(4), ttl_ms: TTL_MS }
    }
}

#[derive(Clone, Copy)]
#[repr(C)]
struct State {
    started_ms: u64,
    serial: u32,
    /// 1 if a remote host sent the first packet.
    from_remote: u32,
}

// SAFETY: integers; all zero is valid.
#[allow(unsafe_code)]
unsafe impl Zeroable for State {}

impl State {
    fn origin(&self) -> Side {
        if self.from_remote == 0 { Side::Local } else { Side::Remote }
    }
}

/// The sessions of one worker.
///
/// # Bound
/// That of the [table](FlowTable#bound); one lookup for both directions.
///
/// # Concurrency
/// One owner, as the table.
pub struct Sessions<'m> {
    table: FlowTable<'m, State>,
    limits: Limits,
    serial: u32,
    /// Those that remote hosts started, ended and not told of included.
    from_remote: u32,
}

impl<'m> Sessions<'m> {
    /// Octets of memory that [`Sessions::new_in`] needs.
    ///
    /// # Errors
    /// As [`FlowTable::octets`].
    pub fn octets(limits: &Limits) -> Result<usize, SetupError> {
        FlowTable::<State>::octets(limits.capacity)
    }

    /// No sessions, in the caller's memory. `seed` is 128 bits that peers do not know.
    ///
    /// # Errors
    /// As [`FlowTable::new_in`].
    pub fn new_in(
        memory: &'m mut [MaybeUninit<u8>],
        limits: &Limits,
        seed: [u64; 2],
    ) -> Result<Self, SetupError> {
        Ok(Self::over(FlowTable::new_in(memory, limits.capacity, seed)?, limits))
    }

    fn over(table: FlowTable<'m, State>, limits: &Limits) -> Self {
        Self { table, limits: *limits, serial: 0, from_remote: 0 }
    }

    /// Sessions, those included that ended and were not told of yet.
    pub fn len(&self) -> u32 {
        self.table.len()
    }

    /// True if there are none at all.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Slots of the table, all of which [`expire`](Self::expire) has to look at in its turn.
    pub fn slots(&self) -> u32 {
        self.table.slots()
    }

    /// The session that a packet belongs to, in either direction; it is matched now.
    ///
    /// `None` of a received packet: the policies judge it.
    #[inline]
    pub fn find(&mut self, packet: &SessionPacket, now_ms: u64) -> Option<Session> {
        let state = self.table.find(&packet.key, now_ms)?;
        Some(session(packet.key, state, self.limits.ttl_ms, 0, now_ms))
    }

    /// [`find`](Self::find) for many packets, whose waits for memory overlap; `found` gets each one's
    /// number.
    pub fn find_burst(
        &mut self,
        packets: &[SessionPacket],
        now_ms: u64,
        mut found: impl FnMut(usize, Option<Session>),
    ) {
        let ttl_ms = self.limits.ttl_ms;
        let keys = packets.iter().map(|packet| packet.key);
        self.table.find_burst(keys, now_ms, |number, key, state| {
            found(number, state.map(|state| session(*key, state, ttl_ms, 0, now_ms)));
        });
    }

    /// The session that a packet would belong to; this is no match.
    pub fn peek(&self, packet: &SessionPacket, now_ms: u64) -> Option<Session> {
        let (state, idle_ms) = self.table.peek(&packet.key, now_ms)?;
        Some(session(packet.key, state, self.limits.ttl_ms, idle_ms, now_ms))
    }

    /// The session of a packet that this box sends, or that a policy accepted: matched, or new.
    ///
    /// # Errors
    /// [`Full`]: no room, for what remote hosts start or at all. What was to be sent is sent and what was
    /// accepted is accepted nevertheless; packets that follow are judged by the policies.
    pub fn open(&mut self, packet: &SessionPacket, now_ms: u64) -> Result<Opened, Full> {
        let Limits { capacity, reserved, ttl_ms } = self.limits;
        let from_remote = packet.origin == Side::Remote;
        if from_remote && self.from_remote >= capacity.saturating_sub(reserved) {
            return self.find(packet, now_ms).map(Opened::Existing).ok_or(Full { capacity });
        }
        let serial = self.serial.checked_add(1).unwrap_or(1);
        let state = State { started_ms: now_ms, serial, from_remote: u32::from(from_remote) };
        match self.table.insert(&packet.key, state, ttl_ms, now_ms)? {
            Inserted::Existing(state) => {
                Ok(Opened::Existing(session(packet.key, state, ttl_ms, 0, now_ms)))
            }
            Inserted::New { value, gone } => {
                let session = session(packet.key, value, ttl_ms, 0, now_ms);
                self.serial = serial;
                self.from_remote = self.from_remote.wrapping_add(u32::from(from_remote));
                let ended = gone.map(|gone| ended(&mut self.from_remote, &gone));
                Ok(Opened::New { session, ended })
            }
        }
    }

    /// Ends the session of a packet: a connection that was closed.
    pub fn close(&mut self, packet: &SessionPacket, now_ms: u64) -> bool {
        let state = self.table.remove(&packet.key, now_ms);
        let from_remote = state.map_or(0, |state| state.from_remote);
        self.from_remote = self.from_remote.saturating_sub(from_remote);
        state.is_some()
    }

    /// Ends the sessions that `which` names, as an operator's command does; gives their number. Their keys
    /// have this box as the source.
    ///
    /// # Bound
    /// Reads the whole table.
    pub fn clear(&mut self, now_ms: u64, mut which: impl FnMut(&FlowKey) -> bool) -> u32 {
        let mut from_remote = 0_u32;
        let cleared = self.table.remove_if(now_ms, |key, state| {
            let clear = which(key);
            from_remote = from_remote.wrapping_add(if clear { state.from_remote } else { 0 });
            clear
        });
        self.from_remote = self.from_remote.saturating_sub(from_remote);
        cleared
    }

    /// Tells of sessions that ended, and gives their places back; to be called again and again.
    ///
    /// # Bound
    /// As many slots as the budget, rounded up to 8.
    pub fn expire(&mut self, now_ms: u64, budget: u32, mut tell: impl FnMut(&Ended)) -> u32 {
        let from_remote = &mut self.from_remote;
        self.table.expire(now_ms, budget, |gone| tell(&ended(from_remote, gone)))
    }

    /// All sessions.
    pub fn iter(&self, now_ms: u64) -> impl Iterator<Item = Session> {
        let ttl_ms = self.limits.ttl_ms;
        self.table
            .iter(now_ms)
            .map(move |(key, state, idle_ms)| session(key, state, ttl_ms, idle_ms, now_ms))
    }
}

#[cfg(feature = "alloc")]
impl Sessions<'static> {
    /// No sessions, in memory of their own. Nothing is allocated after this.
    ///
    /// # Errors
    /// As [`FlowTable::new`].
    pub fn new(limits: &Limits, seed: [u64; 2]) -> Result<Self, SetupError> {
        Ok(Self::over(FlowTable::new(limits.capacity, seed)?, limits))
    }
}

fn session(key: FlowKey, state: &State, ttl_ms: u32, idle_ms: u64, now_ms: u64) -> Session {
    Session {
        key,
        origin: state.origin(),
        serial: state.serial,
        duration_ms: since_ms(now_ms, state.started_ms),
        left_ms: u64::from(ttl_ms).saturating_sub(idle_ms),
    }
}

fn ended(from_remote: &mut u32, gone: &Gone<State>) -> Ended {
    *from_remote = from_remote.saturating_sub(gone.value.from_remote);
    Ended {
        key: gone.key,
        origin: gone.value.origin(),
        serial: gone.value.serial,
        idle_ms: gone.idle_ms,
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests;
