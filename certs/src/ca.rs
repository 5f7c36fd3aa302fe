//! CA certificates and the bundle that a member has on the ledger.
//!
//! A bundle is the whole of what is believed about a member: one to eight CA
//! certificates, all of them naming the member's trust domain. An issuing CA
//! below a member's root belongs into the bundle itself: only then are its CRLs
//! known, and whom it names can be refused. A bundle says nothing about time: an
//! expired CA stays in it (old blocks need it) and is passed over when a chain
//! is verified.
//!
//! A CA is known by its key ([`AuthorityId`]), never by its name or by an
//! identifier in a certificate, which whoever makes a certificate can choose.

use std::fmt;

use rustls_pki_types::{CertificateDer, TrustAnchor};
use x509_parser::prelude::{ExtendedKeyUsage, FromDer, GeneralName, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::crl::Crl;
use crate::pem::{self, PemError};
use crate::profile::{self, Extensions, ProfileError, PublicKey};
use crate::serial::Serial;
use consilium_proto::ids::AuthorityId;
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
    /// The PEM cannot be read whole, or holds something else besides.
    #[error("bundle is not PEM certificates alone: {0}")]
    Pem(#[from] PemError),
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
    issuer: Vec<u8>,
    subject: Vec<u8>,
    subject_key_id: Vec<u8>,
    public_key: PublicKey,
    authority: AuthorityId,
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
        check_names(&certificate, &extensions)?;
        let member = member_of(&extensions)?;
        let subject_key_id = extensions.subject_key_id.ok_or(ProfileError::MissingExtension("subjectKeyIdentifier"))?;
        Ok(Self {
            der: der.to_vec(),
            member,
            path_length,
            serial: basics.serial,
            not_before: basics.not_before,
            not_after: basics.not_after,
            issuer: certificate.issuer().as_raw().to_vec(),
            subject: certificate.subject().as_raw().to_vec(),
            subject_key_id: subject_key_id.to_vec(),
            authority: basics.public_key.authority_id(),
            public_key: basics.public_key,
            anchor: anchor(der)?,
        })
    }

    /// Everything that puts a certificate outside the profile of CAs, where [`Self::parse`] stops
    /// at the first; nothing if it is inside. For people who make certificates.
    #[must_use]
    pub fn problems(der: &[u8]) -> Vec<ProfileError> {
        let certificate = match profile::parse_der(der) {
            Ok(certificate) => certificate,
            Err(error) => return vec![error],
        };
        let mut found = profile::basic_problems(&certificate);
        match Extensions::scan(&certificate) {
            Ok(extensions) => {
                let identifier =
                    extensions.subject_key_id.ok_or(ProfileError::MissingExtension("subjectKeyIdentifier"));
                found.extend(check_ca(&extensions).err());
                found.extend(check_extended_key_usage(&extensions).err());
                found.extend(check_names(&certificate, &extensions).err());
                found.extend(member_of(&extensions).err());
                found.extend(identifier.err());
            }
            Err(error) => found.push(error),
        }
        found.extend(anchor(der).err());
        found
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

    /// What the CA is called: the hash of its key.
    #[must_use]
    pub fn authority(&self) -> AuthorityId {
        self.authority
    }

    /// Whether the certificate is valid at a time in Unix seconds.
    #[must_use]
    pub fn is_valid_at(&self, at_unix_secs: i64) -> bool {
        (self.not_before..=self.not_after).contains(&at_unix_secs)
    }

    /// Whether the CA of another certificate made this one, and its list takes
    /// it back.
    fn is_revoked_by(&self, issuer: &Self, crls: &[Crl]) -> bool {
        let is_listed = || newest_crl(crls, issuer.authority).is_some_and(|crl| crl.is_revoked(&self.serial));
        self.authority != issuer.authority && self.issuer == issuer.subject && is_listed() && self.is_signed_by(issuer)
    }

    fn is_signed_by(&self, issuer: &Self) -> bool {
        let key = SubjectPublicKeyInfo::from_der(issuer.public_key.spki());
        let certificate = X509Certificate::from_der(&self.der);
        match (key, certificate) {
            (Ok((_, key)), Ok((_, certificate))) => certificate.verify_signature(Some(&key)).is_ok(),
            _ => false,
        }
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
    /// Reads concatenated PEM certificates; text between them is ignored, and
    /// PEM sections of other kinds are refused.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, BundleError> {
        Self::from_ders(pem::certificates(pem)?)
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

    /// The CAs that vouch for identities under these lists: those of the bundle
    /// whose own certificate is not on the list of another one of it, each as
    /// often as it has certificates there. A CA that has published no list takes
    /// nothing back, and a CA's list says nothing about its own certificate.
    pub fn vouching<'a>(&'a self, crls: &'a [Crl]) -> impl Iterator<Item = &'a CaCertificate> {
        let stands = |ca: &&CaCertificate| !self.certificates.iter().any(|issuer| ca.is_revoked_by(issuer, crls));
        self.certificates.iter().filter(stands)
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
    if !extensions.basic_constraints_critical {
        return Err(ProfileError::NotCritical("basicConstraints"));
    }
    let usage = extensions.key_usage.ok_or(ProfileError::MissingExtension("keyUsage"))?;
    if !usage.key_cert_sign() || !usage.crl_sign() {
        return Err(ProfileError::CaKeyUsage);
    }
    Ok(path_length)
}

/// A CA has a name, says which key signed it unless it did so itself, and what
/// it constrains is said so that everybody reads the same.
fn check_names(certificate: &X509Certificate<'_>, extensions: &Extensions<'_>) -> Result<(), ProfileError> {
    let (subject, issuer) = (certificate.subject(), certificate.issuer());
    if subject.iter_rdn().next().is_none() {
        return Err(ProfileError::EmptySubject);
    }
    if subject.as_raw() != issuer.as_raw() && extensions.authority_key_id.is_none() {
        return Err(ProfileError::MissingExtension("authorityKeyIdentifier"));
    }
    let Some(constraints) = extensions.name_constraints else { return Ok(()) };
    if !extensions.name_constraints_critical {
        return Err(ProfileError::NotCritical("nameConstraints"));
    }
    let subtrees = || [&constraints.permitted_subtrees, &constraints.excluded_subtrees].into_iter().flatten().flatten();
    if subtrees().next().is_none() {
        return Err(ProfileError::EmptyNameConstraints);
    }
    let dotted = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => name.starts_with('.'),
        _ => false,
    };
    if subtrees().any(|subtree| dotted(&subtree.base)) { Err(ProfileError::LeadingDot) } else { Ok(()) }
}

/// Of a CA's lists the newest; it has one at most, as the ledger keeps them.
pub(crate) fn newest_crl(crls: &[Crl], authority: AuthorityId) -> Option<&Crl> {
    crls.iter().filter(|crl| crl.authority() == authority).max_by_key(|crl| crl.number())
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
