//! `ValidatorsService`: elections, stake, and the chain of validator sets that
//! light clients follow.

use consilium_grpc::validators_service_server::ValidatorsService;
use consilium_ledger::{forecast_election, keys};
use consilium_proto::error::FieldError;
use consilium_proto::ids::{Epoch, Height, NodeId};
use consilium_proto::names::MemberId;
use consilium_proto::pb::{self, EpochState, MemberState, ParticipationState, RosterState, StakeState};
use consilium_proto::validators::ValidatorSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Api;
use super::errors::Reason;
use super::streams::Outlet;
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;

/// Penalties in one answer.
const PENALTIES_MAX: usize = 1_000;
/// Epochs that are looked at in one snapshot.
const EPOCHS_AT_ONCE: u64 = 256;

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
        let (api, bounds) = (self.clone(), (Height(after_height), last));
        Ok(Response::new(Outlet::open(caller, |outlet| tell_set_changes(api, bounds, outlet))))
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

/// Tells every change of the set whose boundary is above the first height, up to the last. A
/// snapshot for each: a slow reader holds none.
async fn tell_set_changes(api: Api, bounds: (Height, Height), outlet: Outlet<pb::ListSetChangesResponse>) {
    let mut next = Some(Epoch(1));
    while let Some(epoch) = next {
        if !outlet.ready().await {
            return;
        }
        let change = match api.read(move |ledger| walk(ledger, epoch, bounds)).await {
            Ok(walked) => {
                next = walked.next;
                walked.change.map(|change| Ok(pb::ListSetChangesResponse { change: Some(*change) }))
            }
            Err(status) => Some(Err(status)),
        };
        if let Some(change) = change
            && !outlet.tell(change).await
        {
            return;
        }
    }
}

/// How far the epochs were looked at.
#[derive(Debug)]
struct Walked {
    change: Option<Box<pb::SetChange>>,
    /// Where to go on, if there may be more.
    next: Option<Epoch>,
}

/// Looks for the next change, so many epochs far.
fn walk(ledger: &LedgerSnapshot<'_>, from: Epoch, bounds: (Height, Height)) -> Result<Walked, StorageError> {
    for epoch in from.0..from.0.saturating_add(EPOCHS_AT_ONCE) {
        let change = match boundary(ledger, Epoch(epoch), bounds)? {
            Boundary::Beyond => return Ok(Walked { change: None, next: None }),
            Boundary::Unchanged => continue,
            Boundary::Change(change) => change,
        };
        return Ok(Walked { change: Some(change), next: Some(Epoch(epoch.saturating_add(1))) });
    }
    Ok(Walked { change: None, next: Some(Epoch(from.0.saturating_add(EPOCHS_AT_ONCE))) })
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
