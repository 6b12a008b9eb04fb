//! The whole check and the strict check alone, beside the same made of DPDK's parts: who competes, and
//! how each is asked.
//!
//! Every verdict of each contender is compared with what the generator expects before the first one is
//! timed. Plans are [`Plan::disjoint`]: `rte_acl` takes one family, and where selectors of Child SAs do
//! not overlap, both of its ways give the verdicts of strict-sa.

use std::ops::Range;

use espial::headers::InnerHeaders;
use espial::matcher::{Matcher, compile};
use espial::wire;

use crate::contest::{Parts, compete};
use crate::drive::{self, Answers, Arrived, Bed, Input, TURN};
use crate::naive::Naive;
#[cfg(feature = "dpdk")]
use crate::peers::Algorithm;
#[cfg(feature = "dpdk")]
use crate::peers::gateway::{Ask, From, Gateway, Packets};
use crate::peers::{Built, Way};
use crate::{Plan, Trace};

/// Packets of a timed pass: a fraction of a millisecond, so that some pass is not interrupted where other
/// programs run, of slow contenders too.
pub const PART: usize = 1 << 10;
/// Nobody is left out of rounds for being slow: on a machine that does other things, a first pass may be
/// slow for any reason.
const SLOW_NS: f64 = f64::INFINITY;

/// A program and how it is asked. Bursts of 1 are the calls for single packets, where there are some.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contender {
    /// [`espial::Worker`], so many packets with a call.
    Espial(usize),
    /// `Worker::check_headers`: without the inner parse.
    Headers,
    /// The selectors of each SA compiled alone, a [`Matcher`] each: neither parse nor counters. Packets of
    /// one SA that follow each other are one burst.
    Matchers,
    /// The naive twin.
    Naive,
    /// DPDK's parts, so many packets a turn.
    Peer(Way, Vectors, usize),
    /// `rte_acl` alone with a context for each Child SA: neither parse nor counters.
    Contexts,
}

/// How wide the vectors are that `rte_acl` classifies with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vectors {
    /// As wide as the machine has them.
    Widest,
    /// 256 bits.
    Avx2,
}

/// What building for DPDK may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Octets beside the tables.
    pub octets: usize,
    /// Seconds.
    pub seconds: f64,
}

/// DPDK's gateway, if it is built in, with as much of it as could be compiled.
pub struct Peer {
    #[cfg(feature = "dpdk")]
    gateway: Gateway,
}

impl Peer {
    /// One with the SAs of a plan, without selectors.
    pub fn new(plan: &Plan) -> Self {
        let _ = plan;
        Self {
            #[cfg(feature = "dpdk")]
            gateway: Gateway::new(plan),
        }
    }

    /// Compiles the selectors for one way.
    ///
    /// # Errors
    /// Why it could not, in words.
    pub fn build(&mut self, plan: &Plan, way: Way, limits: Limits) -> Result<Built, String> {
        #[cfg(feature = "dpdk")]
        return self.gateway.build(plan, way, limits.octets, limits.seconds);
        #[cfg(not(feature = "dpdk"))]
        {
            let _ = (plan, way, limits);
            Err("built without feature dpdk".to_owned())
        }
    }

    fn has(&self, contender: Contender) -> bool {
        match contender {
            #[cfg(feature = "dpdk")]
            Contender::Peer(way, vectors, _) => {
                self.gateway.has(way)
                    && (vectors == Vectors::Widest
                        || self.gateway.algorithms().contains(&Algorithm::Avx2))
            }
            #[cfg(feature = "dpdk")]
            Contender::Contexts => self.gateway.has(Way::Own),
            #[cfg(not(feature = "dpdk"))]
            Contender::Peer(..) | Contender::Contexts => false,
            _ => true,
        }
    }

    #[cfg(feature = "dpdk")]
    fn algorithm(&self, vectors: Vectors) -> Algorithm {
        match vectors {
            Vectors::Widest => self.gateway.algorithms()[0],
            Vectors::Avx2 => Algorithm::Avx2,
        }
    }

    #[cfg(feature = "dpdk")]
    fn ask(&self, from: From, contender: Contender) -> Option<Ask> {
        let Contender::Peer(way, vectors, burst) = contender else { return None };
        Some(Ask { from, way, burst, algorithm: self.algorithm(vectors) })
    }

    /// Compares the verdicts of every contender, and what was counted for each SA, with what the trace
    /// expects.
    #[cfg(feature = "dpdk")]
    fn assert(&self, from: From, contenders: &[Contender], plan: &Plan, trace: &Trace) {
        let packets = Packets::new(trace);
        for ask in contenders.iter().filter_map(|contender| self.ask(from, *contender)) {
            let counted = |gateway: &Gateway| -> Vec<[u64; 3]> {
                (0..=plan.sas.len()).map(|sa| gateway.counted(sa)).collect()
            };
            let mut expected = counted(&self.gateway);
            for at in 0..trace.len() {
                let [accepted, octets, drops] =
                    &mut expected[trace.sa(at).unwrap_or(plan.sas.len())];
                if trace.expected(at).is_none() {
                    *accepted += 1;
                    *octets += trace.opened(at).1.len() as u64;
                } else {
                    *drops += 1;
                }
            }
            self.gateway.assert_verdicts(ask, &packets);
            assert_eq!(counted(&self.gateway), expected, "{ask:?}: counters");
        }
    }
}

fn parts(trace: &Trace) -> Parts {
    assert!(trace.len().is_multiple_of(PART), "whole parts");
    Parts { items: trace.len(), timed: PART, before: trace.len() }
}

/// Least ns a packet of the whole check: outer parse, SPI lookup, inner parse, selectors, verdict, counters.
///
/// # Panics
/// If a verdict is wrong, the trace is not a multiple of [`PART`], or a contender has no whole check.
pub fn whole(
    contenders: &[Contender],
    plan: &Plan,
    trace: &Trace,
    peer: &Peer,
    rounds: usize,
) -> Vec<(Contender, f64)> {
    let has = |contender: &Contender| peer.has(*contender);
    let contenders: Vec<_> = contenders.iter().copied().filter(has).collect();
    let (mut bed, naive) = (Bed::new(plan), Naive::new(plan));
    let mut worker = bed.worker();
    for burst in [TURN, 1] {
        drive::assert_verdicts(&mut worker, trace, burst);
    }
    drive::assert_naive(&naive, trace);
    #[cfg(feature = "dpdk")]
    peer.assert(From::Arrival, &contenders, plan, trace);

    let mut answers = Answers::new(&mut worker);
    let starts = (0..trace.len()).step_by(PART);
    let inputs: Vec<_> = starts.map(|from| Input::part(trace, from..from + PART)).collect();
    let of = |part: Range<usize>| &inputs[part.start / PART..part.end / PART];
    #[cfg(feature = "dpdk")]
    let packets = Packets::new(trace);
    let all = vec![parts(trace); contenders.len()];
    let least = compete(&all, rounds, SLOW_NS, |at, part| match contenders[at] {
        Contender::Espial(burst) => {
            for input in of(part) {
                drive::whole_pass(&mut worker, input, burst, &mut answers);
            }
        }
        Contender::Naive => {
            for input in of(part) {
                drive::naive_whole_pass(&naive, input);
            }
        }
        #[cfg(feature = "dpdk")]
        contender @ Contender::Peer(..) => {
            let ask = peer.ask(From::Arrival, contender).expect("a peer");
            peer.gateway.pass(ask, &packets, part);
        }
        other => panic!("{other:?} has no whole check"),
    });
    contenders.into_iter().zip(least).collect()
}

/// The inner headers of every packet.
fn inner(trace: &Trace) -> Vec<InnerHeaders> {
    let opened = (0..trace.len()).map(|at| trace.opened(at));
    opened.map(|(next, payload)| wire::inner_expecting(next, payload).expect("a packet")).collect()
}

/// Least ns a packet of the strict check alone, whose packets are opened already: inner parse, selectors,
/// verdict, counters, or as much of it as the contender does.
///
/// # Panics
/// If a verdict is wrong, the trace is not a multiple of [`PART`], or a packet came on no SA.
pub fn strict(
    contenders: &[Contender],
    plan: &Plan,
    trace: &Trace,
    peer: &Peer,
    rounds: usize,
) -> Vec<(Contender, f64)> {
    let has = |contender: &Contender| peer.has(*contender);
    let contenders: Vec<_> = contenders.iter().copied().filter(has).collect();
    let (mut bed, naive) = (Bed::new(plan), Naive::new(plan));
    let mut worker = bed.worker();
    let arrived = Arrived::new(&mut worker, trace);
    let (opened, inner) = (arrived.opened(), inner(trace));
    drive::assert_checked(&mut worker, trace, &opened, &inner);
    drive::assert_naive(&naive, trace);
    let of_naive = drive::naive_arrived(&naive, trace);
    let words: Vec<_> = plan
        .children
        .iter()
        .map(|child| compile(&child.selectors).expect("a set that fits"))
        .collect();
    let matchers: Vec<_> =
        words.iter().map(|words| Matcher::open(words).expect("words as compiled")).collect();
    let matcher = |at: usize| &matchers[plan.sas[trace.sa(at).expect("an SA")].child];
    let asked: Vec<&Matcher<'_>> = (0..trace.len()).map(matcher).collect();
    assert_matchers(&asked, &inner, trace);
    #[cfg(feature = "dpdk")]
    peer.assert(From::Opening, &contenders, plan, trace);
    #[cfg(feature = "dpdk")]
    let packets = Packets::new(trace);
    #[cfg(feature = "dpdk")]
    let contexts = peer.has(Contender::Contexts).then(|| {
        let (contexts, algorithm) =
            (peer.gateway.contexts(&packets), peer.algorithm(Vectors::Widest));
        contexts.assert_answers(TURN, algorithm);
        (contexts, algorithm)
    });

    let mut answers = Answers::new(&mut worker);
    let all = vec![parts(trace); contenders.len()];
    let least = compete(&all, rounds, SLOW_NS, |at, part| match contenders[at] {
        Contender::Espial(1) => {
            drive::check_singles_pass(&mut worker, &opened[part]);
        }
        Contender::Espial(burst) => {
            drive::check_pass(&mut worker, &opened[part], burst, &mut answers);
        }
        Contender::Headers => {
            drive::check_headers_pass(&mut worker, &opened[part.clone()], &inner[part]);
        }
        Contender::Matchers => {
            matchers_pass(&asked[part.clone()], &inner[part]);
        }
        Contender::Naive => {
            drive::naive_check_pass(&naive, &of_naive[part]);
        }
        #[cfg(feature = "dpdk")]
        contender @ Contender::Peer(..) => {
            let ask = peer.ask(From::Opening, contender).expect("a peer");
            peer.gateway.pass(ask, &packets, part);
        }
        #[cfg(feature = "dpdk")]
        Contender::Contexts => {
            let (contexts, algorithm) = contexts.as_ref().expect("contexts");
            contexts.pass(part, TURN, *algorithm);
        }
        #[cfg(not(feature = "dpdk"))]
        other => panic!("{other:?} is not built in"),
    });
    contenders.into_iter().zip(least).collect()
}

/// Calls `each` with the packets of a turn that are of one SA and follow each other.
#[inline(always)]
fn rows(asked: &[&Matcher<'_>], mut each: impl FnMut(&Matcher<'_>, Range<usize>)) {
    for (turn, turns) in asked.chunks(TURN).enumerate() {
        let mut from = turn * TURN;
        for row in turns.chunk_by(|one, next| std::ptr::eq(*one, *next)) {
            each(row[0], from..from + row.len());
            from += row.len();
        }
    }
}

/// One pass of matchers alone; returns how many packets are covered.
#[inline(never)]
fn matchers_pass(asked: &[&Matcher<'_>], inner: &[InnerHeaders]) -> usize {
    let (mut covered, mut room) = (0, [false; TURN]);
    rows(asked, |matcher, row| match &inner[row] {
        [packet] => covered += usize::from(matcher.any(packet)),
        packets => {
            let n = matcher.any_burst(packets, &mut room);
            covered += room[..n].iter().filter(|covered| **covered).count();
        }
    });
    covered
}

/// # Panics
/// If an answer differs from what the trace expects.
fn assert_matchers(asked: &[&Matcher<'_>], inner: &[InnerHeaders], trace: &Trace) {
    let mut room = [false; TURN];
    rows(asked, |matcher, row| {
        matcher.any_burst(&inner[row.clone()], &mut room);
        for (at, in_burst) in row.zip(room) {
            let expected = trace.expected(at).is_none();
            assert_eq!(matcher.any(&inner[at]), expected, "packet {at}, alone");
            assert_eq!(in_burst, expected, "packet {at}, in a burst");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Drops, SEED, Shape};

    const ALL: [Contender; 11] = [
        Contender::Espial(32),
        Contender::Espial(1),
        Contender::Naive,
        Contender::Peer(Way::Own, Vectors::Widest, 32),
        Contender::Peer(Way::Own, Vectors::Widest, 1),
        Contender::Peer(Way::All, Vectors::Widest, 32),
        Contender::Peer(Way::All, Vectors::Widest, 1),
        Contender::Peer(Way::All, Vectors::Avx2, 32),
        Contender::Headers,
        Contender::Matchers,
        Contender::Contexts,
    ];
    const LIMITS: Limits = Limits { octets: 1 << 30, seconds: 60.0 };

    fn built(plan: &Plan) -> Peer {
        let mut peer = Peer::new(plan);
        for way in [Way::Own, Way::All] {
            assert_eq!(peer.build(plan, way, LIMITS).is_ok(), cfg!(feature = "dpdk"));
        }
        peer
    }

    #[test]
    fn every_contender_gives_the_verdicts_that_are_expected_and_counts_them() {
        for selectors in [1, 4, 16] {
            let plan = Plan::disjoint(Shape { sas: 300, selectors }, SEED);
            let peer = built(&plan);
            for (drops, unknown_spi) in [(20, 20), (0, 0)] {
                let drops = Drops { wrong_sa: drops, no_selector: drops, unknown_spi };
                let trace = Trace::sized(&plan, drops, PART, SEED);
                whole(&ALL[..8], &plan, &trace, &peer, 1);
                let opened = Drops { unknown_spi: 0, ..drops };
                let trace = Trace::sized(&plan, opened, PART, SEED);
                strict(&ALL, &plan, &trace, &peer, 1);
                let mut of_one: Vec<usize> = (0..PART).collect();
                of_one.sort_by_key(|at| trace.sa(*at));
                strict(&ALL, &plan, &trace.reordered(&of_one), &peer, 1);
            }
        }
    }

    /// rte_acl keeps the selectors of another configuration: its verdicts are not those of this one.
    #[test]
    #[cfg(feature = "dpdk")]
    #[should_panic(expected = "way: All")]
    fn another_verdict_of_the_peer_is_noticed() {
        let shape = Shape { sas: 50, selectors: 1 };
        let (plan, other) = (Plan::disjoint(shape, SEED), Plan::disjoint(shape, SEED + 1));
        let mut peer = Peer::new(&plan);
        peer.build(&other, Way::All, LIMITS).unwrap();
        let trace = Trace::sized(&plan, Drops::NONE, PART, SEED);
        whole(&[Contender::Peer(Way::All, Vectors::Widest, 32)], &plan, &trace, &peer, 1);
    }

    #[test]
    #[cfg(feature = "dpdk")]
    fn what_cannot_be_built_within_its_limits_is_said() {
        let plan = Plan::disjoint(Shape { sas: 50, selectors: 4 }, SEED);
        let mut peer = Peer::new(&plan);
        let none = Limits { octets: 1 << 30, seconds: -1.0 };
        assert!(peer.build(&plan, Way::Own, none).unwrap_err().contains("after 0 of"));
        let little = Limits { octets: 1 << 12, seconds: 60.0 };
        assert!(peer.build(&plan, Way::All, little).unwrap_err().contains("allocate"));
        assert!(!peer.has(Contender::Contexts));
    }
}
