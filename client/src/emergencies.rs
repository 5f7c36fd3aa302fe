//! Emergencies: declared, alone or with the request to read that they are for, and reviewed.
//!
//! A declaration opens a patient's records to its author at once, for a time that the members
//! have agreed on; the patient sees it, and an auditor of the author's member reviews it.

use bytes::Bytes;
use consilium_proto::hash::Hash;
use consilium_proto::ids::{EmergencyId, PatientPseudonym};
use consilium_proto::pb::{self, AccessKind, EmergencyReason, PurposeOfUse, ReviewVerdict, action::Action};
use consilium_proto::state::keys;
use consilium_proto::transaction::VersionRef;
use prost::Message;

use crate::client::Client;
use crate::error::ClientError;
use crate::submit::Submitted;

/// An emergency that is about to be declared, and what is to be read in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    id: EmergencyId,
    patient: PatientPseudonym,
    reason: EmergencyReason,
    acting: Option<Hash>,
    records: Vec<VersionRef>,
}

impl Declaration {
    /// One under a random id.
    #[must_use]
    pub fn new(patient: PatientPseudonym, reason: EmergencyReason) -> Self {
        Self { id: EmergencyId(rand::random()), patient, reason, acting: None, records: Vec::new() }
    }

    /// Its id: requests to read name it, and its review.
    #[must_use]
    pub fn id(&self) -> EmergencyId {
        self.id
    }

    /// For whom a system acts: a salted hash ([`crate::documents`]); the member keeps what is
    /// behind it.
    #[must_use]
    pub fn acting(self, acting: Hash) -> Self {
        Self { acting: Some(acting), ..self }
    }

    /// Asks for versions of records in the same transaction, so that one certified block both
    /// opens them and logs it; at most 256, distinct.
    #[must_use]
    pub fn reading(self, records: Vec<VersionRef>) -> Self {
        Self { records, ..self }
    }

    /// The declaration and, if anything is to be read, the request after it: for one transaction,
    /// in this order.
    #[must_use]
    pub fn actions(&self) -> Vec<pb::Action> {
        let (id, patient) = (Bytes::copy_from_slice(&self.id.0), Bytes::copy_from_slice(&self.patient.0));
        let acting_sha256 = self.acting.map(|hash| hash.to_bytes()).unwrap_or_default();
        let declare = pb::DeclareEmergency {
            emergency_id: id.clone(),
            patient: patient.clone(),
            reason: self.reason.into(),
            text_sha256: Bytes::new(),
            acting_sha256: acting_sha256.clone(),
        };
        let request = pb::RequestAccess {
            patient,
            purpose: PurposeOfUse::Btg.into(),
            kind: AccessKind::Read.into(),
            records: self.records.iter().map(Into::into).collect(),
            emergency_id: id,
            acting_sha256,
            ..Default::default()
        };
        let request = (!self.records.is_empty()).then_some(Action::RequestAccess(request));
        let actions = [Some(Action::DeclareEmergency(declare)), request].into_iter().flatten();
        actions.map(|action| pb::Action { action: Some(action) }).collect()
    }
}

impl Client {
    /// Declares an emergency, with the request that it holds, if any. By a clinician or a service.
    ///
    /// # Errors
    /// As [`Client::submit`]; [`ClientError::Rejected`].
    pub async fn declare_emergency(&self, declaration: &Declaration) -> Result<Submitted, ClientError> {
        let signed = self.sign(declaration.actions(), Vec::new())?;
        self.submit(signed, pb::WaitFor::Certified).await?.into_applied()
    }

    /// Reviews an emergency, once and for all: one that was not justified ends at once. By an
    /// auditor of the member that declared it. `note` is the salted hash of the review's text.
    ///
    /// # Errors
    /// As [`Client::submit`]; [`ClientError::Rejected`] if there is no such emergency that this
    /// identity may review, or somebody has.
    pub async fn review_emergency(
        &self,
        id: EmergencyId,
        verdict: ReviewVerdict,
        note: Option<Hash>,
    ) -> Result<Submitted, ClientError> {
        let review = pb::ReviewEmergency {
            emergency_id: Bytes::copy_from_slice(&id.0),
            verdict: verdict.into(),
            note_sha256: note.map(|hash| hash.to_bytes()).unwrap_or_default(),
        };
        let action = pb::Action { action: Some(Action::ReviewEmergency(review)) };
        let signed = self.sign(vec![action], Vec::new())?;
        self.submit(signed, pb::WaitFor::Certified).await?.into_applied()
    }

    /// An emergency, proven; `None`: proven to be none. For auditors.
    ///
    /// # Errors
    /// As [`Client::proven_state`].
    pub async fn emergency(&self, id: EmergencyId) -> Result<Option<pb::EmergencyState>, ClientError> {
        let row = self.proven_state(&keys::emergency(&id)).await?;
        let decoded = row.map(pb::EmergencyState::decode).transpose();
        decoded.map_err(|_| ClientError::contradiction("the row of the emergency is none"))
    }
}

#[cfg(test)]
mod tests {
    use consilium_proto::ids::RecordId;

    use super::*;

    #[test]
    fn a_declaration_comes_before_the_request_that_it_is_for() {
        let alone = Declaration::new(PatientPseudonym([1; 16]), EmergencyReason::Danger);
        assert_eq!(alone.actions().len(), 1);
        let record = VersionRef { record: RecordId([2; 16]), version: 0 };
        let both = alone.clone().acting(Hash::of(&[b"who"])).reading(vec![record]);
        let actions: Vec<_> = both.actions().into_iter().filter_map(|action| action.action).collect();
        let [Action::DeclareEmergency(declared), Action::RequestAccess(request)] = &actions[..] else {
            panic!("other actions: {actions:?}")
        };
        assert_eq!(declared.emergency_id, request.emergency_id);
        assert_eq!((declared.emergency_id.len(), request.records.len()), (16, 1));
        assert_eq!((request.purpose(), request.kind()), (PurposeOfUse::Btg, AccessKind::Read));
        assert_eq!((&declared.acting_sha256, &declared.patient), (&request.acting_sha256, &request.patient));
    }
}
