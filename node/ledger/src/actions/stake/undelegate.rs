//! Withdraws stake from a node at the end of the epoch; from then on it unbonds.

use consilium_proto::ids::NodeId;

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
    let mut account = Account::load(view, author.member())?;
    account.undelegate(node, amount)?;
    account.store(view, author.member())?;
    Ok(())
}
