//! Who may lead a term, and how anybody can tell: the grants of voters, signed by their vote
//! keys, that together make a [`Mandate`].
//!
//! Raft counts whoever claims to lead a higher term as its leader. Here nothing of a term is
//! taken before its mandate is known: grants with more than two thirds of the voting power
//! of a set of validators that the receiver knows to be certified. A granter keeps its word
//! over restarts, so two mandates of one term need a third of the power to have lied.
//!
//! Everything here is a pure function of its input, but for the signing itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use consilium_proto::error::{FieldError, fixed, length_in};
use consilium_proto::hash::{HASH_LEN, Hash};
use consilium_proto::ids::{LedgerId, NodeId};
use consilium_proto::limits::VALIDATORS_MAX;
use consilium_proto::pb;
use consilium_proto::signing::{SIGNATURE_LEN, SignatureBytes, SigningKey, VerifyingKey};
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::RECOVERY_EPOCH;

use crate::ids::{LogHash, LogIndex, LogPosition, RaftId, Term};
use crate::membership::{MEMBERSHIP_LEN_MAX, Membership};

/// Term, leader and signature of a [`HandOver`] on the wire.
const HAND_OVER_LEN: usize = 8 + 8 + SIGNATURE_LEN;

/// What a node signs with, and for which ledger.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The ledger.
    pub ledger_id: LedgerId,
    /// The node's vote key.
    pub key: Arc<SigningKey>,
}

impl Signer {
    /// `None` if the key is away: whoever cannot sign promises nothing.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<SignatureBytes> {
        self.key.sign(message).ok()
    }
}

/// What a candidate asks for, and what a grant signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidacy {
    /// The term.
    pub term: Term,
    /// The candidate.
    pub candidate: RaftId,
    /// Where its log ends.
    pub last: LogPosition,
    /// Up to where it has applied its log.
    pub applied: LogIndex,
    /// Raft's membership there. A follower that lags counts by it: those whom it knows as
    /// voters may be gone.
    pub membership: Membership,
}

impl Candidacy {
    /// The bytes that a grant signs: "consilium/grant/v1", ledger id (32), then recovery epoch,
    /// term, candidate, index and term of the candidate's last entry, and its applied index (8
    /// each, big-endian), then the hash of that entry (32), and the membership, encoded.
    #[must_use]
    pub fn signing_bytes(&self, ledger_id: &LedgerId) -> Vec<u8> {
        let Self { term, candidate, last, applied, membership } = self;
        let numbers = [term.0, candidate.get(), last.index.0, last.term.0, applied.0];
        let mut bytes = signing_bytes(b"consilium/grant/v1", ledger_id, &numbers);
        bytes.extend_from_slice(last.hash.as_bytes());
        bytes.extend(membership.encode());
        bytes
    }
}

/// Entries of which a candidate shows the hashes at most.
pub(crate) const TAIL_MAX: usize = 128;
/// Bytes of them.
pub(crate) const TAIL_LEN_MAX: usize = TAIL_MAX * HASH_LEN;

/// What the last entries of a candidate's log commit to, the last one last: whoever knows that
/// another one is committed there does not grant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tail(pub(crate) Vec<LogHash>);

impl Tail {
    /// Of the last entry.
    pub(crate) fn last(&self) -> LogHash {
        self.0.last().copied().unwrap_or_default()
    }

    /// Of the entry at an index, where the log ends at `last`; `None` if it is not shown.
    pub(crate) fn at(&self, last: LogIndex, index: LogIndex) -> Option<LogHash> {
        let behind = usize::try_from(last.0.checked_sub(index.0)?).ok()?;
        self.0.iter().rev().nth(behind).copied()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|hash| *hash.as_bytes()).collect()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let whole = bytes.len().is_multiple_of(HASH_LEN) && bytes.len() <= TAIL_LEN_MAX;
        let hashes = bytes.chunks_exact(HASH_LEN).map(|hash| LogHash::try_from(hash).ok());
        hashes.collect::<Option<_>>().filter(|_| whole).map(Self)
    }
}

/// What goes beside a request for a vote, in its `context`: whether there is a hand-over
/// (1 byte), that, the applied index (8, big-endian), how many hashes of the last entries there
/// are (1), these, and the membership, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standpoint {
    pub(crate) hand_over: Option<HandOver>,
    pub(crate) tail: Tail,
    pub(crate) applied: LogIndex,
    pub(crate) membership: Membership,
}

/// No request for a vote has more beside it.
pub(crate) const STANDPOINT_LEN_MAX: usize = 1 + HAND_OVER_LEN + 8 + 1 + TAIL_LEN_MAX + MEMBERSHIP_LEN_MAX;

impl Standpoint {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![u8::from(self.hand_over.is_some())];
        out.extend(self.hand_over.iter().flat_map(HandOver::encode));
        out.extend(self.applied.0.to_be_bytes());
        out.push(self.tail.0.len() as u8);
        out.extend(self.tail.encode());
        out.extend(self.membership.encode());
        out
    }

    /// Whether these bytes claim a hand-over.
    pub(crate) fn hands_over(bytes: &[u8]) -> bool {
        bytes.first() == Some(&1)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (hand_over, rest) = match bytes.split_first()? {
            (0, rest) => (None, rest),
            (1, rest) => {
                let (hand_over, rest) = rest.split_at_checked(HAND_OVER_LEN)?;
                (Some(HandOver::decode(hand_over)?), rest)
            }
            (_, _) => return None,
        };
        let (applied, rest) = rest.split_first_chunk()?;
        let (count, rest) = rest.split_first()?;
        let (tail, membership) = rest.split_at_checked(usize::from(*count) * HASH_LEN)?;
        let applied = LogIndex(u64::from_be_bytes(*applied));
        let membership = Membership::decode(membership).ok()?;
        Some(Self { hand_over, tail: Tail::decode(tail)?, applied, membership })
    }
}

pub(crate) fn signing_bytes(domain: &[u8], ledger_id: &LedgerId, numbers: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(domain.len() + 32 + 8 * (numbers.len() + 1));
    bytes.extend_from_slice(domain);
    bytes.extend_from_slice(ledger_id.as_bytes());
    bytes.extend_from_slice(&RECOVERY_EPOCH.to_be_bytes());
    numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_be_bytes()));
    bytes
}

/// The proof that a node was elected in a term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mandate {
    /// What was asked for.
    pub candidacy: Candidacy,
    /// The set of validators that granted it.
    pub validators_hash: Hash,
    /// Their signatures, the leader's own among them.
    pub grants: BTreeMap<NodeId, SignatureBytes>,
}

/// Why a mandate proves nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MandateError {
    /// It is by validators that this node does not know (yet).
    #[error("granted by validators that are not known here")]
    UnknownValidators,
    /// Too little power, or signatures that are not by these keys.
    #[error("the grants are not of a quorum")]
    NoQuorum,
    /// Of a term that no honest node is near.
    #[error("term {0} is out of range")]
    TermRange(Term),
    /// Of a term that has passed.
    #[error("term {0} has passed")]
    Stale(Term),
    /// Another node has a mandate for the same term: a third of the power granted twice.
    #[error("node {other} leads term {term}")]
    Contradicts {
        /// Who has the other one.
        other: RaftId,
        /// The term.
        term: Term,
    },
}

/// The sets of validators whose grants count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Electorate {
    standing: Vec<ValidatorSet>,
    known: Vec<ValidatorSet>,
    ahead: Option<ValidatorSet>,
}

impl Electorate {
    /// A candidate needs a quorum of one of the sets `standing`; a leader that shows one of any
    /// set is believed. The first one of `standing` is asked, too, where it has no vote in
    /// Raft yet.
    #[must_use]
    pub fn new(standing: Vec<ValidatorSet>, known: Vec<ValidatorSet>) -> Self {
        Self { standing, known, ahead: None }
    }

    /// Adds the set that certifies now, where it is a later one than this node has executed.
    #[must_use]
    pub fn with_ahead(self, ahead: Option<ValidatorSet>) -> Self {
        Self { ahead, ..self }
    }

    fn sets(&self) -> impl Iterator<Item = &ValidatorSet> {
        self.standing.iter().chain(&self.known).chain(&self.ahead)
    }

    /// The keys with which a node may have signed: it may have changed them between two sets.
    fn keys(&self, node: RaftId) -> impl Iterator<Item = &VerifyingKey> {
        self.sets().filter_map(move |set| set.seat(NodeId(node.get()))).map(|seat| &seat.key)
    }

    pub(crate) fn has_seat(&self, node: RaftId) -> bool {
        self.keys(node).next().is_some()
    }

    /// The seats of the newest set.
    pub(crate) fn seats(&self) -> impl Iterator<Item = RaftId> {
        self.standing.first().into_iter().flat_map(ValidatorSet::seats).filter_map(|seat| RaftId::new(seat.id.0))
    }

    pub(crate) fn is_signed_by(&self, node: RaftId, message: &[u8], signature: &SignatureBytes) -> bool {
        self.keys(node).any(|key| key.verify(message, signature).is_ok())
    }

    /// Whether these nodes are a quorum of the set that certifies now, which is later than
    /// those that this node goes by, or of the one that elected the leader.
    pub(crate) fn is_quorum_ahead(&self, nodes: &BTreeSet<NodeId>, elected_by: &Hash) -> bool {
        let elected_by = self.known.iter().filter(|set| set.hash() == *elected_by);
        self.ahead.iter().chain(elected_by).any(|set| set.is_quorum(seated_power(set, nodes)))
    }

    /// Whether these nodes could make a mandate.
    pub(crate) fn is_quorum(&self, nodes: &BTreeSet<NodeId>) -> bool {
        self.standing.iter().any(|set| set.is_quorum(seated_power(set, nodes)))
    }

    /// Whether nobody makes a mandate without one of these nodes.
    pub(crate) fn is_blocked_by(&self, nodes: &BTreeSet<NodeId>) -> bool {
        let blocked = |set: &ValidatorSet| !set.is_quorum(set.total_power() - seated_power(set, nodes));
        !self.standing.is_empty() && self.standing.iter().all(blocked)
    }

    /// The mandate that these grants make, if they do. Signatures were verified.
    pub(crate) fn mandate(
        &self,
        candidacy: &Candidacy,
        grants: &BTreeMap<NodeId, SignatureBytes>,
        ledger_id: &LedgerId,
    ) -> Option<Mandate> {
        let signed = candidacy.signing_bytes(ledger_id);
        let quorum_of = |set: &&ValidatorSet| set.is_quorum(power(set, &signed, grants));
        let set = self.standing.iter().find(quorum_of)?;
        let of_set = |node: &NodeId| set.seat(*node).is_some();
        let grants = grants.iter().filter(|(node, _)| of_set(node)).map(|(node, grant)| (*node, *grant)).collect();
        Some(Mandate { candidacy: candidacy.clone(), validators_hash: set.hash(), grants })
    }

    /// Whether a mandate is of a quorum of a known set. The one that it names comes first; a
    /// leader that is behind names one of the past, and may have been granted to by a quorum of
    /// today's all the same. No grant says of which set it is.
    ///
    /// # Errors
    /// If not.
    pub(crate) fn verify(&self, mandate: &Mandate, ledger_id: &LedgerId) -> Result<(), MandateError> {
        let signed = mandate.candidacy.signing_bytes(ledger_id);
        let (named, others): (Vec<_>, Vec<_>) = self.sets().partition(|set| set.hash() == mandate.validators_hash);
        let granted = |set: &&ValidatorSet| set.is_quorum(power(set, &signed, &mandate.grants));
        match named.iter().chain(&others).any(granted) {
            true => Ok(()),
            false if named.is_empty() => Err(MandateError::UnknownValidators),
            false => Err(MandateError::NoQuorum),
        }
    }
}

fn seated_power(set: &ValidatorSet, nodes: &BTreeSet<NodeId>) -> u128 {
    nodes.iter().filter_map(|node| set.seat(*node)).map(|seat| u128::from(seat.power.0)).sum()
}

/// The power of the seats that signed.
fn power(set: &ValidatorSet, signed: &[u8], grants: &BTreeMap<NodeId, SignatureBytes>) -> u128 {
    let seats = grants.iter().filter_map(|(node, grant)| Some((set.seat(*node)?, grant)));
    let signers = seats.filter(|(seat, grant)| seat.key.verify(signed, grant).is_ok());
    signers.map(|(seat, _)| u128::from(seat.power.0)).sum()
}

/// A leader's word that another may take its place now, though it is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HandOver {
    /// The leader's term.
    pub(crate) term: Term,
    /// The leader.
    pub(crate) leader: RaftId,
    pub(crate) signature: SignatureBytes,
}

impl HandOver {
    /// The bytes that are signed: "consilium/hand-over/v1", ledger id (32), then recovery epoch,
    /// term, and who may stand (8 each, big-endian).
    pub(crate) fn signing_bytes(ledger_id: &LedgerId, term: Term, to: RaftId) -> Vec<u8> {
        signing_bytes(b"consilium/hand-over/v1", ledger_id, &[term.0, to.get()])
    }

    pub(crate) fn encode(&self) -> [u8; HAND_OVER_LEN] {
        let mut out = [0; HAND_OVER_LEN];
        out[..8].copy_from_slice(&self.term.0.to_be_bytes());
        out[8..16].copy_from_slice(&self.leader.get().to_be_bytes());
        out[16..].copy_from_slice(&self.signature);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (term, rest) = bytes.split_first_chunk::<8>()?;
        let (leader, signature) = rest.split_first_chunk::<8>()?;
        Some(Self {
            term: Term(u64::from_be_bytes(*term)),
            leader: RaftId::new(u64::from_be_bytes(*leader))?,
            signature: signature.try_into().ok()?,
        })
    }
}

impl From<&Mandate> for pb::Mandate {
    fn from(m: &Mandate) -> Self {
        let grant = |(node, signature): (&NodeId, &SignatureBytes)| pb::Grant {
            validator: node.0,
            signature: bytes::Bytes::copy_from_slice(signature),
        };
        Self {
            term: m.candidacy.term.0,
            leader: m.candidacy.candidate.get(),
            last_index: m.candidacy.last.index.0,
            last_term: m.candidacy.last.term.0,
            last_hash: m.candidacy.last.hash.to_bytes(),
            applied: m.candidacy.applied.0,
            membership: m.candidacy.membership.encode().into(),
            validators_hash: m.validators_hash.to_bytes(),
            grants: m.grants.iter().map(grant).collect(),
        }
    }
}

impl TryFrom<&pb::Mandate> for Mandate {
    type Error = FieldError;

    fn try_from(m: &pb::Mandate) -> Result<Self, FieldError> {
        length_in("grants", m.grants.len(), 1, VALIDATORS_MAX)?;
        let grant = |grant: &pb::Grant| Ok((NodeId(grant.validator), fixed("grants.signature", &grant.signature)?));
        let candidate = RaftId::new(m.leader).ok_or_else(|| FieldError::malformed("leader", "is nobody"))?;
        let hash = LogHash::from_bytes(fixed("last_hash", &m.last_hash)?);
        let last = LogPosition { index: LogIndex(m.last_index), term: Term(m.last_term), hash };
        let malformed = |_| FieldError::malformed("membership", "is not one");
        let membership = Membership::decode(&m.membership).map_err(malformed)?;
        Ok(Self {
            candidacy: Candidacy { term: Term(m.term), candidate, last, applied: LogIndex(m.applied), membership },
            validators_hash: Hash::from_bytes(fixed("validators_hash", &m.validators_hash)?),
            grants: m.grants.iter().map(grant).collect::<Result<_, FieldError>>()?,
        })
    }
}

#[cfg(test)]
mod tests;
