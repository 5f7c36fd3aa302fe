//! Verification of a certificate chain against one member's bundle.
//!
//! [`verify_chain`] is a pure function of its arguments, so that every node
//! answers alike for a block's time, today or in ten years. It adds to webpki
//! what webpki leaves to others: the profile, the CAs' own expiry, the binding of
//! trust domain to bundle and of identity to CA key, and revocation.
//! It must never consult a clock, a network or a system trust store.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::aws_lc_rs::{ECDSA_P256_SHA256, ECDSA_P256_SHA384, ECDSA_P384_SHA256, ECDSA_P384_SHA384};
use webpki::{EndEntityCert, KeyUsage};

use crate::ca::{CaBundle, CaCertificate, newest_crl};
use crate::crl::Crl;
use crate::identity::IdentityCertificate;
use crate::profile::{MAX_CERTIFICATE_BYTES, ProfileError};
use crate::serial::Serial;
use consilium_proto::ids::AuthorityId;
use consilium_proto::names::{MemberId, Role, SpiffeId};
use consilium_proto::when::utc_s;

/// Most certificates that a peer may present, leaf and root included. With
/// [`MAX_CERTIFICATE_BYTES`] each, this bounds a chain to 32 KiB.
pub const MAX_CHAIN_CERTIFICATES: usize = 4;

/// The signatures on certificates that the profile knows.
static SIGNATURE_ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] =
    &[ECDSA_P256_SHA256, ECDSA_P256_SHA384, ECDSA_P384_SHA256, ECDSA_P384_SHA384];

/// What the certificate is used for in the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It authenticates a client: any role.
    Client,
    /// It authenticates a server: role node only.
    Server,
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Client => "a client",
            Self::Server => "a server",
        })
    }
}

/// How revocation lists are judged.
///
/// Independent of it: what an issuer's newest list names is refused, and an
/// issuer without a list has revoked nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevocationPolicy {
    /// Whether a CRL past its `nextUpdate` refuses the chain. Not enforcing
    /// trades a missed revocation for staying in business when a member's CA
    /// is down; the caller sees the expiry by [`Crl::next_update`].
    pub enforce_expiry: bool,
}

impl Default for RevocationPolicy {
    fn default() -> Self {
        Self { enforce_expiry: true }
    }
}

/// Why a chain, or the peer that presented it, is refused. Times are Unix
/// seconds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// No certificate was presented.
    #[error("no certificate")]
    EmptyChain,
    /// More than [`MAX_CHAIN_CERTIFICATES`] were presented.
    #[error("chain of {certificates} certificates exceeds {MAX_CHAIN_CERTIFICATES}")]
    ChainTooLong {
        /// How many were presented.
        certificates: usize,
    },
    /// A certificate is larger than [`MAX_CERTIFICATE_BYTES`].
    #[error("certificate {index} of {bytes} bytes exceeds {MAX_CERTIFICATE_BYTES}")]
    Oversize {
        /// Position in the chain, from 0.
        index: usize,
        /// Its size in bytes of DER.
        bytes: usize,
    },
    /// The leaf is outside the profile.
    #[error("identity certificate: {0}")]
    Profile(#[from] ProfileError),
    /// The identity is of another trust domain than the bundle.
    #[error("certificate of {presented} against the bundle of {expected}")]
    TrustDomain {
        /// The trust domain that the certificate names.
        presented: MemberId,
        /// The bundle's trust domain.
        expected: MemberId,
    },
    /// No member of that trust domain is known.
    #[error("{0} is not a member")]
    UnknownMember(MemberId),
    /// The member is suspended.
    #[error("member {0} is suspended")]
    MemberSuspended(MemberId),
    /// The role may not connect here.
    #[error("role {0} is not accepted here")]
    RoleNotAccepted(Role),
    /// A valid identity, but not the one that was expected.
    #[error("peer is {presented}, not {expected}")]
    UnexpectedIdentity {
        /// Who answered.
        presented: Box<SpiffeId>,
        /// Who was expected.
        expected: Box<SpiffeId>,
    },
    /// A node, but of another member than those expected.
    #[error("it is {presented}, and only nodes of {} are expected", listed(expected))]
    OtherMember {
        /// Who answered.
        presented: Box<SpiffeId>,
        /// Whose nodes were expected.
        expected: Vec<MemberId>,
    },
    /// The role may not be used for this purpose.
    #[error("an identity of role {role} cannot act as {purpose}")]
    WrongPurpose {
        /// The certificate's role.
        role: Role,
        /// The purpose asked for.
        purpose: Purpose,
    },
    /// The time to verify at lies before 1970.
    #[error("cannot verify at {}, which is before 1970", utc_s(*at))]
    Time {
        /// The time asked for.
        at: i64,
    },
    /// The identity is not yet valid.
    #[error("valid from {} on, and this machine's clock shows {}", utc_s(*not_before), utc_s(*at))]
    NotYetValid {
        /// Start of validity.
        not_before: i64,
        /// The time of verification.
        at: i64,
    },
    /// The identity has expired.
    #[error("expired at {}, and this machine's clock shows {}", utc_s(*not_after), utc_s(*at))]
    Expired {
        /// End of validity.
        not_after: i64,
        /// The time of verification.
        at: i64,
    },
    /// The CA that issued the identity is in the bundle, but not valid then.
    #[error(
        "issuing CA is valid from {} to {}, and this machine's clock shows {}",
        utc_s(*not_before), utc_s(*not_after), utc_s(*at)
    )]
    AnchorNotValid {
        /// Start of the CA's validity.
        not_before: i64,
        /// End of the CA's validity.
        not_after: i64,
        /// The time of verification.
        at: i64,
    },
    /// The CA that issued the identity is not in the bundle.
    #[error("issuer is not in the bundle")]
    UnknownIssuer,
    /// A CA of the issuer's name is known, but did not sign the certificate.
    #[error("certificate signature does not verify")]
    Signature,
    /// The identity, or its CA, is revoked.
    #[error("certificate {serial} is revoked")]
    Revoked {
        /// Its serial number.
        serial: Serial,
    },
    /// The newest CRL of an issuer has expired, and expiry is enforced.
    #[error("CRL expired at {}, and this machine's clock shows {}", utc_s(*next_update), utc_s(*at))]
    CrlExpired {
        /// By when a newer list was due.
        next_update: i64,
        /// The time of verification.
        at: i64,
    },
    /// webpki refuses the path for another reason.
    #[error("certificate path: {0}")]
    Path(webpki::Error),
}

fn listed(members: &[MemberId]) -> String {
    members.iter().map(MemberId::as_str).collect::<Vec<_>>().join(", ")
}

impl IdentityCertificate {
    /// Holds a time in Unix seconds against the validity.
    ///
    /// # Errors
    /// [`VerifyError::NotYetValid`] or [`VerifyError::Expired`].
    pub fn check_time(&self, at: i64) -> Result<(), VerifyError> {
        let (not_before, not_after) = (self.not_before(), self.not_after());
        if at < not_before {
            return Err(VerifyError::NotYetValid { not_before, at });
        }
        if at > not_after {
            return Err(VerifyError::Expired { not_after, at });
        }
        Ok(())
    }
}

/// What a verified chain comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedChain {
    /// Whom certificate 0 names.
    pub identity: IdentityCertificate,
    /// The CA that issued it, by its key: the one whose list may take it back.
    pub authority: AuthorityId,
    /// Until when it goes on verifying if nothing is renewed: the end of the
    /// identity, or of its CA if that comes first; Unix seconds, inclusive. A CA
    /// that is in the bundle more than once counts with its latest end.
    pub not_after: i64,
}

/// Verifies the leaf of a chain, which is its first certificate, against a
/// member's bundle and CRLs at a time in Unix seconds.
///
/// The CA that issued it has to be in the bundle itself. Whatever is sent along
/// with a leaf is passed over: a CA is believed because it is in the bundle, and
/// one that is not could never take back what it issued. A CRL's `thisUpdate` is
/// not held against the time: a list only ever takes trust away.
///
/// # Errors
/// [`VerifyError`].
pub fn verify_chain(
    chain: &[CertificateDer<'_>],
    bundle: &CaBundle,
    crls: &[Crl],
    policy: RevocationPolicy,
    at_unix_secs: i64,
    purpose: Purpose,
) -> Result<VerifiedChain, VerifyError> {
    check_bounds(chain)?;
    let leaf = chain.first().ok_or(VerifyError::EmptyChain)?;
    let identity = IdentityCertificate::parse(leaf)?;
    check_trust_domain(identity.spiffe_id().member(), bundle)?;
    check_purpose(&identity, purpose)?;
    identity.check_time(at_unix_secs)?;
    let issuer = find_issuer(leaf, &identity, bundle, at_unix_secs, purpose)?;
    let authority = issuer.authority();
    check_revocation(&identity, issuer, (bundle, crls), policy, at_unix_secs)?;
    let twins = bundle.vouching(crls).filter(|ca| ca.authority() == authority && ca.subject() == issuer.subject());
    let ca_end = twins.map(CaCertificate::not_after).max().unwrap_or(i64::MIN);
    Ok(VerifiedChain { authority, not_after: identity.not_after().min(ca_end), identity })
}

/// Until when a chain that verifies at a time goes on doing so if nothing is
/// renewed; see [`VerifiedChain::not_after`]. For forecasts: revocation is not
/// looked at.
///
/// # Errors
/// [`VerifyError`], if it does not verify at that time.
pub fn chain_not_after(
    chain: &[CertificateDer<'_>],
    bundle: &CaBundle,
    at_unix_secs: i64,
    purpose: Purpose,
) -> Result<i64, VerifyError> {
    let verified = verify_chain(chain, bundle, &[], RevocationPolicy::default(), at_unix_secs, purpose)?;
    Ok(verified.not_after)
}

pub(crate) fn check_bounds(chain: &[CertificateDer<'_>]) -> Result<(), VerifyError> {
    if chain.len() > MAX_CHAIN_CERTIFICATES {
        return Err(VerifyError::ChainTooLong { certificates: chain.len() });
    }
    match chain.iter().position(|certificate| certificate.len() > MAX_CERTIFICATE_BYTES) {
        Some(index) => Err(VerifyError::Oversize { index, bytes: chain[index].len() }),
        None => Ok(()),
    }
}

fn check_trust_domain(presented: &MemberId, bundle: &CaBundle) -> Result<(), VerifyError> {
    if presented == bundle.member() {
        return Ok(());
    }
    Err(VerifyError::TrustDomain { presented: presented.clone(), expected: bundle.member().clone() })
}

pub(crate) fn check_purpose(identity: &IdentityCertificate, purpose: Purpose) -> Result<(), VerifyError> {
    let role = identity.spiffe_id().role();
    if purpose == Purpose::Server && role != Role::Node {
        return Err(VerifyError::WrongPurpose { role, purpose });
    }
    Ok(())
}

/// The CA of the bundle that issued the leaf, valid at the time.
fn find_issuer<'a>(
    leaf: &CertificateDer<'_>,
    identity: &IdentityCertificate,
    bundle: &'a CaBundle,
    at: i64,
    purpose: Purpose,
) -> Result<&'a CaCertificate, VerifyError> {
    let seconds = u64::try_from(at).map_err(|_| VerifyError::Time { at })?;
    let valid: Vec<&CaCertificate> = bundle.certificates().iter().filter(|ca| ca.is_valid_at(at)).collect();
    let anchors: Vec<TrustAnchor<'_>> = valid.iter().map(|ca| ca.anchor().clone()).collect();
    let end_entity = EndEntityCert::try_from(leaf).map_err(VerifyError::Path)?;
    let path = end_entity
        .verify_for_usage(
            SIGNATURE_ALGORITHMS,
            &anchors,
            &[],
            UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
            key_usage(purpose),
            // Revocation is judged apart, on lists whose signer is known.
            None,
            None,
        )
        .map_err(|error| explain(error, identity, bundle, at))?;
    let anchor = path.anchor();
    let is_it = |ca: &&CaCertificate| {
        ca.anchor().subject == anchor.subject && ca.anchor().subject_public_key_info == anchor.subject_public_key_info
    };
    valid.into_iter().find(is_it).ok_or(VerifyError::UnknownIssuer)
}

fn key_usage(purpose: Purpose) -> KeyUsage {
    match purpose {
        Purpose::Client => KeyUsage::client_auth(),
        Purpose::Server => KeyUsage::server_auth(),
    }
}

/// The refusal in our terms. An anchor that was passed over for its time is
/// named, since that is the case an operator must tell from a foreign CA.
fn explain(error: webpki::Error, identity: &IdentityCertificate, bundle: &CaBundle, at: i64) -> VerifyError {
    let stale = bundle.certificates().iter().find(|ca| ca.subject() == identity.issuer() && !ca.is_valid_at(at));
    match (error, stale) {
        (webpki::Error::UnknownIssuer, Some(ca)) => {
            VerifyError::AnchorNotValid { not_before: ca.not_before(), not_after: ca.not_after(), at }
        }
        (webpki::Error::UnknownIssuer, None) => VerifyError::UnknownIssuer,
        (webpki::Error::InvalidSignatureForPublicKey, _) => VerifyError::Signature,
        (other, _) => VerifyError::Path(other),
    }
}

/// Holds the leaf against its CA's newest CRL, and the CA against those of the
/// other CAs of the bundle. A CA that has published none has revoked nothing,
/// whatever others have published.
fn check_revocation(
    identity: &IdentityCertificate,
    issuer: &CaCertificate,
    (bundle, crls): (&CaBundle, &[Crl]),
    policy: RevocationPolicy,
    at: i64,
) -> Result<(), VerifyError> {
    if !bundle.vouching(crls).any(|ca| ca.authority() == issuer.authority()) {
        return Err(VerifyError::Revoked { serial: issuer.serial().clone() });
    }
    let Some(newest) = newest_crl(crls, issuer.authority()) else { return Ok(()) };
    if newest.is_revoked(identity.serial()) {
        return Err(VerifyError::Revoked { serial: identity.serial().clone() });
    }
    if policy.enforce_expiry && at >= newest.next_update() {
        let next_update = newest.next_update();
        return Err(VerifyError::CrlExpired { next_update, at });
    }
    Ok(())
}
