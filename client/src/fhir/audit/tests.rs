#![allow(clippy::unwrap_used)]
use consilium_proto::hash::Hash;
use consilium_proto::ids::{
    ConsentId, DisclosureId, EmergencyId, Height, PatientPseudonym, RecordId, TimeMs, TransactionId,
};
use consilium_proto::pb::{DisclosureBasis, DisclosureRecipient, EmergencyReason, PurposeOfUse, ReviewVerdict};

use super::*;
use crate::fhir::check::check;
use crate::fhir::strict;

const STYLE: AuditStyle = AuditStyle { ledger: LedgerId::from_bytes([4; 32]), names: false };

fn records(count: u8) -> Vec<VersionRef> {
    (0..count).map(|n| VersionRef { record: RecordId([n; 16]), version: 2 }).collect()
}

fn event(kind: AccessKind, decisions: Vec<Decision>) -> AccessEvent {
    AccessEvent {
        sequence: 7,
        transaction_id: TransactionId::from_bytes([5; 32]),
        reader: "spiffe://lakeside.example/clinician/c-4711".parse().unwrap(),
        unit: None,
        patient: PatientPseudonym([7; 16]),
        purpose: PurposeOfUse::Coc,
        kind,
        decisions,
        emergency: None,
        acting: Some(Hash::from_bytes([9; 32])),
        query: (kind == AccessKind::Query).then(|| Hash::from_bytes([8; 32])),
        project: None,
        policy_version: 3,
        time: TimeMs(1_795_000_000_123),
        height: Height(12),
        disclosed: None,
        sealed_until: None,
        change: None,
        late: None,
    }
}

fn decision(ground: AccessGround, count: u8) -> Decision {
    let consent = (ground == AccessGround::Consent).then_some((ConsentId([1; 16]), 4));
    Decision { ground, consent, records: records(count) }
}

/// Elements of a list whose `type` has a code.
fn of_code<'a>(resource: &'a Value, list: &str, code: &str) -> Vec<&'a Value> {
    let has = |element: &&Value| {
        element.pointer("/type/coding/0/code").or(element.pointer("/type/code")).is_some_and(|found| found == code)
    };
    resource[list].as_array().unwrap().iter().filter(has).collect()
}

/// What R4 and every pattern of BALP ask for.
fn assert_pattern(resource: &Value) {
    check(resource.as_object().unwrap(), "AuditEvent").unwrap();
    strict::parse(&resource.to_string(), "AuditEvent", 1).unwrap();
    let agents = resource["agent"].as_array().unwrap();
    assert_eq!(agents.iter().filter(|agent| agent["requestor"] == true).count(), 1, "{resource}");
    for role in ["110152", "110153"] {
        let [agent] = of_code(resource, "agent", role)[..] else { panic!("{role}: {resource}") };
        assert!(agent["who"].is_object() && agent["network"]["address"].is_string() && agent["requestor"] == false);
    }
    let [user] = of_code(resource, "agent", "IRCP")[..] else { panic!("{resource}") };
    assert!(user["who"].is_object() && user.get("network").is_none());
    assert_eq!(user["purposeOfUse"][0]["coding"][0]["code"], "COC");
    let [patient] = of_code(resource, "entity", "1")[..] else { panic!("{resource}") };
    assert_eq!(patient["role"]["code"], "1");
    assert_eq!(patient["what"]["identifier"]["value"], "07".repeat(16));
    assert_eq!(patient["what"]["type"], "Patient");
    assert_eq!(resource["recorded"], "2026-11-18T11:06:40.123Z");
    let id = resource["id"].as_str().unwrap();
    assert!(id.len() <= 64 && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{id}");
    // sev-1
    assert!(resource["entity"].as_array().unwrap().iter().all(|e| e.get("name").is_none() || e.get("query").is_none()));
}

#[test]
fn a_read_by_consent_is_a_patient_read_of_each_version() {
    let event = event(AccessKind::Read, vec![decision(AccessGround::Consent, 3)]);
    let resources = audit_events(&event, STYLE);
    assert_eq!(resources.len(), 3);
    for (number, resource) in resources.iter().enumerate() {
        assert_pattern(resource);
        assert_eq!(resource["meta"]["profile"][0], format!("{PROFILES}PatientRead"));
        assert_eq!((&resource["action"], &resource["outcome"]), (&json!("R"), &json!("0")));
        assert_eq!((&resource["type"]["code"], &resource["subtype"][0]["code"]), (&json!("rest"), &json!("vread")));
        let [data] = of_code(resource, "entity", "2")[..] else { panic!("{resource}") };
        assert_eq!(data["what"]["identifier"]["value"], format!("{number:02x}").repeat(16));
        assert_eq!(data["detail"][0], json!({ "type": "version", "valueString": "2" }));
        let [consent] = of_code(resource, "entity", "Consent")[..] else { panic!("{resource}") };
        assert_eq!(consent["what"]["identifier"]["value"], "01".repeat(16));
        let [request] = of_code(resource, "entity", "XrequestId")[..] else { panic!("{resource}") };
        assert_eq!(request["what"]["identifier"]["value"], "05".repeat(32));
    }
    let ids: std::collections::BTreeSet<_> = resources.iter().map(|r| r["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 3);
}

#[test]
fn a_query_is_one_patient_query_with_the_hash_of_its_conditions() {
    let event = event(AccessKind::Query, vec![decision(AccessGround::Each, 0)]);
    let [resource] = &audit_events(&event, STYLE)[..] else { panic!() };
    assert_pattern(resource);
    assert_eq!(resource["meta"]["profile"][0], format!("{PROFILES}PatientQuery"));
    assert_eq!((&resource["action"], &resource["subtype"][0]["code"]), (&json!("E"), &json!("search")));
    let [query] = of_code(resource, "entity", "2")[..] else { panic!("{resource}") };
    assert_eq!((&query["role"]["code"], query.get("what")), (&json!("24"), None));
    assert_eq!(query["query"], "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=");
    // The client sends its conditions.
    assert_eq!(of_code(resource, "agent", "110153")[0]["who"]["identifier"]["value"], "lakeside.example");
}

#[test]
fn what_is_handed_on_is_one_disclosure_recorded_by_its_source() {
    let event = event(AccessKind::Export, vec![decision(AccessGround::Consent, 3)]);
    let [resource] = &audit_events(&event, STYLE)[..] else { panic!() };
    assert_pattern(resource);
    assert_eq!(resource["meta"]["profile"][0], format!("{PROFILES}PrivacyDisclosure.Source"));
    assert_eq!((&resource["type"]["code"], &resource["subtype"][0]["code"]), (&json!("110106"), &json!("disclose")));
    assert_eq!(of_code(resource, "entity", "2").len(), 3);
    assert_eq!(resource["purposeOfEvent"][0]["coding"][0]["code"], "COC");
    // val-audit-source
    assert_eq!(of_code(resource, "agent", "110153")[0]["who"], resource["source"]["observer"]);
}

#[test]
fn what_is_handed_to_an_authority_goes_from_the_member_and_is_authorized_by_another_person() {
    let mut event = event(AccessKind::Disclosure, vec![decision(AccessGround::Custodian, 0)]);
    event.disclosed = Some(DisclosedTo {
        id: DisclosureId([6; 16]),
        basis: DisclosureBasis::CourtOrder,
        recipient: DisclosureRecipient::Court,
        confirmed_by: "spiffe://lakeside.example/auditor/privacy".parse().unwrap(),
    });
    let [resource] = &audit_events(&event, STYLE)[..] else { panic!() };
    assert_pattern(resource);
    assert_eq!(resource["meta"]["profile"][0], format!("{PROFILES}PrivacyDisclosure.Source"));
    let [from] = of_code(resource, "agent", "110153")[..] else { panic!("{resource}") };
    assert_eq!(
        (&from["who"], from["who"]["identifier"]["value"].as_str()),
        (&resource["source"]["observer"], Some("lakeside.example"))
    );
    let [to] = of_code(resource, "agent", "110152")[..] else { panic!("{resource}") };
    assert_eq!(to["who"]["identifier"]["value"], "DISCLOSURE_RECIPIENT_COURT");
    let [authorizer] = of_code(resource, "agent", "AUT")[..] else { panic!("{resource}") };
    assert_eq!(authorizer["who"]["identifier"]["value"], "auditor@lakeside.example");
    let [disclosure] = of_code(resource, "entity", "4")[..] else { panic!("{resource}") };
    assert_eq!(disclosure["what"]["identifier"]["value"], "06".repeat(16));
}

#[test]
fn what_was_denied_is_there_too_and_claims_no_profile_of_success() {
    let decisions = vec![decision(AccessGround::Consent, 1), decision(AccessGround::ConsentDenies, 2)];
    let resources = audit_events(&event(AccessKind::Read, decisions), STYLE);
    assert_eq!(resources.len(), 3);
    for denied in &resources[1..] {
        assert_pattern(denied);
        assert!(denied.get("meta").is_none());
        assert_eq!((&denied["outcome"], &denied["outcomeDesc"]), (&json!("8"), &json!("denied: a consent forbids it")));
    }
}

#[test]
fn what_was_read_without_a_quorum_tells_when() {
    let mut event = event(AccessKind::Read, vec![decision(AccessGround::Custodian, 1)]);
    assert!(audit_events(&event, STYLE)[0].get("period").is_none());
    event.late = Some(TimeMs(1_794_999_000_000));
    let resource = &audit_events(&event, STYLE)[0];
    assert_pattern(resource);
    let read = "2026-11-18T10:50:00Z";
    assert_eq!(resource["period"], json!({ "start": read, "end": read }));
}

#[test]
fn an_emergency_is_named_and_a_person_is_not_unless_asked_for() {
    let mut event = event(AccessKind::Read, vec![decision(AccessGround::Emergency, 1)]);
    event.emergency = Some(EmergencyId([6; 16]));
    let told = |names| audit_events(&event, AuditStyle { names, ..STYLE })[0].clone();
    let unnamed = told(false);
    let [emergency] = of_code(&unnamed, "entity", "4")[..] else { panic!("{unnamed}") };
    assert_eq!(emergency["what"]["identifier"], json!({ "system": OWN_EMERGENCY, "value": "06".repeat(16) }));
    assert!(!told(false).to_string().contains("c-4711"));
    let user = told(true)["agent"][2].clone();
    assert_eq!(user["who"]["identifier"]["value"], "spiffe://lakeside.example/clinician/c-4711");
    assert_eq!(user["altId"], format!("sha256:{}", "09".repeat(32)));
}

#[test]
fn a_bundle_has_all_and_an_empty_one_no_empty_list() {
    let resources = audit_events(&event(AccessKind::Read, vec![decision(AccessGround::Author, 2)]), STYLE);
    let bundle_of_two = bundle(resources);
    assert_eq!(bundle_of_two["entry"].as_array().unwrap().len(), 2);
    check(bundle_of_two.as_object().unwrap(), "Bundle").unwrap();
    assert_eq!(bundle(Vec::new()), json!({ "resourceType": "Bundle", "type": "collection" }));
}

#[test]
fn base64_is_that_of_the_rfc() {
    let vectors =
        [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
    for (plain, coded) in vectors {
        assert_eq!(base64(plain.as_bytes()), coded);
    }
}

#[test]
fn what_was_said_of_the_patient_is_a_patient_update() {
    let change = Change::Linked(PatientPseudonym([8; 16]));
    let event = AccessEvent { change: Some(change), ..event(AccessKind::Change, Vec::new()) };
    let [resource] = &audit_events(&event, STYLE)[..] else { panic!() };
    assert_pattern(resource);
    assert_eq!(resource["meta"]["profile"][0], format!("{PROFILES}PatientUpdate"));
    assert_eq!((&resource["action"], &resource["subtype"][0]["code"]), (&json!("U"), &json!("update")));
    let [data] = of_code(resource, "entity", "2")[..] else { panic!("{resource}") };
    assert_eq!(data["detail"][0]["valueString"], "PATIENT_CHANGE_KIND_LINKED");
    assert_eq!(data["detail"][1], json!({ "type": "other", "valueString": "08".repeat(16) }));
}

#[test]
fn an_emergency_and_its_review_are_patient_updates_that_name_it() {
    let (emergency, to) = (EmergencyId([6; 16]), TimeMs(1_794_999_000_000));
    let declared = Change::EmergencyDeclared { emergency, reason: EmergencyReason::Danger, to };
    let reviewed = Change::EmergencyReviewed { emergency, verdict: ReviewVerdict::Justified };
    let told = |change| {
        let said =
            AccessEvent { change: Some(change), emergency: Some(emergency), ..event(AccessKind::Change, Vec::new()) };
        let [resource] = &audit_events(&said, STYLE)[..] else { panic!() };
        assert_pattern(resource);
        assert_eq!(resource["meta"]["profile"][0], format!("{PROFILES}PatientUpdate"));
        let [named] = of_code(resource, "entity", "4")[..] else { panic!("{resource}") };
        assert_eq!(named["what"]["identifier"], json!({ "system": OWN_EMERGENCY, "value": "06".repeat(16) }));
        let [data] = of_code(resource, "entity", "2")[..] else { panic!("{resource}") };
        let codes: Vec<_> = resource["subtype"].as_array().unwrap().iter().map(|code| code["code"].clone()).collect();
        (codes, data["detail"].clone())
    };
    let detail = |kind: &str, value: &str| json!({ "type": kind, "valueString": value });
    let said = detail("change", "PATIENT_CHANGE_KIND_EMERGENCY_DECLARED");
    let details = [said, detail("reason", "EMERGENCY_REASON_DANGER"), detail("until", "2026-11-18T10:50:00Z")];
    assert_eq!(told(declared), (vec![json!("update"), json!("110127")], json!(details)));
    let details =
        [detail("change", "PATIENT_CHANGE_KIND_EMERGENCY_REVIEWED"), detail("verdict", "REVIEW_VERDICT_JUSTIFIED")];
    assert_eq!(told(reviewed), (vec![json!("update")], json!(details)));
}

#[test]
fn the_unit_of_a_reader_is_the_organisation_of_the_user() {
    let event = event(AccessKind::Read, vec![decision(AccessGround::Consent, 1)]);
    let none = &audit_events(&event, STYLE)[0];
    assert!(of_code(none, "agent", "PROV").is_empty(), "{none}");
    let of_unit = |event: AccessEvent| {
        let [resource] = &audit_events(&AccessEvent { unit: "W-07".parse().ok(), ..event }, STYLE)[..] else {
            panic!()
        };
        resource.clone()
    };
    let resource = of_unit(event.clone());
    assert_pattern(&resource);
    let to = DisclosedTo {
        id: DisclosureId([9; 16]),
        basis: DisclosureBasis::CourtOrder,
        recipient: DisclosureRecipient::Court,
        confirmed_by: "spiffe://lakeside.example/auditor/privacy".parse().unwrap(),
    };
    let disclosed = of_unit(AccessEvent { kind: AccessKind::Disclosure, disclosed: Some(to), ..event });
    for resource in [resource, disclosed] {
        let [unit] = of_code(&resource, "agent", "PROV")[..] else { panic!("{resource}") };
        assert_eq!((&unit["requestor"], &unit["who"]["display"]), (&json!(false), &json!("W-07")));
        assert_eq!(unit["who"]["identifier"], json!({ "system": OWN_UNIT, "value": "W-07@lakeside.example" }));
    }
}
