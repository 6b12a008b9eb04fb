//! IKE and ESP in a TCP stream (RFC 9329): octets in any portions to frames, and a frame to what it is.
//!
//! ```text
//! "IKETCP" | length | content ... | length | content ... |
//!  6        2        length - 2    2        length - 2
//! ```
//!
//! The six octets come once, first, and only from the side that opened the connection (RFC 9329 section
//! 4). The length counts itself (section 3). Content is ESP, or IKE behind four zero octets, or the one
//! octet 0xFF of a NAT keepalive (section 6.6).

use crate::headers::{Encap, Endpoints, Outer};
use crate::verdict::{Malformed, Reason};

use super::ipsec::{self, Carrier};

/// What the initiator's direction starts with.
pub const PREFIX: [u8; 6] = *b"IKETCP";

/// A buffer of this size takes every frame that a length field can announce.
pub const MAX_CONTENT_OCTETS: usize = 65_533;

/// What the content of one frame is, behind its length field.
///
/// `sport` and `dport` are those of the TCP connection, the packet's own. Four zero octets are the
/// non-ESP marker, one octet 0xFF a NAT keepalive, which RFC 9329 section 6.6 wants dropped without an
/// error; all else is ESP. The offset of the ESP packet counts from the start of `frame`.
///
/// # Errors
/// [`Malformed::Esp`] in the reason: fewer than 8 octets that are neither; also an empty frame, whose
/// length 2 RFC 9329 does not make fatal.
#[inline]
pub fn classify_tcp_frame(
    endpoints: Endpoints,
    sport: u16,
    dport: u16,
    frame: &[u8],
) -> Result<Outer, Reason> {
    match frame {
        [0xff] => Ok(Outer::NatKeepalive),
        [0, 0, 0, 0, ..] => Ok(Outer::Ike),
        _ => {
            let carrier = Carrier { encap: Encap::Tcp, sport, dport };
            Ok(Outer::Ipsec(ipsec::esp_in(carrier, endpoints, frame, 0)?))
        }
    }
}

/// What is known of a stream's prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Prefix {
    /// Not enough octets yet; those that came fit.
    Unknown,
    /// The stream began with [`PREFIX`].
    Present,
    /// The stream does not begin with it, or has none because it is the responder's.
    Absent,
}

/// Why a stream cannot be read any further. The connection is to be closed (RFC 9329 sections 3 and 6.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StreamError {
    /// The initiator's direction does not start with [`PREFIX`].
    NoPrefix,
    /// A length of 0 or 1, which cannot count itself (RFC 9329 section 3).
    Length,
    /// A frame whose content is longer than the caller's buffer. The stream itself is sound.
    TooLarge {
        /// Octets of the content.
        octets: u16,
        /// Octets of the buffer.
        limit: usize,
    },
}

impl StreamError {
    /// The malformation that this is, if it is one: [`Malformed::TcpFrame`], or `None` if only the
    /// buffer was too small.
    pub const fn malformed(self) -> Option<Malformed> {
        match self {
            Self::NoPrefix | Self::Length => Some(Malformed::TcpFrame),
            Self::TooLarge { .. } => None,
        }
    }
}

/// One frame of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Which frame of the stream this is; the first is 1.
    pub number: u64,
    /// Octets of the stream in front of its length field; the prefix counts.
    pub stream_offset: u64,
    /// Octets of the frame, the length field's two included.
    pub length: u16,
    /// What follows the length field: for [`classify_tcp_frame`].
    pub content: &'a [u8],
}

/// One direction of a TCP connection, taken apart into frames.
///
/// It holds no frame: one that lies wholly in the octets pushed is lent from there, one that is split is
/// gathered in the caller's buffer. Frames and errors depend on the stream and the size of the buffer
/// only, never on how the octets were portioned.
///
/// # Bound
/// 40 octets of state. Each octet is copied at most once.
///
/// # Examples
/// ```
/// use espial::wire::tcp_encap::Stream;
///
/// let mut stream = Stream::from_initiator();
/// let mut buffer = [0; 1500];
/// let mut lengths = Vec::new();
/// // The prefix, a frame of 4 octets, and one of 3 of which the last octet comes later.
/// for segment in [b"IKETCP\0\x04ab\0\x03".as_slice(), b"\xff"] {
///     let mut rest = segment;
///     while let Some(frame) = stream.next_frame(&mut rest, &mut buffer).expect("sound stream") {
///         lengths.push((frame.number, frame.stream_offset, frame.length));
///     }
/// }
/// assert_eq!(lengths, [(1, 6, 4), (2, 10, 3)]);
///
/// // A stream without the prefix is refused, and stays refused.
/// let mut stream = Stream::from_initiator();
/// assert!(stream.next_frame(&mut b"GET /".as_slice(), &mut buffer).is_err());
/// assert!(stream.next_frame(&mut b"IKETCP".as_slice(), &mut buffer).is_err());
/// ```
#[derive(Clone, Debug)]
pub struct Stream {
    /// Octets taken so far.
    offset: u64,
    /// Frames yielded so far.
    frames: u64,
    /// What is being waited for.
    state: State,
    /// What is known of the prefix.
    prefix: Prefix,
}

/// What a [`Stream`] waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The rest of the prefix, of which so many octets came.
    Prefix(u8),
    /// A length field.
    Length,
    /// The second octet of a length field, whose first is this.
    HalfLength(u8),
    /// Content: its octets in all, and how many of them the buffer holds.
    Content { octets: u16, held: u16 },
    /// Nothing more.
    Failed(StreamError),
}

impl Stream {
    /// The direction from the side that opened the connection: it starts with the prefix.
    pub const fn from_initiator() -> Self {
        Self { offset: 0, frames: 0, state: State::Prefix(0), prefix: Prefix::Unknown }
    }

    /// The direction towards the side that opened the connection: it has no prefix.
    pub const fn from_responder() -> Self {
        Self { offset: 0, frames: 0, state: State::Length, prefix: Prefix::Absent }
    }

    /// What is known of the prefix so far.
    pub const fn prefix(&self) -> Prefix {
        self.prefix
    }

    /// Octets of the stream taken so far, the prefix included.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the stream stands within the prefix, a length field or a frame: a connection that ends
    /// here was cut off.
    pub const fn is_partial(&self) -> bool {
        matches!(self.state, State::Prefix(1..) | State::HalfLength(_) | State::Content { .. })
    }

    /// The error that ended the stream, if one did.
    pub const fn error(&self) -> Option<StreamError> {
        match self.state {
            State::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// The next frame of the stream whose next octets are `octets`; those that it takes are taken off
    /// their front. Call it until it gives `None`: then all are taken and more are needed.
    ///
    /// Between calls `buffer` holds a split frame and must not be changed; its length is the largest
    /// content that is let through, split or not. [`MAX_CONTENT_OCTETS`] take everything.
    ///
    /// # Errors
    /// Each [`StreamError`]. The first one stays: all later calls give it again and take nothing.
    pub fn next_frame<'f, 'o: 'f>(
        &mut self,
        octets: &mut &'o [u8],
        buffer: &'f mut [u8],
    ) -> Result<Option<Frame<'f>>, StreamError> {
        // Each turn leaves one state for a later one, and none comes back: at most PREFIX's 6 turns,
        // two for the length and one for the content.
        loop {
            self.state = match self.state {
                State::Failed(error) => return Err(error),
                State::Prefix(matched) => {
                    let Some(octet) = self.take_octet(octets) else { return Ok(None) };
                    if PREFIX.get(usize::from(matched)) != Some(&octet) {
                        self.prefix = Prefix::Absent;
                        return self.fail(StreamError::NoPrefix);
                    }
                    match matched.saturating_add(1) {
                        6.. => {
                            self.prefix = Prefix::Present;
                            State::Length
                        }
                        matched => State::Prefix(matched),
                    }
                }
                State::Length => {
                    let Some(high) = self.take_octet(octets) else { return Ok(None) };
                    State::HalfLength(high)
                }
                State::HalfLength(high) => {
                    let Some(low) = self.take_octet(octets) else { return Ok(None) };
                    match u16::from_be_bytes([high, low]).checked_sub(2) {
                        Some(octets) => State::Content { octets, held: 0 },
                        None => return self.fail(StreamError::Length),
                    }
                }
                State::Content { octets: all, held } => {
                    if usize::from(all) > buffer.len() {
                        let error = StreamError::TooLarge { octets: all, limit: buffer.len() };
                        return self.fail(error);
                    }
                    return Ok(self.content(all, held, octets, buffer));
                }
            };
        }
    }

    /// The frame whose content is `all` octets, of which the buffer holds the first `held`; `None` if it
    /// is not all there yet. The buffer is long enough.
    fn content<'f, 'o: 'f>(
        &mut self,
        all: u16,
        held: u16,
        octets: &mut &'o [u8],
        buffer: &'f mut [u8],
    ) -> Option<Frame<'f>> {
        let missing = usize::from(all.saturating_sub(held));
        let (taken, rest) = octets.split_at_checked(missing).unwrap_or((*octets, &[]));
        *octets = rest;
        self.offset = self.offset.saturating_add(taken.len() as u64);
        if held == 0 && taken.len() == missing {
            return Some(self.frame(all, taken));
        }
        for (to, from) in buffer.iter_mut().skip(usize::from(held)).zip(taken) {
            *to = *from;
        }
        if taken.len() < missing {
            // `taken` is shorter than `missing`, which is a u16.
            let held = held.saturating_add(taken.len() as u16);
            self.state = State::Content { octets: all, held };
            return None;
        }
        let content: &'f [u8] = buffer;
        Some(self.frame(all, content.get(..usize::from(all)).unwrap_or(content)))
    }

    /// The frame that has just been completed.
    fn frame<'f>(&mut self, octets: u16, content: &'f [u8]) -> Frame<'f> {
        self.frames = self.frames.saturating_add(1);
        self.state = State::Length;
        let length = octets.saturating_add(2);
        Frame {
            number: self.frames,
            stream_offset: self.offset.saturating_sub(u64::from(length)),
            length,
            content,
        }
    }

    /// The next octet, taken off the front.
    fn take_octet(&mut self, octets: &mut &[u8]) -> Option<u8> {
        let (&first, rest) = octets.split_first()?;
        *octets = rest;
        self.offset = self.offset.saturating_add(1);
        Some(first)
    }

    /// Ends the stream.
    fn fail<T>(&mut self, error: StreamError) -> Result<T, StreamError> {
        self.state = State::Failed(error);
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;
    use crate::headers::OuterHeaders;
    use crate::wire::samples::{SEQUENCE, SPI, ends4, ends6, esp, malformed, outer};

    /// A frame without its lifetime: number, stream offset, length, content.
    type Owned = (u64, u64, u16, Vec<u8>);

    /// All frames of a stream that comes in `segments`, and how it stands at the end.
    fn read(
        mut stream: Stream,
        segments: &[&[u8]],
        limit: usize,
    ) -> (Vec<Owned>, Result<bool, StreamError>, Prefix) {
        let mut buffer = vec![0; limit];
        let mut frames = Vec::new();
        for segment in segments {
            let mut rest = *segment;
            loop {
                match stream.next_frame(&mut rest, &mut buffer) {
                    Ok(None) => break,
                    Ok(Some(found)) => frames.push((
                        found.number,
                        found.stream_offset,
                        found.length,
                        found.content.to_vec(),
                    )),
                    Err(error) => {
                        // Errors stay, and what follows them is not taken.
                        let before = rest.len();
                        let mut again = rest;
                        assert_eq!(stream.next_frame(&mut again, &mut buffer), Err(error));
                        assert_eq!(again.len(), before);
                        assert_eq!(stream.error(), Some(error));
                        return (frames, Err(error), stream.prefix());
                    }
                }
            }
            assert!(rest.is_empty(), "None means that all is taken");
        }
        let total: usize = segments.iter().map(|segment| segment.len()).sum();
        assert_eq!(stream.offset(), total as u64);
        assert_eq!(stream.error(), None);
        (frames, Ok(stream.is_partial()), stream.prefix())
    }

    fn framed(contents: &[&[u8]]) -> Vec<u8> {
        let mut stream = PREFIX.to_vec();
        for content in contents {
            stream.extend((content.len() as u16 + 2).to_be_bytes());
            stream.extend(*content);
        }
        stream
    }

    fn sample() -> Vec<u8> {
        let ike = [&[0; 4][..], &[0xe8; 28]].concat();
        framed(&[&ike, b"\xc4\x71\x54\xa0\0\0\0\x01body", &[], &[0xff], &[7; 300]])
    }

    #[test]
    fn rfc9329_3_frame_contents() {
        let found = |frame: &[u8]| classify_tcp_frame(ends4(), 51_717, 443, frame);
        let expected =
            OuterHeaders { encap: Encap::Tcp, sport: 51_717, dport: 443, ..outer(ends4(), 0, 28) };
        assert_eq!(found(&esp(SPI, SEQUENCE, &[9; 20])), Ok(Outer::Ipsec(expected)));
        for length in 0..8 {
            assert_eq!(found(&vec![9; length]), malformed(Malformed::Esp));
            let expected = if length < 4 { malformed(Malformed::Esp) } else { Ok(Outer::Ike) };
            assert_eq!(found(&vec![0; length]), expected);
        }
        // The ports say nothing: the connection was known to carry frames.
        assert_eq!(classify_tcp_frame(ends4(), 500, 500, &[0, 0, 0, 0, 1]), Ok(Outer::Ike));
    }

    #[test]
    fn rfc9329_6_6_keepalive_is_no_error() {
        assert_eq!(classify_tcp_frame(ends6(), 1, 443, &[0xff]), Ok(Outer::NatKeepalive));
        assert_eq!(classify_tcp_frame(ends6(), 1, 443, &[0xfe]), malformed(Malformed::Esp));
    }

    #[test]
    fn rfc9329_3_length_counts_itself() {
        let stream = framed(&[&[0, 0, 0, 0, 1], &[0xff], &[]]);
        let (frames, end, prefix) = read(Stream::from_initiator(), &[&stream], 100);
        let expected = [(1, 6, 7, vec![0, 0, 0, 0, 1]), (2, 13, 3, vec![0xff]), (3, 16, 2, vec![])];
        assert_eq!(frames, expected);
        assert_eq!((end, prefix), (Ok(false), Prefix::Present));
    }

    #[test]
    fn rfc9329_3_length_0_and_1_are_fatal() {
        for (length, fatal) in [(0, true), (1, true), (2, false), (3, false)] {
            let stream = [&framed(&[&[9; 8]])[..], &[0, length, 5, 5, 5, 5]].concat();
            for cut in 0..=stream.len() {
                let (before, behind) = stream.split_at(cut);
                let (frames, end, _) = read(Stream::from_initiator(), &[before, behind], 100);
                if fatal {
                    assert_eq!(end, Err(StreamError::Length));
                    assert_eq!(frames.len(), 1, "frames in front of it stand");
                } else {
                    assert_ne!(end, Err(StreamError::Length));
                }
            }
        }
        assert_eq!(StreamError::Length.malformed(), Some(Malformed::TcpFrame));
        assert_eq!(StreamError::NoPrefix.malformed(), Some(Malformed::TcpFrame));
        assert_eq!(StreamError::TooLarge { octets: 9, limit: 8 }.malformed(), None);
    }

    #[test]
    fn rfc9329_4_prefix_is_matched_octet_by_octet() {
        for known in 0..6 {
            let (_, end, prefix) = read(Stream::from_initiator(), &[&PREFIX[..known]], 100);
            assert_eq!((end, prefix), (Ok(known > 0), Prefix::Unknown), "{known}");
            for wrong in (0..=255).filter(|octet| *octet != PREFIX[known]) {
                let stream = [&PREFIX[..known], &[wrong]].concat();
                for cut in 0..=known {
                    let (before, behind) = stream.split_at(cut);
                    let (frames, end, prefix) =
                        read(Stream::from_initiator(), &[before, behind], 100);
                    assert_eq!((end, prefix), (Err(StreamError::NoPrefix), Prefix::Absent));
                    assert!(frames.is_empty());
                }
            }
        }
        let (_, end, prefix) = read(Stream::from_initiator(), &[&PREFIX], 100);
        assert_eq!((end, prefix), (Ok(false), Prefix::Present));
    }

    #[test]
    fn rfc9329_4_the_responder_sends_no_prefix() {
        let stream = sample();
        let (frames, end, prefix) = read(Stream::from_responder(), &[&stream[6..]], 400);
        assert_eq!((frames.len(), end, prefix), (5, Ok(false), Prefix::Absent));
        assert_eq!(frames[0].1, 0);
        // "IK" read as a length is no error of the framing yet; it is a long frame.
        let (frames, end, _) = read(Stream::from_responder(), &[&stream], MAX_CONTENT_OCTETS);
        assert_eq!((frames.len(), end), (0, Ok(true)));
    }

    #[test]
    fn every_split_yields_the_same_frames() {
        let stream = sample();
        let whole = read(Stream::from_initiator(), &[&stream], 300);
        assert_eq!(whole.0.len(), 5);
        for first in 0..=stream.len() {
            let (a, rest) = stream.split_at(first);
            assert_eq!(read(Stream::from_initiator(), &[a, rest], 300), whole, "{first}");
            for second in (0..=rest.len()).step_by(7) {
                let (b, c) = rest.split_at(second);
                assert_eq!(read(Stream::from_initiator(), &[a, b, &[], c], 300), whole);
            }
        }
        for size in 1..50 {
            let segments: Vec<_> = stream.chunks(size).collect();
            assert_eq!(read(Stream::from_initiator(), &segments, 300), whole, "{size}");
        }
    }

    #[test]
    fn every_end_says_whether_it_is_partial() {
        let stream = sample();
        let (frames, _, _) = read(Stream::from_initiator(), &[&stream], 300);
        let ends: Vec<_> = frames.iter().map(|frame| frame.1 + u64::from(frame.2)).collect();
        for end in 0..=stream.len() {
            let (found, partial, _) = read(Stream::from_initiator(), &[&stream[..end]], 300);
            let complete = ends.iter().filter(|at| **at <= end as u64).count();
            assert_eq!(found[..], frames[..complete]);
            let between = end == 0 || end == 6 || ends.contains(&(end as u64));
            assert_eq!(partial, Ok(!between), "{end}");
        }
    }

    /// The same stream must not be good or bad by how TCP portioned it.
    #[test]
    fn too_large_does_not_depend_on_the_split() {
        let stream = framed(&[&[1; 20], &[2; 21], &[3; 4]]);
        let error = StreamError::TooLarge { octets: 21, limit: 20 };
        for cut in 0..=stream.len() {
            let (before, behind) = stream.split_at(cut);
            let (frames, end, _) = read(Stream::from_initiator(), &[before, behind], 20);
            assert_eq!((frames.len(), end), (1, Err(error)), "{cut}");
            let (frames, end, _) = read(Stream::from_initiator(), &[before, behind], 21);
            assert_eq!((frames.len(), end), (3, Ok(false)));
        }
    }

    #[test]
    fn a_frame_in_one_piece_is_lent_not_copied() {
        let octets = framed(&[&[1; 20], &[2; 20]]);
        let mut stream = Stream::from_initiator();
        let mut buffer = [0xee; 20];
        let mut rest = &octets[..40];
        let found = stream.next_frame(&mut rest, &mut buffer).unwrap().unwrap();
        assert_eq!(found.content.as_ptr_range().start, octets[8..].as_ptr());
        assert_eq!(stream.next_frame(&mut rest, &mut buffer), Ok(None));
        assert_eq!(buffer[..10], [2; 10]);
        assert_eq!(buffer[10..], [0xee; 10]);
        let mut rest = &octets[40..];
        let found = stream.next_frame(&mut rest, &mut buffer).unwrap().unwrap();
        assert_eq!(found.content, [2; 20]);
    }

    #[test]
    fn the_largest_frame_passes() {
        let content = vec![0x5a; MAX_CONTENT_OCTETS];
        let mut stream = PREFIX.to_vec();
        stream.extend([0xff, 0xff]);
        stream.extend(&content);
        let segments: Vec<_> = stream.chunks(1460).collect();
        let (frames, end, _) = read(Stream::from_initiator(), &segments, MAX_CONTENT_OCTETS);
        assert_eq!(frames, [(1, 6, 0xffff, content)]);
        assert_eq!(end, Ok(false));
    }

    /// Misuse, a buffer that shrinks between two calls, is refused and not a panic.
    #[test]
    fn a_buffer_that_shrinks_is_too_small() {
        let octets = framed(&[&[1; 20]]);
        let mut stream = Stream::from_initiator();
        let mut rest = &octets[..20];
        assert_eq!(stream.next_frame(&mut rest, &mut [0; 20]), Ok(None));
        let mut rest = &octets[20..];
        let error = StreamError::TooLarge { octets: 20, limit: 5 };
        assert_eq!(stream.next_frame(&mut rest, &mut [0; 5]), Err(error));
    }

    /// The streams of the conformance samples.
    #[test]
    fn conformance_streams() {
        let esp = |number, stream_offset: u64, sequence: u8| {
            (number, stream_offset, 10, vec![0x36, 0x12, 0x3e, 0x0e, 0, 0, 0, sequence])
        };
        let two = b"IKETCP\0\x0a\x36\x12\x3e\x0e\0\0\0\x01\0\x0a\x36\x12\x3e\x0e\0\0\0\x02";
        let found = read(Stream::from_initiator(), &[two], 1500);
        assert_eq!(found, (vec![esp(1, 6, 1), esp(2, 16, 2)], Ok(false), Prefix::Present));
        let found = read(Stream::from_initiator(), &[b"IKETCP\0\0"], 1500);
        assert_eq!(found, (vec![], Err(StreamError::Length), Prefix::Present));
        let partial = b"IKETCP\0\x0c\x36\x12\x3e\x0e\0\0";
        let found = read(Stream::from_initiator(), &[partial], 1500);
        assert_eq!(found, (vec![], Ok(true), Prefix::Present));
    }

    #[test]
    fn the_state_is_small() {
        assert!(size_of::<Stream>() <= 40, "{}", size_of::<Stream>());
    }

    proptest! {
        /// Against the plain way: take the whole stream, then cut it.
        #[test]
        fn agrees_with_the_plain_way(
            octets in proptest::collection::vec(
                prop_oneof![2 => Just(0), 1 => 0..12_u8, 1 => any::<u8>()], 0..120),
            prefixed in any::<bool>(),
            sizes in proptest::collection::vec(1..40_usize, 1..20),
        ) {
            let octets = if prefixed { [&PREFIX[..], &octets].concat() } else { octets };
            let limit = 30;
            let mut expected = Vec::new();
            let mut at = 6;
            let end = if octets.iter().zip(&PREFIX).any(|(a, b)| a != b) {
                Err(StreamError::NoPrefix)
            } else {
                loop {
                    let Some(field) = octets.get(at..at + 2) else {
                        break Ok(octets.len() != at && !octets.is_empty());
                    };
                    let length = u16::from_be_bytes([field[0], field[1]]);
                    if length < 2 {
                        break Err(StreamError::Length);
                    }
                    if usize::from(length) - 2 > limit {
                        break Err(StreamError::TooLarge { octets: length - 2, limit });
                    }
                    let Some(content) = octets.get(at + 2..at + usize::from(length)) else {
                        break Ok(true);
                    };
                    let number = expected.len() as u64 + 1;
                    expected.push((number, at as u64, length, content.to_vec()));
                    at += usize::from(length);
                }
            };
            let mut segments = Vec::new();
            let mut rest = &octets[..];
            for size in sizes.iter().cycle() {
                let (segment, behind) = rest.split_at((*size).min(rest.len()));
                segments.push(segment);
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            let found = read(Stream::from_initiator(), &segments, limit);
            prop_assert_eq!(found.0, expected);
            prop_assert_eq!(found.1, end);
        }
    }
}
