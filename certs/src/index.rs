//! The index of a CA directory: everything issued, and what became of it.
//!
//! A small JSON document. Every value goes through the same types as those of
//! certificates when it is read; a record that does not fit makes the whole
//! index unreadable, since a CRL with an entry missing would let a revoked
//! certificate back in.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::reason::{RevocationReason, RevokedEntry};
use crate::serial::Serial;
use consilium_proto::names::SpiffeId;

/// Version of the format; another one is refused, not guessed at.
const INDEX_VERSION: u32 = 1;

/// A revocation in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationRecord {
    /// When, Unix seconds.
    pub at: i64,
    /// Why.
    pub reason: RevocationReason,
}

/// A certificate in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedRecord {
    /// Its serial number.
    pub serial: Serial,
    /// Whom it names.
    pub spiffe_id: SpiffeId,
    /// End of validity, Unix seconds.
    pub not_after: i64,
    /// Whether it was revoked, and why.
    pub revoked: Option<RevocationRecord>,
}

#[derive(Default)]
pub(crate) struct Index {
    pub(crate) crl_number: u64,
    pub(crate) issued: Vec<IssuedRecord>,
}

/// The index as it stands on disk; texts and numbers only.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IndexFile {
    version: u32,
    crl_number: u64,
    issued: Vec<IssuedFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuedFile {
    serial: String,
    spiffe_id: String,
    not_after: i64,
    revoked: Option<RevokedFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokedFile {
    at: i64,
    reason: String,
}

impl Index {
    /// `None` for anything but an index of this version, whole and sound.
    pub(crate) fn from_json(text: &str) -> Option<Self> {
        Self::from_file(serde_json::from_str(text).ok()?)
    }

    /// `None` never happens for texts and numbers, short of memory.
    pub(crate) fn to_json(&self) -> Option<String> {
        let mut text = serde_json::to_string_pretty(&self.to_file()).ok()?;
        text.push('\n');
        Some(text)
    }

    fn to_file(&self) -> IndexFile {
        let revoked = |revocation: &RevocationRecord| RevokedFile {
            at: revocation.at,
            reason: revocation.reason.as_str().to_owned(),
        };
        let issued = |record: &IssuedRecord| IssuedFile {
            serial: record.serial.to_string(),
            spiffe_id: record.spiffe_id.to_string(),
            not_after: record.not_after,
            revoked: record.revoked.as_ref().map(revoked),
        };
        IndexFile {
            version: INDEX_VERSION,
            crl_number: self.crl_number,
            issued: self.issued.iter().map(issued).collect(),
        }
    }

    fn from_file(file: IndexFile) -> Option<Self> {
        if file.version != INDEX_VERSION {
            return None;
        }
        let issued = file.issued.into_iter().map(read_record);
        Some(Self { crl_number: file.crl_number, issued: issued.collect::<Option<_>>()? })
    }

    pub(crate) fn revoked_entries(&self) -> Vec<RevokedEntry> {
        let entry = |record: &IssuedRecord| {
            let revocation = record.revoked.as_ref()?;
            Some(RevokedEntry {
                serial: record.serial.clone(),
                at: OffsetDateTime::from_unix_timestamp(revocation.at).ok()?,
                reason: revocation.reason,
            })
        };
        self.issued.iter().filter_map(entry).collect()
    }
}

fn read_record(file: IssuedFile) -> Option<IssuedRecord> {
    let revoked = match file.revoked {
        None => None,
        Some(revoked) => {
            // A time that the CRL cannot carry would drop the entry from it.
            OffsetDateTime::from_unix_timestamp(revoked.at).ok()?;
            Some(RevocationRecord { at: revoked.at, reason: revoked.reason.parse().ok()? })
        }
    };
    Some(IssuedRecord {
        serial: file.serial.parse().ok()?,
        spiffe_id: file.spiffe_id.parse().ok()?,
        not_after: file.not_after,
        revoked,
    })
}
