use super::*;

const A: &str = "203.0.113.10:40000";
const B: &str = "198.51.100.20:4500";

fn flow(src: &str, dst: &str) -> Flow {
    Flow { src: src.parse().unwrap(), dst: dst.parse().unwrap() }
}

fn segment(flow: Flow, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut tcp = [flow.src.port().to_be_bytes(), flow.dst.port().to_be_bytes()].concat();
    tcp.extend(sequence.to_be_bytes());
    // Acknowledgement, a header of 24 octets with an option, window, checksum, urgent pointer.
    tcp.extend([0, 0, 0, 0, 0x60, flags, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]);
    tcp.extend(payload);
    let octets = tcp.len() as u16;
    let header = match (flow.src.ip(), flow.dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let total = (20 + octets).to_be_bytes();
            let fixed = [0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, 6, 0, 0];
            [&fixed[..], &src.octets(), &dst.octets()].concat()
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            // A hop-by-hop header in between.
            let total = (8 + octets).to_be_bytes();
            let fixed = [0x60, 0, 0, 0, total[0], total[1], 0, 64];
            let hop = [6, 0, 1, 4, 0, 0, 0, 0];
            [&fixed[..], &src.octets(), &dst.octets(), &hop].concat()
        }
        _ => panic!("two families"),
    };
    [header, tcp].concat()
}

/// One direction, whose octet 0 has sequence number `first`.
struct Sender {
    streams: Reassembler,
    number: u64,
    first: u32,
}

impl Sender {
    fn new(first: u32) -> Self {
        let mut sender = Self { streams: Reassembler::new(), number: 0, first };
        assert_eq!(sender.send(SYN, -1, b""), None);
        sender
    }

    fn deliver(&mut self, flags: u8, at: i32, payload: &[u8]) -> Option<Delivery> {
        self.number += 1;
        let sequence = self.first.wrapping_add_signed(at);
        self.streams.push(self.number, &segment(flow(A, B), sequence, flags, payload))
    }

    fn send(&mut self, flags: u8, at: i32, payload: &[u8]) -> Option<Content> {
        self.deliver(flags, at, payload).map(|delivery| delivery.content)
    }
}

fn octets(text: &[u8]) -> Option<Content> {
    Some(Content::Octets(text.to_vec()))
}

#[test]
fn segments_in_ip() {
    for (src, dst) in [(A, B), ("[2001:db8::1]:40000", "[2001:db8::2]:4500")] {
        let packet = segment(flow(src, dst), 7, ACK, b"octets");
        let parsed = Segment::parse(&packet).unwrap();
        assert_eq!((parsed.flow, parsed.sequence), (flow(src, dst), 7));
        assert_eq!(parsed.payload, b"octets");
        let padded = [&packet[..], &[0; 6]].concat();
        assert_eq!(Segment::parse(&padded).unwrap().payload, b"octets", "link padding");
        let cut = &packet[..packet.len() - 2];
        assert_eq!(Segment::parse(cut).unwrap().payload, b"octe", "not all captured");
        for octets in 0..packet.len() - 6 {
            assert_eq!(Segment::parse(&packet[..octets]), None, "{octets}");
        }
    }
    let packet = segment(flow(A, B), 7, ACK, b"octets");
    for (at, value) in [(6, 0x20), (7, 1), (9, 17), (0, 0x55)] {
        let mut other = packet.clone();
        other[at] = value;
        assert_eq!(Segment::parse(&other), None, "fragment, UDP, version");
    }
    let mut uncut = packet.clone();
    uncut[2..4].fill(0);
    assert_eq!(Segment::parse(&uncut).unwrap().payload, b"octets", "a length of 0");
}

#[test]
fn in_order() {
    let mut sender = Sender::new(100);
    let delivery = sender.deliver(ACK, 0, b"IKE").unwrap();
    assert_eq!(delivery.side, Side::Originator);
    assert_eq!((delivery.number, delivery.flow), (2, flow(A, B)));
    assert_eq!(sender.send(ACK, 3, b"TCP"), octets(b"TCP"));
    assert_eq!(sender.send(ACK, 6, b""), None);
}

#[test]
fn out_of_order_repeated_and_overlapping() {
    // Everything wraps past 2^32 too.
    for first in [100, u32::MAX - 2, u32::MAX, 0] {
        let mut sender = Sender::new(first);
        assert_eq!(sender.send(ACK, 6, b"gh"), None);
        assert_eq!(sender.send(ACK, 4, b"ef"), None);
        assert_eq!(sender.send(ACK, 4, b"efg"), None, "longer than before");
        assert_eq!(sender.send(ACK, 10, b"k"), None);
        let delivery = sender.deliver(ACK, 0, b"abcdE").unwrap();
        assert_eq!(delivery.content, Content::Octets(b"abcdEfgh".to_vec()));
        assert_eq!(delivery.number, sender.number, "the segment that closed the gap");
        assert_eq!(sender.send(ACK, 0, b"abcd"), None, "again");
        assert_eq!(sender.send(ACK, 7, b"x"), None, "keepalive");
        assert_eq!(sender.send(ACK, 6, b"ghij"), octets(b"ijk"));
        assert_eq!(sender.send(ACK, 10, b"kl"), octets(b"l"));
        assert_eq!(sender.streams.kept_octets, 0);
    }
}

/// Every order of four segments, each twice, gives the same stream.
#[test]
fn all_orders_agree() {
    let pieces: [(i32, &[u8]); 4] = [(0, b"ab"), (2, b"cde"), (4, b"efg"), (7, b"h")];
    for order in 0..4_usize.pow(8) {
        let indices: Vec<usize> = (0..8).map(|place| order >> (2 * place) & 3).collect();
        if (0..4).any(|piece| !indices.contains(&piece)) {
            continue;
        }
        let mut stream = Stream::new(StreamId(1), Side::Originator, 1000);
        let mut got = Vec::new();
        for index in indices {
            let (at, octets) = pieces[index];
            if let Step::Octets(octets) = stream.take(1000_u32.wrapping_add_signed(at), octets) {
                got.extend(octets);
            }
        }
        assert_eq!(got, b"abcdefgh");
        assert_eq!((stream.kept_octets, stream.delivered), (0, 8));
    }
}

#[test]
fn streams_start_with_syn_or_prefix() {
    let mut streams = Reassembler::new();
    let (forth, back) = (flow(A, B), flow(A, B).reversed());
    assert_eq!(streams.push(1, &segment(forth, 5, ACK, b"\x00\x10")), None);
    let delivery = streams.push(2, &segment(forth, 5, ACK, b"IKETCP\x00")).unwrap();
    assert_eq!(delivery.side, Side::Originator);
    assert_eq!(delivery.content, Content::Octets(b"IKETCP\x00".to_vec()));
    // The other direction has no prefix: only its SYN and ACK starts it.
    assert_eq!(streams.push(3, &segment(back, 5, ACK, b"\x00\x10")), None);
    assert_eq!(streams.push(4, &segment(back, 4, SYN | ACK, b"")), None);
    let answer = streams.push(5, &segment(back, 5, ACK, b"\x00\x10")).unwrap();
    assert_eq!(answer.side, Side::Responder);
    assert_ne!(answer.stream, delivery.stream);
    // Octets with the SYN itself.
    let other = flow("10.0.0.1:1", B);
    let early = streams.push(6, &segment(other, 9, SYN, b"IKETCP")).unwrap();
    assert_eq!(early.content, Content::Octets(b"IKETCP".to_vec()));
    assert_eq!(streams.push(7, &segment(other, 9, SYN, b"IKETCP")), None, "sent again");
    assert!(streams.push(8, &segment(other, 16, ACK, b"x")).is_some());
}

#[test]
fn streams_end() {
    let mut sender = Sender::new(100);
    let first = sender.deliver(ACK, 0, b"ab").unwrap().stream;
    assert_eq!(sender.send(ACK | FIN, 4, b"e"), None, "a FIN behind a gap");
    assert_eq!(sender.send(ACK, 2, b"cd"), octets(b"cde"));
    assert_eq!(sender.send(ACK, 5, b"f"), None, "after the end");
    assert!(sender.streams.streams.is_empty());

    // The same ports again are another stream; so they are with another SYN alone.
    sender.first = 5000;
    assert_eq!(sender.send(SYN, -1, b""), None);
    let second = sender.deliver(ACK, 0, b"ab").unwrap().stream;
    sender.first = 9000;
    assert_eq!(sender.send(SYN, -1, b""), None);
    let third = sender.deliver(ACK, 0, b"ab").unwrap().stream;
    assert!(first < second && second < third);

    assert_eq!(sender.send(RST, 7, b""), None, "not the next octet: not believed");
    assert_eq!(sender.send(ACK, 2, b"c"), octets(b"c"));
    assert_eq!(sender.send(RST, 3, b""), None);
    assert_eq!(sender.send(ACK, 3, b"d"), None);

    sender.first = 100;
    assert_eq!(sender.send(SYN, -1, b""), None);
    sender.streams.forget(flow(A, B));
    assert_eq!(sender.send(ACK, 0, b"ab"), None);
}

#[test]
fn gaps_are_bounded() {
    // Too far ahead.
    let mut sender = Sender::new(100);
    assert_eq!(sender.send(ACK, MAX_STREAM_OCTETS as i32 - 1, b"x"), None);
    assert_eq!(sender.send(ACK, MAX_STREAM_OCTETS as i32, b"x"), Some(Content::Lost));
    assert_eq!(sender.send(ACK, 0, b"x"), None, "given up");
    assert_eq!(sender.streams.kept_octets, 0);

    // Too many segments.
    let mut sender = Sender::new(100);
    for at in 0..MAX_STREAM_SEGMENTS as i32 {
        assert_eq!(sender.send(ACK, 1 + at, b"x"), None);
    }
    let at = 1 + MAX_STREAM_SEGMENTS as i32;
    assert_eq!(sender.send(ACK, at, b"x"), Some(Content::Lost));

    // Too many octets, though they overlap.
    let mut sender = Sender::new(100);
    let lost = (0..100).find(|at| sender.send(ACK, 1 + at, &[0; 60_000]).is_some());
    assert_eq!(lost, Some((MAX_STREAM_OCTETS / 60_000) as i32));
}

#[test]
fn streams_and_their_octets_are_bounded_together() {
    let mut streams = Reassembler::new();
    let one = |port: u16| Flow { src: SocketAddr::new([10, 0, 0, 1].into(), port), ..flow(A, B) };
    for port in 0..6000 {
        streams.push(u64::from(port), &segment(one(port), 99, SYN, b""));
        assert!(streams.streams.len() <= MAX_STREAMS);
    }
    // The first are forgotten, the last are not.
    assert_eq!(streams.push(6001, &segment(one(6000 - 4097), 100, ACK, b"x")), None);
    assert!(streams.push(6002, &segment(one(5999), 100, ACK, b"x")).is_some());

    let mut lost = 0;
    for port in 2000..5000 {
        let behind_a_gap = segment(one(port), 101, ACK, &[0; 50_000]);
        lost += usize::from(streams.push(7000, &behind_a_gap).is_some());
        assert!(streams.kept_octets <= MAX_KEPT_OCTETS);
    }
    assert_eq!(lost, 3000 - (MAX_KEPT_OCTETS / 50_000) as usize);
}
