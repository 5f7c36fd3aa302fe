//! Import of FHIR files and folders as records.
//!
//! Steps: [`source`] finds files and reads documents one after the other;
//! `pipeline` blinds, packs, seals and submits them, several transactions at
//! once; [`journal`] makes a run that was interrupted continue where it stopped,
//! without writing anything twice.
//!
//! A Bundle becomes one transaction where it fits, otherwise consecutive ones;
//! single resources and NDJSON lines share transactions. Of a Bundle that cannot be taken
//! whole, [`BundlePolicy`] decides what is. Each entry of a
//! Bundle becomes a record of its own, also in a history Bundle. Names of files
//! are never sent: they may hold names of people.

mod journal;
mod pipeline;
mod source;
mod summary;

pub use journal::{Journal, JournalError};
pub use pipeline::{ImportOptions, import};
pub use source::{Document, EXTENSIONS, Format, Found, NOT_FHIR, Rules, SourceFile, find, read_documents};
pub use summary::{ImportSummary, KindSummary};

use std::path::PathBuf;

use crate::fhir::validate::Report;
use crate::fhir::{BundleKind, FhirError, PassedOver};

/// What becomes of a Bundle of which some resources cannot be taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BundlePolicy {
    /// Nothing of it is taken.
    Whole,
    /// All else is taken.
    Each,
    /// Nothing of one whose entries belong together by its type ([`BundleKind::belongs_together`]), all else of another.
    #[default]
    ByType,
}

impl BundlePolicy {
    /// Whether a Bundle of this type is taken whole or not at all.
    #[must_use]
    pub fn takes_all_or_none(self, kind: BundleKind) -> bool {
        match self {
            Self::Whole => true,
            Self::Each => false,
            Self::ByType => kind.belongs_together(),
        }
    }
}

/// What happens during an import, for whoever shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Bytes of all files found.
    Found {
        /// Files.
        files: usize,
        /// Bytes.
        bytes: u64,
    },
    /// A file was passed over.
    Skipped {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// A document was refused; the others go on.
    Refused {
        /// The file.
        path: PathBuf,
        /// Where in it, and why.
        error: FhirError,
    },
    /// A resource of a Bundle was refused; what becomes of the others is told after all of them.
    EntryRefused {
        /// The file.
        path: PathBuf,
        /// Which entry, and why.
        error: FhirError,
    },
    /// Nothing of a Bundle was taken, as some of it could not be.
    BundleRefused {
        /// The file.
        path: PathBuf,
        /// Its type.
        kind: BundleKind,
        /// Resources that could not be taken; not all of them need have been told.
        refused: usize,
        /// Resources that could have been.
        others: usize,
    },
    /// A Bundle was taken but for some resources.
    BundleInPart {
        /// The file.
        path: PathBuf,
        /// Its type.
        kind: BundleKind,
        /// Resources that could not be taken; not all of them need have been told.
        refused: usize,
        /// Resources that were.
        taken: usize,
    },
    /// Entries of a Bundle hold no record.
    PassedOver {
        /// The file.
        path: PathBuf,
        /// Which.
        entries: PassedOver,
    },
    /// What is not valid FHIR R4 in a document. If that is why it is refused, the refusal follows.
    NotValid {
        /// The file.
        path: PathBuf,
        /// Places and rules; at least one finding.
        report: Report,
    },
    /// A file could not be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// A Bundle did not fit into one transaction, so that its records are
    /// not written all or none.
    BundleDivided {
        /// The file.
        path: PathBuf,
        /// Transactions.
        transactions: usize,
    },
    /// A file was read to its end.
    Read {
        /// Its bytes.
        bytes: u64,
    },
    /// A transaction was certified.
    Certified {
        /// Its records.
        records: usize,
    },
}
