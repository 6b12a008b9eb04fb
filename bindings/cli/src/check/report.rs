//! The text form: a table by SA and reason, and sentences that an operator understands.

use std::collections::BTreeMap;
use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use espial::event::{Clock, FortiLine};
use espial::verdict::{Field, Mode, Reason, SpiClass};
use espial::{Ipsec, Selector, Spi};

mod sentence;

use self::sentence::Sentence;
use super::judge::Judge;
use super::measure::Speed;
use super::reason::DropReason;
use super::row::{Row, Word};
use super::tables::PolicyCount;
use super::through::Ended;
use crate::config::GatewayConfig;
use crate::table::with_figures;

/// Flows of others that ended which get a row each; the rest are counted.
const MOST_ENDED: usize = 20;

/// Causes of drops that get a sentence each; the rest are counted.
const MOST_SENTENCES: usize = 20;

/// What was counted, by SA and reason.
#[derive(Debug)]
pub struct Summary {
    sas: Vec<SaLine>,
    /// Drops on no SA.
    loose: BTreeMap<DropReason, u64>,
    /// Packets on no SA that tables around the selector check accepted.
    clear_accepted: u64,
    /// Packets that came in on no interface of the configuration.
    nowhere: u64,
    /// SYNs whose answers leave by another interface than they came in on.
    astray: u64,
    /// How it stands with the IKE of tunnels, a sentence each.
    health: Vec<(String, bool)>,
    /// What policies counted, as rows of a table.
    policies: Vec<Vec<String>>,
    /// Flows of others that ended, as rows of a table: the first ones, and how many there are.
    ended: (Vec<Vec<String>>, u64),
    passed: BTreeMap<&'static str, u64>,
    findings: BTreeMap<Cause, Finding>,
    shadow: BTreeMap<Mode, Tally>,
    tunnels: Vec<TunnelLine>,
    last_time: i64,
    /// The packets that could be opened, to measure with.
    pub speed: Speed,
}

#[derive(Debug)]
struct SaLine {
    tunnel: String,
    child: String,
    protocol: &'static str,
    spi: Spi,
    accepted: u64,
    drops: BTreeMap<DropReason, u64>,
}

#[derive(Debug)]
struct TunnelLine {
    name: String,
    mode: Mode,
    counts: (u64, u64, u32, u32),
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    accepts: u64,
    drops: u64,
    /// Packets that the enforced mode dropped and this one would have accepted.
    spared: u64,
    /// Packets that the enforced mode accepted and this one would have dropped.
    lost: u64,
}

/// Drops of one cause make one sentence.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Cause {
    sa: Option<usize>,
    spi: Option<Spi>,
    reason: DropReason,
    policy: Option<u32>,
    rule: Option<String>,
    spi_class: Option<&'static str>,
    belongs_to: Option<String>,
    field: Option<Field>,
}

#[derive(Clone, Debug)]
struct Finding {
    packets: u64,
    first: u64,
    example: Example,
}

/// The first packet of a finding, as text.
#[derive(Clone, Debug)]
struct Example {
    outer: Option<String>,
    inner: Option<String>,
    ago_ms: Option<u32>,
    nearest: Option<Selector>,
}

impl Summary {
    /// An empty summary of a configuration's SAs.
    pub fn new(config: &GatewayConfig) -> Self {
        let sas = config.sas().map(|(tunnel, child, sa)| SaLine {
            tunnel: tunnel.name.clone(),
            child: child.name.clone(),
            protocol: if sa.ipsec == Ipsec::Esp { "esp" } else { "ah" },
            spi: sa.spi,
            accepted: 0,
            drops: BTreeMap::new(),
        });
        let tunnels = config.tunnels.iter().map(|tunnel| TunnelLine {
            name: tunnel.name.clone(),
            mode: tunnel.mode,
            counts: (0, 0, 0, 0),
        });
        Self {
            sas: sas.collect(),
            loose: BTreeMap::new(),
            clear_accepted: 0,
            nowhere: 0,
            astray: 0,
            health: Vec::new(),
            policies: Vec::new(),
            ended: (Vec::new(), 0),
            passed: BTreeMap::new(),
            findings: BTreeMap::new(),
            shadow: BTreeMap::new(),
            tunnels: tunnels.collect(),
            last_time: i64::MIN,
            speed: Speed::default(),
        }
    }

    /// Counts one row.
    pub fn add(&mut self, row: &Row<'_>) {
        self.last_time = self.last_time.max(row.time);
        self.tell_ended(&row.ended, &row.packet.to_string());
        let line = row.sa.and_then(|sa| self.sas.get_mut(sa));
        match (row.word, line) {
            (Word::Pass, _) => *self.passed.entry(row.class.name()).or_default() += 1,
            (Word::Accept, Some(line)) => line.accepted += 1,
            (Word::Accept, None) => self.clear_accepted += 1,
            (Word::Drop, line) => {
                if let Some(reason) = row.reason {
                    let drops = line.map_or(&mut self.loose, |line| &mut line.drops);
                    *drops.entry(reason).or_default() += 1;
                    self.find(row, reason);
                }
            }
        }
        if let Some((asked, accepts)) = row.shadow {
            for mode in asked.iter() {
                let tally = self.shadow.entry(mode).or_default();
                let (would, enforced) = (accepts.contains(mode), row.word == Word::Accept);
                tally.accepts += u64::from(would);
                tally.drops += u64::from(!would);
                tally.spared += u64::from(would && !enforced);
                tally.lost += u64::from(!would && enforced);
            }
        }
    }

    fn find(&mut self, row: &Row<'_>, reason: DropReason) {
        let cause = Cause {
            sa: row.sa,
            spi: row.spi(),
            reason,
            policy: row.policy,
            rule: row.rule.map(str::to_owned),
            spi_class: row.spi_class.map(SpiClass::name),
            belongs_to: row.belongs_to.map(str::to_owned),
            field: row.field,
        };
        let finding = self.findings.entry(cause).or_insert_with(|| Finding {
            packets: 0,
            first: row.packet,
            example: Example {
                outer: row.outer.map(|o| format!("{} to {}", o.endpoints.src(), o.endpoints.dst())),
                inner: row.inner.or(row.headers.filter(|_| row.outer.is_none())).map(|i| {
                    format!(
                        "{} to {}, protocol {}",
                        i.endpoints.src(),
                        i.endpoints.dst(),
                        i.protocol
                    )
                }),
                ago_ms: match row.spi_class {
                    Some(SpiClass::RecentlyDeleted { ago_ms }) => Some(ago_ms),
                    _ => None,
                },
                nearest: row.nearest.map(|(nearest, _)| nearest),
            },
        });
        finding.packets += 1;
    }

    /// Takes note of flows that were told of with a packet.
    fn tell_ended(&mut self, all: &[Ended], packet: &str) {
        let (rows, count) = &mut self.ended;
        for Ended(one) in all {
            *count += 1;
            if rows.len() < MOST_ENDED {
                let (src, dst) = (one.endpoints.src(), one.endpoints.dst());
                rows.push(vec![
                    one.kind.to_string(),
                    format!("{src}:{}", one.src_port),
                    dst.to_string(),
                    packet.to_owned(),
                    (one.age_ms / 1000).to_string(),
                ]);
            }
        }
    }

    /// Takes over what the core counted.
    pub fn close(&mut self, judge: &mut Judge<'_, '_>) {
        self.tell_ended(&judge.ended_last(), "-");
        let policy = |one: PolicyCount| {
            let id = one.policy.map_or_else(|| "none".to_owned(), |id| id.to_string());
            vec![one.list.to_owned(), id, one.action.to_owned(), one.packets.to_string()]
        };
        self.policies = judge.policy_counts().into_iter().map(policy).collect();
        for (line, counts) in self.tunnels.iter_mut().zip(judge.tunnel_counts()) {
            line.counts = counts;
        }
        self.health = judge.health();
        self.nowhere = judge.nowhere();
        self.astray = judge.astray();
    }

    /// Dropped packets.
    pub fn drops(&self) -> u64 {
        let on_sas = self.sas.iter().flat_map(|line| line.drops.values()).sum::<u64>();
        on_sas + self.loose.values().sum::<u64>()
    }

    /// Accepted packets.
    pub fn accepted(&self) -> u64 {
        self.sas.iter().map(|line| line.accepted).sum::<u64>() + self.clear_accepted
    }

    fn drops_of(&self, reason: Reason) -> u64 {
        let reason = DropReason::from(reason);
        let on_sas = self.sas.iter().filter_map(|line| line.drops.get(&reason)).sum::<u64>();
        on_sas + self.loose.get(&reason).copied().unwrap_or(0)
    }

    /// Child SAs of whose packets some came on other SAs and none on their own: then the sender
    /// has one SA for several of its policies (A9, T2).
    fn crowded(&self) -> Vec<(&str, &str)> {
        let wrong = self.findings.keys().filter_map(|cause| {
            let belongs_to = cause.belongs_to.as_deref()?;
            let arrived = self.sas.get(cause.sa?)?;
            Some((arrived.tunnel.as_str(), belongs_to, arrived.child.as_str()))
        });
        let mut crowded: Vec<_> = wrong
            .filter(|(tunnel, belongs_to, _)| {
                let own = self.sas.iter().filter(|l| l.tunnel == *tunnel && l.child == *belongs_to);
                own.map(|line| line.accepted).sum::<u64>() == 0
            })
            .map(|(_, belongs_to, arrived)| (belongs_to, arrived))
            .collect();
        crowded.dedup();
        crowded
    }
}

/// Writes table, tunnels, sentences and shadow results.
///
/// # Errors
/// Those of `out`.
pub fn write_summary(summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", sa_table(summary))?;
    let passed: u64 = summary.passed.values().sum();
    let (accepted, dropped) = (summary.accepted(), summary.drops());
    write!(out, "{accepted} accepted, {dropped} dropped, {passed} not for this check")?;
    if passed > 0 {
        let kinds: Vec<_> =
            summary.passed.iter().map(|(class, n)| format!("{class} {n}")).collect();
        write!(out, " ({})", kinds.join(", "))?;
    }
    writeln!(out)?;
    let not_opened = summary.drops_of(Reason::NotOpened);
    if not_opened > 0 {
        writeln!(out, "{not_opened} could not be opened for want of a key")?;
    }
    writeln!(out)?;
    for tunnel in &summary.tunnels {
        let (accepted, dropped, total, up) = tunnel.counts;
        writeln!(
            out,
            "tunnel {}: {}, rx(pkt,err): {}/{dropped}  selectors(total,up): {total}/{up}",
            tunnel.name,
            tunnel.mode.name(),
            accepted + dropped,
        )?;
    }
    if !summary.policies.is_empty() {
        let header = ["policies", "id", "action", "packets"];
        let rows = summary.policies.clone();
        writeln!(out, "{}\n", with_figures(&header, rows, |column| column == 1 || column == 3))?;
    }
    let (ended, count) = &summary.ended;
    if *count > 0 {
        let header = ["ended under the ALG", "source", "destination", "packet", "age, s"];
        writeln!(out, "{}", with_figures(&header, ended.clone(), |column| column > 2))?;
        let more = *count - ended.len() as u64;
        if more > 0 {
            writeln!(out, "and {more} more: see --json.")?;
        }
        writeln!(out)?;
    }
    for (sentence, is_alarm) in &summary.health {
        let sign = if *is_alarm { "alarm" } else { "health" };
        writeln!(out, "{sign}: {sentence}")?;
    }
    if summary.astray > 0 {
        writeln!(
            out,
            "{} SYNs of IKE over TCP are answered by another interface than they came in on: their \
             handshakes do not complete",
            summary.astray
        )?;
    }
    if summary.nowhere > 0 {
        writeln!(
            out,
            "{} packets came in on no [[interface]], so policies for some interfaces were not asked about \
             them: see --interface",
            summary.nowhere
        )?;
    }
    if !summary.findings.is_empty() {
        writeln!(out, "\nWhy packets were dropped:")?;
    }
    let mut findings: Vec<_> = summary.findings.iter().collect();
    findings.sort_by_key(|(_, finding)| (std::cmp::Reverse(finding.packets), finding.first));
    for (cause, finding) in findings.iter().take(MOST_SENTENCES) {
        writeln!(out, "- {}", Sentence { summary, cause, finding })?;
    }
    if let Some(rest) = findings.get(MOST_SENTENCES..).filter(|rest| !rest.is_empty()) {
        let packets: u64 = rest.iter().map(|(_, finding)| finding.packets).sum();
        let causes = rest.len();
        writeln!(out, "- {packets} packets for {causes} rarer causes: see --json.")?;
    }
    for (belongs_to, arrived) in summary.crowded() {
        writeln!(
            out,
            "- No packet of {belongs_to} came on an SA of its own, but some came on {arrived}'s: the \
             sender uses one SA for several policies. On MikroTik set the IPsec policy's level to \
             `unique` instead of `require`; elsewhere give each policy an SA of its own."
        )?;
    }
    for (mode, tally) in &summary.shadow {
        writeln!(
            out,
            "\nIn {} mode {} of these packets would have been accepted and {} dropped: {} that were \
             dropped would have passed, {} that passed would have been dropped.",
            mode.name(),
            tally.accepts,
            tally.drops,
            tally.spared,
            tally.lost,
        )?;
    }
    Ok(())
}

/// Rows of SAs that saw packets, and of drops on no SA.
fn sa_table(summary: &Summary) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["tunnel", "child", "SA", "accepted", "dropped", "reasons"]);
    let number = |n: u64| Cell::new(n).set_alignment(CellAlignment::Right);
    let reasons = |drops: &BTreeMap<DropReason, u64>| {
        let each: Vec<_> = drops.iter().map(|(r, n)| format!("{} {n}", r.name())).collect();
        each.join(", ")
    };
    for line in &summary.sas {
        let dropped = line.drops.values().sum::<u64>();
        if line.accepted + dropped > 0 {
            table.add_row([
                Cell::new(&line.tunnel),
                Cell::new(&line.child),
                Cell::new(format!("{} {}", line.protocol, line.spi)),
                number(line.accepted),
                number(dropped),
                Cell::new(reasons(&line.drops)),
            ]);
        }
    }
    if !summary.loose.is_empty() || summary.clear_accepted > 0 {
        let dropped = summary.loose.values().sum::<u64>();
        table.add_row([
            Cell::new("-"),
            Cell::new("-"),
            Cell::new("no SA"),
            number(summary.clear_accepted),
            number(dropped),
            Cell::new(reasons(&summary.loose)),
        ]);
    }
    table
}

/// Writes a drop as the documents' debug flow traces do (seed 000, cases 1 and 2; seed 001).
///
/// # Errors
/// Those of `out`.
pub fn write_trace(row: &Row<'_>, out: &mut dyn Write) -> io::Result<()> {
    let (Word::Drop, Some(reason)) = (row.word, row.reason) else { return Ok(()) };
    let func =
        |family_v6: bool, v4: &'static str, v6: &'static str| if family_v6 { v6 } else { v4 };
    let prefix = format!("packet={} time={}", row.packet, super::row::seconds(row.time));
    let DropReason::Ipsec(reason) = reason else {
        let message = row.message.clone().unwrap_or_else(|| format!("{}, drop", reason.name()));
        return writeln!(out, "{prefix} msg=\"{message}\"");
    };
    match (reason, &row.inner) {
        (Reason::WrongSa | Reason::NoSelector | Reason::FragmentNoPorts, Some(inner)) => {
            let six = inner.endpoints.src().is_ipv6();
            if let (Some((nearest, index)), true) = (&row.nearest, row.field == Some(Field::Src)) {
                let (lo, hi) = (nearest.remote.lo(), nearest.remote.hi());
                let func = func(six, "ipsec_spoofed4", "ipsec_spoofed6");
                let src = inner.endpoints.src();
                writeln!(
                    out,
                    "{prefix} func={func} msg=\"src ip {src} mismatch selector {index} range {lo}-{hi}\""
                )?;
            }
            let func = func(six, "ipsec_input4", "ipsec_input6");
            writeln!(out, "{prefix} func={func} msg=\"anti-spoof check failed, drop\"")
        }
        (Reason::UnknownSpi, _) => {
            let (Some(outer), Some(spi)) = (row.outer, row.spi()) else { return Ok(()) };
            if let Some(line) = FortiLine::of(&outer) {
                let unix_ns = u64::try_from(row.time).ok().and_then(|us| us.checked_mul(1000));
                let clock = unix_ns.map(|unix_ns| Clock { unix_ns, offset_minutes: 0 });
                return writeln!(out, "packet={} {}", row.packet, FortiLine { clock, ..line });
            }
            writeln!(
                out,
                "{prefix} remip={} locip={} msg=\"{}, drop\" spi=\"{:08x}\" seq=\"{:08x}\"",
                outer.endpoints.src(),
                outer.endpoints.dst(),
                reason.name(),
                spi.0,
                outer.sequence,
            )
        }
        _ => writeln!(out, "{prefix} msg=\"{}, drop\"", reason.name()),
    }
}
