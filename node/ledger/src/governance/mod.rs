//! What members decide together, and what it does: the tally of a proposal,
//! the change that it makes once it is accepted, the arithmetic that refuses a
//! change after which nobody could certify, and all of it in numbers beforehand.
//!
//! Opening, voting and closing are actions ([`crate::actions`]); this module
//! never decides who may act. A change is applied to a view and then judged on
//! it, so that what is judged is what happens; whoever applies one takes it
//! back if it is refused ([`View::savepoint`]).

mod effects;
mod preview;
mod quorum;
mod tally;

use consilium_proto::access::PolicyRules;
use consilium_proto::ids::Height;
use consilium_proto::pb::{Outcome, ProtocolState};
use consilium_proto::transaction::Topic;

pub use preview::{Preview, preview};
pub use tally::tally;

pub(crate) use effects::nodes;
pub(crate) use effects::rules::advance_protocol;
pub(crate) use tally::{Verdict, count, verdict};

use crate::in_force::EpochInForce;
use crate::keys;
use crate::rules::{IdentityRules, Refusal};
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};
use quorum::Arithmetic;

/// The block in which a change takes place.
#[derive(Clone, Copy)]
pub(crate) struct Change<'a> {
    pub(crate) identities: &'a dyn IdentityRules,
    pub(crate) policy: &'a dyn PolicyRules,
    pub(crate) height: Height,
    pub(crate) epoch: &'a EpochInForce,
    /// Number of the proposal; 0 for a member's own action.
    pub(crate) proposal: u64,
}

/// Why a change was not made.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// It does not fit the state.
    Refused {
        /// For the ledger.
        outcome: Outcome,
        /// For people.
        why: String,
    },
    /// The store failed.
    Fault(StoreFault),
}

impl From<StoreFault> for Unfit {
    fn from(fault: StoreFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Unfit> for Refusal {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Refused { outcome, why: _ } => Self::Rejected(outcome),
            Unfit::Fault(fault) => Self::Fault(fault),
        }
    }
}

impl Unfit {
    fn refused(outcome: Outcome, why: impl Into<String>) -> Self {
        Self::Refused { outcome, why: why.into() }
    }

    /// As a proposal's refusal: its author need not know whose rule it broke,
    /// only whether the network would have stopped.
    pub(crate) fn of_proposal(self) -> Self {
        match self {
            Self::Refused { outcome: outcome @ Outcome::WouldStrandNetwork, why } => Self::Refused { outcome, why },
            Self::Refused { outcome: _, why } => Self::Refused { outcome: Outcome::ProposalRefused, why },
            Self::Fault(fault) => Self::Fault(fault),
        }
    }
}

/// Refuses with a reason unless a condition holds.
fn fits(condition: bool, outcome: Outcome, why: impl FnOnce() -> String) -> Result<(), Unfit> {
    if condition { Ok(()) } else { Err(Unfit::refused(outcome, why())) }
}

/// Makes the change of a topic. On an error the view may hold half of it.
pub(crate) fn apply<R: StateReader>(view: &mut View<'_, R>, change: &Change<'_>, topic: &Topic) -> Result<(), Unfit> {
    guarded(view, change, |view| effects::run(view, change, topic))
}

/// Makes a change and refuses it if the network could not go on after it. On an
/// error the view may hold half of it.
pub(crate) fn guarded<R: StateReader, T>(
    view: &mut View<'_, R>,
    change: &Change<'_>,
    effect: impl FnOnce(&mut View<'_, R>) -> Result<T, Unfit>,
) -> Result<T, Unfit> {
    let (made, arithmetic) = measured(view, change, effect)?;
    fits(!arithmetic.strands(), Outcome::WouldStrandNetwork, || arithmetic.to_string())?;
    Ok(made)
}

/// Makes a change and measures what it leaves of the power to certify.
fn measured<R: StateReader, T>(
    view: &mut View<'_, R>,
    change: &Change<'_>,
    effect: impl FnOnce(&mut View<'_, R>) -> Result<T, Unfit>,
) -> Result<(T, Arithmetic), Unfit> {
    let before = quorum::measure(view, change.epoch)?;
    let made = effect(view)?;
    let after = quorum::measure(view, change.epoch)?;
    Ok((made, Arithmetic::between(before, after)))
}

/// The version of the rules, now and to come.
fn protocol<R: StateReader>(view: &View<'_, R>) -> Result<ProtocolState, StoreFault> {
    let first = ProtocolState { version: 1, next_version: 0, next_height: 0 };
    Ok(view.message(Table::State, &keys::protocol())?.unwrap_or(first))
}
