//! Who this client is: its identity certificate, and the keys that sign
//! transactions, open records and blind search terms. Private keys are read
//! from files that only their owner can read and never leave this process.

use std::path::Path;
use std::sync::Arc;

use consilium_certs::ReloadingResolver;
use consilium_proto::envelope::SearchKey;
use consilium_proto::ids::{Fingerprint, KeyId};
use consilium_proto::keys::EncryptionPrivateKey;
use consilium_proto::names::SpiffeId;
use consilium_proto::signing::{KeyFileError, SigningKey};
use consilium_proto::transaction::{encryption_key_id, signing_key_fingerprint};

use bytes::Bytes;
use zeroize::Zeroizing;

use crate::error::ClientError;
use crate::files;
use crate::profile::Profile;

/// A loaded identity.
#[derive(Debug)]
pub struct Identity {
    spiffe_id: SpiffeId,
    certificate_fingerprint: Fingerprint,
    chain: Vec<Bytes>,
    author: Fingerprint,
    resolver: Arc<ReloadingResolver>,
    certificate_key: Result<SigningKey, KeyFileError>,
    signing_key: Option<SigningKey>,
    encryption_key: Option<EncryptionPrivateKey>,
    search_key: Option<SearchKey>,
}

impl Identity {
    /// Reads everything that the profile names.
    ///
    /// # Errors
    /// A missing setting, or the file that cannot be used.
    pub fn load(profile: &Profile) -> Result<Self, ClientError> {
        let certificate = required(profile.certificate.as_deref(), "certificate")?;
        let key = required(profile.key.as_deref(), "key")?;
        // A key on P-384 serves TLS, and cannot sign on the ledger: why, is for those who ask it to.
        let certificate_key = SigningKey::from_pem(&files::read_secret(key)?);
        let resolver = ReloadingResolver::open(certificate, key).map_err(|e| ClientError::file(certificate, e))?;
        let current = resolver.current();
        let certificate_fingerprint = Fingerprint::from_bytes(current.identity().fingerprint());
        let signing_key = profile.signing_key.as_deref().map(load_signing_key).transpose()?;
        let author = match &signing_key {
            Some(key) => signing_key_fingerprint(&key.verifying_key()),
            None => certificate_fingerprint,
        };
        Ok(Self {
            spiffe_id: current.identity().spiffe_id().clone(),
            certificate_fingerprint,
            chain: current.chain().iter().map(|der| Bytes::copy_from_slice(der)).collect(),
            author,
            resolver: Arc::new(resolver),
            certificate_key,
            signing_key,
            encryption_key: profile.encryption_key.as_deref().map(load_encryption_key).transpose()?,
            search_key: profile.search_key.as_deref().map(load_search_key).transpose()?,
        })
    }

    /// `spiffe://<member>/<role>/<name>`.
    #[must_use]
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// SHA-256 of the identity certificate.
    #[must_use]
    pub fn certificate_fingerprint(&self) -> Fingerprint {
        self.certificate_fingerprint
    }

    /// The `author` of this identity's transactions: fingerprint of the
    /// signing key, or of the certificate where there is none.
    #[must_use]
    pub fn author(&self) -> Fingerprint {
        self.author
    }

    /// The key that signs transactions.
    ///
    /// # Errors
    /// If there is no signing key and the certificate's key cannot sign.
    pub fn signing_key(&self) -> Result<&SigningKey, ClientError> {
        match &self.signing_key {
            Some(key) => Ok(key),
            None => self.certificate_key(),
        }
    }

    /// The separate signing key, if there is one.
    #[must_use]
    pub fn own_signing_key(&self) -> Option<&SigningKey> {
        self.signing_key.as_ref()
    }

    /// The key of the identity certificate, for ES256.
    ///
    /// # Errors
    /// If it is not a P-256 key.
    pub fn certificate_key(&self) -> Result<&SigningKey, ClientError> {
        self.certificate_key.as_ref().map_err(|reason| {
            ClientError::Usage(format!(
                "the key of the identity certificate cannot sign on the ledger: {reason}; then let the certificate be \
                 issued for the new key"
            ))
        })
    }

    /// The key that opens records wrapped for this identity.
    #[must_use]
    pub fn encryption_key(&self) -> Option<&EncryptionPrivateKey> {
        self.encryption_key.as_ref()
    }

    /// Id of the encryption key on the ledger.
    #[must_use]
    pub fn encryption_key_id(&self) -> Option<KeyId> {
        self.encryption_key.as_ref().map(|key| encryption_key_id(&key.public_key()))
    }

    /// The network's key for pseudonyms and search tags.
    #[must_use]
    pub fn search_key(&self) -> Option<&SearchKey> {
        self.search_key.as_ref()
    }

    /// The certificate chain in DER, leaf first, as it was when this identity
    /// was loaded: what its keys are enrolled with.
    #[must_use]
    pub fn chain(&self) -> &[Bytes] {
        &self.chain
    }

    /// Whether connections present a newer certificate by now than the one that
    /// this identity was loaded with. To enrol that one, connect anew.
    #[must_use]
    pub fn is_renewed(&self) -> bool {
        Fingerprint::from_bytes(self.resolver.current().identity().fingerprint()) != self.certificate_fingerprint
    }

    /// What TLS presents.
    pub(crate) fn resolver(&self) -> Arc<ReloadingResolver> {
        Arc::clone(&self.resolver)
    }
}

/// Reads a PEM signing key, PKCS#8 or SEC1.
///
/// # Errors
/// [`ClientError::File`].
pub fn load_signing_key(path: &Path) -> Result<SigningKey, ClientError> {
    SigningKey::from_pem(&files::read_secret(path)?).map_err(|e| ClientError::file(path, e))
}

/// Reads a PEM encryption key.
///
/// # Errors
/// [`ClientError::File`].
pub fn load_encryption_key(path: &Path) -> Result<EncryptionPrivateKey, ClientError> {
    EncryptionPrivateKey::from_pem(&files::read_secret(path)?).map_err(|e| ClientError::file(path, e))
}

/// Reads a search key: 64 hexadecimal digits.
///
/// # Errors
/// [`ClientError::File`].
pub fn load_search_key(path: &Path) -> Result<SearchKey, ClientError> {
    let text = files::read_secret(path)?;
    let mut bytes = Zeroizing::new([0u8; 32]);
    hex::decode_to_slice(text.trim(), &mut *bytes)
        .map_err(|_| ClientError::file(path, "is not 64 hexadecimal digits"))?;
    Ok(SearchKey::from_bytes(&bytes))
}

fn required<'a>(path: Option<&'a Path>, setting: &'static str) -> Result<&'a Path, ClientError> {
    path.ok_or(ClientError::Setting { setting })
}
