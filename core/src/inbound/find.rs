//! The SA of a packet that arrives, behind the calls of [`Worker`]: find it, and ask whether the packet may be opened.

use super::{Arrival, Ingress, STRIDE, Worker};
use crate::event::Audit;
use crate::headers::{Outer, OuterHeaders};
use crate::prefetch;
use crate::sad::{Outcome, SaId};
use crate::verdict::Reason;

impl<Q: Audit + ?Sized> Worker<'_, Q> {
    /// RFC 4301 section 5.2 step 3a.
    #[inline]
    pub(super) fn find(&mut self, outer: OuterHeaders, ingress: Ingress) -> Arrival {
        match self.sad.lookup(&outer, ingress.now_ms) {
            Ok(sa) => self.admit(sa, outer, ingress),
            Err(class) => Arrival::Drop(self.refuse_spi(&outer, class, ingress)),
        }
    }

    /// [`Worker::find`] for a packet that the first look at the table did not tell.
    pub(super) fn find_rest(&mut self, outer: OuterHeaders, ingress: Ingress) -> Arrival {
        match self.sad.lookup_rest(&outer, ingress.now_ms) {
            Ok(sa) => self.admit(sa, outer, ingress),
            Err(class) => Arrival::Drop(self.refuse_spi(&outer, class, ingress)),
        }
    }

    /// [`Worker::find`] for up to [`STRIDE`] arrivals that are not looked up yet.
    #[inline]
    pub(super) fn find_arrivals(&mut self, arrivals: &mut [Arrival], ingress: Ingress) {
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
            // Headers stay where they are.
            let Arrival::Sa(found, outer) = arrival else { continue };
            let instead = if missing & 1 << i == 0 {
                *found = *sa;
                let Some(reason) = self.objection(*sa, outer, ingress) else { continue };
                self.refuse_found(*sa, outer, reason, ingress)
            } else if outer.is_esp() {
                self.find_rest(*outer, ingress)
            } else {
                self.find(*outer, ingress)
            };
            *arrival = instead;
        }
    }

    /// The SA of a packet that it does not object to.
    #[inline]
    fn admit(&mut self, sa: SaId, mut outer: OuterHeaders, ingress: Ingress) -> Arrival {
        match self.objection(sa, &mut outer, ingress) {
            None => Arrival::Sa(sa, outer),
            Some(reason) => self.refuse_found(sa, &outer, reason, ingress),
        }
    }

    /// What the SA demands before its packets are opened, and the packet does not meet: encapsulation, lifetime,
    /// a fresh sequence number. Gives the headers the high half of that.
    #[inline(always)]
    fn objection(
        &mut self,
        sa: SaId,
        outer: &mut OuterHeaders,
        ingress: Ingress,
    ) -> Option<Reason> {
        outer.sequence_high = 0;
        let entry = self.sad.entry(sa)?;
        if entry.encap() != outer.encap {
            return Some(Reason::WrongEncap);
        }
        if entry.is_due(ingress.now_ms) && self.is_expired(sa, outer, ingress) {
            return Some(Reason::SaExpired);
        }
        if entry.has_state()
            && let Some(state) = self.sad.segments.sa(sa.index())
        {
            match state.precheck(outer.sequence) {
                Ok(full) => outer.sequence_high = (full >> 32) as u32,
                Err(_) => return Some(Reason::Replay),
            }
        }
        None
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

    #[inline]
    pub(super) fn pass(&self, other: Outer) -> Arrival {
        self.cells.passed.add_owned(1);
        Arrival::Pass(other)
    }
}
