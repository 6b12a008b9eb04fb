//! What `espial` does without arguments: a capture of real traffic, judged.

use std::io::{self, Write};

use crate::check::{CheckError, Form, judge_all};
use crate::config::GatewayConfig;

/// Two Linux gateways, strongSwan and the kernel's ESP; the sender puts the packets of `net-a` on
/// the SA of `net-b`.
const CAPTURE: &[u8] = include_bytes!("../samples/kernel-03-wrong-sa-native.pcap");
const CONFIG: &str = include_str!("../samples/kernel-03-wrong-sa-native.gateway.toml");
const NAME: &str = "kernel-03-wrong-sa-native";

/// Judges the capture that the program carries with it.
///
/// # Errors
/// Those of `out`. The capture and its configuration are part of the program.
pub fn run(out: &mut dyn Write) -> io::Result<()> {
    let broken = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let config = GatewayConfig::parse(NAME, CONFIG).map_err(|error| broken(error.to_string()))?;
    writeln!(
        out,
        "espial judges {NAME}.pcap: real ESP between two Linux gateways, decrypted with\n\
         the keys of its configuration. The sender uses one SA for the packets of several selectors.\n"
    )?;
    let outcome =
        judge_all(&config, CAPTURE, Form::Text, out, &mut |_| {}).map_err(|error| match error {
            CheckError::Output(error) | CheckError::Capture(error) => error,
            CheckError::Gateway(text) => broken(text),
        })?;
    if let Some(rate) = outcome.summary.speed.checks_per_second(&config) {
        writeln!(
            out,
            "\nThis machine does {:.1} million such checks a second on one core: headers, SPI \
             lookup,\ninner headers and selectors of packets one at a time, decryption left out.",
            rate / 1e6
        )?;
    }
    writeln!(out, "\nJudge your own: espial check --config GATEWAY.toml CAPTURE.pcap (see --help)")
}
