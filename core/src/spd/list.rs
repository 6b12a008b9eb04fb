//! Policies in their order, and the changes that a management interface makes (RFC 4301 section
//! 4.4.1). Configuration flow.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::fmt;

use super::compiled::{self, POLICIES_MAX};
use super::{Action, Direction, Entry, PolicyId};
use crate::error::SetupError;
use crate::headers::InnerHeaders;
use crate::matcher;
use crate::selector::{PairError, Selector, Side, TrafficSelector};

/// One policy: which packets, and what becomes of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// The caller's number for it.
    pub id: PolicyId,
    /// What becomes of packets that it covers.
    pub action: Action,
    /// Where it stands among others, as [`Order`] says; any value, 0 and negative ones too. 0 for
    /// lists that have no priorities.
    pub priority: i64,
    /// The packets it covers: those of any of these. At least one; [`Direction::selector`] makes
    /// them.
    pub selectors: Vec<Selector>,
}

/// What decides which of two policies is asked first.
///
/// RFC 4301 wants a total order and leaves to the system how it is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Order {
    /// Their places alone: a new one is the last. Priorities are not looked at.
    Placed,
    /// The highest priority first; of equal ones the newest (VPP, outbound).
    HighestFirst,
    /// The lowest priority first; of equal ones the oldest (Linux).
    LowestFirst,
    /// All PROTECT, then all BYPASS, then all DISCARD; in each as [`Order::HighestFirst`] (VPP,
    /// inbound).
    ProtectFirst,
}

impl Order {
    /// Lower is asked first; equal ones stand as they were placed.
    fn rank(self, policy: &Policy) -> (u8, i128) {
        let priority = i128::from(policy.priority);
        match self {
            Self::Placed => (0, 0),
            Self::HighestFirst => (0, -priority),
            Self::LowestFirst => (0, priority),
            Self::ProtectFirst => {
                let class = match policy.action {
                    Action::Protect => 0,
                    Action::Bypass => 1,
                    Action::Discard => 2,
                };
                (class, -priority)
            }
        }
    }

    fn newest_first(self) -> bool {
        matches!(self, Self::HighestFirst | Self::ProtectFirst)
    }
}

/// Why a list of policies was not changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PolicyError {
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
    /// A policy without selectors would cover no packet.
    NoSelectors {
        /// Its id.
        id: PolicyId,
    },
    /// A selector is wrong in itself: which, on which side, and how.
    Selector {
        /// The policy's id.
        id: PolicyId,
        /// What is wrong.
        error: PairError,
    },
    /// The two address ranges of a selector are of two families.
    Families {
        /// The policy's id.
        id: PolicyId,
        /// The selector's place in the policy.
        index: usize,
    },
    /// At that place the policy would stand before or behind what its rank puts on the other side.
    Misplaced {
        /// The policy's id.
        id: PolicyId,
        /// The place asked for.
        place: usize,
        /// The first place that it may have.
        first: usize,
        /// The last place that it may have.
        last: usize,
    },
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateId { id } => write!(f, "{id} exists"),
            Self::UnknownId { id } => write!(f, "there is no {id}"),
            Self::NoSelectors { id } => write!(f, "{id} has no selectors"),
            Self::Selector { id, error } => write!(f, "{id}: {error}"),
            Self::Families { id, index } => {
                write!(f, "{id}: selector {index} has addresses of two families")
            }
            Self::Misplaced { id, place, first, last } => {
                write!(f, "{id} cannot stand at place {place}, only from {first} to {last}")
            }
        }
    }
}

impl core::error::Error for PolicyError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Selector { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl Policy {
    /// Tests what the public fields cannot promise.
    ///
    /// # Errors
    /// [`PolicyError::NoSelectors`], [`PolicyError::Selector`] (reversed addresses, ports without a
    /// protocol), [`PolicyError::Families`].
    pub fn validate(&self) -> Result<(), PolicyError> {
        let id = self.id;
        if self.selectors.is_empty() {
            return Err(PolicyError::NoSelectors { id });
        }
        for (index, selector) in self.selectors.iter().enumerate() {
            let Selector { remote, local, protocol, remote_ports, local_ports } = *selector;
            for (side, addrs, ports) in
                [(Side::Local, local, local_ports), (Side::Remote, remote, remote_ports)]
            {
                TrafficSelector { addrs, protocol, ports }.validate().map_err(|cause| {
                    PolicyError::Selector { id, error: PairError { side, index, cause } }
                })?;
            }
            if remote.family() != local.family() {
                return Err(PolicyError::Families { id, index });
            }
        }
        Ok(())
    }
}

/// The ordered policies of one direction.
///
/// Changes touch this list only. To put one into force, [`PolicyList::compile`] the list anew and
/// hand the new words to the threads that look at packets.
///
/// # Concurrency
/// One writer.
///
/// # Examples
/// ```
/// use espial::spd::{Action, Direction, Order, Policy, PolicyError, PolicyId, PolicyList};
///
/// let any = "0.0.0.0/0".parse().unwrap();
/// let all = Direction::Outbound.selector(&any, &any).unwrap().unwrap();
/// let policy = |id, action, priority| Policy {
///     id: PolicyId(id), action, priority, selectors: vec![all],
/// };
/// let mut list = PolicyList::new(Direction::Outbound, Order::HighestFirst);
/// list.add(policy(7, Action::Discard, -5))?;
/// list.add(policy(8, Action::Bypass, 0))?;
/// assert_eq!(list.policies()[0].id, PolicyId(8));
/// assert_eq!(
///     list.add(policy(8, Action::Protect, 9)),
///     Err(PolicyError::DuplicateId { id: PolicyId(8) })
/// );
/// list.replace(policy(7, Action::Protect, 1))?;
/// assert_eq!(list.policies()[0].id, PolicyId(7));
/// assert_eq!(list.delete(PolicyId(8))?.action, Action::Bypass);
/// # Ok::<(), PolicyError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PolicyList {
    direction: Direction,
    order: Order,
    /// By rank; equal ranks as they were placed.
    policies: Vec<Policy>,
    ids: BTreeSet<PolicyId>,
}

impl PolicyList {
    /// A list without policies: everything is discarded.
    pub const fn new(direction: Direction, order: Order) -> Self {
        Self { direction, order, policies: Vec::new(), ids: BTreeSet::new() }
    }

    /// The list that adding these one after the other makes, in O(n log n).
    ///
    /// # Errors
    /// As [`PolicyList::add`].
    pub fn from_policies(
        direction: Direction,
        order: Order,
        mut policies: Vec<Policy>,
    ) -> Result<Self, PolicyError> {
        let mut ids = BTreeSet::new();
        for policy in &policies {
            policy.validate()?;
            if !ids.insert(policy.id) {
                return Err(PolicyError::DuplicateId { id: policy.id });
            }
        }
        if order.newest_first() {
            policies.reverse();
        }
        policies.sort_by_key(|policy| order.rank(policy));
        Ok(Self { direction, order, policies, ids })
    }

    /// The direction of the packets that its policies are for.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// What decides which policy comes first.
    pub fn order(&self) -> Order {
        self.order
    }

    /// The policies, first the one that is asked first.
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// The policy with this id, and its place.
    ///
    /// # Bound
    /// Linear in the policies.
    pub fn find(&self, id: PolicyId) -> Option<(usize, &Policy)> {
        self.policies.iter().enumerate().find(|(_, policy)| policy.id == id)
    }

    /// The places that a policy may have: those beside its equals.
    fn places(&self, policy: &Policy) -> (usize, usize) {
        let rank = self.order.rank(policy);
        let first = self.policies.partition_point(|other| self.order.rank(other) < rank);
        let last = self.policies.partition_point(|other| self.order.rank(other) <= rank);
        (first, last)
    }

    fn admit(&self, policy: &Policy) -> Result<(), PolicyError> {
        policy.validate()?;
        if self.ids.contains(&policy.id) {
            return Err(PolicyError::DuplicateId { id: policy.id });
        }
        Ok(())
    }

    fn put(&mut self, place: usize, policy: Policy) {
        self.ids.insert(policy.id);
        self.policies.insert(place, policy);
    }

    /// Adds a policy where its rank puts it; returns its place.
    ///
    /// # Bound
    /// Linear in the policies (they are moved); [`PolicyList::from_policies`] takes many at once.
    ///
    /// # Errors
    /// [`PolicyError::DuplicateId`], and those of [`Policy::validate`]. The list is unchanged.
    pub fn add(&mut self, policy: Policy) -> Result<usize, PolicyError> {
        self.admit(&policy)?;
        let (first, last) = self.places(&policy);
        let place = if self.order.newest_first() { first } else { last };
        self.put(place, policy);
        Ok(place)
    }

    /// Adds a policy at a place of the caller's choice; those from there on move one place back.
    ///
    /// In [`Order::Placed`] any place up to the length will do, else one beside the policies of equal
    /// rank.
    ///
    /// # Errors
    /// [`PolicyError::Misplaced`], and those of [`PolicyList::add`]. The list is unchanged.
    pub fn add_at(&mut self, place: usize, policy: Policy) -> Result<(), PolicyError> {
        self.admit(&policy)?;
        let (first, last) = self.places(&policy);
        if !(first..=last).contains(&place) {
            return Err(PolicyError::Misplaced { id: policy.id, place, first, last });
        }
        self.put(place, policy);
        Ok(())
    }

    /// Takes a policy out and returns it.
    ///
    /// # Errors
    /// [`PolicyError::UnknownId`]; the list is unchanged.
    pub fn delete(&mut self, id: PolicyId) -> Result<Policy, PolicyError> {
        let (place, _) = self.find(id).ok_or(PolicyError::UnknownId { id })?;
        self.ids.remove(&id);
        Ok(self.policies.remove(place))
    }

    /// Puts a policy in the place of the one with its id, which is returned. One of another rank
    /// goes where [`PolicyList::add`] would put it.
    ///
    /// # Errors
    /// [`PolicyError::UnknownId`], and those of [`Policy::validate`]. The list is unchanged.
    pub fn replace(&mut self, policy: Policy) -> Result<Policy, PolicyError> {
        policy.validate()?;
        let id = policy.id;
        let (place, old) = self.find(id).ok_or(PolicyError::UnknownId { id })?;
        let same_rank = self.order.rank(old) == self.order.rank(&policy);
        let old = self.policies.remove(place);
        let place = match (same_rank, self.places(&policy)) {
            (true, _) => place,
            (false, (first, _)) if self.order.newest_first() => first,
            (false, (_, last)) => last,
        };
        self.put(place, policy);
        Ok(old)
    }

    /// The first policy that covers a packet, one after the other: the naive twin of
    /// [`Spd::first`](super::Spd::first), for diagnosis.
    ///
    /// # Bound
    /// Linear in the selectors.
    pub fn first(&self, packet: &InnerHeaders) -> Option<&Policy> {
        let covers = |selector: &Selector| self.direction.as_inbound(selector).covers(packet);
        self.policies.iter().find(|policy| policy.selectors.iter().any(covers))
    }

    /// The words that [`Spd::open`](super::Spd::open) takes. The same list gives the same words.
    ///
    /// # Bound
    /// O(n log n) on average; 8 octets a policy and 8 a selector beside the matcher's.
    ///
    /// # Errors
    /// [`SetupError::TooLarge`]: more than 2^30 policies, or more selectors than the matcher takes.
    pub fn compile(&self) -> Result<Vec<u64>, SetupError> {
        if self.policies.len() > POLICIES_MAX {
            return Err(SetupError::TooLarge);
        }
        let mut selectors = Vec::new();
        let mut owners = Vec::new();
        let mut entries = Vec::with_capacity(self.policies.len());
        for (place, policy) in (0..).zip(&self.policies) {
            let word = Entry { id: policy.id, place, action: policy.action }.to_word();
            entries.push(word);
            for selector in &policy.selectors {
                selectors.push(self.direction.as_inbound(selector));
                owners.push(word);
            }
        }
        let matcher = matcher::compile(&selectors)?;
        let count = u32::try_from(owners.len()).map_err(|_| SetupError::TooLarge)?;
        let mut words = compiled::header(self.direction, count, entries.len() as u32).to_vec();
        words.reserve_exact(owners.len() + entries.len() + matcher.len());
        words.extend_from_slice(&owners);
        words.extend_from_slice(&entries);
        words.extend_from_slice(&matcher);
        Ok(words)
    }
}
