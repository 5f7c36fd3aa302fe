//! Who may read what: a second account of the rules, small and slow, of what the simulator's
//! people do ([`crate::care`]) and nothing else. It is fed with what took effect, in the order
//! of the ledger, and shares no decision with the rules.

use std::collections::{BTreeMap, BTreeSet};

use consilium_proto::consent::{Grant, Grantee};
use consilium_proto::ids::{ConsentId, EmergencyId, PatientPseudonym, RecordId, TimeMs};
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::pb::{ConsentBase, ConsentEffect, ReviewVerdict};
use consilium_proto::transaction::{
    AcceptPatient, Action, ConsentAction, EmergencyAction, PatientAction, PutConsent, RequestAccess,
};

use crate::chronicle::Effect;

/// Somebody wants to read a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wish {
    /// SPIFFE id of who.
    pub reader: String,
    /// Of whom.
    pub patient: PatientPseudonym,
    /// What.
    pub record: RecordId,
    /// In which emergency; else for treatment.
    pub emergency: Option<EmergencyId>,
}

#[derive(Debug)]
struct Record {
    patient: PatientPseudonym,
    author: SpiffeId,
}

#[derive(Debug)]
struct Consent {
    put: PutConsent,
    author: SpiffeId,
    signed: TimeMs,
    revoked: bool,
}

#[derive(Debug)]
struct Emergency {
    patient: PatientPseudonym,
    reader: String,
    declared: TimeMs,
    /// A review has found that there was none.
    void: bool,
}

/// What consents say together, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    /// Nothing that opens anything.
    Silence,
    Permit,
    DenyAll,
    DenyReader,
}

/// See the module.
#[derive(Debug)]
pub struct Judge {
    /// How long an emergency lasts.
    emergency_ms: u64,
    patients: BTreeSet<PatientPseudonym>,
    records: BTreeMap<RecordId, Record>,
    accepted: BTreeMap<(PatientPseudonym, String, String), AcceptPatient>,
    care: BTreeMap<(PatientPseudonym, String), TimeMs>,
    consents: BTreeMap<ConsentId, Consent>,
    emergencies: BTreeMap<EmergencyId, Emergency>,
}

impl Judge {
    /// Nothing has happened.
    #[must_use]
    pub fn new(emergency_ms: u64) -> Self {
        Self {
            emergency_ms,
            patients: BTreeSet::new(),
            records: BTreeMap::new(),
            accepted: BTreeMap::new(),
            care: BTreeMap::new(),
            consents: BTreeMap::new(),
            emergencies: BTreeMap::new(),
        }
    }

    /// Whether there is such a patient.
    #[must_use]
    pub fn knows(&self, patient: &PatientPseudonym) -> bool {
        self.patients.contains(patient)
    }

    /// An action of a transaction took effect.
    pub fn hear(&mut self, effect: &Effect, action: &Action) {
        let Effect { author, time, .. } = effect;
        let member = || author.member().to_string();
        match action {
            Action::WriteRecord(write) => {
                self.patients.insert(write.patient);
                let record = Record { patient: write.patient, author: author.clone() };
                self.records.entry(write.record_id).or_insert(record);
            }
            Action::Patient(PatientAction::Register(registered)) => {
                self.patients.insert(registered.patient);
            }
            Action::Patient(PatientAction::Accept(accepted)) => {
                let place = (accepted.patient, member(), accepted.identity.to_string());
                self.accepted.insert(place, accepted.clone());
            }
            Action::Patient(PatientAction::AttestCare(care)) => {
                self.care.insert((care.patient, member()), care.to);
            }
            Action::Consent(ConsentAction::Put(put)) => {
                let consent = Consent { put: put.clone(), author: author.clone(), signed: *time, revoked: false };
                self.consents.insert(put.id, consent);
            }
            Action::Consent(ConsentAction::Revoke(id)) => {
                if let Some(consent) = self.consents.get_mut(id) {
                    consent.revoked = true;
                }
            }
            Action::Emergency(EmergencyAction::Declare(declared)) => {
                let (patient, reader) = (declared.patient, author.to_string());
                let emergency = Emergency { patient, reader, declared: *time, void: false };
                self.emergencies.insert(declared.id, emergency);
            }
            Action::Emergency(EmergencyAction::Review { id, verdict, .. }) => {
                if let Some(emergency) = self.emergencies.get_mut(id) {
                    emergency.void = *verdict == ReviewVerdict::NotJustified;
                }
            }
            // Nobody here does anything else that bears on it.
            _ => {}
        }
    }

    /// What a request is for.
    pub fn wishes<'a>(author: &'a SpiffeId, request: &'a RequestAccess) -> impl Iterator<Item = Wish> + 'a {
        request.records.iter().map(|version| Wish {
            reader: author.to_string(),
            patient: request.patient,
            record: version.record,
            emergency: request.emergency,
        })
    }

    /// Whether it is permitted at a time.
    #[must_use]
    pub fn permits(&self, wish: &Wish, time: TimeMs) -> bool {
        let record = self.records.get(&wish.record).filter(|record| record.patient == wish.patient);
        let Some(record) = record else { return false };
        if let Some(id) = &wish.emergency {
            return self.emergencies.get(id).is_some_and(|emergency| self.is_open(emergency, wish, time));
        }
        if record.author.to_string() == wish.reader {
            return true;
        }
        let Ok(reader) = wish.reader.parse::<SpiffeId>() else { return false };
        let custodian = record.author.member();
        let word = self.word(custodian.as_str(), wish, &reader, time);
        match word {
            Word::DenyReader => false,
            _ if reader.member() == custodian => {
                let until = self.care.get(&(wish.patient, custodian.to_string()));
                reader.role() == Role::Service || word == Word::Permit || until.is_some_and(|until| time < *until)
            }
            Word::Permit => true,
            Word::Silence | Word::DenyAll => false,
        }
    }

    fn is_open(&self, emergency: &Emergency, wish: &Wish, time: TimeMs) -> bool {
        emergency.reader == wish.reader
            && emergency.patient == wish.patient
            && !emergency.void
            && time.0 >= emergency.declared.0
            && time.0 - emergency.declared.0 < self.emergency_ms
    }

    fn word(&self, custodian: &str, wish: &Wish, reader: &SpiffeId, time: TimeMs) -> Word {
        let consents = self.consents.values().filter(|consent| {
            let Grant { period, .. } = &consent.put.grant;
            consent.put.patient == wish.patient
                && !consent.revoked
                && time >= period.from
                && (period.to.0 == 0 || time < period.to)
                && self.binds(consent, custodian)
        });
        consents.map(|consent| said(&consent.put.grant, reader)).max().unwrap_or(Word::Silence)
    }

    /// Paper of its own, or of an identity that it accepts and accepted then.
    fn binds(&self, consent: &Consent, custodian: &str) -> bool {
        if consent.author.role() != Role::Patient {
            return consent.author.member().as_str() == custodian;
        }
        let place = (consent.put.patient, custodian.to_owned(), consent.author.to_string());
        self.accepted.get(&place).is_some_and(|accepted| {
            let held = accepted.to.0 == 0 || consent.signed < accepted.to;
            accepted.may_consent && !accepted.withdrawn && held
        })
    }
}

/// Of the grants that are made here: somebody is let in, somebody is kept out, or all are.
fn said(grant: &Grant, reader: &SpiffeId) -> Word {
    let about = grant.rules.iter().filter(|rule| {
        rule.grantees.iter().any(|grantee| match grantee {
            Grantee::Member(member) => member == reader.member(),
            Grantee::Identity(id) => id == reader,
            Grantee::Role(member, role) => member == reader.member() && *role == reader.role(),
        })
    });
    let word = about.map(|rule| if rule.effect == ConsentEffect::Permit { Word::Permit } else { Word::DenyReader });
    word.max().unwrap_or(if grant.base == ConsentBase::Deny { Word::DenyAll } else { Word::Silence })
}
