//! Nodes that join, take another's place, and leave. Used by proposals and by
//! members about their own nodes alike. A raft id and a vote key are given once
//! and never again, whatever becomes of the node: a peer that remembers an old
//! one can never take a new machine for it.

use consilium_proto::hash::Hash;
use consilium_proto::ids::NodeId;
use consilium_proto::limits::VALIDATORS_MAX;
use consilium_proto::pb::{JailReason, NodeState, NodeStatus, Outcome, VoteKeyState};
use consilium_proto::transaction::NodeDescription;

use super::{Change, Unfit, active_member, fits};
use crate::keys;
use crate::roster::corrupt;
use crate::stake;
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

/// Adds a node of an active member; gives its raft id.
pub(crate) fn register<R: StateReader>(
    view: &mut View<'_, R>,
    member: &str,
    node: &NodeDescription,
) -> Result<NodeId, Unfit> {
    add(view, member, node, None)
}

/// Puts a new node in the place of a lost one, with the stake on it.
pub(crate) fn replace<R: StateReader>(
    view: &mut View<'_, R>,
    change: &Change<'_>,
    lost: NodeId,
    node: &NodeDescription,
) -> Result<NodeId, Unfit> {
    let old = serving(view, lost)?;
    let new = add(view, &old.member, node, Some(lost))?;
    stake::move_delegations(view, lost, new)?;
    carry_penalty(view, lost, new)?;
    leave(view, change, old)?;
    Ok(new)
}

/// Takes a node out for good: with the end of the epoch if it has a seat.
pub(crate) fn retire<R: StateReader>(view: &mut View<'_, R>, change: &Change<'_>, id: NodeId) -> Result<(), Unfit> {
    let node = serving(view, id)?;
    leave(view, change, node)
}

/// A node that is neither retired nor about to be.
pub(crate) fn serving<R: StateReader>(view: &View<'_, R>, id: NodeId) -> Result<NodeState, Unfit> {
    let node = view.node(id)?.filter(|n| n.status == NodeStatus::Active as i32);
    node.ok_or_else(|| Unfit::refused(Outcome::NodeNotFound, format!("node {id} is not in service")))
}

/// Nodes of a member that are not retired, ascending by raft id.
pub(crate) fn of_member<R: StateReader>(view: &View<'_, R>, member: &str) -> Result<Vec<NodeState>, StoreFault> {
    let mut nodes = Vec::new();
    for id in view.roster()?.nodes {
        let node = view.node(NodeId(id))?.ok_or_else(|| corrupt(format!("node {id} of the roster is absent")))?;
        if node.member == member {
            nodes.push(node);
        }
    }
    Ok(nodes)
}

fn add<R: StateReader>(
    view: &mut View<'_, R>,
    member: &str,
    node: &NodeDescription,
    replaces: Option<NodeId>,
) -> Result<NodeId, Unfit> {
    active_member(view, member)?;
    let replaced = replaces.unwrap_or_default();
    let name_taken = of_member(view, member)?.iter().any(|n| n.name == node.name.as_str() && n.raft_id != replaced.0);
    fits(!name_taken, Outcome::NodeExists, || format!("{member} has a node {}", node.name))?;
    let vote_key = keys::vote_key(&Hash::of(&[node.vote_key.raw()]));
    let key_used = view.get(Table::State, &vote_key)?.is_some();
    fits(!key_used, Outcome::NodeExists, || format!("the vote key of {} was used before", node.name))?;
    let mut roster = view.roster()?;
    let room = roster.nodes.len() < VALIDATORS_MAX;
    fits(room, Outcome::TooManyNodes, || format!("the network has {VALIDATORS_MAX} nodes"))?;
    let raft_id = roster.last_raft_id.checked_add(1).ok_or_else(|| corrupt("raft ids are used up"))?;
    roster.last_raft_id = raft_id;
    // The highest: the list stays ascending.
    roster.nodes.push(raft_id);
    view.put_roster(&roster);
    view.put_node(&NodeState {
        raft_id,
        member: member.to_owned(),
        name: node.name.to_string(),
        peer_address: node.peer_address.clone(),
        client_address: node.client_address.clone(),
        vote_key: node.vote_key.raw().to_vec().into(),
        status: NodeStatus::Active as i32,
        replaces: replaced.0,
    });
    view.put_message(Table::State, vote_key, &VoteKeyState { raft_id });
    Ok(NodeId(raft_id))
}

/// Double signing is not undone by another machine; missed votes are.
fn carry_penalty<R: StateReader>(view: &mut View<'_, R>, from: NodeId, to: NodeId) -> Result<(), StoreFault> {
    let mut standing = view.standing(from)?;
    if standing.jailed == JailReason::Equivocation as i32 {
        standing.maintenance_from_ms = 0;
        standing.maintenance_until_ms = 0;
        view.put_standing(to, &standing);
    }
    Ok(())
}

/// A seat lasts to the end of its epoch; without one a node leaves at once.
fn leave<R: StateReader>(view: &mut View<'_, R>, change: &Change<'_>, mut node: NodeState) -> Result<(), Unfit> {
    if !change.epoch.is_seated(NodeId(node.raft_id)) {
        return let_go(view, change, node);
    }
    node.status = NodeStatus::Retiring as i32;
    view.put_node(&node);
    Ok(())
}

/// Retires a node at once; the stake on it unbonds.
pub(super) fn let_go<R: StateReader>(
    view: &mut View<'_, R>,
    change: &Change<'_>,
    mut node: NodeState,
) -> Result<(), Unfit> {
    let id = NodeId(node.raft_id);
    node.status = NodeStatus::Retired as i32;
    view.put_node(&node);
    let mut roster = view.roster()?;
    roster.nodes.retain(|n| *n != id.0);
    view.put_roster(&roster);
    unbond(view, change, id)
}

/// Lets the stake on a node go back to those who put it there.
fn unbond<R: StateReader>(view: &mut View<'_, R>, change: &Change<'_>, node: NodeId) -> Result<(), Unfit> {
    let members = view.roster()?.members;
    let epoch = change.epoch;
    Ok(stake::unbond_node(view, &members, node, epoch.next(), epoch.parameters.unbonding_epochs)?)
}
