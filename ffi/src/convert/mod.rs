//! Numbers of the border to types of the core, checked, and back.
//!
//! Every code that the core gives out and every number of the header are held together here, at
//! compile time where the core is `const`, else by the tests at the foot.

mod gateway;
mod health;
mod local_in;
mod packet;
mod passthrough;
mod policy;
mod reply_path;
mod sessions;
mod snapshot;

use core::net::IpAddr;

use espial::headers::{Encap, Endpoints, Ipsec};
use espial::sad::SaId;
use espial::sad::replay::MAX_WINDOW;
use espial::spd::{Action, Direction};
use espial::verdict::{Mode, Reason};

pub use gateway::*;
pub use health::*;
pub use local_in::*;
pub use packet::*;
pub use passthrough::*;
pub use policy::*;
pub use reply_path::*;
pub use sessions::*;
pub use snapshot::*;

use crate::status::Status;
use crate::types::*;

const VALUE: Status = Status(ESPIAL_EVALUE);

// The version macros are the package's version.
const _: () = {
    const fn is(text: &str, number: u32) -> bool {
        let mut value = 0;
        let mut rest = text.as_bytes();
        while let [digit, after @ ..] = rest {
            value = value * 10 + (*digit - b'0') as u32;
            rest = after;
        }
        value == number
    }
    assert!(is(env!("CARGO_PKG_VERSION_MAJOR"), ESPIAL_VERSION_MAJOR));
    assert!(is(env!("CARGO_PKG_VERSION_MINOR"), ESPIAL_VERSION_MINOR));
    assert!(is(env!("CARGO_PKG_VERSION_PATCH"), ESPIAL_VERSION_PATCH));
    assert!(ESPIAL_MODES == Mode::ALL.len());
    assert!(ESPIAL_WINDOW_MAX == MAX_WINDOW);
    assert!(ESPIAL_SA_INDEX == (1 << SaId::INDEX_BITS) - 1);
    assert!(ESPIAL_ACTION_DISCARD == Action::Discard as u8);
    assert!(ESPIAL_ACTION_BYPASS == Action::Bypass as u8);
    assert!(ESPIAL_ACTION_PROTECT == Action::Protect as u8);
    assert!(ESPIAL_DIRECTION_INBOUND == Direction::Inbound as u32);
    assert!(ESPIAL_DIRECTION_OUTBOUND == Direction::Outbound as u32);
};

fn ipsec(code: u8) -> Result<Ipsec, Status> {
    match code {
        ESPIAL_IPSEC_ESP => Ok(Ipsec::Esp),
        ESPIAL_IPSEC_AH => Ok(Ipsec::Ah),
        _ => Err(VALUE),
    }
}

/// ESPIAL_IPSEC_* as an argument of a call.
pub fn protocol(code: u32) -> Result<Ipsec, Status> {
    const ESP: u32 = ESPIAL_IPSEC_ESP as u32;
    const AH: u32 = ESPIAL_IPSEC_AH as u32;
    match code {
        ESP => Ok(Ipsec::Esp),
        AH => Ok(Ipsec::Ah),
        _ => Err(VALUE),
    }
}

fn ipsec_code(ipsec: Ipsec) -> u8 {
    match ipsec {
        Ipsec::Esp => ESPIAL_IPSEC_ESP,
        Ipsec::Ah => ESPIAL_IPSEC_AH,
    }
}

fn encap(code: u8) -> Result<Encap, Status> {
    match code {
        ESPIAL_ENCAP_NONE => Ok(Encap::None),
        ESPIAL_ENCAP_UDP => Ok(Encap::Udp),
        ESPIAL_ENCAP_TCP => Ok(Encap::Tcp),
        _ => Err(VALUE),
    }
}

fn encap_code(encap: Encap) -> u8 {
    match encap {
        Encap::None => ESPIAL_ENCAP_NONE,
        Encap::Udp => ESPIAL_ENCAP_UDP,
        Encap::Tcp => ESPIAL_ENCAP_TCP,
    }
}

fn v4(octets: &[u8; 16]) -> u32 {
    let [a, b, c, d, ..] = *octets;
    u32::from_be_bytes([a, b, c, d])
}

fn v4_octets(addr: u32) -> [u8; 16] {
    let [a, b, c, d] = addr.to_be_bytes();
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

fn v6(octets: &[u8; 16]) -> u128 {
    u128::from_be_bytes(*octets)
}

fn addr(family: u8, octets: &[u8; 16]) -> Result<IpAddr, Status> {
    match family {
        ESPIAL_FAMILY_V4 => Ok(IpAddr::V4(v4(octets).into())),
        ESPIAL_FAMILY_V6 => Ok(IpAddr::V6((*octets).into())),
        _ => Err(VALUE),
    }
}

fn endpoints_of(family: u8, src: &[u8; 16], dst: &[u8; 16]) -> Result<Endpoints, Status> {
    match family {
        ESPIAL_FAMILY_V4 => Ok(Endpoints::V4 { src: v4(src), dst: v4(dst) }),
        ESPIAL_FAMILY_V6 => Ok(Endpoints::V6 { src: v6(src), dst: v6(dst) }),
        _ => Err(VALUE),
    }
}

pub fn endpoints(both: &espial_endpoints) -> Result<Endpoints, Status> {
    endpoints_of(both.family, &both.src, &both.dst)
}

/// Family, source and destination.
fn endpoints_codes(endpoints: &Endpoints) -> (u8, [u8; 16], [u8; 16]) {
    match *endpoints {
        Endpoints::V4 { src, dst } => (ESPIAL_FAMILY_V4, v4_octets(src), v4_octets(dst)),
        Endpoints::V6 { src, dst } => (ESPIAL_FAMILY_V6, src.to_be_bytes(), dst.to_be_bytes()),
    }
}

/// The reason with this code.
pub fn reason(code: u32) -> Result<Reason, Status> {
    u8::try_from(code).ok().and_then(Reason::from_code).ok_or(VALUE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_fits_the_array_of_counts() {
        for reason in Reason::all() {
            assert!(usize::from(reason.code()) < ESPIAL_REASONS, "{reason:?}");
            assert_eq!(super::reason(reason.code().into()), Ok(reason));
        }
        for code in [0, 13, 31, 47, 255, 256, 257, u32::MAX] {
            assert_eq!(super::reason(code), Err(VALUE), "{code}");
        }
    }

    #[test]
    fn modes_are_the_cores() {
        for code in 0..ESPIAL_MODES as u32 {
            assert_eq!(mode(code).unwrap() as u32, code);
        }
        for code in [4, 256, u32::MAX] {
            assert_eq!(mode(code), Err(VALUE));
        }
        for bits in [16, 0x100, 0x101, u32::MAX] {
            assert_eq!(modes(bits), Err(VALUE));
        }
        assert_eq!(modes(15).unwrap().bits(), 15);
    }

    #[test]
    fn zeroed_inputs_are_refused() {
        let zero = espial_sa_key {
            spi: 0,
            ipsec: 0,
            scope: 0,
            family: 0,
            reserved: 0,
            dst: [0; 16],
            src: [0; 16],
        };
        assert_eq!(sa_key(&zero), Err(VALUE));
        assert_eq!(outer(&NO_OUTER), Err(VALUE));
        assert_eq!(inner(&NO_INNER), Err(VALUE));
    }

    /// A burst is counted once all codes stand, and must not fail after that.
    #[test]
    fn headers_are_taken_if_their_codes_stand() {
        let mut taken = 0;
        for code in 0..=255 {
            for other in 0..5 {
                for headers in [
                    espial_inner { family: code, next_layer: other, fragment: other, ..NO_INNER },
                    espial_inner { family: 4, next_layer: code, fragment: other, ..NO_INNER },
                    espial_inner { family: 6, next_layer: other, fragment: code, ..NO_INNER },
                ] {
                    assert_eq!(inner(&headers).map(|_| ()), test_inner(&headers));
                    taken += usize::from(inner(&headers).is_ok());
                }
            }
        }
        assert_eq!(taken, 2 * 3 + 4 * 3 + 4 * 3);
    }

    /// As above, of outer headers.
    #[test]
    fn outer_headers_are_taken_if_their_codes_stand() {
        let mut taken = 0;
        for code in 0..=255 {
            for (ipsec, encap) in [(50, 0), (51, 1), (50, 2), (51, 3), (0, 0)] {
                for headers in [
                    espial_outer { family: code, ipsec, encap, ..NO_OUTER },
                    espial_outer { family: 4, ipsec: code, encap, ..NO_OUTER },
                    espial_outer { family: 6, ipsec, encap: code, ..NO_OUTER },
                ] {
                    assert_eq!(outer(&headers).map(|_| ()), test_outer(&headers));
                    taken += usize::from(outer(&headers).is_ok());
                }
            }
        }
        assert_eq!(taken, 2 * 3 + 2 * 4 + 3 * 4);
    }

    #[test]
    fn keys_go_there_and_back() {
        let plain = espial_sa_key {
            spi: 7,
            ipsec: ESPIAL_IPSEC_AH,
            scope: ESPIAL_SCOPE_DST_SRC,
            family: ESPIAL_FAMILY_V6,
            reserved: 0,
            dst: core::array::from_fn(|i| i as u8),
            src: core::array::from_fn(|i| 0x80 | i as u8),
        };
        let v4 = espial_sa_key {
            scope: ESPIAL_SCOPE_DST,
            family: ESPIAL_FAMILY_V4,
            dst: v4_octets(0xcb00_7102),
            src: [0; 16],
            ..plain
        };
        let spi = espial_sa_key { scope: ESPIAL_SCOPE_SPI, family: 0, dst: [0; 16], ..v4 };
        for key in [plain, v4, spi] {
            let back = sa_key_codes(&sa_key(&key).unwrap());
            assert_eq!(
                (back.spi, back.ipsec, back.scope, back.family),
                (7, 51, key.scope, key.family)
            );
            assert_eq!((back.dst, back.src), (key.dst, key.src));
        }
    }
}
