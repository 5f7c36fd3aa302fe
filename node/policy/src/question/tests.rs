#![allow(clippy::unwrap_used)]

use consilium_proto::access::RecordFacts;
use consilium_proto::ids::RecordId;
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::{AccessKind, PurposeOfUse};

use super::*;

fn facts(reader: &SpiffeId) -> Facts<'_> {
    Facts {
        reader,
        overdue_reviews: 2,
        kind: AccessKind::Export,
        purpose: PurposeOfUse::Coc,
        record: RecordFacts {
            id: RecordId([0xab; 16]),
            kind: "Observation",
            confidentiality: Confidentiality::Restricted,
            custodian: "st-mary.example",
            author: "spiffe://st-mary.example/service/ehr",
            tags: &[],
            restricted: false,
        },
        accepted_as: None,
        under_care: true,
        consent: Said::Permits { by_name: true },
        emergency: false,
        emergency_forbidden: false,
    }
}

fn reader() -> SpiffeId {
    "spiffe://lakeside.example/clinician/c-4711".parse().unwrap()
}

#[test]
fn every_fact_is_told() {
    let reader = reader();
    let facts = facts(&reader);
    let request = Question::of(&facts, Ground::Consent).unwrap().request().unwrap();
    let names = [request.principal(), request.action(), request.resource()].map(|name| name.unwrap().to_string());
    let expected = [
        "Identity::\"spiffe://lakeside.example/clinician/c-4711\"",
        "Action::\"export\"",
        "Record::\"abababababababababababababababab\"",
    ];
    assert_eq!(names, expected);
    let told = |key: &str| request.context().unwrap().get(key).unwrap().to_string();
    assert_eq!(told("purpose"), "Purpose::\"COC\"");
    assert_eq!(told("ground"), "Ground::\"consent\"");
    assert_eq!(told("emergency"), "false");
    assert_eq!(told("consent"), r#"{"effect": Effect::"permit", "namesReader": true}"#);
    assert_eq!(told("reader"), r#"{"member": "lakeside.example", "overdueReviews": 2, "role": Role::"clinician"}"#);
    assert_eq!(told("record"), r#"{"confidentiality": 5, "custodian": "st-mary.example", "kind": "Observation"}"#);
    let relation =
        r#"{"author": false, "authorMember": false, "patient": false, "representative": false, "underCare": true}"#;
    assert_eq!(told("relation"), relation);
}

#[test]
fn every_question_keeps_to_the_schema() {
    let reader = reader();
    let schema = LANGUAGE.validator.schema();
    for kind in [AccessKind::Read, AccessKind::Query, AccessKind::History, AccessKind::Export] {
        for consent in [Said::Nothing, Said::BaseDenies, Said::RuleDenies, Said::Permits { by_name: false }] {
            for accepted_as in [None, Some(PatientRelation::Self_), Some(PatientRelation::Proxy)] {
                let facts = Facts { kind, consent, accepted_as, overdue_reviews: u64::MAX, ..facts(&reader) };
                let request = Question::of(&facts, Ground::Custodian).unwrap().request().unwrap();
                let context = request.context().unwrap();
                context.validate(schema, request.action().unwrap()).unwrap();
            }
        }
    }
}

#[test]
fn what_is_not_known_is_not_asked() {
    let reader = reader();
    let known = facts(&reader);
    assert!(Question::of(&known, Ground::Consent).is_some());
    let record = RecordFacts { confidentiality: Confidentiality::Unspecified, ..known.record };
    for unknown in [
        Facts { kind: AccessKind::Unspecified, ..known },
        Facts { purpose: PurposeOfUse::Unspecified, ..known },
        Facts { record, ..known },
    ] {
        assert!(Question::of(&unknown, Ground::Consent).is_none());
    }
    assert!(Question::of(&known, Ground::Each).is_none());
    let auditor: SpiffeId = "spiffe://lakeside.example/auditor/a".parse().unwrap();
    assert!(Question::of(&Facts { reader: &auditor, ..known }, Ground::Consent).is_none());
}
