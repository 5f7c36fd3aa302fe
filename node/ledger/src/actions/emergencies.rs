//! Emergencies: declared by who treats the patient, open at once and for a fixed time, and
//! reviewed by somebody else; the patient's log has both, whether anything is read or not. They may
//! always be declared again: what an unreviewed one costs is for the access policy, and never the
//! next emergency.

use bytes::Bytes;
use consilium_proto::access::declares_emergencies;
use consilium_proto::ids::{EmergencyId, PatientPseudonym, TimeMs};
use consilium_proto::limits::REVIEWS_DUE_MAX;
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::pb::{EmergencyState, Outcome, ReviewDue, ReviewVerdict, ReviewsDueState};
use consilium_proto::transaction::{DeclareEmergency, EmergencyAction};

use super::{Author, Context, changes};
use crate::keys;
use crate::rights::is_known;
use crate::roster::corrupt;
use crate::rules::{Refusal, ensure};
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

pub(super) fn run<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    action: &EmergencyAction,
) -> Result<(), Refusal> {
    let state = match action {
        EmergencyAction::Declare(emergency) => declare(view, cx, author, emergency)?,
        EmergencyAction::Review { id, verdict, note } => {
            let note = note.map(|hash| hash.to_bytes()).unwrap_or_default();
            review(view, cx, author, id, (*verdict, note))?
        }
    };
    let patient = PatientPseudonym::parse("patient", &state.patient).map_err(|e| corrupt(format!("emergency: {e}")))?;
    happened(view, cx, &patient, action.id());
    Ok(changes::note_entry(view, cx, author, &patient, action.said(TimeMs(state.to_ms)))?)
}

fn declare<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    emergency: &DeclareEmergency,
) -> Result<EmergencyState, Refusal> {
    ensure(declares_emergencies(author.id.role()), Outcome::RoleNotAllowed)?;
    // A system is never in an emergency: somebody is who uses it.
    let person = author.id.role() != Role::Service || emergency.acting.is_some();
    ensure(person, Outcome::ActingMissing)?;
    ensure(is_known(view, &emergency.patient)?, Outcome::PatientNotFound)?;
    let place = keys::emergency(&emergency.id);
    ensure(view.get(Table::State, &place)?.is_none(), Outcome::EmergencyExists)?;
    let parameters = view.parameters()?;
    let hash = |hash: Option<consilium_proto::hash::Hash>| hash.map(|h| h.to_bytes()).unwrap_or_default();
    let state = EmergencyState {
        patient: Bytes::copy_from_slice(&emergency.patient.0),
        reader: author.id.to_string(),
        reason: emergency.reason.into(),
        text_sha256: hash(emergency.text),
        acting_sha256: hash(emergency.acting),
        from_ms: cx.time.0,
        to_ms: cx.time.0.saturating_add(parameters.emergency_ms),
        review_due_ms: cx.time.0.saturating_add(parameters.emergency_review_ms),
        ..EmergencyState::default()
    };
    view.put_message(Table::State, place, &state);
    owe_review(view, author.member(), &emergency.id, state.review_due_ms)?;
    Ok(state)
}

/// Whoever is told of emergencies, of all or of a patient's, finds them by their blocks.
fn happened<R: StateReader>(view: &mut View<'_, R>, cx: &Context<'_>, patient: &PatientPseudonym, id: &EmergencyId) {
    view.put(Table::Index, keys::index_emergency(cx.height, id), Bytes::new());
    view.put(Table::Index, keys::index_emergency_about(patient, cx.height, id), Bytes::new());
}

fn owe_review<R: StateReader>(
    view: &mut View<'_, R>,
    member: &str,
    id: &EmergencyId,
    due_ms: u64,
) -> Result<(), StoreFault> {
    let place = keys::reviews_due(member);
    let mut due: ReviewsDueState = view.message(Table::State, &place)?.unwrap_or_default();
    if due.reviews.len() >= REVIEWS_DUE_MAX {
        due.reviews.remove(0);
        due.dropped = due.dropped.saturating_add(1);
    }
    due.reviews.push(ReviewDue { emergency_id: Bytes::copy_from_slice(&id.0), due_ms });
    view.put_message(Table::State, place, &due);
    Ok(())
}

fn review<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    id: &EmergencyId,
    (verdict, note): (ReviewVerdict, Bytes),
) -> Result<EmergencyState, Refusal> {
    ensure(author.id.role() == Role::Auditor, Outcome::RoleNotAllowed)?;
    let place = keys::emergency(id);
    let not_found = Refusal::Rejected(Outcome::EmergencyNotFound);
    let mut state: EmergencyState = view.message(Table::State, &place)?.ok_or(not_found)?;
    let reader: SpiffeId = state.reader.parse().map_err(|e| corrupt(format!("emergency: {e}")))?;
    let own = reader.member() == author.id.member() && reader != author.id;
    ensure(own && state.reviewer.is_empty(), Outcome::EmergencyNotFound)?;
    state.verdict = verdict.into();
    state.note_sha256 = note;
    state.reviewer = author.id.to_string();
    state.reviewed_ms = cx.time.0;
    view.put_message(Table::State, place, &state);
    let place = keys::reviews_due(author.member());
    let mut due: ReviewsDueState = view.message(Table::State, &place)?.unwrap_or_default();
    let listed = due.reviews.len();
    due.reviews.retain(|review| review.emergency_id != id.0[..]);
    if due.reviews.len() == listed {
        due.dropped = due.dropped.saturating_sub(1);
    }
    view.put_message(Table::State, place, &due);
    Ok(state)
}
