//! Gateway configurations: no text makes the reader panic, and every fault names its line.
#![no_main]
#![allow(dead_code, unused_imports, reason = "the command line asks for more of it")]

#[path = "../../bindings/cli/src"]
mod cli {
    pub mod config;
}

use cli::config::GatewayConfig;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match GatewayConfig::parse("g.toml", text) {
        Ok(config) => assert!(config.sas().all(|(_, _, sa)| sa.spi.0 != 0)),
        Err(error) => {
            assert!(!error.faults.is_empty());
            let lines = text.split('\n').count();
            for fault in &error.faults {
                assert!((1..=lines).contains(&fault.line), "{fault:?} of {lines} lines");
                assert!(!fault.text.is_empty());
            }
            assert!(error.to_string().starts_with("g.toml:"));
        }
    }
});
