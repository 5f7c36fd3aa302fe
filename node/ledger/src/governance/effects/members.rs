//! Members that come, are cut off, come back, and leave for good.

use consilium_proto::genesis::{Member, Node};
use consilium_proto::ids::NodeId;
use consilium_proto::pb::{Delegation, MemberState, MemberStatus, Outcome, StakeState};
use consilium_proto::transaction::NodeDescription;

use super::{Change, Unfit, active_member, fits, nodes, present_member};
use crate::custody;
use crate::in_force::EpochInForce;
use crate::keys;
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

pub(super) fn admit<R: StateReader>(view: &mut View<'_, R>, change: &Change<'_>, member: &Member) -> Result<(), Unfit> {
    let id = member.id.as_str();
    fits(view.member(id)?.is_none(), Outcome::ProposalRefused, || format!("{id} is a member, or was one"))?;
    let bundle_is_its_own = change.identities.check_bundle(&member.id, &member.ca_bundle);
    fits(bundle_is_its_own, Outcome::ProposalRefused, || format!("the CA bundle does not name {id}"))?;
    view.put_member(&MemberState {
        id: id.to_owned(),
        display_name: member.display_name.clone(),
        ca_bundle: member.ca_bundle.clone(),
        status: MemberStatus::Active as i32,
        stake: member.stake,
        crls: Vec::new(),
        withdrawn: Vec::new(),
    });
    let mut roster = view.roster()?;
    let place = roster.members.partition_point(|m| m.as_str() < id);
    roster.members.insert(place, id.to_owned());
    view.put_roster(&roster);
    let mut given = Vec::with_capacity(member.nodes.len());
    for node in &member.nodes {
        given.push(nodes::register(view, id, &description(node))?);
    }
    // Nothing looks at delegations before the end of the epoch.
    let delegations = evenly(member.stake, &given);
    view.put_stake(id, &StakeState { delegations, ..StakeState::default() });
    Ok(())
}

fn description(node: &Node) -> NodeDescription {
    NodeDescription {
        name: node.name.clone(),
        peer_address: node.peer_address.clone(),
        client_address: node.client_address.clone(),
        vote_key: node.vote_key.clone(),
    }
}

/// A stake split evenly, what does not divide on the first: as in the genesis.
fn evenly(stake: u64, nodes: &[NodeId]) -> Vec<Delegation> {
    let parts = nodes.len().max(1) as u64;
    let amount = |index: usize| stake / parts + if index == 0 { stake % parts } else { 0 };
    let delegation = |(index, node): (usize, &NodeId)| Delegation { node: node.0, amount: amount(index) };
    nodes.iter().enumerate().map(delegation).filter(|d| d.amount > 0).collect()
}

/// Its nodes, its stake and its delegations stay; none of them counts.
pub(super) fn suspend<R: StateReader>(view: &mut View<'_, R>, change: &Change<'_>, id: &str) -> Result<(), Unfit> {
    let mut member = active_member(view, id)?;
    member.status = MemberStatus::Suspended as i32;
    view.put_member(&member);
    end_epoch_if_seated(view, change, id)?;
    Ok(())
}

pub(super) fn reinstate<R: StateReader>(view: &mut View<'_, R>, id: &str) -> Result<(), Unfit> {
    let mut member = present_member(view, id)?;
    let suspended = member.status == MemberStatus::Suspended as i32;
    fits(suspended, Outcome::ProposalRefused, || format!("{id} is not suspended"))?;
    member.status = MemberStatus::Active as i32;
    view.put_member(&member);
    Ok(())
}

/// Only once the successor, on whom the members vote, too, has accepted what it keeps: nobody could
/// open that any more. Its nodes retire at once, its stake is gone, and what others delegate to its
/// nodes unbonds. Its rows stay, so that its id and vote keys are never used
/// again and old signatures can be told.
pub(super) fn remove<R: StateReader>(
    view: &mut View<'_, R>,
    change: &Change<'_>,
    id: &str,
    successor: Option<&str>,
) -> Result<(), Unfit> {
    let mut member = present_member(view, id)?;
    if let Some(why) = custody::pass_on(view, id, successor, change.height)? {
        return Err(Unfit::refused(Outcome::ProposalRefused, why));
    }
    end_epoch_if_seated(view, change, id)?;
    member.status = MemberStatus::Removed as i32;
    member.stake = 0;
    view.put_member(&member);
    view.remove(Table::State, keys::stake(id));
    let mut roster = view.roster()?;
    roster.members.retain(|m| m != id);
    view.put_roster(&roster);
    for node in nodes::of_member(view, id)? {
        nodes::let_go(view, change, node)?;
    }
    Ok(())
}

/// A seat of a member that is cut off ends with this block.
fn end_epoch_if_seated<R: StateReader>(
    view: &mut View<'_, R>,
    change: &Change<'_>,
    id: &str,
) -> Result<(), StoreFault> {
    if !seats_of(view, change.epoch, id)?.is_empty() {
        view.request_epoch_end();
    }
    Ok(())
}

/// Nodes of a member that have a seat.
fn seats_of<R: StateReader>(view: &View<'_, R>, epoch: &EpochInForce, member: &str) -> Result<Vec<NodeId>, StoreFault> {
    let nodes = nodes::of_member(view, member)?;
    Ok(nodes.into_iter().map(|n| NodeId(n.raft_id)).filter(|id| epoch.is_seated(*id)).collect())
}

#[cfg(test)]
mod tests;
