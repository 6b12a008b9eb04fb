//! What a connection is found by, and how keys are hashed.
//!
//! The hash is SipHash 1-3 (Aumasson and Bernstein 2012) with the caller's seed. The multilinear hash of the
//! SPI table is faster and would not do: the peer chooses all of a key here, and against a linear hash one
//! pair of keys that is seen to collide gives all others with the same difference.

use core::fmt;
use core::num::NonZeroU32;

use super::sip;
use crate::headers::{Endpoints, Fragment, InnerHeaders, NextLayer};

/// What a connection is found by, as the packet says it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowKey {
    /// Source and destination address.
    pub endpoints: Endpoints,
    /// Next layer protocol.
    pub protocol: u8,
    /// Source port; 0 where the protocol has none.
    pub src_port: u16,
    /// Destination port; 0 where the protocol has none.
    pub dst_port: u16,
}

impl FlowKey {
    /// The key of a packet in the clear; `None` if it has none of its own: a later fragment holds no ports (T20),
    /// and an ICMP error belongs to the flow of the packet that it is about, so that a flow of errors lets
    /// nothing in.
    pub fn of(headers: &InnerHeaders) -> Option<Self> {
        let InnerHeaders { endpoints, protocol, next_layer, fragment } = *headers;
        let (src_port, dst_port) = match next_layer {
            NextLayer::Ports { src, dst } => (src, dst),
            _ => (0, 0),
        };
        let has_one = fragment != Fragment::NonInitial && !headers.is_icmp_error();
        has_one.then_some(Self { endpoints, protocol, src_port, dst_port })
    }

    /// The key of the packets that answer these.
    pub fn reversed(self) -> Self {
        Self {
            endpoints: self.endpoints.reversed(),
            protocol: self.protocol,
            src_port: self.dst_port,
            dst_port: self.src_port,
        }
    }
}

/// `protocol source -> destination`, ports behind a number sign.
impl fmt::Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoints, protocol, src_port, dst_port } = self;
        let (src, dst) = (endpoints.src(), endpoints.dst());
        write!(f, "protocol {protocol} {src}#{src_port} -> {dst}#{dst_port}")
    }
}

/// A key in 40 octets, whatever its family.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Compact {
    /// The last word of the message that is hashed: ports and protocol are its last five octets, and its length
    /// tells the families apart.
    pub(super) rest: u64,
    /// IPv4: source and destination in the first word. IPv6: two words each.
    pub(super) addrs: [u64; 4],
}

impl PartialEq for Compact {
    /// What differs most often first; of IPv4 the rest is zero.
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        let ([a, this @ ..], [b, that @ ..]) = (&self.addrs, &other.addrs);
        a == b && self.rest == other.rest && (self.rest & Self::V6 == 0 || this == that)
    }
}

impl Compact {
    /// Two addresses of 4 octets and five more.
    const V4_OCTETS: u64 = 13;
    /// Two addresses of 16 octets and five more.
    const V6_OCTETS: u64 = 37;
    /// A bit that only the length of IPv6 has.
    const V6: u64 = (Self::V6_OCTETS & !Self::V4_OCTETS) << 56;
    /// No key.
    pub(super) const NONE: Self = Self { rest: 0, addrs: [0; 4] };

    #[inline]
    pub(super) fn of(key: &FlowKey) -> Self {
        let (octets, addrs) = match key.endpoints {
            Endpoints::V4 { src, dst } => {
                (Self::V4_OCTETS, [u64::from(src) << 32 | u64::from(dst), 0, 0, 0])
            }
            Endpoints::V6 { src, dst } => {
                let [a, b] = [(src >> 64) as u64, src as u64];
                (Self::V6_OCTETS, [a, b, (dst >> 64) as u64, dst as u64])
            }
        };
        let ports = u64::from(key.src_port) << 16 | u64::from(key.dst_port);
        Self { rest: octets << 56 | u64::from(key.protocol) << 32 | ports, addrs }
    }

    pub(super) fn key(&self) -> FlowKey {
        let [a, b, c, d] = self.addrs;
        let wide = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
        FlowKey {
            endpoints: if self.rest & Self::V6 == 0 {
                Endpoints::V4 { src: (a >> 32) as u32, dst: a as u32 }
            } else {
                Endpoints::V6 { src: wide(a, b), dst: wide(c, d) }
            },
            protocol: (self.rest >> 32) as u8,
            src_port: (self.rest >> 16) as u16,
            dst_port: self.rest as u16,
        }
    }

    #[inline(always)]
    pub(super) fn hash(&self, seed: [u64; 2]) -> u64 {
        let [a, ..] = self.addrs;
        match self.rest & Self::V6 {
            0 => sip::hash(seed, [a], self.rest),
            _ => self.hash_v6(seed),
        }
    }

    #[inline(never)]
    fn hash_v6(&self, seed: [u64; 2]) -> u64 {
        sip::hash(seed, self.addrs, self.rest)
    }
}

/// The worker that both directions of a connection belong to: below `workers`, and even over them for
/// keys chosen without the seed.
///
/// Where the network card spreads packets itself (symmetric RSS), its choice serves as well, as long as
/// it is the same for both directions.
pub fn shard(seed: [u64; 2], key: &FlowKey, workers: NonZeroU32) -> u32 {
    let (this, that) = (Compact::of(key), Compact::of(&key.reversed()));
    let smaller = if (this.addrs, this.rest) <= (that.addrs, that.rest) { this } else { that };
    let [k0, k1] = seed;
    // Other numbers than those that place the key in the worker's table, which shares the seed.
    let hash = smaller.hash([k0, !k1]);
    ((u128::from(hash) * u128::from(workers.get())) >> 64) as u32
}
