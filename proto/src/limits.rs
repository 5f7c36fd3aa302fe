//! Limits that every participant applies. They are part of the contract: a
//! node that allowed more than another would fork the ledger.

/// Format of archives (archive.proto).
pub const ARCHIVE_FORMAT: u32 = 3;
/// Bytes of a transaction body.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a transaction with its attachments.
pub const TRANSACTION_BYTES_MAX: usize = 1024 * 1024;
/// Actions of a transaction.
pub const ACTIONS_MAX: usize = 1_000;
/// Numbers that a leaf of the ledger's tree has for its actions: the sequence
/// of a record is its leaf times this, plus its action.
pub const SEQUENCES_PER_LEAF: u64 = 1_024;
/// Bytes of one payload.
pub const PAYLOAD_BYTES_MAX: u32 = 768 * 1024;
/// Bytes of one encoded key wrap.
pub const WRAP_BYTES_MAX: usize = 4 * 1024;
/// Search tags of a record version.
pub const TAGS_MAX: usize = 32;
/// Bytes of a descriptor: a salt and the search tags.
pub const DESCRIPTOR_BYTES_MAX: usize = 16 + TAGS_MAX * 16;
/// Bytes of a look-up: a salt and a tag.
pub const LOOKUP_BYTES: usize = 32;
/// Look-ups that a member may add to a patient.
pub const LOOKUPS_MAX: usize = 8;
/// Tags of a request to find patients.
pub const RESOLVE_TAGS_MAX: usize = 256;
/// Patients that are answered for a tag.
pub const RESOLVED_MAX: usize = 16;
/// Salts of a patient's labels that a member may put.
pub const SALTS_MAX: usize = 8;
/// Keys for which such a salt may be wrapped.
pub const SALT_KEEPERS_MAX: usize = 64;
/// Identities that a member may accept for a patient; those that speak no more make room.
pub const ACCEPTANCES_MAX: usize = 16;
/// Pseudonyms that a member may take for one person's.
pub const LINKED_MAX: usize = 16;
/// Links of a patient that a member has taken back, of which the row tells.
pub const PAST_LINKS_MAX: usize = 16;
/// Versions that a successor may accept to have no wrap for: more than a member writes.
pub const CUSTODY_MISSING_MAX: u64 = 1_000_000_000;
/// How far ahead a care relation may end, milliseconds.
pub const CARE_AHEAD_MAX_MS: u64 = 366 * 24 * 60 * 60 * 1000;
/// Consents of a patient that are not revoked: those of one author, and those on paper of one
/// member.
pub const CONSENTS_MAX: usize = 16;
/// Bytes of their grants.
pub const CONSENTS_BYTES_MAX: usize = 64 * 1024;
/// Consents of a patient that are not revoked and signed by identities of one member.
pub const CONSENTS_OF_MEMBER_MAX: usize = 64;
/// Bytes of their grants: with paper, a member can have no more than twice as much decoded for one
/// pseudonym.
pub const CONSENTS_OF_MEMBER_BYTES_MAX: usize = 128 * 1024;
/// Bytes of a grant.
pub const GRANT_BYTES_MAX: usize = 32 * 1024;
/// Lists of a patient's records (one per kind and confidentiality) of kinds that are no resource
/// types of FHIR R4. Their names are read when any of the patient's records is.
pub const LISTS_OF_OTHER_KINDS_MAX: usize = 256;
/// Rules of a grant.
pub const GRANT_RULES_MAX: usize = 64;
/// Kinds and purposes of a rule.
pub const GRANT_KINDS_MAX: usize = 64;
/// Grantees, members and authors of a rule.
pub const GRANT_NAMES_MAX: usize = 32;
/// Projects of a rule.
pub const GRANT_PROJECTS_MAX: usize = 16;
/// Records of a rule.
pub const GRANT_RECORDS_MAX: usize = 256;
/// Policy tags of a rule: some labels, under the salts of all who may have labelled.
pub const GRANT_TAGS_MAX: usize = 256;
/// Policy tags of a record version.
pub const POLICY_TAGS_MAX: usize = 16;
/// Records of a request for access.
pub const ACCESS_RECORDS_MAX: usize = 256;
/// How long what a request for access permitted is released, milliseconds of block time: a
/// reader that lost the answer needs no second request.
pub const RELEASE_WINDOW_MS: u64 = 120 * 1000;
/// Key wraps of one action of a custodian.
pub const ADDED_WRAPS_MAX: usize = 64;
/// Bytes of the reason of an emergency in words, sealed.
pub const EMERGENCY_TEXT_BYTES_MAX: usize = 8 * 1024;
/// Bytes of the text of a petition, or of its answer, sealed.
pub const PETITION_TEXT_BYTES_MAX: usize = 16 * 1024;
/// Petitions due that a member's row names.
pub const PETITIONS_DUE_MAX: usize = 1_000;
/// Those of them that may be of one patient.
pub const PETITIONS_DUE_OF_PATIENT_MAX: usize = 16;
/// Statements of disagreement of a record.
pub const DISAGREEMENTS_MAX: usize = 8;
/// Within how long a disclosure must be confirmed, milliseconds.
pub const DISCLOSURE_CONFIRM_MAX_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// How far ahead of its disclosure a seal may end, milliseconds.
pub const SEAL_AHEAD_MAX_MS: u64 = 366 * 24 * 60 * 60 * 1000;
/// Bytes of the reason of an emergency before it is padded and sealed.
pub const EMERGENCY_PLAINTEXT_BYTES_MAX: usize = 6 * 1024;
/// Reviews due that a member's row names.
pub const REVIEWS_DUE_MAX: usize = 1_000;
/// How long a custody key still counts after another was named, milliseconds.
pub const CUSTODY_OVERLAP_MS: u64 = 60 * 60 * 1000;
/// Lists of a patient's records that one answer shows.
pub const RECORD_LISTS_SHOWN_MAX: usize = 256;
/// Entries of all lists of records that one answer shows.
pub const RECORD_LIST_ENTRIES_SHOWN_MAX: usize = 1_000;
/// Recipients of a record version.
pub const WRAPS_MAX: usize = 64;
/// Characters of a record's kind.
pub const KIND_CHARS_MAX: usize = 64;
/// Certificates in an enrolment's chain.
pub const CHAIN_CERTIFICATES_MAX: usize = 3;
/// Signers that are ever enrolled with one certificate, its own key among them.
pub const SIGNERS_PER_CERTIFICATE_MAX: usize = 16;
/// Bytes of one certificate.
pub const CERTIFICATE_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a revocation list.
pub const CRL_BYTES_MAX: usize = 64 * 1024;
/// How far ahead of the block's time a validity may end, milliseconds.
pub const VALIDITY_AHEAD_MAX_MS: u64 = 24 * 60 * 60 * 1000;
/// How long a request that is answered without a quorum must be valid, milliseconds: so long
/// the network may be away, and the request still comes into the reader's and patient's log.
pub const LATE_VALIDITY_MIN_MS: u64 = 12 * 60 * 60 * 1000;
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
pub const POLICY_BYTES_MAX: usize = 32 * 1024;
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

/// Transactions of a block: the most that the parameter `block_transactions_max` may be
/// set to.
pub const BLOCK_TRANSACTIONS_MAX: usize = 10_000;
/// Bytes of a block with its attachments: the most that the parameter
/// `block_bytes_max` may be set to.
pub const BLOCK_BYTES_MAX: usize = 16 * MIB;
/// Bytes of a Raft entry: a block, what its encoding adds (at most 4 bytes for
/// each attachment, whose commitment takes 70 of the body), and observations.
pub const ENTRY_BYTES_MAX: usize = BLOCK_BYTES_MAX + BLOCK_BYTES_MAX / 16;
/// Bytes of a Raft message: a single entry of that size, or many small ones.
pub const RAFT_MESSAGE_BYTES_MAX: usize = ENTRY_BYTES_MAX + FRAME_BYTES;
/// Bytes after which a batch of messages to a peer takes no further one.
pub const PEER_BATCH_BYTES: usize = 2 * MIB;
/// Bytes after which a batch of transactions for the leader takes no further one.
pub const FORWARD_BATCH_BYTES: usize = 4 * MIB;
/// Bytes of a message between peers: a batch that one more message joined.
pub const PEER_MESSAGE_BYTES_MAX: usize = PEER_BATCH_BYTES + RAFT_MESSAGE_BYTES_MAX + FRAME_BYTES;
/// Bytes of a request of a client: a transaction with its attachments.
pub const REQUEST_BYTES_MAX: usize = TRANSACTION_BYTES_MAX + 64 * 1024;
/// Bytes of an answer to a client: a block with its certificate.
pub const ANSWER_BYTES_MAX: usize = ENTRY_BYTES_MAX + FRAME_BYTES;

const MIB: usize = 1024 * 1024;
/// Room for what stands around the content of a large message: headers,
/// certificates, lengths.
const FRAME_BYTES: usize = MIB;

// What must hold between them.
const _: () = {
    assert!(ACTIONS_MAX as u64 <= SEQUENCES_PER_LEAF, "sequences of records are unique");
    assert!(BODY_BYTES_MAX + PAYLOAD_BYTES_MAX as usize <= TRANSACTION_BYTES_MAX, "the largest payload fits");
    assert!(CHAIN_CERTIFICATES_MAX * CERTIFICATE_BYTES_MAX < BODY_BYTES_MAX, "the longest chain fits");
    assert!(CRL_BYTES_MAX < BODY_BYTES_MAX && POLICY_BYTES_MAX < BODY_BYTES_MAX, "lists and policies fit");
    assert!(GRANT_BYTES_MAX <= CONSENTS_BYTES_MAX, "the largest consent fits");
    assert!(CONSENTS_BYTES_MAX < CONSENTS_OF_MEMBER_BYTES_MAX, "an author leaves room to others of its member");
    assert!(TRANSACTION_BYTES_MAX < BLOCK_BYTES_MAX, "every transaction fits into a block");
    assert!(BLOCK_BYTES_MAX < ENTRY_BYTES_MAX && ENTRY_BYTES_MAX < RAFT_MESSAGE_BYTES_MAX, "every block is replicated");
    assert!(RAFT_MESSAGE_BYTES_MAX < PEER_MESSAGE_BYTES_MAX, "every Raft message is sent");
    assert!(FORWARD_BATCH_BYTES + REQUEST_BYTES_MAX <= PEER_MESSAGE_BYTES_MAX, "every batch is forwarded");
    assert!(ENTRY_BYTES_MAX < ANSWER_BYTES_MAX, "every block is told to clients");
    assert!(VALIDATORS_MAX as u128 * VOTING_POWER_MAX as u128 <= u64::MAX as u128, "powers add up in 64 bits");
};
