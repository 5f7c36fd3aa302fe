//! Votes and block certificates.
//!
//! A vote is an ES256 signature over the COSE `Sig_structure` (RFC 9052 §4.4)
//! whose payload is the ledger's tree root and whose protected header holds,
//! beside the entries that an RFC 9942 receipt needs, the hash of the block
//! header, its height, its ledger and the recovery epoch under private labels. One signature thereby
//! certifies a block *and* is a receipt that other people's verifiers accept.
//! The header hash commits to state and validators, so a vote can be used
//! nowhere else; the height stands beside it so that two votes of one key for
//! one height prove by themselves that the validator lied ([`Equivocation`]). The
//! `kid` names the key (RFC 9679), so that whoever is handed a receipt knows whose
//! key to look for.

mod evidence;

use std::collections::BTreeMap;

use coset::{CborSerializable, CoseSign1Builder, HeaderBuilder, iana};

use crate::error::{FieldError, fixed, length_in};
use crate::hash::Hash;
use crate::header::Header;
use crate::ids::{HeaderHash, Height, LedgerId, NodeId};
use crate::limits::VALIDATORS_MAX;
use crate::pb;
use crate::signing::{SigningKey, VerifyingKey};
use crate::validators::ValidatorSet;

pub use self::evidence::{Contradiction, Equivocation};

/// COSE label of the verifiable data structure (RFC 9942).
pub const LABEL_VDS: i64 = 395;
/// COSE label of the proofs (RFC 9942).
pub const LABEL_PROOFS: i64 = 396;
/// Private COSE label of the block header's hash.
pub const LABEL_HEADER_HASH: i64 = -70_001;
/// Private COSE label of the block's height.
pub const LABEL_HEIGHT: i64 = -70_002;
/// Private COSE label of the ledger id.
pub const LABEL_LEDGER: i64 = -70_003;
/// Private COSE label of the recovery epoch.
pub const LABEL_RECOVERY_EPOCH: i64 = -70_004;
/// The recovery epoch that votes, grants and hand-overs name. It moves when members restart
/// their ledger after the loss of a majority, and makes worthless what was signed before.
pub const RECOVERY_EPOCH: u64 = 0;
/// RFC9162_SHA256 in the registry of verifiable data structures.
pub const VDS_RFC9162_SHA256: i64 = 1;

/// What a validator signs a header with, and what a certificate is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// The validator. Not signed: the key says who it is.
    pub validator: NodeId,
    /// The ledger.
    pub ledger_id: LedgerId,
    /// Height of the header.
    pub height: Height,
    /// The header.
    pub header_hash: HeaderHash,
    /// The tree root in that header.
    pub tree_root: Hash,
    /// ES256, P1363.
    pub signature: [u8; 64],
}

/// Builder of the signed object, shared by votes and receipts.
fn sign1_builder(
    signer: &VerifyingKey,
    ledger: &LedgerId,
    height: Height,
    header_hash: &HeaderHash,
) -> CoseSign1Builder {
    use coset::cbor::Value;
    let protected = HeaderBuilder::new()
        .algorithm(iana::Algorithm::ES256)
        .key_id(signer.thumbprint().to_vec())
        .value(LABEL_VDS, VDS_RFC9162_SHA256.into())
        .value(LABEL_HEADER_HASH, Value::Bytes(header_hash.as_bytes().to_vec()))
        .value(LABEL_HEIGHT, Value::from(height.0))
        .value(LABEL_LEDGER, Value::Bytes(ledger.as_bytes().to_vec()))
        .value(LABEL_RECOVERY_EPOCH, Value::from(RECOVERY_EPOCH))
        .build();
    CoseSign1Builder::new().protected(protected)
}

/// The bytes that a vote by the key `signer` signs.
#[must_use]
pub fn signing_bytes(
    signer: &VerifyingKey,
    ledger: &LedgerId,
    height: Height,
    header_hash: &HeaderHash,
    tree_root: &Hash,
) -> Vec<u8> {
    let object = sign1_builder(signer, ledger, height, header_hash).build();
    coset::sig_structure_data(coset::SignatureContext::CoseSign1, object.protected, None, &[], tree_root.as_bytes())
}

impl Vote {
    /// Signs a header. The caller has made the vote durable before.
    ///
    /// # Errors
    /// If the key cannot sign (an HSM that is away, or a key of another kind).
    pub fn sign(validator: NodeId, header: &Header, key: &SigningKey) -> Result<Self, crate::signing::SigningError> {
        let Header { ledger_id, height, tree_root, .. } = *header;
        let header_hash = header.hash();
        let signature = key.sign(&signing_bytes(&key.verifying_key(), &ledger_id, height, &header_hash, &tree_root))?;
        Ok(Self { validator, ledger_id, height, header_hash, tree_root, signature })
    }

    /// Whether the signature is by `key`.
    #[must_use]
    pub fn verifies(&self, key: &VerifyingKey) -> bool {
        let signed = signing_bytes(key, &self.ledger_id, self.height, &self.header_hash, &self.tree_root);
        key.verify(&signed, &self.signature).is_ok()
    }
}

impl TryFrom<&pb::Vote> for Vote {
    type Error = FieldError;

    fn try_from(m: &pb::Vote) -> Result<Self, FieldError> {
        Ok(Self {
            validator: NodeId(m.validator),
            ledger_id: LedgerId::from_bytes(fixed("ledger_id", &m.ledger_id)?),
            height: Height(m.height),
            header_hash: HeaderHash::from_bytes(fixed("header_hash", &m.header_hash)?),
            tree_root: Hash::from_bytes(fixed("tree_root", &m.tree_root)?),
            signature: fixed("signature", &m.signature)?,
        })
    }
}

impl From<&Vote> for pb::Vote {
    fn from(v: &Vote) -> Self {
        Self {
            validator: v.validator.0,
            ledger_id: v.ledger_id.to_bytes(),
            height: v.height.0,
            header_hash: v.header_hash.to_bytes(),
            tree_root: v.tree_root.to_bytes(),
            signature: bytes::Bytes::copy_from_slice(&v.signature),
        }
    }
}

/// Signatures of a quorum over one header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockCertificate {
    /// Height of the header.
    pub height: Height,
    /// The header.
    pub header_hash: HeaderHash,
    signatures: BTreeMap<NodeId, [u8; 64]>,
}

/// Why a certificate does not make a header final.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is over another header.
    #[error("the certificate is over another header than the one at height {height}")]
    OtherHeader {
        /// Height of the header that was to be certified.
        height: Height,
    },
    /// The header names another validator set.
    #[error("the header at height {height} names another validator set")]
    OtherValidators {
        /// Height of the header.
        height: Height,
    },
    /// Someone signed who has no seat.
    #[error("node {0} signed but has no seat")]
    NoSeat(NodeId),
    /// A signature is wrong.
    #[error("the signature of node {0} is wrong")]
    BadSignature(NodeId),
    /// The power is not enough.
    #[error("signed by {power} of {total}, which is no quorum")]
    NoQuorum {
        /// Power that signed.
        power: u128,
        /// Power of the set.
        total: u128,
    },
}

impl BlockCertificate {
    /// Puts signatures together; whether they suffice is for [`Self::verify`].
    #[must_use]
    pub fn new(height: Height, header_hash: HeaderHash, signatures: BTreeMap<NodeId, [u8; 64]>) -> Self {
        Self { height, header_hash, signatures }
    }

    /// Signatures, ascending by validator.
    pub fn signatures(&self) -> impl Iterator<Item = (NodeId, &[u8; 64])> {
        self.signatures.iter().map(|(id, s)| (*id, s))
    }

    /// Checks that the certificate makes `header` final: distinct seats of
    /// exactly the set that the header names, a quorum of their power, each
    /// signature over this header (invariant I3).
    ///
    /// # Errors
    /// The first reason found.
    pub fn verify(&self, header: &Header, set: &ValidatorSet) -> Result<(), CertificateError> {
        if header.height != self.height || header.hash() != self.header_hash {
            return Err(CertificateError::OtherHeader { height: header.height });
        }
        if header.validators_hash != set.hash() {
            return Err(CertificateError::OtherValidators { height: header.height });
        }
        let mut power = 0;
        for id in self.signatures.keys() {
            power += u128::from(set.seat(*id).ok_or(CertificateError::NoSeat(*id))?.power.0);
        }
        if !set.is_quorum(power) {
            return Err(CertificateError::NoQuorum { power, total: set.total_power() });
        }
        for (id, signature) in &self.signatures {
            let key = &set.seat(*id).ok_or(CertificateError::NoSeat(*id))?.key;
            let signed = signing_bytes(key, &header.ledger_id, self.height, &self.header_hash, &header.tree_root);
            if key.verify(&signed, signature).is_err() {
                return Err(CertificateError::BadSignature(*id));
            }
        }
        Ok(())
    }
}

impl TryFrom<&pb::BlockCertificate> for BlockCertificate {
    type Error = FieldError;

    fn try_from(m: &pb::BlockCertificate) -> Result<Self, FieldError> {
        length_in("signatures", m.signatures.len(), 1, VALIDATORS_MAX)?;
        let ascending = m.signatures.windows(2).all(|pair| pair[0].validator < pair[1].validator);
        if !ascending {
            return Err(FieldError::malformed("signatures", "must be ascending by validator, each once"));
        }
        let mut signatures = BTreeMap::new();
        for s in &m.signatures {
            signatures.insert(NodeId(s.validator), fixed("signatures.signature", &s.signature)?);
        }
        Ok(Self {
            height: Height(m.height),
            header_hash: HeaderHash::from_bytes(fixed("header_hash", &m.header_hash)?),
            signatures,
        })
    }
}

impl From<&BlockCertificate> for pb::BlockCertificate {
    fn from(c: &BlockCertificate) -> Self {
        let signature = |(id, s): (&NodeId, &[u8; 64])| pb::CertificateSignature {
            validator: id.0,
            signature: bytes::Bytes::copy_from_slice(s),
        };
        Self {
            height: c.height.0,
            header_hash: c.header_hash.to_bytes(),
            signatures: c.signatures.iter().map(signature).collect(),
        }
    }
}

/// A header together with what makes it final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertifiedHeader {
    /// The header.
    pub header: Header,
    /// Its certificate.
    pub certificate: BlockCertificate,
}

impl CertifiedHeader {
    /// See [`BlockCertificate::verify`].
    ///
    /// # Errors
    /// As there.
    pub fn verify(&self, set: &ValidatorSet) -> Result<(), CertificateError> {
        self.certificate.verify(&self.header, set)
    }

    /// One RFC 9942 receipt (tagged COSE_Sign1, detached root) per signature,
    /// for the leaf at `leaf_index`. `set` certified the header: a signature of
    /// somebody without a seat has no key to be named, and is left out.
    #[must_use]
    pub fn cose_receipts(&self, set: &ValidatorSet, leaf_index: u64, path: &[Hash]) -> Vec<(NodeId, Vec<u8>)> {
        use coset::TaggedCborSerializable;
        use coset::cbor::Value;
        let hashes = path.iter().map(|h| Value::Bytes(h.as_bytes().to_vec())).collect();
        let proof = Value::Array(vec![self.header.tree_size.into(), leaf_index.into(), Value::Array(hashes)]);
        let proof = proof.to_vec().expect("a CBOR value built here encodes");
        let proofs = Value::Map(vec![((-1).into(), Value::Array(vec![Value::Bytes(proof)]))]);
        let Header { ledger_id, height, .. } = &self.header;
        let signed = self.certificate.signatures().filter_map(|(id, s)| Some((set.seat(id)?, s)));
        signed
            .map(|(seat, signature)| {
                let object = sign1_builder(&seat.key, ledger_id, *height, &self.certificate.header_hash)
                    .unprotected(HeaderBuilder::new().value(LABEL_PROOFS, proofs.clone()).build())
                    .signature(signature.to_vec())
                    .build();
                (seat.id, object.to_tagged_vec().expect("a COSE object built here encodes"))
            })
            .collect()
    }
}

impl TryFrom<&pb::CertifiedHeader> for CertifiedHeader {
    type Error = FieldError;

    fn try_from(m: &pb::CertifiedHeader) -> Result<Self, FieldError> {
        let header = m.header.as_ref().ok_or_else(|| FieldError::missing("header"))?;
        let certificate = m.certificate.as_ref().ok_or_else(|| FieldError::missing("certificate"))?;
        Ok(Self {
            header: Header::try_from(header).map_err(|e| e.within("header"))?,
            certificate: BlockCertificate::try_from(certificate).map_err(|e| e.within("certificate"))?,
        })
    }
}

impl From<&CertifiedHeader> for pb::CertifiedHeader {
    fn from(c: &CertifiedHeader) -> Self {
        Self { header: Some((&c.header).into()), certificate: Some((&c.certificate).into()) }
    }
}
