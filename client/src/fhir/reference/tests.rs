#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

const UUID: &str = "2be9b668-847a-4437-b33a-bdc38c665e08";

fn canonical(text: &str) -> String {
    Reference::new(text).canonical("a.example")
}

#[test]
fn spellings_of_one_patient_agree() {
    let expected = format!("urn:uuid:{UUID}");
    for text in [
        format!("Patient/{UUID}"),
        format!("Patient/{}", UUID.to_ascii_uppercase()),
        format!("urn:uuid:{UUID}"),
        format!("https://ehr.a.example/fhir/Patient/{UUID}/_history/3"),
        format!("b.example/Patient/{UUID}"),
    ] {
        assert_eq!(canonical(&text), expected, "{text}");
    }
}

#[test]
fn ids_that_are_not_unique_belong_to_a_member() {
    assert_eq!(canonical("Patient/123"), "a.example/Patient/123");
    assert_eq!(canonical("Patient/123/_history/9"), "a.example/Patient/123");
    assert_eq!(canonical("b.example/Patient/123"), "b.example/Patient/123");
    assert_eq!(canonical("https://e.example/r4/Patient/123"), "https://e.example/r4/Patient/123");
    assert_eq!(canonical("urn:oid:1.2.3"), "urn:oid:1.2.3");
}

#[test]
fn identifiers_stay_as_they_are() {
    assert_eq!(canonical("http://mrn.example|12/3"), "http://mrn.example|12/3");
    assert_eq!(canonical("Patient?identifier=http://mrn.example|123"), "http://mrn.example|123");
    assert_eq!(canonical("Patient?identifier=http://mrn.example%7C123"), "http://mrn.example|123");
    assert_eq!(canonical("Patient?name=x"), "Patient?name=x");
}

#[test]
fn kinds() {
    assert_eq!(Reference::new("Group/1").kind(), Some("Group"));
    assert_eq!(Reference::new("Practitioner?identifier=a|b").kind(), Some("Practitioner"));
    assert_eq!(Reference::new("urn:uuid:x").kind(), None);
    assert_eq!(Reference::new("nonsense/1").kind(), None);
}

#[test]
fn a_bundle_resolves_urls_and_identifiers() {
    let patient = serde_json::json!({
        "resourceType": "Patient", "id": "7", "identifier": [{"system": "s", "value": "v"}]
    });
    let mut scope = Scope::default();
    scope.add(Some("urn:uuid:abc"), &patient);
    assert_eq!(scope.resolve("urn:uuid:abc"), "Patient/7");
    assert_eq!(scope.resolve("Patient?identifier=s|v"), "Patient/7");
    assert_eq!(scope.resolve("Practitioner?identifier=s|v"), "Practitioner?identifier=s|v");
    assert_eq!(scope.resolve("urn:uuid:other"), "urn:uuid:other");
}

proptest! {
    #[test]
    fn canonical_is_a_fixed_point(text in "[A-Za-z0-9:/?=|%#._-]{0,60}") {
        let once = canonical(&text);
        // A member-qualified form and every other one must not change again,
        // or a person could not type back what is stored.
        if !text.contains("/_history/") && !text.contains('?') {
            prop_assert_eq!(canonical(&once), once.clone());
        }
    }

    #[test]
    fn never_panics(text in ".{0,100}") {
        let _ = canonical(&text);
        let _ = Reference::new(&text).kind();
    }
}
