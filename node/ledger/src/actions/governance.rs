//! Proposals: opening, ballots, withdrawal. A proposal that does not fit the
//! state is refused when it is opened; the ballot that decides one closes it in
//! the same block, and executes it at most once, because only an open one can
//! be decided.
//!
//! A change that no longer fits fails with its reason: its effects are undone,
//! while the ballot that accepted it stays on the ledger.

use consilium_proto::limits::{PROPOSAL_LIFE_MAX_MS, PROPOSAL_LIFE_MIN_MS, PROPOSALS_OPEN_MAX};
use consilium_proto::pb::{BallotChoice, BallotState, Outcome, ProposalState, ProposalStatus, RosterState};
use consilium_proto::transaction::{GovernanceAction, Propose, Topic};

use super::{Author, Context, active_member};
use crate::governance::{Change, Unfit, Verdict, apply, count, verdict};
use crate::keys;
use crate::roster::corrupt;
use crate::rules::{Refusal, ensure};
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

pub(super) fn run<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    action: &GovernanceAction,
) -> Result<(), Refusal> {
    author.ensure_admin()?;
    // An earlier action of this transaction may have cut the author's member off.
    active_member(view, author.member())?;
    match action {
        GovernanceAction::Propose(propose) => open(view, cx, author, propose),
        GovernanceAction::Ballot { proposal, approve } => {
            let proposal = find_open(view, cx, *proposal)?;
            vote(view, cx, author, proposal, *approve)
        }
        GovernanceAction::Cancel(number) => {
            let proposal = find_open(view, cx, *number)?;
            ensure(proposal.member == author.member(), Outcome::NotOwner)?;
            Ok(close(view, cx, proposal, ProposalStatus::Cancelled, String::new())?)
        }
    }
}

fn open<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    propose: &Propose,
) -> Result<(), Refusal> {
    let life = propose.expires.0.saturating_sub(cx.time.0);
    ensure((PROPOSAL_LIFE_MIN_MS..=PROPOSAL_LIFE_MAX_MS).contains(&life), Outcome::ProposalRefused)?;
    let mut roster = view.roster()?;
    sweep(view, cx, &mut roster)?;
    ensure(roster.open_proposals.len() < PROPOSALS_OPEN_MAX, Outcome::TooManyProposals)?;
    let number = roster.last_proposal.checked_add(1).ok_or_else(|| corrupt("proposal numbers are used up"))?;
    try_out(view, &change(cx, number), &propose.topic)?;
    roster.last_proposal = number;
    // The highest: the list stays ascending.
    roster.open_proposals.push(number);
    view.put_roster(&roster);
    let proposal = ProposalState {
        number,
        proposer: author.id.to_string(),
        member: author.member().to_owned(),
        topic: Some(propose.wire.clone()),
        reason: propose.reason.clone(),
        opened_ms: cx.time.0,
        opened_height: cx.height.0,
        expires_ms: propose.expires.0,
        status: ProposalStatus::Open as i32,
        ballots: Vec::new(),
        closed_height: 0,
        failure: String::new(),
        closing_tally: None,
    };
    vote(view, cx, author, proposal, true)
}

/// Forgets proposals whose time is over; their rows stay as they are.
fn sweep<R: StateReader>(view: &View<'_, R>, cx: &Context<'_>, roster: &mut RosterState) -> Result<(), StoreFault> {
    let mut open = Vec::with_capacity(roster.open_proposals.len() + 1);
    for number in roster.open_proposals.drain(..) {
        if find(view, number)?.is_some_and(|p| p.expires_ms >= cx.time.0) {
            open.push(number);
        }
    }
    roster.open_proposals = open;
    Ok(())
}

/// Whether a change would fit now; leaves nothing behind.
fn try_out<R: StateReader>(view: &mut View<'_, R>, change: &Change<'_>, topic: &Topic) -> Result<(), Refusal> {
    let savepoint = view.savepoint();
    let tried = apply(view, change, topic);
    view.restore(savepoint);
    Ok(tried.map_err(Unfit::of_proposal)?)
}

/// A change in this block.
pub(super) fn change<'a>(cx: &Context<'a>, proposal: u64) -> Change<'a> {
    Change { identities: cx.identities, policy: cx.policy, height: cx.height, epoch: cx.epoch, proposal }
}

fn find<R: StateReader>(view: &View<'_, R>, number: u64) -> Result<Option<ProposalState>, StoreFault> {
    view.message(Table::State, &keys::proposal(number))
}

fn find_open<R: StateReader>(view: &View<'_, R>, cx: &Context<'_>, number: u64) -> Result<ProposalState, Refusal> {
    let proposal = find(view, number)?.ok_or(Refusal::Rejected(Outcome::ProposalNotFound))?;
    let open = proposal.status == ProposalStatus::Open as i32 && cx.time.0 <= proposal.expires_ms;
    ensure(open, Outcome::ProposalClosed)?;
    Ok(proposal)
}

/// Records a ballot and does what it decides.
fn vote<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    mut proposal: ProposalState,
    approve: bool,
) -> Result<(), Refusal> {
    let choice = if approve { BallotChoice::Approve } else { BallotChoice::Reject };
    let ballot = BallotState {
        member: author.member().to_owned(),
        author: author.id.to_string(),
        choice: choice as i32,
        height: cx.height.0,
    };
    match proposal.ballots.binary_search_by(|b| b.member.as_str().cmp(author.member())) {
        Ok(place) => proposal.ballots[place] = ballot,
        Err(place) => proposal.ballots.insert(place, ballot),
    }
    let tally = count(view, &proposal)?;
    let verdict = verdict(&tally);
    if verdict != Verdict::Undecided {
        // What it comes to changes stakes and members: the tally that decided
        // stays as it was.
        proposal.closing_tally = Some(tally);
    }
    match verdict {
        Verdict::Undecided => view.put_message(Table::State, keys::proposal(proposal.number), &proposal),
        Verdict::Rejected => close(view, cx, proposal, ProposalStatus::Rejected, String::new())?,
        Verdict::Accepted => execute(view, cx, proposal)?,
    }
    Ok(())
}

fn execute<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    proposal: ProposalState,
) -> Result<(), StoreFault> {
    let malformed = || corrupt(format!("the topic of proposal {} is malformed", proposal.number));
    let topic = Topic::parse(proposal.topic.as_ref().ok_or_else(malformed)?).map_err(|_| malformed())?;
    let savepoint = view.savepoint();
    let (status, failure) = match apply(view, &change(cx, proposal.number), &topic) {
        Ok(()) => (ProposalStatus::Executed, String::new()),
        Err(Unfit::Refused { outcome: _, why }) => {
            view.restore(savepoint);
            (ProposalStatus::Failed, why)
        }
        Err(Unfit::Fault(fault)) => return Err(fault),
    };
    close(view, cx, proposal, status, failure)
}

fn close<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    mut proposal: ProposalState,
    status: ProposalStatus,
    failure: String,
) -> Result<(), StoreFault> {
    proposal.status = status as i32;
    proposal.closed_height = cx.height.0;
    proposal.failure = failure;
    view.put_message(Table::State, keys::proposal(proposal.number), &proposal);
    let mut roster = view.roster()?;
    roster.open_proposals.retain(|number| *number != proposal.number);
    view.put_roster(&roster);
    Ok(())
}
