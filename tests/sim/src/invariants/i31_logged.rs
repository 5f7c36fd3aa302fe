//! I31, G6: the log of each patient has an event for each request and each query that took effect,
//! for each disclosure that was confirmed, for what was said of the patient on which its rights
//! depend (of a link in both logs; consents that are put or ended, and attested care among it), and
//! for each emergency that was declared, with its end, and reviewed, in the order of the ledger, and
//! its count and root are those of these events, whether pseudonyms are linked or not; what was read
//! without a quorum and entered later says so; requests for whom there is not are in the log of the
//! reader's member. Each names the unit that the reader's member said before, in the order of the
//! ledger.

use std::collections::BTreeMap;

use consilium_ledger::{keys, log};
use consilium_proto::hash::Hash;
use consilium_proto::ids::{DisclosureId, EmergencyId, PatientPseudonym, TransactionId};
use consilium_proto::merkle::{leaf_hash, root_of};
use consilium_proto::pb::{AccessEvent, AccessKind, LogState, PatientChange, PatientChangeKind, RetractionReason};
use consilium_proto::state::StateRow;
use consilium_proto::transaction::{
    Action, AssignUnit, ConsentAction, DisclosureAction, EmergencyAction, PatientAction, RetractRecord,
};
use prost::Message;

use super::Check;
use crate::chronicle::Effect;
use crate::disk::LedgerStore;
use crate::fixture::EMERGENCY_MS;
use crate::judge::Judge;

/// Compares a ledger's logs with its blocks.
///
/// # Errors
/// What differs.
pub fn check(ledger: &LedgerStore, effects: &[Effect]) -> Check {
    let mut expected = expected(effects);
    for kind in [StateRow::AccessLog, StateRow::UnmatchedLog] {
        for (key, row) in ledger.rows(&[kind as u8]) {
            let row = LogState::decode(row.clone()).map_err(|e| e.to_string())?;
            let events = expected.remove(key).unwrap_or_default();
            check_log(ledger, key, &row, &events).map_err(|what| format!("{}: {what}", keys::describe(key)))?;
        }
    }
    match expected.keys().next() {
        Some(key) => Err(format!("there is no {}", keys::describe(key))),
        None => Ok(()),
    }
}

/// An event that there must be.
struct Expected<'a> {
    effect: &'a Effect,
    /// Who reads, hands on, or says something.
    reader: String,
    /// Of which unit that one is then.
    unit: String,
    kind: AccessKind,
    /// What is said.
    change: Option<PatientChangeKind>,
    /// When it was read without a quorum, as the reader says; else 0.
    late_ms: u64,
    /// In which emergency, or which one was declared or reviewed.
    emergency: Option<EmergencyId>,
    /// For whom a system asks, or declares.
    acting: Option<Hash>,
    /// Of a declaration why and until when, and of a review what it found; else zeros.
    terms: (u32, u64, u32),
}

impl<'a> Expected<'a> {
    fn new(effect: &'a Effect, reader: String, kind: AccessKind) -> Self {
        Self {
            effect,
            reader,
            unit: String::new(),
            kind,
            change: None,
            late_ms: 0,
            emergency: None,
            acting: None,
            terms: (0, 0, 0),
        }
    }

    /// Somebody says something of the patient.
    fn said(effect: &'a Effect, change: PatientChangeKind) -> Self {
        Self { change: Some(change), ..Self::new(effect, effect.author.to_string(), AccessKind::Change) }
    }

    /// The same with the unit that is known of the reader.
    fn of_unit(self, units: &BTreeMap<String, String>) -> Self {
        Self { unit: units.get(&self.reader).cloned().unwrap_or_default(), ..self }
    }

    fn is(&self, event: &AccessEvent, place: u64) -> bool {
        let Self { effect, reader, unit, kind, change, late_ms, emergency, acting, terms } = self;
        let said = event.change.as_ref();
        let emergency = emergency.map(|id| id.0.to_vec()).unwrap_or_default();
        let of_emergency =
            matches!(change, Some(PatientChangeKind::EmergencyDeclared | PatientChangeKind::EmergencyReviewed));
        let told = said.filter(|_| of_emergency).map(|said| (said.reason, said.to_ms, said.verdict));
        TransactionId::try_from(event.transaction_id.as_ref()).ok() == Some(effect.transaction.id)
            && (event.sequence, event.height, event.time_ms) == (place, effect.height.0, effect.time.0)
            && (&event.reader, &event.unit, event.kind(), event.late_ms) == (reader, unit, *kind, *late_ms)
            && (said.map(PatientChange::kind), &event.emergency_id[..]) == (*change, &emergency[..])
            && event.acting_sha256 == acting.map(|hash| hash.to_bytes()).unwrap_or_default()
            && told.unwrap_or_default() == *terms
    }
}

/// Of which patients an action says something that their logs must have, and what.
fn said(action: &PatientAction) -> (Vec<PatientPseudonym>, PatientChangeKind) {
    match action {
        PatientAction::Accept(said) if said.withdrawn => (vec![said.patient], PatientChangeKind::AcceptanceEnded),
        PatientAction::Accept(said) => (vec![said.patient], PatientChangeKind::Accepted),
        PatientAction::Link { pair, .. } => (vec![pair.patient, pair.other], PatientChangeKind::Linked),
        PatientAction::Unlink(pair) => (vec![pair.patient, pair.other], PatientChangeKind::Unlinked),
        PatientAction::AttestDeath(said) if said.withdrawn => (vec![said.patient], PatientChangeKind::DeathTakenBack),
        PatientAction::AttestDeath(said) => (vec![said.patient], PatientChangeKind::Died),
        PatientAction::AttestCare(said) => (vec![said.patient], PatientChangeKind::CareAttested),
        PatientAction::Register(_) | PatientAction::AddLookups(_) | PatientAction::PutSalt(_) => {
            (Vec::new(), PatientChangeKind::Unspecified)
        }
    }
}

/// Events by the log that they belong into.
fn expected(effects: &[Effect]) -> BTreeMap<Vec<u8>, Vec<Expected<'_>>> {
    let mut judge = Judge::new(0);
    let mut disclosed: BTreeMap<DisclosureId, (PatientPseudonym, String)> = BTreeMap::new();
    let mut logs: BTreeMap<Vec<u8>, Vec<Expected<'_>>> = BTreeMap::new();
    let mut units: BTreeMap<String, String> = BTreeMap::new();
    for effect in effects {
        for action in &effect.transaction.actions {
            match action {
                Action::RequestAccess(request) => {
                    let log = match judge.knows(&request.patient) {
                        true => keys::access_log(&request.patient),
                        false => keys::unmatched_log(effect.author.member().as_str()),
                    };
                    let event = Expected {
                        late_ms: request.late.map_or(0, |late| late.0),
                        emergency: request.emergency,
                        acting: request.acting,
                        ..Expected::new(effect, effect.author.to_string(), request.kind)
                    };
                    logs.entry(log).or_default().push(event.of_unit(&units));
                }
                Action::Disclosure(DisclosureAction::Disclose(disclosure)) => {
                    disclosed.insert(disclosure.id, (disclosure.patient, effect.author.to_string()));
                }
                Action::Disclosure(DisclosureAction::Confirm(id)) => {
                    if let Some((patient, reader)) = disclosed.get(id).cloned() {
                        let event = Expected::new(effect, reader, AccessKind::Disclosure);
                        logs.entry(keys::access_log(&patient)).or_default().push(event.of_unit(&units));
                    }
                }
                Action::AssignUnit(AssignUnit { identity, unit }) => {
                    let unit = unit.as_ref().map(ToString::to_string).unwrap_or_default();
                    units.insert(identity.to_string(), unit);
                }
                action => {
                    for (patient, event) in told_of(&judge, effect, action) {
                        logs.entry(keys::access_log(&patient)).or_default().push(event.of_unit(&units));
                    }
                }
            }
            judge.hear(effect, action);
        }
    }
    logs
}

/// Of which patients something is said, and what their logs have of it.
fn told_of<'a>(judge: &Judge, effect: &'a Effect, action: &Action) -> Vec<(PatientPseudonym, Expected<'a>)> {
    let of_record = |record, kind| {
        let patient = judge.record(record).map(|(patient, _)| patient);
        patient.map(|patient| (patient, Expected::said(effect, kind))).into_iter().collect()
    };
    match action {
        Action::Patient(action) => {
            let (patients, kind) = said(action);
            patients.into_iter().map(|patient| (patient, Expected::said(effect, kind))).collect()
        }
        Action::RetractRecord(RetractRecord { record_id, reason: RetractionReason::WrongPatient, .. }) => {
            of_record(record_id, PatientChangeKind::Misfiled)
        }
        Action::ConfirmRetraction(confirm) => of_record(&confirm.record_id, PatientChangeKind::MisfiledConfirmed),
        Action::Consent(ConsentAction::Put(put)) => {
            vec![(put.patient, Expected::said(effect, PatientChangeKind::ConsentPut))]
        }
        Action::Consent(ConsentAction::Revoke(id)) => {
            let ended = |patient| (patient, Expected::said(effect, PatientChangeKind::ConsentEnded));
            judge.consent_of(id).map(ended).into_iter().collect()
        }
        Action::Emergency(action) => of_emergency(judge, effect, action).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Of whom an emergency is, and what the log has of it: of a review the same patient as of the
/// declaration.
fn of_emergency<'a>(
    judge: &Judge,
    effect: &'a Effect,
    action: &EmergencyAction,
) -> Option<(PatientPseudonym, Expected<'a>)> {
    Some(match action {
        EmergencyAction::Declare(declared) => {
            let said = Expected::said(effect, PatientChangeKind::EmergencyDeclared);
            let terms = (declared.reason as u32, effect.time.0 + EMERGENCY_MS, 0);
            (declared.patient, Expected { emergency: Some(declared.id), acting: declared.acting, terms, ..said })
        }
        EmergencyAction::Review { id, verdict, .. } => {
            let said = Expected::said(effect, PatientChangeKind::EmergencyReviewed);
            let terms = (0, 0, *verdict as u32);
            (judge.emergency_of(id)?, Expected { emergency: Some(*id), terms, ..said })
        }
    })
}

fn check_log(ledger: &LedgerStore, key: &[u8], row: &LogState, expected: &[Expected<'_>]) -> Check {
    if row.count != expected.len() as u64 {
        return Err(format!("counts {} events, the blocks hold {}", row.count, expected.len()));
    }
    let mut leaves = Vec::new();
    for (place, expected) in (0..).zip(expected) {
        let entry = log::entry(ledger, key, place).map_err(|e| e.to_string())?;
        let entry = entry.ok_or_else(|| format!("lacks event {place}"))?;
        let event = AccessEvent::decode(entry.clone()).map_err(|e| e.to_string())?;
        if !expected.is(&event, place) {
            let Expected { effect, kind, .. } = expected;
            return Err(format!("event {place} is not that of the {kind:?} in block {}", effect.height));
        }
        leaves.push(leaf_hash(&entry));
    }
    let root = root_of(leaves).map_err(|e| e.to_string())?;
    match root.as_bytes()[..] == row.root {
        true => Ok(()),
        false => Err("has another root than its events".to_owned()),
    }
}
