//! `version_preset`: what the documents say that a FortiOS version does (seeds 000 and 003). `null` = they
//! do not say.

use espial::preset::FortiOs;
use serde_json::json;

use super::case::{Findings, Object, Problem};

pub(super) fn run(case: &mut Object<'_>, findings: &mut Findings) -> Result<(), Problem> {
    let version = case.text("version")?;
    let version: FortiOs = (version.parse())
        .map_err(|error| Problem(format!("field `version`: {error}, not \"{version}\"")))?;
    let mut expect = case.object("expect")?;
    let (mode, tcp_reply) = (expect.get("mode"), expect.get("tcp_reply"));
    expect.close()?;
    if let Some(expected) = mode {
        let mode = version.mode().map(|known| known.value.name());
        findings.compare("mode", expected, json!(mode));
    }
    if let Some(expected) = tcp_reply {
        let reply = version.tcp_reply().map(|known| known.value.name());
        findings.compare("tcp_reply", expected, json!(reply));
    }
    Ok(())
}
