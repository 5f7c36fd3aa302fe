//! Who put an entry into the log: each is signed by the leader that did, over where it stands
//! and all that is before it. Two seals of one leader, for one index and one term, and over
//! different entries prove to anybody that it lied.
//!
//! A seal goes with its entry wherever that goes, and is not part of what the entry commits
//! to: signatures of one and the same differ.

use consilium_proto::error::{FieldError, fixed};
use consilium_proto::ids::LedgerId;
use consilium_proto::pb;
use consilium_proto::signing::{SIGNATURE_LEN, SignatureBytes, VerifyingKey};

use crate::codec::DecodeError;
use crate::ids::{LogHash, LogIndex, LogPosition, RaftId, Term};
use crate::mandate::{Signer, signing_bytes};

/// The signature of a leader under an entry of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The leader.
    pub leader: RaftId,
    /// By its vote key.
    pub signature: SignatureBytes,
}

impl Seal {
    /// Bytes of the store encoding.
    pub const ENCODED_LEN: usize = 8 + SIGNATURE_LEN;

    /// The bytes that are signed: "consilium/log-seal/v1", ledger id (32), then recovery epoch,
    /// term and index of the entry (8 each, big-endian), and its hash (32).
    #[must_use]
    pub fn signing_bytes(ledger_id: &LedgerId, entry: &LogPosition) -> Vec<u8> {
        let mut bytes = signing_bytes(b"consilium/log-seal/v1", ledger_id, &[entry.term.0, entry.index.0]);
        bytes.extend_from_slice(entry.hash.as_bytes());
        bytes
    }

    /// Seals an entry; `None` if the key is away.
    #[must_use]
    pub fn sign(signer: &Signer, leader: RaftId, entry: &LogPosition) -> Option<Self> {
        let signature = signer.sign(&Self::signing_bytes(&signer.ledger_id, entry))?;
        Some(Self { leader, signature })
    }

    /// Whether it is of this key, under this entry.
    #[must_use]
    pub fn verifies(&self, ledger_id: &LedgerId, entry: &LogPosition, key: &VerifyingKey) -> bool {
        key.verify(&Self::signing_bytes(ledger_id, entry), &self.signature).is_ok()
    }

    /// The store encoding: raft id (u64 big-endian; 0 if there is no seal), signature.
    #[must_use]
    pub fn encode(seal: Option<&Self>) -> [u8; Self::ENCODED_LEN] {
        let mut out = [0; Self::ENCODED_LEN];
        if let Some(seal) = seal {
            out[..8].copy_from_slice(&seal.leader.get().to_be_bytes());
            out[8..].copy_from_slice(&seal.signature);
        }
        out
    }

    /// Reads the store encoding; `None` if there is no seal.
    ///
    /// # Errors
    /// If nobody has signed, and there is a signature.
    pub fn decode(bytes: &[u8; Self::ENCODED_LEN]) -> Result<Option<Self>, DecodeError> {
        let (mut id, mut signature) = ([0; 8], [0; SIGNATURE_LEN]);
        id.copy_from_slice(&bytes[..8]);
        signature.copy_from_slice(&bytes[8..]);
        match RaftId::new(u64::from_be_bytes(id)) {
            Some(leader) => Ok(Some(Self { leader, signature })),
            None if signature == [0; SIGNATURE_LEN] => Ok(None),
            None => Err(DecodeError::ZeroId),
        }
    }
}

/// Where an entry stands, which one it is, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedPosition {
    /// The entry's.
    pub position: LogPosition,
    /// Of the leader that put it there.
    pub seal: Seal,
}

impl SealedPosition {
    /// Whether both cannot be true of an honest leader. The seals are still to be verified.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> bool {
        let (one, two) = (&self.position, &other.position);
        self.seal.leader == other.seal.leader && (one.index, one.term) == (two.index, two.term) && one.hash != two.hash
    }

    /// Whether the seal is of this key.
    #[must_use]
    pub fn verifies(&self, ledger_id: &LedgerId, key: &VerifyingKey) -> bool {
        self.seal.verifies(ledger_id, &self.position, key)
    }
}

impl From<&SealedPosition> for pb::SealedPosition {
    fn from(sealed: &SealedPosition) -> Self {
        let SealedPosition { position: LogPosition { index, term, hash }, seal } = sealed;
        Self {
            index: index.0,
            term: term.0,
            hash: hash.to_bytes(),
            leader: seal.leader.get(),
            signature: seal.signature.to_vec().into(),
        }
    }
}

impl TryFrom<&pb::SealedPosition> for SealedPosition {
    type Error = FieldError;

    fn try_from(m: &pb::SealedPosition) -> Result<Self, FieldError> {
        let hash = LogHash::from_bytes(fixed("hash", &m.hash)?);
        let leader = RaftId::new(m.leader).ok_or_else(|| FieldError::malformed("leader", "is nobody"))?;
        Ok(Self {
            position: LogPosition { index: LogIndex(m.index), term: Term(m.term), hash },
            seal: Seal { leader, signature: fixed("signature", &m.signature)? },
        })
    }
}

#[cfg(test)]
mod tests;
