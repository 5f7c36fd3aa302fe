//! Requests: decided by the same rules for everybody, and always logged.

use super::*;
use consilium_kit::topics::policy_text;
use consilium_kit::{approve, propose};

#[test]
fn without_consent_only_the_custodians_own_people_read() {
    let mut w = World::new();
    assert_eq!(w.write(A, 1, |_| ()), Outcome::Applied);
    for (who, ground) in [
        (name(A, "service", "ehr"), Ground::Author),
        (name(A, "clinician", "c1"), Ground::Custodian),
        (name(B, "clinician", "c1"), Ground::ConsentDenies),
        (name(B, "researcher", "r1"), Ground::ConsentDenies),
        (name(A, "patient", ANNA), Ground::ConsentDenies),
        (name(A, "auditor", "privacy"), Ground::Role),
    ] {
        assert_eq!(w.ground(&who, read(1)), ground, "{who}");
    }
    assert_eq!(w.patient_log().count, ATTESTED + 6, "every request is logged, permitted or not");
}

#[test]
fn an_event_says_who_asked_what_and_what_was_decided_of_each() {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    w.write(A, 2, |write| write.confidentiality = pb::Confidentiality::Restricted.into());
    w.write(B, 3, |_| ());
    let basic = grant(ConsentBase::BasicNormal, vec![]);
    assert_eq!(w.consent(&name(A, "service", "ehr"), 1, basic), Outcome::Applied);
    let mut request = read(1);
    request.records.extend([2, 3, 4].map(|n| pb::VersionRef { record_id: id(n), version: 0 }));
    request.acting_sha256 = vec![5; 32].into();
    let event = w.ask(&name(B, "clinician", "c1"), request.clone());
    let seen: Vec<_> = event.decisions.iter().map(|d| (d.ground(), d.consent_id.clone(), &d.records[..])).collect();
    let refs = |record: u8, version| [pb::VersionRef { record_id: id(record), version }];
    assert_eq!(
        seen,
        [
            (Ground::Consent, id(1), &refs(1, 1)[..]),
            (Ground::NoConsent, Bytes::new(), &refs(2, 1)[..]),
            (Ground::Custodian, Bytes::new(), &refs(3, 1)[..]),
            (Ground::NotFound, Bytes::new(), &refs(4, 0)[..]),
        ]
    );
    let tip = &w.ledger.tip.header;
    assert_eq!(
        (event.height, event.time_ms, event.sequence),
        (tip.height.0, tip.time.0, ATTESTED + 1),
        "behind the consent"
    );
    assert_eq!(
        (event.reader.as_str(), &event.acting_sha256),
        ("spiffe://b.example/clinician/c1", &request.acting_sha256)
    );
    assert_eq!((event.purpose(), event.kind()), (Purpose::Treat, AccessKind::Read));
}

#[test]
fn what_there_is_not_makes_no_rows_of_patients() {
    let mut w = World::new();
    let before = w.ledger.store.state().len();
    for n in 2..6 {
        let request = pb::RequestAccess { patient: id(n), ..read(1) };
        let event = w.ask(&name(B, "clinician", "c1"), request);
        assert_eq!(event.decisions[0].ground(), Ground::NotFound);
        assert_eq!((event.sequence, event.patient), (u64::from(n) - 2, id(n)));
    }
    assert_eq!(w.ledger.store.state().len(), before + 1, "one log of the reader's member");
    assert_eq!(w.log(&keys::unmatched_log(B)).unwrap().count, 4);
    assert_eq!(w.patient_log().count, ATTESTED);
}

#[test]
fn a_record_of_another_patient_is_not_found() {
    let mut w = World::new();
    w.write(A, 1, |write| write.patient = id(2));
    assert_eq!(w.ground(&name(A, "service", "ehr"), read(1)), Ground::NotFound);
    let other = pb::RequestAccess { patient: id(2), ..read(1) };
    assert_eq!(w.ground(&name(A, "service", "ehr"), other), Ground::Author);
    assert_eq!(w.log(&keys::access_log(&PatientPseudonym([2; 16]))).unwrap().count, 1);
}

#[test]
fn queries_are_events_of_the_patient() {
    let mut w = World::new();
    let query = pb::RequestAccess {
        kind: AccessKind::Query.into(),
        records: vec![],
        query_sha256: vec![3; 32].into(),
        ..read(1)
    };
    assert_eq!(w.ground(&name(B, "clinician", "c1"), query.clone()), Ground::Each);
    assert_eq!(w.ground(&name(B, "auditor", "privacy"), query.clone()), Ground::Role);
    assert_eq!(w.patient_log().count, ATTESTED + 2);
    let unknown = pb::RequestAccess { patient: id(7), ..query };
    assert_eq!(w.ground(&name(B, "clinician", "c1"), unknown), Ground::NotFound);
}

#[test]
fn a_request_names_versions_and_the_newest_by_default() {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    w.write(A, 1, |write| write.version = 2);
    for (asked, said) in [(0, Some(2)), (1, Some(1)), (2, Some(2)), (3, None)] {
        let records = vec![pb::VersionRef { record_id: id(1), version: asked }];
        let event = w.ask(&name(A, "clinician", "c1"), pb::RequestAccess { records, ..read(1) });
        let decision = &event.decisions[0];
        let expected = if said.is_some() { Ground::Custodian } else { Ground::NotFound };
        assert_eq!((decision.ground(), decision.records[0].version), (expected, said.unwrap_or(asked)));
    }
}

#[test]
fn a_patient_reads_where_the_custodian_has_accepted_it() {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    w.write(B, 2, |_| ());
    let anna = name(A, "patient", ANNA);
    assert_eq!(w.accept(A, &anna, |_| ()), Outcome::Applied);
    let own = |record| pb::RequestAccess { purpose: Purpose::Patrqt.into(), ..read(record) };
    assert_eq!(w.ground(&anna, own(1)), Ground::Patient);
    assert_eq!(w.ground(&anna, own(2)), Ground::ConsentDenies, "what one custodian says binds no other");
    assert_eq!(w.accept(B, &anna, |_| ()), Outcome::Applied);
    assert_eq!(w.ground(&anna, own(2)), Ground::Patient);
    assert_eq!(w.accept(A, &anna, |accept| accept.withdrawn = true), Outcome::Applied);
    assert_eq!(w.ground(&anna, own(1)), Ground::ConsentDenies);
}

#[test]
fn a_guardian_reads_until_the_coming_of_age() {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    let guardian = name(A, "patient", GUARDIAN);
    let ends = w.now() + 10 * DAY;
    let accept = |accept: &mut pb::AcceptPatient| {
        accept.relation = PatientRelation::Guardian.into();
        accept.may_consent = false;
        accept.to_ms = ends;
    };
    assert_eq!(w.accept(A, &guardian, accept), Outcome::Applied);
    let own = || pb::RequestAccess { purpose: Purpose::Famrqt.into(), ..read(1) };
    assert_eq!(w.ground(&guardian, own()), Ground::Representative);
    assert_eq!(w.consent(&guardian, 1, share_with_b()), Outcome::NotAccepted, "it may only read");
    w.wait_until(ends - 1);
    assert_eq!(w.ground(&guardian, own()), Ground::Representative);
    w.wait_until(ends);
    assert_eq!(w.ground(&guardian, own()), Ground::ConsentDenies);
    assert_eq!(w.accept(A, &guardian, |a| a.to_ms = 5), Outcome::TimeRefused);
}

#[test]
fn own_clinicians_read_while_the_patient_is_under_care() {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    let (doctor, ehr) = (name(A, "clinician", "c1"), name(A, "service", "custodian"));
    assert_eq!(w.ground(&doctor, read(1)), Ground::Custodian);
    w.care(A, 0);
    assert_eq!(w.ground(&doctor, read(1)), Ground::Policy, "the default policy");
    assert_eq!(w.ground(&ehr, read(1)), Ground::Custodian, "systems keep the hospital's own files");
    let research = pb::RequestAccess { purpose: Purpose::Hresch.into(), ..read(1) };
    assert_eq!(w.ground(&doctor, research), Ground::Policy);
}

#[test]
fn nobody_attests_a_care_that_opens_records_to_oneself() {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    w.care(A, 0);
    let names = ["c1", "c2"].map(|who| name(A, "clinician", who));
    let attest = |w: &mut World, who: &str, ms: u64| {
        let to_ms = w.now() + ms;
        let care = pb::AttestCare { patient: id(1), to_ms, evidence_sha256: vec![2; 32].into() };
        assert_eq!(w.by(A, "clinician", who, Action::AttestCare(care)), Outcome::Applied);
        names.each_ref().map(|doctor| w.ground(doctor, read(1)) == Ground::Custodian)
    };
    assert_eq!(attest(&mut w, "c1", DAY), [false, true]);
    assert_eq!(attest(&mut w, "c1", 2 * DAY), [false, true], "nor by saying it twice");
    assert_eq!(attest(&mut w, "c2", 5 * DAY), [true, true], "each opens them to the other");
    assert_eq!(attest(&mut w, "c1", 9 * DAY), [true, true]);
    let ends = w.now() + 5 * DAY;
    w.wait_until(ends);
    let open = names.each_ref().map(|doctor| w.ground(doctor, read(1)));
    assert_eq!(open, [Ground::Policy, Ground::Custodian], "what c2 said has ended");
    assert_eq!(attest(&mut w, "c2", 0), [false, false], "and the care for all");
}

#[test]
fn a_policy_narrows_from_its_block_and_never_widens() {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    let (own, foreign) = (name(A, "clinician", "c1"), name(B, "clinician", "c1"));
    let all = "@id(\"all\") permit (principal, action, resource);";
    let but =
        "@id(\"not-restricted\") forbid (principal, action, resource) when { context.record.confidentiality >= 4 };";
    let set = |w: &mut World, text: &str| {
        let roster: pb::RosterState = w.ledger.store.message(Table::State, &keys::roster()).unwrap();
        let proposal = propose(&w.ledger, policy_text(text));
        assert_eq!(w.ledger.submit(A, proposal), Outcome::Applied);
        assert_eq!(w.ledger.submit(B, approve(roster.last_proposal + 1)), Outcome::Applied);
    };
    set(&mut w, all);
    let care_ended = w.ask(&own, read(1));
    assert_eq!((care_ended.decisions[0].ground(), care_ended.policy_version), (Ground::Custodian, 1));
    assert_eq!(w.ground(&foreign, read(1)), Ground::ConsentDenies, "no policy opens what the floor closes");
    set(&mut w, &format!("{all}\n{but}"));
    let event = w.ask(&own, read(1));
    assert_eq!((event.decisions[0].ground(), event.policy_version), (Ground::Policy, 2));
}
