//! Decorrelation: an ordered SPD as entries of which no two cover the same packet (RFC 4301
//! appendix B). Configuration flow.
//!
//! ```text
//! for each policy in order, for each of its selectors S:
//!     left = {S}
//!     for each selector T before S that meets S, the last first, unless nothing was left of T:
//!         left = { pieces of L outside T, for each L in left }
//!     the pieces left are entries of the policy
//! ```
//! So each packet lies in an entry of the first policy that covers it, and in no other.
//!
//! Appendix B compares a candidate with the decorrelated entries and branches on one selector field
//! after the other. Here it is compared with the selectors that those entries came from, which are
//! fewer and larger: cutting L at the borders of T leaves one piece for each border that lies inside
//! L, at most ten and one more for packets without ports. Later selectors are the larger ones as a
//! rule, and what lies in them need not be cut at smaller ones.
//!
//! What a packet's ports are is a point of a square, or no value at all: ANY is both, OPAQUE is the
//! second alone, and a packet lacks both ports or none. A square without "no value" is more than
//! 0 to 65535 can say, since that is ANY, and becomes two entries.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::RangeInclusive;

use super::list::{Policy, PolicyError, PolicyList};
use super::{Action, Direction, PolicyId};
use crate::headers::{Family, InnerHeaders};
use crate::selector::{ANY_PROTOCOL, AddrRange, PortRange, Selector, has_one_value};

/// A part of a policy's packets, disjoint from every other entry.
///
/// Like a [`Selector`], but for a range of protocols: "all but TCP" is two entries, 0 to 5 and 7 to
/// 255.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DisjointEntry {
    /// The policy it is part of.
    pub id: PolicyId,
    /// What becomes of packets.
    pub action: Action,
    /// Remote addresses.
    pub remote: AddrRange,
    /// Local addresses.
    pub local: AddrRange,
    /// First next layer protocol; here 0 is the protocol 0.
    pub protocol_lo: u8,
    /// Last next layer protocol; 0 to 255 is ANY. With more than one, all ports are ANY.
    pub protocol_hi: u8,
    /// Remote ports, or the one value inbound.
    pub remote_ports: PortRange,
    /// Local ports, or the one value outbound.
    pub local_ports: PortRange,
}

impl DisjointEntry {
    /// True if it covers a packet of this direction.
    pub fn covers(&self, direction: Direction, packet: &InnerHeaders) -> bool {
        // Ports are those of one protocol or ANY: the packet's own protocol asks them.
        let named = (self.protocol_lo..=self.protocol_hi).contains(&packet.protocol);
        let alone = self.selector(packet.protocol);
        named && direction.as_inbound(&alone).covers(packet)
    }

    fn selector(&self, protocol: u8) -> Selector {
        let Self { remote, local, remote_ports, local_ports, .. } = *self;
        Selector { remote, local, protocol, remote_ports, local_ports }
    }

    /// The entry as selectors that IKE can say (RFC 7296 section 3.13.1): one for ANY or one
    /// protocol, else one for each protocol of the range.
    ///
    /// Protocol 0 (IPv6 hop-by-hop options, which is never a next layer protocol) is left out of a
    /// range: no selector can name it.
    pub fn selectors(&self) -> impl Iterator<Item = Selector> + use<> {
        let entry = *self;
        let protocols: RangeInclusive<u8> = match (self.protocol_lo, self.protocol_hi) {
            (0, u8::MAX) => ANY_PROTOCOL..=ANY_PROTOCOL,
            (lo, hi) => lo.max(1)..=hi,
        };
        protocols.map(move |protocol| entry.selector(protocol))
    }
}

/// A decorrelated SPD.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decorrelated {
    direction: Direction,
    selectors: usize,
    entries: Vec<DisjointEntry>,
    unreachable: Vec<PolicyId>,
}

impl Decorrelated {
    /// The direction of its packets.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Selectors that went in.
    pub fn selectors_in(&self) -> usize {
        self.selectors
    }

    /// The entries, policy by policy. Their order means nothing: at most one covers a packet.
    pub fn entries(&self) -> &[DisjointEntry] {
        &self.entries
    }

    /// Policies that no packet meets, since those before them cover all of theirs.
    pub fn unreachable(&self) -> &[PolicyId] {
        &self.unreachable
    }

    /// The entry that covers a packet, one after the other: a twin for tests and diagnosis.
    ///
    /// # Bound
    /// Linear in the entries.
    pub fn find(&self, packet: &InnerHeaders) -> Option<&DisjointEntry> {
        self.entries.iter().find(|entry| entry.covers(self.direction, packet))
    }
}

/// Why an SPD was not decorrelated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DecorrelateError {
    /// A policy is wrong in itself.
    Policy(PolicyError),
    /// More entries than the limit, pieces that would have been cut again included.
    Limit {
        /// The limit.
        limit: usize,
        /// The policy at which it was exceeded.
        id: PolicyId,
    },
}

impl fmt::Display for DecorrelateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(error) => error.fmt(f),
            Self::Limit { limit, id } => {
                write!(f, "more than {limit} disjoint entries when it came to {id}")
            }
        }
    }
}

impl core::error::Error for DecorrelateError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Policy(error) => Some(error),
            Self::Limit { .. } => None,
        }
    }
}

/// Decorrelates policies, given in the order in which they are asked, into at most `limit` disjoint
/// entries that say of each packet what the ordered list says (RFC 4301 appendix B).
///
/// With disjoint entries an answer may be cached, and no SA can be asked for packets of another
/// policy (RFC 7296 section 2.9.1; T3).
///
/// # Bound
/// n selectors, m entries: n * (n + m) comparisons, memory for `limit` entries. m can grow as the
/// fifth power of n, hence the limit: it is policies for all packets behind many narrow ones that
/// grow.
///
/// # Errors
/// [`DecorrelateError::Policy`]: those of [`Policy::validate`]. [`DecorrelateError::Limit`]: more
/// entries than allowed, or so many pieces on the way.
///
/// # Examples
/// ```
/// use espial::spd::{Action, DecorrelateError, Direction, Policy, PolicyId, decorrelate};
///
/// let selector = |local: &str, remote: &str| {
///     let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
///     Direction::Outbound.selector(&local, &remote).unwrap().unwrap()
/// };
/// let policy = |id, action, selector| Policy {
///     id: PolicyId(id), action, priority: 0, selectors: vec![selector],
/// };
/// let policies = [
///     policy(1, Action::Bypass, selector("10.1.0.5", "10.2.0.0/16[tcp/22]")),
///     policy(2, Action::Protect, selector("10.1.0.0/24", "10.2.0.0/16")),
///     policy(3, Action::Discard, selector("10.1.0.9", "10.2.0.9")),
/// ];
/// let disjoint = decorrelate(Direction::Outbound, &policies, 100)?;
/// // Policy 2 without SSH from .5: two other ranges of addresses, two of protocols, two of ports, and
/// // fragments of TCP.
/// assert_eq!((disjoint.selectors_in(), disjoint.entries().len()), (3, 1 + 7));
/// assert_eq!(disjoint.unreachable(), [PolicyId(3)]);
/// let limit = decorrelate(Direction::Outbound, &policies, 7);
/// assert_eq!(limit, Err(DecorrelateError::Limit { limit: 7, id: PolicyId(2) }));
/// # Ok::<(), DecorrelateError>(())
/// ```
pub fn decorrelate(
    direction: Direction,
    policies: &[Policy],
    limit: usize,
) -> Result<Decorrelated, DecorrelateError> {
    let mut selectors = 0;
    let mut entries = Vec::new();
    let mut unreachable = Vec::new();
    // Selectors so far, but for those of which nothing was left.
    let mut before: Vec<Piece> = Vec::new();
    for policy in policies {
        policy.validate().map_err(DecorrelateError::Policy)?;
        let exceeded = DecorrelateError::Limit { limit, id: policy.id };
        let first = entries.len();
        for selector in &policy.selectors {
            selectors += 1;
            let whole = Piece::of(&direction.as_inbound(selector));
            let room = limit - entries.len();
            let left = whole.without(&before, room).ok_or(exceeded)?;
            for piece in &left {
                entries.extend(piece.parts().map(|one| one.entry(direction, policy)));
            }
            if entries.len() > limit {
                return Err(exceeded);
            }
            if !left.is_empty() {
                before.push(whole);
            }
        }
        if entries.len() == first {
            unreachable.push(policy.id);
        }
    }
    Ok(Decorrelated { direction, selectors, entries, unreachable })
}

impl PolicyList {
    /// [`decorrelate`] for this list.
    ///
    /// # Errors
    /// [`DecorrelateError::Limit`]; the list was validated when it was made.
    pub fn decorrelate(&self, limit: usize) -> Result<Decorrelated, DecorrelateError> {
        decorrelate(self.direction(), self.policies(), limit)
    }
}

/// An inclusive range, never empty.
type Range<T> = (T, T);

/// Packets as inbound ones are compared: a box, with its ports as values and "no value" apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Piece {
    family: Family,
    remote: Range<u128>,
    local: Range<u128>,
    protocols: Range<u8>,
    /// Remote and local ports of packets that hold them.
    values: Option<(Range<u16>, Range<u16>)>,
    /// Packets that do not.
    opaque: bool,
}

/// Every value of a port.
const ALL: Range<u16> = (0, u16::MAX);

fn meet<T: Ord + Copy>(a: Range<T>, b: Range<T>) -> bool {
    a.0 <= b.1 && b.0 <= a.1
}

/// Cuts a range at the borders of another one that it meets: what lies before and behind, and what
/// is common.
macro_rules! cut {
    ($range:expr, $by:expr) => {{
        let (range, by) = ($range, $by);
        // A border inside the range has a neighbour, so nothing wraps.
        let below = (range.0 < by.0).then(|| (range.0, by.0.wrapping_sub(1)));
        let above = (range.1 > by.1).then(|| (by.1.wrapping_add(1), range.1));
        ([below, above], (range.0.max(by.0), range.1.min(by.1)))
    }};
}

impl Piece {
    /// A selector as inbound packets are compared with it.
    fn of(selector: &Selector) -> Self {
        let Selector { remote, local, protocol, remote_ports, local_ports } = *selector;
        let values = |ports: PortRange| (!ports.is_opaque()).then(|| (ports.lo(), ports.hi()));
        Self {
            family: remote.family(),
            remote: remote.bounds(),
            local: local.bounds(),
            protocols: if protocol == ANY_PROTOCOL { (0, u8::MAX) } else { (protocol, protocol) },
            values: values(remote_ports).zip(values(local_ports)),
            opaque: remote_ports.admits_opaque() && local_ports.admits_opaque(),
        }
    }

    fn is_empty(&self) -> bool {
        self.values.is_none() && !self.opaque
    }

    fn meets(&self, other: &Self) -> bool {
        let values = self.values.zip(other.values);
        let values = values.is_some_and(|(a, b)| meet(a.0, b.0) && meet(a.1, b.1));
        self.family == other.family
            && meet(self.remote, other.remote)
            && meet(self.local, other.local)
            && meet(self.protocols, other.protocols)
            && (values || (self.opaque && other.opaque))
    }

    /// What is left of it outside of all `others`, or `None` if it comes to more pieces than `limit`
    /// on the way.
    fn without(&self, others: &[Self], limit: usize) -> Option<Vec<Self>> {
        // OPAQUE on one side and ports on the other: no packet is like that.
        let mut left = if self.is_empty() { Vec::new() } else { vec![*self] };
        let mut next = Vec::new();
        for other in others.iter().rev().filter(|other| other.meets(self)) {
            next.clear();
            for piece in &left {
                piece.cut(other, &mut next);
                if next.len() > limit {
                    return None;
                }
            }
            core::mem::swap(&mut left, &mut next);
        }
        Some(left)
    }

    /// The pieces of it outside of `other`.
    fn cut(&self, other: &Self, pieces: &mut Vec<Self>) {
        if !self.meets(other) {
            pieces.push(*self);
            return;
        }
        let mut rest = *self;
        let (outside, inside) = cut!(rest.protocols, other.protocols);
        let outside = outside.into_iter().flatten();
        pieces.extend(outside.map(|protocols| Self { protocols, ..rest }));
        rest.protocols = inside;
        let (outside, inside) = cut!(rest.remote, other.remote);
        pieces.extend(outside.into_iter().flatten().map(|remote| Self { remote, ..rest }));
        rest.remote = inside;
        let (outside, inside) = cut!(rest.local, other.local);
        pieces.extend(outside.into_iter().flatten().map(|local| Self { local, ..rest }));
        rest.local = inside;
        // Only the ports differ from here on.
        if rest.opaque && !other.opaque {
            pieces.push(Self { values: None, ..rest });
        }
        let Some((remote, local)) = rest.values else { return };
        let mut push = |values| pieces.push(Self { values: Some(values), opaque: false, ..rest });
        match other.values {
            Some(by) if meet(remote, by.0) && meet(local, by.1) => {
                let (outside, inside) = cut!(remote, by.0);
                outside.into_iter().flatten().for_each(|remote| push((remote, local)));
                let (outside, _) = cut!(local, by.1);
                outside.into_iter().flatten().for_each(|local| push((inside, local)));
            }
            _ => push((remote, local)),
        }
    }

    /// The piece as ranges of ports that say the same: one, two or three.
    fn parts(&self) -> impl Iterator<Item = Part> + use<> {
        const HALVES: [Range<u16>; 2] = [(0, 0x7fff), (0x8000, u16::MAX)];
        let piece = *self;
        let values: [Option<(Range<u16>, Range<u16>)>; 2] = match (self.values, self.opaque) {
            // ANY would say "no value" too.
            (Some((ALL, ALL)), false) => HALVES.map(|half| Some((half, ALL))),
            (values, _) => [values, None],
        };
        let any = self.values == Some((ALL, ALL));
        let opaque = (self.opaque && !any).then_some((PortRange::OPAQUE, PortRange::OPAQUE));
        let range = |(lo, hi)| PortRange::new(lo, hi);
        let values = values.into_iter().flatten();
        values
            .filter_map(move |(remote, local)| range(remote).zip(range(local)))
            .chain(opaque)
            .map(move |ports| Part { piece, ports })
    }
}

/// A piece, or a part of one, whose ports two ranges can say.
struct Part {
    piece: Piece,
    ports: (PortRange, PortRange),
}

impl Part {
    fn entry(&self, direction: Direction, policy: &Policy) -> DisjointEntry {
        let Piece { family, remote, local, protocols: (protocol_lo, protocol_hi), .. } = self.piece;
        let one_value = protocol_lo == protocol_hi && has_one_value(protocol_lo);
        let inbound = Selector {
            remote: AddrRange::from_bounds(family, remote.0, remote.1),
            local: AddrRange::from_bounds(family, local.0, local.1),
            protocol: protocol_lo,
            remote_ports: self.ports.0,
            local_ports: if one_value { PortRange::ANY } else { self.ports.1 },
        };
        let Selector { remote, local, remote_ports, local_ports, .. } = direction.turned(&inbound);
        DisjointEntry {
            id: policy.id,
            action: policy.action,
            remote,
            local,
            protocol_lo,
            protocol_hi,
            remote_ports,
            local_ports,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{directions, packets, policies};
    use super::super::{Order, Spd};
    use super::*;
    use crate::few::few;

    const LIMIT: usize = 20_000;

    proptest! {
        #![proptest_config(few())]
        /// First in order against any of the disjoint ones, and no two of them.
        #[test]
        fn disjoint_entries_say_what_the_ordered_list_says(
            direction in directions(),
            policies in policies(7),
            packets in prop::collection::vec(packets(), 1..200),
        ) {
            let list = PolicyList::from_policies(direction, Order::Placed, policies).unwrap();
            let disjoint = list.decorrelate(LIMIT).unwrap();
            // The same as a list of policies, last entry first.
            let split = disjoint.entries().iter().rev().zip(0..).map(|(entry, nth)| Policy {
                id: PolicyId(nth), action: entry.action, priority: 0, selectors: entry.selectors().collect(),
            });
            let split = split.filter(|policy| !policy.selectors.is_empty()).collect();
            let split = PolicyList::from_policies(direction, Order::Placed, split).unwrap();
            let words = split.compile().unwrap();
            let spd = Spd::open(&words).unwrap();
            for packet in &packets {
                let first = list.first(packet).map(|policy| (policy.id, policy.action));
                let covering = disjoint.entries().iter().filter(|one| one.covers(direction, packet));
                let covering: Vec<_> = covering.map(|one| (one.id, one.action)).collect();
                prop_assert_eq!(&covering, &Vec::from_iter(first), "{:?}", packet);
                let found = disjoint.find(packet).map(|one| (one.id, one.action));
                prop_assert_eq!(found, first);
                prop_assert!(first.is_none_or(|(id, _)| !disjoint.unreachable().contains(&id)));
                if packet.protocol != 0 {
                    let action = spd.first(packet).entry().map(|entry| entry.action);
                    prop_assert_eq!(action, first.map(|(_, action)| action));
                }
            }
        }

    }

    proptest! {
        /// A pair of pieces counted out: nothing lost, nothing twice, nothing empty.
        #[test]
        fn pieces_of_a_cut_are_disjoint_and_complete(policies in policies(2)) {
            let pieces: Vec<Piece> = policies
                .iter()
                .flat_map(|policy| &policy.selectors)
                .map(|one| Piece::of(&Direction::Inbound.as_inbound(one)))
                .filter(|piece| !piece.is_empty())
                .collect();
            for (a, b) in pieces.iter().flat_map(|a| pieces.iter().map(move |b| (a, b))) {
                let mut left = Vec::new();
                a.cut(b, &mut left);
                prop_assert!(left.len() <= 11);
                for (nth, piece) in left.iter().enumerate() {
                    prop_assert!(!piece.is_empty() && !piece.meets(b));
                    prop_assert!(left[..nth].iter().all(|other| !piece.meets(other)));
                    // Inside of `a`: cut by it, nothing is left.
                    prop_assert_eq!(piece.without(&[*a], 1), Some(Vec::new()));
                }
                // Together with `b` they are all of `a`.
                left.push(*b);
                prop_assert_eq!(a.without(&left, 1000), Some(Vec::new()));
            }
        }
    }

    #[test]
    fn the_limit_is_what_may_come_out() {
        let selector = |text: &str| {
            Direction::Inbound
                .selector(&text.parse().unwrap(), &"0.0.0.0/0".parse().unwrap())
                .unwrap()
                .unwrap()
        };
        let policy = |id, selectors| Policy {
            id: PolicyId(id),
            action: Action::Bypass,
            priority: 0,
            selectors,
        };
        let hosts = (0..200).map(|n| selector(&format!("10.0.{n}.1"))).collect();
        let policies = [policy(1, hosts), policy(2, vec![selector("0.0.0.0/0")])];
        // 200 hosts and the 201 gaps between them.
        let disjoint = decorrelate(Direction::Inbound, &policies, 401).unwrap();
        assert_eq!((disjoint.selectors_in(), disjoint.entries().len()), (201, 401));
        for limit in [0, 1, 199, 200, 400] {
            let id = PolicyId(if limit < 200 { 1 } else { 2 });
            let error = DecorrelateError::Limit { limit, id };
            assert_eq!(decorrelate(Direction::Inbound, &policies, limit), Err(error));
        }
        let empty = decorrelate(Direction::Inbound, &[], 0).unwrap();
        assert!(empty.entries().is_empty() && empty.unreachable().is_empty());
        let wrong = [policy(3, Vec::new())];
        assert_eq!(
            decorrelate(Direction::Inbound, &wrong, 9),
            Err(DecorrelateError::Policy(PolicyError::NoSelectors { id: PolicyId(3) }))
        );
    }

    /// ANY without OPAQUE is two entries, and protocols without one are two more.
    #[test]
    fn what_a_selector_cannot_say_becomes_several() {
        let pair = |local: &str| {
            let (local, remote) = (local.parse().unwrap(), "10.2.0.0/16".parse().unwrap());
            Direction::Inbound.selector(&local, &remote).unwrap().unwrap()
        };
        let policy = |id, selector| Policy {
            id: PolicyId(id),
            action: Action::Bypass,
            priority: 0,
            selectors: vec![selector],
        };
        let policies = [policy(1, pair("10.1.0.0/16[tcp/opaque]")), policy(2, pair("10.1.0.0/16"))];
        let disjoint = decorrelate(Direction::Inbound, &policies, 100).unwrap();
        let said: Vec<_> = disjoint
            .entries()
            .iter()
            .map(|one| (one.id.0, one.protocol_lo, one.protocol_hi, one.remote_ports))
            .collect();
        let half = |lo, hi| PortRange::new(lo, hi).unwrap();
        assert_eq!(
            said,
            [
                (1, 6, 6, PortRange::OPAQUE),
                (2, 0, 5, PortRange::ANY),
                (2, 7, 255, PortRange::ANY),
                (2, 6, 6, half(0, 0x7fff)),
                (2, 6, 6, half(0x8000, 0xffff)),
            ]
        );
        let named: Vec<usize> =
            disjoint.entries().iter().map(|one| one.selectors().count()).collect();
        assert_eq!(named, [1, 5, 249, 1, 1]);
    }
}
