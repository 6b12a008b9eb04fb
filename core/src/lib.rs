//! espial: the inbound check of IPsec. For every packet: which security association (SA) is it
//! on, and is it allowed to be on it?
//!
//! It stands around the host's crypto and never sees a key.
//!
//! # The two flows
//! ```text
//! packet         octets ─▶ arrive ─▶ SA ─▶ [the host opens ESP or AH] ─▶ check ─▶ Verdict
//!                  wire, sad                                    wire, matcher     counters, event
//!
//! configuration  tunnels, Child SAs, selectors ─▶ stage ─▶ compile ─▶ publish ─┐ readers see old
//!                SAs ──────────────────────────▶ SPI table, in place ──────────┘ or new, never a mix
//! ```
//! The packet path is [`inbound`]; read it first. Configuration is [`control`], or an [`image`] that was compiled
//! elsewhere. Policies without SAs
//! (PROTECT, BYPASS, DISCARD) are [`spd`].
//!
//! # Threads
//! One [`Control`] writes; any number of [`Worker`]s read beside it, without locks. A worker says
//! when it holds nothing ([`Worker::quiescent`]); only then is memory used again. Everything that
//! takes time takes it as an argument: the crate has no clock, no I/O, no threads, no globals.
//!
//! # Features
//! `alloc` (default): gateways on the heap, names, prefixes with `ipnet`, `analysis` of a configuration.
//! Without it no allocator is needed: tables lie in the caller's memory. `std`: implies `alloc`.
//!
//! # Examples
//! ```
//! use espial::headers::{Encap, Endpoints, Fragment, InnerHeaders, Ipsec, NextLayer, OuterHeaders, Spi};
//! use espial::inbound::{Arrival, Ingress};
//! use espial::sad::{SaKey, SaMode};
//! use espial::selector::{AddrRange, PortRange, TrafficSelector};
//! use espial::verdict::{Mode, Modes, Reason};
//! use espial::{Capacity, Gateway, SaParams};
//!
//! let range = |lo: u32, hi: u32| TrafficSelector {
//!     addrs: AddrRange::V4 { lo, hi },
//!     protocol: 0,
//!     ports: PortRange::ANY,
//! };
//! let capacity = Capacity {
//!     tunnels: 1, children: 2, selectors: 2, sas: 2, sas_dst: 0, sas_dst_src: 0, sas_allocated: 0, replay_window: 0, workers: 1,
//! };
//! let mut gateway = Gateway::new(&capacity, [17, 4])?;
//! let (control, mut workers) = gateway.split();
//!
//! // Two Child SAs of one tunnel, 10.1.x.0/24 here and 10.2.x.0/24 there, and an SA for each.
//! let tunnel = control.add_tunnel(Mode::StrictSa, Modes::NONE)?;
//! let a = control.add_child(tunnel, &[range(0x0a01_0000, 0x0a01_00ff)], &[range(0x0a02_0000, 0x0a02_00ff)])?;
//! let b = control.add_child(tunnel, &[range(0x0a01_0100, 0x0a01_01ff)], &[range(0x0a02_0100, 0x0a02_01ff)])?;
//! control.publish()?;
//! for (child, spi) in [(a, 0x1111), (b, 0x2222)] {
//!     let key = SaKey::new(Ipsec::Esp, Spi(spi), None, None)?;
//!     control.add_sa(child, &SaParams::new(key))?;
//! }
//!
//! // A packet from 10.2.0.5 to 10.1.0.5 came on SPI 0x2222: the right tunnel, the wrong SA.
//! let mut worker = workers.take().unwrap();
//! let ingress = Ingress { now_ms: 0, interface: 0 };
//! let outer = OuterHeaders {
//!     endpoints: Endpoints::V4 { src: 0xc633_6401, dst: 0xcb00_7101 },
//!     flow_label: 0, ipsec: Ipsec::Esp, encap: Encap::None, spi: Spi(0x2222), sequence: 1, sequence_high: 0,
//!     sport: 0, dport: 0, offset: 20, octets: 100,
//! };
//! let inner = InnerHeaders {
//!     endpoints: Endpoints::V4 { src: 0x0a02_0005, dst: 0x0a01_0005 },
//!     protocol: 17, next_layer: NextLayer::Ports { src: 5000, dst: 53 }, fragment: Fragment::None,
//! };
//! let Arrival::Sa(sa, _) = worker.lookup(&outer, ingress) else { panic!("unknown SPI") };
//! let verdict = worker.check_headers(sa, &outer, &inner, 60, ingress);
//! assert_eq!(verdict.reason(), Some(Reason::WrongSa));
//! assert_eq!(verdict.refusal().unwrap().belongs_to, Some(a));
//!
//! // On SPI 0x1111 it is welcome.
//! let outer = OuterHeaders { spi: Spi(0x1111), ..outer };
//! let Arrival::Sa(sa, _) = worker.lookup(&outer, ingress) else { panic!("unknown SPI") };
//! assert!(worker.check_headers(sa, &outer, &inner, 60, ingress).is_accept());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(not(test), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(test, feature = "alloc"))]
extern crate alloc;

#[cfg_attr(loom, allow(dead_code, reason = "models fetch nothing ahead"))]
mod prefetch;
#[cfg(not(loom))]
mod storage;

#[cfg(all(feature = "alloc", not(loom)))]
pub mod analysis;
#[cfg(not(loom))]
pub mod control;
#[cfg(not(loom))]
pub mod counters;
#[cfg(not(loom))]
pub mod error;
/// As much of it as keys ask for.
#[cfg(loom)]
mod error {
    /// Why there is no such key.
    #[derive(Debug)]
    pub enum SaError {
        SpiZero,
        Key,
    }
}
#[cfg(not(loom))]
pub mod event;
#[cfg(all(test, not(loom)))]
mod few;
#[cfg(not(loom))]
pub mod gate;
#[cfg(not(loom))]
pub mod gateway;
pub mod headers;
#[cfg(not(loom))]
pub mod image;
#[cfg(not(loom))]
pub mod inbound;
#[cfg(not(loom))]
pub mod matcher;
#[cfg(all(feature = "alloc", not(loom)))]
pub mod names;
#[cfg(not(loom))]
pub mod notify;
#[cfg(not(loom))]
pub mod preset;
pub mod publish;
#[cfg(loom)]
#[path = "sad/replay.rs"]
pub mod replay;
#[cfg(not(loom))]
pub mod sad;
/// The parts of it that a model needs.
#[cfg(loom)]
#[allow(dead_code, missing_docs, reason = "not all of the parts is modelled")]
pub mod sad {
    pub mod direct;
    pub mod id;
    mod key;
    pub mod table;
    pub mod word;

    pub use id::SaId;

    /// Words of a model are whole: no SA is asked for the rest of one.
    mod entry {
        pub struct Entry;
    }

    mod segment {
        use core::marker::PhantomData;

        pub struct Segments<'m>(PhantomData<&'m ()>);

        impl Segments<'_> {
            pub const NONE: Self = Self(PhantomData);

            pub fn first(&self, _index: u32) -> Option<&super::entry::Entry> {
                None
            }
        }
    }
}
#[cfg(not(loom))]
pub mod selector;
#[cfg_attr(loom, allow(dead_code, reason = "models have no bursts and no selectors"))]
mod simd;
#[cfg(not(loom))]
pub mod snapshot;
#[cfg(not(loom))]
pub mod spd;
#[cfg(not(loom))]
pub mod verdict;
#[cfg(not(loom))]
pub mod wire;

#[cfg(not(loom))]
pub use {
    control::{ChildId, Control, SaParams, TunnelId},
    gateway::{Gateway, Workers},
    headers::{Encap, InnerHeaders, Ipsec, OuterHeaders, Spi},
    image::Image,
    inbound::{Arrival, Ingress, Opened, Worker},
    sad::{SaId, SaKey, SaMode},
    selector::{Selector, TrafficSelector},
    storage::Capacity,
    verdict::{Decision, Mode, Modes, Reason, Refusal, Verdict},
};
