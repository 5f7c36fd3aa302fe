//! Consents: put by a patient's key or, on paper, by the member that they bind; and ended.

use bytes::Bytes;
use consilium_proto::ids::{ConsentId, PatientPseudonym};
use consilium_proto::limits::{CONSENTS_BYTES_MAX, CONSENTS_MAX, CONSENTS_OF_MEMBER_BYTES_MAX, CONSENTS_OF_MEMBER_MAX};
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::pb::{
    self, ConsentListEntry, ConsentListState, ConsentState, Outcome, PatientAcceptance, PatientState,
};
use consilium_proto::transaction::{ConsentAction, PutConsent};
use prost::Message;

use super::{Author, Context, changes};
use crate::custody::Kept;
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
    let patient = match action {
        ConsentAction::Put(consent) => put(view, cx, author, consent)?,
        ConsentAction::Revoke(id) => revoke(view, cx, author, id)?,
    };
    Ok(changes::note_said(view, cx, author, &patient, action.change().1)?)
}

fn put<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    consent: &PutConsent,
) -> Result<PatientPseudonym, Refusal> {
    let paper = author.id.role() != Role::Patient;
    if paper {
        author.ensure_registrar()?;
        ensure(consent.document.is_some(), Outcome::DocumentMissing)?;
        ensure(is_known(view, &consent.patient)?, Outcome::PatientNotFound)?;
    } else {
        let patient = load_patient(view, &consent.patient)?.ok_or(Refusal::Rejected(Outcome::NotAccepted))?;
        let name = author.id.to_string();
        let kept = Kept::over(view)?;
        let mut members = patient.acceptances.iter().map(|a| &a.member);
        let may_consent =
            |member: &String| kept.custodians(member).hear(&patient, &name, cx.time).any(|a| a.may_consent);
        ensure(members.any(may_consent), Outcome::NotAccepted)?;
        // A new version ends the one before for all whom that one binds: who says that the patient
        // has died must hear it, too. Another consent takes nothing from anybody.
        let mut bound = kept.listening(&patient, &name);
        ensure(consent.version == 1 || bound.all(|(_, hears)| hears), Outcome::NotAccepted)?;
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
        ended_by: Vec::new(),
    };
    match before {
        None => ensure(consent.version == 1, Outcome::ConsentConflict)?,
        Some(before) => check_succession(&before, &state)?,
    }
    list(view, author, &consent.id, &state)?;
    view.put_message(Table::State, keys::consent(&consent.id), &state);
    Ok(consent.patient)
}

/// Whether who is custodian of a member's records has accepted an identity to end what others have
/// signed: one that speaks for some of the records would open, or close, the others by it.
fn may_end(kept: &Kept, patient: &PatientState, member: &str, identity: &str, cx: &Context<'_>) -> bool {
    kept.custodians(member).hear(patient, identity, cx.time).any(PatientAcceptance::consents_to_all)
}

/// The same author, or member for paper, replaces what it said of the same patient.
fn check_succession(before: &ConsentState, state: &ConsentState) -> Result<(), Refusal> {
    let same_side = before.paper_member == state.paper_member;
    let same_author = !state.paper_member.is_empty() || before.author == state.author;
    ensure(before.patient == state.patient && same_side && same_author, Outcome::ConsentNotFound)?;
    let follows = before.version.checked_add(1) == Some(state.version);
    ensure(before.revoked_ms == 0 && before.ended_for.is_empty() && follows, Outcome::ConsentConflict)
}

/// Each author, and each member for paper, has room of its own; and so have all whose identities a
/// member vouches for, whom it could make up.
fn list<R: StateReader>(
    view: &mut View<'_, R>,
    author: &Author,
    id: &ConsentId,
    state: &ConsentState,
) -> Result<(), Refusal> {
    let place = list_of(state);
    let mut list: ConsentListState = view.message(Table::State, &place)?.unwrap_or_default();
    let entry = entry_of(id, state);
    match list.consents.iter_mut().find(|listed| listed.consent_id == entry.consent_id) {
        Some(listed) => *listed = entry.clone(),
        None => list.consents.push(entry.clone()),
    }
    let own = |e: &&ConsentListEntry| e.author == entry.author && e.paper_member == entry.paper_member;
    ensure(fit(list.consents.iter().filter(own), CONSENTS_MAX, CONSENTS_BYTES_MAX), Outcome::TooManyOfPatient)?;
    let of_member =
        |e: &&ConsentListEntry| e.author.parse::<SpiffeId>().is_ok_and(|id| id.member() == author.id.member());
    let of_member = list.consents.iter().filter(of_member);
    let fits = fit(of_member, CONSENTS_OF_MEMBER_MAX, CONSENTS_OF_MEMBER_BYTES_MAX);
    ensure(fits || !entry.paper_member.is_empty(), Outcome::TooManyOfPatient)?;
    view.put_message(Table::State, place, &list);
    Ok(())
}

fn entry_of(id: &ConsentId, state: &ConsentState) -> ConsentListEntry {
    let grant = state.grant.as_ref();
    ConsentListEntry {
        consent_id: Bytes::copy_from_slice(&id.0),
        author: if state.paper_member.is_empty() { state.author.clone() } else { String::new() },
        paper_member: state.paper_member.clone(),
        from_ms: grant.map_or(0, |grant| grant.from_ms),
        to_ms: grant.map_or(0, |grant| grant.to_ms),
        size: grant.map_or(0, |grant| u32::try_from(grant.encoded_len()).unwrap_or(u32::MAX)),
    }
}

fn fit<'a>(entries: impl Iterator<Item = &'a ConsentListEntry>, number_max: usize, bytes_max: usize) -> bool {
    let (number, bytes) = entries.fold((0, 0_u64), |(number, bytes), e| (number + 1, bytes + u64::from(e.size)));
    number <= number_max && bytes <= bytes_max as u64
}

/// Key of the list in which a consent stands.
fn list_of(consent: &ConsentState) -> Vec<u8> {
    [&[consilium_proto::state::StateRow::ConsentList as u8][..], &consent.patient].concat()
}

fn revoke<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    id: &ConsentId,
) -> Result<PatientPseudonym, Refusal> {
    let not_found = || Refusal::Rejected(Outcome::ConsentNotFound);
    let mut state: ConsentState = view.message(Table::State, &keys::consent(id))?.ok_or_else(not_found)?;
    let patient = patient_of(&state)?;
    ensure(state.revoked_ms == 0, Outcome::ConsentNotFound)?;
    let ending = ending(view, cx, author, &state)?.ok_or_else(not_found)?;
    if let Ending::For(mut members) = ending {
        state.ended_for.append(&mut members);
        state.ended_for.sort();
        note_ending(&mut state, author);
        view.put_message(Table::State, keys::consent(id), &state);
        return Ok(patient);
    }
    state.revoked_ms = cx.time.0;
    view.put_message(Table::State, keys::consent(id), &state);
    let place = list_of(&state);
    let mut list: ConsentListState = view.message(Table::State, &place)?.unwrap_or_default();
    list.consents.retain(|entry| entry.consent_id != id.0[..]);
    view.put_message(Table::State, place, &list);
    Ok(patient)
}

fn patient_of(consent: &ConsentState) -> Result<PatientPseudonym, StoreFault> {
    let patient = PatientPseudonym::parse("patient", &consent.patient);
    patient.map_err(|e| crate::roster::corrupt(format!("consent: {e}")))
}

/// That it ends for custodians that accept this identity later. Each member has a place for its
/// identities, so that none can use up another's.
fn note_ending(consent: &mut ConsentState, author: &Author) {
    let name = author.id.to_string();
    if consent.author != name {
        let same_member = |by: &String| by.parse::<SpiffeId>().is_ok_and(|id| id.member() == author.id.member());
        consent.ended_by.retain(|by| !same_member(by));
        consent.ended_by.push(name);
    }
}

/// How far a consent is ended.
enum Ending {
    Whole,
    /// For the records of these members.
    For(Vec<String>),
}

/// By its author; for paper, by its member, or who keeps that one's records since it left; and by
/// others, for the records of custodians that accept them: one alone must neither end what protects
/// the records of another, nor keep that from being ended. Those who say that the patient has died
/// hear its executor alone: for their records it ends by that one, for the others' by the others.
fn ending<R: StateReader>(
    view: &View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    consent: &ConsentState,
) -> Result<Option<Ending>, StoreFault> {
    let kept = Kept::over(view)?;
    if !consent.paper_member.is_empty() {
        let own = kept.keeps(author.member(), &consent.paper_member) && author.ensure_registrar().is_ok();
        return Ok(own.then_some(Ending::Whole));
    }
    let name = author.id.to_string();
    let patient = load_patient(view, &patient_of(consent)?)?.unwrap_or_default();
    let bound = kept.listening(&patient, &consent.author);
    let bound = bound.filter(|(member, _)| !consent.ended_for.iter().any(|ended| ended == member));
    let (hearing, deaf): (Vec<_>, Vec<_>) = bound.partition(|(_, hears)| *hears);
    if hearing.is_empty() && deaf.is_empty() {
        return Ok((consent.author == name).then_some(Ending::Whole));
    }
    let accepts = |(member, _): &(&str, bool)| may_end(&kept, &patient, member, &name, cx);
    let all = hearing.len() + deaf.len();
    let hearing = hearing.into_iter().filter(|bound| consent.author == name || accepts(bound));
    let ended = hearing.chain(deaf.into_iter().filter(accepts));
    let ended: Vec<_> = ended.map(|(member, _)| member.to_owned()).collect();
    Ok(match ended.len() {
        0 => None,
        number if number == all => Some(Ending::Whole),
        _ => Some(Ending::For(ended)),
    })
}
