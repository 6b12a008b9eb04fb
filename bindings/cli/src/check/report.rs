//! The text form: a table by SA and reason, and sentences that an operator understands.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use espial::event::{Clock, FortiLine};
use espial::verdict::{Field, Malformed, Mode, Reason, SpiClass};
use espial::{Ipsec, Selector, Spi};

use super::judge::Judge;
use super::measure::Speed;
use super::row::{Row, Word};
use crate::config::GatewayConfig;

/// Causes of drops that get a sentence each; the rest are counted.
const MOST_SENTENCES: usize = 20;

/// What was counted, by SA and reason.
#[derive(Debug)]
pub struct Summary {
    sas: Vec<SaLine>,
    /// Drops on no SA.
    loose: BTreeMap<Reason, u64>,
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
    drops: BTreeMap<Reason, u64>,
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
    reason: Reason,
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
        let line = row.sa.and_then(|sa| self.sas.get_mut(sa));
        match (row.word, line) {
            (Word::Pass, _) => *self.passed.entry(row.class.name()).or_default() += 1,
            (Word::Accept, Some(line)) => line.accepted += 1,
            (Word::Accept, None) => {}
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

    fn find(&mut self, row: &Row<'_>, reason: Reason) {
        let cause = Cause {
            sa: row.sa,
            spi: row.spi(),
            reason,
            spi_class: row.spi_class.map(SpiClass::name),
            belongs_to: row.belongs_to.map(str::to_owned),
            field: row.field,
        };
        let finding = self.findings.entry(cause).or_insert_with(|| Finding {
            packets: 0,
            first: row.packet,
            example: Example {
                outer: row.outer.map(|o| format!("{} to {}", o.endpoints.src(), o.endpoints.dst())),
                inner: row.inner.map(|i| {
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

    /// Takes over what the core counted.
    pub fn close(&mut self, judge: &Judge<'_, '_>) {
        for (line, counts) in self.tunnels.iter_mut().zip(judge.tunnel_counts()) {
            line.counts = counts;
        }
    }

    /// Dropped packets.
    pub fn drops(&self) -> u64 {
        let on_sas = self.sas.iter().flat_map(|line| line.drops.values()).sum::<u64>();
        on_sas + self.loose.values().sum::<u64>()
    }

    /// Accepted packets.
    pub fn accepted(&self) -> u64 {
        self.sas.iter().map(|line| line.accepted).sum()
    }

    fn drops_of(&self, reason: Reason) -> u64 {
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
    let reasons = |drops: &BTreeMap<Reason, u64>| {
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
    if !summary.loose.is_empty() {
        let dropped = summary.loose.values().sum::<u64>();
        table.add_row([
            Cell::new("-"),
            Cell::new("-"),
            Cell::new("no SA"),
            number(0),
            number(dropped),
            Cell::new(reasons(&summary.loose)),
        ]);
    }
    table
}

/// What one cause of drops means, in a sentence.
struct Sentence<'a> {
    summary: &'a Summary,
    cause: &'a Cause,
    finding: &'a Finding,
}

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { summary, cause, finding } = self;
        let packets = finding.packets;
        let noun = if packets == 1 { "packet" } else { "packets" };
        let line = cause.sa.and_then(|sa| summary.sas.get(sa));
        let child = line.map_or("?", |line| line.child.as_str());
        let tunnel = line.map_or("?", |line| line.tunnel.as_str());
        write!(f, "{packets} {noun}")?;
        if let Some(spi) = cause.spi {
            write!(f, " on SPI {spi}")?;
        }
        if line.is_some() {
            write!(f, " ({child} of {tunnel})")?;
        }
        f.write_str(": ")?;
        let example = &finding.example;
        let first = finding.first;
        let shown = match (&example.inner, &example.outer) {
            (Some(inner), _) => format!("first: packet {first}, {inner}"),
            (None, Some(outer)) => format!("first: packet {first}, {outer}"),
            (None, None) => format!("first: packet {first}"),
        };
        match cause.reason {
            Reason::WrongSa => {
                let belongs_to = cause.belongs_to.as_deref().unwrap_or("?");
                write!(f, "the peer used the wrong SA, this traffic belongs to {belongs_to}")?;
                self.field(f, &format!("{child}'s selector"))?;
            }
            Reason::NoSelector => {
                f.write_str("no selector of the tunnel covers this traffic")?;
                self.field(f, "the nearest selector")?;
            }
            Reason::FragmentNoPorts => f.write_str(
                "later fragments hold no ports, so only selectors with ports ANY or OPAQUE can \
                 cover them; or reassemble before the check",
            )?,
            Reason::UnknownSpi => self.unknown(f)?,
            Reason::OuterFragment => f.write_str(
                "ESP or AH in fragments, which must be reassembled before they are opened",
            )?,
            Reason::WrongEncap => f.write_str(
                "another encapsulation (none, UDP, TCP) than the SA's: a NAT between the peers \
                 appeared or went, or the packets are forged",
            )?,
            Reason::AuthFailed => f.write_str(
                "authentication failed: the key is another, or the packets were damaged or forged",
            )?,
            Reason::BadPadding => {
                f.write_str("wrong ESP padding: most likely the encryption key is another")?;
            }
            Reason::Replay => f.write_str("a replay, or left of the replay window")?,
            Reason::NotOpened => {
                f.write_str("not opened: the configuration gives no key or cipher for the SA")?;
            }
            Reason::SaExpired => f.write_str("after the SA's lifetime")?,
            Reason::Dummy => {
                f.write_str("dummy packets (next header 59), which RFC 4303 says to discard")?;
            }
            Reason::Malformed(what) => f.write_str(malformed(what))?,
        }
        write!(f, " ({shown}).")
    }
}

impl Sentence<'_> {
    fn field(&self, f: &mut fmt::Formatter<'_>, whose: &str) -> fmt::Result {
        let (Some(field), Some(nearest)) = (self.cause.field, self.finding.example.nearest) else {
            return Ok(());
        };
        match field {
            Field::Src => write!(f, "; the source is outside {whose}, remote {}", nearest.remote),
            Field::Dst => {
                write!(f, "; the destination is outside {whose}, local {}", nearest.local)
            }
            Field::Protocol => {
                write!(f, "; {whose} is for protocol {} only", nearest.protocol)
            }
            Field::SourcePort => {
                write!(f, "; the source port is outside {whose}, {}", nearest.remote_ports)
            }
            Field::DestinationPort => {
                write!(f, "; the destination port is outside {whose}, {}", nearest.local_ports)
            }
            Field::Icmp => write!(f, "; ICMP type and code are outside {whose}"),
            Field::Mobility => write!(f, "; the Mobility Header type is outside {whose}"),
        }
    }

    fn unknown(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause.spi_class {
            Some("recently_deleted") => {
                let ago = self.finding.example.ago_ms.map_or(0.0, |ms| f64::from(ms) / 1000.0);
                write!(
                    f,
                    "the SA was deleted {ago} s before: late packets of a rekey, or the peer still \
                     uses it"
                )
            }
            Some("other_destination") => {
                f.write_str("this SPI is known at another destination or from another source only")
            }
            Some("larval") => f.write_str("the negotiation of this SA is not finished"),
            _ => f.write_str(
                "no SA with this SPI was ever seen: the peer's SA is unknown here (one-sided flush \
                 or reboot), or this is a probe",
            ),
        }
    }
}

fn malformed(what: Malformed) -> &'static str {
    match what {
        Malformed::IpVersion => "neither IPv4 nor IPv6",
        Malformed::IpHeader => "the IP header is cut off or too short",
        Malformed::IpLength => "the IP length and the octets there are do not fit",
        Malformed::Extension => "an IPv6 extension header runs past the end",
        Malformed::ExtensionOrder => "hop-by-hop options do not come first",
        Malformed::ExtensionLimit => "too many IPv6 extension headers",
        Malformed::Fragment => "a fragment of an impossible length or place",
        Malformed::Udp => "the UDP length is wrong",
        Malformed::Esp => "too short for ESP",
        Malformed::Ah => "the length of AH is wrong",
        Malformed::NatT => "neither ESP, IKE nor keepalive, but on UDP port 4500",
        Malformed::TcpFrame => "a TCP frame of an impossible length, or octets are missing",
        Malformed::NextHeader => "another protocol inside than the SA's mode demands",
        Malformed::NextLayer => "too short for the ports of their protocol",
        Malformed::RoutingHeader => "a routing header of type 0, which RFC 5095 forbids",
    }
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
