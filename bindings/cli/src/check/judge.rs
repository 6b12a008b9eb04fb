//! One capture's gateway: the core's tables, and an opener for each SA.

use std::collections::HashMap;

use espial::control::{Control, SaParams};
use espial::error::SaError;
use espial::headers::{Endpoints, Outer, OuterHeaders};
use espial::inbound::{Arrival, Ingress};
use espial::names::Names;
use espial::sad::{Replay, ReplayStart, SaKey};
use espial::verdict::{Decision, Malformed, Reason, Refusal, Verdict};
use espial::wire::tcp_encap::{MAX_CONTENT_OCTETS, Prefix, Stream};
use espial::{Capacity, ChildId, Gateway, Ipsec, Opened, SaId, SaMode, TunnelId, Worker, wire};

use super::health::{self, LastEsp};
use super::measure::Speed;
use super::outer::{class_of, destination, source};
use super::reason::By;
use super::reply::Reply;
use super::row::{Class, FrameAt, Row, Word};
use super::tables::{At, Bound, PolicyCount, Rows, Tables, is_dropped};
use super::through::Ended;
use crate::capture::CapturePacket;
use crate::capture::tcp::{Content, Delivery, Flow, Reassembler, Side, StreamId};
use crate::config::local_in::LocalInConfig;
use crate::config::{GatewayConfig, SaConfig};
use crate::open::Opener;

/// A gateway that is large enough for a configuration.
///
/// # Errors
/// What does not fit, in words.
pub fn gateway_for(config: &GatewayConfig) -> Result<Gateway<'static>, String> {
    let children = config.tunnels.iter().flat_map(|tunnel| &tunnel.children);
    let selectors = children.clone().map(|child| child.local.len() * child.remote.len());
    let keys = |wanted: fn(&SaConfig) -> bool| config.sas().filter(|(_, _, sa)| wanted(sa)).count();
    // One more of each, since a capacity of 0 is refused and a configuration may be empty.
    let size =
        |n: usize| u32::try_from(n + 1).map_err(|_| String::from("too much for one gateway"));
    let capacity = Capacity {
        tunnels: size(config.tunnels.len())?,
        children: size(children.count())?,
        selectors: size(selectors.sum())?,
        sas: size(keys(|sa| sa.dst.is_none()))?,
        sas_dst: size(keys(|sa| sa.dst.is_some() && sa.src.is_none()))?,
        sas_dst_src: size(keys(|sa| sa.src.is_some()))?,
        sas_allocated: 0,
        replay_window: config.sas().map(|(_, _, sa)| sa.replay_window).max().unwrap_or(0),
        workers: 1,
    };
    // The seed keeps peers from choosing SPIs that collide; a recorded capture chooses nothing.
    Gateway::new(&capacity, [0x6573_7069_616c, 1]).map_err(|error| error.to_string())
}

/// What the packets of a configuration are judged in: its gateway, and the rows in which its policies count.
pub struct Room {
    gateway: Gateway<'static>,
    rows: Rows,
}

impl Room {
    /// Room for everything in a configuration.
    ///
    /// # Errors
    /// What does not fit, in words.
    pub fn for_config(config: &GatewayConfig) -> Result<Self, String> {
        Ok(Self { gateway: gateway_for(config)?, rows: Rows::for_config(config)? })
    }
}

/// An SA of the configuration.
struct SaState<'c> {
    tunnel: &'c str,
    child: &'c str,
    child_id: ChildId,
    config: &'c SaConfig,
    id: Option<SaId>,
    opener: Option<Opener>,
}

/// An SA is installed or deleted at a time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    time: i64,
    /// Deletions sort before installations: an SA exists until just before `deleted`.
    install: bool,
    sa: usize,
}

/// Judges the packets of one capture in their order.
pub struct Judge<'g, 'c> {
    config: &'c GatewayConfig,
    control: &'g mut Control<'static>,
    worker: Worker<'g>,
    tunnels: Vec<TunnelId>,
    children: Names<ChildId>,
    sas: Vec<SaState<'c>>,
    /// Position in `sas` of the SA in each slot of the core's table.
    by_slot: HashMap<u32, usize>,
    changes: std::iter::Peekable<std::vec::IntoIter<Change>>,
    now: i64,
    reassembler: Reassembler,
    streams: HashMap<StreamId, Deframer>,
    /// Flows whose originator sent the prefix of RFC 9329.
    encapsulated: HashMap<Flow, StreamId>,
    tables: Tables<'g, 'c>,
    /// The last packet that authenticated, by name of its tunnel.
    last_esp: HashMap<&'c str, LastEsp>,
    options: Options,
    nowhere: u64,
}

/// How packets are judged, beside what the configuration says.
#[derive(Clone, Default, Debug)]
pub struct Options {
    /// The interface of packets of which the capture says none.
    pub interface: Option<String>,
    /// Whether rows have the way that their packets took.
    pub explain: bool,
}

struct Deframer {
    stream: Stream,
    buffer: Vec<u8>,
}

/// Separates tunnel from Child SA in a directory of both; no name can hold it.
const SEPARATOR: char = '\u{0}';

impl<'g, 'c> Judge<'g, 'c> {
    /// Configures the gateway with everything but the SAs, which come and go with time.
    ///
    /// # Errors
    /// What does not fit, in words.
    pub fn new(
        config: &'c GatewayConfig,
        room: &'g mut Room,
        options: Options,
    ) -> Result<Self, String> {
        let named =
            options.interface.as_deref().filter(|name| config.gate.interface(name).is_none());
        if let Some(name) = named {
            return Err(format!("no [[interface]] is called `{name}`"));
        }
        let (control, mut workers) = room.gateway.split();
        let worker = workers.take().ok_or("no worker")?;
        let mut children = Names::new();
        let mut tunnels = Vec::new();
        let mut sas = Vec::new();
        for tunnel in &config.tunnels {
            let shadow = tunnel.shadow.iter().copied().collect();
            let id = control.add_tunnel(tunnel.mode, shadow).map_err(|e| e.to_string())?;
            tunnels.push(id);
            for child in &tunnel.children {
                let at = |error: &dyn std::fmt::Display| {
                    format!("line {}: child \"{}\": {error}", child.line, child.name)
                };
                let child_id =
                    control.add_child(id, &child.local, &child.remote).map_err(|e| at(&e))?;
                let name = format!("{}{SEPARATOR}{}", tunnel.name, child.name);
                children.insert(&name, child_id).map_err(|e| at(&e))?;
                for sa in &child.sas {
                    sas.push(SaState {
                        tunnel: &tunnel.name,
                        child: &child.name,
                        child_id,
                        config: sa,
                        id: None,
                        opener: Opener::new(sa),
                    });
                }
            }
        }
        control.publish().map_err(|e| e.to_string())?;
        let mut changes: Vec<_> = sas
            .iter()
            .enumerate()
            .flat_map(|(sa, state)| {
                let install = state.config.installed.unwrap_or(i64::MIN);
                let delete = state.config.deleted;
                let install = Change { time: install, install: true, sa };
                let delete = delete.map(|time| Change { time, install: false, sa });
                std::iter::once(install).chain(delete)
            })
            .collect();
        changes.sort();
        let mut judge = Self {
            config,
            control,
            worker,
            tunnels,
            children,
            sas,
            by_slot: HashMap::new(),
            changes: changes.into_iter().peekable(),
            now: i64::MIN,
            reassembler: Reassembler::new(),
            streams: HashMap::new(),
            encapsulated: HashMap::new(),
            tables: Tables::new(config, &mut room.rows)?,
            last_esp: HashMap::new(),
            options,
            nowhere: 0,
        };
        judge.advance(i64::MIN)?;
        Ok(judge)
    }

    /// The worker, to judge packets that were opened before.
    pub(super) fn worker(&mut self) -> &mut Worker<'g> {
        &mut self.worker
    }

    /// Counters of each tunnel as the core has them: packets, drops, Child SAs, those up.
    pub(super) fn tunnel_counts(&self) -> Vec<(u64, u64, u32, u32)> {
        let one = |id: &TunnelId| {
            let counts = self.control.tunnel_counts(*id).unwrap_or_default();
            let (total, up) = self.control.child_counts(*id).unwrap_or_default();
            (counts.packets, counts.all_drops(), total, up)
        };
        self.tunnels.iter().map(one).collect()
    }

    /// Installs and deletes the SAs that are due at `time`.
    fn advance(&mut self, time: i64) -> Result<(), String> {
        self.now = self.now.max(time);
        while let Some(change) = self.changes.next_if(|change| change.time <= self.now) {
            self.worker.quiescent();
            let Some(state) = self.sas.get_mut(change.sa) else { continue };
            if change.install {
                let SaConfig { spi, line, .. } = state.config;
                let params = params(state.config);
                let id = params.and_then(|params| self.control.add_sa(state.child_id, &params));
                let id = id.map_err(|error| format!("line {line}: SA {spi}: {error}"))?;
                state.id = Some(id);
                self.by_slot.insert(id.index(), change.sa);
            } else if let Some(id) = state.id.take() {
                let millis = millis(change.time);
                self.control.delete_sa(id, millis).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    /// Judges one packet of the capture and gives `sink` a row for it, or one for each frame that
    /// it completes.
    pub fn packet(
        &mut self,
        packet: &CapturePacket,
        speed: &mut Speed,
        sink: &mut dyn FnMut(Row<'c>),
    ) {
        // The configuration was validated: SAs with equal keys do not meet.
        if let Err(error) = self.advance(packet.time) {
            eprintln!("espial: packet {}: {error}", packet.number);
        }
        self.worker.quiescent();
        let (number, time) = (packet.number, packet.time);
        let at = self.at(packet);
        let row = |class| Row {
            interface: at
                .interface
                .and_then(|n| self.config.gate.interface_at(n))
                .map(|i| i.name.as_str()),
            way: self.options.explain.then(Vec::new),
            ..Row::pass(number, time, class)
        };
        let Some(ip) = packet.ip.as_deref() else {
            return sink(row(Class::Other));
        };
        let bound = self.tables.bound(source(ip), destination(ip));
        let row = row(class_of(ip));
        self.nowhere += u64::from(bound != Bound::Away && at.interface.is_none());
        let row = self.tables.judge(ip, bound, row, at);
        if is_dropped(&row) {
            return sink(row);
        }
        if let Some(delivery) = self.reassembler.push(number, ip)
            && self.is_ours(delivery.flow.dst.ip())
            && self.delivery(&delivery, &row, at, sink)
        {
            return;
        }
        if bound != Bound::Here {
            let outer = match wire::classify(ip) {
                Ok(Outer::Ipsec(outer)) => Some(outer),
                _ => None,
            };
            return sink(Row { outer, ..row });
        }
        let row = match self.worker.arrive(ip, ingress(time)) {
            Arrival::Pass(_) => row,
            Arrival::Drop(refusal) => {
                // There may be an SA to name.
                let outer = match wire::classify(ip) {
                    Ok(Outer::Ipsec(outer)) => Some(outer),
                    _ => None,
                };
                self.refused(Row { outer, ..row }, &refusal)
            }
            Arrival::Sa(sa, outer) => self.opened(row, sa, &outer, ip, at, speed),
        };
        sink(row);
    }

    /// When and where a packet was seen.
    fn at(&self, packet: &CapturePacket) -> At {
        let name = packet.interface.as_deref().or(self.options.interface.as_deref());
        let interface = name.and_then(|name| self.config.gate.interface(name));
        At { now_ms: millis(packet.time), interface }
    }

    /// Packets to or through the gateway that came in on no interface of the configuration, where
    /// that makes a difference.
    pub(super) fn nowhere(&self) -> u64 {
        let local_in = self.config.gate.local_in.as_ref();
        if local_in.is_some_and(LocalInConfig::names_interfaces) { self.nowhere } else { 0 }
    }

    /// SYNs whose answers leave by another interface than they came in on.
    pub(super) fn astray(&self) -> u64 {
        self.tables.reply.as_ref().map_or(0, Reply::astray)
    }

    /// What the policies of each list counted.
    pub(super) fn policy_counts(&self) -> Vec<PolicyCount> {
        self.tables.policy_counts()
    }

    /// Flows of others that ended by the last packet's time and were not told of with one.
    pub(super) fn ended_last(&mut self) -> Vec<Ended> {
        self.tables.ended_last(millis(self.now))
    }

    /// How it stands with the IKE of each tunnel, now: a sentence, and whether it is an alarm.
    pub(super) fn health(&self) -> Vec<(String, bool)> {
        let Some(local) = &self.tables.local else { return Vec::new() };
        let now_ms = millis(self.now);
        let of = |tunnel: &'c crate::config::TunnelConfig| {
            let live = self.sas.iter().filter(|sa| sa.tunnel == tunnel.name && sa.id.is_some());
            let live = u32::try_from(live.count()).unwrap_or(u32::MAX);
            let last = self.last_esp.get(tunnel.name.as_str());
            let health = health::of_tunnel(self.config, local, tunnel, live, last, now_ms)?;
            Some((format!("tunnel {}: {health}", tunnel.name), health.is_alarm()))
        };
        self.config.tunnels.iter().filter_map(of).collect()
    }

    fn is_ours(&self, dst: std::net::IpAddr) -> bool {
        self.config.addresses.is_empty() || self.config.addresses.contains(&dst)
    }

    /// Frames of a TCP stream. False if it is no stream of RFC 9329: then the segment is a packet
    /// like any other.
    fn delivery(
        &mut self,
        delivery: &Delivery,
        segment: &Row<'c>,
        at: At,
        sink: &mut dyn FnMut(Row<'c>),
    ) -> bool {
        let unreadable = Row {
            word: Word::Drop,
            reason: Some(Reason::Malformed(Malformed::TcpFrame).into()),
            class: Class::Other,
            ..segment.clone()
        };
        let responder = delivery.side == Side::Responder;
        if responder && !self.encapsulated.contains_key(&delivery.flow.reversed()) {
            return false;
        }
        let mut deframer = self.streams.remove(&delivery.stream).unwrap_or_else(|| Deframer {
            stream: if responder { Stream::from_responder() } else { Stream::from_initiator() },
            buffer: vec![0; MAX_CONTENT_OCTETS],
        });
        let Content::Octets(octets) = &delivery.content else {
            let known = deframer.stream.prefix() == Prefix::Present;
            if known {
                sink(unreadable);
            }
            return known;
        };
        let mut rest = octets.as_slice();
        let fault = loop {
            match deframer.stream.next_frame(&mut rest, &mut deframer.buffer) {
                Ok(Some(frame)) => {
                    let place = FrameAt {
                        number: frame.number,
                        length: frame.length,
                        stream_offset: frame.stream_offset,
                    };
                    let row = self.frame(&delivery.flow, frame.content, segment, at);
                    sink(Row { frame: Some(place), ..row });
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        let ours = responder || deframer.stream.prefix() != Prefix::Absent;
        if deframer.stream.prefix() == Prefix::Present {
            self.encapsulated.insert(delivery.flow, delivery.stream);
        }
        if ours && fault.is_none() {
            self.streams.insert(delivery.stream, deframer);
        } else {
            // No stream of ours, or one that cannot be followed: its memory is free.
            self.reassembler.forget(delivery.flow);
        }
        if ours && fault.is_some() {
            sink(unreadable);
        }
        ours
    }

    /// A frame of a segment that tables let in, as `segment` says.
    fn frame(&mut self, flow: &Flow, content: &[u8], segment: &Row<'c>, at: At) -> Row<'c> {
        let time = segment.time;
        let row = |class| {
            let is_ipsec = matches!(class, Class::Esp);
            let by = segment.by.map(|by| if is_ipsec { By::IpsecLocalIn } else { by });
            let word = if is_ipsec { Word::Pass } else { segment.word };
            let policy = segment.policy.filter(|_| !is_ipsec);
            Row { class, by, word, policy, ..segment.clone() }
        };
        let Some(endpoints) = Endpoints::new(flow.src.ip(), flow.dst.ip()) else {
            return row(Class::Other);
        };
        let (sport, dport) = (flow.src.port(), flow.dst.port());
        match wire::classify_tcp_frame(endpoints, sport, dport, content) {
            Ok(Outer::Ipsec(outer)) => match self.worker.lookup(&outer, ingress(time)) {
                Arrival::Sa(sa, outer) => {
                    // The frame is the ESP packet: it starts where the frame's content does.
                    let outer = OuterHeaders { offset: 0, ..outer };
                    self.opened(row(Class::Esp), sa, &outer, content, at, &mut Speed::default())
                }
                Arrival::Drop(refusal) => {
                    self.refused(Row { outer: Some(outer), ..row(Class::Esp) }, &refusal)
                }
                Arrival::Pass(_) => row(Class::Esp),
            },
            Ok(Outer::Ike) => row(Class::Ike),
            Ok(Outer::NatKeepalive) => row(Class::NatKeepalive),
            Ok(Outer::Other) => row(Class::Other),
            Err(reason) => Row { word: Word::Drop, reason: Some(reason.into()), ..row(Class::Esp) },
        }
    }

    /// A drop before the packet was opened: by its SA, if there is one.
    fn refused(&self, row: Row<'c>, refusal: &Refusal) -> Row<'c> {
        let sa = row.outer.and_then(|outer| self.sa_of(&outer));
        Row {
            word: Word::Drop,
            reason: Some(refusal.reason.into()),
            spi_class: refusal.spi_class,
            ..self.on_sa(row, sa)
        }
    }

    /// The installed SA whose key fits outer headers best.
    fn sa_of(&self, outer: &OuterHeaders) -> Option<usize> {
        let (dst, src) = (outer.endpoints.dst(), outer.endpoints.src());
        [(Some(dst), Some(src)), (Some(dst), None), (None, None)]
            .into_iter()
            .filter_map(|(dst, src)| SaKey::new(outer.ipsec, outer.spi, dst, src).ok())
            .find_map(|key| self.control.find_sa(&key))
            .and_then(|id| self.by_slot.get(&id.index()).copied())
    }

    fn on_sa(&self, row: Row<'c>, sa: Option<usize>) -> Row<'c> {
        let state = sa.and_then(|sa| self.sas.get(sa));
        Row { sa, arrived: state.map(|state| (state.tunnel, state.child)), ..row }
    }

    /// A packet on a known SA: decryption, then the check. `octets` holds the IPsec
    /// header at the offset that `outer` says.
    fn opened(
        &mut self,
        row: Row<'c>,
        id: SaId,
        outer: &OuterHeaders,
        octets: &[u8],
        at: At,
        speed: &mut Speed,
    ) -> Row<'c> {
        let sa = self.by_slot.get(&id.index()).copied();
        let row = self.on_sa(Row { outer: Some(*outer), ..row }, sa);
        let ingress = ingress(row.time);
        let opened = match sa.and_then(|sa| self.sas.get(sa)) {
            Some(state) => open(state, outer, octets),
            None => Err(Reason::NotOpened),
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(reason) => {
                let verdict = self.worker.report(id, outer, reason, ingress);
                return self.judged(row, &verdict, None);
            }
        };
        speed.sample(octets, opened.next_header, &opened.payload);
        if let Some((tunnel, _)) = row.arrived {
            let (interface, now_ms) = (at.interface, at.now_ms);
            self.last_esp.insert(tunnel, LastEsp { outer: *outer, interface, now_ms });
        }
        let (next_header, payload) = (opened.next_header, opened.payload.as_slice());
        let verdict = self.worker.check(&Opened { sa: id, outer, next_header, payload }, ingress);
        let mode = sa.and_then(|sa| self.sas.get(sa)).map(|state| state.config.mode);
        let inner = match mode {
            Some(SaMode::Transport) => wire::transport(outer.endpoints, next_header, payload),
            _ => wire::inner_expecting(next_header, payload),
        };
        let mut row = self.judged(row, &verdict, inner.ok());
        self.tables.protected(&mut row);
        row
    }

    fn judged(
        &self,
        row: Row<'c>,
        verdict: &Verdict,
        inner: Option<espial::InnerHeaders>,
    ) -> Row<'c> {
        let asked = verdict.shadow_asked;
        let shadow = (asked.bits() != 0).then_some((asked, verdict.shadow_accepts));
        let row = Row { inner, shadow, ..row };
        match &verdict.decision {
            Decision::Accept(_) => Row { word: Word::Accept, ..row },
            Decision::Drop(refusal) => Row {
                word: Word::Drop,
                reason: Some(refusal.reason.into()),
                spi_class: refusal.spi_class,
                belongs_to: refusal.belongs_to.and_then(|child| self.child_name(child)),
                field: refusal.field,
                nearest: {
                    let nearest = self.worker.nearest_selector();
                    let nearest = nearest.filter(|_| refusal.field.is_some());
                    nearest.map(|nearest| (nearest, refusal.nearest_index))
                },
                ..row
            },
        }
    }

    fn child_name(&self, id: ChildId) -> Option<&'c str> {
        let (tunnel, child) = self.children.name(id)?.split_once(SEPARATOR)?;
        let tunnel = self.config.tunnels.iter().find(|known| known.name == tunnel)?;
        tunnel.children.iter().find(|known| known.name == child).map(|known| known.name.as_str())
    }
}

/// What the core must know of an SA.
fn params(sa: &SaConfig) -> Result<SaParams, SaError> {
    let key = SaKey::new(sa.ipsec, sa.spi, sa.dst, sa.src)?;
    let start = ReplayStart::High(sa.sequence_high);
    let replay = Replay { window: sa.replay_window, esn: sa.esn, start };
    Ok(SaParams { mode: sa.mode, encap: sa.encap, replay, ..SaParams::new(key) })
}

/// RFC 4303 section 3.4.4: integrity and decryption.
fn open(
    state: &SaState<'_>,
    outer: &OuterHeaders,
    octets: &[u8],
) -> Result<crate::open::Opened, Reason> {
    let opener = state.opener.as_ref().ok_or(Reason::NotOpened)?;
    let offset = outer.offset as usize;
    match outer.ipsec {
        Ipsec::Esp => {
            let end = offset.saturating_add(outer.octets as usize);
            opener.open_esp(octets.get(offset..end).unwrap_or(&[]), outer.sequence_high)
        }
        Ipsec::Ah => opener.open_ah(octets, offset, outer.sequence_high),
    }
}

fn ingress(time: i64) -> Ingress {
    Ingress { now_ms: millis(time), interface: 0 }
}

fn millis(micros: i64) -> u64 {
    u64::try_from(micros / 1000).unwrap_or(0)
}
