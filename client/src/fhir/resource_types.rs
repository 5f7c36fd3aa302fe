//! Which of the resource types of FHIR R4 (4.0.1) must name a patient to become a record. Only
//! tables; nothing here reads a document.

pub(crate) use consilium_proto::resource_types::resource_type;

/// Types that are always about one patient, ascending. R4 lets some of them
/// stand without a subject; a ledger of medical records does not.
#[rustfmt::skip]
const CLINICAL: [&str; 27] = [
    "AllergyIntolerance", "CarePlan", "Claim", "ClaimResponse", "ClinicalImpression", "Condition", "Consent",
    "Coverage", "DeviceUseStatement", "DiagnosticReport", "DocumentReference", "Encounter", "EpisodeOfCare",
    "ExplanationOfBenefit", "FamilyMemberHistory", "Goal", "ImagingStudy", "Immunization", "MedicationAdministration",
    "MedicationDispense", "MedicationRequest", "MedicationStatement", "NutritionOrder", "Observation", "Procedure",
    "RelatedPerson", "ServiceRequest",
];

/// Whether `name` is a resource type of R4.
#[must_use]
pub fn is_resource_type(name: &str) -> bool {
    resource_type(name).is_some()
}

/// Whether a resource of this type must name a patient.
#[must_use]
pub fn needs_patient(kind: &str) -> bool {
    CLINICAL.binary_search(&kind).is_ok()
}

#[cfg(test)]
mod tests;
