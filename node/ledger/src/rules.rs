//! What a rule may answer, and what the rules need to know of X.509 and of the access policy.

use bytes::Bytes;
use consilium_proto::access::PolicyRules;
use consilium_proto::ids::AuthorityId;
use consilium_proto::names::{MemberId, SpiffeId};
use consilium_proto::pb::Outcome;
use consilium_proto::signing::VerifyingKey;

use crate::view::StoreFault;

/// A refusal that is recorded on the ledger.
pub type Rejection = Outcome;

/// Ends a rule: a refusal is an outcome, a fault stops the node.
#[derive(Debug)]
pub(crate) enum Refusal {
    Rejected(Rejection),
    Fault(StoreFault),
}

impl From<StoreFault> for Refusal {
    fn from(fault: StoreFault) -> Self {
        Self::Fault(fault)
    }
}

/// Refuses unless a condition holds.
pub(crate) fn ensure(condition: bool, rejection: Rejection) -> Result<(), Refusal> {
    if condition { Ok(()) } else { Err(Refusal::Rejected(rejection)) }
}

/// An identity whose certificate verified.
#[derive(Debug, Clone)]
pub struct VerifiedIdentity {
    /// Who it names.
    pub spiffe_id: SpiffeId,
    /// The certificate's own key, if it is one that can sign transactions (P-256).
    pub key: Option<VerifyingKey>,
    /// Big-endian, without leading zeros.
    pub serial: Vec<u8>,
    /// Seconds since 1970.
    pub not_before_s: u64,
    /// Seconds since 1970.
    pub not_after_s: u64,
    /// The CA that issued it, by the key that its signature verified under. It
    /// is of the bundle.
    pub authority: AuthorityId,
}

/// A revocation list whose signature verified.
#[derive(Debug, Clone)]
pub struct RevocationList {
    /// The CA of the bundle whose key signed it.
    pub authority: AuthorityId,
    /// CRL number, 20 bytes big-endian.
    pub number: Vec<u8>,
    /// Revoked serials, big-endian without leading zeros.
    pub serials: Vec<Vec<u8>>,
}

/// X.509 as a pure function: the same arguments always give the same answer,
/// whatever the machine, the clock, or the files beside it.
pub trait IdentityRules {
    /// Member (trust domain) that a leaf certificate names, without verifying.
    fn claimed_member(&self, chain: &[Bytes]) -> Option<MemberId>;

    /// The key of a leaf certificate, if it is one that can sign transactions, without
    /// verifying.
    fn certificate_key(&self, leaf: &[u8]) -> Option<VerifyingKey>;

    /// Verifies a chain under a member's bundle and lists at a time. A CA without
    /// a list has revoked nothing, whatever other CAs have published.
    fn verify(&self, chain: &[Bytes], bundle: &[Bytes], crls: &[Bytes], at_s: u64) -> Option<VerifiedIdentity>;

    /// Whether certificates are the CA bundle of a member: each is a CA that
    /// names it. Says nothing about time.
    fn check_bundle(&self, member: &MemberId, bundle: &[Bytes]) -> bool;

    /// The CAs of a bundle that vouch for identities under its lists, ascending:
    /// a CA that is named by another one's list does not.
    fn authorities(&self, bundle: &[Bytes], crls: &[Bytes]) -> Vec<AuthorityId>;

    /// Verifies a revocation list under a member's bundle.
    fn verify_revocations(&self, crl: &[u8], bundle: &[Bytes]) -> Option<RevocationList>;
}

/// What the rules need to know beside the state.
pub trait LedgerRules: IdentityRules + PolicyRules {}

impl<T: IdentityRules + PolicyRules> LedgerRules for T {}
