//! `OperatorService`.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use consilium_certs::Role;
use consilium_consensus::RaftId;
use consilium_grpc::operator_service_server::OperatorService;
use consilium_proto::pb;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use super::Api;
use super::errors::{self, Reason};
use crate::runtime::driver::DriverMsg;
use crate::runtime::shared::MemberCut;

#[tonic::async_trait]
impl OperatorService for Api {
    async fn get_status(
        &self,
        request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        Self::caller(&request)?;
        self.status().map(Response::new)
    }

    async fn transfer_leadership(
        &self,
        request: Request<pb::TransferLeadershipRequest>,
    ) -> Result<Response<pb::TransferLeadershipResponse>, Status> {
        let caller = Self::caller(&request)?;
        let topology = self.shared.topology.get();
        let own = topology.node(self.shared.me).map(|n| n.spiffe_id.clone()).unwrap_or_default();
        let same_member = own.starts_with(&format!("{}/", caller.id.trust_domain().to_uri()));
        if !caller.has_role(Role::Admin) || !same_member {
            return Err(Reason::PermissionDenied.status("only an administrator of this node's member may do this"));
        }
        let to = RaftId::new(request.into_inner().to);
        let (reply, answer) = oneshot::channel();
        self.driver.send(DriverMsg::Transfer { to, reply }).map_err(|_| Reason::NoLeader.status("stopping"))?;
        let to = answer.await.map_err(|_| Reason::NoLeader.status("stopping"))?;
        let to = to.map_err(|why| Reason::NoLeader.status(why))?;
        tracing::info!(by = %caller.id, to = to.get(), "leadership transfer asked for");
        let mut leader = self.shared.leader.subscribe();
        let done = leader.wait_for(|l| l.is_some_and(|l| l.0 == to.get()));
        match tokio::time::timeout(Duration::from_secs(10), done).await {
            Ok(Ok(_)) => Ok(Response::new(pb::TransferLeadershipResponse { leader: to.get() })),
            Ok(Err(_)) | Err(_) => Err(Reason::OutcomeUnknown.status("the transfer did not finish in time")),
        }
    }
}

impl Api {
    fn status(&self) -> Result<pb::GetStatusResponse, Status> {
        let shared = &self.shared;
        let topology = shared.topology.get();
        let applied = *shared.applied.borrow();
        let header = shared.ledger.header(applied.height).map_err(|e| errors::storage(&e))?;
        let raft = shared.raft.load();
        let raft = raft.as_ref();
        let number = |f: fn(&consilium_consensus::Status) -> u64| raft.map_or(0, |s| f(s));
        let forecast = self.peers.connections().expiries().newest();
        let alarms = shared.alarms.list().into_iter().map(|(name, alarm)| pb::Alarm {
            name: name.to_owned(),
            message: alarm.message,
            since_ms: alarm.since.0,
        });
        Ok(pb::GetStatusResponse {
            ledger_id: shared.genesis.ledger_id.to_bytes(),
            raft_id: shared.me.0,
            spiffe_id: topology.node(shared.me).map(|n| n.spiffe_id.clone()).unwrap_or_default(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            raft_role: raft.map_or_else(String::new, |s| role_name(s.role).to_owned()),
            leader: shared.leader.borrow().map_or(0, |l| l.0),
            term: number(|s| s.term.0),
            last_index: number(|s| s.last_index.0),
            commit_index: number(|s| s.commit.0),
            applied_index: applied.index.0,
            applied_height: applied.height.0,
            certified_height: shared.certified_height().0,
            state_root: header.as_ref().map(|h| h.state_root.to_bytes()).unwrap_or_default(),
            tree_size: header.as_ref().map_or(0, |h| h.tree_size),
            peers: self.peer_status(raft.map(AsRef::as_ref)),
            alarms: alarms.collect(),
            certificate_not_after_s: self.peers.certificate_not_after(),
            first_index: number(|s| s.truncated.0 + 1),
            queued_transactions: shared.queued.load(Ordering::Relaxed) as u64,
            epoch: topology.epoch().epoch.0,
            epoch_ends_ms: topology.epoch_ends().0,
            reconciliation: shared.reconciliation.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            expiries: forecast.to_messages(),
            quorum_lost_s: forecast.quorum_lost_s.unwrap_or(0),
            member_cuts: self.member_cuts(),
        })
    }

    fn peer_status(&self, raft: Option<&consilium_consensus::Status>) -> Vec<pb::PeerStatus> {
        let shared = &self.shared;
        let votes = shared.votes.lock().unwrap_or_else(PoisonError::into_inner);
        let topology = shared.topology.get();
        let validators = topology.validators();
        let peer = |node: &crate::identity::topology::NodeInfo| {
            let id = RaftId::new(node.id.0);
            let progress = raft.and_then(|s| s.peers.get(&id?));
            pb::PeerStatus {
                raft_id: node.id.0,
                spiffe_id: node.spiffe_id.clone(),
                client_address: node.client_address.clone(),
                voter: raft.zip(id).is_some_and(|(s, id)| s.membership.is_voter(id)),
                voting_power: validators.seat(node.id).map_or(0, |v| v.power.0),
                matched_index: progress.map_or(0, |p| p.matched.0),
                voted_height: votes.get(&node.id).map_or(0, |v| v.height.0),
                connected: node.id == shared.me || shared.is_connected(node.id),
                jailed: match node.jailed {
                    pb::JailReason::Unspecified => String::new(),
                    pb::JailReason::MissedVotes => "missed votes".to_owned(),
                    pb::JailReason::Equivocation => "equivocation".to_owned(),
                },
                member_status: if node.member_active { "active" } else { "suspended" }.to_owned(),
            }
        };
        topology.nodes().map(peer).collect()
    }

    fn member_cuts(&self) -> Vec<pb::MemberCut> {
        let cuts = self.shared.cuts.lock().unwrap_or_else(PoisonError::into_inner);
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
        cuts.iter().map(message).collect()
    }
}

fn role_name(role: consilium_consensus::Role) -> &'static str {
    match role {
        consilium_consensus::Role::Leader => "leader",
        consilium_consensus::Role::Follower => "follower",
        consilium_consensus::Role::Candidate => "candidate",
        consilium_consensus::Role::PreCandidate => "pre-candidate",
    }
}
