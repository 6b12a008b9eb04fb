//! Policies as they are written, and how they become words. Configuration flow.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use hashbrown::HashMap;

use super::compiled::{self, ANY_LIST, Asked, Rule};
use super::objects::{AddressObject, Addresses, NESTING_MAX, Resolved};
use super::{Action, Answer, By, LocalPacket, PolicyId, Schedule, Schedules, Service};
use crate::error::SetupError;
use crate::matcher::Words;
use crate::matcher::block::ChildRecord;
use crate::matcher::compile::{self, Source, Staged};
use crate::selector::{AddrRange, Selector};

/// Selectors that one policy can come to: source ranges x destination ranges x services.
pub const POLICY_SELECTORS_MAX: usize = 1 << 16;

/// Policies of a list, at most.
const POLICIES_MAX: usize = 1 << 30;

/// Policies for any interface are copied into an interface's list if they come to no more selectors
/// than its own, or than this: so many are one leaf of the matcher.
pub(super) const COPIED: usize = 16;

/// Where packets of a policy come in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Interfaces {
    /// Anywhere.
    Any,
    /// On any of these, the caller's numbers; at least one.
    These(Vec<u32>),
}

impl Interfaces {
    /// True if packets from this interface are meant.
    pub fn contains(&self, interface: u32) -> bool {
        match self {
            Self::Any => true,
            Self::These(list) => list.contains(&interface),
        }
    }
}

/// One policy, in names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalInPolicy {
    /// The caller's number for it.
    pub id: PolicyId,
    /// Where packets come in.
    pub interfaces: Interfaces,
    /// Names of source addresses: any of these.
    pub source: Vec<String>,
    /// Names of destination addresses: any of these.
    pub destination: Vec<String>,
    /// Names of services: any of these.
    pub service: Vec<String>,
    /// When it counts; `None`: always.
    pub schedule: Option<Schedule>,
    /// What becomes of packets; `None`, not written: deny (B5).
    pub action: Option<Action>,
}

/// Why a list was not changed or not compiled.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LocalInError {
    /// The list has a policy with this id.
    DuplicateId {
        /// The id.
        id: PolicyId,
    },
    /// The list has no policy with this id.
    UnknownId {
        /// The id.
        id: PolicyId,
    },
    /// A policy for no interface would cover no packet.
    NoInterfaces {
        /// Its id.
        id: PolicyId,
    },
    /// A policy names an address that there is none of.
    UnknownAddress {
        /// The policy's id.
        id: PolicyId,
        /// The name.
        name: String,
    },
    /// A group names an address that there is none of.
    UnknownMember {
        /// The group.
        group: String,
        /// The name.
        name: String,
    },
    /// A policy names a service that there is none of.
    UnknownService {
        /// The policy's id.
        id: PolicyId,
        /// The name.
        name: String,
    },
    /// A group holds or excludes itself.
    Cycle {
        /// The group.
        name: String,
    },
    /// Groups stand deeper in each other than [`NESTING_MAX`].
    Nesting {
        /// One of them.
        name: String,
    },
    /// A range of addresses ends before it starts.
    Range {
        /// The object.
        name: String,
        /// The range.
        addrs: AddrRange,
    },
    /// A service has ports without a protocol that has some.
    Service {
        /// Its name.
        name: String,
        /// The part that is wrong.
        service: Service,
    },
    /// No packet can meet the policy: exclusions leave no address, there is no service, or all
    /// sources are of one family and all destinations of the other.
    NoPackets {
        /// Its id.
        id: PolicyId,
    },
    /// The policy comes to more selectors than [`POLICY_SELECTORS_MAX`].
    TooManySelectors {
        /// Its id.
        id: PolicyId,
    },
    /// The list as a whole cannot be compiled.
    Setup(SetupError),
}

impl fmt::Display for LocalInError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateId { id } => write!(f, "{id} exists"),
            Self::UnknownId { id } => write!(f, "there is no {id}"),
            Self::NoInterfaces { id } => write!(f, "{id} is for no interface"),
            Self::UnknownAddress { id, name } => write!(f, "{id}: there is no address `{name}`"),
            Self::UnknownMember { group, name } => {
                write!(f, "group `{group}`: there is no address `{name}`")
            }
            Self::UnknownService { id, name } => write!(f, "{id}: there is no service `{name}`"),
            Self::Cycle { name } => write!(f, "group `{name}` is part of itself"),
            Self::Nesting { name } => {
                write!(f, "group `{name}`: more than {NESTING_MAX} groups in each other")
            }
            Self::Range { name, addrs } => {
                write!(f, "address `{name}`: the range {addrs:#} ends before it starts")
            }
            Self::Service { name, service } => {
                write!(f, "service `{name}`: protocol {} has no ports", service.protocol())
            }
            Self::NoPackets { id } => write!(f, "no packet can meet {id}"),
            Self::TooManySelectors { id } => {
                write!(f, "{id} comes to more than {POLICY_SELECTORS_MAX} selectors")
            }
            Self::Setup(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for LocalInError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Setup(error) => Some(error),
            _ => None,
        }
    }
}

impl From<SetupError> for LocalInError {
    fn from(error: SetupError) -> Self {
        Self::Setup(error)
    }
}

/// The ordered policies for what is addressed to the gateway, and the names they use.
///
/// Changes touch this list only. To put one into force, [`LocalInList::compile`] the list anew and hand
/// the new words to the threads that look at packets. Names are looked up then, so they may be given
/// in any order.
///
/// # Concurrency
/// One writer.
#[derive(Clone, Debug)]
pub struct LocalInList {
    default: Action,
    addresses: Addresses,
    services: HashMap<String, Vec<Service>>,
    policies: Vec<LocalInPolicy>,
    ids: BTreeSet<PolicyId>,
}

impl LocalInList {
    /// A list without policies and names; `default` is what becomes of packets that no policy covers. The documents
    /// show accept.
    pub fn new(default: Action) -> Self {
        Self {
            default,
            addresses: Addresses::default(),
            services: HashMap::new(),
            policies: Vec::new(),
            ids: BTreeSet::new(),
        }
    }

    /// What becomes of packets that no policy covers.
    pub fn default_action(&self) -> Action {
        self.default
    }

    /// Says what an address name stands for; returns what it stood for.
    pub fn set_address(&mut self, name: &str, object: AddressObject) -> Option<AddressObject> {
        self.addresses.0.insert(name.into(), object)
    }

    /// Says what a service name stands for: any of these; returns what it stood for.
    pub fn set_service(&mut self, name: &str, services: Vec<Service>) -> Option<Vec<Service>> {
        self.services.insert(name.into(), services)
    }

    /// The policies, in the order in which they are asked.
    pub fn policies(&self) -> &[LocalInPolicy] {
        &self.policies
    }

    /// Puts a policy behind all others.
    ///
    /// # Errors
    /// [`LocalInError::DuplicateId`]; the list is unchanged.
    pub fn add(&mut self, policy: LocalInPolicy) -> Result<(), LocalInError> {
        self.place(self.policies.len(), policy)
    }

    /// Puts a policy before the one with the id `before`.
    ///
    /// # Errors
    /// [`LocalInError::DuplicateId`], [`LocalInError::UnknownId`]; the list is unchanged.
    pub fn add_before(
        &mut self,
        before: PolicyId,
        policy: LocalInPolicy,
    ) -> Result<(), LocalInError> {
        self.place(self.find(before)?, policy)
    }

    /// Takes a policy out and returns it.
    ///
    /// # Errors
    /// [`LocalInError::UnknownId`]; the list is unchanged.
    pub fn delete(&mut self, id: PolicyId) -> Result<LocalInPolicy, LocalInError> {
        let place = self.find(id)?;
        self.ids.remove(&id);
        Ok(self.policies.remove(place))
    }

    fn place(&mut self, place: usize, policy: LocalInPolicy) -> Result<(), LocalInError> {
        if !self.ids.insert(policy.id) {
            return Err(LocalInError::DuplicateId { id: policy.id });
        }
        self.policies.insert(place, policy);
        Ok(())
    }

    fn find(&self, id: PolicyId) -> Result<usize, LocalInError> {
        let place = self.policies.iter().position(|policy| policy.id == id);
        place.ok_or(LocalInError::UnknownId { id })
    }

    /// What the list says of a packet, one policy after the other and every name by its definition: the
    /// naive twin of [`LocalIn::first`](super::LocalIn::first), for diagnosis. A name that stands for nothing covers
    /// nothing.
    ///
    /// # Bound
    /// Linear in policies, and in the names of each.
    pub fn first(&self, packet: &LocalPacket, schedules: Schedules) -> Answer {
        let headers = packet.headers();
        let (src, dst) = (headers.endpoints.src(), headers.endpoints.dst());
        let holds = |names: &[String], addr| {
            let mut known = HashMap::new();
            names.iter().any(|name| self.addresses.hold(name, addr, &mut known, 0))
        };
        let serves = |name: &String| {
            self.services.get(name).is_some_and(|any| any.iter().any(|one| one.covers(headers)))
        };
        let covers = |policy: &&LocalInPolicy| {
            schedules.admit(policy.schedule)
                && policy.interfaces.contains(packet.interface())
                && policy.service.iter().any(serves)
                && holds(&policy.source, src)
                && holds(&policy.destination, dst)
        };
        self.policies.iter().find(covers).map_or(
            Answer { action: self.default, by: By::Default },
            |policy| Answer {
                action: policy.action.unwrap_or_default(),
                by: By::Policy(policy.id),
            },
        )
    }

    /// The boxes of each policy, in order.
    pub(super) fn selectors(&self) -> Result<Vec<Vec<Selector>>, LocalInError> {
        let mut names = Resolved::new(&self.addresses);
        self.policies.iter().map(|policy| self.boxes(policy, &mut names)).collect()
    }

    fn boxes<'a>(
        &'a self,
        policy: &'a LocalInPolicy,
        names: &mut Resolved<'a>,
    ) -> Result<Vec<Selector>, LocalInError> {
        let id = policy.id;
        if matches!(&policy.interfaces, Interfaces::These(list) if list.is_empty()) {
            return Err(LocalInError::NoInterfaces { id });
        }
        let unknown = |name: &str| LocalInError::UnknownAddress { id, name: name.into() };
        let source = names.union(&policy.source, &unknown)?;
        let destination = names.union(&policy.destination, &unknown)?;
        let mut services = Vec::new();
        for name in &policy.service {
            let own = self.services.get(name);
            let own = own.ok_or_else(|| LocalInError::UnknownService { id, name: name.clone() })?;
            if let Some(&service) = own.iter().find(|one| !one.is_valid()) {
                return Err(LocalInError::Service { name: name.clone(), service });
            }
            services.extend_from_slice(own);
        }
        // One service under two names is one.
        services.sort_unstable();
        services.dedup();
        let product = source.len().checked_mul(destination.len());
        let product = product.and_then(|count| count.checked_mul(services.len()));
        if product.is_none_or(|count| count > POLICY_SELECTORS_MAX) {
            return Err(LocalInError::TooManySelectors { id });
        }
        let mut boxes = Vec::new();
        for &from in &source {
            for &to in &destination {
                boxes.extend(services.iter().filter_map(|service| service.selector(from, to)));
            }
        }
        if boxes.is_empty() { Err(LocalInError::NoPackets { id }) } else { Ok(boxes) }
    }

    /// Which policies each interface has.
    pub(super) fn by_interface(&self) -> ByInterface {
        let mut found = ByInterface::default();
        for (place, policy) in self.policies.iter().enumerate() {
            match &policy.interfaces {
                Interfaces::Any => found.any.push(place),
                Interfaces::These(list) => {
                    for &interface in list {
                        let own = found.named.entry(interface).or_default();
                        // An interface may be written twice.
                        if own.last() != Some(&place) {
                            own.push(place);
                        }
                    }
                }
            }
        }
        found
    }

    /// The words that [`LocalIn::open`](super::LocalIn::open) takes. The same list gives the same words.
    ///
    /// # Bound
    /// O(n log n) on average, n being the selectors of all lists. A policy's are in one list for each
    /// different set of policies among the interfaces that it names; those of policies for any interface are
    /// in one, and copies of them at most double the others, or add 16 to a list.
    ///
    /// # Errors
    /// [`LocalInError`], all but the first two; [`SetupError::TooLarge`]: more than 2^30 policies, or more
    /// selectors than the matcher takes; [`SetupError::OutOfMemory`].
    pub fn compile(&self) -> Result<Words, LocalInError> {
        if self.policies.len() > POLICIES_MAX {
            return Err(SetupError::TooLarge.into());
        }
        let lists = Lists::new(&self.by_interface(), &self.selectors()?)?;
        let rules = self.policies.iter().map(|policy| {
            let LocalInPolicy { id, schedule, action, .. } = *policy;
            Rule { id, schedule, action: action.unwrap_or_default() }.to_word()
        });
        let asked = lists.asked.iter().map(|(interface, asked)| asked.to_word(*interface));
        let (policies, interfaces) = (self.policies.len(), lists.asked.len());
        // No more than 2^30 and 2^32.
        let header = compiled::header(policies as u32, interfaces as u32, self.default);
        let front = compiled::block_at(policies, interfaces).ok_or(SetupError::TooLarge)?;
        let block = compile::words_for_lists(lists.spans.len(), lists.staged.len())?;
        let room = front.checked_add(block).ok_or(SetupError::TooLarge)?;
        let source = Compiled { lists: &lists, policies: policies as u32 };
        Words::filled(room, |memory| {
            let parts = memory.split_at_mut_checked(front);
            let (words, block) = parts.ok_or(SetupError::MemoryTooSmall)?;
            let all = header.into_iter().chain(rules).chain(asked);
            words.iter_mut().zip(all).for_each(|(word, value)| *word = value);
            let octets = compile::compile(&source, 0, block).ok_or(SetupError::TooLarge)?;
            Ok(front.saturating_add(octets / 8))
        })
    }
}

/// Places of policies, in order.
#[derive(Default)]
pub(super) struct ByInterface {
    /// Of those for any interface.
    pub(super) any: Vec<usize>,
    /// Of those that name an interface.
    pub(super) named: BTreeMap<u32, Vec<usize>>,
}

impl ByInterface {
    /// All policies that packets of an interface may meet, in order.
    pub(super) fn all_of(&self, own: &[usize]) -> Vec<usize> {
        let mut all = [own, &self.any].concat();
        all.sort_unstable();
        all
    }
}

/// The lists of the block.
struct Lists {
    staged: Vec<Staged>,
    /// Which of them are of each list.
    spans: Vec<Range<usize>>,
    /// Interfaces, ascending.
    asked: Vec<(u32, Asked)>,
}

impl Lists {
    fn new(policies: &ByInterface, boxes: &[Vec<Selector>]) -> Result<Self, SetupError> {
        let mut lists = Self { staged: Vec::new(), spans: Vec::new(), asked: Vec::new() };
        let count = |places: &[usize]| -> usize {
            places.iter().filter_map(|&place| boxes.get(place)).map(Vec::len).sum()
        };
        lists.push(&policies.any, boxes)?;
        let any = count(&policies.any);
        let mut known: HashMap<&[usize], Asked> = HashMap::new();
        for (&interface, own) in &policies.named {
            let asked = match known.get(own.as_slice()) {
                Some(&asked) => asked,
                None => {
                    let is_copied = any <= count(own).max(COPIED);
                    let list = match is_copied {
                        true => lists.push(&policies.all_of(own), boxes)?,
                        false => lists.push(own, boxes)?,
                    };
                    let asked = Asked { list, any_too: !is_copied };
                    known.insert(own, asked);
                    asked
                }
            };
            lists.asked.push((interface, asked));
        }
        Ok(lists)
    }

    /// Makes a list of these policies and says which it is.
    fn push(&mut self, places: &[usize], boxes: &[Vec<Selector>]) -> Result<u32, SetupError> {
        let from = self.staged.len();
        for &place in places {
            let own = boxes.get(place).map_or(&[][..], Vec::as_slice);
            self.staged.try_reserve(own.len()).map_err(|_| SetupError::OutOfMemory)?;
            self.staged.extend(own.iter().map(|one| compile::stage(one, place as u32)));
        }
        let list = self.spans.len();
        self.spans.push(from..self.staged.len());
        // One bit of an interface's word says something else.
        u32::try_from(list).ok().filter(|list| list >> 31 == 0).ok_or(SetupError::TooLarge)
    }
}

const _: () = assert!(ANY_LIST == 0);

/// Lists as the compiler takes them: each in place of a tunnel with one Child SA.
struct Compiled<'l> {
    lists: &'l Lists,
    policies: u32,
}

impl Source for Compiled<'_> {
    fn tunnels(&self) -> u32 {
        self.lists.spans.len() as u32
    }

    fn children(&self) -> u32 {
        self.tunnels()
    }

    fn owners(&self) -> u32 {
        self.policies
    }

    fn of_tunnel(&self, tunnel: u32) -> impl Iterator<Item = (u32, ChildRecord, &[Staged])> {
        let span = self.lists.spans.get(tunnel as usize).cloned().unwrap_or_default();
        let staged = self.lists.staged.get(span).unwrap_or_default();
        core::iter::once((tunnel, ChildRecord::new(1, tunnel, 0), staged))
    }
}
