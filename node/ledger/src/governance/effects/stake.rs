//! Stake that governance gives, takes, and gives back.

use consilium_proto::pb::{Outcome, PenaltyState};

use super::{Change, Unfit, fits, present_member};
use crate::keys;
use crate::penalty;
use crate::rules::Refusal;
use crate::stake;
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

pub(super) fn allot<R: StateReader>(view: &mut View<'_, R>, id: &str, amount: u64) -> Result<(), Unfit> {
    let member = present_member(view, id)?;
    fits(member.stake != amount, Outcome::ProposalRefused, || format!("{id} has a stake of {amount}"))?;
    Ok(stake::allot(view, id, amount)?)
}

/// Gives back what a penalty cut, and frees the node, or the one that took its
/// place meanwhile.
pub(super) fn lift_penalty<R: StateReader>(
    view: &mut View<'_, R>,
    change: &Change<'_>,
    number: u64,
) -> Result<(), Unfit> {
    let none = || Unfit::refused(Outcome::ProposalRefused, format!("there is no penalty {number}"));
    let penalty = find_penalty(view, number)?.ok_or_else(none)?;
    let lifted = penalty.lifted_height;
    fits(lifted == 0, Outcome::ProposalRefused, || format!("penalty {number} was lifted at height {lifted}"))?;
    present_member(view, &penalty.member)?;
    penalty::lift(view, number, change.height).map_err(|refusal| match refusal {
        Refusal::Rejected(outcome) => Unfit::refused(outcome, format!("penalty {number} cannot be lifted")),
        Refusal::Fault(fault) => Unfit::Fault(fault),
    })
}

fn find_penalty<R: StateReader>(view: &View<'_, R>, number: u64) -> Result<Option<PenaltyState>, StoreFault> {
    view.message(Table::State, &keys::penalty(number))
}
