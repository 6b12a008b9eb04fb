//! Compiled local-in policy: plain words without pointers, and the packet path over them.
//!
//! ```text
//! header, 8 words | policies x n | interfaces x m | to a cache line | lists x k, a block of the matcher
//! ```
//! A policy is one word: id, schedule, action. An interface is one word: its number, its list, and
//! whether the list of policies for any interface is asked besides. That is list 0; interfaces
//! without a word have it alone. The boxes of a list name the places of their policies, so the first box that
//! covers a packet names the first policy.
//!
//! Words are in the writer's byte order; `MAGIC` read in the wrong order does not match.
//! [`LocalIn::open`] tests that:
//! - I1: both arrays and the block lie in the words given, and the block is valid;
//! - I2: actions and schedules are known, words have no other bits, and what lies between is zero;
//! - I3: interfaces ascend, and their lists are lists of the block;
//! - I4: every box names a policy.

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

use core::fmt;

use super::{Action, Answer, By, IkeAnswers, LocalPacket, PolicyId, Schedule, Schedules};
use crate::headers::Endpoints;
use crate::matcher::block::{Block, BlockError};
use crate::matcher::{Matcher, Question};
use crate::wire::{IKE_PORT, NAT_T_PORT};

/// "espL" in the writer's byte order.
const MAGIC: u32 = 0x6573_704c;
/// Format of the words. A reader refuses any other.
const FORMAT: u32 = 1;
/// Words before the first array.
const HEADER: usize = 8;
/// Words of a cache line.
const LINE: usize = 8;

/// The list of policies for any interface.
pub(super) const ANY_LIST: u32 = 0;
/// Packets of a burst that are looked at together: as many as the matcher takes.
const TOGETHER: usize = 32;
/// So few neighbours from one interface are looked at one by one: that costs less than to fetch ahead.
const FEW: usize = 4;
/// No policy.
const NONE: u32 = u32::MAX;

/// A policy as packets know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rule {
    pub(super) id: PolicyId,
    pub(super) schedule: Option<Schedule>,
    pub(super) action: Action,
}

impl Rule {
    #[cfg(feature = "alloc")]
    pub(super) fn to_word(self) -> u64 {
        let schedule = self.schedule.map_or(0, |one| u64::from(one.number()) + 1);
        u64::from(self.id.0) << 32 | schedule << 8 | u64::from(self.action as u8)
    }

    #[inline]
    fn from_word(word: u64) -> Option<Self> {
        let [action, schedule, 0, 0, ..] = word.to_le_bytes() else { return None };
        let schedule = match schedule.checked_sub(1) {
            None => None,
            Some(number) => Some(Schedule::new(number)?),
        };
        let id = PolicyId((word >> 32) as u32);
        Some(Self { id, schedule, action: Action::from_code(action)? })
    }
}

/// What is asked about packets of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Asked {
    pub(super) list: u32,
    /// [`ANY_LIST`] as well.
    pub(super) any_too: bool,
}

impl Asked {
    #[cfg(feature = "alloc")]
    pub(super) fn to_word(self, interface: u32) -> u64 {
        u64::from(interface) << 32 | u64::from(self.any_too) << 31 | u64::from(self.list)
    }

    #[inline]
    fn from_word(word: u64) -> Self {
        Self { list: word as u32 & (u32::MAX >> 1), any_too: word >> 31 & 1 == 1 }
    }
}

/// The first words: what kind, how many policies and interfaces follow, and the default.
#[cfg(feature = "alloc")]
pub(super) fn header(policies: u32, interfaces: u32, default: Action) -> [u64; HEADER] {
    let pair = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    [pair(MAGIC, FORMAT), pair(policies, interfaces), default as u64, 0, 0, 0, 0, 0]
}

/// Where the block starts.
pub(super) fn block_at(policies: usize, interfaces: usize) -> Option<usize> {
    let arrays = HEADER.checked_add(policies)?.checked_add(interfaces)?;
    arrays.checked_next_multiple_of(LINE)
}

/// Why words are not compiled local-in policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// Fewer words than the header says.
    Short,
    /// Not compiled local-in policy, or written on a machine of the other byte order.
    Magic,
    /// A format that this version does not read.
    Format {
        /// The format found.
        found: u32,
    },
    /// The default is neither accept nor deny, or what is to be zero is not.
    Header,
    /// A policy has no known action or schedule.
    Policy {
        /// Its place.
        place: u32,
    },
    /// An interface stands before a lower one, or has a list that is not there.
    Interface {
        /// Its place among interfaces.
        index: u32,
    },
    /// Selectors belong to policies that are not there.
    Owners,
    /// What the matcher says of its part.
    Matcher(BlockError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("fewer words than the header says"),
            Self::Magic => f.write_str("not compiled local-in policy of this machine's byte order"),
            Self::Format { found } => write!(f, "format {found}, but this version reads {FORMAT}"),
            Self::Header => f.write_str("the header is not valid"),
            Self::Policy { place } => write!(f, "the policy at place {place} is not valid"),
            Self::Interface { index } => write!(f, "interface {index} is not valid"),
            Self::Owners => f.write_str("selectors belong to policies that are not there"),
            Self::Matcher(error) => write!(f, "selectors: {error}"),
        }
    }
}

impl core::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Matcher(error) => Some(error),
            _ => None,
        }
    }
}

/// A view of compiled local-in policy, made of words that `LocalInList::compile` wrote, in this process
/// or another one; fastest if they start at a multiple of 64 octets. Needs no allocator.
///
/// # Concurrency
/// Any thread; copy it.
#[derive(Clone, Copy)]
pub struct LocalIn<'w> {
    block: Block<'w>,
    policies: &'w [u64],
    interfaces: &'w [u64],
    default: Action,
}

impl fmt::Debug for LocalIn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalIn")
            .field("policies", &self.policies.len())
            .field("interfaces", &self.interfaces.len())
            .field("default", &self.default)
            .finish_non_exhaustive()
    }
}

impl<'w> LocalIn<'w> {
    /// The policies in `words`, which are tested first; what lies behind them is left alone.
    ///
    /// # Bound
    /// Linear in policies, interfaces and selectors.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the words; nothing of them is used then.
    pub fn open(words: &'w [u64]) -> Result<Self, OpenError> {
        let (head, rest) = words.split_at_checked(HEADER).ok_or(OpenError::Short)?;
        let &[kind, sizes, default, ref zeros @ ..] = head else { return Err(OpenError::Short) };
        if kind as u32 != MAGIC {
            return Err(OpenError::Magic);
        }
        if kind >> 32 != u64::from(FORMAT) {
            return Err(OpenError::Format { found: (kind >> 32) as u32 });
        }
        let default = match default {
            0 => Action::Deny,
            1 => Action::Accept,
            _ => return Err(OpenError::Header),
        };
        let (policies, interfaces) = (sizes as u32 as usize, (sizes >> 32) as usize);
        let arrays = block_at(policies, interfaces).and_then(|at| at.checked_sub(HEADER));
        let parts = arrays.and_then(|arrays| rest.split_at_checked(arrays));
        let (arrays, block) = parts.ok_or(OpenError::Short)?;
        let (policies, rest) = arrays.split_at_checked(policies).ok_or(OpenError::Short)?;
        let (interfaces, gap) = rest.split_at_checked(interfaces).ok_or(OpenError::Short)?;
        if zeros.iter().chain(gap).any(|&zero| zero != 0) {
            return Err(OpenError::Header);
        }
        let block = Block::parse(block).map_err(OpenError::Matcher)?;
        if let Some(place) = policies.iter().position(|&word| Rule::from_word(word).is_none()) {
            return Err(OpenError::Policy { place: place as u32 });
        }
        let mut before = None;
        for (index, &word) in (0..).zip(interfaces) {
            let ascends = before < Some(word >> 32);
            if !ascends || Asked::from_word(word).list as usize >= block.tunnels() {
                return Err(OpenError::Interface { index });
            }
            before = Some(word >> 32);
        }
        if block.tunnels() == 0 || block.owners() as usize != policies.len() {
            return Err(OpenError::Owners);
        }
        Ok(Self { block, policies, interfaces, default })
    }

    /// Number of policies.
    pub fn len(&self) -> u32 {
        self.policies.len() as u32
    }

    /// True if there is no policy: the default decides everything.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// Octets of its words.
    pub fn octets(&self) -> usize {
        // Both were added up when the words were opened.
        let front = block_at(self.policies.len(), self.interfaces.len()).unwrap_or(0);
        front.saturating_mul(8).saturating_add(self.block.octets())
    }

    /// What becomes of packets that no policy covers.
    pub fn default_action(&self) -> Action {
        self.default
    }

    /// Every policy, in order, as it answers.
    pub fn policies(&self) -> impl Iterator<Item = Answer> + use<'w> {
        let all = *self;
        (0..all.len()).map(move |place| all.answer(place))
    }

    /// The first policy in order that counts at this time and covers the packet, and what becomes of it.
    ///
    /// # Bound
    /// The interface: log2 of the interfaces that policies name. Then one list or two, as
    /// [`Matcher::first`] for the policies of each. Where the first policy of a list that covers the packet
    /// is one whose schedule is off, that list is searched once more, without those.
    #[inline]
    pub fn first(&self, packet: &LocalPacket, schedules: Schedules) -> Answer {
        self.answer(self.place(packet, schedules))
    }

    /// The place of the policy that decides, or [`NONE`].
    #[inline]
    pub(super) fn place(&self, packet: &LocalPacket, schedules: Schedules) -> u32 {
        let question = Question::inbound(&packet.headers);
        self.of_lists(self.asked(packet.interface), |list| {
            self.first_of_list(&question, list, schedules)
        })
    }

    /// [`LocalIn::first`] for as many packets as `answers` has room for; returns how many. Neighbours
    /// from the same interface are looked at together, up to 32, and cache lines fetched ahead.
    ///
    /// # Bound
    /// As [`LocalIn::first`] for each packet; one whose first policy is off is asked again by itself.
    pub fn first_burst(
        &self,
        packets: &[LocalPacket],
        schedules: Schedules,
        answers: &mut [Answer],
    ) -> usize {
        self.burst(packets, schedules, answers, |_| ())
    }

    /// `tell` gets the place of each.
    #[inline]
    pub(super) fn burst(
        &self,
        packets: &[LocalPacket],
        schedules: Schedules,
        answers: &mut [Answer],
        mut tell: impl FnMut(u32),
    ) -> usize {
        let count = packets.len().min(answers.len());
        let (mut packets, mut answers) = (packets.get(..count).unwrap_or(&[]), answers);
        while let Some(first) = packets.first() {
            let same = packets.iter().take(TOGETHER).take_while(|p| p.interface == first.interface);
            let Some((run, later)) = packets.split_at_checked(same.count()) else { break };
            let Some((own, rest)) = answers.split_at_mut_checked(run.len()) else { break };
            if run.len() < FEW {
                for (packet, answer) in run.iter().zip(own) {
                    let place = self.place(packet, schedules);
                    *answer = self.answer(place);
                    tell(place);
                }
            } else {
                self.first_of_run(run, self.asked(first.interface), schedules, own, &mut tell);
            }
            (packets, answers) = (later, rest);
        }
        count
    }

    /// What local-in policy says of IKE that comes from `endpoints.src()` to `endpoints.dst()` (C6).
    ///
    /// A policy may ask for other source ports, as a NAT makes them: [`LocalIn::first`] says about those,
    /// and about TCP; `LocalInList::deciders` about all ports at once.
    ///
    /// # Bound
    /// As [`LocalIn::first`], twice.
    pub fn ike(&self, endpoints: Endpoints, interface: u32, schedules: Schedules) -> IkeAnswers {
        let of = |port| self.first(&LocalPacket::ike(endpoints, port, interface), schedules);
        IkeAnswers { port_500: of(IKE_PORT), port_4500: of(NAT_T_PORT) }
    }

    /// Which lists an interface has.
    #[inline]
    fn asked(&self, interface: u32) -> Asked {
        let number = u64::from(interface);
        let at = self.interfaces.partition_point(|word| word >> 32 < number);
        match self.interfaces.get(at) {
            Some(&word) if word >> 32 == number => Asked::from_word(word),
            _ => Asked { list: ANY_LIST, any_too: false },
        }
    }

    /// The lowest place that the lists give: each is searched once.
    #[inline(always)]
    fn of_lists(&self, asked: Asked, mut search: impl FnMut(u32) -> u32) -> u32 {
        let own = search(asked.list);
        if asked.any_too { own.min(search(ANY_LIST)) } else { own }
    }

    /// The place of the first policy of a list that counts and covers the packet, or [`NONE`].
    #[inline]
    fn first_of_list(&self, question: &Question, list: u32, schedules: Schedules) -> u32 {
        let boxes = self.block.tunnel_boxes(list);
        match question.first_of_all(boxes) {
            None => NONE,
            Some(place) if self.counts(place, schedules) => place,
            // The usual case above has no look at schedules on its way.
            Some(_) => question.first(boxes, |place| self.counts(place, schedules)).unwrap_or(NONE),
        }
    }

    #[inline]
    fn first_of_run(
        &self,
        packets: &[LocalPacket],
        asked: Asked,
        schedules: Schedules,
        answers: &mut [Answer],
        tell: &mut impl FnMut(u32),
    ) {
        let mut places = [NONE; TOGETHER];
        let mut search = |list| {
            let matcher = Matcher::of_boxes(self.block.tunnel_boxes(list));
            let found = matcher.find_burst::<false>(packets.iter().map(LocalPacket::headers));
            places.iter_mut().zip(found).for_each(|(place, found)| *place = found.min(*place));
        };
        search(asked.list);
        if asked.any_too {
            search(ANY_LIST);
        }
        for ((packet, answer), place) in packets.iter().zip(answers).zip(places) {
            let place = match place == NONE || self.counts(place, schedules) {
                true => place,
                false => self.place(packet, schedules),
            };
            *answer = self.answer(place);
            tell(place);
        }
    }

    #[inline]
    fn rule(&self, place: u32) -> Option<Rule> {
        self.policies.get(place as usize).and_then(|&word| Rule::from_word(word))
    }

    /// True if the policy counts at this time. One that is not there does: it denies.
    #[inline]
    fn counts(&self, place: u32, schedules: Schedules) -> bool {
        self.rule(place).is_none_or(|rule| schedules.admit(rule.schedule))
    }

    #[inline]
    pub(super) fn answer(&self, place: u32) -> Answer {
        if place == NONE {
            return Answer { action: self.default, by: By::Default };
        }
        let rule = self.rule(place);
        rule.map_or_else(Answer::default, |rule| Answer {
            action: rule.action,
            by: By::Policy(rule.id),
        })
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use crate::gate::local_in::{
        AddressObject, IKE, Interfaces, LocalInList, LocalInPolicy, Service,
    };

    /// The bound: one list or two, whatever the list is and whichever interface is asked.
    #[test]
    fn a_packet_is_put_to_two_lists_at_most() {
        let lists_asked = |any: u32| {
            let mut list = LocalInList::new(Action::Accept);
            list.set_address("all", AddressObject::Ranges(vec!["0.0.0.0/0".parse().unwrap()]));
            list.set_service("IKE", IKE.to_vec());
            list.set_service("ALL", vec![Service::All]);
            let policy = |id, interfaces, service: &str| LocalInPolicy {
                id: PolicyId(id),
                interfaces,
                source: vec!["all".into()],
                destination: vec!["all".into()],
                service: vec![service.into()],
                schedule: None,
                action: None,
            };
            for interface in 0..9 {
                let own = Interfaces::These(vec![interface]);
                list.add(policy(1000 + interface, own, "IKE")).unwrap();
            }
            for id in 0..any {
                list.add(policy(id, Interfaces::Any, "ALL")).unwrap();
            }
            let words = list.compile().unwrap();
            let local_in = LocalIn::open(&words).unwrap();
            [0, 8, 9].map(|interface| {
                let mut asked = Vec::new();
                let _ = local_in.of_lists(local_in.asked(interface), |list| {
                    asked.push(list);
                    NONE
                });
                asked
            })
        };
        // As many policies for any interface as are copied, and one more.
        assert_eq!(lists_asked(16), [vec![1], vec![9], vec![0]]);
        assert_eq!(lists_asked(17), [vec![1, 0], vec![9, 0], vec![0]]);
    }
}
