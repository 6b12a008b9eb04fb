//! `espial check`: every packet of a capture through the real pipeline.
//!
//! ```text
//! capture ─▶ (TCP streams ─▶ frames) ─▶ Worker::arrive ─▶ Opener ─▶ Worker::check ─▶ Row
//! ```
//!
//! Owns the order of things around the core: which SAs exist at a packet's time, decryption.
//! Decides nothing: every verdict is the core's.

mod explain;
pub(crate) mod health;
mod judge;
mod local;
mod measure;
mod outer;
mod policies;
mod reason;
mod reply;
mod report;
mod row;
mod tables;
mod through;
mod way;

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};

pub use judge::{Judge, Options, Room, gateway_for};
pub use measure::Speed;
pub use reason::{By, DropReason, GateReason};
pub use report::{Summary, write_summary};
pub use row::{Class, Row, Word};
pub use through::Ended;
pub use way::Step;

use crate::capture::{Capture, CaptureError};
use crate::config::GatewayConfig;

/// A capture larger than this shows its progress on a terminal.
const PROGRESS_OCTETS: u64 = 50 << 20;

/// What `check` prints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// A summary for people.
    Text,
    /// The summary, and before it each drop in the words of a FortiOS debug flow.
    Trace,
    /// One JSON object a packet.
    Json,
    /// The way that packets took, table by table; of all, and then the summary, or of this one.
    Explain(Option<u64>),
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// What was counted.
    pub summary: Summary,
    /// Why the capture could not be read to its end.
    pub unread: Option<CaptureError>,
}

impl Outcome {
    /// The exit status: 2 if the input was unusable, 1 if something was dropped, else 0.
    pub fn status(&self) -> u8 {
        match (&self.unread, self.summary.drops()) {
            (Some(_), _) => 2,
            (None, 0) => 0,
            (None, _) => 1,
        }
    }
}

/// Why a run could not be made or finished.
#[derive(Debug)]
pub enum CheckError {
    /// The output could not be written.
    Output(std::io::Error),
    /// The configuration does not fit into a gateway.
    Gateway(String),
    /// The capture could not be opened.
    Capture(std::io::Error),
}

impl From<std::io::Error> for CheckError {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}

impl std::fmt::Display for CheckError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Output(error) => write!(f, "cannot write: {error}"),
            Self::Gateway(text) => f.write_str(text),
            Self::Capture(error) => write!(f, "cannot open: {error}"),
        }
    }
}

impl std::error::Error for CheckError {}

/// Judges the capture at `path`.
///
/// # Errors
/// [`CheckError`]. A capture that ends early is no error here but [`Outcome::unread`].
pub fn run(
    config: &GatewayConfig,
    path: &Path,
    form: Form,
    options: Options,
    out: &mut dyn Write,
) -> Result<Outcome, CheckError> {
    let file = File::open(path).map_err(CheckError::Capture)?;
    let octets = file.metadata().map_or(0, |metadata| metadata.len());
    let bar = (octets > PROGRESS_OCTETS && std::io::stderr().is_terminal()).then(|| {
        let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {eta}");
        ProgressBar::new(octets).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    });
    judge_with(config, file, form, options, out, &mut |read| {
        if let Some(bar) = &bar {
            bar.set_position(read);
        }
    })
}

/// Judges every packet that `reader` holds; `progress` is told the octets read.
///
/// # Errors
/// As [`run`].
pub fn judge_all(
    config: &GatewayConfig,
    reader: impl Read,
    form: Form,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
) -> Result<Outcome, CheckError> {
    judge_with(config, reader, form, Options::default(), out, progress)
}

/// [`judge_all`] with options.
///
/// # Errors
/// As [`run`].
pub fn judge_with(
    config: &GatewayConfig,
    reader: impl Read,
    form: Form,
    options: Options,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
) -> Result<Outcome, CheckError> {
    let explain = matches!(form, Form::Explain(_));
    let options = Options { explain, ..options };
    let mut room = Room::for_config(config).map_err(CheckError::Gateway)?;
    let mut judge = Judge::new(config, &mut room, options).map_err(CheckError::Gateway)?;
    let mut summary = Summary::new(config);
    let mut speed = Speed::default();
    let mut capture = Capture::new(reader);
    let mut unread = None;
    loop {
        if capture.octets_read() > 0 {
            progress(capture.octets_read());
        }
        match capture.next() {
            Some(Ok(packet)) => {
                let mut written = Ok(());
                judge.packet(&packet, &mut speed, &mut |row| {
                    summary.add(&row);
                    if written.is_ok() {
                        written = match form {
                            Form::Text => Ok(()),
                            Form::Trace => report::write_trace(&row, out),
                            Form::Json => row.write_json(out),
                            Form::Explain(only) if only.is_some_and(|n| n != row.packet) => Ok(()),
                            Form::Explain(_) => explain::write(&row, config, out),
                        };
                    }
                });
                written?;
            }
            Some(Err(error)) => unread = Some(error),
            None => break,
        }
    }
    summary.close(&mut judge);
    if !matches!(form, Form::Json | Form::Explain(Some(_))) {
        write_summary(&summary, out)?;
    }
    summary.speed = speed;
    Ok(Outcome { summary, unread })
}
