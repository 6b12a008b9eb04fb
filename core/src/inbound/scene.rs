//! The selectors that a packet on one SA is judged by, and what each mode asks of them.

use super::Opened;
use crate::control::ChildId;
use crate::gateway::{Tables, policy_of, policy_word};
use crate::headers::{Fragment, InnerHeaders};
use crate::matcher::block::{Block, Boxes, ChildRecord};
use crate::matcher::{self, Key, PortsV4, Question};
use crate::sad::{Entry, SaMode};
use crate::selector::Selector;
use crate::simd::COMPACT;
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
#[derive(Clone, Copy)]
pub(super) struct Scene<'b, 'g> {
    block: &'b Block<'g>,
    tables: &'b Tables<'g>,
    child_id: ChildId,
    child: &'b ChildRecord,
}

/// True if the SA's own selectors cover the packet.
impl wire::Ask for Scene<'_, '_> {
    type Answer = bool;

    #[inline(always)]
    fn ask(self, inner: InnerHeaders) -> bool {
        self.ask_own(&inner)
    }
}

/// Selectors that are asked in a mode other than strict-sa.
struct InMode<'s, 'b, 'g>(&'s Scene<'b, 'g>, Mode);

impl wire::Ask for InMode<'_, '_, '_> {
    type Answer = Option<u32>;

    #[inline(always)]
    fn ask(self, inner: InnerHeaders) -> Option<u32> {
        self.0.ask_headers(self.1, &inner)
    }
}

impl<'b, 'g> Scene<'b, 'g> {
    /// `None` if the SA's Child SA is no longer in the block: then the SA is gone as well.
    #[inline]
    pub(super) fn new(block: &'b Block<'g>, tables: &'b Tables<'g>, sa: &Entry) -> Option<Self> {
        let child_id = sa.child_id();
        let child = block.child(child_id.index)?;
        (child.generation == child_id.generation).then_some(Self { block, tables, child_id, child })
    }

    /// [`Scene::new`] once the record of the SA's Child SA was found.
    #[inline(always)]
    pub(super) fn of(
        block: &'b Block<'g>,
        tables: &'b Tables<'g>,
        number: u32,
        child: &'b ChildRecord,
    ) -> Self {
        let child_id = ChildId { index: number, generation: child.generation };
        Self { block, tables, child_id, child }
    }

    /// The number of the SA's Child SA, and its record.
    #[inline(always)]
    pub(super) fn child(&self) -> (u32, &'b ChildRecord) {
        (self.child_id.index, self.child)
    }

    /// What applies to the tunnel: that of an image is of the same version as its selectors.
    #[inline(always)]
    fn policy_word(&self) -> u32 {
        match self.child.policy {
            0 => self.tables.policy_word(self.child.tunnel),
            of_image => of_image,
        }
    }

    /// The tunnel's enforced mode and its shadow modes.
    pub(super) fn policy(&self) -> (Mode, Modes) {
        policy_of(self.policy_word())
    }

    /// True if packets are judged by strict-sa, and by no shadow mode.
    #[inline(always)]
    pub(super) fn is_strict_alone(&self) -> bool {
        self.policy_word() as u16 == policy_word(Mode::StrictSa, Modes::NONE) as u16
    }

    /// The enforced mode, if it is not strict-sa and no shadow mode is asked beside it.
    #[inline]
    pub(super) fn other_mode_alone(&self) -> Option<Mode> {
        let (mode, shadow) = self.policy();
        (mode != Mode::StrictSa && shadow == Modes::NONE).then_some(mode)
    }

    #[inline]
    fn own(&self) -> Boxes<'b, 'g> {
        self.block.child_boxes(self.child_id.index, self.child)
    }

    /// True if the SA's own selectors cover the packet.
    #[inline(always)]
    pub(super) fn ask_own(self, inner: &InnerHeaders) -> bool {
        Question::of(inner).covered_by(self.own())
    }

    /// [`matcher::covers_ports`] of the SA's own selectors.
    #[inline(always)]
    pub(super) fn ask_ports(&self, packet: &impl PortsV4) -> bool {
        matcher::covers_ports(self.own(), packet)
    }

    /// True if the SA's own selectors cover a tunnel-mode packet.
    #[inline(always)]
    pub(super) fn ask_packet(self, next_header: u8, payload: &[u8]) -> bool {
        if COMPACT {
            // Packets are read in one place of the program.
            return match &wire::inner_expecting(next_header, payload) {
                Ok(inner) => self.ask_own(inner),
                Err(_) => false,
            };
        }
        wire::with_inner(next_header, payload, self) == Ok(true)
    }

    /// The number of the Child SA on whose account `mode` accepts a tunnel-mode packet, whose headers are put together in
    /// registers.
    #[inline(always)]
    pub(super) fn ask_packet_in(&self, mode: Mode, next_header: u8, payload: &[u8]) -> Option<u32> {
        wire::with_inner(next_header, payload, InMode(self, mode)).unwrap_or(None)
    }

    /// The same for headers.
    #[inline(always)]
    pub(super) fn ask_headers(&self, mode: Mode, inner: &InnerHeaders) -> Option<u32> {
        match Question::of(inner) {
            Question::V4(key) => {
                let (remote, local, packed) = key.parts();
                self.ask_parts(mode, remote, local, packed)
            }
            Question::V6(key) => {
                let (remote, local, packed) = key.parts();
                self.ask_parts(mode, remote, local, packed)
            }
        }
    }

    /// [`Scene::number_in`] of a key's parts. A number, since an answer of three words would be handed over in memory and
    /// wait there for its parts.
    #[inline(never)]
    fn ask_parts<A>(&self, mode: Mode, remote: A, local: A, packed: u64) -> Option<u32>
    where
        Key<A>: Into<Question>,
    {
        self.number_in(mode, &Key::of_parts((remote, local, packed)).into())
    }

    /// The mode, if a tree is asked first and what it says suffices to accept a packet: no shadow mode is asked.
    #[inline]
    pub(super) fn searched_by(&self) -> Option<Mode> {
        let word = self.policy_word() as u16;
        let asking = [Mode::StrictSa, Mode::AnySelector, Mode::OrderedSpd];
        let mode = asking.into_iter().find(|one| policy_word(*one, Modes::NONE) as u16 == word)?;
        let is_searched = match mode {
            Mode::StrictSa => self.child.is_searched(),
            _ => self.block.is_searched(self.child.tunnel),
        };
        is_searched.then_some(mode)
    }

    /// The Child SA on whose account `mode` accepts a packet that a box of this one is the first of the tunnel to cover.
    /// `None`: [`Scene::ask`] tells.
    #[inline]
    pub(super) fn accepting(&self, mode: Mode, first: u32) -> Option<ChildId> {
        match mode {
            Mode::AnySelector if self.asked(false)(first) => self.id_of(first),
            Mode::StrictSa | Mode::OrderedSpd if first == self.child_id.index => {
                Some(self.child_id)
            }
            _ => None,
        }
    }

    #[inline]
    pub(super) fn is_of(&self, tunnel: u32) -> bool {
        self.child.tunnel == tunnel
    }

    /// True if the SA's own selectors cover the packet: for who is in no hurry.
    #[inline]
    fn covers(&self, question: &Question) -> bool {
        question.is_covered(self.own())
    }

    #[inline]
    fn all(&self) -> Boxes<'b, 'g> {
        self.block.tunnel_boxes(self.child.tunnel)
    }

    /// Which Child SAs are asked: those that have an SA, or any. One closure for all questions, so that
    /// each is compiled once.
    #[inline]
    fn asked(&self, any: bool) -> impl Fn(u32) -> bool {
        let established = self.tables.established;
        move |child| any || established.get(child as usize).is_some_and(|count| count.get() != 0)
    }

    pub(super) fn id_of(&self, child: u32) -> Option<ChildId> {
        let generation = self.block.child(child)?.generation;
        Some(ChildId { index: child, generation })
    }

    /// The Child SA on whose account `mode` accepts the packet.
    pub(super) fn ask(&self, mode: Mode, question: &Question) -> Option<ChildId> {
        self.id_of(self.number_in(mode, question)?)
    }

    /// Its number.
    #[inline(always)]
    fn number_in(&self, mode: Mode, question: &Question) -> Option<u32> {
        let own = self.child_id.index;
        match mode {
            Mode::StrictSa => self.covers(question).then_some(own),
            Mode::AnySelector => question.first(self.all(), self.asked(false)),
            Mode::AnySource => question.first_source(self.all(), self.asked(false)),
            Mode::OrderedSpd => {
                let first = question.first(self.all(), self.asked(true))?;
                let same = self.block.child(first)?.class == self.child.class;
                (same && self.covers(question)).then_some(own)
            }
        }
    }

    /// The Child SA on whose account a tunnel's mode accepts the packet, or the reason of the drop and nothing more.
    /// `None`: the mode is none of these two.
    #[inline(always)]
    pub(super) fn ask_plain(&self, question: &Question) -> Option<Result<ChildId, Reason>> {
        let mode = self.policy().0;
        if mode == Mode::StrictSa && self.covers(question) {
            return Some(Ok(self.child_id));
        }
        if !matches!(mode, Mode::StrictSa | Mode::AnySelector) {
            return None;
        }
        let other = question.first(self.all(), self.asked(false)).and_then(|by| self.id_of(by));
        Some(match (other, mode) {
            (Some(by), Mode::AnySelector) => Ok(by),
            (Some(_), _) => Err(Reason::WrongSa),
            (None, _) => Err(Reason::NoSelector),
        })
    }

    /// Why the packet was refused: off the fast path. Inline, so that it is compiled where the questions of
    /// [`Scene::ask`] are and shares them.
    #[cold]
    #[inline]
    pub(super) fn explain(
        &self,
        mode: Mode,
        question: &Question,
        inner: &InnerHeaders,
    ) -> (Refusal, Option<Selector>) {
        let belongs_to = match mode {
            Mode::StrictSa => question.first(self.all(), self.asked(false)),
            // The SPD order decides, whether that Child SA has an SA or not.
            Mode::OrderedSpd => question.first(self.all(), self.asked(true)),
            // Those would have accepted it.
            Mode::AnySelector | Mode::AnySource => None,
        };
        let (reason, nearest) = match belongs_to {
            // In ordered-spd the SA's own selectors may cover it too: then no field differs.
            Some(_) if self.covers(question) => (Reason::WrongSa, None),
            Some(_) => (Reason::WrongSa, question.nearest(self.own())),
            None => {
                let asked = self.asked(mode == Mode::OrderedSpd);
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
