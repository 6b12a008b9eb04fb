//! Which worker looks at a packet: tunnels spread over cores, each with a table of its own.
//!
//! With `lookupspi` on a flow is one direction of one SA, so its SPI alone chooses the worker. The two
//! directions of a tunnel have SPIs of their own and are, as a rule, on two workers; neither needs the
//! other's flows. That is what the setting is for, and why each direction needs a rule (E2).
//!
//! With it off both directions and all SPIs of a host pair are one flow (T30). Spread by SPI its packets
//! would not meet; so the pair chooses, whichever host sends. The same holds under the ALG, whose
//! `any:any` flows must be known where an SPI comes for the first time: one tunnel, one worker. The
//! lists of seed 004 look like that: worker 1 only with `lookupspi` and without the ALG.

use core::hash::Hasher;
use core::num::NonZeroU32;

use siphasher::sip::SipHasher13;

use super::{LookupSpi, PassConfig, PassPacket, Traffic, any_any};
use crate::gate::flow::shard;
use crate::headers::{Endpoints, Spi};

/// Chooses workers, by a secret: peers choose SPIs and must not choose workers.
///
/// # Examples
/// ```
/// use espial::gate::passthrough::Spread;
/// use espial::headers::Spi;
///
/// let spread = Spread::new([17, 4]);
/// let workers = 4.try_into().unwrap();
/// let worker = spread.worker_of(Spi(0x0aca_846d), workers);
/// assert!(worker < 4);
/// assert_eq!(spread.worker_of(Spi(0x0aca_846d), workers), worker);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    seed: [u64; 2],
}

impl core::fmt::Debug for Spread {
    /// The seed is secret.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Spread").finish_non_exhaustive()
    }
}

impl Spread {
    /// The same seed gives the same workers, on every machine.
    pub const fn new(seed: [u64; 2]) -> Self {
        Self { seed }
    }

    /// The worker of an SPI, below `workers`.
    ///
    /// # Bound
    /// One SipHash-1-3 of four octets; no memory is read.
    #[inline]
    pub fn worker_of(&self, spi: Spi, workers: NonZeroU32) -> u32 {
        let [k0, k1] = self.seed;
        let mut hasher = SipHasher13::new_with_keys(k0, k1);
        hasher.write(&spi.0.to_le_bytes());
        // The hash as a fraction of 2^64, times the workers: even, without a division.
        let part = u128::from(hasher.finish()).wrapping_mul(u128::from(workers.get()));
        (part >> 64) as u32
    }

    /// The worker of two hosts, whichever of them sends, below `workers`.
    ///
    /// # Bound
    /// One SipHash-1-3 of 16 or 40 octets; no memory is read.
    #[inline]
    pub fn worker_of_pair(&self, endpoints: Endpoints, workers: NonZeroU32) -> u32 {
        // Neither protocol nor ports: all that the two hosts send.
        shard(self.seed, &any_any(endpoints, 0), workers)
    }

    /// The worker that knows all that decides about a packet: that of its SPI for ESP and AH with
    /// `lookupspi` and without the ALG, else that of its hosts. Workers that look at what this says
    /// answer as one alone would, as long as they have room.
    ///
    /// # Bound
    /// As [`Spread::worker_of_pair`].
    #[inline]
    pub fn worker(&self, packet: &PassPacket, config: &PassConfig, workers: NonZeroU32) -> u32 {
        let by_spi = config.lookupspi == LookupSpi::On && !config.server.has_alg();
        match packet.traffic {
            Traffic::Esp(spi) | Traffic::Ah(spi) if by_spi => self.worker_of(spi, workers),
            _ => self.worker_of_pair(packet.endpoints, workers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDS: [[u64; 2]; 3] = [[0, 0], [17, 4], [u64::MAX, 1 << 40]];

    fn some(workers: u32) -> NonZeroU32 {
        NonZeroU32::new(workers).unwrap()
    }

    #[test]
    fn e5_workers_get_even_shares_of_any_pattern_of_spis() {
        let patterns: [fn(u32) -> u32; 4] =
            [|n| n + 256, |n| n << 16, |n| n.reverse_bits(), |n| n.wrapping_mul(0x9e37_79b9)];
        for seed in SEEDS {
            let spread = Spread::new(seed);
            for (pattern, workers) in patterns.into_iter().zip([2_u32, 3, 8, 64]) {
                let mut counts = vec![0_u32; workers as usize];
                (0..40_960).for_each(|n| {
                    counts[spread.worker_of(Spi(pattern(n)), some(workers)) as usize] += 1;
                });
                let fair = 40_960 / workers;
                // Six standard deviations of a fair share.
                let off = 6.0 * f64::from(fair).sqrt();
                for count in counts {
                    let far = (f64::from(count) - f64::from(fair)).abs();
                    assert!(far < off, "{count} of {fair}, {workers} workers");
                }
            }
        }
    }

    #[test]
    fn e5_the_worker_of_an_spi_is_the_same_everywhere() {
        let spread = Spread::new([1, 2]);
        let of = |spi| spread.worker_of(Spi(spi), some(16));
        let workers = [0x0aca_846d, 0x002c_ba09, 256, u32::MAX].map(of);
        assert_eq!(workers, STABLE);
        assert_eq!(spread.worker_of(Spi(7), some(1)), 0);
        assert!((0..64).any(|spi| Spread::new([1, 3]).worker_of(Spi(spi), some(16)) != of(spi)));
    }

    /// What `Spread::new([1, 2])` said when this was written; a host may have stored it.
    const STABLE: [u32; 4] = [13, 9, 7, 13];

    #[test]
    fn t30_with_lookupspi_off_both_directions_and_all_spis_of_a_pair_share_a_worker() {
        let spread = Spread::new([5, 6]);
        let with = |lookupspi| PassConfig { lookupspi, ..PassConfig::default() };
        let mut two = 0;
        for n in 0..512_u32 {
            let v4 = Endpoints::V4 { src: 0x0101_0101, dst: 0x0202_0000 + n };
            let v6 = Endpoints::V6 { src: 1 << 100, dst: u128::from(n) << 64 };
            for endpoints in [v4, v6] {
                let out = PassPacket { endpoints, traffic: Traffic::Esp(Spi(n * 7919 + 300)) };
                let traffic = Traffic::Esp(Spi(!n));
                let back = PassPacket { endpoints: endpoints.reversed(), traffic };
                let off = |packet| spread.worker(packet, &with(LookupSpi::Off), some(8));
                assert_eq!(off(&out), off(&back));
                let on = |packet| spread.worker(packet, &with(LookupSpi::On), some(8));
                two += u32::from(on(&out) != on(&back));
            }
        }
        // 7 in 8 of 1024 tunnels have their directions on two workers.
        assert!((800..992).contains(&two), "{two}");
    }
}
