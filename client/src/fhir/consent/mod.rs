//! FHIR R4 Consents brought to the ledger's grants, and grants brought back.
//!
//! [`translate`] reads a Consent as it was received and says what it grants: a
//! [`Grant`], the consent's status, and what a person must confirm. Two dialects
//! are read: R4's own, where the root provision has no type and `policyRule` is the
//! base, and IHE's Privacy Consent on FHIR (PCF), where the root provision has a
//! type and `policy.uri` is the base. The whole table is in `docs/consents.md`.
//!
//! Fail closed, always in the same way:
//! - a *permit* that a grant cannot hold is refused, with its place;
//! - a *denial* that a grant cannot hold is widened: the condition is dropped, it
//!   denies more, and the place is listed in [`Translation::widened`] for a person
//!   to confirm.
//!
//! It knows no network, no clock and no keys. It must never drop a condition of a
//! permit, never guess what an unknown element means, and never put a value of the
//! document into an error: a consent names illnesses and those who treat them.
//!
//! Sources: HL7 FHIR R4 (4.0.1), Consent; IHE ITI.PCF, volume 1 §53.2 and the profiles
//! of volume 3; HL7 v3-ActCode, v3-ActReason, v3-Confidentiality, v3-ParticipationType.

mod conditions;
mod export;
mod mapping;
mod node;
mod period;
mod policy;
mod root;
mod rules;
pub(in crate::fhir) mod systems;

pub use export::{Context, NotExpressible, to_fhir};
pub use mapping::{Labeller, Lookup, Mapping, MappingError};
pub use systems::{sensitivities, sensitivity};

use consilium_proto::consent::Grant;
use consilium_proto::error::FieldError;

use super::FhirProblem;

/// What a Consent says, for the ledger.
#[derive(Clone, PartialEq, Eq)]
pub struct Translation {
    /// What it grants. Of one that has ended: nothing, and it denies nobody in an emergency.
    pub grant: Grant,
    /// Whether it is to be put on the ledger, or taken off it.
    pub status: Status,
    /// Whose records, in canonical form ([`crate::fhir::Reference`]).
    pub patient_reference: String,
    /// Who agreed, in canonical form.
    pub performers: Vec<String>,
    /// Who manages it, in canonical form: of two consents of one organization under one policy
    /// the later holds.
    pub organizations: Vec<String>,
    /// `policy.uri`, for the same rule.
    pub policies: Vec<String>,
    /// `dateTime`; the first moment of it where it is less than exact, in UTC where it has no zone.
    pub date_time_ms: Option<u64>,
    /// Where it denies more than it says, and where the reading needs a person to confirm it.
    pub widened: Vec<Widening>,
}

/// Names and rules are of a patient.
impl std::fmt::Debug for Translation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Translation")
            .field("status", &self.status)
            .field("rules", &self.grant.rules.len())
            .field("widened", &self.widened)
            .finish_non_exhaustive()
    }
}

/// Whether a Consent is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// `active`.
    Active,
    /// `inactive` or `entered-in-error`: the consent on the ledger is to be revoked.
    Ended,
}

/// A place that a person must confirm.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Widening {
    /// Such as `Consent.provision.provision[1].code`.
    pub path: String,
    /// Why.
    pub why: Gap,
}

impl std::fmt::Display for Widening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.why)
    }
}

/// A Consent that cannot be taken. Names the place, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct ConsentProblem {
    /// Such as `Consent.provision.provision[1].actor[0].reference`.
    pub path: String,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a Consent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not R4, or not JSON.
    #[error("{problem} (line {line})")]
    Fhir {
        /// Line of the document, from 1.
        line: usize,
        /// What it is.
        problem: FhirProblem,
    },
    /// An element that R4 does not have there, an extension, or one that changes the meaning.
    #[error("is not an element that can be read here")]
    UnknownElement,
    /// Not a date or time of R4.
    #[error("is not a date or time of FHIR")]
    Time,
    /// The end of a period is before its start.
    #[error("ends before it begins")]
    Backwards,
    /// A status of a draft, a proposal or a refusal.
    #[error("is not active, inactive or entered-in-error")]
    Status,
    /// Not about privacy or research.
    #[error("is not patient-privacy or research")]
    Scope,
    /// It was looked into and not found true.
    #[error("says that the consent is not verified")]
    NotVerified,
    /// A policy that nobody has registered.
    #[error("is not one of the policies of IHE PCF, nor a registered one")]
    UnknownPolicy,
    /// The policy, the policy rule and the type of the root provision say different things.
    #[error("disagrees with the policy of the consent")]
    Disagree,
    /// Provisions in provisions in provisions.
    #[error("is nested deeper than a consent can be")]
    TooDeep,
    /// A permit of a consent to research that is not about research.
    #[error("permits more than research in a consent to research")]
    NotResearch,
    /// A permit that no grant can hold.
    #[error("{0}, and a permit is not taken without it")]
    Unrepresentable(Gap),
    /// More than a grant of the ledger may hold.
    #[error("is no grant: {0}")]
    Grant(FieldError),
}

/// Why a condition has no place in a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Gap {
    /// A reference that the mapping does not know.
    #[error("names nobody and nothing that the mapping knows")]
    Unmapped,
    /// A sensitivity label, and no salt of the patient's labels.
    #[error("is a label, and no salt of the patient's labels is known")]
    UnknownSalt,
    /// The reference and the identifier lead to different ones.
    #[error("names two different ones")]
    TwoNames,
    /// A code that is not known.
    #[error("is a code that is not known")]
    UnknownCode,
    /// An element that says nothing that a grant can hold.
    #[error("is a condition that a grant cannot hold")]
    NoPlace,
    /// An actor who is not the one who reads.
    #[error("is not the role of one who receives information")]
    Role,
    /// An action that is not reading, or not only.
    #[error("is an action other than to access")]
    Action,
    /// A denial by confidentiality: readings differ on whether it means this level and below, or
    /// this level and above.
    #[error("denies by a level of confidentiality, which is read in two ways")]
    DeniedLevel,
    /// Labels and an encounter in one rule.
    #[error("cannot be held together with a security label")]
    LabelsAndEncounter,
    /// No moment is in it in every time zone.
    #[error("is empty in some time zone; write it with a zone")]
    EmptyPeriod,
    /// Conditions of a root provision without a type: some write what is permitted, others what
    /// is withheld.
    #[error("is a condition of a root provision without a type, which is read in two ways")]
    UntypedRoot,
    /// The period of such a provision.
    #[error("is read as the time in which the consent is in force, and not as one that is withheld")]
    PeriodOfForce,
    /// A denial of the root with conditions: it wins over what is nested in it.
    #[error("is a denial with conditions, which the permits within it cannot lift")]
    DenialWins,
}

/// What a Consent grants, from its bytes as received.
///
/// # Errors
/// The first place that cannot be taken; nothing was done then.
pub fn translate(consent: &[u8], mapping: &Mapping<'_>) -> Result<Translation, ConsentProblem> {
    let resource = node::read(consent)?;
    root::translate(&node::Node::root(&resource), mapping)
}

#[cfg(test)]
mod tests;
