//! How many checks a second this machine does, on the packets of a capture.

use std::collections::HashSet;
use std::hint::black_box;
use std::time::{Duration, Instant};

use espial::inbound::{Arrival, Ingress};
use espial::{Opened, Worker};

use super::judge::{Judge, Options, Room};
use crate::config::GatewayConfig;

/// Packets that are kept to be judged again.
const SAMPLES: usize = 1024;

/// Packets of a capture that could be opened, and what was in them.
#[derive(Clone, Debug, Default)]
pub struct Speed {
    samples: Vec<Sample>,
}

#[derive(Clone, Debug)]
struct Sample {
    packet: Vec<u8>,
    next_header: u8,
    payload: Vec<u8>,
}

impl Speed {
    /// Keeps a packet that was opened, while there is room.
    pub(super) fn sample(&mut self, packet: &[u8], next_header: u8, payload: &[u8]) {
        if self.samples.len() < SAMPLES {
            let (packet, payload) = (packet.to_vec(), payload.to_vec());
            self.samples.push(Sample { packet, next_header, payload });
        }
    }

    /// Checks a second on one core: parse, SPI lookup, inner parse and selectors; decryption and
    /// anti-replay are left out. Takes about a third of a second; `None` if no packet was opened.
    pub fn checks_per_second(&self, config: &GatewayConfig) -> Option<f64> {
        let config = timeless(config);
        let mut room = Room::for_config(&config).ok()?;
        let mut judge = Judge::new(&config, &mut room, Options::default()).ok()?;
        let worker = judge.worker();
        let pass = |worker: &mut Worker<'_>| {
            let ingress = Ingress::default();
            let judged = self.samples.iter().filter(|sample| {
                let Arrival::Sa(sa, outer) = worker.arrive(&sample.packet, ingress) else {
                    return false;
                };
                let Sample { next_header, payload, .. } = sample;
                let opened = Opened { sa, outer: &outer, next_header: *next_header, payload };
                black_box(worker.check(&opened, ingress)).arrived.is_some()
            });
            judged.count()
        };
        if pass(worker) == 0 {
            return None;
        }
        let (start, mut checks) = (Instant::now(), 0_usize);
        while start.elapsed() < Duration::from_millis(300) {
            checks += pass(worker);
        }
        Some(checks as f64 / start.elapsed().as_secs_f64())
    }
}

/// The configuration with the first SA of each key, there throughout and without anti-replay: the
/// same packets come again and again.
fn timeless(config: &GatewayConfig) -> GatewayConfig {
    let mut config = config.clone();
    let mut keys = HashSet::new();
    for child in config.tunnels.iter_mut().flat_map(|tunnel| &mut tunnel.children) {
        child.sas.retain(|sa| keys.insert((sa.ipsec, sa.spi, sa.dst, sa.src)));
        for sa in &mut child.sas {
            (sa.installed, sa.deleted) = (None, None);
            (sa.replay_window, sa.esn, sa.sequence_high) = (0, false, 0);
        }
    }
    config
}
