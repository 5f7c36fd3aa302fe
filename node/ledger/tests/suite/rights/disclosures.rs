//! Disclosures under a legal duty: one person says it, another confirms it, and then the patient's
//! log has it.

use super::*;
use consilium_proto::ids::DisclosureId;
use pb::{DisclosureBasis as Basis, DisclosureRecipient as To};

pub(super) fn disclose(disclosure: u8, records: &[(u8, u32)]) -> pb::Disclose {
    let version = |(record, version): &(u8, u32)| pb::VersionRef { record_id: id(*record), version: *version };
    pb::Disclose {
        disclosure_id: id(disclosure),
        patient: id(1),
        basis: Basis::CourtOrder.into(),
        order_sha256: vec![3; 32].into(),
        records: records.iter().map(version).collect(),
        recipient: To::Court.into(),
        recipient_sha256: vec![4; 32].into(),
        seal: None,
    }
}

fn seal(until_ms: u64) -> Option<pb::Seal> {
    let (salt, basis_sha256) = (vec![5; 16].into(), vec![6; 32].into());
    Some(pb::Seal { until_ms, basis: pb::SealBasis::Investigation.into(), salt, basis_sha256 })
}

fn world() -> World {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    w.write(B, 2, |_| ());
    w
}

impl World {
    pub(super) fn discloses(&mut self, by: &str, disclosure: pb::Disclose) -> Outcome {
        self.submit(by, vec![Action::Disclose(disclosure)], vec![]).1
    }

    pub(super) fn confirms(&mut self, by: &str, disclosure: u8) -> (TransactionId, Outcome) {
        let confirm = pb::ConfirmDisclosure { disclosure_id: id(disclosure) };
        self.submit(by, vec![Action::ConfirmDisclosure(confirm)], vec![])
    }
}

#[test]
fn it_stands_in_the_patients_log_once_a_second_person_has_confirmed_it() {
    let mut w = world();
    let (clerk, auditor) = (name(A, "clinician", "c1"), name(A, "auditor", "privacy"));
    assert_eq!(w.discloses(&clerk, disclose(1, &[(1, 0)])), Outcome::Applied);
    assert_eq!(w.discloses(&clerk, disclose(1, &[(1, 0)])), Outcome::DisclosureExists);
    assert_eq!(w.patient_log().count, ATTESTED, "one person puts nothing into it");
    assert_eq!(w.confirms(&name(A, "clinician", "c2"), 1).1, Outcome::RoleNotAllowed);
    assert_eq!(w.confirms(&name(B, "auditor", "privacy"), 1).1, Outcome::DisclosureNotFound);
    assert_eq!(w.confirms(&auditor, 2).1, Outcome::DisclosureNotFound);
    let (confirmed, outcome) = w.confirms(&auditor, 1);
    assert_eq!((outcome, w.patient_log().count), (Outcome::Applied, ATTESTED + 1));
    assert_eq!(w.confirms(&auditor, 1).1, Outcome::DisclosureNotFound, "once");
    let event = w.event(&confirmed);
    assert_eq!((event.kind(), event.purpose(), &event.reader), (AccessKind::Disclosure, Purpose::Hlegal, &clerk));
    let decision = &event.decisions[0];
    assert_eq!(decision.ground(), Ground::Custodian);
    assert_eq!(decision.records, [pb::VersionRef { record_id: id(1), version: 1 }], "the newest, by its number");
    let terms = event.legal.unwrap().disclosure.unwrap();
    assert_eq!((terms.basis, terms.recipient), (Basis::CourtOrder as u32, To::Court as u32));
    assert_eq!((terms.disclosure_id, terms.confirmed_by), (id(1), auditor));
}

#[test]
fn only_own_records_of_the_patient_are_disclosed_and_others_are_not_told_of() {
    let mut w = world();
    let ehr = name(A, "service", "ehr");
    w.write(A, 3, |write| write.patient = id(2));
    // Another member's, another patient's, one that there is not, a version that there is not.
    for records in [[(2, 0)], [(3, 0)], [(9, 0)], [(1, 2)]] {
        assert_eq!(w.discloses(&ehr, disclose(1, &records)), Outcome::RecordNotFound, "{records:?}");
    }
    assert_eq!(w.discloses(&ehr, pb::Disclose { patient: id(9), ..disclose(1, &[]) }), Outcome::PatientNotFound);
    assert_eq!(w.discloses(&name(A, "researcher", "r1"), disclose(1, &[])), Outcome::RoleNotAllowed);
    assert_eq!(w.discloses(&ehr, disclose(1, &[])), Outcome::Applied, "all of the member's");
}

#[test]
fn one_auditor_is_not_two_persons_and_what_nobody_confirms_in_time_is_nothing() {
    let mut w = world();
    let auditor = name(A, "auditor", "privacy");
    assert_eq!(w.discloses(&auditor, disclose(1, &[])), Outcome::Applied);
    assert_eq!(w.confirms(&auditor, 1).1, Outcome::RoleNotAllowed);
    assert_eq!(w.discloses(&name(A, "clinician", "c1"), disclose(2, &[])), Outcome::Applied);
    let ends = w.now() + 7 * DAY;
    w.wait_until(ends);
    assert_eq!(w.confirms(&auditor, 2).1, Outcome::TimeRefused, "equality is too late");
    let row: pb::DisclosureState =
        w.ledger.store.message(Table::State, &keys::disclosure(&DisclosureId([2; 16]))).unwrap();
    assert_eq!((row.confirmed_by.as_str(), w.patient_log().count), ("", ATTESTED));
}

#[test]
fn a_seal_is_by_two_persons_and_ends_within_a_year() {
    let mut w = world();
    let (clerk, auditor) = (name(A, "clinician", "c1"), name(A, "auditor", "privacy"));
    let sealed = |disclosure, until| pb::Disclose { seal: seal(until), ..disclose(disclosure, &[(1, 0)]) };
    let now = w.now() + 1_000;
    assert_eq!(w.discloses(&clerk, sealed(1, now)), Outcome::TimeRefused);
    let too_far = w.now() + 1_000 + 366 * DAY + 1;
    assert_eq!(w.discloses(&clerk, sealed(1, too_far)), Outcome::TimeRefused);
    let until = w.now() + 100 * DAY;
    assert_eq!(w.discloses(&clerk, sealed(1, until)), Outcome::Applied);
    let by = |disclosure: u8| Some(pb::SealedBy { disclosure_id: id(disclosure), salt: vec![9; 16].into() });
    let request = |w: &mut World, by_whom: &str, request: pb::RequestAccess| {
        w.submit(by_whom, vec![Action::RequestAccess(request)], vec![])
    };
    let legal = |record| pb::RequestAccess { purpose: Purpose::Hlegal.into(), sealed_by: by(1), ..read(record) };
    let secret = legal(1);
    assert_eq!(request(&mut w, &clerk, secret.clone()).1, Outcome::DisclosureNotFound, "one person does not seal");
    let (confirmed, _) = w.confirms(&auditor, 1);
    assert_eq!(w.event(&confirmed).legal.unwrap().seal, seal(until));

    // From then on it covers what the member's people read for it of these records.
    let (asked, outcome) = request(&mut w, &clerk, secret.clone());
    assert_eq!(outcome, Outcome::Applied);
    let event = w.event(&asked);
    assert_eq!(event.decisions[0].ground(), Ground::Custodian);
    let terms = event.legal.unwrap();
    assert_eq!((terms.disclosure, terms.seal.as_ref().unwrap().until_ms), (None, until));
    assert_eq!(terms.seal.unwrap().salt, vec![9; 16], "each entry has a salt of its own");
    assert_eq!(request(&mut w, &clerk, legal(2)).1, Outcome::DisclosureNotFound, "it is not named");
    assert_eq!(request(&mut w, &clerk, legal(9)).1, Outcome::DisclosureNotFound, "as what there is not");
    let to_treat = pb::RequestAccess { purpose: Purpose::Treat.into(), ..secret.clone() };
    assert_eq!(request(&mut w, &clerk, to_treat).1, Outcome::DisclosureNotFound, "nobody hides another reading by it");
    let other_member = request(&mut w, &name(B, "clinician", "c1"), secret.clone()).1;
    assert_eq!(other_member, Outcome::DisclosureNotFound);
    assert_eq!(request(&mut w, &name(A, "researcher", "r1"), secret.clone()).1, Outcome::RoleNotAllowed);
    w.wait_until(until);
    assert_eq!(request(&mut w, &clerk, secret).1, Outcome::DisclosureNotFound, "it is over");
    assert_eq!(w.patient_log().count, ATTESTED + 2, "what was refused left no entry");
}

#[test]
fn a_disclosure_of_the_whole_file_seals_readings_of_the_members_own_records_alone() {
    let mut w = world();
    let (clerk, auditor) = (name(A, "clinician", "c1"), name(A, "auditor", "privacy"));
    let until = w.now() + 100 * DAY;
    let sealed = pb::Disclose { seal: seal(until), ..disclose(1, &[]) };
    assert_eq!(w.discloses(&clerk, sealed), Outcome::Applied);
    assert_eq!(w.confirms(&auditor, 1).1, Outcome::Applied);
    let by = Some(pb::SealedBy { disclosure_id: id(1), salt: vec![9; 16].into() });
    for (record, expected) in [(1, Outcome::Applied), (2, Outcome::RecordNotFound), (9, Outcome::RecordNotFound)] {
        let request = pb::RequestAccess { purpose: Purpose::Hlegal.into(), sealed_by: by.clone(), ..read(record) };
        assert_eq!(w.submit(&clerk, vec![Action::RequestAccess(request)], vec![]).1, expected, "{record}");
    }
}
