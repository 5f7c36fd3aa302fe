//! Epochs: what a block knows of the one it belongs to, and what the end of a
//! block adds to the state: who was seen, who lied, and, when the epoch is due,
//! the next one. Transactions never change seats; only the end of a block does.
//!
//! The block that ends an epoch still belongs to it: its header has the old
//! number and is certified by the old set, and commits to the next.

mod change;
mod due;
mod seating;

use consilium_proto::header::Header;
use consilium_proto::ids::{Epoch, Height, NodeId, TimeMs};
use consilium_proto::observed::Observed;
use consilium_proto::parameters::Parameters;
use consilium_proto::pb::{EpochState, Seat};
use consilium_proto::validators::ValidatorSet;

use crate::event::Event;
use crate::keys;
use crate::participation::{self, Presence};
use crate::penalty;
use crate::roster::corrupt;
use crate::view::{StateReader, StoreFault, Table, View};

pub(crate) use seating::forecast;

/// What the next election would come to if the epoch ended now, on the state
/// after `tip`. First height and start are 0.
///
/// # Errors
/// If the store fails.
pub fn forecast_election<R: StateReader>(reader: &R, tip: &Header) -> Result<EpochState, StoreFault> {
    let view = View::new(reader);
    let epoch = EpochInForce::load(&view, tip)?;
    forecast(&view, &epoch)
}

/// The epoch that a block belongs to, and the parameters that it runs under.
#[derive(Debug)]
pub(crate) struct EpochInForce {
    pub(crate) number: Epoch,
    pub(crate) state: EpochState,
    pub(crate) parameters: Parameters,
}

impl EpochInForce {
    /// The epoch of the block after `parent`.
    pub(crate) fn load<R: StateReader>(view: &View<'_, R>, parent: &Header) -> Result<Self, StoreFault> {
        let parameters = view.parameters()?;
        // The next epoch is on the ledger as soon as a block has ended this one.
        let next = following(parent.epoch);
        if let Some(state) = view.message(Table::State, &keys::epoch(next))? {
            return Ok(Self { number: next, state, parameters });
        }
        Ok(Self { number: parent.epoch, state: view.epoch(parent.epoch)?, parameters })
    }

    /// The epoch after this one.
    pub(crate) fn next(&self) -> Epoch {
        following(self.number)
    }

    /// The validators of this epoch.
    pub(crate) fn set(&self) -> Result<ValidatorSet, StoreFault> {
        let set = self.state.validators.as_ref().ok_or_else(|| corrupt("an epoch has no validators"))?;
        ValidatorSet::try_from(set).map_err(|e| corrupt(e.to_string()))
    }

    /// Who certifies in this epoch, ascending by raft id.
    pub(crate) fn seats(&self) -> &[Seat] {
        self.state.validators.as_ref().map_or(&[], |set| &set.seats)
    }

    pub(crate) fn is_seated(&self, node: NodeId) -> bool {
        self.seats().iter().any(|seat| seat.validator == node.0)
    }
}

fn following(epoch: Epoch) -> Epoch {
    Epoch(epoch.0.checked_add(1).expect("2^64 epochs are out of reach"))
}

/// What the end of a block is judged by.
pub(crate) struct BlockEnd<'a> {
    pub(crate) epoch: &'a EpochInForce,
    pub(crate) parent: &'a Header,
    pub(crate) height: Height,
    pub(crate) time: TimeMs,
    pub(crate) observed: &'a Observed,
}

/// Ends a block after its transactions.
pub(crate) fn end_block<R: StateReader>(view: &mut View<'_, R>, block: &BlockEnd<'_>) -> Result<(), StoreFault> {
    penalty::punish_observed(view, block)?;
    let mut presence = Presence::load(view)?;
    presence.count(view, block)?;
    presence.end_window(view, block)?;
    if due::is_due(view, block) {
        change::change_epoch(view, block, &mut presence)?;
    }
    let presence_changed = presence.store(view);
    view.commit();
    if presence_changed || view.events().changed_nodes() {
        view.note(Event::Unseen(participation::unseen(view)?));
        view.commit();
    }
    Ok(())
}
