//! What a node may hand out: certified, to whoever asked, while it stands, and not for ever.

use super::*;
use consilium_kit::identity_rules::Rules;
use consilium_ledger::rights::{Claim, Opened, Withheld, open, open_late};
use consilium_proto::ids::{Height, TimeMs};
use consilium_proto::limits::RELEASE_WINDOW_MS;
use consilium_proto::names::SpiffeId;
use consilium_proto::transaction::{RequestAccess, VersionRef};

/// What a request by somebody opens for a reader, at a node that has certified so much.
fn opens(w: &World, id: TransactionId, (by, reader): (&str, &str), certified: Height) -> Result<Opened, Withheld> {
    let (author, time) = (w.people[by].author(), w.ledger.tip.header.time);
    let reader: SpiffeId = reader.parse().unwrap();
    open(&w.ledger.store, &Claim { transaction: id, author, reader: &reader, certified, time }).unwrap()
}

fn asked(w: &mut World, by: &str, request: pb::RequestAccess) -> TransactionId {
    w.submit(by, vec![Action::RequestAccess(request)], Vec::new()).0
}

#[test]
fn nothing_is_handed_out_below_a_certified_event() {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    // The author is no exception.
    for who in [name(A, "service", "ehr"), name(A, "clinician", "c1")] {
        let before = w.ledger.tip.header.height;
        let id = asked(&mut w, &who, read(1));
        let height = w.ledger.tip.header.height;
        assert_eq!(opens(&w, id, (&who, &who), before), Err(Withheld::NoEvent));
        let opened = opens(&w, id, (&who, &who), height).unwrap();
        assert_eq!(opened.event, w.event(&id));
        let version = VersionRef { record: consilium_proto::ids::RecordId([1; 16]), version: 1 };
        assert_eq!((opened.permits(), opened.versions), (true, [version].into()));
    }
    let nobody = TransactionId::from_bytes([9; 32]);
    let ehr = name(A, "service", "ehr");
    assert_eq!(opens(&w, nobody, (&ehr, &ehr), w.ledger.tip.header.height), Err(Withheld::NoEvent));
}

#[test]
fn what_is_denied_opens_nothing() {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    let doctor = name(B, "clinician", "c1");
    let id = asked(&mut w, &doctor, read(1));
    let opened = opens(&w, id, (&doctor, &doctor), w.ledger.tip.header.height).unwrap();
    assert_eq!((opened.permits(), opened.versions.len()), (false, 0));
}

#[test]
fn only_who_asked_is_answered() {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    let (doctor, other) = (name(A, "clinician", "c1"), name(A, "clinician", "c2"));
    let id = asked(&mut w, &doctor, read(1));
    let certified = w.ledger.tip.header.height;
    for (by, reader) in [(&doctor, &other), (&other, &doctor), (&other, &other)] {
        assert_eq!(opens(&w, id, (by, reader), certified), Err(Withheld::NotTheReaders), "{by} {reader}");
    }
}

#[test]
fn it_ends_with_its_time_and_with_the_readers_rights() {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    let doctor = name(A, "clinician", "c1");
    let id = asked(&mut w, &doctor, read(1));
    let ends = w.now() + RELEASE_WINDOW_MS;
    let at = |w: &mut World, time: u64| {
        w.ledger.block_at(time, &[], &Observed::default());
        assert_eq!(w.ledger.tip.header.time, TimeMs(time));
        opens(w, id, (&doctor, &doctor), w.ledger.tip.header.height).map(|_| ())
    };
    assert_eq!(at(&mut w, ends - 1), Ok(()));
    assert_eq!(at(&mut w, ends), Err(Withheld::Ended));
    let id = asked(&mut w, &doctor, read(1));
    let revoked = consilium_kit::identity_rules::list("ca", 1, [w.people[&doctor].serial()]);
    let publish = Action::PublishRevocations(pb::PublishRevocations { crl: revoked });
    assert_eq!(w.ledger.submit(A, publish), Outcome::Applied);
    let certified = w.ledger.tip.header.height;
    assert_eq!(opens(&w, id, (&doctor, &doctor), certified), Err(Withheld::NotStanding));
}

/// How many versions a request opens that is not on the ledger.
fn opens_late(w: &World, (by, reader): (&str, &str), request: &pb::RequestAccess) -> Result<usize, Withheld> {
    let (author, time) = (w.people[by].author(), w.ledger.tip.header.time);
    let (name, transaction): (SpiffeId, _) = (reader.parse().unwrap(), TransactionId::from_bytes([9; 32]));
    let certified = w.ledger.tip.header.height;
    let claim = Claim { transaction, author, reader: &name, certified, time };
    let patient = PatientPseudonym::parse("patient", &request.patient).unwrap();
    let records = request.records.iter().map(|record| VersionRef::try_from(record).unwrap()).collect();
    let (purpose, kind) = (request.purpose(), request.kind());
    let (query, emergency, acting, project, sealed_by) = (None, None, None, None, None);
    let late = Some(time);
    let request = RequestAccess { patient, purpose, kind, records, query, emergency, acting, project, sealed_by, late };
    open_late(&w.ledger.store, &Rules, (&claim, &request)).unwrap().map(|opened| opened.len())
}

#[test]
fn without_a_quorum_only_what_the_own_member_wrote_is_opened_by_the_same_decision() {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    let (own, other) = (name(A, "clinician", "c1"), name(A, "clinician", "c2"));
    let foreign = name(B, "clinician", "c1");
    assert_eq!(opens_late(&w, (&own, &own), &read(1)), Ok(1));
    assert_eq!(opens_late(&w, (&foreign, &foreign), &read(1)), Ok(0));
    assert_eq!(opens_late(&w, (&other, &own), &read(1)), Err(Withheld::NotTheReaders));
    // A consent opens it to the others, but not without a quorum.
    let anna = name(A, "patient", ANNA);
    w.accept(A, &anna, |_| ());
    assert_eq!(w.consent(&anna, 1, share_with_b()), Outcome::Applied);
    assert_eq!(w.ground(&foreign, read(1)), Ground::Consent);
    assert_eq!(opens_late(&w, (&foreign, &foreign), &read(1)), Ok(0));
    // The policy narrows it as ever.
    w.care(A, 0);
    let research = pb::RequestAccess { purpose: Purpose::Hresch.into(), ..read(1) };
    assert_eq!(opens_late(&w, (&own, &own), &research), Ok(0));
    let revoked = consilium_kit::identity_rules::list("ca", 1, [w.people[&own].serial()]);
    let publish = Action::PublishRevocations(pb::PublishRevocations { crl: revoked });
    assert_eq!(w.ledger.submit(A, publish), Outcome::Applied);
    assert_eq!(opens_late(&w, (&own, &own), &read(1)), Err(Withheld::NotStanding));
}

#[test]
fn what_was_read_late_stands_in_the_log_with_the_readers_time_whatever_that_is() {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    let doctor = name(A, "clinician", "c1");
    let now = w.now();
    for late_ms in [1, now, now + 400 * DAY] {
        let event = w.ask(&doctor, pb::RequestAccess { late_ms, ..read(1) });
        assert_eq!((event.late_ms, event.decisions[0].ground()), (late_ms, Ground::Custodian));
    }
}

#[test]
fn what_turns_out_to_be_somebody_elses_is_not_released_any_more() {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    w.write(A, 2, |_| ());
    let doctor = name(A, "clinician", "c1");
    let of = |record| pb::VersionRef { record_id: super::id(record), version: 0 };
    let id = asked(&mut w, &doctor, pb::RequestAccess { records: vec![of(1), of(2)], ..read(1) });
    let opened = |w: &World| {
        let opened = opens(w, id, (&doctor, &doctor), w.ledger.tip.header.height).unwrap();
        opened.versions.iter().map(|version| version.record.0[0]).collect::<Vec<_>>()
    };
    assert_eq!(opened(&w), [1, 2]);
    let retract = |reason: pb::RetractionReason| {
        Action::RetractRecord(pb::RetractRecord { record_id: super::id(1), version: 1, reason: reason.into() })
    };
    w.enroll(A, "device", "d1");
    let closes = retract(pb::RetractionReason::WrongPatient);
    assert_eq!(w.by(A, "device", "d1", closes.clone()), Outcome::RoleNotAllowed, "a device closes nothing for ever");
    assert_eq!(w.by(A, "service", "ehr", closes), Outcome::Applied);
    assert_eq!(opened(&w), [2]);
}
