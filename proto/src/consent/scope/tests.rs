#![allow(clippy::unwrap_used)]

use super::*;
use crate::access::RecordFacts;
use crate::consent::Custodians;
use crate::ids::{RecordId, TimeMs};
use crate::pb::{ConsentState, CustodyKeeper, PatientRelation, PatientState, PurposeOfUse};

const MOTHER: &str = "spiffe://a.example/patient/mother";

fn scope(kinds: &[&str], ceiling: Confidentiality, purposes: &[PurposeOfUse]) -> RepresentativeScope {
    RepresentativeScope {
        kinds: kinds.iter().map(ToString::to_string).collect(),
        ceiling: ceiling.into(),
        purposes: purposes.iter().map(|purpose| *purpose as i32).collect(),
    }
}

fn accepted(member: &str, height: u64, scope: Option<RepresentativeScope>) -> PatientAcceptance {
    PatientAcceptance {
        member: member.into(),
        identity: MOTHER.into(),
        relation: PatientRelation::Guardian.into(),
        may_read: true,
        may_consent: true,
        height,
        scope,
        ..PatientAcceptance::default()
    }
}

#[test]
fn a_scope_that_limits_nothing_or_says_what_there_is_not_is_refused() {
    let unlimited = Confidentiality::Unspecified;
    assert!(scope(&["Condition"], Confidentiality::Normal, &[PurposeOfUse::Treat]).check().is_ok());
    assert!(scope(&[], unlimited, &[PurposeOfUse::Treat]).check().is_ok());
    let refused = |scope: RepresentativeScope| scope.check().unwrap_err().to_string();
    assert!(refused(scope(&[], unlimited, &[])).contains("leave the scope out"));
    assert!(refused(scope(&["no kind"], unlimited, &[])).contains("kind"));
    assert!(refused(scope(&["Condition"; GRANT_KINDS_MAX + 1], unlimited, &[])).contains("kinds"));
    assert!(refused(RepresentativeScope { ceiling: 99, ..Default::default() }).contains("ceiling"));
    assert!(refused(RepresentativeScope { purposes: vec![99_999], ..Default::default() }).contains("purposes"));
}

#[test]
fn a_representative_reads_and_speaks_of_what_is_in_its_scope() {
    let normal = Confidentiality::Normal;
    let limited = accepted("a.example", 1, Some(scope(&["Condition"], normal, &[PurposeOfUse::Treat])));
    assert!(limited.reads("Condition", normal) && limited.reads("Condition", Confidentiality::Low));
    assert!(!limited.reads("Condition", Confidentiality::Restricted) && !limited.reads("Observation", normal));
    assert!(!limited.reads_all() && !limited.consents_to_all());
    let by_purpose = accepted("a.example", 1, Some(scope(&[], Confidentiality::Unspecified, &[PurposeOfUse::Hresch])));
    assert!(by_purpose.reads_all() && !by_purpose.consents_to_all(), "what it reads a purpose does not limit");
    assert!(accepted("a.example", 1, None).reads_all());
}

#[test]
fn of_several_acceptances_any_may_reach_what_is_asked() {
    let keepers = [CustodyKeeper { member: "b.example".into(), since_height: 10 }];
    let custodians = Custodians::new("a.example", &keepers);
    let consent = ConsentState { author: MOTHER.into(), signed_ms: 5, height: 5, ..ConsentState::default() };
    let reach = |acceptances: Vec<PatientAcceptance>| {
        custodians.reach(&consent, &PatientState { acceptances, ..PatientState::default() })
    };
    let unlimited = Confidentiality::Unspecified;
    let [conditions, treatment] =
        [scope(&["Condition"], unlimited, &[]), scope(&[], unlimited, &[PurposeOfUse::Treat])];
    let of_own = |scope: &RepresentativeScope| accepted("a.example", 1, Some(scope.clone()));
    let of_keeper = |height| accepted("b.example", height, Some(treatment.clone()));
    assert_eq!(reach(vec![accepted("a.example", 1, None)]), Some(Reach::Whole));
    assert_eq!(reach(vec![of_own(&conditions), accepted("b.example", 5, None)]), Some(Reach::Whole));
    assert_eq!(reach(vec![]), None);
    let replaced = reach(vec![of_own(&conditions), of_keeper(11)]);
    assert_eq!(replaced, Some(Reach::Within(vec![treatment.clone()])), "what the successor says counts");
    let both = reach(vec![of_own(&conditions), of_keeper(5)]).unwrap();
    let reader = "spiffe://b.example/clinician/c1".parse().unwrap();
    let covers = |kind, purpose| {
        let record = RecordFacts {
            id: RecordId([1; 16]),
            kind,
            confidentiality: Confidentiality::Normal,
            custodian: "a.example",
            author: "",
            tags: &[],
            restricted: false,
        };
        both.covers(&Asked { reader: &reader, purpose, project: None, time: TimeMs(1), record: &record })
    };
    assert!(covers("Condition", PurposeOfUse::Hmarkt) && covers("Observation", PurposeOfUse::Coc));
    assert!(!covers("Observation", PurposeOfUse::Hmarkt) && !covers("Observation", PurposeOfUse::Btg));
}
