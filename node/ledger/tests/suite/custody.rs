//! Custody keys: named by administrators, and what is written is wrapped for them.

use bytes::Bytes;
use consilium_kit::people::{Identity, write_record};
use consilium_kit::{Action, Ledger};
use consilium_ledger::{Table, keys};
use consilium_proto::hash::sha256;
use consilium_proto::ids::KeyId;
use consilium_proto::keys::{EncryptionPrivateKey, KemId};
use consilium_proto::limits::CUSTODY_OVERLAP_MS;
use consilium_proto::observed::Observed;
use consilium_proto::pb::{self, CustodyState, Outcome};
use consilium_proto::state::CustodyName;
use consilium_proto::transaction::encryption_key_id;

const OWN: &str = "a.example";

struct Member {
    ledger: Ledger,
    ehr: Identity,
    written: u8,
}

impl Member {
    fn new() -> Self {
        let mut ledger = Ledger::new(&[(OWN, 10, 1), ("b.example", 10, 1)], |p| p.epoch_ms = 2_592_000_000);
        let ehr = Identity::new(OWN, "service", "ehr");
        let enrollment = ledger.enrollment(&ehr);
        ledger.block(&[enrollment], &Observed::default());
        Self { ledger, ehr, written: 0 }
    }

    /// Enrols somebody with a new encryption key.
    fn key_of(&mut self, member: &str, role: &str, name: &str) -> KeyId {
        let key = EncryptionPrivateKey::generate(KemId::X25519HkdfSha256).unwrap().public_key();
        let who = Identity::new(member, role, name);
        let Action::EnrollIdentity(enroll) = who.enrollment(self.ledger.genesis.ledger_id) else { unreachable!() };
        let enroll = pb::EnrollIdentity { encryption_key: key.encode().into(), ..enroll };
        let body = self.ledger.body(vec![Action::EnrollIdentity(enroll)]);
        let enrollment = self.ledger.check(&who.sign_enrollment(body));
        assert_eq!(self.ledger.block(&[enrollment], &Observed::default()).leaves[0].1.outcome, Outcome::Applied);
        encryption_key_id(&key)
    }

    fn set(&mut self, key: KeyId) -> Outcome {
        let set = Action::SetCustodyKey(pb::SetCustodyKey { encryption_key_id: key.to_bytes() });
        let transaction = self.ledger.by_admin(OWN, vec![set]);
        self.ledger.block(&[transaction], &Observed::default()).leaves[0].1.outcome
    }

    /// Writes a record that is wrapped for these keys, so long after the newest block.
    fn write_after(&mut self, after_ms: u64, recipients: &[KeyId]) -> Outcome {
        self.written += 1;
        let (payload, wrap) = (Bytes::from_static(b"payload"), Bytes::from_static(b"wrap"));
        let action = write_record([self.written; 16], 1, "Observation", &payload);
        let Action::WriteRecord(write) = action else { unreachable!() };
        let reference = |key: &KeyId| pb::KeyWrapRef {
            recipient_key_id: key.to_bytes(),
            wrap_sha256: Bytes::copy_from_slice(&sha256(&[&wrap])),
        };
        let write = pb::WriteRecord { wraps: recipients.iter().map(reference).collect(), ..write };
        let mut attachments = vec![payload];
        attachments.extend(recipients.iter().map(|_| wrap.clone()));
        let mut body = self.ledger.body(vec![Action::WriteRecord(write)]);
        body.valid_until_ms += after_ms;
        let transaction = self.ledger.check(&self.ehr.sign(body, attachments));
        let time = self.ledger.tip.header.time.0 + after_ms;
        self.ledger.block_at(time, &[transaction], &Observed::default()).leaves[0].1.outcome
    }

    fn write(&mut self, recipients: &[KeyId]) -> Outcome {
        self.write_after(1_000, recipients)
    }
}

#[test]
fn what_is_written_is_wrapped_for_the_custodian() {
    let mut m = Member::new();
    let custodian = m.key_of(OWN, "service", "custodian");
    let reader = m.key_of("b.example", "clinician", "c");
    assert_eq!(m.write(&[]), Outcome::Applied);
    assert_eq!(m.set(custodian), Outcome::Applied);
    assert_eq!(m.write(&[]), Outcome::CustodyWrapMissing);
    assert_eq!(m.write(&[reader]), Outcome::CustodyWrapMissing);
    assert_eq!(m.write(&[reader, custodian]), Outcome::WrapNotPermitted);
    assert_eq!(m.write(&[custodian]), Outcome::Applied);
    let row: CustodyState = m.ledger.store.message(Table::State, &keys::custody(OWN)).unwrap();
    assert_eq!((&row.encryption_key_id, &row.previous_key_id), (&custodian.to_bytes(), &Bytes::new()));
    assert_eq!(row.custodian, format!("spiffe://{OWN}/service/custodian"));
}

#[test]
fn a_registered_patient_has_records_of_members_with_a_custodian_only() {
    let mut m = Member::new();
    let register = |m: &mut Member, patient: u8| {
        let patient = vec![patient; 16].into();
        let register = pb::RegisterPatient { patient, lookups_sha256: Vec::new() };
        let body = m.ledger.body(vec![Action::RegisterPatient(register)]);
        let transaction = m.ledger.check(&m.ehr.sign(body, Vec::new()));
        m.ledger.block(&[transaction], &Observed::default()).leaves[0].1.outcome
    };
    // Each record of these tests is of a patient of its own number.
    assert_eq!(m.write(&[]), Outcome::Applied, "of nobody who is registered");
    assert_eq!(register(&mut m, 1), Outcome::PatientExists, "its record has no wrap");
    assert_eq!(register(&mut m, 2), Outcome::Applied);
    assert_eq!(m.write(&[]), Outcome::CustodianMissing);
    let custodian = m.key_of(OWN, "service", "custodian");
    assert_eq!((m.set(custodian), register(&mut m, 3)), (Outcome::Applied, Outcome::Applied));
    assert_eq!(m.write(&[]), Outcome::CustodyWrapMissing);
    assert_eq!(register(&mut m, 4), Outcome::Applied);
    assert_eq!(m.write(&[custodian]), Outcome::Applied);
}

#[test]
fn the_key_before_counts_for_an_hour() {
    let mut m = Member::new();
    let [first, second] = ["one", "two"].map(|name| m.key_of(OWN, "service", name));
    assert_eq!((m.set(first), m.set(second)), (Outcome::Applied, Outcome::Applied));
    assert_eq!(m.write(&[first]), Outcome::Applied);
    // Named again, it does not count as the one before as well.
    assert_eq!(m.set(second), Outcome::Applied);
    let row: CustodyState = m.ledger.store.message(Table::State, &keys::custody(OWN)).unwrap();
    assert_eq!(row.previous_key_id, first.to_bytes());
    let left = row.since_ms + CUSTODY_OVERLAP_MS - m.ledger.tip.header.time.0;
    assert_eq!(m.write_after(left - 1, &[first]), Outcome::Applied);
    assert_eq!(m.write_after(1, &[first]), Outcome::CustodyWrapMissing);
    assert_eq!(m.write(&[second]), Outcome::Applied);
}

#[test]
fn a_custodian_is_a_service_of_the_own_member() {
    let mut m = Member::new();
    let others = m.key_of("b.example", "service", "custodian");
    let person = m.key_of(OWN, "clinician", "c-1");
    assert_eq!(m.set(others), Outcome::CustodianRefused);
    assert_eq!(m.set(person), Outcome::CustodianRefused);
    assert_eq!(m.set(KeyId::from_bytes([7; 32])), Outcome::UnknownRecipient);
    let own = m.key_of(OWN, "service", "custodian");
    let body = m.ledger.body(vec![Action::SetCustodyKey(pb::SetCustodyKey { encryption_key_id: own.to_bytes() })]);
    let by_service = m.ledger.check(&m.ehr.sign(body, Vec::new()));
    let outcome = m.ledger.block(&[by_service], &Observed::default()).leaves[0].1.outcome;
    assert_eq!(outcome, Outcome::RoleNotAllowed);
}

#[test]
fn what_was_written_before_the_first_custody_key_is_not_counted_but_may_be_wrapped() {
    let mut m = Member::new();
    let custodian = Identity::new(OWN, "service", "custodian");
    assert_eq!(m.write(&[]), Outcome::Applied);
    let key = m.key_of(OWN, "service", "custodian");
    assert_eq!(m.set(key), Outcome::Applied);
    let mut rewrap = |outcome| {
        let wrap = Bytes::from_static(b"wrap");
        let rewrap = pb::Rewrap {
            record_id: vec![1; 16].into(),
            version: 1,
            recipient_key_id: key.to_bytes(),
            wrap_sha256: Bytes::copy_from_slice(&sha256(&[&wrap])),
        };
        let add = pb::AddWraps { rewraps: vec![rewrap], ..pb::AddWraps::default() };
        let body = m.ledger.body(vec![Action::AddWraps(add)]);
        let transaction = m.ledger.check(&custodian.sign(body, vec![wrap]));
        assert_eq!(m.ledger.block(&[transaction], &Observed::default()).leaves[0].1.outcome, outcome);
    };
    rewrap(Outcome::Applied);
    rewrap(Outcome::WrapNotRequested);
    let place = keys::custody_count(&CustodyName::new(OWN, key));
    let count: pb::CustodyCountState = m.ledger.store.message(Table::State, &place).unwrap();
    let work: Option<pb::CustodyWorkState> = m.ledger.store.message(Table::State, &keys::custody_work(OWN));
    assert_eq!((count.versions, work), (0, None));
}
