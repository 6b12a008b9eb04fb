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
//! `lookup`, 3b `report`, 4 `check`, 5 forwarding is the host's. The calls are here; what they share is in
//! `find` and `judge`, what `judge` asks in `scene`, what becomes of refused packets in `refuse`.

mod ahead;
mod find;
mod judge;
mod refuse;
mod scene;

use core::marker::PhantomData;
use core::mem::MaybeUninit;

use crate::control::{ChildId, TunnelId};
use crate::counters::{Accepted as Count, WorkerCells};
use crate::event::{Audit, Event, EventBudget, Events};
use crate::gateway::Tables;
use crate::headers::{InnerHeaders, Ipsec, Outer, OuterHeaders, Spi, protocol};
pub use crate::matcher::PortsV4;
use crate::matcher::Question;
use crate::matcher::block::{Block, ChildRecord};
use crate::publish::Current;
use crate::sad::{AHEAD, Entry, First, Newest, SaId, SaMode, Sad};
use crate::selector::Selector;
use crate::simd::COMPACT;
use crate::verdict::{Reason, Refusal, Verdict};
use crate::{prefetch, wire};
use judge::{Found, Rest, Shadow};
use scene::Scene;

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

/// On whose account a packet is accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// The tunnel of the SA that it came on.
    pub tunnel: TunnelId,
    /// The Child SA of that SA.
    pub child: ChildId,
    /// The Child SA whose selectors cover it: another one only in any-selector mode.
    pub by: ChildId,
}

/// The selectors of an SA whose packets need nothing else.
// Of the worker only where it is: what is read of it early has to be kept somewhere until the packet was asked.
pub struct OwnSelectors<'w, 'g, Q: Audit + ?Sized> {
    worker: &'w Worker<'g, Q>,
    entry: &'g Entry,
    child: &'w ChildRecord,
    /// The Child SA's.
    number: u32,
    /// Of what this worker accepted on the SA.
    counts: &'g Count,
}

impl<Q: Audit + ?Sized> OwnSelectors<'_, '_, Q> {
    #[inline(always)]
    fn scene(&self) -> Scene<'_, '_> {
        Scene::of(&self.worker.block, self.worker.tables, self.number, self.child)
    }

    /// True if one of them covers the packet.
    ///
    /// # Bound
    /// As [`Worker::check`] in strict-sa mode.
    #[inline(always)]
    pub fn cover(&self, inner: &InnerHeaders) -> bool {
        self.scene().ask_own(inner)
    }

    /// [`OwnSelectors::cover`] for a whole packet of IPv4 with ports, in fewer instructions. On microcontrollers false for SAs
    /// of more than 32 selectors as well: [`Worker::check_headers`] decides.
    ///
    /// # Bound
    /// As [`Worker::check`] in strict-sa mode.
    #[inline(always)]
    pub fn cover_ports(&self, packet: &impl PortsV4) -> bool {
        self.scene().ask_ports(packet)
    }

    /// True if the SA is a tunnel-mode SA and one of them covers the packet.
    ///
    /// # Bound
    /// As [`Worker::check`] in strict-sa mode.
    #[inline(always)]
    pub fn cover_packet(&self, next_header: u8, payload: &[u8]) -> bool {
        self.entry.mode() == SaMode::Tunnel && self.scene().ask_packet(next_header, payload)
    }

    /// Accepts a packet that they cover, of so many octets: counts it, and says what it came on.
    #[inline(always)]
    pub fn accept(self, octets: usize) -> Accepted {
        let (tunnel, child) = self.worker.arrived(self.entry);
        self.count(octets);
        Accepted { tunnel, child, by: child }
    }

    /// [`OwnSelectors::accept`] for who knows what it came on.
    #[inline(always)]
    pub fn count(self, octets: usize) {
        self.counts.add(octets);
    }
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
    /// SAs that the gateway was made with, which do not move: nothing leads there but this.
    first: First<'g>,
    /// The version of the selectors in force.
    current: Current<'g>,
    /// The selectors of `version`; read anew when that is no longer the current one.
    block: Block<'g>,
    /// Wider than a version, for [`NO_VERSION`].
    version: u64,
    /// Where the SPI table in force is found, while the worker takes part in reclamation.
    view: Option<&'g Newest<'g>>,
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
            sad: tables.sad().unwrap_or(Sad::NONE),
            first: tables.sad().unwrap_or(Sad::NONE).segments.of_worker(index as usize),
            current: tables.buffers.current(),
            block: Block::default(),
            version: NO_VERSION,
            view: None,
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
        if let Some(outer) = wire::esp_in_ipv4(packet) {
            return self.find(outer, ingress);
        }
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
                if let Some(outer) = wire::esp_in_ipv4(packet) {
                    *arrival = Arrival::Sa(SaId::NONE, outer);
                    continue;
                }
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

    /// The SA of an SPI of ESP alone, or [`SaId::NONE`] as in [`Worker::find_spis`], if the first look tells, in the fewest
    /// instructions. `None`: [`SpiTable::find`] knows.
    ///
    /// # Bound
    /// One direct slot and one bucket of the SPI table.
    #[inline(always)]
    pub fn look_esp(&self, spi: Spi) -> Option<SaId> {
        self.view?.get()?.look_spi(Ipsec::Esp, spi.0)
    }

    /// Judges an opened packet: may it be on this SA? Call it once for each authentic packet, and for
    /// no other: its sequence number counts as seen from now on.
    ///
    /// # Bound
    /// One SA entry, one word of its replay window; the inner headers as [`wire`] bounds them; in strict-sa mode the selectors of
    /// the SA, else those of the tunnel, each once. What is refused at first is asked again to say why: up to
    /// four times those of the SA and five times those of the tunnel, and each question once more for an ICMP error (RFC
    /// 4301 section 6.2); each shadow mode once, or twice for such an error.
    #[inline]
    pub fn check(&mut self, opened: &Opened<'_>, ingress: Ingress) -> Verdict {
        self.enter();
        match self.look_at(opened, ingress) {
            Ok(found) => self.accept_own(found, opened.payload.len()),
            Err(rest) => {
                let mut verdict = Verdict::REFUSED;
                self.check_rest(opened, rest, ingress, &mut verdict);
                verdict
            }
        }
    }

    /// The selectors of an SA, where nearly all packets need nothing else: an SA without replay window and limits, judged
    /// by strict-sa alone. A packet that they cover is accepted ([`OwnSelectors::accept`]); of others, and where this
    /// is `None`, [`Worker::check`] or another call that checks decides. After [`Worker::idle`] and after a publication it is `None`
    /// until such a call has read what is in force.
    ///
    /// For bindings, which put outer headers together only for those.
    #[inline(always)]
    pub fn own_selectors(&mut self, sa: SaId) -> Option<OwnSelectors<'_, 'g, Q>> {
        let (entry, counts) = self.found(sa)?;
        if entry.has_state() {
            return None;
        }
        // After the entry (`Worker::refresh`). Who holds the block of the version in force has been online since it read that:
        // so nothing was lost by not asking before. Without one there is no Child SA in the block.
        if self.version as u32 != self.current.version() {
            return None;
        }
        let scene = Scene::new(&self.block, self.tables, entry).filter(Scene::is_strict_alone)?;
        let (number, child) = scene.child();
        Some(OwnSelectors { worker: self, entry, child, number, counts })
    }

    /// The entry of an SA that lives, and what this worker counts on it.
    #[inline(always)]
    fn found(&self, sa: SaId) -> Option<Found<'g>> {
        let at = sa.live_index();
        let (entry, counts) = match (self.first.entries.get(at), self.first.counts.get(at)) {
            (Some(entry), Some(counts)) => (entry, counts),
            _ => self.grown(sa)?,
        };
        entry.is_named(sa).then_some((entry, counts))
    }

    /// [`Worker::found`] of an SA that the gateway has grown since.
    #[cold]
    #[inline(never)]
    fn grown(&self, sa: SaId) -> Option<Found<'g>> {
        let segments = &self.tables.sad()?.segments;
        let entry = segments.entry(sa.index()).filter(|entry| entry.is(sa))?;
        Some((entry, segments.accepted(self.index, sa.index())?))
    }

    /// The check without what explains it, for firmware that has no room for more: of tunnel-mode SAs without replay
    /// window and limits, in tunnels of strict-sa or any-selector. Shadow modes are not asked, ICMP errors are judged by
    /// their own headers, a later fragment is [`Reason::NoSelector`], and no event is made. What it accepts,
    /// [`Worker::check`] accepts; drops are counted alike.
    ///
    /// `None`: [`Worker::check`] is needed for this SA, or this mode. Nothing was counted; it is a drop for who
    /// does not ask it.
    ///
    /// # Bound
    /// As [`Worker::check`], with the selectors of the SA, and those of the tunnel, once each.
    pub fn check_plain(
        &mut self,
        sa: SaId,
        next_header: u8,
        payload: &[u8],
    ) -> Option<Result<Accepted, Reason>> {
        self.enter();
        let is_tunnel = |entry: &Entry| entry.mode() == SaMode::Tunnel;
        self.judge_plain(sa, payload.len(), is_tunnel, |scene| {
            if next_header == protocol::NO_NEXT_HEADER && sa.ipsec() == Ipsec::Esp {
                return Some(Err(Reason::Dummy));
            }
            match &wire::inner_expecting(next_header, payload) {
                Ok(inner) => scene.ask_plain(&Question::inbound(inner)),
                Err(what) => Some(Err(Reason::Malformed(*what))),
            }
        })
    }

    /// [`Worker::check_plain`] for headers that the host has read out of the decrypted packet itself, of SAs in either mode.
    /// `octets` is what the counters add up.
    ///
    /// # Bound
    /// As [`Worker::check_plain`].
    pub fn check_plain_headers(
        &mut self,
        sa: SaId,
        inner: &InnerHeaders,
        octets: usize,
    ) -> Option<Result<Accepted, Reason>> {
        self.enter();
        self.judge_plain(sa, octets, |_| true, |scene| scene.ask_plain(&Question::inbound(inner)))
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
            let searches = !COMPACT && self.block.has_trees();
            match if searches { self.asking_together(opened) } else { 0 } {
                0 => self.check_stride(opened, ingress, verdicts),
                together => self.check_ahead(together, opened, ingress, verdicts),
            }
        }
        count
    }

    // A call of its own where that costs nothing: what is around it would take registers of the loop.
    #[cfg_attr(not(target_os = "none"), inline(never))]
    fn check_stride(&mut self, opened: &[Opened<'_>], ingress: Ingress, verdicts: &mut [Verdict]) {
        for (one, verdict) in opened.iter().zip(verdicts) {
            // Two assignments: one of both would go through the stack.
            match self.look_at(one, ingress) {
                Ok(found) => *verdict = self.accept_own(found, one.payload.len()),
                Err(rest) => self.check_rest(one, rest, ingress, verdict),
            }
        }
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
            self.block.child_boxes(index, record).prefetch();
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
            Ok(found) if self.strict_scene(found.0).is_some_and(|scene| scene.ask_own(inner)) => {
                self.accept_own(found, octets)
            }
            Ok((entry, _)) | Err(Rest::Open(entry)) => {
                match self.ask_alone(entry, |scene, mode| scene.ask_headers(mode, inner)) {
                    Some(by) => self.accept(sa, entry, by, octets, Shadow::default()),
                    None => self.judge(sa, entry, inner, None, octets, outer, ingress),
                }
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
        if self.view.is_some() {
            self.tables.epochs.quiescent(self.index);
        }
    }

    /// Says that this thread holds nothing and may not come back for a while. The next call of
    /// another method takes part again.
    pub fn idle(&mut self) {
        self.tables.epochs.offline(self.index);
        self.view = None;
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
        let view = match self.view {
            Some(view) => view,
            None => {
                self.tables.epochs.online(self.index);
                *self.view.insert(self.tables.newest_sad)
            }
        };
        if let Some(sad) = view.get() {
            self.sad = sad;
        }
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
        self.sad.find_spi(ipsec, spi.0)
    }
}
