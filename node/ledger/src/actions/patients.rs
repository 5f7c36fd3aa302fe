//! Patients: registered under random pseudonyms, found by look-ups. The row commits to the
//! look-ups by hash alone, so that nothing here depends on what is erased.

use consilium_proto::hash::Hash;
use consilium_proto::ids::PatientPseudonym;
use consilium_proto::limits::LOOKUPS_MAX;
use consilium_proto::pb::{Outcome, PatientLookup, PatientState};
use consilium_proto::transaction::{PatientAction, PatientLookups};

use super::{Author, Context};
use crate::keys;
use crate::missing::lookup_row;
use crate::rules::{Refusal, ensure};
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

pub(super) fn run<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    action: &PatientAction,
) -> Result<(), Refusal> {
    author.ensure_registrar()?;
    match action {
        PatientAction::Register(lookups) => {
            ensure(load(view, &lookups.patient)?.is_none(), Outcome::PatientExists)?;
            let member = author.member().to_owned();
            let state = PatientState { member, registered_height: cx.height.0, lookups: Vec::new() };
            add(view, cx, author, state, lookups)
        }
        PatientAction::AddLookups(lookups) => {
            let state = load(view, &lookups.patient)?.ok_or(Refusal::Rejected(Outcome::PatientNotFound))?;
            add(view, cx, author, state, lookups)
        }
    }
}

fn load<R: StateReader>(view: &View<'_, R>, patient: &PatientPseudonym) -> Result<Option<PatientState>, StoreFault> {
    view.message(Table::State, &keys::patient(patient))
}

/// Each member has room of its own, so that none can use up another's.
fn add<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    mut state: PatientState,
    PatientLookups { patient, lookups }: &PatientLookups,
) -> Result<(), Refusal> {
    let own = state.lookups.iter().filter(|lookup| lookup.member == author.member()).count();
    ensure(own + lookups.len() <= LOOKUPS_MAX, Outcome::TooManyLookups)?;
    for hash in lookups {
        let sha256 = hash.to_bytes();
        ensure(state.lookups.iter().all(|lookup| lookup.sha256 != sha256), Outcome::LookupExists)?;
        state.lookups.push(PatientLookup { sha256, member: author.member().to_owned(), height: cx.height.0 });
        put_index(view, cx, patient, hash)?;
    }
    view.put_message(Table::State, keys::patient(patient), &state);
    Ok(())
}

/// What a node lacks of it, it finds less by.
fn put_index<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    patient: &PatientPseudonym,
    hash: &Hash,
) -> Result<(), StoreFault> {
    let content = view.get(Table::Lookups, &keys::lookup(patient, hash))?.unwrap_or_default();
    lookup_row(&content, patient, cx.height).into_iter().for_each(|row| view.put_row(row));
    Ok(())
}
