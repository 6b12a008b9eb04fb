//! Lookups in bursts: what [`Sad::lookup`] does for one packet, for up to 32 at once.
//!
//! ```text
//! SPIs ─▶ direct slots ─▶ the rest: buckets, first ─▶ second
//!                                      └─ roots of longer keys ─▶ the SA they lead to ─▶ by hash of addresses
//! ```
//!
//! In large tables each pass fetches the lines that the next one reads; small ones are looked at in
//! one pass.

use super::key::{Hash, Kind, Parts};
use super::table::First;
use super::word::Record;
use super::{SaId, Sad, longest};
use crate::headers::{Ipsec, OuterHeaders, Spi};
use crate::prefetch;
use crate::simd::{Job, Simd};

/// Packets that are looked up together.
pub(crate) const AHEAD: usize = 32;

/// Bits of a burst's packets, of which a loop takes the places.
#[derive(Clone, Copy)]
struct Places(u32);

impl Iterator for Places {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let next = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(next)
    }
}

/// The bit of the nth packet.
#[inline(always)]
fn bit(nth: usize) -> u32 {
    1 << (nth % AHEAD)
}

/// Of a burst of SPIs: bits for those that have longer keys, and for those that nobody has.
#[derive(Clone, Copy)]
struct Roots {
    longer: u32,
    missing: u32,
}

/// A packet whose SPI has longer keys.
struct Longer<'o> {
    outer: &'o OuterHeaders,
    kind: Kind,
    nth: usize,
    hash: Hash,
    /// What its word has in common with others of its tag; then the word found, or an empty one.
    word: Record,
}

impl<'m> Sad<'m> {
    /// The SAs of up to 64 SPIs alone; [`SaId::NONE`] and a bit in the result for those that have to
    /// be asked for with [`Sad::lookup`]: misses, and SPIs with longer keys.
    ///
    /// # Bound
    /// As for one packet, for each.
    #[inline]
    pub(crate) fn find_burst(&self, ipsec: Ipsec, spis: &[Spi], sas: &mut [SaId]) -> u64 {
        let mut missing = 0;
        for (nth, (spis, sas)) in spis.chunks(AHEAD).zip(sas.chunks_mut(AHEAD)).enumerate() {
            let not_found = self.backend.run(PlainJob { sad: self, ipsec, spis, sas });
            missing |= u64::from(not_found) << (nth * AHEAD % 64);
        }
        missing
    }

    /// The SAs of up to 32 packets, ESP only: [`SaId::NONE`] and a bit in the result for those that have
    /// to be asked for with [`Sad::lookup`], such as AH. `outer` gives the headers of the nth packet.
    ///
    /// # Bound
    /// As for one packet, for each.
    #[inline]
    pub(crate) fn find_packets<'o>(
        &self,
        count: usize,
        outer: impl Fn(usize) -> Option<&'o OuterHeaders>,
        sas: &mut [SaId],
    ) -> u32 {
        let mut spis = [Spi(0); AHEAD];
        for (i, spi) in spis.iter_mut().enumerate().take(count) {
            // Nobody has SPI 0.
            if let Some(outer) = outer(i).filter(|outer| outer.is_esp()) {
                *spi = outer.spi;
            }
        }
        let spis = spis.get(..count).unwrap_or(&[]);
        if !self.longer {
            return self.find_burst(Ipsec::Esp, spis, sas) as u32;
        }
        let roots = self.backend.run(RootsJob { sad: self, ipsec: Ipsec::Esp, spis, sas });
        let rest = self.find_heads(roots.longer, &outer, sas);
        if rest == 0 { roots.missing } else { roots.missing | self.find_longer(rest, outer, sas) }
    }

    /// Looks up to 32 SPIs up in the direct slots, if there are any; a bit for each that is not there.
    #[inline(always)]
    fn find_direct_burst(&self, ipsec: Ipsec, spis: &[Spi], sas: &mut [SaId]) -> u32 {
        if self.direct.len() == 0 && !self.table.is_empty() {
            return u32::MAX;
        }
        if self.large {
            for spi in spis {
                self.direct.prefetch(spi.0);
            }
        }
        let mut waiting = 0;
        let each = spis.iter().zip(sas).enumerate();
        if self.table.is_empty() || !cfg!(target_has_atomic = "64") {
            // Nearly all are found: branches that are foreseen.
            for (i, (spi, sa)) in each {
                *sa = self.find_direct(ipsec, spi.0, &mut ()).unwrap_or_else(|| {
                    waiting |= bit(i);
                    SaId::NONE
                });
            }
        } else {
            for (i, (spi, sa)) in each {
                *sa = self.direct.find_plain_or_none(ipsec, spi.0);
                // No branch: whose SPI it is is not to be foreseen.
                waiting |= u32::from(*sa == SaId::NONE) << (i % AHEAD);
            }
        }
        waiting
    }

    /// The SAs of packets whose SPI has longer keys, if the root leads to them: of those whose bit is set,
    /// and whose root stands in for the answer. Leaves the bits of the others.
    #[inline(always)]
    fn find_heads<'o>(
        &self,
        longer: u32,
        outer: impl Fn(usize) -> Option<&'o OuterHeaders>,
        sas: &mut [SaId],
    ) -> u32 {
        if self.large {
            for root in Places(longer).filter_map(|nth| sas.get(nth)) {
                if let Some(key) = self.segments.key(root.index()) {
                    prefetch::read(key);
                }
            }
        }
        let mut rest = longer;
        for nth in Places(longer) {
            let (Some(outer), Some(sa)) = (outer(nth), sas.get_mut(nth)) else { break };
            let root = Record(sa.to_raw());
            if self.leads_to(root, outer) {
                *sa = root.sa(outer.spi.0);
                rest &= !bit(nth);
            }
        }
        rest
    }

    /// [`Sad::find_heads`] for the others, by their longest keys; a bit in the result for those that have
    /// no SA.
    #[cold]
    fn find_longer<'o>(
        &self,
        longer: u32,
        outer: impl Fn(usize) -> Option<&'o OuterHeaders>,
        sas: &mut [SaId],
    ) -> u32 {
        let mut all: heapless::Vec<Longer<'o>, AHEAD> = heapless::Vec::new();
        for nth in Places(longer) {
            let (Some(outer), Some(root)) = (outer(nth), sas.get(nth)) else { break };
            let kind = longest(Record(root.to_raw()));
            let (hash, tag) = self.keys.long(&Parts::long(kind, outer));
            if self.large {
                self.table.prefetch(hash);
            }
            let word = Record::long(Ipsec::Esp, tag);
            if all.push(Longer { outer, kind, nth, hash, word }).is_err() {
                break;
            }
        }
        for one in &mut all {
            one.word = self.table.long_in_first(one.hash, one.word);
            if self.large
                && let Some(key) = self.segments.key(one.word.index())
            {
                prefetch::read(key);
            }
        }
        let mut missing = 0;
        for Longer { outer, kind, nth, word, .. } in &all {
            let Some(sa) = sas.get_mut(*nth) else { break };
            let key = self.segments.key(word.index());
            *sa = match key.filter(|key| key.is(&Parts::long(*kind, outer))) {
                Some(_) if !word.is_empty() => word.sa(outer.spi.0),
                // In its second bucket, or there is only a shorter key.
                _ => self.find_rest(outer),
            };
            missing |= if *sa == SaId::NONE { bit(*nth) } else { 0 };
        }
        missing
    }
}

/// [`Sad::find_burst`] of up to 32 SPIs.
struct PlainJob<'s, 'm, 'b> {
    sad: &'s Sad<'m>,
    ipsec: Ipsec,
    spis: &'b [Spi],
    sas: &'b mut [SaId],
}

impl Job for PlainJob<'_, '_, '_> {
    type Answer = u32;

    #[inline(always)]
    fn run<G: Simd>(self) -> u32 {
        let Self { sad, ipsec, spis, sas } = self;
        let all = u32::MAX.checked_shr((AHEAD - spis.len().min(AHEAD)) as u32).unwrap_or(0);
        let waiting = sad.find_direct_burst(ipsec, spis, sas) & all;
        if waiting == 0 || sad.table.is_empty() {
            return waiting;
        }
        if sad.large {
            return find_ahead::<G>(sad, ipsec, spis, sas, waiting);
        }
        match sad.direct.len() {
            0 => find_near::<G, false>(sad, ipsec, spis, sas, waiting),
            _ => find_near::<G, true>(sad, ipsec, spis, sas, waiting),
        }
    }
}

/// Up to 32 SPIs, or with `SOME` those of them whose bit is set, in tables that the cache holds.
#[inline(always)]
fn find_near<G: Simd, const SOME: bool>(
    sad: &Sad<'_>,
    ipsec: Ipsec,
    spis: &[Spi],
    sas: &mut [SaId],
    waiting: u32,
) -> u32 {
    let mut missing = 0;
    if SOME {
        for i in Places(waiting) {
            let (Some(spi), Some(sa)) = (spis.get(i), sas.get_mut(i)) else { break };
            find_one::<G>(sad, ipsec, spi.0, sa, bit(i), &mut missing);
        }
    } else {
        for (i, (spi, sa)) in spis.iter().zip(sas).enumerate() {
            find_one::<G>(sad, ipsec, spi.0, sa, bit(i), &mut missing);
        }
    }
    missing
}

#[inline(always)]
fn find_one<G: Simd>(
    sad: &Sad<'_>,
    ipsec: Ipsec,
    spi: u32,
    sa: &mut SaId,
    bit: u32,
    missing: &mut u32,
) {
    match sad.find_plain::<G, false>(ipsec, spi, &mut ()) {
        Some(found) => *sa = found,
        None => {
            *missing |= bit;
            *sa = SaId::NONE;
        }
    }
}

/// Those of up to 32 SPIs whose bit is set, in large tables.
#[inline(always)]
fn find_ahead<G: Simd>(
    sad: &Sad<'_>,
    ipsec: Ipsec,
    spis: &[Spi],
    sas: &mut [SaId],
    waiting: u32,
) -> u32 {
    let mut hashes = [Hash::default(); AHEAD];
    for i in Places(waiting) {
        let (Some(spi), Some(hash)) = (spis.get(i), hashes.get_mut(i)) else { break };
        *hash = sad.keys.root(ipsec, spi.0);
        sad.table.prefetch(*hash);
    }
    // Bits of those that the second bucket may have, and of those that nobody has.
    let (mut elsewhere, mut missing) = (0, 0);
    for i in Places(waiting) {
        let (Some(spi), Some(hash)) = (spis.get(i), hashes.get(i)) else { break };
        let Some(sa) = sas.get_mut(i) else { break };
        let pattern = Record::plain(ipsec, spi.0);
        let found = match sad.table.find_first::<G>(*hash, pattern, &sad.segments, &mut ()) {
            First::Sa(sa) => Some(sa),
            First::Nothing => None,
            First::Elsewhere => {
                elsewhere |= bit(i);
                sad.table.prefetch_second(*hash);
                continue;
            }
        };
        *sa = found.unwrap_or(SaId::NONE);
        missing |= if found.is_none() { bit(i) } else { 0 };
    }
    if elsewhere != 0 {
        G::leave();
    }
    for i in Places(elsewhere) {
        let (Some(spi), Some(hash)) = (spis.get(i), hashes.get(i)) else { break };
        let Some(sa) = sas.get_mut(i) else { break };
        let found = sad.find_second(*hash, ipsec, spi.0, &mut ());
        *sa = found;
        missing |= if found == SaId::NONE { bit(i) } else { 0 };
    }
    missing
}

/// [`Sad::find_burst`] of up to 32 SPIs of which some may have longer keys: the answers for those are
/// their roots.
struct RootsJob<'s, 'm, 'b> {
    sad: &'s Sad<'m>,
    ipsec: Ipsec,
    spis: &'b [Spi],
    sas: &'b mut [SaId],
}

impl Job for RootsJob<'_, '_, '_> {
    type Answer = Roots;

    #[inline(always)]
    fn run<G: Simd>(self) -> Roots {
        let Self { sad, ipsec, spis, sas } = self;
        let waiting = sad.find_direct_burst(ipsec, spis, sas);
        let mut roots = Roots { longer: 0, missing: 0 };
        let mut look = |i: usize, spi: &Spi, hash: Hash, sa: &mut SaId| {
            if waiting & bit(i) == 0 {
                return;
            }
            let root = match sad.table.root_in_first::<G>(hash, Record::root(ipsec, spi.0)) {
                Some(root) if sad.confirmed(root.sa(spi.0)).is_some() => root,
                _ => {
                    G::leave();
                    sad.find_hidden_root(ipsec, spi.0)
                }
            };
            *sa = SaId::from_raw(root.0);
            let flags = root.flags();
            // No branches: which kind of key a packet has is not to be foreseen.
            roots.longer |= u32::from(flags & !Record::HAS_SA != 0) << (i % AHEAD);
            roots.missing |= u32::from(flags == 0) << (i % AHEAD);
        };
        if !sad.large {
            for (i, (spi, sa)) in spis.iter().zip(sas).enumerate() {
                look(i, spi, sad.keys.root(ipsec, spi.0), sa);
            }
            return roots;
        }
        let mut hashes = [Hash::default(); AHEAD];
        for (hash, spi) in hashes.iter_mut().zip(spis) {
            *hash = sad.keys.root(ipsec, spi.0);
            sad.table.prefetch(*hash);
        }
        for (i, ((spi, hash), sa)) in spis.iter().zip(&hashes).zip(sas).enumerate() {
            look(i, spi, *hash, sa);
        }
        roots
    }
}
