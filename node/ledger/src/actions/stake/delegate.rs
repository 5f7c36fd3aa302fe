//! Puts free stake on a node, of any member, from the end of the epoch.

use consilium_proto::ids::NodeId;

use super::candidate;
use crate::actions::Author;
use crate::rules::Refusal;
use crate::stake::Account;
use crate::view::{StateReader, View};

pub(super) fn run<R: StateReader>(
    view: &mut View<'_, R>,
    author: &Author,
    node: NodeId,
    amount: u64,
) -> Result<(), Refusal> {
    author.ensure_admin()?;
    candidate(view, node)?;
    let mut account = Account::load(view, author.member())?;
    account.delegate(node, amount)?;
    account.store(view, author.member())?;
    Ok(())
}
