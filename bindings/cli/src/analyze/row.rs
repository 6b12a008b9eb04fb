//! The JSON form of a report: one object a line, `kind` says what of. Absent fields are left out.

use std::io::{self, Write};

use espial::analysis::{Located, Why};
use espial::headers::protocol;
use espial::selector::{IcmpValues, PortRange, Selector};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::Report;
use crate::config::{ChildConfig, TunnelConfig};

/// One selector of one Child SA.
#[derive(Serialize)]
struct At<'c> {
    tunnel: &'c str,
    child: &'c str,
    /// Of the Child SA in the file.
    line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    selector: Option<Fields>,
}

impl<'c> At<'c> {
    fn new((tunnel, child, located): (&'c TunnelConfig, &'c ChildConfig, &Located)) -> Self {
        Self { selector: Some(Fields(located.selector)), ..Self::child(tunnel, child) }
    }

    fn child(tunnel: &'c TunnelConfig, child: &'c ChildConfig) -> Self {
        Self { tunnel: &tunnel.name, child: &child.name, line: child.line, selector: None }
    }
}

/// A selector; what is ANY is left out.
pub(crate) struct Fields(pub(crate) Selector);

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Selector { remote, local, protocol, remote_ports, local_ports } = self.0;
        let mut fields = vec![("remote", remote.to_string()), ("local", local.to_string())];
        if !remote_ports.is_any() {
            fields.push(match protocol {
                protocol::ICMP | protocol::ICMPV6 => ("icmp", IcmpValues(remote_ports).to_string()),
                protocol::MOBILITY => ("mh", types(remote_ports).to_string()),
                _ => ("remote_ports", remote_ports.to_string()),
            });
        }
        if !local_ports.is_any() {
            fields.push(("local_ports", local_ports.to_string()));
        }
        let mut map = serializer.serialize_map(None)?;
        for (key, text) in fields {
            map.serialize_entry(key, &text)?;
        }
        if protocol != 0 {
            map.serialize_entry("proto", &protocol)?;
        }
        map.end()
    }
}

/// Mobility Header types: the high octets.
fn types(values: PortRange) -> PortRange {
    let octets = PortRange::new(values.lo() >> 8, values.hi() >> 8);
    octets.filter(|_| !values.admits_opaque()).unwrap_or(values)
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line<'c> {
    Overlap {
        #[serde(flatten)]
        at: At<'c>,
        with: Box<At<'c>>,
        both: Fields,
    },
    Shadowed {
        #[serde(flatten)]
        at: At<'c>,
        by: Vec<At<'c>>,
    },
    Unreachable {
        #[serde(flatten)]
        at: At<'c>,
        by: Vec<At<'c>>,
    },
    Undecided {
        #[serde(flatten)]
        at: At<'c>,
    },
    /// No packet can match the selector, or the Child SA, if there is none.
    NoPacket {
        #[serde(flatten)]
        at: At<'c>,
    },
    /// Not a finding.
    Parallel {
        #[serde(flatten)]
        at: At<'c>,
        same_as: &'c str,
    },
    /// Not a finding.
    Supernet {
        tunnel: &'c str,
        /// Absent: of all Child SAs of the tunnel.
        #[serde(skip_serializing_if = "Option::is_none")]
        child: Option<&'c str>,
        side: &'static str,
        ranges: usize,
        prefix: String,
        /// May have more than 64 bits.
        extra: u128,
    },
    Summary {
        tunnels: usize,
        children: usize,
        selectors: usize,
        /// All, also those that have no line.
        overlaps: u64,
        /// False: there may be more.
        overlaps_complete: bool,
        shadowed: usize,
        unreachable: usize,
        /// Selectors and Child SAs.
        no_packet: usize,
        undecided: usize,
    },
}

/// Writes findings, then supernets, then the summary.
pub(super) fn write(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut line = |line: Line<'_>| {
        serde_json::to_writer(&mut *out, &line)?;
        writeln!(out)
    };
    for (tunnel, child) in report.empty() {
        line(Line::NoPacket { at: At::child(tunnel, child) })?;
    }
    let at = |index| report.located(index).map(At::new);
    for pair in &report.overlaps.pairs {
        let (Some(at), Some(with)) = (at(pair.first), at(pair.second)) else { continue };
        line(Line::Overlap { at, with: Box::new(with), both: Fields(pair.both) })?;
    }
    for hidden in &report.hidden {
        let Some(own) = at(hidden.index) else { continue };
        line(match &hidden.why {
            Why::Shadowed { by } => Line::Shadowed { at: own, by: at(*by).into_iter().collect() },
            Why::Unreachable { by } => {
                Line::Unreachable { at: own, by: by.iter().filter_map(|&by| at(by)).collect() }
            }
            Why::NoPacket => Line::NoPacket { at: own },
            _ => Line::Undecided { at: own },
        })?;
    }
    for (tunnel, child, first) in report.parallel() {
        line(Line::Parallel { at: At::child(tunnel, child), same_as: &first.name })?;
    }
    for place in &report.supernets {
        let covering = place.supernet.covering;
        line(Line::Supernet {
            tunnel: &place.tunnel.name,
            child: place.child.map(|child| child.name.as_str()),
            side: place.side,
            ranges: place.supernet.ranges,
            prefix: covering.prefix.to_string(),
            extra: covering.extra,
        })?;
    }
    let count = |of: fn(&Why) -> bool| report.hidden.iter().filter(|one| of(&one.why)).count();
    line(Line::Summary {
        tunnels: report.config.tunnels.len(),
        children: report.children.len(),
        selectors: report.analysis.boxes().len(),
        overlaps: report.overlaps.total,
        overlaps_complete: report.overlaps.complete,
        shadowed: count(|why| matches!(why, Why::Shadowed { .. })),
        unreachable: count(|why| matches!(why, Why::Unreachable { .. })),
        no_packet: count(|why| matches!(why, Why::NoPacket)) + report.empty().count(),
        undecided: count(|why| matches!(why, Why::Undecided)),
    })
}
