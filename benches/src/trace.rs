//! Packets for a configuration, each with the verdict that it must get.

use std::collections::HashSet;

use espial::headers::protocol;
use espial::selector::{AddrRange, PortRange, Selector};
use espial::verdict::Reason;

use crate::{Plan, Rng};

/// Shares of dropped packets, in percent; the others are accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drops {
    /// Covered by a selector of another Child SA of the tunnel.
    pub wrong_sa: usize,
    /// Covered by no selector of the tunnel: the source is foreign.
    pub no_selector: usize,
    /// On an SPI that no SA has.
    pub unknown_spi: usize,
}

impl Drops {
    /// All packets are accepted.
    pub const NONE: Self = Self { wrong_sa: 0, no_selector: 0, unknown_spi: 0 };
    /// One packet of ten is dropped.
    pub const MIXED: Self = Self { wrong_sa: 4, no_selector: 4, unknown_spi: 2 };
}

/// One packet in cache lines of its own, as a network card would leave it.
#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line([u8; LINE]);

const LINE: usize = 64;

/// Packets in the order in which they arrive.
pub struct Trace {
    outer: Vec<Line>,
    inner: Vec<(Line, u8)>,
    next_header: Vec<u8>,
    sa: Vec<Option<usize>>,
    expected: Vec<Option<Reason>>,
}

impl Trace {
    /// Packets of a trace for so many SAs: as many, and 16 384 at least.
    pub fn packets(sas: usize) -> usize {
        sas.max(16_384)
    }

    /// A trace of [`Trace::packets`].
    ///
    /// # Panics
    /// If every tunnel of the plan has one Child SA only and wrong SAs are asked for.
    pub fn new(plan: &Plan, drops: Drops, seed: u64) -> Self {
        Self::sized(plan, drops, Self::packets(plan.sas.len()), seed)
    }

    /// A trace of so many packets.
    ///
    /// # Panics
    /// As [`Trace::new`].
    pub fn sized(plan: &Plan, drops: Drops, packets: usize, seed: u64) -> Self {
        let mut rng = Rng::new(seed, 3);
        let mut trace = Self {
            outer: Vec::new(),
            inner: Vec::new(),
            next_header: Vec::new(),
            sa: Vec::new(),
            expected: Vec::new(),
        };
        let known: HashSet<u32> = plan.sas.iter().map(|sa| sa.spi).collect();
        let siblings = |sa: usize| &plan.tunnels[plan.children[plan.sas[sa].child].tunnel];
        assert!(drops.wrong_sa == 0 || plan.tunnels.iter().any(|children| children.len() > 1));
        while trace.len() < packets {
            let mut sa = rng.below(plan.sas.len());
            let own = |sa: usize| &plan.children[plan.sas[sa].child];
            let dice = rng.below(100);
            let [wrong, foreign, unknown] = [drops.wrong_sa, drops.no_selector, drops.unknown_spi];
            let (spi, child, reason) = if dice < wrong {
                while siblings(sa).len() < 2 {
                    sa = rng.below(plan.sas.len());
                }
                let other = loop {
                    let other = *rng.pick(siblings(sa));
                    if other != plan.sas[sa].child {
                        break other;
                    }
                };
                (plan.sas[sa].spi, &plan.children[other], Some(Reason::WrongSa))
            } else if dice < wrong + foreign {
                (plan.sas[sa].spi, own(sa), Some(Reason::NoSelector))
            } else if dice < wrong + foreign + unknown {
                let spi = loop {
                    let spi = rng.next() as u32 | 256;
                    if !known.contains(&spi) {
                        break spi;
                    }
                };
                (spi, own(sa), Some(Reason::UnknownSpi))
            } else {
                (plan.sas[sa].spi, own(sa), None)
            };
            let mut selector = *rng.pick(&child.selectors);
            if reason == Some(Reason::NoSelector) {
                selector.remote = foreign_network(&selector);
            }
            trace.push(&mut rng, spi, &selector, reason);
            trace.sa.push((reason != Some(Reason::UnknownSpi)).then_some(sa));
        }
        trace
    }

    /// The packets at these places, in this order, behind each other.
    pub fn reordered(&self, places: &[usize]) -> Self {
        fn at<T: Copy>(of: &[T], places: &[usize]) -> Vec<T> {
            places.iter().map(|place| of[*place]).collect()
        }
        Self {
            outer: at(&self.outer, places),
            inner: at(&self.inner, places),
            next_header: at(&self.next_header, places),
            sa: at(&self.sa, places),
            expected: at(&self.expected, places),
        }
    }

    /// Number of packets.
    pub fn len(&self) -> usize {
        self.expected.len()
    }

    /// Never true.
    pub fn is_empty(&self) -> bool {
        self.expected.is_empty()
    }

    /// The packet as it arrives, from its IP header on.
    pub fn outer(&self, at: usize) -> &[u8] {
        &self.outer[at].0
    }

    /// What comes out when it is opened: the next header and the payload.
    pub fn opened(&self, at: usize) -> (u8, &[u8]) {
        let (line, octets) = &self.inner[at];
        (self.next_header[at], &line.0[..usize::from(*octets)])
    }

    /// The place in [`Plan::sas`] of the SA that it comes on; `None` of an unknown SPI.
    pub fn sa(&self, at: usize) -> Option<usize> {
        self.sa[at]
    }

    /// Why it must be dropped; `None`: it must be accepted.
    pub fn expected(&self, at: usize) -> Option<Reason> {
        self.expected[at]
    }

    /// Packets that must be accepted.
    pub fn accepted(&self) -> usize {
        self.expected.iter().filter(|reason| reason.is_none()).count()
    }

    fn push(&mut self, rng: &mut Rng, spi: u32, selector: &Selector, reason: Option<Reason>) {
        let sequence = self.len() as u32 + 1;
        self.outer.push(outer(rng, spi, sequence));
        let (line, octets, next_header) = inner(rng, selector);
        self.inner.push((line, octets));
        self.next_header.push(next_header);
        self.expected.push(reason);
    }
}

/// Addresses that no plan uses: 172.16.0.0/12 and 2001:db8:ffff::/48.
fn foreign_network(selector: &Selector) -> AddrRange {
    match selector.remote {
        AddrRange::V4 { .. } => AddrRange::V4 { lo: 0xac10_0000, hi: 0xac1f_ffff },
        AddrRange::V6 { .. } => {
            let lo = 0x2001_0db8_ffff << 80;
            AddrRange::V6 { lo, hi: lo | ((1 << 80) - 1) }
        }
    }
}

/// IPv4 and ESP; what would be IV, ciphertext and ICV is left zero. So are checksums: nothing
/// here looks at them.
fn outer(rng: &mut Rng, spi: u32, sequence: u32) -> Line {
    let mut line = [0; LINE];
    let src = 0xc612_0000 | rng.below(0x1_0000) as u32;
    let fields: [&[u8]; 5] = [
        &[0x45, 0, 0, LINE as u8, 0, 0, 0x40, 0, 64, protocol::ESP, 0, 0],
        &src.to_be_bytes(),
        &[203, 0, 113, 2],
        &spi.to_be_bytes(),
        &sequence.to_be_bytes(),
    ];
    write(&mut line, &fields);
    Line(line)
}

/// A packet that a selector covers, its length, and the next header that announces it.
fn inner(rng: &mut Rng, selector: &Selector) -> (Line, u8, u8) {
    let icmp = match selector.remote {
        AddrRange::V4 { .. } => protocol::ICMP,
        AddrRange::V6 { .. } => protocol::ICMPV6,
    };
    let number = match selector.protocol {
        0 => *rng.pick(&[protocol::TCP, protocol::TCP, protocol::TCP, protocol::UDP, icmp]),
        one => one,
    };
    let mut port = |range: PortRange| {
        let port = rng.between(range.lo().into(), range.hi().into()) as u16;
        port.to_be_bytes()
    };
    let (src, dst) = (port(selector.remote_ports), port(selector.local_ports));
    let mut next = [0; 20];
    let octets: u8 = match number {
        protocol::TCP => {
            write(&mut next, &[&src, &dst, &[0; 8], &[0x50, 0x10]]);
            20
        }
        protocol::UDP => {
            write(&mut next, &[&src, &dst, &[0, 8]]);
            8
        }
        // An echo request.
        _ => {
            next[0] = if number == protocol::ICMP { 8 } else { 128 };
            8
        }
    };
    let mut line = [0; LINE];
    let mut addr = |lo: u128, hi: u128| rng.between(lo, hi);
    let (head, next_header) = match (selector.remote, selector.local) {
        (AddrRange::V4 { lo, hi }, AddrRange::V4 { lo: local_lo, hi: local_hi }) => {
            let src = addr(lo.into(), hi.into()) as u32;
            let dst = addr(local_lo.into(), local_hi.into()) as u32;
            write(
                &mut line,
                &[
                    &[0x45, 0, 0, 20 + octets, 0, 0, 0x40, 0, 63, number, 0, 0],
                    &src.to_be_bytes(),
                    &dst.to_be_bytes(),
                    &next,
                ],
            );
            (20, protocol::IPV4)
        }
        (AddrRange::V6 { lo, hi }, AddrRange::V6 { lo: local_lo, hi: local_hi }) => {
            let (src, dst) = (addr(lo, hi), addr(local_lo, local_hi));
            write(
                &mut line,
                &[
                    &[0x60, 0, 0, 0, 0, octets, number, 63],
                    &src.to_be_bytes(),
                    &dst.to_be_bytes(),
                    &next,
                ],
            );
            (40, protocol::IPV6)
        }
        _ => unreachable!("both ranges of a selector are of one family"),
    };
    (Line(line), head + octets, next_header)
}

fn write(into: &mut [u8], fields: &[&[u8]]) {
    let octets = fields.concat();
    into[..octets.len()].copy_from_slice(&octets);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::{self, Bed};
    use crate::naive::Naive;
    use crate::{SEED, Shape};

    #[test]
    fn the_check_the_twin_and_the_generator_agree() {
        for (sas, selectors) in [(1, 1), (5, 4), (300, 1), (300, 4), (300, 16)] {
            let plan = Plan::new(Shape { sas, selectors }, SEED);
            assert_eq!(plan.sas.len(), sas);
            assert!((sas.div_ceil(4)..=sas).contains(&plan.children.len()));
            assert!(plan.children.iter().all(|child| child.selectors.len() == selectors));
            let wrong_sa = if plan.children.len() > 1 { 20 } else { 0 };
            let drops = Drops { wrong_sa, no_selector: 20, unknown_spi: 20 };
            let trace = Trace::new(&plan, drops, SEED);
            let mut bed = Bed::new(&plan);
            for burst in [1, 8, 32] {
                drive::assert_verdicts(&mut bed.worker(), &trace, burst);
            }
            drive::assert_naive(&Naive::new(&plan), &trace);
        }
    }

    #[test]
    fn shares_are_as_stated_and_a_seed_repeats() {
        let plan = Plan::new(Shape { sas: 1024, selectors: 4 }, SEED);
        let trace = Trace::new(&plan, Drops::MIXED, SEED);
        let share = |reason| trace.expected.iter().filter(|each| **each == reason).count() * 100;
        for (reason, percent) in [
            (None, 90),
            (Some(Reason::WrongSa), 4),
            (Some(Reason::NoSelector), 4),
            (Some(Reason::UnknownSpi), 2),
        ] {
            let found = share(reason) as f64 / trace.len() as f64;
            assert!((found - f64::from(percent)).abs() < 0.5, "{reason:?}: {found} %");
        }
        let again =
            Trace::new(&Plan::new(Shape { sas: 1024, selectors: 4 }, SEED), Drops::MIXED, SEED);
        assert!((0..trace.len()).all(|at| {
            (trace.outer(at), trace.opened(at)) == (again.outer(at), again.opened(at))
        }));
        assert_eq!(Trace::new(&plan, Drops::NONE, SEED).accepted(), 16_384);
    }
}
