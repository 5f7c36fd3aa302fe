//! Requests for access: each record is decided by the rules, on every node alike, and what was
//! decided stands in the patient's log, whether permitted or not. A request for what there is
//! not leaves its trace in the log of the reader's member, so that probing makes no rows.
//!
//! A denied request takes effect as a permitted one does: its outcome tells nothing.

use bytes::Bytes;
use consilium_proto::access::reads_records;
use consilium_proto::ids::KeyId;
use consilium_proto::pb::{
    AccessDecision, AccessEvent, AccessGround as Ground, AccessKind, IdentityState, LegalTerms, RecordVersion,
    RosterState, Seal,
};
use consilium_proto::transaction::{RequestAccess, VersionRef};
use prost::Message;

use super::{Author, Context, changes, custody, disclosures};
use crate::keys;
use crate::log;
use crate::rights::{Decided, Decider, Reading};
use crate::roster::corrupt;
use crate::rules::Refusal;
use crate::table::Table;
use crate::view::{LogPlace, StateReader, StoreFault, View};

pub(super) fn run<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    request: &RequestAccess,
) -> Result<(), Refusal> {
    let seal = disclosures::seal_of(view, cx, author, request)?;
    let reading = reading(cx, author, request);
    let mut decider = Decider::over(view, cx.policy, reading)?;
    let mut decisions = Decisions::default();
    let mut released = Vec::new();
    for asked in &request.records {
        let (decided, version) = decider.decide_over(view, &asked.record, asked.version)?;
        let number = version.as_ref().map_or(asked.version, |version| version.version);
        decisions.add(decided, Some(VersionRef { record: asked.record, version: number }));
        released.extend(version.filter(|_| decided.permits()).map(|version| (asked.record, version)));
    }
    if request.kind == AccessKind::Query {
        let ground = match (decider.knows_patient(), reads_records(author.id.role())) {
            (true, true) => Ground::Each,
            (false, true) => Ground::NotFound,
            (true | false, false) => Ground::Role,
        };
        decisions.add(Decided { ground, consent: None }, None);
    }
    let log = match decider.knows_patient() {
        true => keys::access_log(&request.patient),
        false => keys::unmatched_log(author.member()),
    };
    let identity: Option<IdentityState> = view.message(Table::State, &keys::identity(&author.id.to_string()))?;
    let IdentityState { encryption_key_id, unit, .. } = identity.unwrap_or_default();
    record_event(view, cx, author, request, (log, decisions, seal, unit))?;
    Ok(ask_for_wraps(view, cx, author, request, (&encryption_key_id, &released))?)
}

fn reading<'a>(cx: &Context<'_>, author: &'a Author, request: &RequestAccess) -> Reading<'a> {
    Reading {
        reader: &author.id,
        patient: request.patient,
        kind: request.kind,
        purpose: request.purpose,
        project: request.project,
        emergency: request.emergency,
        time: cx.time,
    }
}

/// Versions by what was decided of them.
#[derive(Default)]
struct Decisions(Vec<AccessDecision>);

impl Decisions {
    fn add(&mut self, decided: Decided, version: Option<VersionRef>) {
        let (consent_id, consent_version) = match decided.consent {
            Some((id, version)) => (Bytes::copy_from_slice(&id.0), version),
            None => (Bytes::new(), 0),
        };
        let new = AccessDecision { ground: decided.ground.into(), consent_id, consent_version, records: Vec::new() };
        let same = |d: &&mut AccessDecision| {
            d.ground == new.ground && d.consent_id == new.consent_id && d.consent_version == new.consent_version
        };
        let place = match self.0.iter_mut().find(same) {
            Some(decision) => decision,
            None => self.0.push_mut(new),
        };
        place.records.extend(version.as_ref().map(Into::into));
    }
}

fn record_event<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    request: &RequestAccess,
    (log, decisions, seal, unit): (Vec<u8>, Decisions, Option<Seal>, String),
) -> Result<(), StoreFault> {
    let hash = |hash: &Option<consilium_proto::hash::Hash>| hash.map(|h| h.to_bytes()).unwrap_or_default();
    let roster: RosterState = view.roster()?;
    let event = AccessEvent {
        sequence: log::length(view, &log)?,
        transaction_id: cx.transaction.id.to_bytes(),
        reader: author.id.to_string(),
        patient: Bytes::copy_from_slice(&request.patient.0),
        purpose: request.purpose.into(),
        kind: request.kind.into(),
        decisions: decisions.0,
        query_sha256: hash(&request.query),
        emergency_id: request.emergency.map(|id| Bytes::copy_from_slice(&id.0)).unwrap_or_default(),
        acting_sha256: hash(&request.acting),
        project: request.project.map(|id| Bytes::copy_from_slice(&id.0)).unwrap_or_default(),
        policy_version: roster.last_policy,
        time_ms: cx.time.0,
        height: cx.height.0,
        late_ms: request.late.map_or(0, |late| late.0),
        legal: seal.map(|seal| LegalTerms { disclosure: None, seal: Some(seal) }),
        change: None,
        unit,
    };
    changes::note_reads(view, &event)?;
    let place = log::append(view, &log, event.encode_to_vec().into())?;
    view.logged(LogPlace { log, place });
    Ok(())
}

/// Asks the custodians for the keys of what may be read and is not wrapped yet for the reader's
/// newest key, if it has one.
fn ask_for_wraps<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    request: &RequestAccess,
    (key, released): (&[u8], &[(consilium_proto::ids::RecordId, RecordVersion)]),
) -> Result<(), StoreFault> {
    let is_wanted = matches!(request.kind, AccessKind::Read | AccessKind::Export) && !key.is_empty();
    if !is_wanted || released.is_empty() {
        return Ok(());
    }
    let key = KeyId::try_from(key).map_err(|e| corrupt(format!("identity: {e}")))?;
    let wanted = custody::Wanted { cx, reader: &author.id, request, key };
    released
        .iter()
        .filter(|(_, version)| !version.retraction)
        .try_for_each(|(id, version)| wanted.ask(view, id, version))
}
