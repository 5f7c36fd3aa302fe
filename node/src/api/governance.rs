//! `GovernanceService`: members, rules and proposals. It only reads; what a
//! ballot does is for the rules.

use consilium_grpc::governance_service_server::GovernanceService;
use consilium_ledger::{StoreFault, keys, lookup, preview};
use consilium_proto::pb::{self, ProposalState, ProposalStatus, RosterState};
use prost::Message;
use tonic::{Request, Response, Status};

use super::Api;
use super::errors::Reason;
use super::pages::Filled;
use crate::identity::rules::X509Rules;
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;

/// Proposals in a page, unless asked otherwise.
const PAGE: u32 = 20;
/// Proposals in a page, at most.
const PAGE_MAX: u32 = 100;

#[tonic::async_trait]
impl GovernanceService for Api {
    async fn get_proposal(
        &self,
        request: Request<pb::GetProposalRequest>,
    ) -> Result<Response<pb::GetProposalResponse>, Status> {
        Self::caller(&request)?;
        let within = self.time_left(&request);
        let pb::GetProposalRequest { number, read } = request.into_inner();
        self.freshen(read.as_ref(), within).await?;
        let found = self.read(move |ledger| proposal(ledger, number)).await?;
        found.map(Response::new).ok_or_else(|| Reason::NotFound.status(format!("there is no proposal {number}")))
    }

    async fn list_proposals(
        &self,
        request: Request<pb::ListProposalsRequest>,
    ) -> Result<Response<pb::ListProposalsResponse>, Status> {
        Self::caller(&request)?;
        let within = self.time_left(&request);
        let request = request.into_inner();
        self.freshen(request.read.as_ref(), within).await?;
        self.read(move |ledger| proposals(ledger, &request)).await.map(Response::new)
    }

    async fn preview_proposal(
        &self,
        request: Request<pb::PreviewProposalRequest>,
    ) -> Result<Response<pb::PreviewProposalResponse>, Status> {
        Self::caller(&request)?;
        let within = self.time_left(&request);
        let pb::PreviewProposalRequest { topic, read } = request.into_inner();
        let topic = topic.unwrap_or_default();
        consilium_proto::transaction::Topic::parse(&topic).map_err(|e| Reason::InvalidArgument.field(&e))?;
        self.freshen(read.as_ref(), within).await?;
        self.read(move |ledger| preview_topic(ledger, &topic)).await.map(Response::new)
    }

    async fn list_members(
        &self,
        request: Request<pb::ListMembersRequest>,
    ) -> Result<Response<pb::ListMembersResponse>, Status> {
        Self::caller(&request)?;
        let within = self.time_left(&request);
        self.freshen(request.get_ref().read.as_ref(), within).await?;
        self.read(|ledger| lookup::members(ledger).map_err(fault)).await.map(Response::new)
    }

    async fn get_rules(&self, request: Request<pb::GetRulesRequest>) -> Result<Response<pb::GetRulesResponse>, Status> {
        Self::caller(&request)?;
        let within = self.time_left(&request);
        self.freshen(request.get_ref().read.as_ref(), within).await?;
        self.read(rules).await.map(Response::new)
    }
}

fn roster(ledger: &LedgerSnapshot<'_>) -> Result<RosterState, StorageError> {
    Ok(ledger.state(&keys::roster())?.unwrap_or_default())
}

fn proposal(ledger: &LedgerSnapshot<'_>, number: u64) -> Result<Option<pb::GetProposalResponse>, StorageError> {
    lookup::proposal(ledger, ledger.tip_header(), number).map_err(fault)
}

/// A page of proposals, newest first.
fn proposals(
    ledger: &LedgerSnapshot<'_>,
    request: &pb::ListProposalsRequest,
) -> Result<pb::ListProposalsResponse, StorageError> {
    let roster = roster(ledger)?;
    let last = roster.last_proposal;
    let first = if request.before == 0 { last } else { request.before.saturating_sub(1).min(last) };
    let page_size = if request.page_size == 0 { PAGE } else { request.page_size.min(PAGE_MAX) } as usize;
    let (mut proposals, mut filled) = (Vec::new(), Filled::default());
    for number in (1..=first).rev() {
        if proposals.len() == page_size {
            return Ok(pb::ListProposalsResponse { proposals, next_before: number + 1 });
        }
        if request.open_only && !roster.open_proposals.contains(&number) {
            continue;
        }
        let answer = proposal(ledger, number)?.filter(|answer| !request.open_only || is_open(answer));
        if answer.as_ref().is_some_and(|answer| !filled.takes(answer.encoded_len())) {
            return Ok(pb::ListProposalsResponse { proposals, next_before: number + 1 });
        }
        proposals.extend(answer);
    }
    Ok(pb::ListProposalsResponse { proposals, next_before: 0 })
}

fn is_open(answer: &pb::GetProposalResponse) -> bool {
    let open = |p: &ProposalState| p.status == ProposalStatus::Open as i32 && p.expires_ms >= answer.time_ms;
    answer.proposal.as_ref().is_some_and(open)
}

fn preview_topic(
    ledger: &LedgerSnapshot<'_>,
    topic: &pb::ProposalTopic,
) -> Result<pb::PreviewProposalResponse, StorageError> {
    preview(ledger, &X509Rules, ledger.tip_header(), topic).map_err(fault)
}

fn rules(ledger: &LedgerSnapshot<'_>) -> Result<pb::GetRulesResponse, StorageError> {
    Ok(pb::GetRulesResponse {
        parameters: ledger.state(&keys::parameters())?,
        protocol: ledger.state(&keys::protocol())?,
        access_policy: ledger.state(&keys::access_policy(roster(ledger)?.last_policy))?,
    })
}

fn fault(fault: StoreFault) -> StorageError {
    StorageError::corrupt("state", fault)
}
