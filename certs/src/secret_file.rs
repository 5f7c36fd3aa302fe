//! One rule for the files of secrets, whoever reads them: node, custodian,
//! command line, library and CA.
//!
//! A secret belongs to the process's user or to root, is nothing to others, and
//! may be read, never written, by a group that the process is in: so a volume of
//! Kubernetes (`defaultMode: 0440` with `fsGroup`) or a group of the service
//! (`root:consilium`, 0640) will do as well as 0600 and 0400. The open file is
//! judged, not its name, so nobody can put another one in between. This module
//! must never put what a file holds into an error.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zeroize::Zeroizing;

const OTHERS: u32 = 0o007;
const GROUP_READ: u32 = 0o040;
const GROUP_MORE: u32 = 0o030;
const ROOT: u32 = 0;

/// Why a file is no place for a secret. It must not be used even if it is read
/// now: whoever could read it may have done so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretAccess {
    /// Others have access.
    #[error("holds a secret but has mode {mode:04o}, which gives everybody on this machine access: {REMEDY}")]
    Others {
        /// Its permission bits.
        mode: u32,
    },
    /// The group can do more than read it.
    #[error("holds a secret but has mode {mode:04o}, which lets its group do more than read it: {REMEDY}")]
    GroupMore {
        /// Its permission bits.
        mode: u32,
    },
    /// A group can read it that the process is not in.
    #[error(
        "holds a secret but has mode {mode:04o}, which lets group {group} read it, and this process is not in that \
         group: {REMEDY}"
    )]
    ForeignGroup {
        /// Its permission bits.
        mode: u32,
        /// The id of its group.
        group: u32,
    },
    /// It belongs to somebody else.
    #[error(
        "holds a secret but belongs to user {owner}, who is neither this process's user {user} nor root: run chown on it"
    )]
    Owner {
        /// Whose it is.
        owner: u32,
        /// Who the process is.
        user: u32,
    },
}

const REMEDY: &str = "run chmod 600 on it (0440 and 0640 will do if its group is one of the process's)";

/// Why a secret was not read.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// The file is larger than the caller allows.
    #[error("is larger than {bytes_max} bytes")]
    Oversize {
        /// What the caller allows.
        bytes_max: u64,
    },
    /// Others can get at it.
    #[error(transparent)]
    Access(#[from] SecretAccess),
}

/// Reads a file of at most `bytes_max` bytes that holds a secret.
///
/// # Errors
/// [`SecretFileError`], without the file's name.
pub fn read(path: &Path, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    Reader::this_process()?.check(&Access::of(&metadata))?;
    // Reserved at once: a growing buffer would leave unwiped copies of a key.
    let capacity = usize::try_from(metadata.len().min(bytes_max)).unwrap_or(0) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(SecretFileError::Oversize { bytes_max });
    }
    Ok(bytes)
}

/// Who reads.
struct Reader {
    user: u32,
    groups: Vec<u32>,
}

/// Who can get at a file.
struct Access {
    mode: u32,
    owner: u32,
    group: u32,
}

impl Access {
    fn of(metadata: &Metadata) -> Self {
        Self { mode: metadata.mode() & 0o7777, owner: metadata.uid(), group: metadata.gid() }
    }
}

impl Reader {
    fn this_process() -> io::Result<Self> {
        let mut groups: Vec<u32> = rustix::process::getgroups()?.into_iter().map(|group| group.as_raw()).collect();
        groups.push(rustix::process::getegid().as_raw());
        Ok(Self { user: rustix::process::geteuid().as_raw(), groups })
    }

    fn check(&self, access: &Access) -> Result<(), SecretAccess> {
        let Access { mode, owner, group } = *access;
        if mode & OTHERS != 0 {
            return Err(SecretAccess::Others { mode });
        }
        if mode & GROUP_MORE != 0 {
            return Err(SecretAccess::GroupMore { mode });
        }
        if mode & GROUP_READ != 0 && !self.groups.contains(&group) {
            return Err(SecretAccess::ForeignGroup { mode, group });
        }
        // Root reads what belongs to the users of the machine, as in a container whose volumes
        // are theirs.
        if owner != self.user && owner != ROOT && self.user != ROOT {
            return Err(SecretAccess::Owner { owner, user: self.user });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
