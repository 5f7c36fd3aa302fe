//! Receipts: offline proof that a transaction is on the ledger.

use crate::error::{FieldError, fixed, length_in};
use crate::genesis::Genesis;
use crate::hash::Hash;
use crate::header::Leaf;
use crate::ids::{LedgerId, NodeId};
use crate::light_client::{SetChange, TrustError, TrustedSet};
use crate::merkle::{self, InclusionProof};
use crate::pb;
use crate::transaction::SignedHead;
use crate::validators::ValidatorSet;
use crate::vote::{CertificateError, CertifiedHeader};

/// Longest inclusion path: the tree has fewer than 2^64 leaves.
pub const PATH_MAX: usize = 64;

/// A parsed receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The ledger.
    pub ledger_id: LedgerId,
    /// The transaction and its outcome.
    pub leaf: Leaf,
    /// Its position.
    pub leaf_index: u64,
    /// RFC 9162 inclusion path.
    pub inclusion_path: Vec<Hash>,
    /// The certified head that the path leads to.
    pub head: CertifiedHeader,
    /// From the genesis set to the one that certified the head, or fewer.
    pub set_changes: Vec<SetChange>,
    /// Who signed the transaction. Absent in what a node answers to a submission, and where it
    /// tells of a patient and the reader may not see it.
    pub signed: Option<SignedHead>,
}

/// Why a receipt proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// It is of another ledger.
    #[error("the receipt is of ledger {found}, not of {expected}")]
    OtherLedger {
        /// The ledger asked for.
        expected: LedgerId,
        /// The ledger in the receipt or its header.
        found: LedgerId,
    },
    /// What was signed is another transaction than the leaf's, or another signature.
    #[error("what the author signed is not what the leaf commits to")]
    OtherTransaction,
    /// The leaf is above the head.
    #[error("the leaf's height is above the head's")]
    LeafAboveHead,
    /// The path does not lead from the leaf to the root.
    #[error("the leaf is not in the tree of the head")]
    NotIncluded,
    /// The head is not final.
    #[error("the head is not certified: {0}")]
    Certificate(#[from] CertificateError),
    /// The changes of the validators do not lead from the genesis to the head.
    #[error("the changes of the validators: {0}")]
    SetChanges(#[from] TrustError),
    /// The genesis document names no valid validator set.
    #[error("the genesis document: {0}")]
    Genesis(#[from] FieldError),
}

impl Receipt {
    /// Checks the receipt against a ledger and the validators of its head: `set`
    /// must be the set of that height, which is the caller's to know.
    ///
    /// # Errors
    /// The first reason found.
    pub fn verify(&self, ledger: LedgerId, set: &ValidatorSet) -> Result<(), ReceiptError> {
        self.verify_under(ledger)?;
        Ok(self.head.verify(set)?)
    }

    /// Everything but the certificate of its head, for a caller who has checked that one before.
    ///
    /// # Errors
    /// The first reason found.
    pub fn verify_under(&self, ledger: LedgerId) -> Result<(), ReceiptError> {
        for found in [self.ledger_id, self.head.header.ledger_id] {
            if found != ledger {
                return Err(ReceiptError::OtherLedger { expected: ledger, found });
            }
        }
        if self.leaf.height > self.head.header.height {
            return Err(ReceiptError::LeafAboveHead);
        }
        if self.signed.is_some_and(|signed| !signed.is_of(&self.leaf)) {
            return Err(ReceiptError::OtherTransaction);
        }
        let header = &self.head.header;
        InclusionProof::new(self.leaf_index, header.tree_size, self.inclusion_path.clone())
            .and_then(|proof| merkle::verify_inclusion(&self.leaf.hash(), &proof, &header.tree_root))
            .map_err(|_| ReceiptError::NotIncluded)
    }

    /// Checks the receipt from the genesis document alone: follows the changes
    /// of the validators that it holds, then checks it against the last set.
    ///
    /// # Errors
    /// The first reason found.
    pub fn verify_from_genesis(&self, genesis: &Genesis) -> Result<(), ReceiptError> {
        let mut trusted = TrustedSet::genesis(genesis)?;
        for change in &self.set_changes {
            trusted.follow(change)?;
        }
        trusted.check_height(self.head.header.height)?;
        self.verify(genesis.ledger_id, trusted.set())
    }

    /// The same proof for verifiers of RFC 9942, one per validator of the head's `set`.
    #[must_use]
    pub fn cose_receipts(&self, set: &ValidatorSet) -> Vec<(NodeId, Vec<u8>)> {
        self.head.cose_receipts(set, self.leaf_index, &self.inclusion_path)
    }
}

impl TryFrom<&pb::Receipt> for Receipt {
    type Error = FieldError;

    fn try_from(m: &pb::Receipt) -> Result<Self, FieldError> {
        length_in("inclusion_path", m.inclusion_path.len(), 0, PATH_MAX)?;
        let path = m.inclusion_path.iter().map(|h| fixed("inclusion_path", h).map(Hash::from_bytes));
        let leaf = m.leaf.as_ref().ok_or_else(|| FieldError::missing("leaf"))?;
        let head = m.head.as_ref().ok_or_else(|| FieldError::missing("head"))?;
        let set_changes = m.set_changes.iter().map(SetChange::try_from).collect::<Result<_, _>>();
        Ok(Self {
            ledger_id: LedgerId::from_bytes(fixed("ledger_id", &m.ledger_id)?),
            leaf: Leaf::try_from(leaf).map_err(|e| e.within("leaf"))?,
            leaf_index: m.leaf_index,
            inclusion_path: path.collect::<Result<_, _>>()?,
            head: CertifiedHeader::try_from(head).map_err(|e| e.within("head"))?,
            set_changes: set_changes.map_err(|e| e.within("set_changes"))?,
            signed: m.signed.as_ref().map(SignedHead::try_from).transpose().map_err(|e| e.within("signed"))?,
        })
    }
}

impl From<&Receipt> for pb::Receipt {
    fn from(r: &Receipt) -> Self {
        Self {
            ledger_id: r.ledger_id.to_bytes(),
            leaf: Some((&r.leaf).into()),
            leaf_index: r.leaf_index,
            inclusion_path: r.inclusion_path.iter().map(Hash::to_bytes).collect(),
            head: Some((&r.head).into()),
            set_changes: r.set_changes.iter().map(Into::into).collect(),
            signed: r.signed.as_ref().map(Into::into),
        }
    }
}
