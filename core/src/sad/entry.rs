//! The SA entry: what the packet path must know of an SA, in one cache line.
//!
//! Word atomics without read-modify-write, so that readers may look while the one writer prepares
//! a slot. Fields are written while no table word points to the slot and before `generation` is
//! stored with release; a reader loads `generation` (or the table word) with acquire first.
//! A slot is written again only after every worker's quiescent state (`publish`, I3).

use core::sync::atomic::{AtomicU32, Ordering};

use bytemuck::Zeroable;

use super::SaId;
use super::key::{Addresses, Kind, Parts};
use crate::headers::{Encap, Family, Ipsec};

/// How the SA treats the packet's own IP header (RFC 4301 section 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SaMode {
    /// The decrypted payload is an IP packet.
    Tunnel,
    /// The decrypted payload is the next layer of the packet that arrived.
    Transport,
}

/// 64 octets: everything of one SA that judging a packet needs.
#[repr(C, align(64))]
pub(crate) struct Entry {
    /// Odd while the SA lives; grows by one at each birth and death.
    generation: AtomicU32,
    spi: AtomicU32,
    tunnel: AtomicU32,
    child: AtomicU32,
    child_generation: AtomicU32,
    flags: AtomicU32,
    /// Writer only: the next SA with the same SPI and protocol, plus 1.
    next: AtomicU32,
    _reserved: AtomicU32,
    addresses: [AtomicU32; 8],
}

// SAFETY: integers in atomic cells; all zero is a valid (dead) entry.
#[allow(unsafe_code)]
unsafe impl Zeroable for Entry {}

const AH: u32 = 1;
const TRANSPORT: u32 = 1 << 1;
const ENCAP_SHIFT: u32 = 2;
const KIND_SHIFT: u32 = 4;
const V6: u32 = 1 << 6;

#[inline]
fn encap_of(flags: u32) -> Encap {
    match (flags >> ENCAP_SHIFT) & 3 {
        0 => Encap::None,
        1 => Encap::Udp,
        _ => Encap::Tcp,
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

impl Entry {
    /// The SA's fields if `id` still names it. An even generation, as all-zero memory has, never
    /// names one.
    #[inline]
    pub(crate) fn get(&self, id: SaId) -> Option<SaFields> {
        (self.alive() == Some(id.generation)).then(|| self.fields())
    }

    /// The generation of the SA in this slot, if one lives here.
    #[inline]
    pub(super) fn alive(&self) -> Option<u32> {
        let generation = self.generation.load(Ordering::Acquire);
        (generation & 1 == 1).then_some(generation)
    }

    /// The encapsulation of the SA that was found alive.
    #[inline]
    pub(crate) fn encap(&self) -> Encap {
        encap_of(self.flags.load(Ordering::Relaxed))
    }

    /// The fields of the SA that was found alive: stable from its birth until the slot is filled
    /// again, which is after the reader's next quiescent state.
    #[inline]
    pub(crate) fn fields(&self) -> SaFields {
        let flags = self.flags.load(Ordering::Relaxed);
        SaFields {
            tunnel: self.tunnel.load(Ordering::Relaxed),
            child: self.child.load(Ordering::Relaxed),
            child_generation: self.child_generation.load(Ordering::Relaxed),
            mode: if flags & TRANSPORT == 0 { SaMode::Tunnel } else { SaMode::Transport },
            encap: encap_of(flags),
        }
    }

    /// The tunnel the entry belongs, or last belonged, to.
    pub(crate) fn tunnel(&self) -> u32 {
        self.tunnel.load(Ordering::Relaxed)
    }

    /// The key this entry was added under.
    pub(super) fn parts(&self) -> Parts {
        let flags = self.flags.load(Ordering::Relaxed);
        Parts {
            kind: match (flags >> KIND_SHIFT) & 3 {
                2 => Kind::Destination,
                3 => Kind::DestinationSource,
                _ => Kind::Root,
            },
            ipsec: if flags & AH == 0 { Ipsec::Esp } else { Ipsec::Ah },
            spi: self.spi.load(Ordering::Relaxed),
            addresses: Addresses {
                family: if flags & V6 == 0 { Family::V4 } else { Family::V6 },
                words: core::array::from_fn(|i| {
                    self.addresses.get(i).map_or(0, |word| word.load(Ordering::Relaxed))
                }),
            },
        }
    }

    /// Writer: fills a slot that no reader looks at and brings it to life.
    pub(super) fn birth(&self, parts: &Parts, fields: &SaFields) -> u32 {
        let flags = if parts.ipsec == Ipsec::Ah { AH } else { 0 }
            | if fields.mode == SaMode::Transport { TRANSPORT } else { 0 }
            | match fields.encap {
                Encap::None => 0,
                Encap::Udp => 1 << ENCAP_SHIFT,
                Encap::Tcp => 2 << ENCAP_SHIFT,
            }
            | (parts.kind as u32) << KIND_SHIFT
            | if parts.addresses.family == Family::V6 { V6 } else { 0 };
        self.spi.store(parts.spi, Ordering::Relaxed);
        self.tunnel.store(fields.tunnel, Ordering::Relaxed);
        self.child.store(fields.child, Ordering::Relaxed);
        self.child_generation.store(fields.child_generation, Ordering::Relaxed);
        self.flags.store(flags, Ordering::Relaxed);
        for (cell, word) in self.addresses.iter().zip(parts.addresses.words) {
            cell.store(word, Ordering::Relaxed);
        }
        let generation = self.generation.load(Ordering::Relaxed).wrapping_add(1) | 1;
        self.generation.store(generation, Ordering::Release);
        generation
    }

    /// Writer: from now on no handle names this SA.
    pub(super) fn death(&self) {
        let generation = self.generation.load(Ordering::Relaxed);
        self.generation.store(generation.wrapping_add(1) & !1, Ordering::Release);
    }

    pub(super) fn next(&self) -> Option<u32> {
        self.next.load(Ordering::Relaxed).checked_sub(1)
    }

    pub(super) fn set_next(&self, next: Option<u32>) {
        self.next.store(next.map_or(0, |index| index.wrapping_add(1)), Ordering::Relaxed);
    }
}
