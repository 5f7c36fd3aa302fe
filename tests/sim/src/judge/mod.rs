//! Who may read what: a second account of the rules, small and slow, of what the simulator's
//! people do ([`crate::care`]) and nothing else. It is fed with what took effect, in the order
//! of the ledger, and shares no decision with the rules.

pub mod custody;
mod links;

use std::collections::{BTreeMap, BTreeSet};

use consilium_proto::consent::{Grant, Grantee};
use consilium_proto::ids::{ConsentId, EmergencyId, Height, PatientPseudonym, RecordId, TimeMs};
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::pb::{AccessKind, ConsentBase, ConsentEffect, PatientRelation, PurposeOfUse, ReviewVerdict};
use consilium_proto::transaction::{
    AcceptPatient, Action, ConsentAction, EmergencyAction, PatientAction, PutConsent, RequestAccess,
};

use self::links::Links;
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
    /// What for.
    pub purpose: PurposeOfUse,
    /// In which emergency, if it is for one.
    pub emergency: Option<EmergencyId>,
}

#[derive(Debug)]
struct Record {
    patient: PatientPseudonym,
    author: SpiffeId,
    kind: String,
}

#[derive(Debug)]
struct Consent {
    put: PutConsent,
    author: SpiffeId,
    signed: TimeMs,
    height: Height,
    revoked: bool,
    /// Members for whose records it has ended.
    ended_for: BTreeSet<String>,
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
    /// Those that a member has registered.
    registered: BTreeSet<PatientPseudonym>,
    records: BTreeMap<RecordId, Record>,
    accepted: BTreeMap<(PatientPseudonym, String, String), AcceptPatient>,
    care: BTreeMap<(PatientPseudonym, String), TimeMs>,
    /// Patients with members that say that they have died, and since which block.
    deaths: BTreeMap<(PatientPseudonym, String), Height>,
    links: Links,
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
            registered: BTreeSet::new(),
            records: BTreeMap::new(),
            accepted: BTreeMap::new(),
            care: BTreeMap::new(),
            deaths: BTreeMap::new(),
            links: Links::default(),
            consents: BTreeMap::new(),
            emergencies: BTreeMap::new(),
        }
    }

    /// Whether there is such a patient.
    #[must_use]
    pub fn knows(&self, patient: &PatientPseudonym) -> bool {
        self.patients.contains(patient)
    }

    /// Whether a member has registered a patient.
    #[must_use]
    pub fn is_registered(&self, patient: &PatientPseudonym) -> bool {
        self.registered.contains(patient)
    }

    /// Whose a record is, and by which member.
    #[must_use]
    pub fn record(&self, id: &RecordId) -> Option<(PatientPseudonym, &str)> {
        self.records.get(id).map(|record| (record.patient, record.author.member().as_str()))
    }

    /// Which pseudonyms were ever linked.
    #[must_use]
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// An action of a transaction took effect.
    pub fn hear(&mut self, effect: &Effect, action: &Action) {
        let Effect { author, time, .. } = effect;
        let member = || author.member().to_string();
        match action {
            Action::WriteRecord(write) => {
                self.patients.insert(write.patient);
                let record = Record { patient: write.patient, author: author.clone(), kind: write.kind.clone() };
                self.records.entry(write.record_id).or_insert(record);
            }
            Action::Patient(PatientAction::Register(registered)) => {
                self.patients.insert(registered.patient);
                self.registered.insert(registered.patient);
            }
            Action::Patient(PatientAction::Accept(accepted)) => {
                let place = (accepted.patient, member(), accepted.identity.to_string());
                self.accepted.insert(place, accepted.clone());
            }
            Action::Patient(PatientAction::AttestCare(care)) => {
                self.care.insert((care.patient, member()), care.to);
            }
            Action::Patient(PatientAction::AttestDeath(death)) => {
                let place = (death.patient, member());
                match death.withdrawn {
                    true => drop(self.deaths.remove(&place)),
                    false => {
                        self.deaths.entry(place).or_insert(effect.height);
                    }
                }
            }
            Action::Patient(PatientAction::Link { pair, .. }) => self.links.join(pair, &member(), effect.height),
            Action::Patient(PatientAction::Unlink(pair)) => self.links.part(pair, &member(), effect.height),
            Action::Consent(ConsentAction::Put(put)) => {
                let consent = Consent {
                    put: put.clone(),
                    author: author.clone(),
                    signed: *time,
                    height: effect.height,
                    revoked: false,
                    ended_for: BTreeSet::new(),
                };
                self.consents.insert(put.id, consent);
            }
            Action::Consent(ConsentAction::Revoke(id)) => self.revoke(id),
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

    /// Who signed a consent ends it, for all that hear that one still: not for those that say that
    /// the patient has died.
    fn revoke(&mut self, id: &ConsentId) {
        let Some(consent) = self.consents.get_mut(id) else { return };
        let (patient, name) = (consent.put.patient, consent.author.to_string());
        let accepted = self.accepted.iter().filter(|((of, member, identity), accepted)| {
            let bound = *of == patient && *identity == name && !accepted.withdrawn;
            bound && !consent.ended_for.contains(member)
        });
        let members = accepted.map(|((_, member, _), _)| member.clone());
        let (deaf, hearing): (BTreeSet<_>, BTreeSet<_>) =
            members.partition(|member| self.deaths.contains_key(&(patient, member.clone())));
        match consent.author.role() == Role::Patient && !deaf.is_empty() {
            true => consent.ended_for.extend(hearing),
            false => consent.revoked = true,
        }
    }

    /// What a request is for.
    pub fn wishes<'a>(author: &'a SpiffeId, request: &'a RequestAccess) -> impl Iterator<Item = Wish> + 'a {
        request.records.iter().map(|version| Wish {
            reader: author.to_string(),
            patient: request.patient,
            record: version.record,
            purpose: request.purpose,
            emergency: request.emergency,
        })
    }

    /// Whether a query shows anything at all: of a patient that there is, to who ever reads.
    #[must_use]
    pub fn answers(&self, author: &SpiffeId, request: &RequestAccess) -> bool {
        let reads = matches!(author.role(), Role::Service | Role::Clinician | Role::Patient);
        request.kind == AccessKind::Query && reads && self.knows(&request.patient)
    }

    /// Whether it is permitted at a time.
    #[must_use]
    pub fn permits(&self, wish: &Wish, time: TimeMs) -> bool {
        let record = self.records.get(&wish.record).filter(|record| record.patient == wish.patient);
        let Some(record) = record else { return false };
        if let Some(id) = &wish.emergency {
            return self.emergencies.get(id).is_some_and(|emergency| self.is_open(emergency, wish, time));
        }
        let Ok(reader) = wish.reader.parse::<SpiffeId>() else { return false };
        let custodian = record.author.member();
        if self.speaks_to(custodian.as_str(), &wish.patient, &reader, time, |accepted| {
            accepted.may_read && is_about(accepted, record)
        }) {
            return wish.purpose == PurposeOfUse::Patrqt;
        }
        if reader.role() == Role::Patient || wish.purpose != PurposeOfUse::Treat {
            return false;
        }
        if record.author == reader {
            return true;
        }
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

    /// Whether a member has accepted an identity of the patient, or of whom it says to be the same
    /// person: an executor once it says that the patient has died, and the others until then.
    pub fn speaks_to(
        &self,
        member: &str,
        patient: &PatientPseudonym,
        identity: &SpiffeId,
        time: TimeMs,
        may: impl Fn(&AcceptPatient) -> bool,
    ) -> bool {
        self.links.same_as(patient, member).iter().any(|patient| {
            let place = (*patient, member.to_owned(), identity.to_string());
            let died = self.deaths.contains_key(&(*patient, member.to_owned()));
            self.accepted.get(&place).is_some_and(|accepted| {
                let in_force = !accepted.withdrawn && (accepted.to.0 == 0 || time < accepted.to);
                may(accepted) && in_force && died == (accepted.relation == PatientRelation::Executor)
            })
        })
    }

    fn is_open(&self, emergency: &Emergency, wish: &Wish, time: TimeMs) -> bool {
        emergency.reader == wish.reader
            && emergency.patient == wish.patient
            && !emergency.void
            && time.0 >= emergency.declared.0
            && time.0 - emergency.declared.0 < self.emergency_ms
    }

    fn word(&self, custodian: &str, wish: &Wish, reader: &SpiffeId, time: TimeMs) -> Word {
        let pseudonyms = self.links.same_as(&wish.patient, custodian);
        let consents = self.consents.values().filter(|consent| {
            let Grant { period, .. } = &consent.put.grant;
            pseudonyms.contains(&consent.put.patient)
                && !consent.revoked
                && time >= period.from
                && (period.to.0 == 0 || time < period.to)
                && self.binds(consent, custodian, &wish.record)
        });
        let words = consents.map(|consent| match said(&consent.put.grant, reader) {
            // A paper opens nothing to whoever filed it.
            Word::Permit if reader.role() != Role::Patient && consent.author == *reader => Word::Silence,
            word => word,
        });
        words.max().unwrap_or(Word::Silence)
    }

    /// Paper of its own, or of an identity that it accepts and accepted then, and before a death.
    fn binds(&self, consent: &Consent, custodian: &str, record: &RecordId) -> bool {
        if consent.author.role() != Role::Patient {
            return consent.author.member().as_str() == custodian;
        }
        let place = (consent.put.patient, custodian.to_owned(), consent.author.to_string());
        let died = self.deaths.get(&(consent.put.patient, custodian.to_owned()));
        let in_life = died.is_none_or(|died| consent.height <= *died);
        self.accepted.get(&place).is_some_and(|accepted| {
            let held = accepted.to.0 == 0 || consent.signed < accepted.to;
            let speaks = self.records.get(record).is_some_and(|record| is_about(accepted, record));
            speaks
                && accepted.may_consent
                && !accepted.withdrawn
                && held
                && in_life
                && !consent.ended_for.contains(custodian)
        })
    }
}

/// Whether a record is in a representative's scope, which names kinds alone here.
fn is_about(accepted: &AcceptPatient, record: &Record) -> bool {
    accepted.scope.as_ref().is_none_or(|scope| scope.kinds.contains(&record.kind))
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
    let opens = grant.rules.iter().any(|rule| rule.effect == ConsentEffect::Permit);
    let opts_out = grant.base == ConsentBase::BreakGlassOnly && !opens;
    word.max().unwrap_or(if opts_out || grant.base == ConsentBase::Deny { Word::DenyAll } else { Word::Silence })
}
