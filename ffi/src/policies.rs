//! Lists of policies, and of selectors that they share, as C gives them to be compiled and decorrelated.
//! Configuration flow; needs an allocator.

extern crate alloc;

use alloc::vec::Vec;

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

/// `count` elements from `first` on.
pub fn part<T>(all: &[T], first: u32, count: u32) -> Result<&[T], Status> {
    let rest = all.get(first as usize..).and_then(|rest| rest.get(..count as usize));
    rest.ok_or(Status(ESPIAL_ERANGE))
}
