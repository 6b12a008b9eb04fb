//! Rules about tunnels and their modes.

use espial::Mode;
use espial::preset::Basis;

use super::{Code, Finding, Place, Scene, Severity};
use crate::config::TunnelConfig;

/// Where the mode of a tunnel comes from.
fn at_mode(tunnel: &TunnelConfig) -> Place<'_> {
    Place { line: tunnel.mode_line.unwrap_or(tunnel.line), ..Place::tunnel(tunnel) }
}

/// What any-source gives up (A2).
pub(super) fn any_source<'c>(scene: &Scene<'c>, found: &mut Vec<Finding<'c>>) {
    for tunnel in scene.config.tunnels.iter().filter(|tunnel| tunnel.mode == Mode::AnySource) {
        let whence = match (tunnel.mode_line, scene.config.fortios) {
            (None, Some(version)) => format!(", the mode of FortiOS {version},"),
            _ => String::new(),
        };
        let message = format!(
            "any-source{whence} is weaker than any-selector: a source of one selector may reach any \
             destination, protocol and port"
        );
        found.push(Finding::new(Code::AnySource, Severity::Warning, at_mode(tunnel), message));
    }
}

/// Modes that the documents leave to be inferred.
pub(super) fn inferred_mode<'c>(scene: &Scene<'c>, found: &mut Vec<Finding<'c>>) {
    let Some(version) = scene.config.fortios else { return };
    let Some(known) = version.mode().filter(|known| known.basis == Basis::Inferred) else { return };
    let name = known.value.name();
    for tunnel in scene.config.tunnels.iter().filter(|tunnel| tunnel.mode_line.is_none()) {
        let message = format!("{name} of FortiOS {version} is inferred from other versions");
        found.push(Finding::new(Code::ModeInferred, Severity::Note, at_mode(tunnel), message));
    }
}

/// Child SAs that are not established.
pub(super) fn without_sa<'c>(scene: &Scene<'c>, found: &mut Vec<Finding<'c>>) {
    for (_, tunnel, child) in scene.children.iter().filter(|(_, _, child)| child.sas.is_empty()) {
        let at = Place::child(tunnel, child);
        let message = "has no SA: it is never established";
        found.push(Finding::new(Code::ChildWithoutSa, Severity::Note, at, message));
    }
}
