//! The tally: who counts for a topic, with what, and whether that is enough.
//! Stake is counted as it stands at the tally. Active members have a say; the
//! member that a suspension or a removal is about has none.
//!
//! Cutting members off one after the other gives nobody more than its stake: where
//! it is about cutting one off, the stake of those who are cut off already goes on
//! counting, though nobody speaks for it, and from a third of all stake on a suspension
//! needs as much as any other change.

use std::collections::BTreeMap;

use consilium_proto::parameters::Share;
use consilium_proto::pb::proposal_topic::Topic as Pb;
use consilium_proto::pb::{self, BallotChoice, MemberStatus, ProposalState, ProposalTopic, TallyLine};

use crate::view::{StateReader, StoreFault, View};

/// What a tally comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// More ballots may decide it.
    Undecided,
    /// Enough approve.
    Accepted,
    /// Even if all others approved, it would not be enough.
    Rejected,
}

/// How a proposal stands: its present ballots with the members' present stake,
/// or the tally that closed it.
///
/// # Errors
/// If the store fails.
pub fn tally<R: StateReader>(reader: &R, proposal: &ProposalState) -> Result<pb::Tally, StoreFault> {
    match &proposal.closing_tally {
        Some(closing) => Ok(closing.clone()),
        None => count(&View::new(reader), proposal),
    }
}

/// See [`tally`].
pub(crate) fn count<R: StateReader>(view: &View<'_, R>, proposal: &ProposalState) -> Result<pb::Tally, StoreFault> {
    let choices: BTreeMap<&str, BallotChoice> =
        proposal.ballots.iter().map(|b| (b.member.as_str(), b.choice())).collect();
    let topic = proposal.topic.as_ref();
    let cut_off = topic.and_then(subject);
    let share = share(view, topic)?;
    let mut tally = pb::Tally { numerator: share.numerator, denominator: share.denominator, ..pb::Tally::default() };
    for id in view.roster()?.members {
        let Some(member) = view.member(&id)? else { continue };
        if cut_off == Some(id.as_str()) {
            continue;
        }
        if member.status != MemberStatus::Active as i32 {
            tally.total = tally.total.saturating_add(if cut_off.is_some() { member.stake } else { 0 });
            continue;
        }
        let choice = choices.get(id.as_str()).copied().unwrap_or(BallotChoice::Unspecified);
        // An allotment is at most 2^48: it takes 65,536 members to reach the end.
        tally.total = tally.total.saturating_add(member.stake);
        match choice {
            BallotChoice::Approve => tally.approving = tally.approving.saturating_add(member.stake),
            BallotChoice::Reject => tally.rejecting = tally.rejecting.saturating_add(member.stake),
            BallotChoice::Unspecified => {}
        }
        tally.lines.push(TallyLine { member: id, stake: member.stake, choice: choice as i32 });
    }
    tally.needed = u64::try_from(share.needed(tally.total.into())).unwrap_or(u64::MAX);
    Ok(tally)
}

/// Whether a tally decides.
pub(crate) fn verdict(tally: &pb::Tally) -> Verdict {
    let share = Share { numerator: tally.numerator, denominator: tally.denominator };
    let total = u128::from(tally.total);
    let said: u128 = tally.lines.iter().map(|line| u128::from(line.stake)).sum();
    if share.exceeded_by(tally.approving.into(), total) {
        Verdict::Accepted
    } else if share.exceeded_by(said.saturating_sub(tally.rejecting.into()), total) {
        Verdict::Undecided
    } else {
        Verdict::Rejected
    }
}

fn share<R: StateReader>(view: &View<'_, R>, topic: Option<&ProposalTopic>) -> Result<Share, StoreFault> {
    let parameters = view.parameters()?;
    Ok(match topic.and_then(|t| t.topic.as_ref()) {
        Some(Pb::SuspendMember(m)) if !leaves_two_thirds(view, &m.member)? => parameters.governance_quorum,
        Some(Pb::SuspendMember(_)) => parameters.suspension_quorum,
        Some(_) | None => parameters.governance_quorum,
    })
}

/// Whether members with more than two thirds of all stake stay active without this one.
fn leaves_two_thirds<R: StateReader>(view: &View<'_, R>, without: &str) -> Result<bool, StoreFault> {
    let (mut active, mut all) = (0_u128, 0_u128);
    for id in view.roster()?.members {
        let Some(member) = view.member(&id)? else { continue };
        all += u128::from(member.stake);
        if member.status == MemberStatus::Active as i32 && id != without {
            active += u128::from(member.stake);
        }
    }
    Ok(active * 3 > all * 2)
}

/// The member that a topic cuts off: it has no say in it.
fn subject(topic: &ProposalTopic) -> Option<&str> {
    match topic.topic.as_ref()? {
        Pb::SuspendMember(m) => Some(&m.member),
        Pb::RemoveMember(m) => Some(&m.member),
        Pb::AdmitMember(_)
        | Pb::ReinstateMember(_)
        | Pb::RotateCaBundle(_)
        | Pb::AddNode(_)
        | Pb::ReplaceNode(_)
        | Pb::RetireNode(_)
        | Pb::AllotStake(_)
        | Pb::ChangeParameters(_)
        | Pb::SetAccessPolicy(_)
        | Pb::LiftPenalty(_)
        | Pb::ActivateProtocol(_) => None,
    }
}

#[cfg(test)]
mod tests;
