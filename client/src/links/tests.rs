#![allow(clippy::unwrap_used)]

use consilium_proto::pb;

use super::*;

const ONE: PatientPseudonym = PatientPseudonym([1; 16]);
const OTHER: PatientPseudonym = PatientPseudonym([2; 16]);

fn event(patient: PatientPseudonym, sequence: u64, height: u64) -> AccessEvent {
    let event = pb::AccessEvent {
        sequence,
        transaction_id: vec![1; 32].into(),
        reader: "spiffe://a.example/clinician/c1".into(),
        patient: patient.0.to_vec().into(),
        purpose: pb::PurposeOfUse::Treat.into(),
        kind: pb::AccessKind::Read.into(),
        height,
        ..Default::default()
    };
    AccessEvent::try_from(&event).unwrap()
}

fn happened(patient: PatientPseudonym, heights: &[u64]) -> Happened {
    let events = heights.iter().zip(0..).map(|(height, sequence)| event(patient, sequence, *height)).collect();
    let version =
        |height: &u64| RecordVersion { height: *height, record_id: patient.0.to_vec().into(), ..Default::default() };
    Happened { events, versions: heights.iter().map(version).collect() }
}

#[test]
fn what_falls_into_the_time_of_a_link_is_told_of_both() {
    let (one, other) = (happened(ONE, &[3, 4, 6, 8]), happened(OTHER, &[4, 5, 7]));
    let told = |from_height, to_height| {
        let link = PatientLink { member: "a.example".into(), from_height, to_height, ..Default::default() };
        let told = between(&link, OTHER, &[&one, &other]);
        let events: Vec<_> = told.events.iter().map(|event| (event.height.0, event.patient)).collect();
        let versions: Vec<_> = told.versions.iter().map(|version| version.height).collect();
        (events, versions, told.to)
    };
    // The block of the link is in it, that of its end is not.
    let expected = vec![(4, ONE), (4, OTHER), (5, OTHER), (6, ONE)];
    assert_eq!(told(4, 7), (expected, vec![4, 4, 5, 6], Some(Height(7))));
    assert_eq!(told(7, 0), (vec![(7, OTHER), (8, ONE)], vec![7, 8], None));
    assert_eq!(told(9, 0), (vec![], vec![], None));
}
