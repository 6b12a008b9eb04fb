//! A firewall in the middle: IPsec of others passes through it (seed 004; rules E1 to E5, T30, T31).
//!
//! Owns the rules, the flows that they admit, and what the IPsec ALG adds. Knows nothing of SAs: to a
//! firewall in the middle an SPI is a number.
//!
//! ```text
//! packet ─▶ its flow, or (not ESP and AH with lookupspi) the one of the opposite direction? ─yes─▶ AcceptFlow, AcceptAlg
//!              │ no                                      └─ IKE on 500, ALG: ah any:any and esp any:any are made
//!              ▼
//!           ESP or AH, and the ALG has an any:any flow of these hosts?
//!              │ no      ├─ lookupspi on ─▶ AcceptAlg, and a flow of this SPI
//!              │         └─ off ─▶ Drop: the ALG relies on lookupspi; no rule is asked
//!              ▼
//!           rules: Global, Route Domain, Virtual Server, its default ─▶ Accept and a flow, Drop, Reject
//! ```
//! Which flows there are, and which rules that takes (E2; [`rules_needed`] answers for any
//! configuration):
//!
//! | lookupspi | ALG | rules                  | flows                                                |
//! | ---       | --- | ---                    | ---                                                  |
//! | on        | no  | OUT500 OUT_ESP IN_ESP  | udp 500; esp out; esp in                             |
//! | off       | no  | OUT500 OUT_ESP         | udp 500; esp any, both directions                    |
//! | on        | yes | OUT500                 | udp 500; ah any, esp any; esp out, esp in when used  |
//! | off       | yes | OUT500; none helps     | udp 500; ah any, esp any: esp in is dropped          |
//!
//! Invariants:
//! - I1: a packet that is not forwarded makes no flow, and keeps none alive.
//! - I2: with `lookupspi` on, a flow of ESP or AH with both ports 0 is the ALG's (SPI 0 is refused).
//! - I3: no newcomer takes the place of a live flow.
//!
//! # Limits
//! SPIs and source addresses are not authenticated here. With `lookupspi` on, whoever can send as a
//! peer that a rule or the ALG admits makes a flow with each SPI it invents, until the table is full;
//! then those that live go on and a rekey finds no room until others have idled out.
//!
//! # Examples
//! ```
//! # #[cfg(feature = "alloc")] {
//! use espial::gate::passthrough::*;
//! use espial::headers::{Endpoints, Spi};
//! use espial::selector::PortRange;
//!
//! let rule = |id, protocol, src: &str, dst: &str, dst_ports| PassRule {
//!     id: RuleId(id),
//!     context: Context::Global,
//!     action: RuleAction::AcceptDecisively,
//!     src: src.parse().unwrap(),
//!     dst: dst.parse().unwrap(),
//!     protocol,
//!     src_ports: PortRange::ANY,
//!     dst_ports,
//! };
//! let out_esp = rule(9, 50, "1.1.1.1", "2.2.2.2", PortRange::ANY);
//! let out_500 = rule(11, 17, "1.1.1.1", "2.2.2.2", PortRange::new(500, 500).unwrap());
//! let words = compile_rules(&[out_esp, out_500], RuleAction::Reject)?;
//! let rules = PassRules::open(&words)?;
//! let mut firewall = Passthrough::new(1000, [17, 4], PassConfig::default())?;
//!
//! let out = Endpoints::V4 { src: 0x0101_0101, dst: 0x0202_0202 };
//! let ike = PassPacket { endpoints: out, traffic: Traffic::Udp { src: 500, dst: 500 } };
//! let answer = firewall.check(&rules, &ike, 0);
//! assert_eq!(answer.verdict, PassVerdict::Accept(DecidedBy::Rule(RuleId(11))));
//! let reply = PassPacket { endpoints: out.reversed(), ..ike };
//! assert_eq!(firewall.check(&rules, &reply, 5).verdict, PassVerdict::AcceptFlow);
//!
//! // The tunnel is up, but nothing admits the ESP that comes back: lookupspi is on.
//! let esp = PassPacket { endpoints: out, traffic: Traffic::Esp(Spi(0x0c7c_3995)) };
//! assert!(firewall.check(&rules, &esp, 10).verdict.is_accept());
//! let back = PassPacket { endpoints: out.reversed(), traffic: Traffic::Esp(Spi(0x0bf1_0f9e)) };
//! let answer = firewall.check(&rules, &back, 15);
//! assert_eq!(answer.verdict, PassVerdict::Reject(DecidedBy::Default));
//! assert_eq!(answer.context, Some(Context::VirtualServer));
//! assert_eq!(firewall.flows(15).count(), 2);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

mod config;
mod needed;
mod packet;
mod rule;
mod rules;
mod spread;
mod teardown;
#[cfg(all(test, feature = "alloc"))]
mod tests;
mod transfer;

use core::mem::MaybeUninit;

pub use config::{PassConfig, PassCounts, PassTimeouts};
pub use needed::{
    Initiator, NEEDED_MAX, NatTraversal, Needed, NeededConfig, NeededRule, Outcome, Service, Way,
    rules_needed,
};
pub use packet::{
    FlowKind, LookupSpi, Origin, PassAnswer, PassDrop, PassPacket, PassVerdict, Traffic,
    VirtualServer,
};
pub use rule::{Context, PassRule, RuleAction, RuleFault, RuleId};
#[cfg(feature = "alloc")]
pub use rules::compile_rules;
pub use rules::{
    DecidedBy, Decision, OpenError, PassRules, RulesError, compile_rules_into,
    words_to_compile_rules,
};
pub use spread::Spread;
pub use teardown::{QUEUE_TEARDOWNS, Teardown, TeardownKind};

use super::flow::{FlowKey, FlowTable, Full, Gone, Inserted, since_ms};
use crate::error::SetupError;
use crate::headers::{Endpoints, protocol};
use crate::sad::AHEAD;
use teardown::Teardowns;

/// A flow in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PassFlow {
    /// As the packet that made it says; [`PassPacket::key`] has the ports of ESP and AH.
    pub key: FlowKey,
    /// Who admitted it.
    pub origin: Origin,
    /// When it was made, on the caller's clock, in milliseconds; modulo 2^64, as a flow of another node may
    /// be older than this clock.
    pub made_ms: u64,
    /// Milliseconds since its last packet.
    pub idle_ms: u64,
}

/// What the table keeps of a flow: when it was made, and its origin as a word.
type State = [u64; 2];

fn state(made_ms: u64, origin: Origin) -> State {
    let origin = match origin {
        Origin::Decided(DecidedBy::Default) => 0,
        Origin::Decided(DecidedBy::Rule(RuleId(id))) => u64::from(id) << 32 | 1,
        Origin::Alg => 2,
    };
    [made_ms, origin]
}

fn origin(&[_, word]: &State) -> Origin {
    match word as u32 {
        1 => Origin::Decided(DecidedBy::Rule(RuleId((word >> 32) as u32))),
        2 => Origin::Alg,
        _ => Origin::Decided(DecidedBy::Default),
    }
}

/// The flow of a host pair whose SPIs are not looked at.
fn any_any(endpoints: Endpoints, protocol: u8) -> FlowKey {
    FlowKey { endpoints, protocol, src_port: 0, dst_port: 0 }
}

/// The flows of a firewall, and the way a packet takes through it.
///
/// # Concurrency
/// One owner. Several workers have one each; [`Spread`] says which packets go to which.
pub struct Passthrough<'m> {
    flows: FlowTable<'m, State>,
    config: PassConfig,
    counts: PassCounts,
    teardowns: Teardowns,
    #[cfg(test)]
    asked: u32,
}

impl<'m> Passthrough<'m> {
    /// Octets of memory that [`Passthrough::new_in`] needs, alignment included.
    ///
    /// # Errors
    /// As [`FlowTable::octets`].
    pub fn octets(flows: u32) -> Result<usize, SetupError> {
        FlowTable::<State>::octets(flows)
    }

    /// A firewall with room for so many flows. `seed` is 128 bits that peers do not know.
    ///
    /// # Errors
    /// As [`FlowTable::new_in`].
    pub fn new_in(
        memory: &'m mut [MaybeUninit<u8>],
        flows: u32,
        seed: [u64; 2],
        config: PassConfig,
    ) -> Result<Self, SetupError> {
        Ok(Self::with_table(FlowTable::new_in(memory, flows, seed)?, config))
    }

    fn with_table(flows: FlowTable<'m, State>, config: PassConfig) -> Self {
        Self {
            flows,
            config,
            counts: PassCounts::default(),
            teardowns: Teardowns::new(),
            #[cfg(test)]
            asked: 0,
        }
    }

    /// How it treats IPsec.
    pub fn config(&self) -> &PassConfig {
        &self.config
    }

    /// What it has counted.
    pub fn counts(&self) -> &PassCounts {
        &self.counts
    }

    /// All flows that live.
    pub fn flows(&self, now_ms: u64) -> impl Iterator<Item = PassFlow> {
        self.flows.iter(now_ms).map(|(key, state, idle_ms)| {
            let &[made_ms, _] = state;
            PassFlow { key, origin: origin(state), made_ms, idle_ms }
        })
    }

    /// The next event of a flow that ended under the ALG, the oldest first.
    pub fn next_teardown(&mut self) -> Option<Teardown> {
        self.teardowns.next()
    }

    /// What becomes of a packet: its flow decides, else the ALG, else the rules, and what is
    /// admitted makes a flow (E1).
    ///
    /// # Bound
    /// Eleven operations on the table ([`FlowTable`] has theirs) and one [`PassRules::decide`]. Five
    /// and one for ESP and AH.
    pub fn check(&mut self, rules: &PassRules<'_>, packet: &PassPacket, now_ms: u64) -> PassAnswer {
        let answer = match packet.key(self.config.lookupspi) {
            Ok(key) => self.judge(rules, packet, &key, now_ms),
            Err(why) => {
                let verdict = PassVerdict::Drop(why);
                PassAnswer { verdict, context: None, is_new: false, key: None }
            }
        };
        self.counts.count(answer.verdict);
        answer
    }

    /// [`Passthrough::check`] for as many packets as `answers` has room for, one after the other; returns
    /// how many. What they need from memory is asked for ahead.
    ///
    /// # Bound
    /// As [`Passthrough::check`] for each packet, and one operation more on the table.
    pub fn check_burst(
        &mut self,
        rules: &PassRules<'_>,
        packets: &[PassPacket],
        now_ms: u64,
        answers: &mut [PassAnswer],
    ) -> usize {
        let count = packets.len().min(answers.len());
        let packets = packets.get(..count).unwrap_or_default();
        for (packets, answers) in packets.chunks(AHEAD).zip(answers.chunks_mut(AHEAD)) {
            let keys = packets.iter().filter_map(|packet| packet.key(self.config.lookupspi).ok());
            let hints = self.flows.ahead(keys);
            // By reference: the list's own iterator brings the code of a panic along.
            let mut hints = hints.iter();
            for (packet, answer) in packets.iter().zip(answers) {
                let key = packet.key(self.config.lookupspi).ok();
                let found = key.and_then(|key| {
                    let state = self.flows.find_ahead(hints.next()?, now_ms)?;
                    Some((key, origin(state)))
                });
                *answer = match found {
                    Some((key, origin)) => {
                        let verdict = self.of_flow(&key, origin, now_ms);
                        self.counts.count(verdict);
                        PassAnswer { verdict, context: None, is_new: false, key: Some(key) }
                    }
                    None => self.check(rules, packet, now_ms),
                };
            }
        }
        count
    }

    #[inline]
    fn judge(
        &mut self,
        rules: &PassRules<'_>,
        packet: &PassPacket,
        key: &FlowKey,
        now_ms: u64,
    ) -> PassAnswer {
        let of_flow =
            |verdict| PassAnswer { verdict, context: None, is_new: false, key: Some(*key) };
        if let Some(verdict) = self.by_flow(key, now_ms) {
            return of_flow(verdict);
        }
        if let Some(verdict) = self.by_alg(key, now_ms) {
            return PassAnswer { is_new: verdict.is_accept(), ..of_flow(verdict) };
        }
        let Decision { action, by, context } = rules.decide(&packet.headers());
        let verdict = match action {
            RuleAction::Drop => PassVerdict::Drop(PassDrop::Decided(by)),
            RuleAction::Reject => PassVerdict::Reject(by),
            RuleAction::Accept | RuleAction::AcceptDecisively => {
                match self.make(key, Origin::Decided(by), now_ms) {
                    Ok(()) => {
                        self.seen_by_alg(key, now_ms);
                        PassVerdict::Accept(by)
                    }
                    Err(Full { .. }) => PassVerdict::Drop(PassDrop::TableFull),
                }
            }
        };
        let context = Some(context);
        PassAnswer { verdict, context, is_new: verdict.is_accept(), key: Some(*key) }
    }

    /// What the packet's flow says, if it has one.
    #[inline]
    fn by_flow(&mut self, key: &FlowKey, now_ms: u64) -> Option<PassVerdict> {
        let is_ipsec = FlowKind::of(key).is_ipsec();
        let mut flow = *key;
        let mut found = self.find(&flow, now_ms);
        // With `lookupspi` the opposite direction has an SPI, and a flow, of its own.
        if found.is_none() && !(is_ipsec && self.config.lookupspi == LookupSpi::On) {
            flow = key.reversed();
            if is_ipsec && self.is_of_alg(&flow, now_ms) {
                return Some(PassVerdict::Drop(PassDrop::AlgNeedsLookupSpi));
            }
            found = self.find(&flow, now_ms);
        }
        let origin = found?;
        Some(self.of_flow(&flow, origin, now_ms))
    }

    /// What becomes of a packet of this flow.
    #[inline]
    fn of_flow(&mut self, flow: &FlowKey, origin: Origin, now_ms: u64) -> PassVerdict {
        self.seen_by_alg(flow, now_ms);
        match origin {
            Origin::Decided(_) => PassVerdict::AcceptFlow,
            Origin::Alg => PassVerdict::AcceptAlg,
        }
    }

    /// What the ALG says of ESP and AH of an SPI that has no flow, if it knows the hosts.
    fn by_alg(&mut self, key: &FlowKey, now_ms: u64) -> Option<PassVerdict> {
        let knows = self.config.server.has_alg()
            && self.config.lookupspi == LookupSpi::On
            && FlowKind::of(key).is_ipsec();
        if !knows {
            return None;
        }
        let any = any_any(key.endpoints, key.protocol);
        let any = [any, any.reversed()].into_iter().find(|any| self.is_of_alg(any, now_ms))?;
        if self.make(key, Origin::Alg, now_ms).is_err() {
            return Some(PassVerdict::Drop(PassDrop::TableFull));
        }
        // It was matched, and lives on: but not by a packet that is dropped (I1).
        let _ = self.find(&any, now_ms);
        Some(PassVerdict::AcceptAlg)
    }

    /// A packet of this flow was admitted: if that is IKE, and there is an ALG, the hosts have a flow
    /// for AH and one for ESP from now on, as long as IKE goes on.
    ///
    /// One of the two that a rule admitted before (`lookupspi` off) becomes the ALG's, so that it makes
    /// no difference which packet came first.
    #[inline]
    fn seen_by_alg(&mut self, flow: &FlowKey, now_ms: u64) {
        if !self.config.server.has_alg() || FlowKind::of(flow) != FlowKind::Ike {
            return;
        }
        for protocol in [protocol::AH, protocol::ESP] {
            let key = any_any(flow.endpoints, protocol);
            let back = key.reversed();
            match self.peek(&back, now_ms) {
                Some(Origin::Alg) => {
                    let _ = self.find(&back, now_ms);
                    continue;
                }
                Some(Origin::Decided(_)) => {
                    let _ = self.ask().remove(&back, now_ms);
                }
                None => {
                    if let Some(Origin::Decided(_)) = self.peek(&key, now_ms) {
                        let _ = self.ask().remove(&key, now_ms);
                    }
                }
            }
            if self.make(&key, Origin::Alg, now_ms).is_err() {
                self.counts.alg_full = self.counts.alg_full.wrapping_add(1);
            }
        }
    }

    fn is_of_alg(&mut self, key: &FlowKey, now_ms: u64) -> bool {
        self.config.server.has_alg() && self.peek(key, now_ms) == Some(Origin::Alg)
    }

    /// Deletes every flow between two hosts, whoever began it; gives how many there were. The ALG's are
    /// told in the order AH, IKE, ESP. Configuration flow.
    ///
    /// # Bound
    /// Four times the whole table.
    pub fn delete_between(&mut self, endpoints: Endpoints, now_ms: u64) -> u32 {
        let Self { flows, config, counts, teardowns, .. } = self;
        let back = endpoints.reversed();
        let mut deleted = 0_u32;
        for kind in TeardownKind::ALL.map(Some).into_iter().chain([None]) {
            let of_kind = flows.remove_if(now_ms, |key, state| {
                let is_ours = key.endpoints == endpoints || key.endpoints == back;
                let is_told = is_ours && TeardownKind::of(key, origin(state)) == kind;
                if is_told {
                    ended(config, counts, teardowns, key, state, now_ms);
                }
                is_told
            });
            deleted = deleted.saturating_add(of_kind);
        }
        deleted
    }

    /// Looks at the next `budget` slots of the table, takes out flows that were idle for too long and
    /// gives how many. To be called again and again: else the table fills with what has ended.
    ///
    /// # Bound
    /// As [`FlowTable::expire`].
    pub fn expire(&mut self, now_ms: u64, budget: u32) -> u32 {
        let Self { flows, config, counts, teardowns, .. } = self;
        flows.expire(now_ms, budget, |gone| {
            ended(config, counts, teardowns, &gone.key, &gone.value, now_ms);
        })
    }

    /// Slots of the table, all of which [`expire`](Self::expire) has to look at in its turn.
    pub fn slots(&self) -> u32 {
        self.flows.slots()
    }

    #[inline]
    fn ask(&mut self) -> &mut FlowTable<'m, State> {
        #[cfg(test)]
        {
            self.asked += 1;
        }
        &mut self.flows
    }

    /// The flow counts as matched.
    #[inline]
    fn find(&mut self, key: &FlowKey, now_ms: u64) -> Option<Origin> {
        self.ask().find(key, now_ms).map(|state| origin(state))
    }

    fn peek(&mut self, key: &FlowKey, now_ms: u64) -> Option<Origin> {
        self.ask().peek(key, now_ms).map(|(state, _)| origin(state))
    }

    fn make(&mut self, key: &FlowKey, origin: Origin, now_ms: u64) -> Result<(), Full> {
        self.make_idle(key, state(now_ms, origin), 0, now_ms)
    }

    /// A flow whose last packet came `idle_ms` ago.
    fn make_idle(
        &mut self,
        key: &FlowKey,
        state: State,
        idle_ms: u64,
        now_ms: u64,
    ) -> Result<(), Full> {
        let ttl_ms = self.config.timeouts.of(FlowKind::of(key));
        let gone = match self.ask().insert_idle(key, state, ttl_ms, idle_ms, now_ms)? {
            Inserted::New { gone, .. } => gone,
            Inserted::Existing(_) => None,
        };
        if let Some(Gone { key, value, .. }) = gone {
            ended(&self.config, &mut self.counts, &mut self.teardowns, &key, &value, now_ms);
        }
        Ok(())
    }
}

#[cfg(feature = "alloc")]
impl Passthrough<'static> {
    /// A firewall with room for so many flows, on the heap. Nothing is allocated after this.
    ///
    /// # Errors
    /// As [`FlowTable::new`].
    pub fn new(flows: u32, seed: [u64; 2], config: PassConfig) -> Result<Self, SetupError> {
        Ok(Self::with_table(FlowTable::new(flows, seed)?, config))
    }
}

/// A flow ended: counts and tells it, if the ALG had a part in it.
fn ended(
    config: &PassConfig,
    counts: &mut PassCounts,
    teardowns: &mut Teardowns,
    key: &FlowKey,
    state: &State,
    now_ms: u64,
) {
    let Some(kind) = TeardownKind::of(key, origin(state)) else { return };
    if !config.server.has_alg() {
        return;
    }
    if let Some(cell) = counts.teardowns.get_mut(kind as usize) {
        *cell = cell.wrapping_add(1);
    }
    let &[made_ms, _] = state;
    let age_ms = since_ms(now_ms, made_ms);
    teardowns.tell(Teardown {
        kind,
        endpoints: key.endpoints,
        src_port: key.src_port,
        time_ms: now_ms,
        age_ms,
        suppressed: 0,
    });
}
