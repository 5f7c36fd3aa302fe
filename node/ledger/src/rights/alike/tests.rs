//! The policy is asked again wherever it could answer otherwise, and nowhere else.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;

use consilium_proto::access::PolicyFault;
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::{AccessKind, PurposeOfUse};

use super::*;

/// Permits, and counts how often it is asked. It speaks of records if its text does.
#[derive(Default)]
struct Policy(RefCell<usize>);

impl PolicyRules for Policy {
    fn is_policy(&self, _: &str) -> bool {
        true
    }

    fn names_records(&self, text: Option<&str>) -> bool {
        text == Some("names records")
    }

    fn decide(&self, _: Option<&str>, _: &Facts<'_>) -> Result<AccessGround, PolicyFault> {
        *self.0.borrow_mut() += 1;
        Ok(AccessGround::Consent)
    }
}

const TAGS: [PolicyTag; 1] = [PolicyTag([8; 32])];

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

/// Facts of versions that differ in one thing each.
fn all_different(reader: &SpiffeId) -> [Facts<'_>; 9] {
    let facts = facts(reader);
    let record = |change: fn(&mut RecordFacts<'_>)| {
        let mut record = facts.record;
        change(&mut record);
        Facts { record, ..facts }
    };
    [
        facts,
        record(|r| r.kind = "Condition"),
        record(|r| r.confidentiality = Confidentiality::Restricted),
        record(|r| r.custodian = "b.example"),
        record(|r| r.author = "spiffe://a.example/service/lab"),
        record(|r| r.tags = &TAGS),
        record(|r| r.restricted = true),
        Facts { accepted_as: Some(PatientRelation::Proxy), ..facts },
        Facts { consent: Said::Permits { by_name: true }, ..facts },
    ]
}

#[test]
fn what_differs_in_anything_but_its_name_is_asked_about() {
    let (policy, reader) = (Policy::default(), "spiffe://b.example/clinician/c1".parse().unwrap());
    let mut answers = Answers::of(&policy, None);
    let forbidden = Facts { emergency_forbidden: true, ..facts(&reader) };
    let all = all_different(&reader).into_iter().chain([forbidden]);
    for _ in 0..2 {
        for facts in all.clone() {
            assert_eq!(answers.decide(&facts), Ok(AccessGround::Consent));
        }
    }
    assert_eq!(*policy.0.borrow(), all.count());
}

#[test]
fn records_are_asked_about_one_by_one_only_where_the_policy_names_some() {
    let reader = "spiffe://b.example/clinician/c1".parse().unwrap();
    for (text, asked) in [(None, 1), (Some("names none"), 1), (Some("names records"), 50)] {
        let policy = Policy::default();
        let mut answers = Answers::of(&policy, text.map(str::to_owned));
        for n in 0..50 {
            let mut facts = facts(&reader);
            facts.record.id = RecordId([n; 16]);
            assert_eq!(answers.decide(&facts), Ok(AccessGround::Consent));
        }
        assert_eq!(*policy.0.borrow(), asked, "{text:?}");
    }
}
