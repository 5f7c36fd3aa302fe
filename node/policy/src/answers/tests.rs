//! What is kept is asked about once more wherever policies could answer otherwise.

#![allow(clippy::unwrap_used)]

use consilium_proto::access::{Facts, RecordFacts};
use consilium_proto::consent::Said;
use consilium_proto::ids::RecordId;
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::{AccessGround as Ground, AccessKind, Confidentiality, PatientRelation, PurposeOfUse};

use super::*;
use crate::{DEFAULT_POLICY, Policies};

fn facts(reader: &SpiffeId) -> Facts<'_> {
    Facts {
        reader,
        overdue_reviews: 0,
        kind: AccessKind::Read,
        purpose: PurposeOfUse::Treat,
        record: RecordFacts {
            id: RecordId([1; 16]),
            kind: "Observation",
            confidentiality: Confidentiality::Normal,
            custodian: "a.example",
            author: "spiffe://a.example/service/ehr",
            tags: &[],
            restricted: false,
        },
        accepted_as: None,
        under_care: false,
        consent: Said::Permits { by_name: false },
        emergency: false,
        emergency_forbidden: false,
    }
}

fn clinician(n: usize) -> SpiffeId {
    format!("spiffe://b.example/clinician/c{n}").parse().unwrap()
}

fn kept(policies: &Policies) -> usize {
    policies.answers().0.lock().unwrap().len()
}

/// Facts that differ in one thing each, by which a policy may decide.
fn all_different(reader: &SpiffeId) -> Vec<Facts<'_>> {
    let facts = facts(reader);
    let record = |change: fn(&mut RecordFacts<'_>)| {
        let mut record = facts.record;
        change(&mut record);
        Facts { record, ..facts }
    };
    vec![
        facts,
        record(|r| r.kind = "Condition"),
        record(|r| r.confidentiality = Confidentiality::Restricted),
        record(|r| r.custodian = "c.example"),
        record(|r| r.custodian = "b.example"),
        record(|r| r.author = "spiffe://b.example/clinician/c0"),
        Facts { accepted_as: Some(PatientRelation::Proxy), ..facts },
        Facts { accepted_as: Some(PatientRelation::Self_), ..facts },
        Facts { consent: Said::Permits { by_name: true }, ..facts },
        Facts { consent: Said::BasePermits, ..facts },
        Facts { kind: AccessKind::Export, ..facts },
        Facts { purpose: PurposeOfUse::Hoperat, ..facts },
        Facts { overdue_reviews: 1, ..facts },
        Facts { under_care: true, ..facts },
        Facts { purpose: PurposeOfUse::Btg, emergency: true, ..facts },
    ]
}

#[test]
fn everything_that_a_policy_may_decide_by_is_asked_about_once() {
    let (reader, service) = (clinician(0), "spiffe://b.example/service/lab".parse().unwrap());
    let policies = Policies::compile(DEFAULT_POLICY).unwrap();
    let all = || all_different(&reader).into_iter().chain([facts(&service)]);
    for _ in 0..2 {
        for facts in all() {
            assert_eq!(policies.decide_again(&facts), policies.decide(&facts), "{facts:?}");
        }
    }
    assert_eq!(kept(&policies), all().count());
}

#[test]
fn names_are_asked_about_only_where_policies_name_some() {
    let forbid = |what: &str| format!("{DEFAULT_POLICY} @id(\"z\") forbid ({what});");
    let record = format!("principal, action, resource == Record::\"{}\"", RecordId([7; 16]));
    let identity = "principal == Identity::\"spiffe://b.example/clinician/c7\", action, resource";
    // Who names something, and how many of ten records and ten readers have an answer of their own.
    for (text, answers, denied) in [
        (DEFAULT_POLICY.to_owned(), 1, 0),
        (forbid(&record), 10, 10),
        (forbid(identity), 10, 10),
        (format!("{} @id(\"y\") forbid ({identity});", forbid(&record)), 100, 19),
    ] {
        let policies = Policies::compile(&text).unwrap();
        let mut forbidden = 0;
        for reader in (0..10).map(clinician) {
            for id in (0..10).map(|n| RecordId([n; 16])) {
                let facts = facts(&reader);
                let facts = Facts { record: RecordFacts { id, ..facts.record }, ..facts };
                let answer = policies.decide_again(&facts).unwrap();
                assert_eq!(Ok(answer), policies.decide(&facts));
                forbidden += usize::from(answer == Ground::Policy);
            }
        }
        assert_eq!((kept(&policies), forbidden), (answers, denied), "{text}");
    }
}

#[test]
fn who_asks_much_that_is_different_fills_no_memory() {
    let policies = Policies::compile(DEFAULT_POLICY).unwrap();
    let reader = clinician(0);
    for overdue_reviews in 0..=KEPT_MAX as u64 {
        policies.answers().keep(question(&Facts { overdue_reviews, ..facts(&reader) }), Answer::Deny);
    }
    assert_eq!(kept(&policies), 1);
}

fn question(facts: &Facts<'_>) -> Question {
    Question::of(facts, Ground::Consent).unwrap()
}
