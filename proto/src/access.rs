//! Deciding who may read a record: the facts, and the floor under every access policy.
//!
//! The floor is the part of the decision that no policy can widen (guarantee G7): reading needs
//! the author's or the custodian's own right, the patient's, a consent, or an emergency. What
//! the floor permits, the access policy may still forbid. Every node decides by this function
//! of facts that the ledger holds; the caller of it gathers them, and never from a clock, a
//! file, or anything that is erased.

use crate::consent::Said;
use crate::ids::{PolicyTag, RecordId};
use crate::names::{Role, SpiffeId};
use crate::pb::{AccessGround as Ground, AccessKind, Confidentiality, PatientRelation, PurposeOfUse};
use crate::purpose;

/// What is known of a version of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordFacts<'a> {
    /// The record.
    pub id: RecordId,
    /// Resource type.
    pub kind: &'a str,
    /// Of this version.
    pub confidentiality: Confidentiality,
    /// The member that wrote the first version, and is its custodian, or was until it left.
    pub custodian: &'a str,
    /// SPIFFE id of who wrote this version.
    pub author: &'a str,
    /// Policy tags of this version.
    pub tags: &'a [PolicyTag],
    /// Whether it is restricted or erased.
    pub restricted: bool,
}

/// What is known of a request to read a version of a record, when it is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Who reads; an identity that stands.
    pub reader: &'a SpiffeId,
    /// Reviews of emergencies that the reader's member has not made in time.
    pub overdue_reviews: u64,
    /// What is asked for.
    pub kind: AccessKind,
    /// What for.
    pub purpose: PurposeOfUse,
    /// What is read.
    pub record: RecordFacts<'a>,
    /// As what the custodian has accepted the reader, if it may read and that is in force.
    pub accepted_as: Option<PatientRelation>,
    /// The patient is under the care of the reader's member, as somebody else than the reader says.
    pub under_care: bool,
    /// What the consents that bind the custodian say together.
    pub consent: Said,
    /// An emergency of this reader for this patient is in force.
    pub emergency: bool,
    /// A consent forbids even that, and the ledger's parameters let it.
    pub emergency_forbidden: bool,
}

/// The access policy as a pure function: the same text and facts give the same decision on every
/// node. What the floor denies stays denied.
pub trait PolicyRules {
    /// Whether a text can be brought into force.
    fn is_policy(&self, text: &str) -> bool;

    /// What the floor and a policy decide together; without a text, the default policy.
    ///
    /// # Errors
    /// If this machine cannot decide what others can: the node must stop then, and never deny.
    fn decide(&self, text: Option<&str>, facts: &Facts<'_>) -> Result<Ground, PolicyFault>;
}

/// A policy could not be evaluated here. See [`PolicyRules::decide`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the access policy cannot be evaluated on this machine: {0}")]
pub struct PolicyFault(pub String);

/// Whether a ground is one on which reading is permitted.
#[must_use]
pub const fn permits(ground: Ground) -> bool {
    match ground {
        Ground::Author
        | Ground::Custodian
        | Ground::Patient
        | Ground::Representative
        | Ground::Consent
        | Ground::Emergency
        | Ground::Each => true,
        Ground::Unspecified
        | Ground::NotFound
        | Ground::Role
        | Ground::ConsentDenies
        | Ground::NoConsent
        | Ground::NoEmergency
        | Ground::Policy
        | Ground::PolicyError
        | Ground::Restricted => false,
    }
}

/// Whether those of a role ever read records.
#[must_use]
pub const fn reads_records(role: Role) -> bool {
    match role {
        Role::Service | Role::Clinician | Role::Researcher | Role::Patient | Role::Device => true,
        Role::Node | Role::Admin | Role::Auditor => false,
    }
}

/// Whether those of a role may declare an emergency.
#[must_use]
pub const fn declares_emergencies(role: Role) -> bool {
    match role {
        Role::Service | Role::Clinician => true,
        Role::Node | Role::Admin | Role::Auditor | Role::Researcher | Role::Patient | Role::Device => false,
    }
}

/// Whether those of a role may say that records of their member are handed on under a legal duty.
#[must_use]
pub const fn discloses(role: Role) -> bool {
    match role {
        Role::Service | Role::Clinician | Role::Auditor => true,
        Role::Node | Role::Admin | Role::Researcher | Role::Patient | Role::Device => false,
    }
}

impl Facts<'_> {
    /// The reader wrote this version.
    #[must_use]
    pub fn is_author(&self) -> bool {
        self.reader.to_string() == self.record.author
    }

    /// The reader is of the member that wrote the record.
    #[must_use]
    pub fn is_custodian(&self) -> bool {
        self.reader.member().as_str() == self.record.custodian
    }

    /// The strongest ground on which the floor permits it, or why it does not. An emergency
    /// lifts consents, and nothing else; a denial by a rule of a consent binds the custodian's
    /// staff, too, but not the author of the version; a base binds only others.
    #[must_use]
    pub fn floor(&self) -> Ground {
        if !reads_records(self.reader.role()) {
            return Ground::Role;
        }
        if self.record.restricted {
            return Ground::Restricted;
        }
        if purpose::is_emergency(self.purpose) {
            return self.in_emergency();
        }
        match self.accepted_as {
            Some(PatientRelation::Self_) => return Ground::Patient,
            Some(PatientRelation::Guardian | PatientRelation::Proxy | PatientRelation::Executor) => {
                return Ground::Representative;
            }
            Some(PatientRelation::Unspecified) | None => {}
        }
        if self.is_author() {
            return Ground::Author;
        }
        match self.consent {
            Said::RuleDenies => Ground::ConsentDenies,
            _ if self.is_custodian() && self.reader.role() != Role::Patient => Ground::Custodian,
            Said::BasePermits | Said::Permits { .. } => Ground::Consent,
            Said::BaseDenies | Said::OptedOut | Said::AllDenied => Ground::ConsentDenies,
            Said::Nothing | Said::Silent => Ground::NoConsent,
        }
    }

    fn in_emergency(&self) -> Ground {
        match (self.emergency && self.purpose == PurposeOfUse::Btg, self.emergency_forbidden) {
            (true, false) if declares_emergencies(self.reader.role()) => Ground::Emergency,
            (true, true) => Ground::ConsentDenies,
            (true | false, _) => Ground::NoEmergency,
        }
    }
}

#[cfg(test)]
mod tests;
