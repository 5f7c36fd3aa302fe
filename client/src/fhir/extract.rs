//! Reads from a resource what the ledger needs: who it is about, how
//! confidential it is, and what it can be found by. Fails closed: an unknown
//! confidentiality code is an error, a sensitivity label alone raises it.

use std::collections::{BTreeMap, BTreeSet};

use consilium_proto::limits::TAGS_MAX;
use consilium_proto::pb::Confidentiality;
use serde_json::Value;

use super::compartment::{Element, Level, SUBJECT_ELEMENTS, elements_of, may_span, needs_patient};
use super::consent::sensitivity;
use super::reference::{Place, Scope, identifier_token, identifiers};
use super::{FhirProblem, Home, PatientName, Subject, Tag};

/// A problem and the element, relative to the resource, that has it.
pub(super) type Found = (&'static str, FhirProblem);

const CONFIDENTIALITY_SYSTEMS: [&str; 2] =
    ["http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "http://hl7.org/fhir/v3/Confidentiality"];
const ACT_CODE_SYSTEMS: [&str; 2] =
    ["http://terminology.hl7.org/CodeSystem/v3-ActCode", "http://hl7.org/fhir/v3/ActCode"];
/// Sensitivity labels of v3-ActCode that restrict a record by themselves.
const SENSITIVITIES: [&str; 10] = ["ETH", "ETHUD", "OPIOIDUD", "PSY", "PSYTHPN", "SDV", "HIV", "STD", "SEX", "SICKLE"];

/// The strictest label of `meta.security` (high-water mark).
pub(super) fn confidentiality(resource: &Value) -> Result<Confidentiality, Found> {
    let mut highest = None;
    for label in list(resource.get("meta").and_then(|m| m.get("security"))) {
        let text = |key| label.get(key).and_then(Value::as_str).unwrap_or("");
        let (system, code) = (text("system"), text("code"));
        let level = if CONFIDENTIALITY_SYSTEMS.contains(&system) {
            Some(parse_code(code).ok_or(("meta.security", FhirProblem::Confidentiality))?)
        } else if ACT_CODE_SYSTEMS.contains(&system) && restricts(code) {
            Some(Confidentiality::Restricted)
        } else {
            None
        };
        highest = highest.max(level);
    }
    Ok(highest.unwrap_or(Confidentiality::Normal))
}

/// Whether a sensitivity label restricts a record by itself.
#[must_use]
pub fn restricts(code: &str) -> bool {
    SENSITIVITIES.contains(&code)
}

/// The sensitivity codes of `meta.security`, each once.
pub(super) fn labels(resource: &Value) -> Vec<&'static str> {
    let security = list(resource.get("meta").and_then(|m| m.get("security")));
    let labels = security.iter().filter_map(|label| {
        let text = |key| label.get(key).and_then(Value::as_str).unwrap_or("");
        ACT_CODE_SYSTEMS.contains(&text("system")).then(|| sensitivity(text("code"))).flatten()
    });
    labels.collect::<BTreeSet<_>>().into_iter().collect()
}

/// An HL7 v3 Confidentiality code.
pub(crate) fn parse_code(code: &str) -> Option<Confidentiality> {
    Some(match code {
        "U" => Confidentiality::Unrestricted,
        "L" => Confidentiality::Low,
        "M" => Confidentiality::Moderate,
        "N" => Confidentiality::Normal,
        "R" => Confidentiality::Restricted,
        "V" => Confidentiality::VeryRestricted,
        _ => return None,
    })
}

/// What a resource is read with.
pub(super) struct Reading<'a> {
    /// The resources of the same Bundle.
    pub(super) scope: &'a Scope,
    /// What the resource itself is called, and where it comes from.
    pub(super) place: &'a Place,
    /// Whose ids these are.
    pub(super) home: &'a Home,
}

/// Who the resource is about.
pub(super) fn subject(resource: &Value, kind: &str, reading: &Reading<'_>) -> Result<Subject, Found> {
    let itself = &reading.place.itself;
    if kind == "Patient" {
        return Ok(Subject::Patient(itself.clone()));
    }
    let reader = ReferenceReader { resource, reading };
    let elements = elements_of(kind);
    let mut patients = reader.named_by(elements, Level::Subject)?;
    if patients.is_empty() {
        patients = reader.named_by(elements, Level::Other)?;
    }
    if elements.is_empty() {
        for path in SUBJECT_ELEMENTS {
            patients.extend(reader.all(path, true)?);
        }
    }
    let paths = || patients.iter().map(|(path, _)| *path).collect::<BTreeSet<_>>().into_iter().collect();
    let mut each = distinct(&patients).into_values();
    match (each.next(), each.next()) {
        (Some(one), None) => Ok(Subject::Patient(one)),
        (None, _) if needs_patient(kind) => Err(("", FhirProblem::NoPatient { paths: looked_in(elements) })),
        (Some(_), Some(_)) if !may_span(kind) => Err(("", FhirProblem::SeveralPatients { paths: paths() })),
        (None, _) | (Some(_), Some(_)) => Ok(Subject::Itself(itself.canonical().to_owned())),
    }
}

/// Where a patient is looked for, in that order.
fn looked_in(elements: &[Element]) -> Vec<&'static str> {
    let at = |level| elements.iter().filter(move |element| element.level == level).map(|element| element.path);
    at(Level::Subject).chain(at(Level::Other)).collect()
}

/// Each patient once, with all former forms of the references to it.
fn distinct(patients: &[(&'static str, PatientName)]) -> BTreeMap<String, PatientName> {
    let mut out: BTreeMap<String, PatientName> = BTreeMap::new();
    for (_, patient) in patients {
        let both = match out.remove(patient.canonical()) {
            Some(known) => known.with(patient.clone()),
            None => patient.clone(),
        };
        out.insert(both.canonical().to_owned(), both);
    }
    out
}

/// What stands at a path of names, through all lists.
fn values_at<'a>(value: &'a Value, path: &str, out: &mut Vec<&'a Value>) {
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    for item in list(value.get(name)) {
        match rest {
            "" => out.push(item),
            rest => values_at(item, rest, out),
        }
    }
}

struct ReferenceReader<'a> {
    resource: &'a Value,
    reading: &'a Reading<'a>,
}

/// Before a type that `Reference.type` gives in full.
const TYPE_URL: &str = "http://hl7.org/fhir/StructureDefinition/";

impl<'a> ReferenceReader<'a> {
    /// The patients that elements of a level name, with their paths.
    fn named_by(&self, elements: &[Element], level: Level) -> Result<Vec<(&'static str, PatientName)>, Found> {
        let mut out = Vec::new();
        for element in elements.iter().filter(|element| element.level == level) {
            out.extend(self.all(element.path, element.says_patient())?);
        }
        Ok(out)
    }

    /// Names of those references at a path that mean a patient. `says_patient`: one of unknown type does.
    fn all(&self, path: &'static str, says_patient: bool) -> Result<Vec<(&'static str, PatientName)>, Found> {
        let mut references = Vec::new();
        values_at(self.resource, path, &mut references);
        let named = references.into_iter().map(|reference| self.patient(reference, says_patient));
        let named = named.collect::<Result<Vec<_>, _>>().map_err(|problem| (path, problem))?;
        Ok(named.into_iter().flatten().map(|name| (path, name)).collect())
    }

    fn patient(&self, reference: &Value, says_patient: bool) -> Result<Option<PatientName>, FhirProblem> {
        let typed = reference.get("type").and_then(Value::as_str);
        let typed = typed.map(|typed| typed.strip_prefix(TYPE_URL).unwrap_or(typed));
        let is_patient = |kind: Option<&str>| kind.map_or(says_patient, |kind| kind == "Patient");
        let Some(text) = reference.get("reference").and_then(Value::as_str) else {
            let token = reference.get("identifier").and_then(identifier_token);
            return Ok(token.filter(|_| is_patient(typed)).as_deref().map(PatientName::from));
        };
        if let Some(local) = text.strip_prefix('#') {
            return Ok(self.contained(local));
        }
        let resolved = self.reading.scope.resolve(text, self.reading.place, self.reading.home);
        if let (Some(kind), Some(typed)) = (resolved.kind, typed)
            && kind != typed
        {
            return Err(FhirProblem::OtherType);
        }
        Ok(is_patient(resolved.kind.or(typed)).then_some(resolved.name))
    }

    fn contained(&self, id: &str) -> Option<PatientName> {
        let contained = list(self.resource.get("contained"));
        let found = contained.iter().find(|c| c.get("id").and_then(Value::as_str) == Some(id))?;
        let is_patient = found.get("resourceType").and_then(Value::as_str) == Some("Patient");
        let token = is_patient.then(|| identifiers(found).into_iter().next()).flatten()?;
        Some(PatientName::from(token.as_str()))
    }
}

/// What the resource can be found by, in order of preference, each once.
pub(super) fn tags(resource: &Value, kind: &str, reading: &Reading<'_>) -> Vec<Tag> {
    let mut out: Vec<Tag> = Vec::new();
    let mut add = |name: &'static str, value: String| {
        let tag = Tag { name, value };
        if out.len() < TAGS_MAX && !out.contains(&tag) {
            out.push(tag);
        }
    };
    if let Some(id) = resource.get("id").and_then(Value::as_str) {
        add("id", format!("{kind}/{id}"));
    }
    for reference in encounters(resource) {
        let resolved = reading.scope.resolve(reference, reading.place, reading.home);
        if resolved.kind.is_none_or(|k| k == "Encounter") {
            add("encounter", resolved.name.canonical().to_owned());
        }
    }
    list(resource.get("category")).iter().flat_map(codings).for_each(|value| add("category", value));
    for element in code_elements(kind) {
        list(resource.get(*element)).iter().flat_map(codings).for_each(|value| add("code", value));
    }
    identifiers(resource).into_iter().for_each(|value| add("identifier", value));
    out
}

fn code_elements(kind: &str) -> &'static [&'static str] {
    match kind {
        "Encounter" | "DocumentReference" => &["code", "type"],
        _ => &["code", "vaccineCode", "medicationCodeableConcept"],
    }
}

fn encounters(resource: &Value) -> impl Iterator<Item = &str> {
    let context = resource.get("context");
    let nested = context.and_then(|c| c.get("encounter"));
    [resource.get("encounter"), nested, context]
        .into_iter()
        .flat_map(list)
        .filter_map(|r| r.get("reference").and_then(Value::as_str))
        .filter(|r| !r.starts_with('#'))
}

/// `system|code` of a CodeableConcept's codings; the system may be absent.
fn codings(concept: &Value) -> Vec<String> {
    let token = |coding: &Value| {
        let code = coding.get("code")?.as_str()?;
        let system = coding.get("system").and_then(Value::as_str).unwrap_or("");
        Some(format!("{system}|{code}"))
    };
    list(concept.get("coding")).iter().filter_map(token).collect()
}

/// An array's items, or one thing as a list of itself, or nothing.
pub(super) fn list(value: Option<&Value>) -> &[Value] {
    match value {
        Some(Value::Array(items)) => items,
        Some(one) => std::slice::from_ref(one),
        None => &[],
    }
}
