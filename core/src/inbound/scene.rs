//! The selectors that a packet on one SA is judged by, and what each mode asks of them.

use super::Opened;
use crate::control::ChildId;
use crate::gateway::{Tables, policy_of};
use crate::headers::{Fragment, InnerHeaders};
use crate::matcher::Question;
use crate::matcher::block::{Block, Boxes, ChildRecord};
use crate::sad::{SaFields, SaMode};
use crate::selector::Selector;
use crate::verdict::{Mode, Modes, Reason, Refusal};
use crate::wire;

/// The packet that an ICMP error is about, as a question. It must have come from the host that the
/// error goes to: whoever sends the error writes the quotation, and must reach no other with it.
#[cold]
pub(super) fn enclosed(
    mode: SaMode,
    opened: &Opened<'_>,
    inner: &InnerHeaders,
) -> Option<Question> {
    let about = match mode {
        SaMode::Tunnel => wire::icmp_enclosed(opened.payload, inner),
        SaMode::Transport => {
            wire::transport_icmp_enclosed(opened.next_header, opened.payload, inner)
        }
    };
    about
        .filter(|about| about.endpoints.dst() == inner.endpoints.dst())
        .map(|about| Question::inbound(&about))
}

/// The selectors that a packet on one SA is judged by.
pub(super) struct Scene<'b, 'g> {
    block: &'b Block<'g>,
    tables: &'b Tables<'g>,
    child_id: ChildId,
    child: &'b ChildRecord,
    tunnel: u32,
}

impl<'b, 'g> Scene<'b, 'g> {
    /// `None` if the SA's Child SA is no longer in the block: then the SA is gone as well.
    #[inline]
    pub(super) fn new(block: &'b Block<'g>, tables: &'b Tables<'g>, sa: &SaFields) -> Option<Self> {
        let child = block.child(sa.child)?;
        let child_id = ChildId { index: sa.child, generation: sa.child_generation };
        (child.generation == sa.child_generation).then_some(Self {
            block,
            tables,
            child_id,
            child,
            tunnel: sa.tunnel,
        })
    }

    /// The tunnel's enforced mode and its shadow modes: those of an image are of the same version as its selectors.
    #[inline]
    pub(super) fn policy(&self) -> (Mode, Modes) {
        if self.child.policy != 0 {
            return policy_of(self.child.policy);
        }
        match self.tables.tunnels.get(self.tunnel as usize) {
            Some(cell) => cell.policy(),
            None => (Mode::StrictSa, Modes::NONE),
        }
    }

    #[inline]
    fn own(&self) -> Boxes<'b, 'g> {
        self.block.child_boxes(self.child_id.index, self.child)
    }

    #[inline]
    fn all(&self) -> Boxes<'b, 'g> {
        self.block.tunnel_boxes(self.tunnel)
    }

    #[inline]
    fn established(&self, child: u32) -> bool {
        self.tables.established.get(child as usize).is_some_and(|count| count.get() != 0)
    }

    fn id_of(&self, child: u32) -> Option<ChildId> {
        let generation = self.block.child(child)?.generation;
        Some(ChildId { index: child, generation })
    }

    /// The Child SA on whose account `mode` accepts the packet.
    #[inline]
    pub(super) fn ask(&self, mode: Mode, question: &Question) -> Option<ChildId> {
        match mode {
            Mode::StrictSa => question.covered_by(self.own()).then_some(self.child_id),
            Mode::AnySelector => {
                let child = question.first(self.all(), |child| self.established(child))?;
                self.id_of(child)
            }
            Mode::AnySource => {
                let child = question.first_source(self.all(), |child| self.established(child))?;
                self.id_of(child)
            }
            Mode::OrderedSpd => {
                let first = question.first(self.all(), |_| true)?;
                let same = self.block.child(first)?.class == self.child.class;
                (same && question.covered_by(self.own())).then_some(self.child_id)
            }
        }
    }

    /// Why the packet was refused: off the fast path.
    #[cold]
    pub(super) fn explain(
        &self,
        mode: Mode,
        question: &Question,
        inner: &InnerHeaders,
    ) -> (Refusal, Option<Selector>) {
        let belongs_to = match mode {
            Mode::StrictSa => question.first(self.all(), |child| self.established(child)),
            // The SPD order decides, whether that Child SA has an SA or not.
            Mode::OrderedSpd => question.first(self.all(), |_| true),
            // Those would have accepted it.
            Mode::AnySelector | Mode::AnySource => None,
        };
        let (reason, nearest) = match belongs_to {
            // In ordered-spd the SA's own selectors may cover it too: then no field differs.
            Some(_) if question.covered_by(self.own()) => (Reason::WrongSa, None),
            Some(_) => (Reason::WrongSa, question.nearest(self.own())),
            None => {
                let asked = |child| mode == Mode::OrderedSpd || self.established(child);
                let portless = inner.fragment == Fragment::NonInitial
                    && question.covered_portless(self.all(), asked);
                let reason = if portless { Reason::FragmentNoPorts } else { Reason::NoSelector };
                (reason, question.nearest(self.all()))
            }
        };
        let refusal = Refusal {
            reason,
            spi_class: None,
            belongs_to: belongs_to.and_then(|child| self.id_of(child)),
            field: nearest.map(|nearest| nearest.field),
            nearest_index: nearest.map_or(0, |nearest| nearest.index),
        };
        (refusal, nearest.map(|nearest| nearest.selector))
    }
}
