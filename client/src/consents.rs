//! Consents: put on the ledger, replaced and ended; and what a patient's consents say of a
//! question, for whoever has to explain it. The rules decide by the same functions
//! ([`consilium_proto::consent`]).

mod explain;

use bytes::Bytes;
use consilium_proto::consent::Grant;
use consilium_proto::hash::Hash;
use consilium_proto::ids::{ConsentId, PatientPseudonym};
use consilium_proto::pb::{self, action::Action};

use crate::client::Client;
use crate::emergencies::FRESH_IDS_MAX;
use crate::error::ClientError;
use crate::submit::Submitted;

pub(crate) use explain::Whose;
pub use explain::{ConsentSays, Explained, Pseudonyms, Question};

/// Puts and ends consents.
#[derive(Debug, Clone)]
pub struct Consents {
    client: Client,
}

/// A version of a consent, to be put on the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentDraft {
    /// The consent.
    pub id: ConsentId,
    /// 1, or one more than the version that it replaces.
    pub version: u32,
    /// Whose records it is about.
    pub patient: PatientPseudonym,
    /// What it says.
    pub grant: Grant,
    /// Salted hash of the signed document or its scan ([`crate::documents`]). One on paper, which
    /// is put by an identity that is no patient, must have one.
    pub document: Option<Hash>,
}

impl ConsentDraft {
    /// A new consent, under a random id.
    #[must_use]
    pub fn new(patient: PatientPseudonym, grant: Grant, document: Option<Hash>) -> Self {
        Self { id: ConsentId(rand::random()), version: 1, patient, grant, document }
    }

    /// The same in place of a version that is on the ledger.
    ///
    /// # Errors
    /// If there can be no version after that one.
    pub fn replacing(self, id: ConsentId, version: u32) -> Result<Self, ClientError> {
        let next = version.checked_add(1);
        let version = next.ok_or_else(|| ClientError::Usage("the consent has too many versions".into()))?;
        Ok(Self { id, version, ..self })
    }

    /// The action that puts it.
    #[must_use]
    pub fn action(&self) -> pb::Action {
        let put = pb::PutConsent {
            consent_id: Bytes::copy_from_slice(&self.id.0),
            version: self.version,
            patient: Bytes::copy_from_slice(&self.patient.0),
            grant: Some((&self.grant).into()),
            document_sha256: self.document.map(|hash| hash.to_bytes()).unwrap_or_default(),
        };
        pb::Action { action: Some(Action::PutConsent(put)) }
    }
}

impl Consents {
    /// Those that this identity may put: of role patient its own and those of whom it speaks for;
    /// of role service or clinician those on paper, which bind its member alone.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Puts a consent, or a further version of one. It holds once this returns. If the id of a new one
    /// is taken, as by a leader that has seen it before others did, another one is drawn: it is the
    /// draft's then.
    ///
    /// # Errors
    /// As [`Client::submit`]; [`ClientError::Rejected`] if nobody has accepted this identity for
    /// the patient, if the version is not the one after, or a paper consent has no document; and if
    /// [`FRESH_IDS_MAX`] ids were taken.
    pub async fn put(&self, draft: &mut ConsentDraft) -> Result<Submitted, ClientError> {
        for _ in 1..FRESH_IDS_MAX {
            match self.put_once(draft).await {
                Err(ClientError::Rejected { outcome: pb::Outcome::ConsentConflict, .. }) if draft.version == 1 => {
                    draft.id = ConsentId(rand::random());
                }
                done => return done,
            }
        }
        self.put_once(draft).await
    }

    async fn put_once(&self, draft: &ConsentDraft) -> Result<Submitted, ClientError> {
        let signed = self.client.sign(vec![draft.action()], Vec::new())?;
        self.client.submit(signed, pb::WaitFor::Certified).await?.into_applied()
    }

    /// Ends a consent. What was read and whose keys were given out before stays so.
    ///
    /// # Errors
    /// As [`Client::submit`]; [`ClientError::Rejected`] if there is no such consent that this
    /// identity may end.
    pub async fn revoke(&self, id: ConsentId) -> Result<Submitted, ClientError> {
        let revoke = pb::RevokeConsent { consent_id: Bytes::copy_from_slice(&id.0) };
        let action = pb::Action { action: Some(Action::RevokeConsent(revoke)) };
        let signed = self.client.sign(vec![action], Vec::new())?;
        self.client.submit(signed, pb::WaitFor::Certified).await?.into_applied()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use consilium_proto::pb::ConsentBase;

    use super::*;

    #[test]
    fn a_draft_is_the_action_that_the_rules_read() {
        let grant = Grant::of_base(ConsentBase::BreakGlassOnly);
        let first = ConsentDraft::new(PatientPseudonym([1; 16]), grant.clone(), None);
        let Some(Action::PutConsent(put)) = first.action().action else { panic!("another action") };
        assert_eq!((put.version, &put.patient[..], put.document_sha256.len()), (1, &[1; 16][..], 0));
        assert_eq!(Grant::parse(put.grant.as_ref().unwrap()), Ok(grant));
        let next = first.clone().replacing(first.id, 1).unwrap();
        assert_eq!((next.id, next.version), (first.id, 2));
        assert!(first.clone().replacing(first.id, u32::MAX).is_err());
    }
}
