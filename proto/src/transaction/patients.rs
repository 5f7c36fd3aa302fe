//! Actions about patients, parsed. What they do is for the rules.

use bytes::Bytes;

use super::WrapRef;
use crate::error::{FieldError, fixed, in_range, length_in};
use crate::hash::Hash;
use crate::ids::{KeyId, PatientPseudonym, SaltId, TimeMs};
use crate::limits::{LOOKUPS_MAX, SALT_KEEPERS_MAX, SALTS_MAX};
use crate::names::{Role, SpiffeId};
use crate::pb::{self, PatientChangeKind as Kind, PatientRelation, RepresentativeScope};

/// An action about a patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatientAction {
    /// See `RegisterPatient`.
    Register(PatientLookups),
    /// See `AddLookups`.
    AddLookups(PatientLookups),
    /// See `AcceptPatient`.
    Accept(AcceptPatient),
    /// See `LinkPatients`.
    Link {
        /// The two.
        pair: PatientPair,
        /// Commitment to what shows it.
        evidence: Hash,
    },
    /// See `UnlinkPatients`.
    Unlink(PatientPair),
    /// See `AttestCare`.
    AttestCare(AttestCare),
    /// See `AttestDeath`.
    AttestDeath(AttestDeath),
    /// See `PutPatientSalt`.
    PutSalt(PutPatientSalt),
}

/// A salt of a patient's labels that is handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutPatientSalt {
    /// The pseudonym.
    pub patient: PatientPseudonym,
    /// By what it is known.
    pub salt: SaltId,
    /// Which one of the member's it is, from 1.
    pub number: usize,
    /// For whom, distinct.
    pub wraps: Vec<WrapRef>,
}

/// A patient and commitments to what it is found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatientLookups {
    /// The pseudonym.
    pub patient: PatientPseudonym,
    /// Distinct.
    pub lookups: Vec<Hash>,
}

/// An identity that is accepted for a patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptPatient {
    /// The pseudonym.
    pub patient: PatientPseudonym,
    /// Of role patient.
    pub identity: SpiffeId,
    /// Whose it is.
    pub relation: PatientRelation,
    /// Whether it may read.
    pub may_read: bool,
    /// Whether it may sign consents.
    pub may_consent: bool,
    /// When it ends; 0: never.
    pub to: TimeMs,
    /// Commitment to what it was accepted upon.
    pub evidence: Hash,
    /// It is taken back.
    pub withdrawn: bool,
    /// What a representative speaks for; `None`: everything.
    pub scope: Option<RepresentativeScope>,
}

/// Two patients, distinct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatientPair {
    /// One.
    pub patient: PatientPseudonym,
    /// The other.
    pub other: PatientPseudonym,
}

/// A care relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttestCare {
    /// The pseudonym.
    pub patient: PatientPseudonym,
    /// When it ends.
    pub to: TimeMs,
    /// Commitment to the encounter.
    pub evidence: Hash,
}

/// A death, or that it was said in error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttestDeath {
    /// The pseudonym.
    pub patient: PatientPseudonym,
    /// Commitment to what shows it.
    pub evidence: Hash,
    /// It is taken back.
    pub withdrawn: bool,
}

impl PatientAction {
    pub(super) fn register(m: &pb::RegisterPatient) -> Result<Self, FieldError> {
        PatientLookups::parse(&m.patient, &m.lookups_sha256, 0).map(Self::Register)
    }

    pub(super) fn add_lookups(m: &pb::AddLookups) -> Result<Self, FieldError> {
        PatientLookups::parse(&m.patient, &m.lookups_sha256, 1).map(Self::AddLookups)
    }

    pub(super) fn accept(m: &pb::AcceptPatient) -> Result<Self, FieldError> {
        let identity: SpiffeId =
            m.identity.parse().map_err(|_| FieldError::malformed("identity", "is not a SPIFFE id"))?;
        if identity.role() != Role::Patient {
            return Err(FieldError::malformed("identity", "must be of role patient"));
        }
        let relation = PatientRelation::try_from(m.relation).ok();
        let relation = relation.filter(|relation| *relation != PatientRelation::Unspecified);
        let relation = relation.ok_or_else(|| FieldError::malformed("relation", "is not a known relation"))?;
        if relation == PatientRelation::Guardian && m.to_ms == 0 && !m.withdrawn {
            return Err(FieldError::malformed("to_ms", "must say when guardianship ends"));
        }
        if relation == PatientRelation::Self_ && m.scope.is_some() {
            return Err(FieldError::malformed("scope", "is for representatives"));
        }
        m.scope.iter().try_for_each(|scope| scope.check().map_err(|e| e.within("scope")))?;
        Ok(Self::Accept(AcceptPatient {
            patient: PatientPseudonym::parse("patient", &m.patient)?,
            identity,
            relation,
            may_read: m.may_read,
            may_consent: m.may_consent,
            to: TimeMs(m.to_ms),
            evidence: hash("evidence_sha256", &m.evidence_sha256)?,
            withdrawn: m.withdrawn,
            scope: m.scope.clone(),
        }))
    }

    pub(super) fn link(m: &pb::LinkPatients) -> Result<Self, FieldError> {
        let evidence = hash("evidence_sha256", &m.evidence_sha256)?;
        Ok(Self::Link { pair: PatientPair::parse(&m.patient, &m.other)?, evidence })
    }

    pub(super) fn unlink(m: &pb::UnlinkPatients) -> Result<Self, FieldError> {
        PatientPair::parse(&m.patient, &m.other).map(Self::Unlink)
    }

    pub(super) fn attest_care(m: &pb::AttestCare) -> Result<Self, FieldError> {
        Ok(Self::AttestCare(AttestCare {
            patient: PatientPseudonym::parse("patient", &m.patient)?,
            to: TimeMs(m.to_ms),
            evidence: hash("evidence_sha256", &m.evidence_sha256)?,
        }))
    }

    pub(super) fn attest_death(m: &pb::AttestDeath) -> Result<Self, FieldError> {
        Ok(Self::AttestDeath(AttestDeath {
            patient: PatientPseudonym::parse("patient", &m.patient)?,
            evidence: hash("evidence_sha256", &m.evidence_sha256)?,
            withdrawn: m.withdrawn,
        }))
    }

    pub(super) fn put_salt(m: &pb::PutPatientSalt) -> Result<Self, FieldError> {
        in_range("number", m.number.into(), 1, SALTS_MAX as u64)?;
        length_in("wraps", m.wraps.len(), 1, SALT_KEEPERS_MAX)?;
        let wrap = |m: &pb::SaltWrap| {
            let recipient = KeyId::from_bytes(fixed("wraps.recipient_key_id", &m.recipient_key_id)?);
            Ok(WrapRef { recipient, wrap_hash: hash("wraps.wrap_sha256", &m.wrap_sha256)? })
        };
        let wraps = m.wraps.iter().map(wrap).collect::<Result<Vec<_>, FieldError>>()?;
        let distinct: std::collections::BTreeSet<_> = wraps.iter().map(|wrap| wrap.recipient).collect();
        if distinct.len() != wraps.len() {
            return Err(FieldError::malformed("wraps", "names a recipient twice"));
        }
        Ok(Self::PutSalt(PutPatientSalt {
            patient: PatientPseudonym::parse("patient", &m.patient)?,
            salt: SaltId::parse("salt_id", &m.salt_id)?,
            number: m.number as usize,
            wraps,
        }))
    }

    /// What the logs of patients have of it, once it takes effect; nothing of what gives or takes no
    /// rights.
    #[must_use]
    pub fn changes(&self) -> Vec<(PatientPseudonym, pb::PatientChange)> {
        match self {
            Self::Accept(accepted) => vec![(accepted.patient, accepted.change())],
            Self::Link { pair, evidence } => pair.changes(Kind::Linked, evidence.to_bytes()),
            Self::Unlink(pair) => pair.changes(Kind::Unlinked, Bytes::new()),
            Self::AttestDeath(death) => {
                let kind = if death.withdrawn { Kind::DeathTakenBack } else { Kind::Died };
                let evidence_sha256 = death.evidence.to_bytes();
                let change = pb::PatientChange { kind: kind.into(), evidence_sha256, ..Default::default() };
                vec![(death.patient, change)]
            }
            Self::AttestCare(care) => vec![(care.patient, care.change())],
            Self::Register(_) | Self::AddLookups(_) | Self::PutSalt(_) => Vec::new(),
        }
    }

    /// The look-ups that it brings, if any.
    pub(super) fn lookups(&self) -> Option<&PatientLookups> {
        match self {
            Self::Register(lookups) | Self::AddLookups(lookups) => Some(lookups),
            Self::Accept(_)
            | Self::Link { .. }
            | Self::Unlink(_)
            | Self::AttestCare(_)
            | Self::AttestDeath(_)
            | Self::PutSalt(_) => None,
        }
    }
}

impl AcceptPatient {
    fn change(&self) -> pb::PatientChange {
        let kind = if self.withdrawn { Kind::AcceptanceEnded } else { Kind::Accepted };
        pb::PatientChange {
            kind: kind.into(),
            identity: self.identity.to_string(),
            relation: self.relation as u32,
            may_read: self.may_read,
            may_consent: self.may_consent,
            to_ms: self.to.0,
            other: Bytes::new(),
            evidence_sha256: self.evidence.to_bytes(),
            record_id: Bytes::new(),
            scope: self.scope.clone(),
            reason: 0,
            verdict: 0,
            consent_id: Bytes::new(),
            consent_version: 0,
        }
    }
}

impl AttestCare {
    fn change(&self) -> pb::PatientChange {
        pb::PatientChange {
            kind: Kind::CareAttested.into(),
            to_ms: self.to.0,
            evidence_sha256: self.evidence.to_bytes(),
            ..Default::default()
        }
    }
}

impl PatientPair {
    /// Each has the other in its log.
    fn changes(&self, kind: Kind, evidence_sha256: Bytes) -> Vec<(PatientPseudonym, pb::PatientChange)> {
        let change = |other: &PatientPseudonym| pb::PatientChange {
            kind: kind.into(),
            other: Bytes::copy_from_slice(&other.0),
            evidence_sha256: evidence_sha256.clone(),
            ..Default::default()
        };
        vec![(self.patient, change(&self.other)), (self.other, change(&self.patient))]
    }

    fn parse(patient: &[u8], other: &[u8]) -> Result<Self, FieldError> {
        let pair = Self {
            patient: PatientPseudonym::parse("patient", patient)?,
            other: PatientPseudonym::parse("other", other)?,
        };
        match pair.patient == pair.other {
            true => Err(FieldError::malformed("other", "is the same patient")),
            false => Ok(pair),
        }
    }
}

impl PatientLookups {
    fn parse(patient: &[u8], lookups: &[bytes::Bytes], min: usize) -> Result<Self, FieldError> {
        length_in("lookups_sha256", lookups.len(), min, LOOKUPS_MAX)?;
        let hashes = lookups.iter().map(|hash| fixed("lookups_sha256", hash).map(Hash::from_bytes));
        let lookups = hashes.collect::<Result<Vec<_>, _>>()?;
        let distinct: std::collections::BTreeSet<_> = lookups.iter().collect();
        if distinct.len() != lookups.len() {
            return Err(FieldError::malformed("lookups_sha256", "names a look-up twice"));
        }
        Ok(Self { patient: PatientPseudonym::parse("patient", patient)?, lookups })
    }
}

fn hash(field: &str, bytes: &[u8]) -> Result<Hash, FieldError> {
    fixed(field, bytes).map(Hash::from_bytes)
}

#[cfg(test)]
mod tests;
