//! Record versions: what a write says of one, and its retraction. Contents, descriptors and key
//! wraps are attachments; here stand their commitments.

use crate::error::{FieldError, fixed, in_range, length_in};
use crate::hash::Hash;
use crate::ids::{KeyId, PatientPseudonym, PolicyTag, RecordId};
use crate::limits::{KIND_CHARS_MAX, PAYLOAD_BYTES_MAX, POLICY_TAGS_MAX, WRAPS_MAX};
use crate::pb;

/// A parsed record version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteRecord {
    /// The record.
    pub record_id: RecordId,
    /// From 1.
    pub version: u32,
    /// The patient.
    pub patient: PatientPseudonym,
    /// Resource type.
    pub kind: String,
    /// Confidentiality.
    pub confidentiality: pb::Confidentiality,
    /// Commitment to the payload.
    pub payload_hash: Hash,
    /// Bytes.
    pub payload_size: u32,
    /// Commitment to the descriptor, if it has search tags.
    pub descriptor_hash: Option<Hash>,
    /// Recipients and commitments.
    pub wraps: Vec<WrapRef>,
    /// Ascending.
    pub policy_tags: Vec<PolicyTag>,
}

/// A commitment to a key wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrapRef {
    /// The recipient's key.
    pub recipient: KeyId,
    /// Commitment.
    pub wrap_hash: Hash,
}

/// A parsed retraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetractRecord {
    /// The record.
    pub record_id: RecordId,
    /// Its current version.
    pub version: u32,
    /// Why.
    pub reason: pb::RetractionReason,
}

/// A parsed confirmation of a retraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfirmRetraction {
    /// The record.
    pub record_id: RecordId,
    /// The version that retracts it.
    pub version: u32,
}

impl WriteRecord {
    pub(super) fn parse(m: &pb::WriteRecord) -> Result<Self, FieldError> {
        in_range("version", m.version.into(), 1, u32::MAX.into())?;
        in_range("payload_size", m.payload_size.into(), 1, PAYLOAD_BYTES_MAX.into())?;
        check_kind(&m.kind)?;
        let confidentiality = pb::Confidentiality::try_from(m.confidentiality)
            .ok()
            .filter(|c| *c != pb::Confidentiality::Unspecified)
            .ok_or_else(|| FieldError::malformed("confidentiality", "is not a known code"))?;
        length_in("wraps", m.wraps.len(), 0, WRAPS_MAX)?;
        let descriptor_hash = match m.descriptor_sha256.is_empty() {
            true => None,
            false => Some(Hash::from_bytes(fixed("descriptor_sha256", &m.descriptor_sha256)?)),
        };
        let wraps = m.wraps.iter().map(WrapRef::parse).collect::<Result<Vec<_>, _>>()?;
        let distinct: std::collections::BTreeSet<_> = wraps.iter().map(|w| w.recipient).collect();
        if distinct.len() != wraps.len() {
            return Err(FieldError::malformed("wraps", "names a recipient twice"));
        }
        length_in("policy_tags", m.policy_tags.len(), 0, POLICY_TAGS_MAX)?;
        let policy_tags = m.policy_tags.iter().map(|tag| PolicyTag::parse("policy_tags", tag));
        let policy_tags = policy_tags.collect::<Result<Vec<_>, _>>()?;
        if !policy_tags.is_sorted_by(|a, b| a < b) {
            return Err(FieldError::malformed("policy_tags", "must be ascending and distinct"));
        }
        Ok(Self {
            record_id: RecordId::parse("record_id", &m.record_id)?,
            version: m.version,
            policy_tags,
            patient: PatientPseudonym::parse("patient", &m.patient)?,
            kind: m.kind.clone(),
            confidentiality,
            payload_hash: Hash::from_bytes(fixed("payload_sha256", &m.payload_sha256)?),
            payload_size: m.payload_size,
            descriptor_hash,
            wraps,
        })
    }
}

impl WrapRef {
    fn parse(m: &pb::KeyWrapRef) -> Result<Self, FieldError> {
        Ok(Self {
            recipient: KeyId::from_bytes(fixed("wraps.recipient_key_id", &m.recipient_key_id)?),
            wrap_hash: Hash::from_bytes(fixed("wraps.wrap_sha256", &m.wrap_sha256)?),
        })
    }
}

impl RetractRecord {
    pub(super) fn parse(m: &pb::RetractRecord) -> Result<Self, FieldError> {
        in_range("version", m.version.into(), 1, u32::MAX.into())?;
        let reason = pb::RetractionReason::try_from(m.reason)
            .map_err(|_| FieldError::malformed("reason", "is not a known reason"))?;
        Ok(Self { record_id: RecordId::parse("record_id", &m.record_id)?, version: m.version, reason })
    }
}

impl RetractRecord {
    /// What the log of the record's patient has of it: nothing of a mere mistake.
    #[must_use]
    pub fn change(&self) -> Option<pb::PatientChange> {
        let misfiled = self.reason == pb::RetractionReason::WrongPatient;
        misfiled.then(|| change_of(&self.record_id, pb::PatientChangeKind::Misfiled))
    }
}

impl ConfirmRetraction {
    pub(super) fn parse(m: &pb::ConfirmRetraction) -> Result<Self, FieldError> {
        in_range("version", m.version.into(), 2, u32::MAX.into())?;
        Ok(Self { record_id: RecordId::parse("record_id", &m.record_id)?, version: m.version })
    }

    /// What the log of the record's patient has of it.
    #[must_use]
    pub fn change(&self) -> pb::PatientChange {
        change_of(&self.record_id, pb::PatientChangeKind::MisfiledConfirmed)
    }
}

fn change_of(record: &RecordId, kind: pb::PatientChangeKind) -> pb::PatientChange {
    let record_id = bytes::Bytes::copy_from_slice(&record.0);
    pb::PatientChange { kind: kind.into(), record_id, ..pb::PatientChange::default() }
}

/// Checks a record's kind: `[A-Za-z][A-Za-z0-9.-]{0,63}`.
///
/// # Errors
/// If it has another form.
pub fn check_kind(kind: &str) -> Result<(), FieldError> {
    length_in("kind", kind.len(), 1, KIND_CHARS_MAX)?;
    let rest_ok = kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
    if rest_ok && kind.as_bytes()[0].is_ascii_alphabetic() {
        Ok(())
    } else {
        Err(FieldError::malformed("kind", "must be letters, digits, '.' or '-', a letter first"))
    }
}
