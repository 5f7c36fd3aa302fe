//! Who may read what: a second account of the rules, small and slow, of what the simulator's
//! people do ([`crate::care`]) and nothing else. It is fed with what took effect, in the order
//! of the ledger, and shares no decision with the rules.

pub mod custody;
mod grants;
mod links;
pub mod members;
pub mod salts;

use std::collections::{BTreeMap, BTreeSet};

use consilium_proto::consent::{Grant, Rule};
use consilium_proto::ids::{ConsentId, EmergencyId, Height, PatientPseudonym, PolicyTag, RecordId, TimeMs};
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::pb::{AccessKind, PatientRelation, PurposeOfUse, ReviewVerdict};
use consilium_proto::transaction::{
    AcceptPatient, Action, ConsentAction, EmergencyAction, GovernanceAction, PatientAction, PutConsent, RequestAccess,
};

use self::grants::{Word, is_by_label, said};
use self::links::Links;
use self::members::Members;
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
    labels: Vec<PolicyTag>,
    height: Height,
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

/// See the module.
#[derive(Debug)]
pub struct Judge {
    /// How long an emergency lasts.
    emergency_ms: u64,
    patients: BTreeSet<PatientPseudonym>,
    /// Those that a member has registered.
    registered: BTreeSet<PatientPseudonym>,
    records: BTreeMap<RecordId, Record>,
    /// What members have said of identities, and in which block.
    accepted: BTreeMap<(PatientPseudonym, String, String), (AcceptPatient, Height)>,
    care: BTreeMap<(PatientPseudonym, String), TimeMs>,
    /// Patients with members that say that they have died, and since which block.
    deaths: BTreeMap<(PatientPseudonym, String), Height>,
    links: Links,
    consents: BTreeMap<ConsentId, Consent>,
    emergencies: BTreeMap<EmergencyId, Emergency>,
    members: Members,
    /// Since when members have a custodian.
    custody: BTreeMap<String, Height>,
    /// Members that have registered somebody.
    registrars: BTreeSet<String>,
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
            members: Members::default(),
            custody: BTreeMap::new(),
            registrars: BTreeSet::new(),
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

    /// Whose a consent is, also once it has ended.
    #[must_use]
    pub fn consent_of(&self, id: &ConsentId) -> Option<PatientPseudonym> {
        self.consents.get(id).map(|consent| consent.put.patient)
    }

    /// For whom an emergency was declared.
    #[must_use]
    pub fn emergency_of(&self, id: &EmergencyId) -> Option<PatientPseudonym> {
        self.emergencies.get(id).map(|emergency| emergency.patient)
    }

    /// Which pseudonyms were ever linked.
    #[must_use]
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// How members stand, and who answers for whose records.
    #[must_use]
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// An action of a transaction took effect.
    pub fn hear(&mut self, effect: &Effect, action: &Action) {
        let Effect { author, time, .. } = effect;
        let member = || author.member().to_string();
        match action {
            Action::WriteRecord(write) => {
                self.patients.insert(write.patient);
                let (kind, labels) = (write.kind.clone(), write.policy_tags.clone());
                let (patient, author, height) = (write.patient, author.clone(), effect.height);
                let record = Record { patient, author, kind, labels, height };
                self.records.entry(write.record_id).or_insert(record);
            }
            Action::Patient(PatientAction::Register(registered)) => {
                self.patients.insert(registered.patient);
                self.registrars.insert(member());
                self.registered.insert(registered.patient);
            }
            Action::Patient(PatientAction::Accept(accepted)) => {
                let place = (accepted.patient, member(), accepted.identity.to_string());
                self.accepted.insert(place, (accepted.clone(), effect.height));
            }
            Action::Patient(PatientAction::AttestCare(care)) => {
                self.care.insert((care.patient, member()), care.to);
            }
            Action::Patient(PatientAction::AttestDeath(death)) => {
                let place = (death.patient, member());
                match death.withdrawn {
                    // Nor have those said it whose records it has.
                    true => self.deaths.retain(|(patient, said_by), _| {
                        *patient != death.patient || !self.members.keeps(&place.1, said_by)
                    }),
                    false => {
                        self.deaths.entry(place).or_insert(effect.height);
                    }
                }
            }
            Action::Patient(PatientAction::Link { pair, .. }) => {
                let kept: Vec<_> = self.members.kept_by(author.member().as_str()).collect();
                self.links.join(pair, (&member(), &kept), effect.height);
            }
            Action::Patient(PatientAction::Unlink(pair)) => {
                let kept: Vec<_> = self.members.kept_by(author.member().as_str()).collect();
                self.links.part(pair, &kept, effect.height);
            }
            Action::SetCustodyKey(_) => {
                self.custody.entry(member()).or_insert(effect.height);
            }
            Action::Governance(GovernanceAction::Ballot { .. }) => {
                if let Some(standing) = &effect.decided {
                    let (records, custody) = (&self.records, &self.custody);
                    let since = |record: &Record| custody.get(record.author.member().as_str());
                    let in_custody = |record: &Record| since(record).is_some_and(|since| record.height > *since);
                    // Its records, or who sees the logs of whom it has registered.
                    let leaves_something = |member: &str| {
                        self.registrars.contains(member)
                            || records
                                .values()
                                .any(|record| record.author.member().as_str() == member && in_custody(record))
                    };
                    self.members.decide(standing, effect.height, leaves_something);
                }
            }
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
        let Some(consent) = self.consents.get(id) else { return };
        let (patient, name) = (consent.put.patient, consent.author.to_string());
        let members = self.accepted.keys().map(|(_, member, _)| member.as_str()).chain(self.members.succeeded());
        let members: BTreeSet<String> = members.map(ToOwned::to_owned).collect();
        let bound = members.into_iter().filter(|member| {
            let mut said = self.said_of(member, &patient, &name);
            said.any(|accepted| !accepted.withdrawn) && !consent.ended_for.contains(member)
        });
        let (deaf, hearing): (BTreeSet<_>, BTreeSet<_>) = bound.partition(|member| self.died(member, &patient));
        let Some(consent) = self.consents.get_mut(id) else { return };
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
        self.permits_by(wish, time, |_| true)
    }

    /// Whether it would be decided otherwise without the rules that look at labels.
    #[must_use]
    pub fn decides_by_label(&self, wish: &Wish, time: TimeMs) -> bool {
        self.permits(wish, time) != self.permits_by(wish, time, |rule| !is_by_label(rule))
    }

    /// By the rules of consents that count.
    fn permits_by(&self, wish: &Wish, time: TimeMs, counts: fn(&Rule) -> bool) -> bool {
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
        // The default policy says the same of treatment and of duties under the law.
        if reader.role() == Role::Patient || !matches!(wish.purpose, PurposeOfUse::Treat | PurposeOfUse::Hlegal) {
            return false;
        }
        if record.author == reader {
            return true;
        }
        let word = self.word(record, &reader, time, counts);
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

    /// Whether a record is to be wrapped for somebody unasked: the patient's own identity, or the person
    /// who wrote it.
    #[must_use]
    pub fn owes(&self, record: &RecordId, person: &SpiffeId, time: TimeMs) -> bool {
        let Some(record) = self.records.get(record) else { return false };
        let own = |accepted: &AcceptPatient| accepted.may_read && accepted.relation == PatientRelation::Self_;
        let is_patient = || self.speaks_to(record.author.member().as_str(), &record.patient, person, time, own);
        let is_person = !matches!(person.role(), Role::Service | Role::Admin | Role::Node | Role::Device);
        is_person && (record.author == *person || is_patient())
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
        self.same_as(patient, member).iter().any(|patient| {
            let died = self.died(member, patient);
            self.said_of(member, patient, &identity.to_string()).any(|accepted| {
                let in_force = !accepted.withdrawn && (accepted.to.0 == 0 || time < accepted.to);
                may(accepted) && in_force && died == (accepted.relation == PatientRelation::Executor)
            })
        })
    }

    /// What counts for a member's records of what was said of an identity: by those who have answered
    /// for them, unless one that came later has said something since it does.
    fn said_of(
        &self,
        member: &str,
        patient: &PatientPseudonym,
        identity: &str,
    ) -> impl Iterator<Item = &AcceptPatient> {
        let said = |by: &str| self.accepted.get(&(*patient, by.to_owned(), identity.to_owned()));
        let newer = move |by: &str| {
            let mut later = self.members.after(member, by).iter();
            later.any(|(successor, since)| said(successor).is_some_and(|(_, height)| height > since))
        };
        let counting = self.members.answering(member).filter(|by| !newer(by));
        let counting: Vec<&AcceptPatient> = counting.filter_map(|by| said(by).map(|(accepted, _)| accepted)).collect();
        counting.into_iter()
    }

    /// Whether somebody who has answered for a member's records says that a patient has died.
    fn died(&self, member: &str, patient: &PatientPseudonym) -> bool {
        self.members.answering(member).any(|by| self.deaths.contains_key(&(*patient, by.to_owned())))
    }

    /// The patient, and whom those who have answered for a member's records say to be the same person.
    fn same_as(&self, patient: &PatientPseudonym, member: &str) -> BTreeSet<PatientPseudonym> {
        let of = |by| self.links.same_as(patient, by);
        self.members.answering(member).flat_map(of).collect()
    }

    fn is_open(&self, emergency: &Emergency, wish: &Wish, time: TimeMs) -> bool {
        emergency.reader == wish.reader
            && emergency.patient == wish.patient
            && !emergency.void
            && time.0 >= emergency.declared.0
            && time.0 - emergency.declared.0 < self.emergency_ms
    }

    fn word(&self, record: &Record, reader: &SpiffeId, time: TimeMs, counts: fn(&Rule) -> bool) -> Word {
        let custodian = record.author.member().as_str();
        let pseudonyms = self.same_as(&record.patient, custodian);
        let consents = self.consents.values().filter(|consent| {
            let Grant { period, .. } = &consent.put.grant;
            pseudonyms.contains(&consent.put.patient)
                && !consent.revoked
                && time >= period.from
                && (period.to.0 == 0 || time < period.to)
                && self.binds(consent, custodian, record)
        });
        let words = consents.map(|consent| match said(&consent.put.grant, reader, &record.labels, counts) {
            // A paper opens nothing to whoever filed it.
            Word::Permit if reader.role() != Role::Patient && consent.author == *reader => Word::Silence,
            word => word,
        });
        words.max().unwrap_or(Word::Silence)
    }

    /// Paper of its own, or of an identity that it accepts and accepted then, for such a record, and
    /// before a death; or of those who answered for its records before and after it left.
    fn binds(&self, consent: &Consent, custodian: &str, record: &Record) -> bool {
        let PutConsent { patient, .. } = &consent.put;
        if consent.author.role() != Role::Patient {
            return self.members.answering(custodian).any(|member| member == consent.author.member().as_str());
        }
        let died = |by: &str| self.deaths.get(&(*patient, by.to_owned()));
        let mut deaths = self.members.answering(custodian).filter_map(died);
        let in_life = deaths.all(|died| consent.height <= *died);
        let author = consent.author.to_string();
        let accepted = self.said_of(custodian, patient, &author).any(|accepted| {
            let held = accepted.to.0 == 0 || consent.signed < accepted.to;
            accepted.may_consent && !accepted.withdrawn && held && is_about(accepted, record)
        });
        accepted && in_life && !consent.ended_for.contains(custodian)
    }
}

/// Whether a record is in a representative's scope, which names kinds alone here.
fn is_about(accepted: &AcceptPatient, record: &Record) -> bool {
    accepted.scope.as_ref().is_none_or(|scope| scope.kinds.contains(&record.kind))
}
