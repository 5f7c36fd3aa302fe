//! What a member's administrators do about its own nodes, without a proposal: a
//! machine is added, replaced, or taken out. The ledger gives the raft id; the
//! number of a member's nodes is bounded.

use consilium_proto::ids::NodeId;
use consilium_proto::pb::Outcome;
use consilium_proto::transaction::NodeAction;

use super::governance::change;
use super::{Author, Context};
use crate::governance::{guarded, nodes};
use crate::rules::{Refusal, ensure};
use crate::view::{StateReader, View};

pub(super) fn run<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    action: &NodeAction,
) -> Result<(), Refusal> {
    author.ensure_admin()?;
    let change = change(cx, 0);
    match action {
        NodeAction::Register { member, node } => {
            ensure(member.as_str() == author.member(), Outcome::NotOwner)?;
            let max = view.parameters()?.nodes_per_member_max as usize;
            ensure(nodes::of_member(view, author.member())?.len() < max, Outcome::TooManyNodes)?;
            nodes::register(view, author.member(), node)?;
        }
        NodeAction::Replace { lost, node } => {
            ensure_own(view, author, *lost)?;
            guarded(view, &change, |view| nodes::replace(view, &change, *lost, node))?;
        }
        NodeAction::Retire(node) => {
            ensure_own(view, author, *node)?;
            guarded(view, &change, |view| nodes::retire(view, &change, *node))?;
        }
    }
    Ok(())
}

fn ensure_own<R: StateReader>(view: &View<'_, R>, author: &Author, node: NodeId) -> Result<(), Refusal> {
    ensure(nodes::serving(view, node)?.member == author.member(), Outcome::NotOwner)
}
