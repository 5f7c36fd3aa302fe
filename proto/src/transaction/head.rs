//! What an author signs: a head of fixed length that commits to the author, to the ledger, to
//! how long the transaction is valid, and to each action for itself. One action can be shown
//! with the head and the signature, and the others stay hidden: each is salted.
//!
//! What is hashed is a fixed layout, and the actions' bytes as they were received: no message
//! is ever encoded again to be verified.

use std::convert::Infallible;

use bytes::Bytes;

use crate::error::{FieldError, fixed, in_range, length_in};
use crate::hash::{Hash, sha256};
use crate::header::Leaf;
use crate::ids::{Fingerprint, LedgerId, TimeMs, TransactionId};
use crate::limits::ACTIONS_MAX;
use crate::merkle::{self, Frontier, InclusionProof, NodeReader};
use crate::pb;
use crate::signing::{self, Domain, SignatureBytes, SigningError, VerifyingKey};

/// Bytes of [`TransactionHead::layout`].
const LAYOUT_BYTES: usize = 32 + 32 + 8 + 8 + 32;
/// Longest path to one of [`ACTIONS_MAX`] actions.
const PATH_MAX: usize = ACTIONS_MAX.ilog2() as usize + 1;

/// Random bytes of a body.
pub type Nonce = [u8; 16];

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionHead {
    /// The ledger that the transaction is for.
    pub ledger_id: LedgerId,
    /// Whose key signs it.
    pub author: Fingerprint,
    /// After this block time it can never execute.
    pub valid_until: TimeMs,
    /// How many actions it has.
    pub action_count: u64,
    /// RFC 9162 root over the salted actions.
    pub actions_root: Hash,
}

impl TransactionHead {
    /// The head of a body.
    ///
    /// # Errors
    /// The first field of fixed length that has another one; no action was looked at.
    pub fn of(body: &pb::TransactionBody) -> Result<Self, FieldError> {
        Self::over(body, |nonce| actions_root(nonce, &body.actions))
    }

    fn over(body: &pb::TransactionBody, root: impl FnOnce(&Nonce) -> Hash) -> Result<Self, FieldError> {
        let nonce = fixed("nonce", &body.nonce)?;
        length_in("actions", body.actions.len(), 1, ACTIONS_MAX)?;
        Ok(Self {
            ledger_id: LedgerId::from_bytes(fixed("ledger_id", &body.ledger_id)?),
            author: Fingerprint::from_bytes(fixed("author", &body.author)?),
            valid_until: TimeMs(body.valid_until_ms),
            action_count: body.actions.len() as u64,
            actions_root: root(&nonce),
        })
    }

    /// The bytes that are hashed: ledger id (32), author (32), end of the validity and number
    /// of actions (8 each, big-endian), root of the actions (32).
    fn layout(&self) -> [u8; LAYOUT_BYTES] {
        let Self { ledger_id, author, valid_until, action_count, actions_root } = self;
        let mut out = Vec::with_capacity(LAYOUT_BYTES);
        out.extend_from_slice(ledger_id.as_bytes());
        out.extend_from_slice(author.as_bytes());
        out.extend_from_slice(&valid_until.0.to_be_bytes());
        out.extend_from_slice(&action_count.to_be_bytes());
        out.extend_from_slice(actions_root.as_bytes());
        out.try_into().expect("the parts add up to the layout's length")
    }

    /// The transaction's id: whoever signs, it commits to who that is, and not to the
    /// signature, of which a key can make many.
    #[must_use]
    pub fn id(&self) -> TransactionId {
        TransactionId::from_bytes(sha256(&[&signing::signing_input(Domain::TX_ID, &sha256(&[&self.layout()]))]))
    }

    /// The bytes that the author signs.
    #[must_use]
    pub fn signing_bytes(&self) -> Vec<u8> {
        signing::signing_input(Domain::TX, &sha256(&[&self.layout()]))
    }
}

/// What goes beside an action into its hash: nobody can guess a hidden action and try.
fn salt(nonce: &Nonce, index: u64) -> [u8; 32] {
    sha256(&[&Domain::ACTION_SALT.prefix(), nonce, &index.to_be_bytes()])
}

fn action_leaf(salt: &[u8; 32], action: &[u8]) -> Hash {
    merkle::leaf_hash(&[salt, action].concat())
}

fn leaves<'a>(nonce: &'a Nonce, actions: &'a [Bytes]) -> impl Iterator<Item = Hash> + 'a {
    (0..).zip(actions).map(move |(index, action)| action_leaf(&salt(nonce, index), action))
}

fn actions_root(nonce: &Nonce, actions: &[Bytes]) -> Hash {
    merkle::root_of(leaves(nonce, actions)).expect("a thousand leaves fit a tree")
}

/// A head and its author's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedHead {
    /// What was signed.
    pub head: TransactionHead,
    /// Ed25519 or ES256 (P1363).
    pub signature: SignatureBytes,
}

impl SignedHead {
    /// Whether a leaf is that of this transaction, with this signature.
    #[must_use]
    pub fn is_of(&self, leaf: &Leaf) -> bool {
        self.head.id() == leaf.transaction_id && signature_hash(&self.signature) == leaf.signature_hash
    }

    /// Whether a key has signed it; whose key it is, is for the ledger to say.
    ///
    /// # Errors
    /// If it has not.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), SigningError> {
        key.verify(&self.head.signing_bytes(), &self.signature)
    }
}

/// How a leaf commits to a signature.
#[must_use]
pub fn signature_hash(signature: &SignatureBytes) -> Hash {
    Hash::from_bytes(sha256(&[signature]))
}

/// One action of a transaction, provably.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionProof {
    /// From 0.
    pub index: u64,
    /// An encoded `Action`.
    pub action: Bytes,
    salt: [u8; 32],
    path: Vec<Hash>,
}

/// The action is not one of the head's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the action is not in the transaction")]
pub struct NotInTransaction;

impl ActionProof {
    /// Shows one action of a body. Of several, an [`ActionTree`] does.
    ///
    /// # Errors
    /// If a field of fixed length has another one, or there is no such action.
    pub fn of(body: &pb::TransactionBody, index: usize) -> Result<Self, FieldError> {
        ActionTree::of(body)?.prove(index)
    }

    /// Checks the action against a head.
    ///
    /// # Errors
    /// If it is not one of that head's.
    pub fn verify(&self, head: &TransactionHead) -> Result<(), NotInTransaction> {
        InclusionProof::new(self.index, head.action_count, self.path.clone())
            .and_then(|proof| {
                merkle::verify_inclusion(&action_leaf(&self.salt, &self.action), &proof, &head.actions_root)
            })
            .map_err(|_| NotInTransaction)
    }
}

/// The actions of a body, hashed once to show several of them.
#[derive(Debug, Clone)]
pub struct ActionTree {
    head: TransactionHead,
    nonce: Nonce,
    actions: Vec<Bytes>,
    levels: Levels,
}

impl ActionTree {
    /// Hashes the actions of a body.
    ///
    /// # Errors
    /// As [`TransactionHead::of`].
    pub fn of(body: &pb::TransactionBody) -> Result<Self, FieldError> {
        let mut levels = Levels::default();
        let head = TransactionHead::over(body, |nonce| levels.fill(leaves(nonce, &body.actions)))?;
        Ok(Self { head, nonce: fixed("nonce", &body.nonce)?, actions: body.actions.clone(), levels })
    }

    /// The head that commits to them.
    #[must_use]
    pub fn head(&self) -> &TransactionHead {
        &self.head
    }

    /// The encoded actions.
    #[must_use]
    pub fn actions(&self) -> &[Bytes] {
        &self.actions
    }

    /// Shows one of them.
    ///
    /// # Errors
    /// If there is no such action.
    pub fn prove(&self, index: usize) -> Result<ActionProof, FieldError> {
        let action = self.actions.get(index).ok_or_else(|| FieldError::missing("actions"))?.clone();
        let index = index as u64;
        let proof = merkle::prove_inclusion(&self.levels, index, self.head.action_count);
        let path = proof.expect("all perfect subtrees are there").path().to_vec();
        Ok(ActionProof { index, action, salt: salt(&self.nonce, index), path })
    }
}

/// Perfect subtrees by their level, the leaves first.
#[derive(Debug, Clone, Default)]
struct Levels(Vec<Vec<Hash>>);

impl Levels {
    /// Takes all leaves; gives the root.
    fn fill(&mut self, leaves: impl Iterator<Item = Hash>) -> Hash {
        let mut frontier = Frontier::new();
        for leaf in leaves {
            let appended = frontier.append_with(leaf, |node| {
                let level = usize::from(node.level);
                if level == self.0.len() {
                    self.0.push(Vec::new());
                }
                self.0[level].push(node.hash);
            });
            appended.expect("a thousand leaves fit a tree");
        }
        frontier.root()
    }
}

impl NodeReader for Levels {
    type Error = Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Option<Hash>, Infallible> {
        let at = usize::try_from(index).ok();
        Ok(at.and_then(|at| self.0.get(usize::from(level))?.get(at)).copied())
    }
}

impl TryFrom<&pb::TransactionHead> for TransactionHead {
    type Error = FieldError;

    fn try_from(m: &pb::TransactionHead) -> Result<Self, FieldError> {
        in_range("action_count", m.action_count, 1, ACTIONS_MAX as u64)?;
        Ok(Self {
            ledger_id: LedgerId::from_bytes(fixed("ledger_id", &m.ledger_id)?),
            author: Fingerprint::from_bytes(fixed("author", &m.author)?),
            valid_until: TimeMs(m.valid_until_ms),
            action_count: m.action_count,
            actions_root: Hash::from_bytes(fixed("actions_root", &m.actions_root)?),
        })
    }
}

impl From<&TransactionHead> for pb::TransactionHead {
    fn from(head: &TransactionHead) -> Self {
        Self {
            ledger_id: head.ledger_id.to_bytes(),
            author: head.author.to_bytes(),
            valid_until_ms: head.valid_until.0,
            action_count: head.action_count,
            actions_root: head.actions_root.to_bytes(),
        }
    }
}

impl TryFrom<&pb::SignedHead> for SignedHead {
    type Error = FieldError;

    fn try_from(m: &pb::SignedHead) -> Result<Self, FieldError> {
        let head = m.head.as_ref().ok_or_else(|| FieldError::missing("head"))?;
        let head = TransactionHead::try_from(head).map_err(|e| e.within("head"))?;
        Ok(Self { head, signature: fixed("signature", &m.signature)? })
    }
}

impl From<&SignedHead> for pb::SignedHead {
    fn from(signed: &SignedHead) -> Self {
        Self { head: Some((&signed.head).into()), signature: Bytes::copy_from_slice(&signed.signature) }
    }
}

impl TryFrom<&pb::ActionProof> for ActionProof {
    type Error = FieldError;

    fn try_from(m: &pb::ActionProof) -> Result<Self, FieldError> {
        length_in("path", m.path.len(), 0, PATH_MAX)?;
        let path = m.path.iter().map(|hash| fixed("path", hash).map(Hash::from_bytes)).collect::<Result<_, _>>()?;
        Ok(Self { index: m.index, action: m.action.clone(), salt: fixed("salt", &m.salt)?, path })
    }
}

impl From<&ActionProof> for pb::ActionProof {
    fn from(proof: &ActionProof) -> Self {
        Self {
            index: proof.index,
            action: proof.action.clone(),
            salt: Bytes::copy_from_slice(&proof.salt),
            path: proof.path.iter().map(Hash::to_bytes).collect(),
        }
    }
}
