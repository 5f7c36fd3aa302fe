//! Block headers and leaves: their typed form and the fixed byte layouts that
//! are hashed. Changing a layout breaks every ledger.

mod proof;

use crate::error::{FieldError, fixed};
use crate::hash::{Hash, sha256};
use crate::ids::{Epoch, HeaderHash, Height, LedgerId, NodeId, TimeMs, TransactionId};
use crate::pb;

pub use proof::{BrokenChain, FOLLOWING_MAX, HeaderProof};

/// Bytes of [`Header::layout`].
pub const HEADER_LAYOUT_BYTES: usize = 4 * 8 + 8 + 7 * 32;
/// Bytes of [`Leaf::entry`].
pub const LEAF_ENTRY_BYTES: usize = 32 + 8 + 4 + 32;

const HEADER_DOMAIN: &[u8] = b"consilium/header/v1";

/// A tree head with its context. See `Header` in header.proto for the fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The ledger.
    pub ledger_id: LedgerId,
    /// Position in the chain.
    pub height: Height,
    /// Hash of the parent.
    pub previous_hash: HeaderHash,
    /// Block time.
    pub time: TimeMs,
    /// Election period.
    pub epoch: Epoch,
    /// Leaves after this block.
    pub tree_size: u64,
    /// RFC 9162 root over the leaves.
    pub tree_root: Hash,
    /// Root of the authenticated state.
    pub state_root: Hash,
    /// The set that certifies this block.
    pub validators_hash: Hash,
    /// The set that certifies the next block.
    pub next_validators_hash: Hash,
    /// The leader that proposed it.
    pub proposer: NodeId,
    /// What the Raft log commits to up to this block; see docs/formats.md, "The log".
    pub log_hash: Hash,
}

impl Header {
    /// The bytes that are hashed: all fields in order, numbers as 8 bytes
    /// big-endian, hashes as they are.
    #[must_use]
    pub fn layout(&self) -> [u8; HEADER_LAYOUT_BYTES] {
        let Self {
            ledger_id,
            height,
            previous_hash,
            time,
            epoch,
            tree_size,
            tree_root,
            state_root,
            validators_hash,
            next_validators_hash,
            proposer,
            log_hash,
        } = self;
        let mut out = Vec::with_capacity(HEADER_LAYOUT_BYTES);
        out.extend_from_slice(ledger_id.as_bytes());
        out.extend_from_slice(&height.0.to_be_bytes());
        out.extend_from_slice(previous_hash.as_bytes());
        out.extend_from_slice(&time.0.to_be_bytes());
        out.extend_from_slice(&epoch.0.to_be_bytes());
        out.extend_from_slice(&tree_size.to_be_bytes());
        out.extend_from_slice(tree_root.as_bytes());
        out.extend_from_slice(state_root.as_bytes());
        out.extend_from_slice(validators_hash.as_bytes());
        out.extend_from_slice(next_validators_hash.as_bytes());
        out.extend_from_slice(&proposer.0.to_be_bytes());
        out.extend_from_slice(log_hash.as_bytes());
        out.try_into().expect("the parts add up to the layout's length")
    }

    /// SHA-256("consilium/header/v1" || layout).
    #[must_use]
    pub fn hash(&self) -> HeaderHash {
        HeaderHash::from_bytes(sha256(&[HEADER_DOMAIN, &self.layout()]))
    }

    /// Whether it is the header directly behind `previous`: what makes that one final, too.
    #[must_use]
    pub fn follows(&self, previous: &Self) -> bool {
        self.height > previous.height
            && self.height == previous.height.next()
            && self.previous_hash == previous.hash()
            && self.time >= previous.time
            && self.ledger_id == previous.ledger_id
            && self.validators_hash == previous.next_validators_hash
    }
}

impl TryFrom<&pb::Header> for Header {
    type Error = FieldError;

    fn try_from(m: &pb::Header) -> Result<Self, FieldError> {
        Ok(Self {
            ledger_id: LedgerId::from_bytes(fixed("ledger_id", &m.ledger_id)?),
            height: Height(m.height),
            previous_hash: HeaderHash::from_bytes(fixed("previous_hash", &m.previous_hash)?),
            time: TimeMs(m.time_ms),
            epoch: Epoch(m.epoch),
            tree_size: m.tree_size,
            tree_root: Hash::from_bytes(fixed("tree_root", &m.tree_root)?),
            state_root: Hash::from_bytes(fixed("state_root", &m.state_root)?),
            validators_hash: Hash::from_bytes(fixed("validators_hash", &m.validators_hash)?),
            next_validators_hash: Hash::from_bytes(fixed("next_validators_hash", &m.next_validators_hash)?),
            proposer: NodeId(m.proposer),
            log_hash: Hash::from_bytes(fixed("log_hash", &m.log_hash)?),
        })
    }
}

impl From<&Header> for pb::Header {
    fn from(h: &Header) -> Self {
        Self {
            ledger_id: h.ledger_id.to_bytes(),
            height: h.height.0,
            previous_hash: h.previous_hash.to_bytes(),
            time_ms: h.time.0,
            epoch: h.epoch.0,
            tree_size: h.tree_size,
            tree_root: h.tree_root.to_bytes(),
            state_root: h.state_root.to_bytes(),
            validators_hash: h.validators_hash.to_bytes(),
            next_validators_hash: h.next_validators_hash.to_bytes(),
            proposer: h.proposer.0,
            log_hash: h.log_hash.to_bytes(),
        }
    }
}

/// One leaf of the ledger's tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// The transaction.
    pub transaction_id: TransactionId,
    /// Its block.
    pub height: Height,
    /// What the rules said.
    pub outcome: pb::Outcome,
    /// SHA-256 of the author's signature, as the block holds it; the id commits to the author.
    pub signature_hash: Hash,
}

impl Leaf {
    /// The bytes that RFC 9162 calls the entry: id, height (8 bytes,
    /// big-endian), outcome (4 bytes, big-endian), SHA-256 of the signature.
    #[must_use]
    pub fn entry(&self) -> [u8; LEAF_ENTRY_BYTES] {
        let mut out = [0; LEAF_ENTRY_BYTES];
        out[..32].copy_from_slice(self.transaction_id.as_bytes());
        out[32..40].copy_from_slice(&self.height.0.to_be_bytes());
        out[40..44].copy_from_slice(&(self.outcome as u32).to_be_bytes());
        out[44..].copy_from_slice(self.signature_hash.as_bytes());
        out
    }

    /// RFC 9162 leaf hash of the entry.
    #[must_use]
    pub fn hash(&self) -> Hash {
        crate::merkle::leaf_hash(&self.entry())
    }

    /// Reads an entry back.
    ///
    /// # Errors
    /// If the length is wrong or the outcome is not a known value.
    pub fn from_entry(entry: &[u8]) -> Result<Self, FieldError> {
        let bytes: [u8; LEAF_ENTRY_BYTES] = fixed("leaf", entry)?;
        let (id, rest) = bytes.split_at(32);
        let (height, rest) = rest.split_at(8);
        let (outcome, signature) = rest.split_at(4);
        Self::try_from(&pb::Leaf {
            transaction_id: bytes::Bytes::copy_from_slice(id),
            height: u64::from_be_bytes(height.try_into().expect("split at 8")),
            outcome: i32::from_be_bytes(outcome.try_into().expect("split at 4")),
            signature_sha256: bytes::Bytes::copy_from_slice(signature),
        })
    }

    /// The two leaves that every ledger starts with, so that no inclusion
    /// path is ever empty.
    #[must_use]
    pub fn genesis(ledger: LedgerId) -> [Self; 2] {
        let leaf = |id: [u8; 32]| Self {
            transaction_id: TransactionId::from_bytes(id),
            height: Height::GENESIS,
            outcome: pb::Outcome::Applied,
            // Nobody signs the genesis document as a transaction.
            signature_hash: Hash::from_bytes([0; 32]),
        };
        [leaf(*ledger.as_bytes()), leaf(sha256(&[b"consilium/genesis-leaf/v1", ledger.as_bytes()]))]
    }
}

impl TryFrom<&pb::Leaf> for Leaf {
    type Error = FieldError;

    fn try_from(m: &pb::Leaf) -> Result<Self, FieldError> {
        let outcome = pb::Outcome::try_from(m.outcome)
            .ok()
            .filter(|o| *o != pb::Outcome::Unspecified)
            .ok_or_else(|| FieldError::malformed("outcome", "is not a known outcome"))?;
        Ok(Self {
            transaction_id: TransactionId::from_bytes(fixed("transaction_id", &m.transaction_id)?),
            height: Height(m.height),
            outcome,
            signature_hash: Hash::from_bytes(fixed("signature_sha256", &m.signature_sha256)?),
        })
    }
}

impl From<&Leaf> for pb::Leaf {
    fn from(l: &Leaf) -> Self {
        Self {
            transaction_id: l.transaction_id.to_bytes(),
            height: l.height.0,
            outcome: l.outcome as i32,
            signature_sha256: l.signature_hash.to_bytes(),
        }
    }
}

#[cfg(test)]
mod tests;
