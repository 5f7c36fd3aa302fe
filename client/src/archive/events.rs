//! Requests for access, confirmed disclosures and what was said of patients and of their emergencies
//! in blocks, and the events that logs have of them: one for each, and of a link one in both logs,
//! that says the same but for what was decided, and when an emergency ends, which is, like every
//! outcome, what the validators signed.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_proto::hash::{Hash, sha256};
use consilium_proto::header::Header;
use consilium_proto::ids::{ConsentId, EmergencyId, Height, PatientPseudonym, TimeMs, TransactionId};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb;
use consilium_proto::state::StateKey;
use consilium_proto::transaction::{Action, ConsentAction, EmergencyAction, Transaction};
use prost::Message;

use super::failure::VerifyFailure;
use crate::access_log::request::{plain, plain_disclosure, told, told_change, told_disclosure};

/// Requests, confirmed disclosures and what was said, that were applied and whose events were not
/// seen yet.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: BTreeMap<TransactionId, (Height, Vec<Hash>)>,
    /// Disclosures that nobody has confirmed yet, by their ids, and who made them.
    disclosures: BTreeMap<Bytes, (String, pb::Disclose)>,
    /// Emergencies that nobody has reviewed yet, and whose they are.
    emergencies: BTreeMap<EmergencyId, PatientPseudonym>,
    /// Whose consents are.
    consents: BTreeMap<ConsentId, PatientPseudonym>,
    /// Of which units identities are, as the blocks so far say.
    units: BTreeMap<String, String>,
}

impl Requests {
    /// Takes the request, or what is disclosed and confirmed, of an applied transaction.
    pub(super) fn asked(&mut self, header: &Header, author: &SpiffeId, transaction: &Transaction) {
        let (author, place) = (author.to_string(), (header.time.0, header.height.0));
        for (encoded, action) in transaction.encoded.iter().zip(&transaction.actions) {
            // Each action is by whoever the author is after those before it.
            let by = self.with_unit(&author);
            let said = self.request(encoded, (&author, &by), place);
            said.into_iter().for_each(|said| self.expect(header, transaction, said));
            for change in self.changes(action) {
                let (purpose, kind) = (pb::PurposeOfUse::Patadmin.into(), pb::AccessKind::Change.into());
                let change = pb::AccessEvent { purpose, kind, ..change };
                self.expect(header, transaction, said_change(&by, place, &change));
            }
        }
    }

    /// What is asked for or confirmed by an action, if it is such a one.
    fn request(&mut self, encoded: &Bytes, (author, by): (&str, &str), place: (u64, u64)) -> Option<Hash> {
        use pb::action::Action as Encoded;
        match pb::Action::decode(encoded.clone()).ok()?.action? {
            Encoded::RequestAccess(request) => Some(said(by, place, &plain(request).encode_to_vec())),
            Encoded::Disclose(disclosure) => {
                self.disclosures.insert(disclosure.disclosure_id.clone(), (author.to_owned(), disclosure));
                None
            }
            Encoded::ConfirmDisclosure(confirm) => {
                let (by, disclosure) = self.disclosures.remove(&confirm.disclosure_id)?;
                Some(said_disclosure(&self.with_unit(&by), place, &plain_disclosure(disclosure), author))
            }
            Encoded::AssignUnit(assign) => {
                self.units.insert(assign.spiffe_id, assign.unit);
                None
            }
            _ => None,
        }
    }

    /// What is said of patients, as [`told_change`] has it.
    fn changes(&mut self, action: &Action) -> Vec<pb::AccessEvent> {
        let entry = |patient: Option<&PatientPseudonym>, change| pb::AccessEvent {
            patient: patient.map(|patient| Bytes::copy_from_slice(&patient.0)).unwrap_or_default(),
            change: Some(change),
            ..pb::AccessEvent::default()
        };
        match action {
            Action::Patient(action) => {
                action.changes().into_iter().map(|(of, change)| entry(Some(&of), change)).collect()
            }
            Action::Consent(action) => {
                let (patient, change) = action.change();
                let patient = match action {
                    ConsentAction::Put(put) => {
                        self.consents.insert(put.id, put.patient);
                        patient
                    }
                    ConsentAction::Revoke(id) => self.consents.get(id),
                };
                vec![entry(patient, change)]
            }
            Action::RetractRecord(retract) => retract.change().into_iter().map(|change| entry(None, change)).collect(),
            Action::ConfirmRetraction(confirm) => vec![entry(None, confirm.change())],
            Action::Emergency(action) => vec![self.emergency(action)],
            _ => Vec::new(),
        }
    }

    /// A review is of the patient for whom the emergency was declared.
    fn emergency(&mut self, action: &EmergencyAction) -> pb::AccessEvent {
        let said = action.said(TimeMs(0));
        match action {
            EmergencyAction::Declare(declared) => {
                self.emergencies.insert(declared.id, declared.patient);
                said
            }
            EmergencyAction::Review { id, .. } => {
                let patient = self.emergencies.remove(id).map(|patient| Bytes::copy_from_slice(&patient.0));
                pb::AccessEvent { patient: patient.unwrap_or_default(), ..said }
            }
        }
    }

    /// An identity with its unit, as blocks up to here have it.
    fn with_unit(&self, identity: &str) -> String {
        speaker(identity, self.units.get(identity).map_or("", String::as_str))
    }

    fn expect(&mut self, header: &Header, transaction: &Transaction, said: Hash) {
        self.open.entry(transaction.id).or_insert_with(|| (header.height, Vec::new())).1.push(said);
    }

    /// Takes the event at a place of a log; says what is wrong with it.
    pub(super) fn answer(&mut self, log: &StateKey, place: u64, entry: &Bytes) -> Result<(), &'static str> {
        let event = pb::AccessEvent::decode(entry.clone()).map_err(|_| "is not an event")?;
        if event.encode_to_vec() != entry[..] {
            return Err("is not encoded as an event is");
        }
        if event.sequence != place {
            return Err("says that it stands elsewhere");
        }
        let patient = PatientPseudonym::parse("patient", &event.patient).map_err(|_| "is of no patient")?;
        let reader = event.reader.parse::<SpiffeId>().map_err(|_| "is of no reader")?;
        let member = StateKey::UnmatchedLog(reader.member().to_string());
        let belongs = *log == StateKey::AccessLog(patient) || *log == member;
        if !belongs {
            return Err("belongs into another log");
        }
        let id = TransactionId::try_from(event.transaction_id.as_ref()).map_err(|_| "is of no request")?;
        let (by, place) = (speaker(&event.reader, &event.unit), (event.time_ms, event.height));
        let said = match (told_disclosure(&event), told_change(&event)) {
            (Some((disclosure, confirmed_by)), _) => said_disclosure(&by, place, &disclosure, &confirmed_by),
            (None, Some(change)) => said_change(&by, place, &change),
            (None, None) => said(&by, place, &told(&event).encode_to_vec()),
        };
        let Some((_, open)) = self.open.get_mut(&id) else {
            return Err("is of no request on the ledger, or of one that has an event already");
        };
        let asked = open.iter().position(|asked| *asked == said);
        open.swap_remove(asked.ok_or("says something else than its request, or its block")?);
        if open.is_empty() {
            self.open.remove(&id);
        }
        Ok(())
    }

    /// Once all events are there.
    pub(super) fn finish(&self) -> Result<(), VerifyFailure> {
        match self.open.first_key_value() {
            Some((transaction, (height, _))) => {
                Err(VerifyFailure::NoEvent { height: *height, transaction: *transaction })
            }
            None => Ok(()),
        }
    }
}

/// Who asks or says something, and of which unit it is: neither can hold a space.
fn speaker(identity: &str, unit: &str) -> String {
    format!("{identity} {unit}")
}

/// What an event repeats of its request, of who signed it, and of its block, hashed.
fn said(reader: &str, (time_ms, height): (u64, u64), request: &[u8]) -> Hash {
    let place = [time_ms.to_be_bytes(), height.to_be_bytes()].concat();
    Hash::of(&[&place, &sha256(&[reader.as_bytes()]), request])
}

/// The same of what was said of a patient.
fn said_change(author: &str, place: (u64, u64), change: &pb::AccessEvent) -> Hash {
    said(author, place, &change.encode_to_vec())
}

/// The same of a disclosure, and of who confirmed it.
fn said_disclosure(author: &str, place: (u64, u64), disclosure: &pb::Disclose, confirmed_by: &str) -> Hash {
    said(author, place, &[&sha256(&[confirmed_by.as_bytes()])[..], &disclosure.encode_to_vec()].concat())
}
