//! Recipients: whose keys a record is wrapped for.

use consilium_proto::ids::KeyId;
use consilium_proto::keys::EncryptionPublicKey;
use consilium_proto::transaction::encryption_key_id;

use crate::client::Client;
use crate::error::ClientError;

/// Someone who will be able to open a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// For people.
    pub name: String,
    /// The key that wraps are for.
    pub key: EncryptionPublicKey,
}

impl Recipient {
    /// Id of the key on the ledger.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        encryption_key_id(&self.key)
    }
}

/// Looks up the newest encryption key of an identity; [`Client::identity_of`]
/// believes it only with proof.
///
/// # Errors
/// If the identity is not enrolled, receives no records, or the node cannot
/// prove the key.
pub async fn recipient(client: &Client, spiffe_id: &str) -> Result<Recipient, ClientError> {
    let answer = client.identity_of(spiffe_id).await?;
    if answer.encryption_key.is_empty() {
        return Err(ClientError::Usage(format!("{spiffe_id} has enrolled no encryption key")));
    }
    Ok(Recipient { name: spiffe_id.to_owned(), key: EncryptionPublicKey::decode(&answer.encryption_key)? })
}
