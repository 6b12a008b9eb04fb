//! The check of an opened packet, behind the calls of [`Worker`]: account for it, look at what nearly all packets meet,
//! judge the others.

use super::scene::{Scene, enclosed};
use super::{Accepted, Ingress, Opened, Worker};
use crate::control::{ChildId, TunnelId};
use crate::counters::{Accepted as Count, SaCells};
use crate::event::Audit;
use crate::headers::{InnerHeaders, OuterHeaders, protocol};
use crate::matcher::Question;
use crate::sad::{Entry, Outcome, SaId, SaMode};
use crate::simd::COMPACT;
use crate::verdict::{Decision, Mode, Modes, Reason, Refusal, Verdict};
use crate::wire;

/// What the first look at an opened packet left to do.
pub(super) enum Rest<'g> {
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
    question: &'p Question,
}

/// An SA that lives, and what this worker counts on it.
pub(super) type Found<'g> = (&'g Entry, &'g Count);

/// What the shadow modes said.
#[derive(Clone, Copy, Default)]
pub(super) struct Shadow {
    pub(super) asked: Modes,
    pub(super) accepts: Modes,
}

impl<'g, Q: Audit + ?Sized> Worker<'g, Q> {
    /// Decides what nearly all packets meet: a tunnel-mode SA, strict-sa alone, and selectors that cover the
    /// packet. Returns the SA of such a packet.
    #[inline(always)]
    pub(super) fn look_at(
        &mut self,
        opened: &Opened<'_>,
        ingress: Ingress,
    ) -> Result<Found<'g>, Rest<'g>> {
        let Opened { sa, outer, next_header, payload } = *opened;
        let found = self.account_for(sa, outer, payload.len(), ingress)?;
        let sa = found.0;
        match self.strict_scene(sa) {
            Some(scene)
                if sa.mode() == SaMode::Tunnel && scene.ask_packet(next_header, payload) =>
            {
                Ok(found)
            }
            _ => Err(Rest::Open(sa)),
        }
    }

    /// Finds the SA, and counts the packet as seen.
    #[inline(always)]
    pub(super) fn account_for(
        &mut self,
        id: SaId,
        outer: &OuterHeaders,
        octets: usize,
        ingress: Ingress,
    ) -> Result<Found<'g>, Rest<'g>> {
        let Some(found) = self.found(id) else { return Err(Rest::Stale) };
        let sa = found.0;
        if sa.has_state()
            && let Err(reason) = self.account(id, outer, octets, ingress)
        {
            return Err(Rest::Refused(sa, reason));
        }
        Ok(found)
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

    /// The selectors to ask, where strict-sa alone judges.
    #[inline(always)]
    pub(super) fn strict_scene(&mut self, sa: &Entry) -> Option<Scene<'_, 'g>> {
        self.refresh();
        Scene::new(&self.block, self.tables, sa).filter(Scene::is_strict_alone)
    }

    /// [`Worker::check`] of what the first look left, written where the verdict is wanted: one that is moved there as a whole
    /// waits for its parts.
    #[cfg_attr(not(target_os = "none"), inline(never))]
    #[cfg_attr(target_os = "none", inline(always))]
    pub(super) fn check_rest(
        &mut self,
        opened: &Opened<'_>,
        rest: Rest<'g>,
        ingress: Ingress,
        verdict: &mut Verdict,
    ) {
        if let Rest::Open(sa) = rest
            && sa.mode() == SaMode::Tunnel
            && let Some(by) = self.ask_alone(sa, |scene, mode| {
                scene.ask_packet_in(mode, opened.next_header, opened.payload)
            })
        {
            *verdict = self.accept(opened.sa, sa, by, opened.payload.len(), Shadow::default());
            return;
        }
        *verdict = self.check_further(opened, rest, ingress);
    }

    /// What `ask` says of the SA's selectors, in the tunnel's mode, if that is another than strict-sa and no shadow mode is
    /// asked. Not where code is to be small.
    #[inline(always)]
    pub(super) fn ask_alone(
        &self,
        sa: &Entry,
        ask: impl FnOnce(&Scene<'_, 'g>, Mode) -> Option<u32>,
    ) -> Option<ChildId> {
        if COMPACT {
            return None;
        }
        let scene = Scene::new(&self.block, self.tables, sa)?;
        scene.id_of(ask(&scene, scene.other_mode_alone()?)?)
    }

    /// [`Worker::check`] of the other packets.
    #[inline(never)]
    pub(super) fn check_further(
        &mut self,
        opened: &Opened<'_>,
        rest: Rest<'g>,
        ingress: Ingress,
    ) -> Verdict {
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

    /// [`Worker::check_plain`]: what `ask` makes of the packet and the selectors of its SA, counted. `None` where that is.
    #[inline(always)]
    pub(super) fn judge_plain(
        &mut self,
        id: SaId,
        octets: usize,
        is_judged: impl FnOnce(&Entry) -> bool,
        ask: impl FnOnce(Scene<'_, 'g>) -> Option<Result<ChildId, Reason>>,
    ) -> Option<Result<Accepted, Reason>> {
        let Some(sa) = self.sa(id) else {
            return Some(Err(self.count_refused(None, Reason::UnknownSpi)));
        };
        if sa.has_state() || !is_judged(sa) {
            return None;
        }
        self.refresh();
        let judged = match Scene::new(&self.block, self.tables, sa) {
            None => Err(Reason::UnknownSpi),
            Some(scene) => ask(scene)?,
        };
        Some(match judged {
            Ok(by) => {
                let (tunnel, child) = self.count_accepted(id, sa, octets);
                Ok(Accepted { tunnel, child, by })
            }
            Err(reason) => Err(self.count_refused(Some(id), reason)),
        })
    }

    /// RFC 4301 section 5.2 step 4 in the tunnel's mode.
    #[allow(clippy::too_many_arguments, reason = "one private place where both entries meet")]
    pub(super) fn judge(
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
        // One after the other: each takes much of the stack.
        let mut shadow = Shadow::default();
        let packet = Judged { inner, opened, question: &question };
        let accepting = self.ask_further(sa, &packet, accepting, (mode, shadow_modes), &mut shadow);
        match accepting {
            Some(by) => self.accept(id, sa, by, octets, shadow),
            None => {
                let refusal = self.explain(sa, mode, &question, inner);
                self.refuse(id, sa, outer, Some(inner), refusal, shadow, ingress)
            }
        }
    }

    /// What [`Worker::judge`] leaves: packets that the selectors do not cover, and shadow modes. A call of its
    /// own, so that the others need no stack for it.
    #[inline(never)]
    fn ask_further(
        &self,
        sa: &Entry,
        packet: &Judged<'_>,
        accepting: Option<ChildId>,
        (mode, shadow_modes): (Mode, Modes),
        shadow: &mut Shadow,
    ) -> Option<ChildId> {
        let Judged { inner, question, .. } = packet;
        let scene = Scene::new(&self.block, self.tables, sa)?;
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
        accepting
    }

    /// Why a packet is refused; the selector that it came nearest to is kept.
    #[inline(never)]
    fn explain(
        &mut self,
        sa: &Entry,
        mode: Mode,
        question: &Question,
        inner: &InnerHeaders,
    ) -> Refusal {
        let (refusal, nearest) = match Scene::new(&self.block, self.tables, sa) {
            Some(scene) => scene.explain(mode, question, inner),
            None => (Refusal::new(Reason::UnknownSpi), None),
        };
        self.nearest = nearest;
        refusal
    }

    /// Accepts a packet on account of its own SA.
    #[inline(always)]
    pub(super) fn accept_own(&self, found: Found<'_>, octets: usize) -> Verdict {
        let arrived = self.count_found(found, octets);
        accepted(arrived.1, arrived, Shadow::default())
    }

    /// Accepts a packet on account of this Child SA, which no shadow mode was asked about.
    #[inline(always)]
    pub(super) fn accept_by(&self, found: Found<'_>, by: ChildId, octets: usize) -> Verdict {
        accepted(by, self.count_found(found, octets), Shadow::default())
    }

    #[inline(always)]
    pub(super) fn accept(
        &self,
        id: SaId,
        sa: &Entry,
        by: ChildId,
        octets: usize,
        shadow: Shadow,
    ) -> Verdict {
        let arrived = self.count_accepted(id, sa, octets);
        self.count_shadow(id, shadow);
        accepted(by, arrived, shadow)
    }

    /// [`Worker::count_accepted`] of what was found.
    #[inline(always)]
    fn count_found(&self, (sa, counts): Found<'_>, octets: usize) -> (TunnelId, ChildId) {
        counts.add(octets);
        self.arrived(sa)
    }

    /// Counts an accepted packet; says what it came on.
    #[inline(always)]
    pub(super) fn count_accepted(
        &self,
        id: SaId,
        sa: &Entry,
        octets: usize,
    ) -> (TunnelId, ChildId) {
        if let Some(accepted) = self.sad.segments.accepted(self.index, id.index()) {
            accepted.add(octets);
        }
        self.arrived(sa)
    }

    #[inline]
    pub(super) fn arrived(&self, sa: &Entry) -> (TunnelId, ChildId) {
        (self.tables.tunnel_id(sa.tunnel()), sa.child_id())
    }

    #[inline]
    pub(super) fn count_shadow(&self, id: SaId, shadow: Shadow) {
        if shadow.asked == Modes::NONE {
            return;
        }
        if let Some(cells) = self.sa_cells(id) {
            for mode in shadow.asked.iter() {
                cells.shadow(mode, shadow.accepts.contains(mode));
            }
        }
    }

    pub(super) fn sa_cells(&self, id: SaId) -> Option<&'g SaCells> {
        self.sad.segments.cells(id.index())
    }
}

#[inline(always)]
fn accepted(by: ChildId, arrived: (TunnelId, ChildId), shadow: Shadow) -> Verdict {
    Verdict {
        decision: Decision::Accept(by),
        arrived: Some(arrived),
        shadow_asked: shadow.asked,
        shadow_accepts: shadow.accepts,
    }
}
