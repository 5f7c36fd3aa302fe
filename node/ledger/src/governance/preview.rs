//! What a proposal would come to, for those who are asked to sign it: the same
//! code that executes it, run on a view that is thrown away. Facts and numbers
//! only; the words are made where they are shown.

use consilium_proto::header::Header;
use consilium_proto::ids::NodeId;
use consilium_proto::pb::{LeavingNode, NodeStatus, Outcome, PreviewRefusal, ProposalState, ProposalTopic};
use consilium_proto::transaction::Topic;

use super::quorum::{self, Arithmetic};
use super::{Change, Unfit, count, effects, measured};
use crate::in_force::EpochInForce;
use crate::roster::corrupt;
use crate::rules::LedgerRules;
use crate::stake::free;
use crate::view::{StateReader, StoreFault, View};

pub use consilium_proto::pb::PreviewProposalResponse as Preview;

/// Tries a topic on the state after `tip`, as if it were accepted in the next
/// block. Nothing is written.
///
/// # Errors
/// If the store fails. A topic that is malformed or does not fit is an answer.
pub fn preview<R: StateReader>(
    reader: &R,
    rules: &dyn LedgerRules,
    tip: &Header,
    topic: &ProposalTopic,
) -> Result<Preview, StoreFault> {
    let before = View::new(reader);
    let tally = count(&before, &ProposalState { topic: Some(topic.clone()), ..ProposalState::default() })?;
    let preview = Preview { tally: Some(tally), ..Preview::default() };
    let epoch = EpochInForce::load(&before, tip)?;
    let parsed = match Topic::parse(topic) {
        Ok(parsed) => parsed,
        Err(error) => return refused(preview, &before, &epoch, Outcome::Unspecified, error.to_string()),
    };
    let proposal = before.roster()?.last_proposal.saturating_add(1);
    let change = Change { identities: rules, policy: rules, height: tip.height.next(), epoch: &epoch, proposal };
    let mut after = View::new(reader);
    let arithmetic = match measured(&mut after, &change, |view| effects::run(view, &change, &parsed)) {
        Ok(((), arithmetic)) => arithmetic,
        Err(unfit) => match unfit.of_proposal() {
            Unfit::Refused { outcome, why } => return refused(preview, &before, &epoch, outcome, why),
            Unfit::Fault(fault) => return Err(fault),
        },
    };
    Ok(Preview {
        refusal: arithmetic.strands().then(|| refusal(Outcome::WouldStrandNetwork, arithmetic.to_string())),
        joining: joining(&before, &after)?,
        leaving: leaving(&before, &after, &epoch)?,
        bound_stake_taken: bound_stake_taken(&before, &parsed)?,
        ..measures(preview, &arithmetic)
    })
}

fn refused<R: StateReader>(
    preview: Preview,
    view: &View<'_, R>,
    epoch: &EpochInForce,
    outcome: Outcome,
    fact: String,
) -> Result<Preview, StoreFault> {
    let arithmetic = Arithmetic::of(quorum::measure(view, epoch)?);
    Ok(Preview { refusal: Some(refusal(outcome, fact)), ..measures(preview, &arithmetic) })
}

fn refusal(outcome: Outcome, fact: String) -> PreviewRefusal {
    PreviewRefusal { outcome: outcome as i32, fact }
}

fn measures(preview: Preview, arithmetic: &Arithmetic) -> Preview {
    let ids = |nodes: &[NodeId]| nodes.iter().map(|id| id.0).collect();
    Preview {
        arithmetic: Some(arithmetic.into()),
        seats_lost: ids(&arithmetic.unseated),
        seats_won: ids(&arithmetic.newly_seated),
        ..preview
    }
}

fn joining<R: StateReader>(before: &View<'_, R>, after: &View<'_, R>) -> Result<Vec<u64>, StoreFault> {
    let last = before.roster()?.last_raft_id;
    Ok(after.roster()?.nodes.into_iter().filter(|id| *id > last).collect())
}

fn leaving<R: StateReader>(
    before: &View<'_, R>,
    after: &View<'_, R>,
    epoch: &EpochInForce,
) -> Result<Vec<LeavingNode>, StoreFault> {
    let mut nodes = Vec::new();
    for id in before.roster()?.nodes.into_iter().map(NodeId) {
        if in_service(before, id)? && !in_service(after, id)? {
            let delegated = stake_on(before, &after.roster()?.members, id)?;
            nodes.push(LeavingNode { raft_id: id.0, seated: epoch.is_seated(id), delegated });
        }
    }
    Ok(nodes)
}

fn in_service<R: StateReader>(view: &View<'_, R>, id: NodeId) -> Result<bool, StoreFault> {
    let node = view.node(id)?.ok_or_else(|| corrupt(format!("node {id} is absent")))?;
    Ok(node.status == NodeStatus::Active as i32)
}

fn stake_on<R: StateReader>(view: &View<'_, R>, members: &[String], node: NodeId) -> Result<u64, StoreFault> {
    let mut sum = 0_u64;
    for member in members {
        let delegations = view.stake(member)?.delegations;
        sum = delegations.iter().filter(|d| d.node == node.0).fold(sum, |sum, d| sum.saturating_add(d.amount));
    }
    Ok(sum)
}

fn bound_stake_taken<R: StateReader>(before: &View<'_, R>, topic: &Topic) -> Result<u64, StoreFault> {
    let (id, allotted) = match topic {
        Topic::AllotStake { member, stake } => (member.as_str(), *stake),
        Topic::Admit(_)
        | Topic::Suspend(_)
        | Topic::Reinstate(_)
        | Topic::Remove { .. }
        | Topic::RotateCaBundle { .. }
        | Topic::Node(_)
        | Topic::Parameters(_)
        | Topic::AccessPolicy(_)
        | Topic::LiftPenalty(_)
        | Topic::ActivateProtocol { .. } => return Ok(0),
    };
    let member = before.member(id)?.ok_or_else(|| corrupt(format!("member {id} is absent")))?;
    let taken = member.stake.saturating_sub(allotted);
    Ok(taken.saturating_sub(free(&member, &before.stake(id)?)))
}
