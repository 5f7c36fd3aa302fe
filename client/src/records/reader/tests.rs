#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn only_what_was_asked_for_matches() {
    let version = pb::RecordVersion {
        patient: vec![4; 16].into(),
        kind: "Observation".into(),
        author: "spiffe://c.example/service/ehr".into(),
        time_ms: 1_000,
        ..Default::default()
    };
    // Who wrote this version keeps the records of who wrote the first one.
    let (newest, member) = (2, "a.example".to_owned());
    let record = Shown { version, newest, retracted: false, disagreements: Vec::new(), member };
    let all = QueryFilter {
        patient: Some(PatientPseudonym([4; 16])),
        kind: Some("Observation".into()),
        author: Some("spiffe://c.example/service/ehr".into()),
        author_member: Some("a.example".into()),
        from_ms: Some(1_000),
        to_ms: Some(1_001),
        tag: Some(SearchTag([5; 16])),
    };
    let tags = [SearchTag([5; 16])];
    assert!(all.matches(&record, &tags) && QueryFilter::default().matches(&record, &[]));
    let others = [
        QueryFilter { patient: Some(PatientPseudonym([5; 16])), ..QueryFilter::default() },
        QueryFilter { kind: Some("Condition".into()), ..QueryFilter::default() },
        QueryFilter { author: Some("spiffe://c.example/service/lab".into()), ..QueryFilter::default() },
        QueryFilter { author_member: Some("c.example".into()), ..QueryFilter::default() },
        QueryFilter { from_ms: Some(1_001), ..QueryFilter::default() },
        QueryFilter { to_ms: Some(1_000), ..QueryFilter::default() },
        QueryFilter { tag: Some(SearchTag([4; 16])), ..QueryFilter::default() },
    ];
    assert!(others.iter().all(|filter| !filter.matches(&record, &tags)));
    assert!(!all.matches(&record, &[]));
}

#[test]
fn tags_are_those_of_the_descriptor_that_the_version_commits_to() {
    let made = Descriptor::new([SearchTag([1; 16])]).unwrap().unwrap();
    let record = pb::RecordVersion { descriptor_sha256: made.hash().to_bytes(), ..Default::default() };
    assert_eq!(tags_of(&record, &made.encode()).unwrap(), [SearchTag([1; 16])]);
    let other = Descriptor::new([SearchTag([1; 16])]).unwrap().unwrap();
    assert!(matches!(tags_of(&record, &other.encode()), Err(ClientError::Verification(_))));
    assert!(matches!(tags_of(&record, &[]), Err(ClientError::Usage(_))));
    assert_eq!(tags_of(&pb::RecordVersion::default(), b"whatever").unwrap(), []);
}

#[test]
fn conditions_that_nothing_can_meet_are_wrong_usage() {
    let good = QueryFilter { from_ms: Some(0), to_ms: Some(1), kind: Some("x-scan".into()), ..QueryFilter::default() };
    assert_eq!((good.check(), QueryFilter::default().check()), (Ok(()), Ok(())));
    for (bad, told) in [
        (QueryFilter { kind: Some(String::new()), ..QueryFilter::default() }, "kind"),
        (QueryFilter { kind: Some("a b".into()), ..QueryFilter::default() }, "kind"),
        (QueryFilter { author: Some(String::new()), ..QueryFilter::default() }, "author"),
        (QueryFilter { author_member: Some(String::new()), ..QueryFilter::default() }, "member"),
        (QueryFilter { to_ms: Some(0), ..QueryFilter::default() }, "1970"),
        (QueryFilter { from_ms: Some(2_000), to_ms: Some(1_000), ..QueryFilter::default() }, "1970-01-01T00:00:02Z"),
        (QueryFilter { from_ms: Some(1_000), to_ms: Some(1_000), ..QueryFilter::default() }, "no time"),
    ] {
        let Err(ClientError::Usage(error)) = bad.check() else { panic!("{bad:?}") };
        assert!(error.contains(told), "{error}");
    }
}
