//! Announces that an own node will be away: windows that the absence touches
//! are not missed. In advance only, so that a failure cannot be excused later.

use consilium_proto::ids::{NodeId, TimeMs};
use consilium_proto::pb::Outcome;

use super::own_node;
use crate::actions::{Author, Context};
use crate::rules::{Refusal, ensure};
use crate::view::{StateReader, View};

pub(super) fn run<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    node: NodeId,
    (from, until): (TimeMs, TimeMs),
) -> Result<(), Refusal> {
    author.ensure_admin()?;
    own_node(view, author, node)?;
    ensure(from >= cx.time, Outcome::MaintenanceRefused)?;
    let mut standing = view.standing(node)?;
    standing.maintenance_from_ms = from.0;
    standing.maintenance_until_ms = until.0;
    view.put_standing(node, &standing);
    Ok(())
}
