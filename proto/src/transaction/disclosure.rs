//! Disclosures under a legal duty, parsed. What they do is for the rules.

use bytes::Bytes;

use super::access::parse_records;
use crate::error::{FieldError, fixed};
use crate::hash::Hash;
use crate::ids::{DisclosureId, PatientPseudonym, TimeMs};
use crate::pb::{self, DisclosureBasis, DisclosureRecipient, SealBasis};
use crate::transaction::VersionRef;

/// An action about a disclosure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DisclosureAction {
    /// See `Disclose`.
    Disclose(Disclose),
    /// See `ConfirmDisclosure`.
    Confirm(DisclosureId),
}

/// A disclosure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disclose {
    /// The disclosure.
    pub id: DisclosureId,
    /// The patient.
    pub patient: PatientPseudonym,
    /// Why.
    pub basis: DisclosureBasis,
    /// Commitment to the order.
    pub order: Hash,
    /// Distinct; none: all of the member's.
    pub records: Vec<VersionRef>,
    /// To what kind of authority.
    pub recipient: DisclosureRecipient,
    /// Commitment to whom exactly.
    pub recipient_hash: Hash,
    /// What keeps its entry from the patient.
    pub seal: Option<Seal>,
}

impl From<&Disclose> for pb::Disclose {
    fn from(disclose: &Disclose) -> Self {
        Self {
            disclosure_id: Bytes::copy_from_slice(&disclose.id.0),
            patient: Bytes::copy_from_slice(&disclose.patient.0),
            basis: disclose.basis.into(),
            order_sha256: disclose.order.to_bytes(),
            records: disclose.records.iter().map(Into::into).collect(),
            recipient: disclose.recipient.into(),
            recipient_sha256: disclose.recipient_hash.to_bytes(),
            seal: disclose.seal.as_ref().map(Into::into),
        }
    }
}

/// Keeps an entry from the patient until a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// Block time at which it ends.
    pub until: TimeMs,
    /// Why.
    pub basis: SealBasis,
    /// So that its hash does not tell what it says.
    pub salt: [u8; 16],
    /// Commitment to the order.
    pub order: Hash,
}

impl Seal {
    fn parse(m: &pb::Seal) -> Result<Self, FieldError> {
        let basis = SealBasis::try_from(m.basis).ok().filter(|basis| *basis != SealBasis::Unspecified);
        Ok(Self {
            until: TimeMs(m.until_ms),
            basis: basis.ok_or_else(|| FieldError::malformed("basis", "is not a known basis"))?,
            salt: fixed("salt", &m.salt)?,
            order: fixed("basis_sha256", &m.basis_sha256).map(Hash::from_bytes)?,
        })
    }
}

impl From<&Seal> for pb::Seal {
    fn from(seal: &Seal) -> Self {
        Self {
            until_ms: seal.until.0,
            basis: seal.basis.into(),
            salt: Bytes::copy_from_slice(&seal.salt),
            basis_sha256: seal.order.to_bytes(),
        }
    }
}

impl DisclosureAction {
    pub(super) fn disclose(m: &pb::Disclose) -> Result<Self, FieldError> {
        let basis = DisclosureBasis::try_from(m.basis).ok().filter(|b| *b != DisclosureBasis::Unspecified);
        let recipient = DisclosureRecipient::try_from(m.recipient).ok();
        let recipient = recipient.filter(|recipient| *recipient != DisclosureRecipient::Unspecified);
        Ok(Self::Disclose(Disclose {
            id: DisclosureId::parse("disclosure_id", &m.disclosure_id)?,
            patient: PatientPseudonym::parse("patient", &m.patient)?,
            basis: basis.ok_or_else(|| FieldError::malformed("basis", "is not a known basis"))?,
            order: fixed("order_sha256", &m.order_sha256).map(Hash::from_bytes)?,
            records: parse_records(&m.records, 0)?,
            recipient: recipient.ok_or_else(|| FieldError::malformed("recipient", "is not a known recipient"))?,
            recipient_hash: fixed("recipient_sha256", &m.recipient_sha256).map(Hash::from_bytes)?,
            seal: m.seal.as_ref().map(|seal| Seal::parse(seal).map_err(|e| e.within("seal"))).transpose()?,
        }))
    }

    pub(super) fn confirm(m: &pb::ConfirmDisclosure) -> Result<Self, FieldError> {
        DisclosureId::parse("disclosure_id", &m.disclosure_id).map(Self::Confirm)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn disclosures_are_refused_by_the_field_that_is_wrong() {
        let disclose = pb::Disclose {
            disclosure_id: vec![1; 16].into(),
            patient: vec![2; 16].into(),
            basis: DisclosureBasis::CourtOrder.into(),
            order_sha256: vec![3; 32].into(),
            records: vec![pb::VersionRef { record_id: vec![4; 16].into(), version: 0 }],
            recipient: DisclosureRecipient::Court.into(),
            recipient_sha256: vec![5; 32].into(),
            seal: Some(pb::Seal {
                until_ms: 1,
                basis: SealBasis::Protection.into(),
                salt: vec![6; 16].into(),
                basis_sha256: vec![7; 32].into(),
            }),
        };
        let Ok(DisclosureAction::Disclose(parsed)) = DisclosureAction::disclose(&disclose) else { panic!() };
        assert_eq!(pb::Disclose::from(&parsed), disclose, "it comes back as it was");
        assert!(DisclosureAction::disclose(&pb::Disclose { records: vec![], ..disclose.clone() }).is_ok());
        type Change = fn(&mut pb::Disclose);
        let cases: [(&str, Change); 9] = [
            ("disclosure_id", |d| d.disclosure_id = vec![1; 15].into()),
            ("basis", |d| d.basis = 0),
            ("order_sha256", |d| d.order_sha256 = vec![].into()),
            ("records", |d| d.records.push(d.records[0].clone())),
            ("recipient", |d| d.recipient = 99),
            ("seal.basis", |d| d.seal.as_mut().unwrap().basis = 0),
            ("seal.salt", |d| d.seal.as_mut().unwrap().salt = vec![6; 15].into()),
            ("seal.basis_sha256", |d| d.seal.as_mut().unwrap().basis_sha256 = vec![].into()),
            ("recipient_sha256", |d| d.recipient_sha256 = vec![].into()),
        ];
        for (field, change) in cases {
            let mut changed = disclose.clone();
            change(&mut changed);
            assert_eq!(DisclosureAction::disclose(&changed).unwrap_err().field, field);
        }
    }
}
