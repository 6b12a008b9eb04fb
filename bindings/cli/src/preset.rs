//! `espial preset`: what the documents say that a FortiOS version does. Decides nothing: every fact is
//! the core's ([`espial::preset`]).

use std::io::{self, Write};

use espial::Mode;
use espial::preset::{FortiOs, Known};
use serde::Serialize;

use crate::lookup::Format;

#[derive(Serialize)]
struct Line {
    fortios: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode_basis: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp_reply: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp_reply_basis: Option<&'static str>,
}

/// Writes what is known of a version. Returns the exit status: 1 if the documents say nothing of its
/// mode, so that a tunnel needs one of its own.
///
/// # Errors
/// Those of `out`.
pub fn run(version: FortiOs, format: Format, out: &mut dyn Write) -> io::Result<u8> {
    let (mode, reply) = (version.mode(), version.tcp_reply());
    let status = u8::from(mode.is_none());
    if format == Format::Json {
        let line = Line {
            fortios: version.to_string(),
            mode: mode.map(|known| known.value.name()),
            mode_basis: mode.map(|known| known.basis.name()),
            tcp_reply: reply.map(|known| known.value.name()),
            tcp_reply_basis: reply.map(|known| known.basis.name()),
        };
        serde_json::to_writer(&mut *out, &line)?;
        writeln!(out)?;
        return Ok(status);
    }
    writeln!(out, "FortiOS {version}")?;
    match &mode {
        Some(known) => writeln!(out, "mode = \"{}\"    {}", known.value.name(), basis(known))?,
        None => {
            let names = Mode::ALL.map(|mode| format!("\"{}\"", mode.name())).join(", ");
            writeln!(out, "mode is not documented: give each tunnel mode = one of {names}")?;
        }
    }
    match &reply {
        Some(known) => {
            writeln!(out, "answers to IKE over TCP: {}    {}", known.value.name(), basis(known))?
        }
        None => writeln!(out, "answers to IKE over TCP: not documented")?,
    }
    if mode.is_some_and(|known| known.value == Mode::AnySource) {
        writeln!(
            out,
            "any-source is weaker than any-selector: destination, protocol and ports are not looked at"
        )?;
    }
    Ok(status)
}

fn basis<T>(known: &Known<T>) -> &'static str {
    match known.basis {
        espial::preset::Basis::Stated => "as the documents say",
        espial::preset::Basis::Inferred => "inferred from what they say of other versions",
    }
}
