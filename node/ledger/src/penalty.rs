//! Penalties for double signing: two votes of one key for two headers or roots of one
//! height, or one vote for a root that is not in its header. The member loses a part of what it delegates to the node, and the
//! node is jailed until governance lifts the penalty.
//!
//! One incident is punished once: while a node is jailed for it, and for heights
//! up to the one at which a penalty was lifted, more evidence adds nothing. A
//! node that was put in the liar's place answers for it: it has its stake.

use std::collections::BTreeSet;

use consilium_proto::ids::{Height, LedgerId, NodeId};
use consilium_proto::pb::{JailReason, Outcome, PenaltyState, ValidatorStandingState};
use consilium_proto::signing::{SignatureAlgorithm, VerifyingKey};
use consilium_proto::vote::Equivocation;

use crate::in_force::{BlockEnd, EpochInForce};
use crate::keys;
use crate::roster::{corrupt, successor};
use crate::rules::{Refusal, ensure};
use crate::stake;
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

/// Punishes what evidence proves. Ends the epoch if the node has a seat.
pub(crate) fn punish<R: StateReader>(
    view: &mut View<'_, R>,
    epoch: &EpochInForce,
    (ledger, height): (LedgerId, Height),
    evidence: &Equivocation,
) -> Result<(), Refusal> {
    let id = evidence.validator();
    let node = view.node(id)?.ok_or(Refusal::Rejected(Outcome::NodeNotFound))?;
    ensure(!is_known(&view.standing(id)?, evidence.height()), Outcome::EvidenceKnown)?;
    ensure(evidence.ledger_id() == ledger, Outcome::EvidenceRefused)?;
    let key = VerifyingKey::from_raw(SignatureAlgorithm::Es256, &node.vote_key)
        .map_err(|_| corrupt(format!("the vote key of node {id} is malformed")))?;
    ensure(evidence.verifies(&key), Outcome::EvidenceRefused)?;

    let holder = successor(view, id)?;
    let cut = stake::cut(view, &node.member, holder, epoch.parameters.equivocation_cut_percent)?;
    for node in BTreeSet::from([id, holder]) {
        let standing = ValidatorStandingState {
            jailed: JailReason::Equivocation as i32,
            jailed_epoch: epoch.number.0,
            ..view.standing(node)?
        };
        view.put_standing(node, &standing);
        if epoch.is_seated(node) {
            view.request_epoch_end();
        }
    }
    let mut roster = view.roster()?;
    roster.last_penalty += 1;
    let penalty = PenaltyState {
        number: roster.last_penalty,
        node: id.0,
        member: node.member,
        evidence_height: evidence.height().0,
        evidence: Some(evidence.into()),
        cut,
        height: height.0,
        lifted_height: 0,
    };
    view.put_roster(&roster);
    view.put_message(Table::State, keys::penalty(penalty.number), &penalty);
    Ok(())
}

fn is_known(standing: &ValidatorStandingState, height: Height) -> bool {
    standing.jailed == JailReason::Equivocation as i32 || height.0 <= standing.settled_height
}

/// Punishes what the leader reports. Evidence that proves nothing, or nothing
/// new, is passed over.
pub(crate) fn punish_observed<R: StateReader>(view: &mut View<'_, R>, block: &BlockEnd<'_>) -> Result<(), StoreFault> {
    for evidence in &block.observed.evidence {
        match punish(view, block.epoch, (block.parent.ledger_id, block.height), evidence) {
            Ok(()) => view.commit(),
            Err(Refusal::Rejected(_)) => view.roll_back(),
            Err(Refusal::Fault(fault)) => return Err(fault),
        }
    }
    Ok(())
}

/// Lifts a penalty: the stake comes back and the node is a candidate again.
/// Refused if there is no such penalty, or it was lifted before.
pub(crate) fn lift<R: StateReader>(view: &mut View<'_, R>, number: u64, height: Height) -> Result<(), Refusal> {
    let place = keys::penalty(number);
    let mut penalty: PenaltyState =
        view.message(Table::State, &place)?.ok_or(Refusal::Rejected(Outcome::ProposalRefused))?;
    ensure(penalty.lifted_height == 0, Outcome::ProposalRefused)?;
    penalty.lifted_height = height.0;
    view.put_message(Table::State, place, &penalty);
    let id = NodeId(penalty.node);
    let holder = successor(view, id)?;
    for node in BTreeSet::from([id, holder]) {
        let settled = ValidatorStandingState {
            jailed: JailReason::Unspecified as i32,
            jailed_epoch: 0,
            settled_height: height.0,
            ..view.standing(node)?
        };
        view.put_standing(node, &settled);
    }
    stake::give_back(view, &penalty.member, holder, penalty.cut)?;
    Ok(())
}
