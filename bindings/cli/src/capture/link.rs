//! Link layers: where in a frame the IP header starts.

/// Frames of this link type cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct UnknownLink;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad, and the value that was in use before the latter.
const VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];

/// The octets from the IP header on; `None` if the frame is not IP or ends before it.
///
/// Numbers are those of the registry of link types (LINKTYPE_*), and the two values that BSDs
/// use for raw IP.
pub(super) fn ip(link: u16, frame: &[u8]) -> Result<Option<&[u8]>, UnknownLink> {
    match link {
        // NULL, LOOP.
        0 | 108 => Ok(loopback(frame)),
        // ETHERNET.
        1 => Ok(after(frame, 12, 14)),
        // RAW, IPV4, IPV6.
        12 | 14 | 101 | 228 | 229 => Ok(Some(frame)),
        // LINUX_SLL.
        113 => Ok(after(frame, 14, 16)),
        // LINUX_SLL2.
        276 => Ok(after(frame, 0, 20)),
        _ => Err(UnknownLink),
    }
}

/// The IP packet at `rest`, if the EtherType at `at` says so, behind any number of VLAN tags.
fn after(frame: &[u8], at: usize, rest: usize) -> Option<&[u8]> {
    let mut kind = u16_at(frame, at)?;
    let mut rest = frame.get(rest..)?;
    while VLAN.contains(&kind) {
        kind = u16_at(rest, 2)?;
        rest = rest.get(4..)?;
    }
    matches!(kind, IPV4 | IPV6).then_some(rest)
}

/// An address family in the byte order of the machine that captured, or in network order. Its
/// value for IPv6 differs between systems.
fn loopback(frame: &[u8]) -> Option<&[u8]> {
    let (family, rest) = frame.split_first_chunk::<4>()?;
    let known = |family: u32| matches!(family, 2 | 10 | 23 | 24 | 28 | 30);
    (known(u32::from_be_bytes(*family)) || known(u32::from_le_bytes(*family))).then_some(rest)
}

fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*octets.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ethernet_with_and_without_tags() {
        let macs = [0; 12];
        let frame = |tail: &[u8]| [&macs[..], tail].concat();
        for (tail, expected) in [
            (&[8, 0, 0x45, 1][..], Some(&[0x45, 1][..])),
            (&[0x86, 0xdd, 0x60], Some(&[0x60])),
            (&[0x81, 0, 0, 7, 8, 0, 0x45], Some(&[0x45])),
            (&[0x88, 0xa8, 0, 7, 0x81, 0, 0, 8, 0x86, 0xdd, 0x60], Some(&[0x60])),
            (&[8, 0], Some(&[])),
            (&[8, 6, 0, 1], None),
            (&[0x81, 0, 0, 7, 8], None),
            (&[8], None),
        ] {
            assert_eq!(ip(1, &frame(tail)), Ok(expected), "{tail:x?}");
        }
    }

    #[test]
    fn other_links() {
        let mut cooked = [0; 17];
        cooked[14] = 8;
        cooked[16] = 0x45;
        assert_eq!(ip(113, &cooked), Ok(Some(&[0x45][..])));
        assert_eq!(ip(113, &cooked[..15]), Ok(None));
        let mut cooked = [0; 21];
        cooked[..2].copy_from_slice(&[0x86, 0xdd]);
        cooked[20] = 0x60;
        assert_eq!(ip(276, &cooked), Ok(Some(&[0x60][..])));
        for raw in [12, 14, 101, 228, 229] {
            assert_eq!(ip(raw, &[0x45]), Ok(Some(&[0x45][..])));
        }
        for family in [[2, 0, 0, 0], [0, 0, 0, 2], [30, 0, 0, 0], [0, 0, 0, 24]] {
            assert_eq!(ip(0, &[&family[..], &[0x45]].concat()), Ok(Some(&[0x45][..])));
            assert_eq!(ip(108, &[&family[..], &[0x45]].concat()), Ok(Some(&[0x45][..])));
        }
        assert_eq!(ip(0, &[7, 0, 0, 0, 0x45]), Ok(None));
        assert_eq!(ip(105, &[0; 60]), Err(UnknownLink));
    }
}
