//! Who may read what: patients and who speaks for them, consents, requests, emergencies, and
//! the custodians' wraps. Two hospitals, `a` and `b`, whose records are of patient 1 unless said.

mod access;
mod bounded;
mod changes;
mod consents;
mod deaths;
mod deputies;
mod disclosures;
mod emergencies;
mod in_sight;
mod kept;
mod links;
mod logs;
mod misfiled;
mod owed;
mod petitions;
mod random;
mod recipients;
mod release;
mod rewraps;
mod room;
mod salts;
mod scopes;
mod successors;
mod units;
mod wraps;

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_kit::people::{Identity, write_record};
use consilium_kit::{Action, Ledger};
use consilium_ledger::{Location, Table, keys};
use consilium_proto::hash::sha256;
use consilium_proto::ids::{EmergencyId, KeyId, PatientPseudonym, TransactionId};
use consilium_proto::keys::{EncryptionPrivateKey, KemId};
use consilium_proto::observed::Observed;
use consilium_proto::pb::{
    self, AccessEvent, AccessGround as Ground, AccessKind, ConsentBase, ConsentEffect, Outcome, PatientRelation,
    PurposeOfUse as Purpose,
};
use consilium_proto::transaction::encryption_key_id;
use prost::Message;

pub(super) const A: &str = "a.example";
pub(super) const B: &str = "b.example";
/// Names of patients' identities are opaque.
pub(super) const ANNA: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub(super) const GUARDIAN: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
/// Entries of the log of patient 1 at first: that it is under the care of two members.
pub(super) const ATTESTED: u64 = 2;
const DAY: u64 = 24 * 3_600_000;

pub(super) struct World {
    pub(super) ledger: Ledger,
    people: BTreeMap<String, Identity>,
    keys: BTreeMap<String, KeyId>,
    /// When the next block is, if not a second after the one before.
    at: Option<u64>,
}

pub(super) fn id(n: u8) -> Bytes {
    vec![n; 16].into()
}

pub(super) fn name(member: &str, role: &str, who: &str) -> String {
    format!("spiffe://{member}/{role}/{who}")
}

/// What is asked for: record 1 of patient 1, for treatment, unless changed.
pub(super) fn read(record: u8) -> pb::RequestAccess {
    pb::RequestAccess {
        patient: id(1),
        purpose: Purpose::Treat.into(),
        kind: AccessKind::Read.into(),
        records: vec![pb::VersionRef { record_id: id(record), version: 0 }],
        ..pb::RequestAccess::default()
    }
}

pub(super) fn rule(effect: ConsentEffect) -> pb::ConsentRule {
    pb::ConsentRule { effect: effect.into(), ..pb::ConsentRule::default() }
}

pub(super) fn to_member(member: &str) -> Vec<pb::Grantee> {
    vec![pb::Grantee { grantee: Some(pb::grantee::Grantee::Member(member.into())) }]
}

pub(super) fn grant(base: ConsentBase, rules: Vec<pb::ConsentRule>) -> pb::ConsentGrant {
    pb::ConsentGrant { base: base.into(), rules, ..pb::ConsentGrant::default() }
}

/// Everything to those of hospital b.
pub(super) fn share_with_b() -> pb::ConsentGrant {
    share_with(B)
}

/// Everything to those of a member.
pub(super) fn share_with(member: &str) -> pb::ConsentGrant {
    let permit = pb::ConsentRule { grantees: to_member(member), ..rule(ConsentEffect::Permit) };
    grant(ConsentBase::BreakGlassOnly, vec![permit])
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(super) fn with(change: impl FnOnce(&mut pb::Parameters)) -> Self {
        Self::among(&[], change)
    }

    /// With other members beside the two hospitals, who have nobody but administrators yet.
    pub(super) fn among(others: &[&'static str], change: impl FnOnce(&mut pb::Parameters)) -> Self {
        let members: Vec<_> = [A, B].iter().chain(others).map(|member| (*member, 10, 1)).collect();
        let ledger = Ledger::new(&members, |p| {
            p.epoch_ms = 30 * DAY;
            change(p);
        });
        let mut world = Self { ledger, people: BTreeMap::new(), keys: BTreeMap::new(), at: None };
        for member in [A, B] {
            for (role, who) in [
                ("service", "ehr"),
                ("service", "custodian"),
                ("clinician", "c1"),
                ("clinician", "c2"),
                ("auditor", "privacy"),
                ("researcher", "r1"),
                ("patient", ANNA),
                ("patient", GUARDIAN),
            ] {
                world.enroll(member, role, who);
            }
            world.name_custodian(member);
        }
        let register = pb::RegisterPatient { patient: id(1), lookups_sha256: Vec::new() };
        assert_eq!(world.by(A, "service", "ehr", Action::RegisterPatient(register)), Outcome::Applied);
        world.care(A, 300 * DAY);
        world.care(B, 300 * DAY);
        world
    }

    /// Says that patient 1 is under the care of a member for so long.
    pub(super) fn care(&mut self, member: &str, ms: u64) {
        let (to_ms, evidence_sha256) = (self.now() + ms, vec![2; 32].into());
        let care = Action::AttestCare(pb::AttestCare { patient: id(1), to_ms, evidence_sha256 });
        assert_eq!(self.by(member, "service", "ehr", care), Outcome::Applied);
    }

    fn enroll(&mut self, member: &str, role: &str, who: &str) {
        let key = EncryptionPrivateKey::generate(KemId::X25519HkdfSha256).unwrap().public_key();
        let person = Identity::new(member, role, who);
        let Action::EnrollIdentity(enroll) = person.enrollment(self.ledger.genesis.ledger_id) else { unreachable!() };
        let enroll = pb::EnrollIdentity { encryption_key: key.encode().into(), ..enroll };
        let body = self.ledger.body(vec![Action::EnrollIdentity(enroll)]);
        let enrollment = self.ledger.check(&person.sign_enrollment(body));
        assert_eq!(self.ledger.block(&[enrollment], &Observed::default()).leaves[0].1.outcome, Outcome::Applied);
        self.keys.insert(name(member, role, who), encryption_key_id(&key));
        self.people.insert(name(member, role, who), person);
    }

    fn name_custodian(&mut self, member: &str) {
        let encryption_key_id = self.key(member, "service", "custodian").to_bytes();
        let set = Action::SetCustodyKey(pb::SetCustodyKey { encryption_key_id });
        assert_eq!(self.ledger.submit(member, set), Outcome::Applied);
    }

    pub(super) fn key(&self, member: &str, role: &str, who: &str) -> KeyId {
        self.keys[&name(member, role, who)]
    }

    pub(super) fn now(&self) -> u64 {
        self.ledger.tip.header.time.0
    }

    /// Goes on to a time just before that of the next block.
    pub(super) fn wait_until(&mut self, time: u64) {
        self.ledger.block_at(time - 1, &[], &Observed::default());
        self.at = Some(time);
    }

    fn submit(&mut self, by: &str, actions: Vec<Action>, attachments: Vec<Bytes>) -> (TransactionId, Outcome) {
        let body = self.ledger.body(actions);
        let transaction = self.ledger.check(&self.people[by].sign(body, attachments));
        let id = transaction.transaction.id;
        let time = self.at.take().unwrap_or(self.now() + 1_000);
        (id, self.ledger.block_at(time, &[transaction], &Observed::default()).leaves[0].1.outcome)
    }

    pub(super) fn by(&mut self, member: &str, role: &str, who: &str, action: Action) -> Outcome {
        self.submit(&name(member, role, who), vec![action], Vec::new()).1
    }

    /// Several actions with their attachments.
    pub(super) fn all_by(&mut self, by: &str, actions: Vec<Action>, attachments: Vec<Bytes>) -> Outcome {
        self.submit(by, actions, attachments).1
    }

    /// A record of a patient, written by the EHR of a member for its custodian.
    pub(super) fn write(&mut self, member: &str, record: u8, change: impl FnOnce(&mut pb::WriteRecord)) -> Outcome {
        let (payload, wrap) = (Bytes::from_static(b"payload"), Bytes::from_static(b"wrap"));
        let Action::WriteRecord(mut write) = write_record([record; 16], 1, "Observation", &payload) else {
            unreachable!()
        };
        write.patient = id(1);
        let wrap_sha256 = Bytes::copy_from_slice(&sha256(&[&wrap]));
        let recipient_key_id = self.key(member, "service", "custodian").to_bytes();
        write.wraps = vec![pb::KeyWrapRef { recipient_key_id, wrap_sha256 }];
        change(&mut write);
        let attachments = std::iter::once(payload).chain(write.wraps.iter().map(|_| wrap.clone())).collect();
        self.submit(&name(member, "service", "ehr"), vec![Action::WriteRecord(write)], attachments).1
    }

    /// Accepts an identity for patient 1.
    pub(super) fn accept(&mut self, by: &str, identity: &str, change: impl FnOnce(&mut pb::AcceptPatient)) -> Outcome {
        let mut accept = pb::AcceptPatient {
            patient: id(1),
            identity: identity.to_owned(),
            relation: PatientRelation::Self_.into(),
            may_read: true,
            may_consent: true,
            to_ms: 0,
            evidence_sha256: vec![7; 32].into(),
            withdrawn: false,
            scope: None,
        };
        change(&mut accept);
        self.by(by, "service", "ehr", Action::AcceptPatient(accept))
    }

    pub(super) fn consent(&mut self, by: &str, consent: u8, grant: pb::ConsentGrant) -> Outcome {
        self.consent_version(by, consent, 1, grant)
    }

    pub(super) fn consent_version(&mut self, by: &str, consent: u8, version: u32, grant: pb::ConsentGrant) -> Outcome {
        let put = pb::PutConsent {
            consent_id: id(consent),
            version,
            patient: id(1),
            grant: Some(grant),
            document_sha256: vec![9; 32].into(),
        };
        self.submit(by, vec![Action::PutConsent(put)], Vec::new()).1
    }

    pub(super) fn revoke(&mut self, by: &str, consent: u8) -> Outcome {
        self.submit(by, vec![Action::RevokeConsent(pb::RevokeConsent { consent_id: id(consent) })], Vec::new()).1
    }

    /// Asks, and gives what the log says of it.
    pub(super) fn ask(&mut self, by: &str, request: pb::RequestAccess) -> AccessEvent {
        let (id, outcome) = self.submit(by, vec![Action::RequestAccess(request)], Vec::new());
        assert_eq!(outcome, Outcome::Applied, "a denied request takes effect, too");
        self.event(&id)
    }

    pub(super) fn event(&self, id: &TransactionId) -> AccessEvent {
        let row = self.ledger.store.0.get(&(Table::Transactions, keys::transaction(id))).unwrap();
        let place = Location::decode(row).unwrap().log.unwrap();
        let entry = consilium_ledger::log::entry(&self.ledger.store, &place.log, place.place).unwrap().unwrap();
        AccessEvent::decode(entry).unwrap()
    }

    /// The only ground of a request.
    pub(super) fn ground(&mut self, by: &str, request: pb::RequestAccess) -> Ground {
        let event = self.ask(by, request);
        assert_eq!(event.decisions.len(), 1);
        event.decisions[0].ground()
    }

    pub(super) fn log(&self, state_key: &[u8]) -> Option<pb::LogState> {
        self.ledger.store.message(Table::State, state_key)
    }

    pub(super) fn patient_log(&self) -> pb::LogState {
        self.log(&keys::access_log(&PatientPseudonym([1; 16]))).unwrap_or_default()
    }
}
