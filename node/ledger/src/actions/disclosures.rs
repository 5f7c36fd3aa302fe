//! Disclosures under a legal duty: said by one person of the custodian, confirmed by another, and
//! an entry of the patient's log from then on. One person alone puts nothing into it.

use bytes::Bytes;
use consilium_proto::access::discloses;
use consilium_proto::ids::{DisclosureId, PatientPseudonym};
use consilium_proto::limits::{DISCLOSURE_CONFIRM_MAX_MS, SEAL_AHEAD_MAX_MS};
use consilium_proto::names::Role;
use consilium_proto::pb::{
    AccessDecision, AccessEvent, AccessGround, AccessKind, DisclosureBasis as Basis, DisclosureState, DisclosureTerms,
    LegalTerms, Outcome, PurposeOfUse, RecordState, Seal, VersionRef,
};
use consilium_proto::transaction::{self, Disclose, DisclosureAction, RequestAccess};
use prost::Message;

use super::{Author, Context, changes, units};
use crate::custody::Kept;
use crate::keys;
use crate::log;
use crate::rights::is_known;
use crate::roster::corrupt;
use crate::rules::{Refusal, ensure};
use crate::table::Table;
use crate::view::{LogPlace, StateReader, StoreFault, View};

pub(super) fn run<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    action: &DisclosureAction,
) -> Result<(), Refusal> {
    match action {
        DisclosureAction::Disclose(disclosure) => disclose(view, cx, author, disclosure),
        DisclosureAction::Confirm(id) => confirm(view, cx, author, id),
    }
}

fn disclose<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    disclosure: &Disclose,
) -> Result<(), Refusal> {
    ensure(discloses(author.id.role()), Outcome::RoleNotAllowed)?;
    ensure(is_known(view, &disclosure.patient)?, Outcome::PatientNotFound)?;
    let place = keys::disclosure(&disclosure.id);
    ensure(view.get(Table::State, &place)?.is_none(), Outcome::DisclosureExists)?;
    if let Some(seal) = &disclosure.seal {
        let latest = cx.time.0.saturating_add(SEAL_AHEAD_MAX_MS);
        ensure(seal.until > cx.time && seal.until.0 <= latest, Outcome::TimeRefused)?;
    }
    let records = disclosure.records.iter().map(|version| own_version(view, author, &disclosure.patient, version));
    let state = DisclosureState {
        patient: Bytes::copy_from_slice(&disclosure.patient.0),
        member: author.member().to_owned(),
        basis: disclosure.basis.into(),
        order_sha256: disclosure.order.to_bytes(),
        records: records.collect::<Result<_, _>>()?,
        recipient: disclosure.recipient.into(),
        recipient_sha256: disclosure.recipient_hash.to_bytes(),
        author: author.id.to_string(),
        opened_ms: cx.time.0,
        seal: disclosure.seal.as_ref().map(Into::into),
        ..DisclosureState::default()
    };
    view.put_message(Table::State, place, &state);
    view.put(Table::Index, keys::index_disclosure(author.member(), cx.time, &disclosure.id), Bytes::new());
    Ok(())
}

/// A version of a record in the custody of the author's member and of the patient, the newest for
/// 0. Whether others have records, is not told.
fn own_version<R: StateReader>(
    view: &View<'_, R>,
    author: &Author,
    patient: &PatientPseudonym,
    version: &transaction::VersionRef,
) -> Result<VersionRef, Refusal> {
    let kept = Kept::over(view)?;
    let record: Option<RecordState> = view.message(Table::State, &keys::record(&version.record))?;
    let record = record.filter(|record| {
        let own = kept.keeps(author.member(), &record.member);
        own && record.patient == patient.0[..] && version.version <= record.version
    });
    let record = record.ok_or(Refusal::Rejected(Outcome::RecordNotFound))?;
    let number = if version.version == 0 { record.version } else { version.version };
    Ok(VersionRef { record_id: Bytes::copy_from_slice(&version.record.0), version: number })
}

fn confirm<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    id: &DisclosureId,
) -> Result<(), Refusal> {
    let place = keys::disclosure(id);
    let not_found = Refusal::Rejected(Outcome::DisclosureNotFound);
    let mut state: DisclosureState = view.message(Table::State, &place)?.ok_or(not_found)?;
    let open = state.confirmed_by.is_empty() && state.member == author.member();
    ensure(open, Outcome::DisclosureNotFound)?;
    let another = author.id.role() == Role::Auditor && state.author != author.id.to_string();
    ensure(another, Outcome::RoleNotAllowed)?;
    let until = state.opened_ms.saturating_add(DISCLOSURE_CONFIRM_MAX_MS);
    ensure(cx.time.0 < until, Outcome::TimeRefused)?;
    state.confirmed_by = author.id.to_string();
    state.confirmed_ms = cx.time.0;
    view.put_message(Table::State, place, &state);
    Ok(record_event(view, cx, id, &state)?)
}

fn record_event<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    id: &DisclosureId,
    state: &DisclosureState,
) -> Result<(), StoreFault> {
    let patient = PatientPseudonym::parse("patient", &state.patient);
    let log = keys::access_log(&patient.map_err(|e| corrupt(format!("disclosure: {e}")))?);
    let decision = AccessDecision {
        ground: AccessGround::Custodian.into(),
        records: state.records.clone(),
        ..AccessDecision::default()
    };
    let disclosure = DisclosureTerms {
        disclosure_id: Bytes::copy_from_slice(&id.0),
        basis: u32::try_from(state.basis).unwrap_or_default(),
        order_sha256: state.order_sha256.clone(),
        recipient: u32::try_from(state.recipient).unwrap_or_default(),
        recipient_sha256: state.recipient_sha256.clone(),
        confirmed_by: state.confirmed_by.clone(),
    };
    let event = AccessEvent {
        sequence: log::length(view, &log)?,
        transaction_id: cx.transaction.id.to_bytes(),
        reader: state.author.clone(),
        patient: state.patient.clone(),
        purpose: purpose(state.basis()).into(),
        kind: AccessKind::Disclosure.into(),
        decisions: vec![decision],
        policy_version: view.roster()?.last_policy,
        time_ms: cx.time.0,
        height: cx.height.0,
        legal: Some(LegalTerms { disclosure: Some(disclosure), seal: state.seal.clone() }),
        unit: units::of(view, &state.author)?,
        ..AccessEvent::default()
    };
    changes::note_reads(view, &event)?;
    let place = log::append(view, &log, event.encode_to_vec().into())?;
    view.logged(LogPlace { log, place });
    Ok(())
}

/// The seal of a request's entry: that of a disclosure which two persons of the reader's member have
/// made, for its purpose, for the records that it names, where it names any, and for that member's
/// records alone: nobody seals alone what these two have not seen. What it depends on, the member
/// knows anyway.
pub(super) fn seal_of<R: StateReader>(
    view: &View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    request: &RequestAccess,
) -> Result<Option<Seal>, Refusal> {
    let Some(by) = &request.sealed_by else { return Ok(None) };
    author.ensure_registrar()?;
    let state: Option<DisclosureState> = view.message(Table::State, &keys::disclosure(&by.disclosure))?;
    let state = state.filter(|state| {
        state.member == author.member()
            && state.patient == request.patient.0[..]
            && !state.confirmed_by.is_empty()
            && purpose(state.basis()) == request.purpose
            && (state.records.is_empty() || request.records.iter().all(|asked| names(state, asked)))
    });
    let seal = state.and_then(|state| state.seal).filter(|seal| cx.time.0 < seal.until_ms);
    let seal = seal.ok_or(Refusal::Rejected(Outcome::DisclosureNotFound))?;
    for version in &request.records {
        own_version(view, author, &request.patient, version)?;
    }
    Ok(Some(Seal { salt: Bytes::copy_from_slice(&by.salt), ..seal }))
}

/// Whether a disclosure is of a version, or, where the newest is asked for, of any of its record.
fn names(state: &DisclosureState, asked: &transaction::VersionRef) -> bool {
    let same = |named: &VersionRef| {
        named.record_id == asked.record.0[..] && (asked.version == 0 || named.version == asked.version)
    };
    state.records.iter().any(same)
}

/// The nearest of HL7's purposes.
fn purpose(basis: Basis) -> PurposeOfUse {
    match basis {
        Basis::PublicHealth => PurposeOfUse::Pubhlth,
        Basis::CourtOrder | Basis::Crime | Basis::Protection | Basis::Unspecified => PurposeOfUse::Hlegal,
        Basis::Death => PurposeOfUse::Hdecd,
        Basis::Oversight => PurposeOfUse::Gov,
        Basis::Threat => PurposeOfUse::Threat,
    }
}
