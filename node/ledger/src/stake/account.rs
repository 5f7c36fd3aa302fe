//! One member's stake as a small bookkeeping: every amount is in exactly one
//! place, and what is in all places together never exceeds the allotment.

use std::collections::BTreeMap;

use consilium_proto::ids::{Epoch, NodeId};
use consilium_proto::limits::VOTING_POWER_MAX;
use consilium_proto::pb::{Delegation, DelegationChange, Outcome, StakeState, Unbonding};

use crate::roster::corrupt;
use crate::rules::{Refusal, ensure};
use crate::view::{StateReader, StoreFault, View};

/// Stands for free stake in a change.
const FREE: u64 = 0;

/// The stake of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    allotment: u64,
    /// By raft id.
    delegations: BTreeMap<u64, u64>,
    /// In the order in which they settle.
    pending: Vec<DelegationChange>,
    /// By the epoch from whose start it is free.
    unbonding: BTreeMap<u64, u64>,
}

impl Account {
    pub(crate) fn load<R: StateReader>(view: &View<'_, R>, member: &str) -> Result<Self, StoreFault> {
        let state = view.member(member)?.ok_or_else(|| corrupt(format!("member {member} is absent")))?;
        Ok(Self::new(state.stake, view.stake(member)?))
    }

    pub(crate) fn new(allotment: u64, state: StakeState) -> Self {
        Self {
            allotment,
            delegations: state.delegations.into_iter().map(|d| (d.node, d.amount)).collect(),
            pending: state.pending,
            unbonding: state.unbonding.into_iter().map(|u| (u.free_epoch, u.amount)).collect(),
        }
    }

    /// Writes the row if it changed; the allotment belongs to the member's own.
    pub(crate) fn store<R: StateReader>(self, view: &mut View<'_, R>, member: &str) -> Result<(), StoreFault> {
        let state = self.into_state();
        if state != view.stake(member)? {
            view.put_stake(member, &state);
        }
        Ok(())
    }

    pub(crate) fn into_state(self) -> StakeState {
        let delegation = |(node, amount)| Delegation { node, amount };
        let unbonding = |(free_epoch, amount)| Unbonding { amount, free_epoch };
        StakeState {
            delegations: self.delegations.into_iter().map(delegation).collect(),
            pending: self.pending,
            unbonding: self.unbonding.into_iter().map(unbonding).collect(),
        }
    }

    pub(crate) fn allotment(&self) -> u64 {
        self.allotment
    }

    pub(crate) fn delegations(&self) -> impl Iterator<Item = (NodeId, u64)> + '_ {
        self.delegations.iter().map(|(node, amount)| (NodeId(*node), *amount))
    }

    pub(crate) fn delegated_to(&self, node: NodeId) -> u64 {
        self.delegations.get(&node.0).copied().unwrap_or(0)
    }

    /// What is neither delegated, nor unbonding, nor about to be delegated.
    pub(crate) fn free(&self) -> u64 {
        let bound = self.delegations.values().chain(self.unbonding.values()).copied();
        let bound = bound.chain([self.pending_from(FREE)]).fold(0, u64::saturating_add);
        self.allotment.saturating_sub(bound)
    }

    fn pending_from(&self, node: u64) -> u64 {
        self.pending.iter().filter(|c| c.from == node).map(|c| c.amount).fold(0, u64::saturating_add)
    }

    /// Delegates free stake from the end of the epoch.
    pub(crate) fn delegate(&mut self, node: NodeId, amount: u64) -> Result<(), Refusal> {
        ensure(amount <= self.free(), Outcome::StakeNotAvailable)?;
        self.change(FREE, node.0, amount);
        Ok(())
    }

    /// Moves delegated stake at the end of the epoch.
    pub(crate) fn redelegate(&mut self, from: NodeId, to: NodeId, amount: u64) -> Result<(), Refusal> {
        self.ensure_delegated(from, amount)?;
        self.change(from.0, to.0, amount);
        Ok(())
    }

    /// Withdraws delegated stake at the end of the epoch.
    pub(crate) fn undelegate(&mut self, node: NodeId, amount: u64) -> Result<(), Refusal> {
        self.ensure_delegated(node, amount)?;
        self.change(node.0, FREE, amount);
        Ok(())
    }

    fn ensure_delegated(&self, node: NodeId, amount: u64) -> Result<(), Refusal> {
        let left = self.delegated_to(node).saturating_sub(self.pending_from(node.0));
        ensure(amount <= left, Outcome::StakeNotAvailable)
    }

    /// Adds to the change of the same kind, so that there are only as many as
    /// there are pairs of nodes.
    fn change(&mut self, from: u64, to: u64, amount: u64) {
        match self.pending.iter_mut().find(|c| c.from == from && c.to == to) {
            Some(change) => change.amount = change.amount.saturating_add(amount),
            None => self.pending.push(DelegationChange { from, to, amount }),
        }
    }

    /// Settles what is pending at the end of the epoch before `next`. Stake for
    /// a node that is not among `active` any more stays free, or unbonds.
    pub(crate) fn settle(&mut self, next: Epoch, unbonding_epochs: u32, active: &[u64]) {
        for change in std::mem::take(&mut self.pending) {
            let to_active = active.binary_search(&change.to).is_ok();
            if change.from == FREE {
                let amount = change.amount.min(self.free());
                if to_active {
                    self.add(change.to, amount);
                }
            } else if to_active {
                let amount = self.take(change.from, change.amount);
                self.add(change.to, amount);
            } else {
                self.unbond(NodeId(change.from), change.amount, next, unbonding_epochs);
            }
        }
        self.unbonding.retain(|free_epoch, _| *free_epoch > next.0);
    }

    fn add(&mut self, node: u64, amount: u64) {
        if amount > 0 {
            let delegated = self.delegations.entry(node).or_default();
            *delegated = delegated.saturating_add(amount);
        }
    }

    /// Takes up to `amount` off a node; gives what there was.
    fn take(&mut self, node: u64, amount: u64) -> u64 {
        let Some(delegated) = self.delegations.get_mut(&node) else { return 0 };
        let taken = amount.min(*delegated);
        *delegated -= taken;
        self.delegations.retain(|_, amount| *amount > 0);
        taken
    }

    /// Takes up to `amount` off a node and lets it unbond from `next` on.
    pub(crate) fn unbond(&mut self, node: NodeId, amount: u64, next: Epoch, unbonding_epochs: u32) {
        let taken = self.take(node.0, amount);
        if taken > 0 && unbonding_epochs > 0 {
            let waiting = self.unbonding.entry(next.0.saturating_add(unbonding_epochs.into())).or_default();
            *waiting = waiting.saturating_add(taken);
        }
    }

    /// Puts one node in the place of another.
    pub(crate) fn rename(&mut self, from: NodeId, to: NodeId) {
        if let Some(amount) = self.delegations.remove(&from.0) {
            self.add(to.0, amount);
        }
        let renamed = |id: u64| if id == from.0 { to.0 } else { id };
        for change in &mut self.pending {
            change.from = renamed(change.from);
            change.to = renamed(change.to);
        }
        self.pending.retain(|c| c.from != c.to);
    }

    /// Sets the allotment. If it is lower than what is bound, changes that wait
    /// for free stake shrink first, the last one first; then what unbonds, the
    /// latest first; then delegations, the highest id first.
    pub(crate) fn allot(&mut self, allotment: u64) {
        self.allotment = allotment;
        let bound = [&self.delegations, &self.unbonding].into_iter().flat_map(|m| m.values()).copied();
        let bound = bound.chain([self.pending_from(FREE)]).fold(0, u64::saturating_add);
        let mut excess = bound.saturating_sub(allotment);
        let waiting = self.pending.iter_mut().filter(|c| c.from == FREE).rev().map(|c| &mut c.amount);
        let bound = waiting.chain(self.unbonding.values_mut().rev()).chain(self.delegations.values_mut().rev());
        for amount in bound {
            let less = excess.min(*amount);
            *amount -= less;
            excess -= less;
        }
        self.pending.retain(|c| c.amount > 0);
        self.unbonding.retain(|_, amount| *amount > 0);
        self.delegations.retain(|_, amount| *amount > 0);
    }

    /// Takes delegated stake off a node and out of the allotment.
    pub(crate) fn cut(&mut self, node: NodeId, amount: u64) {
        let taken = self.take(node.0, amount);
        self.allotment -= taken.min(self.allotment);
    }

    /// Adds to the allotment, and to a node's delegation if one is named.
    pub(crate) fn give_back(&mut self, node: Option<NodeId>, amount: u64) {
        let given = amount.min(VOTING_POWER_MAX.saturating_sub(self.allotment));
        self.allotment += given;
        if let Some(node) = node {
            self.add(node.0, given);
        }
    }
}

#[cfg(test)]
mod tests;
