//! Consents: put by a patient's key or, on paper, by the member that they bind; and ended.

use bytes::Bytes;
use consilium_proto::consent::speaks;
use consilium_proto::ids::{ConsentId, PatientPseudonym};
use consilium_proto::limits::CONSENTS_MAX;
use consilium_proto::names::Role;
use consilium_proto::pb::{
    self, ConsentListEntry, ConsentListState, ConsentState, Outcome, PatientAcceptance, PatientRelation, PatientState,
};
use consilium_proto::transaction::{ConsentAction, PutConsent};

use super::{Author, Context};
use crate::keys;
use crate::rights::{is_known, load_patient};
use crate::rules::{Refusal, ensure};
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

pub(super) fn run<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    action: &ConsentAction,
) -> Result<(), Refusal> {
    match action {
        ConsentAction::Put(consent) => put(view, cx, author, consent),
        ConsentAction::Revoke(id) => revoke(view, cx, author, id),
    }
}

fn put<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    consent: &PutConsent,
) -> Result<(), Refusal> {
    let paper = author.id.role() != Role::Patient;
    if paper {
        author.ensure_registrar()?;
        ensure(consent.document.is_some(), Outcome::DocumentMissing)?;
        ensure(is_known(view, &consent.patient)?, Outcome::PatientNotFound)?;
    } else {
        let patient = load_patient(view, &consent.patient)?.ok_or(Refusal::Rejected(Outcome::NotAccepted))?;
        let name = author.id.to_string();
        let mut custodians = patient.acceptances.iter();
        let accepted = custodians.any(|a| a.may_consent && speaks(&patient, a, &a.member, &name, cx.time));
        ensure(accepted, Outcome::NotAccepted)?;
        // A new version ends the one before for all whom that one binds: who says that the patient
        // has died must hear it, too. Another consent takes nothing from anybody.
        let mut bound = custodians_of(&patient, &name);
        ensure(consent.version == 1 || bound.all(|a| hears(&patient, a)), Outcome::NotAccepted)?;
    }
    let before: Option<ConsentState> = view.message(Table::State, &keys::consent(&consent.id))?;
    let state = ConsentState {
        patient: Bytes::copy_from_slice(&consent.patient.0),
        version: consent.version,
        grant: Some(pb::ConsentGrant::from(&consent.grant)),
        author: author.id.to_string(),
        paper_member: if paper { author.member().to_owned() } else { String::new() },
        document_sha256: consent.document.map(|hash| hash.to_bytes()).unwrap_or_default(),
        signed_ms: cx.time.0,
        height: cx.height.0,
        revoked_ms: 0,
        ended_for: Vec::new(),
    };
    match before {
        None => {
            ensure(consent.version == 1, Outcome::ConsentConflict)?;
            list(view, &consent.patient, &consent.id, &state)?;
        }
        Some(before) => check_succession(&before, &state)?,
    }
    view.put_message(Table::State, keys::consent(&consent.id), &state);
    Ok(())
}

/// The same author, or member for paper, replaces what it said of the same patient.
fn check_succession(before: &ConsentState, state: &ConsentState) -> Result<(), Refusal> {
    let same_side = before.paper_member == state.paper_member;
    let same_author = !state.paper_member.is_empty() || before.author == state.author;
    ensure(before.patient == state.patient && same_side && same_author, Outcome::ConsentNotFound)?;
    let follows = before.version.checked_add(1) == Some(state.version);
    ensure(before.revoked_ms == 0 && before.ended_for.is_empty() && follows, Outcome::ConsentConflict)
}

/// Each author, and each member for paper, has room of its own.
fn list<R: StateReader>(
    view: &mut View<'_, R>,
    patient: &PatientPseudonym,
    id: &ConsentId,
    state: &ConsentState,
) -> Result<(), Refusal> {
    let place = keys::consent_list(patient);
    let mut list: ConsentListState = view.message(Table::State, &place)?.unwrap_or_default();
    let author = if state.paper_member.is_empty() { state.author.clone() } else { String::new() };
    let paper_member = state.paper_member.clone();
    let entry = ConsentListEntry { consent_id: Bytes::copy_from_slice(&id.0), author, paper_member };
    let own = list.consents.iter().filter(|e| e.author == entry.author && e.paper_member == entry.paper_member);
    ensure(own.count() < CONSENTS_MAX, Outcome::TooManyOfPatient)?;
    list.consents.push(entry);
    view.put_message(Table::State, place, &list);
    Ok(())
}

fn revoke<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    id: &ConsentId,
) -> Result<(), Refusal> {
    let not_found = || Refusal::Rejected(Outcome::ConsentNotFound);
    let mut state: ConsentState = view.message(Table::State, &keys::consent(id))?.ok_or_else(not_found)?;
    ensure(state.revoked_ms == 0, Outcome::ConsentNotFound)?;
    let ending = ending(view, cx, author, &state)?.ok_or_else(not_found)?;
    if let Ending::For(mut members) = ending {
        state.ended_for.append(&mut members);
        state.ended_for.sort();
        view.put_message(Table::State, keys::consent(id), &state);
        return Ok(());
    }
    state.revoked_ms = cx.time.0;
    view.put_message(Table::State, keys::consent(id), &state);
    let place = [&[consilium_proto::state::StateRow::ConsentList as u8][..], &state.patient].concat();
    let mut list: ConsentListState = view.message(Table::State, &place)?.unwrap_or_default();
    list.consents.retain(|entry| entry.consent_id != id.0[..]);
    view.put_message(Table::State, place, &list);
    Ok(())
}

/// How far a consent is ended.
enum Ending {
    Whole,
    /// For the records of these custodians.
    For(Vec<String>),
}

/// By its author; for paper, by its member; and by whoever all custodians accept that the consent
/// binds: one of them alone must not end what protects the records of another. Those who say that
/// the patient has died hear its executor alone: for their records it ends by that one, for the
/// others' by the others.
fn ending<R: StateReader>(
    view: &View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    consent: &ConsentState,
) -> Result<Option<Ending>, StoreFault> {
    if !consent.paper_member.is_empty() {
        let own = consent.paper_member == author.member() && author.ensure_registrar().is_ok();
        return Ok(own.then_some(Ending::Whole));
    }
    let name = author.id.to_string();
    let patient = PatientPseudonym::parse("patient", &consent.patient);
    let patient = patient.map_err(|e| crate::roster::corrupt(format!("consent: {e}")))?;
    let patient = load_patient(view, &patient)?.unwrap_or_default();
    let bound = custodians_of(&patient, &consent.author).filter(|a| !consent.ended_for.contains(&a.member));
    let (hearing, deaf): (Vec<_>, Vec<_>) = bound.partition(|a| hears(&patient, a));
    if hearing.is_empty() && deaf.is_empty() {
        return Ok((consent.author == name).then_some(Ending::Whole));
    }
    let accepts =
        |member: &str| patient.acceptances.iter().any(|a| a.may_consent && speaks(&patient, a, member, &name, cx.time));
    let all = hearing.len() + deaf.len();
    let by_those = consent.author == name || hearing.iter().all(|a| accepts(&a.member));
    let hearing = hearing.into_iter().filter(|_| by_those);
    let ended = hearing.chain(deaf.into_iter().filter(|a| accepts(&a.member)));
    let ended: Vec<_> = ended.map(|a| a.member.clone()).collect();
    Ok(match ended.len() {
        0 => None,
        number if number == all => Some(Ending::Whole),
        _ => Some(Ending::For(ended)),
    })
}

/// Acceptances of an identity by the custodians that its consents bind.
fn custodians_of<'a>(patient: &'a PatientState, identity: &'a str) -> impl Iterator<Item = &'a PatientAcceptance> {
    patient.acceptances.iter().filter(move |a| a.identity == identity && !a.withdrawn)
}

/// Whether a custodian hears whom it has accepted: after a death that it attests an executor alone.
fn hears(patient: &PatientState, a: &PatientAcceptance) -> bool {
    let died = patient.deaths.iter().any(|death| death.member == a.member);
    died == (a.relation() == PatientRelation::Executor)
}
