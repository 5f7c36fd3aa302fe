//! What somebody keeps of a log, so that the next look at it shows that nothing was taken away:
//! how many events had which root, and which entries were sealed until when.

use consilium_proto::error::{FieldError, fixed};
use consilium_proto::hash::Hash;
use consilium_proto::ids::TimeMs;
use consilium_proto::merkle::empty_root;
use consilium_proto::pb;

/// What was kept of a log: as many entries had this root. Written `COUNT:ROOT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptLog {
    /// How many entries.
    pub count: u64,
    /// Root of their tree.
    pub root: Hash,
}

/// What was kept of a log of access. Written as its [`KeptLog`], and behind it for each sealed
/// entry `,PLACE:UNTIL:HASH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAccess {
    /// The log.
    pub log: KeptLog,
    /// Those of its entries that were sealed.
    pub sealed: Vec<SealedEntry>,
}

/// An entry that is kept from the patient until a date. It counts in the tree: what is shown then
/// must have this hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedEntry {
    /// Its place in the log, from 0.
    pub sequence: u64,
    /// Its hash as a leaf of the log's tree.
    pub leaf: Hash,
    /// Block time at which it is shown.
    pub until: TimeMs,
}

/// Not of the form of what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not COUNT:ROOT, such as 12:5f0c... with 64 hexadecimal digits, as it was shown to be kept")]
pub struct ParseKeptError;

impl KeptLog {
    /// Nothing is known yet.
    #[must_use]
    pub fn nothing() -> Self {
        Self { count: 0, root: empty_root() }
    }
}

impl From<KeptLog> for KeptAccess {
    fn from(log: KeptLog) -> Self {
        Self { log, sealed: Vec::new() }
    }
}

impl std::fmt::Display for KeptLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.count, self.root)
    }
}

impl std::fmt::Display for KeptAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.log.fmt(f)?;
        self.sealed.iter().try_for_each(|entry| write!(f, ",{}:{}:{}", entry.sequence, entry.until, entry.leaf))
    }
}

impl std::str::FromStr for KeptLog {
    type Err = ParseKeptError;

    fn from_str(text: &str) -> Result<Self, ParseKeptError> {
        let (count, root) = text.split_once(':').ok_or(ParseKeptError)?;
        let count = count.parse().map_err(|_| ParseKeptError)?;
        Ok(Self { count, root: root.parse().map_err(|_| ParseKeptError)? })
    }
}

impl std::str::FromStr for KeptAccess {
    type Err = ParseKeptError;

    fn from_str(text: &str) -> Result<Self, ParseKeptError> {
        let mut parts = text.split(',');
        let log: KeptLog = parts.next().ok_or(ParseKeptError)?.parse()?;
        let sealed: Vec<SealedEntry> = parts.map(str::parse).collect::<Result<_, _>>()?;
        match sealed.iter().all(|entry| entry.sequence < log.count) {
            true => Ok(Self { log, sealed }),
            false => Err(ParseKeptError),
        }
    }
}

impl std::str::FromStr for SealedEntry {
    type Err = ParseKeptError;

    fn from_str(text: &str) -> Result<Self, ParseKeptError> {
        let (sequence, rest) = text.split_once(':').ok_or(ParseKeptError)?;
        let (until, leaf) = rest.split_once(':').ok_or(ParseKeptError)?;
        Ok(Self {
            sequence: sequence.parse().map_err(|_| ParseKeptError)?,
            leaf: leaf.parse().map_err(|_| ParseKeptError)?,
            until: TimeMs(until.parse().map_err(|_| ParseKeptError)?),
        })
    }
}

impl TryFrom<&pb::SealedEntry> for SealedEntry {
    type Error = FieldError;

    fn try_from(m: &pb::SealedEntry) -> Result<Self, FieldError> {
        let leaf = fixed("sealed.leaf_hash", &m.leaf_hash).map(Hash::from_bytes)?;
        Ok(Self { sequence: m.sequence, leaf, until: TimeMs(m.until_ms) })
    }
}
