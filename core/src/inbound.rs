//! The packet path, in the order in which a packet takes it. Start reading here.
//!
//! ```text
//! arrive    octets ─ wire::classify ─▶ OuterHeaders ─ sad.lookup ─▶ SA      or pass, or drop
//!                                                    (the host opens ESP or AH with its keys)
//! check     SA + opened octets ─ wire::inner ─▶ InnerHeaders ─ judge ─▶ Verdict
//!                judge: the tunnel's mode asks the selectors; shadow modes are asked beside it
//! report    what the host found while opening: authentication, padding, replay
//! ```
//!
//! A [`Worker`] is one thread's way in. Nothing here allocates, takes a lock, makes a system call
//! or loops over more than the bound that its doc states; every drop has a reason, is counted,
//! and may make an event.
//!
//! RFC 4301 section 5.2 by step: 1 and 2 `arrive` (demultiplex, reassembly is the host's), 3a
//! `lookup`, 3b `report`, 4 `check`, 5 forwarding is the host's. What `judge` asks is in `scene`, what
//! becomes of refused packets in `refuse`.

mod refuse;
mod scene;

use core::marker::PhantomData;
use core::mem::MaybeUninit;

use crate::control::{ChildId, TunnelId};
use crate::counters::{SaCells, WorkerCells};
use crate::event::{Audit, Event, EventBudget, Events};
use crate::gateway::Tables;
use crate::headers::{InnerHeaders, Ipsec, Outer, OuterHeaders, Spi, protocol};
use crate::matcher::Question;
use crate::matcher::block::Block;
use crate::sad::{AHEAD, Entry, Outcome, SaId, SaMode, Sad};
use crate::selector::Selector;
use crate::simd::COMPACT;
use crate::verdict::{Decision, Mode, Modes, Reason, Refusal, Verdict};
use crate::{prefetch, wire};
use scene::{Scene, enclosed};

/// When and where packets came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ingress {
    /// The caller's monotonic clock, in milliseconds.
    pub now_ms: u64,
    /// The caller's number for the interface; only events repeat it.
    pub interface: u32,
}

/// What became of a packet before decryption.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// Discard it.
    Drop(Refusal),
    /// Open it with the keys of this SA, then [`Worker::check`] what comes out.
    Sa(SaId, OuterHeaders),
    /// Not for this check: IKE, a keepalive, other traffic. Never [`Outer::Ipsec`].
    Pass(Outer),
}

/// A packet whose ESP or AH the host has opened.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a> {
    /// The SA that [`Worker::arrive`] named.
    pub sa: SaId,
    /// The outer headers from the same call.
    pub outer: &'a OuterHeaders,
    /// The next header: the last octet of the ESP trailer, or the AH's field.
    pub next_header: u8,
    /// Tunnel mode: the inner packet, with TFC padding or without. Transport mode: what follows
    /// ESP or AH.
    pub payload: &'a [u8],
}

/// Packets that a burst call looks at together before it goes on to the next ones.
const STRIDE: usize = AHEAD;

/// No block was read yet.
const NO_VERSION: u64 = u64::MAX;

/// One thread's packet path: its counters, its events and its view of the selectors.
///
/// # Concurrency
/// One thread. Report [`Worker::quiescent`] often (each turn of the poll loop will do) and
/// [`Worker::idle`] before sleeping: until then the writer gets no memory back.
///
/// An interrupt handler is such a thread: a worker that only one handler calls may interrupt the
/// [`Control`](crate::Control) between any two of its instructions, and sees each change whole or not at all. It
/// waits for nobody. The other way round is not allowed: no call of the control from a handler that may interrupt
/// another one of it; and who runs the control does not wait for a worker with its interrupt masked. Handlers that
/// may interrupt each other have a worker each; where there is no compare-and-swap (Cortex-M0) there is one worker
/// in all.
///
/// `Q` is what becomes of auditable events: [`Events`] keeps some in the worker,
/// [`NoEvents`](crate::event::NoEvents) counts them and takes no memory. `Worker<dyn Audit>` is either.
pub struct Worker<'g, Q: Audit + ?Sized = Events> {
    tables: &'g Tables<'g>,
    index: usize,
    cells: &'g WorkerCells,
    /// The SPI table in force when the last call began.
    sad: &'g Sad<'g>,
    /// The selectors of `version`; read anew when that is no longer the current one.
    block: Block<'g>,
    /// Wider than a version, for [`NO_VERSION`].
    version: u64,
    online: bool,
    /// The selector that the last drop by selectors came nearest to.
    nearest: Option<Selector>,
    /// Last, so that whoever does not know which it is finds the rest.
    events: Q,
}

impl<'g, Q: Audit + Default> Worker<'g, Q> {
    /// Worker `index` of the gateway, or `None` if its capacity has fewer.
    ///
    /// # Safety
    /// No two live workers of one gateway may have the same index: the writer would take what one
    /// still reads for free when the other is quiescent.
    #[allow(unsafe_code)]
    #[inline]
    pub unsafe fn attach(tables: &'g Tables<'g>, index: u32) -> Option<Self> {
        let cells = tables.cells.get(index as usize)?;
        Some(Self::made(tables, index, cells))
    }

    /// [`Worker::attach`] in the caller's memory. A worker with events is large: optimised for size it is made
    /// there, with 644 octets of stack on a Cortex-M4; at opt-level 3 on x86-64 it still takes 15 kB of stack.
    ///
    /// # Safety
    /// As [`Worker::attach`].
    #[allow(unsafe_code)]
    #[inline]
    pub unsafe fn attach_in<'w>(
        place: &'w mut MaybeUninit<Self>,
        tables: &'g Tables<'g>,
        index: u32,
    ) -> Option<&'w mut Self> {
        let cells = tables.cells.get(index as usize)?;
        Some(place.write(Self::made(tables, index, cells)))
    }

    #[inline(always)]
    fn made(tables: &'g Tables<'g>, index: u32, cells: &'g WorkerCells) -> Self {
        Self {
            tables,
            index: index as usize,
            cells,
            sad: tables.sad(),
            block: Block::default(),
            version: NO_VERSION,
            online: false,
            nearest: None,
            events: Q::default(),
        }
    }
}

impl<'g, Q: Audit + ?Sized> Worker<'g, Q> {
    /// Judges a packet that starts at its IP header: which SA is it on, and may it be opened?
    ///
    /// With anti-replay the sequence number is tested here, before the packet is opened, and counted
    /// as seen by [`Worker::check`]; `sequence_high` of the headers is set.
    ///
    /// # Bound
    /// The headers as [`wire`] bounds them; lines of the SPI table as [`sad`](crate::sad) bounds them,
    /// one SA entry and one word of its replay window.
    #[inline]
    pub fn arrive(&mut self, packet: &[u8], ingress: Ingress) -> Arrival {
        self.enter();
        match wire::classify(packet) {
            Ok(Outer::Ipsec(outer)) => self.find(outer, ingress),
            Ok(other) => self.pass(other),
            Err(reason) => self.refuse_unread(reason, ingress),
        }
    }

    /// [`Worker::arrive`] for up to as many packets as `arrivals` has room for; returns how many.
    /// No state goes from one packet to the next (T13). Cache lines are fetched ahead.
    #[inline]
    pub fn arrive_burst(
        &mut self,
        packets: &[&[u8]],
        ingress: Ingress,
        arrivals: &mut [Arrival],
    ) -> usize {
        self.enter();
        for (packets, arrivals) in packets.chunks(STRIDE).zip(arrivals.chunks_mut(STRIDE)) {
            // Only as many as there are packets: what lies behind them is the caller's.
            let arrivals = arrivals.get_mut(..packets.len()).unwrap_or(&mut []);
            for (packet, arrival) in packets.iter().zip(&mut *arrivals) {
                *arrival = match wire::classify(packet) {
                    Ok(Outer::Ipsec(outer)) => Arrival::Sa(SaId::NONE, outer),
                    Ok(other) => self.pass(other),
                    Err(reason) => self.refuse_unread(reason, ingress),
                };
            }
            self.find_arrivals(arrivals, ingress);
        }
        packets.len().min(arrivals.len())
    }

    /// Looks the SA up for headers that the host has read, or that came in a TCP stream.
    ///
    /// # Bound
    /// As [`Worker::arrive`], without the parse.
    #[inline]
    pub fn lookup(&mut self, outer: &OuterHeaders, ingress: Ingress) -> Arrival {
        self.enter();
        self.find(*outer, ingress)
    }

    /// [`Worker::lookup`] for up to as many headers as `arrivals` has room for; returns how many.
    /// Cache lines are fetched ahead.
    #[inline]
    pub fn lookup_burst(
        &mut self,
        outers: &[OuterHeaders],
        ingress: Ingress,
        arrivals: &mut [Arrival],
    ) -> usize {
        self.enter();
        for (outers, arrivals) in outers.chunks(STRIDE).zip(arrivals.chunks_mut(STRIDE)) {
            let arrivals = arrivals.get_mut(..outers.len()).unwrap_or(&mut []);
            for (outer, arrival) in outers.iter().zip(&mut *arrivals) {
                *arrival = Arrival::Sa(SaId::NONE, *outer);
            }
            self.find_arrivals(arrivals, ingress);
        }
        outers.len().min(arrivals.len())
    }

    /// The SAs of SPIs alone, for hosts that only want the table: as many as `sas` has room for;
    /// returns how many were found. [`SaId::NONE`] where there is none, where the SPI has longer
    /// keys, or where it is larval: [`Worker::lookup`] says which. Nothing is counted or told.
    ///
    /// # Bound
    /// Lines of the SPI table as [`sad`](crate::sad) bounds them, for each SPI. Lines of large tables are
    /// fetched ahead.
    #[inline]
    pub fn find_spis(&mut self, ipsec: Ipsec, spis: &[Spi], sas: &mut [SaId]) -> usize {
        self.enter();
        let mut missing = 0;
        for (spis, sas) in spis.chunks(64).zip(sas.chunks_mut(64)) {
            let sas = sas.get_mut(..spis.len()).unwrap_or(&mut []);
            missing += self.sad.find_burst(ipsec, spis, sas).count_ones() as usize;
        }
        spis.len().min(sas.len()) - missing
    }

    /// The SAs of packets, the longest key that fits each, for hosts that only want the table: as many
    /// as `sas` has room for; returns how many were found. [`SaId::NONE`] where there is none:
    /// [`Worker::lookup`] says why. Nothing is counted or told, no limit or replay window is asked.
    ///
    /// # Bound
    /// Lines of the SPI table as [`sad`](crate::sad) bounds them, for each packet. Lines of large tables
    /// are fetched ahead.
    #[inline]
    pub fn find_sas(&mut self, outers: &[OuterHeaders], sas: &mut [SaId]) -> usize {
        self.enter();
        let mut missing = 0;
        for (outers, sas) in outers.chunks(STRIDE).zip(sas.chunks_mut(STRIDE)) {
            let count = outers.len().min(sas.len());
            let mut rest = self.sad.find_packets(count, |nth| outers.get(nth), sas);
            while rest != 0 {
                let nth = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                let (Some(outer), Some(sa)) = (outers.get(nth), sas.get_mut(nth)) else { break };
                if !outer.is_esp() {
                    *sa = self.sad.find_packet(outer);
                }
                missing += usize::from(*sa == SaId::NONE);
            }
        }
        outers.len().min(sas.len()) - missing
    }

    /// The SPI table for single lookups in a loop of the caller's.
    #[inline]
    pub fn spi_table(&mut self) -> SpiTable<'_> {
        self.enter();
        SpiTable { sad: self.sad, worker: PhantomData }
    }

    /// Judges an opened packet: may it be on this SA? Call it once for each authentic packet, and for
    /// no other: its sequence number counts as seen from now on.
    ///
    /// # Bound
    /// One SA entry, one word of its replay window; the inner headers as [`wire`] bounds them; in strict-sa mode the selectors of
    /// the SA, else those of the tunnel, each once (twice for an ICMP error, RFC 4301 section
    /// 6.2). A drop asks those of the SA once and those of the tunnel three times more to say why; each shadow mode
    /// once.
    #[inline]
    pub fn check(&mut self, opened: &Opened<'_>, ingress: Ingress) -> Verdict {
        self.enter();
        match self.look_at(opened, ingress) {
            Ok(sa) => self.accept_own(opened.sa, sa, opened.payload.len()),
            Err(rest) => self.check_further(opened, rest, ingress),
        }
    }

    /// Decides what nearly all packets meet: a tunnel-mode SA, strict-sa alone, and selectors that cover the
    /// packet. Returns the SA of such a packet.
    #[inline(always)]
    fn look_at(&mut self, opened: &Opened<'_>, ingress: Ingress) -> Result<&'g Entry, Rest<'g>> {
        let Opened { sa, outer, next_header, payload } = *opened;
        let sa = self.account_for(sa, outer, payload.len(), ingress)?;
        match self.strict_scene(sa) {
            Some(scene)
                if sa.mode() == SaMode::Tunnel
                    && wire::with_inner(next_header, payload, scene) == Ok(true) =>
            {
                Ok(sa)
            }
            _ => Err(Rest::Open(sa)),
        }
    }

    /// Finds the SA, and counts the packet as seen.
    #[inline(always)]
    fn account_for(
        &mut self,
        id: SaId,
        outer: &OuterHeaders,
        octets: usize,
        ingress: Ingress,
    ) -> Result<&'g Entry, Rest<'g>> {
        let Some(sa) = self.sa(id) else { return Err(Rest::Stale) };
        if sa.has_state()
            && let Err(reason) = self.account(id, outer, octets, ingress)
        {
            return Err(Rest::Refused(sa, reason));
        }
        Ok(sa)
    }

    /// The selectors to ask, where strict-sa alone judges. Where code is to be small, one place judges all.
    #[inline(always)]
    fn strict_scene(&mut self, sa: &Entry) -> Option<Scene<'_, 'g>> {
        self.refresh();
        if COMPACT {
            return None;
        }
        Scene::new(&self.block, self.tables, sa).filter(Scene::is_strict_alone)
    }

    /// [`Worker::check`] of the other packets.
    #[inline(never)]
    fn check_further(&mut self, opened: &Opened<'_>, rest: Rest<'g>, ingress: Ingress) -> Verdict {
        let sa = match rest {
            Rest::Stale => return self.refuse_stale(opened.sa, opened.outer, ingress),
            Rest::Refused(sa, reason) => return self.refuse_opened(opened, sa, reason, ingress),
            Rest::Open(sa) => sa,
        };
        // RFC 4303 section 2.6: a dummy packet is discarded without an error.
        if opened.next_header == protocol::NO_NEXT_HEADER && opened.outer.is_esp() {
            return self.refuse_opened(opened, sa, Reason::Dummy, ingress);
        }
        let read = match sa.mode() {
            SaMode::Tunnel => wire::inner_expecting(opened.next_header, opened.payload),
            SaMode::Transport => {
                wire::transport(opened.outer.endpoints, opened.next_header, opened.payload)
            }
        };
        let octets = opened.payload.len();
        match &read {
            Ok(inner) => {
                self.judge(opened.sa, sa, inner, Some(opened), octets, opened.outer, ingress)
            }
            Err(what) => self.refuse_opened(opened, sa, Reason::Malformed(*what), ingress),
        }
    }

    /// [`Worker::check`] for up to as many packets as `verdicts` has room for; returns how many.
    #[inline]
    pub fn check_burst(
        &mut self,
        opened: &[Opened<'_>],
        ingress: Ingress,
        verdicts: &mut [Verdict],
    ) -> usize {
        let count = opened.len().min(verdicts.len());
        self.enter();
        self.refresh();
        for (opened, verdicts) in opened.chunks(STRIDE).zip(verdicts.chunks_mut(STRIDE)) {
            if self.sad.has_many() {
                self.prefetch_sas(opened);
            }
            if self.block.is_large() {
                self.prefetch_selectors(opened);
            }
            for (one, verdict) in opened.iter().zip(verdicts) {
                // Two assignments: one of both would go through the stack.
                match self.look_at(one, ingress) {
                    Ok(sa) => *verdict = self.accept_own(one.sa, sa, one.payload.len()),
                    Err(rest) => *verdict = self.check_further(one, rest, ingress),
                }
            }
        }
        count
    }

    /// Brings the SAs' entries and counters closer.
    fn prefetch_sas(&self, opened: &[Opened<'_>]) {
        for one in opened {
            if let Some(entry) = self.sad.entry(one.sa) {
                prefetch::read(entry);
            }
            if let Some(accepted) = self.sad.segments.accepted(self.index, one.sa.index()) {
                prefetch::read(accepted);
            }
        }
    }

    /// Brings the Child SAs' records and what is asked first closer, when they hardly stay in the cache.
    /// A hint only, from selectors that may be older than the SA; the block was refreshed in this
    /// call.
    fn prefetch_selectors(&self, opened: &[Opened<'_>]) {
        let child = |one: &Opened<'_>| {
            let index = self.sa(one.sa)?.child();
            Some((index, self.block.child(index)?))
        };
        for (_, record) in opened.iter().filter_map(child) {
            prefetch::read(record);
        }
        for (index, record) in opened.iter().filter_map(child) {
            self.block.child_boxes(index, record).prefetch_first();
        }
        for (index, record) in opened.iter().filter_map(child) {
            self.block.child_boxes(index, record).prefetch_leaf();
        }
    }

    /// [`Worker::check`] for headers that the host has read out of the decrypted packet itself.
    /// `octets` is what the counters add up. ICMP errors are judged by their own headers only.
    #[inline]
    pub fn check_headers(
        &mut self,
        sa: SaId,
        outer: &OuterHeaders,
        inner: &InnerHeaders,
        octets: usize,
        ingress: Ingress,
    ) -> Verdict {
        self.enter();
        match self.account_for(sa, outer, octets, ingress) {
            Ok(entry) if self.strict_scene(entry).is_some_and(|scene| scene.ask_own(inner)) => {
                self.accept_own(sa, entry, octets)
            }
            Ok(entry) | Err(Rest::Open(entry)) => {
                self.judge(sa, entry, inner, None, octets, outer, ingress)
            }
            Err(Rest::Stale) => self.refuse_stale(sa, outer, ingress),
            Err(Rest::Refused(entry, reason)) => {
                let (refusal, shadow) = (Refusal::new(reason), Shadow::default());
                self.refuse(sa, entry, outer, Some(inner), refusal, shadow, ingress)
            }
        }
    }

    /// Counts a packet that the host dropped between [`Worker::arrive`] and [`Worker::check`]:
    /// authentication, padding, replay, no key, lifetime.
    pub fn report(
        &mut self,
        sa: SaId,
        outer: &OuterHeaders,
        reason: Reason,
        ingress: Ingress,
    ) -> Verdict {
        self.enter();
        match self.sa(sa) {
            Some(entry) => {
                let refusal = Refusal::new(reason);
                self.refuse(sa, entry, outer, None, refusal, Shadow::default(), ingress)
            }
            None => self.refuse_stale(sa, outer, ingress),
        }
    }

    /// Says that this thread holds nothing that it learned before. Handles may be kept: a stale
    /// one is found out. One load and one store.
    #[inline]
    pub fn quiescent(&mut self) {
        if self.online {
            self.tables.epochs.quiescent(self.index);
        }
    }

    /// Says that this thread holds nothing and may not come back for a while. The next call of
    /// another method takes part again.
    pub fn idle(&mut self) {
        self.tables.epochs.offline(self.index);
        self.online = false;
        self.version = NO_VERSION;
        self.block = Block::default();
    }

    /// Sets how many events this worker may make.
    pub fn set_event_budget(&mut self, budget: EventBudget) {
        self.events.set_budget(budget);
    }

    /// The selector that [`Refusal::field`] of this worker's last drop by selectors speaks of.
    pub fn nearest_selector(&self) -> Option<Selector> {
        self.nearest
    }

    /// The oldest event not yet taken.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// Takes part in reclamation and looks at the SPI table in force. One load when nothing has
    /// changed.
    #[inline]
    fn enter(&mut self) {
        if !self.online {
            self.tables.epochs.online(self.index);
            self.online = true;
        }
        self.sad = self.tables.sad();
    }

    /// Sees to it that `block` holds the selectors in force. Called after the SA entry was read, so
    /// they are never older than the SA (`control`, I1).
    #[inline]
    fn refresh(&mut self) {
        let version = self.tables.buffers.version();
        if self.version != u64::from(version) {
            self.reload(version);
        }
    }

    #[cold]
    #[allow(unsafe_code)]
    fn reload(&mut self, version: u32) {
        // SAFETY: `version` was just loaded by an online worker (`enter`). `block` is used after
        // a quiescent state only if `version` is then still current (`refresh` compares).
        let words = unsafe { self.tables.block(version) };
        self.block = Block::open(words).unwrap_or_default();
        self.version = u64::from(version);
    }

    /// The SA that a handle names, if it still lives. Its fields stay until the next quiescent state.
    #[inline]
    fn sa(&self, sa: SaId) -> Option<&'g Entry> {
        self.sad.entry(sa).filter(|entry| entry.is(sa))
    }

    /// RFC 4301 section 5.2 step 3a.
    #[inline]
    fn find(&mut self, outer: OuterHeaders, ingress: Ingress) -> Arrival {
        match self.sad.lookup(&outer, ingress.now_ms) {
            Ok(sa) => self.admit(sa, outer, ingress),
            Err(class) => Arrival::Drop(self.refuse_spi(&outer, class, ingress)),
        }
    }

    /// [`Worker::find`] for a packet that the first look at the table did not tell.
    fn find_rest(&mut self, outer: OuterHeaders, ingress: Ingress) -> Arrival {
        match self.sad.lookup_rest(&outer, ingress.now_ms) {
            Ok(sa) => self.admit(sa, outer, ingress),
            Err(class) => Arrival::Drop(self.refuse_spi(&outer, class, ingress)),
        }
    }

    /// [`Worker::find`] for up to [`STRIDE`] arrivals that are not looked up yet.
    #[inline]
    fn find_arrivals(&mut self, arrivals: &mut [Arrival], ingress: Ingress) {
        let mut sas = [SaId::NONE; STRIDE];
        let outer = |nth: usize| match arrivals.get(nth) {
            Some(Arrival::Sa(_, outer)) => Some(outer),
            _ => None,
        };
        let missing = self.sad.find_packets(arrivals.len(), outer, &mut sas);
        if self.sad.has_many() {
            for entry in sas.iter().filter_map(|sa| self.sad.entry(*sa)) {
                prefetch::read(entry);
            }
        }
        for (i, (arrival, sa)) in arrivals.iter_mut().zip(&sas).enumerate() {
            let Arrival::Sa(_, outer) = *arrival else { continue };
            *arrival = if missing & 1 << i == 0 {
                self.admit(*sa, outer, ingress)
            } else if outer.is_esp() {
                self.find_rest(outer, ingress)
            } else {
                self.find(outer, ingress)
            };
        }
    }

    /// What the SA demands before its packets are opened: encapsulation, lifetime, a fresh sequence
    /// number.
    #[inline]
    fn admit(&mut self, sa: SaId, mut outer: OuterHeaders, ingress: Ingress) -> Arrival {
        outer.sequence_high = 0;
        let Some(entry) = self.sad.entry(sa) else { return Arrival::Sa(sa, outer) };
        if entry.encap() != outer.encap {
            return self.refuse_found(sa, &outer, Reason::WrongEncap, ingress);
        }
        if entry.is_due(ingress.now_ms) && self.is_expired(sa, &outer, ingress) {
            return self.refuse_found(sa, &outer, Reason::SaExpired, ingress);
        }
        if entry.has_state()
            && let Some(state) = self.sad.segments.sa(sa.index())
        {
            match state.precheck(outer.sequence) {
                Ok(full) => outer.sequence_high = (full >> 32) as u32,
                Err(_) => return self.refuse_found(sa, &outer, Reason::Replay, ingress),
            }
        }
        Arrival::Sa(sa, outer)
    }

    /// A limit in time was reached: which. Tells of a soft one.
    #[cold]
    fn is_expired(&mut self, sa: SaId, outer: &OuterHeaders, ingress: Ingress) -> bool {
        let due = self.sad.segments.sa(sa.index()).map(|state| state.due(ingress.now_ms));
        match due {
            Some(Outcome::Expired) => true,
            Some(Outcome::Soft(kind)) => {
                self.tell_soft(sa, outer, kind, ingress);
                false
            }
            Some(Outcome::Within) | None => false,
        }
    }

    /// Counts an authentic packet: in the replay window, and against the limits. Accepted or not: the
    /// peer has used the number and the key.
    fn account(
        &mut self,
        sa: SaId,
        outer: &OuterHeaders,
        octets: usize,
        ingress: Ingress,
    ) -> Result<(), Reason> {
        let Some(state) = self.sad.segments.sa(sa.index()) else { return Ok(()) };
        if state.commit(outer.full_sequence()).is_err() {
            return Err(Reason::Replay);
        }
        match state.count(octets as u64) {
            Outcome::Within => Ok(()),
            Outcome::Soft(kind) => {
                self.tell_soft(sa, outer, kind, ingress);
                Ok(())
            }
            Outcome::Expired => Err(Reason::SaExpired),
        }
    }

    #[inline]
    fn pass(&self, other: Outer) -> Arrival {
        self.cells.passed.add_owned(1);
        Arrival::Pass(other)
    }

    /// RFC 4301 section 5.2 step 4 in the tunnel's mode.
    #[allow(clippy::too_many_arguments, reason = "one private place where both entries meet")]
    fn judge(
        &mut self,
        id: SaId,
        sa: &Entry,
        inner: &InnerHeaders,
        opened: Option<&Opened<'_>>,
        octets: usize,
        outer: &OuterHeaders,
        ingress: Ingress,
    ) -> Verdict {
        self.refresh();
        let Some(scene) = Scene::new(&self.block, self.tables, sa) else {
            return self.refuse_stale(id, outer, ingress);
        };
        let (mode, shadow_modes) = scene.policy();
        let question = Question::inbound(inner);
        let accepting = scene.ask(mode, &question);
        if let Some(by) = accepting
            && shadow_modes == Modes::NONE
        {
            return self.accept(id, sa, by, octets, Shadow::default());
        }
        let packet = Judged { inner, opened, question, octets, outer, ingress };
        self.judge_further(id, sa, &packet, accepting, (mode, shadow_modes))
    }

    /// What [`Worker::judge`] leaves: packets that the selectors do not cover, and shadow modes. A call of its
    /// own, so that the others need no stack for it.
    #[inline(never)]
    fn judge_further(
        &mut self,
        id: SaId,
        sa: &Entry,
        packet: &Judged<'_>,
        accepting: Option<ChildId>,
        (mode, shadow_modes): (Mode, Modes),
    ) -> Verdict {
        let Judged { inner, question, outer, ingress, .. } = packet;
        let Some(scene) = Scene::new(&self.block, self.tables, sa) else {
            return self.refuse_stale(id, outer, *ingress);
        };
        let mut shadow = Shadow::default();
        // RFC 4301 section 6.2: an ICMP error that the selectors do not cover is judged by the
        // packet that it is about, turned round.
        let enclosed = packet.opened.and_then(|opened| enclosed(sa.mode(), opened, inner));
        let ask = |mode| scene.ask(mode, question).or_else(|| scene.ask(mode, enclosed.as_ref()?));
        let accepting = accepting.or_else(|| scene.ask(mode, enclosed.as_ref()?));
        for mode in shadow_modes.iter() {
            shadow.asked = shadow.asked.with(mode);
            if ask(mode).is_some() {
                shadow.accepts = shadow.accepts.with(mode);
            }
        }
        match accepting {
            Some(by) => self.accept(id, sa, by, packet.octets, shadow),
            None => {
                let (refusal, nearest) = scene.explain(mode, question, inner);
                self.nearest = nearest;
                self.refuse(id, sa, outer, Some(inner), refusal, shadow, *ingress)
            }
        }
    }

    /// Accepts a packet on account of its own SA.
    #[inline(always)]
    fn accept_own(&self, id: SaId, sa: &Entry, octets: usize) -> Verdict {
        self.accept(id, sa, sa.child_id(), octets, Shadow::default())
    }

    #[inline(always)]
    fn accept(&self, id: SaId, sa: &Entry, by: ChildId, octets: usize, shadow: Shadow) -> Verdict {
        let arrived = self.arrived(sa);
        if let Some(accepted) = self.sad.segments.accepted(self.index, id.index()) {
            accepted.packets.add_owned(1);
            accepted.octets.add_owned(octets as u64);
        }
        self.count_shadow(id, shadow);
        let decision = Decision::Accept(by);
        Verdict {
            decision,
            arrived: Some(arrived),
            shadow_asked: shadow.asked,
            shadow_accepts: shadow.accepts,
        }
    }

    #[inline]
    fn arrived(&self, sa: &Entry) -> (TunnelId, ChildId) {
        (self.tables.tunnel_id(sa.tunnel()), sa.child_id())
    }

    #[inline]
    fn count_shadow(&self, id: SaId, shadow: Shadow) {
        if shadow.asked == Modes::NONE {
            return;
        }
        if let Some(cells) = self.sa_cells(id) {
            for mode in shadow.asked.iter() {
                cells.shadow(mode, shadow.accepts.contains(mode));
            }
        }
    }

    fn sa_cells(&self, id: SaId) -> Option<&'g SaCells> {
        self.sad.segments.cells(id.index())
    }
}

impl<Q: Audit + ?Sized> Drop for Worker<'_, Q> {
    fn drop(&mut self) {
        self.idle();
    }
}

/// The SPI table as it was when [`Worker::spi_table`] was called, until the worker is used again.
#[derive(Clone, Copy)]
pub struct SpiTable<'w> {
    sad: &'w Sad<'w>,
    /// Keeps the worker from becoming quiescent.
    worker: PhantomData<&'w mut ()>,
}

impl SpiTable<'_> {
    /// The SA of one SPI alone; [`SaId::NONE`] as in [`Worker::find_spis`].
    ///
    /// # Bound
    /// As [`Worker::find_spis`].
    #[inline(always)]
    pub fn find(&self, ipsec: Ipsec, spi: Spi) -> SaId {
        self.sad.find_spi(ipsec, spi.0).unwrap_or(SaId::NONE)
    }
}

/// What the first look at an opened packet left to do.
enum Rest<'g> {
    /// Its SA lives no more.
    Stale,
    /// It was accounted for, and must be dropped.
    Refused(&'g Entry, Reason),
    /// It was accounted for, and is to be judged.
    Open(&'g Entry),
}

/// A packet that one question of the selectors did not settle.
struct Judged<'p> {
    inner: &'p InnerHeaders,
    opened: Option<&'p Opened<'p>>,
    question: Question,
    octets: usize,
    outer: &'p OuterHeaders,
    ingress: Ingress,
}

/// What the shadow modes said.
#[derive(Clone, Copy, Default)]
struct Shadow {
    asked: Modes,
    accepts: Modes,
}
