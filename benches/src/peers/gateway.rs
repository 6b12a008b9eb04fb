//! The whole inbound check made of DPDK's parts: `rte_ipsec_sad`, `rte_acl` and counters, through the
//! shim `gateway.c`. Feature `dpdk`.
//!
//! `rte_acl` has no question about one list out of many. [`Way`] are the two ways to ask whether the
//! selectors of a packet's SA cover it. Packets and plans are IPv4, as of [`Plan::disjoint`].
//!
//! Invariants:
//! - I1: the gateway came from `espial_peer_gateway_new`; its SAs are as many as `sas`.
//! - I2: contexts that it points to are those of `own` and `all`, made for headers; each is set before a
//!   pass asks for it, and lives as long as the gateway.
//! - I3: pointers of [`Packets`] are to octets of its trace, as many as it says; `tuples` lie in them.
//! - I4: counters change under `&Gateway`: it is not `Sync`, and hands out no reference to them.

#![allow(unsafe_code, reason = "calls C")]

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr;
use std::time::Instant;

use espial::selector::Selector;
use espial::verdict::Reason;

use super::acl::{Acl, Layout, Recipe};
use super::dpdk::{Owned, heap_octets};
use super::{Algorithm, Built, Question, Way};
use crate::{Plan, Trace};

#[repr(C)]
struct Packet {
    outer: *const u8,
    inner: *const u8,
    outer_octets: u16,
    inner_octets: u16,
    next_header: u8,
}

unsafe extern "C" {
    fn espial_peer_gateway_new(
        n: u32,
        spis: *const u32,
        children: *const u32,
        octets: *mut usize,
        error: *mut c_int,
    ) -> *mut c_void;
    fn espial_peer_gateway_free(gateway: *mut c_void);
    fn espial_peer_gateway_own(gateway: *mut c_void, n: u32, contexts: *const *const c_void);
    fn espial_peer_gateway_all(gateway: *mut c_void, context: *const c_void);
    fn espial_peer_gateway_counted(gateway: *const c_void, n: u32, sa: u32, counted: *mut u64);
    fn espial_peer_gateway_pass(
        gateway: *mut c_void,
        way: c_int,
        n: u32,
        packets: *const Packet,
        sas: *const u32,
        burst: u32,
        verdicts: *mut u8,
        algorithm: c_int,
    ) -> u32;
    fn espial_peer_gateway_tuples(n: u32, packets: *const Packet, tuples: *mut *const u8) -> c_int;
    fn espial_peer_gateway_ask(
        n: u32,
        contexts: *const *const c_void,
        tuples: *const *const u8,
        burst: u32,
        results: *mut u32,
        algorithm: c_int,
    );
}

/// A gateway of DPDK's parts with the configuration of a plan.
pub struct Gateway {
    gateway: Owned,
    sas: u32,
    children: Vec<usize>,
    own: Vec<Acl>,
    all: Option<Acl>,
}

impl Gateway {
    /// The SPIs and SAs of a plan; their selectors come with [`Gateway::build`].
    ///
    /// # Panics
    /// If DPDK does not start or has no room, with its errno.
    pub fn new(plan: &Plan) -> Self {
        let spis: Vec<u32> = plan.sas.iter().map(|sa| sa.spi).collect();
        let children: Vec<usize> = plan.sas.iter().map(|sa| sa.child).collect();
        let numbers: Vec<u32> = children.iter().map(|child| number(*child)).collect();
        let sas = u32::try_from(spis.len()).expect("a number of SAs in 32 bits");
        let gateway = Owned::new(espial_peer_gateway_free, |octets, error| {
            // SAFETY: both arrays hold as many as there are SAs; DPDK runs.
            unsafe { espial_peer_gateway_new(sas, spis.as_ptr(), numbers.as_ptr(), octets, error) }
        });
        Self { gateway, sas, children, own: Vec::new(), all: None }
    }

    /// Compiles the selectors of a plan. `most_octets` is what building may take beside DPDK's heap,
    /// `most_seconds` what it may last: where that can be known before the end, it is given up.
    ///
    /// # Errors
    /// Why there are no such tables, and what there would have been to be built.
    pub fn build(
        &mut self,
        plan: &Plan,
        way: Way,
        most_octets: usize,
        most_seconds: f64,
    ) -> Result<Built, String> {
        let (start, before) = (Instant::now(), heap_octets());
        let recipe = |question| Recipe {
            layout: Layout::Header,
            most_octets: Some(most_octets),
            measured: false,
            ..Recipe::new(question)
        };
        match way {
            Way::Own => {
                let mut own = Vec::with_capacity(plan.children.len());
                for child in &plan.children {
                    let done = own.len();
                    let gave_up = |why: &dyn std::fmt::Display| {
                        format!("{why} after {done} of {} contexts", plan.children.len())
                    };
                    if start.elapsed().as_secs_f64() > most_seconds {
                        return Err(gave_up(&format!("{most_seconds:.0} s")));
                    }
                    if heap_octets_now_and_then(done).saturating_sub(before) > most_octets {
                        return Err(gave_up(&format!("{} MiB", most_octets >> 20)));
                    }
                    let made = Acl::new(&child.selectors, &recipe(Question::Any));
                    own.push(made.map_err(|error| gave_up(&error))?);
                }
                self.own = own;
                let contexts: Vec<_> =
                    self.children.iter().map(|c| self.own[*c].of_headers()).collect();
                let gateway = self.gateway.table.as_ptr();
                // SAFETY: I1, I2: one for each SA, of tables that are kept.
                unsafe { espial_peer_gateway_own(gateway, self.sas, contexts.as_ptr()) }
            }
            Way::All => {
                let selectors: Vec<Selector> =
                    plan.children.iter().flat_map(|child| child.selectors.clone()).collect();
                let of_child = plan.children.iter().enumerate();
                let answers = of_child.flat_map(|(at, one)| vec![number(at); one.selectors.len()]);
                let answers: Vec<u32> = answers.collect();
                let recipe = Recipe { answers: Some(&answers), ..recipe(Question::First) };
                let all = Acl::new(&selectors, &recipe).map_err(|error| {
                    let seconds = start.elapsed().as_secs_f64();
                    format!("{error} after {seconds:.0} s of {} rules", selectors.len())
                })?;
                // SAFETY: I1, I2: a table that is kept.
                unsafe { espial_peer_gateway_all(self.gateway.table.as_ptr(), all.of_headers()) }
                self.all = Some(all);
            }
        }
        let octets = heap_octets().saturating_sub(before);
        Ok(Built { seconds: start.elapsed().as_secs_f64(), octets })
    }

    /// Whether its tables are built.
    pub fn has(&self, way: Way) -> bool {
        match way {
            Way::Own => !self.own.is_empty(),
            Way::All => self.all.is_some(),
        }
    }

    /// Those that this machine can, the widest first; none before [`Gateway::build`].
    pub fn algorithms(&self) -> &[Algorithm] {
        self.all.as_ref().or(self.own.first()).map_or(&[], Acl::algorithms)
    }

    /// What was counted: accepted packets, their octets, drops. Of an SA; of packets without one for the
    /// number behind the last SA's.
    pub fn counted(&self, sa: usize) -> [u64; 3] {
        let mut counted = [0; 3];
        let (gateway, sa) = (self.gateway.table.as_ptr(), sa as u32);
        // SAFETY: I1; `counted` holds three.
        unsafe { espial_peer_gateway_counted(gateway, self.sas, sa, counted.as_mut_ptr()) };
        counted
    }

    fn check(&self, way: Way, packets: &Packets<'_>, part: &Range<usize>, burst: usize) {
        assert!(self.has(way), "its selectors are compiled");
        assert!(part.start <= part.end && part.end <= packets.packets.len(), "no such packets");
        assert!((1..=64).contains(&burst), "bursts of 1 to 64");
    }

    fn run(
        &self,
        ask: Ask,
        packets: &Packets<'_>,
        part: Range<usize>,
        verdicts: Option<&mut [u8]>,
    ) -> usize {
        let Ask { way, burst, algorithm, from } = ask;
        self.check(way, packets, &part, burst);
        assert!(self.algorithms().contains(&algorithm), "{} cannot be used", algorithm.name());
        assert!(verdicts.as_ref().is_none_or(|verdicts| verdicts.len() == part.len()));
        let sas = match from {
            From::Arrival => ptr::null(),
            From::Opening => {
                let sas = &packets.sas[part.clone()];
                assert!(sas.iter().all(|sa| *sa < self.sas), "SAs of the plan");
                sas.as_ptr()
            }
        };
        let verdicts = verdicts.map_or(ptr::null_mut(), <[u8]>::as_mut_ptr);
        let (n, burst, packets) = (part.len() as u32, burst as u32, packets.packets[part].as_ptr());
        let gateway = self.gateway.table.as_ptr();
        let (way, algorithm) = (way as c_int, algorithm as c_int);
        // SAFETY: I1, I2, I3, I4; all arrays hold n, and no SA is beyond the last one.
        let accepted = unsafe {
            espial_peer_gateway_pass(gateway, way, n, packets, sas, burst, verdicts, algorithm)
        };
        accepted as usize
    }

    /// One pass over some packets; returns how many were accepted.
    ///
    /// # Panics
    /// If the tables of the way are not built, the burst is not 1 to 64, the machine cannot do the
    /// algorithm, or a packet that is asked from its opening on came on no SA.
    #[inline]
    pub fn pass(&self, ask: Ask, packets: &Packets<'_>, part: Range<usize>) -> usize {
        self.run(ask, packets, part, None)
    }

    /// Compares every verdict with what must come of each packet.
    ///
    /// # Panics
    /// If one differs, or as [`Gateway::pass`].
    pub fn assert_verdicts(&self, ask: Ask, packets: &Packets<'_>) {
        let mut verdicts = vec![u8::MAX; packets.packets.len()];
        self.run(ask, packets, 0..packets.packets.len(), Some(&mut verdicts));
        for (at, (verdict, expected)) in verdicts.iter().zip(&packets.expected).enumerate() {
            assert_eq!(verdict, expected, "{ask:?}, packet {at}");
        }
    }

    /// The contexts of packets that came on SAs, for [`Contexts::pass`].
    ///
    /// # Panics
    /// If one came on no SA, or contexts of SAs are not built.
    pub fn contexts<'g>(&'g self, packets: &Packets<'g>) -> Contexts<'g> {
        assert!(self.has(Way::Own), "its selectors are compiled");
        let child = |sa: &u32| self.children[*sa as usize];
        let contexts: Vec<_> =
            packets.sas.iter().map(|sa| self.own[child(sa)].of_headers()).collect();
        let mut tuples = vec![ptr::null(); contexts.len()];
        let (n, of) = (contexts.len() as u32, packets.packets.as_ptr());
        // SAFETY: I3; both arrays hold n.
        let whole = unsafe { espial_peer_gateway_tuples(n, of, tuples.as_mut_ptr()) };
        assert!(whole != 0, "packets without options and fragments");
        let expected = packets.expected.clone();
        Contexts { contexts, tuples, expected, algorithms: self.algorithms(), gateway: PhantomData }
    }
}

/// A Child SA's number in the list of all: 0 is no answer.
fn number(child: usize) -> u32 {
    u32::try_from(child + 1).expect("a number of Child SAs in 32 bits")
}

/// [`heap_octets`] of each thousandth call: it walks over the whole heap.
fn heap_octets_now_and_then(call: usize) -> usize {
    if call.is_multiple_of(1000) { heap_octets() } else { 0 }
}

/// Where a pass begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    /// With the packet as it arrives.
    Arrival,
    /// With the opened packet, whose SA is known.
    Opening,
}

/// How packets are asked about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ask {
    /// Where it begins.
    pub from: From,
    /// How their selectors are asked.
    pub way: Way,
    /// Packets a turn, 64 at most.
    pub burst: usize,
    /// How rte_acl classifies.
    pub algorithm: Algorithm,
}

/// Packets of a trace as the shim takes them.
pub struct Packets<'t> {
    packets: Vec<Packet>,
    /// Their SAs, `u32::MAX` if there is none.
    sas: Vec<u32>,
    expected: Vec<u8>,
    of: PhantomData<&'t Trace>,
}

impl<'t> Packets<'t> {
    /// The packets of `trace`.
    pub fn new(trace: &'t Trace) -> Self {
        let mut all =
            Self { packets: Vec::new(), sas: Vec::new(), expected: Vec::new(), of: PhantomData };
        for at in 0..trace.len() {
            let (outer, (next_header, inner)) = (trace.outer(at), trace.opened(at));
            all.packets.push(Packet {
                outer: outer.as_ptr(),
                inner: inner.as_ptr(),
                outer_octets: outer.len() as u16,
                inner_octets: inner.len() as u16,
                next_header,
            });
            all.sas.push(trace.sa(at).map_or(u32::MAX, |sa| sa as u32));
            all.expected.push(match trace.expected(at) {
                None => 0,
                Some(Reason::UnknownSpi) => 1,
                Some(_) => 2,
            });
        }
        all
    }
}

/// The selectors of each packet's SA, and the packets in rte_acl's form: pointers to both.
pub struct Contexts<'g> {
    contexts: Vec<*const c_void>,
    tuples: Vec<*const u8>,
    expected: Vec<u8>,
    algorithms: &'g [Algorithm],
    gateway: PhantomData<&'g Gateway>,
}

impl Contexts<'_> {
    fn run(&self, part: Range<usize>, burst: usize, algorithm: Algorithm, results: *mut u32) {
        assert!((1..=64).contains(&burst), "bursts of 1 to 64");
        assert!(self.algorithms.contains(&algorithm), "{} cannot be used", algorithm.name());
        let (contexts, tuples) = (&self.contexts[part.clone()], &self.tuples[part]);
        let (n, burst, algorithm) = (contexts.len() as u32, burst as u32, algorithm as c_int);
        let (contexts, tuples) = (contexts.as_ptr(), tuples.as_ptr());
        // SAFETY: I2, I3, both borrowed; the arrays hold n, `results` as well or is NULL.
        unsafe { espial_peer_gateway_ask(n, contexts, tuples, burst, results, algorithm) }
    }

    /// Asks the selectors of each packet's SA; packets of one SA that follow each other share a call.
    ///
    /// # Panics
    /// If the burst is not 1 to 64, or the machine cannot do the algorithm.
    #[inline]
    pub fn pass(&self, part: Range<usize>, burst: usize, algorithm: Algorithm) {
        self.run(part, burst, algorithm, ptr::null_mut());
    }

    /// Compares every answer with what must come of each packet.
    ///
    /// # Panics
    /// If one differs, or as [`Contexts::pass`].
    pub fn assert_answers(&self, burst: usize, algorithm: Algorithm) {
        let mut results = vec![0; self.contexts.len()];
        self.run(0..results.len(), burst, algorithm, results.as_mut_ptr());
        for (at, (result, expected)) in results.iter().zip(&self.expected).enumerate() {
            assert_eq!(*result != 0, *expected == 0, "packet {at}, bursts of {burst}");
        }
    }
}
