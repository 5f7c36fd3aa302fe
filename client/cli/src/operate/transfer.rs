//! Which node is to be asked to hand over leadership: the one that leads, if it is of the own
//! member. Told by the nodes themselves, so that what cannot be is refused before anything is
//! asked for, with the node that would have to be asked.

use consilium_proto::names::{MemberId, SpiffeId};
use consilium_proto::pb;

use super::view::StatusView;
use crate::CliError;
use crate::context::escaped;

/// host:port of the leader. `to` is the raft id of who shall lead, 0 if whoever can.
pub(super) fn leads_at(views: &[StatusView], own: &MemberId, to: u64) -> Result<String, CliError> {
    let answers = || views.iter().filter_map(|view| view.node.as_ref().map(|node| (view.endpoint.as_str(), node)));
    // Of several terms the newest counts.
    let newest = answers().filter(|(_, node)| node.leader != 0).max_by_key(|(_, node)| node.term);
    let Some((_, told)) = newest else { return Err(no_leader(views)) };
    let leader = told.leader;
    if to != 0 {
        check_voter(told, to)?;
    }
    if let Some((endpoint, _)) = answers().find(|(_, node)| node.raft_id == leader) {
        return Ok(endpoint.to_owned());
    }
    let peer = told.peers.iter().find(|peer| peer.raft_id == leader);
    let unknown = || CliError::failed(format!("node {leader} leads, and nobody who was asked says where it is"));
    let peer = peer.filter(|peer| !peer.client_address.is_empty()).ok_or_else(unknown)?;
    let address = escaped(&peer.client_address);
    match peer.spiffe_id.parse::<SpiffeId>() {
        Ok(id) if id.member() == own => Ok(peer.client_address.clone()),
        Ok(id) => Err(CliError::failed(format!("node {leader} of {} leads", id.member()))
            .hint(format!("an administrator of {} has to run this, with --endpoints {address}", id.member()))),
        Err(_) => Err(unknown()),
    }
}

fn check_voter(told: &pb::GetStatusResponse, to: u64) -> Result<(), CliError> {
    if to == told.leader {
        return Err(CliError::usage(format!("--to: node {to} leads already")));
    }
    let voters = told.peers.iter().filter(|peer| peer.voter).map(|peer| peer.raft_id);
    if voters.clone().any(|voter| voter == to) {
        return Ok(());
    }
    let others = voters.filter(|voter| *voter != told.leader).map(|voter| voter.to_string());
    let others = others.collect::<Vec<_>>().join(", ");
    Err(CliError::usage(format!("--to: node {to} has no vote now; leadership can go to one of {others}")))
}

fn no_leader(views: &[StatusView]) -> CliError {
    let asked = views.iter().map(|view| view.endpoint.as_str()).collect::<Vec<_>>().join(", ");
    match views.iter().find_map(|view| view.error.as_ref()) {
        Some(error) if views.iter().all(|view| view.node.is_none()) => {
            CliError::failed(format!("no node answers: {} (asked: {asked})", escaped(error)))
        }
        Some(_) | None => CliError::failed(format!("no node knows who leads (asked: {asked})"))
            .hint("an election may be under way: `consilium status` shows when it is over"),
    }
}

#[cfg(test)]
mod tests;
