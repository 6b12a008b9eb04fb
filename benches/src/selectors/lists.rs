//! Lists as filters hold them: access lists, firewalls, chains.
//!
//! A profile says per mille how often a field is what. Addresses come from a pool, as a network's do:
//! one block (IPv4 /16, IPv6 /48) for 64 selectors, four at least, some drawn more often than others;
//! 16 subnets (/24, /64) in each. Both sides have a pool of their own. No selector is twice in a
//! list. Those that say more tend to stand first, as exceptions do before a rule: sorted by how many
//! addresses they cover, give or take a factor of 2^12 for each.

use std::collections::HashSet;

use espial::headers::{Family, protocol};
use espial::selector::{AddrRange, PortRange, Selector};

use super::{last, ports, prefix};
use crate::Rng;

/// How often a field of a list is what, per mille.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Remote addresses.
    pub remote: Lengths,
    /// Local addresses.
    pub local: Lengths,
    /// Selectors whose two addresses are both ANY: those are TCP or UDP to one port.
    pub both_any: usize,
    /// Protocols.
    pub protocols: Protocols,
    /// Remote ports of TCP and UDP.
    pub remote_ports: Ports,
    /// Local ports of TCP and UDP.
    pub local_ports: Ports,
}

/// Lengths of prefixes, IPv4's. IPv6's are /32 to /46, /48 to /62, /64 to /120 by eights, /128.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    /// Every address; of selectors whose other side is not.
    pub any: usize,
    /// /8 to /15.
    pub blocks: usize,
    /// /16 to /23.
    pub networks: usize,
    /// /24 to /31.
    pub subnets: usize,
    /// /32.
    pub hosts: usize,
}

/// Protocols.
#[derive(Clone, Copy, Debug)]
pub struct Protocols {
    /// Every protocol.
    pub any: usize,
    /// TCP.
    pub tcp: usize,
    /// UDP.
    pub udp: usize,
    /// ICMP, ICMPv6: half of them one type.
    pub icmp: usize,
    /// GRE, OSPF and the like.
    pub other: usize,
}

/// Ports.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// Every port.
    pub any: usize,
    /// One port: half of them one of 24 services.
    pub one: usize,
    /// 0 to 1023.
    pub low: usize,
    /// 1024 to 65535.
    pub high: usize,
    /// From one random port to up to 1000 behind it.
    pub range: usize,
}

/// An access list.
pub const ACL: Profile = Profile {
    remote: Lengths { any: 100, blocks: 20, networks: 150, subnets: 380, hosts: 350 },
    local: Lengths { any: 5, blocks: 5, networks: 90, subnets: 200, hosts: 700 },
    both_any: 1,
    protocols: Protocols { any: 120, tcp: 700, udp: 120, icmp: 50, other: 10 },
    remote_ports: Ports { any: 980, one: 5, low: 0, high: 15, range: 0 },
    local_ports: Ports { any: 100, one: 650, low: 10, high: 90, range: 150 },
};

/// A firewall's list.
pub const FW: Profile = Profile {
    remote: Lengths { any: 350, blocks: 60, networks: 150, subnets: 200, hosts: 240 },
    local: Lengths { any: 250, blocks: 50, networks: 150, subnets: 200, hosts: 350 },
    both_any: 2,
    protocols: Protocols { any: 150, tcp: 550, udp: 200, icmp: 60, other: 40 },
    remote_ports: Ports { any: 650, one: 80, low: 10, high: 230, range: 30 },
    local_ports: Ports { any: 250, one: 400, low: 20, high: 180, range: 150 },
};

/// A list of both kinds.
pub const IPC: Profile = Profile {
    remote: Lengths { any: 60, blocks: 20, networks: 200, subnets: 350, hosts: 370 },
    local: Lengths { any: 80, blocks: 20, networks: 200, subnets: 320, hosts: 380 },
    both_any: 1,
    protocols: Protocols { any: 350, tcp: 380, udp: 200, icmp: 50, other: 20 },
    remote_ports: Ports { any: 780, one: 130, low: 5, high: 60, range: 25 },
    local_ports: Ports { any: 450, one: 380, low: 10, high: 80, range: 80 },
};

const SERVICES: [u16; 24] = [
    20, 21, 22, 23, 25, 53, 67, 69, 80, 110, 123, 135, 139, 143, 161, 179, 389, 443, 445, 514, 993,
    1433, 3306, 3389,
];
const OTHERS: [u8; 4] = [2, 47, 89, 112];

/// Which of the weights was drawn.
fn drawn(rng: &mut Rng, weights: &[usize]) -> usize {
    let mut at = rng.below(weights.iter().sum());
    weights
        .iter()
        .take_while(|weight| at.checked_sub(**weight).inspect(|left| at = *left).is_some())
        .count()
}

/// The networks of one side.
struct Pool {
    family: Family,
    /// Block and subnets, as addresses whose other bits are 0.
    blocks: Vec<(u128, [u128; 16])>,
}

impl Pool {
    fn new(n: usize, family: Family, rng: &mut Rng) -> Self {
        let block = |rng: &mut Rng| match family {
            // From 1.0.0.0 to 223.255.0.0.
            Family::V4 => {
                let block = (0x100 + rng.below(0xdf00) as u128) << 16;
                (block, std::array::from_fn(|_| block | (rng.below(256) as u128) << 8))
            }
            Family::V6 => {
                let block = 0x2 << 124 | u128::from(rng.next() >> 20) << 80 & !(0xf << 124);
                (block, std::array::from_fn(|_| block | (rng.below(1 << 16) as u128) << 64))
            }
        };
        Self { family, blocks: (0..(n / 64).max(4)).map(|_| block(rng)).collect() }
    }

    fn draw(&self, lengths: &Lengths, rng: &mut Rng) -> AddrRange {
        let Lengths { any: _, blocks, networks, subnets, hosts } = *lengths;
        let (v4, v6) = match drawn(rng, &[blocks, networks, subnets, hosts]) {
            0 => (8, 32),
            1 => (16, 48),
            2 => (24, 64),
            _ => (32, 128),
        };
        let more = rng.below(8) as u32;
        let length = match (self.family, v4) {
            (Family::V4, 32) => 32,
            (Family::V6, 32) => 128,
            (Family::V4, _) => v4 + more,
            (Family::V6, 24) => v6 + 8 * more,
            (Family::V6, _) => v6 + 2 * more,
        };
        // The lower of two: low numbers are drawn more often.
        let of = self.blocks.len();
        let (_, subnets) = self.blocks[rng.below(of).min(rng.below(of))];
        let host = match self.family {
            Family::V4 => u128::from(rng.next() & 0xff),
            // Half are numbered by hand.
            Family::V6 => u128::from(if rng.chance(1, 2) { rng.next() & 0xff } else { rng.next() }),
        };
        prefix(self.family, rng.pick(&subnets) | host, length)
    }
}

impl Ports {
    fn draw(&self, rng: &mut Rng) -> PortRange {
        let Self { any, one, low, high, range } = *self;
        match drawn(rng, &[any, one, low, high, range]) {
            0 => PortRange::ANY,
            1 => one_port(rng),
            2 => ports(0, 1023),
            3 => ports(1024, u16::MAX),
            _ => {
                let lo = 1 + rng.below(64_000) as u16;
                ports(lo, lo + 1 + rng.below(1000) as u16)
            }
        }
    }
}

fn one_port(rng: &mut Rng) -> PortRange {
    let port = if rng.chance(1, 2) { *rng.pick(&SERVICES) } else { 1 + rng.below(0xffff) as u16 };
    ports(port, port)
}

fn one(profile: &Profile, pools: &[Pool; 2], rng: &mut Rng) -> Selector {
    let family = pools[0].family;
    let any = prefix(family, 0, 0);
    if rng.chance(profile.both_any, 1000) {
        return Selector {
            remote: any,
            local: any,
            protocol: *rng.pick(&[protocol::TCP, protocol::UDP]),
            remote_ports: PortRange::ANY,
            local_ports: one_port(rng),
        };
    }
    let (of_remote, of_local) = (&profile.remote, &profile.local);
    let not_any = 1000 - of_remote.any - of_local.any;
    let (remote, local) = match drawn(rng, &[of_remote.any, of_local.any, not_any]) {
        0 => (any, pools[1].draw(of_local, rng)),
        1 => (pools[0].draw(of_remote, rng), any),
        _ => (pools[0].draw(of_remote, rng), pools[1].draw(of_local, rng)),
    };
    let Protocols { any, tcp, udp, icmp, other } = profile.protocols;
    let (protocol, remote_ports, local_ports) = match drawn(rng, &[any, tcp, udp, icmp, other]) {
        0 => (0, PortRange::ANY, PortRange::ANY),
        3 => {
            let icmp = if family == Family::V4 { protocol::ICMP } else { protocol::ICMPV6 };
            let of_type = |lo: u16| ports(lo, lo | 0xff);
            let values = if rng.chance(1, 2) {
                PortRange::ANY
            } else {
                of_type((rng.below(20) as u16) << 8)
            };
            (icmp, values, PortRange::ANY)
        }
        4 => (*rng.pick(&OTHERS), PortRange::ANY, PortRange::ANY),
        at => {
            let protocol = if at == 1 { protocol::TCP } else { protocol::UDP };
            (protocol, profile.remote_ports.draw(rng), profile.local_ports.draw(rng))
        }
    };
    Selector { remote, local, protocol, remote_ports, local_ports }
}

/// A list of so many selectors.
///
/// # Panics
/// Never, as long as a profile leaves room for so many different ones.
pub fn list(profile: &Profile, n: usize, family: Family, rng: &mut Rng) -> Vec<Selector> {
    let pools = [Pool::new(n, family, rng), Pool::new(n, family, rng)];
    let (mut list, mut seen) = (Vec::with_capacity(n), HashSet::with_capacity(n));
    for _ in 0..16 * n {
        if list.len() == n {
            break;
        }
        let selector = one(profile, &pools, rng);
        if seen.insert(selector) {
            // Bits of addresses, IPv6's as if they were IPv4's.
            let bits = |range: &AddrRange| {
                let free = 128 - range.following().leading_zeros();
                if last(family) == u128::MAX { free / 4 } else { free }
            };
            let covers = bits(&selector.remote) + bits(&selector.local);
            list.push((covers + rng.below(25) as u32, selector));
        }
    }
    assert_eq!(list.len(), n, "a profile with room for so many selectors");
    list.sort_by_key(|(covers, _)| *covers);
    list.into_iter().map(|(_, selector)| selector).collect()
}
