//! Actions about patients, parsed. What they do is for the rules.

use crate::error::{FieldError, fixed, length_in};
use crate::hash::Hash;
use crate::ids::PatientPseudonym;
use crate::limits::LOOKUPS_MAX;
use crate::pb;

/// An action about a patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatientAction {
    /// See `RegisterPatient`.
    Register(PatientLookups),
    /// See `AddLookups`.
    AddLookups(PatientLookups),
}

/// A patient and commitments to what it is found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatientLookups {
    /// The pseudonym.
    pub patient: PatientPseudonym,
    /// Distinct.
    pub lookups: Vec<Hash>,
}

impl PatientAction {
    pub(super) fn register(m: &pb::RegisterPatient) -> Result<Self, FieldError> {
        PatientLookups::parse(&m.patient, &m.lookups_sha256, 0).map(Self::Register)
    }

    pub(super) fn add_lookups(m: &pb::AddLookups) -> Result<Self, FieldError> {
        PatientLookups::parse(&m.patient, &m.lookups_sha256, 1).map(Self::AddLookups)
    }

    /// The look-ups that it brings.
    pub(super) fn lookups(&self) -> &PatientLookups {
        match self {
            Self::Register(lookups) | Self::AddLookups(lookups) => lookups,
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
