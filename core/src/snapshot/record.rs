//! Records, and their octets. The layout is in the module above.

use core::hash::Hasher;
use core::net::IpAddr;

use siphasher::sip::SipHasher24;

use super::{RECORD_OCTETS, RecordError};
use crate::gate::flow::FlowKey;
use crate::gate::passthrough::{DecidedBy, Origin, PassPacket, RuleId, Traffic};
use crate::gate::session::Side;
use crate::headers::{Encap, Endpoints, Family, Ipsec, Spi, protocol};
use crate::sad::replay::MAX_WINDOW;
use crate::sad::{Lifetime, Limit, Replay, ReplayStart, SaKey, SaMode, Scope};

const MAGIC: [u8; 2] = [0x45, 0x53];
const VERSION: u8 = 1;

/// An SA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SaRecord {
    /// What it is found by.
    pub key: SaKey,
    /// The caller's name of the Child SA that it belongs to.
    pub child: u64,
    /// Tunnel or transport mode.
    pub mode: SaMode,
    /// The encapsulation its packets must come in.
    pub encap: Encap,
    /// Window, ESN, and where the window goes on: at the highest number, if a packet was seen.
    pub replay: Replay,
    /// Limits. [`Limit::at_ms`] is no time here but the milliseconds that are left, 0 if none are.
    pub lifetime: Lifetime,
    /// Packets and octets counted against them.
    pub used: [u64; 2],
    /// The soft limit was told.
    pub told: bool,
    /// Packets and octets accepted.
    pub accepted: [u64; 2],
}

/// A local session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionRecord {
    /// Addresses, protocol and ports, with the box as the source.
    pub key: FlowKey,
    /// Who sent its first packet.
    pub origin: Side,
    /// Milliseconds since its first packet.
    pub age_ms: u64,
    /// Milliseconds since its last match.
    pub idle_ms: u64,
}

/// A connection of IKE over TCP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PinRecord {
    /// Addresses and ports, with the box as the source.
    pub key: FlowKey,
    /// Where its SYN came in, in the numbers of the node that wrote this. Another number may be put here.
    pub interface: u32,
    /// Milliseconds since its last segment.
    pub idle_ms: u64,
    pub(crate) next: u32,
    pub(crate) mark: u32,
    pub(crate) stage: u32,
    pub(crate) closed_for_ms: u32,
}

/// A flow of someone else's tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowRecord {
    /// As the packet that made it says.
    pub key: FlowKey,
    /// Who admitted it.
    pub origin: Origin,
    /// Milliseconds since it was made.
    pub age_ms: u64,
    /// Milliseconds since its last packet.
    pub idle_ms: u64,
}

impl FlowRecord {
    /// A packet of the flow: which worker it goes to, [`Spread`](crate::gate::passthrough::Spread) says. Of flows
    /// without SPI the SPI is 0.
    pub fn packet(&self) -> PassPacket {
        let FlowKey { endpoints, protocol, src_port, dst_port } = self.key;
        let spi = Spi(u32::from(src_port) << 16 | u32::from(dst_port));
        let traffic = match protocol {
            protocol::ESP => Traffic::Esp(spi),
            protocol::AH => Traffic::Ah(spi),
            protocol::UDP => Traffic::Udp { src: src_port, dst: dst_port },
            other => Traffic::Fragment(other),
        };
        PassPacket { endpoints, traffic }
    }
}

/// One record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Record {
    /// An SA, for [`Control::restore_sa`](crate::Control::restore_sa).
    Sa(SaRecord),
    /// A session, for [`Sessions::restore`](crate::gate::session::Sessions::restore).
    Session(SessionRecord),
    /// A connection, for [`ReplyPath::restore`](crate::gate::reply_path::ReplyPath::restore).
    Pin(PinRecord),
    /// A flow, for [`Passthrough::restore`](crate::gate::passthrough::Passthrough::restore).
    Flow(FlowRecord),
    /// The last one.
    End,
}

impl Record {
    const fn kind(&self) -> u8 {
        match self {
            Self::Sa(_) => 1,
            Self::Session(_) => 2,
            Self::Pin(_) => 3,
            Self::Flow(_) => 4,
            Self::End => 255,
        }
    }

    /// The same, some time after it was written.
    #[must_use]
    pub(super) fn later(mut self, ms: u64) -> Self {
        match &mut self {
            Self::Sa(sa) => {
                for limit in [&mut sa.lifetime.soft, &mut sa.lifetime.hard] {
                    limit.at_ms = limit.at_ms.map(|left| left.saturating_sub(ms));
                }
            }
            Self::Session(SessionRecord { age_ms, idle_ms, .. })
            | Self::Flow(FlowRecord { age_ms, idle_ms, .. }) => {
                *age_ms = age_ms.saturating_add(ms);
                *idle_ms = idle_ms.saturating_add(ms);
            }
            Self::Pin(pin) => {
                pin.idle_ms = pin.idle_ms.saturating_add(ms);
                let ms = u32::try_from(ms).unwrap_or(u32::MAX);
                pin.closed_for_ms = pin.closed_for_ms.saturating_add(ms);
            }
            Self::End => {}
        }
        self
    }
}

/// What a record says of itself.
pub(super) struct Header {
    pub(super) number: u32,
}

/// Records of one snapshot as octets.
#[derive(Clone)]
pub(super) struct Octets {
    key: [u64; 2],
    id: u64,
}

/// The key is secret.
impl core::fmt::Debug for Octets {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Octets").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Octets {
    pub(super) const fn new(key: [u64; 2], id: u64) -> Self {
        Self { key, id }
    }

    fn checksum(&self, octets: &[u8]) -> u64 {
        let [k0, k1] = self.key;
        let mut hasher = SipHasher24::new_with_keys(k0, k1);
        // Octet by octet, so it is the same on every host.
        hasher.write(octets);
        hasher.finish()
    }

    pub(super) fn write(&self, record: &Record, number: u32) -> [u8; RECORD_OCTETS] {
        let mut octets = [0; RECORD_OCTETS];
        if let Some((body, checksum)) = octets.split_last_chunk_mut::<8>() {
            let mut out = Put(&mut *body);
            out.octets(MAGIC);
            out.octets([VERSION, record.kind()]);
            out.u32(number);
            out.u64(self.id);
            match record {
                Record::Sa(sa) => put_sa(&mut out, sa),
                Record::Session(session) => put_session(&mut out, session),
                Record::Pin(pin) => put_pin(&mut out, pin),
                Record::Flow(flow) => put_flow(&mut out, flow),
                Record::End => {}
            }
            *checksum = self.checksum(body).to_le_bytes();
        }
        octets
    }

    pub(super) fn read(
        &self,
        octets: &[u8; RECORD_OCTETS],
    ) -> Result<(Header, Record), RecordError> {
        let (body, checksum) = octets.split_last_chunk::<8>().ok_or(RecordError::Damaged)?;
        let mut from = Get(body);
        let magic = from.octets::<2>();
        let [version, kind] = from.octets();
        if magic != MAGIC || u64::from_le_bytes(*checksum) != self.checksum(body) {
            return Err(RecordError::Damaged);
        }
        if version != VERSION {
            return Err(RecordError::Version { version });
        }
        let (number, id) = (from.u32(), from.u64());
        if id != self.id {
            return Err(RecordError::OtherSnapshot { id });
        }
        let record = match kind {
            1 => get_sa(&mut from).map(Record::Sa),
            2 => get_session(&mut from).map(Record::Session),
            3 => get_pin(&mut from).map(Record::Pin),
            4 => get_flow(&mut from).map(Record::Flow),
            255 => Some(Record::End),
            _ => None,
        };
        let record = record.ok_or(RecordError::Malformed)?;
        // One form only: unknown flags, and what should be 0, are found without being named.
        if differ(&self.write(&record, number), octets) {
            return Err(RecordError::Malformed);
        }
        Ok((Header { number }, record))
    }
}

/// Whether any octet does. Octet by octet: of two arrays the compiler makes a call of `bcmp`, which a program without
/// a C library has not.
fn differ(a: &[u8; RECORD_OCTETS], b: &[u8; RECORD_OCTETS]) -> bool {
    a.iter().zip(b).fold(0, |bits, (a, b)| bits | (a ^ b)) != 0
}

/// Little-endian fields, one behind the other; what does not fit is not written.
struct Put<'o>(&'o mut [u8]);

impl Put<'_> {
    fn octets<const N: usize>(&mut self, field: [u8; N]) {
        if let Some((room, rest)) = core::mem::take(&mut self.0).split_first_chunk_mut::<N>() {
            *room = field;
            self.0 = rest;
        }
    }

    fn u16(&mut self, field: u16) {
        self.octets(field.to_le_bytes());
    }

    fn u32(&mut self, field: u32) {
        self.octets(field.to_le_bytes());
    }

    fn u64(&mut self, field: u64) {
        self.octets(field.to_le_bytes());
    }

    /// Destination, source.
    fn addrs(&mut self, endpoints: Endpoints) {
        let (dst, src) = match endpoints {
            Endpoints::V4 { src, dst } => (u128::from(dst), u128::from(src)),
            Endpoints::V6 { src, dst } => (dst, src),
        };
        self.octets(dst.to_le_bytes());
        self.octets(src.to_le_bytes());
    }
}

/// The same, read; 0 behind the end.
struct Get<'o>(&'o [u8]);

impl Get<'_> {
    fn octets<const N: usize>(&mut self) -> [u8; N] {
        let Some((field, rest)) = self.0.split_first_chunk::<N>() else { return [0; N] };
        self.0 = rest;
        *field
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.octets())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.octets())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.octets())
    }

    fn addrs(&mut self, is_v6: bool) -> Endpoints {
        let [dst, src] = [self.octets(), self.octets()].map(u128::from_le_bytes);
        match is_v6 {
            true => Endpoints::V6 { src, dst },
            // What is above the low half words is found when the record is written again.
            false => Endpoints::V4 { src: src as u32, dst: dst as u32 },
        }
    }
}

const AH: u32 = 1;
const DESTINATION: u32 = 1 << 1;
const SOURCE: u32 = 1 << 2;
const V6: u32 = 1 << 3;
const TRANSPORT: u32 = 1 << 4;
const ENCAP_SHIFT: u32 = 5;
const ESN: u32 = 1 << 7;
const SEEN: u32 = 1 << 8;
const TOLD: u32 = 1 << 9;
/// The first of six.
const LIMIT: u32 = 1 << 10;
const WINDOW_SHIFT: u32 = 16;

fn flag(bits: u32, is_set: bool) -> u32 {
    if is_set { bits } else { 0 }
}

fn limits(lifetime: &Lifetime) -> [Option<u64>; 6] {
    let Lifetime { soft, hard } = lifetime;
    [soft.packets, soft.octets, soft.at_ms, hard.packets, hard.octets, hard.at_ms]
}

fn put_sa(out: &mut Put<'_>, sa: &SaRecord) {
    let SaKey { ipsec, spi, scope } = sa.key;
    let (of_scope, endpoints) = match scope {
        Scope::Spi => (0, Endpoints::V4 { src: 0, dst: 0 }),
        Scope::Destination(IpAddr::V4(dst)) => {
            (DESTINATION, Endpoints::V4 { src: 0, dst: dst.to_bits() })
        }
        Scope::Destination(IpAddr::V6(dst)) => {
            (DESTINATION, Endpoints::V6 { src: 0, dst: dst.to_bits() })
        }
        Scope::DestinationSource(both) => (DESTINATION | SOURCE, both),
    };
    let encap: u32 = match sa.encap {
        Encap::None => 0,
        Encap::Udp => 1,
        Encap::Tcp => 2,
    };
    let Replay { window, esn, start } = sa.replay;
    let (is_seen, top) = match start {
        ReplayStart::High(high) => (false, u64::from(high) << 32),
        ReplayStart::Top(top) => (true, top),
    };
    let limits = limits(&sa.lifetime);
    let of_limits = (0_u32..).zip(&limits);
    let of_limits =
        of_limits.fold(0, |flags, (at, limit)| flags | flag(LIMIT << at, limit.is_some()));
    out.u32(spi.0);
    out.u32(
        flag(AH, ipsec == Ipsec::Ah)
            | of_scope
            | flag(V6, endpoints.family() == Family::V6)
            | flag(TRANSPORT, sa.mode == SaMode::Transport)
            | encap << ENCAP_SHIFT
            | flag(ESN, esn)
            | flag(SEEN, is_seen)
            | flag(TOLD, sa.told)
            | of_limits
            | window << WINDOW_SHIFT,
    );
    out.addrs(endpoints);
    out.u64(sa.child);
    out.u64(top);
    sa.used.iter().for_each(|&count| out.u64(count));
    limits.iter().for_each(|limit| out.u64(limit.unwrap_or(0)));
    sa.accepted.iter().for_each(|&count| out.u64(count));
}

fn get_sa(from: &mut Get<'_>) -> Option<SaRecord> {
    let (spi, flags) = (from.u32(), from.u32());
    let has = |bits: u32| flags & bits == bits;
    let endpoints = from.addrs(has(V6));
    let ipsec = if has(AH) { Ipsec::Ah } else { Ipsec::Esp };
    let dst = has(DESTINATION).then(|| endpoints.dst());
    let src = has(SOURCE).then(|| endpoints.src());
    let key = SaKey::new(ipsec, Spi(spi), dst, src).ok()?;
    let (child, top) = (from.u64(), from.u64());
    let used = [from.u64(), from.u64()];
    let mut limit = |at: u32| {
        let limit = from.u64();
        has(LIMIT << at).then_some(limit)
    };
    let mut three = |at: u32| Limit {
        packets: limit(at),
        octets: limit(at.saturating_add(1)),
        at_ms: limit(at.saturating_add(2)),
    };
    let lifetime = Lifetime { soft: three(0), hard: three(3) };
    let accepted = [from.u64(), from.u64()];
    let window = flags >> WINDOW_SHIFT;
    // Without ESN a number has 32 bits.
    if window > MAX_WINDOW || !has(ESN) && top > u64::from(u32::MAX) {
        return None;
    }
    let start =
        if has(SEEN) { ReplayStart::Top(top) } else { ReplayStart::High((top >> 32) as u32) };
    Some(SaRecord {
        key,
        child,
        mode: if has(TRANSPORT) { SaMode::Transport } else { SaMode::Tunnel },
        encap: match flags >> ENCAP_SHIFT & 3 {
            0 => Encap::None,
            1 => Encap::Udp,
            2 => Encap::Tcp,
            _ => return None,
        },
        replay: Replay { window, esn: has(ESN), start },
        lifetime,
        used,
        told: has(TOLD),
        accepted,
    })
}

/// What sessions, pins and flows have in common, up to octet 72.
fn put_flow_key(out: &mut Put<'_>, key: &FlowKey, age_ms: u64, idle_ms: u64) {
    out.octets([key.protocol, u8::from(key.endpoints.family() == Family::V6)]);
    out.u16(key.src_port);
    out.u16(key.dst_port);
    out.u16(0);
    out.addrs(key.endpoints);
    out.u64(age_ms);
    out.u64(idle_ms);
}

fn get_flow_key(from: &mut Get<'_>) -> (FlowKey, u64, u64) {
    let [protocol, flags] = from.octets();
    let [src_port, dst_port, _] = [from.u16(), from.u16(), from.u16()];
    let endpoints = from.addrs(flags & 1 == 1);
    (FlowKey { endpoints, protocol, src_port, dst_port }, from.u64(), from.u64())
}

fn put_session(out: &mut Put<'_>, session: &SessionRecord) {
    put_flow_key(out, &session.key, session.age_ms, session.idle_ms);
    out.u32(u32::from(session.origin == Side::Remote));
}

fn get_session(from: &mut Get<'_>) -> Option<SessionRecord> {
    let (key, age_ms, idle_ms) = get_flow_key(from);
    let origin = if from.u32() == 0 { Side::Local } else { Side::Remote };
    Some(SessionRecord { key, origin, age_ms, idle_ms })
}

fn put_pin(out: &mut Put<'_>, pin: &PinRecord) {
    put_flow_key(out, &pin.key, 0, pin.idle_ms);
    [pin.interface, pin.next, pin.mark, pin.stage, pin.closed_for_ms]
        .into_iter()
        .for_each(|field| out.u32(field));
}

fn get_pin(from: &mut Get<'_>) -> Option<PinRecord> {
    let (key, _, idle_ms) = get_flow_key(from);
    let [interface, next, mark] = [from.u32(), from.u32(), from.u32()];
    let [stage, closed_for_ms] = [from.u32(), from.u32()];
    Some(PinRecord { key, interface, idle_ms, next, mark, stage, closed_for_ms })
}

fn put_flow(out: &mut Put<'_>, flow: &FlowRecord) {
    put_flow_key(out, &flow.key, flow.age_ms, flow.idle_ms);
    let (by, rule) = match flow.origin {
        Origin::Decided(DecidedBy::Default) => (0, 0),
        Origin::Decided(DecidedBy::Rule(RuleId(id))) => (1, id),
        Origin::Alg => (2, 0),
    };
    out.u32(by);
    out.u32(rule);
}

fn get_flow(from: &mut Get<'_>) -> Option<FlowRecord> {
    let (key, age_ms, idle_ms) = get_flow_key(from);
    let origin = match (from.u32(), from.u32()) {
        (0, _) => Origin::Decided(DecidedBy::Default),
        (1, id) => Origin::Decided(DecidedBy::Rule(RuleId(id))),
        (2, _) => Origin::Alg,
        _ => return None,
    };
    Some(FlowRecord { key, origin, age_ms, idle_ms })
}
