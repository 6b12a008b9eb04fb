//! What a TCP connection is followed by: its segments, and how far it is.

use core::fmt;

use bytemuck::Zeroable;

use crate::gate::flow::FlowKey;

/// The control bits of a TCP segment (RFC 9293 section 3.1), its 14th octet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Start of a connection.
    pub const SYN: Self = Self(0x02);
    /// Reset.
    pub const RST: Self = Self(0x04);
    /// The acknowledgement number counts.
    pub const ACK: Self = Self(0x10);
    /// Both: the second segment of a handshake.
    pub const SYN_ACK: Self = Self(0x12);

    /// True if all bits of `others` are set.
    pub const fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// True for the first segment of a connection: SYN without ACK, RST and FIN.
    pub const fn is_syn(self) -> bool {
        self.0 & (Self::SYN_ACK.0 | Self::RST.0 | Self::FIN.0) == Self::SYN.0
    }
}

/// Letters: `S`, `SA`, `A`, `FA`, `R`; PSH is `P`, URG is `U`.
impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters =
            [(0x02, "S"), (0x01, "F"), (0x04, "R"), (0x08, "P"), (0x20, "U"), (0x10, "A")];
        letters.iter().filter(|(bit, _)| self.0 & bit != 0).try_for_each(|(_, at)| f.write_str(at))
    }
}

impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpFlags({self})")
    }
}

/// What counts of a TCP segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Addresses, protocol and ports as the packet says them.
    pub key: FlowKey,
    /// Control bits.
    pub flags: TcpFlags,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number; read if the ACK bit is set.
    pub ack: u32,
    /// Octets of data.
    pub payload_octets: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Connection {
    pub(super) came_in: u32,
    /// The number that the peer's next segment starts with, as this box last acknowledged.
    pub(super) next: u32,
    /// Half open: the number that the peer has to repeat. Later: the end of the peer's FIN.
    pub(super) mark: u32,
    /// When it was closed, modulo 2^32 ms.
    pub(super) closed_ms: u32,
    pub(super) stage: u32,
}

// SAFETY: integers; all zero is valid.
#[allow(unsafe_code)]
unsafe impl Zeroable for Connection {}

impl Connection {
    pub(super) const ESTABLISHED: u32 = 1;
    /// `mark` is known.
    const MARKED: u32 = 2;
    /// The peer's FIN is acknowledged.
    const FIN_IN: u32 = 4;
    const FIN_OUT: u32 = 8;
    pub(super) const CLOSED: u32 = 16;
    /// `next` is known.
    pub(super) const NUMBERED: u32 = 32;

    pub(super) fn is(&self, stage: u32) -> bool {
        self.stage & stage == stage
    }

    pub(super) fn half_open(&self) -> u32 {
        u32::from(!self.is(Self::ESTABLISHED))
    }

    /// True if segments can have brought a connection this far.
    pub(super) fn is_possible(&self) -> bool {
        if self.stage >= Self::NUMBERED << 1 {
            return false;
        }
        if !self.is(Self::ESTABLISHED) {
            return self.stage & !Self::MARKED == Self::NUMBERED;
        }
        let both_fins = self.is(Self::FIN_IN | Self::FIN_OUT);
        both_fins == self.is(Self::CLOSED) && (!self.is(Self::FIN_IN) || self.is(Self::MARKED))
    }

    /// Takes note of a segment of the peer.
    pub(super) fn hears(&mut self, segment: &Segment) {
        let Segment { flags, seq, ack, payload_octets, .. } = *segment;
        if !self.is(Self::ESTABLISHED) {
            let repeats = self.is(Self::MARKED) && flags.has(TcpFlags::ACK) && ack == self.mark;
            if repeats && !flags.has(TcpFlags::SYN) {
                self.stage = Self::ESTABLISHED | Self::NUMBERED;
            } else {
                return;
            }
        }
        if flags.has(TcpFlags::FIN) && !self.is(Self::FIN_IN) {
            self.mark = seq.wrapping_add(payload_octets).wrapping_add(1);
            self.stage |= Self::MARKED;
        }
    }

    /// Takes note of a segment of this box.
    pub(super) fn says(&mut self, segment: &Segment, now_ms: u64) {
        let Segment { flags, seq, ack, .. } = *segment;
        if flags.has(TcpFlags::ACK) {
            self.next = ack;
            self.stage |= Self::NUMBERED;
        }
        if !self.is(Self::ESTABLISHED) {
            if flags.has(TcpFlags::SYN_ACK) {
                self.mark = seq.wrapping_add(1);
                self.stage |= Self::MARKED;
            }
            return;
        }
        if flags.has(TcpFlags::ACK) && self.is(Self::MARKED) && ack == self.mark {
            self.stage |= Self::FIN_IN;
        }
        if flags.has(TcpFlags::FIN) {
            self.stage |= Self::FIN_OUT;
        }
        if self.is(Self::FIN_IN | Self::FIN_OUT) && !self.is(Self::CLOSED) {
            self.stage |= Self::CLOSED;
            self.closed_ms = now_ms as u32;
        }
    }
}
