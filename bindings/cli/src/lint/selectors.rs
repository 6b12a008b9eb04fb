//! Rules about what selectors cover. The answers are those of [`espial::analysis`].

use std::collections::BTreeMap;
use std::net::IpAddr;

use espial::Mode;
use espial::analysis::{Limits, Loss, Supernet, Why};
use espial::selector::TrafficSelector;

use super::{Code, Finding, Place, Prefix, Scene, Severity};
use crate::config::ChildConfig;

/// Pairs of selectors that are looked at: beyond, that is said.
const MOST_OVERLAPS: usize = 250_000;

/// Child SAs that accept nothing. Selectors that do not are found by [`hidden`].
pub(super) fn no_packet<'c>(scene: &Scene<'c>, found: &mut Vec<Finding<'c>>) {
    for child in scene.analysis.without_boxes() {
        let Some((_, tunnel, child)) = scene.children.get(child) else { continue };
        let message = "accepts nothing: no local selector goes with a remote one";
        let at = Place::child(tunnel, child);
        found.push(Finding::new(Code::NoPacket, Severity::Error, at, message));
    }
}

/// Two Child SAs cover one packet (RFC 7296 section 2.9.1): one finding for each two Child SAs of a
/// tunnel, and for each two tunnels.
pub(super) fn overlaps<'c>(scene: &Scene<'c>, found: &mut Vec<Finding<'c>>) {
    // Of a few Child SAs with many selectors each, that each meet many, all are looked at.
    let limits = Limits { overlaps: MOST_OVERLAPS, ..Limits::USUAL };
    let overlaps = scene.analysis.overlaps(&limits);
    let mut within = BTreeMap::new();
    let mut across = BTreeMap::new();
    for pair in &overlaps.pairs {
        let place = |index: usize| {
            let child = scene.analysis.boxes().get(index)?.child;
            Some((child, scene.children.get(child)?.0))
        };
        let (Some(first), Some(second)) = (place(pair.first), place(pair.second)) else { continue };
        let entry = if first.1 == second.1 {
            within.entry((first.0, second.0)).or_insert((pair, 0_u64))
        } else {
            across.entry((first.1, second.1)).or_insert((pair, 0))
        };
        entry.1 += 1;
    }
    for (is_across, (pair, count)) in within
        .into_values()
        .map(|one| (false, one))
        .chain(across.into_values().map(|one| (true, one)))
    {
        let located = scene.located(pair.first).zip(scene.located(pair.second));
        let Some(((tunnel, child, _), (other_tunnel, other, _))) = located else { continue };
        let (first, second) = (Place::child(tunnel, child), Place::child(other_tunnel, other));
        let more = match count {
            1 => String::new(),
            _ => format!(" and {} more", count - 1),
        };
        let both = pair.both;
        let (code, severity, effect) = match (is_across, tunnel.mode) {
            (true, _) => {
                (Code::TunnelOverlap, Severity::Note, "either peer may send them".to_owned())
            }
            (false, Mode::StrictSa) => (
                Code::SelectorOverlap,
                Severity::Warning,
                "accepted on either, whatever the order".to_owned(),
            ),
            (false, Mode::OrderedSpd) => (
                Code::SelectorOverlap,
                Severity::Warning,
                format!("dropped on any but {}", child.name),
            ),
            (false, Mode::AnySelector | Mode::AnySource) => {
                (Code::SelectorOverlap, Severity::Note, "the peer may use either".to_owned())
            }
        };
        let message = format!("and {} cover {both}{more}: {effect}", first.words());
        found.push(Finding::new(code, severity, second, message).with([first]).selector(both));
    }
    if !overlaps.complete {
        let message = format!(
            "{} overlaps were found before the work ended: there may be more",
            overlaps.total
        );
        found.extend(undecided(scene, message));
    }
}

/// Selectors that are never the first of their tunnel to cover a packet.
pub(super) fn hidden<'c>(scene: &Scene<'c>, found: &mut Vec<Finding<'c>>) {
    for hidden in scene.analysis.hidden(&Limits::USUAL) {
        let Some((tunnel, child, selector)) = scene.located(hidden.index) else { continue };
        let at = Place::child(tunnel, child);
        let (severity, effect) = match tunnel.mode {
            Mode::OrderedSpd => (Severity::Warning, "no packet falls to it"),
            Mode::StrictSa => (Severity::Note, "it adds nothing but its own SA"),
            Mode::AnySelector | Mode::AnySource => (Severity::Note, "it adds nothing"),
        };
        let places = |by: &[usize]| {
            let places = by.iter().filter_map(|&index| scene.located(index));
            let mut places: Vec<_> =
                places.map(|(tunnel, child, _)| Place::child(tunnel, child)).collect();
            places.dedup();
            places
        };
        let names = |places: &[Place<'_>]| {
            let names: Vec<_> = places.iter().filter_map(|place| place.child).collect();
            names.join(", ")
        };
        let finding = match &hidden.why {
            Why::NoPacket => {
                let message = format!("no packet can match {selector}");
                Finding::new(Code::NoPacket, Severity::Error, at, message)
            }
            Why::Shadowed { by } => {
                let by = places(&[*by]);
                let message = format!("{selector} is covered by {}: {effect}", names(&by));
                Finding::new(Code::SelectorShadowed, severity, at, message).with(by)
            }
            Why::Unreachable { by } => {
                let by = places(by);
                let message = format!("{selector} is covered by {} together: {effect}", names(&by));
                Finding::new(Code::SelectorUnreachable, severity, at, message).with(by)
            }
            _ => {
                let message =
                    format!("too many selectors meet {selector}: it may be hidden or not");
                Finding::new(Code::Undecided, Severity::Warning, at, message)
            }
        };
        found.push(finding.selector(selector));
    }
}

fn undecided<'c>(scene: &Scene<'c>, message: String) -> Option<Finding<'c>> {
    let at = Place::tunnel(scene.config.tunnels.first()?);
    Some(Finding::new(Code::Undecided, Severity::Warning, at, message))
}

/// Tunnels of several Child SAs whose ranges one prefix would take the place of (seed 000, A8).
pub(super) fn supernets<'c>(scene: &Scene<'c>, found: &mut Vec<Finding<'c>>) {
    type Side = (&'static str, fn(&ChildConfig) -> &[TrafficSelector]);
    const SIDES: [Side; 2] = [("remote", |child| &child.remote), ("local", |child| &child.local)];
    for tunnel in scene.config.tunnels.iter().filter(|tunnel| tunnel.children.len() > 1) {
        for (side, list) in SIDES {
            let all = espial::analysis::supernets(tunnel.children.iter().flat_map(list));
            for Supernet { covering, ranges } in all.into_iter().filter(|one| one.ranges > 1) {
                let (prefix, extra) = (covering.prefix.to_string(), covering.extra);
                let mask = match covering.prefix.mask() {
                    mask @ IpAddr::V4(_) => format!(" ({mask})"),
                    IpAddr::V6(_) => String::new(),
                };
                let message = format!(
                    "{prefix}{mask} covers the {ranges} {side} ranges and {extra} addresses more"
                );
                let at = Place::tunnel(tunnel);
                let supernet = Prefix { side, ranges, prefix, extra_addresses: extra };
                let finding = Finding::new(Code::Supernet, Severity::Note, at, message);
                found.push(Finding { supernet: Some(supernet), ..finding });
            }
        }
    }
}

/// Child SAs of several pairs, some of which a peer that takes one pair an SA would not carry: one finding for each
/// Child SA.
pub(super) fn lost_pairs<'c>(scene: &Scene<'c>, found: &mut Vec<Finding<'c>>) {
    let mut of_child = BTreeMap::new();
    for lost in scene.analysis.lost_pairs(&Limits::USUAL) {
        let Some(located) = scene.analysis.boxes().get(lost.index) else { continue };
        of_child.entry(located.child).or_insert((lost, 0_u64)).1 += 1;
    }
    for (first, count) in of_child.into_values() {
        let Some((tunnel, child, selector)) = scene.located(first.index) else { continue };
        let effect = match first.loss {
            Loss::Whole => "would be lost",
            Loss::Part { .. } => "would be lost in part",
            _ => "may be lost",
        };
        let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        let message = format!(
            "with a peer that takes one pair of selectors an SA, {selector}{more} {effect}"
        );
        let at = Place::child(tunnel, child);
        found.push(Finding::new(Code::PairLost, Severity::Note, at, message).selector(selector));
    }
}
