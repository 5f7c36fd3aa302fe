//! Every element of a provision and of the whole: held, refused of a permit, widened of a denial.

use super::*;

fn nested(effect: &str, more: Value) -> Value {
    let mut rule = json!({ "type": effect });
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (policy, root) = if effect == "permit" { (DENY, "deny") } else { (ALL_NORMAL, "permit") };
    pcf(policy, json!({ "type": root, "provision": [rule] }))
}

#[track_caller]
fn has_no_place(more: Value, below: &str, why: Gap) {
    let path = format!("Consent.provision.provision[0].{below}");
    if why != Gap::DeniedLevel {
        assert_eq!(gap(&nested("permit", more.clone())), (path.clone(), why));
    }
    let denial = nested("deny", more);
    assert_eq!(widened(&denial), [(path, why)]);
    let said = says(&read(&denial).unwrap().grant, &TREATING);
    assert_eq!(said, Said::RuleDenies, "it denies more");
}

#[test]
fn what_a_grant_cannot_hold() {
    has_no_place(json!({ "dataPeriod": { "start": "2022" } }), "dataPeriod", Gap::NoPlace);
    has_no_place(json!({ "code": [{ "coding": [{ "code": "x" }] }] }), "code", Gap::NoPlace);
    has_no_place(json!({ "data": data("dependents", "Encounter/1") }), "data[0].meaning", Gap::NoPlace);
    has_no_place(json!({ "data": data("about", "Encounter/1") }), "data[0].meaning", Gap::UnknownCode);
    has_no_place(json!({ "data": data("instance", "Observation/77") }), "data[0].reference", Gap::Unmapped);
    has_no_place(json!({ "data": data("related", "CarePlan/1") }), "data[0].reference", Gap::Unmapped);
    has_no_place(json!({ "data": data("authoredby", "CareTeam/1") }), "data[0].reference", Gap::Unmapped);
    has_no_place(json!({ "data": data("authoredby", "Group/nurses") }), "data[0].reference", Gap::NoPlace);
    has_no_place(json!({ "actor": [actor("IRCP", "Group/1")] }), "actor[0].reference", Gap::Unmapped);
    has_no_place(json!({ "actor": [actor("IRCP", "#contained")] }), "actor[0].reference", Gap::Unmapped);
    has_no_place(json!({ "actor": [actor("CST", "Practitioner/ex-practitioner")] }), "actor[0].role", Gap::Role);
    has_no_place(json!({ "purpose": [act("TREATMENT")] }), "purpose[0]", Gap::UnknownCode);
    has_no_place(json!({ "purpose": [{ "code": "TREAT" }] }), "purpose[0]", Gap::UnknownCode);
    has_no_place(json!({ "securityLabel": [sensitive("NOLABEL")] }), "securityLabel[0]", Gap::UnknownCode);
    has_no_place(json!({ "securityLabel": [level("X")] }), "securityLabel[0]", Gap::UnknownCode);
    has_no_place(json!({ "securityLabel": [level("R")] }), "securityLabel[0]", Gap::DeniedLevel);
    let document = json!({ "class": [{ "system": "urn:ietf:bcp:13", "code": "application/hl7-cda+xml" }] });
    has_no_place(document, "class[0]", Gap::UnknownCode);
    let action = |code: &str| json!({ "action": [{ "coding": [{ "system": systems::ACTION, "code": code }] }] });
    for code in ["collect", "use", "disclose", "correct"] {
        has_no_place(action(code), "action", Gap::Action);
    }
    assert!(read(&nested("permit", action("access"))).is_ok());
    let both = json!({
        "securityLabel": [sensitive("PSY")], "data": data("related", "Encounter/ex-encounter"),
    });
    let path = "Consent.provision.provision[0].data".to_owned();
    assert_eq!(gap(&nested("permit", both.clone())), (path.clone(), Gap::LabelsAndEncounter));
    assert_eq!(widened(&nested("deny", both)), [(path, Gap::LabelsAndEncounter)]);
}

#[test]
fn an_inherited_encounter_and_a_label_do_not_become_one_list() {
    let inner = json!({ "type": "permit", "securityLabel": [sensitive("PSY")] });
    let related = data("related", "Encounter/ex-encounter");
    let consent = |inner: &Value| pcf(ALL_NORMAL, json!({ "type": "permit", "data": related, "provision": [inner] }));
    assert_eq!(gap(&consent(&inner)), ("Consent.provision.provision[0]".into(), Gap::LabelsAndEncounter));
    assert!(read(&consent(&json!({ "type": "permit", "securityLabel": [level("N")] }))).is_ok());
}

#[test]
fn two_names_must_agree_and_one_is_enough() {
    let with = |identifier: Value, text: Option<&str>| {
        let mut actor = actor("IRCP", "x");
        actor["reference"] = json!({ "identifier": identifier });
        if let Some(text) = text {
            actor["reference"]["reference"] = text.into();
        }
        nested("permit", json!({ "actor": [actor] }))
    };
    let npi = json!({ "system": "http://hl7.org/fhir/sid/us-npi", "value": "9941339108" });
    let grant = read(&with(npi.clone(), None)).unwrap().grant;
    assert_eq!(says(&grant, &TREATING), PERMITS_NAMED);
    assert!(read(&with(npi.clone(), Some("Practitioner/unheard-of"))).is_ok());
    let (_, why) = gap(&with(npi, Some("Practitioner/ex-practitioner")));
    assert_eq!(why, Gap::TwoNames);
    for (system, value) in [
        (systems::URI, OTHER),
        (systems::URI, "spiffe://lakeside.example"),
        (systems::OWN_ROLE, "clinician@lakeside.example"),
    ] {
        let grant = read(&with(json!({ "system": system, "value": value }), None)).unwrap().grant;
        assert!(matches!(says(&grant, &TREATING), Said::Permits { .. }), "{value}");
    }
    let (_, why) = gap(&with(json!({ "system": systems::URI, "value": "lakeside.example" }), None));
    assert_eq!(why, Gap::Unmapped);
}

#[test]
fn a_record_has_one_name() {
    let hex = |byte: &str| json!({ "system": systems::OWN_RECORD, "value": byte.repeat(16) });
    let with = |byte: &str, text: &str| {
        let reference = json!({ "identifier": hex(byte), "reference": text });
        nested("deny", json!({ "data": [{ "meaning": "instance", "reference": reference }] }))
    };
    assert_eq!(widened(&with("01", "Observation/1")), []);
    let path = "Consent.provision.provision[0].data[0].reference".to_owned();
    assert_eq!(widened(&with("02", "Observation/1")), [(path, Gap::TwoNames)]);
}

#[test]
fn lists_of_fhir_are_any_of_them() {
    let everything = json!({
        "purpose": [act("TREAT"), { "system": "http://example.org/projects", "code": "p" }],
        "class": [{ "system": systems::RESOURCE_TYPES, "code": "Observation" }],
        "data": [
            { "meaning": "instance", "reference": { "reference": "Observation/1" } },
            { "meaning": "authoredby", "reference": { "reference": "Practitioner/ex-practitioner" } },
            { "meaning": "authoredby", "reference": { "reference": "https://ehr.lakeside.example/fhir/Organization/1" } },
            { "meaning": "related", "reference": { "reference": "Encounter/ex-encounter" } },
        ],
    });
    for effect in ["permit", "deny"] {
        let grant = read(&nested(effect, everything.clone())).unwrap().grant;
        assert_eq!(grant.rules.len(), 8);
        let hit = |ask: Ask| {
            matches!((effect, says(&grant, &ask)), ("permit", Said::Permits { .. }) | ("deny", Said::RuleDenies))
        };
        assert!(hit(Ask { record: 1, ..TREATING }) && hit(Ask { author: DOCTOR, ..TREATING }));
        assert!(hit(Ask { author: "spiffe://lakeside.example/device/d", ..TREATING }));
        assert!(hit(Ask { tags: vec![tag("encounter", "ex-encounter")], ..TREATING }));
        assert!(!hit(TREATING) && !hit(Ask { record: 1, kind: "Condition", ..TREATING }));
        let project = Some(conditions::project("http://example.org/projects", "p"));
        assert!(hit(Ask { record: 1, purpose: "HRESCH", project, ..TREATING }));
        assert_eq!(hit(Ask { record: 1, purpose: "HMARKT", project, ..TREATING }), effect == "deny");
    }
}

#[test]
fn a_denied_label_reaches_those_below_it_and_a_permitted_one_does_not() {
    let label = |label| Ask { tags: vec![tag("label", label)], ..TREATING };
    let deny = read(&nested("deny", json!({ "securityLabel": [sensitive("ETH")] }))).unwrap().grant;
    for code in ["ETH", "ETHUD", "OPIOIDUD", "SUD"] {
        assert_eq!(says(&deny, &label(code)), Said::RuleDenies, "{code}");
    }
    assert_eq!(says(&deny, &label("PSY")), Said::BasePermits);
    let permit = read(&nested("permit", json!({ "securityLabel": [sensitive("ETH"), level("R")] }))).unwrap().grant;
    assert_eq!(says(&permit, &label("ETH")), PERMITS);
    assert_eq!(says(&permit, &label("ETHUD")), Said::AllDenied);
    assert_eq!(says(&permit, &Ask { level: Confidentiality::VeryRestricted, ..label("ETH") }), Said::AllDenied);
}

#[test]
fn what_is_not_read_is_refused() {
    let good = || pcf(ALL_NORMAL, json!({ "type": "permit" }));
    let unknown = |pointer: &str, key: &str| {
        let mut consent = good();
        consent.pointer_mut(pointer).unwrap()[key] = json!([{ "url": "http://example.org/x", "valueBoolean": true }]);
        let (path, problem) = refused(&consent);
        assert_eq!(problem, Problem::UnknownElement, "{pointer} {key}");
        path
    };
    assert_eq!(unknown("", "modifierExtension"), "Consent.modifierExtension");
    assert_eq!(unknown("", "implicitRules"), "Consent.implicitRules");
    assert_eq!(unknown("", "_status"), "Consent._status");
    assert_eq!(unknown("", "not an element, but a name"), "Consent.?");
    assert_eq!(unknown("/provision", "modifierExtension"), "Consent.provision.modifierExtension");
    assert_eq!(unknown("/provision", "extension"), "Consent.provision.extension");
    assert_eq!(unknown("/policy/0", "extension"), "Consent.policy[0].extension");
    assert_eq!(unknown("/scope/coding/0", "extension"), "Consent.scope.coding[0].extension");
    let mut extended = good();
    extended["extension"] = json!([{ "url": "http://example.org/x", "valueBoolean": true }]);
    assert!(read(&extended).is_ok(), "an extension of the whole does not change its meaning");
}

#[test]
fn what_must_be_there() {
    let without = |element: &str| {
        let mut consent = pcf(ALL_NORMAL, json!({ "type": "permit" }));
        consent.as_object_mut().unwrap().remove(element);
        refused(&consent).0
    };
    for element in ["status", "scope", "category", "patient", "policy"] {
        assert_eq!(without(element), format!("Consent.{element}"));
    }
    let with = |element: &str, value: Value| {
        let mut consent = pcf(ALL_NORMAL, json!({ "type": "permit" }));
        consent[element] = value;
        refused(&consent)
    };
    assert_eq!(with("patient", json!({ "reference": "Group/1" })).0, "Consent.patient");
    assert_eq!(with("patient", json!({ "display": "somebody" })).0, "Consent.patient");
    assert_eq!(with("verification", json!([{ "verified": false }])).1, Problem::NotVerified);
    let scope = json!({ "coding": [{ "system": systems::SCOPE, "code": "adr" }] });
    assert_eq!(with("scope", scope), ("Consent.scope.coding[0]".into(), Problem::Scope));
    assert_eq!(with("dateTime", json!("yesterday")), ("Consent.dateTime".into(), Problem::Time));
    for status in ["draft", "proposed", "rejected", "on-hold"] {
        assert_eq!(with("status", json!(status)), ("Consent.status".into(), Problem::Status));
    }
}

#[test]
fn one_that_ended_can_always_be_ended() {
    for status in ["inactive", "entered-in-error"] {
        let mut consent = nested("permit", json!({ "code": [{ "text": "x" }] }));
        consent["status"] = status.into();
        let found = read(&consent).unwrap();
        assert_eq!(
            (found.status, found.grant),
            (Status::Ended, Grant::of_base(consilium_proto::pb::ConsentBase::BreakGlassOnly))
        );
    }
}

#[test]
fn bytes_that_are_no_consent() {
    let path = |bytes: &[u8]| translate(bytes, &mapping()).unwrap_err().path;
    assert_eq!(path(b""), "Consent");
    assert_eq!(path(b"\xff"), "Consent");
    assert_eq!(path(b"[1]"), "Consent");
    assert_eq!(path(br#"{"resourceType":"Patient"}"#), "Consent.resourceType");
    assert_eq!(path(br#"{"resourceType":"Consent","status":"active","status":"inactive"}"#), "Consent.status");
    let error = translate(br#"{"resourceType":"Consent","status":"Mrs Secret"}"#, &mapping()).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("Secret"));
}

#[test]
fn more_than_a_grant_may_hold_is_refused() {
    let purposes: Vec<_> =
        (0..17).map(|i| json!({ "system": "http://example.org", "code": format!("p{i}") })).collect();
    for effect in ["permit", "deny"] {
        let (path, problem) = refused(&nested(effect, json!({ "purpose": purposes })));
        assert_eq!(path, "Consent.provision");
        assert!(matches!(problem, Problem::Grant(_)));
    }
}

#[test]
fn mapping_files() {
    let json = r#"{ "member": "a.example", "grantees": { "Group/1": "clinician@b.example" } }"#;
    assert!(Mapping::parse(json).is_ok());
    let error = |text: &str| Mapping::parse(text).unwrap_err().to_string();
    assert_eq!(error("member = 3"), "the mapping file is no TOML or JSON of the documented form (line 1)");
    assert!(error("member = \"a.example\"\nunknown = 1").contains("line 2"));
    assert_eq!(error("member = \"A\""), "member is not a SPIFFE trust domain");
    let entry = |table: &str, entry: &str| error(&format!("member = \"a.example\"\n[{table}]\n{entry}"));
    assert_eq!(
        entry("grantees", "\"Group/1\" = \"nobody@b.example\""),
        "grantees, entry 1: is no SPIFFE id, role@member or member"
    );
    assert_eq!(entry("grantees", "\"Group/1\" = []"), "grantees, entry 1: is no SPIFFE id, role@member or member");
    let twice = "\"Group/1\" = \"b.example\"\n\"a.example/Group/1\" = \"c.example\"";
    assert_eq!(entry("grantees", twice), "grantees, entry 2: names one twice");
    assert_eq!(entry("records", "\"Observation/1\" = \"12\""), "records, entry 1: is no id of a record");
    assert!(entry("policies", "\"http://x\" = \"most\"").contains("is none of"));
    assert!(entry("policies", &format!("\"{DENY}\" = \"all-normal\"")).contains("has its meaning"));
    assert!(!format!("{:?}", mapping()).contains("Practitioner"));
}
