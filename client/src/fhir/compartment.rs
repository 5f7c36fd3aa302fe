//! Where a resource says whose it is: the patient compartment of FHIR R4
//! (compartmentdefinition-patient.html), as a table that is made out of HL7's own
//! definitions. Only tables; nothing here reads a document.
//!
//! There are two levels. A resource is about whom its *subject* elements name; only if
//! these name no patient it is about the one who took part (performer, author, recipient).
//! So an observation of a baby that its mother has made is the baby's.

mod table;

use table::ELEMENTS;

/// An element that may name a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element {
    /// Type of the resource.
    pub(super) kind: &'static str,
    /// Below the resource, without the indices of lists.
    pub(super) path: &'static str,
    /// What it names.
    pub(super) level: Level,
    /// R4 allows nothing but patients and groups of them there.
    patients_only: bool,
    /// R4 wants it, and in it a patient or a group.
    required: bool,
}

/// What an element names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Whom the resource is about.
    Subject,
    /// Somebody who took part.
    Other,
}

/// By which types name whom they are about, that are not in the compartment (`Contract`).
pub(super) const SUBJECT_ELEMENTS: [&str; 6] = ["patient", "subject", "beneficiary", "individual", "for", "candidate"];

/// Types whose patient R4 does not insist on, and a ledger of medical records does; ascending.
const ALSO_NEED: [&str; 9] = [
    "Consent",
    "DiagnosticReport",
    "DocumentReference",
    "Encounter",
    "Goal",
    "ImagingStudy",
    "MedicationDispense",
    "Observation",
    "ServiceRequest",
];

/// Types that may well be about several patients. They are records of their own then, that only
/// their recipients can relate.
const SPANNING: [&str; 4] = ["AuditEvent", "Group", "Person", "Provenance"];

impl Element {
    /// Whether a reference of unknown type (`urn:uuid:...` that leads nowhere) is a patient's by
    /// where it stands.
    pub(super) fn says_patient(&self) -> bool {
        self.patients_only || SUBJECT_ELEMENTS.contains(&self.path)
    }
}

/// The elements of a type, ascending; none if it is not in the compartment.
pub(super) fn elements_of(kind: &str) -> &'static [Element] {
    let start = ELEMENTS.partition_point(|element| element.kind < kind);
    let of_kind = ELEMENTS[start..].partition_point(|element| element.kind == kind);
    &ELEMENTS[start..start + of_kind]
}

/// Whether a resource of this type must name a patient.
#[must_use]
pub fn needs_patient(kind: &str) -> bool {
    ALSO_NEED.binary_search(&kind).is_ok() || elements_of(kind).iter().any(|element| element.required)
}

/// Whether a resource of this type may name several patients.
pub(super) fn may_span(kind: &str) -> bool {
    SPANNING.contains(&kind)
}

#[cfg(test)]
mod tests;
