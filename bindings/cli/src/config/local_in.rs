//! Local-in policy in GATEWAY.toml: who may start to speak to the gateway itself, and for how long a
//! session answers for it.

use espial::gate::local_in::{
    Action, Interfaces, LocalInError, LocalInList, LocalInPolicy, PolicyId, Schedule, Schedules,
};
use espial::gate::session::TTL_MS;
use espial::matcher::Words;

use super::gate::{GateConfig, Names, interface_named};
use super::reader::{Reader, Section};

/// Sessions and policies for what is addressed to the gateway.
#[derive(Clone, Debug)]
pub struct LocalInConfig {
    /// The policies in file order, and the names they use.
    pub list: LocalInList,
    /// The list, compiled.
    pub words: Words,
    /// The schedules that are on.
    pub schedules: Schedules,
    /// A session that was not matched for longer than this is gone.
    pub session_ttl_ms: u32,
    /// Line of each `[[local-in]]`, in the order of the list.
    pub lines: Vec<usize>,
}

impl LocalInConfig {
    /// The line of a policy.
    pub fn line_of(&self, id: PolicyId) -> Option<usize> {
        let place = self.list.policies().iter().position(|policy| policy.id == id)?;
        self.lines.get(place).copied()
    }

    /// True if a policy is for some interfaces only.
    pub fn names_interfaces(&self) -> bool {
        self.list.policies().iter().any(|policy| policy.interfaces != Interfaces::Any)
    }
}

/// Names of schedules; each has the number of its place.
struct Calendar {
    names: Vec<String>,
    on: Schedules,
}

const ALWAYS: &str = "always";

impl Calendar {
    /// The schedules that `[gateway]` says are on.
    fn read(reader: &mut Reader, gateway: Option<&Section<'_>>) -> Self {
        let mut calendar = Self { names: Vec::new(), on: Schedules::NONE };
        let Some(gateway) = gateway else { return calendar };
        for item in reader.one_or_more(gateway, "schedules-on") {
            let Some(name) = reader.string(item) else { continue };
            match calendar.number(name) {
                Some(schedule) => calendar.on = calendar.on.with(schedule),
                None => reader.fault(item.line, item.key, TOO_MANY),
            }
        }
        calendar
    }

    /// The number of a schedule, a new one if it was not named before.
    fn number(&mut self, name: &str) -> Option<Schedule> {
        let known = self.names.iter().position(|own| own == name);
        let place = known.unwrap_or(self.names.len());
        let schedule = Schedule::new(u8::try_from(place).ok()?)?;
        if known.is_none() {
            self.names.push(name.to_owned());
        }
        Some(schedule)
    }
}

const TOO_MANY: &str = "more than 64 schedules";

/// Everything about local-in policy; `None` if the file says nothing of it.
pub(super) fn read(
    reader: &mut Reader,
    root: &Section<'_>,
    gateway: Option<&Section<'_>>,
    gate: &GateConfig,
) -> Option<LocalInConfig> {
    let of_gateway = |key| gateway.and_then(|section| section.get(key));
    let actions = [("accept", Action::Accept), ("deny", Action::Deny)];
    let default = of_gateway("local-in-default").map(|item| reader.choice(item, &actions));
    // A month: more is a slip, and milliseconds still fit.
    let ttl = of_gateway("session-ttl").map(|item| reader.seconds(item, 30 * 24 * 3600));
    let default = default.map(Option::unwrap_or_default);
    let mut list = LocalInList::new(default.unwrap_or(Action::Accept));
    let names = Names::read(reader, root, &mut list);
    let mut calendar = Calendar::read(reader, gateway);
    let sections = reader.tables(root, "local-in");
    if sections.is_empty() && default.is_none() && ttl.is_none() {
        return None;
    }
    let before = reader.faults.len();
    let mut lines = Vec::new();
    for section in &sections {
        let Some(policy) = policy(reader, section, gate, &names, &mut calendar) else { continue };
        let id = policy.id;
        if list.add(policy).is_err() {
            let first = list.policies().iter().position(|one| one.id == id);
            let first = first.and_then(|place| lines.get(place)).copied().unwrap_or(0);
            let text = format!("is the id of the policy at line {first}");
            reader.fault(section.line_of("id"), "id", text);
        } else {
            lines.push(section.line);
        }
    }
    if reader.faults.len() > before {
        return None;
    }
    match list.compile() {
        Ok(words) => {
            let session_ttl_ms = ttl.flatten().map_or(TTL_MS, |seconds| seconds * 1000);
            Some(LocalInConfig { list, words, schedules: calendar.on, session_ttl_ms, lines })
        }
        Err(error) => {
            let (line, key) = place_of(&error, &list, &lines, &names);
            reader.fault(line, key, error.to_string());
            None
        }
    }
}

const KEYS: [&str; 7] =
    ["id", "interface", "source", "destination", "service", "schedule", "action"];

fn policy(
    reader: &mut Reader,
    section: &Section<'_>,
    gate: &GateConfig,
    names: &Names,
    calendar: &mut Calendar,
) -> Option<LocalInPolicy> {
    let before = reader.faults.len();
    reader.only(section, &KEYS);
    let id = reader.required(section, "id").and_then(|item| reader.integer(item, u32::MAX));
    let mut numbers = Vec::new();
    let mut any = false;
    for item in reader.some(section, "interface").unwrap_or_default() {
        match item.text() {
            Some("any") => any = true,
            _ => numbers.extend(interface_named(reader, gate, item)),
        }
    }
    let interfaces = if any { Interfaces::Any } else { Interfaces::These(numbers) };
    for key in ["source", "destination", "service"] {
        reader.some(section, key);
    }
    let source = names.addresses(reader, section, "source");
    let destination = names.addresses(reader, section, "destination");
    let service = names.services(reader, section, "service");
    let schedule = match section.get("schedule").map(|item| (item, reader.string(item))) {
        None | Some((_, None | Some(ALWAYS))) => None,
        Some((item, Some(name))) => {
            let schedule = calendar.number(name);
            if schedule.is_none() {
                reader.fault(item.line, item.key, TOO_MANY);
            }
            schedule
        }
    };
    let actions = [("accept", Action::Accept), ("deny", Action::Deny)];
    let action = section.get("action").and_then(|item| reader.choice(item, &actions));
    let policy = LocalInPolicy {
        id: PolicyId(id?),
        interfaces,
        source,
        destination,
        service,
        schedule,
        action,
    };
    (reader.faults.len() == before).then_some(policy)
}

/// Where the file says what a list cannot be compiled for.
fn place_of(
    error: &LocalInError,
    list: &LocalInList,
    lines: &[usize],
    names: &Names,
) -> (usize, &'static str) {
    let of_policy = |id: &PolicyId| {
        let place = list.policies().iter().position(|policy| policy.id == *id);
        place.and_then(|place| lines.get(place)).copied().unwrap_or(0)
    };
    match error {
        LocalInError::Cycle { name } | LocalInError::Nesting { name } => {
            (names.line_of_address(name).unwrap_or(0), "member")
        }
        LocalInError::NoPackets { id } | LocalInError::TooManySelectors { id } => {
            (of_policy(id), "local-in")
        }
        _ => (lines.first().copied().unwrap_or(0), "local-in"),
    }
}
