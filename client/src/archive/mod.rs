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
//! members' CA bundles, those of the genesis and those proposed on the ledger),
//! the validators of each epoch from those of the genesis on, block certificates
//! under the validators of their height, attachments against their commitments,
//! and, where the archive holds the state, its root, the histories of all
//! records, the outcomes of all elections, the logs of access and the lists of
//! records. Each applied request for access must have exactly one event in them,
//! which says the same.
//!
//! What is *not*: outcomes. That a transaction was rightly applied or refused,
//! access permitted, a proposal accepted, or a validator elected is what more than the quorum of
//! validators signed. Votes and proofs of double signing that blocks have
//! observed are not part of the chain and are not checked; what they did to the
//! state is in its root.
//!
//! Memory is bounded by the longest entry, plus 64 bytes per row of state, about
//! 50 per transaction and epoch, 100 more per request for access, 150 to 800 per
//! log, 350 per enrolled key and 200 per seat and change of the validators.

mod authors;
mod blocks;
mod epochs;
mod events;
mod export;
mod failure;
mod format;
mod logs;
mod report;
mod rows;
mod verify;

#[cfg(test)]
mod tests;

pub use export::{ExportError, export};
pub use failure::VerifyFailure;
pub use format::{ArchiveError, ArchiveReader, ArchiveWriter, ENTRY_BYTES_MAX, MAGIC};
pub use report::{Counts, Report};
pub use verify::{Options, Verifier, verify_archive};
