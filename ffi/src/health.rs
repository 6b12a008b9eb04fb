//! How it stands with the IKE of a tunnel, said for machines and for operators.
#![allow(unsafe_code, reason = "exported names")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract is ABI.md's; the comments here are C's"
)]

use core::ffi::c_char;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use espial::gate::health::{Part, tunnel_health};

use crate::convert;
use crate::types::*;

/// Joins what the tables say of a tunnel: whether its IKE is admitted, held by a session, or starved though ESP goes on.
///
/// text is a sentence for the operator, of room octets at most with a NUL at its end, which is cut off where there is
/// no room; *len is how many octets it has without the NUL, room for them or not. (NULL, 0) asks for the number.
///
/// Thread: any.
/// Errors: ESPIAL_ENULL, ESPIAL_EALIGN, ESPIAL_ESIZE, ESPIAL_ERANGE; ESPIAL_EVALUE: no such family or port, or reserved
/// is not 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn espial_tunnel_health(
    facts: *const espial_tunnel_facts,
    health: *mut espial_health,
    text: *mut c_char,
    room: usize,
    len: *mut usize,
) -> i32 {
    call!(|c| {
        let (facts, thresholds) = convert::tunnel_facts(&c.read_versioned(facts)?)?;
        let (health, len) = (c.out(health)?, c.out(len)?);
        let text = c.slice_mut(text.cast::<u8>(), room)?;
        let found = tunnel_health(&facts, &thresholds);
        health.set(convert::health_codes(&found));
        let mut line = Line { room: text, len: 0 };
        for part in found.parts() {
            line.part(&part);
        }
        len.set(line.end());
        Ok(())
    })
}

/// Text that is cut off where its room ends. `core::fmt` would bring the code of panics along.
struct Line<'t> {
    room: &'t mut [u8],
    /// Octets so far, room for them or not.
    len: usize,
}

impl Line<'_> {
    fn octet(&mut self, octet: u8) {
        if let Some(slot) = self.room.get_mut(self.len) {
            *slot = octet;
        }
        self.len = self.len.saturating_add(1);
    }

    fn text(&mut self, text: &str) {
        text.bytes().for_each(|octet| self.octet(octet));
    }

    fn number(&mut self, number: u64, base: u64) {
        let digit = (number % base.max(2)) as u8;
        let rest = number / base.max(2);
        // As deep as a number has digits.
        if rest != 0 {
            self.number(rest, base);
        }
        self.octet(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit });
    }

    fn part(&mut self, part: &Part) {
        match part {
            Part::Text(text) => self.text(text),
            Part::Number(number) => self.number(*number, 10),
            Part::Addr(IpAddr::V4(addr)) => self.v4(*addr),
            Part::Addr(IpAddr::V6(addr)) => self.v6(*addr),
        }
    }

    fn v4(&mut self, addr: Ipv4Addr) {
        for (nth, octet) in addr.octets().into_iter().enumerate() {
            if nth != 0 {
                self.octet(b'.');
            }
            self.number(octet.into(), 10);
        }
    }

    /// RFC 5952: the first of the longest runs of two zeros or more is `::`.
    fn v6(&mut self, addr: Ipv6Addr) {
        if let Some(mapped) = addr.to_ipv4_mapped() {
            self.text("::ffff:");
            return self.v4(mapped);
        }
        let (mut longest, mut start, mut run) = ((0, 0), 0, 0_usize);
        for (nth, segment) in addr.segments().into_iter().enumerate() {
            run = if segment == 0 { run.saturating_add(1) } else { 0 };
            if run == 1 {
                start = nth;
            }
            if run > longest.1.max(1) {
                longest = (start, run);
            }
        }
        let (from, count) = longest;
        let end = from.saturating_add(count);
        for (nth, segment) in addr.segments().into_iter().enumerate() {
            if count != 0 && (from..end).contains(&nth) {
                if nth == from {
                    self.text("::");
                }
                continue;
            }
            if nth != 0 && (count == 0 || nth != end) {
                self.octet(b':');
            }
            self.number(segment.into(), 16);
        }
    }

    /// Puts the NUL at the end and gives the octets before it.
    fn end(self) -> usize {
        let last = self.len.min(self.room.len().saturating_sub(1));
        if let Some(slot) = self.room.get_mut(last) {
            *slot = 0;
        }
        self.len
    }
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};
    use std::vec;
    use std::vec::Vec;

    use espial::gate::health::{IkePort, IkeWay, Thresholds, TunnelFacts};

    use super::*;

    fn line(parts: impl Iterator<Item = Part>) -> String {
        let mut room = vec![0xee; 400];
        let mut line = Line { room: &mut room, len: 0 };
        parts.for_each(|part| line.part(&part));
        let len = line.end();
        assert_eq!(room[len], 0);
        String::from_utf8(room[..len].to_vec()).unwrap()
    }

    #[test]
    fn addresses_read_as_the_standard_library_writes_them() {
        let mut addrs: Vec<IpAddr> =
            vec!["0.0.0.0".parse().unwrap(), "255.10.9.100".parse().unwrap()];
        // Every pattern of zeros, with small and large values between.
        for pattern in 0..256_u32 {
            for value in [1_u16, 0xffff, 0x0a0b] {
                let segments: [u16; 8] =
                    core::array::from_fn(|nth| if pattern >> nth & 1 == 1 { value } else { 0 });
                addrs.push(IpAddr::V6(segments.into()));
            }
        }
        for addr in addrs {
            assert_eq!(line([Part::Addr(addr)].into_iter()), addr.to_string());
        }
        for number in [0, 9, 10, 12_900, u64::MAX] {
            assert_eq!(line([Part::Number(number)].into_iter()), number.to_string());
        }
    }

    #[test]
    fn sentences_are_the_cores_and_end_where_their_room_does() {
        let thresholds = Thresholds { esp_live_ms: 10_000, session_ends_ms: 30_000 };
        for live_sas in [0, 1] {
            for left in [None, Some(12_900), Some(100_000)] {
                for admitted in [false, true] {
                    for in_use in [None, Some(IkePort::Udp4500), Some(IkePort::Tcp)] {
                        let facts = TunnelFacts {
                            peer: "2001:db8::7".parse().unwrap(),
                            live_sas,
                            esp_idle_ms: left,
                            udp_500: IkeWay::default(),
                            udp_4500: IkeWay { session_left_ms: left, admitted },
                            tcp: IkeWay::default(),
                            in_use,
                        };
                        let found = tunnel_health(&facts, &thresholds);
                        let whole = found.to_string();
                        assert_eq!(line(found.parts()), whole);
                        for room in 0..=whole.len() + 1 {
                            let mut octets = vec![0xee; room];
                            let mut line = Line { room: &mut octets, len: 0 };
                            found.parts().for_each(|part| line.part(&part));
                            assert_eq!(line.end(), whole.len());
                            if let Some((nul, text)) = octets.split_last() {
                                assert_eq!((*nul, text), (0, &whole.as_bytes()[..room - 1]));
                            }
                        }
                    }
                }
            }
        }
    }
}
