//! Packets for a set of selectors.

use espial::headers::{Endpoints, Fragment, InnerHeaders, NextLayer, protocol};
use espial::matcher::{Matcher, compile};
use espial::selector::{AddrRange, PortRange, Selector};

use crate::Rng;

/// What packets are like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Traffic {
    /// A random selector, and a random packet that it covers.
    Hit,
    /// The same, and then one field of five replaced by a random value: some are still covered.
    Near,
    /// No selector covers it. Half have each field from a packet that is covered, the others one or
    /// more random fields.
    Miss,
}

impl Traffic {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hit, Self::Near, Self::Miss];

    /// Its name in tables and arguments.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Near => "near",
            Self::Miss => "miss",
        }
    }
}

/// A packet, field by field.
#[derive(Clone, Copy)]
struct Five {
    endpoints: Endpoints,
    protocol: u8,
    ports: [u16; 2],
}

/// A random address of a range, as a number.
fn addr(rng: &mut Rng, range: &AddrRange) -> u128 {
    let (lo, hi) = match *range {
        AddrRange::V4 { lo, hi } => (u128::from(lo), u128::from(hi)),
        AddrRange::V6 { lo, hi } => (lo, hi),
    };
    rng.between(lo, hi)
}

fn port(rng: &mut Rng, range: PortRange) -> u16 {
    rng.between(range.lo().into(), range.hi().into()) as u16
}

/// What is tried under a selector of any protocol.
const PROTOCOLS: [u8; 6] =
    [protocol::TCP, protocol::TCP, protocol::TCP, protocol::UDP, protocol::ICMP, protocol::ESP];

impl Five {
    fn inside(rng: &mut Rng, selector: &Selector) -> Self {
        let (src, dst) = (addr(rng, &selector.remote), addr(rng, &selector.local));
        let protocol = match selector.protocol {
            0 => *rng.pick(&PROTOCOLS),
            protocol => protocol,
        };
        let ports = [port(rng, selector.remote_ports), port(rng, selector.local_ports)];
        let endpoints = match selector.remote {
            AddrRange::V4 { .. } => Endpoints::V4 { src: src as u32, dst: dst as u32 },
            AddrRange::V6 { .. } => Endpoints::V6 { src, dst },
        };
        Self { endpoints, protocol, ports }
    }

    /// Each field at random.
    fn random(rng: &mut Rng, like: &Self) -> Self {
        let mut wide = || u128::from(rng.next()) << 64 | u128::from(rng.next());
        let endpoints = match like.endpoints {
            Endpoints::V4 { .. } => Endpoints::V4 { src: wide() as u32, dst: wide() as u32 },
            Endpoints::V6 { .. } => Endpoints::V6 { src: wide(), dst: wide() },
        };
        let ports = [wide() as u16, wide() as u16];
        Self { endpoints, protocol: 1 + rng.below(254) as u8, ports }
    }

    /// This one, and the field of this number from another.
    fn with(mut self, field: usize, other: &Self) -> Self {
        match (field, &mut self.endpoints, other.endpoints) {
            (0, Endpoints::V4 { src, .. }, Endpoints::V4 { src: other, .. }) => *src = other,
            (0, Endpoints::V6 { src, .. }, Endpoints::V6 { src: other, .. }) => *src = other,
            (1, Endpoints::V4 { dst, .. }, Endpoints::V4 { dst: other, .. }) => *dst = other,
            (1, Endpoints::V6 { dst, .. }, Endpoints::V6 { dst: other, .. }) => *dst = other,
            (2, ..) => self.protocol = other.protocol,
            (3 | 4, ..) => self.ports[field - 3] = other.ports[field - 3],
            // Of the other family: as it was.
            _ => {}
        }
        self
    }

    fn headers(self) -> InnerHeaders {
        let [src, dst] = self.ports;
        let next_layer = match self.protocol {
            protocol::TCP
            | protocol::UDP
            | protocol::SCTP
            | protocol::UDP_LITE
            | protocol::DCCP => NextLayer::Ports { src, dst },
            protocol::ICMP | protocol::ICMPV6 => NextLayer::Icmp(src),
            protocol::MOBILITY => NextLayer::Mobility(src & 0xff00),
            _ => NextLayer::Opaque,
        };
        let Self { endpoints, protocol, .. } = self;
        InnerHeaders { endpoints, protocol, next_layer, fragment: Fragment::None }
    }
}

/// So many packets for these selectors; `None` if every packet seems to be covered and misses were asked
/// for. What is a miss, the compiled matcher says: it is compared with the plain one elsewhere.
///
/// # Panics
/// If there are no selectors.
pub fn packets(
    selectors: &[Selector],
    traffic: Traffic,
    n: usize,
    seed: u64,
) -> Option<Vec<InnerHeaders>> {
    let rng = &mut Rng::new(seed, 43 + traffic as u64);
    let inside = |rng: &mut Rng| {
        let selector = rng.pick(selectors);
        Five::inside(rng, selector)
    };
    match traffic {
        Traffic::Hit => Some((0..n).map(|_| inside(rng).headers()).collect()),
        Traffic::Near => Some(
            (0..n)
                .map(|_| {
                    let hit = inside(rng);
                    let other = Five::random(rng, &hit);
                    hit.with(rng.below(5), &other).headers()
                })
                .collect(),
        ),
        Traffic::Miss => {
            let words = compile(selectors).expect("a set that fits");
            let matcher = Matcher::open(&words).expect("words as compiled");
            let mut misses = Vec::with_capacity(n);
            for tried in 0..256 * n {
                if misses.len() == n {
                    break;
                }
                let mut five = inside(rng);
                for field in 0..5 {
                    // Alternately, by what is found: sets differ in how many of either kind miss.
                    let random = misses.len() % 2 == 1 || tried % 64 > 32;
                    match random {
                        true if rng.chance(1, 2) => {
                            let other = Five::random(rng, &five);
                            five = five.with(field, &other);
                        }
                        true => {}
                        false => {
                            let other = inside(rng);
                            five = five.with(field, &other);
                        }
                    }
                }
                let packet = five.headers();
                if !matcher.any(&packet) {
                    misses.push(packet);
                }
            }
            (misses.len() == n).then_some(misses)
        }
    }
}
