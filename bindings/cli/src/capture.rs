//! The packets of a capture file, from their IP header on.
//!
//! Owns file formats (pcap and pcapng), link layers and the TCP reassembly of RFC 9329 streams;
//! knows nothing of IPsec. A customer's broken capture is normal input: what is readable is
//! yielded, then one error says at which packet the rest was lost.
//!
//! I1: memory is bounded by [`MAX_RECORD_OCTETS`] and [`MAX_INTERFACES`], whatever lengths the
//!     file states; memory is asked for only after a length has been compared with its limit.
//! I2: every step consumes at least one record header, so every file ends.

mod link;
pub mod tcp;

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use pcap_parser::pcapng::Block;
use pcap_parser::{
    LegacyPcapBlock, PcapHeader, parse_block_be, parse_block_le, parse_pcap_frame,
    parse_pcap_frame_be, parse_pcap_frame_modified, parse_pcap_header,
};

/// Longest pcapng block that is read. A packet is at most 256 KiB; blocks of names or secrets
/// may be longer.
pub const MAX_RECORD_OCTETS: u32 = 16 << 20;
/// Longest packet in a pcap file whose header does not announce longer ones.
pub const MAX_PACKET_OCTETS: u32 = 256 << 10;
/// Most interfaces in one section of a pcapng file.
pub const MAX_INTERFACES: usize = 4096;

/// One packet of a capture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CapturePacket {
    /// Its number in the file, from 1; frames that are not IP count too.
    pub number: u64,
    /// Microseconds since 1970. A packet without a time (pcapng simple packet block) has that of
    /// the packet before it.
    pub time: i64,
    /// The octets from the IP header on, link padding included; `None` if the frame is not IP.
    pub ip: Option<Vec<u8>>,
    /// True if fewer octets were captured than were on the wire.
    pub truncated: bool,
    /// The name of the interface that it was captured on, if the file says one (pcapng `if_name`).
    pub interface: Option<Arc<str>>,
}

/// Why a capture could not be read to its end.
#[derive(Debug)]
pub struct CaptureError {
    /// The packet that could not be read, from 1; 0: not even the file's header could.
    pub packet: u64,
    /// What happened.
    pub fault: CaptureFault,
}

/// What is wrong with a capture file.
#[derive(Debug)]
pub enum CaptureFault {
    /// Neither pcap nor pcapng.
    Foreign,
    /// The file ends within a record.
    Ends,
    /// A record states a length that cannot be.
    Length(u32),
    /// A record contradicts itself.
    Record,
    /// A packet of an interface that the file did not describe.
    Interface(u32),
    /// More than [`MAX_INTERFACES`].
    Interfaces,
    /// Packets of this link type cannot be read; found at the end, with their number.
    LinkType(u16, u64),
    /// Reading failed.
    Io(io::Error),
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.packet > 0 {
            write!(f, "packet {}: ", self.packet)?;
        }
        match &self.fault {
            CaptureFault::Foreign => write!(f, "neither a pcap nor a pcapng file"),
            CaptureFault::Ends => write!(f, "the file ends within its record"),
            CaptureFault::Length(octets) => {
                write!(f, "its record states a length of {octets} octets, which cannot be")
            }
            CaptureFault::Record => write!(f, "its record contradicts itself"),
            CaptureFault::Interface(index) => {
                write!(f, "on interface {index}, which the file does not describe")
            }
            CaptureFault::Interfaces => write!(f, "more than {MAX_INTERFACES} interfaces"),
            CaptureFault::LinkType(link, packets) => {
                write!(f, "of link type {link}, which is not known")?;
                if *packets > 1 {
                    write!(f, ", the first of {packets} such packets")?;
                }
                Ok(())
            }
            CaptureFault::Io(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for CaptureError {}

/// Iterator over the packets of a pcap or pcapng file of either byte order. It ends after the
/// first error.
///
/// # Examples
/// ```
/// use espial_cli::capture::Capture;
///
/// let mut capture = Capture::new(&b"\xd4\xc3\xb2\xa1 and no more"[..]);
/// assert_eq!(capture.next().unwrap().unwrap_err().to_string(), "the file ends within its record");
/// assert!(capture.next().is_none());
/// ```
pub struct Capture<R> {
    source: Source<R>,
    format: Format,
    packets: u64,
    time: i64,
    /// The link type, number and count of packets that no link layer could read.
    unread: Option<(u16, u64, u64)>,
}

enum Format {
    Unknown,
    Pcap(PcapHeader),
    Pcapng(Section),
    Done,
}

/// One section of a pcapng file: its byte order and interfaces.
#[derive(Default)]
struct Section {
    big_endian: bool,
    interfaces: Vec<Interface>,
}

#[derive(Clone)]
struct Interface {
    name: Option<Arc<str>>,
    link: u16,
    snap_octets: u32,
    /// The octet `if_tsresol`.
    resolution: u8,
    offset_seconds: i64,
}

/// A packet as a record holds it, before its link layer is read.
struct Record<'a> {
    interface: Option<Arc<str>>,
    link: u16,
    time: Option<i64>,
    octets: &'a [u8],
    truncated: bool,
}

impl<R: Read> Capture<R> {
    /// A capture read from `reader`, which needs no buffer of its own.
    pub fn new(reader: R) -> Self {
        let source = Source { reader, buffer: Vec::new(), start: 0, consumed: 0 };
        Self { source, format: Format::Unknown, packets: 0, time: 0, unread: None }
    }

    /// Octets of the file that have been worked through, to show progress.
    pub fn octets_read(&self) -> u64 {
        self.source.consumed
    }

    fn read_packet(&mut self) -> Result<Option<CapturePacket>, CaptureFault> {
        let Self { source, format, .. } = self;
        if let Format::Unknown = format {
            *format = open(source)?;
        }
        let record = match format {
            Format::Pcap(header) => read_pcap(source, header)?,
            Format::Pcapng(section) => read_pcapng(source, section)?,
            Format::Unknown | Format::Done => None,
        };
        let Some(record) = record else { return Ok(None) };
        let Record { interface, link, time, octets, truncated } = record;
        let number = self.packets + 1;
        let ip = match link::ip(link, octets) {
            Ok(ip) => ip.map(<[u8]>::to_vec),
            Err(link::UnknownLink) => {
                self.unread.get_or_insert((link, number, 0)).2 += 1;
                None
            }
        };
        self.packets = number;
        self.time = time.unwrap_or(self.time);
        Ok(Some(CapturePacket { number, time: self.time, ip, truncated, interface }))
    }
}

impl<R: Read> Iterator for Capture<R> {
    type Item = Result<CapturePacket, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Format::Done = self.format {
            return None;
        }
        let error = match self.read_packet() {
            Ok(Some(packet)) => return Some(Ok(packet)),
            Ok(None) => self.unread.map(|(link, packet, count)| CaptureError {
                packet,
                fault: CaptureFault::LinkType(link, count),
            }),
            Err(fault) => {
                let header_read = !matches!(self.format, Format::Unknown);
                let packet = if header_read { self.packets + 1 } else { 0 };
                Some(CaptureError { packet, fault })
            }
        };
        self.format = Format::Done;
        error.map(Err)
    }
}

const PCAP_HEADER: usize = 24;
const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const PCAPNG_BLOCK_HEADER: usize = 8;
const INTERFACE_BLOCK: u32 = 1;
/// The old packet block, which pcap-parser does not read.
const PACKET_BLOCK: u32 = 2;
const SIMPLE_BLOCK: u32 = 3;
const ENHANCED_BLOCK: u32 = 6;

fn open<R: Read>(source: &mut Source<R>) -> Result<Format, CaptureFault> {
    let magic = source.peek(4)?.and_then(|octets| octets.first_chunk()).copied();
    match magic.ok_or(CaptureFault::Foreign)? {
        PCAPNG_MAGIC => Ok(Format::Pcapng(Section::default())),
        [0xa1, 0xb2, 0xc3, 0xd4]
        | [0xd4, 0xc3, 0xb2, 0xa1]
        | [0xa1, 0xb2, 0x3c, 0x4d]
        | [0x4d, 0x3c, 0xb2, 0xa1]
        | [0x34, 0xcd, 0xb2, 0xa1] => {
            let octets = source.take(PCAP_HEADER)?.ok_or(CaptureFault::Ends)?;
            let (_, header) = parse_pcap_header(octets).map_err(|_| CaptureFault::Record)?;
            Ok(Format::Pcap(header))
        }
        _ => Err(CaptureFault::Foreign),
    }
}

fn read_pcap<'a, R: Read>(
    source: &'a mut Source<R>,
    header: &PcapHeader,
) -> Result<Option<Record<'a>>, CaptureFault> {
    type Parse = for<'b> fn(
        &'b [u8],
    ) -> pcap_parser::nom::IResult<
        &'b [u8],
        LegacyPcapBlock<'b>,
        pcap_parser::PcapError<&'b [u8]>,
    >;
    let (header_octets, parse): (usize, Parse) = match header {
        header if header.is_modified_format() => (24, parse_pcap_frame_modified),
        header if header.is_bigendian() => (16, parse_pcap_frame_be),
        _ => (16, parse_pcap_frame),
    };
    let Some(start) = source.peek(header_octets)? else { return Ok(None) };
    let captured = u32_at(start, 8, header.is_bigendian()).ok_or(CaptureFault::Ends)?;
    let limit = header.snaplen.clamp(MAX_PACKET_OCTETS, MAX_RECORD_OCTETS);
    if start.len() < header_octets {
        return Err(CaptureFault::Ends);
    }
    if captured > limit {
        return Err(CaptureFault::Length(captured));
    }
    let record = source.take(header_octets + captured as usize)?.ok_or(CaptureFault::Ends)?;
    let (_, block) = parse(record).map_err(|_| CaptureFault::Record)?;
    let fraction = i64::from(block.ts_usec);
    let micros = if header.is_nanosecond_precision() { fraction / 1000 } else { fraction };
    Ok(Some(Record {
        interface: None,
        // The upper half holds the length of the frame check sequence, if it says anything.
        link: (header.network.0 & 0xffff) as u16,
        time: Some(i64::from(block.ts_sec) * 1_000_000 + micros),
        octets: block.data,
        truncated: block.caplen < block.origlen,
    }))
}

/// The next packet of a pcapng file; blocks before it are worked through.
fn read_pcapng<'a, R: Read>(
    source: &'a mut Source<R>,
    section: &mut Section,
) -> Result<Option<Record<'a>>, CaptureFault> {
    loop {
        let Some(start) = source.peek(PCAPNG_BLOCK_HEADER + 4)? else { return Ok(None) };
        if start.len() < PCAPNG_BLOCK_HEADER + 4 {
            return Err(CaptureFault::Ends);
        }
        let new_section = start.starts_with(&PCAPNG_MAGIC);
        if new_section {
            let big_endian = match start.get(8..12) {
                Some([0x1a, 0x2b, 0x3c, 0x4d]) => true,
                Some([0x4d, 0x3c, 0x2b, 0x1a]) => false,
                _ => return Err(CaptureFault::Record),
            };
            *section = Section { big_endian, interfaces: Vec::new() };
        }
        let big_endian = section.big_endian;
        let kind = u32_at(start, 0, big_endian).ok_or(CaptureFault::Ends)?;
        let octets = u32_at(start, 4, big_endian).ok_or(CaptureFault::Ends)?;
        if !(12..=MAX_RECORD_OCTETS).contains(&octets) || !octets.is_multiple_of(4) {
            return Err(CaptureFault::Length(octets));
        }
        match kind {
            PACKET_BLOCK | SIMPLE_BLOCK | ENHANCED_BLOCK => {
                let block = source.take(octets as usize)?.ok_or(CaptureFault::Ends)?;
                return packet_block(block, kind, section).map(Some);
            }
            INTERFACE_BLOCK => {
                let block = source.take(octets as usize)?.ok_or(CaptureFault::Ends)?;
                section.interfaces.push(interface_block(block, big_endian)?);
                if section.interfaces.len() > MAX_INTERFACES {
                    return Err(CaptureFault::Interfaces);
                }
            }
            _ => {
                source.take(octets as usize)?.ok_or(CaptureFault::Ends)?;
            }
        }
    }
}

fn parse_block(block: &[u8], big_endian: bool) -> Result<Block<'_>, CaptureFault> {
    let parsed = if big_endian { parse_block_be(block) } else { parse_block_le(block) };
    parsed.map(|(_, block)| block).map_err(|_| CaptureFault::Record)
}

fn interface_block(block: &[u8], big_endian: bool) -> Result<Interface, CaptureFault> {
    let Block::InterfaceDescription(interface) = parse_block(block, big_endian)? else {
        return Err(CaptureFault::Record);
    };
    // pcap-parser 0.17 reads this option as little endian always.
    let offset = interface.if_tsoffset;
    let name = interface.if_name().and_then(Result::ok).filter(|name| !name.is_empty());
    Ok(Interface {
        name: name.map(Arc::from),
        link: (interface.linktype.0 & 0xffff) as u16,
        snap_octets: interface.snaplen,
        resolution: interface.if_tsresol,
        offset_seconds: if big_endian { offset.swap_bytes() } else { offset },
    })
}

fn packet_block<'a>(
    block: &'a [u8],
    kind: u32,
    section: &Section,
) -> Result<Record<'a>, CaptureFault> {
    let interface = |index: u32| {
        let interface = section.interfaces.get(index as usize);
        interface.cloned().ok_or(CaptureFault::Interface(index))
    };
    if kind == PACKET_BLOCK {
        return old_packet_block(block, section.big_endian, interface);
    }
    match parse_block(block, section.big_endian)? {
        Block::EnhancedPacket(packet) => {
            let interface = interface(packet.if_id)?;
            let octets = packet.data.get(..packet.caplen as usize).ok_or(CaptureFault::Record)?;
            Ok(Record {
                link: interface.link,
                time: Some(interface.time(packet.ts_high, packet.ts_low)),
                octets,
                truncated: packet.caplen < packet.origlen,
                interface: interface.name,
            })
        }
        Block::SimplePacket(packet) => {
            let interface = interface(0)?;
            let limit = if interface.snap_octets == 0 { u32::MAX } else { interface.snap_octets };
            let captured = packet.origlen.min(limit);
            let octets = packet.data.get(..captured as usize).ok_or(CaptureFault::Record)?;
            let truncated = captured < packet.origlen;
            let Interface { link, name, .. } = interface;
            Ok(Record { interface: name, link, time: None, octets, truncated })
        }
        _ => Err(CaptureFault::Record),
    }
}

/// The packet block of files from before 2009: like the enhanced one, with a shorter interface
/// number.
fn old_packet_block(
    block: &[u8],
    big_endian: bool,
    interface: impl Fn(u32) -> Result<Interface, CaptureFault>,
) -> Result<Record<'_>, CaptureFault> {
    let (block, _) = block.split_last_chunk::<4>().ok_or(CaptureFault::Record)?;
    let field = |at| u32_at(block, at, big_endian).ok_or(CaptureFault::Record);
    let first = field(8)?;
    let interface = interface(if big_endian { first >> 16 } else { first & 0xffff })?;
    let captured = field(20)?;
    let room = block.get(28..).ok_or(CaptureFault::Record)?;
    Ok(Record {
        link: interface.link,
        time: Some(interface.time(field(12)?, field(16)?)),
        octets: room.get(..captured as usize).ok_or(CaptureFault::Record)?,
        truncated: captured < field(24)?,
        interface: interface.name,
    })
}

impl Interface {
    /// Microseconds since 1970. The resolution is a negative power of 10, or of 2 if the highest
    /// bit is set (pcap-parser 0.17 does not know the latter).
    fn time(&self, high: u32, low: u32) -> i64 {
        let ticks = u128::from(high) << 32 | u128::from(low);
        let micros = match self.resolution {
            exponent @ 0x80.. => (ticks * 1_000_000) >> (exponent & 0x7f),
            exponent => 10_u128.checked_pow(exponent.into()).map_or(0, |per_second| {
                // One second of ticks at a time: ticks * 1 000 000 fits 84 bits.
                ticks * 1_000_000 / per_second
            }),
        };
        let offset = self.offset_seconds.saturating_mul(1_000_000);
        i64::try_from(micros).unwrap_or(i64::MAX).saturating_add(offset)
    }
}

fn u32_at(octets: &[u8], at: usize, big_endian: bool) -> Option<u32> {
    let octets = *octets.get(at..)?.first_chunk()?;
    Some(if big_endian { u32::from_be_bytes(octets) } else { u32::from_le_bytes(octets) })
}

/// A reader with room to look ahead.
struct Source<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Where the octets start that have not been taken.
    start: usize,
    consumed: u64,
}

impl<R: Read> Source<R> {
    /// The next `octets` without taking them, or as many as there are; `None` at the end.
    fn peek(&mut self, octets: usize) -> Result<Option<&[u8]>, CaptureFault> {
        self.fill(octets)?;
        let ahead = &self.buffer[self.start..];
        Ok((!ahead.is_empty()).then(|| &ahead[..octets.min(ahead.len())]))
    }

    /// The next `octets`, or `None` if the file ends before.
    fn take(&mut self, octets: usize) -> Result<Option<&[u8]>, CaptureFault> {
        self.fill(octets)?;
        let Some(taken) = self.buffer.get(self.start..self.start + octets) else { return Ok(None) };
        self.start += octets;
        self.consumed += octets as u64;
        Ok(Some(taken))
    }

    /// Reads until `octets` are ahead or the file ends. The caller has compared `octets` with a
    /// limit (I1).
    fn fill(&mut self, octets: usize) -> Result<(), CaptureFault> {
        const CHUNK: usize = 64 << 10;
        if self.buffer.len() - self.start >= octets {
            return Ok(());
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let missing = octets.max(CHUNK) - self.buffer.len();
        let reader = self.reader.by_ref();
        reader.take(missing as u64).read_to_end(&mut self.buffer).map_err(CaptureFault::Io)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
