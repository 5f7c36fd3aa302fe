//! What hospitals, patients and readers do: patients are registered and accepted, consents put
//! and withdrawn, emergencies declared and reviewed, records read by own and other members'
//! people, and keys wrapped for them, also where that is not permitted any more.
//!
//! All of it is about three patients of the first two members, the hospitals. What somebody
//! signs is drawn; what comes of it is for the rules.

use bytes::Bytes;
use consilium_kit::Rng;
use consilium_ledger::keys;
use consilium_proto::hash::sha256;
use consilium_proto::ids::PatientPseudonym;
use consilium_proto::pb::{
    self, AccessKind, ConsentBase, ConsentEffect, EmergencyReason, PatientRelation, PurposeOfUse, ReviewVerdict,
    action::Action,
};
use consilium_proto::state::{StateKey, StateRow};
use prost::Message;

use crate::disk::LedgerStore;
use crate::fixture::{ANNA, Fixture, HOSPITALS, member_id, spiffe_id};

/// Patients who are registered. One more is asked for and is not.
const PATIENTS: u64 = 3;
/// How long a care relation is attested for at most.
const CARE_MS: u64 = 3_600_000;

/// What somebody signs.
#[derive(Debug)]
pub struct Deed {
    /// SPIFFE id of who does.
    pub by: String,
    /// What.
    pub actions: Vec<Action>,
    /// Contents.
    pub attachments: Vec<Bytes>,
}

impl Deed {
    fn new(by: &str, action: Action) -> Self {
        Self { by: by.to_owned(), actions: vec![action], attachments: Vec::new() }
    }
}

/// An emergency that somebody has declared, or tried to.
#[derive(Clone, Debug)]
struct Declared {
    id: Bytes,
    reader: (u64, &'static str, &'static str),
    patient: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Care {
    rng: Rng,
    /// Everything that is named has a number of its own.
    named: u64,
    /// Records with their patients.
    records: Vec<(Bytes, u64)>,
    /// Consents with those who signed them.
    consents: Vec<(Bytes, String)>,
    emergencies: Vec<Declared>,
}

/// Those who ask to read: who treats at both hospitals (more often at the second one, which
/// consents are for), the first one's system, which writes, and somebody of a third member.
const READERS: [(u64, &str, &str); 5] =
    [(1, "clinician", "c"), (1, "service", "x"), (2, "clinician", "c"), (2, "clinician", "c"), (3, "clinician", "c")];

fn of((member, role, name): (u64, &str, &str)) -> String {
    spiffe_id(member, role, name)
}

/// The pseudonym of a patient.
#[must_use]
pub fn pseudonym(patient: u64) -> PatientPseudonym {
    let mut id = [0xa0; 16];
    id[8..].copy_from_slice(&patient.to_be_bytes());
    PatientPseudonym(id)
}

fn patient(number: u64) -> Bytes {
    Bytes::copy_from_slice(&pseudonym(number).0)
}

impl Care {
    /// Nobody has done anything.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        Self { rng, named: 0, records: Vec::new(), consents: Vec::new(), emergencies: Vec::new() }
    }

    /// What somebody does next, who sees a ledger and a clock. What everything else needs comes
    /// first.
    pub fn next(&mut self, fixture: &Fixture, ledger: &LedgerStore, now_ms: u64) -> Deed {
        if let Some(first) = self.missing(fixture, ledger, now_ms).filter(|_| self.rng.chance(700)) {
            return first;
        }
        match self.rng.below(100) {
            0..=33 => self.ask(),
            34..=43 => self.ask_in_emergency(),
            44..=51 => self.consent(now_ms),
            52..=57 => self.revoke(),
            58..=61 => self.accept(),
            62..=68 => self.declare(),
            69..=72 => self.review(),
            73..=90 => self.answer(ledger),
            91..=96 => self.write(fixture),
            _ => self.attest_care(now_ms),
        }
    }

    /// What is not there yet: custodians, and patients with a record each.
    fn missing(&mut self, fixture: &Fixture, ledger: &LedgerStore, now_ms: u64) -> Option<Deed> {
        for member in 1..=HOSPITALS {
            let custodian = spiffe_id(member, "service", "custodian");
            let enrolled = ledger.message::<pb::IdentityState>(&keys::identity(&custodian)).is_some();
            if enrolled && ledger.message::<pb::CustodyState>(&keys::custody(&member_id(member))).is_none() {
                let encryption_key_id = Fixture::key_id(&custodian).to_bytes();
                let set = Action::SetCustodyKey(pb::SetCustodyKey { encryption_key_id });
                return Some(Deed::new(&spiffe_id(member, "admin", "x"), set));
            }
        }
        let unknown = |number: &u64| ledger.message::<pb::PatientState>(&keys::patient(&pseudonym(*number))).is_none();
        let number = (1..=PATIENTS).find(unknown)?;
        let register = pb::RegisterPatient { patient: patient(number), lookups_sha256: Vec::new() };
        let mut deed = Deed::new(&spiffe_id(1, "service", "x"), Action::RegisterPatient(register));
        deed.actions.push(acceptance(number, false));
        deed.actions.push(care(number, now_ms + CARE_MS));
        let (record, mut contents) = self.record(fixture, 1, number);
        deed.actions.push(record);
        deed.attachments.append(&mut contents);
        Some(deed)
    }

    fn id(&mut self) -> Bytes {
        self.named += 1;
        [&[0xc0; 8][..], &self.named.to_be_bytes()].concat().into()
    }

    fn any_patient(&mut self) -> u64 {
        self.rng.range(1, PATIENTS)
    }

    /// Somebody asks for records, some of them another patient's, or of nobody that there is.
    fn ask(&mut self) -> Deed {
        let reader = *self.rng.pick(&READERS).unwrap_or(&READERS[0]);
        let unknown = self.rng.chance(60);
        let number = if unknown { PATIENTS + 1 } else { self.any_patient() };
        let request = pb::RequestAccess { purpose: PurposeOfUse::Treat.into(), ..self.request(number) };
        Deed::new(&of(reader), Action::RequestAccess(request))
    }

    fn request(&mut self, number: u64) -> pb::RequestAccess {
        let stray = self.rng.chance(60);
        let own = self.records.iter().filter(|(_, patient)| stray || *patient == number);
        let mut known: Vec<Bytes> = own.map(|(record, _)| record.clone()).collect();
        let mut records = Vec::new();
        for _ in 0..self.rng.range(1, 3) {
            if known.is_empty() {
                break;
            }
            let at = self.rng.below(known.len() as u64) as usize;
            records.push(pb::VersionRef { record_id: known.swap_remove(at), version: self.rng.below(2) as u32 });
        }
        if records.is_empty() {
            records.push(pb::VersionRef { record_id: vec![0xee; 16].into(), version: 0 });
        }
        pb::RequestAccess { patient: patient(number), kind: AccessKind::Read.into(), records, ..Default::default() }
    }

    /// Mostly who declared it, of the patient that it is for.
    fn ask_in_emergency(&mut self) -> Deed {
        let Some(declared) = self.rng.pick(&self.emergencies).cloned() else { return self.ask() };
        let reader =
            if self.rng.chance(700) { declared.reader } else { *self.rng.pick(&READERS).unwrap_or(&READERS[0]) };
        let number = if self.rng.chance(850) { declared.patient } else { self.any_patient() };
        Deed::new(&of(reader), self.in_emergency(&declared.id, number))
    }

    fn in_emergency(&mut self, emergency: &Bytes, number: u64) -> Action {
        let request = self.request(number);
        let purpose = PurposeOfUse::Btg.into();
        Action::RequestAccess(pb::RequestAccess { purpose, emergency_id: emergency.clone(), ..request })
    }

    fn declare(&mut self) -> Deed {
        let (reader, number, id) = (*self.rng.pick(&READERS).unwrap_or(&READERS[0]), self.any_patient(), self.id());
        let declare = pb::DeclareEmergency {
            emergency_id: id.clone(),
            patient: patient(number),
            reason: EmergencyReason::Danger.into(),
            ..pb::DeclareEmergency::default()
        };
        let mut deed = Deed::new(&of(reader), Action::DeclareEmergency(declare));
        if self.rng.chance(700) {
            deed.actions.push(self.in_emergency(&id, number));
        }
        self.emergencies.push(Declared { id, reader, patient: number });
        deed
    }

    fn review(&mut self) -> Deed {
        let Some(declared) = self.rng.pick(&self.emergencies).cloned() else { return self.declare() };
        let verdict = if self.rng.chance(700) { ReviewVerdict::NotJustified } else { ReviewVerdict::Justified };
        let auditor = spiffe_id(declared.reader.0.min(HOSPITALS), "auditor", "p");
        let (emergency_id, verdict) = (declared.id, verdict.into());
        let review = pb::ReviewEmergency { emergency_id, verdict, note_sha256: Bytes::new() };
        Deed::new(&auditor, Action::ReviewEmergency(review))
    }

    /// The patient's own, or on paper of one of the hospitals; some end soon.
    fn consent(&mut self, now_ms: u64) -> Deed {
        let signers = [(1, "patient", ANNA), (1, "service", "x"), (2, "service", "x")];
        let by = of(*self.rng.pick(&signers).unwrap_or(&signers[0]));
        let (base, rules) = match self.rng.below(10) {
            0..=6 => (ConsentBase::BreakGlassOnly, vec![permit(2)]),
            7 => (ConsentBase::BreakGlassOnly, vec![permit(3)]),
            8 => (ConsentBase::BreakGlassOnly, vec![deny(&spiffe_id(1, "clinician", "c"))]),
            _ => (ConsentBase::Deny, Vec::new()),
        };
        let to_ms = if self.rng.chance(300) { now_ms + self.rng.range(300, 3_000) } else { 0 };
        let grant = Some(pb::ConsentGrant { base: base.into(), rules, from_ms: 0, to_ms });
        let (consent_id, document_sha256) = (self.id(), vec![9; 32].into());
        self.consents.push((consent_id.clone(), by.clone()));
        let number = self.any_patient();
        let put = pb::PutConsent { consent_id, version: 1, patient: patient(number), grant, document_sha256 };
        Deed::new(&by, Action::PutConsent(put))
    }

    fn revoke(&mut self) -> Deed {
        let Some((consent_id, by)) = self.rng.pick(&self.consents).cloned() else { return self.ask() };
        Deed::new(&by, Action::RevokeConsent(pb::RevokeConsent { consent_id }))
    }

    /// A hospital accepts the patient's identity, or takes that back.
    fn accept(&mut self) -> Deed {
        let by = spiffe_id(self.rng.range(1, HOSPITALS), "service", "x");
        let (number, withdrawn) = (self.any_patient(), self.rng.chance(200));
        Deed::new(&by, acceptance(number, withdrawn))
    }

    fn attest_care(&mut self, now_ms: u64) -> Deed {
        let by = spiffe_id(self.rng.range(1, HOSPITALS), "service", "x");
        let until = if self.rng.chance(300) { now_ms.saturating_sub(1) } else { now_ms + CARE_MS };
        let number = self.any_patient();
        Deed::new(&by, care(number, until))
    }

    fn write(&mut self, fixture: &Fixture) -> Deed {
        let member = if self.rng.chance(700) { 1 } else { self.rng.range(1, HOSPITALS) };
        let number = self.any_patient();
        let (action, attachments) = self.record(fixture, member, number);
        Deed { attachments, ..Deed::new(&spiffe_id(member, "service", "x"), action) }
    }

    fn record(&mut self, fixture: &Fixture, member: u64, number: u64) -> (Action, Vec<Bytes>) {
        let id = self.id();
        self.records.push((id.clone(), number));
        fixture.written(member, (&id, &patient(number)), self.named)
    }

    /// A custodian answers something that waits, whether or not it is permitted still, or drops
    /// it, whether or not it is permitted still.
    fn answer(&mut self, ledger: &LedgerStore) -> Deed {
        let prefix = [StateRow::WrapRequest as u8];
        let waiting: Vec<_> = ledger.rows(&prefix).collect();
        let Some((key, value)) = self.rng.pick(&waiting).copied() else { return self.ask() };
        let Some(StateKey::WrapRequest(name)) = StateKey::decode(key) else { return self.ask() };
        let Ok(request) = pb::WrapRequestState::decode(value.clone()) else { return self.ask() };
        let by = format!("spiffe://{}/service/custodian", name.member);
        if self.rng.chance(150) {
            let drop = pb::AddWraps { dropped: vec![name.number], ..pb::AddWraps::default() };
            return Deed::new(&by, Action::AddWraps(drop));
        }
        let content = Bytes::from(format!("wrap {} of {}", name.number, name.member));
        let wrap = pb::AddedWrap {
            request: name.number,
            record_id: request.record_id,
            version: request.version,
            recipient_key_id: request.recipient_key_id,
            wrap_sha256: Bytes::copy_from_slice(&sha256(&[&content])),
        };
        let add = pb::AddWraps { wraps: vec![wrap], ..pb::AddWraps::default() };
        Deed { attachments: vec![content], ..Deed::new(&by, Action::AddWraps(add)) }
    }
}

/// By the first hospital, of the patient's identity.
fn acceptance(number: u64, withdrawn: bool) -> Action {
    Action::AcceptPatient(pb::AcceptPatient {
        patient: patient(number),
        identity: spiffe_id(1, "patient", ANNA),
        relation: PatientRelation::Self_.into(),
        may_read: true,
        may_consent: true,
        to_ms: 0,
        evidence_sha256: vec![7; 32].into(),
        withdrawn,
    })
}

fn care(number: u64, to_ms: u64) -> Action {
    Action::AttestCare(pb::AttestCare { patient: patient(number), to_ms, evidence_sha256: vec![2; 32].into() })
}

fn permit(member: u64) -> pb::ConsentRule {
    rule(ConsentEffect::Permit, pb::grantee::Grantee::Member(member_id(member)))
}

fn deny(reader: &str) -> pb::ConsentRule {
    rule(ConsentEffect::Deny, pb::grantee::Grantee::Identity(reader.to_owned()))
}

fn rule(effect: ConsentEffect, grantee: pb::grantee::Grantee) -> pb::ConsentRule {
    let grantees = vec![pb::Grantee { grantee: Some(grantee) }];
    pb::ConsentRule { effect: effect.into(), grantees, ..pb::ConsentRule::default() }
}
