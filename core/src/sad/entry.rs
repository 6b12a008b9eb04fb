//! The SA entry: what the packet path must know of an SA, in one cache line, and beside it what is
//! rarely asked.
//!
//! Word atomics, so that readers may look while the one writer prepares a slot. Fields are written
//! while no table word points to the slot and before `name` is stored with release; a reader
//! loads `name` (or the table word) with acquire first. A slot is filled again only after
//! every worker's quiescent state (`publish`, I3); one whose SA found no place in the table was
//! never pointed to.

use core::sync::atomic::{AtomicU32, Ordering};

use bytemuck::Zeroable;

use super::key::{self, Kind, Parts};
use super::lifetime::{self, Lifetime, Usage, Used};
use super::replay::{self, Cell64, Replayed, Window};
use super::{SaId, id};
use crate::control::ChildId;
use crate::headers::{Encap, Endpoints, Ipsec, OuterHeaders, Spi};

/// How the SA treats the packet's own IP header (RFC 4301 section 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SaMode {
    /// The decrypted payload is an IP packet.
    Tunnel,
    /// The decrypted payload is the next layer of the packet that arrived.
    Transport,
}

/// 64 octets: everything of one SA that judging a packet needs, but for the bits of its replay
/// window.
#[repr(C, align(64))]
pub(crate) struct Entry {
    /// The half of the SA's handle without the SPI; once the SA is dead, without the live bit.
    name: AtomicU32,
    spi: AtomicU32,
    flags: AtomicU32,
    tunnel: AtomicU32,
    child: AtomicU32,
    child_generation: AtomicU32,
    /// What the replay window has seen: `Window::synchronised`.
    synchronised: AtomicU32,
    usage: Usage,
    top: Cell64,
}

const _: () = assert!(size_of::<Entry>() == 64);

// SAFETY: integers in atomic cells; all zero is a valid (dead) entry.
#[allow(unsafe_code)]
unsafe impl Zeroable for Entry {}

/// What is asked of an SA off the packet path, or once a limit of its is near.
#[repr(C)]
pub(crate) struct Cold {
    /// Writer only: the next SA with the same SPI and protocol, plus 1.
    next: AtomicU32,
    limits: lifetime::Limits,
}

// SAFETY: integers in atomic cells; all zero is valid.
#[allow(unsafe_code)]
unsafe impl Zeroable for Cold {}

/// The key of an SA in one cache line, where a gateway has longer keys than SPIs.
#[repr(C, align(64))]
pub(crate) struct KeyCells {
    words: [AtomicU32; 8],
    spi: AtomicU32,
    class: AtomicU32,
}

// SAFETY: integers in atomic cells; all zero is valid.
#[allow(unsafe_code)]
unsafe impl Zeroable for KeyCells {}

impl KeyCells {
    /// True if this is the key.
    #[inline(always)]
    pub(super) fn is(&self, parts: &Parts) -> bool {
        let same = |(cell, word): (&AtomicU32, u32)| cell.load(Ordering::Relaxed) ^ word;
        let key = same((&self.spi, parts.spi)) | same((&self.class, parts.class()));
        let differs = match parts.endpoints {
            // All other words are zero.
            Endpoints::V4 { src, dst } => {
                let [_, _, _, to, _, _, _, from] = &self.words;
                key | same((to, dst)) | same((from, src))
            }
            Endpoints::V6 { .. } => self
                .words
                .iter()
                .zip(key::words(&parts.endpoints))
                .fold(key, |key, pair| key | same(pair)),
        };
        differs == 0
    }

    /// True if this is the key with a packet's destination, and its source if the key has one, and no
    /// shorter than `longest`.
    #[inline(always)]
    pub(super) fn is_longer_of(&self, outer: &OuterHeaders, longest: Kind) -> bool {
        let kind = match self.class.load(Ordering::Relaxed) & 1 {
            0 => Kind::Destination,
            _ => Kind::DestinationSource,
        };
        kind as u32 >= longest as u32 && self.is(&Parts::long(kind, outer))
    }

    fn parts(&self) -> Parts {
        let words = self.words.each_ref().map(|word| word.load(Ordering::Relaxed));
        let [spi, class] = [&self.spi, &self.class].map(|cell| cell.load(Ordering::Relaxed));
        Parts::from_class(class, spi, words)
    }

    fn set(&self, parts: &Parts) {
        for (cell, word) in self.words.iter().zip(key::words(&parts.endpoints)) {
            cell.store(word, Ordering::Relaxed);
        }
        self.spi.store(parts.spi, Ordering::Relaxed);
        self.class.store(parts.class(), Ordering::Relaxed);
    }
}

const AH: u32 = 1;
const TRANSPORT: u32 = 1 << 1;
const ENCAP_SHIFT: u32 = 2;
/// The soft limit was told.
const TOLD: u32 = 1 << 4;
const ESN: u32 = 1 << 7;
const LIMITED: u32 = 1 << 8;
/// 13 bits: the size of the replay window.
const WINDOW_SHIFT: u32 = 16;

// What makes packets be counted stands above what does not (`has_state`).
const _: () = assert!(3 << ENCAP_SHIFT < TOLD && TOLD < ESN);
const _: () = assert!(ESN < LIMITED && LIMITED < 1 << WINDOW_SHIFT);

#[inline]
fn encap_of(flags: u32) -> Encap {
    match (flags >> ENCAP_SHIFT) & 3 {
        0 => Encap::None,
        1 => Encap::Udp,
        _ => Encap::Tcp,
    }
}

#[inline]
fn mode_of(flags: u32) -> SaMode {
    if flags & TRANSPORT == 0 { SaMode::Tunnel } else { SaMode::Transport }
}

/// Anti-replay of an SA (RFC 4303 section 3.4.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Replay {
    /// Packets that the window holds, at most
    /// [`Capacity::replay_window`](crate::Capacity::replay_window); 0 = the host does it, or nobody.
    pub window: u32,
    /// Extended sequence numbers (RFC 4303 section 2.2.1).
    pub esn: bool,
    /// Where the window starts.
    pub start: ReplayStart,
}

/// Where a replay window starts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReplayStart {
    /// No packet was seen; with ESN the first ones have this high half.
    High(u32),
    /// State taken over from another node: this number and all below it count as seen.
    Top(u64),
}

impl Default for ReplayStart {
    fn default() -> Self {
        Self::High(0)
    }
}

/// The fields of an entry, copied out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SaFields {
    pub(crate) tunnel: u32,
    pub(crate) child: u32,
    pub(crate) child_generation: u32,
    pub(crate) mode: SaMode,
    pub(crate) encap: Encap,
}

/// What an SA starts with, beside its key and its fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct SaStart {
    pub(crate) replay: Replay,
    pub(crate) lifetime: Lifetime,
    pub(crate) used: Used,
    /// Packets and octets that were accepted before.
    pub(crate) accepted: [u64; 2],
}

/// One SA's slot: its entry and what lies beside it.
#[derive(Clone, Copy)]
pub(crate) struct SaRef<'m> {
    pub(crate) hot: &'m Entry,
    pub(super) cold: &'m Cold,
    /// None where no key of the gateway is longer than an SPI.
    pub(super) key: Option<&'m KeyCells>,
    /// Room for the largest window of the gateway.
    pub(super) window: &'m [Cell64],
    /// Several workers may be at work on one SA.
    pub(super) shared: bool,
}

impl Entry {
    /// True if `id` still names the SA of this slot: then its fields are stable until the slot is filled
    /// again, which is after the reader's next quiescent state. All-zero memory has no name.
    #[inline]
    pub(crate) fn is(&self, id: SaId) -> bool {
        self.is_named(id) && u64::from(id.low()) & id::LIVE != 0
    }

    /// [`Entry::is`] of a handle that was found by [`SaId::live_index`].
    #[inline(always)]
    pub(crate) fn is_named(&self, id: SaId) -> bool {
        // In this order: the SPI stays from before the name is stored till the slot is filled again.
        id.low() == self.name.load(Ordering::Acquire) && id.spi().0 == self.spi()
    }

    /// The SA's fields if `id` still names it.
    pub(crate) fn get(&self, id: SaId) -> Option<SaFields> {
        self.is(id).then(|| self.fields())
    }

    /// The handle of the SA in this slot, if one lives here.
    #[inline]
    pub(super) fn alive(&self) -> Option<SaId> {
        let name = u64::from(self.name.load(Ordering::Acquire));
        let id = SaId::from_raw(u64::from(self.spi()) << 32 | name);
        (name & id::LIVE != 0).then_some(id)
    }

    /// The SPI of the SA in this slot, or of the last one that was.
    #[inline]
    pub(super) fn spi(&self) -> u32 {
        self.spi.load(Ordering::Relaxed)
    }

    /// The encapsulation of the SA that was found alive.
    #[inline]
    pub(crate) fn encap(&self) -> Encap {
        encap_of(self.flags.load(Ordering::Relaxed))
    }

    /// The fields of the SA that was found alive.
    pub(crate) fn fields(&self) -> SaFields {
        let flags = self.flags.load(Ordering::Relaxed);
        SaFields {
            tunnel: self.tunnel.load(Ordering::Relaxed),
            child: self.child.load(Ordering::Relaxed),
            child_generation: self.child_generation.load(Ordering::Relaxed),
            mode: mode_of(flags),
            encap: encap_of(flags),
        }
    }

    /// How the SA that was found alive treats the packet's own IP header.
    #[inline]
    pub(crate) fn mode(&self) -> SaMode {
        mode_of(self.flags.load(Ordering::Relaxed))
    }

    /// Index of the Child SA of the SA that was found alive.
    #[inline]
    pub(crate) fn child(&self) -> u32 {
        self.child.load(Ordering::Relaxed)
    }

    /// The Child SA of the SA that was found alive.
    #[inline]
    pub(crate) fn child_id(&self) -> ChildId {
        let generation = self.child_generation.load(Ordering::Relaxed);
        ChildId { index: self.child(), generation }
    }

    /// The tunnel the entry belongs, or last belonged, to.
    #[inline]
    pub(crate) fn tunnel(&self) -> u32 {
        self.tunnel.load(Ordering::Relaxed)
    }

    /// True if a limit in time has been reached that was not acted upon.
    #[inline]
    pub(crate) fn is_due(&self, now_ms: u64) -> bool {
        self.usage.is_due(now_ms)
    }

    /// True if packets are checked for replays or counted against limits.
    #[inline]
    pub(crate) fn has_state(&self) -> bool {
        // Extended sequence numbers, limits and a window are what stands above the rest: one compare.
        self.flags.load(Ordering::Relaxed) >= ESN
    }

    /// The soft limit was told.
    #[inline]
    fn was_told(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & TOLD != 0
    }
}

impl<'m> SaRef<'m> {
    #[inline]
    fn replay(&self) -> Window<'m> {
        let flags = self.hot.flags.load(Ordering::Relaxed);
        let size = flags >> WINDOW_SHIFT;
        Window {
            size,
            esn: flags & ESN != 0,
            shared: self.shared,
            top: &self.hot.top,
            synchronised: &self.hot.synchronised,
            words: self.window.get(..replay::words_for(size)).unwrap_or(&[]),
        }
    }

    /// The full sequence number that the packet would have, if it may be opened.
    #[inline]
    pub(crate) fn precheck(&self, low: u32) -> Result<u64, Replayed> {
        self.replay().precheck(low)
    }

    /// Records an authentic packet in the replay window.
    #[inline]
    pub(crate) fn commit(&self, full: u64) -> Result<(), Replayed> {
        let window = self.replay();
        window.commit(window.number(full))
    }

    /// The highest authentic sequence number.
    pub(crate) fn replay_top(&self) -> u64 {
        self.replay().top()
    }

    /// Counts an authentic packet against the limits; what came of it.
    #[inline]
    pub(crate) fn count(&self, octets: u64) -> lifetime::Outcome {
        if self.hot.flags.load(Ordering::Relaxed) & LIMITED == 0 {
            return lifetime::Outcome::Within;
        }
        self.hot.usage.count(&self.cold.limits, octets, self.shared, self.hot.was_told())
    }

    /// What the limits in time say now.
    #[cold]
    pub(crate) fn due(&self, now_ms: u64) -> lifetime::Outcome {
        self.hot.usage.due(&self.cold.limits, now_ms, self.hot.was_told())
    }

    /// What is due now.
    pub(crate) fn due_at(&self, now_ms: u64) -> lifetime::Outcome {
        if self.hot.is_due(now_ms) { self.due(now_ms) } else { lifetime::Outcome::Within }
    }

    /// Notes that the soft limit was told.
    pub(crate) fn told(&self) {
        // Nobody else changes them while the SA lives, but for another worker that does the same.
        self.hot.flags.store(self.hot.flags.load(Ordering::Relaxed) | TOLD, Ordering::Relaxed);
        self.hot.usage.told(&self.cold.limits);
    }

    /// Octets and packets counted against the limits.
    pub(crate) fn used(&self) -> (u64, u64) {
        self.hot.usage.used()
    }

    /// What an SA would have to start with to go on as this one: all numbers up to the highest count as
    /// seen. Nothing of what was accepted.
    pub(crate) fn as_start(&self) -> SaStart {
        let Window { size: window, esn, .. } = self.replay();
        // First: when it says so, `top` is that of an authentic packet.
        let is_synchronised = self.hot.synchronised.load(Ordering::Acquire) != 0;
        let top = self.replay_top();
        let start = match is_synchronised {
            true => ReplayStart::Top(top),
            false => ReplayStart::High((top >> 32) as u32),
        };
        let (packets, octets) = self.used();
        SaStart {
            replay: Replay { window, esn, start },
            lifetime: self.cold.limits.get(),
            used: Used { packets, octets, told: self.hot.was_told() },
            accepted: [0; 2],
        }
    }

    /// The key this entry was added under.
    pub(super) fn parts(&self) -> Parts {
        let flags = self.hot.flags.load(Ordering::Relaxed);
        if let Some(key) = self.key {
            return key.parts();
        }
        let ipsec = if flags & AH == 0 { Ipsec::Esp } else { Ipsec::Ah };
        Parts::root(ipsec, Spi(self.hot.spi()))
    }

    /// Writer: fills a slot that no reader looks at and brings it to life.
    pub(super) fn birth(
        &self,
        index: u32,
        parts: &Parts,
        fields: &SaFields,
        start: &SaStart,
    ) -> SaId {
        let SaStart { replay, lifetime, used, .. } = start;
        let flags = if parts.ipsec == Ipsec::Ah { AH } else { 0 }
            | if fields.mode == SaMode::Transport { TRANSPORT } else { 0 }
            | match fields.encap {
                Encap::None => 0,
                Encap::Udp => 1 << ENCAP_SHIFT,
                Encap::Tcp => 2 << ENCAP_SHIFT,
            }
            | if replay.esn { ESN } else { 0 }
            | if lifetime.counts() { LIMITED } else { 0 }
            | if used.told { TOLD } else { 0 }
            | replay.window << WINDOW_SHIFT;
        let Entry { name, spi, tunnel, child, child_generation, usage, .. } = self.hot;
        spi.store(parts.spi, Ordering::Relaxed);
        tunnel.store(fields.tunnel, Ordering::Relaxed);
        child.store(fields.child, Ordering::Relaxed);
        child_generation.store(fields.child_generation, Ordering::Relaxed);
        self.hot.flags.store(flags, Ordering::Relaxed);
        if let Some(key) = self.key {
            key.set(parts);
        }
        match replay.start {
            ReplayStart::High(high) => self.replay().start(high),
            ReplayStart::Top(top) => self.replay().start_behind(top),
        }
        self.cold.limits.set(lifetime);
        usage.start(lifetime, used);
        let before = SaId::from_raw(u64::from(name.load(Ordering::Relaxed))).generation();
        let id = SaId::new(parts.ipsec, parts.spi, id::next_generation(before), index);
        name.store(id.low(), Ordering::Release);
        id
    }

    /// Writer: from now on no handle names this SA.
    pub(super) fn death(&self) {
        let name = self.hot.name.load(Ordering::Relaxed);
        self.hot.name.store(name & !(id::LIVE as u32), Ordering::Release);
    }

    /// Writer: the SA found no place in the table. Nobody has its handle, so the next SA gets it.
    pub(super) fn stillbirth(&self) {
        let name = u64::from(self.hot.name.load(Ordering::Relaxed));
        let id = SaId::from_raw(name).of_generation_before();
        self.hot.name.store(id.low() & !(id::LIVE as u32), Ordering::Release);
    }

    pub(super) fn next(&self) -> Option<u32> {
        self.cold.next.load(Ordering::Relaxed).checked_sub(1)
    }

    pub(super) fn set_next(&self, next: Option<u32>) {
        self.cold.next.store(next.map_or(0, |index| index.wrapping_add(1)), Ordering::Relaxed);
    }
}
