//! What is wrong with a list of policies before the first packet comes. Configuration flow.
//!
//! Everything is said by [`analysis`](crate::analysis) about the boxes of policies: exact, never
//! sampled, and where the work ends that is said.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::list::{LocalInError, LocalInList};
use super::{Answer, By, PolicyId, Schedule, Schedules, is_ipsec};
use crate::analysis::{Limits, Why, hidden};
use crate::selector::Selector;

/// A policy that no packet will ever meet first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HiddenPolicy {
    /// Its id.
    pub id: PolicyId,
    /// Why.
    pub why: HiddenWhy,
}

/// Why no packet meets a policy first, whatever interface it is for and whichever schedules are on.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HiddenWhy {
    /// All its services are ESP or AH, which no policy judges (B1).
    NeverJudged,
    /// Its services ask for values that a packet cannot have.
    NoPacket,
    /// One earlier policy covers all of it.
    Shadowed {
        /// That policy.
        by: PolicyId,
    },
    /// Earlier policies together cover all of it.
    Unreachable {
        /// Some that do, in order; not always the fewest.
        by: Vec<PolicyId>,
    },
    /// The work ended before it was known: it may be hidden or not.
    Undecided,
}

/// Who decides about the packets of a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deciders {
    /// Each decides about some of them, in the order of the list; the default last.
    pub answers: Vec<Answer>,
    /// False if the work ended before that was known of all: one may be too many.
    pub complete: bool,
}

/// Whether packets are admitted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Admits {
    /// None of them.
    None,
    /// Some are, some are not.
    Some,
    /// All of them.
    All,
}

impl Deciders {
    /// Whether they admit the packets they decide about.
    pub fn admits(&self) -> Admits {
        let accepted = self.answers.iter().filter(|answer| answer.is_accept()).count();
        match accepted {
            0 => Admits::None,
            all if all == self.answers.len() => Admits::All,
            _ => Admits::Some,
        }
    }
}

/// What is known of a policy after some interfaces.
#[derive(Default)]
struct Known {
    is_met: bool,
    is_undecided: bool,
    /// Places of those that hide it.
    by: BTreeSet<usize>,
}

impl LocalInList {
    /// The policies that no packet will ever meet first, in order.
    ///
    /// A policy is hidden only by such as count whenever it does: those without a schedule and those
    /// with its own. It is hidden only if it is so on every interface that it is for.
    ///
    /// # Bound
    /// As [`hidden`], for each different set of policies that an interface has, and for each schedule in it.
    ///
    /// # Errors
    /// As [`LocalInList::compile`].
    pub fn hidden(&self, limits: &Limits) -> Result<Vec<HiddenPolicy>, LocalInError> {
        let boxes = self.judged()?;
        let by_interface = self.by_interface();
        let mut sets: BTreeSet<Vec<usize>> = BTreeSet::new();
        sets.insert(by_interface.any.clone());
        sets.extend(by_interface.named.values().map(|own| by_interface.all_of(own)));
        let mut known: BTreeMap<usize, Known> = BTreeMap::new();
        for set in &sets {
            let own = |place: &usize| self.policies().get(*place).and_then(|one| one.schedule);
            let schedules: BTreeSet<Option<Schedule>> = set.iter().map(own).collect();
            for schedule in schedules {
                let such =
                    |place: &&usize| matches!(own(place), one if one.is_none() || one == schedule);
                let places: Vec<usize> = set.iter().filter(such).copied().collect();
                let asked = |place: usize| own(&place) == schedule;
                note(&places, asked, &boxes, limits, &mut known);
            }
        }
        let id = |place: usize| self.policies().get(place).map(|policy| policy.id);
        let why = |place: usize, known: Known| {
            let mut by = known.by.iter().copied().filter_map(id);
            match boxes.get(place) {
                _ if known.is_undecided => HiddenWhy::Undecided,
                Some(none) if none.is_empty() => HiddenWhy::NeverJudged,
                _ => match (by.next(), by.next()) {
                    (None, _) => HiddenWhy::NoPacket,
                    (Some(by), None) => HiddenWhy::Shadowed { by },
                    (Some(_), Some(_)) => HiddenWhy::Unreachable {
                        by: known.by.iter().copied().filter_map(id).collect(),
                    },
                },
            }
        };
        let found = known.into_iter().filter(|(_, known)| !known.is_met);
        let found = found.filter_map(|(place, known)| {
            Some(HiddenPolicy { id: id(place)?, why: why(place, known) })
        });
        Ok(found.collect())
    }

    /// Who decides about packets of `wanted` that come in on an interface: the query behind "does
    /// any policy admit IKE from this peer" (C6). [`Service::selector`](super::Service::selector) makes `wanted`.
    ///
    /// # Bound
    /// As [`hidden`], for the policies of the interface that have packets in common with `wanted`.
    ///
    /// # Errors
    /// As [`LocalInList::compile`].
    ///
    /// # Examples
    /// ```
    /// use espial::analysis::Limits;
    /// use espial::gate::local_in::{
    ///     Action, AddressObject, Admits, IKE, Interfaces, LocalInList, LocalInPolicy, PolicyId, Schedules,
    /// };
    ///
    /// let mut list = LocalInList::new(Action::Accept);
    /// list.set_address("all", AddressObject::Ranges(vec!["0.0.0.0/0".parse()?]));
    /// list.set_address("peers", AddressObject::Ranges(vec!["192.0.2.0/28".parse()?]));
    /// list.set_service("IKE", IKE.to_vec());
    /// for (id, source, action) in [(3, "peers", Some(Action::Accept)), (2, "all", None)] {
    ///     list.add(LocalInPolicy {
    ///         id: PolicyId(id), interfaces: Interfaces::Any, source: vec![source.into()],
    ///         destination: vec!["all".into()], service: vec!["IKE".into()], schedule: None, action,
    ///     })?;
    /// }
    /// let ike_from = |text: &str| IKE[0].selector(text.parse().unwrap(), "203.0.113.1".parse().unwrap()).unwrap();
    /// let admits = |text| list.deciders(&ike_from(text), 0, Schedules::NONE, &Limits::USUAL).unwrap().admits();
    /// assert_eq!(admits("192.0.2.1"), Admits::All);
    /// assert_eq!(admits("192.0.2.0/24"), Admits::Some);
    /// assert_eq!(admits("198.51.100.1"), Admits::None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn deciders(
        &self,
        wanted: &Selector,
        interface: u32,
        schedules: Schedules,
        limits: &Limits,
    ) -> Result<Deciders, LocalInError> {
        let mut list = Vec::new();
        let mut owners = Vec::new();
        for (policy, boxes) in self.policies().iter().zip(self.judged()?) {
            if !schedules.admit(policy.schedule) || !policy.interfaces.contains(interface) {
                continue;
            }
            let action = policy.action.unwrap_or_default();
            let answer = Answer { action, by: By::Policy(policy.id) };
            for both in boxes.iter().filter_map(|one| one.intersection(wanted)) {
                list.push(both);
                owners.push(answer);
            }
        }
        list.push(*wanted);
        owners.push(Answer { action: self.default_action(), by: By::Default });
        let mut complete = true;
        let mut is_hidden: BTreeSet<usize> = BTreeSet::new();
        for found in hidden(&list, limits) {
            match found.why {
                Why::Undecided => complete = false,
                _ => _ = is_hidden.insert(found.index),
            }
        }
        let met = owners.iter().enumerate().filter(|(at, _)| !is_hidden.contains(at));
        let mut answers: Vec<Answer> = met.map(|(_, answer)| *answer).collect();
        answers.dedup();
        Ok(Deciders { answers, complete })
    }

    /// The boxes of each policy but for those of ESP and AH, which are never asked about.
    fn judged(&self) -> Result<Vec<Vec<Selector>>, LocalInError> {
        let mut all = self.selectors()?;
        all.iter_mut().for_each(|boxes| boxes.retain(|one| !is_ipsec(one.protocol)));
        Ok(all)
    }
}

/// Notes which policies of an interface, of those that are `asked` about, are hidden by any of `places`.
fn note(
    places: &[usize],
    asked: impl Fn(usize) -> bool,
    boxes: &[Vec<Selector>],
    limits: &Limits,
    known: &mut BTreeMap<usize, Known>,
) {
    let (mut list, mut owners) = (Vec::new(), Vec::new());
    for &place in places {
        let own = boxes.get(place).map_or(&[][..], Vec::as_slice);
        list.extend_from_slice(own);
        owners.extend(own.iter().map(|_| place));
        if asked(place) {
            known.entry(place).or_default();
        }
    }
    let owner = |at: usize| owners.get(at).copied();
    // What is not found hidden is met.
    let mut found = hidden(&list, limits).into_iter().peekable();
    for (at, &place) in owners.iter().enumerate() {
        let Some(known) = known.get_mut(&place).filter(|_| asked(place)) else {
            found.next_if(|hidden| hidden.index == at);
            continue;
        };
        match found.next_if(|hidden| hidden.index == at).map(|hidden| hidden.why) {
            None => known.is_met = true,
            Some(Why::Undecided) => known.is_undecided = true,
            Some(Why::NoPacket) => {}
            Some(Why::Shadowed { by }) => known.by.extend(owner(by)),
            Some(Why::Unreachable { by }) => known.by.extend(by.into_iter().filter_map(owner)),
        }
        known.by.remove(&place);
    }
}
