//! Consents, requests for access, emergencies and custody, parsed. What they do is for the
//! rules.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::consent::Grant;
use crate::error::{FieldError, fixed, in_range, length_in};
use crate::hash::Hash;
use crate::ids::{ConsentId, DisclosureId, EmergencyId, PatientPseudonym, ProjectTag, RecordId, TimeMs};
use crate::limits::ACCESS_RECORDS_MAX;
use crate::names::MemberId;
use crate::pb::{self, AccessKind, EmergencyReason, PatientChangeKind, PurposeOfUse, ReviewVerdict};
use crate::purpose;

/// An action about a consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsentAction {
    /// See `PutConsent`.
    Put(PutConsent),
    /// See `RevokeConsent`.
    Revoke(ConsentId),
}

/// A version of a consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutConsent {
    /// The consent.
    pub id: ConsentId,
    /// From 1.
    pub version: u32,
    /// The patient.
    pub patient: PatientPseudonym,
    /// What it says.
    pub grant: Grant,
    /// Commitment to the signed document.
    pub document: Option<Hash>,
}

impl ConsentAction {
    pub(super) fn put(m: &pb::PutConsent) -> Result<Self, FieldError> {
        in_range("version", m.version.into(), 1, u32::MAX.into())?;
        let grant = m.grant.as_ref().ok_or_else(|| FieldError::missing("grant"))?;
        Ok(Self::Put(PutConsent {
            id: ConsentId::parse("consent_id", &m.consent_id)?,
            version: m.version,
            patient: PatientPseudonym::parse("patient", &m.patient)?,
            grant: Grant::parse(grant).map_err(|e| e.within("grant"))?,
            document: optional("document_sha256", &m.document_sha256, hash)?,
        }))
    }

    pub(super) fn revoke(m: &pb::RevokeConsent) -> Result<Self, FieldError> {
        ConsentId::parse("consent_id", &m.consent_id).map(Self::Revoke)
    }

    /// What the patient's log has of it, once it takes effect; whose consent is ended, the action does
    /// not say.
    #[must_use]
    pub fn change(&self) -> (Option<&PatientPseudonym>, pb::PatientChange) {
        match self {
            Self::Put(put) => {
                let change = pb::PatientChange {
                    kind: PatientChangeKind::ConsentPut.into(),
                    to_ms: put.grant.period.to.0,
                    evidence_sha256: put.document.map(|hash| hash.to_bytes()).unwrap_or_default(),
                    consent_id: Bytes::copy_from_slice(&put.id.0),
                    consent_version: put.version,
                    ..Default::default()
                };
                (Some(&put.patient), change)
            }
            Self::Revoke(id) => {
                let (kind, consent_id) = (PatientChangeKind::ConsentEnded.into(), Bytes::copy_from_slice(&id.0));
                (None, pb::PatientChange { kind, consent_id, ..Default::default() })
            }
        }
    }
}

/// A request to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestAccess {
    /// The patient.
    pub patient: PatientPseudonym,
    /// What for.
    pub purpose: PurposeOfUse,
    /// What is asked for.
    pub kind: AccessKind,
    /// Distinct; none for a query.
    pub records: Vec<VersionRef>,
    /// Commitment to the conditions of a query.
    pub query: Option<Hash>,
    /// The emergency for which it is.
    pub emergency: Option<EmergencyId>,
    /// Commitment to who acts.
    pub acting: Option<Hash>,
    /// A project of research.
    pub project: Option<ProjectTag>,
    /// When it was read without a quorum, by the reader's own clock.
    pub late: Option<TimeMs>,
    /// What keeps its entry from the patient.
    pub sealed_by: Option<SealedBy>,
}

/// A disclosure whose seal holds for an entry, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedBy {
    /// The disclosure.
    pub disclosure: DisclosureId,
    /// Of the entry's seal.
    pub salt: [u8; 16],
}

/// A version of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionRef {
    /// The record.
    pub record: RecordId,
    /// 0: the newest.
    pub version: u32,
}

impl From<&VersionRef> for pb::VersionRef {
    fn from(version: &VersionRef) -> Self {
        Self { record_id: Bytes::copy_from_slice(&version.record.0), version: version.version }
    }
}

impl TryFrom<&pb::VersionRef> for VersionRef {
    type Error = FieldError;

    fn try_from(m: &pb::VersionRef) -> Result<Self, FieldError> {
        Ok(Self { record: RecordId::parse("record_id", &m.record_id)?, version: m.version })
    }
}

impl RequestAccess {
    pub(super) fn parse(m: &pb::RequestAccess) -> Result<Self, FieldError> {
        let unknown = || FieldError::malformed("kind", "is not a known kind of request");
        let kind = AccessKind::try_from(m.kind).map_err(|_| unknown())?;
        let records = match kind {
            AccessKind::Query => {
                length_in("records", m.records.len(), 0, 0)?;
                Vec::new()
            }
            AccessKind::History | AccessKind::Read | AccessKind::Export => parse_records(&m.records, 1)?,
            AccessKind::Disclosure | AccessKind::Change | AccessKind::Unspecified => return Err(unknown()),
        };
        let query = optional("query_sha256", &m.query_sha256, hash)?;
        if query.is_some() != (kind == AccessKind::Query) {
            return Err(FieldError::malformed("query_sha256", "is for queries, which must have one"));
        }
        let purpose = purpose::parse("purpose", m.purpose)?;
        let emergency = optional("emergency_id", &m.emergency_id, EmergencyId::parse)?;
        if emergency.is_some() != (purpose == PurposeOfUse::Btg) {
            return Err(FieldError::malformed("emergency_id", "is for the purpose BTG, which must have one"));
        }
        let patient = PatientPseudonym::parse("patient", &m.patient)?;
        let acting = optional("acting_sha256", &m.acting_sha256, hash)?;
        let project = optional("project", &m.project, ProjectTag::parse)?;
        let sealed_by = m.sealed_by.as_ref().map(|by| SealedBy::parse(by).map_err(|e| e.within("sealed_by")));
        let sealed_by = sealed_by.transpose()?;
        if sealed_by.is_some() && kind == AccessKind::Query {
            return Err(FieldError::malformed("sealed_by", "is not for queries"));
        }
        if m.late_ms != 0 && (kind != AccessKind::Read || sealed_by.is_some()) {
            return Err(FieldError::malformed(
                "late_ms",
                "is for reading contents alone, and what is read so is not sealed",
            ));
        }
        let late = (m.late_ms != 0).then_some(TimeMs(m.late_ms));
        Ok(Self { patient, purpose, kind, records, query, emergency, acting, project, sealed_by, late })
    }
}

impl SealedBy {
    fn parse(m: &pb::SealedBy) -> Result<Self, FieldError> {
        let disclosure = DisclosureId::parse("disclosure_id", &m.disclosure_id)?;
        Ok(Self { disclosure, salt: fixed("salt", &m.salt)? })
    }
}

/// Versions that an action names, at least so many, distinct.
pub(super) fn parse_records(m: &[pb::VersionRef], min: usize) -> Result<Vec<VersionRef>, FieldError> {
    length_in("records", m.len(), min, ACCESS_RECORDS_MAX)?;
    let records = m.iter().map(|r| VersionRef::try_from(r).map_err(|e| e.within("records")));
    let records = records.collect::<Result<Vec<_>, _>>()?;
    if records.iter().collect::<BTreeSet<_>>().len() != records.len() {
        return Err(FieldError::malformed("records", "names a version twice"));
    }
    // Which one the newest was, the event says: it must not be taken for another that was named.
    let also_named = |newest: &VersionRef| records.iter().filter(|other| other.record == newest.record).count() > 1;
    if records.iter().any(|version| version.version == 0 && also_named(version)) {
        return Err(FieldError::malformed("records", "names a record by its newest version and by another"));
    }
    Ok(records)
}

/// An action about an emergency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmergencyAction {
    /// See `DeclareEmergency`.
    Declare(DeclareEmergency),
    /// See `ReviewEmergency`.
    Review {
        /// The emergency.
        id: EmergencyId,
        /// What was found.
        verdict: ReviewVerdict,
        /// Commitment to the text.
        note: Option<Hash>,
    },
}

/// A declared emergency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeclareEmergency {
    /// The emergency.
    pub id: EmergencyId,
    /// The patient.
    pub patient: PatientPseudonym,
    /// Why.
    pub reason: EmergencyReason,
    /// Commitment to the reason in words, which is attached.
    pub text: Option<Hash>,
    /// Commitment to who acts.
    pub acting: Option<Hash>,
}

impl EmergencyAction {
    pub(super) fn declare(m: &pb::DeclareEmergency) -> Result<Self, FieldError> {
        let reason = EmergencyReason::try_from(m.reason).ok().filter(|r| *r != EmergencyReason::Unspecified);
        Ok(Self::Declare(DeclareEmergency {
            id: EmergencyId::parse("emergency_id", &m.emergency_id)?,
            patient: PatientPseudonym::parse("patient", &m.patient)?,
            reason: reason.ok_or_else(|| FieldError::malformed("reason", "is not a known reason"))?,
            text: optional("text_sha256", &m.text_sha256, hash)?,
            acting: optional("acting_sha256", &m.acting_sha256, hash)?,
        }))
    }

    pub(super) fn review(m: &pb::ReviewEmergency) -> Result<Self, FieldError> {
        let verdict = ReviewVerdict::try_from(m.verdict).ok().filter(|v| *v != ReviewVerdict::Unspecified);
        Ok(Self::Review {
            id: EmergencyId::parse("emergency_id", &m.emergency_id)?,
            verdict: verdict.ok_or_else(|| FieldError::malformed("verdict", "is not a known verdict"))?,
            note: optional("note_sha256", &m.note_sha256, hash)?,
        })
    }

    /// Of which emergency.
    #[must_use]
    pub const fn id(&self) -> &EmergencyId {
        match self {
            Self::Declare(declared) => &declared.id,
            Self::Review { id, .. } => id,
        }
    }

    /// What the entry of the patient's log says of it, and of a declaration when it ends. Whose
    /// emergency it was, a review does not say.
    #[must_use]
    pub fn said(&self, ends: TimeMs) -> pb::AccessEvent {
        let (patient, acting, change) = match self {
            Self::Declare(declared) => {
                let kind = PatientChangeKind::EmergencyDeclared.into();
                let (reason, to_ms) = (declared.reason as u32, ends.0);
                let change = pb::PatientChange { kind, to_ms, reason, ..Default::default() };
                (Some(&declared.patient), declared.acting, change)
            }
            Self::Review { verdict, .. } => {
                let kind = PatientChangeKind::EmergencyReviewed.into();
                (None, None, pb::PatientChange { kind, verdict: *verdict as u32, ..Default::default() })
            }
        };
        pb::AccessEvent {
            patient: patient.map(|patient| Bytes::copy_from_slice(&patient.0)).unwrap_or_default(),
            emergency_id: Bytes::copy_from_slice(&self.id().0),
            acting_sha256: acting.map(|hash| hash.to_bytes()).unwrap_or_default(),
            change: Some(change),
            ..pb::AccessEvent::default()
        }
    }
}

pub(super) fn hash(field: &str, bytes: &[u8]) -> Result<Hash, FieldError> {
    fixed(field, bytes).map(Hash::from_bytes)
}

/// A member that may be left out.
pub(super) fn member(field: &str, id: &str) -> Result<Option<MemberId>, FieldError> {
    (!id.is_empty()).then(|| MemberId::parse(field, id)).transpose()
}

/// A field that may be empty.
pub(super) fn optional<T>(
    field: &str,
    bytes: &[u8],
    parse: impl Fn(&str, &[u8]) -> Result<T, FieldError>,
) -> Result<Option<T>, FieldError> {
    (!bytes.is_empty()).then(|| parse(field, bytes)).transpose()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn request(change: impl FnOnce(&mut pb::RequestAccess)) -> Result<RequestAccess, String> {
        let mut request = pb::RequestAccess {
            patient: vec![1; 16].into(),
            purpose: PurposeOfUse::Treat.into(),
            kind: AccessKind::Read.into(),
            records: vec![named(1, 0), named(2, 1), named(2, 2)],
            ..pb::RequestAccess::default()
        };
        change(&mut request);
        RequestAccess::parse(&request).map_err(|e| e.field)
    }

    fn named(record: u8, version: u32) -> pb::VersionRef {
        pb::VersionRef { record_id: vec![record; 16].into(), version }
    }

    #[test]
    fn requests_are_refused_by_the_field_that_is_wrong() {
        assert!(request(|_| ()).is_ok());
        type Change = fn(&mut pb::RequestAccess);
        let cases: [(&str, Change); 12] = [
            ("patient", |r| r.patient = vec![1; 15].into()),
            ("purpose", |r| r.purpose = 0),
            ("kind", |r| r.kind = 0),
            ("kind", |r| r.kind = AccessKind::Disclosure.into()),
            ("records", |r| r.records.clear()),
            ("records", |r| r.records.push(named(2, 1))),
            ("records", |r| r.records.push(named(2, 0))),
            ("records", |r| r.kind = AccessKind::Query.into()),
            ("query_sha256", |r| r.query_sha256 = vec![1; 32].into()),
            ("sealed_by.salt", |r| {
                r.sealed_by = Some(pb::SealedBy { disclosure_id: vec![1; 16].into(), salt: vec![].into() });
            }),
            ("emergency_id", |r| r.emergency_id = vec![1; 16].into()),
            ("emergency_id", |r| r.purpose = PurposeOfUse::Btg.into()),
        ];
        for (field, change) in cases {
            assert_eq!(request(change).unwrap_err(), field);
        }
    }
}
