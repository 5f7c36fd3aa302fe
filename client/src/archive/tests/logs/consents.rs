//! What was said of patients by consents and care: in their logs, and verified.

use super::*;

/// A consent that is put and ended, and care that is attested.
fn consented(change: impl FnOnce(&mut Vec<pb::AccessEvent>)) -> Ledger {
    use pb::action::Action;
    let mut ledger = Ledger::usual();
    let (consent_id, patient) = (Bytes::from(vec![6; 16]), Bytes::from(PATIENT.0.to_vec()));
    let grant = pb::ConsentGrant { base: pb::ConsentBase::BreakGlassOnly.into(), ..Default::default() };
    let put = pb::PutConsent {
        consent_id: consent_id.clone(),
        version: 1,
        patient: patient.clone(),
        grant: Some(pb::ConsentGrant { to_ms: NOW_MS + 9, ..grant }),
        document_sha256: vec![7; 32].into(),
    };
    let care = pb::AttestCare { patient, to_ms: NOW_MS + 5, evidence_sha256: vec![8; 32].into() };
    let revoke = pb::RevokeConsent { consent_id: consent_id.clone() };
    let actions = [Action::PutConsent(put), Action::AttestCare(care), Action::RevokeConsent(revoke)];
    let signed: Vec<_> = (20..)
        .zip(actions)
        .map(|(nonce, action)| ledger.sign(nonce, NOW_MS + 60_000, vec![pb::Action { action: Some(action) }]))
        .collect();
    ledger.push(signed.iter().map(|signed| (signed.clone(), Outcome::Applied)).collect());
    use pb::PatientChangeKind::{CareAttested, ConsentEnded, ConsentPut};
    let said = |kind: pb::PatientChangeKind| pb::PatientChange { kind: kind.into(), ..Default::default() };
    let said = [
        pb::PatientChange {
            consent_id: consent_id.clone(),
            consent_version: 1,
            to_ms: NOW_MS + 9,
            evidence_sha256: vec![7; 32].into(),
            ..said(ConsentPut)
        },
        pb::PatientChange { to_ms: NOW_MS + 5, evidence_sha256: vec![8; 32].into(), ..said(CareAttested) },
        pb::PatientChange { consent_id, ..said(ConsentEnded) },
    ];
    let events = (0..).zip(&signed).zip(said).map(|((sequence, signed), said)| pb::AccessEvent {
        purpose: Purpose::Patadmin.into(),
        kind: pb::AccessKind::Change.into(),
        decisions: Vec::new(),
        change: Some(said),
        ..event(sequence, PATIENT, signed)
    });
    let mut events: Vec<_> = events.collect();
    change(&mut events);
    with_logs(ledger, &events)
}

#[test]
fn consents_and_care_stand_in_the_log_of_their_patient() {
    let report = consented(|_| ()).report();
    assert_eq!((report.failure.clone(), report.counts.log_entries), (None, 3));
    type Change = fn(&mut pb::PatientChange);
    let changes: [(u64, Change); 5] = [
        (0, |said| said.consent_version = 2),
        (0, |said| said.to_ms = 0),
        (0, |said| said.evidence_sha256.clear()),
        (1, |said| said.to_ms += 1),
        (2, |said| said.consent_id = vec![5; 16].into()),
    ];
    for (place, change) in changes {
        let failure = consented(|events| change(events[place as usize].change.as_mut().unwrap())).failure();
        assert_eq!(failure, at(place, OTHERWISE));
    }
    // The end of a consent is of the patient whose it is.
    let of_another = consented(|events| (events[2].patient, events[2].sequence) = (NOBODY.0.to_vec().into(), 0));
    let log = consilium_proto::state::describe(&keys::access_log(&NOBODY));
    assert_eq!(of_another.failure(), VerifyFailure::Log { log, place: 0, what: OTHERWISE });
    let left_out = consented(|events| drop(events.pop())).failure();
    assert!(matches!(left_out, VerifyFailure::NoEvent { .. }), "{left_out:?}");
}
