//! Where answers of IKE over TCP leave, in GATEWAY.toml.

use std::net::IpAddr;

use espial::gate::reply_path::{PolicyRoute, ReplyConfig, ReplyMode};
use espial::preset::{FortiOs, TcpReply};
use espial::selector::AddrRange;

use super::gate::{GateConfig, interface_named};
use super::reader::{Item, Reader, Section};

/// How answers find their way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplyKind {
    /// As the routing table chooses.
    Unpinned,
    /// By the interface that the SYN came in on.
    Pinned,
    /// By policy routes.
    PolicyRoute,
}

impl ReplyKind {
    const NAMES: [(&'static str, Self); 3] = [
        ("unpinned", Self::Unpinned),
        ("pinned", Self::Pinned),
        ("policy-route", Self::PolicyRoute),
    ];

    /// The stable name, as the file spells it.
    pub fn name(self) -> &'static str {
        super::name_of(&Self::NAMES, self)
    }
}

/// `[reply-path]`.
#[derive(Clone, Debug)]
pub struct ReplyPathConfig {
    /// How answers find their way out.
    pub kind: ReplyKind,
    /// What the gateway itself sends asks policy routes too.
    pub ike_policy_route: bool,
    /// Policy routes in file order.
    pub routes: Vec<PolicyRoute>,
    /// The interface that the routing table chooses for answers.
    pub route: Option<u32>,
    /// The TCP port of IKE.
    pub port: u16,
    /// Line of `[reply-path]`.
    pub line: usize,
}

impl ReplyPathConfig {
    /// As the core takes it; `local` are the gateway's addresses.
    pub fn core<'c>(&'c self, local: &'c [IpAddr]) -> ReplyConfig<'c> {
        let (routes, ike_policy_route) = (&self.routes, self.ike_policy_route);
        let mode = match self.kind {
            ReplyKind::Unpinned => ReplyMode::Unpinned,
            ReplyKind::Pinned => ReplyMode::Pinned,
            ReplyKind::PolicyRoute => ReplyMode::PolicyRoute { routes, ike_policy_route },
        };
        ReplyConfig { port: self.port, local, mode }
    }
}

/// The section; `None` if it is not there.
pub(super) fn read(
    reader: &mut Reader,
    root: &Section<'_>,
    gate: &GateConfig,
    fortios: Option<FortiOs>,
) -> Option<ReplyPathConfig> {
    let section = reader.table(root, "reply-path")?;
    reader.only(&section, &["mode", "route", "ike-policy-route", "policy-route"]);
    let kind = match section.get("mode") {
        Some(item) => reader.choice(item, &ReplyKind::NAMES),
        None => default_kind(reader, &section, fortios),
    };
    let route = section.get("route").and_then(|item| interface_named(reader, gate, item));
    let switch = section.get("ike-policy-route").and_then(|item| reader.boolean(item));
    let mut routes = Vec::new();
    for section in reader.tables(&section, "policy-route") {
        routes.extend(policy_route(reader, &section, gate));
    }
    if kind.is_some_and(|kind| kind != ReplyKind::PolicyRoute) {
        for key in ["ike-policy-route", "policy-route"] {
            if let Some(item) = section.get(key) {
                reader.fault(item.line, key, "only with mode = \"policy-route\"");
            }
        }
    }
    if gate.ike_tcp_port.is_none() {
        reader.fault(section.line, "reply-path", "needs ike-tcp-port under [gateway]");
    }
    Some(ReplyPathConfig {
        kind: kind?,
        ike_policy_route: switch.unwrap_or(false),
        routes,
        route,
        port: gate.ike_tcp_port?,
        line: section.line,
    })
}

/// What the documents say of the FortiOS version; nothing is guessed.
fn default_kind(
    reader: &mut Reader,
    section: &Section<'_>,
    fortios: Option<FortiOs>,
) -> Option<ReplyKind> {
    let known = fortios.and_then(FortiOs::tcp_reply).map(|known| match known.value {
        TcpReply::Unpinned => ReplyKind::Unpinned,
        TcpReply::Pinned => ReplyKind::Pinned,
    });
    if known.is_none() {
        let version =
            fortios.map(|version| format!(", and what FortiOS {version} does is not documented"));
        let names = ReplyKind::NAMES.map(|(name, _)| format!("\"{name}\"")).join(", ");
        let text = format!("is missing{}: write one of {names}", version.unwrap_or_default());
        reader.fault(section.line, "mode", text);
    }
    known
}

fn policy_route(
    reader: &mut Reader,
    section: &Section<'_>,
    gate: &GateConfig,
) -> Option<PolicyRoute> {
    reader.only(section, &["source", "out"]);
    let src = reader.required(section, "source").and_then(|item| masked(reader, item));
    let output = reader.required(section, "out");
    let output = output.and_then(|item| interface_named(reader, gate, item));
    Some(PolicyRoute { src: src?, output: output? })
}

/// Addresses under a mask, whose host bits do not count (D4).
fn masked(reader: &mut Reader, item: Item<'_>) -> Option<AddrRange> {
    let range = item.text().and_then(|text| AddrRange::parse_masked(text).ok());
    if range.is_none() {
        let text =
            "must be an address and its mask in quotes, such as \"203.0.113.2/255.255.255.252\"";
        reader.fault(item.line, item.key, text);
    }
    range
}
