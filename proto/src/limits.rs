//! Limits that every participant applies. They are part of the contract: a
//! node that allowed more than another would fork the ledger.

/// Bytes of a transaction body.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a transaction with its attachments.
pub const TRANSACTION_BYTES_MAX: usize = 1024 * 1024;
/// Actions of a transaction.
pub const ACTIONS_MAX: usize = 1_000;
/// Bytes of one payload.
pub const PAYLOAD_BYTES_MAX: u32 = 768 * 1024;
/// Bytes of one encoded key wrap.
pub const WRAP_BYTES_MAX: usize = 4 * 1024;
/// Search tags of a record version.
pub const TAGS_MAX: usize = 32;
/// Recipients of a record version.
pub const WRAPS_MAX: usize = 64;
/// Characters of a record's kind.
pub const KIND_CHARS_MAX: usize = 64;
/// Certificates in an enrolment's chain.
pub const CHAIN_CERTIFICATES_MAX: usize = 3;
/// Bytes of one certificate.
pub const CERTIFICATE_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a revocation list.
pub const CRL_BYTES_MAX: usize = 64 * 1024;
/// How far ahead of the block's time a validity may end, milliseconds.
pub const VALIDITY_AHEAD_MAX_MS: u64 = 24 * 60 * 60 * 1000;
/// Validators of a set.
pub const VALIDATORS_MAX: usize = 128;
/// Highest voting power of one validator: sums of [`VALIDATORS_MAX`] such
/// powers, times a quorum denominator, stay far inside 128 bits.
pub const VOTING_POWER_MAX: u64 = 1 << 48;
/// CA certificates of a member.
pub const CA_BUNDLE_MAX: usize = 8;
/// Members of a genesis document.
pub const GENESIS_MEMBERS_MAX: usize = 64;
/// Nodes of a member in a genesis document.
pub const GENESIS_NODES_MAX: usize = 16;
/// Announced absence of a validator, milliseconds.
pub const MAINTENANCE_MAX_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// Bytes of the access policy.
pub const POLICY_BYTES_MAX: usize = 128 * 1024;
/// Characters of a proposal's reason.
pub const PROPOSAL_REASON_CHARS_MAX: usize = 1_000;
/// Shortest life of a proposal, milliseconds.
pub const PROPOSAL_LIFE_MIN_MS: u64 = 60 * 1000;
/// Longest life of a proposal, milliseconds.
pub const PROPOSAL_LIFE_MAX_MS: u64 = 90 * 24 * 60 * 60 * 1000;
/// Proposals that may be open at a time.
pub const PROPOSALS_OPEN_MAX: usize = 100;
/// Proofs of double signing in one block.
pub const EVIDENCE_PER_BLOCK_MAX: usize = 16;
