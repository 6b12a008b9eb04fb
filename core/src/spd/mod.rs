//! The Security Policy Database: PROTECT, BYPASS and DISCARD (RFC 4301 section 4.4.1).
//!
//! Owns policies in their order, the compiled form that packets are put to, counts a policy, and
//! decorrelation (appendix B). Knows nothing of SAs and tunnels: a host that has both asks the
//! [`gateway`](crate::gateway) about SAs and an SPD about everything else, and says with
//! [`Answer::admits_from`] that a decrypted packet's SA was made for the policy it meets.
//!
//! ```text
//! configuration  Policy ─ add, replace, delete ─▶ PolicyList ─ compile ─▶ words  (a new value each time)
//!                                                     └─ decorrelate ─▶ disjoint entries
//! packet         words ─ open ─▶ Spd ─ first ─▶ Answer
//!                                 └─ with_counts ─▶ SpdWorker ─ check, check_burst ─▶ Answer + counts
//! ```
//! A list and its compiled form are of one direction; a host has one for each (SPD-I, SPD-O), and
//! for each VRF. What no policy covers is to be discarded, and is counted apart.
//!
//! # Concurrency
//! [`Spd`] is a copyable view of words that do not change; any number of threads may look. Each
//! thread counts in a row of its own through an [`SpdWorker`]: no lock, no atomic addition. A
//! change makes new words, which the caller hands to its threads as it hands over other
//! configuration ([`publish`](crate::publish) has the pattern); rows of the old words are added up
//! by policy id when the last thread has left them.
//!
//! # Invariants
//! - I1: packets are compared as inbound ones. The compiled form of an outbound list has both sides
//!   of each selector exchanged, so that a packet's source meets the local range.
//! - I2: ICMP, ICMPv6 and Mobility Header have one value: the remote side's inbound, the local
//!   side's outbound (RFC 4301 section 4.4.1.3). The other side's ports are ANY once compiled.
//!
//! # Examples
//! ```
//! # #[cfg(feature = "alloc")] {
//! use core::iter;
//! use espial::headers::{Endpoints, Fragment, InnerHeaders, NextLayer};
//! use espial::spd::{Action, Count, Direction, Order, Policy, PolicyId, PolicyList, Spd};
//!
//! let selector = |local: &str, remote: &str| {
//!     let one = Direction::Inbound.selector(&local.parse().unwrap(), &remote.parse().unwrap());
//!     one.unwrap().unwrap()
//! };
//! let policy = |id, action, selector| Policy {
//!     id: PolicyId(id), action, priority: 0, selectors: vec![selector],
//! };
//! let mut list = PolicyList::new(Direction::Inbound, Order::Placed);
//! list.add(policy(1, Action::Bypass, selector("192.0.2.1[udp/500]", "0.0.0.0/0[udp]")))?;
//! list.add(policy(2, Action::Protect, selector("10.1.0.0/16", "10.2.0.0/16")))?;
//!
//! // What packets are put to: words, and a row of counts for this thread.
//! let words = list.compile()?;
//! let spd = Spd::open(&words)?;
//! let mut row: Vec<Count> = iter::repeat_with(Count::new).take(spd.cells()).collect();
//! let (mut worker, counts) = spd.with_counts(&mut row)?;
//! let packet = |src, dst, port| InnerHeaders {
//!     endpoints: Endpoints::V4 { src, dst },
//!     protocol: 17,
//!     next_layer: NextLayer::Ports { src: port, dst: port },
//!     fragment: Fragment::None,
//! };
//!
//! // IKE may come in the clear.
//! assert!(worker.check(&packet(0xc633_6401, 0xc000_0201, 500)).admits_clear());
//! // Site traffic may come on an SA that was made for policy 2, and not in the clear.
//! let site = worker.check(&packet(0x0a02_0001, 0x0a01_0001, 53));
//! assert!(site.admits_from(PolicyId(2)) && !site.admits_clear());
//! // Nothing covers DNS to this address: DISCARD.
//! let dns = worker.check(&packet(0xc633_6401, 0xc000_0201, 53));
//! assert_eq!((dns.action(), dns.entry()), (Action::Discard, None));
//! let by_id: Vec<_> = counts.policies().map(|(entry, packets)| (entry.id.0, packets)).collect();
//! assert_eq!((by_id, counts.unmatched()), (vec![(1, 1), (2, 1)], 1));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod compiled;
mod counts;
#[cfg(feature = "alloc")]
mod decorrelate;
#[cfg(feature = "alloc")]
mod list;
#[cfg(all(test, feature = "alloc"))]
mod tests;

use core::fmt;

pub use compiled::{CellsError, OpenError, Spd, SpdWorker};
pub use counts::{Count, Counts};
#[cfg(feature = "alloc")]
pub use decorrelate::{DecorrelateError, Decorrelated, DisjointEntry, decorrelate};
#[cfg(feature = "alloc")]
pub use list::{Order, Policy, PolicyError, PolicyList};

use crate::selector::{PairError, PortRange, Selector, TrafficSelector, has_one_value};

/// What becomes of a packet that a policy covers: the processing choices of RFC 4301 section 4.4.1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum Action {
    /// It may not cross the boundary.
    #[default]
    Discard = 0,
    /// It crosses without IPsec.
    Bypass = 1,
    /// It crosses on an SA only.
    Protect = 2,
}

impl Action {
    /// All actions, in the order of their codes.
    pub const ALL: [Self; 3] = [Self::Discard, Self::Bypass, Self::Protect];

    /// The action of a code, or `None` if there is none.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Discard),
            1 => Some(Self::Bypass),
            2 => Some(Self::Protect),
            _ => None,
        }
    }

    /// `discard`, `bypass` or `protect`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discard => "discard",
            Self::Bypass => "bypass",
            Self::Protect => "protect",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which way packets go, seen from the protected side.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Direction {
    /// Towards it: the source is the remote side. Decrypted packets, and those that came in the
    /// clear (SPD-I).
    Inbound = 0,
    /// Away from it: the source is the local side (SPD-O, SPD-S).
    Outbound = 1,
}

impl Direction {
    /// The selector that one local and one remote traffic selector make for packets of this
    /// direction, or `None` if no packet can match both.
    ///
    /// The one value of ICMP, ICMPv6 and Mobility Header is the side's that the packet comes from:
    /// the remote side says what may be received, the local side what may be sent (RFC 4301 section
    /// 4.4.1.3). The other side's ports become ANY.
    ///
    /// # Errors
    /// [`PairError`]: one of the two breaks [`TrafficSelector::validate`].
    ///
    /// # Examples
    /// ```
    /// use espial::spd::Direction;
    ///
    /// let local = "10.1.0.0/16[icmp/8/0]".parse().unwrap();
    /// let remote = "10.2.0.0/16[icmp/0/0]".parse().unwrap();
    /// let out = Direction::Outbound.selector(&local, &remote).unwrap().unwrap();
    /// assert_eq!((out.local_ports.lo(), out.remote_ports.is_any()), (8 << 8, true));
    /// let inbound = Direction::Inbound.selector(&local, &remote).unwrap().unwrap();
    /// assert_eq!((inbound.remote_ports.lo(), inbound.local_ports.is_any()), (0, true));
    /// ```
    pub fn selector(
        self,
        local: &TrafficSelector,
        remote: &TrafficSelector,
    ) -> Result<Option<Selector>, PairError> {
        let one = Selector::pair(local, remote)?;
        Ok(one.map(|one| {
            let ports = Selector { remote_ports: remote.ports, local_ports: local.ports, ..one };
            self.turned(&self.as_inbound(&ports))
        }))
    }

    /// The selector as inbound packets are compared with it (I1, I2).
    pub(crate) fn as_inbound(self, selector: &Selector) -> Selector {
        let mut view = self.turned(selector);
        if has_one_value(view.protocol) {
            view.local_ports = PortRange::ANY;
        }
        view
    }

    /// The selector with both sides exchanged if packets go out; undoes itself.
    fn turned(self, selector: &Selector) -> Selector {
        match self {
            Self::Inbound => *selector,
            Self::Outbound => Selector {
                remote: selector.local,
                local: selector.remote,
                protocol: selector.protocol,
                remote_ports: selector.local_ports,
                local_ports: selector.remote_ports,
            },
        }
    }
}

/// The caller's number for a policy: any value, once in a list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PolicyId(pub u32);

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy {}", self.0)
    }
}

/// A policy as packets know it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// The caller's number.
    pub id: PolicyId,
    /// Its place in the order, from 0.
    pub place: u32,
    /// What becomes of packets.
    pub action: Action,
}

/// What an SPD says of a packet. Without a policy that is DISCARD (RFC 4301 section 4.4.1).
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Answer(Option<Entry>);

impl Answer {
    /// What becomes of the packet.
    #[inline]
    pub fn action(self) -> Action {
        self.0.map_or(Action::Discard, |entry| entry.action)
    }

    /// The first policy that covers the packet, or `None`: the default, DISCARD.
    #[inline]
    pub fn entry(self) -> Option<Entry> {
        self.0
    }

    /// True if the packet may cross without IPsec: its policy says BYPASS.
    ///
    /// Inbound, a packet in the clear that meets a PROTECT policy is discarded (RFC 4301 section
    /// 5.2 step 3).
    #[inline]
    pub fn admits_clear(self) -> bool {
        self.action() == Action::Bypass
    }

    /// True if a packet may come on an SA that was made for `policy`: that is the first policy that
    /// covers it, and says PROTECT.
    ///
    /// A decrypted packet that meets a BYPASS policy, or another PROTECT policy, must not pass
    /// (RFC 4301 section 5.2 step 4; T3, T6). The SA's own selectors are asked beside it.
    #[inline]
    pub fn admits_from(self, policy: PolicyId) -> bool {
        self.0.is_some_and(|entry| entry.action == Action::Protect && entry.id == policy)
    }
}
