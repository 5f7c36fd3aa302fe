//! Tests of taking documents apart; see also `tests/fhir_import.rs` for real files.
#![allow(clippy::unwrap_used)]

use consilium_proto::pb::Confidentiality;
use proptest::prelude::*;

use super::*;
use crate::fhir::{Subject, Tag};

fn home() -> Home {
    Home::new("a.example", [])
}

fn of(text: &str) -> Split {
    split(&Bytes::copy_from_slice(text.as_bytes()), &home()).unwrap()
}

fn error(text: &str) -> FhirError {
    split(&Bytes::copy_from_slice(text.as_bytes()), &home()).unwrap_err()
}

fn patient(subject: &str) -> Subject {
    Subject::Patient(subject.into())
}

#[test]
fn a_single_resource_keeps_the_whole_file() {
    let text = "\u{feff} {\"resourceType\" : \"Patient\",\r\n \"id\":\"p1\", \"x\": 1.00 }\n\n";
    let split = of(text);
    assert_eq!(split.content, Content::Resource);
    assert_eq!(split.resources[0].raw, text.as_bytes());
    assert_eq!(split.resources[0].subject, patient("a.example/Patient/p1"));
    let line = examine_line(&Bytes::from_static(b"  {\"resourceType\":\"Patient\"}\r"), &home(), 9).unwrap();
    assert_eq!(line.resources[0].raw, &b"{\"resourceType\":\"Patient\"}"[..]);
    assert_eq!(line.resources[0].line, 9);
}

#[test]
fn what_is_not_fhir_is_said_so() {
    for text in ["null", "3.5", "\"text\"", "[1]", "{\"reference\":\"#p1\"}", " true "] {
        assert_eq!(of(text).content, Content::NotFhir, "{text}");
    }
}

#[test]
fn bundle_entries_are_cut_out_exactly() {
    let first = "{ \"resourceType\":\"Patient\" ,\"id\":\"p\",\"identifier\":[{\"system\":\"s\",\"value\":\"v\"}] }";
    let second = "{\"resourceType\":\"Observation\",\"status\":\"final\",\n\"code\":{\"coding\":[{\"system\":\"l\",\"code\":\"1\"}]},\
                  \"subject\":{\"reference\":\"urn:uuid:x\"}, \"valueQuantity\":{\"value\":1.00}}";
    let third = "{\"resourceType\":\"Condition\",\"subject\":{\"reference\":\"Patient?identifier=s|v\"}}";
    let text = format!(
        "{{\"resourceType\":\"Bundle\",\"type\":\"batch\",\n\"entry\":[{{\"fullUrl\":\"urn:uuid:x\",\"resource\":{first}}},\
         {{\"request\":{{\"method\":\"DELETE\"}}}},{{\"resource\":\n{second}}},{{\"resource\":{third}}}]}}"
    );
    let split = of(&text);
    assert_eq!(split.content, Content::Bundle(BundleKind::Batch));
    assert_eq!(split.passed_over.deletions.len(), 1);
    let raws: Vec<&[u8]> = split.resources.iter().map(|r| r.raw.as_ref()).collect();
    assert_eq!(raws, [first.as_bytes(), second.as_bytes(), third.as_bytes()]);
    assert!(split.resources.iter().all(|r| r.subject == patient("a.example/Patient/p")));
    assert_eq!(split.resources.iter().map(|r| r.line).collect::<Vec<_>>(), [2, 3, 4]);
    let code = Tag { name: "code", value: "l|1".into() };
    assert_eq!(split.resources[1].tags, [code]);
}

#[test]
fn all_faults_of_a_bundle_are_told_by_entry() {
    let good = "{\"resourceType\":\"Patient\",\"id\":\"p\"}";
    let text = format!(
        "{{\"resourceType\":\"Bundle\",\"type\":\"searchset\",\"entry\":[{{\"resource\":{good}}},\n\
         {{\"resource\":{{\"resourceType\":\"Observation\",\"status\":\"final\",\"code\":{{\"text\":\"x\"}}}}}},\n\
         {{\"resource\":{{\"resourceType\":\"Patient\",\"id\":\"\"}}}},{{}},\n\
         {{\"search\":{{\"mode\":\"outcome\"}},\"resource\":{{\"resourceType\":\"OperationOutcome\"}}}},\n\
         {{\"resource\":{{\"resourceType\":\"Bundle\",\"entry\":[{{\"resource\":{good}}},{{\"resource\":7}}]}}}}]}}"
    );
    let found = examine(&Bytes::from(text.clone()), &home()).unwrap();
    assert_eq!(found.content, Content::Bundle(BundleKind::Searchset));
    assert_eq!((found.resources.len(), found.entries_refused), (2, 3));
    assert_eq!((found.passed_over.outcomes, found.passed_over.without_resource), (1, 1));
    let mut faults: Vec<_> = found.faults.iter().map(ToString::to_string).collect();
    faults.sort();
    assert_eq!(
        faults,
        [
            "line 2, Bundle.entry[1].Observation: names no patient, which every clinical record must \
             (looked for in subject, performer)",
            "line 3, Bundle.entry[2].Patient.id: is empty",
            "line 5, Bundle.entry[5].Bundle.entry[1].resource: must be an object",
        ]
    );
    assert!(faults.contains(&error(&text).to_string()), "a whole document has a first fault");
}

#[test]
fn faults_are_counted_beyond_those_that_are_told() {
    let entries = vec!["{\"resource\":{\"resourceType\":\"Observation\"}}"; FAULTS_MAX + 7].join(",");
    let text = format!("{{\"resourceType\":\"Bundle\",\"type\":\"batch\",\"entry\":[{entries}]}}");
    let found = examine(&Bytes::from(text), &home()).unwrap();
    assert_eq!((found.faults.len(), found.entries_refused), (FAULTS_MAX, FAULTS_MAX + 7));
}

#[test]
fn bundles_nest_a_little() {
    let mut text = "{\"resourceType\":\"Patient\",\"id\":\"p\"}".to_owned();
    for _ in 0..BUNDLE_DEPTH_MAX {
        text = format!("{{\"resourceType\":\"Bundle\",\"entry\":[{{\"resource\":{text}}}]}}");
    }
    assert_eq!(of(&text).resources.len(), 1);
    text = format!("{{\"resourceType\":\"Bundle\",\"entry\":[{{\"resource\":{text}}}]}}");
    assert_eq!(error(&text).problem, FhirProblem::BundlesTooDeep);
}

#[test]
fn patients_of_every_spelling() {
    let of_subject = |subject: &str, more: &str| {
        let text = format!("{{\"resourceType\":\"Condition\",\"subject\":{subject}{more}}}");
        of(&text).resources.remove(0).subject
    };
    assert_eq!(of_subject(r#"{"reference":"Patient/1"}"#, ""), patient("a.example/Patient/1"));
    assert_eq!(of_subject(r#"{"identifier":{"system":"s","value":"v"}}"#, ""), patient("s|v"));
    let contained = r#","contained":[{"resourceType":"Patient","id":"c","identifier":[{"system":"s","value":"v"}]}]"#;
    assert_eq!(of_subject(r##"{"reference":"#c"}"##, contained), patient("s|v"));
}

#[test]
fn clinical_resources_name_exactly_one_patient() {
    let none =
        r#"{"resourceType":"Observation","status":"final","code":{"text":"x"},"subject":{"reference":"Group/1"}}"#;
    assert!(matches!(error(none).problem, FhirProblem::NoPatient { .. }));
    let two = r#"{"resourceType":"Account","status":"active","subject":[{"reference":"Patient/1"},{"reference":"Patient/2"}]}"#;
    assert_eq!(error(two).problem, FhirProblem::SeveralPatients { paths: vec!["subject"] });
    let itself = of(r#"{"resourceType":"Organization","id":"o"}"#).resources.remove(0);
    assert_eq!(itself.subject, Subject::Itself("a.example/Organization/o".into()));
    let nameless = of(r#"{"resourceType":"Organization","name":"o"}"#).resources.remove(0);
    assert!(nameless.subject.canonical().starts_with("urn:sha256:"));
}

#[test]
fn confidentiality_is_the_highest_label() {
    let of_labels = |labels: &str| {
        let text = format!("{{\"resourceType\":\"Patient\",\"meta\":{{\"security\":{labels}}}}}");
        split(&Bytes::from(text), &home()).map(|s| s.resources[0].confidentiality).map_err(|e| (e.path, e.problem))
    };
    let label = |code: &str| {
        format!("{{\"system\":\"http://terminology.hl7.org/CodeSystem/v3-Confidentiality\",\"code\":\"{code}\"}}")
    };
    assert_eq!(of_labels(&format!("[{},{}]", label("V"), label("L"))), Ok(Confidentiality::VeryRestricted));
    assert_eq!(of_labels(&format!("[{}]", label("L"))), Ok(Confidentiality::Low));
    assert_eq!(of_labels(r#"[{"system":"http://other","code":"V"}]"#), Ok(Confidentiality::Normal));
    let sensitive = r#"[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"HIV"}]"#;
    assert_eq!(of_labels(sensitive), Ok(Confidentiality::Restricted));
    let refused = Err(("Patient.meta.security".into(), FhirProblem::Confidentiality));
    assert_eq!(of_labels(&format!("[{}]", label("HIV"))), refused);
}

#[test]
fn errors_name_place_and_never_the_value() {
    let text = "{\"resourceType\":\"Bundle\",\"entry\":[\n{\"resource\":\n{\"resourceType\":\"Patient\",\"id\":\"Bob Smith\"}}]}";
    let e = error(text);
    assert_eq!(e.to_string(), "line 3, Bundle.entry[0].Patient.id: is not an id of FHIR");
    assert_eq!(
        error("{\"resourceType\":\"Bob\"}").to_string(),
        "line 1, resourceType: is not a resource type of FHIR R4"
    );
    assert_eq!(error("{\"resourceType\":\"Bundle\",\"entry\":\"Bob\"}").problem, FhirProblem::Malformed { column: 38 });
    let debug = format!("{:?}", of("{\"resourceType\":\"Patient\",\"id\":\"bob-smith\"}"));
    assert!(!debug.contains("bob"), "{debug}");
}

#[test]
fn size_is_bounded_exactly() {
    let max = RESOURCE_BYTES_MAX;
    let frame = "{\"resourceType\":\"Patient\",\"x\":\"\"}".len();
    let sized = |n: usize| format!("{{\"resourceType\":\"Patient\",\"x\":\"{}\"}}", "a".repeat(n - frame));
    assert_eq!(of(&sized(max)).resources[0].raw.len(), max);
    assert_eq!(error(&sized(max + 1)).problem, FhirProblem::TooLarge { bytes: max + 1, bytes_max: max });
}

#[test]
fn tags_are_bounded_and_distinct() {
    let codings: Vec<String> = (0..50).map(|i| format!("{{\"system\":\"s\",\"code\":\"{}\"}}", i % 45)).collect();
    let text = format!(
        "{{\"resourceType\":\"Observation\",\"id\":\"o\",\"status\":\"final\",\"subject\":{{\"reference\":\"Patient/1\"}},\
         \"code\":{{\"coding\":[{}]}}}}",
        codings.join(",")
    );
    let tags = of(&text).resources.remove(0).tags;
    assert_eq!(tags.len(), 32);
    assert_eq!(tags[0], Tag { name: "id", value: "Observation/o".into() });
    assert!(tags.windows(2).all(|pair| pair[0] != pair[1]));
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[A-Za-z/:#|?=. -]{0,12}".prop_map(Value::from),
        prop_oneof![Just("Patient"), Just("Bundle"), Just("Observation"), Just("Patient/1"), Just("#x")]
            .prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("resourceType"),
        Just("id"),
        Just("subject"),
        Just("patient"),
        Just("reference"),
        Just("identifier"),
        Just("entry"),
        Just("resource"),
        Just("meta"),
        Just("security"),
        Just("code"),
        Just("coding"),
        Just("contained"),
        Just("system"),
        Just("value"),
        Just("search"),
        Just("mode"),
        Just("fullUrl"),
        Just("context"),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn hostile_documents_never_panic(value in json(), kind in prop_oneof![Just("Bundle"), Just("Patient"), Just("Provenance")]) {
        let mut value = value;
        if let Value::Object(map) = &mut value {
            map.insert("resourceType".into(), kind.into());
        }
        let bytes = Bytes::from(value.to_string());
        if let Ok(split) = split(&bytes, &home()) {
            for r in split.resources {
                prop_assert!(bytes.windows(r.raw.len()).any(|w| w == r.raw));
            }
        }
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = split(&Bytes::from(bytes), &home());
    }

    #[test]
    fn damaged_documents_never_panic(at in 0usize..160, byte in any::<u8>()) {
        let mut bytes = br#"{"resourceType":"Bundle","entry":[{"fullUrl":"urn:uuid:a","resource":{"resourceType":"Patient","id":"a","identifier":[{"system":"s","value":"v"}]}}]}"#.to_vec();
        let len = bytes.len();
        bytes[at % len] = byte;
        let _ = split(&Bytes::from(bytes), &home());
    }
}
