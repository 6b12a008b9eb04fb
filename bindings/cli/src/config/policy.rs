//! Security policies in GATEWAY.toml (RFC 4301 section 4.4.1).

use espial::selector::Selector;
use espial::spd::{Action, Direction, Order, Policy, PolicyId, PolicyList};

use super::TunnelConfig;
use super::reader::{Reader, Section};
use super::selector;

/// Selectors of one policy: local times remote ones.
const SELECTORS_MAX: usize = 1 << 16;

/// Every `[[policy]]`.
#[derive(Clone, Debug)]
pub struct SpdConfig {
    /// Policies for packets that arrive.
    pub inbound: SpdList,
    /// Policies for packets that the gateway sends.
    pub outbound: SpdList,
    /// What stands in the file beside what lists hold.
    pub policies: Vec<PolicyConfig>,
}

/// The policies of one direction.
#[derive(Clone, Debug)]
pub struct SpdList {
    /// In the order in which they are asked.
    pub list: PolicyList,
    /// The list, compiled.
    pub words: Vec<u64>,
}

/// One policy's other keys.
#[derive(Clone, Debug)]
pub struct PolicyConfig {
    /// Its id, unique in the file.
    pub id: PolicyId,
    /// Which packets it is for.
    pub direction: Direction,
    /// The tunnel whose SAs it is for, and the Child SA if it is for that one alone.
    pub sa: Option<(String, Option<String>)>,
    /// Line of `[[policy]]`.
    pub line: usize,
}

impl SpdConfig {
    /// Inbound policies that say which SAs packets have to come on, and name this Child SA.
    pub fn protecting<'s>(
        &'s self,
        tunnel: &'s str,
        child: &'s str,
    ) -> impl Iterator<Item = PolicyId> + 's {
        let named = move |policy: &&PolicyConfig| {
            policy.direction == Direction::Inbound
                && policy.sa.as_ref().is_some_and(|(of, one)| {
                    of == tunnel && one.as_ref().is_none_or(|one| one == child)
                })
        };
        self.policies.iter().filter(named).map(|policy| policy.id)
    }
}

const ORDERS: [(&str, Order); 4] = [
    ("file", Order::Placed),
    ("highest-first", Order::HighestFirst),
    ("lowest-first", Order::LowestFirst),
    ("protect-first", Order::ProtectFirst),
];

/// All policies; `None` if there are none.
pub(super) fn read(
    reader: &mut Reader,
    root: &Section<'_>,
    gateway: Option<&Section<'_>>,
    tunnels: &[TunnelConfig],
) -> Option<SpdConfig> {
    let order = gateway.and_then(|section| section.get("policy-order"));
    let order = order.and_then(|item| reader.choice(item, &ORDERS)).unwrap_or(Order::Placed);
    let sections = reader.tables(root, "policy");
    if sections.is_empty() {
        return None;
    }
    let before = reader.faults.len();
    let (mut inbound, mut outbound, mut policies) = (Vec::new(), Vec::new(), Vec::new());
    for section in &sections {
        let Some((core, own)) = policy(reader, section, order, tunnels) else { continue };
        let same = |first: &&PolicyConfig| first.id == own.id;
        if let Some(first) = policies.iter().find(same) {
            let text = format!("is the id of the policy at line {}", first.line);
            reader.fault(section.line_of("id"), "id", text);
        }
        match own.direction {
            Direction::Inbound => inbound.push(core),
            Direction::Outbound => outbound.push(core),
        }
        policies.push(own);
    }
    if reader.faults.len() > before {
        return None;
    }
    let mut list = |direction, policies| {
        let list = PolicyList::from_policies(direction, order, policies);
        let list = list.map_err(|error| error.to_string()).and_then(|list| {
            let words = list.compile().map_err(|error| error.to_string())?;
            Ok(SpdList { list, words })
        });
        let line = sections.first().map_or(0, |section| section.line);
        list.map_err(|text| reader.fault(line, "policy", text)).ok()
    };
    let inbound = list(Direction::Inbound, inbound);
    let outbound = list(Direction::Outbound, outbound);
    Some(SpdConfig { inbound: inbound?, outbound: outbound?, policies })
}

const KEYS: [&str; 8] =
    ["id", "direction", "action", "priority", "local", "remote", "tunnel", "child"];

fn policy(
    reader: &mut Reader,
    section: &Section<'_>,
    order: Order,
    tunnels: &[TunnelConfig],
) -> Option<(Policy, PolicyConfig)> {
    reader.only(section, &KEYS);
    let id = reader.required(section, "id").and_then(|item| reader.integer(item, u32::MAX));
    let directions = [("inbound", Direction::Inbound), ("outbound", Direction::Outbound)];
    let direction = reader.required(section, "direction");
    let direction = direction.and_then(|item| reader.choice(item, &directions));
    let actions = Action::ALL.map(|action| (action.name(), action));
    let action = reader.required(section, "action").and_then(|item| reader.choice(item, &actions));
    let priority = section.get("priority").map(|item| {
        if order == Order::Placed {
            let text = "only with policy-order under [gateway]: else the order of the file counts";
            reader.fault(item.line, item.key, text);
        }
        reader.integer(item, u32::MAX)
    });
    let local = selector::list(reader, section, "local");
    let remote = selector::list(reader, section, "remote");
    let sa = sa(reader, section, action, tunnels);
    let (direction, local, remote) = (direction?, local?, remote?);
    if local.len().saturating_mul(remote.len()) > SELECTORS_MAX {
        let text = format!("with local more than {SELECTORS_MAX} selectors");
        reader.fault(section.line_of("remote"), "remote", text);
        return None;
    }
    let pairs = local.iter().flat_map(|local| remote.iter().map(move |remote| (local, remote)));
    let selectors: Vec<Selector> =
        pairs.filter_map(|(local, remote)| direction.selector(local, remote).ok()?).collect();
    if selectors.is_empty() {
        let text = "no packet can match local and remote";
        reader.fault(section.line_of("remote"), "remote", text);
        return None;
    }
    let (id, priority) = (PolicyId(id?), i64::from(priority.unwrap_or(Some(0))?));
    let core = Policy { id, action: action?, priority, selectors };
    Some((core, PolicyConfig { id, direction, sa: sa?, line: section.line }))
}

/// The tunnel and the Child SA that a PROTECT policy names.
fn sa(
    reader: &mut Reader,
    section: &Section<'_>,
    action: Option<Action>,
    tunnels: &[TunnelConfig],
) -> Option<Option<(String, Option<String>)>> {
    let (of, one) = (section.get("tunnel"), section.get("child"));
    let Some(of) = of else {
        if let Some(one) = one {
            reader.fault(one.line, one.key, "needs tunnel to name the tunnel that it is of");
            return None;
        }
        return Some(None);
    };
    if action.is_some_and(|action| action != Action::Protect) {
        reader.fault(of.line, of.key, "only with action = \"protect\"");
    }
    let name = reader.string(of)?;
    let Some(tunnel) = tunnels.iter().find(|tunnel| tunnel.name == name) else {
        reader.fault(of.line, of.key, "no [[tunnel]] has this name");
        return None;
    };
    let Some(one) = one else { return Some(Some((name.to_owned(), None))) };
    let child = reader.string(one)?;
    if !tunnel.children.iter().any(|known| known.name == child) {
        reader.fault(one.line, one.key, "no Child SA of the tunnel has this name");
        return None;
    }
    Some(Some((name.to_owned(), Some(child.to_owned()))))
}
