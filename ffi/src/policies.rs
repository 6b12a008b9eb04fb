//! Lists of policies, and of what they share, as C gives them to be compiled and decorrelated.
//! Configuration flow; needs an allocator.

extern crate alloc;

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use alloc::{format, vec};

use espial::gate::local_in::{
    AddressObject, Interfaces, LocalInList, LocalInPolicy, PolicyId as LocalInId,
};
use espial::gate::passthrough::{PassRule, compile_rules};
use espial::matcher::Words;
use espial::spd::{Direction, Order, Policy, PolicyId, PolicyList};

use crate::convert;
use crate::handle::Caller;
use crate::status::Status;
use crate::types::*;

/// Policies in the caller's memory.
pub struct Policies<'c> {
    direction: Direction,
    order: Order,
    policies: &'c [espial_policy],
    selectors: &'c [espial_selector],
}

impl<'c> Policies<'c> {
    /// Reads them from where C says.
    pub fn of(
        caller: &Caller<'c>,
        direction: u32,
        order: u32,
        policies: *const espial_policy,
        policy_count: usize,
        selectors: *const espial_selector,
        selector_count: usize,
    ) -> Result<Self, Status> {
        Ok(Self {
            direction: convert::direction(direction)?,
            order: convert::order(order)?,
            policies: caller.slice(policies, policy_count)?,
            selectors: caller.slice(selectors, selector_count)?,
        })
    }

    /// As the core has them.
    pub fn list(&self) -> Result<PolicyList, Status> {
        let policy = |policy: &espial_policy| {
            if policy.reserved != [0; 3] {
                return Err(Status(ESPIAL_EVALUE));
            }
            let own = part(self.selectors, policy.first, policy.count)?;
            let own = own.iter().map(|one| convert::policy_selector(self.direction, one));
            Ok(Policy {
                id: PolicyId(policy.id),
                action: convert::action(policy.action)?,
                priority: policy.priority,
                selectors: own.collect::<Result<_, _>>()?,
            })
        };
        let policies: Vec<_> = self.policies.iter().map(policy).collect::<Result<_, Status>>()?;
        Ok(PolicyList::from_policies(self.direction, self.order, policies)?)
    }
}

/// Local-in policies in the caller's memory.
pub struct LocalPolicies<'c> {
    /// What becomes of packets that no policy covers.
    pub default: u32,
    /// In order.
    pub policies: &'c [espial_local_in_policy],
    /// Interfaces of all.
    pub interfaces: &'c [u32],
    /// Addresses of all.
    pub ranges: &'c [espial_range],
    /// Services of all.
    pub services: &'c [espial_service],
}

/// Parts of an array that have a name in a list: the core's policies are written in names.
#[derive(Default)]
struct Named(BTreeSet<(u32, u32)>);

impl Named {
    /// The name of a part, and whether it is new.
    fn name(&mut self, first: u32, count: u32) -> (String, bool) {
        (format!("{first}+{count}"), self.0.insert((first, count)))
    }
}

impl LocalPolicies<'_> {
    /// The words of all policies.
    pub fn compile(&self) -> Result<Words, Status> {
        let mut list = LocalInList::new(convert::local_in_action(self.default)?);
        let (mut ranges, mut services) = (Named::default(), Named::default());
        for one in self.policies {
            let interfaces = part(self.interfaces, one.interface_first, one.interface_count)?;
            let interfaces = match (one.any_interface, interfaces, one.reserved) {
                (0, interfaces, 0) => Interfaces::These(interfaces.to_vec()),
                (1, [], 0) => Interfaces::Any,
                _ => return Err(Status(ESPIAL_EVALUE)),
            };
            let (source, first) = ranges.name(one.source_first, one.source_count);
            if first {
                let own = part(self.ranges, one.source_first, one.source_count)?;
                name_ranges(&mut list, &source, own)?;
            }
            let (destination, first) = ranges.name(one.destination_first, one.destination_count);
            if first {
                let own = part(self.ranges, one.destination_first, one.destination_count)?;
                name_ranges(&mut list, &destination, own)?;
            }
            let (service, first) = services.name(one.service_first, one.service_count);
            if first {
                let own = part(self.services, one.service_first, one.service_count)?;
                let own = own.iter().map(convert::service).collect::<Result<_, _>>()?;
                list.set_service(&service, own);
            }
            list.add(LocalInPolicy {
                id: LocalInId(one.id),
                interfaces,
                source: vec![source],
                destination: vec![destination],
                service: vec![service],
                schedule: convert::schedule(one.schedule)?,
                action: Some(convert::local_in_action(one.action.into())?),
            })?;
        }
        Ok(list.compile()?)
    }
}

/// The words of a firewall's rules.
pub fn rules_of(default: u32, rules: &[espial_passthrough_rule]) -> Result<Vec<u64>, Status> {
    let rules: Vec<PassRule> = rules.iter().map(convert::rule).collect::<Result<_, Status>>()?;
    Ok(compile_rules(&rules, convert::rule_action(default)?)?)
}

/// Gives a name to the ranges that are not left out, without those that are.
fn name_ranges(list: &mut LocalInList, name: &str, ranges: &[espial_range]) -> Result<(), Status> {
    let (mut within, mut without) = (Vec::new(), Vec::new());
    for one in ranges {
        let (addrs, excluded) = convert::range(one)?;
        if excluded { &mut without } else { &mut within }.push(addrs);
    }
    if without.is_empty() {
        list.set_address(name, AddressObject::Ranges(within));
        return Ok(());
    }
    let (member, exclude) = (format!("{name} in"), format!("{name} out"));
    list.set_address(&member, AddressObject::Ranges(within));
    list.set_address(&exclude, AddressObject::Ranges(without));
    let group = AddressObject::Group { member: vec![member], exclude: vec![exclude] };
    list.set_address(name, group);
    Ok(())
}

/// `count` elements from `first` on.
pub fn part<T>(all: &[T], first: u32, count: u32) -> Result<&[T], Status> {
    let rest = all.get(first as usize..).and_then(|rest| rest.get(..count as usize));
    rest.ok_or(Status(ESPIAL_ERANGE))
}
