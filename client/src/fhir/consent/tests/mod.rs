#![allow(clippy::unwrap_used)]
//! Consents as they come, and what is then said of requests.

mod dialects;
mod elements;
mod examples_hl7;
mod examples_pcf;
mod export;
mod labels;
mod properties;

use consilium_proto::access::RecordFacts;
use consilium_proto::consent::{Asked, Grant, Said};
use consilium_proto::hash::sha256;
use consilium_proto::ids::{PolicyTag, ProjectTag, RecordId, SaltId, TimeMs};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::{Confidentiality, PurposeOfUse};
use consilium_proto::purpose;
use serde_json::{Value, json};

use super::*;

pub(super) const ALL_NORMAL: &str = "https://profiles.ihe.net/ITI/PCF/Policy-all-normal";
pub(super) const BASIC_NORMAL: &str = "https://profiles.ihe.net/ITI/PCF/Policy-basic-normal";
pub(super) const BREAK_GLASS: &str = "https://profiles.ihe.net/ITI/PCF/Policy-break-glass-only";
pub(super) const DENY: &str = "https://profiles.ihe.net/ITI/PCF/Policy-deny";
/// Registered by the mapping as all-normal.
pub(super) const LOCAL: &str = "http://example.org/policies/basePrivacyConsentPolicy.txt";

pub(super) const DOCTOR: &str = "spiffe://lakeside.example/clinician/c-1";
pub(super) const OTHER: &str = "spiffe://lakeside.example/clinician/c-2";
pub(super) const SCIENTIST: &str = "spiffe://research.example/researcher/r-1";
/// 2026-09.
pub(super) const NOW: u64 = 1_790_000_000_000;

const FILE: &str = r#"
member = "st-mary.example"

[grantees]
"Practitioner/ex-practitioner" = "spiffe://lakeside.example/clinician/c-1"
"Practitioner/13" = "spiffe://st-mary.example/clinician/c-13"
"https://ehr.lakeside.example/fhir/Organization/1" = "lakeside.example"
"http://hl7.org/fhir/sid/us-npi|9941339108" = "spiffe://lakeside.example/clinician/c-2"
"Organization/ex-org-researcher" = "research.example"
"Group/nurses" = ["clinician@lakeside.example", "device@lakeside.example"]

[records]
"Observation/1" = "01010101010101010101010101010101"
"Observation/2" = "02020202020202020202020202020202"

[policies]
"http://example.org/policies/basePrivacyConsentPolicy.txt" = "all-normal"
"http://example.org/policies/researchPrivacyConsentPolicy.txt" = "all-normal"
"http://example.org/policies/researchFooBar.txt" = "all-normal"
"#;

pub(super) fn tag(kind: &str, name: &str) -> PolicyTag {
    tag_under(1, kind, name)
}

pub(super) fn tag_under(salt: u8, kind: &str, name: &str) -> PolicyTag {
    let mut tag = [0; 16];
    tag.copy_from_slice(&sha256(&[&[salt], kind.as_bytes(), name.as_bytes()])[..16]);
    PolicyTag::new(SaltId([salt; 16]), tag)
}

pub(super) fn mapping() -> Mapping<'static> {
    Mapping::parse(FILE)
        .unwrap()
        .with_records(|name| (name == "st-mary.example/Observation/3").then_some(RecordId([3; 16])))
        .with_labels(|code| vec![tag("label", code)])
        .with_encounters(|name| name.contains("Encounter/ex-encounter").then(|| tag("encounter", "ex-encounter")))
}

/// A Consent of PCF; the elements of `more` are put over it.
pub(super) fn pcf(policy: &str, provision: Value) -> Value {
    json!({
        "resourceType": "Consent", "status": "active",
        "scope": { "coding": [{ "system": systems::SCOPE, "code": "patient-privacy" }] },
        "category": [{ "coding": [{ "system": "http://loinc.org", "code": "59284-0" }] }],
        "patient": { "reference": "Patient/ex-patient" },
        "dateTime": "2022-06-13",
        "performer": [{ "reference": "Patient/ex-patient" }],
        "organization": [{ "reference": "Organization/ex-organization" }],
        "sourceReference": { "reference": "DocumentReference/ex-documentreference" },
        "policy": [{ "uri": policy }],
        "provision": provision,
    })
}

/// A Consent of R4's own dialect.
pub(super) fn r4(rule: &str, provision: Value) -> Value {
    let mut out = pcf(LOCAL, provision);
    out.as_object_mut().unwrap().remove("policy");
    out["policyRule"] = json!({ "coding": [{ "system": systems::ACT_CODE, "code": rule }] });
    out
}

pub(super) fn act(code: &str) -> Value {
    json!({ "system": systems::ACT_REASON, "code": code })
}

pub(super) fn tpo() -> Value {
    json!([act("TREAT"), act("HPAYMT"), act("HOPERAT")])
}

pub(super) fn level(code: &str) -> Value {
    json!({ "system": systems::CONFIDENTIALITY, "code": code })
}

pub(super) fn sensitive(code: &str) -> Value {
    json!({ "system": systems::ACT_CODE, "code": code })
}

pub(super) fn actor(role: &str, reference: &str) -> Value {
    json!({
        "role": { "coding": [{ "system": systems::PARTICIPATION, "code": role }] },
        "reference": { "reference": reference },
    })
}

pub(super) fn data(meaning: &str, reference: &str) -> Value {
    json!([{ "meaning": meaning, "reference": { "reference": reference } }])
}

pub(super) fn read(consent: &Value) -> Result<Translation, ConsentProblem> {
    translate(consent.to_string().as_bytes(), &mapping())
}

pub(super) fn refused(consent: &Value) -> (String, Problem) {
    let problem = read(consent).unwrap_err();
    (problem.path, problem.problem)
}

pub(super) fn gap(consent: &Value) -> (String, Gap) {
    match refused(consent) {
        (path, Problem::Unrepresentable(gap)) => (path, gap),
        other => panic!("{other:?}"),
    }
}

pub(super) fn widened(consent: &Value) -> Vec<(String, Gap)> {
    read(consent).unwrap().widened.into_iter().map(|w| (w.path, w.why)).collect()
}

/// A request; [`TREATING`] with changes.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) reader: &'static str,
    pub(super) purpose: &'static str,
    pub(super) project: Option<ProjectTag>,
    pub(super) level: Confidentiality,
    pub(super) kind: &'static str,
    pub(super) record: u8,
    pub(super) author: &'static str,
    pub(super) tags: Vec<PolicyTag>,
    pub(super) time: u64,
}

/// A doctor of another hospital reads a normal observation to treat the patient.
pub(super) const TREATING: Ask = Ask {
    reader: OTHER,
    purpose: "TREAT",
    project: None,
    level: Confidentiality::Normal,
    kind: "Observation",
    record: 9,
    author: "spiffe://st-mary.example/clinician/c-9",
    tags: Vec::new(),
    time: NOW,
};

pub(super) fn says(grant: &Grant, ask: &Ask) -> Said {
    let reader: SpiffeId = ask.reader.parse().unwrap();
    let author: SpiffeId = ask.author.parse().unwrap();
    let record = RecordFacts {
        id: RecordId([ask.record; 16]),
        kind: ask.kind,
        confidentiality: ask.level,
        custodian: author.member().as_str(),
        author: ask.author,
        tags: &ask.tags,
        restricted: false,
    };
    let purpose: PurposeOfUse = purpose::of_code(ask.purpose).unwrap();
    grant.says(&Asked { reader: &reader, purpose, project: ask.project, time: TimeMs(ask.time), record: &record })
}

pub(super) const PERMITS: Said = Said::Permits { by_name: false };
pub(super) const PERMITS_NAMED: Said = Said::Permits { by_name: true };
