//! `passthrough`: a firewall between two peers, its rules, its flows and what the ALG adds (seed 004).
//!
//! The rules of a case have no action: as in the seed they accept decisively, in the context Global. The
//! virtual server is the seed's, `VS-FWD`.
//!
//! Words that the contract leaves open:
//! - A packet that makes a flow by the ALG, or is the first of one that the ALG made when it saw IKE, is
//!   `accept_alg`. A later packet of such a flow is in "an existing flow" that is also "a flow that the
//!   ALG made": both words are right.
//! - The tunnel is `up` if there is a flow of IKE, which both directions use.
//! - `return_traffic` is what the last ESP, AH or UDP 4500 met that came from the peer that did not start;
//!   if a case has none, what one would meet.
//! - `rules_needed` is what the core says of the configuration and of the peers that start in the case.

mod facts;
mod read;

use std::collections::HashSet;

use espial::gate::flow::FlowKey;
use espial::gate::passthrough::{
    Context, DecidedBy, LookupSpi, PassAnswer, PassConfig, PassDrop, PassPacket, PassRules,
    PassVerdict, Passthrough, RuleId, VirtualServer, compile_rules,
};
use serde_json::{Value, json};

use super::case::{self, Findings, Object, Problem};
use read::Sent;

/// The hash of the table is keyed; no expectation depends on the key.
const SEED: [u64; 2] = [0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89];
/// What a log says of a packet that no rule covered.
const DEFAULT: &str = "(Default)";

/// Runs a case.
pub(super) fn run(case: &mut Object<'_>, findings: &mut Findings) -> Result<(), Problem> {
    // On, where nothing is written.
    let is_on = case.get("lookupspi").is_none() || case.flag("lookupspi")?;
    let lookupspi = if is_on { LookupSpi::On } else { LookupSpi::Off };
    let server = match case.flag("alg")? {
        true => VirtualServer::StandardWithAlg,
        false => VirtualServer::FastL4,
    };
    let (names, rules) = read::rules(case)?;
    let default = read::default(case)?;
    let mut sent = Vec::new();
    for mut packet in case.objects("packets")? {
        sent.push(read::packet(&mut packet)?);
        packet.close()?;
    }
    let words =
        compile_rules(&rules, default).map_err(|error| Problem::step("the rules", error))?;
    let rules = PassRules::open(&words).map_err(|error| Problem::step("the rules", error))?;
    // A packet makes a flow, or three where the ALG sees IKE.
    let room = u32::try_from(sent.len()).unwrap_or(u32::MAX).saturating_mul(3).max(8);
    let config = PassConfig { lookupspi, server, ..PassConfig::default() };
    let new = || {
        let table = Passthrough::new(room, SEED, config);
        table.map_err(|error| Problem::step("the flow table", error))
    };

    let mut firewall = new()?;
    let mut met = Vec::new();
    let mut used = HashSet::new();
    for (index, Sent { packet, expect, rule }) in sent.iter().enumerate() {
        let answer = firewall.check(&rules, packet, 0);
        let at = format!("packets[{index}]");
        let word = answer.verdict.name();
        let is_flow = answer.verdict.is_accept();
        let is_first = !is_flow || answer.key.is_none_or(|key| used.insert(flow(key)));
        if let Some(expected) = expect {
            let later = answer.verdict == PassVerdict::AcceptAlg && !is_first;
            let same = **expected == word || later && **expected == "accept_flow";
            findings.check(format!("{at}.expect"), same, expected, word);
        }
        if let Some(expected) = rule {
            findings.compare(format!("{at}.rule"), expected, decided_by(&answer, &names));
        }
        met.push((*packet, answer));
    }
    in_a_burst(&mut new()?, &rules, &met, findings);
    facts::compare(case, &mut firewall, &rules, &met, findings)
}

/// A key in the direction that both directions of a flow without SPIs share.
fn flow(key: FlowKey) -> FlowKey {
    let back = key.reversed();
    let order = |key: &FlowKey| (key.endpoints.src(), key.src_port);
    let is_shared = key.protocol == espial::headers::protocol::UDP || key.src_port == 0;
    if is_shared && order(&back) < order(&key) { back } else { key }
}

/// The name of the rule that decided, or `null` if none was asked.
fn decided_by(answer: &PassAnswer, names: &[&str]) -> Value {
    let by = match answer.verdict {
        PassVerdict::Accept(by)
        | PassVerdict::Reject(by)
        | PassVerdict::Drop(PassDrop::Decided(by)) => by,
        _ => return Value::Null,
    };
    match by {
        DecidedBy::Rule(RuleId(id)) => json!(names.get(id as usize)),
        DecidedBy::Default => json!(DEFAULT),
    }
}

/// A burst says the same as packets one by one.
fn in_a_burst(
    firewall: &mut Passthrough<'_>,
    rules: &PassRules<'_>,
    met: &[(PassPacket, PassAnswer)],
    findings: &mut Findings,
) {
    let (packets, alone): (Vec<_>, Vec<_>) = met.iter().copied().unzip();
    let mut burst = vec![PassAnswer::default(); packets.len()];
    let count = firewall.check_burst(rules, &packets, 0, &mut burst);
    burst.truncate(count);
    let shown = |answers: &[PassAnswer]| -> Value {
        answers.iter().map(|answer| json!(answer.verdict.to_string())).collect()
    };
    findings.require("the same in a burst", burst == alone, shown(&alone), shown(&burst));
}

/// Where rules stand, as the seed's logs write it.
fn context_name(context: Context) -> String {
    let place = match context {
        Context::Global => "/Common/global-firewall-rules",
        Context::RouteDomain => "/Common/0",
        Context::VirtualServer => "/Common/VS-FWD",
    };
    format!("{context} {place}")
}

/// True if a value is a text that says the same.
fn says(value: &Value, text: &str) -> bool {
    value.as_str() == Some(text)
}

/// A text of a case, or `None` if it is absent or `null`.
fn text_if<'a>(object: &mut Object<'a>, name: &str) -> Result<Option<&'a str>, Problem> {
    let path = object.at(name);
    object.present(name).map(|value| case::text(&path, value)).transpose()
}
