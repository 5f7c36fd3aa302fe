#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn times_are_parsed() {
    assert_eq!(parse_time("1970-01-01T00:00:01.5Z"), Ok(1_500));
    assert_eq!(parse_time("1970-01-01T01:00:00+01:00"), Ok(0));
    assert!(parse_time("1969-12-31T23:59:59Z").is_err());
    assert!(parse_time("yesterday").is_err());
}

#[test]
fn descriptions_say_nothing_of_contents_and_escape_names() {
    let record = pb::RecordVersion { kind: "a\u{1b}[2J".into(), retraction: true, ..Default::default() };
    assert!(table(std::slice::from_ref(&record)).contains("a\\u{1b}[2J (in error)"));
}

#[test]
fn scripts_get_records() {
    let record = || pb::RecordVersion {
        record_id: vec![1; 16].into(),
        version: 2,
        patient: vec![2; 16].into(),
        kind: "Observation".into(),
        author: "spiffe://a.example/service/ehr".into(),
        confidentiality: pb::Confidentiality::Normal.into(),
        payload_sha256: vec![3; 32].into(),
        payload_size: 100,
        wraps: vec![pb::KeyWrapRef { recipient_key_id: vec![5; 32].into(), wrap_sha256: vec![6; 32].into() }],
        policy_tags: Vec::new(),
        retraction_reason: 0,
        transaction_id: vec![7; 32].into(),
        height: 9,
        time_ms: 1_000,
        retraction: false,
        previous_sha256: vec![8; 32].into(),
        descriptor_sha256: vec![4; 32].into(),
    };
    json::snapshot::check("records", &Many(vec![record()]));
    let content = Content::Document("{}".into());
    json::snapshot::check("record-decrypted", &OpenedView { record: record(), content });
}

#[test]
fn a_document_that_is_no_text_is_hexadecimal() {
    let view = |content| OpenedView { record: pb::RecordVersion::default(), content }.text();
    assert!(view(Content::of(&[0xff])).ends_with("\nff"));
    assert!(view(Content::of(b"a\x07\nb")).ends_with("\na\\u{7}\nb"));
    assert!(view(Content::NotOpened("no key".into())).ends_with("\n(not opened: no key)"));
}

#[test]
fn a_kind_that_is_none_is_told_with_the_one_that_was_meant() {
    assert_eq!(parse_kind("Observation").as_deref(), Ok("Observation"));
    for slip in ["observation", "Observations", "Obsrvation"] {
        let told = format!("no resource type of FHIR R4 is called \"{slip}\"; did you mean Observation?");
        assert_eq!(parse_kind(slip), Err(told));
    }
    for odd in ["", "xyz", "x-scan"] {
        assert!(parse_kind(odd).unwrap_err().contains("--other-kind"), "{odd}");
    }
    assert_eq!(parse_other_kind("x-scan").as_deref(), Ok("x-scan"));
    assert!(parse_other_kind("").is_err() && parse_other_kind("a b").is_err());
}

#[test]
fn a_tag_has_a_known_name_and_a_value_which_is_not_repeated() {
    assert_eq!(parse_tag("code=http://loinc.org|718-7"), Ok(("code", "http://loinc.org|718-7")));
    for (bad, told) in [
        ("4711", "is not NAME=VALUE"),
        ("patient=4711", "none of id, encounter, category, code and identifier"),
        ("Code=4711", "none of id,"),
        ("code=", "has no value"),
    ] {
        let error = parse_tag(bad).unwrap_err();
        assert!(error.contains(told) && !error.contains("4711"), "{error}");
    }
}
