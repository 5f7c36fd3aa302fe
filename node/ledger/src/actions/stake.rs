//! Actions about stake and validators: one file each. Nothing here moves a seat:
//! what is asked for settles at the end of the epoch.

mod announce_maintenance;
mod delegate;
mod redelegate;
mod release_validator;
mod submit_evidence;
mod undelegate;

use consilium_proto::ids::NodeId;
use consilium_proto::pb::{NodeState, NodeStatus, Outcome};
use consilium_proto::transaction::StakeAction;

use super::{Author, Context};
use crate::rules::{Refusal, ensure};
use crate::view::{StateReader, View};

pub(super) fn run<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    action: &StakeAction,
) -> Result<(), Refusal> {
    match *action {
        StakeAction::Delegate { node, amount } => delegate::run(view, author, node, amount),
        StakeAction::Redelegate { from, to, amount } => redelegate::run(view, author, (from, to), amount),
        StakeAction::Undelegate { node, amount } => undelegate::run(view, author, node, amount),
        StakeAction::Release(node) => release_validator::run(view, cx, author, node),
        StakeAction::Maintenance { node, from, until } => {
            announce_maintenance::run(view, cx, author, node, (from, until))
        }
        StakeAction::Evidence(ref evidence) => submit_evidence::run(view, cx, evidence),
    }
}

/// A node that stake can be put on.
fn candidate<R: StateReader>(view: &View<'_, R>, id: NodeId) -> Result<NodeState, Refusal> {
    let node = view.node(id)?.filter(|n| n.status == NodeStatus::Active as i32);
    node.ok_or(Refusal::Rejected(Outcome::NodeNotFound))
}

/// A node of the author's own member that is not retired.
fn own_node<R: StateReader>(view: &View<'_, R>, author: &Author, id: NodeId) -> Result<NodeState, Refusal> {
    let node = view.node(id)?.filter(|n| n.status != NodeStatus::Retired as i32);
    let node = node.ok_or(Refusal::Rejected(Outcome::NodeNotFound))?;
    ensure(node.member == author.member(), Outcome::NotOwner)?;
    Ok(node)
}
