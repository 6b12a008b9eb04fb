//! `espial lint`: what is wrong, weak or needless in a GATEWAY.toml, before a packet comes.
//!
//! ```text
//! GATEWAY.toml ─▶ Scene ─ each of RULES ─▶ findings ─ less those allowed ─▶ table, or JSON Lines
//! ```
//! Owns the findings and their form; what selectors cover is the core's ([`espial::analysis`]). A new
//! rule is a function in `RULES` and a [`Code`] for what it finds.

mod gate;
mod passthrough;
mod sas;
mod selectors;
mod tunnels;

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};

use clap::ValueEnum;
use clap::builder::PossibleValue;
use espial::Spi;
use espial::analysis::{Analysis, ChildSelectors};
use espial::selector::Selector;
use serde::{Serialize, Serializer};

use crate::analyze::row::Fields;
use crate::check::CheckError;
use crate::config::{ChildConfig, GatewayConfig, SaConfig, TunnelConfig};
use crate::lookup::Format;
use crate::table::with_figures;

/// Rows of the text form.
const MOST_ROWS: usize = 100;

/// A rule: looks at a configuration and says what it finds.
type Rule = for<'c> fn(&Scene<'c>, &mut Vec<Finding<'c>>);

/// Every rule.
const RULES: [Rule; 20] = [
    selectors::no_packet,
    selectors::overlaps,
    selectors::hidden,
    selectors::supernets,
    selectors::lost_pairs,
    tunnels::any_source,
    tunnels::inferred_mode,
    tunnels::without_sa,
    sas::foreign_destination,
    sas::shadowed_keys,
    sas::reserved_spi,
    sas::replay,
    sas::integrity,
    gate::ike_not_admitted,
    gate::hidden_policies,
    gate::reply_unpinned,
    gate::unreachable_policies,
    gate::ike_not_bypassed,
    passthrough::missing,
    passthrough::hidden_rules,
];

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// What is configured cannot work.
    Error,
    /// It may drop what it should not, or take what it should not.
    Warning,
    /// Worth knowing; does not change the exit status.
    Note,
}

impl Severity {
    const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $code:ident = $name:literal, $advice:literal;)*) => {
        /// What was found. Names are stable and append-only.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Code {
            $($(#[doc = $doc])* $code,)*
        }

        impl Code {
            /// All codes.
            pub const ALL: &[Self] = &[$(Self::$code),*];

            /// The stable name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$code => $name,)* }
            }

            /// What to do about it.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$code => $advice,)* }
            }
        }
    };
}

codes! {
    /// No packet can match a selector or a Child SA.
    NoPacket = "no_packet",
        "give local and remote a family, a protocol and values in common, or take the selector out";
    /// Two Child SAs of a tunnel cover the same packets (RFC 7296 section 2.9.1).
    SelectorOverlap = "selector_overlap",
        "make the selectors disjoint or one Child SA of both; where the order decides, mode = \"ordered-spd\"";
    /// Child SAs of two tunnels cover the same packets.
    TunnelOverlap = "tunnel_overlap",
        "see that routes and policies tell the tunnels apart, or make the selectors disjoint";
    /// One earlier selector of the tunnel covers all of this one.
    SelectorShadowed = "selector_shadowed",
        "take it out, or put it before the wider one";
    /// Earlier selectors of the tunnel together cover all of this one.
    SelectorUnreachable = "selector_unreachable",
        "take it out, or put it before the others";
    /// The work ended before all was known.
    Undecided = "undecided",
        "fewer selectors that meet each other can be looked at in full";
    /// One prefix could take the place of several ranges.
    Supernet = "supernet",
        "with fewer Child SAs a peer has fewer to mistake; firewall policy has to keep out the extra addresses";
    /// A peer with one pair of selectors an SA would not carry the others.
    PairLost = "pair_lost",
        "if the peer takes one pair only, write a Child SA for each pair, or one supernet for all";
    /// any-source looks at the source address alone.
    AnySource = "any_source",
        "mode = \"any-selector\" looks at the destination, protocol and ports too; shadow = [\"any-selector\"] counts what it would drop";
    /// The mode of the FortiOS version is inferred, not documented.
    ModeInferred = "mode_inferred",
        "give the tunnel a mode of its own if the gateway is known to behave otherwise";
    /// A Child SA without SAs.
    ChildWithoutSa = "child_without_sa",
        "add its SAs: until it has one, any-selector and any-source do not ask its selectors";
    /// An SA for an address that is not the gateway's.
    ForeignDestination = "foreign_destination",
        "put the address among [gateway] addresses, or correct dst";
    /// The key of an SA is part of the longer key of another.
    KeyShadowed = "key_shadowed",
        "give one of them another SPI";
    /// An SPI that IANA reserves.
    ReservedSpi = "reserved_spi",
        "choose an SPI above 0xff (RFC 4303 section 2.1; AH: RFC 4302 section 2.4)";
    /// No anti-replay.
    ReplayOff = "replay_off",
        "replay-window = 64 or more (RFC 4303 and, of AH, RFC 4302: section 3.4.3)";
    /// A window below what RFC 4303 and RFC 4302 let a receiver choose.
    ReplayWindowSmall = "replay_window_small",
        "replay-window = 64 or more (RFC 4303 and, of AH, RFC 4302: section 3.4.3, which asks for 64 and allows no less than 32)";
    /// Extended sequence numbers without anti-replay.
    EsnWithoutReplay = "esn_without_replay",
        "replay-window = 64 or more, or esn = false (RFC 4303 section 3.3.3; AH: RFC 4302 section 3.3.2)";
    /// A cipher that authenticates nothing, without an integrity algorithm.
    NoIntegrity = "no_integrity",
        "add integrity, or a cipher that authenticates: without either anybody can forge packets of the SA";
    /// No local-in policy admits IKE from the peer of a tunnel.
    IkeNotAdmitted = "ike_not_admitted",
        "put a [[local-in]] with action = \"accept\", the service IKE and the peer's address before those that deny it";
    /// One earlier local-in policy covers all of this one.
    LocalInShadowed = "local_in_shadowed",
        "take it out, or put it before the wider one";
    /// Earlier local-in policies together cover all of this one.
    LocalInUnreachable = "local_in_unreachable",
        "take it out, or put it before the others";
    /// A local-in policy that no packet can meet.
    LocalInNeverJudged = "local_in_never_judged",
        "take it out: whom ESP and AH may come from is a matter of SAs";
    /// Answers of IKE over TCP may leave by another interface than their SYN came in on.
    ReplyUnpinned = "reply_unpinned",
        "upgrade to FortiOS 7.4.9, 7.6.4 or 8.0.0, or route each WAN's address out on its own interface with ike-policy-route = true";
    /// Earlier security policies cover all of this one.
    PolicyUnreachable = "policy_unreachable",
        "take it out, or put it before the wider ones";
    /// No security policy lets IKE of a tunnel's peer in.
    IkeNotBypassed = "ike_not_bypassed",
        "put a [[policy]] with action = \"bypass\" for the peer's IKE before the others";
    /// A tunnel that is to pass needs a rule.
    RuleMissing = "rule_missing",
        "add a [[passthrough.rule]] that accepts it, before those that do not";
    /// A passthrough rule that no packet meets first.
    RuleHidden = "rule_hidden",
        "take it out, or put it before the wider ones";
    /// The IPsec ALG without lookupspi.
    AlgWithoutLookupSpi = "alg_without_lookupspi",
        "lookupspi = true, or alg = false and rules for ESP";
}

impl ValueEnum for Code {
    fn value_variants<'a>() -> &'a [Self] {
        Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Where something stands in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Place<'c> {
    /// From 1: of the key, or of the table.
    line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    child: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "spi")]
    spi: Option<Spi>,
    /// The section, of what is no tunnel's.
    #[serde(skip_serializing_if = "Option::is_none")]
    section: Option<&'static str>,
    /// The id of a local-in policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    local_in: Option<u32>,
    /// The id of a security policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<u32>,
    /// The name of a passthrough rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'c str>,
    /// The name of a tunnel that passes through.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'c str>,
}

#[allow(clippy::ref_option, reason = "serde passes it so")]
fn spi<S: Serializer>(spi: &Option<Spi>, serializer: S) -> Result<S::Ok, S::Error> {
    spi.map(|spi| spi.to_string()).serialize(serializer)
}

impl<'c> Place<'c> {
    fn tunnel(tunnel: &'c TunnelConfig) -> Self {
        Self { tunnel: Some(&tunnel.name), section: None, ..Self::section("tunnel", tunnel.line) }
    }

    fn section(section: &'static str, line: usize) -> Self {
        Self {
            line,
            tunnel: None,
            child: None,
            spi: None,
            section: Some(section),
            local_in: None,
            policy: None,
            rule: None,
            name: None,
        }
    }

    fn child(tunnel: &'c TunnelConfig, child: &'c ChildConfig) -> Self {
        Self { line: child.line, child: Some(&child.name), ..Self::tunnel(tunnel) }
    }

    fn sa(tunnel: &'c TunnelConfig, child: &'c ChildConfig, sa: &'c SaConfig) -> Self {
        Self { line: sa.line, spi: Some(sa.spi), ..Self::child(tunnel, child) }
    }

    fn words(&self) -> String {
        let spi = self.spi.map(|spi| format!("SA {spi} of ")).unwrap_or_default();
        let child = self.child.map(|child| format!("{child} of ")).unwrap_or_default();
        if let Some(tunnel) = self.tunnel {
            return format!("{spi}{child}{tunnel}");
        }
        let id = self.local_in.or(self.policy).map(|id| format!(" {id}")).unwrap_or_default();
        let name = self.rule.or(self.name).map(|name| format!(" {name}")).unwrap_or_default();
        format!("{}{id}{name}", self.section.unwrap_or_default())
    }
}

/// One prefix in place of several ranges.
#[derive(Serialize)]
struct Prefix {
    side: &'static str,
    ranges: usize,
    prefix: String,
    /// May have more than 64 bits.
    extra_addresses: u128,
}

/// One finding.
#[derive(Serialize)]
struct Finding<'c> {
    code: Code,
    severity: Severity,
    #[serde(flatten)]
    at: Place<'c>,
    /// What else it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related: Vec<Place<'c>>,
    /// Of overlaps: packets of both, the first such. Of hidden selectors: the selector.
    #[serde(skip_serializing_if = "Option::is_none")]
    selector: Option<Fields>,
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    supernet: Option<Prefix>,
    message: String,
}

impl<'c> Finding<'c> {
    fn new(code: Code, severity: Severity, at: Place<'c>, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, severity, at, related: Vec::new(), selector: None, supernet: None, message }
    }

    fn with(mut self, related: impl IntoIterator<Item = Place<'c>>) -> Self {
        self.related.extend(related);
        self
    }

    fn selector(mut self, selector: Selector) -> Self {
        self.selector = Some(Fields(selector));
        self
    }
}

/// What rules look at.
struct Scene<'c> {
    config: &'c GatewayConfig,
    /// The Child SAs as the analysis numbers them, and the numbers of their tunnels.
    children: Vec<(usize, &'c TunnelConfig, &'c ChildConfig)>,
    analysis: Analysis,
}

impl<'c> Scene<'c> {
    fn new(config: &'c GatewayConfig) -> Result<Self, CheckError> {
        let (mut children, mut selectors) = (Vec::new(), Vec::new());
        for (number, tunnel) in config.tunnels.iter().enumerate() {
            for child in &tunnel.children {
                let (local, remote) = (&child.local, &child.remote);
                children.push((number, tunnel, child));
                selectors.push(ChildSelectors { tunnel: number, local, remote });
            }
        }
        let analysis =
            Analysis::new(&selectors).map_err(|error| CheckError::Gateway(error.to_string()))?;
        Ok(Self { config, children, analysis })
    }

    /// The Child SA of a box, its tunnel, and the box.
    fn located(&self, index: usize) -> Option<(&'c TunnelConfig, &'c ChildConfig, Selector)> {
        let located = self.analysis.boxes().get(index)?;
        let &(_, tunnel, child) = self.children.get(located.child)?;
        Some((tunnel, child, located.selector))
    }
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line<'f, 'c> {
    Finding {
        #[serde(flatten)]
        finding: &'f Finding<'c>,
        advice: &'static str,
    },
    Summary {
        errors: usize,
        warnings: usize,
        notes: usize,
        /// Findings that were allowed.
        allowed: usize,
    },
}

/// Checks a configuration and writes what was found, but for codes in `allow`. Returns the exit
/// status: 1 if there is an error or a warning, else 0.
///
/// # Errors
/// Those of `out`; [`CheckError::Gateway`] if a selector is invalid.
pub fn run(
    config: &GatewayConfig,
    file: &str,
    allow: &[Code],
    format: Format,
    out: &mut dyn Write,
) -> Result<u8, CheckError> {
    let scene = Scene::new(config)?;
    let mut findings = Vec::new();
    RULES.iter().for_each(|rule| rule(&scene, &mut findings));
    let all = findings.len();
    findings.retain(|finding| !allow.contains(&finding.code));
    let allowed = all - findings.len();
    findings.sort_by_key(|finding| (finding.at.line, finding.code));
    match format {
        Format::Json => write_json(&findings, allowed, out)?,
        Format::Text => write_text(&findings, allowed, file, out)?,
    }
    Ok(u8::from(findings.iter().any(|finding| finding.severity != Severity::Note)))
}

fn count(findings: &[Finding<'_>], severity: Severity) -> usize {
    findings.iter().filter(|finding| finding.severity == severity).count()
}

fn write_json(findings: &[Finding<'_>], allowed: usize, out: &mut dyn Write) -> io::Result<()> {
    let mut line = |line: Line<'_, '_>| {
        serde_json::to_writer(&mut *out, &line)?;
        writeln!(out)
    };
    for finding in findings {
        line(Line::Finding { finding, advice: finding.code.advice() })?;
    }
    let [errors, warnings, notes] = [Severity::Error, Severity::Warning, Severity::Note]
        .map(|severity| count(findings, severity));
    line(Line::Summary { errors, warnings, notes, allowed })
}

fn write_text(
    findings: &[Finding<'_>],
    allowed: usize,
    file: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    // The same of several SAs or Child SAs is one row.
    let mut groups: Vec<(&Finding<'_>, usize)> = Vec::new();
    let mut places = HashMap::new();
    for finding in findings {
        let place = *places
            .entry((finding.code, finding.severity, &finding.message))
            .or_insert_with(|| {
                groups.push((finding, 0));
                groups.len() - 1
            });
        if let Some((_, count)) = groups.get_mut(place) {
            *count += 1;
        }
    }
    let rows = groups.iter().take(MOST_ROWS).map(|(finding, count)| {
        let Finding { code, severity, at, message, .. } = finding;
        let [severity, code] = [severity.name(), code.name()].map(str::to_owned);
        let place = match count {
            1 => at.words(),
            _ => format!("{} and {} more", at.words(), count - 1),
        };
        vec![at.line.to_string(), severity, code, place, message.clone()]
    });
    let rows: Vec<_> = rows.collect();
    let more = groups.len() - rows.len();
    if !rows.is_empty() {
        let header = ["line", "severity", "code", "where", "what"];
        writeln!(out, "{file}:\n{}", with_figures(&header, rows, |column| column == 0))?;
        if more > 0 {
            writeln!(out, "and {more} more: see --json.")?;
        }
        writeln!(out, "\nWhat to do:")?;
        let codes: BTreeSet<Code> = findings.iter().map(|finding| finding.code).collect();
        for code in codes {
            writeln!(out, "{}: {}.", code.name(), code.advice())?;
        }
        writeln!(out)?;
    }
    let [errors, warnings, notes] = [Severity::Error, Severity::Warning, Severity::Note]
        .map(|severity| count(findings, severity));
    write!(out, "{errors} errors, {warnings} warnings, {notes} notes")?;
    if allowed > 0 {
        write!(out, ", {allowed} allowed")?;
    }
    writeln!(out, ".")
}
