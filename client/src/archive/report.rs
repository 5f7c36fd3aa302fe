//! What a verification found.

use consilium_proto::hash::Hash;
use consilium_proto::ids::{HeaderHash, Height, LedgerId, TimeMs};

use super::failure::VerifyFailure;

/// What was checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Blocks, the genesis header included.
    pub blocks: u64,
    /// Transactions.
    pub transactions: u64,
    /// Of them, applied.
    pub applied: u64,
    /// Authors' signatures found good.
    pub signatures: u64,
    /// Transactions refused before their signature mattered (expired, unknown
    /// author): their signatures prove nothing and were not checked.
    pub signatures_immaterial: u64,
    /// Block certificates found good.
    pub certificates: u64,
    /// Changes of the validators, each certified by the set that ended.
    pub set_changes: u64,
    /// Identities enrolled.
    pub enrolments: u64,
    /// Attachments found as committed to.
    pub attachments: u64,
    /// Attachments that were erased.
    pub attachments_erased: u64,
    /// Blocks whose archive entry holds none of the attachments.
    pub blocks_without_attachments: u64,
    /// Rows of the state.
    pub state_rows: u64,
    /// Record versions.
    pub versions: u64,
    /// Entries of logs of access and of lists of records.
    pub log_entries: u64,
}

/// The result of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The ledger asked for.
    pub ledger_id: LedgerId,
    /// What was checked until the end or the failure.
    pub counts: Counts,
    /// Height, header hash, state root and time of the last block checked.
    pub head: Option<(Height, HeaderHash, Hash, TimeMs)>,
    /// The highest block that a certificate makes final; what is above may
    /// still be certified or never be.
    pub certified_height: Option<Height>,
    /// Whether the archive holds the state, and so the state's root and the
    /// records' histories were checked.
    pub state_checked: bool,
    /// The first thing that is wrong.
    pub failure: Option<VerifyFailure>,
}

impl Report {
    /// Whether everything is right and, if there is a block, a certificate
    /// makes one final.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let only_genesis = self.head.is_none_or(|(height, ..)| height == Height::GENESIS);
        self.failure.is_none() && (self.certified_height.is_some() || only_genesis)
    }

    /// Blocks above the last certified one.
    #[must_use]
    pub fn uncertified_blocks(&self) -> u64 {
        let head = self.head.map_or(0, |(height, ..)| height.0);
        head - self.certified_height.map_or(0, |h| h.0).min(head)
    }
}
