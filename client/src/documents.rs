//! Documents that stay outside the ledger: a signed consent, the scan of one, what an identity
//! was accepted upon. The ledger holds a hash of each, with a random salt in front, so that the
//! hash tells nothing to whoever has only the document, or only the ledger.
//!
//! Whoever keeps the document keeps the salt with it: without the salt nobody can show that the
//! document is the one that was meant, and that is also how such a hash is made to say nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use consilium_proto::hash::Hash;

use crate::error::ClientError;
use crate::files;

/// Largest document, bytes.
pub const DOCUMENT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Bytes of a salt.
const SALT_BYTES: usize = 16;
/// What stands behind the name of a document in the name of the file with its salt.
const SALT_ENDING: &str = ".salt";

/// The salted hash of a document: SHA-256 of the salt (16 random bytes) and the document.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DocumentHash {
    salt: [u8; SALT_BYTES],
    hash: Hash,
}

/// The salt is not for logs.
impl std::fmt::Debug for DocumentHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DocumentHash({})", self.hash)
    }
}

impl DocumentHash {
    /// Of a document, under a fresh salt.
    #[must_use]
    pub fn of(document: &[u8]) -> Self {
        Self::with_salt(rand::random(), document)
    }

    /// Of a document, under a salt that was kept.
    #[must_use]
    pub fn with_salt(salt: [u8; SALT_BYTES], document: &[u8]) -> Self {
        Self { salt, hash: Hash::of(&[&salt, document]) }
    }

    /// What the ledger holds.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// What is kept with the document.
    #[must_use]
    pub fn salt(&self) -> &[u8; SALT_BYTES] {
        &self.salt
    }

    /// Of a file of at most [`DOCUMENT_BYTES_MAX`] bytes. The salt is written beside it, under the
    /// name that [`salt_path`] gives, in hexadecimal. One that is there already is used again: the
    /// same document gets the same hash when a submission is repeated.
    ///
    /// # Errors
    /// [`ClientError::File`]: the document cannot be read, the salt cannot be written, or what is
    /// there is no salt.
    pub fn of_file(document: &Path) -> Result<Self, ClientError> {
        let bytes = files::read(document, DOCUMENT_BYTES_MAX)?;
        let beside = salt_path(document);
        if beside.exists() {
            return Ok(Self::with_salt(read_salt(&beside)?, &bytes));
        }
        let made = Self::of(&bytes);
        files::write_new(&beside, format!("{}\n", hex::encode(made.salt)).as_bytes(), files::SECRET_MODE)?;
        Ok(made)
    }
}

/// Where the salt of a document is kept: the same name with `.salt` behind it.
#[must_use]
pub fn salt_path(document: &Path) -> PathBuf {
    let mut name = OsString::from(document.as_os_str());
    name.push(SALT_ENDING);
    name.into()
}

fn read_salt(path: &Path) -> Result<[u8; SALT_BYTES], ClientError> {
    let text = files::read_secret(path)?;
    let salt = hex::decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
    salt.ok_or_else(|| ClientError::file(path, "holds no salt: 32 hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn equal_documents_have_unequal_hashes_until_the_salt_is_known() {
        let (one, other) = (DocumentHash::of(b"scan"), DocumentHash::of(b"scan"));
        assert_ne!(one.hash(), other.hash());
        assert_eq!(DocumentHash::with_salt(*one.salt(), b"scan"), one);
        assert_ne!(DocumentHash::with_salt(*one.salt(), b"scam").hash(), one.hash());
        assert_eq!(DocumentHash::with_salt([7; 16], b"x").hash(), Hash::of(&[&[7; 16], b"x"]));
    }

    #[test]
    fn the_salt_is_written_beside_the_document_and_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let document = folder.path().join("consent.pdf");
        assert!(DocumentHash::of_file(&document).is_err());
        std::fs::write(&document, b"signed").unwrap();
        let first = DocumentHash::of_file(&document).unwrap();
        assert_eq!(DocumentHash::of_file(&document).unwrap(), first);
        let beside = folder.path().join("consent.pdf.salt");
        assert_eq!(std::fs::read_to_string(&beside).unwrap().trim(), hex::encode(first.salt()));
        std::fs::write(&beside, b"nonsense").unwrap();
        assert!(DocumentHash::of_file(&document).is_err());
    }
}
