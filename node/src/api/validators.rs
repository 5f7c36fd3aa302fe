//! `ValidatorsService`: elections, stake, and the chain of validator sets that
//! light clients follow.

use consilium_grpc::validators_service_server::ValidatorsService;
use consilium_ledger::{Table, forecast_election, keys};
use consilium_proto::error::FieldError;
use consilium_proto::ids::{Epoch, Height, MemberId, NodeId};
use consilium_proto::pb::{self, EpochState, MemberState, NodeState, ParticipationState, RosterState, StakeState};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Api;
use super::errors::{self, Reason};
use crate::storage::StorageError;
use crate::storage::ledger_store::LedgerStore;

/// Penalties in one answer.
const PENALTIES_MAX: usize = 1_000;

#[tonic::async_trait]
impl ValidatorsService for Api {
    async fn get_epoch(&self, request: Request<pb::GetEpochRequest>) -> Result<Response<pb::GetEpochResponse>, Status> {
        Self::caller(&request)?;
        let within = self.time_left(&request);
        let pb::GetEpochRequest { epoch, read } = request.into_inner();
        self.freshen(read.as_ref(), within).await?;
        let topology = self.published.topology().get();
        let current = topology.epoch().epoch;
        let wanted = epoch.map_or(current, Epoch);
        let row: Option<EpochState> = self.row(&keys::epoch(wanted))?;
        let row = row.ok_or_else(|| Reason::NotFound.status(format!("epoch {wanted} has not begun")))?;
        let ends_ms = topology.epoch_ends().0;
        Ok(Response::new(pb::GetEpochResponse { epoch: Some(row), current: current.0, ends_ms }))
    }

    async fn list_candidates(
        &self,
        request: Request<pb::ListCandidatesRequest>,
    ) -> Result<Response<pb::ListCandidatesResponse>, Status> {
        Self::caller(&request)?;
        let within = self.time_left(&request);
        self.freshen(request.get_ref().read.as_ref(), within).await?;
        let api = self.clone();
        let answer = tokio::task::spawn_blocking(move || api.candidates());
        answer.await.map_err(|_| Reason::Internal.status("listing candidates failed"))?.map(Response::new)
    }

    async fn get_stake(&self, request: Request<pb::GetStakeRequest>) -> Result<Response<pb::GetStakeResponse>, Status> {
        Self::caller(&request)?;
        let within = self.time_left(&request);
        let pb::GetStakeRequest { member, read } = request.into_inner();
        MemberId::parse("member", &member).map_err(|e| Reason::InvalidArgument.field(&e))?;
        self.freshen(read.as_ref(), within).await?;
        let row: Option<MemberState> = self.row(&keys::member(&member))?;
        let allotted = row.ok_or_else(|| Reason::NotFound.status("no such member"))?.stake;
        let stake: StakeState = self.row(&keys::stake(&member))?.unwrap_or_default();
        let bound = stake.delegations.iter().map(|d| d.amount);
        let bound = bound.chain(stake.unbonding.iter().map(|u| u.amount));
        let bound = bound.chain(stake.pending.iter().filter(|p| p.from == 0).map(|p| p.amount));
        let free = bound.fold(allotted, u64::saturating_sub);
        Ok(Response::new(pb::GetStakeResponse { allotted, free, stake: Some(stake) }))
    }

    type ListSetChangesStream = ReceiverStream<Result<pb::ListSetChangesResponse, Status>>;

    async fn list_set_changes(
        &self,
        request: Request<pb::ListSetChangesRequest>,
    ) -> Result<Response<Self::ListSetChangesStream>, Status> {
        Self::caller(&request)?;
        let pb::ListSetChangesRequest { known_validators_hash, to_height, after_height } = request.into_inner();
        if !known_validators_hash.is_empty() && known_validators_hash.len() != 32 {
            let error = FieldError::malformed("known_validators_hash", "must be 32 bytes or empty");
            return Err(Reason::InvalidArgument.field(&error));
        }
        let certified = self.published.certified_height();
        let last = if to_height == 0 { certified } else { certified.min(Height(to_height)) };
        let store = std::sync::Arc::clone(&self.ledger);
        let (sender, receiver) = mpsc::channel(64);
        tokio::task::spawn_blocking(move || {
            let sent = send_set_changes(&store, Height(after_height), last, &sender);
            if let Err(error) = sent {
                let _ = sender.blocking_send(Err(errors::storage(&error)));
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn list_penalties(
        &self,
        request: Request<pb::ListPenaltiesRequest>,
    ) -> Result<Response<pb::ListPenaltiesResponse>, Status> {
        Self::caller(&request)?;
        let within = self.time_left(&request);
        self.freshen(request.get_ref().read.as_ref(), within).await?;
        let last = self.roster()?.last_penalty;
        let mut penalties = Vec::new();
        for number in (1..=last).rev().take(PENALTIES_MAX) {
            penalties.extend(self.row::<pb::PenaltyState>(&keys::penalty(number))?);
        }
        Ok(Response::new(pb::ListPenaltiesResponse { penalties }))
    }
}

impl Api {
    /// A row of the authenticated state.
    pub(super) fn row<M: Message + Default>(&self, key: &[u8]) -> Result<Option<M>, Status> {
        self.ledger.message(Table::State, key).map_err(|e| errors::storage(&e))
    }

    pub(super) fn roster(&self) -> Result<RosterState, Status> {
        Ok(self.row(&keys::roster())?.unwrap_or_default())
    }

    fn candidates(&self) -> Result<pb::ListCandidatesResponse, Status> {
        let store = &self.ledger;
        let tip = store.tip().map_err(|e| errors::storage(&e))?;
        let (_, tip) = tip.ok_or_else(|| Reason::Internal.status("the ledger has no genesis"))?;
        let forecast = forecast_election(&**store, &tip.header)
            .map_err(|e| errors::storage(&StorageError::corrupt("state", e)))?;
        let participation: ParticipationState = self.row(&keys::participation())?.unwrap_or_default();
        let topology = self.published.topology().get();
        let mut candidates = Vec::new();
        for entry in &forecast.candidates {
            let id = NodeId(entry.node);
            let node: Option<NodeState> = self.row(&keys::node(id))?;
            candidates.push(pb::Candidate {
                node,
                stake: entry.stake,
                self_delegation: entry.self_delegation,
                power: topology.validators().seat(id).map_or(0, |seat| seat.power.0),
                standing: self.row(&keys::standing(id))?,
                participation: participation.nodes.iter().find(|n| n.node == entry.node).copied(),
            });
        }
        Ok(pb::ListCandidatesResponse { candidates, forecast: Some(forecast) })
    }
}

type Sender = mpsc::Sender<Result<pb::ListSetChangesResponse, Status>>;

/// Every change of the set whose boundary is above `after`, up to `last`.
fn send_set_changes(store: &LedgerStore, after: Height, last: Height, sender: &Sender) -> Result<(), StorageError> {
    for epoch in 1.. {
        let row: Option<EpochState> = store.message(Table::State, &keys::epoch(Epoch(epoch)))?;
        let Some(row) = row else { return Ok(()) };
        let boundary = Height(row.first_height.saturating_sub(1));
        if boundary > last {
            return Ok(());
        }
        if boundary <= after {
            continue;
        }
        let header = store.header(boundary)?.ok_or_else(|| StorageError::corrupt("block", "absent"))?;
        if header.next_validators_hash == header.validators_hash {
            continue;
        }
        let certificate = store.certificate_at(boundary)?;
        let certificate = certificate.ok_or_else(|| StorageError::corrupt("certificate", "of a boundary is absent"))?;
        let boundary = pb::CertifiedHeader { header: Some((&header).into()), certificate: Some((&certificate).into()) };
        let change = pb::SetChange { boundary: Some(boundary), next: row.validators };
        if sender.blocking_send(Ok(pb::ListSetChangesResponse { change: Some(change) })).is_err() {
            return Ok(());
        }
    }
    Ok(())
}
