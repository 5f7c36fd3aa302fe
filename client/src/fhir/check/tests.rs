#![allow(clippy::unwrap_used)]
use super::*;
use serde_json::json;

fn error(resource: Value) -> (String, FhirProblem) {
    let kind = resource["resourceType"].as_str().unwrap().to_owned();
    check(resource.as_object().unwrap(), &kind).unwrap_err()
}

#[test]
fn required_elements() {
    let missing = |path: &str| (path.to_owned(), FhirProblem::Missing);
    assert_eq!(error(json!({"resourceType": "Observation", "status": "final"})), missing("code"));
    assert_eq!(
        error(json!({"resourceType": "Immunization", "status": "x", "vaccineCode": {}, "patient": {}})),
        missing("occurrence[x]")
    );
    let by_extension = json!({"resourceType": "Observation", "_status": {"extension": []}, "code": {}});
    assert_eq!(check(by_extension.as_object().unwrap(), "Observation"), Ok(()));
}

#[test]
fn ids_and_choices() {
    assert_eq!(error(json!({"resourceType": "Patient", "id": "a b"})), ("id".into(), FhirProblem::Id));
    assert_eq!(error(json!({"resourceType": "Patient", "id": "a".repeat(65)})), ("id".into(), FhirProblem::Id));
    assert_eq!(error(json!({"resourceType": "Patient", "id": 7})).0, "id");
    let two =
        json!({"resourceType": "Observation", "status": "s", "code": {}, "valueString": "a", "valueBoolean": true});
    assert_eq!(error(two), ("value[x]".into(), FhirProblem::SeveralChoices));
}

#[test]
fn invariants_of_r4() {
    let rule = |resource| match error(resource).1 {
        FhirProblem::Invariant { rule, .. } => rule,
        other => panic!("{other:?}"),
    };
    let absent =
        json!({"resourceType": "Observation", "status": "s", "code": {}, "valueString": "a", "dataAbsentReason": {}});
    assert_eq!(rule(absent), "obs-6");
    assert_eq!(rule(json!({"resourceType": "AllergyIntolerance", "patient": {}})), "ait-1");
    assert_eq!(rule(json!({"resourceType": "Consent", "status": "s", "scope": {}, "category": []})), "ppc-1");
    let error = json!({"coding": [{"code": "entered-in-error"}]});
    let condition =
        json!({"resourceType": "Condition", "subject": {}, "verificationStatus": error, "clinicalStatus": {}});
    assert_eq!(rule(condition), "con-5");
}
