//! What entries of emergencies must say.

#![allow(clippy::unwrap_used)]
use super::*;

fn event(change: pb::PatientChange) -> pb::AccessEvent {
    pb::AccessEvent {
        transaction_id: vec![5; 32].into(),
        reader: "spiffe://b.example/clinician/c-1".into(),
        patient: vec![7; 16].into(),
        purpose: PurposeOfUse::Patadmin.into(),
        kind: AccessKind::Change.into(),
        emergency_id: vec![14; 16].into(),
        change: Some(change),
        ..pb::AccessEvent::default()
    }
}

fn declared() -> pb::PatientChange {
    let kind = PatientChangeKind::EmergencyDeclared.into();
    pb::PatientChange { kind, reason: EmergencyReason::Disaster as u32, to_ms: 9, ..Default::default() }
}

fn reviewed() -> pb::PatientChange {
    let kind = PatientChangeKind::EmergencyReviewed.into();
    pb::PatientChange { kind, verdict: ReviewVerdict::NotJustified as u32, ..Default::default() }
}

#[test]
fn emergencies_and_reviews_are_told_with_what_was_said_of_them() {
    let (emergency, reason) = (EmergencyId([14; 16]), EmergencyReason::Disaster);
    let told = |change| AccessEvent::try_from(&event(change)).unwrap();
    let first = told(declared());
    assert_eq!(first.change, Some(Change::EmergencyDeclared { emergency, reason, to: TimeMs(9) }));
    assert_eq!((first.emergency, first.permits()), (Some(emergency), false));
    let verdict = ReviewVerdict::NotJustified;
    assert_eq!(told(reviewed()).change, Some(Change::EmergencyReviewed { emergency, verdict }));
    for change in [declared(), reviewed()] {
        assert_eq!(told(change.clone()).change.unwrap().kind(), change.kind());
    }
}

#[test]
fn what_is_unknown_or_out_of_place_is_refused_by_its_field() {
    let field = |event: pb::AccessEvent| AccessEvent::try_from(&event).unwrap_err().field;
    for code in [0, 99, u32::MAX] {
        assert_eq!(field(event(pb::PatientChange { reason: code, ..declared() })), "change.reason");
        assert_eq!(field(event(pb::PatientChange { verdict: code, ..reviewed() })), "change.verdict");
    }
    let nameless = pb::AccessEvent { emergency_id: Vec::new().into(), ..event(declared()) };
    assert_eq!(field(nameless), "change.emergency_id");
    let died = pb::PatientChange { kind: PatientChangeKind::Died.into(), ..Default::default() };
    assert_eq!(field(event(died)), "change.emergency_id");
    assert_eq!(field(event(pb::PatientChange { kind: 99, ..declared() })), "change.emergency_id");
}
