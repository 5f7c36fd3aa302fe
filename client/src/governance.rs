//! Governing together: proposals and ballots, members and rules.
//!
//! A ballot signs a number, so what hides behind that number must not be a
//! node's word: proposals and parameters that somebody is about to sign for
//! are proven against a certified header. Tallies are a node's word, checked
//! for their arithmetic.

use consilium_grpc::governance_service_client::GovernanceServiceClient;
use consilium_proto::ids::Height;
use consilium_proto::parameters::Share;
use consilium_proto::pb::{self, action::Action};
use consilium_proto::state;
use consilium_proto::transaction::Topic;
use prost::Message;

use crate::answer::{Claimed, Proven};
use crate::client::Client;
use crate::error::ClientError;
use crate::submit::Submitted;

/// Proposals of one page.
const PAGE_SIZE: u32 = 100;

/// A proposal as the ledger's state has it.
#[derive(Debug, Clone, PartialEq)]
pub struct ProvenProposal {
    /// Its row, with the tally that closed it, if one did.
    pub proposal: Proven<pb::ProposalState>,
    /// How it stands while it is open, as the node counts it.
    pub open_tally: Claimed<Option<pb::Tally>>,
}

/// A proposal that was opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposed {
    /// Where and when.
    pub submitted: Submitted,
    /// As it stands after its block; accepted already where the proposer's own
    /// stake is enough.
    pub proposal: Claimed<pb::GetProposalResponse>,
}

impl Client {
    /// Signs one action, submits it, and waits until it is certified.
    ///
    /// # Errors
    /// As [`Client::submit`], and [`ClientError::Rejected`].
    pub async fn perform(&self, action: Action) -> Result<Submitted, ClientError> {
        let tx = self.sign(vec![pb::Action { action: Some(action) }], Vec::new())?;
        self.submit(tx, pb::WaitFor::Certified).await?.into_applied()
    }

    /// What a topic would come to if it were accepted now. Submits nothing.
    ///
    /// # Errors
    /// A topic that nodes would refuse to read, or as [`Client::read`].
    pub async fn preview_proposal(
        &self,
        topic: &pb::ProposalTopic,
    ) -> Result<Claimed<pb::PreviewProposalResponse>, ClientError> {
        Topic::parse(topic)?;
        let request = pb::PreviewProposalRequest { topic: Some(topic.clone()), read: None };
        let preview = self
            .read(|channel| {
                let request = request.clone();
                async move { GovernanceServiceClient::new(channel).preview_proposal(request).await }
            })
            .await?;
        preview.tally.as_ref().map_or(Ok(()), check_tally)?;
        Ok(Claimed::new(preview))
    }

    /// Opens a proposal; the own member's approval counts from the start.
    ///
    /// # Errors
    /// As [`Client::perform`]; an answer that does not hold the new proposal.
    pub async fn propose(
        &self,
        topic: pb::ProposalTopic,
        reason: &str,
        expires_ms: u64,
    ) -> Result<Proposed, ClientError> {
        let propose = pb::Propose { expires_ms, reason: reason.to_owned(), topic: Some(topic.clone()) };
        let submitted = self.perform(Action::Propose(propose)).await?;
        let author = self.identity().spiffe_id().to_string();
        let is_it = |p: &pb::ProposalState| {
            p.opened_height == submitted.height.0
                && p.proposer == author
                && p.expires_ms == expires_ms
                && p.topic.as_ref() == Some(&topic)
        };
        let at_least = Some(submitted.height);
        let mut before = 0;
        loop {
            let page = self.list_proposals(false, before, at_least).await?.into_claimed();
            let newest_is_older = page.proposals.iter().filter_map(|p| p.proposal.as_ref()).next_back();
            let newest_is_older = newest_is_older.is_none_or(|p| p.opened_height < submitted.height.0);
            let found = page.proposals.into_iter().find(|p| p.proposal.as_ref().is_some_and(is_it));
            if let Some(proposal) = found {
                return Ok(Proposed { submitted, proposal: Claimed::new(proposal) });
            }
            if newest_is_older || page.next_before == 0 {
                let height = submitted.height;
                return Err(ClientError::contradiction(format!("the node has no such proposal of height {height}")));
            }
            before = page.next_before;
        }
    }

    /// Votes for the own member.
    ///
    /// # Errors
    /// As [`Client::perform`].
    pub async fn cast_ballot(&self, proposal: u64, choice: pb::BallotChoice) -> Result<Submitted, ClientError> {
        self.perform(Action::CastBallot(pb::CastBallot { proposal, choice: choice.into() })).await
    }

    /// Withdraws a proposal of the own member.
    ///
    /// # Errors
    /// As [`Client::perform`].
    pub async fn cancel_proposal(&self, proposal: u64) -> Result<Submitted, ClientError> {
        self.perform(Action::CancelProposal(pb::CancelProposal { proposal })).await
    }

    /// A proposal with its tally, as a node tells it; `after` reads at least at
    /// that height.
    ///
    /// # Errors
    /// As [`Client::read`]; NOT_FOUND if there is none.
    pub async fn proposal(
        &self,
        number: u64,
        after: Option<Height>,
    ) -> Result<Claimed<pb::GetProposalResponse>, ClientError> {
        let request = pb::GetProposalRequest { number, read: after.map(at_least) };
        let answer = self
            .read(|channel| async move { GovernanceServiceClient::new(channel).get_proposal(request).await })
            .await?;
        check_proposal(&answer)?;
        match &answer.proposal {
            Some(proposal) if proposal.number == number => Ok(Claimed::new(answer)),
            Some(_) | None => Err(ClientError::contradiction("the answer is about another proposal")),
        }
    }

    /// The same, with the proposal's content proven against a certified header,
    /// and the tally that closed it: for whoever is about to vote on it, or asks
    /// how it ended.
    ///
    /// # Errors
    /// As [`Client::proposal`], or an answer that proves something else.
    pub async fn proven_proposal(&self, number: u64) -> Result<ProvenProposal, ClientError> {
        let answer = self.proposal(number, None).await?.into_claimed();
        let row: Proven<Option<pb::ProposalState>> = self.proven_row_now(&state::keys::proposal(number)).await?;
        let none = || ClientError::contradiction(format!("the ledger's state holds no proposal {number}"));
        let proven = row.transpose().ok_or_else(none)?;
        let told = answer.proposal.as_ref();
        // What never changes must be equal; ballots and status may have moved on.
        let same = told.is_some_and(|told| {
            (told.number, told.opened_height, &told.topic, &told.proposer, told.expires_ms)
                == (proven.number, proven.opened_height, &proven.topic, &proven.proposer, proven.expires_ms)
        });
        if !same || proven.number != number {
            return Err(ClientError::contradiction(format!("proposal {number} differs from the ledger's state")));
        }
        proven.closing_tally.as_ref().map_or(Ok(()), check_tally)?;
        Ok(ProvenProposal { proposal: proven, open_tally: Claimed::new(answer.tally) })
    }

    /// One page of proposals, newest first.
    ///
    /// # Errors
    /// As [`Client::read`].
    pub async fn list_proposals(
        &self,
        open_only: bool,
        before: u64,
        after: Option<Height>,
    ) -> Result<Claimed<pb::ListProposalsResponse>, ClientError> {
        let request = pb::ListProposalsRequest { open_only, page_size: PAGE_SIZE, before, read: after.map(at_least) };
        let page = self
            .read(|channel| async move { GovernanceServiceClient::new(channel).list_proposals(request).await })
            .await?;
        page.proposals.iter().try_for_each(check_proposal)?;
        let descends = page.next_before == 0 || before == 0 || page.next_before < before;
        if descends {
            Ok(Claimed::new(page))
        } else {
            Err(ClientError::contradiction("the pages of proposals do not end"))
        }
    }

    /// All members with their nodes, as a node tells it.
    ///
    /// # Errors
    /// As [`Client::read`].
    pub async fn list_members(&self, after: Option<Height>) -> Result<Claimed<Vec<pb::MemberEntry>>, ClientError> {
        let request = pb::ListMembersRequest { read: after.map(at_least) };
        let answer = self
            .read(|channel| async move { GovernanceServiceClient::new(channel).list_members(request).await })
            .await?;
        Ok(Claimed::new(answer.members))
    }

    /// Parameters, protocol version and access policy in force, as a node
    /// tells it.
    ///
    /// # Errors
    /// As [`Client::read`].
    pub async fn rules(&self) -> Result<Claimed<pb::GetRulesResponse>, ClientError> {
        let request = pb::GetRulesRequest { read: None };
        let answer =
            self.read(|channel| async move { GovernanceServiceClient::new(channel).get_rules(request).await }).await?;
        Ok(Claimed::new(answer))
    }

    /// The parameters in force, proven against a certified header: those that
    /// are not to change are signed again with those that are.
    ///
    /// # Errors
    /// As [`Client::read`], or an answer that proves nothing.
    pub async fn proven_parameters(&self) -> Result<pb::Parameters, ClientError> {
        let row = self.proven_row(&state::keys::parameters()).await?;
        row.ok_or_else(|| ClientError::contradiction("the ledger's state holds no parameters"))
    }

    /// The access policy in force, proven against certified headers; `None`: the members have decided
    /// on none, and the default one holds.
    ///
    /// # Errors
    /// As [`Client::read`], or an answer that proves nothing.
    pub async fn proven_access_policy(&self) -> Result<Option<pb::AccessPolicyState>, ClientError> {
        let roster: Option<pb::RosterState> = self.proven_row(&state::keys::roster()).await?;
        let version = roster.map_or(0, |roster| roster.last_policy);
        if version == 0 {
            return Ok(None);
        }
        let missing = || ClientError::contradiction(format!("the ledger's state holds no access policy {version}"));
        self.proven_row(&state::keys::access_policy(version)).await?.ok_or_else(missing).map(Some)
    }

    /// A member as the state has it, proven against a certified header.
    ///
    /// # Errors
    /// As [`Client::read`], or an answer that proves nothing.
    pub async fn proven_member(&self, id: &str) -> Result<Option<pb::MemberState>, ClientError> {
        self.proven_row(&state::keys::member(id)).await
    }

    /// A row of the authenticated state, proven and decoded.
    pub(crate) async fn proven_row<M: Message + Default>(&self, key: &[u8]) -> Result<Option<M>, ClientError> {
        self.proven_row_now(key).await.map(Proven::into_value)
    }

    /// The same, with the header that it is proven under.
    async fn proven_row_now<M: Message + Default>(&self, key: &[u8]) -> Result<Proven<Option<M>>, ClientError> {
        let (value, header) = self.recent(|| self.proven_at(key, None)).await?;
        let row = value.map(M::decode).transpose();
        let row = row.map_err(|_| ClientError::contradiction("a row of the state is malformed"))?;
        Ok(Proven::under(&header, row))
    }
}

/// Reads at this height or above.
pub(crate) fn at_least(height: Height) -> pb::ReadOptions {
    pb::ReadOptions { consistency: Some(pb::read_options::Consistency::MinHeight(height.0)) }
}

fn check_proposal(answer: &pb::GetProposalResponse) -> Result<(), ClientError> {
    answer.tally.as_ref().map_or(Ok(()), check_tally)
}

/// Adds a tally up again.
fn check_tally(tally: &pb::Tally) -> Result<(), ClientError> {
    let wrong = || Err(ClientError::contradiction("the tally does not add up"));
    let sum = |choice: Option<pb::BallotChoice>| -> u128 {
        let counts = |line: &&pb::TallyLine| choice.is_none_or(|choice| line.choice() == choice);
        tally.lines.iter().filter(counts).map(|line| u128::from(line.stake)).sum()
    };
    if tally.denominator == 0 {
        return wrong();
    }
    let share = Share { numerator: tally.numerator, denominator: tally.denominator };
    let told = [tally.approving, tally.rejecting, tally.total, tally.needed].map(u128::from);
    let total = sum(None);
    let found = [sum(Some(pb::BallotChoice::Approve)), sum(Some(pb::BallotChoice::Reject)), total, share.needed(total)];
    if told == found { Ok(()) } else { wrong() }
}

#[cfg(test)]
mod tests;
