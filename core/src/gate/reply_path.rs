//! Where the answers of IKE over TCP leave (seed 003; D1 to D5, T29).
//!
//! ```text
//! SYN to this box's IKE port, in on wan1 ──▶ connection {came in: wan1}
//!                                                  │
//! each answer: SYN ACK, ACK, data, FIN ────────────┤ pinned        wan1
//!                                                  │ policy routes the first route of the answer's source
//!                                                  └ unpinned      what the routing table says: maybe wan2
//! ```
//! A host with two ways out that routes each answer anew may answer on the other one; the handshake then never
//! completes. So the interface that the SYN came in on is kept for the connection: for the handshake and
//! after. It is the interface and never a gateway: a peer may be on its link (T29). Whether the peer came by
//! TCP at once or after UDP had failed (`transport auto`) makes no difference: the connection starts with a
//! SYN either way.
//!
//! A connection is dropped by a reset, some time after FINs both ways ([`Timers::closed_ms`]; the last ACK is
//! still to leave), by [`ReplyPath::clear`] and by idle time. A segment without a connection is answered only
//! if it is a SYN.
//!
//! # Forged segments
//! Who can guess addresses and ports may not move or drop a pin: a reset counts if its number is exactly the
//! one expected (RFC 5961 section 3.2), a FIN once this box has acknowledged it, a SYN not at all once the
//! handshake is complete, and that it is when the peer repeats this box's number. So every segment that is
//! sent has to be shown to [`ReplyPath::sent`], as it has to be anyway to learn where it leaves.
//!
//! A flood of SYNs fills no more than [`Limits::half_open`]. Beyond that a SYN is answered where it came in and
//! not recorded; a host that knows better when the ACK comes (SYN cookies, RFC 4987 section 3.6) says
//! [`connected`](ReplyPath::connected).
//!
//! Who completes handshakes from addresses of his own is no flood to this table: he takes entries up to its
//! capacity, for as long as the host lets him. A host resets connections that bring no IKE SA in time.

mod tcp;
mod transfer;

use core::mem::MaybeUninit;
use core::net::IpAddr;

pub use tcp::{Segment, TcpFlags};

use self::tcp::Connection;
use crate::error::SetupError;
use crate::gate::flow::{FlowKey, FlowTable, Full, Inserted};
use crate::headers::protocol;
use crate::selector::AddrRange;

/// A policy route: answers from these addresses leave by this interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PolicyRoute {
    /// Source addresses of what is sent. Written with a mask their host bits do not count
    /// ([`AddrRange::parse_masked`]): 203.0.113.2/30 are the four addresses from 203.0.113.0 (D4).
    pub src: AddrRange,
    /// The caller's number of the interface.
    pub output: u32,
}

/// How answers find their way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplyMode<'c> {
    /// As the routing table chooses for each packet: the fault, kept to reproduce it (D2).
    Unpinned,
    /// By the interface that the SYN came in on.
    Pinned,
    /// By the first policy route of the answer's source, else as the routing table chooses (D4).
    PolicyRoute {
        /// The routes, in order.
        routes: &'c [PolicyRoute],
        /// What this box itself sends for IKE asks policy routes too; without it they are not looked at.
        ike_policy_route: bool,
    },
}

/// Which connections are IKE over TCP, and how they are answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplyConfig<'c> {
    /// The TCP port that IKE listens on.
    pub port: u16,
    /// Addresses of this box.
    pub local: &'c [IpAddr],
    /// How answers find their way out.
    pub mode: ReplyMode<'c>,
}

/// Milliseconds that a connection is kept without a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timers {
    /// During the handshake.
    pub half_open_ms: u32,
    /// After it.
    pub established_ms: u32,
    /// After FINs both ways, whether there are segments or not.
    pub closed_ms: u32,
}

/// 20 s, an hour, 10 s.
impl Default for Timers {
    fn default() -> Self {
        Self { half_open_ms: 20_000, established_ms: 3_600_000, closed_ms: 10_000 }
    }
}

/// How many connections there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections of the table.
    pub capacity: u32,
    /// How many of them may be without a complete handshake.
    pub half_open: u32,
    /// For how long.
    pub timers: Timers,
}

impl Limits {
    /// Half of them half open, and the default times.
    pub fn of(capacity: u32) -> Self {
        Self { capacity, half_open: capacity.div_ceil(2), timers: Timers::default() }
    }
}

/// Who chose the interface of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Chosen {
    /// The connection: its SYN came in there.
    Pin,
    /// A policy route.
    PolicyRoute {
        /// Which of the routes, from 0.
        index: usize,
    },
    /// The routing table.
    Route,
}

/// What the SYN ACK has to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SynAck {
    /// [`TcpFlags::SYN_ACK`].
    pub flags: TcpFlags,
    /// The SYN's sequence number and one.
    pub ack: u32,
}

/// Where an answer leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leave {
    /// The caller's number of the interface.
    pub interface: u32,
    /// Who chose it.
    pub chosen: Chosen,
    /// Where the SYN of the connection came in.
    pub came_in: u32,
    /// The facts of the answer to a SYN.
    pub syn_ack: Option<SynAck>,
    /// False: there was no room to record the connection. Its next segment finds none.
    pub recorded: bool,
}

impl Leave {
    /// True if the answer leaves where the SYN came in, so that the peer's path sees both ways.
    pub fn completes_handshake(&self) -> bool {
        self.interface == self.came_in
    }
}

/// What becomes of a segment.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Answer {
    /// It is not IKE over TCP of this box.
    NotOurs,
    /// It starts no connection and belongs to none: drop it.
    NoSession,
    /// A reset: the connection is gone and there is nothing to answer.
    Reset,
    /// The routing table is to choose and has no route: it cannot be answered.
    NoRoute,
    /// Answers leave there.
    Leave(Leave),
}

/// A connection that is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pin {
    /// Addresses and ports, with this box as the source.
    pub key: FlowKey,
    /// Where its SYN came in.
    pub interface: u32,
    /// Its handshake is complete.
    pub established: bool,
    /// Milliseconds since its last segment.
    pub idle_ms: u64,
}

impl Connection {
    fn pin(&self, key: FlowKey, idle_ms: u64) -> Pin {
        Pin { key, interface: self.came_in, established: self.is(Self::ESTABLISHED), idle_ms }
    }
}

/// The IKE over TCP connections of one worker.
///
/// # Bound
/// A segment: three lookups of the [table](FlowTable#bound) and an insert at most; the addresses of this box and
/// the policy routes one after the other.
///
/// # Concurrency
/// One owner, as the table.
pub struct ReplyPath<'m, 'c> {
    table: FlowTable<'m, Connection>,
    config: ReplyConfig<'c>,
    limits: Limits,
    /// Connections without a complete handshake, ended and not told of included.
    half_open: u32,
}

impl<'m, 'c> ReplyPath<'m, 'c> {
    /// Octets of memory that [`ReplyPath::new_in`] needs.
    ///
    /// # Errors
    /// As [`FlowTable::octets`].
    pub fn octets(limits: &Limits) -> Result<usize, SetupError> {
        FlowTable::<Connection>::octets(limits.capacity)
    }

    /// No connections, in the caller's memory. `seed` is 128 bits that peers do not know.
    ///
    /// # Errors
    /// As [`FlowTable::new_in`].
    pub fn new_in(
        memory: &'m mut [MaybeUninit<u8>],
        config: ReplyConfig<'c>,
        limits: &Limits,
        seed: [u64; 2],
    ) -> Result<Self, SetupError> {
        Ok(Self::over(FlowTable::new_in(memory, limits.capacity, seed)?, config, limits))
    }

    fn over(table: FlowTable<'m, Connection>, config: ReplyConfig<'c>, limits: &Limits) -> Self {
        Self { table, config, limits: *limits, half_open: 0 }
    }

    /// Other settings, from the next segment on; connections stay.
    pub fn configure(&mut self, config: ReplyConfig<'c>) {
        self.config = config;
    }

    /// Connections, those included that ended and were not told of yet.
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

    /// A segment addressed to this box came in on `interface`: where do answers to it leave? `route` is what
    /// the routing table would choose for them; it is not looked at where a pin or policy route decides.
    pub fn received(
        &mut self,
        segment: &Segment,
        interface: u32,
        route: Option<u32>,
        now_ms: u64,
    ) -> Answer {
        let key = segment.key.reversed();
        let known = self.known(&key, now_ms);
        let is_syn = segment.flags.is_syn();
        let Some(mut connection) = known else {
            return match self.is_ours(&key) {
                false => Answer::NotOurs,
                true if is_syn => self.start(&key, segment, interface, route, now_ms),
                true => Answer::NoSession,
            };
        };
        let established = connection.is(Connection::ESTABLISHED);
        let again = segment.seq.wrapping_add(1) == connection.next;
        // Another connection with the same ports, after the end of one or instead of one that never began.
        if is_syn && (connection.is(Connection::CLOSED) || !established && !again) {
            self.close(&key, now_ms);
            return self.start(&key, segment, interface, route, now_ms);
        }
        let expected = connection.is(Connection::NUMBERED) && segment.seq == connection.next;
        if segment.flags.has(TcpFlags::RST) && expected {
            self.close(&key, now_ms);
            return Answer::Reset;
        }
        connection.hears(segment);
        self.keep(&key, connection, now_ms);
        if connection.is(Connection::ESTABLISHED) && !established {
            self.half_open = self.half_open.saturating_sub(1);
            self.table.set_ttl(&key, self.limits.timers.established_ms, now_ms);
        }
        let syn_ack = is_syn && !established;
        self.leave(&key, connection.came_in, syn_ack.then_some(segment.seq), route)
    }

    /// A segment that this box is about to send: where does it leave? `route` as in
    /// [`received`](Self::received).
    pub fn sent(&mut self, segment: &Segment, route: Option<u32>, now_ms: u64) -> Answer {
        let key = segment.key;
        let Some(mut connection) = self.known(&key, now_ms) else {
            return if self.is_ours(&key) { Answer::NoSession } else { Answer::NotOurs };
        };
        if segment.flags.has(TcpFlags::RST) {
            self.close(&key, now_ms);
        } else {
            let was_closed = connection.is(Connection::CLOSED);
            connection.says(segment, now_ms);
            self.keep(&key, connection, now_ms);
            if connection.is(Connection::CLOSED) && !was_closed {
                self.table.set_ttl(&key, self.limits.timers.closed_ms, now_ms);
            }
        }
        self.leave(&key, connection.came_in, None, route)
    }

    /// A connection whose handshake needs no watching: one that this box starts, by the tunnel's interface; one
    /// that a SYN cookie vouches for. `key` has this box as the source. One
    /// that is there gets this interface.
    ///
    /// # Errors
    /// [`Full`].
    pub fn connected(&mut self, key: &FlowKey, interface: u32, now_ms: u64) -> Result<(), Full> {
        self.close(key, now_ms);
        let stage = Connection::ESTABLISHED;
        let connection = Connection { came_in: interface, next: 0, mark: 0, closed_ms: 0, stage };
        self.insert(key, connection, self.limits.timers.established_ms, 0, now_ms)
    }

    /// Drops a connection, with this box as the source of its key. True if it was there.
    pub fn close(&mut self, key: &FlowKey, now_ms: u64) -> bool {
        let was = self.table.remove(key, now_ms);
        self.forget(was.map_or(0, |connection| connection.half_open()));
        was.is_some()
    }

    /// Drops the connections that `which` names, as an operator's command does; gives their number. From
    /// then on only a SYN starts one (D5). Their keys have this box as the source.
    ///
    /// # Bound
    /// Reads the whole table.
    pub fn clear(&mut self, now_ms: u64, mut which: impl FnMut(&FlowKey) -> bool) -> u32 {
        let mut half_open = 0_u32;
        let cleared = self.table.remove_if(now_ms, |key, connection| {
            let clear = which(key);
            half_open = half_open.wrapping_add(if clear { connection.half_open() } else { 0 });
            clear
        });
        self.forget(half_open);
        cleared
    }

    /// Tells of connections that ended by idle time, and gives their places back; to be called again and again.
    ///
    /// # Bound
    /// As many slots as the budget, rounded up to 8.
    pub fn expire(&mut self, now_ms: u64, budget: u32, mut tell: impl FnMut(&Pin)) -> u32 {
        let half_open = &mut self.half_open;
        self.table.expire(now_ms, budget, |gone| {
            *half_open = half_open.saturating_sub(gone.value.half_open());
            tell(&gone.value.pin(gone.key, gone.idle_ms));
        })
    }

    /// All connections.
    pub fn iter(&self, now_ms: u64) -> impl Iterator<Item = Pin> {
        self.table.iter(now_ms).map(|(key, connection, idle_ms)| connection.pin(key, idle_ms))
    }

    /// True of a connection to the IKE port of this box, which is the source of its key.
    fn is_ours(&self, key: &FlowKey) -> bool {
        let ReplyConfig { port, local, .. } = self.config;
        key.protocol == protocol::TCP
            && key.src_port == port
            && local.contains(&key.endpoints.src())
    }

    /// The connection with this key, unless it was closed long enough ago.
    fn known(&mut self, key: &FlowKey, now_ms: u64) -> Option<Connection> {
        let connection = *self.table.find(key, now_ms)?;
        // Signed: a clock that goes back by a little has not gone on by 49 days.
        let closed_for_ms = (now_ms as u32).wrapping_sub(connection.closed_ms).cast_signed();
        let is_over = i64::from(closed_for_ms) > i64::from(self.limits.timers.closed_ms);
        if connection.is(Connection::CLOSED) && is_over {
            self.close(key, now_ms);
            return None;
        }
        Some(connection)
    }

    /// Writes back what `known` gave.
    fn keep(&mut self, key: &FlowKey, connection: Connection, now_ms: u64) {
        if let Some(at) = self.table.find(key, now_ms) {
            *at = connection;
        }
    }

    /// A connection begins.
    fn start(
        &mut self,
        key: &FlowKey,
        syn: &Segment,
        interface: u32,
        route: Option<u32>,
        now_ms: u64,
    ) -> Answer {
        let next = syn.seq.wrapping_add(1);
        let connection = Connection {
            came_in: interface,
            next,
            mark: 0,
            closed_ms: 0,
            stage: Connection::NUMBERED,
        };
        let recorded = self.half_open < self.limits.half_open
            && self.insert(key, connection, self.limits.timers.half_open_ms, 0, now_ms).is_ok();
        match self.leave(key, interface, Some(syn.seq), route) {
            Answer::Leave(leave) => Answer::Leave(Leave { recorded, ..leave }),
            other => other,
        }
    }

    fn insert(
        &mut self,
        key: &FlowKey,
        connection: Connection,
        ttl_ms: u32,
        idle_ms: u64,
        now_ms: u64,
    ) -> Result<(), Full> {
        let inserted = self.table.insert_idle(key, connection, ttl_ms, idle_ms, now_ms)?;
        if let Inserted::New { gone, .. } = inserted {
            self.forget(gone.map_or(0, |gone| gone.value.half_open()));
            self.half_open = self.half_open.wrapping_add(connection.half_open());
        }
        Ok(())
    }

    fn forget(&mut self, half_open: u32) {
        self.half_open = self.half_open.saturating_sub(half_open);
    }

    /// Where what this box sends with `key` leaves; `syn` is the number of the SYN that it answers.
    fn leave(&self, key: &FlowKey, came_in: u32, syn: Option<u32>, route: Option<u32>) -> Answer {
        let routed = || Some((route?, Chosen::Route));
        let chosen = match self.config.mode {
            ReplyMode::Pinned => Some((came_in, Chosen::Pin)),
            ReplyMode::PolicyRoute { routes, ike_policy_route: true } => {
                let src = key.endpoints.src();
                let index = routes.iter().position(|route| route.src.contains(src));
                let of =
                    |index: usize| Some((routes.get(index)?.output, Chosen::PolicyRoute { index }));
                index.and_then(of).or_else(routed)
            }
            ReplyMode::PolicyRoute { .. } | ReplyMode::Unpinned => routed(),
        };
        let Some((interface, chosen)) = chosen else { return Answer::NoRoute };
        let of = |seq: u32| SynAck { flags: TcpFlags::SYN_ACK, ack: seq.wrapping_add(1) };
        Answer::Leave(Leave { interface, chosen, came_in, syn_ack: syn.map(of), recorded: true })
    }
}

#[cfg(feature = "alloc")]
impl<'c> ReplyPath<'static, 'c> {
    /// No connections, in memory of their own. Nothing is allocated after this.
    ///
    /// # Errors
    /// As [`FlowTable::new`].
    pub fn new(
        config: ReplyConfig<'c>,
        limits: &Limits,
        seed: [u64; 2],
    ) -> Result<Self, SetupError> {
        Ok(Self::over(FlowTable::new(limits.capacity, seed)?, config, limits))
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests;
