//! What an import did: counts, and what stopped it. Nothing here names a patient.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use consilium_proto::ids::PatientPseudonym;

use crate::error::ClientError;

/// Records of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct KindSummary {
    /// Records.
    pub records: u64,
    /// Bytes of their documents.
    pub bytes: u64,
}

/// What an import did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImportSummary {
    /// Certified in this run, by kind.
    pub kinds: BTreeMap<String, KindSummary>,
    /// Transactions certified in this run.
    pub transactions: u64,
    /// Of them, sent by an earlier run that did not learn their fate.
    pub transactions_recovered: u64,
    /// Bundles read.
    pub bundles: u64,
    /// Bundles that needed more than one transaction.
    pub bundles_divided: u64,
    /// Resources that an earlier run had certified.
    pub records_known: u64,
    /// Files passed over, as they hold no FHIR resources.
    pub files_skipped: u64,
    /// Documents refused, and files that could not be read.
    pub refused: u64,
    /// What was not valid FHIR R4 in the documents, refused or not.
    pub findings: u64,
    /// Bundles taken but for some of their resources.
    pub bundles_in_part: u64,
    /// Those resources.
    pub resources_refused: u64,
    /// Resources that Bundles say are deleted: that is told, and nothing is done about it.
    pub deletions: u64,
    /// From the first byte read to the last certificate.
    pub elapsed: Duration,
    /// Patients of this import who have two pseudonyms: [`crate::patients::Patients::under_two`].
    pub under_two: BTreeSet<(PatientPseudonym, PatientPseudonym)>,
    /// What stopped the import, if it did not come to its end.
    pub stopped_by: Option<ClientError>,
}

impl ImportSummary {
    /// Records certified in this run.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.kinds.values().map(|k| k.records).sum()
    }

    /// Bytes of documents certified in this run.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.kinds.values().map(|k| k.bytes).sum()
    }

    /// Whether there was no resource at all: none was written, refused, deleted, or imported before.
    #[must_use]
    pub fn is_of_nothing(&self) -> bool {
        let told = self.refused + self.resources_refused + self.deletions;
        self.transactions == 0 && self.records_known == 0 && told == 0 && self.stopped_by.is_none()
    }

    /// Counts a certified transaction: kind and bytes of each of its records.
    pub(super) fn add(&mut self, records: Vec<(String, u64)>) {
        self.transactions += 1;
        for (kind, bytes) in records {
            let entry = self.kinds.entry(kind).or_default();
            entry.records += 1;
            entry.bytes += bytes;
        }
    }
}
