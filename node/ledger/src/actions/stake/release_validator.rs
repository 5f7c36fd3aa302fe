//! Ends the jailing of an own node for missed votes. The node is a candidate
//! again at the end of the epoch; it must sit out one epoch first, so that a
//! script that releases at once does not seat a dead node again.

use consilium_proto::ids::NodeId;
use consilium_proto::pb::{JailReason, Outcome};

use super::own_node;
use crate::actions::{Author, Context};
use crate::rules::{Refusal, ensure};
use crate::view::{StateReader, View};

pub(super) fn run<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    node: NodeId,
) -> Result<(), Refusal> {
    author.ensure_admin()?;
    own_node(view, author, node)?;
    let mut standing = view.standing(node)?;
    ensure(standing.jailed == JailReason::MissedVotes as i32, Outcome::NotJailed)?;
    ensure(cx.epoch.number.0 > standing.jailed_epoch, Outcome::ReleaseTooEarly)?;
    standing.jailed = JailReason::Unspecified as i32;
    standing.jailed_epoch = 0;
    view.put_standing(node, &standing);
    Ok(())
}
