//! `OperatorService`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use consilium_consensus::{RaftId, TransferError};
use consilium_grpc::operator_service_server::OperatorService;
use consilium_proto::ids::{Height, NodeId};
use consilium_proto::names::Role;
use consilium_proto::pb;
use consilium_replica::topology::NodeInfo;
use tonic::{Request, Response, Status};

use super::Api;
use super::errors::Reason;
use crate::cuts::MemberCut;
use crate::storage::snapshot::LedgerSnapshot;

#[tonic::async_trait]
impl OperatorService for Api {
    async fn get_status(
        &self,
        request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        Self::caller(&request)?;
        self.status(Height(request.into_inner().height)).await.map(Response::new)
    }

    async fn transfer_leadership(
        &self,
        request: Request<pb::TransferLeadershipRequest>,
    ) -> Result<Response<pb::TransferLeadershipResponse>, Status> {
        let caller = Self::caller(&request)?;
        let topology = self.published.topology().get();
        let own = topology.node(self.published.me());
        let same_member = own.is_some_and(|own| own.spiffe_id.member() == caller.id.member());
        if !caller.has_role(Role::Admin) || !same_member {
            return Err(Reason::PermissionDenied.status("only an administrator of this node's member may do this"));
        }
        let to = RaftId::new(request.into_inner().to);
        let asked = self.handle.transfer(to).await.map_err(|e| Reason::NoLeader.status(e.to_string()))?;
        let to = asked.map_err(|why| self.not_handed_over(&why))?;
        tracing::info!(by = %caller.id, to = to.get(), "leadership transfer asked for");
        let mut leader = self.published.watch_leader();
        let done = leader.wait_for(|l| l.is_some_and(|l| l.0 == to.get()));
        match tokio::time::timeout(Duration::from_secs(10), done).await {
            Ok(Ok(_)) => Ok(Response::new(pb::TransferLeadershipResponse { leader: to.get() })),
            Ok(Err(_)) | Err(_) => Err(Reason::OutcomeUnknown.status("the transfer did not finish in time")),
        }
    }
}

impl Api {
    /// Only what may be otherwise in a moment is to be tried again.
    fn not_handed_over(&self, why: &TransferError) -> Status {
        match why {
            TransferError::NotLeader { leader: Some(leader) } => {
                Reason::NoLeader.status(format!("this node does not lead, node {leader} does: ask that one"))
            }
            TransferError::NotLeader { leader: None } => Reason::NoLeader.status("this node knows no leader"),
            TransferError::NotEligible { to } => {
                let me = self.published.me().0;
                let membership = &self.published.status().raft.membership;
                let others =
                    self.published.topology().get().nodes().filter_map(|node| RaftId::new(node.id.0)).collect();
                let problem = not_eligible(*to, me, others, |id| membership.is_voter(id));
                Reason::InvalidArgument.named_field("to", &problem)
            }
            TransferError::NoCandidate => {
                Reason::NotPossible.status("no other voter was heard from lately that could take over")
            }
        }
    }

    async fn status(&self, asked: Height) -> Result<pb::GetStatusResponse, Status> {
        let published = &self.published;
        // Before the snapshot is taken: what is certified is in it.
        let certified = published.certified_height();
        let is_held = asked > Height::GENESIS && asked <= certified;
        let read = move |ledger: &LedgerSnapshot<'_>| {
            let held = is_held.then(|| ledger.header(asked)).transpose()?.flatten();
            Ok((ledger.tip_header().clone(), held))
        };
        let (header, held) = self.read(read).await?;
        let since_ms = published.held_since(asked).map_or(0, |since| since.0);
        let (topology, applied, status) = (published.topology().get(), published.applied(), published.status());
        let raft = &status.raft;
        let forecast = self.peers.connections().expiries().newest();
        let alarms = self.alarms.list().into_iter().map(|(name, alarm)| pb::Alarm {
            name: name.to_owned(),
            message: alarm.message,
            since_ms: alarm.since.0,
        });
        Ok(pb::GetStatusResponse {
            ledger_id: self.genesis.ledger_id.to_bytes(),
            raft_id: published.me().0,
            spiffe_id: topology.node(published.me()).map(|n| n.spiffe_id.to_string()).unwrap_or_default(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            raft_role: raft_role(raft.role).into(),
            leader: published.leader().map_or(0, |l| l.0),
            term: raft.term.0,
            last_index: raft.last_index.0,
            commit_index: raft.commit.0,
            applied_index: applied.index.0,
            applied_height: header.height.0,
            certified_height: certified.0,
            state_root: header.state_root.to_bytes(),
            tree_size: header.tree_size,
            peers: self.peer_status(&status),
            alarms: alarms.collect(),
            certificate_not_after_s: self.peers.certificate_not_after(),
            first_index: raft.truncated.0 + 1,
            queued_transactions: status.queued as u64,
            epoch: topology.epoch().epoch.0,
            epoch_ends_ms: topology.epoch_ends().0,
            reconciliation: status.reconciliation.as_ref().map(ToString::to_string).unwrap_or_default(),
            expiries: forecast.to_messages(),
            quorum_lost_s: forecast.quorum_lost_s.unwrap_or(0),
            member_cuts: self.member_cuts(),
            clock_ahead_ms: status.skew.map_or(0, |skew| skew.ahead_ms),
            held: held.map(|held| pb::BlockHeld { made_ms: held.time.0, since_ms }),
        })
    }

    fn peer_status(&self, status: &consilium_replica::Status) -> Vec<pb::PeerStatus> {
        let (topology, me) = (self.published.topology().get(), self.published.me());
        let voted: BTreeMap<NodeId, Height> = status.voted.iter().copied().collect();
        let validators = topology.validators();
        let raft = &status.raft;
        let peer = |node: &NodeInfo| {
            let id = RaftId::new(node.id.0);
            let progress = id.and_then(|id| raft.peers.get(&id));
            pb::PeerStatus {
                raft_id: node.id.0,
                spiffe_id: node.spiffe_id.to_string(),
                client_address: node.client_address.clone(),
                voter: id.is_some_and(|id| raft.membership.is_voter(id)),
                voting_power: validators.seat(node.id).map_or(0, |v| v.power.0),
                matched_index: progress.map_or(0, |p| p.matched.0),
                voted_height: voted.get(&node.id).map_or(0, |h| h.0),
                connected: node.id == me || self.outbox.is_connected(node.id),
                jailed: node.jailed.into(),
                member_status: match node.member_active {
                    true => pb::MemberStatus::Active,
                    false => pb::MemberStatus::Suspended,
                }
                .into(),
            }
        };
        topology.nodes().map(peer).collect()
    }

    fn member_cuts(&self) -> Vec<pb::MemberCut> {
        let micros = |from: Option<Instant>, to: Option<Instant>| {
            let between = from.zip(to).map_or(Duration::ZERO, |(from, to)| to.saturating_duration_since(from));
            u64::try_from(between.as_micros()).unwrap_or(u64::MAX)
        };
        let message = |cut: &MemberCut| pb::MemberCut {
            member: cut.member.clone(),
            height: cut.height.0,
            execution_to_cut_us: micros(Some(cut.executed), cut.cut),
            certified_to_cut_us: micros(cut.certified, cut.cut),
            connections: cut.connections,
        };
        self.cuts.list().iter().map(message).collect()
    }
}

/// Why leadership cannot go to a node, and to which it can.
fn not_eligible(to: RaftId, me: u64, nodes: Vec<RaftId>, is_voter: impl Fn(RaftId) -> bool) -> String {
    if to.get() == me {
        return format!("node {to} leads already");
    }
    let others = nodes.into_iter().filter(|id| id.get() != me && is_voter(*id));
    let others = others.map(|id| id.to_string()).collect::<Vec<_>>().join(", ");
    format!("node {to} has no vote now; leadership can go to one of {others}")
}

fn raft_role(role: consilium_consensus::Role) -> pb::RaftRole {
    match role {
        consilium_consensus::Role::Leader => pb::RaftRole::Leader,
        consilium_consensus::Role::Follower => pb::RaftRole::Follower,
        consilium_consensus::Role::Candidate => pb::RaftRole::Candidate,
        consilium_consensus::Role::PreCandidate => pb::RaftRole::PreCandidate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_lead_is_told_with_who_can() {
        let nodes: Vec<RaftId> = (1..=4).filter_map(RaftId::new).collect();
        let told = |to: u64| RaftId::new(to).map(|to| not_eligible(to, 1, nodes.clone(), |id| id.get() != 4));
        assert_eq!(told(9).as_deref(), Some("node 9 has no vote now; leadership can go to one of 2, 3"));
        assert_eq!(told(4).as_deref(), Some("node 4 has no vote now; leadership can go to one of 2, 3"));
        assert_eq!(told(1).as_deref(), Some("node 1 leads already"));
    }
}
