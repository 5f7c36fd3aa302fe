//! The change from one epoch to the next: absent validators are jailed, stake
//! settles, the election is held and recorded, nodes that retire are let go.

use consilium_proto::ids::{Epoch, NodeId};
use consilium_proto::pb::{EpochState, JailReason, NodeStatus};
use consilium_proto::validators::ValidatorSet;

use super::seating::{Seating, absent, required_node};
use crate::event::Event;
use crate::in_force::BlockEnd;
use crate::keys;
use crate::participation::Presence;
use crate::stake;
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

/// Ends the epoch of `block` and begins the next.
pub(super) fn change_epoch<R: StateReader>(
    view: &mut View<'_, R>,
    block: &BlockEnd<'_>,
    presence: &mut Presence,
) -> Result<(), StoreFault> {
    let (epoch, parameters) = (block.epoch, &block.epoch.parameters);
    let next = epoch.next();
    for node in absent(view, epoch, parameters, presence)? {
        let mut standing = view.standing(node)?;
        standing.jailed = JailReason::MissedVotes as i32;
        standing.jailed_epoch = next.0;
        view.put_standing(node, &standing);
    }
    let accounts = stake::settled(view, next, parameters.unbonding_epochs)?;
    let Seating { set, candidates, kept_previous } = Seating::hold(view, epoch, parameters, presence, &accounts)?;
    let state = EpochState {
        epoch: next.0,
        first_height: block.height.next().0,
        start_ms: block.time.0,
        validators: Some((&set).into()),
        candidates,
        kept_previous,
    };
    view.put_message(Table::State, keys::epoch(next), &state);
    for (member, account) in accounts {
        account.store(view, &member)?;
    }
    retire_nodes(view, &set, next, parameters.unbonding_epochs)?;
    presence.start_epoch(&view.roster()?.nodes, block.height.next());
    view.note(Event::EpochEnded { next_set: set });
    Ok(())
}

/// Lets go the nodes that retire. One that is still in the set, because nobody
/// else could be elected, stays until somebody can.
fn retire_nodes<R: StateReader>(
    view: &mut View<'_, R>,
    set: &ValidatorSet,
    next: Epoch,
    unbonding_epochs: u32,
) -> Result<(), StoreFault> {
    let mut roster = view.roster()?;
    let mut kept = Vec::with_capacity(roster.nodes.len());
    for id in roster.nodes.iter().copied().map(NodeId) {
        let mut node = required_node(view, id)?;
        if node.status == NodeStatus::Active as i32 || set.seat(id).is_some() {
            kept.push(id.0);
            continue;
        }
        node.status = NodeStatus::Retired as i32;
        view.put_node(&node);
        stake::unbond_node(view, &roster.members, id, next, unbonding_epochs)?;
    }
    if kept.len() < roster.nodes.len() {
        roster.nodes = kept;
        view.put_roster(&roster);
    }
    Ok(())
}
