//! Light validation of R4: the type is known, the id has its form, required
//! elements of the types below are there, one choice of each `[x]`, and the
//! invariants that matter for reading a record rightly.
//!
//! This is what holds whatever the setting of [`super::validate`], which looks
//! at everything that R4 defines.

use serde_json::{Map, Value};

use super::FhirProblem;

type Found = (String, FhirProblem);

/// Required at the root, by type. `x[x]` is a choice.
#[rustfmt::skip]
const REQUIRED: [(&str, &[&str]); 16] = [
    ("AllergyIntolerance", &["patient"]),
    ("AuditEvent", &["type", "recorded", "agent", "source"]),
    ("Condition", &["subject"]),
    ("Consent", &["status", "scope", "category"]),
    ("DiagnosticReport", &["status", "code"]),
    ("DocumentReference", &["status", "content"]),
    ("Encounter", &["status", "class"]),
    ("Immunization", &["status", "vaccineCode", "patient", "occurrence[x]"]),
    ("MedicationAdministration", &["status", "medication[x]", "subject", "effective[x]"]),
    ("MedicationDispense", &["status", "medication[x]"]),
    ("MedicationRequest", &["status", "intent", "medication[x]", "subject"]),
    ("MedicationStatement", &["status", "medication[x]", "subject"]),
    ("Observation", &["status", "code"]),
    ("Patient", &[]),
    ("Procedure", &["status", "subject"]),
    ("Provenance", &["target", "recorded", "agent"]),
];

/// Choices that no type may make twice.
const CHOICES: [&str; 6] = ["value", "effective", "medication", "occurrence", "onset", "deceased"];

/// Checks a resource of a known type.
///
/// # Errors
/// The first problem, with the path below the resource.
pub fn check(resource: &Map<String, Value>, kind: &str) -> Result<(), (String, FhirProblem)> {
    if let Some(id) = resource.get("id") {
        let id = id.as_str().ok_or_else(|| typed("id", "a string"))?;
        if !is_id(id) {
            return Err(("id".into(), FhirProblem::Id));
        }
    }
    for element in ["meta", "text"] {
        if resource.get(element).is_some_and(|v| !v.is_object()) {
            return Err(typed(element, "an object"));
        }
    }
    let required = REQUIRED.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, list)| list);
    for element in required {
        require(resource, element)?;
    }
    for choice in CHOICES {
        if choices(resource, choice).len() > 1 {
            return Err((format!("{choice}[x]"), FhirProblem::SeveralChoices));
        }
    }
    invariants(resource, kind)
}

fn typed(element: &str, expected: &'static str) -> Found {
    (element.to_owned(), FhirProblem::Type { expected })
}

fn require(resource: &Map<String, Value>, element: &str) -> Result<(), Found> {
    let present = match element.strip_suffix("[x]") {
        Some(choice) => !choices(resource, choice).is_empty(),
        // A primitive may have only its extensions, in `_name`.
        None => resource.contains_key(element) || resource.contains_key(&format!("_{element}")),
    };
    if present { Ok(()) } else { Err((element.to_owned(), FhirProblem::Missing)) }
}

/// The elements that choose `name[x]`: `name` and a type name in upper case.
fn choices<'a>(resource: &'a Map<String, Value>, name: &str) -> Vec<&'a str> {
    let chosen = |key: &&String| {
        let rest = key.strip_prefix('_').unwrap_or(key).strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
    };
    let mut found: Vec<&str> = resource.keys().filter(chosen).map(|k| k.strip_prefix('_').unwrap_or(k)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn invariants(resource: &Map<String, Value>, kind: &str) -> Result<(), Found> {
    let violated = |element: &str, rule, meaning| Err((element.to_owned(), FhirProblem::Invariant { rule, meaning }));
    match kind {
        "Observation" if resource.contains_key("dataAbsentReason") && !choices(resource, "value").is_empty() => {
            violated("dataAbsentReason", "obs-6", "only present where value[x] is not")
        }
        "Condition" if code_of(resource, "verificationStatus") == Some("entered-in-error") => {
            match resource.contains_key("clinicalStatus") {
                true => violated("clinicalStatus", "con-5", "not present if verificationStatus is entered-in-error"),
                false => Ok(()),
            }
        }
        "AllergyIntolerance" => {
            let entered_in_error = code_of(resource, "verificationStatus") == Some("entered-in-error");
            match (entered_in_error, resource.contains_key("clinicalStatus")) {
                (true, true) => violated("clinicalStatus", "ait-2", "not present if entered-in-error"),
                (false, false) => violated("clinicalStatus", "ait-1", "present unless entered-in-error"),
                (true, false) | (false, true) => Ok(()),
            }
        }
        "Consent" if !resource.contains_key("policy") && !resource.contains_key("policyRule") => {
            violated("policy", "ppc-1", "either a policy or a policyRule is present")
        }
        _ => Ok(()),
    }
}

fn code_of<'a>(resource: &'a Map<String, Value>, element: &str) -> Option<&'a str> {
    resource.get(element)?.get("coding")?.get(0)?.get("code")?.as_str()
}

/// The form of an id: `[A-Za-z0-9\-.]{1,64}`.
fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

#[cfg(test)]
mod tests;
