//! What a peer loses that makes one SA for each pair of selectors, and has room for one of them.
//!
//! ```text
//! Child SA   local L1, L2   remote R1, R2      pairs L1R1  L1R2  L2R1  L2R2
//!                                                    kept  lost, unless the kept pairs of the
//!                                                          tunnel's Child SAs together cover them
//! ```
//! A Child SA with several selectors on a side covers all their pairs (RFC 7296 section 3.13, T5). Peers that know
//! one pair an SA take the first and say nothing, or narrow to it (RFC 7296 section 2.9); what is sent on the
//! others they drop, or never send.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use super::cells::{Steps, cells, covered};
use super::{Analysis, ByFamily, Limits};
use crate::selector::Selector;

/// A pair of selectors of which a peer with one pair an SA carries less than this gateway takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LostPair {
    /// Index into [`Analysis::boxes`], which says the Child SA and the pair.
    pub index: usize,
    /// How much of it.
    pub loss: Loss,
}

/// How much of a pair is lost.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Loss {
    /// All of it: no pair that is kept covers a packet of it.
    Whole,
    /// Some of it: pairs that are kept have packets in common with it, and do not cover it together.
    Part {
        /// Those pairs, in order: indices into [`Analysis::boxes`].
        kept_by: Vec<usize>,
    },
    /// The work ended before it was known: it may be lost or not.
    Undecided,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "lost",
            Self::Part { .. } => "lost in part",
            Self::Undecided => "not known whether it is lost",
        })
    }
}

/// The pairs that stay in a tunnel.
#[derive(Default)]
struct Kept {
    boxes: Vec<usize>,
    selectors: Vec<Selector>,
}

impl Analysis {
    /// The pairs that are lost, in part or as a whole, where the peer keeps one pair of each Child SA: the first
    /// of [`Analysis::boxes`], its first local with its first remote selector that goes with it.
    ///
    /// What the first pairs of a tunnel's Child SAs cover together is not lost, whichever Child SA it was of: it has
    /// an SA, though another one. A pair that no packet can match is not lost either. Of Child SAs with the same
    /// selectors all first pairs are kept, and the pairs of one are told (T7).
    ///
    /// # Bound
    /// For a pair that is lost [`Limits::steps_a_selector`] comparisons and as many as [`Analysis::overlaps`]
    /// takes for it; for another one the former; all together [`Limits::steps`].
    ///
    /// # Examples
    /// ```
    /// use espial::analysis::{Analysis, ChildSelectors, Limits, Loss};
    /// use espial::selector::TrafficSelector;
    ///
    /// let side = |texts: &[&str]| -> Vec<_> {
    ///     texts.iter().map(|text| TrafficSelector::any(text.parse().unwrap())).collect()
    /// };
    /// let (local, remote) = (side(&["10.1.0.0/24"]), side(&["10.2.0.0/24", "10.3.0.0/24"]));
    /// let both = ChildSelectors { tunnel: 0, local: &local, remote: &remote };
    /// let analysis = Analysis::new(&[both])?;
    /// let lost = analysis.lost_pairs(&Limits::USUAL);
    /// assert_eq!((lost.len(), &lost[0].loss), (1, &Loss::Whole));
    /// assert_eq!(analysis.boxes()[lost[0].index].selector.remote.to_string(), "10.3.0.0/24");
    ///
    /// // A Child SA for each pair: nothing is lost.
    /// let each = |remote| ChildSelectors { tunnel: 0, local: &local, remote };
    /// let analysis = Analysis::new(&[each(&remote[..1]), each(&remote[1..])])?;
    /// assert!(analysis.lost_pairs(&Limits::USUAL).is_empty());
    /// # Ok::<(), espial::analysis::AnalysisError>(())
    /// ```
    pub fn lost_pairs(&self, limits: &Limits) -> Vec<LostPair> {
        let mut tunnels: BTreeMap<usize, (Kept, Vec<usize>)> = BTreeMap::new();
        let mut before = None;
        for (at, located) in self.boxes.iter().enumerate() {
            let Some(group) = self.group(located) else { continue };
            let (kept, others) = tunnels.entry(group.tunnel).or_default();
            if before.replace(located.child) != Some(located.child) {
                kept.boxes.push(at);
                kept.selectors.push(located.selector);
            } else if group.same_as == located.child {
                others.push(at);
            }
        }
        let mut steps = Steps(limits.steps);
        let mut found = Vec::new();
        for (kept, others) in tunnels.into_values() {
            let index = ByFamily::new(kept.selectors.iter());
            for at in others {
                let Some(located) = self.boxes.get(at) else { continue };
                let each = limits.steps_a_selector;
                let loss = loss(&located.selector, &index, &kept.boxes, each, &mut steps);
                found.extend(loss.map(|loss| LostPair { index: at, loss }));
            }
        }
        found.sort_unstable_by_key(|lost| lost.index);
        found
    }
}

/// What is lost of a selector, if anything is, where those of `index` are kept, which are `boxes`.
fn loss(
    selector: &Selector,
    index: &ByFamily,
    boxes: &[usize],
    each: u64,
    steps: &mut Steps,
) -> Option<Loss> {
    let mut own = Vec::new();
    cells(selector, |cell| own.push(cell));
    let given = each.min(steps.0);
    let mut left = Steps(given);
    let mut known = Some(true);
    for cell in own {
        let of_family = index.of(selector);
        known = covered(cell, |piece| {
            let met = of_family.met(piece, usize::MAX, &mut left)?;
            Some(met.map(|met| met.cell))
        });
        if known != Some(true) {
            break;
        }
    }
    steps.0 = steps.0.saturating_sub(given.saturating_sub(left.0));
    match known {
        Some(true) => None,
        None => Some(Loss::Undecided),
        Some(false) => {
            let Some(meeting) = index.meeting(selector, usize::MAX, steps) else {
                return Some(Loss::Undecided);
            };
            let kept_by: Vec<_> =
                meeting.into_iter().filter_map(|place| boxes.get(place).copied()).collect();
            Some(if kept_by.is_empty() { Loss::Whole } else { Loss::Part { kept_by } })
        }
    }
}
