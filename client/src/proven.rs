//! Answers that are proven, not believed: certified heads, values of the
//! authenticated state, identities with the keys that records are wrapped for.
//!
//! A node that could hand out a key of its own choice would read what is
//! encrypted for somebody else; so a recipient's key counts only with a proof
//! against a header that the validators have certified. What this cannot show
//! is that the answer is the newest: a node may be behind, at most by the age that
//! the profile allows.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use bytes::Bytes;
use consilium_grpc::identity_service_client::IdentityServiceClient;
use consilium_proto::error::{FieldError, fixed};
use consilium_proto::header::{Header, HeaderProof};
use consilium_proto::ids::{Fingerprint, Height};
use consilium_proto::keys::EncryptionPublicKey;
use consilium_proto::pb;
use consilium_proto::record::KnownSigner;
use consilium_proto::state::keys;
use consilium_proto::state_tree::{StateProof, verify_state_proof};
use consilium_proto::vote::CertifiedHeader;
use prost::Message;

use crate::client::{Client, Inner};
use crate::error::ClientError;
use crate::transport::ledger_service;

/// How long a looked-up identity is believed without asking again.
const IDENTITY_CACHE_TIME: Duration = Duration::from_secs(60);
/// Identities kept in the cache.
const IDENTITY_CACHE_MAX: usize = 10_000;

impl Client {
    /// The newest certified header that a node knows, verified.
    ///
    /// # Errors
    /// As [`Self::read`], or an answer that proves nothing.
    pub async fn certified_head(&self) -> Result<CertifiedHeader, ClientError> {
        let read = pb::ReadOptions {
            // Any certified head proves itself; asking the leader adds nothing.
            consistency: Some(pb::read_options::Consistency::MinHeight(0)),
        };
        let request = pb::GetHeadRequest { read: Some(read) };
        let ask = |channel, request| async move { ledger_service(channel).get_head(request).await };
        let answered = self.ask("GetHead", request, ask).await?;
        let head = self.check_head(&answered.answer).await;
        self.judged(&answered, head)
    }

    async fn check_head(&self, answer: &pb::GetHeadResponse) -> Result<CertifiedHeader, ClientError> {
        let head = answer.head.as_ref().ok_or_else(|| FieldError::missing("head"))?;
        let head = CertifiedHeader::try_from(head)?;
        self.verify_header(&head).await?;
        Ok(head)
    }

    /// A value of the authenticated state (keys as in state.proto), proven to
    /// be there, or proven to be absent, under a certified header.
    ///
    /// # Errors
    /// As [`Self::read`], or an answer that proves nothing.
    pub async fn proven_state(&self, key: &[u8]) -> Result<Option<Bytes>, ClientError> {
        let (value, _) = self.recent(|| self.proven_at(key, None)).await?;
        Ok(value)
    }

    /// Asks for something that is proven under a header, which must be recent enough.
    ///
    /// # Errors
    /// Those of `ask`, and as [`Self::recent_head`].
    pub(crate) async fn recent<T, F, Fut>(&self, ask: F) -> Result<(T, Header), ClientError>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<(T, Header), ClientError>>,
    {
        let first = ask().await?;
        if self.check_age(&first.1).is_ok() {
            return Ok(first);
        }
        // The ledger may only have been idle.
        self.recent_head().await?;
        let again = ask().await?;
        self.check_age(&again.1)?;
        Ok(again)
    }

    /// The same, whatever the age of the header that it is proven under.
    pub(crate) async fn proven_at(
        &self,
        key: &[u8],
        read: Option<pb::ReadOptions>,
    ) -> Result<(Option<Bytes>, Header), ClientError> {
        let request = pb::GetStateRequest { key: Bytes::copy_from_slice(key), read };
        let ask = |channel, request| async move { ledger_service(channel).get_state(request).await };
        let answered = self.ask("GetState", request, ask).await?;
        let header = self.check_state(key, &answered.answer).await;
        let header = self.judged(&answered, header)?;
        Ok((answered.answer.value, header))
    }

    async fn check_state(&self, key: &[u8], answer: &pb::GetStateResponse) -> Result<Header, ClientError> {
        let header = self.final_header(answer.header.as_ref()).await?;
        let proof = StateProof::decode(&answer.proof).map_err(|e| ClientError::contradiction(e.to_string()))?;
        verify_state_proof(&header.state_root, key, answer.value.as_deref(), &proof)
            .map_err(|e| ClientError::contradiction(e.to_string()))?;
        Ok(header)
    }

    /// The header that an answer was read at, if what comes with it makes it final.
    pub(crate) async fn final_header(&self, proof: Option<&pb::HeaderProof>) -> Result<Header, ClientError> {
        let proof = proof.ok_or_else(|| FieldError::missing("header"))?;
        let proof = HeaderProof::try_from(proof).map_err(|e| e.within("header"))?;
        let certified = proof.certified().map_err(|e| ClientError::contradiction(e.to_string()))?;
        self.verify_header(&certified).await?;
        Ok(proof.into_header())
    }

    /// Who signs with a key that had signed by a height, proven. It never changes, so it is asked
    /// for once, and of any node that is so far, whether it hears a quorum or not.
    ///
    /// # Errors
    /// As [`Self::proven_state`]; a key that nobody has enrolled.
    pub(crate) async fn signer(&self, key: &Fingerprint, by: Height) -> Result<KnownSigner, ClientError> {
        if let Some(known) = self.inner().signers.lock().unwrap_or_else(PoisonError::into_inner).get(key) {
            return Ok(known.clone());
        }
        let read = pb::ReadOptions { consistency: Some(pb::read_options::Consistency::MinHeight(by.0)) };
        let (row, _) = self.proven_at(&keys::signer(key), Some(read)).await?;
        let row =
            row.ok_or_else(|| ClientError::contradiction("what was signed is signed by nobody who is enrolled"))?;
        let state = pb::SignerState::decode(row).map_err(|_| FieldError::malformed("value", "is not a signer"))?;
        let known = KnownSigner::try_from(&state)?;
        let mut signers = self.inner().signers.lock().unwrap_or_else(PoisonError::into_inner);
        if signers.len() >= IDENTITY_CACHE_MAX {
            signers.clear();
        }
        signers.insert(*key, known.clone());
        Ok(known)
    }

    /// The newest enrolment of an identity, with keys proven against a
    /// certified header. Cached for a minute.
    ///
    /// # Errors
    /// As [`Self::read`]; NOT_FOUND if it is not enrolled; an answer that
    /// proves nothing.
    pub async fn identity_of(&self, spiffe_id: &str) -> Result<pb::GetIdentityResponse, ClientError> {
        if let Some(known) = self.inner().cached_identity(spiffe_id) {
            return Ok(known);
        }
        let request = pb::GetIdentityRequest { spiffe_id: spiffe_id.to_owned(), read: None };
        let ask = |channel, request| async move { IdentityServiceClient::new(channel).get_identity(request).await };
        let answered = self.ask("GetIdentity", request, ask).await?;
        let proven = self.proven_state(&keys::identity(spiffe_id)).await?;
        let state = self.judged(&answered, check_identity(spiffe_id, &answered.answer, proven.as_ref()))?;
        let key = fixed("signing_key_id", &state.signing_key_id).map(Fingerprint::from_bytes)?;
        let signer = self.proven_state(&keys::signer(&key)).await?;
        self.judged(&answered, check_signer(spiffe_id, &answered.answer, signer.as_ref()))?;
        let found = answered.answer;
        self.inner().cache_identity(spiffe_id, &found);
        Ok(found)
    }
}

impl Inner {
    fn cached_identity(&self, spiffe_id: &str) -> Option<pb::GetIdentityResponse> {
        let cache = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, found) = cache.get(spiffe_id)?;
        (since.elapsed() < IDENTITY_CACHE_TIME.min(self.refresh())).then(|| found.clone())
    }

    fn cache_identity(&self, spiffe_id: &str, found: &pb::GetIdentityResponse) {
        let mut cache = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= IDENTITY_CACHE_MAX {
            cache.clear();
        }
        cache.insert(spiffe_id.to_owned(), (Instant::now(), found.clone()));
    }
}

/// Compares an answer with the state that was proven. The key itself needs no
/// further proof: the state names it by its hash.
fn check_identity(
    spiffe_id: &str,
    found: &pb::GetIdentityResponse,
    proven: Option<&Bytes>,
) -> Result<pb::IdentityState, ClientError> {
    let differs = |what: &str| Err(differs(what, spiffe_id));
    let proven = proven.map(|value| pb::IdentityState::decode(value.clone()));
    let state = match proven {
        Some(Ok(state)) => state,
        Some(Err(_)) | None => return differs("the enrolment"),
    };
    if found.identity.as_ref() != Some(&state) {
        return differs("the enrolment");
    }
    if state.encryption_key_id.is_empty() != found.encryption_key.is_empty() {
        return differs("the encryption key");
    }
    if !found.encryption_key.is_empty() {
        let key = EncryptionPublicKey::decode(&found.encryption_key)?;
        if key.fingerprint()[..] != state.encryption_key_id[..] {
            return differs("the encryption key");
        }
    }
    Ok(state)
}

fn check_signer(spiffe_id: &str, found: &pb::GetIdentityResponse, proven: Option<&Bytes>) -> Result<(), ClientError> {
    let state = proven.map(|value| pb::SignerState::decode(value.clone())).transpose();
    match state {
        Ok(Some(state)) if found.signer.as_ref() == Some(&state) && state.spiffe_id == spiffe_id => Ok(()),
        Ok(_) | Err(_) => Err(differs("the signer", spiffe_id)),
    }
}

fn differs(what: &str, spiffe_id: &str) -> ClientError {
    ClientError::contradiction(format!("{what} of {spiffe_id} differs from the ledger's state"))
}

/// Checks that `next` directly follows `tip`.
pub(crate) fn check_link(tip: &Header, next: &Header) -> Result<(), ClientError> {
    if next.follows(tip) {
        Ok(())
    } else {
        Err(ClientError::contradiction(format!("the header at height {} does not follow the one before", next.height)))
    }
}

#[cfg(test)]
mod tests;
