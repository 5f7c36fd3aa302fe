//! Moves delegated stake to another node at the end of the epoch. It does not
//! unbond in between: it stays at stake all the time.

use consilium_proto::ids::NodeId;

use super::candidate;
use crate::actions::Author;
use crate::rules::Refusal;
use crate::stake::Account;
use crate::view::{StateReader, View};

pub(super) fn run<R: StateReader>(
    view: &mut View<'_, R>,
    author: &Author,
    (from, to): (NodeId, NodeId),
    amount: u64,
) -> Result<(), Refusal> {
    author.ensure_admin()?;
    candidate(view, to)?;
    let mut account = Account::load(view, author.member())?;
    account.redelegate(from, to, amount)?;
    account.store(view, author.member())?;
    Ok(())
}
