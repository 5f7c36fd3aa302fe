//! Verification of a certificate chain against one member's bundle.
//!
//! [`verify_chain`] is a pure function of its arguments, so that every node
//! answers alike for a block's time, today or in ten years. It adds to webpki
//! what webpki leaves to others: the profile, the anchors' own expiry and path
//! length, the binding of trust domain to bundle, and fail-closed revocation.
//! It must never consult a clock, a network or a system trust store.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::aws_lc_rs::{ECDSA_P256_SHA256, ECDSA_P256_SHA384, ECDSA_P384_SHA256, ECDSA_P384_SHA384};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::ca::{CaBundle, CaCertificate};
use crate::crl::Crl;
use crate::identity::IdentityCertificate;
use crate::profile::{MAX_CERTIFICATE_BYTES, ProfileError};
use crate::serial::Serial;
use consilium_proto::names::{MemberId, Role, SpiffeId};

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

/// How revocation lists are judged.
///
/// Independent of it: once the caller gives any CRL, every issuer in the path
/// needs one, else the status is unknown and the chain is refused.
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
    /// A CA certificate sent along is outside the profile.
    #[error("certificate {index}: {error}")]
    Intermediate {
        /// Position in the chain, from 0.
        index: usize,
        /// What is wrong with it.
        error: ProfileError,
    },
    /// The identity, or a CA sent along, is of another trust domain than the
    /// bundle.
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
    /// The role may not be used for this purpose.
    #[error("an identity of role {role} cannot act as {purpose:?}")]
    WrongPurpose {
        /// The certificate's role.
        role: Role,
        /// The purpose asked for.
        purpose: Purpose,
    },
    /// The time to verify at lies before 1970.
    #[error("cannot verify at {at}, before the epoch")]
    Time {
        /// The time asked for.
        at: i64,
    },
    /// The identity is not yet valid.
    #[error("valid from {not_before}, now is {at}")]
    NotYetValid {
        /// Start of validity.
        not_before: i64,
        /// The time of verification.
        at: i64,
    },
    /// The identity has expired.
    #[error("expired at {not_after}, now is {at}")]
    Expired {
        /// End of validity.
        not_after: i64,
        /// The time of verification.
        at: i64,
    },
    /// The CA that issued the identity is in the bundle, but not valid then.
    #[error("issuing CA is valid from {not_before} to {not_after}, now is {at}")]
    AnchorNotValid {
        /// Start of the CA's validity.
        not_before: i64,
        /// End of the CA's validity.
        not_after: i64,
        /// The time of verification.
        at: i64,
    },
    /// The chain ends at no CA of the bundle.
    #[error("issuer is not in the bundle")]
    UnknownIssuer,
    /// A CA of the issuer's name is known, but did not sign the certificate.
    #[error("certificate signature does not verify")]
    Signature,
    /// More CAs between leaf and anchor than a path length constraint allows.
    #[error("path length constraint violated")]
    PathLength,
    /// A certificate of the path is revoked.
    #[error("certificate {serial} is revoked")]
    Revoked {
        /// Its serial number.
        serial: Serial,
    },
    /// The newest CRL of an issuer has expired, and expiry is enforced.
    #[error("CRL expired at {next_update}, now is {at}")]
    CrlExpired {
        /// By when a newer list was due.
        next_update: i64,
        /// The time of verification.
        at: i64,
    },
    /// CRLs were given, but none by the issuer of a certificate of the path.
    #[error("no CRL covers certificate {serial}")]
    RevocationUnknown {
        /// The serial number whose status is unknown.
        serial: Serial,
    },
    /// webpki refuses the path for another reason.
    #[error("certificate path: {0}")]
    Path(webpki::Error),
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

/// Verifies a chain, leaf first, against a member's bundle and CRLs at a time
/// in Unix seconds, and returns the identity of certificate 0.
///
/// Self-issued certificates sent along are ignored: a root is believed because
/// it is in the bundle. Other CA certificates sent along must be inside the
/// profile. A CRL's `thisUpdate` is not held against the time: a list only
/// ever takes trust away.
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
) -> Result<IdentityCertificate, VerifyError> {
    check_bounds(chain)?;
    let (leaf, rest) = chain.split_first().ok_or(VerifyError::EmptyChain)?;
    let identity = IdentityCertificate::parse(leaf)?;
    check_trust_domain(identity.spiffe_id().member(), bundle)?;
    check_purpose(&identity, purpose)?;
    identity.check_time(at_unix_secs)?;
    let intermediates = parse_intermediates(rest, bundle)?;
    let path = build_path(leaf, &identity, &intermediates, bundle, at_unix_secs, purpose)?;
    check_revocation(&identity, &path, crls, policy, at_unix_secs)?;
    Ok(identity)
}

/// Until when a chain that verifies at a time goes on doing so if nothing is
/// renewed: the earliest end of the leaf and the CAs of its path, in Unix
/// seconds, inclusive. A CA that is in the bundle more than once, under one
/// name and key, counts with its latest end. For forecasts; revocation is not
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
    let identity = verify_chain(chain, bundle, &[], RevocationPolicy::default(), at_unix_secs, purpose)?;
    let (leaf, rest) = chain.split_first().ok_or(VerifyError::EmptyChain)?;
    let intermediates = parse_intermediates(rest, bundle)?;
    let path = build_path(leaf, &identity, &intermediates, bundle, at_unix_secs, purpose)?;
    let end_of = |ca: &&CaCertificate| {
        let twins = bundle.certificates().iter().filter(|other| other.is_same_ca(ca));
        twins.map(CaCertificate::not_after).chain([ca.not_after()]).max().unwrap_or(i64::MIN)
    };
    Ok(path.iter().map(end_of).chain([identity.not_after()]).min().unwrap_or(i64::MIN))
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

fn check_purpose(identity: &IdentityCertificate, purpose: Purpose) -> Result<(), VerifyError> {
    let role = identity.spiffe_id().role();
    if purpose == Purpose::Server && role != Role::Node {
        return Err(VerifyError::WrongPurpose { role, purpose });
    }
    Ok(())
}

/// The CA certificates sent along, without roots.
fn parse_intermediates(rest: &[CertificateDer<'_>], bundle: &CaBundle) -> Result<Vec<CaCertificate>, VerifyError> {
    let mut intermediates = Vec::new();
    for (index, der) in (1..).zip(rest) {
        if is_self_issued(der) {
            continue;
        }
        let ca = CaCertificate::parse(der).map_err(|error| VerifyError::Intermediate { index, error })?;
        check_trust_domain(ca.member(), bundle)?;
        intermediates.push(ca);
    }
    Ok(intermediates)
}

fn is_self_issued(der: &[u8]) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, certificate)| certificate.subject() == certificate.issuer())
}

/// The CAs above the leaf, nearest first; the last one is an anchor.
fn build_path<'a>(
    leaf: &CertificateDer<'_>,
    identity: &IdentityCertificate,
    intermediates: &'a [CaCertificate],
    bundle: &'a CaBundle,
    at: i64,
    purpose: Purpose,
) -> Result<Vec<&'a CaCertificate>, VerifyError> {
    let seconds = u64::try_from(at).map_err(|_| VerifyError::Time { at })?;
    let valid: Vec<&CaCertificate> = bundle.certificates().iter().filter(|ca| ca.is_valid_at(at)).collect();
    let anchors: Vec<TrustAnchor<'_>> = valid.iter().map(|ca| ca.anchor().clone()).collect();
    let sent: Vec<CertificateDer<'_>> = intermediates.iter().map(|ca| CertificateDer::from(ca.der())).collect();
    let check_length = |path: &VerifiedPath<'_>| match find_anchor(&valid, path) {
        Some(_) => Ok(()),
        None => Err(webpki::Error::PathLenConstraintViolated),
    };
    let end_entity = EndEntityCert::try_from(leaf).map_err(VerifyError::Path)?;
    let path = end_entity
        .verify_for_usage(
            SIGNATURE_ALGORITHMS,
            &anchors,
            &sent,
            UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
            key_usage(purpose),
            // Revocation is judged below, on lists whose signer is known.
            None,
            Some(&check_length),
        )
        .map_err(|error| explain(error, identity, bundle, at))?;
    let mut above: Vec<&CaCertificate> = path
        .intermediate_certificates()
        .filter_map(|cert| intermediates.iter().find(|ca| ca.der() == cert.der().as_ref()))
        .collect();
    above.extend(find_anchor(&valid, &path));
    Ok(above)
}

/// The anchor of a path, provided that its path length constraint (which
/// webpki does not know of anchors) allows the CAs below it. Certificates of
/// one CA key may differ in it.
fn find_anchor<'a>(valid: &[&'a CaCertificate], path: &VerifiedPath<'_>) -> Option<&'a CaCertificate> {
    let below = path.intermediate_certificates().count();
    let anchor = path.anchor();
    valid.iter().copied().find(|ca| {
        ca.anchor().subject == anchor.subject
            && ca.anchor().subject_public_key_info == anchor.subject_public_key_info
            && usize::try_from(ca.path_length()).is_ok_and(|length| below <= length)
    })
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
        (webpki::Error::PathLenConstraintViolated, _) => VerifyError::PathLength,
        (other, _) => VerifyError::Path(other),
    }
}

/// Holds the leaf and each CA below the anchor against its issuer's newest
/// CRL. The path is the CAs above the leaf, so issuers are its elements and
/// subjects are the leaf and all elements but the last.
fn check_revocation(
    identity: &IdentityCertificate,
    path: &[&CaCertificate],
    crls: &[Crl],
    policy: RevocationPolicy,
    at: i64,
) -> Result<(), VerifyError> {
    if crls.is_empty() {
        return Ok(());
    }
    let serials = std::iter::once(identity.serial()).chain(path.iter().map(|ca| ca.serial()));
    for (serial, issuer) in serials.zip(path) {
        let unknown = || VerifyError::RevocationUnknown { serial: serial.clone() };
        let newest = newest_crl(crls, issuer).ok_or_else(unknown)?;
        if newest.is_revoked(serial) {
            return Err(VerifyError::Revoked { serial: serial.clone() });
        }
        if policy.enforce_expiry && at >= newest.next_update() {
            let next_update = newest.next_update();
            return Err(VerifyError::CrlExpired { next_update, at });
        }
    }
    Ok(())
}

fn newest_crl<'a>(crls: &'a [Crl], issuer: &CaCertificate) -> Option<&'a Crl> {
    crls.iter().filter(|crl| crl.is_by(issuer.subject(), issuer.public_key().spki())).max_by_key(|crl| crl.number())
}
