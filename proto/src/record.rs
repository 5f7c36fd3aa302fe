//! Records as they are proven: what a version says, that the state holds it, and that its
//! author signed it, against one header that is final.
//!
//! A record's row commits to its newest version, and each version to the one before it, so
//! that any version can be shown, and the others stay hidden behind the hashes of their
//! contents. The state is what the validators made of the transactions; the author's own
//! signature over the action that wrote a version is proven beside it, so that not even all
//! validators together can put words in an author's mouth. Nothing here says that a header is
//! final: whoever asks must know that ([`crate::header::HeaderProof`]).

mod descriptor;

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message;

use crate::consent::Custodians;
use crate::error::{FieldError, fixed, length_in};
use crate::hash::{Hash, sha256};
use crate::header::{Header, Leaf};
use crate::ids::{Fingerprint, Height, RecordId, TransactionId};
use crate::merkle::{self, InclusionProof};
use crate::names::SpiffeId;
use crate::pb;
use crate::receipt::PATH_MAX;
use crate::signing::VerifyingKey;
use crate::state::keys;
use crate::state_tree::{StateProof, verify_state_proof};
use crate::transaction::{ActionProof, SignedHead, signature_hash};

pub use descriptor::Descriptor;

/// What a version says, without the version before it: SHA-256 of the encoding of its message
/// without `previous_sha256`, which is canonical by contract (state.proto).
#[must_use]
pub fn content_hash(version: &pb::RecordVersion) -> [u8; 32] {
    let content = pb::RecordVersion { previous_sha256: Bytes::new(), ..version.clone() };
    sha256(&[&content.encode_to_vec()])
}

/// How the state, and the version that follows, commit to a version.
#[must_use]
pub fn version_hash(version: &pb::RecordVersion) -> [u8; 32] {
    sha256(&[&content_hash(version), &version.previous_sha256])
}

/// Who signs with a key, as the state has it: never changed once it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSigner {
    /// Whose key it is.
    pub id: SpiffeId,
    /// The key.
    pub key: VerifyingKey,
}

impl TryFrom<&pb::SignerState> for KnownSigner {
    type Error = FieldError;

    fn try_from(m: &pb::SignerState) -> Result<Self, FieldError> {
        let id = m.spiffe_id.parse().map_err(|_| FieldError::malformed("spiffe_id", "is not a SPIFFE id"))?;
        let key = VerifyingKey::from_bytes(&m.signing_key);
        let key = key.map_err(|_| FieldError::malformed("signing_key", "is not a known signing key"))?;
        Ok(Self { id, key })
    }
}

/// Why a version of a record is not proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// No proof for each version, or none at all.
    #[error("there are not as many proofs as versions")]
    Count,
    /// Versions are of another record, out of order, or beyond the newest.
    #[error("the versions are not of this record, or not in order")]
    Order,
    /// The row is not in the state.
    #[error("the record's row is not in the certified state")]
    State,
    /// The state does not commit to what was shown.
    #[error("the certified state holds other versions of the record")]
    Version,
    /// The record's row and the version contradict each other.
    #[error("the record's row says otherwise")]
    Row,
    /// The transaction is not in the ledger's tree with this outcome.
    #[error("the transaction that wrote the version is not on the ledger")]
    Transaction,
    /// The action is not in that transaction, or says something else.
    #[error("the author signed something else")]
    Action,
    /// The signer is not the author that the version names.
    #[error("the signer is not the author that the version names")]
    Author,
    /// The author's key did not sign.
    #[error("the author's signature is wrong")]
    Signature,
}

/// Proof that an author signed an action, and that it took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorProof {
    /// The leaf of its transaction.
    pub leaf_index: u64,
    /// RFC 9162 inclusion path.
    pub inclusion_path: Vec<Hash>,
    /// What was signed.
    pub signed: SignedHead,
    /// The action.
    pub action: ActionProof,
}

impl AuthorProof {
    fn verify(&self, version: &pb::RecordVersion, header: &Header) -> Result<(), Unproven> {
        let id = self.signed.head.id();
        if version.transaction_id != id.as_bytes()[..] {
            return Err(Unproven::Transaction);
        }
        let leaf = Leaf {
            transaction_id: id,
            height: Height(version.height),
            outcome: pb::Outcome::Applied,
            signature_hash: signature_hash(&self.signed.signature),
        };
        InclusionProof::new(self.leaf_index, header.tree_size, self.inclusion_path.clone())
            .and_then(|proof| merkle::verify_inclusion(&leaf.hash(), &proof, &header.tree_root))
            .map_err(|_| Unproven::Transaction)?;
        self.action.verify(&self.signed.head).map_err(|_| Unproven::Action)?;
        match says(&self.action.action, version) {
            true => Ok(()),
            false => Err(Unproven::Action),
        }
    }
}

/// Whether an action is the one that makes this version.
fn says(action: &Bytes, version: &pb::RecordVersion) -> bool {
    use pb::action::Action;
    match pb::Action::decode(action.clone()).ok().and_then(|action| action.action) {
        Some(Action::WriteRecord(write)) => {
            let made = pb::WriteRecord {
                record_id: version.record_id.clone(),
                version: version.version,
                patient: version.patient.clone(),
                kind: version.kind.clone(),
                confidentiality: version.confidentiality,
                payload_sha256: version.payload_sha256.clone(),
                payload_size: version.payload_size,
                wraps: version.wraps.clone(),
                descriptor_sha256: version.descriptor_sha256.clone(),
                policy_tags: version.policy_tags.clone(),
            };
            write == made && !version.retraction
        }
        Some(Action::RetractRecord(retract)) => {
            retract.record_id == version.record_id
                && retract.version.checked_add(1) == Some(version.version)
                && retract.reason == version.retraction_reason
                && version.retraction
        }
        _ => false,
    }
}

/// Signatures over transactions that were found good. Records that one transaction wrote are proven by
/// the same one, which is looked at once.
#[derive(Debug, Default)]
pub struct GoodSignatures(BTreeSet<(TransactionId, Hash)>);

impl GoodSignatures {
    /// A transaction's id commits to who is its author, and so to the key.
    fn check(&mut self, signed: &SignedHead, key: &VerifyingKey) -> Result<(), Unproven> {
        let one = (signed.head.id(), signature_hash(&signed.signature));
        if !self.0.contains(&one) {
            signed.verify(key).map_err(|_| Unproven::Signature)?;
            self.0.insert(one);
        }
        Ok(())
    }
}

/// Proof of some versions of one record. See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordProof {
    /// The record's row as it is stored.
    pub state: Bytes,
    /// That it is in the state.
    pub state_proof: StateProof,
    /// [`content_hash`] of each version from the first that is shown to the newest.
    pub contents: Vec<[u8; 32]>,
    /// Of each version that is shown.
    pub authors: Vec<AuthorProof>,
}

impl RecordProof {
    /// Whose rows [`Self::verify`] needs.
    #[must_use]
    pub fn signers(&self) -> BTreeSet<Fingerprint> {
        self.authors.iter().map(|author| author.signed.head.author).collect()
    }

    /// Checks the versions of a record that are shown, oldest first, against a header which the
    /// caller knows to be final; returns the record's row, which says how many versions
    /// there are and whether it is retracted. `signer` knows the rows of
    /// [`Self::signers`] as the state has them. All must be of the member that wrote the first
    /// version.
    ///
    /// # Errors
    /// [`Unproven`]; then nothing of it is to be believed.
    pub fn verify<'a>(
        &self,
        id: &RecordId,
        shown: &[pb::RecordVersion],
        header: &Header,
        signer: impl Fn(&Fingerprint) -> Option<&'a KnownSigner>,
    ) -> Result<pb::RecordState, Unproven> {
        self.verify_among(id, shown, header, (signer, &[], &mut GoodSignatures::default()))
    }

    /// As [`Self::verify`], of one of several records. `keepers` have kept the records of that member
    /// since it left, as the state has them in the header's block or later, and each may have signed
    /// while it did.
    ///
    /// # Errors
    /// As there.
    pub fn verify_among<'a>(
        &self,
        id: &RecordId,
        shown: &[pb::RecordVersion],
        header: &Header,
        (signer, keepers, good): (
            impl Fn(&Fingerprint) -> Option<&'a KnownSigner>,
            &[pb::CustodyKeeper],
            &mut GoodSignatures,
        ),
    ) -> Result<pb::RecordState, Unproven> {
        let row = self.verify_contents(id, shown, header)?;
        let custodians = Custodians::new(&row.member, keepers);
        if shown.len() != self.authors.len() {
            return Err(Unproven::Count);
        }
        for (version, author) in shown.iter().zip(&self.authors) {
            author.verify(version, header)?;
            let known = signer(&author.signed.head.author).ok_or(Unproven::Author)?;
            check_row((&row, custodians), version, &known.id)?;
            good.check(&author.signed, &known.key)?;
        }
        Ok(row)
    }

    /// As [`Self::verify`], but for who has signed: what the validators have certified, and no
    /// more.
    ///
    /// # Errors
    /// As there.
    pub fn verify_contents(
        &self,
        id: &RecordId,
        shown: &[pb::RecordVersion],
        header: &Header,
    ) -> Result<pb::RecordState, Unproven> {
        verify_state_proof(&header.state_root, &keys::record(id), Some(&self.state), &self.state_proof)
            .map_err(|_| Unproven::State)?;
        let row = pb::RecordState::decode(self.state.clone()).map_err(|_| Unproven::State)?;
        self.check_chain(id, shown, &row)?;
        Ok(row)
    }

    /// From the first version that is shown to the one that the row commits to.
    fn check_chain(&self, id: &RecordId, shown: &[pb::RecordVersion], row: &pb::RecordState) -> Result<(), Unproven> {
        let first = shown.first().ok_or(Unproven::Count)?;
        let count = u32::try_from(self.contents.len()).map_err(|_| Unproven::Order)?;
        if first.version == 0 || first.version.checked_add(count) != row.version.checked_add(1) {
            return Err(Unproven::Order);
        }
        let mut left = shown.iter().peekable();
        let mut hash = first.previous_sha256.clone();
        for (number, content) in (first.version..).zip(&self.contents) {
            if let Some(version) = left.next_if(|version| version.version == number) {
                if version.record_id != id.0[..] {
                    return Err(Unproven::Order);
                }
                if version.previous_sha256 != hash || content_hash(version) != *content {
                    return Err(Unproven::Version);
                }
            }
            hash = Bytes::copy_from_slice(&sha256(&[content, &hash]));
        }
        if left.next().is_some() {
            return Err(Unproven::Order);
        }
        match hash == row.version_sha256 {
            true => Ok(()),
            false => Err(Unproven::Version),
        }
    }
}

/// What is the same in all versions, and what only the newest can be.
fn check_row(
    (row, custodians): (&pb::RecordState, Custodians<'_>),
    version: &pb::RecordVersion,
    signer: &SpiffeId,
) -> Result<(), Unproven> {
    if version.author != signer.to_string() {
        return Err(Unproven::Author);
    }
    let keeps = custodians.was_at(signer.member().as_str(), version.height);
    let same = keeps && row.patient == version.patient && row.kind == version.kind;
    let retracts = row.retracted && version.version == row.version;
    match same && version.retraction == retracts {
        true => Ok(()),
        false => Err(Unproven::Row),
    }
}

impl TryFrom<&pb::AuthorProof> for AuthorProof {
    type Error = FieldError;

    fn try_from(m: &pb::AuthorProof) -> Result<Self, FieldError> {
        length_in("inclusion_path", m.inclusion_path.len(), 0, PATH_MAX)?;
        let path = m.inclusion_path.iter().map(|hash| fixed("inclusion_path", hash).map(Hash::from_bytes));
        let signed = m.signed.as_ref().ok_or_else(|| FieldError::missing("signed"))?;
        let action = m.action.as_ref().ok_or_else(|| FieldError::missing("action"))?;
        Ok(Self {
            leaf_index: m.leaf_index,
            inclusion_path: path.collect::<Result<_, _>>()?,
            signed: SignedHead::try_from(signed).map_err(|e| e.within("signed"))?,
            action: ActionProof::try_from(action).map_err(|e| e.within("action"))?,
        })
    }
}

impl From<&AuthorProof> for pb::AuthorProof {
    fn from(proof: &AuthorProof) -> Self {
        Self {
            leaf_index: proof.leaf_index,
            inclusion_path: proof.inclusion_path.iter().map(Hash::to_bytes).collect(),
            signed: Some((&proof.signed).into()),
            action: Some((&proof.action).into()),
        }
    }
}

impl TryFrom<&pb::RecordProof> for RecordProof {
    type Error = FieldError;

    fn try_from(m: &pb::RecordProof) -> Result<Self, FieldError> {
        let contents = m.contents_sha256.iter().map(|hash| fixed("contents_sha256", hash));
        let authors = m.authors.iter().map(AuthorProof::try_from).collect::<Result<_, _>>();
        Ok(Self {
            state: m.state.clone(),
            state_proof: StateProof::decode(&m.state_proof)
                .map_err(|_| FieldError::malformed("state_proof", "is not a state proof"))?,
            contents: contents.collect::<Result<_, _>>()?,
            authors: authors.map_err(|e| e.within("authors"))?,
        })
    }
}

impl From<&RecordProof> for pb::RecordProof {
    fn from(proof: &RecordProof) -> Self {
        Self {
            state: proof.state.clone(),
            state_proof: proof.state_proof.encode().into(),
            contents_sha256: proof.contents.iter().map(|hash| Bytes::copy_from_slice(hash)).collect(),
            authors: proof.authors.iter().map(Into::into).collect(),
        }
    }
}
