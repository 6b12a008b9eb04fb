//! The matcher of espial and its peers over the same selectors: passes that are timed, and what each
//! must answer.
//!
//! Owns which programs compete and how each is asked. Knows nothing of clocks. A table is made when a
//! contender is first asked for, and opened before the clock starts. By then each side has the packets in
//! the form that its API takes: espial 64 octets of host-order headers each, `rte_acl` 16 octets in
//! network order (IPv6: 48) behind an array of pointers. Answers are written to an array as long as a burst.

use std::cell::OnceCell;
use std::hint::black_box;
use std::ops::Range;
use std::time::Instant;

use espial::headers::InnerHeaders;
use espial::matcher::{Backend, Matcher, Words, compile, merge};
use espial::selector::Selector;

#[cfg(feature = "dpdk")]
use crate::peers::acl::{Acl, Packets, Recipe};
use crate::peers::{Algorithm, Question};

/// Boxes that are asked one by one to know what a trace must be answered: a sample of a long trace.
const ASKED: usize = if cfg!(debug_assertions) { 1 << 22 } else { 1 << 27 };

/// The most packets a call is given.
const BURST: usize = 64;

/// A program and how it is asked. Bursts of 1 are the calls for single packets, where there are some.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contender {
    /// [`Matcher`], so many packets with a call.
    Espial(usize),
    /// The same with AVX2 alone.
    Avx2(usize),
    /// One selector after the other.
    Linear,
    /// `rte_acl`, so many packets with a call.
    Acl(Algorithm, Tries, usize),
}

/// How many tries `rte_acl` compiles selectors to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tries {
    /// As many as it likes, 8 at most.
    Default,
    /// Fewer and larger ones, as long as they fit [`List::max_size`].
    Fewer,
}

/// A list of selectors, compiled.
pub struct List {
    selectors: Vec<Selector>,
    words: Words,
    build_ms: f64,
    /// What it took to merge them before, if they are merged.
    merge_ms: f64,
    merged: OnceCell<Box<List>>,
    max_size: Option<usize>,
    /// By question, then by [`Tries`].
    #[cfg(feature = "dpdk")]
    acl: [[OnceCell<Option<Acl>>; 2]; 2],
}

/// Packets, and what they must be answered.
pub struct Trace {
    packets: Vec<InnerHeaders>,
    #[cfg(feature = "dpdk")]
    in_network_order: OnceCell<Packets>,
    /// The first selector that covers each; of a sample, the first ones.
    firsts: Vec<Option<u32>>,
}

impl Trace {
    /// A trace with the expected answers, or with those of the plain twin, as many as that can give in
    /// a second.
    pub fn new(packets: Vec<InnerHeaders>, firsts: Option<Vec<Option<u32>>>, list: &List) -> Self {
        let sample = (ASKED / list.selectors.len().max(1)).min(packets.len());
        let firsts = firsts.unwrap_or_else(|| {
            packets[..sample].iter().map(|packet| linear(&list.selectors, packet)).collect()
        });
        Self {
            packets,
            #[cfg(feature = "dpdk")]
            in_network_order: OnceCell::new(),
            firsts,
        }
    }

    /// How many packets there are.
    #[allow(clippy::len_without_is_empty, reason = "one that is empty is of no use")]
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// How many of the packets whose answer is known are covered, from 0 to 1.
    pub fn covered(&self) -> f64 {
        let covered = self.firsts.iter().flatten().count();
        covered as f64 / self.firsts.len().max(1) as f64
    }

    #[cfg(feature = "dpdk")]
    fn in_network_order(&self) -> &Packets {
        self.in_network_order.get_or_init(|| Packets::new(&self.packets))
    }
}

/// Where the processor has it.
fn avx2() -> Option<Backend> {
    Backend::all().find(|one| one.name() == "avx2")
}

fn linear(selectors: &[Selector], packet: &InnerHeaders) -> Option<u32> {
    let found = selectors.iter().position(|selector| selector.covers(packet));
    found.map(|place| place as u32)
}

impl List {
    /// Compiles selectors for espial.
    ///
    /// # Panics
    /// If they are more than it takes.
    pub fn new(selectors: Vec<Selector>) -> Self {
        // The second time: by then the allocator has pages, as it has for who compiles after.
        let first = compile(&selectors);
        drop(first);
        let start = Instant::now();
        let words = compile(&selectors).expect("a set that fits");
        Matcher::open(&words).expect("words as compiled");
        let build_ms = start.elapsed().as_secs_f64() * 1e3;
        Self {
            selectors,
            words,
            build_ms,
            merge_ms: 0.0,
            merged: OnceCell::new(),
            max_size: None,
            #[cfg(feature = "dpdk")]
            acl: Default::default(),
        }
    }

    /// Lets `rte_acl` take so many octets for fewer tries.
    pub fn max_size(mut self, octets: Option<usize>) -> Self {
        self.max_size = octets;
        self
    }

    /// What was compiled.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// The list merged, for the question whether one covers: traces of this list are answered by that one too.
    pub fn merged(&self) -> &Self {
        self.merged.get_or_init(|| {
            let mut selectors = self.selectors.clone();
            let start = Instant::now();
            let left = merge(&mut selectors);
            let merge_ms = start.elapsed().as_secs_f64() * 1e3;
            selectors.truncate(left);
            Box::new(Self { merge_ms, ..Self::new(selectors).max_size(self.max_size) })
        })
    }

    #[cfg(feature = "dpdk")]
    fn acl(&self, question: Question, tries: Tries) -> Option<&Acl> {
        let made = || Acl::new(&self.selectors, &Recipe::new(question)).ok();
        let default = self.acl[question as usize][0].get_or_init(made);
        if tries == Tries::Default {
            return default.as_ref();
        }
        let fewer = || {
            let recipe = Recipe { max_size: Some(self.max_size?), ..Recipe::new(question) };
            let acl = Acl::new(&self.selectors, &recipe).ok()?;
            // The same table again is no other contender.
            (default.as_ref().map(Acl::octets) != Some(acl.octets())).then_some(acl)
        };
        self.acl[question as usize][1].get_or_init(fewer).as_ref()
    }

    /// Whether it is built in, runs on this machine and takes these selectors.
    pub fn has(&self, contender: Contender, question: Question) -> bool {
        match contender {
            Contender::Espial(_) | Contender::Linear => true,
            Contender::Avx2(_) => avx2().is_some(),
            #[cfg(feature = "dpdk")]
            Contender::Acl(algorithm, tries, _) => {
                self.acl(question, tries).is_some_and(|acl| acl.algorithms().contains(&algorithm))
            }
            #[cfg(not(feature = "dpdk"))]
            Contender::Acl(..) => {
                let _ = question;
                false
            }
        }
    }

    /// What compiling took, and octets of what it made; `None` of what is not compiled.
    pub fn built(&self, contender: Contender, question: Question) -> Option<(f64, usize)> {
        match contender {
            Contender::Espial(_) | Contender::Avx2(_) => {
                Some((self.merge_ms + self.build_ms, self.words.len() * 8))
            }
            Contender::Linear => Some((0.0, self.selectors.len() * size_of::<Selector>())),
            #[cfg(feature = "dpdk")]
            Contender::Acl(_, tries, _) => {
                let acl = self.acl(question, tries)?;
                Some((self.merge_ms + acl.build_ms(), acl.octets()))
            }
            #[cfg(not(feature = "dpdk"))]
            Contender::Acl(..) => {
                let _ = question;
                None
            }
        }
    }

    /// Searched as a contender does.
    fn matcher(&self, contender: Contender) -> Matcher<'_> {
        let matcher = Matcher::open(&self.words).expect("words as compiled");
        match (contender, avx2()) {
            (Contender::Avx2(_), Some(backend)) => matcher.with_backend(backend),
            _ => matcher,
        }
    }

    /// What a contender says; of the question whether one covers it, place 0 says yes.
    fn answers(&self, contender: Contender, question: Question, trace: &Trace) -> Vec<Option<u32>> {
        let packets = &trace.packets[..];
        let place = |covered: bool| covered.then_some(0);
        match contender {
            Contender::Espial(burst) | Contender::Avx2(burst) => {
                let matcher = self.matcher(contender);
                let (mut places, mut covered) = ([None; BURST], [false; BURST]);
                let mut answers = Vec::with_capacity(packets.len());
                for packets in packets.chunks(burst) {
                    match (question, packets) {
                        (Question::First, [packet]) => answers.push(matcher.first(packet)),
                        (Question::Any, [packet]) => answers.push(place(matcher.any(packet))),
                        (Question::First, packets) => {
                            let n = matcher.first_burst(packets, &mut places[..packets.len()]);
                            answers.extend(&places[..n]);
                        }
                        (Question::Any, packets) => {
                            let n = matcher.any_burst(packets, &mut covered[..packets.len()]);
                            answers.extend(covered[..n].iter().copied().map(place));
                        }
                    }
                }
                answers
            }
            Contender::Linear => trace
                .firsts
                .iter()
                .map(|first| match question {
                    Question::First => *first,
                    Question::Any => place(first.is_some()),
                })
                .collect(),
            #[cfg(feature = "dpdk")]
            Contender::Acl(algorithm, tries, burst) => {
                let acl = self.acl(question, tries).expect("a contender that is there");
                acl.answers(trace.in_network_order(), burst, algorithm)
            }
            #[cfg(not(feature = "dpdk"))]
            Contender::Acl(..) => panic!("built without feature dpdk"),
        }
    }

    /// Opens what a pass needs, and compares every answer: with the expected ones as far as these are
    /// known, and with espial's.
    ///
    /// # Panics
    /// If one differs, or there is no such contender ([`List::has`]).
    pub fn ready<'a>(
        &'a self,
        contender: Contender,
        question: Question,
        trace: &'a Trace,
    ) -> Ready<'a> {
        let answers = self.answers(contender, question, trace);
        let same = |what: &str, expected: &[Option<u32>]| {
            let pairs = answers.iter().zip(expected);
            for (at, (answer, expected)) in pairs.enumerate() {
                assert!(
                    answer == expected,
                    "{contender:?}, {question:?}, packet {at}, {:?}: {answer:?}, {what}: {expected:?}",
                    trace.packets[at],
                );
            }
        };
        same("expected", &self.answers(Contender::Linear, question, trace));
        if matches!(contender, Contender::Acl(..)) {
            same("espial", &self.answers(Contender::Espial(1), question, trace));
            assert_eq!(answers.len(), trace.len());
        }
        Ready { contender, question, list: self, matcher: self.matcher(contender), trace }
    }
}

/// A contender whose answers about a trace have been compared, with its table opened: who opens one tests
/// all of it, which is not part of a lookup.
pub struct Ready<'a> {
    contender: Contender,
    question: Question,
    list: &'a List,
    matcher: Matcher<'a>,
    trace: &'a Trace,
}

impl Ready<'_> {
    /// Asks about a part of the trace. Its loops are functions of their own.
    pub fn pass(&self, part: Range<usize>) {
        let Self { list, matcher, trace, .. } = self;
        match (self.contender, self.question) {
            (Contender::Espial(1) | Contender::Avx2(1), Question::First) => {
                first_singles(matcher, &trace.packets[part]);
            }
            (Contender::Espial(1) | Contender::Avx2(1), Question::Any) => {
                any_singles(matcher, &trace.packets[part]);
            }
            (Contender::Espial(burst) | Contender::Avx2(burst), Question::First) => {
                first_bursts(matcher, &trace.packets[part], burst);
            }
            (Contender::Espial(burst) | Contender::Avx2(burst), Question::Any) => {
                any_bursts(matcher, &trace.packets[part], burst);
            }
            // Neither question is easier for it: the first one ends both.
            (Contender::Linear, _) => {
                for packet in &trace.packets[part] {
                    black_box(linear(&list.selectors, packet));
                }
            }
            #[cfg(feature = "dpdk")]
            (Contender::Acl(algorithm, tries, burst), question) => {
                let acl = list.acl(question, tries).expect("a contender that is there");
                acl.pass(trace.in_network_order(), part, burst, algorithm);
            }
            #[cfg(not(feature = "dpdk"))]
            (Contender::Acl(..), _) => panic!("built without feature dpdk"),
        }
    }
}

#[inline(never)]
fn first_singles(matcher: &Matcher<'_>, packets: &[InnerHeaders]) {
    for packet in packets {
        black_box(matcher.first(packet));
    }
}

#[inline(never)]
fn any_singles(matcher: &Matcher<'_>, packets: &[InnerHeaders]) {
    for packet in packets {
        black_box(matcher.any(packet));
    }
}

#[inline(never)]
fn first_bursts(matcher: &Matcher<'_>, packets: &[InnerHeaders], burst: usize) {
    let mut found = [None; BURST];
    for packets in packets.chunks(burst) {
        matcher.first_burst(packets, &mut found);
        black_box(&mut found);
    }
}

#[inline(never)]
fn any_bursts(matcher: &Matcher<'_>, packets: &[InnerHeaders], burst: usize) {
    let mut covered = [false; BURST];
    for packets in packets.chunks(burst) {
        matcher.any_burst(packets, &mut covered);
        black_box(&mut covered);
    }
}

#[cfg(test)]
mod tests {
    use espial::headers::Family;

    use super::*;
    use crate::selectors::{Shape, Traffic, packets, selectors};

    fn contenders() -> Vec<Contender> {
        let mut all = vec![Contender::Espial(1), Contender::Espial(7), Contender::Espial(32)];
        all.extend([Contender::Avx2(1), Contender::Avx2(32)]);
        for algorithm in Algorithm::ALL {
            let ways = [Tries::Default, Tries::Fewer]
                .map(|tries| [1, 5, 32, 64].map(|burst| Contender::Acl(algorithm, tries, burst)));
            all.extend(ways.into_iter().flatten());
        }
        all
    }

    #[test]
    fn every_contender_answers_as_the_plain_list_does() {
        for shape in Shape::ALL {
            for family in [Family::V4, Family::V6] {
                let n = if shape == Shape::Sites(256) { 256 } else { 64 };
                let set = selectors(shape, n, family, 5);
                let list = List::new(set).max_size(Some(1 << 26));
                for traffic in Traffic::ALL {
                    let Some(packets) = packets(list.selectors(), traffic, 300, 5) else {
                        continue;
                    };
                    let trace = Trace::new(packets, None, &list);
                    assert_eq!(trace.firsts.len(), 300);
                    match traffic {
                        Traffic::Hit => assert_eq!(trace.covered(), 1.0),
                        Traffic::Miss => assert_eq!(trace.covered(), 0.0),
                        Traffic::Near => assert!(trace.covered() < 1.0, "{shape:?}"),
                    }
                    for question in Question::ALL {
                        for contender in contenders() {
                            let merged = (question == Question::Any).then(|| list.merged());
                            for list in [Some(&list), merged].into_iter().flatten() {
                                if list.has(contender, question) {
                                    list.ready(contender, question, &trace).pass(3..300);
                                }
                            }
                        }
                    }
                }
                // The peer takes part wherever it can: prefixes, and ranges of IPv4.
                let peer = Contender::Acl(Algorithm::Scalar, Tries::Default, 1);
                let prefixes = list
                    .selectors()
                    .iter()
                    .all(|one| one.remote.to_prefix().is_some() && one.local.to_prefix().is_some());
                let can = cfg!(feature = "dpdk") && (family == Family::V4 || prefixes);
                // It takes no more than 8 tries: 64 random boxes are too much for 22.11.
                if shape != Shape::Wide {
                    assert_eq!(list.has(peer, Question::First), can, "{shape:?}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "packet 4")]
    fn another_answer_is_noticed() {
        let list = List::new(selectors(Shape::Acl, 100, Family::V4, 5));
        let packets = packets(list.selectors(), Traffic::Hit, 10, 5).unwrap();
        let mut trace = Trace::new(packets, None, &list);
        trace.firsts[4] = None;
        list.ready(Contender::Espial(1), Question::Any, &trace);
    }
}
