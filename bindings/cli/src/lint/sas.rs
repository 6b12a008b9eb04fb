//! Rules about SAs, their keys and their protection.

use std::collections::HashMap;

use espial::Ipsec;

use super::{Code, Finding, Place, Scene, Severity};
use crate::config::{Encryption, Integrity, SaConfig};

/// SAs whose packets go to an address that is not the gateway's.
pub(super) fn foreign_destination<'c>(scene: &Scene<'c>, found: &mut Vec<Finding<'c>>) {
    let own = &scene.config.addresses;
    for (tunnel, child, sa) in scene.config.sas() {
        if let Some(dst) = sa.dst.filter(|dst| !own.is_empty() && !own.contains(dst)) {
            let message = format!("{dst} is none of the gateway's addresses: its packets pass by");
            let at = Place::sa(tunnel, child, sa);
            found.push(Finding::new(Code::ForeignDestination, Severity::Error, at, message));
        }
    }
}

/// An SA whose packets go to another, that has the same SPI and a longer key (T22).
pub(super) fn shadowed_keys<'c>(scene: &Scene<'c>, found: &mut Vec<Finding<'c>>) {
    let mut by_spi: HashMap<_, Vec<_>> = HashMap::new();
    for (tunnel, child, sa) in scene.config.sas() {
        by_spi.entry((sa.ipsec, sa.spi)).or_default().push((tunnel, child, sa));
    }
    for same in by_spi.values() {
        for &(tunnel, child, sa) in same {
            let longer: Vec<_> = same.iter().filter(|(_, _, other)| extends(other, sa)).collect();
            let Some((_, _, first)) = longer.first() else { continue };
            let to = first.dst.map(|dst| format!(" to {dst}")).unwrap_or_default();
            let from = first.src.map(|src| format!(" from {src}")).unwrap_or_default();
            let message = format!(
                "packets{to}{from} are on the SA at line {}, whose key is longer",
                first.line
            );
            let places = longer.iter().map(|(tunnel, child, sa)| Place::sa(tunnel, child, sa));
            let at = Place::sa(tunnel, child, sa);
            let finding = Finding::new(Code::KeyShadowed, Severity::Warning, at, message);
            found.push(finding.with(places));
        }
    }
}

/// True if the key of `longer` is `shorter`'s and more, while both exist.
fn extends(longer: &SaConfig, shorter: &SaConfig) -> bool {
    let dst = shorter.dst.is_none() || shorter.dst == longer.dst;
    let more = (longer.dst.is_some(), longer.src.is_some())
        != (shorter.dst.is_some(), shorter.src.is_some());
    dst && shorter.src.is_none() && more && longer.overlaps(shorter)
}

/// SPIs 1 to 255.
pub(super) fn reserved_spi<'c>(scene: &Scene<'c>, found: &mut Vec<Finding<'c>>) {
    for (tunnel, child, sa) in scene.config.sas().filter(|(_, _, sa)| sa.spi.is_reserved()) {
        let at = Place::sa(tunnel, child, sa);
        let message = "IANA reserves SPIs 1 to 255";
        found.push(Finding::new(Code::ReservedSpi, Severity::Warning, at, message));
    }
}

/// Anti-replay that is off or too small.
pub(super) fn replay<'c>(scene: &Scene<'c>, found: &mut Vec<Finding<'c>>) {
    for (tunnel, child, sa) in scene.config.sas() {
        let (code, message) = match (sa.replay_window, sa.esn) {
            (0, true) => (
                Code::EsnWithoutReplay,
                "extended sequence numbers without anti-replay: the high half is guessed from what came \
                 last"
                    .to_owned(),
            ),
            (0, false) => (
                Code::ReplayOff,
                "packets that were recorded are accepted again: anti-replay is off".to_owned(),
            ),
            (window @ 1..32, _) => (
                Code::ReplayWindowSmall,
                format!("a window of {window} drops packets that are late by as many"),
            ),
            _ => continue,
        };
        let at = Place::sa(tunnel, child, sa);
        found.push(Finding::new(code, Severity::Warning, at, message));
    }
}

/// ESP that anybody can forge.
pub(super) fn integrity<'c>(scene: &Scene<'c>, found: &mut Vec<Finding<'c>>) {
    for (tunnel, child, sa) in scene.config.sas() {
        let cipher = sa.encryption.filter(|cipher| sa.ipsec == Ipsec::Esp && !cipher.is_aead());
        let Some(cipher) = cipher.filter(|_| sa.integrity == Integrity::None) else { continue };
        let message = match cipher {
            Encryption::Null => "neither encrypted nor authenticated".to_owned(),
            _ => format!("{} does not authenticate, and there is no integrity", cipher.name()),
        };
        let at = Place::sa(tunnel, child, sa);
        found.push(Finding::new(Code::NoIntegrity, Severity::Warning, at, message));
    }
}
