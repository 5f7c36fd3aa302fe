//! Certificate and key files of a process, reloaded while it runs.
//!
//! A pair is taken only whole: the leaf inside the profile, the key matching
//! it, the identity the same as before, the caller content with it. A torn or wrong pair (a renewal caught
//! between its two writes) is reported and the last good one kept, so this
//! module may never leave a process without an identity that it had. A reload
//! reaches new handshakes only; open connections keep theirs.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{Context, SHA256};
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, SignatureScheme};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::identity::IdentityCertificate;
use crate::pem::{self, PemError};
use crate::profile::ProfileError;
use crate::secret_file::{self, SecretAccess, SecretFileError};
use crate::tls;
use crate::verify::{VerifyError, check_bounds};
use consilium_proto::names::SpiffeId;

/// Largest certificate or key file, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Why a certificate and key were not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file is larger than 64 KiB.
    #[error("{} is larger than {MAX_FILE_BYTES} bytes", path.display())]
    Oversize {
        /// The file.
        path: PathBuf,
    },
    /// The certificate file is not PEM certificates alone.
    #[error("certificate file is not PEM certificates alone: {0}")]
    CertificatePem(PemError),
    /// Others can get at the key.
    #[error("{} {error}", path.display())]
    KeyAccess {
        /// The key file.
        path: PathBuf,
        /// Who can, and what helps.
        error: SecretAccess,
    },
    /// The key file does not hold one private key alone.
    #[error("key file: {0}")]
    KeyPem(PemError),
    /// The chain is empty, too long or oversize.
    #[error(transparent)]
    Chain(#[from] VerifyError),
    /// The leaf is outside the profile.
    #[error("identity certificate: {0}")]
    Profile(#[from] ProfileError),
    /// The key file is no usable private key. Its text is not repeated.
    #[error("key file holds no usable EC private key")]
    PrivateKey,
    /// The key does not belong to the certificate: a renewal half done.
    #[error("private key does not match the certificate")]
    Mismatch,
    /// The pair is whole, and whoever asked for the reload does not want it: it
    /// is expired, or peers would refuse it.
    #[error("the new certificate would be refused: {0}")]
    NotAccepted(VerifyError),
    /// The new certificate names somebody else than the one in use.
    #[error("certificate names {found}, the one in use {expected}")]
    IdentityChanged {
        /// Who the process is.
        expected: Box<SpiffeId>,
        /// Who the new certificate names.
        found: Box<SpiffeId>,
    },
}

/// A certificate chain with its private key, checked.
#[derive(Clone)]
pub struct LoadedIdentity {
    certified: Arc<CertifiedKey>,
    identity: IdentityCertificate,
    digest: [u8; 32],
}

impl LoadedIdentity {
    /// Checks a PEM chain (leaf first) and a PEM private key (PKCS#8 or SEC1).
    ///
    /// # Errors
    /// [`ReloadError`]. Expiry is not judged: there is no clock here, and an
    /// expired identity is for the peers to refuse and for alarms to foretell.
    pub fn from_pem(cert_pem: &[u8], key_pem: &[u8]) -> Result<Self, ReloadError> {
        let chain = pem::certificates(cert_pem).map_err(ReloadError::CertificatePem)?;
        check_bounds(&chain)?;
        let leaf = chain.first().ok_or(VerifyError::EmptyChain)?;
        let identity = IdentityCertificate::parse(leaf)?;
        let key = pem::private_key(key_pem).map_err(ReloadError::KeyPem)?;
        let certified = CertifiedKey::from_der(chain, key, &tls::provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => ReloadError::Mismatch,
            _ => ReloadError::PrivateKey,
        })?;
        // `from_der` lets keys of unknown public half pass.
        certified.keys_match().map_err(|_| ReloadError::Mismatch)?;
        Ok(Self { certified: Arc::new(certified), identity, digest: digest(cert_pem, key_pem) })
    }

    /// What rustls presents.
    #[must_use]
    pub fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    /// The chain that rustls presents, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// Whom the certificate names, until when, and so on.
    #[must_use]
    pub fn identity(&self) -> &IdentityCertificate {
        &self.identity
    }
}

impl fmt::Debug for LoadedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedIdentity")
            .field("identity", &self.identity)
            .field("key", &"[redacted]")
            .finish_non_exhaustive()
    }
}

/// Reads and checks a certificate file and a key file.
///
/// # Errors
/// [`ReloadError`].
pub fn load_identity(cert_path: &Path, key_path: &Path) -> Result<LoadedIdentity, ReloadError> {
    let (cert_pem, key_pem) = read_pair(cert_path, key_path)?;
    LoadedIdentity::from_pem(&cert_pem, &key_pem)
}

/// What [`ReloadingResolver::reload_if_changed`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The files are those in use.
    Unchanged,
    /// A new pair is in use from the next handshake on.
    Reloaded,
}

/// Presents the newest good pair, as server and as client.
pub struct ReloadingResolver {
    cert_path: PathBuf,
    key_path: PathBuf,
    current: ArcSwap<LoadedIdentity>,
}

impl ReloadingResolver {
    /// Loads the pair for the first time.
    ///
    /// # Errors
    /// [`ReloadError`]: a process must not start without an identity.
    pub fn open(cert_path: &Path, key_path: &Path) -> Result<Self, ReloadError> {
        let loaded = load_identity(cert_path, key_path)?;
        Ok(Self {
            cert_path: cert_path.to_owned(),
            key_path: key_path.to_owned(),
            current: ArcSwap::from_pointee(loaded),
        })
    }

    /// The pair in use.
    #[must_use]
    pub fn current(&self) -> Arc<LoadedIdentity> {
        self.current.load_full()
    }

    /// Takes the files' pair if their content changed, is good, and `accept`
    /// says so too: it has the clock and the trust that this module has not.
    /// Compares content, not times, since volumes swap whole directories by
    /// symlink.
    ///
    /// # Errors
    /// [`ReloadError`]; the pair in use stays in use.
    pub fn reload_if_changed(
        &self,
        accept: impl FnOnce(&LoadedIdentity) -> Result<(), VerifyError>,
    ) -> Result<Reload, ReloadError> {
        let (cert_pem, key_pem) = read_pair(&self.cert_path, &self.key_path)?;
        let current = self.current.load();
        if digest(&cert_pem, &key_pem) == current.digest {
            return Ok(Reload::Unchanged);
        }
        let new = LoadedIdentity::from_pem(&cert_pem, &key_pem)?;
        let (expected, found) = (current.identity.spiffe_id(), new.identity.spiffe_id());
        if expected != found {
            return Err(ReloadError::IdentityChanged {
                expected: Box::new(expected.clone()),
                found: Box::new(found.clone()),
            });
        }
        accept(&new).map_err(ReloadError::NotAccepted)?;
        self.current.store(Arc::new(new));
        Ok(Reload::Reloaded)
    }
}

impl fmt::Debug for ReloadingResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReloadingResolver")
            .field("cert_path", &self.cert_path)
            .field("current", &self.current.load())
            .finish_non_exhaustive()
    }
}

impl ResolvesServerCert for ReloadingResolver {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load().certified_key())
    }
}

impl ResolvesClientCert for ReloadingResolver {
    fn resolve(&self, _root_hint_subjects: &[&[u8]], _sigschemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load().certified_key())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

type Pair = (Vec<u8>, Zeroizing<Vec<u8>>);

fn read_pair(cert_path: &Path, key_path: &Path) -> Result<Pair, ReloadError> {
    let cert_pem = read_public(cert_path)?;
    let path = || key_path.to_owned();
    let key_pem = secret_file::read(key_path, MAX_FILE_BYTES).map_err(|error| match error {
        SecretFileError::Read(error) => ReloadError::Read { path: path(), error },
        SecretFileError::Oversize { .. } => ReloadError::Oversize { path: path() },
        SecretFileError::Access(error) => ReloadError::KeyAccess { path: path(), error },
    })?;
    Ok((cert_pem, key_pem))
}

fn read_public(path: &Path) -> Result<Vec<u8>, ReloadError> {
    let failed = |error| ReloadError::Read { path: path.to_owned(), error };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ReloadError::Oversize { path: path.to_owned() });
    }
    Ok(bytes)
}

fn digest(cert_pem: &[u8], key_pem: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    // The length keeps bytes from moving between the two files unnoticed.
    context.update(&(cert_pem.len() as u64).to_be_bytes());
    context.update(cert_pem);
    context.update(key_pem);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}
