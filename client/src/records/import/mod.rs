//! Import of FHIR files and folders as records.
//!
//! Steps: [`source`] finds files and reads documents one after the other;
//! `pipeline` blinds, packs, seals and submits them, several transactions at
//! once; [`journal`] makes a run that was interrupted continue where it stopped,
//! without writing anything twice.
//!
//! A Bundle becomes one transaction where it fits, otherwise consecutive ones;
//! single resources and NDJSON lines share transactions. Each entry of a
//! Bundle becomes a record of its own, also in a history Bundle. Names of files
//! are never sent: they may hold names of people.

mod journal;
mod pipeline;
mod source;

pub use journal::{Journal, JournalError};
pub use pipeline::{ImportOptions, ImportSummary, KindSummary, import};
pub use source::{Document, EXTENSIONS, Format, Found, NOT_FHIR, SourceFile, find, read_documents};

use std::path::PathBuf;

use crate::fhir::FhirError;

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
