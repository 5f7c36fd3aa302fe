//! What a block stands on: the epoch that it belongs to, the parameters that it
//! runs under, and at its end what its leader has seen.

use consilium_proto::header::Header;
use consilium_proto::ids::{Epoch, Height, NodeId, TimeMs};
use consilium_proto::observed::Observed;
use consilium_proto::parameters::Parameters;
use consilium_proto::pb::{EpochState, Seat};
use consilium_proto::validators::ValidatorSet;

use crate::keys;
use crate::roster::corrupt;
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

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
        let next = parent.epoch.next();
        if let Some(state) = view.message(Table::State, &keys::epoch(next))? {
            return Ok(Self { number: next, state, parameters });
        }
        Ok(Self { number: parent.epoch, state: view.epoch(parent.epoch)?, parameters })
    }

    /// The epoch after this one.
    pub(crate) fn next(&self) -> Epoch {
        self.number.next()
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

/// What the end of a block is judged by.
pub(crate) struct BlockEnd<'a> {
    pub(crate) epoch: &'a EpochInForce,
    pub(crate) parent: &'a Header,
    pub(crate) height: Height,
    pub(crate) time: TimeMs,
    pub(crate) observed: &'a Observed,
}
