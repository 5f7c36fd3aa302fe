//! `ValidatorsService`: elections, stake, and the chain of validator sets that
//! light clients follow.

use consilium_grpc::validators_service_server::ValidatorsService;
use consilium_ledger::{forecast_election, keys};
use consilium_proto::error::FieldError;
use consilium_proto::ids::{Epoch, Height, NodeId};
use consilium_proto::names::MemberId;
use consilium_proto::pb::{self, EpochState, MemberState, ParticipationState, RosterState, StakeState};
use consilium_proto::validators::ValidatorSet;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Api;
use super::errors::{self, Reason};
use crate::contained::{self, Items};
use crate::storage::StorageError;
use crate::storage::ledger_store::LedgerStore;
use crate::storage::snapshot::LedgerSnapshot;

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
        let row: Option<EpochState> = self.read(move |ledger| ledger.state(&keys::epoch(wanted))).await?;
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
        let topology = self.published.topology().get();
        self.read(move |ledger| candidates(ledger, topology.validators())).await.map(Response::new)
    }

    async fn get_stake(&self, request: Request<pb::GetStakeRequest>) -> Result<Response<pb::GetStakeResponse>, Status> {
        Self::caller(&request)?;
        let within = self.time_left(&request);
        let pb::GetStakeRequest { member, read } = request.into_inner();
        MemberId::parse("member", &member).map_err(|e| Reason::InvalidArgument.field(&e))?;
        self.freshen(read.as_ref(), within).await?;
        let read = move |ledger: &LedgerSnapshot<'_>| {
            let row: Option<MemberState> = ledger.state(&keys::member(&member))?;
            let stake: StakeState = ledger.state(&keys::stake(&member))?.unwrap_or_default();
            Ok(row.map(|row| (row.stake, stake)))
        };
        let (allotted, stake) = self.read(read).await?.ok_or_else(|| Reason::NotFound.status("no such member"))?;
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
        let caller = Self::caller(&request)?;
        let pb::ListSetChangesRequest { known_validators_hash, to_height, after_height } = request.into_inner();
        if !known_validators_hash.is_empty() && known_validators_hash.len() != 32 {
            let error = FieldError::malformed("known_validators_hash", "must be 32 bytes or empty");
            return Err(Reason::InvalidArgument.field(&error));
        }
        let certified = self.published.certified_height();
        let last = if to_height == 0 { certified } else { certified.min(Height(to_height)) };
        let (store, place) = (std::sync::Arc::clone(&self.ledger), self.stream(&caller)?);
        let (sender, receiver) = mpsc::channel(64);
        contained::feed_blocking(sender, move |sender| {
            let _open = place;
            let sent = send_set_changes(&store, Height(after_height), last, sender);
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
        self.read(penalties).await.map(Response::new)
    }
}

fn candidates(
    ledger: &LedgerSnapshot<'_>,
    validators: &ValidatorSet,
) -> Result<pb::ListCandidatesResponse, StorageError> {
    let forecast = forecast_election(ledger, ledger.tip_header()).map_err(|e| StorageError::corrupt("state", e))?;
    let participation: ParticipationState = ledger.state(&keys::participation())?.unwrap_or_default();
    let mut candidates = Vec::with_capacity(forecast.candidates.len());
    for entry in &forecast.candidates {
        let id = NodeId(entry.node);
        candidates.push(pb::Candidate {
            node: ledger.state(&keys::node(id))?,
            stake: entry.stake,
            self_delegation: entry.self_delegation,
            power: validators.seat(id).map_or(0, |seat| seat.power.0),
            standing: ledger.state(&keys::standing(id))?,
            participation: participation.nodes.iter().find(|n| n.node == entry.node).copied(),
        });
    }
    Ok(pb::ListCandidatesResponse { candidates, forecast: Some(forecast) })
}

/// The newest penalties, newest first.
fn penalties(ledger: &LedgerSnapshot<'_>) -> Result<pb::ListPenaltiesResponse, StorageError> {
    let last = ledger.state::<RosterState>(&keys::roster())?.unwrap_or_default().last_penalty;
    let mut penalties = Vec::new();
    for number in (1..=last).rev().take(PENALTIES_MAX) {
        penalties.extend(ledger.state::<pb::PenaltyState>(&keys::penalty(number))?);
    }
    Ok(pb::ListPenaltiesResponse { penalties })
}

/// Every change of the set whose boundary is above `after`, up to `last`. A
/// snapshot for each: a slow reader holds none.
fn send_set_changes(
    store: &LedgerStore,
    after: Height,
    last: Height,
    sender: &Items<pb::ListSetChangesResponse>,
) -> Result<(), StorageError> {
    for epoch in 1.. {
        let change = match boundary(&store.snapshot()?, Epoch(epoch), (after, last))? {
            Boundary::Beyond => return Ok(()),
            Boundary::Unchanged => continue,
            Boundary::Change(change) => change,
        };
        if sender.blocking_send(Ok(pb::ListSetChangesResponse { change: Some(*change) })).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// What the block before an epoch tells who asked for changes of the set.
enum Boundary {
    /// It is above the last height asked for, or has not come yet.
    Beyond,
    /// It was known before, or the set stays.
    Unchanged,
    Change(Box<pb::SetChange>),
}

fn boundary(
    ledger: &LedgerSnapshot<'_>,
    epoch: Epoch,
    (after, last): (Height, Height),
) -> Result<Boundary, StorageError> {
    let row: Option<EpochState> = ledger.state(&keys::epoch(epoch))?;
    let Some(row) = row else { return Ok(Boundary::Beyond) };
    let height = Height(row.first_height.saturating_sub(1));
    if height > last {
        return Ok(Boundary::Beyond);
    }
    if height <= after {
        return Ok(Boundary::Unchanged);
    }
    let header = ledger.header(height)?.ok_or_else(|| StorageError::corrupt("block", "absent"))?;
    if header.next_validators_hash == header.validators_hash {
        return Ok(Boundary::Unchanged);
    }
    let certificate = ledger.certificate_at(height)?;
    let certificate = certificate.ok_or_else(|| StorageError::corrupt("certificate", "of a boundary is absent"))?;
    let boundary = pb::CertifiedHeader { header: Some((&header).into()), certificate: Some((&certificate).into()) };
    Ok(Boundary::Change(Box::new(pb::SetChange { boundary: Some(boundary), next: row.validators })))
}
