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
