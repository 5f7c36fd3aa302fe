//! Each element of the table is read where it stands; what is made of it is in
//! [`crate::fhir::extract`].
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;
use crate::fhir::extract::{Reading, subject};
use crate::fhir::reference::{Place, Scope};
use crate::fhir::{FhirProblem, Home, Subject, is_resource_type};

fn about(resource: &Value) -> Result<Subject, FhirProblem> {
    let (kind, home) = (resource["resourceType"].as_str().unwrap(), Home::new("a.example", []));
    let place = Place::of(None, kind, resource, || "urn:sha256:00".into(), &home);
    let reading = Reading { scope: &Scope::default(), place: &place, home: &home };
    subject(resource, kind, &reading).map_err(|(_, problem)| problem)
}

/// A resource that has `references` at `path`, each in an item of its own of the outermost list.
fn with(kind: &str, path: &str, references: &[Value]) -> Value {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let nested = |reference: &Value| {
        let names = rest.split('.').filter(|name| !name.is_empty()).rev();
        names.fold(reference.clone(), |inner, name| json!({ name: inner }))
    };
    let items: Vec<Value> = references.iter().map(nested).collect();
    json!({ "resourceType": kind, first: items })
}

fn to(text: &str) -> Value {
    json!({ "reference": text })
}

const ONE: &str = "a.example/Patient/1";

#[test]
fn the_table_is_ascending_and_of_known_types() {
    assert!(ELEMENTS.windows(2).all(|pair| (pair[0].kind, pair[0].path) < (pair[1].kind, pair[1].path)));
    assert!(ELEMENTS.iter().all(|element| is_resource_type(element.kind)));
    assert!(ALSO_NEED.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(ALSO_NEED.iter().chain(&SPANNING).all(|kind| !elements_of(kind).is_empty()));
    assert_eq!(elements_of("Organization"), []);
    assert_eq!(elements_of("Account").len(), 1);
    assert_eq!(elements_of("VisionPrescription").len(), 1);
}

#[test]
fn a_patient_is_found_in_each_element() {
    for element in &ELEMENTS {
        let found = about(&with(element.kind, element.path, &[to("Patient/1")]));
        assert_eq!(found, Ok(Subject::Patient(ONE.into())), "{} {}", element.kind, element.path);
        let typed = json!({ "reference": "urn:uuid:1", "type": "http://hl7.org/fhir/StructureDefinition/Patient" });
        let found = about(&with(element.kind, element.path, &[typed]));
        assert_eq!(found, Ok(Subject::Patient("urn:uuid:1".into())), "{} {}", element.kind, element.path);
        let named = json!({ "identifier": { "system": "s", "value": "v" }, "type": "Patient" });
        let found = about(&with(element.kind, element.path, &[named]));
        assert_eq!(found, Ok(Subject::Patient("s|v".into())), "{} {}", element.kind, element.path);
    }
}

#[test]
fn two_patients_are_refused_unless_that_is_the_nature_of_the_type() {
    for element in &ELEMENTS {
        let found = about(&with(element.kind, element.path, &[to("Patient/1"), to("Patient/2")]));
        match found {
            Ok(Subject::Itself(_)) => assert!(may_span(element.kind), "{}", element.kind),
            Err(FhirProblem::SeveralPatients { paths }) => assert_eq!(paths, [element.path], "{}", element.kind),
            other => panic!("{} {}: {other:?}", element.kind, element.path),
        }
        // One patient in two spellings is one.
        let found = about(&with(element.kind, element.path, &[to("Patient/1"), to("/Patient/1/_history/2")]));
        assert_eq!(found.unwrap().canonical(), ONE, "{}", element.kind);
    }
}

#[test]
fn others_are_no_patients() {
    for element in &ELEMENTS {
        let stranger = to("Practitioner/1");
        let found = about(&with(element.kind, element.path, std::slice::from_ref(&stranger)));
        match needs_patient(element.kind) {
            true => assert!(matches!(found, Err(FhirProblem::NoPatient { .. })), "{}", element.kind),
            false => assert!(matches!(found, Ok(Subject::Itself(_))), "{}", element.kind),
        }
        // Of what leads nowhere it is known only by where it stands.
        let found = about(&with(element.kind, element.path, &[to("urn:uuid:1")]));
        let is_patient = found == Ok(Subject::Patient("urn:uuid:1".into()));
        assert_eq!(is_patient, element.says_patient(), "{} {}", element.kind, element.path);
        let contradicts = json!({ "reference": "Patient/1", "type": "Practitioner" });
        let found = about(&with(element.kind, element.path, &[contradicts]));
        assert_eq!(found, Err(FhirProblem::OtherType), "{} {}", element.kind, element.path);
    }
}

#[test]
fn who_took_part_counts_only_where_the_subject_is_no_patient() {
    for element in ELEMENTS.iter().filter(|element| element.level == Level::Other) {
        let Some(subject) = elements_of(element.kind).iter().find(|other| other.level == Level::Subject) else {
            continue;
        };
        let mut resource = with(element.kind, element.path, &[to("Patient/2")]);
        resource[subject.path.split('.').next().unwrap()] =
            with(element.kind, subject.path, &[to("Patient/1")])[subject.path.split('.').next().unwrap()].clone();
        assert_eq!(about(&resource), Ok(Subject::Patient(ONE.into())), "{} {}", element.kind, element.path);
    }
    let group = json!({"resourceType": "Observation", "subject": to("Group/1"), "performer": [to("Patient/1")]});
    assert_eq!(about(&group), Ok(Subject::Patient(ONE.into())));
}

#[test]
fn types_outside_of_the_compartment_name_patients_by_the_usual_elements() {
    assert_eq!(about(&with("Contract", "subject", &[to("Patient/1")])), Ok(Subject::Patient(ONE.into())));
    assert_eq!(about(&with("Device", "patient", &[to("Patient/1")])), Ok(Subject::Patient(ONE.into())));
    assert!(matches!(about(&json!({"resourceType": "Device"})), Ok(Subject::Itself(_))));
}

#[test]
fn what_was_looked_for_is_said() {
    let error = about(&json!({"resourceType": "Observation"})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "names no patient, which every clinical record must (looked for in subject, performer)"
    );
    let two = with("Appointment", "participant.actor", &[to("Patient/1"), to("Patient/2")]);
    assert_eq!(
        about(&two).unwrap_err().to_string(),
        "names more than one patient in participant.actor; a record is about exactly one"
    );
}
