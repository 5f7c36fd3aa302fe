//! Receipts: proof for outsiders that an entry is in the ledger.
//!
//! A receipt is one COSE_Sign1 (RFC 9052) in the layout of RFC 9942 with the
//! verifiable data structure RFC9162_SHA256, made by one validator over one tree
//! root, so that it verifies with other people's tools:
//!
//! ```text
//! 18([ << {1: -7, ? 4: kid, 395: 1} >>,                     protected: ES256, RFC9162_SHA256
//!      {396: {-1: [ << [tree size, leaf index, [path]] >> ]}},
//!      nil,                                                 payload: the root, detached
//!      r || s ])
//! ```
//!
//! Signing and assembling are apart: a validator signs [`receipt_tbs`] once per
//! root, and anyone later makes a receipt for any leaf below that root with
//! [`assemble_receipt`]. A ledger starts with two leaves, so no path is empty.
//!
//! One receipt is one validator's word. Whoever needs the network's word collects
//! receipts of validators with enough voting power; this module knows nothing of
//! voting power, and never trusts a header that the signature does not cover,
//! except the proof itself, which the root covers.

mod proof;
mod sign1;

pub use proof::{InclusionProof, PATH_LEN_MAX, root_from_inclusion_path};
pub use sign1::verify_sign1;

use coset::cbor::Value;
use coset::{
    CoseSign1, HeaderBuilder, Label, ProtectedHeader, SignatureContext, TaggedCborSerializable, iana,
    sig_structure_data,
};

use crate::hash::Hash;
use crate::ids::{HeaderHash, Height, LedgerId, NodeId};
use crate::signing::{SignatureAlgorithm, SignatureBytes, VerifyingKey, signature_from_slice};
use crate::vote::{LABEL_HEADER_HASH, LABEL_HEIGHT, LABEL_LEDGER, Vote};

/// Largest receipt in bytes: two headers and a path of 64 hashes need half of it.
pub const RECEIPT_LEN_MAX: usize = 4096;

/// Header label "vds": which verifiable data structure.
const VDS: i64 = 395;
/// Value of [`VDS`] for the tree of RFC 9162 with SHA-256.
const VDS_RFC9162_SHA256: i64 = 1;
/// Header label "vdp": the proofs.
const VDP: i64 = 396;
/// Label of inclusion proofs inside [`VDP`].
const VDP_INCLUSION: i64 = -1;

/// Why a COSE message or a receipt is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CoseError {
    /// The message is larger than [`RECEIPT_LEN_MAX`].
    #[error("receipt of {0} bytes is larger than {RECEIPT_LEN_MAX} bytes")]
    TooLarge(usize),
    /// Not a COSE_Sign1 with tag 18, or with bytes behind it.
    #[error("not a tagged COSE_Sign1")]
    Malformed,
    /// The algorithm is missing from the protected header or is not ES256 (-7).
    #[error("the protected algorithm is not ES256")]
    Algorithm,
    /// A header is marked critical that this verifier does not know.
    #[error("unknown critical header")]
    Critical,
    /// A receipt carries a payload; its root must be recomputed, never read.
    #[error("a receipt's payload must be detached")]
    PayloadAttached,
    /// The payload must be in the message or be given apart: exactly one of them.
    #[error("exactly one payload is needed, attached or detached")]
    PayloadCount,
    /// Header 395 is missing from the protected header or is not RFC9162_SHA256,
    /// or is repeated outside the protected header.
    #[error("the verifiable data structure is not RFC9162_SHA256")]
    DataStructure,
    /// Header 396 does not hold exactly one well-formed inclusion proof.
    #[error("not exactly one well-formed inclusion proof")]
    Proof,
    /// The path does not lead from this leaf index to a root of this tree size.
    #[error("inclusion path of {path_len} hashes does not fit leaf {leaf_index} of {tree_size}")]
    Path {
        /// Leaves in the tree.
        tree_size: u64,
        /// Position of the leaf, from 0.
        leaf_index: u64,
        /// Hashes in the path.
        path_len: usize,
    },
    /// The verifying key is not an ES256 key.
    #[error("a {0} key cannot verify ES256")]
    KeyAlgorithm(SignatureAlgorithm),
    /// The signature is not this key's over this root: wrong key, wrong leaf or
    /// altered receipt.
    #[error("the signature is not valid")]
    Signature,
    /// The protected header names no block: the receipt was not made of a vote.
    #[error("the receipt does not name the block that was signed")]
    NoVote,
    /// A receipt could not be encoded (only a key id longer than fits).
    #[error("receipt cannot be encoded")]
    Encode,
}

/// A receipt as parsed, nothing verified yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    message: CoseSign1,
    proof: InclusionProof,
}

impl Receipt {
    /// Reads a receipt. Checks the layout, not the signature.
    pub fn decode(bytes: &[u8]) -> Result<Self, CoseError> {
        if bytes.len() > RECEIPT_LEN_MAX {
            return Err(CoseError::TooLarge(bytes.len()));
        }
        let message = sign1::decode(bytes)?;
        if message.payload.is_some() {
            return Err(CoseError::PayloadAttached);
        }
        check_data_structure(&message)?;
        let proof = find_proof(&message)?;
        Ok(Self { message, proof })
    }

    /// The key id from the protected header, by which to look up the key.
    pub fn kid(&self) -> Option<&[u8]> {
        let kid = &self.message.protected.header.key_id;
        (!kid.is_empty()).then_some(kid.as_slice())
    }

    /// The vote that the receipt was made of, as the vote of `validator`, for a leaf hash:
    /// what to hold against its maker if that leaf is not on the ledger. Nothing is verified.
    ///
    /// # Errors
    /// [`CoseError::NoVote`] if the protected header lacks what a vote of this project has.
    pub fn vote(&self, validator: NodeId, leaf_hash: &[u8; 32]) -> Result<Vote, CoseError> {
        let rest = &self.message.protected.header.rest;
        let labelled = |label: i64| rest.iter().find(|(found, _)| *found == Label::Int(label)).map(|(_, value)| value);
        let hash = |label| labelled(label).and_then(Value::as_bytes).and_then(|b| <[u8; 32]>::try_from(&b[..]).ok());
        let height = labelled(LABEL_HEIGHT).and_then(Value::as_integer).and_then(|n| u64::try_from(n).ok());
        Ok(Vote {
            validator,
            ledger_id: LedgerId::from_bytes(hash(LABEL_LEDGER).ok_or(CoseError::NoVote)?),
            height: Height(height.ok_or(CoseError::NoVote)?),
            header_hash: HeaderHash::from_bytes(hash(LABEL_HEADER_HASH).ok_or(CoseError::NoVote)?),
            tree_root: Hash::from_bytes(self.proof.root(leaf_hash)?),
            signature: signature_from_slice(&self.message.signature).map_err(|_| CoseError::Signature)?,
        })
    }

    /// The inclusion proof that the receipt carries.
    pub fn proof(&self) -> &InclusionProof {
        &self.proof
    }

    /// Verifies the receipt for a leaf hash and answers with the signed root.
    pub fn verify(&self, leaf_hash: &[u8; 32], key: &VerifyingKey) -> Result<VerifiedReceipt, CoseError> {
        let root = self.proof.root(leaf_hash)?;
        sign1::verify_signature(&self.message, &root, b"", key)?;
        Ok(VerifiedReceipt { tree_size: self.proof.tree_size, leaf_index: self.proof.leaf_index, root })
    }
}

/// What a verified receipt says.
///
/// The signature covers the root alone. `tree_size` and `leaf_index` are what the
/// proof claims; check them against the signed header when they matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedReceipt {
    /// Leaves in the tree, as the proof claims.
    pub tree_size: u64,
    /// Position of the leaf, from 0, as the proof claims.
    pub leaf_index: u64,
    /// The root that the validator signed.
    pub root: [u8; 32],
}

/// The bytes that a validator signs with ES256 over a tree root: the
/// `Sig_structure` of RFC 9052 section 4.4 with an empty external AAD.
///
/// `kid` names the key to the verifier; an empty one is the same as `None`.
pub fn receipt_tbs(kid: Option<&[u8]>, root: &[u8; 32]) -> Vec<u8> {
    sig_structure_data(SignatureContext::CoseSign1, protected(kid), None, b"", root)
}

/// Puts a receipt together from a signature over [`receipt_tbs`] and the proof
/// of one leaf under the same root. `kid` must be the one that was signed.
pub fn assemble_receipt(
    kid: Option<&[u8]>,
    proof: &InclusionProof,
    signature: &SignatureBytes,
) -> Result<Vec<u8>, CoseError> {
    let proofs = Value::Array(vec![Value::Bytes(proof.encode()?)]);
    let vdp = Value::Map(vec![(Value::from(VDP_INCLUSION), proofs)]);
    let message = CoseSign1 {
        protected: protected(kid),
        unprotected: HeaderBuilder::new().value(VDP, vdp).build(),
        payload: None,
        signature: signature.to_vec(),
    };
    let bytes = message.to_tagged_vec().map_err(|_| CoseError::Encode)?;
    if bytes.len() > RECEIPT_LEN_MAX {
        return Err(CoseError::TooLarge(bytes.len()));
    }
    Ok(bytes)
}

/// Signs a root and assembles the receipt of one leaf in one step.
pub fn encode_inclusion_receipt(
    kid: Option<&[u8]>,
    proof: &InclusionProof,
    root: &[u8; 32],
    sign: impl FnOnce(&[u8]) -> SignatureBytes,
) -> Result<Vec<u8>, CoseError> {
    assemble_receipt(kid, proof, &sign(&receipt_tbs(kid, root)))
}

/// Decodes and verifies a receipt for a leaf hash with a validator's ES256 key.
pub fn verify_inclusion_receipt(
    bytes: &[u8],
    leaf_hash: &[u8; 32],
    key: &VerifyingKey,
) -> Result<VerifiedReceipt, CoseError> {
    Receipt::decode(bytes)?.verify(leaf_hash, key)
}

fn protected(kid: Option<&[u8]>) -> ProtectedHeader {
    let header = HeaderBuilder::new()
        .algorithm(iana::Algorithm::ES256)
        .key_id(kid.unwrap_or_default().to_vec())
        .value(VDS, Value::from(VDS_RFC9162_SHA256))
        .build();
    ProtectedHeader { original_data: None, header }
}

/// The structure must be named under the signature, and only there.
fn check_data_structure(message: &CoseSign1) -> Result<(), CoseError> {
    let label = Label::Int(VDS);
    let named = message.protected.header.rest.iter().find(|(found, _)| *found == label);
    let shadowed = message.unprotected.rest.iter().any(|(found, _)| *found == label);
    match named {
        Some((_, value)) if *value == Value::from(VDS_RFC9162_SHA256) && !shadowed => Ok(()),
        _ => Err(CoseError::DataStructure),
    }
}

fn find_proof(message: &CoseSign1) -> Result<InclusionProof, CoseError> {
    let vdp = message.unprotected.rest.iter().find(|(found, _)| *found == Label::Int(VDP));
    let Some((_, Value::Map(proofs))) = vdp else {
        return Err(CoseError::Proof);
    };
    // Exactly one: verifiers in the field look at the first only, so a second
    // could make two verifiers believe different things.
    let [(label, Value::Array(inclusion))] = proofs.as_slice() else {
        return Err(CoseError::Proof);
    };
    let [Value::Bytes(encoded)] = inclusion.as_slice() else {
        return Err(CoseError::Proof);
    };
    if *label != Value::from(VDP_INCLUSION) {
        return Err(CoseError::Proof);
    }
    InclusionProof::decode(encoded)
}

#[cfg(test)]
mod tests;
