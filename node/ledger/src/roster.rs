//! The rows that say what exists: members, nodes, parameters, the current
//! epoch. Typed access for the rules; a row that must exist and does not is a
//! fault of the store, never an outcome.

use consilium_proto::ids::{Epoch, NodeId};
use consilium_proto::parameters::Parameters;
use consilium_proto::pb::{self, EpochState, MemberState, NodeState, RosterState, StakeState, ValidatorStandingState};

use crate::event::Event;
use crate::keys;
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

/// What a fault says of a row of the state.
pub(crate) fn corrupt(cause: impl Into<String>) -> StoreFault {
    StoreFault::Corrupt { table: Table::State.name(), cause: cause.into() }
}

impl<R: StateReader> View<'_, R> {
    fn required<M: prost::Message + Default>(&self, key: &[u8], what: &str) -> Result<M, StoreFault> {
        self.message(Table::State, key)?.ok_or_else(|| corrupt(format!("{what} is absent")))
    }

    /// Which members, nodes and open proposals exist.
    pub(crate) fn roster(&self) -> Result<RosterState, StoreFault> {
        self.required(&keys::roster(), "roster")
    }

    pub(crate) fn put_roster(&mut self, roster: &RosterState) {
        self.put_message(Table::State, keys::roster(), roster);
    }

    /// The parameters in force.
    pub(crate) fn parameters(&self) -> Result<Parameters, StoreFault> {
        let row: pb::Parameters = self.required(&keys::parameters(), "parameters")?;
        Parameters::try_from(&row).map_err(|e| corrupt(e.to_string()))
    }

    /// In force from the next block on.
    pub(crate) fn put_parameters(&mut self, parameters: &pb::Parameters) {
        self.put_message(Table::State, keys::parameters(), parameters);
        self.note(Event::ParametersChanged);
    }

    pub(crate) fn member(&self, id: &str) -> Result<Option<MemberState>, StoreFault> {
        self.message(Table::State, &keys::member(id))
    }

    pub(crate) fn put_member(&mut self, member: &MemberState) {
        self.put_message(Table::State, keys::member(&member.id), member);
        self.note(Event::MemberChanged(member.clone()));
    }

    pub(crate) fn node(&self, id: NodeId) -> Result<Option<NodeState>, StoreFault> {
        self.message(Table::State, &keys::node(id))
    }

    pub(crate) fn put_node(&mut self, node: &NodeState) {
        self.put_message(Table::State, keys::node(NodeId(node.raft_id)), node);
        self.note(Event::NodesChanged);
    }

    /// How a member's stake is delegated; a member without a row delegates none.
    pub(crate) fn stake(&self, member: &str) -> Result<StakeState, StoreFault> {
        Ok(self.message(Table::State, &keys::stake(member))?.unwrap_or_default())
    }

    pub(crate) fn put_stake(&mut self, member: &str, stake: &StakeState) {
        self.put_message(Table::State, keys::stake(member), stake);
    }

    /// Jailing and announced absence; a node without a row has neither.
    pub(crate) fn standing(&self, node: NodeId) -> Result<ValidatorStandingState, StoreFault> {
        Ok(self.message(Table::State, &keys::standing(node))?.unwrap_or_default())
    }

    pub(crate) fn put_standing(&mut self, node: NodeId, standing: &ValidatorStandingState) {
        self.put_message(Table::State, keys::standing(node), standing);
        self.note(Event::NodesChanged);
    }

    /// The outcome of the election for an epoch that has begun.
    pub(crate) fn epoch(&self, epoch: Epoch) -> Result<EpochState, StoreFault> {
        self.required(&keys::epoch(epoch), "epoch")
    }
}

/// The node that holds the place of `id` now: itself, or the last of those that
/// took it over.
pub(crate) fn successor<R: StateReader>(view: &View<'_, R>, id: NodeId) -> Result<NodeId, StoreFault> {
    let mut holder = id;
    // A replacement has a higher id than what it replaces.
    for next in view.roster()?.nodes.into_iter().map(NodeId).filter(|next| *next > id) {
        if replaces(view, next, holder)? {
            holder = next;
        }
    }
    Ok(holder)
}

/// Whether `node` took the place of `earlier`, at once or through others.
fn replaces<R: StateReader>(view: &View<'_, R>, node: NodeId, earlier: NodeId) -> Result<bool, StoreFault> {
    let mut at = node;
    while at > earlier {
        let state = view.node(at)?.ok_or_else(|| corrupt(format!("node {at} is absent")))?;
        // Below it, or 0: this ends.
        at = NodeId(state.replaces.min(at.0.saturating_sub(1)));
    }
    Ok(at == earlier)
}
