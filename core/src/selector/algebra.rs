//! What selectors have in common, which is inside which, in what order, and how two sides make a
//! box. Ranges are compared as numbers of their family, never as octets (T15).
//!
//! A selector is a set of packets of one side: addresses x protocol x port values, where OPAQUE is
//! one value more, beside 0 to 65535. Protocol ANY and ports ANY are whole axes, so intersection
//! goes axis by axis, and `a` is contained in `b` if their intersection is `a` again.

use core::cmp::Ordering;
use core::fmt;
use core::iter::FusedIterator;
use core::net::IpAddr;

use super::{
    ANY_PROTOCOL, AddrRange, PortRange, Selector, SelectorError, TrafficSelector, addr_bits,
    has_one_value,
};
use crate::headers::{Fragment, InnerHeaders, NextLayer, protocol};
use crate::verdict::Field;

impl AddrRange {
    /// True if this address lies between the ends, both included (RFC 7296 section 3.13.1).
    pub fn contains(&self, addr: IpAddr) -> bool {
        let (family, addr) = addr_bits(addr);
        let (lo, hi) = self.bounds();
        family == self.family() && lo <= addr && addr <= hi
    }

    /// True if every address of `other` is one of this range.
    pub fn includes(&self, other: &Self) -> bool {
        self.intersection(other) == Some(*other)
    }

    /// The addresses of both, or `None` if there are none.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let (a, b) = (self.bounds(), other.bounds());
        let (lo, hi) = (a.0.max(b.0), a.1.min(b.1));
        (self.family() == other.family() && lo <= hi)
            .then(|| Self::from_bounds(self.family(), lo, hi))
    }

    /// The smallest range that holds both, or `None` if the families differ.
    pub fn hull(&self, other: &Self) -> Option<Self> {
        let (a, b) = (self.bounds(), other.bounds());
        (self.family() == other.family())
            .then(|| Self::from_bounds(self.family(), a.0.min(b.0), a.1.max(b.1)))
    }

    /// True if the range is one address.
    pub fn is_host(&self) -> bool {
        let (lo, hi) = self.bounds();
        lo == hi
    }

    /// How many addresses follow the first: the number of addresses less one, which always fits.
    pub fn following(&self) -> u128 {
        let (lo, hi) = self.bounds();
        hi.saturating_sub(lo)
    }

    /// The number of addresses, or `None` for all of IPv6, whose 2^128 is one more than fits.
    pub fn addresses(&self) -> Option<u128> {
        self.following().checked_add(1)
    }
}

impl Ord for AddrRange {
    /// IPv4 first, then the lower start, then the larger range.
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.bounds(), other.bounds());
        self.family().cmp(&other.family()).then(a.0.cmp(&b.0)).then(b.1.cmp(&a.1))
    }
}

impl PartialOrd for AddrRange {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PortRange {
    /// The values of both, or `None` if there are none.
    ///
    /// ANY includes OPAQUE, so those two give OPAQUE; OPAQUE and a range of values have nothing in
    /// common (RFC 7296 section 3.13.1, T19).
    pub const fn intersection(self, other: Self) -> Option<Self> {
        if self.is_any() {
            return Some(other);
        }
        if other.is_any() {
            return Some(self);
        }
        if self.is_opaque() && other.is_opaque() {
            return Some(Self::OPAQUE);
        }
        let lo = if self.lo > other.lo { self.lo } else { other.lo };
        let hi = if self.hi < other.hi { self.hi } else { other.hi };
        // With one side OPAQUE this is 65535 > something: no value, and not OPAQUE again.
        if lo <= hi { Some(Self { lo, hi }) } else { None }
    }
}

/// The protocol of both, where 0 is every protocol.
fn both_protocols(a: u8, b: u8) -> Option<u8> {
    match (a, b) {
        (ANY_PROTOCOL, one) | (one, ANY_PROTOCOL) => Some(one),
        _ => (a == b).then_some(a),
    }
}

impl TrafficSelector {
    /// The packets of both, or `None` if there are none: the step of narrowing (RFC 7296 section
    /// 2.9).
    ///
    /// # Examples
    /// ```
    /// use espial::selector::{PortRange, TrafficSelector};
    ///
    /// let ours = TrafficSelector::any("10.0.0.0/8".parse().unwrap());
    /// let web = PortRange::new(443, 443).unwrap();
    /// let theirs = TrafficSelector::new("10.9.0.0/16".parse().unwrap(), 6, web).unwrap();
    /// assert_eq!(ours.intersection(&theirs), Some(theirs));
    /// assert!(theirs.is_contained_in(&ours) && !ours.is_contained_in(&theirs));
    ///
    /// let opaque = TrafficSelector { ports: PortRange::OPAQUE, ..theirs };
    /// assert_eq!(theirs.intersection(&opaque), None);
    /// ```
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        Some(Self {
            addrs: self.addrs.intersection(&other.addrs)?,
            protocol: both_protocols(self.protocol, other.protocol)?,
            ports: self.ports.intersection(other.ports)?,
        })
    }

    /// True if every packet of this selector is one of `other`.
    pub fn is_contained_in(&self, other: &Self) -> bool {
        self.intersection(other) == Some(*self)
    }

    /// True if the address is in the range, whatever protocol and ports are.
    pub fn includes(&self, addr: IpAddr) -> bool {
        self.addrs.contains(addr)
    }

    /// True if the range is exactly this address, whatever protocol and ports are.
    pub fn is_host(&self, addr: IpAddr) -> bool {
        self.addrs == addr.into()
    }

    /// True if the range is one address, whichever.
    pub fn is_single_host(&self) -> bool {
        self.addrs.is_host()
    }
}

impl Ord for TrafficSelector {
    /// By [`AddrRange`], then the lower protocol, the lower first port, the larger last port.
    fn cmp(&self, other: &Self) -> Ordering {
        self.addrs
            .cmp(&other.addrs)
            .then(self.protocol.cmp(&other.protocol))
            .then(cmp_ports(self.ports, other.ports))
    }
}

impl PartialOrd for TrafficSelector {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn cmp_ports(a: PortRange, b: PortRange) -> Ordering {
    a.lo.cmp(&b.lo).then(b.hi.cmp(&a.hi))
}

/// Which side of a tunnel a selector describes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Side {
    /// This gateway's: the destination of inbound packets.
    Local,
    /// The peer's: the source of inbound packets.
    Remote,
}

/// A traffic selector that cannot be part of a box.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PairError {
    /// The side it was given for.
    pub side: Side,
    /// Its place in that side's list; 0 for a pair.
    pub index: usize,
    /// What is wrong with it.
    pub cause: SelectorError,
}

impl fmt::Display for PairError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Local => "local",
            Side::Remote => "remote",
        };
        write!(f, "{side} selector {}: {}", self.index, self.cause)
    }
}

impl core::error::Error for PairError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.cause)
    }
}

fn validate_side(side: Side, selectors: &[TrafficSelector]) -> Result<(), PairError> {
    for (index, selector) in selectors.iter().enumerate() {
        selector.validate().map_err(|cause| PairError { side, index, cause })?;
    }
    Ok(())
}

impl Selector {
    /// The box that one local and one remote selector make, or `None` if no packet can match both:
    /// their families differ, or their protocols exclude each other.
    ///
    /// The one value of ICMP, ICMPv6 and Mobility Header is the remote side's, and `local_ports`
    /// becomes ANY: the remote side says what this system is willing to receive, the local side
    /// what it is willing to send (RFC 4301 section 4.4.1.3, T18). A remote OPAQUE therefore is
    /// "not to be received", and a local OPAQUE restricts nothing inbound.
    ///
    /// # Errors
    /// [`PairError`]: one of the two breaks [`TrafficSelector::validate`].
    ///
    /// # Examples
    /// ```
    /// use core::net::IpAddr;
    /// use espial::headers::{Endpoints, Fragment, InnerHeaders, NextLayer};
    /// use espial::selector::{Selector, TrafficSelector};
    ///
    /// let ours = TrafficSelector::any("10.180.244.0/24".parse().unwrap());
    /// let peers = TrafficSelector::any("10.190.9.0/24".parse().unwrap());
    /// let selector = Selector::pair(&ours, &peers).unwrap().unwrap();
    /// let packet = |src: [u8; 4], dst: [u8; 4]| InnerHeaders {
    ///     endpoints: Endpoints::new(IpAddr::from(src), IpAddr::from(dst)).unwrap(),
    ///     protocol: 1,
    ///     next_layer: NextLayer::Icmp(0),
    ///     fragment: Fragment::None,
    /// };
    /// assert!(selector.covers(&packet([10, 190, 9, 27], [10, 180, 244, 217])));
    /// assert!(!selector.covers(&packet([10, 180, 244, 217], [10, 190, 9, 27])));
    /// ```
    pub fn pair(
        local: &TrafficSelector,
        remote: &TrafficSelector,
    ) -> Result<Option<Self>, PairError> {
        validate_side(Side::Local, core::slice::from_ref(local))?;
        validate_side(Side::Remote, core::slice::from_ref(remote))?;
        Ok(Self::pair_valid(local, remote))
    }

    /// [`Selector::pair`] of two selectors that are known to be valid.
    fn pair_valid(local: &TrafficSelector, remote: &TrafficSelector) -> Option<Self> {
        let protocol = both_protocols(local.protocol, remote.protocol)?;
        if local.addrs.family() != remote.addrs.family() {
            return None;
        }
        Some(Self {
            remote: remote.addrs,
            local: local.addrs,
            protocol,
            remote_ports: remote.ports,
            local_ports: if has_one_value(protocol) { PortRange::ANY } else { local.ports },
        })
    }

    /// True if the packet matches every field of this box: the naive oracle of the
    /// [`matcher`](crate::matcher).
    ///
    /// The packet's source is compared with the remote side, its destination with the local side
    /// (RFC 4301 section 5.2, T1). A non-initial fragment, or another packet without a value,
    /// matches ANY and OPAQUE only (RFC 4301 section 7, T20).
    pub fn covers(&self, packet: &InnerHeaders) -> bool {
        self.first_mismatch(packet).is_none()
    }

    /// The first field of the packet that this box does not cover, or `None` if it covers all.
    ///
    /// The order is source, destination, protocol, then source port and destination port, or the
    /// ICMP value, or the Mobility Header type. Without a value, the packet's protocol says which.
    pub fn first_mismatch(&self, packet: &InnerHeaders) -> Option<Field> {
        if !self.remote.contains(packet.endpoints.src()) {
            return Some(Field::Src);
        }
        if !self.local.contains(packet.endpoints.dst()) {
            return Some(Field::Dst);
        }
        if self.protocol != ANY_PROTOCOL && self.protocol != packet.protocol {
            return Some(Field::Protocol);
        }
        let next_layer = match packet.fragment {
            Fragment::NonInitial => NextLayer::Opaque,
            Fragment::None | Fragment::First => packet.next_layer,
        };
        let (field, remote, local) = match next_layer {
            NextLayer::Ports { src, dst } => {
                (Field::SourcePort, self.remote_ports.contains(src), self.local_ports.contains(dst))
            }
            NextLayer::Icmp(value) => (Field::Icmp, self.remote_ports.contains(value), true),
            NextLayer::Mobility(value) => {
                (Field::Mobility, self.remote_ports.contains(value), true)
            }
            NextLayer::Opaque => {
                let remote = self.remote_ports.admits_opaque();
                match packet.protocol {
                    protocol::ICMP | protocol::ICMPV6 => (Field::Icmp, remote, true),
                    protocol::MOBILITY => (Field::Mobility, remote, true),
                    _ => (Field::SourcePort, remote, self.local_ports.admits_opaque()),
                }
            }
        };
        if !remote {
            return Some(field);
        }
        (!local).then_some(Field::DestinationPort)
    }

    /// The packets of both boxes, or `None` if there are none.
    ///
    /// Two Child SAs whose boxes intersect make the overlap of RFC 7296 section 2.9.1 (T3).
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        Some(Self {
            remote: self.remote.intersection(&other.remote)?,
            local: self.local.intersection(&other.local)?,
            protocol: both_protocols(self.protocol, other.protocol)?,
            remote_ports: self.remote_ports.intersection(other.remote_ports)?,
            local_ports: self.local_ports.intersection(other.local_ports)?,
        })
    }

    /// True if every packet that this box covers is covered by `other`.
    pub fn is_contained_in(&self, other: &Self) -> bool {
        self.intersection(other) == Some(*self)
    }
}

impl Ord for Selector {
    /// By remote range, local range, protocol, remote ports, local ports, each as in
    /// [`TrafficSelector`].
    fn cmp(&self, other: &Self) -> Ordering {
        self.remote
            .cmp(&other.remote)
            .then(self.local.cmp(&other.local))
            .then(self.protocol.cmp(&other.protocol))
            .then(cmp_ports(self.remote_ports, other.remote_ports))
            .then(cmp_ports(self.local_ports, other.local_ports))
    }
}

impl PartialOrd for Selector {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The boxes of a Child SA: every local selector with every remote one (RFC 7296 section 3.13),
/// local by local, without the pairs that no packet can match.
///
/// Both lists must be of one Child SA: the cross product of two Child SAs' lists admits packets
/// that neither was negotiated for (T5).
///
/// # Errors
/// [`PairError`]: the first selector, local ones first, that breaks [`TrafficSelector::validate`].
pub fn cross<'a>(
    locals: &'a [TrafficSelector],
    remotes: &'a [TrafficSelector],
) -> Result<Cross<'a>, PairError> {
    validate_side(Side::Local, locals)?;
    validate_side(Side::Remote, remotes)?;
    Ok(Cross { locals, remotes, next: 0 })
}

/// The iterator that [`cross`] returns.
#[derive(Clone, Debug)]
pub struct Cross<'a> {
    locals: &'a [TrafficSelector],
    remotes: &'a [TrafficSelector],
    /// Index into `remotes` under the first of `locals`.
    next: usize,
}

impl Iterator for Cross<'_> {
    type Item = Selector;

    fn next(&mut self) -> Option<Selector> {
        while let Some((local, rest)) = self.locals.split_first() {
            while let Some(remote) = self.remotes.get(self.next) {
                self.next += 1;
                if let Some(selector) = Selector::pair_valid(local, remote) {
                    return Some(selector);
                }
            }
            self.locals = rest;
            self.next = 0;
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let pairs = self.locals.len().checked_mul(self.remotes.len());
        (0, pairs.map(|pairs| pairs.saturating_sub(self.next)))
    }
}

impl FusedIterator for Cross<'_> {}

/// True if both lists hold the same boxes, in whatever order and however often.
///
/// Rekeyed SAs and those of RFC 9611 have equal selectors; "belongs to another SA" must not be
/// said of them (T7).
pub fn same_selectors(a: &[Selector], b: &[Selector]) -> bool {
    #[cfg(feature = "alloc")]
    if a.len().saturating_mul(b.len()) > 4096 {
        let sorted = |list: &[Selector]| {
            let mut list = list.to_vec();
            list.sort_unstable();
            list.dedup();
            list
        };
        return sorted(a) == sorted(b);
    }
    same_selectors_plain(a, b)
}

/// [`same_selectors`] without an allocator: quadratic, and the oracle of the other.
fn same_selectors_plain(a: &[Selector], b: &[Selector]) -> bool {
    a.iter().all(|one| b.contains(one)) && b.iter().all(|one| a.contains(one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::Endpoints;

    fn numbered(n: u32) -> Selector {
        let range = AddrRange::V4 { lo: n, hi: n + 1 };
        let (remote_ports, local_ports) = (PortRange::ANY, PortRange::ANY);
        Selector { remote: range, local: range, protocol: 0, remote_ports, local_ports }
    }

    #[test]
    fn large_and_small_sets_compare_alike() {
        let many: alloc::vec::Vec<_> = (0..70).map(numbered).collect();
        let mut other: alloc::vec::Vec<_> = (0..70).rev().map(numbered).collect();
        assert!(same_selectors(&many, &other) && same_selectors_plain(&many, &other));
        other[69] = numbered(70);
        assert!(!same_selectors(&many, &other) && !same_selectors_plain(&many, &other));
        assert!(!same_selectors(&many, &[]) && !same_selectors(&[], &many));
    }

    /// I4 holds by [`Selector::pair`]; local ports written by hand restrict no ICMP packet.
    #[test]
    fn one_value_is_never_compared_with_the_local_side() {
        let (icmp, closed) = (protocol::ICMP, PortRange { lo: 1, hi: 1 });
        let selector = Selector { protocol: icmp, local_ports: closed, ..numbered(0) };
        for next_layer in [NextLayer::Icmp(0), NextLayer::Icmp(1), NextLayer::Opaque] {
            let endpoints = Endpoints::V4 { src: 0, dst: 1 };
            let fragment = Fragment::None;
            let packet = InnerHeaders { endpoints, protocol: icmp, next_layer, fragment };
            assert_eq!(selector.first_mismatch(&packet), None);
        }
    }

    #[test]
    fn the_size_hint_of_a_cross_product_is_an_upper_bound() {
        let side = [TrafficSelector::any(AddrRange::V4 { lo: 0, hi: 9 }); 3];
        let mut boxes = cross(&side, &side[..2]).unwrap();
        for left in (0..=6).rev() {
            assert_eq!(boxes.size_hint().1, Some(left));
            assert_eq!(boxes.next().is_some(), left > 0);
        }
        assert_eq!(boxes.next(), None);
    }
}
