//! A ledger as a file, and its verification by anyone, offline.
//!
//! [`ArchiveReader`] and [`ArchiveWriter`] stream the format of
//! consilium/v1/archive.proto. [`Verifier`] takes its entries one by one and
//! believes none of them: only the genesis document, which the verifier was
//! given by other means, is trusted.
//!
//! What is recomputed: ids of transactions, the ledger's Merkle tree from its
//! two first leaves, hashes and order of headers, authors' signatures under
//! keys that the ledger itself enrolled (their certificates verified under the
//! members' CA bundles), certificates under the genesis validators,
//! attachments against their commitments, and, where the archive holds the
//! state, its root and the histories of all records.
//!
//! What is *not*: outcomes. That a transaction was rightly applied or refused
//! is what more than the quorum of validators signed.
//!
//! Memory is bounded by the longest entry, plus 64 bytes per row of state, about
//! 50 per transaction and 300 per enrolled key.

mod authors;
mod blocks;
mod failure;
mod format;
mod report;
mod rows;
mod verify;

#[cfg(test)]
mod tests;

pub use failure::VerifyFailure;
pub use format::{ArchiveError, ArchiveReader, ArchiveWriter, ENTRY_BYTES_MAX, MAGIC};
pub use report::{Counts, Report};
pub use verify::{Options, Verifier, verify_archive};
