//! DPDK's `rte_acl`: the first of a list of selectors that covers a packet, through the shim `acl.c`.
//! Feature `dpdk`.
//!
//! Selectors and packets are written in its own form before any clock starts: packets of 16 octets
//! (IPv6: 48) in network order, and an array of pointers to them. It reads a quarter of what
//! [`InnerHeaders`] take.
//!
//! IPv4 addresses are masks if all ranges of their side are prefixes, which is its best form, and
//! ranges otherwise. It has no ranges of 16 octets: IPv6 addresses must be prefixes. It has no value
//! that stands for OPAQUE: ports must be ANY or a range. Packets without ports are given 0, which
//! is right as long as no selector that limits ports covers their protocol.
//!
//! Invariants:
//! - I1: the context came from `espial_peer_acl_new`, and nothing changes it after `new`.
//! - I2: each pointer of [`Packets`] is to a whole packet in `words`, of the family of `stride`.

#![allow(unsafe_code, reason = "calls C")]

use std::ffi::{c_int, c_void};
use std::fmt;
use std::ops::Range;
use std::ptr;
use std::time::Instant;

use espial::headers::{Endpoints, Fragment, InnerHeaders, NextLayer};
use espial::selector::{AddrRange, PortRange, Selector};

use super::dpdk::Owned;
use super::{Algorithm, Question};

#[repr(C)]
#[derive(Default)]
struct Side {
    from: [u32; 4],
    to: [u32; 4],
}

#[repr(C)]
#[derive(Default)]
struct Rule {
    src: Side,
    dst: Side,
    answer: u32,
    sport: [u16; 2],
    dport: [u16; 2],
    protocol: u8,
}

#[repr(C)]
struct Form {
    words: u32,
    addresses: u32,
    src_is_range: bool,
    dst_is_range: bool,
    one_priority: bool,
    max_size: usize,
    most_data: usize,
}

unsafe extern "C" {
    fn espial_peer_acl_new(
        n: u32,
        rules: *const Rule,
        form: *const Form,
        octets: *mut usize,
        error: *mut c_int,
    ) -> *mut c_void;
    fn espial_peer_acl_free(acl: *mut c_void);
    fn espial_peer_acl_can(acl: *mut c_void, algorithm: c_int) -> c_int;
    fn espial_peer_acl_answers(
        acl: *const c_void,
        n: u32,
        packets: *const *const u32,
        burst: u32,
        results: *mut u32,
        algorithm: c_int,
    );
    fn espial_peer_acl_pass(
        acl: *const c_void,
        n: u32,
        packets: *const *const u32,
        burst: u32,
        algorithm: c_int,
    );
}

/// Why there is no table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AclError {
    /// The selector at this place says what rte_acl cannot: OPAQUE, or IPv6 addresses that are no
    /// prefix; or its family is not that of the first.
    Selector(usize),
    /// DPDK's errno: ENOMEM if building takes more than three quarters of the machine's memory, or than
    /// [`Recipe::most_octets`].
    Errno(c_int),
}

impl fmt::Display for AclError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Selector(place) => write!(f, "rte_acl has no rule for selector {place}"),
            Self::Errno(errno) => write!(f, "{}", std::io::Error::from_raw_os_error(*errno)),
        }
    }
}

/// Where rte_acl finds the fields of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// In [`Packets`].
    Words,
    /// In an IPv4 header without options, from its protocol on, and in the octets behind it.
    Header,
}

/// How a table is made, beside its selectors.
#[derive(Clone, Copy, Debug)]
pub struct Recipe<'a> {
    /// What it is asked.
    pub question: Question,
    /// Octets of the table at most: rte_acl tries for fewer and larger tries.
    pub max_size: Option<usize>,
    /// The packets it is asked about.
    pub layout: Layout,
    /// The answer that each selector stands for, none of them 0; without, its place and 1, or 1 of
    /// [`Question::Any`].
    pub answers: Option<&'a [u32]>,
    /// What building may take beside DPDK's heap.
    pub most_octets: Option<usize>,
    /// Whether [`Acl::octets`] is to be known: not for thousands of tables, as each asks the whole heap.
    pub measured: bool,
}

impl Recipe<'_> {
    /// A table for [`Packets`], as rte_acl makes it by itself.
    pub fn new(question: Question) -> Self {
        Self {
            question,
            max_size: None,
            layout: Layout::Words,
            answers: None,
            most_octets: None,
            measured: true,
        }
    }
}

/// Octets of data that this process has; 0 where the system does not say.
fn data_octets() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(5).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}

/// Words of a packet, pad included.
fn stride(words: u32) -> usize {
    if words == 1 { 4 } else { 12 }
}

/// A compiled list of selectors.
pub struct Acl {
    owned: Owned,
    words: u32,
    layout: Layout,
    algorithms: Vec<Algorithm>,
    build_ms: f64,
}

/// The most significant word first.
fn words(value: u128) -> [u32; 4] {
    [96, 64, 32, 0].map(|shift| (value >> shift) as u32)
}

fn is_prefix(range: &AddrRange) -> bool {
    range.to_prefix().is_some()
}

/// One side of a rule; `None` if there is no such rule.
fn side(range: &AddrRange, ranges: bool) -> Option<Side> {
    let first = |word| [word, 0, 0, 0];
    match *range {
        AddrRange::V4 { lo, hi } if ranges => Some(Side { from: first(lo), to: first(hi) }),
        AddrRange::V4 { lo, hi } => {
            Some(Side { from: first(lo), to: first((lo ^ hi).leading_zeros()) })
        }
        AddrRange::V6 { lo, hi } if is_prefix(range) => {
            let length = (lo ^ hi).leading_zeros();
            let to = [0, 32, 64, 96].map(|before| length.saturating_sub(before).min(32));
            Some(Side { from: words(lo), to })
        }
        AddrRange::V6 { .. } => None,
    }
}

fn ports(range: PortRange) -> Option<[u16; 2]> {
    (!range.is_opaque()).then(|| [range.lo(), range.hi()])
}

impl Acl {
    /// Compiles selectors, whose places are the order.
    ///
    /// # Errors
    /// [`AclError`].
    ///
    /// # Panics
    /// If DPDK does not start, or there are not as many answers as selectors.
    pub fn new(selectors: &[Selector], recipe: &Recipe<'_>) -> Result<Self, AclError> {
        assert!(recipe.answers.is_none_or(|answers| answers.len() == selectors.len()));
        let v4 = |selector: &Selector| matches!(selector.remote, AddrRange::V4 { .. });
        let is_v4 = selectors.first().is_none_or(v4);
        let form = Form {
            words: if is_v4 { 1 } else { 4 },
            addresses: if recipe.layout == Layout::Words { 4 } else { 3 },
            src_is_range: is_v4 && !selectors.iter().all(|one| is_prefix(&one.remote)),
            dst_is_range: is_v4 && !selectors.iter().all(|one| is_prefix(&one.local)),
            one_priority: recipe.question == Question::Any,
            max_size: recipe.max_size.unwrap_or(0),
            most_data: recipe.most_octets.map_or(0, |octets| octets + data_octets()),
        };
        let rule = |(place, one): (usize, &Selector)| {
            let rule = || {
                (v4(one) == is_v4).then_some(())?;
                Some(Rule {
                    src: side(&one.remote, form.src_is_range)?,
                    dst: side(&one.local, form.dst_is_range)?,
                    answer: match (recipe.answers, recipe.question) {
                        (Some(answers), _) => answers[place],
                        (None, Question::Any) => 1,
                        (None, Question::First) => place as u32 + 1,
                    },
                    sport: ports(one.remote_ports)?,
                    dport: ports(one.local_ports)?,
                    protocol: one.protocol,
                })
            };
            rule().ok_or(AclError::Selector(place))
        };
        let rules = selectors.iter().enumerate().map(rule).collect::<Result<Vec<_>, _>>()?;
        let mut build_ms = 0.0;
        let owned = Owned::try_new(espial_peer_acl_free, |octets, error| {
            let start = Instant::now();
            let n = u32::try_from(rules.len()).expect("a number of selectors in 32 bits");
            let octets = if recipe.measured { ptr::from_mut(octets) } else { ptr::null_mut() };
            // SAFETY: `rules` holds n, written as `form` says; DPDK runs.
            let made = unsafe { espial_peer_acl_new(n, rules.as_ptr(), &form, octets, error) };
            build_ms = start.elapsed().as_secs_f64() * 1e3;
            made
        });
        let owned = owned.map_err(AclError::Errno)?;
        let can = |algorithm: &Algorithm| {
            // SAFETY: I1.
            unsafe { espial_peer_acl_can(owned.table.as_ptr(), *algorithm as c_int) != 0 }
        };
        let algorithms = Algorithm::ALL.into_iter().filter(can).collect();
        Ok(Self { owned, words: form.words, layout: recipe.layout, algorithms, build_ms })
    }

    /// Those that this machine can, the widest first.
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// What adding the rules and building took.
    pub fn build_ms(&self) -> f64 {
        self.build_ms
    }

    /// Of the table, without the rules that rte_acl keeps; 0 if they are not measured.
    pub fn octets(&self) -> usize {
        self.owned.octets
    }

    /// The context, for a shim that asks about [`Layout::Header`].
    ///
    /// # Panics
    /// If it was made for another layout.
    pub(super) fn of_headers(&self) -> *const c_void {
        assert!(self.layout == Layout::Header && self.words == 1, "a table for IPv4 headers");
        self.owned.table.as_ptr()
    }

    fn check(&self, packets: &Packets, part: &Range<usize>, burst: usize, algorithm: Algorithm) {
        assert!(self.layout == Layout::Words, "a table for packets of this form");
        assert!(packets.words == self.words, "packets of the other family");
        assert!(part.start <= part.end && part.end <= packets.pointers.len(), "no such packets");
        assert!((1..=64).contains(&burst), "bursts of 1 to 64");
        assert!(self.algorithms.contains(&algorithm), "{} cannot be used here", algorithm.name());
    }

    /// The place of the first selector that covers each packet, or place 0 if any does, of
    /// [`Question::Any`].
    ///
    /// # Panics
    /// As [`Acl::pass`].
    pub fn answers(
        &self,
        packets: &Packets,
        burst: usize,
        algorithm: Algorithm,
    ) -> Vec<Option<u32>> {
        let n = packets.pointers.len();
        self.check(packets, &(0..n), burst, algorithm);
        let mut results = vec![0; n];
        let (acl, from, out) =
            (self.owned.table.as_ptr(), packets.pointers.as_ptr(), results.as_mut_ptr());
        // SAFETY: I1, I2; both arrays hold n; `check` has seen family, burst and algorithm.
        unsafe {
            espial_peer_acl_answers(acl, n as u32, from, burst as u32, out, algorithm as c_int);
        }
        results.into_iter().map(|answer: u32| answer.checked_sub(1)).collect()
    }

    /// Classifies some packets, `burst` with each call.
    ///
    /// # Panics
    /// If the packets are of the other family, the burst is not 1 to 64, or the machine cannot do
    /// `algorithm`.
    #[inline]
    pub fn pass(&self, packets: &Packets, part: Range<usize>, burst: usize, algorithm: Algorithm) {
        self.check(packets, &part, burst, algorithm);
        let (acl, from) = (self.owned.table.as_ptr(), packets.pointers[part.clone()].as_ptr());
        let (n, burst, algorithm) = (part.len() as u32, burst as u32, algorithm as c_int);
        // SAFETY: I1, I2; the part holds n; `check` has seen family, burst and algorithm.
        unsafe { espial_peer_acl_pass(acl, n, from, burst, algorithm) }
    }
}

/// Packets in rte_acl's form.
pub struct Packets {
    /// Where `pointers` point: not changed, nor moved.
    _room: Vec<u32>,
    words: u32,
    pointers: Vec<*const u32>,
}

impl Packets {
    /// Writes packets, which are all of the first one's family.
    ///
    /// # Panics
    /// If one is of the other family.
    pub fn new(packets: &[InnerHeaders]) -> Self {
        let v4 = |packet: &InnerHeaders| matches!(packet.endpoints, Endpoints::V4 { .. });
        let is_v4 = packets.first().is_none_or(v4);
        let count = if is_v4 { 1 } else { 4 };
        let mut room = Vec::with_capacity(packets.len() * stride(count));
        for packet in packets {
            assert_eq!(v4(packet), is_v4, "packets of one family");
            let first = room.len();
            room.push(u32::from_ne_bytes([packet.protocol, 0, 0, 0]));
            match packet.endpoints {
                Endpoints::V4 { src, dst } => room.extend([src.to_be(), dst.to_be()]),
                Endpoints::V6 { src, dst } => {
                    room.extend([src, dst].into_iter().flat_map(words).map(u32::to_be));
                }
            }
            let (src, dst) = match (packet.fragment, packet.next_layer) {
                (Fragment::NonInitial, _) | (_, NextLayer::Opaque) => (0, 0),
                (_, NextLayer::Ports { src, dst }) => (src, dst),
                (_, NextLayer::Icmp(value) | NextLayer::Mobility(value)) => (value, 0),
            };
            room.push((u32::from(src) << 16 | u32::from(dst)).to_be());
            room.resize(first + stride(count), 0);
        }
        let pointers = room.chunks(stride(count)).map(<[u32]>::as_ptr).collect();
        Self { _room: room, words: count, pointers }
    }
}
