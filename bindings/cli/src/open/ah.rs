//! The ICV of AH: the packet with its mutable fields zeroed (RFC 4302 section 3.3.3.1).

use espial::headers::protocol;
use espial::verdict::{Malformed, Reason};

use super::Opened;
use super::mac::Mac;

/// The AH up to the ICV.
const AH_HEADER: usize = 12;
const V4_HEADER: usize = 20;
const V6_HEADER: usize = 40;

/// Checks the AH at `offset` in `packet` and returns what follows it.
pub(super) fn open(
    mac: &Mac,
    packet: &[u8],
    offset: usize,
    sequence_high: Option<u32>,
) -> Result<Opened, Reason> {
    let packet = whole(packet).ok_or(Malformed::Ah)?;
    let (before, rest) = packet.split_at_checked(offset).ok_or(Malformed::Ah)?;
    let [next_header, length, ..] = *rest else { return Err(Malformed::Ah.into()) };
    let ah_octets = (usize::from(length) + 2) * 4;
    let (ah, payload) = rest.split_at_checked(ah_octets).ok_or(Malformed::Ah)?;
    let (fixed, tail) = ah.split_at_checked(AH_HEADER).ok_or(Malformed::Ah)?;
    // What is left of the ICV field is padding, which is covered as it stands (3.3.3.2.1).
    let (icv, padding) = tail.split_at_checked(mac.icv_octets()).ok_or(Malformed::Ah)?;

    let mut before = before.to_vec();
    zero_mutable(&mut before).ok_or(Malformed::Ah)?;
    let zeros = vec![0; icv.len()];
    mac.verify(&[&before, fixed, &zeros, padding, payload], sequence_high, icv)?;
    Ok(Opened { next_header, payload: payload.to_vec() })
}

/// The IP packet without link padding, `None` if its length is not there.
fn whole(packet: &[u8]) -> Option<&[u8]> {
    let field = |at: usize| {
        let octets = packet.get(at..at + 2)?;
        Some(usize::from(u16::from_be_bytes(octets.try_into().ok()?)))
    };
    match packet.first()? >> 4 {
        4 => packet.get(..field(2)?),
        6 => packet.get(..V6_HEADER + field(4)?),
        _ => None,
    }
}

/// Zeroes what may change on the way in the headers before the AH, and puts what changes
/// predictably into the form that the receiver sees. `None` if the headers do not end where the
/// AH starts.
fn zero_mutable(headers: &mut [u8]) -> Option<()> {
    match headers.first()? >> 4 {
        4 => zero_mutable_v4(headers),
        _ => zero_mutable_v6(headers),
    }
}

/// RFC 4302 section 3.3.3.1.1. A source route needs nothing: at its end the destination is the
/// final one, and the option itself is zeroed.
fn zero_mutable_v4(headers: &mut [u8]) -> Option<()> {
    if usize::from(headers.first()? & 15) * 4 != headers.len() {
        return None;
    }
    let (fixed, mut options) = headers.split_at_mut_checked(V4_HEADER)?;
    // TOS; flags, fragment offset, TTL; checksum.
    for at in [1, 6, 7, 8, 10, 11] {
        fixed[at] = 0;
    }
    loop {
        match *options {
            [] | [END_OF_OPTIONS, ..] => return Some(()),
            [NO_OPERATION, ..] => options = &mut options[1..],
            [kind, octets, ..] if octets >= 2 => {
                let (option, rest) = options.split_at_mut_checked(octets.into())?;
                if !IMMUTABLE_OPTIONS.contains(&kind) {
                    option.fill(0);
                }
                options = rest;
            }
            _ => return None,
        }
    }
}

const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
/// RFC 4302 appendix A1: security, extended security, commercial security, router alert,
/// sender directed multi-destination delivery. All others are zeroed whole.
const IMMUTABLE_OPTIONS: [u8; 5] = [130, 133, 134, 148, 149];

/// RFC 4302 section 3.3.3.1.2.
fn zero_mutable_v6(headers: &mut [u8]) -> Option<()> {
    let (fixed, mut extensions) = headers.split_at_mut_checked(V6_HEADER)?;
    // Traffic class and flow label, hop limit.
    fixed[..4].copy_from_slice(&[0x60, 0, 0, 0]);
    fixed[7] = 0;
    let mut kind = fixed[6];
    while let [next, length, ..] = *extensions {
        let octets = match kind {
            protocol::FRAGMENT => 8,
            _ => (usize::from(length) + 1) * 8,
        };
        let (header, rest) = extensions.split_at_mut_checked(octets)?;
        match kind {
            protocol::HOP_BY_HOP | protocol::DESTINATION_OPTIONS => zero_options_v6(header)?,
            protocol::ROUTING => finish_route(fixed, header)?,
            protocol::FRAGMENT => {}
            _ => return None,
        }
        kind = next;
        extensions = rest;
    }
    (extensions.is_empty() && kind == protocol::AH).then_some(())
}

/// Zeroes the data of options that may change on the way: bit 0x20 of the type (RFC 8200
/// section 4.2). Type and length stay.
fn zero_options_v6(header: &mut [u8]) -> Option<()> {
    const PAD1: u8 = 0;
    const MAY_CHANGE: u8 = 0x20;
    let (_, mut options) = header.split_at_mut_checked(2)?;
    loop {
        match *options {
            [] => return Some(()),
            [PAD1, ..] => options = &mut options[1..],
            [kind, octets, ..] => {
                let (option, rest) = options.split_at_mut_checked(2 + usize::from(octets))?;
                if kind & MAY_CHANGE != 0 {
                    option[2..].fill(0);
                }
                options = rest;
            }
            _ => return None,
        }
    }
}

/// Brings destination and routing header into the form they have at the final destination
/// (RFC 4302 section 3.3.3.1.2.2): types 0 and 2 with segments left are walked to their end, each
/// hop having exchanged the destination with the next address. Other types stay as they are.
fn finish_route(fixed: &mut [u8], header: &mut [u8]) -> Option<()> {
    let (meta, addresses) = header.split_at_mut_checked(8)?;
    let left = usize::from(meta[3]);
    if left == 0 || !matches!(meta[2], 0 | 2) {
        return Some(());
    }
    let (addresses, []) = addresses.as_chunks_mut::<16>() else { return None };
    let first = addresses.len().checked_sub(left)?;
    meta[3] = 0;
    for address in &mut addresses[first..] {
        fixed[24..V6_HEADER].swap_with_slice(address);
    }
    Some(())
}
