//! Events of a patient's log as FHIR R4 AuditEvents, for the audit repositories of hospitals.
//!
//! They follow IHE Basic Audit Log Patterns (BALP 1.1): what was permitted is a `PatientRead` of
//! one version, a `PatientQuery`, or a `PrivacyDisclosure.Source` of all versions that are handed
//! on; what was denied claims no profile, since those are about what succeeded. There is one
//! resource for each thing that was decided, so that one request may give several. What was said of
//! the patient (who speaks for it, a link, a death, an emergency and its review) is a `PatientUpdate`.
//!
//! Nobody's name is in them: the patient is the pseudonym, and the reader its member and role,
//! unless the opaque name of the ledger is asked for. The unit of the reader is an agent of its own,
//! as BALP has the organisation of a user.

use consilium_proto::ids::{EmergencyId, LedgerId};
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::pb::{AccessGround, AccessKind};
use consilium_proto::purpose;
use consilium_proto::transaction::VersionRef;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::consent::systems::{ACT_REASON, OWN_RECORD, OWN_ROLE, PARTICIPATION, RESOURCE_TYPES, URI};
use crate::access_log::{AccessEvent, Change, Decision, DisclosedTo};

const PROFILES: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.";
const BALP_ENTITY_TYPE: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType";
const DICOM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const EVENT_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
const RESTFUL: &str = "http://hl7.org/fhir/restful-interaction";
const ROLE_CLASS: &str = "http://terminology.hl7.org/CodeSystem/v3-RoleClass";
const LIFECYCLE: &str = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle";
const ENTITY_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const OBJECT_ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const SOURCE_TYPE: &str = "http://terminology.hl7.org/CodeSystem/security-source-type";

/// Names of the ledger itself.
const OWN_LEDGER: &str = "urn:consilium:ledger";
const OWN_MEMBER: &str = "urn:consilium:member";
const OWN_UNIT: &str = "urn:consilium:unit";
const OWN_PATIENT: &str = "urn:consilium:patient";
const OWN_CONSENT: &str = "urn:consilium:consent";
const OWN_EMERGENCY: &str = "urn:consilium:emergency";
const OWN_DISCLOSURE: &str = "urn:consilium:disclosure";
const OWN_RECIPIENT: &str = "urn:consilium:recipient";
const OWN_TRANSACTION: &str = "urn:consilium:transaction";

/// Codes of `audit-event-outcome`.
const SUCCESS: &str = "0";
const SERIOUS_FAILURE: &str = "8";
/// Digits of the transaction that a resource's id begins with: an id has at most 64 characters.
const ID_DIGITS: usize = 48;

/// How events are written.
#[derive(Debug, Clone, Copy)]
pub struct AuditStyle {
    /// The ledger that the events are on.
    pub ledger: LedgerId,
    /// Whether readers are told by their opaque names, too.
    pub names: bool,
}

/// What an event comes to: one resource for each thing that was decided, or for what was said.
#[must_use]
pub fn audit_events(event: &AccessEvent, style: AuditStyle) -> Vec<Value> {
    if let Some(change) = &event.change {
        return vec![changed(event, change, style)];
    }
    let parts = event.decisions.iter().flat_map(|decision| parts(event, decision));
    parts.enumerate().map(|(number, part)| part.resource(event, style, number)).collect()
}

/// A thing that was decided.
struct Part<'a> {
    decision: &'a Decision,
    pattern: Pattern,
    records: &'a [VersionRef],
}

/// As what it is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pattern {
    Read,
    Query,
    Disclosure,
}

fn parts<'a>(event: &AccessEvent, decision: &'a Decision) -> Vec<Part<'a>> {
    let part = |pattern, records| Part { decision, pattern, records };
    match event.kind {
        AccessKind::Query => vec![part(Pattern::Query, &decision.records[..])],
        AccessKind::Unspecified | AccessKind::Read | AccessKind::History => {
            // `PatientRead` is about one resource.
            decision.records.chunks(1).map(|records| part(Pattern::Read, records)).collect()
        }
        // Of what was said nothing is decided.
        AccessKind::Change => Vec::new(),
        AccessKind::Export | AccessKind::Disclosure => vec![part(Pattern::Disclosure, &decision.records[..])],
    }
}

impl Part<'_> {
    fn resource(&self, event: &AccessEvent, style: AuditStyle, number: usize) -> Value {
        let permitted = self.decision.permits();
        let transaction = event.transaction_id.to_string();
        let mut resource = json!({
            "resourceType": "AuditEvent",
            "id": format!("{}-{number}", &transaction[..ID_DIGITS]),
            "type": self.kind(),
            "subtype": [self.subtype(event.kind)],
            "action": if self.pattern == Pattern::Query { "E" } else { "R" },
            "recorded": instant(event.time.0),
            "outcome": if permitted { SUCCESS } else { SERIOUS_FAILURE },
            "outcomeDesc": outcome(self.decision.ground),
            "purposeOfEvent": [reason(event)],
            "agent": self.agents(event, style),
            "source": { "observer": source(event, style), "type": [coding(SOURCE_TYPE, "4", "Application Server")] },
            "entity": self.entities(event),
        });
        if permitted && let Some(fields) = resource.as_object_mut() {
            fields.insert("meta".to_owned(), json!({ "profile": [self.profile()] }));
        }
        // Read without a quorum: `recorded` is when it was entered.
        if let (Some(late), Some(fields)) = (event.late, resource.as_object_mut()) {
            let read = instant(late.0);
            fields.insert("period".to_owned(), json!({ "start": read, "end": read }));
        }
        resource
    }

    fn profile(&self) -> String {
        let name = match self.pattern {
            Pattern::Read => "PatientRead",
            Pattern::Query => "PatientQuery",
            Pattern::Disclosure => "PrivacyDisclosure.Source",
        };
        format!("{PROFILES}{name}")
    }

    fn kind(&self) -> Value {
        match self.pattern {
            Pattern::Read | Pattern::Query => coding(EVENT_TYPE, "rest", "Restful Operation"),
            Pattern::Disclosure => coding(DICOM, "110106", "Export"),
        }
    }

    fn subtype(&self, kind: AccessKind) -> Value {
        match (self.pattern, kind) {
            (Pattern::Query, _) => coding(RESTFUL, "search", "search"),
            (Pattern::Disclosure, _) => coding(LIFECYCLE, "disclose", "Disclose Record Lifecycle Event"),
            (Pattern::Read, AccessKind::History) => coding(RESTFUL, "history-instance", "history-instance"),
            (Pattern::Read, _) => coding(RESTFUL, "vread", "vread"),
        }
    }

    /// The reader's member, the ledger, and the reader. In a query the conditions flow from the
    /// client to the server, else the data from the server to the client. What is handed to an
    /// authority goes from the member, outside of the ledger.
    fn agents(&self, event: &AccessEvent, style: AuditStyle) -> Value {
        if let Some(to) = &event.disclosed {
            return handed_over(event, to, style);
        }
        match self.pattern {
            Pattern::Query => agents(event, style, (SOURCE, DESTINATION)),
            Pattern::Read | Pattern::Disclosure => agents(event, style, (DESTINATION, SOURCE)),
        }
    }

    fn entities(&self, event: &AccessEvent) -> Value {
        let mut entities = vec![patient(event)];
        match self.pattern {
            Pattern::Query => entities.push(query(event)),
            Pattern::Read | Pattern::Disclosure => entities.extend(self.records.iter().map(record)),
        }
        if let Some((id, version)) = self.decision.consent {
            entities.push(json!({
                "type": coding(RESOURCE_TYPES, "Consent", "Consent"),
                "what": of_type("Consent", OWN_CONSENT, &id.to_string()),
                "detail": [detail("version", &version.to_string())],
            }));
        }
        if let Some(to) = &event.disclosed {
            entities.push(json!({
                "type": coding(ENTITY_TYPE, "4", "Other"),
                "what": named(OWN_DISCLOSURE, &to.id.to_string()),
                "detail": [detail("basis", to.basis.as_str_name())],
            }));
        }
        entities.extend(event.emergency.map(emergency));
        entities.push(json!({
            "type": coding(BALP_ENTITY_TYPE, "XrequestId", "X-Request-Id"),
            "what": named(OWN_TRANSACTION, &event.transaction_id.to_string()),
            "detail": [
                detail("log-sequence", &event.sequence.to_string()),
                detail("height", &event.height.to_string()),
                detail("policy-version", &event.policy_version.to_string()),
                detail("ground", self.decision.ground.as_str_name()),
            ],
        }));
        Value::Array(entities)
    }
}

/// As what who asks, and the ledger, take part in an exchange of data.
type Ends = (RoleId, RoleId);
type RoleId = (&'static str, &'static str);
const SOURCE: RoleId = ("110153", "Source Role ID");
const DESTINATION: RoleId = ("110152", "Destination Role ID");

fn agents(event: &AccessEvent, style: AuditStyle, (client, server): Ends) -> Value {
    let member = event.reader.member().as_str();
    let ends = [
        json!({
            "type": concept(DICOM, client.0, client.1),
            "who": named(OWN_MEMBER, member),
            "requestor": false,
            "network": { "address": member, "type": "1" },
        }),
        json!({
            "type": concept(DICOM, server.0, server.1),
            "who": ledger(style),
            "requestor": false,
            "network": { "address": format!("{OWN_LEDGER}:{}", style.ledger), "type": "5" },
        }),
        user(event, style),
    ];
    Value::Array(ends.into_iter().chain(unit(event)).collect())
}

/// The reader's unit, as the organisation of a user in BALP's patterns of access tokens.
fn unit(event: &AccessEvent) -> Option<Value> {
    let code = event.unit.as_ref()?.as_str();
    let who = json!({
        "type": "Organization",
        "identifier": { "system": OWN_UNIT, "value": format!("{code}@{}", event.reader.member()) },
        "display": code,
    });
    Some(json!({ "type": concept(ROLE_CLASS, "PROV", "healthcare provider"), "who": who, "requestor": false }))
}

fn patient(event: &AccessEvent) -> Value {
    json!({
        "type": coding(ENTITY_TYPE, "1", "Person"),
        "role": coding(OBJECT_ROLE, "1", "Patient"),
        "what": of_type("Patient", OWN_PATIENT, &event.patient.to_string()),
    })
}

/// What was said of the patient: the ledger's entry of it is what is updated.
fn changed(event: &AccessEvent, change: &Change, style: AuditStyle) -> Value {
    let transaction = event.transaction_id.to_string();
    let mut subtypes = vec![coding(RESTFUL, "update", "update")];
    if matches!(change, Change::EmergencyDeclared { .. }) {
        subtypes.push(coding(DICOM, "110127", "Emergency Override Started"));
    }
    let mut entities = vec![
        patient(event),
        json!({
            "type": coding(ENTITY_TYPE, "2", "System Object"),
            "role": coding(OBJECT_ROLE, "4", "Domain Resource"),
            "what": of_type("Patient", OWN_PATIENT, &event.patient.to_string()),
            "detail": what_changed(change),
        }),
    ];
    entities.extend(event.emergency.map(emergency));
    entities.push(json!({
        "type": coding(BALP_ENTITY_TYPE, "XrequestId", "X-Request-Id"),
        "what": named(OWN_TRANSACTION, &transaction),
        "detail": [
            detail("log-sequence", &event.sequence.to_string()),
            detail("height", &event.height.to_string()),
        ],
    }));
    json!({
        "resourceType": "AuditEvent",
        "meta": { "profile": [format!("{PROFILES}PatientUpdate")] },
        // A transaction may say several things of one patient: each has a place of its own.
        "id": format!("{}-c{}", &transaction[..ID_DIGITS - 16], event.sequence),
        "type": coding(EVENT_TYPE, "rest", "Restful Operation"),
        "subtype": subtypes,
        "action": "U",
        "recorded": instant(event.time.0),
        "outcome": SUCCESS,
        "outcomeDesc": "entered into the patient's log",
        "purposeOfEvent": [reason(event)],
        "agent": agents(event, style, (SOURCE, DESTINATION)),
        "source": { "observer": source(event, style), "type": [coding(SOURCE_TYPE, "4", "Application Server")] },
        "entity": entities,
    })
}

/// Of what kind it is, and what is named in it.
fn what_changed(change: &Change) -> Vec<Value> {
    let mut details = vec![detail("change", change.kind().as_str_name())];
    match change {
        Change::Accepted { identity, .. } | Change::AcceptanceEnded { identity, .. } => {
            details.push(detail("identity", &identity.to_string()));
        }
        Change::Linked(other) | Change::Unlinked(other) => details.push(detail("other", &other.to_string())),
        Change::Died | Change::DeathTakenBack => {}
        Change::Misfiled(record) | Change::MisfiledConfirmed(record) => {
            details.push(detail("record", &record.to_string()));
        }
        Change::EmergencyDeclared { reason, to, .. } => {
            details.extend([detail("reason", reason.as_str_name()), detail("until", &instant(to.0))]);
        }
        Change::EmergencyReviewed { verdict, .. } => details.push(detail("verdict", verdict.as_str_name())),
        Change::CareAttested { to } => details.push(detail("until", &instant(to.0))),
        Change::ConsentPut { consent, version, .. } => {
            details.extend([detail("consent", &consent.to_string()), detail("version", &version.to_string())]);
        }
        Change::ConsentEnded(consent) => details.push(detail("consent", &consent.to_string())),
    }
    details
}

fn emergency(id: EmergencyId) -> Value {
    json!({ "type": coding(ENTITY_TYPE, "4", "Other"), "what": named(OWN_EMERGENCY, &id.to_string()) })
}

/// The member, the authority, who says so, and who has confirmed it.
fn handed_over(event: &AccessEvent, to: &DisclosedTo, style: AuditStyle) -> Value {
    let (member, recipient) = (event.reader.member().as_str(), to.recipient.as_str_name());
    let agents = [
        json!({
            "type": concept(DICOM, "110153", "Source Role ID"),
            "who": source(event, style),
            "requestor": false,
            "network": { "address": member, "type": "1" },
        }),
        json!({
            "type": concept(DICOM, "110152", "Destination Role ID"),
            "who": named(OWN_RECIPIENT, recipient),
            "requestor": false,
            "network": { "address": format!("{OWN_RECIPIENT}:{recipient}"), "type": "5" },
        }),
        user(event, style),
        json!({
            "type": concept(PARTICIPATION, "AUT", "author (originator)"),
            "who": reader(&to.confirmed_by, style.names),
            "requestor": false,
        }),
    ];
    Value::Array(agents.into_iter().chain(unit(event)).collect())
}

/// Who has recorded it: where the data comes from.
fn source(event: &AccessEvent, style: AuditStyle) -> Value {
    match event.disclosed {
        Some(_) => named(OWN_MEMBER, event.reader.member().as_str()),
        None => ledger(style),
    }
}

fn user(event: &AccessEvent, style: AuditStyle) -> Value {
    let mut user = json!({
        "type": concept(PARTICIPATION, "IRCP", "information recipient"),
        "who": reader(&event.reader, style.names),
        "role": [concept(OWN_ROLE, event.reader.role().as_str(), event.reader.role().as_str())],
        "requestor": true,
        "purposeOfUse": [reason(event)],
    });
    if let (Some(acting), Some(fields)) = (event.acting, user.as_object_mut()) {
        // The salted hash of the person for whom a system asked.
        fields.insert("altId".to_owned(), Value::String(format!("sha256:{acting}")));
    }
    user
}

/// By its opaque name, or by its role at its member.
fn reader(reader: &SpiffeId, names: bool) -> Value {
    let kind = match reader.role() {
        Role::Service | Role::Device | Role::Node => "Device",
        Role::Patient => "RelatedPerson",
        Role::Clinician | Role::Researcher | Role::Auditor | Role::Admin => "PractitionerRole",
    };
    match names {
        true => of_type(kind, URI, &reader.to_string()),
        false => of_type(kind, OWN_ROLE, &format!("{}@{}", reader.role().as_str(), reader.member())),
    }
}

/// Of the conditions of a query the ledger has a salted hash: it stands for them.
fn query(event: &AccessEvent) -> Value {
    let mut entity = json!({
        "type": coding(ENTITY_TYPE, "2", "System Object"),
        "role": coding(OBJECT_ROLE, "24", "Query"),
    });
    if let (Some(hash), Some(fields)) = (event.query, entity.as_object_mut()) {
        fields.insert("query".to_owned(), Value::String(base64(&hash.to_bytes())));
        let what = "SHA-256 of a salt and the conditions, which the reader's member keeps";
        fields.insert("description".to_owned(), Value::String(what.to_owned()));
    }
    entity
}

fn record(version: &VersionRef) -> Value {
    json!({
        "type": coding(ENTITY_TYPE, "2", "System Object"),
        "role": coding(OBJECT_ROLE, "4", "Domain Resource"),
        "what": named(OWN_RECORD, &version.record.to_string()),
        "detail": [detail("version", &version.version.to_string())],
    })
}

fn reason(event: &AccessEvent) -> Value {
    json!({ "coding": [{ "system": ACT_REASON, "code": purpose::code(event.purpose) }] })
}

fn ledger(style: AuditStyle) -> Value {
    named(OWN_LEDGER, &style.ledger.to_string())
}

fn coding(system: &str, code: &str, display: &str) -> Value {
    json!({ "system": system, "code": code, "display": display })
}

fn concept(system: &str, code: &str, display: &str) -> Value {
    json!({ "coding": [coding(system, code, display)] })
}

fn named(system: &str, value: &str) -> Value {
    json!({ "identifier": { "system": system, "value": value } })
}

fn of_type(kind: &str, system: &str, value: &str) -> Value {
    json!({ "type": kind, "identifier": { "system": system, "value": value } })
}

fn detail(kind: &str, value: &str) -> Value {
    json!({ "type": kind, "valueString": value })
}

/// Why it ended so, for people.
const fn outcome(ground: AccessGround) -> &'static str {
    use AccessGround as G;
    match ground {
        G::Unspecified => "unknown",
        G::Author => "permitted: the reader wrote it",
        G::Custodian => "permitted: the reader's member is the record's custodian",
        G::Patient => "permitted: the reader is the patient",
        G::Representative => "permitted: the reader acts for the patient",
        G::Consent => "permitted: a consent permits it",
        G::Emergency => "permitted: an emergency is in force",
        G::Each => "a list was asked for: it shows only what may be read, perhaps nothing",
        G::NotFound => "denied: no such patient, or no such record of the patient",
        G::Role => "denied: the role reads no records",
        G::ConsentDenies => "denied: a consent forbids it",
        G::NoConsent => "denied: no consent says anything of it",
        G::NoEmergency => "denied: no such emergency is in force",
        G::Policy => "denied: the access policy does not permit it",
        G::PolicyError => "denied: the access policy could not be evaluated",
        G::Restricted => "denied: the record is restricted or erased",
    }
}

fn instant(ms: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |word, (at, byte)| word | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            let place = (word >> (18 - 6 * at) & 63) as usize;
            out.push(if at <= chunk.len() { char::from(ALPHABET[place]) } else { '=' });
        }
    }
    out
}

/// Resources as a Bundle of type `collection`.
#[must_use]
pub fn bundle(resources: Vec<Value>) -> Value {
    let entries: Vec<Value> = resources.into_iter().map(|resource| json!({ "resource": resource })).collect();
    let mut bundle = Map::new();
    bundle.insert("resourceType".to_owned(), Value::String("Bundle".to_owned()));
    bundle.insert("type".to_owned(), Value::String("collection".to_owned()));
    if !entries.is_empty() {
        bundle.insert("entry".to_owned(), Value::Array(entries));
    }
    Value::Object(bundle)
}

#[cfg(test)]
mod tests;
