//! `GovernanceService`: members, rules and proposals. It only reads; what a
//! ballot does is for the rules.

use consilium_grpc::governance_service_server::GovernanceService;
use consilium_ledger::{keys, preview, tally};
use consilium_proto::ids::NodeId;
use consilium_proto::pb::{self, MemberState, NodeState, ProposalState, ProposalStatus};
use tonic::{Request, Response, Status};

use super::Api;
use super::errors::{self, Reason};
use crate::identity::rules::X509Rules;
use crate::storage::StorageError;

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
        let found = self.proposal(number)?;
        found.map(Response::new).ok_or_else(|| Reason::NotFound.status(format!("there is no proposal {number}")))
    }

    async fn list_proposals(
        &self,
        request: Request<pb::ListProposalsRequest>,
    ) -> Result<Response<pb::ListProposalsResponse>, Status> {
        Self::caller(&request)?;
        let within = self.time_left(&request);
        let pb::ListProposalsRequest { open_only, page_size, before, read } = request.into_inner();
        self.freshen(read.as_ref(), within).await?;
        let roster = self.roster()?;
        let first = if before == 0 { roster.last_proposal } else { before.saturating_sub(1).min(roster.last_proposal) };
        let page_size = if page_size == 0 { PAGE } else { page_size.min(PAGE_MAX) } as usize;
        let mut proposals = Vec::new();
        for number in (1..=first).rev() {
            if proposals.len() == page_size {
                return Ok(Response::new(pb::ListProposalsResponse { proposals, next_before: number + 1 }));
            }
            if open_only && !roster.open_proposals.contains(&number) {
                continue;
            }
            let found = self.proposal(number)?;
            let open = |answer: &pb::GetProposalResponse| {
                answer
                    .proposal
                    .as_ref()
                    .is_some_and(|p| p.status == ProposalStatus::Open as i32 && p.expires_ms >= answer.time_ms)
            };
            proposals.extend(found.filter(|answer| !open_only || open(answer)));
        }
        Ok(Response::new(pb::ListProposalsResponse { proposals, next_before: 0 }))
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
        let api = self.clone();
        let answer = tokio::task::spawn_blocking(move || api.preview(&topic));
        answer.await.map_err(|_| Reason::Internal.status("the preview failed"))?.map(Response::new)
    }

    async fn list_members(
        &self,
        request: Request<pb::ListMembersRequest>,
    ) -> Result<Response<pb::ListMembersResponse>, Status> {
        Self::caller(&request)?;
        let within = self.time_left(&request);
        self.freshen(request.get_ref().read.as_ref(), within).await?;
        let roster = self.roster()?;
        let mut members = Vec::new();
        for id in &roster.members {
            let member: Option<MemberState> = self.row(&keys::member(id))?;
            members.push(pb::MemberEntry { member, nodes: Vec::new() });
        }
        for id in &roster.nodes {
            let Some(node) = self.row::<NodeState>(&keys::node(NodeId(*id)))? else { continue };
            let owner = roster.members.binary_search(&node.member).ok();
            if let Some(entry) = owner.and_then(|position| members.get_mut(position)) {
                entry.nodes.push(node);
            }
        }
        Ok(Response::new(pb::ListMembersResponse { members }))
    }

    async fn get_rules(&self, request: Request<pb::GetRulesRequest>) -> Result<Response<pb::GetRulesResponse>, Status> {
        Self::caller(&request)?;
        let within = self.time_left(&request);
        self.freshen(request.get_ref().read.as_ref(), within).await?;
        let policy = self.roster()?.last_policy;
        Ok(Response::new(pb::GetRulesResponse {
            parameters: self.row(&keys::parameters())?,
            protocol: self.row(&keys::protocol())?,
            access_policy: self.row(&keys::access_policy(policy))?,
        }))
    }
}

impl Api {
    fn proposal(&self, number: u64) -> Result<Option<pb::GetProposalResponse>, Status> {
        let Some(proposal) = self.row::<ProposalState>(&keys::proposal(number))? else { return Ok(None) };
        let tally = tally(&*self.ledger, &proposal).map_err(fault)?;
        let time_ms = self.published.applied().time.0;
        Ok(Some(pb::GetProposalResponse { proposal: Some(proposal), tally: Some(tally), time_ms }))
    }

    fn preview(&self, topic: &pb::ProposalTopic) -> Result<pb::PreviewProposalResponse, Status> {
        let tip = self.ledger.tip().map_err(|e| errors::storage(&e))?;
        let (_, tip) = tip.ok_or_else(|| Reason::Internal.status("the ledger has no genesis"))?;
        let preview = preview(&*self.ledger, &X509Rules, &tip.header, topic).map_err(fault)?;
        Ok(pb::PreviewProposalResponse {
            possible: preview.possible,
            refusal: preview.refusal.unwrap_or_default(),
            tally: Some(preview.tally),
            effects: preview.effects,
            quorum_arithmetic: preview.quorum_arithmetic,
        })
    }
}

fn fault(fault: consilium_ledger::StoreFault) -> Status {
    errors::storage(&StorageError::corrupt("state", fault))
}
