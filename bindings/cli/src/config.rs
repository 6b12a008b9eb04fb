//! GATEWAY.toml: the inbound side of one gateway, read and checked.
//!
//! Owns the file format of `espial check`; knows nothing of packets. Configuration flow: may be
//! slow, may fail, never panics. The text is walked as a tree of spanned values, so every fault
//! names its line, and as many faults as can be told apart are reported at once.
//!
//! I1: no octet of a key is in a fault, in a `Debug` output or in memory after the configuration
//!     is dropped. Faults therefore never quote the value of an SA's keys or algorithms.
//! I2: times are read from the decimal text, not through a float, and are exact microseconds. (The
//!     nearest float of that many seconds, rounded, is the same until 2106.)
//! I3: two SAs with one lookup key never exist at the same time.

mod error;
pub mod gate;
pub mod local_in;
pub mod passthrough;
pub mod policy;
mod reader;
pub mod reply_path;
mod selector;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use espial::headers::{Encap, Ipsec, Spi};
use espial::preset::FortiOs;
use espial::sad::SaMode;
use espial::sad::replay::MAX_WINDOW;
use espial::selector::TrafficSelector;
use espial::verdict::Mode;
use toml::de::DeTable;
use zeroize::Zeroizing;

pub use error::{ConfigError, Fault};
use gate::GateConfig;
use reader::{Lines, Reader, Section};

/// Encryption of an ESP SA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encryption {
    /// None (RFC 2410).
    Null,
    /// AES in CBC mode (RFC 3602).
    AesCbc,
    /// AES in Galois/Counter Mode with a 16 octet ICV (RFC 4106).
    AesGcm16,
    /// ChaCha20 and Poly1305 (RFC 7634).
    ChaCha20Poly1305,
    /// Triple DES in CBC mode (RFC 2451).
    TripleDesCbc,
}

impl Encryption {
    const NAMES: [(&str, Self); 5] = [
        ("null", Self::Null),
        ("aes-cbc", Self::AesCbc),
        ("aes-gcm-16", Self::AesGcm16),
        ("chacha20-poly1305", Self::ChaCha20Poly1305),
        ("3des-cbc", Self::TripleDesCbc),
    ];

    /// The stable name, as the file spells it.
    pub fn name(self) -> &'static str {
        name_of(&Self::NAMES, self)
    }

    /// True if the cipher authenticates too, so that no integrity algorithm goes with it.
    pub fn is_aead(self) -> bool {
        matches!(self, Self::AesGcm16 | Self::ChaCha20Poly1305)
    }

    /// Lengths in octets that a key may have, salt included; none for NULL.
    fn key_octets(self) -> &'static [usize] {
        match self {
            Self::Null => &[],
            Self::AesCbc => &[16, 24, 32],
            Self::AesGcm16 => &[20, 28, 36],
            Self::ChaCha20Poly1305 => &[36],
            Self::TripleDesCbc => &[24],
        }
    }
}

/// Integrity algorithm of an SA.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Integrity {
    /// None, or part of the cipher.
    #[default]
    None,
    /// HMAC-SHA-1-96 (RFC 2404).
    HmacSha1_96,
    /// HMAC-SHA-256-128 (RFC 4868).
    HmacSha2_256_128,
    /// HMAC-SHA-384-192 (RFC 4868).
    HmacSha2_384_192,
    /// HMAC-SHA-512-256 (RFC 4868).
    HmacSha2_512_256,
}

impl Integrity {
    const NAMES: [(&str, Self); 5] = [
        ("none", Self::None),
        ("hmac-sha1-96", Self::HmacSha1_96),
        ("hmac-sha2-256-128", Self::HmacSha2_256_128),
        ("hmac-sha2-384-192", Self::HmacSha2_384_192),
        ("hmac-sha2-512-256", Self::HmacSha2_512_256),
    ];

    /// The stable name, as the file spells it.
    pub fn name(self) -> &'static str {
        name_of(&Self::NAMES, self)
    }
}

/// Key octets that are never printed and are overwritten when dropped.
#[derive(Clone)]
pub struct Key(Zeroizing<Vec<u8>>);

impl Key {
    /// The key itself.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Key {
    fn from(octets: &[u8]) -> Self {
        Self(Zeroizing::new(octets.to_vec()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} octets]", self.0.len())
    }
}

/// One gateway: what GATEWAY.toml says.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// The gateway's own addresses; ESP and AH to others pass. Empty: every address is its own.
    pub addresses: Vec<IpAddr>,
    /// The FortiOS version whose mode the tunnels have that name none.
    pub fortios: Option<FortiOs>,
    /// Tunnels in file order.
    pub tunnels: Vec<TunnelConfig>,
    /// The tables around the selector check.
    pub gate: GateConfig,
}

/// One tunnel: an IKE SA and its Child SAs.
#[derive(Clone, Debug)]
pub struct TunnelConfig {
    /// Name, unique in the file.
    pub name: String,
    /// The mode that decides: its own, or that of the gateway's FortiOS version, or strict-sa.
    pub mode: Mode,
    /// Line of `mode`, if the tunnel has one of its own.
    pub mode_line: Option<usize>,
    /// The address that the peer speaks IKE from.
    pub peer: Option<IpAddr>,
    /// The number of the interface that the peer is reached by.
    pub interface: Option<u32>,
    /// Modes that are counted and shown, not enforced.
    pub shadow: Vec<Mode>,
    /// Child SAs in file order.
    pub children: Vec<ChildConfig>,
    /// Line of `[[tunnel]]`, from 1.
    pub line: usize,
}

/// One Child SA: selectors, and the inbound SAs that carry them.
#[derive(Clone, Debug)]
pub struct ChildConfig {
    /// Name, unique in its tunnel.
    pub name: String,
    /// Local traffic selectors (inbound: the packet's destination).
    pub local: Vec<TrafficSelector>,
    /// Remote traffic selectors (inbound: the packet's source).
    pub remote: Vec<TrafficSelector>,
    /// Inbound SAs in file order.
    pub sas: Vec<SaConfig>,
    /// Line of `[[tunnel.child]]`, from 1.
    pub line: usize,
}

/// One inbound SA.
#[derive(Clone, Debug)]
pub struct SaConfig {
    /// SPI, never 0.
    pub spi: Spi,
    /// ESP or AH.
    pub ipsec: Ipsec,
    /// Tunnel or transport mode.
    pub mode: SaMode,
    /// Encapsulation of ESP; AH has none.
    pub encap: Encap,
    /// Outer destination, as part of the lookup key.
    pub dst: Option<IpAddr>,
    /// Outer source, as part of the lookup key; never without `dst`.
    pub src: Option<IpAddr>,
    /// Packets in the replay window; 0 is off.
    pub replay_window: u32,
    /// Extended sequence numbers.
    pub esn: bool,
    /// High half of the sequence number to start from; 0 without ESN.
    pub sequence_high: u32,
    /// Microseconds since 1970 from which on the SA exists.
    pub installed: Option<i64>,
    /// Microseconds since 1970 from which on it no longer exists; later than `installed`.
    pub deleted: Option<i64>,
    /// Cipher; `None`: not decrypted.
    pub encryption: Option<Encryption>,
    /// Key of the cipher, with the salt for AES-GCM and ChaCha20-Poly1305.
    pub encryption_key: Option<Key>,
    /// Integrity algorithm.
    pub integrity: Integrity,
    /// Key of the integrity algorithm.
    pub integrity_key: Option<Key>,
    /// Line of `[[tunnel.child.sa]]`, from 1.
    pub line: usize,
}

impl SaConfig {
    /// True if the SA exists at `time`, in microseconds since 1970: installed <= time < deleted.
    pub fn exists_at(&self, time: i64) -> bool {
        self.installed.is_none_or(|installed| installed <= time)
            && self.deleted.is_none_or(|deleted| time < deleted)
    }

    /// True if both exist at some time.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let starts_before_end = |a: &Self, b: &Self| {
            a.installed.is_none_or(|start| b.deleted.is_none_or(|end| start < end))
        };
        starts_before_end(self, other) && starts_before_end(other, self)
    }
}

impl GatewayConfig {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// The file cannot be read or is not UTF-8 (a fault without line), or as
    /// [`GatewayConfig::parse`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path).map(Zeroizing::new) {
            Ok(text) => Self::parse(&file, &text),
            Err(error) => Err(ConfigError::unreadable(file, &error)),
        }
    }

    /// Reads and checks `text`; `file` is its name in messages.
    ///
    /// # Errors
    /// Each fault names line, key, what is wrong and what would be right.
    ///
    /// # Examples
    /// ```
    /// use espial_cli::config::GatewayConfig;
    ///
    /// let text = "[[tunnel]]\nname = 't'\n[[tunnel.child]]\nname = 'c'\n\
    ///             local = ['10.0.0.0/8']\nremote = ['192.168.0.1']\n";
    /// assert_eq!(GatewayConfig::parse("g.toml", text).unwrap().tunnels[0].name, "t");
    ///
    /// let error = GatewayConfig::parse("g.toml", &text.replace("remote", "remot")).unwrap_err();
    /// assert!(error.to_string().contains("g.toml:6: remot: unknown key"));
    /// ```
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let lines = Lines::new(text);
        let mut reader = Reader::default();
        let (tree, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            errors.iter().for_each(|error| reader.syntax(error, &lines));
            return Err(ConfigError::new(file, reader.faults));
        }
        let config = gateway(&mut reader, Section::root(tree.get_ref(), &lines));
        if reader.faults.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError::new(file, reader.faults))
        }
    }

    /// Every SA with its Child SA and tunnel, in file order.
    pub fn sas(&self) -> impl Iterator<Item = (&TunnelConfig, &ChildConfig, &SaConfig)> {
        self.tunnels.iter().flat_map(|tunnel| {
            let children = tunnel.children.iter();
            children.flat_map(move |child| child.sas.iter().map(move |sa| (tunnel, child, sa)))
        })
    }
}

fn name_of<T: Copy + PartialEq>(names: &[(&'static str, T)], value: T) -> &'static str {
    names.iter().find(|(_, each)| *each == value).map_or("", |(name, _)| name)
}

const ROOT_KEYS: [&str; 9] = [
    "gateway",
    "tunnel",
    "interface",
    "address",
    "service",
    "local-in",
    "reply-path",
    "passthrough",
    "policy",
];

const GATEWAY_KEYS: [&str; 7] = [
    "addresses",
    "fortios",
    "ike-tcp-port",
    "session-ttl",
    "local-in-default",
    "schedules-on",
    "policy-order",
];

fn gateway(reader: &mut Reader, root: Section<'_>) -> GatewayConfig {
    reader.only(&root, &ROOT_KEYS);
    let (mut addresses, mut fortios) = (Vec::new(), None);
    let of_gateway = reader.table(&root, "gateway");
    let mut gate = gate::interfaces(reader, &root);
    if let Some(section) = &of_gateway {
        reader.only(section, &GATEWAY_KEYS);
        for item in reader.array(section, "addresses") {
            addresses.extend(reader.address(item));
        }
        fortios = section.get("fortios").and_then(|item| reader.fortios(item));
        gate.ike_tcp_port = section.get("ike-tcp-port").and_then(|item| reader.port(item));
    }
    for address in gate.interfaces.iter().flat_map(|interface| &interface.addresses) {
        if !addresses.contains(address) {
            addresses.push(*address);
        }
    }
    let mut tunnels: Vec<TunnelConfig> = Vec::new();
    let sections = reader.tables(&root, "tunnel");
    for section in sections {
        let Some(tunnel) = tunnel(reader, &section, fortios, &gate) else { continue };
        if let Some(first) = tunnels.iter().find(|first| first.name == tunnel.name) {
            let text =
                format!("\"{}\" is the name of the tunnel at line {}", first.name, first.line);
            reader.fault(section.line_of("name"), "name", text);
        }
        tunnels.push(tunnel);
    }
    gate.local_in = local_in::read(reader, &root, of_gateway.as_ref(), &gate);
    gate.reply_path = reply_path::read(reader, &root, &gate, fortios);
    gate.passthrough = passthrough::read(reader, &root);
    gate.spd = policy::read(reader, &root, of_gateway.as_ref(), &tunnels);
    let config = GatewayConfig { addresses, fortios, tunnels, gate };
    gate::check_addresses(reader, &root, &config.addresses);
    check_overlaps(reader, &config);
    config
}

/// The mode of a tunnel that names none.
fn default_mode(
    reader: &mut Reader,
    section: &Section<'_>,
    fortios: Option<FortiOs>,
) -> Option<Mode> {
    let Some(version) = fortios else { return Some(Mode::StrictSa) };
    let known = version.mode().map(|known| known.value);
    if known.is_none() {
        let names = Mode::ALL.map(|mode| format!("\"{}\"", mode.name())).join(", ");
        let text = format!(
            "is missing, and what FortiOS {version} does is not documented: write mode = one of {names}"
        );
        reader.fault(section.line, "mode", text);
    }
    known
}

fn tunnel(
    reader: &mut Reader,
    section: &Section<'_>,
    fortios: Option<FortiOs>,
    gate: &GateConfig,
) -> Option<TunnelConfig> {
    reader.only(section, &["name", "mode", "shadow", "peer", "interface", "child"]);
    let name = reader.name(section);
    let names = Mode::ALL.map(|mode| (mode.name(), mode));
    let mode = match section.get("mode") {
        Some(item) => reader.choice(item, &names),
        None => default_mode(reader, section, fortios),
    };
    let mode_line = section.get("mode").map(|item| item.line);
    let mut shadow = Vec::new();
    for item in reader.array(section, "shadow") {
        if let Some(mode) = reader.choice(item, &names) {
            if shadow.contains(&mode) {
                reader.fault(item.line, "shadow", format!("{} is there twice", mode.name()));
            }
            shadow.push(mode);
        }
    }
    let mut children: Vec<ChildConfig> = Vec::new();
    let sections = reader.tables(section, "child");
    for section in sections {
        let Some(child) = child(reader, &section) else { continue };
        if let Some(first) = children.iter().find(|first| first.name == child.name) {
            let text = format!(
                "\"{}\" is the name of this tunnel's Child SA at line {}",
                first.name, first.line
            );
            reader.fault(section.line_of("name"), "name", text);
        }
        children.push(child);
    }
    let peer = section.get("peer").and_then(|item| reader.address(item));
    let interface = section.get("interface");
    let interface = interface.and_then(|item| gate::interface_named(reader, gate, item));
    let (name, mode, line) = (name?, mode?, section.line);
    Some(TunnelConfig { name, mode, mode_line, peer, interface, shadow, children, line })
}

fn child(reader: &mut Reader, section: &Section<'_>) -> Option<ChildConfig> {
    reader.only(section, &["name", "local", "remote", "sa"]);
    let name = reader.name(section);
    let local = selector::list(reader, section, "local");
    let remote = selector::list(reader, section, "remote");
    let mut sas = Vec::new();
    let sections = reader.tables(section, "sa");
    for section in sections {
        sas.extend(sa(reader, &section));
    }
    let (name, local, remote) = (name?, local?, remote?);
    // The selectors are a cross product (RFC 7296 section 3.13): without a common family it is
    // empty, and the Child SA could accept nothing.
    let common = |l: &TrafficSelector| remote.iter().any(|r| r.addrs.family() == l.addrs.family());
    if !local.iter().any(common) {
        let text = "no address family in common with local".to_owned();
        reader.fault(section.line_of("remote"), "remote", text);
    }
    Some(ChildConfig { name, local, remote, sas, line: section.line })
}

const SA_KEYS: [&str; 15] = [
    "spi",
    "protocol",
    "mode",
    "encap",
    "dst",
    "src",
    "replay-window",
    "esn",
    "sequence-high",
    "installed",
    "deleted",
    "encryption",
    "encryption-key",
    "integrity",
    "integrity-key",
];

fn sa(reader: &mut Reader, section: &Section<'_>) -> Option<SaConfig> {
    let before = reader.faults.len();
    reader.only(section, &SA_KEYS);
    let spi = reader.required(section, "spi").and_then(|item| reader.spi(item));
    let ipsec = section
        .get("protocol")
        .and_then(|item| reader.choice(item, &[("esp", Ipsec::Esp), ("ah", Ipsec::Ah)]));
    let mode = section.get("mode").and_then(|item| {
        reader.choice(item, &[("tunnel", SaMode::Tunnel), ("transport", SaMode::Transport)])
    });
    let encap = section
        .get("encap")
        .and_then(|item| reader.choice(item, &[("udp", Encap::Udp), ("tcp", Encap::Tcp)]));
    let dst = section.get("dst").and_then(|item| reader.address(item));
    let src = section.get("src").and_then(|item| reader.address(item));
    let replay_window =
        section.get("replay-window").and_then(|item| reader.integer(item, MAX_WINDOW));
    let esn = section.get("esn").and_then(|item| reader.boolean(item));
    let sequence_high =
        section.get("sequence-high").and_then(|item| reader.integer(item, u32::MAX));
    let installed = section.get("installed").and_then(|item| reader.time(item));
    let deleted = section.get("deleted").and_then(|item| reader.time(item));
    let encryption =
        section.get("encryption").and_then(|item| reader.choice(item, &Encryption::NAMES));
    let encryption_key = section.get("encryption-key").and_then(|item| reader.key(item));
    let integrity =
        section.get("integrity").and_then(|item| reader.choice(item, &Integrity::NAMES));
    let integrity_key = section.get("integrity-key").and_then(|item| reader.key(item));
    if reader.faults.len() > before {
        return None;
    }
    let sa = SaConfig {
        spi: spi?,
        ipsec: ipsec.unwrap_or(Ipsec::Esp),
        mode: mode.unwrap_or(SaMode::Tunnel),
        encap: encap.unwrap_or(Encap::None),
        dst,
        src,
        replay_window: replay_window.unwrap_or(64),
        esn: esn.unwrap_or(false),
        sequence_high: sequence_high.unwrap_or(0),
        installed,
        deleted,
        encryption,
        encryption_key,
        integrity: integrity.unwrap_or_default(),
        integrity_key,
        line: section.line,
    };
    for (key, text) in sa_contradictions(&sa, sequence_high.is_some()) {
        reader.fault(section.line_of(key), key, text);
    }
    Some(sa)
}

/// What single keys do not show: keys of an SA that do not go together.
fn sa_contradictions(sa: &SaConfig, sequence_high_given: bool) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let mut say = |key, text: &str| found.push((key, text.to_owned()));
    match (sa.src, sa.dst) {
        (Some(_), None) => say("src", "needs dst: a source is part of no shorter key"),
        (Some(src), Some(dst)) if src.is_ipv4() != dst.is_ipv4() => {
            say("src", "of another address family than dst");
        }
        _ => {}
    }
    if sa.ipsec == Ipsec::Ah {
        if sa.encap != Encap::None {
            say("encap", "AH cannot be encapsulated (RFC 3948, RFC 9329): leave it out");
        }
        if sa.encryption.is_some() {
            say("encryption", "AH does not encrypt: leave it out");
        }
    }
    if sequence_high_given && !sa.esn {
        say("sequence-high", "only with esn = true");
    }
    if let (Some(installed), Some(deleted)) = (sa.installed, sa.deleted)
        && deleted <= installed
    {
        say("deleted", "must be later than installed");
    }
    match (sa.encryption, &sa.encryption_key) {
        (None, Some(_)) if sa.ipsec == Ipsec::Ah => say("encryption-key", "AH does not encrypt"),
        (None, Some(_)) => say("encryption-key", "needs encryption to name the cipher"),
        (Some(Encryption::Null), Some(_)) => say("encryption-key", "null takes no key"),
        (Some(encryption), Some(key)) if !encryption.key_octets().contains(&key.octets().len()) => {
            say("encryption-key", &wrong_length(encryption, key.octets().len()));
        }
        _ => {}
    }
    if sa.encryption.is_some_and(Encryption::is_aead) && sa.integrity != Integrity::None {
        say("integrity", "the cipher authenticates already: leave it out");
    }
    if sa.integrity_key.is_some() && sa.integrity == Integrity::None {
        say("integrity-key", "needs integrity to name the algorithm");
    }
    found
}

fn wrong_length(encryption: Encryption, octets: usize) -> String {
    let allowed: Vec<_> = encryption.key_octets().iter().map(usize::to_string).collect();
    let allowed = match allowed.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => allowed.concat(),
    };
    let salt = if encryption.is_aead() { ", the last 4 of them the salt" } else { "" };
    format!("{octets} octets, but {} takes {allowed}{salt}", encryption.name())
}

/// I3. One key is protocol, SPI and, where given, destination and source.
fn check_overlaps(reader: &mut Reader, config: &GatewayConfig) {
    let mut by_key: HashMap<_, Vec<&SaConfig>> = HashMap::new();
    for (_, _, sa) in config.sas() {
        let same = by_key.entry((sa.ipsec, sa.spi, sa.dst, sa.src)).or_default();
        if let Some(first) = same.iter().find(|first| first.overlaps(sa)) {
            let text = format!(
                "{} has the same key as the SA at line {} while both exist: \
                 give another spi, dst or src, or times that do not overlap",
                sa.spi, first.line
            );
            reader.fault(sa.line, "spi", text);
        }
        same.push(sa);
    }
}

#[cfg(test)]
mod tests;
