//! The private keys of a custodian. Content keys are unwrapped with them and wrapped again, and
//! never leave this file.

use std::sync::Arc;

use bytes::Bytes;
use consilium_proto::envelope::{EnvelopeContext, KeyWrap, unwrap_key, wrap_key};
use consilium_proto::error::FieldError;
use consilium_proto::ids::{KeyId, RecordId};
use consilium_proto::keys::{EncryptionPrivateKey, EncryptionPublicKey};
use consilium_proto::pb;
use consilium_proto::transaction::encryption_key_id;

use crate::client::Client;
use crate::error::ClientError;

/// The present key, which is the identity's, and those before it.
#[derive(Debug, Clone)]
pub(super) struct Keyring {
    client: Client,
    older: Arc<[EncryptionPrivateKey]>,
}

/// What is wrapped again.
pub(super) struct ToWrap {
    /// For a key of the custodian.
    pub(super) own_wrap: pb::KeyWrap,
    pub(super) record: RecordId,
    pub(super) version: u32,
    /// For whom.
    pub(super) key: EncryptionPublicKey,
}

impl Keyring {
    pub(super) fn new(client: Client, older: Vec<EncryptionPrivateKey>) -> Self {
        Self { client, older: older.into() }
    }

    fn keys(&self) -> impl Iterator<Item = &EncryptionPrivateKey> {
        self.client.identity().encryption_key().into_iter().chain(self.older.iter())
    }

    /// Ids of the keys that can be opened with, as a node is told.
    pub(super) fn ids(&self) -> Vec<Bytes> {
        self.keys().map(|key| encryption_key_id(&key.public_key()).to_bytes()).collect()
    }

    /// Wraps keys again, about 0.8 ms each, on a thread of its own; in the same order.
    ///
    /// # Errors
    /// Of each, why its wrap does not open.
    pub(super) async fn wrap_all(&self, all: Vec<ToWrap>) -> Result<Vec<Result<Bytes, ClientError>>, ClientError> {
        let keyring = self.clone();
        let wrapped = tokio::task::spawn_blocking(move || all.iter().map(|one| keyring.wrap(one)).collect()).await;
        wrapped.map_err(|_| ClientError::Usage("wrapping was interrupted".into()))
    }

    fn wrap(&self, one: &ToWrap) -> Result<Bytes, ClientError> {
        let own = KeyId::try_from(one.own_wrap.recipient_key_id.as_ref());
        let own = own.map_err(|_| FieldError::missing("own_wrap"))?;
        let private = self.keys().find(|key| encryption_key_id(&key.public_key()) == own);
        let private =
            private.ok_or_else(|| FieldError::malformed("own_wrap", "is for none of the custodian's keys"))?;
        let context = EnvelopeContext {
            ledger_id: *self.client.genesis().ledger_id.as_bytes(),
            record_id: one.record.0,
            version: one.version,
        };
        let content_key = unwrap_key(&KeyWrap::decode(&one.own_wrap.wrap)?, private, &context)?;
        Ok(wrap_key(&content_key, &one.key, &context)?.encode().into())
    }
}
