//! What is said of one packet.

use std::io::Write;
use std::net::IpAddr;

use espial::headers::{InnerHeaders, NextLayer, OuterHeaders};
use espial::verdict::{Field, Modes, SpiClass};
use espial::{Selector, Spi};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::reason::{By, DropReason};
use super::through::Ended;
use super::way::Step;

/// What a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// ESP, in whatever encapsulation.
    Esp,
    /// AH.
    Ah,
    /// IKE.
    Ike,
    /// A NAT keepalive.
    NatKeepalive,
    /// Anything else.
    Other,
}

impl Class {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Esp => "esp",
            Self::Ah => "ah",
            Self::Ike => "ike",
            Self::NatKeepalive => "nat-keepalive",
            Self::Other => "other",
        }
    }
}

/// The verdict in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    /// May pass.
    Accept,
    /// Must not.
    Drop,
    /// Not for this check.
    Pass,
}

impl Word {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Drop => "drop",
            Self::Pass => "pass",
        }
    }
}

/// A frame of a TCP stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameAt {
    /// Its number in the stream's direction, from 1.
    pub number: u64,
    /// Its octets, the length field included.
    pub length: u16,
    /// Octets of the stream in front of it.
    pub stream_offset: u64,
}

/// One packet, or one frame of a TCP stream, and what became of it.
#[derive(Clone, Debug)]
pub struct Row<'c> {
    /// Number in the capture, from 1.
    pub packet: u64,
    /// The frame, for TCP streams.
    pub frame: Option<FrameAt>,
    /// Microseconds since 1970.
    pub time: i64,
    /// What it is.
    pub class: Class,
    /// Outer headers of ESP and AH.
    pub outer: Option<OuterHeaders>,
    /// Position of the SA in the configuration.
    pub sa: Option<usize>,
    /// Names of tunnel and Child SA of that SA.
    pub arrived: Option<(&'c str, &'c str)>,
    /// The verdict.
    pub word: Word,
    /// Why it was dropped.
    pub reason: Option<DropReason>,
    /// What is known of an unknown SPI.
    pub spi_class: Option<SpiClass>,
    /// The Child SA whose selectors cover it.
    pub belongs_to: Option<&'c str>,
    /// The field that differs.
    pub field: Option<Field>,
    /// The selector that came nearest, and its position.
    pub nearest: Option<(Selector, u32)>,
    /// The decrypted packet.
    pub inner: Option<InnerHeaders>,
    /// Shadow modes: asked, and which accept.
    pub shadow: Option<(Modes, Modes)>,
    /// Who decided, where tables around the selector check are configured.
    pub by: Option<By>,
    /// The id of the policy that decided.
    pub policy: Option<u32>,
    /// The name of the rule that decided.
    pub rule: Option<&'c str>,
    /// What a debug flow trace says of a drop.
    pub message: Option<String>,
    /// Name of the `[[interface]]` that it was captured on.
    pub interface: Option<&'c str>,
    /// Name of the `[[interface]]` that answers of its TCP connection leave by, or are to.
    pub reply_interface: Option<&'c str>,
    /// Flows of others that ended under the ALG and were told of with this packet.
    pub ended: Vec<Ended>,
    /// The headers of a packet that tables were asked about; not in the JSON form.
    pub headers: Option<InnerHeaders>,
    /// The way that it took, if it is to be explained; not in the JSON form.
    pub way: Option<Vec<Step>>,
}

impl<'c> Row<'c> {
    /// A row that says `pass`.
    pub fn pass(packet: u64, time: i64, class: Class) -> Self {
        Self {
            packet,
            frame: None,
            time,
            class,
            outer: None,
            sa: None,
            arrived: None,
            word: Word::Pass,
            reason: None,
            spi_class: None,
            belongs_to: None,
            field: None,
            nearest: None,
            inner: None,
            shadow: None,
            by: None,
            policy: None,
            rule: None,
            message: None,
            interface: None,
            reply_interface: None,
            ended: Vec::new(),
            headers: None,
            way: None,
        }
    }

    /// A table lets it go on.
    pub(super) fn accept(&mut self, by: By) {
        (self.word, self.by, self.policy) = (Word::Accept, Some(by), None);
    }

    /// A table drops it.
    pub(super) fn drop(&mut self, reason: DropReason) {
        (self.word, self.reason) = (Word::Drop, Some(reason));
    }

    /// Notes a step of its way, if that is to be explained.
    pub(super) fn note(&mut self, step: impl FnOnce() -> Step) {
        if let Some(way) = &mut self.way {
            way.push(step());
        }
    }

    /// The SPI of ESP and AH.
    pub fn spi(&self) -> Option<Spi> {
        self.outer.map(|outer| outer.spi)
    }

    /// Writes the row as one line of JSON.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, out: &mut dyn Write) -> std::io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        writeln!(out)
    }
}

/// The stable JSON form: absent fields are left out.
impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("packet", &self.packet)?;
        if let Some(frame) = &self.frame {
            map.serialize_entry("frame", &frame.number)?;
            map.serialize_entry("length", &frame.length)?;
            map.serialize_entry("stream_offset", &frame.stream_offset)?;
        }
        map.serialize_entry("time", &seconds(self.time))?;
        map.serialize_entry("class", self.class.name())?;
        if let Some(spi) = self.spi() {
            map.serialize_entry("spi", &spi.to_string())?;
        }
        if let Some((tunnel, child)) = self.arrived {
            map.serialize_entry("tunnel", tunnel)?;
            map.serialize_entry("child", child)?;
        }
        map.serialize_entry("verdict", self.word.name())?;
        if let Some(reason) = self.reason {
            map.serialize_entry("reason", reason.name())?;
        }
        if let Some(class) = self.spi_class {
            map.serialize_entry("spi_class", class.name())?;
            if let SpiClass::RecentlyDeleted { ago_ms } = class {
                map.serialize_entry("deleted_ago", &(f64::from(ago_ms) / 1000.0))?;
            }
        }
        if let Some(belongs_to) = self.belongs_to {
            map.serialize_entry("belongs_to", belongs_to)?;
        }
        if let Some(field) = self.field {
            map.serialize_entry("field", field.name())?;
        }
        if let Some(inner) = &self.inner {
            map.serialize_entry("inner", &Inner::of(inner))?;
        }
        if let Some((asked, accepts)) = self.shadow {
            map.serialize_entry("shadow", &Shadow { asked, accepts })?;
        }
        if let Some(by) = self.by {
            map.serialize_entry("by", by.name())?;
        }
        if let Some(policy) = self.policy {
            map.serialize_entry("policy", &policy)?;
        }
        if let Some(rule) = self.rule {
            map.serialize_entry("rule", rule)?;
        }
        if let Some(message) = &self.message {
            map.serialize_entry("message", message)?;
        }
        if let Some(interface) = self.interface {
            map.serialize_entry("interface", interface)?;
        }
        if let Some(interface) = self.reply_interface {
            map.serialize_entry("reply_interface", interface)?;
        }
        if !self.ended.is_empty() {
            map.serialize_entry("teardowns", &self.ended)?;
        }
        map.end()
    }
}

/// Microseconds as seconds.microseconds.
pub fn seconds(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

#[derive(Serialize)]
struct Inner {
    src: IpAddr,
    dst: IpAddr,
    proto: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    sport: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dport: Option<u16>,
}

impl Inner {
    fn of(inner: &InnerHeaders) -> Self {
        let (sport, dport) = match inner.next_layer {
            NextLayer::Ports { src, dst } => (Some(src), Some(dst)),
            _ => (None, None),
        };
        let (src, dst) = (inner.endpoints.src(), inner.endpoints.dst());
        Self { src, dst, proto: inner.protocol, sport, dport }
    }
}

struct Shadow {
    asked: Modes,
    accepts: Modes,
}

impl Serialize for Shadow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.asked.iter().map(|mode| {
            let word = if self.accepts.contains(mode) { Word::Accept } else { Word::Drop };
            (mode.name(), word.name())
        }))
    }
}
