//! Narrowing: what of a configured list a proposal leaves (RFC 7296 section 2.9).
//!
//! ```text
//! configured --expand: hosts for placeholders--> entries --x supplied--> intersections
//!            --keep those that lie in no other--> selected
//! ```
//!
//! Order: configured entries as written, under each its hosts as given, under each the supplied
//! selectors as proposed. An entry that lies inside another is left out; of equal ones the first
//! stays. A placeholder without a host matches nothing and lies in nothing, so two of them stay.

use core::fmt;
use core::net::IpAddr;

use super::{AddrRange, PortRange, TrafficSelector, addr_bits};

/// One entry of a configured list of traffic selectors.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Configured {
    /// A selector as it stands.
    Fixed(TrafficSelector),
    /// A placeholder for the hosts that the negotiation brings (an address of the IKE SA, a
    /// virtual address): it matches nothing until they are known.
    Dynamic {
        /// Next layer protocol; 0 is ANY.
        protocol: u8,
        /// Ports, ICMP values or Mobility Header values.
        ports: PortRange,
    },
}

impl Configured {
    /// The selector, unless it is still a placeholder.
    pub fn fixed(&self) -> Option<&TrafficSelector> {
        match self {
            Self::Fixed(selector) => Some(selector),
            Self::Dynamic { .. } => None,
        }
    }

    /// True if every packet of this entry is one of `other`; never with a placeholder.
    pub fn is_contained_in(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fixed(one), Self::Fixed(other)) => one.is_contained_in(other),
            _ => false,
        }
    }

    /// The entry with this host as its address, or `None` if a fixed entry does not include it.
    ///
    /// The unspecified address stands for any host: a placeholder becomes the whole family, a fixed
    /// entry stays as it is and never grows.
    pub fn at_host(&self, host: IpAddr) -> Option<Self> {
        let selector = match *self {
            Self::Dynamic { protocol, ports } if host.is_unspecified() => {
                TrafficSelector { addrs: AddrRange::all(addr_bits(host).0), protocol, ports }
            }
            Self::Dynamic { protocol, ports } => {
                TrafficSelector { addrs: host.into(), protocol, ports }
            }
            Self::Fixed(selector) if host.is_unspecified() => selector,
            Self::Fixed(selector) if selector.includes(host) => {
                TrafficSelector { addrs: host.into(), ..selector }
            }
            Self::Fixed(_) => return None,
        };
        Some(Self::Fixed(selector))
    }
}

impl From<TrafficSelector> for Configured {
    fn from(selector: TrafficSelector) -> Self {
        Self::Fixed(selector)
    }
}

/// Which configured entries the hosts apply to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum HostRule {
    /// Placeholders take the hosts; fixed entries stay.
    DynamicOnly,
    /// Fixed entries too are cut to the hosts that they include, and go if they include none: for
    /// the initiator of transport mode, where both ends are hosts (`selected_force_dynamic`).
    EveryEntry,
}

/// What [`narrow`] wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Narrowing {
    /// Number of entries written, at the front.
    pub count: usize,
    /// Some entry, after the hosts were put in, does not lie inside one selected entry, and so the
    /// proposal left less than was configured. False if nothing was proposed.
    ///
    /// A configured range that is proposed in two halves counts as narrowed: entries are not
    /// joined.
    pub narrowed: bool,
}

/// The slice of the caller is too short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NarrowError {
    /// A length that is enough; entries that fall out as duplicates may make the result shorter.
    pub needed: usize,
    /// The length given.
    pub given: usize,
}

impl fmt::Display for NarrowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, given } = self;
        write!(f, "the list has room for {given} traffic selectors and may need {needed}")
    }
}

impl core::error::Error for NarrowError {}

/// The configured entries with the hosts put in; as configured if there are no hosts.
fn expand<'a>(
    config: &'a [Configured],
    hosts: &'a [IpAddr],
    rule: HostRule,
) -> impl Iterator<Item = Configured> + Clone + 'a {
    config.iter().flat_map(move |entry| {
        let stays = hosts.is_empty() || (entry.fixed().is_some() && rule == HostRule::DynamicOnly);
        let hosts = if stays { &[] } else { hosts };
        let expanded = hosts.iter().filter_map(|&host| entry.at_host(host));
        stays.then_some(*entry).into_iter().chain(expanded)
    })
}

/// The selection with its duplicates, in order.
fn candidates<'a>(
    config: &'a [Configured],
    supplied: Option<&'a [TrafficSelector]>,
    hosts: &'a [IpAddr],
    rule: HostRule,
) -> impl Iterator<Item = Configured> + 'a {
    expand(config, hosts, rule).flat_map(move |entry| {
        let as_configured = supplied.is_none().then_some(entry);
        let cut = supplied
            .unwrap_or_default()
            .iter()
            .filter_map(move |proposed| entry.fixed()?.intersection(proposed))
            .map(Configured::Fixed);
        as_configured.into_iter().chain(cut)
    })
}

/// Selects what is both configured and supplied, without duplicates, into `out`.
///
/// With `supplied` none, nothing was proposed, and the configuration itself is selected. Without
/// hosts a placeholder stays one; it is selected only if nothing was proposed. An empty selection
/// is for the caller to answer with TS_UNACCEPTABLE.
///
/// # Errors
/// [`NarrowError`]: `out` is too short; what is in it then means nothing.
///
/// # Examples
/// ```
/// use espial::selector::{Configured, HostRule, PortRange, TrafficSelector, narrow};
///
/// let any = PortRange::ANY;
/// let config = [
///     Configured::Dynamic { protocol: 0, ports: any },
///     Configured::Fixed(TrafficSelector::any("10.2.0.0/16".parse().unwrap())),
/// ];
/// let supplied = [TrafficSelector::any("10.0.0.0/8".parse().unwrap())];
/// let hosts = ["10.9.9.9".parse().unwrap(), "192.0.2.1".parse().unwrap()];
/// let mut out = config;
/// let narrowing =
///     narrow(&config, Some(&supplied), &hosts, HostRule::DynamicOnly, &mut out).unwrap();
/// assert_eq!(narrowing.count, 2);
/// assert_eq!(out[0], TrafficSelector::any("10.9.9.9".parse().unwrap()).into());
/// assert_eq!(out[1], config[1]);
/// assert!(narrowing.narrowed, "192.0.2.1 was not proposed");
/// ```
pub fn narrow(
    config: &[Configured],
    supplied: Option<&[TrafficSelector]>,
    hosts: &[IpAddr],
    rule: HostRule,
    out: &mut [Configured],
) -> Result<Narrowing, NarrowError> {
    let mut count = 0;
    for entry in candidates(config, supplied, hosts, rule) {
        match insert(out, count, entry) {
            Some(now) => count = now,
            None => {
                let needed = candidates(config, supplied, hosts, rule).count();
                return Err(NarrowError { needed, given: out.len() });
            }
        }
    }
    let selected = &out[..count];
    let narrowed = supplied.is_some() && is_narrowed(expand(config, hosts, rule), selected);
    Ok(Narrowing { count, narrowed })
}

fn is_narrowed(mut expanded: impl Iterator<Item = Configured>, selected: &[Configured]) -> bool {
    expanded.any(|entry| !selected.iter().any(|one| entry.is_contained_in(one)))
}

/// Adds an entry to the `count` at the front of `list`, of which none lies in another, and keeps
/// it so; returns the new count, or `None` if there is no room.
fn insert(list: &mut [Configured], count: usize, entry: Configured) -> Option<usize> {
    let present = list.get(..count)?;
    if present.iter().any(|one| entry.is_contained_in(one)) {
        return Some(count);
    }
    let mut kept = 0;
    for next in 0..count {
        if !list[next].is_contained_in(&entry) {
            list[kept] = list[next];
            kept += 1;
        }
    }
    *list.get_mut(kept)? = entry;
    Some(kept + 1)
}

/// Leaves out every entry that lies inside another, and of equal ones all but the first; returns
/// how many stay, at the front and in their order.
pub fn dedupe(list: &mut [Configured]) -> usize {
    let mut count = 0;
    for next in 0..list.len() {
        // There is always room: no more than `next` entries have been kept so far.
        count = insert(list, count, list[next]).unwrap_or(count);
    }
    count
}

/// [`narrow`] into a list of its own: the selected entries, and whether they are fewer.
#[cfg(feature = "alloc")]
pub fn narrow_to_vec(
    config: &[Configured],
    supplied: Option<&[TrafficSelector]>,
    hosts: &[IpAddr],
    rule: HostRule,
) -> (alloc::vec::Vec<Configured>, bool) {
    let mut selected: alloc::vec::Vec<_> = candidates(config, supplied, hosts, rule).collect();
    let count = dedupe(&mut selected);
    selected.truncate(count);
    let narrowed = supplied.is_some() && is_narrowed(expand(config, hosts, rule), &selected);
    (selected, narrowed)
}

/// [`dedupe`] over a copy.
#[cfg(feature = "alloc")]
pub fn dedupe_to_vec(list: &[Configured]) -> alloc::vec::Vec<Configured> {
    let mut list = list.to_vec();
    let count = dedupe(&mut list);
    list.truncate(count);
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A long list of small entries is replaced by one that holds them all, in the same slots.
    #[test]
    fn an_entry_may_push_out_many() {
        let at = |lo, hi| Configured::from(TrafficSelector::any(AddrRange::V4 { lo, hi }));
        let mut list = [at(1, 1), at(9, 9), at(2, 2), at(3, 3), at(0, 5)];
        assert_eq!(dedupe(&mut list), 2);
        assert_eq!(list[..2], [at(9, 9), at(0, 5)]);
    }
}
