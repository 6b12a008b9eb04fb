//! What becomes of packets that are refused: each is counted, each has a reason, and it may make an event. Off
//! the fast path.

use super::judge::Shadow;
use super::{Arrival, Ingress, Opened, Worker};
use crate::control::{ChildId, TunnelId};
use crate::event::{Audit, Cause, Event, Leave};
use crate::headers::{InnerHeaders, OuterHeaders};
use crate::sad::{Entry, LimitKind, SaId};
use crate::verdict::{Decision, Modes, Reason, Refusal, SpiClass, Verdict};

/// What is known of a packet when an event is made of it.
#[derive(Default)]
struct About<'p> {
    outer: Option<&'p OuterHeaders>,
    inner: Option<&'p InnerHeaders>,
    sa: Option<SaId>,
    arrived: Option<(TunnelId, ChildId)>,
}

impl<Q: Audit + ?Sized> Worker<'_, Q> {
    /// A drop on a known SA: counted there, and an event if the budget allows one.
    #[cold]
    #[allow(clippy::too_many_arguments, reason = "an event tells all of this")]
    pub(super) fn refuse(
        &mut self,
        id: SaId,
        sa: &Entry,
        outer: &OuterHeaders,
        inner: Option<&InnerHeaders>,
        refusal: Refusal,
        shadow: Shadow,
        ingress: Ingress,
    ) -> Verdict {
        let arrived = self.arrived(sa);
        if let Some(cells) = self.sa_cells(id) {
            cells.drop(refusal.reason);
        }
        self.count_shadow(id, shadow);
        let about = About { outer: Some(outer), inner, sa: Some(id), arrived: Some(arrived) };
        self.audit(ingress, refusal, &about);
        Verdict {
            decision: Decision::Drop(refusal),
            arrived: Some(arrived),
            shadow_asked: shadow.asked,
            shadow_accepts: shadow.accepts,
        }
    }

    #[cold]
    pub(super) fn refuse_opened(
        &mut self,
        opened: &Opened<'_>,
        sa: &Entry,
        reason: Reason,
        ingress: Ingress,
    ) -> Verdict {
        let (refusal, shadow) = (Refusal::new(reason), Shadow::default());
        self.refuse(opened.sa, sa, opened.outer, None, refusal, shadow, ingress)
    }

    /// A drop on a known SA before it is opened.
    #[cold]
    pub(super) fn refuse_found(
        &mut self,
        sa: SaId,
        outer: &OuterHeaders,
        reason: Reason,
        ingress: Ingress,
    ) -> Arrival {
        let refusal = Refusal::new(reason);
        match self.sa(sa) {
            Some(entry) => {
                let shadow = Shadow::default();
                let _ = self.refuse(sa, entry, outer, None, refusal, shadow, ingress);
                Arrival::Drop(refusal)
            }
            // Deleted meanwhile.
            None => {
                let class = self.sad.class_of(outer, ingress.now_ms);
                Arrival::Drop(self.refuse_spi(outer, class, ingress))
            }
        }
    }

    /// A drop before any SA: counted by the worker.
    #[cold]
    pub(super) fn refuse_spi(
        &mut self,
        outer: &OuterHeaders,
        class: SpiClass,
        ingress: Ingress,
    ) -> Refusal {
        let refusal = Refusal { spi_class: Some(class), ..Refusal::new(Reason::UnknownSpi) };
        self.count_unread(Reason::UnknownSpi);
        self.audit(ingress, refusal, &About { outer: Some(outer), ..About::default() });
        refusal
    }

    #[cold]
    pub(super) fn refuse_unread(&mut self, reason: Reason, ingress: Ingress) -> Arrival {
        let refusal = Refusal::new(reason);
        self.count_unread(reason);
        self.audit(ingress, refusal, &About::default());
        Arrival::Drop(refusal)
    }

    /// The SA was deleted while the host decrypted.
    #[cold]
    pub(super) fn refuse_stale(
        &mut self,
        id: SaId,
        outer: &OuterHeaders,
        ingress: Ingress,
    ) -> Verdict {
        let class = self.sad.class_of(outer, ingress.now_ms);
        let refusal = Refusal { spi_class: Some(class), ..Refusal::new(Reason::UnknownSpi) };
        self.count_unread(Reason::UnknownSpi);
        let about = About { outer: Some(outer), sa: Some(id), ..About::default() };
        self.audit(ingress, refusal, &about);
        Verdict {
            decision: Decision::Drop(refusal),
            arrived: None,
            shadow_asked: Modes::NONE,
            shadow_accepts: Modes::NONE,
        }
    }

    /// Counts a drop of which nothing is told.
    #[cold]
    pub(super) fn count_refused(&self, id: Option<SaId>, reason: Reason) -> Reason {
        match id.filter(|_| reason != Reason::UnknownSpi).and_then(|id| self.sa_cells(id)) {
            Some(cells) => cells.drop(reason),
            None => self.count_unread(reason),
        }
        if reason != Reason::Dummy {
            self.cells.events_suppressed.add_owned(1);
        }
        reason
    }

    fn count_unread(&self, reason: Reason) {
        if let Some(cell) = self.cells.drops.get(reason.index()) {
            cell.add_owned(1);
        }
    }

    /// RFC 4301 section 5.2: the drop is an auditable event. Counting never depends on it.
    fn audit(&mut self, ingress: Ingress, refusal: Refusal, about: &About<'_>) {
        if refusal.reason == Reason::Dummy {
            return;
        }
        let cause = Cause::Drop(refusal);
        match self.leave(&cause, about.outer, ingress) {
            Some(leave) => self.tell(leave, cause, ingress, about),
            None => self.cells.events_suppressed.add_owned(1),
        }
    }

    pub(super) fn leave(
        &mut self,
        cause: &Cause,
        outer: Option<&OuterHeaders>,
        ingress: Ingress,
    ) -> Option<Leave> {
        let sad = self.sad;
        self.events.admit(cause, outer, ingress.now_ms, &|number| sad.hash_number(number))
    }

    /// Queues an event. A call of its own, so that drops without one need no stack for it.
    #[inline(never)]
    fn tell(&mut self, leave: Leave, cause: Cause, ingress: Ingress, about: &About<'_>) {
        let has_field = matches!(cause, Cause::Drop(refusal) if refusal.field.is_some());
        let event = Event {
            time_ms: ingress.now_ms,
            cause,
            outer: about.outer.copied(),
            inner: about.inner.copied(),
            nearest: if has_field { self.nearest } else { None },
            sa: about.sa,
            arrived: about.arrived,
            interface: ingress.interface,
            suppressed: 0,
            suppressed_of_source: 0,
        };
        self.events.push(leave, event);
    }

    /// RFC 4301 section 4.4.2.1: "soft" warns. One event an SA; a suppressed one is tried again with
    /// the next packet.
    #[cold]
    pub(super) fn tell_soft(
        &mut self,
        sa: SaId,
        outer: &OuterHeaders,
        kind: LimitKind,
        ingress: Ingress,
    ) {
        let cause = Cause::SoftLifetime(kind);
        let Some(leave) = self.leave(&cause, Some(outer), ingress) else { return };
        let arrived = self.sa(sa).map(|entry| self.arrived(entry));
        let about = About { outer: Some(outer), inner: None, sa: Some(sa), arrived };
        self.tell(leave, cause, ingress, &about);
        if let Some(state) = self.sad.segments.sa(sa.index()) {
            state.told();
        }
    }
}
