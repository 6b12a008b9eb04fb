//! What a caller does with packets: the loops that are timed, and the same loops with every answer
//! compared.
//!
//! A turn of the caller's poll loop takes [`TURN`] packets, a burst at a time, and ends with
//! [`Worker::quiescent`]. Between arrival and check a caller would decrypt; here the opened packet
//! is there already.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::ops::Range;

use espial::headers::{InnerHeaders, OuterHeaders};
use espial::inbound::{Arrival, Ingress};
use espial::verdict::{Reason, Verdict};
use espial::{Gateway, Opened, SaId, Worker};
use heapless::Vec as Room;

use crate::naive::{Naive, Sa};
use crate::{Plan, Rng, Trace};

/// Packets of one turn of the poll loop, and the largest burst.
pub const TURN: usize = 32;

const INGRESS: Ingress = Ingress { now_ms: 1_000, interface: 1 };

/// An installed gateway.
pub struct Bed {
    gateway: Gateway<'static>,
}

impl Bed {
    /// A gateway with the configuration of `plan`.
    pub fn new(plan: &Plan) -> Self {
        Self { gateway: plan.install() }
    }

    /// A fresh worker.
    ///
    /// # Panics
    /// Never: the gateway was made for one.
    pub fn worker(&mut self) -> Worker<'_> {
        self.gateway.split().1.take().expect("room for one worker")
    }
}

/// Orders packets so that those of one turn are of different SAs: one of each SA, in random order,
/// again and again as far as there are some, `n` in all. A turn that would be cut short is left out.
///
/// # Panics
/// If that leaves fewer than `n`.
pub fn dealt<T: Copy, K: Ord>(packets: &[T], n: usize, seed: u64, sa: impl Fn(&T) -> K) -> Vec<T> {
    let mut rng = Rng::new(seed, 51);
    let mut hands = BTreeMap::<K, Vec<T>>::new();
    for packet in packets {
        hands.entry(sa(packet)).or_default().push(*packet);
    }
    let mut dealt = Vec::with_capacity(packets.len());
    while dealt.len() < n {
        let mut round: Vec<T> = hands.values_mut().filter_map(Vec::pop).collect();
        rng.shuffle(&mut round);
        let turns = round.len() / TURN * TURN;
        assert!(turns > 0, "packets of so many SAs");
        dealt.extend(&round[..turns]);
    }
    dealt.truncate(n);
    dealt
}

/// The arguments of both calls, in arrays as a caller has them.
pub struct Input<'t> {
    packets: Vec<&'t [u8]>,
    opened: Vec<(u8, &'t [u8])>,
}

impl<'t> Input<'t> {
    /// The packets of `trace`.
    pub fn new(trace: &'t Trace) -> Self {
        Self::part(trace, 0..trace.len())
    }

    /// Some packets of `trace`.
    pub fn part(trace: &'t Trace, part: Range<usize>) -> Self {
        Self {
            packets: part.clone().map(|at| trace.outer(at)).collect(),
            opened: part.map(|at| trace.opened(at)).collect(),
        }
    }
}

/// Packets of a trace that reached an SA, ready to be checked.
pub struct Arrived<'t> {
    outer: Vec<(SaId, OuterHeaders)>,
    opened: Vec<(u8, &'t [u8])>,
}

impl<'t> Arrived<'t> {
    /// Lets every packet of `trace` arrive.
    pub fn new(worker: &mut Worker<'_>, trace: &'t Trace) -> Self {
        let mut arrived = Self { outer: Vec::new(), opened: Vec::new() };
        for at in 0..trace.len() {
            if let Arrival::Sa(sa, outer) = worker.arrive(trace.outer(at), INGRESS) {
                arrived.outer.push((sa, outer));
                arrived.opened.push(trace.opened(at));
            }
        }
        arrived
    }

    /// The arguments of the check.
    pub fn opened(&self) -> Vec<Opened<'_>> {
        let each = self.outer.iter().zip(&self.opened);
        each.map(|((sa, outer), (next_header, payload))| Opened {
            sa: *sa,
            outer,
            next_header: *next_header,
            payload,
        })
        .collect()
    }
}

/// Room for the answers of one burst.
pub struct Answers {
    arrivals: [Arrival; TURN],
    verdicts: [Verdict; TURN],
}

impl Answers {
    /// Room that `worker` has filled once.
    pub fn new(worker: &mut Worker<'_>) -> Self {
        let arrival = worker.arrive(&[], INGRESS);
        let outer =
            espial::wire::esp(espial::headers::Endpoints::V4 { src: 0, dst: 0 }, &[0; 8], 0);
        let outer = outer.expect("8 octets are enough for ESP");
        let stale = SaId::from_raw(0);
        let opened = Opened { sa: stale, outer: &outer, next_header: 0, payload: &[] };
        Self { arrivals: [arrival; TURN], verdicts: [worker.check(&opened, INGRESS); TURN] }
    }
}

/// Calls `each` with every verdict of the whole check: the position of the packet, and the reason
/// if it was dropped. Bursts of 1 are the calls for single packets.
#[inline(always)]
pub fn whole(
    worker: &mut Worker<'_>,
    input: &Input<'_>,
    burst: usize,
    answers: &mut Answers,
    mut each: impl FnMut(usize, Option<Reason>),
) {
    let turns = input.packets.chunks(TURN).zip(input.opened.chunks(TURN)).enumerate();
    for (turn, (packets, payloads)) in turns {
        let first = turn * TURN;
        if burst == 1 {
            for (at, (packet, (next_header, payload))) in packets.iter().zip(payloads).enumerate() {
                match worker.arrive(packet, INGRESS) {
                    Arrival::Sa(sa, outer) => {
                        let next_header = *next_header;
                        let opened = Opened { sa, outer: &outer, next_header, payload };
                        each(first + at, worker.check(&opened, INGRESS).reason());
                    }
                    Arrival::Drop(refusal) => each(first + at, Some(refusal.reason)),
                    Arrival::Pass(_) => {}
                }
            }
        } else {
            let bursts = packets.chunks(burst).zip(payloads.chunks(burst)).enumerate();
            for (number, (packets, payloads)) in bursts {
                one_burst(worker, packets, payloads, first + number * burst, answers, &mut each);
            }
        }
        worker.quiescent();
    }
}

#[inline(always)]
fn one_burst(
    worker: &mut Worker<'_>,
    packets: &[&[u8]],
    payloads: &[(u8, &[u8])],
    first: usize,
    answers: &mut Answers,
    mut each: impl FnMut(usize, Option<Reason>),
) {
    let count = worker.arrive_burst(packets, INGRESS, &mut answers.arrivals);
    let mut opened: Room<Opened<'_>, TURN> = Room::new();
    let mut places: Room<usize, TURN> = Room::new();
    for (at, arrival) in answers.arrivals[..count].iter().enumerate() {
        match arrival {
            Arrival::Sa(sa, outer) => {
                let (next_header, payload) = payloads[at];
                let _ = opened.push(Opened { sa: *sa, outer, next_header, payload });
                let _ = places.push(first + at);
            }
            Arrival::Drop(refusal) => each(first + at, Some(refusal.reason)),
            Arrival::Pass(_) => {}
        }
    }
    let count = worker.check_burst(&opened, INGRESS, &mut answers.verdicts);
    for (at, verdict) in places.iter().zip(&answers.verdicts[..count]) {
        each(*at, verdict.reason());
    }
}

/// One pass of the whole check; returns how many packets were accepted.
#[inline(never)]
pub fn whole_pass(
    worker: &mut Worker<'_>,
    input: &Input<'_>,
    burst: usize,
    answers: &mut Answers,
) -> usize {
    let mut accepted = 0;
    whole(worker, input, burst, answers, |_, reason| accepted += usize::from(reason.is_none()));
    accepted
}

/// One pass of arrivals in bursts; returns how many reached an SA.
#[inline(never)]
pub fn arrive_pass(
    worker: &mut Worker<'_>,
    input: &Input<'_>,
    burst: usize,
    answers: &mut Answers,
) -> usize {
    let mut reached = 0;
    for packets in input.packets.chunks(burst) {
        let count = worker.arrive_burst(packets, INGRESS, &mut answers.arrivals);
        let arrivals = &black_box(&answers.arrivals)[..count];
        reached += arrivals.iter().filter(|each| matches!(each, Arrival::Sa(..))).count();
        worker.quiescent();
    }
    reached
}

/// One pass of checks in bursts; returns how many packets were accepted.
#[inline(never)]
pub fn check_pass(
    worker: &mut Worker<'_>,
    opened: &[Opened<'_>],
    burst: usize,
    answers: &mut Answers,
) -> usize {
    let mut accepted = 0;
    for opened in opened.chunks(burst) {
        let count = worker.check_burst(opened, INGRESS, &mut answers.verdicts);
        let verdicts = &black_box(&answers.verdicts)[..count];
        accepted += verdicts.iter().filter(|each| each.is_accept()).count();
        worker.quiescent();
    }
    accepted
}

/// One pass of checks, each packet with a call of its own; returns how many were accepted.
#[inline(never)]
pub fn check_singles_pass(worker: &mut Worker<'_>, opened: &[Opened<'_>]) -> usize {
    let mut accepted = 0;
    for opened in opened.chunks(TURN) {
        let verdicts = opened.iter().map(|opened| worker.check(opened, INGRESS));
        accepted += verdicts.filter(Verdict::is_accept).count();
        worker.quiescent();
    }
    accepted
}

/// One pass of checks of headers that the caller has read itself; returns how many were accepted.
#[inline(never)]
pub fn check_headers_pass(
    worker: &mut Worker<'_>,
    opened: &[Opened<'_>],
    inner: &[InnerHeaders],
) -> usize {
    let mut accepted = 0;
    for (opened, inner) in opened.chunks(TURN).zip(inner.chunks(TURN)) {
        for (opened, inner) in opened.iter().zip(inner) {
            let octets = opened.payload.len();
            let verdict = worker.check_headers(opened.sa, opened.outer, inner, octets, INGRESS);
            accepted += usize::from(verdict.is_accept());
        }
        worker.quiescent();
    }
    accepted
}

/// Calls `each` with every verdict of the naive twin.
#[inline(always)]
pub fn naive_whole(naive: &Naive, input: &Input<'_>, mut each: impl FnMut(usize, Option<Reason>)) {
    let packets = input.packets.iter().zip(&input.opened).enumerate();
    for (at, (packet, (next_header, payload))) in packets {
        match naive.arrive(packet) {
            Ok((sa, outer)) => {
                black_box(&outer);
                each(at, naive.check(sa, *next_header, payload));
            }
            Err(reason) => each(at, Some(reason)),
        }
    }
}

/// One pass of the naive twin; returns how many packets were accepted.
#[inline(never)]
pub fn naive_whole_pass(naive: &Naive, input: &Input<'_>) -> usize {
    let mut accepted = 0;
    naive_whole(naive, input, |_, reason| accepted += usize::from(reason.is_none()));
    accepted
}

/// One pass of the naive twin's arrivals; returns how many reached an SA.
#[inline(never)]
pub fn naive_arrive_pass(naive: &Naive, input: &Input<'_>) -> usize {
    input.packets.iter().filter(|packet| black_box(naive.arrive(packet)).is_ok()).count()
}

/// Packets of a trace that reached an SA of the twin.
pub fn naive_arrived<'n, 't>(naive: &'n Naive, trace: &'t Trace) -> Vec<(&'n Sa, u8, &'t [u8])> {
    let each = (0..trace.len()).filter_map(|at| {
        let (next_header, payload) = trace.opened(at);
        Some((naive.arrive(trace.outer(at)).ok()?.0, next_header, payload))
    });
    each.collect()
}

/// One pass of the naive twin's checks; returns how many packets were accepted.
#[inline(never)]
pub fn naive_check_pass(naive: &Naive, arrived: &[(&Sa, u8, &[u8])]) -> usize {
    let accepts = |(sa, next_header, payload): &&(&Sa, u8, &[u8])| {
        naive.check(sa, *next_header, payload).is_none()
    };
    arrived.iter().filter(accepts).count()
}

/// Compares every verdict of the whole check with what the trace expects.
///
/// # Panics
/// If one differs, or a packet gets none.
pub fn assert_verdicts(worker: &mut Worker<'_>, trace: &Trace, burst: usize) {
    let mut judged = vec![false; trace.len()];
    let mut answers = Answers::new(worker);
    whole(worker, &Input::new(trace), burst, &mut answers, |at, reason| {
        assert_eq!(reason, trace.expected(at), "packet {at}, bursts of {burst}");
        judged[at] = true;
    });
    assert!(judged.iter().all(|judged| *judged));
}

/// Compares every verdict of the naive twin with what the trace expects.
///
/// # Panics
/// If one differs, or a packet gets none.
pub fn assert_naive(naive: &Naive, trace: &Trace) {
    let mut judged = 0;
    naive_whole(naive, &Input::new(trace), |at, reason| {
        assert_eq!(reason, trace.expected(at), "packet {at}, naive twin");
        judged += 1;
    });
    assert_eq!(judged, trace.len());
}

/// Compares the verdicts of checks with what `trace` expects: all of its packets, in its order.
///
/// # Panics
/// If one differs.
pub fn assert_checked(
    worker: &mut Worker<'_>,
    trace: &Trace,
    opened: &[Opened<'_>],
    inner: &[InnerHeaders],
) {
    assert!(opened.len() == trace.len() && inner.len() == trace.len(), "every packet");
    let mut answers = Answers::new(worker);
    for (turn, packets) in opened.chunks(TURN).enumerate() {
        let count = worker.check_burst(packets, INGRESS, &mut answers.verdicts);
        assert_eq!(count, packets.len());
        for (place, opened) in packets.iter().enumerate() {
            let at = turn * TURN + place;
            let expected = trace.expected(at);
            let octets = opened.payload.len();
            let one = worker.check(opened, INGRESS).reason();
            let headers =
                worker.check_headers(opened.sa, opened.outer, &inner[at], octets, INGRESS);
            assert_eq!(answers.verdicts[place].reason(), expected, "packet {at}, in a burst");
            assert_eq!(one, expected, "packet {at}, alone");
            assert_eq!(headers.reason(), expected, "packet {at}, by its headers");
        }
        worker.quiescent();
    }
}
