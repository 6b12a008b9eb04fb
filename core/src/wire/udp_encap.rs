//! ESP and IKE in UDP (RFC 3948, RFC 7296 section 2.23).

use crate::headers::{Encap, Endpoints, Fragment, Outer};
use crate::verdict::{Malformed, Reason};

use super::ip::Ip;
use super::ipsec::{self, Carrier};

/// The port of IKE without encapsulation. ESP is never on it.
pub const IKE_PORT: u16 = 500;
/// The port of IKE behind the non-ESP marker, and of UDP-encapsulated ESP.
pub const NAT_T_PORT: u16 = 4500;

/// What a UDP payload is.
///
/// For hosts that have taken IP and UDP apart already. `payload` is what the UDP length covers behind the
/// UDP header, `offset` the octets of the packet in front of it, which is handed through.
///
/// The destination port decides, so what a NAT did to the source port does not matter. To port 4500:
/// four zero octets are the non-ESP marker and IKE follows, one octet 0xFF is a NAT keepalive, anything
/// else of 8 octets or more is ESP, even with an SPI that IANA reserves. From or to port 500 otherwise:
/// IKE, zero initiator SPI or not. All other ports: not for this check.
///
/// # Errors
/// [`Malformed::NatT`], inside the reason: to port 4500 nothing at all, one octet other than 0xFF, two
/// or three octets, or four to seven that do not begin with the marker.
#[inline]
pub fn classify_udp(
    endpoints: Endpoints,
    sport: u16,
    dport: u16,
    payload: &[u8],
    offset: u32,
) -> Result<Outer, Reason> {
    if dport != NAT_T_PORT {
        return Ok(other_port(sport, dport));
    }
    // RFC 3948 section 2.3 and 2.2; what is left is the ESP of section 2.1.
    match payload {
        [0xff] => Ok(Outer::NatKeepalive),
        [0, 0, 0, 0, ..] => Ok(Outer::Ike),
        _ if payload.len() < 8 => Err(Reason::Malformed(Malformed::NatT)),
        _ => {
            let carrier = Carrier { encap: Encap::Udp, sport, dport };
            Ok(Outer::Ipsec(ipsec::esp_in(carrier, endpoints, payload, offset)?))
        }
    }
}

/// What a UDP datagram is that does not go to port 4500.
#[inline]
fn other_port(sport: u16, dport: u16) -> Outer {
    if sport == IKE_PORT || dport == IKE_PORT { Outer::Ike } else { Outer::Other }
}

/// What the UDP datagram in an IP packet is: a whole one, or the first fragment of one.
///
/// # Errors
/// - [`Malformed::Udp`]: fewer than the 8 octets of the UDP header, whatever the ports; or, from or to
///   500 or to 4500 and in a whole packet, a length below 8 or past the end of the IP payload.
/// - [`Reason::OuterFragment`]: a first fragment to port 4500 that does not begin with the marker.
/// - those of [`classify_udp`].
#[inline]
pub(super) fn classify_datagram(ip: &Ip<'_>) -> Result<Outer, Reason> {
    let Some((&[s0, s1, d0, d1, l0, l1, _, _], arrived)) = ip.body.split_first_chunk::<8>() else {
        return Err(Reason::Malformed(Malformed::Udp));
    };
    let sport = u16::from_be_bytes([s0, s1]);
    let dport = u16::from_be_bytes([d0, d1]);
    if dport != NAT_T_PORT && other_port(sport, dport) == Outer::Other {
        return Ok(Outer::Other);
    }
    if ip.fragment == Fragment::First {
        // The UDP length is that of the whole datagram, so it cannot be compared here.
        return match (dport, arrived) {
            (NAT_T_PORT, [0, 0, 0, 0, ..]) => Ok(Outer::Ike),
            (NAT_T_PORT, _) => Err(Reason::OuterFragment),
            _ => Ok(Outer::Ike),
        };
    }
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let payload = length.checked_sub(8).and_then(|octets| arrived.get(..octets));
    let Some(payload) = payload else {
        return Err(Reason::Malformed(Malformed::Udp));
    };
    let offset = super::octets(ip.offset.saturating_add(8));
    classify_udp(ip.endpoints, sport, dport, payload, offset)
}

#[cfg(test)]
mod tests {
    use crate::headers::{Outer, Spi, protocol as p};
    use crate::verdict::{Malformed, Reason};
    use crate::wire::samples::{
        SEQUENCE, SPI, ends4, ends6, esp, fragment, join, malformed, nat_t, udp, v4, v4_full, v6,
    };
    use crate::wire::{classify, classify_udp};

    #[test]
    fn rfc3948_2_1_esp_by_destination_port() {
        let packet = esp(SPI, SEQUENCE, &[9; 20]);
        for sport in [4500, 1, 500, 40_001, 65_535] {
            let found = classify(&v4(p::UDP, &udp(sport, 4500, &packet)));
            assert_eq!(found, Ok(Outer::Ipsec(nat_t(ends4(), sport, 28, 28))));
            let found = classify(&v6(p::UDP, &udp(sport, 4500, &packet)));
            assert_eq!(found, Ok(Outer::Ipsec(nat_t(ends6(), sport, 48, 28))));
        }
        assert_eq!(classify(&v4(p::UDP, &udp(4500, 40_001, &packet))), Ok(Outer::Other));
        assert_eq!(classify(&v4(p::UDP, &udp(4501, 4499, &packet))), Ok(Outer::Other));
    }

    #[test]
    fn rfc3948_2_1_checksum_decides_nothing() {
        let packet = v4(p::UDP, &udp(4500, 4500, &esp(SPI, SEQUENCE, &[9; 20])));
        for checksum in [[0, 0], [0xff, 0xff], [0x12, 0x34]] {
            let mut packet = packet.clone();
            packet[26..28].copy_from_slice(&checksum);
            assert_eq!(classify(&packet), Ok(Outer::Ipsec(nat_t(ends4(), 4500, 28, 28))));
        }
    }

    #[test]
    fn rfc3948_2_2_four_zero_octets_are_the_marker() {
        for rest in [0, 1, 3, 4, 28] {
            let payload = [&[0; 4][..], &vec![7; rest]].concat();
            assert_eq!(classify_udp(ends4(), 4500, 4500, &payload, 28), Ok(Outer::Ike), "{rest}");
        }
        // Each octet of the marker counts.
        for at in 0..4 {
            let mut payload = [0; 8];
            payload[at] = 1;
            let Ok(Outer::Ipsec(found)) = classify_udp(ends4(), 4500, 4500, &payload, 28) else {
                panic!()
            };
            assert_eq!(found.spi, Spi(1 << (24 - 8 * at)));
        }
    }

    #[test]
    fn rfc3948_2_3_one_octet_ff_is_keepalive() {
        for octet in 0..=255 {
            let expected =
                if octet == 0xff { Ok(Outer::NatKeepalive) } else { malformed(Malformed::NatT) };
            assert_eq!(classify(&v4(p::UDP, &udp(4500, 4500, &[octet]))), expected);
            assert_eq!(classify(&v6(p::UDP, &udp(4500, 4500, &[octet]))), expected);
        }
        assert_eq!(classify_udp(ends4(), 4500, 4500, &[0xff; 2], 28), malformed(Malformed::NatT));
    }

    #[test]
    fn nat_t_payload_lengths() {
        for length in 0..12 {
            let payload = vec![0xc4; length];
            let found = classify_udp(ends4(), 4500, 4500, &payload, 28);
            if length < 8 {
                assert_eq!(found, malformed(Malformed::NatT), "{length}");
            } else {
                assert!(matches!(found, Ok(Outer::Ipsec(_))), "{length}");
            }
            // Fewer than four zero octets are not the marker.
            let found = classify_udp(ends4(), 4500, 4500, &vec![0; length], 28);
            let expected = if length < 4 { malformed(Malformed::NatT) } else { Ok(Outer::Ike) };
            assert_eq!(found, expected, "{length}");
        }
    }

    #[test]
    fn t10_esp_is_never_on_port_500() {
        let packet = esp(SPI, SEQUENCE, &[9; 20]);
        for (sport, dport) in [(500, 500), (40_000, 500), (500, 40_000), (4500, 500)] {
            for payload in [&packet[..], &[0; 28], &[0xff], &[]] {
                assert_eq!(classify(&v4(p::UDP, &udp(sport, dport, payload))), Ok(Outer::Ike));
                assert_eq!(classify_udp(ends6(), sport, dport, payload, 48), Ok(Outer::Ike));
            }
        }
    }

    #[test]
    fn udp_length_edges() {
        let payload = esp(SPI, SEQUENCE, &[9; 20]);
        for (length, good) in
            [(0, false), (7, false), (8, true), (36, true), (37, false), (65_535, false)]
        {
            let mut packet = v4(p::UDP, &udp(4500, 4500, &payload));
            packet[24..26].copy_from_slice(&u16::to_be_bytes(length));
            match classify(&packet) {
                Err(reason) if length == 8 => {
                    assert_eq!(reason, Reason::Malformed(Malformed::NatT), "the payload is empty");
                }
                Err(reason) => {
                    assert!(!good);
                    assert_eq!(reason, Reason::Malformed(Malformed::Udp), "{length}");
                }
                Ok(_) => assert!(good, "{length}"),
            }
            // To other ports it is nobody's business here.
            packet[20..24].copy_from_slice(&[0x80, 0, 0x80, 0]);
            assert_eq!(classify(&packet), Ok(Outer::Other));
            // IKE must be a datagram.
            packet[20..24].copy_from_slice(&[0x80, 0, 1, 0xf4]);
            let expected =
                if (8..=36).contains(&length) { Ok(Outer::Ike) } else { malformed(Malformed::Udp) };
            assert_eq!(classify(&packet), expected, "{length}");
        }
    }

    /// What the UDP length leaves over is not part of the ESP packet.
    #[test]
    fn udp_length_ends_the_esp_packet() {
        let mut packet = v4(p::UDP, &udp(4500, 4500, &esp(SPI, SEQUENCE, &[9; 20])));
        packet[24..26].copy_from_slice(&u16::to_be_bytes(30));
        assert_eq!(classify(&packet), Ok(Outer::Ipsec(nat_t(ends4(), 4500, 28, 22))));
    }

    #[test]
    fn udp_fragments() {
        let esp_packet = udp(4500, 4500, &esp(SPI, SEQUENCE, &[9; 24]));
        let ike = udp(4500, 4500, &[&[0; 4][..], &[7; 28]].concat());
        let ike_500 = udp(500, 500, &[7; 32]);
        let other = udp(53, 53, &[7; 32]);
        let too_short_to_tell = udp(4500, 4500, &[]);
        for (datagram, expected) in [
            (&esp_packet, Err(Reason::OuterFragment)),
            (&ike, Ok(Outer::Ike)),
            (&ike_500, Ok(Outer::Ike)),
            (&other, Ok(Outer::Other)),
            (&too_short_to_tell, Err(Reason::OuterFragment)),
        ] {
            // The UDP length is that of the whole datagram.
            let mut datagram = datagram.clone();
            datagram[4..6].copy_from_slice(&u16::to_be_bytes(4000));
            assert_eq!(classify(&v4_full(p::UDP, 0x2000, &[], &datagram)), expected);
            let first = v6(p::FRAGMENT, &join(&[&fragment(p::UDP, 1), &datagram]));
            assert_eq!(classify(&first), expected);
            // Later ones hold no ports.
            assert_eq!(classify(&v4_full(p::UDP, 0x2001, &[], &datagram)), Ok(Outer::Other));
            assert_eq!(classify(&v4_full(p::UDP, 0x0001, &[], &datagram)), Ok(Outer::Other));
            let later = v6(p::FRAGMENT, &join(&[&fragment(p::UDP, 8), &datagram]));
            assert_eq!(classify(&later), Ok(Outer::Other));
        }
    }
}
