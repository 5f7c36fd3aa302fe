#![allow(clippy::unwrap_used)]
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

mod corpus;

/// A resource without a finding, with something of most rules in it.
pub(super) fn good() -> Value {
    json!({
        "resourceType": "Observation", "id": "a-1",
        "meta": { "lastUpdated": "2024-02-29T10:00:00.5+01:00", "profile": ["http://a.example/P|1"] },
        "text": { "status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>Body <b>weight</b></p><br/></div>" },
        "contained": [{ "resourceType": "Practitioner", "id": "p1", "birthDate": "1970-02" }],
        "status": "final",
        "code": { "coding": [{ "system": "http://loinc.org", "code": "29463-7" }], "text": "Weight" },
        "subject": { "reference": "Patient/1", "type": "Patient" },
        "performer": [{ "reference": "#p1" }],
        "effectivePeriod": { "start": "2024-01-01", "end": "2024-01-02" },
        "valueQuantity": { "value": 1.50, "comparator": "<", "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg" },
        "component": [{ "code": { "text": "part" }, "valueString": "x", "referenceRange": [{ "text": "low" }] }],
        "note": [{ "time": "2024-01-01T00:00:00Z", "text": "fine" }]
    })
}

fn found(value: &Value) -> Vec<(String, Problem)> {
    let report = Validator::default().examine(value.to_string().as_bytes(), 1);
    report.findings.into_iter().map(|f| (f.path, f.problem)).collect()
}

/// The good resource with one place changed: `null` takes it out.
fn changed(pointer: &str, value: Value) -> Vec<(String, Problem)> {
    let mut resource = good();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match resource.pointer_mut(parent).unwrap() {
        Value::Object(object) if value.is_null() => drop(object.remove(name)),
        Value::Object(object) => drop(object.insert(name.to_owned(), value)),
        Value::Array(list) => list[name.parse::<usize>().unwrap()] = value,
        _ => panic!("{pointer} leads nowhere"),
    }
    found(&resource)
}

fn one(path: &str, problem: Problem) -> Vec<(String, Problem)> {
    vec![(format!("Observation.{path}"), problem)]
}

fn broken(rule: &str, found: &[(String, Problem)]) -> bool {
    found.iter().any(|(_, problem)| matches!(problem, Problem::Invariant { rule: r, .. } if *r == rule))
}

#[test]
fn a_good_resource_has_no_finding() {
    assert_eq!(found(&good()), []);
}

#[test]
fn tables_are_whole() {
    let tables = tables::tables();
    assert_eq!(tables.counts(), (664, 224), "regenerated tables are reviewed by their counts");
    for name in ["Observation", "Bundle", "Parameters", "VisionPrescription", "EvidenceVariable"] {
        assert!(tables.resource(name).is_some(), "{name}");
    }
    assert!(["DomainResource", "Resource", "HumanName"].iter().all(|name| tables.resource(name).is_none()));
    let known: Vec<&str> = tables.invariants.iter().map(|(key, _)| *key).collect();
    assert_eq!(known.len(), 203);
    for key in rules::KEYS {
        assert!(known.contains(&key), "{key} is no invariant of R4");
    }
}

#[test]
fn elements_cardinalities_and_choices() {
    use Problem as P;
    let text = || json!("x");
    assert_eq!(changed("/statuss", text()), one("statuss", P::Unknown { near: Some("status") }));
    assert_eq!(changed("/zzzzzz", text()), one("zzzzzz", P::Unknown { near: None }));
    assert_eq!(changed("/code/codings", json!([{}])), one("code.codings", P::Unknown { near: Some("coding") }));
    assert_eq!(changed("/John Smith", text()), one("?", P::Unknown { near: None }), "a name may be data");
    assert_eq!(changed("/status", Value::Null), one("status", P::Missing));
    assert_eq!(changed("/component/0/code", Value::Null), one("component[0].code", P::Missing));
    assert_eq!(changed("/status", json!(["final"])), one("status", P::Single));
    assert_eq!(changed("/note", json!({ "text": "fine" })), one("note", P::List));
    assert_eq!(changed("/note", json!([])), one("note", P::Empty));
    assert_eq!(changed("/code", json!({})), one("code", P::Empty));
    assert_eq!(changed("/code", json!("x")), one("code", P::Type { expected: "an object" }));
    assert_eq!(changed("/valueString", text()), one("value[x]", P::SeveralChoices { choice: "value[x]" }));
    assert_eq!(changed("/valueAddress", json!({ "city": "x" })), one("valueAddress", P::Unknown { near: None }));
    assert_eq!(found(&json!({ "resourceType": "Nothing" })), [("resourceType".into(), P::UnknownType)]);
    let range = json!([{ "low": { "value": 1, "comparator": "<" } }]);
    assert_eq!(changed("/referenceRange", range), one("referenceRange[0].low.comparator", P::NotAllowed));
}

#[test]
fn primitives_have_their_forms() {
    let wrong = |pointer: &str, path: &str, value: Value, kind: Primitive| {
        assert_eq!(changed(pointer, value), one(path, Problem::Primitive { kind }));
    };
    for id in ["a b", &"a".repeat(65), "a_b"] {
        wrong("/id", "id", json!(id), Primitive::Id);
    }
    for date in ["2023-02-29", "2024-13", "1970-1-1", "0000"] {
        wrong("/contained/0/birthDate", "contained[0].birthDate", json!(date), Primitive::Date);
    }
    for time in ["2024-01-01T10:00:00", "2024-01-01T10:00Z", "2024-01-01T25:00:00Z", "2024-01-01T10:00:00+15:00", "x"] {
        wrong("/note/0/time", "note[0].time", json!(time), Primitive::DateTime);
    }
    wrong("/meta/lastUpdated", "meta.lastUpdated", json!("2024-01-01"), Primitive::Instant);
    wrong("/meta/source", "meta.source", json!("a b"), Primitive::Uri);
    wrong("/language", "language", json!(" en"), Primitive::Code);
    wrong("/valueQuantity/unit", "valueQuantity.unit", json!("a\u{0}"), Primitive::String);
    let number = Problem::Type { expected: "a number" };
    assert_eq!(changed("/valueQuantity/value", json!("1")), one("valueQuantity.value", number));
    let string = Problem::Type { expected: "a string" };
    assert_eq!(changed("/status", json!(1)), one("status", string));
    for (base64, good) in [("YQ==", true), ("YWI", false), ("YW=I", false), ("=", false), ("YWJj\nYWJj", true)] {
        assert_eq!(Primitive::Base64Binary.has_form(&json!(base64)), good, "{base64}");
    }
    assert!(Primitive::Oid.has_form(&json!("urn:oid:1.2.840")) && !Primitive::Oid.has_form(&json!("urn:oid:1.02")));
    assert!(Primitive::Time.has_form(&json!("23:59:60")) && !Primitive::Time.has_form(&json!("24:00:00")));
    assert!(!Primitive::PositiveInt.has_form(&json!(0)) && !Primitive::Integer.has_form(&json!(1.0)));
}

#[test]
fn extensions_stand_beside_primitives() {
    let why = json!({ "extension": [{ "url": "http://a.example/why", "valueCode": "unknown" }] });
    assert_eq!(changed("/_status", why.clone()), []);
    assert_eq!(changed("/_code", why.clone()), one("_code", Problem::Unknown { near: None }));
    let rule = Problem::Invariant { rule: "ele-1", meaning: rules::ELE_1 };
    assert_eq!(changed("/_language", json!({ "id": "x" })), one("_language", rule));
    let mut patient = json!({ "resourceType": "Patient", "name": [{ "given": ["A", null], "_given": [null, why] }] });
    assert_eq!(found(&patient), []);
    patient["name"][0]["_given"] = json!([null]);
    assert_eq!(found(&patient), [("Patient.name[0].given".into(), Problem::Siblings)]);
    patient["name"][0]["_given"] = json!([why, null]);
    assert_eq!(found(&patient), [("Patient.name[0].given[1]".into(), Problem::Null)]);
    let both = json!([{ "url": "http://a.example/x" }]);
    assert!(broken("ext-1", &changed("/extension", both)));
}

#[test]
fn codes_of_required_bindings() {
    let of = |set| Problem::Code { set };
    assert_eq!(changed("/status", json!("finished")), one("status", of("observation-status")));
    assert_eq!(changed("/status", json!("corrected")), [], "a code below another one");
    let comparator = changed("/valueQuantity/comparator", json!("~"));
    assert_eq!(comparator, one("valueQuantity.comparator", of("quantity-comparator")));
    let condition = |status: Value| {
        let subject = json!({ "reference": "Patient/1" });
        found(&json!({ "resourceType": "Condition", "subject": subject, "clinicalStatus": status }))
    };
    let system = "http://terminology.hl7.org/CodeSystem/condition-clinical";
    let path = || "Condition.clinicalStatus".to_owned();
    assert_eq!(condition(json!({ "coding": [{ "system": system, "code": "active" }] })), []);
    let other = json!({ "coding": [{ "system": "http://a.example", "code": "active" }] });
    assert_eq!(condition(other), [(path(), of("condition-clinical"))]);
    let none = condition(json!({ "text": "active" }));
    assert_eq!(none, [(path(), Problem::NoCode { set: "condition-clinical" })]);
    let attachment = |mime: &str| {
        let attachment = json!([{ "contentType": mime, "url": "http://a.example/x" }]);
        found(&json!({ "resourceType": "Patient", "photo": attachment }))
    };
    assert_eq!(attachment("image/png; a=b"), []);
    assert_eq!(attachment("png"), [("Patient.photo[0].contentType".into(), of("mimetypes"))]);
}

#[test]
fn references_and_what_they_may_lead_to() {
    let subject = |reference: Value| changed("/subject", reference);
    let target = Problem::Target { allowed: "Device or Group or Location or Patient".into() };
    assert_eq!(subject(json!({ "reference": "Medication/1" })), one("subject.reference", target.clone()));
    let absolute = json!({ "reference": "https://a.example/fhir/Medication/1/_history/2" });
    assert_eq!(subject(absolute), one("subject.reference", target.clone()));
    assert_eq!(subject(json!({ "reference": "Medication?identifier=a|b" })), one("subject.reference", target.clone()));
    assert_eq!(subject(json!({ "type": "Medication", "display": "x" })), one("subject.type", target));
    assert_eq!(subject(json!({ "reference": "Patient/1", "type": "Group" })), one("subject.type", Problem::TargetType));
    for malformed in ["Patient", "Patient/a b", "patient/1", "x/Patient/1", "Nothing?a=b"] {
        assert_eq!(
            subject(json!({ "reference": malformed })),
            one("subject.reference", Problem::Reference),
            "{malformed}"
        );
    }
    for good in ["urn:uuid:c757873d-ec9a-4326-a141-556f43239520", "http://a.example/x", "Group/1", "Patient?name=a b"] {
        assert_eq!(subject(json!({ "reference": good })), [], "{good}");
    }
    assert!(broken("ref-1", &subject(json!({ "reference": "#p2" }))));
    let entry = |url: &str| json!({ "fullUrl": url, "resource": { "resourceType": "Medication" } });
    let mut observation = good();
    observation["subject"] = json!({ "reference": "urn:uuid:1" });
    let bundle = json!({ "resourceType": "Bundle", "type": "collection", "entry": [entry("urn:uuid:1"), { "resource": observation }] });
    let place = "Bundle.entry[1].resource.subject.reference".to_owned();
    let allowed = "Device or Group or Location or Patient".to_owned();
    assert_eq!(found(&bundle), [(place, Problem::Target { allowed })]);
}

#[test]
fn contained_resources_serve_the_one_around_them() {
    let contained = |resource: Value| changed("/contained/0", resource);
    let practitioner = |more: Value| {
        let mut out = json!({ "resourceType": "Practitioner", "id": "p1" });
        out.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        out
    };
    assert!(broken("dom-2", &contained(practitioner(json!({ "contained": [{ "resourceType": "Basic" }] })))));
    assert!(broken("dom-4", &contained(practitioner(json!({ "meta": { "versionId": "1" } })))));
    assert!(broken("dom-5", &contained(practitioner(json!({ "meta": { "security": [{ "code": "R" }] } })))));
    assert!(broken("dom-3", &changed("/performer", Value::Null)));
    let twice = json!([practitioner(json!({})), practitioner(json!({}))]);
    assert_eq!(changed("/contained", twice), one("contained[1]", Problem::ContainedTwice));
}

#[test]
fn modifier_extensions_are_refused_unless_declared() {
    let url = "http://a.example/not";
    let mut resource = good();
    resource["modifierExtension"] = json!([{ "url": url, "valueBoolean": true }]);
    assert_eq!(found(&resource), one("modifierExtension[0]", Problem::Modifier));
    let validator = Validator { modifier_extensions: [url.to_owned()].into(), ..Validator::default() };
    assert_eq!(validator.examine(resource.to_string().as_bytes(), 1), Report::default());
}

#[test]
fn invariants_of_types() {
    let rule = |rule: &str, pointer: &str, value: Value| assert!(broken(rule, &changed(pointer, value)), "{rule}");
    rule("obs-6", "/dataAbsentReason", json!({ "text": "x" }));
    rule("obs-7", "/component/0/code", good()["code"].clone());
    rule("obs-3", "/referenceRange", json!([{ "age": { "low": { "value": 1 } } }]));
    rule("per-1", "/effectivePeriod/end", json!("2023"));
    rule("qty-3", "/valueQuantity/system", Value::Null);
    for div in
        ["<div><script>x</script></div>", "<div><p>x</div>", "<div onclick=\"x\">x</div>", "<p>x</p>", "<div>x</div>y"]
    {
        rule("txt-1", "/text/div", json!(div));
    }
    rule("txt-2", "/text/div", json!("<div> </div>"));
    let of = |key: &str, resource: Value| assert!(broken(key, &found(&resource)), "{key}");
    let patient = json!({ "reference": "Patient/1" });
    of("ait-1", json!({ "resourceType": "AllergyIntolerance", "patient": patient }));
    of("pat-1", json!({ "resourceType": "Patient", "contact": [{ "gender": "male" }] }));
    of("cpt-2", json!({ "resourceType": "Patient", "telecom": [{ "value": "1" }] }));
    of("att-1", json!({ "resourceType": "Patient", "photo": [{ "data": "YQ==" }] }));
    of("con-4", json!({ "resourceType": "Condition", "subject": patient, "abatementString": "x" }));
    of("org-1", json!({ "resourceType": "Organization", "active": true }));
    let bundle = |type_: &str, entry: Value| json!({ "resourceType": "Bundle", "type": type_, "entry": [entry] });
    of("bdl-3", bundle("transaction", json!({ "resource": good() })));
    of("bdl-5", bundle("collection", json!({ "fullUrl": "urn:uuid:1" })));
    of("bdl-8", bundle("collection", json!({ "fullUrl": "http://a/Observation/1/_history/1", "resource": good() })));
}

#[test]
fn partial_dates_are_compared_as_far_as_they_are_known() {
    let after = |a: &str, b: &str| moment::moment(a).unwrap().is_after(moment::moment(b).unwrap());
    assert!(after("2024-05-02", "2024-05-01") && after("2024-06", "2024-05-01"));
    assert!(!after("2024", "2024-05-01") && !after("2024-05-01T23:00:00Z", "2024-05-01"));
    assert!(after("2024-05-01T10:00:00+01:00", "2024-05-01T09:30:00+01:00"));
    assert!(!after("2024-05-01T10:00:00+01:00", "2024-05-01T09:30:00Z"));
}

#[test]
fn findings_are_counted_placed_and_silent_of_values() {
    let notes: Vec<Value> = (0..150).map(|_| json!({ "secret": 1, "text": "x" })).collect();
    let mut resource = good();
    resource["note"] = json!(notes);
    let report = Validator::default().examine(resource.to_string().as_bytes(), 7);
    assert_eq!((report.findings.len(), report.more, report.count()), (FINDINGS_MAX, 50, 150));
    assert_eq!(report.findings[0].to_string(), "line 7, Observation.note[0].secret: is not an element of FHIR R4 here");
    let text = "{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[\n\n{\"resource\":{\"resourceType\":\"Patient\",\n\"gender\":\"Hush\"}}]}";
    let report = Validator::default().examine(text.as_bytes(), 1);
    assert_eq!(report.findings[0].line, 3);
    assert!(!format!("{report:?}{}", report.findings[0]).contains("Hush"));
}

#[test]
fn the_level_decides() {
    let bad = bytes::Bytes::from_static(b"{\"resourceType\":\"Patient\",\"gender\":\"x\"}");
    let judge = |level| {
        Validator::new(level).judge(&bad, 1, super::super::split(&bad, &crate::fhir::Home::new("a.example", [])))
    };
    let (strict, report) = judge(Validation::Strict);
    assert_eq!(strict.unwrap_err().problem, FhirProblem::NotValid { findings: 1 });
    assert_eq!(report.count(), 1);
    let (warn, report) = judge(Validation::Warn);
    assert_eq!((warn.unwrap().resources.len(), report.count()), (1, 1));
    let (off, report) = judge(Validation::Off);
    assert_eq!((off.unwrap().resources.len(), report.count()), (1, 0));
    let twice = bytes::Bytes::from_static(b"{\"resourceType\":\"Patient\",\"gender\":\"x\",\"gender\":\"x\"}");
    let (split, report) =
        Validator::default().judge(&twice, 1, super::super::split(&twice, &crate::fhir::Home::new("a.example", [])));
    assert_eq!((split.unwrap_err().problem, report.count()), (FhirProblem::DuplicateKey, 0));
    assert_eq!(Validator::default().lenient().level, Validation::Warn);
    assert_eq!(Validator::new(Validation::Off).lenient().level, Validation::Off);
    for level in [Validation::Strict, Validation::Warn, Validation::Off] {
        assert_eq!(level.to_string().parse(), Ok(level));
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let mut resource = good();
        resource["text"]["div"] = json!(text);
        resource["subject"]["reference"] = json!(text);
        resource["note"][0]["time"] = json!(text);
        resource["id"] = json!(text);
        found(&resource);
        found(&json!({ "resourceType": text, text.clone(): text }));
    }

    #[test]
    fn a_mutation_of_a_good_resource_is_found_where_it_is(at in 0usize..1000, how in 0usize..4) {
        let places = corpus::places(&good());
        let (pointer, value) = &places[at % places.len()];
        let mut resource = good();
        let place = resource.pointer_mut(pointer).unwrap();
        *place = match (how, value) {
            (0, _) => json!({ "nonesuch": 1 }),
            (1, Value::Array(list)) => list[0].clone(),
            (1, _) => json!([value]),
            (2, Value::Number(_)) => json!("1"),
            (2, _) => json!(17),
            (_, _) => json!([]),
        };
        let found = found(&resource);
        let path = corpus::rendered(pointer);
        prop_assert!(found.iter().any(|(p, _)| p.starts_with(&path)), "{pointer} {how}: {found:?}");
    }
}
