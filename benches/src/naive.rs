//! The inbound check as one would first write it: a hash table from SPI to SA, and the SA's
//! selectors asked one after the other.
//!
//! It reads packets with the same [`wire`] functions, gives the same verdicts with the same
//! reasons and counts the same, so what it does otherwise is what is compared: hashbrown's table
//! with its default hash, `Vec<Selector>` with [`Selector::covers`], no prefetch, no bursts. It
//! has no bound on probes, no publication, no events and no modes.

use std::cell::Cell;

use espial::headers::{Encap, Outer, OuterHeaders};
use espial::selector::Selector;
use espial::verdict::Reason;
use espial::wire;
use hashbrown::HashMap;

use crate::Plan;

/// An SA with a copy of its selectors and its counters.
pub struct Sa {
    tunnel: usize,
    selectors: Vec<Selector>,
    packets: Cell<u64>,
    octets: Cell<u64>,
    drops: Cell<u64>,
}

/// The whole check.
pub struct Naive {
    sas: HashMap<u32, Sa>,
    /// All selectors of each tunnel, to tell a wrong SA from no selector.
    tunnels: Vec<Vec<Selector>>,
    unknown: Cell<u64>,
}

fn count(cell: &Cell<u64>, n: u64) {
    cell.set(cell.get().wrapping_add(n));
}

impl Naive {
    /// A naive check with the configuration of `plan`.
    pub fn new(plan: &Plan) -> Self {
        let selectors = |children: &Vec<usize>| {
            let children = children.iter().map(|child| &plan.children[*child]);
            children.flat_map(|child| child.selectors.clone()).collect()
        };
        let sas = plan.sas.iter().map(|sa| {
            let child = &plan.children[sa.child];
            let zero = || Cell::new(0);
            (
                sa.spi,
                Sa {
                    tunnel: child.tunnel,
                    selectors: child.selectors.clone(),
                    packets: zero(),
                    octets: zero(),
                    drops: zero(),
                },
            )
        });
        Self {
            sas: sas.collect(),
            tunnels: plan.tunnels.iter().map(selectors).collect(),
            unknown: Cell::new(0),
        }
    }

    /// The SA of a packet and its outer headers.
    ///
    /// # Errors
    /// The reason of the drop. A packet that is not ESP in IP is [`Reason::UnknownSpi`] as well:
    /// no trace has one.
    #[inline]
    pub fn arrive(&self, packet: &[u8]) -> Result<(&Sa, OuterHeaders), Reason> {
        let found = match wire::classify(packet)? {
            Outer::Ipsec(outer) if outer.is_esp() && outer.encap == Encap::None => {
                self.sas.get(&outer.spi.0).map(|sa| (sa, outer))
            }
            _ => None,
        };
        found.ok_or_else(|| {
            count(&self.unknown, 1);
            Reason::UnknownSpi
        })
    }

    /// Why an opened packet is dropped; `None`: it is accepted.
    #[inline]
    pub fn check(&self, sa: &Sa, next_header: u8, payload: &[u8]) -> Option<Reason> {
        let reason = match wire::inner_expecting(next_header, payload) {
            Ok(inner) if sa.selectors.iter().any(|one| one.covers(&inner)) => {
                count(&sa.packets, 1);
                count(&sa.octets, payload.len() as u64);
                return None;
            }
            Ok(inner) if self.tunnels[sa.tunnel].iter().any(|one| one.covers(&inner)) => {
                Reason::WrongSa
            }
            Ok(_) => Reason::NoSelector,
            Err(what) => Reason::Malformed(what),
        };
        count(&sa.drops, 1);
        Some(reason)
    }
}
