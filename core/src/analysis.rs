//! What is wrong with a configuration before the first packet comes: selectors that overlap, that
//! can never be the first to match, and what fewer of them would let in.
//!
//! ```text
//! Child SAs ─▶ Analysis ─┬─▶ overlaps: one packet, two Child SAs (RFC 7296 section 2.9.1, T3)
//!                        ├─▶ hidden ◀── policies     covered by earlier ones of the list
//!                        └─▶ lost_pairs: what a peer with one pair an SA would not carry
//! selectors of one side ───▶ supernets               one prefix for all (seed 000, A8)
//! ```
//!
//! Configuration flow: takes its time, fails with a reason, never panics; needs `alloc`. Knows
//! nothing of SAs and their times: Child SAs are taken to exist all at once.
//!
//! Invariants:
//! - I1: what is said of selectors is true of the packets that [`Selector::covers`] takes: exact,
//!   never sampled.
//! - I2: where [`Limits`] end the work, that is said: [`Why::Undecided`], [`Loss::Undecided`],
//!   [`Overlaps::complete`].
//!   Nothing is taken for absent because it was not looked at.
//! - I3: Child SAs of one tunnel with the same selectors are as one (RFC 9611, T7): neither
//!   overlaps the other nor hides it.

mod cells;
mod index;
mod pairs;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use crate::headers::Family;
use crate::selector::{
    AddrRange, Covering, PairError, Selector, TrafficSelector, covering_prefix_of, cross,
};
use cells::{Steps, cells, covered, hold};
use index::{Hull, Index};
pub use pairs::{Loss, LostPair};

/// How much work and how long a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Comparisons of one question to the whole configuration, 5 to 20 ns each.
    pub steps: u64,
    /// Comparisons to find out whether several selectors together cover one: that number can grow
    /// with the fifth power of theirs.
    pub steps_a_selector: u64,
    /// Overlaps that are returned; all are counted.
    pub overlaps: usize,
}

impl Limits {
    /// Some twenty seconds at most for a question, and 1000 overlaps.
    pub const USUAL: Self =
        Self { steps: 1_000_000_000, steps_a_selector: 100_000, overlaps: 1000 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::USUAL
    }
}

/// A Child SA to be analysed.
#[derive(Clone, Copy, Debug)]
pub struct ChildSelectors<'a> {
    /// Which tunnel it is of, in the caller's numbers.
    pub tunnel: usize,
    /// Local traffic selectors.
    pub local: &'a [TrafficSelector],
    /// Remote traffic selectors.
    pub remote: &'a [TrafficSelector],
}

/// One box of a Child SA: a local and a remote selector of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Located {
    /// Index of the Child SA.
    pub child: usize,
    /// What it covers.
    pub selector: Selector,
}

/// Two Child SAs cover one packet: either may carry it, and a peer that picks the other one than
/// this gateway expects is dropped, or worse, is not (RFC 7296 section 2.9.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overlap {
    /// Index into [`Analysis::boxes`].
    pub first: usize,
    /// A later one, of another Child SA.
    pub second: usize,
    /// The packets of both.
    pub both: Selector,
}

/// What [`Analysis::overlaps`] found.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Overlaps {
    /// By the later box, then by the earlier one; at most [`Limits::overlaps`].
    pub pairs: Vec<Overlap>,
    /// All there are, or all up to where the work ended.
    pub total: u64,
    /// Every pair was looked at.
    pub complete: bool,
}

/// A selector that is never the first to cover a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hidden {
    /// Its place in the list.
    pub index: usize,
    /// Why.
    pub why: Why,
}

/// Why a selector is never the first to cover a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Why {
    /// No packet can match it: one side wants values that are not to be seen, the other some that
    /// are.
    NoPacket,
    /// One earlier selector covers all of it.
    Shadowed {
        /// The first that does.
        by: usize,
    },
    /// No single one, but earlier selectors together cover all of it.
    Unreachable {
        /// Some that do, in order; not always the fewest.
        by: Vec<usize>,
    },
    /// The work ended before it was known: it may be hidden or not.
    Undecided,
}

/// Selectors of a Child SA that make no box.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AnalysisError {
    /// Index of the Child SA.
    pub child: usize,
    /// What is wrong with its selectors.
    pub cause: PairError,
}

impl fmt::Display for AnalysisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Child SA {}: {}", self.child, self.cause)
    }
}

impl core::error::Error for AnalysisError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// A child as boxes are grouped.
#[derive(Clone, Copy, Debug)]
struct Group {
    tunnel: usize,
    /// The first Child SA of the tunnel with the same selectors: itself, as a rule.
    same_as: usize,
    has_boxes: bool,
}

/// The Child SAs of a gateway, ready for questions.
///
/// # Examples
/// ```
/// use espial::analysis::{Analysis, ChildSelectors, Limits, Why};
/// use espial::selector::TrafficSelector;
///
/// let side = |text: &str| [TrafficSelector::any(text.parse().unwrap())];
/// let (here, wide, narrow) = (side("10.1.0.0/16"), side("10.2.0.0/16"), side("10.2.9.0/24"));
/// let child = |remote| ChildSelectors { tunnel: 0, local: &here, remote };
/// let analysis = Analysis::new(&[child(&wide), child(&narrow)])?;
///
/// let overlaps = analysis.overlaps(&Limits::USUAL);
/// assert_eq!((overlaps.total, overlaps.complete), (1, true));
/// assert_eq!(overlaps.pairs[0].both.remote.to_string(), "10.2.9.0/24");
///
/// let hidden = analysis.hidden(&Limits::USUAL);
/// assert_eq!((hidden[0].index, &hidden[0].why), (1, &Why::Shadowed { by: 0 }));
///
/// // The narrow one first: an overlap still, and nothing hidden.
/// let analysis = Analysis::new(&[child(&narrow), child(&wide)])?;
/// assert_eq!(analysis.overlaps(&Limits::USUAL).total, 1);
/// assert!(analysis.hidden(&Limits::USUAL).is_empty());
/// # Ok::<(), espial::analysis::AnalysisError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Analysis {
    boxes: Vec<Located>,
    groups: Vec<Group>,
}

impl Analysis {
    /// Reads Child SAs, in the order in which an ordered SPD asks them.
    ///
    /// # Bound
    /// A box for every local selector with every remote one of a Child SA (RFC 7296 section 3.13).
    ///
    /// # Errors
    /// [`AnalysisError`]: a selector breaks [`TrafficSelector::validate`].
    pub fn new(children: &[ChildSelectors<'_>]) -> Result<Self, AnalysisError> {
        let (mut boxes, mut groups) = (Vec::new(), Vec::new());
        let mut known: BTreeMap<(usize, Vec<Selector>), usize> = BTreeMap::new();
        for (child, ChildSelectors { tunnel, local, remote }) in children.iter().enumerate() {
            let own = cross(local, remote).map_err(|cause| AnalysisError { child, cause })?;
            let mut own: Vec<Selector> = own.collect();
            boxes.extend(own.iter().map(|&selector| Located { child, selector }));
            let has_boxes = !own.is_empty();
            own.sort_unstable();
            own.dedup();
            let same_as = *known.entry((*tunnel, own)).or_insert(child);
            groups.push(Group { tunnel: *tunnel, same_as, has_boxes });
        }
        Ok(Self { boxes, groups })
    }

    /// Every box, Child SA by Child SA, in the order of [`cross`].
    pub fn boxes(&self) -> &[Located] {
        &self.boxes
    }

    /// Child SAs that cover nothing: none of their local selectors goes with a remote one.
    pub fn without_boxes(&self) -> impl Iterator<Item = usize> {
        let groups = self.groups.iter().enumerate();
        groups.filter(|(_, group)| !group.has_boxes).map(|(child, _)| child)
    }

    /// The earlier Child SA of the same tunnel that has the same selectors (RFC 9611, T7).
    pub fn same_as(&self, child: usize) -> Option<usize> {
        self.groups.get(child).map(|group| group.same_as).filter(|&first| first != child)
    }

    fn group(&self, located: &Located) -> Option<&Group> {
        self.groups.get(located.child)
    }

    /// The packets that two Child SAs cover, of one tunnel or of two.
    ///
    /// Child SAs of one tunnel with the same selectors are left out (T7).
    ///
    /// # Bound
    /// For n boxes, of which p pairs meet on one axis (remote, local, protocol or a side's ports,
    /// whichever fewest meet on): in the order of 8 log8(n) (n + p) comparisons, and
    /// [`Limits::steps`]; p is 0 where the ranges of one side are disjoint.
    pub fn overlaps(&self, limits: &Limits) -> Overlaps {
        let mut found = Overlaps { complete: true, ..Overlaps::default() };
        let mut steps = Steps(limits.steps);
        let index = ByFamily::new(self.boxes.iter().map(|located| &located.selector));
        for (second, located) in self.boxes.iter().enumerate() {
            let Some(earlier) = index.meeting(&located.selector, second, &mut steps) else {
                found.complete = false;
                break;
            };
            let same = self.group(located).map(|group| group.same_as);
            for first in earlier {
                let Some(other) = self.boxes.get(first) else { continue };
                if self.group(other).map(|group| group.same_as) == same {
                    continue;
                }
                let both = other.selector.intersection(&located.selector);
                let Some(both) = both else { continue };
                found.total = found.total.saturating_add(1);
                if found.pairs.len() < limits.overlaps {
                    found.pairs.push(Overlap { first, second, both });
                }
            }
        }
        found
    }

    /// The boxes that are never the first of their tunnel to cover a packet; indices are into
    /// [`Analysis::boxes`].
    ///
    /// In ordered-spd mode no packet falls to such a box; in the other modes it adds nothing to what
    /// the tunnel covers. A box may be hidden by others of its own Child SA. Child SAs with the
    /// selectors of an earlier one are left out (T7).
    ///
    /// # Bound
    /// As [`hidden`], each tunnel by itself; [`Limits::steps`] are for all of them.
    pub fn hidden(&self, limits: &Limits) -> Vec<Hidden> {
        let mut tunnels: BTreeMap<usize, Vec<(usize, Selector)>> = BTreeMap::new();
        for (at, located) in self.boxes.iter().enumerate() {
            match self.group(located) {
                Some(group) if group.same_as == located.child => {
                    tunnels.entry(group.tunnel).or_default().push((at, located.selector));
                }
                _ => {}
            }
        }
        let mut steps = Steps(limits.steps);
        let mut found: Vec<Hidden> = tunnels
            .into_values()
            .flat_map(|list| hidden_of(&list, limits.steps_a_selector, &mut steps))
            .collect();
        found.sort_unstable_by_key(|hidden| hidden.index);
        found
    }
}

/// The selectors of an ordered list that are never the first to cover a packet: policies that will
/// never be hit.
///
/// # Bound
/// A selector with a packet of its own: [`Limits::steps_a_selector`] comparisons; another one as
/// many as [`Analysis::overlaps`] for it, and those; all together [`Limits::steps`].
///
/// # Examples
/// ```
/// use espial::analysis::{Limits, Why, hidden};
/// use espial::selector::{Selector, TrafficSelector};
///
/// let here = TrafficSelector::any("10.1.0.0/16".parse().unwrap());
/// let policy = |remote: &str| {
///     Selector::pair(&here, &TrafficSelector::any(remote.parse().unwrap())).unwrap().unwrap()
/// };
/// let policies = ["10.2.0.0-10.2.0.99", "10.2.0.50-10.2.0.255", "10.2.0.0/24", "10.2.0.0/23"];
/// let found = hidden(&policies.map(policy), &Limits::USUAL);
/// assert_eq!(found.len(), 1);
/// assert_eq!((found[0].index, &found[0].why), (2, &Why::Unreachable { by: vec![0, 1] }));
/// ```
pub fn hidden(selectors: &[Selector], limits: &Limits) -> Vec<Hidden> {
    let list: Vec<_> = selectors.iter().copied().enumerate().collect();
    hidden_of(&list, limits.steps_a_selector, &mut Steps(limits.steps))
}

/// [`hidden`] of selectors that are named by the number beside them.
fn hidden_of(list: &[(usize, Selector)], each: u64, steps: &mut Steps) -> Vec<Hidden> {
    let index = ByFamily::new(list.iter().map(|(_, selector)| selector));
    let named = |place: usize| list.get(place).map_or(place, |&(name, _)| name);
    let hidden = |place| Some((place, why_hidden(list, &index, place, each, steps)?));
    let found = (0..list.len()).filter_map(hidden);
    found
        .map(|(place, why)| {
            let why = match why {
                Why::Shadowed { by } => Why::Shadowed { by: named(by) },
                Why::Unreachable { by } => {
                    Why::Unreachable { by: by.into_iter().map(named).collect() }
                }
                other => other,
            };
            Hidden { index: named(place), why }
        })
        .collect()
}

/// Why the selector at `place` is hidden, if it is; places are those of the list.
fn why_hidden(
    list: &[(usize, Selector)],
    index: &ByFamily,
    place: usize,
    each: u64,
    steps: &mut Steps,
) -> Option<Why> {
    let (_, selector) = list.get(place)?;
    let mut own = Vec::new();
    cells(selector, |cell| own.push(cell));
    let Some(&first) = own.first() else { return Some(Why::NoPacket) };
    let index = index.of(selector);

    // Most selectors have a packet of their own, and to find it takes least.
    let given = each.min(steps.0);
    let (mut left, mut by) = (Steps(given), Vec::new());
    let mut known = Some(true);
    // Packets without a value first: they have three axes, not five.
    for cell in own.iter().rev() {
        known = covered(*cell, |piece| {
            let met = index.met(piece, place, &mut left)?;
            by.extend(met.map(|met| met.at));
            Some(met.map(|met| met.cell))
        });
        if known != Some(true) {
            break;
        }
    }
    steps.0 = steps.0.saturating_sub(given.saturating_sub(left.0));
    if known == Some(false) {
        return None;
    }
    let holds = |at: usize| list.get(at).is_some_and(|(_, other)| hold(other, &own));
    match (index.first_around(&first, place, steps, holds), known) {
        (Some(Some(by)), _) => Some(Why::Shadowed { by }),
        (Some(None), Some(_)) => {
            by.sort_unstable();
            by.dedup();
            Some(Why::Unreachable { by })
        }
        _ => Some(Why::Undecided),
    }
}

/// Cells of both families, that are never compared with each other.
struct ByFamily {
    v4: Index,
    v6: Index,
}

impl ByFamily {
    fn new<'a>(selectors: impl Iterator<Item = &'a Selector>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (at, selector) in selectors.enumerate() {
            let list = match selector.remote.family() {
                Family::V4 => &mut v4,
                Family::V6 => &mut v6,
            };
            cells(selector, |cell| list.push(Hull { cell, at }));
        }
        Self { v4: Index::new(v4), v6: Index::new(v6) }
    }

    fn of(&self, selector: &Selector) -> &Index {
        match selector.remote.family() {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    /// The places, in order, of the selectors before `below` that have a packet in common with one.
    fn meeting(&self, selector: &Selector, below: usize, steps: &mut Steps) -> Option<Vec<usize>> {
        let mut found = Some(Vec::new());
        cells(selector, |cell| {
            let some = self.of(selector).meeting(&cell, below, steps);
            found = found.take().zip(some).map(|(all, some)| [all, some].concat());
        });
        let mut found = found?;
        found.sort_unstable();
        found.dedup();
        Some(found)
    }
}

/// One prefix in place of several selectors of a side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Supernet {
    /// The smallest prefix, and how many addresses it admits that no selector did.
    pub covering: Covering,
    /// Different ranges that it takes the place of.
    pub ranges: usize,
}

/// The smallest prefix over selectors of one side, of a Child SA or of a tunnel: one for IPv4 and
/// one for IPv6, where there are any (seed 000, A8).
///
/// Addresses only: where selectors have protocols or ports, one without them admits more.
///
/// # Examples
/// ```
/// use espial::analysis::supernets;
/// use espial::selector::TrafficSelector;
///
/// let remote = ["192.168.10.0/24", "192.168.20.0/24", "192.168.30.0/24"]
///     .map(|text| TrafficSelector::any(text.parse().unwrap()));
/// let found = supernets(&remote);
/// assert_eq!(found[0].covering.prefix.to_string(), "192.168.0.0/19");
/// assert_eq!((found[0].covering.extra, found[0].ranges), (8192 - 3 * 256, 3));
/// assert!(!found[0].covering.prefix.range().contains([192, 168, 40, 1].into()));
/// ```
pub fn supernets<'a>(selectors: impl IntoIterator<Item = &'a TrafficSelector>) -> Vec<Supernet> {
    let (mut v4, mut v6): (Vec<AddrRange>, Vec<AddrRange>) = (Vec::new(), Vec::new());
    for selector in selectors {
        match selector.addrs.family() {
            Family::V4 => v4.push(selector.addrs),
            Family::V6 => v6.push(selector.addrs),
        }
    }
    let cover = |mut ranges: Vec<AddrRange>| {
        ranges.retain(|range| range.lo() <= range.hi());
        ranges.sort_unstable();
        ranges.dedup();
        let covering = covering_prefix_of(&mut ranges).ok()?;
        Some(Supernet { covering, ranges: ranges.len() })
    };
    [v4, v6].into_iter().filter_map(cover).collect()
}

#[cfg(test)]
mod tests;
