//! `espial analyze`: what the core finds wrong with a configuration, in words and as JSON Lines.
//!
//! Owns the forms of the report. Decides nothing: every finding is the core's
//! ([`espial::analysis`]).

pub(crate) mod row;

use std::io::{self, Write};

use espial::analysis::{
    Analysis, ChildSelectors, Hidden, Limits, Located, Overlaps, Supernet, Why, supernets,
};
use espial::selector::TrafficSelector;

use crate::check::CheckError;
use crate::config::{ChildConfig, GatewayConfig, TunnelConfig};
use crate::lookup::Format;
use crate::table::with_figures;

/// Rows of one table of the text form.
const MOST_ROWS: usize = 100;

/// Selectors named in one row of the text form.
const MOST_NAMES: usize = 4;

/// Analyses a configuration and writes what was found. Returns the exit status: 1 if there is a
/// finding, or if the work ended before all was known, else 0.
///
/// # Errors
/// Those of `out`; [`CheckError::Gateway`] if a selector is invalid.
pub fn run(config: &GatewayConfig, format: Format, out: &mut dyn Write) -> Result<u8, CheckError> {
    let report = Report::new(config, &Limits::USUAL)?;
    match format {
        Format::Json => row::write(&report, out)?,
        Format::Text => report.write(out)?,
    }
    Ok(u8::from(report.has_findings()))
}

/// Where a supernet would stand.
struct Place<'c> {
    tunnel: &'c TunnelConfig,
    /// `None`: all Child SAs of the tunnel.
    child: Option<&'c ChildConfig>,
    side: &'static str,
    supernet: Supernet,
}

/// All that there is to say of a configuration.
struct Report<'c> {
    config: &'c GatewayConfig,
    /// The Child SAs as the analysis numbers them.
    children: Vec<(&'c TunnelConfig, &'c ChildConfig)>,
    analysis: Analysis,
    overlaps: Overlaps,
    hidden: Vec<Hidden>,
    supernets: Vec<Place<'c>>,
}

impl<'c> Report<'c> {
    fn new(config: &'c GatewayConfig, limits: &Limits) -> Result<Self, CheckError> {
        let (mut children, mut selectors) = (Vec::new(), Vec::new());
        for (number, tunnel) in config.tunnels.iter().enumerate() {
            for child in &tunnel.children {
                let (local, remote) = (&child.local, &child.remote);
                children.push((tunnel, child));
                selectors.push(ChildSelectors { tunnel: number, local, remote });
            }
        }
        let analysis =
            Analysis::new(&selectors).map_err(|error| CheckError::Gateway(error.to_string()))?;
        let overlaps = analysis.overlaps(limits);
        let hidden = analysis.hidden(limits);
        let supernets = config.tunnels.iter().flat_map(places).collect();
        Ok(Self { config, children, analysis, overlaps, hidden, supernets })
    }

    fn has_findings(&self) -> bool {
        self.overlaps.total > 0
            || !self.overlaps.complete
            || !self.hidden.is_empty()
            || self.analysis.without_boxes().next().is_some()
    }

    /// A box, its Child SA and its tunnel.
    fn located(&self, index: usize) -> Option<(&'c TunnelConfig, &'c ChildConfig, &Located)> {
        let located = self.analysis.boxes().get(index)?;
        let (tunnel, child) = self.children.get(located.child)?;
        Some((tunnel, child, located))
    }

    fn child(&self, index: usize) -> Option<(&'c TunnelConfig, &'c ChildConfig)> {
        self.children.get(index).copied()
    }

    /// Child SAs with the selectors of an earlier one of their tunnel.
    fn parallel(
        &self,
    ) -> impl Iterator<Item = (&'c TunnelConfig, &'c ChildConfig, &'c ChildConfig)> {
        let twins = (0..self.children.len())
            .filter_map(|child| Some((child, self.analysis.same_as(child)?)));
        twins.filter_map(|(child, first)| {
            let (tunnel, child) = self.child(child)?;
            Some((tunnel, child, self.child(first)?.1))
        })
    }

    fn empty(&self) -> impl Iterator<Item = (&'c TunnelConfig, &'c ChildConfig)> {
        self.analysis.without_boxes().filter_map(|child| self.child(child))
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let (tunnels, children) = (self.config.tunnels.len(), self.children.len());
        let boxes = self.analysis.boxes().len();
        writeln!(
            out,
            "{tunnels} tunnels, {children} Child SAs, {boxes} pairs of a remote and a local selector."
        )?;
        let parallel = self.parallel().count();
        if parallel > 0 {
            writeln!(
                out,
                "Child SAs with the selectors of an earlier one of their tunnel, as parallel SAs have \
                 (RFC 9611): {parallel}."
            )?;
        }
        for (tunnel, child) in self.empty() {
            writeln!(
                out,
                "Line {}: {} of {} accepts nothing: no local selector goes with a remote one.",
                child.line, child.name, tunnel.name
            )?;
        }
        self.write_overlaps(out)?;
        self.write_hidden(out)?;
        if !self.has_findings() {
            writeln!(out, "No selectors overlap and none is hidden.")?;
        }
        self.write_supernets(out)
    }

    fn write_overlaps(&self, out: &mut dyn Write) -> io::Result<()> {
        if !self.overlaps.complete {
            let total = self.overlaps.total;
            writeln!(
                out,
                "\nToo many selectors meet: {total} overlaps were counted, there may be more."
            )?;
        }
        if self.overlaps.pairs.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\nOverlaps, packets that are right on either of two Child SAs (RFC 7296 section 2.9.1):"
        )?;
        let pairs = self.overlaps.pairs.iter().take(MOST_ROWS).filter_map(|pair| {
            let (tunnel, child, _) = self.located(pair.first)?;
            let (other_tunnel, other, _) = self.located(pair.second)?;
            let one = format!("{} of {}", child.name, tunnel.name);
            let other = format!("{} of {}", other.name, other_tunnel.name);
            Some(vec![one, other, pair.both.to_string()])
        });
        let header = ["Child SA", "and", "packets of both"];
        write_table(out, &header, pairs.collect(), self.overlaps.total, |_| false)
    }

    fn write_hidden(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.hidden.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\nHidden, never the first of the tunnel to cover a packet (in ordered-spd mode none falls to \
             them):"
        )?;
        let rows = self.hidden.iter().take(MOST_ROWS).filter_map(|hidden| {
            let (tunnel, child, located) = self.located(hidden.index)?;
            let selector = located.selector.to_string();
            let why = match &hidden.why {
                Why::Shadowed { by } => format!("shadowed by {}", self.names(&[*by])),
                Why::Unreachable { by } => format!("unreachable behind {}", self.names(by)),
                Why::NoPacket => "no packet can match it".to_owned(),
                _ => "undecided: too many selectors meet it".to_owned(),
            };
            Some(vec![tunnel.name.clone(), child.name.clone(), selector, why])
        });
        let header = ["tunnel", "child", "selector", "why"];
        let total = self.hidden.len() as u64;
        write_table(out, &header, rows.collect(), total, |_| false)
    }

    /// Boxes by Child SA and selector.
    fn names(&self, boxes: &[usize]) -> String {
        let named = boxes.iter().take(MOST_NAMES).filter_map(|&index| {
            let (_, child, located) = self.located(index)?;
            Some(format!("{} ({})", child.name, located.selector))
        });
        let mut names = named.collect::<Vec<_>>().join(", ");
        if let Some(more) = boxes.len().checked_sub(MOST_NAMES).filter(|&more| more > 0) {
            names.push_str(&format!(" and {more} more"));
        }
        names
    }

    fn write_supernets(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.supernets.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\nSupernets, one prefix in place of several ranges, and the addresses it admits beyond them:"
        )?;
        let rows = self.supernets.iter().take(MOST_ROWS).map(|place| {
            let Supernet { covering, ranges } = place.supernet;
            let child = place.child.map_or("all", |child| &child.name);
            let (prefix, extra) = (covering.prefix.to_string(), covering.extra.to_string());
            let of = [place.tunnel.name.as_str(), child, place.side].map(str::to_owned);
            [&of[..], &[ranges.to_string(), prefix, extra]].concat()
        });
        let header = ["tunnel", "child", "side", "ranges", "prefix", "extra"];
        let total = self.supernets.len() as u64;
        write_table(out, &header, rows.collect(), total, |column| matches!(column, 3 | 5))
    }
}

fn write_table(
    out: &mut dyn Write,
    header: &[&str],
    rows: Vec<Vec<String>>,
    total: u64,
    figures: impl Fn(usize) -> bool,
) -> io::Result<()> {
    let more = total.saturating_sub(rows.len() as u64);
    writeln!(out, "{}", with_figures(header, rows, figures))?;
    if more > 0 {
        writeln!(out, "and {more} more: see --json.")?;
    }
    Ok(())
}

/// The supernets of each Child SA, and of all of a tunnel, where there is more than one range.
fn places(tunnel: &TunnelConfig) -> impl Iterator<Item = Place<'_>> {
    type Side = (&'static str, fn(&ChildConfig) -> &[TrafficSelector]);
    const SIDES: [Side; 2] = [("remote", |child| &child.remote), ("local", |child| &child.local)];
    let each = tunnel.children.iter().map(|child| (Some(child), std::slice::from_ref(child)));
    let all = (tunnel.children.len() > 1).then_some((None, tunnel.children.as_slice()));
    each.chain(all).flat_map(move |(child, children)| {
        SIDES.into_iter().flat_map(move |(side, list)| {
            let found = supernets(children.iter().flat_map(list)).into_iter();
            let found = found.filter(|supernet| supernet.ranges > 1);
            found.map(move |supernet| Place { tunnel, child, side, supernet })
        })
    })
}
