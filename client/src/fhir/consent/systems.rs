//! Code systems of Consents, and the codes that mean something here.

use consilium_proto::pb::Confidentiality;

use crate::fhir::extract;

pub(in crate::fhir) const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
pub(super) const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
pub(super) const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
pub(in crate::fhir) const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
pub(super) const SCOPE: &str = "http://terminology.hl7.org/CodeSystem/consentscope";
pub(super) const ACTION: &str = "http://terminology.hl7.org/CodeSystem/consentaction";
pub(in crate::fhir) const RESOURCE_TYPES: &str = "http://hl7.org/fhir/resource-types";
/// URIs as identifiers: <https://hl7.org/fhir/R4/identifier-registry.html>.
pub(in crate::fhir) const URI: &str = "urn:ietf:rfc:3986";

/// Names of the ledger itself, where FHIR has none: hexadecimal, or `role@member`.
pub(in crate::fhir) const OWN_RECORD: &str = "urn:consilium:record";
pub(super) const OWN_PROJECT: &str = "urn:consilium:project-tag";
pub(super) const OWN_TAG: &str = "urn:consilium:policy-tag";
/// In the place of a tag: any.
pub(super) const ANY_TAG: &str = "any";
pub(in crate::fhir) const OWN_ROLE: &str = "urn:consilium:role";

/// Roles of those who receive information: `IRCP` (IHE PCF has no other), and below it `PRCP`
/// (HL7's examples).
pub(super) const RECIPIENTS: [&str; 2] = ["IRCP", "PRCP"];

/// The action of a Consent that a grant is about.
pub(super) const ACCESS: &str = "access";

/// Sensitivity codes of v3-ActCode that a rule may name: all that can be chosen in HL7's value
/// set `v3-InformationSensitivityPolicy`, in R5 and HL7 Terminology 6.3 (v3-ActCode 9.0.0; `SICKLE`
/// is retired there, and older labels have it).
const SENSITIVITIES: [&str; 45] = [
    "ADOL", "B", "BH", "CEL", "COGN", "DEMO", "DIA", "DOB", "DRGIS", "DVD", "EMOTDIS", "EMP", "EMPL", "ETH", "ETHUD",
    "GDIS", "GENDER", "HIV", "IDS", "LIVARG", "LOCIS", "MARST", "MH", "MST", "OPIOIDUD", "PATLOC", "PDS", "PHY",
    "PREGNANT", "PRS", "PSY", "PSYTHPN", "RACE", "REL", "SCA", "SDV", "SEX", "SICKLE", "SPI", "SSP", "STD", "SUD",
    "TBOO", "VIO", "VIP",
];

/// The sensitivity codes of v3-ActCode by which records are labelled.
pub fn sensitivities() -> impl Iterator<Item = &'static str> {
    SENSITIVITIES.into_iter()
}

/// One of them, as the table has it.
#[must_use]
pub fn sensitivity(code: &str) -> Option<&'static str> {
    sensitivities().find(|known| *known == code)
}

/// Codes that a denial of this one must reach, too, whichever version of the code system the
/// label was written by.
pub(super) const fn below(code: &str) -> &'static [&'static str] {
    match code.as_bytes() {
        // Above all that is "specially protected": in v3-ActCode 9.0.0 also psychotherapy notes.
        b"SPI" => &["BH", "MH", "PSY", "PSYTHPN", "SUD", "ETH", "ETHUD", "OPIOIDUD", "COGN", "DVD", "EMOTDIS"],
        b"DEMO" => &["DOB", "GENDER", "LIVARG", "MARST", "RACE", "REL"],
        // Two codes of one display, or of one thing.
        b"CEL" => &["VIP"],
        b"VIP" => &["CEL"],
        b"LOCIS" => &["PATLOC"],
        b"ETH" => &["SUD", "ETHUD", "OPIOIDUD"],
        b"SUD" => &["ETH", "ETHUD", "OPIOIDUD"],
        b"PSY" => &["PSYTHPN"],
        b"MH" => &["PSY", "PSYTHPN"],
        b"BH" => &["MH", "PSY", "PSYTHPN", "SUD", "ETH", "ETHUD", "OPIOIDUD", "COGN", "DVD", "EMOTDIS"],
        b"SCA" => &["SICKLE"],
        b"SICKLE" => &["SCA"],
        _ => &[],
    }
}

/// A confidentiality code.
pub(super) fn confidentiality(code: &str) -> Option<Confidentiality> {
    extract::parse_code(code)
}

/// The code of a confidentiality.
pub(super) const fn confidentiality_code(level: Confidentiality) -> Option<&'static str> {
    match level {
        Confidentiality::Unspecified => None,
        Confidentiality::Unrestricted => Some("U"),
        Confidentiality::Low => Some("L"),
        Confidentiality::Moderate => Some("M"),
        Confidentiality::Normal => Some("N"),
        Confidentiality::Restricted => Some("R"),
        Confidentiality::VeryRestricted => Some("V"),
    }
}
