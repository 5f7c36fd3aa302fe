//! Stake: what a member was allotted, and where it is. Delegated to nodes,
//! bound to a change that settles at the end of the epoch, on its way back, or
//! free: never more in sum than the allotment.
//!
//! Amounts are checked when a change is asked for, and again when it settles,
//! because a penalty or a lower allotment may have come between.

mod account;

use std::collections::BTreeMap;

use consilium_proto::ids::{Epoch, NodeId};
use consilium_proto::limits::VOTING_POWER_MAX;
use consilium_proto::pb::{MemberState, MemberStatus, NodeStatus, StakeState};

pub(crate) use account::Account;

use crate::roster::corrupt;
use crate::view::{StateReader, StoreFault, View};

/// The accounts of all members, by member.
pub(crate) type Accounts = BTreeMap<String, Account>;

/// What is neither delegated, nor unbonding, nor about to be delegated.
pub(crate) fn free(member: &MemberState, stake: &StakeState) -> u64 {
    Account::new(member.stake, stake.clone()).free()
}

/// All accounts as they are once the epoch before `next` has ended and its
/// changes have settled. Writes nothing.
pub(crate) fn settled<R: StateReader>(
    view: &View<'_, R>,
    next: Epoch,
    unbonding_epochs: u32,
) -> Result<Accounts, StoreFault> {
    let roster = view.roster()?;
    let mut active = Vec::with_capacity(roster.nodes.len());
    for id in roster.nodes {
        let status = view.node(NodeId(id))?.map(|n| n.status);
        if status == Some(NodeStatus::Active as i32) {
            active.push(id);
        }
    }
    let mut accounts = Accounts::new();
    for member in roster.members {
        let mut account = Account::load(view, &member)?;
        account.settle(next, unbonding_epochs, &active);
        accounts.insert(member, account);
    }
    Ok(accounts)
}

/// Takes all stake off a node that leaves; it unbonds as if it were withdrawn.
pub(crate) fn unbond_node<R: StateReader>(
    view: &mut View<'_, R>,
    members: &[String],
    node: NodeId,
    next: Epoch,
    unbonding_epochs: u32,
) -> Result<(), StoreFault> {
    for member in members {
        let mut account = Account::load(view, member)?;
        account.unbond(node, u64::MAX, next, unbonding_epochs);
        account.store(view, member)?;
    }
    Ok(())
}

/// Moves everything that members delegate to `from`, or are about to, to the
/// node that takes its place.
pub(crate) fn move_delegations<R: StateReader>(
    view: &mut View<'_, R>,
    from: NodeId,
    to: NodeId,
) -> Result<(), StoreFault> {
    for member in &view.roster()?.members {
        let mut account = Account::load(view, member)?;
        account.rename(from, to);
        account.store(view, member)?;
    }
    Ok(())
}

/// Sets a member's allotment. A lower one takes from what is free first, then
/// from what is unbonding, then from delegations.
pub(crate) fn allot<R: StateReader>(view: &mut View<'_, R>, member: &str, stake: u64) -> Result<(), StoreFault> {
    let mut account = Account::load(view, member)?;
    account.allot(stake.min(VOTING_POWER_MAX));
    store_with_allotment(view, member, account)
}

/// Takes a share of what a member delegates to a node out of its allotment, as
/// a penalty; gives the amount.
pub(crate) fn cut<R: StateReader>(
    view: &mut View<'_, R>,
    member: &str,
    node: NodeId,
    percent: u32,
) -> Result<u64, StoreFault> {
    let mut account = Account::load(view, member)?;
    let cut = u128::from(account.delegated_to(node)) * u128::from(percent.min(100)) / 100;
    let cut = u64::try_from(cut).expect("a part of a delegation is no more than it");
    account.cut(node, cut);
    store_with_allotment(view, member, account)?;
    Ok(cut)
}

/// Gives back what was cut: onto the node if it is still there, else free. A
/// member that left gets nothing.
pub(crate) fn give_back<R: StateReader>(
    view: &mut View<'_, R>,
    member: &str,
    node: NodeId,
    amount: u64,
) -> Result<(), StoreFault> {
    if view.member(member)?.is_none_or(|m| m.status == MemberStatus::Removed as i32) {
        return Ok(());
    }
    let mut account = Account::load(view, member)?;
    let present = view.roster()?.nodes.binary_search(&node.0).is_ok();
    account.give_back(present.then_some(node), amount);
    store_with_allotment(view, member, account)
}

fn store_with_allotment<R: StateReader>(
    view: &mut View<'_, R>,
    member: &str,
    account: Account,
) -> Result<(), StoreFault> {
    let mut state = view.member(member)?.ok_or_else(|| corrupt(format!("member {member} is absent")))?;
    if state.stake != account.allotment() {
        state.stake = account.allotment();
        view.put_member(&state);
    }
    account.store(view, member)
}

/// What active members delegate, for an election.
pub(crate) struct ActiveStake {
    by_node: BTreeMap<NodeId, u64>,
    by_member: BTreeMap<(String, NodeId), u64>,
}

impl ActiveStake {
    pub(crate) fn of<R: StateReader>(view: &View<'_, R>, accounts: &Accounts) -> Result<Self, StoreFault> {
        let mut active = Self { by_node: BTreeMap::new(), by_member: BTreeMap::new() };
        for (member, account) in accounts {
            if view.member(member)?.is_none_or(|m| m.status != MemberStatus::Active as i32) {
                continue;
            }
            for (node, amount) in account.delegations() {
                let sum = active.by_node.entry(node).or_default();
                *sum = sum.saturating_add(amount);
                active.by_member.insert((member.clone(), node), amount);
            }
        }
        Ok(active)
    }

    /// Stake on a node.
    pub(crate) fn of_node(&self, node: NodeId) -> u64 {
        self.by_node.get(&node).copied().unwrap_or(0)
    }

    /// Stake of one member on a node.
    pub(crate) fn of_member(&self, member: &str, node: NodeId) -> u64 {
        self.by_member.get(&(member.to_owned(), node)).copied().unwrap_or(0)
    }
}
