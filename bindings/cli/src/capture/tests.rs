use super::*;

/// Writes numbers in one byte order.
#[derive(Clone, Copy)]
struct Order {
    big_endian: bool,
}

impl Order {
    const BOTH: [Self; 2] = [Self { big_endian: false }, Self { big_endian: true }];

    fn u32(self, value: u32) -> [u8; 4] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn u16(self, value: u16) -> [u8; 2] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn words(self, values: &[u32]) -> Vec<u8> {
        values.iter().flat_map(|value| self.u32(*value)).collect()
    }

    fn pcap(self, magic: u32, link: u32) -> Vec<u8> {
        let version = [self.u16(2), self.u16(4)].concat();
        [&self.u32(magic)[..], &version, &self.words(&[0, 0, 65535, link])].concat()
    }

    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
        let octets = self.u32((12 + body.len() + padding.len()) as u32);
        [&self.u32(kind)[..], &octets, body, &padding, &octets].concat()
    }

    fn section(self) -> Vec<u8> {
        let version = [self.u16(1), self.u16(0)].concat();
        let body = [&self.u32(0x1a2b3c4d)[..], &version, &[0xff; 8]].concat();
        self.block(0x0a0d0d0a, &body)
    }

    fn interface(self, link: u16, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = [&self.u16(link)[..], &[0; 2], &self.u32(0)].concat();
        for (code, value) in options {
            body.extend([self.u16(*code), self.u16(value.len() as u16)].concat());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        self.block(1, &[body, vec![0; 4]].concat())
    }

    fn enhanced(self, interface: u32, ticks: u64, octets: &[u8], original: u32) -> Vec<u8> {
        let time = [(ticks >> 32) as u32, ticks as u32];
        let head = [interface, time[0], time[1], octets.len() as u32, original];
        self.block(6, &[&self.words(&head), octets].concat())
    }
}

fn read(file: &[u8]) -> (Vec<CapturePacket>, Option<String>) {
    let mut packets = Vec::new();
    for packet in Capture::new(file) {
        match packet {
            Ok(packet) => packets.push(packet),
            Err(error) => return (packets, Some(error.to_string())),
        }
    }
    (packets, None)
}

fn packet(number: u64, time: i64, ip: &[u8], truncated: bool) -> CapturePacket {
    CapturePacket { number, time, ip: Some(ip.to_vec()), truncated, interface: None }
}

#[test]
fn pcap_of_both_orders_and_resolutions() {
    for order in Order::BOTH {
        for (magic, fraction) in [(0xa1b2c3d4, 669_687), (0xa1b23c4d, 669_687_999)] {
            let file = [
                order.pcap(magic, 101),
                order.words(&[1_795_231_123, fraction, 2, 2]),
                vec![0x45, 1],
                order.words(&[4_000_000_000, 0, 1, 9]),
                vec![0x60],
            ];
            let expected = vec![
                packet(1, 1_795_231_123_669_687, &[0x45, 1], false),
                packet(2, 4_000_000_000_000_000, &[0x60], true),
            ];
            assert_eq!(read(&file.concat()), (expected, None));
        }
    }
}

/// The variant of an old Linux libpcap has eight octets more in front of each packet.
#[test]
fn pcap_of_the_modified_kind() {
    let order = Order::BOTH[0];
    let record = [order.words(&[5, 6, 1, 1, 0, 0]), vec![0x45]].concat();
    let file = [order.pcap(0xa1b2cd34, 101), record.clone(), record].concat();
    let expected = vec![packet(1, 5_000_006, &[0x45], false), packet(2, 5_000_006, &[0x45], false)];
    assert_eq!(read(&file), (expected, None));
}

#[test]
fn pcapng_of_both_orders_with_all_kinds_of_packets() {
    for order in Order::BOTH {
        let offset = 100_u64;
        let offset = if order.big_endian { offset.to_be_bytes() } else { offset.to_le_bytes() };
        let old = [[order.u16(2), order.u16(7)].concat(), order.words(&[0, 3, 1, 1]), vec![0x47]];
        let file = [
            order.section(),
            order.interface(101, &[]),
            order.interface(1, &[(9, &[9])]),
            order.interface(101, &[(9, &[0x80 | 20]), (14, &offset)]),
            // Names, statistics and what nobody knows.
            order.block(4, &[0; 4]),
            order.block(5, &[0; 12]),
            order.block(0x0bad, &[1, 2, 3]),
            order.enhanced(0, 1_795_231_123_669_687, &[0x45], 1),
            order.enhanced(
                1,
                1_795_231_123_669_687_999,
                &[&[0; 12], &[8, 0, 0x46][..]].concat(),
                60,
            ),
            order.enhanced(2, (7 << 20) | (1 << 19), &[0x60, 0], 2),
            order.block(3, &[&order.u32(3)[..], &[0x45, 9, 9]].concat()),
            order.block(2, &old.concat()),
            // A new section forgets the interfaces of the one before.
            Order { big_endian: !order.big_endian }.section(),
            Order { big_endian: !order.big_endian }.interface(228, &[]),
            Order { big_endian: !order.big_endian }.enhanced(0, 5, &[0x45], 1),
            order.section(),
            order.enhanced(0, 5, &[0x45], 1),
        ];
        let expected = vec![
            packet(1, 1_795_231_123_669_687, &[0x45], false),
            packet(2, 1_795_231_123_669_687, &[0x46], true),
            packet(3, 107_500_000, &[0x60, 0], false),
            packet(4, 107_500_000, &[0x45, 9, 9], false),
            // Interface 2 counts by 2^-20 seconds.
            packet(5, 100_000_002, &[0x47], false),
            packet(6, 5, &[0x45], false),
        ];
        let fault = "packet 7: on interface 0, which the file does not describe".to_owned();
        assert_eq!(read(&file.concat()), (expected, Some(fault)));
    }
}

#[test]
fn times_at_their_limits() {
    let interface = |resolution, offset_seconds| Interface {
        name: None,
        link: 1,
        snap_octets: 0,
        resolution,
        offset_seconds,
    };
    assert_eq!(interface(0, 0).time(0, 7), 7_000_000);
    assert_eq!(interface(0, 0).time(u32::MAX, u32::MAX), i64::MAX);
    assert_eq!(interface(6, i64::MIN).time(0, 7), i64::MIN + 7);
    assert_eq!(interface(0x80, 0).time(0, 7), 7_000_000);
    assert_eq!(interface(0xff, 0).time(u32::MAX, u32::MAX), 0);
    for resolution in 0..=255 {
        assert!(interface(resolution, 0).time(u32::MAX, u32::MAX) >= 0);
    }
}

/// Frames that are not IP count, so that numbers are those of other tools.
#[test]
fn frames_that_are_not_ip_are_numbered() {
    let order = Order::BOTH[0];
    let arp = [&[0; 12][..], &[8, 6, 0, 1]].concat();
    let ip = [&[0; 12][..], &[8, 0, 0x45]].concat();
    let file = [
        order.pcap(0xa1b2c3d4, 1),
        order.words(&[1, 0, 16, 16]),
        arp,
        order.words(&[2, 0, 15, 15]),
        ip,
    ];
    let (packets, error) = read(&file.concat());
    assert_eq!(
        packets[0],
        CapturePacket { number: 1, time: 1_000_000, ip: None, truncated: false, interface: None }
    );
    assert_eq!(packets[1], packet(2, 2_000_000, &[0x45], false));
    assert_eq!(error, None);
}

#[test]
fn unknown_link_types_are_told_at_the_end() {
    let order = Order::BOTH[0];
    let file = [
        order.section(),
        order.interface(101, &[]),
        order.interface(105, &[]),
        order.enhanced(0, 1, &[0x45], 1),
        order.enhanced(1, 2, &[0x45], 1),
        order.enhanced(1, 3, &[0x45], 1),
        order.enhanced(0, 4, &[0x45], 1),
    ];
    let (packets, error) = read(&file.concat());
    let ips: Vec<_> = packets.iter().map(|packet| packet.ip.is_some()).collect();
    assert_eq!(ips, [true, false, false, true]);
    let expected = "packet 2: of link type 105, which is not known, the first of 2 such packets";
    assert_eq!(error.as_deref(), Some(expected));
}

/// Every prefix of a file yields its whole packets, and an error unless it ends between records.
#[test]
fn truncated_files() {
    let order = Order::BOTH[0];
    let pcap: [Vec<u8>; 4] = [
        order.pcap(0xa1b2c3d4, 101),
        [order.words(&[1, 0, 3, 3]), vec![0x45; 3]].concat(),
        [order.words(&[2, 0, 0, 3]), vec![]].concat(),
        [order.words(&[2, 0, 5, 5]), vec![0x60; 5]].concat(),
    ];
    let pcapng: [Vec<u8>; 4] = [
        [order.section(), order.interface(101, &[])].concat(),
        order.enhanced(0, 1, &[0x45; 3], 3),
        order.enhanced(0, 1, &[0x45; 3], 3),
        order.enhanced(0, 1, &[0x60; 4], 4),
    ];
    for (parts, further_ends) in [(pcap, vec![]), (pcapng, vec![order.section().len()])] {
        let mut ends = [0; 4];
        let mut file = Vec::new();
        for (end, part) in ends.iter_mut().zip(&parts) {
            file.extend(part);
            *end = file.len();
        }
        for octets in 0..=file.len() {
            let (packets, error) = read(&file[..octets]);
            let whole = ends[1..].iter().filter(|end| **end <= octets).count();
            assert_eq!(packets.len(), whole, "{octets}");
            match octets {
                0..4 => assert!(error.unwrap().starts_with("neither")),
                _ if ends.contains(&octets) || further_ends.contains(&octets) => {
                    assert_eq!(error, None, "{octets}");
                }
                _ => {
                    let expected = "the file ends within its record";
                    assert!(error.unwrap().ends_with(expected), "{octets}");
                }
            }
        }
    }
}

#[test]
fn lengths_that_cannot_be() {
    let order = Order::BOTH[0];
    let head = [order.section(), order.interface(101, &[])].concat();
    for length in [0, 4, 8, 11, 13, 0x7fff_fffc, u32::MAX, MAX_RECORD_OCTETS + 4] {
        let block = [order.words(&[6, length]), vec![0; 64]].concat();
        let (packets, error) = read(&[head.clone(), block].concat());
        let expected =
            format!("packet 1: its record states a length of {length} octets, which cannot be");
        assert_eq!((packets.len(), error), (0, Some(expected)));
    }
    for length in [MAX_PACKET_OCTETS + 1, 0x7fff_ffff, u32::MAX] {
        let file = [order.pcap(0xa1b2c3d4, 101), order.words(&[1, 1, length, length])].concat();
        assert!(read(&file).1.unwrap().contains("a length of"), "{length}");
    }
    // A packet that is longer than its block, and blocks whose two lengths differ.
    let mut block = order.enhanced(0, 1, &[0x45; 4], 4);
    block[20] = 200;
    let contradiction = Some("packet 1: its record contradicts itself".to_owned());
    assert_eq!(read(&[head.clone(), block].concat()).1, contradiction);
    for kind in [6, 2, 3] {
        let block = order.block(kind, &[]);
        assert_eq!(read(&[head.clone(), block].concat()).1, contradiction);
    }
    let mut block = order.enhanced(0, 1, &[0x45; 4], 4);
    *block.last_mut().unwrap() = 1;
    assert_eq!(read(&[head.clone(), block].concat()).1, contradiction);
    let interfaces = order.interface(101, &[]).repeat(MAX_INTERFACES);
    let error = read(&[head, interfaces].concat()).1.unwrap();
    assert_eq!(error, "packet 1: more than 4096 interfaces");
}

/// A reader that gives one octet at a time, and fails where it is told to.
struct Slow<'a>(&'a [u8], usize);

impl Read for Slow<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let Self(file, left) = self;
        if *left == 0 {
            return Err(io::Error::other("the disk is gone"));
        }
        *left -= 1;
        let octets = file.len().min(room.len()).min(1);
        room[..octets].copy_from_slice(&file[..octets]);
        *file = &file[octets..];
        Ok(octets)
    }
}

#[test]
fn slow_and_failing_readers() {
    let order = Order::BOTH[0];
    let record = [order.words(&[1, 0, 3, 3]), vec![0x45; 3]].concat();
    let file = [order.pcap(0xa1b2c3d4, 101), record.repeat(3)].concat();
    let mut capture = Capture::new(Slow(&file, usize::MAX));
    assert_eq!(capture.by_ref().filter(|packet| packet.is_ok()).count(), 3);
    assert_eq!(capture.octets_read(), file.len() as u64);
    let mut capture = Capture::new(Slow(&file, 50));
    assert_eq!(capture.next().unwrap().unwrap_err().to_string(), "the disk is gone");
    assert!(capture.next().is_none());
}

/// Files larger than the read-ahead, and a packet that is.
#[test]
fn long_files() {
    let order = Order::BOTH[0];
    let record =
        |octets: u32| [order.words(&[1, 0, octets, octets]), vec![0x45; octets as usize]].concat();
    let file = [order.pcap(0xa1b2c3d4, 101), record(1400).repeat(500), record(200_000), record(1)];
    let file = file.concat();
    let mut capture = Capture::new(&file[..]);
    let octets: usize = capture.by_ref().map(|packet| packet.unwrap().ip.unwrap().len()).sum();
    assert_eq!(octets, 1400 * 500 + 200_001);
    assert_eq!(capture.octets_read(), file.len() as u64);
    assert!(capture.source.buffer.capacity() < 2 << 20);
}

/// Octets changed at random: packets come out or an error does, and the file ends.
#[test]
fn damaged_files() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for order in Order::BOTH {
        let pcapng = [
            order.section(),
            order.interface(1, &[(9, &[9]), (14, &[1; 8])]),
            order.interface(113, &[]),
            order.block(5, &[1; 24]),
            order.enhanced(0, 1 << 40, &[8; 60], 60),
            order.block(3, &[&order.u32(3)[..], &[0x45, 9, 9]].concat()),
            order.block(2, &[0; 32]),
            order.enhanced(1, 1 << 40, &[8; 60], 60),
        ];
        let record = [order.words(&[1, 0, 20, 20]), vec![8; 20]].concat();
        let pcap = [order.pcap(0xa1b23c4d, 1), record.repeat(8)];
        for file in [pcapng.concat(), pcap.concat()] {
            for _ in 0..3000 {
                let mut damaged = file.clone();
                for _ in 0..1 + random() % 4 {
                    let at = random() as usize % damaged.len();
                    damaged[at] = if random() % 2 == 0 { random() as u8 } else { 0xff };
                }
                let mut capture = Capture::new(&damaged[..]);
                assert!(capture.by_ref().count() <= file.len() / 12);
                assert!(capture.source.buffer.capacity() <= 1 << 20);
            }
        }
    }
}

#[test]
fn pcapng_names_the_interface_of_a_packet() {
    for order in Order::BOTH {
        let file = [
            order.section(),
            order.interface(101, &[(2, b"wan1")]),
            order.interface(101, &[(9, &[6])]),
            order.interface(101, &[(3, b"not the name"), (2, b"a long name of one")]),
            order.interface(101, &[(2, b"")]),
            order.enhanced(0, 1, &[0x45], 1),
            order.enhanced(1, 1, &[0x45], 1),
            order.enhanced(2, 1, &[0x45], 1),
            order.enhanced(3, 1, &[0x45], 1),
        ];
        let (packets, error) = read(&file.concat());
        assert_eq!(error, None);
        let names: Vec<_> = packets.iter().map(|packet| packet.interface.as_deref()).collect();
        assert_eq!(names, [Some("wan1"), None, Some("a long name of one"), None]);
    }
}
