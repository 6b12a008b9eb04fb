//! All that the tables know, as octets: a standby takes over.
//!
//! ```text
//! this node    Control, Sessions, ReplyPath, Passthrough ─▶ Writer ─▶ records ─┐
//!                                                                              ├─ the caller's channel
//! the standby  the same tables, of its own size and seed ◀─ Reader ◀─ records ─┘
//!              each record through the checks of an ordinary insert
//! ```
//! In it: SAs with their keys, modes, encapsulation, replay state, lifetimes and what is used of them and what
//! they accepted; local sessions; pins of IKE over TCP; flows of others' tunnels.
//!
//! Not in it:
//! - configuration: tunnels, Child SAs, selectors, policies, rules and limits. Both nodes have it from elsewhere. A
//!   record names a Child SA by a number of the caller's, the same on both nodes. Numbers of interfaces
//!   ([`PinRecord::interface`]) and of rules have to mean the same on both, too;
//! - SPIs that are reserved and have no SA yet: who negotiates them is gone. Which of the SPIs of SAs were
//!   chosen here: on the standby they are as if others had chosen them, and take room in
//!   [`Capacity::sas`](crate::Capacity::sas);
//! - memory of deleted SAs, counts of drops and shadows, events, numbers of sessions: they are of the node that
//!   saw them. Numbers this node sends with on outbound SAs: those are not this crate's, and must not be used
//!   again (RFC 4303 section 3.3.3).
//!
//! # What replay protection is left
//! The standby takes all sequence numbers up to the highest one of the snapshot for seen. Two things follow.
//! Packets of lower numbers that are still on their way are dropped. And whatever this node accepted *after* the
//! record was written can be replayed to the standby, once (RFC 4303 section 3.4.3 asks for the state, and it
//! is gone). A `margin` ([`Control::restore_sa`]) raises the window's right edge by that many packets: with
//! a margin of all packets that can have arrived since, there is no replay. It costs as many: an honest sender's
//! next packets, up to the margin less those that did arrive, are dropped as replays.
//!
//! # Records
//! All of [`RECORD_OCTETS`], little-endian, nothing aligned. A record that is damaged is refused by itself: the
//! next one starts behind it.
//!
//! | octets | all records |
//! | ---    | --- |
//! | 0      | `0x45`, `0x53` |
//! | 2      | version: 1 |
//! | 3      | kind: 1 SA, 2 session, 3 pin, 4 flow, 255 end |
//! | 4      | number of the record, from 0; of the end: how many were written before it |
//! | 8      | the caller's number of the snapshot |
//! | 152    | SipHash-2-4 of all before, under the caller's key |
//!
//! | octets | SA |
//! | ---    | --- |
//! | 16     | SPI |
//! | 20     | flags: 0 AH, 1 destination in the key, 2 source too, 3 IPv6, 4 transport mode, 5 and 6 encapsulation (0 none, 1 UDP, 2 TCP), 7 ESN, 8 a packet was seen, 9 soft limit told, 10 to 15 there is a limit: soft packets, octets, time, hard packets, octets, time; 16 to 31 replay window |
//! | 24, 40 | destination, source: a number of 128 bits, IPv4 in its low 32 |
//! | 56     | name of the Child SA |
//! | 64     | highest sequence number; no packet seen: the high half of the first, times 2^32 |
//! | 72, 80 | packets, octets counted against limits |
//! | 88     | soft limit: packets, octets, milliseconds left |
//! | 112    | hard limit: packets, octets, milliseconds left |
//! | 136    | packets, octets accepted |
//!
//! | octets | session, pin, flow |
//! | ---    | --- |
//! | 16     | protocol |
//! | 17     | flags: 0 IPv6 |
//! | 18, 20 | source port, destination port |
//! | 24, 40 | destination, source, as of an SA |
//! | 56     | milliseconds since it began (0 in a pin) |
//! | 64     | milliseconds since its last packet |
//! | 72     | session: 1 if the other end began. Pin: interface. Flow: 0 default, 1 a rule, 2 the ALG |
//! | 76     | pin: number expected from the peer. Flow: the rule |
//! | 80, 84, 88 | pin: number that the peer has to repeat; stage; milliseconds since it was closed |
//!
//! Whatever else there is, is 0: what is known has one form only, and any other is refused.
//!
//! # Trust
//! With a key that only both nodes know nobody else makes a record, but for a guess of 2^-64. With any other, as
//! `[0; 2]`, the checksum finds accidents only. Then an attacker on the channel can install what the tables'
//! own entry points take: SAs of configured Child SAs, sessions, pins. Nothing makes them panic, and nothing
//! is installed that an ordinary insert refuses. The key does not hide anything.
//!
//! # Bound
//! Writing: `slots` of one table a call and a record for each that is in use, as far as there is room. Reading:
//! one record a call. No allocation.
//!
//! # Examples
//! ```
//! # #[cfg(feature = "alloc")] {
//! use espial::gate::flow::FlowKey;
//! use espial::gate::session::{Limits, SessionPacket, Sessions};
//! use espial::headers::{Endpoints, Outer};
//! use espial::snapshot::{Pass, RECORD_OCTETS, Reader, Record, Writer};
//!
//! let ike = FlowKey {
//!     endpoints: Endpoints::V4 { src: 0x0a38_f0dd, dst: 0x0a38_f0d0 },
//!     protocol: 17, src_port: 500, dst_port: 500,
//! };
//! let ike = SessionPacket::sent(&ike, &Outer::Ike).unwrap();
//! let mut here = Sessions::new(&Limits::of(100), [17, 4]).unwrap();
//! here.open(&ike, 5_000_000).unwrap();
//!
//! // Piece by piece, a minute later.
//! let key = [0x5ec2, 0xe7];
//! let (mut writer, mut pass) = (Writer::new(key, 1), Pass::default());
//! let (mut piece, mut octets) = ([0; 2 * RECORD_OCTETS], Vec::new());
//! while !pass.is_done() {
//!     let written = writer.sessions(&here, &mut pass, 64, 5_060_000, &mut piece);
//!     octets.extend_from_slice(&piece[..written]);
//! }
//! let written = writer.end(&mut piece);
//! octets.extend_from_slice(&piece[..written]);
//!
//! // On a node of another size and seed, whose clock is at 7 ms.
//! let mut there = Sessions::new(&Limits::of(9), [1, 2]).unwrap();
//! let (mut reader, mut rest) = (Reader::new(key, 1, 0), &octets[..]);
//! while let Some(record) = reader.read(&mut rest) {
//!     match record {
//!         Ok(Record::Session(session)) => { there.restore(&session, 7).unwrap(); }
//!         _ => {}
//!     }
//! }
//! assert!(reader.is_complete());
//! let session = there.find(&ike, 7).unwrap();
//! assert_eq!(session.duration_ms, 60_000);
//!
//! // One bit is wrong: refused.
//! octets[70] ^= 1;
//! assert!(Reader::new(key, 1, 0).read(&mut &octets[..]).unwrap().is_err());
//! # }
//! ```

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

mod record;
#[cfg(all(test, feature = "alloc"))]
mod tests;

use core::fmt;

pub use record::{FlowRecord, PinRecord, Record, SaRecord, SessionRecord};

use crate::control::{ChildId, Control};
use crate::error::SaError;
use crate::gate::flow::Full;
use crate::gate::passthrough::Passthrough;
use crate::gate::reply_path::ReplyPath;
use crate::gate::session::Sessions;
use record::{Header, Octets};

/// Octets of a record, whatever its kind.
pub const RECORD_OCTETS: usize = 160;

/// How far a table was gone through.
///
/// What comes into the table behind it meanwhile is not written: see [`Writer::sa`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pass {
    at: u32,
    is_done: bool,
    /// Entries moved when the pass began.
    moved: Option<u32>,
    has_missed: bool,
}

impl Pass {
    /// True if the whole table was gone through.
    pub const fn is_done(&self) -> bool {
        self.is_done
    }

    /// False if entries of the table made room for others since the pass began, as they do in a table that
    /// is nearly full: one of them may have been missed, or written twice, which does no harm. Go through it
    /// again with the same writer, or without.
    pub const fn is_exact(&self) -> bool {
        !self.has_missed
    }

    /// Three numbers, for who keeps it in memory of another language. Those of a pass that has not begun are 0.
    pub const fn to_raw(&self) -> [u32; 3] {
        let (moved, has_begun) = match self.moved {
            Some(moved) => (moved, true),
            None => (0, false),
        };
        let flags = self.is_done as u32 | (self.has_missed as u32) << 1 | (has_begun as u32) << 2;
        [self.at, moved, flags]
    }

    /// What [`to_raw`](Self::to_raw) gave. Of other numbers come passes that leave something out.
    pub const fn from_raw([at, moved, flags]: [u32; 3]) -> Self {
        let moved = if flags & 4 == 0 { None } else { Some(moved) };
        Self { at, is_done: flags & 1 != 0, moved, has_missed: flags & 2 != 0 }
    }

    /// The next place of a table of `slots`, whose entries moved `moved` times.
    pub(crate) fn step(&mut self, slots: u32, moved: u32) -> Option<usize> {
        self.has_missed |= *self.moved.get_or_insert(moved) != moved;
        if self.at >= slots {
            self.is_done = true;
            return None;
        }
        let place = self.at;
        self.at = place.saturating_add(1);
        self.is_done = self.at >= slots;
        Some(place as usize)
    }
}

/// Writes one snapshot: records of any number of tables, in any order, and an end.
///
/// Each call writes whole records to the front of `out` and gives their octets; 0 also if there is no room for
/// one. `slots` bounds the work of a call; 0 counts as 1. A table may change between calls.
#[derive(Clone, Debug)]
pub struct Writer {
    octets: Octets,
    number: u32,
}

impl Writer {
    /// Of the caller's number for this snapshot, with 128 bits that both nodes know.
    pub const fn new(key: [u64; 2], id: u64) -> Self {
        Self { octets: Octets::new(key, id), number: 0 }
    }

    /// SAs, from the slot on that `pass` has come to. `name` gives Child SAs the number that the other node
    /// knows them by.
    pub fn sas(
        &mut self,
        control: &Control<'_>,
        pass: &mut Pass,
        slots: u32,
        now_ms: u64,
        mut name: impl FnMut(ChildId) -> u64,
        out: &mut [u8],
    ) -> usize {
        self.fill(pass, slots, out, |pass, slots| {
            control.next_record(pass, slots, now_ms, &mut name).map(Record::Sa)
        })
    }

    /// One SA, as [`Control::sa_record`] gives it: one that was added while a pass was under way.
    pub fn sa(&mut self, record: &SaRecord, out: &mut [u8]) -> usize {
        self.one(&Record::Sa(*record), out)
    }

    /// Local sessions.
    pub fn sessions(
        &mut self,
        sessions: &Sessions<'_>,
        pass: &mut Pass,
        slots: u32,
        now_ms: u64,
        out: &mut [u8],
    ) -> usize {
        self.fill(pass, slots, out, |pass, slots| {
            sessions.next_record(pass, slots, now_ms).map(Record::Session)
        })
    }

    /// Pins of IKE over TCP.
    pub fn pins(
        &mut self,
        pins: &ReplyPath<'_, '_>,
        pass: &mut Pass,
        slots: u32,
        now_ms: u64,
        out: &mut [u8],
    ) -> usize {
        self.fill(pass, slots, out, |pass, slots| {
            pins.next_record(pass, slots, now_ms).map(Record::Pin)
        })
    }

    /// Flows of others' tunnels.
    pub fn flows(
        &mut self,
        flows: &Passthrough<'_>,
        pass: &mut Pass,
        slots: u32,
        now_ms: u64,
        out: &mut [u8],
    ) -> usize {
        self.fill(pass, slots, out, |pass, slots| {
            flows.next_record(pass, slots, now_ms).map(Record::Flow)
        })
    }

    /// The end: without it the reader knows that something is missing.
    pub fn end(&mut self, out: &mut [u8]) -> usize {
        self.one(&Record::End, out)
    }

    fn one(&mut self, record: &Record, out: &mut [u8]) -> usize {
        let Some(room) = out.first_chunk_mut() else { return 0 };
        *room = self.octets.write(record, self.number);
        self.number = self.number.wrapping_add(1);
        RECORD_OCTETS
    }

    fn fill(
        &mut self,
        pass: &mut Pass,
        slots: u32,
        mut out: &mut [u8],
        mut next: impl FnMut(&mut Pass, u32) -> Option<Record>,
    ) -> usize {
        let until = pass.at.saturating_add(slots.max(1));
        let mut written = 0_usize;
        while !pass.is_done && pass.at < until {
            let Some((room, rest)) = out.split_first_chunk_mut::<RECORD_OCTETS>() else { break };
            let Some(record) = next(pass, until.saturating_sub(pass.at)) else { break };
            written = written.saturating_add(self.one(&record, room));
            out = rest;
        }
        written
    }
}

/// Reads one snapshot.
///
/// Octets may come in pieces of any number of whole records.
#[derive(Clone, Debug)]
pub struct Reader {
    octets: Octets,
    elapsed_ms: u64,
    next: u32,
    missed: u32,
    has_ended: bool,
}

impl Reader {
    /// Of the snapshot with this number, written with this key, `elapsed_ms` ago: that is added to what is
    /// idle and taken from what is left. 0 where octets are read as they are written.
    pub const fn new(key: [u64; 2], id: u64, elapsed_ms: u64) -> Self {
        let octets = Octets::new(key, id);
        Self { octets, elapsed_ms, next: 0, missed: 0, has_ended: false }
    }

    /// The first record of `octets`, which goes on behind it whether it is refused or not. `None`: fewer octets than
    /// a record has are left.
    ///
    /// # Errors
    /// [`RecordError`]; the records behind may be right.
    pub fn read(&mut self, octets: &mut &[u8]) -> Option<Result<Record, RecordError>> {
        let (record, rest) = octets.split_first_chunk::<RECORD_OCTETS>()?;
        *octets = rest;
        Some(self.judge(record))
    }

    /// A record that was read before, once more: the same answer, but that its place is not asked for.
    ///
    /// # Errors
    /// [`RecordError`], but for [`RecordError::Order`].
    pub fn again(&self, octets: &[u8; RECORD_OCTETS]) -> Result<Record, RecordError> {
        let (_, record) = self.octets.read(octets)?;
        Ok(record.later(self.elapsed_ms))
    }

    fn judge(&mut self, octets: &[u8; RECORD_OCTETS]) -> Result<Record, RecordError> {
        let (Header { number }, record) = self.octets.read(octets)?;
        if number < self.next || self.has_ended {
            return Err(RecordError::Order { number });
        }
        self.missed = self.missed.saturating_add(number.saturating_sub(self.next));
        self.next = number.saturating_add(1);
        self.has_ended = record == Record::End;
        Ok(record.later(self.elapsed_ms))
    }

    /// True if every record of the snapshot was read, the end among them.
    pub const fn is_complete(&self) -> bool {
        self.has_ended && self.missed == 0
    }

    /// Records that were refused or never came, as far as those behind them tell.
    pub const fn missed(&self) -> u32 {
        self.missed
    }
}

/// Why octets are no record of this snapshot. Nothing of them is to be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RecordError {
    /// They do not start as a record does, or the checksum is wrong: damaged, or of another key.
    Damaged,
    /// Another version of the format.
    Version {
        /// Which.
        version: u8,
    },
    /// Of another snapshot.
    OtherSnapshot {
        /// Its number.
        id: u64,
    },
    /// A field has a value that is never written.
    Malformed,
    /// It was read before, comes too late, or comes behind the end.
    Order {
        /// The record's number.
        number: u32,
    },
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged => f.write_str("damaged, or of another key"),
            Self::Version { version } => write!(f, "version {version} of the format"),
            Self::OtherSnapshot { id } => write!(f, "of snapshot {id}"),
            Self::Malformed => f.write_str("a field has a value that is never written"),
            Self::Order { number } => write!(f, "record {number} comes again, or too late"),
        }
    }
}

impl core::error::Error for RecordError {}

/// Why a record was not restored. The table is as before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RestoreError {
    /// The SPI table refuses the SA.
    Sa(SaError),
    /// No room, for entries of its kind or at all.
    Full(Full),
    /// It would have ended by now.
    Ended,
    /// A table configured as this one never has such an entry.
    Foreign,
    /// The rules of this node do not admit it.
    NotAdmitted,
}

impl From<SaError> for RestoreError {
    fn from(error: SaError) -> Self {
        Self::Sa(error)
    }
}

impl From<Full> for RestoreError {
    fn from(full: Full) -> Self {
        Self::Full(full)
    }
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sa(error) => error.fmt(f),
            Self::Full(full) => full.fmt(f),
            Self::Ended => f.write_str("it would have ended by now"),
            Self::Foreign => f.write_str("a table configured as this one never has such an entry"),
            Self::NotAdmitted => f.write_str("the rules of this node do not admit it"),
        }
    }
}

impl core::error::Error for RestoreError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Sa(error) => Some(error),
            Self::Full(full) => Some(full),
            Self::Ended | Self::Foreign | Self::NotAdmitted => None,
        }
    }
}
