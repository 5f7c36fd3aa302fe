//! Files of a user: read within bounds, secrets only when nobody else can read
//! them, and written without ever replacing what is there.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use consilium_certs::secret_file;
use zeroize::Zeroizing;

use crate::error::ClientError;

/// Largest key, certificate or configuration file, bytes.
pub const SMALL_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Mode of a file that holds a secret.
pub const SECRET_MODE: u32 = 0o600;
/// Mode of a file that anyone may read.
pub const PUBLIC_MODE: u32 = 0o644;

/// Reads a file of at most `bytes_max` bytes.
///
/// # Errors
/// [`ClientError::File`].
pub fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, ClientError> {
    let file = File::open(path).map_err(|e| ClientError::file(path, e))?;
    Ok(std::mem::take(&mut *read_bounded(file, path, bytes_max)?))
}

/// Reads a small text file.
///
/// # Errors
/// [`ClientError::File`], also when it is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, ClientError> {
    String::from_utf8(read(path, SMALL_FILE_BYTES_MAX)?).map_err(|_| ClientError::file(path, "is not text"))
}

/// Reads a file that holds a secret, as text, by the rule of
/// [`secret_file`]: whoever else could read it may already have.
///
/// # Errors
/// [`ClientError::File`].
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, ClientError> {
    let bytes = secret_file::read(path, SMALL_FILE_BYTES_MAX).map_err(|e| ClientError::file(path, e))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| ClientError::file(path, "is not text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Reads a file of at most `bytes_max` bytes that only its owner may read, such as one that is
/// about persons.
///
/// # Errors
/// [`ClientError::File`], also if the group or others may read it.
pub fn read_private(path: &Path, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, ClientError> {
    let file = File::open(path).map_err(|e| ClientError::file(path, e))?;
    let mode = file.metadata().map_err(|e| ClientError::file(path, e))?.mode();
    if mode & 0o077 != 0 {
        let cause = format!("is for its owner alone but has mode {:04o}; run chmod 600 on it", mode & 0o7777);
        return Err(ClientError::file(path, cause));
    }
    read_bounded(file, path, bytes_max)
}

/// Writes a new file and syncs it; one that exists is left as it is.
///
/// # Errors
/// [`ClientError::File`].
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), ClientError> {
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::AlreadyExists => ClientError::file(path, "exists already and is not overwritten"),
        _ => ClientError::file(path, e),
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}

fn read_bounded(file: File, path: &Path, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, ClientError> {
    let size = file.metadata().map_err(|e| ClientError::file(path, e))?.len();
    // Reserved at once: a growing buffer would leave unwiped copies of a key.
    let capacity = usize::try_from(size.min(bytes_max)).unwrap_or(0) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|e| ClientError::file(path, e))?;
    if bytes.len() as u64 > bytes_max {
        return Err(ClientError::file(path, format!("is larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}
