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
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Compact {
    /// Family, protocol and ports.
    pub(super) rest: u64,
    /// IPv4: source and destination in the first word. IPv6: two words each.
    pub(super) addrs: [u64; 4],
}

impl Compact {
    const V6: u64 = 1 << 8;

    #[inline]
    pub(super) fn of(key: &FlowKey) -> Self {
        let (family, addrs) = match key.endpoints {
            Endpoints::V4 { src, dst } => (0, [u64::from(src) << 32 | u64::from(dst), 0, 0, 0]),
            Endpoints::V6 { src, dst } => {
                (Self::V6, [(src >> 64) as u64, src as u64, (dst >> 64) as u64, dst as u64])
            }
        };
        let ports = u64::from(key.src_port) << 48 | u64::from(key.dst_port) << 32;
        Self { rest: ports | family | u64::from(key.protocol), addrs }
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
            protocol: self.rest as u8,
            src_port: (self.rest >> 48) as u16,
            dst_port: (self.rest >> 32) as u16,
        }
    }

    #[inline]
    pub(super) fn hash(&self, seed: [u64; 2]) -> u64 {
        let [a, b, c, d] = self.addrs;
        // `rest` tells the families apart, so words that IPv4 does not have need not be hashed.
        match self.rest & Self::V6 {
            0 => sip::hash(seed, [self.rest, a]),
            _ => sip::hash(seed, [self.rest, a, b, c, d]),
        }
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
