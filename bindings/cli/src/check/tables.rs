//! The tables around the selector check, and which of them a packet meets.
//!
//! ```text
//! addressed to the gateway ─┬─ ESP, AH ─▶ the SPI table (`judge`), then the SPD: is it that SA's policy?
//!                           └─ the rest ─▶ SPD: BYPASS? ─▶ session, local-in policy ─▶ reply path
//! sent by the gateway, in the clear ──────▶ SPD: BYPASS? ─▶ opens or refreshes a session ─▶ reply path
//! anything else ──────────────────────────▶ SPD: BYPASS? ─▶ passthrough
//! ```
//! Owns the order of tables; each table has a file of its own, and every decision is the core's. Without
//! the sections of GATEWAY.toml that configure them there are none, and nothing is asked.

use std::net::IpAddr;

use espial::headers::{InnerHeaders, Outer};
use espial::spd::{Count, Direction};
use espial::verdict::Reason;
use espial::wire;

use super::local::Local;
use super::policies::Policies;
use super::reason::By;
use super::reply::Reply;
use super::row::{Class, Row, Word};
use super::through::{Ended, Through};
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

/// Cells that policies count packets in, a row for each list.
#[derive(Default)]
pub(super) struct Rows {
    local_in: Vec<Count>,
    spd: [Vec<Count>; 2],
}

impl Rows {
    /// Rows as long as the lists of a configuration.
    ///
    /// # Errors
    /// What is wrong with a list, in words.
    pub(super) fn for_config(config: &GatewayConfig) -> Result<Self, String> {
        let row = |cells| std::iter::repeat_with(Count::new).take(cells).collect();
        let mut rows = Self::default();
        if let Some(local) = &config.gate.local_in {
            rows.local_in = row(Local::cells(local)?);
        }
        if let Some(spd) = &config.gate.spd {
            rows.spd = Policies::cells(spd)?.map(row);
        }
        Ok(rows)
    }
}

/// Packets that one policy of a list decided about.
pub(super) struct PolicyCount {
    /// `local-in`, `inbound` or `outbound`.
    pub(super) list: &'static str,
    /// Its id; `None`: no policy covered them.
    pub(super) policy: Option<u32>,
    pub(super) action: &'static str,
    pub(super) packets: u64,
}

/// The tables that a configuration asks for.
pub(super) struct Tables<'g, 'c> {
    config: &'c GatewayConfig,
    pub(super) local: Option<Local<'g, 'c>>,
    pub(super) reply: Option<Reply<'c>>,
    through: Option<Through<'c>>,
    policies: Option<Policies<'g, 'c>>,
}

impl<'g, 'c> Tables<'g, 'c> {
    /// Empty tables.
    ///
    /// # Errors
    /// What does not fit, in words.
    pub(super) fn new(config: &'c GatewayConfig, rows: &'g mut Rows) -> Result<Self, String> {
        let Rows { local_in, spd } = rows;
        let local = config.gate.local_in.as_ref();
        let local = local.map(|local| Local::new(local, local_in)).transpose()?;
        let reply = config.gate.reply_path.as_ref();
        let reply = reply.map(|path| Reply::new(config, path)).transpose()?;
        let through = config.gate.passthrough.as_ref().map(Through::new).transpose()?;
        let policies = config.gate.spd.as_ref();
        let policies = policies.map(|policies| Policies::new(policies, spd)).transpose()?;
        Ok(Self { config, local, reply, through, policies })
    }

    /// True if some table is to be asked.
    fn is_any(&self) -> bool {
        let Self { local, reply, through, policies, .. } = self;
        local.is_some() || reply.is_some() || through.is_some() || policies.is_some()
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
        if !self.is_any() && row.way.is_none() {
            return row;
        }
        let (class, headers) = (wire::classify(ip), wire::inner(ip));
        row.headers = headers.ok();
        if bound == Bound::Here
            && !matches!(class, Ok(Outer::Ike | Outer::NatKeepalive | Outer::Other))
        {
            // ESP, AH, and what cannot be read: the SPI table's own rules.
            let is_ipsec = matches!(row.class, Class::Esp | Class::Ah);
            row.by = self.local.as_ref().filter(|_| is_ipsec).map(|_| By::IpsecLocalIn);
            row.note(|| Step::Here);
            return row;
        }
        let headers = match headers {
            Ok(headers) => headers,
            Err(what) => {
                let is_judged = match bound {
                    Bound::Here => self.is_any(),
                    Bound::Away => false,
                    Bound::Through => self.through.is_some() || self.policies.is_some(),
                };
                if is_judged {
                    row.drop(Reason::from(what).into());
                }
                return row;
            }
        };
        match (bound, class) {
            (Bound::Here, Ok(class)) => self.received(&Clear { headers, class }, ip, &mut row, at),
            (Bound::Away, Ok(class)) => self.sent(&Clear { headers, class }, ip, &mut row, at),
            (Bound::Through, class) => self.forwarded(&headers, class, &mut row, at),
            (Bound::Here | Bound::Away, Err(_)) => {}
        }
        row
    }

    /// What policies counted, list by list.
    pub(super) fn policy_counts(&self) -> Vec<PolicyCount> {
        let mut counts = Vec::new();
        self.local.iter().for_each(|local| local.counts(&mut counts));
        self.policies.iter().for_each(|policies| policies.counts(&mut counts));
        counts
    }

    /// Flows of others that have ended and were not told of.
    pub(super) fn ended_last(&mut self, now_ms: u64) -> Vec<Ended> {
        self.through.as_mut().map(|through| through.ended(now_ms)).unwrap_or_default()
    }

    /// A decrypted packet that its SA's selectors accept.
    pub(super) fn protected(&mut self, row: &mut Row<'c>) {
        if let Some(policies) = &mut self.policies {
            policies.protected(row);
        }
    }

    fn received(&mut self, clear: &Clear, ip: &[u8], row: &mut Row<'c>, at: At) {
        self.arrives(&clear.headers, row, at);
        if is_dropped(row) {
            return;
        }
        match &mut self.local {
            Some(local) => local.received(clear, row, at),
            None => row.note(|| Step::Here),
        }
        // A connection that a policy denies is never answered.
        if let Some(reply) = self.reply.as_mut().filter(|_| !is_dropped(row)) {
            reply.received(ip, row, at);
        }
    }

    fn sent(&mut self, clear: &Clear, ip: &[u8], row: &mut Row<'c>, at: At) {
        row.note(|| Step::Sent);
        if matches!(clear.class, Outer::Ipsec(_)) {
            return;
        }
        if let Some(policies) = &mut self.policies {
            policies.clear(Direction::Outbound, &clear.headers, row);
        }
        if is_dropped(row) {
            return;
        }
        if let Some(local) = &mut self.local {
            local.sent(clear, row, at);
        }
        if let Some(reply) = &mut self.reply {
            reply.sent(ip, row, at);
        }
    }

    fn forwarded(
        &mut self,
        headers: &InnerHeaders,
        class: Result<Outer, Reason>,
        row: &mut Row<'c>,
        at: At,
    ) {
        row.note(|| Step::Through);
        self.arrives(headers, row, at);
        if let Some(through) = self.through.as_mut().filter(|_| !is_dropped(row)) {
            through.forwarded(headers, class, row, at);
        }
    }

    /// A packet that comes in without IPsec, unless from the protected side.
    fn arrives(&mut self, headers: &InnerHeaders, row: &mut Row<'c>, at: At) {
        let interface = at.interface.and_then(|number| self.config.gate.interface_at(number));
        let inside = interface.is_some_and(|interface| interface.protected);
        if let Some(policies) = self.policies.as_mut().filter(|_| !inside) {
            policies.clear(Direction::Inbound, headers, row);
        }
    }
}

/// True if a table decided that the packet goes no further.
pub(super) fn is_dropped(row: &Row<'_>) -> bool {
    row.word == Word::Drop
}
