//! The SPD: `spd_ops`.
//!
//! Each direction is a [`PolicyList`] of its own, compiled anew for every group of packets: what a
//! host does that publishes each change. Packets go in as bursts and are counted by an
//! [`SpdWorker`](espial::spd::SpdWorker); one alone, and the list's linear search, must agree.

use std::collections::HashMap;
use std::iter;

use espial::headers::InnerHeaders;
use espial::selector::{AddrRange, PortRange, Selector, TrafficSelector};
use espial::spd::{Action, Answer, Count, Direction, Order, Policy, PolicyId, PolicyList, Spd};
use serde_json::{Value, json};

use super::case::{self, Findings, Object, Problem};
use super::packet;

/// Packets of a burst.
const BURST: u64 = 64;
/// What a packet is said to have matched if it met no policy.
const DEFAULT: &str = "default";

/// Directions of a case, each a database: `fwd` is Linux's name for inbound traffic that goes on.
const DIRECTIONS: [(&str, Direction); 3] =
    [("in", Direction::Inbound), ("out", Direction::Outbound), ("fwd", Direction::Inbound)];

/// The databases of a case.
struct Run<'a> {
    lists: Vec<(&'a str, PolicyList)>,
    /// The names of policies by id, each given once.
    names: Vec<&'a str>,
    /// Packets of each policy since the start, those of deleted ones too.
    counted: HashMap<PolicyId, u64>,
}

/// `spd_ops`: additions, deletions, packets and counts in sequence.
pub(super) fn ops(case: &mut Object<'_>, findings: &mut Findings) -> Result<(), Problem> {
    let order = match case.text("order_model")? {
        "vpp_inbound" => Order::ProtectFirst,
        "priority_high_first" => Order::HighestFirst,
        "linux_lowest_number_first" => Order::LowestFirst,
        other => return Err(Problem(format!("unknown `order_model`: `{other}`"))),
    };
    let list = |(name, direction)| (name, PolicyList::new(direction, order));
    let lists = DIRECTIONS.into_iter().map(list).collect();
    let mut run = Run { lists, names: Vec::new(), counted: HashMap::new() };
    for mut op in case.objects("ops")? {
        run.step(&mut op, findings)?;
        op.close()?;
    }
    Ok(())
}

fn addresses(mut object: Object<'_>) -> Result<AddrRange, Problem> {
    let (from, to) = (object.address("from")?, object.address("to")?);
    let range = AddrRange::new(from, to)
        .ok_or_else(|| Problem(format!("{from} to {to} is no range of addresses")))?;
    object.close()?;
    Ok(range)
}

/// A range of ports; ANY if the case names none.
fn ports(object: &mut Object<'_>, name: &str) -> Result<PortRange, Problem> {
    let path = object.at(name);
    let Some(value) = object.present(name) else { return Ok(PortRange::ANY) };
    let [from, to] = case::list(&path, value)? else {
        return Err(Problem::field(&path, "first and last port", value));
    };
    PortRange::new(case::number(&path, from)?, case::number(&path, to)?)
        .ok_or_else(|| Problem::field(&path, "a range of ports", value))
}

impl<'a> Run<'a> {
    fn list(&mut self, name: &str) -> Result<&mut PolicyList, Problem> {
        let found = self.lists.iter_mut().find(|(known, _)| *known == name);
        found.map(|(_, list)| list).ok_or_else(|| Problem(format!("unknown `dir`: `{name}`")))
    }

    /// The id that stands for a name.
    fn id(&self, name: &str) -> Result<PolicyId, Problem> {
        let place = self.names.iter().position(|known| *known == name);
        let place = place.and_then(|place| u32::try_from(place).ok());
        place.map(PolicyId).ok_or_else(|| Problem(format!("unknown policy `{name}`")))
    }

    fn step(&mut self, op: &mut Object<'a>, findings: &mut Findings) -> Result<(), Problem> {
        match op.text("op")? {
            "add" => self.add(op.object("policy")?),
            "del" => {
                let name = op.text("id")?;
                let id = self.id(name)?;
                let holds = |list: &PolicyList| list.find(id).is_some();
                // Where no list has it, the first says so.
                let at = self.lists.iter().position(|(_, list)| holds(list)).unwrap_or(0);
                let gone = self.lists.get_mut(at).map(|(_, list)| list.delete(id));
                gone.transpose().map_err(|error| Problem::step(format!("`{name}`"), error))?;
                Ok(())
            }
            "packets" => self.packets(op, findings),
            "counters" => {
                let mut expect = op.object("expect")?;
                for name in expect.names() {
                    let id = self.id(name)?;
                    let got = self.counted.get(&id).copied().unwrap_or(0);
                    findings.compare(expect.at(name), expect.value(name)?, got);
                }
                Ok(())
            }
            other => Err(Problem(format!("unknown operation `{other}` in `{}`", op.at("op")))),
        }
    }

    fn add(&mut self, mut object: Object<'a>) -> Result<(), Problem> {
        let (name, dir) = (object.text("id")?, object.text("dir")?);
        let path = object.at("priority");
        let priority = match object.present("priority") {
            Some(value) => case::signed(&path, value)?,
            None => 0,
        };
        let action = object.text("action")?;
        let action = Action::ALL
            .into_iter()
            .find(|known| known.name() == action)
            .ok_or_else(|| Problem(format!("unknown `{}`: `{action}`", object.at("action"))))?;
        let protocol = object.number_or("proto", 0)?;
        let mut side = |addrs: &str, range: &str| {
            let addrs = addresses(object.object(addrs)?)?;
            Ok(TrafficSelector { addrs, protocol, ports: ports(&mut object, range)? })
        };
        let (local, remote) = (side("local", "local_ports")?, side("remote", "remote_ports")?);
        object.close()?;
        let id = self.id(name).or_else(|_| {
            self.names.push(name);
            self.id(name)
        })?;
        let list = self.list(dir)?;
        let selector: Option<Selector> = list
            .direction()
            .selector(&local, &remote)
            .map_err(|error| Problem::step(format!("`{name}`"), error))?;
        let selectors = selector.into_iter().collect();
        let added = list.add(Policy { id, action, priority, selectors });
        added.map(|_| ()).map_err(|error| Problem::step(format!("`{name}`"), error))
    }

    /// What an answer is in a case.
    fn value(&self, found: Option<(Action, PolicyId)>) -> Value {
        let name = found.and_then(|(_, PolicyId(id))| self.names.get(usize::try_from(id).ok()?));
        let action = found.map_or(Action::Discard, |(action, _)| action);
        json!({ "verdict": action.name(), "matched": name.unwrap_or(&DEFAULT) })
    }

    fn packets(&mut self, op: &mut Object<'a>, findings: &mut Findings) -> Result<(), Problem> {
        let count: u64 = op.number_or("count", 1)?;
        let headers = packet::inner(op)?;
        let list = self.list(op.text("dir")?)?;
        let words = list.compile().map_err(|error| Problem::step("compiling", error))?;
        let spd = Spd::open(&words).map_err(|error| Problem::step("compiling", error))?;
        let plain = list.first(&headers).map(|policy| (policy.action, policy.id));
        let answers = self.judge(spd, &headers, count)?;

        let of = |answer: Answer| self.value(answer.entry().map(|one| (one.action, one.id)));
        let got = of(spd.first(&headers));
        let mut expect = op.object("expect")?;
        let plain = self.value(plain);
        findings.require(expect.at("linear"), plain == got, got.clone(), plain);
        for answer in answers {
            let burst = of(answer);
            findings.require(expect.at("burst"), burst == got, got.clone(), burst);
        }
        for name in ["verdict", "matched"] {
            if let Some(expected) = expect.get(name) {
                findings.compare(expect.at(name), expected, got[name].clone());
            }
        }
        expect.close()
    }

    /// Puts equal packets to the SPD and adds their counts up; returns the answers that differ.
    fn judge(
        &mut self,
        spd: Spd<'_>,
        headers: &InnerHeaders,
        count: u64,
    ) -> Result<Vec<Answer>, Problem> {
        let mut row: Vec<Count> = iter::repeat_with(Count::new).take(spd.cells()).collect();
        let (mut worker, counts) =
            spd.with_counts(&mut row).map_err(|error| Problem::step("counting", error))?;
        let mut answers = Vec::new();
        let mut left = count;
        while left > 0 {
            let burst = vec![*headers; usize::try_from(left.min(BURST)).unwrap_or(1)];
            let mut found = vec![Answer::default(); burst.len()];
            left -= worker.check_burst(&burst, &mut found) as u64;
            answers.extend(found);
            answers.dedup();
        }
        for (entry, packets) in counts.policies() {
            *self.counted.entry(entry.id).or_default() += packets;
        }
        Ok(answers)
    }
}
