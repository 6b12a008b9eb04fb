//! Bursts of packets that ask one tree: they ask together, ahead of their turns.
//!
//! Asking has no effect that another packet could see, so what is said ahead is what each packet would be told at its turn.
//! All that has an effect (replay windows, limits, counters, events) happens at its turn, and a packet that was not accepted
//! ahead is judged then like any other.

use super::scene::Scene;
use super::{Ingress, Opened, STRIDE, Worker};
use crate::control::ChildId;
use crate::event::Audit;
use crate::headers::InnerHeaders;
use crate::matcher::{Each, Matcher, Question, Questions};
use crate::sad::SaMode;
use crate::verdict::Verdict;
use crate::wire;

/// Packets of one tunnel from which on asking together is faster, with what it takes to bring them together.
const TOGETHER: usize = STRIDE / 2;

/// On whose account each packet of a stride is accepted; `None`: its turn will tell.
type Ahead = [Option<ChildId>; STRIDE];

const _: () = assert!(STRIDE == u32::BITS as usize);

/// Adds what a packet asks.
struct Add<'q>(&'q mut Questions, usize);

impl wire::Ask for Add<'_> {
    type Answer = ();

    #[inline(always)]
    fn ask(self, inner: InnerHeaders) {
        self.0.add(self.1, Question::of(&inner));
    }
}

impl<Q: Audit + ?Sized> Worker<'_, Q> {
    /// A bit for each packet of the first one's tunnel, if nearly all are of it and ask its tree; else 0.
    // Calls, and what they say in a register: the loop of packets that ask lists keeps its own.
    #[inline(never)]
    pub(super) fn asking_together(&self, opened: &[Opened<'_>]) -> u32 {
        let first = opened.first().filter(|_| opened.len() >= TOGETHER);
        let Some(first) = first.and_then(|first| self.sa(first.sa)) else { return 0 };
        let scene = Scene::new(&self.block, self.tables, first);
        if scene.and_then(|scene| scene.searched_by()).is_none() {
            return 0;
        }
        let (mut same, mut others) = (0, 0);
        for (nth, one) in opened.iter().take(STRIDE).enumerate() {
            if self.sa(one.sa).is_some_and(|sa| sa.tunnel() == first.tunnel()) {
                same |= 1 << nth;
                continue;
            }
            others += 1;
            if others > opened.len() / 4 {
                return 0;
            }
        }
        same
    }

    /// The check of a stride of which these packets ask a tree.
    ///
    /// # Bound
    /// As [`Worker::check`] for each packet, and the tunnel's selectors once more.
    #[inline(never)]
    pub(super) fn check_ahead(
        &mut self,
        together: u32,
        opened: &[Opened<'_>],
        ingress: Ingress,
        verdicts: &mut [Verdict],
    ) {
        let mut ahead = [None; STRIDE];
        self.ask_ahead(together, opened, &mut ahead);
        for ((one, verdict), by) in opened.iter().zip(verdicts).zip(&ahead) {
            let Some(by) = *by else {
                *verdict = self.check(one, ingress);
                continue;
            };
            let octets = one.payload.len();
            *verdict = match self.account_for(one.sa, one.outer, octets, ingress) {
                Ok(found) => self.accept_by(found, by, octets),
                Err(rest) => self.check_further(one, rest, ingress),
            };
        }
    }

    /// Asks for packets of a tunnel.
    #[inline(never)]
    fn ask_ahead(&mut self, together: u32, opened: &[Opened<'_>], ahead: &mut Ahead) {
        // All SAs were read: selectors from now on are no older than they are.
        self.refresh();
        let first = opened.get(together.trailing_zeros() as usize);
        let Some(tunnel) = first.and_then(|first| Some(self.sa(first.sa)?.tunnel())) else {
            return;
        };
        let scene = |nth: usize| {
            let one = opened.get(nth)?;
            let sa = self.sa(one.sa).filter(|sa| sa.mode() == SaMode::Tunnel)?;
            let scene = Scene::new(&self.block, self.tables, sa)?;
            scene.is_of(tunnel).then_some((one, scene))
        };
        let mut questions = Questions::none();
        for nth in Each(together) {
            let Some((one, scene)) = scene(nth) else { continue };
            if scene.searched_by().is_some() {
                let add = Add(&mut questions, nth);
                // What cannot be read is dropped at its turn.
                let _ = wire::with_inner(one.next_header, one.payload, add);
            }
        }
        let matcher = Matcher::of_boxes(self.block.tunnel_boxes(tunnel));
        let found = matcher.first_of_questions::<false>(&questions);
        for nth in Each(together) {
            let found = found.get(nth).filter(|first| **first != u32::MAX);
            if let (Some(found), Some((_, scene)), Some(by)) =
                (found, scene(nth), ahead.get_mut(nth))
            {
                let mode = scene.searched_by();
                *by = mode.and_then(|mode| scene.accepting(mode, *found));
            }
        }
    }
}
