//! The tables around the selector check, and which of them a packet meets.
//!
//! ```text
//! addressed to the gateway ─┬─ ESP, AH ─▶ the SPI table alone (`judge`)
//!                           └─ the rest ─▶ session, local-in policy
//! sent by the gateway ────────────────────▶ opens or refreshes a session
//! anything else ──────────────────────────▶ passes
//! ```
//! Owns the order of tables; each table has a file of its own, and every decision is the core's. Without
//! the sections of GATEWAY.toml that configure them there are none, and nothing is asked.

use std::net::IpAddr;

use espial::gate::flow::FlowKey;
use espial::headers::{Fragment, InnerHeaders, NextLayer, Outer};
use espial::verdict::Reason;
use espial::wire;

use super::local::Local;
use super::reason::By;
use super::row::{Row, Word};
use super::way::Step;
use crate::config::GatewayConfig;

/// The interface of packets that came in on none that the configuration names: only policies for any
/// interface are for it.
pub(super) const NO_INTERFACE: u32 = u32::MAX;

/// When and where a packet was seen.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub(super) now_ms: u64,
    /// Number of the interface.
    pub(super) interface: Option<u32>,
}

/// A packet, as tables other than the SPI table look at it.
pub(super) struct Clear {
    pub(super) headers: InnerHeaders,
    pub(super) class: Outer,
}

impl Clear {
    /// What its flow is found by; later fragments have no ports and so no flow.
    pub(super) fn key(&self) -> Option<FlowKey> {
        let InnerHeaders { endpoints, protocol, next_layer, fragment } = self.headers;
        let (src_port, dst_port) = match next_layer {
            NextLayer::Ports { src, dst } => (src, dst),
            _ => (0, 0),
        };
        let key = FlowKey { endpoints, protocol, src_port, dst_port };
        (fragment != Fragment::NonInitial).then_some(key)
    }
}

/// Where a packet goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// To the gateway itself.
    Here,
    /// Away from it: it is the sender.
    Away,
    /// Through it.
    Through,
}

/// The tables that a configuration asks for.
pub(super) struct Tables<'c> {
    config: &'c GatewayConfig,
    pub(super) local: Option<Local<'c>>,
}

impl<'c> Tables<'c> {
    /// Empty tables.
    ///
    /// # Errors
    /// What does not fit, in words.
    pub(super) fn new(config: &'c GatewayConfig) -> Result<Self, String> {
        let local = config.gate.local_in.as_ref().map(Local::new).transpose()?;
        Ok(Self { config, local })
    }

    /// True if some table is to be asked.
    fn is_any(&self) -> bool {
        self.local.is_some()
    }

    /// Where a packet goes. Without addresses every packet is for the gateway, and unreadable ones are.
    pub(super) fn bound(&self, src: Option<IpAddr>, dst: Option<IpAddr>) -> Bound {
        let ours = &self.config.addresses;
        match (src, dst) {
            _ if ours.is_empty() => Bound::Here,
            (_, None) => Bound::Here,
            (_, Some(dst)) if ours.contains(&dst) => Bound::Here,
            (Some(src), _) if ours.contains(&src) => Bound::Away,
            _ => Bound::Through,
        }
    }

    /// Puts a packet to the tables that are for it; a row that still says `pass` was not decided.
    pub(super) fn judge(&mut self, ip: &[u8], bound: Bound, mut row: Row<'c>, at: At) -> Row<'c> {
        if !self.is_any() {
            return row;
        }
        // What cannot be read is dropped or passed by the SPI table's own rules.
        let Ok(class) = wire::classify(ip) else { return row };
        let headers = match wire::inner(ip) {
            Ok(headers) => headers,
            Err(_) if bound != Bound::Here => return row,
            Err(what) => {
                row.drop(Reason::from(what).into());
                return row;
            }
        };
        row.headers = Some(headers);
        let clear = Clear { headers, class };
        let is_ipsec = matches!(clear.class, Outer::Ipsec(_));
        match bound {
            Bound::Here if is_ipsec => {
                row.by = self.local.as_ref().map(|_| By::IpsecLocalIn);
                row.note(|| Step::Here);
            }
            Bound::Here => self.received(&clear, &mut row, at),
            Bound::Away => self.sent(&clear, &mut row, at),
            Bound::Through => {}
        }
        row
    }

    fn received(&mut self, clear: &Clear, row: &mut Row<'c>, at: At) {
        if let Some(local) = &mut self.local {
            local.received(clear, row, at);
        }
    }

    fn sent(&mut self, clear: &Clear, row: &mut Row<'c>, at: At) {
        if let Some(local) = &mut self.local {
            local.sent(clear, row, at);
        }
    }
}

/// True if a table decided that the packet goes no further.
pub(super) fn is_dropped(row: &Row<'_>) -> bool {
    row.word == Word::Drop
}
