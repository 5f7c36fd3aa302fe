//! Petitions: what patients ask of a member, with a deadline, and the answer. A petition opens
//! nothing to anybody: it makes a duty, and what it is about is looked at only for who may know
//! of it anyway. The duty of a member that has left is that of who keeps its records.

use std::collections::BTreeSet;

use bytes::Bytes;
use consilium_proto::hash::Hash;
use consilium_proto::ids::{PetitionId, RecordId, TransactionId};
use consilium_proto::limits::{DISAGREEMENTS_MAX, PETITIONS_DUE_MAX, PETITIONS_DUE_OF_PATIENT_MAX};
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::pb::{
    Disagreement, Outcome, PatientAcceptance, PetitionDue, PetitionKind as Kind, PetitionRefusal, PetitionState,
    PetitionVerdict, PetitionsDueState, RecordState, RecordVersion,
};
use consilium_proto::transaction::{
    AnswerPetition, Answered, OpenPetition, PetitionAction, PetitionSubject, VersionRef,
};

use super::{Author, Context, active_member};
use crate::custody::Kept;
use crate::keys;
use crate::log;
use crate::rights::{is_known, load_patient};
use crate::roster::corrupt;
use crate::rules::{Refusal, ensure};
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

pub(super) fn run<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    action: &PetitionAction,
    sequence: u64,
) -> Result<(), Refusal> {
    match action {
        PetitionAction::Open(petition) => open(view, cx, author, petition, sequence),
        PetitionAction::Answer(answer) => self::answer(view, cx, author, answer),
    }
}

fn open<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    petition: &OpenPetition,
    sequence: u64,
) -> Result<(), Refusal> {
    ensure_may_ask(view, cx, author, petition)?;
    let place = keys::petition(&petition.id);
    ensure(view.get(Table::State, &place)?.is_none(), Outcome::PetitionExists)?;
    if let Some(entry) = petition.subject.entry() {
        ensure(concerns(view, cx, petition, &entry)?, Outcome::EntryNotFound)?;
    }
    let state = describe(cx, author, petition, view.parameters()?.petition_ms);
    if let Some(version) = petition.subject.record() {
        let record = disputed(view, petition, &version)?;
        if let PetitionSubject::Disagreement { refused, .. } = petition.subject {
            ensure_refused(view, &state, &refused)?;
            attach(view, petition, &version, record)?;
        }
    }
    if state.due_ms != 0 {
        owe_answer(view, petition, state.due_ms)?;
    }
    view.put_message(Table::State, place, &state);
    let id = Bytes::copy_from_slice(&petition.id.0);
    for prefix in [keys::index_petitions_of(&petition.patient), keys::index_petitions_to(petition.member.as_str())] {
        view.put(Table::Index, keys::index_entry(prefix, sequence), id.clone());
    }
    Ok(())
}

/// Of records, the custodian says who may read for the patient; of the log, the member that
/// registered it, whose acceptance is what shows the log.
fn ensure_may_ask<R: StateReader>(
    view: &View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    petition: &OpenPetition,
) -> Result<(), Refusal> {
    if author.id.role() != Role::Patient {
        ensure(handles_petitions(author.id.role()), Outcome::RoleNotAllowed)?;
        ensure(petition.member == *author.id.member(), Outcome::NotAccepted)?;
        ensure(petition.document.is_some(), Outcome::DocumentMissing)?;
        return ensure(is_known(view, &petition.patient)?, Outcome::PatientNotFound);
    }
    let patient = load_patient(view, &petition.patient)?.ok_or(Refusal::Rejected(Outcome::NotAccepted))?;
    let kept = Kept::over(view)?;
    let name = author.id.to_string();
    let accepts = |member, reads: fn(&PatientAcceptance) -> bool| {
        kept.custodians(member).hear(&patient, &name, cx.time).any(reads)
    };
    let accepted = match petition.subject.record() {
        // Whether that one is in a representative's scope would tell of what kind it is.
        Some(_) => kept.of(petition.member.as_str()).any(|member| accepts(member, |a| a.may_read)),
        None => accepts(&patient.member, PatientAcceptance::reads_all),
    };
    ensure(accepted, Outcome::NotAccepted)?;
    active_member(view, petition.member.as_str()).map(|_| ())
}

/// Whether those of a role enter and answer petitions for their member.
fn handles_petitions(role: Role) -> bool {
    match role {
        Role::Service | Role::Clinician | Role::Auditor => true,
        Role::Node | Role::Admin | Role::Researcher | Role::Patient | Role::Device => false,
    }
}

fn describe(cx: &Context<'_>, author: &Author, petition: &OpenPetition, petition_ms: u64) -> PetitionState {
    let hash = |hash: Option<Hash>| hash.map(|h| h.to_bytes()).unwrap_or_default();
    let (refused_id, due_ms) = match &petition.subject {
        PetitionSubject::Disagreement { refused, .. } => (Bytes::copy_from_slice(&refused.0), 0),
        PetitionSubject::Correction(_) | PetitionSubject::Complaint(_) | PetitionSubject::Name(_) => {
            (Bytes::new(), cx.time.0.saturating_add(petition_ms))
        }
    };
    PetitionState {
        patient: Bytes::copy_from_slice(&petition.patient.0),
        member: petition.member.to_string(),
        kind: petition.subject.kind().into(),
        record: petition.subject.record().as_ref().map(Into::into),
        entry_id: petition.subject.entry().map(|entry| entry.to_bytes()).unwrap_or_default(),
        refused_id,
        text_sha256: hash(petition.text),
        document_sha256: hash(petition.document),
        author: author.id.to_string(),
        opened_ms: cx.time.0,
        height: cx.height.0,
        due_ms,
        ..PetitionState::default()
    }
}

/// The record that a petition is about: in the custody of the member that is asked, and of the
/// patient.
fn disputed<R: StateReader>(
    view: &View<'_, R>,
    petition: &OpenPetition,
    version: &VersionRef,
) -> Result<RecordState, Refusal> {
    let kept = Kept::over(view)?;
    let record: Option<RecordState> = view.message(Table::State, &keys::record(&version.record))?;
    let record = record.filter(|record| {
        record.patient == petition.patient.0[..]
            && kept.keeps(petition.member.as_str(), &record.member)
            && version.version <= record.version
    });
    record.ok_or(Refusal::Rejected(Outcome::RecordNotFound))
}

/// Whether a transaction has left an entry in the patient's log, and somebody of the member that is
/// asked made it, or a record that this one keeps was asked for: else anybody could owe anybody an
/// answer. Of an entry that is sealed the patient must not learn by asking.
fn concerns<R: StateReader>(
    view: &View<'_, R>,
    cx: &Context<'_>,
    petition: &OpenPetition,
    entry: &TransactionId,
) -> Result<bool, StoreFault> {
    let Some(event) = log::event_of(view, &keys::access_log(&petition.patient), entry)? else { return Ok(false) };
    let seal = event.legal.as_ref().and_then(|legal| legal.seal.as_ref());
    if seal.is_some_and(|seal| cx.time.0 < seal.until_ms) {
        return Ok(false);
    }
    let (kept, asked) = (Kept::over(view)?, petition.member.as_str());
    let reader: SpiffeId = event.reader.parse().map_err(|e| corrupt(format!("log: {e}")))?;
    if kept.keeps(asked, reader.member().as_str()) {
        return Ok(true);
    }
    for version in event.decisions.iter().flat_map(|decision| &decision.records) {
        let record = RecordId::parse("record_id", &version.record_id).map_err(|e| corrupt(format!("log: {e}")))?;
        let record: Option<RecordState> = view.message(Table::State, &keys::record(&record))?;
        let of_patient = record.filter(|record| record.patient == petition.patient.0[..]);
        if of_patient.is_some_and(|record| kept.keeps(asked, &record.member)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A statement stands behind a refusal to correct that very version, by the member that is asked or
/// by one that it keeps.
fn ensure_refused<R: StateReader>(
    view: &View<'_, R>,
    statement: &PetitionState,
    refused: &PetitionId,
) -> Result<(), Refusal> {
    let kept = Kept::over(view)?;
    let refused: Option<PetitionState> = view.message(Table::State, &keys::petition(refused))?;
    let same = |refused: PetitionState| {
        refused.kind() == Kind::Correction
            && refused.verdict() == PetitionVerdict::Refused
            && refused.patient == statement.patient
            && kept.keeps(&statement.member, &refused.member)
            && refused.record == statement.record
    };
    ensure(refused.is_some_and(same), Outcome::PetitionNotFound)
}

/// From now on the record's row says that there is a statement.
fn attach<R: StateReader>(
    view: &mut View<'_, R>,
    petition: &OpenPetition,
    version: &VersionRef,
    mut record: RecordState,
) -> Result<(), Refusal> {
    ensure(record.disagreements.len() < DISAGREEMENTS_MAX, Outcome::TooManyOfPatient)?;
    record.disagreements.push(Disagreement {
        petition_id: Bytes::copy_from_slice(&petition.id.0),
        version: version.version,
        text_sha256: petition.text.map(|hash| hash.to_bytes()).unwrap_or_default(),
    });
    view.put_message(Table::State, keys::record(&version.record), &record);
    Ok(())
}

/// Each patient has room of its own; and where there is none left for all, one that came by the
/// same registering member makes room, so that patients whom a member makes up push off none but its
/// own. What is dropped counts as overdue until it is answered.
fn owe_answer<R: StateReader>(view: &mut View<'_, R>, petition: &OpenPetition, due_ms: u64) -> Result<(), Refusal> {
    let place = keys::petitions_due(petition.member.as_str());
    let mut due: PetitionsDueState = view.message(Table::State, &place)?.unwrap_or_default();
    let own = due.petitions.iter().filter(|due| due.patient == petition.patient.0[..]).count();
    ensure(own < PETITIONS_DUE_OF_PATIENT_MAX, Outcome::TooManyOfPatient)?;
    let registered_by = load_patient(view, &petition.patient)?.map(|patient| patient.member).unwrap_or_default();
    if due.petitions.len() >= PETITIONS_DUE_MAX {
        due.petitions.remove(gives_room(&due.petitions, &registered_by));
        due.dropped = due.dropped.saturating_add(1);
    }
    due.petitions.push(PetitionDue {
        petition_id: Bytes::copy_from_slice(&petition.id.0),
        patient: Bytes::copy_from_slice(&petition.patient.0),
        due_ms,
        registered_by,
    });
    view.put_message(Table::State, place, &due);
    Ok(())
}

/// The oldest of the same registering member; of the one that has most, if that has none.
fn gives_room(due: &[PetitionDue], registered_by: &str) -> usize {
    let oldest_of = |member: &str| due.iter().position(|due| due.registered_by == member);
    let has = |member: &str| due.iter().filter(|due| due.registered_by == member).count();
    let members: BTreeSet<&str> = due.iter().map(|due| due.registered_by.as_str()).collect();
    let largest = || members.into_iter().max_by_key(|member| has(member));
    oldest_of(registered_by).or_else(|| oldest_of(largest()?)).unwrap_or_default()
}

fn answer<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    answer: &AnswerPetition,
) -> Result<(), Refusal> {
    let place = keys::petition(&answer.id);
    let not_found = Refusal::Rejected(Outcome::PetitionNotFound);
    let mut state: PetitionState = view.message(Table::State, &place)?.ok_or(not_found)?;
    let open = state.due_ms != 0 && state.answered_by.is_empty();
    ensure(open && Kept::over(view)?.keeps(author.member(), &state.member), Outcome::PetitionNotFound)?;
    ensure_may_answer(view, author, &state, &answer.verdict)?;
    ensure_amended(view, &state, &answer.verdict)?;
    let told = answer.text.is_some() || answer.letter.is_some();
    let names = state.kind() == Kind::Name && matches!(answer.verdict, Answered::Granted { .. });
    ensure(told || !names, Outcome::DocumentMissing)?;
    let (verdict, refusal, amended) = match answer.verdict {
        Answered::Granted { amended } => (PetitionVerdict::Granted, PetitionRefusal::Unspecified, amended),
        Answered::Refused(refusal) => (PetitionVerdict::Refused, refusal, 0),
    };
    let hash = |hash: Option<Hash>| hash.map(|h| h.to_bytes()).unwrap_or_default();
    state.verdict = verdict.into();
    state.refusal = refusal.into();
    state.amended_version = amended;
    state.answer_sha256 = hash(answer.text);
    state.letter_sha256 = hash(answer.letter);
    state.answered_by = author.id.to_string();
    state.answered_ms = cx.time.0;
    view.put_message(Table::State, place, &state);
    Ok(settle(view, &state.member, &answer.id)?)
}

/// Takes a petition off the list of what is due of the member that was asked.
fn settle<R: StateReader>(view: &mut View<'_, R>, asked: &str, id: &PetitionId) -> Result<(), StoreFault> {
    let place = keys::petitions_due(asked);
    let mut due: PetitionsDueState = view.message(Table::State, &place)?.unwrap_or_default();
    let listed = due.petitions.len();
    due.petitions.retain(|due| due.petition_id != id.0[..]);
    if due.petitions.len() == listed {
        due.dropped = due.dropped.saturating_sub(1);
    }
    view.put_message(Table::State, place, &due);
    Ok(())
}

/// What concerns a person is answered by those who read no records; a correction is not refused
/// by who wrote what is disputed, nor by who entered the petition.
fn ensure_may_answer<R: StateReader>(
    view: &View<'_, R>,
    author: &Author,
    state: &PetitionState,
    verdict: &Answered,
) -> Result<(), Refusal> {
    match state.kind() {
        Kind::Complaint | Kind::Name => ensure(author.id.role() == Role::Auditor, Outcome::RoleNotAllowed),
        Kind::Correction | Kind::Disagreement | Kind::Unspecified => {
            ensure(handles_petitions(author.id.role()), Outcome::RoleNotAllowed)?;
            let Answered::Refused(_) = verdict else { return Ok(()) };
            let version = subject(state)?;
            let key = keys::version(&version.record, version.version);
            let version: Option<RecordVersion> = view.message(Table::Versions, &key)?;
            let name = author.id.to_string();
            let concerned = state.author == name || version.is_some_and(|version| version.author == name);
            ensure(!concerned, Outcome::RoleNotAllowed)
        }
    }
}

/// A correction that is granted names a later version that there is, and, where the patient asked
/// itself, one that is not older than what it asked for; nothing else names one.
fn ensure_amended<R: StateReader>(
    view: &View<'_, R>,
    state: &PetitionState,
    verdict: &Answered,
) -> Result<(), Refusal> {
    let Answered::Granted { amended } = *verdict else { return Ok(()) };
    if state.kind() != Kind::Correction {
        return ensure(amended == 0, Outcome::NotAmended);
    }
    let disputed = subject(state)?;
    let record: Option<RecordState> = view.message(Table::State, &keys::record(&disputed.record))?;
    let newest = record.map_or(0, |record| record.version);
    ensure(amended > disputed.version && amended <= newest, Outcome::NotAmended)?;
    let key = keys::version(&disputed.record, amended);
    let amended: Option<RecordVersion> = view.message(Table::Versions, &key)?;
    let answers = |amended: &RecordVersion| !state.document_sha256.is_empty() || amended.height >= state.height;
    ensure(amended.as_ref().is_some_and(answers), Outcome::NotAmended)
}

fn subject(state: &PetitionState) -> Result<VersionRef, StoreFault> {
    let record = state.record.as_ref().map(VersionRef::try_from);
    let record = record.transpose().map_err(|e| corrupt(format!("petition: {e}")))?;
    record.ok_or_else(|| corrupt("a correction names no record"))
}

#[cfg(test)]
mod tests;
