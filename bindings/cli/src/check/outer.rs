//! What is said of a packet before any table is asked, as far as its octets let it.

use std::net::IpAddr;

use espial::headers::{Outer, protocol};
use espial::verdict::{Malformed, Reason};
use espial::wire;

use super::row::Class;

/// The class of a packet that starts at its IP header, as far as that can be told.
pub(super) fn class_of(ip: &[u8]) -> Class {
    match wire::classify(ip) {
        Ok(Outer::Ipsec(outer)) if outer.is_esp() => Class::Esp,
        Ok(Outer::Ipsec(_)) => Class::Ah,
        Ok(Outer::Ike) => Class::Ike,
        Ok(Outer::NatKeepalive) => Class::NatKeepalive,
        Ok(Outer::Other) => Class::Other,
        Err(Reason::OuterFragment | Reason::Malformed(Malformed::Esp | Malformed::NatT)) => {
            if protocol_of(ip) == Some(protocol::AH) {
                Class::Ah
            } else {
                Class::Esp
            }
        }
        Err(Reason::Malformed(Malformed::Ah)) => Class::Ah,
        Err(_) => match protocol_of(ip) {
            Some(protocol::ESP) => Class::Esp,
            Some(protocol::AH) => Class::Ah,
            _ => Class::Other,
        },
    }
}

/// The protocol that the fixed IP header names.
fn protocol_of(ip: &[u8]) -> Option<u8> {
    let at = if ip.first()? >> 4 == 4 { 9 } else { 6 };
    ip.get(at).copied()
}

/// The source address of a packet whose fixed IP header arrived.
pub(super) fn source(ip: &[u8]) -> Option<IpAddr> {
    match ip.first()? >> 4 {
        4 => Some(IpAddr::from(*ip.get(12..)?.first_chunk::<4>()?)),
        6 => Some(IpAddr::from(*ip.get(8..)?.first_chunk::<16>()?)),
        _ => None,
    }
}

/// The destination address of a packet whose fixed IP header arrived.
pub(super) fn destination(ip: &[u8]) -> Option<IpAddr> {
    match ip.first()? >> 4 {
        4 => Some(IpAddr::from(*ip.get(16..)?.first_chunk::<4>()?)),
        6 => Some(IpAddr::from(*ip.get(24..)?.first_chunk::<16>()?)),
        _ => None,
    }
}
