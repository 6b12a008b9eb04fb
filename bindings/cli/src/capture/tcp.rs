//! TCP reassembly: the octets of each direction of a connection, in order.
//!
//! Owns sequence numbers; knows nothing of what the octets mean. The frames of RFC 9329 are cut
//! by [`espial::wire`], one stream for each [`StreamId`]. Checksums are not looked at, since
//! captures on the sending host have none yet.
//!
//! I1: each octet of a stream is delivered at most once, and in order. Where segments that
//!     overlap differ, what was delivered or kept first stays.
//! I2: octets kept for lack of those before them: at most [`MAX_STREAM_OCTETS`] a stream,
//!     [`MAX_KEPT_OCTETS`] in all, [`MAX_STREAM_SEGMENTS`] segments; streams: [`MAX_STREAMS`].

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use espial::headers::protocol;
use espial::wire::tcp_encap::PREFIX;

/// How far behind a gap octets of one stream are kept.
pub const MAX_STREAM_OCTETS: u64 = 1 << 20;
/// Octets that are kept behind gaps in all streams.
pub const MAX_KEPT_OCTETS: u64 = 32 << 20;
/// Segments that are kept behind gaps in one stream.
pub const MAX_STREAM_SEGMENTS: usize = 4096;
/// Streams that are followed at a time; beyond, the one that was silent longest is forgotten.
pub const MAX_STREAMS: usize = 4096;

/// One direction of a TCP connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    /// Sender of the octets.
    pub src: SocketAddr,
    /// Receiver of the octets.
    pub dst: SocketAddr,
}

impl Flow {
    /// The other direction.
    pub fn reversed(self) -> Self {
        Self { src: self.dst, dst: self.src }
    }
}

/// One stream; never used again, though its ports may be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamId(pub u64);

/// Which side of the connection sends a stream. Only the originator sends the stream prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// It sent the SYN, or the prefix.
    Originator,
    /// It sent the SYN and ACK.
    Responder,
}

/// What a segment added to a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// The next octets of the stream, at least one.
    Octets(Vec<u8>),
    /// Octets are missing and too much has come after them: the stream is given up.
    Lost,
}

/// New octets of one stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// The stream.
    pub stream: StreamId,
    /// Its addresses and ports.
    pub flow: Flow,
    /// Who sends it.
    pub side: Side,
    /// The packet whose segment completed this delivery.
    pub number: u64,
    /// The octets.
    pub content: Content,
}

/// A TCP segment in an IP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment<'a> {
    /// Addresses and ports.
    pub flow: Flow,
    /// Sequence number of the first octet, or of the SYN.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// Control bits, the 14th octet.
    pub flags: u8,
    /// Octets that it carries, as far as they were captured.
    pub payload: &'a [u8],
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

impl<'a> Segment<'a> {
    /// The segment in an unfragmented IP packet, or `None` if it holds none.
    pub fn parse(ip: &'a [u8]) -> Option<Self> {
        let (src, dst, tcp) = match ip.first()? >> 4 {
            4 => tcp_in_v4(ip)?,
            6 => tcp_in_v6(ip)?,
            _ => return None,
        };
        let header_octets = usize::from(tcp.get(12)? >> 4) * 4;
        let payload = tcp.get(header_octets.max(20)..)?;
        Some(Self {
            flow: Flow {
                src: SocketAddr::new(src, u16_at(tcp, 0)?),
                dst: SocketAddr::new(dst, u16_at(tcp, 2)?),
            },
            sequence: u32::from_be_bytes(*tcp.get(4..)?.first_chunk()?),
            acknowledgement: u32::from_be_bytes(*tcp.get(8..)?.first_chunk()?),
            flags: *tcp.get(13)?,
            payload,
        })
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

fn tcp_in_v4(ip: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let header = ip.first_chunk::<20>()?;
    let fragment = u16_at(header, 6)? & 0x3fff;
    if header[9] != protocol::TCP || fragment != 0 {
        return None;
    }
    // A length of 0 is that of a segment which the network card was to cut (TSO).
    let total = match usize::from(u16_at(header, 2)?) {
        0 => ip.len(),
        total => total.min(ip.len()),
    };
    let address = |at: usize| Some(Ipv4Addr::from(*header.get(at..)?.first_chunk::<4>()?).into());
    let tcp = ip.get(usize::from(header[0] & 15) * 4..total)?;
    Some((address(12)?, address(16)?, tcp))
}

fn tcp_in_v6(ip: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let (header, rest) = ip.split_first_chunk::<40>()?;
    let mut rest = match usize::from(u16_at(header, 4)?) {
        0 => rest,
        octets => &rest[..octets.min(rest.len())],
    };
    let mut kind = header[6];
    while matches!(kind, protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS) {
        let [next, length, ..] = *rest else { return None };
        rest = rest.get((usize::from(length) + 1) * 8..)?;
        kind = next;
    }
    let address = |at: usize| Some(Ipv6Addr::from(*header.get(at..)?.first_chunk::<16>()?).into());
    (kind == protocol::TCP).then_some((address(8)?, address(24)?, rest))
}

fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*octets.get(at..)?.first_chunk()?))
}

struct Stream {
    id: StreamId,
    side: Side,
    /// Sequence number of octet 0.
    first: u32,
    /// Octets delivered.
    delivered: u64,
    /// Octets after a gap by their place in the stream.
    kept: BTreeMap<u64, Vec<u8>>,
    kept_octets: u64,
    /// Octets in the whole stream, once a FIN has told.
    total: Option<u64>,
    /// The packet that was last seen of it.
    last: u64,
}

/// What became of a stream with one segment.
enum Step {
    Nothing,
    Octets(Vec<u8>),
    Lost,
}

impl Stream {
    fn new(id: StreamId, side: Side, first: u32) -> Self {
        Self {
            id,
            side,
            first,
            delivered: 0,
            kept: BTreeMap::new(),
            kept_octets: 0,
            total: None,
            last: 0,
        }
    }

    /// Sequence number of the next octet to be delivered.
    fn next_sequence(&self) -> u32 {
        // Sequence numbers wrap; only the low half of the count is wanted.
        self.first.wrapping_add(self.delivered as u32)
    }

    /// Takes `payload`, whose first octet has `sequence`.
    fn take(&mut self, sequence: u32, payload: &[u8]) -> Step {
        let ahead = sequence.wrapping_sub(self.next_sequence()).cast_signed();
        let (gap, fresh) = match u64::try_from(ahead) {
            Ok(gap) => (gap, payload),
            Err(_) => (0, payload.get(ahead.unsigned_abs() as usize..).unwrap_or_default()),
        };
        if fresh.is_empty() {
            return Step::Nothing;
        }
        if gap > 0 {
            return self.keep(gap, fresh);
        }
        let mut octets = fresh.to_vec();
        let mut end = self.delivered + octets.len() as u64;
        while let Some(entry) = self.kept.first_entry().filter(|entry| *entry.key() <= end) {
            let (at, segment) = entry.remove_entry();
            self.kept_octets -= segment.len() as u64;
            octets.extend(segment.get((end - at) as usize..).unwrap_or_default());
            end = self.delivered + octets.len() as u64;
        }
        self.delivered = end;
        Step::Octets(octets)
    }

    fn keep(&mut self, gap: u64, segment: &[u8]) -> Step {
        let at = self.delivered + gap;
        let known = self.kept.get(&at).map_or(0, Vec::len);
        if known < segment.len() {
            self.kept.insert(at, segment.to_vec());
            self.kept_octets += (segment.len() - known) as u64;
        }
        let too_far = gap + segment.len() as u64 > MAX_STREAM_OCTETS;
        // Segments may overlap, so the reach does not bound the octets.
        let too_many =
            self.kept_octets > MAX_STREAM_OCTETS || self.kept.len() > MAX_STREAM_SEGMENTS;
        if too_far || too_many { Step::Lost } else { Step::Nothing }
    }
}

/// All streams of a capture.
#[derive(Default)]
pub struct Reassembler {
    streams: HashMap<Flow, Stream>,
    kept_octets: u64,
    started: u64,
}

impl Reassembler {
    /// A reassembler that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes packet `number`, from its IP header on, and returns what it completed.
    ///
    /// A stream starts with SYN; without one, with a segment that starts with the prefix
    /// `IKETCP`. It ends with FIN, with RST at the next sequence number, or with another SYN.
    pub fn push(&mut self, number: u64, ip: &[u8]) -> Option<Delivery> {
        let segment = Segment::parse(ip)?;
        let flow = segment.flow;
        if segment.has(SYN) {
            self.start(&segment);
        } else if !self.streams.contains_key(&flow) {
            if !segment.payload.starts_with(&PREFIX) {
                return None;
            }
            self.insert(flow, Side::Originator, segment.sequence);
        }
        let stream = self.streams.get_mut(&flow)?;
        stream.last = number;
        if segment.has(RST) {
            if segment.sequence == stream.next_sequence() {
                self.remove(flow);
            }
            return None;
        }
        // SYN takes one sequence number before the first octet.
        let sequence = segment.sequence.wrapping_add(segment.has(SYN).into());
        let before = stream.kept_octets;
        let mut step = stream.take(sequence, segment.payload);
        self.kept_octets = self.kept_octets - before + stream.kept_octets;
        if self.kept_octets > MAX_KEPT_OCTETS && matches!(step, Step::Nothing) {
            step = Step::Lost;
        }
        if segment.has(FIN) {
            let end = sequence.wrapping_add(segment.payload.len() as u32);
            let ahead = end.wrapping_sub(stream.next_sequence()).cast_signed();
            stream.total = u64::try_from(ahead).ok().map(|ahead| stream.delivered + ahead);
        }
        let (id, side) = (stream.id, stream.side);
        let ended = stream.total == Some(stream.delivered) || matches!(step, Step::Lost);
        if ended {
            self.remove(flow);
        }
        let content = match step {
            Step::Nothing => return None,
            Step::Octets(octets) => Content::Octets(octets),
            Step::Lost => Content::Lost,
        };
        Some(Delivery { stream: id, flow, side, number, content })
    }

    /// Stops following a stream, because it is found to be none of IKE and ESP.
    pub fn forget(&mut self, flow: Flow) {
        self.remove(flow);
    }

    fn start(&mut self, segment: &Segment<'_>) {
        let side = if segment.has(ACK) { Side::Responder } else { Side::Originator };
        let first = segment.sequence.wrapping_add(1);
        // The same SYN again is a retransmission.
        if self.streams.get(&segment.flow).is_none_or(|stream| stream.first != first) {
            self.insert(segment.flow, side, first);
        }
    }

    fn insert(&mut self, flow: Flow, side: Side, first: u32) {
        self.remove(flow);
        if self.streams.len() >= MAX_STREAMS {
            let oldest = self.streams.iter().min_by_key(|(_, stream)| stream.last);
            if let Some(flow) = oldest.map(|(flow, _)| *flow) {
                self.remove(flow);
            }
        }
        self.started += 1;
        self.streams.insert(flow, Stream::new(StreamId(self.started), side, first));
    }

    fn remove(&mut self, flow: Flow) {
        if let Some(stream) = self.streams.remove(&flow) {
            self.kept_octets -= stream.kept_octets;
        }
    }
}

#[cfg(test)]
mod tests;
