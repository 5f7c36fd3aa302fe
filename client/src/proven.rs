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
use consilium_proto::error::FieldError;
use consilium_proto::header::Header;
use consilium_proto::ids::Height;
use consilium_proto::keys::EncryptionPublicKey;
use consilium_proto::pb;
use consilium_proto::state_tree::{StateProof, verify_state_proof};
use consilium_proto::vote::{BlockCertificate, CertifiedHeader};
use prost::Message;
use tonic::Code;

use crate::client::{Client, Inner};
use crate::error::ClientError;
use crate::transport::ledger_service;

/// First byte of the state key of an identity (state.proto).
const IDENTITY_KEY_PREFIX: u8 = 0x05;
/// How long a looked-up identity is believed without asking again.
const IDENTITY_CACHE_TIME: Duration = Duration::from_secs(60);
/// Identities kept in the cache.
const IDENTITY_CACHE_MAX: usize = 10_000;
/// How long to wait for the certificate of a header just executed.
const CERTIFICATE_WAIT: Duration = Duration::from_secs(15);
const CERTIFICATE_POLL: Duration = Duration::from_millis(50);
/// Headers walked from an uncertified header to a certified one.
const HEADER_WALK_MAX: u64 = 10_000;

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
        let answer =
            self.read(|channel| async move {
                ledger_service(channel).get_head(pb::GetHeadRequest { read: Some(read) }).await
            })
            .await?;
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
        let (value, header) = self.proven_at(key, None).await?;
        if self.check_age(&header).is_ok() {
            return Ok(value);
        }
        // The ledger may only have been idle.
        self.recent_head().await?;
        let (value, header) = self.proven_at(key, None).await?;
        self.check_age(&header)?;
        Ok(value)
    }

    /// The same, whatever the age of the header that it is proven under.
    pub(crate) async fn proven_at(
        &self,
        key: &[u8],
        read: Option<pb::ReadOptions>,
    ) -> Result<(Option<Bytes>, Header), ClientError> {
        let request = pb::GetStateRequest { key: Bytes::copy_from_slice(key), read };
        let answer = self
            .read(|channel| {
                let request = request.clone();
                async move { ledger_service(channel).get_state(request).await }
            })
            .await?;
        let header = answer.header.as_ref().ok_or_else(|| FieldError::missing("header"))?;
        let header = Header::try_from(header)?;
        let proof = StateProof::decode(&answer.proof).map_err(|e| ClientError::contradiction(e.to_string()))?;
        verify_state_proof(&header.state_root, key, answer.value.as_deref(), &proof)
            .map_err(|e| ClientError::contradiction(e.to_string()))?;
        let certificate = answer.certificate.as_ref().map(BlockCertificate::try_from).transpose()?;
        self.prove_header(&header, certificate).await?;
        Ok((answer.value, header))
    }

    /// Makes sure that a header is final: by its own certificate, or by the
    /// chain of headers to one that is certified.
    async fn prove_header(&self, header: &Header, certificate: Option<BlockCertificate>) -> Result<(), ClientError> {
        self.check_ledger(header)?;
        if let Some(certificate) = certificate {
            return self.verify_certificate(header, &certificate).await;
        }
        let head = self.head_at_least(header.height).await?;
        if head.header.height == header.height {
            return same_header(header, &head.header);
        }
        if head.header.height.0 - header.height.0 > HEADER_WALK_MAX {
            return Err(ClientError::contradiction("the header lies too far behind the newest certified one"));
        }
        self.walk(header, &head.header).await
    }

    async fn head_at_least(&self, height: Height) -> Result<CertifiedHeader, ClientError> {
        let deadline = Instant::now() + CERTIFICATE_WAIT;
        loop {
            let head = self.certified_head().await?;
            if head.header.height >= height {
                return Ok(head);
            }
            if Instant::now() >= deadline {
                return Err(ClientError::Status {
                    code: Code::Unavailable,
                    reason: String::new(),
                    message: format!("height {height} is executed but not certified; the network may lack a quorum"),
                });
            }
            tokio::time::sleep(CERTIFICATE_POLL).await;
        }
    }

    /// Follows the headers between two heights and checks that they are one chain.
    async fn walk(&self, from: &Header, to: &Header) -> Result<(), ClientError> {
        let request = pb::WatchRequest { after_height: from.height.0, headers_only: true };
        let mut headers = self.read(|channel| async move { ledger_service(channel).watch(request).await }).await?;
        let mut tip = from.clone();
        while tip.height < to.height {
            let message =
                headers.message().await?.ok_or_else(|| ClientError::contradiction("the headers end early"))?;
            let Some(block) = message.block else { continue };
            let next = block.header.as_ref().ok_or_else(|| FieldError::missing("block.header"))?;
            let next = Header::try_from(next)?;
            check_link(&tip, &next)?;
            tip = next;
        }
        same_header(&tip, to)
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
        let found = self
            .read(|channel| {
                let request = request.clone();
                async move { IdentityServiceClient::new(channel).get_identity(request).await }
            })
            .await?;
        let mut key = vec![IDENTITY_KEY_PREFIX];
        key.extend_from_slice(spiffe_id.as_bytes());
        let proven = self.proven_state(&key).await?;
        check_identity(spiffe_id, &found, proven.as_ref())?;
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
fn check_identity(spiffe_id: &str, found: &pb::GetIdentityResponse, proven: Option<&Bytes>) -> Result<(), ClientError> {
    let differs =
        |what: &str| Err(ClientError::contradiction(format!("{what} of {spiffe_id} differs from the ledger's state")));
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
    match &found.signer {
        Some(signer) if signer.spiffe_id != spiffe_id => differs("the signer"),
        Some(_) | None => Ok(()),
    }
}

/// Checks that `next` directly follows `tip`.
pub(crate) fn check_link(tip: &Header, next: &Header) -> Result<(), ClientError> {
    let follows = next.height == tip.height.next() && next.previous_hash == tip.hash() && next.time >= tip.time;
    if follows && next.validators_hash == tip.next_validators_hash {
        Ok(())
    } else {
        Err(ClientError::contradiction(format!("the header at height {} does not follow the one before", next.height)))
    }
}

fn same_header(one: &Header, other: &Header) -> Result<(), ClientError> {
    if one == other {
        Ok(())
    } else {
        Err(ClientError::contradiction(format!("the header at height {} differs from the certified one", one.height)))
    }
}

#[cfg(test)]
mod tests;
