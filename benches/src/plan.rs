//! Configurations: tunnels, Child SAs, selectors and SAs.

use std::collections::BTreeSet;

use espial::headers::{Ipsec, Spi, protocol};
use espial::sad::SaKey;
use espial::selector::{self, AddrRange, PortRange, Selector, TrafficSelector};
use espial::verdict::{Mode, Modes};
use espial::{Capacity, Gateway, SaParams};

use crate::Rng;

/// How large a configuration is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// SAs in all.
    pub sas: usize,
    /// Selectors of each SA: 1, 4 or 16, or another square up to 64.
    pub selectors: usize,
}

/// A Child SA.
#[derive(Clone, Debug)]
pub struct ChildPlan {
    /// Index of its tunnel.
    pub tunnel: usize,
    /// Local traffic selectors.
    pub local: Vec<TrafficSelector>,
    /// Remote traffic selectors.
    pub remote: Vec<TrafficSelector>,
    /// Their cross product.
    pub selectors: Vec<Selector>,
}

/// An inbound SA.
#[derive(Clone, Copy, Debug)]
pub struct SaPlan {
    /// Index of its Child SA.
    pub child: usize,
    /// Its SPI.
    pub spi: u32,
}

/// A configuration, before it is installed anywhere.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Child SAs of each tunnel, as indices.
    pub tunnels: Vec<Vec<usize>>,
    /// Child SAs.
    pub children: Vec<ChildPlan>,
    /// SAs.
    pub sas: Vec<SaPlan>,
    /// What the tunnels enforce.
    pub mode: Mode,
    seed: u64,
}

impl Plan {
    /// The configuration of a shape.
    ///
    /// # Panics
    /// If the number of selectors is no square.
    pub fn new(shape: Shape, seed: u64) -> Self {
        Self::made(shape, seed, Networks::Private, Spread::Drawn)
    }

    /// A configuration of so many tunnels, each with so many Child SAs; SAs as many as divide evenly.
    ///
    /// # Panics
    /// As [`Plan::new`]; or if a tunnel's Child SAs have more than 256 remote prefixes, or there is no SA for each.
    pub fn even(shape: Shape, [tunnels, children]: [usize; 2], seed: u64) -> Self {
        let parallel = shape.sas / tunnels / children;
        assert!(parallel > 0, "an SA for each Child SA");
        assert!(shape.selectors.isqrt() * children <= 256, "prefixes of a tunnel");
        let sas = tunnels * children * parallel;
        let spread = Spread::Even { children, parallel };
        Self::made(Shape { sas, ..shape }, seed, Networks::Private, spread)
    }

    /// The same with tunnels that enforce another mode than strict-sa. What generators expect of drops is then not so.
    #[must_use]
    pub fn enforcing(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    /// The same with IPv4 only, and with remote networks that no two tunnels share: no selector of one
    /// Child SA overlaps with one of another.
    ///
    /// # Panics
    /// As [`Plan::new`]; or if there are more tunnels than /16 networks, 16 384: of 65 536 SAs there
    /// never are.
    pub fn disjoint(shape: Shape, seed: u64) -> Self {
        let plan = Self::made(shape, seed, Networks::Disjoint, Spread::Drawn);
        assert!(plan.tunnels.len() <= 1 << 14, "a network for each tunnel");
        plan
    }

    fn made(shape: Shape, seed: u64, networks: Networks, spread: Spread) -> Self {
        let prefixes = shape.selectors.isqrt();
        assert_eq!(prefixes * prefixes, shape.selectors, "selectors of an SA: 1, 4, 16");
        let mut rng = Rng::new(seed, 1);
        let (mut tunnels, mut children) = (Vec::new(), Vec::new());
        let (mut sas, mut spis) = (Vec::new(), BTreeSet::new());
        while sas.len() < shape.sas {
            let tunnel = tunnels.len();
            let first = children.len();
            // Third octets of the remote prefixes: no two Child SAs of a tunnel share one.
            let mut places: Vec<u8> = (0..=u8::MAX).collect();
            rng.shuffle(&mut places);
            let most = match spread {
                Spread::Drawn => 4 + rng.below(9),
                Spread::Even { children, .. } => children,
            };
            for places in places.chunks(prefixes).take(most) {
                if sas.len() >= shape.sas {
                    break;
                }
                let parallel = match spread {
                    Spread::Drawn => [1, 1, 1, 2, 2, 4][rng.below(6)].min(shape.sas - sas.len()),
                    Spread::Even { parallel, .. } => parallel,
                };
                for _ in 0..parallel {
                    let spi = loop {
                        let spi = 256 + rng.below((1 << 32) - 256) as u32;
                        if spis.insert(spi) {
                            break spi;
                        }
                    };
                    sas.push(SaPlan { child: children.len(), spi });
                }
                children.push(child(&mut rng, tunnel, places, networks));
            }
            tunnels.push((first..children.len()).collect());
        }
        Self { tunnels, children, sas, mode: Mode::StrictSa, seed }
    }

    /// Selectors over all Child SAs.
    pub fn selectors(&self) -> usize {
        self.children.iter().map(|child| child.selectors.len()).sum()
    }

    /// A gateway with this configuration, exactly as large as it must be, for one worker.
    ///
    /// # Panics
    /// If the gateway refuses it.
    pub fn install(&self) -> Gateway<'static> {
        let capacity = Capacity {
            tunnels: self.tunnels.len() as u32,
            children: self.children.len() as u32,
            selectors: self.selectors() as u32,
            sas: self.sas.len() as u32,
            sas_dst: 0,
            sas_dst_src: 0,
            sas_allocated: 0,
            replay_window: 0,
            workers: 1,
        };
        let mut rng = Rng::new(self.seed, 2);
        let mut gateway = Gateway::new(&capacity, [rng.next(), rng.next()]).expect("fits memory");
        let (control, _) = gateway.split();
        let mut ids = Vec::new();
        for children in &self.tunnels {
            let tunnel = control.add_tunnel(self.mode, Modes::NONE).expect("has room");
            for child in &self.children[children[0]..=children[children.len() - 1]] {
                ids.push(control.add_child(tunnel, &child.local, &child.remote).expect("has room"));
            }
        }
        control.publish().expect("nobody reads yet");
        for sa in &self.sas {
            let key = SaKey::new(Ipsec::Esp, Spi(sa.spi), None, None).expect("SPI is not 0");
            let params = SaParams::new(key);
            control.add_sa(ids[sa.child], &params).expect("has room");
        }
        gateway
    }
}

/// How many Child SAs a tunnel has, and SAs each of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spread {
    /// 4 to 12, and 1, 2 or 4.
    Drawn,
    Even {
        children: usize,
        parallel: usize,
    },
}

/// What tunnels have for remote networks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Networks {
    /// Private ones, again after 128 tunnels, and IPv6.
    Private,
    /// One of 64.0.0.0/2 for each.
    Disjoint,
}

/// A Child SA whose remote prefixes have these places in the tunnel's remote network.
fn child(rng: &mut Rng, tunnel: usize, places: &[u8], networks: Networks) -> ChildPlan {
    let v6 = rng.chance(1, 8) && networks == Networks::Private;
    let any = (0, PortRange::ANY);
    let (protocol, ports) = if rng.chance(1, 4) {
        let ports = |lo, hi| PortRange::new(lo, hi).expect("lo <= hi");
        *rng.pick(&[
            (protocol::TCP, PortRange::ANY),
            (protocol::UDP, PortRange::ANY),
            (protocol::TCP, ports(443, 443)),
            (protocol::UDP, ports(5000, 5999)),
        ])
    } else {
        any
    };
    let remote = places.iter().map(|place| {
        let addrs = network(rng, v6, tunnel, 0, *place);
        TrafficSelector::any(match (addrs, networks) {
            (AddrRange::V4 { lo, hi }, Networks::Disjoint) => {
                let own = |addr| 1 << 30 | (tunnel as u32) << 16 | addr & 0xffff;
                AddrRange::V4 { lo: own(lo), hi: own(hi) }
            }
            _ => addrs,
        })
    });
    let remote: Vec<_> = remote.collect();
    let local = places.iter().map(|_| {
        // Headquarters' networks: Child SAs share them.
        let place = rng.below(256) as u8;
        TrafficSelector { addrs: network(rng, v6, tunnel, 128, place), protocol, ports }
    });
    let local: Vec<_> = local.collect();
    let selectors = selector::cross(&local, &remote).expect("valid selectors").collect();
    ChildPlan { tunnel, local, remote, selectors }
}

/// A prefix in a tunnel's network: 10.x.PLACE.0/24 to /28, or 2001:db8:x:PLACE::/64.
fn network(rng: &mut Rng, v6: bool, tunnel: usize, side: usize, place: u8) -> AddrRange {
    if v6 {
        let site = (side << 8 | tunnel) as u128 & 0xffff;
        let lo = 0x2001_0db8 << 96 | site << 80 | u128::from(place) << 64;
        return AddrRange::V6 { lo, hi: lo | u128::from(u64::MAX) };
    }
    let site = (side | tunnel & 127) as u32;
    let net = 10 << 24 | site << 16 | u32::from(place) << 8;
    let octets = 256_u32 >> rng.below(5);
    let lo = net | (rng.below(256) as u32 & !(octets - 1));
    AddrRange::V4 { lo, hi: lo | (octets - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SEED;

    #[test]
    fn disjoint_plans_have_no_remote_address_twice_and_are_as_large_as_asked() {
        for selectors in [1, 16] {
            let plan = Plan::disjoint(Shape { sas: 1 << 16, selectors }, SEED);
            assert_eq!(plan.sas.len(), 1 << 16);
            assert!(plan.children.iter().all(|child| child.selectors.len() == selectors));
            let remote = plan.children.iter().flat_map(|child| &child.remote);
            let mut ranges: Vec<_> = remote
                .map(|one| match one.addrs {
                    AddrRange::V4 { lo, hi } => (lo, hi),
                    AddrRange::V6 { .. } => panic!("IPv4 only"),
                })
                .collect();
            ranges.sort_unstable();
            assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
    }
}
