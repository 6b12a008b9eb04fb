//! Tunnels of a hub to many sites, as their administrators write them.
//!
//! Each tunnel has the cross product of 1, 2, 4, 8 or 16 prefixes on each side. Remote ones lie in
//! the site's own network (IPv4 /20, IPv6 /60), which no other site has; local ones in one of 256
//! networks of the hub, which all share. Prefixes are IPv4 /24 to /28 or IPv6 /64. One tunnel of 4
//! admits only TCP or UDP, half of these one local port or a range.

use espial::headers::{Family, protocol};
use espial::selector::{AddrRange, PortRange, Selector};

use super::{ports, prefix};
use crate::Rng;

/// The most sites.
const SITES: usize = 1 << 19;

/// The selectors of so many tunnels, `each` of them one's.
///
/// # Panics
/// If `each` is no square up to 256, or tunnels are more than 2^19.
pub fn tunnels(tunnels: usize, each: usize, family: Family, rng: &mut Rng) -> Vec<Selector> {
    let side = each.isqrt();
    assert!(side * side == each && (1..=16).contains(&side), "selectors of a tunnel: 1 to 256");
    assert!(tunnels <= SITES, "sites with a network each");
    let mut selectors = Vec::with_capacity(tunnels * each);
    // An odd number times each place: all differ, and neighbours are far apart.
    let factor = rng.next() as usize | 1;
    for tunnel in 0..tunnels {
        let site = tunnel.wrapping_mul(factor) % SITES;
        let (mut remote, mut local): (Vec<u32>, Vec<u32>) = ((0..16).collect(), (0..256).collect());
        rng.shuffle(&mut remote);
        rng.shuffle(&mut local);
        let (protocol, local_ports) = match rng.below(16) {
            0 => (protocol::TCP, PortRange::ANY),
            1 => (protocol::UDP, PortRange::ANY),
            2 => (protocol::TCP, ports(443, 443)),
            3 => (protocol::UDP, ports(5000, 5999)),
            _ => (0, PortRange::ANY),
        };
        let remote: Vec<_> =
            remote[..side].iter().map(|place| network(rng, family, site << 4, *place)).collect();
        let local: Vec<_> =
            local[..side].iter().map(|place| network(rng, family, SITES << 4, *place)).collect();
        for remote in remote {
            selectors.extend(local.iter().map(|local| Selector {
                remote,
                local: *local,
                protocol,
                remote_ports: PortRange::ANY,
                local_ports,
            }));
        }
    }
    selectors
}

/// A prefix at a place in the networks that start at `of`: 2^23 of them are sites', then the hub's.
fn network(rng: &mut Rng, family: Family, of: usize, place: u32) -> AddrRange {
    let network = of as u128 + u128::from(place);
    match family {
        Family::V4 => {
            prefix(family, network << 8 | rng.below(256) as u128, 24 + rng.below(5) as u32)
        }
        Family::V6 => prefix(family, 0x2001_0db8 << 96 | network << 64, 64),
    }
}
