//! IPsec of others that passes through the gateway, in GATEWAY.toml.

use espial::gate::passthrough::{
    Context, Initiator, LookupSpi, NatTraversal, NeededConfig, PassConfig, PassRule, PassTimeouts,
    RuleAction, RuleId, VirtualServer, compile_rules,
};
use espial::headers::Ipsec;
use espial::selector::AddrRange;

use super::gate::ranges;
use super::reader::{Reader, Section};
use super::selector;

/// Boxes of one rule: source ranges times destination ranges.
const BOXES_MAX: usize = 1 << 16;

/// `[passthrough]`.
#[derive(Clone, Debug)]
pub struct PassthroughConfig {
    /// How IPsec is treated.
    pub core: PassConfig,
    /// What becomes of packets that no rule covers.
    pub default: RuleAction,
    /// Rules in file order; their numbers in the core are their positions.
    pub rules: Vec<RuleConfig>,
    /// The rules, compiled.
    pub words: Vec<u64>,
    /// Tunnels that are to pass, for `espial lint`.
    pub tunnels: Vec<PassTunnelConfig>,
    /// Line of `[passthrough]`.
    pub line: usize,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct RuleConfig {
    /// Name, unique in the file.
    pub name: String,
    /// What it covers: one box for each pair of ranges.
    pub boxes: Vec<PassRule>,
    /// Line of `[[passthrough.rule]]`.
    pub line: usize,
}

/// A tunnel of others.
#[derive(Clone, Debug)]
pub struct PassTunnelConfig {
    /// Name, unique in the file.
    pub name: String,
    /// What is asked of the core: each pair of inside and outside peers.
    pub needed: Vec<NeededConfig>,
    /// Line of `[[passthrough.tunnel]]`.
    pub line: usize,
}

impl PassthroughConfig {
    /// The name of a rule.
    pub fn rule(&self, id: RuleId) -> Option<&str> {
        self.rules.get(id.0 as usize).map(|rule| rule.name.as_str())
    }
}

const KEYS: [&str; 11] = [
    "lookupspi",
    "server",
    "alg",
    "default",
    "ike-timeout",
    "nat-t-timeout",
    "esp-timeout",
    "ah-timeout",
    "other-timeout",
    "rule",
    "tunnel",
];

/// The section; `None` if it is not there.
pub(super) fn read(reader: &mut Reader, root: &Section<'_>) -> Option<PassthroughConfig> {
    let section = reader.table(root, "passthrough")?;
    let before = reader.faults.len();
    reader.only(&section, &KEYS);
    let core = core(reader, &section);
    let defaults = [
        ("reject", RuleAction::Reject),
        ("drop", RuleAction::Drop),
        ("accept", RuleAction::Accept),
    ];
    let default = section.get("default").and_then(|item| reader.choice(item, &defaults));
    let default = default.unwrap_or(RuleAction::Reject);
    let mut rules: Vec<RuleConfig> = Vec::new();
    for section in reader.tables(&section, "rule") {
        let number = u32::try_from(rules.len()).unwrap_or(u32::MAX);
        let Some(rule) = rule(reader, &section, RuleId(number)) else { continue };
        let first = rules.iter().find(|first| first.name == rule.name).map(|first| first.line);
        same_name(reader, &section, first);
        rules.push(rule);
    }
    let mut tunnels: Vec<PassTunnelConfig> = Vec::new();
    for section in reader.tables(&section, "tunnel") {
        let Some(tunnel) = tunnel(reader, &section, &core) else { continue };
        let first = tunnels.iter().find(|first| first.name == tunnel.name).map(|first| first.line);
        same_name(reader, &section, first);
        tunnels.push(tunnel);
    }
    if reader.faults.len() > before {
        return None;
    }
    let boxes: Vec<PassRule> = rules.iter().flat_map(|rule| rule.boxes.iter().copied()).collect();
    match compile_rules(&boxes, default) {
        Ok(words) => {
            Some(PassthroughConfig { core, default, rules, words, tunnels, line: section.line })
        }
        Err(error) => {
            reader.fault(section.line, "passthrough", error.to_string());
            None
        }
    }
}

fn same_name(reader: &mut Reader, section: &Section<'_>, first: Option<usize>) {
    if let Some(line) = first {
        let text = format!("is the name of the one at line {line}");
        reader.fault(section.line_of("name"), "name", text);
    }
}

fn core(reader: &mut Reader, section: &Section<'_>) -> PassConfig {
    let lookupspi = section.get("lookupspi").and_then(|item| reader.boolean(item));
    let servers = [("fastl4", VirtualServer::FastL4), ("standard", VirtualServer::Standard)];
    let server = section.get("server").and_then(|item| reader.choice(item, &servers));
    let alg = section.get("alg").and_then(|item| reader.boolean(item)).unwrap_or(false);
    let server = match (server.unwrap_or_default(), alg) {
        (VirtualServer::FastL4, true) => {
            let text = "only with server = \"standard\": a FastL4 one cannot have the IPsec ALG";
            reader.fault(section.line_of("alg"), "alg", text);
            VirtualServer::FastL4
        }
        (_, true) => VirtualServer::StandardWithAlg,
        (server, false) => server,
    };
    let usual = PassTimeouts::default();
    let mut timeout = |key, usual| {
        let seconds = section.get(key).and_then(|item| reader.seconds(item, 30 * 24 * 3600));
        seconds.map_or(usual, |seconds| seconds * 1000)
    };
    let timeouts = PassTimeouts {
        ike_ms: timeout("ike-timeout", usual.ike_ms),
        nat_t_ms: timeout("nat-t-timeout", usual.nat_t_ms),
        esp_ms: timeout("esp-timeout", usual.esp_ms),
        ah_ms: timeout("ah-timeout", usual.ah_ms),
        other_ms: timeout("other-timeout", usual.other_ms),
    };
    let lookupspi = if lookupspi.unwrap_or(true) { LookupSpi::On } else { LookupSpi::Off };
    PassConfig { lookupspi, server, timeouts }
}

/// Pairs of ranges of one family; none is a fault.
fn pairs(
    reader: &mut Reader,
    section: &Section<'_>,
    keys: [&'static str; 2],
) -> Option<Vec<(AddrRange, AddrRange)>> {
    let [first, second] = keys.map(|key| ranges(reader, section, key));
    let (first, second) = (first?, second?);
    if first.len().saturating_mul(second.len()) > BOXES_MAX {
        let text = format!("with the other side more than {BOXES_MAX} pairs of ranges");
        reader.fault(section.line_of(keys[0]), keys[0], text);
        return None;
    }
    let same = |(a, b): &(AddrRange, AddrRange)| a.family() == b.family();
    let all = first.iter().flat_map(|a| second.iter().map(move |b| (*a, *b)));
    let pairs: Vec<_> = all.filter(same).collect();
    if pairs.is_empty() {
        let text = format!("no address family in common with {}", keys[0]);
        reader.fault(section.line_of(keys[1]), keys[1], text);
        return None;
    }
    Some(pairs)
}

const RULE_KEYS: [&str; 8] =
    ["name", "context", "action", "src", "dst", "protocol", "ports", "source-ports"];

fn rule(reader: &mut Reader, section: &Section<'_>, id: RuleId) -> Option<RuleConfig> {
    reader.only(section, &RULE_KEYS);
    let name = reader.name(section);
    let contexts = [
        ("global", Context::Global),
        ("route-domain", Context::RouteDomain),
        ("virtual-server", Context::VirtualServer),
    ];
    let context = section.get("context").map(|item| reader.choice(item, &contexts));
    let actions = RuleAction::ALL.map(|action| (action.name(), action));
    let action = reader.required(section, "action").and_then(|item| reader.choice(item, &actions));
    let pairs = pairs(reader, section, ["src", "dst"]);
    let protocol = match section.get("protocol") {
        Some(item) => selector::protocol_number(reader, item)?,
        None => 0,
    };
    let dst_ports = selector::ports(reader, section, "ports", protocol)?;
    let src_ports = selector::ports(reader, section, "source-ports", protocol)?;
    let (context, action) = (context.unwrap_or(Some(Context::Global))?, action?);
    let rule =
        |(src, dst)| PassRule { id, context, action, src, dst, protocol, src_ports, dst_ports };
    let boxes: Vec<_> = pairs?.into_iter().map(rule).collect();
    if let Some(fault) = boxes.iter().find_map(|rule| rule.validate().err()) {
        reader.fault(section.line_of("ports"), "ports", fault.to_string());
    }
    Some(RuleConfig { name: name?, boxes, line: section.line })
}

fn tunnel(
    reader: &mut Reader,
    section: &Section<'_>,
    core: &PassConfig,
) -> Option<PassTunnelConfig> {
    reader.only(section, &["name", "inside", "outside", "initiator", "protocol", "nat-t"]);
    let name = reader.name(section);
    let pairs = pairs(reader, section, ["inside", "outside"]);
    let initiators = [
        ("inside", Initiator::Inside),
        ("outside", Initiator::Outside),
        ("either", Initiator::Either),
    ];
    let initiator = section.get("initiator").map(|item| reader.choice(item, &initiators));
    let protocols = [("esp", Ipsec::Esp), ("ah", Ipsec::Ah)];
    let ipsec = section.get("protocol").map(|item| reader.choice(item, &protocols));
    let nat_t = [
        ("never", NatTraversal::Never),
        ("possible", NatTraversal::Possible),
        ("always", NatTraversal::Always),
    ];
    let nat_t = section.get("nat-t").map(|item| reader.choice(item, &nat_t));
    let (initiator, ipsec) =
        (initiator.unwrap_or(Some(Initiator::Inside))?, ipsec.unwrap_or(Some(Ipsec::Esp))?);
    let nat_t = nat_t.unwrap_or(Some(NatTraversal::Never))?;
    let needed = |(inside, outside)| NeededConfig {
        lookupspi: core.lookupspi,
        server: core.server,
        // How many virtual servers that takes is not asked.
        translate_address: true,
        initiator,
        inside,
        outside,
        ipsec,
        nat_t,
    };
    let needed = pairs?.into_iter().map(needed).collect();
    Some(PassTunnelConfig { name: name?, needed, line: section.line })
}
