//! SAs: SPIs that are chosen here, SAs added, replaced and deleted in place, and what they have seen.

use super::{ChildId, Control, Due, SaParams, SaState};
use crate::counters::{self, Counts};
use crate::error::SaError;
use crate::headers::{Ipsec, Spi};
use crate::sad::{Outcome, SaFields, SaId, SaKey, SaRef, SaStart};

impl<'m> Control<'m> {
    /// Chooses an SPI for an SA that is being negotiated, one that is found with one load and one
    /// compare. It is unpredictable, not below 256, and was not in use for the quarantine
    /// ([`Control::set_spi_quarantine`]). Packets that come before its SA are dropped as
    /// [`SpiClass::Larval`](crate::verdict::SpiClass::Larval); [`Control::add_sa`] with this SPI,
    /// protocol and no addresses brings the SA to life.
    ///
    /// # Bound
    /// Constant; up to 64 SPIs are tried where others have them.
    ///
    /// # Errors
    /// [`SaError::Full`], [`SaError::Quarantine`], [`SaError::Busy`].
    pub fn reserve_spi(&mut self, ipsec: Ipsec, now_ms: u64) -> Result<Spi, SaError> {
        self.settle();
        self.sad.reserve(ipsec, now_ms)
    }

    /// Gives back a reserved SPI whose negotiation failed. It is quarantined too: the peer knows it.
    ///
    /// # Errors
    /// [`SaError::NotFound`]: not reserved, or its SA lives.
    pub fn release_spi(&mut self, ipsec: Ipsec, spi: Spi, now_ms: u64) -> Result<(), SaError> {
        self.sad.release(ipsec, spi, now_ms, &self.tables.epochs)
    }

    /// How long an SPI chosen here is not used again after its SA was deleted, in milliseconds; 10 000
    /// until this is called. Longer than packets are on their way.
    pub fn set_spi_quarantine(&mut self, ms: u64) {
        self.sad.set_quarantine(ms);
    }

    /// SAs that have room: those found by SPI alone, by SPI and destination, by SPI, destination and
    /// source, and those whose SPIs are chosen here.
    pub fn sa_limits(&self) -> [u32; 4] {
        let ([sas, dst, dst_src], allocated) = self.sad.limits();
        [sas, dst, dst_src, allocated]
    }

    /// How many Child SAs there may be: every [`ChildId::index`] is below it.
    pub fn child_limit(&self) -> u32 {
        self.tables.established.len() as u32
    }

    /// Adds an SA to a published Child SA; packets find it from now on.
    ///
    /// # Errors
    /// [`SaError`]; after any of them the SAD is as before (T22).
    pub fn add_sa(&mut self, child: ChildId, params: &SaParams) -> Result<SaId, SaError> {
        self.add_started(child, params, &params.start())
    }

    /// [`Control::add_sa`] of an SA that was somewhere else before.
    pub(super) fn add_started(
        &mut self,
        child: ChildId,
        params: &SaParams,
        start: &SaStart,
    ) -> Result<SaId, SaError> {
        let fields = self.sa_fields(child, params)?;
        self.settle();
        self.sad.may_add(&params.key, start)?;
        // First, so that a worker that finds the SA finds its Child SA established.
        self.adjust_established(child.index, 1);
        let added = self.sad.add(&params.key, &fields, start);
        if added.is_err() {
            self.adjust_established(child.index, -1);
        }
        added
    }

    /// Deletes an SA at `now_ms` on the caller's clock. Packets that were looked up before are
    /// dropped when they are checked.
    ///
    /// # Errors
    /// [`SaError::NotFound`].
    pub fn delete_sa(&mut self, sa: SaId, now_ms: u64) -> Result<(), SaError> {
        let fields = self.sad.delete(sa, now_ms, &self.tables.epochs)?;
        self.adjust_established(fields.child, -1);
        Ok(())
    }

    /// Puts a new SA in the place of an old one. With the same key there is no moment in which
    /// neither answers (an SPI that was chosen here then counts among `sas`); with another the new one
    /// is added before the old one is deleted. For a
    /// rekey with overlap (RFC 7296 section 2.8) call [`Control::add_sa`] now and
    /// [`Control::delete_sa`] when the peer has moved.
    ///
    /// # Errors
    /// [`SaError`]; after any of them the SAD is as before.
    pub fn replace_sa(
        &mut self,
        old: SaId,
        child: ChildId,
        params: &SaParams,
        now_ms: u64,
    ) -> Result<SaId, SaError> {
        if self.sad.sad().key_of(old).ok_or(SaError::NotFound)? != params.key {
            let new = self.add_sa(child, params)?;
            self.delete_sa(old, now_ms)?;
            return Ok(new);
        }
        let fields = self.sa_fields(child, params)?;
        self.settle();
        let start = params.start();
        self.sad.may_replace(old, &start)?;
        self.adjust_established(child.index, 1);
        match self.sad.replace(old, &fields, &start, now_ms, &self.tables.epochs) {
            Ok((new, old_fields)) => {
                self.adjust_established(old_fields.child, -1);
                Ok(new)
            }
            Err(error) => {
                self.adjust_established(child.index, -1);
                Err(error)
            }
        }
    }

    /// The SA with exactly this key: no longer and no shorter one (T22).
    pub fn find_sa(&self, key: &SaKey) -> Option<SaId> {
        self.sad.by_key(key)
    }

    /// The key of a live SA.
    pub fn sa_key(&self, sa: SaId) -> Option<SaKey> {
        self.sad.sad().key_of(sa)
    }

    /// Counts of one live SA.
    ///
    /// # Errors
    /// [`SaError::NotFound`].
    pub fn sa_counts(&self, sa: SaId) -> Result<Counts, SaError> {
        let sad = self.sad.sad();
        sad.entry(sa).filter(|entry| entry.is(sa)).ok_or(SaError::NotFound)?;
        Ok(counters::of_sa(&sad.segments, sa.index()))
    }

    /// The highest sequence number seen in an authentic packet of a live SA with anti-replay, and the
    /// packets and octets counted against its limits, if it has such limits: what another node needs to
    /// take over.
    ///
    /// # Errors
    /// [`SaError::NotFound`].
    pub fn sa_state(&self, sa: SaId) -> Result<SaState, SaError> {
        let found = self.live(sa)?;
        let (packets, octets) = found.used();
        Ok(SaState { top: found.replay_top(), packets, octets })
    }

    /// The next SA at or behind index `*from` whose soft limit in time or whose hard limit of any kind
    /// is reached: for SAs on which no packets arrive. `*from` is moved on, past the SA found or by `slots`; begin at 0 and
    /// go on until it is [`u32::MAX`]. Nothing is noted: that is the packet path's.
    ///
    /// # Bound
    /// `slots` entries.
    pub fn next_due_sa(&self, from: &mut u32, slots: u32, now_ms: u64) -> Option<(SaId, Due)> {
        let segments = &self.sad.sad().segments;
        for _ in 0..slots {
            let Some(sa) = segments.sa(*from) else {
                *from = u32::MAX;
                return None;
            };
            let index = *from;
            *from += 1;
            let due = match sa.due_at(now_ms) {
                Outcome::Within => continue,
                Outcome::Soft(_) => Due::Soft,
                Outcome::Expired => Due::Hard,
            };
            if let Some(id) = self.sad.sad().live_at(index) {
                return Some((id, due));
            }
        }
        None
    }

    pub(super) fn live(&self, sa: SaId) -> Result<SaRef<'m>, SaError> {
        let found = self.sad.sad().segments.sa(sa.index()).ok_or(SaError::NotFound)?;
        found.hot.get(sa).ok_or(SaError::NotFound)?;
        Ok(found)
    }

    fn sa_fields(&self, child: ChildId, params: &SaParams) -> Result<SaFields, SaError> {
        let tunnel = match &self.images {
            Some(images) => self.tunnel_in(images, child)?,
            None => {
                let stage = self.child(child).map_err(|_| SaError::StaleChild)?;
                if stage.published == 0 {
                    return Err(SaError::Unpublished);
                }
                stage.tunnel
            }
        };
        Ok(SaFields {
            tunnel,
            child: child.index,
            child_generation: child.generation,
            mode: params.mode,
            encap: params.encap,
        })
    }
}
