//! I31, G6: the log of each patient has an event for each request and each query that took effect,
//! for each disclosure that was confirmed, and for what was said of the patient on which its rights
//! depend (of a link in both logs), in the order of the ledger, and its count and root are those of
//! these events, whether pseudonyms are linked or not; what was read without a quorum and entered
//! later says so; requests for whom there is not are in the log of the reader's member.

use std::collections::BTreeMap;

use consilium_ledger::{keys, log};
use consilium_proto::ids::{DisclosureId, PatientPseudonym, TransactionId};
use consilium_proto::merkle::{leaf_hash, root_of};
use consilium_proto::pb::{AccessEvent, AccessKind, LogState, PatientChange, PatientChangeKind, RetractionReason};
use consilium_proto::state::StateRow;
use consilium_proto::transaction::{Action, DisclosureAction, PatientAction, RetractRecord};
use prost::Message;

use super::Check;
use crate::chronicle::Effect;
use crate::disk::LedgerStore;
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
    kind: AccessKind,
    /// What is said.
    change: Option<PatientChangeKind>,
    /// When it was read without a quorum, as the reader says; else 0.
    late_ms: u64,
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
        PatientAction::Register(_)
        | PatientAction::AddLookups(_)
        | PatientAction::AttestCare(_)
        | PatientAction::PutSalt(_) => (Vec::new(), PatientChangeKind::Unspecified),
    }
}

/// Events by the log that they belong into.
fn expected(effects: &[Effect]) -> BTreeMap<Vec<u8>, Vec<Expected<'_>>> {
    let mut judge = Judge::new(0);
    let mut disclosed: BTreeMap<DisclosureId, (PatientPseudonym, String)> = BTreeMap::new();
    let mut logs: BTreeMap<Vec<u8>, Vec<Expected<'_>>> = BTreeMap::new();
    for effect in effects {
        let by = effect.author.to_string();
        for action in &effect.transaction.actions {
            match action {
                Action::RequestAccess(request) => {
                    let log = match judge.knows(&request.patient) {
                        true => keys::access_log(&request.patient),
                        false => keys::unmatched_log(effect.author.member().as_str()),
                    };
                    let late_ms = request.late.map_or(0, |late| late.0);
                    let event = Expected { effect, reader: by.clone(), kind: request.kind, change: None, late_ms };
                    logs.entry(log).or_default().push(event);
                }
                Action::Disclosure(DisclosureAction::Disclose(disclosure)) => {
                    disclosed.insert(disclosure.id, (disclosure.patient, by.clone()));
                }
                Action::Disclosure(DisclosureAction::Confirm(id)) => {
                    if let Some((patient, reader)) = disclosed.get(id).cloned() {
                        let event = Expected { effect, reader, kind: AccessKind::Disclosure, change: None, late_ms: 0 };
                        logs.entry(keys::access_log(&patient)).or_default().push(event);
                    }
                }
                Action::Patient(action) => {
                    let (patients, change) = said(action);
                    for patient in patients {
                        let (reader, change) = (by.clone(), Some(change));
                        let event = Expected { effect, reader, kind: AccessKind::Change, change, late_ms: 0 };
                        logs.entry(keys::access_log(&patient)).or_default().push(event);
                    }
                }
                Action::RetractRecord(RetractRecord { record_id, reason: RetractionReason::WrongPatient, .. }) => {
                    let Some((patient, _)) = judge.record(record_id) else { continue };
                    let (reader, change) = (by.clone(), Some(PatientChangeKind::Misfiled));
                    let event = Expected { effect, reader, kind: AccessKind::Change, change, late_ms: 0 };
                    logs.entry(keys::access_log(&patient)).or_default().push(event);
                }
                Action::ConfirmRetraction(confirm) => {
                    let Some((patient, _)) = judge.record(&confirm.record_id) else { continue };
                    let (reader, change) = (by.clone(), Some(PatientChangeKind::MisfiledConfirmed));
                    let event = Expected { effect, reader, kind: AccessKind::Change, change, late_ms: 0 };
                    logs.entry(keys::access_log(&patient)).or_default().push(event);
                }
                _ => {}
            }
            judge.hear(effect, action);
        }
    }
    logs
}

fn check_log(ledger: &LedgerStore, key: &[u8], row: &LogState, expected: &[Expected<'_>]) -> Check {
    if row.count != expected.len() as u64 {
        return Err(format!("counts {} events, the blocks hold {}", row.count, expected.len()));
    }
    let mut leaves = Vec::new();
    for (place, Expected { effect, reader, kind, change, late_ms }) in (0..).zip(expected) {
        let entry = log::entry(ledger, key, place).map_err(|e| e.to_string())?;
        let entry = entry.ok_or_else(|| format!("lacks event {place}"))?;
        let event = AccessEvent::decode(entry.clone()).map_err(|e| e.to_string())?;
        let id = TransactionId::try_from(event.transaction_id.as_ref()).ok();
        let same = id == Some(effect.transaction.id)
            && (event.sequence, event.height, event.time_ms) == (place, effect.height.0, effect.time.0)
            && (&event.reader, event.kind(), event.late_ms) == (reader, *kind, *late_ms)
            && event.change.as_ref().map(PatientChange::kind) == *change;
        if !same {
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
