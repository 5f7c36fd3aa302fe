//! CA certificates and the bundle that a member has on the ledger.
//!
//! A bundle is the whole of what is believed about a member: one to eight CA
//! certificates, all of them naming the member's trust domain. An issuing CA
//! below a member's root belongs into the bundle itself, so that its CRLs are
//! known too. A bundle says nothing about time: an expired anchor stays in it
//! (old blocks need it) and is passed over when a chain is verified.

use std::fmt;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use x509_parser::prelude::{ExtendedKeyUsage, GeneralName};

use crate::profile::{self, Extensions, ProfileError, PublicKey};
use crate::serial::Serial;
use consilium_proto::names::MemberId;

/// Most CA certificates in a bundle: a root, its successor, and issuing CAs.
pub const MAX_BUNDLE_CERTIFICATES: usize = 8;
/// Longest path below a CA of the profile, in further CAs.
const MAX_PATH_LENGTH: u32 = 1;

/// Why a set of certificates is not a CA bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// There is no certificate.
    #[error("bundle has no certificate")]
    Empty,
    /// More than [`MAX_BUNDLE_CERTIFICATES`].
    #[error("bundle has more than {MAX_BUNDLE_CERTIFICATES} certificates")]
    TooMany,
    /// The PEM armour is damaged.
    #[error("bundle is not PEM")]
    Pem,
    /// One of the certificates is outside the profile.
    #[error("CA certificate {index}: {error}")]
    Certificate {
        /// Position in the bundle, from 0.
        index: usize,
        /// What is wrong with it.
        error: ProfileError,
    },
    /// The certificates do not all name one trust domain.
    #[error("CA certificate {index} is of {found}, the first is of {expected}")]
    MixedTrustDomains {
        /// Position in the bundle, from 0.
        index: usize,
        /// The trust domain of the first certificate.
        expected: MemberId,
        /// The trust domain of this one.
        found: MemberId,
    },
    /// The bundle is another member's.
    #[error("is of {found}, not of {expected}")]
    OtherMember {
        /// Whose bundle it should be.
        expected: MemberId,
        /// Whose it is.
        found: MemberId,
    },
    /// A certificate occurs twice.
    #[error("CA certificate {index} occurs twice")]
    Duplicate {
        /// Position in the bundle, from 0.
        index: usize,
    },
}

/// A CA certificate inside the profile.
#[derive(Clone, PartialEq, Eq)]
pub struct CaCertificate {
    der: Vec<u8>,
    member: MemberId,
    path_length: u32,
    serial: Serial,
    not_before: i64,
    not_after: i64,
    subject: Vec<u8>,
    subject_key_id: Vec<u8>,
    public_key: PublicKey,
    anchor: TrustAnchor<'static>,
}

impl CaCertificate {
    /// Parses one DER certificate and holds it against the profile of CAs.
    ///
    /// # Errors
    /// The first [`ProfileError`] found.
    pub fn parse(der: &[u8]) -> Result<Self, ProfileError> {
        let certificate = profile::parse_der(der)?;
        let basics = profile::check_basics(&certificate)?;
        let extensions = Extensions::scan(&certificate)?;
        let path_length = check_ca(&extensions)?;
        check_extended_key_usage(&extensions)?;
        let member = member_of(&extensions)?;
        let subject_key_id = extensions.subject_key_id.ok_or(ProfileError::MissingExtension("subjectKeyIdentifier"))?;
        Ok(Self {
            der: der.to_vec(),
            member,
            path_length,
            serial: basics.serial,
            not_before: basics.not_before,
            not_after: basics.not_after,
            subject: certificate.subject().as_raw().to_vec(),
            subject_key_id: subject_key_id.to_vec(),
            public_key: basics.public_key,
            anchor: anchor(der)?,
        })
    }

    /// The certificate as received, in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The member that the CA speaks for.
    #[must_use]
    pub fn member(&self) -> &MemberId {
        &self.member
    }

    /// How many further CAs may stand between this one and a leaf: 0 or 1.
    #[must_use]
    pub fn path_length(&self) -> u32 {
        self.path_length
    }

    /// The serial number, unique within its issuer.
    #[must_use]
    pub fn serial(&self) -> &Serial {
        &self.serial
    }

    /// Start of validity, Unix seconds, inclusive.
    #[must_use]
    pub fn not_before(&self) -> i64 {
        self.not_before
    }

    /// End of validity, Unix seconds, inclusive.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// The subject key identifier.
    #[must_use]
    pub fn subject_key_id(&self) -> &[u8] {
        &self.subject_key_id
    }

    /// The CA's key.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Whether the certificate is valid at a time in Unix seconds.
    #[must_use]
    pub fn is_valid_at(&self, at_unix_secs: i64) -> bool {
        (self.not_before..=self.not_after).contains(&at_unix_secs)
    }

    /// Whether both certificates are of one CA: one name, one key. They may
    /// differ in all else, as a renewed root does.
    pub(crate) fn is_same_ca(&self, other: &Self) -> bool {
        self.subject == other.subject && self.public_key.spki() == other.public_key.spki()
    }

    /// The subject's distinguished name, in DER.
    pub(crate) fn subject(&self) -> &[u8] {
        &self.subject
    }

    pub(crate) fn anchor(&self) -> &TrustAnchor<'static> {
        &self.anchor
    }
}

impl fmt::Debug for CaCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaCertificate")
            .field("member", &self.member)
            .field("serial", &self.serial)
            .field("not_before", &self.not_before)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// The CA certificates of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaBundle {
    member: MemberId,
    certificates: Vec<CaCertificate>,
}

impl CaBundle {
    /// Reads concatenated PEM certificates; text between them is ignored, as
    /// are PEM sections of other kinds.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, BundleError> {
        let ders: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
            .take(MAX_BUNDLE_CERTIFICATES + 1)
            .collect::<Result<_, _>>()
            .map_err(|_| BundleError::Pem)?;
        Self::from_ders(ders)
    }

    /// Reads DER certificates, in the order given.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn from_ders<D: AsRef<[u8]>>(ders: impl IntoIterator<Item = D>) -> Result<Self, BundleError> {
        let mut certificates: Vec<CaCertificate> = Vec::new();
        for (index, der) in ders.into_iter().enumerate() {
            if index == MAX_BUNDLE_CERTIFICATES {
                return Err(BundleError::TooMany);
            }
            let parsed =
                CaCertificate::parse(der.as_ref()).map_err(|error| BundleError::Certificate { index, error })?;
            check_member(&certificates, &parsed, index)?;
            certificates.push(parsed);
        }
        let first = certificates.first().ok_or(BundleError::Empty)?;
        Ok(Self { member: first.member.clone(), certificates })
    }

    /// Reads the DER certificates of a member's bundle.
    ///
    /// # Errors
    /// [`BundleError`], also for the bundle of another member.
    pub fn of_member<D: AsRef<[u8]>>(
        member: &MemberId,
        ders: impl IntoIterator<Item = D>,
    ) -> Result<Self, BundleError> {
        Self::from_ders(ders)?.belonging_to(member)
    }

    /// The bundle, if it is this member's.
    ///
    /// # Errors
    /// [`BundleError::OtherMember`].
    pub fn belonging_to(self, member: &MemberId) -> Result<Self, BundleError> {
        if self.member == *member {
            Ok(self)
        } else {
            Err(BundleError::OtherMember { expected: member.clone(), found: self.member })
        }
    }

    /// The certificates in DER, in the order given: what the ledger keeps.
    #[must_use]
    pub fn to_ders(&self) -> Vec<Vec<u8>> {
        self.certificates.iter().map(|ca| ca.der.clone()).collect()
    }

    /// The member whose bundle this is.
    #[must_use]
    pub fn member(&self) -> &MemberId {
        &self.member
    }

    /// The CA certificates, in the order given.
    #[must_use]
    pub fn certificates(&self) -> &[CaCertificate] {
        &self.certificates
    }

    /// When the last CA of the bundle expires (Unix seconds): afterwards no
    /// identity of this member verifies. For forecasts.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.certificates.iter().map(CaCertificate::not_after).max().unwrap_or(i64::MIN)
    }
}

fn check_member(earlier: &[CaCertificate], new: &CaCertificate, index: usize) -> Result<(), BundleError> {
    if earlier.iter().any(|ca| ca.der == new.der) {
        return Err(BundleError::Duplicate { index });
    }
    match earlier.first() {
        Some(first) if first.member != new.member => {
            Err(BundleError::MixedTrustDomains { index, expected: first.member.clone(), found: new.member.clone() })
        }
        _ => Ok(()),
    }
}

fn check_ca(extensions: &Extensions<'_>) -> Result<u32, ProfileError> {
    let basic = extensions.basic_constraints.filter(|basic| basic.ca).ok_or(ProfileError::NotACa)?;
    let path_length =
        basic.path_len_constraint.filter(|length| *length <= MAX_PATH_LENGTH).ok_or(ProfileError::PathLength)?;
    let usage = extensions.key_usage.ok_or(ProfileError::MissingExtension("keyUsage"))?;
    if !usage.key_cert_sign() || !usage.crl_sign() {
        return Err(ProfileError::CaKeyUsage);
    }
    if extensions.name_constraints_critical == Some(false) {
        return Err(ProfileError::NameConstraints);
    }
    Ok(path_length)
}

/// webpki does not look at an anchor's own EKU; one that excludes TLS would
/// otherwise be obeyed below an intermediate and ignored on an anchor.
fn check_extended_key_usage(extensions: &Extensions<'_>) -> Result<(), ProfileError> {
    let admits_tls = |usage: &ExtendedKeyUsage<'_>| usage.any || (usage.client_auth && usage.server_auth);
    if extensions.extended_key_usage.is_none_or(admits_tls) { Ok(()) } else { Err(ProfileError::CaExtendedKeyUsage) }
}

fn member_of(extensions: &Extensions<'_>) -> Result<MemberId, ProfileError> {
    let uri = extensions.single_uri()?;
    if !matches!(extensions.names, [GeneralName::URI(_)]) {
        return Err(ProfileError::NameKind);
    }
    Ok(MemberId::from_uri(uri)?)
}

fn anchor(der: &[u8]) -> Result<TrustAnchor<'static>, ProfileError> {
    let certificate = CertificateDer::from(der);
    let anchor =
        webpki::anchor_from_trusted_cert(&certificate).map_err(|_| ProfileError::Encoding("not strict DER"))?;
    Ok(anchor.to_owned())
}
