//! Wraps that are owed: patients, and people who wrote themselves, get what was written before they
//! had the key that they have now. Nobody else does unasked.

use consilium_ledger::custody::Owed;
use consilium_proto::ids::RecordId;
use consilium_proto::pb::PurposeOfUse;
use consilium_proto::state::WrapRequestName;

use super::*;

fn owed(record: u8, key: KeyId) -> pb::OwedWrap {
    pb::OwedWrap { record_id: id(record), version: 1, recipient_key_id: key.to_bytes() }
}

fn custodian() -> String {
    name(A, "service", "custodian")
}

fn anna() -> String {
    name(A, "patient", ANNA)
}

/// Record 1 of hospital a, written before anybody was accepted for its patient.
fn written() -> World {
    let mut w = World::new();
    assert_eq!(w.write(A, 1, |_| ()), Outcome::Applied);
    w
}

fn accepted() -> World {
    let mut w = written();
    assert_eq!(w.accept(A, &anna(), |_| ()), Outcome::Applied);
    w
}

fn owe_by(w: &mut World, by: &str, owed: Vec<pb::OwedWrap>) -> Outcome {
    w.all_by(by, vec![Action::AddWraps(pb::AddWraps { owed, ..pb::AddWraps::default() })], vec![])
}

fn owe(w: &mut World, owed: Vec<pb::OwedWrap>) -> Outcome {
    owe_by(w, &custodian(), owed)
}

/// The custodian's wrap of record 1 for a request.
fn answer(w: &mut World, request: u64, key: KeyId) -> Outcome {
    let content = Bytes::from_static(b"for the patient");
    let added = pb::AddedWrap {
        request,
        record_id: id(1),
        version: 1,
        recipient_key_id: key.to_bytes(),
        wrap_sha256: Bytes::copy_from_slice(&sha256(&[&content])),
    };
    let add = pb::AddWraps { wraps: vec![added], ..pb::AddWraps::default() };
    w.all_by(&custodian(), vec![Action::AddWraps(add)], vec![content])
}

/// As a node lists it.
fn listed(w: &World, record: u8) -> Vec<KeyId> {
    let (store, id) = (&w.ledger.store, RecordId([record; 16]));
    let record: pb::RecordState = store.message(Table::State, &keys::record(&id)).unwrap();
    let version: pb::RecordVersion = store.message(Table::Versions, &keys::version(&id, 1)).unwrap();
    let time = w.ledger.tip.header.time;
    Owed { record: &record, id: &id, version: &version, time }.keys(store).unwrap()
}

/// Requests that wait.
fn open(w: &World) -> u64 {
    let work: Option<pb::CustodyWorkState> = w.ledger.store.message(Table::State, &keys::custody_work(A));
    work.unwrap_or_default().open
}

#[test]
fn a_patient_gets_what_was_written_before_it_had_its_key() {
    let mut w = written();
    assert_eq!(listed(&w, 1), []);
    assert_eq!(w.accept(A, &anna(), |_| ()), Outcome::Applied);
    for number in 0..2 {
        let key = w.keys[&anna()];
        assert_eq!(listed(&w, 1), [key]);
        assert_eq!(owe(&mut w, vec![owed(1, key)]), Outcome::Applied);
        assert_eq!((listed(&w, 1), open(&w)), (vec![], 1), "it waits");
        assert_eq!(owe(&mut w, vec![owed(1, key)]), Outcome::WrapNotRequested, "another custodian was faster");
        let place = keys::wrap_request(&WrapRequestName::new(A, number));
        let request: pb::WrapRequestState = w.ledger.store.message(Table::State, &place).unwrap();
        assert_eq!((request.reader, request.patient, request.owed), (anna(), id(1), true));
        assert_eq!(answer(&mut w, number, key), Outcome::Applied);
        let stored = keys::wrap(&RecordId([1; 16]), 1, &key);
        assert!(w.ledger.store.0.contains_key(&(Table::Wraps, stored)));
        assert_eq!((listed(&w, 1), open(&w)), (vec![], 0), "it is done");
        assert_eq!(owe(&mut w, vec![owed(1, key)]), Outcome::WrapNotRequested);
        // And again with another key.
        w.enroll(A, "patient", ANNA);
    }
}

#[test]
fn who_wrote_a_version_gets_it_for_another_key() {
    let mut w = World::new();
    let doctor = name(A, "clinician", "c1");
    let (payload, wrap) = (Bytes::from_static(b"payload"), Bytes::from_static(b"wrap"));
    let Action::WriteRecord(mut write) = write_record([1; 16], 1, "Observation", &payload) else { unreachable!() };
    let wrap_sha256 = Bytes::copy_from_slice(&sha256(&[&wrap]));
    let recipients = [w.keys[&custodian()], w.keys[&doctor]];
    let wraps =
        recipients.map(|key| pb::KeyWrapRef { recipient_key_id: key.to_bytes(), wrap_sha256: wrap_sha256.clone() });
    (write.patient, write.wraps) = (id(1), wraps.into());
    let contents = vec![payload, wrap.clone(), wrap];
    assert_eq!(w.all_by(&doctor, vec![Action::WriteRecord(write)], contents), Outcome::Applied);
    assert_eq!(listed(&w, 1), []);
    w.enroll(A, "clinician", "c1");
    let newest = w.keys[&doctor];
    assert_eq!(listed(&w, 1), [newest]);
    assert_eq!(owe(&mut w, vec![owed(1, newest)]), Outcome::Applied);
    assert_eq!(answer(&mut w, 0, newest), Outcome::Applied);
}

#[test]
fn what_is_not_owed_any_more_is_not_wrapped() {
    let ends: [fn(&mut World); 3] = [
        |w| assert_eq!(w.accept(A, &anna(), |accept| accept.withdrawn = true), Outcome::Applied),
        // The key may have been stolen.
        |w| w.enroll(A, "patient", ANNA),
        |w| {
            let reason = pb::RetractionReason::WrongPatient.into();
            let retract = pb::RetractRecord { record_id: id(1), version: 1, reason };
            assert_eq!(w.by(A, "service", "ehr", Action::RetractRecord(retract)), Outcome::Applied);
        },
    ];
    for end in ends {
        let mut w = accepted();
        let key = w.keys[&anna()];
        assert_eq!(owe(&mut w, vec![owed(1, key)]), Outcome::Applied);
        end(&mut w);
        assert_eq!(answer(&mut w, 0, key), Outcome::AccessEnded);
        assert!(!listed(&w, 1).contains(&key));
        let drop = pb::AddWraps { dropped: vec![0], ..pb::AddWraps::default() };
        assert_eq!(w.all_by(&custodian(), vec![Action::AddWraps(drop)], vec![]), Outcome::Applied);
        assert_eq!(owe(&mut w, vec![owed(1, key)]), Outcome::WrapNotRequested);
    }
}

#[test]
fn what_the_custodian_cannot_open_yet_is_owed_later() {
    let mut w = accepted();
    w.enroll(A, "service", "custodian");
    w.name_custodian(A);
    let (annas, newest) = (w.keys[&anna()], w.keys[&custodian()]);
    assert_eq!(listed(&w, 1), []);
    assert_eq!(owe(&mut w, vec![owed(1, annas)]), Outcome::WrapNotRequested);
    let content = Bytes::from_static(b"for the newest key");
    let rewrap = pb::Rewrap {
        record_id: id(1),
        version: 1,
        recipient_key_id: newest.to_bytes(),
        wrap_sha256: Bytes::copy_from_slice(&sha256(&[&content])),
    };
    let add = pb::AddWraps { rewraps: vec![rewrap], ..pb::AddWraps::default() };
    assert_eq!(w.all_by(&custodian(), vec![Action::AddWraps(add)], vec![content]), Outcome::Applied);
    assert_eq!(listed(&w, 1), [annas]);
    assert_eq!(owe(&mut w, vec![owed(1, annas)]), Outcome::Applied);
}

#[test]
fn nothing_is_owed_to_those_who_read_by_a_permit_nor_to_services() {
    let mut w = accepted();
    let doctor = name(B, "clinician", "c1");
    assert_eq!(w.consent(&name(A, "service", "ehr"), 1, share_with_b()), Outcome::Applied);
    assert_eq!(w.ground(&doctor, read(1)), Ground::Consent);
    let guardian = name(A, "patient", GUARDIAN);
    let to_ms = w.now() + DAY;
    let stands_for = |accept: &mut pb::AcceptPatient| {
        (accept.relation, accept.to_ms) = (PatientRelation::Guardian.into(), to_ms);
    };
    assert_eq!(w.accept(A, &guardian, stands_for), Outcome::Applied);
    // Accepted by a member whose word does not count for the records of hospital a.
    let elsewhere = name(B, "patient", ANNA);
    assert_eq!(w.accept(B, &elsewhere, |_| ()), Outcome::Applied);
    w.enroll(A, "service", "ehr");
    w.enroll(B, "clinician", "c1");
    let others = [doctor, guardian, elsewhere, name(A, "service", "ehr"), name(A, "clinician", "c2")];
    for other in others {
        let key = w.keys[&other];
        assert_eq!(owe(&mut w, vec![owed(1, key)]), Outcome::WrapNotRequested, "{other}");
    }
    assert_eq!(owe(&mut w, vec![owed(1, KeyId::from_bytes([9; 32]))]), Outcome::WrapNotRequested, "nobody's");
    let annas = w.keys[&anna()];
    assert_eq!(listed(&w, 1), [annas]);
    for (by, refused) in [
        (name(A, "service", "ehr"), Outcome::CustodianRefused),
        (name(B, "service", "custodian"), Outcome::WrapNotRequested),
    ] {
        assert_eq!(owe_by(&mut w, &by, vec![owed(1, annas)]), refused, "{by}");
    }
    let no_version = pb::OwedWrap { version: 2, ..owed(1, annas) };
    assert_eq!(owe(&mut w, vec![no_version]), Outcome::WrapNotRequested);
    // What one of them asks for is not asked for twice, whoever comes first.
    let before = open(&w);
    let own = pb::RequestAccess { purpose: PurposeOfUse::Patrqt.into(), ..read(1) };
    assert_eq!(w.ground(&anna(), own), Ground::Patient);
    assert_eq!((open(&w), listed(&w, 1)), (before + 1, vec![]));
    assert_eq!(owe(&mut w, vec![owed(1, annas)]), Outcome::WrapNotRequested);
}
