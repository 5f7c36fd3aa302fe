//! Of which unit of its member an identity is: an administrator of the member says so, and no one
//! else, the identity neither. Entries of logs repeat the unit that is in force when they are made,
//! so that what a patient was shown stays, whatever is said later.

use consilium_proto::names::UnitCode;
use consilium_proto::pb::{IdentityState, Outcome};
use consilium_proto::transaction::AssignUnit;

use super::Author;
use crate::keys;
use crate::rules::{Refusal, ensure};
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

pub(super) fn assign<R: StateReader>(
    view: &mut View<'_, R>,
    author: &Author,
    assign: &AssignUnit,
) -> Result<(), Refusal> {
    author.ensure_admin()?;
    ensure(assign.identity.member() == author.id.member(), Outcome::NotOwner)?;
    let place = keys::identity(&assign.identity.to_string());
    let identity: Option<IdentityState> = view.message(Table::State, &place)?;
    let identity = identity.ok_or(Refusal::Rejected(Outcome::NotOwner))?;
    let unit = assign.unit.as_ref().map(UnitCode::to_string).unwrap_or_default();
    view.put_message(Table::State, place, &IdentityState { unit, ..identity });
    Ok(())
}

/// The unit of an identity that is in force; empty if none.
pub(super) fn of<R: StateReader>(view: &View<'_, R>, identity: &str) -> Result<String, StoreFault> {
    let identity: Option<IdentityState> = view.message(Table::State, &keys::identity(identity))?;
    Ok(identity.map(|identity| identity.unit).unwrap_or_default())
}
