//! A member's CA in a directory: `ca.pem`, `ca.key`, `index.json`, `ca.crl`.
//!
//! For demonstrations, tests and small members; a member with a PKI of its own
//! issues there. The index is written before a certificate is, so that nothing
//! is ever out in the world that cannot be revoked here. Private keys are 0600
//! in directories of 0700; existing files are never overwritten, except for
//! index and CRL, which are replaced atomically under a lock.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use crate::index::{Index, IssuedRecord, RevocationRecord};
use crate::issue::{IdentityRequest, IssueError, IssuedIdentity, MemberCa, Validity};
use crate::reason::RevocationReason;
use crate::secret_file::{self, SecretAccess, SecretFileError};
use crate::serial::Serial;
use consilium_proto::names::{MemberId, SpiffeId};

const CA_CERT: &str = "ca.pem";
const CA_KEY: &str = "ca.key";
const INDEX: &str = "index.json";
const CRL: &str = "ca.crl";
const LOCK: &str = ".lock";
const KEY_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;
const DIR_MODE: u32 = 0o700;
/// Largest private key that is read, in bytes.
const MAX_KEY_BYTES: u64 = 64 * 1024;
/// Largest file of the directory that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Why the CA directory did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file operation failed; `AlreadyExists` among them.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others can get at the CA's private key.
    #[error("{} {error}", path.display())]
    KeyAccess {
        /// The key file.
        path: PathBuf,
        /// Who can, and what helps.
        error: SecretAccess,
    },
    /// The CA's private key is no text.
    #[error("{} is not PEM", path.display())]
    KeyText {
        /// The key file.
        path: PathBuf,
    },
    /// The index is damaged or of another version.
    #[error("{} is damaged or of another version", path.display())]
    Index {
        /// The index file.
        path: PathBuf,
    },
    /// Nothing that is issued and not yet revoked matches.
    #[error("no unrevoked certificate matches")]
    NothingToRevoke,
    /// The CA refuses.
    #[error(transparent)]
    Issue(#[from] IssueError),
}

/// What to revoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevokeTarget {
    /// One certificate.
    Serial(Serial),
    /// Every certificate of an identity.
    Identity(SpiffeId),
}

/// Where an issued identity was written.
#[derive(Clone, Debug)]
pub struct IssuedFiles {
    /// `<role>-<name>.pem`: the certificate alone.
    pub cert_path: PathBuf,
    /// `<role>-<name>.key`, if the key was made here.
    pub key_path: Option<PathBuf>,
    /// The certificate and key themselves.
    pub issued: IssuedIdentity,
}

/// A CA directory.
#[derive(Debug)]
pub struct CaStore {
    dir: PathBuf,
    ca: MemberCa,
}

impl CaStore {
    /// Makes a new CA in a directory, which is created if need be.
    ///
    /// # Errors
    /// [`StoreError`]; `AlreadyExists` if there is a CA already.
    pub fn init(dir: &Path, member: &MemberId, validity: Validity) -> Result<Self, StoreError> {
        create_dir(dir)?;
        let _lock = lock(dir)?;
        let ca = MemberCa::create(member, validity)?;
        write_new(&dir.join(CA_KEY), ca.key_pem().as_bytes(), KEY_MODE)?;
        write_new(&dir.join(CA_CERT), ca.cert_pem().as_bytes(), PUBLIC_MODE)?;
        let store = Self { dir: dir.to_owned(), ca };
        store.write_index(&Index::default())?;
        Ok(store)
    }

    /// Opens an existing CA directory.
    ///
    /// # Errors
    /// [`StoreError`], also when the private key is open to others.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let key_path = dir.join(CA_KEY);
        let key = read_key(&key_path)?;
        let cert_pem = read(&dir.join(CA_CERT))?;
        let key_pem = std::str::from_utf8(&key).map_err(|_| StoreError::KeyText { path: key_path })?;
        Ok(Self { dir: dir.to_owned(), ca: MemberCa::load(&cert_pem, key_pem)? })
    }

    /// The CA itself.
    #[must_use]
    pub fn ca(&self) -> &MemberCa {
        &self.ca
    }

    /// Issues an identity into `<role>-<name>.pem` and `.key` in a directory.
    ///
    /// # Errors
    /// [`StoreError`]; `AlreadyExists` if either file is there, and then
    /// nothing was issued.
    pub fn issue(&self, request: &IdentityRequest, out: &Path) -> Result<IssuedFiles, StoreError> {
        self.issue_with(request, out, || self.ca.issue(request))
    }

    /// Issues an identity for a PKCS#10 request (PEM) into
    /// `<role>-<name>.pem`.
    ///
    /// # Errors
    /// As [`CaStore::issue`].
    pub fn issue_for_csr(
        &self,
        request: &IdentityRequest,
        csr_pem: &str,
        out: &Path,
    ) -> Result<IssuedFiles, StoreError> {
        self.issue_with(request, out, || self.ca.issue_for_csr(request, csr_pem))
    }

    /// Revokes what matches and is not revoked yet; effective with the next
    /// CRL. Returns the serial numbers.
    ///
    /// # Errors
    /// [`StoreError::NothingToRevoke`], or another one of the directory.
    pub fn revoke(
        &self,
        target: &RevokeTarget,
        reason: RevocationReason,
        at: OffsetDateTime,
    ) -> Result<Vec<Serial>, StoreError> {
        let _lock = lock(&self.dir)?;
        let mut index = self.read_index()?;
        let revocation = RevocationRecord { at: at.unix_timestamp(), reason };
        let mut serials = Vec::new();
        for record in &mut index.issued {
            let matches = match target {
                RevokeTarget::Serial(serial) => record.serial == *serial,
                RevokeTarget::Identity(id) => record.spiffe_id == *id,
            };
            if matches && record.revoked.is_none() {
                record.revoked = Some(revocation.clone());
                serials.push(record.serial.clone());
            }
        }
        if serials.is_empty() {
            return Err(StoreError::NothingToRevoke);
        }
        self.write_index(&index)?;
        Ok(serials)
    }

    /// Signs the next CRL, writes it to `ca.crl` and returns it, in DER.
    /// Revoked certificates stay listed after they expire, since blocks from
    /// before are still judged.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn crl(&self, now: OffsetDateTime, valid_for: Duration) -> Result<Vec<u8>, StoreError> {
        let _lock = lock(&self.dir)?;
        let mut index = self.read_index()?;
        // Counted before signing: a number may be skipped but never reused.
        index.crl_number = index.crl_number.saturating_add(1);
        self.write_index(&index)?;
        let validity = Validity { not_before: now, not_after: now.saturating_add(valid_for) };
        let der = self.ca.crl(&index.revoked_entries(), index.crl_number, validity)?;
        replace(&self.dir, CRL, &der, PUBLIC_MODE)?;
        Ok(der)
    }

    /// Everything issued, in the order of issue.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn records(&self) -> Result<Vec<IssuedRecord>, StoreError> {
        Ok(self.read_index()?.issued)
    }

    fn issue_with(
        &self,
        request: &IdentityRequest,
        out: &Path,
        issue: impl FnOnce() -> Result<IssuedIdentity, IssueError>,
    ) -> Result<IssuedFiles, StoreError> {
        // The name becomes part of a path: through the grammar first.
        let member = self.ca.certificate().member().clone();
        let id = SpiffeId::new(member, request.role, &request.name).map_err(IssueError::SpiffeId)?;
        let stem = format!("{}-{}", id.role(), id.name());
        let cert_path = out.join(format!("{stem}.pem"));
        let key_path = out.join(format!("{stem}.key"));
        create_dir(out)?;
        let _lock = lock(&self.dir)?;
        refuse_existing(&cert_path)?;
        refuse_existing(&key_path)?;
        let issued = issue()?;
        self.record(&issued)?;
        if let Some(key_pem) = &issued.key_pem {
            write_new(&key_path, key_pem.as_bytes(), KEY_MODE)?;
        }
        write_new(&cert_path, issued.cert_pem.as_bytes(), PUBLIC_MODE)?;
        Ok(IssuedFiles { cert_path, key_path: issued.key_pem.as_ref().map(|_| key_path), issued })
    }

    fn record(&self, issued: &IssuedIdentity) -> Result<(), StoreError> {
        let mut index = self.read_index()?;
        index.issued.push(IssuedRecord {
            serial: issued.certificate.serial().clone(),
            spiffe_id: issued.certificate.spiffe_id().clone(),
            not_after: issued.certificate.not_after(),
            revoked: None,
        });
        self.write_index(&index)
    }

    fn read_index(&self) -> Result<Index, StoreError> {
        let path = self.dir.join(INDEX);
        let text = read(&path)?;
        let damaged = || StoreError::Index { path: path.clone() };
        Index::from_json(&text).ok_or_else(damaged)
    }

    fn write_index(&self, index: &Index) -> Result<(), StoreError> {
        let path = self.dir.join(INDEX);
        let text = index.to_json().ok_or(StoreError::Index { path })?;
        replace(&self.dir, INDEX, text.as_bytes(), KEY_MODE)
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    |error| StoreError::Io { path: path.to_owned(), error }
}

fn create_dir(dir: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir).map_err(io_error(dir))
}

/// Held until dropped; a second process waits.
fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(KEY_MODE)
        .open(&path)
        .map_err(io_error(&path))?;
    file.lock().map_err(io_error(&path))?;
    Ok(file)
}

fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    secret_file::read(path, MAX_KEY_BYTES).map_err(|error| match error {
        SecretFileError::Read(error) => io_error(path)(error),
        SecretFileError::Oversize { .. } => io_error(path)(io::ErrorKind::FileTooLarge.into()),
        SecretFileError::Access(error) => StoreError::KeyAccess { path: path.to_owned(), error },
    })
}

fn refuse_existing(path: &Path) -> Result<(), StoreError> {
    // `symlink_metadata`: a dangling link is in the way as well.
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error(path)(error)),
        Ok(_) => Err(io_error(path)(io::ErrorKind::AlreadyExists.into())),
    }
}

fn read(path: &Path) -> Result<Zeroizing<String>, StoreError> {
    let file = File::open(path).map_err(io_error(path))?;
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(io_error(path))?;
    Ok(text)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), StoreError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .map_err(io_error(path))
}

/// Temporary file, fsync, rename, fsync of the directory: after a crash the
/// file is the old or the new one, whole. Needs the lock.
fn replace(dir: &Path, name: &str, bytes: &[u8], mode: u32) -> Result<(), StoreError> {
    let path = dir.join(name);
    let temporary = dir.join(format!(".{name}.tmp"));
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(io_error(&path))
}
