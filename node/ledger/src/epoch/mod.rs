//! Epochs: what the end of a block adds to the state: who was seen, who lied, and,
//! when the epoch is due, the next one. Transactions never change seats; only the
//! end of a block does.
//!
//! The block that ends an epoch still belongs to it: its header has the old
//! number and is certified by the old set, and commits to the next.

mod change;
mod due;
mod seating;

use consilium_proto::header::Header;
use consilium_proto::pb::EpochState;

use crate::event::Event;
use crate::in_force::{BlockEnd, EpochInForce};
use crate::participation::{self, Presence};
use crate::penalty;
use crate::view::{StateReader, StoreFault, View};

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
